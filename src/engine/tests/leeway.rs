//! What calls that are the same share although one allows less than the other, and which of their answers are kept.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{
    Answer, DONE, FINISH, Story, after, answer, chunk, fails, host, open_with, provider, question, says, slow,
};
use crate::error::{Error, ErrorKind, Phase};
use crate::transport::HttpRequest;
use crate::types::{CacheWish, CallOptions, ChatRequest, ChatResponse, RequestId, Strategy, StreamEvent};

const SECOND: Duration = Duration::from_secs(1);

fn kept() -> CallOptions {
    CallOptions { cache: Some(CacheWish::For(60 * SECOND)), max_retries: Some(0), ..CallOptions::default() }
}

fn by(strategy: Strategy) -> CallOptions {
    CallOptions { strategy: Some(strategy), ..kept() }
}

/// Providers `a`, `b` and `c`, and a judge.
fn story(script: impl FnMut(&HttpRequest) -> Answer + Send + 'static) -> Story {
    let mut providers: Vec<Value> =
        ["a", "b", "c", "judge"].iter().zip(1..).map(|(name, at)| provider(name, at)).collect();
    providers[3]["weight"] = json!(0);
    let breaker = json!({ "enable_circuit_breaker": false });
    let ensemble = json!({ "judge": { "provider": "judge" } });
    Story::with_config(json!({ "providers": providers, "ensemble": ensemble, "routing": breaker }), script)
}

fn used(response: &ChatResponse) -> Strategy {
    response.decision.as_ref().expect("a decision").strategy_used
}

/// Asks twice, and says whether the second answer was the first one's.
async fn is_kept(story: &Story, options: &CallOptions) -> bool {
    let first = story.ask_with(options).await.expect("an answer");
    assert!(!first.cached);
    story.ask_with(options).await.expect("an answer").cached
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_time_or_a_failure_has_cut_is_not_kept() {
    // The first says its own, and the others the same, if they come to it.
    let late = || story(|request| if host(request) == "a" { answer("one") } else { slow(SECOND, "two") });
    let hurried = CallOptions { deadline: Some(SECOND / 2), ..by(Strategy::Voting) };
    let story_of_three = late();
    let first = story_of_three.ask_with(&hurried).await.expect("an answer");
    assert_eq!((first.reply.content.as_str(), used(&first)), ("one", Strategy::Fastest));
    let patient = story_of_three.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!((patient.reply.content.as_str(), patient.cached), ("two", false));
    assert!(story_of_three.ask_with(&hurried).await.expect("the same").cached, "decided in full");

    // Two have agreed, and the third was not waited for.
    let two_in_time = story(|request| if host(request) == "c" { slow(SECOND, "x") } else { answer("x") });
    assert!(!is_kept(&two_in_time, &hurried).await);

    // A judge that failed or said nothing of use.
    for words in [None, Some("Both are fine.")] {
        let judged = story(move |request| match host(request) {
            "judge" => words.map_or_else(|| fails(500), answer),
            "a" => answer("one"),
            _ => answer("two"),
        });
        assert!(!is_kept(&judged, &by(Strategy::Judge)).await, "{words:?}");
    }

    // All but one have failed.
    let one_of_three = story(|request| if host(request) == "a" { answer("x") } else { fails(500) });
    assert!(!is_kept(&one_of_three, &by(Strategy::Voting)).await);
}

#[tokio::test(start_paused = true)]
async fn a_decision_by_what_was_said_is_kept() {
    // No two agree: that is what they said.
    let apart = story(|request| match host(request) {
        "a" => answer("one"),
        "b" => answer("two"),
        _ => answer("three"),
    });
    let first = apart.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!(used(&first), Strategy::Weighted);
    assert!(apart.ask_with(&by(Strategy::Voting)).await.expect("the same").cached);
    // Two agree, and what the third would have said changes nothing of how it was decided.
    let agreed = story(|request| if host(request) == "c" { fails(500) } else { answer("x") });
    assert!(is_kept(&agreed, &by(Strategy::Voting)).await);
    // Another provider has answered instead.
    let instead = story(|request| if host(request) == "a" { fails(500) } else { answer("x") });
    assert!(is_kept(&instead, &by(Strategy::Fastest)).await && is_kept(&instead, &kept()).await);
}

/// Both at once: the first begins the run.
async fn both(story: &Story, first: &CallOptions, second: &CallOptions) -> [Result<ChatResponse, Error>; 2] {
    let (first, second) = tokio::join!(story.ask_with(first), story.ask_with(second));
    let stats = story.pool.engine().stats();
    assert_eq!(stats.total_requests, 2, "every call is one call");
    [first, second]
}

#[tokio::test(start_paused = true)]
async fn a_call_that_allows_more_is_not_failed_by_the_limits_of_another() {
    let within = CallOptions { timeout: Some(SECOND / 10), ..kept() };
    let story = Story::new(&["a"], |_| slow(SECOND, "x"));
    let [first, second] = both(&story, &within, &kept()).await;
    assert!(matches!(first.expect_err("late").kind(), ErrorKind::Timeout { phase: Phase::Attempt, .. }));
    assert!(!second.expect("an answer").cached);
    assert_eq!(story.asked("a"), 2);

    // What fails whatever is allowed fails for all, and so do calls that allow no more.
    let fails_slowly = || {
        Story::new(&["a"], |_| {
            Box::pin(async {
                after(SECOND / 20).await;
                fails(400).await
            })
        })
    };
    let story = fails_slowly();
    let [first, second] = both(&story, &within, &kept()).await;
    assert!(first.is_err() && second.is_err());
    assert_eq!(story.asked("a"), 1, "the request itself is wrong");
    let story = Story::new(&["a"], |_| slow(SECOND, "x"));
    let results = join_all((0..10).map(|_| story.ask_with(&within))).await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(story.asked("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_good_for_a_call_that_allows_more() {
    let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "tasks": { "t": {} } });
    let story = Story::with_config(config, |request| if host(request) == "a" { fails(500) } else { answer("x") });
    let one_only = CallOptions { failover: Some(false), max_retries: Some(0), ..CallOptions::default() };
    let work = crate::types::InferRequest {
        task: "t".to_owned(),
        prompt: "x".to_owned(),
        request_id: Some(RequestId::new("one")),
        ..crate::types::InferRequest::default()
    };
    let never = || std::future::pending();
    let any = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    let (first, second) = tokio::join!(
        story.pool.infer_until(&work, &one_only, Vec::new(), never()),
        story.pool.infer_until(&work, &any, Vec::new(), never()),
    );
    assert!(first.result.is_err());
    assert_eq!(second.result.expect("an answer").content, "x");
}

#[tokio::test(start_paused = true)]
async fn a_cut_decision_is_not_shared_with_a_call_that_has_more_time() {
    let story = story(|request| if host(request) == "a" { answer("one") } else { slow(SECOND, "two") });
    let hurried = CallOptions { deadline: Some(SECOND / 2), ..by(Strategy::Voting) };
    let patient = by(Strategy::Voting);
    let (first, second) = tokio::join!(story.ask_with(&hurried), story.ask_with(&patient));
    let (first, second) = (first.expect("an answer"), second.expect("an answer"));
    assert_eq!((first.reply.content.as_str(), second.reply.content.as_str()), ("one", "two"));
}

#[tokio::test(start_paused = true)]
async fn a_shared_answer_is_kept_for_the_longest_time_that_is_asked_for() {
    let story = Story::new(&["a"], |_| slow(SECOND, "x"));
    let wish = |ttl| CallOptions { cache: Some(CacheWish::For(ttl)), ..kept() };
    let wishes = [wish(Duration::ZERO), wish(60 * SECOND), wish(SECOND)];
    join_all(wishes.iter().map(|options| story.ask_with(options))).await;
    after(59 * SECOND).await;
    assert!(story.ask_with(&wishes[0]).await.expect("the same").cached);
    after(SECOND).await;
    assert!(!story.ask_with(&wishes[0]).await.expect("another").cached);
}

#[tokio::test(start_paused = true)]
async fn a_replay_says_what_the_stream_said_in_its_order() {
    let usage = r#"data: {"id":"s1","model":"m-2026","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;
    let hello = chunk("Hello").replace(r#""m""#, r#""m-2026""#);
    let story = Story::new(&["a"], move |_| {
        says(vec![hello.clone(), FINISH.to_owned(), format!("{usage}\n\n"), DONE.to_owned()])
    });
    let mut told = Vec::new();
    for _ in 0..2 {
        let mut stream = open_with(&story, &kept()).await.expect("a stream");
        let (provider, model) = stream.source();
        let source = (provider.to_string(), model.to_owned());
        let mut events: Vec<StreamEvent> = Vec::new();
        while let Some(event) = stream.next().await {
            let mut event = event.expect("good");
            if let StreamEvent::Start { created, .. } = &mut event {
                *created = 0; // the provider has not said it, and the whole answer does
            }
            events.push(event);
        }
        assert_eq!(stream.into_response().expect("whole").reply.model, "m-2026");
        told.push((source, events));
    }
    assert_eq!((&told[0], told[0].0.1.as_str(), story.asked("a")), (&told[1], "m", 1));
    assert!(matches!(told[0].1.last(), Some(StreamEvent::Usage(_))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_paid_for() {
    let mut priced = provider("a", 1);
    priced["input_token_price"] = json!(1);
    priced["output_token_price"] = json!(1);
    let story = Story::with_config(json!({ "providers": [priced] }), |_| answer(""));
    let options = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    story.pool.chat(&ChatRequest { max_tokens: Some(10), ..question() }, &options).await.expect_err("nothing was said");
    let stats = story.pool.engine().stats();
    assert_eq!((stats.total_tokens, stats.total_cost.0), (18, 18_000_000));
}
