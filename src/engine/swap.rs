//! Another roster in the place of the one in force. Calls keep the roster they began with; what providers have done stays
//! with their names.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Engine, Provider, Roster, lock};
use crate::policy::RetryBudget;
use crate::time;
use crate::types::ProviderName;

/// Whom a swap was about, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<ProviderName>,
    pub removed: Vec<ProviderName>,
    /// Some parameter is another one.
    pub changed: Vec<ProviderName>,
}

impl Engine {
    /// Puts `roster` in force, for all calls that begin from now on.
    pub fn swap(&self, roster: Roster) -> Changes {
        // First, so that the numbers of a name are in one place before anybody is asked.
        lock(&self.books).open(&roster);
        let purse = lock(&self.budgets).open(&roster, time::now());
        self.purse.store(purse);
        lock(&self.accounts).open(&roster, time::now());
        lock(&self.days).go_on(&self.roster(), &roster, time::now());
        let roster = Arc::new(roster);
        let before = self.roster.swap(Arc::clone(&roster));
        let (old, new) = (before.routing(), roster.routing());
        if old.retry_budget != new.retry_budget {
            *lock(&self.budget) = RetryBudget::new(new.retry_budget.clone());
        }
        if old.seed != new.seed {
            lock(&self.chance).sow(new.seed);
        }
        // Names that are gone must not pile up, however often a configuration brings new ones.
        lock(&self.chance).turns.keep(|name| roster.find(name.as_str()).is_some());
        let (old, new) = (&before.limits().qos.hedge, &roster.limits().qos.hedge);
        if old != new {
            lock(&self.hedges).renew(new.as_ref());
        }
        if !roster.health().active {
            // Nobody checks any more, so what the last check said would hold for ever.
            roster.providers().iter().for_each(|provider| provider.forget_checks());
        }
        self.swapped.notify_one();
        // There may be more slots than before: the first in line looks, and who finds one wakes the next.
        self.gate.line.wake();
        self.compare(&before, &roster)
    }

    /// Notified of every swap; of those that nobody waited for, once.
    pub fn swapped(&self) -> Arc<Notify> {
        Arc::clone(&self.swapped)
    }

    fn compare(&self, before: &Roster, after: &Roster) -> Changes {
        let by_name = |roster: &Roster| -> HashMap<ProviderName, Arc<Provider>> {
            roster.providers().iter().map(|provider| (provider.name().clone(), Arc::clone(provider))).collect()
        };
        self.retired_in_flight(); // lets go of those of earlier swaps that are done
        let (old, new) = (by_name(before), by_name(after));
        let mut changes = Changes::default();
        for provider in before.providers() {
            let name = provider.name();
            let next = new.get(name);
            match next {
                None => changes.removed.push(name.clone()),
                Some(next) if next.config() != provider.config() => changes.changed.push(name.clone()),
                Some(_) => {}
            }
            if !next.is_some_and(|next| next.lives_on(provider)) {
                lock(&self.retired).push(Arc::clone(provider));
            }
        }
        let added = after.providers().iter().map(|provider| provider.name());
        changes.added = added.filter(|name| !old.contains_key(*name)).cloned().collect();
        changes
    }

    /// Attempts that are still under way at providers that are no longer asked.
    pub(super) fn retired_in_flight(&self) -> u64 {
        let mut retired = lock(&self.retired);
        let mut in_flight = 0;
        retired.retain(|provider| {
            let own = provider.look(|live| live.in_flight);
            in_flight += u64::from(own);
            own > 0
        });
        in_flight
    }
}
