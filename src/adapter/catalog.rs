//! The services the pool knows, as data.
//!
//! A service is a row: which adapter speaks to it, where it lives, and where its dialect differs from its family's.
//! A quirk of a vendor is a field of its row, never an `if` on its name. What single models refuse is a table too,
//! because it changes with every release; `extra_body` is the user's way around an outdated row.

/// Which wire dialect family a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// OpenAI chat completions and everything shaped like it.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
}

/// One known service.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// The `type` of a provider in the configuration, and the key of its part of `extra_body`.
    pub name: &'static str,
    /// The adapter that translates for it.
    pub adapter: AdapterKind,
    /// Where it lives when the configuration does not say; `None`: the configuration has to.
    pub base_url: Option<&'static str>,
    /// Whether it answers without a key.
    pub needs_key: bool,
    pub(super) root: Root,
    pub(super) dialect: Dialect,
}

/// What completes a base URL that was pasted without its version path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// A base with a path of its own is used as it is, as OpenAI's SDKs do; a bare origin gets this one.
    IfBare(&'static str),
    /// Always ends in this: the official SDK takes the base without it, others with it.
    Always(&'static str),
}

/// Names of request fields. `messages[].x` is a field of every message.
pub(super) type Fields = &'static [&'static str];

/// How a service's wire differs inside its family.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// The field that bounds the answer.
    pub max_tokens: &'static str,
    /// Whether there is a `developer` role; otherwise it is sent as `system`.
    pub developer_role: bool,
    /// Whether a stream reports usage only when `stream_options.include_usage` asks for it. Where it then arrives
    /// (an extra chunk, the finish chunk, `x_groq`) needs no row: the decoder looks at all three.
    pub include_usage: bool,
    /// Whether `logprobs` is the number of alternatives instead of a switch beside `top_logprobs`.
    pub logprobs_is_count: bool,
    /// Request fields it does not take.
    pub refuses: &'static [Fields],
    /// What single models do not take; the first row that matches counts.
    pub models: &'static [ModelRule],
    /// Which ids of tool calls it accepts.
    pub tool_ids: IdRule,
    /// Headers that carry the `organization` and the `project` of a provider.
    pub organization_header: Option<&'static str>,
    pub project_header: Option<&'static str>,
}

/// Ids of tool calls that a service accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRule {
    pub max_len: usize,
    /// Only letters, digits, `_` and `-`.
    pub word: bool,
}

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

/// The service with this name.
///
/// ```
/// assert!(llmpool::adapter::service("groq").is_some_and(|groq| groq.needs_key));
/// ```
pub fn service(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// Every service, in the order documentation lists them.
pub fn services() -> &'static [Service] {
    SERVICES
}

// === the services ===

/// Fields of OpenAI's own platform that the model hosts below do not have: absent from the request types of groq-sdk
/// 1.6.0 and together-ai 0.52.0, or described there as not supported. Groq answers 400 to an unknown field.
const PLATFORM: Fields = &[
    "audio",
    "metadata",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "store",
    "verbosity",
    "web_search_options",
];

const ANY_ID: IdRule = IdRule { max_len: usize::MAX, word: false };

const OPENAI: Dialect = Dialect {
    // `max_tokens` is deprecated and a 400 on reasoning models; every chat model takes this one (OpenAPI 2.3.0).
    max_tokens: "max_completion_tokens",
    developer_role: true,
    include_usage: true,
    logprobs_is_count: false,
    refuses: &[],
    models: OPENAI_MODELS,
    tool_ids: IdRule { max_len: 40, word: false },
    organization_header: Some("openai-organization"),
    project_header: Some("openai-project"),
};

const SERVICES: &[Service] = &[
    Service {
        name: "openai",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.openai.com/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: OPENAI,
    },
    Service {
        name: "groq",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.groq.com/openai/v1"),
        needs_key: true,
        root: Root::IfBare("/openai/v1"),
        dialect: Dialect {
            developer_role: false,
            include_usage: false, // comes in `x_groq.usage` by itself
            refuses: &[
                PLATFORM,
                &["presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"],
                // Named in Groq's compatibility notes as a 400.
                &["messages[].name", "messages[].refusal"],
            ],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
            ..OPENAI
        },
    },
    Service {
        name: "together",
        adapter: AdapterKind::OpenAi,
        base_url: Some("https://api.together.xyz/v1"),
        needs_key: true,
        root: Root::IfBare("/v1"),
        dialect: Dialect {
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false, // comes with the finish chunk by itself
            logprobs_is_count: true,
            refuses: &[PLATFORM, &["user", "functions", "service_tier", "parallel_tool_calls", "messages[].refusal"]],
            models: &[],
            tool_ids: ANY_ID,
            organization_header: None,
            project_header: None,
        },
    },
    // vLLM, llama.cpp, LM Studio, proxies: whatever they do not know they mostly ignore, so nothing is held back. The
    // models are OpenAI's own where a proxy or Azure stands in front of them.
    Service {
        name: "openai-compatible",
        adapter: AdapterKind::OpenAi,
        base_url: None,
        needs_key: false,
        root: Root::IfBare("/v1"),
        dialect: Dialect { max_tokens: "max_tokens", developer_role: false, tool_ids: ANY_ID, ..OPENAI },
    },
    Service {
        name: "anthropic",
        adapter: AdapterKind::Anthropic,
        base_url: Some("https://api.anthropic.com"),
        needs_key: true,
        root: Root::Always("/v1"),
        dialect: Dialect {
            max_tokens: "max_tokens",
            developer_role: false,
            include_usage: false,
            logprobs_is_count: false,
            // Request type of @anthropic-ai/sdk 1.12.0: it has no such fields.
            refuses: &[
                PLATFORM,
                &["presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "seed"],
                &["functions", "function_call", "messages[].name"],
            ],
            models: CLAUDE_MODELS,
            tool_ids: IdRule { max_len: usize::MAX, word: true }, // 400 unless it matches ^[a-zA-Z0-9_-]+$
            organization_header: None,
            project_header: None,
        },
    },
];

// === the models ===

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
const OPENAI_MODELS: &[ModelRule] = &[
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

const CLAUDE: ModelRule = ModelRule {
    models: Models::Prefix("claude-"),
    refuses: &[],
    refuses_reasoning: &[],
    either: Some(("temperature", "top_p")),
    max_tokens: None,
};

/// From 4.5 on `temperature` and `top_p` exclude each other and structured output exists; after 4.6 no sampling field
/// is taken. `output_config.effort` came with Opus 4.5 and reached the other lines with 4.6.
const CLAUDE_MODELS: &[ModelRule] = &[
    ModelRule {
        models: Models::Versions {
            prefixes: &["claude-opus-", "claude-sonnet-", "claude-haiku-"],
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
        refuses: &[&["reasoning_effort"]],
        ..CLAUDE
    },
    ModelRule {
        models: Models::Versions {
            prefixes: &["claude-opus-", "claude-sonnet-", "claude-haiku-", "claude-"],
            from: (1, 0),
            below: (4, 5),
        },
        refuses: &[&["reasoning_effort", "response_format"]],
        either: None,
        ..CLAUDE
    },
];

// === impl Dialect, Models ===

impl Dialect {
    /// Whether the service takes this field, whatever its models do.
    pub(super) fn takes(&self, field: &str) -> bool {
        !self.refuses.iter().any(|fields| fields.contains(&field))
    }
}

impl Models {
    pub(super) fn contain(&self, model: &str) -> bool {
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
    use crate::types::ChatRequest;

    fn rule(service_name: &str, model: &str) -> Option<usize> {
        let service = service(service_name).expect("known");
        service.dialect.models.iter().position(|rule| rule.models.contain(model))
    }

    #[test]
    fn every_refused_field_is_a_field_of_a_request() {
        const OWN: &[&str] = &[
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "stop",
            "seed",
            "parallel_tool_calls",
            "response_format",
            "reasoning_effort",
            "user",
            "metadata",
            "messages[].name",
            "messages[].refusal",
        ];
        for service in services() {
            let models =
                service.dialect.models.iter().flat_map(|rule| rule.refuses.iter().chain(rule.refuses_reasoning));
            for field in service.dialect.refuses.iter().chain(models).copied().flatten() {
                assert!(OWN.contains(field) || ChatRequest::OPENAI_FIELDS.contains(field), "{}: {field}", service.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for wanted in services() {
            assert_eq!(service(wanted.name).map(|found| found.name), Some(wanted.name));
            assert_eq!(services().iter().filter(|other| other.name == wanted.name).count(), 1);
        }
        assert_eq!(service("OpenAI"), None);
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
            assert_eq!(rule("openai", model), family, "{model}");
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
            assert_eq!(rule("anthropic", model), family, "{model}");
        }
    }
}
