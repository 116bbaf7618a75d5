//! Embeddings: which services have them, how many inputs one request may hold, and the door to each way of asking.
//!
//! A batch is a request of its own; which inputs it holds is [`Rule::end_of_batch`]'s to say. Whatever form the numbers
//! come in, they leave here as finite numbers, one vector for each input and all of one length.

mod cohere;
mod gemini;
mod ollama;
mod openai;
mod vectors;

use std::ops::Range;

use super::catalog::{AdapterKind, Service};
use super::{Encoded, failure};
use crate::error::Failure;
use crate::types::{EmbedInput, EmbedReply, EmbedRequest, FieldError};

/// How a service makes embeddings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Behind the root of its API.
    pub path: &'static str,
    /// Most inputs of one request.
    pub inputs: usize,
    /// Most tokens of one request, over all inputs.
    pub tokens: Option<usize>,
    /// Its name for `dimensions`, where it can cut vectors.
    pub dimensions: Option<&'static str>,
    /// Whether it sends vectors in base64, a third of the size of digits.
    pub base64: bool,
    /// Whether it takes tokens instead of texts.
    pub takes_tokens: bool,
    /// The longest vector that its models make by themselves.
    pub longest: usize,
}

/// Fewest bytes of a text that are a token, on the whole: four in English, between two and three in most other scripts.
/// A batch that is too long for a service is refused as a whole, so it is cut early.
const BYTES_PER_TOKEN: usize = 2;
/// Bytes of a number in a reply: its digits, its sign and the comma behind it.
const BYTES_PER_NUMBER: usize = 24;
/// The same in base64: four bytes of every three.
const BYTES_PER_NUMBER_BASE64: usize = 6;

impl Rule {
    /// Where the batch that begins with the input `from` ends: at the limits of the service, and before its reply
    /// would be longer than `reply_limit` bytes. It holds at least one input.
    pub fn end_of_batch(&self, request: &EmbedRequest, from: usize, reply_limit: usize) -> usize {
        let numbers = request.dimensions.map_or(self.longest, |dimensions| dimensions as usize).max(1);
        let per_number = if self.base64 { BYTES_PER_NUMBER_BASE64 } else { BYTES_PER_NUMBER };
        let readable = reply_limit / numbers.saturating_mul(per_number);
        let last = request.input.len().min(from.saturating_add(self.inputs.min(readable).max(1)));
        let Some(most) = self.tokens else { return last };
        let mut tokens = 0usize;
        for at in from..last {
            tokens = tokens.saturating_add(match &request.input {
                EmbedInput::Texts(texts) => texts[at].len().div_ceil(BYTES_PER_TOKEN),
                EmbedInput::Tokens(lists) => lists[at].len(),
            });
            if tokens > most && at > from {
                return at;
            }
        }
        last
    }
}

/// A batch as the service takes it.
pub(super) fn request(
    request: &EmbedRequest,
    batch: Range<usize>,
    model: &str,
    service: &'static Service,
    strict: bool,
) -> Result<Encoded, FieldError> {
    let refused = |field: &str, message: String| Err(FieldError { field: field.to_owned(), message });
    let name = service.name;
    let Some(rule) = &service.dialect.embeddings else {
        return refused("input", format!("{name} makes no embeddings"));
    };
    if request.dimensions.is_some() && rule.dimensions.is_none() {
        // Vectors of another length would not fit to those that the caller has.
        return refused("dimensions", format!("not supported by {name}"));
    }
    if matches!(request.input, EmbedInput::Tokens(_)) && !rule.takes_tokens {
        return refused("input", format!("{name} takes texts only, not tokens"));
    }
    let mut warnings = Vec::new();
    let user = request.user.as_deref().filter(|_| {
        let sent = service.adapter == AdapterKind::OpenAi && service.dialect.takes("user");
        if !sent {
            warnings.push(format!("user: not supported by {name}, not sent"));
        }
        sent
    });
    if strict && !warnings.is_empty() {
        return refused("user", format!("not supported by {name}"));
    }
    let body = match (service.adapter, &request.input) {
        (AdapterKind::Gemini, EmbedInput::Texts(texts)) => gemini::body(&texts[batch], request, model),
        (AdapterKind::Cohere, EmbedInput::Texts(texts)) => cohere::body(&texts[batch], request, model),
        (AdapterKind::Ollama, EmbedInput::Texts(texts)) => ollama::body(&texts[batch], request, model),
        _ => openai::body(batch, request, model, user, service, rule),
    };
    let body = body.map_err(|error| FieldError { field: String::new(), message: error.to_string() })?;
    Encoded::finish(body, request.extra_body.get(name), service, warnings)
}

/// The vectors in the body of a 2xx reply to a request of `inputs` inputs, or what is there instead of them.
pub(super) fn reply(
    body: &[u8],
    inputs: usize,
    dimensions: Option<u32>,
    service: &'static Service,
) -> Result<EmbedReply, Failure> {
    let json = failure::json_object(body)?;
    let reply = match service.adapter {
        AdapterKind::Gemini => gemini::reply(json),
        AdapterKind::Cohere => cohere::reply(json),
        AdapterKind::Ollama => ollama::reply(json),
        AdapterKind::OpenAi | AdapterKind::Anthropic => openai::reply(json),
    }?;
    vectors::check(&reply.vectors, inputs, dimensions)?;
    Ok(reply)
}

#[cfg(test)]
mod tests;
