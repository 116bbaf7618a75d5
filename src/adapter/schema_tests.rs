//! What is sent in OpenAI's own dialect is what its API says it takes: held against its published document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::conversation_tests::conversation;
use super::testing::chat_request;
use super::*;
use crate::types::{EmbedInput, EmbedRequest, EncodingFormat};

/// What the official document says of a request. There a field that it does not name is no mistake; here it is.
fn schema(request: &str) -> Validator {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures", "schema", "openai.json"].iter().collect();
    let text = std::fs::read_to_string(path).expect("the schema");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    let mut parts = Vec::new();
    parts_of(&document, &mut parts);
    for (name, schema) in document["$defs"].as_object_mut().expect("schemas") {
        close(schema, parts.contains(&format!("#/$defs/{name}")));
    }
    document["$ref"] = json!(format!("#/$defs/{request}"));
    jsonschema::validator_for(&document).expect("a schema")
}

/// Which schemas stand in an `allOf` of another.
fn parts_of(schema: &Value, parts: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| parts_of(item, parts)),
        Value::Object(keys) => {
            let all = keys.get("allOf").and_then(Value::as_array).into_iter().flatten();
            parts.extend(all.filter_map(|part| Some(part.get("$ref")?.as_str()?.to_owned())));
            keys.values().for_each(|inner| parts_of(inner, parts));
        }
        _ => {}
    }
}

/// Refuses properties that nobody has named. Parts of an `allOf` know only their own.
fn close(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, is_part)),
        Value::Object(keys) => {
            let open = is_part || keys.contains_key("additionalProperties");
            if !open && (keys.contains_key("allOf") || keys.get("properties").is_some_and(Value::is_object)) {
                keys.insert("unevaluatedProperties".to_owned(), json!(false));
            }
            for (key, inner) in keys.iter_mut() {
                close(inner, key == "allOf");
            }
        }
        _ => {}
    }
}

/// Requests with everything the pool has a meaning for, in every form.
fn requests() -> Vec<ChatRequest> {
    let tools = json!([{ "type": "function", "function": { "name": "f", "description": "d", "strict": false,
        "parameters": { "type": "object", "properties": {} } } }, { "function": { "name": "g" } }]);
    let mut requests = vec![conversation(), chat_request(json!({}))];
    for choice in
        [json!("none"), json!("auto"), json!("required"), json!({ "type": "function", "function": { "name": "f" } })]
    {
        requests.push(chat_request(json!({ "tools": tools, "tool_choice": choice, "parallel_tool_calls": false })));
    }
    for format in [json!({ "type": "text" }), json!({ "type": "json_object" })] {
        requests.push(chat_request(json!({ "response_format": format })));
    }
    requests.push(chat_request(json!({
        "temperature": 2, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2, "max_tokens": 1, "stop": "END",
        "seed": -1, "user": "u", "metadata": { "k": "v" }, "tool_choice": "auto", "parallel_tool_calls": true,
        "messages": [
            { "role": "system", "name": "n", "content": [{ "type": "text", "text": "s" }] },
            { "role": "user", "content": [
                { "type": "image_url", "image_url": "https://h/a.png" },
                { "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } },
            ] },
            { "role": "assistant", "content": null, "refusal": "no" },
            { "role": "assistant", "content": "", "tool_calls": [{ "id": "x".repeat(99), "function": { "name": "f", "arguments": "" } }] },
            { "role": "tool", "tool_call_id": "x".repeat(99), "content": [{ "type": "text", "text": "1" }] },
        ],
    })));
    requests
}

/// Every body of those requests, plain and streamed.
fn bodies() -> Vec<Value> {
    let mut bodies = Vec::new();
    for (name, model) in [("openai", "gpt-5.1"), ("openai", "gpt-4o"), ("openai", "o3"), ("azure", "gpt-4o")] {
        let params = EndpointParams {
            base_url: Some("http://localhost".to_owned()),
            ..EndpointParams::new(service(name).expect("known"))
        };
        let endpoint = Endpoint::new(params).expect("valid");
        for request in requests() {
            for stream in [false, true] {
                let encoded = endpoint.encode_chat(&request, model, stream, &[]).expect("encodes");
                bodies.push(serde_json::from_slice(&encoded.body).expect("JSON"));
            }
        }
    }
    bodies
}

/// Requests for embeddings in every form.
fn embeddings() -> Vec<Value> {
    let params = EndpointParams::new(service("openai").expect("known"));
    let endpoint = Endpoint::new(params).expect("valid");
    let encode = |input: EmbedInput, encoding_format| {
        let request = EmbedRequest {
            model: None,
            input,
            dimensions: Some(8),
            encoding_format,
            user: Some("u".to_owned()),
            extra_body: BTreeMap::new(),
        };
        let encoded = endpoint.encode_embed(&request, "text-embedding-3-small", 0..1).expect("encodes");
        serde_json::from_slice(&encoded.body).expect("JSON")
    };
    vec![
        encode(EmbedInput::Texts(vec!["a".to_owned()]), EncodingFormat::Float),
        encode(EmbedInput::Tokens(vec![vec![1, 2]]), EncodingFormat::Base64),
    ]
}

fn check(validator: &Validator, bodies: Vec<Value>) {
    for body in bodies {
        let wrong: Vec<String> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}\n{body:#}", wrong.join("\n"));
    }
}

#[test]
fn the_openai_wire_is_what_its_official_document_takes() {
    let schema = schema("CreateChatCompletionRequest");
    check(&schema, bodies());
    // The schema is one that can fail.
    for wrong in [
        json!({ "model": "m", "messages": [] }),
        json!({ "model": "m", "messages": [{ "role": "robot", "content": "hi" }] }),
        json!({ "model": "m", "messages": [{ "role": "tool", "content": "hi" }] }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_output": 5 }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "temperature": 3 }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi", "reasoning_state": {} }] }),
    ] {
        assert!(!schema.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn the_openai_wire_of_embeddings_is_what_its_official_document_takes() {
    let schema = schema("CreateEmbeddingRequest");
    check(&schema, embeddings());
    assert!(!schema.is_valid(&json!({ "model": "m", "input": "a", "task": "search" })));
    assert!(!schema.is_valid(&json!({ "model": "m", "input": [[]] })));
}
