//! What goes on on one connection, and for how long nothing may.
//!
//! A client that sends half a head, or takes nothing of its answer, would hold its connection for ever. Four waits have a
//! bound: for the head of a request, for a next request, for the socket to take bytes, and for a client to let an answer go
//! on (in HTTP/2 the socket takes bytes while one stream's window is closed). How long a provider takes is not among them.

use std::collections::HashMap;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::config::ServerConfig;
use crate::error::MAX_HINT;
use crate::time::{self, Instant};

/// Clients and balancers keep connections for later, most of them for a minute and gRPC for as long as it may: whoever
/// closes first must not be the one that a request is on its way to.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// For a client to hear that its idle connection ends, and to answer that.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long a connection may wait for its client; `None`: for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the head of the first request, or of one that has begun.
    pub header: Option<Duration>,
    /// For a next request, while none is under way.
    idle: Option<Duration>,
    /// For the client to take anything of what is to be sent.
    pub write: Option<Duration>,
}

/// What its client has kept a connection waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A request: there is time to tell it that the connection ends.
    Idle,
    /// Anything else, or for too long.
    Stuck,
}

/// What goes on on one connection.
pub(super) struct Flow {
    state: Mutex<State>,
    /// A connection that is to close may have nothing left to do.
    changed: Notify,
}

struct State {
    requests: HashMap<u64, Underway>,
    next: u64,
    /// When the last request ended.
    idle_since: Instant,
    /// What the last request came in; `None`: there was none yet.
    spoken: Option<Version>,
    /// When the first byte of a next head came. In HTTP/2 bytes say nothing: its clients answer pings.
    heard_since: Option<Instant>,
    /// When its end was announced.
    parting_since: Option<Instant>,
    /// When the socket last stopped taking bytes; `None`: it takes them.
    blocked_since: Option<Instant>,
    /// When a client last took something of an answer.
    moved: Instant,
}

struct Underway {
    stage: Stage,
    /// Since when its answer has been waiting for the client.
    owed_since: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its body is not all here.
    Arriving,
    Working,
    Answering,
    /// What is left of it is read for nobody.
    Over,
}

/// One request, for as long as it or its answer is there.
pub(super) struct Ticket {
    flow: Arc<Flow>,
    number: u64,
}

// === impl Patience ===

impl Patience {
    pub fn of(server: &ServerConfig) -> Self {
        let bound = |limit: Duration| (limit < MAX_HINT).then_some(limit);
        let header = bound(server.header_timeout);
        Self { header, idle: header.map(|header| header.max(IDLE)), write: bound(server.write_timeout) }
    }
}

// === impl Flow ===

impl Flow {
    pub fn new() -> Arc<Self> {
        let now = time::now().mono;
        let state = State {
            requests: HashMap::new(),
            next: 0,
            idle_since: now,
            spoken: None,
            heard_since: None,
            parting_since: None,
            blocked_since: None,
            moved: now,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>, version: Version) -> Arc<Ticket> {
        let mut state = self.state();
        (state.spoken, state.heard_since) = (Some(version), None);
        let number = state.next;
        state.next += 1;
        state.requests.insert(number, Underway { stage: Stage::Arriving, owed_since: None });
        Arc::new(Ticket { flow: Arc::clone(self), number })
    }

    /// Returns once the client has been waited for long enough: [`Overdue::Idle`] once, and then the end may be announced.
    pub async fn overdue(&self, patience: Patience) -> Overdue {
        // A wait that begins in between ends no earlier than this.
        let Some(often) = patience.header.into_iter().chain(patience.write).min() else {
            return std::future::pending().await;
        };
        loop {
            let now = time::now().mono;
            let due = self.state().due(patience);
            if due.is_some_and(|due| due <= now) {
                return self.state().part(now);
            }
            let look = now + often;
            time::sleep_until(due.map_or(look, |due| due.min(look))).await;
        }
    }

    /// Returns once nobody is waiting for an answer that could still be given.
    pub async fn quiet(&self) {
        loop {
            let changed = self.changed.notified();
            let is_quiet = self.state().is_quiet();
            if is_quiet {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    fn heard(&self) {
        let mut state = self.state();
        if state.is_idle() && state.spoken.is_some_and(|version| version < Version::HTTP_2) {
            state.heard_since.get_or_insert_with(|| time::now().mono);
        }
    }

    /// What the socket said when it was given bytes.
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        let mut state = self.state();
        match &polled {
            Poll::Pending => {
                state.blocked_since.get_or_insert_with(|| time::now().mono);
            }
            Poll::Ready(_) => {
                if state.blocked_since.take().is_some() {
                    self.changed.notify_one();
                }
            }
        }
        polled
    }
}

impl State {
    /// No request is under way, and nothing is left to be sent.
    fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.blocked_since.is_none()
    }

    /// It is over; how?
    fn part(&mut self, now: Instant) -> Overdue {
        if !self.is_idle() || self.parting_since.is_some() {
            return Overdue::Stuck;
        }
        self.parting_since = Some(now);
        Overdue::Idle
    }

    fn is_quiet(&self) -> bool {
        let is_busy = |request: &Underway| matches!(request.stage, Stage::Working | Stage::Answering);
        self.blocked_since.is_none() && !self.requests.values().any(is_busy)
    }

    /// When the connection is to be given up, as things are.
    fn due(&self, patience: Patience) -> Option<Instant> {
        if let (Some(blocked), Some(write)) = (self.blocked_since, patience.write) {
            return Some(blocked + write);
        }
        if self.is_idle() {
            return match (self.parting_since, self.heard_since) {
                (Some(parting), _) => Some(parting.max(self.idle_since) + FAREWELL),
                (None, Some(heard)) => patience.header.map(|header| heard + header),
                (None, None) if self.spoken.is_some() => patience.idle.map(|idle| self.idle_since + idle),
                (None, None) => patience.header.map(|header| self.idle_since + header),
            };
        }
        // One answer that is not taken is its client's affair while it takes others.
        let owed = self.requests.values().filter_map(|request| request.owed_since).min()?;
        patience.write.map(|write| owed.max(self.moved) + write)
    }
}

// === impl Ticket ===

impl Ticket {
    /// All of it is here.
    pub fn received(&self) {
        self.change(|request, _| {
            if request.stage == Stage::Arriving {
                request.stage = Stage::Working;
            }
        });
    }

    /// Counts an answer's body as part of the connection until it is sent.
    pub fn answer(self: Arc<Self>, body: Body) -> Answer {
        self.change(|request, now| *request = Underway { stage: Stage::Answering, owed_since: Some(now) });
        Answer { body, ticket: self }
    }

    fn change(&self, change: impl FnOnce(&mut Underway, Instant)) {
        let now = time::now().mono;
        if let Some(request) = self.flow.state().requests.get_mut(&self.number) {
            change(request, now);
        }
    }

    /// The client took what it had been given before. `waits`: for more there is to wait.
    fn moved(&self, waits: bool) {
        let now = time::now().mono;
        let mut state = self.flow.state();
        state.moved = now;
        if let Some(request) = state.requests.get_mut(&self.number) {
            request.owed_since = (!waits).then_some(now);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.flow.state();
        state.requests.remove(&self.number);
        state.idle_since = time::now().mono;
        drop(state);
        self.flow.changed.notify_one();
    }
}

/// The body of an answer, on its way.
pub(super) struct Answer {
    body: Body,
    ticket: Arc<Ticket>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.ticket.moved(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.ticket.change(|request, _| *request = Underway { stage: Stage::Over, owed_since: None });
        self.ticket.flow.changed.notify_one();
    }
}

/// A socket whose flow is watched.
pub(super) struct Watched<IO> {
    pub io: IO,
    pub flow: Arc<Flow>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.flow.heard();
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.flow.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.flow.wrote(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(context);
        self.flow.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.flow.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
