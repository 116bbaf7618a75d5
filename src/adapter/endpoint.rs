//! One configured provider's wire: its URL, its headers, its key, and the door to the adapter that speaks to it.
//!
//! Checked once when the configuration is read, so that nothing about it can fail during a call. Values that may be
//! secrets are marked sensitive and never enter a message.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

use super::catalog::{AdapterKind, Auth, Fetches, Service};
use super::facts::{self, Facts, Stated};
use super::halves::mended;
use super::{
    Decoder, Encoded, FailureRow, ModelsRequest, ParamOverrides, RateHeaders, RemotePart, Rows, StreamDecoder, Terms,
    Turning, anthropic, base_url, cohere, embed, extra, failure, gemini, ollama, openai, parts, rate_headers, repair,
    structured,
};
use crate::error::Failure;
use crate::types::{ChatRequest, EmbedReply, EmbedRequest, FieldError, Reply};

const USER_AGENT: &str = concat!("llmpool/", env!("CARGO_PKG_VERSION"));

/// Headers that frame the body or name the connection: set by whoever sends, and breaking the request otherwise.
pub const RESERVED_HEADERS: &[HeaderName] = &[
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
    /// The provider's own name, by which it knows the reasoning that it made.
    pub name: String,
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
    /// Merged into the body of every chat as it is, below the caller's own.
    pub extra_body: Map<String, Value>,
    /// The deployment, where the service is addressed by one.
    pub deployment: Option<String>,
    /// The version of the API, where the service is addressed with one.
    pub api_version: Option<String>,
    /// Refuse a request whose fields cannot all be sent, instead of naming the others in warnings.
    pub strict: bool,
    /// Which fields of a request it takes, where that is known better than the tables know it.
    pub params: ParamOverrides,
    /// Asked before the failure table, in this order.
    pub failure_rows: Vec<FailureRow>,
    /// What the configuration says of all its models.
    pub stated: Stated,
    /// Its models by the service's own name, and what the configuration says of each.
    pub models: Vec<(String, Stated)>,
}

/// One provider's wire, checked and ready.
pub struct Endpoint {
    service: &'static Service,
    name: String,
    urls: base_url::Urls,
    /// Where every chat request goes, for services that have one address for all of them.
    uri: Option<Uri>,
    headers: HeaderMap,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    extra_body: Map<String, Value>,
    strict: bool,
    params: ParamOverrides,
    rows: Rows,
    stated: Stated,
    /// Read once for the models that the configuration names.
    known: Vec<(String, Facts)>,
}

/// A setting of a provider that cannot be used. Never holds the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError {
    /// The setting: `base_url`, `headers`, `api_key`, ….
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

// === impl EndpointParams ===

impl EndpointParams {
    /// The service as it is, without any setting.
    pub fn new(service: &'static Service) -> Self {
        Self {
            service,
            name: String::new(),
            base_url: None,
            headers: Vec::new(),
            organization: None,
            project: None,
            max_tokens: None,
            temperature: None,
            extra_body: Map::new(),
            deployment: None,
            api_version: None,
            strict: false,
            params: ParamOverrides::default(),
            failure_rows: Vec::new(),
            stated: Stated::default(),
            models: Vec::new(),
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Checks a provider's wire settings.
    ///
    /// ```
    /// use llmpool::adapter::{Endpoint, EndpointParams, service};
    /// let params = EndpointParams {
    ///     base_url: Some("http://localhost:8080/".to_owned()),
    ///     ..EndpointParams::new(service("openai").expect("known"))
    /// };
    /// let endpoint = Endpoint::new(params).expect("valid");
    /// assert_eq!(endpoint.chat_url("gpt-4o", false).as_str(), "http://localhost:8080/v1/chat/completions");
    /// ```
    pub fn new(params: EndpointParams) -> Result<Self, EndpointError> {
        let EndpointParams {
            service,
            name,
            base_url,
            headers,
            organization,
            project,
            max_tokens,
            temperature,
            extra_body,
            deployment,
            api_version,
            strict,
            params,
            failure_rows,
            stated,
            models,
        } = params;
        if extra_body.contains_key(extra::KEPT) {
            let message = format!("{:?} is set by the pool, remove it", extra::KEPT);
            return Err(EndpointError { field: "extra_body", message });
        }
        let urls = base_url::join(service, base_url.as_deref(), deployment.as_deref(), api_version.as_deref())?;
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
        let chat = urls.chat("", false);
        let uri = Uri::try_from(chat.as_str()).map_err(|error| EndpointError {
            field: "base_url",
            message: format!("is no address for HTTP: {error}"),
        })?;
        let uri = matches!(chat, Cow::Borrowed(_)).then_some(uri);
        let rows = Rows::new(&failure_rows);
        let known = models
            .into_iter()
            .map(|(model, own)| {
                let facts = facts::of(service, &model, own, stated);
                (model, facts)
            })
            .collect();
        Ok(Self {
            service,
            name,
            urls,
            uri,
            headers: map,
            max_tokens,
            temperature,
            extra_body,
            strict,
            params,
            rows,
            stated,
            known,
        })
    }

    /// The kind of provider.
    pub fn service(&self) -> &'static Service {
        self.service
    }

    /// What is known of one of its models.
    pub fn facts(&self, model: &str) -> Facts {
        let known = self.known.iter().find(|(name, _)| name == model);
        known.map_or_else(|| facts::of(self.service, model, Stated::default(), self.stated), |(_, facts)| *facts)
    }

    /// The root of its API, to which paths are joined.
    pub fn base_url(&self) -> &Url {
        &self.urls.root
    }

    /// Where a chat request goes. Most services have one address for all of them; some name the model in it.
    pub fn chat_url(&self, model: &str, stream: bool) -> Cow<'_, Url> {
        self.urls.chat(model, stream)
    }

    /// The same as a transport takes it; without a copy where there is one address for all requests. `None` when the
    /// model's name makes an address that HTTP cannot carry.
    pub fn chat_uri(&self, model: &str, stream: bool) -> Option<Uri> {
        match &self.uri {
            Some(uri) => Some(uri.clone()),
            None => Uri::try_from(self.chat_url(model, stream).as_str()).ok(),
        }
    }

    /// The headers of every request but the one with the key; values that may be secrets are marked sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The header that carries a key, its value marked sensitive.
    pub fn auth(&self, key: &str) -> Result<(HeaderName, HeaderValue), EndpointError> {
        let (name, value) = match self.service.dialect.auth {
            Auth::Bearer => (header::AUTHORIZATION, header_value("api_key", &format!("Bearer {key}"))?),
            Auth::Header(name) => (HeaderName::from_static(name), header_value("api_key", key)?),
        };
        Ok((name, sensitive(value)))
    }

    /// A request as this provider takes it. A field it does not know is left out and named in a warning; content it
    /// cannot carry is refused. `without` are fields that [`Endpoint::repair`] found.
    pub fn encode_chat(
        &self,
        request: &ChatRequest,
        model: &str,
        stream: bool,
        without: &[String],
    ) -> Result<Encoded, FieldError> {
        let Self { max_tokens, temperature, strict, .. } = *self;
        let terms = Terms {
            provider: &self.name,
            max_tokens,
            temperature,
            strict,
            params: &self.params,
            without,
            extra: &self.extra_body,
        };
        let Some(asked) = structured::asked(request, self.service, model, self.facts(model), terms)? else {
            return self.encode_as_it_is(request, model, stream, terms);
        };
        let mut encoded = self.encode_as_it_is(&asked.request, model, stream, terms)?;
        encoded.warnings.extend(asked.warnings);
        encoded.form = asked.form;
        Ok(encoded)
    }

    fn encode_as_it_is(
        &self,
        request: &ChatRequest,
        model: &str,
        stream: bool,
        terms: Terms<'_>,
    ) -> Result<Encoded, FieldError> {
        match self.service.adapter {
            AdapterKind::OpenAi => openai::request(request, model, stream, self.service, terms),
            AdapterKind::Anthropic => anthropic::request(request, model, stream, self.service, terms),
            AdapterKind::Gemini => gemini::request(request, model, self.service, terms), // the URL says whether it streams
            AdapterKind::Cohere => cohere::request(request, model, stream, self.service, terms),
            AdapterKind::Ollama => ollama::request(request, model, stream, self.service, terms),
        }
    }

    /// The bound that an answer gets here for which the call `asked`, after the provider has refused the fields `without`;
    /// `None`: the request goes out without one.
    pub fn answer_bound(&self, asked: Option<u32>, without: &[String]) -> Option<u32> {
        // Where the bound has another name, a refused one is sent under that.
        let is_sent = self.service.adapter == AdapterKind::OpenAi || !without.iter().any(|field| field == "max_tokens");
        asked.or(self.max_tokens).filter(|_| is_sent)
    }

    /// The parts of a request whose addresses this service does not read by itself: they have to be put into the
    /// request, or it is refused.
    pub fn remote_parts<'a>(&self, request: &'a ChatRequest) -> Vec<RemotePart<'a>> {
        match self.service.dialect.fetches {
            Fetches::Web => Vec::new(),
            Fetches::Only(_) => parts::remote(&request.messages, |url| !self.service.dialect.reads(url)),
        }
    }

    /// Where the batch of a request for embeddings ends that begins with the input `from`; its reply will not be longer
    /// than `reply_limit` bytes.
    pub fn end_of_batch(&self, request: &EmbedRequest, from: usize, reply_limit: usize) -> usize {
        let rule = self.service.dialect.embeddings.as_ref();
        rule.map_or(request.input.len(), |rule| rule.end_of_batch(request, from, reply_limit))
    }

    /// One batch of a request for embeddings as this provider takes it.
    pub fn encode_embed(
        &self,
        request: &EmbedRequest,
        model: &str,
        batch: Range<usize>,
    ) -> Result<Encoded, FieldError> {
        embed::request(request, batch, model, self.service, self.strict)
    }

    /// Where it goes; `None` when there is no such place, or the model's name makes an address that HTTP cannot carry.
    pub fn embed_uri(&self, model: &str) -> Option<Uri> {
        let rule = self.service.dialect.embeddings.as_ref()?;
        Uri::try_from(self.urls.embeddings(model, rule.path).as_str()).ok()
    }

    /// The vectors in the body of a 2xx reply to a batch of so many inputs, or what is there instead of them.
    pub fn decode_embed(&self, body: &[u8], inputs: usize, dimensions: Option<u32>) -> Result<EmbedReply, Failure> {
        embed::reply(&mended(body), inputs, dimensions, self.service).map_err(|failure| self.rows.apply(failure))
    }

    /// The field of the request that a refusal names and that can be left out: asking again without it is worth a try.
    pub fn repair(&self, request: &ChatRequest, stream: bool, failure: &Failure) -> Option<String> {
        if self.strict {
            return None; // leaving it out is what the configuration forbids
        }
        let named = failure.unsupported_param.as_deref()?;
        if structured::is_about_the_format(request, named) {
            return Some("response_format".to_owned());
        }
        repair::field(request, stream && self.service.dialect.include_usage, named, self.max_tokens, self.temperature)
    }

    /// The answer in the body of a 2xx reply, or what is there instead of one.
    pub fn decode_chat(&self, body: &[u8]) -> Result<Reply, Failure> {
        let body = &*mended(body);
        let reply = match self.service.adapter {
            AdapterKind::OpenAi => openai::reply(body, &self.service.dialect),
            AdapterKind::Anthropic => anthropic::reply(body),
            AdapterKind::Gemini => gemini::reply(body),
            AdapterKind::Cohere => cohere::reply(body),
            AdapterKind::Ollama => ollama::reply(body),
        };
        reply.map_err(|failure| self.rows.apply(failure))
    }

    /// What a reply that is no 2xx means. `unix_ms` is when it came.
    pub fn classify(&self, status: http::StatusCode, headers: &HeaderMap, body: &[u8], unix_ms: u64) -> Failure {
        failure::of_reply(&self.rows, status, headers, body, unix_ms)
    }

    /// What a reply of any status says is left of the provider's limits. `unix_ms` is when it came.
    pub fn rate_headers(&self, headers: &HeaderMap, unix_ms: u64) -> RateHeaders {
        rate_headers::read(headers, self.service.dialect.rate_headers, unix_ms)
    }

    /// The free request that lists the provider's models, about `page` of them where it can be told so. `auth` is what
    /// [`Endpoint::auth`] gave. `None`: the service has no such list.
    ///
    /// ```
    /// use llmpool::adapter::{Endpoint, EndpointParams, service};
    /// let endpoint = Endpoint::new(EndpointParams::new(service("anthropic").expect("known"))).expect("valid");
    /// let request = endpoint.models_request(None, 1).expect("has a list");
    /// assert_eq!(request.uri.to_string(), "https://api.anthropic.com/v1/models?limit=1");
    /// ```
    pub fn models_request(&self, auth: Option<&(HeaderName, HeaderValue)>, page: u32) -> Option<ModelsRequest> {
        self.service.dialect.models_list.as_ref()?.request(&self.urls.root, &self.headers, auth, page)
    }

    /// The names in the body of a 2xx reply to [`Endpoint::models_request`], or what is there instead of them.
    pub fn decode_models(&self, body: &[u8]) -> Result<Vec<String>, Failure> {
        match &self.service.dialect.models_list {
            Some(list) => list.names(&mended(body)).map_err(|failure| self.rows.apply(failure)),
            None => Err(failure::no_answer(body, "this service lists no models")),
        }
    }

    /// A decoder for the body of one 2xx reply to a request that was encoded with `stream`.
    pub fn stream_decoder(&self) -> StreamDecoder {
        let decoder = match self.service.adapter {
            AdapterKind::OpenAi => Decoder::OpenAi(Box::new(openai::decoder(&self.service.dialect))),
            AdapterKind::Anthropic => Decoder::Anthropic(Box::default()),
            AdapterKind::Gemini => Decoder::Gemini(Box::default()),
            AdapterKind::Cohere => Decoder::Cohere(Box::default()),
            AdapterKind::Ollama => Decoder::Ollama(Box::default()),
        };
        StreamDecoder { decoder, rows: self.rows.clone(), turning: Turning::default() }
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
