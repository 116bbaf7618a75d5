//! Answers that are kept for a while: under which key, for how long, and how many.
//!
//! | file | decides |
//! |---|---|
//! | `key` | when two calls are the same call |
//! | `store` | what is kept, until when, and what has to go |
//!
//! It knows nothing of providers or runs: whoever keeps an answer says what it is of.

mod key;
mod store;

use std::time::Duration;

pub use key::{Candidate, Key, KeyMaker};
pub use store::{Stays, Store, TooLarge};

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheParams {
    /// Every chat and stream looks here first. Default false: an answer that is not made anew must be asked for.
    pub enabled: bool,
    /// How long an answer is kept, where the call does not say. 0 = not at all.
    pub ttl: Duration,
    /// 0 = none are kept.
    pub max_entries: u64,
    /// Of all that is kept together. 0 = nothing is kept.
    pub max_bytes: u64,
    /// A larger answer is not kept.
    pub max_entry_bytes: u64,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreParams {
    /// 0 = none.
    pub max_entries: u64,
    /// Of all entries together. 0 = none.
    pub max_bytes: u64,
    /// A larger entry is not kept.
    pub max_entry_bytes: u64,
}

impl CacheParams {
    pub fn store(&self) -> StoreParams {
        let Self { max_entries, max_bytes, max_entry_bytes, enabled: _, ttl: _ } = *self;
        StoreParams { max_entries, max_bytes, max_entry_bytes }
    }
}

impl Default for CacheParams {
    fn default() -> Self {
        Self {
            enabled: false,
            // A quarter of an hour: what a user asks again is asked within a session, and the world has not changed yet.
            ttl: Duration::from_secs(900),
            // Ten thousand answers of usual size are a tenth of the bytes below.
            max_entries: 10_000,
            // A share of memory that a process of usual size does not notice.
            max_bytes: 100 * 1024 * 1024,
            // A hundred times a long answer: one entry never pushes out more than a hundredth of the rest.
            max_entry_bytes: 1024 * 1024,
        }
    }
}
