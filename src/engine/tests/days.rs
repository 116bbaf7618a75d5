//! A day's quota is the provider's, whatever becomes of the pool's configuration and of its process.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::{Story, answer, provider};
use crate::config::Environment;
use crate::policy::{DayCount, DayCounts};
use crate::time;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn with(name: &str, changes: Value) -> Value {
    let mut provider = provider(name, 1);
    let (Value::Object(map), Value::Object(changes)) = (&mut provider, changes) else { panic!("objects") };
    map.extend(changes);
    provider
}

fn pool(providers: &[Value]) -> Value {
    json!({ "providers": providers })
}

fn story(providers: &[Value]) -> Story {
    Story::with_config(pool(providers), |_| answer("yes"))
}

async fn reload(story: &Story, providers: &[Value]) {
    let environment = Environment::from_map::<String, String>([]);
    story.pool.reload(Some(pool(providers)), environment).await.expect("valid").expect("another one");
}

fn left_of_the_day(story: &Story, name: &str) -> Option<u64> {
    story.pool.engine().health().providers[name].daily_requests_remaining
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_changed_at_noon_brings_no_new_day() {
    let limits = |minute: u32, day: u32| json!({ "requests_per_minute": minute, "requests_per_day": day });
    let story = story(&[with("a", limits(60, 5))]);
    for _ in 0..3 {
        story.ask().await.expect("a answers");
    }
    reload(&story, &[with("a", limits(600, 5))]).await;
    assert_eq!(left_of_the_day(&story, "a"), Some(2), "a wider minute");
    reload(&story, &[with("a", limits(600, 10))]).await;
    assert_eq!(left_of_the_day(&story, "a"), Some(7), "a wider day");
    reload(&story, &[with("a", limits(600, 2))]).await;
    assert_eq!(left_of_the_day(&story, "a"), Some(0), "one that is used up already");
    story.ask().await.expect_err("nothing is left of the day");
    assert_eq!(story.asked("a"), 3);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_the_day_go_on_as_well() {
    let limits = |minute: u32| json!({ "requests_per_minute": minute, "tokens_per_day": 1000 });
    let story = story(&[with("a", limits(60))]);
    story.ask().await.expect("a answers");
    let counted = |story: &Story| story.pool.engine().day_counts()["a"].tokens.map(|day| day.count);
    assert_eq!(counted(&story), Some(18), "as the answer said");
    reload(&story, &[with("a", limits(61))]).await;
    assert_eq!(counted(&story), Some(18));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_the_same_day_finds_what_it_had_used() {
    let day = json!({ "requests_per_day": 5 });
    let story = story(&[with("a", day.clone()), provider("b", 2)]);
    story.ask().await.expect("a answers");
    reload(&story, &[provider("b", 2)]).await;
    reload(&story, &[with("a", day.clone()), provider("b", 2)]).await;
    assert_eq!(left_of_the_day(&story, "a"), Some(4), "it was taken out and put in again");
    // Without a limit nobody counts; with one again the day is still the same.
    reload(&story, &[provider("a", 1), provider("b", 2)]).await;
    assert_eq!(left_of_the_day(&story, "a"), None);
    reload(&story, &[with("a", day.clone()), provider("b", 2)]).await;
    assert_eq!(left_of_the_day(&story, "a"), Some(4), "its limit was taken away and set again");
    // What stays as it is counts once, however often something else is changed.
    for priority in 3..6 {
        reload(&story, &[with("a", day.clone()), provider("b", priority)]).await;
    }
    assert_eq!(left_of_the_day(&story, "a"), Some(4));
}

#[tokio::test(start_paused = true)]
async fn the_next_process_goes_on_with_the_day() {
    let day = json!({ "requests_per_day": 5 });
    let before = story(&[with("a", day.clone()), with("gone", day.clone())]);
    for _ in 0..3 {
        before.ask().await.expect("answered");
    }
    let saved = serde_json::to_string(&before.pool.engine().day_counts()).expect("plain data");
    let saved: BTreeMap<String, DayCounts> = serde_json::from_str(&saved).expect("as it was written");
    let used: u64 = saved.values().filter_map(|day| day.requests).map(|day| day.count).sum();
    assert_eq!(used, 3, "{saved:?}");

    let after = story(&[with("a", day.clone())]);
    after.ask().await.expect("answered");
    after.pool.engine().restore_days(&saved);
    let of_a = saved.get("a").and_then(|day| day.requests).map_or(0, |day| day.count);
    assert_eq!(left_of_the_day(&after, "a"), Some(5 - of_a - 1), "what was counted since counts as well");
    // The one that is not there is remembered for when it comes, and for the next process.
    assert_eq!(after.pool.engine().day_counts().get("gone"), saved.get("gone"));
    reload(&after, &[with("a", day.clone()), with("gone", day)]).await;
    assert_eq!(left_of_the_day(&after, "gone"), Some(5 - (used - of_a)));
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_over_is_forgotten() {
    let story = story(&[with("a", json!({ "requests_per_day": 5 }))]);
    let today = time::unix_ms() / DAY * DAY;
    let day = |begins: u64, count: u64| DayCounts {
        requests: Some(DayCount { begins, ends: begins + DAY, count }),
        tokens: None,
    };
    let saved = BTreeMap::from([("a".to_owned(), day(today - DAY, 5)), ("gone".to_owned(), day(today - DAY, 5))]);
    story.pool.engine().restore_days(&saved);
    assert_eq!(left_of_the_day(&story, "a"), Some(5), "yesterday's are yesterday's");
    assert_eq!(story.pool.engine().day_counts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn names_that_come_and_go_are_bounded() {
    let story = story(&[provider("a", 1)]);
    let today = time::unix_ms() / DAY * DAY;
    let requests = Some(DayCount { begins: today, ends: today + DAY, count: 1 });
    let saved = (0..1000).map(|n| (format!("p{n}"), DayCounts { requests, tokens: None })).collect();
    story.pool.engine().restore_days(&saved);
    assert_eq!(story.pool.engine().day_counts().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn nobody_in_a_large_pool_is_given_a_new_day() {
    let all = |minute: u32, departed: &str| {
        let limits = json!({ "requests_per_minute": minute, "requests_per_day": 5 });
        let names = (0..130).map(|n| format!("{departed}{n}"));
        names.map(|name| with(&name, limits.clone())).collect::<Vec<_>>()
    };
    let story = story(&all(60, "z"));
    let today = time::unix_ms() / DAY * DAY;
    let requests = Some(DayCount { begins: today, ends: today + DAY, count: 2 });
    // Those that are gone come first, and are more than are remembered.
    let names = ["a", "z"].map(|of| (0..130).map(move |n| format!("{of}{n}")));
    let saved = names.into_iter().flatten().map(|name| (name, DayCounts { requests, tokens: None })).collect();
    story.pool.engine().restore_days(&saved);
    let left = |story: &Story| (0..130).filter(|n| left_of_the_day(story, &format!("z{n}")) == Some(3)).count();
    assert_eq!(left(&story), 130, "restored");
    reload(&story, &all(61, "z")).await;
    assert_eq!(left(&story), 130, "reloaded");
    // The last to go are remembered, not the first.
    reload(&story, &[provider("b", 1)]).await;
    let days = story.pool.engine().day_counts();
    assert_eq!((days.len(), days.keys().filter(|name| name.starts_with('z')).count()), (100, 100));
}
