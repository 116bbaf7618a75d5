//! The library in Rust: a pool that is built in code, and functions of the caller's own under its policies.
//!
//! [`LlmPoolBuilder`] collects what a configuration file would say and has it checked by the same check, so that every
//! mistake is told at once and every key of a file can be set. [`LlmPool`] is the pool; it adds nothing to the engine
//! but a handier face. [`LlmClient`] is one provider of it.
//!
//! ```no_run
//! use llmpool::{Behaviour, LlmClient, LlmPoolBuilder, PoolMember};
//! use llmpool::types::{ChatRequest, Message, Role};
//!
//! # async fn answer() -> Result<(), llmpool::error::Error> {
//! let pool = LlmPoolBuilder::new()
//!     .behaviour(Behaviour::Failover)
//!     .member(PoolMember::new(1, LlmClient::builder("groq", "llama-3.3-70b-versatile").api_key("${GROQ_API_KEY}")))
//!     .member(PoolMember::new(2, LlmClient::builder("openai", "gpt-4o").api_key("${OPENAI_API_KEY}")))
//!     .max_retries(2)
//!     .build()?;
//! let answer = pool.chat(&ChatRequest::new(vec![Message::text(Role::User, "Where is it cold?")])).await?;
//! println!("{} says: {}", answer.provider, answer.reply.content);
//! pool.stop().await;
//! # Ok(())
//! # }
//! ```

mod builder;
mod client;
mod execute;

pub use builder::{LlmPoolBuilder, PoolMember};
pub use client::{LlmClient, LlmClientBuilder};
pub use execute::ExecuteError;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Environment, Settings, Source};
use crate::engine::{Classified, Executed, Explanation, PoolHealth, PoolStats, Turn};
use crate::error::Error;
use crate::policy::Behaviour;
use crate::pool::{Pool, PoolStream};
use crate::types::{CallOptions, ChatRequest, ChatResponse};

/// How long [`LlmPool::stop`] lets calls under way finish.
const DRAIN: Duration = Duration::from_secs(5);

/// A pool of LLM providers. Cheap to clone; clones are the same pool.
#[derive(Clone)]
pub struct LlmPool {
    pool: Pool,
}

impl LlmPool {
    /// A pool of these members. Reads certificate files, so it belongs on a thread that may block.
    ///
    /// ```
    /// use llmpool::{Behaviour, LlmClient, LlmPool, PoolMember};
    /// let local = LlmClient::builder("ollama", "llama3.2");
    /// let pool = LlmPool::new(vec![PoolMember::new(1, local)], Behaviour::Failover)?;
    /// assert_eq!(pool.len(), 1);
    /// # Ok::<(), llmpool::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with the members, at once; an empty list.
    pub fn new(members: Vec<PoolMember>, behaviour: Behaviour) -> Result<Self, Error> {
        members.into_iter().fold(LlmPoolBuilder::new().behaviour(behaviour), LlmPoolBuilder::member).build()
    }

    /// A pool as a configuration file says. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that is wrong with what it says.
    pub async fn from_file(path: impl Into<std::path::PathBuf>) -> Result<Self, Error> {
        let settings = Settings::new(Source::File(path.into()));
        Ok(Self { pool: Pool::open(settings, Environment::process(), Arc::default()).await? })
    }

    /// Answers a request by the best provider that can.
    ///
    /// # Errors
    /// See [`crate::error::ErrorKind`]; every error carries the trail of what was tried.
    pub async fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        self.chat_with(request, &CallOptions::default()).await
    }

    /// The same, with options of this call.
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn chat_with(&self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        self.pool.chat(request, options).await
    }

    /// Answers a request by a provider that serves `model`, a model's name or an alias.
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
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn stream(&self, request: ChatRequest) -> Result<PoolStream, Error> {
        self.stream_with(request, &CallOptions::default()).await
    }

    /// The same, with options of this call.
    ///
    /// # Errors
    /// As [`LlmPool::chat`].
    pub async fn stream_with(&self, request: ChatRequest, options: &CallOptions) -> Result<PoolStream, Error> {
        self.pool.stream_until(Arc::new(request), options, Vec::new(), std::future::pending()).await.result
    }

    /// Runs an async function of your own under the pool: it decides at whom, within which limits, whether again, and
    /// books what came of it. The function is given its [`Turn`] and may be called several times; its error says what it
    /// means by [`Classified`].
    ///
    /// ```
    /// use llmpool::error::{Failure, FailureClass};
    /// use llmpool::{LlmClient, LlmPool, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::error::Error> {
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

    /// What [`LlmPool::chat_with`] would do with this request now: who is asked first, who would follow, and why the others
    /// are not asked. Nobody is called and nothing changes.
    ///
    /// ```
    /// use llmpool::types::{CallOptions, ChatRequest, Message, Role};
    /// use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new()
    ///     .client(1, LlmClient::builder("ollama", "llama3.2").name("near"))
    ///     .client(2, LlmClient::builder("openai", "gpt-4o").name("far").api_key("sk-…").requests_per_minute(0))
    ///     .build()?;
    /// let request = ChatRequest::new(vec![Message::text(Role::User, "Where is it cold?")]);
    /// let explained = pool.explain(&request, &CallOptions::default())?;
    /// assert_eq!(explained.would_ask.as_ref().map(|name| name.as_str()), Some("near"));
    /// assert_eq!(explained.providers[1].reason.as_deref(), Some("requests_per_minute is 0"));
    /// # Ok::<(), llmpool::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// What a call is refused for before it looks for a provider.
    pub fn explain(&self, request: &ChatRequest, options: &CallOptions) -> Result<Explanation, Error> {
        self.pool.explain(request, options)
    }

    /// The provider that would be asked first now; `None` when none can be.
    pub fn get_client(&self) -> Option<LlmClient> {
        self.client(self.pool.engine().health().best_provider?.as_str())
    }

    /// The provider of this name.
    pub fn client(&self, name: &str) -> Option<LlmClient> {
        LlmClient::of(&self.pool, name)
    }

    /// Every provider, in the order written.
    pub fn clients(&self) -> Vec<LlmClient> {
        let roster = self.pool.engine().roster();
        roster.providers().iter().filter_map(|provider| self.client(provider.name().as_str())).collect()
    }

    /// How many providers there are.
    pub fn len(&self) -> usize {
        self.pool.engine().roster().providers().len()
    }

    /// A pool is never built empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn stats(&self) -> PoolStats {
        self.pool.engine().stats()
    }

    pub fn health(&self) -> PoolHealth {
        self.pool.engine().health()
    }

    /// The pool with all that this face leaves out: events, cancellation, breakers.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Refuses new calls, lets those under way finish for five seconds, then ends them, and closes every connection.
    pub async fn stop(&self) {
        self.pool.shutdown(DRAIN).await;
    }
}
