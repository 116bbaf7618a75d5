use super::super::super::testing::{folded, run};
use super::*;

fn stream(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

const START: &str = r#"{"type":"message-start","id":"i"}"#;
const TEXT: &str = r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Oslo"}}}}"#;
const END: &str = r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":1.0,"output_tokens":2.0}}}}"#;

fn call_start(index: u32, arguments: &str) -> String {
    format!(
        r#"{{"type":"tool-call-start","index":{index},"delta":{{"message":{{"tool_calls":{{"id":"t{index}","type":"function","function":{{"name":"f","arguments":{arguments:?}}}}}}}}}}}"#
    )
}

fn call_delta(index: u32, arguments: &str) -> String {
    format!(
        r#"{{"type":"tool-call-delta","index":{index},"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":{arguments:?}}}}}}}}}}}"#
    )
}

#[test]
fn events_come_in_the_order_they_were_sent() {
    let (events, failure, done) = run("cohere", &[stream(&[START, TEXT, END, "[DONE]"]).as_bytes()]);
    assert_eq!(
        events,
        [
            StreamEvent::Start { id: "i".to_owned(), model: String::new(), created: 0 },
            StreamEvent::Text("Oslo".to_owned()),
            StreamEvent::Usage(crate::types::Usage::reported(1, 2)),
            StreamEvent::Finish { reason: FinishReason::Stop, raw: Some("COMPLETE".to_owned()) },
        ]
    );
    assert_eq!((failure, done), (None, true));
}

#[test]
fn arguments_are_joined_by_index_and_null_means_none() {
    for (pieces, arguments) in [
        (&["", "{\"x\"", ":1}"][..], "{\"x\":1}"),
        (&["null"], "{}"),
        (&["", "nu", "ll"], "{}"),
        (&["", " "], "{}"),
        (&[""], "{}"),
    ] {
        let mut events = vec![START.to_owned(), call_start(0, pieces[0]), call_start(1, "{}")];
        events.extend(pieces[1..].iter().map(|piece| call_delta(0, piece)));
        events.push(END.to_owned());
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let (reply, failure) = folded("cohere", &stream(&events));
        assert_eq!((reply.tool_calls[0].function.arguments.as_str(), failure), (arguments, None), "{pieces:?}");
        assert_eq!((reply.tool_calls[1].id.as_str(), reply.tool_calls[1].function.arguments.as_str()), ("t1", "{}"));
        assert_eq!(reply.finish_reason, FinishReason::ToolCalls);
    }
}

#[test]
fn plan_and_thinking_are_reasoning() {
    let (reply, _) = folded(
        "cohere",
        &stream(&[
            r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":"h"}}}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"m "}}}}"#,
            r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"plan"}}}"#,
            r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0}}}}"#,
            TEXT,
            END,
        ]),
    );
    assert_eq!((reply.reasoning.as_deref(), reply.content.as_str()), (Some("hm plan"), "Oslo"));
}

#[test]
fn without_its_end_event_a_stream_was_cut_off() {
    for stream in [
        stream(&[START, TEXT]),
        stream(&[START, TEXT, "[DONE]"]),
        stream(&[]),
        format!("{}data: {}", stream(&[START, TEXT]), &END[..40]),
    ] {
        assert_eq!(folded("cohere", &stream).1, Some(FailureClass::StreamTruncated), "{stream}");
    }
}

#[test]
fn what_ends_badly_is_classified_and_keeps_what_came_before() {
    for (event, class) in [
        (r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"m"}}"#, FailureClass::ServerError),
        (r#"{"type":"message-end","delta":{"finish_reason":"ERROR"}}"#, FailureClass::ServerError),
        (r#"{"type":"message-end","delta":{"finish_reason":"TIMEOUT"}}"#, FailureClass::Timeout),
        (
            r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"too many tokens: by 3"}}"#,
            FailureClass::ContextLength,
        ),
        (r#"{"message":"too many requests","code":429}"#, FailureClass::RateLimit),
        (r#"{"error":{"message":"m"}}"#, FailureClass::ServerError),
        (r#"{"type":"content-delta","delta":{"message":7}}"#, FailureClass::BadReply),
        ("{not json", FailureClass::BadReply),
    ] {
        let (reply, failure) = folded("cohere", &stream(&[START, TEXT, event, END]));
        assert_eq!((reply.content.as_str(), failure), ("Oslo", Some(class)), "{event}");
    }
    assert_eq!(folded("cohere", &stream(&[START, END])).1, Some(FailureClass::BadReply));
}

#[test]
fn events_of_unknown_kinds_are_passed_over() {
    let (reply, failure) =
        folded("cohere", &stream(&[START, r#"{"type":"debug","prompt":"x"}"#, "{}", TEXT, r#"{"type":"new"}"#, END]));
    assert_eq!((reply.content.as_str(), failure), ("Oslo", None));
}

#[test]
fn endless_calls_are_refused() {
    let events: String = (0..2000).map(|index| stream(&[&call_start(index, "")])).collect();
    assert_eq!(folded("cohere", &events).1, Some(FailureClass::BadReply));
}
