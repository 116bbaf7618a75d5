//! What the pool and each provider came to, for saving and for taking up again.

use std::collections::BTreeMap;

use super::{Engine, lock};
use crate::metrics::{ProviderTotals, Totals};

/// Providers that are gone are remembered by name up to this many; the rest share one entry, so that a pool whose
/// providers come and go under ever new names stays small and no sum ever shrinks.
const MOST_DEPARTED: usize = 1_000;
const EARLIER: &str = "(earlier providers)";

/// The totals of providers that are not in the pool, by name: their money is spent all the same.
#[derive(Debug, Default)]
pub(super) struct Departed(BTreeMap<String, ProviderTotals>);

impl Departed {
    pub(super) fn add(&mut self, name: &str, totals: &ProviderTotals) {
        if *totals == ProviderTotals::default() {
            return;
        }
        let name = if self.0.len() < MOST_DEPARTED || self.0.contains_key(name) { name } else { EARLIER };
        self.0.entry(name.to_owned()).or_default().add(totals);
    }
}

impl Engine {
    /// What everything came to so far, saved totals that were taken up included.
    pub fn totals(&self) -> Totals {
        let mut providers = lock(&self.departed).0.clone();
        for provider in self.roster().providers() {
            let totals = provider.look(|live| live.tally.totals.clone());
            providers.entry(provider.name().to_string()).or_default().add(&totals);
        }
        Totals { pool: lock(&self.tally).totals.clone(), providers }
    }

    /// Adds what an earlier process saved. To be done once per saved state; calls may be under way.
    pub fn restore_totals(&self, saved: &Totals) {
        let Totals { pool, providers } = saved;
        lock(&self.tally).totals.add(pool);
        let roster = self.roster();
        for (name, totals) in providers {
            match roster.find(name) {
                Some(provider) => provider.restore_totals(totals),
                None => lock(&self.departed).add(name, totals),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(total_requests: u64) -> ProviderTotals {
        ProviderTotals { total_requests, ..ProviderTotals::default() }
    }

    #[test]
    fn the_departed_are_bounded_and_lose_nothing() {
        let mut departed = Departed::default();
        for name in 0..MOST_DEPARTED + 50 {
            departed.add(&name.to_string(), &requests(1));
        }
        assert_eq!(departed.0.len(), MOST_DEPARTED + 1);
        assert_eq!(departed.0.values().map(|totals| totals.total_requests).sum::<u64>(), MOST_DEPARTED as u64 + 50);
    }

    #[test]
    fn one_that_did_nothing_leaves_nothing_behind() {
        let mut departed = Departed::default();
        departed.add("a", &requests(0));
        assert!(departed.0.is_empty());
    }
}
