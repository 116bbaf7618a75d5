//! What the tests of several dialects need, and the laws that hold for every one of them that is not OpenAI's.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::FailureClass;
use crate::types::{Accumulator, Reply, parse_call};

/// The services with a dialect and a stream of their own, and how one of their streams looks: its pieces, each whole.
const NATIVE: &[(&str, &[&str])] = &[
    (
        "gemini",
        &[
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"é😀\\u00e9\"}]}}],\"responseId\":\"r\"}\r\n\r\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"h\",\"thought\":true}]}}],\"modelVersion\":\"m\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":[1]}}}]}}]}\r\r",
            "data: {\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":2}}\n\n",
            "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
            "data: {\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}\n\n",
            "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n",
            "data: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\n\n",
            "data: [DONE]\n\n",
            ": ping\n\n",
            "data: {bad\n\n",
        ],
    ),
    (
        "cohere",
        &[
            "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"i\"}\n\n",
            "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"é😀\"}}}}\r\n\r\n",
            "data: {\"type\":\"content-start\",\"delta\":{\"message\":{\"content\":{\"thinking\":\"h\"}}}}\n\n",
            "event: tool-call-start\ndata: {\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"t\",\"function\":{\"name\":\"f\"}}}}}\n\n",
            "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{}\"}}}}}\n\n",
            "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"nu\"}}}}}\n\n",
            "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":1.0}}}}\n\n",
            "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"m\"}}\n\n",
            "data: {\"message\":\"too many requests\"}\n\n",
            "data: [DONE]\n\n",
            "data: {bad\n\n",
        ],
    ),
    (
        "ollama",
        &[
            "{\"model\":\"m\",\"created_at\":\"2026-11-21T22:40:00Z\",\"message\":{\"content\":\"é😀\"},\"done\":false}\n",
            "{\"message\":{\"content\":\"\",\"thinking\":\"h\"},\"done\":false}\r\n",
            "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]}}\n",
            "{\"message\":{},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":1,\"eval_count\":2}\n",
            "{\"error\":\"server busy\"}\n",
            "{\"status\":\"pulling\"}\n",
            "\n",
            "{bad\n",
            "<html>\n",
        ],
    ),
];

pub(super) fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(EndpointParams::new(service(name).expect("known"))).expect("valid")
}

/// A request with these fields; it says "hi" unless they say otherwise.
pub(super) fn chat_request(fields: Value) -> ChatRequest {
    let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let Value::Object(fields) = fields else { panic!("an object") };
    call.as_object_mut().expect("an object").extend(fields);
    parse_call(&call.to_string()).expect("valid").request
}

/// The body that is sent, and the fields that the warnings name.
pub(super) fn encode(name: &str, model: &str, fields: Value) -> (Value, Vec<String>) {
    let encoded = endpoint(name).encode_chat(&chat_request(fields), model, false, &[]).expect("encodes");
    let named = encoded.warnings.iter().map(|warning| warning.split(": ").next().unwrap_or_default().to_owned());
    (serde_json::from_slice(&encoded.body).expect("JSON"), named.collect())
}

/// The field for which the request is refused.
pub(super) fn refused(name: &str, model: &str, fields: Value) -> String {
    endpoint(name).encode_chat(&chat_request(fields), model, false, &[]).expect_err("refused").field
}

/// The events of a stream that comes in these pieces, how it failed, and whether it said that it was done.
pub(super) fn run(name: &str, chunks: &[&[u8]]) -> (Vec<StreamEvent>, Option<FailureClass>, bool) {
    let mut decoder = endpoint(name).stream_decoder();
    let mut out = VecDeque::new();
    let result =
        chunks.iter().try_for_each(|chunk| decoder.push(chunk, &mut out)).and_then(|()| decoder.finish(&mut out));
    (out.into(), result.err().map(|failure| failure.class), decoder.is_done())
}

/// The answer that a stream spells, and how it failed.
pub(super) fn folded(name: &str, stream: &str) -> (Reply, Option<FailureClass>) {
    let (events, failure, _) = run(name, &[stream.as_bytes()]);
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    (accumulator.into_reply(), failure)
}

fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}

fn bad_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{{\"message\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_candidates = format!("{{\"candidates\":{}", "[{\"content\":".repeat(50_000));
    vec![
        ("empty", Vec::new()),
        ("white space", b" \r\n\r\n".to_vec()),
        ("a byte order mark", b"\xEF\xBB\xBF".to_vec()),
        ("HTML", b"<!DOCTYPE html><html><body>502</body></html>".to_vec()),
        ("plain text", b"upstream connect error".to_vec()),
        ("half an object", b"{\"candidates\":[{\"content\":{\"parts\":[{\"te".to_vec()),
        ("half a message", b"{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"con".to_vec()),
        ("invalid UTF-8", b"{\"message\":{\"content\":\"\xFF\xFE\"},\"done\":true}".to_vec()),
        ("more invalid UTF-8", b"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\xC3\"}]}}]}".to_vec()),
        ("nested deeply", deep.into_bytes()),
        ("nested deeply and cut", deep_candidates.into_bytes()),
        ("no candidates", b"{\"candidates\":[]}".to_vec()),
        ("candidates of another kind", b"{\"candidates\":{}}".to_vec()),
        ("no choices", b"{\"choices\":[]}".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("an empty array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"7".to_vec()),
        ("a NUL", b"\0\0\0".to_vec()),
    ]
}

#[test]
fn a_body_that_is_no_answer_is_a_classified_failure_in_every_dialect() {
    for (name, _) in NATIVE {
        for (what, body) in bad_bodies() {
            let expected = [Some(FailureClass::BadReply), Some(FailureClass::StreamTruncated)];
            let failure = endpoint(name).decode_chat(&body).expect_err(what);
            assert!(expected.contains(&Some(failure.class)), "{name}: {what}: {failure:?}");
            assert!(!failure.message.is_empty() && failure.message.len() < 3000, "{name}: {what}");
            let (events, failure, _) = run(name, &[&body]);
            assert!(expected.contains(&failure), "{name}: {what}: {failure:?}");
            assert!(!events.iter().any(StreamEvent::is_content), "{name}: {what}: {events:?}");
        }
    }
}

#[test]
fn a_character_that_was_cut_in_two_is_whole_again_in_every_dialect() {
    let words = |around: &str| [r"hi \ud83d", r"\ude00, \ud83d x"].map(|words| around.replace("WORDS", words)).concat();
    let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"WORDS\"}}]}\n\n";
    let anthropic = "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"WORDS\"}}\n\n";
    let gemini = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"WORDS\"}]}}]}\n\n";
    let cohere =
        "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"WORDS\"}}}}\n\n";
    let ollama = "{\"message\":{\"content\":\"WORDS\"},\"done\":false}\n";
    for (service, event) in
        [("openai", openai), ("anthropic", anthropic), ("gemini", gemini), ("cohere", cohere), ("ollama", ollama)]
    {
        assert_eq!(folded(service, &words(event)).0.content, "hi 😀, \u{FFFD} x", "{service}");
    }
}

#[test]
fn an_error_inside_a_200_is_classified_in_every_dialect_and_shape() {
    for (name, _) in NATIVE {
        for (body, class) in [
            (r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#, FailureClass::Overloaded),
            (r#"{"error":{"message":"m","code":429}}"#, FailureClass::RateLimit),
            (r#"{"error":"model 'm' not found"}"#, FailureClass::ModelNotFound),
            (r#"{"message":"invalid api token"}"#, FailureClass::Auth),
            (r#"{"detail":"prompt is too long"}"#, FailureClass::ContextLength),
        ] {
            assert_eq!(endpoint(name).decode_chat(body.as_bytes()).expect_err(body).class, class, "{name}: {body}");
            for stream in [body.to_owned(), format!("{body}\n"), format!("data: {body}\n\n")] {
                if stream.starts_with("data") && *name == "ollama" {
                    continue;
                }
                assert_eq!(run(name, &[stream.as_bytes()]).1, Some(class), "{name}: {stream}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events_and_the_same_end(
        dialect in prop::sample::select(NATIVE.to_vec()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        start in prop::sample::select(vec!["", "\u{FEFF}", "\n", " "]),
        cut in prop::sample::select(vec![0usize, 0, 0, 1, 5]),
        cuts in prop::collection::vec(0usize..1500, 0..20),
    ) {
        let (name, parts) = dialect;
        let text: String = order.iter().map(|index| *index.get(parts)).collect();
        let stream = format!("{start}{text}").into_bytes();
        let stream = &stream[..stream.len().saturating_sub(cut)];
        prop_assert_eq!(run(name, &pieces(stream, &cuts)), run(name, &[stream]));
    }

    #[test]
    fn events_keep_their_order(
        dialect in prop::sample::select(NATIVE.to_vec()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let (name, parts) = dialect;
        let text: String = order.iter().map(|index| *index.get(parts)).collect();
        let (events, failure, _) = run(name, &[text.as_bytes()]);
        let starts = events.iter().filter(|event| matches!(event, StreamEvent::Start { .. })).count();
        let finishes = events.iter().filter(|event| matches!(event, StreamEvent::Finish { .. })).count();
        prop_assert!(starts <= 1 && finishes <= 1);
        prop_assert!(events.is_empty() || matches!(events[0], StreamEvent::Start { .. }), "{events:?}");
        prop_assert_eq!(failure.is_none(), finishes == 1, "{:?} {:?}", failure, events);
        if let Some(at) = events.iter().position(|event| matches!(event, StreamEvent::Finish { .. })) {
            prop_assert!(events[at + 1..].iter().all(|event| !event.is_content()));
        }
        let mut next = 0;
        for event in &events {
            if let StreamEvent::ToolCall(call) = event {
                prop_assert!(call.index <= next && (call.index < next || call.id.is_some() && call.name.is_some()));
                next = next.max(call.index + 1);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_say_no_more_than_they_are(
        dialect in prop::sample::select(NATIVE.to_vec()),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10),
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let given: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let (events, ..) = run(dialect.0, &chunks);
        prop_assert!(events.iter().map(StreamEvent::size).sum::<usize>() <= 64 * (given + 1));
        let _ = endpoint(dialect.0).decode_chat(&chunks.concat());
    }

    #[test]
    fn damaged_streams_never_panic(
        dialect in prop::sample::select(NATIVE.to_vec()),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cuts in prop::collection::vec(0usize..1000, 0..6),
    ) {
        let (name, parts) = dialect;
        let mut stream = order.iter().map(|index| *index.get(parts)).collect::<String>().into_bytes();
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        prop_assert_eq!(run(name, &pieces(&stream, &cuts)), run(name, &[&stream]));
        let _ = endpoint(name).decode_chat(&stream);
    }
}
