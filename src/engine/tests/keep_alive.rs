//! Streams that only say that they are alive: neither comments nor pings nor blank lines feed a content timer.

use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::error::{ErrorKind, Phase};
use crate::time;

/// What servers send to keep a line open: a comment, an event without data, white space, Anthropic's ping.
const SIGNS_OF_LIFE: [&str; 4] = [": ping\n\n", "event: ping\n\n", "\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n"];

fn with(key: &str, kind: &str, script: impl FnMut() -> Answer + Send + 'static) -> Story {
    let mut config = provider("a", 1);
    config[key] = json!(2500);
    config["type"] = json!(kind);
    let mut script = script;
    Story::with_config(json!({ "providers": [config] }), move |_| script())
}

#[tokio::test(start_paused = true)]
async fn the_first_content_timer_is_not_fed_by_signs_of_life() {
    for (kind, sign) in
        SIGNS_OF_LIFE.iter().map(|sign| ("openai-compatible", *sign)).chain([("anthropic", SIGNS_OF_LIFE[3])])
    {
        let story = with("first_content_timeout_ms", kind, move || says_and_pings(vec![], sign));
        let began = time::now().mono;
        let error = open(&story).await.err().expect("nothing comes");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::FirstContent, .. }), "{sign:?}: {error:?}");
        assert_eq!(began.elapsed(), Duration::from_millis(2500), "{kind} {sign:?}");
        assert_eq!(story.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_idle_timer_is_not_fed_by_signs_of_life() {
    for sign in SIGNS_OF_LIFE {
        let pings = move || says_and_pings(vec![chunk("Oslo")], sign);
        let story = with("content_idle_timeout_ms", "openai-compatible", pings);
        let stream = open(&story).await.expect("opens");
        let began = time::now().mono;
        let (text, end) = read(stream).await;
        let error = end.err().expect("stalled");
        let ErrorKind::StreamInterrupted { failure, .. } = error.kind() else { panic!("{error:?}") };
        assert_eq!((text.as_str(), failure.phase), ("Oslo", Some(Phase::ContentIdle)), "{sign:?}");
        assert_eq!(began.elapsed(), Duration::from_millis(2500), "{sign:?}");
        assert_eq!(story.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_only_pings_fails_over_to_one_that_speaks() {
    let story = Story::new(&["a", "b"], |request| {
        if host(request) == "a" {
            says_and_pings(vec![], ": ping\n\n")
        } else {
            says(vec![chunk("Oslo"), FINISH.into()])
        }
    });
    let (text, end) = read(open(&story).await.expect("opens")).await;
    assert_eq!(text, "Oslo");
    let response = end.expect("complete").into_response().expect("an answer");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:success"]);
}
