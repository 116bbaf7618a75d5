//! A server that answers what a test tells it to.

use std::collections::VecDeque;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::config::{Config, Settings};

const TEXT: &str = r#"{ "providers": [{ "name": "a", "type": "openai", "model": "m", "api_key": "${KEY}" }] }"#;

/// Answers each connection once, in order, and hands on what was asked.
async fn server(replies: impl IntoIterator<Item = String>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/sk-secret/config.json?token=sk-secret", listener.local_addr().expect("an address"));
    let mut replies: VecDeque<String> = replies.into_iter().collect();
    let (asked, requests) = mpsc::unbounded_channel();
    #[expect(clippy::disallowed_methods, reason = "a server of a test")]
    tokio::spawn(async move {
        while let Some(reply) = replies.pop_front() {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                request.extend(byte);
            }
            let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
            let _ = socket.write_all(reply.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    (url, requests)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn remote(url: &str) -> Remote {
    Remote {
        url: check_url(url).expect("loopback"),
        headers: Vec::new(),
        variables: vec!["KEY".into()],
        sha256: None,
        cache: None,
    }
}

fn environment() -> Environment {
    Environment::from_map([("KEY", "sk-1"), ("OTHER", "sk-2")])
}

async fn message(remote: Remote) -> String {
    match Feed::new(&Source::Url(remote)).read(&environment()).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_is_asked_for_news_once_it_is_in_force() {
    let (url, mut requests) = server([
        reply("200 OK", "etag: \"one\"\r\n", TEXT),
        reply("200 OK", "etag: \"two\"\r\n", TEXT),
        reply("304 Not Modified", "", ""),
        reply("200 OK", "etag: \"three\"\r\n", TEXT),
    ])
    .await;
    let remote = Remote { headers: vec![("authorization".into(), "Bearer sk-3".into())], ..remote(&url) };
    let mut feed = Feed::new(&Source::Url(remote));
    feed.read(&environment()).await.expect("answered").expect("a text");
    let document =
        feed.read(&environment()).await.expect("answered").expect("a text: the first one was not put in force");
    feed.keep(&document).await.expect("no file");
    assert!(feed.read(&environment()).await.expect("answered").is_none());
    feed.forget();
    assert!(feed.read(&environment()).await.expect("answered").is_some());
    let asked = [(); 4].map(|()| requests.try_recv().expect("asked").to_lowercase());
    assert!(asked.iter().all(|request| request.contains("authorization: bearer sk-3")), "{asked:?}");
    assert_eq!(asked.each_ref().map(|request| request.contains("if-none-match")), [false, false, true, false]);
    assert!(asked[2].contains("if-none-match: \"two\""));
}

#[tokio::test]
async fn what_cannot_be_used_is_said_without_the_secrets_of_the_url() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", 1024 * 1024 * 1024);
    for (answer, expected) in [
        (reply("500 Internal Server Error", "", "sk-secret"), "the server answered 500"),
        (reply("302 Found", "location: https://elsewhere/\r\n", ""), "answered 302; redirects are not followed"),
        (large, "over 16777216 bytes"),
        (reply("200 OK", "", "<html>sk-secret"), "not valid JSON"),
        (reply("200 OK", "content-encoding: gzip\r\n", "sk-secret"), "gzip"),
        ("nonsense\r\n\r\n".to_owned(), "before a reply"),
    ] {
        let (url, _requests) = server([answer]).await;
        let said = message(remote(&url)).await;
        assert!(said.contains(expected) && !said.contains("secret"), "{expected}: {said}");
    }
    let (url, _requests) = server([]).await;
    assert!(message(remote(&url)).await.contains("configUrl: http://127.0.0.1"));
}

#[tokio::test]
async fn a_hash_that_was_asked_for_must_be_the_one() {
    let (url, _requests) = server([reply("200 OK", "", TEXT), reply("200 OK", "", TEXT)]).await;
    let wrong = Remote { sha256: Some("0".repeat(64)), ..remote(&url) };
    let said = message(wrong).await;
    assert!(said.contains(&checksum(TEXT.as_bytes())) && said.contains("configSha256"), "{said}");
    let right = Remote { sha256: Some(checksum(TEXT.as_bytes())), ..remote(&url) };
    assert_eq!(message(right).await, "");
}

#[tokio::test]
async fn a_text_from_the_network_reads_only_what_it_was_given() {
    let text = TEXT.replace("${KEY}", "${OTHER}");
    let yaml = "providers:\n  - { name: a, type: openai, model: m, api_key: \"${file:/etc/hostname}\" }\n";
    let (url, _requests) = server([
        reply("200 OK", "", TEXT),
        reply("200 OK", "", &text),
        reply("200 OK", "content-type: application/yaml; charset=utf-8\r\n", yaml),
    ])
    .await;
    let source = Source::Url(remote(&url));
    let settings = Settings::new(source.clone());
    let mut feed = Feed::new(&source);
    let mut load = async || {
        let document = feed.read(&environment()).await.expect("answered").expect("a text");
        Config::of(&document, &environment(), &settings).map_err(|error| error.to_string())
    };
    assert_eq!(load().await.expect("given").providers[0].keys[0].expose(), "sk-1");
    assert!(load().await.expect_err("not given").contains("may not read OTHER"));
    assert!(load().await.expect_err("a file").contains("reads no files of this machine"));
}

#[tokio::test]
async fn what_was_in_force_is_kept_for_the_next_start() {
    let cache = std::env::temp_dir().join(format!("llmpool-feed-{}.json", std::process::id()));
    let (url, _requests) = server([reply("200 OK", "content-type: application/json\r\n", TEXT)]).await;
    let remote = Remote { cache: Some(cache.clone()), ..remote(&url) };
    let source = Source::Url(remote.clone());
    let mut feed = Feed::new(&source);
    assert!(feed.cached().await.is_none(), "there is no file yet");
    let document = feed.read(&environment()).await.expect("answered").expect("a text");
    feed.keep(&document).await.expect("written");
    let kept = Feed::new(&source).cached().await.expect("kept");
    assert_eq!((kept.checksum(), kept.value()), (document.checksum(), document.value()));
    assert!(Config::of(&kept, &Environment::default(), &Settings::new(source.clone())).is_err(), "still limited");

    let elsewhere = Remote { url: check_url("http://127.0.0.1:1/other").expect("loopback"), ..remote.clone() };
    assert!(Feed::new(&Source::Url(elsewhere)).cached().await.is_none(), "of another URL");
    let text = std::fs::read_to_string(&cache).expect("kept");
    assert!(!text.contains("sk-secret"), "the URL is not in it");
    std::fs::write(&cache, text.replace("openai", "opnai!")).expect("changed");
    assert!(Feed::new(&source).cached().await.is_none(), "it is damaged");
    std::fs::remove_file(&cache).expect("removed");
}
