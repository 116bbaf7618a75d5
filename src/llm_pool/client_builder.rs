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
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2").name("local").build()?;
    /// assert_eq!(client.id(), "local");
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn name(self, name: &str) -> Self {
        self.setting("name", name)
    }

    /// `${VAR}` in it is read from the environment when the pool is built.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let refused = LlmClient::builder("openai", "gpt-4o").api_key("${LLMPOOL_NOBODY_SET_THIS}").build().unwrap_err();
    /// assert!(refused.to_string().contains("LLMPOOL_NOBODY_SET_THIS"), "{refused}");
    /// ```
    pub fn api_key(self, key: &str) -> Self {
        self.setting("api_key", key)
    }

    /// Several keys, used in turn.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("openai", "gpt-4o").api_keys(["k1", "k2"]);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// assert_eq!(pool.provider_stats()["openai"].keys.len(), 2);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn api_keys<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.setting("api_keys", keys.into_iter().collect::<Vec<_>>())
    }

    /// Where it is, if not where the service is.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let refused = LlmClient::builder("ollama", "llama3.2").base_url("next door").build().unwrap_err();
    /// assert!(refused.to_string().contains("base_url"), "{refused}");
    /// ```
    pub fn base_url(self, url: &str) -> Self {
        self.setting("base_url", url)
    }

    /// Its part of the calls of its priority under [`Behaviour::Weighted`](crate::Behaviour::Weighted). Default 1; 0: only
    /// asked by calls that name it.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let (none, other) = (client.clone().weight(0), client.name("other"));
    /// let pool = LlmPoolBuilder::new().client(1, none).client(2, other).build()?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("other"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn weight(self, weight: u32) -> Self {
        self.setting("weight", weight)
    }

    /// One attempt. Default: the pool's.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// assert_eq!(client.clone().timeout(Duration::from_secs(20)), client.setting("timeout", 20_000));
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        self.setting("timeout", millis(timeout))
    }

    /// In any rolling minute; 0: never used. Default: no limit.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2").requests_per_minute(30);
    /// let health = LlmPoolBuilder::new().client(1, client).build()?.health();
    /// assert_eq!(health.providers["ollama"].requests_remaining, Some(30));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn requests_per_minute(self, requests: u32) -> Self {
        self.setting("requests_per_minute", requests)
    }

    /// In a calendar day; 0: never used. Default: no limit.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let (none, other) = (client.clone().requests_per_day(0), client.name("other"));
    /// let pool = LlmPoolBuilder::new().client(1, none).client(2, other).build()?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("other"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn requests_per_day(self, requests: u32) -> Self {
        self.setting("requests_per_day", requests)
    }

    /// Prompts and answers together, in any rolling minute; 0: never used. Default: no limit.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let (none, other) = (client.clone().tokens_per_minute(0), client.name("other"));
    /// let pool = LlmPoolBuilder::new().client(1, none).client(2, other).build()?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("other"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn tokens_per_minute(self, tokens: u64) -> Self {
        self.setting("tokens_per_minute", tokens)
    }

    /// Attempts and open streams at once; 0: never used. Default: no limit but the pool's.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let (none, other) = (client.clone().max_concurrent(0), client.name("other"));
    /// let pool = LlmPoolBuilder::new().client(1, none).client(2, other).build()?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("other"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn max_concurrent(self, attempts: u32) -> Self {
        self.setting("max_concurrent", attempts)
    }

    /// Requests under way to its host at once, each over a connection of its own; at least 1. Default: no limit.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let refused = LlmClient::builder("ollama", "llama3.2").max_connections(0).build().unwrap_err();
    /// assert!(refused.to_string().contains("max_connections"), "{refused}");
    /// ```
    pub fn max_connections(self, connections: u32) -> Self {
        self.setting("max_connections", connections)
    }

    /// A connection that nobody uses is closed after this. Default 90 s; zero keeps none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let set = client.clone().setting("connection_idle_timeout_ms", 7_000);
    /// assert_eq!(client.connection_idle_timeout(Duration::from_secs(7)), set);
    /// ```
    pub fn connection_idle_timeout(self, timeout: Duration) -> Self {
        self.setting("connection_idle_timeout_ms", millis(timeout))
    }

    /// Opens a connection when the pool is started. Default: false.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// assert_eq!(client.clone().warm(true), client.setting("warm", true));
    /// ```
    pub fn warm(self, warm: bool) -> Self {
        self.setting("warm", warm)
    }

    /// Failures in a row that open its breaker (0: no breaker), and how long it first stays open. Default: 5, 60 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let client = client.circuit_breaker(1, Duration::from_secs(30));
    /// let pool = LlmPoolBuilder::new().client(1, client).max_retries(0).build()?;
    /// assert!(pool.chat(&request).await.is_err());
    /// assert!(!pool.health().providers["down"].available, "one failure was enough");
    /// # Ok(())
    /// # }
    /// ```
    pub fn circuit_breaker(self, threshold: u32, timeout: Duration) -> Self {
        self.setting("circuit_breaker_threshold", threshold).setting("circuit_breaker_timeout", millis(timeout))
    }

    /// USD per 1,000 tokens of prompt and of answer. Default: the catalogue's.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// let set = client.clone().setting("input_token_price", 0.5).setting("output_token_price", 1.5);
    /// assert_eq!(client.prices(0.5, 1.5), set);
    /// ```
    pub fn prices(self, input: f64, output: f64) -> Self {
        self.setting("input_token_price", input).setting("output_token_price", output)
    }

    /// Any key of a provider in a configuration, as `docs/configuration.md` lists them. Checked when the pool is built.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let refused = LlmClient::builder("ollama", "llama3.2").setting("colour", "blue").build().unwrap_err();
    /// assert!(refused.to_string().contains("colour: unknown key"), "{refused}");
    /// ```
    pub fn setting(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A pool of this one alone.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2").build()?;
    /// assert_eq!((client.id(), client.name().as_str()), ("ollama", "ollama/llama3.2"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
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
