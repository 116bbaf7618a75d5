//! Translation between the pool's types and what providers speak.
//!
//! Pure: bytes and values in, bytes and values out. No socket, no clock, no environment; a moment that matters is an
//! argument. An [`Endpoint`] is the door: everything of one configured provider that the wire needs.

mod anthropic;
mod base_url;
mod capabilities;
#[cfg(test)]
mod capabilities_doc;
mod catalog;
mod cohere;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod conversation_tests;
mod deployments;
mod embed;
mod endpoint;
mod error_body;
mod event_stream;
mod extra;
mod facts;
mod failure;
#[cfg(test)]
mod failures_doc;
#[cfg(test)]
mod fixtures;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
mod gemini;
mod halves;
mod hint;
mod json_schema;
mod lenient;
mod models;
mod models_list;
#[cfg(test)]
mod mutations;
mod ndjson;
mod ollama;
mod openai;
mod parts;
#[cfg(test)]
mod providers_doc;
mod rate_headers;
#[cfg(test)]
mod reasoning_tests;
mod repair;
mod rows;
#[cfg(test)]
mod schema_tests;
mod signals;
mod sse;
mod structured;
#[cfg(test)]
mod testing;
mod tool_ids;
mod unread;

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

pub use capabilities::{Capabilities, Capability};
pub use catalog::{AdapterKind, Service, service, services};
pub use endpoint::{Endpoint, EndpointError, EndpointParams, RESERVED_HEADERS};
pub use facts::{Facts, Stated};
pub use failure::transport_failure;
pub use json_schema::AnswerForm;
use json_schema::Turning;
pub use parts::RemotePart;

use gate::Gate;
pub use gate::{OPTIONAL_PARAMS, ParamOverrides};
pub use models_list::ModelsRequest;
pub use rate_headers::{Quota, RateHeaders};
pub use rows::FailureRow;
use rows::Rows;
pub use unread::Unread;

use crate::error::Failure;
use crate::types::{ChatRequest, FieldError, StreamEvent};

/// What one encoding goes by beside the request: the provider's configuration, and what it has just refused.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    /// The provider's name.
    provider: &'a str,
    /// Stand in where a request says nothing.
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    /// A field that cannot be sent is an error instead of a warning.
    strict: bool,
    /// What the configuration knows better.
    params: &'a ParamOverrides,
    /// Fields to leave out although the dialect has them.
    without: &'a [String],
    /// Fields that are sent as they are, below those of the caller.
    extra: &'a Map<String, Value>,
}

/// A request as one provider takes it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The body to send.
    pub body: Bytes,
    /// What of the request could not be sent as it was, each beginning with the name of the field.
    pub warnings: Vec<String>,
    /// How the answer was asked for. Whoever reads it turns it back: [`StreamDecoder::of`], [`AnswerForm::reply`] and
    /// [`AnswerForm::value`].
    pub form: AnswerForm,
}

/// Decodes one stream: bytes in, events out. Memory is bounded, and any cutting of the bytes gives the same events.
#[derive(Debug)]
pub struct StreamDecoder {
    decoder: Decoder,
    rows: Rows,
    turning: Turning,
}

#[derive(Debug)]
enum Decoder {
    OpenAi(Box<openai::Decoder>),
    Anthropic(Box<anthropic::Decoder>),
    Gemini(Box<gemini::Decoder>),
    Cohere(Box<cohere::Decoder>),
    Ollama(Box<ollama::Decoder>),
}

// === impl Encoded ===

impl Encoded {
    /// Writes the wire form, with the provider's `extra_body` over it, and the caller's for this service over both.
    fn write(
        wire: &impl Serialize,
        request: &ChatRequest,
        service: &Service,
        gate: Gate<'_>,
    ) -> Result<Self, FieldError> {
        let own = gate.extra();
        let foreign = foreign(request, service, &gate);
        let warnings = gate.finish()?;
        let mut body = Vec::with_capacity(size_hint(request));
        serde_json::to_writer(&mut body, wire).map_err(unwritable)?;
        if !own.is_empty() {
            body = extra::merge(&body, own).map_err(unwritable)?;
        }
        if let Some(foreign) = foreign {
            body = extra::merge(&body, &foreign).map_err(unwritable)?;
        }
        Self::finish(body, request.extra_body.get(service.name), service, warnings)
    }

    /// Merges the caller's `extra_body` over the wire form.
    fn finish(
        mut body: Vec<u8>,
        extra: Option<&Map<String, Value>>,
        service: &Service,
        mut warnings: Vec<String>,
    ) -> Result<Self, FieldError> {
        if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
            body = extra::merge(&body, extra).map_err(unwritable)?;
            if extra.contains_key(extra::KEPT) {
                let (service, field) = (service.name, extra::KEPT);
                warnings.push(format!("extra_body.{service}.{field}: set by the pool, not sent"));
            }
        }
        Ok(Self { body: body.into(), warnings, form: AnswerForm::default() })
    }
}

/// What the caller said in the API of this service itself, less what the provider has just refused.
fn foreign<'r>(request: &'r ChatRequest, service: &Service, gate: &Gate<'_>) -> Option<Cow<'r, Map<String, Value>>> {
    let foreign = request.foreign.as_ref().filter(|foreign| gate::speaks(foreign.api) == service.adapter)?;
    let refused = |name: &String| gate.leaves_out(name);
    if !foreign.fields.keys().any(refused) {
        return Some(Cow::Borrowed(&foreign.fields));
    }
    let kept = foreign.fields.iter().filter(|(name, _)| !refused(name));
    Some(Cow::Owned(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

fn unwritable(error: serde_json::Error) -> FieldError {
    FieldError { field: String::new(), message: error.to_string() }
}

/// About what a request needs, so that a long prompt is not copied on the way.
fn size_hint(request: &ChatRequest) -> usize {
    use crate::types::{Content, Part};
    const FIELDS: usize = 256;
    const PER_MESSAGE: usize = 64;
    let content = |content: &Content| match content {
        Content::Empty => 0,
        Content::Text(text) => text.len() + text.len() / 16, // quotes and line ends are escaped
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text { text } => text.len() + PER_MESSAGE,
                Part::ImageUrl { image_url } => image_url.url.len() + PER_MESSAGE,
                Part::InputAudio { .. } | Part::File { .. } => PER_MESSAGE,
            })
            .sum(),
    };
    FIELDS + request.messages.iter().map(|message| PER_MESSAGE + content(&message.content)).sum::<usize>()
}

// === impl StreamDecoder ===

impl StreamDecoder {
    /// For an answer that was asked for in this form.
    #[must_use]
    pub fn of(self, form: AnswerForm) -> Self {
        Self { turning: Turning::of(form), ..self }
    }

    /// Turns the events back that were added behind the first `from`; `over`: no more come.
    fn turn_back(&mut self, out: &mut VecDeque<StreamEvent>, from: usize, over: bool) {
        if !self.turning.turns() {
            return;
        }
        let events: Vec<_> = out.drain(from..).collect();
        for event in events {
            self.turning.event(event, |event| out.push_back(event));
        }
        if over {
            self.turning.end(|event| out.push_back(event));
        }
    }

    /// Takes the next bytes and appends the events they complete. After a failure the decoder is spent; events before
    /// it are in `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let from = out.len();
        let pushed = match &mut self.decoder {
            Decoder::OpenAi(decoder) => decoder.push(bytes, out),
            Decoder::Anthropic(decoder) => decoder.push(bytes, out),
            Decoder::Gemini(decoder) => decoder.push(bytes, out),
            Decoder::Cohere(decoder) => decoder.push(bytes, out),
            Decoder::Ollama(decoder) => decoder.push(bytes, out),
        };
        self.turn_back(out, from, pushed.is_err());
        pushed.map_err(|failure| self.rows.apply(failure))
    }

    /// The bytes are over. A stream that never said it was done is [`FailureClass::StreamTruncated`].
    pub fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let from = out.len();
        let finished = match &mut self.decoder {
            Decoder::OpenAi(decoder) => decoder.finish(out),
            Decoder::Anthropic(decoder) => decoder.finish(out),
            Decoder::Gemini(decoder) => decoder.finish(out),
            Decoder::Cohere(decoder) => decoder.finish(out),
            Decoder::Ollama(decoder) => decoder.finish(out),
        };
        self.turn_back(out, from, true);
        finished.map_err(|failure| self.rows.apply(failure))
    }

    /// The dialect's terminal event was seen: nothing worth reading follows.
    pub fn is_done(&self) -> bool {
        match &self.decoder {
            Decoder::OpenAi(decoder) => decoder.is_done(),
            Decoder::Anthropic(decoder) => decoder.is_done(),
            Decoder::Gemini(decoder) => decoder.is_done(),
            Decoder::Cohere(decoder) => decoder.is_done(),
            Decoder::Ollama(decoder) => decoder.is_done(),
        }
    }
}
