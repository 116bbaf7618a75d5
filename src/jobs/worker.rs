//! What a worker does: waits for its turn, takes a job to the pool, and says what came of it.
//!
//! One worker at a time stands at the turnstile, so jobs begin one after another in the order of the queue, and a job that
//! is more urgent and comes while the pace holds everybody up is still the next to go.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::again::{Again, Patience, Wants};
use super::desk::{Begun, Phase};
use super::job::{JobStatus, stopped};
use super::processor::Shared;
use super::store::{StoredJob, Taken};
use crate::error::{Error, ErrorKind, Phase as Timer};
use crate::event::Event;
use crate::pool::Pool;
use crate::time::{self, Instant};
use crate::types::{CallOptions, ChatResponse, RequestId};

/// Takes the events of the jobs' calls, whoever listens to them.
pub(crate) type Tell = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

impl Shared {
    /// Works until the processor is over.
    pub(super) async fn work(self: Arc<Self>, pool: Pool, tell: Tell) {
        while let Some(begun) = self.next().await {
            self.run(begun, &pool, &tell).await;
        }
    }

    /// A pool that is shut down, or a processor that was dropped, ends what waits.
    pub(super) async fn watch(self: Arc<Self>, pool: Pool) {
        let error = tokio::select! {
            biased;
            () = self.ending.cancelled() => stopped(),
            () = pool.closing() => Error::closed(),
        };
        self.close(&error).await;
    }

    /// The next job, as soon as it may begin; `None`: there will be none.
    async fn next(&self) -> Option<Begun> {
        let _turn = self.turnstile.lock().await;
        loop {
            let mut changed = std::pin::pin!(self.work.notified());
            // From here on nothing that happens is missed.
            changed.as_mut().enable();
            if self.is_finished() {
                // For the one that stands behind.
                self.work.notify_one();
                return None;
            }
            let now = time::now().mono;
            let paced = self.pace().free_at(now);
            let not_before = match paced {
                Some(at) => Some(at),
                None => match self.store.take(now).await {
                    Taken::Job(job) => match self.try_begin(&job, now).await {
                        Some(begun) => return Some(begun),
                        None => continue,
                    },
                    Taken::NotBefore(at) => Some(at),
                    Taken::Nothing => None,
                },
            };
            let _ = time::until(not_before, changed).await;
        }
    }

    /// There is nothing to do, and never will be.
    fn is_finished(&self) -> bool {
        let desk = self.desk();
        match desk.phase {
            Phase::Open => false,
            Phase::Draining => desk.is_quiet(),
            Phase::Over(_) => true,
        }
    }

    /// `None`: it ended while it was on its way here, or what it wants is out of reach.
    async fn try_begin(&self, job: &StoredJob, now: Instant) -> Option<Begun> {
        let until = self.out_of_reach().until(&job.spec, now);
        if let Some(until) = until {
            // It has not begun, and keeps its place.
            self.store.put_off(&job.id, until).await;
            // A long queue is gone through without keeping the thread from calls.
            tokio::task::yield_now().await;
            return None;
        }
        let begun = self.desk().begin(job, now);
        match begun {
            Some(begun) => {
                self.pace().begin(now);
                if begun.first {
                    self.places.add_permits(1);
                }
                Some(begun)
            }
            None => {
                // Another one may have its id by now, which is not ours to settle.
                let is_known = self.desk().knows(&job.id);
                if !is_known {
                    self.store.settle(&job.id).await;
                }
                None
            }
        }
    }

    /// Takes a job to the pool until it is over or goes back to the queue.
    async fn run(&self, begun: Begun, pool: &Pool, tell: &Tell) {
        let (result, own_time) = self.ask(&begun, pool, tell).await;
        self.after(&begun, result, own_time).await;
        self.changed();
    }

    /// One try, and whether it had a time of the job's own.
    async fn ask(&self, begun: &Begun, pool: &Pool, tell: &Tell) -> (Result<ChatResponse, Error>, bool) {
        let spec = &begun.job.spec;
        let own_time = spec.timeout.or(self.params.timeout);
        let own_time = own_time.filter(|own| spec.options.deadline.is_none_or(|deadline| *own < deadline));
        let options = CallOptions {
            deadline: own_time.or(spec.options.deadline),
            request_id: spec.options.request_id.clone().or_else(|| Some(RequestId::new(Arc::clone(&begun.job.id)))),
            // The pool's own repeats belong to the first try alone.
            max_retries: if begun.spent > 0 { Some(0) } else { spec.options.max_retries },
            // What it waits because of others is not its own.
            deadline_from_first_attempt: own_time.is_some() || spec.options.deadline_from_first_attempt,
            ..spec.options.clone()
        };
        let left = async {
            tokio::select! {
                () = begun.leave.cancelled() => {}
                () = self.ending.cancelled() => {}
            }
        };
        let asked = pool.chat_until(&spec.request, &options, spec.warnings.clone(), left);
        // A defect of ours must cost one job, not a worker.
        let result = match AssertUnwindSafe(asked).catch_unwind().await {
            Ok(completed) => {
                tell(completed.events);
                completed.result
            }
            Err(_) => Err(Error::new(ErrorKind::Internal, "a defect in llmpool: it panicked")),
        };
        (result, own_time.is_some())
    }

    /// What becomes of a job after a try.
    async fn after(&self, begun: &Begun, result: Result<ChatResponse, Error>, own_time: bool) {
        let id = &begun.job.id;
        let error = match result {
            Ok(response) => return self.finish(id, JobStatus::Completed, Ok(response)).await,
            Err(error) => error,
        };
        if begun.leave.is_cancelled() {
            // Who wants to be rid of a job does not want it once more.
            return self.finish(id, JobStatus::Cancelled, Err(Error::cancelled())).await;
        }
        if error.is_cancellation() {
            return self.undone(id, &error).await;
        }
        match self.patience(begun, &error, own_time).again(&error, fastrand::f64()) {
            None => self.finish(id, JobStatus::Failed, Err(error)).await,
            Some(again) => self.put_off(begun, again, &error).await,
        }
    }

    /// It goes back to the queue.
    async fn put_off(&self, begun: &Begun, again: Again, error: &Error) {
        let Begun { job, .. } = begun;
        let now = time::now().mono;
        let until = now + again.after;
        if again.is_common() {
            self.out_of_reach().note(Wants::of(&job.spec), until, now);
        }
        let rests = {
            let mut desk = self.desk();
            desk.again(&job.id, again, error);
            desk.rest(&job.id)
        };
        if rests {
            self.store.put_off(&job.id, until).await;
        } else {
            self.store.withdraw(&job.id).await;
        }
    }

    fn patience(&self, begun: &Begun, error: &Error, own_time: bool) -> Patience {
        Patience {
            backoff: self.params.backoff(),
            spent: begun.spent,
            max_retries: begun.job.spec.max_retries.unwrap_or(self.params.max_retries),
            own_time: own_time && matches!(error.kind(), ErrorKind::Timeout { phase: Timer::Deadline, .. }),
        }
    }

    async fn finish(&self, id: &str, status: JobStatus, outcome: Result<ChatResponse, Error>) {
        self.desk().finish(id, time::now().mono, status, outcome, &self.outbox);
        self.store.settle(id).await;
    }

    /// The processor or the pool ended its call.
    async fn undone(&self, id: &str, error: &Error) {
        let error = if matches!(error.kind(), ErrorKind::Closed) { error.clone() } else { stopped() };
        self.desk().hand_back(id, error);
        self.store.withdraw(id).await;
    }
}
