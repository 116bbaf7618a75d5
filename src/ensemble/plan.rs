//! A plan from its first run to its answer.
//!
//! `FASTEST` is one run that may ask a second provider before the first has answered. Every other strategy asks several
//! providers at once, as many as `ensemble.max_parallel`, the best ranked first; one that fails makes room for the next.
//! When all have ended, or the time is over, what has come is compared. Where that cannot be decided as it was wanted, it
//! is decided as the next strategy of the chain would, and a warning says so:
//!
//! > `JUDGE` and `CONSENSUS` → `VOTING` → `WEIGHTED` → `FASTEST`
//!
//! Nothing is asked again for it: the chain works on the answers that are there.

use std::sync::Arc;

use super::canonical::Canonical;
use super::decide::{Ballot, Count};
use super::gather::Gathered;
use super::judging;
use crate::config::EnsembleConfig;
use crate::engine::{Engine, Panelist};
use crate::error::{Context, Error, ErrorKind, Phase};
use crate::event::EventLog;
use crate::time::{self, Instant};
use crate::types::{
    AttemptRecord, CacheWish, CallOptions, ChatRequest, ChatResponse, Decision, JudgeOutcome, Judgement, Meter,
    RequestId, Strategy, Usage, Vote, Worth,
};

/// What is to be answered, and how.
#[derive(Clone, Copy)]
pub struct Planned<'a> {
    pub request: &'a ChatRequest,
    pub options: &'a CallOptions,
    pub strategy: Strategy,
}

/// Options under which one run is `FASTEST`, with a warning where they cannot be.
pub fn hedged(engine: &Engine, options: &CallOptions) -> (CallOptions, Option<String>) {
    let ensemble = engine.ensemble_for(options);
    let deadline = engine.longest(options);
    if ensemble.max_parallel == 1 {
        // Never: not even by the copies that any call may have.
        let after = deadline.saturating_add(ensemble.hedge_after);
        return (CallOptions { hedge_after: Some(after), strategy: None, ..options.clone() }, None);
    }
    let after = ensemble.hedge_after;
    let warning = (deadline <= after).then(|| {
        format!(
            "strategy: no second provider is asked: ensemble.hedge_after_ms of {} is not below the call's deadline of {} ms",
            after.as_millis(),
            deadline.as_millis()
        )
    });
    (CallOptions { hedge_after: Some(after), strategy: None, ..options.clone() }, warning)
}

/// Answers by a plan. Dropping the future leaves every run of it.
///
/// # Errors
/// Nobody could answer; the error is that of the best ranked provider, with everybody's attempts.
pub async fn answer(
    engine: &Engine,
    planned: Planned<'_>,
    warnings: Vec<String>,
    log: &mut EventLog,
) -> Result<ChatResponse, Error> {
    let Planned { request, options, strategy } = planned;
    let meter = Meter::default();
    let options = CallOptions {
        request_id: Some(options.request_id.clone().unwrap_or_else(RequestId::random)),
        submitted: Some(options.submitted.unwrap_or_else(|| time::now().mono.into_std())),
        strategy: None,
        cache: Some(CacheWish::Off),
        meter: Some(meter.clone()),
        ..options.clone()
    };
    let plan = Plan { engine, config: engine.ensemble_for(&options), request, options: &options, strategy };
    let response = plan.answer(warnings, log).await?;
    // By now every run of it has ended or was left, and everything is booked.
    Ok(ChatResponse { cost: meter.total(), ..response })
}

impl Plan<'_> {
    async fn answer(&self, mut warnings: Vec<String>, log: &mut EventLog) -> Result<ChatResponse, Error> {
        if self.strategy == Strategy::Fastest {
            return self.fastest(warnings, log).await;
        }
        let panel = self.engine.panel(self.request, self.options)?;
        if panel.len() < 2 {
            warnings.push(fell_back(self.strategy, Strategy::Fastest, "only one provider may answer"));
            return self.fastest(warnings, log).await;
        }
        self.several(&panel, warnings, log).await
    }
}

/// A call that is answered by a strategy.
pub(super) struct Plan<'a> {
    pub engine: &'a Engine,
    pub config: Arc<EnsembleConfig>,
    pub request: &'a ChatRequest,
    pub options: &'a CallOptions,
    strategy: Strategy,
}

/// Who is chosen, by what, and why it was not what was wanted.
struct Choice {
    /// Of the provider in the configuration.
    place: usize,
    used: Strategy,
    notes: Vec<String>,
    judge: Option<Judged>,
}

/// What a judge did, and what that took.
struct Judged {
    judgement: Judgement,
    /// Of the chosen one in the configuration.
    place: Option<usize>,
    warnings: Vec<String>,
    usage: Usage,
    attempts: Vec<AttemptRecord>,
}

fn fell_back(from: Strategy, to: Strategy, why: &str) -> String {
    format!("strategy: {} fell back to {}: {why}", from.as_str(), to.as_str())
}

impl Plan<'_> {
    fn started(&self) -> Instant {
        self.options.submitted.map_or_else(|| time::now().mono, Instant::from_std)
    }

    /// One run that may be hedged.
    async fn fastest(&self, mut warnings: Vec<String>, log: &mut EventLog) -> Result<ChatResponse, Error> {
        let (options, warning) = hedged(self.engine, self.options);
        warnings.extend(warning);
        let response = self.engine.chat(self.request, &options, warnings, log, std::future::pending()).await?;
        let decision = Decision::fastest(self.strategy, &response.attempts);
        Ok(ChatResponse { decision: Some(Box::new(decision)), ..response })
    }

    async fn several(
        &self,
        panel: &[Panelist],
        warnings: Vec<String>,
        log: &mut EventLog,
    ) -> Result<ChatResponse, Error> {
        let deadline = self.engine.longest(self.options);
        let ends = self.started() + deadline;
        let patience = match self.strategy {
            Strategy::Judge if self.config.judge.is_named() => deadline.mul_f64(1.0 - self.config.judge.deadline_share),
            _ => deadline,
        };
        let gathered = self.gather(panel, self.started() + patience, ends, log).await;
        let asked = gathered.asked(panel);
        let mut trail = gathered.trail();
        let mut notes = self.notes(panel, &gathered);
        let Gathered { answers, errors, .. } = gathered;
        if answers.len() < self.config.min_successes {
            return Err(self.too_few(answers.len(), errors, trail));
        }
        let mut usage = answers.iter().fold(Usage::default(), |usage, (_, response)| usage.and(&response.usage));
        let best = answers.iter().map(|(_, response)| self.worth(response)).min().unwrap_or(Worth::Declined);
        let mut compared: Vec<_> = answers.into_iter().filter(|(_, response)| self.worth(response) == best).collect();
        if best == Worth::Declined {
            // Everybody declined: that is the answer, in the words of the best ranked that has any.
            notes.push(fell_back(self.strategy, Strategy::Fastest, "every provider that answered declined"));
            compared.sort_by_key(|(_, response)| response.reply.is_blank());
            let decision = Decision {
                strategy: self.strategy,
                strategy_used: Strategy::Fastest,
                models_queried: asked,
                votes: Vec::new(),
                judge: None,
            };
            let Some((_, response)) = compared.into_iter().next() else {
                return Err(Error::new(ErrorKind::Internal, "answers without an answer"));
            };
            return Ok(self.finish(ChatResponse { usage, ..response }, decision, notes, warnings, trail));
        }
        let ballots = compared.iter().map(|(at, response)| {
            let Panelist { place, weight, priority, win_rate, .. } = panel[*at];
            Ballot { place, weight, priority, win_rate, says: Canonical::of(&response.reply) }
        });
        let count = Count::new(ballots.collect(), self.config.similarity);
        let by_place = |place: usize| compared.iter().find(|(at, _)| panel[*at].place == place);
        let choice = self.choose(&count, ends, log, |place| by_place(place).map(|(_, response)| response)).await;
        let Choice { place, used, notes: more, judge } = choice;
        notes.extend(more);
        // A fallback and a tie say nothing of who was right, and a decision by weight would make the heavy heavier.
        let is_learnt = used == self.strategy && (used == Strategy::Judge || count.is_of_most(place));
        if is_learnt && count.ballots().count() > 1 {
            let won = |ballot: &Ballot| count.agree(ballot.place, place);
            let opinions = count
                .ballots()
                .filter_map(|(ballot, _)| by_place(ballot.place).map(|(at, _)| (&panel[*at].name, won(ballot))));
            self.engine.compared(opinions);
        }
        let votes = count.ballots().filter_map(|(ballot, group)| {
            let (at, response) = by_place(ballot.place)?;
            Some(Vote {
                provider: panel[*at].name.clone(),
                model: response.reply.model.clone(),
                group,
                weight: ballot.weight,
                win_rate: ballot.win_rate,
                winner: ballot.place == place,
            })
        });
        let votes = votes.collect();
        let judge = judge.map(|judged| {
            usage = usage.and(&judged.usage);
            trail.extend(judged.attempts);
            notes.extend(judged.warnings);
            judged.judgement
        });
        let decision = Decision { strategy: self.strategy, strategy_used: used, models_queried: asked, votes, judge };
        let Some((_, winner)) = by_place(place) else {
            return Err(Error::new(ErrorKind::Internal, "the chosen answer is none of the answers"));
        };
        Ok(self.finish(ChatResponse { usage, ..winner.clone() }, decision, notes, warnings, trail))
    }

    /// What the trail does not say of those that have no vote.
    fn notes(&self, panel: &[Panelist], gathered: &Gathered) -> Vec<String> {
        let unsaid = gathered.errors.iter().filter(|(_, error)| is_refusal(error));
        let unsaid = unsaid.map(|(at, error)| format!("strategy: {} was not asked: {error}", panel[*at].name));
        let partial = gathered.answers.iter().filter_map(|(at, response)| {
            let (name, reason) = (&panel[*at].name, response.reply.finish_reason.as_str());
            if response.reply.is_blank() {
                return Some(format!("strategy: the answer of {name} is blank: it has no vote"));
            }
            let is_partial = self.worth(response) == Worth::Partial;
            is_partial.then(|| {
                format!("strategy: the answer of {name} is not whole ({reason}): it stands behind those that are")
            })
        });
        unsaid.chain(partial).collect()
    }

    fn finish(
        &self,
        response: ChatResponse,
        decision: Decision,
        notes: Vec<String>,
        mut warnings: Vec<String>,
        attempts: Vec<AttemptRecord>,
    ) -> ChatResponse {
        warnings.extend(response.warnings);
        warnings.extend(notes);
        ChatResponse {
            warnings,
            attempts,
            latency: time::now().mono.duration_since(self.started()),
            decision: Some(Box::new(decision)),
            ..response
        }
    }

    async fn choose<'r>(
        &self,
        count: &Count,
        ends: Instant,
        log: &mut EventLog,
        answer: impl Fn(usize) -> Option<&'r ChatResponse>,
    ) -> Choice {
        let mut choice = Choice { place: 0, used: self.strategy, notes: Vec::new(), judge: None };
        if let [only] = count.distinct()[..]
            && count.ballots().count() == 1
        {
            let why = "there is only one answer to choose from";
            choice.notes.push(fell_back(self.strategy, Strategy::Fastest, why));
            return Choice { place: only, used: Strategy::Fastest, ..choice };
        }
        let mut strategy = self.strategy;
        loop {
            let (found, next, why) = match strategy {
                Strategy::Judge => {
                    let judged = self.judge(count, ends, log, &answer).await;
                    let place = judged.place;
                    let why = match judged.judgement.outcome {
                        JudgeOutcome::Missing => "ensemble.judge names nobody",
                        JudgeOutcome::Failed => "the judge did not answer",
                        JudgeOutcome::Unreadable => "the judge named none of the answers",
                        JudgeOutcome::Chose | JudgeOutcome::Unanimous => "",
                    };
                    choice.judge = Some(judged);
                    (place, Strategy::Voting, why)
                }
                Strategy::Consensus => {
                    let why = "fewer agree than ensemble.agreement asks for";
                    (count.consensus(self.config.agreement), Strategy::Voting, why)
                }
                Strategy::Voting => (count.voting(), Strategy::Weighted, "no two answers agree"),
                Strategy::Weighted | Strategy::Fastest => (count.weighted(), Strategy::Fastest, "there is no answer"),
            };
            if let Some(place) = found {
                return Choice { place, used: strategy, ..choice };
            }
            choice.notes.push(fell_back(strategy, next, why));
            if strategy == Strategy::Fastest {
                return choice;
            }
            strategy = next;
        }
    }

    /// Has the answers compared.
    async fn judge<'r>(
        &self,
        count: &Count,
        ends: Instant,
        log: &mut EventLog,
        answer: impl Fn(usize) -> Option<&'r ChatResponse>,
    ) -> Judged {
        let judge = &self.config.judge;
        let nobody = |outcome, place| Judged {
            judgement: Judgement { provider: None, model: None, outcome },
            place,
            warnings: Vec::new(),
            usage: Usage::default(),
            attempts: Vec::new(),
        };
        if count.is_unanimous() {
            return nobody(JudgeOutcome::Unanimous, count.voting());
        }
        if !judge.is_named() {
            return nobody(JudgeOutcome::Missing, None);
        }
        let places = count.distinct();
        let replies: Vec<_> =
            places.iter().filter_map(|place| answer(*place)).map(|response| &response.reply).collect();
        let order = judging::reading_order(&replies);
        let read: Vec<_> = order.iter().map(|at| replies[*at]).collect();
        let question = judging::question(self.request, &read, judge.model.as_deref(), judge.max_tokens);
        let mut warnings: Vec<String> = judging::not_shown(self.request).into_iter().collect();
        // On behalf of whom the others were asked, and as they were; only whom, and for how long, is the judge's own.
        let options = CallOptions {
            providers: judge.provider.iter().map(ToString::to_string).collect(),
            deadline: Some(ends.saturating_duration_since(time::now().mono)),
            submitted: None,
            task: None,
            ..self.options.clone()
        };
        match self.engine.chat(&question, &options, Vec::new(), log, std::future::pending()).await {
            Ok(response) => {
                let chosen = judging::verdict(&response.reply.content, read.len()).map(|number| places[order[number]]);
                let outcome = if chosen.is_some() { JudgeOutcome::Chose } else { JudgeOutcome::Unreadable };
                let judgement =
                    Judgement { provider: Some(response.provider), model: Some(response.reply.model), outcome };
                let (usage, attempts) = (response.usage, response.attempts);
                warnings.extend(response.warnings.into_iter().map(|warning| format!("judge: {warning}")));
                Judged { judgement, place: chosen, warnings, usage, attempts }
            }
            Err(error) => {
                let attempts = error.context().attempts.clone();
                let asked = attempts.iter().rfind(|line| !line.outcome.sent_nothing());
                let judgement = Judgement {
                    provider: asked.map(|line| line.provider.clone()),
                    model: asked.map(|line| line.model.clone()),
                    outcome: JudgeOutcome::Failed,
                };
                Judged { judgement, warnings, attempts, ..nobody(JudgeOutcome::Failed, None) }
            }
        }
    }

    /// Fewer answers than are needed.
    fn too_few(&self, count: usize, errors: Vec<(usize, Error)>, attempts: Vec<AttemptRecord>) -> Error {
        let least = self.config.min_successes;
        // What a provider said goes before what one could not be asked.
        let (unsaid, said): (Vec<_>, Vec<_>) = errors.into_iter().partition(|(_, error)| is_refusal(error));
        let first = said.into_iter().chain(unsaid).next().map(|(_, error)| error).unwrap_or_else(|| {
            let allowed = self.engine.longest(self.options).as_millis();
            let message = format!("the call's deadline of {allowed} ms has passed");
            Error::new(ErrorKind::Timeout { phase: Phase::Deadline, failure: None }, message)
        });
        let context = Context { request_id: self.options.request_id.clone(), attempts, ..first.context().clone() };
        if count == 0 {
            return first.with_context(context);
        }
        let message = format!("{count} of at least {least} providers (ensemble.min_successes) have answered: {first}");
        Error::new(first.kind().clone(), message).with_context(context)
    }
}

/// Refused before it was sent: this provider cannot say the request.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidRequest { .. })
}
