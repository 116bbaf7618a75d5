//! What a request needs chooses who is asked.

use serde_json::{Value, json};

use super::support::{Story, answer, provider};
use crate::error::{Error, ErrorKind};
use crate::types::{CallOptions, ChatRequest, parse_call};

fn knowing(name: &str, priority: u32, known: Value) -> Value {
    let mut provider = provider(name, priority);
    provider.as_object_mut().expect("an object").extend(known.as_object().cloned().expect("an object"));
    provider
}

fn story(a: Value, b: Value) -> Story {
    let providers = [knowing("a", 1, a), knowing("b", 2, b)];
    Story::with_config(json!({ "providers": providers }), |_| answer("hi"))
}

fn asks(fields: &Value) -> ChatRequest {
    let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    call.as_object_mut().expect("an object").extend(fields.as_object().cloned().expect("an object"));
    parse_call(&call.to_string()).expect("a call").request
}

async fn answered_by(story: &Story, request: &ChatRequest) -> String {
    let response = story.pool.chat(request, &CallOptions::default()).await.expect("an answer");
    assert_eq!(response.attempts.len(), 1, "nobody is asked who cannot answer");
    response.provider.to_string()
}

fn reasons(error: &Error) -> Vec<String> {
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    reasons.iter().map(|reason| format!("{}: {}", reason.provider, reason.reason)).collect()
}

fn image() -> Value {
    let part = json!({ "type": "image_url", "image_url": { "url": "https://h/a.png" } });
    json!({ "messages": [{ "role": "user", "content": [part] }] })
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_known_not_to_see_is_not_shown_an_image() {
    let story = story(json!({ "capabilities": ["tools"] }), json!({}));
    assert_eq!(answered_by(&story, &asks(&image())).await, "b");
    assert_eq!(answered_by(&story, &asks(&json!({}))).await, "a");
}

#[tokio::test(start_paused = true)]
async fn each_model_of_a_provider_counts_for_itself() {
    let models = json!({ "blind": "n", "seeing": { "model": "o", "capabilities": ["vision"] } });
    let story = story(json!({ "capabilities": [], "models": models }), json!({ "models": models }));
    let mut request = asks(&image());
    request.model = Some("seeing".to_owned());
    assert_eq!(answered_by(&story, &request).await, "a");
    request.model = Some("blind".to_owned());
    assert_eq!(answered_by(&story, &request).await, "b");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_each_says_why() {
    let story = story(json!({ "capabilities": ["vision"] }), json!({ "context_window": 10 }));
    let mut request = asks(&json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }));
    request.messages[0].content = crate::types::Content::Text("word ".repeat(100));
    let error = story.pool.chat(&request, &CallOptions::default()).await.expect_err("nobody");
    let reasons = reasons(&error);
    assert_eq!(reasons[0], "a: its model \"m\" is not capable of: tools");
    let tokens = reasons[1].strip_prefix("b: the prompt of about ").expect(&reasons[1]);
    assert!(tokens.ends_with(" tokens is over the 10 that its model \"m\" reads"), "{tokens}");
    assert!(story.upstream.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prompt_goes_where_it_surely_does_not_overflow() {
    let story = story(json!({ "context_window": 100 }), json!({}));
    let mut request = asks(&json!({}));
    for (letters, by) in [(100, "a"), (800, "a"), (1000, "b")] {
        request.messages[0].content = crate::types::Content::Text("x".repeat(letters));
        assert_eq!(answered_by(&story, &request).await, by, "{letters}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_only_the_catalogue_knows_gives_way_when_nobody_else_is_left() {
    let mut request = asks(&json!({}));
    request.messages[0].content = crate::types::Content::Text("x".repeat(100_000));
    let known = || json!({ "type": "openai", "model": "gpt-4" });
    assert_eq!(answered_by(&story(known(), json!({})), &request).await, "b");
    assert_eq!(answered_by(&story(known(), known()), &request).await, "a");
    let stated = json!({ "type": "openai", "model": "gpt-4", "context_window": 8192 });
    let refused = story(stated.clone(), stated).pool.chat(&request, &CallOptions::default()).await;
    assert_eq!(reasons(&refused.expect_err("nobody")).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_embedding_model_is_not_asked_to_chat() {
    let story = story(json!({ "model": "text-embedding-3-small" }), json!({}));
    assert_eq!(answered_by(&story, &asks(&json!({}))).await, "b");
}
