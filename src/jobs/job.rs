//! What is asked of a processor, and what comes back.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::processor::Shared;
use crate::config::nearest;
use crate::error::Error;
use crate::types::{CallOptions, ChatRequest, ChatResponse, FieldError};

/// How soon a job is to be done. Of any fifteen starts in a row `critical` has 8, `high` 4, `normal` 2 and `low` 1, as far
/// as such jobs wait; what one has no use for goes to the highest that has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    Critical,
    High,
    #[default]
    Normal,
    /// When there is nothing better to do, and now and then even if there is.
    Low,
}

impl Priority {
    /// Highest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The word in JavaScript and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl std::str::FromStr for Priority {
    type Err = FieldError;

    fn from_str(word: &str) -> Result<Self, FieldError> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            let message = format!("must be one of {}, found {word:?}{}", words.join(", "), nearest(word, &words));
            FieldError { field: "priority".to_owned(), message }
        })
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One job as it is asked for.
///
/// ```
/// use llmpool::ChatRequest;
/// use llmpool::jobs::{JobSpec, Priority};
/// let spec = JobSpec::new(ChatRequest::user("Summarise chapter 7.")).id("chapter-7").priority(Priority::High);
/// assert_eq!(spec.id.as_deref(), Some("chapter-7"));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct JobSpec {
    /// Unique among the jobs that are not over; also the `request_id` of its calls, unless its options have one. `None`: one
    /// is made.
    pub id: Option<String>,
    pub priority: Priority,
    pub request: ChatRequest,
    /// Of the job's calls. Their `deadline` bounds one try, as `timeout` does: the shorter counts.
    pub options: CallOptions,
    /// The caller's own, given back with the result.
    pub metadata: Value,
    /// Over [`super::BackgroundParams::timeout`].
    pub timeout: Option<Duration>,
    /// Over [`super::BackgroundParams::max_retries`].
    pub max_retries: Option<u32>,
    /// What had to be changed to read the request.
    pub(crate) warnings: Vec<String>,
    /// The job as its submitter wrote it, for a face that hands it back in the same words.
    pub(crate) written: Option<Arc<str>>,
}

impl JobSpec {
    /// A job of normal priority that says nothing but its request.
    pub fn new(request: ChatRequest) -> Self {
        Self { request, ..Self::default() }
    }

    /// The shortest job: a user's one message.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::new(ChatRequest::user(text))
    }

    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    #[must_use]
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Value>) -> Self {
        self.metadata = metadata.into();
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }
}

impl From<ChatRequest> for JobSpec {
    fn from(request: ChatRequest) -> Self {
        Self::new(request)
    }
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    Completed,
    Failed,
    Cancelled,
}

/// A job that is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobResult {
    pub id: Arc<str>,
    pub priority: Priority,
    pub metadata: Value,
    pub status: JobStatus,
    /// The answer, or what its last try ended with.
    pub outcome: Result<ChatResponse, Error>,
    /// How often it was handed to the pool; 0: it was cancelled before that.
    pub tries: u32,
    /// From its submission to its first start.
    pub waited: Duration,
    /// From its first start to its end, waits between tries included.
    pub took: Duration,
}

/// A job is going to be tried once more.
#[derive(Debug, Clone)]
pub(crate) struct JobRetry {
    pub error: Error,
    pub tries: u32,
    pub after: Duration,
    pub counts: bool,
}

/// Is told of every further try before it begins.
pub(crate) type OnRetry = Box<dyn Fn(JobRetry) + Send + Sync>;

/// How a job ended: as itself, or handed back because its processor stopped before.
pub(super) type End = Result<Arc<JobResult>, Error>;

/// A job that was taken on. Dropping it changes nothing: the job is done all the same. Cheap to clone.
#[derive(Clone)]
pub struct Job {
    id: Arc<str>,
    priority: Priority,
    ended: watch::Receiver<Option<End>>,
    shared: Weak<Shared>,
}

impl Job {
    pub(super) fn new(
        id: Arc<str>,
        priority: Priority,
        ended: watch::Receiver<Option<End>>,
        shared: Weak<Shared>,
    ) -> Self {
        Self { id, priority, ended, shared }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Its answer, whenever and however often it is asked for.
    ///
    /// # Errors
    /// What its last try failed with; [`crate::ErrorKind::Cancelled`]; [`crate::ErrorKind::Closed`] where its processor or
    /// its pool stopped before it was done.
    pub async fn result(&self) -> Result<ChatResponse, Error> {
        self.ended().await.and_then(|result| result.outcome.clone())
    }

    /// Everything about how it ended.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Closed`]: its processor or its pool stopped before it was done.
    pub async fn ended(&self) -> Result<Arc<JobResult>, Error> {
        match self.ended.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            // Whoever could say so is gone.
            _ => Err(stopped()),
        }
    }

    /// Gives the job up: one that waits is taken from the queue, a call under way is ended as a caller who leaves ends
    /// it. `false`: it is over already.
    pub async fn cancel(&self) -> bool {
        match self.shared.upgrade() {
            Some(shared) => shared.cancel(&self.id).await,
            None => false,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.ended.borrow().is_some();
        f.debug_struct("Job").field("id", &self.id).field("priority", &self.priority).field("over", &over).finish()
    }
}

pub(super) fn stopped() -> Error {
    Error::new(crate::error::ErrorKind::Closed, "the background processor was stopped")
}
