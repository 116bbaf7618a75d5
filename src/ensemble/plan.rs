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
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::canonical::Canonical;
use super::decide::{Ballot, Count};
use super::judging;
use crate::config::EnsembleConfig;
use crate::engine::{Engine, Panelist};
use crate::error::{Context, Error, ErrorKind, Phase};
use crate::event::{Event, EventLog};
use crate::time::{self, Instant};
use crate::types::{
    AttemptOutcome, AttemptRecord, CacheWish, CallOptions, ChatRequest, ChatResponse, Decision, FinishReason,
    JudgeOutcome, Judgement, NanoUsd, RequestId, Strategy, Usage, Vote,
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
    let after = engine.ensemble().hedge_after;
    let deadline = engine.longest(options);
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
    let options = CallOptions {
        request_id: Some(options.request_id.clone().unwrap_or_else(RequestId::random)),
        submitted: Some(options.submitted.unwrap_or_else(|| time::now().mono.into_std())),
        strategy: None,
        cache: Some(CacheWish::Off),
        ..options.clone()
    };
    let plan = Plan { engine, config: engine.ensemble(), request, options: &options, strategy };
    if strategy == Strategy::Fastest {
        return plan.fastest(warnings, log).await;
    }
    let panel = engine.panel(request, &options)?;
    if panel.len() < 2 {
        let mut warnings = warnings;
        warnings.push(fell_back(strategy, Strategy::Fastest, "only one provider may answer"));
        return plan.fastest(warnings, log).await;
    }
    plan.several(&panel, warnings, log).await
}

struct Plan<'a> {
    engine: &'a Engine,
    config: Arc<EnsembleConfig>,
    request: &'a ChatRequest,
    options: &'a CallOptions,
    strategy: Strategy,
}

/// How one run of a plan ended.
struct Ended {
    /// Which of the panel it was.
    at: usize,
    result: Result<ChatResponse, Error>,
    events: Vec<Event>,
}

/// What came of all runs.
#[derive(Default)]
struct Gathered {
    /// By place in the panel.
    answers: Vec<(usize, ChatResponse)>,
    /// Answers that decline: they say nothing that could be compared.
    declined: Vec<(usize, ChatResponse)>,
    errors: Vec<(usize, Error)>,
    /// Who was asked and had not answered in time, and since when.
    late: Vec<(usize, Instant)>,
}

/// Who is chosen, by what, and why it was not what was wanted.
struct Choice {
    /// Of the provider in the configuration.
    place: usize,
    used: Strategy,
    notes: Vec<String>,
    judge: Option<(Judgement, Option<ChatResponse>)>,
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
        let gathered = self.gather(panel, self.started() + patience, ends, log).await?;
        let asked = gathered.asked(panel);
        let trail = gathered.trail(panel);
        let Gathered { answers, mut declined, errors, .. } = gathered;
        let least = self.config.min_successes;
        if answers.len() + declined.len() < least {
            return Err(self.too_few(answers.len() + declined.len(), errors, trail));
        }
        if answers.is_empty() {
            // Everybody declined: that is the answer, in the words of the best ranked.
            let (_, response) = declined.remove(0);
            let decision = Decision {
                strategy: self.strategy,
                strategy_used: Strategy::Fastest,
                models_queried: asked,
                votes: Vec::new(),
                judge: None,
            };
            let note = fell_back(self.strategy, Strategy::Fastest, "every provider that answered declined");
            let spent = declined.iter().map(|(_, response)| response).chain([&response]);
            let (usage, cost) = total(spent);
            let response = ChatResponse { usage, cost, ..response };
            return Ok(self.finish(response, decision, vec![note], warnings, trail));
        }
        let ballots = answers.iter().map(|(at, response)| {
            let Panelist { place, weight, priority, win_rate, .. } = panel[*at];
            Ballot { place, weight, priority, win_rate, says: Canonical::of(&response.reply) }
        });
        let count = Count::new(ballots.collect(), self.config.similarity);
        let by_place = |place: usize| answers.iter().find(|(at, _)| panel[*at].place == place);
        let choice = self.choose(&count, ends, log, |place| by_place(place).map(|(_, response)| response)).await;
        let Choice { place, used, notes, judge } = choice;
        if count.ballots().count() > 1 {
            let won = |ballot: &Ballot| count.agree(ballot.place, place);
            let compared = count
                .ballots()
                .filter_map(|(ballot, _)| by_place(ballot.place).map(|(at, _)| (&panel[*at].name, won(ballot))));
            self.engine.compared(compared);
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
        let (judge, judged) = judge.map_or((None, None), |(judge, response)| (Some(judge), response));
        let decision = Decision { strategy: self.strategy, strategy_used: used, models_queried: asked, votes, judge };
        let all = answers.iter().chain(&declined).map(|(_, response)| response).chain(&judged);
        let (usage, cost) = total(all);
        let mut trail = trail;
        trail.extend(judged.iter().flat_map(|response| response.attempts.iter().cloned()));
        let Some((_, winner)) = by_place(place) else {
            return Err(Error::new(ErrorKind::Internal, "the chosen answer is none of the answers"));
        };
        let response = ChatResponse { usage, cost, ..winner.clone() };
        Ok(self.finish(response, decision, notes, warnings, trail))
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

    /// Asks the panel. Those that had not answered by `until` are left, unless nobody has: then the first answer before
    /// `ends` will do.
    async fn gather(
        &self,
        panel: &[Panelist],
        until: Instant,
        ends: Instant,
        log: &mut EventLog,
    ) -> Result<Gathered, Error> {
        let mut waiting = 0..panel.len();
        let mut asking = FuturesUnordered::new();
        let mut late = Vec::new();
        for at in waiting.by_ref().take(self.config.max_parallel) {
            late.push((at, time::now().mono));
            asking.push(self.ask(at, &panel[at]));
        }
        let mut gathered = Gathered::default();
        loop {
            let patience = if gathered.answers.is_empty() { ends } else { until };
            let Ok(Some(Ended { at, result, events })) = time::until(Some(patience), asking.next()).await else {
                break;
            };
            late.retain(|(asked, _)| *asked != at);
            log.absorb(events);
            match result {
                Ok(response) if declines(&response) => gathered.declined.push((at, response)),
                Ok(response) => gathered.answers.push((at, response)),
                // Wrong before it was sent to anybody: it would be for each of them.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidRequest { .. }) => return Err(error),
                Err(error) => {
                    gathered.errors.push((at, error));
                    if let Some(at) = waiting.next() {
                        late.push((at, time::now().mono));
                        asking.push(self.ask(at, &panel[at]));
                    }
                }
            }
        }
        drop(asking); // closes their sockets, and books them
        gathered.late = late;
        gathered.sort();
        Ok(gathered)
    }

    /// One provider's run.
    fn ask<'p>(&'p self, at: usize, panelist: &Panelist) -> BoxFuture<'p, Ended> {
        let options = CallOptions { providers: vec![panelist.name.to_string()], ..self.options.clone() };
        Box::pin(async move {
            let mut log = self.engine.new_log();
            let never = std::future::pending();
            let result = self.engine.chat(self.request, &options, Vec::new(), &mut log, never).await;
            Ended { at, result, events: log.take() }
        })
    }

    async fn choose<'r>(
        &self,
        count: &Count,
        ends: Instant,
        log: &mut EventLog,
        answer: impl Fn(usize) -> Option<&'r ChatResponse>,
    ) -> Choice {
        let mut choice = Choice { place: 0, used: self.strategy, notes: Vec::new(), judge: None };
        if let [only] = count.speakers()[..]
            && count.ballots().count() == 1
        {
            let why = "only one provider has answered";
            choice.notes.push(fell_back(self.strategy, Strategy::Fastest, why));
            return Choice { place: only, used: Strategy::Fastest, ..choice };
        }
        let mut strategy = self.strategy;
        loop {
            let (found, next, why) = match strategy {
                Strategy::Judge => {
                    let (judgement, response, place) = self.judge(count, ends, log, &answer).await;
                    let why = match judgement.outcome {
                        JudgeOutcome::Missing => "ensemble.judge names nobody",
                        JudgeOutcome::Failed => "the judge did not answer",
                        JudgeOutcome::Unreadable => "the judge named none of the answers",
                        JudgeOutcome::Chose | JudgeOutcome::Unanimous => "",
                    };
                    choice.judge = Some((judgement, response));
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

    /// Has the answers compared. The place of the chosen one, if one was chosen.
    async fn judge<'r>(
        &self,
        count: &Count,
        ends: Instant,
        log: &mut EventLog,
        answer: impl Fn(usize) -> Option<&'r ChatResponse>,
    ) -> (Judgement, Option<ChatResponse>, Option<usize>) {
        let judge = &self.config.judge;
        let said = |outcome| Judgement { provider: judge.provider.clone(), model: judge.model.clone(), outcome };
        if count.is_unanimous() {
            return (said(JudgeOutcome::Unanimous), None, count.voting());
        }
        if !judge.is_named() {
            return (said(JudgeOutcome::Missing), None, None);
        }
        let places = count.speakers();
        let replies: Vec<_> =
            places.iter().filter_map(|place| answer(*place)).map(|response| &response.reply).collect();
        let order = judging::reading_order(&replies);
        let read: Vec<_> = order.iter().map(|at| replies[*at]).collect();
        let question = judging::question(self.request, &read, judge.model.as_deref(), judge.max_tokens);
        let options = CallOptions {
            providers: judge.provider.iter().map(ToString::to_string).collect(),
            deadline: Some(ends.saturating_duration_since(time::now().mono)),
            request_id: self.options.request_id.clone(),
            cache: Some(CacheWish::Off),
            ..CallOptions::default()
        };
        match self.engine.chat(&question, &options, Vec::new(), log, std::future::pending()).await {
            Ok(response) => {
                let chosen = judging::verdict(&response.reply.content, read.len()).map(|number| places[order[number]]);
                let outcome = if chosen.is_some() { JudgeOutcome::Chose } else { JudgeOutcome::Unreadable };
                let judgement = Judgement {
                    provider: Some(response.provider.clone()),
                    model: Some(response.reply.model.clone()),
                    outcome,
                };
                (judgement, Some(response), chosen)
            }
            Err(_) => (said(JudgeOutcome::Failed), None, None),
        }
    }

    /// Fewer answers than are needed.
    fn too_few(&self, count: usize, errors: Vec<(usize, Error)>, attempts: Vec<AttemptRecord>) -> Error {
        let least = self.config.min_successes;
        let first = errors.into_iter().next().map(|(_, error)| error).unwrap_or_else(|| {
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

impl Gathered {
    fn sort(&mut self) {
        self.answers.sort_by_key(|(at, _)| *at);
        self.declined.sort_by_key(|(at, _)| *at);
        self.errors.sort_by_key(|(at, _)| *at);
        self.late.sort_by_key(|(at, _)| *at);
    }

    /// The models that were asked, by rank.
    fn asked(&self, panel: &[Panelist]) -> Vec<String> {
        let ended = self.answers.iter().chain(&self.declined).map(|(at, _)| *at);
        let mut asked: Vec<usize> =
            ended.chain(self.errors.iter().map(|(at, _)| *at)).chain(self.late.iter().map(|(at, _)| *at)).collect();
        asked.sort_unstable();
        asked.into_iter().map(|at| panel[at].model.clone()).collect()
    }

    /// Everybody's attempts, by rank.
    fn trail(&self, panel: &[Panelist]) -> Vec<AttemptRecord> {
        let now = time::now().mono;
        let mut lines: Vec<(usize, Vec<AttemptRecord>)> = Vec::new();
        let answered = self.answers.iter().chain(&self.declined);
        lines.extend(answered.map(|(at, response)| (*at, response.attempts.clone())));
        lines.extend(self.errors.iter().map(|(at, error)| (*at, error.context().attempts.clone())));
        lines.extend(self.late.iter().map(|(at, since)| {
            let line = AttemptRecord {
                provider: panel[*at].name.clone(),
                model: panel[*at].model.clone(),
                key_index: None,
                outcome: AttemptOutcome::Cancelled,
                error_class: None,
                status: None,
                latency: now.duration_since(*since),
                waited: Duration::ZERO,
            };
            (*at, vec![line])
        }));
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().flat_map(|(_, lines)| lines).collect()
    }
}

/// It refuses, or a filter has cut it: nothing that others could agree with.
fn declines(response: &ChatResponse) -> bool {
    response.reply.refusal.is_some() || response.reply.finish_reason == FinishReason::ContentFilter
}

/// What several answers took together. One unknown price makes the sum unknown.
fn total<'r>(responses: impl Iterator<Item = &'r ChatResponse>) -> (Usage, Option<NanoUsd>) {
    responses.fold((Usage::default(), Some(NanoUsd(0))), |(usage, cost), response| {
        let cost = cost.zip(response.cost).map(|(sum, more)| sum.saturating_add(more));
        (usage.and(&response.usage), cost)
    })
}
