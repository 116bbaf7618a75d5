//! Reads Ollama's stream: one reply in small per line, the last one `done`.
//!
//! An error comes as a line of its own under a status of 200. The end of the bytes before `done` is a truncation.

use std::collections::VecDeque;

use super::super::failure;
use super::super::halves::Halves;
use super::super::ndjson::{Frame, Framer};
use super::super::sse::Event;
use super::decode;
use super::wire::Envelope;
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, StreamEvent, ToolCallDelta};

/// The decoder of one stream.
#[derive(Debug, Default)]
pub(in crate::adapter) struct Decoder {
    framer: Framer,
    halves: Halves,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    /// From which ids of calls are made.
    seed: String,
    /// How many calls were told.
    calls: u32,
    /// Some text or reasoning was said.
    spoke: bool,
    done: bool,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let Self { framer, halves, state } = self;
        framer.push(bytes, |line| halves.push(event(line), |event| state.on_line(event.data, out)))
    }

    pub fn finish(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let Self { framer, halves, state } = self;
        let last = framer
            .finish(|line| halves.push(event(line), |event| state.on_line(event.data, out)))
            .and_then(|()| halves.finish(|event| state.on_line(event.data, out)));
        match last {
            // A line that the end cut in half cannot be read; an error that can says more than the cut.
            Err(failure) if failure.class != FailureClass::BadReply => Err(failure),
            _ if state.done => Ok(()),
            _ => Err(Failure::new(FailureClass::StreamTruncated, "the stream ended without saying that it was done")),
        }
    }

    pub fn is_done(&self) -> bool {
        self.state.done
    }
}

/// A line is an event without a name.
fn event(line: &[u8]) -> Event<'_> {
    Event { name: b"", data: line }
}

impl State {
    fn on_line(&mut self, line: &[u8], out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        match decode::frame(line)? {
            Frame::Known(said) => self.on_reply(said, out),
            Frame::Unknown => {
                let failure = failure::no_answer(line, "not a reply");
                if failure.class == FailureClass::BadReply { Ok(()) } else { Err(failure) }
            }
            Frame::Corrupt => Err(failure::unreadable(line, "a line of the stream is none")),
        }
    }

    fn on_reply(&mut self, mut said: Envelope<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.started, true) {
            self.seed = decode::id_seed(&said.created_at);
            out.push_back(StreamEvent::Start {
                id: String::new(),
                model: std::mem::take(&mut said.model).into_owned(),
                created: decode::created(&said.created_at),
            });
        }
        let usage = decode::usage(&said);
        let message = said.message.unwrap_or_default();
        let mut say = |text: String, event: fn(String) -> StreamEvent| {
            if !text.is_empty() {
                self.spoke = true;
                out.push_back(event(text));
            }
        };
        say(message.thinking.into_owned(), StreamEvent::Reasoning);
        say(message.content.into_owned(), StreamEvent::Text);
        for call in message.tool_calls.into_iter().flatten() {
            let call = decode::tool_call(call, &self.seed, self.calls as usize);
            out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                index: self.calls,
                id: Some(call.id),
                name: Some(call.function.name),
                arguments: call.function.arguments,
            }));
            self.calls += 1;
        }
        if said.done.0 {
            let raw = said.done_reason.non_empty();
            let reason = decode::finish(raw.as_deref(), self.calls > 0);
            if !self.spoke && self.calls == 0 && (reason == FinishReason::Stop || raw.is_none()) {
                return Err(failure::empty_stop(None));
            }
            out.extend(usage.map(StreamEvent::Usage));
            out.push_back(StreamEvent::Finish { reason, raw });
            self.done = true;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
