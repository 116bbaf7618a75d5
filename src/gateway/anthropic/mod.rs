//! Anthropic's API.
//!
//! A request is read twice: into the pool's own shape, for whoever may answer, and as it is, for a provider that speaks
//! this API itself. There nothing of it is lost, not even what the pool has never heard of.

mod read;
mod stream;
mod write;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::book::Page;
use super::probes::json as json_response;
use super::refused::{Dialect, Refused};
use super::{Gateway, answer, ask, body, pump};
use crate::engine::{Countable, Knock};
use crate::types::{CallOptions, ParsedCall};

/// Bytes of a request whose tokens are counted in about a millisecond.
const COUNTED_AT_ONCE: usize = 16 * 1024;

/// Headers of the API that a provider of it is to see: what they switch on is in the body.
const OWN_HEADERS: [&str; 2] = ["anthropic-version", "anthropic-beta"];

/// `POST /v1/messages`.
pub(super) async fn messages(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    complete(gateway, request, page).await.unwrap_or_else(|refused| refused.into_response(Dialect::Anthropic))
}

async fn complete(gateway: Arc<Gateway>, request: Request, page: Page) -> Result<Response, Refused> {
    let options = options(&request, &page)?;
    let text = body::read(request, &gateway.server()).await?;
    let ParsedCall { mut request, stream, warnings, .. } = read::request(&text)?;
    drop(text);
    request.model = gateway.model(request.model, options.tenant.as_deref(), &page)?;
    if stream {
        let stream = gateway.open(request, options, warnings, &page).await?;
        let events = stream::Events::new(&stream, page.request_id.clone());
        return Ok(pump::respond(gateway, stream, page, events));
    }
    let response = gateway.ask(&request, options, warnings, &page).await?;
    let mut answered = json_response(StatusCode::OK, &write::Message::of(&response));
    answer::name(answered.headers_mut(), &response);
    Ok(answered)
}

fn options(request: &Request, page: &Page) -> Result<CallOptions, Refused> {
    let mut options = ask::options(request, &page.request_id)?;
    for name in OWN_HEADERS {
        let said: Vec<_> = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        if !said.is_empty() {
            options.headers.push((name.to_owned(), said.join(",")));
        }
    }
    Ok(options)
}

/// `POST /v1/messages/count_tokens`: how many tokens a prompt has, as the pool counts for that model.
pub(super) async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    match count(&gateway, request, &page).await {
        Ok(tokens) => json_response(StatusCode::OK, &json!({ "input_tokens": tokens })),
        Err(refused) => refused.into_response(Dialect::Anthropic),
    }
}

/// Counting costs no money and yet a processor: it is one of the calls that a tenant may make.
async fn count(gateway: &Gateway, request: Request, page: &Page) -> Result<u64, Refused> {
    let options = ask::options(&request, &page.request_id)?;
    let text = body::read(request, &gateway.server()).await?;
    let ParsedCall { request, .. } = read::request(&text)?;
    let model = gateway.model(request.model.clone(), options.tenant.as_deref(), page)?;
    let let_in = gateway.pool.let_in(Knock::of(&options, model.as_deref()));
    (gateway.tell)(let_in.events);
    let_in.result.map_err(|error| ask::refused(error, page))?;
    let pool = gateway.pool.clone();
    let count = move || pool.engine().count_tokens(Countable::Prompt(&request), model.as_deref());
    if text.len() <= COUNTED_AT_ONCE {
        return Ok(count());
    }
    // Elsewhere than where all connections are served.
    tokio::task::spawn_blocking(count).await.map_err(|error| Refused::internal(error.to_string()))
}
