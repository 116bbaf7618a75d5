//! The keys of a provider: used in turn, each with its own rests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, fails_with, provider};
use crate::error::ErrorKind;
use crate::time;
use crate::types::CallOptions;

const MINUTE: Duration = Duration::from_secs(60);

fn with_keys(count: usize) -> Value {
    let mut config = provider("a", 1);
    config.as_object_mut().expect("an object").remove("api_key");
    config["api_keys"] = (0..count).map(|key| format!("secret-{key}")).collect();
    json!({ "providers": [config] })
}

/// What each key answers; a key that is not in it works.
type Script = Arc<Mutex<BTreeMap<usize, fn() -> Answer>>>;

fn story(keys: usize) -> (Story, Script) {
    let script = Script::default();
    let said = Arc::clone(&script);
    let story = Story::with_config(with_keys(keys), move |request| {
        let key = request.headers["authorization"].to_str().expect("text");
        let key = key.rsplit('-').next().and_then(|key| key.parse().ok()).expect("a number");
        match said.lock().expect("no panic").get(&key) {
            Some(act) => act(),
            None => answer("ok"),
        }
    });
    (story, script)
}

fn says(script: &Script, key: usize, act: fn() -> Answer) {
    script.lock().expect("no panic").insert(key, act);
}

/// The keys a call used, in order.
async fn used(story: &Story) -> Vec<u32> {
    let options = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    let trail = match story.ask_with(&options).await {
        Ok(response) => response.attempts,
        Err(error) => error.context().attempts.clone(),
    };
    trail.iter().filter_map(|line| line.key_index).collect()
}

fn states(story: &Story) -> Vec<(&'static str, Option<&'static str>)> {
    story.pool.engine().provider_stats()["a"].keys.iter().map(|key| (key.state, key.error_class)).collect()
}

#[tokio::test(start_paused = true)]
async fn keys_take_turns_over_calls() {
    let (story, _) = story(3);
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.extend(used(&story).await);
    }
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_met_its_limit_is_left_alone_for_its_hint_and_the_call_goes_on_with_the_next() {
    let (story, script) = story(2);
    says(&script, 0, || fails_with(429, &[("retry-after", "30")]));
    assert_eq!(used(&story).await, [0, 1]);
    assert_eq!(states(&story), [("resting", Some("rate_limit")), ("ready", None)]);
    assert_eq!([used(&story).await, used(&story).await], [[1], [1]]);
    tokio::time::advance(Duration::from_secs(30)).await;
    script.lock().expect("no panic").clear();
    assert_eq!(states(&story), [("ready", None), ("ready", None)]);
    assert_eq!(used(&story).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_refused_is_out_for_five_minutes_doubling_to_an_hour() {
    let (story, script) = story(2);
    says(&script, 0, || fails(401));
    for minutes in [5, 10, 20, 40, 60, 60] {
        assert_eq!(used(&story).await, [0, 1]);
        assert_eq!(states(&story)[0], ("retired", Some("auth")));
        tokio::time::advance(MINUTE * minutes - Duration::from_secs(1)).await;
        assert_eq!(used(&story).await, [1], "still out, {minutes} min");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    says(&script, 0, || answer("mended"));
    assert_eq!(used(&story).await, [0]);
    assert_eq!(states(&story), [("ready", None), ("ready", None)]);
}

#[tokio::test(start_paused = true)]
async fn a_stated_reset_goes_over_the_five_minutes() {
    let (story, script) = story(2);
    says(&script, 0, || {
        let body = json!({ "error": { "message": "no money", "code": "insufficient_quota" } });
        crate::transport::fake::reply(429, &[("retry-after", "7200")], body.to_string())
    });
    assert_eq!(used(&story).await, [0, 1]);
    assert_eq!(states(&story)[0], ("retired", Some("quota_exhausted")));
    tokio::time::advance(MINUTE * 119).await;
    assert_eq!(used(&story).await, [1]);
    tokio::time::advance(MINUTE).await;
    assert_eq!(used(&story).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_of_a_hundred_calls_probes_a_retired_key() {
    let (story, script) = story(2);
    says(&script, 0, || fails(403));
    used(&story).await;
    tokio::time::advance(MINUTE * 5).await;
    says(&script, 0, || {
        async {
            time::sleep_until(time::now().mono + Duration::from_secs(1)).await;
            fails(403).await
        }
        .boxed()
    });
    let probed = |all: Vec<Vec<u32>>| all.into_iter().filter(|keys| keys.contains(&0)).count();
    assert_eq!(probed(join_all((0..100).map(|_| used(&story))).await), 1);
    assert_eq!(states(&story)[0].0, "retired");
}

#[tokio::test(start_paused = true)]
async fn a_broken_provider_is_not_asked_with_its_other_keys() {
    let (story, script) = story(3);
    says(&script, 0, || fails(500));
    assert_eq!(used(&story).await, [0]);
    assert_eq!(states(&story), [("ready", None); 3]);
}

#[tokio::test(start_paused = true)]
async fn no_view_of_a_key_shows_its_value() {
    let (story, script) = story(2);
    says(&script, 0, || fails(401));
    used(&story).await;
    let stats = serde_json::to_string(&story.pool.engine().provider_stats()).expect("plain data");
    assert!(stats.contains(r#""keys":[{"index":0,"state":"retired""#), "{stats}");
    assert!(!stats.contains("secret-"), "{stats}");
}

/// A provider whose first key is free in 60 s and the second in 2 s, and the call that is to be made then.
async fn one_key_soon_and_one_later() -> (Story, Script) {
    let (story, script) = story(2);
    says(&script, 0, || fails_with(429, &[("retry-after", "60")]));
    says(&script, 1, || fails_with(429, &[("retry-after", "2")]));
    (story, script)
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_key_that_is_free_first() {
    let (story, script) = one_key_soon_and_one_later().await;
    let began = time::now().mono;
    let answered = async {
        time::sleep_until(began + Duration::from_secs(1)).await;
        script.lock().expect("no panic").clear();
    };
    let (response, ()) = tokio::join!(story.ask(), answered);
    let used: Vec<_> = response.expect("an answer").attempts.iter().map(|line| line.key_index).collect();
    assert_eq!((used, began.elapsed()), (vec![Some(0), Some(1), Some(1)], Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_wait_is_told_the_time_of_the_key_that_is_free_first() {
    let (story, _script) = one_key_soon_and_one_later().await;
    used(&story).await;
    let options =
        CallOptions { max_retries: Some(0), deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("both rest");
    let ErrorKind::RateLimited { reset, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(*reset, Some(Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_met_one_key_limit_waits_for_another_key_that_rests_for_less() {
    let (story, script) = story(2);
    says(&script, 1, || fails_with(429, &[("retry-after", "2")]));
    let _ = used(&story).await; // key 0 answers
    let _ = used(&story).await; // key 1 rests now, key 0 answers
    says(&script, 0, || fails_with(429, &[("retry-after", "60")]));
    script.lock().expect("no panic").remove(&1);
    let began = time::now().mono;
    let response = story.ask().await.expect("an answer");
    let used: Vec<_> = response.attempts.iter().filter_map(|line| line.key_index).collect();
    assert_eq!((used, began.elapsed()), (vec![0, 1], Duration::from_secs(2)));
}
