//! Answers that must fit the caller's schema.

use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, host, trail};
use crate::error::{Error, ErrorKind, FailureClass};
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, ChatRequest, ChatResponse, parse_call};

fn asks(schema: &Value) -> ChatRequest {
    let format = json!({ "type": "json_schema", "json_schema": { "name": "city", "schema": schema } });
    let call = json!({ "messages": [{ "role": "user", "content": "hi" }], "response_format": format });
    parse_call(&call.to_string()).expect("a call").request
}

async fn ask(story: &Story) -> Result<ChatResponse, Error> {
    let schema = json!({ "type": "object", "properties": { "t": { "type": "number" } }, "required": ["t"] });
    story.pool.chat(&asks(&schema), &CallOptions::default()).await
}

fn story(names: &[&str], script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Story {
    Story::new(names, script)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fits_is_given_as_a_value() {
    let story = story(&["a"], |_| answer("```json\n{\"t\": 5}\n```"));
    let response = ask(&story).await.expect("it fits");
    assert_eq!((response.parsed, response.reply.content.as_str()), (Some(json!({ "t": 5 })), "{\"t\": 5}"));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_goes_to_one_further_provider_and_feeds_no_breaker() {
    let story = story(&["a", "b"], |request| answer(if host(request) == "a" { "{}" } else { "{\"t\":1}" }));
    for _ in 0..10 {
        let response = ask(&story).await.expect("b keeps to it");
        assert_eq!(trail(&response.attempts), ["a:failure", "b:success"]);
        assert_eq!(response.attempts[0].error_class, Some("model_output_invalid"));
    }
    let stats = &story.pool.engine().provider_stats()["a"];
    assert_eq!(stats.usage.total_tokens_used, 10 * 18, "what was answered was paid for, as it was reported");
}

#[tokio::test(start_paused = true)]
async fn only_answers_that_do_not_fit_count_as_such() {
    let broken = |request: &HttpRequest| match host(request) {
        "c" => answer("{\"t\":1}"),
        _ => fails(500),
    };
    let response = ask(&story(&["a", "b", "c"], broken)).await.expect("c answers");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:failure", "c:success"], "two that broke");

    // Where the caller has no schema, what a provider's own server could not use is a failure like any other.
    let unusable = |request: &HttpRequest| match host(request) {
        "c" => answer("fine"),
        _ => fake::reply(400, &[], json!({ "error": { "message": "m", "code": "tool_use_failed" } }).to_string()),
    };
    let response = story(&["a", "b", "c"], unusable).ask().await.expect("c answers");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:failure", "c:success"]);
}

#[tokio::test(start_paused = true)]
async fn two_that_do_not_are_the_end() {
    for names in [&["a", "b", "c"][..], &["a"][..]] {
        let story = story(names, |_| answer("no JSON at all"));
        let error = ask(&story).await.expect_err("nobody keeps to it");
        let ErrorKind::Provider { failure } = error.kind() else { panic!("{error:?}") };
        assert_eq!(failure.class, FailureClass::ModelOutputInvalid);
        assert_eq!(error.context().attempts.len(), 2, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_cut_or_declined_is_an_answer() {
    let says = |message: Value, reason: &str| {
        let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
        fake::reply(200, &[], json!({ "id": "r", "model": "m", "choices": [choice] }).to_string())
    };
    let cases: [(Value, &str); 3] = [
        (json!({ "role": "assistant", "content": "{\"t\":" }), "length"),
        (json!({ "role": "assistant", "content": null, "refusal": "No." }), "stop"),
        (json!({ "role": "assistant", "content": "" }), "content_filter"),
    ];
    for (message, reason) in cases {
        let story = story(&["a", "b"], move |_| says(message.clone(), reason));
        let response = ask(&story).await.unwrap_or_else(|error| panic!("{reason}: {error}"));
        assert_eq!((response.parsed, response.attempts.len()), (None, 1), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_schema_is_the_callers_own() {
    let story = story(&["a"], |_| answer("{}"));
    for schema in [json!({ "type": "objekt" }), json!({ "$ref": "https://a.b/c" })] {
        let error = story.pool.chat(&asks(&schema), &CallOptions::default()).await.expect_err("broken");
        let ErrorKind::InvalidRequest { field } = error.kind() else { panic!("{error:?}") };
        assert_eq!(field, "response_format.json_schema.schema");
    }
    assert!(story.upstream.requests().is_empty());
}
