//! What holds for every call, whatever upstreams and callers do.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Answer, Story, answer, fails, fails_with, hangs, host, provider, question};
use crate::error::{TransportError, TransportErrorKind};
use crate::time;
use crate::transport::fake;
use crate::types::{Behaviour, CallOptions};

/// One thing an upstream may do with a request.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer,
    Fail(u16),
    Limit { seconds: u32 },
    Reset,
    Garbage,
    Hang,
    Slow,
    Panic,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Answer),
        4 => prop::sample::select(vec![500, 502, 503, 529, 401, 403, 404, 402, 408, 400, 429]).prop_map(Act::Fail),
        2 => (0u32..20).prop_map(|seconds| Act::Limit { seconds }),
        1 => Just(Act::Reset),
        1 => Just(Act::Garbage),
        1 => Just(Act::Hang),
        1 => Just(Act::Slow),
    ]
}

fn act_or_panic() -> impl Strategy<Value = Act> {
    prop_oneof![9 => act(), 1 => Just(Act::Panic)]
}

fn perform(act: Act) -> Answer {
    match act {
        Act::Answer => answer("ok"),
        Act::Fail(status) => fails(status),
        Act::Limit { seconds } => fails_with(429, &[("retry-after", &seconds.to_string())]),
        Act::Reset => fake::broken(TransportError::new(TransportErrorKind::Reset, "reset")),
        Act::Garbage => fake::reply(200, &[], "<html>"),
        Act::Hang => hangs(),
        Act::Slow => async {
            time::sleep_until(time::now().mono + Duration::from_secs(2)).await;
            answer("late").await
        }
        .boxed(),
        Act::Panic => async { panic!("an upstream that panics") }.boxed(),
    }
}

/// Some providers, each with some keys.
fn config(keys: &[usize], seed: u64) -> Value {
    let providers: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(index, keys)| {
            let name = ["a", "b", "c", "d"][index];
            let mut provider = provider(name, index as u32);
            provider.as_object_mut().expect("an object").remove("api_key");
            provider["api_keys"] = (0..*keys).map(|key| format!("key-{name}-{key}")).collect();
            provider["timeout"] = json!(5000);
            provider
        })
        .collect();
    json!({ "providers": providers, "routing": { "seed": seed } })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The acts in turn, over and over, one row per provider.
fn script(acts: Vec<Vec<Act>>) -> impl FnMut(&crate::transport::HttpRequest) -> Answer + Send {
    let mut next = vec![0; acts.len()];
    move |request| {
        let row = usize::from(host(request).as_bytes()[0] - b'a');
        let act = acts[row][next[row] % acts[row].len()];
        next[row] += 1;
        perform(act)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_call_never_asks_more_often_than_its_bound(
        keys in prop::collection::vec(1usize..4, 1..4),
        acts in prop::collection::vec(prop::collection::vec(act(), 1..5), 4),
        max_retries in 0u32..5,
        failover in any::<bool>(),
    ) {
        run(async {
            let story = Story::with_config(config(&keys, 1), script(acts));
            let options = CallOptions {
                max_retries: Some(max_retries),
                failover: Some(failover),
                deadline: Some(Duration::from_secs(120)),
                ..CallOptions::default()
            };
            let began = time::now().mono;
            let result = story.ask_with(&options).await;
            let sent = story.upstream.requests().len();
            let usable: usize = if failover { keys.iter().sum() } else { keys[0] };
            prop_assert!(sent <= usable + max_retries as usize, "{sent} requests, {usable} keys, {result:?}");
            prop_assert!(began.elapsed() <= Duration::from_secs(120), "the deadline holds");
            let trail = match &result {
                Ok(response) => &response.attempts,
                Err(error) => &error.context().attempts,
            };
            let asked = trail.iter().filter(|line| {
                matches!(line.outcome.as_str(), "success" | "failure" | "cancelled")
            });
            prop_assert_eq!(asked.count(), sent, "the trail tells every request: {:?}", trail);
            prop_assert_eq!(story.in_flight(), 0);
            Ok(())
        })?;
    }

    #[test]
    fn with_one_healthy_provider_calls_succeed_whatever_the_others_do(
        acts in prop::collection::vec(prop::collection::vec(act(), 1..5), 4),
        priorities in prop::collection::vec(0u32..3, 4),
        healthy in 0usize..4,
        behaviour in prop::sample::select(Behaviour::ALL.to_vec()),
        session in prop::option::of("[a-c]"),
        seed in any::<u32>(),
    ) {
        run(async {
            let mut acts = acts;
            // What is the caller's own fault is thrown, not tried elsewhere.
            acts.iter_mut().flatten().filter(|act| matches!(act, Act::Fail(400))).for_each(|act| *act = Act::Fail(500));
            acts[healthy] = vec![Act::Answer];
            let mut config = config(&[1, 2, 1, 3], u64::from(seed));
            config["routing"]["behaviour"] = json!(behaviour.as_str());
            for (provider, priority) in config["providers"].as_array_mut().expect("a list").iter_mut().zip(priorities) {
                provider["priority"] = json!(priority);
            }
            let story = Story::with_config(config, script(acts));
            let options = CallOptions { session, ..CallOptions::default() };
            for _ in 0..12 {
                let result = story.ask_with(&options).await;
                prop_assert!(result.is_ok(), "{:?}", result);
            }
            Ok(())
        })?;
    }

    #[test]
    fn whatever_happens_nothing_stays_in_flight(
        acts in prop::collection::vec(prop::collection::vec(act_or_panic(), 1..6), 4),
        leaves in prop::collection::vec(prop::option::of(0u64..8000), 1..12),
    ) {
        run(async {
            let story = Story::with_config(config(&[1, 2], 1), script(acts));
            let calls = leaves.iter().map(|leave| {
                let left = async move {
                    match leave {
                        Some(millis) => time::sleep_until(time::now().mono + Duration::from_millis(*millis)).await,
                        None => std::future::pending().await,
                    }
                };
                let options = CallOptions { deadline: Some(Duration::from_secs(60)), ..CallOptions::default() };
                let pool = story.pool.clone();
                AssertUnwindSafe(async move {
                    pool.chat_until(&question(), &options, Vec::new(), left).await.result.is_ok()
                })
                .catch_unwind()
            });
            let calls = futures_util::future::join_all(calls).await.len();
            prop_assert_eq!(story.in_flight(), 0);
            let stats = story.pool.engine().stats();
            let ended = stats.successful_requests + stats.failed_requests + stats.cancelled_requests;
            prop_assert_eq!(stats.total_requests, ended);
            prop_assert_eq!(ended as usize, calls);
            Ok(())
        })?;
    }

    #[test]
    fn the_same_seed_and_the_same_upstreams_give_the_same_decisions(
        keys in prop::collection::vec(1usize..3, 1..4),
        acts in prop::collection::vec(prop::collection::vec(act(), 1..5), 4),
        seed in any::<u32>(),
    ) {
        let tell = || run(async {
            let story = Story::with_config(config(&keys, u64::from(seed)), script(acts.clone()));
            let options = CallOptions { deadline: Some(Duration::from_secs(60)), ..CallOptions::default() };
            let mut told = Vec::new();
            for _ in 0..3 {
                let trail = match story.ask_with(&options).await {
                    Ok(response) => response.attempts,
                    Err(error) => error.context().attempts.clone(),
                };
                told.push(format!("{trail:?}"));
            }
            told
        });
        prop_assert_eq!(tell(), tell());
    }
}
