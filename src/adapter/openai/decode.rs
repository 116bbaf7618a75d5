//! Reads a whole reply of the OpenAI family, and the parts of one that streams share.
//!
//! A 200 is not yet an answer: an `error` inside it, no choices, a finish reason that says the upstream failed, or a
//! stop with nothing said are failures here, so that nobody above has to look again.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::catalog::Dialect;
use super::super::lenient::text_or_json;
use super::super::{failure, tool_ids};
use super::echo::Kept;
use super::think::Thoughts;
use super::wire::{Envelope, InFunction, InMessage, InUsage};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, ReasoningState, Reply, ToolCall, Usage};

/// Decodes a whole reply.
pub(in crate::adapter) fn reply(body: &[u8], dialect: &Dialect) -> Result<Reply, Failure> {
    let mut envelope = envelope(body)?;
    let choice = envelope.choices.take().into_iter().flatten().next();
    let Some(mut choice) = choice else {
        return Err(failure::no_answer(body, "the reply has no choices"));
    };
    if let Some(error) = real_error(choice.error) {
        return Err(failure::in_band(error.get().as_bytes()));
    }
    let Some(mut message) = choice.message.take() else {
        return Err(failure::no_answer(body, "the reply has no message"));
    };
    let id = envelope.id.into_owned();
    let mut reasoning = message.take_reasoning().into_owned();
    let mut content = message.content.text.into_owned();
    if dialect.think_tags {
        let mut thoughts = Thoughts::default();
        let (said, rest) = (thoughts.push(&content), thoughts.finish());
        content = said.words + &rest.words;
        reasoning.push_str(&said.thoughts);
        reasoning.push_str(&rest.thoughts);
    }
    message.content.text = Cow::Borrowed("");
    let mut kept = Kept::new(dialect.echo);
    kept.take(&message, &reasoning)?;
    let extras: Vec<_> = message.tool_calls.iter().flatten().map(|call| call.extra_content).collect();
    let tool_calls = tool_calls(&mut message, &id);
    for (call, extra) in tool_calls.iter().zip(extras) {
        extra.map_or(Ok(()), |extra| kept.take_call(&call.id, extra))?;
    }
    let raw = choice.finish_reason.non_empty();
    let finish_reason = finish(raw.as_deref(), !tool_calls.is_empty())?;
    let refusal = message.refusal.non_empty().or_else(|| non_empty(message.content.refusal));
    let reply = Reply {
        id,
        model: envelope.model.into_owned(),
        created: envelope.created.0.unwrap_or_default(),
        content,
        tool_calls,
        refusal,
        reasoning: non_empty(reasoning),
        reasoning_state: kept.finish().map(ReasoningState::unsigned),
        finish_reason,
        raw_finish_reason: raw,
        usage: usage(envelope.usage).or_else(|| usage(envelope.x_groq.and_then(|groq| groq.usage))),
    };
    let silent = reply.content.is_empty() && reply.tool_calls.is_empty() && reply.refusal.is_none();
    if reply.is_empty_stop() || silent && reply.raw_finish_reason.is_none() {
        Err(failure::empty_stop(reply.usage))
    } else {
        Ok(reply)
    }
}

/// Reads the envelope of a reply or of a chunk; an error in it is the failure it describes.
pub(super) fn envelope(body: &[u8]) -> Result<Envelope<'_>, Failure> {
    let json = failure::json_object(body)?;
    let envelope: Envelope<'_> = serde_json::from_slice(json).map_err(|error| failure::unreadable(body, error))?;
    // `object: "error"` is how older vLLM and Mistral mark an error without an `error` field.
    if real_error(envelope.error).is_some() || envelope.object.0 == "error" {
        return Err(failure::in_band(json));
    }
    if let Some(groq) = &envelope.x_groq
        && !groq.error.is_empty()
    {
        return Err(failure::of_words(FailureClass::ServerError, &groq.error.0));
    }
    Ok(envelope)
}

/// `null`, `false`, `""` and `{}` are ways of saying that there is no error.
pub(super) fn real_error(error: Option<&RawValue>) -> Option<&RawValue> {
    error.filter(|error| !matches!(error.get(), "null" | "false" | "\"\"" | "{}"))
}

/// The finish reason in our vocabulary; what says that the upstream failed is a failure.
pub(super) fn finish(raw: Option<&str>, has_calls: bool) -> Result<FinishReason, Failure> {
    Ok(match raw.unwrap_or_default() {
        // Some builds of vLLM and LM Studio stop plainly although the model called a tool.
        "stop" | "eos" | "eos_token" if has_calls => FinishReason::ToolCalls,
        "stop" | "eos" | "eos_token" => FinishReason::Stop,
        "length" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        // OpenRouter and Mistral; sglang.
        word @ ("error" | "abort") => {
            return Err(Failure {
                code: Some(word.to_owned()),
                ..Failure::new(FailureClass::ServerError, "the provider broke off while it generated")
            });
        }
        // DeepSeek.
        word @ "insufficient_system_resource" => {
            return Err(Failure {
                code: Some(word.to_owned()),
                ..Failure::new(FailureClass::Overloaded, "the provider ran out of capacity while it generated")
            });
        }
        _ => FinishReason::Other,
    })
}

/// Usage in one meaning, or `None` when nothing was counted.
pub(super) fn usage(raw: Option<&RawValue>) -> Option<Usage> {
    let said: InUsage = serde_json::from_str(raw?.get()).ok()?;
    if said.prompt_tokens.0.is_none() && said.completion_tokens.0.is_none() {
        return None;
    }
    let (mut prompt, mut completion) = (said.prompt_tokens.0.unwrap_or(0), said.completion_tokens.0.unwrap_or(0));
    let prompt_details = said.prompt_tokens_details.unwrap_or_default();
    let completion_details = said.completion_tokens_details.unwrap_or_default();
    // A service uses one of the spellings; where it repeats itself the details say zero at worst.
    let cached = [
        prompt_details.cached_tokens,
        said.prompt_token_details.unwrap_or_default().cached_tokens,
        said.cached_tokens,
        said.num_cached_tokens,
        said.prompt_cache_hit_tokens,
    ];
    let cached = cached.into_iter().filter_map(|count| count.0).max().unwrap_or(0);
    let reasoning = completion_details.reasoning_tokens.0.unwrap_or(0).max(said.reasoning_tokens.0.unwrap_or(0));
    // xAI and Perplexity count reasoning beside the completion: then only the three together make the total.
    let apart = prompt.saturating_add(completion).saturating_add(reasoning);
    if reasoning > completion || said.total_tokens.0 == Some(apart) {
        completion = completion.saturating_add(reasoning);
    }
    // A part is never more than its whole: where it is, the whole was counted without it.
    if cached > prompt {
        prompt = prompt.saturating_add(cached);
    }
    Some(Usage {
        cached_tokens: cached,
        cache_write_tokens: prompt_details.cache_write_tokens.0.unwrap_or(0),
        reasoning_tokens: reasoning,
        prompt_audio_tokens: prompt_details.audio_tokens.0.unwrap_or(0),
        completion_audio_tokens: completion_details.audio_tokens.0.unwrap_or(0),
        ..Usage::reported(prompt, completion)
    })
}

fn tool_calls(message: &mut InMessage<'_>, answer_id: &str) -> Vec<ToolCall> {
    let legacy = message.function_call.take().map(|function| (String::new(), function));
    let calls = message.tool_calls.take().into_iter().flatten();
    calls
        .map(|call| (call.id.into_owned(), call.function.unwrap_or_default()))
        .chain(legacy)
        .enumerate()
        .map(|(index, (id, function))| tool_call(id, function, answer_id, index))
        .collect()
}

fn tool_call(id: String, function: InFunction<'_>, answer_id: &str, index: usize) -> ToolCall {
    let arguments = text_or_json(function.arguments);
    let arguments = if arguments.is_empty() { "{}".into() } else { arguments };
    ToolCall::function(known_id(id, answer_id, index), function.name.into_owned(), arguments)
}

/// The call's own id, or an invented one: a result must be able to name its call.
pub(super) fn known_id(id: String, answer_id: &str, index: usize) -> String {
    // Mistral has sent the word.
    if id.is_empty() || id == "null" { tool_ids::invented(answer_id, index) } else { id }
}

pub(super) fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
