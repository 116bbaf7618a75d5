//! Looking at a pool: who is in it, how they are, what they did.

use super::{LlmClient, LlmPool};
use crate::engine::{Analytics, Countable, Explanation, PoolHealth, PoolStats, ProviderStats};
use crate::error::Error;
use crate::metrics::Window;
use crate::pool::Pool;
use crate::types::{CallOptions, ChatRequest};

impl LlmPool {
    /// The provider whose turn it is, as a call without wishes would be asked of it now; `None` when none is available.
    /// It takes its turn: under [`Behaviour::Distribute`](crate::Behaviour::Distribute) the next one gets the next
    /// provider. What is asked of it then goes to it alone; [`LlmPool::chat`] moves on when it fails.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
    /// let pool = LlmPoolBuilder::new().client(1, client("first")).client(2, client("second")).build()?;
    /// pool.mark_error("first")?;
    /// assert_eq!(pool.get_client().as_ref().map(LlmClient::id), Some("second"));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn get_client(&self) -> Option<LlmClient> {
        self.client(self.pool.engine().pick()?.as_str())
    }

    /// What [`LlmPool::chat_with`] would do with this request now: who is asked first, who would follow, and why the others
    /// are not asked. Nobody is called and nothing changes.
    ///
    /// ```
    /// use llmpool::types::{CallOptions, ChatRequest, Message, Role};
    /// use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new()
    ///     .client(1, LlmClient::builder("ollama", "llama3.2").name("near"))
    ///     .client(2, LlmClient::builder("openai", "gpt-4o").name("far").api_key("sk-far").requests_per_minute(0))
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

    /// The provider of this name.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2").name("local")).build()?;
    /// assert_eq!(pool.client("local").map(|client| client.name()).as_deref(), Some("ollama/llama3.2"));
    /// assert!(pool.client("other").is_none());
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn client(&self, name: &str) -> Option<LlmClient> {
        LlmClient::of(&self.pool, name)
    }

    /// Every provider, in the order written.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
    /// let pool = LlmPoolBuilder::new().client(2, client("a")).client(1, client("b")).build()?;
    /// assert_eq!(pool.clients().iter().map(LlmClient::id).collect::<Vec<_>>(), ["a", "b"]);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn clients(&self) -> Vec<LlmClient> {
        let roster = self.pool.engine().roster();
        roster.providers().iter().filter_map(|provider| self.client(provider.name().as_str())).collect()
    }

    /// How many providers there are.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// assert_eq!((pool.len(), pool.is_empty()), (1, false));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.pool.engine().roster().providers().len()
    }

    /// Never true: an empty pool is not built, and the last provider cannot be removed.
    ///
    /// Shown by the example of [`LlmPool::len`].
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is the pool able to answer, and who is. Reads a few numbers under each provider's lock; asks nobody.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let client = LlmClient::builder("ollama", "llama3.2").requests_per_minute(30);
    /// let health = LlmPoolBuilder::new().client(1, client).build()?.health();
    /// assert!(health.healthy && health.providers["ollama"].available);
    /// assert_eq!(health.providers["ollama"].requests_remaining, Some(30));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn health(&self) -> PoolHealth {
        self.pool.engine().health()
    }

    /// Totals of the pool since it was built. Rates are per cent, times milliseconds, money nano-dollars.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).max_concurrent(10).build()?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.total_requests, stats.success_rate), (0, 100.0));
    /// assert_eq!(stats.available_permits, Some(10));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn stats(&self) -> PoolStats {
        self.pool.engine().stats()
    }

    /// What each provider did, by name, with the state of its keys.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// assert_eq!(pool.provider_stats()["ollama"].usage.total_requests, 0);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn provider_stats(&self) -> std::collections::BTreeMap<String, ProviderStats> {
        self.pool.engine().provider_stats()
    }

    /// The same totals over the last hour, day or week alone, by provider and as a time series.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder, Window};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// assert_eq!(pool.analytics(Window::Hour).total_requests, 0);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn analytics(&self, window: Window) -> Analytics {
        self.pool.engine().analytics(window)
    }

    /// OpenMetrics text for Prometheus, to be served as `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// assert!(pool.metrics().contains(r#"provider="ollama""#));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn metrics(&self) -> String {
        self.pool.metrics()
    }

    /// How many tokens a request would be, as the first provider counts them that serves its model.
    ///
    /// ```
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("openai", "gpt-4o").api_key("k")).build()?;
    /// assert_eq!(pool.estimate_tokens(&ChatRequest::user("Where is it cold?")), 12);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn estimate_tokens(&self, request: &ChatRequest) -> u64 {
        self.pool.engine().count_tokens(Countable::Prompt(request), request.model.as_deref())
    }

    /// What is allowed in the configuration in force but probably not meant, each with its path.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "m").prices(3.0, 15.0)).build()?;
    /// assert!(pool.warnings()[0].contains("looks like a price per million"), "these look like prices per million");
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        self.pool.warnings()
    }

    /// The pool with all that this face leaves out: events as values, calls that end with a future of yours, reloads.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "m").prices(3.0, 15.0)).build()?;
    /// assert_eq!(pool.pool().warnings(), pool.warnings());
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}
