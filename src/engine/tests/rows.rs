//! Rows that a configuration adds to the failure table: what they say is what follows, wherever the error stood.

use http::StatusCode;
use serde_json::{Value, json};

use super::support::*;
use crate::error::FailureClass;
use crate::transport::fake;
use crate::types::CallOptions;

fn story(row: Value, error: fn() -> Answer) -> Story {
    let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "failures": [row] });
    Story::with_config(config, move |request| if host(request) == "a" { error() } else { answer("from b") })
}

fn refuses() -> Answer {
    fake::reply(400, &[], json!({ "error": { "message": "Wallet is empty", "code": "E17" } }).to_string())
}

#[tokio::test(start_paused = true)]
async fn a_row_decides_what_follows_from_a_reply() {
    let plain = story(json!({ "code": "other", "class": "overloaded" }), refuses);
    let error = plain.ask().await.expect_err("the caller's own fault");
    assert_eq!(error.failure().map(|failure| failure.class), Some(FailureClass::InvalidRequest));
    assert_eq!(plain.asked("b"), 0);

    let told = story(json!({ "provider": "a", "code": "e17", "class": "quota_exhausted" }), refuses);
    let response = told.ask().await.expect("from b");
    assert_eq!(response.attempts[0].error_class, Some("quota_exhausted"));
    // The key rests: the next call does not ask it again.
    told.ask().await.expect("from b");
    assert_eq!(told.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_of_another_provider_is_not_asked() {
    let other = story(json!({ "provider": "b", "code": "e17", "class": "quota_exhausted" }), refuses);
    other.ask().await.expect_err("the caller's own fault");
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_200_or_a_stream_is_asked_about_as_well() {
    let inside = || fake::reply(200, &[], json!({ "error": { "message": "Wallet is EMPTY" } }).to_string());
    let row = json!({ "message": "wallet is empty", "class": "quota_exhausted" });
    let told = story(row.clone(), inside);
    let response = told.ask().await.expect("from b");
    assert_eq!(response.attempts[0].error_class, Some("quota_exhausted"));

    let stream = || {
        let events = "data: {\"error\":{\"message\":\"Wallet is empty\"}}\n\n";
        fake::reply(StatusCode::OK.as_u16(), &[("content-type", "text/event-stream")], events)
    };
    let told = story(row, stream);
    let options = CallOptions::default();
    let opened = told.pool.stream_until(question().into(), &options, Vec::new(), std::future::pending());
    let mut stream = opened.await.result.expect("from b");
    assert_eq!(stream.source(), ("b", "m"));
    while stream.next().await.is_some() {}
    let attempts = stream.into_response().expect("whole").attempts;
    assert_eq!(attempts[0].error_class, Some("quota_exhausted"));
}
