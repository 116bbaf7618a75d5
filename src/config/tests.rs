//! The configuration as a whole: text or object in, [`Config`] or every problem out.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{
    RawBreaker, RawBudget, RawCache, RawConfig, RawEnsemble, RawFailure, RawHealth, RawHmac, RawHmacClient, RawJudge,
    RawJwt, RawMedia, RawModel, RawPrices, RawProvider, RawQos, RawRetryBudget, RawRouting, RawServer, RawTask,
    RawTenant, RawTls,
};
use super::values::UNLIMITED;
use super::*;
use crate::adapter::Endpoint;
use crate::cost::{Rate, UsdPerToken};
use crate::error::{ErrorKind, FailureClass};
use crate::policy::{DayZone, HedgeAfter};

fn settings() -> Settings {
    Settings::new(Source::Inline(Value::Null))
}

fn environment() -> Environment {
    Environment::from_map([("KEY", "sk-from-environment"), ("HOST", "models.example.com")])
}

fn load(value: &Value) -> Result<Config, Error> {
    Config::load_value(value, &environment(), &settings())
}

fn checked(value: &Value) -> Config {
    load(value).unwrap_or_else(|error| panic!("{value}\n{error}"))
}

fn problems_of(result: Result<Config, Error>) -> Vec<String> {
    let error = result.expect_err("problems");
    let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error:?}") };
    problems.iter().map(ToString::to_string).collect()
}

fn problems(value: &Value) -> Vec<String> {
    problems_of(load(value))
}

/// A configuration of one good provider with `changes` in it.
fn with(changes: Value) -> Value {
    let mut provider = json!({ "name": "a", "type": "openai", "model": "m", "api_key": "k" });
    merge(&mut provider, changes);
    json!({ "providers": [provider] })
}

fn merge(into: &mut Value, changes: Value) {
    let (Value::Object(into), Value::Object(changes)) = (into, changes) else { panic!("objects") };
    into.extend(changes);
}

fn one(changes: Value) -> ProviderConfig {
    checked(&with(changes)).providers.remove(0)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

// === what is taken ===

#[test]
fn what_is_sent_in_every_chat_is_read_with_its_variables() {
    let environment = Environment::from_map([("TENANT", "sk-tenant")]);
    let value = with(json!({ "extra_body": { "a": ["x", { "tenant": "${TENANT}" }], "b": 1, "c": null } }));
    let config = Config::load_value(&value, &environment, &Settings::new(Source::Inline(Value::Null))).expect("good");
    let sent = &config.providers[0].extra_body;
    assert_eq!(Value::Object(sent.clone()), json!({ "a": ["x", { "tenant": "sk-tenant" }], "b": 1, "c": null }));
    let shown = format!("{:?}", config.providers[0]);
    assert!(shown.contains("extra_body") && !shown.contains("sk-tenant"), "{shown}");
    assert_eq!(
        problems(&with(json!({ "extra_body": { "a": { "b": ["${NOT_SET}"] } } }))),
        ["providers[0].extra_body.a.b[0]: the environment variable NOT_SET is not set"]
    );
    assert_eq!(
        problems(&with(json!({ "extra_body": { "stream": true } }))),
        ["providers[0].extra_body: \"stream\" is set by the pool, remove it"]
    );
}

#[test]
fn what_stands_in_for_a_call_has_the_bounds_of_a_call() {
    assert_eq!(
        problems(&with(json!({ "max_tokens": 0, "temperature": 2.5 }))),
        [
            "providers[0].max_tokens: must be at least 1, found 0",
            "providers[0].temperature: must be between 0 and 2, found 2.5",
        ]
    );
    let provider = one(json!({ "max_tokens": 1, "temperature": 2 }));
    assert_eq!((provider.max_tokens, provider.temperature), (Some(1), Some(2.0)));
}

#[test]
fn a_header_that_the_key_is_sent_in_is_refused_beside_a_key() {
    for (kind, header, is_refused) in [
        ("openai", "Authorization", true),
        ("anthropic", "x-api-key", true),
        ("anthropic", "authorization", false),
        ("openai", "x-api-key", false),
    ] {
        let value = with(json!({ "type": kind, "headers": { header: "Bearer sk-mine" } }));
        let said = if is_refused { problems(&value) } else { checked(&value).warnings };
        let expected =
            format!("providers[0].headers.{header}: the key is sent in this header; remove the header, or the key");
        assert_eq!(said, if is_refused { vec![expected] } else { Vec::new() }, "{kind} {header}");
    }
    // Without a key it is how the provider is paid.
    let value = json!({ "providers": [{ "name": "a", "type": "openai-compatible", "model": "m",
        "base_url": "https://a.b", "headers": { "authorization": "Bearer sk-mine" } }] });
    assert_eq!(checked(&value).providers[0].headers.len(), 1);
}

/// The quick start of the package's README.
const QUICK_START: &str = r#"{
  "providers": [
    {
      "name": "groq-primary",
      "type": "groq",
      "api_key": "your-groq-api-key",
      "base_url": "https://api.groq.com/openai/v1",
      "model": "mixtral-8x7b-32768",
      "priority": 1,
      "requests_per_minute": 30,
      "requests_per_day": 1000
    },
    {
      "name": "openai-fallback",
      "type": "openai", 
      "api_key": "your-openai-api-key",
      "base_url": "https://api.openai.com/v1",
      "model": "gpt-4",
      "priority": 2,
      "requests_per_minute": 100,
      "requests_per_day": 5000
    }
  ]
}"#;

/// The commented provider of the same README.
const COMMENTED: &str = r#"{
  "name": "provider-name",          // Unique identifier
  "type": "openai",                 // Provider type
  "api_key": "your-api-key",        // API authentication
  "base_url": "https://api.openai.com/v1",
  "model": "gpt-4",                 // Model to use
  "priority": 1,                    // Selection priority (lower = higher priority)
  
  // Rate limiting
  "requests_per_minute": 100,       // RPM limit
  "requests_per_day": 5000,         // Daily limit
  
  // Circuit breaker
  "circuit_breaker_threshold": 5,   // Failure threshold
  "circuit_breaker_timeout": 60000, // Recovery timeout (ms)
  
  // Request defaults
  "max_tokens": 4096,               // Default max tokens
  "temperature": 0.7,               // Default temperature
  "timeout": 30000,                 // Request timeout (ms)
  
  // Cost tracking (optional)
  "input_token_price": 0.03,        // Cost per 1K input tokens
  "output_token_price": 0.06        // Cost per 1K output tokens
}"#;

#[test]
fn the_quick_start_loads_as_it_stands() {
    let config = Config::load_text(QUICK_START, &Environment::default(), &settings()).expect("documented");
    let [groq, openai] = config.providers.as_slice() else { panic!("{config:?}") };
    assert_eq!(
        (groq.name.as_str(), groq.service.name, groq.model.as_str()),
        ("groq-primary", "groq", "mixtral-8x7b-32768")
    );
    assert_eq!(
        (openai.priority, openai.rate.requests_per_minute, openai.rate.requests_per_day),
        (2, Some(100), Some(5000))
    );
    assert_eq!(openai.keys, [Secret::new("your-openai-api-key")]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_commented_provider_loads_as_it_stands() {
    let text = format!("{{ \"providers\": [{COMMENTED}] }}");
    let config = Config::load_text(&text, &Environment::default(), &settings()).expect("documented");
    let provider = &config.providers[0];
    assert_eq!(
        (provider.max_tokens, provider.temperature, provider.timeout),
        (Some(4096), Some(0.7), Some(ms(30_000)))
    );
    assert_eq!((provider.breaker.threshold, provider.breaker.open_for), (5, ms(60_000)));
    assert!(provider.prices.is_some() && config.warnings.is_empty());
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = checked(&with(json!({})));
    let provider = &config.providers[0];
    assert_eq!((provider.priority, provider.weight, provider.enabled, provider.allow_http), (1, 1, true, false));
    assert_eq!((provider.timeout, provider.max_tokens, provider.temperature), (None, None, None));
    assert_eq!(provider.rate, RateParams::default());
    assert_eq!(provider.breaker, BreakerParams::default());
    assert_eq!(provider.client, ClientParams::default());
    assert_eq!(config.routing.behaviour, Behaviour::Adaptive);
    assert_eq!(config.routing.error_cooldown, Some(ms(60_000)));
    let RoutingConfig { max_retries, backoff, enable_failover, queue_timeout, max_queue, retry_budget, seed, .. } =
        config.routing;
    assert_eq!((max_retries, enable_failover, queue_timeout, max_queue, seed), (3, true, ms(10_000), 10_000, None));
    assert_eq!((backoff, retry_budget), (BackoffParams::default(), RetryBudgetParams::default()));
    let qos = QosConfig {
        max_deadline: ms(600_000),
        hedge: None,
        max_prompt_bytes: 16_777_216,
        max_response_bytes: 33_554_432,
    };
    assert_eq!(config.qos, qos);
    assert_eq!((config.timeout, config.deadline), (ms(30_000), ms(600_000)));
}

#[test]
fn zero_is_kept() {
    let provider = one(json!({
        "priority": 0, "temperature": 0, "timeout": 0, "connect_timeout_ms": 0,
        "connection_idle_timeout_ms": 0, "requests_per_minute": 0, "requests_per_day": 0,
        "tokens_per_minute": 0, "tokens_per_day": 0, "max_concurrent": 0,
        "circuit_breaker_threshold": 0, "circuit_breaker_timeout": 0, "input_token_price": 0, "output_token_price": 0,
        "cached_input_price_per_million": 0, "cache_write_price_per_million": 0
    }));
    assert_eq!((provider.priority, provider.temperature), (0, Some(0.0)));
    assert_eq!((provider.timeout, provider.client.connect_timeout), (Some(ms(0)), ms(0)));
    assert_eq!(provider.client.idle_timeout, ms(0));
    assert_eq!((provider.rate.requests_per_minute, provider.rate.requests_per_day), (Some(0), Some(0)));
    assert_eq!((provider.rate.tokens_per_minute, provider.rate.tokens_per_day), (Some(0), Some(0)));
    assert_eq!(provider.max_concurrent, Some(0));
    assert_eq!((provider.breaker.threshold, provider.breaker.open_for), (0, ms(0)));
    let free = UsdPerToken::per_1k(0.0).map(Rate::from);
    let prices = Prices {
        input: free.clone(),
        output: free.clone(),
        cached: free.clone(),
        cache_write: free,
        ..Prices::default()
    };
    assert_eq!(provider.prices, Some(prices));

    let mut value = with(json!({}));
    merge(
        &mut value,
        json!({
            "routing": { "max_retries": 0, "retry_delay_ms": 0, "max_backoff_ms": 0, "queue_timeout_ms": 0,
                "max_queue": 0, "retry_budget": { "ratio": 0, "per_second": 0, "burst": 0 },
                "breaker": { "max_open_ms": 0 }, "error_cooldown_ms": 0, "seed": 0 },
            "qos": { "max_deadline_ms": 0, "max_prompt_bytes": 0, "max_response_bytes": 0 }
        }),
    );
    let Config { routing, qos, deadline, .. } = checked(&value);
    assert_eq!((routing.max_retries, routing.queue_timeout, routing.max_queue, routing.seed), (0, ms(0), 0, Some(0)));
    assert_eq!((routing.backoff.base, routing.backoff.max), (ms(0), ms(0)));
    assert_eq!(routing.error_cooldown, Some(ms(0)));
    assert_eq!(routing.retry_budget, RetryBudgetParams { ratio: 0.0, per_second: 0.0, burst: 0 });
    assert_eq!((qos.max_deadline, qos.max_prompt_bytes, qos.max_response_bytes, deadline), (ms(0), 0, 0, ms(0)));
}

#[test]
fn null_is_no_limit_and_otherwise_not_said() {
    let provider = one(json!({
        "timeout": null, "connect_timeout_ms": null, "circuit_breaker_threshold": null, "requests_per_minute": null,
        "priority": null, "headers": null, "api_keys": null, "base_url": null, "proxy": null
    }));
    assert_eq!((provider.timeout, provider.client.connect_timeout), (Some(UNLIMITED), UNLIMITED));
    assert_eq!((provider.breaker.threshold, provider.rate.requests_per_minute, provider.priority), (0, None, 1));
    let mut value = with(json!({}));
    merge(
        &mut value,
        json!({ "routing": { "max_queue": null, "breaker": null, "error_cooldown_ms": null }, "qos": { "max_deadline_ms": null } }),
    );
    let config = checked(&value);
    assert_eq!((config.routing.max_queue, config.qos.max_deadline), (usize::MAX, UNLIMITED));
    assert_eq!(config.routing.error_cooldown, None);
}

// === what is refused ===

#[test]
fn every_mistake_is_a_problem_with_its_path_and_place() {
    let text = r#"{
      "providers": [
        { "name": "a", "type": "opnai", "model": "m", "api_key": "k" },
        { "name": "a", "type": "openai", "api_key": "k", "timeout": "fast" },
        { "name": "b", "type": "openai-compatible", "model": "m", "base_url": "http://10.0.0.1/v1", "prioritiy": 2 },
      ],
    }"#;
    let problems = problems_of(Config::load_text(text, &environment(), &settings()));
    let types = crate::adapter::services().iter().map(|service| service.name).collect::<Vec<_>>().join(", ");
    assert_eq!(
        problems,
        [
            &format!(
                "providers[0].type: unknown type \"opnai\", expected one of {types}; did you mean \"openai\"? \
                 (line 3, column 24)"
            ),
            "providers[1].model: is missing; expected a string (line 4, column 9)",
            "providers[1].name: this name is taken by providers[0]; names are unique (line 4, column 11)",
            "providers[1].timeout: expected a whole number of milliseconds, found the string \"fast\" \
             (line 4, column 58)",
            "providers[2].base_url: expected https, found http to another host than this machine, which would send the \
             key and the messages unencrypted; allow_http: true permits it for a private network (line 5, column 67)",
            "providers[2].prioritiy: unknown key; did you mean \"priority\"? (line 5, column 101)",
        ]
    );
}

#[test]
fn an_unknown_key_finds_its_neighbour_or_its_section() {
    let mut value = with(json!({ "apiKey": "x", "flavour": 1 }));
    merge(&mut value, json!({ "max_retries": 1, "routing": { "max_retry": 1 }, "provider": [] }));
    assert_eq!(
        problems(&value),
        [
            "max_retries: unknown key; it belongs in routing",
            "provider: unknown key; did you mean \"providers\"?",
            "providers[0].apiKey: unknown key; did you mean \"api_key\"?",
            "providers[0].flavour: unknown key",
            "routing.max_retry: unknown key; did you mean \"max_retries\"?",
        ]
    );
}

#[test]
fn a_configuration_is_an_object_with_providers() {
    assert_eq!(problems(&json!([])), ["expected an object, found a list"]);
    assert_eq!(problems(&json!({})), ["providers: is missing; expected a list"]);
    assert_eq!(
        problems(&json!({ "providers": [] })),
        ["providers: expected at least one provider, found an empty list"]
    );
    assert_eq!(problems(&json!({ "providers": {} })), ["providers: expected a list, found an object"]);
    assert_eq!(
        problems(&json!({ "providers": ["a", null] })),
        ["providers[0]: expected an object, found a string", "providers[1]: expected an object, found null"]
    );
}

#[test]
fn a_key_comes_from_exactly_one_place() {
    let keys = |changes: Value| {
        let mut provider = json!({ "name": "a", "type": "openai", "model": "m" });
        merge(&mut provider, changes);
        json!({ "providers": [provider] })
    };
    let config = checked(&keys(json!({ "api_keys": ["k1", "${KEY}"] })));
    assert_eq!(config.providers[0].keys, [Secret::new("k1"), Secret::new("sk-from-environment")]);
    for (changes, path) in [
        (json!({}), "providers[0].api_key: is missing"),
        (json!({ "api_key": null }), "providers[0].api_key: is missing"),
        (json!({ "api_key": "k", "api_keys": ["l"] }), "providers[0].api_keys: api_key is set too"),
        (json!({ "api_key": "" }), "providers[0].api_key: the key is empty"),
        (json!({ "api_key": "Bearer k" }), "providers[0].api_key: expected the key alone"),
        (json!({ "api_keys": [] }), "providers[0].api_keys: expected at least one"),
        (json!({ "api_keys": ["k", "k\n", "k"] }), "providers[0].api_keys[1]: expected the key alone"),
        (json!({ "api_keys": ["k", "l", "k"] }), "providers[0].api_keys[2]: this key is in the list"),
    ] {
        let problems = problems(&keys(changes));
        assert!(problems[0].starts_with(path), "{path}: {problems:?}");
    }
}

#[test]
fn a_service_without_a_key_needs_an_address() {
    let local = |url: Value| {
        let provider = json!({ "name": "a", "type": "openai-compatible", "model": "m", "base_url": url });
        json!({ "providers": [provider] })
    };
    assert!(problems(&local(json!(null)))[0].starts_with("providers[0].base_url: is missing"));
    assert_eq!(problems(&local(json!(5))), ["providers[0].base_url: expected a string, found the number 5"]);
    assert!(checked(&local(json!("http://localhost:8000/v1"))).providers[0].keys.is_empty());
}

#[test]
fn an_ollama_on_this_machine_needs_neither_key_nor_address() {
    let config = checked(&json!({ "providers": [{ "name": "a", "type": "ollama", "model": "m" }] }));
    assert!(config.providers[0].keys.is_empty() && config.providers[0].base_url.is_none());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    for name in ["gemini", "cohere"] {
        let missing = problems(&json!({ "providers": [{ "name": "a", "type": name, "model": "m" }] }));
        assert!(missing[0].starts_with("providers[0].api_key"), "{missing:?}");
    }
}

#[test]
fn plain_http_is_for_this_machine_or_on_request() {
    for url in ["http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:1"] {
        assert_eq!(one(json!({ "base_url": url })).base_url.as_deref(), Some(url));
    }
    assert_eq!(problems(&with(json!({ "base_url": "http://${HOST}/v1" }))).len(), 1);
    let config = checked(&with(json!({ "base_url": "http://${HOST}/v1", "allow_http": true })));
    assert_eq!(config.providers[0].base_url.as_deref(), Some("http://models.example.com/v1"));
    assert_eq!(config.warnings, ["providers[0].base_url: the key is sent unencrypted"]);
}

#[test]
fn a_missing_variable_is_named_with_the_path_of_its_key() {
    let value = with(json!({ "model": "${MODEL}", "headers": { "X-A": "${A}" }, "models": { "fast": "${KEY" } }));
    assert_eq!(
        problems(&value),
        [
            "providers[0].model: the environment variable MODEL is not set",
            "providers[0].models.fast: \"${\" is never closed; write \"$${\" for the two characters themselves",
            "providers[0].headers.X-A: the environment variable A is not set",
        ]
    );
    let provider = one(json!({ "model": "${MODEL:-small}", "api_key": "${KEY}" }));
    assert_eq!((provider.model.as_str(), provider.keys[0].expose()), ("small", "sk-from-environment"));
}

#[test]
fn headers_are_what_http_can_carry() {
    let provider = one(json!({ "headers": { "X-Team": "a b", "x-empty": "" } }));
    assert_eq!(provider.headers, [("X-Team".to_owned(), "a b".to_owned()), ("x-empty".to_owned(), String::new())]);
    let problems = problems(&with(json!({ "headers": { "X-A": "1", "x-a": "2", "b c": "3", "X-N": "\n", "X-Z": 1 } })));
    let paths: Vec<_> = problems.iter().map(|problem| problem.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        paths,
        [
            "providers[0].headers.X-Z",
            "providers[0].headers.x-a",
            "providers[0].headers[\"b c\"]",
            "providers[0].headers.X-N"
        ]
    );
}

#[test]
fn numbers_out_of_range_are_refused_under_their_own_key() {
    let mut value = with(json!({ "temperature": -1, "input_token_price": 5000, "output_token_price": 1 }));
    merge(
        &mut value,
        json!({ "routing": { "behaviour": "adaptiv", "backoff_multiplier": 0.5,
        "retry_budget": { "ratio": 1000 }, "breaker": { "failure_ratio": 2, "window_s": 0, "min_calls": 0 } } }),
    );
    let problems = problems(&value);
    for expected in [
        "providers[0].temperature: expected a number, 0 or more, found the number -1",
        "providers[0].input_token_price: must be USD per 1,000 tokens, from 0 to 1000",
        "routing.behaviour: expected one of failover, distribute, combination, weighted, adaptive, found \"adaptiv\"; \
         did you mean \"adaptive\"?",
        "routing.backoff_multiplier: must be a number from 1 to 100, found 0.5",
        "routing.retry_budget.ratio: must be a number from 0 to 100, found 1000",
        "routing.breaker.failure_ratio: must be above 0 and at most 1, found 2",
        "routing.breaker.window_s: must be above 0, found 0",
        "routing.breaker.min_calls: must be at least 1, found 0",
    ] {
        assert!(problems.iter().any(|problem| problem == expected), "{expected}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 8);
}

#[test]
fn a_hedge_goes_out_after_a_time_or_a_percentile() {
    let hedge = |qos: Value| {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "qos": qos }));
        value
    };
    let after = |sample: Value| {
        let config = checked(&hedge(json!({ "hedge": true, "hedge_after_ms": sample })));
        config.qos.hedge.expect("on").after
    };
    assert_eq!(after(json!(null)), HedgeAfter::Fixed(ms(300)));
    assert_eq!(after(json!(0)), HedgeAfter::Fixed(ms(0)));
    assert_eq!(after(json!("p95")), HedgeAfter::P95);
    assert_eq!(
        problems(&hedge(json!({ "hedge_after_ms": "p99", "hedge_budget": 2 }))),
        [
            "qos.hedge_after_ms: expected a whole number of milliseconds or \"p95\", found the string \"p99\"",
            "qos.hedge_budget: must be a number from 0 to 1, found 2",
        ]
    );
}

#[test]
fn a_check_takes_time_and_so_does_its_pause() {
    let mut value = with(json!({}));
    let health = json!({ "active": true, "interval_ms": 0, "timeout_ms": 0, "failures": 0 });
    merge(&mut value, json!({ "health": health }));
    let said = "must be at least 1, found 0; active: false checks nothing";
    assert_eq!(problems(&value), ["interval_ms", "timeout_ms", "failures"].map(|key| format!("health.{key}: {said}")));
    let HealthConfig { active, interval, timeout, failures } = checked(&with(json!({}))).health;
    assert_eq!((active, interval, timeout, failures), (false, ms(30_000), ms(5000), 2));
}

// === what is kept quiet ===

#[test]
fn no_secret_is_shown_by_a_configuration() {
    let config = checked(&with(json!({
        "api_key": "sk-secret", "headers": { "Proxy-Authorization": "Basic secret" }, "proxy": "http://user:secret@proxy:1",
        "base_url": "https://a.b/v1?key=secret"
    })));
    for shown in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("Proxy-Authorization") && shown.contains("https://a.b/v1"), "{shown}");
    }
    assert_eq!(config.providers[0].headers[0].1, "Basic secret");
}

#[test]
fn no_secret_is_shown_by_a_problem_or_a_warning() {
    let environment = Environment::from_map([("KEY", "sk-secret"), ("HTTP_PROXY", "gopher://u:secret@p")]);
    for changes in [
        json!({ "api_key": ["sk-secret"], "api_keys": "sk-secret" }),
        json!({ "api_key": "sk-secret ", "headers": "sk-secret" }),
        json!({ "api_keys": ["sk-secret", "sk-secret", 5] }),
        json!({ "headers": { "a": "sk-secret\n", "b": ["sk-secret"] } }),
        json!({ "base_url": "sk-secret" }),
        json!({ "base_url": "http://u:secret@a.b?key=secret" }),
        json!({ "base_url": "http://u:secret@a.b", "allow_http": true }),
        json!({ "proxy": "ftp://u:secret@p" }),
        json!({ "proxy": "http://u:secret@[" }),
        json!({ "type": "${KEY}", "priority": "${KEY}", "enabled": ["sk-secret"] }),
        json!({ "name": { "sk": "sk-secret" }, "models": ["sk-secret"] }),
        json!({ "unknown": "sk-secret" }),
    ] {
        let text =
            problems_of(Config::load_text(&with(changes.clone()).to_string(), &environment, &settings())).concat();
        assert!(!text.contains("secret"), "{changes}: {text}");
    }
    let problems = problems(&json!({ "providers": [], "routing": { "behaviour": "${KEY}" } }));
    assert!(!problems.concat().contains("sk-from-environment"), "{problems:?}");
}

#[test]
fn what_a_file_should_hold_is_not_shown_where_its_path_belongs() {
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\nsecret\n-----END PRIVATE KEY-----\n";
    let file = std::env::temp_dir().join(format!("llmpool-key-{}.pem", std::process::id()));
    std::fs::write(&file, PEM).expect("a file");
    let environment = Environment::from_map([("PEM", PEM), ("BARE", "c2VjcmV0/secret"), ("DIR", "/no/secret")]);
    let reference = format!("${{file:{}}}", file.display());
    let mut told = Vec::new();
    for value in [PEM, "-----BEGIN secret", "c2VjcmV0secret", "${PEM}", "${BARE}", "${DIR}/tls.key", &reference] {
        let mut tell = |config: Value| {
            let config = config.to_string();
            told.push(problems_of(Config::load_text(&config, &environment, &settings())).concat());
        };
        for tls in [
            json!({ "cert": value, "key": "/no/such/key" }),
            json!({ "cert": "/no/such/cert", "key": value }),
            json!({ "cert": "/no/such/cert", "key": "/no/such/key", "client_ca": value }),
        ] {
            let mut config = with(json!({}));
            config["server"] = json!({ "tls": tls });
            tell(config);
        }
        let mut config = with(json!({}));
        config["tasks"] = json!({ "t": { "prompt": value, "schema": value } });
        tell(config);
        // The others could be paths.
        if !["c2VjcmV0secret", "${DIR}/tls.key"].contains(&value) {
            tell(with(json!({ "ca_file": value })));
            tell(with(json!({ "tokenizer": value })));
        }
    }
    std::fs::remove_file(&file).expect("removed");
    for told in &told {
        assert!(!told.contains("secret") && !told.contains("c2Vj"), "{told}");
        assert!(told.contains("expected the path of a file") || told.contains("does not exist"), "{told}");
    }
    assert!(told.iter().any(|told| told.contains("${DIR}/tls.key: this file does not exist")), "{told:?}");
    let files = TlsFiles { cert: "/no/such/cert".into(), key: PEM.into(), client_ca: None };
    let Err(problem) = TlsConfig::read(&TlsFiles { cert: PEM.into(), ..files }) else { panic!("no file") };
    assert_eq!(problem.message, "expected the path of a file, found something else");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let value = with(json!({ "input_token_price": 2.5, "enabled": false }));
    assert_eq!(
        checked(&value).warnings,
        [
            "providers[0].input_token_price: 2.5 USD per 1,000 tokens looks like a price per million",
            "providers[0].output_token_price: is missing while another price is set; costs will be unknown",
            "providers: no provider is enabled",
        ]
    );
}

// === models ===

#[test]
fn a_model_is_a_name_or_says_what_is_known_of_it() {
    let provider = one(json!({
        "context_window": 8000, "capabilities": [],
        "models": { "fast": "n", "long": { "model": "o", "context_window": null, "capabilities": ["vision", "tools"] } }
    }));
    let endpoint = Endpoint::new(provider.endpoint_params()).expect("valid");
    assert_eq!((endpoint.facts("m").context_window, endpoint.facts("n").context_window), (Some(8000), Some(8000)));
    assert_eq!(endpoint.facts("o").context_window, Some(u64::MAX));
    assert_eq!(endpoint.facts("o").can.to_string(), "tools, vision");
    assert!(endpoint.facts("n").can.is_empty());

    // What is said of the provider's own model under an alias holds without the alias, too.
    let provider = one(json!({ "models": { "x": { "model": "m", "context_window": 7 } } }));
    let endpoint = Endpoint::new(provider.endpoint_params()).expect("valid");
    assert_eq!(endpoint.facts("m").context_window, Some(7));
}

#[test]
fn what_is_said_of_a_model_is_checked() {
    let known = "chat, embeddings, tools, parallel_tools, json_schema, vision, audio, files";
    assert_eq!(
        problems(&with(json!({
            "capabilities": ["visoin", 5], "context_window": -1,
            "models": { "a": {}, "b": { "model": "n", "window": 5 }, "c": 5 }
        }))),
        [
            "providers[0].models.b.window: unknown key".to_owned(),
            "providers[0].models.c: expected a string or an object, found a number".to_owned(),
            "providers[0].context_window: expected a whole number, 0 or more, found the number -1".to_owned(),
            "providers[0].capabilities[1]: expected a string, found the number 5".to_owned(),
            "providers[0].models.a.model: is missing; expected a string".to_owned(),
            format!(
                "providers[0].capabilities[0]: expected one of {known}, found \"visoin\"; did you mean \"vision\"?"
            ),
        ]
    );
}

// === what goes over what ===

#[test]
fn an_option_goes_over_the_configuration_and_that_over_the_default() {
    let mut value = with(json!({ "timeout": 7 }));
    merge(
        &mut value,
        json!({ "routing": { "max_retries": 5, "retry_delay_ms": 50 }, "qos": { "max_deadline_ms": 5000 } }),
    );
    let load = |settings: &Settings| Config::load_value(&value, &environment(), settings).expect("valid");

    let config = load(&settings());
    assert_eq!((config.routing.max_retries, config.routing.backoff.base), (5, ms(50)));
    assert_eq!((config.timeout, config.deadline), (ms(30_000), ms(5000)));

    let over = Settings {
        max_retries: Some(0),
        retry_delay: Some(ms(0)),
        timeout: ms(9),
        deadline: Some(ms(60)),
        ..settings()
    };
    let config = load(&over);
    assert_eq!((config.routing.max_retries, config.routing.backoff.base), (0, ms(0)));
    assert_eq!((config.timeout, config.deadline, config.providers[0].timeout), (ms(9), ms(60), Some(ms(7))));

    let config = load(&Settings { deadline: Some(ms(6000)), ..settings() });
    assert_eq!(config.deadline, ms(5000));
    assert_eq!(config.warnings, ["deadline: 6000 ms is above qos.max_deadline_ms and was cut to 5000 ms"]);
}

#[test]
fn a_price_is_per_thousand_or_per_million_and_never_both() {
    let per_1k = one(json!({ "input_token_price": 0.0025, "output_token_price": 0.01 })).prices;
    let per_million = one(json!({ "input_price_per_million": 2.5, "output_price_per_million": 10 })).prices;
    assert!(per_1k.is_some());
    assert_eq!(per_1k, per_million);
    assert_eq!(one(json!({})).prices, None);
    assert_eq!(
        problems(&with(json!({ "input_token_price": 1, "input_price_per_million": 1, "output_token_price": 1 }))),
        ["providers[0].input_price_per_million: the price per 1,000 tokens is set too; expected one of the two"]
    );
    assert_eq!(
        problems(&with(json!({ "cache_write_price_per_million": 2e6 }))),
        ["providers[0].cache_write_price_per_million: must be USD per million tokens, from 0 to 1000000"]
    );
}

#[test]
fn a_deployment_is_addressed_with_a_version_and_by_one_type_only() {
    let azure = |changes: Value| {
        let mut value = with(json!({ "type": "azure", "base_url": "https://r.openai.azure.com" }));
        merge(value.pointer_mut("/providers/0").expect("one"), changes);
        value
    };
    let provider = checked(&azure(json!({ "deployment": "d", "api_version": "2024-10-21" }))).providers.remove(0);
    let endpoint = Endpoint::new(provider.endpoint_params()).expect("valid");
    assert_eq!(
        endpoint.chat_url("m", false).as_str(),
        "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"
    );
    for (value, path) in [
        (azure(json!({ "deployment": "d" })), "providers[0].api_version: is missing"),
        (azure(json!({ "base_url": null })), "providers[0].base_url: is missing"),
        (with(json!({ "deployment": "d" })), "providers[0].deployment: openai has no such setting"),
        (with(json!({ "api_version": "v" })), "providers[0].api_version: openai has no such setting"),
    ] {
        let problems = problems(&value);
        assert!(problems.len() == 1 && problems[0].starts_with(path), "{problems:?}");
    }
}

#[test]
fn params_are_named_as_a_request_has_them() {
    let params = one(json!({ "allow_params": ["temperature", "logit_bias"], "omit_params": ["user"] })).params;
    assert_eq!((params.allow, params.omit), (vec!["temperature".into(), "logit_bias".into()], vec!["user".into()]));
    assert_eq!(
        problems(&with(json!({ "allow_params": ["temprature"], "omit_params": ["messages", 7] }))),
        [
            "providers[0].omit_params[1]: expected a string, found the number 7",
            "providers[0].allow_params[0]: expected a field that a request can go without, found \"temprature\"; did you mean \"temperature\"?",
            "providers[0].omit_params[0]: expected a field that a request can go without, found \"messages\"",
        ]
    );
}

#[test]
fn a_day_begins_where_the_provider_is() {
    assert_eq!(one(json!({})).rate.day_zone, DayZone::default());
    assert_eq!(one(json!({ "day_timezone": "utc" })).rate.day_zone, DayZone::default());
    let pacific = one(json!({ "day_timezone": "America/Los_Angeles" })).rate.day_zone;
    assert_eq!(Some(&pacific), DayZone::named("America/Los_Angeles").as_ref());
    assert_ne!(pacific, DayZone::default());
    assert_eq!(
        problems(&with(json!({ "day_timezone": "Pacific" }))),
        ["providers[0].day_timezone: there is no time zone \"Pacific\"; one is named like \"America/Los_Angeles\""]
    );
}

#[test]
fn hosts_of_media_are_hosts() {
    let of = |hosts: Value| {
        let mut config = with(json!({}));
        merge(&mut config, json!({ "media": { "allow_hosts": hosts } }));
        config
    };
    let hosts = checked(&of(json!(["images.internal.", "10.0.0.1", "[::1]"]))).media.params.allow_hosts;
    assert_eq!(hosts, ["images.internal", "10.0.0.1", "[::1]"]);
    let found = problems(&of(json!(["https://images.internal", "a b", ""])));
    assert_eq!(
        found,
        [
            "media.allow_hosts[2]: expected a string, found an empty one",
            "media.allow_hosts[0]: expected the name or address of a host, without scheme and port, found \"https://images.internal\"",
            "media.allow_hosts[1]: expected the name or address of a host, without scheme and port, found \"a b\"",
        ]
    );
}

#[test]
fn a_pool_has_slots_unless_it_says_that_it_has_no_limit() {
    let slots = |routing: Value| {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "routing": routing }));
        load(&value).map(|config| config.routing.max_concurrent)
    };
    assert_eq!(slots(json!({})).expect("default"), Some(256));
    assert_eq!(slots(json!({ "max_concurrent": 1 })).expect("one"), Some(1));
    assert_eq!(slots(json!({ "max_concurrent": null })).expect("none"), None);
    let none = slots(json!({ "max_concurrent": 0 })).expect_err("nothing would ever be sent");
    assert!(none.to_string().contains("routing.max_concurrent: must be at least 1"), "{none}");
}

#[test]
fn unsupported_params_is_one_of_two_words() {
    assert!(!one(json!({ "unsupported_params": "warn" })).strict_params);
    assert!(one(json!({ "unsupported_params": "error" })).strict_params);
    assert_eq!(
        problems(&with(json!({ "unsupported_params": "eror" }))),
        ["providers[0].unsupported_params: expected \"warn\" or \"error\", found \"eror\"; did you mean \"error\"?"]
    );
}

// === rows of the failure table ===

fn with_rows(rows: Value) -> Value {
    let provider = |name: &str, kind: &str| json!({ "name": name, "type": kind, "model": "m", "api_key": "k" });
    json!({ "providers": [provider("a", "openai"), provider("b", "groq")], "failures": rows })
}

#[test]
fn a_row_goes_to_the_providers_it_is_about_in_the_order_written() {
    let config = checked(&with_rows(json!([
        { "type": "groq", "code": "Out_Of_Luck", "class": "overloaded" },
        { "provider": "a", "status": 403, "message": "No Credits", "class": "quota_exhausted" },
        { "status": 418, "class": "permission" },
    ])));
    let row = |status, code: Option<&str>, message: Option<&str>, class| FailureRow {
        status,
        code: code.map(str::to_owned),
        message: message.map(str::to_owned),
        class,
    };
    let teapot = row(Some(418), None, None, FailureClass::Permission);
    let credits = row(Some(403), None, Some("no credits"), FailureClass::QuotaExhausted);
    assert_eq!(config.providers[0].failure_rows, [credits, teapot.clone()]);
    assert_eq!(
        config.providers[1].failure_rows,
        [row(None, Some("out_of_luck"), None, FailureClass::Overloaded), teapot]
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_row_that_cannot_be_meant_is_refused() {
    let names = FailureClass::ALL.map(FailureClass::as_str).join(", ");
    assert_eq!(
        problems(&with_rows(json!([
            { "type": "groq", "class": "overloaded" },
            { "status": 200, "class": "quota_exausted" },
            { "provider": "c", "status": 99999, "class": "auth" },
            { "code": "", "class": null },
            { "status": 400, "klass": "auth", "class": "auth" },
            { "type": "grok", "status": 400, "class": "auth" },
        ])))
        .into_iter()
        .map(|problem| problem.replace(&names, "…"))
        .collect::<Vec<_>>(),
        [
            "failures[3].code: expected a string, found an empty one",
            "failures[4].klass: unknown key; did you mean \"class\"?",
            "failures[0]: would match everything that goes wrong; expected at least one of status, code, message",
            "failures[1].status: expected an HTTP status from 300 to 599, found 200",
            "failures[1].class: unknown class \"quota_exausted\", expected one of …; did you mean \"quota_exhausted\"?",
            "failures[2].provider: there is no provider \"c\"",
            "failures[2].status: expected an HTTP status from 300 to 599, found 99999",
            "failures[3].class: is missing; expected a string",
            &format!(
                "failures[5].type: unknown type \"grok\", expected one of {}; did you mean \"groq\"?",
                crate::adapter::services().iter().map(|service| service.name).collect::<Vec<_>>().join(", ")
            ),
        ]
    );
    let config = checked(&with_rows(json!([{ "type": "cohere", "status": 400, "class": "auth" }])));
    assert_eq!(config.warnings, ["failures[0]: no provider is meant by it"]);
}

#[test]
fn on_content_filter_is_one_of_two_words() {
    let routing = |word: &str| {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "routing": { "on_content_filter": word } }));
        value
    };
    assert!(!checked(&with(json!({}))).routing.failover_on_content_filter);
    assert!(!checked(&routing("throw")).routing.failover_on_content_filter);
    assert!(checked(&routing("failover")).routing.failover_on_content_filter);
    assert_eq!(
        problems(&routing("fail-over")),
        ["routing.on_content_filter: expected \"throw\" or \"failover\", found \"fail-over\"; \
             did you mean \"failover\"?"]
    );
}

#[test]
fn a_providers_own_proxy_replaces_the_environments_and_its_certificates_are_added() {
    let environment = Environment::from_map([
        ("https_proxy", "http://corp:1"),
        ("NO_PROXY", "localhost"),
        ("NODE_EXTRA_CA_CERTS", "/corp.pem"),
        ("SSL_CERT_FILE", "/all.pem"),
    ]);
    let client = |changes| {
        let config = Config::load_value(&with(changes), &environment, &settings()).expect("valid");
        config.providers.into_iter().next().expect("one").client
    };
    let inherited = client(json!({}));
    assert_eq!(inherited.proxy.https.as_deref(), Some("http://corp:1"));
    assert_eq!(inherited.only_roots, Some(PathBuf::from("/all.pem")));
    let own = client(json!({ "proxy": "socks5://mine:2", "ca_file": "/mine.pem" }));
    assert_eq!((own.proxy.all.as_deref(), own.proxy.https, own.proxy.no_proxy), (Some("socks5://mine:2"), None, None));
    assert_eq!(own.extra_roots, [PathBuf::from("/corp.pem"), PathBuf::from("/mine.pem")]);
}

#[test]
fn no_breaker_for_the_pool_is_no_breaker_for_a_provider() {
    let mut value = with(json!({ "circuit_breaker_threshold": 7 }));
    merge(&mut value, json!({ "routing": { "breaker": { "failure_ratio": 0.9, "window_s": 5, "min_calls": 3 } } }));
    let breaker = checked(&value).providers.remove(0).breaker;
    assert_eq!((breaker.threshold, breaker.failure_ratio, breaker.window, breaker.min_calls), (7, 0.9, ms(5000), 3));
    merge(&mut value, json!({ "routing": { "enable_circuit_breaker": false } }));
    assert_eq!(checked(&value).providers[0].breaker.threshold, 0);
}

// === nothing is accepted and inert ===

/// A key set to `value` must give another configuration than without it.
fn assert_all_count(known: &[&str], base: &Value, pointer: &str, samples: Value) {
    let Value::Object(samples) = samples else { panic!("an object of samples") };
    let missing: Vec<_> = known.iter().filter(|key| !samples.contains_key(**key)).collect();
    assert!(missing.is_empty(), "no sample for {missing:?}");
    for (key, sample) in samples {
        let mut value = base.clone();
        if key == "api_keys" && known.contains(&"api_key") {
            merge(value.pointer_mut(pointer).expect("the section"), json!({ "api_key": null }));
        }
        merge(value.pointer_mut(pointer).expect("the section"), json!({ &key: sample }));
        assert_ne!(checked(&value), checked(base), "{key} changes nothing");
    }
}

#[test]
fn every_key_makes_a_difference() {
    let base = json!({
        "providers": [{ "name": "a", "type": "openai", "model": "m", "base_url": "https://a.b", "api_key": "j" }],
        "routing": { "retry_budget": {}, "breaker": {} }, "qos": { "hedge": true }, "media": {}, "health": {}, "cache": {},
        "server": {}, "ensemble": { "judge": {} }, "tasks": { "t": {} }, "tenants": [{ "id": "a", "rps": 1 }]
    });
    // Only one type takes these.
    const DEPLOYMENTS: &[&str] = &["deployment", "api_version"];
    let azure = json!({ "providers": [{ "name": "a", "type": "azure", "model": "m", "api_key": "j",
        "base_url": "https://r.openai.azure.com?api-version=2024-10-21", "deployment": "d" }] });
    let samples = json!({ "deployment": "e", "api_version": "2025-01-01" });
    assert_all_count(DEPLOYMENTS, &azure, "/providers/0", samples);
    let provider: Vec<_> = RawProvider::KEYS.iter().copied().filter(|key| !DEPLOYMENTS.contains(key)).collect();
    assert_all_count(
        &provider,
        &base,
        "/providers/0",
        json!({
            "name": "b", "type": "openai-compatible", "model": "n", "models": { "x": "y" }, "context_window": 5,
            "capabilities": ["tools"], "api_key": "k", "api_keys": ["k", "l"], "base_url": "https://c.d",
            "allow_http": true, "priority": 2, "weight": 2, "enabled": false, "tasks": ["t"],
            "headers": { "x-a": "b" }, "organization": "o", "project": "p", "max_tokens": 5, "temperature": 1, "extra_body": { "x": 1 },
            "unsupported_params": "error", "allow_params": ["seed"], "omit_params": ["seed"],
            "timeout": 5,
            "connect_timeout_ms": 5, "first_byte_timeout_ms": 5, "first_content_timeout_ms": 5,
            "content_idle_timeout_ms": 5, "connection_idle_timeout_ms": 5,
            "max_connections": 5, "warm": true, "requests_per_minute": 5, "requests_per_day": 5,
            "tokens_per_minute": 5, "tokens_per_day": 5, "day_timezone": "Asia/Tokyo", "max_concurrent": 5,
            "circuit_breaker_threshold": 2, "circuit_breaker_timeout": 5, "input_token_price": 0.1,
            "output_token_price": 0.1, "input_price_per_million": 5, "output_price_per_million": 5,
            "cached_input_price_per_million": 5, "cache_write_price_per_million": 5, "budget": { "daily_usd": 5 },
            "tokenizer": "cl100k_base", "proxy": "p:1", "ca_file": "f.pem"
        }),
    );
    let mut served = base.clone();
    merge(served.pointer_mut("/providers/0").expect("one"), json!({ "models": { "x": { "model": "y" } } }));
    let prices = json!({ "input_token_price": 0.1, "output_token_price": 0.1, "input_price_per_million": 5,
        "output_price_per_million": 5, "cached_input_price_per_million": 5, "cache_write_price_per_million": 5 });
    let samples = json!({ "model": "z", "context_window": 5, "capabilities": ["tools"],
        "prices": { "input_token_price": 0.1 } });
    assert_all_count(RawModel::KEYS, &served, "/providers/0/models/x", samples);
    merge(served.pointer_mut("/providers/0/models/x").expect("one"), json!({ "prices": {} }));
    assert_all_count(RawPrices::KEYS, &served, "/providers/0/models/x/prices", prices);
    let budgets = json!({ "daily_usd": 6, "monthly_usd": 5, "mode": "strict", "on_unknown_price": "allow", "warn_at": 0.5,
        "timezone": "Asia/Tokyo" });
    for at in ["", "/providers/0"] {
        let mut limited = base.clone();
        merge(limited.pointer_mut(at).expect("it"), json!({ "budget": { "daily_usd": 5 } }));
        assert_all_count(RawBudget::KEYS, &limited, &format!("{at}/budget"), budgets.clone());
    }
    assert_all_count(
        RawRouting::KEYS,
        &base,
        "/routing",
        json!({
            "behaviour": "weighted", "max_retries": 4, "retry_delay_ms": 5, "backoff_multiplier": 3, "max_backoff_ms": 5,
            "enable_failover": false,
            "enable_circuit_breaker": false, "max_concurrent": 5, "queue_timeout_ms": 5, "max_queue": 5, "retry_budget": { "burst": 1 },
            "breaker": { "min_calls": 5 }, "seed": 5, "on_content_filter": "failover", "error_cooldown_ms": 5
        }),
    );
    assert_all_count(
        RawRetryBudget::KEYS,
        &base,
        "/routing/retry_budget",
        json!({ "ratio": 1, "per_second": 2, "burst": 3 }),
    );
    assert_all_count(
        RawBreaker::KEYS,
        &base,
        "/routing/breaker",
        json!({
            "failure_ratio": 0.1, "window_s": 5, "min_calls": 5, "max_open_ms": 5
        }),
    );
    assert_all_count(
        RawQos::KEYS,
        &base,
        "/qos",
        json!({
            "max_deadline_ms": 5, "hedge": false, "hedge_after_ms": "p95", "hedge_budget": 0.5, "max_prompt_bytes": 5, "max_response_bytes": 5
        }),
    );
    let mut base = base;
    merge(&mut base, json!({ "failures": [{ "status": 418, "code": "e", "message": "m", "class": "auth" }] }));
    merge(base.pointer_mut("/providers").and_then(|list| list.get_mut(0)).expect("one"), json!({ "name": "b" }));
    base["providers"]
        .as_array_mut()
        .expect("a list")
        .push(json!({ "name": "a", "type": "groq", "model": "m", "base_url": "https://a.b", "api_key": "j" }));
    assert_all_count(
        RawFailure::KEYS,
        &base,
        "/failures/0",
        json!({
            "type": "groq", "provider": "b", "status": 419, "code": "f", "message": "n", "class": "permission"
        }),
    );
    assert_all_count(
        RawMedia::KEYS,
        &base,
        "/media",
        json!({ "fetch": true, "max_bytes": 5, "timeout_ms": 5, "allow_hosts": ["images.internal"] }),
    );
    assert_all_count(
        RawHealth::KEYS,
        &base,
        "/health",
        json!({ "active": true, "interval_ms": 5, "timeout_ms": 5, "failures": 5 }),
    );
    assert_all_count(
        RawCache::KEYS,
        &base,
        "/cache",
        json!({ "enabled": true, "ttl_seconds": 5, "max_entries": 5, "max_bytes": 5, "max_entry_bytes": 5 }),
    );
    assert_all_count(
        RawServer::KEYS,
        &base,
        "/server",
        json!({
            "http": "127.0.0.1:0", "grpc": "127.0.0.1:0", "api_keys": ["k"],
            "jwt": { "alg": "HS256", "key": SECRET }, "hmac": { "clients": [{ "id": "c", "secret": SECRET }] },
            "tls": { "cert": fixture("mtls/server.pem"), "key": fixture("mtls/server.key") }, "insecure": true, "max_body_bytes": 5, "header_timeout_ms": 5,
            "body_timeout_ms": 5, "write_timeout_ms": 5, "max_connections": 5, "drain_timeout_ms": 5, "cors_origins": ["https://a.b"]
        }),
    );
    every_key_of_callers_makes_a_difference(&base);
    assert_all_count(
        RawEnsemble::KEYS,
        &base,
        "/ensemble",
        json!({
            "default_strategy": "VOTING", "max_parallel": 5, "min_successes": 2, "agreement": 0.5, "similarity": 0.5,
            "hedge_after_ms": 5, "judge": { "max_tokens": 5 }
        }),
    );
    assert_all_count(
        RawJudge::KEYS,
        &base,
        "/ensemble/judge",
        json!({ "provider": "a", "model": "n", "deadline_share": 0.5, "max_tokens": 5 }),
    );
    let folder = TaskFiles::new("samples");
    assert_all_count(
        RawTask::KEYS,
        &base,
        "/tasks/t",
        json!({
            "strategy": "JUDGE", "providers": ["a"], "max_tokens": 5, "deadline_ms": 5, "cache_ttl_seconds": 5,
            "prompt": folder.file("p.md", "Do {{prompt}}"), "schema": folder.file("s.json", "{ \"type\": \"object\" }"),
            "enabled": false
        }),
    );
    assert_all_count(
        RawTenant::KEYS,
        &base,
        "/tenants/0",
        json!({
            "id": "b", "api_keys": ["k"], "enabled": false, "rps": 5, "burst": 5, "tokens_per_day": 5,
            "budget": { "daily_usd": 5 }, "tasks": ["t"], "models": ["m"], "max_deadline_ms": 5, "max_parallel": 5
        }),
    );
    // `$schema` is for editors: the pool does not read it.
    let known = [
        "$schema",
        "providers",
        "routing",
        "qos",
        "media",
        "health",
        "cache",
        "budget",
        "ensemble",
        "tasks",
        "failures",
        "server",
        "tenants",
    ];
    assert_eq!(RawConfig::KEYS, known);
}

/// As long as an algorithm wants it at least.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn fixture(name: &str) -> String {
    format!("{}/__test__/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn public_key(name: &str) -> String {
    std::fs::read_to_string(fixture(&format!("jwt/{name}.pub.pem"))).expect("a key")
}

fn every_key_of_callers_makes_a_difference(base: &Value) {
    let with = |server: Value| {
        let mut value = base.clone();
        merge(&mut value, json!({ "server": server }));
        value
    };
    let jwt = with(json!({ "jwt": { "alg": "RS256", "key": public_key("rsa") } }));
    let others: Vec<_> = RawJwt::KEYS.iter().copied().filter(|key| *key != "jwks_url").collect();
    let samples = json!({ "alg": "PS256", "key": public_key("rsa-other"), "aud": "a", "iss": "i", "scope": "s",
        "tenant_claim": "t", "leeway_s": 5 });
    assert_all_count(&others, &jwt, "/server/jwt", samples);
    let jwt = with(json!({ "jwt": { "alg": "RS256", "jwks_url": "https://a.b/keys" } }));
    assert_all_count(&["jwks_url"], &jwt, "/server/jwt", json!({ "jwks_url": "https://a.b/others" }));
    let client = json!({ "id": "c", "secret": SECRET });
    let hmac = with(json!({ "hmac": { "clients": [client] } }));
    let samples = json!({ "clients": [client, { "id": "d", "secret": SECRET.repeat(2) }], "max_skew_s": 5 });
    assert_all_count(RawHmac::KEYS, &hmac, "/server/hmac", samples);
    let samples = json!({ "id": "d", "secret": SECRET.repeat(2), "tenant": "a" });
    assert_all_count(RawHmacClient::KEYS, &hmac, "/server/hmac/clients/0", samples);
    let tls = |name: &str| json!({ "cert": fixture(&format!("mtls/{name}.pem")), "key": fixture(&format!("mtls/{name}.key")) });
    let (mut other, base) = (with(json!({ "tls": tls("server") })), with(json!({ "tls": tls("server") })));
    merge(&mut other, json!({ "server": { "tls": tls("renewed") } }));
    assert_ne!(checked(&other), checked(&base), "cert and key change nothing");
    let samples = json!({ "client_ca": fixture("mtls/authority.pem") });
    assert_all_count(&["client_ca"], &base, "/server/tls", samples);
    assert_eq!(RawTls::KEYS, ["cert", "key", "client_ca"]);
}

#[test]
fn callers_that_cannot_be_let_in_safely_are_refused() {
    let found = |server: Value| {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "server": server }));
        problems(&value)
    };
    let of_jwt = |jwt: Value| found(json!({ "jwt": jwt })).join("\n");
    let rsa = public_key("rsa");
    for (jwt, said) in [
        (json!({ "key": SECRET }), "server.jwt.alg: is missing"),
        (json!({ "alg": "none", "key": SECRET }), "server.jwt.alg: expected one of HS256, "),
        (json!({ "alg": "HS256" }), "server.jwt: expected either key or jwks_url"),
        (json!({ "alg": "RS256", "key": rsa, "jwks_url": "https://a.b" }), "server.jwt: expected either"),
        (json!({ "alg": "HS256", "jwks_url": "https://a.b" }), "server.jwt.jwks_url: HS256 needs a key"),
        (json!({ "alg": "RS256", "jwks_url": "http://a.b" }), "server.jwt.jwks_url: expected https"),
        (json!({ "alg": "HS256", "key": "short" }), "server.jwt.key: must have at least 32 bytes for HS256"),
        (json!({ "alg": "HS512", "key": SECRET }), "server.jwt.key: must have at least 64 bytes for HS512"),
        (json!({ "alg": "HS256", "key": rsa }), "server.jwt.key: is a key pair's"),
        (json!({ "alg": "ES256", "key": rsa }), "server.jwt.key: is a key of another kind than alg needs"),
        (json!({ "alg": "RS256", "key": SECRET }), "server.jwt.key: is no public key"),
        (json!({ "alg": "RS256", "key": rsa, "scope": "a b" }), "server.jwt.scope: expected one scope"),
        (json!({ "alg": "RS256", "key": rsa, "leeway_s": 301 }), "server.jwt.leeway_s: must be at most 300, found 301"),
    ] {
        let told = of_jwt(jwt);
        assert!(told.starts_with(said) && !told.contains(SECRET), "{told}");
    }
    for (aud, iss, warns) in [(None, None, true), (Some("a"), None, false), (None, Some("i"), false)] {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "server": { "jwt": { "alg": "HS256", "key": SECRET, "aud": aud, "iss": iss } } }));
        let warnings = checked(&value).warnings;
        let is_told = warnings.iter().any(|said| said.starts_with("server.jwt: neither aud nor iss"));
        assert_eq!(is_told, warns, "{aud:?} {iss:?}");
    }
    let client = |id: &str, secret: &str| json!({ "id": id, "secret": secret });
    assert_eq!(
        found(json!({ "hmac": { "max_skew_s": 0,
            "clients": [client("a", SECRET), client("a", SECRET), client("ä", &SECRET.repeat(2)), client("b", "short"), {}] } })),
        [
            "server.hmac.clients[1].id: this name is taken; a second secret needs a name of its own",
            "server.hmac.clients[1].secret: another client has this secret; each needs one of its own",
            "server.hmac.clients[2].id: expected letters, digits and signs of ASCII without spaces: it goes into a header",
            "server.hmac.clients[3].secret: must have at least 32 bytes; llmpool key makes one",
            "server.hmac.clients[4].id: is missing; expected a string",
            "server.hmac.clients[4].secret: is missing; expected a string",
            "server.hmac.max_skew_s: must be at least 1, found 0",
        ]
    );
    let mut value = with(json!({}));
    let client = json!({ "id": "a", "secret": SECRET, "tenant": "tham" });
    merge(&mut value, json!({ "tenants": [{ "id": "them" }], "server": { "hmac": { "clients": [client] } } }));
    assert_eq!(problems(&value), ["server.hmac.clients: the tenant of \"a\" is not there; did you mean \"them\"?"]);
    assert_eq!(
        found(json!({ "hmac": { "clients": [] } })),
        ["server.hmac.clients: expected at least one client, found an empty list"]
    );
}

#[test]
fn certificates_that_cannot_be_used_are_refused_and_watched() {
    let found = |tls: Value| {
        let mut value = with(json!({}));
        merge(&mut value, json!({ "server": { "tls": tls } }));
        problems(&value).join("\n")
    };
    let (cert, key) = (fixture("mtls/server.pem"), fixture("mtls/server.key"));
    for (tls, said) in [
        (json!({ "key": key }), "server.tls.cert: is missing"),
        (json!({ "cert": cert, "key": fixture("mtls/none.key") }), "server.tls.key: "),
        (json!({ "cert": cert, "key": fixture("mtls/client.key") }), "server.tls.key: "),
        (json!({ "cert": key, "key": key }), "server.tls.cert: expected a certificate in PEM, found none"),
        (json!({ "cert": cert, "key": cert }), "server.tls.key: expected a private key"),
        (json!({ "cert": cert, "key": key, "client_ca": key }), "server.tls.client_ca: expected a certificate"),
        (json!({ "cert": cert, "key": key, "client_ca": "none.pem" }), "server.tls.client_ca: none.pem: this file"),
    ] {
        let told = found(tls);
        assert!(told.starts_with(said), "{said}: {told}");
    }
    let mut value = with(json!({}));
    merge(&mut value, json!({ "server": { "tls": { "cert": cert, "key": key } } }));
    let config = checked(&value);
    assert_eq!(config.files, [PathBuf::from(cert), PathBuf::from(key)]);
    assert!(!format!("{:?}", config.server).contains("PRIVATE"));
}

#[test]
fn a_server_that_cannot_be_is_refused_and_says_no_key() {
    let server = json!({
        "http": "example.com:80", "grpc": "7070", "api_keys": ["sha256:00", "good"], "max_body_bytes": 0, "header_timeout_ms": 0,
        "cors_origins": ["https://a.b/", "*", "null"]
    });
    let mut value = with(json!({}));
    merge(&mut value, json!({ "server": server }));
    assert_eq!(
        problems(&value),
        [
            "server.max_body_bytes: must be at least 1, or null for no limit, found 0",
            "server.header_timeout_ms: must be at least 1, or null for no limit, found 0",
            "server.http: must be an address and a port such as \"127.0.0.1:7071\", found \"example.com:80\"",
            "server.grpc: must be an address and a port such as \"127.0.0.1:7071\", found \"7070\"",
            "server.api_keys[0]: expected 64 hexadecimal digits after \"sha256:\"",
            "server.cors_origins[0]: expected an origin such as \"https://app.example.com\", found \"https://a.b/\"",
            "server.cors_origins[2]: expected an origin such as \"https://app.example.com\", found \"null\"",
        ]
    );
}

// === ensembles and tasks ===

/// A folder for the files of tasks, gone at the end of the test.
struct TaskFiles(PathBuf);

impl TaskFiles {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llmpool-tasks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("prompts")).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for TaskFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn with_sections(sections: Value) -> Value {
    let mut value = with(json!({}));
    merge(&mut value, sections);
    value
}

#[test]
fn a_task_is_what_its_table_says_or_a_provider_names() {
    let mut value = with(json!({ "tasks": ["rank", "expand"] }));
    merge(
        &mut value,
        json!({ "ensemble": { "default_strategy": "VOTING" }, "tasks": { "rank": { "strategy": "JUDGE" } } }),
    );
    let config = checked(&value);
    let strategies: Vec<_> = config.tasks.iter().map(|(name, task)| (name.as_str(), task.strategy.as_str())).collect();
    assert_eq!(strategies, [("expand", "VOTING"), ("rank", "JUDGE")]);
    assert_eq!(config.warnings, ["tasks.rank: JUDGE without ensemble.judge falls back to VOTING"]);
}

#[test]
fn files_of_tasks_stand_beside_the_configuration() {
    let folder = TaskFiles::new("beside");
    let prompt = folder.file("prompts/expand.md", "Expand: {{prompt}}\n");
    let settings = Settings::new(Source::File(folder.0.join("config.json")));
    let value = with_sections(json!({ "tasks": { "t": { "prompt": "prompts/expand.md" } } }));
    let config = Config::load_value(&value, &environment(), &settings).expect("valid");
    let filled = config.tasks["t"].prompt.as_ref().expect("a prompt").fill("x", &BTreeMap::new());
    assert_eq!((filled.as_deref(), &config.files), (Ok("Expand: x"), &vec![prompt]));
}

#[test]
fn ensembles_and_tasks_that_cannot_be_meant_are_refused() {
    let folder = TaskFiles::new("refused");
    let (plain, list, bad) = (
        folder.file("plain.md", "no place"),
        folder.file("list.json", "[]"),
        folder.file("bad.json", r#"{"type":"x"}"#),
    );
    for (sections, expected) in [
        (
            json!({ "ensemble": { "default_strategy": "FASTES" } }),
            "ensemble.default_strategy: expected one of FASTEST, VOTING, WEIGHTED, CONSENSUS, JUDGE, found \"FASTES\"; did you mean \"FASTEST\"?",
        ),
        (json!({ "ensemble": { "max_parallel": 0 } }), "ensemble.max_parallel: must be at least 1"),
        (
            json!({ "ensemble": { "min_successes": 4 } }),
            "ensemble.min_successes: must be from 1 to max_parallel, 3, found 4",
        ),
        (json!({ "ensemble": { "agreement": 2 } }), "ensemble.agreement: must be from 0 to 1, found 2"),
        (json!({ "ensemble": { "similarity": 1.5 } }), "ensemble.similarity: must be from 0 to 1, found 1.5"),
        (
            json!({ "ensemble": { "judge": { "provider": "b" } } }),
            "ensemble.judge.provider: no provider is named \"b\"",
        ),
        (
            json!({ "ensemble": { "judge": { "deadline_share": 1 } } }),
            "ensemble.judge.deadline_share: must be above 0 and below 1, found 1",
        ),
        (json!({ "ensemble": { "judge": { "max_tokens": 0 } } }), "ensemble.judge.max_tokens: must be at least 1"),
        (json!({ "tasks": { "t": { "strategy": "voting" } } }), "tasks.t.strategy: expected one of"),
        (json!({ "tasks": { "t": { "providers": ["a", "b"] } } }), "tasks.t.providers[1]: no provider is named \"b\""),
        (json!({ "tasks": { "t": { "max_tokens": 0 } } }), "tasks.t.max_tokens: must be at least 1"),
        (json!({ "tasks": { "t": { "deadline_ms": 0 } } }), "tasks.t.deadline_ms: must be at least 1, found 0"),
        (json!({ "tasks": { "t": { "prompt": "none.md" } } }), "tasks.t.prompt: none.md: this file does not exist"),
        (json!({ "tasks": { "t": { "prompt": plain } } }), "tasks.t.prompt: has no {{prompt}}"),
        (json!({ "tasks": { "t": { "schema": plain } } }), "tasks.t.schema: is not JSON"),
        (json!({ "tasks": { "t": { "schema": list } } }), "tasks.t.schema: expected a JSON Schema"),
        (json!({ "tasks": { "t": { "schema": bad } } }), "tasks.t.schema: "),
        (json!({ "tasks": { "": {} } }), "tasks[\"\"]: expected a name"),
    ] {
        let found = problems(&with_sections(sections.clone()));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{sections}: {found:?}");
    }
    let mut value = with(json!({ "tasks": ["other"] }));
    merge(&mut value, json!({ "tasks": { "t": { "providers": ["a"] } } }));
    assert_eq!(problems(&value), ["tasks.t.providers[0]: the tasks of this provider do not include \"t\""]);
}

#[test]
fn equal_texts_are_equal_configurations() {
    let load = |text: &str| Config::load_text(text, &environment(), &settings()).expect("valid");
    let config = load(QUICK_START);
    assert_eq!(config, load(&format!("// moved\n{QUICK_START}")));
    let changed = load(&QUICK_START.replace("\"priority\": 2", "\"priority\": 3"));
    assert_eq!(config.providers[0], changed.providers[0]);
    assert_ne!(config.providers[1], changed.providers[1]);
}

// === where it comes from ===

#[tokio::test]
async fn a_file_and_an_object_load_alike() {
    let path = std::env::temp_dir().join(format!("llmpool-config-{}.json", std::process::id()));
    std::fs::write(&path, QUICK_START).expect("a file");
    let from_file = Config::load(&Source::File(path.clone()), &environment(), &settings()).await;
    std::fs::remove_file(&path).expect("removed");
    let object = serde_json::from_str(QUICK_START).expect("JSON");
    let from_object = Config::load(&Source::Inline(object), &environment(), &settings()).await;
    assert_eq!(from_file.expect("valid"), from_object.expect("valid"));
    let gone = problems_of(Config::load(&Source::File(path.clone()), &environment(), &settings()).await);
    assert_eq!(gone, [format!("{}: this file does not exist", path.display())]);
}
