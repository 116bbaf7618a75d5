//! One rich conversation, as every service is sent it: field by field in `__test__/fixtures/conversation`, and in general
//! that nothing of it is lost without a word. `UPDATE_DOCS=1 cargo test conversation` writes the fixtures anew.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::testing::chat_request;
use super::*;

/// Letters that some services refuse, and more of them than others take.
const FIRST: &str = "functions.get_weather:0/0123456789abcdef0123456789";
const SECOND: &str = "call_2";
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const SCHEMA: &str = "http://json-schema.org/draft-07/schema#";

/// Every service with a model that has most of what is asked for.
const MODELS: &[(&str, &str)] = &[
    ("openai", "gpt-5.1"),
    ("azure", "gpt-4o"),
    ("groq", "openai/gpt-oss-120b"),
    ("together", "Qwen/Qwen3-235B-A22B-Instruct-2507"),
    ("mistral", "mistral-large-latest"),
    ("deepseek", "deepseek-chat"),
    ("openrouter", "openai/gpt-4o-mini"),
    ("xai", "grok-4"),
    ("fireworks", "accounts/fireworks/models/qwen3-235b-a22b"),
    ("perplexity", "sonar"),
    ("openai-compatible", "qwen3"),
    ("anthropic", "claude-sonnet-4-6"),
    ("gemini", "gemini-3-flash"),
    ("cohere", "command-a-03-2025"),
    ("ollama", "qwen3"),
];

/// System, developer, an image, parallel calls (one of them with arguments that are no JSON), their results, a schema for
/// the answer, and reasoning that somebody else did.
pub(super) fn conversation() -> ChatRequest {
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "get_weather", "arguments": arguments } });
    chat_request(json!({
        "messages": [
            { "role": "system", "content": "You are brief." },
            { "role": "developer", "content": "Name the source." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is the weather where this was taken, and in Oslo?" },
                { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{PIXEL}"), "detail": "low" } },
            ] },
            {
                "role": "assistant", "content": "I look it up.", "reasoning": "Two cities.",
                "reasoning_state": { "provider": "elsewhere", "model": "m", "state": { "blocks": ["secret"] } },
                "tool_calls": [call(FIRST, "{\"city\":\"Paris\"}"), call(SECOND, "{\"city\": \"Oslo\"")],
            },
            { "role": "tool", "tool_call_id": FIRST, "content": "{\"celsius\":21}" },
            { "role": "tool", "tool_call_id": SECOND, "content": "no such city" },
            { "role": "user", "content": "Which is warmer?" },
        ],
        "tools": [
            { "type": "function", "function": { "name": "get_weather", "description": "Weather of a city", "strict": true,
                "parameters": { "$schema": SCHEMA, "type": "object", "properties": { "city": { "type": "string" } },
                    "required": ["city"], "additionalProperties": false } } },
            { "type": "function", "function": { "name": "now" } },
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "response_format": { "type": "json_schema", "json_schema": { "name": "warmer", "strict": true, "schema": {
            "type": "object", "properties": { "warmest": { "type": "string" } }, "required": ["warmest"],
            "additionalProperties": false } } },
        "reasoning_effort": "low",
        "max_tokens": 500,
    }))
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures", "conversation"].iter().collect()
}

/// What is sent, with what is said about it; or the field for which it is refused.
fn sent(name: &str, model: &str) -> Value {
    let params = EndpointParams {
        name: "mine".to_owned(),
        base_url: Some("http://localhost".to_owned()),
        ..EndpointParams::new(service(name).expect("known"))
    };
    match Endpoint::new(params).expect("valid").encode_chat(&conversation(), model, false, &[]) {
        Ok(Encoded { body, warnings, .. }) => {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            json!({ "model": model, "body": body, "warnings": warnings })
        }
        Err(refused) => json!({ "model": model, "refused": refused.to_string() }),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
fn the_conversation_is_sent_to_every_service_field_by_field() {
    assert_eq!(MODELS.len(), services().len(), "a model for each");
    for (name, model) in MODELS {
        let path = folder().join(format!("{name}.json"));
        let mut fresh = sent(name, model);
        fresh.sort_all_objects();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{fresh:#}\n")).expect("a fixture");
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let expected: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(fresh, expected, "{name}: {}", path.display());
    }
}

/// Every string in the value.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[test]
fn nothing_of_the_conversation_is_lost_without_a_word() {
    for (name, model) in MODELS {
        let sent = sent(name, model);
        if let Some(refused) = sent.get("refused") {
            assert_eq!((*name, refused), ("perplexity", &json!("messages[3]: perplexity takes no tools")));
            continue;
        }
        let (body, warnings) = (&sent["body"], sent["warnings"].as_array().expect("a list"));
        let named =
            |field: &str| warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.starts_with(field)));
        let mut said = Vec::new();
        texts(body, &mut said);
        let holds = |part: &str| said.iter().any(|text| text.contains(part));
        for text in [
            "You are brief.",
            "Name the source.",
            "where this was taken",
            "I look it up.",
            "no such city",
            "warmer?",
            PIXEL,
        ] {
            assert!(holds(text), "{name}: {text}");
        }
        let whole = body.to_string();
        for key in ["celsius", "Paris", "Oslo", "get_weather", "Weather of a city", "\"now\"", "additionalProperties"] {
            assert!(whole.contains(key), "{name}: {key}");
        }
        assert!(!whole.contains("secret") && named("messages[3].reasoning_state"), "{name}: thoughts of somebody else");
        for (field, sent) in [
            ("messages[2].content[1].image_url.detail", whole.contains("\"detail\":\"low\"")),
            ("response_format", whole.contains("warmest")),
            ("reasoning_effort", ["\"low\"", "\"LOW\"", "enabled"].iter().any(|word| whole.contains(word))),
            ("max_tokens", whole.contains("500")),
            ("tools[].function.strict", whole.contains("strict")),
        ] {
            assert!(sent || named(field), "{name}: {field} is neither sent nor named: {warnings:?}");
        }
        let cut = said.contains(&"{\"city\": \"Oslo\"");
        assert!(cut, "{name}: arguments that are no JSON come as they were, as text");
    }
}

/// The ids of calls, and those that results answer, wherever a dialect has them.
fn ids(value: &Value, calls: &mut Vec<String>, answers: &mut Vec<String>) {
    let id = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::Array(items) => items.iter().for_each(|item| ids(item, calls, answers)),
        Value::Object(fields) => {
            let is_call = fields.contains_key("function") || fields.get("type") == Some(&json!("tool_use"));
            if is_call && let Some(id) = id(value, "id") {
                calls.push(id);
            }
            calls.extend(fields.get("functionCall").and_then(|call| id(call, "id")));
            answers.extend(fields.get("functionResponse").and_then(|result| id(result, "id")));
            answers.extend(id(value, "tool_call_id").or_else(|| id(value, "tool_use_id")));
            fields.values().for_each(|value| ids(value, calls, answers));
        }
        _ => {}
    }
}

#[test]
fn ids_fit_and_pair_up_everywhere() {
    for (name, model) in MODELS.iter().filter(|(name, _)| *name != "perplexity") {
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        ids(&sent(name, model)["body"], &mut calls, &mut answers);
        assert_eq!((calls.len(), &calls), (2, &answers), "{name}");
        assert_ne!(calls[0], calls[1], "{name}");
        let word = |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        match *name {
            "openai" | "azure" => assert!(calls.iter().all(|id| id.len() <= 40), "{name}: {calls:?}"),
            "anthropic" => assert!(calls.iter().all(word), "{calls:?}"),
            "mistral" => assert!(calls.iter().all(|id| id.len() == 9 && word(id)), "{calls:?}"),
            _ => assert_eq!(calls, [FIRST, SECOND], "{name}"),
        }
    }
}

#[test]
fn results_of_one_turn_are_grouped_as_each_dialect_wants_them() {
    let body = |name: &str| {
        MODELS.iter().find(|(known, _)| *known == name).map(|(_, model)| sent(name, model)["body"].clone())
    };
    let (anthropic, gemini, mistral) = (body("anthropic").unwrap(), body("gemini").unwrap(), body("mistral").unwrap());
    let kinds = |parts: &Value| -> Vec<String> {
        let kind = |part: &Value| {
            part["type"].as_str().map_or_else(
                || part.as_object().map_or_else(String::new, |keys| keys.keys().next().cloned().unwrap_or_default()),
                str::to_owned,
            )
        };
        parts.as_array().into_iter().flatten().map(kind).collect()
    };
    // Both results and the next question are one user turn, the results first.
    assert_eq!(kinds(&anthropic["messages"][2]["content"]), ["tool_result", "tool_result", "text"]);
    assert_eq!(kinds(&gemini["contents"][2]["parts"]), ["functionResponse", "functionResponse", "text"]);
    // There a user never speaks right after a tool.
    let roles: Vec<&str> =
        mistral["messages"].as_array().into_iter().flatten().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["system", "system", "user", "assistant", "tool", "tool", "assistant", "user"]);
}
