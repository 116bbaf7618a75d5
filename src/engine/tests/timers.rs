//! Each timer fires on its own cause, ends what it should, and says which it was.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::support::*;
use crate::error::{ErrorKind, Phase};
use crate::time;
use crate::transport::fake;
use crate::types::CallOptions;

fn with(key: &str, millis: u64, script: impl FnMut() -> Answer + Send + 'static) -> Story {
    let mut config = provider("a", 1);
    config[key] = json!(millis);
    let mut script = script;
    Story::with_config(json!({ "providers": [config] }), move |_| script())
}

/// The phase of a timeout, and how long it took.
async fn chat_times_out(story: &Story) -> (Phase, Duration) {
    let began = time::now().mono;
    let error = story.ask_with(&once()).await.expect_err("a timeout");
    let ErrorKind::Timeout { phase, .. } = error.kind() else { panic!("{error:?}") };
    (*phase, began.elapsed())
}

async fn stream_times_out(story: &Story) -> (Phase, Duration) {
    let began = time::now().mono;
    let opened = story.pool.stream_until(question().into(), &once(), Vec::new(), std::future::pending()).await;
    let error = match opened.result {
        Err(error) => error,
        Ok(mut stream) => loop {
            match stream.next().await.expect("an error before the end") {
                Ok(_) => {}
                Err(error) => break error,
            }
        },
    };
    let phase = match error.kind() {
        ErrorKind::Timeout { phase, .. } => *phase,
        ErrorKind::StreamInterrupted { failure, .. } => failure.phase.expect("a timer"),
        other => panic!("{other:?}"),
    };
    (phase, began.elapsed())
}

/// A stream that says one word and then a comment every second.
fn one_word_and_comments() -> Answer {
    says_and_pings(vec![chunk("Oslo")], ": ping\n\n")
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timer_ends_an_attempt() {
    let story = with("timeout", 700, hangs);
    assert_eq!(chat_times_out(&story).await, (Phase::Attempt, Duration::from_millis(700)));
    assert_eq!(stream_times_out(&story).await, (Phase::Attempt, Duration::from_millis(700)));
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_timer_waits_for_the_head_only() {
    let story = with("first_byte_timeout_ms", 700, hangs);
    assert_eq!(chat_times_out(&story).await, (Phase::FirstByte, Duration::from_millis(700)));
    // The head is here at once; a body that takes longer is not its business.
    let story = with("first_byte_timeout_ms", 700, || {
        let slow = stream::once(async {
            time::sleep_until(time::now().mono + Duration::from_secs(5)).await;
            Ok(Bytes::from_static(br#"{"choices":[{"message":{"content":"late"},"finish_reason":"stop"}]}"#))
        });
        fake::stream(200, &[], slow.boxed())
    });
    assert_eq!(story.ask_with(&once()).await.expect("in time").reply.content, "late");
}

#[tokio::test(start_paused = true)]
async fn the_first_content_timer_runs_from_the_sending_on() {
    let no_headers = with("first_content_timeout_ms", 200, hangs);
    assert_eq!(stream_times_out(&no_headers).await, (Phase::FirstContent, Duration::from_millis(200)));
    let all_of_it_late = with("first_content_timeout_ms", 200, || {
        Box::pin(async {
            after(Duration::from_millis(500)).await;
            says(vec![chunk("Oslo"), FINISH.to_owned()]).await
        })
    });
    assert_eq!(stream_times_out(&all_of_it_late).await, (Phase::FirstContent, Duration::from_millis(200)));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timer_of_a_stream_ends_at_its_first_content() {
    let story = with("timeout", 700, one_word_and_comments);
    let (phase, _) = stream_times_out(&story).await;
    assert_eq!(phase, Phase::ContentIdle);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_left_is_booked_at_what_it_may_have_cost() {
    let mut config = provider("a", 1);
    config["input_token_price"] = json!(1.0);
    config["output_token_price"] = json!(1.0);
    let story = Story::with_config(json!({ "providers": [config] }), |_| one_word_and_comments());
    let opened = story.pool.stream_until(question().into(), &once(), Vec::new(), std::future::pending()).await;
    let mut stream = opened.result.expect("opens");
    while !matches!(stream.next().await, Some(Ok(crate::types::StreamEvent::Text(_)))) {}
    drop(stream);
    let usage = &story.pool.engine().provider_stats()["a"].usage;
    assert_eq!(usage.completion_tokens, 1, "one word had come");
    assert!(usage.prompt_tokens > 0);
    assert_eq!(usage.total_cost.as_usd(), (usage.prompt_tokens + usage.completion_tokens) as f64 / 1000.0);
}

#[tokio::test(start_paused = true)]
async fn a_call_begins_when_it_is_handed_over() {
    let story = Story::new(&["a"], |_| hangs());
    let submitted = time::now().mono;
    time::sleep_until(submitted + Duration::from_millis(300)).await;
    let deadline = Some(Duration::from_millis(500));
    let options = CallOptions { deadline, submitted: Some(submitted.into_std()), ..CallOptions::default() };
    story.ask_with(&options).await.expect_err("out of time");
    assert_eq!(submitted.elapsed(), Duration::from_millis(500));
    assert_eq!(story.pool.engine().stats().p50, Some(500.0));

    let story = Story::new(&["a"], |_| answer("yes"));
    let submitted = time::now().mono;
    time::sleep_until(submitted + Duration::from_millis(30)).await;
    story
        .ask_with(&CallOptions { submitted: Some(submitted.into_std()), ..CallOptions::default() })
        .await
        .expect("an answer");
    assert_eq!(story.pool.engine().stats().overhead_p50_us, Some(30_000.0), "waiting for the pool is overhead");
}

/// Answers so many calls in 10 ms each, and hangs from then on.
fn hangs_after(answers: u32) -> Story {
    let mut left = answers;
    Story::new(&["a"], move |_| match left.checked_sub(1) {
        Some(rest) => {
            left = rest;
            slow(Duration::from_millis(10), "yes")
        }
        None => hangs(),
    })
}

fn within(millis: u64) -> CallOptions {
    CallOptions { timeout: Some(Duration::from_millis(millis)), ..once() }
}

fn standing(story: &Story) -> (&'static str, u64) {
    let health = &story.pool.engine().provider_stats()["a"].health;
    (health.circuit_state, health.errors)
}

#[tokio::test(start_paused = true)]
async fn who_gives_less_time_than_is_configured_blames_nobody() {
    let story = hangs_after(0);
    for _ in 0..20 {
        let error = story.ask_with(&within(700)).await.expect_err("a timeout");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Attempt, .. }), "{error:?}");
        assert_eq!(trail(&error.context().attempts), ["a:failure"]);
    }
    assert_eq!(standing(&story), ("closed", 0));
    // The configured time is the provider's to keep, and so is more of it.
    for _ in 0..5 {
        story.ask_with(&within(31_000)).await.expect_err("a timeout");
    }
    assert_eq!(standing(&story), ("open", 5));
}

#[tokio::test(start_paused = true)]
async fn a_short_timeout_counts_where_the_provider_is_known_to_be_faster() {
    for (known, limit, expected) in
        [(50, 700, ("open", 5)), (49, 700, ("closed", 0)), (50, 5, ("closed", 0)), (50, 10, ("open", 5))]
    {
        let story = hangs_after(known);
        for _ in 0..known {
            story.ask().await.expect("an answer");
        }
        for _ in 0..5 {
            story.ask_with(&within(limit)).await.expect_err("a timeout");
        }
        assert_eq!(standing(&story), expected, "{known} answers in 10 ms, {limit} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_ends_a_call_before_anybody_is_asked() {
    let story = Story::new(&["a", "b"], |_| answer("yes"));
    let began = time::now().mono;
    let options = CallOptions { timeout: Some(Duration::ZERO), ..CallOptions::default() };
    let errors = [story.ask_with(&options).await.err(), open_with(&story, &options).await.err()];
    for error in errors {
        let error = error.expect("no time");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Attempt, failure: None }), "{error:?}");
        assert!(error.context().attempts.is_empty());
    }
    assert_eq!((began.elapsed(), story.asked("a"), standing(&story)), (Duration::ZERO, 0, ("closed", 0)));
}
