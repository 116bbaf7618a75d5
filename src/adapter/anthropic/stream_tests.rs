use proptest::prelude::*;

use super::*;
use crate::types::{Accumulator, ToolCall};

fn run(chunks: &[&[u8]]) -> (Vec<StreamEvent>, Option<FailureClass>, bool) {
    let mut decoder = Decoder::default();
    let mut out = VecDeque::new();
    let result =
        chunks.iter().try_for_each(|chunk| decoder.push(chunk, &mut out)).and_then(|()| decoder.finish(&mut out));
    (out.into(), result.err().map(|failure| failure.class), decoder.is_done())
}

/// A stream of these payloads, each an event under the name that its type repeats.
fn stream(payloads: &[&str]) -> String {
    let name = |payload: &str| {
        let value: Value = serde_json::from_str(payload).unwrap_or_default();
        value["type"].as_str().unwrap_or_default().to_owned()
    };
    payloads.iter().map(|payload| format!("event: {}\ndata: {payload}\n\n", name(payload))).collect()
}

fn folded(payloads: &[&str]) -> (Reply, Option<FailureClass>) {
    let (events, failure, _) = run(&[stream(payloads).as_bytes()]);
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    (accumulator.into_reply(), failure)
}

const START: &str = r#"{"type":"message_start","message":{"id":"i","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":5,"cache_read_input_tokens":20,"cache_creation_input_tokens":3,"output_tokens":1}}}"#;
const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const TEXT: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Oslo"}}"#;
const END: &str = r#"{"type":"content_block_stop","index":0}"#;
const STOP: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
const DONE: &str = r#"{"type":"message_stop"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const OVERLOADED: &str = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

#[test]
fn events_come_in_the_order_they_were_sent() {
    let (events, failure, done) = run(&[stream(&[START, PING, BLOCK, TEXT, END, STOP, DONE]).as_bytes()]);
    let usage = |output| Usage { cached_tokens: 20, cache_write_tokens: 3, ..Usage::reported(28, output) };
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: "i".to_owned(), model: "m".to_owned(), created: 0 },
            StreamEvent::Usage(usage(1)),
            StreamEvent::Text("Oslo".to_owned()),
            StreamEvent::Usage(usage(9)),
            StreamEvent::Finish { reason: FinishReason::Stop, raw: Some("end_turn".to_owned()) },
        ]
    );
    assert_eq!((failure, done), (None, true));
}

#[test]
fn a_stop_reason_or_the_terminal_event_makes_a_stream_whole() {
    for (payloads, expected) in [
        (&[START, BLOCK, TEXT, END, STOP][..], None),
        (&[START, BLOCK, TEXT, DONE], None),
        (&[START, BLOCK, TEXT, END], Some(FailureClass::StreamTruncated)),
        (&[START], Some(FailureClass::StreamTruncated)),
        (&[], Some(FailureClass::StreamTruncated)),
        (&[START, DONE], Some(FailureClass::BadReply)),
        (&[START, STOP], Some(FailureClass::BadReply)),
        (&[START, "[DONE]"], Some(FailureClass::BadReply)),
        (&[START, BLOCK, TEXT, "{bad", STOP], Some(FailureClass::BadReply)),
    ] {
        assert_eq!(folded(payloads).1, expected, "{payloads:?}");
    }
}

#[test]
fn an_error_ends_the_stream_wherever_it_comes() {
    assert_eq!(folded(&[OVERLOADED]).1, Some(FailureClass::Overloaded));
    let (reply, failure) = folded(&[START, BLOCK, TEXT, OVERLOADED]);
    assert_eq!((reply.content.as_str(), failure), ("Oslo", Some(FailureClass::Overloaded)));
    let document = OVERLOADED.as_bytes();
    assert_eq!(run(&[&document[..9], &document[9..]]).1, Some(FailureClass::Overloaded));
    assert_eq!(run(&[b"<html></html>"]).1, Some(FailureClass::BadReply));
}

#[test]
fn thinking_and_calls_are_told_apart() {
    let (reply, failure) = folded(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#,
        END,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"x"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\":"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":" \"Oslo\"}"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"u","name":"g","input":{}}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","name":"h","input":{"x":1}}}"#,
        r#"{"type":"brand_new","index":4}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":6,"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}}"#,
        DONE,
    ]);
    assert_eq!(failure, None);
    assert_eq!((reply.reasoning.as_deref(), reply.finish_reason), (Some("hm"), FinishReason::ToolCalls));
    assert_eq!(
        reply.tool_calls[..2],
        [ToolCall::function("t", "f", r#"{"city": "Oslo"}"#), ToolCall::function("u", "g", "{}")]
    );
    let third = &reply.tool_calls[2];
    assert_eq!((third.function.name.as_str(), third.function.arguments.as_str()), ("h", r#"{"x":1}"#));
    assert!(third.id.starts_with("call_"));
    let expected = Usage { cached_tokens: 20, cache_write_tokens: 3, reasoning_tokens: 4, ..Usage::reported(29, 9) };
    assert_eq!(reply.usage, Some(expected), "the later report of the prompt replaces the earlier one");
}

#[test]
fn a_refusal_is_told_with_its_explanation() {
    let (reply, failure) = folded(&[
        START,
        r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"no"}}}"#,
        DONE,
    ]);
    assert_eq!(
        (reply.refusal.as_deref(), reply.finish_reason, failure),
        (Some("no"), FinishReason::ContentFilter, None)
    );
}

#[test]
fn a_whole_reply_instead_of_a_stream_is_told_as_one() {
    let reply =
        br#"{"id":"i","type":"message","model":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}"#;
    let (events, failure, done) = run(&[reply]);
    assert_eq!((events.len(), failure, done), (3, None, true));
}

#[test]
fn blocks_that_never_close_are_refused_at_the_bound() {
    let mut decoder = Decoder::default();
    let mut out = VecDeque::new();
    let result = (0..5000).try_for_each(|index| {
        let block = format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"a","name":"f"}}}}"#
        );
        decoder.push(stream(&[&block]).as_bytes(), &mut out)
    });
    assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events_and_the_same_end(
        payloads in prop::collection::vec(prop::sample::select(vec![
            START, BLOCK, TEXT, END, STOP, DONE, PING, OVERLOADED, "{bad", "",
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"é\":"}}"#,
        ]), 0..10),
        cuts in prop::collection::vec(0usize..3000, 0..20),
    ) {
        let stream = stream(&payloads).into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect();
        prop_assert_eq!(run(&chunks), run(&[&stream]));
    }

    #[test]
    fn random_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        run(&chunks);
    }
}
