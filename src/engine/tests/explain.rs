//! What a call would do is what it does, and saying so changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Story, after, answer, fails, fails_with, hangs, host, provider, question, slow, trail};
use crate::engine::{ExplainedProvider, Explanation, Outlook, Verdict};
use crate::error::Error;
use crate::transport::fake;
use crate::types::{AttemptRecord, Behaviour, CallOptions, ChatRequest, ChatResponse, Message, Role};

fn explain(story: &Story) -> Explanation {
    explain_with(story, &CallOptions::default())
}

fn explain_with(story: &Story, options: &CallOptions) -> Explanation {
    story.pool.explain(&question(), options).expect("a call that can be made")
}

/// `name verdict: reason`, one for each provider.
fn told(explained: &Explanation) -> Vec<String> {
    let line = |it: &ExplainedProvider| {
        let verdict = json!(it.verdict);
        let reason = it.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} {}{reason}", it.name, verdict.as_str().expect("a word"))
    };
    explained.providers.iter().map(line).collect()
}

fn broken_rules(it: &ExplainedProvider) -> Vec<&'static str> {
    it.rules.iter().filter(|rule| !rule.ok).map(|rule| rule.rule).collect()
}

#[tokio::test(start_paused = true)]
async fn each_provider_says_what_is_against_it() {
    let mut providers: Vec<Value> = ["off", "spare", "other", "small", "full", "open", "good", "next"]
        .into_iter()
        .zip(1..)
        .map(|(name, priority)| provider(name, priority))
        .collect();
    providers[0]["enabled"] = json!(false);
    providers[1]["weight"] = json!(0);
    providers[2]["model"] = json!("n");
    providers[3]["context_window"] = json!(1);
    providers[3]["requests_per_minute"] = json!(0);
    providers[4]["requests_per_minute"] = json!(1);
    providers[5]["circuit_breaker_threshold"] = json!(1);
    let story = Story::with_config(json!({ "providers": providers }), |request| match host(request) {
        "open" => fails(500),
        name => answer(name),
    });
    let long = "It is cold in the north and warm in the south. ".repeat(40);
    let request = ChatRequest { model: Some("m".into()), ..ChatRequest::new(vec![Message::text(Role::User, long)]) };
    for (at, expected) in ["full", "good"].into_iter().enumerate() {
        let response = story.pool.chat(&request, &CallOptions::default()).await.expect("an answer");
        assert_eq!(response.provider.as_str(), expected, "{at}");
    }
    let explained = story.pool.explain(&request, &CallOptions::default()).expect("a call that can be made");
    let seconds =
        |name: &str| explained.providers.iter().find(|it| it.name.as_str() == name).and_then(|it| it.retry_at);
    assert_eq!(explained.outcome, Outlook::Ask);
    assert_eq!(explained.would_ask.as_ref().map(|name| name.as_str()), Some("good"));
    assert_eq!(
        told(&explained),
        [
            "good first",
            "next next",
            "full blocked: requests_per_minute is reached; free in 60.0 s",
            "open blocked: its circuit breaker is open; the next probe is in 60.0 s",
            "off excluded: disabled",
            "spare excluded: its weight is 0: only asked by its name",
            "other excluded: does not serve the model \"m\"",
            "small excluded: the prompt of about 470 tokens is over the 1 that its model \"m\" reads",
        ]
    );
    assert_eq!(explained.providers.iter().filter_map(|it| it.rank).collect::<Vec<_>>(), [1, 2]);
    assert!(seconds("full") > Some(0) && seconds("full") == seconds("open"), "when that ends");
    assert_eq!(broken_rules(&explained.providers[2]), ["limits"]);
    assert_eq!(broken_rules(&explained.providers[7]), ["context_window"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_full_says_who_is_asked_once_there_is_a_slot() {
    let config = json!({ "providers": [provider("a", 1)], "routing": { "max_concurrent": 1 } });
    let story = Story::with_config(config, |_| slow(Duration::from_secs(2), "late"));
    let call = story.ask();
    tokio::pin!(call);
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    let explained = explain(&story);
    assert_eq!((explained.outcome, &explained.would_ask, explained.retry_at), (Outlook::Wait, &None, None));
    assert_eq!(explained.reason, "it would wait: a: the pool's routing.max_concurrent of 1 is reached");
    assert_eq!(told(&explained), ["a first"]);
    assert_eq!(story.pool.engine().health().best_provider.as_ref().map(|name| name.as_str()), Some("a"));
    call.await.expect("an answer");
    assert_eq!(explain(&story).outcome, Outlook::Ask);
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_and_what_is_not() {
    let limited = |queue_timeout: u64| {
        let mut only = provider("a", 1);
        only["requests_per_minute"] = json!(1);
        json!({ "providers": [only], "routing": { "queue_timeout_ms": queue_timeout } })
    };
    let patient = Story::with_config(limited(90_000), |_| answer("now"));
    patient.ask().await.expect("an answer");
    let explained = explain(&patient);
    assert_eq!(explained.outcome, Outlook::Wait);
    assert_eq!(explained.retry_at, explained.providers[0].retry_at);
    assert!(explained.retry_at.is_some());
    let hasty = Story::with_config(limited(1_000), |_| answer("now"));
    hasty.ask().await.expect("an answer");
    let explained = explain(&hasty);
    assert_eq!(explained.outcome, Outlook::Fail);
    assert_eq!(explained.reason, hasty.ask().await.expect_err("limited").to_string(), "as the call says it");
}

#[tokio::test(start_paused = true)]
async fn without_failover_nobody_follows() {
    let story = Story::new(&["a", "b"], |_| answer("now"));
    let options = CallOptions { failover: Some(false), ..CallOptions::default() };
    assert_eq!(told(&explain_with(&story, &options)), ["a first", "b excluded: the call does not fail over"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_made_is_refused_as_a_call() {
    let story = Story::new(&["a"], |_| answer("now"));
    let options = CallOptions { providers: vec!["b".to_owned()], ..CallOptions::default() };
    let explained = story.pool.explain(&question(), &options).expect_err("there is no b").to_string();
    assert_eq!(explained, story.ask_with(&options).await.expect_err("there is no b").to_string());
}

#[tokio::test(start_paused = true)]
async fn the_best_provider_is_who_the_next_call_is_asked_of() {
    let mut config = json!({ "providers": [provider("a", 1), provider("b", 1), provider("c", 1)] });
    for behaviour in Behaviour::ALL {
        config["routing"] = json!({ "behaviour": behaviour.as_str(), "seed": 7 });
        let story = Story::with_config(config.clone(), |request| answer(host(request)));
        for _ in 0..20 {
            let best = story.pool.engine().health().best_provider;
            assert_eq!(best, Some(story.ask().await.expect("an answer").provider), "{behaviour:?}");
        }
    }
}

// === a thousand states ===

/// Seeds, and calls explained under each of them.
const SEEDS: u64 = 100;
const STATES: usize = 10;

/// A pool that has seen some traffic, the same for the same seed.
struct Worn {
    story: Story,
    random: fastrand::Rng,
    /// Calls under way; dropped, they end.
    calls: tokio::task::JoinSet<()>,
}

impl Worn {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let config = config(&mut random);
        let mut acts = fastrand::Rng::with_seed(seed);
        let story = Story::with_config(config, move |_| act(acts.u32(..)));
        Self { story, random, calls: tokio::task::JoinSet::new() }
    }

    /// Some calls more, some of which stay under way, and some time.
    async fn wear(&mut self) {
        for _ in 0..self.random.u32(..3) {
            let (pool, options) = (self.story.pool.clone(), options(&mut self.random));
            if self.random.bool() {
                let _ = pool.chat(&question(), &options).await;
            } else {
                self.calls.spawn(async move {
                    let _ = pool.chat(&question(), &options).await;
                });
                after(Duration::from_millis(1)).await;
            }
        }
        if self.random.u32(..4) == 0 {
            after(Duration::from_secs(self.random.u64(..40))).await;
        }
    }

    async fn ask(&self, options: &CallOptions) -> Result<ChatResponse, Error> {
        self.story.ask_with(options).await
    }
}

fn config(random: &mut fastrand::Rng) -> Value {
    let maybe = |random: &mut fastrand::Rng, value: Value| if random.u32(..3) == 0 { value } else { Value::Null };
    let names = ["a", "b", "c", "d", "e"];
    let providers: Vec<Value> = names[..random.usize(1..=names.len())]
        .iter()
        .map(|name| {
            let mut provider = provider(name, random.u32(..3));
            provider["weight"] = json!(if random.u32(..8) == 0 { 0 } else { random.u32(1..4) });
            provider["enabled"] = json!(random.u32(..12) > 0);
            provider["circuit_breaker_threshold"] = json!(random.u32(..4));
            provider["circuit_breaker_timeout"] = json!(random.u32(1..20_000));
            let limits = [("requests_per_minute", 1..6), ("requests_per_day", 10..60), ("tokens_per_minute", 20..150)];
            for (limit, range) in limits {
                let value = json!(random.u32(range));
                provider[limit] = maybe(random, value);
            }
            let most = json!(random.u32(1..3));
            provider["max_concurrent"] = maybe(random, most);
            let keys: Vec<_> = (0..random.u32(1..4)).map(|key| format!("key-{name}-{key}")).collect();
            provider.as_object_mut().expect("an object").remove("api_key");
            provider["api_keys"] = json!(keys);
            provider
        })
        .collect();
    let behaviour = Behaviour::ALL[random.usize(..Behaviour::ALL.len())];
    let most = json!(random.u32(2..5));
    let routing = json!({
        "behaviour": behaviour.as_str(), "seed": random.u32(..), "queue_timeout_ms": random.u32(..60_000),
        "max_concurrent": maybe(random, most), "error_cooldown_ms": 1_000,
    });
    json!({ "providers": providers, "routing": routing })
}

fn options(random: &mut fastrand::Rng) -> CallOptions {
    let rarely = |random: &mut fastrand::Rng| random.u32(..4) == 0;
    CallOptions {
        deadline: Some(Duration::from_millis(random.u64(1..30_000))),
        behaviour: rarely(random).then(|| Behaviour::ALL[random.usize(..Behaviour::ALL.len())]),
        session: rarely(random).then(|| random.alphabetic().to_string()),
        providers: if rarely(random) { vec!["a".to_owned()] } else { Vec::new() },
        failover: rarely(random).then_some(false),
        max_retries: Some(random.u32(..2)),
        ..CallOptions::default()
    }
}

/// What an upstream does, at random.
fn act(random: u32) -> Answer {
    match random % 16 {
        0 => fails(500),
        1 => fails(503),
        2 => fails_with(429, &[("retry-after", "3")]),
        3 if random.is_multiple_of(5) => fails(401),
        4 if random.is_multiple_of(5) => fails(404),
        5 => hangs(),
        6 | 7 => slow(Duration::from_secs(4), "late"),
        8 => {
            let left = [("content-type", "application/json"), ("x-ratelimit-remaining-requests", "0")];
            let body = json!({ "choices": [{ "message": { "content": "the last" }, "finish_reason": "stop" }] });
            fake::reply(200, &left, body.to_string())
        }
        _ => slow(Duration::from_millis(u64::from(random >> 8) % 900), "an answer"),
    }
}

/// The attempt that went out first, unless it waited for anything.
fn asked_at_once(trail: &[AttemptRecord]) -> Option<&AttemptRecord> {
    let at = trail.iter().position(|line| !line.outcome.sent_nothing())?;
    trail[..=at].iter().all(|line| line.waited.is_zero()).then(|| &trail[at])
}

#[tokio::test(start_paused = true)]
async fn who_would_be_asked_is_who_is_asked_in_a_thousand_states() {
    let mut outcomes = [0; 3];
    for seed in 0..SEEDS {
        let mut worn = Worn::new(seed);
        for state in 0..STATES {
            worn.wear().await;
            let options = options(&mut worn.random);
            let explained = explain_with(&worn.story, &options);
            let result = worn.ask(&options).await;
            let trail = match &result {
                Ok(response) => &response.attempts,
                Err(error) => &error.context().attempts,
            };
            let first = asked_at_once(trail).map(|line| &line.provider);
            let sent_nothing = trail.iter().all(|line| line.outcome.sent_nothing());
            let at = format!("seed {seed}, state {state}: {explained:#?} {result:#?}");
            assert_eq!(first, explained.would_ask.as_ref(), "{at}");
            outcomes[explained.outcome as usize] += 1;
            match explained.outcome {
                Outlook::Ask => assert!(first.is_some(), "{at}"),
                Outlook::Wait => {}
                Outlook::Fail => {
                    assert!(sent_nothing, "{at}");
                    assert_eq!(result.expect_err("nobody").to_string(), explained.reason, "{at}");
                }
            }
            check(&explained, &at);
        }
    }
    assert!(outcomes.iter().all(|count| *count > 50), "the states are of every kind: {outcomes:?}");
}

/// What holds of every explanation.
fn check(explained: &Explanation, at: &str) {
    let ranks: Vec<_> = explained.providers.iter().filter_map(|it| it.rank).collect();
    assert_eq!(ranks, (1..=ranks.len()).collect::<Vec<_>>(), "{at}");
    for it in &explained.providers {
        // Some rules only put a provider behind the others.
        let rule = it.rules.iter().find(|rule| !rule.ok && !["health", "context_window"].contains(&rule.rule));
        match it.verdict {
            Verdict::First | Verdict::Next => {
                assert!(rule.is_none_or(|rule| rule.rule == "remaining"), "{at}");
            }
            Verdict::Blocked => assert_eq!(it.reason, rule.and_then(|rule| rule.reason.clone()), "{at}"),
            Verdict::Excluded => assert!(it.reason.is_some(), "{at}"),
        }
    }
}

/// The clock on the wall is not paused.
fn timeless(mut explained: Explanation) -> Explanation {
    explained.retry_at = None;
    for it in &mut explained.providers {
        it.retry_at = None;
        it.rules.iter_mut().for_each(|rule| rule.retry_at = None);
    }
    explained
}

#[tokio::test(start_paused = true)]
async fn to_explain_changes_nothing() {
    for seed in 0..SEEDS / 2 {
        let mut stories = Vec::new();
        for explains in [true, false] {
            let mut worn = Worn::new(seed);
            let mut trails = Vec::new();
            for _ in 0..STATES {
                worn.wear().await;
                let options = options(&mut worn.random);
                if explains {
                    let stats = || json!(worn.story.pool.engine().stats());
                    let before = stats();
                    let first = timeless(explain_with(&worn.story, &options));
                    assert_eq!(first, timeless(explain_with(&worn.story, &options)), "seed {seed}");
                    worn.story.pool.engine().health();
                    assert_eq!(before, stats(), "seed {seed}");
                }
                let attempts = match worn.ask(&options).await {
                    Ok(response) => response.attempts,
                    Err(error) => error.context().attempts.clone(),
                };
                trails.push(trail(&attempts));
            }
            stories.push(trails);
        }
        assert_eq!(stories[0], stories[1], "seed {seed}");
    }
}
