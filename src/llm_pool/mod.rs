//! The library in Rust: a pool that is built in code, and functions of the caller's own under its policies.
//!
//! [`LlmPoolBuilder`] collects what a configuration file would say and has it checked by the same check, so that every
//! mistake is told at once and every key of a file can be set. [`LlmPool`] is the pool; it adds nothing to the engine
//! but a handier face. [`LlmClient`] is one provider of it.

mod analyzer;
mod background;
mod builder;
mod client;
mod client_builder;
mod execute;
mod life;
mod look;
#[cfg(test)]
mod names_doc;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tracing_tests;

pub use analyzer::LlmAnalyzer;
pub use builder::{LlmPoolBuilder, PoolMember};
pub use client::LlmClient;
pub use client_builder::LlmClientBuilder;
pub use execute::ExecuteError;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::{Environment, Settings, Source};
use crate::engine::{Classified, Executed, Turn};
use crate::error::Error;
use crate::pool::{Pool, PoolStream};
use crate::types::{Behaviour, CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse};

/// A pool of LLM providers. Cheap to clone; clones are the same pool.
///
/// It answers calls from the moment it is built, on whatever tokio runtime asks it. [`LlmPool::start`] adds what goes on
/// beside the calls; [`LlmPool::stop`] ends it all. Dropped without that, it closes its connections and ends what was
/// started.
#[derive(Clone)]
pub struct LlmPool {
    pool: Pool,
    /// Whether [`LlmPool::start`] was called.
    started: Arc<AtomicBool>,
}

impl LlmPool {
    /// A pool of these members. Reads certificate files, so it belongs on a thread that may block.
    ///
    /// ```
    /// use llmpool::{Behaviour, LlmClient, LlmPool, PoolMember};
    /// let local = LlmClient::builder("ollama", "llama3.2");
    /// let pool = LlmPool::new(vec![PoolMember::new(1, local)], Behaviour::Failover)?;
    /// assert_eq!(pool.len(), 1);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with the members, at once; an empty list.
    pub fn new(members: Vec<PoolMember>, behaviour: Behaviour) -> Result<Self, Error> {
        members.into_iter().fold(LlmPoolBuilder::new().behaviour(behaviour), LlmPoolBuilder::member).build()
    }

    /// A pool as a configuration file says: JSON with comments, YAML or TOML by its extension. Must be called on a tokio
    /// runtime. Changes of the file are followed once the pool is started.
    ///
    /// ```
    /// # use llmpool::LlmPool;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("llmpool-doc-{}.toml", std::process::id()));
    /// std::fs::write(&path, r#"
    ///     [[providers]]
    ///     name = "local"
    ///     type = "ollama"
    ///     model = "llama3.2"
    /// "#)?;
    /// let pool = LlmPool::from_file(&path).await?;
    /// assert_eq!(pool.clients()[0].name(), "ollama/llama3.2");
    /// # std::fs::remove_file(path)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong with what it says.
    pub async fn from_file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open(Settings::new(Source::File(path.into()))).await
    }

    /// A pool as these settings say: a file or a URL, how often it is read again, where statistics are kept. Must be
    /// called on a tokio runtime.
    ///
    /// ```
    /// use llmpool::LlmPool;
    /// use llmpool::config::{Settings, Source};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
    /// let config = serde_json::json!({ "providers": [{ "name": "local", "model": "llama3.2" }] });
    /// let settings = Settings { max_retries: Some(0), ..Settings::new(Source::Inline(config)) };
    /// let pool = LlmPool::open(settings).await?;
    /// assert_eq!(pool.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A source that cannot be read, and everything that is wrong with what it says.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        Ok(Self::over(Pool::open(settings, Environment::process(), Arc::default()).await?))
    }

    fn over(pool: Pool) -> Self {
        Self { pool, started: Arc::default() }
    }

    // === calls ===

    /// Answers a request by the best provider that can. Dropping the future cancels the call: the socket closes, what was
    /// reserved returns, nobody is blamed.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (down, sound) = (upstream::start(503, "out of order").await?, upstream::start(200, "In Oslo.").await?);
    /// let client = |name, url: &str| LlmClient::builder("openai-compatible", "m").name(name).base_url(url);
    /// let pool = LlmPoolBuilder::new().client(1, client("down", &down)).client(2, client("sound", &sound)).build()?;
    /// let answer = pool.chat(&ChatRequest::user("Where is it cold?")).await?;
    /// assert_eq!((answer.provider.as_str(), answer.reply.content.as_str()), ("sound", "In Oslo."));
    /// assert_eq!(answer.attempts.len(), 2, "the trail has the failure, too");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`crate::error::ErrorKind`]; every error carries the trail of what was tried.
    pub async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        self.chat_with(request, &CallOptions::default()).await
    }

    /// The same, with options of this call.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use std::time::Duration;
    /// use llmpool::{CallOptions, ChatRequest, LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").base_url(&url);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let once = CallOptions { max_retries: Some(0), timeout: Some(Duration::from_secs(5)), ..CallOptions::default() };
    /// let error = pool.chat_with(&ChatRequest::user("Where is it cold?"), &once).await.unwrap_err();
    /// assert_eq!(error.context().attempts.len(), 1);
    /// assert!(error.is_retryable());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn chat_with(&self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        self.pool.chat(request, options).await
    }

    /// Answers a request by a provider that serves `model`, a model's name or an alias.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "In Oslo.").await?;
    /// let pool = LlmPoolBuilder::new()
    ///     .client(1, LlmClient::builder("openai-compatible", "large").name("a").base_url(&url))
    ///     .client(2, LlmClient::builder("openai-compatible", "small").name("b").base_url(&url))
    ///     .build()?;
    /// let answer = pool.complete(ChatRequest::user("Where is it cold?"), "small").await?;
    /// assert_eq!(answer.provider.as_str(), "b");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn complete(&self, mut request: ChatRequest, model: &str) -> Result<ChatResponse, Error> {
        request.model = Some(model.to_owned());
        self.chat(&request).await
    }

    /// Opens a stream; it resolves at the first content, and until then every failure fails over. Dropping it closes the
    /// socket.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder, StreamEvent};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "It is cold in Oslo.").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").base_url(&url);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let mut stream = pool.stream(ChatRequest::user("Where is it cold?")).await?;
    /// let mut text = String::new();
    /// while let Some(event) = stream.next().await {
    ///     if let StreamEvent::Text(piece) = event? {
    ///         text.push_str(&piece);
    ///     }
    /// }
    /// let whole = stream.into_response().expect("it ended well");
    /// assert_eq!((text.as_str(), whole.reply.content.as_str()), ("It is cold in Oslo.", "It is cold in Oslo."));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`]; of a stream that is cut later, from [`PoolStream::next`].
    pub async fn stream(&self, request: ChatRequest) -> Result<PoolStream, Error> {
        self.stream_with(request, &CallOptions::default()).await
    }

    /// The same, with options of this call.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{CallOptions, ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let once = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    /// let error = pool.stream_with(request, &once).await.err().expect("it is down");
    /// assert_eq!(error.context().attempts.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn stream_with(&self, request: ChatRequest, options: &CallOptions) -> Result<PoolStream, Error> {
        self.pool.stream_until(Arc::new(request), options, Vec::new(), std::future::pending()).await.result
    }

    /// Makes embeddings: one vector for each input, in its order, all of them by one model of one provider. Inputs beyond
    /// what the provider takes at once are sent in batches.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use llmpool::{EmbedRequest, LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").base_url(&url);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let answer = pool.embed(&EmbedRequest::new(["snow", "ice"])).await?;
    /// assert_eq!(answer.vectors.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn embed(&self, request: &EmbedRequest) -> Result<EmbedResponse, Error> {
        self.embed_with(request, &CallOptions::default()).await
    }

    /// The same, with options of this call.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{CallOptions, EmbedRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let once = CallOptions { max_retries: Some(0), ..CallOptions::default() };
    /// let error = pool.embed_with(&EmbedRequest::new(["snow"]), &once).await.unwrap_err();
    /// assert_eq!(error.context().attempts.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn embed_with(&self, request: &EmbedRequest, options: &CallOptions) -> Result<EmbedResponse, Error> {
        self.pool.embed(request, options).await
    }

    /// Runs an async function of your own under the pool: it decides at whom, within which limits, whether again, and
    /// books what came of it. The function is given its [`Turn`] and may be called several times; its error says what it
    /// means by [`Classified`].
    ///
    /// ```
    /// use llmpool::{Failure, FailureClass, LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
    /// let pool = LlmPoolBuilder::new()
    ///     .client(1, LlmClient::builder("ollama", "small").name("broken"))
    ///     .client(2, LlmClient::builder("ollama", "large").name("sound"))
    ///     .build()?;
    /// let answer = pool
    ///     .execute_request(|turn| async move {
    ///         match turn.provider() {
    ///             "broken" => Err(Failure::new(FailureClass::ServerError, "out of order")),
    ///             _ => Ok(format!("{} on attempt {}", turn.model(), turn.attempt())),
    ///         }
    ///     })
    ///     .await;
    /// assert_eq!(answer.ok().as_deref(), Some("large on attempt 2"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the pool says of the call, beside the last error of the function.
    pub async fn execute_request<T, E, F, Fut>(&self, function: F) -> Result<T, ExecuteError<E>>
    where
        T: Send,
        E: Classified + Send,
        F: Fn(Turn) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.execute(None, &CallOptions::default(), function).await.map(|(value, _)| value)
    }

    /// The same for providers that serve `model`, with options of this call, and with the trail of how it went.
    ///
    /// ```
    /// # use llmpool::{CallOptions, Failure, LlmClient, LlmPoolBuilder, Turn};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = |name, model| LlmClient::builder("ollama", model).name(name);
    /// let pool = LlmPoolBuilder::new().client(1, client("a", "large")).client(2, client("b", "small")).build()?;
    /// let function = async |turn: Turn| Ok::<_, Failure>(turn.model().to_owned());
    /// let (answer, trail) = pool.execute(Some("small"), &CallOptions::default(), function).await?;
    /// assert_eq!((answer.as_str(), trail.provider.as_str()), ("small", "b"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::execute_request`].
    pub async fn execute<T, E, F, Fut>(
        &self,
        model: Option<&str>,
        options: &CallOptions,
        function: F,
    ) -> Result<(T, Executed), ExecuteError<E>>
    where
        T: Send,
        E: Classified + Send,
        F: Fn(Turn) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        execute::execute(&self.pool, model, options, function).await
    }
}

impl fmt::Debug for LlmPool {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roster = self.pool.engine().roster();
        let names: Vec<_> = roster.providers().iter().map(|provider| provider.name().as_str()).collect();
        f.debug_struct("LlmPool").field("providers", &names).finish_non_exhaustive()
    }
}
