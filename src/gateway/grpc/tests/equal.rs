//! One request over both wires: two pools that are alike are asked the same, one by HTTP and one by gRPC.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tonic::Status;

use super::super::super::Door;
use super::super::super::tests::{Answer, Served, post, read, serve_by};
use super::super::pb;
use super::{client, said};
use crate::transport::{HttpRequest, fake};

const REQUESTS: usize = 200;
/// Any other is as good: a failure names the request.
const SEED: u64 = 20_261_126;

struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("llmpool-equal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("p.md"), "In {{language}}: {{prompt}}").expect("a file");
        std::fs::write(folder.join("s.json"), r#"{ "type": "object", "required": ["z", "a"] }"#).expect("a file");
        Self(folder)
    }

    fn config(&self) -> Value {
        let provider = |name: &str, priority: u32| {
            json!({
                "name": name, "type": "openai-compatible", "model": format!("m-{name}"), "api_key": "key",
                "base_url": format!("https://{name}.test/v1"), "priority": priority, "input_price_per_million": priority,
                "output_price_per_million": 2, "circuit_breaker_threshold": 1_000_000
            })
        };
        let mut unpriced = provider("c", 3);
        unpriced.as_object_mut().expect("an object").retain(|key, _| !key.ends_with("per_million"));
        json!({
            "providers": [provider("a", 1), provider("b", 2), unpriced],
            "routing": { "max_retries": 0, "behaviour": "failover", "seed": 1, "queue_timeout_ms": 0 },
            "ensemble": { "judge": { "provider": "b" } },
            "tasks": {
                "plain": { "max_tokens": 500, "deadline_ms": 5000 },
                "words": { "prompt": self.0.join("p.md") },
                "shaped": { "schema": self.0.join("s.json") },
                "vote": { "strategy": "VOTING" },
                "judge": { "strategy": "JUDGE" },
                "dear": { "providers": ["c"] },
            },
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same answer to the same question, and failures for some words.
fn upstream(request: &HttpRequest) -> Answer {
    let asked: Value = serde_json::from_slice(&request.body).expect("JSON");
    let prompt = asked["messages"][0]["content"].as_str().expect("a text").to_owned();
    let model = asked["model"].as_str().expect("a model").to_owned();
    for (word, status) in [("broken", 500), ("denied", 400), ("missing", 404), ("large", 413)] {
        if prompt.contains(word) || (prompt.contains("first fails") && model == "m-a") {
            let body = json!({ "error": { "message": format!("{word} ä"), "code": "x" } }).to_string();
            return fake::reply(if prompt.contains("first fails") { 503 } else { status }, &[], body);
        }
    }
    let content = if asked.get("response_format").is_some() {
        format!(r#"{{"z": {}.50, "a": [1, 12345678901234567890, "é"]}}"#, prompt.len())
    } else if prompt.contains("number of the best") || prompt.contains("Candidate") {
        "2".to_owned()
    } else {
        format!(
            "{} says {} bytes\u{0}\t\u{1f600}",
            if prompt.len().is_multiple_of(3) { &model } else { "each" },
            prompt.len()
        )
    };
    let body = json!({
        "id": "r", "object": "chat.completion", "created": 1, "model": format!("{model}-1"),
        "choices": [{ "index": 0, "finish_reason": if prompt.len().is_multiple_of(5) { "length" } else { "stop" },
            "message": { "role": "assistant", "content": content } }],
        "usage": { "prompt_tokens": prompt.len(), "completion_tokens": 7, "total_tokens": prompt.len() + 7,
            "prompt_tokens_details": { "cached_tokens": prompt.len() / 2 } },
    });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

fn random(draw: &mut fastrand::Rng) -> pb::InferRequest {
    let pick = |draw: &mut fastrand::Rng, words: &[&str]| words[draw.usize(..words.len())].to_owned();
    let text = |draw: &mut fastrand::Rng, most: usize| {
        let length = draw.usize(..most);
        (0..length).map(|_| draw.char('\u{0}'..'\u{3000}')).collect::<String>()
    };
    let task = pick(draw, &["plain", "plain", "words", "shaped", "vote", "judge", "dear", "plian"]);
    let trouble = ["", "", "", "", "", "", "", "", "first fails", "broken", "denied", "missing", "large"];
    let prompt = match draw.u8(..20) {
        0 => " \n".to_owned(),
        _ => format!("{} {}", pick(draw, &trouble), text(draw, 60)),
    };
    let mut variables = std::collections::BTreeMap::new();
    if task == "words" && draw.u8(..6) > 0 || draw.u8(..20) == 0 {
        variables.insert("language".to_owned(), text(draw, 5));
    }
    let sometimes = |draw: &mut fastrand::Rng| draw.u8(..6) == 0;
    let words = ["FASTEST", "FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE", "judge"];
    pb::InferRequest {
        task,
        prompt,
        variables,
        strategy: sometimes(draw).then(|| pick(draw, &words)),
        max_tokens: sometimes(draw).then(|| draw.u32(..600)),
        deadline_ms: sometimes(draw).then(|| f64::from(draw.i32(-500..6000)) + 0.5),
        request_id: sometimes(draw).then(|| format!("id-{}", draw.u8(..30))),
        tenant: sometimes(draw).then(|| pick(draw, &["one", "other"])),
        cache: sometimes(draw).then(|| pb::Cache {
            enabled: sometimes(draw).then(|| draw.bool()),
            ttl: sometimes(draw).then(|| f64::from(draw.i32(-100..6000))),
        }),
        project: sometimes(draw).then(|| text(draw, 9)),
        meta: (0..draw.u8(..3)).map(|at| (format!("{at}"), text(draw, 300))).collect(),
    }
}

/// The same request as a body of HTTP.
fn as_body(message: &pb::InferRequest) -> Value {
    let pb::InferRequest {
        task,
        prompt,
        variables,
        strategy,
        max_tokens,
        deadline_ms,
        request_id,
        tenant,
        cache,
        project,
        meta,
    } = message.clone();
    let cache = cache.map(|pb::Cache { enabled, ttl }| match (enabled, ttl) {
        (enabled, None) => json!(enabled.unwrap_or(true)),
        (_, ttl) => json!({ "ttl": ttl }),
    });
    json!({
        "task": task, "prompt": prompt, "variables": variables, "strategy": strategy, "max_tokens": max_tokens,
        "deadline_ms": deadline_ms, "request_id": request_id, "tenant": tenant, "cache": cache, "project": project,
        "meta": meta,
    })
}

/// The same answer as a body of HTTP has it.
fn as_answer(response: pb::InferResponse) -> Value {
    let pb::InferResponse {
        request_id,
        task,
        content,
        parsed,
        refusal,
        finish_reason,
        winner_model,
        provider,
        duration_ms,
        from_cache,
        strategy_used,
        models_queried,
        votes,
        judge,
        usage,
        cost,
        warnings,
        attempts,
    } = response;
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    put("request_id", json!(request_id));
    put("task", json!(task));
    put("content", json!(content));
    if let Some(parsed) = parsed {
        put("parsed", serde_json::from_str(&parsed).expect("JSON"));
    }
    if let Some(refusal) = refusal {
        put("refusal", json!(refusal));
    }
    put("finish_reason", json!(finish_reason));
    put("winner_model", json!(winner_model));
    put("provider", json!(provider));
    put("duration_ms", json!(duration_ms));
    put("from_cache", json!(from_cache));
    put("strategy_used", json!(strategy_used));
    put("models_queried", json!(models_queried));
    if !votes.is_empty() {
        let votes = votes.into_iter().map(|pb::Vote { provider, model, group, weight, win_rate, winner }| {
            json!({
                "provider": provider, "model": model, "group": group, "weight": weight, "win_rate": win_rate,
                "winner": winner
            })
        });
        put("votes", votes.collect());
    }
    if let Some(pb::Judgement { provider, model, outcome }) = judge {
        put("judge", json!({ "provider": provider, "model": model, "outcome": outcome }));
    }
    let pb::Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
        cached_tokens,
        cache_write_tokens,
        reasoning_tokens,
        estimated,
    } = usage.expect("usage");
    put(
        "usage",
        json!({
            "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens,
            "cached_tokens": cached_tokens, "cache_write_tokens": cache_write_tokens,
            "reasoning_tokens": reasoning_tokens, "estimated": estimated
        }),
    );
    put("cost", json!(cost));
    put("warnings", json!(warnings));
    let attempts = attempts.into_iter().map(|attempt| {
        let pb::Attempt { provider, model, key_index, outcome, error_class, status, latency_ms, waited_ms } = attempt;
        let mut line = json!({ "provider": provider, "model": model, "keyIndex": key_index, "outcome": outcome });
        if let Some(class) = error_class {
            line["errorClass"] = json!(class);
        }
        if let Some(status) = status {
            line["status"] = json!(status);
        }
        line["latencyMs"] = json!(latency_ms);
        line["waitedMs"] = json!(waited_ms);
        line
    });
    put("attempts", attempts.collect());
    Value::Object(answer)
}

/// What of a refusal both wires say.
fn refused_over_http(status: u16, answer: &Value, headers: &http::HeaderMap) -> Value {
    let error = &answer["error"];
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    json!({
        "status": status.to_string(), "message": error["message"], "code": error["code"],
        "field": error.get("field").and_then(Value::as_str).unwrap_or_default(),
        "retry": header("retry-after-ms").unwrap_or_default(),
        "provider": header("x-llmpool-provider").unwrap_or_default(),
        "attempts": header("x-llmpool-attempts").unwrap_or_default(),
        "once": header("x-should-retry") == Some("false".to_owned()),
    })
}

fn refused_over_grpc(refused: &Status) -> Value {
    json!({
        "status": said(refused, "x-llmpool-status"), "message": refused.message(),
        "code": said(refused, "x-llmpool-error"), "field": said(refused, "x-llmpool-field"),
        "retry": said(refused, "retry-after-ms"), "provider": said(refused, "x-llmpool-provider"),
        "attempts": said(refused, "x-llmpool-attempts"), "once": said(refused, "grpc-retry-pushback-ms") == "-1",
    })
}

/// Ids that are made up are not the same twice.
fn without_made_up_id(mut answer: Value, request_id: Option<&String>) -> Value {
    if request_id.is_none() {
        answer["request_id"] = Value::Null;
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn two_hundred_random_requests_are_answered_alike_over_http_and_grpc() {
    let files = Files::new();
    let [by_http, by_grpc]: [Served; 2] = std::array::from_fn(|_| serve_by(files.config(), Door::Inside, upstream));
    let mut draw = fastrand::Rng::with_seed(SEED);
    let (mut answers, mut refusals) = (0, std::collections::BTreeSet::new());
    for number in 0..REQUESTS {
        // What the last one has put to rest, such as a model that was missing, is back.
        tokio::time::advance(Duration::from_secs(3600)).await;
        let mut message = random(&mut draw);
        if let Some(cache) = &mut message.cache
            && cache.ttl.is_some()
        {
            cache.enabled = None; // HTTP has no word for the contradiction
        }
        let response = by_http.send(post("/v1/infer", &as_body(&message), &[])).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let over_http = read(response).await;
        let over_grpc = client(&by_grpc).infer(message.clone()).await;
        let id = message.request_id.as_ref();
        match over_grpc {
            Ok(answer) => {
                answers += 1;
                let answer = without_made_up_id(as_answer(answer.into_inner()), id);
                assert_eq!(answer, without_made_up_id(over_http.clone(), id), "{number}: {message:?}");
                // Texts of both are JSON in the same order, digit by digit.
                assert_eq!(answer.to_string(), without_made_up_id(over_http, id).to_string(), "{number}");
            }
            Err(refused) => {
                assert_eq!(
                    refused_over_grpc(&refused),
                    refused_over_http(status, &over_http, &headers),
                    "{number}: {message:?}"
                );
                refusals.insert(status);
            }
        }
        assert_eq!(by_http.upstream.requests().len(), by_grpc.upstream.requests().len(), "{number}");
    }
    assert!(answers > REQUESTS / 3, "{answers} answers");
    assert!([400, 404, 413, 503].iter().all(|status| refusals.contains(status)), "{refusals:?}");
}
