//! A provider goes down and comes back: the breaker.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::error::ErrorKind;
use crate::time;
use crate::transport::fake;
use crate::types::{AttemptOutcome, ChatRequest};

#[tokio::test(start_paused = true)]
async fn an_outage_costs_five_requests_and_its_end_is_seen_by_one() {
    let began = time::now().mono;
    let story = Story::new(&["a", "b"], move |request| {
        let down = host(request) == "a" && began.elapsed() < Duration::from_secs(100);
        if down { fails(503) } else { answer(host(request)) }
    });
    let mut by_a = 0;
    for second in 0..200 {
        let response = story.ask().await.expect("somebody answers");
        if response.provider.as_str() == "a" {
            by_a += 1;
            assert!(second >= 180, "a is back at 100 s and is seen by the probe at 60 + 120 s");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    // Five that opened it, the probe at 60 s that failed, and the one at 184 s that did not.
    assert_eq!(story.asked("a") - by_a, 6);
    assert!(by_a >= 15, "{by_a}");
    assert_eq!(story.pool.engine().stats().failed_requests, 0, "no caller noticed");
}

#[tokio::test(start_paused = true)]
async fn a_burst_against_a_dead_pool_stays_within_the_retry_budget() {
    let mut dead = provider("a", 1);
    dead["circuit_breaker_threshold"] = json!(0);
    let story = Story::with_config(json!({ "providers": [dead] }), |_| fails(500));
    let calls = (0..200).map(|_| story.ask());
    let errors = futures_util::future::join_all(calls).await;
    let refused = errors
        .iter()
        .filter_map(|result| result.as_ref().err())
        .filter(|error| error.context().attempts.iter().any(|line| line.outcome == AttemptOutcome::RetryBudget))
        .count();
    let retries = story.upstream.requests().len() - 200;
    assert!(retries <= 80, "{retries} retries for 200 calls"); // 20 % of 200, the burst, and 1/s for some seconds
    assert!(refused > 100, "{refused} calls were told so");
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

/// Answers 404 for the model "m" and is well otherwise.
fn without_a_model() -> Story {
    let mut config = provider("a", 1);
    config["models"] = json!({ "other": "n" });
    Story::with_config(json!({ "providers": [config] }), |request| {
        if String::from_utf8_lossy(&request.body).contains("\"model\":\"m\"") {
            let body = json!({ "error": { "message": "no such model", "code": "model_not_found" } });
            fake::reply(404, &[], body.to_string())
        } else {
            answer("n")
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_its_own_model_is_not_available_and_says_until_when() {
    let story = without_a_model();
    let health = || story.pool.engine().health();
    story.ask_with(&once()).await.expect_err("there is no such model");
    assert!(!health().healthy && !health().providers["a"].available);
    let minutes = (health().providers["a"].retry_at.expect("a time") - time::unix_ms()) / 60_000;
    assert!((4..=5).contains(&minutes), "{minutes}");
    let error = story.ask_with(&once()).await.expect_err("it is not asked");
    assert_eq!(trail(&error.context().attempts), ["a:model_missing"]);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(300)));
    assert_eq!(story.asked("a"), 1);
    let other = ChatRequest { model: Some("other".to_owned()), ..question() };
    assert_eq!(story.pool.chat(&other, &once()).await.expect("its other model").reply.content, "n");
    after(Duration::from_secs(301)).await;
    assert!(health().healthy);
    assert_eq!(health().providers["a"].retry_at, None);
}

#[tokio::test(start_paused = true)]
async fn a_reset_forgets_that_a_model_was_missing() {
    let story = without_a_model();
    story.ask_with(&once()).await.expect_err("there is no such model");
    assert_eq!(story.pool.engine().reset_circuit_breakers(Some("a")), ["a"]);
    assert!(story.pool.engine().health().healthy);
    story.ask_with(&once()).await.expect_err("it is asked again");
    assert_eq!(story.asked("a"), 2);
    assert!(story.pool.engine().reset_circuit_breakers(Some("b")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_provider_says_when_the_first_of_them_can_be_asked_again() {
    let story = Story::new(&["a", "b"], |request| match host(request) {
        "a" => fails(401),
        _ => fails(500),
    });
    for _ in 0..5 {
        story.ask_with(&once()).await.expect_err("one is refused, the other is down");
    }
    let error = story.ask_with(&once()).await.expect_err("nobody can be asked");
    assert!(matches!(error.kind(), ErrorKind::NoProvider { .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)), "the breaker of b, before the key of a");
}

#[tokio::test(start_paused = true)]
async fn a_priority_that_is_moved_counts_at_once() {
    let story = Story::new(&["a", "b"], |request| answer(host(request)));
    story.pool.set_priority("b", 0).expect("known");
    assert_eq!(story.ask().await.expect("b").provider.as_str(), "b");
    assert_eq!(story.pool.engine().health().best_provider.map(|name| name.to_string()), Some("b".into()));
    story.pool.set_priority("nobody", 0).expect_err("unknown");
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
