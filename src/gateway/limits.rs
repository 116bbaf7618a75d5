//! A tenant's limits, as its clients are told: with every answer what is left, in OpenAI's headers, which clients of both
//! APIs read. What the limits are and when they are reached is the pool's to say.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Gateway;
use super::auth::{self, Caller};
use super::book::Page;
use super::refused::{Dialect, Refused};
use crate::engine::{Quota, TenantQuota};

/// What of a limit is told: all of it, what is left, and when all of it is there again.
const REQUESTS: [HeaderName; 3] = [LIMIT_REQUESTS, REMAINING_REQUESTS, RESET_REQUESTS];
const TOKENS: [HeaderName; 3] = [LIMIT_TOKENS, REMAINING_TOKENS, RESET_TOKENS];

pub(super) const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
pub(super) const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
pub(super) const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
pub(super) const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
pub(super) const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
pub(super) const RESET_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");

/// What is told of the whole pool, other tenants included.
const OF_EVERYBODY: &str = "/metrics";

/// Turns away tenants that may not come in at all, and tells the others how they stand.
pub(super) async fn tell(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let Some(tenant) = Caller::of(&request).tenant else { return next.run(request).await };
    let page = Page::of(&request);
    page.of_tenant(&tenant);
    let engine = gateway.pool.engine();
    let path = request.uri().path();
    if auth::is_open(request.method(), path) {
        return next.run(request).await;
    }
    if let Err(error) = engine.roster().known_tenant(Some(&tenant), true).map(drop) {
        return gateway.refuse(error, &page).into_response(Dialect::of(&request));
    }
    if path == OF_EVERYBODY {
        let message = "metrics tell of every tenant; a key of server.api_keys reads them";
        return Refused::forbidden(message).into_response(Dialect::of(&request));
    }
    let mut response = next.run(request).await;
    if let Some(TenantQuota { requests, tokens }) = engine.quota(&tenant) {
        write(response.headers_mut(), REQUESTS, requests);
        write(response.headers_mut(), TOKENS, tokens);
    }
    response
}

fn write(headers: &mut HeaderMap, [all, left, full]: [HeaderName; 3], quota: Option<Quota>) {
    let Some(Quota { limit, remaining, reset }) = quota else { return };
    headers.insert(all, HeaderValue::from(limit));
    headers.insert(left, HeaderValue::from(remaining));
    if let Ok(reset) = HeaderValue::from_str(&as_go_says(reset)) {
        headers.insert(full, reset);
    }
}

/// A time as OpenAI's headers have it, which is Go's form: `12ms`, `1s`, `6m0s`, `1h2m3s`. Rounded up: at that time it has
/// passed.
fn as_go_says(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let seconds = millis.div_ceil(1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_form_that_clients_of_openai_read() {
        for (millis, said) in [
            (0, "0s"),
            (12, "12ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_001, "2s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (3_723_000, "1h2m3s"),
            (86_399_001, "24h0m0s"),
        ] {
            assert_eq!(as_go_says(Duration::from_millis(millis)), said);
        }
        assert_eq!(as_go_says(Duration::from_nanos(1)), "1ms", "never before it has passed");
    }
}
