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
use crate::error::{Context, Error, ErrorKind, Phase};
use crate::event::{Event, EventKind, EventLog, millis};
use crate::metrics::Route;
use crate::time::{self, Instant};
use crate::types::{CacheWish, CallOptions, ChatRequest, ChatResponse, FinishReason, NanoUsd, RequestId};

/// Runs under way that may be shared, by what they answer.
#[derive(Default)]
pub(super) struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    flights: HashMap<Key, (u64, WeakShared<Run>)>,
    /// Tells two runs of the same key apart.
    begun: u64,
}

/// A run that nobody owns.
pub type Run = BoxFuture<'static, Arc<Landed>>;

/// How a shared run ended.
pub struct Landed {
    result: Result<ChatResponse, Error>,
    /// Taken by the one call that is answered as if it had been alone.
    events: Mutex<Option<Vec<Event>>>,
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
    /// Those that are whole and not declined.
    Whole,
    /// The same, and those that end at the bound that the caller has set: they are as long as they were to be.
    Bounded,
    /// Whatever it is: it is the answer to this very request.
    Everything,
}

/// What is kept of an answer.
pub(super) struct Answered {
    /// Without its attempts: no call that is given it made them.
    response: ChatResponse,
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
    pub fn kept(
        &self,
        keeping: &Keeping,
        route: Route,
        options: &CallOptions,
        log: &mut EventLog,
    ) -> Option<ChatResponse> {
        let kept = self.look_up(keeping)?;
        Some(Caller::new(self, route, since(options)).answered(&kept.response, options, log))
    }

    fn look_up(&self, keeping: &Keeping) -> Option<Arc<Answered>> {
        let now = time::now().mono;
        match keeping.keeps {
            Keeps::Whole | Keeps::Bounded => self.roster().kept().get(&keeping.key, now),
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
        let (bytes, kept) = (response.bytes(), Arc::new(Answered { response: response.clone() }));
        response.attempts = attempts;
        let now = time::now().mono;
        // Where it cannot be kept, it is good all the same.
        let warning = match keeps {
            Keeps::Whole | Keeps::Bounded => self.roster().kept().keep(key, kept, bytes, ttl, now).map_err(|TooLarge { bytes, most }| {
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
        if let Some(response) = self.kept(&keeping, Route::Chat, options, log) {
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
        if let Some(response) = self.kept(&keeping, Route::Stream, options, log) {
            let log = EventLog::new(Arc::clone(&self.interest));
            return Ok(ChatStream::replay(response, Arc::clone(self), request, log));
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
        loop {
            if let Some(response) = self.kept(&keeping, Route::Chat, options, log) {
                return Ok(response);
            }
            let (flight, leads) = self.board(&keeping, &run);
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
            let events = lock(&landed.events).take();
            // The run is booked as this call.
            caller.booked = events.is_some();
            log.absorb(events.unwrap_or_default());
            return match &landed.result {
                Ok(response) if caller.booked => Ok(caller.alone(response.clone(), options)),
                Ok(response) => Ok(caller.answered(response, options, log)),
                Err(error) if is_anothers_deadline(error, patience) => {
                    caller.booked = true; // by the run that comes now
                    continue;
                }
                Err(error) => Err(caller.failed(error.clone(), options)),
            };
        }
    }

    /// The run under way for this key, or one that begins now. True: it begins now.
    fn board(
        self: &Arc<Self>,
        keeping: &Keeping,
        run: impl Fn() -> BoxFuture<'static, Completed<ChatResponse>>,
    ) -> (Shared<Run>, bool) {
        let mut table = lock(&self.flights.0);
        if let Some(flight) = table.flights.get(&keeping.key).and_then(|(_, flight)| flight.upgrade()) {
            return (flight, false);
        }
        table.begun += 1;
        let leaving = Leaving { engine: Arc::clone(self), key: keeping.key, number: table.begun };
        let (run, keeping) = (run(), *keeping);
        let flight: Run = async move {
            // Off the table after the answer was kept: in between nobody begins another run.
            let leaving = leaving;
            let Completed { mut result, events } = run.await;
            if let Ok(response) = &mut result {
                leaving.engine.keep(&keeping, response);
            }
            Arc::new(Landed { result, events: Mutex::new(Some(events)) })
        }
        .boxed();
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            let number = table.begun;
            table.flights.insert(keeping.key, (number, weak));
        }
        (flight, true)
    }

    /// How long a call may take.
    pub fn longest(&self, options: &CallOptions) -> Duration {
        self.roster().longest(options)
    }
}

/// When a call was handed over.
fn since(options: &CallOptions) -> Instant {
    options.submitted.map_or_else(|| time::now().mono, Instant::from_std)
}

impl Keeps {
    fn takes(self, response: &ChatResponse) -> bool {
        let reply = &response.reply;
        let ended = match reply.finish_reason {
            FinishReason::Stop | FinishReason::ToolCalls => true,
            FinishReason::Length => self == Self::Bounded,
            FinishReason::ContentFilter | FinishReason::Other => false,
        };
        self == Self::Everything || ended && reply.refusal.is_none()
    }
}

/// The run ended because of the time that another call had; this one has more.
fn is_anothers_deadline(error: &Error, patience: Option<Instant>) -> bool {
    let is_deadline = matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. });
    is_deadline && patience.is_some_and(|patience| time::now().mono < patience)
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
        if table.flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            table.flights.remove(&self.key);
        }
    }
}
