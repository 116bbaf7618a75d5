//! What is known of single models: what they can do, and how long a prompt they read. Data, and how a configuration
//! goes over it.
//!
//! What no row says is not known, and believed: a provider is kept from a request only by what is known against it. So a
//! row that is missing costs at most a refusal by the provider, which fails over; a row that is wrong costs a provider,
//! and `capabilities` and `context_window` of the configuration go over it.
//!
//! Sources: the model table of litellm 1.109.1 (PyPI, `model_prices_and_context_window_backup.json`), read 2026-11-26,
//! and the request types of the SDKs that `catalog.rs` names. A window is the longest prompt.

use super::capabilities::{Capabilities, Capability};
use super::catalog::Service;
use super::models::Models;

/// What is known of one model at one provider. What is in neither set is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    pub can: Capabilities,
    pub cannot: Capabilities,
    /// The longest prompt, in tokens; `None`: not known.
    pub context_window: Option<u64>,
    /// The window is the configuration's word, not the catalogue's.
    pub window_is_stated: bool,
}

/// What a configuration says of a model, or of all models of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
    /// Everything it can do. A list that names neither `chat` nor `embeddings` leaves open which of them it does.
    pub capabilities: Option<Capabilities>,
    pub context_window: Option<u64>,
}

/// A family of models and what is known of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub models: Models,
    pub can: Capabilities,
    pub cannot: Capabilities,
    pub window: Option<u64>,
}

/// Rows of one vendor's models; the first one that matches counts.
pub(super) type Rows = &'static [Row];

/// What is known of `model` of this service, with what the configuration says over it: of the model, then of the provider.
pub(super) fn of(service: &Service, model: &str, of_model: Stated, of_provider: Stated) -> Facts {
    let mut facts = catalogued(service, model);
    let stated = of_model.capabilities.or(of_provider.capabilities);
    if let Some(list) = stated {
        let kinds =
            if list.common(Capabilities::KINDS).is_empty() { Capabilities::default() } else { Capabilities::KINDS };
        let said = ALL.without(Capabilities::KINDS).and(kinds);
        facts.can = facts.can.without(said).and(list);
        facts.cannot = facts.cannot.without(said).and(said.without(list));
    }
    let window = of_model.context_window.or(of_provider.context_window);
    facts.window_is_stated = window.is_some();
    facts.context_window = window.or(facts.context_window);
    facts
}

fn catalogued(service: &Service, model: &str) -> Facts {
    let dialect = &service.dialect;
    let row = dialect.facts.iter().copied().chain([ANYWHERE]).flatten().find(|row| row.models.contain(model));
    let mut facts = row.map_or_else(Facts::default, |row| Facts {
        can: row.can,
        cannot: row.cannot,
        context_window: row.window,
        window_is_stated: false,
    });
    facts.cannot = facts.cannot.and(dialect.cannot);
    if dialect.embeddings.is_none() {
        facts.cannot = facts.cannot.and(Capabilities::of(&[Embeddings]));
    }
    facts.can = facts.can.without(facts.cannot);
    facts
}

const ALL: Capabilities = Capabilities::of(&Capability::ALL);

use Capability::{Audio, Chat, Embeddings, Files, JsonSchema, ParallelTools, Tools, Vision};

/// A chat model: what it can do beside chat, and what it cannot.
const fn chat(models: Models, window: u64, can: &[Capability], cannot: &[Capability]) -> Row {
    Row {
        models,
        can: Capabilities::of(can).and(Capabilities::of(&[Chat])),
        cannot: Capabilities::of(cannot).and(Capabilities::of(&[Embeddings])),
        window: Some(window),
    }
}

const fn embeddings(models: Models, window: Option<u64>) -> Row {
    Row { models, can: Capabilities::of(&[Embeddings]), cannot: ALL.without(Capabilities::of(&[Embeddings])), window }
}

/// The window is not known.
const fn unbounded(row: Row) -> Row {
    Row { window: None, ..row }
}

const fn versions(prefixes: &'static [&'static str], from: (u32, u32), below: (u32, u32)) -> Models {
    Models::Versions { prefixes, from, below }
}

const TEXT: &[Capability] = &[Vision, Audio, Files];
const SEES: &[Capability] = &[Tools, ParallelTools, JsonSchema, Vision, Files];
const HEARS_TOO: &[Capability] = &[Tools, ParallelTools, JsonSchema, Vision, Audio, Files];

/// Models that every service names alike.
const ANYWHERE: Rows = &[embeddings(Models::Contains("embed"), None)];

pub(super) const OPENAI: Rows = &[
    embeddings(Models::Prefix("text-embedding-"), Some(8_191)),
    chat(Models::Prefix("gpt-3.5-turbo"), 16_385, &[Tools], &[Vision, Audio, Files, JsonSchema]),
    chat(Models::Contains("-audio"), 128_000, &[Tools, Audio], &[Vision, JsonSchema]),
    chat(Models::Prefix("gpt-4o-2024-05-13"), 128_000, &[Tools, ParallelTools, Vision], &[Audio, JsonSchema]),
    chat(Models::Prefix("gpt-4o"), 128_000, SEES, &[Audio]),
    chat(Models::Prefix("chatgpt-4o"), 128_000, &[Vision], &[Audio]),
    chat(Models::Prefix("gpt-4.1"), 1_047_576, SEES, &[Audio]),
    chat(Models::Prefix("gpt-4.5"), 128_000, SEES, &[Audio]),
    chat(Models::Prefix("gpt-4-turbo"), 128_000, &[Tools, ParallelTools, Vision], &[Audio, JsonSchema]),
    chat(Models::Prefix("gpt-4-1106"), 128_000, &[Tools, ParallelTools], &[Audio, JsonSchema]),
    chat(Models::Prefix("gpt-4-0125"), 128_000, &[Tools, ParallelTools], &[Audio, JsonSchema]),
    chat(Models::Prefix("gpt-4-32k"), 32_768, &[Tools], &[Vision, Audio, Files, JsonSchema]),
    chat(Models::Prefix("gpt-4"), 8_192, &[Tools], &[Vision, Audio, Files, JsonSchema]),
    chat(Models::Prefix("o1-mini"), 128_000, &[], &[Tools, ParallelTools, Vision, Audio, Files, JsonSchema]),
    chat(Models::Prefix("o1-preview"), 128_000, &[], &[Tools, ParallelTools, Vision, Audio, Files, JsonSchema]),
    chat(Models::Prefix("o3-mini"), 200_000, &[Tools, JsonSchema], TEXT),
    chat(versions(&["o"], (1, 0), (10, 0)), 200_000, &[Tools, JsonSchema, Vision, Files], &[Audio]),
    chat(Models::Prefix("gpt-5-chat"), 128_000, &[JsonSchema, Vision, Files], &[Tools, ParallelTools, Audio]),
    chat(Models::Contains("-chat-latest"), 128_000, SEES, &[Audio]),
    chat(Models::Prefix("gpt-5.4-mini"), 272_000, SEES, &[Audio]),
    chat(Models::Prefix("gpt-5.4-nano"), 272_000, SEES, &[Audio]),
    chat(versions(&["gpt-"], (5, 0), (5, 4)), 272_000, SEES, &[Audio]),
    chat(versions(&["gpt-"], (5, 4), (5, 6)), 1_050_000, SEES, &[Audio]),
    chat(versions(&["gpt-"], (5, 6), (20, 0)), 922_000, SEES, &[Audio]),
];

const CLAUDES: &[&str] =
    &["claude-opus-", "claude-sonnet-", "claude-haiku-", "claude-fable-", "claude-mythos-", "claude-"];

pub(super) const CLAUDE: Rows = &[
    chat(Models::Prefix("claude-haiku-4-5"), 200_000, SEES, &[Audio]),
    chat(versions(CLAUDES, (4, 6), (100, 0)), 1_000_000, SEES, &[Audio]),
    chat(versions(CLAUDES, (4, 5), (4, 6)), 200_000, SEES, &[Audio]),
    chat(versions(CLAUDES, (3, 0), (4, 5)), 200_000, &[Tools, ParallelTools, Vision], &[Audio, JsonSchema]),
    unbounded(chat(
        versions(CLAUDES, (1, 0), (3, 0)),
        0,
        &[],
        &[Tools, ParallelTools, Vision, Audio, Files, JsonSchema],
    )),
];

pub(super) const GEMINI: Rows = &[
    embeddings(Models::Prefix("gemini-embedding-001"), Some(2_048)),
    embeddings(Models::Prefix("gemini-embedding-2"), Some(8_192)),
    embeddings(Models::Prefix("text-embedding-004"), Some(2_048)),
    chat(Models::Prefix("gemini-1.5-pro"), 2_097_152, HEARS_TOO, &[]),
    chat(versions(&["gemini-"], (1, 5), (100, 0)), 1_048_576, HEARS_TOO, &[]),
    chat(Models::Prefix("gemini-flash-"), 1_048_576, HEARS_TOO, &[]),
    chat(Models::Prefix("gemini-pro-latest"), 1_048_576, HEARS_TOO, &[]),
];

pub(super) const COHERE: Rows = &[
    embeddings(Models::Prefix("embed-v"), Some(128_000)),
    embeddings(Models::Prefix("embed-"), Some(512)),
    chat(Models::Contains("vision"), 128_000, &[JsonSchema, Vision], &[Tools, ParallelTools]),
    chat(Models::Prefix("command-a-plus"), 128_000, &[Tools, ParallelTools, JsonSchema, Vision], &[]),
    chat(Models::Prefix("command-a-03"), 256_000, &[Tools, ParallelTools, JsonSchema], &[Vision]),
    chat(Models::Prefix("command-r"), 128_000, &[Tools, ParallelTools, JsonSchema], &[Vision]),
];

pub(super) const MISTRAL: Rows = &[
    embeddings(Models::Contains("embed"), Some(8_192)),
    chat(Models::Prefix("voxtral"), 32_768, &[Tools, JsonSchema, Audio], &[Vision]),
    chat(Models::Prefix("codestral"), 256_000, &[Tools, JsonSchema], TEXT),
    chat(Models::Prefix("devstral"), 256_000, &[Tools, JsonSchema], TEXT),
    chat(Models::Prefix("pixtral"), 128_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(Models::Prefix("mistral-large-4"), 1_048_576, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(Models::Prefix("mistral-large"), 262_144, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("mistral-medium"), 262_144, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("mistral-small"), 262_144, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("magistral"), 262_144, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("ministral"), 262_144, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("open-mistral-nemo"), 128_000, &[JsonSchema], TEXT),
];

pub(super) const DEEPSEEK: Rows = &[
    chat(Models::Prefix("deepseek-chat"), 131_072, &[Tools, ParallelTools], &[]),
    chat(Models::Prefix("deepseek-reasoner"), 131_072, &[], &[]),
    chat(Models::Prefix("deepseek-v4-pro"), 1_000_000, &[Tools, ParallelTools], &[]),
    chat(Models::Prefix("deepseek-v4-flash"), 1_000_000, &[Tools, ParallelTools], &[]),
    chat(Models::Prefix("deepseek-flash"), 1_000_000, &[Tools, ParallelTools], &[]),
];

/// Groq names the models that take a schema; the others answer 400 to one.
pub(super) const GROQ: Rows = &[
    chat(Models::Prefix("gpt-oss-"), 131_072, &[Tools, JsonSchema], &[Vision]),
    chat(Models::Prefix("llama-4-"), 131_072, &[Tools, ParallelTools, JsonSchema, Vision], &[]),
    chat(Models::Prefix("kimi-k2"), 262_144, &[Tools, ParallelTools, JsonSchema], &[Vision]),
    chat(Models::Prefix("llama-3."), 131_072, &[Tools, ParallelTools], &[Vision, JsonSchema]),
    chat(Models::Prefix("llama3-"), 8_192, &[Tools, ParallelTools], &[Vision, JsonSchema]),
    chat(Models::Prefix("qwen3-32b"), 131_072, &[Tools, ParallelTools], &[Vision, JsonSchema]),
    chat(Models::Prefix("qwen3.8"), 131_072, &[Tools, JsonSchema, Vision], &[]),
    chat(Models::Prefix("gemma2-"), 8_192, &[Tools], &[Vision, JsonSchema]),
    chat(Models::Prefix("mixtral-8x7b"), 32_768, &[Tools], &[Vision, JsonSchema]),
    unbounded(chat(Models::Prefix("compound"), 0, &[], &[Tools, ParallelTools, Vision, JsonSchema])),
];

pub(super) const GROK: Rows = &[
    chat(Models::Prefix("grok-3"), 131_072, &[Tools, JsonSchema], &[Vision, Audio]),
    chat(Models::Prefix("grok-code"), 256_000, &[Tools, JsonSchema], &[Audio]),
    chat(Models::Prefix("grok-4-fast"), 2_000_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(Models::Prefix("grok-4-1-fast"), 2_000_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(versions(&["grok-"], (4, 3), (4, 4)), 1_000_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(versions(&["grok-"], (4, 5), (4, 8)), 500_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(versions(&["grok-"], (4, 20), (4, 21)), 1_000_000, &[Tools, JsonSchema, Vision], &[Audio]),
    chat(versions(&["grok-"], (4, 0), (4, 1)), 256_000, &[Tools, JsonSchema, Vision], &[Audio]),
];

pub(super) const SONAR: Rows = &[
    embeddings(Models::Prefix("pplx-embed"), Some(32_768)),
    chat(Models::Prefix("sonar-pro"), 200_000, &[JsonSchema], &[]),
    chat(Models::Prefix("sonar"), 128_000, &[JsonSchema], &[]),
];

#[cfg(test)]
mod tests {
    use super::super::catalog::service;
    use super::*;

    fn known(name: &str, model: &str) -> Facts {
        of(service(name).expect("known"), model, Stated::default(), Stated::default())
    }

    #[test]
    fn models_have_the_window_of_their_family() {
        for (name, model, window) in [
            ("openai", "gpt-4o-mini", Some(128_000)),
            ("openai", "gpt-4", Some(8_192)),
            ("openai", "gpt-4-turbo-2024-04-09", Some(128_000)),
            ("openai", "gpt-4.1-nano", Some(1_047_576)),
            ("openai", "gpt-5-mini-2025-08-07", Some(272_000)),
            ("openai", "gpt-5.4", Some(1_050_000)),
            ("openai", "gpt-5.4-mini", Some(272_000)),
            ("openai", "gpt-6-sol", Some(922_000)),
            ("openai", "o4-mini", Some(200_000)),
            ("openai", "text-embedding-3-small", Some(8_191)),
            ("openai", "brand-new", None),
            ("openrouter", "anthropic/claude-sonnet-4-5", Some(200_000)),
            ("anthropic", "claude-3-5-sonnet-20241022", Some(200_000)),
            ("anthropic", "claude-opus-4-7", Some(1_000_000)),
            ("anthropic", "claude-haiku-4-5-20251001", Some(200_000)),
            ("gemini", "gemini-2.5-flash", Some(1_048_576)),
            ("gemini", "models/gemini-embedding-001", Some(2_048)),
            ("cohere", "command-r-plus-08-2024", Some(128_000)),
            ("xai", "grok-4.20-reasoning", Some(1_000_000)),
            ("xai", "grok-4-0709", Some(256_000)),
            ("azure", "gpt-4", None),             // a deployment may have any name
            ("openai-compatible", "gpt-4", None), // and so may a local model
            ("ollama", "llama3.1", None),         // the window is the server's own setting
        ] {
            assert_eq!(known(name, model).context_window, window, "{name} {model}");
        }
    }

    #[test]
    fn what_no_row_says_is_neither_there_nor_missing() {
        let unknown = known("openai-compatible", "anything");
        assert_eq!(unknown, Facts::default());
        for (name, model, missing) in [
            ("perplexity", "sonar", "embeddings, tools, parallel_tools, audio"),
            ("deepseek", "anything", "embeddings, audio, files"),
            ("anthropic", "claude-2.1", "embeddings, tools, parallel_tools, json_schema, vision, audio, files"),
            ("anthropic", "anything", "embeddings, audio"),
            ("openai", "gpt-4o", "embeddings, audio"),
            ("ollama", "nomic-embed-text", "chat, tools, parallel_tools, json_schema, vision, audio, files"),
        ] {
            assert_eq!(known(name, model).cannot.to_string(), missing, "{name} {model}");
        }
    }

    #[test]
    fn what_the_configuration_says_goes_over_the_catalogue() {
        let openai = service("openai").expect("known");
        let list = |list: &[Capability]| Stated { capabilities: Some(Capabilities::of(list)), ..Stated::default() };
        let facts = of(openai, "gpt-4o", Stated::default(), list(&[Tools, Audio]));
        assert_eq!(facts.can.to_string(), "chat, tools, audio");
        assert_eq!(facts.cannot.to_string(), "embeddings, parallel_tools, json_schema, vision, files");
        // The model's own list goes over the provider's, and a list of features leaves the kind as it is.
        let facts = of(openai, "text-embedding-3-small", list(&[]), list(&[Vision]));
        assert_eq!((facts.can.to_string().as_str(), facts.cannot.contains(Chat)), ("embeddings", true));
        let facts = of(openai, "mine", list(&[Embeddings]), Stated::default());
        assert!(facts.can == Capabilities::of(&[Embeddings]) && facts.cannot.contains(Chat));
        assert!(!of(openai, "mine", list(&[Vision]), Stated::default()).cannot.contains(Chat));

        let window = |window| Stated { context_window: Some(window), ..Stated::default() };
        assert_eq!(of(openai, "gpt-4o", Stated::default(), window(5)).context_window, Some(5));
        assert_eq!(of(openai, "gpt-4o", window(0), window(5)).context_window, Some(0));
    }
}
