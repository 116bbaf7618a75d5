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

/// Providers that are gone are remembered until their day is over, and up to this many.
const MOST: usize = 100;

/// What nobody in the pool counts on: days of providers that are gone, and days that have no limit at the moment.
#[derive(Debug, Default)]
pub(super) struct Days(BTreeMap<String, DayCounts>);

// === impl Days ===

impl Days {
    /// `after` is about to come into force in the place of `before`.
    pub(super) fn go_on(&mut self, before: &Roster, after: &Roster, now: Now) {
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
    }

    /// Days that another process has counted; where the pool has counted since, both count.
    fn restore(&mut self, saved: &BTreeMap<String, DayCounts>, roster: &Roster, now: Now) {
        for (name, counts) in saved {
            self.keep(name, *counts, now);
            self.give(name, roster, now);
        }
    }

    fn keep(&mut self, name: &str, counts: DayCounts, now: Now) {
        self.0.retain(|_, counts| !counts.is_over(now));
        let counts = counts.or(self.0.remove(name).unwrap_or_default());
        if !counts.is_over(now) && self.0.len() < MOST {
            self.0.insert(name.to_owned(), counts);
        }
    }

    /// Gives a provider of the roster what is remembered of its name; what it has no limit for stays here.
    fn give(&mut self, name: &str, roster: &Roster, now: Now) {
        if let Some(provider) = roster.find(name)
            && let Some(counts) = self.0.remove(name)
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
        let mut days = lock(&self.days).0.clone();
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
