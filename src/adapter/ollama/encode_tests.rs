use serde_json::{Value, json};

use super::super::super::testing;
use crate::adapter::Endpoint;
use crate::adapter::EndpointParams;

const MODEL: &str = "llama3.2";

fn encode(fields: Value) -> (Value, Vec<String>) {
    testing::encode("ollama", MODEL, fields)
}

fn refused(messages: Value) -> String {
    testing::refused("ollama", MODEL, json!({ "messages": messages }))
}

#[test]
fn what_is_on_by_default_is_said_to_be_off() {
    let (body, warnings) = encode(json!({}));
    assert_eq!(
        body,
        json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }],
            "stream": false, "truncate": false, "shift": false })
    );
    assert!(warnings.is_empty());
    let request = testing::chat_request(json!({}));
    let encoded = testing::endpoint("ollama").encode_chat(&request, MODEL, true, &[]).expect("encodes");
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).expect("JSON")["stream"], true);
}

#[test]
fn no_key_is_needed_and_one_is_a_bearer() {
    let service = crate::adapter::service("ollama").expect("known");
    assert!(!service.needs_key);
    let endpoint = Endpoint::new(EndpointParams::new(service)).expect("valid");
    assert_eq!(endpoint.chat_url("m", true).as_str(), "http://localhost:11434/api/chat");
    let (name, value) = endpoint.auth("k").expect("a key");
    assert_eq!((name.as_str(), value.to_str().expect("text")), ("authorization", "Bearer k"));
}

#[test]
fn sampling_fields_are_options() {
    let (body, warnings) = encode(json!({ "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1,
        "frequency_penalty": -1, "stop": "x", "seed": -7, "max_tokens": 9, "logprobs": true, "top_logprobs": 3,
        "extra_body": { "ollama": { "options": { "num_ctx": 8192, "seed": 8 }, "keep_alive": -1, "stream": true } } }));
    assert_eq!(
        body["options"],
        json!({ "num_predict": 9, "temperature": 0.5, "top_p": 0.5, "seed": 8, "stop": ["x"],
            "presence_penalty": 1.0, "frequency_penalty": -1.0, "num_ctx": 8192 })
    );
    assert_eq!((&body["logprobs"], &body["top_logprobs"], &body["keep_alive"]), (&json!(true), &json!(3), &json!(-1)));
    assert_eq!((&body["stream"], warnings), (&json!(false), vec!["extra_body.ollama.stream".to_owned()]));
}

#[test]
fn messages_are_text_with_images_beside_it() {
    let (body, warnings) = encode(json!({ "messages": [
        { "role": "developer", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "b" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }, { "type": "text", "text": "c" }] },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "t", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
            { "id": "u", "type": "function", "function": { "name": "g", "arguments": "[" } } ] },
        { "role": "tool", "tool_call_id": "u", "content": "1" },
        { "role": "tool", "tool_call_id": "v", "content": "2" },
        { "role": "assistant", "content": "", "refusal": "no" },
    ] }));
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "a" },
            { "role": "user", "content": "bc", "images": ["AAAA"] },
            { "role": "assistant", "content": "", "tool_calls": [
                { "id": "t", "function": { "name": "f", "arguments": { "x": 1 } } },
                { "id": "u", "function": { "name": "g", "arguments": { "arguments": "[" } } } ] },
            { "role": "tool", "content": "1", "tool_name": "g", "tool_call_id": "u" },
            { "role": "tool", "content": "2", "tool_call_id": "v" },
            { "role": "assistant", "content": "no" },
        ])
    );
    assert_eq!(warnings, ["messages[2].tool_calls[1].function.arguments"]);
}

#[test]
fn what_it_would_have_to_fetch_is_refused() {
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    for part in [
        image("https://example.org/a.png"),
        image("http://example.org/a.png"),
        image("data:application/pdf;base64,AAAA"),
        image("AAAA"),
        json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }),
        json!({ "type": "file", "file": { "file_data": "data:application/pdf;base64,AAAA" } }),
    ] {
        let messages = json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, part] }]);
        assert_eq!(refused(messages), "messages[0].content[1]");
    }
}

#[test]
fn tools_are_offered_and_none_are_where_none_may_be_called() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } },
        { "type": "function", "function": { "name": "g" } },
    ]);
    let f = json!({ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } });
    let g = json!({ "type": "function", "function": { "name": "g", "parameters": { "type": "object", "properties": {} } } });
    for (choice, offered, warned) in [
        (json!("auto"), json!([f, g]), false),
        (json!("none"), Value::Null, false),
        (json!("required"), json!([f, g]), true),
        (json!({ "type": "function", "function": { "name": "g" } }), json!([g]), true),
    ] {
        let (body, warnings) = encode(json!({ "tools": tools, "tool_choice": choice }));
        assert_eq!((&body["tools"], warnings.as_slice() == ["tool_choice"]), (&offered, warned), "{choice}");
    }
}

#[test]
fn format_and_thinking_are_mapped() {
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } });
    assert_eq!(encode(json!({ "response_format": schema })).0["format"], json!({ "type": "object" }));
    assert_eq!(encode(json!({ "response_format": { "type": "json_object" } })).0["format"], "json");
    for (effort, sent, warned) in [
        ("none", json!(false), false),
        ("low", json!("low"), false),
        ("max", json!("max"), false),
        ("minimal", json!("low"), true),
        ("xhigh", json!("high"), true),
        ("very much", Value::Null, true),
    ] {
        let (body, warnings) = encode(json!({ "reasoning_effort": effort }));
        assert_eq!((&body["think"], !warnings.is_empty()), (&sent, warned), "{effort}");
    }
}

#[test]
fn every_field_without_a_counterpart_is_named() {
    let (body, mut warnings) = encode(json!({
        "metadata": { "k": "v" }, "user": "u", "logit_bias": {}, "store": true, "service_tier": "flex",
        "parallel_tool_calls": false, "tools": [{ "type": "function", "function": { "name": "f", "strict": true } }],
        "messages": [{ "role": "user", "name": "n", "content": [{ "type": "text", "text": "a" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "low" } }] }],
    }));
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "logit_bias",
            "messages[0].content[1].image_url.detail",
            "messages[].name",
            "metadata",
            "parallel_tool_calls",
            "service_tier",
            "store",
            "tools[].function.strict",
            "user",
        ]
    );
    assert_eq!(body.get("options"), None);
}
