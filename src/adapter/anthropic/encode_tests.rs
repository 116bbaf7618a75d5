use serde_json::{Value, json};

use super::super::super::{Endpoint, EndpointParams, service};
use super::*;
use crate::types::parse_call;

const MODEL: &str = "claude-sonnet-4-6";

fn params(max_tokens: Option<u32>) -> EndpointParams {
    EndpointParams { max_tokens, ..EndpointParams::new(service("anthropic").expect("known")) }
}

fn endpoint(max_tokens: Option<u32>) -> Endpoint {
    Endpoint::new(params(max_tokens)).expect("valid")
}

fn chat_request(fields: Value) -> ChatRequest {
    let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let Value::Object(fields) = fields else { panic!("an object") };
    call.as_object_mut().expect("an object").extend(fields);
    parse_call(&call.to_string()).expect("valid").request
}

fn encode_for(model: &str, fields: Value) -> (Value, Vec<String>) {
    let encoded = endpoint(None).encode_chat(&chat_request(fields), model, false, &[]).expect("encodes");
    let named = encoded.warnings.iter().map(|warning| warning.split(": ").next().unwrap_or_default().to_owned());
    (serde_json::from_slice(&encoded.body).expect("JSON"), named.collect())
}

fn encode(fields: Value) -> (Value, Vec<String>) {
    encode_for(MODEL, fields)
}

fn messages(messages: Value) -> (Value, Vec<String>) {
    let (body, warnings) = encode(json!({ "messages": messages }));
    (body["messages"].clone(), warnings)
}

fn refused(messages: Value) -> String {
    let request = chat_request(json!({ "messages": messages }));
    endpoint(None).encode_chat(&request, MODEL, false, &[]).expect_err("refused").field
}

#[test]
fn a_plain_request_holds_only_what_is_required() {
    let (body, warnings) = encode(json!({}));
    let expected = json!({ "model": MODEL, "max_tokens": 4096, "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(body, expected);
    assert!(warnings.is_empty());
    let encoded = endpoint(None).encode_chat(&chat_request(json!({})), MODEL, true, &[]).expect("encodes");
    assert_eq!(serde_json::from_slice::<Value>(&encoded.body).expect("JSON")["stream"], true);
}

#[test]
fn the_bound_of_the_answer_is_the_requests_the_providers_or_ours() {
    let bound = |provider: Option<u32>, fields: Value| -> Value {
        let encoded = endpoint(provider).encode_chat(&chat_request(fields), MODEL, false, &[]).expect("encodes");
        serde_json::from_slice::<Value>(&encoded.body).expect("JSON")["max_tokens"].clone()
    };
    assert_eq!(bound(Some(9), json!({ "max_tokens": 7 })), 7);
    assert_eq!(bound(Some(9), json!({})), 9);
    assert_eq!(bound(None, json!({})), 4096);
}

#[test]
fn system_messages_are_joined_on_top() {
    let (body, warnings) = encode(json!({ "messages": [
        { "role": "system", "content": "a" },
        { "role": "developer", "content": [{ "type": "text", "text": "b" }] },
        { "role": "user", "content": "hi" },
        { "role": "system", "content": "late" },
    ] }));
    assert_eq!(body["system"], "a\n\nb\n\nlate");
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "hi" }]));
    assert_eq!(warnings, ["messages[3].role"]);
}

#[test]
fn calls_and_results_become_blocks_and_results_share_a_turn() {
    let (sent, warnings) = messages(json!([
        { "role": "user", "content": "q" },
        { "role": "assistant", "content": "let me see", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1}" } },
            { "id": "functions.g:1", "type": "function", "function": { "name": "g", "arguments": "" } },
        ] },
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "tool", "tool_call_id": "functions.g:1", "content": [{ "type": "text", "text": "2" }, { "type": "text", "text": "3" }] },
        { "role": "user", "content": "go on" },
    ]));
    let id = sent[1]["content"][2]["id"].clone();
    assert_eq!(
        sent,
        json!([
            { "role": "user", "content": "q" },
            { "role": "assistant", "content": [
                { "type": "text", "text": "let me see" },
                { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } },
                { "type": "tool_use", "id": id, "name": "g", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": "1" },
                { "type": "tool_result", "tool_use_id": id, "content": [{ "type": "text", "text": "2" }, { "type": "text", "text": "3" }] },
                { "type": "text", "text": "go on" },
            ] },
        ])
    );
    assert!(id.as_str().expect("an id").starts_with("call_"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(".id"), "{warnings:?}");
}

#[test]
fn arguments_that_are_no_object_are_wrapped_and_named() {
    for (arguments, input) in [
        ("{\"x\":", json!({ "arguments": "{\"x\":" })),
        ("[1]", json!({ "arguments": "[1]" })),
        ("null", json!({ "arguments": "null" })),
        (" {} ", json!({})),
    ] {
        let (sent, warnings) = messages(json!([
            { "role": "assistant", "content": null,
              "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": arguments } }] },
        ]));
        assert_eq!(sent[0]["content"][0]["input"], input, "{arguments}");
        assert_eq!(warnings.is_empty(), input == json!({}), "{arguments}");
    }
}

#[test]
fn images_and_documents_are_mapped_by_where_they_are() {
    let image =
        |url: &str| json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }]);
    let block = |url: &str| messages(image(url)).0[0]["content"][0].clone();
    assert_eq!(
        block("data:image/png;base64,AAAA"),
        json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } })
    );
    assert_eq!(
        block("https://example.org/a.png"),
        json!({ "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } })
    );
    assert_eq!(block("DATA:application/pdf;base64,AAAA")["type"], "document");
    for url in ["data:image/png,AAAA", "data:;base64,AAAA", "file:///etc/passwd", "AAAA", ""] {
        assert_eq!(refused(image(url)), "messages[0].content[0]", "{url}");
    }
    let (sent, _) = messages(json!([{ "role": "user", "content": [
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } },
    ] }]));
    assert_eq!(
        (&sent[0]["content"][0]["type"], &sent[0]["content"][0]["title"]),
        (&json!("document"), &json!("a.pdf"))
    );
}

#[test]
fn content_that_cannot_be_carried_is_refused() {
    for part in [
        json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }),
        json!({ "type": "file", "file": { "file_id": "file-1" } }),
    ] {
        assert_eq!(
            refused(json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, part] }])),
            "messages[0].content[1]"
        );
    }
}

#[test]
fn empty_text_never_becomes_a_block() {
    let (sent, warnings) = messages(json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "" },
        { "role": "user", "content": [{ "type": "text", "text": "" }, { "type": "text", "text": "b" }] },
    ]));
    assert_eq!(
        sent,
        json!([{ "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }])
    );
    assert_eq!(warnings, ["messages[1].content"]);
    let (sent, _) = messages(json!([{ "role": "tool", "tool_call_id": "a", "content": "" }]));
    assert_eq!(sent[0]["content"], json!([{ "type": "tool_result", "tool_use_id": "a" }]));
}

#[test]
fn a_prefill_loses_its_trailing_white_space() {
    let (sent, warnings) =
        messages(json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b \n" }]));
    assert_eq!((&sent[1]["content"], warnings.len()), (&json!("b"), 1));
    let (sent, _) = messages(json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": " " }]));
    assert_eq!(sent.as_array().map(Vec::len), Some(1));
}

#[test]
fn temperature_is_clamped_with_a_warning() {
    let (body, warnings) = encode(json!({ "temperature": 1.5 }));
    assert_eq!((&body["temperature"], warnings.as_slice()), (&json!(1.0), &["temperature".to_owned()][..]));
    let (body, warnings) = encode(json!({ "temperature": 0 }));
    assert_eq!((&body["temperature"], warnings.len()), (&json!(0.0), 0));
}

#[test]
fn models_that_refuse_sampling_get_none() {
    for (model, sent) in [
        ("claude-3-5-sonnet-20241022", &["temperature", "top_p"][..]),
        ("claude-sonnet-4-5", &["temperature"]),
        ("claude-opus-4-7", &[]),
    ] {
        let (body, warnings) = encode_for(model, json!({ "temperature": 0.5, "top_p": 0.5 }));
        for field in ["temperature", "top_p"] {
            assert_eq!(body.get(field).is_some(), sent.contains(&field), "{model} {field}");
            assert_eq!(warnings.iter().any(|named| named == field), !sent.contains(&field), "{model} {field}");
        }
    }
}

#[test]
fn the_callers_top_p_goes_over_the_providers_temperature() {
    let params = EndpointParams { temperature: Some(0.2), ..params(None) };
    let request = chat_request(json!({ "top_p": 0.5 }));
    let encoded =
        Endpoint::new(params).expect("valid").encode_chat(&request, "claude-sonnet-4-5", false, &[]).expect("encodes");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert_eq!((body.get("temperature"), &body["top_p"]), (None, &json!(0.5)));
}

#[test]
fn tools_and_choices_are_mapped() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "strict": true, "parameters": { "type": "object", "properties": {} } } },
        { "type": "function", "function": { "name": "g" } },
        { "type": "function", "function": { "name": "h", "parameters": { "properties": { "x": {} } } } },
    ]);
    let (body, _) = encode(json!({ "tools": tools }));
    assert_eq!(
        body["tools"],
        json!([
            { "name": "f", "description": "d", "strict": true,
                "input_schema": { "type": "object", "properties": {}, "additionalProperties": false } },
            { "name": "g", "input_schema": { "type": "object", "properties": {} } },
            { "name": "h", "input_schema": { "type": "object", "properties": { "x": {} } } },
        ])
    );
    assert_eq!(body.get("tool_choice"), None);
    for (fields, sent) in [
        (json!({ "tool_choice": "auto" }), json!({ "type": "auto" })),
        (json!({ "tool_choice": "required" }), json!({ "type": "any" })),
        (json!({ "tool_choice": "none", "parallel_tool_calls": false }), json!({ "type": "none" })),
        (
            json!({ "tool_choice": { "type": "function", "function": { "name": "f" } } }),
            json!({ "type": "tool", "name": "f" }),
        ),
        (json!({ "parallel_tool_calls": false }), json!({ "type": "auto", "disable_parallel_tool_use": true })),
        (json!({ "parallel_tool_calls": true }), Value::Null),
    ] {
        let mut fields = fields;
        fields["tools"] = tools.clone();
        assert_eq!(encode(fields).0["tool_choice"], sent);
    }
}

#[test]
fn every_field_without_a_counterpart_is_named() {
    let (body, mut warnings) = encode(json!({
        "seed": 1, "presence_penalty": 1, "frequency_penalty": 1, "metadata": { "k": "v" }, "logprobs": true,
        "logit_bias": {}, "store": true, "service_tier": "flex", "reasoning_effort": "minimal", "tool_choice": "auto",
        "response_format": { "type": "json_object" }, "stop": [" ", "END"], "user": "u",
        "messages": [{ "role": "user", "name": "n", "content": [
            { "type": "text", "text": "a" },
            { "type": "image_url", "image_url": { "url": "https://h/i", "detail": "high" } },
        ] }],
    }));
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "messages[0].content[1].image_url.detail",
            "messages[].name",
            "metadata",
            "presence_penalty",
            "reasoning_effort",
            "response_format",
            "seed",
            "service_tier",
            "stop",
            "store",
            "tool_choice",
        ]
    );
    assert_eq!((&body["stop_sequences"], &body["metadata"]), (&json!(["END"]), &json!({ "user_id": "u" })));
    let mut sent: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    sent.sort_unstable();
    let expected = ["max_tokens", "messages", "metadata", "model", "output_config", "stop_sequences", "thinking"];
    assert_eq!(sent, expected);
}

#[test]
fn structured_output_effort_and_tier_are_sent_where_the_model_has_them() {
    let schema =
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false });
    let fields = json!({
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } },
        "reasoning_effort": "high", "service_tier": "auto",
    });
    let (body, warnings) = encode(fields.clone());
    let format = json!({ "type": "json_schema", "schema": schema });
    assert_eq!(body["output_config"], json!({ "effort": "high", "format": format }));
    assert_eq!((&body["service_tier"], warnings.len()), (&json!("auto"), 0));
    let (body, warnings) = encode_for("claude-3-haiku-20240307", fields);
    assert_eq!((body.get("output_config"), warnings.len()), (None, 2));
    assert!(encode(json!({ "response_format": { "type": "text" } })).1.is_empty());
}

#[test]
fn extra_body_goes_over_everything() {
    let (body, _) = encode(
        json!({ "temperature": 0.5, "extra_body": { "anthropic": { "thinking": { "type": "adaptive" }, "temperature": 1 } } }),
    );
    assert_eq!((&body["thinking"], &body["temperature"]), (&json!({ "type": "adaptive" }), &json!(1)));
}

#[test]
fn only_what_it_can_look_at_is_sent() {
    let image = |kind: &str| json!({ "type": "image_url", "image_url": { "url": format!("data:{kind};base64,AA==") } });
    let file = |kind: &str, data: &str| json!({ "type": "file", "file": { "filename": "f", "file_data": format!("data:{kind};base64,{data}") } });
    let block = |kind: &str, source: Value| json!({ "type": kind, "source": source });
    let base64 = |kind: &str| json!({ "type": "base64", "media_type": kind, "data": "AA==" });
    let titled = |source: Value| json!({ "type": "document", "source": source, "title": "f" });
    for (part, sent) in [
        (image("image/webp"), Some(block("image", base64("image/webp")))),
        (image("application/pdf"), Some(block("document", base64("application/pdf")))),
        (image("image/bmp"), None),
        (file("application/pdf", "AA=="), Some(titled(base64("application/pdf")))),
        (file("text/plain", "w6k="), Some(titled(json!({ "type": "text", "media_type": "text/plain", "data": "é" })))),
        (file("text/plain", "/w=="), None),
        (file("text/plain", "?"), None),
        (file("application/zip", "AA=="), None),
    ] {
        let asked = json!([{ "role": "user", "content": [part] }]);
        match sent {
            Some(sent) => assert_eq!(messages(asked).0[0]["content"], json!([sent])),
            None => assert_eq!(refused(asked), "messages[0].content[0]", "{part}"),
        }
    }
}
