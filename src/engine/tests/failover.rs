//! The preferred provider fails; another answers; the trail tells.

use std::time::Duration;

use super::support::{Answer, Story, answer, fails, fails_with, hangs, host, once, provider, question, trail};
use crate::error::{ErrorKind, FailureClass, TransportError, TransportErrorKind};
use crate::event::Event;
use crate::time;
use crate::transport::fake;
use crate::types::CallOptions;

#[tokio::test(start_paused = true)]
async fn the_next_provider_answers_at_once_when_the_first_fails() {
    let story = Story::new(&["a", "b"], |request| if host(request) == "a" { fails(500) } else { answer("from b") });
    let began = time::now().mono;
    let response = story.ask().await.expect("b answers");
    assert_eq!(response.reply.content, "from b");
    assert_eq!(response.provider.as_str(), "b");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:success"]);
    assert_eq!(response.attempts[0].error_class, Some("server_error"));
    assert_eq!(response.attempts[0].status, Some(500));
    assert_eq!(began.elapsed(), Duration::ZERO, "there is no sleep while another provider is left");
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_that_is_the_providers_fails_over() {
    let reset = || fake::broken(TransportError::new(TransportErrorKind::Reset, "reset"));
    let connect = || fake::broken(TransportError::new(TransportErrorKind::Connect, "refused"));
    type Fails = fn() -> Answer;
    type Broken = Box<dyn Fn() -> Answer + Send>;
    let cases: [(&str, Broken); 10] = [
        ("auth", Box::new((|| fails(401)) as Fails)),
        ("permission", Box::new((|| fails(403)) as Fails)),
        ("rate_limit", Box::new((|| fails(429)) as Fails)),
        ("overloaded", Box::new((|| fails(503)) as Fails)),
        ("network", Box::new(reset)),
        ("network", Box::new(connect)),
        ("bad_reply", Box::new((|| fake::reply(200, &[], "<html>502</html>")) as Fails)),
        ("bad_reply", Box::new((|| fake::reply(200, &[], r#"{"choices":[]}"#)) as Fails)),
        ("bad_reply", Box::new((|| fake::reply(200, &[], r#"{"choices":[{"mess"#)) as Fails)),
        ("server_error", Box::new((|| fake::reply(502, &[], "<html>bad gateway</html>")) as Fails)),
    ];
    for (class, broken) in cases {
        let story =
            Story::new(&["a", "b"], move |request| if host(request) == "a" { broken() } else { answer("from b") });
        let response = story.ask().await.unwrap_or_else(|error| panic!("{class}: {error}"));
        assert_eq!(response.attempts[0].error_class, Some(class));
        assert_eq!(response.provider.as_str(), "b", "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_fault_is_thrown_at_once_and_blames_nobody() {
    let story = Story::new(&["a", "b"], |_| fails(400));
    for _ in 0..10 {
        let error = story.ask().await.expect_err("a bad request");
        let ErrorKind::Provider { failure } = error.kind() else { panic!("{error:?}") };
        assert_eq!(failure.class, FailureClass::InvalidRequest);
        assert!(!error.is_retryable());
    }
    assert_eq!(story.asked("a"), 10);
    assert_eq!(story.asked("b"), 0);
    let health = story.pool.engine().health();
    assert!(!health.providers["a"].circuit_breaker_open);
    assert_eq!(health.providers["a"].errors, 0);
}

#[tokio::test(start_paused = true)]
async fn without_failover_only_the_first_provider_is_asked() {
    let story = Story::new(&["a", "b"], |request| if host(request) == "a" { fails(500) } else { answer("from b") });
    let options = CallOptions { failover: Some(false), max_retries: Some(1), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("a fails twice");
    assert_eq!(trail(&error.context().attempts), ["a:failure", "a:failure"]);
    assert_eq!(story.asked("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_name_its_providers() {
    let story = Story::new(&["a", "b"], |request| answer(host(request)));
    let only_b = CallOptions { providers: vec!["b".into()], ..CallOptions::default() };
    assert_eq!(story.ask_with(&only_b).await.expect("b").provider.as_str(), "b");
    let nobody = CallOptions { providers: vec!["c".into()], ..CallOptions::default() };
    let error = story.ask_with(&nobody).await.expect_err("there is no c");
    assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "providers"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn every_key_of_a_provider_is_tried_before_the_next_provider() {
    let mut both = provider("a", 1);
    both["api_keys"] = serde_json::json!(["first-key", "second-key"]);
    both.as_object_mut().expect("an object").remove("api_key");
    let config = serde_json::json!({ "providers": [both, provider("b", 2)] });
    let story = Story::with_config(config, |request| {
        let key = request.headers["authorization"].to_str().expect("text");
        if key.ends_with("first-key") { fails(401) } else { answer(host(request)) }
    });
    let response = story.ask().await.expect("the second key works");
    assert_eq!(response.provider.as_str(), "a");
    assert_eq!(response.attempts.iter().map(|line| line.key_index).collect::<Vec<_>>(), [Some(0), Some(1)]);
    // The refused key rests: the next call does not ask with it.
    let response = story.ask().await.expect("the second key works");
    assert_eq!(response.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_story_in_order() {
    let story = Story::new(&["a", "b"], |request| {
        if host(request) == "a" { fails_with(429, &[("retry-after", "2")]) } else { answer("from b") }
    });
    let completed =
        story.pool.chat_until(&question(), &CallOptions::default(), Vec::new(), std::future::pending()).await;
    let told: Vec<_> = completed
        .events
        .iter()
        .filter(|event| !matches!(event, Event::Debug { .. }))
        .map(|event| event.kind().name())
        .collect();
    assert_eq!(told, ["requestError", "rateLimited", "requestSuccess"]);
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_call_names_the_provider_and_the_model_it_ended_at() {
    let at_b = |second: fn() -> Answer| {
        Story::new(&["a", "b"], move |request| if host(request) == "a" { fails(500) } else { second() })
    };
    let limited = Story::new(&["a", "b"], |_| fails_with(429, &[("retry-after", "3600")]));
    let in_time = CallOptions { deadline: Some(Duration::from_secs(1)), ..once() };
    for (story, options, kind) in [
        (at_b(|| fails(502)), once(), "Provider"),
        (at_b(hangs), CallOptions { timeout: Some(Duration::from_secs(1)), ..once() }, "Timeout"),
        (at_b(hangs), in_time, "Timeout"),
        (limited, once(), "RateLimited"),
    ] {
        let error = story.ask_with(&options).await.expect_err("nobody answers");
        assert!(format!("{:?}", error.kind()).starts_with(kind), "{error:?}");
        let context = error.context();
        assert_eq!(context.provider.as_ref().map(|name| name.as_str()), Some("b"), "{kind}");
        assert_eq!(context.model.as_deref(), Some("m"), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_failed_twice_is_named_once_among_those_that_failed() {
    let story = Story::new(&["a", "b"], |_| fails(500));
    let options = CallOptions { max_retries: Some(2), ..CallOptions::default() };
    let call = story.pool.chat_until(&question(), &options, Vec::new(), std::future::pending()).await;
    let excluded: Vec<String> = call
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RequestError { excluded_providers, .. } => {
                Some(excluded_providers.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(","))
            }
            _ => None,
        })
        .collect();
    assert_eq!(excluded, ["a", "a,b", "a,b", "a,b"]);
}
