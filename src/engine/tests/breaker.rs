//! Every setting of the breaker has its effect; a stream proves by its first content; stragglers say nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, provider, question, stream_that_stays_open};
use crate::time;
use crate::types::CallOptions;

const SECOND: Duration = Duration::from_secs(1);

/// One provider with these settings that fails where the pattern says `x`, over and over.
fn story(pattern: &'static str, of_provider: Value, of_pool: Value) -> Story {
    let mut config = provider("a", 1);
    config.as_object_mut().expect("an object").extend(of_provider.as_object().expect("an object").clone());
    let mut calls = 0;
    Story::with_config(json!({ "providers": [config], "routing": of_pool }), move |_| {
        calls += 1;
        if pattern.as_bytes()[(calls - 1) % pattern.len()] == b'x' { fails(500) } else { answer("ok") }
    })
}

fn once() -> CallOptions {
    CallOptions { max_retries: Some(0), ..CallOptions::default() }
}

fn state(story: &Story) -> &'static str {
    story.pool.engine().health().providers["a"].circuit_state
}

/// How many calls it takes until the breaker opens; `None`: a hundred do not open it.
async fn opens_after(story: &Story, pause: Duration) -> Option<usize> {
    for call in 1..=100 {
        let _ = story.ask_with(&once()).await;
        if state(story) == "open" {
            return Some(call);
        }
        tokio::time::advance(pause).await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn the_threshold_counts_failures_in_a_row_and_zero_is_no_breaker() {
    for (threshold, calls) in [(json!(1), Some(1)), (json!(7), Some(7)), (json!(0), None), (json!(null), None)] {
        let story = story("x", json!({ "circuit_breaker_threshold": threshold }), json!({}));
        assert_eq!(opens_after(&story, Duration::ZERO).await, calls, "{threshold}");
    }
}

#[tokio::test(start_paused = true)]
async fn enable_circuit_breaker_false_is_no_breaker_anywhere() {
    let story = story("x", json!({ "circuit_breaker_threshold": 1 }), json!({ "enable_circuit_breaker": false }));
    assert_eq!(opens_after(&story, Duration::ZERO).await, None);
}

#[tokio::test(start_paused = true)]
async fn failure_ratio_and_min_calls_say_when_a_share_is_too_much() {
    // Every fourth call fails.
    for (breaker, calls) in [
        (json!({}), None),
        (json!({ "failure_ratio": 0.25 }), Some(12)),
        (json!({ "failure_ratio": 0.25, "min_calls": 4 }), Some(4)),
        (json!({ "failure_ratio": 0.25, "min_calls": 30 }), Some(32)),
        (json!({ "failure_ratio": 0.3 }), None),
    ] {
        let story = story("ooox", json!({}), json!({ "breaker": breaker }));
        assert_eq!(opens_after(&story, Duration::ZERO).await, calls, "{breaker}");
    }
}

#[tokio::test(start_paused = true)]
async fn window_s_says_how_far_back_the_share_looks() {
    // A call every 3 s: 20 of them in a minute, 3 in ten seconds.
    let with_window = |seconds: u64| story("xo", json!({}), json!({ "breaker": { "window_s": seconds } }));
    assert_eq!(opens_after(&with_window(60), SECOND * 3).await, Some(10));
    assert_eq!(opens_after(&with_window(10), SECOND * 3).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_open_period_doubles_from_its_first_up_to_its_longest() {
    let open = json!({ "circuit_breaker_threshold": 1, "circuit_breaker_timeout": 10_000 });
    for (longest, periods) in [(json!(60_000), [10, 20, 40, 60, 60]), (json!(5_000), [10; 5])] {
        let story = story("x", open.clone(), json!({ "breaker": { "max_open_ms": longest } }));
        for seconds in periods {
            let _ = story.ask_with(&once()).await;
            assert_eq!(state(&story), "open");
            tokio::time::advance(SECOND * seconds - Duration::from_millis(1)).await;
            assert_eq!(state(&story), "open", "{seconds} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(state(&story), "half-open", "{seconds} s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_left_makes_room_for_the_next_one() {
    let mut calls = 0;
    let story = Story::with_config(
        json!({ "providers": [{ "name": "a", "type": "openai", "model": "m", "api_key": "k",
            "base_url": "https://a.test/v1", "circuit_breaker_threshold": 1 }] }),
        move |_| {
            calls += 1;
            match calls {
                1 => fails(500),
                2 => super::support::hangs(),
                _ => answer("back"),
            }
        },
    );
    let _ = story.ask_with(&once()).await;
    tokio::time::advance(SECOND * 60).await;
    let leaves = time::now().mono + SECOND;
    assert!(time::until(Some(leaves), story.ask_with(&once())).await.is_err(), "the probe hangs");
    story.ask_with(&once()).await.expect("the next one probes");
    assert_eq!(state(&story), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_proves_by_its_first_content() {
    let mut first = true;
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(json!({ "providers": [config] }), move |_| {
        if std::mem::take(&mut first) { fails(500) } else { stream_that_stays_open() }
    });
    let _ = story.ask_with(&once()).await;
    tokio::time::advance(SECOND * 60).await;
    let opened = story.pool.stream_until(Arc::new(question()), &once(), Vec::new(), std::future::pending()).await;
    let stream = opened.result.expect("its first content");
    assert_eq!(state(&story), "closed", "the stream goes on");
    drop(stream);
    assert_eq!(state(&story), "closed");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_it_opened_changes_nothing_afterwards() {
    // The first answers late, badly or well; the others open the breaker at once.
    for late in [500, 200] {
        let mut calls = 0;
        let mut config = provider("a", 1);
        config["circuit_breaker_threshold"] = json!(2);
        let story = Story::with_config(json!({ "providers": [config] }), move |_| -> Answer {
            calls += 1;
            match calls {
                1 => async move {
                    time::sleep_until(time::now().mono + SECOND * 10).await;
                    if late == 200 { answer("late").await } else { fails(late).await }
                }
                .boxed(),
                2 | 3 => fails(500),
                _ => answer("back"),
            }
        });
        let options = once();
        let straggler = story.ask_with(&options);
        let opens = async {
            for _ in 0..2 {
                let _ = story.ask_with(&options).await;
            }
            assert_eq!(state(&story), "open");
            story.pool.engine().health().providers["a"].retry_at
        };
        let (_, retry_at) = tokio::join!(straggler, opens);
        let health = &story.pool.engine().health().providers["a"];
        assert_eq!((health.circuit_state, health.retry_at.is_some()), ("open", retry_at.is_some()), "late {late}");
        assert_eq!(story.pool.engine().stats().circuit_breaker_trips, 1);
    }
}
