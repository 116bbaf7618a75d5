//! Calls that need no run of their own: their answer was kept, or a call that is the same is under way.
//!
//! Calls that are the same share one run. It belongs to none of them: whoever waits for it drives it, and it ends early
//! only when the last one has left. So a caller that goes away takes nothing from those that stay, and nothing goes on
//! for nobody.
//!
//! Of the calls that share a run one is answered as if it had been alone; the others get the same answer as `cached`, at
//! no cost, so that the sum over all answers is what was spent.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::run::Completed;
use super::stream::ChatStream;
use super::{Engine, lock};
use crate::cache::{Key, TooLarge};
use crate::error::{Context, Error, ErrorKind, Phase, Scope};
use crate::event::{Event, EventKind, EventLog, millis};
use crate::metrics::Route;
use crate::time::{self, Instant};
use crate::types::{
    AttemptOutcome, AttemptRecord, CacheWish, CallOptions, ChatRequest, ChatResponse, FinishReason, NanoUsd, RequestId,
};

/// Runs under way that may be shared, by what they answer.
#[derive(Default)]
pub(super) struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    flights: HashMap<Key, Flight>,
    /// Tells two runs of the same key apart.
    begun: u64,
}

struct Flight {
    number: u64,
    run: WeakShared<Run>,
    /// How long its answer is to be kept: the longest that any of those who share it asks for.
    ttl: Arc<Mutex<Duration>>,
}

/// A run that nobody owns.
pub type Run = BoxFuture<'static, Arc<Landed>>;

/// How a shared run ended.
pub struct Landed {
    result: Result<ChatResponse, Error>,
    /// Of the call that began it.
    leeway: Leeway,
    /// Taken by the one call that is answered as if it had been alone.
    events: Mutex<Option<Vec<Event>>>,
}

/// What a call allows its run, as far as calls that share one may differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leeway {
    /// Of one attempt, where the call says it.
    timeout: Option<Duration>,
    /// Of the whole call.
    deadline: Duration,
    max_retries: u32,
    failover: bool,
}

/// What is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    pub key: Key,
    pub ttl: Duration,
    pub keeps: Keeps,
}

/// Which answers are worth giving again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Those that are whole, not declined, and decided by all that were asked.
    Whole,
    /// Whatever it is: it is the answer to this very request.
    Everything,
}

/// What is kept of an answer.
pub(super) struct Answered {
    /// Without its attempts: no call that is given it made them.
    response: ChatResponse,
    /// The model that was asked for, as the provider names it.
    model: String,
}

/// A call that waits for a run it may share. Each run books one call; every other one that waits for it books itself.
struct Caller<'a> {
    engine: &'a Engine,
    route: Route,
    since: Instant,
    /// `None`: what it wanted was kept.
    flight: Option<Shared<Run>>,
    booked: bool,
}

/// Takes a run off the table when it is over, one way or the other.
struct Leaving {
    engine: Arc<Engine>,
    key: Key,
    number: u64,
}

impl Engine {
    /// How long the answer of a call is to be kept; `None`: the call has nothing to do with the cache.
    pub fn keeps(&self, options: &CallOptions) -> Option<Duration> {
        let roster = self.roster();
        let params = roster.cache_params();
        match options.cache {
            None => params.enabled.then_some(params.ttl),
            Some(CacheWish::Off) => None,
            Some(CacheWish::On) => Some(params.ttl),
            Some(CacheWish::For(ttl)) => Some(ttl),
        }
    }

    /// What is kept of this call, as its answer.
    fn kept(&self, keeping: &Keeping, options: &CallOptions, log: &mut EventLog) -> Option<ChatResponse> {
        let kept = self.look_up(keeping)?;
        Some(Caller::new(self, Route::Chat, since(options)).answered(&kept.response, options, log))
    }

    fn look_up(&self, keeping: &Keeping) -> Option<Arc<Answered>> {
        let now = time::now().mono;
        match keeping.keeps {
            Keeps::Whole => self.roster().kept().get(&keeping.key, now),
            Keeps::Everything => self.ids.answers.get(&keeping.key, now),
        }
    }

    /// Keeps an answer, if it is one to be given again.
    pub(super) fn keep(&self, keeping: &Keeping, response: &mut ChatResponse) {
        let Keeping { key, ttl, keeps } = *keeping;
        if !keeps.takes(response) {
            return;
        }
        let attempts = std::mem::take(&mut response.attempts);
        let bytes = response.bytes();
        let kept = Arc::new(Answered { response: response.clone(), model: asked_for(response, &attempts) });
        response.attempts = attempts;
        let now = time::now().mono;
        // Where it cannot be kept, it is good all the same.
        let warning = match keeps {
            Keeps::Whole => self.roster().kept().keep(key, kept, bytes, ttl, now).map_err(|TooLarge { bytes, most }| {
                format!("cache: the answer of about {bytes} bytes is over cache.max_entry_bytes of {most} and was not kept")
            }),
            Keeps::Everything => self.ids.answers.keep(key, kept, bytes, ttl, now).map_err(|TooLarge { bytes, most }| {
                format!("request_id: the answer of about {bytes} bytes is over {most} and was not kept: who repeats it is answered anew")
            }),
        };
        response.warnings.extend(warning.err());
    }

    /// Answers a chat by what was kept, by the run of a call that is the same, or by a run of its own.
    pub async fn chat_shared(
        self: &Arc<Self>,
        request: &ChatRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        ttl: Duration,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatResponse, Error> {
        let keeping = self.keeping(request, options, ttl);
        if let Some(response) = self.kept(&keeping, options, log) {
            return Ok(response);
        }
        // From here on its time counts, also where it begins a run late.
        let options = &CallOptions { submitted: Some(since(options).into_std()), ..options.clone() };
        let run = || {
            let (engine, request, options, warnings) =
                (Arc::clone(self), request.clone(), options.clone(), warnings.clone());
            async move {
                let mut log = EventLog::new(Arc::clone(&engine.interest));
                let result = engine.chat(&request, &options, warnings, &mut log, std::future::pending()).await;
                Completed { result, events: log.take() }
            }
            .boxed()
        };
        self.share(keeping, options, log, ended, run).await
    }

    /// Opens a stream of what was kept, or one whose answer is kept at its end.
    pub async fn stream_shared(
        self: &Arc<Self>,
        request: Arc<ChatRequest>,
        options: &CallOptions,
        warnings: Vec<String>,
        keeping: Keeping,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatStream, Error> {
        if let Some(kept) = self.look_up(&keeping) {
            let Answered { response, model } = &*kept;
            let response = Caller::new(self, Route::Stream, since(options)).answered(response, options, log);
            let log = EventLog::new(Arc::clone(&self.interest));
            return Ok(ChatStream::replay(response, model.clone(), Arc::clone(self), request, log));
        }
        if keeping.keeps != Keeps::Everything {
            lock(&self.tally).cache_missed(time::unix_ms());
        }
        let mut stream = self.stream(request, options, warnings, log, ended).await?;
        stream.keep_as(keeping);
        Ok(stream)
    }

    /// The same for any run whose answers under this key are interchangeable. `options` say when the call was submitted.
    pub async fn share(
        self: &Arc<Self>,
        keeping: Keeping,
        options: &CallOptions,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
        run: impl Fn() -> BoxFuture<'static, Completed<ChatResponse>>,
    ) -> Result<ChatResponse, Error> {
        let mut ended = pin!(ended);
        let leeway = self.leeway(options);
        loop {
            if let Some(response) = self.kept(&keeping, options, log) {
                return Ok(response);
            }
            let (flight, leads) = self.board(&keeping, leeway, &run);
            if leads && keeping.keeps != Keeps::Everything {
                lock(&self.tally).cache_missed(time::unix_ms());
            }
            let mut caller = Caller::new(self, Route::Chat, since(options));
            // Whoever leads has set the run its deadline; all others have their own.
            let patience = (!leads).then(|| since(options) + self.longest(options));
            let landed = tokio::select! {
                biased;
                landed = time::until(patience, caller.flight.insert(flight)) => landed,
                error = &mut ended => return Err(error),
            };
            let Ok(landed) = landed else { return Err(caller.failed(out_of_time(options), options)) };
            if landed.is_less_than(leeway, patience) {
                caller.booked = true; // by the run that comes now
                continue;
            }
            let events = lock(&landed.events).take();
            // The run is booked as this call.
            caller.booked = events.is_some();
            log.absorb(events.unwrap_or_default());
            return match &landed.result {
                Ok(response) if caller.booked => Ok(caller.alone(response.clone(), options)),
                Ok(response) => Ok(caller.answered(response, options, log)),
                Err(error) => Err(caller.failed(error.clone(), options)),
            };
        }
    }

    /// The run under way for this key, or one that begins now. True: it begins now.
    fn board(
        self: &Arc<Self>,
        keeping: &Keeping,
        leeway: Leeway,
        run: impl Fn() -> BoxFuture<'static, Completed<ChatResponse>>,
    ) -> (Shared<Run>, bool) {
        let mut table = lock(&self.flights.0);
        if let Some(Flight { run, ttl, .. }) = table.flights.get(&keeping.key)
            && let Some(run) = run.upgrade()
        {
            let mut ttl = lock(ttl);
            *ttl = keeping.ttl.max(*ttl);
            return (run, false);
        }
        table.begun += 1;
        let number = table.begun;
        let leaving = Leaving { engine: Arc::clone(self), key: keeping.key, number };
        let ttl = Arc::new(Mutex::new(keeping.ttl));
        let (begun, keeping, longest) = (run(), *keeping, Arc::clone(&ttl));
        let flight: Run = async move {
            // Off the table after the answer was kept: in between nobody begins another run.
            let leaving = leaving;
            let Completed { mut result, events } = begun.await;
            if let Ok(response) = &mut result {
                let ttl = *lock(&longest);
                leaving.engine.keep(&Keeping { ttl, ..keeping }, response);
            }
            Arc::new(Landed { result, leeway, events: Mutex::new(Some(events)) })
        }
        .boxed();
        let flight = flight.shared();
        if let Some(run) = flight.downgrade() {
            table.flights.insert(keeping.key, Flight { number, run, ttl });
        }
        (flight, true)
    }

    fn leeway(&self, options: &CallOptions) -> Leeway {
        let roster = self.roster();
        let routing = roster.routing();
        Leeway {
            timeout: options.timeout,
            deadline: roster.longest(options),
            max_retries: options.max_retries.unwrap_or(routing.max_retries),
            failover: options.failover.unwrap_or(routing.enable_failover),
        }
    }

    /// How long a call may take.
    pub fn longest(&self, options: &CallOptions) -> Duration {
        self.roster().longest(options)
    }
}

/// The model that its provider was asked for. A provider may well say another one.
fn asked_for(response: &ChatResponse, attempts: &[AttemptRecord]) -> String {
    let answers = |line: &&AttemptRecord| line.outcome == AttemptOutcome::Success && line.provider == response.provider;
    attempts.iter().rfind(answers).map_or(&response.reply.model, |line| &line.model).clone()
}

/// When a call was handed over.
fn since(options: &CallOptions) -> Instant {
    options.submitted.map_or_else(|| time::now().mono, Instant::from_std)
}

impl Keeps {
    fn takes(self, response: &ChatResponse) -> bool {
        let reply = &response.reply;
        let is_whole = matches!(reply.finish_reason, FinishReason::Stop | FinishReason::ToolCalls);
        self == Self::Everything || is_whole && reply.refusal.is_none() && !response.is_degraded()
    }
}

impl Leeway {
    /// What failed within the other may go well within this.
    fn is_wider_than(&self, other: &Self) -> bool {
        let has_longer_attempts = other.timeout.is_some_and(|other| self.timeout.is_none_or(|own| own > other));
        has_longer_attempts
            || self.deadline > other.deadline
            || self.max_retries > other.max_retries
            || (self.failover && !other.failover)
    }
}

impl Landed {
    /// A run of its own may bring a call more than this one, which began with another call: it allows more, or still has
    /// time where the other had none left. `patience`: until when it waits; `None` where the run is its own.
    fn is_less_than(&self, leeway: Leeway, patience: Option<Instant>) -> bool {
        let has_time = patience.is_some_and(|patience| time::now().mono < patience);
        let allows_more = leeway.is_wider_than(&self.leeway);
        has_time
            && match &self.result {
                Ok(response) => allows_more && response.is_degraded(),
                Err(error) => match error.kind() {
                    ErrorKind::Timeout { phase: Phase::Deadline, .. } => true,
                    ErrorKind::Timeout { .. }
                    | ErrorKind::RateLimited { .. }
                    | ErrorKind::NoProvider { .. }
                    | ErrorKind::BudgetExceeded(_) => allows_more,
                    ErrorKind::Provider { failure } => allows_more && failure.class.scope() != Scope::Caller,
                    _ => false,
                },
            }
    }
}

fn out_of_time(options: &CallOptions) -> Error {
    let waited = time::now().mono.duration_since(since(options));
    let message = format!(
        "the call's deadline has passed after {} ms; a call that is the same was under way",
        waited.as_millis()
    );
    Error::new(ErrorKind::Timeout { phase: Phase::Deadline, failure: None }, message)
}

// === impl Caller ===

impl<'a> Caller<'a> {
    fn new(engine: &'a Engine, route: Route, since: Instant) -> Self {
        Self { engine, route, since, flight: None, booked: false }
    }

    /// Answers with what another run made.
    fn answered(mut self, made: &ChatResponse, options: &CallOptions, log: &mut EventLog) -> ChatResponse {
        self.booked = true;
        let now = time::now();
        let latency = now.mono.duration_since(self.since);
        {
            let mut tally = lock(&self.engine.tally);
            tally.started();
            tally.cache_hit(now.unix_ms);
            tally.succeeded(now.unix_ms, self.route, latency, Duration::ZERO);
        }
        // Field by field: nothing is copied that this call does not get.
        let response = ChatResponse {
            parsed: made.parsed.clone(),
            reply: made.reply.clone(),
            usage: made.usage,
            cost: Some(NanoUsd(0)),
            provider: made.provider.clone(),
            request_id: options.request_id.clone().unwrap_or_else(RequestId::random),
            latency,
            warnings: made.warnings.clone(),
            attempts: Vec::new(),
            cached: true,
            hedged: made.hedged,
            decision: made.decision.clone(),
        };
        log.emit(EventKind::RequestSuccess, || Event::RequestSuccess {
            request_id: response.request_id.clone(),
            provider: response.provider.clone(),
            model: response.reply.model.clone(),
            attempt: 0,
            latency_ms: millis(latency),
            usage: response.usage,
            cost: response.cost,
            cached: true,
            tenant: options.tenant.clone(),
            total_errors: 0,
            excluded_providers: Vec::new(),
        });
        response
    }

    /// Answers as if the run had been its own, which it may have been.
    fn alone(self, response: ChatResponse, options: &CallOptions) -> ChatResponse {
        let latency = time::now().mono.duration_since(self.since);
        ChatResponse { latency, request_id: options.request_id.clone().unwrap_or(response.request_id), ..response }
    }

    fn failed(mut self, error: Error, options: &CallOptions) -> Error {
        if !self.books_nothing() {
            let now = time::now();
            let out_of_time = matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. });
            let mut tally = lock(&self.engine.tally);
            tally.started();
            tally.failed(now.unix_ms, self.route, now.mono.duration_since(self.since), out_of_time);
        }
        self.booked = true;
        let context = error.context().clone();
        let request_id = options.request_id.clone().or(context.request_id);
        error.with_context(Context { request_id, ..context })
    }

    /// Its run is booked as this call: it was already, or will be because nobody else is left.
    fn books_nothing(&self) -> bool {
        self.booked || self.flight.as_ref().is_some_and(|flight| flight.strong_count() == Some(1))
    }
}

impl Drop for Caller<'_> {
    /// It left before the end.
    fn drop(&mut self) {
        if !self.books_nothing() {
            let mut tally = lock(&self.engine.tally);
            tally.started();
            tally.cancelled(time::unix_ms(), self.route);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut table = lock(&self.engine.flights.0);
        if table.flights.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            table.flights.remove(&self.key);
        }
    }
}
