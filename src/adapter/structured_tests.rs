use serde_json::{Value, json};

use super::super::testing::{self, chat_request};
use super::super::{Encoded, Endpoint, EndpointParams, service};
use super::*;

fn schema() -> Value {
    json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false })
}

fn format(schema: Value) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } })
}

fn strict(schema: Value) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": schema } })
}

fn encoded(name: &str, model: &str, fields: Value, without: &[String]) -> Encoded {
    testing::endpoint(name).encode_chat(&chat_request(fields), model, false, without).expect("encodes")
}

fn sent(name: &str, model: &str, fields: Value) -> (Value, Vec<String>) {
    let encoded = encoded(name, model, fields, &[]);
    (serde_json::from_slice(&encoded.body).expect("JSON"), encoded.warnings)
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object",
        "properties": { "x": { "type": "string" } }, "required": ["x"], "additionalProperties": false } } }])
}

#[test]
fn a_schema_goes_as_it_is_where_there_is_a_field_for_it() {
    for (name, model, place) in [
        ("openai", "gpt-4o", "/response_format/json_schema/schema"),
        ("mistral", "mistral-large-latest", "/response_format/json_schema/schema"),
        ("anthropic", "claude-sonnet-4-6", "/output_config/format/schema"),
        ("gemini", "gemini-2.5-pro", "/generationConfig/responseJsonSchema"),
        ("cohere", "command-a-03-2025", "/response_format/json_schema"),
        ("ollama", "qwen3", "/format"),
    ] {
        let (body, warnings) = sent(name, model, json!({ "response_format": format(schema()) }));
        assert_eq!((body.pointer(place), warnings), (Some(&schema()), vec![]), "{name}: {body}");
    }
}

#[test]
fn a_tool_that_must_be_called_stands_in_where_a_model_has_tools_and_no_schema() {
    let (body, warnings) = sent("openai", "gpt-4-turbo", json!({ "response_format": format(schema()) }));
    assert_eq!(body["tools"][0]["function"]["parameters"], schema());
    assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "n" } }));
    assert_eq!((&body["parallel_tool_calls"], body.get("response_format")), (&json!(false), None));
    assert_eq!(body["messages"][0]["content"], "hi");
    assert_eq!(
        warnings,
        [
            "response_format: openai has no json_schema for model gpt-4-turbo, asked for as the arguments of a tool that must be called"
        ]
    );
    let old = "claude-3-5-sonnet-20241022";
    let (body, _) = sent("anthropic", old, json!({ "response_format": format(schema()) }));
    assert_eq!((&body["tools"][0]["input_schema"], &body["tools"][0]["name"]), (&schema(), &json!("n")));
    assert_eq!(body["tool_choice"], json!({ "type": "tool", "name": "n", "disable_parallel_tool_use": true }));
    assert!(body.get("output_config").is_none());
    assert!(encoded("anthropic", old, json!({ "response_format": format(schema()) }), &[]).form.tool);
    // A list is no object, and arguments are one.
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let encoded = encoded("anthropic", old, json!({ "response_format": format(list.clone()) }), &[]);
    assert!(encoded.form.boxed && encoded.form.tool);
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert_eq!(body["tools"][0]["input_schema"]["properties"]["value"], list);
}

#[test]
fn it_is_told_in_words_where_no_tool_can_stand_in() {
    let old = "claude-3-5-sonnet-20241022";
    for (name, model, more, json_mode) in [
        ("openai", "gpt-4-turbo", json!({ "tools": tools() }), json!({ "type": "json_object" })),
        ("openai", "o1-mini", json!({}), json!({ "type": "json_object" })),
        ("deepseek", "deepseek-chat", json!({}), json!({ "type": "json_object" })),
        ("groq", "llama-3.3-70b-versatile", json!({}), json!({ "type": "json_object" })),
        ("groq", "openai/gpt-oss-120b", json!({ "tools": tools() }), json!(null)),
        ("anthropic", old, json!({ "tools": tools() }), json!(null)),
        ("anthropic", "claude-3-7-sonnet-20250219", json!({ "reasoning_effort": "low" }), json!(null)),
        ("cohere", "command-a-03-2025", json!({ "tools": tools() }), json!(null)),
        ("gemini", "gemini-2.5-pro", json!({ "tools": tools() }), json!(null)),
        ("ollama", "qwen3", json!({ "tools": tools() }), json!(null)),
    ] {
        let mut fields = json!({ "response_format": format(schema()) });
        fields.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let (body, warnings) = sent(name, model, fields);
        assert_eq!(body.get("response_format").cloned().unwrap_or_default(), json_mode, "{name}: {body}");
        assert!(body.pointer("/generationConfig/responseMimeType").is_none() && body.get("format").is_none(), "{name}");
        let said = body.get("messages").or(body.get("contents")).expect("messages").to_string();
        assert!(said.contains("JSON Schema") && said.contains("required"), "{name}: {said}");
        assert!(warnings.iter().any(|warning| warning.starts_with("response_format: ")), "{name}: {warnings:?}");
        assert_eq!(body.get("tools").is_some(), more.get("tools").is_some(), "{name}");
    }
    // The newest take both.
    let (body, _) = sent("gemini", "gemini-3-flash", json!({ "response_format": format(schema()), "tools": tools() }));
    assert_eq!(body["generationConfig"]["responseJsonSchema"], schema());
}

#[test]
fn json_without_a_schema_is_asked_for_in_words_where_there_is_no_mode_for_it() {
    let object = json!({ "type": "json_object" });
    for (name, model, more) in [
        ("anthropic", "claude-sonnet-4-6", json!({})),
        ("perplexity", "sonar", json!({})),
        ("gemini", "gemini-2.5-pro", json!({ "tools": tools() })),
        ("groq", "openai/gpt-oss-120b", json!({ "tools": tools() })),
    ] {
        let mut fields = json!({ "response_format": object });
        fields.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let (body, warnings) = sent(name, model, fields);
        assert!(body.to_string().contains("one JSON object"), "{name}: {body}");
        assert!(warnings.iter().any(|warning| warning.starts_with("response_format: ")), "{name}: {warnings:?}");
    }
    assert_eq!(sent("openai", "gpt-4o", json!({ "response_format": object })).1, Vec::<String>::new());
}

#[test]
fn strict_is_kept_and_what_it_changes_is_named_and_turned_back() {
    let loose = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let encoded = encoded("openai", "gpt-4o", json!({ "response_format": strict(loose.clone()) }), &[]);
    assert!(encoded.form.nulls);
    assert_eq!(
        encoded.warnings,
        [
            "response_format.json_schema.schema: sent as openai takes it: no further properties (/), null where it is absent (/a)"
        ]
    );
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let sent_format = &body["response_format"]["json_schema"];
    assert_eq!((&sent_format["strict"], &sent_format["schema"]["required"]), (&json!(true), &json!(["a"])));
    // Only where it is asked for, and only where there is such a mode.
    for (name, asked) in [("openai", format(loose.clone())), ("together", strict(loose))] {
        let (body, warnings) = sent(name, "m", json!({ "response_format": asked }));
        assert_eq!((&body["response_format"], warnings), (&asked, vec![]), "{name}");
    }
}

#[test]
fn what_cannot_be_kept_to_strictly_goes_without_strict_or_not_at_all() {
    let map = json!({ "type": "object", "properties": { "m": { "type": "object", "additionalProperties": { "type": "number" } } },
        "required": ["m"] });
    let (body, warnings) = sent("openai", "gpt-4o", json!({ "response_format": strict(map.clone()) }));
    let sent_format = &body["response_format"]["json_schema"];
    assert_eq!((&sent_format["strict"], &sent_format["schema"]), (&json!(false), &map));
    assert_eq!(
        warnings,
        ["response_format.json_schema.strict: openai cannot enforce /m with properties of any name, not sent"]
    );
    let params = EndpointParams { strict: true, ..EndpointParams::new(service("openai").expect("known")) };
    let refused = Endpoint::new(params).expect("valid").encode_chat(
        &chat_request(json!({ "response_format": strict(map.clone()) })),
        "gpt-4o",
        false,
        &[],
    );
    assert_eq!(refused.expect_err("refused").field, "response_format.json_schema.strict");
    // Anthropic has nothing but strict: there a tool stands in.
    let (body, warnings) = sent("anthropic", "claude-sonnet-4-6", json!({ "response_format": format(map.clone()) }));
    assert_eq!((&body["tools"][0]["input_schema"], body.get("output_config")), (&map, None));
    assert!(warnings[0].contains("has no json_schema for /m with properties of any name"), "{warnings:?}");
}

#[test]
fn a_provider_that_refuses_the_field_is_told_in_words() {
    for without in ["response_format", "tool_choice"] {
        let model = if without == "tool_choice" { "gpt-4-turbo" } else { "gpt-4o" };
        let encoded = encoded("openai", model, json!({ "response_format": format(schema()) }), &[without.to_owned()]);
        let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert!(body.get("tools").is_none() && !encoded.form.tool, "{body}");
        assert!(body["messages"][0]["content"].to_string().contains("required"));
    }
    let asked = chat_request(json!({ "response_format": format(schema()) }));
    assert!(is_about_the_format(&asked, "tool_choice") && is_about_the_format(&asked, "tools[0].function"));
    assert!(!is_about_the_format(&asked, "temperature"));
    assert!(!is_about_the_format(&chat_request(json!({ "tools": tools() })), "tool_choice"));
}

#[test]
fn the_words_stand_behind_the_systems_own_or_the_last_question() {
    let system = json!({ "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
        "response_format": format(schema()) });
    let (body, _) = sent("deepseek", "deepseek-chat", system);
    assert!(body["messages"][0]["content"].as_str().is_some_and(|text| text.starts_with("Be brief.\n\nAnswer with")));
    assert_eq!(body["messages"][1]["content"], "hi");
}

#[test]
fn schemas_of_tools_are_said_in_the_words_of_the_dialect() {
    let tool = |strict: bool, parameters: Value| {
        json!({ "tools": [{ "type": "function", "function": { "name": "f",
        "strict": strict, "parameters": parameters } }] })
    };
    let loose = json!({ "$schema": "s", "type": "object", "properties": { "x": { "type": "string", "pattern": "a" } }, "required": ["x"] });
    for (name, model, place, kept) in [
        ("openai", "gpt-4o", "/tools/0/function/parameters", loose.clone()),
        (
            "mistral",
            "m",
            "/tools/0/function/parameters",
            json!({ "type": "object", "properties": { "x": { "type": "string", "pattern": "a" } }, "required": ["x"] }),
        ),
        (
            "gemini",
            "gemini-2.5-pro",
            "/tools/0/functionDeclarations/0/parametersJsonSchema",
            json!({ "type": "object", "properties": { "x": { "type": "string", "description": "Fits {\"pattern\":\"a\"}." } }, "required": ["x"] }),
        ),
    ] {
        let (body, warnings) = sent(name, model, tool(false, loose.clone()));
        assert_eq!(body.pointer(place), Some(&kept), "{name}");
        assert_eq!(
            warnings.iter().any(|warning| warning.starts_with("tools[0].function.parameters: ")),
            kept != loose,
            "{name}: {warnings:?}"
        );
    }
    let (body, warnings) = sent("openai", "gpt-4o", tool(true, loose.clone()));
    let function = &body["tools"][0]["function"];
    assert_eq!((&function["strict"], &function["parameters"]["additionalProperties"]), (&json!(true), &json!(false)));
    assert!(warnings[0].contains("no further properties"), "{warnings:?}");
    // Arguments go to the caller's function as they come: nothing could turn a null back.
    let optional = json!({ "type": "object", "properties": { "x": { "type": "string" } } });
    for name in ["openai", "anthropic"] {
        let (body, warnings) = sent(name, "m", tool(true, optional.clone()));
        let tool = body["tools"][0].get("function").unwrap_or(&body["tools"][0]);
        if name == "openai" {
            assert_eq!((tool.get("strict"), &tool["parameters"]), (None, &optional));
            assert!(warnings[0].starts_with("tools[0].function.strict: openai cannot enforce"), "{warnings:?}");
        } else {
            assert_eq!(tool["strict"], true, "there what is optional may be absent");
        }
    }
}

#[test]
fn a_stream_of_a_tools_arguments_holds_no_words_before_them() {
    let old = "claude-3-5-sonnet-20241022";
    let form = encoded("anthropic", old, json!({ "response_format": format(schema()) }), &[]).form;
    let said = |events: &[Value]| {
        let mut decoder = testing::endpoint("anthropic").stream_decoder().of(form);
        let mut out = std::collections::VecDeque::new();
        for event in events {
            decoder.push(format!("data: {event}\n\n").as_bytes(), &mut out).expect("decodes");
        }
        let _ = decoder.finish(&mut out); // it may have been cut off
        let text = out.into_iter().filter_map(|event| match event {
            crate::types::StreamEvent::Text(text) => Some(text),
            _ => None,
        });
        text.collect::<String>()
    };
    let words = [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Sure: " } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ];
    let call = [
        json!({ "type": "content_block_start", "index": 1,
            "content_block": { "type": "tool_use", "id": "t", "name": "n", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 1,
            "delta": { "type": "input_json_delta", "partial_json": "{\"a\":\"x\"}" } }),
        json!({ "type": "content_block_stop", "index": 1 }),
    ];
    assert_eq!(said(&[words.clone(), call].concat()), "{\"a\":\"x\"}");
    assert_eq!(said(&words), "Sure: ");
}
