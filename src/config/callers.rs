//! Who may call a pool that is served, beside those with a key: holders of signed tokens, and clients that sign their
//! requests.

use std::collections::HashSet;
use std::time::Duration;

use url::Url;

use super::TenantConfig;
use super::nearest::nearest;
use super::network;
use super::public_key::{KeyKind, PublicKey};
use super::raw::{RawHmac, RawHmacClient, RawJwt};
use super::secret::Secret;
use super::section::{Field, Reader, index, join};
use super::values::{Hidden, Seconds, Text, shown};
use crate::transport::ClientParams;

/// Where a token says on whose behalf its holder calls.
const TENANT_CLAIM: &str = "tenant";
/// Clocks of machines that ask a time server differ by far less; those of machines that do not, by more than anybody
/// should allow.
const LEEWAY: Duration = Duration::from_secs(30);
/// Longer than that a clock is not behind but wrong, and tokens live for minutes.
const MOST_LEEWAY: Duration = Duration::from_secs(300);
/// As long as a signed request is commonly good for.
const MAX_SKEW: Duration = Duration::from_secs(300);
/// Bytes of a client's secret: those of the hash it keys, as RFC 2104 wants it.
const LEAST_SECRET: usize = 32;

/// An algorithm of RFC 7518 or RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlg {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a token must be to let its holder in.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtConfig {
    /// The one that counts, whatever a token says.
    pub alg: JwtAlg,
    pub keys: JwtKeys,
    /// `None`: tokens that name an audience are not for this service.
    pub aud: Option<String>,
    /// `None`: any.
    pub iss: Option<String>,
    /// `None`: none is needed.
    pub scope: Option<String>,
    pub tenant_claim: String,
    /// By how much the clocks of issuer and service may differ.
    pub leeway: Duration,
}

/// What signatures of tokens are checked with.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one in a configuration")]
pub enum JwtKeys {
    Secret(Secret),
    Public(PublicKey),
    /// The issuer's own list.
    Url {
        url: Url,
        /// With the environment in it.
        client: ClientParams,
    },
}

/// Clients that sign what they send.
#[derive(Debug, Clone, PartialEq)]
pub struct HmacConfig {
    /// At least one, each of another name.
    pub clients: Vec<HmacClient>,
    /// By how much the time of a request may differ from ours.
    pub max_skew: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HmacClient {
    pub id: String,
    pub secret: Secret,
    /// On whose behalf it calls.
    pub tenant: Option<String>,
}

// === impl JwtAlg ===

impl JwtAlg {
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// What it checks with.
    pub fn kind(self) -> KeyKind {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => KeyKind::Secret,
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => KeyKind::Rsa,
            Self::ES256 => KeyKind::P256,
            Self::ES384 => KeyKind::P384,
            Self::EdDSA => KeyKind::Ed25519,
        }
    }

    /// Bytes that a secret must have: RFC 7518, 3.2.
    fn least_secret(self) -> usize {
        match self {
            Self::HS384 => 48,
            Self::HS512 => 64,
            _ => 32,
        }
    }
}

// === checks ===

pub(super) fn check_jwt(
    raw: Field<RawJwt>,
    at: &str,
    client: &ClientParams,
    reader: &mut Reader<'_>,
) -> Option<JwtConfig> {
    let RawJwt { alg, key, jwks_url, aud, iss, scope, tenant_claim, leeway_s } = raw.some()?;
    let text = |field: Field<Text>| field.some().map(|text| text.value);
    let scope = text(scope);
    // RFC 6749, 3.3.
    let is_scope = |scope: &str| scope.bytes().all(|byte| byte.is_ascii_graphic() && !br#""\"#.contains(&byte));
    if scope.as_deref().is_some_and(|scope| !is_scope(scope)) {
        reader.problem(join(at, "scope"), "expected one scope: ASCII without spaces, quotes and backslashes");
    }
    let leeway = leeway_s.or(Seconds(LEEWAY)).0;
    if leeway > MOST_LEEWAY {
        let message = format!("must be at most {}, found {}", MOST_LEEWAY.as_secs(), leeway.as_secs());
        reader.problem(join(at, "leeway_s"), message);
    }
    if !aud.is_given() && !iss.is_given() {
        reader.warn(at, "neither aud nor iss is set: a token that its issuer made for another service is taken, too");
    }
    let alg = check_alg(alg.required(at, "alg", reader)?, &join(at, "alg"), reader)?;
    Some(JwtConfig {
        alg,
        keys: check_keys(alg, key, jwks_url, at, client, reader)?,
        aud: text(aud),
        iss: text(iss),
        scope,
        tenant_claim: text(tenant_claim).unwrap_or_else(|| TENANT_CLAIM.to_owned()),
        leeway,
    })
}

fn check_alg(word: Text, path: &str, reader: &mut Reader<'_>) -> Option<JwtAlg> {
    let alg = JwtAlg::ALL.into_iter().find(|alg| alg.as_str() == word.value);
    if alg.is_none() {
        let words = JwtAlg::ALL.map(JwtAlg::as_str);
        let said = shown(&word.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        reader.problem(path, format!("expected one of {}{said}{}", words.join(", "), nearest(&word.value, &words)));
    }
    alg
}

fn check_keys(
    alg: JwtAlg,
    key: Field<Hidden>,
    url: Field<Text>,
    at: &str,
    client: &ClientParams,
    reader: &mut Reader<'_>,
) -> Option<JwtKeys> {
    if key.is_given() == url.is_given() {
        reader.problem(at, "expected either key or jwks_url");
        return None;
    }
    if let Some(url) = url.some() {
        let path = join(at, "jwks_url");
        if alg.kind() == KeyKind::Secret {
            // A secret that everybody can read would let everybody in.
            reader.problem(path, format!("{} needs a key; a list of keys is public", alg.as_str()));
            return None;
        }
        return match network::check_base_url(&url.value, false) {
            Ok(url) => Some(JwtKeys::Url { url, client: client.clone() }),
            Err(message) => {
                reader.problem(path, message);
                None
            }
        };
    }
    let Hidden(key) = key.some()?;
    let checked = match alg.kind() {
        KeyKind::Secret if key.expose().contains("-----BEGIN ") => {
            Err("is a key pair's; HS256, HS384 and HS512 take a secret that issuer and service share".to_owned())
        }
        KeyKind::Secret if key.expose().len() < alg.least_secret() => {
            Err(format!("must have at least {} bytes for {}", alg.least_secret(), alg.as_str()))
        }
        KeyKind::Secret => Ok(JwtKeys::Secret(key)),
        kind => PublicKey::from_pem(key.expose(), kind).map(JwtKeys::Public).map_err(str::to_owned),
    };
    checked.map_err(|said| reader.problem(join(at, "key"), said)).ok()
}

pub(super) fn check_hmac(raw: Field<RawHmac>, at: &str, reader: &mut Reader<'_>) -> Option<HmacConfig> {
    let RawHmac { clients, max_skew_s } = raw.some()?;
    let path = join(at, "clients");
    let written = clients.required(at, "clients", reader)?;
    if written.is_empty() {
        reader.problem(&path, "expected at least one client, found an empty list");
    }
    let mut names = HashSet::new();
    let mut clients = Vec::with_capacity(written.len());
    for (position, client) in written.into_iter().enumerate() {
        let at = index(&path, position);
        let Some(client) = client.some().and_then(|client| check_client(client, &at, reader)) else { continue };
        if !names.insert(client.id.clone()) {
            reader.problem(join(&at, "id"), "this name is taken; a second secret needs a name of its own");
        }
        // Either could sign for the other.
        if clients.iter().any(|other: &HmacClient| other.secret == client.secret) {
            reader.problem(join(&at, "secret"), "another client has this secret; each needs one of its own");
        }
        clients.push(client);
    }
    let max_skew = max_skew_s.or(Seconds(MAX_SKEW)).0;
    if max_skew.is_zero() {
        reader.problem(join(at, "max_skew_s"), "must be at least 1, found 0");
    }
    Some(HmacConfig { clients, max_skew })
}

/// A client of a tenant that there is not could do nothing.
pub(super) fn check_tenants(hmac: Option<&HmacConfig>, tenants: &[TenantConfig], reader: &mut Reader<'_>) {
    let known: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    for client in hmac.into_iter().flat_map(|hmac| &hmac.clients).filter(|_| !known.is_empty()) {
        if let Some(tenant) = client.tenant.as_deref().filter(|tenant| !known.contains(tenant)) {
            let message = format!("the tenant of {:?} is not there{}", client.id, nearest(tenant, &known));
            reader.problem("server.hmac.clients", message);
        }
    }
}

fn check_client(raw: RawHmacClient, at: &str, reader: &mut Reader<'_>) -> Option<HmacClient> {
    let RawHmacClient { id, secret, tenant } = raw;
    let (id, secret) = (id.required(at, "id", reader), secret.required(at, "secret", reader));
    let (id, Hidden(secret)) = (id?.value, secret?);
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.problem(
            join(at, "id"),
            "expected letters, digits and signs of ASCII without spaces: it goes into a header",
        );
    }
    if secret.expose().len() < LEAST_SECRET {
        reader.problem(join(at, "secret"), format!("must have at least {LEAST_SECRET} bytes; llmpool key makes one"));
    }
    Some(HmacClient { id, secret, tenant: tenant.some().map(|tenant| tenant.value) })
}
