//! Calls that wait for capacity: in order, each woken when it is its turn, none forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, host, provider, question, trail};
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Phase};
use crate::event::Event;
use crate::time;
use crate::types::{CallOptions, ChatRequest, ChatResponse, Message, Role};

const SECOND: Duration = Duration::from_secs(1);

async fn after(wait: Duration) {
    time::sleep_until(time::now().mono + wait).await;
}

fn answers_after(wait: Duration) -> Answer {
    async move {
        after(wait).await;
        answer("ok").await
    }
    .boxed()
}

/// Takes so many attempts at once.
fn narrow(name: &str, priority: u32, max_concurrent: u32) -> Value {
    let mut narrow = provider(name, priority);
    narrow["max_concurrent"] = json!(max_concurrent);
    narrow
}

fn one_at_a_time(wait: Duration) -> Story {
    Story::with_config(json!({ "providers": [narrow("a", 1, 1)] }), move |_| answers_after(wait))
}

/// A question that can be told from others.
async fn ask_number(story: &Story, number: usize, options: CallOptions) -> Result<ChatResponse, Error> {
    let request = ChatRequest::new(vec![Message::text(Role::User, format!("question {number}."))]);
    story.pool.chat(&request, &options).await
}

/// The numbers of the questions that went out, in that order.
fn sent(story: &Story) -> Vec<usize> {
    let number = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        let (_, rest) = text.split_once("question ").expect("a numbered question");
        rest.split('.').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    story.upstream.requests().iter().map(|request| number(&request.body)).collect()
}

fn deadline(wait: Duration) -> CallOptions {
    CallOptions { deadline: Some(wait), ..CallOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_wait_are_served_one_by_one_in_the_order_they_came() {
    let story = one_at_a_time(Duration::from_millis(50));
    let began = time::now().mono;
    let calls = (0..100).map(|number| {
        let story = &story;
        async move { ask_number(story, number, CallOptions::default()).await }
    });
    let responses = join_all(calls).await;
    assert!(responses.iter().all(Result::is_ok));
    assert_eq!(sent(&story), (0..100).collect::<Vec<_>>());
    // Each went out in the moment in which the one before it was done: woken, not by a timer.
    assert_eq!(began.elapsed(), Duration::from_millis(50) * 100);
    let last = responses[99].as_ref().expect("an answer");
    assert_eq!(trail(&last.attempts), ["a:busy", "a:success"]);
    assert_eq!(last.attempts[1].waited, Duration::from_millis(50) * 99);
    assert_eq!((story.in_flight(), story.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_the_line_at_any_moment_holds_up_nobody() {
    // Also in the very moment in which it is its turn: the slots change hands every 100 ms.
    for leaves_after in [0, 1, 50, 99, 100, 101, 199, 200, 250, 300, 301, 1000] {
        let story = one_at_a_time(Duration::from_millis(100));
        let calls = (0..6).map(|number| {
            let story = &story;
            async move {
                let call = ask_number(story, number, CallOptions::default());
                match number {
                    3 => time::until(Some(time::now().mono + Duration::from_millis(leaves_after)), call).await.is_ok(),
                    _ => call.await.is_ok(),
                }
            }
        });
        let served = join_all(calls).await;
        let others: Vec<_> = [0, 1, 2, 4, 5].map(|number| served[number]).into();
        assert_eq!(others, [true; 5], "one left after {leaves_after} ms");
        assert_eq!((story.in_flight(), story.waiting()), (0, 0), "one left after {leaves_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake() {
    let story = one_at_a_time(SECOND);
    let comes_back = async {
        ask_number(&story, 0, CallOptions::default()).await.expect("at once");
        // The slot is free and the one who waits for it has not run yet.
        ask_number(&story, 2, CallOptions::default()).await
    };
    let waits = ask_number(&story, 1, CallOptions::default());
    let (again, waited) = tokio::join!(comes_back, waits);
    assert!(again.is_ok() && waited.is_ok());
    assert_eq!(sent(&story), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_goes_to_another_provider_instead_of_waiting() {
    let config = json!({ "providers": [narrow("a", 1, 1), provider("b", 2)] });
    let story = Story::with_config(config, |_| answers_after(SECOND));
    let responses = join_all((0..3).map(|_| story.ask())).await;
    let providers: Vec<_> = responses.iter().flatten().map(|response| response.provider.as_str()).collect();
    assert_eq!(providers, ["a", "b", "b"]);
    assert_eq!(trail(&responses[1].as_ref().expect("b").attempts), ["a:busy", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_several_takes_the_first_that_is_free_and_leaves_the_other_lines() {
    let config = json!({ "providers": [narrow("a", 1, 1), narrow("b", 2, 1)] });
    let story =
        Story::with_config(config, |request| answers_after(if host(request) == "a" { SECOND * 4 } else { SECOND }));
    let responses = join_all((0..4).map(|_| story.ask())).await;
    let providers: Vec<_> = responses.iter().flatten().map(|response| response.provider.as_str()).collect();
    // One after the other at `b`, while `a` is at its first: nobody is held up by a place in the line of `a`.
    assert_eq!(providers, ["a", "b", "b", "b"]);
    assert_eq!((story.in_flight(), story.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_that_waits_holds_and_the_one_behind_it_moves_up() {
    let story = one_at_a_time(SECOND * 3);
    let began = time::now().mono;
    let in_time = |number| {
        let story = &story;
        async move { ask_number(story, number, CallOptions::default()).await }
    };
    let out_of_time = async {
        let error = ask_number(&story, 9, deadline(SECOND * 2)).await.expect_err("nobody was free");
        (error, began.elapsed())
    };
    let (first, (error, took), second) = tokio::join!(in_time(0), out_of_time, in_time(1));
    assert!(first.is_ok() && second.is_ok());
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(took, SECOND * 2);
    assert_eq!(sent(&story), [0, 1]);
    assert_eq!(began.elapsed(), SECOND * 6);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_patient_for_as_long_as_it_is_told_and_then_says_what_it_waited_for() {
    for (patience, waited) in [(json!(4000), SECOND * 4), (json!(0), Duration::ZERO)] {
        let config = json!({ "providers": [narrow("a", 1, 1)], "routing": { "queue_timeout_ms": patience } });
        let story = Story::with_config(config, |_| answers_after(SECOND * 20));
        let began = time::now().mono;
        let impatient = async { (story.ask().await, began.elapsed()) };
        let (first, (second, took)) = tokio::join!(story.ask(), impatient);
        first.expect("it had the slot");
        let error = second.expect_err("nobody was free");
        assert!(matches!(error.kind(), ErrorKind::RateLimited { reset: None, .. }), "{error:?}");
        assert!(error.to_string().contains("its max_concurrent of 1 is reached"), "{error}");
        assert_eq!(took, waited);
        assert_eq!(story.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_wait_than_the_queue_may_hold() {
    let config = json!({ "providers": [narrow("a", 1, 1)], "routing": { "max_queue": 2 } });
    let story = Story::with_config(config, |_| answers_after(SECOND));
    let began = time::now().mono;
    let calls = (0..5).map(|_| async {
        let result = story.ask().await;
        (result.is_ok(), began.elapsed())
    });
    let ended = join_all(calls).await;
    let refused = (false, Duration::ZERO);
    assert_eq!(ended, [(true, SECOND), (true, SECOND * 2), (true, SECOND * 3), refused, refused]);
    story.ask().await.expect("the queue is empty again");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_serves_who_waits_while_it_drains_and_ends_the_rest() {
    let story = one_at_a_time(SECOND * 2);
    let calls = join_all((0..4).map(|_| story.ask()));
    let stop = async {
        after(SECOND).await;
        story.pool.shutdown(SECOND * 4).await;
    };
    let (results, ()) = tokio::join!(calls, stop);
    let kinds: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(_) => "answered",
            Err(error) if matches!(error.kind(), ErrorKind::Closed) => "closed",
            Err(error) => panic!("{error:?}"),
        })
        .collect();
    // Done after 2 s and after 4 s; after 5 s the third was under way and the fourth in line.
    assert_eq!(kinds, ["answered", "answered", "closed", "closed"]);
    assert_eq!((story.in_flight(), story.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_its_slot_until_it_ends_or_is_left() {
    let story = Story::with_config(json!({ "providers": [narrow("a", 1, 1)] }), |request| {
        let streams = String::from_utf8_lossy(&request.body).contains("\"stream\":true");
        if streams { super::support::stream_that_stays_open() } else { answer("ok") }
    });
    let question = Arc::new(question());
    let opened = story.pool.stream_until(question, &CallOptions::default(), Vec::new(), std::future::pending()).await;
    let stream = opened.result.expect("first content");
    let began = time::now().mono;
    let leaves = async {
        after(SECOND * 3).await;
        drop(stream);
    };
    let (waited, ()) = tokio::join!(story.ask(), leaves);
    waited.expect("once the stream was left");
    assert_eq!(began.elapsed(), SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn the_pool_has_no_more_attempts_under_way_than_it_may_over_all_providers() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let config = json!({
        "providers": [narrow("a", 1, 3), provider("b", 2)], "routing": { "max_concurrent": 5 },
    });
    let story = Story::with_config(config, move |_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&seen));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            after(SECOND).await;
            now.fetch_sub(1, Ordering::Relaxed);
            answer("ok").await
        }
        .boxed()
    });
    let began = time::now().mono;
    let watch = async {
        after(SECOND / 2).await;
        let stats = story.pool.engine().stats();
        (stats.max_permits, stats.available_permits, stats.active_connections)
    };
    let (results, during) = tokio::join!(join_all((0..50).map(|_| story.ask())), watch);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 5);
    assert_eq!(began.elapsed(), SECOND * 10);
    assert_eq!(during, (Some(5), Some(0), 5));
    assert_eq!(story.pool.engine().stats().available_permits, Some(5));
    let waited = results[7].as_ref().expect("an answer");
    assert!(trail(&waited.attempts)[0].ends_with(":busy"), "{:?}", waited.attempts);
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_to_another_provider_does_not_lose_its_slot_to_a_later_call() {
    let config = json!({ "providers": [provider("a", 1), provider("b", 2)], "routing": { "max_concurrent": 1 } });
    let story = Story::with_config(config, |request| {
        let limited = host(request) == "a";
        async move {
            after(SECOND).await;
            if limited { super::support::fails_with(429, &[("retry-after", "30")]).await } else { answer("b").await }
        }
        .boxed()
    });
    let (first, second) = tokio::join!(story.ask(), story.ask());
    assert_eq!(trail(&second.expect("b").attempts), ["a:busy", "a:key_cooling", "b:success"]);
    assert_eq!(trail(&first.expect("b").attempts), ["a:failure", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_does_not_make_a_call_wait_for_what_nobody_waits_for() {
    let mut config = json!({ "providers": [provider("a", 1), provider("b", 1)], "routing": { "max_concurrent": 1 } });
    config["providers"][0]["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(config, |request| match host(request) {
        "a" => fails(500),
        _ => answers_after(SECOND),
    });
    let only =
        |name: &str| CallOptions { providers: vec![name.to_owned()], max_retries: Some(0), ..CallOptions::default() };
    story.ask_with(&only("a")).await.expect_err("its breaker opens");
    let (to_b, to_a) = (only("b"), only("a"));
    let slow = story.ask_with(&to_b);
    let hopeless = async {
        let error = story.ask_with(&to_a).await.expect_err("an open breaker");
        (trail(&error.context().attempts), story.in_flight(), error)
    };
    let (answered, (trail, in_flight, error)) = tokio::join!(slow, hopeless);
    answered.expect("b");
    assert!(matches!(error.kind(), ErrorKind::NoProvider { .. }), "{error:?}");
    assert_eq!((trail, in_flight), (vec!["a:breaker_open".to_owned()], 1), "at once, while the slot is taken");
}

#[tokio::test(start_paused = true)]
async fn a_provider_of_no_slots_is_never_used_nor_waited_for() {
    let story = Story::with_config(json!({ "providers": [narrow("a", 1, 0)] }), |_| answer("ok"));
    let began = time::now().mono;
    let error = story.ask().await.expect_err("nobody");
    assert!(matches!(error.kind(), ErrorKind::NoProvider { .. }), "{error:?}");
    assert_eq!((began.elapsed(), story.asked("a")), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_behind_the_others_is_told_so_at_once_with_its_own_time() {
    let mut limited = provider("a", 1);
    limited["requests_per_minute"] = json!(2);
    let story = Story::with_config(json!({ "providers": [limited] }), |_| answer("ok"));
    for _ in 0..2 {
        story.ask().await.expect("within the limit");
    }
    tokio::time::advance(SECOND * 55).await;
    let began = time::now().mono;
    let calls = (0..5).map(|number| {
        let story = &story;
        async move {
            let result = ask_number(story, number, CallOptions::default()).await;
            let reset = result.err().map(|error| match error.kind() {
                ErrorKind::RateLimited { reset, .. } => reset.expect("a time"),
                _ => panic!("{error:?}"),
            });
            (reset, began.elapsed())
        }
    });
    let ended = join_all(calls).await;
    // Two places in 5 s, for those who came first; the next two a minute later.
    let served = (None, SECOND * 5);
    let told = (Some(SECOND * 65), Duration::ZERO);
    assert_eq!(ended, [served, served, told, told, told]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_limit_is_served_in_the_order_they_came() {
    let mut limited = provider("a", 1);
    limited["requests_per_minute"] = json!(20);
    let story = Story::with_config(json!({ "providers": [limited] }), |_| answer("ok"));
    let all = |from: usize| {
        join_all((from..from + 20).map(|number| {
            let story = &story;
            async move { ask_number(story, number, CallOptions::default()).await.expect("an answer") }
        }))
    };
    all(0).await;
    tokio::time::advance(SECOND * 55).await;
    all(20).await;
    assert_eq!(sent(&story), (0..40).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_sends_home_everybody_who_waits_for_it() {
    let mut config = narrow("a", 1, 1);
    config["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(json!({ "providers": [config] }), |_| {
        async {
            after(SECOND).await;
            fails(500).await
        }
        .boxed()
    });
    let began = time::now().mono;
    let errors = join_all((0..20).map(|_| story.ask())).await;
    assert!(errors.iter().all(Result::is_err));
    assert_eq!((story.asked("a"), began.elapsed(), story.waiting()), (1, SECOND, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_uses_up_no_keys_turn() {
    let mut config = provider("a", 1);
    config.as_object_mut().expect("an object").remove("api_key");
    config["api_keys"] = json!(["key-0", "key-1"]);
    config["requests_per_minute"] = json!(1);
    let config = json!({ "providers": [config], "routing": { "queue_timeout_ms": 0 } });
    let story = Story::with_config(config, |_| answer("ok"));
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(story.ask().await.expect("an answer").attempts[0].key_index);
        story.ask().await.expect_err("over the limit");
        tokio::time::advance(SECOND * 60).await;
    }
    assert_eq!(keys, [Some(0), Some(1), Some(0)]);
}

/// What one of many calls does.
#[derive(Debug, Clone, Copy)]
struct Caller {
    comes_after: u64,
    leaves_after: Option<u64>,
    deadline: u64,
}

fn caller() -> impl Strategy<Value = Caller> {
    (0u64..3000, prop::option::weighted(0.3, 0u64..4000), 100u64..9000)
        .prop_map(|(comes_after, leaves_after, deadline)| Caller { comes_after, leaves_after, deadline })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whoever comes and goes whenever: no bound is passed, nobody is forgotten, nothing is left.
    #[test]
    fn no_bound_is_passed_and_nobody_is_forgotten(
        callers in prop::collection::vec(caller(), 1..60),
        (slots, pool, per_minute) in (1u32..4, 1u32..5, 5u32..40),
        takes in prop::collection::vec(1u64..700, 1..8),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime").block_on(
            async {
                let mut limited = narrow("b", 1, slots);
                limited["requests_per_minute"] = json!(per_minute);
                let config = json!({
                    "providers": [narrow("a", 1, slots), limited], "routing": { "max_concurrent": pool },
                });
                // Under way, and the most there were: at `a`, at `b`, in all.
                let counts: Arc<[AtomicUsize; 6]> = Arc::default();
                let (seen, mut turn) = (Arc::clone(&counts), 0);
                let story = Story::with_config(config, move |request| {
                    let (counts, at) = (Arc::clone(&seen), usize::from(host(request) == "b"));
                    turn += 1;
                    let wait = Duration::from_millis(takes[turn % takes.len()]);
                    for at in [at, 2] {
                        counts[at + 3].fetch_max(counts[at].fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    }
                    let leave = scope(move || [at, 2].map(|at| counts[at].fetch_sub(1, Ordering::Relaxed)));
                    async move {
                        let _leave = leave;
                        after(wait).await;
                        answer("ok").await
                    }
                    .boxed()
                });
                let calls = callers.iter().map(|caller| {
                    let story = &story;
                    async move {
                        after(Duration::from_millis(caller.comes_after)).await;
                        let options = deadline(Duration::from_millis(caller.deadline));
                        let leaves = caller.leaves_after.map(|after| time::now().mono + Duration::from_millis(after));
                        let began = time::now().mono;
                        let _ = time::until(leaves, story.ask_with(&options)).await;
                        began.elapsed() <= Duration::from_millis(caller.deadline + 1)
                    }
                });
                prop_assert!(join_all(calls).await.into_iter().all(|in_time| in_time));
                let most = |at: usize| counts[at + 3].load(Ordering::Relaxed);
                prop_assert!(most(0) <= slots as usize && most(1) <= slots as usize && most(2) <= pool as usize);
                prop_assert!(story.asked("b") <= per_minute as usize, "all within a minute");
                prop_assert_eq!((story.in_flight(), story.waiting()), (0, 0));
                // Nobody stands in a line who is gone: the next call is served at once.
                let began = time::now().mono;
                let patient = deadline(Duration::from_secs(60));
                prop_assert!(story.ask_with(&patient).await.is_ok());
                prop_assert!(began.elapsed() < SECOND);
                Ok(())
            },
        )?;
    }
}

struct Scope<F: FnMut()>(F);

impl<F: FnMut()> Drop for Scope<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs it when the answer is there, or is not waited for any longer.
fn scope<T>(end: impl Fn() -> T) -> Scope<impl FnMut()> {
    Scope(move || drop(end()))
}

/// How often the call said that it waits.
fn waits(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Debug { message } if message.starts_with("waiting"))).count()
}

/// A retry that was kept back by the pool's limit, while the call also waits for a provider that is busy.
#[tokio::test(start_paused = true)]
async fn a_retry_that_waited_for_a_slot_takes_the_one_that_comes() {
    let config = json!({
        "providers": [provider("a", 1), narrow("b", 2, 1), provider("c", 3)],
        "routing": { "max_concurrent": 2, "behaviour": "failover", "retry_delay_ms": 200, "seed": 1 },
    });
    let mut asked_a = 0;
    let story = Story::with_config(config, move |request| match host(request) {
        "a" => {
            asked_a += 1;
            if asked_a == 1 { fails(503) } else { answer("from a") }
        }
        "b" => answers_after(SECOND * 20),
        _ => answers_after(Duration::from_millis(500)),
    });
    let only = |names: &[&str]| CallOptions {
        providers: names.iter().map(|name| (*name).to_owned()).collect(),
        deadline: Some(SECOND * 30),
        ..CallOptions::default()
    };
    let (of_b, of_a_and_b, of_c) = (only(&["b"]), only(&["a", "b"]), only(&["c"]));
    let began = time::now().mono;
    let completed = async {
        after(Duration::from_millis(10)).await;
        let request = question();
        let completed = story.pool.chat_until(&request, &of_a_and_b, Vec::new(), std::future::pending()).await;
        (completed, began.elapsed())
    };
    let fills = async {
        after(Duration::from_millis(20)).await;
        story.ask_with(&of_c).await
    };
    let (long, (completed, took), filler) = tokio::join!(story.ask_with(&of_b), completed, fills);
    assert!(long.is_ok() && filler.is_ok());
    let response = completed.result.expect("from a");
    assert_eq!(trail(&response.attempts), ["a:failure", "b:busy", "a:busy", "a:success"]);
    assert_eq!(took, Duration::from_millis(520), "the moment in which the slot became free");
    assert!(waits(&completed.events) <= 4, "{} waits", waits(&completed.events));
    assert_eq!((story.in_flight(), story.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_attempt_failed_keeps_its_place() {
    let config = json!({
        "providers": [provider("a", 1)], "routing": { "max_concurrent": 1, "retry_delay_ms": 1, "seed": 1 },
    });
    let mut asked = 0;
    let story = Story::with_config(config, move |_| {
        asked += 1;
        if asked == 1 { fails(503) } else { answers_after(Duration::from_millis(50)) }
    });
    join_all((0..10).map(|number| ask_number(&story, number, CallOptions::default()))).await;
    let sent = sent(&story);
    assert_eq!(sent[..3], [0, 1, 0], "behind the one that had the slot while it rested, and nobody else");
    assert_eq!(sent[3..], (2..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn slots_that_a_reload_brings_are_for_those_in_line() {
    let config = |slots: Value| json!({ "providers": [provider("a", 1)], "routing": { "max_concurrent": slots } });
    for more in [json!(3), Value::Null] {
        let story = Story::with_config(config(json!(1)), |_| answers_after(SECOND * 2));
        let began = time::now().mono;
        let ended = |call| async move { (ask_number(call, 0, CallOptions::default()).await.is_ok(), began.elapsed()) };
        let reloads = async {
            after(SECOND).await;
            let reloaded = story.pool.reload(Some(config(more)), Environment::from_map::<String, String>([])).await;
            reloaded.expect("valid");
        };
        let (calls, ()) = tokio::join!(join_all((0..3).map(|_| ended(&story))), reloads);
        assert_eq!(calls, [(true, SECOND * 2), (true, SECOND * 3), (true, SECOND * 3)]);
        assert_eq!((story.in_flight(), story.waiting()), (0, 0));
    }
}
