//! The face of a background processor: jobs go in, and it can be looked at and stopped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as Turnstile, Notify, Semaphore, TryAcquireError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::again::OutOfReach;
use super::desk::{BackgroundStats, Desk, Left, Phase};
use super::job::{Job, JobSpec, OnRetry, stopped};
use super::outbox::{JobResults, Outbox};
use super::pace::Pace;
use super::params::BackgroundParams;
use super::store::{JobStore, StoredJob};
use super::worker::Tell;
use crate::error::{Error, ErrorKind};
use crate::pool::Pool;
use crate::time;
use crate::types::{FieldError, RequestId, check};

/// Works on jobs beside whatever the program does, through a pool. [`crate::LlmPool::background`] starts one. Cheap to
/// clone; clones are the same processor. Dropped without a stop, it ends as by one that drains nothing.
#[derive(Clone)]
pub struct BackgroundProcessor {
    shared: Arc<Shared>,
    _ending: Arc<DropGuard>,
}

/// What the face, its jobs and its workers share.
pub(super) struct Shared {
    pub params: BackgroundParams,
    pub store: Arc<dyn JobStore>,
    pub outbox: Outbox,
    /// In the queue.
    pub places: Semaphore,
    /// Where one worker at a time waits for the next job.
    pub turnstile: Turnstile<()>,
    pace: Mutex<Pace>,
    out_of_reach: Mutex<OutOfReach>,
    /// Something happened that may let a job begin.
    pub work: Notify,
    /// Ends the calls under way.
    pub ending: CancellationToken,
    /// Nothing begins any more.
    pub over: CancellationToken,
    desk: Mutex<Desk>,
    /// Every job is over.
    quiet: Notify,
}

/// How a processor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOptions {
    /// Finish what was taken on. `false`: end what runs, too.
    pub drain: bool,
    /// The longest it may take to finish; what is not done by then is handed back. `None`: as long as it takes.
    pub drain_timeout: Option<Duration>,
}

impl Default for StopOptions {
    /// All that was taken on is finished, however long it takes.
    fn default() -> Self {
        Self { drain: true, drain_timeout: None }
    }
}

// === impl BackgroundProcessor ===

impl BackgroundProcessor {
    /// One over this store. It begins nothing before somebody runs its [`BackgroundProcessor::tasks`].
    pub(crate) fn over(params: BackgroundParams, store: Arc<dyn JobStore>) -> Result<Self, Error> {
        params.check()?;
        let ending = CancellationToken::new();
        let shared = Shared {
            store,
            outbox: Outbox::new(params.keep_results),
            places: Semaphore::new(params.queue_size),
            turnstile: Turnstile::new(()),
            pace: Mutex::new(Pace::new(params.rate_limit_rps)),
            out_of_reach: Mutex::default(),
            over: CancellationToken::new(),
            work: Notify::new(),
            ending: ending.clone(),
            desk: Mutex::default(),
            quiet: Notify::new(),
            params,
        };
        Ok(Self { shared: Arc::new(shared), _ending: Arc::new(ending.drop_guard()) })
    }

    /// What works on the jobs: its workers, and what notices that the pool is shut down. To be run by whoever has a
    /// runtime, each on its own; they end with the processor.
    pub(crate) fn tasks(&self, pool: &Pool, tell: &Tell) -> Vec<BoxFuture<'static, ()>> {
        let shared = || Arc::clone(&self.shared);
        let work = || shared().work(pool.clone(), Arc::clone(tell)).boxed();
        let workers = std::iter::repeat_with(work).take(self.shared.params.workers);
        workers.chain([shared().watch(pool.clone()).boxed()]).collect()
    }

    /// Takes a job on.
    ///
    /// # Errors
    /// [`ErrorKind::QueueFull`]; [`ErrorKind::InvalidRequest`] for a request that could not be sent and for an id that
    /// another job has; [`ErrorKind::Closed`] after a stop.
    pub async fn submit(&self, job: impl Into<JobSpec>) -> Result<Job, Error> {
        self.enter(job.into(), false, None).await
    }

    /// The same; a queue that is full is waited for, first come, first served. Dropping the future gives it up.
    ///
    /// # Errors
    /// As [`BackgroundProcessor::submit`], but for a full queue.
    pub async fn submit_when_free(&self, job: impl Into<JobSpec>) -> Result<Job, Error> {
        self.enter(job.into(), true, None).await
    }

    pub(crate) async fn enter(&self, spec: JobSpec, wait: bool, on_retry: Option<OnRetry>) -> Result<Job, Error> {
        let shared = &self.shared;
        let spec = shared.prepare(spec)?;
        // Said before the queue is: a processor that was stopped is not full.
        shared.desk().is_open()?;
        let place = shared.place(wait).await?;
        let (id, priority) = (Arc::<str>::from(spec.id.as_deref().unwrap_or_default()), spec.priority);
        let (job, ended) = {
            let mut desk = shared.desk();
            let job = Arc::new(StoredJob { id: Arc::clone(&id), number: desk.number(), spec });
            let ended = desk.enter(&job, time::now().mono, on_retry)?;
            (job, ended)
        };
        place.forget();
        let entering = Entering { shared, id: &id, kept: false };
        shared.store.insert(job).await?;
        entering.done();
        shared.work.notify_one();
        Ok(Job::new(id, priority, ended, Arc::downgrade(shared)))
    }

    /// The results of its jobs, from now on and as far as they were kept before.
    pub fn results(&self) -> JobResults {
        JobResults::open(Arc::clone(&self.shared))
    }

    /// How it stands.
    pub fn stats(&self) -> BackgroundStats {
        let Shared { params, outbox, .. } = &*self.shared;
        let (results_waiting, results_dropped) = outbox.counts();
        BackgroundStats {
            queue_capacity: params.queue_size,
            total_workers: params.workers,
            results_waiting,
            results_dropped,
            ..self.shared.desk().stats()
        }
    }

    /// Takes no job on any more, and ends: after all it has, or at once. Gives back what was not done, in the order in
    /// which it came; the results of those jobs are [`ErrorKind::Closed`]. May be called again, and with less patience.
    pub async fn stop(&self, options: StopOptions) -> Vec<JobSpec> {
        let shared = &self.shared;
        shared.refuse();
        if options.drain {
            let until = options.drain_timeout.map(|allowed| time::now().mono + allowed);
            let _ = time::until(until, shared.quiet()).await;
        }
        shared.close(&stopped()).await;
        shared.ending.cancel();
        shared.quiet().await;
        shared.desk().take_not_done()
    }
}

impl fmt::Debug for BackgroundProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundProcessor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A job between the desk and the store. Dropped before it is kept, it was never there.
struct Entering<'a> {
    shared: &'a Shared,
    id: &'a str,
    kept: bool,
}

impl Entering<'_> {
    fn done(mut self) {
        self.kept = true;
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if !self.kept && self.shared.desk().forget(self.id) {
            self.shared.places.add_permits(1);
            self.shared.changed();
        }
    }
}

// === impl Shared ===

impl Shared {
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn out_of_reach(&self) -> MutexGuard<'_, OutOfReach> {
        self.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as it will be done: an id, and what the processor says where it says nothing itself.
    fn prepare(&self, mut spec: JobSpec) -> Result<JobSpec, Error> {
        let refused = |field: &str, message: &str| FieldError { field: field.to_owned(), message: message.to_owned() };
        check(&spec.request).map_err(|error| FieldError { field: format!("request.{}", error.field), ..error })?;
        if spec.id.as_deref() == Some("") {
            return Err(refused("id", "must not be empty").into());
        }
        if spec.timeout == Some(Duration::ZERO) {
            return Err(refused("timeout", "must be milliseconds, more than 0").into());
        }
        // As unlikely to meet another one as a request's.
        spec.id.get_or_insert_with(|| RequestId::random().as_str().replacen("req_", "job_", 1));
        let request = &mut spec.request;
        request.model = request.model.take().or_else(|| self.params.model.clone());
        request.max_tokens = request.max_tokens.or(self.params.max_tokens);
        request.temperature = request.temperature.or(self.params.temperature);
        Ok(spec)
    }

    /// A place in the queue.
    async fn place(&self, wait: bool) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        let gone = || self.desk().is_open().err().unwrap_or_else(stopped);
        match self.places.try_acquire() {
            Ok(place) => Ok(place),
            Err(TryAcquireError::NoPermits) if wait => self.places.acquire().await.map_err(|_| gone()),
            Err(TryAcquireError::NoPermits) => {
                let message = format!("the queue is full: {} jobs wait", self.params.queue_size);
                Err(Error::new(ErrorKind::QueueFull { capacity: self.params.queue_size }, message))
            }
            Err(TryAcquireError::Closed) => Err(gone()),
        }
    }

    pub async fn cancel(&self, id: &str) -> bool {
        let left = self.desk().leave(id, time::now().mono, &self.outbox);
        match left {
            Left::Gone => false,
            Left::Told => true,
            Left::Ended(had_place) => {
                if had_place {
                    self.places.add_permits(1);
                }
                self.store.withdraw(id).await;
                self.changed();
                true
            }
        }
    }

    /// Takes nothing on any more.
    fn refuse(&self) {
        {
            let mut desk = self.desk();
            if matches!(desk.phase, Phase::Open) {
                desk.phase = Phase::Draining;
            }
        }
        self.places.close();
        self.changed();
    }

    /// Begins nothing any more.
    pub async fn close(&self, error: &Error) {
        let ids = self.desk().close(error);
        self.over.cancel();
        self.places.close();
        self.changed();
        for id in ids {
            self.store.withdraw(&id).await;
        }
    }

    /// Something about the jobs is not as it was.
    pub fn changed(&self) {
        let (quiet, open) = {
            let desk = self.desk();
            (desk.is_quiet(), matches!(desk.phase, Phase::Open))
        };
        if quiet && !open {
            self.outbox.close();
        }
        if quiet {
            self.quiet.notify_waiters();
        }
        self.work.notify_one();
    }

    /// Waits until every job is over.
    async fn quiet(&self) {
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            quiet.as_mut().enable();
            if self.desk().is_quiet() {
                return;
            }
            quiet.await;
        }
    }
}
