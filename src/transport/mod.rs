//! Moves HTTP bytes to providers and back: the one seam through which the engine does I/O.
//!
//! A transport sends one request and hands back status, headers and a body that is read as it is asked for; a reader
//! that stops reading stops the socket. It follows no redirect, retries nothing a provider may have seen (but see
//! `direct.rs`), keeps no cookies, asks for no compression, and knows nothing of providers, keys or failures.

mod body;
mod bounded;
mod connections;
mod direct;
#[cfg(test)]
pub mod fake;
mod fetch;
mod media;
mod proxied;
mod stale;
mod tls;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{Stream, StreamExt};
use http::{HeaderMap, Method, StatusCode, Uri};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;

pub use fetch::Fetcher;
pub use media::{Media, MediaClient, MediaParams};

use crate::error::{TransportError, TransportErrorKind};
use crate::time::{self, Instant};

/// One request to a provider: a POST for a call, a GET for what costs nothing.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: Method,
    pub uri: Uri,
    /// Shared, because most requests to a provider have the same.
    pub headers: Arc<HeaderMap>,
    pub body: Bytes,
    /// Set by the transport when the first byte goes out.
    pub started: Started,
}

/// Whether a provider may have seen a request. Until it is set, leaving costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Started(Arc<AtomicBool>);

impl Started {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Status and headers, with the body still on the wire.
pub struct HttpReply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

/// A body in the pieces the socket gives.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// Dropping the future, or the body, closes the connection at once: that is how a call is cancelled.
pub trait Transport: Send + Sync {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>>;
}

/// The client for these parameters: direct, or through the proxies they name.
pub fn client(params: &ClientParams) -> Result<Arc<dyn Transport>, TransportError> {
    let ProxyParams { https, http, all, no_proxy: _ } = &params.proxy;
    let client: Arc<dyn Transport> = if [https, http, all].into_iter().all(Option::is_none) {
        Arc::new(direct::DirectClient::new(params)?)
    } else {
        Arc::new(proxied::ProxiedClient::new(params)?)
    };
    Ok(match params.max_connections {
        Some(most) => Arc::new(bounded::Bounded::new(client, most)),
        None => client,
    })
}

/// Reads a body to its end, at most `limit` bytes of it.
pub async fn read_all(mut body: Body, limit: usize) -> Result<Bytes, TransportError> {
    let Some(first) = body.next().await.transpose()? else { return Ok(Bytes::new()) };
    let too_large = || TransportError::new(TransportErrorKind::TooLarge, format!("the reply is over {limit} bytes"));
    if first.len() > limit {
        return Err(too_large());
    }
    // Most replies arrive in one piece, which is then handed on without a copy.
    let Some(second) = body.next().await.transpose()? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if whole.len() + piece.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
        next = body.next().await.transpose()?;
    }
    Ok(whole.freeze())
}

/// Reads the beginning of a body: what has come by `ends`, until it ends or breaks, at most `limit` bytes.
pub async fn read_prefix(mut body: Body, limit: usize, ends: Instant) -> Bytes {
    let mut read = BytesMut::new();
    while read.len() < limit {
        match time::until(Some(ends), body.next()).await {
            Ok(Some(Ok(piece))) => read.extend_from_slice(&piece[..piece.len().min(limit - read.len())]),
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    read.freeze()
}

/// What may follow a body whose content is complete, and for how long it is waited for: the end of the framing comes with
/// the last content or right behind it. A server that goes on talking loses the connection.
const REST_BYTES: usize = 16 * 1024;
const REST_WAIT: Duration = Duration::from_secs(1);

/// Lets go of a body whose content is complete. The end of its framing is taken behind the caller's back, so that the
/// connection serves the next request instead of being closed.
pub fn finish(mut body: Body) {
    if let Some(None | Some(Err(_))) = body.next().now_or_never() {
        return;
    }
    TokioExecutor::new().execute(async move {
        read_prefix(body, REST_BYTES, time::now().mono + REST_WAIT).await;
    });
}

/// What distinguishes one HTTP client from another. Providers with equal parameters share a client and its connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientParams {
    /// DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// An unused connection is closed after this; 0 keeps none.
    pub idle_timeout: Duration,
    /// Requests under way to one host at once, each on a connection of its own; at least 1. `None`: no limit.
    pub max_connections: Option<u32>,
    pub proxy: ProxyParams,
    /// PEM files whose certificates are trusted beside the platform's.
    pub extra_roots: Vec<PathBuf>,
    /// A PEM file that replaces the platform's roots (`SSL_CERT_FILE`).
    pub only_roots: Option<PathBuf>,
}

impl Default for ClientParams {
    fn default() -> Self {
        Self {
            // A provider that does not accept within 5 s is down; failing over is quicker than waiting on.
            connect_timeout: Duration::from_secs(5),
            // Below the keep-alive of the common front ends, so that most idle connections are closed by us.
            idle_timeout: Duration::from_secs(90),
            // HTTP/1 needs a connection for each call under way; what bounds those bounds these.
            max_connections: None,
            proxy: ProxyParams::default(),
            extra_roots: Vec::new(),
            only_roots: None,
        }
    }
}

/// Proxy URLs, in the meaning the environment variables of these names have.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ProxyParams {
    pub https: Option<String>,
    pub http: Option<String>,
    pub all: Option<String>,
    /// Hosts that are reached directly, comma-separated.
    pub no_proxy: Option<String>,
}

impl std::fmt::Debug for ProxyParams {
    /// A proxy URL may carry a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |url: &Option<String>| url.as_ref().map(|_| "***");
        f.debug_struct("ProxyParams")
            .field("https", &shown(&self.https))
            .field("http", &shown(&self.http))
            .field("all", &shown(&self.all))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        Box::pin(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_is_joined_and_bounded() {
        assert_eq!(read_all(body(&[]), 4).await.expect("empty"), "");
        assert_eq!(read_all(body(&["ab"]), 4).await.expect("one"), "ab");
        assert_eq!(read_all(body(&["ab", "cd"]), 4).await.expect("two"), "abcd");
        for pieces in [&["abcde"][..], &["ab", "cde"], &["ab", "c", "de"]] {
            let error = read_all(body(pieces), 4).await.expect_err("over the bound");
            assert_eq!(error.kind, TransportErrorKind::TooLarge);
        }
    }

    #[test]
    fn a_proxy_password_is_not_shown() {
        let proxy = ProxyParams { all: Some("http://user:hunter2@proxy".into()), ..ProxyParams::default() };
        assert!(!format!("{proxy:?}").contains("hunter2"));
    }
}
