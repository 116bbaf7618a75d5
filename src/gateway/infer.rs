//! `POST /v1/infer`: one piece of work by the name of its task, in the pool's own words.
//!
//! [`Gateway::infer`] and [`Gateway::infer_stream`] are for whatever wire the work came over.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::book::Page;
use super::probes::json;
use super::pump::{Encode, write};
use super::refused::{Dialect, Refused};
use super::{Door, Gateway, answer, ask, body, pump};
use crate::error::{Error, ErrorKind};
use crate::pool::PoolStream;
use crate::types::{CallOptions, ChatResponse, InferRequest, InferResponse, ParsedInfer, StreamEvent, parse_infer};

pub(super) async fn infer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    let done = work(gateway, request, &page).await;
    done.unwrap_or_else(|refused| refused.into_response(Dialect::Own))
}

async fn work(gateway: Arc<Gateway>, request: Request, page: &Page) -> Result<Response, Refused> {
    let options = ask::options(&request, &page.request_id)?;
    let text = body::read(request, &gateway.server()).await?;
    let ParsedInfer { work, stream, warnings } = parse_infer(&text)?;
    drop(text);
    if stream {
        let stream = gateway.infer_stream(&work, &options, warnings, page).await?;
        return Ok(pump::respond(gateway, stream, page.clone(), Deltas { task: work.task }));
    }
    let response = gateway.infer(&work, &options, warnings, page).await?;
    let mut answered = json(StatusCode::OK, &response);
    answer::name_work(answered.headers_mut(), &response);
    Ok(answered)
}

impl Gateway {
    /// Does the work. What it says goes over `options`, but for whom it is: that is whoever was let in.
    pub(super) async fn infer(
        &self,
        work: &InferRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        page: &Page,
    ) -> Result<InferResponse, Refused> {
        self.admit_work(work, options, page)?;
        let completed = self.pool.infer_until(work, options, warnings, self.ending.cancelled()).await;
        (self.tell)(completed.events);
        match completed.result {
            Ok(response) => {
                page.inferred(&response);
                page.kept(true, response.from_cache);
                Ok(response)
            }
            Err(error) => Err(refused(error, page)),
        }
    }

    /// The same as a stream, at its first content.
    pub(super) async fn infer_stream(
        &self,
        work: &InferRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        page: &Page,
    ) -> Result<PoolStream, Refused> {
        self.admit_work(work, options, page)?;
        let completed = self.pool.infer_stream_until(work, options, warnings, self.ending.cancelled()).await;
        (self.tell)(completed.events);
        let stream = completed.result.map_err(|error| refused(error, page))?;
        page.kept(true, stream.is_replay());
        Ok(stream)
    }

    /// Whoever calls over a port works for whom its key says, and for nobody else.
    fn admit_work(&self, work: &InferRequest, options: &CallOptions, page: &Page) -> Result<(), Refused> {
        if let Some(id) = &work.request_id {
            page.is_called(id);
        }
        page.is_labelled(&work.labels);
        let is_free = matches!(self.door, Door::Inside) && options.tenant.is_none();
        if is_free || work.tenant.is_none() || work.tenant == options.tenant {
            return Ok(());
        }
        let message = "tenant: a caller works for the tenant that its key belongs to; leave it out";
        Err(Refused::forbidden(message).of_field("tenant"))
    }
}

/// What only work by name can go wrong with has a status of its own.
fn refused(error: Error, page: &Page) -> Refused {
    let known = match error.kind() {
        ErrorKind::InvalidRequest { field } => match field.as_str() {
            "task" => Some((StatusCode::NOT_FOUND, "task_not_found")),
            "request_id" => Some((StatusCode::CONFLICT, "idempotency_mismatch")),
            _ => None,
        },
        _ => None,
    };
    let mut refused = ask::refused(error, page);
    if let Some((status, code)) = known {
        (refused.status, refused.code) = (status, Some(code));
    }
    refused
}

/// Writes the pieces of an answer, and at the end what the whole would have been.
struct Deltas {
    task: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Piece<'a> {
    Delta(&'a str),
    Refusal(&'a str),
    Reasoning(&'a str),
}

impl Encode for Deltas {
    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        match &event {
            StreamEvent::Text(text) => write(out, Some("delta"), &Piece::Delta(text)),
            StreamEvent::Refusal(text) => write(out, Some("delta"), &Piece::Refusal(text)),
            StreamEvent::Reasoning(text) => write(out, Some("delta"), &Piece::Reasoning(text)),
            // Work has no tools; all else stands in the answer.
            StreamEvent::Start { .. }
            | StreamEvent::ToolCall(_)
            | StreamEvent::ReasoningState(_)
            | StreamEvent::Usage(_)
            | StreamEvent::Finish { .. } => {}
        }
    }

    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>) {
        write(out, Some("done"), &InferResponse::of(&self.task, response.clone()));
    }

    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&refused.body(Dialect::Own));
        out.extend_from_slice(b"\n\n");
    }
}
