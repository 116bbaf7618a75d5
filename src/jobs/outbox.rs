//! Results that nobody has taken yet.
//!
//! They are kept from the start, so that whoever reads them after submitting finds them all, up to a bound. Beyond it the
//! oldest goes, and is counted; its job still has its own result. The bound is small while nobody reads, and as large as
//! the longest queue while somebody does, so a reader that pauses misses nothing. Work never waits for a reader: a reader
//! that itself waits for work (for a place in the queue, for a job) would then wait for ever.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::job::JobResult;
use super::params::LONGEST_QUEUE;
use super::processor::Shared;

pub(super) struct Outbox {
    kept: Mutex<Kept>,
    /// Something came, or nothing will any more.
    came: Notify,
    /// While nobody reads.
    capacity: usize,
}

#[derive(Default)]
struct Kept {
    results: VecDeque<Arc<JobResult>>,
    readers: usize,
    dropped: u64,
    closed: bool,
}

/// The results of a processor's jobs in the order in which they end: of those that were completed, failed or cancelled, not
/// of those that a stop hands back. Each goes to one reader: several share the work. While one is open, a million are kept
/// before the oldest is dropped; dropping the reader closes it.
#[must_use = "results are kept for a reader that does not read"]
pub struct JobResults {
    shared: Arc<Shared>,
}

// === impl Outbox ===

impl Outbox {
    pub fn new(capacity: usize) -> Self {
        Self { kept: Mutex::default(), came: Notify::new(), capacity }
    }

    fn held(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, result: Arc<JobResult>) {
        let mut kept = self.held();
        let most = if kept.readers == 0 { self.capacity } else { LONGEST_QUEUE };
        let over = (kept.results.len() + 1).saturating_sub(most);
        kept.results.drain(..over);
        kept.dropped += over as u64;
        kept.results.push_back(result);
        self.came.notify_one();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.held().closed = true;
        self.came.notify_waiters();
        // And whoever is about to wait.
        self.came.notify_one();
    }

    /// A reader has something to hear at once.
    #[cfg(feature = "node")]
    pub fn has_something(&self) -> bool {
        let kept = self.held();
        kept.closed || !kept.results.is_empty()
    }

    /// How many wait, and how many were dropped.
    pub fn counts(&self) -> (usize, u64) {
        let kept = self.held();
        (kept.results.len(), kept.dropped)
    }
}

// === impl JobResults ===

impl JobResults {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        shared.outbox.held().readers += 1;
        Self { shared }
    }

    /// The next one is there, or the end is certain to come.
    #[cfg(feature = "node")]
    pub(crate) fn is_due(&self) -> bool {
        self.shared.outbox.has_something() || self.shared.desk().is_open().is_err()
    }

    /// The next result, as soon as there is one. `None`: the processor was stopped, and all were taken.
    pub async fn next(&self) -> Option<Arc<JobResult>> {
        let outbox = &self.shared.outbox;
        loop {
            {
                let mut kept = outbox.held();
                if let Some(result) = kept.results.pop_front() {
                    if !kept.results.is_empty() {
                        outbox.came.notify_one(); // for another reader
                    }
                    return Some(result);
                }
                if kept.closed {
                    outbox.came.notify_one();
                    return None;
                }
            }
            outbox.came.notified().await;
        }
    }
}

impl Drop for JobResults {
    fn drop(&mut self) {
        self.shared.outbox.held().readers -= 1;
        self.shared.outbox.came.notify_one();
    }
}

impl fmt::Debug for JobResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobResults").field("waiting", &self.shared.outbox.counts().0).finish()
    }
}
