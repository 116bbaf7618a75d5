//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Serialize;

use super::super::book::Page;
use super::super::probes::json;
use super::super::refused::{Dialect, Refused};
use super::super::{Gateway, answer, ask, body};
use crate::types::{EmbedResponse, EncodingFormat, ParsedEmbed, parse_openai_embed};

pub(in crate::gateway) async fn embeddings(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    embed(gateway, request, page).await.unwrap_or_else(|refused| refused.into_response(Dialect::OpenAi))
}

async fn embed(gateway: Arc<Gateway>, request: Request, page: Page) -> Result<Response, Refused> {
    let options = ask::options(&request, &page.request_id)?;
    let text = body::read(request, &gateway.server()).await?;
    let ParsedEmbed { mut request, warnings, .. } = parse_openai_embed(&text)?;
    drop(text);
    request.model = gateway.model(request.model, options.tenant.as_deref(), &page)?;
    let response = gateway.embed(&request, options, warnings, &page).await?;
    let mut answered = json(StatusCode::OK, &List::of(&response));
    let headers = answered.headers_mut();
    answer::name_source(headers, Some(response.provider.as_str()), Some(&response.model));
    answer::name_attempts(headers, &response.attempts);
    answer::name_cost(headers, response.cost);
    answer::name_warnings(headers, &response.warnings);
    Ok(answered)
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Tokens,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Float(&'a [f64]),
    /// 32-bit floats, little-endian: what OpenAI's clients ask for, and take for numbers if it is not what comes.
    Base64(String),
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl<'a> List<'a> {
    fn of(response: &'a EmbedResponse) -> Self {
        let vector = |vector: &'a Vec<f64>| match response.encoding_format {
            EncodingFormat::Float => Vector::Float(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        };
        let item = |(index, each)| Item { object: "embedding", index, embedding: vector(each) };
        Self {
            object: "list",
            data: response.vectors.iter().enumerate().map(item).collect(),
            model: &response.model,
            usage: Tokens { prompt_tokens: response.usage.prompt_tokens, total_tokens: response.usage.total_tokens },
        }
    }
}
