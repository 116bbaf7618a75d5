//! Streams over HTTP/2: many on one connection, one that nobody reads, and one that is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::super::super::Door;
use super::super::super::tests::{DONE, FINISH, HELLO, Served, serve, streams};
use super::super::pb::infer_event::Event;
use super::super::pb::llm_pool_client::LlmPoolClient;
use super::{client, work};
use crate::transport::{Body, fake};

/// The service at the other end of a connection. It ends with the set.
fn connect(served: &Served, tasks: &mut JoinSet<()>) -> LlmPoolClient<Channel> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(served.gateway.grpc_router());
    let connection =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), service);
    tasks.spawn(async move { drop(connection.await) });
    let mut near = Some(near);
    let connector = tower::service_fn(move |_: http::Uri| {
        let near = near.take();
        async move { near.map(TokioIo::new).ok_or_else(|| std::io::Error::other("one connection")) }
    });
    LlmPoolClient::new(Endpoint::from_static("http://gateway.test").connect_with_connector_lazy(connector))
}

/// A stream of so many pieces of a kilobyte, counted as they are taken.
fn long(pieces: usize, taken: Arc<AtomicUsize>) -> Body {
    let piece =
        json!({ "id": "s", "model": "m", "choices": [{ "index": 0, "delta": { "content": "x".repeat(1024) } }] });
    let piece = Bytes::from(format!("data: {piece}\n\n"));
    let end = stream::iter([FINISH, DONE].map(|text| Ok(Bytes::from_static(text.as_bytes()))));
    let body = stream::iter(0..pieces).map(move |_| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(piece.clone())
    });
    body.chain(end).boxed()
}

#[tokio::test]
async fn pieces_come_first_and_the_whole_answer_last() {
    let served = serve(Door::Inside, streams(&[HELLO, HELLO, FINISH, DONE], false));
    let response = client(&served).infer_stream(work("t", "x")).await.expect("a stream");
    assert_eq!(response.metadata().get("x-llmpool-provider").expect("a provider"), "a");
    let events: Vec<_> = response.into_inner().map(|event| event.expect("whole").event.expect("one")).collect().await;
    let [Event::Delta(one), Event::Delta(two), Event::Done(whole)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((one.as_str(), two.as_str(), whole.content.as_str()), ("hello", "hello", "hellohello"));
    assert_eq!((whole.strategy_used.as_str(), whole.provider.as_str(), whole.task.as_str()), ("FASTEST", "a", "t"));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_a_status() {
    let served = serve(Door::Inside, streams(&[HELLO], true));
    let mut told = client(&served).infer_stream(work("t", "x")).await.expect("a stream").into_inner();
    assert_eq!(told.next().await.expect("a piece").expect("whole").event, Some(Event::Delta("hello".to_owned())));
    let broken = told.next().await.expect("an end").expect_err("cut");
    assert_eq!((broken.code(), super::said(&broken, "x-llmpool-error").as_str()), (Code::Unavailable, "network"));
    assert!(told.next().await.is_none());
    drop(told);
    let line = served.lines.lock().expect("no panic").pop().expect("a line");
    assert_eq!((line.status, line.facts.error), (200, Some("network")));
}

#[tokio::test]
async fn sixty_four_streams_at_once_and_a_slow_reader_holds_up_only_itself() {
    const LONG: usize = 20_000; // more than every buffer between both ends together
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let served = serve(Door::Inside, move |request| {
        let slow = String::from_utf8_lossy(&request.body).contains("slowly");
        let body = if slow { long(LONG, Arc::clone(&counter)) } else { long(50, Arc::default()) };
        fake::stream(200, &[("content-type", "text/event-stream")], body)
    });
    let mut tasks = JoinSet::new();
    // The whole answer at the end is larger than what clients take without being told.
    let mut client = connect(&served, &mut tasks).max_decoding_message_size(usize::MAX);
    let mut slow = client.infer_stream(work("t", "slowly")).await.expect("a stream").into_inner();
    slow.next().await.expect("a piece").expect("whole");

    let mut readers = JoinSet::new();
    for number in 0..64 {
        let mut client = client.clone();
        readers.spawn(async move {
            let told = client.infer_stream(work("t", &format!("{number}"))).await.expect("a stream").into_inner();
            let events: Vec<_> = told.map(|event| event.expect("whole").event.expect("one")).collect().await;
            let Some(Event::Done(whole)) = events.last() else { panic!("no end") };
            (events.len(), whole.content.len())
        });
    }
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.expect("no panic"), (51, 50 * 1024));
    }
    let held = taken.load(Ordering::Relaxed);
    assert!(held < LONG / 2, "{held} pieces were taken from the provider for a client that read one");
    assert_eq!(served.pool.engine().stats().active_connections, 1);

    // Read on, it comes whole.
    let mut pieces = 1;
    let mut last = None;
    while let Some(event) = slow.next().await {
        pieces += 1;
        last = event.expect("whole").event;
    }
    assert!(matches!(last, Some(Event::Done(_))));
    assert_eq!((pieces, taken.load(Ordering::Relaxed)), (LONG + 1, LONG));
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_cancelled_upstream() {
    let served = serve(Door::Inside, |request| {
        if String::from_utf8_lossy(&request.body).contains("stream") {
            let body = stream::iter([Ok(Bytes::from_static(HELLO.as_bytes()))]).chain(stream::pending());
            return fake::stream(200, &[("content-type", "text/event-stream")], body.boxed());
        }
        Box::pin(std::future::pending())
    });
    let mut tasks = JoinSet::new();
    let client = connect(&served, &mut tasks);
    let in_flight = || served.pool.engine().stats().active_connections;
    let until = async |wanted| {
        while in_flight() != wanted {
            tokio::task::yield_now().await;
        }
    };

    let mut calling = JoinSet::new();
    let mut whole = client.clone();
    calling.spawn(async move { whole.infer(work("t", "x")).await.map(|_| ()) });
    until(1).await;
    calling.shutdown().await;
    until(0).await;

    let mut streaming = client.clone();
    let mut told = streaming.infer_stream(work("t", "stream")).await.expect("a stream").into_inner();
    told.next().await.expect("a piece").expect("whole");
    assert_eq!(in_flight(), 1);
    drop(told);
    until(0).await;
    assert_eq!(served.statuses(), [499, 499]);
}
