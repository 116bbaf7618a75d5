//! What a call could do next, and the one place where it waits.
//!
//! A call waits for one of three things: its own backoff, the moment at which a limit or a key is free again, or its turn,
//! when as many attempts as allowed are under way. For the last two it stands in line (`engine::line`), where calls are
//! served by arrival; a call that may wait for several providers stands in the line of each, and of those that are free
//! when its turn comes it asks the one that ranks first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use super::Run;
use super::visit::{Visit, fits};
use crate::engine::Engine;
use crate::engine::line::{Line, Ticket};
use crate::engine::provider::Provider;
use crate::engine::refusal::{Refusal, Wait};
use crate::error::Error;
use crate::event::millis;
use crate::time::{self, Instant, Now};

/// A wait that lasts less was none: timers are no finer.
const SHORT: Duration = Duration::from_millis(1);

/// One thing that could be done next.
#[derive(Clone)]
pub(super) struct Next {
    /// Which visit.
    pub at: usize,
    /// When; the end of the call's patience where only its turn counts.
    pub when: Instant,
    /// It was asked before.
    pub retry: bool,
    /// It may be possible before: somebody leaves.
    pub turn: bool,
    /// The wait is for somebody's capacity, not our own backoff.
    for_capacity: bool,
    /// Where others wait for the same.
    place: Option<Place>,
}

/// A call that stands in line. Dropped, it leaves.
pub(super) struct Standing<'a> {
    engine: &'a Engine,
    ticket: Ticket,
    wake: Arc<Notify>,
    places: Vec<Place>,
}

/// What is waited for.
#[derive(Clone)]
pub(super) enum Place {
    Pool,
    Provider(Arc<Provider>),
}

impl Run<'_> {
    /// What could happen next; the soonest first, then the least tried, then the best ranked.
    pub(super) fn options(&mut self, visits: &[Visit], now: Now) -> Vec<Next> {
        let asked = self.asked_only(visits);
        let routing = self.roster.routing();
        let may_retry = self.retries < self.max_retries;
        let patience = routing.queue_timeout.saturating_sub(self.queued);
        let patient_until = now.mono + patience;
        // First visits come before retries, and with a slot they may all be possible.
        if let Some(at) = self.pool_is_full_for {
            let next = Next {
                at,
                when: patient_until,
                retry: false,
                turn: true,
                for_capacity: true,
                place: Some(Place::Pool),
            };
            return if patience.is_zero() { Vec::new() } else { vec![next] };
        }
        // Drawn once per wait: drawn at every wake-up, it would move on and on.
        let unhinted = |visit: &Visit| visit.again.as_ref().is_some_and(|again| again.ready.is_none());
        if may_retry && self.backoff_until.is_none() && visits.iter().any(unhinted) {
            self.backoff_until = Some(now.mono + routing.backoff.delay(self.retries, self.engine.random()));
        }
        let backoff_until = self.backoff_until.unwrap_or(now.mono);
        let mut options: Vec<Next> = visits
            .iter()
            .enumerate()
            .filter(|(at, visit)| asked.is_none_or(|asked| asked == *at) && fits(self.window_above, visit))
            .flat_map(|(at, visit)| {
                // Tried before: asked again after the backoff, or after the hint.
                let again = visit.again.as_ref().filter(|_| may_retry).map(|again| Next {
                    at,
                    when: again.ready.unwrap_or(backoff_until),
                    retry: true,
                    turn: false,
                    for_capacity: again.ready.is_some(),
                    place: None,
                });
                let kept_back = visit.refusal.as_ref().and_then(|refusal| {
                    // Before it was asked: as soon as it is free. After it was asked, with whichever of its keys: a
                    // repetition, too.
                    let retry = visit.attempts > 0;
                    if retry && !may_retry || !retry && visit.visited {
                        return None;
                    }
                    let (when, turn) = match refusal.worth_waiting()? {
                        Wait::Until(when) => (when, false),
                        Wait::Turn => (patient_until, true),
                    };
                    // A key that only this call may not use any more must not keep those behind it waiting.
                    let in_line = refusal.is_common() || visit.tried.is_empty();
                    let place = in_line.then(|| place(visit, refusal));
                    Some(Next { at, when, retry, turn, for_capacity: true, place })
                });
                [again, kept_back].into_iter().flatten()
            })
            .filter(|next| {
                let too_long = next.for_capacity && (next.when > patient_until || patience.is_zero());
                let in_vain = next.retry && visits[next.at].provider.refuses_at(next.when);
                let too_late = next.when >= self.deadline && !next.turn;
                !too_long && !in_vain && !too_late
            })
            .collect();
        options.sort_by_key(|next| (next.when, visits[next.at].attempts, next.at));
        options
    }

    /// Is there room for one more that waits?
    pub(super) fn may_queue(&self) -> bool {
        self.engine.waiting.load(Ordering::Relaxed) < self.roster.routing().max_queue
    }

    /// The one place where a call waits: until the first of the options is due, or until it is woken because of one of
    /// them.
    pub(super) async fn wait(&mut self, options: &[Next], visits: &[Visit]) -> Result<(), Error> {
        let Some(first) = options.first() else { return Ok(()) };
        let began = time::now();
        let places: Vec<Place> = options.iter().filter_map(|next| next.place.clone()).collect();
        let for_capacity = first.for_capacity || !places.is_empty();
        if for_capacity
            && self.standing.is_none()
            && let Some(ticket) = self.ticket
        {
            self.standing = Standing::new(self.engine, ticket, self.roster.routing().max_queue);
            if self.standing.is_none() && first.for_capacity {
                return Err(self.exhausted(visits, began));
            }
        }
        // What became free before it stood there woke nobody: it asks once more.
        if self.standing.as_mut().is_some_and(|standing| standing.stand(places)) {
            return Ok(());
        }
        let when = first.when.min(self.deadline);
        self.log.debug(|| match first.turn {
            true => format!("waiting for its turn, {:.0} ms at most", millis(when.duration_since(began.mono))),
            false => format!("waiting {:.0} ms", millis(when.saturating_duration_since(began.mono))),
        });
        match &self.standing {
            // Woken or not, what is possible now is seen by asking.
            Some(standing) => {
                let _ = time::until(Some(when), standing.wake.notified()).await;
            }
            None => time::sleep_until(when).await,
        }
        let waited = time::now().mono.duration_since(began.mono);
        if waited < SHORT {
            // A call that is woken again and again would keep the thread from those it waits for, and from hearing that its
            // caller gave up.
            tokio::task::yield_now().await;
        }
        self.waited += waited;
        self.not_ours += waited;
        if for_capacity {
            self.queued += waited;
        }
        Ok(())
    }
}

fn place(visit: &Visit, refusal: &Refusal) -> Place {
    match refusal {
        Refusal::PoolBusy { .. } => Place::Pool,
        _ => Place::Provider(Arc::clone(&visit.provider)),
    }
}

// === impl Standing ===

impl<'a> Standing<'a> {
    /// `None`: so many calls wait already.
    fn new(engine: &'a Engine, ticket: Ticket, max_queue: usize) -> Option<Self> {
        let standing = Self { engine, ticket, wake: Arc::default(), places: Vec::new() };
        // Counted before it is looked at, and taken back by dropping.
        let waiting = engine.waiting.fetch_add(1, Ordering::Relaxed);
        (waiting < max_queue).then_some(standing)
    }

    /// Stands in these lines and in no others: who stands in a line without wanting what it is for holds up the rest.
    /// True: one of them is new.
    fn stand(&mut self, wanted: Vec<Place>) -> bool {
        for place in &self.places {
            if !wanted.iter().any(|other| std::ptr::eq(other.line(self.engine), place.line(self.engine))) {
                place.line(self.engine).leave(self.ticket);
            }
        }
        self.places = wanted;
        let mut new = false;
        for place in &self.places {
            new |= place.line(self.engine).join(self.ticket, &self.wake);
        }
        new
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        for place in &self.places {
            place.line(self.engine).leave(self.ticket);
        }
        self.engine.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Place ===

impl Place {
    fn line<'l>(&'l self, engine: &'l Engine) -> &'l Line {
        match self {
            Self::Pool => &engine.gate.line,
            Self::Provider(provider) => &provider.line,
        }
    }
}
