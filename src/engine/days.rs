//! How much of its day a provider has used belongs to its name: one that a reload builds anew goes on where its
//! predecessor stopped, one that comes back the same day finds what it had used, and all of it can be saved and taken up
//! again. Only the day: the minute of a provider whose limits were changed begins anew, and is over in a minute.
//!
//! Requests that are under way while their provider is replaced stay counted as they were reserved.

use std::collections::BTreeMap;

use super::roster::Roster;
use super::{Engine, lock};
use crate::policy::DayCounts;
use crate::time::{self, Now};

/// Providers that are gone are remembered until their day is over, and up to this many; those in the pool are all
/// remembered.
const MOST: usize = 100;

/// What nobody in the pool counts on: days of providers that are gone, and days that have no limit at the moment.
#[derive(Debug, Default)]
pub(super) struct Days {
    by_name: BTreeMap<String, Remembered>,
    /// How often something was put here: who has the lowest number is the first to be forgotten.
    puts: u64,
}

#[derive(Debug)]
struct Remembered {
    counts: DayCounts,
    put: u64,
}

// === impl Days ===

impl Days {
    /// `after` is about to come into force in the place of `before`.
    pub(super) fn go_on(&mut self, before: &Roster, after: &Roster, now: Now) {
        self.forget_over(now);
        for old in before.providers() {
            let name = old.name().as_str();
            if !after.find(name).is_some_and(|new| new.lives_on(old)) {
                self.keep(name, old.day_counts(now), now);
            }
        }
        for new in after.providers() {
            let name = new.name().as_str();
            if !before.find(name).is_some_and(|old| new.lives_on(old)) {
                self.give(name, after, now);
            }
        }
        self.bound(after);
    }

    /// Days that another process has counted; where the pool has counted since, both count.
    fn restore(&mut self, saved: &BTreeMap<String, DayCounts>, roster: &Roster, now: Now) {
        self.forget_over(now);
        for (name, counts) in saved {
            self.keep(name, *counts, now);
            self.give(name, roster, now);
        }
        self.bound(roster);
    }

    fn forget_over(&mut self, now: Now) {
        self.by_name.retain(|_, remembered| !remembered.counts.is_over(now));
    }

    /// Only when everybody has got what is theirs: before that, who is gone could crowd out who is not.
    fn bound(&mut self, roster: &Roster) {
        let gone = self.by_name.iter().filter(|(name, _)| roster.find(name).is_none());
        let mut puts: Vec<u64> = gone.map(|(_, remembered)| remembered.put).collect();
        if let Some(too_many @ 1..) = puts.len().checked_sub(MOST) {
            puts.sort_unstable();
            let first = puts[too_many];
            self.by_name.retain(|name, remembered| remembered.put >= first || roster.find(name).is_some());
        }
    }

    fn keep(&mut self, name: &str, counts: DayCounts, now: Now) {
        let counts = counts.or(self.take(name).unwrap_or_default());
        if !counts.is_over(now) {
            self.puts += 1;
            self.by_name.insert(name.to_owned(), Remembered { counts, put: self.puts });
        }
    }

    fn take(&mut self, name: &str) -> Option<DayCounts> {
        self.by_name.remove(name).map(|remembered| remembered.counts)
    }

    /// Gives a provider of the roster what is remembered of its name; what it has no limit for stays here.
    fn give(&mut self, name: &str, roster: &Roster, now: Now) {
        if let Some(provider) = roster.find(name)
            && let Some(counts) = self.take(name)
        {
            let left = provider.take_up_day(counts, now);
            self.keep(name, left, now);
        }
    }
}

impl Engine {
    /// How much of its day every provider has used so far, by name; those that are gone included.
    pub fn day_counts(&self) -> BTreeMap<String, DayCounts> {
        let now = time::now();
        let mut days: BTreeMap<String, DayCounts> = {
            let days = lock(&self.days);
            days.by_name.iter().map(|(name, remembered)| (name.clone(), remembered.counts)).collect()
        };
        for provider in self.roster().providers() {
            let name = provider.name().as_str();
            let counts = provider.day_counts(now).or(days.remove(name).unwrap_or_default());
            days.insert(name.to_owned(), counts);
        }
        days.retain(|_, counts| !counts.is_over(now));
        days
    }

    /// Goes on with the days that an earlier process saved, as far as they are not over. To be done once per saved state.
    pub fn restore_days(&self, saved: &BTreeMap<String, DayCounts>) {
        lock(&self.days).restore(saved, &self.roster(), time::now());
    }
}
