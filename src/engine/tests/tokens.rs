//! Limits of tokens: reserved before sending, corrected by what was used.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Story, answer, fails, hangs, host, prompt_tokens, provider, question, trail};
use crate::error::{ErrorKind, TransportError, TransportErrorKind};
use crate::time;
use crate::transport::fake;
use crate::types::{CallOptions, ChatRequest};

fn limited(name: &str, priority: u32, limits: Value) -> Value {
    let mut limited = provider(name, priority);
    for (key, limit) in limits.as_object().expect("limits") {
        limited[key] = limit.clone();
    }
    limited
}

fn left(story: &Story, name: &str) -> Option<u64> {
    story.pool.engine().health().providers[name].tokens_remaining
}

fn bounded(max_tokens: u32) -> ChatRequest {
    ChatRequest { max_tokens: Some(max_tokens), ..question() }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_what_it_used() {
    let config =
        json!({ "providers": [limited("a", 1, json!({ "tokens_per_minute": 1000, "tokens_per_day": 5000 }))] });
    let story = Story::with_config(config, |_| answer("18 tokens"));
    assert_eq!(left(&story, "a"), Some(1000));
    story.pool.chat(&bounded(500), &CallOptions::default()).await.expect("an answer");
    assert_eq!(left(&story, "a"), Some(1000 - 18));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(left(&story, "a"), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_goes_elsewhere_before_anything_is_sent() {
    let config = json!({
        "providers": [limited("a", 1, json!({ "tokens_per_minute": 100 })), provider("b", 2)],
    });
    let story = Story::with_config(config, |request| {
        let from_a = host(request) == "a";
        Box::pin(async move {
            time::sleep_until(time::now().mono + Duration::from_secs(1)).await;
            answer(if from_a { "a" } else { "b" }).await
        })
    });
    // The first reserves its prompt and 80 more; the second finds too little left although the first has not answered.
    let (request, options) = (bounded(80), CallOptions::default());
    let (first, second) = tokio::join!(story.pool.chat(&request, &options), story.pool.chat(&request, &options));
    assert_eq!(first.expect("a").provider.as_str(), "a");
    assert_eq!(trail(&second.expect("b").attempts), ["a:rate_limited", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn a_providers_own_bound_of_the_answer_is_reserved_where_a_call_sets_none() {
    let limits = json!({ "tokens_per_minute": 100, "max_tokens": 80 });
    let story = Story::with_config(json!({ "providers": [limited("a", 1, limits)] }), |_| hangs());
    let asked = story.ask();
    let mut asked = std::pin::pin!(asked);
    assert!(time::until(Some(time::now().mono + Duration::from_secs(1)), &mut asked).await.is_err());
    assert_eq!(left(&story, "a"), Some(100 - prompt_tokens(&question()) - 80));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_left_counts_its_prompt_and_nothing_it_might_have_been_answered() {
    let config = json!({ "providers": [limited("a", 1, json!({ "tokens_per_minute": 1000 }))] });
    let story = Story::with_config(config, |_| hangs());
    let leaves = time::now().mono + Duration::from_secs(1);
    let request = bounded(500);
    assert!(time::until(Some(leaves), story.pool.chat(&request, &CallOptions::default())).await.is_err());
    assert_eq!(left(&story, "a"), Some(1000 - prompt_tokens(&request)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_counts_its_prompt_and_one_that_was_never_sent_counts_nothing() {
    let once = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    let config = json!({ "providers": [limited("a", 1, json!({ "tokens_per_minute": 1000 }))] });
    let story = Story::with_config(config.clone(), |_| fails(500));
    story.pool.chat(&bounded(500), &once).await.expect_err("a is down");
    assert_eq!(left(&story, "a"), Some(1000 - prompt_tokens(&question())));

    let story = Story::with_config(config, |_| {
        fake::broken(TransportError::new(TransportErrorKind::Connect, "nobody listens"))
    });
    story.upstream.never_starts();
    story.pool.chat(&bounded(500), &once).await.expect_err("nobody listens");
    assert_eq!(left(&story, "a"), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_larger_than_the_limit_is_told_so() {
    let config = json!({ "providers": [limited("a", 1, json!({ "tokens_per_minute": 2 }))] });
    let story = Story::with_config(config, |_| answer("never"));
    let error = story.ask().await.expect_err("it never fits");
    assert!(matches!(error.kind(), ErrorKind::NoProvider { .. }), "{error:?}");
    assert!(error.to_string().contains("tokens_per_minute is less than this request alone"), "{error}");
    assert_eq!(story.asked("a"), 0);
}
