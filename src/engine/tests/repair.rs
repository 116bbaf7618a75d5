//! A provider refuses one parameter; the call goes on without it, once.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, host, provider, question, trail};
use crate::error::{Error, ErrorKind, FailureClass};
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, ChatRequest, ChatResponse};

fn refuses(param: &str) -> Answer {
    let message = format!("Unsupported parameter: '{param}' is not supported with this model.");
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param,
        "code": "unsupported_parameter" });
    fake::reply(400, &[], json!({ "error": error }).to_string())
}

fn seeded() -> ChatRequest {
    ChatRequest { seed: Some(7), temperature: Some(0.5), ..question() }
}

async fn ask(story: &Story, request: &ChatRequest) -> Result<ChatResponse, Error> {
    story.pool.chat(request, &CallOptions::default()).await
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Refuses the fields as long as they are there.
fn without(fields: &'static [&'static str]) -> impl FnMut(&HttpRequest) -> Answer + Send + 'static {
    move |request| {
        let body = body(request);
        fields.iter().find(|field| body.get(**field).is_some()).map_or_else(|| answer("a"), |field| refuses(field))
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_parameter_is_left_out_at_once_and_blames_nobody() {
    let story = Story::new(&["a", "b"], without(&["seed"]));
    let began = time::now().mono;
    let response = ask(&story, &seeded()).await.expect("a answers without it");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(trail(&response.attempts), ["a:failure", "a:success"]);
    assert_eq!((response.attempts[0].status, response.attempts[0].error_class), (Some(400), Some("invalid_request")));
    assert_eq!(response.warnings, ["seed: refused by the provider, left out"]);
    assert_eq!(body(&story.upstream.requests()[1])["temperature"], 0.5, "the rest is as it was");
    let health = story.pool.engine().health();
    assert_eq!((health.providers["a"].errors, health.providers["a"].circuit_breaker_open), (0, false));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_repaired_as_well() {
    const STREAM: &str = "data: {\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let story = Story::new(&["a"], |request| {
        let asks = body(request).get("stream_options").is_some();
        if asks { refuses("stream_options") } else { fake::reply(200, &[], STREAM) }
    });
    let completed = story
        .pool
        .stream_until(std::sync::Arc::new(question()), &CallOptions::default(), Vec::new(), std::future::pending())
        .await;
    let mut stream = completed.result.expect("a streams without it");
    while let Some(event) = stream.next().await {
        event.expect("whole");
    }
    let response = stream.into_response().expect("whole");
    assert_eq!(trail(&response.attempts), ["a:failure", "a:success"]);
    assert_eq!(response.warnings, ["stream_options: refused by the provider, left out"]);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_repair_to_a_call() {
    let story = Story::new(&["a", "b"], without(&["seed", "temperature"]));
    let error = ask(&story, &seeded()).await.expect_err("two are too many");
    assert!(matches!(error.kind(), ErrorKind::Provider { failure } if failure.class == FailureClass::InvalidRequest));
    assert_eq!(trail(&error.context().attempts), ["a:failure", "a:failure"]);
    assert_eq!(story.asked("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_request_does_not_hold_cannot_be_left_out() {
    for field in ["seed", "messages", "model", "tools"] {
        let story = Story::new(&["a", "b"], move |_| refuses(field));
        ask(&story, &question()).await.expect_err("the caller's fault");
        assert_eq!(story.upstream.requests().len(), 1, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_repair_the_call_goes_on_as_always() {
    let story = Story::new(&["a", "b"], |request| match (host(request), body(request).get("seed").is_some()) {
        ("a", true) => refuses("seed"),
        ("a", false) => fails(500),
        (_, seeded) => answer(if seeded { "seeded" } else { "bare" }),
    });
    let response = ask(&story, &seeded()).await.expect("b answers");
    assert_eq!(trail(&response.attempts), ["a:failure", "a:failure", "b:success"]);
    assert_eq!(response.reply.content, "seeded", "b has refused nothing");
    assert!(response.warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_key_asks_again() {
    let mut both = provider("a", 1);
    both["api_keys"] = json!(["first-key", "second-key"]);
    both.as_object_mut().expect("an object").remove("api_key");
    let story = Story::with_config(json!({ "providers": [both] }), without(&["seed"]));
    for _ in 0..3 {
        let response = ask(&story, &seeded()).await.expect("repaired");
        let keys: Vec<_> = response.attempts.iter().map(|line| line.key_index).collect();
        assert_eq!(keys[0], keys[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repair_takes_from_the_limit_of_requests_like_any_other() {
    let mut limited = provider("a", 1);
    limited["requests_per_minute"] = json!(1);
    let story = Story::with_config(json!({ "providers": [limited, provider("b", 2)] }), without(&["seed"]));
    // The one request of this minute is spent, so b is asked, and its refusal is the one that is repaired.
    let response = ask(&story, &seeded()).await.expect("b answers without it");
    assert_eq!(trail(&response.attempts), ["a:failure", "a:rate_limited", "b:failure", "b:success"]);
    assert_eq!(story.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn under_error_nothing_is_left_out() {
    let mut strict = provider("a", 1);
    strict["unsupported_params"] = json!("error");
    let story = Story::with_config(json!({ "providers": [strict] }), without(&["seed"]));
    ask(&story, &seeded()).await.expect_err("as the configuration says");
    assert_eq!(story.asked("a"), 1);
}
