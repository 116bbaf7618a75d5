//! What is known of every job that is not over, and the counts of those that are.
//!
//! A job is here from its submission to its end, and ends by being taken out: whoever takes it out says how it ended, and
//! nobody can do so twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::again::Again;
use super::job::{End, JobResult, JobRetry, JobSpec, JobStatus, OnRetry, Priority, stopped};
use super::outbox::Outbox;
use super::store::{StoredJob, taken_id};
use crate::error::Error;
use crate::event::millis;
use crate::time::Instant;
use crate::types::ChatResponse;

#[derive(Default)]
pub(super) struct Desk {
    pub phase: Phase,
    tickets: HashMap<Arc<str>, Ticket>,
    next_number: u64,
    counts: Counts,
    /// Jobs that wait for their first start, by priority, and those between two tries: whoever looks at a long queue must not
    /// hold it up by counting.
    waiting: [usize; Priority::ALL.len()],
    resting: usize,
    /// What was not done when it stopped, until somebody asks for it.
    not_done: Vec<(u64, JobSpec)>,
}

/// Of a processor's life.
#[derive(Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// Takes nothing on, and finishes what it has.
    Draining,
    /// Begins nothing any more; what it has not done ends with this.
    Over(Error),
}

struct Ticket {
    job: Arc<StoredJob>,
    standing: Standing,
    submitted: Instant,
    begun: Option<Instant>,
    tries: u32,
    /// Of its tries, those that count as retries.
    spent: u32,
    leave: CancellationToken,
    ended: watch::Sender<Option<End>>,
    on_retry: Option<OnRetry>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// For its first start; it has a place in the queue.
    Waiting,
    /// Between two tries.
    Resting,
    Running,
}

/// A job on its way to the pool.
pub(super) struct Begun {
    pub job: Arc<StoredJob>,
    pub leave: CancellationToken,
    pub spent: u32,
    /// It left its place in the queue.
    pub first: bool,
}

/// What became of a wish to give a job up.
pub(super) enum Left {
    /// It is over, or there never was one.
    Gone,
    /// It had not begun, or rested. `true`: it left a place in the queue.
    Ended(bool),
    /// Its worker was told.
    Told,
}

#[derive(Default)]
struct Counts {
    active: usize,
    completed: u64,
    failed: u64,
    cancelled: u64,
    not_done: u64,
    retries: u64,
    /// Jobs that have begun, and how long they had waited for it.
    begun: u64,
    waited: Duration,
    /// How long those took that were completed or failed.
    took: Duration,
}

/// A look at a processor. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BackgroundStats {
    /// It takes jobs, or still works on some. `false` once it was stopped.
    pub is_running: bool,
    /// Jobs that wait for their first start.
    pub queue_size: usize,
    /// The most that may.
    pub queue_capacity: usize,
    /// The same, by priority.
    pub waiting: WaitingJobs,
    /// Jobs between two tries. They hold no place in the queue.
    pub resting: usize,
    /// Workers with a job at the pool.
    pub active_workers: usize,
    pub total_workers: usize,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Handed back by a stop, or by a pool that was shut down.
    pub not_done: u64,
    /// Further tries, those that did not count as a retry included.
    pub retries: u64,
    /// Results that nobody has taken yet.
    pub results_waiting: usize,
    /// Results that nobody took while nobody read, the oldest first. Their jobs have them still.
    pub results_dropped: u64,
    /// From submission to first start, of all that have begun; `None` before the first.
    pub average_wait_ms: Option<f64>,
    /// From first start to end, of all that were completed or failed; `None` before the first.
    pub average_duration_ms: Option<f64>,
}

/// Jobs that wait for their first start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct WaitingJobs {
    pub critical: usize,
    pub high: usize,
    pub normal: usize,
    pub low: usize,
}

// === impl Desk ===

impl Desk {
    /// The number of the next job.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub fn is_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Draining => Err(stopped()),
            Phase::Over(error) => Err(error.clone()),
        }
    }

    /// Takes a job on.
    pub fn enter(
        &mut self,
        job: &Arc<StoredJob>,
        now: Instant,
        on_retry: Option<OnRetry>,
    ) -> Result<watch::Receiver<Option<End>>, Error> {
        self.is_open()?;
        if self.tickets.contains_key(&job.id) {
            return Err(taken_id(&job.id).into());
        }
        let (ended, receiver) = watch::channel(None);
        let ticket = Ticket {
            job: Arc::clone(job),
            standing: Standing::Waiting,
            submitted: now,
            begun: None,
            tries: 0,
            spent: 0,
            leave: CancellationToken::new(),
            ended,
            on_retry,
        };
        self.waiting[job.spec.priority as usize] += 1;
        self.tickets.insert(Arc::clone(&job.id), ticket);
        Ok(receiver)
    }

    /// It could not be kept after all. `true`: it still had its place.
    pub fn forget(&mut self, id: &str) -> bool {
        self.remove(id).is_some_and(|ticket| ticket.standing == Standing::Waiting)
    }

    /// There is a job of this id that is not over.
    pub fn knows(&self, id: &str) -> bool {
        self.tickets.contains_key(id)
    }

    /// A worker has it. `None`: it ended in the meantime, and may have left its id to another.
    pub fn begin(&mut self, job: &StoredJob, now: Instant) -> Option<Begun> {
        let ticket = self.tickets.get_mut(&job.id).filter(|ticket| ticket.job.number == job.number)?;
        let was = std::mem::replace(&mut ticket.standing, Standing::Running);
        ticket.tries += 1;
        let first = was == Standing::Waiting;
        if first {
            ticket.begun = Some(now);
            self.counts.begun += 1;
            self.counts.waited += now.saturating_duration_since(ticket.submitted);
        }
        let begun = Begun { job: Arc::clone(&ticket.job), leave: ticket.leave.clone(), spent: ticket.spent, first };
        *self.standing(was, begun.job.spec.priority) -= 1;
        self.counts.active += 1;
        Some(begun)
    }

    /// How many stand there.
    fn standing(&mut self, standing: Standing, priority: Priority) -> &mut usize {
        match standing {
            Standing::Waiting => &mut self.waiting[priority as usize],
            Standing::Resting => &mut self.resting,
            Standing::Running => &mut self.counts.active,
        }
    }

    fn remove(&mut self, id: &str) -> Option<Ticket> {
        let ticket = self.tickets.remove(id)?;
        *self.standing(ticket.standing, ticket.job.spec.priority) -= 1;
        Some(ticket)
    }

    /// It is going to be tried once more.
    pub fn again(&mut self, id: &str, again: Again, error: &Error) {
        let Some(ticket) = self.tickets.get_mut(id) else { return };
        ticket.spent += u32::from(again.counts);
        self.counts.retries += 1;
        if let Some(told) = &ticket.on_retry {
            told(JobRetry { error: error.clone(), tries: ticket.tries, after: again.after, counts: again.counts });
        }
    }

    /// Its worker puts it off. `false`: nothing begins any more, and it was handed back.
    pub fn rest(&mut self, id: &str) -> bool {
        if let Phase::Over(over) = &self.phase {
            let over = over.clone();
            self.hand_back(id, over);
            return false;
        }
        let Some(ticket) = self.tickets.get_mut(id) else { return false };
        ticket.standing = Standing::Resting;
        self.counts.active -= 1;
        self.resting += 1;
        true
    }

    /// It is over: its result goes to who reads results, and then to who waits for this one. In that order and under one
    /// lock: no stop finds all jobs over while a result is still on its way.
    pub fn finish(
        &mut self,
        id: &str,
        now: Instant,
        status: JobStatus,
        outcome: Result<ChatResponse, Error>,
        outbox: &Outbox,
    ) {
        let Some(ticket) = self.remove(id) else { return };
        let took = ticket.begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun));
        let waited = ticket.begun.unwrap_or(now).saturating_duration_since(ticket.submitted);
        match status {
            JobStatus::Completed => self.counts.completed += 1,
            JobStatus::Failed => self.counts.failed += 1,
            JobStatus::Cancelled => self.counts.cancelled += 1,
        }
        if status != JobStatus::Cancelled {
            self.counts.took += took;
        }
        let StoredJob { id, spec, .. } = &*ticket.job;
        let result = Arc::new(JobResult {
            id: Arc::clone(id),
            priority: spec.priority,
            metadata: spec.metadata.clone(),
            status,
            outcome,
            tries: ticket.tries,
            waited,
            took,
        });
        outbox.push(Arc::clone(&result));
        ticket.ended.send_replace(Some(Ok(result)));
    }

    /// Whoever owns it does not want it any more.
    pub fn leave(&mut self, id: &str, now: Instant, outbox: &Outbox) -> Left {
        let Some(ticket) = self.tickets.get(id) else { return Left::Gone };
        if ticket.standing == Standing::Running {
            ticket.leave.cancel();
            return Left::Told;
        }
        let had_place = ticket.standing == Standing::Waiting;
        self.finish(id, now, JobStatus::Cancelled, Err(Error::cancelled()), outbox);
        Left::Ended(had_place)
    }

    /// It ends undone.
    pub fn hand_back(&mut self, id: &str, error: Error) {
        let Some(ticket) = self.remove(id) else { return };
        self.counts.not_done += 1;
        self.not_done.push((ticket.job.number, ticket.job.spec.clone()));
        ticket.ended.send_replace(Some(Err(error)));
    }

    /// Nothing begins any more: all that do not run end undone. Gives their ids.
    pub fn close(&mut self, error: &Error) -> Vec<Arc<str>> {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(error.clone());
        }
        let idle = |(id, ticket): (&Arc<str>, &Ticket)| (ticket.standing != Standing::Running).then(|| Arc::clone(id));
        let ids: Vec<_> = self.tickets.iter().filter_map(idle).collect();
        for id in &ids {
            self.hand_back(id, error.clone());
        }
        ids
    }

    /// Every job is over.
    pub fn is_quiet(&self) -> bool {
        self.tickets.is_empty()
    }

    /// What was not done, in the order in which it came; once.
    pub fn take_not_done(&mut self) -> Vec<JobSpec> {
        let mut not_done = std::mem::take(&mut self.not_done);
        not_done.sort_by_key(|(number, _)| *number);
        not_done.into_iter().map(|(_, spec)| spec).collect()
    }

    /// All but what the processor's own parts know.
    pub fn stats(&self) -> BackgroundStats {
        let Counts { active, completed, failed, cancelled, not_done, retries, begun, waited, took } = self.counts;
        let mean = |sum: Duration, count: u64| (count > 0).then(|| millis(sum) / count as f64);
        let [critical, high, normal, low] = self.waiting;
        BackgroundStats {
            is_running: matches!(self.phase, Phase::Open) || !self.is_quiet(),
            queue_size: critical + high + normal + low,
            queue_capacity: 0,
            waiting: WaitingJobs { critical, high, normal, low },
            resting: self.resting,
            active_workers: active,
            total_workers: 0,
            completed,
            failed,
            cancelled,
            not_done,
            retries,
            results_waiting: 0,
            results_dropped: 0,
            average_wait_ms: mean(waited, begun),
            average_duration_ms: mean(took, completed + failed),
        }
    }
}
