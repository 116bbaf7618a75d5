//! Who is asked first, and in which order the others follow.
//!
//! Providers are asked tier by tier: lower priority first, and `distribute` knows one tier only. This file orders the
//! members of one tier, at the moment a call comes to it; a tier that is never reached takes nobody's turn.
//!
//! Members that would refuse the call now stand in front, in the order of the config: they are passed over, and the
//! trail says why. They take no turn either, so what they cannot do is shared by the others in proportion.
//!
//! Round robin and weights are one machine. Every turn gives each member its share of one call, and who is owed the most
//! is asked and pays for all. What is owed stays small whatever the weights, is kept by name, and so goes on where it was
//! after a reload, however many providers came or went.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use crate::types::Behaviour;
use crate::types::ProviderName;

/// A provider of a tier, as the choice sees it.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its place in the tier by the config, counted from 0.
    pub at: usize,
    pub name: &'a ProviderName,
    /// Counts for `weighted` alone; 0 comes last.
    pub weight: u32,
    /// It would take a call now, as far as can be told.
    pub available: bool,
    /// [`Load::score`](super::Load::score); counts for `adaptive` alone.
    pub score: f64,
    /// By what it is ordered: more comes first.
    merit: f64,
}

/// What is owed to each provider: the only thing that a choice changes, chance aside.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// In the unit of [`CALL`].
    owed: HashMap<ProviderName, i64>,
}

/// One call in the unit of what is owed. Shares are whole numbers of it, so that equal shares are exactly equal and
/// nothing is ever lost to rounding.
const CALL: u64 = 1 << 32;

// === impl Member ===

impl<'a> Member<'a> {
    pub fn new(at: usize, name: &'a ProviderName, weight: u32, available: bool, score: f64) -> Self {
        Self { at, name, weight, available, score, merit: 0.0 }
    }
}

/// Orders the members of one tier: first those that are passed over, then who is asked, best first.
///
/// `session` keeps calls of the same session with the same member while it is available, whatever the behaviour. `draw`
/// gives a random number below its argument.
///
/// ```
/// use llmpool::policy::{Behaviour, Member, Turns, order};
/// use llmpool::types::ProviderName;
/// let names = ["a", "b"].map(ProviderName::new);
/// let mut turns = Turns::default();
/// let mut first = || {
///     let mut tier = [0, 1].map(|at| Member::new(at, &names[at], 1, true, 1.0));
///     order(&mut tier, Behaviour::Combination, None, &mut turns, |_| 0);
///     tier[0].at
/// };
/// assert_eq!([first(), first(), first()], [0, 1, 0]);
/// ```
pub fn order(
    members: &mut [Member<'_>],
    behaviour: Behaviour,
    session: Option<&str>,
    turns: &mut Turns,
    mut draw: impl FnMut(usize) -> usize,
) {
    members.sort_unstable_by_key(|member| (member.available, member.at));
    let passed_over = members.partition_point(|member| !member.available);
    let able = &mut members[passed_over..];
    if able.len() < 2 {
        return;
    }
    let weighs = behaviour == Behaviour::Weighted && able.iter().any(|member| member.weight > 0);
    let weight = |member: &Member<'_>| if weighs { u64::from(member.weight) } else { 1 };
    match (session, behaviour) {
        (Some(session), _) => {
            for member in able.iter_mut() {
                member.merit = affinity(session, member.name, weight(member));
            }
        }
        (None, Behaviour::Failover) => return,
        (None, Behaviour::Distribute | Behaviour::Combination | Behaviour::Weighted) => turns.take(able, weight),
        (None, Behaviour::Adaptive) => able.iter_mut().for_each(|member| member.merit = member.score),
    }
    able.sort_unstable_by(|a, b| b.merit.total_cmp(&a.merit).then(a.at.cmp(&b.at)));
    // With two the better one is the better of two. With more, always the best would be everybody's at once, until its
    // measures say so.
    if session.is_none() && behaviour == Behaviour::Adaptive && able.len() > 2 {
        let one = draw(able.len());
        let other = draw(able.len() - 1);
        let other = if other >= one { other + 1 } else { other };
        able[..=one.min(other)].rotate_right(1);
    }
}

/// Rendezvous: each member draws a lot for the session, always the same one, and the best lot wins. When a member comes
/// or goes only its own sessions move.
fn affinity(session: &str, name: &ProviderName, weight: u64) -> f64 {
    // Keyed with zeros, so that every process of this build comes to the same.
    let mut hasher = DefaultHasher::new();
    (session, name).hash(&mut hasher);
    // The upper 53 bits, halfway between two steps: never 0 and never 1.
    let lot = ((hasher.finish() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    weight as f64 / -lot.ln()
}

// === impl Turns ===

impl Turns {
    /// Gives everybody its share and lets the one who is owed the most pay for the call.
    fn take(&mut self, able: &mut [Member<'_>], weight: impl Fn(&Member<'_>) -> u64) {
        let all: u64 = able.iter().map(&weight).sum();
        let mut given = 0;
        for member in able.iter_mut() {
            let weight = weight(member);
            let share = (u128::from(weight) * u128::from(CALL) / u128::from(all.max(1))) as i64;
            given += share;
            let owed = self.owed_to(member.name);
            *owed += share;
            member.merit = if weight == 0 { f64::NEG_INFINITY } else { *owed as f64 };
        }
        let first = able.iter().max_by(|a, b| a.merit.total_cmp(&b.merit).then(b.at.cmp(&a.at)));
        if let Some(first) = first {
            *self.owed_to(first.name) -= given;
        }
    }

    fn owed_to(&mut self, name: &ProviderName) -> &mut i64 {
        // The name is shared: cloning it counts up a number.
        self.owed.entry(name.clone()).or_default()
    }

    /// Forgets providers that are no more.
    pub fn keep(&mut self, is_there: impl Fn(&ProviderName) -> bool) {
        self.owed.retain(|name, _| is_there(name));
    }
}

#[cfg(test)]
mod tests;
