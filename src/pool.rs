//! The Rust face of a pool: calls go in, answers come out, and a shutdown that neither loses nor leaks a call.

mod control;
mod follow;
mod stats_file;
mod stream;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub use control::{Change, Edition};
pub use follow::{Follower, Notice};
pub use stats_file::Saver;
pub use stream::PoolStream;
pub use upkeep::Upkeep;

use self::control::{Control, refused};
use self::stream::OpenStreams;
use crate::config::{Document, Environment, Settings, Source, Watch};
pub use crate::engine::Completed;
use crate::engine::{Clients, Engine, Executed, Explanation, Knock, Provider, Task};
use crate::error::{Error, ErrorKind, Problem};
use crate::event::{Event, EventLog, Interest};
use crate::tasks;
use crate::time;
use crate::types::{CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, InferRequest, InferResponse};

/// How long a shutdown waits for calls that it has ended to notice: far longer than a runtime takes to poll them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A pool of providers in force. Cheap to clone; clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    engine: Arc<Engine>,
    control: Arc<Control>,
    interest: Arc<Interest>,
    /// Ends what follows the source, at the latest with the last clone of the pool.
    following: CancellationToken,
    _following: Arc<DropGuard>,
    /// Counts calls, and refuses new ones once it is closed.
    calls: TaskTracker,
    /// Ends the calls that a shutdown does not wait for any longer.
    ending: CancellationToken,
    streams: Arc<OpenStreams>,
}

impl Pool {
    /// Reads the source of `settings` and starts a pool over real HTTP. Needs a tokio runtime.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub async fn open(settings: Settings, environment: Environment, interest: Arc<Interest>) -> Result<Self, Error> {
        let (first, document) = control::first(&settings, &environment).await?;
        // Certificates are read and parsed here, which takes tens of milliseconds.
        let started = tokio::task::spawn_blocking(move || {
            let mut control = start(document, environment, settings, &interest, Clients::http())?;
            control.opened(first);
            control.take_up_stats()?;
            Ok(Self::over(control, interest))
        });
        started.await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?
    }

    /// Starts a pool over transports of the caller's making.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub fn with_clients(
        document: Document,
        environment: Environment,
        settings: Settings,
        interest: Arc<Interest>,
        clients: Clients,
    ) -> Result<Self, Error> {
        let control = start(document, environment, settings, &interest, clients)?;
        Ok(Self::over(control, interest))
    }

    fn over(control: Control, interest: Arc<Interest>) -> Self {
        let (following, ending) = (CancellationToken::new(), CancellationToken::new());
        Self {
            engine: Arc::clone(&control.engine),
            control: Arc::new(control),
            interest,
            _following: Arc::new(following.clone().drop_guard()),
            following,
            calls: TaskTracker::new(),
            streams: Arc::new(OpenStreams::new(ending.clone())),
            ending,
        }
    }

    // === what is in force ===

    pub fn edition(&self) -> Edition {
        self.control.edition()
    }

    /// The pool's counters as OpenMetrics 1.0 text.
    pub fn metrics(&self) -> String {
        self.control.metrics()
    }

    /// What is allowed in the configuration in force but probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        self.control.warnings()
    }

    /// Puts another configuration in force: this object, or what the source holds now. `None`: nothing has changed.
    /// Calls under way end as they began; providers whose limits, breaker, keys and address stay keep all that was
    /// counted. Of several at a time the last one counts, in the order of their first poll: one that is overtaken is
    /// checked and changes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once; what was in force stays. The pool was shut down in the meantime.
    pub async fn reload(&self, config: Option<Value>, environment: Environment) -> Result<Option<Change>, Error> {
        self.still_open()?;
        let change = async {
            match config {
                Some(config) => self.control.put(config, Some(environment)).await,
                None => self.control.refresh(Some(environment)).await,
            }
        };
        // A server may take ten seconds to say what it has; a pool that is shut down has no use for it.
        let change = tokio::select! {
            biased;
            () = self.following.cancelled() => Err(Error::closed()),
            change = change => change,
        };
        self.after(change)
    }

    /// Adds a provider, written as in a configuration, until it is removed. A provider of that name in a later
    /// configuration goes over it.
    ///
    /// # Errors
    /// Everything that is wrong with it, a name that is taken included.
    pub fn add_provider(&self, provider: Value) -> Result<Option<Change>, Error> {
        self.still_open()?;
        let name = control::name_of(&provider)?;
        if self.engine.roster().find(&name).is_some() {
            return Err(refused("name", format!("there is a provider of the name {name:?}; names are unique")));
        }
        self.after(self.control.steer(|overlay| overlay.add(&name, provider)))
    }

    /// Takes a provider out, for this configuration and later ones. Its calls under way end as they began.
    ///
    /// # Errors
    /// There is no such provider, or it is the last one.
    pub fn remove_provider(&self, name: &str) -> Result<Option<Change>, Error> {
        self.known(name)?;
        self.after(self.control.steer(|overlay| overlay.remove(name)))
    }

    /// Goes over the configuration, and over later ones, until the provider is removed. Lower is asked first.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn set_priority(&self, name: &str, priority: u32) -> Result<Option<Change>, Error> {
        self.known(name)?;
        self.after(self.control.steer(|overlay| overlay.set_priority(name, priority)))
    }

    /// Goes over the configuration, and over later ones, until the provider is removed. One that is disabled gets no new
    /// calls; those under way end as they began.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn set_enabled(&self, name: &str, enabled: bool) -> Result<Option<Change>, Error> {
        self.known(name)?;
        self.after(self.control.steer(|overlay| overlay.set_enabled(name, enabled)))
    }

    /// Passes a provider over for `routing.error_cooldown_ms`, because the program knows that something is wrong with it.
    /// Calls under way at it end as they began. Says what is to be told.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn mark_error(&self, name: &str) -> Result<Vec<Event>, Error> {
        Ok(self.engine.mark_error(&*self.known(name)?))
    }

    /// Ends a mark before its time. `None`: there was none.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn clear_error(&self, name: &str) -> Result<Option<Vec<Event>>, Error> {
        Ok(self.engine.clear_error(&*self.known(name)?))
    }

    /// Watches the source: to be run by whoever has a runtime. `None`: nothing can change by itself. The text says why
    /// a file is not watched but only read every `checkInterval`.
    pub fn follower(&self) -> (Option<Follower>, Option<String>) {
        let Settings { source, check_interval, .. } = &self.control.settings;
        let (watch, note) = match source {
            Source::File(path) => match Watch::new(path) {
                Ok(watch) => {
                    watch.also(&self.control.files());
                    (Some(watch), None)
                }
                Err(said) => {
                    (None, Some(format!("{}: changes of this file are not noticed at once: {said}", path.display())))
                }
            },
            Source::Url(_) | Source::Inline(_) => (None, None),
        };
        let interval = check_interval.filter(|_| control::may_change(source));
        let follower = (watch.is_some() || interval.is_some()).then(|| Follower {
            control: Arc::downgrade(&self.control),
            stop: self.following.clone(),
            watch,
            interval,
            remote: matches!(source, Source::Url(_)),
            failed: self.control.came_from_cache(),
        });
        (follower, note)
    }

    /// Saves what the pool came to from time to time: to be run by whoever has a runtime. `None`: there is nothing to do.
    pub fn saver(&self) -> Option<Saver> {
        let Settings { stats_file, save_stats_interval, .. } = &self.control.settings;
        let interval = save_stats_interval.filter(|_| stats_file.is_some())?;
        Some(Saver { control: Arc::downgrade(&self.control), stop: self.following.clone(), interval })
    }

    /// Saves it now.
    ///
    /// # Errors
    /// There is no `statsFile`, or it cannot be written.
    pub async fn save_stats(&self) -> Result<(), Error> {
        self.control.save_stats().await
    }

    /// What is done beside the calls: to be run by whoever has a runtime.
    pub fn upkeep(&self) -> Upkeep {
        let engine = Arc::downgrade(&self.engine);
        Upkeep { engine, stop: self.following.clone(), swapped: self.engine.swapped() }
    }

    /// Calls are taken: it was not shut down.
    pub fn is_open(&self) -> bool {
        !self.calls.is_closed()
    }

    /// Resolves when the pool is shut down, before calls under way are waited for.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        self.following.clone().cancelled_owned()
    }

    pub(crate) fn still_open(&self) -> Result<(), Error> {
        if self.calls.is_closed() { Err(Error::closed()) } else { Ok(()) }
    }

    fn known(&self, name: &str) -> Result<Arc<Provider>, Error> {
        self.still_open()?;
        match self.engine.roster().find(name) {
            Some(provider) => Ok(Arc::clone(provider)),
            None => Err(Error::configuration(vec![Problem {
                path: String::new(),
                message: format!("no provider is named {name:?}"),
            }])),
        }
    }

    /// A pool that was shut down in the meantime holds no connection.
    fn after<T>(&self, change: T) -> T {
        if self.calls.is_closed() {
            self.engine.disconnect();
            self.control.clients.forget_all();
        }
        change
    }

    // === calls ===

    /// Health, statistics, priorities, breakers.
    #[doc(hidden)]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers a request by the best provider that can.
    ///
    /// # Errors
    /// See [`crate::error::ErrorKind`]; every error carries the trail of what was tried.
    pub async fn chat(&self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        self.chat_until(request, options, Vec::new(), std::future::pending()).await.result
    }

    /// What [`Pool::chat`] would do with this request now: who is asked first, who would follow, and why the others are
    /// not asked. Nobody is called and nothing changes.
    ///
    /// # Errors
    /// What a call is refused for before it looks for a provider.
    pub fn explain(&self, request: &ChatRequest, options: &CallOptions) -> Result<Explanation, Error> {
        self.engine.explain(request, false, options)
    }

    /// The same, given up when `cancelled` resolves. `warnings` are those the caller's own reading of the request gave.
    pub async fn chat_until(
        &self,
        request: &ChatRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<ChatResponse> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of_chat(options, request)) {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                match self.engine.keeps(options) {
                    _ if options.is_planned() => {
                        Box::pin(tasks::chat(&self.engine, request, options, warnings, &mut log, ended)).await
                    }
                    None => self.engine.chat(request, options, warnings, &mut log, ended).await,
                    // Boxed: its state would be part of every call's.
                    Some(ttl) => {
                        Box::pin(self.engine.chat_shared(request, options, warnings, ttl, &mut log, ended)).await
                    }
                }
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// Opens a stream; it resolves at the first content, and until then every failure fails over.
    pub async fn stream_until(
        &self,
        request: Arc<ChatRequest>,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<PoolStream> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of_chat(options, &request)) {
            Ok(call) => {
                let ended = self.ended(cancelled);
                let opened = match self.engine.keeps(options) {
                    _ if options.is_planned() => {
                        Box::pin(tasks::stream(&self.engine, &request, options, warnings, &mut log, ended)).await
                    }
                    None => self.engine.stream(request, options, warnings, &mut log, ended).await,
                    Some(ttl) => {
                        let keeping = self.engine.keeping(&request, options, ttl);
                        Box::pin(self.engine.stream_shared(request, options, warnings, keeping, &mut log, ended)).await
                    }
                };
                opened.map(|stream| self.streams.hold(stream, call))
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// Does one piece of work by the name of its task.
    ///
    /// # Errors
    /// As [`Pool::chat`]; and a task that there is not, a request over its limits, a `request_id` that was used for
    /// something else.
    pub async fn infer(&self, work: &InferRequest) -> Result<InferResponse, Error> {
        self.infer_until(work, &CallOptions::default(), Vec::new(), std::future::pending()).await.result
    }

    /// The same, given up when `cancelled` resolves. What the work says goes over `options`; `warnings` are those the
    /// caller's own reading of it gave.
    pub async fn infer_until(
        &self,
        work: &InferRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<InferResponse> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of_work(work, options)) {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                tasks::infer(&self.engine, work, options, warnings, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// The same as a stream, which only `FASTEST` can be; it resolves at the first content.
    pub async fn infer_stream_until(
        &self,
        work: &InferRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<PoolStream> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of_work(work, options)) {
            Ok(call) => {
                let ended = self.ended(cancelled);
                let opened =
                    Box::pin(tasks::infer_stream(&self.engine, work, options, warnings, &mut log, ended)).await;
                opened.map(|stream| self.streams.hold(stream, call))
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// Runs a function of the caller's own where a chat would be asked; see [`crate::LlmPool::execute`] for one that
    /// keeps its answer.
    pub async fn execute_until(
        &self,
        task: &dyn Task,
        model: Option<&str>,
        options: &CallOptions,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<Executed> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of(options, model)) {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                self.engine.execute(task, model, options, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// Makes embeddings: one vector for each input, in its order, all of them by one model of one provider. Inputs
    /// beyond what the provider takes at once are sent in batches, each a request to its limits.
    ///
    /// # Errors
    /// As [`Pool::chat`].
    pub async fn embed(&self, request: &EmbedRequest, options: &CallOptions) -> Result<EmbedResponse, Error> {
        request.check()?;
        self.embed_until(request, options, Vec::new(), std::future::pending()).await.result
    }

    /// The same, given up when `cancelled` resolves.
    pub async fn embed_until(
        &self,
        request: &EmbedRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<EmbedResponse> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter(Knock::of_embed(options, request)) {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                self.engine.embed(request, options, warnings, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        self.completed(result, log)
    }

    /// Lets in what asks no provider, which counts it like a call.
    ///
    /// # Errors
    /// As a call is refused before it looks for a provider.
    pub fn let_in(&self, knock: Knock<'_>) -> Completed<()> {
        self.completed(self.enter(knock).map(drop), EventLog::new(Arc::clone(&self.interest)))
    }

    /// Counts and tells what was refused before it became a call.
    pub fn refuse(&self, error: Error) -> Completed<()> {
        self.completed(Err(error), EventLog::new(Arc::clone(&self.interest)))
    }

    /// Where every call comes in: the pool is open, and its tenant lets it.
    fn enter(&self, knock: Knock<'_>) -> Result<TaskTrackerToken, Error> {
        // The token first: a shutdown that closes in between then waits for this call's refusal.
        let call = self.calls.token();
        if self.calls.is_closed() {
            return Err(Error::closed());
        }
        self.engine.let_in(knock)?;
        Ok(call)
    }

    /// Where every call goes out.
    fn completed<T>(&self, result: Result<T, Error>, mut log: EventLog) -> Completed<T> {
        if let Err(error) = &result {
            self.engine.note_refused(error, &mut log);
        }
        Completed { result, events: log.take() }
    }

    /// What ends a call from outside: its caller, or the pool.
    async fn ended(&self, cancelled: impl Future<Output = ()>) -> Error {
        tokio::select! {
            biased;
            () = cancelled => Error::cancelled(),
            () = self.ending.cancelled() => Error::closed(),
        }
    }

    /// Refuses new calls, gives those under way `drain`, then ends them, streams that nobody reads included; returns when
    /// the last is gone, with what kept the statistics from being saved. A call whose future is kept and never polled
    /// again cannot be ended and is left behind. Idempotent.
    pub async fn shutdown(&self, drain: Duration) -> Option<Error> {
        self.calls.close();
        self.following.cancel();
        let drained = time::until(Some(time::now().mono + drain), self.calls.wait()).await;
        if drained.is_err() {
            self.ending.cancel();
            self.streams.end();
            // What is left hears of it when it is polled; whoever holds a call and never polls it again holds up nobody.
            let _ = time::until(Some(time::now().mono + LAST_WORDS), self.calls.wait()).await;
        }
        self.engine.disconnect();
        self.control.clients.forget_all();
        self.control.close_stats().await.err()
    }
}

fn start(
    document: Document,
    environment: Environment,
    settings: Settings,
    interest: &Arc<Interest>,
    clients: Clients,
) -> Result<Control, Error> {
    let (interest, history) = (Arc::clone(interest), settings.history_limit as usize);
    Control::start(document, environment, settings, clients, |roster| Engine::new(roster, interest, history))
}
