//! What services say when something is wrong, as tables: codes, phrases and type words, each with its class.
//!
//! [`super::failure`] asks them in order. Inside a table the first row that matches counts. Wording changes without
//! notice; what no longer matches falls through to the status.

use crate::error::FailureClass::{self, *};

/// Codes and types that mean one thing whatever the status, in lower case. The first row that matches counts.
pub(super) const CODES: &[(&[&str], FailureClass)] = &[
    (
        &[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "exceeded_current_quota_error",
            "insufficient_balance",
            "insufficient_credits",
            // Anthropic's `details.error_code`, SDK 1.12.0
            "enforced_spend_limit_reached",
            "contract_spend_limit_reached",
            "linked_organization_spend_limit_reached",
            "linked_organization_billing_unavailable",
            // OpenRouter's `metadata.limit_source`
            "openrouter_credits",
            "openrouter_key_limit",
            "openrouter_free_tier_daily",
        ],
        QuotaExhausted,
    ),
    (
        &[
            "context_length_exceeded",
            "exceed_context_size_error",
            "context_window_exceeded",
            "model_max_prompt_tokens_exceeded",
        ],
        ContextLength,
    ),
    (
        &[
            "content_filter",
            "content_policy_violation",
            "responsibleaipolicyviolation",
            "moderation_blocked",
            "data_inspection_failed",
        ],
        ContentFilter,
    ),
    (&["tool_use_failed", "json_validate_failed", "output_parse_failed"], ModelOutputInvalid),
    (
        &[
            "model_not_found",
            "model_not_available",
            "model_decommissioned",
            "model_not_supported",
            "invalid_model",
            "unsupported_model",
            "deploymentnotfound",
            "1500", // Mistral's number for an invalid model
        ],
        ModelNotFound,
    ),
    (&["invalid_api_key", "api_key_invalid"], Auth),
    (
        &["unsupported_country_region_territory", "organization_on_hold", "account_deactivated", "access_terminated"],
        Permission,
    ),
    (
        &[
            "capacity_exceeded", // Groq's flex tier
            "service_tier_capacity_exceeded",
            "3505", // its number at Mistral
            "server_is_overloaded",
            "overloaded_error",
            "engine_overloaded_error",
        ],
        Overloaded,
    ),
    (&["modelnotreadyexception"], ModelLoading),
    (&["request_too_large"], RequestTooLarge),
    // Named fields: their messages quote the request and must not be searched for phrases.
    (
        &[
            "unsupported_parameter",
            "unsupported_value",
            "unknown_parameter",
            "string_above_max_length",
            "invalid_json_schema",
        ],
        InvalidRequest,
    ),
];

/// A class that services state in prose: it holds if any of the lists has all its parts in the text.
pub(super) struct Phrases {
    pub class: FailureClass,
    pub under: Under,
    pub any: &'static [&'static [&'static str]],
}

/// The client statuses under which words mean what they say. Without a status, in a stream, they always count.
pub(super) enum Under {
    Any,
    AnyBut(&'static [u16]),
    Only(&'static [u16]),
}

/// llama.cpp and Hugging Face say it under 503.
pub(super) const LOADING: &[&[&str]] = &[&["loading model"], &["model", "is loading"], &["model", "currently loading"]];

pub(super) const PHRASES: &[Phrases] = &[
    // "Request too large … tokens per min (TPM): Limit 30000, Requested 61337": never fits, whatever one waits.
    Phrases {
        class: RequestTooLarge,
        under: Under::AnyBut(&[401]),
        any: &[&["request too large"], &["request entity too large"]],
    },
    Phrases {
        class: QuotaExhausted,
        under: Under::AnyBut(&[404]),
        any: &[
            &["credit balance is too low"],
            &["insufficient balance"],
            &["insufficient credit"],
            &["insufficient funds"],
            &["not enough credits"],
            &["requires more credits"],
            &["used all available credits"],
            &["credit limit"],
            &["spend limit"],
            &["spending limit"],
            &["spend limits"],
            &["api usage limits"],
            &["monthly usage"],
            &["key limit exceeded"],
            // Google's: the plan has none of this at all, and no wait brings any.
            &["quota exceeded for metric", "limit: 0,"],
            &["quota exceeded for metric", "limit: 0\n"],
            &["account is suspended"],
        ],
    },
    Phrases {
        class: ContextLength,
        under: Under::AnyBut(&[401, 429]), // "too many tokens" is a rate there
        any: &[
            &["maximum context length"],
            &["model's maximum context limit"],
            &["prompt is too long"],
            &["prompt: length"],
            &["exceed context limit"],
            &["exceeds the available context size"],
            &["exceeds the maximum number of tokens allowed"],
            &["input token count", "exceeds"],
            &["too many tokens"],
            &["input is too long"],
            &["longer than the model's context length"],
            &["`inputs` tokens + `max_new_tokens` must be"],
            &["current length is", "while limit is"],
            &["exceed", "context window"],
            &["exceed", "context length"],
        ],
    },
    Phrases {
        class: ContentFilter,
        under: Under::AnyBut(&[401, 404, 429]),
        any: &[
            &["content management policy"],
            &["content filtering policy"],
            &["input was flagged"],
            &["prompt was flagged"],
            &["content exists risk"],
        ],
    },
    Phrases {
        class: Auth,
        under: Under::AnyBut(&[404, 429]),
        any: &[
            &["incorrect api key"],
            &["invalid api key"],
            &["api key not valid"],
            &["api key is invalid"],
            &["invalid api token"],
            &["invalid x-api-key"],
            &["no auth credentials"],
        ],
    },
    Phrases {
        class: Permission,
        under: Under::AnyBut(&[401, 404, 429]),
        any: &[&["location is not supported"], &["organization has been disabled"], &["organization is on hold"]],
    },
    // Before "no endpoints found": the model is there, and answers what it can.
    Phrases {
        class: Unsupported,
        under: Under::AnyBut(&[401, 429]),
        any: &[
            &["does not support tools"], // Ollama
            &["tool calling", "not supported"],
            &["tool use", "not supported"],
            &["tools are not supported"],
            &["no endpoints found that support"], // OpenRouter: tool use, image input
            &["tool choice requires --enable-auto-tool-choice"], // vLLM
            &["tools param requires --jinja"],    // llama.cpp
            &["does not support image"],
            &["image input is not"], // supported, enabled
            &["not a multimodal model"],
            &["does not support audio"],
        ],
    },
    Phrases {
        class: ModelNotFound,
        under: Under::AnyBut(&[401, 429]),
        any: &[
            &["invalid model"],
            &["is not a valid model"],
            &["model", "does not exist"],
            &["model not exist"],
            &["model", "not found"],
            &["no models loaded"],
            &["no endpoints found"],
        ],
    },
    Phrases { class: Auth, under: Under::Only(&[498]), any: &[&["invalid token"]] }, // Cohere's; Groq's 498 is capacity
    Phrases { class: ModelLoading, under: Under::Any, any: LOADING },
    Phrases {
        class: Overloaded,
        under: Under::AnyBut(&[401, 403, 404]),
        any: &[
            &["overloaded"],
            &["at capacity"],
            &["currently unavailable"],
            &["temporarily unavailable"],
            &["maximum pending requests exceeded"], // Ollama's queue, in a stream, where its 503 is not to be seen
        ],
    },
];

/// A limit that a short wait does not lift.
pub(super) const LONG_WINDOWS: &[&str] =
    &["per day", "per-day", "/ day", "/day", "(rpd)", "(tpd)", "daily", "per month", "per-month", "/ month", "monthly"];
/// Messages about a short window advertise the long one: "free-models-per-min. … 1000 free requests per day".
pub(super) const SHORT_WINDOWS: &[&str] =
    &["per minute", "per min", "per-min", "/ minute", "/min", "(rpm)", "(tpm)", "per second"];

/// Type words; the status says more wherever it is not vague.
pub(super) const TYPES: &[(&[&str], FailureClass)] = &[
    (&["authentication_error", "unauthenticated", "unauthorized"], Auth),
    (&["permission_error", "permission_denied", "failed_precondition", "request_forbidden"], Permission),
    (&["billing_error"], QuotaExhausted),
    (
        &[
            "rate_limit_error",
            "rate_limit_exceeded",
            "rate_limited",
            "rate_limit",
            "resource_exhausted",
            "too_many_requests",
            "requests",
            "tokens",
        ],
        RateLimit,
    ),
    (&["service_unavailable", "service_unavailable_error", "unavailable", "unavailable_error"], Overloaded),
    (&["timeout_error", "deadline_exceeded", "timeout"], Timeout),
    (&["not_found_error", "not_found", "notfounderror"], ModelNotFound),
    (
        &["server_error", "internal_server_error", "internalservererror", "api_error", "internal", "internal_error"],
        ServerError,
    ),
    (&["invalid_request_error", "invalid_argument", "badrequesterror", "validation_error"], InvalidRequest),
];

// === impl Under ===

impl Under {
    pub fn covers(&self, status: Option<u16>) -> bool {
        let Some(status) = status else { return true };
        match self {
            Self::Any => true,
            Self::AnyBut(statuses) => !statuses.contains(&status),
            Self::Only(statuses) => statuses.contains(&status),
        }
    }
}
