//! Why a request is not answered: which status an error of the pool has, and how each API words it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode, Version};
use serde::Serialize;

use super::answer::{self, ERROR_CODE, RETRY_AFTER_MS, SHOULD_RETRY};
use crate::error::{Context, Error, ErrorKind, FailureClass};
use crate::types::{AttemptRecord, FieldError, ProviderName, RequestId};

/// Bytes of a message: gRPC's is a header, where a letter may take three times as much, and heads above 8 KiB are refused
/// by many clients and proxies.
const LONGEST_MESSAGE: usize = 2048;
/// Bytes of a name that the caller gave: nobody's model, task or field has a longer one.
const LONGEST_NAME: usize = 200;

/// In whose shape an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
    /// The pool's own.
    Own,
    /// Codes and metadata in place of a status and a body.
    Grpc,
}

/// A request that is not answered.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub status: StatusCode,
    pub code: Option<&'static str>,
    pub param: Option<String>,
    pub message: String,
    retry_after: Option<Duration>,
    /// What the caller has to show.
    challenge: Option<Box<HeaderValue>>,
    /// The pool has tried what there was to try: asking again at once would only multiply that.
    tried: bool,
    /// Of the call, where there was one.
    context: Option<Box<Context>>,
    request_id: Option<RequestId>,
}

/// Goes with the answer to a request whose id was not known where it was refused.
#[derive(Clone)]
struct Nameless(Arc<(Refused, Dialect)>);

// === impl Dialect ===

impl Dialect {
    /// Whose route this is. What is both APIs' or nobody's is answered as OpenAI would, but to clients of Anthropic's,
    /// which name its version in every request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        const OPENAI: [&str; 3] = ["/v1/chat", "/v1/responses", "/v1/embeddings"];
        let is =
            |route: &str| path.strip_prefix(route).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if is("/v1/messages") => Self::Anthropic,
            () if is("/v1/infer") => Self::Own,
            // Clients of HTTP/1.1 look for no code of gRPC.
            () if is_rpc(path) && request.version() < Version::HTTP_2 => Self::Own,
            () if is_rpc(path) => Self::Grpc,
            () if OPENAI.iter().any(|route| is(route)) => Self::OpenAi,
            () if request.headers().contains_key("anthropic-version") => Self::Anthropic,
            () => Self::OpenAi,
        }
    }
}

/// `/package.Service/Method`: no other route has names with a dot between them in its first part.
fn is_rpc(path: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_');
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(service, _)| service);
    service.contains('.') && service.split('.').all(is_name)
}

// === impl Refused ===

impl Refused {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Some(code),
            param: None,
            message: answer::shortened(message.into(), LONGEST_MESSAGE),
            retry_after: None,
            challenge: None,
            tried: false,
            context: None,
            request_id: None,
        }
    }

    pub fn bad_request(param: Option<&str>, message: impl Into<String>) -> Self {
        let param = param.filter(|param| !param.is_empty()).map(named);
        Self { param, code: None, ..Self::new(StatusCode::BAD_REQUEST, "", message) }
    }

    pub fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn no_such_model(model: &str) -> Self {
        let model = named(model);
        let message =
            format!("no provider of this pool serves the model {model:?}; GET /v1/models lists those there are");
        let param = Some("model".to_owned());
        Self { param, ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    }

    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// There is no such method of any service.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "unimplemented", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// Says what of the request it is about.
    pub fn of_field(mut self, field: &str) -> Self {
        self.param = Some(named(field));
        self
    }

    /// Says what the caller has to show: RFC 9110, 11.6.1.
    pub fn challenging(self, challenge: &str) -> Self {
        Self { challenge: HeaderValue::from_str(challenge).ok().map(Box::new), ..self }
    }

    pub fn come_back_in(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Says which request it was: Anthropic's errors carry it.
    pub fn of_request(mut self, id: &RequestId) -> Self {
        self.request_id = Some(id.clone());
        self
    }

    pub fn into_response(self, dialect: Dialect) -> Response {
        if dialect == Dialect::Grpc {
            return self.into_status().into_http();
        }
        let body = self.body(dialect);
        let mut response = (self.status, Body::from(body)).into_response();
        if self.request_id.is_none() {
            response.extensions_mut().insert(Nameless(Arc::new((self.clone(), dialect))));
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.say_in(headers);
        response
    }

    /// In the pool's own words, which has one for everything.
    pub(super) fn own_code(&self) -> &'static str {
        self.code.unwrap_or("invalid_request")
    }

    /// The pool has tried what there was to try.
    pub(super) fn was_tried(&self) -> bool {
        self.tried
    }

    /// What programs go by, on every wire.
    pub(super) fn say_in(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
        }
        if let Some(challenge) = &self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::clone(challenge));
        }
        if self.tried {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Some(code) = self.code {
            headers.insert(ERROR_CODE, HeaderValue::from_static(code));
        }
        if let Some(Context { provider, model, attempts, .. }) = self.context.as_deref() {
            answer::name_source(headers, provider.as_ref().map(|name| name.as_str()), model.as_deref());
            answer::name_attempts(headers, attempts);
        }
    }

    /// Words an answer anew that was made without the id of its request.
    pub fn name(response: &mut Response, id: &RequestId) {
        if let Some(Nameless(nameless)) = response.extensions_mut().remove() {
            let (refused, dialect) = Arc::unwrap_or_clone(nameless);
            *response.body_mut() = Body::from(refused.of_request(id).body(dialect));
        }
    }

    /// The error as the API has it, as JSON.
    pub fn body(&self, dialect: Dialect) -> Vec<u8> {
        let Self { status, code, param, message, request_id, retry_after, context, .. } = self;
        let json = match dialect {
            Dialect::OpenAi => serde_json::to_vec(&OpenAiError {
                error: OpenAiFields { message, kind: openai_type(*status), param: param.as_deref(), code: *code },
            }),
            Dialect::Anthropic => serde_json::to_vec(&AnthropicError {
                kind: "error",
                error: AnthropicFields { kind: anthropic_type(*status), message },
                request_id: request_id.as_ref().map(RequestId::as_str),
            }),
            Dialect::Grpc => Ok(Vec::new()), // it is all in the head
            Dialect::Own => {
                let context = context.as_deref();
                serde_json::to_vec(&OwnError {
                    error: OwnFields {
                        code: self.own_code(),
                        message,
                        field: param.as_deref(),
                        provider: context.and_then(|context| context.provider.as_ref()),
                        model: context.and_then(|context| context.model.as_deref()),
                        retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                        attempts: context.map_or(&[], |context| &context.attempts),
                    },
                    request_id: request_id.as_ref().map(RequestId::as_str),
                })
            }
        };
        json.unwrap_or_default() // texts only: nothing in it can fail to be JSON
    }
}

/// A name that the caller gave, as far as it is shown.
fn named(name: &str) -> String {
    answer::shortened(name.to_owned(), LONGEST_NAME)
}

/// Types that OpenAI's own errors have.
fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Types of Anthropic's documentation of its errors.
fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiFields<'a>,
}

#[derive(Serialize)]
struct OpenAiFields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct OwnError<'a> {
    error: OwnFields<'a>,
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct OwnFields<'a> {
    code: &'static str,
    message: &'a str,
    /// Of the request, where one is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a ProviderName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attempts: &'a [AttemptRecord],
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Self {
        Self::bad_request(Some(&error.field), error.to_string())
    }
}

impl From<Error> for Refused {
    /// The table of statuses. What went wrong between the pool and its providers (keys, quotas) is never the caller's
    /// own 401 or 403.
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            ErrorKind::InvalidRequest { .. } => (StatusCode::BAD_REQUEST, None),
            ErrorKind::IdempotencyMismatch => (StatusCode::CONFLICT, Some("idempotency_mismatch")),
            ErrorKind::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded")),
            // No waiting makes a model see or read more; the others are ruled out by the configuration, not by the hour.
            ErrorKind::NoProvider { reasons } if reasons.iter().any(|reason| reason.is_beyond) => {
                (StatusCode::BAD_REQUEST, Some("no_provider"))
            }
            ErrorKind::NoProvider { .. } => (StatusCode::SERVICE_UNAVAILABLE, Some("no_provider")),
            ErrorKind::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, Some("timeout")),
            ErrorKind::QueueFull { .. } => (StatusCode::SERVICE_UNAVAILABLE, Some("queue_full")),
            ErrorKind::Closed => (StatusCode::SERVICE_UNAVAILABLE, Some("closed")),
            ErrorKind::Provider { failure } => {
                let code = if failure.class == FailureClass::ContextLength {
                    "context_length_exceeded" // OpenAI's own word, which clients look for
                } else {
                    failure.class.as_str()
                };
                (status_of(failure.class), Some(code))
            }
            ErrorKind::StreamInterrupted { failure, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(failure.class.as_str()))
            }
            // OpenAI's own word for money that is used up.
            ErrorKind::BudgetExceeded(_) => (StatusCode::TOO_MANY_REQUESTS, Some("insufficient_quota")),
            ErrorKind::PermissionDenied => (StatusCode::FORBIDDEN, Some("permission_denied")),
            ErrorKind::Configuration { .. } | ErrorKind::Cancelled | ErrorKind::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, Some("internal_error"))
            }
        };
        let param = match error.kind() {
            ErrorKind::InvalidRequest { field } if !field.is_empty() => Some(named(field)),
            ErrorKind::IdempotencyMismatch => Some("request_id".to_owned()),
            _ => None,
        };
        let reset = error.retry_after();
        Self {
            status,
            code,
            param,
            message: answer::shortened(error.to_string(), LONGEST_MESSAGE),
            retry_after: reset,
            challenge: None,
            // A pool that closes has tried nothing: another process may answer. A tenant that comes too often is to come
            // again when it was told, if it was.
            tried: !matches!(error.kind(), ErrorKind::Closed)
                && error.context().tenant.as_ref().is_none_or(|limit| limit.limit != "rps" || reset.is_none()),
            context: Some(Box::new(error.context().clone())),
            request_id: error.context().request_id.clone(),
        }
    }
}

fn status_of(class: FailureClass) -> StatusCode {
    match class {
        FailureClass::InvalidRequest
        | FailureClass::ContextLength
        | FailureClass::ContentFilter
        | FailureClass::Unsupported => StatusCode::BAD_REQUEST,
        FailureClass::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        FailureClass::ModelNotFound => StatusCode::NOT_FOUND,
        FailureClass::RateLimit => StatusCode::TOO_MANY_REQUESTS,
        FailureClass::Timeout => StatusCode::GATEWAY_TIMEOUT,
        FailureClass::Auth
        | FailureClass::Permission
        | FailureClass::QuotaExhausted
        | FailureClass::Overloaded
        | FailureClass::ServerError
        | FailureClass::ModelLoading
        | FailureClass::ModelOutputInvalid
        | FailureClass::StreamTruncated
        | FailureClass::BadReply
        | FailureClass::Network => StatusCode::SERVICE_UNAVAILABLE,
    }
}
