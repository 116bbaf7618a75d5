//! One call from start to end: who is asked next, what is waited for, when it is over.
//!
//! 1. **Visits.** Every eligible provider, and every usable key of it, is asked at most once, in ranked order, without
//!    any sleep in between.
//! 2. **Waits and retries.** When nobody is left to visit, the soonest of two things happens: a provider that a limit
//!    kept back becomes free (costs nothing, it is still a first visit), or a provider that failed in a way that allows
//!    it is asked again (costs one of `max_retries` and a withdrawal from the pool's retry budget).
//! 3. **The repair.** A refusal that names one optional parameter is asked again at once without it, at the same
//!    provider and key; once per call.
//! 4. **The end.** The caller's own fault is thrown at once. When nothing is left, or nothing will be possible in time,
//!    the call fails at once with the reason and the exact wait; it never sleeps to find out.

mod ask;
mod embed;
mod errors;
mod headers;
mod hedge;
mod order;
mod wait;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use self::ask::{Asked, Call};
use self::embed::Gathered;
use self::errors::no_provider;
use self::headers::call_headers;
pub(super) use self::hedge::Hedges;
pub(super) use self::order::{Chance, Wish};
use self::order::{into_tiers, order_first_tier};
use self::wait::Standing;
use super::attempt::{Answer, Own, Whole};
use super::gate::Slot;
use super::line::Ticket;
use super::mask::Mask;
use super::needs::Needs;
use super::provider::{Asking, Provider};
use super::refusal::Refusal;
use super::roster::Roster;
use super::stream::ChatStream;
use super::turn::Task;
use super::work::Work;
use super::{Engine, lock};
use crate::error::{Context, Error, ErrorKind, Failure, FailureClass, Phase, Reason, Scope};
use crate::event::{Event, EventKind, EventLog, millis};
use crate::metrics::Route;
use crate::policy::{HedgeParams, Pace, Tokens, Transition};
use crate::schema::Schema;
use crate::time::{self, Instant, Now};
use crate::tokens::PromptSize;
use crate::types::{
    AttemptOutcome, AttemptRecord, CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, FieldError,
    NanoUsd, ProviderName, RequestId, ResponseFormat, Usage,
};

/// Answers that do not fit the caller's schema after which one more is asked for: what two models cannot keep to is likely
/// the schema's fault, and every try is paid for.
const MOST_VIOLATIONS: u32 = 1;

/// What a call came to, with the events that ride along.
pub struct Completed<T> {
    pub result: Result<T, Error>,
    pub events: Vec<Event>,
}

impl Engine {
    /// Answers one request, unless `ended` says first why the call is over. Dropping the future cancels the call: the
    /// socket closes, what was reserved returns.
    pub async fn chat(
        &self,
        request: &ChatRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatResponse, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Chat, options, warnings, log);
        let result = unless(ended, pin!(run.whole(request, options))).await;
        result.map_err(|error| run.give_context(error))
    }

    /// Makes embeddings, batch after batch, all by one provider.
    pub async fn embed(
        &self,
        request: &EmbedRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<EmbedResponse, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Embed, options, warnings, log);
        let result = unless(ended, pin!(run.embed(request, options))).await;
        result.map_err(|error| run.give_context(error))
    }

    /// Opens a stream at its first content; until then every failure fails over.
    pub async fn stream(
        self: &Arc<Self>,
        request: Arc<ChatRequest>,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatStream, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Stream, options, warnings, log);
        let opened = unless(ended, pin!(run.first(Work::Stream(&request), options))).await;
        match opened {
            Ok((Answer::Stream(open), _)) => {
                let interest = Arc::clone(&self.interest);
                let told = run.handover();
                Ok(ChatStream::new(*open, Arc::clone(self), Arc::clone(&request), told, EventLog::new(interest)))
            }
            Ok(_) => Err(Error::new(ErrorKind::Internal, "a stream came back as something else")),
            Err(error) => Err(run.give_context(error)),
        }
    }
}

impl Engine {
    /// Runs a function of the caller's own where a chat would be asked, for `model` or each provider's own one.
    pub async fn execute(
        &self,
        task: &dyn Task,
        model: Option<&str>,
        options: &CallOptions,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<Executed, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Execute, options, Vec::new(), log);
        let result = unless(ended, pin!(run.own(Work::Own { model, task }, options))).await;
        result.map_err(|error| run.give_context(error))
    }
}

/// How a call of a function of the caller's own went.
#[derive(Debug, Clone)]
pub struct Executed {
    pub provider: ProviderName,
    pub model: String,
    /// What the function said it used.
    pub usage: Usage,
    /// `None`: unknown.
    pub cost: Option<NanoUsd>,
    pub request_id: RequestId,
    pub latency: Duration,
    pub attempts: Vec<AttemptRecord>,
}

/// The call, unless it is over before. It comes pinned: moved in, its kilobytes of state would stand in its caller's
/// state twice.
async fn unless<T>(
    ended: impl Future<Output = Error>,
    call: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    tokio::select! {
        // In this order: an answer that is here goes over an end that came with it.
        biased;
        result = call => result,
        error = ended => Err(error),
    }
}

/// What a stream takes over from the run that opened it.
pub(super) struct Handover {
    pub request_id: RequestId,
    pub started: Instant,
    pub deadline: Instant,
    pub trail: Vec<AttemptRecord>,
    pub warnings: Vec<String>,
    pub mask: Arc<Mask>,
    pub errors: u32,
    pub excluded: Vec<ProviderName>,
    pub own_time: Duration,
    pub schema: Option<Arc<Schema>>,
}

/// A provider as one call sees it.
struct Visit {
    provider: Arc<Provider>,
    model: String,
    /// Lower tiers come first; a visit's place in its tier is known once the call has come to it.
    tier: (bool, u32),
    rank: usize,
    /// Fields of the request that it refused and gets no more.
    without: Vec<String>,
    /// Keys this call has used there.
    tried: Vec<u32>,
    attempts: u32,
    /// Nothing more may be asked of it as a first visit.
    visited: bool,
    /// It says it has nothing left, and others are asked first.
    spared: bool,
    /// It failed in a way that allows asking again.
    again: Option<Again>,
    /// The latest refusal since it was last asked.
    refusal: Option<Refusal>,
    /// The class of its latest failure.
    failed: Option<FailureClass>,
    /// The vectors it gave to this call.
    gathered: Gathered,
}

impl Visit {
    fn new(provider: Arc<Provider>, model: String) -> Self {
        Self {
            provider,
            model,
            tier: (false, 0),
            rank: 0,
            without: Vec::new(),
            tried: Vec::new(),
            attempts: 0,
            visited: false,
            spared: false,
            again: None,
            refusal: None,
            failed: None,
            gathered: Gathered::default(),
        }
    }
}

/// A failure after which the same provider may be asked again.
struct Again {
    rate_signal: bool,
    /// When the provider said it would be ready, if it said so.
    ready: Option<Instant>,
}

struct Run<'a> {
    engine: &'a Engine,
    roster: &'a Arc<Roster>,
    route: Route,
    log: &'a mut EventLog,
    request_id: RequestId,
    started: Now,
    deadline: Instant,
    max_retries: u32,
    failover: bool,
    wish: Wish<'a>,
    /// So many visits are in their final order.
    ordered: usize,
    retries: u32,
    trail: Vec<AttemptRecord>,
    /// The prompt was too long for a window of so many tokens.
    window_above: Option<u64>,
    /// Lines of the trail whose attempts are under way: one, or two when a call is hedged.
    asking: [Option<Asked>; 2],
    /// How it may be sent a second time; `None` also once it was.
    hedge: Option<&'a HedgeParams>,
    warnings: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    mask: Arc<Mask>,
    errors: u32,
    excluded: Vec<ProviderName>,
    last: Option<(ProviderName, String, Failure)>,
    /// Why a provider's dialect could not say the request.
    unsendable: Option<FieldError>,
    /// A parameter that a provider refused was left out: that is done once.
    repaired: bool,
    /// What the answer must fit, compiled once.
    schema: Option<Arc<Schema>>,
    /// Answers that did not.
    violations: u32,
    /// The visit that has given a batch and is to give the next one.
    stay: Option<usize>,
    /// How long the prompt is; only where a provider of the call limits tokens.
    prompt: Option<PromptSize>,
    /// The bound that the call sets its answer.
    answer_tokens: Option<u32>,
    /// When the backoff before the next retry ends, once there is one.
    backoff_until: Option<Instant>,
    /// The retry budget was asked for the retry that is waited for.
    paid: bool,
    /// Since when it waits for capacity, from its first wait on.
    ticket: Option<Ticket>,
    /// First visits are left, and no slot of the pool is free for them: which is the first.
    pool_is_full_for: Option<usize>,
    /// In line now.
    standing: Option<Standing<'a>>,
    /// Waited since the last line of the trail.
    waited: Duration,
    /// Waited for capacity, in all.
    queued: Duration,
    /// All waits and upstream time, to be taken from the latency for the pool's own overhead.
    not_ours: Duration,
    /// The totals know how it ended.
    closed: bool,
}

impl<'a> Run<'a> {
    fn new(
        engine: &'a Engine,
        roster: &'a Arc<Roster>,
        route: Route,
        options: &'a CallOptions,
        warnings: Vec<String>,
        log: &'a mut EventLog,
    ) -> Self {
        let now = time::now();
        let started = Now { mono: options.submitted.map_or(now.mono, Instant::from_std), ..now };
        let routing = roster.routing();
        let limits = roster.limits();
        let deadline = options.deadline.unwrap_or(limits.deadline).min(limits.qos.max_deadline);
        lock(&engine.tally).started();
        let failover = options.failover.unwrap_or(routing.enable_failover);
        let hedge = limits.qos.hedge.as_ref().filter(|_| failover);
        if hedge.is_some() {
            lock(&engine.hedges).budget.call();
        }
        Self {
            engine,
            roster,
            route,
            log,
            request_id: options.request_id.clone().unwrap_or_else(new_request_id),
            deadline: started.mono + deadline,
            started,
            max_retries: options.max_retries.unwrap_or(routing.max_retries),
            failover,
            wish: Wish {
                behaviour: options.behaviour.unwrap_or(routing.behaviour),
                session: options.session.as_deref(),
                pace: if matches!(route, Route::Stream) { Pace::FirstContent } else { Pace::Whole },
            },
            ordered: 0,
            retries: 0,
            trail: Vec::new(),
            window_above: None,
            asking: [None; 2],
            hedge,
            warnings,
            headers: Vec::new(),
            mask: Arc::clone(roster.mask()),
            errors: 0,
            excluded: Vec::new(),
            last: None,
            unsendable: None,
            repaired: false,
            stay: None,
            prompt: None,
            answer_tokens: None,
            backoff_until: None,
            paid: false,
            ticket: None,
            pool_is_full_for: None,
            standing: None,
            schema: None,
            violations: 0,
            waited: Duration::ZERO,
            queued: Duration::ZERO,
            not_ours: Duration::ZERO,
            closed: false,
        }
    }

    async fn whole(&mut self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        let (Answer::Whole(whole), name) = self.first(Work::Chat(request), options).await? else {
            return Err(Error::new(ErrorKind::Internal, "a whole answer came back as something else"));
        };
        let Whole { mut reply, parsed, usage, cost, warnings: own, .. } = whole;
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(own);
        if reply.id.is_empty() {
            reply.id = self.request_id.to_string();
        }
        if reply.model.is_empty() {
            let answered = self.trail.iter().rfind(|line| line.outcome == AttemptOutcome::Success);
            reply.model = answered.map(|line| line.model.clone()).unwrap_or_default();
        }
        if reply.created == 0 {
            reply.created = self.started.unix_ms / 1000;
        }
        let latency = self.succeed(&name, &reply.model, usage, cost);
        Ok(ChatResponse {
            parsed,
            reply,
            usage,
            cost,
            provider: name,
            request_id: self.request_id.clone(),
            latency,
            warnings,
            attempts: std::mem::take(&mut self.trail),
            cached: false,
        })
    }

    async fn own(&mut self, work: Work<'_>, options: &CallOptions) -> Result<Executed, Error> {
        let (Answer::Own(Own { usage, cost, .. }), provider) = self.first(work, options).await? else {
            return Err(Error::new(ErrorKind::Internal, "a function of the caller's came back as something else"));
        };
        let model = self.trail.last().map(|line| line.model.clone()).unwrap_or_default();
        let latency = self.succeed(&provider, &model, usage, cost);
        let attempts = std::mem::take(&mut self.trail);
        Ok(Executed { provider, model, usage, cost, request_id: self.request_id.clone(), latency, attempts })
    }

    /// Books a call that was answered, and says how long it took.
    fn succeed(&mut self, provider: &ProviderName, model: &str, usage: Usage, cost: Option<NanoUsd>) -> Duration {
        let now = time::now();
        let latency = now.mono.duration_since(self.started.mono);
        self.closed = true;
        lock(&self.engine.tally).succeeded(now.unix_ms, self.route, latency, latency.saturating_sub(self.not_ours));
        self.log.emit(EventKind::RequestSuccess, || Event::RequestSuccess {
            request_id: self.request_id.clone(),
            provider: provider.clone(),
            model: model.to_owned(),
            attempt: self.errors + 1,
            latency_ms: millis(latency),
            usage,
            cost,
            cached: false,
            total_errors: self.errors,
            excluded_providers: self.excluded.clone(),
        });
        latency
    }

    /// The first answer that comes, and who gave it.
    async fn first(&mut self, work: Work<'_>, options: &CallOptions) -> Result<(Answer, ProviderName), Error> {
        let mut visits = self.begin(work, options)?;
        let (answer, at) = self.drive(&mut visits, &Call::new(work, options)).await?;
        Ok((answer, visits[at].provider.name().clone()))
    }

    /// Reads the call's own headers and finds who may answer.
    fn begin(&mut self, work: Work<'_>, options: &CallOptions) -> Result<Vec<Visit>, Error> {
        self.headers = call_headers(options, &mut self.warnings)?;
        if !self.headers.is_empty() {
            // Which of a caller's headers is a password is known only to the caller.
            self.mask = Arc::new(self.mask.with(options.headers.iter().map(|(_, value)| value.as_str())));
        }
        if let Some(ResponseFormat::JsonSchema(format)) = work.request().and_then(|call| call.response_format.as_ref())
        {
            self.schema = Some(Arc::new(Schema::compile(format.get("schema").unwrap_or(&Value::Null))?));
        }
        let visits = self.eligible(work, options)?;
        // Counting costs time that a call without such limits need not spend.
        let counts = |visit: &Visit| visit.provider.config().rate.counts_tokens();
        if let Some(request) = work.request().filter(|_| visits.iter().any(counts)) {
            self.prompt = Some(PromptSize::of(request));
            self.answer_tokens = request.max_tokens;
        }
        Ok(visits)
    }

    /// The loop. The answer is that of one attempt, with the place of the visit that made it.
    async fn drive(&mut self, visits: &mut [Visit], call: &Call<'_>) -> Result<(Answer, usize), Error> {
        loop {
            let now = time::now();
            if now.mono >= self.deadline {
                return Err(self.out_of_time());
            }
            if let Some((at, admitted)) = self.next_visit(visits, now) {
                let answer = match self.hedge_after(&visits[at], call.work) {
                    None => self.ask(&mut visits[at], admitted, now.mono, call).await?.map(|answer| (answer, at)),
                    // Boxed, so that calls without a hedge do not carry the room for two attempts.
                    Some(after) => Box::pin(self.ask_hedged(visits, at, admitted, now.mono, after, call)).await?,
                };
                match answer {
                    Some(answer) => return Ok(answer),
                    None => continue,
                }
            }
            let next = self.options(visits, now);
            let Some(first) = next.first() else {
                if self.failover && self.stay.take().is_some() {
                    continue; // what it gave so far does not mix with another's: that one begins anew
                }
                return Err(self.exhausted(visits, now));
            };
            if first.retry && !self.paid {
                self.paid = self.withdraw_retry(&visits[first.at], now);
                if !self.paid {
                    // A first visit that is still to come draws on nothing and may yet answer.
                    self.max_retries = self.retries;
                    continue;
                }
            }
            self.wait(&next, visits).await?;
            let now = time::now();
            let due = first.turn || now.mono >= first.when;
            if first.retry && due && now.mono < self.deadline {
                let visit = &mut visits[first.at];
                visit.tried.clear();
                visit.again = None;
                match self.admit(visit, &[], now) {
                    Ok(admitted) => {
                        visit.refusal = None;
                        self.paid = false;
                        self.retries += 1;
                        lock(&self.engine.tally).retried(now.unix_ms);
                        let visit = &mut visits[first.at];
                        if let Some(answer) = self.ask(visit, admitted, now.mono, call).await? {
                            return Ok((answer, first.at));
                        }
                    }
                    Err(refusal) => self.note_refusal(visit, refusal, now),
                }
            }
        }
    }

    /// The providers that may answer, best first.
    fn eligible(&self, work: Work<'_>, options: &CallOptions) -> Result<Vec<Visit>, Error> {
        let providers = self.roster.providers();
        if let Some(unknown) = options.providers.iter().find(|name| self.roster.find(name).is_none()) {
            let known: Vec<_> = providers.iter().map(|provider| provider.name().as_str()).collect();
            return Err(FieldError {
                field: "providers".to_owned(),
                message: format!("there is no provider {unknown:?}; there are {known:?}"),
            }
            .into());
        }
        let mut reasons = Vec::new();
        let mut visits = Vec::with_capacity(providers.len());
        let mut last_resort = Vec::new();
        let asked = work.model();
        let mut needs = Needs::of(work);
        for provider in providers {
            let name = provider.name();
            let by_name = options.providers.iter().any(|n| n == name.as_str());
            let reason = if !options.providers.is_empty() && !by_name {
                "not among this call's providers".to_owned()
            } else if !provider.config().enabled {
                "disabled".to_owned()
            } else if provider.config().weight == 0 && !by_name {
                "its weight is 0: only asked by its name".to_owned()
            } else if let Some(model) = provider.resolve_model(asked) {
                let visit = Visit::new(Arc::clone(provider), model.to_owned());
                let Some(unmet) = needs.unmet(model, provider.endpoint().facts(model)) else {
                    visits.push(visit);
                    continue;
                };
                last_resort.extend(unmet.last_resort.then_some(visit));
                unmet.reason
            } else {
                format!("does not serve the model {:?}", asked.unwrap_or_default())
            };
            reasons.push(Reason { provider: name.clone(), reason });
        }
        if visits.is_empty() {
            visits = last_resort;
        }
        if visits.is_empty() {
            return Err(no_provider(reasons));
        }
        let behaviour = self.wish.behaviour;
        lock(&self.engine.tally).planned(behaviour.as_str());
        into_tiers(&mut visits, behaviour);
        Ok(visits)
    }

    /// The next first visit that can go out now. Providers that say they have nothing left come after all the others.
    fn next_visit(&mut self, visits: &mut [Visit], now: Now) -> Option<(usize, Admitted)> {
        let mut slot = None;
        self.pool_is_full_for = None;
        let found = self.visit_in_order(visits, now, &mut slot, true);
        if found.is_some() || self.pool_is_full_for.is_some() {
            return found;
        }
        self.visit_in_order(visits, now, &mut slot, false)
    }

    /// The first of the visits in order that can go out now, with the `slot` or with one that is taken for it: of all
    /// those that do not have to be spared, or else of those that were.
    fn visit_in_order(
        &mut self,
        visits: &mut [Visit],
        now: Now,
        slot: &mut Option<Slot>,
        sparing: bool,
    ) -> Option<(usize, Admitted)> {
        let asked = self.asked_only(visits);
        let above = self.window_above;
        let is_left = |visit: &Visit| !visit.visited && (sparing || visit.spared) && fits(above, visit);
        // Before the tiers are put in order, so that what has changed in a wait for it counts.
        if slot.is_none() {
            let first = (0..visits.len()).find(|at| asked.is_none_or(|asked| asked == *at) && is_left(&visits[*at]))?;
            *slot = Some(self.slot_for(visits, first, now)?);
        }
        for at in 0..visits.len() {
            if asked.is_some_and(|asked| asked != at) {
                continue;
            }
            if at == self.ordered {
                self.ordered += order_first_tier(&mut visits[at..], self.wish, now, &self.engine.chance);
            }
            let visit = &mut visits[at];
            if !is_left(visit) {
                continue;
            }
            visit.spared = false;
            match visit.provider.admit(now, &Asking { sparing, ..self.wants(visit, &visit.tried) }) {
                Ok((mut permit, moved)) => {
                    permit.occupy(slot.take());
                    visit.refusal = None;
                    lock(&self.engine.budget).first_visit(now.mono);
                    return Some((at, (permit, moved)));
                }
                Err(Refusal::KeysTried) => visit.visited = true,
                Err(Refusal::Spent) => visit.spared = true,
                Err(refusal) => self.note_refusal(visit, refusal, now),
            }
        }
        None
    }

    /// A slot of the pool for a first visit. Without one the others cannot be asked either, and what they said before is
    /// out of date.
    fn slot_for(&mut self, visits: &mut [Visit], at: usize, now: Now) -> Option<Slot> {
        match self.slot() {
            Ok(slot) => Some(slot),
            Err(refusal) => {
                visits.iter_mut().filter(|visit| !visit.visited).for_each(|visit| visit.refusal = None);
                self.note_refusal(&mut visits[at], refusal, now);
                self.pool_is_full_for = Some(at);
                None
            }
        }
    }

    /// One provider, past the keys in `tried`.
    fn admit(&self, visit: &Visit, tried: &[u32], now: Now) -> Result<Admitted, Refusal> {
        let slot = self.slot()?;
        let (mut permit, moved) = visit.provider.admit(now, &self.wants(visit, tried))?;
        permit.occupy(Some(slot));
        Ok((permit, moved))
    }

    /// A slot of the pool.
    fn slot(&self) -> Result<Slot, Refusal> {
        let most = self.roster.routing().max_concurrent;
        let slot = self.engine.gate.enter(most, self.ticket);
        slot.ok_or_else(|| Refusal::PoolBusy { limit: most.unwrap_or(u32::MAX) })
    }

    fn wants<'v>(&self, visit: &'v Visit, tried: &'v [u32]) -> Asking<'v> {
        let tokens = self.prompt.as_ref().map_or_else(Tokens::default, |prompt| {
            let answer = self.answer_tokens.or(visit.provider.config().max_tokens);
            let prompt = visit.provider.counter(&visit.model).estimate(prompt);
            Tokens { prompt, answer: answer.map_or(0, u64::from) }
        });
        Asking { model: &visit.model, tried, tokens, ticket: self.ticket, sparing: false }
    }

    /// Without failover a call stays with the provider it asked first, and between two batches with the one that gave
    /// the last.
    fn asked_only(&self, visits: &[Visit]) -> Option<usize> {
        let first = || visits.iter().position(|visit| visit.attempts > 0);
        self.stay.or_else(|| if self.failover { None } else { first() })
    }

    /// Puts a refusal on the trail, once per provider and kind until that provider is asked: a call that waits meets the
    /// same ones many times.
    fn note_refusal(&mut self, visit: &mut Visit, refusal: Refusal, now: Now) {
        let (name, outcome) = (visit.provider.name(), refusal.outcome());
        let of_it = self.trail.iter().rev().filter(|line| line.provider == *name);
        if !of_it.take_while(|line| line.outcome.sent_nothing()).any(|line| line.outcome == outcome) {
            self.trail.push(AttemptRecord {
                provider: visit.provider.name().clone(),
                model: visit.model.clone(),
                key_index: None,
                outcome,
                error_class: None,
                status: None,
                latency: Duration::ZERO,
                waited: std::mem::take(&mut self.waited),
            });
            self.log.debug(|| format!("{}: skipped: {}", visit.provider.name(), refusal.describe(now.mono)));
            if let Refusal::Limit { kind, not_before } = &refusal {
                let reset_at = not_before.map(|at| unix_ms_of(at, now));
                self.log.emit(EventKind::RateLimited, || Event::RateLimited {
                    provider: visit.provider.name().clone(),
                    kind: kind.as_str(),
                    reset_at,
                });
            }
        }
        visit.refusal = Some(refusal);
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
            let window = visit.provider.endpoint().facts(&visit.model).context_window;
            self.window_above = self.window_above.max(window);
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
            retryable: goes_on && (failure.same_provider_again() || class.another_provider()),
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
            // Only to who is known to read more; should there be nobody, the call ends with this failure.
            FailureClass::ContextLength => self.window_above.is_some(),
            _ => false,
        }
    }

    /// Asks the pool's retry budget; a refusal goes on the trail.
    fn withdraw_retry(&mut self, visit: &Visit, now: Now) -> bool {
        if lock(&self.engine.budget).withdraw(now.mono) {
            return true;
        }
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

    /// Books a call that ended without an answer, and says in its error what was tried.
    fn give_context(&mut self, error: Error) -> Error {
        let now = time::now();
        for Asked { line, since, .. } in self.asking.into_iter().flatten() {
            if let Some(line) = self.trail.get_mut(line) {
                line.latency = now.mono.duration_since(since);
            }
        }
        // A call that was ended from outside stays what its drop makes of it: cancelled.
        if !error.is_cancellation() {
            self.closed = true;
            let out_of_time = matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. });
            let duration = now.mono.duration_since(self.started.mono);
            lock(&self.engine.tally).failed(now.unix_ms, self.route, duration, out_of_time);
        }
        let context = error.context().clone();
        error.with_context(Context {
            request_id: Some(self.request_id.clone()),
            attempts: std::mem::take(&mut self.trail),
            ..context
        })
    }

    fn handover(&mut self) -> Handover {
        self.closed = true;
        Handover {
            request_id: self.request_id.clone(),
            started: self.started.mono,
            deadline: self.deadline,
            trail: std::mem::take(&mut self.trail),
            warnings: std::mem::take(&mut self.warnings),
            mask: Arc::clone(&self.mask),
            errors: self.errors,
            excluded: std::mem::take(&mut self.excluded),
            schema: self.schema.take(),
            own_time: time::now().mono.duration_since(self.started.mono).saturating_sub(self.not_ours),
        }
    }
}

impl Drop for Run<'_> {
    /// A run that is dropped on its way was cancelled.
    fn drop(&mut self) {
        if !self.closed {
            lock(&self.engine.tally).cancelled(time::unix_ms(), self.route);
        }
    }
}

type Admitted = (super::permit::Permit, Option<Transition>);

/// Is this model known to read more than one that found the prompt too long?
fn fits(window_above: Option<u64>, visit: &Visit) -> bool {
    window_above.is_none_or(|floor| {
        let window = visit.provider.endpoint().facts(&visit.model).context_window;
        window.is_some_and(|window| window > floor)
    })
}

pub(super) fn tell(log: &mut EventLog, provider: &ProviderName, moved: Transition) {
    let provider = provider.clone();
    match moved {
        Transition::Opened { reason, retry_at } => {
            let retry_at = unix_ms_of(retry_at, time::now());
            log.emit(EventKind::CircuitOpen, || Event::CircuitOpen { provider, reason, retry_at });
        }
        Transition::HalfOpened => log.emit(EventKind::CircuitHalfOpen, || Event::CircuitHalfOpen { provider }),
        Transition::Closed => log.emit(EventKind::CircuitClose, || Event::CircuitClose { provider }),
    }
}

/// A point of the monotonic clock on the wall's.
pub(super) fn unix_ms_of(at: Instant, now: Now) -> u64 {
    let ahead = at.saturating_duration_since(now.mono).as_millis();
    now.unix_ms.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
}

pub(super) fn new_request_id() -> RequestId {
    const LETTERS: usize = 22; // 131 bits of base 62: no two calls share one
    let mut id = String::with_capacity(4 + LETTERS);
    id.push_str("req_");
    id.extend(std::iter::repeat_with(fastrand::alphanumeric).take(LETTERS));
    RequestId::new(id)
}
