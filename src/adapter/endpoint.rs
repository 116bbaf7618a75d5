//! One configured provider's wire: its URL, its headers, its key, and the door to the adapter that speaks to it.
//!
//! Checked once when the configuration is read, so that nothing about it can fail during a call. Values that may be
//! secrets are marked sensitive and never enter a message.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::catalog::{AdapterKind, Service};
use super::{Defaults, Encoded, StreamDecoder, anthropic, base_url, failure, openai};
use crate::error::Failure;
use crate::types::{ChatRequest, FieldError, Reply};

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

/// A setting of a provider that cannot be used. Never holds the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError {
    /// The setting: `base_url`, `headers`, `api_key`, ….
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

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

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
