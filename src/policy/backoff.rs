//! How long to wait before the same provider is asked again, when it did not say so itself.
//!
//! The n-th wait is `base · multiplier^n`, at most `max`, times a random share between one half and the whole. The cap
//! comes before the random share: the other way round all waits of a long outage would be exactly `max`, and every
//! caller would come back in the same moment. A base of zero waits never.

use std::time::Duration;

/// The waits between retries.
///
/// ```
/// use std::time::Duration;
/// use llmpool::policy::BackoffParams;
/// let backoff = BackoffParams::default();
/// assert_eq!(backoff.delay(0, 1.0), Duration::from_secs(1));
/// assert_eq!(backoff.delay(2, 0.0), Duration::from_secs(2));
/// assert_eq!(backoff.delay(60, 1.0), Duration::from_secs(30));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BackoffParams {
    /// The first wait. Default 1 s; 0 = retry at once, always.
    pub base: Duration,
    /// Each wait is this many times the one before. 1 to 100, default 2; 1 = always `base`.
    pub multiplier: f64,
    /// No wait is longer. Default 30 s; 0 = retry at once, always.
    pub max: Duration,
}

impl Default for BackoffParams {
    fn default() -> Self {
        Self {
            // Shorter hits the same overload again, longer is felt by a person who waits for an answer.
            base: Duration::from_secs(1),
            // Doubling halves the load of the retries with every round.
            multiplier: 2.0,
            // As long as an attempt may take: a provider that needs more is not worth waiting for inside a call.
            max: Duration::from_secs(30),
        }
    }
}

// === impl BackoffParams ===

impl BackoffParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(1.0..=100.0).contains(&self.multiplier) {
            problems.push(("multiplier", "must be a number from 1 to 100".to_owned()));
        }
        problems
    }

    /// The wait before retry number `retry`, counted from 0. `random` is 0 to 1; anything else counts as 1.
    pub fn delay(&self, retry: u32, random: f64) -> Duration {
        if self.base.is_zero() {
            return Duration::ZERO; // 0 · infinity is not a number
        }
        let exponent = i32::try_from(retry).unwrap_or(i32::MAX);
        // Overflows to infinity, which the cap takes back.
        let full = (self.base.as_secs_f64() * self.multiplier.powi(exponent)).min(self.max.as_secs_f64());
        let random = if (0.0..=1.0).contains(&random) { random } else { 1.0 };
        Duration::try_from_secs_f64(full * (0.5 + random / 2.0)).unwrap_or(self.max).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = BackoffParams::default();
        let waits: Vec<u64> = (0..8).map(|retry| backoff.delay(retry, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn the_random_share_is_one_half_to_the_whole_also_at_the_cap() {
        let backoff = BackoffParams::default();
        assert_eq!(backoff.delay(0, 0.0), SECOND / 2);
        assert_eq!(backoff.delay(0, 0.5), SECOND * 3 / 4);
        assert_eq!(backoff.delay(1000, 0.0), SECOND * 15);
        assert_eq!(backoff.delay(1000, 1.0), SECOND * 30);
    }

    #[test]
    fn a_base_of_zero_never_waits() {
        let backoff = BackoffParams { base: Duration::ZERO, ..BackoffParams::default() };
        assert_eq!(backoff.delay(0, 1.0), Duration::ZERO);
        assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_cap_of_zero_never_waits() {
        let backoff = BackoffParams { max: Duration::ZERO, ..BackoffParams::default() };
        assert_eq!(backoff.delay(3, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_multiplier_of_one_waits_the_same_every_time() {
        let backoff = BackoffParams { multiplier: 1.0, ..BackoffParams::default() };
        assert_eq!(backoff.delay(u32::MAX, 1.0), SECOND);
    }

    #[test]
    fn a_random_number_that_is_none_waits_the_whole() {
        let backoff = BackoffParams::default();
        for random in [f64::NAN, f64::INFINITY, -1.0, 1.5] {
            assert_eq!(backoff.delay(0, random), SECOND);
        }
    }

    #[test]
    fn multipliers_that_shrink_or_are_not_numbers_are_refused() {
        assert!(BackoffParams::default().check().is_empty());
        for multiplier in [0.99, -2.0, 101.0, f64::NAN, f64::INFINITY] {
            let problems = BackoffParams { multiplier, ..BackoffParams::default() }.check();
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].0, "multiplier");
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_over_the_cap_or_panics(
            base in 0u64..=u64::MAX, max in 0u64..=u64::MAX, multiplier in 1.0f64..=100.0, retry: u32, random: f64,
        ) {
            let [base, max] = [base, max].map(Duration::from_millis);
            let backoff = BackoffParams { base, max, multiplier };
            prop_assert!(backoff.delay(retry, random) <= backoff.max);
        }
    }
}
