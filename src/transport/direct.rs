//! The transport that speaks HTTP/1.1 over TCP and TLS to the provider itself, by hyper-util.
//!
//! HTTP/2 is left out on purpose: it gains nothing below a thousand concurrent calls to one host, and one broken
//! connection would fail all of them.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream;
use http::{Method, Uri};
use http_body::Body as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use super::body::{WatchedBody, broke_off, innermost, refuse_encoded};
use super::stale::Answered;
use super::{ClientParams, HttpReply, HttpRequest, Transport, tls};
use crate::error::{TransportError, TransportErrorKind};
use crate::time;

/// A keep-alive HTTP/1.1 client. Cheap to clone.
#[derive(Clone)]
pub struct DirectClient {
    client: Http,
    /// Keeps no connection: each of its requests goes out on a new one.
    fresh: Http,
    answered: Arc<Answered>,
}

type Http = Client<Timed<HttpsConnector<HttpConnector>>, WatchedBody>;

impl DirectClient {
    /// Builds a client; reads the certificate files that `params` names. Its proxies are not looked at.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false); // the scheme is the TLS connector's business
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(params)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let ClientParams { connect_timeout, idle_timeout, .. } = *params;
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(idle_timeout);
        if idle_timeout.is_zero() {
            builder.pool_max_idle_per_host(0);
        }
        let connector = Timed { inner: connector, timeout: connect_timeout };
        let client = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, fresh, answered: Arc::new(Answered::new(idle_timeout)) })
    }

    async fn send_once(&self, http: &Http, request: HttpRequest) -> Result<HttpReply, legacy::Error> {
        let HttpRequest { uri, headers, body, started } = request;
        let mut request = http::Request::new(WatchedBody::new(body, started));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let (head, body) = http.request(request).await?.into_parts();
        self.answered.note(&head.extensions);
        let pieces = stream::unfold(body, |mut body| async move {
            loop {
                let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await?;
                match frame.map(http_body::Frame::into_data) {
                    Ok(Ok(bytes)) => return Some((Ok(bytes), body)),
                    Ok(Err(_trailers)) => {}
                    Err(error) => return Some((Err(broke_off(&error)), body)),
                }
            }
        });
        Ok(HttpReply { status: head.status, headers: head.headers, body: Box::pin(pieces) })
    }
}

impl Transport for DirectClient {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        let client = self.clone();
        async move {
            let reply = match client.send_once(&client.client, request.clone()).await {
                Err(error) if client.answered.broke(&error) => client.send_once(&client.fresh, request).await,
                other => other,
            };
            let reply = reply.map_err(|error| translate(&error))?;
            refuse_encoded(&reply.headers)?;
            Ok(reply)
        }
        .boxed()
    }
}

fn translate(error: &legacy::Error) -> TransportError {
    let said = innermost(error);
    let (kind, message) = if said == CONNECT_TIMED_OUT {
        (TransportErrorKind::ConnectTimeout, said)
    } else if tls::is_cause(error) {
        (TransportErrorKind::Tls, format!("TLS: {said}"))
    } else if error.is_connect() {
        (TransportErrorKind::Connect, format!("cannot connect: {said}"))
    } else {
        (TransportErrorKind::Reset, format!("the connection broke before a reply: {said}"))
    };
    TransportError::new(kind, message)
}

/// Bounds DNS, TCP and TLS together; the connector's own timeout is for each TCP address alone.
#[derive(Clone)]
struct Timed<C> {
    inner: C,
    timeout: Duration,
}

type ConnectError = Box<dyn std::error::Error + Send + Sync>;

const CONNECT_TIMED_OUT: &str = "no connection within the connect timeout";

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error = ConnectError>,
    C::Response: Send + 'static,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<C::Response, ConnectError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let ends = time::now().mono + self.timeout;
        let connecting = self.inner.call(uri);
        async move { time::until(Some(ends), connecting).await.unwrap_or_else(|_| Err(CONNECT_TIMED_OUT.into())) }
            .boxed()
    }
}
