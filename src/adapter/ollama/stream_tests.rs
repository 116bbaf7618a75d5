use super::super::super::testing::{folded, run};
use super::*;
use crate::types::Usage;

fn stream(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

const TEXT: &str = r#"{"model":"m","created_at":"2026-11-21T22:40:00.5Z","message":{"role":"assistant","content":"Oslo"},"done":false}"#;
const DONE: &str =
    r#"{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}"#;

#[test]
fn lines_become_events_and_what_follows_done_is_nothing() {
    let (events, failure, done) = run("ollama", &[stream(&[TEXT, DONE, TEXT, "{bad"]).as_bytes()]);
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: String::new(), model: "m".to_owned(), created: 1_795_300_800 },
            StreamEvent::Text("Oslo".to_owned()),
            StreamEvent::Usage(Usage::reported(1, 2)),
            StreamEvent::Finish { reason: FinishReason::Stop, raw: Some("stop".to_owned()) },
        ]
    );
    assert_eq!((failure, done), (None, true));
}

#[test]
fn before_done_a_stream_was_cut_off() {
    for stream in [
        stream(&[TEXT]),
        String::new(),
        "\n\n".to_owned(),
        format!("{TEXT}\n{}", &DONE[..30]),
        format!("{TEXT}\n{}", &DONE[..DONE.len() - 1]),
    ] {
        assert_eq!(folded("ollama", &stream).1, Some(FailureClass::StreamTruncated), "{stream}");
    }
    assert_eq!(folded("ollama", &format!("{TEXT}\n{DONE}")).1, None);
}

#[test]
fn known_unknown_and_corrupt_lines_are_three_things() {
    for (line, failure) in [
        (r#"{"status":"pulling manifest"}"#, None),
        (r#"{"message":null,"done":false}"#, None),
        ("[]", None),
        ("7", None),
        (r#"{"error":"an error was encountered while running the model"}"#, Some(FailureClass::ServerError)),
        (
            r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
            Some(FailureClass::Overloaded),
        ),
        (r#"{"error":{"message":"m","code":429}}"#, Some(FailureClass::RateLimit)),
        (r#"{"detail":"boom"}"#, Some(FailureClass::ServerError)),
        ("{\"message\":", Some(FailureClass::BadReply)),
        ("<html></html>", Some(FailureClass::BadReply)),
    ] {
        let (reply, failed) = folded("ollama", &stream(&[TEXT, line, DONE]));
        assert_eq!((reply.content.as_str(), failed), ("Oslo", failure), "{line}");
    }
    // An error that the end cuts off from its line end still counts.
    assert_eq!(folded("ollama", &format!("{TEXT}\n{}", r#"{"error":"boom"}"#)).1, Some(FailureClass::ServerError));
    assert_eq!(folded("ollama", &stream(&[DONE])).1, Some(FailureClass::BadReply));
}

#[test]
fn calls_come_whole_and_get_ids_that_differ() {
    let call = r#"{"created_at":"2026-11-21T22:40:00Z","message":{"content":"","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}},{"id":"i","function":{"name":"g","arguments":{}}}]}}"#;
    let (reply, failure) = folded("ollama", &stream(&[call, call, DONE]));
    assert_eq!(
        (reply.finish_reason, reply.reasoning.as_deref(), failure),
        (FinishReason::ToolCalls, Some("hmhm"), None)
    );
    assert_eq!(reply.tool_calls.len(), 4);
    assert_eq!((reply.tool_calls[0].function.arguments.as_str(), reply.tool_calls[1].id.as_str()), (r#"{"x":1}"#, "i"));
    assert_ne!(reply.tool_calls[0].id, reply.tool_calls[2].id);
}

#[test]
fn a_line_without_end_is_refused_at_the_bound() {
    let mut decoder = Decoder::default();
    let mut out = VecDeque::new();
    let chunk = vec![b' '; 1 << 20];
    let result = (0..9).try_for_each(|_| decoder.push(&chunk, &mut out));
    assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
}
