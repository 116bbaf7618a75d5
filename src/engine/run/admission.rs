//! Who of the eligible is asked next: in ranked order, whoever has room for the call now.

use std::time::Duration;

use super::order::order_first_tier;
use super::visit::{Visit, fits};
use super::wait::Next;
use super::{Admitted, Run, unix_ms_of};
use crate::engine::gate::Slot;
use crate::engine::lock;
use crate::engine::provider::Asking;
use crate::engine::purse::Extent;
use crate::engine::refusal::Refusal;
use crate::event::{Event, EventKind};
use crate::policy::Tokens;
use crate::time::Now;
use crate::types::AttemptRecord;

impl Run<'_> {
    /// The next first visit that can go out now. Providers that say they have nothing left come after all the others.
    pub(super) fn next_visit(&mut self, visits: &mut [Visit], now: Now) -> Option<(usize, Admitted)> {
        let mut slot = None;
        self.pool_is_full_for = None;
        let found = self.visit_in_order(visits, now, &mut slot, true);
        if found.is_some() || self.pool_is_full_for.is_some() {
            return found;
        }
        self.visit_in_order(visits, now, &mut slot, false)
    }

    /// The first of the visits in order that can go out now, with the `slot` or with one that is taken for it: of all
    /// those that do not have to be spared, or else of those that were.
    pub(super) fn visit_in_order(
        &mut self,
        visits: &mut [Visit],
        now: Now,
        slot: &mut Option<Slot>,
        sparing: bool,
    ) -> Option<(usize, Admitted)> {
        let asked = self.asked_only(visits);
        let above = self.window_above;
        let is_left = |at: usize, visit: &Visit| {
            let wanted = asked.is_none_or(|asked| asked == at) && !visit.visited;
            wanted && (sparing || visit.spared) && fits(above, visit)
        };
        // Before the tiers are put in order, so that what has changed in a wait for it counts.
        if slot.is_none() {
            let left: Vec<usize> = (0..visits.len()).filter(|at| is_left(*at, &visits[*at])).collect();
            *slot = Some(self.slot_for(visits, &left, now)?);
        }
        for at in 0..visits.len() {
            if asked.is_some_and(|asked| asked != at) {
                continue;
            }
            if at == self.ordered {
                self.ordered += order_first_tier(&mut visits[at..], self.wish, now, &self.engine.chance);
            }
            let visit = &mut visits[at];
            if !is_left(at, visit) {
                continue;
            }
            visit.spared = false;
            match visit.provider.admit(now, &Asking { sparing, ..self.wants(visit, &visit.tried) }) {
                Ok((mut permit, moved)) => {
                    permit.occupy(slot.take());
                    visit.refusal = None;
                    lock(&self.engine.budget).first_visit(now.mono);
                    return Some((at, (permit, moved)));
                }
                Err(refusal) => self.pass_over(visit, refusal, now),
            }
        }
        None
    }

    /// A slot of the pool for a first visit to one of those `left`. Without one nobody can be asked, and what they said
    /// before is out of date.
    fn slot_for(&mut self, visits: &mut [Visit], left: &[usize], now: Now) -> Option<Slot> {
        if left.is_empty() {
            return None;
        }
        let refusal = match self.slot() {
            Ok(slot) => return Some(slot),
            Err(refusal) => refusal,
        };
        visits.iter_mut().filter(|visit| !visit.visited).for_each(|visit| visit.refusal = None);
        self.pool_is_full_for = left.iter().copied().find(|at| self.is_worth_a_slot(&visits[*at], now));
        match self.pool_is_full_for {
            Some(at) => self.note_refusal(&mut visits[at], refusal, now),
            None => {
                for at in left {
                    let visit = &mut visits[*at];
                    if let Some(refusal) = visit.provider.refuses(now, &self.wants(visit, &visit.tried)) {
                        self.pass_over(visit, refusal, now);
                    }
                }
            }
        }
        None
    }

    /// With a slot it could be asked, now or after a wait. What is not waited for elsewhere is not waited for here: a call
    /// that comes to an open breaker fails at once, however full the pool is.
    pub(super) fn is_worth_a_slot(&self, visit: &Visit, now: Now) -> bool {
        let refusal = visit.provider.refuses(now, &self.wants(visit, &visit.tried));
        refusal.is_none_or(|refusal| refusal.worth_waiting().is_some())
    }

    fn pass_over(&mut self, visit: &mut Visit, refusal: Refusal, now: Now) {
        match refusal {
            Refusal::KeysTried => visit.visited = true,
            Refusal::Spent => visit.spared = true,
            refusal => self.note_refusal(visit, refusal, now),
        }
    }

    /// The first of the retries a wait was for that can go out now. All that are due are asked, not only the soonest:
    /// what one of them was refused before may be there now, and a call that stood in line for a thing that it never
    /// takes would be woken for it without end.
    pub(super) fn next_retry(
        &mut self,
        visits: &mut [Visit],
        waited_for: &[Next],
        now: Now,
    ) -> Option<(usize, Admitted)> {
        for next in waited_for.iter().filter(|next| next.retry && (next.turn || now.mono >= next.when)) {
            let visit = &mut visits[next.at];
            if !self.pay_for_retry(visit, now) {
                return None;
            }
            visit.tried.clear();
            visit.again = None;
            match self.admit(visit, &[], now) {
                Ok(admitted) => {
                    visit.refusal = None;
                    self.paid = false;
                    self.retries += 1;
                    lock(&self.engine.tally).retried(now.unix_ms);
                    return Some((next.at, admitted));
                }
                Err(refusal) => self.note_refusal(visit, refusal, now),
            }
        }
        None
    }

    /// One provider, past the keys in `tried`.
    pub(super) fn admit(&self, visit: &Visit, tried: &[u32], now: Now) -> Result<Admitted, Refusal> {
        let slot = self.slot()?;
        let (mut permit, moved) = visit.provider.admit(now, &self.wants(visit, tried))?;
        permit.occupy(Some(slot));
        Ok((permit, moved))
    }

    /// A slot of the pool: as many as the configuration in force allows, also for calls that began under another.
    pub(super) fn slot(&self) -> Result<Slot, Refusal> {
        let most = self.engine.roster().routing().max_concurrent;
        let slot = self.engine.gate.enter(most, self.ticket);
        slot.ok_or_else(|| Refusal::PoolBusy { limit: most.unwrap_or(u32::MAX) })
    }

    pub(super) fn wants<'v>(&'v self, visit: &'v Visit, tried: &'v [u32]) -> Asking<'v> {
        let extent = self.size.as_ref().map_or(Extent::UNASKED, |size| size.at(visit));
        let tokens = self.size.as_ref().map_or_else(Tokens::default, |size| size.tokens(&extent));
        let (ticket, purse, tenant) = (self.ticket, self.purse.clone(), self.tenant);
        Asking { model: &visit.model, tried, tokens, ticket, sparing: false, purse, tenant, extent }
    }

    /// Without failover a call stays with the provider it asked first, and between two batches with the one that gave
    /// the last.
    pub(super) fn asked_only(&self, visits: &[Visit]) -> Option<usize> {
        let first = || visits.iter().position(|visit| visit.attempts > 0);
        self.stay.or_else(|| if self.failover { None } else { first() })
    }

    /// Puts a refusal on the trail, once per provider and kind until that provider is asked: a call that waits meets the
    /// same ones many times.
    pub(super) fn note_refusal(&mut self, visit: &mut Visit, refusal: Refusal, now: Now) {
        let (name, outcome) = (visit.provider.name(), refusal.outcome());
        let of_it = self.trail.iter().rev().filter(|line| line.provider == *name);
        if !of_it.take_while(|line| line.outcome.sent_nothing()).any(|line| line.outcome == outcome) {
            self.trail.push(AttemptRecord {
                provider: visit.provider.name().clone(),
                model: visit.model.clone(),
                key_index: None,
                outcome,
                error_class: None,
                status: None,
                latency: Duration::ZERO,
                waited: std::mem::take(&mut self.waited),
            });
            self.log.debug(|| format!("{}: skipped: {}", visit.provider.name(), refusal.describe(now.mono)));
            if let Refusal::Limit { kind, not_before } = &refusal {
                let reset_at = not_before.map(|at| unix_ms_of(at, now));
                self.log.emit(EventKind::RateLimited, || Event::RateLimited {
                    provider: visit.provider.name().clone(),
                    kind: kind.as_str(),
                    reset_at,
                });
            }
        }
        visit.refusal = Some(refusal);
    }
}
