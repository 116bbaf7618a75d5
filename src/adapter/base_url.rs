//! Joins the URL of a chat request from whatever base URL was pasted.
//!
//! With or without a trailing slash, with or without `/v1`, the whole endpoint, with a query string: SDKs and
//! documentation disagree about what a base URL is, so all of it is taken. A fragment is dropped; a query is kept,
//! since gateways carry an `api-version` there. User and password are refused: a URL is printed, a header is not.

use std::borrow::Cow;

use url::Url;

use super::EndpointError;
use super::catalog::{AdapterKind, Root, Service};
use super::deployments::{self, Classic};
use super::gemini;

/// Hosts whose API has no version path: a bare origin is already whole there.
const UNVERSIONED_HOSTS: &[&str] = &["api.perplexity.ai"];

/// The root of the API (what paths are joined to) and the URL chat requests go to.
#[derive(Debug)]
pub(super) struct Urls {
    pub root: Url,
    chat: Url,
    /// How deployments are named in the path, where they are.
    classic: Option<Classic>,
    /// The path ends in the model and what is asked of it.
    names_model: bool,
    endpoint: &'static str,
}

pub(super) fn join(
    service: &Service,
    base_url: Option<&str>,
    deployment: Option<&str>,
    api_version: Option<&str>,
) -> Result<Urls, EndpointError> {
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
        AdapterKind::Gemini => "/models",
        AdapterKind::Cohere | AdapterKind::Ollama => "/chat",
    };
    let path = without_ends(service.adapter, root.path()).to_owned();
    if !matches!(service.root, Root::Deployments(_)) {
        for (field, setting) in [("deployment", deployment), ("api_version", api_version)] {
            if setting.is_some() {
                return Err(EndpointError {
                    field,
                    message: format!("{} has no such setting, remove it", service.name),
                });
            }
        }
    }
    let mut classic = None;
    let path = match service.root {
        // Also a base that stops half-way: `https://api.groq.com/openai`.
        Root::IfBare(whole) if is_start_of(&path, whole) && !unversioned(&root) => whole.to_owned(),
        Root::IfBare(_) => path,
        Root::Always(end) if path.ends_with(end) => path,
        Root::Always(end) => path + end,
        Root::AsIs => path,
        Root::Deployments(whole) => {
            let (path, found) = deployments::read(&mut root, path, whole, deployment, api_version)?;
            classic = found;
            path
        }
    };
    root.set_path(&path);
    let chat = match &classic {
        Some(Classic { deployment: Some(deployment) }) => deployments::address(&root, deployment, endpoint),
        _ => {
            let mut chat = root.clone();
            chat.set_path(&format!("{path}{endpoint}"));
            chat
        }
    };
    Ok(Urls { root, chat, classic, names_model: service.adapter == AdapterKind::Gemini, endpoint })
}

impl Urls {
    /// Where a chat request for `model` goes.
    pub fn chat(&self, model: &str, stream: bool) -> Cow<'_, Url> {
        if self.names_model {
            let method = if stream { "streamGenerateContent" } else { "generateContent" };
            let mut url = gemini::address(&self.chat, model, method);
            if stream {
                // Otherwise the stream is one array, which can be read at its end only.
                url.query_pairs_mut().append_pair("alt", "sse");
            }
            return Cow::Owned(url);
        }
        match &self.classic {
            Some(classic) => classic.chat(&self.root, &self.chat, model, self.endpoint),
            None => Cow::Borrowed(&self.chat),
        }
    }
}

impl Urls {
    /// Where a request for embeddings by `model` goes; `path` is behind the root, or what is asked of the model.
    pub fn embeddings(&self, model: &str, path: &str) -> Url {
        if self.names_model {
            return gemini::address(&self.chat, model, path.trim_start_matches(':'));
        }
        if let Some(Classic { deployment }) = &self.classic {
            return deployments::address(&self.root, deployment.as_deref().unwrap_or(model), path);
        }
        let root = self.root.path().trim_end_matches('/');
        // Where the version belongs to this path alone, it may have been pasted all the same.
        let version = path.rsplit_once('/').map_or("", |(version, _)| version);
        let root = root.strip_suffix(version).unwrap_or(root);
        let mut url = self.root.clone();
        url.set_path(&format!("{root}{path}"));
        url
    }
}

/// The path without what is pasted behind the root: the endpoint, and the root of another API of the same service.
fn without_ends(adapter: AdapterKind, path: &str) -> &str {
    let ends: &[&str] = match adapter {
        AdapterKind::OpenAi => &["/chat/completions", "/embeddings"],
        AdapterKind::Anthropic => &["/messages"],
        AdapterKind::Gemini => &["/chat/completions", "/openai", "/models"],
        // `/v1` is the legacy chat, and the API in OpenAI's dialect.
        AdapterKind::Cohere => &["/chat/completions", "/chat", "/v1", "/compatibility"],
        AdapterKind::Ollama => &["/chat/completions", "/chat", "/v1"],
    };
    let path = match path.split_once("/models/") {
        Some((root, _)) if adapter == AdapterKind::Gemini => root,
        _ => path,
    };
    let path = path.trim_end_matches('/');
    ends.iter().fold(path, |path, end| path.strip_suffix(end).unwrap_or(path).trim_end_matches('/'))
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
        join(service(name).expect("known"), Some(base), None, None).expect(base).chat("m", false).to_string()
    }

    fn azure(base: &str, deployment: Option<&str>, api_version: Option<&str>) -> Result<String, &'static str> {
        let azure = service("azure").expect("known");
        match join(azure, Some(base), deployment, api_version) {
            Ok(urls) => Ok(urls.chat("m", false).to_string()),
            Err(error) => Err(error.field),
        }
    }

    #[test]
    fn a_deployment_is_in_the_path_with_a_version_or_is_the_model() {
        const V1: &str = "https://r.openai.azure.com/openai/v1/chat/completions";
        const CLASSIC: &str = "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21";
        const MODEL: &str = "https://r.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21";
        let date = Some("2024-10-21");
        for (base, deployment, version, expected) in [
            ("https://r.openai.azure.com", None, None, Ok(V1)),
            ("https://r.openai.azure.com/openai/", None, None, Ok(V1)),
            ("https://r.openai.azure.com/openai/v1/", None, None, Ok(V1)),
            ("https://r.openai.azure.com/openai/v1/chat/completions", None, None, Ok(V1)),
            ("https://r.openai.azure.com", Some("d"), date, Ok(CLASSIC)),
            ("https://r.openai.azure.com/openai/", Some("d"), date, Ok(CLASSIC)),
            ("https://r.openai.azure.com?api-version=2024-10-21", Some("d"), None, Ok(CLASSIC)),
            ("https://r.openai.azure.com?api-version=2023-05-15", Some("d"), date, Ok(CLASSIC)),
            (CLASSIC, None, None, Ok(CLASSIC)),
            ("https://r.openai.azure.com/openai/deployments/d", None, date, Ok(CLASSIC)),
            ("https://r.openai.azure.com", None, date, Ok(MODEL)),
            ("https://r.openai.azure.com", Some("d"), None, Err("api_version")),
            ("https://r.openai.azure.com/openai/v1", Some("d"), date, Err("deployment")),
            (
                "http://gateway/team/azure",
                Some("d e"),
                Some("v"),
                Ok("http://gateway/team/azure/deployments/d%20e/chat/completions?api-version=v"),
            ),
        ] {
            assert_eq!(
                azure(base, deployment, version),
                expected.map(str::to_owned),
                "{base} {deployment:?} {version:?}"
            );
        }
        let preview = "https://r.openai.azure.com/openai/v1/chat/completions?api-version=preview";
        assert_eq!(azure("https://r.openai.azure.com", None, Some("preview")), Ok(preview.to_owned()));
    }

    #[test]
    fn only_services_with_deployments_take_their_settings() {
        for (deployment, version, field) in [(Some("d"), None, "deployment"), (None, Some("v"), "api_version")] {
            let error = join(service("openai").expect("known"), None, deployment, version).expect_err(field);
            assert_eq!(error.field, field);
        }
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
            ("mistral", "https://api.mistral.ai", "https://api.mistral.ai/v1/chat/completions"),
            ("deepseek", "https://api.deepseek.com/", "https://api.deepseek.com/chat/completions"),
            ("deepseek", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1/chat/completions"),
            ("deepseek", "https://api.deepseek.com/beta", "https://api.deepseek.com/beta/chat/completions"),
            ("openrouter", "https://openrouter.ai", "https://openrouter.ai/api/v1/chat/completions"),
            ("xai", "https://api.x.ai/", "https://api.x.ai/v1/chat/completions"),
            ("fireworks", "https://api.fireworks.ai", "https://api.fireworks.ai/inference/v1/chat/completions"),
            ("perplexity", "https://api.perplexity.ai/", "https://api.perplexity.ai/chat/completions"),
            ("openai-compatible", "http://h/api", "http://h/api/chat/completions"),
            ("openai-compatible", "http://h/v1beta/openai/", "http://h/v1beta/openai/chat/completions"),
            ("openai-compatible", "https://api.perplexity.ai", "https://api.perplexity.ai/chat/completions"),
            ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
            ("anthropic", "https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
            ("anthropic", "https://h/anthropic", "https://h/anthropic/v1/messages"),
            ("anthropic", "https://h/v1/messages?x=1", "https://h/v1/messages?x=1"),
            ("cohere", "https://api.cohere.ai/v1", "https://api.cohere.ai/v2/chat"),
            ("cohere", "https://api.cohere.com", "https://api.cohere.com/v2/chat"),
            ("cohere", "https://api.cohere.com/v2/", "https://api.cohere.com/v2/chat"),
            ("cohere", "https://api.cohere.com/v2/chat?x=1", "https://api.cohere.com/v2/chat?x=1"),
            ("cohere", "https://api.cohere.com/v1/chat", "https://api.cohere.com/v2/chat"),
            ("cohere", "https://api.cohere.ai/compatibility/v1", "https://api.cohere.ai/v2/chat"),
            ("cohere", "https://h/proxy/v1", "https://h/proxy/v2/chat"),
            ("ollama", "http://localhost:11434", "http://localhost:11434/api/chat"),
            ("ollama", "http://localhost:11434/v1/", "http://localhost:11434/api/chat"),
            ("ollama", "http://localhost:11434/v1/chat/completions", "http://localhost:11434/api/chat"),
            ("ollama", "http://localhost:11434/api", "http://localhost:11434/api/chat"),
            ("ollama", "http://localhost:11434/api/chat", "http://localhost:11434/api/chat"),
            ("ollama", "https://h/ollama", "https://h/ollama/api/chat"),
            ("gemini", "https://h", "https://h/v1beta/models/m:generateContent"),
            ("gemini", "https://h/v1beta/", "https://h/v1beta/models/m:generateContent"),
            ("gemini", "https://h/v1", "https://h/v1/models/m:generateContent"),
            ("gemini", "https://h/v1beta/models", "https://h/v1beta/models/m:generateContent"),
            ("gemini", "https://h/v1beta/models/x:generateContent", "https://h/v1beta/models/m:generateContent"),
            ("gemini", "https://h/v1beta/openai/", "https://h/v1beta/models/m:generateContent"),
            ("gemini", "https://h/v1beta/openai/chat/completions", "https://h/v1beta/models/m:generateContent"),
            (
                "gemini",
                "https://h/google-ai-studio/v1?a=b",
                "https://h/google-ai-studio/v1/models/m:generateContent?a=b",
            ),
        ] {
            assert_eq!(chat(name, base), expected, "{base}");
        }
    }

    #[test]
    fn a_stream_of_gemini_has_a_method_and_a_query_of_its_own() {
        let stream = |base| {
            join(service("gemini").expect("known"), Some(base), None, None).expect(base).chat("x", true).to_string()
        };
        assert_eq!(stream("https://h/v1beta"), "https://h/v1beta/models/x:streamGenerateContent?alt=sse");
        assert_eq!(stream("https://h/v1beta?a=b"), "https://h/v1beta/models/x:streamGenerateContent?a=b&alt=sse");
    }

    #[test]
    fn embeddings_have_a_place_of_their_own_below_the_same_root() {
        let at = |name: &str, base: &str, version: Option<&str>| {
            let service = service(name).expect("known");
            let path = service.dialect.embeddings.as_ref().expect("a rule").path;
            join(service, Some(base), None, version).expect(base).embeddings("m", path).to_string()
        };
        for (name, base, expected) in [
            ("openai", "https://api.openai.com", "https://api.openai.com/v1/embeddings"),
            ("openai", "https://h/v1/embeddings", "https://h/v1/embeddings"),
            ("openai", "https://h/v1?a=b", "https://h/v1/embeddings?a=b"),
            ("mistral", "https://api.mistral.ai/v1/", "https://api.mistral.ai/v1/embeddings"),
            ("perplexity", "https://api.perplexity.ai", "https://api.perplexity.ai/v1/embeddings"),
            ("perplexity", "https://api.perplexity.ai/v1", "https://api.perplexity.ai/v1/embeddings"),
            ("gemini", "https://h", "https://h/v1beta/models/m:batchEmbedContents"),
            ("cohere", "https://api.cohere.com", "https://api.cohere.com/v2/embed"),
            ("ollama", "http://localhost:11434", "http://localhost:11434/api/embed"),
            ("azure", "https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/embeddings"),
        ] {
            assert_eq!(at(name, base, None), expected, "{base}");
        }
        assert_eq!(
            at("azure", "https://r.openai.azure.com", Some("2024-10-21")),
            "https://r.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-10-21"
        );
    }

    #[test]
    fn defaults_are_whole() {
        for service in super::super::services() {
            match (service.base_url, join(service, None, None, None)) {
                (Some(base), Ok(urls)) => assert!(urls.chat("m", false).as_str().starts_with(base), "{}", service.name),
                (None, Err(error)) => assert_eq!(error.field, "base_url"),
                (_, joined) => panic!("{}: {joined:?}", service.name),
            }
        }
    }

    #[test]
    fn what_is_no_web_address_is_refused_without_echoing_it() {
        let openai = service("openai").expect("known");
        for base in ["", "api.openai.com/v1", "localhost:8000/v1", "ftp://h/v1", "https://", "https://u:hunter2@h/v1"] {
            let error = join(openai, Some(base), None, None).expect_err(base);
            assert_eq!(error.field, "base_url");
            assert!(!error.message.contains("hunter2"));
        }
    }
}
