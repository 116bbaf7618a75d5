//! Whose turn it is, for whoever wants to know a provider rather than an answer.

use std::sync::Arc;

use super::Visit;
use super::order::{Wish, into_tiers, order_first_tier};
use crate::engine::Engine;
use crate::policy::Pace;
use crate::time;
use crate::types::ProviderName;

impl Engine {
    /// The provider that a call without wishes would be asked of now, in the order that calls go by; it takes its turn.
    /// `None`: nobody is available.
    pub(crate) fn pick(&self) -> Option<ProviderName> {
        let roster = self.roster();
        let now = time::now();
        let wish = Wish { behaviour: roster.routing().behaviour, session: None, pace: Pace::Whole };
        let usable =
            roster.providers().iter().filter(|provider| provider.config().enabled && provider.config().weight > 0);
        let mut visits: Vec<_> =
            usable.map(|provider| Visit::new(Arc::clone(provider), provider.config().model.clone(), None)).collect();
        into_tiers(&mut visits, wish.behaviour);
        let mut rest = visits.as_mut_slice();
        while !rest.is_empty() {
            let count = order_first_tier(rest, wish, now, &self.chance);
            let (tier, behind) = rest.split_at_mut(count);
            let available = |visit: &&Visit| visit.provider.standing(now, &visit.model, wish.pace).0;
            if let Some(visit) = tier.iter().find(available) {
                return Some(visit.provider.name().clone());
            }
            rest = behind;
        }
        None
    }
}
