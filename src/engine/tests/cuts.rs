//! Streams that are cut or that stall: before the first content somebody else answers, after it the caller is told.

use std::time::Duration;

use super::support::*;
use crate::error::ErrorKind;
use crate::transport::fake;

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_content_fails_over() {
    type Fails = fn() -> Answer;
    let cases: [(&str, Fails); 5] = [
        ("overloaded", || fails(503)),
        ("server_error", || {
            says(vec!["data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n".into()])
        }),
        ("stream_truncated", || says(vec![])),
        ("network", || breaks(vec![": comment\n\n".into()])),
        ("timeout", || stalls(vec![": still here\n\n".into()])),
    ];
    for (class, broken) in cases {
        let story = Story::new(&["a", "b"], move |request| {
            if host(request) == "a" { broken() } else { says(vec![chunk("from b"), FINISH.into(), DONE.into()]) }
        });
        let (text, end) = read(open(&story).await.unwrap_or_else(|error| panic!("{class}: {error}"))).await;
        assert_eq!(text, "from b", "{class}");
        let response = end.expect("complete").into_response().expect("an answer");
        assert_eq!(response.attempts[0].error_class, Some(class));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_content_is_an_interruption_that_holds_what_had_come() {
    for (class, cut) in
        [("stream_truncated", says as fn(Vec<String>) -> Answer), ("network", breaks), ("timeout", stalls)]
    {
        let story = Story::new(&["a", "b"], move |_| cut(vec![chunk("Oslo"), chunk(" is")]));
        let (text, end) = read(open(&story).await.expect("opens")).await;
        assert_eq!(text, "Oslo is");
        let error = end.err().expect("cut");
        let ErrorKind::StreamInterrupted { partial, failure } = error.kind() else { panic!("{error:?}") };
        assert_eq!(partial.content, "Oslo is");
        assert_eq!(failure.class.as_str(), class);
        assert_eq!(story.asked("b"), 0, "a stream never switches");
        assert_eq!(story.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finish_reason_is_the_end_even_when_nothing_follows() {
    for cut in [says as fn(Vec<String>) -> Answer, breaks, stalls] {
        let story = Story::new(&["a"], move |_| cut(vec![chunk("done"), FINISH.into()]));
        let (text, end) = read(open(&story).await.expect("opens")).await;
        assert_eq!(text, "done");
        end.expect("complete");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_counts_against_the_provider_and_its_next_calls_go_elsewhere() {
    let mut config = provider("a", 1);
    config["circuit_breaker_threshold"] = serde_json::json!(2);
    let config = serde_json::json!({ "providers": [config, provider("b", 2)] });
    let story = Story::with_config(config, |request| {
        if host(request) == "a" { says(vec![chunk("Os")]) } else { says(vec![chunk("Oslo"), FINISH.into()]) }
    });
    for _ in 0..2 {
        let (text, end) = read(open(&story).await.expect("opens")).await;
        assert_eq!((text.as_str(), end.is_err()), ("Os", true));
    }
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!((text.as_str(), end.is_ok()), ("Oslo", true));
    assert_eq!(story.asked("a"), 2, "its breaker is open");
}

#[tokio::test(start_paused = true)]
async fn what_had_come_before_a_cut_is_handed_over_before_the_error() {
    // All of it in one piece, with the cut behind it: the error must not overtake the text.
    let story = Story::new(&["a"], |_| breaks(vec![chunk("one ") + &chunk("two ") + &chunk("three")]));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!((text.as_str(), end.is_err()), ("one two three", true));
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_body_stalls_is_still_what_its_status_says() {
    let story = Story::new(&["a", "b"], |request| {
        if host(request) == "b" {
            return answer("from b");
        }
        let body = futures_util::stream::iter([Ok(bytes::Bytes::from_static(b"{\"error\":"))]);
        let stalled = futures_util::StreamExt::chain(body, futures_util::stream::pending());
        fake::stream(429, &[("retry-after", "30")], Box::pin(stalled))
    });
    let response = story.ask().await.expect("b answers");
    assert_eq!(response.attempts[0].error_class, Some("rate_limit"));
    assert!(response.attempts[0].latency < Duration::from_secs(3));
    // Its hint counts: the next call does not ask it.
    assert_eq!(trail(&story.ask().await.expect("b").attempts), ["a:key_cooling", "b:success"]);
}
