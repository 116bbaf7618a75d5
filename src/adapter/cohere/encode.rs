//! Writes a chat request as Cohere's v2 chat takes it.
//!
//! Close to OpenAI's, with other names and narrower ranges. What it does not have is named in a warning; content that
//! it cannot carry is refused.

use std::borrow::Cow;

use serde_json::Value;

use super::super::catalog::Service;
use super::super::gate::Gate;
use super::super::parts::{refusal, schema};
use super::super::{Encoded, Terms};
use super::wire::{
    OutCall, OutContent, OutFormat, OutFunction, OutFunctionCall, OutMessage, OutPart, OutTool, Request, Thinking,
};
use crate::types::{ChatRequest, Content, FieldError, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice};

/// Most `stop_sequences` it takes.
const MAX_STOPS: usize = 5;
const P: (f64, f64) = (0.01, 0.99);
const PENALTY: (f64, f64) = (0.0, 1.0);

/// Encodes a request for `model`.
pub(in crate::adapter) fn request(
    request: &ChatRequest,
    model: &str,
    stream: bool,
    service: &'static Service,
    terms: Terms<'_>,
) -> Result<Encoded, FieldError> {
    let mut gate = Gate::new(service, model, request, terms);
    let messages = messages(&request.messages, &mut gate)?;
    let (temperature, top_p) = gate.take_sampling(request);
    let presence_penalty = gate.take("presence_penalty", request.presence_penalty);
    let frequency_penalty = gate.take("frequency_penalty", request.frequency_penalty);
    let (tools, tool_choice) = tools(request, &mut gate);
    let wire = Request {
        model,
        messages,
        max_tokens: gate.take("max_tokens", request.max_tokens.or(terms.max_tokens)),
        temperature,
        p: top_p.map(|value| clamped("top_p", value, P, &mut gate)),
        presence_penalty: presence_penalty.map(|value| clamped("presence_penalty", value, PENALTY, &mut gate)),
        frequency_penalty: frequency_penalty.map(|value| clamped("frequency_penalty", value, PENALTY, &mut gate)),
        stop_sequences: gate.take_stops(request, MAX_STOPS),
        seed: seed(request, &mut gate),
        logprobs: passed(request, &mut gate),
        strict_tools: strict_tools(&tools, request, &mut gate),
        tools,
        tool_choice,
        response_format: response_format(request, &mut gate),
        thinking: thinking(request, &mut gate),
        stream,
    };
    gate.take("user", request.user.as_ref());
    gate.take("metadata", request.metadata.as_ref());
    Encoded::write(&wire, request, service, gate)
}

// === fields ===

fn clamped(field: &str, value: f64, (low, high): (f64, f64), gate: &mut Gate<'_>) -> f64 {
    let sent = value.clamp(low, high);
    if sent != value {
        gate.warn(field, format_args!("{value} is outside of {low} to {high}, {sent} sent"));
    }
    sent
}

fn seed(request: &ChatRequest, gate: &mut Gate<'_>) -> Option<u64> {
    let seed = gate.take("seed", request.seed)?;
    let positive = u64::try_from(seed).ok();
    if positive.is_none() {
        gate.refuse("seed", "cohere takes no negative numbers");
    }
    positive
}

/// Of OpenAI's further fields only the switch for `logprobs` has a counterpart.
fn passed(request: &ChatRequest, gate: &mut Gate<'_>) -> bool {
    let mut logprobs = false;
    for (name, value) in &request.openai_fields {
        match (name.as_str(), value) {
            ("logprobs", Value::Bool(on)) => logprobs = *on && gate.allows(name),
            _ if gate.knows(name) => gate.refuse_unsupported(name),
            _ => {}
        }
    }
    logprobs
}

fn response_format<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<OutFormat<'a>> {
    let wanted = request.response_format.as_ref().filter(|format| **format != ResponseFormat::Text);
    let format = gate.take("response_format", wanted)?;
    let json_schema = match format {
        ResponseFormat::JsonSchema(format) => {
            let schema = format.get("schema");
            if schema.is_none() {
                gate.warn("response_format", "a json_schema without a schema, sent as json_object");
            }
            schema
        }
        ResponseFormat::Text | ResponseFormat::JsonObject => None,
    };
    Some(OutFormat { kind: "json_object", json_schema })
}

/// Thinking is on or off; how much is a number of tokens that no word stands for.
fn thinking(request: &ChatRequest, gate: &mut Gate<'_>) -> Option<Thinking> {
    let effort = gate.take("reasoning_effort", request.reasoning_effort.as_deref())?;
    if effort != "none" {
        gate.warn("reasoning_effort", format_args!("cohere knows only on and off, \"{effort}\" is sent as on"));
    }
    Some(Thinking { kind: if effort == "none" { "disabled" } else { "enabled" } })
}

// === tools ===

/// The tools, and whether one must or none may be called. A named one is the only one offered.
fn tools<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> (Vec<OutTool<'a>>, Option<&'static str>) {
    let (choice, parallel) = gate.take_tool_fields(request);
    if parallel == Some(false) {
        gate.refuse_unsupported("parallel_tool_calls");
    }
    let (word, only) = match choice {
        None | Some(ToolChoice::Auto) => (None, None),
        Some(ToolChoice::None) => (Some("NONE"), None),
        Some(ToolChoice::Required) => (Some("REQUIRED"), None),
        Some(ToolChoice::Function(name)) => (Some("REQUIRED"), Some(name.as_str())),
    };
    let offered = gate.take("tools", Some(&request.tools).filter(|tools| !tools.is_empty()));
    let offered = offered.into_iter().flatten().filter(|tool| only.is_none_or(|name| tool.function.name == name));
    let tools: Vec<OutTool<'a>> = offered.map(tool).collect();
    let word = word.filter(|_| !tools.is_empty());
    (tools, word)
}

fn tool(tool: &Tool) -> OutTool<'_> {
    let function = &tool.function;
    OutTool {
        kind: "function",
        function: OutFunction {
            name: &function.name,
            description: function.description.as_deref(),
            parameters: schema(function),
        },
    }
}

/// One switch for all tools: on when it is asked for of each.
fn strict_tools(sent: &[OutTool<'_>], request: &ChatRequest, gate: &mut Gate<'_>) -> bool {
    let mut strict = request.tools.iter().map(|tool| tool.function.strict == Some(true));
    let some = strict.clone().any(|strict| strict);
    let all = strict.all(|strict| strict);
    if some && !all {
        gate.refuse("tools[].function.strict", "cohere has it for all tools or none");
    }
    all && !sent.is_empty()
}

// === messages ===

fn messages<'a>(messages: &'a [Message], gate: &mut Gate<'_>) -> Result<Vec<OutMessage<'a>>, FieldError> {
    if messages.iter().any(|message| message.name.is_some()) {
        gate.allows("messages[].name");
    }
    let mut sent = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        match message.role {
            Role::Assistant => match assistant(index, message)? {
                Some(message) => sent.push(message),
                None => {
                    gate.warn(format_args!("messages[{index}].content"), "is empty, which cohere refuses, not sent")
                }
            },
            role => sent.push(OutMessage {
                role: match role {
                    Role::System | Role::Developer => "system",
                    Role::Tool => "tool",
                    _ => "user",
                },
                content: Some(content(index, &message.content, role == Role::User)?),
                tool_call_id: message.tool_call_id.as_deref().filter(|_| role == Role::Tool),
                ..OutMessage::default()
            }),
        }
    }
    Ok(sent)
}

/// An assistant's turn: text, or calls with the text that led to them. `None`: neither.
fn assistant(index: usize, message: &Message) -> Result<Option<OutMessage<'_>>, FieldError> {
    let refusal = message.refusal.as_deref().unwrap_or_default();
    let text = match content(index, &message.content, false)? {
        OutContent::Text(text) if text.is_empty() => Cow::Borrowed(refusal), // what it said, if only to decline
        OutContent::Text(text) => text,
        OutContent::Parts(_) => Cow::Borrowed(refusal),
    };
    let text = Some(text).filter(|text| !text.is_empty());
    let tool_calls: Vec<OutCall<'_>> = message.tool_calls.iter().map(call).collect();
    if tool_calls.is_empty() && text.is_none() {
        return Ok(None);
    }
    let (content, tool_plan) = if tool_calls.is_empty() { (text, None) } else { (None, text) };
    Ok(Some(OutMessage {
        role: "assistant",
        content: content.map(OutContent::Text),
        tool_plan,
        tool_calls,
        ..OutMessage::default()
    }))
}

fn call(call: &ToolCall) -> OutCall<'_> {
    let arguments = call.function.arguments.as_str();
    OutCall {
        id: &call.id,
        kind: "function",
        function: OutFunctionCall {
            name: &call.function.name,
            arguments: if arguments.trim().is_empty() { "{}" } else { arguments },
        },
    }
}

/// Text wherever there is nothing but text; images where the role may have them.
fn content(index: usize, content: &Content, images: bool) -> Result<OutContent<'_>, FieldError> {
    let parts = match content {
        Content::Empty => return Ok(OutContent::Text(Cow::Borrowed(""))),
        Content::Text(text) => return Ok(OutContent::Text(Cow::Borrowed(text))),
        Content::Parts(parts) => parts,
    };
    if parts.iter().all(|part| matches!(part, Part::Text { .. })) {
        return Ok(OutContent::Text(Cow::Owned(content.plain_text())));
    }
    let mut sent = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        sent.push(match part {
            Part::Text { text } => OutPart::Text { text },
            Part::ImageUrl { image_url } if images => OutPart::ImageUrl { image_url },
            Part::ImageUrl { .. } => return Err(refusal(index, at, "cohere takes images in user messages only")),
            Part::InputAudio { .. } => return Err(refusal(index, at, "cohere takes no audio")),
            Part::File { .. } => return Err(refusal(index, at, "cohere takes no files")),
        });
    }
    Ok(OutContent::Parts(sent))
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
