//! Who is asked first: an order over the providers that may be asked at all.
//!
//! Ranking knows nothing of health: whether a provider can be asked right now is seen when it is asked, and the next in
//! order follows. So the order of a call is the same whatever else happens, and explaining it changes nothing.

use serde::{Deserialize, Serialize};

/// How providers of equal priority share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Always in the order of the config; the second one works only while the first cannot.
    #[default]
    Failover,
}

impl Behaviour {
    /// The word the configuration has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
        }
    }
}

/// A provider that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its place in the config, counted from 0.
    pub index: usize,
    /// Lower is asked first.
    pub priority: u32,
}

/// Orders `candidates` by priority, lower first, and inside one priority by `behaviour`.
///
/// ```
/// use llmpool::policy::{Behaviour, Candidate, rank};
/// let mut all = [Candidate { index: 0, priority: 2 }, Candidate { index: 1, priority: 1 }];
/// rank(Behaviour::Failover, &mut all);
/// assert_eq!(all[0].index, 1);
/// ```
pub fn rank(behaviour: Behaviour, candidates: &mut [Candidate]) {
    match behaviour {
        // The index makes every key unique, so the sort that allocates nothing is as stable as the other.
        Behaviour::Failover => candidates.sort_unstable_by_key(|candidate| (candidate.priority, candidate.index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(priorities: &[u32]) -> Vec<usize> {
        let mut candidates: Vec<Candidate> =
            priorities.iter().enumerate().map(|(index, &priority)| Candidate { index, priority }).collect();
        rank(Behaviour::Failover, &mut candidates);
        candidates.into_iter().map(|candidate| candidate.index).collect()
    }

    #[test]
    fn lower_priority_comes_first_and_zero_is_a_priority() {
        assert_eq!(ranked(&[3, 0, 1]), [1, 2, 0]);
    }

    #[test]
    fn equal_priorities_keep_the_order_of_the_config() {
        assert_eq!(ranked(&[1; 40]), (0..40).collect::<Vec<_>>());
        assert_eq!(ranked(&[2, 1, 2, 1]), [1, 3, 0, 2]);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let mut backwards = [2, 1, 0].map(|index| Candidate { index, priority: 1 });
        rank(Behaviour::Failover, &mut backwards);
        assert_eq!(backwards.map(|candidate| candidate.index), [0, 1, 2]);
    }

    #[test]
    fn nobody_to_rank_is_no_order() {
        assert!(ranked(&[]).is_empty());
    }
}
