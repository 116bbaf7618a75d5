//! What is sent in OpenAI's own dialect is what its API says it takes: held against a schema.

use std::path::PathBuf;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::conversation_tests::conversation;
use super::testing::chat_request;
use super::*;

fn schema() -> Validator {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures", "schema", "openai-chat-request.json"].iter().collect();
    let text = std::fs::read_to_string(path).expect("the schema");
    jsonschema::validator_for(&serde_json::from_str(&text).expect("JSON")).expect("a schema")
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

fn check(validator: &Validator) {
    for body in bodies() {
        let wrong: Vec<String> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}\n{body:#}", wrong.join("\n"));
    }
}

#[test]
fn the_openai_wire_is_what_its_api_takes() {
    let schema = schema();
    check(&schema);
    // The schema is one that can fail.
    for wrong in [
        json!({ "model": "m", "messages": [] }),
        json!({ "model": "m", "messages": [{ "role": "robot", "content": "hi" }] }),
        json!({ "model": "m", "messages": [{ "role": "tool", "content": "hi" }] }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 5 }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tool_choice": "auto" }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi", "reasoning_state": {} }] }),
    ] {
        assert!(!schema.is_valid(&wrong), "{wrong}");
    }
}

/// `OPENAI_OPENAPI=openapi.json cargo test official -- --ignored`, with the document of github.com/openai/openai-openapi.
#[test]
#[ignore = "needs OpenAI's own document"]
#[expect(clippy::disallowed_methods, reason = "a test may ask where a file is")]
fn the_openai_wire_is_what_the_official_document_takes() {
    let path = std::env::var_os("OPENAI_OPENAPI").expect("OPENAI_OPENAPI: where openapi.json is");
    let mut document: Value = serde_json::from_slice(&std::fs::read(path).expect("the document")).expect("JSON");
    let root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/components/schemas/CreateChatCompletionRequest",
        "components": { "schemas": document["components"]["schemas"].take() },
    });
    check(&jsonschema::validator_for(&root).expect("a schema"));
}
