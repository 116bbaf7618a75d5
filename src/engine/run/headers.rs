//! The headers a caller adds to one call.

use http::{HeaderName, HeaderValue};

use crate::adapter::RESERVED_HEADERS;
use crate::types::{CallOptions, FieldError};

/// A call's own headers, checked before anyone is asked. What would break the framing is refused; what says who asks,
/// or of what type the body is, belongs to the pool and is named in the warnings.
pub(super) fn call_headers(
    options: &CallOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, FieldError> {
    let mut headers = Vec::with_capacity(options.headers.len());
    for (name, value) in &options.headers {
        let wrong = |message: &str| FieldError { field: format!("headers.{name}"), message: message.to_owned() };
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(wrong("is not a valid HTTP header"));
        };
        if OWN_HEADERS.contains(&name.as_str()) {
            warnings.push(format!("headers.{name}: set by the pool, not sent"));
        } else if RESERVED_HEADERS.contains(&name) || name == http::header::HOST {
            return Err(wrong("belongs to the connection, remove it"));
        } else {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

/// The headers by which providers take a key, and the type of the body.
const OWN_HEADERS: &[&str] = &["authorization", "api-key", "content-type", "x-api-key", "x-goog-api-key"];
