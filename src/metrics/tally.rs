//! The counters of a provider and of the pool.
//!
//! A provider counts attempts, the pool counts calls: a call that fails over is one call and two attempts. A rate is
//! taken of what has ended by itself, so requests under way and requests that the caller left lower nothing. Totals of
//! money hold the known part; `unpriced_requests` says how many requests are missing in it.

use std::time::Duration;

use super::{PoolTotals, ProviderTotals, Samples};
use crate::types::{NanoUsd, Usage};

/// The last error is kept up to this many bytes: enough for a provider's sentence, not for its HTML page.
const LAST_ERROR_BYTES: usize = 500;

/// Points of reliability that a second of p95 latency costs, and the most that latency can cost.
const POINTS_PER_SECOND: f64 = 1.0;
const MOST_LATENCY_POINTS: f64 = 20.0;

/// What one provider has done since it was configured.
#[derive(Debug, Clone)]
pub struct ProviderTally {
    pub totals: ProviderTotals,
    /// Stays after a success. Never shows a key: it is masked before it comes here.
    pub last_error: Option<String>,
    /// Of successful attempts, from sending to the whole answer.
    pub latency: Samples,
    /// Of successful streams, from sending to the first content.
    pub first_token: Samples,
}

/// What the pool has done since it was made.
#[derive(Debug, Clone)]
pub struct PoolTally {
    pub totals: PoolTotals,
    /// Of calls that succeeded or failed, from the call to its end.
    pub duration: Samples,
    /// Of successful calls: the part of the duration that was the pool's own and not the upstream's.
    pub overhead: Samples,
}

// === impl ProviderTally ===

impl ProviderTally {
    /// Nothing has happened yet. The rings keep `history_limit` times each.
    pub fn new(history_limit: usize) -> Self {
        Self {
            totals: ProviderTotals::default(),
            last_error: None,
            latency: Samples::new(history_limit),
            first_token: Samples::new(history_limit),
        }
    }

    /// An attempt goes out.
    pub fn sent(&mut self, unix_ms: u64) {
        self.totals.total_requests += 1;
        self.totals.last_used_unix_ms = Some(unix_ms);
    }

    /// An attempt brought an answer. `first_token` is `None` where nothing was streamed, `cost` where the price is
    /// unknown.
    pub fn succeeded(
        &mut self,
        latency: Duration,
        first_token: Option<Duration>,
        usage: &Usage,
        cost: Option<NanoUsd>,
    ) {
        self.totals.successful_requests += 1;
        self.latency.push(latency);
        if let Some(first_token) = first_token {
            self.first_token.push(first_token);
        }
        self.spent(usage, cost);
    }

    /// An attempt failed. `message` is masked already.
    pub fn failed(&mut self, mut message: String) {
        self.totals.errors += 1;
        // The end of a shorter message is a boundary, and nothing behind it is.
        let whole_letters = (0..=LAST_ERROR_BYTES).rev().find(|&at| message.is_char_boundary(at));
        message.truncate(whole_letters.unwrap_or(0));
        self.last_error = Some(message);
    }

    /// Books tokens and money of an attempt that brought no whole answer: it was left, or cut after content.
    pub fn spent(&mut self, usage: &Usage, cost: Option<NanoUsd>) {
        self.totals.spend(usage, cost);
    }

    /// How far this provider can be relied on, 0 to 100, for people and not for routing:
    ///
    /// `success_rate − min(20, p95 of latency in seconds)`, at least 0.
    ///
    /// The rate is over everything since the start, the latency over the last `history_limit` successes. 100 before the
    /// first attempt; one that always answers within 20 s never falls under 80.
    pub fn reliability_score(&self) -> f64 {
        let seconds = self.latency.percentile(0.95).unwrap_or(0.0) / 1e3;
        (self.totals.success_rate() - (seconds * POINTS_PER_SECOND).min(MOST_LATENCY_POINTS)).max(0.0)
    }
}

// === impl PoolTally ===

impl PoolTally {
    /// Nothing has happened yet. The rings keep `history_limit` times each.
    pub fn new(history_limit: usize) -> Self {
        Self {
            totals: PoolTotals::default(),
            duration: Samples::new(history_limit),
            overhead: Samples::new(history_limit),
        }
    }

    /// A call begins.
    pub fn started(&mut self) {
        self.totals.total_requests += 1;
    }

    /// A call was answered.
    pub fn succeeded(&mut self, duration: Duration, overhead: Duration) {
        self.totals.successful_requests += 1;
        self.duration.push(duration);
        self.overhead.push(overhead);
    }

    /// A call ended in an error.
    pub fn failed(&mut self, duration: Duration) {
        self.totals.failed_requests += 1;
        self.duration.push(duration);
    }

    /// The caller left. How long it stayed says nothing about the pool and is not kept.
    pub fn cancelled(&mut self) {
        self.totals.cancelled_requests += 1;
    }

    /// A call asks the same provider again.
    pub fn retried(&mut self) {
        self.totals.retries += 1;
    }

    /// A call moves to another provider.
    pub fn failed_over(&mut self) {
        self.totals.failovers += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn before_the_first_request_everything_is_fine_and_nothing_is_known() {
        let tally = ProviderTally::new(1000);
        assert_eq!(tally.totals.success_rate(), 100.0);
        assert_eq!(tally.reliability_score(), 100.0);
        assert_eq!(tally.latency.mean(), None);
        assert_eq!(tally.totals.last_used_unix_ms, None);
        assert_eq!(PoolTally::new(1000).totals.success_rate(), 100.0);
    }

    #[test]
    fn requests_under_way_or_left_do_not_lower_the_rate() {
        let mut tally = ProviderTally::new(10);
        tally.sent(1);
        assert_eq!(tally.totals.success_rate(), 100.0);
        tally.succeeded(SECOND, None, &Usage::default(), None);
        tally.sent(2);
        tally.spent(&Usage::reported(5, 1), None);
        assert_eq!(tally.totals.success_rate(), 100.0);
        assert_eq!((tally.totals.total_requests, tally.totals.successful_requests, tally.totals.errors), (2, 1, 0));

        let mut pool = PoolTally::new(10);
        pool.started();
        pool.cancelled();
        assert_eq!(pool.totals.success_rate(), 100.0);
    }

    #[test]
    fn the_rate_is_a_percentage_of_what_ended() {
        let mut tally = ProviderTally::new(10);
        tally.failed("broken".into());
        assert_eq!(tally.totals.success_rate(), 0.0);
        for _ in 0..3 {
            tally.succeeded(SECOND, None, &Usage::default(), None);
        }
        assert_eq!(tally.totals.success_rate(), 75.0);

        let mut pool = PoolTally::new(10);
        pool.failed(SECOND);
        pool.succeeded(SECOND, Duration::ZERO);
        assert_eq!(pool.totals.success_rate(), 50.0);
    }

    #[test]
    fn tokens_and_money_add_up_and_the_unknown_is_counted_apart() {
        let mut tally = ProviderTally::new(10);
        tally.succeeded(SECOND, None, &Usage::reported(10, 5), Some(NanoUsd(7)));
        tally.succeeded(SECOND, None, &Usage::reported(1, 2), None);
        tally.spent(&Usage::reported(4, 0), Some(NanoUsd(3)));
        assert_eq!(
            (tally.totals.prompt_tokens, tally.totals.completion_tokens, tally.totals.total_tokens),
            (15, 7, 22)
        );
        assert_eq!((tally.totals.total_cost, tally.totals.unpriced_requests), (NanoUsd(10), 1));
    }

    #[test]
    fn first_content_is_kept_only_for_streams() {
        let mut tally = ProviderTally::new(10);
        tally.succeeded(SECOND, None, &Usage::default(), None);
        assert_eq!(tally.first_token.mean(), None);
        tally.succeeded(SECOND, Some(SECOND / 10), &Usage::default(), None);
        assert_eq!(tally.first_token.mean(), Some(100.0));
        assert_eq!(tally.latency.len(), 2);
    }

    #[test]
    fn the_last_error_stays_after_a_success_and_is_cut_between_letters() {
        let mut tally = ProviderTally::new(10);
        tally.failed("ü".repeat(1_000) + "!");
        tally.succeeded(SECOND, None, &Usage::default(), None);
        assert_eq!(tally.last_error.as_deref(), Some("ü".repeat(250).as_str()));
        tally.failed(format!("a{}", "ü".repeat(1_000)));
        assert_eq!(tally.last_error.as_deref().map(str::len), Some(499));
        tally.failed("short".into());
        assert_eq!(tally.last_error.as_deref(), Some("short"));
    }

    #[test]
    fn a_second_of_latency_costs_a_point_and_twenty_at_most() {
        let scored = |latency: Duration| {
            let mut tally = ProviderTally::new(10);
            tally.succeeded(latency, None, &Usage::default(), None);
            tally.reliability_score()
        };
        assert_eq!(scored(SECOND * 2), 98.0);
        assert_eq!(scored(SECOND * 500), 80.0);
        let mut tally = ProviderTally::new(10);
        tally.failed("broken".into());
        assert_eq!(tally.reliability_score(), 0.0);
    }

    #[test]
    fn durations_of_failures_count_and_those_of_cancelled_calls_do_not() {
        let mut pool = PoolTally::new(10);
        pool.failed(SECOND);
        pool.cancelled();
        pool.succeeded(SECOND * 3, Duration::from_micros(20));
        assert_eq!(pool.duration.mean(), Some(2000.0));
        assert_eq!(pool.overhead.mean(), Some(0.02));
    }

    #[test]
    fn retries_and_failovers_are_counted_apart() {
        let mut pool = PoolTally::new(0);
        pool.retried();
        pool.failed_over();
        pool.failed_over();
        assert_eq!((pool.totals.retries, pool.totals.failovers), (1, 2));
    }
}
