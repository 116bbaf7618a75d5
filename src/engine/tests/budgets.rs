//! Money: what is set aside before a request goes out, what it comes to, and who is asked when nothing is left.
//!
//! Limits are of a month, so that no midnight of the wall clock falls into a story; what days do is told beside the book.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::*;
use crate::config::Environment;
use crate::engine::{BudgetPeriodStats, BudgetStats, SavedBudgets, Task, Turn};
use crate::error::{BudgetExceeded, Error, ErrorKind};
use crate::event::Event;
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, ChatRequest, EmbedRequest, NanoUsd, Usage};

/// Nanodollars of a token of the prompt, and of one of the answer.
const INPUT: u64 = 10_000;
const OUTPUT: u64 = 20_000;
/// What [`answer`] costs.
const ANSWER: u64 = 12 * INPUT + 6 * OUTPUT;

fn priced(name: &str, priority: u32, changes: Value) -> Value {
    let mut provider = provider(name, priority);
    let Value::Object(changes) = changes else { panic!("an object") };
    provider["input_price_per_million"] = json!(10);
    provider["output_price_per_million"] = json!(20);
    provider.as_object_mut().expect("an object").extend(changes);
    provider
}

/// A limit of a month in nanodollars.
fn limit(nanos: u64) -> Value {
    json!({ "monthly_usd": nanos as f64 / 1e9 })
}

fn strict(nanos: u64) -> Value {
    json!({ "monthly_usd": nanos as f64 / 1e9, "mode": "strict" })
}

fn one(budget: Value) -> Value {
    json!({ "providers": [priced("a", 1, json!({}))], "budget": budget })
}

/// A question whose answer has a bound.
fn bounded(most: u32) -> ChatRequest {
    ChatRequest { max_tokens: Some(most), ..question() }
}

async fn ask_bounded(story: &Story, most: u32) -> Result<u64, Error> {
    let response = story.pool.chat(&bounded(most), &once()).await?;
    Ok(response.cost.expect("priced").0)
}

fn of_the_pool(story: &Story) -> BudgetPeriodStats {
    story.pool.engine().stats().budget.and_then(|budget| budget.monthly).expect("a limit")
}

fn of_provider(story: &Story, name: &str) -> BudgetPeriodStats {
    story.pool.engine().provider_stats()[name].budget.and_then(|budget| budget.monthly).expect("a limit")
}

/// Everything is settled, and the book says what the statistics say.
#[track_caller]
fn adds_up(story: &Story) {
    let BudgetPeriodStats { spent, reserved, .. } = of_the_pool(story);
    assert_eq!((spent, reserved), (story.pool.engine().stats().total_cost, NanoUsd(0)));
}

#[track_caller]
fn exceeded(error: &Error) -> &BudgetExceeded {
    let ErrorKind::BudgetExceeded(exceeded) = error.kind() else { panic!("{error:?}") };
    exceeded
}

async fn reload(story: &Story, config: Value) {
    let environment = Environment::from_map::<String, String>([]);
    story.pool.reload(Some(config), environment).await.expect("valid");
}

#[tokio::test(start_paused = true)]
async fn a_provider_whose_budget_is_spent_is_skipped_and_says_when_it_begins_anew() {
    let a = priced("a", 1, json!({ "budget": limit(ANSWER), "max_tokens": 6 }));
    let story = Story::with_config(json!({ "providers": [a, priced("b", 2, json!({}))] }), |it| answer(host(it)));
    assert_eq!(story.ask().await.expect("a").provider.as_str(), "a");
    let response = story.ask().await.expect("b");
    assert_eq!(trail(&response.attempts), ["a:budget", "b:success"]);
    let BudgetPeriodStats { limit, spent, reserved, reset_at } = of_provider(&story, "a");
    assert_eq!((limit.0, spent.0, reserved.0), (ANSWER, ANSWER, 0));
    let health = story.pool.engine().health();
    let a = &health.providers["a"];
    assert_eq!((a.available, a.retry_at), (false, Some(reset_at)));
    assert!(reset_at > time::unix_ms() && health.healthy && health.best_provider.expect("b").as_str() == "b");
    assert_eq!(story.pool.engine().provider_stats()["b"].budget, None);
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_budget_is_spent_refuses_at_once() {
    let story = Story::with_config(one(limit(ANSWER + 5)), |_| answer("ok"));
    ask_bounded(&story, 6).await.expect("there is money");
    let began = time::now().mono;
    let error = ask_bounded(&story, 6).await.expect_err("there is none");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let BudgetExceeded { provider, period, limit, spent, reset, reset_at, .. } = exceeded(&error);
    assert_eq!((provider, *period, limit.0, spent.0), (&None, "monthly", ANSWER + 5, ANSWER));
    assert!(reset_at.is_some_and(|at| at > time::unix_ms()));
    assert_eq!((error.retry_after(), error.is_retryable(), error.is_held_by_requests()), (*reset, false, false));
    assert_eq!(trail(&error.context().attempts), ["a:budget"]);
    assert!(error.to_string().contains("the pool's monthly budget of 0.000240005 USD has no room"), "{error}");
    assert!(!story.pool.engine().health().healthy);
    assert_eq!(story.asked("a"), 1);
    adds_up(&story);
}

#[tokio::test(start_paused = true)]
async fn when_every_provider_is_out_of_money_the_call_fails_and_names_the_soonest() {
    let daily = json!({ "daily_usd": 0 });
    let providers = [priced("a", 1, json!({ "budget": limit(0) })), priced("b", 2, json!({ "budget": daily }))];
    let story = Story::with_config(json!({ "providers": providers, "budget": limit(1_000_000_000) }), |_| answer("ok"));
    let error = story.ask().await.expect_err("nobody");
    // More than a limit of 0 does not fit tomorrow either.
    assert_eq!((exceeded(&error).reset, error.context().provider.is_some()), (None, true));
    assert_eq!(trail(&error.context().attempts), ["a:budget", "b:budget"]);
    assert_eq!(of_the_pool(&story).reserved, NanoUsd(0), "what one budget refuses takes nothing of the other");
}

#[tokio::test(start_paused = true)]
async fn what_requests_under_way_hold_is_no_day_that_has_to_end() {
    let one_and_a_half = (prompt_tokens(&question()) * INPUT + 6 * OUTPUT) * 3 / 2;
    let a = priced("a", 1, json!({ "budget": limit(one_and_a_half) }));
    let story = Story::with_config(json!({ "providers": [a] }), |_| slow(Duration::from_secs(1), "ok"));
    let during = async {
        after(Duration::from_millis(10)).await;
        let error = ask_bounded(&story, 6).await.expect_err("the first holds too much");
        let BudgetExceeded { spent, reset, reset_at, .. } = exceeded(&error);
        assert_eq!((spent.0, *reset, *reset_at, error.retry_after()), (0, None, None, None));
        assert!(error.to_string().contains("requests under way hold"), "{error}");
        assert!(error.is_held_by_requests());
        let a = &story.pool.engine().health().providers["a"];
        assert_eq!((a.available, a.retry_at), (true, None));
    };
    let (first, ()) = futures_util::join!(ask_bounded(&story, 6), during);
    first.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_budget() {
    let a = priced("a", 1, json!({ "requests_per_minute": 1 }));
    let config = json!({ "providers": [a], "budget": limit(ANSWER), "routing": { "queue_timeout_ms": null } });
    let story = Story::with_config(config, |_| answer("ok"));
    ask_bounded(&story, 6).await.expect("the first");
    let began = time::now().mono;
    exceeded(&ask_bounded(&story, 6).await.expect_err("the limit would be waited for"));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_cheaper_provider_may_still_fit_into_the_pools_budget() {
    let dear = priced("a", 1, json!({ "output_price_per_million": 2_000 }));
    let config = json!({ "providers": [dear, priced("b", 2, json!({}))], "budget": limit(2 * ANSWER) });
    let story = Story::with_config(config, |it| answer(host(it)));
    let response = story.pool.chat(&bounded(6), &once()).await.expect("b");
    assert_eq!(trail(&response.attempts), ["a:budget", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn a_soft_budget_sets_aside_what_answers_had_lately() {
    let story = Story::with_config(one(limit(1_000_000_000)), |_| slow(Duration::from_secs(1), "ok"));
    let reserved = || async {
        let call = story.ask();
        tokio::pin!(call);
        tokio::select! {
            biased;
            _ = &mut call => panic!("it takes a second"),
            () = after(Duration::from_millis(500)) => {}
        }
        let reserved = of_the_pool(&story).reserved.0;
        call.await.expect("an answer");
        reserved
    };
    // A thousand tokens, before anything is known of the model.
    assert_eq!(reserved().await, prompt_tokens(&question()) * INPUT + 1_000 * OUTPUT);
    join_all((0..9).map(|_| story.ask())).await;
    assert_eq!(reserved().await, 12 * INPUT + 6 * OUTPUT, "as the answers of this model were");
    adds_up(&story);
}

#[tokio::test(start_paused = true)]
async fn a_strict_budget_needs_a_bound_and_says_which() {
    let story = Story::with_config(one(strict(1_000_000_000)), |_| answer("ok"));
    let error = story.ask().await.expect_err("no bound");
    assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "max_tokens"), "{error:?}");
    assert!(error.to_string().contains("neither the call nor the provider sets max_tokens"), "{error}");
    ask_bounded(&story, 6).await.expect("bounded");

    let extra = serde_json::Map::from_iter([("n".to_owned(), json!(5))]);
    let mut request = bounded(6);
    request.extra_body.insert("openai-compatible".to_owned(), extra);
    let error = story.pool.chat(&request, &once()).await.expect_err("anything may be in it");
    assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "extra_body"), "{error:?}");

    let added = priced("a", 1, json!({ "max_tokens": 6, "extra_body": { "top_k": 5 } }));
    let providers = [added, priced("b", 2, json!({ "max_tokens": 6 }))];
    let config = json!({ "providers": providers, "budget": strict(1_000_000_000) });
    let story = Story::with_config(config, |it| answer(host(it)));
    assert_eq!(trail(&story.ask().await.expect("b adds nothing").attempts), ["a:budget", "b:success"]);

    let providers = [priced("a", 1, json!({})), priced("b", 2, json!({ "max_tokens": 6 }))];
    let config = json!({ "providers": providers, "budget": strict(1_000_000_000) });
    let story = Story::with_config(config, |it| answer(host(it)));
    assert_eq!(trail(&story.ask().await.expect("b has a bound").attempts), ["a:budget", "b:success"]);
}

#[tokio::test(start_paused = true)]
async fn a_strict_budget_sets_aside_the_most_a_request_can_cost() {
    let story = Story::with_config(one(strict(1_000_000_000)), |_| slow(Duration::from_secs(1), "ok"));
    let request = bounded(500);
    let options = CallOptions::default();
    let call = story.pool.chat(&request, &options);
    tokio::pin!(call);
    tokio::select! {
        biased;
        _ = &mut call => panic!("it takes a second"),
        () = after(Duration::from_millis(500)) => {}
    }
    let most = crate::tokens::most_prompt_tokens(&request).expect("text") * INPUT + 500 * OUTPUT;
    assert_eq!(of_the_pool(&story).reserved.0, most);
    call.await.expect("an answer");
    adds_up(&story);
    // Less than that, and it is not sent.
    reload(&story, one(strict(most - 1))).await;
    exceeded(&story.pool.chat(&request, &once()).await.expect_err("it could pass the limit"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_price_is_refused_or_passes_uncounted() {
    let unpriced = json!({ "providers": [provider("a", 1)], "budget": limit(1_000) });
    let story = Story::with_config(unpriced.clone(), |_| answer("ok"));
    let error = story.ask().await.expect_err("nobody knows");
    let ErrorKind::NoProvider { reasons } = error.kind() else { panic!("{error:?}") };
    assert!(reasons[0].reason.contains("nobody knows the price") && reasons[0].reason.contains("input_token_price"));
    assert_eq!(trail(&error.context().attempts), ["a:budget"]);

    let mut allowed = unpriced;
    allowed["budget"]["on_unknown_price"] = json!("allow");
    let story = Story::with_config(allowed, |_| answer("ok"));
    story.ask().await.expect("let through");
    assert_eq!(of_the_pool(&story).spent, NanoUsd(0));
    assert_eq!(story.pool.engine().stats().unpriced_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn prices_of_a_model_go_over_those_of_its_provider() {
    let models =
        json!({ "cheap": { "model": "n", "prices": { "input_price_per_million": 1, "output_price_per_million": 2 } } });
    let story =
        Story::with_config(json!({ "providers": [priced("a", 1, json!({ "models": models }))] }), |_| answer("ok"));
    assert_eq!(story.ask().await.expect("m").cost, Some(NanoUsd(ANSWER)));
    for name in ["cheap", "n"] {
        let request = ChatRequest { model: Some(name.to_owned()), ..question() };
        assert_eq!(story.pool.chat(&request, &once()).await.expect("n").cost, Some(NanoUsd(ANSWER / 10)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_before_its_first_byte_costs_nothing_and_after_it_its_prompt() {
    let story = Story::with_config(one(limit(1_000_000_000)), |_| hangs());
    story.upstream.never_starts();
    let leave = |millis| after(Duration::from_millis(millis));
    let _ = story.pool.chat_until(&question(), &once(), Vec::new(), leave(10)).await;
    assert_eq!(of_the_pool(&story).spent, NanoUsd(0));
    adds_up(&story);

    let story = Story::with_config(one(limit(1_000_000_000)), |_| hangs());
    let _ = story.pool.chat_until(&question(), &once(), Vec::new(), leave(10)).await;
    let prompt = prompt_tokens(&question()) * INPUT;
    assert_eq!(of_the_pool(&story).spent.0, prompt);
    // A timer of ours leaves a request, too.
    let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..once() };
    story.ask_with(&options).await.expect_err("too slow");
    assert_eq!(of_the_pool(&story).spent.0, 2 * prompt);
    adds_up(&story);
}

#[tokio::test(start_paused = true)]
async fn a_strict_budget_takes_all_that_was_set_aside_for_what_is_left() {
    let most = crate::tokens::most_prompt_tokens(&bounded(6)).expect("text") * INPUT + 6 * OUTPUT;
    let leave = || after(Duration::from_millis(10));
    let timed = CallOptions { timeout: Some(Duration::from_secs(1)), ..once() };

    let story = Story::with_config(one(strict(2 * most)), |_| hangs());
    let _ = story.pool.chat_until(&bounded(6), &once(), Vec::new(), leave()).await;
    assert_eq!(of_the_pool(&story).spent.0, most, "left");
    assert_eq!(story.pool.engine().stats().total_cost.0, prompt_tokens(&question()) * INPUT, "as it is told");
    story.pool.chat(&bounded(6), &timed).await.expect_err("too slow");
    assert_eq!((of_the_pool(&story).spent.0, of_the_pool(&story).reserved.0), (2 * most, 0), "ended by a timer");
    exceeded(&ask_bounded(&story, 6).await.expect_err("it may all have been spent"));

    let story = Story::with_config(one(strict(2 * most)), |_| hangs());
    story.upstream.never_starts();
    let _ = story.pool.chat_until(&bounded(6), &once(), Vec::new(), leave()).await;
    assert_eq!(of_the_pool(&story).spent.0, 0, "nothing went out");

    for status in [400, 429, 500] {
        let story = Story::with_config(one(strict(2 * most)), move |_| fails(status));
        ask_bounded(&story, 6).await.expect_err("refused");
        assert_eq!(of_the_pool(&story).spent.0, 0, "{status}");
    }

    let providers = [priced("a", 1, json!({})), priced("b", 2, json!({}))];
    let hedged = json!({ "providers": providers, "budget": strict(9 * most), "qos": { "hedge": true } });
    let story = Story::with_config(hedged, |it| if host(it) == "a" { hangs() } else { answer("from b") });
    ask_bounded(&story, 6).await.expect("the second copy");
    assert_eq!(of_the_pool(&story).spent.0, most + ANSWER);
}

#[tokio::test(start_paused = true)]
async fn streams_that_end_break_or_are_left_are_booked() {
    let whole = || says(vec![chunk("one "), chunk("two"), FINISH.to_owned(), DONE.to_owned()]);
    for (act, ends_well) in [(0, true), (1, false), (2, false)] {
        let story = Story::with_config(one(limit(1_000_000_000)), move |_| match act {
            0 => whole(),
            1 => breaks(vec![chunk("one "), chunk("two")]),
            _ => stalls(vec![chunk("one "), chunk("two")]),
        });
        let stream = open(&story).await.expect("a stream");
        assert!(of_the_pool(&story).reserved.0 > 0, "it is under way");
        if act == 2 {
            drop(stream);
        } else {
            assert_eq!(read(stream).await.1.is_ok(), ends_well);
        }
        assert!(of_the_pool(&story).spent.0 >= prompt_tokens(&question()) * INPUT, "{act}");
        adds_up(&story);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_here_has_no_more_tokens_than_the_provider_was_allowed() {
    let story = Story::with_config(one(strict(1_000_000_000)), |_| {
        says(vec![chunk("a long answer of many more words than two"), FINISH.to_owned(), DONE.to_owned()])
    });
    let request = Arc::new(bounded(2));
    let opened = story.pool.stream_until(request, &once(), Vec::new(), std::future::pending()).await.result;
    let stream = read(opened.expect("a stream")).await.1.expect("whole");
    let usage = stream.into_response().expect("it has ended").usage;
    assert_eq!((usage.completion_tokens, usage.estimated), (2, true));
    adds_up(&story);
}

/// Uses ten and five tokens.
struct TenAndFive;

impl Task for TenAndFive {
    fn run(&self, turn: Turn) -> futures_util::future::BoxFuture<'_, Result<(), crate::engine::Fault>> {
        turn.report_usage(Usage::reported(10, 5));
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(start_paused = true)]
async fn functions_and_embeddings_are_booked() {
    let story = Story::with_config(one(limit(1_000_000_000)), |_| {
        let vectors = json!({ "data": [{ "index": 0, "embedding": [1.0] }], "usage": { "prompt_tokens": 3 } });
        fake::reply(200, &[], vectors.to_string())
    });
    let run = |story: &Story| {
        let pool = story.pool.clone();
        async move { pool.execute_until(&TenAndFive, None, &once(), std::future::pending()).await.result }
    };
    run(&story).await.expect("done");
    story.pool.embed(&EmbedRequest::new(["abc"]), &once()).await.expect("a vector");
    assert_eq!(of_the_pool(&story).spent.0, 13 * INPUT + 5 * OUTPUT);
    adds_up(&story);

    reload(&story, one(strict(1_000_000_000))).await;
    story.pool.embed(&EmbedRequest::new(["abc"]), &once()).await.expect("bounded by its bytes");
    let error = run(&story).await.expect_err("no bound");
    assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "fn"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_are_paid_for_and_held_back() {
    let providers = [priced("a", 1, json!({})), priced("b", 2, json!({}))];
    let both = |budget: Value| json!({ "providers": providers.clone(), "budget": budget, "qos": { "hedge": true } });
    let script = |it: &HttpRequest| if host(it) == "a" { hangs() } else { answer("from b") };
    let story = Story::with_config(both(limit(1_000_000_000)), script);
    story.pool.chat(&bounded(6), &once()).await.expect("the second copy");
    assert_eq!(of_the_pool(&story).spent.0, prompt_tokens(&question()) * INPUT + ANSWER);
    adds_up(&story);

    // Room for one of the two only: no second copy goes out.
    let one_copy = prompt_tokens(&question()) * INPUT + 6 * OUTPUT;
    let story = Story::with_config(both(limit(one_copy)), |_| slow(Duration::from_secs(1), "ok"));
    let response = story.pool.chat(&bounded(6), &once()).await.expect("the first copy");
    assert_eq!(trail(&response.attempts), ["a:success", "b:budget"]);

    // And no retry. The error is that of the attempt there was.
    let mut asked = 0;
    let story = Story::with_config(one(limit(one_copy)), move |_| {
        asked += 1;
        if asked == 1 { hangs() } else { answer("late") }
    });
    let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..CallOptions::default() };
    let error = story.pool.chat(&bounded(6), &options).await.expect_err("no money for a second try");
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error:?}");
    assert_eq!(trail(&error.context().attempts), ["a:failure", "a:budget"]);
}

#[tokio::test(start_paused = true)]
async fn the_share_is_told_once_with_the_call_that_spends_it() {
    let story = Story::with_config(one(limit(10 * ANSWER)), |_| answer("ok"));
    let mut told = Vec::new();
    for call in 1..=10 {
        let completed = story.pool.chat_until(&bounded(6), &once(), Vec::new(), std::future::pending()).await;
        for event in completed.events {
            if let Event::BudgetWarning { scope, provider, tenant, period, spent, limit, reset_at } = event {
                assert_eq!((scope, provider, tenant, period, limit.0), ("pool", None, None, "monthly", 10 * ANSWER));
                assert!(reset_at > time::unix_ms());
                told.push((call, spent.0));
            }
        }
    }
    assert_eq!(told, [(8, 8 * ANSWER)]);
}

#[tokio::test(start_paused = true)]
async fn what_an_abandoned_stream_spends_is_told_to_the_call_that_ends_next() {
    let budget = json!({ "monthly_usd": 1, "warn_at": 0 });
    let story = Story::with_config(one(budget), |_| stream_that_stays_open());
    drop(open(&story).await.expect("a stream"));
    let completed = story.pool.chat_until(&question(), &once(), Vec::new(), after(Duration::from_secs(1))).await;
    let told = completed.events.iter().filter(|event| matches!(event, Event::BudgetWarning { .. })).count();
    assert_eq!(told, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_survives_another_configuration() {
    let config = |own: Value, pool: Value, priority: u32| json!({ "providers": [priced("a", priority, json!({ "budget": own }))], "budget": pool });
    let story = Story::with_config(config(limit(1_000_000_000), limit(1_000_000_000), 1), |_| answer("ok"));
    ask_bounded(&story, 6).await.expect("the first");
    let spent = |story: &Story| (of_provider(story, "a").spent.0, of_the_pool(story).spent.0);
    reload(&story, config(limit(1_000_000_000), limit(1_000_000_000), 2)).await;
    assert_eq!(spent(&story), (ANSWER, ANSWER), "nothing of it changed");
    reload(&story, config(limit(2 * ANSWER), limit(ANSWER), 2)).await;
    assert_eq!(spent(&story), (ANSWER, ANSWER), "the limits changed");
    exceeded(&ask_bounded(&story, 6).await.expect_err("the new limit is reached"));
    // A breaker, limits and keys go over as well: a budget starts nothing anew.
    reload(&story, config(Value::Null, Value::Null, 2)).await;
    assert_eq!(story.pool.engine().stats().budget, None);
    assert_eq!(story.pool.engine().provider_stats()["a"].usage.total_requests, 1);
    reload(&story, config(limit(2 * ANSWER), limit(3 * ANSWER), 2)).await;
    assert_eq!(spent(&story), (ANSWER, ANSWER), "it came back");

    // A call that began under the old limits settles under the new ones.
    let story = Story::with_config(one(limit(1_000_000_000)), |_| slow(Duration::from_secs(2), "ok"));
    let during = async {
        after(Duration::from_secs(1)).await;
        reload(&story, one(limit(2_000_000_000))).await;
        assert!(of_the_pool(&story).reserved.0 > 0);
    };
    let (answered, ()) = futures_util::join!(story.ask(), during);
    answered.expect("an answer");
    assert_eq!((of_the_pool(&story).limit.0, of_the_pool(&story).spent.0), (2_000_000_000, ANSWER));
    adds_up(&story);
}

#[tokio::test(start_paused = true)]
async fn what_calls_under_way_hold_survives_an_absence() {
    let a = || priced("a", 1, json!({ "budget": limit(ANSWER + ANSWER / 2) }));
    let b = || priced("b", 2, json!({}));
    let story = Story::with_config(json!({ "providers": [a(), b()] }), |it| {
        if host(it) == "a" { slow(Duration::from_secs(1), "ok") } else { answer("ok") }
    });
    let during = async {
        after(Duration::from_millis(10)).await;
        let held = of_provider(&story, "a").reserved;
        assert!(held > NanoUsd(0));
        for _ in 0..2 {
            reload(&story, json!({ "providers": [b()] })).await;
        }
        reload(&story, json!({ "providers": [a(), b()] })).await;
        assert_eq!(of_provider(&story, "a").reserved, held);
        let request = bounded(6);
        assert_eq!(story.pool.chat(&request, &once()).await.expect("b").provider.as_str(), "b");
    };
    let (first, ()) = futures_util::join!(ask_bounded(&story, 6), during);
    assert_eq!(first.expect("an answer"), ANSWER);
    let BudgetPeriodStats { spent, reserved, .. } = of_provider(&story, "a");
    assert_eq!((spent.0, reserved.0), (ANSWER, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_survives_a_restart() {
    let config = |names: &[&str]| {
        let own = |name: &&str| priced(name, 1, json!({ "budget": limit(1_000_000_000) }));
        json!({ "providers": names.iter().map(own).collect::<Vec<_>>(), "budget": limit(1_000_000_000) })
    };
    let before = Story::with_config(config(&["a"]), |_| answer("ok"));
    ask_bounded(&before, 6).await.expect("an answer");
    let saved = serde_json::to_string(&before.pool.engine().saved_budgets()).expect("plain data");
    let saved: SavedBudgets = serde_json::from_str(&saved).expect("as it was written");

    let after = Story::with_config(config(&["b"]), |_| answer("ok"));
    after.pool.engine().restore_budgets(&saved);
    assert_eq!(of_the_pool(&after).spent.0, ANSWER);
    assert_eq!(after.pool.engine().saved_budgets().providers["a"], saved.providers["a"], "kept for when it comes back");
    reload(&after, config(&["a", "b"])).await;
    assert_eq!((of_provider(&after, "a").spent.0, of_provider(&after, "b").spent.0), (ANSWER, 0));
}

#[tokio::test(start_paused = true)]
async fn explaining_sets_nothing_aside_and_changes_nothing() {
    let a = priced("a", 1, json!({ "budget": limit(ANSWER - 1) }));
    let story = Story::with_config(json!({ "providers": [a, priced("b", 2, json!({}))] }), |it| answer(host(it)));
    let explanation = story.pool.engine().explain(&bounded(6), false, &CallOptions::default()).expect("sound");
    assert_eq!(explanation.would_ask.expect("b").as_str(), "b");
    let a = explanation.providers.iter().find(|it| it.name.as_str() == "a").expect("it is there");
    let rule = a.rules.iter().find(|rule| rule.rule == "budget").expect("it is looked at");
    assert!(!rule.ok && a.reason.as_deref().is_some_and(|reason| reason.contains("its monthly budget")), "{a:?}");
    assert!(story.pool.engine().health().providers["a"].available, "nobody was refused");
    assert_eq!(of_provider(&story, "a").reserved, NanoUsd(0));
}

#[tokio::test(start_paused = true)]
async fn what_is_explained_is_what_the_next_call_finds() {
    for step in 1..20 {
        let own = |share: u64| json!({ "budget": limit(ANSWER * step * share / 10) });
        let providers = [priced("a", 1, own(3)), priced("b", 2, own(5)), priced("c", 3, own(2))];
        let config =
            json!({ "providers": providers, "budget": limit(ANSWER * step), "routing": { "behaviour": "failover" } });
        let story = Story::with_config(config, |it| answer(host(it)));
        for call in 0..20 {
            let explained = story.pool.engine().explain(&bounded(6), false, &once()).expect("sound");
            match story.pool.chat(&bounded(6), &once()).await {
                Ok(response) => assert_eq!(explained.would_ask, Some(response.provider), "{step}, call {call}"),
                Err(error) => assert_eq!((explained.would_ask, explained.reason), (None, error.to_string())),
            }
        }
        adds_up(&story);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_without_a_limit_of_a_period_shows_none() {
    let story = Story::with_config(one(json!({ "daily_usd": 5 })), |_| answer("ok"));
    let Some(BudgetStats { daily: Some(daily), monthly: None }) = story.pool.engine().stats().budget else {
        panic!("a daily limit alone")
    };
    assert_eq!(daily.limit, NanoUsd(5_000_000_000));
}

/// What becomes of one of many calls.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// So many tokens of prompt and answer.
    Answered(u32, u32),
    Fails(u16),
    /// Nobody answers; a timer or the caller ends it.
    Hangs,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => (0u32..60, 0u32..100).prop_map(|(prompt, answer)| Fate::Answered(prompt, answer)),
        1 => prop::sample::select(vec![500, 429, 401, 400]).prop_map(Fate::Fails),
        1 => Just(Fate::Hangs),
    ]
}

fn perform(fate: Fate, millis: u64) -> Answer {
    let reply = match fate {
        Fate::Answered(prompt, completion) => {
            let body = json!({
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": "x" }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": prompt, "completion_tokens": completion },
            });
            fake::reply(200, &[("content-type", "application/json")], body.to_string())
        }
        Fate::Fails(status) => fails(status),
        Fate::Hangs => hangs(),
    };
    Box::pin(async move {
        after(Duration::from_millis(millis)).await;
        reply.await
    })
}

/// Counts attempts under way, and how many there ever were at once.
#[derive(Debug, Clone, Default)]
struct Flying {
    now: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Flying {
    fn begin(&self) -> Self {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        self.clone()
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ten thousand calls within some seconds, hundreds of them at once, some of which their callers leave; and how many
/// attempts were under way at once.
async fn storm(budget: Value, fates: Vec<Fate>, leave: Vec<u64>) -> (Story, u64) {
    let two_keys = json!({ "timeout": 400, "api_key": null, "api_keys": ["k", "l"] });
    let providers = [priced("a", 1, two_keys), priced("b", 1, json!({}))];
    // Nobody waits for capacity: this is about money.
    let routing = json!({ "max_concurrent": null, "enable_circuit_breaker": false, "max_retries": 1,
        "queue_timeout_ms": 0 });
    let config = json!({ "providers": providers, "budget": budget, "routing": routing });
    let flying = Flying::default();
    let seen = flying.clone();
    let mut next = 0;
    let story = Story::with_config(config, move |_| {
        next += 1;
        let flight = flying.begin();
        let answer = perform(fates[next % fates.len()], (next * 37 % 300) as u64);
        // Until the reply is there, or nobody wants it any more.
        let landed = scopeguard(move || flight.end());
        Box::pin(async move {
            let reply = answer.await;
            drop(landed);
            reply
        })
    });
    let request = bounded(100);
    join_all((0..10_000).map(|at| {
        let (pool, request, options) = (&story.pool, &request, CallOptions::default());
        let leave = Duration::from_millis(leave[at % leave.len()]);
        async move {
            after(Duration::from_micros(500 * at as u64)).await;
            pool.chat_until(request, &options, Vec::new(), after(leave)).await.result.is_ok()
        }
    }))
    .await;
    (story, seen.most.load(Ordering::Relaxed))
}

/// Does it when it is dropped.
fn scopeguard(act: impl Fn() + Send) -> impl Drop + Send {
    struct Guard<F: Fn()>(F);
    impl<F: Fn()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(act)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Ten thousand calls: answers, failures, retries, failovers, keys that rest, callers that leave. A strict budget is
    /// never passed; a soft one by no more than what was in flight when it was reached.
    #[test]
    fn ten_thousand_calls_keep_to_their_budget(
        strictly in any::<bool>(),
        nanos in 0u64..10_000_000_000,
        fates in prop::collection::vec(fate(), 1..50),
        leave in prop::collection::vec(prop_oneof![0u64..600, Just(1_000_000)], 1..20),
    ) {
        let budget = if strictly { strict(nanos) } else { limit(nanos) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let (story, at_once) = storm(budget, fates, leave).await;
            let BudgetPeriodStats { limit, spent, reserved, .. } = of_the_pool(&story);
            prop_assert_eq!(reserved, NanoUsd(0));
            let told = story.pool.engine().stats().total_cost;
            // What was left counts as much as was set aside for it.
            prop_assert!(if strictly { spent >= told } else { spent == told }, "{spent:?}, {told:?}");
            if strictly {
                prop_assert!(spent <= limit, "{:?} of {:?}", spent, limit);
            }
            let dearest = 60 * INPUT + 100 * OUTPUT;
            prop_assert!(spent.0 <= limit.0 + at_once * dearest, "{:?} of {:?}, {}", spent, limit, at_once);
            Ok(())
        })?;
    }
}
