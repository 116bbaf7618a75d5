//! Who is asked first: the behaviours of a pool, affinity of sessions, and what adaptive choice learns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, host, provider, question, trail};
use crate::config::Environment;
use crate::error::ErrorKind;
use crate::time;
use crate::transport::fake;
use crate::types::{Behaviour, CallOptions};

/// Providers of these names and weights, all of one priority.
fn tier(behaviour: &str, members: &[(&str, u32)]) -> Value {
    let providers: Vec<_> = members
        .iter()
        .map(|(name, weight)| {
            let mut provider = provider(name, 1);
            provider["weight"] = json!(weight);
            provider
        })
        .collect();
    json!({ "providers": providers, "routing": { "behaviour": behaviour, "seed": 1 } })
}

async fn after(wait: Duration, answer: Answer) -> Result<crate::transport::HttpReply, crate::error::TransportError> {
    time::sleep_until(time::now().mono + wait).await;
    answer.await
}

/// Who answered each of so many calls, one after another.
async fn answered(story: &Story, calls: usize, options: &CallOptions) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..calls {
        names.push(story.ask_with(options).await.expect("an answer").provider.to_string());
    }
    names
}

fn share(names: &[String], name: &str) -> f64 {
    names.iter().filter(|answered| *answered == name).count() as f64 / names.len() as f64
}

#[tokio::test(start_paused = true)]
async fn each_behaviour_shares_a_tier_in_its_own_way() {
    let expected = [
        ("failover", ["a", "a", "a", "a", "a", "a"]),
        ("distribute", ["a", "b", "c", "a", "b", "c"]),
        ("combination", ["a", "b", "a", "b", "a", "b"]),
        ("weighted", ["b", "b", "a", "b", "b", "b"]),
    ];
    for (behaviour, expected) in expected {
        let mut config = tier(behaviour, &[("a", 1), ("b", 4), ("c", 9)]);
        config["providers"][2]["priority"] = json!(2);
        let story = Story::with_config(config, |request| answer(host(request)));
        assert_eq!(answered(&story, 6, &CallOptions::default()).await, expected, "{behaviour}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_ask_for_another_behaviour() {
    let story = Story::with_config(tier("failover", &[("a", 1), ("b", 1)]), |request| answer(host(request)));
    let options = CallOptions { behaviour: Some(Behaviour::Combination), ..CallOptions::default() };
    assert_eq!(answered(&story, 4, &options).await, ["a", "b", "a", "b"]);
    assert_eq!(answered(&story, 2, &CallOptions::default()).await, ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_follow_the_weights() {
    let story =
        Story::with_config(tier("weighted", &[("a", 70), ("b", 25), ("c", 5)]), |request| answer(host(request)));
    let names = answered(&story, 10_000, &CallOptions::default()).await;
    for (name, weight) in [("a", 0.70), ("b", 0.25), ("c", 0.05)] {
        assert!((share(&names, name) - weight).abs() < 0.02, "{name}: {}", share(&names, name));
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_follow_the_weights_over_reloads() {
    let phases: [&[(&str, u32)]; 5] = [
        &[("a", 70), ("b", 25), ("c", 5)],
        &[("a", 70), ("b", 30)],
        &[("b", 30), ("d", 50), ("a", 20)],
        &[("d", 1), ("e", 1), ("f", 1), ("a", 1)],
        &[("a", 70), ("b", 25), ("c", 5)],
    ];
    let story = Story::with_config(tier("weighted", phases[0]), |request| answer(host(request)));
    for phase in phases {
        let no_environment = Environment::from_map::<String, String>([]);
        story.pool.reload(Some(tier("weighted", phase)), no_environment).await.expect("valid");
        let names = answered(&story, 2_000, &CallOptions::default()).await;
        let all: u32 = phase.iter().map(|(_, weight)| weight).sum();
        for (name, weight) in phase {
            let (part, share) = (f64::from(*weight) / f64::from(all), share(&names, name));
            assert!((share - part).abs() < 0.02, "{name} of {phase:?}: {share}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whose_turn_it_is_goes_on_over_a_reload_and_is_forgotten_of_who_leaves() {
    let config = || tier("weighted", &[("a", 1), ("b", 9)]);
    let story = Story::with_config(config(), |request| answer(host(request)));
    let reload = async |config: Value| {
        let no_environment = Environment::from_map::<String, String>([]);
        story.pool.reload(Some(config), no_environment).await.expect("valid");
    };
    let options = CallOptions::default();
    assert_eq!(answered(&story, 3, &options).await, ["b", "b", "b"]);
    // `a` is owed 0.3 of a call and `b` has had 0.3 too much. With both forgotten `a` would come after five of `b`, with
    // both kept after two.
    reload(tier("weighted", &[("b", 9)])).await;
    reload(config()).await;
    assert_eq!(answered(&story, 4, &options).await, ["b", "b", "b", "a"]);

    assert_eq!(answered(&story, 4, &options).await, ["b", "b", "b", "b"]);
    let mut other = config();
    other["providers"][0]["model"] = json!("n");
    reload(other).await;
    assert_eq!(answered(&story, 6, &options).await, ["b", "b", "b", "b", "b", "a"], "a change is no departure");
}

#[tokio::test(start_paused = true)]
async fn what_one_cannot_do_is_shared_by_the_others_in_proportion() {
    let script = |request: &crate::transport::HttpRequest| match host(request) {
        "b" => fails(503),
        name => answer(name),
    };
    let story = Story::with_config(tier("weighted", &[("a", 3), ("b", 6), ("c", 1)]), script);
    let names = answered(&story, 1000, &CallOptions::default()).await;
    assert!((share(&names, "a") - 0.75).abs() < 0.02, "{}", share(&names, "a"));
    assert!(story.asked("b") < 20, "its breaker is open");
    let response = story.ask().await.expect("an answer");
    assert_eq!(trail(&response.attempts)[0], "b:breaker_open", "the trail says who was passed over");
}

#[tokio::test(start_paused = true)]
async fn a_weight_of_zero_is_asked_by_name_only() {
    for behaviour in Behaviour::ALL {
        let config = tier(behaviour.as_str(), &[("a", 0), ("b", 1)]);
        let story =
            Story::with_config(config, |request| if host(request) == "b" { fails(500) } else { answer("from a") });
        let options = CallOptions { max_retries: Some(0), ..CallOptions::default() };
        story.ask_with(&options).await.expect_err("only b is asked");
        assert_eq!(story.asked("a"), 0, "{behaviour:?}");
        let options = CallOptions { providers: vec!["a".to_owned()], ..CallOptions::default() };
        assert_eq!(story.ask_with(&options).await.expect("a").provider.as_str(), "a");
    }
    let story = Story::with_config(tier("adaptive", &[("a", 0)]), |_| answer("never"));
    let error = story.ask().await.expect_err("nobody");
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    assert!(reasons[0].reason.contains("weight is 0"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_provider_and_never_overrides_priority() {
    let mut config = tier("adaptive", &[("a", 1), ("b", 1), ("c", 1), ("z", 1)]);
    config["providers"][3]["priority"] = json!(0);
    config["providers"][3]["requests_per_minute"] = json!(1);
    let story = Story::with_config(config, |request| answer(host(request)));
    let of = |session: &str| CallOptions { session: Some(session.to_owned()), ..CallOptions::default() };
    assert_eq!(answered(&story, 1, &of("s")).await, ["z"], "the first tier has somebody");
    let mut homes = Vec::new();
    for session in ["s", "t", "u", "v", "w", "x", "y"] {
        let names = answered(&story, 5, &of(session)).await;
        assert!(names.iter().all(|name| *name == names[0]), "{session}: {names:?}");
        homes.push(names[0].clone());
    }
    homes.sort();
    homes.dedup();
    assert_eq!(homes, ["a", "b", "c"], "sessions spread over the tier");
}

/// Two providers, the first of which takes so many milliseconds; the other takes 100.
fn paced(behaviour: &str) -> (Story, Arc<AtomicU64>) {
    let pace = Arc::new(AtomicU64::new(80));
    let of_a = Arc::clone(&pace);
    let story = Story::with_config(tier(behaviour, &[("a", 1), ("b", 1)]), move |request| {
        let millis = if host(request) == "a" { of_a.load(Ordering::Relaxed) } else { 100 };
        Box::pin(after(Duration::from_millis(millis), answer(host(request))))
    });
    (story, pace)
}

#[tokio::test(start_paused = true)]
async fn adaptive_leaves_a_provider_that_slows_tenfold_and_comes_back_when_it_recovers() {
    let (story, pace) = paced("adaptive");
    let options = CallOptions::default();
    assert!(share(&answered(&story, 100, &options).await[10..], "a") > 0.9, "the faster one is preferred");
    pace.store(800, Ordering::Relaxed);
    let names = answered(&story, 60, &options).await;
    assert!(share(&names[30..], "a") < 0.05, "within 30 calls: {names:?}");
    pace.store(80, Ordering::Relaxed);
    // It is looked at again when what is remembered of it has faded: after 30 s · ln(800/100), 62 s of calls of 0.1 s.
    let names = answered(&story, 700, &options).await;
    assert!(share(&names[650..], "a") > 0.9, "{}", share(&names[650..], "a"));
}

#[tokio::test(start_paused = true)]
async fn adaptive_learns_streams_by_their_first_content() {
    let script = |request: &crate::transport::HttpRequest| {
        let millis = if host(request) == "a" { 900 } else { 90 };
        let frame = json!({ "id": "r1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{ "index": 0, "delta": { "content": "hi" }, "finish_reason": "stop" }] });
        let body = format!("data: {frame}\n\ndata: [DONE]\n\n");
        let pieces = futures_util::stream::once(after(Duration::from_millis(millis), answer("")))
            .map(move |_| Ok(bytes::Bytes::from(body.clone())));
        fake::stream(200, &[("content-type", "text/event-stream")], Box::pin(pieces))
    };
    let story = Story::with_config(tier("adaptive", &[("a", 1), ("b", 1)]), script);
    let mut names = Vec::new();
    for _ in 0..20 {
        let opened = story
            .pool
            .stream_until(Arc::new(question()), &CallOptions::default(), Vec::new(), std::future::pending())
            .await;
        let mut stream = opened.result.expect("a stream");
        names.push(stream.source().0.to_owned());
        while stream.next().await.is_some() {}
    }
    assert_eq!(names[0], "a", "nobody knows yet");
    assert_eq!(share(&names[1..], "b"), 1.0, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn adaptive_spreads_what_comes_at_once_over_equals() {
    let script = |request: &crate::transport::HttpRequest| -> Answer {
        Box::pin(after(Duration::from_millis(500), answer(host(request))))
    };
    let story = Story::with_config(tier("adaptive", &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]), script);
    for _ in 0..5 {
        let calls = (0..40).map(|_| story.ask());
        assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    }
    for name in ["a", "b", "c", "d"] {
        assert!((30..=70).contains(&story.asked(name)), "{name}: {}", story.asked(name));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answered_gets_one_call_and_not_all_of_them() {
    let script = |request: &crate::transport::HttpRequest| -> Answer {
        let millis = if host(request) == "new" { 20_000 } else { 100 };
        Box::pin(after(Duration::from_millis(millis), answer(host(request))))
    };
    let story = Story::with_config(tier("adaptive", &[("known", 1), ("new", 1)]), script);
    let known = CallOptions { providers: vec!["known".to_owned()], ..CallOptions::default() };
    story.ask_with(&known).await.expect("known");
    let calls = (0..20).map(|_| story.ask());
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(story.asked("new"), 1);
}
