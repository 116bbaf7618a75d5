use super::super::super::service;
use super::*;
use crate::adapter::Service;

fn openai() -> &'static Service {
    service("openai").expect("known")
}

fn decode(json: &str) -> Reply {
    reply(json.as_bytes(), &openai().dialect).expect(json)
}

fn class(body: impl AsRef<[u8]>) -> FailureClass {
    reply(body.as_ref(), &openai().dialect).expect_err("no answer").class
}

/// A reply around a message and a finish reason, both JSON.
fn around(message: &str, finish_reason: &str) -> String {
    format!(
        r#"{{"id":"r","model":"m","created":7,"choices":[{{"message":{message},"finish_reason":{finish_reason}}}]}}"#
    )
}

fn used(usage: &str) -> Option<Usage> {
    decode(&format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage}}}"#)).usage
}

#[test]
fn finish_reasons_become_ours_and_keep_the_raw_word() {
    for (raw, ours) in [
        ("\"stop\"", FinishReason::Stop),
        ("\"eos\"", FinishReason::Stop),
        ("\"eos_token\"", FinishReason::Stop),
        ("\"length\"", FinishReason::Length),
        ("\"model_length\"", FinishReason::Length),
        ("\"tool_calls\"", FinishReason::ToolCalls),
        ("\"function_call\"", FinishReason::ToolCalls),
        ("\"content_filter\"", FinishReason::ContentFilter),
        ("\"brand_new\"", FinishReason::Other),
        ("null", FinishReason::Other),
    ] {
        let reply = decode(&around(r#"{"content":"a"}"#, raw));
        assert_eq!(reply.finish_reason, ours, "{raw}");
        assert_eq!(reply.raw_finish_reason.as_deref(), serde_json::from_str::<Option<&str>>(raw).expect("JSON"));
    }
}

#[test]
fn a_plain_stop_with_calls_is_a_call_for_tools() {
    let reply = decode(&around(
        r#"{"content":"","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
        "\"stop\"",
    ));
    assert_eq!((reply.finish_reason, reply.raw_finish_reason.as_deref()), (FinishReason::ToolCalls, Some("stop")));
}

#[test]
fn an_upstream_that_says_it_failed_is_a_failure() {
    for (raw, expected) in [
        ("error", FailureClass::ServerError),
        ("abort", FailureClass::ServerError),
        ("insufficient_system_resource", FailureClass::Overloaded),
    ] {
        assert_eq!(class(around(r#"{"content":"a"}"#, &format!("\"{raw}\""))), expected, "{raw}");
    }
    let choice =
        r#"{"choices":[{"message":{"content":""},"finish_reason":"error","error":{"code":429,"message":"m"}}]}"#;
    assert_eq!(class(choice), FailureClass::RateLimit);
}

#[test]
fn odd_shapes_of_a_message_are_read() {
    let thinking = decode(&around(
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"},
            {"type":"reference","reference_ids":[1]},{"type":"text","text":"b"}],"tool_calls":null,"refusal":null}"#,
        "\"stop\"",
    ));
    assert_eq!((thinking.content.as_str(), thinking.reasoning.as_deref()), ("ab", Some("hm")));
    let refused = decode(&around(r#"{"content":[{"type":"refusal","refusal":"no"}]}"#, "\"stop\""));
    assert_eq!(refused.refusal.as_deref(), Some("no"));
    let legacy =
        decode(&around(r#"{"content":null,"function_call":{"name":"f","arguments":"{}"}}"#, "\"function_call\""));
    assert_eq!(legacy.tool_calls[0].function.name, "f");
    assert!(!legacy.tool_calls[0].id.is_empty());
    let odd = decode(
        "\u{FEFF}\n\n{\"id\":7,\"created\":1.9,\"model\":null,\"object\":[],\"choices\":[{\"index\":null,\"logprobs\":[1],
            \"message\":{\"content\":\"a\",\"reasoning\":{\"x\":1},\"annotations\":[]},\"finish_reason\":\"stop\"}],
            \"usage\":\"none\",\"x_groq\":null,\"error\":null}",
    );
    assert_eq!((odd.id.as_str(), odd.created, odd.content.as_str(), odd.usage), ("7", 1, "a", None));
}

#[test]
fn calls_without_ids_or_arguments_get_them() {
    let reply = decode(&around(
        r#"{"tool_calls":[{"id":null,"function":{"name":"f","arguments":null}},
            {"id":"null","function":{"name":"g","arguments":{"x":1}}},{"function":{"name":"h","arguments":""}}]}"#,
        "\"tool_calls\"",
    ));
    let arguments: Vec<&str> = reply.tool_calls.iter().map(|call| call.function.arguments.as_str()).collect();
    assert_eq!(arguments, ["{}", r#"{"x":1}"#, "{}"]);
    let ids: std::collections::BTreeSet<&str> = reply.tool_calls.iter().map(|call| call.id.as_str()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.starts_with("call_")), "{ids:?}");
}

#[test]
fn usage_means_the_same_in_every_spelling() {
    let expected = |prompt, completion, cached, reasoning| {
        Some(Usage { cached_tokens: cached, reasoning_tokens: reasoning, ..Usage::reported(prompt, completion) })
    };
    for (usage, prompt, completion, cached, reasoning) in [
        (
            r#"{"prompt_tokens":12,"completion_tokens":6,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
            12,
            6,
            0,
            0,
        ),
        (r#"{"prompt_tokens":12,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":4}}"#, 12, 6, 4, 0),
        (r#"{"prompt_tokens":12,"completion_tokens":6,"num_cached_tokens":4}"#, 12, 6, 4, 0),
        (r#"{"prompt_tokens":12,"completion_tokens":6,"cached_tokens":4}"#, 12, 6, 4, 0),
        (r#"{"prompt_tokens":12,"completion_tokens":6,"prompt_cache_hit_tokens":4}"#, 12, 6, 4, 0),
        (r#"{"prompt_tokens":12.0,"completion_tokens":"6"}"#, 12, 6, 0, 0),
        // inside the completion
        (
            r#"{"prompt_tokens":12,"completion_tokens":90,"total_tokens":102,"completion_tokens_details":{"reasoning_tokens":84}}"#,
            12,
            90,
            0,
            84,
        ),
        // beside it
        (
            r#"{"prompt_tokens":12,"completion_tokens":6,"total_tokens":308,"completion_tokens_details":{"reasoning_tokens":290}}"#,
            12,
            296,
            0,
            290,
        ),
        (r#"{"prompt_tokens":12,"completion_tokens":6,"total_tokens":22,"reasoning_tokens":4}"#, 12, 10, 0, 4),
        // cached beside the prompt
        (r#"{"prompt_tokens":2,"completion_tokens":6,"cached_tokens":10}"#, 12, 6, 10, 0),
        (r#"{"prompt_tokens":12}"#, 12, 0, 0, 0),
    ] {
        assert_eq!(used(usage), expected(prompt, completion, cached, reasoning), "{usage}");
    }
    for nothing in ["null", "{}", "[]", "7", r#"{"prompt_tokens":null,"total_tokens":5}"#] {
        assert_eq!(used(nothing), None, "{nothing}");
    }
}

#[test]
fn usage_is_found_in_groqs_own_place() {
    let reply = decode(
        r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],
            "x_groq":{"id":"g","usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
    );
    assert_eq!(reply.usage, Some(Usage::reported(1, 2)));
}

#[test]
fn a_200_that_is_no_answer_is_a_failure() {
    let deep = format!("{{\"choices\":{}", "[".repeat(100_000));
    for (body, expected) in [
        (r#"{"error":{"message":"m","code":503}}"#, FailureClass::Overloaded),
        (r#"{"error":{"message":"m","code":"insufficient_quota"},"choices":[]}"#, FailureClass::QuotaExhausted),
        (r#"{"code":"The service is currently unavailable","error":"m"}"#, FailureClass::Overloaded),
        (r#"{"object":"error","message":"m","type":"BadRequestError","code":400}"#, FailureClass::InvalidRequest),
        (r#"[{"error":{"code":429,"message":"m"}}]"#, FailureClass::RateLimit),
        (r#"{"detail":"Not authenticated"}"#, FailureClass::ServerError),
        (r#"{"choices":[]}"#, FailureClass::BadReply),
        (r#"{"choices":null}"#, FailureClass::BadReply),
        (r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#, FailureClass::BadReply),
        (r#"{"object":"list","data":[]}"#, FailureClass::BadReply),
        (r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#, FailureClass::BadReply),
        (r#"{"choices":[{"message":{"content":null},"finish_reason":"eos"}]}"#, FailureClass::BadReply),
        (r#"{"choices":[{"message":{"content":"a"#, FailureClass::BadReply),
        ("{}", FailureClass::BadReply),
        ("[]", FailureClass::BadReply),
        ("null", FailureClass::BadReply),
        ("\"hello\"", FailureClass::BadReply),
        ("", FailureClass::BadReply),
        ("  \n", FailureClass::BadReply),
        ("OK", FailureClass::BadReply),
        ("<!doctype html><title>Login</title>", FailureClass::BadReply),
        (deep.as_str(), FailureClass::BadReply),
    ] {
        assert_eq!(class(body), expected, "{}", &body[..body.len().min(100)]);
    }
    assert_eq!(
        class(b"{\"choices\":[{\"message\":{\"content\":\"\xFF\xFE\"},\"finish_reason\":\"stop\"}]}"),
        FailureClass::BadReply
    );
}

#[test]
fn an_empty_answer_is_an_answer_unless_the_model_simply_stopped() {
    for (message, reason) in [
        (r#"{"content":""}"#, "\"length\""),
        (r#"{"content":""}"#, "\"content_filter\""),
        (r#"{"content":"","refusal":"no"}"#, "\"stop\""),
        (r#"{"content":"","reasoning_content":"hm"}"#, "\"stop\""),
    ] {
        decode(&around(message, reason));
    }
}

#[test]
fn no_error_is_said_in_several_ways() {
    for error in ["null", "false", "\"\"", "{}"] {
        let json = format!(r#"{{"error":{error},"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}]}}"#);
        assert_eq!(decode(&json).content, "a");
    }
}

#[test]
fn sound_is_counted_apart_for_its_price() {
    let reply = decode(
        r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,
            "completion_tokens":8,"prompt_tokens_details":{"audio_tokens":7},"completion_tokens_details":{"audio_tokens":6}}}"#,
    );
    let expected = Usage { prompt_audio_tokens: 7, completion_audio_tokens: 6, ..Usage::reported(9, 8) };
    assert_eq!(reply.usage, Some(expected));
}
