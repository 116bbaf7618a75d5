//! Reads a configuration from where it is kept, again and again: a file, a URL, or an object that is at hand.
//!
//! A server is asked with `If-None-Match`, gets no more than ten seconds and sixteen megabytes, and is not followed
//! anywhere else: the headers it is given are for it alone. What it says is parsed away from the thread that serves calls.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::document::{Document, Format, checksum};
use super::env::Environment;
use super::file::{MAX_BYTES, replace_file};
use super::network;
use super::section::Reader;
use super::settings::{Remote, Source};
use crate::error::{Error, ErrorKind, Problem, TransportError};
use crate::time;
use crate::transport::{Fetcher, HttpReply, read_all};

/// A configuration is small; a server that needs longer for it is as good as down.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a configuration comes from, and what is known of it there.
pub struct Feed {
    source: Source,
    /// Made at the first use: it reads certificates.
    fetcher: Option<Arc<Fetcher>>,
    /// Of the text that is in force.
    etag: Option<HeaderValue>,
    /// Of the text that was read last, until it is in force.
    next_etag: Option<HeaderValue>,
}

/// What [`Feed::keep`] writes.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the URL: another one's configuration must not be taken for this one's, and a URL may be a secret.
    url: String,
    format: String,
    sha256: String,
    text: String,
}

impl Feed {
    pub fn new(source: &Source) -> Self {
        Self { source: source.clone(), fetcher: None, etag: None, next_etag: None }
    }

    /// What is there now. `None`: what was [kept](Feed::keep) last, the server says. Needs a tokio runtime.
    ///
    /// # Errors
    /// Everything that keeps it from being read, as one configuration error.
    pub async fn read(&mut self, environment: &Environment) -> Result<Option<Document>, Error> {
        let read = match self.source.clone() {
            Source::Inline(value) => Ok(Some(Document::object(value))),
            Source::File(path) => Document::read(&path).await.map(Some),
            Source::Url(remote) => self.fetch(&remote, environment).await,
        };
        read.map_err(Error::configuration)
    }

    /// The next reading is a whole one, whatever the server thinks was read before.
    pub fn forget(&mut self) {
        self.etag = None;
    }

    /// What was read is in force: the server is asked for news from now on, and the cache file holds it.
    ///
    /// # Errors
    /// The cache file cannot be written.
    pub async fn keep(&mut self, document: &Document) -> Result<(), Error> {
        let Source::Url(remote) = &self.source else { return Ok(()) };
        self.etag = self.next_etag.take();
        let (Some(path), Some((text, format))) = (remote.cache.clone(), document.text()) else { return Ok(()) };
        let kept = Kept {
            url: checksum(remote.url.as_str().as_bytes()),
            format: format.name().to_owned(),
            sha256: document.checksum().to_owned(),
            text: text.to_owned(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let said = path.display().to_string();
        blocking(move || replace_file(&path, &bytes))
            .await?
            .map_err(|error| problem("configCache", format!("{said}: this file cannot be written: {error}")))
    }

    /// What was in force last, for a start while the server is down. `None`: there is nothing usable.
    pub async fn cached(&self) -> Option<Document> {
        let Source::Url(remote) = &self.source else { return None };
        let remote = remote.clone();
        blocking(move || from_cache(&remote)).await.ok()?
    }

    async fn fetch(&mut self, remote: &Remote, environment: &Environment) -> Result<Option<Document>, Vec<Problem>> {
        let refused = |message: String| vec![Problem { path: "configUrl".to_owned(), message }];
        let fetcher = match &self.fetcher {
            Some(fetcher) => Arc::clone(fetcher),
            None => {
                let fetcher = make_fetcher(environment.clone()).await.map_err(refused)?;
                Arc::clone(self.fetcher.insert(fetcher))
            }
        };
        let shown = network::origin(&remote.url);
        let asked = time::until(Some(time::now().mono + FETCH_TIMEOUT), ask(&fetcher, remote, self.etag.clone())).await;
        let seconds = FETCH_TIMEOUT.as_secs();
        let (text, format, etag) = match asked.map_err(|_| format!("{shown}: nothing came within {seconds} s")) {
            Ok(Ok(Some(fetched))) => fetched,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(message)) => return Err(refused(format!("{shown}: {message}"))),
            Err(message) => return Err(refused(message)),
        };
        let remote = remote.clone();
        let parsed = blocking(move || parse(text, format, &remote)).await;
        self.next_etag = etag;
        parsed.map_err(|error| refused(error.to_string()))?.map(Some)
    }
}

type Fetched = (Vec<u8>, Format, Option<HeaderValue>);

/// One request. `None`: nothing has changed.
async fn ask(fetcher: &Fetcher, remote: &Remote, etag: Option<HeaderValue>) -> Result<Option<Fetched>, String> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/yaml, application/toml, */*;q=0.5"));
    for (name, value) in &remote.headers {
        // Both were checked with the options.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
    let said = |error: TransportError| error.message;
    let HttpReply { status, headers, body } = fetcher.get(remote.url.clone(), headers).await.map_err(said)?;
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(None),
        status if status.is_redirection() => {
            return Err(format!(
                "the server answered {}; redirects are not followed, name the final URL",
                status.as_u16()
            ));
        }
        status => return Err(format!("the server answered {}", status.as_u16())),
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BYTES) {
        return Err(format!("the configuration is over {MAX_BYTES} bytes"));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let format = Format::of_reply(content_type, remote.url.path());
    let body = read_all(body, usize::try_from(MAX_BYTES).unwrap_or(usize::MAX)).await.map_err(said)?;
    Ok(Some((body.to_vec(), format, headers.get(ETAG).cloned())))
}

fn parse(bytes: Vec<u8>, format: Format, remote: &Remote) -> Result<Document, Vec<Problem>> {
    let refused = |message: String| vec![Problem { path: "configUrl".to_owned(), message }];
    let found = checksum(&bytes);
    if let Some(expected) = remote.sha256.as_ref().filter(|expected| **expected != found) {
        return Err(refused(format!("the configuration has the SHA-256 {found}, expected {expected} (configSha256)")));
    }
    let text = String::from_utf8(bytes).map_err(|_| refused("the configuration is not UTF-8 text".to_owned()))?;
    Document::parse(text, format).map(|document| document.limited_to(&remote.variables))
}

fn from_cache(remote: &Remote) -> Option<Document> {
    let bytes = read_bounded(remote.cache.as_deref()?)?;
    let Kept { url, format, sha256, text } = serde_json::from_slice(&bytes).ok()?;
    let format = [Format::Json, Format::Yaml, Format::Toml].into_iter().find(|known| known.name() == format)?;
    let ours = url == checksum(remote.url.as_str().as_bytes()) && sha256 == checksum(text.as_bytes());
    ours.then(|| parse(text.into_bytes(), format, remote).ok()).flatten()
}

/// The text is kept as a JSON string, which may take twice its size.
fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.len() <= 2 * MAX_BYTES + 1024).then(|| std::fs::read(path).ok()).flatten()
}

/// A client for one server, by the proxies and certificates of the environment.
async fn make_fetcher(environment: Environment) -> Result<Arc<Fetcher>, String> {
    let mut reader = Reader::literal();
    let params = network::from_environment(&environment, &mut reader);
    if let Some(problem) = reader.problems.first() {
        return Err(problem.to_string());
    }
    let made = blocking(move || Fetcher::new(&params)).await.map_err(|error| error.to_string())?;
    made.map(Arc::new).map_err(|error| error.message)
}

/// Runs what may take a while where it delays no call.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

fn problem(path: &str, message: String) -> Error {
    Error::configuration(vec![Problem { path: path.to_owned(), message }])
}

/// Where a configuration may be fetched from: `https`, or `http` to this machine.
pub(super) fn check_url(text: &str) -> Result<Url, &'static str> {
    network::check_base_url(text, false)
}

#[cfg(test)]
mod tests;
