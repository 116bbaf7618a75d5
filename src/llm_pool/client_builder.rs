//! A provider as it is described, before it stands in a pool.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::LlmClient;
use super::builder::{LlmPoolBuilder, PoolMember, millis};
use crate::error::{Error, ErrorKind};

/// What a provider is, before it stands in a pool. Nothing is checked before the pool is built.
///
/// ```
/// use std::time::Duration;
/// use llmpool::LlmClient;
///
/// let client = LlmClient::builder("openai", "gpt-4o-mini")
///     .name("main")
///     .api_keys(["sk-1…", "sk-2…"])
///     .requests_per_minute(500)
///     .max_concurrent(20)
///     .circuit_breaker(5, Duration::from_secs(30))
///     .timeout(Duration::from_secs(20))
///     .max_connections(10)
///     .warm(true)
///     .setting("organization", "org-1");
/// assert!(!format!("{client:?}").contains("sk-"), "keys are never shown");
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a provider is asked once it stands in a pool"]
pub struct LlmClientBuilder(Map<String, Value>);

impl LlmClientBuilder {
    pub(super) fn new(kind: &str, model: &str) -> Self {
        Self(Map::new()).setting("type", kind).setting("name", kind).setting("model", model)
    }

    /// As a configuration says it.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Its name in the pool, which no other has. Default: the type.
    pub fn name(self, name: &str) -> Self {
        self.setting("name", name)
    }

    /// `${VAR}` in it is read from the environment when the pool is built.
    pub fn api_key(self, key: &str) -> Self {
        self.setting("api_key", key)
    }

    /// Several keys, used in turn.
    pub fn api_keys<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.setting("api_keys", keys.into_iter().collect::<Vec<_>>())
    }

    /// Where it is, if not where the service is.
    pub fn base_url(self, url: &str) -> Self {
        self.setting("base_url", url)
    }

    /// Its part of the calls of its priority under [`Behaviour::Weighted`](crate::Behaviour::Weighted). Default 1; 0: only
    /// asked by calls that name it.
    pub fn weight(self, weight: u32) -> Self {
        self.setting("weight", weight)
    }

    /// One attempt. Default: the pool's.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.setting("timeout", millis(timeout))
    }

    /// In any rolling minute; 0: never used. Default: no limit.
    pub fn requests_per_minute(self, requests: u32) -> Self {
        self.setting("requests_per_minute", requests)
    }

    /// In a calendar day; 0: never used. Default: no limit.
    pub fn requests_per_day(self, requests: u32) -> Self {
        self.setting("requests_per_day", requests)
    }

    /// Prompts and answers together, in any rolling minute; 0: never used. Default: no limit.
    pub fn tokens_per_minute(self, tokens: u64) -> Self {
        self.setting("tokens_per_minute", tokens)
    }

    /// Attempts and open streams at once; 0: never used. Default: no limit but the pool's.
    pub fn max_concurrent(self, attempts: u32) -> Self {
        self.setting("max_concurrent", attempts)
    }

    /// Requests under way to its host at once, each over a connection of its own; at least 1. Default: no limit.
    pub fn max_connections(self, connections: u32) -> Self {
        self.setting("max_connections", connections)
    }

    /// A connection that nobody uses is closed after this. Default 90 s; zero keeps none.
    pub fn connection_idle_timeout(self, timeout: Duration) -> Self {
        self.setting("connection_idle_timeout_ms", millis(timeout))
    }

    /// Opens a connection when the pool is started. Default: false.
    pub fn warm(self, warm: bool) -> Self {
        self.setting("warm", warm)
    }

    /// Failures in a row that open its breaker (0: no breaker), and how long it first stays open. Default: 5, 60 s.
    pub fn circuit_breaker(self, threshold: u32, timeout: Duration) -> Self {
        self.setting("circuit_breaker_threshold", threshold).setting("circuit_breaker_timeout", millis(timeout))
    }

    /// USD per 1,000 tokens of prompt and of answer. Default: the catalogue's.
    pub fn prices(self, input: f64, output: f64) -> Self {
        self.setting("input_token_price", input).setting("output_token_price", output)
    }

    /// Any key of a provider in a configuration, as `docs/configuration.md` lists them. Checked when the pool is built.
    pub fn setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A pool of this one alone.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn build(self) -> Result<LlmClient, Error> {
        let pool = LlmPoolBuilder::new().member(PoolMember::new(1, self)).build()?;
        pool.clients().pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a pool of one has none"))
    }
}

impl fmt::Debug for LlmClientBuilder {
    /// Names of what is set, and no value: headers and addresses may hold secrets as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LlmClientBuilder").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}
