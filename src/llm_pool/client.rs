//! One provider: as it is described, and as it stands in a pool.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::builder::{LlmPoolBuilder, PoolMember, millis};
use crate::error::Error;
use crate::pool::{Pool, PoolStream};
use crate::types::{CallOptions, ChatRequest, ChatResponse, Message, Role};

/// What a provider is, before it stands in a pool. Nothing is checked before the pool is built.
///
/// ```
/// use std::time::Duration;
/// use llmpool::LlmClient;
///
/// let client = LlmClient::builder("openai", "gpt-4o-mini")
///     .name("main")
///     .api_key("sk-…")
///     .requests_per_minute(500)
///     .timeout(Duration::from_secs(20))
///     .setting("organization", "org-1");
/// assert!(!format!("{client:?}").contains("sk-"), "keys are never shown");
/// ```
#[derive(Clone, PartialEq)]
pub struct LlmClientBuilder(pub(super) Map<String, Value>);

/// One provider of a pool. Its limits, breaker and statistics are those it has in the pool.
#[derive(Clone)]
pub struct LlmClient {
    pool: Pool,
    id: String,
}

// === impl LlmClientBuilder ===

impl LlmClientBuilder {
    /// Its name in the pool, which no other has. Default: the type.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.setting("name", name)
    }

    /// `${VAR}` in it is read from the environment when the pool is built.
    #[must_use]
    pub fn api_key(self, key: &str) -> Self {
        self.setting("api_key", key)
    }

    /// Several keys, used in turn.
    #[must_use]
    pub fn api_keys<'a>(self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.setting("api_keys", keys.into_iter().collect::<Vec<_>>())
    }

    /// Where it is, if not where the service is.
    #[must_use]
    pub fn base_url(self, url: &str) -> Self {
        self.setting("base_url", url)
    }

    /// One attempt. Default: the pool's.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.setting("timeout", millis(timeout))
    }

    /// In any rolling minute; 0: never used. Default: no limit.
    #[must_use]
    pub fn requests_per_minute(self, requests: u32) -> Self {
        self.setting("requests_per_minute", requests)
    }

    /// In a calendar day; 0: never used. Default: no limit.
    #[must_use]
    pub fn requests_per_day(self, requests: u32) -> Self {
        self.setting("requests_per_day", requests)
    }

    /// Failures in a row that open its breaker (0: no breaker), and how long it first stays open. Default: 5, 60 s.
    #[must_use]
    pub fn circuit_breaker(self, threshold: u32, timeout: Duration) -> Self {
        self.setting("circuit_breaker_threshold", threshold).setting("circuit_breaker_timeout", millis(timeout))
    }

    /// USD per 1,000 tokens of prompt and of answer.
    #[must_use]
    pub fn prices(self, input: f64, output: f64) -> Self {
        self.setting("input_token_price", input).setting("output_token_price", output)
    }

    /// Any key of a provider in a configuration, as `docs/configuration.md` lists them. Checked when the pool is built.
    #[must_use]
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
        pool.clients().pop().ok_or_else(|| Error::new(crate::error::ErrorKind::Internal, "a pool of one has none"))
    }
}

impl fmt::Debug for LlmClientBuilder {
    /// Names of what is set, and no value: headers and addresses may hold secrets as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LlmClientBuilder").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

// === impl LlmClient ===

impl LlmClient {
    /// A provider of this type (`docs/providers.md` lists them), asked for this model unless a call names another.
    pub fn builder(kind: &str, model: &str) -> LlmClientBuilder {
        LlmClientBuilder(Map::new()).setting("type", kind).setting("name", kind).setting("model", model)
    }

    pub(super) fn of(pool: &Pool, name: &str) -> Option<Self> {
        pool.engine().roster().find(name).map(|provider| Self { pool: pool.clone(), id: provider.name().to_string() })
    }

    /// Its name in the pool, which no other has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is: `openai/gpt-4o`. Empty once it is no longer in the pool.
    pub fn name(&self) -> String {
        let roster = self.pool.engine().roster();
        let config = roster.find(&self.id).map(|provider| provider.config());
        config.map_or_else(String::new, |config| format!("{}/{}", config.service.name, config.model))
    }

    /// Asks this provider, and no other.
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        self.pool.chat(request, &self.only()).await
    }

    /// Opens a stream at this provider, and at no other.
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn stream(&self, request: ChatRequest) -> Result<PoolStream, Error> {
        self.pool.stream_until(request.into(), &self.only(), Vec::new(), std::future::pending()).await.result
    }

    /// The text of the answer to one prompt.
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn complete(&self, prompt: &str) -> Result<String, Error> {
        let request = ChatRequest::new(vec![Message::text(Role::User, prompt)]);
        Ok(self.chat(&request).await?.reply.content)
    }

    /// When it was last asked.
    pub fn last_used(&self) -> Option<SystemTime> {
        let millis = self.pool.engine().health().providers.get(self.id.as_str())?.last_used?;
        UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }

    /// How often it was asked.
    pub fn request_count(&self) -> u64 {
        self.pool.engine().health().providers.get(self.id.as_str()).map_or(0, |health| health.total_requests)
    }

    fn only(&self) -> CallOptions {
        CallOptions { providers: vec![self.id.clone()], ..CallOptions::default() }
    }
}
