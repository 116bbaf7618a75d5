//! What single models do not take, as data.
//!
//! Facts of this kind age in weeks. A row that is out of date costs a field, which a warning names and `extra_body`
//! sends all the same; it never costs the answer, as a 400 would.

use super::catalog::Fields;

/// What the models of one family do not take.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModelRule {
    pub models: Models,
    pub refuses: &'static [Fields],
    /// Refused as well unless `reasoning_effort` is `none`.
    pub refuses_reasoning: &'static [Fields],
    /// Takes the one or the other; the second is left out when both are given.
    pub either: Option<(&'static str, &'static str)>,
    pub max_tokens: Option<&'static str>,
}

/// A family of models, by name. The part before the last `/` and a leading `ft:` do not belong to the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Models {
    Prefix(&'static str),
    Contains(&'static str),
    /// One of the prefixes followed by a version: `gpt-5.1-mini`, `claude-opus-4-5-20251101`.
    Versions {
        prefixes: &'static [&'static str],
        from: (u32, u32),
        below: (u32, u32),
    },
}

const SAMPLING: Fields = &["temperature", "top_p", "logprobs", "top_logprobs"];
const PENALTIES: Fields = &["presence_penalty", "frequency_penalty", "logit_bias"];
/// Gone since o3 and o4-mini.
const STOP: Fields = &["stop"];

const REASONING: ModelRule = ModelRule {
    models: Models::Prefix(""),
    refuses: &[SAMPLING, PENALTIES, STOP],
    refuses_reasoning: &[],
    either: None,
    max_tokens: Some("max_completion_tokens"),
};

/// OpenAI's reasoning models answer 400 `unsupported_parameter` to sampling fields. Versions end below numbers that
/// never were models of that line: `gpt-35-turbo` is Azure's name for 3.5.
pub(super) const OPENAI_MODELS: &[ModelRule] = &[
    ModelRule { models: Models::Prefix("gpt-5-chat"), refuses: &[], max_tokens: None, ..REASONING },
    ModelRule {
        models: Models::Versions { prefixes: &["o"], from: (1, 0), below: (3, 0) },
        refuses: &[SAMPLING, PENALTIES],
        ..REASONING
    },
    ModelRule { models: Models::Versions { prefixes: &["o"], from: (3, 0), below: (10, 0) }, ..REASONING },
    ModelRule { models: Models::Versions { prefixes: &["gpt-"], from: (5, 0), below: (5, 1) }, ..REASONING },
    ModelRule {
        models: Models::Versions { prefixes: &["gpt-"], from: (5, 1), below: (6, 0) },
        refuses: &[PENALTIES, STOP],
        refuses_reasoning: &[SAMPLING],
        ..REASONING
    },
    ModelRule {
        models: Models::Versions { prefixes: &["gpt-"], from: (6, 0), below: (20, 0) },
        refuses: &[SAMPLING, PENALTIES, STOP, &["prompt_cache_retention"]],
        ..REASONING
    },
    ModelRule {
        models: Models::Contains("-search-preview"),
        refuses: &[&["temperature"]],
        max_tokens: None,
        ..REASONING
    },
];

/// xAI's reasoning models refuse the penalties and `stop` (@ai-sdk/xai 3.0.138).
pub(super) const GROK_MODELS: &[ModelRule] = &[
    ModelRule { models: Models::Contains("non-reasoning"), refuses: &[], max_tokens: None, ..REASONING },
    ModelRule {
        models: Models::Prefix("grok-3-mini"),
        refuses: &[&["presence_penalty", "frequency_penalty"], STOP],
        max_tokens: None,
        ..REASONING
    },
    ModelRule {
        models: Models::Versions { prefixes: &["grok-"], from: (4, 0), below: (20, 0) },
        refuses: &[&["presence_penalty", "frequency_penalty"], STOP],
        max_tokens: None,
        ..REASONING
    },
    ModelRule {
        models: Models::Prefix("grok-code"),
        refuses: &[&["presence_penalty", "frequency_penalty"], STOP],
        max_tokens: None,
        ..REASONING
    },
];

/// Google answers 400 "Penalty is not enabled for this model" from 2.5 on.
pub(super) const GEMINI_MODELS: &[ModelRule] = &[ModelRule {
    models: Models::Versions { prefixes: &["gemini-"], from: (2, 5), below: (100, 0) },
    refuses: &[&["presence_penalty", "frequency_penalty"]],
    max_tokens: None,
    ..REASONING
}];

/// Cohere's models that were made before its models began to think.
pub(super) const COHERE_MODELS: &[ModelRule] = &[
    ModelRule { models: Models::Contains("reasoning"), refuses: &[], max_tokens: None, ..REASONING },
    COHERE_UNTHINKING,
    ModelRule { models: Models::Prefix("command-a-03"), ..COHERE_UNTHINKING },
    ModelRule { models: Models::Prefix("command-a-vision"), ..COHERE_UNTHINKING },
    ModelRule { models: Models::Prefix("command-a-translate"), ..COHERE_UNTHINKING },
    ModelRule { models: Models::Prefix("c4ai-"), ..COHERE_UNTHINKING },
];

const COHERE_UNTHINKING: ModelRule =
    ModelRule { models: Models::Prefix("command-r"), refuses: &[&["reasoning_effort"]], max_tokens: None, ..REASONING };

const CLAUDE: ModelRule = ModelRule {
    models: Models::Prefix("claude-"),
    refuses: &[],
    refuses_reasoning: &[],
    either: Some(("temperature", "top_p")),
    max_tokens: None,
};

/// From 4.5 on `temperature` and `top_p` exclude each other and structured output exists; after 4.6 no sampling field
/// is taken. How they think is in `anthropic/families.rs`.
pub(super) const CLAUDE_MODELS: &[ModelRule] = &[
    ModelRule {
        models: Models::Versions {
            prefixes: &["claude-opus-", "claude-sonnet-", "claude-haiku-", "claude-mythos-", "claude-fable-"],
            from: (4, 7),
            below: (100, 0),
        },
        refuses: &[&["temperature", "top_p"]],
        either: None,
        ..CLAUDE
    },
    ModelRule {
        models: Models::Versions { prefixes: &["claude-sonnet-", "claude-haiku-"], from: (4, 6), below: (4, 7) },
        ..CLAUDE
    },
    ModelRule { models: Models::Versions { prefixes: &["claude-opus-"], from: (4, 5), below: (4, 7) }, ..CLAUDE },
    ModelRule {
        models: Models::Versions { prefixes: &["claude-sonnet-", "claude-haiku-"], from: (4, 5), below: (4, 6) },
        ..CLAUDE
    },
    ModelRule {
        models: Models::Versions {
            prefixes: &["claude-opus-", "claude-sonnet-", "claude-haiku-", "claude-"],
            from: (1, 0),
            below: (4, 5),
        },
        refuses: &[&["response_format"]],
        either: None,
        ..CLAUDE
    },
];

// === impl Models ===

impl Models {
    pub fn contain(&self, model: &str) -> bool {
        let model = model.strip_prefix("ft:").unwrap_or(model);
        let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix),
            Self::Contains(part) => name.contains(part),
            Self::Versions { prefixes, from, below } => prefixes
                .iter()
                .filter_map(|prefix| name.strip_prefix(prefix).and_then(version))
                .any(|version| (*from..*below).contains(&version)),
        }
    }
}

/// The version a name goes on with: `5.1-mini` is (5, 1), `4-20250514` is (4, 0): a date is no minor version.
fn version(rest: &str) -> Option<(u32, u32)> {
    let number = |text: &str| -> Option<(u32, usize)> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 2 { None } else { Some((text[..digits].parse().ok()?, digits)) }
    };
    let (major, len) = number(rest)?;
    let minor = rest[len..].strip_prefix(['.', '-']).and_then(number).map_or(0, |(minor, _)| minor);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which row of the table a model falls into.
    fn row(table: &[ModelRule], model: &str) -> Option<usize> {
        table.iter().position(|rule| rule.models.contain(model))
    }

    #[test]
    fn openai_models_fall_into_their_families() {
        for (model, family) in [
            ("gpt-4o", None),
            ("gpt-4.1-mini", None),
            ("gpt-35-turbo", None),
            ("gpt-oss-120b", None),
            ("chatgpt-4o-latest", None),
            ("omni-moderation-latest", None),
            ("gpt-5-chat-latest", Some(0)),
            ("o1-mini", Some(1)),
            ("o3", Some(2)),
            ("ft:o4-mini-2025-04-16:org::x", Some(2)),
            ("gpt-5", Some(3)),
            ("gpt-5-2025-08-07", Some(3)),
            ("openai/gpt-5-mini", Some(3)),
            ("gpt-5.1", Some(4)),
            ("gpt-6", Some(5)),
            ("gpt-6.2-nano", Some(5)),
            ("gpt-4o-search-preview-2025-03-11", Some(6)),
        ] {
            assert_eq!(row(OPENAI_MODELS, model), family, "{model}");
        }
    }

    #[test]
    fn claude_models_fall_into_their_families() {
        for (model, family) in [
            ("claude-3-5-sonnet-20241022", Some(4)),
            ("claude-sonnet-4-20250514", Some(4)),
            ("claude-opus-4-1-20250805", Some(4)),
            ("claude-sonnet-4-5", Some(3)),
            ("claude-opus-4-5-20251101", Some(2)),
            ("claude-sonnet-4-6", Some(1)),
            ("claude-opus-4-7", Some(0)),
            ("claude-sonnet-5", Some(0)),
            ("some-other-model", None),
        ] {
            assert_eq!(row(CLAUDE_MODELS, model), family, "{model}");
        }
    }
}
