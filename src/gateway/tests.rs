//! The routes without a socket. What clients make of them, and what sockets do to them, is told in `__test__`.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Door, Entry, Gateway, Network};
use crate::config::{Document, Environment, KeyHash, Settings, Source};
use crate::engine::Clients;
use crate::error::{TransportError, TransportErrorKind};
use crate::pool::Pool;
use crate::transport::fake::{self, FakeTransport};
use crate::transport::{HttpReply, HttpRequest, Transport};

pub(super) type Answer = BoxFuture<'static, Result<HttpReply, TransportError>>;

pub(super) struct Served {
    pub gateway: Arc<Gateway>,
    router: Router,
    pub upstream: FakeTransport,
    pub lines: Arc<Mutex<Vec<Entry>>>,
    pub pool: Pool,
}

pub(super) fn network(keys: &[&str]) -> Door {
    let api_keys = keys.iter().map(|key| KeyHash::of(key)).collect();
    Door::Network(Network { api_keys, ..Network::default() })
}

pub(super) fn serve(door: Door, script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Served {
    let config = json!({
        "providers": [{
            "name": "a", "type": "openai-compatible", "model": "m", "models": { "fast": "m-mini" },
            "api_key": "key-of-a", "base_url": "https://a.test/v1", "input_price_per_million": 1,
            "output_price_per_million": 2
        }],
        "routing": { "max_retries": 0 },
        "tasks": { "t": {}, "v": { "strategy": "VOTING" } },
        "server": { "max_body_bytes": 1000, "cors_origins": ["https://good.test"] },
    });
    serve_by(config, door, script)
}

pub(super) fn serve_by(
    config: Value,
    door: Door,
    script: impl FnMut(&HttpRequest) -> Answer + Send + 'static,
) -> Served {
    let upstream = FakeTransport::new(script);
    let settings = Settings::new(Source::Inline(config.clone()));
    let environment = Environment::from_map::<String, String>([]);
    let transport = upstream.clone();
    let clients = Clients::new(move |_| Ok(Arc::new(transport.clone()) as Arc<dyn Transport>));
    let pool = Pool::with_clients(Document::object(config), environment, settings, Arc::default(), clients);
    let pool = pool.expect("a valid configuration");
    let lines = Arc::<Mutex<Vec<Entry>>>::default();
    let written = Arc::clone(&lines);
    let log = move |entry: &Entry| written.lock().expect("no panic").push(entry.clone());
    let gateway = Gateway::new(pool.clone(), door, Arc::new(|_| {}), Some(Arc::new(log)));
    Served { router: gateway.router(), gateway, upstream, lines, pool }
}

impl Served {
    pub(super) async fn send(&self, request: Request) -> Response {
        self.router.clone().oneshot(request).await.expect("a router never fails")
    }

    /// Of the requests that are over, in their order.
    pub(super) fn statuses(&self) -> Vec<u16> {
        self.lines.lock().expect("no panic").iter().map(|line| line.status).collect()
    }

    async fn post(&self, body: &Value) -> Response {
        self.send(post("/v1/chat/completions", body, &[])).await
    }
}

pub(super) fn post(path: &str, body: &Value, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_string())).expect("a request")
}

pub(super) fn get(path: &str) -> Request {
    Request::builder().uri(path).body(Body::empty()).expect("a request")
}

pub(super) async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.into()).expect("UTF-8")
}

pub(super) async fn read(response: Response) -> Value {
    serde_json::from_str(&text(response).await).expect("JSON")
}

pub(super) fn answers(_: &HttpRequest) -> Answer {
    let body = json!({
        "id": "r1", "object": "chat.completion", "created": 1, "model": "m-2",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hello" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18 },
    });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

pub(super) fn streams(
    pieces: &'static [&'static str],
    breaks: bool,
) -> impl FnMut(&HttpRequest) -> Answer + Send + 'static {
    move |_| {
        let end = breaks.then(|| Err(TransportError::new(TransportErrorKind::Body, "reset")));
        let body = stream::iter(pieces).map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).chain(stream::iter(end));
        fake::stream(200, &[("content-type", "text/event-stream")], body.boxed())
    }
}

pub(super) const HELLO: &str = "data: {\"id\":\"s1\",\"model\":\"m-2\",\"created\":7,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n";
pub(super) const FINISH: &str =
    "data: {\"id\":\"s1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
/// Two calls, told piece by piece in turns.
pub(super) const CALLS_AT_ONCE: &[&str] = &[
    "data: {\"id\":\"s1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c0\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},{\"index\":1,\"id\":\"c1\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"id\":\"s1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}},{\"index\":1,\"function\":{\"arguments\":\"{\\\"b\\\":\"}}]}}]}\n\n",
    "data: {\"id\":\"s1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}},{\"index\":1,\"function\":{\"arguments\":\"2}\"}}]}}]}\n\n",
    "data: {\"id\":\"s1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    DONE,
];
pub(super) const DONE: &str = "data: [DONE]\n\n";

fn ask() -> Value {
    json!({ "model": "fast", "messages": [{ "role": "user", "content": "hi" }] })
}

fn asked(more: Value) -> Value {
    let mut request = ask();
    let (Value::Object(into), Value::Object(more)) = (&mut request, more) else { panic!("objects") };
    into.extend(more);
    request
}

pub(super) fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

/// The data of each event.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

#[tokio::test]
async fn an_answer_has_openais_shape_and_says_whose_it_is() {
    let served = serve(Door::Inside, answers);
    let response = served.post(&ask()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let named = ["x-llmpool-provider", "x-llmpool-model", "x-llmpool-attempts", "x-llmpool-cost-usd"];
    assert_eq!(named.map(|name| header(&response, name).to_owned()), ["a", "m-2", "1", "0.000024"]);
    assert_eq!(header(&response, "x-request-id"), header(&response, "request-id"));
    let body = read(response).await;
    assert_eq!(body["choices"][0]["message"]["content"], "hello");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("m-2")));
    assert_eq!(body["usage"]["total_tokens"], 18);
    let sent: Value = serde_json::from_slice(&served.upstream.requests()[0].body).expect("JSON");
    assert_eq!(sent["model"], "m-mini");
}

#[tokio::test]
async fn what_is_not_known_here_goes_to_a_provider_of_that_api() {
    let served = serve(Door::Inside, answers);
    served.post(&asked(json!({ "top_k": 5, "provider": { "order": ["x"] }, "timeout": 1 }))).await;
    let sent: Value = serde_json::from_slice(&served.upstream.requests()[0].body).expect("JSON");
    assert_eq!(
        (&sent["top_k"], &sent["provider"], &sent["timeout"]),
        (&json!(5), &json!({ "order": ["x"] }), &json!(1))
    );
}

#[tokio::test]
async fn any_provider_answers_for_auto_and_nobody_for_a_model_that_is_not_there() {
    let served = serve(Door::Inside, answers);
    assert_eq!(served.post(&asked(json!({ "model": "auto" }))).await.status(), StatusCode::OK);
    let response = served.post(&asked(json!({ "model": "gone" }))).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let error = &read(response).await["error"];
    assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &json!("model")));
    assert_eq!(served.upstream.requests().len(), 1);
    let listed = read(served.send(get("/v1/models")).await).await;
    let ids: Vec<_> = listed["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["auto", "m", "fast"]);
    assert_eq!(read(served.send(get("/v1/models/fast")).await).await["owned_by"], "a");
    assert_eq!(served.send(get("/v1/models/gone")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_error_has_its_status_and_says_whether_to_ask_again() {
    for (upstream, status, retry, retry_after) in [
        (500, 503, "false", ""),
        (401, 503, "false", ""),
        (429, 429, "false", "7"),
        (400, 400, "false", ""),
        (404, 404, "false", ""),
        (413, 413, "false", ""),
    ] {
        let served = serve(Door::Inside, move |_| {
            let headers: &[_] = if upstream == 429 { &[("retry-after", "7")] } else { &[] };
            fake::reply(upstream, headers, json!({ "error": { "message": "no", "code": "x" } }).to_string())
        });
        let body = asked(json!({}));
        let headers = [("x-llmpool-deadline-ms", "1000")];
        let response = served.send(post("/v1/chat/completions", &body, &headers)).await;
        assert_eq!(response.status().as_u16(), status, "{upstream}");
        assert_eq!((header(&response, "x-should-retry"), header(&response, "retry-after")), (retry, retry_after));
        assert_eq!(header(&response, "x-llmpool-attempts"), "1", "{upstream}");
        assert!(read(response).await["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let served = serve(Door::Inside, answers);
    for (body, param) in [
        (json!({ "messages": [] }), json!("messages")),
        (asked(json!({ "temperature": 3 })), json!("temperature")),
        (json!([1]), Value::Null),
    ] {
        let response = served.post(&body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(header(&response, "x-should-retry"), "");
        assert_eq!(read(response).await["error"]["param"], param);
    }
    let options = [("x-llmpool-failover", "perhaps")];
    let response = served.send(post("/v1/chat/completions", &ask(), &options)).await;
    assert_eq!(read(response).await["error"]["param"], "x-llmpool-failover");
    let gzip = [("content-encoding", "gzip")];
    let response = served.send(post("/v1/chat/completions", &ask(), &gzip)).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let response = served.post(&asked(json!({ "user": "x".repeat(1000) }))).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(served.upstream.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let served = serve(Door::Inside, answers);
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::builder().method(Method::POST).uri("/v1/chat/completions").body(never).expect("a request");
    assert_eq!(served.send(request).await.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_stream_ends_with_its_usage_for_those_who_ask_and_done() {
    let served = serve(Door::Inside, streams(&[HELLO, FINISH, DONE], false));
    let response = served.post(&asked(json!({ "stream": true }))).await;
    assert_eq!(header(&response, "content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(header(&response, "x-llmpool-provider"), "a");
    let said = text(response).await;
    assert!(said.ends_with(DONE), "{said}");
    let chunks = events(&said);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "hello" }));
    assert_eq!((&chunks[0]["id"], &chunks[0]["created"]), (&json!("s1"), &json!(7)));
    assert_eq!(chunks[1]["choices"][0]["finish_reason"], "stop");
    assert_eq!((chunks.len(), chunks[0].get("usage")), (2, None));

    let usage = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let chunks = events(&text(served.post(&asked(usage)).await).await);
    assert_eq!((&chunks[0]["usage"], &chunks[2]["choices"]), (&Value::Null, &json!([])));
    assert!(chunks[2]["usage"]["total_tokens"].as_u64().is_some_and(|total| total > 0));
    assert_eq!(chunks[2]["llmpool"]["provider"], "a");
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_and_never_ends_in_order() {
    let served = serve(Door::Inside, streams(&[HELLO], true));
    let response = served.post(&asked(json!({ "stream": true }))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut pieces = response.into_body().into_data_stream();
    let mut said = String::new();
    let ended = loop {
        match pieces.next().await {
            Some(Ok(piece)) => said.push_str(std::str::from_utf8(&piece).expect("UTF-8")),
            end => break end,
        }
    };
    assert!(matches!(ended, Some(Err(_))), "cut");
    assert!(!said.contains("[DONE]"), "{said}");
    let error = &events(&said)[1]["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("server_error"), &json!("network")), "{said}");
}

#[tokio::test]
async fn the_head_of_a_stream_names_what_was_not_sent() {
    let served = serve(Door::Inside, streams(&[HELLO, FINISH, DONE], false));
    let of_anthropic = json!({ "max_tokens": 5, "top_k": 3, "stream": true,
        "messages": [{ "role": "user", "content": "hi" }] });
    let response = served.send(post("/v1/messages", &of_anthropic, &[])).await;
    assert!(header(&response, "x-llmpool-warnings").contains("top_k"), "{:?}", response.headers());
    let response = served.post(&asked(json!({ "stream": true, "logprobs": true }))).await;
    assert!(header(&response, "x-llmpool-warnings").starts_with("logprobs: "), "{:?}", response.headers());
    let sent: Value = serde_json::from_slice(&served.upstream.requests()[1].body).expect("JSON");
    assert_eq!(sent.get("logprobs"), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_silent_says_that_it_goes_on() {
    for (path, keep_alive) in [
        ("/v1/chat/completions", ": keep-alive\n\n"),
        ("/v1/responses", ": keep-alive\n\n"),
        ("/v1/messages", "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
    ] {
        let open = serve(Door::Inside, |_| {
            let body = stream::iter([Ok(Bytes::from_static(HELLO.as_bytes()))]).chain(stream::pending());
            fake::stream(200, &[("content-type", "text/event-stream")], body.boxed())
        });
        let body = json!({ "max_tokens": 5, "stream": true, "messages": [{ "role": "user", "content": "hi" }],
            "input": "hi" });
        let mut pieces = open.send(post(path, &body, &[])).await.into_body().into_data_stream();
        let (mut silent, began) = (Vec::new(), tokio::time::Instant::now());
        while silent.len() < 2 {
            let piece = pieces.next().await.expect("open").expect("whole");
            if began.elapsed().as_secs() >= 15 {
                silent.push((began.elapsed().as_secs(), String::from_utf8(piece.into()).expect("UTF-8")));
            }
        }
        assert_eq!(silent, [(15, keep_alive.to_owned()), (30, keep_alive.to_owned())], "{path}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let served = serve(Door::Inside, streams(&[HELLO], false));
    // A stream that stays open: what was said, then nothing.
    let open = serve(Door::Inside, |_| {
        let body = stream::iter([Ok(Bytes::from_static(HELLO.as_bytes()))]).chain(stream::pending());
        fake::stream(200, &[("content-type", "text/event-stream")], body.boxed())
    });
    let response = open.post(&asked(json!({ "stream": true }))).await;
    let in_flight = || open.pool.engine().stats().active_connections;
    assert_eq!(in_flight(), 1);
    drop(response);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(in_flight(), 0);
    assert_eq!(open.lines.lock().expect("no panic")[0].status, 499);
    drop(served);
}

#[tokio::test]
async fn nobody_comes_in_without_a_key_but_probes() {
    let served = serve(network(&["right", "other"]), answers);
    for (key, status) in [
        (None, 401),
        (Some(("authorization", "Bearer wrong")), 401),
        (Some(("authorization", "Bearer right")), 200),
        (Some(("x-api-key", "other")), 200),
    ] {
        let headers: Vec<_> = key.into_iter().collect();
        let response = served.send(post("/v1/chat/completions", &ask(), &headers)).await;
        assert_eq!(response.status().as_u16(), status, "{key:?}");
    }
    for (path, status) in [
        ("/health", 200),
        ("/live", 200),
        ("/ready", 200),
        ("/", 200),
        ("/metrics", 401),
        ("/v1/models", 401),
        ("/nowhere", 401),
        ("/health/../metrics", 401),
        ("//metrics", 401),
        ("/%6detrics", 401),
        ("/health%2f..%2fmetrics", 401),
    ] {
        assert_eq!(served.send(get(path)).await.status().as_u16(), status, "{path}");
    }
    let health = read(served.send(get("/health")).await).await;
    assert_eq!((&health["availableProviders"], health.get("pool")), (&json!(1), None), "no names without a key");
    let response = served.send(post("/v1/messages", &json!({}), &[("x-request-id", "mine")])).await;
    let said = read(response).await;
    assert_eq!((&said["error"]["type"], &said["request_id"]), (&json!("authentication_error"), &json!("mine")));
    let wrong = served.send(get("/v1/messages")).await; // a wrong method, if it had a key
    let id = header(&wrong, "x-request-id").to_owned();
    assert_eq!(read(wrong).await["request_id"], id);
}

#[tokio::test]
async fn a_public_door_without_keys_is_shut() {
    let served = serve(Door::Network(Network { closed: true, ..Network::default() }), answers);
    assert_eq!(served.post(&ask()).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_of_other_origins_reach_nothing() {
    let served = serve(network(&[]), answers);
    for (origin, status, allowed) in [("https://good.test", 200, "https://good.test"), ("https://evil.test", 403, "")] {
        let response = served.send(post("/v1/chat/completions", &ask(), &[("origin", origin)])).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(header(&response, "access-control-allow-origin"), allowed);
    }
    assert_eq!(served.upstream.requests().len(), 1);
}

#[tokio::test]
async fn one_line_says_what_became_of_a_request_and_nothing_of_what_was_said() {
    let served = serve(network(&["secret-key"]), answers);
    let headers = [("authorization", "Bearer secret-key"), ("x-request-id", "mine-1"), ("user-agent", "OpenAI/JS 6")];
    let body = json!({ "messages": [{ "role": "user", "content": "private words" }] });
    let response = served.send(post("/v1/chat/completions?key=secret-key", &body, &headers)).await;
    assert_eq!(header(&response, "x-request-id"), "mine-1");
    text(response).await;
    let line = serde_json::to_value(&served.lines.lock().expect("no panic")[0]).expect("JSON");
    let expected = json!({
        "requestId": "mine-1", "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "client": "OpenAI/JS 6", "provider": "a", "model": "m-2", "attempts": 1, "promptTokens": 12,
        "completionTokens": 6, "cost": 0.000024, "time": line["time"], "durationMs": line["durationMs"],
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn what_is_no_route_is_refused_in_the_shape_of_its_api() {
    let served = serve(Door::Inside, answers);
    assert_eq!(served.send(get("/v1/chat/completions")).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(served.send(get("/v1/nothing")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(served.send(get("/v1/chat/completions/")).await.status(), StatusCode::NOT_FOUND);
    assert!(text(served.send(get("/metrics")).await).await.ends_with("# EOF\n"));
    served.pool.shutdown(std::time::Duration::ZERO).await;
    assert_eq!(served.send(get("/ready")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served.post(&ask()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

fn work(more: Value) -> Value {
    let mut work = json!({ "task": "t", "prompt": "Where?" });
    let (Value::Object(into), Value::Object(more)) = (&mut work, more) else { panic!("objects") };
    into.extend(more);
    work
}

impl Served {
    async fn infer(&self, work: &Value) -> Response {
        self.send(post("/v1/infer", work, &[])).await
    }
}

#[tokio::test]
async fn work_is_done_by_the_name_of_its_task() {
    let served = serve(Door::Inside, answers);
    let response = served.infer(&work(json!({ "request_id": "mine", "tenant": "them", "deadline_ms": 1000 }))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let named = ["x-request-id", "x-llmpool-provider", "x-llmpool-model", "x-llmpool-attempts", "x-llmpool-cost-usd"];
    assert_eq!(named.map(|name| header(&response, name).to_owned()), ["mine", "a", "m-2", "1", "0.000024"]);
    let body = read(response).await;
    assert_eq!((&body["request_id"], &body["task"], &body["content"]), (&json!("mine"), &json!("t"), &json!("hello")));
    assert_eq!((&body["strategy_used"], &body["from_cache"]), (&json!("FASTEST"), &json!(false)));
    let line = served.lines.lock().expect("no panic")[0].clone();
    assert_eq!((line.request_id.as_str(), line.facts.prompt_tokens), ("mine", Some(12)));

    let headers = [("x-request-id", "other"), ("x-llmpool-providers", "nobody")];
    let response = served.send(post("/v1/infer", &work(json!({})), &headers)).await;
    assert_eq!((response.status(), header(&response, "x-request-id")), (StatusCode::BAD_REQUEST, "other"));
}

#[tokio::test]
async fn work_that_cannot_be_done_says_why_in_the_pools_own_shape() {
    let served = serve(Door::Inside, answers);
    for (body, status, code, field) in [
        (json!({ "prompt": "x" }), 400, "invalid_request", None),
        (work(json!({ "max_tokens": 0 })), 400, "invalid_request", Some("max_tokens")),
        (work(json!({ "task": "nope" })), 404, "task_not_found", Some("task")),
        (work(json!({ "task": "v", "stream": true })), 400, "invalid_request", Some("strategy")),
        (json!(["t", "x"]), 400, "invalid_request", None),
    ] {
        let response = served.infer(&body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
        let id = header(&response, "x-request-id").to_owned();
        let said = read(response).await;
        assert_eq!((&said["error"]["code"], said["error"].get("field").and_then(Value::as_str)), (&json!(code), field));
        assert!(said["error"]["message"].is_string() && said["request_id"] == id, "{said}");
    }
    served.infer(&work(json!({ "request_id": "r" }))).await;
    assert_eq!(
        served.infer(&work(json!({ "request_id": "r", "prompt": "other" }))).await.status(),
        StatusCode::CONFLICT
    );
    assert!(read(served.infer(&work(json!({ "request_id": "r" }))).await).await["from_cache"].as_bool() == Some(true));
    assert_eq!(read(served.send(get("/v1/infer")).await).await["error"]["code"], "method_not_allowed");
    assert_eq!(served.upstream.requests().len(), 1);
}

#[tokio::test]
async fn nobody_works_for_a_tenant_that_is_not_theirs() {
    let served = serve(network(&["key"]), answers);
    let headers = [("authorization", "Bearer key")];
    for (tenant, status) in [(json!("them"), 403), (Value::Null, 200)] {
        let response = served.send(post("/v1/infer", &work(json!({ "tenant": tenant })), &headers)).await;
        assert_eq!(response.status().as_u16(), status, "{tenant}");
    }
}

#[tokio::test]
async fn work_comes_as_a_stream_with_the_whole_answer_at_its_end() {
    let served = serve(Door::Inside, streams(&[HELLO, FINISH, DONE], false));
    let asked = work(json!({ "stream": true, "request_id": "r" }));
    for (cached, requests) in [(false, 1), (true, 1)] {
        let said = text(served.infer(&asked).await).await;
        let (delta, done) = said.split_once("\n\n").expect("two events");
        assert_eq!(delta, "event: delta\ndata: {\"delta\":\"hello\"}");
        let done: Value = serde_json::from_str(done.strip_prefix("event: done\ndata: ").expect("done")).expect("JSON");
        assert_eq!((&done["content"], &done["winner_model"]), (&json!("hello"), &json!("m-2")));
        assert_eq!((&done["request_id"], &done["from_cache"]), (&json!("r"), &json!(cached)));
        assert_eq!(served.upstream.requests().len(), requests);
    }
    let other = work(json!({ "stream": true, "request_id": "r", "prompt": "other" }));
    assert_eq!(served.infer(&other).await.status(), StatusCode::CONFLICT);

    let broken = serve(Door::Inside, streams(&[HELLO], true));
    let mut body = broken.infer(&work(json!({ "stream": true }))).await.into_body().into_data_stream();
    let mut said = String::new();
    while let Some(Ok(piece)) = body.next().await {
        said.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    assert!(said.contains("event: error\ndata: {\"error\":{\"code\":\"network\"") && !said.contains("done"), "{said}");
}

#[tokio::test]
async fn what_no_model_can_do_is_the_requests_own_fault() {
    let config = json!({ "providers": [{
        "name": "a", "type": "openai-compatible", "model": "m", "api_key": "k", "base_url": "https://a.test/v1",
        "capabilities": ["tools"],
    }, {
        "name": "b", "type": "openai-compatible", "model": "other", "api_key": "k", "base_url": "https://b.test/v1",
    }] });
    let served = serve_by(config, Door::Inside, answers);
    let image = json!([{ "type": "image_url", "image_url": { "url": "https://h.test/a.png" } }]);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": image }] });
    let response = served.post(&body).await;
    assert_eq!((response.status(), header(&response, "x-llmpool-error")), (StatusCode::BAD_REQUEST, "no_provider"));
    assert_eq!(read(response).await["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_told_in_the_shape_of_who_asks() {
    let served = serve(Door::Inside, answers);
    let ask = async |version: Option<&str>| {
        let mut request = get("/v1/models/nope");
        if let Some(version) = version {
            request.headers_mut().insert("anthropic-version", version.parse().expect("ASCII"));
        }
        let response = served.send(request).await;
        assert_eq!(response.status(), 404);
        serde_json::from_str::<Value>(&text(response).await).expect("JSON")
    };
    assert_eq!(ask(None).await["error"]["code"], "model_not_found");
    let anthropic = ask(Some("2023-06-01")).await;
    assert_eq!((&anthropic["type"], &anthropic["error"]["type"]), (&json!("error"), &json!("not_found_error")));
}

#[tokio::test]
async fn a_pool_that_was_shut_down_is_not_healthy() {
    let served = serve(Door::Inside, answers);
    served.pool.shutdown(std::time::Duration::ZERO).await;
    let response = served.send(get("/health")).await;
    assert_eq!(response.status(), 503);
    let told: Value = serde_json::from_str(&text(response).await).expect("JSON");
    assert_eq!((&told["status"], &told["healthy"]), (&json!("unavailable"), &json!(false)));
}
