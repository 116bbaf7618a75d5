//! Reads a whole reply of Gemini, and the parts of one that its stream shares.
//!
//! A prompt that was blocked has no candidates and is an answer all the same: the content filter's. No candidates for
//! no reason is none.

use serde_json::value::RawValue;

use super::super::lenient::text_or_json;
use super::super::{failure, tool_ids};
use super::signatures::Signatures;
use super::wire::{Candidate, Envelope, InCall, InUsage, ModalityCount, PromptFeedback};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, ReasoningState, Reply, ToolCall, Usage};

/// Decodes a whole reply.
pub(in crate::adapter) fn reply(body: &[u8]) -> Result<Reply, Failure> {
    let json = failure::json_object(body)?;
    let mut envelope = envelope(json)?;
    let mut reply = Reply { usage: usage(envelope.usage_metadata), ..Reply::default() };
    reply.id = std::mem::take(&mut envelope.response_id).into_owned();
    reply.model = std::mem::take(&mut envelope.model_version).into_owned();
    let Some(candidate) = first(envelope.candidates) else {
        let Some((raw, message)) = blocked(envelope.prompt_feedback) else {
            return Err(failure::no_answer(json, "the reply has no candidates"));
        };
        return Ok(Reply {
            finish_reason: FinishReason::ContentFilter,
            raw_finish_reason: Some(raw),
            refusal: message,
            ..reply
        });
    };
    let mut signatures = Signatures::default();
    for part in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
        let signature = part.thought_signature.0;
        if let Some(call) = part.function_call {
            let call = tool_call(call, &reply.id, reply.tool_calls.len());
            signatures.of_call(&call.id, &signature)?;
            reply.tool_calls.push(call);
            continue;
        }
        signatures.of_text(&signature)?;
        if part.thought.0 {
            reply.reasoning.get_or_insert_default().push_str(&part.text.0);
        } else {
            reply.content.push_str(&part.text.0);
        }
    }
    reply.reasoning_state = signatures.finish().map(ReasoningState::unsigned);
    let message = candidate.finish_message.non_empty();
    reply.raw_finish_reason = candidate.finish_reason.non_empty();
    let raw = reply.raw_finish_reason.as_deref().unwrap_or_default();
    reply.finish_reason = finish(raw, message.as_deref(), !reply.tool_calls.is_empty())?;
    if reply.finish_reason == FinishReason::ContentFilter {
        reply.refusal = message;
    }
    let silent = reply.content.is_empty() && reply.tool_calls.is_empty();
    if reply.is_empty_stop() || silent && reply.raw_finish_reason.is_none() {
        Err(failure::empty_stop(reply.usage))
    } else {
        Ok(reply)
    }
}

/// Reads a reply or a chunk; an error in it is the failure it describes.
pub(super) fn envelope(json: &[u8]) -> Result<Envelope<'_>, Failure> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    if envelope.error.is_some_and(|error| error.get() != "null") {
        return Err(failure::in_band(json));
    }
    Ok(envelope)
}

/// The pool asks for one answer; should more come, the first is it.
pub(super) fn first(candidates: Option<Vec<Candidate<'_>>>) -> Option<Candidate<'_>> {
    candidates.into_iter().flatten().find(|candidate| candidate.index.0.unwrap_or(0) == 0)
}

/// Why the prompt was not answered, and the words for it.
pub(super) fn blocked(feedback: Option<PromptFeedback<'_>>) -> Option<(String, Option<String>)> {
    let feedback = feedback?;
    Some((feedback.block_reason.non_empty()?, feedback.block_reason_message.non_empty()))
}

/// A call; most models give it no id. One is made from the answer's, or where that has none either from the call: a
/// conversation may hold several answers, and their ids must differ.
pub(super) fn tool_call(call: InCall<'_>, answer_id: &str, index: usize) -> ToolCall {
    let arguments = text_or_json(call.args);
    let arguments = if arguments.is_empty() { "{}".into() } else { arguments };
    let id = match call.id.non_empty() {
        Some(id) => id,
        None if answer_id.is_empty() => tool_ids::invented(&format!("{}{arguments}", call.name.0), index),
        None => tool_ids::invented(answer_id, index),
    };
    ToolCall::function(id, call.name.into_owned(), arguments)
}

/// The finish reason in our vocabulary; what says that the model's call is of no use is a failure.
pub(super) fn finish(raw: &str, message: Option<&str>, has_calls: bool) -> Result<FinishReason, Failure> {
    Ok(match raw {
        // There is no word for calls.
        "STOP" if has_calls => FinishReason::ToolCalls,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" | "CONTINUATION" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" | "MISSING_THOUGHT_SIGNATURE" => {
            let words = message.unwrap_or("the model made a call that its server could not use");
            let failure = failure::of_words(FailureClass::ModelOutputInvalid, words);
            return Err(Failure { code: Some(raw.to_owned()), ..failure });
        }
        _ => FinishReason::Other,
    })
}

/// Usage in one meaning: Gemini counts thoughts beside the candidates, and what its own tools read beside the prompt.
pub(super) fn usage(raw: Option<&RawValue>) -> Option<Usage> {
    let said: InUsage<'_> = serde_json::from_str(raw?.get()).ok()?;
    let count = |count: super::super::lenient::Count| count.0.unwrap_or(0);
    said.prompt_token_count.0.or(said.candidates_token_count.0)?;
    let thoughts = count(said.thoughts_token_count);
    let prompt = count(said.prompt_token_count).saturating_add(count(said.tool_use_prompt_token_count));
    let details = said.prompt_tokens_details.and_then(|raw| serde_json::from_str::<Vec<ModalityCount>>(raw.get()).ok());
    let sound = details.iter().flatten().filter(|part| part.modality.0 == "AUDIO");
    Some(Usage {
        cached_tokens: count(said.cached_content_token_count),
        reasoning_tokens: thoughts,
        prompt_audio_tokens: sound.filter_map(|part| part.token_count.0).sum(),
        ..Usage::reported(prompt, count(said.candidates_token_count).saturating_add(thoughts))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Reply {
        reply(json.as_bytes()).expect(json)
    }

    fn refused(body: &str) -> Failure {
        reply(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn parts_become_text_reasoning_and_calls() {
        let reply = decode(
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"h","thought":true},{"text":"m","thought":true},
                {"text":"a","thought":false},{"text":"b","thoughtSignature":"c2ln"},{"executableCode":{"code":"1"}},
                {"functionCall":{"id":"i","name":"f","args":{"x":[1]}}},{"functionCall":{"name":"g"}}]},
                "finishReason":"STOP"}],"modelVersion":"m","responseId":"r"}"#,
        );
        assert_eq!((reply.content.as_str(), reply.reasoning.as_deref()), ("ab", Some("hm")));
        assert_eq!((reply.id.as_str(), reply.model.as_str()), ("r", "m"));
        assert_eq!(reply.tool_calls[0], ToolCall::function("i", "f", r#"{"x":[1]}"#));
        assert_eq!((reply.tool_calls[1].function.arguments.as_str(), reply.tool_calls[1].id.len()), ("{}", 21));
        assert_eq!(reply.finish_reason, FinishReason::ToolCalls);
    }

    #[test]
    fn invented_ids_are_stable_and_differ() {
        let id = |answer: &str, args: &str| {
            let json = format!(
                r#"{{"responseId":"{answer}","candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f","args":{args}}}}}]}},"finishReason":"STOP"}}]}}"#
            );
            decode(&json).tool_calls[0].id.clone()
        };
        assert_eq!(id("r", "{}"), id("r", "{}"));
        assert_ne!(id("r", "{}"), id("s", "{}"));
        assert_ne!(id("", "{\"a\":1}"), id("", "{\"a\":2}"));
    }

    #[test]
    fn finish_reasons_become_ours() {
        for (raw, ours) in [
            ("STOP", FinishReason::Stop),
            ("MAX_TOKENS", FinishReason::Length),
            ("CONTINUATION", FinishReason::Length),
            ("SAFETY", FinishReason::ContentFilter),
            ("IMAGE_RECITATION", FinishReason::ContentFilter),
            ("OTHER", FinishReason::Other),
            ("FINISH_REASON_UNSPECIFIED", FinishReason::Other),
            ("BRAND_NEW", FinishReason::Other),
        ] {
            let json =
                format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{raw}"}}]}}"#);
            let reply = decode(&json);
            assert_eq!((reply.finish_reason, reply.raw_finish_reason.as_deref()), (ours, Some(raw)));
        }
    }

    #[test]
    fn a_call_that_could_not_be_read_is_a_failure_of_the_model() {
        for raw in
            ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"]
        {
            let failure =
                refused(&format!(r#"{{"candidates":[{{"finishReason":"{raw}","finishMessage":"Malformed: f("}}]}}"#));
            assert_eq!((failure.class, failure.code.as_deref()), (FailureClass::ModelOutputInvalid, Some(raw)));
            assert_eq!(failure.message, "Malformed: f(");
        }
    }

    #[test]
    fn a_blocked_prompt_is_the_content_filters_answer() {
        let reply = decode(r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"no"},"candidates":[]}"#);
        assert_eq!(reply.finish_reason, FinishReason::ContentFilter);
        assert_eq!((reply.raw_finish_reason.as_deref(), reply.refusal.as_deref()), (Some("SAFETY"), Some("no")));
        let reply = decode(r#"{"candidates":[{"finishReason":"SPII","finishMessage":"private"}]}"#);
        assert_eq!(reply.refusal.as_deref(), Some("private"));
    }

    #[test]
    fn usage_counts_thoughts_and_tool_reading_in() {
        let usage = |json: &str| usage(Some(serde_json::from_str(json).expect("JSON")));
        assert_eq!(
            usage(
                r#"{"promptTokenCount":10,"toolUsePromptTokenCount":5,"candidatesTokenCount":3,"thoughtsTokenCount":4,
                    "cachedContentTokenCount":2,"totalTokenCount":22}"#
            ),
            Some(Usage { cached_tokens: 2, reasoning_tokens: 4, ..Usage::reported(15, 7) })
        );
        let spoken = r#"{"promptTokenCount":10,"promptTokensDetails":[{"modality":"TEXT","tokenCount":3},
            {"modality":"AUDIO","tokenCount":7}]}"#;
        assert_eq!(usage(spoken), Some(Usage { prompt_audio_tokens: 7, ..Usage::reported(10, 0) }));
        let odd = r#"{"promptTokenCount":10,"promptTokensDetails":{"modality":[]}}"#;
        assert_eq!(usage(odd), Some(Usage::reported(10, 0)));
        assert_eq!(usage("{}"), None);
        assert_eq!(usage("[]"), None);
    }

    #[test]
    fn a_reply_that_is_no_answer_is_a_failure() {
        for (body, class) in [
            (r#"{"candidates":[]}"#, FailureClass::BadReply),
            (r#"{"candidates":null,"usageMetadata":{"promptTokenCount":1}}"#, FailureClass::BadReply),
            (r#"{"candidates":[],"promptFeedback":{}}"#, FailureClass::BadReply),
            (r#"{"candidates":[{"finishReason":"STOP"}]}"#, FailureClass::BadReply),
            (r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#, FailureClass::Overloaded),
            (r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#, FailureClass::RateLimit),
        ] {
            assert_eq!(refused(body).class, class, "{body}");
        }
    }
}
