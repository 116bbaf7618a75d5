//! How a pool is served: where, to whom, and within which bounds.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::beside::Files;
use super::callers::{self, HmacConfig, JwtConfig};
use super::raw::RawServer;
use super::section::{Field, Reader, index, join};
use super::tls::{self, TlsConfig};
use super::values::{Hidden, Text, shown};
use crate::transport::ClientParams;

/// On this machine only. The port is the one after gRPC's 7070.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7071);
/// Likewise.
const GRPC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// As long as the longest request of `qos.max_prompt_bytes`.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
/// A head is one packet; whoever needs longer holds a connection for its own sake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest body over two megabits per second.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// As long as a body may take to come: nobody who reads pauses for longer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A few hundred megabytes of buffers at the worst.
const MAX_CONNECTIONS: u32 = 10_000;
/// Most answers are whole within this, and a rollout does not wait much longer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// What stands before the digits of a hash.
const HASHED: &str = "sha256:";

/// How a pool is served.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    pub http: SocketAddr,
    pub grpc: GrpcAddress,
    pub api_keys: Vec<KeyHash>,
    /// Keys of tenants, each with the id of its own; written in `tenants[].api_keys`.
    pub tenant_keys: Vec<(KeyHash, String)>,
    /// `None`: no token lets anybody in.
    pub jwt: Option<JwtConfig>,
    /// `None`: no signature lets anybody in.
    pub hmac: Option<HmacConfig>,
    /// `None`: connections are plain.
    pub tls: Option<TlsConfig>,
    /// Serve everybody on an address that others can reach.
    pub insecure: bool,
    pub max_body_bytes: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    /// For a client to take anything of what it is sent.
    pub write_timeout: Duration,
    /// `None`: no limit.
    pub max_connections: Option<u32>,
    pub drain_timeout: Duration,
    pub cors_origins: Vec<String>,
}

/// Where gRPC is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrpcAddress {
    /// Nobody has said.
    #[default]
    Unsaid,
    Nowhere,
    At(SocketAddr),
}

/// The SHA-256 of a key: enough to recognise it, useless to whoever reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash([u8; SHA256_OUTPUT_LEN]);

// === impl KeyHash ===

impl KeyHash {
    pub fn of(key: &str) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads a key, or `sha256:` and the digits of its hash.
    ///
    /// # Errors
    /// Says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const DIGITS: &str = "expected 64 hexadecimal digits after \"sha256:\"";
        let Some(digits) = text.strip_prefix(HASHED) else {
            return if text.is_empty() { Err("expected a key, found an empty one") } else { Ok(Self::of(text)) };
        };
        if digits.len() != 2 * SHA256_OUTPUT_LEN || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(DIGITS);
        }
        let mut hash = [0; SHA256_OUTPUT_LEN];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| DIGITS)?;
        }
        Ok(Self(hash))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    /// A hash of a weak key can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::MASK)
    }
}

// === impl GrpcAddress ===

impl GrpcAddress {
    /// Where to listen, over what the configuration says, beside `http`. Whoever puts HTTP elsewhere than at its default
    /// has not asked for a second port at ours: two programs on one machine would want the same one.
    pub fn over(self, configured: Self, http: SocketAddr) -> Option<SocketAddr> {
        match (self, configured) {
            (Self::At(address), _) | (Self::Unsaid, Self::At(address)) => Some(address),
            (Self::Nowhere, _) | (Self::Unsaid, Self::Nowhere) => None,
            (Self::Unsaid, Self::Unsaid) => (http == HTTP).then_some(GRPC),
        }
    }
}

// === impl ServerConfig ===

impl ServerConfig {
    /// Reads an address and a port; `localhost` is this machine.
    pub fn parse_address(text: &str) -> Option<SocketAddr> {
        match text.trim().strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
            None => text.trim().parse().ok(),
        }
    }
}

pub(super) fn check(raw: RawServer, client: &ClientParams, files: &mut Files, reader: &mut Reader<'_>) -> ServerConfig {
    let at = "server";
    let RawServer {
        http,
        grpc,
        api_keys,
        jwt,
        hmac,
        tls,
        insecure,
        max_body_bytes,
        header_timeout_ms,
        body_timeout_ms,
        write_timeout_ms,
        max_connections,
        drain_timeout_ms,
        cors_origins,
    } = raw;
    let max_body_bytes = max_body_bytes.or_limit(MAX_BODY_BYTES, u64::MAX);
    let header_timeout = header_timeout_ms.time_limit(HEADER_TIMEOUT);
    let body_timeout = body_timeout_ms.time_limit(BODY_TIMEOUT);
    let write_timeout = write_timeout_ms.time_limit(WRITE_TIMEOUT);
    let max_connections = match max_connections {
        Field::Null => None,
        most => Some(most.or(MAX_CONNECTIONS)),
    };
    let zeros = [
        ("max_body_bytes", max_body_bytes == 0),
        ("header_timeout_ms", header_timeout.is_zero()),
        ("body_timeout_ms", body_timeout.is_zero()),
        ("write_timeout_ms", write_timeout.is_zero()),
        ("max_connections", max_connections == Some(0)),
    ];
    for (key, _) in zeros.into_iter().filter(|(_, is_zero)| *is_zero) {
        reader.problem(join(at, key), "must be at least 1, or null for no limit, found 0");
    }
    ServerConfig {
        http: check_address(http, &join(at, "http"), reader).unwrap_or(HTTP),
        grpc: match grpc {
            Field::Null => GrpcAddress::Nowhere,
            said => check_address(said, &join(at, "grpc"), reader).map_or(GrpcAddress::Unsaid, GrpcAddress::At),
        },
        api_keys: check_keys(api_keys, &join(at, "api_keys"), reader),
        tenant_keys: Vec::new(), // tenants are checked later
        jwt: callers::check_jwt(jwt, &join(at, "jwt"), client, reader),
        hmac: callers::check_hmac(hmac, &join(at, "hmac"), reader),
        tls: tls::check(tls, &join(at, "tls"), files, reader),
        insecure: insecure.or(false),
        max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
        header_timeout,
        body_timeout,
        write_timeout,
        max_connections,
        drain_timeout: drain_timeout_ms.time(DRAIN_TIMEOUT),
        cors_origins: check_origins(cors_origins, &join(at, "cors_origins"), reader),
    }
}

fn check_address(address: Field<Text>, path: &str, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let text = address.some()?;
    let address = ServerConfig::parse_address(&text.value);
    if address.is_none() {
        let said = shown(&text.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        reader.problem(path, format!("must be an address and a port such as \"127.0.0.1:7071\"{said}"));
    }
    address
}

pub(super) fn check_keys(keys: Field<Vec<Field<Hidden>>>, path: &str, reader: &mut Reader<'_>) -> Vec<KeyHash> {
    let mut hashes = Vec::new();
    for (at, key) in keys.or(Vec::new()).into_iter().enumerate() {
        let Some(Hidden(key)) = key.some() else { continue };
        match KeyHash::parse(key.expose()) {
            Ok(hash) => hashes.push(hash),
            Err(message) => reader.problem(index(path, at), message),
        }
    }
    hashes
}

fn check_origins(origins: Field<Vec<Field<Text>>>, path: &str, reader: &mut Reader<'_>) -> Vec<String> {
    let mut checked = Vec::new();
    for (at, origin) in origins.or(Vec::new()).into_iter().enumerate() {
        let Some(origin) = origin.some() else { continue };
        let value = origin.value.trim();
        // As a browser writes it: scheme, host and a port that is not the scheme's own.
        let canonical = url::Url::parse(value).map(|url| url.origin().ascii_serialization());
        if value == "*" || canonical.as_deref() == Ok(value) {
            checked.push(value.to_owned());
        } else {
            let said = shown(&origin.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
            reader.problem(index(path, at), format!("expected an origin such as \"https://app.example.com\"{said}"));
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_hash_are_the_same_key() {
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(KeyHash::parse(hash) == Ok(KeyHash::of("abc")));
        assert!(KeyHash::parse("abd") != Ok(KeyHash::of("abc")));
        for wrong in ["", "sha256:", "sha256:ba78", &hash.replace('b', "x"), &hash.replace("ba", "é")] {
            assert!(KeyHash::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn grpc_is_spoken_where_somebody_says_or_beside_http() {
        use GrpcAddress::{At, Nowhere, Unsaid};
        let (one, other) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        for (option, configured, http, address) in [
            (Unsaid, Unsaid, HTTP, Some(GRPC)),
            (Unsaid, Unsaid, one, None),
            (Unsaid, At(one), one, Some(one)),
            (At(other), At(one), HTTP, Some(other)),
            (At(other), Nowhere, one, Some(other)),
            (Nowhere, At(one), HTTP, None),
            (Unsaid, Nowhere, HTTP, None),
        ] {
            assert_eq!(option.over(configured, http), address, "{option:?} over {configured:?}");
        }
    }

    #[test]
    fn an_address_is_an_address_and_a_port() {
        let parse = |text: &str| ServerConfig::parse_address(text).map(|address| address.to_string());
        assert_eq!(parse("localhost:0").as_deref(), Some("127.0.0.1:0"));
        assert_eq!(parse("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(parse("0.0.0.0:7071").as_deref(), Some("0.0.0.0:7071"));
        for wrong in ["", "7071", "localhost", "localhost:x", "example.com:80", "http://127.0.0.1:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
