//! `POST /v1/responses`, as far as it needs no memory: every request brings the whole conversation.

mod read;
mod stream;
mod write;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;

use super::super::book::Page;
use super::super::probes::json;
use super::super::refused::{Dialect, Refused};
use super::super::{Gateway, answer, ask, body, pump};
use crate::types::ParsedCall;

pub(in crate::gateway) async fn responses(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    complete(gateway, request, page).await.unwrap_or_else(|refused| refused.into_response(Dialect::OpenAi))
}

async fn complete(gateway: Arc<Gateway>, request: Request, page: Page) -> Result<Response, Refused> {
    let options = ask::options(&request, &page.request_id)?;
    let text = body::read(request, &gateway.server()).await?;
    let (ParsedCall { mut request, stream, warnings, .. }, echo) = read::request(&text)?;
    drop(text);
    request.model = gateway.model(request.model, options.tenant.as_deref(), &page)?;
    if stream {
        let stream = gateway.open(request, options, warnings, &page).await?;
        let events = stream::Events::new(&stream, page.request_id.clone(), echo);
        return Ok(pump::respond(gateway, stream, page, events));
    }
    let response = gateway.ask(&request, options, warnings, &page).await?;
    let mut answered = json(StatusCode::OK, &write::whole(&response, &echo));
    answer::name(answered.headers_mut(), &response);
    Ok(answered)
}
