//! What a provider's connection may be: which URLs are taken, and what the environment says about proxies and
//! certificates.
//!
//! A request carries a key and somebody's words, so plain `http` is taken only to this machine, unless the provider
//! says `allow_http`. No message repeats a URL: user name, password and query of one may be secrets.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use url::{Host, Position, Url};

use super::env::Environment;
use super::secret::MASK;
use super::section::Reader;
use crate::transport::{ClientParams, ProxyParams};

/// Schemes of the proxies that the HTTP client speaks.
const PROXY_SCHEMES: &[&str] = &["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Checks where requests go. `Err` completes a message about the key.
pub(super) fn check_base_url(text: &str, allow_http: bool) -> Result<Url, &'static str> {
    if !text.contains("://") {
        return Err("expected a URL that begins with https://");
    }
    let url = Url::parse(text.trim()).map_err(|_| "expected a URL such as https://api.example.com/v1")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_this_machine(&url) => Ok(url),
        "http" => {
            Err("expected https, found http to another host than this machine, which would send the key and the \
             messages unencrypted; allow_http: true permits it for a private network")
        }
        _ => Err("expected a URL that begins with https://, found another scheme"),
    }
}

pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
        None => false,
    }
}

/// A URL for display: scheme, host and path.
pub(super) fn without_secrets(text: &str) -> String {
    Url::parse(text.trim()).map_or_else(
        |_| MASK.to_owned(),
        |url| format!("{}://{}{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort], url.path()),
    )
}

/// The same of an address whose very path may be a secret, as those are that let in whoever knows them.
pub(super) fn origin(url: &Url) -> String {
    format!("{}://{}/…", url.scheme(), &url[Position::BeforeHost..Position::AfterPort])
}

/// A proxy as people write it, with its scheme; without one it is `http`.
pub(super) fn check_proxy(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected a proxy URL such as http://proxy.example.com:8080";
    let text = text.trim();
    // Desktops put `socks://` into ALL_PROXY; what listens there speaks SOCKS 5.
    let text = &text.strip_prefix("socks://").map_or_else(|| text.to_owned(), |rest| format!("socks5://{rest}"));
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|_| EXPECTED)?;
    if url.host().is_none() {
        return Err(EXPECTED);
    }
    if !PROXY_SCHEMES.contains(&url.scheme()) {
        return Err("expected a proxy whose URL begins with http, https, socks4, socks4a, socks5 or socks5h");
    }
    Ok(whole)
}

/// The parameters that a provider has when it says nothing: the environment's proxies and certificates.
///
/// The lower-case spelling of a variable wins, as it does in curl and Node.
pub(super) fn from_environment(environment: &Environment, reader: &mut Reader<'_>) -> ClientParams {
    let mut proxy = |names: &[&'static str]| {
        let (name, value) = environment.first_of(names)?;
        match check_proxy(&value) {
            Ok(proxy) => Some(proxy),
            Err(message) => {
                reader.problem("", format!("environment variable {name}: {message}"));
                None
            }
        }
    };
    let proxy = ProxyParams {
        https: proxy(&["https_proxy", "HTTPS_PROXY"]),
        http: proxy(&["http_proxy", "HTTP_PROXY"]),
        all: proxy(&["all_proxy", "ALL_PROXY"]),
        no_proxy: environment.first_of(&["no_proxy", "NO_PROXY"]).map(|(_, hosts)| hosts),
    };
    let file = |name| environment.first_of(&[name]).map(|(_, path)| PathBuf::from(path));
    ClientParams {
        proxy,
        extra_roots: Vec::from_iter(file("NODE_EXTRA_CA_CERTS")),
        only_roots: file("SSL_CERT_FILE"),
        ..ClientParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for url in [
            "https://api.openai.com/v1",
            "http://localhost:11434",
            "http://LOCALHOST.:1/v1",
            "http://app.localhost",
            "http://127.0.0.1:8080/v1/",
            "http://127.9.9.9",
            "http://[::1]:8080",
        ] {
            assert!(check_base_url(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://api.openai.com/v1",
            "http://10.0.0.5:8000",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://0.0.0.0",
            "http://[fe80::1]",
            "http://localhost@example.com",
        ] {
            assert!(check_base_url(url, false).is_err(), "{url}");
            assert!(check_base_url(url, true).is_ok(), "{url}");
        }
        for url in ["api.openai.com/v1", "localhost:11434", "ftp://a.b", "https://", "https://a b", "file:///etc"] {
            assert!(check_base_url(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        assert_eq!(without_secrets("https://u:p@a.b:8443/v1?key=sk-1#x"), "https://a.b:8443/v1");
        assert_eq!(without_secrets("sk-1"), "***");
    }

    #[test]
    fn a_proxy_needs_no_scheme_but_a_known_one() {
        assert_eq!(check_proxy("proxy:8080").as_deref(), Ok("http://proxy:8080"));
        assert_eq!(check_proxy(" socks5h://u:p@proxy ").as_deref(), Ok("socks5h://u:p@proxy"));
        assert_eq!(check_proxy("socks://proxy:1080/").as_deref(), Ok("socks5://proxy:1080/"));
        for text in ["ftp://proxy", "http://", "pro xy", ""] {
            assert!(check_proxy(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_environment_names_proxies_and_certificates() {
        let environment = Environment::from_map([
            ("HTTPS_PROXY", "upper:1"),
            ("https_proxy", "lower:1"),
            ("HTTP_PROXY", "http://u:p@plain"),
            ("ALL_PROXY", ""),
            ("NO_PROXY", "localhost,.corp"),
            ("NODE_EXTRA_CA_CERTS", "/corp.pem"),
            ("SSL_CERT_FILE", "/all.pem"),
        ]);
        let mut reader = Reader::literal();
        let client = from_environment(&environment, &mut reader);
        assert!(reader.problems.is_empty());
        assert_eq!(client.proxy.https.as_deref(), Some("http://lower:1"));
        assert_eq!(client.proxy.http.as_deref(), Some("http://u:p@plain"));
        assert_eq!((client.proxy.all, client.proxy.no_proxy.as_deref()), (None, Some("localhost,.corp")));
        assert_eq!(client.extra_roots, [PathBuf::from("/corp.pem")]);
        assert_eq!(client.only_roots, Some(PathBuf::from("/all.pem")));
    }

    #[test]
    fn a_bad_proxy_in_the_environment_is_named_and_not_repeated() {
        let environment = Environment::from_map([("https_proxy", "ftp://user:hunter2@proxy")]);
        let mut reader = Reader::literal();
        from_environment(&environment, &mut reader);
        let [problem] = reader.problems.as_slice() else { panic!("{:?}", reader.problems) };
        assert!(problem.message.contains("https_proxy") && !problem.message.contains("hunter2"), "{problem}");
    }
}
