//! Days and months as a calendar has them, in a time zone, daylight saving included.
//!
//! The wall clock may jump. Over the end of a period it begins the next one. **Setting it back frees nothing**: over one
//! end, the later period goes on until the clock has caught up; over more, what was counted comes along to the earlier
//! one, because the clock was wrong before and waiting for the wrong day could take years.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, ZonedDateTime};

pub(super) const DAY_MILLIS: u64 = Duration::from_secs(24 * 60 * 60).as_millis() as u64;

/// Where it must be midnight for a day to begin. Default: UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct DayZone(TimeZone);

/// How long something lasts until it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    Day,
    Month,
}

/// A period on the wall clock, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub begins: u64,
    /// The first millisecond of the next one.
    pub ends: u64,
}

/// What the clock says to a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on, perhaps under another date.
    GoesOn(Span),
    /// It is over: what was counted is of the past.
    Over(Span),
}

// === impl Period ===

impl Period {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "daily",
            Self::Month => "monthly",
        }
    }
}

// === impl DayZone ===

impl DayZone {
    /// A name of the IANA database, like `America/Los_Angeles`. The database is part of the program, so that a container
    /// without one reads it alike. `None`: there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(Self::default());
        }
        TimeZone::get(name).ok().map(Self)
    }

    /// The period that holds the moment. Computed once a period: the hot path compares two numbers.
    pub(super) fn around(&self, period: Period, unix_ms: u64) -> Span {
        self.local(period, unix_ms).filter(|span| span.holds(unix_ms)).unwrap_or_else(|| {
            // Outside of what a calendar can say, ten thousand years from now.
            let length = match period {
                Period::Day => DAY_MILLIS,
                Period::Month => 30 * DAY_MILLIS,
            };
            let begins = unix_ms / length * length;
            Span { begins, ends: begins.saturating_add(length) }
        })
    }

    fn local(&self, period: Period, unix_ms: u64) -> Option<Span> {
        let now = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        let now = ZonedDateTime::new(now, self.0.clone());
        let (begins, ends) = match period {
            Period::Day => (now.start_of_day().ok()?, now.tomorrow().ok()?.start_of_day().ok()?),
            Period::Month => {
                let first = now.first_of_month().ok()?.start_of_day().ok()?;
                // A month after a first is a first.
                (first.clone(), first.checked_add(1.month()).ok()?.start_of_day().ok()?)
            }
        };
        let millis = |at: Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        Some(Span { begins: millis(begins.timestamp()), ends: millis(ends.timestamp()) })
    }
}

impl Default for DayZone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

// === impl Span ===

impl Span {
    pub fn holds(self, unix_ms: u64) -> bool {
        (self.begins..self.ends).contains(&unix_ms)
    }

    /// What becomes of it now that the clock stands there.
    pub fn turn(self, zone: &DayZone, period: Period, unix_ms: u64) -> Turn {
        if self.holds(unix_ms) {
            return Turn::GoesOn(self);
        }
        let now = zone.around(period, unix_ms);
        if now != self && unix_ms >= self.ends {
            Turn::Over(now)
        } else if now.ends == self.begins {
            Turn::GoesOn(self)
        } else {
            Turn::GoesOn(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T12:00:00Z, the next midnight, and the next first.
    const NOON: u64 = 1_795_694_400_000;
    const MIDNIGHT: u64 = 1_795_737_600_000;
    const DECEMBER: u64 = 1_796_083_200_000;

    #[test]
    fn a_month_is_the_calendars() {
        // The same calendar by counting.
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = |year: u64, month: u64| match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let utc = DayZone::default();
        let mut begins = 0;
        for year in 1970..2110 {
            for month in 1..=12 {
                let ends = begins + days(year, month) * DAY_MILLIS;
                for moment in [begins, begins + 15 * DAY_MILLIS, ends - 1] {
                    assert_eq!(utc.around(Period::Month, moment), Span { begins, ends }, "{year}-{month}");
                }
                begins = ends;
            }
        }
        assert_eq!(utc.around(Period::Day, NOON).ends, MIDNIGHT);
        assert_eq!(utc.around(Period::Month, NOON).ends, DECEMBER);
    }

    #[test]
    fn a_month_begins_at_midnight_of_its_zone() {
        const HOUR: u64 = DAY_MILLIS / 24;
        let tokyo = DayZone::named("Asia/Tokyo").unwrap();
        assert_eq!(tokyo.around(Period::Month, NOON).ends, DECEMBER - 9 * HOUR);
        // November has an hour more where clocks are set back in it.
        let new_york = DayZone::named("America/New_York").unwrap();
        let november = new_york.around(Period::Month, NOON);
        assert_eq!(november.ends - november.begins, 30 * DAY_MILLIS + HOUR);
    }

    #[test]
    fn a_clock_that_is_set_back_ends_nothing() {
        let utc = DayZone::default();
        for period in [Period::Day, Period::Month] {
            let today = utc.around(period, MIDNIGHT);
            assert_eq!(today.turn(&utc, period, today.ends - 1), Turn::GoesOn(today));
            assert_eq!(today.turn(&utc, period, today.ends), Turn::Over(utc.around(period, today.ends)));
            assert_eq!(today.turn(&utc, period, today.begins - 1), Turn::GoesOn(today));
            let long_ago = today.begins - 70 * DAY_MILLIS;
            assert_eq!(today.turn(&utc, period, long_ago), Turn::GoesOn(utc.around(period, long_ago)));
        }
    }

    #[test]
    fn times_that_no_calendar_has_are_in_some_period() {
        for period in [Period::Day, Period::Month] {
            for moment in [0, u64::MAX / 2, u64::MAX - 1] {
                assert!(DayZone::default().around(period, moment).holds(moment), "{moment}");
            }
            let last = DayZone::default().around(period, u64::MAX);
            assert_eq!(last.turn(&DayZone::default(), period, u64::MAX), Turn::GoesOn(last));
        }
    }
}
