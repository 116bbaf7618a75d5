//! The Rust face of a pool: calls go in, answers come out, and a shutdown that neither loses nor leaks a call.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::{Config, Settings};
use crate::engine::{ChatStream, Clients, Completed, Engine, Executed, Roster, Task};
use crate::error::Error;
use crate::event::{Event, EventLog, Interest};
use crate::time;
use crate::types::{CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, StreamEvent};

/// A pool of providers in force. Cheap to clone; clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    engine: Arc<Engine>,
    interest: Arc<Interest>,
    /// Counts calls, and refuses new ones once it is closed.
    calls: TaskTracker,
    /// Ends the calls that a shutdown does not wait for any longer.
    ending: CancellationToken,
}

impl Pool {
    /// Starts a pool over real HTTP. May read certificate files, so it belongs on a thread that may block.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub fn start(config: Config, settings: &Settings, interest: Arc<Interest>) -> Result<Self, Error> {
        Self::with_clients(config, settings, interest, &Clients::http())
    }

    /// The same over transports of the caller's making.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub fn with_clients(
        config: Config,
        settings: &Settings,
        interest: Arc<Interest>,
        clients: &Clients,
    ) -> Result<Self, Error> {
        let roster = Roster::build(config, settings, clients)?;
        Ok(Self {
            engine: Arc::new(Engine::new(roster, Arc::clone(&interest), settings.history_limit as usize)),
            interest,
            calls: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Health, statistics, priorities, breakers.
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

    /// The same, given up when `cancelled` resolves. `warnings` are those the caller's own reading of the request gave.
    pub async fn chat_until(
        &self,
        request: &ChatRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        cancelled: impl Future<Output = ()>,
    ) -> Completed<ChatResponse> {
        let mut log = EventLog::new(Arc::clone(&self.interest));
        let result = match self.enter() {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                self.engine.chat(request, options, warnings, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        Completed { result, events: log.take() }
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
        let result = match self.enter() {
            Ok(call) => {
                let ended = self.ended(cancelled);
                let opened = self.engine.stream(request, options, warnings, &mut log, ended).await;
                opened.map(|stream| PoolStream { stream, ending: self.ending.clone(), call: Some(call) })
            }
            Err(error) => Err(error),
        };
        Completed { result, events: log.take() }
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
        let result = match self.enter() {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                self.engine.execute(task, model, options, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        Completed { result, events: log.take() }
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
        let result = match self.enter() {
            Ok(_call) => {
                let ended = self.ended(cancelled);
                self.engine.embed(request, options, warnings, &mut log, ended).await
            }
            Err(error) => Err(error),
        };
        Completed { result, events: log.take() }
    }

    fn enter(&self) -> Result<TaskTrackerToken, Error> {
        // The token first: a shutdown that closes in between then waits for this call's refusal.
        let call = self.calls.token();
        if self.calls.is_closed() { Err(Error::closed()) } else { Ok(call) }
    }

    /// What ends a call from outside: its caller, or the pool.
    async fn ended(&self, cancelled: impl Future<Output = ()>) -> Error {
        tokio::select! {
            biased;
            () = cancelled => Error::cancelled(),
            () = self.ending.cancelled() => Error::closed(),
        }
    }

    /// Refuses new calls, gives those under way `drain`, then ends them; returns when the last is gone. Idempotent.
    pub async fn shutdown(&self, drain: Duration) {
        self.calls.close();
        let drained = time::until(Some(time::now().mono + drain), self.calls.wait()).await;
        if drained.is_err() {
            self.ending.cancel();
            self.calls.wait().await;
        }
        self.engine.disconnect();
    }
}

/// A stream that ends with its pool.
pub struct PoolStream {
    stream: ChatStream,
    ending: CancellationToken,
    /// Let go of at the end: a shutdown waits for streams, not for those who keep one that is over.
    call: Option<TaskTrackerToken>,
}

impl PoolStream {
    /// The next event; `None` at the end of a complete stream. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<StreamEvent, Error>> {
        let event = tokio::select! {
            biased;
            event = self.stream.next() => event,
            () = self.ending.cancelled() => Some(Err(self.stream.end(Error::closed()))),
        };
        if !matches!(event, Some(Ok(_))) {
            self.call = None;
        }
        event
    }

    /// Waits until the consumer has room. An error: the stream is over, because the pool was shut down or the call's
    /// deadline has come.
    pub async fn until_room(&mut self, room: impl Future<Output = ()>) -> Option<Error> {
        let error = tokio::select! {
            biased;
            waited = time::until(Some(self.stream.deadline()), room) => match waited {
                Ok(()) => return None,
                Err(_) => self.stream.out_of_time(),
            },
            () = self.ending.cancelled() => self.stream.end(Error::closed()),
        };
        self.call = None;
        Some(error)
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        self.stream.take_events()
    }

    /// Who answers, and the model that was asked for.
    pub fn source(&self) -> (&str, &str) {
        (self.stream.provider().as_str(), self.stream.model())
    }

    /// The whole answer, once the stream has ended well.
    pub fn into_response(self) -> Option<ChatResponse> {
        self.stream.into_response()
    }
}
