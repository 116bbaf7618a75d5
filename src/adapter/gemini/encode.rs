//! Writes a chat request as `generateContent` takes it.
//!
//! What it does not have is named in a warning. Content that it cannot carry at all (an image that only a URL names)
//! is refused instead: without it the question would be another one. The model is in the URL, not here.

use std::borrow::Cow;

use serde_json::Value;

use super::super::catalog::{Dialect, Service};
use super::super::gate::Gate;
use super::super::parts::{Media, answered_call, arguments, json_object, own_state, refusal, refuse_detail, text_of};
use super::super::{Encoded, Terms};
use super::families::{Family, Thinking, family};
use super::signatures;
use super::wire::{
    FileData, FunctionCallingConfig, GenerationConfig, InlineData, OutCall, OutFunction, OutPart, OutResponse,
    OutResult, OutTools, Request, SystemInstruction, ThinkingConfig, ToolConfig, Turn,
};
use crate::types::{
    ChatRequest, Content, FieldError, Function, Message, Part, ResponseFormat, Role, ToolCall, ToolChoice,
};

/// Most `stopSequences` it takes.
const MAX_STOPS: usize = 5;
/// What Google documents for calls whose signature is not known, as in a conversation that began elsewhere.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
const JSON: &str = "application/json";

/// Encodes a request for `model`.
pub(in crate::adapter) fn request(
    request: &ChatRequest,
    model: &str,
    service: &'static Service,
    terms: Terms<'_>,
) -> Result<Encoded, FieldError> {
    let mut gate = Gate::new(service, model, request, terms);
    let family = family(model);
    let (system, contents) = Turns::of(&request.messages, &service.dialect, family, &mut gate)?;
    let (temperature, top_p) = gate.take_sampling(request);
    let (response_mime_type, response_json_schema) = format(request, &mut gate);
    let generation_config = GenerationConfig {
        temperature,
        top_p,
        max_output_tokens: gate.take("max_tokens", request.max_tokens.or(terms.max_tokens)),
        stop_sequences: gate.take_stops(request, MAX_STOPS),
        seed: seed(request, &mut gate),
        presence_penalty: gate.take("presence_penalty", request.presence_penalty),
        frequency_penalty: gate.take("frequency_penalty", request.frequency_penalty),
        response_mime_type,
        response_json_schema,
        thinking_config: thinking(request, family, &mut gate),
    };
    let wire = Request {
        contents,
        system_instruction: system.map(|text| SystemInstruction { parts: [OutPart::Text { text }] }),
        tools: tools(request, &mut gate),
        tool_config: tool_config(request, &mut gate),
        generation_config,
    };
    gate.take("user", request.user.as_ref());
    gate.take("metadata", request.metadata.as_ref());
    for name in request.openai_fields.keys() {
        if gate.knows(name) {
            gate.refuse_unsupported(name);
        }
    }
    Encoded::write(&wire, request, service, gate)
}

// === fields ===

fn seed(request: &ChatRequest, gate: &mut Gate<'_>) -> Option<i32> {
    let seed = gate.take("seed", request.seed)?;
    let small = i32::try_from(seed).ok();
    if small.is_none() {
        gate.refuse("seed", "gemini takes numbers of 32 bits");
    }
    small
}

fn format<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> (Option<&'static str>, Option<&'a Value>) {
    let wanted = request.response_format.as_ref().filter(|format| **format != ResponseFormat::Text);
    let Some(format) = gate.take("response_format", wanted) else { return (None, None) };
    let schema = match format {
        ResponseFormat::JsonSchema(format) => {
            let schema = format.get("schema");
            if schema.is_none() {
                gate.warn("response_format", "a json_schema without a schema, sent as json_object");
            }
            schema
        }
        ResponseFormat::Text | ResponseFormat::JsonObject => None,
    };
    (Some(JSON), schema)
}

/// `reasoning_effort`, in the way this family is told. The numbers are those of Google's own mapping for the OpenAI
/// dialect of Gemini.
fn thinking(request: &ChatRequest, family: &Family, gate: &mut Gate<'_>) -> Option<ThinkingConfig> {
    let effort = gate.take("reasoning_effort", request.reasoning_effort.as_deref())?;
    if !matches!(effort, "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max") {
        gate.refuse("reasoning_effort", format_args!("there is no \"{effort}\" here"));
        return None;
    }
    let mut sent_as = |word: &str| gate.warn("reasoning_effort", format_args!("\"{effort}\" is sent as \"{word}\""));
    match family.thinking {
        Thinking::None if effort == "none" => None,
        Thinking::None => {
            gate.refuse("reasoning_effort", "this model does not think");
            None
        }
        Thinking::Budget { off } => {
            let budget = match effort {
                "none" if off => 0,
                "none" => {
                    sent_as("minimal");
                    1024
                }
                "minimal" | "low" => 1024,
                "medium" => 8192,
                _ => 24576,
            };
            Some(ThinkingConfig {
                thinking_budget: Some(budget),
                include_thoughts: budget > 0,
                ..ThinkingConfig::default()
            })
        }
        Thinking::Level { minimal, medium } => {
            let level = match effort {
                "none" if minimal => {
                    sent_as("minimal");
                    "MINIMAL"
                }
                "minimal" if minimal => "MINIMAL",
                "none" | "minimal" => {
                    sent_as("low");
                    "LOW"
                }
                "low" => "LOW",
                "medium" if medium => "MEDIUM",
                "high" => "HIGH",
                _ => {
                    sent_as("high");
                    "HIGH"
                }
            };
            Some(ThinkingConfig {
                thinking_level: Some(level),
                include_thoughts: effort != "none",
                ..ThinkingConfig::default()
            })
        }
    }
}

// === tools ===

fn tools<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<[OutTools<'a>; 1]> {
    if request.tools.iter().any(|tool| tool.function.strict == Some(true)) {
        gate.refuse_unsupported("tools[].function.strict");
    }
    let tools = gate.take("tools", Some(&request.tools).filter(|tools| !tools.is_empty()))?;
    Some([OutTools { function_declarations: tools.iter().map(|tool| declaration(&tool.function)).collect() }])
}

fn declaration(function: &Function) -> OutFunction<'_> {
    OutFunction {
        name: &function.name,
        description: function.description.as_deref(),
        parameters_json_schema: function.parameters.as_ref().filter(|schema| !is_empty(schema)),
    }
}

/// An object without properties: Gemini wants nothing said instead.
fn is_empty(schema: &Value) -> bool {
    const SAY_NOTHING: &[&str] = &["type", "properties", "required", "additionalProperties", "$schema", "title"];
    let empty = |key: &str| match schema.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::Object(object)) => object.is_empty(),
        Some(Value::Array(array)) => array.is_empty(),
        Some(_) => false,
    };
    let open = schema.get("additionalProperties").is_some_and(|value| *value == Value::Bool(true) || value.is_object());
    schema.as_object().is_some_and(|keys| keys.keys().all(|key| SAY_NOTHING.contains(&key.as_str())))
        && empty("properties")
        && empty("required")
        && !open
}

fn tool_config<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<ToolConfig<'a>> {
    let (choice, parallel) = gate.take_tool_fields(request);
    if parallel == Some(false) {
        gate.refuse_unsupported("parallel_tool_calls");
    }
    let (mode, name) = match choice? {
        ToolChoice::Auto => ("AUTO", None),
        ToolChoice::None => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
        ToolChoice::Function(name) => ("ANY", Some([name.as_str()])),
    };
    Some(ToolConfig { function_calling_config: FunctionCallingConfig { mode, allowed_function_names: name } })
}

// === messages ===

struct Turns<'a, 'g, 'm> {
    dialect: &'static Dialect,
    messages: &'a [Message],
    gate: &'g mut Gate<'m>,
    /// Calls from here on are replayed with a signature: those of the turn that is still open.
    signed_from: Option<usize>,
    system: Option<Cow<'a, str>>,
    turns: Vec<Turn<'a>>,
}

impl<'a> Turns<'a, '_, '_> {
    fn of(
        messages: &'a [Message],
        dialect: &'static Dialect,
        family: &Family,
        gate: &mut Gate<'_>,
    ) -> Result<(Option<Cow<'a, str>>, Vec<Turn<'a>>), FieldError> {
        if messages.iter().any(|message| message.name.is_some() && message.role != Role::Tool) {
            gate.allows("messages[].name");
        }
        let last_question = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
        let signed_from = family.signed_calls.then_some(last_question);
        let mut turns =
            Turns { dialect, messages, gate, signed_from, system: None, turns: Vec::with_capacity(messages.len()) };
        for (index, message) in messages.iter().enumerate() {
            turns.add(index, message)?;
        }
        if !family.system || turns.turns.is_empty() {
            turns.system_to_user(family);
        }
        Ok((turns.system, turns.turns))
    }

    fn add(&mut self, index: usize, message: &'a Message) -> Result<(), FieldError> {
        match message.role {
            Role::System | Role::Developer => self.add_system(index, &message.content),
            Role::User => {
                let parts = self.parts(index, &message.content)?;
                self.say("user", index, parts);
            }
            Role::Assistant => {
                let mut parts = self.parts(index, &message.content)?;
                let state = own_state(message, self.gate);
                sign_text(&mut parts, signatures::of_text(state));
                // What the model said, if only to decline.
                parts.extend(message.refusal.as_deref().and_then(text_part));
                for (at, call) in message.tool_calls.iter().enumerate() {
                    // Calls beside the first one are covered by its signature.
                    let must = at == 0 && self.signed_from.is_some_and(|from| index >= from);
                    let signature = signatures::of_call(state, &call.id).or(must.then_some(NO_SIGNATURE));
                    parts.push(self.call(index, at, call, signature));
                }
                self.say("model", index, parts);
            }
            Role::Tool => {
                let parts = self.result(index, message)?;
                self.say("user", index, parts);
            }
        }
        Ok(())
    }

    /// There is one system text, before everything.
    fn add_system(&mut self, index: usize, content: &'a Content) {
        if !self.turns.is_empty() {
            self.gate.warn(
                format_args!("messages[{index}].role"),
                "gemini has system messages at the start only, moved there",
            );
        }
        let text = plain_text(content);
        self.system = match self.system.take() {
            None if text.is_empty() => None,
            None => Some(text),
            Some(before) if text.is_empty() => Some(before),
            Some(before) => Some(Cow::Owned(format!("{before}\n\n{text}"))),
        };
    }

    /// Where there is no system text, or nothing else to ask, the first user turn begins with it.
    fn system_to_user(&mut self, family: &Family) {
        let Some(text) = self.system.take() else { return };
        let why = if family.system { "gemini needs a user message" } else { "this model takes no system messages" };
        self.gate.warn("messages[].role", format_args!("{why}, the system text was sent as the user's"));
        match self.turns.first_mut().filter(|first| first.role == "user") {
            Some(first) => first.parts.insert(0, OutPart::Text { text }),
            None => self.turns.insert(0, Turn { role: "user", parts: vec![OutPart::Text { text }] }),
        }
    }

    /// Adds to the last turn where it has the same role: all results of one turn belong into one.
    fn say(&mut self, role: &'static str, index: usize, parts: Vec<OutPart<'a>>) {
        if parts.is_empty() {
            self.gate.warn(format_args!("messages[{index}].content"), "is empty, which gemini refuses, not sent");
            return;
        }
        match self.turns.last_mut().filter(|last| last.role == role) {
            Some(last) => last.parts.extend(parts),
            None => self.turns.push(Turn { role, parts }),
        }
    }

    fn parts(&mut self, index: usize, content: &'a Content) -> Result<Vec<OutPart<'a>>, FieldError> {
        match content {
            Content::Empty => Ok(Vec::new()),
            Content::Text(text) => Ok(text_part(text).into_iter().collect()),
            Content::Parts(parts) => {
                let mut sent = Vec::with_capacity(parts.len());
                for (at, part) in parts.iter().enumerate() {
                    sent.extend(self.part(index, at, part)?);
                }
                Ok(sent)
            }
        }
    }

    fn part(&mut self, index: usize, at: usize, part: &'a Part) -> Result<Option<OutPart<'a>>, FieldError> {
        match part {
            Part::Text { text } => Ok(text_part(text)),
            Part::ImageUrl { image_url } => {
                refuse_detail(image_url, index, at, self.gate);
                media(&image_url.url, self.dialect).map(Some).map_err(|why| refusal(index, at, why))
            }
            Part::File { file } => {
                let place = text_of(file, "file_data").or_else(|| text_of(file, "file_id"));
                let place = place.ok_or_else(|| refusal(index, at, "a file needs file_data or file_id"))?;
                media(place, self.dialect).map(Some).map_err(|why| refusal(index, at, why))
            }
            Part::InputAudio { input_audio } => {
                let said = text_of(input_audio, "data").zip(text_of(input_audio, "format"));
                let (data, format) = said.ok_or_else(|| refusal(index, at, "audio needs data and format"))?;
                let mime_type = Cow::Owned(format!("audio/{format}"));
                Ok(Some(OutPart::Inline { inline_data: InlineData { mime_type, data } }))
            }
        }
    }

    fn call(&mut self, index: usize, at: usize, call: &'a ToolCall, signature: Option<&'a str>) -> OutPart<'a> {
        let args = arguments(call, index, at, self.gate);
        OutPart::Call {
            function_call: OutCall { id: &call.id, name: &call.function.name, args },
            thought_signature: signature,
        }
    }

    /// A result names its function, which only the call does.
    fn result(&mut self, index: usize, message: &'a Message) -> Result<Vec<OutPart<'a>>, FieldError> {
        let name = answered_call(self.messages, index).map(|call| call.function.name.as_str());
        let name = name.or(message.name.as_deref()).ok_or_else(|| FieldError {
            field: format!("messages[{index}].tool_call_id"),
            message: "answers no call in this conversation, and gemini needs the name of the function".to_owned(),
        })?;
        let response = match plain_text(&message.content) {
            Cow::Borrowed(text) => match json_object(text) {
                Some(object) => OutResponse::Object(Cow::Borrowed(object)),
                None => OutResponse::Wrapped { result: Cow::Borrowed(text) },
            },
            Cow::Owned(text) => match json_object(&text) {
                Some(object) => OutResponse::Object(Cow::Owned(object.to_owned())),
                None => OutResponse::Wrapped { result: Cow::Owned(text) },
            },
        };
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        let mut sent = vec![OutPart::Result { function_response: OutResult { id, name, response } }];
        // An image that a tool made stands beside its result.
        if let Content::Parts(parts) = &message.content {
            for (at, part) in parts.iter().enumerate().filter(|(_, part)| !matches!(part, Part::Text { .. })) {
                sent.extend(self.part(index, at, part)?);
            }
        }
        Ok(sent)
    }
}

fn plain_text(content: &Content) -> Cow<'_, str> {
    match content {
        Content::Text(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.plain_text()),
    }
}

/// The signature of what was said belongs to the end of it.
fn sign_text<'a>(parts: &mut [OutPart<'a>], signature: Option<&'a str>) {
    if let (Some(last), Some(thought_signature)) = (parts.last_mut(), signature)
        && let OutPart::Text { text } = last
    {
        *last = OutPart::Signed { text: std::mem::take(text), thought_signature };
    }
}

/// Empty text is refused.
fn text_part(text: &str) -> Option<OutPart<'_>> {
    if text.is_empty() { None } else { Some(OutPart::Text { text: Cow::Borrowed(text) }) }
}

fn media<'a>(url: &'a str, dialect: &Dialect) -> Result<OutPart<'a>, &'static str> {
    match Media::of(url) {
        Some(Media::Inline { media_type, data }) => {
            Ok(OutPart::Inline { inline_data: InlineData { mime_type: Cow::Borrowed(media_type), data } })
        }
        Some(Media::Remote(uri)) if dialect.reads(uri) => Ok(OutPart::File { file_data: FileData { file_uri: uri } }),
        Some(Media::Remote(_)) => {
            Err("gemini fetches no web addresses; send it as a data: URI in base64, or allow media.fetch")
        }
        None => Err("must be a data: URI in base64, or the URI of a file that gemini can read"),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
