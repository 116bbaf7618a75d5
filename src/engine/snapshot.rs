//! What the pool shows of itself: plain values, read under each provider's lock for a moment. Nothing here can hold a
//! key: names, numbers and masked messages only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Engine;
use super::provider::{Live, Marked, Provider, is_free};
use super::purse::BudgetStats;
use super::run::{Hedges, unix_ms_of};
use super::tenants::TenantStats;
use crate::metrics::{PlanTally, PoolTally, ProviderTotals, TaskTally, Totals};
use crate::policy::{CircuitState, KeyState, Learned, Remaining, Tokens};
use crate::time::{self, Now};
use crate::types::{NanoUsd, ProviderName};

/// A provider in a list.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderListing {
    pub name: ProviderName,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub model: String,
    pub priority: u32,
    pub enabled: bool,
}

/// Is the pool able to answer, and who is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PoolHealth {
    /// At least one provider is available, and the pool's budget has room.
    pub healthy: bool,
    pub total_providers: usize,
    pub available_providers: usize,
    /// Who a plain call (of the pool's behaviour, for no model in particular) would be asked of first now, as
    /// [`Engine::explain`] has it; `None` when nobody can be asked. Slots of the pool do not count. Where chance decides,
    /// as `adaptive` among three and more, it is who the very next call is asked of.
    pub best_provider: Option<ProviderName>,
    pub providers: BTreeMap<String, ProviderHealth>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProviderHealth {
    pub name: ProviderName,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Enabled, not marked as broken, up as far as active checks say, its breaker would let a call through, no limit is
    /// reached, its budget has room, a key is usable, and it has not just said that it does not have its own model.
    pub available: bool,
    pub circuit_breaker_open: bool,
    pub circuit_state: &'static str,
    /// Unix milliseconds at which a mark is over, its breaker admits a probe, a key is usable again, every limit and its
    /// budget have room and its own model is asked for again; `None` when none of them is in the way, or there is no such
    /// time.
    pub retry_at: Option<u64>,
    /// Of the configured limit, or as the provider's replies say, whichever is less; `None`: neither is known.
    pub requests_remaining: Option<u64>,
    pub daily_requests_remaining: Option<u64>,
    pub tokens_remaining: Option<u64>,
    pub success_rate: f64,
    pub reliability_score: f64,
    pub average_response_time: f64,
    pub total_requests: u64,
    pub errors: u64,
    pub last_used: Option<u64>,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProviderStats {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub model: String,
    pub priority: u32,
    pub weight: u32,
    pub enabled: bool,
    pub health: ProviderHealth,
    pub usage: ProviderUsage,
    pub performance: Performance,
    /// In the order of the configuration; empty for a provider without any.
    pub keys: Vec<KeyStats>,
    /// Its own budget; `None`: it has none.
    pub budget: Option<BudgetStats>,
}

/// How a key stands. It is known by its place: its value is never shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KeyStats {
    pub index: usize,
    pub state: &'static str,
    /// Unix milliseconds at which it is used again.
    pub retry_at: Option<u64>,
    /// Why it is not used, while it is not.
    pub error_class: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProviderUsage {
    pub total_requests: u64,
    pub successful_requests: u64,
    pub errors: u64,
    pub total_tokens_used: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// The known part; answers without a price are counted in `unpriced_requests`.
    pub total_cost: NanoUsd,
    pub unpriced_requests: u64,
    pub requests_remaining: Option<u64>,
    pub daily_requests_remaining: Option<u64>,
    pub in_flight: u32,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Performance {
    pub success_rate: f64,
    pub reliability_score: f64,
    /// Milliseconds; 0 before the first answer.
    pub average_response_time: f64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Median milliseconds to a stream's first content.
    pub time_to_first_token: Option<f64>,
    pub circuit_breaker_open: bool,
}

/// The slots of the pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots {
    /// `None`: no limit.
    pub most: Option<u32>,
    pub taken: u32,
}

/// Totals of the pool.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PoolStats {
    pub total_requests: u64,
    pub successful_requests: u64,
    pub failed_requests: u64,
    pub cancelled_requests: u64,
    pub success_rate: f64,
    pub active_connections: u64,
    /// `routing.max_concurrent`; `None`: no limit.
    pub max_permits: Option<u32>,
    /// Attempts and streams that could begin now under it.
    pub available_permits: Option<u32>,
    pub circuit_breaker_trips: u64,
    pub failover_count: u64,
    pub retry_count: u64,
    /// Second copies that went out, those under way included.
    pub hedge_count: u64,
    /// Second copies that answered first.
    pub hedges_won: u64,
    /// Second copies that ended in another way.
    pub hedges_lost: u64,
    /// What the copies that were left may have cost: estimated, the known part. It is in `total_cost`.
    pub hedge_cost: NanoUsd,
    /// Calls answered by what was kept, or by the run of a call that was the same.
    pub cache_hits: u64,
    /// Calls that looked for a kept answer and found none.
    pub cache_misses: u64,
    pub avg_request_duration_ms: f64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    /// Microseconds a call spent in the pool itself: its latency less upstream time and waits.
    pub overhead_p50_us: Option<f64>,
    pub overhead_p99_us: Option<f64>,
    pub total_tokens: u64,
    pub total_cost: NanoUsd,
    pub unpriced_requests: u64,
    /// The pool's own budget; `None`: it has none.
    pub budget: Option<BudgetStats>,
    /// Calls of tasks, by the name of the task; calls with a strategy and no task stand under the empty name.
    pub tasks: BTreeMap<String, TaskStats>,
    /// Of the configuration, by id.
    pub tenants: BTreeMap<String, TenantStats>,
}

/// What became of the calls of one task.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStats {
    pub answers: u64,
    pub failures: u64,
    /// Answers that were kept, or made for an identical call; they are among the answers.
    pub cache_hits: u64,
    /// Second copies that `FASTEST` sent out.
    pub hedges: u64,
    /// Answers that were made, by the strategy that decided in the end.
    pub strategies: BTreeMap<&'static str, u64>,
    /// The same answers, by provider.
    pub winners: BTreeMap<String, u64>,
}

impl TaskStats {
    fn of(tally: &TaskTally) -> Self {
        let TaskTally { succeeded, failed, cache_hits, hedges, strategies, winners } = tally;
        Self {
            answers: *succeeded,
            failures: *failed,
            cache_hits: *cache_hits,
            hedges: *hedges,
            strategies: strategies.iter().collect(),
            winners: winners.iter().map(|(name, count)| (name.to_string(), *count)).collect(),
        }
    }
}

impl Engine {
    pub fn listing(&self) -> Vec<ProviderListing> {
        self.roster().providers().iter().map(|provider| ProviderListing::of(provider)).collect()
    }

    pub fn provider_stats(&self) -> BTreeMap<String, ProviderStats> {
        let now = time::now();
        self.roster()
            .providers()
            .iter()
            .map(|provider| (provider.name().to_string(), ProviderStats::of(provider, now)))
            .collect()
    }
}

impl ProviderListing {
    fn of(provider: &Provider) -> Self {
        let config = provider.config();
        Self {
            name: config.name.clone(),
            kind: config.service.name,
            model: config.model.clone(),
            priority: provider.priority(),
            enabled: config.enabled,
        }
    }
}

impl PoolHealth {
    pub(super) fn of(providers: &[Arc<Provider>], best_provider: Option<ProviderName>, now: Now) -> Self {
        let healths = providers.iter().map(|provider| provider.look(|live| ProviderHealth::of(provider, live, now)));
        let providers: BTreeMap<_, _> = healths.map(|health| (health.name.to_string(), health)).collect();
        let available_providers = providers.values().filter(|health| health.available).count();
        Self {
            healthy: available_providers > 0,
            total_providers: providers.len(),
            available_providers,
            best_provider,
            providers,
        }
    }
}

impl ProviderHealth {
    pub(super) fn of(provider: &Provider, live: Live<'_>, now: Now) -> Self {
        let config = provider.config();
        let Live { breaker, rate, keys, missing_models, learned, in_flight, marked, tally, .. } = live;
        let marked = marked.filter(|marked| marked.holds(now.mono));
        let state = breaker.state(now.mono);
        let remaining = rate.remaining(now);
        let Remaining { minute, day, .. } = remaining;
        let tokens = remaining.tokens();
        let rests_until = keys.soonest(now.mono);
        // Of its own model, which is what calls that name none ask for.
        let missing = missing_models.iter().find(|(model, until)| *model == config.model && *until > now.mono);
        let missing_until = missing.map(|(_, until)| *until);
        let spent_until = provider.spent_until(now);
        let available = config.enabled
            && marked.is_none()
            && missing_until.is_none()
            && provider.is_healthy()
            && is_free(breaker, rate, keys, now)
            && provider.has_place_beside(in_flight)
            && spent_until.is_none();
        let breaker_retry = (state == CircuitState::Open).then(|| breaker.retry_at()).flatten();
        // As a call of one token would find it.
        let limited = rate.check(now, Tokens { prompt: 1, answer: 0 }, 0).err().and_then(|limited| limited.not_before);
        let retry_at = match marked {
            Some(Marked { until: None }) => None,
            Some(Marked { until }) => until.max(breaker_retry).max(rests_until).max(limited).max(missing_until),
            None => breaker_retry.max(rests_until).max(limited).max(missing_until),
        };
        let forever = matches!(marked, Some(Marked { until: None }));
        let retry_at = retry_at.map(|at| unix_ms_of(at, now)).max(spent_until.filter(|_| !forever));
        Self {
            name: config.name.clone(),
            kind: config.service.name,
            available,
            circuit_breaker_open: state == CircuitState::Open,
            circuit_state: state.as_str(),
            retry_at,
            requests_remaining: fewer(minute, all(learned, |key| key.requests(now.mono))),
            daily_requests_remaining: fewer(day, all(learned, |key| key.daily_requests(now.mono))),
            tokens_remaining: fewer(tokens, all(learned, |key| key.tokens(now.mono))),
            success_rate: tally.totals.success_rate(),
            reliability_score: tally.reliability_score(),
            average_response_time: tally.latency.mean().unwrap_or_default(),
            total_requests: tally.totals.total_requests,
            errors: tally.totals.errors,
            last_used: tally.totals.last_used_unix_ms,
            last_error: tally.last_error.clone(),
        }
    }
}

/// The sum over all keys, where each of them has said how much it has left.
fn all(learned: &[Learned], left: impl Fn(&Learned) -> Option<u64>) -> Option<u64> {
    learned.iter().map(left).try_fold(0_u64, |sum, left| Some(sum.saturating_add(left?)))
}

fn fewer(limit: Option<u64>, said: Option<u64>) -> Option<u64> {
    limit.into_iter().chain(said).min()
}

impl ProviderStats {
    fn of(provider: &Provider, now: Now) -> Self {
        let config = provider.config();
        provider.look(|live| {
            let tally = live.tally;
            let in_flight = live.in_flight;
            let keys = KeyStats::of(&live, config.keys.len(), now);
            let health = ProviderHealth::of(provider, live, now);
            let usage = ProviderUsage {
                total_requests: tally.totals.total_requests,
                successful_requests: tally.totals.successful_requests,
                errors: tally.totals.errors,
                total_tokens_used: tally.totals.total_tokens,
                prompt_tokens: tally.totals.prompt_tokens,
                completion_tokens: tally.totals.completion_tokens,
                total_cost: tally.totals.total_cost,
                unpriced_requests: tally.totals.unpriced_requests,
                requests_remaining: health.requests_remaining,
                daily_requests_remaining: health.daily_requests_remaining,
                in_flight,
            };
            let performance = Performance {
                success_rate: health.success_rate,
                reliability_score: health.reliability_score,
                average_response_time: health.average_response_time,
                p50: tally.latency.percentile(0.50),
                p95: tally.latency.percentile(0.95),
                p99: tally.latency.percentile(0.99),
                time_to_first_token: tally.first_token.percentile(0.50),
                circuit_breaker_open: health.circuit_breaker_open,
            };
            Self {
                kind: config.service.name,
                model: config.model.clone(),
                priority: provider.priority(),
                weight: config.weight,
                enabled: config.enabled,
                health,
                usage,
                performance,
                keys,
                budget: provider.purse().map(|purse| purse.stats(now.unix_ms)),
            }
        })
    }
}

impl KeyStats {
    fn of(live: &Live<'_>, count: usize, now: Now) -> Vec<Self> {
        let states = live.keys.states(now.mono).zip(live.key_rest_class).take(count).enumerate();
        let stats = states.map(|(index, ((state, until), class))| Self {
            index,
            state: state.as_str(),
            retry_at: until.map(|until| unix_ms_of(until, now)),
            error_class: (state != KeyState::Ready).then(|| class.as_str()),
        });
        stats.collect()
    }
}

impl PoolStats {
    /// Of a pool that has not done anything yet.
    pub fn empty() -> Self {
        Self::of(
            &Totals::default(),
            &PoolTally::new(0),
            &Hedges::new(None),
            &PlanTally::default(),
            0,
            0,
            Slots::default(),
        )
    }

    pub(super) fn of(
        totals: &Totals,
        tally: &PoolTally,
        hedges: &Hedges,
        plans: &PlanTally,
        active_connections: u64,
        circuit_breaker_trips: u64,
        Slots { most, taken }: Slots,
    ) -> Self {
        let Totals { pool: calls, providers } = totals;
        let mut spent = ProviderTotals::default();
        providers.values().for_each(|provider| spent.add(provider));
        let micros = |percentile: f64| tally.overhead.percentile(percentile).map(|ms| ms * 1e3);
        Self {
            total_requests: calls.total_requests,
            successful_requests: calls.successful_requests,
            failed_requests: calls.failed_requests,
            cancelled_requests: calls.cancelled_requests,
            success_rate: calls.success_rate(),
            active_connections,
            max_permits: most,
            available_permits: most.map(|most| most.saturating_sub(taken)),
            circuit_breaker_trips,
            failover_count: calls.failovers,
            retry_count: calls.retries,
            hedge_count: calls.hedges,
            hedges_won: hedges.won,
            hedges_lost: hedges.lost,
            hedge_cost: hedges.cost,
            cache_hits: calls.cache_hits,
            cache_misses: calls.cache_misses,
            avg_request_duration_ms: tally.duration.mean().unwrap_or_default(),
            p50: tally.duration.percentile(0.50),
            p95: tally.duration.percentile(0.95),
            p99: tally.duration.percentile(0.99),
            overhead_p50_us: micros(0.50),
            overhead_p99_us: micros(0.99),
            total_tokens: spent.total_tokens,
            total_cost: spent.total_cost,
            unpriced_requests: spent.unpriced_requests,
            budget: None,
            tasks: plans.tasks().map(|(name, tally)| (name.to_owned(), TaskStats::of(tally))).collect(),
            tenants: BTreeMap::new(),
        }
    }
}
