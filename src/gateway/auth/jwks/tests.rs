use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// An issuer on this machine: what it says, and how often it was asked.
struct Served {
    source: Source,
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

async fn issuer(status: u16, says: &Value) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address")).parse().expect("a URL");
    let served = Served {
        source: Source { url, client: ClientParams::default() },
        says: Arc::new(Mutex::new((status, says.to_string()))),
        asked: Arc::default(),
    };
    let (says, asked) = (Arc::clone(&served.says), Arc::clone(&served.asked));
    spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            asked.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            let (status, text) = says.lock().expect("no panic").clone();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            let _ = socket.write_all((head + &text).as_bytes()).await;
        }
    });
    served
}

#[expect(clippy::disallowed_methods, reason = "the other side of the story")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

impl Served {
    fn say(&self, status: u16, says: &Value) {
        *self.says.lock().expect("no panic") = (status, says.to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks for a key so many seconds after `start`.
    async fn key(&self, issuer: &Issuer, id: &str, start: Now, seconds: u64) -> Result<PublicKey, StatusCode> {
        let now = Now { mono: start.mono + Duration::from_secs(seconds), ..start };
        issuer.key(&self.source, JwtAlg::EdDSA, Some(id), now).await.map_err(|refused| refused.status)
    }
}

fn list(ids: &[&str]) -> Value {
    let keys: Vec<_> = ids.iter().map(|id| ed25519(id)).collect();
    json!({ "keys": keys })
}

fn ed25519(id: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode([7; 32]) })
}

#[tokio::test]
async fn a_list_is_fetched_once_and_kept() {
    let served = issuer(200, &list(&["a", "b"])).await;
    let (issuer, start) = (Issuer::default(), time::now());
    let all = (0..20).map(|_| served.key(&issuer, "a", start, 0));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert!(served.key(&issuer, "b", start, 599).await.is_ok());
    assert_eq!(served.asked(), 1);
}

#[tokio::test]
async fn a_key_that_is_not_listed_is_asked_for_at_most_twice_a_minute() {
    let served = issuer(200, &list(&["a"])).await;
    let (issuer, start) = (Issuer::default(), time::now());
    assert!(served.key(&issuer, "a", start, 0).await.is_ok());
    for seconds in [1, 10, 29] {
        assert_eq!(served.key(&issuer, "new", start, seconds).await, Err(StatusCode::UNAUTHORIZED));
    }
    assert_eq!(served.asked(), 1);
    served.say(200, &list(&["new"]));
    assert!(served.key(&issuer, "new", start, 30).await.is_ok());
    assert_eq!((served.key(&issuer, "a", start, 31).await, served.asked()), (Err(StatusCode::UNAUTHORIZED), 2));
}

#[tokio::test]
async fn while_the_issuer_is_down_the_last_list_counts_for_a_day() {
    let served = issuer(200, &list(&["a"])).await;
    let (issuer, start) = (Issuer::default(), time::now());
    assert!(served.key(&issuer, "a", start, 0).await.is_ok());
    served.say(500, &json!({}));
    for seconds in [1200, 1210, 3600, 24 * 3600 - 1] {
        assert!(served.key(&issuer, "a", start, seconds).await.is_ok(), "{seconds}");
    }
    assert_eq!(served.asked(), 4, "twice within the pause is once");
    assert_eq!(served.key(&issuer, "a", start, 24 * 3600 + 30).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    served.say(200, &list(&["a"]));
    assert_eq!(served.key(&issuer, "a", start, 24 * 3600 + 31).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    assert!(served.key(&issuer, "a", start, 24 * 3600 + 60).await.is_ok());
}

#[tokio::test]
async fn a_list_past_its_time_is_used_while_another_one_is_fetched() {
    let served = issuer(200, &list(&["a"])).await;
    let (issuer, start) = (Issuer::default(), time::now());
    assert!(served.key(&issuer, "a", start, 0).await.is_ok());
    served.say(200, &list(&["b"]));
    assert!(served.key(&issuer, "a", start, 600).await.is_ok(), "it does not wait");
    assert!(served.key(&issuer, "b", start, 601).await.is_ok(), "who needs the new one does");
    assert_eq!(served.asked(), 2);
}

#[tokio::test]
async fn what_is_no_list_lets_nobody_in() {
    for (status, says) in [
        (404, list(&["a"])),
        (200, json!([])),
        (200, json!({ "keys": "a" })),
        (200, json!({ "keys": [], "x": "y".repeat(MAX_BYTES) })),
    ] {
        let served = issuer(status, &says).await;
        let outcome = served.key(&Issuer::default(), "a", time::now(), 0).await;
        assert_eq!(outcome, Err(StatusCode::SERVICE_UNAVAILABLE), "{status}");
    }
    let served = issuer(200, &json!({ "keys": [] })).await;
    assert_eq!(served.key(&Issuer::default(), "a", time::now(), 0).await, Err(StatusCode::UNAUTHORIZED));
}

#[test]
fn keys_that_are_for_something_else_or_broken_are_not_taken() {
    let changed = |changes: Value| {
        let mut key = ed25519("a");
        key.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        key
    };
    let short = URL_SAFE_NO_PAD.encode([7; 31]);
    let weak = URL_SAFE_NO_PAD.encode([255; 128]);
    for (key, taken) in [
        (changed(json!({ "use": "sig", "key_ops": ["verify"], "alg": "EdDSA", "x5c": ["…"] })), true),
        (changed(json!({ "use": "enc" })), false),
        (changed(json!({ "key_ops": ["sign"] })), false),
        (changed(json!({ "x": short })), false),
        (changed(json!({ "x": "%" })), false),
        (changed(json!({ "crv": "Ed448" })), false),
        (json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }), false),
        (json!({ "kty": "RSA", "kid": "a", "n": weak, "e": "AQAB" }), false),
        (json!({ "kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA" }), false),
        (json!("a"), false),
    ] {
        let read = read(json!({ "keys": [key] }).to_string().as_bytes()).expect("a list");
        assert_eq!(read.len(), usize::from(taken), "{key}");
    }
}

#[test]
fn a_token_without_the_name_of_its_key_is_good_where_there_is_one() {
    let read = |keys: Value| read(json!({ "keys": keys }).to_string().as_bytes()).expect("a list");
    let n = URL_SAFE_NO_PAD.encode([255; 256]);
    let rsa = |alg: &str| json!({ "kty": "RSA", "kid": alg, "alg": alg, "n": n, "e": "AQAB" });
    let both = read(json!([ed25519("a"), rsa("RS256"), rsa("RS512")]));
    assert!(choose(&both, JwtAlg::EdDSA, None).is_ok());
    assert!(choose(&both, JwtAlg::RS256, None).is_ok(), "the other one is for another algorithm");
    assert!(choose(&both, JwtAlg::RS256, Some("RS512")).is_err());
    let told = choose(&read(json!([ed25519("a"), ed25519("b")])), JwtAlg::EdDSA, None).expect_err("two");
    assert!(told.message.contains("which"), "{}", told.message);
}
