//! One period and what was taken of it.

use serde::{Deserialize, Serialize};

use super::super::calendar::{DayZone, Period, Span, Turn};
use crate::types::NanoUsd;

#[derive(Debug, Clone)]
pub(super) struct Window {
    period: Period,
    limit: Option<NanoUsd>,
    span: Span,
    /// Which period this is. A reservation of another one is not in the sums below.
    number: u64,
    spent: NanoUsd,
    reserved: NanoUsd,
    warned: bool,
    /// The smallest request that was refused in this period.
    least_refused: Option<NanoUsd>,
}

/// A limit would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    pub period: Period,
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    /// For requests under way.
    pub reserved: NanoUsd,
    /// What this request asked for.
    pub asked: NanoUsd,
    /// When the period ends, in Unix milliseconds; `None`: this request alone asks for more than the limit, or only requests
    /// under way are in the way.
    pub resets_at: Option<u64>,
}

/// The share that is to be told has been spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetWarning {
    pub period: Period,
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    /// In Unix milliseconds.
    pub resets_at: u64,
}

/// A period for looking at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetWindow {
    pub period: Period,
    /// `None`: there is none, and it is only counted.
    pub limit: Option<NanoUsd>,
    pub spent: NanoUsd,
    pub reserved: NanoUsd,
    /// When it ends, in Unix milliseconds.
    pub resets_at: u64,
}

/// What was spent in a period, in Unix milliseconds and nanodollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedSpending {
    pub ends: u64,
    pub spent: u64,
    /// It was told that the share is spent.
    pub warned: bool,
}

// === impl Window ===

impl Window {
    pub fn new(period: Period, limit: Option<NanoUsd>) -> Self {
        let nothing = NanoUsd(0);
        Self {
            period,
            limit,
            span: Span::default(),
            number: 0,
            spent: nothing,
            reserved: nothing,
            warned: false,
            least_refused: None,
        }
    }

    pub fn limit_to(&mut self, limit: Option<NanoUsd>, share: Option<f64>) {
        self.limit = limit;
        self.least_refused = None;
        // Told of another limit, it is news again.
        self.warned &= self.reaches(share);
    }

    pub fn turn_to(&mut self, zone: &DayZone, unix_ms: u64) {
        match self.span.turn(zone, self.period, unix_ms) {
            Turn::GoesOn(span) => self.span = span,
            Turn::Over(span) => *self = Self { span, number: self.number + 1, ..Self::new(self.period, self.limit) },
        }
    }

    /// As it would be at that time.
    pub fn at(&self, zone: &DayZone, unix_ms: u64) -> Self {
        let mut then = self.clone();
        then.turn_to(zone, unix_ms);
        then
    }

    pub fn check(&self, amount: NanoUsd) -> Result<(), OverBudget> {
        let Self { period, span, spent, reserved, .. } = *self;
        let Some(limit) = self.limit.filter(|limit| self.taken().saturating_add(amount) > *limit) else {
            return Ok(());
        };
        let over = OverBudget { period, limit, spent, reserved, asked: amount, resets_at: None };
        // Another period makes room for it only where money of this one is in the way.
        let waits_for_the_end = amount <= limit && !over.is_held();
        Err(OverBudget { resets_at: waits_for_the_end.then_some(span.ends), ..over })
    }

    pub fn note_refused(&mut self, amount: NanoUsd) {
        self.least_refused = Some(self.least_refused.map_or(amount, |least| least.min(amount)));
    }

    /// The number of the period that it is taken of.
    pub fn take(&mut self, amount: NanoUsd) -> u64 {
        self.reserved = self.reserved.saturating_add(amount);
        self.number
    }

    pub fn settle(&mut self, number: u64, amount: NanoUsd, cost: NanoUsd, share: Option<f64>) -> Option<BudgetWarning> {
        if number != self.number {
            return None;
        }
        self.reserved = NanoUsd(self.reserved.0.saturating_sub(amount.0));
        self.spent = self.spent.saturating_add(cost);
        if self.warned || cost == NanoUsd(0) || !self.reaches(share) {
            return None;
        }
        self.warned = true;
        let Self { period, spent, span, .. } = *self;
        Some(BudgetWarning { period, limit: self.limit?, spent, resets_at: span.ends })
    }

    /// Is the share spent that is to be told?
    fn reaches(&self, share: Option<f64>) -> bool {
        let share = self.limit.zip(share);
        share.is_some_and(|(NanoUsd(limit), share)| self.spent.0 as f64 >= limit as f64 * share)
    }

    fn taken(&self) -> NanoUsd {
        self.spent.saturating_add(self.reserved)
    }

    /// Whether the smallest request that it refused would be refused again, or whatever costs anything, once nothing is
    /// under way any more: what is reserved comes back before the period ends.
    pub fn is_spent(&self) -> bool {
        self.limit.is_some_and(|limit| {
            // What is more than the limit by itself is refused at any time.
            let least = self.least_refused.filter(|least| *least <= limit).unwrap_or(NanoUsd(0)).max(NanoUsd(1));
            self.spent.saturating_add(least) > limit
        })
    }

    pub fn show(&self) -> BudgetWindow {
        let Self { period, limit, spent, reserved, span, .. } = *self;
        BudgetWindow { period, limit, spent, reserved, resets_at: span.ends }
    }

    pub fn saved(&self) -> SavedSpending {
        SavedSpending { ends: self.span.ends, spent: self.spent.0, warned: self.warned }
    }

    pub fn restore(&mut self, saved: &SavedSpending, unix_ms: u64) {
        let SavedSpending { ends, spent, warned } = *saved;
        if ends > unix_ms {
            self.spent = self.spent.saturating_add(NanoUsd(spent));
            self.warned |= warned;
        }
    }
}

// === impl OverBudget ===

impl OverBudget {
    /// Waiting for the other one would be in vain.
    pub fn lasts_longer(&self, other: &Self) -> bool {
        self.lasts() > other.lasts()
    }

    /// Nothing but requests under way is in the way: there is room when they end.
    pub fn is_held(&self) -> bool {
        self.spent.saturating_add(self.asked) <= self.limit
    }

    /// For comparing: until requests under way end, until the period does, for ever.
    pub fn lasts(&self) -> (bool, Option<u64>) {
        (self.resets_at.is_none() && !self.is_held(), self.resets_at)
    }
}
