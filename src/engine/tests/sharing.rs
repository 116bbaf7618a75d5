//! Answers that are kept, and calls that share a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{
    DONE, FINISH, Story, after, answer, breaks, chunk, fails, hangs, open_with, provider, question, read, says, slow,
};
use crate::error::{Error, ErrorKind, Phase};
use crate::time;
use crate::transport::fake;
use crate::types::{CacheWish, CallOptions, ChatRequest, ChatResponse, NanoUsd, RequestId};

const SECOND: Duration = Duration::from_secs(1);

fn kept_for(ttl: Duration) -> CallOptions {
    CallOptions { cache: Some(CacheWish::For(ttl)), max_retries: Some(0), ..CallOptions::default() }
}

fn kept() -> CallOptions {
    kept_for(60 * SECOND)
}

fn counts(story: &Story) -> (u64, u64, u64, u64, u64) {
    let stats = story.pool.engine().stats();
    let outcomes = (stats.successful_requests, stats.failed_requests, stats.cancelled_requests);
    assert_eq!(stats.total_requests, outcomes.0 + outcomes.1 + outcomes.2, "every call is one call");
    (outcomes.0, outcomes.1, outcomes.2, stats.cache_hits, stats.cache_misses)
}

/// Asks, and leaves after so long.
async fn ask_for(story: &Story, options: &CallOptions, patience: Duration) -> Result<ChatResponse, Error> {
    story.pool.chat_until(&question(), options, Vec::new(), after(patience)).await.result
}

/// The providers are priced, so that a cost is known.
fn priced(config: Value) -> Value {
    let mut provider = provider("a", 1);
    provider["input_token_price"] = json!(1);
    provider["output_token_price"] = json!(1);
    let mut whole = json!({ "providers": [provider] });
    whole.as_object_mut().expect("an object").extend(config.as_object().expect("an object").clone());
    whole
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_given_again_at_no_cost_until_its_time_is_over() {
    let mut number = 0;
    let story = Story::with_config(priced(json!({})), move |_| {
        number += 1;
        answer(&format!("answer {number}"))
    });
    let first = story.ask_with(&kept()).await.expect("an answer");
    assert!(!first.cached && first.cost > Some(NanoUsd(0)));
    after(59 * SECOND).await;
    let again = story.ask_with(&kept()).await.expect("the same");
    assert_eq!((again.cached, again.cost, again.attempts.len()), (true, Some(NanoUsd(0)), 0));
    assert_eq!((again.reply.content.as_str(), again.usage, again.provider.as_str()), ("answer 1", first.usage, "a"));
    assert_ne!(again.request_id, first.request_id);
    after(SECOND).await;
    let anew = story.ask_with(&kept()).await.expect("another");
    assert_eq!((anew.reply.content.as_str(), anew.cached), ("answer 2", false));
    assert_eq!((story.asked("a"), counts(&story)), (2, (3, 0, 0, 1, 2)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_unless_it_is_asked_for() {
    let story = Story::new(&["a"], |_| answer("x"));
    for _ in 0..2 {
        assert!(!story.ask().await.expect("an answer").cached);
    }
    assert_eq!((story.asked("a"), counts(&story)), (2, (2, 0, 0, 0, 0)));
    // On for all calls, and off for those that say so.
    let story = Story::with_config(priced(json!({ "cache": { "enabled": true } })), |_| answer("x"));
    story.ask().await.expect("an answer");
    assert!(story.ask().await.expect("the same").cached);
    let off = CallOptions { cache: Some(CacheWish::Off), ..CallOptions::default() };
    assert!(!story.ask_with(&off).await.expect("another").cached);
    assert_eq!((story.asked("a"), counts(&story)), (2, (3, 0, 0, 1, 1)));
}

#[tokio::test(start_paused = true)]
async fn another_question_another_tenant_or_another_provider_is_another_answer() {
    let story = Story::new(&["a", "b"], |_| answer("x"));
    let others = [
        kept(),
        CallOptions { tenant: Some("t".to_owned()), ..kept() },
        CallOptions { providers: vec!["b".to_owned()], ..kept() },
    ];
    for options in &others {
        assert!(!story.ask_with(options).await.expect("an answer").cached, "{options:?}");
    }
    let longer = ChatRequest { max_tokens: Some(5), ..question() };
    assert!(!story.pool.chat(&longer, &kept()).await.expect("an answer").cached);
    for options in &others {
        assert!(story.ask_with(options).await.expect("the same").cached, "{options:?}");
    }
    assert_eq!(story.upstream.requests().len(), 4);
}

fn ends(reason: &str, refusal: Value) -> super::support::Answer {
    let message = json!({ "role": "assistant", "content": "x", "refusal": refusal });
    let body =
        json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": reason }] });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

#[tokio::test(start_paused = true)]
async fn only_whole_answers_are_kept() {
    // (finish reason, refusal, the caller's own bound) and whether it is kept
    for (reason, refusal, bound, expected) in [
        ("stop", json!(null), None, true),
        ("stop", json!("no"), None, false),
        ("content_filter", json!(null), None, false),
        ("something", json!(null), None, false),
        ("length", json!(null), None, false),
        ("length", json!(null), Some(1), false),
    ] {
        let said = refusal.clone();
        let story = Story::new(&["a"], move |_| ends(reason, said.clone()));
        let request = ChatRequest { max_tokens: bound, ..question() };
        story.pool.chat(&request, &kept()).await.expect("an answer");
        let again = story.pool.chat(&request, &kept()).await.expect("an answer");
        assert_eq!(again.cached, expected, "{reason} {refusal} {bound:?}");
    }
    let story = Story::new(&["a"], |_| fails(500));
    for _ in 0..2 {
        story.ask_with(&kept()).await.expect_err("it failed");
    }
    assert_eq!((story.asked("a"), counts(&story)), (2, (0, 2, 0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_given_with_a_warning() {
    let config = priced(json!({ "cache": { "max_entry_bytes": 2000 } }));
    let story = Story::with_config(config, |_| answer(&"x".repeat(3000)));
    for _ in 0..2 {
        let response = story.ask_with(&kept()).await.expect("an answer");
        assert!(!response.cached && response.warnings[0].contains("cache.max_entry_bytes"), "{:?}", response.warnings);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_identical_calls_make_one_request() {
    for ttl in [Duration::ZERO, 60 * SECOND] {
        let story = Story::with_config(priced(json!({})), |_| slow(SECOND, "x"));
        let options = kept_for(ttl);
        let responses = join_all((0..1000).map(|_| story.ask_with(&options))).await;
        let responses: Vec<_> = responses.into_iter().map(|response| response.expect("an answer")).collect();
        assert_eq!(story.asked("a"), 1);
        assert!(responses.iter().all(|response| response.reply.content == "x"));
        let alone: Vec<_> = responses.iter().filter(|response| !response.cached).collect();
        assert!(alone.len() == 1 && alone[0].cost > Some(NanoUsd(0)), "one of them says what it cost");
        assert_eq!(counts(&story), (1000, 0, 0, 999, 1));
        assert_eq!(story.ask_with(&options).await.expect("an answer").cached, !ttl.is_zero());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_lives_while_one_caller_is_left() {
    let story = Story::new(&["a"], |_| slow(SECOND, "x"));
    let options = kept();
    let millis = Duration::from_millis;
    let (first, second, third) = tokio::join!(
        ask_for(&story, &options, millis(100)),
        ask_for(&story, &options, millis(200)),
        ask_for(&story, &options, 10 * SECOND),
    );
    assert!(matches!(first.expect_err("left").kind(), ErrorKind::Cancelled));
    assert!(matches!(second.expect_err("left").kind(), ErrorKind::Cancelled));
    let third = third.expect("an answer");
    assert!(!third.cached, "the run is booked as its own: nobody else is left");
    assert_eq!((story.asked("a"), counts(&story)), (1, (1, 0, 2, 0, 1)));
    assert_eq!(third.latency, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_the_last_caller_leaves() {
    let story = Story::new(&["a"], |_| hangs());
    let options = kept();
    let both = async {
        let ends = tokio::join!(ask_for(&story, &options, SECOND), ask_for(&story, &options, 2 * SECOND));
        assert!(ends.0.is_err() && ends.1.is_err());
    };
    let watched = async {
        after(Duration::from_millis(1_500)).await;
        assert_eq!(story.in_flight(), 1, "one is left");
        after(Duration::from_millis(501)).await;
        assert_eq!(story.in_flight(), 0, "nobody is");
    };
    tokio::join!(both, watched);
    assert_eq!((story.asked("a"), counts(&story)), (1, (0, 0, 2, 0, 1)));
    // And the next one begins anew.
    ask_for(&story, &options, SECOND).await.expect_err("left");
    assert_eq!(story.asked("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_share_a_failure_and_say_their_own_id() {
    let story = Story::new(&["a"], |_| {
        Box::pin(async {
            after(SECOND).await;
            fails(500).await
        })
    });
    let named = |name: &str| CallOptions { request_id: Some(RequestId::new(name)), ..kept() };
    let (one, two) = (named("one"), named("two"));
    let (first, second) = tokio::join!(story.ask_with(&one), story.ask_with(&two));
    for (error, name) in [(first, "one"), (second, "two")] {
        let error = error.expect_err("it failed");
        assert_eq!(error.context().request_id, Some(RequestId::new(name)));
        assert_eq!(error.failure().and_then(|failure| failure.status), Some(500));
    }
    assert_eq!((story.asked("a"), counts(&story)), (1, (0, 2, 0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn every_caller_has_its_own_deadline() {
    let within = |wait: Duration| CallOptions { deadline: Some(wait), ..kept() };
    // The second has less time than the first.
    let story = Story::new(&["a"], |_| slow(SECOND, "x"));
    let (long, short) = (within(10 * SECOND), within(SECOND / 2));
    let began = time::now().mono;
    let late = async {
        let error = story.ask_with(&short).await.expect_err("too late");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error}");
        assert_eq!(began.elapsed(), SECOND / 2);
    };
    let (first, ()) = tokio::join!(story.ask_with(&long), late);
    assert!(first.is_ok());
    assert_eq!((story.asked("a"), counts(&story)), (1, (1, 1, 0, 0, 1)));
    // The first has less time than the second, which then goes on by itself.
    let calls = AtomicUsize::new(0);
    let story = Story::new(&["a"], move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => hangs(),
        _ => slow(SECOND, "x"),
    });
    let (first, second) = tokio::join!(story.ask_with(&short), story.ask_with(&long));
    assert!(matches!(first.expect_err("too late").kind(), ErrorKind::Timeout { .. }));
    let second = second.expect("an answer");
    assert_eq!((second.cached, second.latency), (false, SECOND * 3 / 2));
    assert_eq!((story.asked("a"), counts(&story)), (2, (1, 1, 0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_kept_and_replayed_as_a_stream() {
    let story = Story::new(&["a"], |_| says(vec![chunk("Hel"), chunk("lo"), FINISH.to_owned(), DONE.to_owned()]));
    let (text, end) = read(open_with(&story, &kept()).await.expect("a stream")).await;
    let first = end.unwrap_or_else(|error| panic!("{error}")).into_response().expect("whole");
    assert_eq!((text.as_str(), first.cached), ("Hello", false));
    let (text, end) = read(open_with(&story, &kept()).await.expect("a replay")).await;
    let again = end.unwrap_or_else(|error| panic!("{error}")).into_response().expect("whole");
    assert_eq!((text.as_str(), again.cached, again.cost), ("Hello", true, Some(NanoUsd(0))));
    assert_eq!(again.reply.finish_reason.as_str(), "stop");
    // And as a whole, too.
    let whole = story.ask_with(&kept()).await.expect("the same");
    assert_eq!((whole.reply.content.as_str(), whole.cached), ("Hello", true));
    assert_eq!((story.asked("a"), counts(&story)), (1, (3, 0, 0, 2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_cut_or_left_is_not_kept() {
    let story = Story::new(&["a"], |_| breaks(vec![chunk("Hel")]));
    for _ in 0..2 {
        let (_, end) = read(open_with(&story, &kept()).await.expect("a stream")).await;
        assert!(end.is_err());
    }
    assert_eq!(story.asked("a"), 2);
    let story = Story::new(&["a"], |_| says(vec![chunk("Hel"), chunk("lo"), FINISH.to_owned(), DONE.to_owned()]));
    let mut stream = open_with(&story, &kept()).await.expect("a stream");
    stream.next().await.expect("something").expect("good");
    drop(stream);
    open_with(&story, &kept()).await.expect("another");
    assert_eq!(story.asked("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_its_consumer_as_long_as_it_takes() {
    let story = Story::new(&["a"], |_| answer("x"));
    story.ask_with(&kept()).await.expect("an answer");
    let options = CallOptions { deadline: Some(SECOND), ..kept() };
    let mut stream = open_with(&story, &options).await.expect("a replay");
    assert!(stream.until_room(after(3600 * SECOND)).await.is_none());
    assert_eq!(read(stream).await.0, "x");
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_outlives_a_reload_that_does_not_change_how_it_is_made_or_kept() {
    let base = priced(json!({}));
    let mut moved = base.clone();
    moved["providers"][0]["temperature"] = json!(0.5);
    let mut keyed = base.clone();
    keyed["providers"][0]["api_key"] = json!("another");
    let mut smaller = base.clone();
    smaller["cache"] = json!({ "max_entries": 5 });
    let mut told = base.clone();
    told["providers"][0]["extra_body"] = json!({ "top_k": 1 });
    for (config, expected) in [(keyed, true), (moved, false), (told, false), (smaller, false)] {
        let story = Story::with_config(base.clone(), |_| answer("x"));
        story.ask_with(&kept()).await.expect("an answer");
        let environment = crate::config::Environment::from_map::<String, String>([]);
        story.pool.reload(Some(config.clone()), environment).await.expect("valid");
        assert_eq!(story.ask_with(&kept()).await.expect("an answer").cached, expected, "{config}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_those_that_share_a_run() {
    let story = Arc::new(Story::new(&["a"], |_| hangs()));
    let options = kept();
    let closing = async {
        after(SECOND).await;
        story.pool.shutdown(Duration::ZERO).await;
    };
    let (one, two, ()) = tokio::join!(story.ask_with(&options), story.ask_with(&options), closing);
    for result in [one, two] {
        assert!(matches!(result.expect_err("closed").kind(), ErrorKind::Closed));
    }
    assert_eq!(story.in_flight(), 0);
}

/// Prints what a hit costs for a prompt of 4 KB. In a release build:
/// `cargo test --release --lib -- --ignored --nocapture hit_cost`.
#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "it is there to be read")]
async fn hit_cost() {
    const HITS: u32 = 50_000;
    let story = Story::new(&["a"], |_| answer(&"word ".repeat(100)));
    let text = "word ".repeat(820);
    let request = ChatRequest::new(vec![crate::types::Message::text(crate::types::Role::User, text)]);
    story.pool.chat(&request, &kept()).await.expect("an answer");
    let began = time::now().mono;
    for _ in 0..HITS {
        assert!(story.pool.chat(&request, &kept()).await.expect("the same").cached);
    }
    eprintln!("a hit of a prompt of 4 KB: {} ns", (began.elapsed() / HITS).as_nanos());
}
