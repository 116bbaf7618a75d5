//! Is this provider worth asking at all: the circuit breaker.
//!
//! ```text
//!            too many failures                the open period is over, one call probes
//!   Closed ---------------------> Open --------------------------------------> HalfOpen
//!     ^                            ^                                             |  |
//!     |                            |   the probe failed: twice as long as before |  |
//!     |                            +---------------------------------------------+  |
//!     +------------------------------ the probe succeeded --------------------------+
//! ```
//!
//! Two things open it: `threshold` failures in a row, which catches a dead provider within a few calls, and a share of
//! failures over a window, which catches one that answers every second call. The share is judged after every counted
//! outcome, so it depends on the counts and not on the order they came in.
//!
//! Only hard failures count. A rate signal is a provider that works and says "not so fast", the caller's own fault says
//! nothing about the provider, and a call that was left gave no answer: these are [`Verdict::Neutral`] and change
//! nothing, except that a probe's place becomes free again.
//!
//! Every period has a number that each [`Pass`] carries. What was admitted in an earlier period and ends in a later one
//! is ignored: a slow failure from before the outage must not reopen a breaker that has just closed, and a slow success
//! must not close one that is open. For the same reason there is never more than one probe, however many calls wait.
//!
//! A threshold of 0 is no breaker at all: everything is admitted and nothing is counted.

use std::time::Duration;

use super::{after, nanos_since};
use crate::time::Instant;

/// The window moves in steps of this share: a call leaves it after 59 to 60 sixtieths, and memory does not grow with
/// the load.
const SLOTS: usize = 60;

/// When a provider is given up, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerParams {
    /// Hard failures in a row that open it. Default 5; 0 = no breaker.
    pub threshold: u32,
    /// The first open period. Default 60 s; 0 = the next call is already the probe.
    pub open_for: Duration,
    /// Share of failures in the window that opens it. Above 0 to 1, default 0.5.
    pub failure_ratio: f64,
    /// How far back the share looks. Above 0, default 60 s.
    pub window: Duration,
    /// The share counts from this many calls in the window on. At least 1, default 10.
    pub min_calls: u32,
    /// Longest open period: each reopening doubles it up to this. Default 300 s; below `open_for` there is no doubling.
    pub max_open: Duration,
}

impl Default for BreakerParams {
    fn default() -> Self {
        Self {
            // Fewer are a bad minute of a good provider, more are calls that wait for a timeout for nothing.
            threshold: 5,
            // A restart or a failover upstream takes about that long.
            open_for: Duration::from_secs(60),
            // When every second call fails, another provider is the better first choice.
            failure_ratio: 0.5,
            // Long enough to hold `min_calls` of a quiet pool, short enough to forget an incident that is over.
            window: Duration::from_secs(60),
            // With fewer, one or two unlucky calls would be half of all.
            min_calls: 10,
            // A provider that is back is found within five minutes, also after a night.
            max_open: Duration::from_secs(300),
        }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    /// Nobody is admitted.
    Open,
    /// The open period is over: one probe is admitted, or under way.
    HalfOpen,
}

/// What an attempt says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Success,
    /// A hard failure: the provider broke.
    Failure,
    /// Nothing: a rate signal, the caller's own fault, a call that was left, a key that is refused.
    Neutral,
}

/// The breaker has changed its state; worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    Opened {
        /// For people: what opened it.
        reason: String,
        /// When the first probe is admitted.
        retry_at: Instant,
    },
    HalfOpened,
    Closed,
}

/// Leave to ask the provider once. It must come back through [`Breaker::settle`] whatever happened: a probe that is
/// never settled keeps everybody out.
#[must_use]
#[derive(Debug)]
pub struct Pass {
    period: u64,
}

/// Nobody is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOpen {
    /// When a probe will be admitted; `None`: one is under way.
    pub retry_at: Option<Instant>,
}

/// The breaker of one provider.
///
/// ```
/// use llmpool::policy::{Breaker, BreakerParams, CircuitState, Verdict};
/// let now = llmpool::time::now().mono;
/// let mut breaker = Breaker::new(BreakerParams { threshold: 1, ..BreakerParams::default() });
/// let (pass, _) = breaker.admit(now).unwrap();
/// breaker.settle(pass, Verdict::Failure, now);
/// let refused = breaker.admit(now).unwrap_err();
/// let (probe, _) = breaker.admit(refused.retry_at.unwrap()).unwrap();
/// breaker.settle(probe, Verdict::Success, now);
/// assert_eq!(breaker.state(now), CircuitState::Closed);
/// ```
#[derive(Debug)]
pub struct Breaker {
    params: BreakerParams,
    state: State,
    /// Number of the period; every change of state begins a new one.
    period: u64,
    /// Reopenings since it was last closed.
    reopened: u32,
    trips: u64,
    /// Counted while closed.
    recent: Recent,
}

#[derive(Debug)]
enum State {
    /// `streak` = hard failures in a row.
    Closed {
        streak: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        probing: bool,
    },
}

/// Outcomes of the last window, in slots, and their sum.
#[derive(Debug)]
struct Recent {
    slot_nanos: u64,
    /// The first `now` seen; slots are counted from it.
    origin: Option<Instant>,
    /// Number of the newest slot, which stands at this number modulo [`SLOTS`].
    newest: u64,
    slots: [Counts; SLOTS],
    sum: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    calls: u64,
    failures: u64,
}

// === impl BreakerParams ===

impl BreakerParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(self.failure_ratio > 0.0 && self.failure_ratio <= 1.0) {
            problems.push(("failure_ratio", "must be above 0 and at most 1".to_owned()));
        }
        if self.window.is_zero() {
            problems.push(("window", "must be above 0".to_owned()));
        }
        if self.min_calls == 0 {
            problems.push(("min_calls", "must be at least 1".to_owned()));
        }
        problems
    }

    /// The open period after this many reopenings.
    fn open_period(&self, reopened: u32) -> Duration {
        let doubled = self.open_for.saturating_mul(1 << reopened.min(31));
        doubled.min(self.max_open).max(self.open_for)
    }
}

// === impl Breaker ===

impl Breaker {
    /// A closed breaker.
    pub fn new(params: BreakerParams) -> Self {
        let recent = Recent::new(params.window);
        Self { params, state: State::Closed { streak: 0 }, period: 0, reopened: 0, trips: 0, recent }
    }

    /// Would it refuse now? Changes nothing.
    pub fn refuses(&self, now: Instant) -> Option<BreakerOpen> {
        match self.state {
            State::Open { until } if now < until => Some(BreakerOpen { retry_at: Some(until) }),
            State::HalfOpen { probing: true } => Some(BreakerOpen { retry_at: None }),
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Asks for leave to call the provider. The call that finds the open period over becomes the probe.
    pub fn admit(&mut self, now: Instant) -> Result<(Pass, Option<Transition>), BreakerOpen> {
        if let Some(open) = self.refuses(now) {
            return Err(open);
        }
        let transition = match &mut self.state {
            State::Closed { .. } => None,
            State::Open { .. } => {
                self.enter(State::HalfOpen { probing: true });
                Some(Transition::HalfOpened)
            }
            State::HalfOpen { probing } => {
                *probing = true;
                None
            }
        };
        Ok((Pass { period: self.period }, transition))
    }

    /// Takes a pass back with what the attempt has shown.
    pub fn settle(&mut self, pass: Pass, verdict: Verdict, now: Instant) -> Option<Transition> {
        if self.params.threshold == 0 || pass.period != self.period {
            return None;
        }
        match (&mut self.state, verdict) {
            (State::Closed { .. }, Verdict::Neutral) => None,
            (State::Closed { streak }, Verdict::Success) => {
                *streak = 0;
                self.recent.count(now, false);
                self.judge(now)
            }
            (State::Closed { streak }, Verdict::Failure) => {
                *streak = streak.saturating_add(1);
                self.recent.count(now, true);
                self.judge(now)
            }
            (State::HalfOpen { probing }, Verdict::Neutral) => {
                *probing = false;
                None
            }
            (State::HalfOpen { .. }, Verdict::Success) => {
                self.reopened = 0;
                self.enter(State::Closed { streak: 0 });
                Some(Transition::Closed)
            }
            (State::HalfOpen { .. }, Verdict::Failure) => {
                self.reopened = self.reopened.saturating_add(1);
                Some(self.open("the probe failed".to_owned(), now))
            }
            // Opening ends every earlier period and admits nobody.
            (State::Open { .. }, _) => None,
        }
    }

    /// A stream's first content proves the provider: its probe need not wait for the stream's end.
    pub fn prove(&mut self, pass: &Pass, now: Instant) -> Option<Transition> {
        match self.state {
            State::HalfOpen { .. } => self.settle(Pass { period: pass.period }, Verdict::Success, now),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    /// A probe is under way: nobody else is admitted until it is back.
    pub fn is_probing(&self) -> bool {
        matches!(self.state, State::HalfOpen { probing: true })
    }

    /// As a view: an open period that is over reads half-open, although only the next call moves the breaker.
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { until } if now < until => CircuitState::Open,
            State::Open { .. } | State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// When the probe of the current open period is admitted; `None` unless it is open.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// The provider is said to be up again: the next call is the probe, without waiting for the end of the open period.
    /// What the probe finds still decides.
    pub fn probe_now(&mut self) -> Option<Transition> {
        matches!(self.state, State::Open { .. }).then(|| {
            self.enter(State::HalfOpen { probing: false });
            Transition::HalfOpened
        })
    }

    /// Closes it and forgets what was counted, also of calls under way. True if it was not closed.
    pub fn reset(&mut self) -> bool {
        let was_closed = matches!(self.state, State::Closed { .. });
        self.reopened = 0;
        self.enter(State::Closed { streak: 0 });
        !was_closed
    }

    /// How often it has opened, reopenings included.
    pub fn trips(&self) -> u64 {
        self.trips
    }

    /// Opens a closed breaker whose counts are too bad.
    fn judge(&mut self, now: Instant) -> Option<Transition> {
        let State::Closed { streak } = self.state else { return None };
        if streak >= self.params.threshold {
            return Some(self.open(format!("{streak} failures in a row"), now));
        }
        let Counts { calls, failures } = self.recent.sum;
        // Divided, not multiplied: 7 / 100 is the same float as a configured 0.07, 0.07 * 100 is more than 7.
        if calls >= u64::from(self.params.min_calls) && failures as f64 / calls as f64 >= self.params.failure_ratio {
            let seconds = self.params.window.as_secs_f64();
            return Some(self.open(format!("{failures} of {calls} calls failed within {seconds} s"), now));
        }
        None
    }

    fn open(&mut self, reason: String, now: Instant) -> Transition {
        let retry_at = after(now, self.params.open_period(self.reopened));
        self.trips += 1;
        self.enter(State::Open { until: retry_at });
        Transition::Opened { reason, retry_at }
    }

    /// The only way from one state to another: each begins a period and counts from zero.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.period += 1;
        self.recent.clear();
    }
}

// === impl Recent ===

impl Recent {
    fn new(window: Duration) -> Self {
        let slot = u64::try_from(window.as_nanos() / SLOTS as u128).unwrap_or(u64::MAX);
        let slots = [Counts::default(); SLOTS];
        Self { slot_nanos: slot.max(1), origin: None, newest: 0, slots, sum: Counts::default() }
    }

    fn count(&mut self, now: Instant, failed: bool) {
        self.advance(now);
        let failures = u64::from(failed);
        for counts in [&mut self.slots[self.newest as usize % SLOTS], &mut self.sum] {
            counts.calls += 1;
            counts.failures += failures;
        }
    }

    fn advance(&mut self, now: Instant) {
        let origin = *self.origin.get_or_insert(now);
        let newest = (nanos_since(origin, now) / self.slot_nanos).max(self.newest);
        for step in 1..=(newest - self.newest).min(SLOTS as u64) {
            let gone = std::mem::take(&mut self.slots[(self.newest + step) as usize % SLOTS]);
            self.sum.calls -= gone.calls;
            self.sum.failures -= gone.failures;
        }
        self.newest = newest;
    }

    fn clear(&mut self) {
        self.slots = [Counts::default(); SLOTS];
        self.sum = Counts::default();
    }
}

// === impl CircuitState ===

impl CircuitState {
    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[cfg(test)]
mod tests;
