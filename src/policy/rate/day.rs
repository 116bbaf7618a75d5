//! So much in a calendar day.
//!
//! The day begins at midnight in the provider's time zone: the quota that must not be passed is the provider's. What the
//! clock does to it is in [`calendar`](super::super::calendar).

use std::time::Duration;

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
        match self.today.turn(&self.zone, Period::Day, unix_ms) {
            Turn::GoesOn(day) => (day, self.count),
            Turn::Over(day) => (day, 0),
        }
    }
}
