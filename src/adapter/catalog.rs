//! The services the pool knows, as data.
//!
//! A service is a row: which adapter speaks to it, where it lives, and where its dialect differs from its family's.
//! A quirk of a vendor is a field of its row, never an `if` on its name.

use super::models::{CLAUDE_MODELS, ModelRule, OPENAI_MODELS};

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
    /// Whether it answers only with a key.
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

// === impl Dialect ===

impl Dialect {
    /// Whether the service takes this field, whatever its models do.
    pub(super) fn takes(&self, field: &str) -> bool {
        !self.refuses.iter().any(|fields| fields.contains(&field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ChatRequest;

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
}
