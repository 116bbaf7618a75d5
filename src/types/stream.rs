//! A streamed answer: a closed set of events, and the accumulator that folds them into the whole answer.

use serde_json::Value;

use super::message::{ReasoningState, ToolCall};
use super::reply::{FinishReason, Reply};
use super::usage::Usage;

/// One thing a stream says. [`StreamEvent::Finish`] comes once; usage may come before or after it.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// Who answers. Comes once, before any content; fields the provider did not send are empty.
    Start {
        id: String,
        model: String,
        created: u64,
    },
    Text(String),
    Reasoning(String),
    Refusal(String),
    ToolCall(ToolCallDelta),
    /// The [`ReasoningState`] of the answer so far, in the provider's own shape. A later one replaces an earlier one; the
    /// last comes before the finish.
    ReasoningState(Value),
    /// What is known so far; a later one replaces an earlier one.
    Usage(Usage),
    Finish {
        reason: FinishReason,
        raw: Option<String>,
    },
}

/// A piece of a tool call. `id` and `name` come with the first piece of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCallDelta {
    /// Which call of this answer, counted from 0.
    pub index: u32,
    pub id: Option<String>,
    pub name: Option<String>,
    /// The next piece of the arguments' text.
    pub arguments: String,
}

impl StreamEvent {
    /// After an event of this kind was handed to the consumer, the call can no longer move to another provider.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Refusal(text) => !text.is_empty(),
            Self::ToolCall(_) | Self::Finish { .. } => true,
            Self::Start { .. } | Self::ReasoningState(_) | Self::Usage(_) => false,
        }
    }

    /// Bytes this event holds in a buffer, about.
    pub fn size(&self) -> usize {
        const FIXED: usize = 32; // the enum itself
        FIXED
            + match self {
                Self::Start { id, model, .. } => id.len() + model.len(),
                Self::Text(text) | Self::Reasoning(text) | Self::Refusal(text) => text.len(),
                Self::ToolCall(delta) => {
                    delta.arguments.len()
                        + delta.id.as_ref().map_or(0, String::len)
                        + delta.name.as_ref().map_or(0, String::len)
                }
                Self::ReasoningState(_) | Self::Usage(_) | Self::Finish { .. } => 0,
            }
    }
}

/// Folds stream events into the answer they spell.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    reply: Reply,
    finished: bool,
}

impl Accumulator {
    pub fn push(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Start { id, model, created } => {
                self.reply.id.clone_from(id);
                self.reply.model.clone_from(model);
                self.reply.created = *created;
            }
            StreamEvent::Text(text) => self.reply.content.push_str(text),
            StreamEvent::Reasoning(text) => self.reply.reasoning.get_or_insert_default().push_str(text),
            StreamEvent::Refusal(text) => self.reply.refusal.get_or_insert_default().push_str(text),
            StreamEvent::ToolCall(delta) => self.push_tool_call(delta),
            StreamEvent::ReasoningState(state) => {
                self.reply.reasoning_state = Some(ReasoningState::unsigned(state.clone()));
            }
            StreamEvent::Usage(usage) => self.reply.usage = Some(*usage),
            StreamEvent::Finish { reason, raw } => {
                self.finished = true;
                self.reply.finish_reason = *reason;
                self.reply.raw_finish_reason.clone_from(raw);
            }
        }
    }

    fn push_tool_call(&mut self, delta: &ToolCallDelta) {
        let index = delta.index as usize;
        let calls = &mut self.reply.tool_calls;
        // Decoders number calls without gaps, so this adds at most one.
        if index >= calls.len() {
            calls.push(ToolCall::function("", "", ""));
        }
        let last = calls.len() - 1;
        let call = &mut calls[index.min(last)];
        if let Some(id) = &delta.id {
            call.id.clone_from(id);
        }
        if let Some(name) = &delta.name {
            call.function.name.clone_from(name);
        }
        call.function.arguments.push_str(&delta.arguments);
    }

    /// Lets go of everything said so far; what is said later is kept again.
    pub fn forget_content(&mut self) {
        self.reply.content = String::new();
        self.reply.reasoning = None;
        self.reply.reasoning_state = None;
        self.reply.refusal = None;
        self.reply.tool_calls = Vec::new();
    }

    /// A finish reason has been seen.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// What has been said so far.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    pub fn into_reply(self) -> Reply {
        self.reply
    }
}
