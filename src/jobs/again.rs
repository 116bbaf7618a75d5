//! Is a job that failed tried once more, when, and at what price.
//!
//! | what ended the try | tried again | counts as a retry |
//! |---|---|---|
//! | the job's own `timeout` | after backoff | yes |
//! | everybody is limited or resting, nothing was sent, and the pool says until when | then | no |
//! | the same, but somebody was asked and said so | then | yes |
//! | the job's own `timeout`, before anything was sent | a moment later | no |
//! | everybody is limited, and nobody knows until when | after backoff | if somebody was asked |
//! | the same, but for longer than an hour | no | |
//! | only requests under way are in the way of a budget | a moment later, until they have ended | no |
//! | everything else: what providers failed with, a request that is wrong, a budget that is spent, a cancellation | no | |
//!
//! What providers fail with was retried and failed over by the pool already; trying the job again would multiply that. For
//! the same reason a second try leaves the pool's own repeats out ([`crate::types::CallOptions::max_retries`] 0): the
//! repeats of a job add up to those of one call and one round for each of its retries, and never multiply. What sent
//! nothing has cost nothing and is no retry: a queue that is longer than the minute's limit would otherwise fail its own
//! tail.
//!
//! A job that is tried again goes back to its place in the queue, and its worker to the next one. Where nobody could be
//! asked and somebody can in [`LONGEST_HOLD`], jobs that want the same as it ([`Wants`]) stay in the queue until then: the
//! next one would most likely be refused as well, and so on through the whole queue. Jobs that want something else go on.

use std::collections::HashMap;
use std::time::Duration;

use super::job::JobSpec;
use crate::error::{Error, ErrorKind};
use crate::policy::BackoffParams;
use crate::time::Instant;

/// A job that would have to wait longer is told so: whoever owns it may know something better than a queue in memory.
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);
/// A time that is over by now must not become a loop that spins.
const SHORTEST_REST: Duration = Duration::from_millis(100);

/// As long as the pool itself lets a call wait for a limit: jobs that others could answer are held up no longer than calls.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// One more try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Again {
    pub after: Duration,
    /// It is one of the job's retries.
    pub counts: bool,
}

impl Again {
    /// Others that want the same wait as well.
    pub fn is_common(self) -> bool {
        !self.counts && self.after <= LONGEST_HOLD
    }
}

/// What decides who may answer a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wants {
    model: Option<String>,
    task: Option<String>,
    tenant: Option<String>,
    providers: Vec<String>,
}

impl Wants {
    pub fn of(spec: &JobSpec) -> Self {
        let options = &spec.options;
        Self {
            model: spec.request.model.clone(),
            task: options.task.clone(),
            tenant: options.tenant.clone(),
            providers: options.providers.clone(),
        }
    }
}

/// What cannot be had for the time being.
#[derive(Debug, Default)]
pub(super) struct OutOfReach(HashMap<Wants, Instant>);

impl OutOfReach {
    pub fn note(&mut self, wants: Wants, until: Instant, now: Instant) {
        self.0.retain(|_, other| *other > now);
        self.0.insert(wants, until);
    }

    /// `None`: it may be asked for.
    pub fn until(&self, spec: &JobSpec, now: Instant) -> Option<Instant> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&Wants::of(spec)).copied().filter(|until| *until > now)
    }
}

/// How far a job may still go.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub backoff: BackoffParams,
    /// Retries so far.
    pub spent: u32,
    pub max_retries: u32,
    /// It was the job's own time that ran out.
    pub own_time: bool,
}

impl Patience {
    /// What becomes of a job after this error; `None`: it has failed. `random` is 0 to 1.
    pub fn again(&self, error: &Error, random: f64) -> Option<Again> {
        let retry = |after| (self.spent < self.max_retries).then_some(Again { after, counts: true });
        let backoff = self.backoff.delay(self.spent, random);
        let attempts = &error.context().attempts;
        let sent_nothing = attempts.iter().all(|line| line.outcome.sent_nothing());
        let free = |after| Some(Again { after, counts: false });
        if self.own_time {
            // Without a line nobody knows what took the time.
            return if sent_nothing && !attempts.is_empty() { free(SHORTEST_REST) } else { retry(backoff) };
        }
        let rest = match error.kind() {
            ErrorKind::RateLimited { reset: None, .. } => {
                return if sent_nothing { free(backoff.max(SHORTEST_REST)) } else { retry(backoff) };
            }
            ErrorKind::RateLimited { .. } | ErrorKind::NoProvider { .. } => error.retry_after()?,
            // Nobody says when they end. Then there is room, or what they cost has left none for good.
            _ if error.is_held_by_requests() => SHORTEST_REST,
            _ => return None,
        };
        if rest > LONGEST_REST {
            return None;
        }
        let after = rest.max(SHORTEST_REST);
        if sent_nothing { free(after) } else { retry(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BudgetExceeded, Context, Failure, FailureClass, Phase, Reason};
    use crate::types::{AttemptOutcome, AttemptRecord, NanoUsd, ProviderName};

    fn patience(spent: u32, own_time: bool) -> Patience {
        Patience { backoff: BackoffParams::default(), spent, max_retries: 3, own_time }
    }

    /// An error with one line on its trail.
    fn error(kind: ErrorKind, outcome: AttemptOutcome) -> Error {
        let line = AttemptRecord {
            provider: ProviderName::new("a"),
            model: "m".to_owned(),
            key_index: None,
            outcome,
            error_class: None,
            status: None,
            latency: Duration::ZERO,
            waited: Duration::ZERO,
        };
        Error::new(kind, "m").with_context(Context { attempts: vec![line], ..Context::default() })
    }

    fn limited(reset: Option<u64>) -> ErrorKind {
        ErrorKind::RateLimited { reset: reset.map(Duration::from_secs), failure: None }
    }

    fn resting(seconds: Option<u64>) -> ErrorKind {
        let holds_for = seconds.map(Duration::from_secs);
        ErrorKind::NoProvider {
            reasons: vec![Reason { provider: ProviderName::new("a"), reason: "r".into(), holds_for, is_beyond: false }],
        }
    }

    fn over_budget(held: bool) -> ErrorKind {
        let (limit, spent, reserved) = (NanoUsd(100), NanoUsd(0), NanoUsd(60));
        let exceeded = BudgetExceeded {
            provider: None,
            period: "daily",
            limit,
            spent,
            reserved,
            held,
            reset: None,
            reset_at: None,
        };
        ErrorKind::BudgetExceeded(Box::new(exceeded))
    }

    #[test]
    fn the_table_holds() {
        use AttemptOutcome::{BreakerOpen, Budget, Failure as Failed, RateLimited};
        let failure = || Failure::new(FailureClass::ServerError, "broken");
        let timeout = || ErrorKind::Timeout { phase: Phase::Deadline, failure: None };
        let counted = |after| Some(Again { after: Duration::from_secs(after), counts: true });
        let free = |after| Some(Again { after: Duration::from_secs(after), counts: false });
        for (kind, outcome, own_time, expected) in [
            (timeout(), Failed, true, counted(1)),
            (timeout(), Failed, false, None),
            (limited(Some(30)), RateLimited, false, free(30)),
            (limited(Some(30)), Failed, false, counted(30)),
            (timeout(), RateLimited, true, Some(Again { after: SHORTEST_REST, counts: false })),
            (limited(None), RateLimited, false, free(1)),
            (limited(None), Failed, false, counted(1)),
            (limited(Some(3601)), RateLimited, false, None),
            (resting(Some(20)), BreakerOpen, false, free(20)),
            (resting(Some(20)), Failed, false, counted(20)),
            (resting(None), BreakerOpen, false, None),
            (ErrorKind::Provider { failure: failure() }, Failed, false, None),
            (ErrorKind::InvalidRequest { field: String::new() }, RateLimited, false, None),
            (ErrorKind::Internal, Failed, false, None),
            (over_budget(true), Budget, false, Some(Again { after: SHORTEST_REST, counts: false })),
            (over_budget(false), Budget, false, None),
        ] {
            let error = error(kind, outcome);
            assert_eq!(patience(0, own_time).again(&error, 1.0), expected, "{:?}, {outcome:?}", error.kind());
        }
    }

    #[test]
    fn retries_come_to_an_end_and_what_costs_none_does_not() {
        let sent = error(limited(Some(5)), AttemptOutcome::Failure);
        let refused = error(limited(Some(5)), AttemptOutcome::RateLimited);
        assert!(patience(2, false).again(&sent, 1.0).is_some());
        assert_eq!(patience(3, false).again(&sent, 1.0), None);
        assert!(patience(3, false).again(&refused, 1.0).is_some_and(|again| !again.counts));
    }

    #[test]
    fn others_wait_only_for_what_costs_nothing_and_is_over_soon() {
        let common = |seconds, counts| Again { after: Duration::from_secs(seconds), counts }.is_common();
        assert!(common(10, false) && !common(11, false) && !common(1, true));
    }

    #[test]
    fn what_is_out_of_reach_is_so_for_those_who_want_the_same_and_until_then() {
        let of = |model: &str| {
            let mut spec = JobSpec::prompt("x");
            spec.request.model = Some(model.to_owned());
            spec
        };
        let now = crate::time::now().mono;
        let until = now + Duration::from_secs(5);
        let mut out = OutOfReach::default();
        out.note(Wants::of(&of("a")), until, now);
        assert_eq!((out.until(&of("a"), now), out.until(&of("b"), now)), (Some(until), None));
        assert_eq!(out.until(&of("a"), until), None);
        out.note(Wants::of(&of("b")), until, until);
        assert_eq!(out.0.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_time_that_is_over_does_not_spin() {
        let refused = error(limited(Some(0)), AttemptOutcome::RateLimited);
        assert_eq!(patience(0, false).again(&refused, 0.0).map(|again| again.after), Some(SHORTEST_REST));
    }
}
