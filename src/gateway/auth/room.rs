//! How much of unproven requests is held at once.
//!
//! Whether a signature is right is known when the whole body is here, so until then anybody's bytes are kept. All such
//! requests of the process share one room: a body that finds no place in it is refused, and the memory of the service is
//! its own.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use crate::gateway::refused::Refused;

/// Four of the longest requests at the usual limit.
const LEAST: usize = 64 * 1024 * 1024;
/// Bodies that come at all are here within moments.
const PAUSE: Duration = Duration::from_secs(1);

/// One for all ports of this process.
pub(super) static ROOM: LazyLock<Arc<Room>> = LazyLock::new(Arc::default);

#[derive(Default)]
pub(super) struct Room {
    held: AtomicUsize,
}

/// What one request has of it, until it is let go.
pub(super) struct Place {
    room: Arc<Room>,
    /// Of all requests together.
    most: usize,
    mine: AtomicUsize,
    is_full: AtomicBool,
}

impl Room {
    /// For a request of at most `longest` bytes: one alone always has room.
    pub fn place(self: &Arc<Self>, longest: usize) -> Arc<Place> {
        let most = LEAST.max(longest);
        Arc::new(Place { room: Arc::clone(self), most, mine: AtomicUsize::new(0), is_full: AtomicBool::new(false) })
    }
}

impl Place {
    /// The body, which breaks off where there is no room for more of it.
    pub fn count(self: &Arc<Self>, body: Body) -> Body {
        Body::new(Counted { body, place: Arc::clone(self) })
    }

    /// Why the body broke off, if it did for want of room.
    pub fn refused(&self) -> Option<Refused> {
        let message = "too many signed requests are under way whose bodies are not all here";
        let refused = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).come_back_in(PAUSE);
        self.is_full.load(Ordering::Relaxed).then(refused)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.most);
        let has_room = self.room.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        match has_room {
            true => drop(self.mine.fetch_add(bytes, Ordering::Relaxed)),
            false => self.is_full.store(true, Ordering::Relaxed),
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.held.fetch_sub(*self.mine.get_mut(), Ordering::Relaxed);
    }
}

struct Counted {
    body: Body,
    place: Arc<Place>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
        if self.place.take(frame.data_ref().map_or(0, Bytes::len)) {
            return polled;
        }
        Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other("no room")))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use serde_json::json;

    use super::*;
    use crate::gateway::tests::{answers, header, network, post, serve_by};

    #[tokio::test]
    async fn a_signed_request_that_finds_no_room_is_told_to_come_back() {
        let config = json!({
            "providers": [{ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k" }],
            "server": { "hmac": { "clients": [{ "id": "ci", "secret": "0123456789abcdef0123456789abcdef" }] } },
        });
        let served = serve_by(config, network(&[]), answers);
        let (time, digits) = ((crate::time::unix_ms() / 1000).to_string(), "0".repeat(64));
        for (room, status) in [(0, StatusCode::UNAUTHORIZED), (LEAST, StatusCode::SERVICE_UNAVAILABLE)] {
            let others = ROOM.place(0);
            assert!(others.take(room));
            for id in ["ci", "nobody"] {
                let headers =
                    [("x-api-key", id), ("x-timestamp", &time), ("x-nonce", &digits), ("x-signature", &digits)];
                let told = served.send(post("/v1/chat/completions", &json!({ "messages": [] }), &headers)).await;
                assert_eq!((told.status(), header(&told, "retry-after")), (status, if room > 0 { "1" } else { "" }));
            }
        }
    }

    async fn is_read(place: &Arc<Place>, bytes: usize) -> bool {
        place.count(Body::from(vec![0; bytes])).collect().await.is_ok()
    }

    #[tokio::test]
    async fn requests_share_one_room_and_leave_it_empty() {
        let room = Arc::<Room>::default();
        let (one, other) = (room.place(1), room.place(1));
        assert!(is_read(&one, LEAST - 1).await && one.refused().is_none());
        assert!(is_read(&other, 1).await && !is_read(&other, 1).await);
        assert_eq!(other.refused().map(|refused| refused.status), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(one);
        assert!(is_read(&room.place(1), LEAST - 1).await);
        drop(other);
        assert_eq!(room.held.load(Ordering::Relaxed), 0);
        assert!(is_read(&room.place(LEAST + 1), LEAST + 1).await, "the longest that is taken at all");
    }
}
