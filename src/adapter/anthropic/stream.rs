//! Reads a stream of the messages API: named events in, ours out.
//!
//! `message_start` says who answers and what the prompt cost, blocks of content follow piece by piece, `message_delta`
//! says why it stopped and what the answer cost, `message_stop` ends it. `data.type` repeats the name of the event and
//! is what counts. Events, blocks and deltas of kinds not known here are passed over, as the API's rules for versions
//! ask. Source: the types of @anthropic-ai/sdk 1.12.0, `resources/messages/messages.ts`.

use std::collections::VecDeque;

use serde_json::Value;

use super::super::event_stream::{Dialect, EventStream};
use super::super::lenient::{Text, text_or_json};
use super::super::sse::{Event, MAX_EVENT};
use super::super::{failure, tool_ids};
use super::decode;
use super::wire::{Envelope, InBlock, InDelta, InEvent, InUsage, StopDetails};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, StreamEvent, ToolCallDelta, Usage};

/// Blocks are told one after the other; a broken server that never closes one could fill the memory with them.
const MAX_OPEN: usize = 1024;
/// What a block of thoughts takes beside its text, about.
const BLOCK: usize = 64;

/// The decoder of one stream.
pub(in crate::adapter) type Decoder = EventStream<State>;

#[derive(Debug, Default)]
pub(in crate::adapter) struct State {
    started: bool,
    id: String,
    /// Calls whose block is still open, by the index of the block.
    open: Vec<OpenCall>,
    calls: u32,
    /// Some text, reasoning or refusal was said.
    spoke: bool,
    finished: bool,
    done: bool,
    counts: InUsage,
    usage: Option<Usage>,
    /// Blocks of thoughts that came so far, and the bytes of those, about.
    thoughts: Vec<Value>,
    thought: usize,
    /// Those of them that were told.
    told: usize,
    /// The one that is still open: its text and what it is signed with.
    thinking: Option<(String, String)>,
}

#[derive(Debug)]
struct OpenCall {
    index: u64,
    number: u32,
    /// What `content_block_start` had as input: the whole of it where no pieces follow.
    input: String,
    has_pieces: bool,
}

impl Dialect for State {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let data = event.data.trim_ascii();
        if self.done || data.is_empty() {
            return Ok(());
        }
        let json = failure::json_object(data)?;
        let said: InEvent<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
        if said.kind.0 == "error" || event.name == b"error" || said.error.is_some_and(|error| error.get() != "null") {
            return Err(failure::in_band(json));
        }
        match &*said.kind.0 {
            "message_start" => self.on_start(said.message, out),
            "content_block_start" => return self.on_block(said.index.0.unwrap_or(0), said.content_block, out),
            "content_block_delta" => return self.on_delta(said.index.0.unwrap_or(0), said.delta, out),
            "content_block_stop" => {
                self.close(said.index.0, out);
                self.tell_thoughts(out);
            }
            "message_delta" => {
                self.start(String::new(), String::new(), out);
                self.count(said.usage, out);
                return self.on_finish(said.delta.unwrap_or_default(), out);
            }
            "message_stop" => return self.on_stop(out),
            _ => {}
        }
        Ok(())
    }

    fn whole(&self, document: &[u8]) -> Result<Reply, Failure> {
        decode::reply(document)
    }

    fn on_end(&mut self, _: &mut VecDeque<StreamEvent>) -> Result<bool, Failure> {
        Ok(self.done || self.finished)
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl State {
    fn on_start(&mut self, message: Option<Envelope<'_>>, out: &mut VecDeque<StreamEvent>) {
        let Some(message) = message else { return };
        self.start(message.id.into_owned(), message.model.into_owned(), out);
        self.count(message.usage, out);
    }

    fn start(&mut self, id: String, model: String, out: &mut VecDeque<StreamEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            self.id.clone_from(&id);
            out.push_back(StreamEvent::Start { id, model, created: 0 });
        }
    }

    /// `message_delta` carries running totals; newer versions repeat the prompt's part in it. The last of each counts.
    fn count(&mut self, raw: Option<&serde_json::value::RawValue>, out: &mut VecDeque<StreamEvent>) {
        let Some(said) = raw.and_then(|raw| serde_json::from_str::<InUsage>(raw.get()).ok()) else { return };
        self.counts.update(said);
        let usage = decode::counted(&self.counts);
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(StreamEvent::Usage));
        }
    }

    fn on_block(
        &mut self,
        index: u64,
        block: Option<InBlock<'_>>,
        out: &mut VecDeque<StreamEvent>,
    ) -> Result<(), Failure> {
        let Some(block) = block else { return Ok(()) };
        match &*block.kind.0 {
            "text" => self.say(&block.text.0, StreamEvent::Text, out),
            "thinking" => {
                self.close_thought();
                self.hold(BLOCK)?;
                self.keep_thought(&block.thinking.0, &block.signature.0)?;
                self.say(&block.thinking.0, StreamEvent::Reasoning, out);
            }
            "redacted_thinking" => {
                self.close_thought();
                self.hold(BLOCK + block.data.0.len())?;
                self.thoughts.extend(decode::thought(&block));
            }
            "tool_use" if !self.finished => {
                self.close(Some(index), out);
                let input = text_or_json(block.input).into_owned();
                let held: usize = self.open.iter().map(|call| call.input.len()).sum();
                if self.open.len() == MAX_OPEN || held + input.len() > MAX_EVENT {
                    return Err(Failure::new(FailureClass::BadReply, "the stream holds too many tool calls"));
                }
                self.start(String::new(), String::new(), out);
                let number = self.calls;
                self.calls += 1;
                let id = block.id.into_owned();
                let id = if id.is_empty() { tool_ids::invented(&self.id, number as usize) } else { id };
                self.open.push(OpenCall { index, number, input, has_pieces: false });
                out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                    index: number,
                    id: Some(id),
                    name: Some(block.name.into_owned()),
                    arguments: String::new(),
                }));
            }
            // Server tools report what they did; nobody above is told.
            _ => {}
        }
        Ok(())
    }

    fn on_delta(
        &mut self,
        index: u64,
        delta: Option<InDelta<'_>>,
        out: &mut VecDeque<StreamEvent>,
    ) -> Result<(), Failure> {
        let Some(delta) = delta else { return Ok(()) };
        match &*delta.kind.0 {
            "text_delta" => self.say(&delta.text.0, StreamEvent::Text, out),
            "thinking_delta" => {
                self.keep_thought(&delta.thinking.0, "")?;
                self.say(&delta.thinking.0, StreamEvent::Reasoning, out);
            }
            "signature_delta" => self.keep_thought("", &delta.signature.0)?,
            "input_json_delta" if !delta.partial_json.is_empty() => {
                let Some(call) = self.open.iter_mut().find(|call| call.index == index) else { return Ok(()) };
                call.has_pieces = true;
                out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                    index: call.number,
                    arguments: delta.partial_json.into_owned(),
                    ..ToolCallDelta::default()
                }));
            }
            // Citations belong to nobody above.
            _ => {}
        }
        Ok(())
    }

    /// Thoughts are kept whole, because they go back whole: with their text, or their signature is worth nothing.
    fn keep_thought(&mut self, text: &str, signature: &str) -> Result<(), Failure> {
        if self.finished {
            return Ok(());
        }
        self.hold(text.len() + signature.len())?;
        let (thinking, signed) = self.thinking.get_or_insert_default();
        thinking.push_str(text);
        signed.push_str(signature);
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.thought += bytes;
        if self.thought > MAX_EVENT {
            return Err(Failure::new(FailureClass::BadReply, "the stream holds too many thoughts"));
        }
        Ok(())
    }

    fn close_thought(&mut self) {
        let Some((thinking, signature)) = self.thinking.take() else { return };
        let block = InBlock {
            kind: Text("thinking".into()),
            thinking: Text(thinking.into()),
            signature: Text(signature.into()),
            ..InBlock::default()
        };
        self.thoughts.extend(decode::thought(&block));
    }

    /// A block is over: what it was signed with is known.
    fn tell_thoughts(&mut self, out: &mut VecDeque<StreamEvent>) {
        self.close_thought();
        if self.thoughts.len() > self.told {
            self.told = self.thoughts.len();
            out.extend(decode::state(self.thoughts.clone()).map(StreamEvent::ReasoningState));
        }
    }

    fn say(&mut self, text: &str, event: fn(String) -> StreamEvent, out: &mut VecDeque<StreamEvent>) {
        if !text.is_empty() && !self.finished {
            self.start(String::new(), String::new(), out);
            self.spoke = true;
            out.push_back(event(text.to_owned()));
        }
    }

    /// A block is over (`None`: all of them): a call that had no pieces gets the input it began with.
    fn close(&mut self, index: Option<u64>, out: &mut VecDeque<StreamEvent>) {
        self.open.retain_mut(|call| {
            if index.is_some_and(|index| index != call.index) {
                return true;
            }
            if !call.has_pieces {
                let input = std::mem::take(&mut call.input);
                out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                    index: call.number,
                    arguments: if input.is_empty() { "{}".to_owned() } else { input },
                    ..ToolCallDelta::default()
                }));
            }
            false
        });
    }

    fn on_finish(&mut self, delta: InDelta<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        match delta.stop_reason.non_empty() {
            Some(raw) if !self.finished => self.end(Some(raw), delta.stop_details, out),
            _ => Ok(()),
        }
    }

    fn end(
        &mut self,
        raw: Option<String>,
        details: Option<StopDetails<'_>>,
        out: &mut VecDeque<StreamEvent>,
    ) -> Result<(), Failure> {
        let reason = decode::finish(raw.as_deref(), self.calls > 0);
        if reason == FinishReason::Stop && !self.spoke {
            return Err(failure::empty_stop(None));
        }
        if reason == FinishReason::ContentFilter
            && let Some(explanation) = details.and_then(|details| details.explanation.non_empty())
        {
            self.say(&explanation, StreamEvent::Refusal, out);
        }
        self.start(String::new(), String::new(), out);
        self.close(None, out);
        self.tell_thoughts(out);
        self.finished = true;
        out.push_back(StreamEvent::Finish { reason, raw });
        Ok(())
    }

    /// `message_stop`, with or without a reason before it.
    fn on_stop(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if !self.finished {
            if !self.spoke && self.calls == 0 {
                return Err(failure::empty_stop(None));
            }
            self.end(None, None, out)?;
        }
        self.done = true;
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
