//! Tokens that an issuer has signed: RFC 7519, with what RFC 8725 says of those who check them.
//!
//! The configuration says with which algorithm; a token that says another one is refused before any key is touched, so
//! neither `none` nor a public key taken for a secret gets anywhere. Keys that a token brings along or points at (`jwk`,
//! `jku`, `x5u`) are not looked at. The library checks the signature; what the token claims is judged here, at a time
//! that is passed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::jwks::{Issuer, Source};
use super::{Caller, insufficient_scope, invalid_token};
use crate::config::{JwtAlg, JwtConfig, JwtKeys, PublicKey};
use crate::gateway::refused::Refused;
use crate::time::Now;

/// A token in its parts.
struct Token<'t> {
    header: Header,
    payload: &'t str,
    /// Everything before the signature.
    message: &'t str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood.
    crit: Option<Value>,
}

/// Has it the form of a token? API keys have no two dots in them.
pub(super) fn is_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Whose token it is.
pub(super) async fn holder(text: &str, config: &JwtConfig, issuer: &Issuer, now: Now) -> Result<Caller, Refused> {
    let token = Token::parse(text).ok_or_else(|| invalid_token("the token is not a JSON Web Token"))?;
    if token.header.alg != config.alg.as_str() {
        return Err(invalid_token("the token is signed with another algorithm than this service takes"));
    }
    if token.header.crit.is_some() {
        return Err(invalid_token("the token has extensions that this service does not know"));
    }
    let key = match &config.keys {
        JwtKeys::Secret(secret) => DecodingKey::from_secret(secret.expose().as_bytes()),
        JwtKeys::Public(key) => decoding(key),
        JwtKeys::Url { url, client } => {
            let source = Source { url: url.clone(), client: client.clone() };
            decoding(&issuer.key(&source, config.alg, token.header.kid.as_deref(), now).await?)
        }
    };
    if !token.is_signed_with(&key, config.alg) {
        return Err(invalid_token("the signature of the token is wrong"));
    }
    let claims = decoded(token.payload).ok_or_else(|| invalid_token("the token claims nothing that can be read"))?;
    judge(&claims, config, now)
}

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: decoded(header)?, payload, message, signature })
    }

    fn is_signed_with(&self, key: &DecodingKey, alg: JwtAlg) -> bool {
        // This backend by name: which one the library takes by itself depends on every crate of the program.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm(alg), key);
        verifier.is_ok_and(|verifier| verifier.verify(self.message.as_bytes(), &self.signature).is_ok())
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn algorithm(alg: JwtAlg) -> Algorithm {
    match alg {
        JwtAlg::HS256 => Algorithm::HS256,
        JwtAlg::HS384 => Algorithm::HS384,
        JwtAlg::HS512 => Algorithm::HS512,
        JwtAlg::RS256 => Algorithm::RS256,
        JwtAlg::RS384 => Algorithm::RS384,
        JwtAlg::RS512 => Algorithm::RS512,
        JwtAlg::PS256 => Algorithm::PS256,
        JwtAlg::PS384 => Algorithm::PS384,
        JwtAlg::PS512 => Algorithm::PS512,
        JwtAlg::ES256 => Algorithm::ES256,
        JwtAlg::ES384 => Algorithm::ES384,
        JwtAlg::EdDSA => Algorithm::EdDSA,
    }
}

fn decoding(key: &PublicKey) -> DecodingKey {
    match key {
        PublicKey::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        PublicKey::Ec(point) => DecodingKey::from_ec_der(point),
        PublicKey::Ed25519(key) => DecodingKey::from_ed_der(key),
    }
}

/// Is it for us, is it good now, and what may its holder?
fn judge(claims: &Map<String, Value>, config: &JwtConfig, now: Now) -> Result<Caller, Refused> {
    let (seconds, leeway) = (now.unix_ms as f64 / 1000.0, config.leeway.as_secs_f64());
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(invalid_token("a time in the token is no number")),
    };
    match time("exp")? {
        None => return Err(invalid_token("the token never expires; exp is needed")),
        Some(exp) if seconds >= exp + leeway => return Err(invalid_token("the token has expired")),
        Some(_) => {}
    }
    if time("nbf")?.is_some_and(|nbf| seconds + leeway < nbf) {
        return Err(invalid_token("the token is not good yet"));
    }
    if config.iss.as_deref().is_some_and(|iss| claims.get("iss").and_then(Value::as_str) != Some(iss)) {
        return Err(invalid_token("the token is of another issuer"));
    }
    let audience = claims.get("aud").filter(|aud| !aud.is_null());
    let is_for_us = match (&config.aud, audience) {
        (Some(aud), Some(audience)) => texts(audience).any(|named| named == aud),
        // Who is named nowhere is not meant: RFC 7519, 4.1.3.
        (None, Some(_)) | (Some(_), None) => false,
        (None, None) => true,
    };
    if !is_for_us {
        return Err(invalid_token("the token is for another audience"));
    }
    if let Some(scope) = &config.scope {
        let granted = ["scope", "scp"].iter().filter_map(|name| claims.get(*name)).flat_map(texts);
        if !granted.flat_map(str::split_whitespace).any(|granted| granted == scope) {
            return Err(insufficient_scope(scope));
        }
    }
    match claims.get(&config.tenant_claim) {
        None | Some(Value::Null) => Ok(Caller { tenant: None }),
        Some(Value::String(tenant)) if !tenant.trim().is_empty() => Ok(Caller { tenant: Some(tenant.clone()) }),
        // To let it in as nobody's would give it what tenants have no part in.
        Some(_) => Err(invalid_token("the token names its tenant by something that is no text")),
    }
}

/// One text, or several in a list.
fn texts(claim: &Value) -> impl Iterator<Item = &str> {
    let one = claim.as_str().into_iter();
    one.chain(claim.as_array().into_iter().flatten().filter_map(Value::as_str))
}

#[cfg(test)]
mod tests;
