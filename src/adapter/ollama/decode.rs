//! Reads a whole reply of Ollama, and the parts of one that its stream shares.

use super::super::lenient::{Text, text_or_json};
use super::super::ndjson::Frame;
use super::super::{failure, hint, tool_ids};
use super::wire::{Envelope, InCall};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, ToolCall, Usage};

/// Decodes a whole reply.
pub(in crate::adapter) fn reply(body: &[u8]) -> Result<Reply, Failure> {
    let json = failure::json_object(body)?;
    let envelope = match frame(json)? {
        Frame::Known(envelope) => envelope,
        Frame::Unknown => return Err(failure::no_answer(json, "the reply has no message")),
        Frame::Corrupt => return Err(failure::unreadable(json, "it breaks off or is malformed")),
    };
    if !envelope.done.0 {
        return Err(Failure::new(FailureClass::StreamTruncated, "the reply says that it is not done"));
    }
    let usage = usage(&envelope);
    let message = envelope.message.unwrap_or_default();
    let seed = id_seed(&envelope.created_at);
    let calls = message.tool_calls.into_iter().flatten().enumerate();
    let tool_calls: Vec<ToolCall> = calls.map(|(index, call)| tool_call(call, &seed, index)).collect();
    let raw = envelope.done_reason.non_empty();
    let reply = Reply {
        created: created(&envelope.created_at),
        model: envelope.model.into_owned(),
        content: message.content.into_owned(),
        reasoning: message.thinking.non_empty(),
        finish_reason: finish(raw.as_deref(), !tool_calls.is_empty()),
        raw_finish_reason: raw,
        tool_calls,
        usage,
        ..Reply::default()
    };
    let silent = reply.content.is_empty() && reply.tool_calls.is_empty();
    if reply.is_empty_stop() || silent && reply.raw_finish_reason.is_none() {
        Err(failure::empty_stop(reply.usage))
    } else {
        Ok(reply)
    }
}

/// Reads a reply or a line; an error in it is the failure it describes.
pub(super) fn frame(json: &[u8]) -> Result<Frame<Envelope<'_>>, Failure> {
    let real = |envelope: &Envelope<'_>| envelope.error.is_some_and(|error| !matches!(error.get(), "null" | "\"\""));
    match Frame::<Envelope<'_>>::read(json, |frame| frame.message.is_some() || frame.done.0 || real(frame)) {
        Frame::Known(frame) if real(&frame) => Err(failure::in_band(json)),
        frame => Ok(frame),
    }
}

/// There is no id of the answer; what tells answers apart is when they were made.
pub(super) fn id_seed(created_at: &Text<'_>) -> String {
    created_at.0.as_ref().to_owned()
}

/// A call; its arguments are an object, and older servers give it no id.
pub(super) fn tool_call(call: InCall<'_>, seed: &str, index: usize) -> ToolCall {
    let function = call.function.unwrap_or_default();
    let arguments = text_or_json(function.arguments);
    let arguments = if arguments.is_empty() { "{}".into() } else { arguments };
    let id = call.id.non_empty().unwrap_or_else(|| tool_ids::invented(seed, index));
    ToolCall::function(id, function.name.into_owned(), arguments)
}

pub(super) fn created(created_at: &Text<'_>) -> u64 {
    // A float becomes the nearest number it can be; a time before 1970 is none.
    hint::rfc3339(&created_at.0).map_or(0, |millis| (millis / 1e3) as u64)
}

pub(super) fn finish(raw: Option<&str>, has_calls: bool) -> FinishReason {
    match raw.unwrap_or_default() {
        // There is no word for calls; older servers have none at all.
        "stop" | "" if has_calls => FinishReason::ToolCalls,
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    }
}

/// Usage, if both counts are there: half of it would be taken for the whole.
pub(super) fn usage(envelope: &Envelope<'_>) -> Option<Usage> {
    Some(Usage::reported(envelope.prompt_eval_count.0?, envelope.eval_count.0?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Reply {
        reply(json.as_bytes()).expect(json)
    }

    #[test]
    fn a_reply_gives_what_was_said_and_when() {
        let reply = decode(
            r#"{"model":"m","created_at":"2026-11-21T22:40:00.123456789Z","message":{"role":"assistant","content":"a",
                "thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"x":[1]}}},{"id":"i","function":
                {"index":1,"name":"g"}}]},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}"#,
        );
        assert_eq!((reply.content.as_str(), reply.reasoning.as_deref()), ("a", Some("hm")));
        assert_eq!((reply.model.as_str(), reply.created), ("m", 1_795_300_800));
        assert_eq!(
            (reply.tool_calls[0].function.arguments.as_str(), reply.tool_calls[0].id.len()),
            (r#"{"x":[1]}"#, 21)
        );
        assert_eq!(reply.tool_calls[1], ToolCall::function("i", "g", "{}"));
        assert_eq!((reply.finish_reason, reply.usage), (FinishReason::ToolCalls, Some(Usage::reported(3, 2))));
    }

    #[test]
    fn invented_ids_differ_from_answer_to_answer() {
        let id = |at: &str| {
            let json = format!(
                r#"{{"created_at":"{at}","message":{{"tool_calls":[{{"function":{{"name":"f"}}}}]}},"done":true}}"#
            );
            decode(&json).tool_calls[0].id.clone()
        };
        assert_eq!(id("2026-11-21T22:40:00.1Z"), id("2026-11-21T22:40:00.1Z"));
        assert_ne!(id("2026-11-21T22:40:00.1Z"), id("2026-11-21T22:40:00.2Z"));
    }

    #[test]
    fn done_reasons_become_ours() {
        for (raw, calls, ours) in [
            ("stop", false, FinishReason::Stop),
            ("stop", true, FinishReason::ToolCalls),
            ("length", true, FinishReason::Length),
            ("load", false, FinishReason::Other),
            ("unload", false, FinishReason::Other),
            ("", false, FinishReason::Other),
            ("", true, FinishReason::ToolCalls),
        ] {
            assert_eq!(finish(Some(raw), calls), ours, "{raw}");
        }
    }

    #[test]
    fn a_count_that_is_left_out_makes_usage_unknown() {
        let usage = |counts: &str| {
            decode(&format!(r#"{{"message":{{"content":"a"}},"done":true,"done_reason":"stop"{counts}}}"#)).usage
        };
        assert_eq!(usage(r#","eval_count":2"#), None);
        assert_eq!(usage(r#","prompt_eval_count":1,"eval_count":2"#), Some(Usage::reported(1, 2)));
    }

    #[test]
    fn a_reply_that_is_no_answer_is_a_failure() {
        for (body, class) in [
            (r#"{"error":"llama runner process has terminated"}"#, FailureClass::ServerError),
            (r#"{"error":"model 'm' not found"}"#, FailureClass::ModelNotFound),
            (r#"{"message":"slow down","code":429}"#, FailureClass::RateLimit),
            (r#"{"message":{"content":"a"},"done":false}"#, FailureClass::StreamTruncated),
            (r#"{"message":{"content":""},"done":true,"done_reason":"stop"}"#, FailureClass::BadReply),
            (r#"{"embeddings":[[0.1]]}"#, FailureClass::BadReply),
        ] {
            assert_eq!(reply(body.as_bytes()).expect_err(body).class, class, "{body}");
        }
    }
}
