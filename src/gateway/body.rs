//! Reads the body of a request: at most so many bytes, and for so long.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::refused::Refused;
use crate::config::ServerConfig;
use crate::time;

/// The body as text.
pub(super) async fn read(request: Request, server: &ServerConfig) -> Result<String, Refused> {
    let (head, body) = request.into_parts();
    text(bytes(&head.headers, body, server).await?)
}

/// The body as it is.
pub(super) async fn bytes(headers: &HeaderMap, body: Body, server: &ServerConfig) -> Result<Bytes, Refused> {
    if let Some(coding) = headers.get(CONTENT_ENCODING)
        && coding != "identity"
    {
        let message = "a compressed body is not read; send it as it is";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message));
    }
    let too_large = || {
        let message = format!("the body is over the limit of {} bytes", server.max_body_bytes);
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    };
    // A length that is said is refused before anything of it is read.
    let said = http_body::Body::size_hint(&body).lower();
    if said > server.max_body_bytes as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, server.max_body_bytes).collect();
    let ends = time::now().mono.checked_add(server.body_timeout);
    match time::until(ends, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refused::bad_request(None, "the body broke off")),
        Err(_) => {
            let message = format!("the body did not come within {} ms", server.body_timeout.as_millis());
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message))
        }
    }
}

fn text(body: Bytes) -> Result<String, Refused> {
    String::from_utf8(body.into()).map_err(|_| Refused::bad_request(None, "the body is not UTF-8"))
}
