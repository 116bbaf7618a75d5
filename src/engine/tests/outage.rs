//! A provider goes down and comes back: the breaker.

use std::time::Duration;

use serde_json::json;

use super::support::{Story, answer, fails, host, provider};
use crate::error::ErrorKind;
use crate::time;
use crate::types::CallOptions;

fn once() -> CallOptions {
    CallOptions { max_retries: Some(0), ..CallOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn with_all_breakers_open_a_call_sends_nothing_and_waits_for_nothing() {
    let story = Story::new(&["a", "b"], |_| fails(500));
    for _ in 0..5 {
        story.ask_with(&once()).await.expect_err("all are down");
    }
    let sent = story.upstream.requests().len();
    let began = time::now().mono;
    let error = story.ask().await.expect_err("both breakers are open");
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    assert_eq!(reasons.len(), 2);
    assert_eq!(story.upstream.requests().len(), sent);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!story.pool.engine().health().healthy);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_or_a_bad_request_never_opens_the_breaker() {
    for status in [429, 400] {
        let mut config = provider("a", 1);
        config["circuit_breaker_threshold"] = json!(1);
        let story = Story::with_config(json!({ "providers": [config] }), move |_| fails(status));
        for _ in 0..20 {
            story.ask_with(&once()).await.expect_err("a fails");
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert_eq!(story.asked("a"), 20, "status {status}");
        assert!(!story.pool.engine().health().providers["a"].circuit_breaker_open, "status {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_goes_out_however_many_calls_wait_and_its_success_closes_the_breaker() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(1);
    let mut first = true;
    let story = Story::with_config(json!({ "providers": [config] }), move |_| {
        if std::mem::take(&mut first) {
            return fails(500);
        }
        Box::pin(async {
            time::sleep_until(time::now().mono + Duration::from_secs(1)).await;
            answer("back").await
        })
    });
    story.ask_with(&once()).await.expect_err("a is down");
    tokio::time::advance(Duration::from_secs(61)).await;
    let calls = (0..1000).map(|_| async { story.ask_with(&once()).await });
    let results = futures_util::future::join_all(calls).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(story.asked("a"), 2);
    assert_eq!(story.ask().await.expect("closed again").reply.content, "back");
}

#[tokio::test(start_paused = true)]
async fn a_reset_closes_an_open_breaker() {
    let mut down = true;
    let story = Story::new(&["a"], move |_| {
        let _ = &mut down;
        fails(500)
    });
    for _ in 0..5 {
        story.ask_with(&once()).await.expect_err("a is down");
    }
    assert_eq!(story.pool.engine().reset_circuit_breakers(None), ["a"]);
    story.ask_with(&once()).await.expect_err("a is still down");
    assert_eq!(story.asked("a"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_priority_that_is_moved_counts_at_once() {
    let story = Story::new(&["a", "b"], |request| answer(host(request)));
    assert!(story.pool.engine().set_priority("b", 0));
    assert_eq!(story.ask().await.expect("b").provider.as_str(), "b");
    assert_eq!(story.pool.engine().health().best_provider.map(|name| name.to_string()), Some("b".into()));
    assert!(!story.pool.engine().set_priority("nobody", 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_opened_the_last_breaker_does_not_sleep_for_it() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(json!({ "providers": [config] }), |_| fails(500));
    let began = time::now().mono;
    let error = story.ask().await.expect_err("a is down");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
    assert_eq!(story.pool.engine().stats().retry_count, 0);
}
