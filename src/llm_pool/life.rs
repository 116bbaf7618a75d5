//! What changes in a pool that runs: who is in it, who is passed over, when it begins and ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{LlmPool, PoolMember};
use crate::error::{Error, Problem};
use crate::event::trace;

/// How long [`LlmPool::stop`] lets calls under way finish.
const DRAIN: Duration = Duration::from_secs(5);

impl LlmPool {
    /// Adds a provider until it is removed; calls that begin from now on may be asked of it. It survives reloads. Reads
    /// certificate files, so it belongs on a thread that may block.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder, PoolMember};
    /// # let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// let second = LlmClient::builder("ollama", "llama3.2").name("second").base_url("http://127.0.0.1:11435");
    /// pool.add_client(PoolMember::new(2, second.clone()))?;
    /// assert_eq!(pool.len(), 2);
    /// let refused = pool.add_client(PoolMember::new(3, second)).unwrap_err();
    /// assert!(refused.to_string().contains("names are unique"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with it, a name that is taken included; a pool that was stopped.
    pub fn add_client(&self, member: PoolMember) -> Result<(), Error> {
        self.pool.add_provider(member.into_value()).map(drop)
    }

    /// Takes a provider out, for good and over reloads. Its calls under way end as they began.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
    /// let pool = LlmPoolBuilder::new().client(1, client("a")).client(2, client("b")).build()?;
    /// pool.remove_client("a")?;
    /// assert!(pool.client("a").is_none());
    /// assert!(pool.remove_client("b").is_err(), "the last one stays");
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such provider, or it is the last one; a pool that was stopped.
    pub fn remove_client(&self, name: &str) -> Result<(), Error> {
        self.pool.remove_provider(name).map(drop)
    }

    /// A provider that is disabled gets no new calls; those under way end as they began. Survives reloads.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// pool.set_enabled("ollama", false)?;
    /// assert!(!pool.health().healthy);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such provider; a pool that was stopped.
    pub fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), Error> {
        self.pool.set_enabled(name, enabled).map(drop)
    }

    /// Moves a provider up or down: a lower priority is asked first. Survives reloads.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
    /// let pool = LlmPoolBuilder::new().client(1, client("a")).client(2, client("b")).build()?;
    /// pool.set_priority("b", 0)?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("b"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such provider; a pool that was stopped.
    pub fn set_priority(&self, name: &str, priority: u32) -> Result<(), Error> {
        self.pool.set_priority(name, priority).map(drop)
    }

    /// Says that something is wrong with a provider, which the pool cannot know: it is passed over for
    /// `routing.error_cooldown_ms` (60 s; 0: not at all) or until [`LlmPool::clear_error`], also by calls that name it. What
    /// replies say needs no such word: failures are counted, and breakers open, by themselves.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// pool.mark_error("ollama")?;
    /// assert!(!pool.health().providers["ollama"].available);
    /// assert!(pool.clear_error("ollama")?, "it was marked");
    /// assert!(pool.health().providers["ollama"].available);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such provider; a pool that was stopped.
    pub fn mark_error(&self, name: &str) -> Result<(), Error> {
        self.pool.mark_error(name).map(drop)
    }

    /// Ends a mark of [`LlmPool::mark_error`] before its time, and says whether there was one. Breaker, keys and limits
    /// stay as they are.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// pool.mark_error("ollama")?;
    /// assert!(pool.clear_error("ollama")?);
    /// assert!(!pool.clear_error("ollama")?, "it is marked no more");
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such provider; a pool that was stopped.
    pub fn clear_error(&self, name: &str) -> Result<bool, Error> {
        self.pool.clear_error(name).map(|told| told.is_some())
    }

    /// Closes the breaker of every provider, or of this one; gives the names of those whose breaker was not closed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// # let client = client.circuit_breaker(1, Duration::from_secs(30));
    /// let pool = LlmPoolBuilder::new().client(1, client).max_retries(0).build()?;
    /// assert!(pool.chat(&request).await.is_err());
    /// assert_eq!(pool.reset_circuit_breakers(None), ["down"]);
    /// assert!(pool.health().providers["down"].available);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset_circuit_breakers(&self, name: Option<&str>) -> Vec<String> {
        self.pool.engine().reset_circuit_breakers(name)
    }

    /// Begins what goes on beside the calls, on this tokio runtime: connections of providers that are `warm` are opened,
    /// providers are asked whether they are up (`health.active`), a file or URL is followed, statistics are saved. Calls
    /// need none of it. Once is enough; more often is the same. It ends with [`LlmPool::stop`] or with the last clone of
    /// the pool. What happens is told by `tracing`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
    /// let client = LlmClient::builder("ollama", "llama3.2").warm(true);
    /// let pool = LlmPoolBuilder::new().client(1, client).health_checks(Duration::from_secs(10)).build()?;
    /// pool.start().await?;
    /// // …
    /// pool.stop().await?;
    /// assert!(pool.start().await.is_err(), "what is stopped stays stopped");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No tokio runtime; a pool that was stopped.
    pub async fn start(&self) -> Result<(), Error> {
        self.pool.still_open()?;
        let runtime = Handle::try_current().map_err(|_| {
            let message = "needs a tokio runtime: call it in a task of one".to_owned();
            Error::configuration(vec![Problem { path: "start".to_owned(), message }])
        })?;
        if self.started.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        runtime.spawn(self.pool.upkeep().run(drop));
        let (follower, note) = self.pool.follower();
        trace::warnings(&note);
        if let Some(follower) = follower {
            runtime.spawn(follower.run(drop));
        }
        if let Some(saver) = self.pool.saver() {
            runtime.spawn(saver.run(drop));
        }
        Ok(())
    }

    /// Refuses new calls, lets those under way finish for five seconds, then ends them, and closes every connection. May
    /// be called again: it happens once.
    ///
    /// ```
    /// # use llmpool::{ChatRequest, ErrorKind, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// pool.stop().await?;
    /// let refused = pool.chat(&ChatRequest::user("Anybody there?")).await.unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::Closed));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The pool is stopped, but its statistics could not be saved.
    pub async fn stop(&self) -> Result<(), Error> {
        self.stop_within(DRAIN).await
    }

    /// The same with another time for calls under way; zero ends them at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{ErrorKind, Failure, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// let call = pool.execute_request(async |_| std::future::pending::<Result<(), Failure>>().await);
    /// let (ended, stopped) = tokio::join!(call, pool.stop_within(Duration::ZERO));
    /// assert!(matches!(ended.unwrap_err().error.kind(), ErrorKind::Closed) && stopped.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::stop`].
    pub async fn stop_within(&self, drain: Duration) -> Result<(), Error> {
        self.pool.shutdown(drain).await.map_or(Ok(()), Err)
    }
}
