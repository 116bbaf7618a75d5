//! Content that a provider refuses, and prompts that are too long for it: the caller's own fault, but not everywhere.

use serde_json::{Value, json};

use super::support::*;
use crate::error::{ErrorKind, FailureClass};
use crate::event::Event;
use crate::transport::fake;
use crate::types::ChatRequest;

fn refuses(code: &str) -> Answer {
    fake::reply(400, &[], json!({ "error": { "message": "no", "code": code } }).to_string())
}

fn with_routing(routing: Value, script: impl FnMut(&str) -> Answer + Send + 'static) -> Story {
    let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "routing": routing });
    let mut script = script;
    Story::with_config(config, move |request| script(host(request)))
}

// === content ===

#[tokio::test(start_paused = true)]
async fn refused_content_is_thrown_at_once() {
    let story = with_routing(json!({}), |_| refuses("content_filter"));
    let error = story.ask().await.expect_err("refused");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ContentFilter));
    assert_eq!(trail(&error.context().attempts), ["a:failure"]);
}

#[tokio::test(start_paused = true)]
async fn refused_content_is_asked_elsewhere_where_that_is_configured() {
    let failover = json!({ "on_content_filter": "failover" });
    let story =
        with_routing(failover.clone(), |name| if name == "a" { refuses("content_filter") } else { answer("from b") });
    let response = story.ask().await.expect("from b");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:success"]);
    // Nobody is blamed: the next call asks the same provider first.
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0);
    story.ask().await.expect("from b");
    assert_eq!(story.asked("a"), 2);

    let story = with_routing(failover, |_| refuses("content_filter"));
    let error = story.ask().await.expect_err("refused by all");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ContentFilter));
    assert_eq!(trail(&error.context().attempts), ["a:failure", "b:failure"], "each is asked once");
}

#[tokio::test(start_paused = true)]
async fn refused_content_inside_a_200_is_an_answer() {
    let filtered = |_: &str| {
        let choice =
            json!({ "index": 0, "message": { "role": "assistant", "content": "" }, "finish_reason": "content_filter" });
        fake::reply(200, &[], json!({ "id": "r", "model": "m", "choices": [choice] }).to_string())
    };
    let story = with_routing(json!({ "on_content_filter": "failover" }), filtered);
    let response = story.ask().await.expect("an answer");
    assert_eq!(response.reply.finish_reason.as_str(), "content_filter");
    assert_eq!(story.asked("b"), 0);
}

// === prompts ===

fn windows(of_a: Value, of_b: Value, of_c: Value) -> Story {
    let with = |name: &str, priority, window: Value| {
        let mut config = provider(name, priority);
        // Left out: not known.
        if !window.is_null() {
            config["context_window"] = window;
        }
        config
    };
    let providers = [with("a", 1, of_a), with("b", 2, of_b), with("c", 3, of_c)];
    let config = json!({ "providers": providers });
    Story::with_config(config, |request| match host(request) {
        "c" => answer("from c"),
        _ => refuses("context_length_exceeded"),
    })
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_too_long_goes_on_to_a_window_that_is_known_to_be_larger() {
    // The one in between is passed over: its window is no larger, or not known.
    for of_b in [json!(8000), json!(4000), Value::Null] {
        let story = windows(json!(8000), of_b.clone(), json!(32_000));
        let response = story.ask().await.expect("c reads it");
        assert_eq!(trail(&response.attempts), ["a:failure", "c:success"], "{of_b}");
        assert_eq!(story.pool.engine().health().providers["a"].errors, 0, "nobody is blamed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_too_long_for_the_largest_known_window_is_thrown_at_once() {
    for (of_a, of_c) in [(json!(8000), json!(8000)), (Value::Null, json!(32_000)), (json!(8000), Value::Null)] {
        let story = windows(of_a, json!(1000), of_c);
        let error = story.ask().await.expect_err("too long");
        assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::ContextLength));
        assert_eq!(trail(&error.context().attempts), ["a:failure"]);
    }
}

#[tokio::test(start_paused = true)]
async fn fields_for_a_type_of_provider_that_there_is_not_are_refused() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let extra = |name: &str| {
        let fields = json!({ "x": 1 }).as_object().cloned().expect("an object");
        ChatRequest { extra_body: [(name.to_owned(), fields)].into(), ..question() }
    };
    let error = story.pool.chat(&extra("opnai"), &once()).await.expect_err("refused");
    let ErrorKind::InvalidRequest { field } = error.kind() else { panic!("{error:?}") };
    assert_eq!(field, "extra_body.opnai");
    assert!(error.to_string().ends_with("; did you mean \"openai\"?"), "{error}");
    assert_eq!(story.asked("a"), 0);
    // The pool has no such provider today.
    story.pool.chat(&extra("anthropic"), &once()).await.expect("an answer");
}

// === what is told ===

#[tokio::test(start_paused = true)]
async fn the_event_of_a_failure_says_whether_anything_may_follow() {
    let failover = json!({ "on_content_filter": "failover" });
    let rejects = |status: u16, header: &'static str| fails_with(status, &[("x-should-retry", header)]);
    let cases: Vec<(&str, Value, Answer, bool)> = vec![
        ("somebody else may answer", json!({}), fails(500), true),
        ("somebody else has the model", json!({}), refuses("model_not_found"), true),
        ("though not here again", json!({}), rejects(500, "false"), true),
        ("the caller's own fault", json!({}), fails(400), false),
        ("whatever the provider says of retrying", json!({}), rejects(400, "true"), false),
        ("refused content", json!({}), refuses("content_filter"), false),
        ("refused content, to be asked elsewhere", failover, refuses("content_filter"), true),
        ("too long, and no window is known", json!({}), refuses("context_length_exceeded"), false),
    ];
    for (what, routing, reply, expected) in cases {
        let mut reply = Some(reply);
        let story = with_routing(routing, move |_| reply.take().unwrap_or_else(|| answer("from b")));
        let call = story.pool.chat_until(&question(), &once(), Vec::new(), std::future::pending()).await;
        let told: Vec<bool> = call
            .events
            .iter()
            .filter_map(|event| match event {
                Event::RequestError { retryable, .. } => Some(*retryable),
                _ => None,
            })
            .collect();
        assert_eq!(told, [expected], "{what}");
        assert_eq!(call.result.is_ok(), expected, "{what}");
    }
}
