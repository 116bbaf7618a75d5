//! How often a call may ask, and how long it waits in between.

use std::time::Duration;

use super::support::{Story, answer, fails, fails_with, host, trail};
use crate::error::ErrorKind;
use crate::time;
use crate::types::CallOptions;

fn options(max_retries: u32) -> CallOptions {
    CallOptions { max_retries: Some(max_retries), ..CallOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_call_asks_each_provider_once_and_then_max_retries_more_times() {
    for max_retries in [0, 1, 3, 5] {
        let story = Story::new(&["a", "b"], |_| fails(500));
        let error = story.ask_with(&options(max_retries)).await.expect_err("all are down");
        assert_eq!(story.upstream.requests().len(), 2 + max_retries as usize);
        assert_eq!(error.context().attempts.len(), 2 + max_retries as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn retries_go_round_the_providers() {
    let story = Story::new(&["a", "b"], |_| fails(500));
    let error = story.ask_with(&options(3)).await.expect_err("all are down");
    let order: Vec<_> = error.context().attempts.iter().map(|line| line.provider.as_str()).collect();
    assert_eq!(order, ["a", "b", "a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_before_a_retry_doubles_and_stays_within_its_half() {
    let story = Story::new(&["a"], |_| fails(500));
    let error = story.ask_with(&options(3)).await.expect_err("a is down");
    let waits: Vec<_> = error.context().attempts.iter().map(|line| line.waited.as_secs_f64()).collect();
    assert_eq!(waits[0], 0.0);
    for (wait, full) in waits[1..].iter().zip([1.0, 2.0, 4.0]) {
        assert!((full / 2.0..=full).contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_servers_hint_wins_over_the_backoff() {
    let mut first = true;
    let story = Story::new(&["a"], move |_| {
        if std::mem::take(&mut first) { fails_with(503, &[("retry-after", "7")]) } else { answer("back") }
    });
    let response = story.ask().await.expect("a is back");
    assert_eq!(response.attempts[1].waited, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_hint_beyond_the_queue_timeout_fails_at_once_with_the_exact_wait() {
    let story = Story::new(&["a"], |_| fails_with(429, &[("retry-after", "30")]));
    let began = time::now().mono;
    let error = story.ask().await.expect_err("limited");
    let ErrorKind::RateLimited { reset, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*reset, Some(Duration::from_secs(30)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The key rests, so the next call sends nothing at all.
    let error = story.ask().await.expect_err("limited");
    assert!(matches!(error.kind(), ErrorKind::RateLimited { .. }), "{error:?}");
    assert_eq!(story.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_do_not_retry_is_not_asked_again_but_the_next_one_is() {
    let story = Story::new(&["a", "b"], |request| {
        if host(request) == "a" { fails_with(500, &[("x-should-retry", "false")]) } else { fails(500) }
    });
    let error = story.ask_with(&options(2)).await.expect_err("all are down");
    assert_eq!(trail(&error.context().attempts), ["a:failure", "b:failure", "b:failure", "b:failure"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_a_hint_is_asked_again_after_the_backoff_and_costs_one_retry() {
    let mut limited = 2;
    let story = Story::new(&["a"], move |_| {
        limited -= 1;
        if limited >= 0 { fails(429) } else { answer("free again") }
    });
    let response = story.ask_with(&options(2)).await.expect("free again");
    assert_eq!(trail(&response.attempts), ["a:failure", "a:failure", "a:success"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_a_rate_limit_only_when_nobody_failed_in_another_way() {
    let limit = || fails_with(429, &[("retry-after", "30")]);
    let story = Story::new(&["a", "b"], move |request| if host(request) == "a" { fails(500) } else { limit() });
    let error = story.ask_with(&options(0)).await.expect_err("nobody answers");
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
    let story = Story::new(&["a", "b"], move |_| limit());
    let error = story.ask_with(&options(0)).await.expect_err("nobody answers");
    assert!(matches!(error.kind(), ErrorKind::RateLimited { .. }), "{error:?}");
}
