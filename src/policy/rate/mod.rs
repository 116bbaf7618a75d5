//! May one more request be sent to this provider: so many requests and tokens in any 60 seconds, so many in a day.
//!
//! What a request takes is reserved before it is sent, never counted after it: between a check and a count, other calls
//! would pass the same check. [`RateLimiter::check`] changes nothing, so that all that may refuse a request can be asked
//! before anything is taken; [`RateLimiter::take`] then takes it under every limit. [`RateLimiter::release`] gives it
//! back, only when nothing was sent after all.
//!
//! **Tokens** are reserved by estimate: the prompt, and the most that the answer may have where the request bounds it.
//! A bound that leaves no room for anything else takes the whole limit instead of never fitting. When the answer is
//! there, [`RateLimiter::correct`] puts what was really used in its place; an answer that took more than was reserved
//! holds the next ones back until the minute has made up for it.
//!
//! [`Window`] is the rolling minute, [`Day`] the calendar day. A limit of 0 refuses for ever and says so; no limit costs
//! nothing. A refusal says when the next request fits, and at that moment it does, if nobody else took the place.

mod bucket;
mod day;
mod window;

use serde::{Deserialize, Serialize};

pub use bucket::{Bucket, BucketParams};
pub use day::DayCount;

use self::day::Day;
use self::window::Window;
use super::calendar::{DayZone, Span};
use crate::time::{Instant, Now};

/// The limits of one provider. Default: none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateParams {
    /// Most requests in any 60 s. `None` = no limit, 0 = the provider is never used.
    pub requests_per_minute: Option<u32>,
    /// Most requests in a calendar day. `None` = no limit, 0 = the provider is never used.
    pub requests_per_day: Option<u32>,
    /// Most tokens in any 60 s, prompts and answers together. `None` = no limit, 0 = the provider is never used.
    pub tokens_per_minute: Option<u64>,
    /// Most tokens in a calendar day, prompts and answers together. `None` = no limit, 0 = the provider is never used.
    pub tokens_per_day: Option<u64>,
    /// Where the day begins at midnight.
    pub day_zone: DayZone,
}

/// What one request is expected to take, beside being a request. Not looked at where tokens are not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    pub prompt: u64,
    /// The most the answer may have, where the request says so; else 0.
    pub answer: u64,
}

/// Counts the requests and tokens that go to one provider.
///
/// ```
/// use llmpool::policy::{LimitKind, RateLimiter, RateParams, Tokens};
/// let now = llmpool::time::now();
/// let mut limiter = RateLimiter::new(RateParams { requests_per_minute: Some(1), ..RateParams::default() });
/// let fit = limiter.check(now, Tokens::default(), 0).unwrap();
/// let reservation = limiter.take(fit);
/// assert_eq!(limiter.check(now, Tokens::default(), 0).unwrap_err().kind, LimitKind::Minute);
/// limiter.release(reservation); // the connection failed before anything was sent
/// assert!(limiter.check(now, Tokens::default(), 0).is_ok());
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    minute: Option<Window>,
    day: Option<Day>,
    token_minute: Option<Window>,
    token_day: Option<Day>,
}

/// Room for one request, as long as nobody else takes it.
#[must_use]
#[derive(Debug)]
pub struct Fit(Reservation);

/// What was taken for one request. Goes to [`RateLimiter::correct`] once the request was sent, or to
/// [`RateLimiter::release`] if it was not.
#[must_use]
#[derive(Debug, Default)]
pub struct Reservation {
    /// What [`Window::take`] was given.
    at: u64,
    day: Span,
    token_at: u64,
    token_day: Span,
    minute_tokens: u64,
    day_tokens: u64,
}

/// A limit is reached. Where several are, this is the one that lasts longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub kind: LimitKind,
    /// When the request fits; `None` = never: the limit is 0, or smaller than this one request.
    pub not_before: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    Minute,
    Day,
    TokenMinute,
    TokenDay,
}

/// What still fits; `None` where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remaining {
    pub minute: Option<u64>,
    pub day: Option<u64>,
    pub token_minute: Option<u64>,
    pub token_day: Option<u64>,
}

/// What was taken of the day, put away; `None` where nothing was, or where the day has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DayCounts {
    pub requests: Option<DayCount>,
    pub tokens: Option<DayCount>,
}

// === impl RateParams ===

impl RateParams {
    /// Are tokens limited at all? Where not, nobody need count them.
    pub fn counts_tokens(&self) -> bool {
        self.tokens_per_minute.is_some() || self.tokens_per_day.is_some()
    }
}

// === impl RateLimiter ===

impl RateLimiter {
    /// A limiter that has counted nothing yet.
    pub fn new(params: RateParams) -> Self {
        let RateParams { requests_per_minute, requests_per_day, tokens_per_minute, tokens_per_day, day_zone } = params;
        Self {
            minute: requests_per_minute.map(Window::of_requests),
            day: requests_per_day.map(|limit| Day::new(u64::from(limit), day_zone.clone())),
            token_minute: tokens_per_minute.map(Window::of_tokens),
            token_day: tokens_per_day.map(|limit| Day::new(limit, day_zone)),
        }
    }

    /// Would a request fit under every limit, after `ahead` others like it? Takes nothing.
    pub fn check(&mut self, now: Now, tokens: Tokens, ahead: u64) -> Result<Fit, Limited> {
        let mut limited = None;
        let mut note = |kind, not_before| limited = Some(Limited { kind, not_before }.or_longer(limited));
        let mut fit = Reservation::default();
        if let Some(minute) = &mut self.minute {
            match minute.free(now.mono, 1, ahead) {
                Ok(at) => fit.at = at,
                Err(not_before) => note(LimitKind::Minute, not_before),
            }
        }
        if let Some(day) = &mut self.day {
            match day.free(now, 1, ahead) {
                Ok(today) => fit.day = today,
                Err(not_before) => note(LimitKind::Day, not_before),
            }
        }
        // What those ahead will take of the tokens is not known here: the answer may be too early, never too late.
        if let Some(minute) = &mut self.token_minute {
            fit.minute_tokens = tokens.under(minute.limit());
            match minute.free(now.mono, fit.minute_tokens, 0) {
                Ok(at) => fit.token_at = at,
                Err(not_before) => note(LimitKind::TokenMinute, not_before),
            }
        }
        if let Some(day) = &mut self.token_day {
            fit.day_tokens = tokens.under(day.limit());
            match day.free(now, fit.day_tokens, 0) {
                Ok(today) => fit.token_day = today,
                Err(not_before) => note(LimitKind::TokenDay, not_before),
            }
        }
        limited.map_or(Ok(Fit(fit)), Err)
    }

    /// Takes the room that was just found. In between, nothing else may have been taken.
    pub fn take(&mut self, Fit(taken): Fit) -> Reservation {
        if let Some(minute) = &mut self.minute {
            minute.take(taken.at, 1);
        }
        if let Some(day) = &mut self.day {
            day.take(1);
        }
        if let Some(minute) = &mut self.token_minute {
            minute.take(taken.token_at, taken.minute_tokens);
        }
        if let Some(day) = &mut self.token_day {
            day.take(taken.day_tokens);
        }
        taken
    }

    /// Gives everything back because nothing was sent. What has come back by time already is not given twice.
    pub fn release(&mut self, reservation: Reservation) {
        let Reservation { at, day: today, token_at, token_day, minute_tokens, day_tokens } = reservation;
        if let Some(minute) = &mut self.minute {
            minute.give_back(at, 1);
        }
        if let Some(day) = &mut self.day {
            day.give_back(today, 1);
        }
        if let Some(minute) = &mut self.token_minute {
            minute.give_back(token_at, minute_tokens);
        }
        if let Some(day) = &mut self.token_day {
            day.give_back(token_day, day_tokens);
        }
    }

    /// Puts the tokens that were really used in the place of the estimate. The request stays counted.
    pub fn correct(&mut self, reservation: Reservation, used: u64, now: Now) {
        let Reservation { at: _, day: _, token_at, token_day, minute_tokens, day_tokens } = reservation;
        if let Some(minute) = &mut self.token_minute {
            match used.checked_sub(minute_tokens) {
                // The excess was taken while the answer was written, so it counts from its end.
                Some(excess) if excess > 0 => minute.take_more(now.mono, excess),
                _ => minute.give_back(token_at, minute_tokens - used.min(minute_tokens)),
            }
        }
        if let Some(day) = &mut self.token_day {
            match used.checked_sub(day_tokens) {
                Some(excess) => day.take(excess),
                None => day.give_back(token_day, day_tokens - used),
            }
        }
    }

    /// What was taken of the day so far, for whoever counts it on.
    pub fn put_away(&self, now: Now) -> DayCounts {
        let of = |day: &Option<Day>| day.as_ref().and_then(|day| day.put_away(now.unix_ms));
        DayCounts { requests: of(&self.day), tokens: of(&self.token_day) }
    }

    /// Goes on with a day that another limiter has begun; a day that is over changes nothing. Gives back what it has no
    /// limit for.
    #[must_use]
    pub fn take_up(&mut self, earlier: DayCounts, now: Now) -> DayCounts {
        let take = |day: &mut Option<Day>, earlier: Option<DayCount>| match (day, earlier) {
            (Some(day), Some(earlier)) => {
                day.take_up(earlier, now.unix_ms);
                None
            }
            (_, earlier) => earlier,
        };
        DayCounts { requests: take(&mut self.day, earlier.requests), tokens: take(&mut self.token_day, earlier.tokens) }
    }

    /// Unix milliseconds at which the tokens of the next day are there; `None`: those of a day are not limited.
    pub fn token_day_ends(&self, now: Now) -> Option<u64> {
        self.token_day.as_ref().map(|day| day.ends(now.unix_ms))
    }

    /// What is left now. Walks over what time has given back since the last reservation: a view, not a step of the hot
    /// path.
    pub fn remaining(&self, now: Now) -> Remaining {
        Remaining {
            minute: self.minute.as_ref().map(|minute| minute.left(now.mono)),
            day: self.day.as_ref().map(|day| day.left(now.unix_ms)),
            token_minute: self.token_minute.as_ref().map(|minute| minute.left(now.mono)),
            token_day: self.token_day.as_ref().map(|day| day.left(now.unix_ms)),
        }
    }
}

// === impl DayCounts ===

impl DayCounts {
    /// Nothing was taken, or it was taken on a day that is over.
    pub fn is_over(&self, now: Now) -> bool {
        let over = |count: Option<DayCount>| count.is_none_or(|count| count.ends <= now.unix_ms);
        over(self.requests) && over(self.tokens)
    }

    /// Where this one has nothing to say, the other one goes on: a limit that was taken away for an hour comes back to
    /// the same day.
    pub fn or(self, other: Self) -> Self {
        Self { requests: self.requests.or(other.requests), tokens: self.tokens.or(other.tokens) }
    }
}

// === impl Tokens ===

impl Tokens {
    /// What is reserved under a limit.
    fn under(self, limit: u64) -> u64 {
        self.prompt.max(self.prompt.saturating_add(self.answer).min(limit)).max(1)
    }
}

// === impl Remaining ===

impl Remaining {
    /// Tokens that still fit under both limits.
    pub fn tokens(&self) -> Option<u64> {
        match (self.token_minute, self.token_day) {
            (Some(minute), Some(day)) => Some(minute.min(day)),
            (minute, day) => minute.or(day),
        }
    }
}

// === impl Limited ===

impl Limited {
    /// The refusal that lasts longer: waiting for the other one would be in vain.
    fn or_longer(self, other: Option<Self>) -> Self {
        match other {
            None => self,
            Some(other) => match (self.not_before, other.not_before) {
                (_, None) => other,
                (None, _) => self,
                (Some(mine), Some(others)) => {
                    if mine > others {
                        self
                    } else {
                        other
                    }
                }
            },
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
            Self::TokenMinute => "tokens_per_minute",
            Self::TokenDay => "tokens_per_day",
        }
    }
}

#[cfg(test)]
mod tests;
