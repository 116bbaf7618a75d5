//! What the headers of a request say to the pool, and which model it asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use http::HeaderMap;

use super::Gateway;
use super::auth::Caller;
use super::book::Page;
use super::refused::Refused;
use crate::error::Error;
use crate::pool::PoolStream;
use crate::types::{CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, RequestId};

/// Stands for every provider with its own model: OpenAI's and Anthropic's clients cannot leave the model out.
pub(super) const ANY_MODEL: &str = "auto";

/// A longer one is nobody's session, it is somebody's prompt.
const LONGEST_TEXT: usize = 256;

/// The options of a call.
pub(super) fn options(request: &Request, request_id: &RequestId) -> Result<CallOptions, Refused> {
    let headers = request.headers();
    let session = text(headers, "x-llmpool-session")?;
    let tenant = Caller::of(request).tenant;
    Ok(CallOptions {
        timeout: millis(headers, "x-llmpool-timeout-ms")?,
        deadline: millis(headers, "x-llmpool-deadline-ms")?,
        max_retries: number(headers, "x-llmpool-max-retries")?,
        failover: flag(headers, "x-llmpool-failover")?,
        providers: text(headers, "x-llmpool-providers")?.map_or_else(Vec::new, names),
        // Coding agents name their session in a header of their own.
        session: session.or(text(headers, "x-claude-code-session-id")?).map(str::to_owned),
        // Whoever calls over a port is who its key says, and nobody else.
        by_credential: tenant.is_some(),
        tenant,
        request_id: Some(request_id.clone()),
        ..CallOptions::default()
    })
}

impl Gateway {
    /// One answer. A client that leaves drops this, which cancels the call.
    pub(super) async fn ask(
        &self,
        request: &ChatRequest,
        options: CallOptions,
        warnings: Vec<String>,
        page: &Page,
    ) -> Result<ChatResponse, Refused> {
        let asked = self.pool.engine().keeps(&options).is_some();
        let completed = self.pool.chat_until(request, &options, warnings, self.ending.cancelled()).await;
        (self.tell)(completed.events);
        match completed.result {
            Ok(response) => {
                page.answered(&response);
                page.kept(asked, response.cached);
                Ok(response)
            }
            Err(error) => Err(refused(error, page)),
        }
    }

    /// A stream at its first content.
    pub(super) async fn open(
        &self,
        request: ChatRequest,
        options: CallOptions,
        warnings: Vec<String>,
        page: &Page,
    ) -> Result<PoolStream, Refused> {
        let asked = self.pool.engine().keeps(&options).is_some();
        let completed = self.pool.stream_until(Arc::new(request), &options, warnings, self.ending.cancelled()).await;
        (self.tell)(completed.events);
        let stream = completed.result.map_err(|error| refused(error, page))?;
        page.kept(asked, stream.is_replay());
        Ok(stream)
    }

    /// Vectors.
    pub(super) async fn embed(
        &self,
        request: &EmbedRequest,
        options: CallOptions,
        warnings: Vec<String>,
        page: &Page,
    ) -> Result<EmbedResponse, Refused> {
        let completed = self.pool.embed_until(request, &options, warnings, self.ending.cancelled()).await;
        (self.tell)(completed.events);
        match completed.result {
            Ok(response) => {
                page.embedded(&response);
                Ok(response)
            }
            Err(error) => Err(refused(error, page)),
        }
    }

    /// What the pool is asked for: `None` is every provider with its own model. What a tenant may not use is not there: it
    /// would learn which models others have.
    pub(super) fn model(
        &self,
        asked: Option<String>,
        tenant: Option<&str>,
        page: &Page,
    ) -> Result<Option<String>, Refused> {
        let roster = self.pool.engine().roster();
        let serves = |model: &str| {
            let mut enabled = roster.providers().iter().filter(|provider| provider.config().enabled);
            enabled.any(|provider| provider.resolve_model(Some(model)).is_some())
        };
        let model = match asked {
            Some(model) if serves(&model) => Some(model),
            Some(model) if model == ANY_MODEL => None,
            Some(model) => return Err(Refused::no_such_model(&model)),
            None => None,
        };
        let may_ask = |tenant| roster.may_ask_for(tenant, model.as_deref());
        match tenant.and_then(|id| roster.tenant(id)).map_or(Ok(()), |tenant| may_ask(tenant)) {
            Ok(()) => Ok(model),
            Err(error) => {
                self.refuse(error, page);
                Err(Refused::no_such_model(model.as_deref().unwrap_or(ANY_MODEL)))
            }
        }
    }

    /// A request was over before it became a call: counts that, and tells of it.
    pub(super) fn refuse(&self, error: Error, page: &Page) -> Refused {
        let completed = self.pool.refuse(error);
        (self.tell)(completed.events);
        let error = completed.result.err().unwrap_or_else(Error::closed); // it is the one that was given
        refused(error, page)
    }
}

/// Notes what the pool said, and makes an answer of it.
pub(super) fn refused(error: Error, page: &Page) -> Refused {
    // A client that leaves hears nothing of it: only the end of the gateway cancels a call of somebody who listens.
    let error = if error.is_cancellation() { Error::closed() } else { error };
    page.failed(&error);
    error.into()
}

fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Refused> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(value) if value.len() <= LONGEST_TEXT => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
        _ => Err(wrong(name, format_args!("at most {LONGEST_TEXT} letters of ASCII"))),
    }
}

fn wrong(name: &'static str, expected: impl std::fmt::Display) -> Refused {
    Refused::bad_request(Some(name), format!("{name}: expected {expected}"))
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u32>, Refused> {
    let Some(value) = text(headers, name)? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| wrong(name, "a whole number, 0 or more"))
}

fn millis(headers: &HeaderMap, name: &'static str) -> Result<Option<Duration>, Refused> {
    Ok(number(headers, name)?.map(|millis| Duration::from_millis(millis.into())))
}

fn flag(headers: &HeaderMap, name: &'static str) -> Result<Option<bool>, Refused> {
    let Some(value) = text(headers, name)? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| wrong(name, "true or false"))
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
