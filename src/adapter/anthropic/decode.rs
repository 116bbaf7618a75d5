//! Reads a whole reply of the messages API.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::lenient::text_or_json;
use super::super::{failure, tool_ids};
use super::wire::{Envelope, InBlock, InUsage};
use crate::error::Failure;
use crate::types::{FinishReason, ReasoningState, Reply, ToolCall, Usage};

/// Decodes a whole reply.
pub(in crate::adapter) fn reply(body: &[u8]) -> Result<Reply, Failure> {
    let json = failure::json_object(body)?;
    let envelope: Envelope<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if envelope.kind.0 == "error" || envelope.error.is_some_and(|error| error.get() != "null") {
        return Err(failure::in_band(json));
    }
    let Some(blocks) = envelope.content else {
        return Err(failure::no_answer(json, "the reply has no content"));
    };

    let mut reply = Reply { id: envelope.id.into_owned(), model: envelope.model.into_owned(), ..Reply::default() };
    let mut thoughts = Vec::new();
    for block in blocks {
        thoughts.extend(thought(&block));
        match &*block.kind.0 {
            "text" => reply.content.push_str(&block.text.0),
            "thinking" => reply.reasoning.get_or_insert_default().push_str(&block.thinking.0),
            "tool_use" => {
                let input = text_or_json(block.input);
                let arguments = if input.is_empty() { "{}".into() } else { input };
                let id = block.id.into_owned();
                let id = if id.is_empty() { tool_ids::invented(&reply.id, reply.tool_calls.len()) } else { id };
                reply.tool_calls.push(ToolCall::function(id, block.name.into_owned(), arguments));
            }
            // `redacted_thinking` is encrypted, server tools report what they did: neither is said to the caller.
            _ => {}
        }
    }
    reply.reasoning_state = state(thoughts).map(ReasoningState::unsigned);
    reply.raw_finish_reason = envelope.stop_reason.non_empty();
    reply.finish_reason = finish(reply.raw_finish_reason.as_deref(), !reply.tool_calls.is_empty());
    if reply.finish_reason == FinishReason::ContentFilter {
        reply.refusal = envelope.stop_details.and_then(|details| details.explanation.non_empty());
    }
    reply.usage = usage(envelope.usage);
    let silent = reply.content.is_empty() && reply.tool_calls.is_empty();
    if reply.is_empty_stop() || silent && reply.raw_finish_reason.is_none() {
        return Err(failure::empty_stop(reply.usage));
    }
    Ok(reply)
}

/// A block that the API wants back as it was, where a later request goes on from this answer.
pub(super) fn thought(block: &InBlock<'_>) -> Option<Value> {
    match &*block.kind.0 {
        "thinking" if !block.signature.is_empty() => {
            let (thinking, signature) = (&*block.thinking.0, &*block.signature.0);
            Some(json!({ "type": "thinking", "thinking": thinking, "signature": signature }))
        }
        "redacted_thinking" => Some(json!({ "type": "redacted_thinking", "data": &*block.data.0 })),
        _ => None,
    }
}

/// The state of an answer's reasoning.
pub(super) fn state(thoughts: Vec<Value>) -> Option<Value> {
    if thoughts.is_empty() { None } else { Some(json!({ "blocks": thoughts })) }
}

pub(super) fn finish(raw: Option<&str>, has_calls: bool) -> FinishReason {
    match raw.unwrap_or_default() {
        "end_turn" | "stop_sequence" if has_calls => FinishReason::ToolCalls,
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

fn usage(raw: Option<&RawValue>) -> Option<Usage> {
    counted(&serde_json::from_str(raw?.get()).ok()?)
}

/// Usage in one meaning: Anthropic's `input_tokens` leaves out what the cache served and what was written to it.
pub(super) fn counted(said: &InUsage) -> Option<Usage> {
    if said.input_tokens.0.is_none() && said.output_tokens.0.is_none() {
        return None;
    }
    let cached = said.cache_read_input_tokens.0.unwrap_or(0);
    let written = said.cache_creation_input_tokens.0.unwrap_or(0);
    let prompt = said.input_tokens.0.unwrap_or(0).saturating_add(cached).saturating_add(written);
    Some(Usage {
        cached_tokens: cached,
        cache_write_tokens: written,
        cache_write_1h_tokens: said
            .cache_creation
            .as_ref()
            .and_then(|written| written.ephemeral_1h_input_tokens.0)
            .unwrap_or(0),
        reasoning_tokens: said
            .output_tokens_details
            .as_ref()
            .and_then(|details| details.thinking_tokens.0)
            .unwrap_or(0),
        ..Usage::reported(prompt, said.output_tokens.0.unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FailureClass;

    fn decode(json: &str) -> Reply {
        reply(json.as_bytes()).expect(json)
    }

    fn refused(body: &str) -> FailureClass {
        reply(body.as_bytes()).expect_err(body).class
    }

    #[test]
    fn blocks_become_text_reasoning_and_calls() {
        let reply = decode(
            r#"{"id":"m","type":"message","model":"c","content":[{"type":"thinking","thinking":"hm","signature":"s"},
                {"type":"redacted_thinking","data":"x"},{"type":"text","text":"a"},{"type":"text","text":"b\n"},
                {"type":"tool_use","id":"t","name":"f","input":{"x":[1]}},{"type":"tool_use","id":"u","name":"g"}],
                "stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#,
        );
        assert_eq!((reply.content.as_str(), reply.reasoning.as_deref()), ("ab\n", Some("hm")));
        assert_eq!(
            reply.tool_calls,
            [ToolCall::function("t", "f", r#"{"x":[1]}"#), ToolCall::function("u", "g", "{}")]
        );
        assert_eq!(reply.finish_reason, FinishReason::ToolCalls);
    }

    #[test]
    fn stop_reasons_become_ours() {
        for (raw, ours) in [
            ("\"end_turn\"", FinishReason::Stop),
            ("\"stop_sequence\"", FinishReason::Stop),
            ("\"max_tokens\"", FinishReason::Length),
            ("\"model_context_window_exceeded\"", FinishReason::Length),
            ("\"refusal\"", FinishReason::ContentFilter),
            ("\"pause_turn\"", FinishReason::Other),
            ("null", FinishReason::Other),
        ] {
            let json = format!(r#"{{"content":[{{"type":"text","text":"a"}}],"stop_reason":{raw}}}"#);
            assert_eq!(decode(&json).finish_reason, ours, "{raw}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_explanation() {
        let reply =
            decode(r#"{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"no"}}"#);
        assert_eq!(reply.refusal.as_deref(), Some("no"));
    }

    #[test]
    fn the_prompt_includes_what_the_cache_read_and_wrote() {
        let reply = decode(
            r#"{"content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":5,
                "cache_read_input_tokens":20,"cache_creation_input_tokens":3,"output_tokens":9,
                "cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2},
                "output_tokens_details":{"thinking_tokens":4}}}"#,
        );
        let expected = Usage {
            cached_tokens: 20,
            cache_write_tokens: 3,
            cache_write_1h_tokens: 2,
            reasoning_tokens: 4,
            ..Usage::reported(28, 9)
        };
        assert_eq!(reply.usage, Some(expected));
    }

    #[test]
    fn a_reply_that_is_no_answer_is_a_failure() {
        for (body, class) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                FailureClass::Overloaded,
            ),
            (r#"{"type":"error","error":{"type":"rate_limit_error","message":"x"}}"#, FailureClass::RateLimit),
            (r#"{"content":[],"stop_reason":"end_turn"}"#, FailureClass::BadReply),
            (r#"{"content":null,"stop_reason":"end_turn"}"#, FailureClass::BadReply),
            (r#"{"content":[{"type":"text","text":"a"#, FailureClass::BadReply),
            ("<html></html>", FailureClass::BadReply),
            ("[]", FailureClass::BadReply),
            ("", FailureClass::BadReply),
        ] {
            assert_eq!(refused(body), class, "{body}");
        }
    }
}
