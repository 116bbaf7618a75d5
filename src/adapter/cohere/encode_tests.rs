use serde_json::{Value, json};

use super::super::super::testing;

const MODEL: &str = "command-a-03-2025";

fn encode(fields: Value) -> (Value, Vec<String>) {
    testing::encode("cohere", MODEL, fields)
}

#[test]
fn a_plain_request_holds_only_what_was_said() {
    let (body, warnings) = encode(json!({}));
    assert_eq!(body, json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] }));
    assert!(warnings.is_empty());
}

#[test]
fn sampling_fields_have_names_and_ranges_of_their_own() {
    let (body, warnings) = encode(json!({ "temperature": 0.5, "top_p": 1, "presence_penalty": -1,
        "frequency_penalty": 0.5, "stop": "x", "seed": 7, "max_tokens": 9, "logprobs": true }));
    assert_eq!(
        body,
        json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }], "temperature": 0.5, "p": 0.99,
            "presence_penalty": 0.0, "frequency_penalty": 0.5, "stop_sequences": ["x"], "seed": 7, "max_tokens": 9,
            "logprobs": true })
    );
    assert_eq!(warnings, ["top_p", "presence_penalty"]);
}

#[test]
fn messages_keep_their_order_and_calls_their_plan() {
    let (body, warnings) = encode(json!({ "messages": [
        { "role": "developer", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "b" }, { "type": "text", "text": "c" }] },
        { "role": "assistant", "content": "plan", "tool_calls": [
            { "id": "t", "type": "function", "function": { "name": "f", "arguments": "" } } ] },
        { "role": "tool", "tool_call_id": "t", "content": [{ "type": "text", "text": "1" }] },
        { "role": "assistant", "content": null, "refusal": "no" },
        { "role": "assistant", "content": "" },
        { "role": "user", "content": [{ "type": "text", "text": "see" },
            { "type": "image_url", "image_url": { "url": "https://h/i.png", "detail": "low" } }] },
    ] }));
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "a" },
            { "role": "user", "content": "bc" },
            { "role": "assistant", "tool_plan": "plan", "tool_calls": [
                { "id": "t", "type": "function", "function": { "name": "f", "arguments": "{}" } } ] },
            { "role": "tool", "tool_call_id": "t", "content": "1" },
            { "role": "assistant", "content": "no" },
            { "role": "user", "content": [{ "type": "text", "text": "see" },
                { "type": "image_url", "image_url": { "url": "https://h/i.png", "detail": "low" } }] },
        ])
    );
    assert_eq!(warnings, ["messages[5].content"]);
}

#[test]
fn content_that_cannot_be_carried_is_refused() {
    for (role, part) in [
        ("user", json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } })),
        ("user", json!({ "type": "file", "file": { "file_id": "file-1" } })),
        ("system", json!({ "type": "image_url", "image_url": { "url": "https://h/i.png" } })),
    ] {
        let messages = json!([{ "role": role, "content": [{ "type": "text", "text": "a" }, part] }]);
        let field = testing::refused("cohere", MODEL, json!({ "messages": messages }));
        assert_eq!(field, "messages[0].content[1]");
    }
}

#[test]
fn tools_and_choices_are_mapped() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "strict": true, "parameters": { "type": "object" } } },
        { "type": "function", "function": { "name": "g", "strict": true } },
    ]);
    let f = json!({ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } });
    let g = json!({ "type": "function", "function": { "name": "g", "parameters": { "type": "object", "properties": {} } } });
    let (body, warnings) = encode(json!({ "tools": tools }));
    assert_eq!((&body["tools"], &body["strict_tools"]), (&json!([f, g]), &json!(true)));
    assert!(warnings.is_empty());
    for (choice, word, offered) in [
        (json!("auto"), Value::Null, json!([f, g])),
        (json!("none"), json!("NONE"), json!([f, g])),
        (json!("required"), json!("REQUIRED"), json!([f, g])),
        (json!({ "type": "function", "function": { "name": "g" } }), json!("REQUIRED"), json!([g])),
    ] {
        let (body, warnings) = encode(json!({ "tools": tools, "tool_choice": choice }));
        assert_eq!((&body["tool_choice"], &body["tools"]), (&word, &offered), "{choice}");
        assert!(warnings.is_empty());
    }
    let mixed = json!([{ "type": "function", "function": { "name": "f", "strict": true } },
        { "type": "function", "function": { "name": "g" } }]);
    let (body, warnings) = encode(json!({ "tools": mixed, "parallel_tool_calls": false }));
    assert_eq!(body.get("strict_tools"), None);
    assert_eq!(warnings, ["parallel_tool_calls", "tools[].function.strict"]);
}

#[test]
fn structured_output_and_thinking_are_mapped_where_they_are() {
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } });
    let (body, warnings) = encode(json!({ "response_format": schema }));
    assert_eq!(body["response_format"], json!({ "type": "json_object", "json_schema": { "type": "object" } }));
    assert!(warnings.is_empty());
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let (body, warnings) = encode(json!({ "response_format": schema, "tools": tools }));
    assert_eq!((body.get("response_format"), warnings), (None, vec!["response_format".to_owned()]));
    for (model, effort, sent, warned) in [
        ("command-a-reasoning-08-2025", "none", json!({ "type": "disabled" }), false),
        ("command-a-reasoning-08-2025", "high", json!({ "type": "enabled" }), true),
        ("command-r-plus-08-2024", "high", Value::Null, true),
        (MODEL, "none", Value::Null, true),
    ] {
        let (body, warnings) = testing::encode("cohere", model, json!({ "reasoning_effort": effort }));
        assert_eq!((&body["thinking"], !warnings.is_empty()), (&sent, warned), "{model} {effort}");
    }
}

#[test]
fn every_field_without_a_counterpart_is_named() {
    let (body, mut warnings) = encode(json!({
        "metadata": { "k": "v" }, "user": "u", "logit_bias": {}, "top_logprobs": 2, "logprobs": 2, "store": true,
        "seed": -1, "stop": ["1", "2", "3", "4", "5", "6"], "tool_choice": "auto",
        "messages": [{ "role": "user", "name": "n", "content": "a" }],
    }));
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "logit_bias",
            "logprobs",
            "messages[].name",
            "metadata",
            "seed",
            "stop[5]",
            "store",
            "tool_choice",
            "top_logprobs",
            "user",
        ]
    );
    let sent: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(sent, ["model", "messages", "stop_sequences"]);
}
