//! What replies say is left of a provider's limits: it orders the choice and blocks nobody.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;

use super::support::{Answer, Story, answer, fails, host, provider, trail};
use crate::time;
use crate::transport::fake;

const SECOND: Duration = Duration::from_secs(1);

/// An answer that says what is left.
fn answer_with(remaining: &str, reset: &str) -> Answer {
    let (remaining, reset) = (remaining.to_owned(), reset.to_owned());
    async move {
        let reply = answer("ok").await?;
        let mut headers = reply.headers;
        let value = |text: &str| text.parse().expect("a header value");
        headers.insert("x-ratelimit-remaining-requests", value(&remaining));
        headers.insert("x-ratelimit-reset-requests", value(&reset));
        Ok(crate::transport::HttpReply { headers, ..reply })
    }
    .boxed()
}

async fn asked(story: &Story) -> String {
    story.ask().await.expect("an answer").provider.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_provider_with_nothing_left_comes_after_the_others_until_its_reset() {
    let story =
        Story::new(&["a", "b"], |request| if host(request) == "a" { answer_with("0", "20s") } else { answer("b") });
    assert_eq!([asked(&story).await, asked(&story).await], ["a", "b"]);
    assert_eq!(story.pool.engine().health().providers["a"].requests_remaining, Some(0));
    assert!(story.pool.engine().health().providers["a"].available, "a hint blocks nobody");
    tokio::time::advance(SECOND * 20).await;
    assert_eq!(asked(&story).await, "a");
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_all_the_same_when_the_others_fail() {
    let story =
        Story::new(&["a", "b"], |request| if host(request) == "a" { answer_with("0", "20s") } else { fails(500) });
    assert_eq!(asked(&story).await, "a");
    let response = story.ask().await.expect("from a");
    assert_eq!(trail(&response.attempts), ["b:failure", "a:success"]);
    assert!(response.attempts.iter().all(|line| line.waited.is_zero()));
}

#[tokio::test(start_paused = true)]
async fn a_lone_provider_is_asked_whatever_it_says() {
    let story = Story::new(&["a"], |_| answer_with("0", "50s"));
    for _ in 0..5 {
        assert_eq!(asked(&story).await, "a");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_believed_for_longer_than_a_minute() {
    let story =
        Story::new(&["a", "b"], |request| if host(request) == "a" { answer_with("0", "6h") } else { answer("b") });
    assert_eq!([asked(&story).await, asked(&story).await], ["a", "b"]);
    let health = &story.pool.engine().health().providers["a"];
    assert_eq!((health.requests_remaining, health.daily_requests_remaining), (None, Some(0)), "a limit of the day");
    tokio::time::advance(SECOND * 60).await;
    assert_eq!(asked(&story).await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_key_with_nothing_left_comes_after_the_others() {
    let mut config = provider("a", 1);
    config.as_object_mut().expect("an object").remove("api_key");
    config["api_keys"] = json!(["key-0", "key-1"]);
    let story = Story::with_config(json!({ "providers": [config] }), |request| {
        let key_0 = request.headers["authorization"].as_bytes().ends_with(b"key-0");
        if key_0 { answer_with("0", "20s") } else { answer_with("7", "20s") }
    });
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(story.ask().await.expect("an answer").attempts[0].key_index);
    }
    assert_eq!(keys, [Some(0), Some(1), Some(1), Some(1)]);
    assert_eq!(story.pool.engine().health().providers["a"].requests_remaining, Some(7), "of both keys together");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_was_overtaken_teaches_nothing() {
    let mut calls = 0;
    let story = Story::new(&["a", "b"], move |request| {
        if host(request) == "b" {
            return answer("b");
        }
        calls += 1;
        let (wait, remaining) = if calls == 1 { (SECOND * 2, "100") } else { (SECOND, "0") };
        async move {
            time::sleep_until(time::now().mono + wait).await;
            answer_with(remaining, "50s").await
        }
        .boxed()
    });
    let (first, second) = tokio::join!(story.ask(), story.ask());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(asked(&story).await, "b");
}

#[tokio::test(start_paused = true)]
async fn stats_show_the_lesser_of_the_limit_and_of_what_was_said() {
    for (limit, said, shown) in [(3, "50", 2), (100, "50", 50)] {
        let mut config = provider("a", 1);
        config["requests_per_minute"] = json!(limit);
        let story = Story::with_config(json!({ "providers": [config] }), move |_| answer_with(said, "20s"));
        story.ask().await.expect("an answer");
        let stats = &story.pool.engine().provider_stats()["a"];
        assert_eq!(stats.health.requests_remaining, Some(shown));
        assert_eq!(stats.usage.requests_remaining, Some(shown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_teaches_too() {
    let story = Story::new(&["a", "b"], |request| match host(request) {
        "a" => fake::reply(500, &[("x-ratelimit-remaining-requests", "0")], "{}"),
        _ => answer("b"),
    });
    story.ask().await.expect("b");
    let response = story.ask().await.expect("b");
    assert_eq!(trail(&response.attempts), ["b:success"]);
}
