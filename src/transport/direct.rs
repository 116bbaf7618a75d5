//! The transport that speaks HTTP/1.1 over TCP and TLS to the provider itself, by hyper.
//!
//! HTTP/2 is left out on purpose: it gains nothing below a thousand concurrent calls to one host, and one broken
//! connection would fail all of them.
//!
//! A server may close an idle connection in the moment a request is written to it. Such a request is sent once more, on
//! a new connection, and nobody is blamed. It is recognised by two facts: the connection had answered before, and it
//! broke before a reply began.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::Stream;
use http::{Uri, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{WatchedBody, broke_off, innermost, refuse_encoded};
use super::connections::{Connection, Connections, Origin};
use super::{ClientParams, HttpReply, HttpRequest, Transport};
use crate::error::{TransportError, TransportErrorKind};

/// A keep-alive HTTP/1.1 client. Cheap to clone.
#[derive(Clone)]
pub struct DirectClient {
    connections: Arc<Connections>,
}

impl DirectClient {
    /// Builds a client; reads the certificate files that `params` names. Its proxies are not looked at.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        Ok(Self { connections: Arc::new(Connections::new(params)?) })
    }
}

impl Transport for DirectClient {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        let connections = Arc::clone(&self.connections);
        async move {
            let origin = Origin::of(&request.uri).ok_or_else(|| {
                TransportError::new(TransportErrorKind::Request, "the request cannot be sent: no http address")
            })?;
            let reply = match connections.take_idle(&origin) {
                Some(idle) => match exchange(idle, request.clone()).await {
                    Err(error) if !began(&error) => exchange(connections.open(origin).await?, request).await,
                    other => other,
                },
                None => exchange(connections.open(origin).await?, request).await,
            };
            let reply = reply.map_err(|error| broke(&error))?;
            refuse_encoded(&reply.headers)?;
            Ok(reply)
        }
        .boxed()
    }
}

/// One request and the head of its reply.
async fn exchange(mut connection: Connection, request: HttpRequest) -> Result<HttpReply, hyper::Error> {
    let HttpRequest { method, uri, headers, body, started } = request;
    let mut request = http::Request::new(WatchedBody::new(body, started));
    *request.method_mut() = method;
    *request.uri_mut() = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| path.clone().into());
    *request.headers_mut() = Arc::unwrap_or_clone(headers);
    request.headers_mut().insert(header::HOST, connection.host.clone());
    let (head, body) = connection.sender.send_request(request).await?.into_parts();
    let body = ReplyBody { body, connection: Some(connection) };
    Ok(HttpReply { status: head.status, headers: head.headers, body: Box::pin(body) })
}

/// Had a reply begun? What cannot be read of it came from the server.
fn began(error: &hyper::Error) -> bool {
    error.is_parse() || error.is_parse_status()
}

fn broke(error: &hyper::Error) -> TransportError {
    let message = format!("the connection broke before a reply: {}", innermost(error));
    TransportError::new(TransportErrorKind::Reset, message)
}

/// A reply's body. Read to its end it gives its connection back.
struct ReplyBody {
    body: Incoming,
    connection: Option<Connection>,
}

impl Stream for ReplyBody {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            let ended = match &frame {
                None => true,
                // The last piece of a body of stated length is known for it: nobody has to ask once more.
                Some(Ok(_)) => self.body.is_end_stream(),
                Some(Err(_)) => false,
            };
            if ended && let Some(connection) = self.connection.take() {
                connection.give_back();
            }
            return Poll::Ready(match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => None,
                Some(Ok(Ok(bytes))) => Some(Ok(bytes)),
                Some(Ok(Err(_trailers))) => continue,
                Some(Err(error)) => Some(Err(broke_off(&error))),
            });
        }
    }
}

impl Drop for ReplyBody {
    /// Left early. If only the end of the framing was still to come, hyper takes that and the connection serves again;
    /// otherwise it closes it at once.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
    }
}
