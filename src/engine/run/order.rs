//! In which order a call visits its providers: tier by tier, and inside a tier by the pool's behaviour.
//!
//! A tier is put in order when the call comes to it and not before. With one member, or in the order of the config,
//! nothing is looked at and nothing is computed.

use std::sync::Mutex;

use super::visit::Visit;
use crate::engine::lock;
use crate::policy::{Behaviour, Member, Pace, Turns, order};
use crate::time::Now;

/// What choosing changes: whose turn it is, and the source of chance.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Chance {
    pub turns: Turns,
    pub random: fastrand::Rng,
}

/// By what a call wants its providers ordered.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Wish<'a> {
    pub behaviour: Behaviour,
    pub session: Option<&'a str>,
    pub pace: Pace,
}

impl Chance {
    /// The same seed gives the same choices.
    pub fn new(seed: Option<u64>) -> Self {
        Self { turns: Turns::default(), random: random(seed) }
    }

    /// Another seed; whose turn it is stays.
    pub fn sow(&mut self, seed: Option<u64>) {
        self.random = random(seed);
    }
}

fn random(seed: Option<u64>) -> fastrand::Rng {
    seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)
}

/// Sorts the visits of a call into tiers, each in the order of the config. What active checks found broken comes after
/// everybody else, and not never: a check is not the call, and with nobody else left the call decides.
pub(super) fn into_tiers(visits: &mut [Visit], behaviour: Behaviour) {
    for (at, visit) in visits.iter_mut().enumerate() {
        visit.tier = (!visit.provider.is_healthy(), behaviour.tier(visit.provider.priority()));
        visit.rank = at;
    }
    // The place makes every key unique, so the sort that allocates nothing is as stable as the other.
    visits.sort_unstable_by_key(|visit| (visit.tier, visit.rank));
}

/// Orders the first tier of `visits`; says how many it has.
pub(super) fn order_first_tier(visits: &mut [Visit], wish: Wish<'_>, now: Now, chance: &Mutex<Chance>) -> usize {
    let Some(tier) = visits.first().map(|visit| visit.tier) else { return 0 };
    let count = visits.iter().take_while(|visit| visit.tier == tier).count();
    let fixed = wish.behaviour == Behaviour::Failover && wish.session.is_none();
    if count < 2 || fixed {
        return count;
    }
    let tier = &mut visits[..count];
    let mut members = Vec::with_capacity(count);
    for (at, visit) in tier.iter().enumerate() {
        let provider = &visit.provider;
        let (available, score) = provider.standing(now, &visit.model, wish.pace);
        members.push(Member::new(at, provider.name(), provider.config().weight, available, score));
    }
    let mut chance = lock(chance);
    let Chance { turns, random } = &mut *chance;
    order(&mut members, wish.behaviour, wish.session, turns, |below| random.usize(..below));
    drop(chance);
    let places: Vec<usize> = members.into_iter().map(|member| member.at).collect();
    for (rank, at) in places.into_iter().enumerate() {
        tier[at].rank = rank;
    }
    tier.sort_unstable_by_key(|visit| visit.rank);
    count
}
