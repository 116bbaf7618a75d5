//! How many attempts and open streams the whole pool may have at once: `routing.max_concurrent`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::line::{Line, Ticket};

/// Counts the slots in use. Outlives the roster: the attempts of an older one count, too.
#[derive(Debug, Default)]
pub(super) struct Gate {
    taken: AtomicU32,
    pub line: Line,
}

/// One slot; dropping it frees it and wakes the first who waits for one.
#[must_use = "dropped at once, it would hold nobody back"]
#[derive(Debug)]
pub(super) struct Slot(Arc<Gate>);

impl Gate {
    /// A slot out of `most`, unless all are taken or others wait in front.
    pub fn enter(self: &Arc<Self>, most: Option<u32>, ticket: Option<Ticket>) -> Option<Slot> {
        if self.line.ahead(ticket) > 0 {
            return None;
        }
        let most = most.unwrap_or(u32::MAX);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| (taken < most).then_some(taken + 1))
            .ok()
            .map(|_| Slot(Arc::clone(self)))
    }

    /// Would a newcomer get one?
    pub fn has_room(&self, most: Option<u32>) -> bool {
        self.line.ahead(None) == 0 && most.is_none_or(|most| self.taken() < most)
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        self.0.line.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_dropped_is_free_again() {
        let gate = Arc::<Gate>::default();
        let first = gate.enter(Some(2), None).expect("free");
        let second = gate.enter(Some(2), None).expect("free");
        assert!(gate.enter(Some(2), None).is_none() && !gate.has_room(Some(2)));
        assert!(gate.has_room(Some(3)) && gate.has_room(None));
        assert!(gate.enter(Some(3), None).is_some(), "a reload may open more");
        assert!(gate.enter(None, None).is_some(), "no limit counts, too");
        drop(first);
        assert_eq!(gate.taken(), 1);
        assert!(gate.enter(Some(2), None).is_some());
        drop(second);
        assert_eq!(gate.taken(), 0);
    }

    #[test]
    fn a_free_slot_is_for_the_first_in_line() {
        let (gate, tickets) = (Arc::<Gate>::default(), super::super::line::Tickets::default());
        let (first, second) = (tickets.draw(), tickets.draw());
        gate.line.join(first, &Arc::default());
        gate.line.join(second, &Arc::default());
        assert!(gate.enter(Some(1), None).is_none() && !gate.has_room(Some(1)), "a newcomer");
        assert!(gate.enter(Some(1), Some(second)).is_none());
        assert!(gate.enter(Some(1), Some(first)).is_some());
    }
}
