//! Calls that wait for the same thing, first come, first served.
//!
//! Every provider has such a line, and so has the pool. A call that is waiting for several of them stands in several
//! lines and leaves all of them once it is served.
//!
//! **Nobody overtakes.** Whoever asks while others wait in front is refused and may wait behind them, so a call that has
//! just come does not take the place that another one has waited for.
//!
//! **Nobody is run over.** What becomes free wakes the first in line and nobody else. If there is more, the first one's
//! leaving wakes the second, and so on until one of them finds nothing and stays.
//!
//! **No wake-up is lost.** A call takes its place and then asks once more before it sleeps, so what becomes free in
//! between is found; a wake-up that comes before the sleep is kept by [`Notify`]; and a first one that leaves, served or
//! not, hands the wake-up on, so it does not matter whether it was still there to hear it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;

/// Since when a call waits: lower is earlier. It keeps its ticket for as long as it lives, so that whoever has to wait
/// again does not begin at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Gives out tickets.
#[derive(Debug, Default)]
pub(super) struct Tickets(std::sync::atomic::AtomicU64);

#[derive(Debug, Default)]
pub(super) struct Line {
    /// How many wait. Read without the lock: mostly nobody does, and then the line costs one load.
    length: AtomicUsize,
    /// By ticket, which is by arrival but for those that come again.
    places: Mutex<VecDeque<(Ticket, Arc<Notify>)>>,
}

// === impl Tickets ===

impl Tickets {
    pub fn draw(&self) -> Ticket {
        Ticket(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl Line ===

impl Line {
    /// How many are served before the holder of this ticket; without one, everybody is.
    pub fn ahead(&self, ticket: Option<Ticket>) -> u64 {
        // As strong as it gets, together with `Gate`: either who joins sees the slot that becomes free, or who frees it
        // sees the joiner.
        if self.length.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let places = lock(&self.places);
        let ahead = match ticket {
            Some(ticket) => places.partition_point(|(other, _)| *other < ticket),
            None => places.len(),
        };
        ahead as u64
    }

    /// Takes the ticket's place; `false`: it had it already.
    pub fn join(&self, ticket: Ticket, wake: &Arc<Notify>) -> bool {
        let mut places = lock(&self.places);
        match places.binary_search_by_key(&ticket, |(other, _)| *other) {
            Ok(_) => false,
            Err(at) => {
                places.insert(at, (ticket, Arc::clone(wake)));
                self.length.store(places.len(), Ordering::SeqCst);
                true
            }
        }
    }

    /// Gives the ticket's place up. Who was first hands on to the second what it may have been woken for.
    pub fn leave(&self, ticket: Ticket) {
        let mut places = lock(&self.places);
        let Ok(at) = places.binary_search_by_key(&ticket, |(other, _)| *other) else { return };
        places.remove(at);
        self.length.store(places.len(), Ordering::SeqCst);
        if at == 0
            && let Some((_, next)) = places.front()
        {
            next.notify_one();
        }
    }

    /// Something became free: the first in line may ask again.
    pub fn wake(&self) {
        if self.length.load(Ordering::SeqCst) > 0
            && let Some((_, first)) = lock(&self.places).front()
        {
            first.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn waiter() -> Arc<Notify> {
        Arc::default()
    }

    fn is_woken(waiter: &Notify) -> bool {
        waiter.notified().now_or_never().is_some()
    }

    #[test]
    fn a_line_is_by_arrival_whoever_comes_again() {
        let (line, tickets) = (Line::default(), Tickets::default());
        let [first, second, third] = [tickets.draw(), tickets.draw(), tickets.draw()];
        assert_eq!((line.ahead(None), line.ahead(Some(first))), (0, 0));
        assert!(line.join(third, &waiter()) && line.join(first, &waiter()));
        assert!(!line.join(first, &waiter()), "it has its place");
        assert_eq!(line.ahead(None), 2);
        assert_eq!([first, second, third].map(|ticket| line.ahead(Some(ticket))), [0, 1, 1]);
    }

    #[test]
    fn only_the_first_is_woken() {
        let (line, tickets) = (Line::default(), Tickets::default());
        let waiters = [waiter(), waiter()];
        for waiter in &waiters {
            line.join(tickets.draw(), waiter);
        }
        line.wake();
        line.wake();
        assert_eq!(waiters.each_ref().map(|waiter| is_woken(waiter)), [true, false]);
        assert!(!is_woken(&waiters[0]), "many wake-ups before it runs are one");
    }

    #[test]
    fn who_was_first_and_leaves_hands_its_wake_up_on() {
        let (line, tickets) = (Line::default(), Tickets::default());
        let (places, waiters) = ([tickets.draw(), tickets.draw(), tickets.draw()], [waiter(), waiter(), waiter()]);
        for (place, waiter) in places.into_iter().zip(&waiters) {
            line.join(place, waiter);
        }
        line.leave(places[1]);
        assert!(!waiters.iter().any(|waiter| is_woken(waiter)), "it was not its turn");
        line.wake();
        line.leave(places[0]); // cancelled before it could run
        assert_eq!([is_woken(&waiters[2]), is_woken(&waiters[1])], [true, false]);
        line.leave(places[2]);
        line.leave(places[2]);
        assert_eq!(line.ahead(None), 0);
        line.wake();
    }
}
