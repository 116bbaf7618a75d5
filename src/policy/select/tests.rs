use proptest::prelude::*;

use super::*;

/// A tier of these weights, all of them free.
struct Tier {
    names: Vec<ProviderName>,
    weights: Vec<u32>,
    available: Vec<bool>,
    scores: Vec<f64>,
}

impl Tier {
    fn of(weights: &[u32]) -> Self {
        let names = (0..weights.len()).map(|at| ProviderName::new(format!("p{at}"))).collect();
        let (available, scores) = (vec![true; weights.len()], vec![1.0; weights.len()]);
        Self { names, weights: weights.to_vec(), available, scores }
    }

    fn order(
        &self,
        behaviour: Behaviour,
        session: Option<&str>,
        turns: &mut Turns,
        chance: &mut fastrand::Rng,
    ) -> Vec<usize> {
        let mut members: Vec<_> = (0..self.names.len())
            .map(|at| Member::new(at, &self.names[at], self.weights[at], self.available[at], self.scores[at]))
            .collect();
        order(&mut members, behaviour, session, turns, |below| chance.usize(..below));
        members.iter().map(|member| member.at).collect()
    }

    /// How often each comes first among those that are free.
    fn shares(&self, behaviour: Behaviour, turns: &mut Turns, calls: usize) -> Vec<usize> {
        let mut chance = fastrand::Rng::with_seed(7);
        let mut counts = vec![0; self.names.len()];
        for _ in 0..calls {
            let order = self.order(behaviour, None, turns, &mut chance);
            let first = order.into_iter().find(|at| self.available[*at]).expect("somebody is free");
            counts[first] += 1;
        }
        counts
    }
}

fn firsts(tier: &Tier, behaviour: Behaviour, calls: usize) -> Vec<usize> {
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(7));
    (0..calls).map(|_| tier.order(behaviour, None, &mut turns, &mut chance)[0]).collect()
}

#[test]
fn failover_keeps_the_order_of_the_config() {
    assert_eq!(firsts(&Tier::of(&[1, 9, 1]), Behaviour::Failover, 3), [0, 0, 0]);
}

#[test]
fn round_robin_takes_turns_exactly() {
    for behaviour in [Behaviour::Distribute, Behaviour::Combination] {
        let firsts = firsts(&Tier::of(&[1, 9, 1]), behaviour, 3000);
        assert!(firsts.chunks(3).all(|round| round == [0, 1, 2]), "{behaviour:?}");
    }
}

#[test]
fn weights_are_spread_evenly_and_not_in_blocks() {
    assert_eq!(firsts(&Tier::of(&[5, 1, 1]), Behaviour::Weighted, 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn a_weight_of_zero_comes_last_unless_all_have_it() {
    assert_eq!(Tier::of(&[0, 1, 3]).shares(Behaviour::Weighted, &mut Turns::default(), 400), [0, 100, 300]);
    assert_eq!(Tier::of(&[0, 0]).shares(Behaviour::Weighted, &mut Turns::default(), 10), [5, 5]);
}

#[test]
fn what_cannot_answer_stands_in_front_and_takes_no_turn() {
    let mut tier = Tier::of(&[1, 1, 1, 1]);
    tier.available[1] = false;
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(1));
    let order = tier.order(Behaviour::Combination, None, &mut turns, &mut chance);
    assert_eq!(order, [1, 0, 2, 3]);
    let shares = tier.shares(Behaviour::Combination, &mut turns, 3000);
    assert_eq!(shares, [1000, 0, 1000, 1000], "its neighbour does not do its work alone");
    tier.available[1] = true;
    let back = tier.shares(Behaviour::Combination, &mut turns, 8);
    assert_eq!(back, [2, 2, 2, 2], "it is not owed what it missed");
}

#[test]
fn calls_that_only_some_can_take_do_not_skew_the_rest() {
    // Every other call can only be taken by the first two.
    let (all, mut two) = (Tier::of(&[1, 1, 1]), Tier::of(&[1, 1, 1]));
    two.available[2] = false;
    let mut turns = Turns::default();
    let mut counts = [0; 3];
    for call in 0..3000 {
        let tier = if call % 2 == 0 { &all } else { &two };
        for (count, more) in counts.iter_mut().zip(tier.shares(Behaviour::Combination, &mut turns, 1)) {
            *count += more;
        }
    }
    assert!(counts[0].abs_diff(counts[1]) < 10, "{counts:?}");
    assert!(counts[2].abs_diff(500) < 10, "{counts:?}");
}

#[test]
fn adaptive_takes_the_better_of_two_and_never_the_worst() {
    let mut tier = Tier::of(&[1; 5]);
    tier.scores = vec![0.5, 0.1, 0.9, 0.7, 0.3];
    let shares = tier.shares(Behaviour::Adaptive, &mut Turns::default(), 10_000);
    assert_eq!(shares[1], 0, "the worst loses every draw");
    assert!(shares[2] > shares[3] && shares[3] > shares[0] && shares[0] > shares[4], "{shares:?}");
    assert!(shares[2].abs_diff(4000) < 200, "the best wins every draw it is in: {shares:?}");
}

#[test]
fn after_the_first_adaptive_goes_by_score() {
    let mut tier = Tier::of(&[1; 4]);
    tier.scores = vec![0.2, 0.8, 0.4, 0.6];
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(3));
    for _ in 0..50 {
        let order = tier.order(Behaviour::Adaptive, None, &mut turns, &mut chance);
        assert!(order[1..].is_sorted_by(|a, b| tier.scores[*a] > tier.scores[*b]), "{order:?}");
    }
    let two = Tier { scores: vec![0.1, 0.2], ..Tier::of(&[1, 1]) };
    assert_eq!(firsts(&two, Behaviour::Adaptive, 5), [1; 5], "of two the better one, without any chance");
}

#[test]
fn a_session_stays_where_it_was_and_moves_alone_when_its_member_goes() {
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(3));
    let mut tier = Tier::of(&[1; 4]);
    for behaviour in Behaviour::ALL {
        let mut counts = [0; 4];
        for session in 0..400 {
            let session = format!("session-{session}");
            tier.available = vec![true; 4];
            let home = tier.order(behaviour, Some(&session), &mut turns, &mut chance);
            assert_eq!(tier.order(behaviour, Some(&session), &mut turns, &mut chance), home);
            counts[home[0]] += 1;
            // Any other one goes: the session stays. Its own goes: it moves to the next in its order.
            tier.available[home[2]] = false;
            assert_eq!(tier.order(behaviour, Some(&session), &mut turns, &mut chance)[1], home[0]);
            tier.available[home[2]] = true;
            tier.available[home[0]] = false;
            assert_eq!(tier.order(behaviour, Some(&session), &mut turns, &mut chance)[1], home[1]);
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{behaviour:?}: {counts:?}");
    }
    assert!(turns.owed.is_empty(), "affinity takes no turn");
}

#[test]
fn sessions_go_by_weight_where_weights_count() {
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(3));
    let tier = Tier::of(&[3, 1, 0]);
    let mut counts = [0u32; 3];
    for session in 0..4000 {
        counts[tier.order(Behaviour::Weighted, Some(&format!("s{session}")), &mut turns, &mut chance)[0]] += 1;
    }
    assert!(counts[0].abs_diff(3000) < 120 && counts[2] == 0, "{counts:?}");
}

#[test]
fn nobody_and_one_alone_are_orders_too() {
    let (mut turns, mut chance) = (Turns::default(), fastrand::Rng::with_seed(3));
    for behaviour in Behaviour::ALL {
        assert!(Tier::of(&[]).order(behaviour, None, &mut turns, &mut chance).is_empty());
        assert_eq!(Tier::of(&[0]).order(behaviour, Some("s"), &mut turns, &mut chance), [0]);
    }
    assert!(turns.owed.is_empty(), "with one there is nothing to compute");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Over 10,000 calls every share is within two percentage points of its weight, with reloads in between: members
    /// come and go, and others change their weight.
    #[test]
    fn shares_follow_the_weights_also_after_reloads(
        before in prop::collection::vec(0u32..1_000_000, 1..7),
        after in prop::collection::vec(0u32..100, 2..7),
        every in 1usize..50,
    ) {
        let mut turns = Turns::default();
        let old = Tier::of(&before);
        old.shares(Behaviour::Weighted, &mut turns, 997);
        let new = Tier::of(&after);
        let mut counts = vec![0; after.len()];
        for _ in 0..10_000 / every {
            // A reload to the same providers, again and again.
            turns.keep(|name| new.names.contains(name));
            for (count, more) in counts.iter_mut().zip(new.shares(Behaviour::Weighted, &mut turns, every)) {
                *count += more;
            }
        }
        let all: u32 = after.iter().sum();
        let calls: usize = counts.iter().sum();
        for (count, weight) in counts.iter().zip(&after) {
            let wanted = if all == 0 { 1.0 / after.len() as f64 } else { f64::from(*weight) / f64::from(all) };
            let share = *count as f64 / calls as f64;
            prop_assert!((share - wanted).abs() <= 0.02, "{share} of the calls, {wanted} of the weight: {counts:?}");
        }
    }

    #[test]
    fn an_order_loses_nobody_and_puts_those_that_refuse_in_front(
        members in prop::collection::vec((0u32..4, any::<bool>(), 0.0f64..1.0), 0..9),
        behaviour in prop::sample::select(Behaviour::ALL.to_vec()),
        session in prop::option::of("[a-z]{0,5}"),
        seed in any::<u64>(),
    ) {
        let mut tier = Tier::of(&members.iter().map(|(weight, ..)| *weight).collect::<Vec<_>>());
        tier.available = members.iter().map(|(_, available, _)| *available).collect();
        tier.scores = members.iter().map(|(.., score)| *score).collect();
        let order = tier.order(behaviour, session.as_deref(), &mut Turns::default(), &mut fastrand::Rng::with_seed(seed));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..members.len()).collect::<Vec<_>>());
        let passed_over = order.iter().take_while(|at| !tier.available[**at]).count();
        prop_assert_eq!(passed_over, tier.available.iter().filter(|available| !**available).count());
    }
}
