use serde_json::{Value, json};

use super::super::super::testing;
use super::*;

const MODEL: &str = "gemini-2.5-flash";

fn encode(fields: Value) -> (Value, Vec<String>) {
    testing::encode("gemini", MODEL, fields)
}

fn contents(model: &str, messages: Value) -> (Value, Vec<String>) {
    let (body, warnings) = testing::encode("gemini", model, json!({ "messages": messages }));
    (body["contents"].clone(), warnings)
}

fn part(part: Value) -> Value {
    contents(MODEL, json!([{ "role": "user", "content": [part] }])).0[0]["parts"][0].clone()
}

fn refused(messages: Value) -> String {
    testing::refused("gemini", MODEL, json!({ "messages": messages }))
}

#[test]
fn a_plain_request_holds_only_what_was_said() {
    let (body, warnings) = encode(json!({}));
    assert_eq!(body, json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }));
    assert!(warnings.is_empty());
}

#[test]
fn sampling_fields_have_names_of_their_own() {
    let (body, warnings) = testing::encode(
        "gemini",
        "gemini-2.0-flash",
        json!({ "temperature": 2, "top_p": 0.5, "max_tokens": 9, "stop": ["a", "b"], "seed": 7,
            "presence_penalty": 1, "frequency_penalty": -1 }),
    );
    assert_eq!(
        body["generationConfig"],
        json!({ "temperature": 2.0, "topP": 0.5, "maxOutputTokens": 9, "stopSequences": ["a", "b"], "seed": 7,
            "presencePenalty": 1.0, "frequencyPenalty": -1.0 })
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn system_messages_are_joined_on_top() {
    let (body, warnings) = encode(json!({ "messages": [
        { "role": "system", "content": "a" },
        { "role": "developer", "content": [{ "type": "text", "text": "b" }] },
        { "role": "user", "content": "hi" },
        { "role": "system", "content": "late" },
    ] }));
    assert_eq!(body["systemInstruction"], json!({ "parts": [{ "text": "a\n\nb\n\nlate" }] }));
    assert_eq!(body["contents"], json!([{ "role": "user", "parts": [{ "text": "hi" }] }]));
    assert_eq!(warnings, ["messages[3].role"]);
}

#[test]
fn a_model_without_system_messages_gets_the_text_from_the_user() {
    let messages = json!([{ "role": "system", "content": "a" }, { "role": "user", "content": "hi" }]);
    let (sent, warnings) = contents("gemma-3-27b-it", messages);
    assert_eq!(sent, json!([{ "role": "user", "parts": [{ "text": "a" }, { "text": "hi" }] }]));
    assert_eq!(warnings, ["messages[].role"]);
    let (sent, warnings) = contents(MODEL, json!([{ "role": "system", "content": "a" }]));
    assert_eq!(sent, json!([{ "role": "user", "parts": [{ "text": "a" }] }]));
    assert_eq!(warnings, ["messages[].role"]);
}

const CALLS: &str = r#"[
    { "role": "user", "content": "q" },
    { "role": "assistant", "content": "let me see", "tool_calls": [
        { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
        { "id": "b", "type": "function", "function": { "name": "g", "arguments": "" } } ] },
    { "role": "tool", "tool_call_id": "a", "content": "{\"deg\": 3}" },
    { "role": "tool", "tool_call_id": "b", "content": [{ "type": "text", "text": "co" }, { "type": "text", "text": "ld" }] },
    { "role": "user", "content": "go on" }]"#;

#[test]
fn calls_and_results_become_parts_and_a_result_finds_its_name() {
    let (sent, warnings) = contents(MODEL, serde_json::from_str(CALLS).expect("JSON"));
    assert_eq!(
        sent,
        json!([
            { "role": "user", "parts": [{ "text": "q" }] },
            { "role": "model", "parts": [
                { "text": "let me see" },
                { "functionCall": { "id": "a", "name": "f", "args": { "x": 1 } } },
                { "functionCall": { "id": "b", "name": "g", "args": {} } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "id": "a", "name": "f", "response": { "deg": 3 } } },
                { "functionResponse": { "id": "b", "name": "g", "response": { "result": "cold" } } },
                { "text": "go on" },
            ] },
        ])
    );
    assert!(warnings.is_empty());
}

#[test]
fn a_result_without_its_call_needs_a_name() {
    let alone = |name: Value| json!([{ "role": "tool", "tool_call_id": "a", "content": "1", "name": name }]);
    assert_eq!(refused(alone(Value::Null)), "messages[0].tool_call_id");
    let (sent, warnings) = contents(MODEL, alone(json!("f")));
    assert_eq!(sent[0]["parts"][0]["functionResponse"]["name"], "f");
    assert!(warnings.is_empty());
}

#[test]
fn calls_of_the_open_turn_are_signed_where_the_model_wants_it() {
    let mut messages: Value = serde_json::from_str(CALLS).expect("JSON");
    let signatures = |messages: &Value, model: &str| -> Vec<Value> {
        let parts = contents(model, messages.clone()).0[1]["parts"].clone();
        parts.as_array().expect("parts")[1..].iter().map(|part| part["thoughtSignature"].clone()).collect()
    };
    // The turn was closed by another question.
    assert_eq!(signatures(&messages, "gemini-3-flash-preview"), [Value::Null, Value::Null]);
    messages.as_array_mut().expect("messages").pop();
    assert_eq!(signatures(&messages, "gemini-3-flash-preview"), [json!(NO_SIGNATURE), Value::Null]);
    assert_eq!(signatures(&messages, MODEL), [Value::Null, Value::Null]);
}

#[test]
fn arguments_that_are_no_object_are_wrapped_and_named() {
    let (sent, warnings) = contents(
        MODEL,
        json!([{ "role": "assistant", "content": null,
            "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "[1" } }] }]),
    );
    assert_eq!(sent[0]["parts"][0]["functionCall"]["args"], json!({ "arguments": "[1" }));
    assert_eq!(warnings, ["messages[0].tool_calls[0].function.arguments"]);
}

#[test]
fn media_are_inline_or_files_that_gemini_reads_itself() {
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    assert_eq!(
        part(image("data:image/png;base64,AAAA")),
        json!({ "inlineData": { "mimeType": "image/png", "data": "AAAA" } })
    );
    for uri in ["gs://bucket/a.png", "https://generativelanguage.googleapis.com/v1beta/files/x", "https://youtu.be/x"] {
        assert_eq!(part(image(uri)), json!({ "fileData": { "fileUri": uri } }));
    }
    assert_eq!(
        part(json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } })),
        json!({ "inlineData": { "mimeType": "audio/wav", "data": "AA" } })
    );
    let pdf = "data:application/pdf;base64,AAAA";
    assert_eq!(
        part(json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": pdf } })),
        json!({ "inlineData": { "mimeType": "application/pdf", "data": "AAAA" } })
    );
    for part in [
        image("https://example.org/a.png"),
        image("AAAA"),
        image("data:image/png,AAAA"),
        json!({ "type": "file", "file": { "file_id": "file-1" } }),
        json!({ "type": "file", "file": {} }),
        json!({ "type": "input_audio", "input_audio": {} }),
    ] {
        let messages = json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, part] }]);
        assert_eq!(refused(messages), "messages[0].content[1]");
    }
}

#[test]
fn an_image_of_a_tool_stands_beside_its_result() {
    let (sent, _) = contents(
        MODEL,
        json!([{ "role": "tool", "name": "f", "tool_call_id": "a", "content": [
            { "type": "text", "text": "see" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } },
        ] }]),
    );
    assert_eq!(
        sent[0]["parts"],
        json!([
            { "functionResponse": { "id": "a", "name": "f", "response": { "result": "see" } } },
            { "inlineData": { "mimeType": "image/png", "data": "AA" } },
        ])
    );
}

#[test]
fn tools_keep_their_schema_but_for_what_says_nothing() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "parameters": {
            "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
            "properties": { "x": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "type": "string" } } } } },
        { "type": "function", "function": { "name": "g" } },
        { "type": "function", "function": { "name": "h", "parameters": { "type": "object", "properties": {}, "additionalProperties": false } } },
        { "type": "function", "function": { "name": "i", "parameters": { "type": "object", "additionalProperties": true } } },
    ]);
    let (body, warnings) = encode(json!({ "tools": tools }));
    assert_eq!(
        body["tools"],
        json!([{ "functionDeclarations": [
            { "name": "f", "description": "d", "parametersJsonSchema": {
                "type": "object", "additionalProperties": false,
                "properties": { "x": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "type": "string" } } } },
            { "name": "g" },
            { "name": "h" },
            { "name": "i", "parametersJsonSchema": { "type": "object", "additionalProperties": true } },
        ] }])
    );
    assert_eq!(warnings, ["tools[0].function.parameters"]);
    assert_eq!(body.get("toolConfig"), None);
    for (choice, sent) in [
        (json!("auto"), json!({ "mode": "AUTO" })),
        (json!("none"), json!({ "mode": "NONE" })),
        (json!("required"), json!({ "mode": "ANY" })),
        (
            json!({ "type": "function", "function": { "name": "f" } }),
            json!({ "mode": "ANY", "allowedFunctionNames": ["f"] }),
        ),
    ] {
        let (body, _) = encode(json!({ "tools": tools, "tool_choice": choice }));
        assert_eq!(body["toolConfig"]["functionCallingConfig"], sent);
    }
}

#[test]
fn structured_output_is_asked_for_where_the_model_has_it() {
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } });
    let (body, warnings) = encode(json!({ "response_format": schema }));
    assert_eq!(
        body["generationConfig"],
        json!({ "responseMimeType": "application/json", "responseJsonSchema": { "type": "object" } })
    );
    assert!(warnings.is_empty());
    let (body, _) = encode(json!({ "response_format": { "type": "json_object" } }));
    assert_eq!(body["generationConfig"], json!({ "responseMimeType": "application/json" }));
    let both = json!({ "response_format": schema, "tools": [{ "type": "function", "function": { "name": "f" } }] });
    let (body, warnings) = encode(both.clone());
    assert_eq!((body.get("generationConfig"), warnings), (None, vec!["response_format".to_owned()]));
    let (body, warnings) = testing::encode("gemini", "gemini-3-flash", both);
    assert!(body["generationConfig"]["responseJsonSchema"].is_object() && warnings.is_empty());
}

#[test]
fn effort_is_said_as_the_family_is_told() {
    for (model, effort, sent, warned) in [
        (MODEL, "none", json!({ "thinkingBudget": 0 }), false),
        (MODEL, "low", json!({ "thinkingBudget": 1024, "includeThoughts": true }), false),
        (MODEL, "high", json!({ "thinkingBudget": 24576, "includeThoughts": true }), false),
        ("gemini-2.5-pro", "none", json!({ "thinkingBudget": 1024, "includeThoughts": true }), true),
        ("gemini-3-flash", "minimal", json!({ "thinkingLevel": "MINIMAL", "includeThoughts": true }), false),
        ("gemini-3-flash", "none", json!({ "thinkingLevel": "MINIMAL" }), true),
        ("gemini-3-pro", "medium", json!({ "thinkingLevel": "HIGH", "includeThoughts": true }), true),
        ("gemini-3.1-pro", "minimal", json!({ "thinkingLevel": "LOW", "includeThoughts": true }), true),
        ("gemini-3.1-pro", "xhigh", json!({ "thinkingLevel": "HIGH", "includeThoughts": true }), true),
        ("gemini-3.1-pro", "medium", json!({ "thinkingLevel": "MEDIUM", "includeThoughts": true }), false),
        ("gemini-2.0-flash", "none", Value::Null, false),
        ("gemini-2.0-flash", "low", Value::Null, true),
        (MODEL, "very much", Value::Null, true),
    ] {
        let (body, warnings) = testing::encode("gemini", model, json!({ "reasoning_effort": effort }));
        assert_eq!(body["generationConfig"]["thinkingConfig"], sent, "{model} {effort}");
        assert_eq!(warnings.as_slice() == ["reasoning_effort"], warned, "{model} {effort} {warnings:?}");
    }
}

#[test]
fn every_field_without_a_counterpart_is_named() {
    let (body, mut warnings) = encode(json!({
        "presence_penalty": 1, "frequency_penalty": 1, "metadata": { "k": "v" }, "logprobs": true, "logit_bias": {},
        "store": true, "service_tier": "flex", "user": "u", "seed": 3_000_000_000_u64,
        "stop": ["1", "2", "3", "4", "5", "6"], "parallel_tool_calls": false,
        "tools": [{ "type": "function", "function": { "name": "f", "strict": true } }],
        "messages": [{ "role": "user", "name": "n", "content": [
            { "type": "text", "text": "a" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "high" } },
        ] }, { "role": "assistant", "content": "" }],
    }));
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "messages[0].content[1].image_url.detail",
            "messages[1].content",
            "messages[].name",
            "metadata",
            "parallel_tool_calls",
            "presence_penalty",
            "seed",
            "service_tier",
            "stop[5]",
            "store",
            "tools[].function.strict",
            "user",
        ]
    );
    assert_eq!(body["generationConfig"], json!({ "stopSequences": ["1", "2", "3", "4", "5"] }));
}

#[test]
fn extra_body_adds_to_the_generation_config() {
    let (body, _) = encode(json!({ "temperature": 0.5, "seed": 1, "extra_body": { "gemini": {
        "generationConfig": { "topK": 3, "seed": 2 }, "safetySettings": [] } } }));
    assert_eq!(body["generationConfig"], json!({ "temperature": 0.5, "topK": 3, "seed": 2 }));
    assert_eq!(body["safetySettings"], json!([]));
}
