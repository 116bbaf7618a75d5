//! `/embeddings` of the OpenAI family.

use std::ops::Range;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::catalog::Service;
use super::super::failure;
use super::super::lenient::{Count, Text};
use super::Rule;
use super::vectors::Vector;
use crate::error::{Failure, FailureClass};
use crate::types::{EmbedInput, EmbedReply, EmbedRequest, Usage};

struct Body<'a> {
    model: &'a str,
    input: Input<'a>,
    dimensions: Option<(&'static str, u32)>,
    base64: bool,
    user: Option<(&'a str, &'a str)>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Texts(&'a [String]),
    Tokens(&'a [Vec<u32>]),
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("input", &self.input)?;
        if let Some((name, dimensions)) = self.dimensions {
            map.serialize_entry(name, &dimensions)?;
        }
        if self.base64 {
            map.serialize_entry("encoding_format", "base64")?;
        }
        if let Some((name, user)) = self.user {
            map.serialize_entry(name, user)?;
        }
        map.end()
    }
}

pub(super) fn body(
    batch: Range<usize>,
    request: &EmbedRequest,
    model: &str,
    user: Option<&str>,
    service: &'static Service,
    rule: &Rule,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Body {
        model,
        input: match &request.input {
            EmbedInput::Texts(texts) => Input::Texts(&texts[batch]),
            EmbedInput::Tokens(lists) => Input::Tokens(&lists[batch]),
        },
        dimensions: rule.dimensions.zip(request.dimensions),
        base64: rule.base64,
        user: user.map(|user| (service.dialect.name_of("user"), user)),
    })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    model: Text<'a>,
    #[serde(default)]
    data: Option<Vec<Item>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    index: Count,
    embedding: Vector,
}

#[derive(Deserialize)]
struct InUsage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    total_tokens: Count,
}

pub(super) fn reply(json: &[u8]) -> Result<EmbedReply, Failure> {
    let reply: Reply<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if reply.error.is_some_and(|error| error.get() != "null") {
        return Err(failure::in_band(json));
    }
    let Some(items) = reply.data else { return Err(failure::no_answer(json, "the reply has no data")) };
    let usage = reply.usage.and_then(|usage| serde_json::from_str::<InUsage>(usage.get()).ok());
    Ok(EmbedReply {
        model: reply.model.into_owned(),
        vectors: in_order(items)?,
        usage: usage
            .and_then(|usage| usage.prompt_tokens.0.or(usage.total_tokens.0))
            .map(|tokens| Usage::reported(tokens, 0)),
    })
}

/// Each vector says which input it is of; where none does, they stand in order.
fn in_order(items: Vec<Item>) -> Result<Vec<Vec<f64>>, Failure> {
    if items.iter().all(|item| item.index.0.is_none()) {
        return Ok(items.into_iter().map(|item| item.embedding.0).collect());
    }
    let mut vectors = vec![None; items.len()];
    for item in items {
        let index = item.index.0.and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| vectors.get_mut(index)) {
            Some(place @ None) => *place = Some(item.embedding.0),
            _ => {
                let message = "the vectors of a reply do not say which input each is of";
                return Err(Failure::new(FailureClass::BadReply, message));
            }
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}
