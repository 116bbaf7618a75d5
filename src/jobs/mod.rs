//! Work that nobody waits for at once: jobs stand in a queue, so many workers at a time take them to the pool, and every
//! one of them ends exactly once.
//!
//! | file | decides |
//! |---|---|
//! | `params` | what may be set, and within which bounds |
//! | `job` | what is asked, and what comes back |
//! | `read` | both of them as JSON |
//! | `store` | where jobs wait: the seam behind which they may outlive the process |
//! | `order` | whose turn it is among the priorities |
//! | `pace` | how fast jobs may begin |
//! | `again` | whether a job that failed is tried once more |
//! | `desk` | what is known of every job that is not over, and the counts |
//! | `outbox` | results that nobody has taken yet |
//! | `processor` | the face: submit, stats, stop |
//! | `worker` | takes a job, asks the pool, says what came of it |
//!
//! The pool under it has its own retries, failover and limits, and goes on having them: what is tried again here is only
//! what the pool cannot try again.

mod again;
mod desk;
mod job;
mod order;
mod outbox;
mod pace;
mod params;
mod processor;
#[cfg(any(feature = "node", test))]
mod read;
mod store;
mod worker;

pub use desk::{BackgroundStats, WaitingJobs};
pub use job::{Job, JobResult, JobSpec, JobStatus, Priority};
pub use outbox::JobResults;
pub use params::BackgroundParams;
pub use processor::{BackgroundProcessor, StopOptions};
pub use store::{JobStore, MemoryStore, StoredJob, Taken};

#[cfg(feature = "node")]
pub(crate) use job::{JobRetry, OnRetry};
#[cfg(feature = "node")]
pub(crate) use read::{read_params, read_spec};
