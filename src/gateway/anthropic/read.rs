//! Reads a request of the messages API into the pool's own shape.
//!
//! Source: the types of @anthropic-ai/sdk 1.14.0, `resources/messages/messages.ts`. A block or a tool that only
//! Anthropic itself can make anything of is named in a warning; it stays in what a provider of that API is sent.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::super::thoughts;
use crate::types::{
    Api, ChatRequest, Content, FieldError, ForeignFields, Function, ImageUrl, Message, Object, ParsedCall, Part,
    ReasoningState, Role, Tool, ToolCall, ToolChoice, check, read_text, said_of_surrogates,
};

/// Fields that the pool's own request says as well.
const UNDERSTOOD: &[&str] =
    &["messages", "system", "tools", "tool_choice", "temperature", "top_p", "stop_sequences", "metadata"];
/// Fields that the pool decides about.
const OWN: [&str; 3] = ["model", "max_tokens", "stream"];

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    max_tokens: Option<u32>,
    messages: Vec<Object<InMessage>>,
    #[serde(default)]
    system: Option<Blocks>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    tools: Option<Vec<Object<InTool>>>,
    tool_choice: Option<Object<InToolChoice>>,
    metadata: Option<Object<Metadata>>,
}

#[derive(Deserialize)]
struct Metadata {
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct InMessage {
    role: Role,
    content: Blocks,
}

/// A text, or blocks of which one may be a text.
#[derive(Default)]
struct Blocks(Vec<Block>);

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    Image {
        source: Object<Source>,
    },
    Document {
        source: Object<Source>,
        title: Option<String>,
    },
    ToolUse {
        id: String,
        name: String,
        input: Option<Map<String, Value>>,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(default)]
        content: Option<Blocks>,
        is_error: Option<bool>,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    RedactedThinking {},
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source {
    Base64 {
        media_type: String,
        data: String,
    },
    Url {
        url: String,
    },
    Text {
        data: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct InTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    name: String,
    description: Option<String>,
    input_schema: Option<Value>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct InToolChoice {
    #[serde(rename = "type")]
    kind: Choice,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Choice {
    Auto,
    Any,
    Tool,
    None,
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlocksVisitor;

        impl<'de> Visitor<'de> for BlocksVisitor {
            type Value = Blocks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of blocks")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blocks, E> {
                Ok(Blocks(vec![Block::Text { text: text.to_owned() }]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blocks, A::Error> {
                let mut blocks = Vec::new();
                while let Some(Object(block)) = seq.next_element()? {
                    blocks.push(block);
                }
                Ok(Blocks(blocks))
            }
        }

        deserializer.deserialize_any(BlocksVisitor)
    }
}

/// Reads and checks a request.
pub(super) fn request(json: &str) -> Result<ParsedCall, FieldError> {
    let (Object(body), _): (Object<Body>, usize) = read_text(json)?;
    let (mut fields, replaced): (Map<String, Value>, usize) = read_text(json)?;
    OWN.iter().for_each(|own| drop(fields.remove(*own)));
    if let Some(messages) = fields.get_mut("messages") {
        bring_thoughts_home(messages);
    }
    let mut reading = Reading::default();
    reading.warnings.extend(said_of_surrogates(replaced));
    reading.read_system(body.system);
    for (index, Object(message)) in body.messages.into_iter().enumerate() {
        reading.read_message(index, message)?;
    }
    let tools = reading.tools(body.tools.unwrap_or_default());
    let parallel_tool_calls =
        body.tool_choice.as_ref().and_then(|Object(choice)| choice.disable_parallel_tool_use).map(|disabled| !disabled);
    let request = ChatRequest {
        model: body.model,
        max_tokens: body.max_tokens,
        messages: reading.messages,
        temperature: body.temperature,
        top_p: body.top_p,
        stop: body.stop_sequences.unwrap_or_default(),
        // Without tools these mean nothing, and are refused elsewhere.
        tool_choice: body.tool_choice.filter(|_| !tools.is_empty()).map(tool_choice).transpose()?,
        parallel_tool_calls: parallel_tool_calls.filter(|_| !tools.is_empty()),
        tools,
        user: body.metadata.and_then(|Object(metadata)| metadata.user_id),
        foreign: Some(Box::new(ForeignFields { api: Api::Anthropic, fields, understood: UNDERSTOOD })),
        ..ChatRequest::default()
    };
    check(&request)?;
    Ok(ParsedCall {
        request,
        stream: body.stream.unwrap_or_default(),
        warnings: reading.warnings,
        ..ParsedCall::default()
    })
}

fn tool_choice(Object(choice): Object<InToolChoice>) -> Result<ToolChoice, FieldError> {
    Ok(match choice.kind {
        Choice::Auto => ToolChoice::Auto,
        Choice::Any => ToolChoice::Required,
        Choice::None => ToolChoice::None,
        Choice::Tool => ToolChoice::Function(choice.name.ok_or_else(|| FieldError {
            field: "tool_choice.name".to_owned(),
            message: "is missing: it says which tool must be called".to_owned(),
        })?),
    })
}

#[derive(Default)]
struct Reading {
    messages: Vec<Message>,
    warnings: Vec<String>,
}

impl Reading {
    fn read_system(&mut self, system: Option<Blocks>) {
        let Some(Blocks(blocks)) = system else { return };
        let parts = self.parts("system", blocks);
        if !parts.is_empty() {
            self.say(Role::System, content(parts));
        }
    }

    fn read_message(&mut self, index: usize, message: InMessage) -> Result<(), FieldError> {
        let Blocks(blocks) = message.content;
        match message.role {
            Role::Assistant => self.read_answer(index, blocks)?,
            role => self.read_question(index, role, blocks),
        }
        Ok(())
    }

    /// Results of tools are messages of their own, before what else is said.
    fn read_question(&mut self, index: usize, role: Role, blocks: Vec<Block>) {
        let at = format!("messages[{index}].content");
        let mut said = Vec::with_capacity(blocks.len());
        for block in blocks {
            match block {
                Block::ToolResult { tool_use_id, content: result, is_error } => {
                    let mut parts = self.parts(&at, result.unwrap_or_default().0);
                    if is_error == Some(true) {
                        mark_as_error(&mut parts);
                    }
                    self.say(Role::Tool, content(parts));
                    if let Some(message) = self.messages.last_mut() {
                        message.tool_call_id = Some(tool_use_id);
                    }
                }
                block => said.push(block),
            }
        }
        let parts = self.parts(&at, said);
        if !parts.is_empty() {
            self.say(role, content(parts));
        }
    }

    fn read_answer(&mut self, index: usize, blocks: Vec<Block>) -> Result<(), FieldError> {
        let at = format!("messages[{index}].content");
        let (mut said, mut calls, mut reasoning) = (Vec::with_capacity(blocks.len()), Vec::new(), String::new());
        let mut state: Option<ReasoningState> = None;
        for (number, block) in blocks.into_iter().enumerate() {
            match block {
                Block::ToolUse { id, name, input } => {
                    for (field, text) in [("id", &id), ("name", &name)] {
                        if text.is_empty() {
                            let field = format!("{at}[{number}].{field}");
                            return Err(FieldError { field, message: "must not be empty".to_owned() });
                        }
                    }
                    calls.push(ToolCall::function(id, name, Value::Object(input.unwrap_or_default()).to_string()));
                }
                Block::Thinking { thinking, signature } => {
                    reasoning.push_str(&thinking);
                    state = thoughts::opened(&signature).or(state);
                }
                Block::RedactedThinking {} => {}
                block => said.push(block),
            }
        }
        let parts = self.parts(&at, said);
        let content = if parts.is_empty() && !calls.is_empty() { Content::Empty } else { content(parts) };
        self.say(Role::Assistant, content);
        if let Some(message) = self.messages.last_mut() {
            message.tool_calls = calls;
            message.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
            message.reasoning_state = state.map(Box::new);
        }
        Ok(())
    }

    fn say(&mut self, role: Role, content: Content) {
        self.messages.push(Message { content, ..Message::text(role, "") });
    }

    fn parts(&mut self, at: &str, blocks: Vec<Block>) -> Vec<Part> {
        let mut parts = Vec::with_capacity(blocks.len());
        for (position, block) in blocks.into_iter().enumerate() {
            match part(block) {
                Some(part) => parts.push(part),
                None => self.warnings.push(format!("{at}[{position}]: only anthropic can read this block")),
            }
        }
        parts
    }

    fn tools(&mut self, tools: Vec<Object<InTool>>) -> Vec<Tool> {
        let mut read = Vec::with_capacity(tools.len());
        for (position, Object(tool)) in tools.into_iter().enumerate() {
            if tool.kind.as_deref().is_some_and(|kind| kind != "custom") {
                self.warnings.push(format!("tools[{position}]: only anthropic has this tool"));
                continue;
            }
            read.push(Tool {
                kind: "function".to_owned(),
                function: Function {
                    name: tool.name,
                    description: tool.description,
                    parameters: tool.input_schema,
                    strict: tool.strict,
                },
            });
        }
        read
    }
}

/// A lone text is a string, which every provider takes.
fn content(mut parts: Vec<Part>) -> Content {
    match parts.as_mut_slice() {
        [] => Content::Text(String::new()),
        [Part::Text { text }] => Content::Text(std::mem::take(text)),
        _ => Content::Parts(parts),
    }
}

/// Other APIs have no field for a tool that failed, so the model reads it.
fn mark_as_error(parts: &mut Vec<Part>) {
    match parts.first_mut() {
        Some(Part::Text { text }) => text.insert_str(0, "Error: "),
        _ => parts.insert(0, Part::Text { text: "Error".to_owned() }),
    }
}

/// `None`: there is no such part in any other API.
fn part(block: Block) -> Option<Part> {
    match block {
        Block::Text { text } => Some(Part::Text { text }),
        Block::Image { source } => {
            let url = match source.0 {
                Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
                Source::Url { url } => url,
                Source::Text { .. } | Source::Unknown => return None,
            };
            Some(Part::ImageUrl { image_url: ImageUrl { url, detail: None } })
        }
        Block::Document { source, title } => match source.0 {
            Source::Base64 { media_type, data } => {
                let data = format!("data:{media_type};base64,{data}");
                Some(Part::File {
                    file: json!({ "filename": title.unwrap_or("document.pdf".into()), "file_data": data }),
                })
            }
            Source::Url { url } => Some(Part::File { file: json!({ "filename": title, "file_data": url }) }),
            Source::Text { data } => Some(Part::Text { text: data }),
            Source::Unknown => None,
        },
        _ => None,
    }
}

/// Puts the thoughts of Anthropic's own models back where they were, and takes out those of others, which it could not
/// read: a thought without its signature is refused.
fn bring_thoughts_home(messages: &mut Value) {
    for message in messages.as_array_mut().into_iter().flatten() {
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else { continue };
        let signature = |block: &Value| match (block.get("type"), block.get("signature")) {
            (Some(Value::String(kind)), Some(Value::String(signature))) if kind == "thinking" => {
                Some(signature.clone())
            }
            _ => None,
        };
        let sealed = blocks.iter().filter_map(|block| thoughts::opened(&signature(block)?)).next_back();
        blocks
            .retain(|block| signature(block).is_none_or(|said| !said.is_empty() && thoughts::opened(&said).is_none()));
        let own = sealed.as_ref().and_then(|state| state.state.get("blocks")).and_then(Value::as_array);
        let is_thought = |block: &&Value| matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"));
        let own: Vec<_> = own.into_iter().flatten().filter(is_thought).cloned().collect();
        blocks.splice(0..0, own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: Value) -> ParsedCall {
        request(&body.to_string()).expect("valid")
    }

    #[test]
    fn a_conversation_is_read_turn_by_turn() {
        let call = parse(json!({
            "model": "m", "max_tokens": 5, "stream": true, "top_k": 3, "stop_sequences": ["x"],
            "system": [{ "type": "text", "text": "be kind", "cache_control": { "type": "ephemeral" } }],
            "tools": [{ "name": "f", "input_schema": { "type": "object" } }, { "type": "bash_20250124", "name": "bash" }],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            "metadata": { "user_id": "u" },
            "messages": [
                { "role": "user", "content": [
                    { "type": "text", "text": "look" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } }] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "" },
                    { "type": "text", "text": "ok" },
                    { "type": "tool_use", "id": "t1", "name": "f", "input": { "a": 1 } }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "t1", "content": "done" },
                    { "type": "text", "text": "and?" }] }
            ]
        }));
        let request = &call.request;
        let roles: Vec<_> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
        assert_eq!(request.messages[0].content, Content::Text("be kind".into()));
        assert!(matches!(&request.messages[1].content, Content::Parts(parts) if parts.len() == 2));
        assert_eq!(request.messages[2].tool_calls, [ToolCall::function("t1", "f", "{\"a\":1}")]);
        assert_eq!(request.messages[2].reasoning.as_deref(), Some("hm"));
        assert_eq!(request.messages[3].tool_call_id.as_deref(), Some("t1"));
        assert_eq!(
            (request.tool_choice.clone(), request.parallel_tool_calls),
            (Some(ToolChoice::Required), Some(false))
        );
        assert_eq!((request.tools.len(), request.user.as_deref(), call.stream), (1, Some("u"), true));
        assert_eq!(call.warnings, ["tools[1]: only anthropic has this tool"]);
        let foreign = request.foreign.as_ref().expect("the fields as they came");
        assert_eq!(foreign.only_here().collect::<Vec<_>>(), ["top_k"]);
        assert_eq!(foreign.fields["system"][0]["cache_control"]["type"], "ephemeral");
        assert_eq!(foreign.fields["messages"][1]["content"][0]["type"], "text", "a thought nobody signed is left out");
        assert!(!foreign.fields.contains_key("model"));
    }

    #[test]
    fn a_tool_that_failed_says_so_and_one_without_input_has_none() {
        let call = parse(json!({ "max_tokens": 5, "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "f" }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t1", "content": "no disk", "is_error": true }] },
        ] }));
        assert_eq!(call.request.messages[1].tool_calls, [ToolCall::function("t1", "f", "{}")]);
        assert_eq!(call.request.messages[2].content, Content::Text("Error: no disk".into()));
        let foreign = call.request.foreign.expect("the fields as they came");
        assert_eq!(foreign.fields["messages"][2]["content"][0]["content"], "no disk");
    }

    #[test]
    fn thoughts_come_home_to_the_provider_that_had_them() {
        let own = json!({ "type": "thinking", "thinking": "hm", "signature": "of anthropic" });
        let state = ReasoningState { provider: "a".into(), model: "m".into(), state: json!({ "blocks": [own] }) };
        let call = parse(json!({ "max_tokens": 5, "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": thoughts::sealed(&state) },
                { "type": "text", "text": "ok" }] },
        ] }));
        assert_eq!(call.request.messages[1].reasoning_state.as_deref(), Some(&state));
        let foreign = call.request.foreign.expect("the fields as they came");
        assert_eq!(foreign.fields["messages"][1]["content"], json!([own, { "type": "text", "text": "ok" }]));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (body, field) in [
            (json!({}), ""),
            (json!({ "messages": [] }), "messages"),
            (json!(["m", 5, [{ "role": "user", "content": "a" }]]), ""),
            (json!({ "messages": [["user", "a"]] }), "messages[0]"),
            (json!({ "messages": [{ "role": "user", "content": [["text", "a"]] }] }), "messages[0].content[0]"),
            (json!({ "messages": [{ "role": "user", "content": 7 }] }), "messages[0].content"),
            (json!({ "messages": [{ "role": "wizard", "content": "a" }] }), "messages[0].role"),
            (json!({ "messages": [{ "role": "user", "content": "a" }], "temperature": "hot" }), "temperature"),
            (
                json!({ "messages": [
                    { "role": "assistant", "content": [{ "type": "tool_use", "id": "", "name": "f", "input": {} }] }] }),
                "messages[0].content[0].id",
            ),
        ] {
            assert_eq!(request(&body.to_string()).expect_err("refused").field, field, "{body}");
        }
    }
}
