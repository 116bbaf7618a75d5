//! Work by the name of its task: what the task says, within which limits, and the id that makes two requests one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{
    Answer, DONE, FINISH, Story, after, answer, breaks, chunk, fails, host, open_with, provider, question, says, slow,
};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::transport::HttpRequest;
use crate::types::{
    CacheWish, CallOptions, ChatRequest, ChatResponse, InferRequest, InferResponse, Labels, RequestId, Strategy,
    parse_infer,
};

const SECOND: Duration = Duration::from_secs(1);

/// Providers `a`, `b`, `c` and these tasks.
fn config(tasks: Value) -> Value {
    let providers: Vec<Value> = ["a", "b", "c"].iter().zip(1..).map(|(name, at)| provider(name, at)).collect();
    json!({ "providers": providers, "tasks": tasks, "qos": { "max_deadline_ms": 1500, "max_prompt_bytes": 16384 } })
}

fn work(task: &str, prompt: &str) -> InferRequest {
    InferRequest { task: task.to_owned(), prompt: prompt.to_owned(), ..InferRequest::default() }
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn named(_: &HttpRequest) -> Answer {
    answer("x")
}

/// The field that is refused, and why.
fn refusal(result: Result<InferResponse, Error>) -> (String, String) {
    let error = result.expect_err("refused");
    let ErrorKind::InvalidRequest { field } = error.kind() else { panic!("{error:?}") };
    (field.clone(), error.to_string())
}

struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llmpool-task-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_says_who_how_and_with_which_words() {
    let prompt = File::new("words.md", "Expand in {{language}}: {{prompt}}");
    let schema = File::new("schema.json", r#"{ "type": "object", "required": ["terms"] }"#);
    let tasks = json!({ "expand": {
        "strategy": "VOTING", "providers": ["b", "c"], "max_tokens": 256, "prompt": prompt.0, "schema": schema.0,
    } });
    let story = Story::with_config(config(tasks), |_| answer(r#"{"terms": []}"#));
    let request = InferRequest {
        variables: BTreeMap::from([("language".to_owned(), "German".to_owned())]),
        ..work("expand", "ambient")
    };
    let response = story.pool.infer(&request).await.expect("an answer");
    assert_eq!(
        (response.task.as_str(), response.strategy_used, response.winner_model.as_str()),
        ("expand", Strategy::Voting, "m")
    );
    assert_eq!((response.models_queried.len(), response.votes.len(), response.from_cache), (2, 2, false));
    assert_eq!(response.parsed, Some(json!({ "terms": [] })));
    assert_eq!((story.asked("a"), story.asked("b"), story.asked("c")), (0, 1, 1));
    let sent = body(&story.upstream.requests()[0]);
    assert_eq!(sent["messages"], json!([{ "role": "user", "content": "Expand in German: ambient" }]));
    assert_eq!((&sent["max_tokens"], &sent["response_format"]["json_schema"]["name"]), (&json!(256), &json!("expand")));
    // Without the variable nothing is sent.
    let (field, said) = refusal(story.pool.infer(&work("expand", "ambient")).await);
    assert!(field == "variables.language" && said.contains("is missing"), "{said}");
    assert_eq!(story.upstream.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_does_the_tasks_it_names_and_calls_of_none() {
    let mut config = config(json!({}));
    config["providers"][0]["tasks"] = json!(["rank"]);
    config["providers"][1]["tasks"] = json!(["expand", "rank"]);
    let story = Story::with_config(config, named);
    let first = |task: &'static str| async { story.pool.infer(&work(task, "x")).await.expect("an answer").provider };
    assert_eq!((first("rank").await.as_str(), first("expand").await.as_str()), ("a", "b"));
    assert_eq!(story.ask().await.expect("an answer").provider.as_str(), "a");
    let options = CallOptions { task: Some("expand".to_owned()), ..CallOptions::default() };
    assert_eq!(story.ask_with(&options).await.expect("an answer").provider.as_str(), "b");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_a_limit_is_refused_by_its_name_and_value() {
    let tasks = json!({ "t": { "max_tokens": 100, "deadline_ms": 1000 }, "expand": {}, "off": { "enabled": false } });
    let story = Story::with_config(config(tasks), named);
    let cases = [
        (work("expnd", "x"), "task", "there is no task \"expnd\"; did you mean \"expand\"?"),
        (work("nothing like it", "x"), "task", "there are \"expand\", \"off\", \"t\""),
        (work("off", "x"), "task", "\"off\" is switched off"),
        (
            InferRequest { max_tokens: Some(101), ..work("t", "x") },
            "max_tokens",
            "at most 100, the limit of the task \"t\", found 101",
        ),
        (
            InferRequest { deadline: Some(2 * SECOND), ..work("t", "x") },
            "deadline_ms",
            "at most 1500 ms, which is qos.max_deadline_ms, found 2000",
        ),
        (
            InferRequest { deadline: Some(SECOND * 5 / 4), ..work("t", "x") },
            "deadline_ms",
            "at most 1000 ms, the limit of the task \"t\", found 1250",
        ),
        (work("t", &"x".repeat(16385)), "prompt", "at most 16384 bytes, which is qos.max_prompt_bytes, found 16385"),
        (
            InferRequest { variables: BTreeMap::from([("a".to_owned(), "b".to_owned())]), ..work("t", "x") },
            "variables.a",
            "has no prompt of its own",
        ),
    ];
    for (request, field, expected) in cases {
        let (found, said) = refusal(story.pool.infer(&request).await);
        assert!(found == field && said.contains(expected), "{found}: {said}");
    }
    assert!(story.upstream.requests().is_empty(), "nothing was sent");
    let (options, request) = (
        CallOptions { task: Some("t".to_owned()), ..CallOptions::default() },
        ChatRequest { max_tokens: Some(101), ..question() },
    );
    let error = story.pool.chat(&request, &options).await.expect_err("over the limit");
    assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "max_tokens"));
    story.pool.infer(&work("expand", "x")).await.expect("no limit");
}

#[tokio::test(start_paused = true)]
async fn a_tasks_deadline_ends_its_calls() {
    let tasks = json!({ "t": { "deadline_ms": 1000 } });
    let story = Story::with_config(config(tasks), |_| slow(2 * SECOND, "x"));
    let began = crate::time::now().mono;
    let error = story.pool.infer(&work("t", "x")).await.expect_err("too late");
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }));
    assert_eq!((began.elapsed(), story.in_flight()), (SECOND, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_keeps_its_answers_as_long_as_it_says() {
    let tasks = json!({ "kept": { "cache_ttl_seconds": 60 }, "not": {} });
    let story = Story::with_config(config(tasks), named);
    let from_cache =
        |task: &'static str| async { story.pool.infer(&work(task, "x")).await.expect("an answer").from_cache };
    assert_eq!((from_cache("kept").await, from_cache("kept").await), (false, true));
    assert_eq!((from_cache("not").await, from_cache("not").await), (false, false));
    after(60 * SECOND).await;
    assert!(!from_cache("kept").await);
    let stats = story.pool.engine().stats();
    assert_eq!((stats.tasks["kept"].answers, stats.tasks["kept"].cache_hits, stats.tasks["not"].cache_hits), (3, 1, 0));
    assert_eq!((stats.cache_hits, stats.cache_misses), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn two_requests_with_one_id_are_one() {
    let story = Story::with_config(config(json!({ "t": {}, "u": {} })), |_| slow(SECOND / 10, "x"));
    let of = |task: &str, prompt: &str| InferRequest { request_id: Some(RequestId::new("id")), ..work(task, prompt) };
    let (one, two) = (of("t", "x"), of("t", "x"));
    let (first, second) = tokio::join!(story.pool.infer(&one), story.pool.infer(&two));
    let third = story.pool.infer(&one).await;
    for response in [first, second, third] {
        let response = response.expect("an answer");
        assert_eq!((response.content.as_str(), response.request_id.as_str()), ("x", "id"));
    }
    assert_eq!(story.upstream.requests().len(), 1);
    // Another request under the same id, and the same id of somebody else.
    for other in [of("t", "y"), of("u", "x"), InferRequest { max_tokens: Some(5), ..of("t", "x") }] {
        let error = story.pool.infer(&other).await.expect_err("another request");
        assert!(matches!(error.kind(), ErrorKind::IdempotencyMismatch), "{error:?}");
        assert!(error.to_string().contains("request_id: \"id\" was used for another request"), "{error}");
    }
    let theirs = InferRequest { tenant: Some("them".to_owned()), ..of("t", "y") };
    assert!(!story.pool.infer(&theirs).await.expect("an answer").from_cache);
    let patient = InferRequest { deadline: Some(SECOND), ..of("t", "x") };
    assert!(story.pool.infer(&patient).await.expect("the same").from_cache, "how long it may take is no part of it");
}

#[tokio::test(start_paused = true)]
async fn an_id_whose_request_failed_may_be_tried_again() {
    let mut calls = 0;
    let story = Story::with_config(config(json!({ "t": { "providers": ["a"] } })), move |request| {
        calls += 1;
        assert_eq!(host(request), "a");
        if calls == 1 { fails(400) } else { answer("x") }
    });
    let request = InferRequest { request_id: Some(RequestId::new("id")), ..work("t", "x") };
    story.pool.infer(&request).await.expect_err("a bad request");
    assert_eq!(story.pool.infer(&request).await.expect("an answer").content, "x");
    let stats = story.pool.engine().stats();
    assert_eq!((stats.tasks["t"].answers, stats.tasks["t"].failures), (1, 1));
}

/// Reads a stream of the task `t`: its answer, if it came to one, and the decisions that were told.
async fn read_stream(story: &Story, cache: Option<CacheWish>) -> (Option<ChatResponse>, Vec<(String, bool, Strategy)>) {
    let options = CallOptions { task: Some("t".to_owned()), max_retries: Some(0), cache, ..CallOptions::default() };
    let mut stream = open_with(story, &options).await.expect("a stream");
    let mut whole = true;
    while let Some(event) = stream.next().await {
        whole &= event.is_ok();
    }
    let told = stream.take_events().into_iter().filter_map(|event| match event {
        Event::Decision { provider, cached, strategy, task, .. } => {
            assert_eq!(task.as_deref(), Some("t"));
            Some((provider.to_string(), cached, strategy))
        }
        _ => None,
    });
    let told = told.collect();
    (if whole { stream.into_response() } else { None }, told)
}

fn stream_of(text: &str) -> Answer {
    says(vec![chunk(text), FINISH.to_owned(), DONE.to_owned()])
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_an_answer_of_its_task_when_it_has_ended_well() {
    let mut number = 0;
    let story = Story::with_config(config(json!({ "t": {} })), move |_| {
        number += 1;
        if number == 1 { breaks(vec![chunk("Hel")]) } else { stream_of("Hello") }
    });
    let tasks = || story.pool.engine().stats().tasks.get("t").map(|task| (task.answers, task.failures));
    let (response, told) = read_stream(&story, None).await;
    assert!(response.is_none() && told.is_empty());
    assert_eq!(tasks(), Some((0, 1)), "broken off is no answer");
    let (response, told) = read_stream(&story, None).await;
    assert_eq!(response.expect("whole").reply.content, "Hello");
    assert_eq!(told, [("a".to_owned(), false, Strategy::Fastest)]);
    assert_eq!(tasks(), Some((1, 1)));
    // One that is left is neither.
    let options = CallOptions { task: Some("t".to_owned()), ..CallOptions::default() };
    let mut stream = open_with(&story, &options).await.expect("a stream");
    stream.next().await.expect("something").expect("good");
    drop(stream);
    assert_eq!(tasks(), Some((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn streams_and_chats_of_a_task_share_what_is_kept() {
    let story = Story::with_config(config(json!({ "t": {} })), |request| {
        if body(request)["stream"] == json!(true) { stream_of("x") } else { answer("x") }
    });
    let kept = Some(CacheWish::On);
    let (first, _) = read_stream(&story, kept).await;
    assert!(!first.expect("whole").cached);
    let (again, told) = read_stream(&story, kept).await;
    let again = again.expect("whole");
    assert_eq!((again.cached, again.decision.expect("a decision").models_queried), (true, vec!["m".to_owned()]));
    assert_eq!(told, [("a".to_owned(), true, Strategy::Fastest)]);
    for strategy in [None, Some(Strategy::Fastest)] {
        let task = Some("t".to_owned());
        let options = CallOptions { task, cache: kept, strategy, max_retries: Some(0), ..CallOptions::default() };
        assert!(story.ask_with(&options).await.expect("the same").cached, "{strategy:?}");
    }
    assert_eq!(story.upstream.requests().len(), 1);
    let stats = story.pool.engine().stats();
    assert_eq!((stats.tasks["t"].answers, stats.tasks["t"].cache_hits), (4, 3));
}

fn with_id(number: usize) -> InferRequest {
    let request_id = Some(RequestId::new(format!("id {number}")));
    InferRequest { request_id, cache: Some(CacheWish::Off), ..work("t", &number.to_string()) }
}

#[tokio::test(start_paused = true)]
async fn ids_hold_whatever_else_is_asked_for_often() {
    let mut config = config(json!({ "t": {} }));
    config["cache"] = json!({ "max_entries": 10 });
    let story = Story::with_config(config, named);
    let often = CallOptions { cache: Some(CacheWish::On), ..CallOptions::default() };
    for _ in 0..20 {
        for text in 0..10 {
            let request = ChatRequest { user: Some(text.to_string()), ..question() };
            story.pool.chat(&request, &often).await.expect("an answer");
        }
        story.pool.engine().roster().kept().count();
    }
    for again in [false, true] {
        for number in 0..20 {
            assert_eq!(story.pool.infer(&with_id(number)).await.expect("an answer").from_cache, again, "{number}");
            story.pool.engine().roster().kept().count();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ids_need_no_room_in_the_cache_and_no_reload_forgets_them() {
    for cache in [
        json!({ "max_entries": 0 }),
        json!({ "max_bytes": 0 }),
        json!({ "ttl_seconds": 0 }),
        json!({ "max_entry_bytes": 0 }),
    ] {
        let mut config = config(json!({ "t": {} }));
        let story = Story::with_config(config.clone(), named);
        assert!(!story.pool.infer(&with_id(1)).await.expect("an answer").from_cache);
        config["cache"] = cache.clone();
        let environment = crate::config::Environment::from_map::<String, String>([]);
        story.pool.reload(Some(config), environment).await.expect("valid");
        assert!(story.pool.infer(&with_id(1)).await.expect("the same").from_cache, "{cache}");
        assert!(!story.pool.infer(&with_id(2)).await.expect("an answer").from_cache, "{cache}");
        after(899 * SECOND).await;
        assert!(story.pool.infer(&with_id(2)).await.expect("the same").from_cache, "{cache}");
        let other = InferRequest { request_id: with_id(2).request_id, ..work("t", "another") };
        let error = story.pool.infer(&other).await.expect_err("the id was used");
        assert!(matches!(error.kind(), ErrorKind::IdempotencyMismatch), "{error:?}");
        after(901 * SECOND).await;
        assert!(!story.pool.infer(&with_id(2)).await.expect("an answer").from_cache, "{cache}");
    }
}

#[test]
fn what_is_to_be_done_is_read_from_json() {
    let all = r#"{ "task": "t", "prompt": "p", "variables": { "a": "b" }, "strategy": "JUDGE", "max_tokens": 5,
        "deadline_ms": 1500, "request_id": "r", "tenant": "x", "cache": { "ttl": 5 } }"#;
    let read = parse_infer(all).expect("good");
    assert_eq!((read.work.strategy, read.work.deadline), (Some(Strategy::Judge), Some(SECOND * 3 / 2)));
    assert!(!read.stream && read.warnings.is_empty());
    let read = parse_infer(r#"{ "task": "t", "prompt": "\ud800", "stream": true }"#).expect("good");
    assert!(read.stream && read.warnings[0].contains("surrogate"), "{:?}", read.warnings);
    assert_eq!(read.whole().expect_err("a stream").field, "stream");
    for (json, field, expected) in [
        (r#"{ "prompt": "p" }"#, "", "missing field `task`"),
        (r#"{ "task": "t", "prompt": " " }"#, "prompt", "must not be empty"),
        (r#"{ "task": "t", "prompt": "p", "strategy": "FASTES" }"#, "strategy", "did you mean \"FASTEST\"?"),
        (r#"{ "task": "t", "prompt": "p", "strategy": "voting" }"#, "strategy", "did you mean \"VOTING\"?"),
        (r#"{ "task": "t", "prompt": "p", "strategy": "BEST" }"#, "strategy", "must be one of FASTEST, VOTING"),
        (r#"{ "task": "t", "prompt": "p", "max_tokens": 0 }"#, "max_tokens", "at least 1"),
        (r#"{ "task": "t", "prompt": "p", "max_tokens": "5" }"#, "max_tokens", "invalid type"),
        (r#"{ "task": "t", "prompt": "p", "deadline_ms": -1 }"#, "deadline_ms", "0 or more"),
        (r#"{ "task": "t", "prompt": "p", "request_id": "" }"#, "request_id", "must not be empty"),
        (r#"{ "task": "t", "prompt": "p", "colour": 1 }"#, "colour", "unknown field"),
        (r#"{ "task": "t", "prompt": 5 }"#, "prompt", "invalid type"),
    ] {
        let error = parse_infer(json).expect_err(json);
        assert!(error.field == field && error.message.contains(expected), "{json}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_are_told_with_the_decision_and_make_no_other_request_of_it() {
    let story = Story::with_config(config(json!({ "t": {} })), named);
    let labels =
        Labels { project: Some("search".to_owned()), meta: BTreeMap::from([("page".to_owned(), "7".to_owned())]) };
    let id = Some(RequestId::new("one"));
    let labelled = InferRequest { labels, request_id: id.clone(), ..work("t", "x") };
    let events =
        story.pool.infer_until(&labelled, &CallOptions::default(), Vec::new(), std::future::pending()).await.events;
    let told = events.iter().find(|event| matches!(event, Event::Decision { .. })).expect("a decision");
    let told = serde_json::to_value(told).expect("JSON");
    assert_eq!((&told["project"], &told["meta"]), (&json!("search"), &json!({ "page": "7" })));
    let again = story.pool.infer(&InferRequest { request_id: id, ..work("t", "x") }).await.expect("the same request");
    assert!(again.from_cache);
}

#[test]
fn labels_have_bounds() {
    let labelled = |labels: Value| {
        let mut request = json!({ "task": "t", "prompt": "x" });
        request.as_object_mut().expect("an object").extend(labels.as_object().expect("an object").clone());
        parse_infer(&request.to_string()).map(|_| ()).map_err(|error| error.to_string())
    };
    let many = |most: usize| (0..most).map(|at| (at.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>();
    assert_eq!(labelled(json!({ "project": "p".repeat(256), "meta": many(16) })), Ok(()));
    assert_eq!(labelled(json!({ "meta": { "k".repeat(64): "v".repeat(512) } })), Ok(()));
    for (labels, expected) in [
        (json!({ "project": "" }), "project: must have 1 to 256 bytes"),
        (json!({ "project": "p".repeat(257) }), "project: must have 1 to 256 bytes"),
        (json!({ "meta": many(17) }), "meta: must have at most 16 entries, found 17"),
        (json!({ "meta": { "": "x" } }), "meta: names must have 1 to 64 bytes"),
        (json!({ "meta": { "k".repeat(65): "x" } }), "meta: names must have 1 to 64 bytes"),
        (json!({ "meta": { "k": "v".repeat(513) } }), "meta.k: must have at most 512 bytes"),
    ] {
        assert_eq!(labelled(labels), Err(expected.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_patience_is_told_in_time_and_never_allows_more_than_the_task() {
    let story = Story::with_config(config(json!({ "t": { "deadline_ms": 1000 } })), |_| slow(10 * SECOND, "late"));
    for (patience, ends) in [(SECOND / 2, 500), (60 * SECOND, 1000)] {
        let began = tokio::time::Instant::now();
        let request = InferRequest { patience: Some(patience), ..work("t", "x") };
        let error = story.pool.infer(&request).await.expect_err("too late");
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error:?}");
        assert_eq!(began.elapsed().as_millis(), ends);
    }
}
