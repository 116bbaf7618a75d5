//! Whose turn it is among the priorities.
//!
//! Turns go round in fifteens: 8 belong to `critical`, 4 to `high`, 2 to `normal`, 1 to `low`, spread evenly. A turn whose
//! priority has nobody waiting goes to the highest that has. So the higher one is always served more, at most one start
//! of another priority stands between a critical job that is first in its line and its own, and nobody starves: of any
//! fifteen starts in a row, each priority with jobs waiting has its share. No clock and no chance is in it.

use super::job::Priority;

/// Turns in a round: one less than a power of two, so that the zeros at the end of a turn's number say whose it is.
const ROUND: u8 = 15;

/// Counts the turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: u8,
}

impl Turns {
    /// Who is served next of those that have somebody waiting. The turn is over when it is [`Turns::pass`]ed.
    pub fn next(&self, waits: impl Fn(Priority) -> bool) -> Option<Priority> {
        let own = match (self.taken + 1).trailing_zeros() {
            0 => Priority::Critical,
            1 => Priority::High,
            2 => Priority::Normal,
            _ => Priority::Low,
        };
        std::iter::once(own).chain(Priority::ALL).find(|priority| waits(*priority))
    }

    /// A job has begun.
    pub fn pass(&mut self) {
        self.taken = (self.taken + 1) % ROUND;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(priority: Priority) -> usize {
        match priority {
            Priority::Critical => 8,
            Priority::High => 4,
            Priority::Normal => 2,
            Priority::Low => 1,
        }
    }

    /// Who is served, so many times, while these wait.
    fn serve(turns: &mut Turns, count: usize, waiting: &[Priority]) -> Vec<Priority> {
        (0..count)
            .map(|_| {
                let next = turns.next(|priority| waiting.contains(&priority)).expect("somebody waits");
                turns.pass();
                next
            })
            .collect()
    }

    #[test]
    fn a_round_is_shared_eight_four_two_one() {
        use Priority::{Critical as C, High as H, Low as L, Normal as N};
        assert_eq!(serve(&mut Turns::default(), 15, &[L, N, H, C]), [C, H, C, N, C, H, C, L, C, H, C, N, C, H, C]);
    }

    #[test]
    fn a_turn_without_its_own_goes_to_the_highest_that_waits() {
        assert_eq!(serve(&mut Turns::default(), 8, &[Priority::Low, Priority::High])[..7], [Priority::High; 7]);
        assert_eq!(serve(&mut Turns::default(), 4, &[Priority::Low]), [Priority::Low; 4]);
        assert_eq!(Turns::default().next(|_| false), None);
    }

    proptest! {
        /// Wherever the round stands and whoever else waits.
        #[test]
        fn of_any_fifteen_starts_each_that_waits_has_its_share(
            taken in 0u8..ROUND, others in prop::collection::vec(any::<[bool; 4]>(), 15), which in 0usize..4,
        ) {
            let mine = Priority::ALL[which];
            let mut turns = Turns { taken };
            let mut served = 0;
            for waits in others {
                let next = turns.next(|priority| priority == mine || waits[priority as usize]);
                turns.pass();
                served += usize::from(next == Some(mine));
            }
            prop_assert!(served >= share(mine), "{mine:?} was served {served} times");
        }

        #[test]
        fn a_critical_job_waits_for_one_other_start_at_most(taken in 0u8..ROUND, waits: [bool; 4]) {
            let mut turns = Turns { taken };
            let next = |turns: &Turns| turns.next(|priority| priority == Priority::Critical || waits[priority as usize]);
            if next(&turns) != Some(Priority::Critical) {
                turns.pass();
                prop_assert_eq!(next(&turns), Some(Priority::Critical));
            }
        }
    }
}
