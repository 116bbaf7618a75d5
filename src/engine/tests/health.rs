//! Active checks: who is found broken, who is up again, and what that means for the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::support::{Story, answer, fails, hangs, host, provider};
use crate::config::Environment;
use crate::event::Event;
use crate::time;
use crate::transport::fake;
use crate::types::CallOptions;

/// Two providers in order whose checks are on. The list of models of `a` is answered with this status; 0 is never.
fn checked(changes: Value) -> (Story, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let said = Arc::clone(&status);
    let mut health = json!({ "active": true });
    health.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "health": health });
    let story = Story::with_config(config, move |request| match (&request.method, host(request)) {
        (&Method::POST, name) => answer(name),
        (_, "a") => match said.load(Ordering::Relaxed) {
            0 => hangs(),
            200 => fake::reply(200, &[], r#"{"data":[{"id":"m"}]}"#),
            status => fails(status),
        },
        _ => fake::reply(200, &[], r#"{"data":[]}"#),
    });
    (story, status)
}

async fn after(wait: Duration) {
    time::sleep_until(time::now().mono + wait).await;
}

#[expect(clippy::disallowed_methods, reason = "it runs beside the test, as it does beside the calls")]
fn keep_up(story: &Story) -> tokio::task::JoinHandle<()> {
    tokio::spawn(story.pool.upkeep().run(|_| {}))
}

async fn check(story: &Story) -> Vec<Event> {
    story.pool.engine().check_providers().await
}

fn changes(events: &[Event]) -> Vec<(String, bool)> {
    let changed = events.iter().filter_map(|event| match event {
        Event::HealthChanged { provider, healthy, .. } => Some((provider.to_string(), *healthy)),
        _ => None,
    });
    changed.collect()
}

async fn answers(story: &Story) -> String {
    story.ask().await.expect("an answer").provider.to_string()
}

#[tokio::test(start_paused = true)]
async fn two_failed_checks_put_a_provider_behind_the_others_and_one_good_one_brings_it_back() {
    let (story, status) = checked(json!({}));
    assert!(changes(&check(&story).await).is_empty());
    status.store(503, Ordering::Relaxed);
    assert!(changes(&check(&story).await).is_empty(), "one may be a lost packet");
    assert_eq!(answers(&story).await, "a");
    let events = check(&story).await;
    assert_eq!(changes(&events), [("a".to_owned(), false)]);
    assert!(matches!(&events[0], Event::HealthChanged { reason: Some(_), .. }), "{events:?}");
    assert_eq!(answers(&story).await, "b");
    assert!(!story.pool.engine().health().providers["a"].available);
    assert!(changes(&check(&story).await).is_empty(), "it is told once");
    let only = CallOptions { providers: vec!["a".to_owned()], ..CallOptions::default() };
    assert_eq!(story.ask_with(&only).await.expect("with nobody else the call decides").provider.as_str(), "a");
    status.store(200, Ordering::Relaxed);
    assert_eq!(changes(&check(&story).await), [("a".to_owned(), true)]);
    assert_eq!(answers(&story).await, "a");
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_as_configured() {
    let (story, status) = checked(json!({ "failures": 1 }));
    status.store(500, Ordering::Relaxed);
    assert_eq!(changes(&check(&story).await), [("a".to_owned(), false)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_blames_nobody_says_that_it_is_up() {
    for code in [200, 401, 403, 404, 405, 429] {
        let (story, status) = checked(json!({ "failures": 1 }));
        status.store(code, Ordering::Relaxed);
        assert!(changes(&check(&story).await).is_empty(), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_gets_no_answer_fails_at_its_timeout() {
    let (story, status) = checked(json!({ "failures": 1, "timeout_ms": 700 }));
    status.store(0, Ordering::Relaxed);
    let began = time::now().mono;
    assert_eq!(changes(&check(&story).await), [("a".to_owned(), false)]);
    assert_eq!(began.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn a_good_check_ends_the_open_period_of_a_breaker() {
    let broken = Arc::new(AtomicU16::new(500));
    let said = Arc::clone(&broken);
    let mut config = json!({ "providers": [provider("a", 1), provider("b", 2)], "health": { "active": true } });
    config["providers"][0]["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(config, move |request| match (&request.method, host(request)) {
        (_, "a") if said.load(Ordering::Relaxed) != 200 => fails(500),
        (&Method::POST, name) => answer(name),
        _ => fake::reply(200, &[], r#"{"data":[]}"#),
    });
    assert_eq!(answers(&story).await, "b");
    check(&story).await;
    assert!(story.pool.engine().health().providers["a"].circuit_breaker_open, "a bad check changes nothing");
    broken.store(200, Ordering::Relaxed);
    let events = check(&story).await;
    assert!(events.iter().any(|event| matches!(event, Event::CircuitHalfOpen { .. })), "{events:?}");
    assert_eq!(answers(&story).await, "a", "the call is the probe");
    assert!(!story.pool.engine().health().providers["a"].circuit_breaker_open);
}

#[tokio::test(start_paused = true)]
async fn upkeep_checks_every_interval_until_the_pool_closes() {
    let (story, _) = checked(json!({ "interval_ms": 1000 }));
    let upkeep = keep_up(&story);
    after(Duration::from_millis(3_500)).await;
    assert_eq!(story.asked("a"), 4, "at once, and after each second");
    story.pool.shutdown(Duration::ZERO).await;
    upkeep.await.expect("it ends with the pool");
    let (story, _) = checked(json!({ "active": false }));
    let upkeep = keep_up(&story);
    after(Duration::from_secs(100)).await;
    assert_eq!(story.asked("a"), 0);
    drop(story);
    upkeep.await.expect("it ends without its pool");
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_how_often_it_is_checked_from_that_moment_on() {
    let (story, _) = checked(json!({ "active": false, "interval_ms": 3_600_000 }));
    let upkeep = keep_up(&story);
    let reload = async |health: Value| {
        let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "health": health });
        let reloaded = story.pool.reload(Some(config), Environment::from_map::<String, String>([])).await;
        assert!(reloaded.expect("valid").is_some());
        after(Duration::from_millis(1)).await;
    };
    reload(json!({ "active": true, "interval_ms": 10_000 })).await;
    assert_eq!(story.asked("a"), 1, "switched on, it checks at once");
    after(Duration::from_secs(5)).await;
    reload(json!({ "active": true, "interval_ms": 60_000 })).await;
    after(Duration::from_secs(50)).await;
    assert_eq!(story.asked("a"), 1, "a reload is no reason to check");
    reload(json!({ "active": true, "interval_ms": 1_000 })).await;
    assert_eq!(story.asked("a"), 2, "it is due by the new interval");
    reload(json!({ "active": false })).await;
    after(Duration::from_secs(100)).await;
    assert_eq!(story.asked("a"), 2);
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn warm_asks_once_at_the_start_and_the_others_are_left_alone() {
    let mut config = json!({ "providers": [provider("a", 1), provider("b", 2)] });
    config["providers"][1]["warm"] = json!(true);
    let story = Story::with_config(config, |_| fails(500));
    let upkeep = keep_up(&story);
    after(Duration::from_secs(100)).await;
    assert_eq!((story.asked("a"), story.asked("b")), (0, 1));
    assert!(story.pool.engine().health().healthy, "what it answers does not matter");
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn what_checks_found_survives_a_reload_until_nobody_checks_any_more() {
    let (story, status) = checked(json!({ "failures": 1 }));
    status.store(503, Ordering::Relaxed);
    assert_eq!(changes(&check(&story).await), [("a".to_owned(), false)]);
    let config = |active: bool| {
        let mut slow = provider("a", 1);
        slow["timeout"] = json!(7_000);
        json!({ "providers": [slow, provider("b", 2)], "health": { "active": active, "failures": 1 } })
    };
    for (active, expected) in [(true, "b"), (false, "a")] {
        let reloaded = story.pool.reload(Some(config(active)), Environment::from_map::<String, String>([])).await;
        assert!(reloaded.expect("valid").is_some());
        assert_eq!(answers(&story).await, expected);
    }
}
