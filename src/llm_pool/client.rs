//! One provider as it stands in a pool.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::LlmClientBuilder;
use crate::error::Error;
use crate::pool::{Pool, PoolStream};
use crate::types::{CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse};

/// One provider of a pool. Its limits, breaker and statistics are those it has in the pool.
///
/// ```
/// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
/// use llmpool::LlmClient;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let url = upstream::start(200, "In Oslo.").await?;
/// let client = LlmClient::builder("openai-compatible", "m").name("mine").base_url(&url).build()?;
/// assert_eq!((client.id(), client.request_count(), client.last_used()), ("mine", 0, None));
/// assert_eq!(client.complete("Where is it cold?").await?, "In Oslo.");
/// assert_eq!(client.request_count(), 1);
/// assert!(client.last_used().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LlmClient {
    pool: Pool,
    id: String,
}

impl LlmClient {
    /// A provider of this type (`docs/providers.md` lists them), asked for this model unless a call names another.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// assert_eq!(client.clone(), client.setting("model", "llama3.2"));
    /// ```
    pub fn builder(kind: &str, model: &str) -> LlmClientBuilder {
        LlmClientBuilder::new(kind, model)
    }

    pub(super) fn of(pool: &Pool, name: &str) -> Option<Self> {
        pool.engine().roster().find(name).map(|provider| Self { pool: pool.clone(), id: provider.name().to_string() })
    }

    /// Its name in the pool, which no other has.
    ///
    /// Shown by the example of [`LlmClient`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is: `openai/gpt-4o`. Empty once it is no longer in the pool.
    ///
    /// ```
    /// # use llmpool::LlmClient;
    /// let client = LlmClient::builder("ollama", "llama3.2").name("local").build()?;
    /// assert_eq!(client.name(), "ollama/llama3.2");
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn name(&self) -> String {
        let roster = self.pool.engine().roster();
        let config = roster.find(&self.id).map(|provider| provider.config());
        config.map_or_else(String::new, |config| format!("{}/{}", config.service.name, config.model))
    }

    /// Asks this provider, and no other.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let pool = LlmPoolBuilder::new().client(1, client.clone()).client(2, client.name("spare")).max_retries(0).build()?;
    /// let error = pool.client("down").expect("there").chat(&request).await.unwrap_err();
    /// assert_eq!(error.context().attempts.len(), 1, "the spare one is not asked");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        self.pool.chat(request, &self.only()).await
    }

    /// Opens a stream at this provider, and at no other.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, StreamEvent};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "In Oslo.").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("mine").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let mut stream = client.build()?.stream(request).await?;
    /// let mut text = String::new();
    /// while let Some(event) = stream.next().await {
    ///     if let StreamEvent::Text(piece) = event? {
    ///         text.push_str(&piece);
    ///     }
    /// }
    /// assert_eq!(text, "In Oslo.");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn stream(&self, request: ChatRequest) -> Result<PoolStream, Error> {
        self.pool.stream_until(request.into(), &self.only(), Vec::new(), std::future::pending()).await.result
    }

    /// Makes embeddings at this provider, and at no other.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{EmbedRequest, LlmClient};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "In Oslo.").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("mine").base_url(&url);
    /// let answer = client.build()?.embed(&EmbedRequest::new(["snow", "ice"])).await?;
    /// assert_eq!(answer.vectors.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn embed(&self, request: &EmbedRequest) -> Result<EmbedResponse, Error> {
        self.pool.embed(request, &self.only()).await
    }

    /// The text of the answer to one prompt.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::LlmClient;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "In Oslo.").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("mine").base_url(&url);
    /// assert_eq!(client.build()?.complete("Where is it cold?").await?, "In Oslo.");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`super::LlmPool::chat`].
    pub async fn complete(&self, prompt: &str) -> Result<String, Error> {
        Ok(self.chat(&ChatRequest::user(prompt)).await?.reply.content)
    }

    /// When the last attempt was sent to it; `None` before the first, and once it is no longer in the pool.
    ///
    /// Shown by the example of [`LlmClient`].
    pub fn last_used(&self) -> Option<SystemTime> {
        let millis = self.pool.engine().health().providers.get(self.id.as_str())?.last_used?;
        UNIX_EPOCH.checked_add(Duration::from_millis(millis))
    }

    /// Attempts that were sent to it and have ended, by whomever; 0 once it is no longer in the pool.
    ///
    /// Shown by the example of [`LlmClient`].
    pub fn request_count(&self) -> u64 {
        self.pool.engine().health().providers.get(self.id.as_str()).map_or(0, |health| health.total_requests)
    }

    fn only(&self) -> CallOptions {
        CallOptions { providers: vec![self.id.clone()], ..CallOptions::default() }
    }
}

impl fmt::Debug for LlmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmClient").field("id", &self.id).finish_non_exhaustive()
    }
}
