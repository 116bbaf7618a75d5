//! An answer, as the responses API writes it: a list of items, in the order reasoning, text, calls.

use serde_json::{Value, json};

use super::super::super::thoughts;
use super::read::Echo;
use crate::types::{ChatResponse, FinishReason, ReasoningState, Reply, Usage};

/// Which item an id belongs to is said by what it begins with.
pub(super) fn item_id(kind: &str, id: &str, number: usize) -> String {
    format!("{kind}_{id}_{number}")
}

/// A whole answer.
pub(super) fn whole(response: &ChatResponse, echo: &Echo) -> Value {
    let id = response_id(&response.reply.id);
    finished(&id, echo, response)
}

pub(super) fn response_id(id: &str) -> String {
    if id.starts_with("resp_") { id.to_owned() } else { format!("resp_{id}") }
}

/// The response when it is over.
pub(super) fn finished(id: &str, echo: &Echo, response: &ChatResponse) -> Value {
    let (status, why) = match response.reply.finish_reason {
        FinishReason::Length => ("incomplete", Some("max_output_tokens")),
        FinishReason::ContentFilter => ("incomplete", Some("content_filter")),
        FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other => ("completed", None),
    };
    let mut body = shell(id, echo, &response.reply.model, response.reply.created, status);
    body["output"] = Value::Array(items(&response.reply));
    body["incomplete_details"] = why.map_or(Value::Null, |reason| json!({ "reason": reason }));
    body["usage"] = usage(&response.usage);
    body
}

/// A response of which nothing is said yet.
pub(super) fn shell(id: &str, echo: &Echo, model: &str, created: u64, status: &str) -> Value {
    let mut body = json!({
        "id": id, "object": "response", "created_at": created, "status": status, "background": false,
        "error": null, "incomplete_details": null, "model": model, "output": [], "previous_response_id": null,
        "store": false, "usage": null,
    });
    for (name, value) in &echo.0 {
        body[name] = value.clone();
    }
    body
}

fn items(reply: &Reply) -> Vec<Value> {
    let mut items = Vec::new();
    let id = |kind: &str| item_id(kind, &reply.id, 0);
    if reply.reasoning.is_some() || reply.reasoning_state.is_some() {
        let text = reply.reasoning.as_deref().unwrap_or_default();
        items.push(reasoning(&id("rs"), text, reply.reasoning_state.as_deref()));
    }
    if !reply.content.is_empty() || reply.refusal.is_some() || reply.tool_calls.is_empty() {
        let mut content = Vec::new();
        if !reply.content.is_empty() || reply.refusal.is_none() {
            content.push(text_part(&reply.content));
        }
        content.extend(reply.refusal.as_deref().map(refusal_part));
        items.push(message(&id("msg"), "completed", &content));
    }
    for (number, call) in reply.tool_calls.iter().enumerate() {
        let id = item_id("fc", &reply.id, number);
        items.push(function_call(&id, &call.id, &call.function.name, &call.function.arguments, "completed"));
    }
    items
}

pub(super) fn reasoning(id: &str, text: &str, state: Option<&ReasoningState>) -> Value {
    let summary = if text.is_empty() { json!([]) } else { json!([{ "type": "summary_text", "text": text }]) };
    json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": state.map(thoughts::sealed) })
}

pub(super) fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "type": "message", "id": id, "status": status, "role": "assistant", "content": content })
}

pub(super) fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

pub(super) fn refusal_part(refusal: &str) -> Value {
    json!({ "type": "refusal", "refusal": refusal })
}

pub(super) fn function_call(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments, "status": status,
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_tokens },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": usage.total_tokens,
    })
}
