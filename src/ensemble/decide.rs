//! Which of several answers it is to be. Pure: the same answers give the same decision, in whatever order they came.
//!
//! Answers are put into groups of which each member says the same as each other one. Where one is similar to two that are
//! not similar to each other, similarity decides nothing: such a group falls apart into answers that are equal. So groups
//! do not depend on which answer is looked at first. Every tie is broken by weight, then by priority, then by the place
//! in the configuration, which no two share.

use std::cmp::{Ordering, Reverse};

use super::canonical::Canonical;

/// One answer and what speaks for it.
#[derive(Debug, Clone)]
pub struct Ballot {
    /// Of its provider in the configuration: no two are alike.
    pub place: usize,
    pub weight: u32,
    /// Lower is better.
    pub priority: u32,
    /// From 0 to 1.
    pub win_rate: f64,
    pub says: Canonical,
}

/// Answers in groups.
#[derive(Debug)]
pub struct Count {
    /// By place.
    ballots: Vec<Ballot>,
    /// The group of each, numbered by its first member.
    groups: Vec<usize>,
}

impl Count {
    /// Sorts and groups answers. `similarity`: see [`Canonical::says`].
    pub fn new(mut ballots: Vec<Ballot>, similarity: f64) -> Self {
        ballots.sort_by_key(|ballot| ballot.place);
        let alike = |one: usize, other: usize| ballots[one].says.says(&ballots[other].says, similarity);
        let mut groups: Vec<usize> = (0..ballots.len()).collect();
        let mut apart = Vec::new();
        for one in 0..ballots.len() {
            for other in 0..one {
                if !alike(one, other) {
                    apart.push((one, other));
                } else if groups[one] != groups[other] {
                    let (kept, gone) = (groups[one].min(groups[other]), groups[one].max(groups[other]));
                    groups.iter_mut().filter(|group| **group == gone).for_each(|group| *group = kept);
                }
            }
        }
        let united = groups.clone();
        for (one, other) in apart {
            if united[one] == united[other] {
                for at in (0..ballots.len()).filter(|at| united[*at] == united[one]) {
                    let first = ballots.iter().position(|ballot| ballot.says == ballots[at].says);
                    groups[at] = first.unwrap_or(at);
                }
            }
        }
        Self { ballots, groups }
    }

    /// The answers by place, each with its group, counted from 1.
    pub fn ballots(&self) -> impl Iterator<Item = (&Ballot, usize)> {
        let firsts = self.firsts();
        let number = move |group: usize| firsts.iter().position(|first| *first == group).unwrap_or_default() + 1;
        self.ballots.iter().zip(self.groups.iter().map(move |group| number(*group)))
    }

    /// Are all of them equal? That they are similar is not enough to spare a judge.
    pub fn is_unanimous(&self) -> bool {
        self.ballots.windows(2).all(|pair| pair[0].says == pair[1].says)
    }

    /// The best of the largest group, by its place. `None`: no two of several answers agree.
    pub fn voting(&self) -> Option<usize> {
        let best = self.best_group(|one, other| self.size(one).cmp(&self.size(other)))?;
        (self.size(best) > 1 || self.ballots.len() == 1).then(|| self.speaker(best))
    }

    /// The best of the group with the most weight, each answer's being its weight times one more than its win rate.
    /// `None`: there is no answer.
    ///
    /// So what is learnt at most doubles a weight: of providers of one weight, one that was always right never outweighs
    /// two that agree, and what they say against it can still be learnt.
    pub fn weighted(&self) -> Option<usize> {
        let best = self.best_group(|one, other| self.score(one).total_cmp(&self.score(other)))?;
        Some(self.speaker(best))
    }

    /// The best of the largest group, when at least two and at least this share of all answers are in it.
    pub fn consensus(&self, agreement: f64) -> Option<usize> {
        let best = self.best_group(|one, other| self.size(one).cmp(&self.size(other)))?;
        let size = self.size(best);
        (size > 1 && size as f64 >= agreement * self.ballots.len() as f64).then(|| self.speaker(best))
    }

    /// All that differ, by their places; of those that are equal the best.
    pub fn distinct(&self) -> Vec<usize> {
        let equal = Self::new(self.ballots.clone(), 1.0);
        equal.firsts().into_iter().map(|group| equal.speaker(group)).collect()
    }

    /// Are two answers of one group?
    pub fn agree(&self, one: usize, other: usize) -> bool {
        let group = |place| self.ballots.iter().position(|ballot| ballot.place == place).map(|at| self.groups[at]);
        group(one).is_some() && group(one) == group(other)
    }

    /// Is an answer of a group that is larger than each other one, and not alone in it?
    pub fn is_of_most(&self, place: usize) -> bool {
        let group = self.ballots.iter().position(|ballot| ballot.place == place).map(|at| self.groups[at]);
        group.is_some_and(|group| {
            let size = self.size(group);
            size > 1 && self.firsts().into_iter().all(|other| other == group || self.size(other) < size)
        })
    }

    fn firsts(&self) -> Vec<usize> {
        let mut firsts = self.groups.clone();
        firsts.sort_unstable();
        firsts.dedup();
        firsts
    }

    /// The group that ranks first; ties as everywhere.
    fn best_group(&self, rank: impl Fn(usize, usize) -> Ordering) -> Option<usize> {
        self.firsts().into_iter().max_by(|one, other| {
            rank(*one, *other)
                .then_with(|| self.weight(*one).cmp(&self.weight(*other)))
                .then_with(|| self.priority(*other).cmp(&self.priority(*one)))
                .then_with(|| other.cmp(one))
        })
    }

    /// The place of the answer that speaks for a group: what most of its members say in the same words, as the best of
    /// them says it.
    fn speaker(&self, group: usize) -> usize {
        let best = self.members(group).max_by_key(|ballot| {
            let equal = || self.members(group).filter(|other| other.says == ballot.says);
            let weight: u64 = equal().map(|other| u64::from(other.weight)).sum();
            (equal().count(), weight, ballot.weight, Reverse(ballot.priority), Reverse(ballot.place))
        });
        best.map(|ballot| ballot.place).unwrap_or_default()
    }

    fn members(&self, group: usize) -> impl Iterator<Item = &Ballot> {
        self.ballots.iter().zip(&self.groups).filter(move |(_, of)| **of == group).map(|(ballot, _)| ballot)
    }

    fn size(&self, group: usize) -> usize {
        self.members(group).count()
    }

    fn weight(&self, group: usize) -> u64 {
        self.members(group).map(|ballot| u64::from(ballot.weight)).sum()
    }

    fn score(&self, group: usize) -> f64 {
        self.members(group).map(|ballot| f64::from(ballot.weight) * (1.0 + ballot.win_rate)).sum()
    }

    fn priority(&self, group: usize) -> u32 {
        self.members(group).map(|ballot| ballot.priority).min().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ballot(place: usize, says: &str) -> Ballot {
        Ballot { place, weight: 1, priority: 1, win_rate: 0.5, says: Canonical::Text(says.to_owned()) }
    }

    fn count(answers: &[&str]) -> Count {
        Count::new(answers.iter().enumerate().map(|(place, says)| ballot(place, says)).collect(), 1.0)
    }

    #[test]
    fn the_largest_group_wins_a_vote() {
        for (answers, expected) in [
            (&["a", "b", "b"][..], Some(1)),
            (&["a", "b", "a", "b", "b"], Some(1)),
            (&["a"], Some(0)),
            (&["a", "b", "c"], None),
            (&[], None),
        ] {
            assert_eq!(count(answers).voting(), expected, "{answers:?}");
        }
    }

    #[test]
    fn a_tie_goes_by_weight_then_priority_then_place() {
        let tie = |change: &dyn Fn(&mut Vec<Ballot>)| {
            let mut ballots: Vec<_> =
                ["a", "b", "a", "b"].iter().enumerate().map(|(place, says)| ballot(place, says)).collect();
            change(&mut ballots);
            Count::new(ballots, 1.0).voting()
        };
        assert_eq!(tie(&|_| {}), Some(0));
        assert_eq!(tie(&|ballots| ballots[1].priority = 0), Some(1));
        assert_eq!(
            tie(&|ballots| (ballots[1].priority, ballots[2].weight) = (0, 2)),
            Some(2),
            "the heavier one speaks"
        );
        assert_eq!(tie(&|ballots| ballots[3].weight = 2), Some(3));
    }

    #[test]
    fn weight_and_win_rate_may_outweigh_the_many() {
        let mut ballots = vec![ballot(0, "a"), ballot(1, "b"), ballot(2, "b")];
        assert_eq!(Count::new(ballots.clone(), 1.0).weighted(), Some(1));
        ballots[0].weight = 3;
        assert_eq!(Count::new(ballots.clone(), 1.0).weighted(), Some(0));
        (ballots[0].win_rate, ballots[1].win_rate, ballots[2].win_rate) = (0.1, 0.9, 0.9);
        assert_eq!(Count::new(ballots.clone(), 1.0).weighted(), Some(1));
        ballots[0].weight = 1;
        (ballots[0].win_rate, ballots[1].win_rate, ballots[2].win_rate) = (1.0, 0.0, 0.0);
        assert_eq!(Count::new(ballots.clone(), 1.0).weighted(), Some(1), "what is learnt outweighs no two that agree");
        ballots.iter_mut().for_each(|ballot| ballot.weight = 0);
        assert_eq!(Count::new(ballots, 1.0).weighted(), Some(0), "without any weight the place decides");
        assert_eq!(count(&[]).weighted(), None);
    }

    #[test]
    fn a_consensus_is_a_share_of_at_least_two() {
        for (answers, agreement, expected) in [
            (&["a", "b", "b"][..], 0.6, Some(1)),
            (&["a", "b", "b"], 0.7, None),
            (&["a", "a", "a", "b", "c"], 0.6, Some(0)),
            (&["a", "b", "c"], 0.0, None),
            (&["a"], 0.5, None),
            (&["a", "a"], 1.0, Some(0)),
        ] {
            assert_eq!(count(answers).consensus(agreement), expected, "{answers:?} {agreement}");
        }
    }

    #[test]
    fn one_that_is_like_two_that_differ_unites_nobody() {
        // The first says as much of either as both have in common.
        let said = ["it is to deploy tonight", "it is wise to deploy tonight", "it is rash to deploy tonight"];
        let of = |order: &[usize]| {
            let ballots = order.iter().map(|at| ballot(*at, said[*at % 3])).collect();
            Count::new(ballots, 0.7).ballots().map(|(_, group)| group).collect::<Vec<_>>()
        };
        assert_eq!([of(&[0, 1]), of(&[0, 2]), of(&[1, 2])], [vec![1, 1], vec![1, 1], vec![1, 2]]);
        for order in [[0, 1, 2], [2, 1, 0], [2, 0, 1], [0, 2, 1]] {
            assert_eq!(of(&order), [1, 2, 3], "{order:?}");
        }
        assert_eq!(of(&[0, 1, 2, 4, 5]), [1, 2, 3, 2, 3], "what is equal stays together");
    }

    #[test]
    fn only_equal_answers_are_unanimous() {
        let count = |answers: [&str; 2]| {
            Count::new(answers.iter().enumerate().map(|(place, says)| ballot(place, says)).collect(), 0.5)
        };
        let similar = count(["the rocket takes off", "the rocket takes off now"]);
        assert_eq!(similar.ballots().map(|(_, group)| group).collect::<Vec<_>>(), [1, 1]);
        assert!(!similar.is_unanimous() && count(["x y", "x y"]).is_unanimous());
        assert_eq!((similar.distinct(), count(["x y", "x y"]).distinct()), (vec![0, 1], vec![0]));
    }

    #[test]
    fn the_words_of_most_speak_for_a_group() {
        let long = "the new rocket takes off at noon on the fifth of may";
        let longer = "the new rocket takes off at noon on the fifth of may too";
        let speaker = |said: &[&str], weights: &[u32]| {
            let ballots = said.iter().zip(weights).enumerate();
            let ballots = ballots.map(|(place, (says, weight))| Ballot { weight: *weight, ..ballot(place, says) });
            let count = Count::new(ballots.collect(), 0.5);
            assert!(count.ballots().all(|(_, group)| group == 1));
            (count.voting(), count.weighted(), count.consensus(0.5))
        };
        let all = |place| (Some(place), Some(place), Some(place));
        assert_eq!(speaker(&[longer, long, long], &[9, 1, 1]), all(1), "the heaviest is of the few");
        assert_eq!(speaker(&[longer, long, long], &[9, 1, 2]), all(2));
        assert_eq!(speaker(&[longer, long], &[1, 2]), all(1), "weight breaks ties");
        assert_eq!(speaker(&[longer, long, longer, long], &[1, 3, 2, 1]), all(1));
    }

    #[test]
    fn most_is_more_than_any_other_group_and_more_than_one() {
        for (answers, place, expected) in [
            (&["a", "b", "b"][..], 1, true),
            (&["a", "b", "b"], 0, false),
            (&["a", "b"], 0, false),
            (&["a", "a", "b", "b"], 0, false),
            (&["a", "a"], 1, true),
            (&["a"], 0, false),
        ] {
            assert_eq!(count(answers).is_of_most(place), expected, "{answers:?} {place}");
        }
    }

    #[test]
    fn groups_are_numbered_by_their_first_member() {
        let count = count(&["b", "a", "b", "c"]);
        let seen: Vec<_> = count.ballots().map(|(ballot, group)| (ballot.place, group)).collect();
        assert_eq!(seen, [(0, 1), (1, 2), (2, 1), (3, 3)]);
        assert_eq!(count.distinct(), [0, 1, 3]);
        assert!(count.agree(0, 2) && !count.agree(0, 1) && !count.is_unanimous());
    }

    fn any_ballots() -> impl Strategy<Value = Vec<Ballot>> {
        let one = ("[ab]{1,2}( [12])?( cd| not)?", 0u32..3, 0u32..3, 0u8..=4);
        prop::collection::vec(one, 0..7).prop_map(|ballots| {
            let ballots = ballots.into_iter().enumerate();
            ballots
                .map(|(place, (says, weight, priority, rate))| Ballot {
                    place,
                    weight,
                    priority,
                    win_rate: f64::from(rate) / 4.0,
                    says: Canonical::Text(says),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_decides_nothing(
            (ballots, arrived) in any_ballots().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            similarity in 0.0..=1.0f64,
            agreement in 0.0..=1.0f64,
        ) {
            let (one, other) = (Count::new(ballots, similarity), Count::new(arrived, similarity));
            prop_assert_eq!(one.voting(), other.voting());
            prop_assert_eq!(one.weighted(), other.weighted());
            prop_assert_eq!(one.consensus(agreement), other.consensus(agreement));
            prop_assert_eq!(one.distinct(), other.distinct());
            let groups = |count: &Count| count.ballots().map(|(ballot, group)| (ballot.place, group)).collect::<Vec<_>>();
            prop_assert_eq!(groups(&one), groups(&other));
            for (ballot, group) in one.ballots() {
                for (other, _) in one.ballots().filter(|(_, same)| *same == group) {
                    prop_assert!(ballot.says.says(&other.says, similarity), "a group is of one mind");
                }
            }
        }
    }
}
