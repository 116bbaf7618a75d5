//! Another configuration under running calls: who keeps what, and what is never lost.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Story, answer, fails, host, provider, trail};
use crate::config::{Document, Environment, Settings};
use crate::engine::Clients;
use crate::error::{Error, ErrorKind};
use crate::pool::{Change, Pool};
use crate::time;
use crate::types::CallOptions;

async fn reload(story: &Story, config: Value) -> Result<Option<Change>, Error> {
    story.pool.reload(Some(config), Environment::from_map::<String, String>([])).await
}

fn with(name: &str, priority: u32, changes: Value) -> Value {
    let mut provider = provider(name, priority);
    let (Value::Object(map), Value::Object(changes)) = (&mut provider, changes) else { panic!("objects") };
    map.extend(changes);
    provider
}

fn names<T: std::fmt::Display>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// One attempt and no second.
fn once() -> CallOptions {
    CallOptions { max_retries: Some(0), ..CallOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_stays_with_a_provider_that_stays() {
    let limited = json!({ "requests_per_minute": 2, "circuit_breaker_threshold": 1 });
    let config = |model: &str, priority: u32| {
        json!({ "providers": [with("a", 1, limited.clone()),
            with("b", priority, json!({ "model": model, "requests_per_day": 5 }))] })
    };
    let story = Story::with_config(config("m", 2), |request| match host(request) {
        "a" => fails(500),
        _ => answer("from b"),
    });
    story.ask_with(&once()).await.expect("b answers");
    let change = reload(&story, config("n", 7)).await.expect("valid").expect("another one");
    assert_eq!(
        (names(&change.added), names(&change.removed), names(&change.changed)),
        (vec![], vec![], vec!["b".into()])
    );

    let health = story.pool.engine().health();
    assert!(health.providers["a"].circuit_breaker_open, "the breaker is what it was");
    assert_eq!(health.providers["a"].requests_remaining, Some(1));
    assert_eq!(health.providers["b"].daily_requests_remaining, Some(4), "model and priority count nothing");
    assert_eq!(story.pool.engine().listing()[1].priority, 7);
    let response = story.ask_with(&once()).await.expect("b answers");
    assert_eq!(trail(&response.attempts), ["a:breaker_open", "b:success"]);
    assert_eq!(response.attempts[1].model, "n");

    // Another limit is another count; what it came to in all is not forgotten.
    let mut wider = config("n", 7);
    wider["providers"][0]["requests_per_minute"] = json!(3);
    reload(&story, wider).await.expect("valid").expect("another one");
    let stats = story.pool.engine().provider_stats();
    assert_eq!(stats["a"].health.requests_remaining, Some(3));
    assert!(!stats["a"].health.circuit_breaker_open);
    assert_eq!((stats["a"].usage.errors, stats["a"].usage.total_requests), (1, 1));
    assert_eq!(story.pool.engine().stats().total_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_as_it_began_and_is_counted() {
    let story = Story::new(&["a"], |_| {
        Box::pin(async {
            time::sleep_until(time::now().mono + Duration::from_secs(1)).await;
            answer("late").await
        })
    });
    let (response, ()) = tokio::join!(story.ask(), async {
        tokio::task::yield_now().await;
        reload(&story, json!({ "providers": [provider("b", 1)] })).await.expect("valid");
        assert_eq!(story.pool.engine().stats().active_connections, 1, "still under way");
    });
    assert_eq!(response.expect("answered").provider.as_str(), "a");
    let stats = story.pool.engine().stats();
    assert_eq!((stats.active_connections, stats.total_tokens, stats.successful_requests), (0, 18, 1));
    assert_eq!(story.pool.engine().totals().providers["a"].successful_requests, 1);
    // And again under its name: nothing is counted twice.
    reload(&story, json!({ "providers": [provider("a", 1)] })).await.expect("valid");
    assert_eq!(story.pool.engine().stats().total_tokens, 18);
    story.ask().await.expect("answered");
    assert_eq!(story.pool.engine().totals().providers["a"].successful_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sound_changes_nothing() {
    let story = Story::new(&["a"], |request| answer(host(request)));
    let before = story.pool.edition();
    let error = reload(&story, json!({ "providers": [provider("b", 1), { "name": "c" }], "qos": 5 })).await;
    let error = error.expect_err("two mistakes");
    let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error:?}") };
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(story.pool.edition(), before);
    assert_eq!(story.ask().await.expect("a answers").provider.as_str(), "a");
    // The same again is no change, either.
    assert!(reload(&story, json!({ "providers": [provider("a", 1)] })).await.expect("valid").is_none());
    assert_eq!((story.pool.edition().version, before.version), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_program_changed_survives_a_reload_until_it_is_removed() {
    let story = Story::new(&["a", "b"], |request| answer(host(request)));
    let providers = || {
        let listing = story.pool.engine().listing();
        listing.iter().map(|p| format!("{}:{}:{}", p.name, p.priority, p.enabled)).collect::<Vec<_>>()
    };
    let change = story.pool.add_provider(provider("c", 9)).expect("valid").expect("a change");
    assert_eq!((names(&change.added), change.config), (vec!["c".to_owned()], None));
    story.pool.set_priority("b", 0).expect("known");
    story.pool.set_enabled("a", false).expect("known");
    assert_eq!(providers(), ["a:1:false", "b:0:true", "c:9:true"]);
    assert_eq!(story.ask().await.expect("b").provider.as_str(), "b");

    let config = json!({ "providers": [provider("a", 3), provider("b", 4), provider("d", 5)] });
    let change = reload(&story, config).await.expect("valid").expect("a change");
    assert_eq!(providers(), ["a:3:false", "b:0:true", "d:5:true", "c:9:true"]);
    let shown = change.config.expect("another text");
    assert_eq!(shown["providers"][3]["api_key"], "***");
    assert_eq!((&shown["providers"][1]["priority"], &shown["providers"][0]["enabled"]), (&json!(0), &json!(false)));

    story.pool.remove_provider("a").expect("known");
    story.pool.remove_provider("c").expect("known");
    let again = json!({ "providers": [provider("a", 6), provider("b", 4)] });
    reload(&story, again).await.expect("valid");
    assert_eq!(providers(), ["b:0:true"], "a removed provider stays away");
    let error = story.pool.remove_provider("b").expect_err("the last one");
    assert!(error.to_string().contains("at least one provider"), "{error}");
    story.pool.add_provider(provider("a", 8)).expect("its name is free").expect("a change");
    assert_eq!(providers(), ["b:0:true", "a:8:true"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_of_the_configuration_goes_over_one_of_its_name() {
    let story = Story::new(&["a"], |request| answer(host(request)));
    story.pool.add_provider(provider("b", 9)).expect("valid");
    let change = reload(&story, json!({ "providers": [provider("a", 1), provider("b", 2)] })).await;
    let change = change.expect("valid").expect("a change");
    assert_eq!(
        change.warnings,
        ["addProvider(\"b\"): the configuration has a provider of this name, which is used instead"]
    );
    assert_eq!(story.pool.engine().listing()[1].priority, 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused_by_name() {
    let story = Story::new(&["a"], |request| answer(host(request)));
    for (error, expected) in [
        (story.pool.add_provider(provider("a", 1)), "name: there is a provider of the name \"a\""),
        (story.pool.add_provider(json!({ "type": "openai" })), "name: expected a string"),
        (story.pool.add_provider(json!({ "name": "b", "modle": "m" })), "addProvider(\"b\").modle: unknown key"),
        (story.pool.remove_provider("b"), "no provider is named \"b\""),
        (story.pool.set_priority("b", 1), "no provider is named \"b\""),
        (story.pool.set_enabled("b", true), "no provider is named \"b\""),
    ] {
        let error = error.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    story.pool.shutdown(Duration::ZERO).await;
    let error = reload(&story, json!({ "providers": [provider("b", 1)] })).await.expect_err("closed");
    assert!(matches!(error.kind(), ErrorKind::Closed));
    assert!(matches!(story.pool.set_priority("a", 1).expect_err("closed").kind(), ErrorKind::Closed));
}

#[tokio::test(start_paused = true)]
async fn routing_goes_over_with_the_rest() {
    let story =
        Story::with_config(json!({ "providers": [provider("a", 1)], "routing": { "max_retries": 0 } }), |_| fails(500));
    story.ask().await.expect_err("a is down");
    assert_eq!(story.asked("a"), 1);
    let budget = json!({ "max_retries": 5, "retry_budget": { "ratio": 0, "per_second": 0, "burst": 2 } });
    reload(&story, json!({ "providers": [provider("a", 1)], "routing": budget })).await.expect("valid");
    story.ask().await.expect_err("a is down");
    assert_eq!(story.asked("a"), 1 + 1 + 2, "as many retries as the new budget holds");
}

#[tokio::test]
async fn of_several_at_a_time_the_last_one_is_in_force() {
    let story = Story::new(&["a"], |request| answer(host(request)));
    for round in 0..20 {
        let names = (0..20).map(|n| format!("p{round}x{n}"));
        let story = &story;
        let all = names.map(|name| async move { reload(story, json!({ "providers": [provider(&name, 1)] })).await });
        for change in futures_util::future::join_all(all).await {
            change.expect("valid");
        }
        let listing = story.pool.engine().listing();
        assert_eq!(listing[0].name.as_str(), format!("p{round}x19"));
    }
}

/// A pool whose source is asked, and answers with a provider `late` when it is told to.
fn slow_source() -> (Pool, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/config.json", listener.local_addr().expect("bound"));
    let ((asked, is_asked), (go_on, waits)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("asked");
        let _ = socket.read(&mut [0; 4096]);
        let _ = asked.send(());
        let _ = waits.recv();
        let text = json!({ "providers": [provider("late", 1)] }).to_string();
        let _ = write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    });
    let settings = Settings::parse(&json!({ "configUrl": url }).to_string()).expect("valid");
    let document = Document::object(json!({ "providers": [provider("a", 1)] }));
    let environment = Environment::from_map::<String, String>([]);
    let pool = Pool::with_clients(document, environment, settings, Arc::default(), Clients::http()).expect("valid");
    (pool, is_asked, go_on)
}

#[expect(clippy::disallowed_methods, reason = "a reload that runs beside what the story does")]
fn read_source(pool: &Pool) -> tokio::task::JoinHandle<Result<Option<Change>, Error>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.reload(None, Environment::from_map::<String, String>([])).await })
}

async fn until_asked(is_asked: mpsc::Receiver<()>) {
    tokio::task::spawn_blocking(move || is_asked.recv()).await.expect("no panic").expect("asked");
}

#[tokio::test]
async fn a_slow_reading_does_not_go_over_what_was_handed_over_since() {
    let (pool, is_asked, go_on) = slow_source();
    let slow = read_source(&pool);
    until_asked(is_asked).await;
    let config = json!({ "providers": [provider("newer", 1)] });
    pool.reload(Some(config), Environment::from_map::<String, String>([])).await.expect("valid").expect("a change");
    go_on.send(()).expect("it waits");
    assert!(slow.await.expect("no panic").expect("read").is_none());
    assert_eq!(pool.engine().listing()[0].name.as_str(), "newer");
}

#[tokio::test]
async fn a_shutdown_ends_a_slow_reading() {
    let (pool, is_asked, _never) = slow_source();
    let slow = read_source(&pool);
    until_asked(is_asked).await;
    pool.shutdown(Duration::ZERO).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), slow).await.expect("at once").expect("no panic");
    let error = ended.expect_err("the pool is closed");
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
}
