//! A storm of 429: a provider that limits is left alone for as long as it says, is not blamed, and comes back.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::support::*;
use crate::error::ErrorKind;
use crate::time;
use crate::types::AttemptOutcome;

/// Limits everybody for the first ten seconds.
fn limited_for_ten_seconds() -> impl FnMut() -> Answer + Send {
    let began = time::now().mono;
    move || {
        let left = Duration::from_secs(10).saturating_sub(began.elapsed());
        if left.is_zero() { answer("free") } else { fails_with(429, &[("retry-after", &left.as_secs().to_string())]) }
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_provider_limits_the_others_carry_the_load() {
    let mut a = limited_for_ten_seconds();
    let story = Story::new(&["a", "b"], move |request| if host(request) == "a" { a() } else { answer("from b") });
    for _ in 0..200 {
        assert_eq!(story.ask().await.expect("an answer").provider.as_str(), "b");
    }
    assert_eq!(story.asked("a"), 1, "its key rests for as long as it said");
    let health = story.pool.engine().health();
    assert!(!health.providers["a"].circuit_breaker_open && !health.providers["a"].available);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(story.ask().await.expect("an answer").provider.as_str(), "a", "and is asked again when it said");
}

#[tokio::test(start_paused = true)]
async fn a_burst_waits_for_the_hint_and_all_of_it_is_answered() {
    let mut a = limited_for_ten_seconds();
    let mut asked_while_limited = 0;
    let began = time::now().mono;
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&counted);
    let story = Story::new(&["a"], move |_| {
        if began.elapsed() < Duration::from_secs(10) {
            asked_while_limited += 1;
            seen.store(asked_while_limited, std::sync::atomic::Ordering::Relaxed);
        }
        a()
    });
    story.ask_with(&once()).await.expect_err("the first to hear of it");
    let answers = join_all((0..50).map(|_| story.ask())).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 50);
    assert_eq!(counted.load(std::sync::atomic::Ordering::Relaxed), 1, "nobody asks a key that rests");
    let waits = answers.iter().flatten().map(|response| response.attempts.last().expect("a line").waited);
    assert!(waits.into_iter().all(|waited| waited == Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn when_all_limit_for_long_everybody_is_told_at_once_how_long() {
    let story = Story::new(&["a", "b"], |request| {
        fails_with(429, &[("retry-after", if host(request) == "a" { "60" } else { "45" })])
    });
    let began = time::now().mono;
    let errors = join_all((0..100).map(|_| story.ask())).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    for error in errors {
        let error = error.expect_err("limited");
        let ErrorKind::RateLimited { reset, .. } = error.kind() else { panic!("{error:?}") };
        assert_eq!(*reset, Some(Duration::from_secs(45)), "the soonest");
    }
    assert_eq!((story.asked("a"), story.asked("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_limited_key_does_not_rest_the_others() {
    let mut config = provider("a", 1);
    config.as_object_mut().expect("an object").remove("api_key");
    config["api_keys"] = json!(["first", "second"]);
    let story = Story::with_config(json!({ "providers": [config] }), |request| {
        let key = request.headers.get("authorization").expect("a key").to_str().expect("text");
        if key.ends_with("first") { fails_with(429, &[("retry-after", "60")]) } else { answer("by the second") }
    });
    for _ in 0..20 {
        story.ask().await.expect("by the second");
    }
    assert_eq!(story.asked("a"), 21);
    let response = story.ask().await.expect("by the second");
    assert_eq!(
        response.attempts.last().map(|line| (line.key_index, line.outcome)),
        Some((Some(1), AttemptOutcome::Success))
    );
}
