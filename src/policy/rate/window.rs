//! So much in any 60 seconds.
//!
//! **The minute is exact**: no stretch of 60 s ever holds more than the limit, wherever it begins. Fixed windows would
//! let twice the limit pass around their border, a leaky bucket would refuse bursts that the provider allows. So what
//! was taken is remembered for 60 s. Above 10,000 requests a minute, and for tokens, memory is bounded by rounding the
//! times up to 60 ms, against us: a place then comes back up to 60 ms late and never early. Two requests exactly 60 s
//! apart are not in the same stretch.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::{after, nanos_since};
use crate::time::Instant;

const MINUTE_NANOS: u64 = Duration::from_secs(60).as_nanos() as u64;

/// Up to this limit every request keeps its own time: 160 KB at the most.
const EXACT_UP_TO: u64 = 10_000;

/// Above it, times are rounded up to this share of the minute: 60 ms are less than a round trip to most providers.
pub(super) const BUCKETS: u64 = 1_000;

/// A rolling minute: what was taken when, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    limit: u64,
    /// Times are rounded up to a multiple of this many nanoseconds; 1 = exact.
    pub grain: u64,
    /// The first `now` seen; all times are nanoseconds since it.
    origin: Option<Instant>,
    /// The latest `now` seen.
    latest: u64,
    pub taken: VecDeque<Taken>,
    /// Sum of the counts in `taken`. Above the limit when an answer took more than was reserved for it.
    pub count: u64,
}

#[derive(Debug)]
pub(super) struct Taken {
    at: u64,
    count: u64,
}

impl Window {
    /// A place for each request.
    pub fn of_requests(limit: u32) -> Self {
        let limit = u64::from(limit);
        if limit <= EXACT_UP_TO { Self::new(limit, 1, limit) } else { Self::of_tokens(limit) }
    }

    /// What one request takes is known only about, so its time need not be known better than a bucket.
    pub fn of_tokens(limit: u64) -> Self {
        Self::new(limit, MINUTE_NANOS / BUCKETS, BUCKETS + 1)
    }

    fn new(limit: u64, grain: u64, places: u64) -> Self {
        Self { limit, grain, origin: None, latest: 0, taken: VecDeque::with_capacity(places as usize), count: 0 }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The time to take `amount` at, or when it fits; `None` = never. `ahead` others will take as much before.
    pub fn free(&mut self, now: Instant, amount: u64, ahead: u64) -> Result<u64, Option<Instant>> {
        let origin = *self.origin.get_or_insert(now);
        self.latest = nanos_since(origin, now).max(self.latest);
        while let Some(oldest) = self.taken.front()
            && has_left(oldest.at, self.latest)
        {
            self.count -= oldest.count;
            self.taken.pop_front();
        }
        if amount > self.limit {
            return Err(None);
        }
        let at_once = amount.saturating_mul(ahead.saturating_add(1));
        if self.count.saturating_add(at_once) <= self.limit {
            // Rounded up: a place must not come back before its minute is over.
            return Ok(self.latest.div_ceil(self.grain) * self.grain);
        }
        // So many fit into one minute; the others follow in later ones.
        let per_minute = self.limit.checked_div(amount).unwrap_or(u64::MAX);
        let (minutes, before) = (ahead / per_minute, ahead % per_minute);
        let fits = self.fits_at(amount * (before + 1)).saturating_add(minutes.saturating_mul(MINUTE_NANOS));
        let now = origin + Duration::from_nanos(self.latest);
        Err(Some(after(now, Duration::from_nanos(fits - self.latest))))
    }

    /// When so much is free that `amount` fits; it is at most the limit.
    fn fits_at(&self, amount: u64) -> u64 {
        let mut left = 0;
        for taken in &self.taken {
            if self.count - left + amount <= self.limit {
                break;
            }
            left += taken.count;
            if self.count - left + amount <= self.limit {
                return taken.at + MINUTE_NANOS;
            }
        }
        self.latest
    }

    pub fn take(&mut self, at: u64, amount: u64) {
        self.count += amount;
        match self.taken.back_mut() {
            Some(last) if last.at >= at => last.count += amount,
            _ => self.taken.push_back(Taken { at, count: amount }),
        }
    }

    /// Takes more, whether it fits or not: it has happened already.
    pub fn take_more(&mut self, now: Instant, amount: u64) {
        let origin = *self.origin.get_or_insert(now);
        self.latest = nanos_since(origin, now).max(self.latest);
        let at = self.latest.div_ceil(self.grain) * self.grain;
        self.take(at, amount);
    }

    /// What is taken in one moment is alike, so the time alone finds it. Removing shifts the shorter side, and what is
    /// given back is nearly always among the newest. What has come back by time already is not given twice.
    pub fn give_back(&mut self, at: u64, amount: u64) {
        let Ok(index) = self.taken.binary_search_by_key(&at, |taken| taken.at) else { return };
        let amount = amount.min(self.taken[index].count);
        self.count -= amount;
        self.taken[index].count -= amount;
        if self.taken[index].count == 0 {
            self.taken.remove(index);
        }
    }

    pub fn left(&self, now: Instant) -> u64 {
        let now = self.origin.map_or(0, |origin| nanos_since(origin, now)).max(self.latest);
        let back: u64 = self.taken.iter().take_while(|taken| has_left(taken.at, now)).map(|taken| taken.count).sum();
        self.limit.saturating_sub(self.count - back)
    }
}

/// What was taken at `at` is free again at `now`.
fn has_left(at: u64, now: u64) -> bool {
    at + MINUTE_NANOS <= now
}
