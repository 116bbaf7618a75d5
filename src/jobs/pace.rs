//! How fast jobs may begin: so many a second, evenly spaced.
//!
//! Evenly, and nothing is saved up while nothing begins: whoever sets a rate wants to be gentle with what is behind it, and
//! a burst of saved-up starts is not. A start that is a little late, as timers make it, is made up for by the next, or the
//! mean would stay below the rate. Providers' own limits by the minute are the pool's business.

use std::time::Duration;

use crate::time::Instant;

/// So late a start may be and the next still comes at its time. Timers are late by a millisecond or two, a machine under load
/// by ten; a pause that is longer is one in which nothing was to begin.
const CATCH_UP: Duration = Duration::from_millis(20);

/// Says when the next job may begin.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two starts.
    gap: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// So many starts a second; `None`: as many as there are workers for.
    pub fn new(per_second: Option<f64>) -> Self {
        let gap = per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self { gap: gap.unwrap_or_default(), next: None }
    }

    /// `None`: now.
    pub fn free_at(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// A job begins.
    pub fn begin(&mut self, now: Instant) {
        let due = self.next.filter(|next| now.saturating_duration_since(*next) <= CATCH_UP).unwrap_or(now);
        self.next = (!self.gap.is_zero()).then(|| due + self.gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_evenly_spaced_and_none_are_saved_up() {
        let mut now = crate::time::now().mono;
        let mut pace = Pace::new(Some(4.0));
        assert_eq!(pace.free_at(now), None, "the first begins at once");
        for _ in 0..3 {
            pace.begin(now);
            assert_eq!(pace.free_at(now), Some(now + Duration::from_millis(250)));
            now += Duration::from_millis(250);
            assert_eq!(pace.free_at(now), None);
        }
        now += Duration::from_secs(60);
        pace.begin(now);
        assert_eq!(pace.free_at(now), Some(now + Duration::from_millis(250)), "a minute of rest earns nothing");
    }

    #[test]
    fn starts_that_timers_make_late_keep_the_mean() {
        let first = crate::time::now().mono;
        let mut pace = Pace::new(Some(1_000.0));
        let mut now = first;
        for _ in 0..1_000 {
            pace.begin(now);
            if let Some(at) = pace.free_at(now) {
                now = at + Duration::from_micros(1_700);
            }
        }
        let took = now - first;
        assert!(took > Duration::from_millis(995) && took < Duration::from_millis(1_005), "{took:?}");
    }

    #[test]
    fn less_than_one_a_second_is_a_rate_too_and_none_is_no_limit() {
        let now = crate::time::now().mono;
        let mut slow = Pace::new(Some(0.5));
        slow.begin(now);
        assert_eq!(slow.free_at(now), Some(now + Duration::from_secs(2)));
        let mut free = Pace::new(None);
        free.begin(now);
        assert_eq!(free.free_at(now), None);
    }
}
