//! What the ids of callers were used for, and what was answered: an id makes two requests one.
//!
//! This is no cache: it holds whatever the cache of answers is set to, outlives every reload, and lets every id in. When
//! it is full, the ids that were used longest ago are forgotten.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::sharing::Answered;
use super::{Engine, lock};
use crate::cache::{Key, Stays, Store, StoreParams};
use crate::time;

/// A quarter of an hour of a hundred requests a second, and a bit.
const MOST: u64 = 100_000;
/// Of the answers together: as many as above if they are short.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// About what a claim takes.
const CLAIM_BYTES: u64 = 128;
/// How long an id is known where `cache.ttl_seconds` is 0: as long as by default.
const TTL: Duration = Duration::from_secs(900);

pub(super) struct Ids {
    /// What each id was used for.
    claims: Store<Key>,
    pub(super) answers: Store<Arc<Answered>>,
    /// Of two requests that come at once with one id the second must see the first.
    claiming: Mutex<()>,
}

impl Default for Ids {
    fn default() -> Self {
        let store = |max_bytes| StoreParams { max_entries: MOST, max_bytes, max_entry_bytes: max_bytes };
        Self {
            claims: Store::new(store(MOST * CLAIM_BYTES), Stays::Last),
            answers: Store::new(store(MOST_BYTES), Stays::Last),
            claiming: Mutex::default(),
        }
    }
}

impl Engine {
    /// Uses an id for this and for nothing else, and says for how long. `None`: it was used for something else.
    pub fn claim(&self, id: Key, body: Key) -> Option<Duration> {
        let ttl = Some(self.roster().cache_params().ttl).filter(|ttl| !ttl.is_zero()).unwrap_or(TTL);
        let (Ids { claims, claiming, .. }, now) = (&self.ids, time::now().mono);
        let _alone = lock(claiming);
        if claims.get(&id, now).is_some_and(|other| other != body) {
            return None;
        }
        // As small as any.
        let _ = claims.keep(id, body, CLAIM_BYTES, ttl, now);
        Some(ttl)
    }
}
