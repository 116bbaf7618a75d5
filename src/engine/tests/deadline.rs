//! The deadline of a call: it ends every wait, and nobody is blamed for it.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::error::{ErrorKind, Phase};
use crate::time;
use crate::types::{AttemptOutcome, CallOptions};

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_call_and_blames_nobody() {
    let story = Story::new(&["a"], |_| hangs());
    let options = CallOptions { deadline: Some(Duration::from_secs(2)), ..CallOptions::default() };
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("out of time");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    assert_eq!(error.context().attempts[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_sends_nothing() {
    let story = Story::new(&["a"], |_| answer("too late"));
    let options = CallOptions { deadline: Some(Duration::ZERO), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("out of time");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(story.asked("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_never_sleeps_past_its_deadline() {
    let story = Story::new(&["a"], |_| fails(500));
    let options = CallOptions { deadline: Some(Duration::from_millis(400)), ..CallOptions::default() };
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("a is down");
    // The shortest backoff, 500 ms, would end after the deadline: there is nothing to wait for.
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_shared_by_all_attempts() {
    let story = Story::new(&["a", "b", "c"], |_| hangs());
    let options = CallOptions {
        deadline: Some(Duration::from_secs(5)),
        timeout: Some(Duration::from_secs(2)),
        ..CallOptions::default()
    };
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("out of time");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(trail(&error.context().attempts), ["a:failure", "b:failure", "c:cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_end_after_the_deadline_is_not_begun() {
    let story = Story::new(&["a"], |_| fails_with(429, &[("retry-after", "8")]));
    let options = CallOptions { deadline: Some(Duration::from_secs(8)), ..CallOptions::default() };
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("limited");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let ErrorKind::RateLimited { reset, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*reset, Some(Duration::from_secs(8)));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_stream_that_still_comes() {
    let mut config = provider("a", 1);
    config["content_idle_timeout_ms"] = json!(null);
    let story = Story::with_config(json!({ "providers": [config] }), |_| {
        says_and_pings(vec![chunk("Oslo")], "data: {\"choices\":[{\"delta\":{\"content\":\".\"}}]}\n\n")
    });
    let options = CallOptions { deadline: Some(Duration::from_secs(3)), ..once() };
    let mut stream = open_with(&story, &options).await.expect("opens");
    let began = time::now().mono;
    let error = loop {
        if let Some(Err(error)) = stream.next().await {
            break error;
        }
    };
    let ErrorKind::StreamInterrupted { failure, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!((failure.phase, began.elapsed()), (Some(Phase::Deadline), Duration::from_secs(3)));
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0, "nobody is blamed");
}
