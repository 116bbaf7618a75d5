//! Cohere's `/embed`, version 2.

use serde::{Deserialize, Serialize};

use super::super::failure;
use super::super::lenient::Count;
use super::vectors::Vector;
use crate::error::Failure;
use crate::types::{EmbedReply, EmbedRequest, Usage};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    texts: &'a [String],
    /// Required. Texts to be found later are the common case; `extra_body.cohere.input_type` says another one.
    input_type: &'static str,
    embedding_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u32>,
    /// Its default cuts a text that is too long in silence.
    truncate: &'static str,
}

pub(super) fn body(texts: &[String], request: &EmbedRequest, model: &str) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Body {
        model,
        texts,
        input_type: "search_document",
        embedding_types: ["float"],
        output_dimension: request.dimensions,
        truncate: "NONE",
    })
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    embeddings: Option<Typed>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    float: Option<Vec<Vector>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    billed_units: Option<Billed>,
}

#[derive(Deserialize)]
struct Billed {
    #[serde(default)]
    input_tokens: Count,
}

pub(super) fn reply(json: &[u8]) -> Result<EmbedReply, Failure> {
    let reply: Reply = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    let Some(vectors) = reply.embeddings.and_then(|typed| typed.float) else {
        return Err(failure::no_answer(json, "the reply has no embeddings"));
    };
    let billed = reply.meta.and_then(|meta| meta.billed_units).and_then(|billed| billed.input_tokens.0);
    Ok(EmbedReply {
        vectors: vectors.into_iter().map(|vector| vector.0).collect(),
        usage: billed.map(|tokens| Usage::reported(tokens, 0)),
        ..EmbedReply::default()
    })
}
