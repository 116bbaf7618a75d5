//! A pool over scripted upstreams. Providers are told apart by host: provider `a` lives at `https://a.test/v1`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};

use crate::config::{Document, Environment, Settings, Source};
use crate::engine::Clients;
use crate::error::{Error, TransportError, TransportErrorKind};
use crate::event::{EventKind, Interest};
use crate::pool::{Pool, PoolStream};
use crate::time;
use crate::tokens::{Counter, PromptSize};
use crate::transport::fake::{self, FakeTransport};
use crate::transport::{HttpReply, HttpRequest, Transport};
use crate::types::{CallOptions, ChatRequest, ChatResponse, Message, Role, StreamEvent};

pub type Answer = futures_util::future::BoxFuture<'static, Result<HttpReply, TransportError>>;

pub struct Story {
    pub pool: Pool,
    pub upstream: FakeTransport,
}

impl Story {
    /// Providers of these names, in this order of priority, each with a key and no other setting.
    pub fn new(names: &[&str], script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Self {
        let providers: Vec<_> = names.iter().zip(1..).map(|(name, priority)| provider(name, priority)).collect();
        Self::with_config(json!({ "providers": providers }), script)
    }

    pub fn with_config(config: Value, script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Self {
        let upstream = FakeTransport::new(script);
        let settings = Settings::new(Source::Inline(config.clone()));
        let environment = Environment::from_map::<String, String>([]);
        let transport = upstream.clone();
        let clients = Clients::new(move |_| Ok(Arc::new(transport.clone()) as Arc<dyn Transport>));
        let interest = Arc::<Interest>::default();
        for kind in EventKind::ALL {
            interest.set(kind, true);
        }
        let pool = Pool::with_clients(Document::object(config), environment, settings, Arc::clone(&interest), clients);
        let pool = pool.expect("a valid configuration");
        Self { pool, upstream }
    }

    pub async fn ask(&self) -> Result<ChatResponse, Error> {
        self.ask_with(&CallOptions::default()).await
    }

    pub async fn ask_with(&self, options: &CallOptions) -> Result<ChatResponse, Error> {
        self.pool.chat(&question(), options).await
    }

    /// How many requests went out to a provider.
    pub fn asked(&self, name: &str) -> usize {
        self.upstream.requests().iter().filter(|request| host(request) == name).count()
    }

    /// How many calls stand in line.
    pub fn waiting(&self) -> usize {
        self.pool.engine().waiting.load(Ordering::Relaxed)
    }

    pub fn in_flight(&self) -> u32 {
        self.pool.engine().provider_stats().values().map(|stats| stats.usage.in_flight).sum()
    }
}

pub fn provider(name: &str, priority: u32) -> Value {
    json!({
        "name": name, "type": "openai-compatible", "model": "m", "api_key": format!("key-of-{name}"),
        "base_url": format!("https://{name}.test/v1"), "priority": priority,
    })
}

pub fn question() -> ChatRequest {
    ChatRequest::new(vec![Message::text(Role::User, "Where is it cold?")])
}

/// What a request's prompt counts before anybody has said so.
pub fn prompt_tokens(request: &ChatRequest) -> u64 {
    Counter::of_model("m").estimate(&PromptSize::of(request))
}

/// Which provider a request is for.
pub fn host(request: &HttpRequest) -> &str {
    request.uri.host().and_then(|host| host.strip_suffix(".test")).expect("a provider's host")
}

pub fn answer(text: &str) -> Answer {
    let body = json!({
        "id": "r1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18 },
    });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

pub fn fails(status: u16) -> Answer {
    fails_with(status, &[])
}

pub fn fails_with(status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let reason = StatusCode::from_u16(status).expect("a status").canonical_reason().unwrap_or("failed");
    fake::reply(status, headers, json!({ "error": { "message": reason } }).to_string())
}

/// Accepts the request and never says a word.
pub fn hangs() -> Answer {
    Box::pin(std::future::pending())
}

/// One retry would be another story.
pub fn once() -> CallOptions {
    CallOptions { max_retries: Some(0), ..CallOptions::default() }
}

pub async fn after(wait: Duration) {
    time::sleep_until(time::now().mono + wait).await;
}

/// Answers after so long.
pub fn slow(wait: Duration, text: &'static str) -> Answer {
    Box::pin(async move {
        after(wait).await;
        answer(text).await
    })
}

// === streams ===

/// One event of a stream with a piece of text.
pub fn chunk(text: &str) -> String {
    format!(r#"data: {{"id":"s1","model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#) + "\n\n"
}

pub const FINISH: &str =
    "data: {\"id\":\"s1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";

/// A body that says these pieces and then ends.
pub fn says(pieces: Vec<String>) -> Answer {
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).boxed())
}

/// A body that says these pieces and then nothing more.
pub fn stalls(pieces: Vec<String>) -> Answer {
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).chain(stream::pending()).boxed())
}

/// A body that says these pieces and then breaks.
pub fn breaks(pieces: Vec<String>) -> Answer {
    let broken = || TransportError::new(TransportErrorKind::Body, "reset");
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).chain(stream::iter([Err(broken())])).boxed())
}

/// A body that says these pieces and then `comment` once a second.
pub fn says_and_pings(pieces: Vec<String>, comment: &'static str) -> Answer {
    let pings = stream::repeat(()).then(move |()| async move {
        after(Duration::from_secs(1)).await;
        Ok(Bytes::from_static(comment.as_bytes()))
    });
    body(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece))).chain(pings).boxed())
}

pub fn body(body: crate::transport::Body) -> Answer {
    fake::stream(200, &[("content-type", "text/event-stream")], body)
}

/// The story's stream at its first content.
pub async fn open(story: &Story) -> Result<PoolStream, Error> {
    open_with(story, &once()).await
}

pub async fn open_with(story: &Story, options: &CallOptions) -> Result<PoolStream, Error> {
    story.pool.stream_until(Arc::new(question()), options, Vec::new(), std::future::pending()).await.result
}

/// The text of a stream, and how it ended.
pub async fn read(mut stream: PoolStream) -> (String, Result<PoolStream, Error>) {
    let mut text = String::new();
    loop {
        match stream.next().await {
            Some(Ok(StreamEvent::Text(piece))) => text.push_str(&piece),
            Some(Ok(_)) => {}
            Some(Err(error)) => return (text, Err(error)),
            None => return (text, Ok(stream)),
        }
    }
}

/// A stream that says one word and nothing more.
pub fn stream_that_stays_open() -> Answer {
    stalls(vec![chunk("word")])
}

/// The trail in short: `a:failure`, `b:success`.
pub fn trail(attempts: &[crate::types::AttemptRecord]) -> Vec<String> {
    attempts.iter().map(|line| format!("{}:{}", line.provider, line.outcome.as_str())).collect()
}
