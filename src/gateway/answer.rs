//! The headers of an answer.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::limits;
use crate::types::{AttemptRecord, ChatResponse, InferResponse, NanoUsd};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's clients look for it.
pub(super) const REQUEST_ID_TOO: HeaderName = HeaderName::from_static("request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-llmpool-provider");
const MODEL: HeaderName = HeaderName::from_static("x-llmpool-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-llmpool-attempts");
const COST: HeaderName = HeaderName::from_static("x-llmpool-cost-usd");
const CACHE: HeaderName = HeaderName::from_static("x-llmpool-cache");
/// Tells the clients of both APIs whether to ask again by themselves.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// The row of the failure table, or the kind of the error.
pub(super) const ERROR_CODE: HeaderName = HeaderName::from_static("x-llmpool-error");
/// The same as `Retry-After`, exact.
pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const WARNINGS: HeaderName = HeaderName::from_static("x-llmpool-warnings");

/// What the script of a page may read.
pub(super) const EXPOSED: [HeaderName; 19] = [
    CONTENT_TYPE,
    RETRY_AFTER,
    REQUEST_ID,
    REQUEST_ID_TOO,
    PROVIDER,
    MODEL,
    ATTEMPTS,
    COST,
    WARNINGS,
    CACHE,
    SHOULD_RETRY,
    ERROR_CODE,
    RETRY_AFTER_MS,
    limits::LIMIT_REQUESTS,
    limits::REMAINING_REQUESTS,
    limits::RESET_REQUESTS,
    limits::LIMIT_TOKENS,
    limits::REMAINING_TOKENS,
    limits::RESET_TOKENS,
];

/// Bytes of all warnings together: heads above 8 KiB are refused by many proxies.
const LONGEST_WARNINGS: usize = 2048;

/// Everything there is to say of an answer.
pub(super) fn name(headers: &mut HeaderMap, response: &ChatResponse) {
    name_source(headers, Some(response.provider.as_str()), Some(&response.reply.model));
    name_attempts(headers, &response.attempts);
    name_cost(headers, response.cost);
    name_warnings(headers, &response.warnings);
}

/// Whether the answer was one that was kept.
pub(super) fn name_cache(headers: &mut HeaderMap, cached: bool) {
    headers.insert(CACHE, HeaderValue::from_static(if cached { "hit" } else { "miss" }));
}

/// Who answers, and the model that was asked.
pub(super) fn name_source(headers: &mut HeaderMap, provider: Option<&str>, model: Option<&str>) {
    for (name, value) in [(PROVIDER, provider), (MODEL, model)] {
        if let Some(value) = value.and_then(|value| text(value).ok()) {
            headers.insert(name, value);
        }
    }
}

/// How many requests went out for it.
pub(super) fn name_attempts(headers: &mut HeaderMap, attempts: &[AttemptRecord]) {
    if !attempts.is_empty() {
        headers.insert(ATTEMPTS, HeaderValue::from(sent(attempts)));
    }
}

/// Lines of the trail for which a request went out.
pub(super) fn sent(attempts: &[AttemptRecord]) -> usize {
    attempts.iter().filter(|line| !line.outcome.sent_nothing()).count()
}

/// What it cost; no header where that is not known.
pub(super) fn name_cost(headers: &mut HeaderMap, cost: Option<NanoUsd>) {
    let value = cost.and_then(|cost| HeaderValue::from_str(&format!("{}", cost.as_usd())).ok());
    if let Some(value) = value {
        headers.insert(COST, value);
    }
}

/// What of the request was not sent as it was asked.
pub(super) fn name_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    let mut joined = warnings.join("; ");
    if joined.len() > LONGEST_WARNINGS {
        joined.truncate((0..=LONGEST_WARNINGS).rev().find(|at| joined.is_char_boundary(*at)).unwrap_or(0));
        joined.push('…');
    }
    if let Ok(value) = text(&joined) {
        headers.insert(WARNINGS, value);
    }
}

/// The same of work by the name of its task.
pub(super) fn name_work(headers: &mut HeaderMap, response: &InferResponse) {
    name_source(headers, Some(response.provider.as_str()), Some(&response.winner_model));
    name_attempts(headers, &response.attempts);
    name_cost(headers, response.cost);
    name_warnings(headers, &response.warnings);
}

/// A text of so many bytes and a little: of a longer one the beginning and the end, which says what to do about it.
pub(super) fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = most / 4;
    let head = (0..=most - end).rev().find_map(|at| text.get(..at)).unwrap_or_default();
    let tail = (text.len() - end..=text.len()).find_map(|at| text.get(at..)).unwrap_or_default();
    format!("{head}…{tail}")
}

/// A text as a header: what is not printable ASCII is escaped, so that every client can read the head.
pub(super) fn text(text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return HeaderValue::from_str(text);
    }
    let escaped: String = text
        .chars()
        .flat_map(|letter| -> Box<dyn Iterator<Item = char>> {
            if (' '..='~').contains(&letter) {
                Box::new(std::iter::once(letter))
            } else {
                Box::new(letter.escape_default())
            }
        })
        .collect();
    HeaderValue::from_str(&escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends() {
        assert_eq!(shortened("as it is".to_owned(), 8), "as it is");
        assert_eq!(shortened("aaaaaa, not aaaaaaa: stop".to_owned(), 16), "aaaaaa, not …stop");
        let cut = shortened("é".repeat(1000), 101);
        assert!(cut.len() <= 101 + '…'.len_utf8() && cut.chars().all(|letter| "é…".contains(letter)), "{cut}");
    }

    #[test]
    fn warnings_are_one_bounded_line_of_ascii() {
        let mut headers = HeaderMap::new();
        name_warnings(&mut headers, &["seed: not sent\r\nx-evil: 1".to_owned(), "é".repeat(4000)]);
        let said = headers[WARNINGS].to_str().expect("ASCII");
        assert!(said.starts_with(r"seed: not sent\r\nx-evil: 1; \u{e9}"), "{said}");
        assert!(said.len() < 8192, "{}", said.len());
        name_warnings(&mut HeaderMap::new(), &[]);
    }
}
