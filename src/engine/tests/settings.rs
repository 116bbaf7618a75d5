//! Settings whose effect no other story tells.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Story, answer, fails, hangs, once, provider};
use crate::error::{ErrorKind, Phase};
use crate::time;
use crate::types::{CallOptions, ChatRequest, Message, Role};

const SECOND: Duration = Duration::from_secs(1);

/// How long each retry of a call waited, of a provider that always fails.
async fn waits(routing: Value) -> Vec<Duration> {
    let mut failing = provider("a", 1);
    failing["circuit_breaker_threshold"] = json!(0);
    let story = Story::with_config(json!({ "providers": [failing], "routing": routing }), |_| fails(500));
    let error = story.ask().await.expect_err("it always fails");
    error.context().attempts.iter().skip(1).map(|line| line.waited).collect()
}

fn is_of(wait: &Duration, full: Duration) -> bool {
    (full / 2..=full).contains(wait)
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_its_delay_times_the_multiplier_and_no_longer_than_the_longest() {
    let steady = waits(json!({ "backoff_multiplier": 1, "retry_delay_ms": 2_000, "max_retries": 2 })).await;
    assert!(steady.len() == 2 && steady.iter().all(|wait| is_of(wait, SECOND * 2)), "{steady:?}");
    let steep = waits(json!({ "backoff_multiplier": 10, "max_backoff_ms": 60_000 })).await;
    assert!(is_of(&steep[0], SECOND) && is_of(&steep[1], SECOND * 10) && is_of(&steep[2], SECOND * 60), "{steep:?}");
    let bounded = waits(json!({ "backoff_multiplier": 10, "max_backoff_ms": 3_000 })).await;
    assert!(is_of(&bounded[0], SECOND) && bounded[1..].iter().all(|wait| is_of(wait, SECOND * 3)), "{bounded:?}");
}

#[tokio::test(start_paused = true)]
async fn no_call_is_given_more_than_the_longest_deadline() {
    let config = json!({ "providers": [provider("a", 1)], "qos": { "max_deadline_ms": 2_000 } });
    let story = Story::with_config(config, |_| hangs());
    for asked_for in [None, Some(SECOND * 60)] {
        let began = time::now().mono;
        let error = story.ask_with(&CallOptions { deadline: asked_for, ..once() }).await.expect_err("it hangs");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
        assert_eq!(began.elapsed(), SECOND * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn parameters_are_sent_or_left_out_as_the_configuration_knows_better() {
    let sent = async |changes: Value| {
        let mut reasoning = provider("a", 1);
        reasoning["type"] = json!("openai");
        reasoning["model"] = json!("o3");
        reasoning.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let story = Story::with_config(json!({ "providers": [reasoning] }), |_| answer("ok"));
        let question = vec![Message::text(Role::User, "Where is it cold?")];
        let request = ChatRequest { temperature: Some(0.5), seed: Some(1), ..ChatRequest::new(question) };
        story.pool.chat(&request, &CallOptions::default()).await.expect("an answer");
        let body: Value = serde_json::from_slice(&story.upstream.requests()[0].body).expect("JSON");
        (body.get("temperature").is_some(), body.get("seed").is_some())
    };
    assert_eq!(sent(json!({})).await, (false, true), "as the pool knows the model");
    assert_eq!(sent(json!({ "allow_params": ["temperature"] })).await, (true, true));
    assert_eq!(sent(json!({ "omit_params": ["seed"] })).await, (false, false));
}
