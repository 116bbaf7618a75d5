//! Reads Cohere's event stream: named events, one call open at a time, `message-end` at the end.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::event_stream::{Dialect, EventStream};
use super::super::failure;
use super::super::lenient::text_or_json;
use super::super::sse::Event;
use super::decode;
use super::wire::{CallDelta, ContentDelta, Delta, EndDelta, InCall, InEvent, PlanDelta};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, StreamEvent, ToolCallDelta};

pub(in crate::adapter) type Decoder = EventStream<State>;

/// More calls than any model makes in one answer; without a bound a broken server could fill the memory with them.
const MAX_CALLS: usize = 1024;

#[derive(Debug, Default)]
pub(in crate::adapter) struct State {
    id: String,
    started: bool,
    calls: Vec<Call>,
    /// Some text or reasoning was said.
    spoke: bool,
    done: bool,
}

#[derive(Debug)]
struct Call {
    /// How the stream names it.
    index: Option<u64>,
    /// The beginning of the arguments while it may still become `null`, which means none.
    held: String,
    has_arguments: bool,
}

impl Dialect for State {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let data = event.data.trim_ascii();
        // Version 1 ended with the mark of OpenAI's dialect.
        if self.done || data.is_empty() || data.starts_with(b"[DONE]") {
            return Ok(());
        }
        if event.name == b"error" {
            return Err(failure::in_band(data));
        }
        let json = failure::json_object(data)?;
        let said: InEvent<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
        if decode::real_error(said.error).is_some() {
            return Err(failure::in_band(json));
        }
        let kind = if said.kind.is_empty() { String::from_utf8_lossy(event.name) } else { said.kind.0 };
        match (&*kind, said.delta) {
            ("message-start", _) => {
                self.id = said.id.into_owned();
                self.start(out);
            }
            ("content-start" | "content-delta", Some(delta)) => {
                let part = read::<Delta<ContentDelta<'_>>>(delta)?.message.content.unwrap_or_default();
                self.say(&part.thinking.0, StreamEvent::Reasoning, out);
                self.say(&part.text.0, StreamEvent::Text, out);
            }
            ("tool-plan-delta", Some(delta)) => {
                let plan = read::<Delta<PlanDelta<'_>>>(delta)?.message.tool_plan;
                self.say(&plan.0, StreamEvent::Reasoning, out);
            }
            ("tool-call-start", Some(delta)) => {
                let call = read::<Delta<CallDelta<'_>>>(delta)?.message.tool_calls.unwrap_or_default();
                self.begin_call(said.index.0, call, out)?;
            }
            ("tool-call-delta", Some(delta)) => {
                let call = read::<Delta<CallDelta<'_>>>(delta)?.message.tool_calls.unwrap_or_default();
                self.go_on(said.index.0, &call, out);
            }
            ("message-end", delta) => self.on_end_event(delta, out)?,
            ("", _) => {
                // Not an event at all. What says nothing is passed over.
                let failure = failure::no_answer(json, "not an event");
                return if failure.class == FailureClass::BadReply { Ok(()) } else { Err(failure) };
            }
            // Citations, ends of parts, and what will be invented.
            _ => {}
        }
        Ok(())
    }

    fn whole(&self, document: &[u8]) -> Result<Reply, Failure> {
        decode::reply(document)
    }

    fn on_end(&mut self, _: &mut VecDeque<StreamEvent>) -> Result<bool, Failure> {
        Ok(self.done)
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

fn read<'a, T: Deserialize<'a>>(delta: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(delta.get()).map_err(|error| failure::unreadable(delta.get().as_bytes(), error))
}

impl State {
    fn start(&mut self, out: &mut VecDeque<StreamEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push_back(StreamEvent::Start { id: self.id.clone(), model: String::new(), created: 0 });
        }
    }

    fn say(&mut self, text: &str, event: fn(String) -> StreamEvent, out: &mut VecDeque<StreamEvent>) {
        if !text.is_empty() {
            self.start(out);
            self.spoke = true;
            out.push_back(event(text.to_owned()));
        }
    }

    fn begin_call(
        &mut self,
        index: Option<u64>,
        call: InCall<'_>,
        out: &mut VecDeque<StreamEvent>,
    ) -> Result<(), Failure> {
        let number = self.calls.len();
        if number >= MAX_CALLS {
            return Err(Failure::new(FailureClass::BadReply, "the stream holds too many tool calls"));
        }
        self.start(out);
        let function = call.function.unwrap_or_default();
        let mut open = Call { index, held: String::new(), has_arguments: false };
        out.push_back(StreamEvent::ToolCall(ToolCallDelta {
            index: number as u32,
            id: Some(decode::known_id(call.id.into_owned(), &self.id, number)),
            name: Some(function.name.into_owned()),
            arguments: open.release(&text_or_json(function.arguments)),
        }));
        self.calls.push(open);
        Ok(())
    }

    /// The next piece of a call's arguments. A piece of a call that never began belongs to nobody.
    fn go_on(&mut self, index: Option<u64>, piece: &InCall<'_>, out: &mut VecDeque<StreamEvent>) {
        let at = self.calls.iter().rposition(|call| call.index == index).or(self.calls.len().checked_sub(1));
        let Some((number, call)) = at.and_then(|at| Some((at as u32, self.calls.get_mut(at)?))) else { return };
        let arguments = text_or_json(piece.function.as_ref().and_then(|function| function.arguments));
        let arguments = call.release(&arguments);
        if !arguments.is_empty() {
            out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                index: number,
                arguments,
                ..ToolCallDelta::default()
            }));
        }
    }

    fn on_end_event(&mut self, delta: Option<&RawValue>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let (mut raw, mut usage) = (None, None);
        if let Some(delta) = delta {
            let end: EndDelta<'_> = read(delta)?;
            raw = end.finish_reason.non_empty();
            usage = decode::usage(end.usage);
            if decode::real_error(end.error).is_some() {
                return Err(Failure { code: raw, ..failure::in_band(delta.get().as_bytes()) });
            }
        }
        let reason = decode::finish(raw.as_deref(), !self.calls.is_empty())?;
        if !self.spoke && self.calls.is_empty() && (reason == FinishReason::Stop || raw.is_none()) {
            return Err(failure::empty_stop(None));
        }
        self.start(out);
        out.extend((0..).zip(&self.calls).filter(|(_, call)| !call.has_arguments).map(|(index, _)| {
            StreamEvent::ToolCall(ToolCallDelta { index, arguments: "{}".to_owned(), ..ToolCallDelta::default() })
        }));
        out.extend(usage.map(StreamEvent::Usage));
        out.push_back(StreamEvent::Finish { reason, raw });
        self.done = true;
        Ok(())
    }
}

impl Call {
    /// What of the arguments can be told now.
    fn release(&mut self, piece: &str) -> String {
        if self.has_arguments {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        if "null".starts_with(self.held.trim()) {
            self.held.truncate("null".len()); // white space must not pile up
            return String::new();
        }
        self.has_arguments = true;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
