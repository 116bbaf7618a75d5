//! Content that a provider refuses, and prompts that are too long for it: the caller's own fault, but not everywhere.

use serde_json::{Value, json};

use super::support::*;
use crate::error::FailureClass;
use crate::transport::fake;

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
