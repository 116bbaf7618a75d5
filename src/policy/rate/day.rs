//! So much in a calendar day.
//!
//! The day begins at midnight in the provider's time zone: the quota that must not be passed is the provider's. What the
//! clock does to it is in [`calendar`](super::super::calendar).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::after;
use super::super::calendar::{DayZone, Period, Span, Turn};
use crate::time::{Instant, Now};

/// What was taken of a day.
#[derive(Debug)]
pub(super) struct Day {
    limit: u64,
    zone: DayZone,
    today: Span,
    pub count: u64,
}

/// What was taken of a day, put away: for the provider that comes in this one's place, or for the next process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// Unix milliseconds at which the day began, and at which the next one begins.
    pub begins: u64,
    pub ends: u64,
    pub count: u64,
}

// === impl Day ===

impl Day {
    pub fn new(limit: u64, zone: DayZone) -> Self {
        Self { limit, zone, today: Span::default(), count: 0 }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The day to take `amount` of, or when it fits; `None` = never. `ahead` others will take as much before.
    pub fn free(&mut self, now: Now, amount: u64, ahead: u64) -> Result<Span, Option<Instant>> {
        (self.today, self.count) = self.at(now.unix_ms);
        if amount > self.limit {
            return Err(None);
        }
        if self.count.saturating_add(amount.saturating_mul(ahead.saturating_add(1))) <= self.limit {
            return Ok(self.today);
        }
        Err(Some(after(now.mono, Duration::from_millis(self.today.ends.saturating_sub(now.unix_ms)))))
    }

    pub fn take(&mut self, amount: u64) {
        self.count = self.count.saturating_add(amount);
    }

    /// Gives back only on the day it was taken of.
    pub fn give_back(&mut self, day: Span, amount: u64) {
        if self.today == day {
            self.count = self.count.saturating_sub(amount);
        }
    }

    pub fn left(&self, unix_ms: u64) -> u64 {
        let (_, count) = self.at(unix_ms);
        self.limit.saturating_sub(count)
    }

    /// Unix milliseconds at which the next day begins.
    pub fn ends(&self, unix_ms: u64) -> u64 {
        self.at(unix_ms).0.ends
    }

    /// What was taken of the day so far, to be put away; `None`: nothing.
    pub fn put_away(&self, unix_ms: u64) -> Option<DayCount> {
        let (Span { begins, ends }, count) = self.at(unix_ms);
        (count > 0).then_some(DayCount { begins, ends, count })
    }

    /// Adds what was put away, if its day is still the one that counts: also over a clock that was set back meanwhile.
    pub fn take_up(&mut self, earlier: DayCount, unix_ms: u64) {
        let DayCount { begins, ends, count } = earlier;
        let then = Self { limit: self.limit, zone: self.zone.clone(), today: Span { begins, ends }, count };
        let (day, count) = then.at(unix_ms);
        let (_, own) = self.at(unix_ms);
        // The day of another time zone goes over whole to the one that holds this moment: rather too much than too little.
        let day_of = |unix_ms| self.zone.around(Period::Day, unix_ms);
        self.today = if day_of(day.begins) == day { day } else { day_of(unix_ms) };
        self.count = own.saturating_add(count);
    }

    /// The day that the wall clock stands for, and what was taken of it.
    fn at(&self, unix_ms: u64) -> (Span, u64) {
        match self.today.turn(&self.zone, Period::Day, unix_ms) {
            Turn::GoesOn(day) => (day, self.count),
            Turn::Over(day) => (day, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::calendar::DAY_MILLIS;
    use super::*;

    const HOUR: u64 = DAY_MILLIS / 24;
    /// 2026-01-15, 12:00 UTC.
    const NOON: u64 = 1_768_478_400_000;
    const MIDNIGHT: u64 = NOON - 12 * HOUR;

    fn of(limit: u64, zone: &str) -> Day {
        Day::new(limit, DayZone::named(zone).expect("a zone"))
    }

    /// A day of which so much was taken at that moment, put away.
    fn taken(count: u64, zone: &str, unix_ms: u64) -> DayCount {
        let mut day = of(count, zone);
        let now = Now { mono: crate::time::now().mono, unix_ms };
        day.free(now, count, 0).expect("all of it fits");
        day.take(count);
        day.put_away(unix_ms).expect("something")
    }

    /// What is left of ten after it was taken up at that moment.
    fn left(earlier: DayCount, zone: &str, unix_ms: u64) -> u64 {
        let mut day = of(10, zone);
        day.take_up(earlier, unix_ms);
        day.left(unix_ms)
    }

    #[test]
    fn the_same_day_goes_on_and_another_one_begins_anew() {
        let earlier = taken(7, "UTC", NOON);
        assert_eq!(earlier, DayCount { begins: MIDNIGHT, ends: MIDNIGHT + DAY_MILLIS, count: 7 });
        for (at, expected) in [
            (NOON, 3),
            (MIDNIGHT + DAY_MILLIS - 1, 3),
            (MIDNIGHT + DAY_MILLIS, 10),
            (NOON + DAY_MILLIS, 10),
            (NOON + 400 * DAY_MILLIS, 10),
        ] {
            assert_eq!(left(earlier, "UTC", at), expected, "{at}");
        }
    }

    #[test]
    fn the_day_that_goes_on_ends_at_its_own_midnight() {
        let zone = "America/Los_Angeles";
        let earlier = taken(7, zone, NOON); // four in the morning there
        let mut day = of(10, zone);
        day.take_up(earlier, NOON + HOUR);
        assert_eq!(
            (day.left(NOON + HOUR), day.left(MIDNIGHT + 32 * HOUR - 1), day.left(MIDNIGHT + 32 * HOUR)),
            (3, 3, 10)
        );
        // What is taken from now on comes on top of it.
        let now = Now { mono: crate::time::now().mono, unix_ms: NOON + HOUR };
        day.free(now, 3, 0).expect("as much as is left");
        day.take(3);
        assert!(day.free(now, 1, 0).is_err());
        assert_eq!(day.put_away(now.unix_ms), Some(DayCount { count: 10, ..earlier }));
    }

    #[test]
    fn a_clock_that_was_set_back_meanwhile_frees_nothing() {
        let earlier = taken(7, "UTC", MIDNIGHT + HOUR);
        let mut day = of(10, "UTC");
        day.take_up(earlier, MIDNIGHT - HOUR);
        assert_eq!(day.left(MIDNIGHT - HOUR), 3, "the later day goes on");
        assert_eq!(day.left(MIDNIGHT + HOUR), 3, "also when the clock has caught up");
        assert_eq!(left(earlier, "UTC", NOON - 300 * DAY_MILLIS), 3, "the clock was wrong before");
    }

    #[test]
    fn the_day_of_another_zone_counts_whole_until_the_midnight_of_the_new_one() {
        let mut day = of(10, "America/Los_Angeles");
        day.take_up(taken(7, "UTC", NOON), NOON);
        assert_eq!(day.left(MIDNIGHT + DAY_MILLIS), 3, "midnight in London is none there");
        assert_eq!(day.left(MIDNIGHT + 32 * HOUR), 10);
    }

    #[test]
    fn a_limit_that_was_lowered_below_what_was_taken_has_nothing_left() {
        let mut day = of(5, "UTC");
        day.take_up(taken(7, "UTC", NOON), NOON);
        assert_eq!(day.left(NOON), 0);
        let now = Now { mono: crate::time::now().mono, unix_ms: NOON };
        let soonest = day.free(now, 1, 0).expect_err("nothing is left").expect("tomorrow");
        assert_eq!(soonest.duration_since(now.mono), Duration::from_secs(12 * 60 * 60));
    }

    #[test]
    fn of_nothing_there_is_nothing_to_put_away() {
        assert_eq!(of(5, "UTC").put_away(NOON), None);
        let mut day = of(10, "UTC");
        day.take_up(taken(7, "UTC", NOON), NOON);
        assert_eq!(day.put_away(NOON + DAY_MILLIS), None, "that day is over");
    }

    #[test]
    fn absurd_counts_do_no_harm() {
        for earlier in [
            DayCount { begins: 0, ends: u64::MAX, count: u64::MAX },
            DayCount { begins: u64::MAX, ends: 0, count: 3 },
            DayCount { begins: u64::MAX, ends: u64::MAX, count: u64::MAX },
        ] {
            let mut day = of(10, "UTC");
            day.take_up(earlier, NOON);
            assert!(day.left(NOON) <= 10);
            assert_eq!(day.left(NOON + 2 * DAY_MILLIS), 10, "{earlier:?}: the next day is free");
        }
    }
}
