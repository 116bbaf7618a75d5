//! Tenants: who comes in, within what, and what of it another roster and another process find.
//!
//! The wall clock goes on while a story's own stands still, so nothing here asks when a day ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;
use crate::config::Environment;
use crate::engine::{TenantStats, Unbounded};
use crate::error::{Error, ErrorKind, Phase};
use crate::event::Event;
use crate::time;
use crate::transport::fake;
use crate::types::{CacheWish, CallOptions, ChatRequest, EmbedRequest, InferRequest, NanoUsd, Strategy, parse_openai};

const SECOND: Duration = Duration::from_secs(1);
/// What [`answer`] says it used.
const TOKENS: u64 = 18;

/// Two priced providers, the second with an alias, and these tenants.
fn config(tenants: Value) -> Value {
    let mut providers = [provider("a", 1), provider("b", 2)];
    for provider in &mut providers {
        provider["input_price_per_million"] = json!(10);
        provider["output_price_per_million"] = json!(20);
    }
    providers[1]["model"] = json!("other");
    providers[1]["models"] = json!({ "fast": "small" });
    json!({ "providers": providers, "tasks": { "sum": {}, "rate": {} }, "tenants": tenants })
}

fn story(tenants: Value) -> Story {
    Story::with_config(config(tenants), |_| answer("ok"))
}

fn of(tenant: &str) -> CallOptions {
    CallOptions { tenant: Some(tenant.to_owned()), ..once() }
}

fn stats(story: &Story, tenant: &str) -> TenantStats {
    story.pool.engine().stats().tenants[tenant].clone()
}

/// Whose limit it was, and which.
fn limit(error: &Error) -> (&str, &'static str) {
    let limit = error.context().tenant.as_ref().expect("a tenant's limit");
    (&limit.tenant, limit.limit)
}

async fn reload(story: &Story, tenants: Value) {
    let environment = Environment::from_map::<String, String>([]);
    story.pool.reload(Some(config(tenants)), environment).await.expect("valid").expect("another one");
}

#[tokio::test(start_paused = true)]
async fn a_burst_comes_in_and_then_as_many_as_a_second_has() {
    let story = story(json!([{ "id": "acme", "rps": 2, "burst": 3 }, { "id": "b" }]));
    for _ in 0..3 {
        story.ask_with(&of("acme")).await.expect("room");
    }
    let error = story.ask_with(&of("acme")).await.expect_err("too often");
    assert!(matches!(error.kind(), ErrorKind::RateLimited { failure: None, .. }), "{error:?}");
    assert_eq!((limit(&error), error.retry_after()), (("acme", "rps"), Some(SECOND / 2)));
    assert_eq!(error.to_string(), "the tenant \"acme\" has reached its rps of 2; free in 0.5 s");
    story.ask_with(&of("b")).await.expect("another tenant is not bound by it");
    story.ask().await.expect("and neither is a call of none");
    after(SECOND / 2).await;
    story.ask_with(&of("acme")).await.expect("room again");
    let TenantStats { total_requests, refused_requests, requests_remaining, .. } = stats(&story, "acme");
    assert_eq!((total_requests, refused_requests, requests_remaining), (4, 1, Some(0)));
    assert_eq!(story.asked("a"), 6, "a call that is refused asks nobody");
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_call_comes_in_at_the_same_door() {
    let story = story(json!([{ "id": "acme", "rps": 0 }]));
    let options = of("acme");
    let never = std::future::pending::<()>;
    let refused = [
        story.ask_with(&options).await.expect_err("chat"),
        open_with(&story, &options).await.map(drop).expect_err("stream"),
        story.pool.embed(&EmbedRequest::new(["x"]), &options).await.expect_err("embed"),
        story.pool.infer(&InferRequest { tenant: options.tenant.clone(), ..work("sum") }).await.expect_err("infer"),
        story.ask_with(&CallOptions { strategy: Some(Strategy::Voting), ..options.clone() }).await.expect_err("plan"),
        story.ask_with(&CallOptions { cache: Some(CacheWish::On), ..options.clone() }).await.expect_err("cached"),
        story.pool.execute_until(&Nothing, None, &options, never()).await.result.expect_err("own"),
    ];
    for error in refused {
        assert_eq!((limit(&error), error.retry_after()), (("acme", "rps"), None), "{error}");
    }
    assert_eq!((story.upstream.requests().len(), stats(&story, "acme").refused_requests), (0, 7));
}

struct Nothing;

impl crate::engine::Task for Nothing {
    fn run(&self, _: crate::engine::Turn) -> futures_util::future::BoxFuture<'_, Result<(), crate::engine::Fault>> {
        Box::pin(async { Ok(()) })
    }
}

fn work(task: &str) -> InferRequest {
    InferRequest { task: task.to_owned(), prompt: "x".to_owned(), ..InferRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_several_runs_is_one_call_and_all_its_tokens_and_money() {
    let story =
        story(json!([{ "id": "acme", "rps": 1, "burst": 1, "tokens_per_day": 3000, "budget": { "monthly_usd": 1 } }]));
    let options = CallOptions { strategy: Some(Strategy::Voting), ..of("acme") };
    story.ask_with(&options).await.expect("two answers");
    let TenantStats { total_requests, total_tokens, tokens_remaining, total_cost, budget, .. } = stats(&story, "acme");
    let cost = NanoUsd(2 * (12 * 10_000 + 6 * 20_000));
    assert_eq!((total_requests, total_tokens, tokens_remaining), (1, 2 * TOKENS, Some(3000 - 2 * TOKENS)));
    let monthly = budget.and_then(|budget| budget.monthly).expect("a limit");
    assert_eq!((total_cost, monthly.spent, monthly.reserved), (cost, cost, NanoUsd(0)));
}

#[tokio::test(start_paused = true)]
async fn tokens_of_the_day_are_set_aside_before_a_request_goes_out() {
    let tenants = json!([{ "id": "acme", "tokens_per_day": 100 }, { "id": "b", "tokens_per_day": 0 }]);
    let story = Story::with_config(config(tenants), |_| slow(SECOND, "ok"));
    let bounded = ChatRequest { max_tokens: Some(60), ..question() };
    let (first, second) = (of("acme"), of("acme"));
    let (first, second) = tokio::join!(story.pool.chat(&bounded, &first), story.pool.chat(&bounded, &second));
    let error = [first, second].into_iter().find_map(Result::err).expect("no room for two at once");
    assert!(matches!(error.kind(), ErrorKind::RateLimited { failure: None, .. }), "{error:?}");
    assert_eq!(limit(&error), ("acme", "tokens_per_day"));
    assert!(error.retry_after().is_some_and(|wait| wait <= 86_400 * SECOND), "until midnight");
    assert!(
        error.to_string().starts_with("the tenant \"acme\" has no room for this call in its tokens_per_day of 100;")
    );
    assert_eq!(stats(&story, "acme").tokens_remaining, Some(100 - TOKENS), "corrected by what was used");
    let none = story.ask_with(&of("b")).await.expect_err("a limit of nothing");
    assert_eq!((limit(&none), none.retry_after()), (("b", "tokens_per_day"), None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_bound_is_taken_for_as_long_as_others_were() {
    let story = Story::with_config(config(json!([{ "id": "acme", "tokens_per_day": 3_000 }])), |_| slow(SECOND, "ok"));
    let options = of("acme");
    let together = async || {
        let asked = (0..60).map(|_| story.ask_with(&options));
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().filter(Result::is_ok).count() as u64
    };
    assert_eq!(together().await, 2, "a thousand tokens each, while nothing is known of the model");
    for _ in 0..8 {
        story.ask_with(&options).await.expect("one after the other there is room");
    }
    let left = stats(&story, "acme").tokens_remaining.expect("a limit");
    assert_eq!(left, 3_000 - 10 * TOKENS);
    assert_eq!(together().await, 60, "all it takes is room for what ten answers had");
}

#[tokio::test(start_paused = true)]
async fn embeddings_set_tokens_aside_as_well() {
    let vectors = || {
        let body = json!({ "data": [{ "index": 0, "embedding": [1.0] }], "usage": { "prompt_tokens": 50 } });
        Box::pin(async move {
            after(SECOND).await;
            fake::reply(200, &[], body.to_string()).await
        })
    };
    let story = Story::with_config(config(json!([{ "id": "acme", "tokens_per_day": 100 }])), move |_| vectors());
    let options = of("acme");
    let (long, fits) = (EmbedRequest::new(["word ".repeat(200)]), EmbedRequest::new(["word ".repeat(60)]));
    let error = story.pool.embed(&long, &options).await.expect_err("it alone is more");
    assert_eq!((limit(&error), error.retry_after()), (("acme", "tokens_per_day"), None));
    let (first, second) = tokio::join!(story.pool.embed(&fits, &options), story.pool.embed(&fits, &options));
    assert_eq!([first.is_ok(), second.is_ok()].into_iter().filter(|ok| *ok).count(), 1, "not both together");
    assert_eq!(stats(&story, "acme").tokens_remaining, Some(50), "corrected by what was used");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_given_back_and_what_failed_counts_as_it_was() {
    let story = Story::with_config(config(json!([{ "id": "acme", "tokens_per_day": 1000 }])), |_| fails(400));
    story.ask_with(&of("acme")).await.expect_err("refused upstream");
    let used = 1000 - stats(&story, "acme").tokens_remaining.expect("a limit");
    assert_eq!(used, prompt_tokens(&question()), "it went out");
    assert_eq!(stats(&story, "acme").total_tokens, 0, "and nobody has said that it used anything");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_ends_the_calls_of_its_tenant_alone() {
    let story = story(json!([{ "id": "acme", "budget": { "monthly_usd": 0.0003, "warn_at": 0.5 } }, { "id": "b" }]));
    let bounded = ChatRequest { max_tokens: Some(6), ..question() };
    let options = of("acme");
    let ask = || story.pool.chat_until(&bounded, &options, Vec::new(), std::future::pending());
    let completed = ask().await;
    completed.result.expect("room");
    let warned = completed.events.iter().find_map(|event| match event {
        Event::BudgetWarning { scope, tenant, .. } => Some((*scope, tenant.clone())),
        _ => None,
    });
    assert_eq!(warned, Some(("tenant", Some("acme".to_owned()))));
    let completed = ask().await;
    let error = completed.result.expect_err("spent");
    let ErrorKind::BudgetExceeded(exceeded) = error.kind() else { panic!("{error:?}") };
    assert_eq!((limit(&error), &exceeded.provider, exceeded.period), (("acme", "budget"), &None, "monthly"));
    assert!(error.to_string().contains("the tenant \"acme\"'s monthly budget of 0.0003 USD has no room"), "{error}");
    let told = completed
        .events
        .iter()
        .any(|event| matches!(event, Event::TenantRefused { tenant, limit: "budget", .. } if tenant == "acme"));
    assert!(told, "{:?}", completed.events);
    story.ask_with(&of("b")).await.expect("another tenant");
    story.ask().await.expect("nobody's");
}

#[tokio::test(start_paused = true)]
async fn what_the_pool_may_spend_is_not_told_to_a_tenants_clients() {
    let mut config = config(json!([{ "id": "acme" }]));
    config["budget"] = json!({ "monthly_usd": 0.000_001 });
    let story = Story::with_config(config.clone(), |_| answer("ok"));
    let own = story.ask_with(&of("acme")).await.expect_err("over it");
    assert!(own.to_string().contains("monthly budget of 0.000001 USD"), "the program may know: {own}");
    let shown = CallOptions { by_credential: true, ..of("acme") };
    let told = story.ask_with(&shown).await.expect_err("over it").to_string();
    assert!(told.contains("the pool's monthly budget has no room for it; this request alone is more"), "{told}");
    assert!(!told.contains("USD"), "{told}");

    config["tenants"] = json!([{ "id": "acme", "budget": { "monthly_usd": 0.000_001 } }]);
    config["budget"] = json!({ "monthly_usd": 1 });
    let story = Story::with_config(config, |_| answer("ok"));
    let told = story.ask_with(&shown).await.expect_err("over it").to_string();
    assert!(told.contains("the tenant \"acme\"'s monthly budget of 0.000001 USD"), "its own it may know: {told}");
}

#[tokio::test(start_paused = true)]
async fn a_strict_budget_of_a_tenant_wants_a_bound() {
    let story = story(json!([{ "id": "acme", "budget": { "monthly_usd": 1, "mode": "strict" } }]));
    let error = story.ask_with(&of("acme")).await.expect_err("no max_tokens");
    assert!(
        matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == Unbounded::Answer.field()),
        "{error:?}"
    );
    let bounded = ChatRequest { max_tokens: Some(10), ..question() };
    story.pool.chat(&bounded, &of("acme")).await.expect("bounded");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_does_its_tasks_and_nothing_else() {
    let story = story(json!([{ "id": "acme", "tasks": ["sum"] }, { "id": "b" }]));
    let infer = async |tenant: &str, task: &str| {
        story.pool.infer(&InferRequest { tenant: Some(tenant.to_owned()), ..work(task) }).await
    };
    infer("acme", "sum").await.expect("its own");
    infer("b", "rate").await.expect("all of them");
    let other = infer("acme", "rate").await.expect_err("another one");
    let none = story.ask_with(&of("acme")).await.expect_err("a call of no task is none of its own");
    for error in [&other, &none] {
        assert!(matches!(error.kind(), ErrorKind::PermissionDenied), "{error:?}");
        assert_eq!((limit(error), error.is_retryable()), (("acme", "tasks"), false));
    }
    assert_eq!(other.to_string(), "the tenant \"acme\" may not do the task \"rate\"");
    assert_eq!(stats(&story, "acme").refused_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_answered_by_its_models_and_by_no_other() {
    let story = story(json!([{ "id": "acme", "models": ["fast"] }, { "id": "own", "models": ["other", "m"] }]));
    let ask = async |tenant: &str, model: Option<&str>| {
        let request = ChatRequest { model: model.map(str::to_owned), ..question() };
        story.pool.chat(&request, &of(tenant)).await
    };
    for name in ["fast", "small"] {
        let answered = ask("acme", Some(name)).await.expect("by its alias and by the service's name");
        assert_eq!(answered.provider.as_str(), "b");
    }
    for name in [Some("m"), Some("other"), None] {
        let error = ask("acme", name).await.expect_err("none of its models");
        assert!(matches!(error.kind(), ErrorKind::PermissionDenied), "{name:?}: {error:?}");
        assert_eq!(limit(&error), ("acme", "models"));
    }
    let unknown = ask("acme", Some("no-such")).await.expect_err("nobody's");
    assert!(matches!(unknown.kind(), ErrorKind::NoProvider { .. }), "{unknown:?}");
    assert_eq!(ask("own", None).await.expect("whoever serves one").provider.as_str(), "a");
    assert_eq!(ask("own", Some("fast")).await.map(drop).map_err(|error| limit(&error).1), Err("models"));
}

#[tokio::test(start_paused = true)]
async fn no_field_that_is_passed_on_unread_is_a_way_around_models_and_strict_budgets() {
    let strict = json!({ "monthly_usd": 1, "mode": "strict" });
    let story = story(json!([{ "id": "acme", "models": ["m"] }, { "id": "careful", "budget": strict }, { "id": "b" }]));
    let ask = async |tenant: &str, more: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let request = parse_openai(&body.to_string()).expect("valid").request;
        story.pool.chat(&request, &of(tenant)).await
    };
    let error = ask("acme", json!({ "models": ["dear"] })).await.expect_err("another model");
    assert_eq!((limit(&error), matches!(error.kind(), ErrorKind::PermissionDenied)), (("acme", "models"), true));
    assert!(error.to_string().contains("models may name another"), "{error}");
    ask("acme", json!({ "best_of": 2 })).await.expect("no model");
    for (field, value) in [("models", json!(["dear"])), ("best_of", json!(50)), ("service_tier", json!("priority"))] {
        let error = ask("careful", json!({ field: value })).await.expect_err("it may cost more");
        assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field: named } if named == field), "{error:?}");
        ask("b", json!({ field: value })).await.expect("nothing is bound by it");
    }
    ask("careful", json!({ "logprobs": true })).await.expect("a field that costs nothing");
}

#[tokio::test(start_paused = true)]
async fn of_several_providers_only_those_with_an_allowed_model_take_part() {
    let story = story(json!([{ "id": "acme", "models": ["other"] }]));
    let options = CallOptions { strategy: Some(Strategy::Voting), ..of("acme") };
    let answered = story.ask_with(&options).await.expect("an answer");
    assert_eq!((answered.provider.as_str(), story.asked("a")), ("b", 0));
    let explained = story.pool.explain(&question(), &of("acme")).expect("an explanation");
    let said = serde_json::to_string(&explained).expect("JSON");
    assert!(said.contains("the tenant \\\"acme\\\" may not use the model \\\"m\\\""), "{said}");
}

#[tokio::test(start_paused = true)]
async fn whom_the_configuration_does_not_know_is_nobody() {
    let story = story(json!([{ "id": "acme" }]));
    let error = story.ask_with(&of("acmee")).await.expect_err("a slip of the hand is no way around the limits");
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied), "{error:?}");
    assert_eq!((limit(&error), error.to_string()), (("acmee", "id"), "there is no tenant \"acmee\"".to_owned()));
    assert_eq!(story.pool.engine().stats().tenants.len(), 1, "no name that a caller makes up is kept");
    let free = Story::new(&["a"], |_| answer("ok"));
    free.ask_with(&of("anybody")).await.expect("without tenants it is a label");
    let shown = CallOptions { by_credential: true, ..of("acme") };
    let error = free.ask_with(&shown).await.expect_err("a credential that outlived the last tenant");
    assert_eq!(limit(&error), ("acme", "id"));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_switched_off_and_on_by_a_reload() {
    let story = Story::with_config(config(json!([{ "id": "acme", "rps": 1, "burst": 2 }])), |_| slow(SECOND, "ok"));
    let options = of("acme");
    let (running, ()) = tokio::join!(story.ask_with(&options), async {
        after(SECOND / 2).await;
        reload(&story, json!([{ "id": "acme", "rps": 1, "burst": 2, "enabled": false }])).await;
        let error = story.ask_with(&options).await.expect_err("switched off");
        assert!(matches!(error.kind(), ErrorKind::PermissionDenied), "{error:?}");
        assert_eq!((limit(&error), stats(&story, "acme").enabled), (("acme", "enabled"), false));
    });
    running.expect("a call under way ends as it began");
    reload(&story, json!([{ "id": "acme" }])).await;
    story.ask_with(&options).await.expect("on again");
    let TenantStats { total_requests, refused_requests, total_tokens, .. } = stats(&story, "acme");
    assert_eq!((total_requests, refused_requests, total_tokens), (2, 1, 2 * TOKENS), "what it came to stays");
}

#[tokio::test(start_paused = true)]
async fn no_call_of_a_tenant_is_given_more_than_its_longest_deadline() {
    let tenants = json!([{ "id": "acme", "max_deadline_ms": 2_000 }]);
    let story = Story::with_config(config(tenants), |_| hangs());
    for asked_for in [None, Some(SECOND * 60)] {
        let began = time::now().mono;
        let options = CallOptions { deadline: asked_for, ..of("acme") };
        let error = story.ask_with(&options).await.expect_err("it hangs");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
        assert_eq!(began.elapsed(), SECOND * 2);
    }
    let work = InferRequest { tenant: Some("acme".to_owned()), deadline: Some(SECOND * 60), ..work("sum") };
    let error = story.pool.infer(&work).await.expect_err("over it");
    assert!(
        error.to_string().contains("at most 2000 ms, which is the tenant's max_deadline_ms, found 60000"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_tenant_asks_no_more_providers_at_once_than_it_may() {
    let mut config = config(json!([{ "id": "one", "max_parallel": 1 }, { "id": "two", "max_parallel": 2 }]));
    config["ensemble"] = json!({ "min_successes": 2 });
    config["qos"] = json!({ "hedge": true, "hedge_after_ms": 100 });
    let story = Story::with_config(config, |_| slow(SECOND, "ok"));
    let asked = async |options: CallOptions| {
        let before = story.upstream.requests().len();
        story.ask_with(&options).await.expect("an answer");
        story.upstream.requests().len() - before
    };
    let voting = |tenant: &str| CallOptions { strategy: Some(Strategy::Voting), ..of(tenant) };
    assert_eq!([asked(voting("one")).await, asked(voting("two")).await], [1, 2]);
    assert_eq!([asked(of("one")).await, asked(of("two")).await], [1, 2], "a hedge is a second one");
    let fastest = |tenant: &str| CallOptions { strategy: Some(Strategy::Fastest), ..of(tenant) };
    assert_eq!([asked(fastest("one")).await, asked(fastest("two")).await], [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn another_limit_and_another_process_find_what_was_used() {
    let tenants = |tokens: u64| json!([{ "id": "acme", "tokens_per_day": tokens, "budget": { "monthly_usd": 1 } }]);
    let story = story(tenants(100));
    story.ask_with(&of("acme")).await.expect("room");
    reload(&story, tenants(50)).await;
    assert_eq!(stats(&story, "acme").tokens_remaining, Some(50 - TOKENS));
    reload(&story, json!([{ "id": "acme" }])).await;
    assert_eq!(stats(&story, "acme").tokens_remaining, None);
    reload(&story, json!([{ "id": "other" }])).await;
    reload(&story, tenants(40)).await;
    assert_eq!(stats(&story, "acme").tokens_remaining, Some(40 - TOKENS), "gone for an hour, it is the same day");

    let engine = story.pool.engine();
    let (saved, budgets) = (engine.saved_tenants(), engine.saved_budgets());
    let next = Story::with_config(config(tenants(30)), |_| answer("ok"));
    next.pool.engine().restore_tenants(&saved);
    next.pool.engine().restore_budgets(&budgets);
    let (before, after) = (stats(&story, "acme"), stats(&next, "acme"));
    assert_eq!(after.tokens_remaining, Some(30 - TOKENS));
    assert_eq!((after.total_requests, after.total_cost, after.total_tokens), (1, before.total_cost, TOKENS));
    assert_eq!(after.budget, before.budget);
    // Saved for a tenant that comes later.
    let later = Story::with_config(config(json!([{ "id": "other" }])), |_| answer("ok"));
    later.pool.engine().restore_tenants(&saved);
    assert_eq!(later.pool.engine().saved_tenants()["acme"], saved["acme"]);
    reload(&later, tenants(30)).await;
    assert_eq!(stats(&later, "acme").tokens_remaining, Some(30 - TOKENS));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_kept_for_one_tenant_reaches_another() {
    let mut number = 0;
    let story = Story::with_config(config(json!([{ "id": "acme" }, { "id": "b" }])), move |_| {
        number += 1;
        slow(SECOND, ["1", "2", "3", "4", "5", "6"][number - 1])
    });
    let cached = |tenant: &str| CallOptions { cache: Some(CacheWish::On), session: Some("s".to_owned()), ..of(tenant) };
    let (acme, b) = (cached("acme"), cached("b"));
    // Identical, at the same time and in the same session.
    let (first, second) = tokio::join!(story.ask_with(&acme), story.ask_with(&b));
    let (first, second) = (first.expect("an answer"), second.expect("an answer"));
    assert_ne!(first.reply.content, second.reply.content);
    assert!(!first.cached && !second.cached);
    let again = story.ask_with(&b).await.expect("an answer");
    assert_eq!((again.cached, again.reply.content), (true, second.reply.content), "its own");
    // The same id of a request.
    let infer = async |tenant: &str| {
        let id = Some(crate::types::RequestId::new("id-1"));
        let work = InferRequest { tenant: Some(tenant.to_owned()), request_id: id, ..work("sum") };
        story.pool.infer(&work).await.expect("an answer").content
    };
    let (of_acme, of_b) = (infer("acme").await, infer("b").await);
    assert_ne!(of_acme, of_b);
    assert_eq!(infer("acme").await, of_acme);
}
