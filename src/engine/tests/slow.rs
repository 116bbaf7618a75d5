//! A provider that is slow: left after its time, blamed for it, and never waited for twice at once.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::error::{ErrorKind, Phase};
use crate::time;
use crate::types::CallOptions;

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_fails_over() {
    let mut slow = provider("a", 1);
    slow["timeout"] = json!(3000);
    let config = json!({ "providers": [slow, provider("b", 2)] });
    let story = Story::with_config(config, |request| if host(request) == "a" { hangs() } else { answer("from b") });
    let began = time::now().mono;
    let response = story.ask().await.expect("b answers");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(response.attempts[0].error_class, Some("timeout"));
    assert_eq!(story.pool.engine().health().providers["a"].errors, 1);
}

#[tokio::test(start_paused = true)]
async fn when_every_attempt_times_out_the_error_says_which_timer_fired() {
    let story = Story::new(&["a"], |_| hangs());
    let options = CallOptions { timeout: Some(Duration::from_secs(3)), max_retries: Some(0), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("a hangs");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Attempt, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_stays_slow_is_soon_not_asked_any_more() {
    let mut config = provider("a", 1);
    config["timeout"] = json!(2000);
    config["circuit_breaker_threshold"] = json!(3);
    let config = json!({ "providers": [config, provider("b", 2)] });
    let story = Story::with_config(config, |request| {
        if host(request) == "a" { slow(Duration::from_secs(20), "too late") } else { answer("from b") }
    });
    let mut latencies = Vec::new();
    for _ in 0..6 {
        latencies.push(story.ask().await.expect("b answers").latency.as_secs());
    }
    assert_eq!(latencies, [2, 2, 2, 0, 0, 0]);
    assert_eq!(story.asked("a"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_straggler_of_before_the_breaker_opened_changes_nothing() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(1);
    let mut nth = 0;
    let story = Story::with_config(json!({ "providers": [config] }), move |_| {
        nth += 1;
        if nth == 1 { slow(Duration::from_secs(10), "late but well") } else { fails(500) }
    });
    let once = once();
    let (straggler, ()) = tokio::join!(story.ask_with(&once), async {
        after(Duration::from_secs(1)).await;
        story.ask_with(&once).await.expect_err("a is down");
    });
    straggler.expect("it was answered");
    assert!(story.pool.engine().health().providers["a"].circuit_breaker_open, "one answer of before proves nothing");
}

#[tokio::test(start_paused = true)]
async fn within_its_time_a_slow_provider_is_waited_for() {
    let story = Story::new(&["a", "b"], |_| slow(Duration::from_secs(29), "at last"));
    let response = story.ask().await.expect("in time");
    assert_eq!(trail(&response.attempts), ["a:success"]);
    assert_eq!(response.attempts[0].latency, Duration::from_secs(29));
}
