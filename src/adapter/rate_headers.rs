//! Reads what a reply says is left of the provider's limits.
//!
//! Which headers say it is a row of the catalogue; how each value is written (a Go duration, RFC 3339, seconds, a
//! moment since 1970) is read by shape, as in [`super::hint`]. What is negative, no number or no time says nothing.
//! The numbers are hints: other clients draw on the same limits.

use std::time::Duration;

use http::HeaderMap;

use super::hint;

/// What a reply says about the limits of whoever asked. `None`: it says nothing about that kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateHeaders {
    pub requests: Option<Quota>,
    pub tokens: Option<Quota>,
}

/// One limit, as far as it was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// How many in a window.
    pub limit: Option<u64>,
    /// How many are left of it.
    pub remaining: Option<u64>,
    /// How long until it is refilled, counted from the reply; at most [`crate::error::MAX_HINT`].
    pub reset: Option<Duration>,
}

/// The headers of one limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub limit: &'static str,
    pub remaining: &'static str,
    pub reset: Option<&'static str>,
}

/// The limits a service reports. Where there are several of a kind, the one with the least left counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub requests: &'static [Names],
    pub tokens: &'static [Names],
}

// === the tables ===

const fn names(limit: &'static str, remaining: &'static str) -> Names {
    Names { limit, remaining, reset: None }
}

const fn reset_too(limit: &'static str, remaining: &'static str, reset: &'static str) -> Names {
    Names { limit, remaining, reset: Some(reset) }
}

/// Nothing is reported.
pub(super) const NONE: Table = Table { requests: &[], tokens: &[] };

/// OpenAI's names, which Azure, Groq, xAI and most gateways took over. Groq counts its requests by the day.
pub(super) const OPENAI: Table = Table {
    requests: &[reset_too(
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    )],
    tokens: &[reset_too("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")],
};

/// `tokens` is there when a limit of input and output together is the tightest one.
pub(super) const ANTHROPIC: Table = Table {
    requests: &[reset_too(
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    )],
    tokens: &[
        reset_too(
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ),
        reset_too(
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
        ),
        reset_too(
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ),
    ],
};

/// Windows of a second, one reset for both kinds.
pub(super) const TOGETHER: Table = Table {
    requests: &[reset_too("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")],
    tokens: &[reset_too("x-tokenlimit-limit", "x-tokenlimit-remaining", "x-ratelimit-reset")],
};

/// The month's tokens are reported as well, but a month is no reason to ask somebody else now. Source: header dumps in
/// mistralai/client-ts#169.
pub(super) const MISTRAL: Table = Table {
    requests: &[names("x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute")],
    tokens: &[names("x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute")],
};

/// Prompt and generated tokens are limited apart.
pub(super) const FIREWORKS: Table = Table {
    requests: &[names("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")],
    tokens: &[
        names("x-ratelimit-limit-tokens-prompt", "x-ratelimit-remaining-tokens-prompt"),
        names("x-ratelimit-limit-tokens-generated", "x-ratelimit-remaining-tokens-generated"),
    ],
};

/// Milliseconds since 1970; present once a limit is near.
pub(super) const OPENROUTER: Table =
    Table { requests: &[reset_too("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")], tokens: &[] };

/// Keys of the trial only.
pub(super) const COHERE: Table = Table {
    requests: &[reset_too("x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining", "x-ratelimit-reset")],
    tokens: &[],
};

// === reading ===

/// What the headers say; `unix_ms` is when the reply came.
pub(super) fn read(headers: &HeaderMap, table: &Table, unix_ms: u64) -> RateHeaders {
    let tightest = |rows: &[Names]| {
        let said = rows.iter().filter_map(|names| quota(headers, names, unix_ms));
        said.min_by_key(|quota| quota.remaining.unwrap_or(u64::MAX))
    };
    RateHeaders { requests: tightest(table.requests), tokens: tightest(table.tokens) }
}

/// A reset alone says nothing: services send it for limits that they do not name.
fn quota(headers: &HeaderMap, names: &Names, unix_ms: u64) -> Option<Quota> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let (limit, remaining) = (text(names.limit).and_then(count), text(names.remaining).and_then(count));
    if limit.is_none() && remaining.is_none() {
        return None;
    }
    let reset = names.reset.and_then(text).and_then(|value| hint::parse(value, Some(unix_ms)));
    Some(Quota { limit, remaining, reset })
}

/// A whole number of at least 0, whichever way it is written; what passes `u64` is its end.
fn count(value: &str) -> Option<u64> {
    let number = hint::number(value.trim())?;
    // -0.0 is a zero; NaN fails the comparison.
    (number >= 0.0).then_some(number as u64)
}

#[cfg(test)]
#[path = "rate_headers_tests.rs"]
mod tests;
