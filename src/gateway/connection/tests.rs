//! For how long a connection waits for its client. The clock is paused.

use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::config::{Config, Environment, Settings, Source};
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// Of `header_timeout_ms`, below.
const HEADER: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(300);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The client's end of a connection that is served.
fn connect() -> (DuplexStream, JoinHandle<()>) {
    let config = json!({ "providers": [{ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k" }] });
    let environment = Environment::from_map::<String, String>([]);
    let config = Config::load_value(&config, &environment, &Settings::new(Source::Inline(json!(null))));
    let port = Port {
        router: Router::new().route("/", get(|| async { "ok" })),
        patience: Patience::of(&config.expect("valid").server),
        closing: CancellationToken::new(),
        ending: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let tasks = port.tasks.clone();
    let served = tasks.spawn(async move { serve_connection(theirs, Extensions::new(), &port).await });
    (ours, served)
}

async fn answer(client: &mut DuplexStream) {
    let mut told = Vec::new();
    while !told.ends_with(b"ok") {
        assert_ne!(client.read_buf(&mut told).await.expect("open"), 0, "{}", String::from_utf8_lossy(&told));
    }
}

/// How long the connection is kept from now on.
async fn kept(mut client: DuplexStream) -> Duration {
    let since = Instant::now();
    client.read_to_end(&mut Vec::new()).await.expect("closed");
    since.elapsed()
}

fn is_about(kept: Duration, expected: Duration) -> bool {
    (expected..expected + 2 * SECOND).contains(&kept)
}

#[tokio::test(start_paused = true)]
async fn a_head_is_waited_for_and_a_next_request_for_longer() {
    let (client, _) = connect();
    let waited = kept(client).await;
    assert!(is_about(waited, HEADER), "nothing: {waited:?}");

    let (mut client, _) = connect();
    client.write_all(&GET[..9]).await.expect("open");
    let waited = kept(client).await;
    assert!(is_about(waited, HEADER), "half a head: {waited:?}");

    let (mut client, _) = connect();
    client.write_all(GET).await.expect("open");
    answer(&mut client).await;
    time::sleep_until(Instant::now() + IDLE - SECOND).await;
    client.write_all(GET).await.expect("open");
    answer(&mut client).await;
    let waited = kept(client).await;
    assert!(is_about(waited, IDLE), "between requests: {waited:?}");

    let (mut client, _) = connect();
    client.write_all(GET).await.expect("open");
    answer(&mut client).await;
    time::sleep_until(Instant::now() + 3 * HEADER).await;
    client.write_all(&GET[..9]).await.expect("open");
    let waited = kept(client).await;
    assert!(is_about(waited, HEADER), "half of a next head: {waited:?}");
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// `GET http://a/`, by the static table of RFC 7541, appendix A; the end of its stream and of its headers.
const HEADERS: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'];

/// The kinds of frames that come until the connection ends. Answers pings, as a client that lives does.
async fn frames(client: &mut DuplexStream) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while client.read_exact(&mut head).await.is_ok() {
        let [_, high, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        client.read_exact(&mut payload).await.expect("a whole frame");
        if kind == PING && flags != ACK {
            let pong = [&[0, 0, 8, PING, ACK, 0, 0, 0, 0], &payload[..]].concat();
            let _ = client.write_all(&pong).await;
        }
        kinds.push(kind);
    }
    kinds
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_http2_is_kept_and_told_of_its_end() {
    for (first, expected) in [(HEADERS, IDLE), (&[][..], HEADER)] {
        let (mut client, served) = connect();
        let since = Instant::now();
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0][..], first].concat();
        client.write_all(&begin).await.expect("open");
        let told = frames(&mut client).await;
        assert!(is_about(since.elapsed(), expected), "{:?}", since.elapsed());
        assert_eq!(told.last(), Some(&GOAWAY), "{told:?}");
        served.await.expect("no panic");
    }
    // Who does not answer is not waited for.
    let (mut client, _) = connect();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("open");
    let waited = kept(client).await;
    assert!(is_about(waited, HEADER), "{waited:?}");
}
