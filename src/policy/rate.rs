//! May one more request be sent to this provider: so many in any 60 seconds, so many in a day.
//!
//! A request is reserved before it is sent, never counted after it: between a check and a count, other calls would pass
//! the same check. [`RateLimiter::release`] takes a reservation back, only when nothing was sent after all.
//!
//! **The minute is exact**: no stretch of 60 s ever holds more than the limit, wherever it begins. Fixed windows would
//! let twice the limit pass around their border, a leaky bucket would refuse bursts that the provider allows. So every
//! request is remembered for 60 s. Above 10,000 a minute, memory is bounded by rounding the times up to 60 ms, against
//! us: a place then comes back up to 60 ms late and never early. Two requests exactly 60 s apart are not in the same
//! stretch.
//!
//! **The day is the UTC calendar day** of the wall clock. Setting that clock back frees nothing: over one midnight, the
//! later day goes on; over more, the count comes along to the earlier day.
//!
//! A limit of 0 refuses for ever and says so; no limit costs nothing. A refusal says when the next request fits, and at
//! that moment it does, if nobody else took the place.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use super::{after, nanos_since};
use crate::time::{Instant, Now};

const MINUTE_NANOS: u64 = Duration::from_secs(60).as_nanos() as u64;
const DAY_MILLIS: u64 = Duration::from_secs(24 * 60 * 60).as_millis() as u64;

/// Up to this limit every request keeps its own time: 160 KB at the most.
const EXACT_UP_TO: u32 = 10_000;

/// Above it, times are rounded up to this share of the minute: 60 ms are less than a round trip to most providers.
const BUCKETS: u64 = 1_000;

/// The limits of one provider. Default: none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateParams {
    /// Most requests in any 60 s. `None` = no limit, 0 = the provider is never used.
    pub requests_per_minute: Option<u32>,
    /// Most requests in a UTC calendar day. `None` = no limit, 0 = the provider is never used.
    pub requests_per_day: Option<u32>,
}

/// Counts the requests to one provider.
///
/// ```
/// use llmpool::policy::{LimitKind, RateLimiter, RateParams};
/// let now = llmpool::time::now();
/// let mut limiter = RateLimiter::new(RateParams { requests_per_minute: Some(1), requests_per_day: None });
/// let reservation = limiter.reserve(now).unwrap();
/// assert_eq!(limiter.reserve(now).unwrap_err().kind, LimitKind::Minute);
/// limiter.release(reservation); // the connection failed before anything was sent
/// assert!(limiter.reserve(now).is_ok());
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    params: RateParams,
    minute: Option<Minute>,
    day: Option<Day>,
}

/// A place for one request. Drop it once the request was sent; give it to [`RateLimiter::release`] if it was not.
#[must_use]
#[derive(Debug)]
pub struct Reservation {
    /// What [`Minute::take`] was given.
    at: u64,
    day: u64,
}

/// A limit is reached. Where both are, this is the one that lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub kind: LimitKind,
    /// When the next request fits; `None` = never, the limit is 0.
    pub not_before: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    Minute,
    Day,
}

/// Requests that still fit; `None` where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    pub minute: Option<u32>,
    pub day: Option<u32>,
}

/// The rolling minute: when each place was taken, oldest first.
#[derive(Debug)]
struct Minute {
    limit: u32,
    /// Times are rounded up to a multiple of this many nanoseconds; 1 = exact.
    grain: u64,
    /// The first `now` seen; all times are nanoseconds since it.
    origin: Option<Instant>,
    /// The latest `now` seen.
    latest: u64,
    taken: VecDeque<Taken>,
    /// Sum of the counts in `taken`.
    count: u32,
}

#[derive(Debug)]
struct Taken {
    at: u64,
    count: u32,
}

/// The calendar day, counted from the Unix epoch, and what was taken of it.
#[derive(Debug)]
struct Day {
    limit: u32,
    today: u64,
    count: u32,
}

// === impl RateParams ===

impl RateParams {
    /// Every field that is out of range, with what is allowed. Every number is a limit, so there is none.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

// === impl RateLimiter ===

impl RateLimiter {
    /// A limiter that has counted nothing yet.
    pub fn new(params: RateParams) -> Self {
        let minute = params.requests_per_minute.map(Minute::new);
        let day = params.requests_per_day.map(|limit| Day { limit, today: 0, count: 0 });
        Self { params, minute, day }
    }

    pub fn params(&self) -> &RateParams {
        &self.params
    }

    /// Takes a place under every limit, or under none.
    pub fn reserve(&mut self, now: Now) -> Result<Reservation, Limited> {
        let minute = self.minute.as_mut().map(|minute| minute.free(now.mono)).transpose();
        let day = self.day.as_mut().map(|day| day.free(now)).transpose();
        let (at, today) = match (minute, day) {
            (Ok(at), Ok(today)) => (at, today),
            (Err(limited), Ok(_)) | (Ok(_), Err(limited)) => return Err(limited),
            (Err(minute), Err(day)) => return Err(minute.or_longer(day)),
        };
        if let (Some(minute), Some(at)) = (&mut self.minute, at) {
            minute.take(at);
        }
        if let Some(day) = &mut self.day {
            day.count += 1;
        }
        Ok(Reservation { at: at.unwrap_or_default(), day: today.unwrap_or_default() })
    }

    /// Gives a place back because nothing was sent. A place that has come back by time already is not given twice.
    pub fn release(&mut self, reservation: Reservation) {
        let Reservation { at, day: today } = reservation;
        if let Some(minute) = &mut self.minute {
            minute.give_back(at);
        }
        if let Some(day) = &mut self.day
            && day.today == today
        {
            day.count = day.count.saturating_sub(1);
        }
    }

    /// What is left now. Walks over the places that time has given back since the last reservation: a view, not a step
    /// of the hot path.
    pub fn remaining(&self, now: Now) -> Remaining {
        Remaining {
            minute: self.minute.as_ref().map(|minute| minute.left(now.mono)),
            day: self.day.as_ref().map(|day| day.left(now.unix_ms)),
        }
    }
}

// === impl Minute ===

impl Minute {
    fn new(limit: u32) -> Self {
        let (grain, places) =
            if limit <= EXACT_UP_TO { (1, limit as usize) } else { (MINUTE_NANOS / BUCKETS, BUCKETS as usize + 1) };
        Self { limit, grain, origin: None, latest: 0, taken: VecDeque::with_capacity(places), count: 0 }
    }

    /// The time to take a place at, or why there is none.
    fn free(&mut self, now: Instant) -> Result<u64, Limited> {
        let origin = *self.origin.get_or_insert(now);
        self.latest = nanos_since(origin, now).max(self.latest);
        while let Some(oldest) = self.taken.front()
            && has_left(oldest.at, self.latest)
        {
            self.count -= oldest.count;
            self.taken.pop_front();
        }
        if self.count < self.limit {
            // Rounded up: a place must not come back before its minute is over.
            return Ok(self.latest.div_ceil(self.grain) * self.grain);
        }
        // All places are taken, so the first comes back with the oldest. Without an oldest the limit is 0.
        let not_before = self.taken.front().map(|oldest| origin + Duration::from_nanos(oldest.at + MINUTE_NANOS));
        Err(Limited { kind: LimitKind::Minute, not_before })
    }

    fn take(&mut self, at: u64) {
        self.count += 1;
        match self.taken.back_mut() {
            Some(last) if last.at == at => last.count += 1,
            _ => self.taken.push_back(Taken { at, count: 1 }),
        }
    }

    /// Reservations of one moment are alike, so the time alone finds the place. Removing shifts the shorter side, and
    /// what is released is nearly always among the newest.
    fn give_back(&mut self, at: u64) {
        let Ok(index) = self.taken.binary_search_by_key(&at, |taken| taken.at) else { return };
        self.count -= 1;
        self.taken[index].count -= 1;
        if self.taken[index].count == 0 {
            self.taken.remove(index);
        }
    }

    fn left(&self, now: Instant) -> u32 {
        let now = self.origin.map_or(0, |origin| nanos_since(origin, now)).max(self.latest);
        let back: u32 = self.taken.iter().take_while(|taken| has_left(taken.at, now)).map(|taken| taken.count).sum();
        self.limit - (self.count - back)
    }
}

/// A place taken at `at` is free again at `now`.
fn has_left(at: u64, now: u64) -> bool {
    at + MINUTE_NANOS <= now
}

// === impl Day ===

impl Day {
    /// The day to count on, or why it is full.
    fn free(&mut self, now: Now) -> Result<u64, Limited> {
        (self.today, self.count) = self.at(now.unix_ms);
        if self.count < self.limit {
            return Ok(self.today);
        }
        let not_before = (self.limit > 0).then(|| {
            let midnight = (self.today + 1).saturating_mul(DAY_MILLIS);
            after(now.mono, Duration::from_millis(midnight.saturating_sub(now.unix_ms)))
        });
        Err(Limited { kind: LimitKind::Day, not_before })
    }

    fn left(&self, unix_ms: u64) -> u32 {
        let (_, count) = self.at(unix_ms);
        self.limit.saturating_sub(count)
    }

    /// The day that a wall clock of `unix_ms` stands for, and what was taken of it.
    fn at(&self, unix_ms: u64) -> (u64, u32) {
        let day = unix_ms / DAY_MILLIS;
        match day.cmp(&self.today) {
            Ordering::Greater => (day, 0),
            Ordering::Equal => (day, self.count),
            // Set back over midnight: the later day goes on until the clock has caught up.
            Ordering::Less if day + 1 == self.today => (self.today, self.count),
            // Set back by more: the clock was wrong before. Waiting for the wrong day could take years.
            Ordering::Less => (day, self.count),
        }
    }
}

// === impl Limited ===

impl Limited {
    /// The refusal that lasts longer: waiting for the other one would be in vain.
    fn or_longer(self, other: Self) -> Self {
        match (self.not_before, other.not_before) {
            (None, _) => self,
            (_, None) => other,
            (Some(mine), Some(others)) => {
                if others > mine {
                    other
                } else {
                    self
                }
            }
        }
    }
}

// === impl LimitKind ===

impl LimitKind {
    /// The config key of the limit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "requests_per_minute",
            Self::Day => "requests_per_day",
        }
    }
}

#[cfg(test)]
mod tests;
