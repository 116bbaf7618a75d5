use proptest::prelude::*;

use super::super::super::service;
use super::*;
use crate::types::Accumulator;

fn decoder() -> Decoder {
    super::decoder(&service("openai").expect("known").dialect)
}

fn run(chunks: &[&[u8]]) -> (Vec<StreamEvent>, Option<FailureClass>, bool) {
    let mut decoder = decoder();
    let mut out = VecDeque::new();
    let result =
        chunks.iter().try_for_each(|chunk| decoder.push(chunk, &mut out)).and_then(|()| decoder.finish(&mut out));
    (out.into(), result.err().map(|failure| failure.class), decoder.is_done())
}

/// A stream of these payloads, each an event.
fn stream(payloads: &[&str]) -> String {
    payloads.iter().map(|payload| format!("data: {payload}\n\n")).collect()
}

fn folded(payloads: &[&str]) -> (Reply, Option<FailureClass>) {
    let (events, failure, _) = run(&[stream(payloads).as_bytes()]);
    let mut accumulator = Accumulator::default();
    events.iter().for_each(|event| accumulator.push(event));
    (accumulator.into_reply(), failure)
}

const TEXT: &str =
    r#"{"id":"i","model":"m","created":5,"choices":[{"index":0,"delta":{"content":"Oslo"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"id":"i","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"i","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;

#[test]
fn events_come_in_the_order_they_were_sent() {
    let (events, failure, done) = run(&[stream(&[TEXT, STOP, USAGE, "[DONE]"]).as_bytes()]);
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: "i".to_owned(), model: "m".to_owned(), created: 5 },
            StreamEvent::Text("Oslo".to_owned()),
            StreamEvent::Finish { reason: FinishReason::Stop, raw: Some("stop".to_owned()) },
            StreamEvent::Usage(Usage::reported(1, 2)),
        ]
    );
    assert_eq!((failure, done), (None, true));
}

#[test]
fn a_finish_reason_or_the_end_mark_makes_a_stream_whole() {
    for (payloads, expected) in [
        (&[TEXT, STOP][..], None),
        (&[TEXT, "[DONE]"], None),
        (&[TEXT, "[DONE] "], None),
        (&[TEXT], Some(FailureClass::StreamTruncated)),
        (&[TEXT, USAGE], Some(FailureClass::StreamTruncated)),
        (&[TEXT, r#"{"id":"i","choices":[{"del"#], Some(FailureClass::BadReply)),
        (&[], Some(FailureClass::StreamTruncated)),
        (&["[DONE]"], Some(FailureClass::BadReply)),
        (&[STOP, "[DONE]"], Some(FailureClass::BadReply)),
    ] {
        assert_eq!(folded(payloads).1, expected, "{payloads:?}");
    }
    assert_eq!(run(&[b": ping\n\n: ping\n\n"]).1, Some(FailureClass::StreamTruncated));
}

#[test]
fn an_event_cut_in_half_by_the_end_is_a_truncation() {
    let cut = format!("{}data: {}", stream(&[TEXT]), &STOP[..20]);
    assert_eq!(run(&[cut.as_bytes()]).1, Some(FailureClass::StreamTruncated));
    let whole = format!("{}data: {STOP}", stream(&[TEXT]));
    assert_eq!(run(&[whole.as_bytes()]).1, None);
}

#[test]
fn an_end_mark_without_a_reason_still_finishes_once() {
    let (events, ..) = run(&[stream(&[TEXT, "[DONE]", TEXT]).as_bytes()]);
    assert_eq!(events.last(), Some(&StreamEvent::Finish { reason: FinishReason::Other, raw: None }));
    let (events, ..) = run(&[stream(&[TEXT, STOP, STOP, "[DONE]"]).as_bytes()]);
    assert_eq!(events.iter().filter(|event| matches!(event, StreamEvent::Finish { .. })).count(), 1);
}

#[test]
fn an_error_in_the_stream_is_classified_and_keeps_what_came_before() {
    for (payload, expected) in [
        (r#"{"error":{"message":"m","type":"server_error"}}"#, FailureClass::ServerError),
        (r#"{"error":{"message":"m","code":429}}"#, FailureClass::RateLimit),
        (r#"{"error":"boom"}"#, FailureClass::ServerError),
        (r#"{"object":"error","message":"m","code":400}"#, FailureClass::InvalidRequest),
        (r#"{"detail":"boom"}"#, FailureClass::ServerError),
        (r#"[{"error":{"code":503,"message":"m"}}]"#, FailureClass::Overloaded),
        (r#"{"id":"i","choices":[],"x_groq":{"error":"over capacity"}}"#, FailureClass::ServerError),
        (r#"{"id":"i","choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#, FailureClass::ServerError),
        (
            r#"{"id":"i","error":{"code":502,"message":"m"},"choices":[{"delta":{},"finish_reason":"error"}]}"#,
            FailureClass::ServerError,
        ),
        ("{not json", FailureClass::BadReply),
        ("hello", FailureClass::BadReply),
    ] {
        let (reply, failure) = folded(&[TEXT, payload, "[DONE]"]);
        assert_eq!((reply.content.as_str(), failure), ("Oslo", Some(expected)), "{payload}");
    }
}

#[test]
fn an_event_named_error_is_one_whatever_its_shape() {
    let events = "event: error\ndata: {\"message\":\"m\",\"code\":429}\n\n";
    assert_eq!(run(&[events.as_bytes()]).1, Some(FailureClass::RateLimit));
}

#[test]
fn a_bare_json_error_between_events_is_seen() {
    let bytes = format!("{}{{\"error\":{{\"message\":\"m\",\"code\":429}}}}\n", stream(&[TEXT]));
    assert_eq!(run(&[bytes.as_bytes()]).1, Some(FailureClass::RateLimit));
}

#[test]
fn a_document_instead_of_a_stream_is_understood() {
    let error = br#"  {"code":"The service is currently unavailable","error":"m"}"#;
    assert_eq!(run(&[&error[..4], &error[4..]]).1, Some(FailureClass::Overloaded));
    assert_eq!(run(&[b"<html></html>"]).1, Some(FailureClass::BadReply));
    let reply = br#"{"id":"i","choices":[{"message":{"content":"a","tool_calls":[{"id":"t","function":{"name":"f"}}]},"finish_reason":"stop"}]}"#;
    let (events, failure, done) = run(&[reply]);
    assert_eq!((failure, done), (None, true));
    assert_eq!(events.len(), 4);
    assert!(matches!(events.last(), Some(StreamEvent::Finish { reason: FinishReason::ToolCalls, .. })));
}

#[test]
fn chunks_without_choices_are_harmless() {
    let (reply, failure) = folded(&[
        r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#,
        r#"{"id":"i","model":"m","choices":null}"#,
        r#"{"id":"i","choices":[{"index":0}]}"#,
        r#"{"id":"i","choices":[{"index":0,"delta":null}]}"#,
        TEXT,
        STOP,
    ]);
    assert_eq!((reply.id.as_str(), reply.model.as_str(), failure), ("i", "m", None));
}

#[test]
fn usage_that_grows_is_told_when_it_changes() {
    let with = |count: u32| {
        format!(
            r#"{{"id":"i","choices":[{{"delta":{{"content":"a"}}}}],"usage":{{"prompt_tokens":1,"completion_tokens":{count}}}}}"#
        )
    };
    let (events, ..) = run(&[stream(&[&with(1), &with(1), &with(2), STOP]).as_bytes()]);
    let told: Vec<u64> = events
        .iter()
        .filter_map(|event| if let StreamEvent::Usage(usage) = event { Some(usage.completion_tokens) } else { None })
        .collect();
    assert_eq!(told, [1, 2]);
}

#[test]
fn reasoning_refusal_and_legacy_calls_are_told_apart() {
    let (reply, failure) = folded(&[
        r#"{"id":"i","choices":[{"delta":{"reasoning_content":"h","content":null}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"reasoning":"m","reasoning_content":"m"}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"refusal":"no"}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"function_call":{"name":"f","arguments":"{\"x\""}}}]}"#,
        r#"{"id":"i","choices":[{"delta":{"function_call":{"arguments":":1}"}}}]}"#,
        r#"{"id":"i","choices":[{"delta":{},"finish_reason":"function_call"}]}"#,
    ]);
    assert_eq!(failure, None);
    assert_eq!(
        (reply.reasoning.as_deref(), reply.content.as_str(), reply.refusal.as_deref()),
        (Some("hm"), "a", Some("no"))
    );
    assert_eq!(reply.tool_calls.len(), 1);
    assert_eq!(reply.tool_calls[0].function.arguments, "{\"x\":1}");
}

#[test]
fn only_the_first_answer_is_told() {
    let (reply, _) = folded(&[
        r#"{"id":"i","choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#,
        STOP,
    ]);
    assert_eq!(reply.content, "a");
}

#[test]
fn a_document_without_end_is_refused_at_the_bound() {
    let mut decoder = decoder();
    let mut out = VecDeque::new();
    let chunk = vec![b' '; 1 << 20];
    decoder.push(b"{", &mut out).expect("begins");
    let result = (0..9).try_for_each(|_| decoder.push(&chunk, &mut out));
    assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events_and_the_same_end(
        payloads in prop::collection::vec(prop::sample::select(vec![
            TEXT, STOP, USAGE, "[DONE]", "", "{bad",
            r#"{"id":"i","choices":[{"delta":{"content":"é😀\u00e9","tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"id":"i","choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]}"#,
            r#"{"error":{"message":"m"}}"#,
        ]), 0..8),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        start in prop::sample::select(vec!["", "\u{FEFF}", ": ping\n\n", "\n"]),
        cuts in prop::collection::vec(0usize..2000, 0..20),
    ) {
        let events: String = payloads.iter().map(|payload| format!("data: {payload}{line_end}{line_end}")).collect();
        let stream = format!("{start}{events}").into_bytes();
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
