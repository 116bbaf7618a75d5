//! A pool over scripted upstreams. Providers are told apart by host: provider `a` lives at `https://a.test/v1`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::config::{Config, Environment, Settings, Source};
use crate::engine::Clients;
use crate::error::Error;
use crate::event::{EventKind, Interest};
use crate::pool::Pool;
use crate::transport::fake::{self, FakeTransport};
use crate::transport::{HttpReply, HttpRequest, Transport};
use crate::types::{CallOptions, ChatRequest, ChatResponse, Message, Role};

pub type Answer = futures_util::future::BoxFuture<'static, Result<HttpReply, crate::error::TransportError>>;

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
        let config = Config::load_value(&config, &Environment::from_map::<String, String>([]), &settings)
            .expect("a valid configuration");
        let transport = upstream.clone();
        let clients = Clients::new(move |_| Ok(Arc::new(transport.clone()) as Arc<dyn Transport>));
        let interest = Arc::<Interest>::default();
        for kind in EventKind::ALL {
            interest.set(kind, true);
        }
        let pool = Pool::with_clients(config, &settings, Arc::clone(&interest), &clients).expect("a pool");
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

/// The trail in short: `a:failure`, `b:success`.
pub fn trail(attempts: &[crate::types::AttemptRecord]) -> Vec<String> {
    attempts.iter().map(|line| format!("{}:{}", line.provider, line.outcome.as_str())).collect()
}
