//! Translation between the pool's types and what providers speak.
//!
//! Pure: bytes and values in, bytes and values out. No socket, no clock, no environment; a moment that matters is an
//! argument. An [`Endpoint`] is everything of one configured provider that the wire needs, checked once when the
//! configuration is read, so that nothing about it can fail during a call.

mod anthropic;
mod base_url;
mod catalog;
mod error_body;
mod extra;
mod failure;
#[cfg(test)]
mod fixtures;
mod gate;
mod hint;
mod lenient;
mod openai;
mod sse;
mod tool_ids;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use url::Url;

pub use catalog::{AdapterKind, Service, service, services};
pub use failure::transport_failure;

use crate::error::{Failure, FailureClass};
use crate::types::{ChatRequest, FieldError, Reply, StreamEvent};

/// What a configured provider says about its wire.
#[derive(Clone)]
pub struct EndpointParams {
    /// The kind of provider.
    pub service: &'static Service,
    /// Where it is; the service's own address when `None`.
    pub base_url: Option<String>,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// The organisation that is billed, where the service has such a header.
    pub organization: Option<String>,
    /// The project that is billed, where the service has such a header.
    pub project: Option<String>,
    /// Bound of an answer when a request does not say.
    pub max_tokens: Option<u32>,
    /// Temperature when a request does not say.
    pub temperature: Option<f64>,
}

/// One provider's wire, checked and ready.
pub struct Endpoint {
    service: &'static Service,
    urls: base_url::Urls,
    headers: HeaderMap,
    defaults: Defaults,
}

/// What a provider's configuration says where a request does not.
#[derive(Debug, Clone, Copy)]
struct Defaults {
    max_tokens: Option<u32>,
    temperature: Option<f64>,
}

/// A setting of a provider that cannot be used. Never holds the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError {
    /// The setting: `base_url`, `headers`, `api_key`, ….
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// A request as one provider takes it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The body to send.
    pub body: Bytes,
    /// What of the request could not be sent as it was, each beginning with the name of the field.
    pub warnings: Vec<String>,
}

/// Decodes one stream: bytes in, events out. Memory is bounded, and any cutting of the bytes gives the same events.
#[derive(Debug)]
pub struct StreamDecoder(Option<Box<openai::Decoder>>);

const USER_AGENT: &str = concat!("llmpool/", env!("CARGO_PKG_VERSION"));

/// Headers that frame the body or name the connection: set by whoever sends, and breaking the request otherwise.
const RESERVED_HEADERS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Configured headers that are no secrets. Every other one is treated as a secret: which header carries a gateway's
/// password is known only to its owner.
const PUBLIC_HEADERS: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "http-referer",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-client-name",
    "x-openrouter-title",
    "x-title",
];

// === impl Endpoint ===

impl Endpoint {
    /// Checks a provider's wire settings.
    ///
    /// ```
    /// use llmpool::adapter::{Endpoint, EndpointParams, service};
    /// let params = EndpointParams {
    ///     service: service("openai").expect("known"),
    ///     base_url: Some("http://localhost:8080/".to_owned()),
    ///     headers: Vec::new(),
    ///     organization: None,
    ///     project: None,
    ///     max_tokens: None,
    ///     temperature: None,
    /// };
    /// let endpoint = Endpoint::new(params).expect("valid");
    /// assert_eq!(endpoint.chat_url(), "http://localhost:8080/v1/chat/completions");
    /// ```
    pub fn new(params: EndpointParams) -> Result<Self, EndpointError> {
        let EndpointParams { service, base_url, headers, organization, project, max_tokens, temperature } = params;
        let urls = base_url::join(service, base_url.as_deref())?;
        let mut map = HeaderMap::new();
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        map.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if service.adapter == AdapterKind::Anthropic {
            let (name, value) = anthropic::VERSION;
            map.insert(name, HeaderValue::from_static(value));
        }
        let dialect = &service.dialect;
        for (field, header, value) in
            [("organization", dialect.organization_header, organization), ("project", dialect.project_header, project)]
        {
            let Some(value) = value else { continue };
            let header = header.ok_or_else(|| EndpointError {
                field,
                message: format!("{} has no header for it, remove it", service.name),
            })?;
            map.insert(header, header_value(field, &value)?);
        }
        for (name, value) in &headers {
            let (name, value) = configured_header(name, value)?;
            map.insert(name, value);
        }
        Ok(Self { service, urls, headers: map, defaults: Defaults { max_tokens, temperature } })
    }

    /// The kind of provider.
    pub fn service(&self) -> &'static Service {
        self.service
    }

    /// The root of its API, to which paths are joined.
    pub fn base_url(&self) -> &Url {
        &self.urls.root
    }

    /// Where chat requests go.
    pub fn chat_url(&self) -> &str {
        &self.urls.chat
    }

    /// The headers of every request but the one with the key; values that may be secrets are marked sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The header that carries a key, its value marked sensitive.
    pub fn auth(&self, key: &str) -> Result<(HeaderName, HeaderValue), EndpointError> {
        let (name, value) = match self.service.adapter {
            AdapterKind::OpenAi => (header::AUTHORIZATION, header_value("api_key", &format!("Bearer {key}"))?),
            AdapterKind::Anthropic => (HeaderName::from_static("x-api-key"), header_value("api_key", key)?),
        };
        Ok((name, sensitive(value)))
    }

    /// A request as this provider takes it. A field it does not know is left out and named in a warning; content it
    /// cannot carry is refused.
    pub fn encode_chat(&self, request: &ChatRequest, model: &str, stream: bool) -> Result<Encoded, FieldError> {
        match self.service.adapter {
            AdapterKind::OpenAi => openai::request(request, model, stream, self.service, self.defaults),
            AdapterKind::Anthropic => anthropic::request(request, model, stream, self.service, self.defaults),
        }
    }

    /// The answer in the body of a 2xx reply, or what is there instead of one.
    pub fn decode_chat(&self, body: &[u8]) -> Result<Reply, Failure> {
        match self.service.adapter {
            AdapterKind::OpenAi => openai::reply(body),
            AdapterKind::Anthropic => anthropic::reply(body),
        }
    }

    /// What a reply that is no 2xx means. `unix_ms` is when it came.
    pub fn classify(&self, status: http::StatusCode, headers: &HeaderMap, body: &[u8], unix_ms: u64) -> Failure {
        failure::of_reply(status, headers, body, unix_ms)
    }

    /// A decoder for the body of one 2xx reply to a request that was encoded with `stream`.
    pub fn stream_decoder(&self) -> StreamDecoder {
        StreamDecoder(if self.streams() { Some(Box::default()) } else { None })
    }

    /// Whether streams of this provider can be decoded.
    pub fn streams(&self) -> bool {
        match self.service.adapter {
            AdapterKind::OpenAi => true,
            AdapterKind::Anthropic => false,
        }
    }
}

impl fmt::Debug for Endpoint {
    /// Neither headers nor the query of the URL, where secrets may be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("service", &self.service.name)
            .field("host", &self.urls.root.host_str())
            .finish_non_exhaustive()
    }
}

fn configured_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), EndpointError> {
    let wrong = |message: String| EndpointError { field: "headers", message };
    let name: HeaderName =
        name.trim().parse().map_err(|_| wrong("a name holds a character that no header name may hold".to_owned()))?;
    if RESERVED_HEADERS.contains(&name) {
        return Err(wrong(format!("{name} is set by the pool, remove it")));
    }
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| wrong(format!("the value of {name} holds a character that no header may hold")))?;
    let public = PUBLIC_HEADERS.contains(&name.as_str());
    Ok((name, if public { value } else { sensitive(value) }))
}

fn header_value(field: &'static str, value: &str) -> Result<HeaderValue, EndpointError> {
    HeaderValue::from_str(value)
        .map_err(|_| EndpointError { field, message: "holds a character that no HTTP header may hold".to_owned() })
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for EndpointError {}

// === impl Encoded ===

impl Encoded {
    /// Writes the wire form, with the caller's `extra_body` for this service over it.
    fn write(
        wire: &impl Serialize,
        request: &ChatRequest,
        service: &Service,
        mut warnings: Vec<String>,
    ) -> Result<Self, FieldError> {
        let refused = |error: serde_json::Error| FieldError { field: String::new(), message: error.to_string() };
        let mut body = Vec::with_capacity(size_hint(request));
        serde_json::to_writer(&mut body, wire).map_err(refused)?;
        if let Some(extra) = request.extra_body.get(service.name).filter(|extra| !extra.is_empty()) {
            body = extra::merge(&body, extra).map_err(refused)?;
            if extra.contains_key(extra::KEPT) {
                let (service, field) = (service.name, extra::KEPT);
                warnings.push(format!("extra_body.{service}.{field}: set by the pool, not sent"));
            }
        }
        Ok(Self { body: body.into(), warnings })
    }
}

/// About what a request needs, so that a long prompt is not copied on the way.
fn size_hint(request: &ChatRequest) -> usize {
    use crate::types::{Content, Part};
    const FIELDS: usize = 256;
    const PER_MESSAGE: usize = 64;
    let content = |content: &Content| match content {
        Content::Empty => 0,
        Content::Text(text) => text.len() + text.len() / 16, // quotes and line ends are escaped
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text { text } => text.len() + PER_MESSAGE,
                Part::ImageUrl { image_url } => image_url.url.len() + PER_MESSAGE,
                Part::InputAudio { .. } | Part::File { .. } => PER_MESSAGE,
            })
            .sum(),
    };
    FIELDS + request.messages.iter().map(|message| PER_MESSAGE + content(&message.content)).sum::<usize>()
}

// === impl StreamDecoder ===

impl StreamDecoder {
    /// Takes the next bytes and appends the events they complete. After a failure the decoder is spent; events before
    /// it are in `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        self.0.as_mut().ok_or_else(not_streamed)?.push(bytes, out)
    }

    /// The bytes are over. A stream that never said it was done is [`FailureClass::StreamTruncated`].
    pub fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        self.0.as_mut().ok_or_else(not_streamed)?.finish(out)
    }

    /// The dialect's terminal event was seen: nothing worth reading follows.
    pub fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|decoder| decoder.is_done())
    }
}

/// Whoever asks [`Endpoint::streams`] first never sees it.
fn not_streamed() -> Failure {
    Failure::new(FailureClass::BadReply, "streams of this provider cannot be read")
}

#[cfg(test)]
mod tests;
