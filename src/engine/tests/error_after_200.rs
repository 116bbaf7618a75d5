//! An error where an answer should be: behind a 200, in the first event of a stream, after its first words.

use serde_json::json;

use super::support::*;
use crate::error::{ErrorKind, FailureClass};
use crate::transport::fake;

const OVERLOADED: &str = r#"{"error":{"message":"Overloaded","type":"overloaded_error"}}"#;

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_200_fails_over_as_what_it_is() {
    for (body, class) in [
        (OVERLOADED, "overloaded"),
        (r#"{"error":{"message":"insufficient_quota","code":"insufficient_quota"}}"#, "quota_exhausted"),
        (r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#, "bad_reply"),
        ("<html>Bad gateway</html>", "bad_reply"),
        ("", "bad_reply"),
    ] {
        let story =
            Story::new(
                &["a", "b"],
                move |request| {
                    if host(request) == "a" { fake::reply(200, &[], body) } else { answer("from b") }
                },
            );
        let response = story.ask_with(&once()).await.unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(response.attempts[0].error_class, Some(class), "{body}");
        assert_eq!(response.provider.as_str(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn it_counts_like_the_same_error_with_its_status() {
    for (body, opens) in [(OVERLOADED, true), (r#"{"error":{"message":"slow down","code":429}}"#, false)] {
        let mut config = provider("a", 1);
        config["circuit_breaker_threshold"] = json!(1);
        let story = Story::with_config(json!({ "providers": [config] }), move |_| fake::reply(200, &[], body));
        story.ask_with(&once()).await.expect_err("an error inside a 200");
        assert_eq!(story.pool.engine().health().providers["a"].circuit_breaker_open, opens, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_first_content_of_a_stream_fails_over() {
    let first_words = [vec![], vec![": hello\n\n".to_owned()], vec![event(r#"{"id":"s","choices":[]}"#)]];
    for before in first_words {
        let story = Story::new(&["a", "b"], move |request| {
            let mut pieces = before.clone();
            pieces.push(event(OVERLOADED));
            if host(request) == "a" { says(pieces) } else { says(vec![chunk("from b"), FINISH.into()]) }
        });
        let (text, end) = read(open(&story).await.expect("b")).await;
        assert_eq!(text, "from b");
        let response = end.expect("complete").into_response().expect("an answer");
        assert_eq!(response.attempts[0].error_class, Some("overloaded"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_first_content_interrupts_as_what_it_is() {
    let story =
        Story::new(&["a", "b"], |_| says(vec![chunk("Oslo"), event(OVERLOADED), chunk(" is cold"), FINISH.into()]));
    let (text, end) = read(open(&story).await.expect("opens")).await;
    let error = end.err().expect("interrupted");
    let ErrorKind::StreamInterrupted { partial, failure } = error.kind() else { panic!("{error:?}") };
    assert_eq!((text.as_str(), partial.content.as_str()), ("Oslo", "Oslo"));
    assert_eq!(failure.class, FailureClass::Overloaded);
    assert_eq!((story.asked("a"), story.asked("b"), story.in_flight()), (1, 0, 0));
}
