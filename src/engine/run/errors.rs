//! How a call fails: which error the caller gets once nothing is left to try.

use super::Run;
use super::visit::Visit;
use crate::engine::refusal::{Refusal, Wait};
use crate::error::{Context, Error, ErrorKind, FailureClass, Phase, Reason};
use crate::time::Now;

impl Run<'_> {
    /// Nothing is left that could be done in time.
    pub(super) fn exhausted(&self, visits: &[Visit], now: Now) -> Error {
        let asked = self.asked_only(visits);
        let considered: Vec<&Visit> = visits
            .iter()
            .enumerate()
            .filter(|(at, _)| asked.is_none_or(|asked| asked == *at))
            .map(|(_, visit)| visit)
            .collect();
        if let Some(error) = self.out_of_tokens(&considered, now).or_else(|| self.out_of_money(&considered, now)) {
            return error;
        }
        let waits_for = |visit: &Visit| visit.refusal.as_ref().and_then(Refusal::worth_waiting);
        let free_at = |visit: &Visit| {
            let refused = waits_for(visit).and_then(|wait| match wait {
                Wait::Until(when) => Some(when),
                Wait::Turn => None,
            });
            let hinted = visit.again.as_ref().filter(|again| again.rate_signal).and_then(|again| again.ready);
            // One of its keys is free before the other.
            [refused, hinted].into_iter().flatten().min()
        };
        let soonest = considered.iter().filter_map(|visit| free_at(visit)).min();
        let reset = soonest.map(|at| at.saturating_duration_since(now.mono));
        let last = self.last.as_ref();
        // Limited as a whole: somebody is, and nobody failed in another way.
        let limited = |visit: &Visit| match visit.failed {
            Some(class) => class == FailureClass::RateLimit,
            None => free_at(visit).is_some() || waits_for(visit).is_some(),
        };
        let first_limited = considered.iter().find(|visit| limited(visit));
        let failed_otherwise = considered.iter().any(|visit| visit.failed.is_some() && !limited(visit));
        if first_limited.is_some() && !failed_otherwise {
            let message = match reset {
                Some(reset) => {
                    let seconds = reset.as_secs_f64();
                    format!("every usable provider is rate limited; the soonest is free in {seconds:.1} s")
                }
                None => match first_limited.and_then(|visit| visit.refusal.as_ref()) {
                    Some(refusal) if waits_for_turn(refusal) => {
                        format!("every usable provider is busy: {}", self.describe(refusal, now))
                    }
                    _ => "every usable provider is rate limited".to_owned(),
                },
            };
            let failure = last.map(|(_, _, failure)| failure.clone());
            let reset = reset.or(failure.as_ref().and_then(|failure| failure.retry_after));
            return Error::new(ErrorKind::RateLimited { reset, failure }, message).with_context(Context {
                provider: last
                    .map(|(name, ..)| name.clone())
                    .or_else(|| first_limited.map(|visit| visit.provider.name().clone())),
                model: last.map(|(_, model, _)| model.clone()),
                ..Context::default()
            });
        }
        match (last, &self.unsendable) {
            (Some(_), _) => self.provider_error(),
            (None, Some(error)) => error.clone().into(),
            (None, None) => no_provider(
                considered
                    .iter()
                    .map(|visit| {
                        let refusal = visit.refusal.as_ref();
                        let describe = |refusal: &Refusal| self.describe(refusal, now);
                        let until = refusal.and_then(Refusal::until);
                        Reason {
                            provider: visit.provider.name().clone(),
                            reason: refusal.map_or_else(|| "not asked".to_owned(), describe),
                            holds_for: until.map(|at| at.saturating_duration_since(now.mono)),
                            is_beyond: false,
                        }
                    })
                    .collect(),
            ),
        }
    }

    /// What a provider was not asked for, as far as the caller may know.
    pub(super) fn describe(&self, refusal: &Refusal, now: Now) -> String {
        if self.by_stranger { refusal.describe_to_strangers(now.mono) } else { refusal.describe(now.mono) }
    }

    /// The last failure, as the caller sees it.
    pub(super) fn provider_error(&self) -> Error {
        let Some((name, model, failure)) = self.last.clone() else {
            return Error::new(ErrorKind::Internal, "a failure without an attempt");
        };
        let message = match failure.status {
            Some(status) => format!("{name} answered {status}: {failure}"),
            None => format!("{name}: {failure}"),
        };
        let kind = match failure.phase {
            Some(phase) => ErrorKind::Timeout { phase, failure: Some(failure) },
            None => ErrorKind::Provider { failure },
        };
        Error::new(kind, message).with_context(Context {
            provider: Some(name),
            model: Some(model),
            ..Context::default()
        })
    }

    /// The call gives nobody any time to answer in: whatever was asked would be lost.
    pub(super) fn no_time(&self) -> Error {
        let message = "a timeout of 0 ms gives no attempt any time; nobody was asked";
        Error::new(ErrorKind::Timeout { phase: Phase::Attempt, failure: None }, message)
    }

    pub(super) fn out_of_time(&self) -> Error {
        let failure = self.last.as_ref().map(|(_, _, failure)| failure.clone());
        let message = format!("the call's deadline of {} ms has passed", self.allowed.as_millis());
        Error::new(ErrorKind::Timeout { phase: Phase::Deadline, failure }, message).with_context(Context {
            provider: self.trail.last().map(|line| line.provider.clone()),
            model: self.trail.last().map(|line| line.model.clone()),
            ..Context::default()
        })
    }
}

fn waits_for_turn(refusal: &Refusal) -> bool {
    refusal.worth_waiting() == Some(Wait::Turn)
}

pub(super) fn no_provider(reasons: Vec<Reason>) -> Error {
    let mut message = "no provider can take this call".to_owned();
    for (at, Reason { provider, reason, .. }) in reasons.iter().enumerate() {
        message.push_str(if at == 0 { ": " } else { "; " });
        message.push_str(&format!("{provider}: {reason}"));
    }
    if reasons.is_empty() {
        message.push_str(": none is configured");
    }
    Error::new(ErrorKind::NoProvider { reasons }, message)
}
