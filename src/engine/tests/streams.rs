//! Streams: nothing is handed over before the first content, and afterwards nothing switches.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::support::*;
use crate::error::ErrorKind;

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
    let story = Story::new(&["a"], |_| answer("all at once"));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text, "all at once");
    assert_eq!(end.expect("complete").into_response().expect("an answer").usage.prompt_tokens, 12);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_streams_proves_the_provider_by_its_first_content() {
    let mut config = provider("a", 1);
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
        "providers": [provider("a", 1)], "qos": { "max_response_bytes": 1000 },
    });
    let pieces: Vec<_> = std::iter::repeat_n(chunk("0123456789"), 200).chain([FINISH.into(), DONE.into()]).collect();
    let story = Story::with_config(config, move |_| says(pieces.clone()));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text.len(), 2000);
    let response = end.expect("complete").into_response().expect("an answer");
    assert_eq!(response.reply.content, "");
    assert_eq!(response.warnings.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_a_consumer_takes_is_not_the_providers() {
    let story = Story::new(&["a"], |_| {
        let pieces = [chunk("one"), chunk("two"), chunk("three"), FINISH.into(), DONE.into()];
        let slowly = stream::iter(pieces).then(|piece| async move {
            after(Duration::from_millis(100)).await;
            Ok(Bytes::from(piece))
        });
        body(slowly.boxed())
    });
    let mut stream = open(&story).await.expect("opens");
    while let Some(event) = stream.next().await {
        event.expect("whole");
        after(Duration::from_secs(7)).await;
    }
    let stats = story.pool.engine().provider_stats();
    assert_eq!(stats["a"].performance.p50, Some(500.0));
    assert_eq!(stats["a"].performance.time_to_first_token, Some(100.0));
    let response = stream.into_response().expect("an answer");
    assert_eq!(response.attempts[0].latency, Duration::from_millis(500));
    assert!(response.latency > Duration::from_secs(20), "the call itself took as long as it took");
}
