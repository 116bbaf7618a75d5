//! A function of the caller's own, under the same policies as a chat.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::support::*;
use crate::engine::{Executed, Fault, HttpStatusError, Task, Turn};
use crate::error::{Error, ErrorKind, Failure, FailureClass, Phase};
use crate::time;
use crate::types::{CallOptions, Usage};

type Outcome = Result<(), Fault>;

/// A function that does what the script says with each turn, and keeps who was asked.
struct Script<F> {
    act: F,
    asked: Mutex<Vec<String>>,
}

impl<F: Fn(Turn) -> BoxFuture<'static, Outcome> + Send + Sync> Task for Script<F> {
    fn run(&self, turn: Turn) -> BoxFuture<'_, Outcome> {
        self.asked.lock().expect("no panic").push(format!("{}#{}", turn.provider(), turn.attempt()));
        (self.act)(turn)
    }
}

fn script<F>(act: F) -> Script<F>
where
    F: Fn(Turn) -> BoxFuture<'static, Outcome> + Send + Sync,
{
    Script { act, asked: Mutex::default() }
}

fn done() -> BoxFuture<'static, Outcome> {
    Box::pin(async { Ok(()) })
}

fn failed(class: FailureClass) -> BoxFuture<'static, Outcome> {
    Box::pin(async move { Err(Fault::Failure(Failure::new(class, "no"))) })
}

fn replied(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> BoxFuture<'static, Outcome> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let status = StatusCode::from_u16(status).expect("a status");
    let error = HttpStatusError { status, headers, body: Bytes::from_static(body.as_bytes()) };
    Box::pin(async move { Err(crate::engine::Classified::fault(&error)) })
}

fn pool(providers: Value) -> Story {
    Story::with_config(json!({ "providers": providers }), |_| panic!("nothing goes over the pool's own wire"))
}

fn two() -> Story {
    pool(json!([provider("a", 1), provider("b", 2)]))
}

async fn run(story: &Story, task: &dyn Task) -> Result<Executed, Error> {
    run_with(story, task, &CallOptions::default()).await
}

async fn run_with(story: &Story, task: &dyn Task, options: &CallOptions) -> Result<Executed, Error> {
    story.pool.execute_until(task, None, options, std::future::pending()).await.result
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_of_the_best_provider_with_its_model_key_and_address() {
    let story = two();
    let task = script(|turn| {
        assert_eq!((turn.provider(), turn.model(), turn.api_key()), ("a", "m", Some("key-of-a")));
        assert_eq!((turn.base_url(), turn.attempt()), ("https://a.test/v1", 1));
        assert_eq!(turn.time_left(), Duration::from_secs(30));
        turn.report_usage(Usage::reported(7, 5));
        done()
    });
    let executed = run(&story, &task).await.expect("done");
    assert_eq!((executed.provider.as_str(), executed.model.as_str()), ("a", "m"));
    assert_eq!(trail(&executed.attempts), ["a:success"]);
    let usage = &story.pool.engine().provider_stats()["a"].usage;
    assert_eq!((usage.successful_requests, usage.prompt_tokens, usage.completion_tokens), (1, 7, 5));
    assert_eq!(story.pool.engine().stats().successful_requests, 1);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_fails_over_and_retries_like_a_chats() {
    let story = two();
    let task = script(|_| failed(FailureClass::ServerError));
    let error = run(&story, &task).await.expect_err("both are down");
    assert_eq!(*task.asked.lock().expect("no panic"), ["a#1", "b#2", "a#3", "b#4", "a#5"]);
    let chat = Story::new(&["a", "b"], |_| fails(500)).ask().await.expect_err("both are down");
    assert_eq!(trail(&error.context().attempts), trail(&chat.context().attempts));
    assert!(matches!(error.kind(), ErrorKind::Provider { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_with_a_status_is_read_like_one_of_the_pools_own() {
    let story = two();
    let task = script(|turn| match turn.provider() {
        "a" => replied(429, &[("retry-after", "30")], "{}"),
        _ => done(),
    });
    assert_eq!(run(&story, &task).await.expect("b").attempts[0].status, Some(429));
    // The hint counts: the next call does not ask it.
    assert_eq!(trail(&run(&story, &task).await.expect("b").attempts), ["a:key_cooling", "b:success"]);

    let quota = r#"{"error":{"code":"insufficient_quota","message":"key-of-a is empty"}}"#;
    let story = two();
    let task = script(move |turn| if turn.provider() == "a" { replied(429, &[], quota) } else { done() });
    assert_eq!(run(&story, &task).await.expect("b").attempts[0].error_class, Some("quota_exhausted"));

    let story = pool(json!([provider("a", 1)]));
    let error = run(&story, &script(move |_| replied(400, &[], quota))).await.expect_err("no money");
    assert!(!format!("{error:?} {error}").contains("key-of-a"), "a key that is echoed is masked");
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_error_is_thrown_at_once_and_blames_nobody() {
    let story = two();
    let task = script(|_| failed(FailureClass::InvalidRequest));
    let error = run(&story, &task).await.expect_err("a defect of the caller's");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::InvalidRequest));
    assert_eq!(*task.asked.lock().expect("no panic"), ["a#1"]);
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0);
}

#[tokio::test(start_paused = true)]
async fn limits_and_breakers_hold() {
    let mut limited = provider("a", 1);
    limited["requests_per_minute"] = json!(3);
    let story = pool(json!([limited, provider("b", 2)]));
    let task = script(|_| done());
    for _ in 0..5 {
        run(&story, &task).await.expect("done");
    }
    assert_eq!(*task.asked.lock().expect("no panic"), ["a#1", "a#1", "a#1", "b#1", "b#1"]);

    let mut fragile = provider("a", 1);
    fragile["circuit_breaker_threshold"] = json!(2);
    let story = pool(json!([fragile, provider("b", 2)]));
    let task = script(|turn| if turn.provider() == "a" { failed(FailureClass::Network) } else { done() });
    for _ in 0..5 {
        run(&story, &task).await.expect("b");
    }
    assert_eq!(task.asked.lock().expect("no panic").iter().filter(|asked| asked.starts_with('a')).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timer_and_the_deadline_hold() {
    let story = two();
    let task = script(|turn| if turn.provider() == "a" { Box::pin(std::future::pending()) } else { done() });
    let options = CallOptions { timeout: Some(Duration::from_secs(2)), ..CallOptions::default() };
    let began = time::now().mono;
    let executed = run_with(&story, &task, &options).await.expect("b");
    assert_eq!((executed.attempts[0].error_class, began.elapsed()), (Some("timeout"), Duration::from_secs(2)));

    let options = CallOptions { deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let error = run_with(&story, &task, &options).await.expect_err("out of time");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0, "neither is anybody's failure");
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_it_leaves_nothing_behind() {
    let story = two();
    let task = script(|_| Box::pin(std::future::pending()));
    let options = CallOptions::default();
    let left = story.pool.execute_until(&task, None, &options, after(Duration::from_secs(1))).await;
    let error = left.result.expect_err("left");
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    let stats = story.pool.engine().stats();
    assert_eq!((story.in_flight(), stats.cancelled_requests), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_turn_can_use_the_pools_own_wire() {
    let story = Story::new(&["a", "b"], |request| if host(request) == "a" { fails(503) } else { answer("Oslo") });
    let task = script(|turn| {
        Box::pin(async move {
            let text = turn.complete("Where is it cold?").await.map_err(Fault::Failure)?;
            assert_eq!(text, "Oslo");
            Ok(())
        })
    });
    let executed = run(&story, &task).await.expect("b");
    assert_eq!(trail(&executed.attempts), ["a:failure", "b:success"]);
    assert_eq!((executed.usage.prompt_tokens, executed.usage.completion_tokens), (12, 6));
    assert_eq!((story.asked("a"), story.asked("b")), (1, 1));
    assert_eq!(story.pool.engine().provider_stats()["b"].usage.total_requests, 1, "asked once, booked once");
}

#[tokio::test(start_paused = true)]
async fn a_model_picks_the_providers_that_serve_it() {
    let mut with_alias = provider("b", 2);
    with_alias["models"] = json!({ "fast": "m-mini" });
    let story = pool(json!([provider("a", 1), with_alias]));
    let task = script(|turn| {
        assert_eq!(turn.model(), "m-mini");
        done()
    });
    let options = CallOptions::default();
    let executed = story.pool.execute_until(&task, Some("fast"), &options, std::future::pending()).await.result;
    assert_eq!(executed.expect("b").provider.as_str(), "b");
}
