//! How many retries the whole pool may make, so that an outage upstream is not multiplied by everybody retrying.
//!
//! A bucket of at most `burst` retries. It fills at `ratio` of the rate of first visits over the last 10 s, and never
//! slower than `per_second`: a busy pool may add a fifth to its load, and a quiet one can still retry. Only the rate is
//! averaged over the 10 s; what it earns does not pile up beyond `burst`, so an outage cannot spend in its first second
//! what ten good ones have earned.
//!
//! It starts full: a pool that has just begun has earned nothing, and its first call may need a retry. A clock that
//! stands still fills nothing. A retry that was drawn and then not made, because its call was left, is not given back:
//! that errs on the safe side, and a second later it is earned again.

use std::time::Duration;

use super::nanos_since;
use crate::time::Instant;

/// First visits are averaged over this many slots of [`SLOT_NANOS`]. Ten seconds even out bursts and still follow a
/// load that changes.
const SLOTS: usize = 10;
const SLOT_NANOS: u64 = Duration::from_secs(1).as_nanos() as u64;

/// One retry in the unit of the balance. With a billion units in a retry, a rate of one per second is one unit per
/// nanosecond, and waiting exactly one second yields exactly one retry.
const RETRY: u64 = 1_000_000_000;

/// Bounds of the retries of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryBudgetParams {
    /// Retries per first visit. 0 to 100, default 0.2; 0 = `per_second` alone.
    pub ratio: f64,
    /// Retries per second that are earned at least, whatever the load. 0 to 1,000,000, default 1; 0 = `ratio` alone.
    pub per_second: f64,
    /// Most retries that can be saved up, and what there is at the start. Default 10; 0 = no retries at all.
    pub burst: u32,
}

impl Default for RetryBudgetParams {
    fn default() -> Self {
        Self {
            // Enough for the failures of normal days, and an overloaded provider sees 120 % of its load, not 400 %.
            ratio: 0.2,
            // Below 5 calls per second a fifth would be less than one retry per second; those pools harm nobody.
            per_second: 1.0,
            // A handful of calls that fail together can all be retried.
            burst: 10,
        }
    }
}

/// The retries that are left.
///
/// ```
/// use llmpool::policy::{RetryBudget, RetryBudgetParams};
/// let now = llmpool::time::now().mono;
/// let mut budget = RetryBudget::new(RetryBudgetParams { burst: 1, ..RetryBudgetParams::default() });
/// budget.first_visit(now);
/// assert!(budget.withdraw(now));
/// assert!(!budget.withdraw(now));
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    params: RetryBudgetParams,
    /// In units of [`RETRY`]; never above `burst` retries.
    balance: u64,
    /// The first `now` seen; all times are nanoseconds since it.
    origin: Option<Instant>,
    latest: u64,
    /// First visits of the last [`SLOTS`] slots, the one of time `t` at `t / SLOT_NANOS % SLOTS`, and their sum.
    slots: [u64; SLOTS],
    visits: u64,
}

// === impl RetryBudgetParams ===

impl RetryBudgetParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(0.0..=100.0).contains(&self.ratio) {
            problems.push(("ratio", "must be a number from 0 to 100".to_owned()));
        }
        if !(0.0..=1e6).contains(&self.per_second) {
            problems.push(("per_second", "must be a number from 0 to 1000000".to_owned()));
        }
        problems
    }
}

// === impl RetryBudget ===

impl RetryBudget {
    /// A full budget.
    pub fn new(params: RetryBudgetParams) -> Self {
        let balance = u64::from(params.burst) * RETRY;
        Self { params, balance, origin: None, latest: 0, slots: [0; SLOTS], visits: 0 }
    }

    /// A call asks a provider, or a key of it, for the first time.
    pub fn first_visit(&mut self, now: Instant) {
        self.advance(now);
        self.slots[slot(self.latest)] += 1;
        self.visits += 1;
    }

    /// Takes one retry, if one is left.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.advance(now);
        match self.balance.checked_sub(RETRY) {
            Some(left) => {
                self.balance = left;
                true
            }
            None => false,
        }
    }

    /// Forgets visits that are too old and books what the time since the last call has earned.
    fn advance(&mut self, now: Instant) {
        let origin = *self.origin.get_or_insert(now);
        let now = nanos_since(origin, now).max(self.latest);

        let turned = now / SLOT_NANOS - self.latest / SLOT_NANOS;
        for step in 1..=turned.min(SLOTS as u64) {
            let expired = &mut self.slots[slot(self.latest + step * SLOT_NANOS)];
            self.visits -= std::mem::take(expired);
        }

        // After a pause the rate is that of the visits still remembered: an error against us, and the pause has filled
        // the bucket by `per_second` anyway.
        let earned_by_load = self.params.ratio * self.visits as f64 / SLOTS as f64;
        let rate = earned_by_load.max(self.params.per_second);
        let earned = ((now - self.latest) as f64 * rate).round() as u64;
        self.balance = self.balance.saturating_add(earned).min(u64::from(self.params.burst) * RETRY);
        self.latest = now;
    }
}

fn slot(nanos: u64) -> usize {
    (nanos / SLOT_NANOS % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        crate::time::now().mono
    }

    fn budget(ratio: f64, per_second: f64, burst: u32) -> RetryBudget {
        RetryBudget::new(RetryBudgetParams { ratio, per_second, burst })
    }

    /// Withdraws until it is refused; how many there were.
    fn drain(budget: &mut RetryBudget, now: Instant) -> u32 {
        (0..).take_while(|_| budget.withdraw(now)).count() as u32
    }

    #[test]
    fn it_starts_with_a_whole_burst() {
        let mut budget = RetryBudget::new(RetryBudgetParams::default());
        assert_eq!(drain(&mut budget, start()), 10);
    }

    #[test]
    fn an_idle_pool_earns_one_retry_a_second() {
        let mut now = start();
        let mut budget = RetryBudget::new(RetryBudgetParams::default());
        drain(&mut budget, now);
        now += SECOND - Duration::from_nanos(1);
        assert!(!budget.withdraw(now));
        now += Duration::from_nanos(1);
        assert_eq!(drain(&mut budget, now), 1);
        now += SECOND * 3;
        assert_eq!(drain(&mut budget, now), 3);
    }

    #[test]
    fn nothing_is_saved_beyond_the_burst() {
        let mut now = start();
        let mut budget = RetryBudget::new(RetryBudgetParams::default());
        for _ in 0..10_000 {
            budget.first_visit(now);
        }
        now += SECOND * 3600;
        assert_eq!(drain(&mut budget, now), 10);
    }

    #[test]
    fn a_busy_pool_earns_a_fifth_of_its_first_visits() {
        let mut now = start();
        let mut budget = RetryBudget::new(RetryBudgetParams::default());
        let mut withdrawn = 0;
        for _ in 0..60_000 {
            // A thousand visits a second, each of which wants a retry.
            now += Duration::from_millis(1);
            budget.first_visit(now);
            withdrawn += u32::from(budget.withdraw(now));
        }
        assert!((10_000..=12_010).contains(&withdrawn), "{withdrawn}");
    }

    #[test]
    fn visits_older_than_ten_seconds_earn_nothing() {
        let mut now = start();
        let mut budget = budget(0.2, 0.0, 10);
        for _ in 0..1_000 {
            budget.first_visit(now);
        }
        now += SECOND * 10;
        drain(&mut budget, now);
        now += SECOND * 100;
        assert_eq!(drain(&mut budget, now), 0);
    }

    #[test]
    fn a_burst_of_zero_allows_no_retry() {
        let mut now = start();
        let mut budget = budget(1.0, 100.0, 0);
        for _ in 0..100 {
            now += SECOND;
            budget.first_visit(now);
            assert!(!budget.withdraw(now));
        }
    }

    #[test]
    fn without_any_refill_the_burst_is_all_there_is() {
        let mut now = start();
        let mut budget = budget(0.0, 0.0, 2);
        budget.first_visit(now);
        assert_eq!(drain(&mut budget, now), 2);
        now += SECOND * 3600;
        assert_eq!(drain(&mut budget, now), 0);
    }

    #[test]
    fn a_clock_that_stands_still_or_is_read_too_early_earns_nothing() {
        let now = start();
        let mut budget = budget(0.2, 1.0, 3);
        budget.first_visit(now + SECOND * 5);
        assert_eq!(drain(&mut budget, now + SECOND * 5), 3);
        for _ in 0..1_000 {
            budget.first_visit(now);
            assert!(!budget.withdraw(now + SECOND * 5));
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        assert!(RetryBudgetParams::default().check().is_empty());
        assert!(RetryBudgetParams { ratio: 0.0, per_second: 0.0, burst: 0 }.check().is_empty());
        for wrong in [-0.1, f64::NAN, f64::INFINITY] {
            let problems = RetryBudgetParams { ratio: wrong, per_second: wrong, burst: 1 }.check();
            assert_eq!(problems.iter().map(|problem| problem.0).collect::<Vec<_>>(), ["ratio", "per_second"]);
        }
    }

    proptest! {
        /// Against a bucket that only `per_second` fills: never less than that one, never more than it and the share of
        /// all visits together, and never more than a burst at once.
        #[test]
        fn it_stays_between_its_floor_and_its_burst(
            burst in 0u32..12,
            steps in prop::collection::vec((0u64..3_000_000_000, 0u32..30, 0u32..4), 1..200),
        ) {
            let mut now = start();
            let begin = now;
            let mut budget = budget(0.2, 1.0, burst);
            let cap = u64::from(burst) * RETRY;
            let mut floor = cap;
            let (mut visits, mut withdrawn) = (0u64, 0u64);
            budget.first_visit(now);
            for (nanos, new_visits, wanted) in steps {
                now += Duration::from_nanos(nanos);
                floor = (floor + nanos).min(cap);
                budget.advance(now);
                for _ in 0..new_visits {
                    budget.first_visit(now);
                }
                visits += u64::from(new_visits);
                for _ in 0..wanted {
                    if budget.withdraw(now) {
                        withdrawn += 1;
                        floor = floor.saturating_sub(RETRY);
                    } else {
                        prop_assert!(floor < RETRY);
                    }
                }
                prop_assert!(budget.balance <= cap && budget.balance >= floor);
                prop_assert_eq!(budget.visits, budget.slots.iter().sum::<u64>());
            }
            let seconds = (now - begin).as_secs_f64();
            let most = f64::from(burst) + seconds + 0.2 * (visits + 1) as f64;
            prop_assert!(withdrawn as f64 <= most + 1e-6, "{} of {}", withdrawn, most);
        }
    }
}
