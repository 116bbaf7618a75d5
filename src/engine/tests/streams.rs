//! Streams: nothing is handed over before the first content, and afterwards nothing switches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::support::{Answer, Story, fails, host, question, trail};
use crate::error::{Error, ErrorKind, TransportError, TransportErrorKind};
use crate::pool::PoolStream;
use crate::time;
use crate::transport::fake;
use crate::types::{CallOptions, StreamEvent};

fn chunk(text: &str) -> String {
    format!(r#"data: {{"id":"s1","model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n"
}

const FINISH: &str =
    "data: {\"id\":\"s1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// A body that says these pieces and then ends.
fn says(pieces: Vec<String>) -> Answer {
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).boxed())
}

/// A body that says these pieces and then nothing more.
fn stalls(pieces: Vec<String>) -> Answer {
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).chain(stream::pending()).boxed())
}

/// A body that says these pieces and then breaks.
fn breaks(pieces: Vec<String>) -> Answer {
    let broken = || TransportError::new(TransportErrorKind::Body, "reset");
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).chain(stream::iter([Err(broken())])).boxed())
}

fn body(body: crate::transport::Body) -> Answer {
    fake::stream(200, &[("content-type", "text/event-stream")], body)
}

async fn open(story: &Story) -> Result<PoolStream, Error> {
    let options = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    story.pool.stream_until(Arc::new(question()), &options, Vec::new(), std::future::pending()).await.result
}

async fn read(mut stream: PoolStream) -> (String, Result<PoolStream, Error>) {
    let mut text = String::new();
    loop {
        match stream.next().await {
            Some(Ok(StreamEvent::Text(piece))) => text.push_str(&piece),
            Some(Ok(_)) => {}
            Some(Err(error)) => return (text, Err(error)),
            None => return (text, Ok(stream)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_complete_stream_gives_its_text_and_its_answer() {
    let story = Story::new(&["a"], |_| says(vec![chunk("Oslo"), chunk(" is cold"), FINISH.into(), DONE.into()]));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text, "Oslo is cold");
    let response = end.expect("complete").into_response().expect("an answer");
    assert_eq!(response.reply.content, "Oslo is cold");
    assert!(response.usage.estimated, "the stream reported no usage");
    assert_eq!(story.in_flight(), 0);
    assert_eq!(story.pool.engine().stats().successful_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_content_fails_over() {
    type Fails = fn() -> Answer;
    let cases: [(&str, Fails); 5] = [
        ("overloaded", || fails(503)),
        ("server_error", || {
            says(vec!["data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n".into()])
        }),
        ("stream_truncated", || says(vec![])),
        ("network", || breaks(vec![": comment\n\n".into()])),
        ("timeout", || stalls(vec![": still here\n\n".into()])),
    ];
    for (class, broken) in cases {
        let story = Story::new(&["a", "b"], move |request| {
            if host(request) == "a" { broken() } else { says(vec![chunk("from b"), FINISH.into(), DONE.into()]) }
        });
        let (text, end) = read(open(&story).await.unwrap_or_else(|error| panic!("{class}: {error}"))).await;
        assert_eq!(text, "from b", "{class}");
        let response = end.expect("complete").into_response().expect("an answer");
        assert_eq!(response.attempts[0].error_class, Some(class));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_content_is_an_interruption_that_holds_what_had_come() {
    for (class, cut) in
        [("stream_truncated", says as fn(Vec<String>) -> Answer), ("network", breaks), ("timeout", stalls)]
    {
        let story = Story::new(&["a", "b"], move |_| cut(vec![chunk("Oslo"), chunk(" is")]));
        let (text, end) = read(open(&story).await.expect("opens")).await;
        assert_eq!(text, "Oslo is");
        let error = end.err().expect("cut");
        let ErrorKind::StreamInterrupted { partial, failure } = error.kind() else { panic!("{error:?}") };
        assert_eq!(partial.content, "Oslo is");
        assert_eq!(failure.class.as_str(), class);
        assert_eq!(story.asked("b"), 0, "a stream never switches");
        assert_eq!(story.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finish_reason_is_the_end_even_when_nothing_follows() {
    for cut in [says as fn(Vec<String>) -> Answer, breaks, stalls] {
        let story = Story::new(&["a"], move |_| cut(vec![chunk("done"), FINISH.into()]));
        let (text, end) = read(open(&story).await.expect("opens")).await;
        assert_eq!(text, "done");
        end.expect("complete");
    }
}

#[tokio::test(start_paused = true)]
async fn comments_do_not_keep_a_stalled_stream_alive() {
    let comments = stream::unfold((), |()| async {
        time::sleep_until(time::now().mono + Duration::from_secs(5)).await;
        Some((Ok(Bytes::from_static(b": keep-alive\n\n")), ()))
    });
    let mut feed = Some(stream::iter([Ok(Bytes::from(chunk("Oslo")))]).chain(comments).boxed());
    let story = Story::new(&["a"], move |_| body(feed.take().expect("one request")));
    let stream = open(&story).await.expect("opens");
    let began = time::now().mono;
    let (_, end) = read(stream).await;
    assert!(matches!(end.err().expect("stalled").kind(), ErrorKind::StreamInterrupted { .. }));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_pauses_is_not_a_stalled_provider() {
    let story = Story::new(&["a"], |_| says(vec![chunk("Oslo"), chunk(" is"), FINISH.into(), DONE.into()]));
    let mut stream = open(&story).await.expect("opens");
    while let Some(event) = stream.next().await {
        event.expect("no failure");
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_left_early_is_cancelled() {
    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let stream = open(&story).await.expect("opens");
    assert_eq!(story.in_flight(), 1);
    drop(stream);
    assert_eq!(story.in_flight(), 0);
    assert_eq!(story.pool.engine().stats().cancelled_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_stream_is_still_answered_from() {
    let story = Story::new(&["a"], |_| super::support::answer("all at once"));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text, "all at once");
    assert_eq!(end.expect("complete").into_response().expect("an answer").usage.prompt_tokens, 12);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_room_holds_up_neither_the_shutdown_nor_the_deadline() {
    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let mut stream = open(&story).await.expect("opens");
    let (error, ()) = tokio::join!(
        async {
            let error = stream.until_room(std::future::pending()).await;
            drop(stream);
            error
        },
        story.pool.shutdown(Duration::from_secs(1))
    );
    let error = error.expect("ended");
    assert!(matches!(error.kind(), ErrorKind::Closed));
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    assert!(error.context().request_id.is_some());

    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let options = CallOptions { deadline: Some(Duration::from_secs(3)), ..CallOptions::default() };
    let opened = story.pool.stream_until(Arc::new(question()), &options, Vec::new(), std::future::pending()).await;
    let mut stream = opened.result.expect("opens");
    let began = time::now().mono;
    let error = stream.until_room(std::future::pending()).await.expect("out of time");
    assert!(matches!(error.kind(), ErrorKind::StreamInterrupted { .. }), "{error:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_streams_proves_the_provider_by_its_first_content() {
    let mut config = super::support::provider("a", 1);
    config["circuit_breaker_threshold"] = serde_json::json!(1);
    let mut first = true;
    let config = serde_json::json!({ "providers": [config] });
    let story =
        Story::with_config(
            config,
            move |_| {
                if std::mem::take(&mut first) { fails(500) } else { stalls(vec![chunk("Oslo")]) }
            },
        );
    let error = open(&story).await.err().expect("down");
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
    tokio::time::advance(Duration::from_secs(61)).await;
    let _probe = open(&story).await.expect("the probe's first content is here");
    open(&story).await.expect("nobody waits for the end of the probe's stream");
}

#[tokio::test(start_paused = true)]
async fn what_is_longer_than_a_reply_may_be_is_handed_over_and_not_kept() {
    let config = serde_json::json!({
        "providers": [super::support::provider("a", 1)], "qos": { "max_response_bytes": 1000 },
    });
    let pieces: Vec<_> = std::iter::repeat_n(chunk("0123456789"), 200).chain([FINISH.into(), DONE.into()]).collect();
    let story = Story::with_config(config, move |_| says(pieces.clone()));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text.len(), 2000);
    let response = end.expect("complete").into_response().expect("an answer");
    assert_eq!(response.reply.content, "");
    assert_eq!(response.warnings.len(), 1);
}
