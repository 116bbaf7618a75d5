//! When a second copy of a call goes out, and how many of them there may be.
//!
//! A hedge answers the one call in twenty that happens to be slow: what has not answered by the time 95 of 100 have is
//! asked of somebody else as well, and the first good answer wins. The copies have a bucket of their own, because their
//! danger is their own: when everything is slow, every call would be sent twice, and everything would become slower.
//! The bucket earns a share of the calls and saves up two, so a slow minute is hedged at its start and then left alone.

use std::time::Duration;

/// Answers that a percentile needs: with fewer, two or three unlucky ones would set it.
pub const ENOUGH_SAMPLES: usize = 50;

/// Copies that can be saved up: enough for calls that are slow together by chance, too few to double a slow provider's
/// load.
const BURST: u64 = 2;

/// One copy in the unit of the balance: a ratio of a millionth is still exact.
const COPY: u64 = 1_000_000;

/// Whether a call may be sent twice, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct HedgeParams {
    /// How long the first is waited for. Default 300 ms.
    pub after: HedgeAfter,
    /// Copies per call. 0 to 1, default 0.05; 0 = none.
    pub budget: f64,
}

/// How long the first copy is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// So long; 0 = both at once.
    Fixed(Duration),
    /// Until 95 of 100 of its provider's answers had come, once [`ENOUGH_SAMPLES`] of them are known.
    P95,
}

/// The copies that are left.
///
/// ```
/// use llmpool::policy::HedgeBudget;
/// let mut budget = HedgeBudget::new(0.05);
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw(), "a burst is two");
/// (0..20).for_each(|_| budget.call());
/// assert!(budget.withdraw());
/// ```
#[derive(Debug)]
pub struct HedgeBudget {
    per_call: u64,
    /// In the unit of [`COPY`].
    balance: u64,
}

impl Default for HedgeParams {
    fn default() -> Self {
        Self {
            // Longer than a model of today takes to its first words, shorter than a reader begins to wonder.
            after: HedgeAfter::Fixed(Duration::from_millis(300)),
            // What is above the 95th percentile is one call in twenty; more copies than that would answer no slow call.
            budget: 0.05,
        }
    }
}

impl HedgeParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.budget) {
            problems.push(("budget", "must be a number from 0 to 1".to_owned()));
        }
        problems
    }
}

impl HedgeAfter {
    /// How long to wait for a provider of which so many answers are known. `None`: too few.
    pub fn delay(self, samples: usize, p95: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
        match self {
            Self::Fixed(delay) => Some(delay),
            Self::P95 if samples < ENOUGH_SAMPLES => None,
            Self::P95 => p95(),
        }
    }
}

impl HedgeBudget {
    /// A full bucket; without a ratio an empty one.
    pub fn new(ratio: f64) -> Self {
        let per_call = (ratio.clamp(0.0, 1.0) * COPY as f64).round() as u64;
        Self { per_call, balance: if per_call == 0 { 0 } else { BURST * COPY } }
    }

    /// A call that may be hedged goes out.
    pub fn call(&mut self) {
        self.balance = (self.balance + self.per_call).min(BURST * COPY);
    }

    /// Is a copy left?
    pub fn has_one(&self) -> bool {
        self.balance >= COPY
    }

    /// Takes a copy, if one is left.
    pub fn withdraw(&mut self) -> bool {
        let left = self.balance.checked_sub(COPY);
        self.balance = left.unwrap_or(self.balance);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_a_share_of_the_calls_and_a_burst_of_two() {
        for ratio in [0.0, 0.05, 0.5, 1.0] {
            let mut budget = HedgeBudget::new(ratio);
            let sent = (0..1000)
                .filter(|_| {
                    budget.call();
                    budget.withdraw()
                })
                .count();
            let earned = (1000.0 * ratio) as usize;
            assert!(sent >= earned.saturating_sub(1) && sent <= earned + 2, "{ratio}: {sent}");
            assert!(!budget.has_one() || ratio == 1.0);
        }
    }

    #[test]
    fn what_is_earned_does_not_pile_up() {
        let mut budget = HedgeBudget::new(0.05);
        (0..10_000).for_each(|_| budget.call());
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 2);
    }

    #[test]
    fn a_percentile_needs_fifty_answers_and_a_fixed_delay_none() {
        let second = Duration::from_secs(1);
        assert_eq!(HedgeAfter::P95.delay(49, || Some(second)), None);
        assert_eq!(HedgeAfter::P95.delay(50, || Some(second)), Some(second));
        assert_eq!(HedgeAfter::Fixed(Duration::ZERO).delay(0, || None), Some(Duration::ZERO));
    }

    #[test]
    fn a_budget_out_of_range_is_refused() {
        for budget in [-0.1, 1.1, f64::NAN] {
            assert_eq!(HedgeParams { budget, ..HedgeParams::default() }.check().len(), 1, "{budget}");
        }
        assert!(HedgeParams::default().check().is_empty());
    }
}
