//! A provider that falls over again and again: seen by its share of failures, and asked less and less often.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::time;

#[tokio::test(start_paused = true)]
async fn one_that_fails_every_other_call_is_seen_by_its_share() {
    let mut nth = 0;
    let story = Story::new(&["a", "b"], move |request| {
        if host(request) == "b" {
            return answer("from b");
        }
        nth += 1;
        if nth % 2 == 0 { fails(500) } else { answer("from a") }
    });
    for _ in 0..50 {
        story.ask().await.expect("an answer");
    }
    // Never five in a row, but five of ten.
    assert_eq!(story.asked("a"), 10);
    assert!(story.pool.engine().health().providers["a"].circuit_breaker_open);
}

#[tokio::test(start_paused = true)]
async fn each_relapse_doubles_the_time_it_is_left_alone() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(1);
    let config = json!({ "providers": [config, provider("b", 2)] });
    let story = Story::with_config(config, |request| if host(request) == "a" { fails(500) } else { answer("from b") });
    let began = time::now().mono;
    let mut probes = Vec::new();
    while began.elapsed() < Duration::from_secs(1200) {
        let before = story.asked("a");
        story.ask().await.expect("b answers");
        if story.asked("a") > before {
            probes.push(began.elapsed().as_secs());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let pauses: Vec<_> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [60, 120, 240, 300, 300], "up to five minutes: {probes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_good_probe_closes_it_and_forgets_what_was() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = json!(2);
    let mut nth = 0;
    let config = json!({ "providers": [config, provider("b", 2)] });
    let story = Story::with_config(config, move |request| {
        if host(request) == "b" {
            return answer("from b");
        }
        nth += 1;
        // Down, a good probe, one more failure, and well from then on.
        if [1, 2, 4].contains(&nth) { fails(500) } else { answer("from a") }
    });
    for _ in 0..2 {
        story.ask().await.expect("b answers");
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(story.ask().await.expect("the probe").provider.as_str(), "a");
    assert_eq!(story.ask().await.expect("an answer").provider.as_str(), "b", "one failure");
    assert_eq!(story.ask().await.expect("an answer").provider.as_str(), "a", "is not yet two in a row");
}
