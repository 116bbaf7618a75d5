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
//! The words themselves are tables in [`super::signals`]. Rows of the configuration ([`super::rows`]) go before all of
//! this.

use http::{HeaderMap, StatusCode};

use super::error_body::ErrorBody;
use super::rows::Rows;
use super::signals::{CODES, LOADING, LONG_WINDOWS, PHRASES, SHORT_WINDOWS, TYPES};
use super::{hint, repair};
use crate::error::{Failure, FailureClass, Phase, Said, TransportError, TransportErrorKind};
use crate::types::Usage;
use FailureClass::*;

/// Most of a provider's words that a failure carries.
const MAX_MESSAGE: usize = 2048;
/// Codes are short; whoever sends more is not sending a code.
const MAX_CODE: usize = 128;

// === what the adapters ask ===

/// A reply with an error status.
pub(super) fn of_reply(rows: &Rows, status: StatusCode, headers: &HeaderMap, body: &[u8], unix_ms: u64) -> Failure {
    let mut error = ErrorBody::read(body);
    let sent = Some(status.as_u16()).filter(|code| *code >= 300);
    let status_code = sent.or_else(|| error.as_ref().and_then(|error| error.status));
    let class = match &mut error {
        Some(error) => {
            rows.class(status_code, &error.words, &error.text).unwrap_or_else(|| classify(status_code, error))
        }
        None => {
            let text = lower_case(body);
            rows.class(status_code, &[], &text).unwrap_or_else(|| classify_text(status_code, body, &text))
        }
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
        unsupported_param: error.as_ref().filter(|_| class == InvalidRequest).and_then(unsupported_param),
        ..Failure::new(class, message)
    }
}

fn unsupported_param(error: &ErrorBody) -> Option<String> {
    let name =
        repair::named(error.code.as_deref(), error.param.as_deref(), error.message.as_deref().unwrap_or_default())?;
    Some(bounded(&name, MAX_CODE))
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
        said: Some(Box::new(Said { words: error.words, text: error.text })),
        ..Failure::new(class, message)
    }
}

/// An error that came as bare words whose meaning the adapter knows.
pub(super) fn of_words(class: FailureClass, words: &str) -> Failure {
    Failure { said: said(words.as_bytes()), ..Failure::new(class, bounded(words, MAX_MESSAGE)) }
}

/// An answer that is none: the model said it was done and said nothing. What it counted is spent all the same.
pub(super) fn empty_stop(usage: Option<Usage>) -> Failure {
    let words = "the model stopped without saying anything";
    Failure { usage: usage.map(Box::new), ..Failure::new(BadReply, words) }
}

/// JSON that is no answer: an error in some flat shape, or nothing we know.
pub(super) fn no_answer(body: &[u8], what: &str) -> Failure {
    match ErrorBody::read(body) {
        Some(error) if error.says_something() => in_band(body),
        _ => Failure { said: said(body), ..Failure::new(BadReply, in_its_own_words(what, body)) },
    }
}

/// The JSON object that a reply must be, without a byte order mark. serde would also read an array, as the fields in
/// order; the only array that means anything is an error wrapped in one.
pub(super) fn json_object(body: &[u8]) -> Result<&[u8], Failure> {
    let json = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    match json.trim_ascii_start().first() {
        Some(b'{') => Ok(json),
        Some(b'[') => Err(no_answer(json, "the reply is no JSON object")),
        _ => Err(unreadable(json, "it does not begin an object")),
    }
}

/// A body that should be JSON and is not.
pub(super) fn unreadable(body: &[u8], why: impl std::fmt::Display) -> Failure {
    let what =
        if is_html(body) { "a page of HTML instead of JSON".to_owned() } else { format!("unreadable JSON, {why}") };
    Failure { said: said(body), ..Failure::new(BadReply, in_its_own_words(&what, body)) }
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
fn classify_text(status: Option<u16>, body: &[u8], text: &str) -> FailureClass {
    let html = is_html(body);
    let class = if html { None } else { by_phrase(status, text) }.unwrap_or_else(|| by_status(status));
    // The API itself never answers in HTML: whatever was wrong, it was not the request.
    if html && class == InvalidRequest { ServerError } else { class }
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

pub(super) fn by_status(status: Option<u16>) -> FailureClass {
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

/// The beginning of a body that has no fields to read, as phrases are looked for in it.
fn lower_case(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(MAX_MESSAGE)]).to_lowercase()
}

fn said(body: &[u8]) -> Option<Box<Said>> {
    Some(Box::new(Said { words: Vec::new(), text: lower_case(body) }))
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
