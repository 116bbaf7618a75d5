//! What is written down of a request: its id on every answer, and one line when it is over.
//!
//! A line is written when the last byte of the answer is out, or when the client has left; a stream is one request.
//! There is neither prompt nor answer nor key in it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::answer::{self, REQUEST_ID, REQUEST_ID_TOO};
use super::grpc::HTTP_STATUS;
use super::refused::Refused;
use super::{Gateway, Log};
use crate::error::{Error, ErrorKind};
use crate::event::millis;
use crate::time::{self, Instant};
use crate::types::{AttemptRecord, ChatResponse, EmbedResponse, InferResponse, Labels, NanoUsd, RequestId, Usage};

/// A client that left before it had its answer; the status that nginx gives it.
const LEFT: u16 = 499;
/// The end of the gateway, or of its pool, was the end of it.
const CLOSED: &str = "closed";
/// A longer id is not one.
const LONGEST_ID: usize = 128;

/// A request that is over.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Unix milliseconds at which it came.
    pub time: u64,
    pub request_id: RequestId,
    pub method: String,
    /// Without its query.
    pub path: String,
    /// 499: the client left before the answer was whole.
    pub status: u16,
    pub duration_ms: f64,
    /// The kind of client, such as `OpenAI/JS 6.49.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(flatten)]
    pub facts: Facts,
}

/// What the pool did for a request.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Requests that went out for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<NanoUsd>,
    /// Whether the answer was one that was kept, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
    /// As the caller labels its work.
    #[serde(flatten)]
    pub labels: Labels,
    /// What went wrong after the answer had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

/// Where a handler notes what it learns; the id of its request.
#[derive(Clone)]
pub(super) struct Page {
    pub request_id: RequestId,
    /// Another id, that its body has given it.
    called: Arc<OnceLock<RequestId>>,
    facts: Arc<Mutex<Facts>>,
}

impl Page {
    /// The page that [`keep`] has opened for this request.
    pub fn of(request: &Request) -> Self {
        let opened = request.extensions().get::<Self>().cloned();
        opened.unwrap_or_else(|| Self::new(RequestId::random()))
    }

    fn new(request_id: RequestId) -> Self {
        Self { request_id, called: Arc::default(), facts: Arc::default() }
    }

    /// The body has an id of its own for the request.
    pub fn is_called(&self, id: &RequestId) {
        if is_id(id.as_str()) {
            let _ = self.called.set(id.clone()); // the first stands
        }
    }

    /// The id of the request, as far as it is known.
    pub fn id(&self) -> &RequestId {
        self.called.get().unwrap_or(&self.request_id)
    }

    fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn of_tenant(&self, tenant: &str) {
        self.note(|facts| facts.tenant = Some(tenant.to_owned()));
    }

    pub fn is_labelled(&self, labels: &Labels) {
        self.note(|facts| facts.labels.clone_from(labels));
    }

    pub fn answered(&self, response: &ChatResponse) {
        self.note(|facts| {
            facts.spent(response.provider.as_str(), &response.reply.model, &response.usage, response.cost);
            facts.attempts = Some(answer::sent(&response.attempts));
        });
    }

    pub fn embedded(&self, response: &EmbedResponse) {
        self.note(|facts| {
            facts.spent(response.provider.as_str(), &response.model, &response.usage, response.cost);
            facts.attempts = Some(answer::sent(&response.attempts));
        });
    }

    /// `asked`: an answer that was kept would do. One that was kept says so in any case.
    pub fn kept(&self, asked: bool, cached: bool) {
        self.note(|facts| facts.cached = (asked || cached).then_some(cached));
    }

    pub fn inferred(&self, response: &InferResponse) {
        self.note(|facts| {
            facts.spent(response.provider.as_str(), &response.winner_model, &response.usage, response.cost);
            facts.attempts = Some(answer::sent(&response.attempts));
        });
    }

    pub fn streams(&self, provider: &str, model: &str) {
        self.note(|facts| (facts.provider, facts.model) = (Some(provider.to_owned()), Some(model.to_owned())));
    }

    /// The pool refused, or a stream broke.
    pub fn failed(&self, error: &Error) {
        let context = error.context();
        let attempts: &[AttemptRecord] = &context.attempts;
        self.note(|facts| {
            facts.provider = context.provider.as_ref().map(ToString::to_string).or(facts.provider.take());
            facts.model = context.model.clone().or(facts.model.take());
            facts.attempts = Some(answer::sent(attempts));
            facts.error = Some(match (error.kind(), error.failure()) {
                (ErrorKind::Closed, _) => CLOSED,
                (_, Some(failure)) => failure.class.as_str(),
                (_, None) => "refused",
            });
        });
    }
}

impl Facts {
    fn spent(&mut self, provider: &str, model: &str, usage: &Usage, cost: Option<NanoUsd>) {
        (self.provider, self.model) = (Some(provider.to_owned()), Some(model.to_owned()));
        (self.prompt_tokens, self.completion_tokens) = (Some(usage.prompt_tokens), Some(usage.completion_tokens));
        self.cost = cost;
    }
}

/// Opens a page for the request, names its id on the answer, and closes the page when the answer is out.
pub(super) async fn keep(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let request_id = given_id(request.headers()).unwrap_or_else(RequestId::random);
    let page = Page::new(request_id);
    request.extensions_mut().insert(page.clone());
    let line = gateway.log.as_ref().map(|log| Line::open(Arc::clone(log), &gateway, page.clone(), &request));
    let mut response = next.run(request).await;
    Refused::name(&mut response, page.id());
    if let Ok(id) = HeaderValue::from_str(page.id().as_str()) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
        response.headers_mut().insert(REQUEST_ID_TOO, id);
    }
    if let Some(cached) = page.facts.lock().unwrap_or_else(PoisonError::into_inner).cached {
        answer::name_cache(response.headers_mut(), cached);
    }
    match line {
        Some(line) => line.watch(response),
        None => response,
    }
}

/// The client's own id, which then stands in events, errors and logs.
fn given_id(headers: &HeaderMap) -> Option<RequestId> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    is_id(id).then(|| RequestId::new(id))
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An RPC that is refused is written down by the status that it would have had over HTTP.
fn status_of(response: &Response) -> StatusCode {
    let said = response.headers().get(HTTP_STATUS).and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok());
    said.unwrap_or(response.status())
}

/// A line that is being written. Dropped before its answer is out: the client has left.
struct Line {
    log: Log,
    page: Page,
    ending: CancellationToken,
    method: String,
    path: String,
    client: Option<String>,
    time: u64,
    began: Instant,
    status: u16,
}

impl Line {
    fn open(log: Log, gateway: &Gateway, page: Page, request: &Request) -> Self {
        let now = time::now();
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self {
            log,
            page,
            ending: gateway.ending.clone(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            client: agent.map(|agent| agent.chars().take(LONGEST_ID).collect()),
            time: now.unix_ms,
            began: now.mono,
            status: LEFT,
        }
    }

    fn watch(mut self, response: Response) -> Response {
        let status = status_of(&response);
        // Nobody reads a body that is over before it has begun.
        if http_body::Body::is_end_stream(response.body()) {
            self.status = status.as_u16();
        }
        response.map(|body| Body::new(Watched { body, status, line: self }))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.status == LEFT && self.ending.is_cancelled() {
            self.page.note(|facts| facts.error = Some(CLOSED));
        }
        (self.log)(&Entry {
            time: self.time,
            request_id: self.page.id().clone(),
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            status: self.status,
            duration_ms: millis(time::now().mono.duration_since(self.began)),
            client: self.client.take(),
            facts: std::mem::take(&mut self.page.facts.lock().unwrap_or_else(PoisonError::into_inner)),
        });
    }
}

/// A body with the line of its request.
struct Watched {
    body: Body,
    status: StatusCode,
    line: Line,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Broken or whole, the client has been told everything there was.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.line.status = self.status.as_u16();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
