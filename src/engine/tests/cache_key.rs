//! Every setting is in the key of a kept answer, or cannot change the answer.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Story, answer, provider, question};
use crate::cache::Key;
use crate::types::{CallOptions, Strategy};

fn set(config: &mut Value, path: &str, value: Value) {
    *config.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
}

/// The configuration, with this put at this place of `a`, of the judge, or of the pool.
fn with(place: &str, key: &str, value: Value) -> Value {
    let providers = [provider("a", 1), provider("b", 2), provider("j", 9)];
    let mut config = json!({
        "providers": providers, "routing": {}, "ensemble": { "judge": { "provider": "j" } }, "media": {}, "qos": {},
    });
    if !key.is_empty() {
        let mut at = config.pointer(place).cloned().unwrap_or_else(|| panic!("no {place}"));
        at[key] = value;
        set(&mut config, place, at);
    }
    config
}

fn key(config: Value, strategy: Option<Strategy>) -> Key {
    let story = Story::with_config(config, |_| answer("x"));
    let options = CallOptions { strategy, providers: vec!["a".to_owned(), "b".to_owned()], ..CallOptions::default() };
    story.pool.engine().keeping(&question(), &options, Duration::ZERO).key
}

/// Changes that may change the answer of any call.
fn of_calls() -> Vec<(&'static str, &'static str, Value)> {
    let a = "/providers/0";
    vec![
        (a, "model", json!("n")),
        (a, "models", json!({ "x": "y" })),
        (a, "models", json!({ "x": { "model": "y", "context_window": 5 } })),
        (a, "context_window", json!(1000)),
        (a, "capabilities", json!(["chat"])),
        (a, "base_url", json!("https://other.test/v1")),
        (a, "priority", json!(7)),
        (a, "weight", json!(7)),
        (a, "enabled", json!(false)),
        (a, "tasks", json!(["t"])),
        (a, "headers", json!({ "x-a": "b" })),
        (a, "organization", json!("o")),
        (a, "project", json!("p")),
        (a, "unsupported_params", json!("error")),
        (a, "allow_params", json!(["temperature"])),
        (a, "omit_params", json!(["temperature"])),
        (a, "max_tokens", json!(5)),
        (a, "temperature", json!(0.5)),
        (a, "extra_body", json!({ "top_k": 1 })),
        ("", "failures", json!([{ "provider": "a", "status": 400, "class": "overloaded" }])),
        ("/routing", "behaviour", json!("failover")),
        ("/routing", "max_retries", json!(1)),
        ("/routing", "enable_failover", json!(false)),
        ("/routing", "on_content_filter", json!("failover")),
        ("/routing", "seed", json!(7)),
        ("/media", "fetch", json!(true)),
    ]
}

/// Changes that may change what several models come to.
fn of_plans() -> Vec<(&'static str, &'static str, Value)> {
    let (ensemble, judge, j) = ("/ensemble", "/ensemble/judge", "/providers/2");
    vec![
        (ensemble, "max_parallel", json!(2)),
        (ensemble, "min_successes", json!(2)),
        (ensemble, "agreement", json!(0.7)),
        (ensemble, "similarity", json!(0.7)),
        (ensemble, "hedge_after_ms", json!(7)),
        (judge, "provider", json!("a")),
        (judge, "model", json!("m2")),
        (judge, "deadline_share", json!(0.4)),
        (judge, "max_tokens", json!(77)),
        (j, "base_url", json!("https://other.test/v1")),
        (j, "model", json!("n")),
        (j, "temperature", json!(0.5)),
        (j, "extra_body", json!({ "top_k": 1 })),
    ]
}

#[test]
fn every_setting_that_may_change_the_answer_changes_the_key() {
    let plain = || with("", "", Value::Null);
    for strategy in [None, Some(Strategy::Judge)] {
        let (calls, plans) = (of_calls(), of_plans());
        let changes = calls.iter().chain(plans.iter().filter(|_| strategy.is_some()));
        let mut keys = HashSet::from([key(plain(), strategy)]);
        for (place, name, value) in changes {
            assert!(keys.insert(key(with(place, name, value.clone()), strategy)), "{place} {name} {value}");
        }
    }
    let call = key(plain(), None);
    for (place, name, value) in of_plans() {
        assert!(key(with(place, name, value.clone()), None) == call, "{place} {name}: one provider answers");
    }
}

#[test]
fn what_cannot_change_the_answer_leaves_the_key_as_it_is() {
    let plain = key(with("", "", Value::Null), Some(Strategy::Judge));
    for (place, name, value) in [
        ("/providers/0", "api_key", json!("another")),
        ("/providers/0", "timeout", json!(5)),
        ("/providers/0", "requests_per_minute", json!(5)),
        ("/providers/0", "input_token_price", json!(5)),
        ("/routing", "max_concurrent", json!(5)),
        ("/qos", "max_deadline_ms", json!(5000)),
        ("/ensemble", "default_strategy", json!("VOTING")),
    ] {
        assert!(key(with(place, name, value), Some(Strategy::Judge)) == plain, "{place} {name}");
    }
}

#[test]
fn a_tenants_own_rules_are_in_the_key_and_its_limits_are_not() {
    let key = |tenant: Value, strategy| {
        let mut config = with("", "", Value::Null);
        config["tasks"] = json!({ "s": {} });
        config["tenants"] = json!([tenant, { "id": "other" }]);
        let story = Story::with_config(config, |_| answer("x"));
        let options = CallOptions { tenant: Some("t".to_owned()), strategy, ..CallOptions::default() };
        story.pool.engine().keeping(&question(), &options, Duration::ZERO).key
    };
    for strategy in [None, Some(Strategy::Voting)] {
        let mut keys = HashSet::from([key(json!({ "id": "t" }), strategy)]);
        for (name, value, changes) in [
            ("models", json!(["m"]), true),
            ("models", json!(["m", "n"]), true),
            ("max_parallel", json!(1), true),
            ("max_parallel", json!(2), true),
            ("api_keys", json!(["a key of its own"]), false),
            ("enabled", json!(false), false),
            ("rps", json!(5), false),
            ("tokens_per_day", json!(5), false),
            ("budget", json!({ "daily_usd": 1 }), false),
            ("tasks", json!(["s"]), false),
            ("max_deadline_ms", json!(5), false),
        ] {
            let mut tenant = json!({ "id": "t" });
            tenant[name] = value;
            assert_eq!(keys.insert(key(tenant.clone(), strategy)), changes, "{tenant}");
        }
    }
}
