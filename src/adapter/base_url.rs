//! Joins the URL of a chat request from whatever base URL was pasted.
//!
//! With or without a trailing slash, with or without `/v1`, the whole endpoint, with a query string: SDKs and
//! documentation disagree about what a base URL is, so all of it is taken. A fragment is dropped; a query is kept,
//! since gateways carry an `api-version` there. User and password are refused: a URL is printed, a header is not.

use url::Url;

use super::EndpointError;
use super::catalog::{AdapterKind, Root, Service};

/// Hosts whose API has no version path: a bare origin is already whole there.
const UNVERSIONED_HOSTS: &[&str] = &["api.perplexity.ai"];

/// The root of the API (what paths are joined to) and the URL chat requests go to.
#[derive(Debug)]
pub(super) struct Urls {
    pub root: Url,
    pub chat: String,
}

pub(super) fn join(service: &Service, base_url: Option<&str>) -> Result<Urls, EndpointError> {
    let wrong = |message: String| EndpointError { field: "base_url", message };
    let pasted = base_url
        .or(service.base_url)
        .ok_or_else(|| wrong(format!("{} has no default address, set base_url", service.name)))?
        .trim();
    let mut root = Url::parse(pasted)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| wrong("must be a URL that starts with https:// or http://".to_owned()))?;
    if !root.username().is_empty() || root.password().is_some() {
        return Err(wrong("must not hold a user or password; send them in headers".to_owned()));
    }
    root.set_fragment(None);

    let endpoint = match service.adapter {
        AdapterKind::OpenAi => "/chat/completions",
        AdapterKind::Anthropic => "/messages",
    };
    let path = root.path().trim_end_matches('/');
    let path = path.strip_suffix(endpoint).unwrap_or(path).trim_end_matches('/').to_owned();
    let path = match service.root {
        // Also a base that stops half-way: `https://api.groq.com/openai`.
        Root::IfBare(whole) if is_start_of(&path, whole) && !unversioned(&root) => whole.to_owned(),
        Root::IfBare(_) => path,
        Root::Always(end) if path.ends_with(end) => path,
        Root::Always(end) => path + end,
    };
    root.set_path(&format!("{path}{endpoint}"));
    let chat = root.to_string();
    root.set_path(&path);
    Ok(Urls { root, chat })
}

fn is_start_of(path: &str, whole: &str) -> bool {
    whole.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

fn unversioned(url: &Url) -> bool {
    url.host_str().is_some_and(|host| UNVERSIONED_HOSTS.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::super::service;
    use super::*;

    fn chat(name: &str, base: &str) -> String {
        join(service(name).expect("known"), Some(base)).expect(base).chat
    }

    #[test]
    fn every_way_to_paste_a_base_reaches_the_endpoint() {
        for (name, base, expected) in [
            ("openai", "https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
            ("openai", "https://api.openai.com/", "https://api.openai.com/v1/chat/completions"),
            ("openai", " https://api.openai.com/v1 ", "https://api.openai.com/v1/chat/completions"),
            ("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
            ("openai", "https://h/v1/chat/completions", "https://h/v1/chat/completions"),
            ("openai", "https://h/v1/chat/completions/", "https://h/v1/chat/completions"),
            ("openai", "https://h/v1?api-version=1&x=y", "https://h/v1/chat/completions?api-version=1&x=y"),
            ("openai", "https://h?a=b#c", "https://h/v1/chat/completions?a=b"),
            ("openai", "http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"),
            ("openai", "http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
            ("groq", "https://api.groq.com", "https://api.groq.com/openai/v1/chat/completions"),
            ("groq", "https://api.groq.com/openai", "https://api.groq.com/openai/v1/chat/completions"),
            ("groq", "http://proxy/v1", "http://proxy/v1/chat/completions"),
            ("together", "https://api.together.ai/v1/", "https://api.together.ai/v1/chat/completions"),
            ("openai-compatible", "http://h/api", "http://h/api/chat/completions"),
            ("openai-compatible", "http://h/v1beta/openai/", "http://h/v1beta/openai/chat/completions"),
            ("openai-compatible", "https://api.perplexity.ai", "https://api.perplexity.ai/chat/completions"),
            ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
            ("anthropic", "https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
            ("anthropic", "https://h/anthropic", "https://h/anthropic/v1/messages"),
            ("anthropic", "https://h/v1/messages?x=1", "https://h/v1/messages?x=1"),
        ] {
            assert_eq!(chat(name, base), expected, "{base}");
        }
    }

    #[test]
    fn defaults_are_whole() {
        for service in super::super::services() {
            match (service.base_url, join(service, None)) {
                (Some(base), Ok(urls)) => assert!(urls.chat.starts_with(base), "{}", urls.chat),
                (None, Err(error)) => assert_eq!(error.field, "base_url"),
                (_, joined) => panic!("{}: {joined:?}", service.name),
            }
        }
    }

    #[test]
    fn what_is_no_web_address_is_refused_without_echoing_it() {
        let openai = service("openai").expect("known");
        for base in ["", "api.openai.com/v1", "localhost:8000/v1", "ftp://h/v1", "https://", "https://u:hunter2@h/v1"] {
            let error = join(openai, Some(base)).expect_err(base);
            assert_eq!(error.field, "base_url");
            assert!(!error.message.contains("hunter2"));
        }
    }
}
