//! What each completion looks like when it crosses. `lib/record.js` reads the fields in this order; the two change
//! together.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::bridge::Channel;
use super::records::Records;
use crate::engine::Turn;
use crate::error::{BudgetExceeded, Error, ErrorKind, Problem, Reason};
use crate::event::{Event, millis};
use crate::types::{
    AttemptRecord, ChatResponse, EmbedResponse, EncodingFormat, FinishReason, NanoUsd, Reply, RequestId, ToolCall,
    Usage,
};

/// What a record is: its second number.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Response,
    Error,
    Value,
    Open,
    Chunk,
    Event,
    Vectors,
    Turn,
    TurnOver,
    #[cfg_attr(not(feature = "gateway"), expect(dead_code, reason = "only `fetch` has heads"))]
    Head,
    Job,
}

fn begin(records: &mut Records, id: u64, kind: Kind) {
    records.number(id as f64);
    records.number(f64::from(kind as u8));
}

/// An answer, with the lines of its trail at the end; `violation`: a stream ended well whose answer is refused.
pub fn response(records: &mut Records, id: u64, response: ChatResponse, violation: Option<&Error>) {
    let ChatResponse {
        parsed,
        reply,
        usage,
        cost,
        provider,
        request_id,
        latency,
        warnings,
        attempts,
        cached,
        hedged: _,
        decision,
    } = response;
    let Reply {
        id: reply_id,
        model,
        created,
        content,
        tool_calls,
        refusal,
        reasoning,
        reasoning_state,
        finish_reason,
        raw_finish_reason,
        usage: _,
    } = reply;
    begin(records, id, Kind::Response);
    records.text(reply_id);
    records.text(content);
    records.name(finish_reason.as_str());
    records.name_or_null(raw_finish_reason.as_deref());
    records.name(&model);
    records.name(provider.as_str());
    records.number(created as f64);
    count(records, &usage);
    records.number_or_null(cost.map(NanoUsd::as_usd));
    records.flag(cached);
    records.number(millis(latency));
    records.shared(request_id.shared());
    records.text_or_null(refusal);
    records.text_or_null(reasoning);
    records.text_or_null(reasoning_state.map(|state| json(&state)));
    records.text_or_null((!tool_calls.is_empty()).then(|| json(&tool_calls)));
    records.text_or_null((!warnings.is_empty()).then(|| json(&warnings)));
    records.text_or_null(parsed.map(|parsed| json(&parsed)));
    records.text_or_null(violation.map(error_json));
    records.text_or_null(decision.map(|decision| json(&decision)));
    trail(records, attempts);
}

/// What is told of a job while it is not over, and of how it ended before its answer: JSON.
pub fn job(records: &mut Records, id: u64, told: String) {
    begin(records, id, Kind::Job);
    records.text(told);
}

/// Embeddings, each as one text: base64 of 64-bit floats, or of 32-bit floats where that is what was asked for.
pub fn vectors(records: &mut Records, id: u64, response: EmbedResponse) {
    let EmbedResponse {
        vectors,
        encoding_format,
        model,
        provider,
        usage,
        cost,
        request_id,
        latency,
        warnings,
        attempts,
    } = response;
    begin(records, id, Kind::Vectors);
    records.name(&model);
    records.name(provider.as_str());
    count(records, &usage);
    records.number_or_null(cost.map(NanoUsd::as_usd));
    records.number(millis(latency));
    records.shared(request_id.shared());
    records.text_or_null((!warnings.is_empty()).then(|| json(&warnings)));
    records.flag(encoding_format == EncodingFormat::Base64);
    records.number(vectors.len() as f64);
    for vector in vectors {
        let bytes: Vec<u8> = match encoding_format {
            EncodingFormat::Float => vector.iter().flat_map(|number| number.to_le_bytes()).collect(),
            EncodingFormat::Base64 => vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect(),
        };
        records.text(STANDARD.encode(bytes));
    }
    trail(records, attempts);
}

fn count(records: &mut Records, usage: &Usage) {
    records.number(usage.prompt_tokens as f64);
    records.number(usage.completion_tokens as f64);
    records.number(usage.total_tokens as f64);
    records.number(usage.cached_tokens as f64);
    records.number(usage.cache_write_tokens as f64);
    records.number(usage.reasoning_tokens as f64);
    records.flag(usage.estimated);
}

fn trail(records: &mut Records, attempts: Vec<AttemptRecord>) {
    records.number(attempts.len() as f64);
    for AttemptRecord { provider, model, key_index, outcome, error_class, status, latency, waited } in attempts {
        records.name(provider.as_str());
        records.name(&model);
        records.number_or_null(key_index.map(f64::from));
        records.name(outcome.as_str());
        records.name_or_null(error_class);
        records.number_or_null(status.map(f64::from));
        records.number(millis(latency));
        records.number(millis(waited));
    }
}

/// A rare call's result.
pub fn value(records: &mut Records, id: u64, value: &impl Serialize) {
    begin(records, id, Kind::Value);
    records.text(json(value));
}

/// A stream at its first content.
pub fn open(records: &mut Records, id: u64, provider: &str, model: &str) {
    begin(records, id, Kind::Open);
    records.name(provider);
    records.name(model);
}

/// A piece of a stream: its text, and what it carries beside it as JSON.
pub fn chunk(records: &mut Records, id: u64, delta: String, extra: Option<String>) {
    begin(records, id, Kind::Chunk);
    records.text(delta);
    records.text_or_null(extra);
}

/// The head of a response to `fetch`; its body follows in chunks.
#[cfg(feature = "gateway")]
pub fn head(records: &mut Records, id: u64, status: u16, headers_json: String) {
    begin(records, id, Kind::Head);
    records.number(f64::from(status));
    records.text(headers_json);
}

/// The caller's own function is to be called.
pub fn turn(records: &mut Records, id: u64, turn: &Turn) {
    begin(records, id, Kind::Turn);
    records.number(f64::from(turn.attempt()));
    records.name(turn.provider());
    records.name(turn.model());
    records.text_or_null(turn.api_key().map(str::to_owned));
    records.name(turn.base_url());
}

/// Nobody waits for a turn any more.
pub fn turn_over(records: &mut Records, id: u64, attempt: u32) {
    begin(records, id, Kind::TurnOver);
    records.number(f64::from(attempt));
}

/// Events go before the completion they belong to.
pub fn events(channel: &Arc<Channel>, pool: u32, events: Vec<Event>) {
    for event in events {
        channel.push(|records| {
            begin(records, u64::from(pool), Kind::Event);
            records.name(event.kind().name());
            records.text(json(&event));
        });
    }
}

/// Something that happened by itself, as JSON.
pub fn background(channel: &Arc<Channel>, pool: u32, name: &'static str, json: &str) {
    channel.push(|records| {
        begin(records, u64::from(pool), Kind::Event);
        records.name(name);
        records.text(json.to_owned());
    });
}

/// An exception: recognised by its prefix, and thrown as an instance of its class.
pub fn thrown(error: &Error) -> napi::Error {
    napi::Error::from_reason(format!("llmpool:{}", error_json(error)))
}

pub fn error(records: &mut Records, id: u64, error: &Error) {
    begin(records, id, Kind::Error);
    records.text(error_json(error));
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
    /// Whose limit it was, and which.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_limit: Option<&'static str>,
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
    #[serde(flatten)]
    budget: Option<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<Partial<'a>>,
}

/// The limit that would have been passed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    scope: &'static str,
    period: &'static str,
    limit: NanoUsd,
    spent: NanoUsd,
    reserved: NanoUsd,
    reset_at: Option<u64>,
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
            ErrorKind::IdempotencyMismatch => ("InvalidRequestError", "ERR_LLMPOOL_IDEMPOTENCY_MISMATCH"),
            ErrorKind::Provider { .. } => ("ProviderError", "ERR_LLMPOOL_PROVIDER"),
            ErrorKind::RateLimited { .. } => ("RateLimitError", "ERR_LLMPOOL_RATE_LIMITED"),
            ErrorKind::NoProvider { .. } => ("NoProviderError", "ERR_LLMPOOL_NO_PROVIDER"),
            ErrorKind::Timeout { .. } => ("TimeoutError", "ERR_LLMPOOL_TIMEOUT"),
            ErrorKind::StreamInterrupted { .. } => ("StreamInterruptedError", "ERR_LLMPOOL_STREAM_INTERRUPTED"),
            ErrorKind::BudgetExceeded(_) => ("BudgetExceededError", "ERR_LLMPOOL_BUDGET"),
            ErrorKind::PermissionDenied => ("PermissionDeniedError", "ERR_LLMPOOL_PERMISSION"),
            ErrorKind::QueueFull { .. } => ("QueueFullError", "ERR_LLMPOOL_QUEUE_FULL"),
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
            tenant: context.tenant.as_ref().map(|limit| limit.tenant.as_str()),
            tenant_limit: context.tenant.as_ref().map(|limit| limit.limit),
            problems: None,
            reasons: None,
            field: None,
            phase: None,
            reset_time: None,
            budget: None,
            partial: None,
        };
        match error.kind() {
            ErrorKind::Configuration { problems } => record.problems = Some(problems),
            ErrorKind::InvalidRequest { field } => record.field = Some(field),
            ErrorKind::IdempotencyMismatch => record.field = Some("request_id"),
            ErrorKind::RateLimited { reset, .. } => record.reset_time = reset.map(|reset| reset.as_secs_f64()),
            ErrorKind::NoProvider { reasons } => record.reasons = Some(reasons),
            ErrorKind::Timeout { phase, .. } => record.phase = Some(phase.as_str()),
            ErrorKind::BudgetExceeded(exceeded) => {
                let BudgetExceeded { ref provider, period, limit, spent, reserved, held: _, reset: _, reset_at } =
                    **exceeded;
                let scope = match (provider, &context.tenant) {
                    (Some(_), _) => "provider",
                    (None, Some(_)) => "tenant",
                    (None, None) => "pool",
                };
                record.budget = Some(Budget { scope, period, limit, spent, reserved, reset_at });
            }
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
