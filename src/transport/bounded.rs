//! At most so many requests under way to one host.
//!
//! HTTP/1 carries one request per connection, and an idle connection is taken before a new one is opened, so this bounds
//! the connections, too. What comes above it waits for a place within its own timers; until it has one no byte of it has
//! gone out. A place is free again when the body of its reply was read to its end, or dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use http::uri::Authority;
use tokio::sync::Semaphore;

use super::{HttpReply, HttpRequest, Transport};
use crate::error::{TransportError, TransportErrorKind};

/// A transport with a bound for each host.
pub struct Bounded {
    inner: Arc<dyn Transport>,
    most: usize,
    places: Mutex<HashMap<Authority, Arc<Semaphore>>>,
}

impl Bounded {
    /// `most` requests to each host at once, at least one.
    pub fn new(inner: Arc<dyn Transport>, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self { inner, most, places: Mutex::default() }
    }

    fn places(&self, host: Authority) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(host).or_insert_with(|| Arc::new(Semaphore::new(self.most))))
    }
}

impl Transport for Bounded {
    fn send(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpReply, TransportError>> {
        // A request without a host is refused by the client itself.
        let Some(host) = request.uri.authority().cloned() else { return self.inner.send(request) };
        let (places, inner) = (self.places(host), Arc::clone(&self.inner));
        async move {
            let place = places.acquire_owned().await.map_err(|error| {
                TransportError::new(TransportErrorKind::Connect, format!("no place for a connection: {error}"))
            })?;
            let HttpReply { status, headers, mut body } = inner.send(request).await?;
            let mut place = Some(place);
            let body = futures_util::stream::poll_fn(move |context| {
                let polled = body.poll_next_unpin(context);
                if matches!(polled, std::task::Poll::Ready(None | Some(Err(_)))) {
                    drop(place.take());
                }
                polled
            });
            Ok(HttpReply { status, headers, body: Box::pin(body) })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::super::fake::{self, FakeTransport};
    use super::super::{Started, read_all};
    use super::*;
    use crate::time;

    fn to(host: &str) -> HttpRequest {
        HttpRequest {
            method: Method::POST,
            uri: format!("https://{host}/v1").parse().expect("a uri"),
            headers: HeaderMap::default().into(),
            body: Bytes::new(),
            started: Started::default(),
        }
    }

    async fn at_once<F: Future>(future: F) -> Option<F::Output> {
        time::until(Some(time::now().mono + Duration::from_millis(1)), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_above_the_bound_waits_until_a_body_was_read_or_dropped() {
        let fake = FakeTransport::new(|_| fake::reply(200, &[], "ok"));
        let bounded = Bounded::new(Arc::new(fake.clone()), 2);
        let one = bounded.send(to("a")).await.expect("a reply");
        let two = bounded.send(to("a")).await.expect("a reply");
        let third = to("a");
        let started = third.started.clone();
        let mut waiting = bounded.send(third);
        assert!(at_once(&mut waiting).await.is_none());
        assert!(!started.is_set() && fake.requests().len() == 2, "nothing of it has gone out");
        assert!(at_once(bounded.send(to("b"))).await.is_some(), "another host has its own places");

        read_all(one.body, 10).await.expect("a body");
        let three = at_once(&mut waiting).await.expect("a place").expect("a reply");
        let mut waiting = bounded.send(to("a"));
        assert!(at_once(&mut waiting).await.is_none());
        drop(two);
        at_once(&mut waiting).await.expect("a place").expect("a reply");
        drop(three);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_or_fails_leaves_no_place_taken() {
        let mut count = 0;
        let fake = FakeTransport::new(move |_| {
            count += 1;
            match count {
                1 => fake::broken(TransportError::new(TransportErrorKind::Reset, "reset")),
                _ => fake::reply(200, &[], "ok"),
            }
        });
        let bounded = Bounded::new(Arc::new(fake), 1);
        assert!(bounded.send(to("a")).await.is_err());
        let held = at_once(bounded.send(to("a"))).await.expect("a place");
        assert!(at_once(bounded.send(to("a"))).await.is_none());
        drop(held);
        assert!(at_once(bounded.send(to("a"))).await.is_some());
    }
}
