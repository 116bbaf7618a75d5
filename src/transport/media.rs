//! Fetches an image or a file that a request names by its address, for a provider that fetches nothing itself.
//!
//! The address may be a stranger's: it came with a message. So it must not become a way into the network this process
//! stands in. Only `https` is asked, without user, password, cookies or proxy; every address that a name resolves to
//! must be one of the public internet, and it is those very addresses that are connected to, so that no second answer of
//! a name server gets past the check. A redirect is followed a few times and checked like the first address. Time and
//! size are bounded. Hosts that the configuration names are exempt from the check of addresses, and from nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION, USER_AGENT};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use url::{Host, Url};

use super::body::{innermost, refuse_encoded};
use super::{ClientParams, tls};
use crate::error::{TransportError, TransportErrorKind};
use crate::time;

/// Redirects that are followed: image hosts send to their storage once or twice.
const MAX_REDIRECTS: usize = 3;
const KINDS: &str = "image/*, audio/*, application/pdf";

/// What the pool may fetch for its providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaParams {
    /// Whether it may fetch anything.
    pub fetch: bool,
    /// Of one image or file.
    pub max_bytes: usize,
    /// For one image or file, from looking up its name to its last byte.
    pub timeout: Duration,
    /// Hosts that may have addresses outside the public internet.
    pub allow_hosts: Vec<String>,
}

impl Default for MediaParams {
    fn default() -> Self {
        Self {
            // Whoever can put an address into a message could otherwise make this process ask for it.
            fetch: false,
            // Most providers take images of up to 20 MB.
            max_bytes: 20 << 20,
            timeout: Duration::from_secs(10),
            allow_hosts: Vec::new(),
        }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// In lower case, without parameters.
    pub kind: String,
    pub bytes: Bytes,
}

/// Fetches media. Cheap to clone.
#[derive(Clone)]
pub struct MediaClient {
    client: reqwest::Client,
    params: Arc<MediaParams>,
}

impl MediaClient {
    /// `roots` says which certificates are trusted; its proxy is not used, because behind one nobody sees which
    /// address is asked.
    pub fn new(params: &MediaParams, roots: &ClientParams) -> Result<Self, TransportError> {
        let params = Arc::new(params.clone());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(roots)?)
            .http1_only()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(roots.connect_timeout)
            .pool_max_idle_per_host(0)
            .dns_resolver(Guard(Arc::clone(&params)))
            .no_proxy()
            .build();
        let client = client.map_err(|error| {
            TransportError::new(TransportErrorKind::Request, format!("HTTP client: {}", innermost(&error)))
        })?;
        Ok(Self { client, params })
    }

    /// Fetches what stands at `url`. The error completes a sentence about the address and never repeats it.
    pub async fn fetch(&self, url: &str) -> Result<Media, String> {
        let ends = Some(time::now().mono + self.params.timeout);
        let waited = self.params.timeout.as_millis();
        time::until(ends, self.follow(url)).await.map_err(|_| format!("did not come within {waited} ms"))?
    }

    async fn follow(&self, url: &str) -> Result<Media, String> {
        let mut url = Url::parse(url).map_err(|_| "is no address".to_owned())?;
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url)?;
            let request = self.client.get(url.clone()).header(ACCEPT, KINDS).header(USER_AGENT, "llmpool");
            let reply = request.send().await.map_err(|error| unreachable(&error.without_url()))?;
            if reply.status().is_redirection() {
                let to = reply.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                url = to.and_then(|to| url.join(to).ok()).ok_or("redirects to nowhere")?;
                continue;
            }
            if !reply.status().is_success() {
                return Err(format!("was answered with HTTP {}", reply.status().as_u16()));
            }
            return self.read(reply).await;
        }
        Err(format!("redirects more than {MAX_REDIRECTS} times"))
    }

    /// What can be said before anything is asked. Names are looked up by the client itself, under [`Guard`].
    fn check(&self, url: &Url) -> Result<(), String> {
        if url.scheme() != "https" {
            return Err("is not fetched: only https is".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("is not fetched: it holds a user or a password".to_owned());
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        match literal {
            Some(address) if !is_public(address) && !self.params.allows(url.host_str().unwrap_or_default()) => {
                Err(NOT_PUBLIC.to_owned())
            }
            _ => Ok(()),
        }
    }

    async fn read(&self, reply: reqwest::Response) -> Result<Media, String> {
        refuse_encoded(reply.headers()).map_err(|error| error.message)?;
        let limit = self.params.max_bytes;
        let too_large = || format!("is larger than media.max_bytes of {limit}");
        if reply.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let said = content_type(reply.headers());
        let mut bytes = BytesMut::new();
        let mut body = reply.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| unreachable(&error.without_url()))?;
            if bytes.len() + piece.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        let kind = match said {
            Some(kind) if kind != "application/octet-stream" && kind != "binary/octet-stream" => kind,
            _ => sniffed(&bytes).ok_or("does not say what it is")?.to_owned(),
        };
        if kind.starts_with("image/") || kind.starts_with("audio/") || kind == "application/pdf" {
            Ok(Media { kind, bytes: bytes.freeze() })
        } else {
            Err(format!("is {}, neither an image nor audio nor a PDF", shown(&kind)))
        }
    }
}

const NOT_PUBLIC: &str = "is not fetched: its host is not on the public internet; media.allow_hosts can exempt it";

fn unreachable(error: &reqwest::Error) -> String {
    let said = innermost(error);
    if said.contains(NOT_PUBLIC) { NOT_PUBLIC.to_owned() } else { format!("could not be fetched: {said}") }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() { None } else { Some(essence.to_ascii_lowercase()) }
}

/// A type that a stranger's server says, made safe to repeat.
fn shown(kind: &str) -> String {
    kind.chars().filter(|letter| letter.is_ascii_alphanumeric() || "/+.-".contains(*letter)).take(60).collect()
}

/// What the first bytes say.
fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    const STARTS: &[(&[u8], &str)] = &[
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"%PDF-", "application/pdf"),
    ];
    let riff = |kind: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(kind);
    match STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, kind)) => Some(kind),
        None if riff(b"WEBP") => Some("image/webp"),
        None if riff(b"WAVE") => Some("audio/wav"),
        None => None,
    }
}

// === which addresses ===

impl MediaParams {
    fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

/// Looks names up and keeps only what may be connected to.
struct Guard(Arc<MediaParams>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let params = Arc::clone(&self.0);
        Box::pin(async move {
            let exempt = params.allows(name.as_str());
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One address that is not public condemns the name: nobody's public picture has such a neighbour.
            if !exempt && !found.iter().all(|address| is_public(address.ip())) {
                return Err(NOT_PUBLIC.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet, by the registries of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a == 100 && b & 0xc0 == 64 // carrier-grade NAT, where clouds put their own services
        || a == 192 && b == 0 && c == 0
        || a == 192 && b == 88 && c == 99 // relays of 6to4
        || a == 198 && b & 0xfe == 18 // benchmarks
        || a >= 224) // multicast, reserved, broadcast
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let embedded = |address: Ipv6Addr| {
        let [.., g, h] = address.segments();
        Ipv4Addr::from((u32::from(g) << 16) | u32::from(h))
    };
    if address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(embedded(address)); // NAT64
    }
    // Everything that is assigned to the public lies in 2000::/3; tunnels and documentation in it do not count.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x200) // protocols, among them Teredo
        && !(a == 0x2001 && b == 0xdb8)
        && a != 0x2002 // 6to4
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for address in ["1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:1.1.1.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::101:101",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
    }

    fn client(params: MediaParams) -> MediaClient {
        MediaClient::new(&params, &ClientParams::default()).expect("a client")
    }

    #[tokio::test]
    async fn what_may_not_be_asked_is_refused_before_it_is() {
        let guarded = client(MediaParams { fetch: true, ..MediaParams::default() });
        for (url, said) in [
            ("http://example.com/a.png", "only https"),
            ("ftp://example.com/a.png", "only https"),
            ("https://user:hunter2@example.com/a.png", "user or a password"),
            ("https://127.0.0.1/a.png", "public internet"),
            ("https://2130706433/a.png", "public internet"),
            ("https://0x7f.1/a.png", "public internet"),
            ("https://[::1]/a.png", "public internet"),
            ("https://[::ffff:10.0.0.1]/a.png", "public internet"),
            ("https://169.254.169.254/latest/meta-data", "public internet"),
            ("https://localhost/a.png", "public internet"),
            ("not an address", "is no address"),
        ] {
            let error = guarded.fetch(url).await.expect_err(url);
            assert!(error.contains(said) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn an_exempt_host_is_asked() {
        let params =
            MediaParams { allow_hosts: vec!["LocalHost".to_owned(), "127.0.0.1".to_owned()], ..MediaParams::default() };
        for url in ["https://localhost:1/a.png", "https://127.0.0.1:1/a.png"] {
            let error = client(params.clone()).fetch(url).await.expect_err("nobody listens");
            assert!(error.starts_with("could not be fetched: "), "{error}");
        }
    }

    #[test]
    fn the_first_bytes_say_what_a_server_does_not() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8", Some("image/webp")),
            (b"RIFF\0\0\0\0WAVE", Some("audio/wav")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"<html>", None),
            (b"RIFF", None),
            (b"", None),
        ] {
            assert_eq!(sniffed(bytes), kind);
        }
        assert_eq!(shown("text/html\"<b>"), "text/htmlb");
    }
}
