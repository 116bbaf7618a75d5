//! What a program that subscribes to `tracing` is told, and what it is never told.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::tests::{after, built_over, client};
use super::*;
use crate::error::{Failure, FailureClass};
use crate::transport::fake;

/// Keeps everything that is told, as text: `span{fields}: message fields`.
#[derive(Clone)]
struct Capture {
    level: Level,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    spans: HashMap<u64, String>,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }
}

impl Capture {
    fn new(level: Level) -> Self {
        Self { level, told: Arc::default() }
    }

    /// What was told since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().expect("no panic").lines)
    }

    fn spans(&self) -> Vec<String> {
        self.told.lock().expect("no panic").spans.values().cloned().collect()
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == crate::event::trace::TARGET && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut told = self.told.lock().expect("no panic");
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        let id = told.spans.len() as u64 + 1;
        told.spans.insert(id, text.0);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut told = self.told.lock().expect("no panic");
        let mut text = Text(String::new());
        values.record(&mut text);
        told.spans.entry(span.into_u64()).or_default().push_str(&text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = self.told.lock().expect("no panic");
        let span = told.entered.last().map_or("-", |id| told.spans[id].split(" provider=").next().unwrap_or_default());
        let mut text = Text(format!("{span}: {}", event.metadata().level()));
        event.record(&mut text);
        told.lines.push(text.0);
    }

    fn enter(&self, span: &Id) {
        self.told.lock().expect("no panic").entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut told = self.told.lock().expect("no panic");
        assert_eq!(told.entered.pop(), Some(span.into_u64()), "spans are left in order");
    }
}

/// `a` is down, `b` answers; every secret there is has "secret" in it.
fn pool() -> LlmPool {
    let with_key = |name| client(name).api_key(&format!("secret-key-of-{name}"));
    let builder = LlmPoolBuilder::new()
        .client(1, with_key("a").circuit_breaker(2, Duration::from_secs(60)))
        .client(2, with_key("b"))
        .max_retries(0);
    let (pool, _) = built_over(builder, |request| match request.uri.host() {
        Some("a.test") if request.method == Method::POST => {
            fake::reply(503, &[], r#"{"error":{"message":"the secret prompt cannot be answered"}}"#)
        }
        _ => fake::reply(
            200,
            &[],
            json!({ "model": "m", "choices": [{ "message": { "content": "a secret" }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 12, "completion_tokens": 6 } })
            .to_string(),
        ),
    });
    pool
}

async fn ask(pool: &LlmPool, id: &str) -> Result<ChatResponse, Error> {
    let options = CallOptions { request_id: Some(crate::types::RequestId::new(id)), ..CallOptions::default() };
    pool.chat_with(&ChatRequest::user("a secret prompt"), &options).await
}

#[tokio::test(start_paused = true)]
async fn a_call_is_a_span_with_its_attempts_failovers_and_breakers_in_it() {
    let capture = Capture::new(Level::TRACE);
    let _subscribed = tracing::subscriber::set_default(capture.clone());
    let pool = pool();
    ask(&pool, "r1").await.expect("b answers");
    let span = r#"call route="chat" request_id=r1"#;
    assert_eq!(
        capture.take(),
        [
            format!("{span}: DEBUG attempt provider=a model=\"m\" key=0 attempt=1"),
            format!(
                "{span}: WARN attempt failed provider=a attempt=1 error_class=\"overloaded\" status=503 retryable=true"
            ),
            format!("{span}: INFO failover from=a to=b error_class=\"overloaded\""),
            format!("{span}: DEBUG attempt provider=b model=\"m\" key=0 attempt=2"),
            format!(
                "{span}: DEBUG answered provider=b model=\"m\" attempt=2 latency_ms=0.0 prompt_tokens=12 \
                 completion_tokens=6 total_errors=1"
            ),
        ]
    );
    assert_eq!(capture.spans(), [format!("{span} provider=\"b\" model=\"m\"")]);

    ask(&pool, "r2").await.expect("b answers");
    let told = capture.take();
    assert!(told.iter().any(|line| line.contains("r2: WARN circuit breaker opened provider=a")), "{told:?}");
    after(Duration::from_secs(60)).await;
    ask(&pool, "r3").await.expect("b answers");
    let told = capture.take();
    assert!(told.iter().any(|line| line.contains("r3: INFO circuit breaker half-open provider=a")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_or_are_left_say_so_and_streams_stay_in_their_span() {
    let capture = Capture::new(Level::DEBUG);
    let _subscribed = tracing::subscriber::set_default(capture.clone());
    let pool = pool();
    let only_a = CallOptions { providers: vec!["a".to_owned()], ..CallOptions::default() };
    pool.chat_with(&ChatRequest::user("a secret prompt"), &only_a).await.expect_err("it is down");
    let told = capture.take();
    let last = told.last().expect("told");
    assert!(last.starts_with("call route=\"chat\""), "{told:?}");
    assert!(last.contains("WARN call failed error_class=\"overloaded\" retryable=true attempts=1"), "{told:?}");

    let mut stream = pool.client("b").expect("there").stream(ChatRequest::user("a secret prompt")).await.expect("b");
    capture.take();
    while let Some(event) = stream.next().await {
        event.expect("whole");
    }
    let told = capture.take();
    assert!(told.iter().any(|line| line.starts_with("call route=\"stream\"") && line.contains("answered")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_function_of_the_callers_own_tells_stands_in_the_span_of_its_call() {
    let capture = Capture::new(Level::INFO);
    let _subscribed = tracing::subscriber::set_default(capture.clone());
    let own = pool()
        .execute_request(async |_| {
            after(Duration::from_secs(1)).await;
            tracing::info!(target: "llmpool", "mine");
            Ok::<_, Failure>(())
        })
        .await;
    own.expect("done");
    let told = capture.take();
    assert!(told[0].starts_with("call route=\"execute\"") && told[0].ends_with("INFO mine"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn changes_beside_the_calls_are_told() {
    let capture = Capture::new(Level::INFO);
    let _subscribed = tracing::subscriber::set_default(capture.clone());
    let pool = pool();
    pool.mark_error("a").expect("there");
    pool.clear_error("a").expect("there");
    pool.add_client(PoolMember::new(3, client("c"))).expect("valid");
    pool.remove_client("b").expect("there");
    let told = capture.take();
    assert!(told[0].starts_with("-: WARN not healthy provider=a"), "{told:?}");
    assert_eq!(
        told[1..],
        [
            "-: INFO healthy again provider=a",
            "-: INFO configuration in force version=2 added=1 removed=0 changed=0",
            "-: INFO configuration in force version=3 added=0 removed=1 changed=0",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn neither_keys_nor_prompts_nor_answers_are_told() {
    let capture = Capture::new(Level::TRACE);
    let _subscribed = tracing::subscriber::set_default(capture.clone());
    let pool = pool();
    for call in 0..4 {
        ask(&pool, &format!("r{call}")).await.expect("b answers");
    }
    let refused = pool.execute_request(async |_| Err::<(), _>(Failure::new(FailureClass::InvalidRequest, "a secret")));
    refused.await.expect_err("refused");
    let told = [capture.take(), capture.spans()].concat();
    assert!(told.len() > 20, "{told:?}");
    assert!(told.iter().all(|line| !line.contains("secret")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn only_what_the_level_asks_for_is_told() {
    for (level, least) in [(Level::ERROR, 0), (Level::WARN, 1), (Level::INFO, 2), (Level::DEBUG, 5)] {
        let capture = Capture::new(level);
        let _subscribed = tracing::subscriber::set_default(capture.clone());
        ask(&pool(), "r1").await.expect("b answers");
        assert_eq!(capture.take().len(), least, "{level}");
    }
}
