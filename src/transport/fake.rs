//! A transport whose replies a test scripts. Shares nothing with the real one but the trait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Body, HttpReply, HttpRequest, Transport};
use crate::error::TransportError;

type Answer = BoxFuture<'static, Result<HttpReply, TransportError>>;
type Script = dyn FnMut(&HttpRequest) -> Answer + Send;

/// Answers each request by asking the script, and keeps the requests.
#[derive(Clone)]
pub struct FakeTransport {
    script: Arc<Mutex<Box<Script>>>,
    requests: Arc<Mutex<Vec<HttpRequest>>>,
    /// No byte of a request goes out.
    unreachable: Arc<AtomicBool>,
}

impl FakeTransport {
    pub fn new(script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Self {
        Self { script: Arc::new(Mutex::new(Box::new(script))), requests: Arc::default(), unreachable: Arc::default() }
    }

    /// From now on no request gets as far as its first byte.
    pub fn never_starts(&self) {
        self.unreachable.store(true, Ordering::Relaxed);
    }

    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().expect("no test panics while holding it").clone()
    }
}

impl Transport for FakeTransport {
    fn send(&self, request: HttpRequest) -> Answer {
        if !self.unreachable.load(Ordering::Relaxed) {
            request.started.set();
        }
        let answer = (self.script.lock().expect("no test panics while holding it"))(&request);
        self.requests.lock().expect("no test panics while holding it").push(request);
        answer
    }
}

/// A reply with a whole body.
pub fn reply(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    stream(status, headers, Box::pin(futures_util::stream::iter([Ok(body)])))
}

/// A reply whose body the test feeds.
pub fn stream(status: u16, headers: &[(&'static str, &str)], body: Body) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    async move { Ok(HttpReply { status, headers: map, body }) }.boxed()
}

/// A failure below HTTP.
pub fn broken(error: TransportError) -> Answer {
    async move { Err(error) }.boxed()
}
