//! The numbers of providers belong to their names. A provider that a reload builds anew goes on where its predecessor
//! stopped, one that is gone is still in the sums, and all of it can be saved and taken up again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::purse::SavedBudgets;
use super::roster::Roster;
use super::{Engine, lock};
use crate::metrics::{ProviderTally, ProviderTotals, Totals};
use crate::time;

/// Providers that are gone are remembered by name up to this many; what further ones came to is kept in one sum. A pool
/// whose providers come and go under ever new names stays small that way, and no sum ever shrinks.
const MOST_DEPARTED: usize = 100;
/// The name that sum is saved under.
const EARLIER: &str = "(earlier providers)";

/// What every provider has done that is or was in the pool.
#[derive(Debug, Default)]
pub(super) struct Books {
    present: BTreeMap<String, Arc<Mutex<ProviderTally>>>,
    /// Calls that began before they left may still write here.
    departed: BTreeMap<String, Arc<Mutex<ProviderTally>>>,
    /// Totals of providers that this process has never seen, or that it has forgotten.
    others: BTreeMap<String, ProviderTotals>,
}

// === impl Books ===

impl Books {
    /// This roster is about to come into force. Its providers go on with the numbers of their names.
    pub(super) fn open(&mut self, roster: &Roster) {
        let mut earlier = std::mem::take(&mut self.present);
        earlier.append(&mut self.departed);
        for provider in roster.providers() {
            let name = provider.name().to_string();
            let tally = match earlier.remove(&name) {
                Some(tally) => {
                    provider.go_on_with(Arc::clone(&tally));
                    tally
                }
                None => provider.tally(),
            };
            if let Some(saved) = self.others.remove(&name) {
                lock(&tally).totals.add(&saved);
            }
            self.present.insert(name, tally);
        }
        self.departed = earlier;
        while self.departed.len() > MOST_DEPARTED
            && let Some((_, tally)) = self.departed.pop_first()
        {
            self.others.entry(EARLIER.to_owned()).or_default().add(&lock(&tally).totals);
        }
    }

    fn restore(&mut self, saved: &BTreeMap<String, ProviderTotals>) {
        for (name, totals) in saved {
            match self.present.get(name).or_else(|| self.departed.get(name)) {
                Some(tally) => lock(tally).totals.add(totals),
                None => self.others.entry(name.clone()).or_default().add(totals),
            }
        }
    }

    pub(super) fn totals(&self) -> BTreeMap<String, ProviderTotals> {
        let mut totals = self.others.clone();
        for (name, tally) in self.departed.iter().chain(&self.present) {
            totals.entry(name.clone()).or_default().add(&lock(tally).totals);
        }
        totals
    }

    /// Of all providers, those that are gone included.
    pub(super) fn each(&self, mut look: impl FnMut(&str, &ProviderTally)) {
        self.departed.iter().chain(&self.present).for_each(|(name, tally)| look(name, &lock(tally)));
    }
}

impl Engine {
    /// What everything came to so far, saved totals that were taken up included.
    pub fn totals(&self) -> Totals {
        Totals { providers: lock(&self.books).totals(), pool: lock(&self.tally).totals.clone() }
    }

    /// What was spent under each budget.
    pub fn saved_budgets(&self) -> SavedBudgets {
        lock(&self.budgets).saved()
    }

    /// Adds what an earlier process spent. To be done once per saved state; calls may be under way.
    pub fn restore_budgets(&self, saved: &SavedBudgets) {
        lock(&self.budgets).restore(saved, time::now());
    }

    /// Adds what an earlier process saved. To be done once per saved state; calls may be under way.
    pub fn restore_totals(&self, saved: &Totals) {
        let Totals { pool, providers } = saved;
        lock(&self.tally).totals.add(pool);
        lock(&self.books).restore(providers);
    }
}
