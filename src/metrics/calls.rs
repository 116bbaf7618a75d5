//! What the pool has done. It counts calls: one that fails over is one call and two attempts.

use std::time::Duration;

use super::buckets::{ANSWER_MICROS, OVERHEAD_MICROS};
use super::{Buckets, Counts, History, PoolTotals, Samples, Slot, Spread};
use crate::types::ProviderName;

/// Pairs of providers between which failovers are counted apart. Names come from the configuration; the bound is for
/// pools whose providers come and go under ever new names.
const MOST_FAILOVERS: usize = 1_000;

/// How an answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Chat,
    Stream,
    /// By a function of the caller's own.
    Execute,
    Embed,
}

/// What the pool has done since it was made.
#[derive(Debug, Clone)]
pub struct PoolTally {
    pub totals: PoolTotals,
    /// Of the last `history_limit` calls that succeeded or failed, from the call to its end.
    pub duration: Samples,
    /// Of the last `history_limit` successful calls: the part of the duration that was the pool's own.
    pub overhead: Samples,
    pub history: History<CallSlot>,
    pub counters: CallCounters,
}

/// What scrapers want: counters that only rise, since the process began, and histograms with fixed bounds.
#[derive(Debug, Clone)]
pub struct CallCounters {
    routes: [RouteTally; Route::ALL.len()],
    pub overhead: Buckets,
    /// Calls by the behaviour that ordered their providers.
    pub strategies: Counts,
    pub retries: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Calls that ended because their deadline had passed.
    pub deadlines: u64,
    /// At most a thousand.
    pub failovers: Vec<Failover>,
}

/// Calls of one route, since the process began.
#[derive(Debug, Clone)]
pub struct RouteTally {
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Of calls that succeeded or failed.
    pub duration: Buckets,
}

/// How often calls moved from one provider to another after a failure of this class.
#[derive(Debug, Clone)]
pub struct Failover {
    pub from: ProviderName,
    pub to: ProviderName,
    pub reason: &'static str,
    pub count: u64,
}

/// What the pool did in one slot of time.
#[derive(Debug, Clone, Default)]
pub struct CallSlot {
    /// Of the calls that ended in it: here `total_requests` is their sum.
    pub totals: PoolTotals,
    pub duration: Spread,
    pub overhead: Spread,
}

// === impl Route ===

impl Route {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Stream, Self::Execute, Self::Embed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::Execute => "execute",
            Self::Embed => "embed",
        }
    }
}

// === impl PoolTally ===

impl PoolTally {
    /// Nothing has happened yet. The rings keep `history_limit` times each.
    pub fn new(history_limit: usize) -> Self {
        let route = || RouteTally { succeeded: 0, failed: 0, cancelled: 0, duration: Buckets::new(ANSWER_MICROS) };
        Self {
            totals: PoolTotals::default(),
            duration: Samples::new(history_limit),
            overhead: Samples::new(history_limit),
            history: History::default(),
            counters: CallCounters {
                routes: Route::ALL.map(|_| route()),
                overhead: Buckets::new(OVERHEAD_MICROS),
                strategies: Counts::default(),
                retries: 0,
                cache_hits: 0,
                cache_misses: 0,
                deadlines: 0,
                failovers: Vec::new(),
            },
        }
    }

    /// A call begins.
    pub fn started(&mut self) {
        self.totals.total_requests += 1;
    }

    /// Its providers were put in order.
    pub fn planned(&mut self, strategy: &'static str) {
        self.counters.strategies.add(strategy);
    }

    /// A call was answered.
    pub fn succeeded(&mut self, unix_ms: u64, route: Route, duration: Duration, overhead: Duration) {
        self.totals.successful_requests += 1;
        self.duration.push(duration);
        self.overhead.push(overhead);
        self.counters.overhead.push(overhead);
        let by_route = &mut self.counters.routes[route as usize];
        by_route.succeeded += 1;
        by_route.duration.push(duration);
        self.history.note(unix_ms, |slot| {
            slot.totals.total_requests += 1;
            slot.totals.successful_requests += 1;
            slot.duration.push(duration);
            slot.overhead.push(overhead);
        });
    }

    /// A call ended in an error; `out_of_time`: because its deadline had passed.
    pub fn failed(&mut self, unix_ms: u64, route: Route, duration: Duration, out_of_time: bool) {
        self.counters.deadlines += u64::from(out_of_time);
        self.totals.failed_requests += 1;
        self.duration.push(duration);
        let by_route = &mut self.counters.routes[route as usize];
        by_route.failed += 1;
        by_route.duration.push(duration);
        self.history.note(unix_ms, |slot| {
            slot.totals.total_requests += 1;
            slot.totals.failed_requests += 1;
            slot.duration.push(duration);
        });
    }

    /// The caller left. How long it stayed says nothing about the pool and is not kept.
    pub fn cancelled(&mut self, unix_ms: u64, route: Route) {
        self.totals.cancelled_requests += 1;
        self.counters.routes[route as usize].cancelled += 1;
        self.history.note(unix_ms, |slot| {
            slot.totals.total_requests += 1;
            slot.totals.cancelled_requests += 1;
        });
    }

    /// A call asks the same provider again.
    pub fn retried(&mut self, unix_ms: u64) {
        self.totals.retries += 1;
        self.counters.retries += 1;
        self.history.note(unix_ms, |slot| slot.totals.retries += 1);
    }

    /// A second copy of a call goes out.
    pub fn hedged(&mut self, unix_ms: u64) {
        self.totals.hedges += 1;
        self.history.note(unix_ms, |slot| slot.totals.hedges += 1);
    }

    /// A call was answered without asking anybody.
    pub fn cache_hit(&mut self, unix_ms: u64) {
        self.totals.cache_hits += 1;
        self.counters.cache_hits += 1;
        self.history.note(unix_ms, |slot| slot.totals.cache_hits += 1);
    }

    /// A call looked for a kept answer and found none.
    pub fn cache_missed(&mut self, unix_ms: u64) {
        self.totals.cache_misses += 1;
        self.counters.cache_misses += 1;
        self.history.note(unix_ms, |slot| slot.totals.cache_misses += 1);
    }

    /// A call moves to another provider after a failure of that class.
    pub fn failed_over(&mut self, unix_ms: u64, from: &ProviderName, to: &ProviderName, reason: &'static str) {
        self.totals.failovers += 1;
        self.history.note(unix_ms, |slot| slot.totals.failovers += 1);
        self.counters.failed_over(from, to, reason);
    }
}

// === impl CallCounters ===

impl CallCounters {
    pub fn routes(&self) -> impl Iterator<Item = (Route, &RouteTally)> {
        Route::ALL.into_iter().zip(&self.routes)
    }

    fn failed_over(&mut self, from: &ProviderName, to: &ProviderName, reason: &'static str) {
        let known = |each: &&mut Failover| each.reason == reason && each.from == *from && each.to == *to;
        if let Some(failover) = self.failovers.iter_mut().find(known) {
            failover.count += 1;
        } else if self.failovers.len() < MOST_FAILOVERS {
            self.failovers.push(Failover { from: from.clone(), to: to.clone(), reason, count: 1 });
        } else if let Some(last) = self.failovers.last_mut() {
            // The sum stays right; between whom the latest were is in the events.
            let other = || ProviderName::new("other");
            *last = Failover { from: other(), to: other(), reason: "other", count: last.count + 1 };
        }
    }
}

impl Slot for CallSlot {
    fn add(&mut self, other: &Self) {
        let Self { totals, duration, overhead } = other;
        self.totals.add(totals);
        self.duration.add(duration);
        self.overhead.add(overhead);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOON: u64 = 1_800_000_000_000;

    #[test]
    fn routes_are_in_the_order_of_their_numbers() {
        assert!(Route::ALL.into_iter().enumerate().all(|(at, route)| route as usize == at));
    }

    #[test]
    fn the_rate_is_of_calls_that_ended_by_themselves() {
        let mut pool = PoolTally::new(10);
        assert_eq!(pool.totals.success_rate(), 100.0);
        pool.started();
        pool.cancelled(NOON, Route::Chat);
        assert_eq!(pool.totals.success_rate(), 100.0);
        pool.failed(NOON, Route::Chat, SECOND, true);
        assert_eq!(pool.counters.deadlines, 1);
        pool.succeeded(NOON, Route::Stream, SECOND, Duration::ZERO);
        assert_eq!(pool.totals.success_rate(), 50.0);
    }

    #[test]
    fn durations_of_failures_count_and_those_of_cancelled_calls_do_not() {
        let mut pool = PoolTally::new(10);
        pool.failed(NOON, Route::Chat, SECOND, false);
        pool.cancelled(NOON, Route::Chat);
        pool.succeeded(NOON, Route::Chat, SECOND * 3, Duration::from_micros(20));
        assert_eq!(pool.duration.mean(), Some(2000.0));
        assert_eq!(pool.overhead.mean(), Some(0.02));
        let slot = pool.history.sum(Window::Hour, NOON);
        assert_eq!(
            (slot.totals.total_requests, slot.duration.mean(), slot.overhead.mean()),
            (3, Some(2000.0), Some(0.02))
        );
        let (_, chat) = pool.counters.routes().next().unwrap();
        assert_eq!((chat.succeeded, chat.failed, chat.cancelled, chat.duration.count()), (1, 1, 1, 2));
        assert_eq!(pool.counters.overhead.count(), 1);
    }

    #[test]
    fn retries_and_failovers_are_counted_apart() {
        let [a, b] = ["a", "b"].map(ProviderName::new);
        let mut pool = PoolTally::new(0);
        pool.retried(NOON);
        pool.failed_over(NOON, &a, &b, "timeout");
        pool.failed_over(NOON, &a, &b, "timeout");
        pool.failed_over(NOON, &b, &a, "timeout");
        assert_eq!((pool.totals.retries, pool.totals.failovers), (1, 3));
        assert_eq!(pool.counters.failovers.iter().map(|each| each.count).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(pool.history.sum(Window::Week, NOON).totals.failovers, 3);
    }

    #[test]
    fn failovers_between_ever_new_names_are_bounded_and_none_is_lost() {
        let mut pool = PoolTally::new(0);
        for number in 0..MOST_FAILOVERS + 10 {
            pool.failed_over(NOON, &ProviderName::new("a"), &ProviderName::new(number.to_string()), "network");
        }
        assert_eq!(pool.counters.failovers.len(), MOST_FAILOVERS);
        let sum: u64 = pool.counters.failovers.iter().map(|each| each.count).sum();
        assert_eq!(sum, pool.totals.failovers);
    }
}
