//! Records: what a completion looks like in the flat array JavaScript drains. `lib/record.js` reads them, field by
//! field in this order; the two change together.

use std::sync::Arc;

use serde::Serialize;

use super::bridge::{Cell, Channel};
use crate::error::{Error, ErrorKind, Problem, Reason};
use crate::event::{Event, millis};
use crate::types::{AttemptRecord, ChatResponse, FinishReason, Reply, RequestId, ToolCall, Usage};

/// The second value of each record.
pub mod kind {
    use super::Cell;

    pub const RESPONSE: Cell = Cell::Number(0.0);
    pub const ERROR: Cell = Cell::Number(1.0);
    pub const VALUE: Cell = Cell::Number(2.0);
    pub const OPEN: Cell = Cell::Number(3.0);
    pub const CHUNK: Cell = Cell::Number(4.0);
    pub const EVENT: Cell = Cell::Number(5.0);
}

/// An answer, fields in a row, the lines of its trail behind it.
pub fn response(id: u64, response: ChatResponse) -> Vec<Cell> {
    let ChatResponse { reply, usage, cost, provider, request_id, latency, warnings, attempts } = response;
    let Reply {
        id: reply_id,
        model,
        created,
        content,
        tool_calls,
        refusal,
        reasoning,
        finish_reason,
        raw_finish_reason,
        usage: _,
    } = reply;
    let mut cells = Vec::with_capacity(24 + 8 * attempts.len());
    cells.extend([
        Cell::Number(id as f64),
        kind::RESPONSE,
        Cell::Text(reply_id),
        Cell::Text(content),
        Cell::Word(finish_reason.as_str()),
        text_or_null(raw_finish_reason),
        Cell::Text(model),
        Cell::Shared(provider.shared()),
        Cell::Number(created as f64),
        Cell::Number(usage.prompt_tokens as f64),
        Cell::Number(usage.completion_tokens as f64),
        Cell::Number(usage.total_tokens as f64),
        Cell::Number(usage.cached_tokens as f64),
        Cell::Number(usage.cache_write_tokens as f64),
        Cell::Number(usage.reasoning_tokens as f64),
        Cell::Bool(usage.estimated),
        cost.map_or(Cell::Null, |cost| Cell::Number(cost.as_usd())),
        Cell::Number(millis(latency)),
        Cell::Shared(request_id.shared()),
        text_or_null(refusal),
        text_or_null(reasoning),
        if tool_calls.is_empty() { Cell::Null } else { Cell::Text(json(&tool_calls)) },
        if warnings.is_empty() { Cell::Null } else { Cell::Text(json(&warnings)) },
        Cell::Number(attempts.len() as f64),
    ]);
    for AttemptRecord { provider, model, key_index, outcome, error_class, status, latency, waited } in attempts {
        cells.extend([
            Cell::Shared(provider.shared()),
            Cell::Text(model),
            key_index.map_or(Cell::Null, |key| Cell::Number(f64::from(key))),
            Cell::Word(outcome.as_str()),
            error_class.map_or(Cell::Null, Cell::Word),
            status.map_or(Cell::Null, |status| Cell::Number(f64::from(status))),
            Cell::Number(millis(latency)),
            Cell::Number(millis(waited)),
        ]);
    }
    cells
}

fn text_or_null(text: Option<String>) -> Cell {
    text.map_or(Cell::Null, Cell::Text)
}

/// A rare call's result.
pub fn value(id: u64, value: &impl Serialize) -> [Cell; 3] {
    [Cell::Number(id as f64), kind::VALUE, Cell::Text(json(value))]
}

/// A stream at its first content.
pub fn open(id: u64, provider: &str, model: &str) -> [Cell; 4] {
    [Cell::Number(id as f64), kind::OPEN, Cell::Text(provider.to_owned()), Cell::Text(model.to_owned())]
}

/// Events go before the completion they belong to.
pub fn events(channel: &Arc<Channel>, pool: u32, events: Vec<Event>) {
    for event in events {
        let name = event.kind().name();
        channel.push([Cell::Number(f64::from(pool)), kind::EVENT, Cell::Word(name), Cell::Text(json(&event))]);
    }
}

pub fn error(id: u64, error: Error) -> [Cell; 3] {
    [Cell::Number(id as f64), kind::ERROR, Cell::Text(error_json(&error))]
}

/// An error as data; JavaScript makes it an instance of its class.
pub fn error_json(error: &Error) -> String {
    json(&ErrorRecord::of(error))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorRecord<'a> {
    class: &'static str,
    code: &'static str,
    message: String,
    error_class: Option<&'static str>,
    provider: Option<&'a str>,
    model: Option<&'a str>,
    status: Option<u16>,
    retryable: bool,
    retry_after_ms: Option<f64>,
    request_id: Option<&'a RequestId>,
    attempts: &'a [AttemptRecord],
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<&'a [Problem]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<&'a [Reason]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    /// Seconds, as the package's README has promised from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<Partial<'a>>,
}

/// What of a cut stream had come.
#[derive(Serialize)]
struct Partial<'a> {
    content: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    finish_reason: Option<FinishReason>,
    usage: Option<&'a Usage>,
}

impl<'a> ErrorRecord<'a> {
    fn of(error: &'a Error) -> Self {
        let failure = error.failure();
        let context = error.context();
        let (class, code) = match error.kind() {
            ErrorKind::Configuration { .. } => ("ConfigurationError", "ERR_LLMPOOL_CONFIG"),
            ErrorKind::InvalidRequest { .. } => ("InvalidRequestError", "ERR_LLMPOOL_INVALID_REQUEST"),
            ErrorKind::Provider { .. } => ("ProviderError", "ERR_LLMPOOL_PROVIDER"),
            ErrorKind::RateLimited { .. } => ("RateLimitError", "ERR_LLMPOOL_RATE_LIMITED"),
            ErrorKind::NoProvider { .. } => ("NoProviderError", "ERR_LLMPOOL_NO_PROVIDER"),
            ErrorKind::Timeout { .. } => ("TimeoutError", "ERR_LLMPOOL_TIMEOUT"),
            ErrorKind::StreamInterrupted { .. } => ("StreamInterruptedError", "ERR_LLMPOOL_STREAM_INTERRUPTED"),
            ErrorKind::Closed => ("PoolClosedError", "ERR_LLMPOOL_CLOSED"),
            ErrorKind::Cancelled => ("Cancelled", "ERR_LLMPOOL_CANCELLED"),
            ErrorKind::Internal => ("LLMPoolError", "ERR_LLMPOOL_INTERNAL"),
        };
        let mut record = Self {
            class,
            code,
            message: error.to_string(),
            error_class: failure.map(|failure| failure.class.as_str()),
            provider: context.provider.as_ref().map(|name| name.as_str()),
            model: context.model.as_deref(),
            status: failure.and_then(|failure| failure.status),
            retryable: error.is_retryable(),
            retry_after_ms: error.retry_after().map(millis),
            request_id: context.request_id.as_ref(),
            attempts: &context.attempts,
            problems: None,
            reasons: None,
            field: None,
            phase: None,
            reset_time: None,
            partial: None,
        };
        match error.kind() {
            ErrorKind::Configuration { problems } => record.problems = Some(problems),
            ErrorKind::InvalidRequest { field } => record.field = Some(field),
            ErrorKind::RateLimited { reset, .. } => record.reset_time = reset.map(|reset| reset.as_secs_f64()),
            ErrorKind::NoProvider { reasons } => record.reasons = Some(reasons),
            ErrorKind::Timeout { phase, .. } => record.phase = Some(phase.as_str()),
            ErrorKind::StreamInterrupted { partial, .. } => {
                record.partial = Some(Partial {
                    content: &partial.content,
                    tool_calls: &partial.tool_calls,
                    refusal: partial.refusal.as_deref(),
                    reasoning: partial.reasoning.as_deref(),
                    finish_reason: partial.raw_finish_reason.as_ref().map(|_| partial.finish_reason),
                    usage: partial.usage.as_ref(),
                });
            }
            _ => {}
        }
        record
    }
}

/// JSON of our own plain types, which cannot fail: they have string keys and no foreign `Serialize`.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
