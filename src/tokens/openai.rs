//! Exact counts in OpenAI's encodings.
//!
//! The vocabularies are compiled in (2.3 MB) and read at the first count in their encoding, which takes about 20 ms and
//! 15 MB; who never counts never pays. This is own code because what it replaces costs ten times that at the first count
//! (`tiktoken-rs`: 190 ms, 55 MB) or in the addon (`bpe-openai`: 47 MB), and gives up on long runs of spaces. Tests hold
//! it against OpenAI's own counts.

use std::sync::OnceLock;

use regex::Regex;

use super::bpe::{Scratch, Vocabulary};
use super::estimate::estimate_text;
use super::split::{CL100K, O200K, Pieces};

/// An encoding of OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// GPT-4o and everything after it.
    O200k,
    /// GPT-4, GPT-3.5 and the embedding models.
    Cl100k,
}

/// What counting in one encoding needs.
struct Loaded {
    pattern: Regex,
    vocabulary: Vocabulary,
}

/// Models by how their names begin, longer ones first. Sources: the table of OpenAI's tiktoken package, and Azure's
/// spelling of GPT-3.5.
const MODELS: &[(&str, Encoding)] = &[
    ("gpt-4o", Encoding::O200k),
    ("gpt-4.1", Encoding::O200k),
    ("gpt-4.5", Encoding::O200k),
    ("gpt-4", Encoding::Cl100k),
    ("gpt-3.5", Encoding::Cl100k),
    ("gpt-35", Encoding::Cl100k),
    ("gpt-oss", Encoding::O200k),
    ("chatgpt-", Encoding::O200k),
    ("codex-", Encoding::O200k),
    ("text-embedding-3-", Encoding::Cl100k),
    ("text-embedding-ada-002", Encoding::Cl100k),
];

// === impl Encoding ===

impl Encoding {
    /// The encoding of a model, by its name at any service: `gpt-4o`, `openai/gpt-4o-mini`, `ft:gpt-4o:me`.
    ///
    /// ```
    /// use llmpool::tokens::Encoding;
    /// assert_eq!(Encoding::of_model("openai/gpt-4o-mini"), Some(Encoding::O200k));
    /// assert_eq!(Encoding::of_model("claude-sonnet-4-5"), None);
    /// ```
    pub fn of_model(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let name = name.strip_prefix("ft:").unwrap_or(&name);
        let known = MODELS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, encoding)| *encoding);
        // Reasoning models are an `o` and a number, and every later GPT is a number above 4.
        let is_numbered = |start: &str, least: char| {
            let digit = name.strip_prefix(start).and_then(|rest| rest.chars().next());
            digit.is_some_and(|digit| digit.is_ascii_digit() && digit >= least)
        };
        known.or_else(|| (is_numbered("o", '1') || is_numbered("gpt-", '5')).then_some(Self::O200k))
    }

    /// `o200k_base` or `cl100k_base`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::O200k, Self::Cl100k].into_iter().find(|encoding| encoding.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        }
    }

    /// Tokens of a text. Words that stand for special tokens are text like any other.
    ///
    /// ```
    /// use llmpool::tokens::Encoding;
    /// assert_eq!(Encoding::O200k.count("Hello, world!"), 4);
    /// ```
    pub fn count(self, text: &str) -> u64 {
        let Some(Loaded { pattern, vocabulary }) = self.loaded() else { return estimate_text(text.len()) };
        let mut scratch = Scratch::default();
        Pieces::new(pattern, text).map(|piece| vocabulary.count(piece.as_bytes(), &mut scratch) as u64).sum()
    }

    /// `None` only if a pattern of ours were wrong, which a test rules out.
    fn loaded(self) -> Option<&'static Loaded> {
        static READ_O200K: OnceLock<Option<Loaded>> = OnceLock::new();
        static READ_CL100K: OnceLock<Option<Loaded>> = OnceLock::new();
        let load = |pattern: &str, file: &'static [u8], tokens: usize| {
            Some(Loaded { pattern: Regex::new(pattern).ok()?, vocabulary: Vocabulary::read(file, tokens) })
        };
        let loaded = match self {
            Self::O200k => {
                READ_O200K.get_or_init(|| load(O200K, include_bytes!("vocabulary/o200k_base.bin"), O200K_TOKENS))
            }
            Self::Cl100k => {
                READ_CL100K.get_or_init(|| load(CL100K, include_bytes!("vocabulary/cl100k_base.bin"), CL100K_TOKENS))
            }
        };
        loaded.as_ref()
    }
}

/// Tokens of the vocabularies, so that their tables are made in the right size at once.
const O200K_TOKENS: usize = 199_998;
const CL100K_TOKENS: usize = 100_256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabularies_are_whole() {
        for (encoding, tokens) in [(Encoding::O200k, O200K_TOKENS), (Encoding::Cl100k, CL100K_TOKENS)] {
            assert_eq!(encoding.loaded().expect("a good pattern").vocabulary.len(), tokens);
        }
    }

    #[test]
    fn models_have_the_encoding_of_their_family() {
        for model in [
            "gpt-4o",
            "gpt-4o-mini",
            "chatgpt-4o-latest",
            "gpt-4.1-nano",
            "o1",
            "o3-mini",
            "gpt-5",
            "gpt-5.4-mini",
            "gpt-6-sol",
            "openai/gpt-oss-120b",
            "ft:gpt-4o-mini:me::x",
            "GPT-4o",
        ] {
            assert_eq!(Encoding::of_model(model), Some(Encoding::O200k), "{model}");
        }
        for model in ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-35-turbo", "text-embedding-3-small"] {
            assert_eq!(Encoding::of_model(model), Some(Encoding::Cl100k), "{model}");
        }
        for model in ["claude-sonnet-4-5", "llama-3.3-70b", "gpt-neo", "olmo-2", "openchat", "", "mixtral-8x7b-32768"] {
            assert_eq!(Encoding::of_model(model), None, "{model}");
        }
    }

    #[test]
    fn nothing_is_nothing_and_special_tokens_are_text() {
        assert_eq!(Encoding::O200k.count(""), 0);
        assert!(Encoding::Cl100k.count("<|endoftext|>") > 1);
    }

    /// `__test__/tokens.test.mjs` compares hundreds of texts with the npm package `tiktoken`; these are a few of them.
    #[test]
    fn counts_are_those_of_tiktoken() {
        for (text, o200k, cl100k) in [
            ("Hello, world!", 4, 4),
            ("   leading and  double   spaces\n\n\tand tabs ", 11, 11),
            ("Привет, как дела?", 6, 8),
            ("今天天气怎么样？", 5, 10),
            ("👩‍👩‍👧‍👦", 11, 18),
            ("fn main() { println!(\"{}\", 1_000_000); }", 14, 14),
        ] {
            assert_eq!((Encoding::O200k.count(text), Encoding::Cl100k.count(text)), (o200k, cl100k), "{text:?}");
        }
    }
}
