use std::time::Duration;

use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header as Head, encode};
use serde_json::json;

use super::*;
use crate::config::{KeyKind, Secret};
use crate::time;

/// Unix seconds at which everything here happens.
const NOW: u64 = 2_000_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn fixture(name: &str) -> String {
    let path = format!("{}/__test__/fixtures/jwt/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a key")
}

fn public(name: &str, kind: KeyKind) -> JwtKeys {
    JwtKeys::Public(PublicKey::from_pem(&fixture(&format!("{name}.pub")), kind).expect("a key"))
}

fn config(alg: JwtAlg, keys: JwtKeys) -> JwtConfig {
    let leeway = Duration::ZERO;
    JwtConfig { alg, keys, aud: None, iss: None, scope: None, tenant_claim: "tenant".to_owned(), leeway }
}

fn shared() -> JwtConfig {
    config(JwtAlg::HS256, JwtKeys::Secret(Secret::new(SECRET)))
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({ "exp": NOW + 60 });
    claims.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    claims
}

fn of_secret(claims: &Value) -> String {
    encode(&Head::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

async fn shown(token: &str, config: &JwtConfig) -> Result<Caller, Refused> {
    let now = Now { mono: time::now().mono, unix_ms: NOW * 1000 };
    holder(token, config, &Issuer::default(), now).await
}

async fn refused(token: &str, config: &JwtConfig) -> String {
    let refused = shown(token, config).await.expect_err("refused");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    refused.message
}

/// A token that says this of itself, signed with what the caller likes.
fn forged(head: Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&head), part(&claims(json!({}))));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn every_algorithm_is_checked_with_a_key_of_its_kind() {
    for alg in JwtAlg::ALL {
        let (name, other) = match alg.kind() {
            KeyKind::Secret => ("", ""),
            KeyKind::Rsa => ("rsa", "rsa-other"),
            KeyKind::P256 => ("p256", ""),
            KeyKind::P384 => ("p384", ""),
            KeyKind::Ed25519 => ("ed25519", ""),
        };
        let pem = || fixture(&format!("{name}.key"));
        let (key, keys) = match alg.kind() {
            KeyKind::Secret => (EncodingKey::from_secret(SECRET.as_bytes()), JwtKeys::Secret(Secret::new(SECRET))),
            KeyKind::Rsa => (EncodingKey::from_rsa_pem(pem().as_bytes()).expect("a key"), public(name, alg.kind())),
            KeyKind::P256 | KeyKind::P384 => {
                (EncodingKey::from_ec_pem(pem().as_bytes()).expect("a key"), public(name, alg.kind()))
            }
            KeyKind::Ed25519 => (EncodingKey::from_ed_pem(pem().as_bytes()).expect("a key"), public(name, alg.kind())),
        };
        let token = encode(&Head::new(algorithm(alg)), &claims(json!({ "tenant": "them" })), &key).expect("a token");
        let config_of = |keys| config(alg, keys);
        let holder = shown(&token, &config_of(keys.clone())).await.expect("let in");
        assert_eq!(holder.tenant.as_deref(), Some("them"), "{alg:?}");
        let (message, signature) = token.rsplit_once('.').expect("a signature");
        let other_letter = if signature.starts_with('A') { "B" } else { "A" };
        let changed = format!("{message}.{other_letter}{}", &signature[1..]);
        assert!(refused(&changed, &config_of(keys)).await.contains("signature"), "{alg:?}");
        if !other.is_empty() {
            let told = refused(&token, &config_of(public(other, alg.kind()))).await;
            assert!(told.contains("signature"), "{alg:?}: another key");
        }
    }
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_checked() {
    let rsa = config(JwtAlg::RS256, public("rsa", KeyKind::Rsa));
    let pem = fixture("rsa.pub");
    let none = forged(json!({ "alg": "none" }), b"");
    let bare = format!("{}.", none.rsplit_once('.').expect("parts").0);
    for (token, config) in [
        (&none, &rsa),
        (&bare, &rsa),
        (&forged(json!({ "alg": "None" }), b""), &rsa),
        (&none, &shared()),
        // A public key, which everybody has, taken for a secret.
        (&forged(json!({ "alg": "HS256" }), pem.as_bytes()), &rsa),
        (&forged(json!({ "alg": "HS256" }), pem.trim_end().as_bytes()), &rsa),
        (&forged(json!({ "alg": "HS512" }), SECRET.as_bytes()), &shared()),
    ] {
        let told = refused(token, config).await;
        assert!(told.contains("another algorithm"), "{told}");
    }
    let told = refused(&forged(json!({ "alg": "RS256" }), pem.as_bytes()), &rsa).await;
    assert!(told.contains("signature"), "{told}");
    // Its own key, or an address of one, is nobody's business.
    let own = json!({ "alg": "RS256", "jku": "https://evil.test/keys", "jwk": { "kty": "oct", "k": "c2VjcmV0" } });
    assert!(refused(&forged(own, b"secret"), &rsa).await.contains("signature"));
    let critical = forged(json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), SECRET.as_bytes());
    assert!(refused(&critical, &shared()).await.contains("extensions"));
    assert!(shown(&forged(json!({ "alg": "HS256" }), SECRET.as_bytes()), &shared()).await.is_ok(), "the forger works");
}

#[tokio::test]
async fn a_token_is_good_from_nbf_until_exp() {
    for (changes, leeway, said) in [
        (json!({ "exp": NOW }), 0, "expired"),
        (json!({ "exp": NOW + 1 }), 0, ""),
        (json!({ "exp": NOW as f64 + 0.5 }), 0, ""),
        (json!({ "exp": NOW - 9 }), 10, ""),
        (json!({ "exp": NOW - 10 }), 10, "expired"),
        (json!({ "exp": Value::Null }), 0, "a time in the token"),
        (json!({ "exp": "tomorrow" }), 0, "a time in the token"),
        (json!({ "nbf": NOW + 1 }), 0, "not good yet"),
        (json!({ "nbf": NOW + 10 }), 10, ""),
        (json!({ "nbf": NOW + 11 }), 10, "not good yet"),
        (json!({ "nbf": NOW }), 0, ""),
        (json!({ "nbf": [] }), 0, "a time in the token"),
    ] {
        let config = JwtConfig { leeway: Duration::from_secs(leeway), ..shared() };
        let outcome = shown(&of_secret(&claims(changes.clone())), &config).await;
        match outcome {
            Ok(_) => assert_eq!(said, "", "{changes} was let in"),
            Err(refused) => assert!(!said.is_empty() && refused.message.contains(said), "{changes}: {refused:?}"),
        }
    }
    assert!(refused(&of_secret(&json!({ "nbf": NOW })), &shared()).await.contains("never expires"));
}

#[tokio::test]
async fn a_token_is_for_its_audience_and_of_its_issuer() {
    let pinned = JwtConfig { aud: Some("llm".to_owned()), iss: Some("https://id.test".to_owned()), ..shared() };
    let good = json!({ "aud": "llm", "iss": "https://id.test" });
    for (changes, said) in [
        (json!({}), ""),
        (json!({ "aud": ["other", "llm"] }), ""),
        (json!({ "aud": "other" }), "audience"),
        (json!({ "aud": ["other"] }), "audience"),
        (json!({ "aud": { "llm": true } }), "audience"),
        (json!({ "aud": Value::Null }), "audience"),
        (json!({ "iss": "https://id.test/" }), "issuer"),
        (json!({ "iss": ["https://id.test"] }), "issuer"),
        (json!({ "iss": Value::Null }), "issuer"),
    ] {
        let mut asked = claims(good.clone());
        asked.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let outcome = shown(&of_secret(&asked), &pinned).await.map_err(|refused| refused.message);
        assert_eq!(outcome.is_ok(), said.is_empty(), "{changes}: {outcome:?}");
        assert!(outcome.err().unwrap_or_default().contains(said), "{changes}");
    }
    // A service without a name is in no audience.
    assert!(refused(&of_secret(&claims(json!({ "aud": "somebody" }))), &shared()).await.contains("audience"));
}

#[tokio::test]
async fn a_scope_that_is_missing_is_a_403() {
    let scoped = JwtConfig { scope: Some("llm:use".to_owned()), ..shared() };
    for (changes, good) in [
        (json!({ "scope": "openid llm:use" }), true),
        (json!({ "scp": ["openid", "llm:use"] }), true),
        (json!({ "scp": "llm:use" }), true),
        (json!({ "scope": "llm:use2 llm" }), false),
        (json!({ "scope": 5 }), false),
        (json!({}), false),
    ] {
        let outcome = shown(&of_secret(&claims(changes.clone())), &scoped).await;
        match outcome {
            Ok(_) => assert!(good, "{changes}"),
            Err(refused) => {
                assert!(!good, "{changes}");
                assert_eq!((refused.status, refused.code), (StatusCode::FORBIDDEN, Some("insufficient_scope")));
            }
        }
    }
}

#[tokio::test]
async fn a_token_says_on_whose_behalf_its_holder_calls() {
    let named = JwtConfig { tenant_claim: "https://id.test/org".to_owned(), ..shared() };
    let token = of_secret(&claims(json!({ "https://id.test/org": "them", "tenant": "others" })));
    assert_eq!(shown(&token, &named).await.expect("let in").tenant.as_deref(), Some("them"));
    assert_eq!(shown(&of_secret(&claims(json!({}))), &named).await.expect("let in").tenant, None);
    for tenant in [json!(5), json!(""), json!(["them"])] {
        let told = refused(&of_secret(&claims(json!({ "tenant": tenant }))), &shared()).await;
        assert!(told.contains("tenant"), "{tenant}: {told}");
    }
}

#[tokio::test]
async fn nonsense_is_no_token() {
    let good = of_secret(&claims(json!({})));
    let (message, _) = good.rsplit_once('.').expect("parts");
    for token in
        ["..", "a.b.c", "e30.e30.e30", &format!("{message}.%%%"), &format!("{good}="), &good.replace('.', "..")]
    {
        assert!(!refused(token, &shared()).await.is_empty(), "{token}");
    }
    assert!(is_token("a.b.c") && !is_token("sk-a.b") && !is_token("a.b.c.d"));
}
