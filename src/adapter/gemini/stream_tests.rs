use super::super::super::testing::{folded, run};
use super::*;

fn stream(chunks: &[&str]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

const TEXT: &str = r#"{"candidates":[{"content":{"parts":[{"text":"Oslo"}]}}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1},"modelVersion":"m","responseId":"r"}"#;
const STOP: &str = r#"{"candidates":[{"content":{"parts":[{"text":" is"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2},"responseId":"r"}"#;

#[test]
fn the_finish_is_told_at_the_end_of_the_bytes() {
    let (events, failure, done) = run("gemini", &[stream(&[TEXT, STOP]).as_bytes()]);
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: "r".to_owned(), model: "m".to_owned(), created: 0 },
            StreamEvent::Text("Oslo".to_owned()),
            StreamEvent::Usage(Usage::reported(1, 1)),
            StreamEvent::Text(" is".to_owned()),
            StreamEvent::Usage(Usage::reported(1, 2)),
            StreamEvent::Finish { reason: FinishReason::Stop, raw: Some("STOP".to_owned()) },
        ]
    );
    assert_eq!((failure, done), (None, false));
}

#[test]
fn a_reason_that_every_chunk_repeats_is_told_once_and_the_last_counts() {
    let limit = r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#;
    let (reply, failure) = folded("gemini", &stream(&[STOP, TEXT, STOP, limit]));
    assert_eq!((reply.content.as_str(), reply.finish_reason, failure), (" isOslo is", FinishReason::Length, None));
}

#[test]
fn without_a_reason_it_was_cut_off() {
    for stream in [stream(&[TEXT]), stream(&[]), format!("{}data: {}", stream(&[TEXT]), &STOP[..30])] {
        assert_eq!(folded("gemini", &stream).1, Some(FailureClass::StreamTruncated), "{stream}");
    }
    assert_eq!(folded("gemini", &format!("data: {STOP}")).1, None);
}

#[test]
fn a_blocked_prompt_is_the_content_filters_answer() {
    let (reply, failure) =
        folded("gemini", &stream(&[r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"no"}}"#]));
    assert_eq!((reply.finish_reason, failure), (FinishReason::ContentFilter, None));
    assert_eq!((reply.raw_finish_reason.as_deref(), reply.refusal.as_deref()), (Some("SAFETY"), Some("no")));
}

#[test]
fn what_ends_badly_fails_at_once() {
    for (chunk, class) in [
        (r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#, FailureClass::RateLimit),
        (r#"[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]"#, FailureClass::Overloaded),
        (r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, FailureClass::ModelOutputInvalid),
        (r#"{"detail":"boom"}"#, FailureClass::ServerError),
        ("{not json", FailureClass::BadReply),
    ] {
        let (reply, failure) = folded("gemini", &stream(&[TEXT, chunk, STOP]));
        assert_eq!((reply.content.as_str(), failure), ("Oslo", Some(class)), "{chunk}");
    }
    let bare = format!("{}{}\n", stream(&[TEXT]), r#"{"error":{"code":503,"message":"m"}}"#);
    assert_eq!(folded("gemini", &bare).1, Some(FailureClass::Overloaded));
    assert_eq!(
        folded("gemini", &stream(&[r#"{"candidates":[{"finishReason":"STOP"}]}"#])).1,
        Some(FailureClass::BadReply)
    );
}

#[test]
fn calls_get_ids_that_differ() {
    let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}},{"functionCall":{"name":"f"}}]}}],"responseId":"r"}"#;
    let (reply, failure) = folded("gemini", &stream(&[call, call, r#"{"candidates":[{"finishReason":"STOP"}]}"#]));
    let mut ids: Vec<&str> = reply.tool_calls.iter().map(|call| call.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), reply.finish_reason, failure), (4, FinishReason::ToolCalls, None));
}

#[test]
fn a_document_instead_of_a_stream_is_understood() {
    let (reply, failure) = folded("gemini", STOP);
    assert_eq!((reply.content.as_str(), reply.finish_reason, failure), (" is", FinishReason::Stop, None));
}
