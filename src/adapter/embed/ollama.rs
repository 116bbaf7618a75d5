//! Ollama's `/api/embed`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::failure;
use super::super::lenient::{Count, Text};
use super::vectors::Vector;
use crate::error::Failure;
use crate::types::{EmbedReply, EmbedRequest, Usage};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    /// Its default cuts a text that is too long in silence.
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

pub(super) fn body(texts: &[String], request: &EmbedRequest, model: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Body { model, input: texts, truncate: false, dimensions: request.dimensions })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    model: Text<'a>,
    #[serde(default)]
    embeddings: Option<Vec<Vector>>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

pub(super) fn reply(json: &[u8]) -> Result<EmbedReply, Failure> {
    let reply: Reply<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if reply.error.is_some_and(|error| error.get() != "null") {
        return Err(failure::in_band(json));
    }
    let Some(embeddings) = reply.embeddings else {
        return Err(failure::no_answer(json, "the reply has no embeddings"));
    };
    Ok(EmbedReply {
        model: reply.model.into_owned(),
        vectors: embeddings.into_iter().map(|vector| vector.0).collect(),
        usage: reply.prompt_eval_count.0.map(|tokens| Usage::reported(tokens, 0)),
    })
}
