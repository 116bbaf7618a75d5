//! The laws every stream decoder keeps, checked on all of them by one table, and what bad replies become, checked on
//! every service.
//!
//! A service that is added without a row here fails the first test.

use std::path::PathBuf;

use http::{HeaderMap, StatusCode};

use super::fuzz::keeps_the_order;
use super::*;
use crate::error::FailureClass;
use crate::types::{Accumulator, Reply};

/// One service and a recorded stream of text.
struct Row {
    service: &'static str,
    stream: &'static str,
    /// Its streams report usage, by themselves or because they are asked to.
    usage: bool,
    /// It has an event that says that nothing follows.
    end_mark: bool,
}

const fn row(service: &'static str, stream: &'static str, usage: bool) -> Row {
    Row { service, stream, usage, end_mark: true }
}

const TABLE: &[Row] = &[
    row("openai", "openai/stream-text.sse", true),
    row("azure", "azure/stream-text.sse", true),
    row("groq", "groq/stream-text.sse", true),
    row("together", "together/stream-text.sse", true),
    row("mistral", "mistral/stream-text.sse", true),
    row("deepseek", "deepseek/stream-text-keepalive.sse", true),
    row("openrouter", "openrouter/stream-text.sse", true),
    row("xai", "xai/stream-text.sse", true),
    row("fireworks", "fireworks/stream-text.sse", true),
    row("perplexity", "perplexity/stream-text.sse", true),
    row("openai-compatible", "openai/stream-text-nousage.sse", false),
    row("anthropic", "anthropic/stream-text.sse", true),
    // Its last chunk is one with a finish reason; only the end of the bytes says that no other follows.
    Row { end_mark: false, ..row("gemini", "gemini/stream-text.sse", true) },
    row("cohere", "cohere/stream-text.sse", true),
    row("ollama", "ollama/stream-text.ndjson", true),
];

fn endpoint(service: &'static Service) -> Endpoint {
    let base_url = Some("http://localhost".to_owned());
    Endpoint::new(EndpointParams { base_url, ..EndpointParams::new(service) }).expect("valid")
}

/// The rows of services that exist, each with its endpoint and the events of its stream as bytes.
fn rows() -> Vec<(&'static Row, Endpoint, Vec<String>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "__test__", "fixtures", "wire"].iter().collect();
    let known = TABLE.iter().filter_map(|row| Some((row, service(row.service)?)));
    known
        .map(|(row, service)| {
            let text = std::fs::read_to_string(folder.join(row.stream)).expect(row.stream).replace("\r\n", "\n");
            let end = if row.stream.ends_with(".ndjson") { "\n" } else { "\n\n" };
            (row, endpoint(service), text.split_inclusive(end).map(str::to_owned).collect())
        })
        .collect()
}

fn decode(endpoint: &Endpoint, bytes: &[u8]) -> (Vec<StreamEvent>, Result<(), Failure>, StreamDecoder) {
    let mut decoder = endpoint.stream_decoder();
    let mut out = VecDeque::new();
    let result = decoder.push(bytes, &mut out).and_then(|()| decoder.finish(&mut out));
    (out.into(), result, decoder)
}

fn text(events: &[StreamEvent]) -> Reply {
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    accumulator.into_reply()
}

#[test]
fn every_service_has_a_row() {
    for service in services() {
        assert!(TABLE.iter().any(|row| row.service == service.name), "{} has no row", service.name);
    }
}

#[test]
fn a_whole_stream_keeps_the_order_and_its_promises() {
    for (row, endpoint, events) in rows() {
        let (events, result, _) = decode(&endpoint, events.concat().as_bytes());
        result.unwrap_or_else(|failure| panic!("{}: {failure}", row.service));
        keeps_the_order(&events).unwrap_or_else(|wrong| panic!("{}: {wrong}", row.service));
        let finishes = events.iter().filter(|event| matches!(event, StreamEvent::Finish { .. })).count();
        assert_eq!(finishes, 1, "{}", row.service);
        assert_eq!(events.iter().any(|event| matches!(event, StreamEvent::Usage(_))), row.usage, "{}", row.service);
    }
}

#[test]
fn a_stream_cut_anywhere_keeps_the_order_and_is_whole_only_after_its_end() {
    for (row, endpoint, whole) in rows() {
        let whole = whole.concat();
        let expected = text(&decode(&endpoint, whole.as_bytes()).0).content;
        for cut in 0..whole.len() {
            let (events, result, _) = decode(&endpoint, &whole.as_bytes()[..cut]);
            keeps_the_order(&events).unwrap_or_else(|wrong| panic!("{} at {cut}: {wrong}", row.service));
            let finished = events.iter().any(|event| matches!(event, StreamEvent::Finish { .. }));
            assert_eq!(result.is_ok(), finished, "{} at {cut}: {result:?}", row.service);
            match result {
                Ok(()) => assert_eq!(text(&events).content, expected, "{} at {cut}", row.service),
                Err(failure) => assert!(failure.class.another_provider(), "{} at {cut}: {failure:?}", row.service),
            }
        }
    }
}

#[test]
fn nothing_is_told_after_the_end() {
    for (row, endpoint, whole) in rows().into_iter().filter(|(row, ..)| row.end_mark) {
        let whole = whole.concat();
        let (events, ..) = decode(&endpoint, whole.as_bytes());
        let twice = format!("{whole}{whole}");
        let mut decoder = endpoint.stream_decoder();
        let mut out = VecDeque::new();
        // Whether the second half is an error is the dialect's own affair; that nobody hears of it is not.
        let _ = decoder.push(twice.as_bytes(), &mut out);
        let said = |events: &[StreamEvent]| events.iter().filter(|event| event.is_content()).count();
        assert_eq!(said(out.make_contiguous()), said(&events), "{}", row.service);
        assert!(decoder.is_done(), "{} has an end mark", row.service);
    }
}

/// What the decoder holds, about: everything in it is in what it prints.
fn held(decoder: &StreamDecoder) -> usize {
    format!("{decoder:?}").len()
}

#[test]
fn a_long_stream_costs_no_more_memory_than_a_short_one() {
    for (row, endpoint, events) in rows() {
        let (content, usual) = events
            .iter()
            .map(|event| (event, text(&decode(&endpoint, event.as_bytes()).0).content))
            .find(|(_, content)| !content.is_empty())
            .unwrap_or_else(|| panic!("{} says nothing", row.service));
        let begins: String = events.iter().take_while(|event| *event != content).map(String::as_str).collect();
        let after = |chunks: usize| {
            let mut decoder = endpoint.stream_decoder();
            let (mut out, mut said) = (VecDeque::new(), 0);
            decoder.push(begins.as_bytes(), &mut out).expect("begins");
            for _ in 0..chunks {
                decoder.push(content.as_bytes(), &mut out).expect("a chunk");
                said += out.drain(..).filter(|event| matches!(event, StreamEvent::Text(_))).count();
            }
            assert_eq!(said, chunks, "{}: {usual:?} is told as often as it came", row.service);
            held(&decoder)
        };
        let (short, long) = (after(100), after(10_000));
        assert!(long <= short + 64, "{}: {long} bytes after 10,000 chunks, {short} after 100", row.service);
    }
}

#[test]
fn bad_replies_are_failures_that_move_on() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!("{{\"choices\":{}", "{\"a\":[".repeat(10_000));
    let huge = format!("{{\"x\":\"{}", "a".repeat(1 << 20));
    let bad: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("white space", b" \r\n\n"),
        ("null", b"null"),
        ("a number", b"7"),
        ("a string", b"\"ok\""),
        ("an empty object", b"{}"),
        ("an empty list", b"[]"),
        ("html", b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
        ("plain text", b"upstream connect error"),
        ("truncated", br#"{"id":"i","choices":[{"message":{"content":"Os"#),
        ("truncated messages", br#"{"type":"message","content":[{"type":"text","text":"Os"#),
        ("invalid utf-8", b"{\"choices\":[{\"message\":{\"content\":\"\xff\xfe\"},\"finish_reason\":\"stop\"}]}"),
        ("gzip that nobody unpacked", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00"),
        ("no choices", br#"{"choices":[],"content":[],"candidates":[],"message":{}}"#),
        ("choices of nothing", br#"{"choices":[{}],"content":null}"#),
        ("null choices", br#"{"choices":null}"#),
        ("an error inside", br#"{"error":{"message":"The server had an error","type":"server_error"}}"#),
        ("an error in a list", br#"[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#),
        ("a message of nothing", br#"{"choices":[{"message":{}}],"content":[],"candidates":[{}]}"#),
        ("a bare error", br#"{"error":"overloaded, try later"}"#),
        ("trailing garbage", br#"{"error":{"message":"m"}} {"#),
        ("deeply nested", deep.as_bytes()),
        ("deeply nested where something is read", nested.as_bytes()),
        ("a huge truncated text", huge.as_bytes()),
    ];
    for service in services() {
        let endpoint = endpoint(service);
        for (what, body) in bad {
            let of = |how: &str| format!("{}: {what} {how}", service.name);
            let failure = endpoint.decode_chat(body).expect_err(&of("as a reply"));
            assert!(failure.class.another_provider(), "{}: {failure:?}", of("as a reply"));
            assert!(failure.message.len() <= 4096, "{}", of("says too much"));

            let (events, result, decoder) = decode(&endpoint, body);
            let failure = result.expect_err(&of("as a stream"));
            assert!(failure.class.another_provider(), "{}: {failure:?}", of("as a stream"));
            assert!(!events.iter().any(StreamEvent::is_content), "{}", of("said something"));
            drop(decoder);

            for status in [500, 502, 529] {
                let status = StatusCode::from_u16(status).expect("a status");
                let failure = endpoint.classify(status, &HeaderMap::new(), body, 0);
                assert!(failure.class.another_provider(), "{}: {failure:?}", of("under 5xx"));
            }
        }
    }
}

#[test]
fn a_reply_without_end_is_bounded() {
    for service in services() {
        let endpoint = endpoint(service);
        for start in ["data: ", "{"] {
            let mut decoder = endpoint.stream_decoder();
            let mut out = VecDeque::new();
            decoder.push(start.as_bytes(), &mut out).expect("begins");
            let chunk = vec![b'x'; 1 << 20];
            let result = (0..100).try_for_each(|_| decoder.push(&chunk, &mut out));
            assert_eq!(result.expect_err(service.name).class, FailureClass::BadReply, "{} {start}", service.name);
        }
    }
}
