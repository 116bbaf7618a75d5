//! Embeddings take the way of every call, in batches, and never mix providers.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Story, fails, fails_with, host, provider, trail};
use crate::error::{ErrorKind, FailureClass};
use crate::event::Event;
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, EmbedRequest, EmbedResponse, NanoUsd};

/// Inputs of one request of a cohere provider.
const BATCH: usize = 96;

fn cohere(name: &str, priority: u32) -> Value {
    let mut provider = provider(name, priority);
    provider["type"] = json!("cohere");
    provider["model"] = json!("embed-v4.0");
    provider["base_url"] = json!(format!("https://{name}.test"));
    provider["input_token_price"] = json!(0.001);
    provider
}

fn story(script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Story {
    Story::with_config(json!({ "providers": [cohere("a", 1), cohere("b", 2)] }), script)
}

/// A vector says who made it and of which text.
fn vectors(request: &HttpRequest) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let texts = body["texts"].as_array().expect("texts");
    let who = if host(request) == "a" { 1.0 } else { 2.0 };
    let vectors: Vec<_> =
        texts.iter().map(|text| json!([who, text.as_str().and_then(|text| text.parse::<f64>().ok())])).collect();
    let billed = json!({ "billed_units": { "input_tokens": texts.len() } });
    fake::reply(200, &[], json!({ "embeddings": { "float": vectors }, "meta": billed }).to_string())
}

fn texts(count: usize) -> EmbedRequest {
    EmbedRequest::new((0..count).map(|number| number.to_string()))
}

async fn embed(story: &Story, count: usize) -> EmbedResponse {
    story.pool.embed(&texts(count), &CallOptions::default()).await.expect("vectors")
}

fn is_whole(response: &EmbedResponse, who: f64, count: usize) -> bool {
    let expected: Vec<Vec<f64>> = (0..count).map(|number| vec![who, number as f64]).collect();
    response.vectors == expected
}

#[tokio::test(start_paused = true)]
async fn batches_are_joined_in_the_order_of_the_inputs() {
    let story = story(vectors);
    let response = embed(&story, 2 * BATCH + 8).await;
    assert!(is_whole(&response, 1.0, 2 * BATCH + 8));
    assert_eq!(trail(&response.attempts), ["a:success", "a:success", "a:success"]);
    assert_eq!((response.usage.prompt_tokens, response.usage.estimated), (200, false));
    assert_eq!(response.cost, Some(NanoUsd(200_000)));
    let stats = &story.pool.engine().provider_stats()["a"];
    assert_eq!((stats.usage.total_requests, stats.usage.prompt_tokens), (3, 200));
    assert_eq!(story.pool.engine().stats().total_requests, 1, "it is one call");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_between_batches_is_left_with_all_it_gave() {
    let mut asked = 0;
    let story = story(move |request| {
        asked += usize::from(host(request) == "a");
        if host(request) == "a" && asked > 1 { fails(401) } else { vectors(request) }
    });
    let response = embed(&story, 2 * BATCH).await;
    assert!(is_whole(&response, 2.0, 2 * BATCH), "no vector of a is among them");
    assert_eq!(response.provider.as_str(), "b");
    assert_eq!(trail(&response.attempts), ["a:success", "a:failure", "b:success", "b:success"]);
    assert_eq!(response.usage.prompt_tokens, 2 * BATCH as u64, "of the answer alone");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_repeated_where_the_others_are() {
    let mut asked = 0;
    let story = story(move |request| {
        asked += usize::from(host(request) == "a");
        if asked == 2 { fails(503) } else { vectors(request) }
    });
    let response = embed(&story, 3 * BATCH).await;
    assert!(is_whole(&response, 1.0, 3 * BATCH));
    assert_eq!(
        trail(&response.attempts),
        ["a:success", "a:failure", "a:success", "a:success"],
        "what was there was not asked for again, and nobody else was"
    );
}

#[tokio::test(start_paused = true)]
async fn between_batches_a_limit_is_waited_for_and_not_fled_from() {
    let mut limited = cohere("a", 1);
    limited["requests_per_minute"] = json!(2);
    let config = json!({ "providers": [limited, cohere("b", 2)], "routing": { "queue_timeout_ms": 70_000 } });
    let story = Story::with_config(config, vectors);
    let began = time::now().mono;
    let response = embed(&story, 3 * BATCH).await;
    assert!(is_whole(&response, 1.0, 3 * BATCH));
    assert!(began.elapsed() >= Duration::from_secs(59), "{:?}", began.elapsed());
    assert_eq!(story.asked("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn without_patience_the_other_provider_begins_anew() {
    let mut limited = cohere("a", 1);
    limited["requests_per_minute"] = json!(2);
    let story = Story::with_config(json!({ "providers": [limited, cohere("b", 2)] }), vectors);
    let response = embed(&story, 3 * BATCH).await;
    assert!(is_whole(&response, 2.0, 3 * BATCH));
    assert_eq!((story.asked("a"), story.asked("b")), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn without_failover_a_call_stays_with_its_provider() {
    let mut asked = 0;
    let story = story(move |request| {
        asked += 1;
        if asked > 1 { fails(401) } else { vectors(request) }
    });
    let options = CallOptions { failover: Some(false), ..CallOptions::default() };
    let error = story.pool.embed(&texts(BATCH + 1), &options).await.expect_err("a fails");
    assert_eq!(trail(&error.context().attempts), ["a:success", "a:failure"]);
    assert_eq!(story.asked("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn failures_are_those_of_every_call() {
    for (status, class) in [(500, FailureClass::ServerError), (429, FailureClass::RateLimit), (401, FailureClass::Auth)]
    {
        let story = story(move |request| if host(request) == "a" { fails_with(status, &[]) } else { vectors(request) });
        let response = embed(&story, 1).await;
        assert_eq!(response.provider.as_str(), "b");
        assert_eq!(response.attempts[0].error_class, Some(class.as_str()));
    }
    let story = story(|_| fails(400));
    let error = story.pool.embed(&texts(1), &CallOptions::default()).await.expect_err("the caller's fault");
    assert!(!error.is_retryable() && story.asked("b") == 0);
}

#[tokio::test(start_paused = true)]
async fn vectors_of_another_length_are_no_part_of_the_answer() {
    let mut asked = 0;
    let story = story(move |request| {
        asked += 1;
        if host(request) == "a" && asked > 1 {
            let vectors = vec![json!([1, 2, 3]); BATCH];
            return fake::reply(200, &[], json!({ "embeddings": { "float": vectors } }).to_string());
        }
        vectors(request)
    });
    let response = embed(&story, 2 * BATCH).await;
    assert_eq!(response.attempts[1].error_class, Some("bad_reply"));
    assert!(is_whole(&response, 2.0, 2 * BATCH), "b began anew");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_known_to_chat_is_not_asked() {
    let mut chats = provider("a", 1);
    chats["type"] = json!("openai");
    chats["model"] = json!("gpt-4o");
    let mut none = provider("c", 2);
    none["type"] = json!("anthropic");
    let story = Story::with_config(json!({ "providers": [chats.clone(), none.clone(), cohere("b", 3)] }), vectors);
    assert_eq!(embed(&story, 1).await.provider.as_str(), "b");
    let story = Story::with_config(json!({ "providers": [chats, none] }), vectors);
    let error = story.pool.embed(&texts(1), &CallOptions::default()).await.expect_err("nobody");
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    assert!(reasons.iter().all(|reason| reason.reason.contains("embeddings")), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn one_success_is_told_for_all_batches() {
    let story = story(vectors);
    let request = texts(BATCH + 1);
    let told = story.pool.embed_until(&request, &CallOptions::default(), Vec::new(), std::future::pending()).await;
    let successes: Vec<_> = told.events.iter().filter(|event| matches!(event, Event::RequestSuccess { .. })).collect();
    assert_eq!(successes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_input_is_refused_before_anyone_is_asked() {
    let story = story(vectors);
    for request in [texts(0), EmbedRequest::new([""]), EmbedRequest { dimensions: Some(0), ..texts(1) }] {
        let error = story.pool.embed(&request, &CallOptions::default()).await.expect_err("nothing to embed");
        assert!(matches!(error.kind(), ErrorKind::InvalidRequest { .. }));
    }
    assert!(story.upstream.requests().is_empty());
}
