//! A window of time in numbers: what ended in it, altogether, by provider and by slot.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Engine, lock};
use crate::metrics::{AttemptSlot, CallSlot, History, Slot, Window};
use crate::time;
use crate::types::NanoUsd;

/// What ended in the last hour, day or week.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Analytics {
    /// `1h`, `24h` or `7d`.
    pub window: &'static str,
    /// Unix milliseconds: the start of the first slot, and now.
    pub from: u64,
    pub to: u64,
    /// The width of a slot in milliseconds.
    pub step_ms: u64,
    /// Calls that ended.
    pub total_requests: u64,
    pub successful_requests: u64,
    pub failed_requests: u64,
    pub cancelled_requests: u64,
    pub success_rate: f64,
    pub circuit_breaker_trips: u64,
    pub failover_count: u64,
    pub retry_count: u64,
    pub hedge_count: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub avg_request_duration_ms: f64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub overhead_p50_us: Option<f64>,
    pub overhead_p99_us: Option<f64>,
    #[serde(flatten)]
    pub spent: Spent,
    /// By name, providers that left the pool included. Only those that did something.
    pub provider_breakdown: BTreeMap<String, ProviderWindow>,
    /// Every slot of the window, oldest first, those in which nothing ended included.
    pub time_series: Vec<Point>,
}

/// Tokens and money.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Spent {
    pub total_tokens: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// The known part; answers without a price are counted in `unpriced_requests`.
    pub total_cost: NanoUsd,
    pub unpriced_requests: u64,
}

/// What attempts at one provider came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProviderWindow {
    pub total_requests: u64,
    pub successful_requests: u64,
    pub errors: u64,
    pub success_rate: f64,
    pub circuit_breaker_trips: u64,
    /// Milliseconds; 0 without an answer.
    pub average_response_time: f64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    #[serde(flatten)]
    pub spent: Spent,
}

/// One slot of the time series.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Point {
    /// Unix milliseconds of its start.
    pub at: u64,
    pub total_requests: u64,
    pub successful_requests: u64,
    pub failed_requests: u64,
    pub cancelled_requests: u64,
    pub failover_count: u64,
    pub retry_count: u64,
    pub avg_request_duration_ms: f64,
    pub p95: Option<f64>,
    #[serde(flatten)]
    pub spent: Spent,
}

impl Engine {
    pub fn analytics(&self, window: Window) -> Analytics {
        let now = time::unix_ms();
        let mut providers = Vec::new();
        lock(&self.books).each(|name, tally| providers.push((name.to_owned(), tally.history.clone())));
        let calls = lock(&self.tally).history.clone();
        Analytics::of(window, now, &calls, &providers)
    }
}

impl Analytics {
    /// Of a pool that has not done anything yet.
    pub fn empty(window: Window) -> Self {
        Self::of(window, time::unix_ms(), &History::default(), &[])
    }

    fn of(window: Window, now: u64, calls: &History<CallSlot>, providers: &[(String, History<AttemptSlot>)]) -> Self {
        let sum = calls.sum(window, now);
        let mut attempts = AttemptSlot::default();
        let mut provider_breakdown = BTreeMap::new();
        for (name, history) in providers {
            let slot = history.sum(window, now);
            attempts.add(&slot);
            if slot.totals != AttemptSlot::default().totals || slot.trips > 0 {
                provider_breakdown.insert(name.clone(), ProviderWindow::of(&slot));
            }
        }
        let micros = |percentile: f64| sum.overhead.percentile(percentile).map(|ms| ms * 1e3);
        Self {
            window: window.as_str(),
            from: window.starts(now).next().unwrap_or(now),
            to: now,
            step_ms: window.step_ms(),
            total_requests: sum.totals.total_requests,
            successful_requests: sum.totals.successful_requests,
            failed_requests: sum.totals.failed_requests,
            cancelled_requests: sum.totals.cancelled_requests,
            success_rate: sum.totals.success_rate(),
            circuit_breaker_trips: attempts.trips,
            failover_count: sum.totals.failovers,
            retry_count: sum.totals.retries,
            hedge_count: sum.totals.hedges,
            cache_hits: sum.totals.cache_hits,
            cache_misses: sum.totals.cache_misses,
            avg_request_duration_ms: sum.duration.mean().unwrap_or_default(),
            p50: sum.duration.percentile(0.50),
            p95: sum.duration.percentile(0.95),
            p99: sum.duration.percentile(0.99),
            overhead_p50_us: micros(0.50),
            overhead_p99_us: micros(0.99),
            spent: Spent::of(&attempts),
            provider_breakdown,
            time_series: time_series(window, now, calls, providers),
        }
    }
}

fn time_series(
    window: Window,
    now: u64,
    calls: &History<CallSlot>,
    providers: &[(String, History<AttemptSlot>)],
) -> Vec<Point> {
    let mut points: BTreeMap<u64, Point> =
        window.starts(now).map(|at| (at, Point { at, ..Point::default() })).collect();
    for (at, CallSlot { totals, duration, overhead: _ }) in calls.within(window, now) {
        let Some(point) = points.get_mut(&at) else { continue };
        *point = Point {
            at,
            total_requests: totals.total_requests,
            successful_requests: totals.successful_requests,
            failed_requests: totals.failed_requests,
            cancelled_requests: totals.cancelled_requests,
            failover_count: totals.failovers,
            retry_count: totals.retries,
            avg_request_duration_ms: duration.mean().unwrap_or_default(),
            p95: duration.percentile(0.95),
            spent: Spent::default(),
        };
    }
    for (_, history) in providers {
        for (at, slot) in history.within(window, now) {
            if let Some(point) = points.get_mut(&at) {
                point.spent.add(&Spent::of(slot));
            }
        }
    }
    points.into_values().collect()
}

impl Spent {
    fn of(slot: &AttemptSlot) -> Self {
        let totals = &slot.totals;
        Self {
            total_tokens: totals.total_tokens,
            prompt_tokens: totals.prompt_tokens,
            completion_tokens: totals.completion_tokens,
            total_cost: totals.total_cost,
            unpriced_requests: totals.unpriced_requests,
        }
    }

    fn add(&mut self, other: &Self) {
        let Self { total_tokens, prompt_tokens, completion_tokens, total_cost, unpriced_requests } = other;
        self.total_tokens += total_tokens;
        self.prompt_tokens += prompt_tokens;
        self.completion_tokens += completion_tokens;
        self.total_cost = self.total_cost.saturating_add(*total_cost);
        self.unpriced_requests += unpriced_requests;
    }
}

impl ProviderWindow {
    fn of(slot: &AttemptSlot) -> Self {
        let AttemptSlot { totals, trips, latency } = slot;
        Self {
            total_requests: totals.total_requests,
            successful_requests: totals.successful_requests,
            errors: totals.errors,
            success_rate: totals.success_rate(),
            circuit_breaker_trips: *trips,
            average_response_time: latency.mean().unwrap_or_default(),
            p50: latency.percentile(0.50),
            p95: latency.percentile(0.95),
            p99: latency.percentile(0.99),
            spent: Spent::of(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Mark, PoolTally, ProviderTally, Route};
    use crate::types::{ProviderName, Usage};

    const HOUR: u64 = 3_600_000;
    /// A sharp hour.
    const NOON: u64 = 500_000 * HOUR;

    /// Two calls an hour and a half ago, one now; the first cost something.
    fn look(window: Window) -> Analytics {
        let mut pool = PoolTally::new(0);
        let mut a = ProviderTally::new(0);
        let at = |unix_ms| Mark { model: ProviderTally::new(0).model_id("m"), unix_ms };
        let earlier = NOON - HOUR - HOUR / 2;
        let ms = Duration::from_millis;
        for (when, latency, cost) in [(earlier, 100, Some(NanoUsd(5))), (earlier + 1, 300, None), (NOON, 800, None)] {
            a.sent(at(when), when, true);
            a.succeeded(at(when), ms(latency), None, &Usage::reported(10, 5), cost);
            pool.succeeded(when, Route::Chat, ms(latency), Duration::from_micros(20));
        }
        pool.failed_over(NOON, &ProviderName::new("a"), &ProviderName::new("b"), "timeout");
        a.tripped(NOON);
        let idle = ProviderTally::new(0);
        Analytics::of(window, NOON + 1, &pool.history, &[("a".into(), a.history), ("idle".into(), idle.history)])
    }

    #[test]
    fn the_last_hour_is_one_call_and_the_day_is_all_of_them() {
        let hour = look(Window::Hour);
        assert_eq!((hour.window, hour.step_ms, hour.to - hour.from), ("1h", 60_000, 59 * 60_000 + 1));
        assert_eq!((hour.total_requests, hour.avg_request_duration_ms, hour.spent.total_tokens), (1, 800.0, 15));
        assert_eq!((hour.failover_count, hour.circuit_breaker_trips), (1, 1));
        for window in [Window::Day, Window::Week] {
            let all = look(window);
            assert_eq!((all.total_requests, all.avg_request_duration_ms), (3, 400.0));
            assert_eq!((all.spent.total_cost, all.spent.unpriced_requests), (NanoUsd(5), 2));
            assert_eq!(all.overhead_p50_us, Some(20.5), "the middle of 20 and 21 µs");
            let p50 = all.p50.expect("three calls");
            assert!((p50 - 300.0).abs() <= 300.0 / 16.0, "{p50}");
        }
    }

    #[test]
    fn the_breakdown_names_who_did_something() {
        let day = look(Window::Day);
        assert_eq!(day.provider_breakdown.keys().collect::<Vec<_>>(), ["a"]);
        let a = &day.provider_breakdown["a"];
        assert_eq!((a.total_requests, a.successful_requests, a.errors, a.success_rate), (3, 3, 0, 100.0));
        assert_eq!((a.average_response_time, a.spent.prompt_tokens, a.spent.completion_tokens), (400.0, 30, 15));
    }

    #[test]
    fn the_series_has_every_slot_and_adds_up_to_the_window() {
        for (window, slots) in [(Window::Hour, 60), (Window::Day, 24), (Window::Week, 168)] {
            let analytics = look(window);
            let series = &analytics.time_series;
            assert_eq!(series.len(), slots);
            assert!(series.windows(2).all(|pair| pair[1].at - pair[0].at == analytics.step_ms));
            assert_eq!(series.iter().map(|point| point.total_requests).sum::<u64>(), analytics.total_requests);
            assert_eq!(series.iter().map(|point| point.spent.total_tokens).sum::<u64>(), analytics.spent.total_tokens);
            assert_eq!((series[0].at, series[slots - 1].at), (analytics.from, NOON));
        }
        let day = look(Window::Day).time_series;
        assert_eq!(
            (day[21].total_requests, day[21].avg_request_duration_ms, day[21].spent.total_cost.0),
            (2, 200.0, 5)
        );
    }

    #[test]
    fn a_pool_that_did_nothing_has_a_window_of_nothing() {
        let empty = Analytics::empty(Window::Week);
        assert_eq!((empty.total_requests, empty.success_rate, empty.p50), (0, 100.0, None));
        assert_eq!(empty.time_series.len(), 168);
    }
}
