//! The transport that speaks HTTP/1.1 over TCP and TLS, by reqwest.
//!
//! HTTP/2 is left out on purpose: it gains nothing below a thousand concurrent calls to one host, and one broken
//! connection would fail all of them.
//!
//! **Stale connections.** A server may close an idle connection in the moment a request is written to it. Such a
//! request is sent once more, on another connection, and nobody is blamed. It is recognised by three facts: the
//! connection had answered before, it broke before any byte of this reply, and it did not fail while connecting.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use http::Method;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Certificate, NoProxy, Proxy, redirect};

use super::{ClientParams, HttpReply, HttpRequest, ProxyParams, Transport};
use crate::error::{TransportError, TransportErrorKind};
use crate::time::Instant;

/// Connections remembered as having answered; beyond this the oldest memories go. A pool rarely has a tenth of it.
const REMEMBERED_CONNECTIONS: usize = 4096;

/// A keep-alive HTTP/1.1 client. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    answered: Arc<Answered>,
}

impl HttpClient {
    /// Builds a client; reads the certificate files that `params` names. The error says which part is wrong.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        // The first caller installs it; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ClientParams { connect_timeout, idle_timeout, proxy, extra_roots, only_roots } = params;
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(*connect_timeout)
            .pool_idle_timeout(*idle_timeout);
        if idle_timeout.is_zero() {
            builder = builder.pool_max_idle_per_host(0);
        }
        let mut roots = Vec::new();
        for path in extra_roots.iter().chain(only_roots) {
            roots.extend(certificates(path)?);
        }
        builder = if only_roots.is_some() { builder.tls_certs_only(roots) } else { builder.tls_certs_merge(roots) };
        // The environment was read by `config`; reqwest must not read it a second time.
        builder = builder.no_proxy();
        for proxy in proxies(proxy)? {
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| {
            TransportError::new(TransportErrorKind::Request, format!("HTTP client: {}", innermost(&error)))
        })?;
        Ok(Self { client, answered: Arc::new(Answered::new(params)) })
    }

    async fn send_once(&self, request: HttpRequest) -> Result<HttpReply, SendError> {
        let HttpRequest { url, headers, body } = request;
        let mut request = reqwest::Request::new(Method::POST, url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let mut reply = match self.client.execute(request).await {
            Ok(reply) => reply,
            Err(error) => {
                let stale = connection_of(&error).is_some_and(|local| self.answered.contains(local));
                return Err(SendError { error: translate(error), stale });
            }
        };
        if let Some(info) = reply.extensions().get::<HttpInfo>() {
            self.answered.insert(info.local_addr());
        }
        let status = reply.status();
        let headers = std::mem::take(reply.headers_mut());
        let body = reply.bytes_stream().map(|piece| {
            piece.map_err(|error| {
                TransportError::new(
                    TransportErrorKind::Body,
                    format!("the reply broke off: {}", innermost(&error.without_url())),
                )
            })
        });
        Ok(HttpReply { status, headers, body: Box::pin(body) })
    }
}

impl Transport for HttpClient {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        let client = self.clone();
        async move {
            match client.send_once(request.clone()).await {
                Err(SendError { stale: true, .. }) => client.send_once(request).await.map_err(|failed| failed.error),
                other => other.map_err(|failed| failed.error),
            }
        }
        .boxed()
    }
}

struct SendError {
    error: TransportError,
    /// A connection that had answered before broke before this reply began.
    stale: bool,
}

/// Which connections have answered a request, by their local address. An address that is used anew within the idle
/// timeout would be mistaken for the old one; the price is one needless resend.
struct Answered {
    connections: Mutex<HashMap<SocketAddr, Instant>>,
    forget_after: std::time::Duration,
}

impl Answered {
    fn new(params: &ClientParams) -> Self {
        Self { connections: Mutex::default(), forget_after: params.idle_timeout }
    }

    fn insert(&self, local: SocketAddr) {
        let now = Instant::now();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= REMEMBERED_CONNECTIONS {
            connections.retain(|_, answered| now.duration_since(*answered) < self.forget_after);
            if connections.len() >= REMEMBERED_CONNECTIONS {
                connections.clear();
            }
        }
        connections.insert(local, now);
    }

    fn contains(&self, local: SocketAddr) -> bool {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get(&local).is_some_and(|answered| answered.elapsed() < self.forget_after)
    }
}

/// The local address of the connection on which a request failed, when there was one.
fn connection_of(error: &reqwest::Error) -> Option<SocketAddr> {
    if error.is_connect() || error.is_timeout() {
        return None;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            let mut extensions = http::Extensions::new();
            error.connect_info()?.get_extras(&mut extensions);
            return extensions.get::<HttpInfo>().map(HttpInfo::local_addr);
        }
        source = cause.source();
    }
    None
}

fn translate(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let kind = if error.is_builder() {
        TransportErrorKind::Request
    } else if error.is_timeout() {
        TransportErrorKind::ConnectTimeout // the only timer this client has
    } else if is_tls(&error) {
        TransportErrorKind::Tls
    } else if error.is_connect() {
        TransportErrorKind::Connect
    } else {
        TransportErrorKind::Reset
    };
    let said = innermost(&error);
    let message = match kind {
        TransportErrorKind::Request => format!("the request cannot be sent: {said}"),
        TransportErrorKind::ConnectTimeout => "no connection within the connect timeout".to_owned(),
        TransportErrorKind::Tls => format!("TLS: {said}"),
        TransportErrorKind::Connect => format!("cannot connect: {said}"),
        _ => format!("the connection broke before a reply: {said}"),
    };
    TransportError::new(kind, message)
}

/// The last cause is the one that says something; the outer ones say "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let inside_io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || inside_io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, TransportError> {
    let wrong = |said: String| {
        TransportError::new(TransportErrorKind::Tls, format!("certificates in {}: {said}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(innermost(&error)))?;
    if certificates.is_empty() {
        return Err(wrong("no PEM certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn proxies(params: &ProxyParams) -> Result<Vec<Proxy>, TransportError> {
    let ProxyParams { https, http, all, no_proxy } = params;
    let direct = no_proxy.as_deref().and_then(NoProxy::from_string);
    let build = |url: &Option<String>, kind: fn(&str) -> reqwest::Result<Proxy>| {
        url.as_deref().map(|url| {
            kind(url).map(|proxy| proxy.no_proxy(direct.clone())).map_err(|error| {
                TransportError::new(
                    TransportErrorKind::Request,
                    format!("proxy URL: {}", innermost(&error.without_url())),
                )
            })
        })
    };
    [build(https, |url| Proxy::https(url)), build(http, |url| Proxy::http(url)), build(all, |url| Proxy::all(url))]
        .into_iter()
        .flatten()
        .collect()
}
