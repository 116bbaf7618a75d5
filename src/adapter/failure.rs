//! The one place that classifies what went wrong.
//!
//! A reply that is no answer, an error inside a 200 or a stream, a body that cannot be read and a transport error all
//! become one [`Failure`] here. The order of questions matters, because one status means several things: a 429 may be
//! an empty account or a request that never fits, a 400 may be the provider's fault or the key's.
//!
//! 1. Codes that mean one thing under any status.
//! 2. Phrases, where services have no code for it; only under client statuses, where the status alone is ambiguous.
//! 3. Type words, where there is no status (streams) or only the vague 400.
//! 4. The status.
//!
//! Wording changes without notice; a phrase that no longer matches falls through to the status.

use http::{HeaderMap, StatusCode};

use super::error_body::ErrorBody;
use super::hint;
use crate::error::{Failure, FailureClass, Phase, TransportError, TransportErrorKind};
use FailureClass::*;

/// Most of a provider's words that a failure carries.
const MAX_MESSAGE: usize = 2048;
/// Codes are short; whoever sends more is not sending a code.
const MAX_CODE: usize = 128;

/// Codes and types that mean one thing whatever the status, in lower case. The first row that matches counts.
const CODES: &[(&[&str], FailureClass)] = &[
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
struct Phrases {
    class: FailureClass,
    under: Under,
    any: &'static [&'static [&'static str]],
}

/// The client statuses under which words mean what they say. Without a status, in a stream, they always count.
enum Under {
    Any,
    AnyBut(&'static [u16]),
    Only(&'static [u16]),
}

/// llama.cpp and Hugging Face say it under 503.
const LOADING: &[&[&str]] = &[&["loading model"], &["model", "is loading"], &["model", "currently loading"]];

const PHRASES: &[Phrases] = &[
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
        any: &[&["overloaded"], &["at capacity"], &["currently unavailable"], &["temporarily unavailable"]],
    },
];

/// A limit that a short wait does not lift.
const LONG_WINDOWS: &[&str] =
    &["per day", "per-day", "/ day", "/day", "(rpd)", "(tpd)", "daily", "per month", "per-month", "/ month", "monthly"];
/// Messages about a short window advertise the long one: "free-models-per-min. … 1000 free requests per day".
const SHORT_WINDOWS: &[&str] =
    &["per minute", "per min", "per-min", "/ minute", "/min", "(rpm)", "(tpm)", "per second"];

/// Type words; the status says more wherever it is not vague.
const TYPES: &[(&[&str], FailureClass)] = &[
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

// === what the adapters ask ===

/// A reply with an error status.
pub(super) fn of_reply(status: StatusCode, headers: &HeaderMap, body: &[u8], unix_ms: u64) -> Failure {
    let mut error = ErrorBody::read(body);
    let sent = Some(status.as_u16()).filter(|code| *code >= 300);
    let status_code = sent.or_else(|| error.as_ref().and_then(|error| error.status));
    let class = match &mut error {
        Some(error) => classify(status_code, error),
        None => classify_text(status_code, body),
    };
    let message = match error.as_ref().and_then(|error| error.message.as_deref()) {
        Some(message) => bounded(message, MAX_MESSAGE),
        None if status.is_redirection() => {
            format!("HTTP {}: the provider redirects, which is not followed; check its base_url", status.as_u16())
        }
        None => in_its_own_words(&format!("HTTP {}", status.as_u16()), body),
    };
    let should_retry = match headers.get("x-should-retry").map(|value| value.as_bytes()) {
        Some(b"true") => Some(true),
        Some(b"false") => Some(false),
        _ => None,
    };
    Failure {
        status: Some(status.as_u16()),
        code: error.as_ref().and_then(|error| error.code.as_deref()).map(|code| bounded(code, MAX_CODE)),
        retry_after: hint::of_reply(Some(headers), error.as_ref(), class.is_rate_signal(), Some(unix_ms)),
        should_retry,
        ..Failure::new(class, message)
    }
}

/// An error that came where an answer should be: inside a 200, or in a stream.
pub(super) fn in_band(body: &[u8]) -> Failure {
    let Some(mut error) = ErrorBody::read(body) else {
        return unreadable(body, "not JSON");
    };
    let class = classify(error.status, &mut error);
    let message = match &error.message {
        Some(message) => bounded(message, MAX_MESSAGE),
        None => in_its_own_words("the provider reports an error", body),
    };
    Failure {
        status: error.status,
        code: error.code.as_deref().map(|code| bounded(code, MAX_CODE)),
        retry_after: hint::of_reply(None, Some(&error), class.is_rate_signal(), None),
        ..Failure::new(class, message)
    }
}

/// An error that came as bare words whose meaning the adapter knows.
pub(super) fn of_words(class: FailureClass, words: &str) -> Failure {
    Failure::new(class, bounded(words, MAX_MESSAGE))
}

/// JSON that is no answer: an error in some flat shape, or nothing we know.
pub(super) fn no_answer(body: &[u8], what: &str) -> Failure {
    match ErrorBody::read(body) {
        Some(error) if error.says_something() => in_band(body),
        _ => Failure::new(BadReply, in_its_own_words(what, body)),
    }
}

/// A body that should be JSON and is not.
pub(super) fn unreadable(body: &[u8], why: impl std::fmt::Display) -> Failure {
    let what =
        if is_html(body) { "a page of HTML instead of JSON".to_owned() } else { format!("unreadable JSON, {why}") };
    Failure::new(BadReply, in_its_own_words(&what, body))
}

/// What went wrong below HTTP, or while the body was read.
pub fn transport_failure(error: &TransportError) -> Failure {
    let message = bounded(&error.message, MAX_MESSAGE);
    match error.kind {
        TransportErrorKind::ConnectTimeout => Failure::timeout(Phase::Connect, message),
        TransportErrorKind::TooLarge => Failure::new(BadReply, message),
        // The configuration was checked when the endpoint was made: what is left are the headers of the call.
        TransportErrorKind::Request => Failure::new(InvalidRequest, message),
        TransportErrorKind::Connect
        | TransportErrorKind::Tls
        | TransportErrorKind::Reset
        | TransportErrorKind::Body => Failure::new(Network, message),
    }
}

// === classification ===

fn classify(status: Option<u16>, error: &mut ErrorBody) -> FailureClass {
    let word_in = |table: &[(&[&str], FailureClass)]| {
        table.iter().find(|(words, _)| error.words.iter().any(|word| words.contains(&word.as_str()))).map(|row| row.1)
    };
    if error.flagged && matches!(status, None | Some(400 | 403)) {
        return ContentFilter;
    }
    // Google says "exceeded your current quota" about minutes too; the quota's name tells.
    if error.quotas.iter().any(|quota| quota.contains("perday")) {
        error.retry_delay = None; // some seconds, while the quota comes back with the day
        return QuotaExhausted;
    }
    if let Some(class) = word_in(CODES) {
        return class;
    }
    let google = error.words.iter().any(|word| word == "resource_exhausted");
    if !google && client_status(status) && error.text.contains("exceeded your current quota") {
        return QuotaExhausted;
    }
    by_phrase(status, &error.text)
        .or_else(|| if matches!(status, None | Some(400)) { word_in(TYPES) } else { None })
        .unwrap_or_else(|| by_status(status))
}

/// A body that is not JSON: a proxy speaks, or a service that answers in plain text.
fn classify_text(status: Option<u16>, body: &[u8]) -> FailureClass {
    let html = is_html(body);
    let text = bounded(&String::from_utf8_lossy(body), MAX_MESSAGE).to_lowercase();
    let class = if html { None } else { by_phrase(status, &text) }.unwrap_or_else(|| by_status(status));
    // The API itself never answers in HTML: whatever was wrong, it was not the request.
    if html && class == InvalidRequest { ServerError } else { class }
}

impl Under {
    fn covers(&self, status: Option<u16>) -> bool {
        let Some(status) = status else { return true };
        match self {
            Self::Any => true,
            Self::AnyBut(statuses) => !statuses.contains(&status),
            Self::Only(statuses) => statuses.contains(&status),
        }
    }
}

fn client_status(status: Option<u16>) -> bool {
    status.is_none_or(|status| status < 500)
}

fn by_phrase(status: Option<u16>, text: &str) -> Option<FailureClass> {
    let said = |any: &[&[&str]]| any.iter().any(|parts| parts.iter().all(|part| text.contains(part)));
    if !client_status(status) {
        // A server status speaks for itself, but for one thing that 503 does not say.
        return if status == Some(503) && said(LOADING) { Some(ModelLoading) } else { None };
    }
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let long_window = matches!(status, None | Some(402 | 403 | 429)) && has(LONG_WINDOWS) && !has(SHORT_WINDOWS);
    PHRASES
        .iter()
        .find(|phrases| phrases.under.covers(status) && said(phrases.any))
        .map(|phrases| phrases.class)
        .or(if long_window { Some(QuotaExhausted) } else { None })
}

fn by_status(status: Option<u16>) -> FailureClass {
    let Some(status) = status else { return ServerError };
    match status {
        300..400 => BadReply,
        401 => Auth,
        402 => QuotaExhausted,
        403 | 412 | 451 => Permission, // 412: Fireworks' suspended accounts
        404 | 405 | 410 => ModelNotFound,
        407 => Network, // an HTTP proxy of ours wants a login
        408 | 504 => Timeout,
        409 | 424 | 499 => ServerError, // SDKs repeat a conflict; a dependency of theirs failed; they gave up
        413 | 414 | 431 => RequestTooLarge,
        423 | 425 | 498 | 503 | 529 => Overloaded, // 498: Groq's flex tier
        429 => RateLimit,
        400..500 => InvalidRequest,
        _ => ServerError,
    }
}

// === words ===

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// `what`, followed by as much of the body as a message may hold.
fn in_its_own_words(what: &str, body: &[u8]) -> String {
    // Cut before decoding: the body may be large. A character cut in half becomes one replacement mark.
    let start = &body[..body.len().min(MAX_MESSAGE)];
    let text = String::from_utf8_lossy(start);
    match text.trim() {
        "" => format!("{what}, and an empty body"),
        text => bounded(&format!("{what}: {text}"), MAX_MESSAGE),
    }
}

fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
