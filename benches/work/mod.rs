//! The pieces of the hot path that are measured apart, each with what it may cost. `hot_path` takes their time, `instructions`
//! counts what they do.
//!
//! The work is that of an ordinary call: a prompt of two messages, an answer of 1.3 KB with the headers a hosted model
//! sends. Nothing here touches a network.

#![expect(clippy::expect_used, reason = "a piece that cannot be built is a defect of this file")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use llmpool::adapter::{Endpoint, EndpointParams, service};
use llmpool::config::{Document, Environment, Settings, Source};
use llmpool::engine::Clients;
use llmpool::error::TransportError;
use llmpool::event::Interest;
use llmpool::policy::{
    Behaviour, Breaker, BreakerParams, Member, RateLimiter, RateParams, Tokens, Turns, Verdict, order,
};
use llmpool::pool::Pool;
use llmpool::time;
use llmpool::tokens::{Counter, PromptSize};
use llmpool::transport::{HttpReply, HttpRequest, Transport};
use llmpool::types::{CacheWish, CallOptions, ChatRequest, Message, ProviderName, Role};
use serde_json::{Value, json};

/// One piece of work.
pub struct Piece {
    pub name: String,
    /// What it may take on the machine the budgets were set on; a guide for the reader, which nothing enforces.
    #[allow(dead_code, reason = "only one of the programs says it")]
    pub budget: Duration,
    pub run: Box<dyn FnMut()>,
}

/// All of them, in the order in which a call meets them.
pub fn pieces() -> Vec<Piece> {
    let mut pieces = vec![
        select("select among 3", 3, Behaviour::Adaptive, micros(1)),
        select("select among 3, weighted", 3, Behaviour::Weighted, micros(1)),
        select("select among 100", 100, Behaviour::Adaptive, micros(10)),
        breaker(),
        rate_limit(),
    ];
    pieces.extend(FAMILIES.map(encode));
    pieces.extend(FAMILIES.map(decode));
    pieces.push(classify());
    pieces.push(framing());
    pieces.push(estimate());
    pieces.push(count_tokens());
    pieces.push(call("a call without its network, 1 provider", 1, micros(30)));
    pieces.push(call("a call without its network, 100 providers", 100, micros(120)));
    pieces.push(hit());
    pieces
}

/// One of each adapter.
const FAMILIES: [&str; 5] = ["openai", "anthropic", "gemini", "cohere", "ollama"];

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn piece(name: impl Into<String>, budget: Duration, run: impl FnMut() + 'static) -> Piece {
    Piece { name: name.into(), budget, run: Box::new(run) }
}

// === policy ===

fn select(name: &str, count: usize, behaviour: Behaviour, budget: Duration) -> Piece {
    let names: Vec<_> = (0..count).map(|at| ProviderName::new(format!("provider-{at}"))).collect();
    let mut turns = Turns::default();
    let mut draws = 0;
    piece(name, budget, move || {
        let member = |(at, name)| Member::new(at, name, 1 + at as u32, true, 1.0 / (1 + at) as f64);
        let mut tier: Vec<_> = names.iter().enumerate().map(member).collect();
        order(&mut tier, behaviour, None, &mut turns, |below| {
            draws += 1;
            draws % below
        });
        black_box(tier[0].at);
    })
}

fn breaker() -> Piece {
    let mut breaker = Breaker::new(BreakerParams::default());
    piece("breaker, admit and settle", micros(1), move || {
        let now = time::now().mono;
        if let Ok((pass, _)) = breaker.admit(now) {
            black_box(breaker.settle(pass, Verdict::Success, now));
        }
    })
}

fn rate_limit() -> Piece {
    let params = RateParams {
        requests_per_minute: Some(u32::MAX),
        tokens_per_minute: Some(u64::from(u32::MAX)),
        ..RateParams::default()
    };
    let mut limiter = RateLimiter::new(params);
    piece("rate limit, take and correct", micros(1), move || {
        let now = time::now();
        let tokens = Tokens { prompt: 100, answer: 100 };
        if let Ok(fit) = limiter.check(now, tokens, 0) {
            let reservation = limiter.take(fit);
            limiter.correct(reservation, 150, now);
        }
    })
}

// === the wire ===

fn encode(family: &'static str) -> Piece {
    let (endpoint, request) = (endpoint(family), question(300));
    piece(format!("encode for {family}"), micros(5), move || {
        black_box(endpoint.encode_chat(&request, "model", false, &[]).map(|encoded| encoded.body.len()).ok());
    })
}

fn decode(family: &'static str) -> Piece {
    let (endpoint, body) = (endpoint(family), answer_of(family).to_string());
    assert!(endpoint.decode_chat(body.as_bytes()).is_ok(), "the answer of {family} can be read");
    piece(format!("decode of {family}"), micros(8), move || {
        black_box(endpoint.decode_chat(body.as_bytes()).map(|reply| reply.content.len()).ok());
    })
}

fn classify() -> Piece {
    let endpoint = endpoint("openai");
    let body =
        json!({ "error": { "message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded" } });
    let body = body.to_string();
    let headers: HeaderMap = [(http::header::RETRY_AFTER, http::HeaderValue::from_static("2"))].into_iter().collect();
    piece("classify a 429", micros(10), move || {
        black_box(endpoint.classify(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes(), 0));
    })
}

fn framing() -> Piece {
    const CHUNKS: usize = 200;
    let endpoint = endpoint("openai");
    let mut text = String::new();
    for at in 0..CHUNKS {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795300000, "model": "gpt-4o-mini",
            "system_fingerprint": "fp", "choices": [{ "index": 0, "delta": { "content": format!("word{at} ") },
            "logprobs": null, "finish_reason": null }],
        });
        let _ = write!(text, "data: {chunk}\n\n");
    }
    piece("200 chunks of a stream", micros(400), move || {
        let mut decoder = endpoint.stream_decoder();
        let mut events = VecDeque::new();
        let pushed = decoder.push(text.as_bytes(), &mut events);
        assert!(pushed.is_ok());
        black_box(events.len());
    })
}

// === tokens ===

fn estimate() -> Piece {
    let (counter, request) = (Counter::of_model("gpt-4o"), question(300));
    piece("estimate the tokens of a prompt", micros(1), move || {
        black_box(counter.estimate(&PromptSize::of(&request)));
    })
}

fn count_tokens() -> Piece {
    let (counter, text) = (Counter::of_model("gpt-4o"), "The kettle is blue. ".repeat(200));
    piece("count the tokens of 4 KB", micros(600), move || {
        black_box(counter.count_text(&text));
    })
}

// === the whole ===

fn call(name: &str, providers: usize, budget: Duration) -> Piece {
    let (pool, request, options) = (pool(providers), question(300), CallOptions::default());
    let run = runtime();
    piece(name, budget, move || {
        let answer = run(Box::pin(pool.chat(&request, &options)));
        black_box(answer.expect("the upstream answers").reply.content.len());
    })
}

fn hit() -> Piece {
    let (pool, request) = (pool(1), question(4096));
    let options = CallOptions { cache: Some(CacheWish::For(Duration::from_secs(3600))), ..CallOptions::default() };
    let run = runtime();
    piece("a cache hit, prompt of 4 KB", micros(20), move || {
        let answer = run(Box::pin(pool.chat(&request, &options)));
        black_box(answer.expect("the upstream answers").reply.content.len());
    })
}

/// Runs a future on a runtime of its own, on this thread.
fn runtime<T>() -> impl Fn(std::pin::Pin<Box<dyn Future<Output = T> + '_>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    move |future| runtime.block_on(future)
}

fn pool(providers: usize) -> Pool {
    let provider = |at| {
        json!({ "name": format!("provider-{at}"), "type": "openai", "model": "gpt-4o-mini", "api_key": "sk-bench",
                "base_url": "https://upstream.test/v1", "priority": at + 1 })
    };
    let config = json!({ "providers": (0..providers).map(provider).collect::<Vec<_>>() });
    let clients = Clients::new(|_| Ok(Arc::new(Upstream::new()) as Arc<dyn Transport>));
    let (settings, environment) =
        (Settings::new(Source::Inline(config.clone())), Environment::from_map::<String, String>([]));
    let pool = Pool::with_clients(Document::object(config), environment, settings, Arc::<Interest>::default(), clients);
    pool.expect("a valid configuration")
}

/// Answers at once, always the same.
struct Upstream {
    headers: HeaderMap,
    body: Bytes,
}

impl Upstream {
    fn new() -> Self {
        let named = [
            ("content-type", "application/json"),
            ("x-ratelimit-limit-requests", "30000"),
            ("x-ratelimit-remaining-requests", "29999"),
            ("x-ratelimit-reset-requests", "2ms"),
            ("x-ratelimit-limit-tokens", "150000000"),
            ("x-ratelimit-remaining-tokens", "149999868"),
            ("x-ratelimit-reset-tokens", "0s"),
            ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
        ];
        let headers = named
            .into_iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        Self { headers: headers.collect(), body: answer_of("openai").to_string().into() }
    }
}

impl Transport for Upstream {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        request.started.set();
        let body = Box::pin(stream::once(ready(Ok(self.body.clone()))));
        ready(Ok(HttpReply { status: StatusCode::OK, headers: self.headers.clone(), body })).boxed()
    }
}

fn endpoint(family: &str) -> Endpoint {
    let service = service(family).expect("a known kind");
    Endpoint::new(EndpointParams::new(service)).expect("its defaults are enough")
}

fn question(bytes: usize) -> ChatRequest {
    let text = "Can the blue kettle be returned? ".repeat(bytes / 33 + 1);
    let system = Message::text(Role::System, "You are a careful assistant of a small shop.".to_owned());
    ChatRequest::new(vec![system, Message::text(Role::User, text)])
}

/// An answer of some 1.3 KB.
fn answer_of(family: &str) -> Value {
    let text = "Yes, a return is fine: the payment on the card proves the purchase. ".repeat(9);
    match family {
        "anthropic" => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "model",
            "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 92, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 138 },
        }),
        "gemini" => json!({
            "candidates": [{ "content": { "parts": [{ "text": text }], "role": "model" }, "finishReason": "STOP", "index": 0 }],
            "usageMetadata": { "promptTokenCount": 92, "candidatesTokenCount": 138, "totalTokenCount": 230 },
            "modelVersion": "model", "responseId": "1",
        }),
        "cohere" => json!({
            "id": "1", "finish_reason": "COMPLETE",
            "message": { "role": "assistant", "content": [{ "type": "text", "text": text }] },
            "usage": { "tokens": { "input_tokens": 92, "output_tokens": 138 } },
        }),
        "ollama" => json!({
            "model": "model", "created_at": "2026-11-21T12:00:00Z", "message": { "role": "assistant", "content": text },
            "done": true, "done_reason": "stop", "prompt_eval_count": 92, "eval_count": 138,
        }),
        _ => json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1795300000, "model": "gpt-4o-mini",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": text, "refusal": null },
                          "logprobs": null, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 92, "completion_tokens": 138, "total_tokens": 230 }, "system_fingerprint": "fp",
        }),
    }
}
