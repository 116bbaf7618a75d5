//! Reads a stream of the OpenAI family: bytes in, events out.
//!
//! A stream is complete when a finish reason or `[DONE]` was seen; the end of the bytes without either is a truncation,
//! however the text looked. After the finish reason reading goes on, because usage comes behind it. A server that
//! answers with one JSON document instead, an error or a whole reply, is understood as well.

use std::collections::VecDeque;

use super::super::failure;
use super::super::sse::{Event, Framer, MAX_EVENT};
use super::calls::Calls;
use super::decode;
use super::wire::{Choice, InCall};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, StreamEvent, ToolCallDelta, Usage};

/// The decoder of one stream.
#[derive(Debug, Default)]
pub(in crate::adapter) struct Decoder {
    shape: Shape,
    framer: Framer,
    state: State,
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
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    id: String,
    calls: Calls,
    /// Some text, reasoning or refusal was said.
    spoke: bool,
    finished: bool,
    done: bool,
    usage: Option<Usage>,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Shape::Unknown = self.shape {
            // The byte order mark may come in pieces; none of its bytes begins anything else here.
            let first =
                bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF));
            match first.map(|at| bytes[at]) {
                None => {}
                Some(b'{' | b'[' | b'<') => self.shape = Shape::Document(Vec::new()),
                Some(_) => self.shape = Shape::Events,
            }
        }
        if let Shape::Document(document) = &mut self.shape {
            if document.len() + bytes.len() > MAX_EVENT {
                return Err(Failure::new(FailureClass::BadReply, "the provider does not stream and sends too much"));
            }
            document.extend_from_slice(bytes);
            return Ok(());
        }
        let Self { framer, state, .. } = self;
        framer.push(bytes, |event| state.on_event(event, out))
    }

    pub fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Shape::Document(document) = &self.shape {
            tell_whole(decode::reply(document)?, out);
            self.state.done = true;
            return Ok(());
        }
        let Self { framer, state, .. } = self;
        let last = framer.finish(|event| state.on_event(event, out));
        if state.done || state.finished {
            return Ok(());
        }
        match last {
            // An event that the end cut in half cannot be read; an error that can says more than the cut.
            Err(failure) if failure.class != FailureClass::BadReply => Err(failure),
            _ => Err(Failure::new(FailureClass::StreamTruncated, "the stream ended without saying that it was done")),
        }
    }

    pub fn is_done(&self) -> bool {
        self.state.done
    }
}

impl State {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let data = event.data.trim_ascii();
        if self.done || data.is_empty() {
            return Ok(());
        }
        if data.starts_with(b"[DONE]") {
            return self.end(out);
        }
        if event.name == b"error" {
            return Err(failure::in_band(data));
        }
        let mut chunk = decode::envelope(data)?;
        let choices = chunk.choices.take();
        let usage = decode::usage(chunk.usage).or_else(|| decode::usage(chunk.x_groq.and_then(|groq| groq.usage)));
        if choices.is_none() && usage.is_none() && chunk.id.is_empty() && chunk.object.is_empty() {
            // Not a chunk at all: `{"detail": "…"}` in the middle of a stream. What says nothing is passed over.
            let failure = failure::no_answer(data, "not a chunk");
            return if failure.class == FailureClass::BadReply { Ok(()) } else { Err(failure) };
        }
        let choices = choices.unwrap_or_default();
        // Azure sends its content filter's verdict in a chunk that names neither id nor model.
        let names_itself = !choices.is_empty() || !chunk.id.is_empty();
        if names_itself && !self.started {
            self.started = true;
            self.id = chunk.id.into_owned();
            out.push_back(StreamEvent::Start {
                id: self.id.clone(),
                model: chunk.model.into_owned(),
                created: chunk.created.0.unwrap_or_default(),
            });
        }
        // The pool asks for one answer; should more come, the first is it.
        for choice in choices.into_iter().filter(|choice| choice.index.0.unwrap_or(0) == 0) {
            self.on_choice(choice, out)?;
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(StreamEvent::Usage));
        }
        Ok(())
    }

    fn on_choice(&mut self, mut choice: Choice<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Some(error) = decode::real_error(choice.error) {
            return Err(failure::in_band(error.get().as_bytes()));
        }
        // A server that ignores the switch may put the whole message in one event.
        let mut delta = choice.delta.take().or(choice.message.take()).unwrap_or_default();
        let reasoning = delta.take_reasoning();
        let mut say = |text: &str, event: fn(String) -> StreamEvent| {
            if !text.is_empty() {
                self.spoke = true;
                out.push_back(event(text.to_owned()));
            }
        };
        say(&reasoning, StreamEvent::Reasoning);
        say(&delta.content.text, StreamEvent::Text);
        say(&delta.refusal.0, StreamEvent::Refusal);
        say(&delta.content.refusal, StreamEvent::Refusal);
        for (position, piece) in delta.tool_calls.into_iter().flatten().enumerate() {
            self.calls.push(piece, position, &self.id, out)?;
        }
        if let Some(function) = delta.function_call {
            let piece = InCall { function: Some(function), ..InCall::default() };
            self.calls.push(piece, 0, &self.id, out)?;
        }
        match choice.finish_reason.non_empty() {
            Some(raw) if !self.finished => self.on_finish(Some(raw), out),
            _ => Ok(()),
        }
    }

    fn on_finish(&mut self, raw: Option<String>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let reason = decode::finish(raw.as_deref(), !self.calls.is_empty())?;
        if reason == FinishReason::Stop && !self.spoke {
            return Err(decode::empty_stop());
        }
        self.calls.finish(&self.id, out);
        self.finished = true;
        out.push_back(StreamEvent::Finish { reason, raw });
        Ok(())
    }

    /// `[DONE]`, with or without a finish reason before it.
    fn end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if !self.finished {
            if !self.spoke && self.calls.is_empty() {
                return Err(decode::empty_stop());
            }
            self.on_finish(None, out)?;
        }
        self.done = true;
        Ok(())
    }
}

/// A whole reply, told as a stream.
fn tell_whole(reply: Reply, out: &mut VecDeque<StreamEvent>) {
    let Reply { id, model, created, content, tool_calls, refusal, reasoning, finish_reason, raw_finish_reason, usage } =
        reply;
    out.push_back(StreamEvent::Start { id, model, created });
    out.extend(reasoning.map(StreamEvent::Reasoning));
    out.extend(decode::non_empty(content).map(StreamEvent::Text));
    out.extend(refusal.map(StreamEvent::Refusal));
    out.extend((0..).zip(tool_calls).map(|(index, call)| {
        StreamEvent::ToolCall(ToolCallDelta {
            index,
            id: Some(call.id),
            name: Some(call.function.name),
            arguments: call.function.arguments,
        })
    }));
    out.extend(usage.map(StreamEvent::Usage));
    out.push_back(StreamEvent::Finish { reason: finish_reason, raw: raw_finish_reason });
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
