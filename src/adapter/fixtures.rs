//! Replays the recorded bodies of `__test__/fixtures/wire`: every one gives the result its index states.
//!
//! The index is the list: a body that is added to it is tested without another line here.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::*;
use crate::error::FailureClass;
use crate::types::{Accumulator, Reply, Usage};

/// Sizes of the pieces a stream is fed in.
const CHUNKS: [usize; 4] = [1, 7, 37, usize::MAX];
/// How often each body is changed in ways that must not matter.
const MUTATIONS: u64 = 3;
/// 2026-11-21T22:26:40Z: before the resets that the recorded headers name.
const NOW: u64 = 1_795_300_000_000;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures", "wire"].iter().collect()
}

fn endpoint(service_name: &str) -> Endpoint {
    Endpoint::new(EndpointParams {
        base_url: Some("http://localhost".to_owned()),
        ..EndpointParams::new(service(service_name).expect("a service of this name"))
    })
    .expect("valid")
}

/// The service that speaks so: its folder, but for the OpenAI-compatible bases that other families have too.
fn service_of(file: &str) -> &str {
    match file.split_once('/') {
        Some((_, name)) if name.starts_with("compat-") => "openai-compatible",
        Some((folder, _)) => folder,
        None => panic!("{file} lies in no folder"),
    }
}

/// The accumulated answer, and the failure that ended it.
fn replay(endpoint: &Endpoint, body: &[u8], chunk: usize) -> (Reply, Option<Failure>, Vec<StreamEvent>) {
    let mut decoder = endpoint.stream_decoder();
    let mut events = VecDeque::new();
    let result = body
        .chunks(chunk.min(body.len().max(1)))
        .try_for_each(|piece| decoder.push(piece, &mut events))
        .and_then(|()| decoder.finish(&mut events));
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    (accumulator.into_reply(), result.err(), events.into())
}

fn check_reply(file: &str, reply: &Reply, expect: &Value) {
    if let Some(content) = expect.get("content") {
        assert_eq!(reply.content, content.as_str().unwrap_or_default(), "{file}: content");
    }
    if let Some(reason) = expect.get("finish_reason") {
        assert_eq!(reply.finish_reason.as_str(), reason, "{file}: finish_reason");
        assert!(reply.raw_finish_reason.is_some(), "{file}: the raw reason stands beside ours");
    }
    if let Some(calls) = expect.get("tool_calls").and_then(Value::as_array) {
        assert_eq!(reply.tool_calls.len(), calls.len(), "{file}: tool_calls");
        for (call, expected) in reply.tool_calls.iter().zip(calls) {
            let arguments: Value = serde_json::from_str(&call.function.arguments).expect("arguments are JSON");
            assert_eq!(call.function.name, expected["name"].as_str().expect("name"), "{file}");
            assert_eq!(arguments, expected["arguments"], "{file}");
            assert!(!call.id.is_empty(), "{file}: a call has an id");
        }
    }
    if let Some(count) = expect.get("tool_call_count") {
        assert_eq!(&Value::from(reply.tool_calls.len()), count, "{file}: tool_call_count");
    }
    if let Some(reasoning) = expect.get("reasoning") {
        assert_eq!(reply.reasoning.as_deref(), reasoning.as_str(), "{file}: reasoning");
    }
    match expect.get("usage") {
        Some(Value::Null) => assert_eq!(reply.usage, None, "{file}: usage"),
        Some(usage) => {
            let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
            let expected = Usage {
                total_tokens: count("total_tokens"),
                cached_tokens: count("cached_input_tokens"),
                reasoning_tokens: count("reasoning_tokens"),
                ..Usage::reported(count("input_tokens"), count("output_tokens"))
            };
            assert_eq!(reply.usage, Some(expected), "{file}: usage");
        }
        None => {}
    }
}

fn check_failure(file: &str, failure: &Failure, expect: &Value) {
    assert_eq!(Some(failure.class.as_str()), expect["error_class"].as_str(), "{file}: {failure:?}");
    if let Some(again) = expect.get("retry_same_provider").and_then(Value::as_bool) {
        assert_eq!(failure.same_provider_again(), again, "{file}: retry_same_provider");
    }
    assert!(!failure.message.is_empty(), "{file}: a failure has words");
}

#[test]
fn every_recorded_body_gives_its_expected_result() {
    let index = std::fs::read_to_string(folder().join("index.json")).expect("the index");
    let index: Vec<Value> = serde_json::from_str(&index).expect("the index is a list");
    let (mut wholes, mut streams, mut errors, mut limits) = (0, 0, 0, 0);
    for entry in &index {
        let file = entry["file"].as_str().expect("file");
        let endpoint = endpoint(service_of(file));
        let recorded = std::fs::read(folder().join(file)).expect(file);
        let kind = entry["kind"].as_str().expect("kind");
        let status = StatusCode::from_u16(entry["status"].as_u64().expect("status") as u16).expect("status");
        let headers: HeaderMap = entry["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value.as_str().expect("a string")).expect("a header value");
                (name.parse::<HeaderName>().expect("a header name"), value)
            })
            .collect();
        if headers.keys().any(|name| name.as_str().contains("ratelimit") && name.as_str().contains("remaining")) {
            limits += 1;
            assert!(endpoint.rate_headers(&headers, NOW).requests.is_some(), "{file}: what is left of its requests");
        }
        for round in 0..=MUTATIONS {
            let (body, expect) = match round {
                0 => (recorded.clone(), entry["expect"].clone()),
                seed => mutations::mutated(kind, &recorded, &entry["expect"], seed),
            };
            let expect = &expect;
            if !status.is_success() {
                errors += 1;
                let failure = endpoint.classify(status, &headers, &body, NOW);
                check_failure(file, &failure, expect);
                assert_eq!(failure.status, Some(status.as_u16()), "{file}");
            } else if entry["kind"] == "sse" || entry["kind"] == "ndjson" {
                streams += 1;
                let whole = replay(&endpoint, &body, usize::MAX);
                if let Err(wrong) = fuzz::keeps_the_order(&whole.2) {
                    panic!("{file}: {wrong}");
                }
                for chunk in CHUNKS {
                    let (reply, failure, events) = replay(&endpoint, &body, chunk);
                    assert_eq!(events, whole.2, "{file} in pieces of {chunk}");
                    match &failure {
                        Some(failure) => {
                            check_failure(file, failure, expect);
                            if let Some(partial) = expect.get("partial_content") {
                                assert_eq!(reply.content, partial.as_str().unwrap_or_default(), "{file}");
                            }
                        }
                        None => {
                            assert!(expect.get("error_class").is_none(), "{file} in pieces of {chunk} did not fail");
                            check_reply(file, &reply, expect);
                        }
                    }
                }
            } else if expect.get("health").is_some() || expect.get("embedding_count").is_some() {
                let failure = endpoint.decode_chat(&body).expect_err("no chat reply");
                assert_eq!(failure.class, FailureClass::BadReply, "{file}");
                if let Some(count) = expect.get("embedding_count").and_then(Value::as_u64) {
                    let reply = endpoint.decode_embed(&body, count as usize, None).expect(file);
                    assert!(reply.vectors.iter().all(|vector| vector.len() == 3), "{file}: {:?}", reply.vectors);
                }
                if expect.get("health").is_some() {
                    assert!(!endpoint.decode_models(&body).expect(file).is_empty(), "{file}: names");
                }
            } else {
                wholes += 1;
                match endpoint.decode_chat(&body) {
                    // An upstream that says it broke off is a failure here, never an answer.
                    Err(failure) if expect["finish_reason"] == "error" => {
                        assert!(failure.class.another_provider(), "{file}")
                    }
                    Ok(reply) => check_reply(file, &reply, expect),
                    Err(failure) => check_failure(file, &failure, expect),
                }
            }
        }
    }
    // An index that lost its entries must not pass for a clean run.
    assert!(wholes >= 200 && streams >= 80 && errors >= 250, "{wholes} replies, {streams} streams, {errors} errors");
    assert!(limits >= 5, "{limits} replies say what is left");
}
