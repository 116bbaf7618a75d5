//! One connection, over whatever bytes it comes: [`serve_connection`] speaks HTTP/1.1 or HTTP/2 on it, as its client
//! begins, and ends it when its time has come.
//!
//! Framing is hyper's, which takes neither two lengths nor a length beside chunks. How long a client is waited for is
//! `flow`'s.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::EXPECT;
use http::{Extensions, Request};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::flow::{Flow, Overdue, Patience, Ticket, Watched};
use crate::time;

/// Bytes of a head. The longest that common front ends send on is 64 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// Fields of a head.
const MAX_HEADERS: usize = 128;
/// Requests of one HTTP/2 connection at a time: what RFC 9113 §6.5.2 advises as the least, and what nginx allows is 128.
const MAX_STREAMS: u32 = 128;
/// An HTTP/2 connection is asked whether its client is still there so often, and given up after [`PING_TIMEOUT`].
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// What is left of the body of a request that is answered already is read so far and so long, so that the client reads
/// its answer before it learns that nobody listens: a connection that closes on unread bytes is reset, answer and all.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(30);
/// A client that is in the middle of sending does not pause for longer.
const LINGER_PAUSE: Duration = Duration::from_secs(1);

/// What the connections of a port have in common.
#[derive(Clone)]
pub(super) struct Port {
    pub router: Router,
    pub patience: Patience,
    /// Requests under way are still answered, and then it ends.
    pub closing: CancellationToken,
    /// It ends.
    pub ending: CancellationToken,
    /// Everything that runs for a connection.
    pub tasks: TaskTracker,
}

/// Serves one connection until it ends. `known` is what there is to know of its client; every request carries it.
pub(super) async fn serve_connection<IO>(io: IO, known: Extensions, port: &Port)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let flow = Flow::new();
    let http = protocols(port.tasks.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let (router, ticket) = (port.router.clone(), flow.begin(request.version()));
        request.extensions_mut().extend(known.clone());
        let request = receive(request, Arc::clone(&ticket), port);
        async move {
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Ok::<_, Infallible>(response.map(|body| ticket.answer(body)))
        }
    });
    let io = TokioIo::new(Watched { io, flow: Arc::clone(&flow) });
    let mut connection = pin!(http.serve_connection(io, service));
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            () = port.ending.cancelled() => return,
            // A client that breaks off or sends nonsense was told what there was to tell.
            _ = connection.as_mut() => return,
            () = port.closing.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = flow.quiet(), if closing => return,
            over = flow.overdue(port.patience) => match over {
                // A request that crosses that is still answered.
                Overdue::Idle => connection.as_mut().graceful_shutdown(),
                Overdue::Stuck => return,
            },
        }
    }
}

fn protocols(tasks: TaskTracker) -> auto::Builder<Tracked> {
    let mut http = auto::Builder::new(Tracked(tasks));
    http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}

/// Runs the requests of an HTTP/2 connection, so that the end of the port waits for them.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

fn receive(request: Request<Incoming>, ticket: Arc<Ticket>, port: &Port) -> Request<Body> {
    // A client that asks before it sends has not sent anything yet.
    let lingers = !request.headers().contains_key(EXPECT);
    request.map(|body| {
        let mut body =
            Arriving { body: Some(body), ticket, lingers, tasks: port.tasks.clone(), closing: port.closing.clone() };
        body.look();
        Body::new(body)
    })
}

/// The body of a request.
struct Arriving {
    /// `None`: it is all here.
    body: Option<Incoming>,
    ticket: Arc<Ticket>,
    lingers: bool,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Arriving {
    fn look(&mut self) {
        if self.body.as_ref().is_none_or(http_body::Body::is_end_stream) {
            self.body = None;
            self.ticket.received();
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => {
                self.body = None;
                self.ticket.received();
            }
            Poll::Ready(Some(Ok(_))) => self.look(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Arriving {
    /// Nobody wants the rest.
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|_| self.lingers) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (ticket, closing) = (Arc::clone(&self.ticket), self.closing.clone());
        let rest = async move {
            let _ticket = ticket; // the connection is not idle
            let ends = Some(time::now().mono + LINGER);
            tokio::select! {
                _ = time::until(ends, discard(body)) => {}
                () = closing.cancelled() => {}
            }
        };
        self.tasks.spawn_on(rest, &runtime);
    }
}

async fn discard(mut body: Incoming) {
    let mut left = LINGER_BYTES;
    while let Ok(Some(Ok(frame))) = time::until(Some(time::now().mono + LINGER_PAUSE), body.frame()).await {
        let read = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
