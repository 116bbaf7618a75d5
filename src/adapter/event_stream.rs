//! Drives the decoder of one dialect over the body of a streamed reply.
//!
//! What all event streams share is here once: the framing, a server that answers with one JSON document instead of
//! events (an error, or a whole reply), and what the end of the bytes means. A stream is whole when its dialect says
//! so; anything else is a truncation, however the text looked.

use std::collections::VecDeque;
use std::fmt;

use super::halves::{Halves, mended};
use super::sse::{Event, Framer, MAX_EVENT};
use crate::error::{Failure, FailureClass};
use crate::types::{Reply, StreamEvent, ToolCallDelta};

/// What one dialect makes of its events.
pub(super) trait Dialect: fmt::Debug {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure>;

    /// Reads a whole reply that came instead of a stream.
    fn whole(&self, document: &[u8]) -> Result<Reply, Failure>;

    /// The bytes are over: says what was held back, and whether the answer is whole.
    fn on_end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<bool, Failure>;

    /// The terminal event was seen.
    fn is_done(&self) -> bool;
}

/// The decoder of one stream.
#[derive(Debug, Default)]
pub(super) struct EventStream<D> {
    shape: Shape,
    framer: Framer,
    halves: Halves,
    dialect: D,
}

/// What kind of body this turned out to be.
#[derive(Debug, Default)]
enum Shape {
    /// Nothing but white space and byte order marks so far.
    #[default]
    Unknown,
    Events,
    /// No event stream but one document, kept until its end.
    Document(Vec<u8>),
    /// The document was read.
    Told,
}

impl<D: Dialect> EventStream<D> {
    pub fn new(dialect: D) -> Self {
        Self { shape: Shape::default(), framer: Framer::default(), halves: Halves::default(), dialect }
    }

    pub fn push(&mut self, mut bytes: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Shape::Unknown = self.shape {
            // The byte order mark may come in pieces; none of its bytes begins anything else here.
            let begins = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF);
            if let Some(at) = bytes.iter().position(begins) {
                self.shape = if matches!(bytes[at], b'{' | b'[' | b'<') {
                    bytes = &bytes[at..]; // what stood before it may have come in an earlier piece
                    Shape::Document(Vec::new())
                } else {
                    Shape::Events
                };
            }
        }
        if let Shape::Document(document) = &mut self.shape {
            if document.len() + bytes.len() > MAX_EVENT {
                return Err(Failure::new(FailureClass::BadReply, "the provider does not stream and sends too much"));
            }
            document.extend_from_slice(bytes);
            return Ok(());
        }
        let Self { framer, halves, dialect, .. } = self;
        framer.push(bytes, |event| halves.push(event, |event| dialect.on_event(event, out)))
    }

    pub fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Shape::Document(document) = &self.shape {
            let reply = self.dialect.whole(&mended(document))?;
            self.shape = Shape::Told;
            tell_whole(reply, out);
            return Ok(());
        }
        let Self { framer, halves, dialect, .. } = self;
        let last = framer
            .finish(|event| halves.push(event, |event| dialect.on_event(event, out)))
            .and_then(|()| halves.finish(|event| dialect.on_event(event, out)));
        match last {
            // An event that the end cut in half cannot be read; an error that can says more than the cut.
            Err(failure) if failure.class != FailureClass::BadReply => Err(failure),
            _ if dialect.on_end(out)? => Ok(()),
            _ => Err(Failure::new(FailureClass::StreamTruncated, "the stream ended without saying that it was done")),
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.shape, Shape::Told) || self.dialect.is_done()
    }
}

/// A whole reply, told as a stream.
pub(super) fn tell_whole(reply: Reply, out: &mut VecDeque<StreamEvent>) {
    let Reply {
        id,
        model,
        created,
        content,
        tool_calls,
        refusal,
        reasoning,
        reasoning_state,
        finish_reason,
        raw_finish_reason,
        usage,
    } = reply;
    out.push_back(StreamEvent::Start { id, model, created });
    out.extend(reasoning.map(StreamEvent::Reasoning));
    out.extend(Some(content).filter(|content| !content.is_empty()).map(StreamEvent::Text));
    out.extend(refusal.map(StreamEvent::Refusal));
    out.extend((0..).zip(tool_calls).map(|(index, call)| {
        StreamEvent::ToolCall(ToolCallDelta {
            index,
            id: Some(call.id),
            name: Some(call.function.name),
            arguments: call.function.arguments,
        })
    }));
    out.extend(reasoning_state.map(|kept| StreamEvent::ReasoningState(kept.state)));
    out.extend(usage.map(StreamEvent::Usage));
    out.push_back(StreamEvent::Finish { reason: finish_reason, raw: raw_finish_reason });
}
