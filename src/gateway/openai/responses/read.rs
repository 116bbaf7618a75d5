//! Reads a request of the responses API into the pool's own shape.
//!
//! Source: the types of openai 7.57.0, `resources/responses/responses.ts`. What would need a memory, or a tool that runs
//! at OpenAI, is refused by name; what only tunes such a thing is named in a warning.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::super::super::thoughts;
use crate::types::{
    ChatRequest, Content, FieldError, Function, ImageUrl, Message, Object, ParsedCall, Part, ResponseFormat, Role,
    Tool, ToolCall, ToolChoice, check, read_text, said_of_surrogates,
};

/// Fields that are repeated in the answer as they were asked.
#[derive(Debug, Default)]
pub(super) struct Echo(pub Map<String, Value>);

/// What stands in the answer for a field that was not there.
type Unsaid = fn() -> Value;

/// Fields of the request that the answer repeats, with what stands there when nothing was said.
const REPEATED: &[(&str, Unsaid)] = &[
    ("instructions", || Value::Null),
    ("max_output_tokens", || Value::Null),
    ("metadata", || json!({})),
    ("parallel_tool_calls", || Value::Bool(true)),
    ("reasoning", || json!({ "effort": null, "summary": null })),
    ("temperature", || Value::Null),
    ("text", || json!({ "format": { "type": "text" } })),
    ("tool_choice", || json!("auto")),
    ("tools", || json!([])),
    ("top_p", || Value::Null),
    ("truncation", || json!("disabled")),
    ("user", || Value::Null),
];

/// Fields that ask for what a gateway without a memory does not have, unless they say that it is not wanted.
const REFUSED: &[(&str, &str)] = &[
    ("previous_response_id", "no response is kept here; send the whole conversation as input"),
    ("conversation", "no conversation is kept here; send the whole of it as input"),
    ("background", "no response is kept here; leave it out or stream"),
    ("prompt", "no prompt is kept here; send what it says"),
];

/// Fields that are read, or that change nothing here.
const READ: &[&str] = &[
    "model",
    "input",
    "stream",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "text",
    "reasoning",
    "user",
    "metadata",
    // Nothing is stored, the encrypted reasoning is in every answer, and usage at the end of every stream.
    "store",
    "include",
    "stream_options",
];

/// Fields that OpenAI's chat API has under the same name.
const PASSED: &[&str] = &["service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"];

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Option<Input>,
    instructions: Option<String>,
    stream: Option<bool>,
    max_output_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    tools: Option<Vec<Object<InTool>>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    text: Option<Object<TextConfig>>,
    reasoning: Option<Object<Reasoning>>,
    user: Option<String>,
    metadata: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct TextConfig {
    format: Option<Value>,
    verbosity: Option<Value>,
}

#[derive(Deserialize)]
struct Reasoning {
    effort: Option<String>,
}

#[derive(Deserialize)]
struct InTool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    description: Option<String>,
    parameters: Option<Value>,
    strict: Option<bool>,
}

/// A text, or items.
enum Input {
    Text(String),
    Items(Vec<Object<Item>>),
}

#[derive(Deserialize)]
struct Item {
    /// A message needs none.
    #[serde(rename = "type", default)]
    kind: Option<String>,
    role: Option<Role>,
    content: Option<Contents>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    output: Option<Contents>,
    encrypted_content: Option<String>,
    summary: Option<Vec<Object<InPart>>>,
}

/// A text, or parts.
enum Contents {
    Text(String),
    Parts(Vec<Object<InPart>>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum InPart {
    #[serde(alias = "input_text", alias = "output_text", alias = "summary_text", alias = "reasoning_text")]
    Text {
        text: String,
    },
    Refusal {
        refusal: String,
    },
    InputImage {
        image_url: Option<String>,
        detail: Option<String>,
    },
    InputFile {
        #[serde(flatten)]
        file: Map<String, Value>,
    },
}

/// A text, or a list of something.
struct TextOr<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOr<T> {
    type Value = Result<String, Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            list.push(item);
        }
        Ok(Err(list))
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = deserializer.deserialize_any(TextOr(std::marker::PhantomData))?;
        Ok(read.map_or_else(Self::Items, Self::Text))
    }
}

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = deserializer.deserialize_any(TextOr(std::marker::PhantomData))?;
        Ok(read.map_or_else(Self::Parts, Self::Text))
    }
}

/// Reads and checks a request.
pub(super) fn request(json: &str) -> Result<(ParsedCall, Echo), FieldError> {
    let (Object(body), _): (Object<Body>, usize) = read_text(json)?;
    let (fields, replaced): (Map<String, Value>, usize) = read_text(json)?;
    for (field, why) in REFUSED {
        if fields.get(*field).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
            return Err(refused(*field, *why));
        }
    }
    let mut warnings = Vec::new();
    warnings.extend(said_of_surrogates(replaced));
    let known = |name: &str| READ.contains(&name) || PASSED.contains(&name) || name == "truncation";
    let unknown = fields.iter().filter(|(name, value)| !known(name) && !value.is_null());
    warnings.extend(unknown.map(|(name, _)| format!("{name}: not known here, not sent")));
    if fields.get("truncation").is_some_and(|value| value == "auto") {
        warnings.push("truncation: nothing is left out of a prompt that is too long".to_owned());
    }
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())));
    let mut openai_fields: Map<String, Value> = passed.filter(|(_, value)| !value.is_null()).collect();
    let (mut response_format, mut reasoning_effort) = (None, None);
    if let Some(Object(TextConfig { format, verbosity })) = body.text {
        response_format = format.map(text_format).transpose()?;
        openai_fields.extend(verbosity.filter(|value| !value.is_null()).map(|value| ("verbosity".to_owned(), value)));
    }
    if let Some(Object(Reasoning { effort })) = body.reasoning {
        reasoning_effort = effort;
    }
    let tools = tools(body.tools.unwrap_or_default())?;
    let request = ChatRequest {
        model: body.model,
        messages: messages(body.instructions, body.input)?,
        max_tokens: body.max_output_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        tool_choice: body.tool_choice.filter(|_| !tools.is_empty()).map(|choice| tool_choice(&choice)).transpose()?,
        parallel_tool_calls: body.parallel_tool_calls.filter(|_| !tools.is_empty()),
        tools,
        response_format,
        reasoning_effort,
        user: body.user,
        metadata: body.metadata.filter(|metadata| !metadata.is_empty()),
        openai_fields,
        ..ChatRequest::default()
    };
    check(&request)?;
    let repeated = |(name, unsaid): &(&str, Unsaid)| {
        let said = fields.get(*name).filter(|value| !value.is_null()).cloned();
        ((*name).to_owned(), said.unwrap_or_else(unsaid))
    };
    let echo = Echo(REPEATED.iter().map(repeated).collect());
    let call = ParsedCall { request, stream: body.stream.unwrap_or_default(), warnings, ..ParsedCall::default() };
    Ok((call, echo))
}

fn refused(field: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), message: message.into() }
}

/// `json_schema` has its fields beside its type here, and in an object of their own in the chat API.
fn text_format(format: Value) -> Result<ResponseFormat, FieldError> {
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(ResponseFormat::Text),
        Some("json_object") => Ok(ResponseFormat::JsonObject),
        Some("json_schema") => {
            let Value::Object(mut fields) = format else { return Err(refused("text.format", "must be an object")) };
            fields.remove("type");
            Ok(ResponseFormat::JsonSchema(Value::Object(fields)))
        }
        _ => Err(refused("text.format.type", "must be \"text\", \"json_object\" or \"json_schema\"")),
    }
}

fn tools(tools: Vec<Object<InTool>>) -> Result<Vec<Tool>, FieldError> {
    let read = |(at, Object(InTool { kind, name, description, parameters, strict })): (usize, Object<InTool>)| {
        if kind != "function" {
            return Err(refused(
                format!("tools[{at}].type"),
                format!("{kind:?} runs at OpenAI; here are tools of the type \"function\""),
            ));
        }
        Ok(Tool { kind, function: Function { name, description, parameters, strict } })
    };
    tools.into_iter().enumerate().map(read).collect()
}

fn tool_choice(choice: &Value) -> Result<ToolChoice, FieldError> {
    match (choice.as_str(), choice.get("type").and_then(Value::as_str), choice.get("name").and_then(Value::as_str)) {
        (Some("auto"), ..) => Ok(ToolChoice::Auto),
        (Some("none"), ..) => Ok(ToolChoice::None),
        (Some("required"), ..) => Ok(ToolChoice::Required),
        (None, Some("function"), Some(name)) => Ok(ToolChoice::Function(name.to_owned())),
        _ => Err(refused("tool_choice", "must be \"auto\", \"none\", \"required\" or { type: \"function\", name }")),
    }
}

fn messages(instructions: Option<String>, input: Option<Input>) -> Result<Vec<Message>, FieldError> {
    let mut messages: Vec<Message> = instructions.map(|text| Message::text(Role::System, text)).into_iter().collect();
    match input {
        None => return Err(refused("input", "is missing: it is what the model is to answer")),
        Some(Input::Text(text)) => messages.push(Message::text(Role::User, text)),
        Some(Input::Items(items)) if items.is_empty() => {
            return Err(refused("input", "must not be empty: it is what the model is to answer"));
        }
        Some(Input::Items(items)) => {
            for (at, Object(item)) in items.into_iter().enumerate() {
                read_item(at, item, &mut messages)?;
            }
        }
    }
    Ok(messages)
}

fn read_item(at: usize, item: Item, messages: &mut Vec<Message>) -> Result<(), FieldError> {
    let path = |field: &str| format!("input[{at}].{field}");
    let named = |field: &str, text: Option<String>| match text {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => Err(refused(path(field), "must not be empty")),
        None => Err(refused(path(field), "is missing")),
    };
    match item.kind.as_deref().unwrap_or("message") {
        "message" => {
            let role = item.role.ok_or_else(|| refused(path("role"), "is missing"))?;
            let (content, refusal) = contents(item.content, &path("content"))?;
            if role == Role::Assistant {
                let turn = answering(messages, true);
                turn.content = if content.is_empty() { Content::Empty } else { content };
                turn.refusal = refusal;
            } else {
                messages.push(Message { content, ..Message::text(role, "") });
            }
        }
        "function_call" => {
            let (call_id, name) = (named("call_id", item.call_id)?, named("name", item.name)?);
            let arguments = item.arguments.ok_or_else(|| refused(path("arguments"), "is missing"))?;
            answering(messages, false).tool_calls.push(ToolCall::function(call_id, name, arguments));
        }
        "function_call_output" => {
            let call_id = named("call_id", item.call_id)?;
            let output = item.output.ok_or_else(|| refused(path("output"), "is missing"))?;
            let (content, _) = contents(Some(output), &path("output"))?;
            let mut message = Message { content, ..Message::text(Role::Tool, "") };
            message.tool_call_id = Some(call_id);
            messages.push(message);
        }
        "reasoning" => {
            let turn = answering(messages, true);
            let texts = item.summary.into_iter().flatten().filter_map(|Object(part)| match part {
                InPart::Text { text } => Some(text),
                _ => None,
            });
            // A turn may think more than once before it says anything.
            let thought = turn.reasoning.take().into_iter().chain(texts).collect::<Vec<_>>().join("\n\n");
            turn.reasoning = Some(thought).filter(|text| !text.is_empty());
            let state = item.encrypted_content.and_then(|text| thoughts::opened(&text)).map(Box::new);
            turn.reasoning_state = state.or(turn.reasoning_state.take());
        }
        other => {
            let message =
                format!("{other:?} is not known here; items are messages, function calls, their outputs and reasoning");
            return Err(refused(path("type"), message));
        }
    }
    Ok(())
}

/// The turn of the assistant that an item belongs to: reasoning, text and calls are items of their own here and one
/// message everywhere else. `first`: what stands before the calls of a turn.
fn answering(messages: &mut Vec<Message>, first: bool) -> &mut Message {
    let goes_on = messages.last().is_some_and(|last| {
        let open = last.content == Content::Empty && last.tool_calls.is_empty();
        last.role == Role::Assistant && (open || !first)
    });
    if !goes_on {
        messages.push(Message { content: Content::Empty, ..Message::text(Role::Assistant, "") });
    }
    let at = messages.len() - 1;
    &mut messages[at]
}

/// What an item says, and what it declines.
fn contents(contents: Option<Contents>, path: &str) -> Result<(Content, Option<String>), FieldError> {
    let parts = match contents {
        None => return Ok((Content::Text(String::new()), None)),
        Some(Contents::Text(text)) => return Ok((Content::Text(text), None)),
        Some(Contents::Parts(parts)) => parts,
    };
    let (mut read, mut declined) = (Vec::with_capacity(parts.len()), None);
    for (at, Object(part)) in parts.into_iter().enumerate() {
        read.push(match part {
            InPart::Text { text } => Part::Text { text },
            InPart::Refusal { refusal } => {
                declined = Some(refusal);
                continue;
            }
            InPart::InputImage { image_url: Some(url), detail } => {
                Part::ImageUrl { image_url: ImageUrl { url, detail } }
            }
            InPart::InputImage { image_url: None, .. } => {
                return Err(refused(format!("{path}[{at}].image_url"), "is missing; no file is kept here"));
            }
            InPart::InputFile { file } => Part::File { file: Value::Object(file) },
        });
    }
    Ok(match read.as_mut_slice() {
        [] => (Content::Text(String::new()), declined),
        [Part::Text { text }] => (Content::Text(std::mem::take(text)), declined),
        _ => (Content::Parts(read), declined),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: Value) -> ParsedCall {
        request(&body.to_string()).expect("valid").0
    }

    #[test]
    fn items_become_turns() {
        let call = parse(json!({
            "model": "m", "instructions": "be kind", "max_output_tokens": 5, "store": false, "stream": true,
            "include": ["reasoning.encrypted_content"], "reasoning": { "effort": "low" }, "service_tier": "auto",
            "text": { "format": { "type": "json_schema", "name": "n", "schema": {} }, "verbosity": "low" },
            "tools": [{ "type": "function", "name": "f", "parameters": {}, "strict": true }],
            "tool_choice": { "type": "function", "name": "f" }, "max_tool_calls": 3,
            "input": [
                { "role": "user", "content": [
                    { "type": "input_text", "text": "look" }, { "type": "input_image", "image_url": "https://a.b/c.png" }] },
                { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }] },
                { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "ok", "annotations": [] }] },
                { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
                { "type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}" },
                { "type": "function_call_output", "call_id": "c1", "output": "1" },
                { "type": "function_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "2" }] },
                { "type": "function_call", "call_id": "c3", "name": "f", "arguments": "{}" }
            ]
        }));
        let messages = &call.request.messages;
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        use Role::{Assistant, System, Tool as Result, User};
        assert_eq!(roles, [System, User, Assistant, Result, Result, Assistant]);
        assert_eq!((messages[2].reasoning.as_deref(), messages[2].tool_calls.len()), (Some("hm"), 2));
        assert_eq!(messages[2].content, Content::Text("ok".into()));
        assert_eq!(messages[4].content, Content::Text("2".into()));
        assert_eq!(call.request.tool_choice, Some(ToolChoice::Function("f".into())));
        assert!(
            matches!(&call.request.response_format, Some(ResponseFormat::JsonSchema(format)) if format["name"] == "n")
        );
        assert_eq!(call.request.openai_fields.keys().collect::<Vec<_>>(), ["service_tier", "verbosity"]);
        assert_eq!(call.warnings, ["max_tool_calls: not known here, not sent"]);
        assert!(call.stream);
    }

    #[test]
    fn thoughts_of_one_turn_stay_together() {
        let call = parse(json!({ "top_logprobs": 2, "input": [
            { "role": "user", "content": "hi" },
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "one" }] },
            { "type": "reasoning", "summary": null, "encrypted_content": null },
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "two" }] },
            { "role": "assistant", "content": "ok" },
        ] }));
        assert_eq!(call.request.messages.len(), 2);
        assert_eq!(call.request.messages[1].reasoning.as_deref(), Some("one\n\ntwo"));
        assert_eq!(call.warnings, ["top_logprobs: not known here, not sent"]);
    }

    #[test]
    fn what_needs_a_memory_is_refused_by_name() {
        for (body, field) in [
            (json!({}), "input"),
            (json!({ "input": [] }), "input"),
            (json!(["m", "hi"]), ""),
            (json!({ "input": [["message", "user", "hi"]] }), "input[0]"),
            (json!({ "input": [{ "role": "user", "content": [["input_text", "a"]] }] }), "input[0].content[0]"),
            (json!({ "input": "a", "previous_response_id": "resp_1" }), "previous_response_id"),
            (json!({ "input": "a", "background": true }), "background"),
            (json!({ "input": "a", "tools": [{ "type": "web_search" }] }), "tools[0].type"),
            (json!({ "input": "a", "text": { "format": { "type": "xml" } } }), "text.format.type"),
            (json!({ "input": [{ "type": "item_reference", "id": "x" }] }), "input[0].type"),
            (json!({ "input": [{ "content": "a" }] }), "input[0].role"),
            (json!({ "input": [{ "type": "function_call", "name": "f", "arguments": "{}" }] }), "input[0].call_id"),
            (json!({ "input": [{ "type": "function_call", "call_id": "", "name": "f" }] }), "input[0].call_id"),
            (json!({ "input": [{ "type": "function_call", "call_id": "c", "arguments": "{}" }] }), "input[0].name"),
            (json!({ "input": [{ "type": "function_call", "call_id": "c", "name": "f" }] }), "input[0].arguments"),
            (json!({ "input": [{ "type": "function_call_output", "output": "1" }] }), "input[0].call_id"),
            (json!({ "input": [{ "type": "function_call_output", "call_id": "c" }] }), "input[0].output"),
            (
                json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }),
                "input[0].content[0].image_url",
            ),
            (json!({ "input": 7 }), "input"),
        ] {
            assert_eq!(request(&body.to_string()).expect_err("refused").field, field, "{body}");
        }
        parse(json!({ "input": "a", "background": false, "previous_response_id": null }));
    }
}
