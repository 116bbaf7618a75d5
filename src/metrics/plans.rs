//! What became of calls that several models answered, and of tasks.
//!
//! Names of tasks come from the configuration; the bound is for pools whose tasks come and go under ever new names.

use std::collections::BTreeMap;

use super::Counts;
use crate::types::{ProviderName, Strategy};

/// Tasks that are counted apart.
const MOST_TASKS: usize = 200;

/// Providers whose opinions are remembered.
const MOST_PROVIDERS: usize = 1_000;

/// Where tasks beyond the bound are counted.
const OTHER: &str = "other";

/// All of them, since the process began.
#[derive(Debug, Clone, Default)]
pub struct PlanTally {
    tasks: BTreeMap<String, TaskTally>,
    opinions: BTreeMap<ProviderName, Opinions>,
}

/// Calls of one task, or of none.
#[derive(Debug, Clone, Default)]
pub struct TaskTally {
    pub succeeded: u64,
    pub failed: u64,
    /// Answered by what was kept, or by an identical call that was under way; they are among those that succeeded.
    pub cache_hits: u64,
    /// Second copies that `FASTEST` sent out.
    pub hedges: u64,
    /// Answers by the strategy that decided in the end.
    pub strategies: Counts,
    /// Answers by who gave them.
    pub winners: BTreeMap<ProviderName, u64>,
}

/// How often a provider's answer was compared with others, and how often the decision went its way.
#[derive(Debug, Clone, Copy, Default)]
struct Opinions {
    compared: u64,
    won: u64,
}

/// One answer of a task.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub strategy_used: Strategy,
    pub winner: &'a ProviderName,
    pub hedged: bool,
    pub cached: bool,
}

impl PlanTally {
    pub fn tasks(&self) -> impl Iterator<Item = (&str, &TaskTally)> {
        self.tasks.iter().map(|(name, tally)| (name.as_str(), tally))
    }

    /// A call of this task was answered; the empty name stands for calls of none.
    pub fn answered(&mut self, task: &str, answer: Answered<'_>) {
        let Answered { strategy_used, winner, hedged, cached } = answer;
        let tally = self.task(task);
        tally.succeeded += 1;
        tally.cache_hits += u64::from(cached);
        // What was kept was decided and hedged before.
        if !cached {
            tally.hedges += u64::from(hedged);
            tally.strategies.add(strategy_used.as_str());
            let known = tally.winners.len() < MOST_PROVIDERS || tally.winners.contains_key(winner);
            let winner = if known { winner.clone() } else { ProviderName::new(OTHER) };
            *tally.winners.entry(winner).or_default() += 1;
        }
    }

    pub fn failed(&mut self, task: &str) {
        self.task(task).failed += 1;
    }

    /// An answer was compared with others, and the decision went its way or did not.
    pub fn compared(&mut self, provider: &ProviderName, won: bool) {
        if self.opinions.len() >= MOST_PROVIDERS && !self.opinions.contains_key(provider) {
            return;
        }
        let opinions = self.opinions.entry(provider.clone()).or_default();
        opinions.compared += 1;
        opinions.won += u64::from(won);
    }

    /// The share of decisions that went a provider's way, from 0 to 1. One of each is added, so that it begins at a half
    /// and a single decision does not make it 0 or 1.
    pub fn win_rate(&self, provider: &ProviderName) -> f64 {
        let Opinions { compared, won } = self.opinions.get(provider).copied().unwrap_or_default();
        (won as f64 + 1.0) / (compared as f64 + 2.0)
    }

    fn task(&mut self, name: &str) -> &mut TaskTally {
        let known = self.tasks.len() < MOST_TASKS || self.tasks.contains_key(name);
        self.tasks.entry(if known { name } else { OTHER }.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(winner: &'a ProviderName, cached: bool) -> Answered<'a> {
        Answered { strategy_used: Strategy::Voting, winner, hedged: true, cached }
    }

    #[test]
    fn a_kept_answer_is_an_answer_and_no_decision() {
        let (mut tally, a) = (PlanTally::default(), ProviderName::new("a"));
        tally.answered("t", answer(&a, false));
        tally.answered("t", answer(&a, true));
        tally.failed("t");
        let (name, task) = tally.tasks().next().expect("one");
        assert_eq!((name, task.succeeded, task.failed, task.cache_hits, task.hedges), ("t", 2, 1, 1, 1));
        assert_eq!(task.strategies.iter().collect::<Vec<_>>(), [("VOTING", 1)]);
        assert_eq!(task.winners.get(&a), Some(&1));
    }

    #[test]
    fn a_win_rate_begins_at_a_half_and_moves_with_what_is_decided() {
        let (mut tally, a) = (PlanTally::default(), ProviderName::new("a"));
        assert_eq!(tally.win_rate(&a), 0.5);
        tally.compared(&a, true);
        assert_eq!(tally.win_rate(&a), 2.0 / 3.0);
        (0..2).for_each(|_| tally.compared(&a, false));
        assert_eq!(tally.win_rate(&a), 2.0 / 5.0);
    }

    #[test]
    fn ever_new_names_do_not_make_it_grow() {
        let mut tally = PlanTally::default();
        for number in 0..2 * MOST_PROVIDERS {
            let name = ProviderName::new(number.to_string());
            tally.answered(&number.to_string(), answer(&name, false));
            tally.answered("0", answer(&name, false));
            tally.compared(&name, true);
        }
        assert_eq!((tally.tasks.len(), tally.opinions.len()), (MOST_TASKS + 1, MOST_PROVIDERS));
        assert!(tally.tasks.values().all(|task| task.winners.len() <= MOST_PROVIDERS + 1));
        assert_eq!(tally.tasks.values().map(|task| task.succeeded).sum::<u64>(), 4 * MOST_PROVIDERS as u64);
    }
}
