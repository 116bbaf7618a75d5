//! The doors a fuzzer knocks at: everything that reads what a stranger sent, as functions of bytes.
//!
//! Each checks what must hold for any bytes at all: no panic, the same events however the bytes are cut, the order of
//! events, and no more said than was given. `fuzz/` hands them to libFuzzer; the tests below replay the saved corpus and
//! a fixed number of damaged recordings through the same doors, on every run.

use std::collections::VecDeque;
use std::sync::LazyLock;

use http::{HeaderMap, StatusCode};

use super::error_body::ErrorBody;
use super::{Endpoint, EndpointParams, ndjson, service, sse};
use crate::error::{Failure, FailureClass};
use crate::types::StreamEvent;

/// A door, and the folder of its corpus.
pub struct Target {
    pub name: &'static str,
    pub corpus: &'static str,
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident $corpus:literal: $run:expr;)*) => {
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), corpus: $corpus, run: $name }),*];
        $(
            pub fn $name(data: &[u8]) {
                ($run)(data)
            }
        )*
    };
}

targets! {
    sse "sse": sse_framer;
    ndjson "ndjson": ndjson_framer;
    error "error": error_reader;
    models "models": |data| { let _ = OPENAI.decode_models(data); };
    stream_openai "openai": |data| stream(&OPENAI, data);
    stream_perplexity "openai": |data| stream(&PERPLEXITY, data);
    stream_anthropic "anthropic": |data| stream(&ANTHROPIC, data);
    stream_gemini "gemini": |data| stream(&GEMINI, data);
    stream_cohere "cohere": |data| stream(&COHERE, data);
    stream_ollama "ollama": |data| stream(&OLLAMA, data);
    reply_openai "openai": |data| reply(&OPENAI, data);
    reply_anthropic "anthropic": |data| reply(&ANTHROPIC, data);
    reply_gemini "gemini": |data| reply(&GEMINI, data);
    reply_cohere "cohere": |data| reply(&COHERE, data);
    reply_ollama "ollama": |data| reply(&OLLAMA, data);
}

static OPENAI: LazyLock<Endpoint> = LazyLock::new(|| endpoint("openai"));
/// The one dialect of the family whose stream ends otherwise.
static PERPLEXITY: LazyLock<Endpoint> = LazyLock::new(|| endpoint("perplexity"));
static ANTHROPIC: LazyLock<Endpoint> = LazyLock::new(|| endpoint("anthropic"));
static GEMINI: LazyLock<Endpoint> = LazyLock::new(|| endpoint("gemini"));
static COHERE: LazyLock<Endpoint> = LazyLock::new(|| endpoint("cohere"));
static OLLAMA: LazyLock<Endpoint> = LazyLock::new(|| endpoint("ollama"));

#[expect(clippy::expect_used, reason = "the services are named above, and the addresses are their own")]
fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(EndpointParams::new(service(name).expect("known"))).expect("valid")
}

// === the laws ===

/// Most that may come out for each byte that went in, about: the shortest event is a few bytes, and what it becomes has
/// a fixed size of its own.
const MOST_PER_BYTE: usize = 64;

/// Sizes of the pieces: byte by byte, and one that the bytes themselves choose.
fn sizes(data: &[u8]) -> [usize; 2] {
    let sum: usize = data.iter().map(|byte| *byte as usize).sum();
    [1, 2 + sum % 61]
}

fn stream(endpoint: &Endpoint, data: &[u8]) {
    let run = |size: usize| -> (Vec<StreamEvent>, Option<FailureClass>) {
        let mut decoder = endpoint.stream_decoder();
        let mut out = VecDeque::new();
        let result = data.chunks(size).try_for_each(|piece| decoder.push(piece, &mut out));
        let result = result.and_then(|()| decoder.finish(&mut out));
        (out.into(), result.err().map(|failure| failure.class))
    };
    let whole = run(data.len().max(1));
    for size in sizes(data) {
        let cut = run(size);
        assert!(cut == whole, "in pieces of {size}: {cut:?}\nat once: {whole:?}");
    }
    let (events, failure) = whole;
    if let Err(wrong) = keeps_the_order(&events) {
        assert!(events.is_empty(), "{wrong}: {events:?}");
    }
    let finished = events.iter().any(|event| matches!(event, StreamEvent::Finish { .. }));
    assert!(finished || failure.is_some(), "ends well without an end: {events:?}");
    let said: usize = events.iter().map(StreamEvent::size).sum();
    assert!(said <= MOST_PER_BYTE * (data.len() + 8), "{} bytes became {said}", data.len());
}

/// Who answers comes first and once; the end comes once, and nothing is said after it; calls are numbered without gaps
/// and begin with their name and id.
pub(super) fn keeps_the_order(events: &[StreamEvent]) -> Result<(), String> {
    let (mut calls, mut kept, mut finished) = (0, false, false);
    for (at, event) in events.iter().enumerate() {
        match event {
            StreamEvent::Start { .. } if at == 0 => {}
            StreamEvent::Start { .. } => return Err(format!("a second start at {at}")),
            _ if at == 0 => return Err(format!("begins with {event:?}")),
            StreamEvent::Usage(_) => {}
            _ if finished => return Err(format!("{event:?} after the end")),
            StreamEvent::Finish { .. } => finished = true,
            StreamEvent::ToolCall(delta) if delta.index == calls => {
                calls += 1;
                if delta.id.as_deref().unwrap_or_default().is_empty() || delta.name.is_none() {
                    return Err(format!("{delta:?} begins a call namelessly"));
                }
            }
            StreamEvent::ToolCall(delta) if delta.index > calls => return Err(format!("{delta:?} leaves a gap")),
            StreamEvent::ReasoningState(_) if std::mem::replace(&mut kept, true) => {
                return Err(format!("a second state at {at}"));
            }
            StreamEvent::ReasoningState(_)
            | StreamEvent::ToolCall(_)
            | StreamEvent::Text(_)
            | StreamEvent::Reasoning(_)
            | StreamEvent::Refusal(_) => {}
        }
    }
    Ok(())
}

fn reply(endpoint: &Endpoint, data: &[u8]) {
    match endpoint.decode_chat(data) {
        Ok(reply) => {
            let calls = reply.tool_calls.iter().all(|call| !call.id.is_empty());
            assert!(calls, "a call without an id: {reply:?}");
            let said = reply.content.len() + reply.reasoning.as_deref().map_or(0, str::len);
            assert!(said <= MOST_PER_BYTE * data.len(), "{} bytes became {said}", data.len());
        }
        Err(failure) => bounded(&failure),
    }
}

fn bounded(failure: &Failure) {
    assert!(!failure.message.is_empty() && failure.message.len() < 4096, "{} bytes", failure.message.len());
    assert!(failure.code.as_deref().is_none_or(|code| code.len() < 256), "{failure:?}");
}

fn error_reader(data: &[u8]) {
    let _ = ErrorBody::read(data);
    for status in [200, 400, 401, 403, 404, 413, 429, 498, 500, 503] {
        if let Ok(status) = StatusCode::from_u16(status) {
            bounded(&OPENAI.classify(status, &HeaderMap::new(), data, 0));
        }
    }
}

fn sse_framer(data: &[u8]) {
    let events = |size: usize| {
        let mut framer = sse::Framer::default();
        let mut out = Vec::new();
        let mut keep = |event: sse::Event<'_>| {
            out.push((event.name.to_vec(), event.data.to_vec()));
            Ok(())
        };
        let result = data.chunks(size).try_for_each(|piece| framer.push(piece, &mut keep));
        let ended = result.and_then(|()| framer.finish(&mut keep)).is_ok();
        (out, ended)
    };
    let whole = events(data.len().max(1));
    for size in sizes(data) {
        assert!(events(size) == whole, "in pieces of {size}");
    }
    let said: usize = whole.0.iter().map(|(name, data)| name.len() + data.len()).sum();
    assert!(said <= data.len(), "more came out than went in");
}

fn ndjson_framer(data: &[u8]) {
    let lines = |size: usize| {
        let mut framer = ndjson::Framer::default();
        let mut out = Vec::new();
        let mut keep = |line: &[u8]| {
            out.push(line.to_vec());
            Ok(())
        };
        let result = data.chunks(size).try_for_each(|piece| framer.push(piece, &mut keep));
        let ended = result.and_then(|()| framer.finish(&mut keep)).is_ok();
        (out, ended)
    };
    let whole = lines(data.len().max(1));
    for size in sizes(data) {
        assert!(lines(size) == whole, "in pieces of {size}");
    }
    assert!(whole.0.iter().all(|line| !line.is_empty() && !line.contains(&b'\n')), "a line is a line");
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
