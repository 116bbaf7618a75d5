//! May this request be paid for: so much money in a calendar day, so much in a calendar month.
//!
//! Money is reserved before a request is sent and settled once, by what the answer cost. A request is admitted while
//! what was spent, what is reserved and what it asks for together stay within every limit. So a budget is never passed
//! by more than answers cost beyond what was reserved for them: by nothing where the reservation is an upper bound
//! ([`BudgetMode::Strict`]), by the error of the estimates in flight where it is one ([`BudgetMode::Soft`]). What a
//! reservation is worth is the caller's to say; this is the book.
//!
//! A reservation belongs to the day and the month it was made in: an answer that ends after midnight is yesterday's
//! money. What the clock does to days and months is in [`calendar`](super::calendar). Both are always counted, so that a
//! limit that is set or changed later finds what was spent before.
//!
//! A limit of 0 admits only what costs nothing. The share that is to be warned of is told once per day and month, by
//! money that is spent.

mod sizes;
mod window;

pub use sizes::AnswerSizes;
pub use window::{BudgetWarning, BudgetWindow, OverBudget, SavedSpending};

use serde::{Deserialize, Serialize};

use self::window::Window;
use super::calendar::{DayZone, Period};
use crate::types::NanoUsd;

/// The limits of one budget. Default: none.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetParams {
    /// Most money in a calendar day. `None` = no limit, 0 = only what costs nothing.
    pub daily: Option<NanoUsd>,
    /// Most money in a calendar month. `None` = no limit, 0 = only what costs nothing.
    pub monthly: Option<NanoUsd>,
    pub mode: BudgetMode,
    /// A request whose price is unknown passes, and is not counted; else it is refused.
    pub allow_unpriced: bool,
    /// The share of a limit, 0 to 1, that is told once when it is spent; 0 = with the first money, `None` = never.
    pub warn_at: Option<f64>,
    /// Where days and months begin at midnight.
    pub zone: DayZone,
}

/// What is reserved for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BudgetMode {
    /// What it is likely to cost.
    #[default]
    Soft,
    /// The most it can cost; what has no bound is refused.
    Strict,
}

/// The book of one budget.
///
/// ```
/// use llmpool::policy::{Budget, BudgetParams};
/// use llmpool::types::NanoUsd;
/// let mut budget = Budget::new(BudgetParams { daily: Some(NanoUsd(10)), ..BudgetParams::default() });
/// budget.check(0, NanoUsd(8)).unwrap();
/// let reserved = budget.take(NanoUsd(8));
/// assert!(budget.check(0, NanoUsd(8)).is_err());
/// budget.settle(reserved, NanoUsd(1), 0);
/// assert!(budget.check(0, NanoUsd(8)).is_ok());
/// ```
#[derive(Debug)]
pub struct Budget {
    params: BudgetParams,
    day: Window,
    month: Window,
}

/// Money set aside for one request. Give it to [`Budget::settle`]: dropped, it stays set aside until its day and month are
/// over.
#[must_use]
#[derive(Debug)]
pub struct Reserved {
    amount: NanoUsd,
    /// Which day and month it was made in, as the windows number them.
    day: u64,
    month: u64,
}

/// What was spent, for the next process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedBudget {
    pub daily: SavedSpending,
    pub monthly: SavedSpending,
}

// === impl BudgetParams ===

impl Default for BudgetParams {
    fn default() -> Self {
        Self {
            daily: None,
            monthly: None,
            mode: BudgetMode::default(),
            allow_unpriced: false,
            // Four fifths leave a fifth of the period to do something about it, at an even pace.
            warn_at: Some(0.8),
            zone: DayZone::default(),
        }
    }
}

impl BudgetParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        if self.warn_at.is_none_or(|share| (0.0..=1.0).contains(&share)) {
            return Vec::new();
        }
        vec![("warn_at", "must be a number from 0 to 1".to_owned())]
    }
}

// === impl BudgetMode ===

impl BudgetMode {
    pub const ALL: [Self; 2] = [Self::Soft, Self::Strict];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Strict => "strict",
        }
    }
}

// === impl Reserved ===

impl Reserved {
    pub fn amount(&self) -> NanoUsd {
        self.amount
    }
}

// === impl Budget ===

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(params: BudgetParams) -> Self {
        let day = Window::new(Period::Day, params.daily);
        let month = Window::new(Period::Month, params.monthly);
        Self { params, day, month }
    }

    pub fn params(&self) -> &BudgetParams {
        &self.params
    }

    /// Other limits; what was spent stays spent. Another time zone holds from the next day and month on.
    pub fn renew(&mut self, params: BudgetParams) {
        if params != self.params {
            self.day.limit_to(params.daily, params.warn_at);
            self.month.limit_to(params.monthly, params.warn_at);
            self.params = params;
        }
    }

    /// Would this fit into every limit? Takes nothing and notes nothing. Of two that refuse, the answer names the one that
    /// lasts longer.
    pub fn check(&mut self, unix_ms: u64, amount: NanoUsd) -> Result<(), OverBudget> {
        self.turn_to(unix_ms);
        match (self.month.check(amount), self.day.check(amount)) {
            (Err(month), Err(day)) => Err(if day.lasts_longer(&month) { day } else { month }),
            (month, day) => month.and(day),
        }
    }

    /// Somebody was refused: [`Budget::spent_until`] knows from now on what does not fit.
    pub fn note_refused(&mut self, over: &OverBudget) {
        match over.period {
            Period::Day => self.day.note_refused(over.asked),
            Period::Month => self.month.note_refused(over.asked),
        }
    }

    /// Sets aside what was just found to fit. In between, nothing else may have been taken.
    pub fn take(&mut self, amount: NanoUsd) -> Reserved {
        Reserved { amount, day: self.day.take(amount), month: self.month.take(amount) }
    }

    /// What the request cost in the end; 0 when nothing was sent. The answer says what is to be told of it.
    pub fn settle(&mut self, reserved: Reserved, cost: NanoUsd, unix_ms: u64) -> [Option<BudgetWarning>; 2] {
        self.turn_to(unix_ms);
        let Reserved { amount, day, month } = reserved;
        let share = self.params.warn_at;
        [self.day.settle(day, amount, cost, share), self.month.settle(month, amount, cost, share)]
    }

    /// The day and the month as they are now.
    pub fn windows(&self, unix_ms: u64) -> [BudgetWindow; 2] {
        let zone = &self.params.zone;
        [self.day.at(zone, unix_ms).show(), self.month.at(zone, unix_ms).show()]
    }

    /// The end, in Unix milliseconds, of the last period in which not even the smallest request that it refused would
    /// fit, or nothing that costs anything; `None`: there is room.
    pub fn spent_until(&self, unix_ms: u64) -> Option<u64> {
        let zone = &self.params.zone;
        let windows = [self.day.at(zone, unix_ms), self.month.at(zone, unix_ms)];
        windows.into_iter().filter(Window::is_spent).map(|window| window.show().resets_at).max()
    }

    /// What was spent, to be put away.
    pub fn saved(&self) -> SavedBudget {
        SavedBudget { daily: self.day.saved(), monthly: self.month.saved() }
    }

    /// Adds what an earlier process spent in a day and month that are not over.
    pub fn restore(&mut self, saved: &SavedBudget, unix_ms: u64) {
        self.turn_to(unix_ms);
        self.day.restore(&saved.daily, unix_ms);
        self.month.restore(&saved.monthly, unix_ms);
    }

    fn turn_to(&mut self, unix_ms: u64) {
        for window in [&mut self.day, &mut self.month] {
            window.turn_to(&self.params.zone, unix_ms);
        }
    }
}

#[cfg(test)]
mod tests;
