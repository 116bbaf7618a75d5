//! A call that is sent twice: who wins, what the other costs, and how often it may happen.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, hangs, host, provider, question, trail};
use crate::engine::Completed;
use crate::engine::PoolStats;
use crate::error::ErrorKind;
use crate::metrics::Window;
use crate::pool::PoolStream;
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, NanoUsd};

/// Two priced providers in order, hedged after 300 ms.
fn hedged(changes: Value) -> Value {
    let mut qos = json!({ "hedge": true });
    qos.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    let mut providers = [provider("a", 1), provider("b", 2)];
    for provider in &mut providers {
        provider["input_token_price"] = json!(1);
        provider["output_token_price"] = json!(1);
    }
    json!({ "providers": providers, "qos": qos, "routing": { "max_retries": 0 } })
}

/// Answers with its name after so many milliseconds.
fn late(request: &HttpRequest, millis: u64) -> Answer {
    let answer = answer(host(request));
    Box::pin(async move {
        time::sleep_until(time::now().mono + Duration::from_millis(millis)).await;
        answer.await
    })
}

fn stats(story: &Story) -> PoolStats {
    story.pool.engine().stats()
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_is_asked_of_another_provider_and_the_first_answer_wins() {
    let story = Story::with_config(hedged(json!({})), |request| match host(request) {
        "a" => hangs(),
        _ => late(request, 100),
    });
    let began = time::now().mono;
    let response = story.ask().await.expect("b answers");
    assert_eq!(began.elapsed(), Duration::from_millis(400));
    assert_eq!(response.provider.as_str(), "b");
    assert_eq!(trail(&response.attempts), ["a:cancelled", "b:success"]);
    let latencies: Vec<_> = response.attempts.iter().map(|line| line.latency.as_millis()).collect();
    assert_eq!(latencies, [400, 100]);
    assert_eq!(story.in_flight(), 0, "the loser is gone when the answer is here");
    let PoolStats { hedge_count, hedges_won, hedges_lost, hedge_cost, total_cost, .. } = stats(&story);
    assert_eq!((hedge_count, hedges_won, hedges_lost), (1, 1, 0));
    assert_eq!(story.pool.engine().analytics(Window::Hour).hedge_count, 1);
    assert_eq!(story.pool.engine().totals().pool.hedges, 1, "kept for the next process");
    let metrics = story.pool.metrics();
    for row in [r#"llmpool_hedges_total{outcome="won"} 1"#, r#"llmpool_hedges_total{outcome="lost"} 0"#] {
        assert!(metrics.lines().any(|line| line == row), "{row}");
    }
    assert!(hedge_cost > NanoUsd(0) && total_cost.0 == hedge_cost.0 + response.cost.expect("priced").0);
    let health = &story.pool.engine().health().providers["a"];
    assert_eq!((health.errors, health.circuit_breaker_open), (0, false), "the loser is not to blame");
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_win() {
    let story = Story::with_config(hedged(json!({})), |request| match host(request) {
        "a" => late(request, 350),
        _ => late(request, 100),
    });
    let response = story.ask().await.expect("a answers");
    assert_eq!(response.provider.as_str(), "a");
    assert_eq!(trail(&response.attempts), ["a:success", "b:cancelled"]);
    assert_eq!((stats(&story).hedges_won, stats(&story).hedges_lost), (0, 1));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_or_before_its_time_nothing_is_sent_twice() {
    let slow_a = |request: &HttpRequest| late(request, if host(request) == "a" { 2_000 } else { 0 });
    let story = Story::with_config(hedged(json!({ "hedge": false })), slow_a);
    assert_eq!(story.ask().await.expect("a").provider.as_str(), "a");
    assert_eq!(story.asked("b"), 0);
    for (after, expected) in [(2_001, 0), (1_999, 1), (0, 1)] {
        let story = Story::with_config(hedged(json!({ "hedge_after_ms": after })), slow_a);
        story.ask().await.expect("somebody");
        assert_eq!(story.asked("b"), expected, "after {after} ms");
    }
    let story = Story::with_config(hedged(json!({})), slow_a);
    let options = CallOptions { failover: Some(false), ..CallOptions::default() };
    assert_eq!(story.ask_with(&options).await.expect("a").provider.as_str(), "a");
    let options = CallOptions { providers: vec!["a".to_owned()], ..CallOptions::default() };
    assert_eq!(story.ask_with(&options).await.expect("a").provider.as_str(), "a");
    assert_eq!(story.asked("b"), 0, "never the same provider, and nobody else may be asked");
}

#[tokio::test(start_paused = true)]
async fn another_key_of_the_same_provider_is_no_second_copy() {
    let mut config = hedged(json!({}));
    config["providers"] = json!([provider("a", 1)]);
    config["providers"][0].as_object_mut().expect("an object").remove("api_key");
    config["providers"][0]["api_keys"] = json!(["k1", "k2"]);
    let story = Story::with_config(config, |request| late(request, 1_000));
    story.ask().await.expect("a");
    assert_eq!(story.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn copies_are_one_in_twenty_calls_and_a_burst_of_two() {
    for (budget, expected) in [(json!(0.05), 7), (json!(0), 0), (json!(1), 100)] {
        let story = Story::with_config(hedged(json!({ "hedge_budget": budget })), |request| late(request, 400));
        for _ in 0..100 {
            story.ask().await.expect("an answer");
        }
        let sent = story.asked("b");
        assert!(sent.abs_diff(expected) <= 1, "{budget}: {sent}");
        assert_eq!(stats(&story).hedge_count as usize, sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_percentile_is_waited_for_once_fifty_answers_are_known() {
    let mut calls = 0;
    let story = Story::with_config(hedged(json!({ "hedge_after_ms": "p95", "hedge_budget": 1 })), move |request| {
        calls += 1;
        late(request, if calls == 40 || calls > 50 { 10_000 } else { 200 })
    });
    for _ in 0..50 {
        story.ask().await.expect("an answer");
    }
    assert_eq!(story.asked("b"), 0, "one slow call in the first fifty is not enough to know");
    let began = time::now().mono;
    let deadline = CallOptions { deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
    story.ask_with(&deadline).await.expect_err("both are slow");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(story.asked("b"), 1);
    let sent = story.upstream.requests().len();
    assert_eq!(sent, 52, "after 200 ms the other one was asked, and nobody after that");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_is_not_the_end_while_the_other_runs() {
    // (a: after, fails?), (b: after, fails?) and the trail
    let cases = [
        ((400, true), (500, false), "a:failure b:success", true),
        ((900, false), (100, true), "a:success b:failure", true),
        ((500, true), (100, true), "a:failure b:failure", false),
    ];
    for ((a, a_fails), (b, b_fails), expected, answered) in cases {
        let story = Story::with_config(hedged(json!({})), move |request| {
            let (millis, broken) = if host(request) == "a" { (a, a_fails) } else { (b, b_fails) };
            let reply = if broken { fails(500) } else { answer("ok") };
            Box::pin(async move {
                time::sleep_until(time::now().mono + Duration::from_millis(millis)).await;
                reply.await
            })
        });
        let result = story.ask().await;
        assert_eq!(result.is_ok(), answered, "{expected}");
        let lines = match &result {
            Ok(response) => trail(&response.attempts),
            Err(error) => trail(&error.context().attempts),
        };
        assert_eq!(lines.join(" "), expected);
        assert_eq!(story.in_flight(), 0);
        assert_eq!(stats(&story).hedge_cost, NanoUsd(0), "nobody was left");
    }
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_fault_ends_both() {
    let story = Story::with_config(hedged(json!({})), |request| match host(request) {
        "a" => hangs(),
        _ => fails(400),
    });
    let error = story.ask().await.expect_err("a bad request");
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
    assert_eq!(trail(&error.context().attempts), ["a:cancelled", "b:failure"]);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_a_hedged_call_leaves_both() {
    for millis in [0, 100, 299, 301, 500, 5_000] {
        let story = Story::with_config(hedged(json!({})), |_| hangs());
        let left = async {
            time::sleep_until(time::now().mono + Duration::from_millis(millis)).await;
        };
        let completed = story.pool.chat_until(&question(), &CallOptions::default(), Vec::new(), left).await;
        let error = completed.result.expect_err("left");
        assert_eq!(story.in_flight(), 0, "after {millis} ms");
        let lines = trail(&error.context().attempts);
        assert_eq!(lines.len(), if millis > 300 { 2 } else { 1 }, "after {millis} ms: {lines:?}");
        assert!(error.context().attempts[0].latency >= Duration::from_millis(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_won_by_its_first_content() {
    // a sends its headers at once and its first content late.
    let frame = |text: &str| {
        let delta = json!({ "id": "r1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": "stop" }] });
        Bytes::from(format!("data: {delta}\n\ndata: [DONE]\n\n"))
    };
    let story = Story::with_config(hedged(json!({})), move |request| {
        let (name, millis) = if host(request) == "a" { ("a", 5_000) } else { ("b", 50) };
        let content = frame(name);
        let body = futures_util::stream::once(async move {
            time::sleep_until(time::now().mono + Duration::from_millis(millis)).await;
            Ok(content)
        });
        fake::stream(200, &[("content-type", "text/event-stream")], Box::pin(body))
    });
    let began = time::now().mono;
    let options = CallOptions::default();
    let opened = story.pool.stream_until(Arc::new(question()), &options, Vec::new(), std::future::pending());
    let Completed { result, .. }: Completed<PoolStream> = opened.await;
    let mut stream = result.expect("a stream");
    assert_eq!((began.elapsed(), stream.source().0), (Duration::from_millis(350), "b"));
    assert_eq!(story.in_flight(), 1, "only the winner is left");
    while stream.next().await.is_some() {}
    let response = stream.into_response().expect("a whole answer");
    assert_eq!(trail(&response.attempts), ["a:cancelled", "b:success"]);
    assert_eq!(stats(&story).hedges_won, 1);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_provider_that_always_loses_is_known_to_be_slow() {
    let mut config = hedged(json!({ "hedge_budget": 1 }));
    config["providers"][1]["priority"] = json!(1);
    let story = Story::with_config(config, |request| late(request, if host(request) == "a" { 60_000 } else { 200 }));
    for _ in 0..10 {
        assert_eq!(story.ask().await.expect("b").provider.as_str(), "b");
    }
    assert_eq!(story.asked("a"), 1, "after the first race b is asked first");
}

#[tokio::test(start_paused = true)]
async fn a_copy_takes_a_slot_of_the_pool_and_a_place_of_its_provider_or_is_not_sent() {
    let slow = |request: &HttpRequest| late(request, 1_000);
    for (most, expected) in [(1, 0), (2, 1)] {
        let mut config = hedged(json!({}));
        config["routing"]["max_concurrent"] = json!(most);
        let story = Story::with_config(config, slow);
        let response = story.ask().await.expect("a answers");
        assert_eq!(response.provider.as_str(), "a");
        assert_eq!((story.asked("b"), stats(&story).hedge_count), (expected, expected as u64), "{most} slots");
        assert_eq!(stats(&story).hedges_lost, expected as u64);
        story.ask().await.expect("every slot is free again");
    }
    let mut config = hedged(json!({}));
    config["providers"][1]["max_concurrent"] = json!(0);
    let story = Story::with_config(config, slow);
    story.ask().await.expect("a answers");
    assert_eq!((story.asked("b"), stats(&story).hedge_count), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_copy_does_not_overtake_those_that_wait_for_a_slot() {
    let mut config = hedged(json!({}));
    config["routing"]["max_concurrent"] = json!(2);
    let story = Story::with_config(config, |request| late(request, 1_000));
    let (one, two, three) = tokio::join!(story.ask(), story.ask(), story.ask());
    for response in [one, two, three] {
        response.expect("a answers");
    }
    // The third call had waited and got a slot of its own; it was alone then, and had a copy.
    assert_eq!(stats(&story).hedge_count, 1);
}
