//! A hundred scripted calls, and every number that the pool shows of them against a table made by hand.
//!
//! The calls come in tens. `n` is the number of a call, its last digit says what happens:
//!
//! | digit | calls | what happens | the call takes |
//! |---|---|---|---|
//! | 0 1 2 4 | 40 | `a` answers after 100 ms: 10 tokens in, 5 out | 100 ms |
//! | 3 | 10 | `a` streams: first content after 50 ms, end after 250 ms: 20 in, 5 out | 250 ms |
//! | 5 | 10 | `a` says 500 after 30 ms, `b` answers after 200 ms: 10 in, 5 out | 230 ms |
//! | 6 | 10 | `a` is silent for its timeout of 400 ms, `b` answers after 200 ms: 10 in, 5 out | 600 ms |
//! | 7 | 10 | `a` says 400 after 10 ms: the caller's own fault | 10 ms, fails |
//! | 8 | 10 | `a` is silent and the caller leaves after 70 ms | is cancelled |
//! | 9 | 10 | `a` 503 after 30 ms, `b` 503 after 20 ms, `c` answers after 300 ms: 100 in, 50 out | 350 ms |
//!
//! Two differ. Call 50 is for `a` alone with one retry: 500 after 30 ms, then the answer after 100 ms. Call 99 fails: `c`
//! says 500 after 10 ms, which opens its breaker.
//!
//! Prices in USD per 1,000 tokens: `a` 0.01 in and 0.02 out, `b` 0.03 and 0.06, `c` unknown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};

use super::support::{Answer, Story, fails, hangs, host, prompt_tokens, provider, question};
use crate::engine::Analytics;
use crate::metrics::Window;
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, NanoUsd};

async fn pass(ms: u64) {
    time::sleep_until(time::now().mono + Duration::from_millis(ms)).await;
}

fn after(ms: u64, answer: Answer) -> Answer {
    async move {
        pass(ms).await;
        answer.await
    }
    .boxed()
}

fn answers(prompt: u64, completion: u64) -> Answer {
    let body = json!({
        "id": "r", "created": 1, "model": "a name that nobody configured",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "yes" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion },
    });
    fake::reply(200, &[], body.to_string())
}

/// First content after 50 ms, the end 200 ms later.
fn streams() -> Answer {
    let first = r#"{"id":"s","model":"m","choices":[{"index":0,"delta":{"content":"yes"}}]}"#;
    let last = r#"{"id":"s","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}"#;
    let last = format!("data: {}\n\ndata: [DONE]\n\n", last.replace('\n', ""));
    let pieces = [(50, format!("data: {first}\n\n")), (200, last)];
    let body = stream::iter(pieces).then(|(ms, piece)| pass(ms).map(move |()| Ok(Bytes::from(piece))));
    fake::stream(200, &[("content-type", "text/event-stream")], body.boxed())
}

struct Hundred {
    story: Story,
    /// Tokens that the pool reckons for the prompt: what a call is booked with that was left.
    prompt: u64,
}

impl Hundred {
    async fn run() -> Self {
        let mut number = 0;
        let mut first_of_fifty = true;
        let script = move |request: &HttpRequest| {
            let n: u64 = request.headers["x-number"].to_str().expect("text").parse().expect("a number");
            assert!(n >= number, "calls come in order");
            number = n;
            match (n % 10, host(request)) {
                (0, _) if n == 50 && std::mem::take(&mut first_of_fifty) => after(30, fails(500)),
                (0 | 1 | 2 | 4, _) => after(100, answers(10, 5)),
                (3, _) => streams(),
                (5, "a") => after(30, fails(500)),
                (6, "a") | (8, _) => hangs(),
                (7, _) => after(10, fails(400)),
                (9, "a") => after(30, fails(503)),
                (9, "b") => after(20, fails(503)),
                (9, _) if n == 99 => after(10, fails(500)),
                (9, _) => after(300, answers(100, 50)),
                (_, _) => after(200, answers(10, 5)),
            }
        };
        let story = Story::with_config(config(), script);
        for n in 0..100 {
            call(&story, n).await;
        }
        Self { story, prompt: prompt_tokens(&question()) }
    }
}

fn config() -> Value {
    let with = |mut provider: Value, more: Value| {
        let Value::Object(more) = more else { panic!("an object") };
        provider.as_object_mut().expect("an object").extend(more);
        provider
    };
    let a = json!({
        "timeout": 400, "requests_per_minute": 1000, "requests_per_day": 5000,
        "input_token_price": 0.01, "output_token_price": 0.02,
    });
    let b = json!({ "input_token_price": 0.03, "output_token_price": 0.06 });
    let c = json!({ "circuit_breaker_threshold": 1, "model": "unpriced" });
    json!({
        "providers": [with(provider("a", 1), a), with(provider("b", 2), b), with(provider("c", 3), c)],
        "routing": { "max_retries": 0, "retry_delay_ms": 0 },
    })
}

async fn call(story: &Story, n: u64) {
    let mut options = CallOptions { headers: vec![("x-number".into(), n.to_string())], ..CallOptions::default() };
    if n == 50 {
        options.max_retries = Some(1);
        options.providers = vec!["a".into()];
    }
    let leaves = async move { if n % 10 == 8 { pass(70).await } else { std::future::pending().await } };
    if n % 10 == 3 {
        let opened = story.pool.stream_until(Arc::new(question()), &options, Vec::new(), leaves).await;
        let mut stream = opened.result.expect("a streams");
        while let Some(event) = stream.next().await {
            event.expect("a whole stream");
        }
    } else {
        let ended = story.pool.chat_until(&question(), &options, Vec::new(), leaves).await;
        assert_eq!(ended.result.is_ok(), n % 10 < 7 || (n % 10 == 9 && n != 99), "call {n}: {:?}", ended.result.err());
    }
}

/// `json` has these fields with these values, to the last digit; numbers with a fraction to nine digits.
#[track_caller]
fn has(shown: &impl serde::Serialize, table: Value) {
    let shown = serde_json::to_value(shown).expect("plain data");
    for (field, expected) in table.as_object().expect("a table") {
        let found = field.split('/').fold(&shown, |at, step| &at[step]);
        let near = match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
            _ => found == expected,
        };
        assert!(near, "{field} is {found}, the table says {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn totals_of_a_hundred_calls_equal_the_table() {
    let Hundred { story, prompt } = Hundred::run().await;
    let stats = story.pool.engine().stats();
    // 40 + 10 + 20 + 9 answered; 10 of the callers' own faults and call 99 failed.
    has(
        &stats,
        json!({
            "totalRequests": 100, "successfulRequests": 79, "failedRequests": 11, "cancelledRequests": 10,
            "successRate": 7900.0 / 90.0, "activeConnections": 0, "circuitBreakerTrips": 1,
            // a → b for the digits 5, 6 and 9; b → c for the digit 9.
            "failoverCount": 40, "retryCount": 1,
            // 39·100 + 130 + 10·250 + 10·230 + 10·600 + 10·10 + 9·350 + 60, of 90
            "avgRequestDurationMs": 18_140.0 / 90.0,
            // In order: 10 of 10 ms, 60, 39 of 100, 130, 10 of 230, 10 of 250, 9 of 350, 10 of 600: the 45th, 86th, 90th.
            "p50": 100.0, "p95": 600.0, "p99": 600.0,
            // The clock stands still while the pool works.
            "overheadP50Us": 0.0, "overheadP99Us": 0.0,
            "totalTokens": 850 + 300 + 1350 + 20 * prompt,
            "totalCost": 0.023 + 0.0002 * prompt as f64,
            "unpricedRequests": 9,
        }),
    );
    assert_eq!(stats.total_cost, NanoUsd(11_000_000 + 12_000_000 + 200_000 * prompt));
}

#[tokio::test(start_paused = true)]
async fn providers_after_a_hundred_calls_equal_the_table() {
    let Hundred { story, prompt } = Hundred::run().await;
    let stats = story.pool.engine().provider_stats();
    has(
        &stats["a"],
        json!({
            "type": "openai-compatible", "model": "m", "priority": 1, "enabled": true,
            // Each call once, call 50 twice. Failed: 10 of 500, 10 timeouts, 10 of 503, and the 500 of call 50.
            "usage/totalRequests": 101, "usage/successfulRequests": 50, "usage/errors": 31,
            // 40·10 + 10·20, ten prompts that were left and ten that timed out; 50·5
            "usage/promptTokens": 600 + 20 * prompt, "usage/completionTokens": 250,
            "usage/totalTokensUsed": 850 + 20 * prompt,
            // 600·0.00001 + 250·0.00002
            "usage/totalCost": 0.011 + 0.0002 * prompt as f64, "usage/unpricedRequests": 0,
            "usage/requestsRemaining": 899, "usage/dailyRequestsRemaining": 4899, "usage/inFlight": 0,
            "performance/successRate": 5_000.0 / 81.0,
            "performance/reliabilityScore": 5_000.0 / 81.0 - 0.25,
            // 40 of 100 ms and 10 of 250
            "performance/averageResponseTime": 130.0,
            "performance/p50": 100.0, "performance/p95": 250.0, "performance/p99": 250.0,
            "performance/timeToFirstToken": 50.0, "performance/circuitBreakerOpen": false,
        }),
    );
    has(
        &stats["b"],
        json!({
            "usage/totalRequests": 30, "usage/successfulRequests": 20, "usage/errors": 10,
            "usage/promptTokens": 200, "usage/completionTokens": 100, "usage/totalTokensUsed": 300,
            // 200·0.00003 + 100·0.00006
            "usage/totalCost": 0.012, "usage/unpricedRequests": 0,
            "usage/requestsRemaining": null, "usage/dailyRequestsRemaining": null, "usage/inFlight": 0,
            "performance/successRate": 2_000.0 / 30.0, "performance/reliabilityScore": 2_000.0 / 30.0 - 0.2,
            "performance/averageResponseTime": 200.0, "performance/p50": 200.0, "performance/p99": 200.0,
            "performance/timeToFirstToken": null,
        }),
    );
    has(
        &stats["c"],
        json!({
            "usage/totalRequests": 10, "usage/successfulRequests": 9, "usage/errors": 1,
            "usage/promptTokens": 900, "usage/completionTokens": 450, "usage/totalTokensUsed": 1350,
            "usage/totalCost": 0.0, "usage/unpricedRequests": 9,
            "performance/successRate": 90.0, "performance/reliabilityScore": 90.0 - 0.3,
            "performance/averageResponseTime": 300.0, "performance/circuitBreakerOpen": true,
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn health_after_a_hundred_calls_equals_the_table() {
    let Hundred { story, .. } = Hundred::run().await;
    let health = story.pool.engine().health();
    has(
        &health,
        json!({
            "healthy": true, "totalProviders": 3, "availableProviders": 2, "bestProvider": "a",
            "providers/a/available": true, "providers/a/circuitState": "closed", "providers/a/retryAt": null,
            "providers/a/requestsRemaining": 899, "providers/a/dailyRequestsRemaining": 4899,
            "providers/a/tokensRemaining": null, "providers/a/totalRequests": 101, "providers/a/errors": 31,
            "providers/a/successRate": 5_000.0 / 81.0, "providers/a/reliabilityScore": 5_000.0 / 81.0 - 0.25,
            "providers/a/averageResponseTime": 130.0,
            "providers/c/available": false, "providers/c/circuitState": "open",
            "providers/c/circuitBreakerOpen": true, "providers/c/totalRequests": 10, "providers/c/errors": 1,
        }),
    );
    let now = time::unix_ms();
    assert!(health.providers["c"].retry_at.is_some_and(|at| at > now), "its first probe is to come");
    for provider in health.providers.values() {
        assert!(provider.last_used.is_some_and(|at| at <= now && at + 60_000 > now));
        assert!(provider.last_error.is_some());
    }
}

/// Within the 6.25 % that a window's percentiles may be off.
#[track_caller]
fn about(found: Option<f64>, exact: f64) {
    let found = found.expect("something ended");
    assert!((found - exact).abs() <= exact / 16.0, "{found}, exactly {exact}");
}

#[tokio::test(start_paused = true)]
async fn analytics_of_a_hundred_calls_equal_the_table() {
    let Hundred { story, prompt } = Hundred::run().await;
    for window in Window::ALL {
        let analytics = story.pool.engine().analytics(window);
        has(
            &analytics,
            json!({
                "window": window.as_str(),
                "totalRequests": 100, "successfulRequests": 79, "failedRequests": 11, "cancelledRequests": 10,
                "successRate": 7900.0 / 90.0, "circuitBreakerTrips": 1, "failoverCount": 40, "retryCount": 1,
                "avgRequestDurationMs": 18_140.0 / 90.0, "overheadP50Us": 0.0, "overheadP99Us": 0.0,
                "promptTokens": 600 + 200 + 900 + 20 * prompt, "completionTokens": 250 + 100 + 450,
                "totalTokens": 2_500 + 20 * prompt,
                "totalCost": 0.023 + 0.0002 * prompt as f64, "unpricedRequests": 9,
                "providerBreakdown/a/totalRequests": 101, "providerBreakdown/a/successfulRequests": 50,
                "providerBreakdown/a/errors": 31, "providerBreakdown/a/successRate": 5_000.0 / 81.0,
                "providerBreakdown/a/averageResponseTime": 130.0, "providerBreakdown/a/circuitBreakerTrips": 0,
                "providerBreakdown/a/totalTokens": 850 + 20 * prompt,
                "providerBreakdown/b/totalRequests": 30, "providerBreakdown/b/totalCost": 0.012,
                "providerBreakdown/c/circuitBreakerTrips": 1, "providerBreakdown/c/unpricedRequests": 9,
            }),
        );
        about(analytics.p50, 100.0);
        about(analytics.p95, 600.0);
        about(analytics.p99, 600.0);
        about(analytics.provider_breakdown["a"].p95, 250.0);
        about(analytics.provider_breakdown["b"].p50, 200.0);
        series_adds_up(&analytics);
    }
}

fn series_adds_up(analytics: &Analytics) {
    let series = &analytics.time_series;
    assert_eq!(series.iter().map(|point| point.total_requests).sum::<u64>(), 100);
    assert_eq!(series.iter().map(|point| point.failover_count).sum::<u64>(), 40);
    assert_eq!(series.iter().map(|point| point.spent.total_tokens).sum::<u64>(), analytics.spent.total_tokens);
    let cost: u64 = series.iter().map(|point| point.spent.total_cost.0).sum();
    assert_eq!(NanoUsd(cost), analytics.spent.total_cost);
}

/// Every row that is not 0, histograms by their count and sum.
const ROWS: &str = r#"
llmpool_requests_total{route="chat",outcome="success"} 69
llmpool_requests_total{route="chat",outcome="error"} 11
llmpool_requests_total{route="chat",outcome="cancelled"} 10
llmpool_requests_total{route="stream",outcome="success"} 10
llmpool_request_duration_seconds_sum{route="chat"} 15.64
llmpool_request_duration_seconds_count{route="chat"} 80
llmpool_request_duration_seconds_sum{route="stream"} 2.5
llmpool_request_duration_seconds_count{route="stream"} 10
llmpool_overhead_seconds_count 79
llmpool_strategy_usage_total{strategy="STRATEGY"} 100
llmpool_failovers_total{from="a",to="b",reason="server_error"} 10
llmpool_failovers_total{from="a",to="b",reason="timeout"} 10
llmpool_failovers_total{from="a",to="b",reason="overloaded"} 10
llmpool_failovers_total{from="b",to="c",reason="overloaded"} 10
llmpool_retries_total 1
llmpool_attempts_total{provider="a",model="m",outcome="success",error_type=""} 50
llmpool_attempts_total{provider="a",model="m",outcome="cancelled",error_type=""} 10
llmpool_attempts_total{provider="a",model="m",outcome="failure",error_type="server_error"} 11
llmpool_attempts_total{provider="a",model="m",outcome="failure",error_type="timeout"} 10
llmpool_attempts_total{provider="a",model="m",outcome="failure",error_type="invalid_request"} 10
llmpool_attempts_total{provider="a",model="m",outcome="failure",error_type="overloaded"} 10
llmpool_attempts_total{provider="b",model="m",outcome="success",error_type=""} 20
llmpool_attempts_total{provider="b",model="m",outcome="failure",error_type="overloaded"} 10
llmpool_attempts_total{provider="c",model="unpriced",outcome="success",error_type=""} 9
llmpool_attempts_total{provider="c",model="unpriced",outcome="failure",error_type="server_error"} 1
llmpool_model_selections_total{provider="a",model="m"} 100
llmpool_timeouts_total{provider="a",model="m",phase="attempt"} 10
llmpool_attempt_duration_seconds_sum{provider="a",model="m"} 6.5
llmpool_attempt_duration_seconds_count{provider="a",model="m"} 50
llmpool_attempt_duration_seconds_sum{provider="b",model="m"} 4.0
llmpool_attempt_duration_seconds_count{provider="b",model="m"} 20
llmpool_attempt_duration_seconds_sum{provider="c",model="unpriced"} 2.7
llmpool_attempt_duration_seconds_count{provider="c",model="unpriced"} 9
llmpool_time_to_first_token_seconds_sum{provider="a",model="m"} 0.5
llmpool_time_to_first_token_seconds_count{provider="a",model="m"} 10
llmpool_inter_token_seconds_sum{provider="a",model="m"} 0.5
llmpool_inter_token_seconds_count{provider="a",model="m"} 10
llmpool_tokens_total{provider="a",model="m",kind="input"} INPUT
llmpool_tokens_total{provider="a",model="m",kind="output"} 250
llmpool_tokens_total{provider="b",model="m",kind="input"} 200
llmpool_tokens_total{provider="b",model="m",kind="output"} 100
llmpool_tokens_total{provider="c",model="unpriced",kind="input"} 900
llmpool_tokens_total{provider="c",model="unpriced",kind="output"} 450
llmpool_cost_usd_total{provider="a",model="m"} COST
llmpool_cost_usd_total{provider="b",model="m"} 0.012
llmpool_unpriced_requests_total{provider="c",model="unpriced"} 9
llmpool_provider_up{provider="a"} 1
llmpool_provider_up{provider="b"} 1
llmpool_breaker_state{provider="c"} 2
llmpool_breaker_trips_total{provider="c"} 1
llmpool_rate_limit_remaining{provider="a",kind="requests_per_minute"} 899
llmpool_rate_limit_remaining{provider="a",kind="requests_per_day"} 4899
"#;

#[tokio::test(start_paused = true)]
async fn metrics_of_a_hundred_calls_equal_the_table() {
    let Hundred { story, prompt } = Hundred::run().await;
    let text = story.pool.metrics();
    let shown: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{") && !line.starts_with("llmpool_build"))
        .filter(|line| !line.starts_with("llmpool_config"))
        .filter(|line| !line.ends_with(" 0") && !line.ends_with(" 0.0"))
        .collect();
    let strategy = story.pool.engine().roster().routing().behaviour.as_str();
    let expected = ROWS
        .replace("STRATEGY", strategy)
        .replace("INPUT", &(600 + 20 * prompt).to_string())
        .replace("COST", &NanoUsd(11_000_000 + 200_000 * prompt).as_usd().to_string());
    let expected: Vec<_> = expected.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(shown, expected);
    // Of the 80 calls that were no streams: 10 of 10 ms are in the first bucket, the 10 of 600 ms in the seventh.
    for (bound, count) in
        [("0.01", 10), ("0.02", 10), ("0.08", 11), ("0.16", 51), ("0.32", 61), ("0.64", 80), ("+Inf", 80)]
    {
        let row = format!("llmpool_request_duration_seconds_bucket{{le=\"{bound}\",route=\"chat\"}} {count}");
        assert!(text.lines().any(|line| line == row), "{row}");
    }
}
