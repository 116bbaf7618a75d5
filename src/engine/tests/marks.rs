//! What the program itself knows of a provider: `mark_error`, its cool-down, and `clear_error`.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Story, after, answer, fails_with, host, once, provider, slow, trail};
use crate::config::Environment;
use crate::error::ErrorKind;
use crate::event::Event;
use crate::time;
use crate::types::CallOptions;

fn config(cooldown: Value) -> Value {
    json!({ "providers": [provider("a", 1), provider("b", 2)], "routing": { "error_cooldown_ms": cooldown } })
}

fn two(cooldown: Value) -> Story {
    Story::with_config(config(cooldown), |request| answer(host(request)))
}

fn only(name: &str) -> CallOptions {
    CallOptions { providers: vec![name.to_owned()], ..once() }
}

async fn answered(story: &Story) -> Vec<String> {
    trail(&story.ask().await.expect("an answer").attempts)
}

/// Seconds from now, to the nearest: the wall's clock is not paused.
fn seconds_until(unix_ms: u64) -> u64 {
    (unix_ms.saturating_sub(time::unix_ms()) + 500) / 1000
}

/// Available, and seconds until it is.
fn health(story: &Story) -> (bool, Option<u64>) {
    let health = &story.pool.engine().health().providers["a"];
    (health.available, health.retry_at.map(seconds_until))
}

#[tokio::test(start_paused = true)]
async fn a_marked_provider_is_passed_over_until_its_cool_down_ends() {
    let story = two(json!(5_000));
    story.pool.mark_error("a").expect("known");
    assert_eq!(health(&story), (false, Some(5)));
    assert_eq!(answered(&story).await, ["a:marked", "b:success"]);
    after(Duration::from_millis(4_999)).await;
    assert_eq!(answered(&story).await, ["a:marked", "b:success"]);
    after(Duration::from_millis(1)).await;
    assert_eq!(health(&story), (true, None));
    assert_eq!(answered(&story).await, ["a:success"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_mark_to_end_and_a_call_that_names_it_is_refused_with_the_time() {
    let story = two(json!(5_000));
    story.pool.mark_error("a").expect("known");
    let began = time::now().mono;
    let error = story.ask_with(&only("a")).await.expect_err("marked");
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    assert_eq!(reasons[0].reason, "it was marked as broken; asked again in 5.0 s");
    assert_eq!((trail(&error.context().attempts), began.elapsed()), (vec!["a:marked".to_owned()], Duration::ZERO));
    assert_eq!(story.asked("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn marking_again_begins_the_time_anew_and_clearing_ends_it() {
    let story = two(json!(5_000));
    story.pool.mark_error("a").expect("known");
    after(Duration::from_secs(3)).await;
    story.pool.mark_error("a").expect("known");
    assert_eq!(health(&story), (false, Some(5)));
    assert!(story.pool.clear_error("a").expect("known").is_some());
    assert_eq!(health(&story), (true, None));
    assert!(story.pool.clear_error("a").expect("known").is_none(), "it is not marked any more");
    assert_eq!(answered(&story).await, ["a:success"]);
    for unknown in [story.pool.mark_error("c").map(drop), story.pool.clear_error("c").map(drop)] {
        assert!(matches!(unknown.expect_err("unknown").kind(), ErrorKind::Configuration { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cool_down_of_zero_marks_nothing_and_one_without_end_lasts_until_it_is_cleared() {
    let story = two(json!(0));
    assert!(story.pool.mark_error("a").expect("known").is_empty(), "nothing has changed");
    assert_eq!((health(&story), answered(&story).await), ((true, None), vec!["a:success".to_owned()]));
    let story = two(Value::Null);
    story.pool.mark_error("a").expect("known");
    after(Duration::from_secs(365 * 24 * 60 * 60)).await;
    assert_eq!((health(&story), answered(&story).await), ((false, None), vec!["a:marked".into(), "b:success".into()]));
    let error = story.ask_with(&only("a")).await.expect_err("marked");
    assert!(error.to_string().contains("marked as broken until that is cleared"), "{error}");
    story.pool.clear_error("a").expect("known");
    assert_eq!(answered(&story).await, ["a:success"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_mark() {
    let story = two(json!(5_000));
    let told = story.pool.mark_error("a").expect("known");
    let [Event::HealthChanged { provider, healthy: false, reason: Some(_), retry_at }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((provider.as_str(), retry_at.map(seconds_until)), ("a", Some(5)));
    let told = story.pool.clear_error("a").expect("known").expect("it was marked");
    assert!(
        matches!(&told[..], [Event::HealthChanged { healthy: true, reason: None, retry_at: None, .. }]),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_mark_survives_a_reload_that_leaves_its_provider_alone() {
    let story = two(json!(60_000));
    story.pool.mark_error("a").expect("known");
    let reload = async |config: Value| {
        let environment = Environment::from_map::<String, String>([]);
        story.pool.reload(Some(config), environment).await.expect("valid").expect("another one");
    };
    let mut other = config(json!(5));
    other["providers"][0]["priority"] = json!(0);
    reload(other.clone()).await;
    assert_eq!(answered(&story).await, ["a:marked", "b:success"], "marked for as long as it was then");
    other["providers"][0]["base_url"] = json!("https://a.test/v2");
    reload(other).await;
    assert_eq!(answered(&story).await, ["a:success"], "it is another provider now");
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_at_it_end_as_they_began() {
    let story = Story::new(&["a", "b"], |request| match host(request) {
        "a" => slow(Duration::from_secs(2), "from a"),
        name => answer(name),
    });
    let (response, ()) = tokio::join!(story.ask(), async {
        after(Duration::from_secs(1)).await;
        story.pool.mark_error("a").expect("known");
    });
    assert_eq!(response.expect("from a").provider.as_str(), "a");
    assert_eq!(health(&story), (false, Some(59)));
    assert!(!story.pool.engine().health().providers["a"].circuit_breaker_open, "a mark blames nobody");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_to_ask_it_again_asks_no_more() {
    let hint = [("retry-after", "3")];
    let story = Story::new(&["a"], move |_| fails_with(429, &hint));
    let began = time::now().mono;
    let (error, ()) = tokio::join!(story.ask(), async {
        after(Duration::from_secs(1)).await;
        story.pool.mark_error("a").expect("known");
    });
    assert!(matches!(error.expect_err("limited").kind(), ErrorKind::RateLimited { .. }));
    assert_eq!((story.asked("a"), began.elapsed()), (1, Duration::from_secs(3)));
}
