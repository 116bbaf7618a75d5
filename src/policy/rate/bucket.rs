//! So many requests a second on average, with bursts up to a bound.
//!
//! A bucket of `burst` places that fills with `rps` places a second, kept as the one moment at which it is full again
//! (the generic cell rate algorithm of ATM's traffic control): a step is an addition and a comparison, and a refusal
//! knows exactly when the next request fits. A bucket that nobody has used is full.
//!
//! Like every clock of this module, one that goes backwards counts as the latest seen.

use std::time::Duration;

use super::super::{after, nanos_since};
use crate::time::Instant;

const SECOND_NANOS: f64 = 1e9;

/// How many requests a second, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketParams {
    /// On average, in the long run. 0 = none is ever let through; above it from [`BucketParams::LEAST`] to
    /// [`BucketParams::MOST`].
    pub rps: f64,
    /// Most at once, after a pause. At least 1.
    pub burst: u32,
}

/// Counts requests against a rate.
///
/// ```
/// use std::time::Duration;
/// use llmpool::policy::{Bucket, BucketParams};
/// let now = llmpool::time::now().mono;
/// let mut bucket = Bucket::new(BucketParams { rps: 2.0, burst: 1 });
/// assert!(bucket.take(now).is_ok());
/// assert_eq!(bucket.take(now), Err(Some(now + Duration::from_millis(500))));
/// ```
#[derive(Debug)]
pub struct Bucket {
    params: BucketParams,
    /// The first `now` seen; all times are nanoseconds since it.
    origin: Option<Instant>,
    /// The latest `now` seen.
    latest: u64,
    /// When all places are free again.
    full_at: u64,
}

// === impl BucketParams ===

impl BucketParams {
    /// One in a quarter of an hour: what is slower is a limit of the day.
    pub const LEAST: f64 = 0.001;
    /// One in a microsecond: a process answers fewer.
    pub const MOST: f64 = 1e6;

    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.rps != 0.0 && !(Self::LEAST..=Self::MOST).contains(&self.rps) {
            problems.push(("rps", format!("must be 0, or from {} to {}", Self::LEAST, Self::MOST)));
        }
        if self.burst == 0 {
            problems.push(("burst", "must be at least 1; rps: 0 lets nothing in".to_owned()));
        }
        problems
    }

    /// Nanoseconds in which one place becomes free. Only for rates above 0.
    fn period(&self) -> u64 {
        (SECOND_NANOS / self.rps) as u64
    }
}

// === impl Bucket ===

impl Bucket {
    /// A full one.
    pub fn new(params: BucketParams) -> Self {
        Self { params, origin: None, latest: 0, full_at: 0 }
    }

    pub fn params(&self) -> &BucketParams {
        &self.params
    }

    /// Another rate, which finds as many places taken as before, if it has as many.
    pub fn renew(&mut self, params: BucketParams, now: Instant) {
        if params == self.params {
            return;
        }
        let taken = self.params.burst.saturating_sub(u32::try_from(self.left(now)).unwrap_or(u32::MAX));
        self.params = params;
        let now = self.at(now);
        let owed =
            if params.rps > 0.0 { u64::from(taken.min(params.burst)).saturating_mul(params.period()) } else { 0 };
        self.full_at = now.saturating_add(owed);
    }

    /// Takes a place, or says when there is one; `None` = never.
    pub fn take(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        let BucketParams { rps, burst } = self.params;
        if rps <= 0.0 {
            return Err(None);
        }
        let asked_at = now;
        self.origin.get_or_insert(now);
        let now = self.at(now);
        self.latest = now;
        let period = self.params.period();
        let full_at = self.full_at.max(now).saturating_add(period);
        let early = full_at.saturating_sub(now).saturating_sub(period.saturating_mul(burst.into()));
        if early > 0 {
            return Err(Some(after(asked_at, Duration::from_nanos(early))));
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Requests that would be let through now, one after the other.
    pub fn left(&self, now: Instant) -> u64 {
        let BucketParams { rps, burst } = self.params;
        if rps <= 0.0 {
            return 0;
        }
        let period = self.params.period().max(1);
        let owed = self.full_at.saturating_sub(self.at(now));
        u64::from(burst).saturating_sub(owed.div_ceil(period))
    }

    /// How long until all places are free.
    pub fn full_in(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.full_at.saturating_sub(self.at(now)))
    }

    fn at(&self, now: Instant) -> u64 {
        self.origin.map_or(0, |origin| nanos_since(origin, now)).max(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const fn of(rps: f64, burst: u32) -> BucketParams {
        BucketParams { rps, burst }
    }

    #[test]
    fn a_burst_goes_through_and_then_one_in_a_period() {
        let now = time::now().mono;
        let mut bucket = Bucket::new(of(4.0, 3));
        assert_eq!((bucket.left(now), bucket.full_in(now)), (3, Duration::ZERO));
        for left in [2, 1, 0] {
            assert_eq!(bucket.take(now), Ok(()));
            assert_eq!(bucket.left(now), left);
        }
        let quarter = Duration::from_millis(250);
        assert_eq!(bucket.full_in(now), quarter * 3);
        assert_eq!(bucket.take(now), Err(Some(now + quarter)));
        assert_eq!(bucket.take(now + quarter / 2), Err(Some(now + quarter)), "a refusal takes nothing");
        assert_eq!(bucket.take(now + quarter), Ok(()), "at that moment it does fit");
        assert!(bucket.take(now + quarter).is_err());
        assert_eq!(bucket.left(now + quarter * 100), 3, "no more than the burst, however long the pause");
    }

    #[test]
    fn in_the_long_run_it_is_the_rate() {
        let now = time::now().mono;
        let mut bucket = Bucket::new(of(10.0, 5));
        let millis = (0..100_000).map(|at| now + Duration::from_millis(at));
        let passed = millis.filter(|at| bucket.take(*at).is_ok()).count();
        assert_eq!(passed, 1_000 + 5 - 1, "ten a second for 100 s, and what the burst let through before");
    }

    #[test]
    fn a_clock_that_goes_backwards_frees_nothing_and_breaks_nothing() {
        let now = time::now().mono + Duration::from_secs(10);
        let mut bucket = Bucket::new(of(1.0, 1));
        assert_eq!(bucket.take(now), Ok(()));
        assert!(bucket.take(now - Duration::from_secs(5)).is_err());
        assert_eq!(bucket.left(now - Duration::from_secs(5)), 0);
        assert_eq!(bucket.take(now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_rate_of_zero_never_lets_anything_through() {
        let now = time::now().mono;
        let mut bucket = Bucket::new(of(0.0, 7));
        assert_eq!((bucket.take(now), bucket.left(now), bucket.full_in(now)), (Err(None), 0, Duration::ZERO));
    }

    #[test]
    fn another_rate_finds_what_was_taken() {
        let now = time::now().mono;
        let mut bucket = Bucket::new(of(1.0, 4));
        bucket.take(now).and_then(|()| bucket.take(now)).expect("room");
        bucket.renew(of(10.0, 4), now);
        assert_eq!(bucket.left(now), 2, "a reload is no way around a limit");
        bucket.renew(of(10.0, 1), now);
        assert_eq!((bucket.left(now), bucket.full_in(now)), (0, Duration::from_millis(100)));
        bucket.renew(of(0.0, 1), now);
        assert_eq!(bucket.take(now), Err(None));
        bucket.renew(of(1.0, 1), now);
        assert_eq!(bucket.left(now), 0, "none was free");
    }

    #[test]
    fn what_is_out_of_range_is_told_and_extremes_do_no_harm() {
        assert!(of(0.5, 1).check().is_empty() && of(0.0, 1).check().is_empty());
        let fields = |params: BucketParams| params.check().into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(fields(of(1e9, 0)), ["rps", "burst"]);
        assert_eq!(fields(of(1e-9, 1)), ["rps"]);
        let now = time::now().mono;
        for params in [of(BucketParams::LEAST, u32::MAX), of(BucketParams::MOST, u32::MAX)] {
            let mut bucket = Bucket::new(params);
            assert_eq!(bucket.take(now), Ok(()));
            assert_eq!(bucket.left(now), u64::from(u32::MAX) - 1);
        }
    }
}
