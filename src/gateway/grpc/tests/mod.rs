//! RPCs, by the client that was generated beside the service. What the ports do to them is told in `__test__`.

mod equal;
mod streams;

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use serde_json::json;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::super::Door;
use super::super::tests::{Served, answers, network, post, serve, serve_by, text};
use super::pb::llm_pool_client::LlmPoolClient;
use super::pb::{self, HealthRequest, InferRequest};
use crate::transport::fake;

type Client = LlmPoolClient<axum::Router>;

fn client(served: &Served) -> Client {
    LlmPoolClient::new(served.gateway.grpc_router())
}

fn work(task: &str, prompt: &str) -> InferRequest {
    InferRequest { task: task.to_owned(), prompt: prompt.to_owned(), ..InferRequest::default() }
}

fn with<T>(message: T, metadata: &[(&'static str, &'static str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().expect("ASCII"));
    }
    request
}

fn said(status: &Status, name: &str) -> String {
    let headers: HeaderMap = status.metadata().clone().into_headers();
    headers.get(name).map_or_else(String::new, |value| value.to_str().expect("ASCII").to_owned())
}

#[tokio::test]
async fn an_answer_says_whose_it_is() {
    let served = serve(Door::Inside, answers);
    let request = with(work("t", "x"), &[("x-request-id", "mine")]);
    let response = client(&served).infer(request).await.expect("an answer");
    let named = ["x-llmpool-provider", "x-llmpool-model", "x-llmpool-attempts", "x-llmpool-cost-usd", "x-request-id"];
    let headers: HeaderMap = response.metadata().clone().into_headers();
    let named = named.map(|name| headers[name].to_str().expect("ASCII").to_owned());
    assert_eq!(named, ["a", "m-2", "1", "0.000024", "mine"]);
    let pb::InferResponse { content, winner_model, provider, cost, usage, parsed, .. } = response.into_inner();
    assert_eq!((content.as_str(), winner_model.as_str(), provider.as_str()), ("hello", "m-2", "a"));
    assert_eq!((cost, usage.expect("usage").total_tokens, parsed), (Some(0.000024), 18, None));
}

#[tokio::test(start_paused = true)]
async fn each_failure_upstream_has_its_code_and_says_whether_to_ask_again() {
    for (upstream, code, status, error, retry_after) in [
        (500, Code::Unavailable, "503", "server_error", ""),
        (401, Code::Unavailable, "503", "auth", ""),
        (429, Code::ResourceExhausted, "429", "rate_limit_exceeded", "7000"),
        (400, Code::InvalidArgument, "400", "invalid_request", ""),
        (404, Code::NotFound, "404", "model_not_found", ""),
        (413, Code::ResourceExhausted, "413", "request_too_large", ""),
    ] {
        let served = serve(Door::Inside, move |_| {
            let headers: &[_] = if upstream == 429 { &[("retry-after", "7")] } else { &[] };
            fake::reply(upstream, headers, json!({ "error": { "message": "no", "code": "x" } }).to_string())
        });
        let request = with(work("t", "x"), &[("x-llmpool-deadline-ms", "1000")]);
        let refused = client(&served).infer(request).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{upstream}: {refused:?}");
        assert_eq!(
            (said(&refused, "x-llmpool-status"), said(&refused, "x-llmpool-error")),
            (status.into(), error.into())
        );
        assert_eq!(
            (said(&refused, "retry-after-ms"), said(&refused, "x-llmpool-attempts")),
            (retry_after.into(), "1".into())
        );
        assert_eq!(said(&refused, "grpc-retry-pushback-ms"), "-1", "{upstream}");
        assert_eq!(served.statuses()[0].to_string(), status, "{upstream}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_code_and_field() {
    let served = serve(Door::Inside, answers);
    let mut client = client(&served);
    client.infer(InferRequest { request_id: Some("r".to_owned()), ..work("t", "x") }).await.expect("an answer");
    let cache = |enabled, ttl| Some(pb::Cache { enabled, ttl });
    for (message, code, field) in [
        (work("nope", "x"), Code::NotFound, "task"),
        (work("t", " "), Code::InvalidArgument, "prompt"),
        (InferRequest { max_tokens: Some(0), ..work("t", "x") }, Code::InvalidArgument, "max_tokens"),
        (InferRequest { strategy: Some("BEST".to_owned()), ..work("t", "x") }, Code::InvalidArgument, "strategy"),
        (InferRequest { deadline_ms: Some(-1.0), ..work("t", "x") }, Code::InvalidArgument, "deadline_ms"),
        (InferRequest { deadline_ms: Some(f64::NAN), ..work("t", "x") }, Code::InvalidArgument, "deadline_ms"),
        (InferRequest { cache: cache(Some(false), Some(1.0)), ..work("t", "x") }, Code::InvalidArgument, "cache.ttl"),
        (InferRequest { cache: cache(None, Some(-1.0)), ..work("t", "x") }, Code::InvalidArgument, "cache.ttl"),
        (InferRequest { project: Some(String::new()), ..work("t", "x") }, Code::InvalidArgument, "project"),
        (InferRequest { request_id: Some("r".to_owned()), ..work("t", "other") }, Code::AlreadyExists, "request_id"),
        (work("t", &"x".repeat(1000)), Code::ResourceExhausted, ""),
    ] {
        let refused = client.infer(message.clone()).await.expect_err("refused");
        assert_eq!(
            (refused.code(), said(&refused, "x-llmpool-field").as_str()),
            (code, field),
            "{message:?}: {refused:?}"
        );
        assert!(!refused.message().is_empty() && !said(&refused, "x-request-id").is_empty());
    }
    let refused = client.infer_stream(work("v", "x")).await.expect_err("it compares");
    assert_eq!((refused.code(), said(&refused, "x-llmpool-field").as_str()), (Code::InvalidArgument, "strategy"));
    for metadata in [("grpc-timeout", "soon"), ("x-llmpool-failover", "perhaps")] {
        let refused = client.infer(with(work("t", "x"), &[metadata])).await.expect_err("unreadable");
        assert_eq!((refused.code(), said(&refused, "x-llmpool-field").as_str()), (Code::InvalidArgument, metadata.0));
    }
    assert_eq!(served.upstream.requests().len(), 1);
}

#[tokio::test]
async fn what_is_echoed_fits_a_head() {
    let config = json!({
        "providers": [{ "name": "a", "type": "openai-compatible", "model": "m", "api_key": "k",
            "base_url": "https://a.test/v1" }],
        "tasks": { "t": {} },
    });
    let served = serve_by(config, Door::Inside, answers);
    let long = "é ".repeat(100_000);
    let by_strategy = InferRequest { strategy: Some(long.clone()), ..work("t", "x") };
    for message in [work(&long, "x"), by_strategy] {
        let refused = client(&served).infer(message).await.expect_err("unknown");
        let head: usize = refused.metadata().clone().into_headers().values().map(|value| value.len()).sum();
        assert!(refused.message().len() < 2100 && head < 2100, "{} {head}", refused.message().len());
    }
    let body = json!({ "task": long, "prompt": "x" });
    let refused = text(served.send(post("/v1/infer", &body, &[])).await).await;
    assert!(refused.contains("there is no task") && refused.len() < 3000, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn reflection_ends_with_its_time_and_with_the_port() {
    let served = serve(Door::Inside, answers);
    let mut client = ServerReflectionClient::new(served.gateway.grpc_router());
    let began = tokio::time::Instant::now();
    let mut silent = client.server_reflection_info(stream::pending()).await.expect("open").into_inner();
    assert!(silent.next().await.is_none());
    assert_eq!(began.elapsed(), served.gateway.server().body_timeout);
    let mut silent = client.server_reflection_info(stream::pending()).await.expect("open").into_inner();
    served.gateway.closing.cancel();
    assert!(silent.next().await.is_none());
    assert_eq!(began.elapsed(), served.gateway.server().body_timeout);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_an_rpc_is_that_of_the_call() {
    let served = serve(Door::Inside, |_| Box::pin(std::future::pending()));
    for streams in [false, true] {
        let began = tokio::time::Instant::now();
        let request = with(work("t", "x"), &[("grpc-timeout", "250m")]);
        let ended = match streams {
            true => client(&served).infer_stream(request).await.map(|_| ()),
            false => client(&served).infer(request).await.map(|_| ()),
        };
        let ended = ended.expect_err("nobody answers");
        assert_eq!((ended.code(), began.elapsed()), (Code::DeadlineExceeded, Duration::from_millis(250)), "{ended:?}");
    }
    assert_eq!(served.pool.engine().stats().active_connections, 0);
}

#[tokio::test]
async fn nobody_comes_in_without_a_key_but_probes() {
    let served = serve(network(&["right"]), answers);
    let mut pool = client(&served);
    let refused = pool.infer(work("t", "x")).await.expect_err("no key");
    assert_eq!(
        (refused.code(), said(&refused, "x-llmpool-error").as_str()),
        (Code::Unauthenticated, "invalid_api_key")
    );
    for key in [("authorization", "Bearer wrong"), ("x-api-key", "wrong")] {
        assert_eq!(pool.infer(with(work("t", "x"), &[key])).await.expect_err("wrong").code(), Code::Unauthenticated);
    }
    for key in [("authorization", "Bearer right"), ("x-api-key", "right")] {
        pool.infer(with(work("t", "x"), &[key])).await.expect("let in");
    }
    let theirs = InferRequest { tenant: Some("them".to_owned()), ..work("t", "x") };
    let refused = pool.infer(with(theirs, &[("x-api-key", "right")])).await.expect_err("not theirs");
    assert_eq!((refused.code(), said(&refused, "x-llmpool-field").as_str()), (Code::PermissionDenied, "tenant"));

    let health = pool.health(HealthRequest {}).await.expect("open").into_inner();
    assert_eq!((health.status.as_str(), health.available_providers), ("ok", 1));
    assert_eq!((health.best_provider, health.providers.len()), (None, 0), "no names without a key");
    let health = pool.health(with(HealthRequest {}, &[("x-api-key", "right")])).await.expect("open").into_inner();
    assert_eq!((health.best_provider.as_deref(), health.providers[0].name.as_str()), (Some("a"), "a"));
    let mut probe = HealthClient::new(served.gateway.grpc_router());
    probe.check(HealthCheckRequest::default()).await.expect("open");
    let refused = probe.watch(HealthCheckRequest::default()).await.expect_err("not open");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut reflection = ServerReflectionClient::new(served.gateway.grpc_router());
    let refused = reflection.server_reflection_info(stream::empty()).await.expect_err("not open");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(served.statuses(), [401, 401, 401, 200, 200, 403, 200, 200, 200, 401, 401]);
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let served = serve(Door::Inside, answers);
    let mut client = ServerReflectionClient::new(served.gateway.grpc_router());
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asked = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("llmpool.v1.LlmPool.Infer".to_owned())),
    ];
    let answered = client.server_reflection_info(stream::iter(asked)).await.expect("open").into_inner();
    let answered: Vec<_> = answered.map(|answer| answer.expect("an answer").message_response).collect().await;
    let Some(MessageResponse::ListServicesResponse(list)) = &answered[0] else { panic!("{answered:?}") };
    let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    let known = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "llmpool.v1.LlmPool"];
    assert_eq!(names, known);
    let Some(MessageResponse::FileDescriptorResponse(files)) = &answered[1] else { panic!("{answered:?}") };
    assert!(!files.file_descriptor_proto[0].is_empty());
}

#[tokio::test(start_paused = true)]
async fn health_follows_the_pool_and_the_server() {
    let served = serve(Door::Inside, answers);
    let mut client = HealthClient::new(served.gateway.grpc_router());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "llmpool.v1.LlmPool"] {
        let status = client.check(of(service)).await.expect("known").into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    assert_eq!(client.check(of("nope")).await.expect_err("unknown").code(), Code::NotFound);
    let mut unknown = client.watch(of("nope")).await.expect("a stream").into_inner();
    assert_eq!(unknown.next().await.expect("one").expect("a status").status(), ServingStatus::ServiceUnknown);

    let mut watched = client.watch(of("")).await.expect("a stream").into_inner();
    let mut next = async || watched.next().await.map(|status| status.expect("a status").status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    served.pool.mark_error("a").expect("known");
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    served.pool.clear_error("a").expect("known");
    assert_eq!(next().await, Some(ServingStatus::Serving));
    served.gateway.closing.cancel();
    assert_eq!((next().await, next().await), (Some(ServingStatus::NotServing), None), "a close waits for no watcher");
    let status = client.check(of("")).await.expect("known").into_inner().status();
    assert_eq!(status, ServingStatus::NotServing);
}

#[tokio::test]
async fn what_is_no_rpc_is_refused_in_its_own_way() {
    let served = serve(Door::Inside, answers);
    let router = served.gateway.whole_router();
    let send = async |path: &str, kind: &str| {
        let mut request = post(path, &json!({}), &[("content-type", kind)]);
        *request.version_mut() = http::Version::HTTP_2;
        let response = tower::ServiceExt::oneshot(router.clone(), request).await.expect("never fails");
        let code = response.headers().get("grpc-status").map(|code| code.to_str().expect("ASCII").to_owned());
        let status = response.status().as_u16();
        text(response).await;
        (status, code)
    };
    let grpc = "application/grpc+proto";
    let code = |code: Code| (200, Some((code as i32).to_string()));
    assert_eq!(send("/llmpool.v1.LlmPool/Nope", grpc).await, code(Code::Unimplemented));
    assert_eq!(send("/llmpool.v2.LlmPool/Infer", grpc).await, code(Code::Unimplemented));
    for framed_otherwise in ["application/json", "application/grpc-web+proto", "application/grpcfoo"] {
        assert_eq!(send("/llmpool.v1.LlmPool/Infer", framed_otherwise).await, code(Code::Unimplemented));
    }
    assert_eq!(send("/llmpool.v1.LlmPool/Infer", grpc).await, code(Code::Internal), "that is no message");
    assert_eq!(send("/nowhere", "application/json").await, (404, None));
    assert_eq!(send("/./metrics", "application/json").await, (404, None), "dots alone are no service");
    assert_eq!(send("/v1/infer", "application/json").await, (400, None), "both on one port");
    assert_eq!(served.statuses(), [501, 501, 415, 415, 415, 500, 404, 404, 400]);

    let mut unknown = post("/llmpool.v1.LlmPool/Nope", &json!({}), &[("content-type", grpc)]);
    *unknown.version_mut() = http::Version::HTTP_2;
    let unknown = tower::ServiceExt::oneshot(router.clone(), unknown).await.expect("never fails");
    let status = Status::from_header_map(unknown.headers()).expect("a status");
    assert_eq!(
        (said(&status, "x-llmpool-error").as_str(), said(&status, "x-llmpool-status").as_str()),
        ("unimplemented", "501")
    );
    assert_eq!(status.message(), "there is no /llmpool.v1.LlmPool/Nope");

    let old = post("/llmpool.v1.LlmPool/Infer", &json!({}), &[("content-type", grpc)]);
    let old = tower::ServiceExt::oneshot(router, old).await.expect("never fails");
    assert_eq!(old.status(), 505);
    assert!(text(old).await.contains("gRPC needs HTTP/2"));
}
