//! Reads a whole reply of Cohere's v2 chat, and the parts of one that its stream shares.

use serde_json::value::RawValue;

use super::super::lenient::text_or_json;
use super::super::{failure, tool_ids};
use super::wire::{Envelope, InCall, InMessage, InUsage};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, ToolCall, Usage};

/// Decodes a whole reply.
pub(in crate::adapter) fn reply(body: &[u8]) -> Result<Reply, Failure> {
    let json = failure::json_object(body)?;
    let envelope: Envelope<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if real_error(envelope.error).is_some() {
        return Err(failure::in_band(json));
    }
    // Errors have a `message`, too: a text.
    let Some(message) = envelope.message.filter(|message| message.get().starts_with('{')) else {
        return Err(failure::no_answer(json, "the reply has no message"));
    };
    let message: InMessage<'_> =
        serde_json::from_str(message.get()).map_err(|error| failure::unreadable(json, error))?;

    let mut reply = Reply { id: envelope.id.into_owned(), usage: usage(envelope.usage), ..Reply::default() };
    let mut reasoning = String::new();
    for part in message.content.into_iter().flatten() {
        reasoning.push_str(&part.thinking.0);
        reply.content.push_str(&part.text.0);
    }
    // What the model means to do with its tools is no part of the answer.
    reasoning.push_str(&message.tool_plan.0);
    reply.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
    for call in message.tool_calls.into_iter().flatten() {
        let call = tool_call(call, &reply.id, reply.tool_calls.len());
        reply.tool_calls.push(call);
    }
    reply.raw_finish_reason = envelope.finish_reason.non_empty();
    reply.finish_reason = finish(reply.raw_finish_reason.as_deref(), !reply.tool_calls.is_empty())?;
    let silent = reply.content.is_empty() && reply.tool_calls.is_empty();
    if reply.is_empty_stop() || silent && reply.raw_finish_reason.is_none() {
        Err(failure::empty_stop(reply.usage))
    } else {
        Ok(reply)
    }
}

/// `null` and `""` are ways of saying that there is no error.
pub(super) fn real_error(error: Option<&RawValue>) -> Option<&RawValue> {
    error.filter(|error| !matches!(error.get(), "null" | "\"\""))
}

fn tool_call(call: InCall<'_>, answer_id: &str, index: usize) -> ToolCall {
    let function = call.function.unwrap_or_default();
    let arguments = text_or_json(function.arguments);
    // A call without arguments has been seen with the text "null".
    let arguments = if matches!(arguments.trim(), "" | "null") { "{}".into() } else { arguments };
    ToolCall::function(known_id(call.id.into_owned(), answer_id, index), function.name.into_owned(), arguments)
}

pub(super) fn known_id(id: String, answer_id: &str, index: usize) -> String {
    if id.is_empty() { tool_ids::invented(answer_id, index) } else { id }
}

/// The finish reason in our vocabulary; what says that the upstream failed is a failure.
pub(super) fn finish(raw: Option<&str>, has_calls: bool) -> Result<FinishReason, Failure> {
    Ok(match raw.unwrap_or_default() {
        "COMPLETE" | "STOP_SEQUENCE" if has_calls => FinishReason::ToolCalls,
        "COMPLETE" | "STOP_SEQUENCE" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        word @ "ERROR" => return Err(broke_off(FailureClass::ServerError, word)),
        word @ "TIMEOUT" => return Err(broke_off(FailureClass::Timeout, word)),
        _ => FinishReason::Other,
    })
}

fn broke_off(class: FailureClass, word: &str) -> Failure {
    Failure { code: Some(word.to_owned()), ..Failure::new(class, "the provider broke off while it generated") }
}

/// Usage in one meaning: what the model read and wrote, not the smaller counts that are billed.
pub(super) fn usage(raw: Option<&RawValue>) -> Option<Usage> {
    let said: InUsage = serde_json::from_str(raw?.get()).ok()?;
    let tokens = said.tokens.or(said.billed_units)?;
    tokens.input_tokens.0.or(tokens.output_tokens.0)?;
    let count = |count: super::super::lenient::Count| count.0.unwrap_or(0);
    Some(Usage {
        cached_tokens: count(said.cached_tokens),
        ..Usage::reported(count(tokens.input_tokens), count(tokens.output_tokens))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Reply {
        reply(json.as_bytes()).expect(json)
    }

    #[test]
    fn parts_plan_and_calls_are_told_apart() {
        let reply = decode(
            r#"{"id":"i","finish_reason":"COMPLETE","message":{"role":"assistant","tool_plan":"plan",
                "content":[{"type":"thinking","thinking":"hm. "},{"type":"text","text":"a"},{"type":"text","text":"b"}],
                "tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"null"}},
                {"function":{"name":"g","arguments":"{\"x\":1}"}},{"id":"u","function":{"name":"h"}}],
                "citations":[{"start":0}]}}"#,
        );
        assert_eq!((reply.content.as_str(), reply.reasoning.as_deref()), ("ab", Some("hm. plan")));
        assert_eq!(reply.tool_calls[0], ToolCall::function("t", "f", "{}"));
        assert_eq!(reply.tool_calls[1].function.arguments, "{\"x\":1}");
        assert!(reply.tool_calls[1].id.starts_with("call_"));
        assert_eq!(reply.tool_calls[2], ToolCall::function("u", "h", "{}"));
        assert_eq!(reply.finish_reason, FinishReason::ToolCalls);
    }

    #[test]
    fn finish_reasons_become_ours() {
        for (raw, ours) in [
            ("COMPLETE", FinishReason::Stop),
            ("STOP_SEQUENCE", FinishReason::Stop),
            ("MAX_TOKENS", FinishReason::Length),
            ("TOOL_CALL", FinishReason::ToolCalls),
            ("ERROR_TOXIC", FinishReason::ContentFilter),
            ("BRAND_NEW", FinishReason::Other),
        ] {
            assert_eq!(finish(Some(raw), false).expect(raw), ours);
        }
        assert_eq!(finish(None, false), Ok(FinishReason::Other));
        for (raw, class) in [("ERROR", FailureClass::ServerError), ("TIMEOUT", FailureClass::Timeout)] {
            let failure = finish(Some(raw), true).expect_err(raw);
            assert_eq!((failure.class, failure.code.as_deref()), (class, Some(raw)));
        }
    }

    #[test]
    fn usage_is_what_was_read_not_what_is_billed() {
        let usage = |json: &str| usage(Some(serde_json::from_str(json).expect("JSON")));
        let expected = Some(Usage { cached_tokens: 4, ..Usage::reported(62, 7) });
        assert_eq!(
            usage(
                r#"{"billed_units":{"input_tokens":9,"output_tokens":6},"tokens":{"input_tokens":62.0,"output_tokens":7.0},
                    "cached_tokens":4}"#
            ),
            expected
        );
        assert_eq!(usage(r#"{"billed_units":{"input_tokens":9,"output_tokens":6}}"#), Some(Usage::reported(9, 6)));
        assert_eq!(usage("{}"), None);
        assert_eq!(usage(r#"{"tokens":{}}"#), None);
    }

    #[test]
    fn a_reply_that_is_no_answer_is_a_failure() {
        for (body, class) in [
            (r#"{"id":"i","message":"internal server error"}"#, FailureClass::ServerError),
            (r#"{"message":"too many tokens: size limit exceeded by 1204 tokens."}"#, FailureClass::ContextLength),
            (r#"{"error":{"message":"m","code":429}}"#, FailureClass::RateLimit),
            (r#"{"finish_reason":"COMPLETE"}"#, FailureClass::BadReply),
            (r#"{"finish_reason":"COMPLETE","message":{"content":[]}}"#, FailureClass::BadReply),
            (r#"{"finish_reason":"COMPLETE","message":{"content":7}}"#, FailureClass::BadReply),
        ] {
            assert_eq!(reply(body.as_bytes()).expect_err(body).class, class, "{body}");
        }
    }
}
