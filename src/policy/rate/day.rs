//! So much in a calendar day.
//!
//! The day begins at midnight in the provider's time zone, daylight saving included: the quota that must not be passed
//! is the provider's. Setting the wall clock back frees nothing: over one midnight, the later day goes on; over more,
//! the count comes along to the earlier day.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::super::after;
use crate::time::{Instant, Now};

pub(super) const DAY_MILLIS: u64 = Duration::from_secs(24 * 60 * 60).as_millis() as u64;

/// Where it must be midnight for a day to begin. Default: UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct DayZone(TimeZone);

/// What was taken of a day.
#[derive(Debug)]
pub(super) struct Day {
    limit: u64,
    zone: DayZone,
    today: Span,
    pub count: u64,
}

/// A day on the wall clock, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    begins: u64,
    /// The first millisecond of the next day.
    ends: u64,
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

    /// The day that holds the moment. Computed once a day: the hot path compares two numbers.
    fn day_of(&self, unix_ms: u64) -> Span {
        self.local_day(unix_ms).filter(|day| day.begins <= unix_ms && unix_ms < day.ends).unwrap_or_else(|| {
            // Outside of what a calendar can say, ten thousand years from now.
            let begins = unix_ms / DAY_MILLIS * DAY_MILLIS;
            Span { begins, ends: begins.saturating_add(DAY_MILLIS) }
        })
    }

    fn local_day(&self, unix_ms: u64) -> Option<Span> {
        let now = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        let now = ZonedDateTime::new(now, self.0.clone());
        let begins = now.start_of_day().ok()?;
        let ends = now.tomorrow().ok()?.start_of_day().ok()?;
        let millis = |at: Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        Some(Span { begins: millis(begins.timestamp()), ends: millis(ends.timestamp()) })
    }
}

impl Default for DayZone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
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

    /// The day that the wall clock stands for, and what was taken of it.
    fn at(&self, unix_ms: u64) -> (Span, u64) {
        let Self { today, count, zone, .. } = self;
        if (today.begins..today.ends).contains(&unix_ms) {
            return (*today, *count);
        }
        let day = zone.day_of(unix_ms);
        if day == *today {
            (*today, *count)
        } else if unix_ms >= today.ends {
            (day, 0)
        } else if day.ends == today.begins {
            // Set back over midnight: the later day goes on until the clock has caught up.
            (*today, *count)
        } else {
            // Set back by more: the clock was wrong before, and waiting for the wrong day could take years.
            (day, *count)
        }
    }
}
