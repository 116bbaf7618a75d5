//! The same told to `tracing`, for programs in Rust: a span per call, and in it what happens.
//!
//! Everything is told under the target `llmpool` and in fields with names that stay. Names, numbers and classes are told
//! and nothing else: no key, nothing that was asked or answered, and none of a provider's words, which may repeat either.
//! Where nobody subscribes, the cost is one comparison of levels for each thing that might be told.

use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, debug, info, info_span, warn};

use super::{Event, EventKind, millis};
use crate::error::{Error, FailureClass};
use crate::types::{ProviderName, RequestId};

/// The target of everything that is told.
pub const TARGET: &str = "llmpool";

/// The span of a call. `provider` and `model` come with its answer.
pub fn call(route: &'static str, request_id: &RequestId) -> Span {
    info_span!(target: TARGET, "call", route, %request_id, provider = Empty, model = Empty)
}

/// An attempt goes out.
pub fn attempt(provider: &ProviderName, model: &str, key: u32, attempt: u32) {
    debug!(target: TARGET, %provider, model, key, attempt, "attempt");
}

/// A call moves to another provider after a failure.
pub fn failover(from: &ProviderName, to: &ProviderName, class: FailureClass) {
    info!(target: TARGET, %from, %to, error_class = class.as_str(), "failover");
}

/// A call ends without an answer.
pub fn failed(error: &Error) {
    let attempts = error.context().attempts.len();
    if error.is_cancellation() {
        debug!(target: TARGET, attempts, "call ended from outside");
        return;
    }
    let error_class = error.failure().map(|failure| failure.class.as_str());
    let retry_after_ms = error.retry_after().map(millis);
    warn!(target: TARGET, error_class, retryable = error.is_retryable(), retry_after_ms, attempts, "call failed");
}

/// Another configuration is in force.
pub fn reloaded(version: u64, added: usize, removed: usize, changed: usize) {
    info!(target: TARGET, version, added, removed, changed, "configuration in force");
}

/// What is allowed but probably not meant, and what cannot be done as well as it might.
pub fn warnings<'a>(warnings: impl IntoIterator<Item = &'a String>) {
    for warning in warnings {
        warn!(target: TARGET, warning, "configuration");
    }
}

/// What happens beside the calls failed. These words are the pool's own: they name keys of the configuration, files and
/// addresses, and no secret.
pub fn rejected(what: &'static str, error: &Error) {
    warn!(target: TARGET, what, %error, "failed in the background");
}

/// What listeners are told.
pub(super) fn event(span: &Span, event: &Event) {
    span.in_scope(|| match event {
        Event::RequestSuccess { provider, model, attempt, latency_ms, usage, total_errors, .. } => {
            span.record("provider", provider.as_str()).record("model", model.as_str());
            let (prompt_tokens, completion_tokens) = (usage.prompt_tokens, usage.completion_tokens);
            debug!(
                target: TARGET,
                %provider, model, attempt, latency_ms, prompt_tokens, completion_tokens, total_errors,
                "answered"
            );
        }
        Event::RequestError { provider, attempt, error_class, status, retryable, .. } => {
            warn!(target: TARGET, %provider, attempt, error_class, status, retryable, "attempt failed");
        }
        Event::CircuitOpen { provider, reason, retry_at } => {
            warn!(target: TARGET, %provider, reason, retry_at, "circuit breaker opened");
        }
        Event::CircuitHalfOpen { provider } => info!(target: TARGET, %provider, "circuit breaker half-open"),
        Event::CircuitClose { provider } => info!(target: TARGET, %provider, "circuit breaker closed"),
        Event::RateLimited { provider, kind, reset_at } => {
            info!(target: TARGET, %provider, kind, reset_at, "rate limited");
        }
        Event::HealthChanged { provider, healthy: true, .. } => info!(target: TARGET, %provider, "healthy again"),
        Event::HealthChanged { provider, retry_at, .. } => warn!(target: TARGET, %provider, retry_at, "not healthy"),
        Event::BudgetWarning { scope, provider, tenant, period, spent, limit, reset_at } => {
            let provider = provider.as_ref().map(ProviderName::as_str);
            let (spent, limit) = (spent.0, limit.0);
            warn!(
                target: TARGET,
                scope, provider, tenant, period, spent, limit, reset_at,
                "budget nearly spent, in nano-dollars"
            );
        }
        Event::TenantRefused { request_id: _, tenant, limit, reset_at } => {
            info!(target: TARGET, tenant, limit, reset_at, "refused by a limit of its tenant");
        }
        Event::Decision { task, strategy_used, provider, model, votes, hedged, cached, latency_ms, .. } => {
            let (strategy_used, votes) = (strategy_used.as_str(), votes.len());
            debug!(target: TARGET, task, strategy_used, %provider, model, votes, hedged, cached, latency_ms, "decided");
        }
        // For people who debug the pool from JavaScript; a provider's words are in it.
        Event::Debug { .. } => {}
    });
}

/// Might anybody want to be told? What is told of each kind has this level at most.
pub(super) fn wants(kind: EventKind) -> bool {
    let level = match kind {
        EventKind::Debug => return false,
        EventKind::RequestSuccess | EventKind::Decision => Level::DEBUG,
        _ => Level::WARN,
    };
    level <= LevelFilter::current()
}
