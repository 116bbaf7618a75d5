//! `:batchEmbedContents` of Gemini. It reports no usage.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::failure;
use super::vectors::Vector;
use crate::error::Failure;
use crate::types::{EmbedReply, EmbedRequest};

#[derive(Serialize)]
struct Body<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

pub(super) fn body(texts: &[String], request: &EmbedRequest, model: &str) -> serde_json::Result<Vec<u8>> {
    // Each request names the model once more, as what it is.
    let model = if model.contains('/') { Cow::Borrowed(model) } else { Cow::Owned(format!("models/{model}")) };
    let one = |text| One {
        model: &model,
        content: Content { parts: [Part { text }] },
        output_dimensionality: request.dimensions,
    };
    serde_json::to_vec(&Body { requests: texts.iter().map(|text| one(text)).collect() })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    embeddings: Option<Vec<Values>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Values {
    #[serde(default)]
    values: Vector,
}

pub(super) fn reply(json: &[u8]) -> Result<EmbedReply, Failure> {
    let reply: Reply<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if reply.error.is_some_and(|error| error.get() != "null") {
        return Err(failure::in_band(json));
    }
    let Some(embeddings) = reply.embeddings else {
        return Err(failure::no_answer(json, "the reply has no embeddings"));
    };
    let vectors = embeddings.into_iter().map(|one| one.values.0).collect();
    Ok(EmbedReply { vectors, ..EmbedReply::default() })
}
