//! The face over the engine: that each of its words does what it says. What the engine does is told in its own stories.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::engine::{Clients, HttpStatusError};
use crate::error::{ErrorKind, Failure, FailureClass, Phase, TransportError};
use crate::time;
use crate::transport::fake::{self, FakeTransport};
use crate::transport::{HttpReply, HttpRequest, Transport};
use crate::types::StreamEvent;

type Make = Box<dyn Fn() -> AnyError + Send + Sync>;
type AnyError = Box<dyn StdError + Send + Sync>;

pub(super) fn client(name: &str) -> LlmClientBuilder {
    LlmClient::builder("openai-compatible", "m").name(name).base_url(&format!("https://{name}.test/v1"))
}

fn two() -> LlmPoolBuilder {
    LlmPoolBuilder::new().client(1, client("a")).client(2, client("b")).max_retries(0)
}

/// Over upstreams that answer with their own name.
fn built(builder: LlmPoolBuilder) -> (LlmPool, FakeTransport) {
    built_over(builder, |request| fake::reply(200, &[], answer(request).to_string()))
}

pub(super) fn built_over(
    builder: LlmPoolBuilder,
    script: impl FnMut(&HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> + Send + 'static,
) -> (LlmPool, FakeTransport) {
    let upstream = FakeTransport::new(script);
    let transport = upstream.clone();
    let clients = Clients::new(move |_| Ok(Arc::new(transport.clone()) as Arc<dyn Transport>));
    (builder.build_over(clients).expect("valid"), upstream)
}

fn answer(request: &HttpRequest) -> Value {
    let name = host(request);
    match request.uri.path() {
        "/v1/embeddings" => json!({ "model": "m", "data": [{ "index": 0, "embedding": [1.0] }] }),
        _ => {
            json!({ "model": "m", "choices": [{ "message": { "content": format!("from {name}") }, "finish_reason": "stop" }] })
        }
    }
}

fn host(request: &HttpRequest) -> String {
    request.uri.host().unwrap_or_default().trim_end_matches(".test").to_owned()
}

/// Who was asked by this method, in order.
fn asked(upstream: &FakeTransport, method: &Method) -> Vec<String> {
    upstream.requests().iter().filter(|request| request.method == method).map(host).collect()
}

pub(super) async fn after(wait: Duration) {
    time::sleep_until(time::now().mono + wait).await;
}

async fn answers(pool: &LlmPool) -> String {
    pool.chat(&ChatRequest::user("Where is it cold?")).await.expect("an answer").reply.content
}

#[test]
fn everything_that_is_handed_out_may_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<LlmPool>();
    crosses::<LlmPoolBuilder>();
    crosses::<LlmClient>();
    crosses::<LlmClientBuilder>();
    crosses::<PoolMember>();
    crosses::<Turn>();
    crosses::<Error>();
    crosses::<ExecuteError<AnyError>>();
    fn is_sent<T: Send>(_: T) {}
    let (pool, _) = built(two());
    let request = ChatRequest::user("Where is it cold?");
    is_sent(pool.chat(&request));
    is_sent(pool.stream(request.clone()));
    is_sent(pool.execute_request(async |turn: Turn| turn.complete("Where is it cold?").await));
    is_sent(pool.start());
    is_sent(pool.stop());
}

// === life ===

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_started_checks_its_providers_until_it_is_stopped() {
    let (pool, upstream) = built(two().health_checks(Duration::from_secs(1)));
    after(Duration::from_secs(5)).await;
    assert_eq!(asked(&upstream, &Method::GET), Vec::<String>::new(), "not before it is started");
    pool.start().await.expect("a runtime");
    pool.start().await.expect("once is enough");
    after(Duration::from_millis(1_500)).await;
    assert_eq!(asked(&upstream, &Method::GET), ["a", "b", "a", "b"], "at once, and after each second");
    pool.stop().await.expect("nothing to save");
    after(Duration::from_secs(5)).await;
    assert_eq!(asked(&upstream, &Method::GET).len(), 4);
    assert!(matches!(pool.start().await.expect_err("stopped").kind(), ErrorKind::Closed));
    pool.stop().await.expect("it happens once");
}

#[tokio::test(start_paused = true)]
async fn what_was_started_ends_with_the_last_clone_of_its_pool() {
    let (pool, upstream) = built(two().health_checks(Duration::from_secs(1)));
    pool.clone().start().await.expect("a runtime");
    after(Duration::from_millis(500)).await;
    assert_eq!(asked(&upstream, &Method::GET).len(), 2);
    drop(pool);
    after(Duration::from_secs(5)).await;
    assert_eq!(asked(&upstream, &Method::GET).len(), 2);
}

#[test]
fn starting_needs_a_runtime_and_says_so() {
    let (pool, _) = built(two());
    let error = pool.start().now_or_never().expect("at once").expect_err("no runtime");
    assert!(error.to_string().contains("start: needs a tokio runtime"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_calls_as_long_as_it_is_told_and_then_ends_them() {
    for (drain, ends) in [(Duration::from_secs(3), true), (Duration::ZERO, false)] {
        let (pool, _) = built(two());
        let call = pool.execute_request(async |_| {
            after(Duration::from_secs(2)).await;
            Ok::<_, Failure>(())
        });
        let (result, stopped) = tokio::join!(call, pool.stop_within(drain));
        stopped.expect("nothing to save");
        match result {
            Ok(()) => assert!(ends),
            Err(failed) => assert!(!ends && matches!(failed.error.kind(), ErrorKind::Closed), "{failed}"),
        }
    }
}

// === who is in it ===

#[tokio::test(start_paused = true)]
async fn clients_come_and_go_while_it_runs() {
    let (pool, upstream) = built(two());
    pool.add_client(PoolMember::new(0, client("c"))).expect("valid");
    assert_eq!((pool.len(), pool.get_client().expect("c").id()), (3, "c"));
    assert_eq!(answers(&pool).await, "from c");
    let client_of_c = pool.client("c").expect("there");
    assert_eq!((client_of_c.name().as_str(), client_of_c.request_count()), ("openai-compatible/m", 1));
    pool.remove_client("c").expect("there");
    assert_eq!((client_of_c.name().as_str(), client_of_c.request_count(), client_of_c.last_used()), ("", 0, None));
    assert_eq!(answers(&pool).await, "from a");
    pool.set_enabled("a", false).expect("there");
    assert_eq!(answers(&pool).await, "from b");
    pool.set_enabled("a", true).expect("there");
    pool.set_priority("b", 0).expect("there");
    assert_eq!(answers(&pool).await, "from b");
    assert_eq!(asked(&upstream, &Method::POST), ["c", "a", "b", "b"]);
    let unknown =
        [pool.remove_client("c"), pool.set_enabled("c", true), pool.set_priority("c", 1), pool.mark_error("c")];
    for result in unknown {
        assert!(result.expect_err("unknown").to_string().contains("no provider is named \"c\""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_marked_is_not_asked_until_that_is_over() {
    let (pool, _) = built(two().error_cooldown(Duration::from_secs(10)));
    pool.mark_error("a").expect("there");
    assert_eq!((answers(&pool).await.as_str(), pool.get_client().expect("b").id()), ("from b", "b"));
    after(Duration::from_secs(10)).await;
    assert_eq!(answers(&pool).await, "from a");
    pool.mark_error("a").expect("there");
    assert!(pool.clear_error("a").expect("there"));
    assert!(!pool.clear_error("a").expect("there"));
    assert_eq!(answers(&pool).await, "from a");
    pool.mark_error("a").expect("there");
    pool.mark_error("b").expect("there");
    assert!(pool.get_client().is_none() && !pool.health().healthy);
}

#[tokio::test(start_paused = true)]
async fn a_client_asks_its_own_provider_and_no_other() {
    let (pool, upstream) = built(two());
    let b = pool.client("b").expect("there");
    let request = ChatRequest::user("Where is it cold?");
    assert_eq!(b.chat(&request).await.expect("an answer").provider.as_str(), "b");
    assert_eq!(b.complete("Where is it cold?").await.expect("an answer"), "from b");
    assert_eq!(b.embed(&EmbedRequest::new(["cold"])).await.expect("a vector").vectors, [[1.0]]);
    let mut stream = b.stream(request.clone()).await.expect("a stream");
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        if let StreamEvent::Text(piece) = event.expect("whole") {
            text.push_str(&piece);
        }
    }
    assert_eq!(text, "from b");
    assert_eq!(asked(&upstream, &Method::POST), ["b"; 4]);
    assert_eq!((b.request_count(), pool.client("a").expect("there").request_count()), (4, 0));
    let used = b.last_used().expect("asked");
    assert!(used.elapsed().is_ok_and(|since| since < Duration::from_secs(60)));
    pool.mark_error("b").expect("there");
    assert!(matches!(b.chat(&request).await.expect_err("nobody else").kind(), ErrorKind::NoProvider { .. }));
}

#[tokio::test(start_paused = true)]
async fn get_client_goes_by_the_behaviour_and_takes_turns() {
    let turns = |pool: &LlmPool| -> Vec<String> {
        (0..4).map(|_| pool.get_client().expect("available").id().to_owned()).collect()
    };
    let (pool, upstream) = built(two().behaviour(Behaviour::Distribute));
    assert_eq!(turns(&pool), ["a", "b", "a", "b"]);
    for _ in 0..4 {
        pool.get_client().expect("available").complete("Where is it cold?").await.expect("an answer");
    }
    assert_eq!(asked(&upstream, &Method::POST), ["a", "b", "a", "b"], "asking it takes no further turn");
    pool.mark_error("b").expect("there");
    assert_eq!(turns(&pool), ["a"; 4]);
    let (pool, _) = built(two().behaviour(Behaviour::Failover).client(0, client("c").weight(0)));
    assert_eq!(turns(&pool), ["a"; 4], "a weight of 0 is for calls that name it");
    pool.set_enabled("a", false).expect("there");
    assert_eq!(turns(&pool), ["b"; 4]);
}

#[test]
fn nothing_that_is_printed_shows_a_key() {
    let secret = "sk-secret";
    let builder = client("a").api_key(secret).setting("headers", json!({ "x-secret": secret }));
    let member = PoolMember::new(1, builder.clone());
    let (pool, _) = built(LlmPoolBuilder::new().member(member.clone()));
    let client = pool.client("a").expect("there");
    assert_eq!(format!("{pool:?} {client:?}"), "LlmPool { providers: [\"a\"], .. } LlmClient { id: \"a\", .. }");
    assert!(!format!("{builder:?} {member:?} {pool:?} {client:?}").contains(secret));
}

#[test]
fn the_short_words_set_what_the_configuration_calls_otherwise() {
    let seconds = Duration::from_secs;
    let member = client("a")
        .weight(3)
        .tokens_per_minute(4)
        .max_concurrent(5)
        .max_connections(6)
        .connection_idle_timeout(seconds(7))
        .warm(true);
    let builder = LlmPoolBuilder::new()
        .client(8, member)
        .breaker_window(seconds(9), 0.25, 10)
        .max_concurrent(11)
        .health_checks(seconds(12))
        .error_cooldown(seconds(13))
        .queue_timeout(seconds(14))
        .backoff(seconds(15), 3.0, seconds(16))
        .behaviour(Behaviour::Weighted);
    let (pool, _) = built(builder);
    let roster = pool.pool().engine().roster();
    let (provider, routing, health) = (roster.providers()[0].config(), roster.routing(), roster.health());
    assert_eq!((provider.priority, provider.weight, provider.rate.tokens_per_minute), (8, 3, Some(4)));
    assert_eq!((provider.max_concurrent, provider.client.max_connections, provider.warm), (Some(5), Some(6), true));
    assert_eq!(provider.client.idle_timeout, seconds(7));
    let breaker = &provider.breaker;
    assert_eq!((breaker.window, breaker.failure_ratio, breaker.min_calls), (seconds(9), 0.25, 10));
    assert_eq!((routing.max_concurrent, routing.behaviour), (Some(11), Behaviour::Weighted));
    assert_eq!((health.active, health.interval, routing.error_cooldown), (true, seconds(12), Some(seconds(13))));
    let backoff = &routing.backoff;
    assert_eq!((routing.queue_timeout, backoff.base, backoff.max), (seconds(14), seconds(15), seconds(16)));
    assert!((backoff.multiplier - 3.0).abs() < f64::EPSILON);
}

#[test]
fn providers_are_not_set_as_a_section() {
    let claimed = two().setting("providers", "a", json!({})).routing("colour", "blue");
    let error = claimed.build().expect_err("the setting would be lost").to_string();
    assert!(error.contains("providers: is not a section") && error.contains("routing.colour"), "{error}");
}

// === functions of the caller's own ===

/// How a call ended: the class, and what the function said last.
fn ended<T: fmt::Debug>(result: Result<T, ExecuteError<AnyError>>) -> (Option<FailureClass>, Option<String>) {
    let ExecuteError { error, cause } = result.expect_err("it fails");
    (error.failure().map(|failure| failure.class), cause.map(|cause| cause.to_string()))
}

#[tokio::test(start_paused = true)]
async fn an_error_of_any_type_is_what_the_first_known_cause_of_it_says() {
    #[derive(Debug)]
    struct Wrapped(AnyError);
    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self.0.as_ref())
        }
    }
    let status = |status: u16| HttpStatusError {
        status: http::StatusCode::from_u16(status).expect("a status"),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
    };
    let io = |kind| std::io::Error::new(kind, "broken");
    let cases: [(Make, FailureClass, usize); 7] = [
        (Box::new(|| "a typo".into()), FailureClass::InvalidRequest, 1),
        (Box::new(|| Box::new(Failure::new(FailureClass::Overloaded, "full"))), FailureClass::Overloaded, 2),
        (Box::new(move || Box::new(status(503))), FailureClass::Overloaded, 2),
        (Box::new(move || Box::new(Wrapped(Box::new(status(401))))), FailureClass::Auth, 2),
        (Box::new(move || Box::new(io(std::io::ErrorKind::ConnectionReset))), FailureClass::Network, 2),
        (Box::new(move || Box::new(io(std::io::ErrorKind::TimedOut))), FailureClass::Timeout, 2),
        (Box::new(|| Box::new(Error::closed())), FailureClass::Overloaded, 2),
    ];
    for (make, class, turns) in &cases {
        let (pool, _) = built(two());
        let asked = Mutex::new(Vec::new());
        let result = pool
            .execute_request(|turn| {
                asked.lock().expect("no panic").push(turn.provider().to_owned());
                let error = make();
                async move { Err::<(), _>(error) }
            })
            .await;
        let (found, cause) = ended(result);
        assert_eq!((found, cause), (Some(*class), Some(make().to_string())));
        assert_eq!(asked.into_inner().expect("no panic").len(), *turns, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_takes_too_long_is_left_and_has_said_nothing() {
    let (pool, _) = built(two().timeout(Duration::from_secs(2)));
    let began = time::now().mono;
    let result = pool.execute_request(async |_| std::future::pending::<Result<(), AnyError>>().await).await;
    assert_eq!(ended(result), (Some(FailureClass::Timeout), None), "each provider had its two seconds");
    assert_eq!(began.elapsed(), Duration::from_secs(4));

    let options = CallOptions { deadline: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let result = pool.execute(None, &options, async |_| std::future::pending::<Result<(), AnyError>>().await).await;
    let error = result.expect_err("out of time").error;
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_or_is_dropped_holds_nothing_afterwards() {
    let (pool, _) = built(two().max_concurrent(1));
    let panics = pool.execute_request(async |turn: Turn| {
        assert_ne!(turn.provider(), "a", "a defect of the caller's");
        Ok::<_, AnyError>(())
    });
    assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err(), "it is the caller's to handle");
    let dropped = pool.execute_request(async |_| std::future::pending::<Result<(), AnyError>>().await);
    assert!(time::until(Some(time::now().mono + Duration::from_secs(1)), dropped).await.is_err());
    let stats = pool.stats();
    assert_eq!((stats.active_connections, stats.available_permits, stats.cancelled_requests), (0, Some(1), 2));
    assert!(pool.health().providers.values().all(|provider| provider.errors == 0), "nobody is blamed");
    assert_eq!(answers(&pool).await, "from a", "the only slot came back");
}

#[tokio::test(start_paused = true)]
async fn a_function_may_run_many_times_at_once() {
    let (pool, _) = built(two().behaviour(Behaviour::Distribute));
    let calls = (0..10).map(|_| pool.execute_request(async |turn: Turn| Ok::<_, Failure>(turn.provider().to_owned())));
    let providers: BTreeSet<String> =
        futures_util::future::try_join_all(calls).await.expect("all end well").into_iter().collect();
    assert_eq!(providers.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}
