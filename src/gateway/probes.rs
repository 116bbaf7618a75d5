//! How the pool does, for those who watch it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode};
use serde::Serialize;

use super::refused::Refused;
use super::{Gateway, auth};
use crate::engine::PoolHealth;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// OpenMetrics 1.0, which Prometheus prefers.
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    status: &'static str,
    version: &'static str,
    healthy: bool,
    total_providers: usize,
    available_providers: usize,
    /// Only for the operator: it says what providers answered to everybody's calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a PoolHealth>,
}

/// A body of JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => typed(status, JSON, json),
        Err(error) => Refused::internal(error.to_string()).into_response(super::Dialect::OpenAi),
    }
}

fn typed(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    const NEVER_KEPT: HeaderValue = HeaderValue::from_static("no-store");
    const SNIFF: HeaderName = http::header::X_CONTENT_TYPE_OPTIONS;
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(http::header::CACHE_CONTROL, NEVER_KEPT);
    headers.insert(SNIFF, HeaderValue::from_static("nosniff"));
    response
}

/// What some clients ask before anything else, by HEAD.
pub(super) async fn root() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "name": "llmpool", "version": env!("CARGO_PKG_VERSION") }))
}

/// What is told of the pool.
pub(super) struct Probe {
    pub ok: bool,
    pub word: &'static str,
    pub health: PoolHealth,
    /// Whoever asks may know of the providers.
    pub is_operator: bool,
}

impl Probe {
    pub fn of(gateway: &Gateway, is_operator: bool) -> Self {
        let mut health = gateway.pool.engine().health();
        health.healthy &= gateway.pool.is_open(); // a pool that was shut down answers nobody, however its providers do
        let ok = health.healthy;
        Self { ok, word: if ok { "ok" } else { "unavailable" }, health, is_operator }
    }
}

/// The state of the pool: 503 when no provider is available.
pub(super) async fn health(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Probe { ok, word, health, is_operator } = Probe::of(&gateway, auth::is_operator(&request));
    json(
        if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
        &Health {
            status: word,
            version: env!("CARGO_PKG_VERSION"),
            healthy: health.healthy,
            total_providers: health.total_providers,
            available_providers: health.available_providers,
            pool: is_operator.then_some(&health),
        },
    )
}

/// The process answers.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

/// A call would have somebody to go to.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    if gateway.is_ready() {
        json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": "unavailable" }))
    }
}

/// What all routes take and answer.
pub(super) async fn openapi() -> Response {
    typed(StatusCode::OK, JSON, include_str!("../../schema/openapi.json"))
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    typed(StatusCode::OK, OPENMETRICS, gateway.pool.metrics())
}
