//! The transport through proxies, by reqwest: CONNECT tunnels, SOCKS, and the rules of `NO_PROXY`.

use std::error::Error as _;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use hyper_util::client::legacy;
use reqwest::{NoProxy, Proxy, redirect};
use url::Url;

use super::body::{WatchedBody, broke_off, innermost, refuse_encoded};
use super::stale::Answered;
use super::{ClientParams, HttpReply, HttpRequest, ProxyParams, Transport, tls};
use crate::error::{TransportError, TransportErrorKind};

/// A keep-alive HTTP/1.1 client that goes through proxies. Cheap to clone.
#[derive(Clone)]
pub struct ProxiedClient {
    client: reqwest::Client,
    /// Keeps no connection: each of its requests goes out on a new one.
    fresh: reqwest::Client,
    answered: Arc<Answered>,
}

impl ProxiedClient {
    /// Builds a client; reads the certificate files that `params` names. The error says which part is wrong.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        let idle = if params.idle_timeout.is_zero() { 0 } else { usize::MAX };
        let (client, fresh) = (build(params, idle)?, build(params, 0)?);
        Ok(Self { client, fresh, answered: Arc::new(Answered::new(params.idle_timeout)) })
    }

    async fn send_once(&self, http: &reqwest::Client, request: HttpRequest) -> Result<HttpReply, SendError> {
        let HttpRequest { method, uri, headers, body, started } = request;
        let url = Url::parse(&uri.to_string()).map_err(|error| SendError {
            error: TransportError::new(TransportErrorKind::Request, format!("the request cannot be sent: {error}")),
            stale: false,
        })?;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = Arc::unwrap_or_clone(headers);
        *request.body_mut() = Some(reqwest::Body::wrap(WatchedBody::new(body, started)));
        let reply = http.execute(request).await.map_err(|error| SendError {
            stale: legacy_cause(&error).is_some_and(|cause| self.answered.broke(cause)),
            error: translate(error),
        })?;
        self.answered.note(reply.extensions());
        Ok(self::reply(reply))
    }
}

impl Transport for ProxiedClient {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        let client = self.clone();
        async move {
            let reply = match client.send_once(&client.client, request.clone()).await {
                Err(SendError { stale: true, .. }) => client.send_once(&client.fresh, request).await,
                other => other,
            };
            let reply = reply.map_err(|failed| failed.error)?;
            refuse_encoded(&reply.headers)?;
            Ok(reply)
        }
        .boxed()
    }
}

struct SendError {
    error: TransportError,
    /// A connection that had answered before broke before this reply began.
    stale: bool,
}

/// A reply of reqwest as one of ours, its body still on the wire.
pub(super) fn reply(mut reply: reqwest::Response) -> HttpReply {
    let status = reply.status();
    let headers = std::mem::take(reply.headers_mut());
    let body = reply.bytes_stream().map(|piece| piece.map_err(|error| broke_off(&error.without_url())));
    HttpReply { status, headers, body: Box::pin(body) }
}

fn legacy_cause(error: &reqwest::Error) -> Option<&legacy::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<legacy::Error>() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}

/// A client that keeps so many idle connections for each host.
pub(super) fn build(params: &ClientParams, idle: usize) -> Result<reqwest::Client, TransportError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(params)?)
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(params.connect_timeout)
        .pool_idle_timeout(params.idle_timeout)
        .pool_max_idle_per_host(idle)
        // The environment was read by `config`; reqwest must not read it a second time.
        .no_proxy();
    for proxy in proxies(&params.proxy)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| {
        TransportError::new(TransportErrorKind::Request, format!("HTTP client: {}", innermost(&error)))
    })
}

pub(super) fn translate(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let said = innermost(&error);
    let (kind, message) = if error.is_builder() {
        (TransportErrorKind::Request, format!("the request cannot be sent: {said}"))
    } else if error.is_timeout() {
        // The only timer this client has.
        (TransportErrorKind::ConnectTimeout, "no connection within the connect timeout".to_owned())
    } else if tls::is_cause(&error) {
        (TransportErrorKind::Tls, format!("TLS: {said}"))
    } else if error.is_connect() {
        (TransportErrorKind::Connect, format!("cannot connect: {said}"))
    } else {
        (TransportErrorKind::Reset, format!("the connection broke before a reply: {said}"))
    };
    TransportError::new(kind, message)
}

fn proxies(params: &ProxyParams) -> Result<Vec<Proxy>, TransportError> {
    let ProxyParams { https, http, all, no_proxy } = params;
    let direct = no_proxy.as_deref().and_then(NoProxy::from_string);
    let build = |url: &Option<String>, kind: fn(&str) -> reqwest::Result<Proxy>| {
        url.as_deref().map(|url| {
            kind(url).map(|proxy| proxy.no_proxy(direct.clone())).map_err(|error| {
                let said = innermost(&error.without_url());
                TransportError::new(TransportErrorKind::Request, format!("proxy URL: {said}"))
            })
        })
    };
    [build(https, |url| Proxy::https(url)), build(http, |url| Proxy::http(url)), build(all, |url| Proxy::all(url))]
        .into_iter()
        .flatten()
        .collect()
}
