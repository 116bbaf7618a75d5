//! A stream on its way to a client.
//!
//! A task of its own takes the events from the pool, so that the call's deadline and the pool's end hold also while the
//! client does not read. It takes an event only when there is room for what becomes of it: a client that pauses stops
//! the provider's socket. A client that leaves ends the call.
//!
//! A stream that breaks says so in the shape of its API, and then the connection is cut: clients take a body that ends
//! in order for a whole answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode};
use tokio::sync::mpsc;

use super::book::Page;
use super::refused::Refused;
use super::{Gateway, answer};
use crate::error::Error;
use crate::pool::PoolStream;
use crate::time::{self, Instant};
use crate::types::{ChatResponse, StreamEvent};

/// Pieces that may wait for the socket to take them. Kernel and server buffer some hundred kilobytes besides.
pub(super) const ROOM: usize = 16;

/// How long a client is told nothing. Proxies and load balancers cut what is silent for a minute, some for 30 seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// What a stream comes to, bit by bit.
pub(super) enum Told {
    Event(StreamEvent),
    /// It is complete. Nothing follows.
    Done(Box<ChatResponse>),
    /// It has broken. Nothing follows.
    Broke(Refused),
}

/// How an API writes a stream. What is written to `out` goes to the client.
pub(super) trait Encode: Send + 'static {
    /// Says nothing but that the stream goes on.
    const KEEP_ALIVE: &'static [u8] = b": keep-alive\n\n";

    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>);
    /// The stream is complete.
    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>);
    /// The stream has broken.
    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>);
}

enum Piece {
    Bytes(Bytes),
    /// With these everything has been said. A channel that closes without it was cut.
    Last(Bytes),
}

/// The answer to a request for a stream: its head, and a body that follows the stream.
pub(super) fn respond(gateway: Arc<Gateway>, stream: PoolStream, page: Page, mut encoder: impl Encode) -> Response {
    let (sender, receiver) = mpsc::channel(ROOM);
    let keep_alive = said_in_silence(&encoder);
    let mut response = (StatusCode::OK, body(receiver, keep_alive)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that buffer answers know this header from nginx.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let (provider, model) = stream.source();
    answer::name_source(headers, Some(provider), Some(model));
    answer::name_warnings(headers, stream.warnings());
    let write = move |told| {
        let mut out = Vec::new();
        match told {
            Told::Event(event) => encoder.event(event, &mut out),
            Told::Broke(refused) => encoder.error(&refused, &mut out),
            Told::Done(response) => {
                encoder.end(&response, &mut out);
                return Some(Piece::Last(out.into()));
            }
        }
        (!out.is_empty()).then(|| Piece::Bytes(out.into()))
    };
    spawn(async move { follow(gateway, stream, page, &sender, write).await });
    response
}

#[expect(clippy::disallowed_methods, reason = "a stream outlives the request that opened it")]
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

fn said_in_silence<E: Encode>(_: &E) -> &'static [u8] {
    E::KEEP_ALIVE
}

fn body(receiver: mpsc::Receiver<Piece>, keep_alive: &'static [u8]) -> Body {
    Body::from_stream(stream::try_unfold(Some(receiver), move |receiver| async move {
        let Some(mut receiver) = receiver else { return Ok(None) };
        let silent_until = Instant::now() + LONGEST_SILENCE;
        let Ok(piece) = time::until(Some(silent_until), receiver.recv()).await else {
            return Ok(Some((Bytes::from_static(keep_alive), Some(receiver))));
        };
        match piece {
            Some(Piece::Bytes(bytes)) => Ok(Some((bytes, Some(receiver)))),
            Some(Piece::Last(bytes)) => Ok(Some((bytes, None))),
            None => {
                // What was said last goes out before the cut.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("the stream broke"))
            }
        }
    }))
}

/// Follows a stream to its end. `write` says what goes to the client of each thing that is told, if anything does.
pub(super) async fn follow<T: Send>(
    gateway: Arc<Gateway>,
    mut stream: PoolStream,
    page: Page,
    sender: &mpsc::Sender<T>,
    mut write: impl FnMut(Told) -> Option<T>,
) {
    let (provider, model) = stream.source();
    page.streams(provider, model);
    loop {
        let event = tokio::select! {
            biased;
            () = sender.closed() => return, // dropping the stream closes the provider's socket
            event = next(&mut stream, sender) => event,
            () = gateway.ending.cancelled() => Some(Err(Error::closed())),
        };
        if let Some(Ok(event)) = event {
            if let Some(piece) = write(Told::Event(event)) {
                let _ = sender.send(piece).await; // a client that left is noticed above
            }
            continue;
        }
        (gateway.tell)(stream.take_events());
        let end = match event.and_then(Result::err).or_else(|| stream.take_violation()) {
            Some(error) => {
                page.failed(&error);
                Some(Told::Broke(error.into()))
            }
            None => stream.into_response().map(|response| {
                page.answered(&response);
                Told::Done(Box::new(response))
            }),
        };
        if let Some(last) = end.and_then(write) {
            let _ = sender.send(last).await;
        }
        return;
    }
}

/// The next event, once there is room for it.
async fn next<T>(stream: &mut PoolStream, sender: &mpsc::Sender<T>) -> Option<Result<StreamEvent, Error>> {
    let room = async { drop(sender.reserve().await) };
    match stream.until_room(room).await {
        Some(error) => Some(Err(error)),
        None => stream.next().await,
    }
}

/// Writes one event of a stream: its name, where the API has names, and its data.
pub(super) fn write(out: &mut Vec<u8>, name: Option<&str>, data: &impl serde::Serialize) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    // Our own plain types, which are JSON whatever is in them.
    serde_json::to_writer(&mut *out, data).unwrap_or_default();
    out.extend_from_slice(b"\n\n");
}
