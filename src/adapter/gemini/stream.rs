//! Reads Gemini's event stream: every event is a reply in small, and nothing marks the end.
//!
//! A finish reason makes the stream whole. It is told at the end of the bytes only, because text may come with it or
//! after it, and older models repeat it in every event. Usage is cumulative: the last one counts.

use std::collections::VecDeque;

use super::super::event_stream::{Dialect, EventStream};
use super::super::failure;
use super::super::sse::Event;
use super::decode;
use super::signatures::Signatures;
use super::wire::Candidate;
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, StreamEvent, ToolCallDelta, Usage};

pub(in crate::adapter) type Decoder = EventStream<State>;

#[derive(Debug, Default)]
pub(in crate::adapter) struct State {
    started: bool,
    id: String,
    /// How many calls were told.
    calls: u32,
    /// Some text or reasoning was said.
    spoke: bool,
    /// The last finish reason and its words.
    finish: Option<(String, Option<String>)>,
    /// The prompt was blocked, for this reason.
    blocked: Option<(String, Option<String>)>,
    usage: Option<Usage>,
    signatures: Signatures,
    told: bool,
}

impl Dialect for State {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let data = event.data.trim_ascii();
        // The end mark of another dialect, which proxies add.
        if data.is_empty() || data.starts_with(b"[DONE]") {
            return Ok(());
        }
        if event.name == b"error" {
            return Err(failure::in_band(data));
        }
        let json = failure::json_object(data)?;
        let chunk = decode::envelope(json)?;
        let usage = decode::usage(chunk.usage_metadata);
        let blocked = decode::blocked(chunk.prompt_feedback);
        if chunk.candidates.is_none() && blocked.is_none() && usage.is_none() && chunk.response_id.is_empty() {
            // Not a chunk at all. What says nothing is passed over.
            let failure = failure::no_answer(json, "not a chunk");
            return if failure.class == FailureClass::BadReply { Ok(()) } else { Err(failure) };
        }
        if !self.started {
            self.started = true;
            self.id = chunk.response_id.into_owned();
            out.push_back(StreamEvent::Start {
                id: self.id.clone(),
                model: chunk.model_version.into_owned(),
                created: 0,
            });
        }
        if let Some(candidate) = decode::first(chunk.candidates) {
            self.on_candidate(candidate, out)?;
        }
        if blocked.is_some() {
            self.blocked = blocked;
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(StreamEvent::Usage));
        }
        Ok(())
    }

    fn whole(&self, document: &[u8]) -> Result<Reply, Failure> {
        decode::reply(document)
    }

    fn on_end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<bool, Failure> {
        if self.told {
            return Ok(true);
        }
        let (reason, raw, words) = match (self.finish.take(), self.blocked.take()) {
            (Some((raw, words)), _) => (decode::finish(&raw, words.as_deref(), self.calls > 0)?, raw, words),
            (None, Some((raw, words))) if !self.spoke => (FinishReason::ContentFilter, raw, words),
            _ => return Ok(false),
        };
        if reason == FinishReason::Stop && !self.spoke {
            return Err(failure::empty_stop(None));
        }
        if reason == FinishReason::ContentFilter {
            out.extend(words.map(StreamEvent::Refusal));
        }
        out.extend(std::mem::take(&mut self.signatures).finish().map(StreamEvent::ReasoningState));
        out.push_back(StreamEvent::Finish { reason, raw: Some(raw) });
        self.told = true;
        Ok(true)
    }

    /// Never: only the end of the bytes says so.
    fn is_done(&self) -> bool {
        false
    }
}

impl State {
    fn on_candidate(&mut self, candidate: Candidate<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        for part in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
            let signature = part.thought_signature.0;
            if let Some(call) = part.function_call {
                let call = decode::tool_call(call, &self.id, self.calls as usize);
                self.signatures.of_call(&call.id, &signature)?;
                out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                    index: self.calls,
                    id: Some(call.id),
                    name: Some(call.function.name),
                    arguments: call.function.arguments,
                }));
                self.calls += 1;
                continue;
            }
            self.signatures.of_text(&signature)?;
            if !part.text.is_empty() {
                self.spoke = true;
                let text = part.text.into_owned();
                out.push_back(if part.thought.0 { StreamEvent::Reasoning(text) } else { StreamEvent::Text(text) });
            }
        }
        if let Some(raw) = candidate.finish_reason.non_empty() {
            let words = candidate.finish_message.non_empty();
            // What the model's server could not use is known at once.
            decode::finish(&raw, words.as_deref(), self.calls > 0)?;
            self.finish = Some((raw, words));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
