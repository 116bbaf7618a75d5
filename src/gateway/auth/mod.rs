//! Who may come in. This is the one place that says so: every request passes [`admit`], whatever its route.
//!
//! A request over a socket needs to show who it is by as soon as somebody is known: by a key (`keys`), a token (`jwt`), a
//! signature (`hmac`), or, where nothing else is asked for, by the certificate of its connection. Where certificates are
//! asked for, none of the others is enough without one. What only says that the process lives is told to everybody. Who
//! cannot be recognised gets a 401, who is known and may not a 403.
//!
//! | it brings | it is |
//! |---|---|
//! | `X-Signature`, `X-Timestamp` or `X-Nonce`, and there are clients that sign | signed, and nothing else it brings counts |
//! | `Authorization: Bearer` or `X-Api-Key` with a key that is known | the holder of the key |
//! | the same with something in the form of a token, and tokens are taken | the holder of the token |
//! | nothing, and callers' certificates are all that is asked for | whoever has the certificate |

mod hmac;
mod jwks;
mod jwt;
mod keys;
mod nonces;
mod room;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, StatusCode};

use super::Gateway;
use super::body;
use super::refused::{Dialect, Refused};
use crate::config::{KeyHash, ServerConfig, TlsConfig, TlsFiles};
use crate::time::{self, Now};

/// Who a request comes from, as [`admit`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// On whose behalf it calls.
    pub tenant: Option<String>,
}

impl Caller {
    /// The caller that [`admit`] has let in with this request.
    pub fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

/// How requests come to a gateway.
#[expect(clippy::large_enum_variant, reason = "there is one of each port")]
pub enum Door {
    /// Called by the program that holds the pool: there is nobody to keep out.
    Inside,
    /// Over a socket.
    Network(Network),
}

/// What holds for a socket beside the configuration.
#[derive(Default)]

pub struct Network {
    /// Keys beside those of the configuration.
    pub api_keys: Vec<KeyHash>,
    /// Origins beside those of the configuration.
    pub cors_origins: Vec<String>,
    /// Others than this machine can reach it, and nobody said that it is meant for everybody. A reload that takes the
    /// last key away then lets nobody in.
    pub closed: bool,
    /// Goes over the configuration's.
    pub tls: Option<OwnTls>,
    pub(super) issuer: jwks::Issuer,
}

/// A certificate that the configuration does not know of.
pub struct OwnTls {
    files: TlsFiles,
    in_force: ArcSwap<TlsConfig>,
}

/// The certificate of a connection was good for this. Among the extensions of a request.
#[derive(Clone)]
pub(super) struct Certified(pub TlsConfig);

/// What the head of a request comes to.
enum Admission {
    Granted(Caller),
    /// A token says so, which its issuer has made and not the owner of the pool.
    Token(Caller),
    /// If it has the body that was signed.
    Signed(hmac::Signed),
}

/// Routes that everybody may ask: a probe has no key.
const OPEN: &[&str] = &["/", "/health", "/live", "/ready"];
/// RPCs likewise.
const OPEN_RPCS: &[&str] = &["/grpc.health.v1.Health/Check", "/llmpool.v1.LlmPool/Health"];

// === impl OwnTls ===

impl OwnTls {
    pub fn new(tls: TlsConfig, files: TlsFiles) -> Self {
        Self { files, in_force: ArcSwap::from_pointee(tls) }
    }

    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Puts what the files hold now in force, for the next connection.
    pub fn replace(&self, tls: TlsConfig) {
        self.in_force.store(Arc::new(tls));
    }
}

// === impl Door ===

impl Door {
    /// Must callers show something with their requests?
    pub(super) fn needs_credentials(&self, server: &ServerConfig) -> bool {
        let Self::Network(network) = self else { return false };
        let ServerConfig { jwt, hmac, .. } = server;
        known_keys(network, server).next().is_some() || jwt.is_some() || hmac.is_some()
    }

    /// Is anybody known who may come in, by whatever means?
    pub(super) fn is_guarded(&self, server: &ServerConfig) -> bool {
        self.needs_credentials(server) || self.tls(server).is_some_and(|tls| tls.knows_callers())
    }

    /// A certificate that goes over the configuration's.
    pub(super) fn own_tls(&self) -> Option<&OwnTls> {
        let Self::Network(network) = self else { return None };
        network.tls.as_ref()
    }

    /// What connections are made safe with, as things stand.
    pub(super) fn tls(&self, server: &ServerConfig) -> Option<TlsConfig> {
        let own = self.own_tls().map(|own| TlsConfig::clone(&own.in_force.load()));
        own.or_else(|| server.tls.clone().filter(|_| !matches!(self, Self::Inside)))
    }

    pub(super) fn allows_origin(&self, origin: &HeaderValue, server: &ServerConfig) -> bool {
        match self {
            Self::Inside => true,
            Self::Network(Network { cors_origins, .. }) => {
                server.cors_origins.iter().chain(cors_origins).any(|known| known == "*" || known.as_bytes() == origin)
            }
        }
    }

    /// Who calls, as far as the head of a request says.
    async fn recognise(&self, head: &Parts, server: &ServerConfig, now: Now) -> Result<Admission, Refused> {
        let everybody = Ok(Admission::Granted(Caller::default()));
        let Self::Network(network) = self else { return everybody };
        let authority = self.tls(server).filter(TlsConfig::knows_callers);
        if authority.as_ref().is_some_and(|tls| !has_certificate(head, tls)) {
            let message = "the connection was made without a certificate of the authority that is asked for";
            return Err(denied("certificate_required", message));
        }
        if !self.needs_credentials(server) {
            let is_shut = authority.is_none() && network.closed && !server.insecure;
            return if is_shut { Err(denied("invalid_api_key", "an API key is missing")) } else { everybody };
        }
        if let Some(config) = server.hmac.as_ref().filter(|_| hmac::is_signed(&head.headers)) {
            return hmac::read(head, config, now).map(Admission::Signed);
        }
        let Some(shown) = keys::shown(&head.headers) else { return Err(nothing_shown(network, server)) };
        if let Some(caller) = keys::holder(shown, known_keys(network, server)) {
            return Ok(Admission::Granted(caller));
        }
        let takes_keys = known_keys(network, server).next().is_some();
        match &server.jwt {
            Some(config) if !takes_keys || jwt::is_token(shown) => {
                jwt::holder(shown, config, &network.issuer, now).await.map(Admission::Token)
            }
            _ if takes_keys => Err(denied("invalid_api_key", "this API key is not known").challenging(INVALID)),
            _ => Err(hmac::unsigned()),
        }
    }
}

/// Every key that lets somebody in, with the tenant it belongs to.
fn known_keys<'k>(
    network: &'k Network,
    server: &'k ServerConfig,
) -> impl Iterator<Item = (&'k KeyHash, Option<&'k str>)> {
    let of_tenants = server.tenant_keys.iter().map(|(key, tenant)| (key, Some(tenant.as_str())));
    server.api_keys.iter().chain(&network.api_keys).map(|key| (key, None)).chain(of_tenants)
}

/// A connection outlives a reload: its certificate counts while its authority is the one in force.
fn has_certificate(head: &Parts, tls: &TlsConfig) -> bool {
    head.extensions.get::<Certified>().is_some_and(|Certified(shown)| tls.admits_callers_of(shown))
}

// === refusals ===

/// What is asked for where nothing was shown: RFC 6750, 3.
const BEARER: &str = r#"Bearer realm="llmpool""#;
const INVALID: &str = r#"Bearer realm="llmpool", error="invalid_token""#;

fn denied(code: &'static str, message: &str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, code, message).challenging(BEARER)
}

fn nothing_shown(network: &Network, server: &ServerConfig) -> Refused {
    let takes_keys = known_keys(network, server).next().is_some();
    match (takes_keys, &server.jwt) {
        (true, _) => denied("invalid_api_key", "an API key is missing"),
        (false, Some(_)) => denied("invalid_token", "a token is missing"),
        (false, None) => hmac::unsigned(),
    }
}

fn invalid_token(why: &str) -> Refused {
    denied("invalid_token", why).challenging(&format!(r#"{INVALID}, error_description="{why}""#))
}

fn insufficient_scope(scope: &str) -> Refused {
    let message = format!("the token does not have the scope {scope}");
    let refused = Refused::new(StatusCode::FORBIDDEN, "insufficient_scope", message);
    refused.challenging(&format!(r#"Bearer realm="llmpool", error="insufficient_scope", scope="{scope}""#))
}

// === the way in ===

/// Lets a request in, or says why not.
pub(super) async fn admit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(&request);
    match gateway.let_in(request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(dialect),
    }
}

impl Gateway {
    /// The request with its [`Caller`] among its extensions. A request that everybody may send has one only if it is
    /// known.
    pub(super) async fn let_in(&self, request: Request) -> Result<Request, Refused> {
        let (server, now) = (self.server(), time::now());
        let (mut head, mut body) = request.into_parts();
        // A browser says which page asks. A page of another origin must reach nothing, even where it could not read the
        // answer: its user pays for it.
        if head.headers.get(ORIGIN).is_some_and(|origin| !self.door.allows_origin(origin, &server)) {
            let message = "pages of this origin may not call; server.cors_origins lists those that may";
            return Err(Refused::forbidden(message));
        }
        let is_probe = is_probe(&head.method, head.uri.path());
        let is_open = is_open(&head.method, head.uri.path());
        let known = match self.door.recognise(&head, &server, now).await {
            // As nobody's it would have none of the limits that tenants have.
            Ok(Admission::Token(caller)) if caller.tenant.is_none() && self.pool.engine().roster().has_tenants() => {
                let message =
                    "the token does not say for which tenant its holder calls; server.jwt.tenant_claim names the claim";
                Err(Refused::forbidden(message))
            }
            Ok(Admission::Granted(caller) | Admission::Token(caller)) => Ok(caller),
            // The body of a probe means nothing, so none is waited for.
            Ok(Admission::Signed(signed)) if is_probe => signed.verify(&[], &nonces::NONCES, now),
            Ok(Admission::Signed(signed)) => {
                let place = room::ROOM.place(server.max_body_bytes);
                let bytes = body::bytes(&head.headers, place.count(body), &server).await;
                let bytes = bytes.map_err(|refused| place.refused().unwrap_or(refused))?;
                body = Body::from(bytes.clone());
                signed.verify(&bytes, &nonces::NONCES, time::now())
            }
            Err(refused) => Err(refused),
        };
        match known {
            Ok(caller) => drop(head.extensions.insert(caller)),
            Err(_) if is_open => {}
            Err(refused) => return Err(refused),
        }
        Ok(Request::from_parts(head, body))
    }
}

/// May everybody ask this?
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    is_probe(method, path) || OPEN_RPCS.contains(&path) && *method == Method::POST
}

fn is_probe(method: &Method, path: &str) -> bool {
    OPEN.contains(&path) && matches!(*method, Method::GET | Method::HEAD)
}

/// Does the sender of this request run the pool? A tenant knows of itself alone.
pub(super) fn is_operator(request: &Request) -> bool {
    request.extensions().get::<Caller>().is_some_and(|caller| caller.tenant.is_none())
}
