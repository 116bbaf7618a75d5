//! Reasoning goes in as an effort and comes out as text; what a provider needs to go on thinking goes back to it, and to
//! nobody else.

use serde_json::{Value, json};

use super::testing::{chat_request, encode};
use super::*;
use crate::types::{Accumulator, ProviderName, ReasoningState, Reply};

const NAME: &str = "mine";

fn endpoint(service_name: &str) -> Endpoint {
    let params = EndpointParams {
        name: NAME.to_owned(),
        base_url: Some("http://localhost".to_owned()),
        ..EndpointParams::new(service(service_name).expect("known"))
    };
    Endpoint::new(params).expect("valid")
}

/// What one service answers, whole and in pieces, and where in its wire the state of that has to stand again.
struct Row {
    service: &'static str,
    model: &'static str,
    whole: Value,
    pieces: Vec<Value>,
    state: Value,
    /// Where in the body, and what.
    back: Vec<(&'static str, Value)>,
}

fn rows() -> Vec<Row> {
    let openai =
        |message: Value| json!({ "id": "i", "choices": [{ "message": message, "finish_reason": "tool_calls" }] });
    let chunk = |delta: Value| json!({ "id": "i", "choices": [{ "delta": delta }] });
    let end = json!({ "id": "i", "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] });
    let call = json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let details = json!([{ "type": "reasoning.text", "text": "hm", "signature": "s", "index": 0 }]);
    let extra = json!({ "google": { "thought_signature": "sig" } });
    let mut signed_call = call.clone();
    signed_call["extra_content"] = extra.clone();
    let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": "sig" });
    let redacted = json!({ "type": "redacted_thinking", "data": "x" });
    let signed_part = json!({ "functionCall": { "id": "a", "name": "f", "args": {} }, "thoughtSignature": "sig" });
    let candidate = |part: Value| json!({ "candidates": [{ "content": { "parts": [part] } }], "responseId": "r" });
    vec![
        Row {
            service: "anthropic",
            model: "claude-sonnet-4-6",
            whole: json!({ "id": "m", "type": "message", "content": [thinking, redacted,
                { "type": "tool_use", "id": "a", "name": "f", "input": {} }], "stop_reason": "tool_use" }),
            pieces: vec![
                json!({ "type": "message_start", "message": { "id": "m" } }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "", "signature": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "h" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "m" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": "sig" } }),
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({ "type": "content_block_start", "index": 1, "content_block": redacted }),
                json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "tool_use", "id": "a", "name": "f", "input": {} } }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
                json!({ "type": "message_stop" }),
            ],
            state: json!({ "blocks": [thinking, redacted] }),
            back: vec![("/messages/1/content/0", thinking.clone()), ("/messages/1/content/1", redacted.clone())],
        },
        Row {
            service: "gemini",
            model: "gemini-3-flash",
            whole: json!({ "candidates": [{ "content": { "parts": [
                { "text": "hm", "thought": true }, { "text": "I look", "thoughtSignature": "said" }, signed_part] },
                "finishReason": "STOP" }], "responseId": "r" }),
            pieces: vec![
                candidate(json!({ "text": "hm", "thought": true })),
                candidate(json!({ "text": "I look" })),
                candidate(json!({ "text": "", "thoughtSignature": "said" })),
                candidate(signed_part.clone()),
                json!({ "candidates": [{ "finishReason": "STOP" }] }),
            ],
            state: json!({ "calls": { "a": "sig" }, "text": "said" }),
            back: vec![
                ("/contents/1/parts/0", json!({ "text": "I look", "thoughtSignature": "said" })),
                ("/contents/1/parts/1/thoughtSignature", json!("sig")),
            ],
        },
        Row {
            service: "openrouter",
            model: "anthropic/claude-sonnet-4.6",
            whole: openai(json!({ "reasoning": "hm", "reasoning_details": details, "tool_calls": [call] })),
            pieces: vec![
                chunk(
                    json!({ "reasoning": "h", "reasoning_details": [{ "type": "reasoning.text", "text": "h", "index": 0 }] }),
                ),
                chunk(
                    json!({ "reasoning": "m", "reasoning_details": [{ "type": "reasoning.text", "text": "m", "signature": "s", "index": 0 }] }),
                ),
                chunk(json!({ "tool_calls": [call] })),
                end.clone(),
            ],
            state: json!({ "details": details }),
            back: vec![("/messages/1/reasoning_details", details.clone())],
        },
        Row {
            service: "deepseek",
            model: "deepseek-chat",
            whole: openai(json!({ "reasoning_content": "hm", "tool_calls": [call] })),
            pieces: vec![
                chunk(json!({ "reasoning_content": "h" })),
                chunk(json!({ "reasoning_content": "m", "tool_calls": [call] })),
                end.clone(),
            ],
            state: json!({ "content": "hm" }),
            back: vec![("/messages/1/reasoning_content", json!("hm"))],
        },
        Row {
            service: "openai-compatible",
            model: "gemini-3-flash",
            whole: openai(json!({ "tool_calls": [signed_call] })),
            pieces: vec![chunk(json!({ "tool_calls": [signed_call] })), end],
            state: json!({ "calls": { "a": extra } }),
            back: vec![("/messages/1/tool_calls/0/extra_content", extra)],
        },
    ]
}

fn streamed(endpoint: &Endpoint, pieces: &[Value]) -> Reply {
    let mut decoder = endpoint.stream_decoder();
    let mut out = VecDeque::new();
    for piece in pieces {
        decoder.push(format!("data: {piece}\n\n").as_bytes(), &mut out).expect("a piece");
    }
    decoder.finish(&mut out).expect("whole");
    let mut accumulator = Accumulator::default();
    out.iter().for_each(|event| accumulator.push(event));
    accumulator.into_reply()
}

/// The conversation that goes on from a reply, as it is sent.
fn sent_back(endpoint: &Endpoint, model: &str, reply: &Reply) -> (Value, Vec<String>) {
    let mut request = chat_request(json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": reply.content, "tool_calls": reply.tool_calls, "reasoning": reply.reasoning },
        { "role": "tool", "tool_call_id": reply.tool_calls[0].id, "content": "1" },
    ], "tools": [{ "type": "function", "function": { "name": "f" } }] }));
    request.messages[1].reasoning_state.clone_from(&reply.reasoning_state);
    let encoded = endpoint.encode_chat(&request, model, false, &[]).expect("encodes");
    (serde_json::from_slice(&encoded.body).expect("JSON"), encoded.warnings)
}

#[test]
fn what_was_thought_goes_back_to_who_thought_it_and_to_nobody_else() {
    let rows = rows();
    for Row { service, model, whole, pieces, state, back } in &rows {
        let endpoint = endpoint(service);
        let mut reply = endpoint.decode_chat(whole.to_string().as_bytes()).expect(service);
        let came = |reply: &Reply| reply.reasoning_state.as_ref().map(|kept| kept.state.clone());
        assert_eq!(came(&reply), Some(state.clone()), "{service}");
        assert_eq!(came(&streamed(&endpoint, pieces)), Some(state.clone()), "{service} in pieces");

        reply.sign(&ProviderName::new(NAME), model);
        let (body, warnings) = sent_back(&endpoint, model, &reply);
        assert_eq!(warnings, [""; 0], "{service}");
        for (place, value) in back {
            assert_eq!(body.pointer(place), Some(value), "{service} {place}: {body}");
        }

        let secrets = ["sig", "\"x\"", "said", "hm"];
        let foreign = |body: &Value| secrets.iter().any(|secret| body.to_string().contains(secret));
        for other in services().iter().filter(|other| other.name != "perplexity") {
            // Another provider of any kind, even one of the same, and another model of the same provider.
            let mut elsewhere = reply.clone();
            elsewhere.sign(&ProviderName::new("theirs"), model);
            let (body, warnings) = sent_back(&self::endpoint(other.name), model, &elsewhere);
            let named = warnings.iter().any(|warning| warning.starts_with("messages[1].reasoning_state: "));
            let skipped = body.to_string().replace("skip_thought_signature_validator", "");
            assert!(named && !foreign(&json!(skipped)), "{service} to {}: {warnings:?} {body}", other.name);
        }
        let (body, warnings) = sent_back(&endpoint, "another-model", &reply);
        assert!(warnings.iter().any(|warning| warning.starts_with("messages[1].reasoning_state: ")), "{warnings:?}");
        assert!(!body.to_string().contains("hm"), "{service}: {body}");
    }
}

#[test]
fn a_state_of_any_shape_is_sent_as_nothing_or_as_it_is() {
    let states =
        [json!(null), json!(7), json!("x"), json!([]), json!({}), json!({ "blocks": [7, { "type": "text" }] })];
    for state in
        states.into_iter().chain([json!({ "calls": [] }), json!({ "calls": { "a": 7 } }), json!({ "text": 7 })])
    {
        for service in services().iter().filter(|service| service.name != "perplexity") {
            let mut reply = Reply { content: "c".to_owned(), ..Reply::default() };
            reply.tool_calls = vec![crate::types::ToolCall::function("a", "f", "{}")];
            reply.reasoning_state = Some(ReasoningState::unsigned(state.clone()));
            reply.sign(&ProviderName::new(NAME), "m");
            sent_back(&endpoint(service.name), "m", &reply);
        }
    }
}

#[test]
fn claude_thinks_as_its_family_is_told() {
    let adaptive = json!({ "type": "adaptive" });
    let budget = |tokens: u32| json!({ "type": "enabled", "budget_tokens": tokens });
    for (model, fields, thinking, effort, max_tokens, warned) in [
        ("claude-opus-4-7", json!({ "reasoning_effort": "xhigh" }), adaptive.clone(), json!("xhigh"), 4096, &[][..]),
        ("claude-sonnet-4-6", json!({ "reasoning_effort": "low" }), adaptive.clone(), json!("low"), 4096, &[]),
        (
            "claude-sonnet-4-6",
            json!({ "reasoning_effort": "xhigh" }),
            adaptive.clone(),
            json!("high"),
            4096,
            &["reasoning_effort"],
        ),
        (
            "claude-sonnet-4-6",
            json!({ "reasoning_effort": "minimal" }),
            adaptive.clone(),
            json!("low"),
            4096,
            &["reasoning_effort"],
        ),
        ("claude-sonnet-4-6", json!({ "reasoning_effort": "none" }), json!(null), json!(null), 4096, &[]),
        (
            "claude-sonnet-4-6",
            json!({ "reasoning_effort": "very much" }),
            json!(null),
            json!(null),
            4096,
            &["reasoning_effort"],
        ),
        (
            "claude-opus-4-5",
            json!({ "reasoning_effort": "max" }),
            budget(24_576),
            json!("high"),
            28_672,
            &["reasoning_effort"],
        ),
        ("claude-haiku-4-5", json!({ "reasoning_effort": "medium" }), budget(8192), json!(null), 12_288, &[]),
        (
            "claude-3-7-sonnet-20250219",
            json!({ "reasoning_effort": "high", "max_tokens": 3000 }),
            budget(2999),
            json!(null),
            3000,
            &[],
        ),
        (
            "claude-haiku-4-5",
            json!({ "reasoning_effort": "low", "max_tokens": 1024 }),
            json!(null),
            json!(null),
            1024,
            &["reasoning_effort"],
        ),
        (
            "claude-3-5-haiku-20241022",
            json!({ "reasoning_effort": "low" }),
            json!(null),
            json!(null),
            4096,
            &["reasoning_effort"],
        ),
        (
            "claude-haiku-4-5",
            json!({ "reasoning_effort": "low", "temperature": 0.5 }),
            budget(1024),
            json!(null),
            5120,
            &["temperature"],
        ),
        (
            "claude-haiku-4-5",
            json!({ "reasoning_effort": "low", "temperature": 1 }),
            budget(1024),
            json!(null),
            5120,
            &[],
        ),
        (
            "claude-sonnet-4-6",
            json!({ "reasoning_effort": "low", "tool_choice": "required", "tools": [{ "function": { "name": "f" } }] }),
            json!(null),
            json!("low"),
            4096,
            &["reasoning_effort"],
        ),
    ] {
        let (body, warnings) = encode("anthropic", model, fields.clone());
        let said = (&body["thinking"], &body["output_config"]["effort"], &body["max_tokens"]);
        assert_eq!(said, (&thinking, &effort, &json!(max_tokens)), "{model} {fields}");
        assert_eq!(warnings, warned, "{model} {fields}");
        assert!(thinking.is_null() || body.get("temperature").is_none(), "{body}");
    }
}

#[test]
fn claude_with_a_budget_does_not_go_on_thinking_over_calls_of_somebody_else() {
    let reply = Reply {
        tool_calls: vec![crate::types::ToolCall::function("a", "f", "{}")],
        reasoning_state: Some(ReasoningState::unsigned(json!({ "blocks": [
            { "type": "thinking", "thinking": "hm", "signature": "s" }] }))),
        ..Reply::default()
    };
    for (model, signer, thinks) in
        [("claude-haiku-4-5", NAME, true), ("claude-haiku-4-5", "theirs", false), ("claude-sonnet-4-6", "theirs", true)]
    {
        let mut reply = reply.clone();
        reply.sign(&ProviderName::new(signer), model);
        let mut request = chat_request(json!({ "reasoning_effort": "low", "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": null, "tool_calls": reply.tool_calls },
            { "role": "tool", "tool_call_id": "a", "content": "1" },
        ] }));
        request.messages[1].reasoning_state.clone_from(&reply.reasoning_state);
        let encoded = endpoint("anthropic").encode_chat(&request, model, false, &[]).expect("encodes");
        let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
        assert_eq!(body.get("thinking").is_some(), thinks, "{model} {signer}: {body}");
        let named = encoded.warnings.iter().any(|warning| warning.starts_with("reasoning_effort: "));
        assert_eq!(named, !thinks, "{model} {signer}: {:?}", encoded.warnings);
    }
}

#[test]
fn deepseek_is_switched_beside_its_effort() {
    for (effort, thinking, sent) in [("high", "enabled", json!("high")), ("none", "disabled", json!(null))] {
        let (body, _) = encode("deepseek", "deepseek-chat", json!({ "reasoning_effort": effort }));
        assert_eq!((&body["thinking"]["type"], &body["reasoning_effort"]), (&json!(thinking), &sent));
    }
    assert_eq!(encode("deepseek", "deepseek-chat", json!({})).0.get("thinking"), None);
}

#[test]
fn thoughts_that_are_said_aloud_are_told_from_the_words() {
    let whole = |content: &str| json!({ "choices": [{ "message": { "content": content }, "finish_reason": "stop" }] });
    let chunk = |content: &str| json!({ "id": "i", "choices": [{ "delta": { "content": content } }] });
    let end = json!({ "id": "i", "choices": [{ "delta": {}, "finish_reason": "stop" }] });
    for (name, apart) in [("together", true), ("perplexity", true), ("openai-compatible", true), ("openai", false)] {
        let endpoint = endpoint(name);
        let (reasoning, content) = if apart { (Some("hm"), "Oslo") } else { (None, "<think>hm</think>\n\nOslo") };
        let reply = endpoint.decode_chat(whole("<think>hm</think>\n\nOslo").to_string().as_bytes()).expect(name);
        assert_eq!((reply.reasoning.as_deref(), reply.content.as_str()), (reasoning, content), "{name}");
        let pieces =
            [chunk("<thi"), chunk("nk>h"), chunk("m</"), chunk("think>\n"), chunk("\nOs"), chunk("lo"), end.clone()];
        let reply = streamed(&endpoint, &pieces);
        assert_eq!((reply.reasoning.as_deref(), reply.content.as_str()), (reasoning, content), "{name} in pieces");
        let held = streamed(&endpoint, &[chunk("<thi"), end.clone()]);
        assert_eq!(held.content, "<thi", "{name}: what was held back was no tag");
    }
}
