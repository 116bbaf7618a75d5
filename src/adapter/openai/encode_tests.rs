use serde_json::{Value, json};

use super::super::super::{Endpoint, EndpointParams, ParamOverrides, service};
use crate::types::{ChatRequest, Message, Role, parse_call};

fn endpoint(name: &str, max_tokens: Option<u32>, temperature: Option<f64>) -> Endpoint {
    Endpoint::new(EndpointParams {
        base_url: Some("http://localhost".to_owned()),
        max_tokens,
        temperature,
        ..EndpointParams::new(service(name).expect("known"))
    })
    .expect("valid")
}

/// A request as JavaScript would send it, with one short message unless it has its own.
fn request(fields: Value) -> ChatRequest {
    let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let Value::Object(fields) = fields else { panic!("an object") };
    call.as_object_mut().expect("an object").extend(fields);
    parse_call(&call.to_string()).expect("valid").request
}

/// The wire body, and the fields that warnings name.
fn encode_for(name: &str, model: &str, stream: bool, request: &ChatRequest) -> (Value, Vec<String>) {
    let encoded = endpoint(name, None, None).encode_chat(request, model, stream, &[]).expect("encodes");
    let named = encoded.warnings.iter().map(|warning| warning.split(": ").next().unwrap_or_default().to_owned());
    (serde_json::from_slice(&encoded.body).expect("JSON"), named.collect())
}

fn encode(name: &str, model: &str, fields: Value) -> (Value, Vec<String>) {
    encode_for(name, model, false, &request(fields))
}

#[test]
fn a_plain_request_holds_nothing_that_was_not_said() {
    let (body, warnings) = encode("openai", "gpt-4o", json!({}));
    assert_eq!(body, json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hi" }] }));
    assert!(warnings.is_empty());
}

#[test]
fn everything_a_dialect_takes_is_sent_as_it_was_said() {
    let fields = json!({
        "messages": [
            { "role": "system", "content": "s", "name": "n" },
            { "role": "user", "content": [
                { "type": "text", "text": "t" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA", "detail": "low" } },
                { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } },
            ] },
            { "role": "tool", "content": "r", "tool_call_id": "call_1" },
            { "role": "assistant", "content": null, "refusal": "no" },
        ],
        "temperature": 0.0, "top_p": 0.5, "presence_penalty": -1.5, "frequency_penalty": 1.0, "seed": -7,
        "stop": ["a", "b"], "tools": [{ "type": "function", "function":
            { "name": "f", "description": "d", "strict": true,
                "parameters": { "type": "object", "properties": {}, "required": [], "additionalProperties": false } } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } }, "parallel_tool_calls": false,
        "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object" } } },
        "reasoning_effort": "low", "user": "u", "metadata": { "k": "v" },
        "logprobs": true, "top_logprobs": 2, "service_tier": "flex", "logit_bias": { "50256": -100 },
    });
    let (body, warnings) = encode("openai", "gpt-4o", fields.clone());
    let mut expected = fields;
    expected["model"] = json!("gpt-4o");
    assert_eq!(body, expected);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn what_a_dialect_does_not_take_is_named_and_not_sent() {
    let fields = json!({
        "presence_penalty": 1, "frequency_penalty": 1, "logit_bias": { "1": 1 }, "logprobs": true, "store": true,
        "metadata": { "k": "v" }, "seed": 1, "user": "u",
        "messages": [{ "role": "user", "content": "a", "name": "n" }, { "role": "user", "content": "b", "name": "m" }],
    });
    let (body, mut warnings) = encode("groq", "llama-3.3-70b-versatile", fields);
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        ["frequency_penalty", "logit_bias", "logprobs", "messages[].name", "metadata", "presence_penalty", "store"]
    );
    assert_eq!(
        body,
        json!({ "model": "llama-3.3-70b-versatile", "seed": 1, "user": "u", "messages":
            [{ "role": "user", "content": "a" }, { "role": "user", "content": "b" }] })
    );
}

#[test]
fn the_bound_of_the_answer_has_each_dialects_name() {
    for (name, model, field) in [
        ("openai", "gpt-4o", "max_completion_tokens"),
        ("openai", "gpt-5-chat-latest", "max_completion_tokens"),
        ("groq", "llama-3.3-70b-versatile", "max_completion_tokens"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "max_tokens"),
        ("openai-compatible", "qwen", "max_tokens"),
        ("openai-compatible", "gpt-5", "max_completion_tokens"),
    ] {
        let (body, _) = encode(name, model, json!({ "max_tokens": 9 }));
        assert_eq!(body[field], 9, "{name} {model}");
        assert_eq!(body.as_object().expect("an object").len(), 3, "{name} {model}");
    }
}

#[test]
fn reasoning_models_get_no_sampling_fields() {
    let fields =
        json!({ "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "stop": "x", "logprobs": true, "seed": 1 });
    let (body, mut warnings) = encode("openai", "o4-mini", fields.clone());
    warnings.sort_unstable();
    assert_eq!(warnings, ["logprobs", "presence_penalty", "stop", "temperature", "top_p"]);
    assert_eq!(body["seed"], 1);
    assert_eq!(body.as_object().expect("an object").len(), 3);

    let mut calm = fields;
    calm["reasoning_effort"] = json!("none");
    let (body, mut warnings) = encode("openai", "gpt-5.1", calm);
    warnings.sort_unstable();
    assert_eq!(warnings, ["presence_penalty", "stop"]);
    assert_eq!(body["temperature"], 0.5);
}

#[test]
fn the_default_temperature_is_left_out_of_reasoning_requests_without_a_word() {
    let (body, warnings) = encode("openai", "o3", json!({ "temperature": 1 }));
    assert_eq!((body.get("temperature"), warnings.len()), (None, 0));
    let (body, _) = encode("openai", "gpt-4o", json!({ "temperature": 1 }));
    assert_eq!(body["temperature"], 1.0);
}

#[test]
fn the_providers_defaults_stand_in_for_what_a_request_does_not_say() {
    let endpoint = endpoint("openai", Some(5), Some(0.25));
    let body = |request: &ChatRequest| -> Value {
        let encoded = endpoint.encode_chat(request, "gpt-4o", false, &[]).expect("encodes");
        serde_json::from_slice(&encoded.body).expect("JSON")
    };
    let silent = body(&request(json!({})));
    assert_eq!((&silent["max_completion_tokens"], &silent["temperature"]), (&json!(5), &json!(0.25)));
    let said = body(&request(json!({ "max_tokens": 1, "temperature": 0 })));
    assert_eq!((&said["max_completion_tokens"], &said["temperature"]), (&json!(1), &json!(0.0)));
}

#[test]
fn developer_is_system_where_there_is_no_such_role_and_never_beside_it() {
    let fields = json!({ "messages": [
        { "role": "system", "content": "a" }, { "role": "developer", "content": "b" }, { "role": "user", "content": "c" },
    ] });
    let roles = |name: &str| -> Vec<String> {
        let (body, _) = encode(name, "m", fields.clone());
        let messages = body["messages"].as_array().expect("a list").clone();
        messages.iter().map(|message| message["role"].as_str().expect("a role").to_owned()).collect()
    };
    assert_eq!(roles("openai"), ["developer", "developer", "user"]);
    assert_eq!(roles("groq"), ["system", "system", "user"]);
    let (body, _) = encode("openai", "m", json!({ "messages": [{ "role": "system", "content": "a" }] }));
    assert_eq!(body["messages"][0]["role"], "system");
}

#[test]
fn usage_is_asked_for_only_in_streams_and_only_where_it_must_be() {
    let asks =
        |name: &str, stream: bool| encode_for(name, "m", stream, &request(json!({}))).0.get("stream_options").cloned();
    assert_eq!(asks("openai", true), Some(json!({ "include_usage": true })));
    assert_eq!(asks("openai-compatible", true), Some(json!({ "include_usage": true })));
    assert_eq!(asks("groq", true), None);
    assert_eq!(asks("together", true), None);
    assert_eq!(asks("openai", false), None);
    assert_eq!(encode_for("groq", "m", true, &request(json!({}))).0["stream"], true);
}

#[test]
fn a_single_stop_is_a_list() {
    assert_eq!(encode("together", "m", json!({ "stop": "x" })).0["stop"], json!(["x"]));
}

#[test]
fn logprobs_become_a_count_where_they_are_one() {
    for (fields, sent) in [
        (json!({ "logprobs": true, "top_logprobs": 5 }), json!(5)),
        (json!({ "logprobs": true }), json!(1)),
        (json!({ "logprobs": false }), Value::Null),
    ] {
        let (body, warnings) = encode("together", "m", fields);
        assert_eq!(body["logprobs"], sent);
        assert!(body.get("top_logprobs").is_none() && warnings.is_empty());
    }
}

#[test]
fn tool_fields_without_tools_are_named_and_not_sent() {
    let (body, warnings) = encode("openai", "m", json!({ "tool_choice": "required", "parallel_tool_calls": true }));
    assert_eq!(warnings, ["tool_choice", "parallel_tool_calls"]);
    assert_eq!(body.as_object().expect("an object").len(), 2);
}

#[test]
fn ids_that_are_too_long_change_alike_in_call_and_result() {
    let long = "toolu_".repeat(10);
    let fields = json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null,
          "tool_calls": [{ "id": long, "type": "function", "function": { "name": "f", "arguments": "" } }] },
        { "role": "tool", "content": "r", "tool_call_id": long },
    ] });
    let (body, warnings) = encode("openai", "m", fields.clone());
    let call = &body["messages"][1]["tool_calls"][0];
    assert_eq!(call["id"], body["messages"][2]["tool_call_id"]);
    assert!(call["id"].as_str().expect("an id").len() <= 40);
    assert_eq!(warnings, ["messages[1].tool_calls[0].id"]);
    assert_eq!(call["function"]["arguments"], "{}");
    assert_eq!(encode("groq", "m", fields).0["messages"][2]["tool_call_id"], json!(long));
}

#[test]
fn a_refusal_is_said_as_content_where_it_has_no_field() {
    let fields = json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null, "refusal": "no" },
        { "role": "assistant", "content": "well", "refusal": "no" },
    ] });
    let (body, warnings) = encode("groq", "m", fields);
    assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "no" }));
    assert_eq!(body["messages"][2], json!({ "role": "assistant", "content": "well" }));
    assert_eq!(warnings, ["messages[].refusal"]);
}

#[test]
fn earlier_reasoning_is_never_sent() {
    let mut message = Message::text(Role::Assistant, "a");
    message.reasoning = Some("secret thoughts".to_owned());
    let (body, _) = encode_for("openai", "m", false, &ChatRequest::new(vec![message]));
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn extra_body_goes_only_to_its_own_service() {
    let fields = json!({ "temperature": 0.5, "extra_body": {
        "groq": { "reasoning_format": "hidden", "temperature": 0.9 }, "openai": { "x": 1 },
    } });
    let (body, warnings) = encode("groq", "m", fields.clone());
    assert_eq!((&body["reasoning_format"], &body["temperature"], body.get("x")), (&json!("hidden"), &json!(0.9), None));
    assert!(warnings.is_empty());
    let (body, _) = encode("together", "m", fields);
    assert_eq!((body.get("reasoning_format"), &body["temperature"]), (None, &json!(0.5)));
}

#[test]
fn what_the_configuration_adds_stands_below_what_the_call_adds() {
    let own = |fields: Value| fields.as_object().cloned().expect("an object");
    for (name, model) in
        [("openai", "m"), ("anthropic", "claude-3-5-haiku-latest"), ("gemini", "g"), ("cohere", "c"), ("ollama", "o")]
    {
        let params = EndpointParams {
            extra_body: own(json!({ "x": 1, "y": { "a": 1 }, "options": { "num_ctx": 1, "mirostat": 2 } })),
            ..EndpointParams::new(service(name).expect("known"))
        };
        let request = request(json!({ "extra_body": { name: { "y": 2, "options": { "num_ctx": 3 } } } }));
        let encoded = Endpoint::new(params).expect("valid").encode_chat(&request, model, true, &[]).expect("encodes");
        let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert_eq!((&body["x"], &body["y"]), (&json!(1), &json!(2)), "{name}");
        // A field that only holds others keeps those of them that the call does not name.
        assert_eq!(body["options"], json!({ "num_ctx": 3, "mirostat": 2 }), "{name}");
    }
}

#[test]
fn extra_body_cannot_switch_streaming() {
    let (body, warnings) = encode("openai", "m", json!({ "extra_body": { "openai": { "stream": true } } }));
    assert_eq!(body.get("stream"), None);
    assert_eq!(warnings, ["extra_body.openai.stream"]);
}

#[test]
fn a_field_that_is_none_of_the_api_is_not_smuggled_in() {
    let mut request = request(json!({}));
    request.openai_fields.insert("model".to_owned(), json!("other"));
    let (body, warnings) = encode_for("openai", "m", false, &request);
    assert_eq!((&body["model"], warnings.as_slice()), (&json!("m"), &["model".to_owned()][..]));
}

#[test]
fn text_that_needs_escapes_survives() {
    let text = "quote \" backslash \\ nul \0 newline \n \u{2028} 😀";
    let (body, _) = encode_for("openai", "m", false, &ChatRequest::new(vec![Message::text(Role::User, text)]));
    assert_eq!(body["messages"][0]["content"], text);
}

/// Every field that any dialect has its own opinion about.
fn everything() -> Value {
    json!({
        "messages": [
            { "role": "developer", "content": "s", "name": "n" },
            { "role": "user", "content": "hi" },
        ],
        "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": 1, "seed": 7, "stop": "x",
        "max_tokens": 9, "user": "u", "metadata": { "k": "v" }, "parallel_tool_calls": true, "tool_choice": "required",
        "reasoning_effort": "low", "logprobs": true, "top_logprobs": 2, "logit_bias": { "1": 1 }, "store": true,
        "prediction": { "type": "content" }, "prompt_cache_key": "k", "web_search_options": {}, "service_tier": "auto",
        "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object",
            "properties": { "a": { "type": "string" } }, "required": ["a"] } } },
        "tools": [{ "type": "function", "function": { "name": "f", "parameters":
            { "$schema": "http://json-schema.org/draft-07/schema#", "$id": "i", "type": "object" } } }],
    })
}

#[test]
fn every_dialect_gets_exactly_what_it_takes() {
    let same = everything();
    let same = |field: &str| same[field].clone();
    for (name, model, sent, warned) in [
        (
            "azure",
            "gpt-4o",
            json!({ "max_completion_tokens": 9, "user": "u", "seed": 7, "tool_choice": "required", "store": true,
                "logprobs": true, "tools": same("tools"), "response_format": same("response_format") }),
            vec![],
        ),
        (
            "mistral",
            "mistral-small-latest",
            json!({ "max_tokens": 9, "random_seed": 7, "tool_choice": "any", "stop": ["x"], "presence_penalty": 1.0,
                "prompt_cache_key": "k", "prediction": same("prediction"), "logprobs": true,
                "response_format": same("response_format"), "seed": null, "user": null,
                "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }] }),
            vec![
                "logit_bias",
                "messages[].name",
                "metadata",
                "store",
                "tools[0].function.parameters",
                "user",
                "web_search_options",
            ],
        ),
        (
            "deepseek",
            "deepseek-chat",
            json!({ "max_tokens": 9, "user_id": "u", "user": null, "seed": null, "presence_penalty": null,
                "tool_choice": "required", "response_format": { "type": "json_object" }, "logprobs": true }),
            vec![
                "frequency_penalty",
                "logit_bias",
                "metadata",
                "parallel_tool_calls",
                "prediction",
                "presence_penalty",
                "prompt_cache_key",
                "response_format",
                "seed",
                "service_tier",
                "store",
                "web_search_options",
            ],
        ),
        (
            "openrouter",
            "openai/gpt-4o-mini",
            json!({ "max_tokens": 9, "reasoning": { "effort": "low" }, "reasoning_effort": null, "seed": 7 }),
            vec![],
        ),
        (
            "xai",
            "grok-4",
            json!({ "max_completion_tokens": 9, "seed": 7, "stop": null, "web_search_options": {}, "logprobs": true }),
            vec![
                "frequency_penalty",
                "metadata",
                "prediction",
                "presence_penalty",
                "prompt_cache_key",
                "service_tier",
                "stop",
                "store",
            ],
        ),
        (
            "fireworks",
            "accounts/fireworks/models/llama-v3p1-8b-instruct",
            json!({ "max_tokens": 9, "tool_choice": "any", "prompt_cache_key": "k", "seed": 7, "user": "u" }),
            vec!["metadata", "parallel_tool_calls", "prediction", "service_tier", "store", "web_search_options"],
        ),
        (
            "perplexity",
            "sonar",
            json!({ "max_tokens": 9, "tools": null, "tool_choice": null, "seed": null, "stop": null, "logprobs": null,
                "presence_penalty": 1.0, "web_search_options": {}, "response_format": same("response_format") }),
            vec![
                "logit_bias",
                "logprobs",
                "messages[].name",
                "metadata",
                "parallel_tool_calls",
                "prediction",
                "prompt_cache_key",
                "seed",
                "service_tier",
                "stop",
                "store",
                "tool_choice",
                "tools",
                "top_logprobs",
                "user",
            ],
        ),
    ] {
        let (body, mut warnings) = encode(name, model, everything());
        warnings.sort_unstable();
        assert_eq!(warnings, warned, "{name}");
        for (field, value) in sent.as_object().expect("an object") {
            assert_eq!(body.get(field).unwrap_or(&Value::Null), value, "{name}: {field}");
        }
        let role = if matches!(name, "azure" | "openrouter") { "developer" } else { "system" };
        assert_eq!(body["messages"][0]["role"], role, "{name}");
        assert_eq!(body["temperature"], 0.5, "{name}");
        let (body, _) = encode_for(name, model, true, &request(json!({})));
        let asks = matches!(name, "azure" | "deepseek" | "xai");
        assert_eq!(
            body.get("stream_options").is_some(),
            asks,
            "{name}: usage is asked for where it does not come alone"
        );
    }
}

#[test]
fn foreign_ids_of_calls_become_mistrals_and_stay_paired() {
    let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let result = |id: &str| json!({ "role": "tool", "content": "1", "tool_call_id": id });
    let messages = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "tool_calls": [call("call_0123456789"), call("toolu_01A"), call("Ab3dE6gH9")] },
        result("call_0123456789"), result("toolu_01A"), result("Ab3dE6gH9"),
    ]);
    let (body, warnings) = encode("mistral", "m", json!({ "messages": messages }));
    let ids: Vec<&str> =
        (0..3).map(|at| body["messages"][1]["tool_calls"][at]["id"].as_str().expect("an id")).collect();
    let answered: Vec<&str> = (2..5).map(|at| body["messages"][at]["tool_call_id"].as_str().expect("an id")).collect();
    assert_eq!(ids, answered);
    assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{ids:?}");
    assert_eq!(ids[2], "Ab3dE6gH9", "its own id stays");
    assert_ne!(ids[0], ids[1]);
    assert_eq!(warnings, ["messages[1].tool_calls[0].id", "messages[1].tool_calls[1].id"]);
    assert_eq!(encode("mistral", "m", json!({ "messages": messages })).0, body, "the same every time");
}

#[test]
fn orders_that_a_dialect_refuses_are_mended() {
    let call = json!({ "id": "Ab3dE6gH9", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let (body, warnings) = encode(
        "mistral",
        "m",
        json!({ "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "" },
            { "role": "assistant", "content": "", "tool_calls": [call] },
            { "role": "tool", "content": "1", "tool_call_id": "Ab3dE6gH9" },
            { "role": "user", "content": "b" },
        ] }),
    );
    let roles: Vec<&str> =
        body["messages"].as_array().expect("a list").iter().filter_map(|message| message["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"]);
    assert_eq!(warnings, ["messages[1].content", "messages[4]"]);

    let image = json!({ "type": "image_url", "image_url": { "url": "https://h/a.png" } });
    let (body, warnings) = encode(
        "perplexity",
        "sonar",
        json!({ "messages": [
            { "role": "system", "content": "s" },
            { "role": "user", "content": "a" },
            { "role": "user", "content": [{ "type": "text", "text": "b" }, image] },
            { "role": "assistant", "content": "c" },
            { "role": "assistant", "content": "" },
            { "role": "developer", "content": "t" },
            { "role": "user", "content": "d" },
        ] }),
    );
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "s\n\nt" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }, image] },
            { "role": "assistant", "content": "c" },
            { "role": "user", "content": "d" },
        ])
    );
    assert_eq!(warnings, ["messages[5].role"]);
}

#[test]
fn a_conversation_with_tools_cannot_be_told_where_there_are_none() {
    let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let asked = request(json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "content": "1", "tool_call_id": "a" },
    ] }));
    let refused = endpoint("perplexity", None, None).encode_chat(&asked, "sonar", false, &[]).expect_err("refused");
    assert_eq!(refused.field, "messages[1]");
}

#[test]
fn under_error_a_field_that_cannot_be_sent_is_refused_by_name() {
    let strict = |name: &str| {
        Endpoint::new(EndpointParams { strict: true, ..EndpointParams::new(service(name).expect("known")) })
            .expect("valid")
    };
    for (name, model, fields, field) in [
        ("deepseek", "deepseek-chat", json!({ "seed": 1 }), "seed"),
        ("openai", "o3", json!({ "temperature": 0.5 }), "temperature"),
        ("groq", "g", json!({ "store": true }), "store"),
        ("anthropic", "claude-sonnet-4-6", json!({ "logit_bias": {} }), "logit_bias"),
        ("mistral", "m", json!({ "messages": [{ "role": "user", "content": "a", "name": "n" }] }), "messages[].name"),
    ] {
        let refused = strict(name).encode_chat(&request(fields), model, false, &[]).expect_err(field);
        assert_eq!(refused.field, field, "{name}");
    }
    // What is sent in another form is no refusal.
    let (name, fields) = ("mistral", json!({ "seed": 1, "tool_choice": "required", "tools": everything()["tools"] }));
    strict(name).encode_chat(&request(fields), "m", false, &[]).expect("encodes");
}

#[test]
fn what_a_provider_refused_is_left_out_and_named() {
    let fields = json!({ "seed": 1, "temperature": 0.5, "max_tokens": 9, "logprobs": true,
        "messages": [{ "role": "user", "content": "a", "name": "n" }] });
    for (without, gone, warning) in [
        ("seed", "seed", "seed: refused by the provider, left out"),
        ("temperature", "temperature", "temperature: refused by the provider, left out"),
        ("logprobs", "logprobs", "logprobs: refused by the provider, left out"),
        ("stream_options", "stream_options", "stream_options: refused by the provider, left out"),
        ("messages[].name", "name", "messages[].name: refused by the provider, left out"),
        ("max_tokens", "max_tokens", "max_tokens: refused by the provider, sent as max_completion_tokens"),
    ] {
        let encoded = endpoint("openai-compatible", None, None)
            .encode_chat(&request(fields.clone()), "m", true, &[without.to_owned()])
            .expect("encodes");
        let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert!(body.get(gone).is_none() && body["messages"][0].get(gone).is_none(), "{body}");
        assert_eq!(encoded.warnings, [warning]);
        assert_eq!(body.get("max_completion_tokens").is_some(), without == "max_tokens", "{without}");
    }
}

#[test]
fn files_and_audio_are_said_in_each_services_words_or_refused() {
    let file =
        json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } });
    let audio = json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
    let document =
        json!({ "type": "document_url", "document_url": "data:application/pdf;base64,AA==", "document_name": "a.pdf" });
    let bare = json!({ "type": "input_audio", "input_audio": "AA==" });
    for (name, file_sent, audio_sent) in [
        ("openai", Some(&file), Some(&audio)),
        ("azure", Some(&file), Some(&audio)),
        ("openrouter", Some(&file), Some(&audio)),
        ("openai-compatible", Some(&file), Some(&audio)),
        ("mistral", Some(&document), Some(&bare)),
        ("together", None, Some(&audio)),
        ("groq", None, None),
        ("deepseek", None, None),
        ("xai", None, None),
        ("fireworks", None, None),
        ("perplexity", None, None),
    ] {
        for (part, sent) in [(&file, file_sent), (&audio, audio_sent)] {
            let text = json!({ "type": "text", "text": "what is it?" });
            let asked = request(json!({ "messages": [{ "role": "user", "content": [text, part] }] }));
            let encoded = endpoint(name, None, None).encode_chat(&asked, "m", false, &[]);
            match (encoded, sent) {
                (Ok(encoded), Some(sent)) => {
                    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
                    assert_eq!(body["messages"][0]["content"], json!([text, sent]), "{name}");
                }
                (Err(refused), None) => assert_eq!(refused.field, "messages[0].content[1]", "{name}"),
                (encoded, _) => panic!("{name}: {part}: {encoded:?}"),
            }
        }
    }
    // What cannot be converted is refused, too.
    let id = json!({ "type": "file", "file": { "file_id": "f" } });
    let asked = request(json!({ "messages": [{ "role": "user", "content": [id] }] }));
    let refused = endpoint("mistral", None, None).encode_chat(&asked, "m", false, &[]).expect_err("no content");
    assert_eq!(refused.field, "messages[0].content[0]");
}

#[test]
fn a_configuration_may_know_better_what_a_provider_takes() {
    let fields = json!({ "temperature": 0.5, "seed": 1, "logprobs": true, "user": "u" });
    let with = |name: &str, model: &str, allow: &[&str], omit: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let params = ParamOverrides { allow: owned(allow), omit: owned(omit) };
        let params = EndpointParams { params, ..EndpointParams::new(service(name).expect("known")) };
        let encoded = Endpoint::new(params).expect("valid").encode_chat(&request(fields.clone()), model, false, &[]);
        let encoded = encoded.expect("encodes");
        (serde_json::from_slice::<Value>(&encoded.body).expect("JSON"), encoded.warnings)
    };
    let (body, warnings) = with("openai", "o3", &[], &[]);
    assert_eq!((body.get("temperature"), warnings.len()), (None, 2));
    let (body, warnings) = with("openai", "o3", &["temperature", "logprobs"], &[]);
    assert_eq!((&body["temperature"], &body["logprobs"], warnings.len()), (&json!(0.5), &json!(true), 0));
    let (body, warnings) = with("groq", "g", &["logprobs"], &["seed"]);
    assert_eq!((&body["logprobs"], body.get("seed")), (&json!(true), None));
    assert_eq!(warnings, ["seed: left out by the configuration's omit_params, not sent"]);
    // A dialect that has no word for a field gets none.
    let (body, warnings) = with("anthropic", "claude-sonnet-4-6", &["seed", "logprobs"], &[]);
    assert!(body.get("seed").is_none() && warnings.iter().any(|warning| warning.starts_with("seed: ")), "{warnings:?}");
}

#[test]
fn a_picture_that_a_tool_made_goes_where_it_is_taken() {
    let call = json!({ "id": "a", "function": { "name": "draw", "arguments": "{}" } });
    let picture = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } });
    let asked = request(json!({ "messages": [
        { "role": "user", "content": "draw" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "a", "content": [{ "type": "text", "text": "done" }, picture] },
    ] }));
    for (name, taken) in [
        ("openai", false),
        ("groq", false),
        ("openrouter", true),
        ("openai-compatible", true),
        ("anthropic", true),
        ("gemini", true),
        ("ollama", true),
        ("cohere", false),
    ] {
        let encoded = endpoint(name, None, None).encode_chat(&asked, "m", false, &[]);
        match encoded {
            Ok(encoded) => assert!(taken && String::from_utf8_lossy(&encoded.body).contains("AA=="), "{name}"),
            Err(refused) => assert_eq!((taken, refused.field.as_str()), (false, "messages[2].content[1]"), "{name}"),
        }
    }
}
