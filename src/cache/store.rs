//! Keeps values for a while, within a number of entries and of bytes.
//!
//! Whether an entry is still good is decided here, by the time that is passed in. The library below drops what is over
//! by a clock of its own, which only frees memory, and chooses who has to go when it is full, as [`Stays`] says.

use std::fmt;
use std::time::Duration;

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{Key, StoreParams};
use crate::time::Instant;

/// Values by key. Cheap to ask from many threads at once.
pub struct Store<V> {
    entries: Cache<Key, Entry<V>>,
    max_entry_bytes: u64,
    /// Bytes of one unit of weight: weights are 32 bits wide, bounds are not.
    unit: u64,
    /// The weight of the smallest entry. As many of those as may be kept fill the store, so that one bound holds both.
    least: u32,
}

/// What stays when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// What is asked for often: a flood of questions asked once does not wash out those asked every minute. An entry may
    /// not be let in at all.
    Often,
    /// What came or was asked for last. Every entry is let in.
    Last,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    weight: u32,
    ttl: Duration,
    until: Instant,
}

/// It is larger than one entry may be, and was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    pub bytes: u64,
    pub most: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, most } = self;
        write!(f, "about {bytes} bytes are over the {most} that one entry may take")
    }
}

impl<V: Clone + Send + Sync + 'static> Store<V> {
    /// Holds nothing yet.
    pub fn new(params: StoreParams, stays: Stays) -> Self {
        let StoreParams { max_entries, max_bytes, max_entry_bytes } = params;
        let unit = (max_bytes / u64::from(u32::MAX)).saturating_add(1);
        let capacity = if max_entries == 0 { 0 } else { max_bytes / unit };
        let least = capacity.checked_div(max_entries).unwrap_or_default().max(1);
        let entries = Cache::builder()
            .max_capacity(capacity)
            .eviction_policy(match stays {
                Stays::Often => EvictionPolicy::tiny_lfu(),
                Stays::Last => EvictionPolicy::lru(),
            })
            .weigher(|_, entry: &Entry<V>| entry.weight)
            .expire_after(ByTtl)
            .build();
        Self { entries, max_entry_bytes, unit, least: u32::try_from(least).unwrap_or(u32::MAX) }
    }

    /// What is kept under this key and still good.
    pub fn get(&self, key: &Key, now: Instant) -> Option<V> {
        let entry = self.entries.get(key)?;
        if now < entry.until {
            return Some(entry.value);
        }
        self.entries.invalidate(key);
        None
    }

    /// Keeps `value` of about so many bytes until `ttl` from now; a `ttl` of 0 keeps nothing.
    ///
    /// # Errors
    /// It is too large.
    pub fn keep(&self, key: Key, value: V, bytes: u64, ttl: Duration, now: Instant) -> Result<(), TooLarge> {
        if bytes > self.max_entry_bytes {
            return Err(TooLarge { bytes, most: self.max_entry_bytes });
        }
        if ttl.is_zero() {
            return Ok(());
        }
        let weight = u32::try_from(bytes.div_ceil(self.unit)).unwrap_or(u32::MAX).max(self.least);
        self.entries.insert(key, Entry { value, weight, ttl, until: now + ttl });
        Ok(())
    }

    /// How many entries there are, once everything that has to go is gone.
    #[cfg(test)]
    pub fn count(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }
}

struct ByTtl;

impl<V> Expiry<Key, Entry<V>> for ByTtl {
    fn expire_after_create(&self, _: &Key, entry: &Entry<V>, _: std::time::Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Entry<V>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyMaker;
    use super::*;
    use crate::time;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(number: u64) -> Key {
        let mut maker = KeyMaker::new("test");
        maker.number(number);
        maker.finish()
    }

    fn store(change: impl FnOnce(&mut StoreParams)) -> Store<u64> {
        let mut params = StoreParams { max_entries: 10_000, max_bytes: 1_000_000, max_entry_bytes: 1_000_000 };
        change(&mut params);
        Store::new(params, Stays::Often)
    }

    #[test]
    fn a_value_is_good_until_its_time_is_over_and_not_a_moment_longer() {
        let (store, now) = (store(|_| {}), time::now().mono);
        assert_eq!(store.get(&key(1), now), None);
        store.keep(key(1), 7, 100, MINUTE, now).expect("small");
        let millis = Duration::from_millis(1);
        assert_eq!(store.get(&key(1), now + MINUTE - millis), Some(7));
        assert_eq!(store.get(&key(2), now), None);
        assert_eq!(store.get(&key(1), now + MINUTE), None);
        assert_eq!((store.get(&key(1), now), store.count()), (None, 0), "what is over is gone");
    }

    #[test]
    fn keeping_again_begins_its_time_anew() {
        let (store, now) = (store(|_| {}), time::now().mono);
        store.keep(key(1), 7, 100, MINUTE, now).expect("small");
        store.keep(key(1), 8, 100, MINUTE, now + MINUTE / 2).expect("small");
        assert_eq!(store.get(&key(1), now + MINUTE), Some(8));
    }

    #[test]
    fn neither_entries_nor_bytes_go_over_their_bound() {
        let now = time::now().mono;
        // (max_entries, max_bytes, bytes of each) and how many are kept of a hundred
        for (entries, bytes, each, expected) in [
            (10, 1_000_000, 1, 10),
            (10, 1_000_000, 100_000, 10),
            (50, 1_000, 100, 10),
            (50, 1_000, 300, 3),
            (0, 1_000, 1, 0),
            (10, 0, 1, 0),
            (10, u64::MAX, 1, 10),
            (u64::MAX, 1_000, 100, 10),
        ] {
            let store = store(|params| (params.max_entries, params.max_bytes) = (entries, bytes));
            for number in 0..100 {
                store.keep(key(number), number, each, MINUTE, now).expect("small");
            }
            assert_eq!(store.count(), expected, "{entries} entries, {bytes} bytes, {each} each");
        }
    }

    #[test]
    fn what_came_last_stays_whatever_else_is_asked_for_often() {
        let (params, now) = (StoreParams { max_entries: 10, max_bytes: 1_000, max_entry_bytes: 100 }, time::now().mono);
        let kept_of_new = |stays| {
            let store = Store::new(params, stays);
            for _ in 0..20 {
                for number in 0..10 {
                    store.keep(key(number), number, 1, MINUTE, now).expect("small");
                    assert!(store.get(&key(number), now).is_some());
                    store.count();
                }
            }
            for number in 10..15 {
                store.keep(key(number), number, 1, MINUTE, now).expect("small");
            }
            assert_eq!(store.count(), 10);
            (10..15).filter(|number| store.get(&key(*number), now).is_some()).count()
        };
        assert_eq!((kept_of_new(Stays::Often), kept_of_new(Stays::Last)), (0, 5));
    }

    #[test]
    fn what_is_too_large_for_one_entry_or_kept_for_no_time_is_not_kept() {
        let (store, now) = (store(|params| params.max_entry_bytes = 10), time::now().mono);
        assert_eq!(store.keep(key(1), 1, 11, MINUTE, now), Err(TooLarge { bytes: 11, most: 10 }));
        store.keep(key(2), 2, 10, MINUTE, now).expect("it fits");
        store.keep(key(3), 3, 1, Duration::ZERO, now).expect("nothing to keep");
        assert_eq!((store.get(&key(1), now), store.get(&key(2), now), store.get(&key(3), now)), (None, Some(2), None));
    }
}
