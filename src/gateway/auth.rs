//! Who may come in. This is the one place that says so: every request passes [`admit`], whatever its route.
//!
//! A request over a socket needs a key as soon as there are keys; both headers by which clients send one are read on
//! every route. What only says that the process lives is told to everybody.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, HeaderValue, ORIGIN};
use http::{HeaderMap, Method};
use subtle::ConstantTimeEq;

use super::Gateway;
use super::refused::{Dialect, Refused};
use crate::config::{KeyHash, ServerConfig};

/// Who a request comes from, as [`admit`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// On whose behalf it calls.
    pub tenant: Option<String>,
}

impl Caller {
    /// The caller that [`admit`] has let in with this request.
    pub fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

/// How requests come to a gateway.
pub enum Door {
    /// Called by the program that holds the pool: there is nobody to keep out.
    Inside,
    /// Over a socket.
    Network {
        /// Keys beside those of the configuration.
        api_keys: Vec<KeyHash>,
        /// Origins beside those of the configuration.
        cors_origins: Vec<String>,
        /// Others than this machine can reach it, and nobody said that it is meant for everybody. A reload that takes the
        /// last key away then lets nobody in.
        closed: bool,
    },
}

/// Routes that everybody may ask: a probe has no key.
const OPEN: &[&str] = &["/", "/health", "/live", "/ready"];

impl Door {
    /// Is anybody known who may come in?
    pub(super) fn has_keys(&self, server: &ServerConfig) -> bool {
        match self {
            Self::Inside => false,
            Self::Network { api_keys, .. } => !api_keys.is_empty() || !server.api_keys.is_empty(),
        }
    }

    pub(super) fn allows_origin(&self, origin: &HeaderValue, server: &ServerConfig) -> bool {
        match self {
            Self::Inside => true,
            Self::Network { cors_origins, .. } => {
                server.cors_origins.iter().chain(cors_origins).any(|known| known == "*" || known.as_bytes() == origin)
            }
        }
    }

    /// Whether the request brings a key that it may come in with, or needs none.
    pub(super) fn knows(&self, headers: &HeaderMap, server: &ServerConfig) -> bool {
        let Self::Network { api_keys, closed, .. } = self else { return true };
        if !self.has_keys(server) {
            return !closed || server.insecure;
        }
        let Some(hash) = key_of(headers).map(KeyHash::of) else { return false };
        // Every key is compared, and each in the same time whatever is in it: how long this takes says nothing.
        let known = server.api_keys.iter().chain(api_keys).map(|key| key.as_bytes().ct_eq(hash.as_bytes()));
        known.fold(subtle::Choice::from(0), |found, same| found | same).into()
    }
}

/// The key of a request: OpenAI's clients and newer ones of Anthropic send `Authorization: Bearer`, older ones
/// `x-api-key`.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    const SCHEME: &str = "bearer ";
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(key)
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).map(str::trim).filter(|key| !key.is_empty())
}

/// Lets a request in, or says why not.
pub(super) async fn admit(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let server = gateway.server();
    let (path, headers) = (request.uri().path(), request.headers());
    // A browser says which page asks. A page of another origin must reach nothing, even where it could not read the
    // answer: its user pays for it.
    if let Some(origin) = headers.get(ORIGIN)
        && !gateway.door.allows_origin(origin, &server)
    {
        let message = "pages of this origin may not call; server.cors_origins lists those that may";
        return Refused::forbidden(message).into_response(Dialect::of(path));
    }
    let is_open = OPEN.contains(&path) && matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_open && !gateway.door.knows(headers, &server) {
        let message = if key_of(headers).is_some() { "this API key is not known" } else { "an API key is missing" };
        return Refused::unauthorized(message).into_response(Dialect::of(path));
    }
    request.extensions_mut().insert(Caller::default());
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_key_is_found_in_either_header() {
        for (pairs, key) in [
            (&[("authorization", "Bearer k")][..], Some("k")),
            (&[("authorization", "bearer  k ")], Some("k")),
            (&[("x-api-key", "k")], Some("k")),
            (&[("authorization", "Bearer a"), ("x-api-key", "b")], Some("a")),
            (&[("authorization", "Basic k")], None),
            (&[("authorization", "Bearer ")], None),
            (&[("authorization", "Beare")], None),
            (&[], None),
        ] {
            assert_eq!(key_of(&headers(pairs)), key, "{pairs:?}");
        }
    }
}
