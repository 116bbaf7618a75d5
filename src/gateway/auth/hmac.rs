//! Requests that are signed with a secret that never goes over the wire.
//!
//! What is signed, a line each: the method, the path with its query, the client's id, the timestamp, the nonce, and the
//! SHA-256 of the body in hexadecimal. The time says how long a request is good, and the nonce that it is good once.
//! Who is nobody's client gets the same answers at the same times as who has not the secret, so that nobody learns which
//! clients there are.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::nonces::{Nonces, Refusal};
use super::{Caller, denied};
use crate::config::{HmacConfig, Secret};
use crate::gateway::refused::Refused;
use crate::time::Now;

const ID: HeaderName = HeaderName::from_static("x-api-key");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
const NONCE: HeaderName = HeaderName::from_static("x-nonce");
const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// Of a nonce: eight bytes in hexadecimal are the fewest that do not repeat by chance.
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

/// Words for both.
const WRONG: &str = "X-Api-Key names no client, or X-Signature is not that of this request";

/// What is computed with where there is no client. Whatever comes of it lets nobody in.
const NOBODYS: &str = "0123456789abcdef0123456789abcdef";

/// A request whose signature is right if its body is the one that was signed.
pub(super) struct Signed {
    /// `None`: nobody's client, which is said when a body was judged.
    client: Option<(Caller, Secret)>,
    /// Everything that is signed but the body.
    text: String,
    nonce: String,
    signature: Vec<u8>,
    /// Unix seconds.
    timestamp: u64,
    max_skew: Duration,
}

/// Does the request say that it is signed?
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    [TIMESTAMP, NONCE, SIGNATURE].iter().any(|name| headers.contains_key(name))
}

/// Everything that can be said before the body is there.
pub(super) fn read(head: &Parts, config: &HmacConfig, now: Now) -> Result<Signed, Refused> {
    let (id, timestamp) = (the_only(&head.headers, &ID)?, the_only(&head.headers, &TIMESTAMP)?);
    let (nonce, signature) = (the_only(&head.headers, &NONCE)?, the_only(&head.headers, &SIGNATURE)?);
    let seconds = read_time(timestamp)?;
    check_time(seconds, config.max_skew, now)?;
    if !NONCE_LENGTH.contains(&nonce.len()) {
        return Err(refused("X-Nonce: expected 16 to 128 characters"));
    }
    let digits = of_hexadecimal(signature).ok_or_else(|| refused("X-Signature: expected 64 hexadecimal digits"))?;
    let client = config.clients.iter().find(|client| client.id == id);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Signed {
        client: client.map(|client| (Caller { tenant: client.tenant.clone() }, client.secret.clone())),
        text: format!("{}\n{path}\n{id}\n{timestamp}\n{nonce}\n", head.method),
        nonce: nonce.to_owned(),
        signature: digits,
        timestamp: seconds,
        max_skew: config.max_skew,
    })
}

impl Signed {
    /// Who has signed it, if this is the body that was signed and it was not sent before. `now` is when the body was here:
    /// a nonce is forgotten by then that was remembered when a slow body began.
    pub fn verify(self, body: &[u8], nonces: &Nonces, now: Now) -> Result<Caller, Refused> {
        let secret = self.client.as_ref().map_or(NOBODYS, |(_, secret)| secret.expose());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let text = self.text + &hexadecimal(digest(&SHA256, body).as_ref());
        // Compares in a time that says nothing.
        let is_signed = hmac::verify(&key, text.as_bytes(), &self.signature).is_ok();
        let Some((caller, secret)) = self.client.filter(|_| is_signed) else { return Err(refused(WRONG)) };
        check_time(self.timestamp, self.max_skew, now)?;
        // From a clock that is ahead to the end of the last second in which it is good.
        let remember = self.max_skew.saturating_mul(2) + Duration::from_secs(1);
        match nonces.take(secret.expose(), &self.nonce, now.unix_ms, remember) {
            Ok(()) => Ok(caller),
            Err(Refusal::Again) => Err(refused("X-Nonce: this request was sent before")),
            Err(Refusal::Full(wait)) => {
                let message =
                    "too many signed requests of this client are remembered; those of the last minutes must be";
                let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
                Err(refused.come_back_in(wait))
            }
        }
    }
}

fn read_time(timestamp: &str) -> Result<u64, Refused> {
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = timestamp.parse().ok().filter(|_| digits);
    seconds.ok_or_else(|| refused("X-Timestamp: expected Unix seconds"))
}

fn check_time(seconds: u64, max_skew: Duration, now: Now) -> Result<(), Refused> {
    if (now.unix_ms / 1000).abs_diff(seconds) > max_skew.as_secs() {
        return Err(refused("X-Timestamp: is too far from this service's time, in Unix seconds"));
    }
    Ok(())
}

/// A second one could be the one that somebody else reads.
fn the_only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Refused> {
    let mut all = headers.get_all(name).iter();
    match (all.next().map(|value| value.to_str()), all.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => Err(refused(&format!("{} is missing", shown(name)))),
        _ => Err(refused(&format!("{}: expected it once, in ASCII", shown(name)))),
    }
}

fn shown(name: &HeaderName) -> &'static str {
    match name {
        name if *name == ID => "X-Api-Key",
        name if *name == TIMESTAMP => "X-Timestamp",
        name if *name == NONCE => "X-Nonce",
        _ => "X-Signature",
    }
}

fn refused(message: &str) -> Refused {
    denied("invalid_signature", message).challenging(r#"HMAC-SHA256 realm="llmpool""#)
}

/// A request that is not signed, where nothing else lets anybody in.
pub(super) fn unsigned() -> Refused {
    refused("X-Signature is missing")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let is_whole = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bytes = (0..64).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    is_whole.then(|| bytes.collect())?
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::HmacClient;
    use crate::time;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const BODY: &[u8] = br#"{"a":1}"#;

    fn config() -> HmacConfig {
        let client = |id: &str, tenant: Option<&str>| HmacClient {
            id: id.to_owned(),
            secret: Secret::new(format!("{SECRET}{}", if id == "ci" { "" } else { id })),
            tenant: tenant.map(str::to_owned),
        };
        HmacConfig { clients: vec![client("ci", Some("them")), client("b", None)], max_skew: Duration::from_secs(300) }
    }

    fn now(unix: u64) -> Now {
        Now { mono: time::now().mono, unix_ms: unix * 1000 }
    }

    /// As a client signs it.
    fn sign(target: &str, timestamp: &str, nonce: &str, body: &[u8]) -> String {
        let text = format!("POST\n{target}\nci\n{timestamp}\n{nonce}\n{}", hexadecimal(digest(&SHA256, body).as_ref()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hexadecimal(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method("POST").uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    const NONCE: &str = "0123456789abcdef";
    const TARGET: &str = "/v1/chat/completions?x=1";

    /// The headers of a good request at second 1000, with some others in their place.
    fn signed(changes: &[(&'static str, &str)]) -> Parts {
        let signature = sign(TARGET, "1000", NONCE, BODY);
        let good = [("x-api-key", "ci"), ("x-timestamp", "1000"), ("x-nonce", NONCE), ("x-signature", &signature)];
        let changed = |name: &str| changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
        let headers: Vec<_> = good.iter().map(|(name, value)| (*name, changed(name).unwrap_or(value))).collect();
        head(TARGET, &headers.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
    }

    /// By what is computed with where there is no client.
    fn by_nobody() -> Parts {
        let body = hexadecimal(digest(&SHA256, BODY).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, NOBODYS.as_bytes());
        let signature = hmac::sign(&key, format!("POST\n{TARGET}\nnobody\n1000\n{NONCE}\n{body}").as_bytes());
        signed(&[("x-api-key", "nobody"), ("x-signature", &hexadecimal(signature.as_ref()))])
    }

    fn outcome(head: &Parts, body: &[u8], at: u64, nonces: &Nonces) -> Result<Caller, String> {
        stalled(head, body, at, at, nonces)
    }

    /// Its head came at the one second, and the last of its body at the other.
    fn stalled(head: &Parts, body: &[u8], at: u64, later: u64, nonces: &Nonces) -> Result<Caller, String> {
        let read = read(head, &config(), now(at)).and_then(|signed| signed.verify(body, nonces, now(later)));
        read.map_err(|refused| refused.message)
    }

    #[test]
    fn what_is_signed_is_let_in_once() {
        let nonces = Nonces::new(10);
        let them = Ok(Caller { tenant: Some("them".to_owned()) });
        assert_eq!(outcome(&signed(&[]), BODY, 1000, &nonces), them);
        let again = outcome(&signed(&[]), BODY, 1299, &nonces).expect_err("a replay");
        assert!(again.contains("sent before"), "{again}");
        let upper = sign(TARGET, "1000", NONCE, BODY).to_uppercase();
        assert_eq!(outcome(&signed(&[("x-signature", &upper)]), BODY, 1000, &Nonces::new(10)), them);
    }

    #[test]
    fn a_request_is_good_for_as_long_as_clocks_may_differ() {
        for (at, good) in [(699, false), (700, true), (1300, true), (1301, false)] {
            assert_eq!(outcome(&signed(&[]), BODY, at, &Nonces::new(10)).is_ok(), good, "{at}");
        }
        // While it is good, it is remembered: at the latest it was sent first by a clock that was ahead.
        let nonces = Nonces::new(10);
        assert!(outcome(&signed(&[]), BODY, 700, &nonces).is_ok());
        assert!(outcome(&signed(&[]), BODY, 1300, &nonces).is_err());
        let last = Now { unix_ms: 1_300_999, ..now(1300) };
        let signed = read(&signed(&[]), &config(), last).expect("still good");
        assert!(signed.verify(BODY, &nonces, last).is_err(), "a second is good to its end");
    }

    #[test]
    fn a_body_that_comes_late_makes_no_request_good_for_longer() {
        let nonces = Nonces::new(10);
        assert!(outcome(&signed(&[]), BODY, 1000, &nonces).is_ok());
        let told = stalled(&signed(&[]), BODY, 1300, 1602, &nonces).expect_err("a replay");
        assert!(told.starts_with("X-Timestamp: is too far"), "{told}");
    }

    #[test]
    fn whatever_was_changed_is_not_what_was_signed() {
        let other = sign("/v1/embeddings", "1000", NONCE, BODY);
        for (what, head, body) in [
            ("body", signed(&[]), &b"{\"a\":2}"[..]),
            ("no body", signed(&[]), b""),
            ("path", signed(&[("x-signature", &other)]), BODY),
            ("time", signed(&[("x-timestamp", "1001")]), BODY),
            ("nonce", signed(&[("x-nonce", "fedcba9876543210")]), BODY),
            ("client", signed(&[("x-api-key", "b")]), BODY),
            ("nobody", signed(&[("x-api-key", "nobody")]), BODY),
            ("nobody, by nobody's secret", by_nobody(), BODY),
        ] {
            assert_eq!(outcome(&head, body, 1000, &Nonces::new(10)), Err(WRONG.to_owned()), "{what}");
        }
        let mut head = signed(&[]);
        head.method = http::Method::PUT;
        assert!(outcome(&head, BODY, 1000, &Nonces::new(10)).is_err());
        let mut head = signed(&[]);
        head.uri = "/v1/chat/completions?x=2".parse().expect("a target");
        assert!(outcome(&head, BODY, 1000, &Nonces::new(10)).is_err());
    }

    #[test]
    fn what_is_missing_or_unreadable_is_named() {
        for (changes, said) in [
            (("x-api-key", ""), "X-Api-Key is missing"),
            (("x-timestamp", ""), "X-Timestamp is missing"),
            (("x-nonce", ""), "X-Nonce is missing"),
            (("x-signature", ""), "X-Signature is missing"),
            (("x-timestamp", "+1000"), "X-Timestamp: expected Unix seconds"),
            (("x-timestamp", "1000000"), "X-Timestamp: is too far"),
            (("x-nonce", "short"), "X-Nonce: expected 16 to 128"),
            (("x-signature", "zz"), "X-Signature: expected 64"),
        ] {
            let told = outcome(&signed(&[changes]), BODY, 1000, &Nonces::new(10)).expect_err(said);
            assert!(told.starts_with(said), "{told}");
            // Nobody's client is told the same.
            let nobody = [changes, ("x-api-key", if changes.0 == "x-api-key" { "" } else { "nobody" })];
            assert_eq!(outcome(&signed(&nobody), BODY, 1000, &Nonces::new(10)), Err(told));
        }
        let mut twice = signed(&[]);
        twice.headers.append("x-nonce", http::HeaderValue::from_static("fedcba9876543210"));
        let told = outcome(&twice, BODY, 1000, &Nonces::new(10)).expect_err("two nonces");
        assert!(told.starts_with("X-Nonce: expected it once"), "{told}");
    }

    #[test]
    fn a_client_that_sends_too_many_is_told_when_there_is_room() {
        let nonces = Nonces::new(1);
        nonces.take(SECRET, "another one", 1_000_000, Duration::from_secs(600)).expect("room for one");
        let read = read(&signed(&[]), &config(), now(1000)).expect("signed");
        assert_eq!(read.verify(BODY, &nonces, now(1000)).expect_err("full").status, StatusCode::TOO_MANY_REQUESTS);
    }
}
