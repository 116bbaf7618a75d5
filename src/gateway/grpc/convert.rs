//! What a message means to the pool, and how the pool's answers are written as messages.
//!
//! Every type is taken apart field by field: a field that is added on one side does not compile until it has its place
//! on the other.

use std::time::Duration;

use super::pb;
use crate::engine::ProviderHealth;
use crate::types::{
    AttemptRecord, CacheWish, FieldError, InferRequest, InferResponse, Judgement, Labels, RequestId, Strategy, Usage,
    Vote, millis_of,
};

/// What is asked for, by somebody who waits no longer than `patience`.
pub(super) fn work(message: pb::InferRequest, patience: Option<Duration>) -> Result<InferRequest, FieldError> {
    let pb::InferRequest {
        task,
        prompt,
        variables,
        strategy,
        max_tokens,
        deadline_ms,
        request_id,
        tenant,
        cache,
        project,
        meta,
    } = message;
    let work = InferRequest {
        task,
        prompt,
        variables,
        strategy: strategy.map(|word| Strategy::read(&word)).transpose().map_err(at("strategy"))?,
        max_tokens,
        deadline: deadline_ms.map(millis_of).transpose().map_err(at("deadline_ms"))?,
        patience,
        request_id: request_id.map(RequestId::new),
        tenant,
        cache: cache.map(wish).transpose()?,
        labels: Labels { project, meta },
    };
    work.check()?;
    Ok(work)
}

fn wish(cache: pb::Cache) -> Result<CacheWish, FieldError> {
    let pb::Cache { enabled, ttl } = cache;
    match (enabled.unwrap_or(true), ttl) {
        (false, None) => Ok(CacheWish::Off),
        (true, None) => Ok(CacheWish::On),
        (true, Some(ttl)) => millis_of(ttl).map(CacheWish::For).map_err(at("cache.ttl")),
        (false, Some(_)) => Err(at("cache.ttl")("an answer that is not kept has none".to_owned())),
    }
}

fn at(field: &'static str) -> impl Fn(String) -> FieldError {
    move |message| FieldError { field: field.to_owned(), message }
}

impl From<InferResponse> for pb::InferResponse {
    fn from(response: InferResponse) -> Self {
        let InferResponse {
            request_id,
            task,
            content,
            parsed,
            refusal,
            finish_reason,
            winner_model,
            provider,
            duration_ms,
            from_cache,
            strategy_used,
            models_queried,
            votes,
            judge,
            usage,
            cost,
            warnings,
            attempts,
        } = response;
        Self {
            request_id: request_id.to_string(),
            task,
            content,
            parsed: parsed.map(|value| value.to_string()),
            refusal,
            finish_reason: finish_reason.as_str().to_owned(),
            winner_model,
            provider: provider.to_string(),
            duration_ms,
            from_cache,
            strategy_used: strategy_used.as_str().to_owned(),
            models_queried,
            votes: votes.into_iter().map(Into::into).collect(),
            judge: judge.map(Into::into),
            usage: Some(usage.into()),
            cost: cost.map(|cost| cost.as_usd()),
            warnings,
            attempts: attempts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Vote> for pb::Vote {
    fn from(vote: Vote) -> Self {
        let Vote { provider, model, group, weight, win_rate, winner } = vote;
        Self { provider: provider.to_string(), model, group: group as u64, weight, win_rate, winner }
    }
}

impl From<Judgement> for pb::Judgement {
    fn from(judge: Judgement) -> Self {
        let Judgement { provider, model, outcome } = judge;
        Self { provider: provider.map(|name| name.to_string()), model, outcome: outcome.as_str().to_owned() }
    }
}

impl From<Usage> for pb::Usage {
    fn from(usage: Usage) -> Self {
        let Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_write_tokens,
            // Only their price is of interest, and that is in the cost.
            cache_write_1h_tokens: _,
            prompt_audio_tokens: _,
            completion_audio_tokens: _,
            reasoning_tokens,
            estimated,
        } = usage;
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_write_tokens,
            reasoning_tokens,
            estimated,
        }
    }
}

impl From<AttemptRecord> for pb::Attempt {
    fn from(attempt: AttemptRecord) -> Self {
        let AttemptRecord { provider, model, key_index, outcome, error_class, status, latency, waited } = attempt;
        Self {
            provider: provider.to_string(),
            model,
            key_index,
            outcome: outcome.as_str().to_owned(),
            error_class: error_class.map(str::to_owned),
            status: status.map(u32::from),
            latency_ms: latency.as_secs_f64() * 1e3,
            waited_ms: waited.as_secs_f64() * 1e3,
        }
    }
}

impl From<&ProviderHealth> for pb::ProviderHealth {
    fn from(health: &ProviderHealth) -> Self {
        Self {
            name: health.name.to_string(),
            r#type: health.kind.to_owned(),
            available: health.available,
            circuit_state: health.circuit_state.to_owned(),
            retry_at: health.retry_at,
        }
    }
}
