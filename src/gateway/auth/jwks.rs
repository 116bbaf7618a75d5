//! The issuer's list of keys: fetched when it is needed, and kept.
//!
//! A list is fresh for ten minutes, and used for ten more while another one is fetched; then callers wait for that. A
//! token whose key is not in it makes the service ask again, because issuers change their keys; anybody can make up
//! such a token, so that is done at most every thirty seconds. While the issuer cannot be reached the last list counts,
//! for a day: a key that was withdrawn in that time would be good for so long. However many requests wait for a list,
//! it is fetched once, and nobody who leaves ends that for the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::invalid_token;
use crate::config::{JwtAlg, KeyKind, PublicKey};
use crate::gateway::refused::Refused;
use crate::time::{self, Instant, Now};
use crate::transport::{ClientParams, Fetcher, HttpReply, read_all};

/// Issuers publish a new key long before they sign with it.
const FRESH: Duration = Duration::from_secs(600);
/// From one request for the list to the next, whatever came of it.
const PAUSE: Duration = Duration::from_secs(30);
/// Longer than an issuer is down for.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Callers wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A hundred keys with their certificates.
const MAX_BYTES: usize = 256 * 1024;

/// Where a list is, and how it is reached.
#[derive(Clone, PartialEq)]
pub(in crate::gateway) struct Source {
    pub url: Url,
    pub client: ClientParams,
}

/// The keys of an issuer, as far as they are known.
#[derive(Default)]
pub(in crate::gateway) struct Issuer(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// What the rest is about; another configuration begins anew.
    source: Option<Source>,
    list: Option<(Arc<[Listed]>, Instant)>,
    /// When the list was asked for last, and what came or will come of it.
    asked: Option<(Instant, Flight)>,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<[Listed]>, ()>>>;

/// A key that can check signatures.
#[derive(Debug)]
struct Listed {
    id: Option<String>,
    /// The only one it is for, if it says so.
    alg: Option<String>,
    kind: KeyKind,
    key: PublicKey,
}

impl Issuer {
    /// The key of that name. A token without a name is good where there is one key only.
    pub async fn key(&self, source: &Source, alg: JwtAlg, id: Option<&str>, now: Now) -> Result<PublicKey, Refused> {
        let look = || self.held().look(source, now.mono, |list| choose(list, alg, id));
        match look() {
            (Some(found), None) => found,
            (_, Some(flight)) => {
                let _ = flight.await; // what came of it is found in its place
                look().0.unwrap_or_else(|| Err(unavailable()))
            }
            (None, None) => Err(unavailable()),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What is found in the list, `None` without any; and the request for another one, where that is to be waited for.
    fn look<T>(
        &mut self,
        source: &Source,
        now: Instant,
        find: impl Fn(&[Listed]) -> Result<T, Refused>,
    ) -> (Option<Result<T, Refused>>, Option<Flight>) {
        if self.source.as_ref() != Some(source) {
            *self = Self { source: Some(source.clone()), ..Self::default() };
        }
        if let Some((asked, flight)) = &self.asked
            && let Some(Ok(list)) = flight.peek()
        {
            self.list = Some((Arc::clone(list), *asked));
        }
        let age = self.list.as_ref().map(|(_, read)| now.saturating_duration_since(*read));
        let age = age.filter(|age| *age < STALE);
        let found = self.list.as_ref().filter(|_| age.is_some()).map(|(list, _)| find(list));
        let is_good = matches!(found, Some(Ok(_)));
        if is_good && age.is_some_and(|age| age < FRESH) {
            return (found, None);
        }
        let flight = self.flight(source, now);
        let will_do = is_good && age.is_some_and(|age| age < 2 * FRESH);
        (found, flight.filter(|_| !will_do))
    }

    /// The request that is under way, or a new one if it is time; `None`: it was asked for just now, and answered.
    fn flight(&mut self, source: &Source, now: Instant) -> Option<Flight> {
        if let Some((asked, flight)) = &self.asked
            && now.saturating_duration_since(*asked) < PAUSE
        {
            return flight.peek().is_none().then(|| flight.clone());
        }
        let flight = fetch(source.clone()).boxed().shared();
        follow(flight.clone());
        self.asked = Some((now, flight.clone()));
        Some(flight)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a caller that leaves must not end it: the list is for those that follow"
)]
fn follow(flight: Flight) {
    tokio::spawn(flight);
}

fn choose(list: &[Listed], alg: JwtAlg, id: Option<&str>) -> Result<PublicKey, Refused> {
    let fits = |key: &&Listed| {
        key.kind == alg.kind()
            && key.alg.as_deref().is_none_or(|only| only == alg.as_str())
            && (id.is_none() || key.id.as_deref() == id)
    };
    let mut fitting = list.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key.key.clone()),
        (Some(_), Some(_)) => Err(invalid_token("the token does not say which of the issuer's keys it is signed with")),
        (None, _) => Err(invalid_token("the token is signed with a key that the issuer does not list")),
    }
}

/// The service cannot know whether a token is good.
fn unavailable() -> Refused {
    let message = "the issuer's keys cannot be had, so no token can be checked";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable", message).come_back_in(PAUSE)
}

async fn fetch(source: Source) -> Result<Arc<[Listed]>, ()> {
    let ends = time::now().mono + TIMEOUT;
    time::until(Some(ends), ask(source)).await.map_err(drop)?
}

async fn ask(Source { url, client }: Source) -> Result<Arc<[Listed]>, ()> {
    // Certificates are read from files.
    let made = tokio::task::spawn_blocking(move || Fetcher::new(&client)).await;
    let fetcher = made.map_err(drop)?.map_err(drop)?;
    let headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"))]);
    let HttpReply { status, body, .. } = fetcher.get(url, headers).await.map_err(drop)?;
    if status != StatusCode::OK {
        return Err(());
    }
    read(&read_all(body, MAX_BYTES).await.map_err(drop)?).ok_or(())
}

/// A set of keys (RFC 7517, 5), as far as they can be used here.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    #[serde(default)]
    crv: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

fn read(bytes: &[u8]) -> Option<Arc<[Listed]>> {
    let Set { keys } = serde_json::from_slice(bytes).ok()?;
    // One that cannot be read is for somebody else.
    Some(keys.into_iter().filter_map(|key| listed(serde_json::from_value(key).ok()?)).collect())
}

fn listed(written: Written) -> Option<Listed> {
    let Written { kty, crv, kid, alg, purpose, key_ops, n, e, x, y } = written;
    let is_for_signatures = purpose.is_none_or(|purpose| purpose == "sig")
        && key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !is_for_signatures {
        return None;
    }
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (kind, key) = match (kty.as_str(), crv.as_str()) {
        ("RSA", _) => (KeyKind::Rsa, PublicKey::rsa(&bytes(&n)?, &bytes(&e)?)),
        ("EC", "P-256") => (KeyKind::P256, PublicKey::ec(KeyKind::P256, &bytes(&x)?, &bytes(&y)?)),
        ("EC", "P-384") => (KeyKind::P384, PublicKey::ec(KeyKind::P384, &bytes(&x)?, &bytes(&y)?)),
        ("OKP", "Ed25519") => (KeyKind::Ed25519, PublicKey::ed25519(&bytes(&x)?)),
        _ => return None, // secrets among them: one in a public list is nobody's
    };
    Some(Listed { id: kid, alg, kind, key: key.ok()? })
}

#[cfg(test)]
mod tests;
