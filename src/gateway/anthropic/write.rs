//! An answer, as Anthropic writes it.

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::thoughts;
use crate::types::{ChatResponse, FinishReason, Reply, ToolCall, Usage};

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub role: &'static str,
    pub model: &'a str,
    pub content: Vec<Block<'a>>,
    pub stop_reason: Option<&'a str>,
    pub stop_sequence: Option<()>,
    pub usage: Tokens,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: String },
    ToolUse { id: &'a str, name: &'a str, input: Input<'a> },
}

/// The arguments of a call as an object: what is none goes as an empty one, since the API has no other.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Input<'a> {
    Json(&'a RawValue),
    Nothing {},
}

/// Anthropic's `input_tokens` leaves out what the cache served and what was written to it.
#[derive(Serialize, Clone, Copy, Default)]
pub(super) struct Tokens {
    pub input_tokens: u64,
    pub cache_creation_input_tokens: u64,
    pub cache_read_input_tokens: u64,
    pub output_tokens: u64,
}

impl<'a> Message<'a> {
    pub fn of(response: &'a ChatResponse) -> Self {
        let Reply { id, model, content, tool_calls, refusal, reasoning, reasoning_state, .. } = &response.reply;
        let mut blocks = Vec::new();
        if reasoning.is_some() || reasoning_state.is_some() {
            let thinking = reasoning.as_deref().unwrap_or_default();
            let signature = reasoning_state.as_deref().map(thoughts::sealed).unwrap_or_default();
            blocks.push(Block::Thinking { thinking, signature });
        }
        let texts = [Some(content.as_str()), refusal.as_deref()].into_iter().flatten();
        blocks.extend(texts.filter(|text| !text.is_empty()).map(|text| Block::Text { text }));
        blocks.extend(tool_calls.iter().map(call));
        Self {
            id,
            kind: "message",
            role: "assistant",
            model,
            content: blocks,
            stop_reason: Some(stop_reason(response.reply.finish_reason, response.reply.raw_finish_reason.as_deref())),
            stop_sequence: None,
            usage: Tokens::of(&response.usage),
        }
    }
}

fn call(call: &ToolCall) -> Block<'_> {
    let json = serde_json::from_str::<&RawValue>(call.function.arguments.trim()).ok();
    let input = json.filter(|json| json.get().starts_with('{')).map_or(Input::Nothing {}, Input::Json);
    Block::ToolUse { id: &call.id, name: &call.function.name, input }
}

impl Tokens {
    pub fn of(usage: &Usage) -> Self {
        let cached = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(cached),
            cache_creation_input_tokens: usage.cache_write_tokens,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
        }
    }
}

/// Anthropic's own word where it is one.
pub(super) fn stop_reason(reason: FinishReason, raw: Option<&str>) -> &'static str {
    const OWN: [&str; 2] = ["stop_sequence", "pause_turn"];
    match reason {
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Stop | FinishReason::Other => OWN.into_iter().find(|own| raw == Some(own)).unwrap_or("end_turn"),
    }
}
