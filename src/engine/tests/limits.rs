//! Limits bound what is sent, and a call waits for capacity only when that is worth it.

use std::time::Duration;

use serde_json::json;

use super::support::{Story, answer, host, provider, trail};
use crate::error::ErrorKind;
use crate::time;

fn limited(name: &str, priority: u32, per_minute: u32) -> serde_json::Value {
    let mut limited = provider(name, priority);
    limited["requests_per_minute"] = json!(per_minute);
    limited
}

#[tokio::test(start_paused = true)]
async fn two_hundred_calls_against_a_limit_of_fifty_send_exactly_fifty() {
    // Nobody has answered when the last one asks: counting the answers would send them all.
    let story = Story::with_config(json!({ "providers": [limited("a", 1, 50)] }), |_| {
        Box::pin(async {
            time::sleep_until(time::now().mono + Duration::from_secs(1)).await;
            answer("ok").await
        })
    });
    let results = futures_util::future::join_all((0..200).map(|_| story.ask())).await;
    assert_eq!(story.asked("a"), 50);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    for error in results.into_iter().filter_map(Result::err) {
        let ErrorKind::RateLimited { reset: Some(reset), .. } = error.kind() else { panic!("{error:?}") };
        assert_eq!(*reset, Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_provider_is_passed_over_and_the_trail_says_so() {
    let config = json!({ "providers": [limited("a", 1, 1), provider("b", 2)] });
    let story = Story::with_config(config, |request| answer(host(request)));
    assert_eq!(story.ask().await.expect("a").provider.as_str(), "a");
    let response = story.ask().await.expect("b");
    assert_eq!(trail(&response.attempts), ["a:rate_limited", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_soonest_slot_when_it_is_near() {
    let story = Story::with_config(json!({ "providers": [limited("a", 1, 1)] }), |_| answer("ok"));
    story.ask().await.expect("the first");
    tokio::time::advance(Duration::from_secs(55)).await;
    let began = time::now().mono;
    let response = story.ask().await.expect("the second, after a wait");
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(response.attempts.last().map(|line| line.provider.as_str()), Some("a"));
    assert_eq!(story.asked("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_is_never_used() {
    let config = json!({ "providers": [limited("a", 1, 0), provider("b", 2)] });
    let story = Story::with_config(config, |request| answer(host(request)));
    assert_eq!(story.ask().await.expect("b").provider.as_str(), "b");
    let story = Story::with_config(json!({ "providers": [limited("a", 1, 0)] }), |_| answer("ok"));
    let error = story.ask().await.expect_err("nobody");
    assert!(matches!(error.kind(), ErrorKind::NoProvider { reasons } if reasons.len() == 1), "{error:?}");
    assert_eq!(story.asked("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_timeout_of_zero_never_waits() {
    let config = json!({ "providers": [limited("a", 1, 1)], "routing": { "queue_timeout_ms": 0 } });
    let story = Story::with_config(config, |_| answer("ok"));
    story.ask().await.expect("the first");
    tokio::time::advance(Duration::from_millis(59_990)).await;
    let error = story.ask().await.expect_err("10 ms too early");
    let ErrorKind::RateLimited { reset, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*reset, Some(Duration::from_millis(10)));
}
