//! From where a browser may call.
//!
//! A port of this machine that needs no key is open to every program here, and a browser is one that runs the scripts of
//! strangers. Two things let a stranger's page past what `auth` asks of its `Origin`: requests that browsers send
//! without one, and a name of the page's own that it points to this machine (DNS rebinding), so that the page is of the
//! same origin as the gateway.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, HeaderValue, ORIGIN};
use http::uri::Authority;

use super::Gateway;
use super::refused::{Dialect, Refused};
use crate::config::ServerConfig;

/// Says of a connection that it came to an address of this machine, which nobody has opened to everybody.
#[derive(Clone, Copy)]
pub(super) struct Local;

/// Lets a request on, or says why not.
pub(super) async fn admit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    match refusal(&gateway, &request) {
        Some(message) => Refused::forbidden(message).into_response(Dialect::of(&request)),
        None => next.run(request).await,
    }
}

fn refusal(gateway: &Gateway, request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let is_cross = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_cross && !headers.contains_key(ORIGIN) {
        return Some("pages of other sites may not call");
    }
    let server = gateway.server();
    let is_local = request.extensions().get::<Local>().is_some() && !server.insecure;
    // A page has no key.
    if !is_local || gateway.door.is_guarded(&server) {
        return None;
    }
    let authority = match headers.get(HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).ok(),
        None => request.uri().authority().cloned(), // HTTP/2; a browser always sends one of both
    };
    match authority {
        Some(authority) if !is_loopback(authority.host()) && !may_call(gateway, &authority, &server) => Some(
            "without api_keys this address answers to localhost alone; list https://<host> in cors_origins, or set \
             api_keys or insecure",
        ),
        None if headers.contains_key(HOST) => Some("the Host header cannot be read"),
        _ => None,
    }
}

/// A name of this machine that nobody else can give out.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        // RFC 6761 §6.3: all of them are this machine.
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Pages of this host may call.
fn may_call(gateway: &Gateway, host: &Authority, server: &ServerConfig) -> bool {
    ["https", "http"].iter().any(|scheme| {
        let origin = HeaderValue::from_str(&format!("{scheme}://{host}"));
        origin.is_ok_and(|origin| gateway.door.allows_origin(&origin, server))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for (host, own) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("evil.test", false),
            ("localhost.evil.test", false),
            ("127.0.0.1.evil.test", false),
            ("192.168.0.1", false),
            ("0.0.0.0", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), own, "{host}");
        }
    }
}
