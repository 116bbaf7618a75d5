//! Writes a chat request as the messages API takes it.
//!
//! What it does not have is named in a warning. Content that it cannot carry at all (audio, a file that lives at
//! OpenAI) is refused instead: without it the question would be another one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::catalog::Service;
use super::super::gate::Gate;
use super::super::parts::{Media, arguments, is_web, own_state, refusal, refuse_detail, text_of};
use super::super::{Encoded, Terms, tool_ids};
use super::thinking::{self, Asked};
use super::wire::{
    Block, Metadata, OutThinking, OutTool, OutToolChoice, OutputConfig, OutputFormat, Request, Source, Turn,
};
use crate::types::{
    Api, ChatRequest, Content, FieldError, ImageUrl, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice,
};

/// Sent when neither the request nor the provider says how long an answer may be: every model takes it.
const DEFAULT_MAX_TOKENS: u32 = 4096;
/// The highest temperature there is; OpenAI's scale goes to 2.
const MAX_TEMPERATURE: f64 = 1.0;
/// What it takes as an image, and as a document.
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";
const PLAIN: &str = "text/plain";
/// Words of `service_tier`; OpenAI's others mean nothing here.
const SERVICE_TIERS: &[&str] = &["auto", "standard_only"];

/// Encodes a request for `model`.
pub(in crate::adapter) fn request(
    request: &ChatRequest,
    model: &str,
    stream: bool,
    service: &'static Service,
    terms: Terms<'_>,
) -> Result<Encoded, FieldError> {
    let mut gate = Gate::new(service, model, request, terms);
    if request.foreign.as_ref().is_some_and(|foreign| foreign.api == Api::Anthropic) {
        return as_it_came(request, model, stream, service, terms, gate);
    }
    let (system, messages) = Turns::of(&request.messages, service, &mut gate)?;
    let bound = request.max_tokens.or(terms.max_tokens);
    let Asked { thinking, effort } = thinking::asked(request, model, bound, &mut gate);
    let (temperature, top_p) = sampling(request, thinking, &mut gate);
    let wire = Request {
        model,
        max_tokens: bound.unwrap_or_else(|| default_max_tokens(thinking)),
        system,
        messages,
        temperature: temperature.map(|value| clamped(value, &mut gate)),
        top_p,
        stop_sequences: stop_sequences(&request.stop, &mut gate),
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: tool_choice(request, &mut gate),
        metadata: gate.take("user", request.user.as_deref()).map(|user_id| Metadata { user_id }),
        output_config: output_config(request, effort, &mut gate),
        service_tier: passed(request, &mut gate),
        thinking,
        stream,
    };
    gate.take("presence_penalty", request.presence_penalty);
    gate.take("frequency_penalty", request.frequency_penalty);
    gate.take("seed", request.seed);
    gate.take("metadata", request.metadata.as_ref());
    Encoded::write(&wire, request, service, gate)
}

/// A request whose caller speaks this API: its own fields go over these, `messages` among them.
fn as_it_came(
    request: &ChatRequest,
    model: &str,
    stream: bool,
    service: &'static Service,
    terms: Terms<'_>,
    gate: Gate<'_>,
) -> Result<Encoded, FieldError> {
    let wire = Request {
        model,
        max_tokens: request.max_tokens.or(terms.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS),
        system: None,
        messages: Vec::new(),
        temperature: None,
        top_p: None,
        stop_sequences: Vec::new(),
        tools: Vec::new(),
        tool_choice: None,
        metadata: None,
        output_config: None,
        service_tier: None,
        thinking: None,
        stream,
    };
    Encoded::write(&wire, request, service, gate)
}

// === fields ===

/// Thoughts come out of `max_tokens`: what is said stays as long as it would be without them.
fn default_max_tokens(thinking: Option<OutThinking>) -> u32 {
    match thinking {
        Some(OutThinking::Enabled { budget_tokens }) => budget_tokens + DEFAULT_MAX_TOKENS,
        Some(OutThinking::Adaptive) | None => DEFAULT_MAX_TOKENS,
    }
}

/// A model that thinks takes neither; 1 is the temperature it then has.
fn sampling(request: &ChatRequest, thinking: Option<OutThinking>, gate: &mut Gate<'_>) -> (Option<f64>, Option<f64>) {
    let (temperature, top_p) = gate.take_sampling(request);
    if thinking.is_none() {
        return (temperature, top_p);
    }
    for (field, given) in [("temperature", temperature.filter(|value| *value != 1.0)), ("top_p", top_p)] {
        if given.is_some() {
            gate.refuse(field, "not taken by anthropic while the model thinks");
        }
    }
    (None, None)
}

fn clamped(temperature: f64, gate: &mut Gate<'_>) -> f64 {
    if temperature > MAX_TEMPERATURE {
        gate.warn("temperature", format_args!("{temperature} is above the highest here, {MAX_TEMPERATURE} sent"));
    }
    temperature.min(MAX_TEMPERATURE)
}

fn stop_sequences<'a>(stops: &'a [String], gate: &mut Gate<'_>) -> Vec<&'a str> {
    let stops = gate.take("stop", Some(stops).filter(|stops| !stops.is_empty())).unwrap_or_default();
    let sent: Vec<&str> = stops.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect();
    if sent.len() < stops.len() {
        gate.warn("stop", "entries of white space are refused here, not sent");
    }
    sent
}

fn tool(tool: &Tool) -> OutTool<'_> {
    let function = &tool.function;
    let input_schema = match &function.parameters {
        // The type is required here, and everywhere else it goes without saying.
        Some(Value::Object(schema)) if !schema.contains_key("type") => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), Value::from("object"));
            Cow::Owned(Value::Object(schema))
        }
        Some(schema) => Cow::Borrowed(schema),
        None => Cow::Owned(json!({ "type": "object", "properties": {} })),
    };
    OutTool {
        name: &function.name,
        description: function.description.as_deref(),
        input_schema,
        strict: function.strict,
    }
}

fn tool_choice<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<OutToolChoice<'a>> {
    let (choice, parallel) = gate.take_tool_fields(request);
    let one_at_a_time = parallel == Some(false);
    if choice.is_none() && !one_at_a_time {
        return None;
    }
    let (kind, name) = match choice.unwrap_or(&ToolChoice::Auto) {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Function(name) => ("tool", Some(name.as_str())),
    };
    // `none` has no such switch, and no calls either.
    Some(OutToolChoice { kind, name, disable_parallel_tool_use: one_at_a_time && kind != "none" })
}

fn output_config<'a>(
    request: &'a ChatRequest,
    effort: Option<&'a str>,
    gate: &mut Gate<'_>,
) -> Option<OutputConfig<'a>> {
    let format = match &request.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => {
            gate.refuse_unsupported("response_format"); // asked for in words, unless the configuration leaves it out
            None
        }
        Some(ResponseFormat::JsonSchema(format)) => match format.get("schema") {
            Some(schema) => gate.take("response_format", Some(OutputFormat { kind: "json_schema", schema })),
            None => {
                gate.refuse("response_format", "a json_schema without a schema is not supported by anthropic");
                None
            }
        },
    };
    if effort.is_none() && format.is_none() { None } else { Some(OutputConfig { effort, format }) }
}

/// Of OpenAI's further fields only the service tier has a counterpart, for two of its words.
fn passed<'a>(request: &'a ChatRequest, gate: &mut Gate<'_>) -> Option<&'a str> {
    let mut service_tier = None;
    for (name, value) in &request.openai_fields {
        match value.as_str().filter(|word| name == "service_tier" && SERVICE_TIERS.contains(word)) {
            Some(word) => service_tier = gate.take("service_tier", Some(word)),
            None if gate.knows(name) => gate.refuse_unsupported(name),
            None => {}
        }
    }
    service_tier
}

// === messages ===

struct Turns<'a, 'g, 'm> {
    service: &'static Service,
    gate: &'g mut Gate<'m>,
    system: Option<Cow<'a, str>>,
    turns: Vec<Turn<'a>>,
}

impl<'a> Turns<'a, '_, '_> {
    fn of(
        messages: &'a [Message],
        service: &'static Service,
        gate: &mut Gate<'_>,
    ) -> Result<(Option<Cow<'a, str>>, Vec<Turn<'a>>), FieldError> {
        if messages.iter().any(|message| message.name.is_some()) {
            gate.allows("messages[].name");
        }
        let mut turns = Turns { service, gate, system: None, turns: Vec::with_capacity(messages.len()) };
        for (index, message) in messages.iter().enumerate() {
            turns.add(index, message)?;
        }
        turns.trim_last();
        Ok((turns.system, turns.turns))
    }

    fn add(&mut self, index: usize, message: &'a Message) -> Result<(), FieldError> {
        match message.role {
            Role::System | Role::Developer => self.add_system(index, &message.content),
            Role::User => {
                let blocks = self.blocks(index, &message.content)?;
                self.say("user", index, blocks);
            }
            Role::Assistant => {
                let mut blocks = self.thoughts(message);
                blocks.extend(self.blocks(index, &message.content)?);
                // What the model said, if only to decline.
                if let Some(refusal) = message.refusal.as_deref().filter(|refusal| !refusal.is_empty()) {
                    blocks.push(Block::Text { text: Cow::Borrowed(refusal) });
                }
                for (at, call) in message.tool_calls.iter().enumerate() {
                    blocks.push(self.tool_use(index, at, call));
                }
                self.say("assistant", index, blocks);
            }
            Role::Tool => {
                let id = message.tool_call_id.as_deref().unwrap_or_default();
                let result = Block::ToolResult {
                    tool_use_id: tool_ids::fitting(id, self.service.dialect.tool_ids),
                    content: self.blocks(index, &message.content)?,
                };
                self.say("user", index, vec![result]);
            }
        }
        Ok(())
    }

    /// There is one system text, before everything.
    fn add_system(&mut self, index: usize, content: &'a Content) {
        if !self.turns.is_empty() {
            self.gate.warn(
                format_args!("messages[{index}].role"),
                "anthropic has system messages at the start only, moved there",
            );
        }
        let text = match content {
            Content::Text(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.plain_text()),
        };
        self.system = match self.system.take() {
            None if text.is_empty() => None,
            None => Some(text),
            Some(before) if text.is_empty() => Some(before),
            Some(before) => Some(Cow::Owned(format!("{before}\n\n{text}"))),
        };
    }

    /// Adds to the last turn where it has the same role: all results of one turn belong into one user turn.
    fn say(&mut self, role: &'static str, index: usize, blocks: Vec<Block<'a>>) {
        if blocks.is_empty() {
            self.gate.warn(format_args!("messages[{index}].content"), "is empty, which anthropic refuses, not sent");
            return;
        }
        match self.turns.last_mut().filter(|last| last.role == role) {
            Some(last) => last.content.extend(blocks),
            None => self.turns.push(Turn { role, content: blocks }),
        }
    }

    fn blocks(&mut self, index: usize, content: &'a Content) -> Result<Vec<Block<'a>>, FieldError> {
        match content {
            Content::Empty => Ok(Vec::new()),
            Content::Text(text) => Ok(text_block(text).into_iter().collect()),
            Content::Parts(parts) => {
                let mut blocks = Vec::with_capacity(parts.len());
                for (at, part) in parts.iter().enumerate() {
                    match part {
                        Part::Text { text } => blocks.extend(text_block(text)),
                        Part::ImageUrl { image_url } => {
                            blocks.push(image(image_url).map_err(|why| refusal(index, at, why))?);
                            refuse_detail(image_url, index, at, self.gate);
                        }
                        Part::File { file } => {
                            blocks.push(document(file).map_err(|why| refusal(index, at, why))?);
                        }
                        Part::InputAudio { .. } => return Err(refusal(index, at, "anthropic takes no audio")),
                    }
                }
                Ok(blocks)
            }
        }
    }

    /// What it thought before it said this, as it came: it goes on from there.
    fn thoughts(&self, message: &'a Message) -> Vec<Block<'a>> {
        let blocks = own_state(message, self.gate).and_then(|state| state.get("blocks")).and_then(Value::as_array);
        let known = |block: &&Value| matches!(text_of(block, "type"), Some("thinking" | "redacted_thinking"));
        blocks.into_iter().flatten().filter(known).map(Block::Thought).collect()
    }

    fn tool_use(&mut self, index: usize, at: usize, call: &'a ToolCall) -> Block<'a> {
        let input = arguments(call, index, at, self.gate);
        let id = tool_ids::fitting(&call.id, self.service.dialect.tool_ids);
        Block::ToolUse { id, name: &call.function.name, input }
    }

    /// A final assistant turn is a prefill, and one that ends in white space is refused.
    fn trim_last(&mut self) {
        if let Some(Turn { role: "assistant", content }) = self.turns.last_mut()
            && let Some(Block::Text { text }) = content.last_mut()
            && text.trim_end().len() < text.len()
        {
            let end = text.trim_end().len();
            match text {
                Cow::Borrowed(whole) => *whole = &whole[..end],
                Cow::Owned(whole) => whole.truncate(end),
            }
            if end == 0 {
                content.pop();
            }
            if content.is_empty() {
                self.turns.pop();
            }
            self.gate.warn("messages[].content", "white space at the end of the last assistant message was cut off");
        }
    }
}

/// Empty text blocks are refused.
fn text_block(text: &str) -> Option<Block<'_>> {
    if text.is_empty() { None } else { Some(Block::Text { text: Cow::Borrowed(text) }) }
}

fn image(image: &ImageUrl) -> Result<Block<'_>, &'static str> {
    let source = source(&image.url).ok_or("an image must be an http(s) URL or a data: URI in base64")?;
    match source {
        Source::Base64 { media_type: PDF, .. } => Ok(Block::Document { source, title: None }),
        Source::Base64 { media_type, .. } if !IMAGES.contains(&media_type) => {
            Err("anthropic takes images as JPEG, PNG, GIF or WebP")
        }
        _ => Ok(Block::Image { source }),
    }
}

fn document(file: &Value) -> Result<Block<'_>, &'static str> {
    let data = text_of(file, "file_data").ok_or("anthropic takes files only by their content, in file_data")?;
    let source = match source(data).ok_or("file_data must be a data: URI in base64")? {
        Source::Base64 { media_type: PLAIN, data } => Source::Text { media_type: PLAIN, data: plain_text(data)? },
        Source::Base64 { media_type, .. } if media_type != PDF => {
            return Err("anthropic takes files as PDF or plain text");
        }
        source => source,
    };
    Ok(Block::Document { source, title: text_of(file, "filename") })
}

/// A text goes as it is, not in base64.
fn plain_text(data: &str) -> Result<String, &'static str> {
    let bytes = STANDARD.decode(data).map_err(|_| "file_data must be a data: URI in base64")?;
    String::from_utf8(bytes).map_err(|_| "a plain text must be in UTF-8")
}

/// Anthropic fetches what is on the web by itself.
fn source(url: &str) -> Option<Source<'_>> {
    match Media::of(url)? {
        Media::Inline { media_type, data } => Some(Source::Base64 { media_type, data }),
        Media::Remote(url) => is_web(url).then_some(Source::Url { url }),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
