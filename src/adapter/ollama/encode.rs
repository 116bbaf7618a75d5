//! Writes a chat request as Ollama's `/api/chat` takes it.
//!
//! Ollama ignores what it does not know, so a field it lacks must be named here or nobody will. Images are base64 only:
//! it fetches nothing. Prompts are never cut in silence, see [`Request::truncate`].

use std::borrow::Cow;

use super::super::catalog::Service;
use super::super::gate::Gate;
use super::super::parts::{Media, answered_call, arguments, refusal, refuse_detail, schema};
use super::super::{Encoded, Terms};
use super::wire::{Format, Options, OutCall, OutFunction, OutFunctionCall, OutMessage, OutTool, Request, Think};
use crate::types::{ChatRequest, Content, FieldError, Message, Part, ResponseFormat, Role, Tool, ToolChoice};

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
    let (logprobs, top_logprobs) = passed(request, &mut gate);
    let wire = Request {
        model,
        messages,
        tools: tools(request, &mut gate),
        format: format(request, &mut gate),
        think: think(request, &mut gate),
        logprobs,
        top_logprobs,
        options: Options {
            num_predict: gate.take("max_tokens", request.max_tokens.or(terms.max_tokens)),
            temperature,
            top_p,
            seed: gate.take("seed", request.seed),
            stop: gate.take("stop", Some(request.stop.as_slice()).filter(|stops| !stops.is_empty())),
            presence_penalty: gate.take("presence_penalty", request.presence_penalty),
            frequency_penalty: gate.take("frequency_penalty", request.frequency_penalty),
        },
        truncate: false,
        shift: false,
        stream,
    };
    gate.take("user", request.user.as_ref());
    gate.take("metadata", request.metadata.as_ref());
    Encoded::write(&wire, request, service, gate)
}

// === fields ===

/// Of OpenAI's further fields only the two about `logprobs` have a counterpart.
fn passed(request: &ChatRequest, gate: &mut Gate<'_>) -> (bool, Option<u64>) {
    let (mut logprobs, mut top_logprobs) = (false, None);
    for (name, value) in &request.openai_fields {
        match (name.as_str(), value.as_bool(), value.as_u64()) {
            ("logprobs", Some(on), _) => logprobs = on && gate.allows(name),
            ("top_logprobs", _, count @ Some(_)) => top_logprobs = gate.take("top_logprobs", count),
            _ if gate.knows(name) => gate.refuse_unsupported(name),
            _ => {}
        }
    }
    (logprobs, top_logprobs)
}

fn format<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<Format<'a>> {
    let wanted = request.response_format.as_ref().filter(|format| **format != ResponseFormat::Text);
    match gate.take("response_format", wanted)? {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(Format::Json("json")),
        ResponseFormat::JsonSchema(format) => Some(match format.get("schema") {
            Some(schema) => Format::Schema(schema),
            None => {
                gate.warn("response_format", "a json_schema without a schema, sent as json_object");
                Format::Json("json")
            }
        }),
    }
}

/// `reasoning_effort`: models that know no levels take any of them for "on".
fn think(request: &ChatRequest, gate: &mut Gate<'_>) -> Option<Think> {
    let effort = gate.take("reasoning_effort", request.reasoning_effort.as_deref())?;
    let mut sent_as = |word: &'static str| {
        gate.warn("reasoning_effort", format_args!("\"{effort}\" is sent as \"{word}\""));
        Think::Level(word)
    };
    Some(match effort {
        "none" => Think::Switch(false),
        "low" => Think::Level("low"),
        "medium" => Think::Level("medium"),
        "high" => Think::Level("high"),
        "max" => Think::Level("max"),
        "minimal" => sent_as("low"),
        "xhigh" => sent_as("high"),
        _ => {
            gate.refuse("reasoning_effort", format_args!("there is no \"{effort}\" here"));
            return None;
        }
    })
}

// === tools ===

/// Ollama offers tools or does not; it cannot be told to call one.
fn tools<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Vec<OutTool<'a>> {
    if request.tools.iter().any(|tool| tool.function.strict == Some(true)) {
        gate.refuse_unsupported("tools[].function.strict");
    }
    let (choice, parallel) = gate.take_tool_fields(request);
    if parallel == Some(false) {
        gate.refuse_unsupported("parallel_tool_calls");
    }
    let only = match choice {
        None | Some(ToolChoice::Auto) => None,
        Some(ToolChoice::None) => return Vec::new(),
        Some(ToolChoice::Required) => {
            gate.refuse("tool_choice", "ollama cannot be told to call a tool");
            None
        }
        Some(ToolChoice::Function(name)) => {
            gate.refuse("tool_choice", "ollama cannot be told to call a tool (this one alone is offered)");
            Some(name.as_str())
        }
    };
    let offered = gate.take("tools", Some(&request.tools).filter(|tools| !tools.is_empty()));
    let offered = offered.into_iter().flatten().filter(|tool| only.is_none_or(|name| tool.function.name == name));
    offered.map(tool).collect()
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

// === messages ===

fn messages<'a>(messages: &'a [Message], gate: &mut Gate<'_>) -> Result<Vec<OutMessage<'a>>, FieldError> {
    if messages.iter().any(|message| message.name.is_some() && message.role != Role::Tool) {
        gate.allows("messages[].name");
    }
    messages.iter().enumerate().map(|(index, message)| self::message(messages, index, message, gate)).collect()
}

fn message<'a>(
    messages: &'a [Message],
    index: usize,
    message: &'a Message,
    gate: &mut Gate<'_>,
) -> Result<OutMessage<'a>, FieldError> {
    let (content, images) = content(index, &message.content, gate)?;
    let mut sent = OutMessage { content, images, ..OutMessage::default() };
    match message.role {
        Role::System | Role::Developer => sent.role = "system",
        Role::User => sent.role = "user",
        Role::Assistant => {
            sent.role = "assistant";
            // What the model said, if only to decline.
            if let Some(refusal) = message.refusal.as_deref().filter(|_| sent.content.is_empty()) {
                sent.content = Cow::Borrowed(refusal);
            }
            for (at, call) in message.tool_calls.iter().enumerate() {
                let arguments = arguments(call, index, at, gate);
                let function = OutFunctionCall { name: &call.function.name, arguments };
                sent.tool_calls.push(OutCall { id: &call.id, function });
            }
        }
        Role::Tool => {
            sent.role = "tool";
            let name = answered_call(messages, index).map(|call| call.function.name.as_str());
            sent.tool_name = name.or(message.name.as_deref());
            sent.tool_call_id = message.tool_call_id.as_deref();
        }
    }
    Ok(sent)
}

/// The text, and the images in bare base64.
fn content<'a>(
    index: usize,
    content: &'a Content,
    gate: &mut Gate<'_>,
) -> Result<(Cow<'a, str>, Vec<&'a str>), FieldError> {
    let parts = match content {
        Content::Empty => return Ok((Cow::Borrowed(""), Vec::new())),
        Content::Text(text) => return Ok((Cow::Borrowed(text), Vec::new())),
        Content::Parts(parts) => parts,
    };
    let mut images = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text { .. } => {}
            Part::ImageUrl { image_url } => {
                match Media::of(&image_url.url) {
                    Some(Media::Inline { media_type, data }) if is_image(media_type) => images.push(data),
                    Some(Media::Remote(_)) => {
                        let why =
                            "ollama fetches no web addresses; send it as a data: URI in base64, or allow media.fetch";
                        return Err(refusal(index, at, why));
                    }
                    _ => return Err(refusal(index, at, "must be an image as a data: URI in base64")),
                }
                refuse_detail(image_url, index, at, gate);
            }
            Part::InputAudio { .. } => return Err(refusal(index, at, "ollama takes no audio")),
            Part::File { .. } => return Err(refusal(index, at, "ollama takes no files")),
        }
    }
    Ok((Cow::Owned(content.plain_text()), images))
}

fn is_image(media_type: &str) -> bool {
    media_type.get(.."image/".len()).is_some_and(|start| start.eq_ignore_ascii_case("image/"))
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
