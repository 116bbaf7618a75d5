//! A stream on its way to a client.
//!
//! A task of its own takes the events from the pool, so that the call's deadline and the pool's end hold also while the
//! client does not read. It takes an event only when there is room for what becomes of it: a client that pauses stops
//! the provider's socket. A client that leaves ends the call.
//!
//! A stream that breaks says so in the shape of its API, and then the connection is cut: clients take a body that ends
//! in order for a whole answer.

use std::sync::Arc;

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
use crate::pool::PoolStream;
use crate::types::{ChatResponse, StreamEvent};

/// Pieces that may wait for the socket to take them. Kernel and server buffer some hundred kilobytes besides.
const ROOM: usize = 16;

/// How an API writes a stream. What is written to `out` goes to the client.
pub(super) trait Encode: Send + 'static {
    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>);
    /// The stream is complete.
    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>);
    /// The stream has broken.
    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>);
}

enum Piece {
    Bytes(Bytes),
    /// Everything has been said. A channel that closes without it was cut.
    End,
}

/// The answer to a request for a stream: its head, and a body that follows the stream.
pub(super) fn respond(
    gateway: Arc<Gateway>,
    stream: PoolStream,
    page: Page,
    warnings: &[String],
    encoder: impl Encode,
) -> Response {
    let (sender, receiver) = mpsc::channel(ROOM);
    let mut response = (StatusCode::OK, body(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that buffer answers know this header from nginx.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let (provider, model) = stream.source();
    answer::name_source(headers, Some(provider), Some(model));
    answer::name_warnings(headers, warnings);
    page.streams(provider, model);
    spawn(pump(gateway, stream, page, encoder, sender));
    response
}

#[expect(clippy::disallowed_methods, reason = "a stream outlives the request that opened it")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

fn body(receiver: mpsc::Receiver<Piece>) -> Body {
    Body::from_stream(stream::try_unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some((bytes, receiver))),
            Some(Piece::End) => Ok(None),
            None => {
                // What was said last goes out before the cut.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("the stream broke"))
            }
        }
    }))
}

async fn pump(
    gateway: Arc<Gateway>,
    mut stream: PoolStream,
    page: Page,
    mut encoder: impl Encode,
    sender: mpsc::Sender<Piece>,
) {
    loop {
        let event = tokio::select! {
            biased;
            () = sender.closed() => return, // dropping the stream closes the provider's socket
            event = next(&mut stream, &sender) => event,
        };
        let mut out = Vec::new();
        match event {
            Some(Ok(event)) => encoder.event(event, &mut out),
            Some(Err(error)) => {
                (gateway.tell)(stream.take_events());
                page.failed(&error);
                encoder.error(&Refused::from(error), &mut out);
                return last(&sender, out, None).await;
            }
            None => {
                (gateway.tell)(stream.take_events());
                if let Some(violation) = stream.take_violation() {
                    page.failed(&violation);
                    encoder.error(&Refused::from(violation), &mut out);
                    return last(&sender, out, None).await;
                }
                if let Some(response) = stream.into_response() {
                    page.answered(&response);
                    encoder.end(&response, &mut out);
                }
                return last(&sender, out, Some(Piece::End)).await;
            }
        }
        if !out.is_empty() {
            let _ = sender.send(Piece::Bytes(out.into())).await; // a client that left is noticed above
        }
    }
}

/// The next event, once there is room for it.
async fn next(
    stream: &mut PoolStream,
    sender: &mpsc::Sender<Piece>,
) -> Option<Result<StreamEvent, crate::error::Error>> {
    let room = async { drop(sender.reserve().await) };
    match stream.until_room(room).await {
        Some(error) => Some(Err(error)),
        None => stream.next().await,
    }
}

async fn last(sender: &mpsc::Sender<Piece>, out: Vec<u8>, end: Option<Piece>) {
    let _ = sender.send(Piece::Bytes(out.into())).await;
    if let Some(end) = end {
        let _ = sender.send(end).await;
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
