//! Bodies as they cross the wire: a request's, which notes when it goes out, and a reply's, read as it is asked for.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};

use super::Started;
use crate::error::{TransportError, TransportErrorKind};

/// A request body that notes when it is read for the first time, which is when the connection stands and the head goes
/// out.
pub struct WatchedBody {
    bytes: Option<Bytes>,
    started: Started,
}

impl WatchedBody {
    pub fn new(bytes: Bytes, started: Started) -> Self {
        Self { bytes: Some(bytes), started }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.started.set();
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    /// Exact, so that the request carries a content-length.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// No request asks for compression: answers are small, and a compressed stream waits for its block to fill. A reply
/// that is compressed all the same cannot be read.
pub fn refuse_encoded(headers: &HeaderMap) -> Result<(), TransportError> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" && !encoding.is_empty() => Err(TransportError::new(
            TransportErrorKind::Body,
            format!("the reply is encoded as {encoding:?}, which was not asked for"),
        )),
        _ => Ok(()),
    }
}

/// A reply that broke off.
pub fn broke_off(error: &(dyn std::error::Error + 'static)) -> TransportError {
    TransportError::new(TransportErrorKind::Body, format!("the reply broke off: {}", innermost(error)))
}

/// The last cause is the one that says something; the outer ones say "error sending request".
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
