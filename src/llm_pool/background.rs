//! Jobs beside the calls.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::LlmPool;
use crate::error::{Error, Problem};
use crate::jobs::{BackgroundParams, BackgroundProcessor, JobStore, MemoryStore};

impl LlmPool {
    /// Starts a background processor over this pool, on this tokio runtime: jobs wait in memory and are done by so many
    /// workers, by priority, each once. It ends with its own [`BackgroundProcessor::stop`], with its last clone, or with
    /// the pool: then what waits ends at once as [`crate::ErrorKind::Closed`], and what runs has the time that every call
    /// has. `docs/background.md` is the guide.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// use llmpool::jobs::{BackgroundParams, JobSpec, Priority, StopOptions};
    /// use llmpool::{LlmClient, LlmPoolBuilder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(200, "A short summary.").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").base_url(&url);
    /// let pool = LlmPoolBuilder::new().client(1, client).build()?;
    /// let jobs = pool.background(BackgroundParams { workers: 2, ..BackgroundParams::default() })?;
    ///
    /// let urgent = jobs.submit(JobSpec::prompt("Summarise page 1.").priority(Priority::Critical)).await?;
    /// for page in 2..=5 {
    ///     jobs.submit(JobSpec::prompt(format!("Summarise page {page}.")).metadata(page)).await?;
    /// }
    /// assert_eq!(urgent.result().await?.reply.content, "A short summary.");
    ///
    /// let results = jobs.results();
    /// let not_done = jobs.stop(StopOptions::default()).await;
    /// assert!(not_done.is_empty());
    /// let mut done = 0;
    /// while let Some(result) = results.next().await {
    ///     assert!(result.outcome.is_ok(), "{} of page {}", result.id, result.metadata);
    ///     done += 1;
    /// }
    /// assert_eq!((done, jobs.stats().completed), (5, 5));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with the parameters; no tokio runtime; a pool that was stopped.
    pub fn background(&self, params: BackgroundParams) -> Result<BackgroundProcessor, Error> {
        self.background_over(params, Arc::new(MemoryStore::default()))
    }

    /// The same with jobs that wait in a store of the caller's own.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use llmpool::jobs::{BackgroundParams, MemoryStore};
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
    /// # let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).build()?;
    /// let jobs = pool.background_over(BackgroundParams::default(), Arc::new(MemoryStore::default()))?;
    /// assert!(jobs.stats().is_running);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LlmPool::background`].
    pub fn background_over(
        &self,
        params: BackgroundParams,
        store: Arc<dyn JobStore>,
    ) -> Result<BackgroundProcessor, Error> {
        self.pool.still_open()?;
        let runtime = Handle::try_current().map_err(|_| {
            let message = "needs a tokio runtime: call it in a task of one".to_owned();
            Error::configuration(vec![Problem { path: "background".to_owned(), message }])
        })?;
        let processor = BackgroundProcessor::over(params, store)?;
        for task in processor.tasks(&self.pool, &(Arc::new(drop) as _)) {
            runtime.spawn(task);
        }
        Ok(processor)
    }
}
