//! Small state machines that decide: may this provider be asked, with which key, when again, and who is asked first.
//!
//! None of them reads a clock, draws a random number, does I/O or knows another one: `now` and random numbers are
//! arguments, so every decision can be replayed in a test. Each owns its `Params` with the reasons for the defaults and
//! a `check` of what is allowed; after that the numbers are trusted. Every call is a few loads and stores without an
//! allocation, meant to run under one short lock that the caller holds.
//!
//! Callers on several threads may read the clock in one order and take that lock in another. A `now` that is earlier
//! than one already seen therefore never hands anything out twice: it counts as the latest one seen.

mod backoff;
mod breaker;
mod budget;
mod calendar;
mod hedge;
mod keys;
mod learn;
mod load;
mod rate;
mod retry;
mod select;
mod timers;

use std::time::Duration;

pub use backoff::BackoffParams;
pub use breaker::{Breaker, BreakerOpen, BreakerParams, CircuitState, Pass, Transition, Verdict};
pub use budget::{
    AnswerSizes, Budget, BudgetMode, BudgetParams, BudgetWarning, BudgetWindow, OverBudget, Reserved, SavedBudget,
};
pub use calendar::{DayZone, Period};
pub use hedge::{ENOUGH_SAMPLES, HedgeAfter, HedgeBudget, HedgeParams};
pub use keys::{KeyRing, KeyState, KeysResting};
pub use learn::{Learned, Said};
pub use load::{Load, Pace};
pub use rate::{
    Bucket, BucketParams, DayCount, DayCounts, Fit, LimitKind, Limited, RateLimiter, RateParams, Remaining,
    Reservation, Tokens,
};
pub use retry::{RetryBudget, RetryBudgetParams};
pub use select::{Behaviour, Member, Turns, order};
pub use timers::TimerParams;

use crate::error::MAX_HINT;
use crate::time::Instant;

/// `now + wait`, with the wait cut to [`MAX_HINT`]: an `Instant` that overflows panics.
fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(MAX_HINT)
}

/// Nanoseconds from `origin` to `now`, 0 when `now` is earlier. A `u64` holds 584 years of them.
fn nanos_since(origin: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
}
