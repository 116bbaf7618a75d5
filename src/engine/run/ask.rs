//! One attempt of a call: on its books when it begins, and what its end means for the call.

use std::time::Duration;

use super::visit::{Again, Visit};
use super::{Admitted, Run, tell, unix_ms_of};
use crate::engine::attempt::{Answer, Missed, Order, attempt};
use crate::engine::lock;
use crate::engine::media::Fetched;
use crate::engine::permit::Permit;
use crate::engine::refusal::Refusal;
use crate::engine::work::Work;
use crate::error::{Error, Failure, FailureClass, Scope};
use crate::event::{Event, EventKind, trace};
use crate::policy::Transition;
use crate::time::{self, Instant, Now};
use crate::transport::Started;
use crate::types::{AttemptOutcome, AttemptRecord, CallOptions};

/// Answers that do not fit the caller's schema after which one more is asked for: what two models cannot keep to is likely
/// the schema's fault, and every try is paid for.
const MOST_VIOLATIONS: u32 = 1;

/// What a call asks for, whoever is asked.
pub(super) struct Call<'c> {
    pub work: Work<'c>,
    pub options: &'c CallOptions,
    /// What was fetched for one provider need not be fetched for the next.
    pub fetched: Fetched,
}

impl<'c> Call<'c> {
    pub fn new(work: Work<'c>, options: &'c CallOptions) -> Self {
        Self { work, options, fetched: Fetched::default() }
    }
}

/// An attempt under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Its line of the trail.
    pub line: usize,
    pub key: u32,
    pub since: Instant,
}

/// What an attempt came to.
pub(super) enum Ended {
    Answered(Answer),
    /// It is to be asked again at once, without what it refused.
    Repaired(Admitted),
    GoOn,
}

impl Run<'_> {
    /// One attempt with all that follows from it. `None`: go on.
    pub(super) async fn ask(
        &mut self,
        visit: &mut Visit,
        admitted: Admitted,
        now: Instant,
        call: &Call<'_>,
    ) -> Result<Option<Answer>, Error> {
        let (mut admitted, mut now) = (admitted, now);
        loop {
            let (permit, asked) = self.set_out(visit, admitted, now);
            let order = Order {
                work: call.work,
                options: call.options,
                headers: &self.headers,
                mask: &self.mask,
                model: &visit.model,
                without: &visit.without,
                attempt: self.errors + 1,
                before: &visit.gathered.vectors,
                schema: self.schema.as_deref(),
                limits: self.roster.limits(),
                media: self.roster.media(),
                fetched: &call.fetched,
                roster: self.roster,
                deadline: self.deadline,
                started: Started::default(),
            };
            let attempted = attempt(permit, &order).await;
            match self.end(visit, asked, attempted, call)? {
                Ended::Answered(answer) => return Ok(Some(answer)),
                Ended::Repaired(again) => (admitted, now) = (again, time::now().mono),
                Ended::GoOn => return Ok(None),
            }
        }
    }

    /// Puts an attempt on the trail. It stands there as cancelled until it is over: should the call end before, that is
    /// what it was.
    pub(super) fn set_out(
        &mut self,
        visit: &mut Visit,
        (mut permit, moved): Admitted,
        now: Instant,
    ) -> (Permit, Asked) {
        permit.metered(self.meter.clone());
        if std::mem::take(&mut self.unhurried) {
            self.deadline = now + self.allowed;
        }
        let key = permit.key();
        let provider = &visit.provider;
        if let Some(moved) = moved {
            tell(self.log, provider.name(), moved);
        }
        match &self.last {
            // The second copy of a call is nobody's first choice.
            None if self.asking.iter().all(Option::is_none) => permit.first_choice(),
            Some((from, _, failure)) if visit.attempts == 0 && visit.gathered.vectors.is_empty() => {
                let reason = failure.class.as_str();
                lock(&self.engine.tally).failed_over(time::unix_ms(), from, provider.name(), reason);
                trace::failover(from, provider.name(), failure.class);
            }
            None | Some(_) => {}
        }
        trace::attempt(provider.name(), &visit.model, key, self.errors + 1);
        visit.attempts += 1;
        self.standing = None;
        self.backoff_until = None;
        let asked = Asked { line: self.trail.len(), key, since: now };
        self.trail.push(AttemptRecord {
            provider: provider.name().clone(),
            model: visit.model.clone(),
            key_index: provider.config().keys.get(key as usize).map(|_| key),
            outcome: AttemptOutcome::Cancelled,
            error_class: None,
            status: None,
            latency: Duration::ZERO,
            waited: std::mem::take(&mut self.waited),
        });
        if let Some(free) = self.asking.iter_mut().find(|asking| asking.is_none()) {
            *free = Some(asked);
        }
        (permit, asked)
    }

    /// An attempt is over.
    pub(super) fn end(
        &mut self,
        visit: &mut Visit,
        asked: Asked,
        attempted: Result<Answer, Missed>,
        call: &Call<'_>,
    ) -> Result<Ended, Error> {
        self.forget(asked);
        match attempted {
            Ok(mut answer) => {
                let (latency, moved) = match &mut answer {
                    Answer::Whole(whole) => (whole.latency, whole.transition.clone()),
                    Answer::Vectors(whole) => (whole.latency, whole.transition.clone()),
                    Answer::Stream(open) => (open.to_first_content(), open.prove()),
                    Answer::Own(own) => (own.latency, own.transition.clone()),
                };
                self.book_line(asked, AttemptOutcome::Success, latency, None);
                if let Some(moved) = moved {
                    tell(self.log, visit.provider.name(), moved);
                }
                Ok(Ended::Answered(answer))
            }
            Err(Missed::Unsendable(error)) => {
                // Nothing was sent. Another provider's dialect may be able to say it.
                if asked.line + 1 == self.trail.len() {
                    self.waited += self.trail.pop().map_or(Duration::ZERO, |line| line.waited);
                } // else a second copy stands behind it, and the line stays as one that was left
                visit.visited = true;
                self.unsendable = Some(error);
                Ok(Ended::GoOn)
            }
            Err(Missed::OutOfTime { latency }) => {
                self.book_line(asked, AttemptOutcome::Cancelled, latency, None);
                Err(self.out_of_time())
            }
            Err(Missed::Failed { failure, latency, transition }) => {
                self.book_line(asked, AttemptOutcome::Failure, latency, Some(&failure));
                let repaired = self.repair(visit, asked.key, call, &failure);
                self.note_failure(visit, asked.key, failure, transition, repaired.is_some())?;
                match repaired {
                    Some(Ok(admitted)) => Ok(Ended::Repaired(admitted)),
                    Some(Err(refusal)) => {
                        self.note_refusal(visit, refusal, time::now());
                        Ok(Ended::GoOn)
                    }
                    None => Ok(Ended::GoOn),
                }
            }
        }
    }

    /// It is not under way any more.
    pub(super) fn forget(&mut self, asked: Asked) {
        for asking in &mut self.asking {
            *asking = asking.filter(|asking| asking.line != asked.line);
        }
    }

    /// Writes how an attempt ended into its line of the trail.
    pub(super) fn book_line(
        &mut self,
        asked: Asked,
        outcome: AttemptOutcome,
        latency: Duration,
        failure: Option<&Failure>,
    ) {
        self.not_ours += latency;
        if let Some(line) = self.trail.get_mut(asked.line) {
            line.outcome = outcome;
            line.latency = latency;
            line.error_class = failure.map(|failure| failure.class.as_str());
            line.status = failure.and_then(|failure| failure.status);
        }
    }

    /// A refusal of one parameter is asked again without it, once per call, at once, with the same key. `None`: there is
    /// nothing to leave out.
    fn repair(
        &mut self,
        visit: &mut Visit,
        key: u32,
        call: &Call<'_>,
        failure: &Failure,
    ) -> Option<Result<Admitted, Refusal>> {
        let field = visit.provider.endpoint().repair(call.work.request()?, call.work.streams(), failure)?;
        if self.repaired {
            return None;
        }
        self.log.debug(|| format!("{}: refuses {field}, asked again without it", visit.provider.name()));
        visit.without.push(field);
        let keys = u32::try_from(visit.provider.config().keys.len()).unwrap_or(u32::MAX);
        let others: Vec<u32> = (0..keys).filter(|other| *other != key).collect();
        let admitted = self.admit(visit, &others, time::now());
        self.repaired = admitted.is_ok();
        Some(admitted)
    }

    /// What a failure means for the rest of the call.
    fn note_failure(
        &mut self,
        visit: &mut Visit,
        key: u32,
        failure: Failure,
        transition: Option<Transition>,
        repaired: bool,
    ) -> Result<(), Error> {
        let name = visit.provider.name();
        let class = failure.class;
        if class == FailureClass::ContextLength {
            self.window_above = self.window_above.max(visit.window);
        }
        let goes_on = class.scope() != Scope::Caller || self.asks_elsewhere(class);
        self.errors += 1;
        let attempt = self.errors;
        if !repaired && !self.excluded.contains(name) {
            self.excluded.push(name.clone());
        }
        self.log.emit(EventKind::RequestError, || Event::RequestError {
            request_id: self.request_id.clone(),
            provider: name.clone(),
            attempt,
            error: failure.message.clone(),
            error_class: class.as_str(),
            status: failure.status,
            retryable: match class.scope() {
                Scope::Caller => goes_on,
                _ => failure.same_provider_again() || class.another_provider(),
            },
            tenant: self.on_behalf_of.map(str::to_owned),
            excluded_providers: self.excluded.clone(),
        });
        if class.is_rate_signal() {
            let reset_at = failure.retry_after.map(|wait| unix_ms_of(time::now().mono + wait, time::now()));
            self.log.emit(EventKind::RateLimited, || Event::RateLimited {
                provider: name.clone(),
                kind: "upstream",
                reset_at,
            });
        }
        if let Some(moved) = transition {
            tell(self.log, name, moved);
        }
        self.log.debug(|| format!("{name}: attempt {attempt} failed: {class}: {}", failure.message));
        self.last = Some((name.clone(), visit.model.clone(), failure.clone()));
        if repaired {
            return Ok(());
        }
        if class == FailureClass::ModelOutputInvalid && self.schema.is_some() {
            self.violations += 1;
            if self.violations > MOST_VIOLATIONS {
                return Err(self.provider_error());
            }
        }
        if !goes_on {
            return Err(self.provider_error());
        }
        visit.failed = Some(class);
        visit.tried.push(key);
        // Another key helps where the key is to blame, and nowhere else.
        visit.visited |= class.scope() != Scope::Key;
        let same_again = failure.same_provider_again() && class.scope() != Scope::Caller;
        visit.again = same_again.then(|| Again {
            rate_signal: class.is_rate_signal(),
            ready: failure.retry_after.map(|wait| time::now().mono + wait),
        });
        Ok(())
    }

    /// The caller's own fault, but perhaps not in the eyes of everybody.
    fn asks_elsewhere(&self, class: FailureClass) -> bool {
        match class {
            FailureClass::ContentFilter => self.roster.routing().failover_on_content_filter,
            // Only to who is known to read more.
            FailureClass::ContextLength => self.window_above.is_some() && self.window_above < self.largest_window,
            _ => false,
        }
    }

    /// Asks the pool's retry budget, once per retry; a refusal goes on the trail, and there are no more retries.
    pub(super) fn pay_for_retry(&mut self, visit: &Visit, now: Now) -> bool {
        if self.paid || lock(&self.engine.budget).withdraw(now.mono) {
            self.paid = true;
            return true;
        }
        self.max_retries = self.retries;
        self.trail.push(AttemptRecord {
            provider: visit.provider.name().clone(),
            model: visit.model.clone(),
            key_index: None,
            outcome: AttemptOutcome::RetryBudget,
            error_class: None,
            status: None,
            latency: Duration::ZERO,
            waited: Duration::ZERO,
        });
        false
    }
}
