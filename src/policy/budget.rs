//! May this request be paid for: so much money in a calendar day, so much in a calendar month.
//!
//! Money is reserved before a request is sent and settled once, by what the answer cost. A request is admitted while
//! what was spent, what is reserved and what it asks for together stay within every limit. So a budget is never passed
//! by more than answers cost beyond what was reserved for them: by nothing where the reservation is an upper bound
//! (`strict`), by the error of the estimates in flight where it is one (`soft`). What a reservation is worth is the
//! caller's to say; this is the book.
//!
//! **Days and months are UTC's.** A reservation belongs to the day and the month it was made in and is settled there: an
//! answer that ends after midnight is yesterday's money. Setting the wall clock back frees nothing: the later day goes
//! on until the clock has caught up.
//!
//! A limit of 0 admits only what costs nothing. `warn_at` is passed once per day and month, by money that is spent.

use crate::types::NanoUsd;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The limits of one budget. Default: none.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetParams {
    /// Most money in a UTC calendar day. `None` = no limit.
    pub daily: Option<NanoUsd>,
    /// Most money in a UTC calendar month. `None` = no limit.
    pub monthly: Option<NanoUsd>,
    /// The share of a limit, above 0 and at most 1, that is told once when it is spent.
    pub warn_at: f64,
}

impl Default for BudgetParams {
    fn default() -> Self {
        // Four fifths leave a fifth of the period to do something about it, at an even pace.
        Self { daily: None, monthly: None, warn_at: 0.8 }
    }
}

/// The book of one budget.
///
/// ```
/// use llmpool::policy::{Budget, BudgetParams};
/// use llmpool::types::NanoUsd;
/// let mut budget = Budget::new(BudgetParams { daily: Some(NanoUsd(10)), ..BudgetParams::default() });
/// let reserved = budget.reserve(0, NanoUsd(8)).unwrap();
/// assert!(budget.reserve(0, NanoUsd(8)).is_err());
/// budget.settle(reserved, NanoUsd(1));
/// assert!(budget.reserve(0, NanoUsd(8)).is_ok());
/// ```
#[derive(Debug)]
pub struct Budget {
    warn_at: f64,
    day: Option<Window>,
    month: Option<Window>,
}

/// Money set aside for one request. Give it to [`Budget::settle`] or [`Budget::release`]: dropped, it stays set aside
/// until its day and month are over.
#[must_use]
#[derive(Debug)]
pub struct Reserved {
    amount: NanoUsd,
    /// Where the day and the month begin that it was made in.
    day: u64,
    month: u64,
}

/// A limit would be passed. Where both would be, this is the one that lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    pub period: BudgetPeriod,
    pub limit: NanoUsd,
    /// Spent and reserved.
    pub taken: NanoUsd,
    /// When the period ends, in Unix milliseconds.
    pub resets_at: u64,
}

/// The share that is to be told has been spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetWarning {
    pub period: BudgetPeriod,
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    pub resets_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetPeriod {
    Day,
    Month,
}

/// One period and what was taken of it.
#[derive(Debug)]
struct Window {
    period: BudgetPeriod,
    limit: u64,
    begins: u64,
    ends: u64,
    spent: u64,
    reserved: u64,
    warned: bool,
}

// === impl BudgetParams ===

impl BudgetParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        if self.warn_at > 0.0 && self.warn_at <= 1.0 {
            return Vec::new();
        }
        vec![("warn_at", "must be above 0 and at most 1".to_owned())]
    }
}

// === impl Budget ===

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(params: BudgetParams) -> Self {
        let window = |period, limit: Option<NanoUsd>| limit.map(|NanoUsd(limit)| Window::new(period, limit));
        Self {
            warn_at: params.warn_at,
            day: window(BudgetPeriod::Day, params.daily),
            month: window(BudgetPeriod::Month, params.monthly),
        }
    }

    /// Sets money aside under every limit, or under none.
    pub fn reserve(&mut self, unix_ms: u64, amount: NanoUsd) -> Result<Reserved, OverBudget> {
        // The month first: where both are passed, it lasts longer.
        for window in self.month.iter_mut().chain(&mut self.day) {
            window.turn_to(unix_ms);
            window.check(amount)?;
        }
        for window in self.month.iter_mut().chain(&mut self.day) {
            window.reserved = window.reserved.saturating_add(amount.0);
        }
        let begins = |window: &Option<Window>| window.as_ref().map_or(0, |window| window.begins);
        Ok(Reserved { amount, day: begins(&self.day), month: begins(&self.month) })
    }

    /// What the request cost in the end. The answer says what is to be told of it.
    pub fn settle(&mut self, reserved: Reserved, cost: NanoUsd) -> Option<BudgetWarning> {
        let Reserved { amount, day, month } = reserved;
        let warn_at = self.warn_at;
        let month = self.month.as_mut().and_then(|window| window.settle(month, amount, cost, warn_at));
        let day = self.day.as_mut().and_then(|window| window.settle(day, amount, cost, warn_at));
        month.or(day)
    }

    /// Nothing was sent: the money comes back.
    pub fn release(&mut self, reserved: Reserved) {
        // Nothing that costs nothing can pass a share.
        let _ = self.settle(reserved, NanoUsd(0));
    }
}

// === impl Window ===

impl Window {
    fn new(period: BudgetPeriod, limit: u64) -> Self {
        Self { period, limit, begins: 0, ends: 0, spent: 0, reserved: 0, warned: false }
    }

    fn turn_to(&mut self, unix_ms: u64) {
        if unix_ms >= self.ends {
            let (begins, ends) = self.period.around(unix_ms);
            *self = Self { begins, ends, ..Self::new(self.period, self.limit) };
        }
    }

    fn check(&self, NanoUsd(amount): NanoUsd) -> Result<(), OverBudget> {
        let taken = self.spent.saturating_add(self.reserved);
        if taken.saturating_add(amount) <= self.limit {
            return Ok(());
        }
        let Self { period, limit, ends, .. } = *self;
        Err(OverBudget { period, limit: NanoUsd(limit), taken: NanoUsd(taken), resets_at: ends })
    }

    fn settle(&mut self, begins: u64, amount: NanoUsd, cost: NanoUsd, warn_at: f64) -> Option<BudgetWarning> {
        if begins != self.begins {
            return None;
        }
        self.reserved = self.reserved.saturating_sub(amount.0);
        self.spent = self.spent.saturating_add(cost.0);
        if self.warned || cost == NanoUsd(0) || (self.spent as f64) < self.limit as f64 * warn_at {
            return None;
        }
        self.warned = true;
        let Self { period, limit, spent, ends, .. } = *self;
        Some(BudgetWarning { period, limit: NanoUsd(limit), spent: NanoUsd(spent), resets_at: ends })
    }
}

// === impl BudgetPeriod ===

impl BudgetPeriod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The period that holds the moment: its first millisecond, and the first one after it.
    fn around(self, unix_ms: u64) -> (u64, u64) {
        let day = unix_ms / DAY_MILLIS;
        match self {
            Self::Day => (day * DAY_MILLIS, (day + 1).saturating_mul(DAY_MILLIS)),
            Self::Month => {
                let first = day - (day_of_month(day) - 1);
                // Thirty-one days after a first there is always the next month, in its first days.
                let next = first + 31 - (day_of_month(first + 31) - 1);
                (first * DAY_MILLIS, next.saturating_mul(DAY_MILLIS))
            }
        }
    }
}

/// The day of the month, from 1, of a day since 1970. Years are taken to begin in March, so that the leap day ends them;
/// months then have lengths that a straight line rounds to.
fn day_of_month(day: u64) -> u64 {
    const ERA: u64 = 146_097; // days in 400 years
    let since_march_0000 = day + 719_468;
    let of_era = since_march_0000 % ERA;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-26T12:00:00Z, and the first milliseconds of the day, the month, and what follows.
    const NOON: u64 = 1_795_694_400_000;
    const MIDNIGHT: u64 = 1_795_737_600_000;
    const DECEMBER: u64 = 1_796_083_200_000;

    fn budget(daily: Option<u64>, monthly: Option<u64>) -> Budget {
        Budget::new(BudgetParams {
            daily: daily.map(NanoUsd),
            monthly: monthly.map(NanoUsd),
            ..BudgetParams::default()
        })
    }

    #[test]
    fn a_month_is_the_calendars() {
        let date = |year: i64, month: i64| {
            // The same calendar by counting.
            let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = |year: i64, month: i64| match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
            let months: i64 = (1..month).map(|month| days(year, month)).sum();
            ((years + months) as u64) * DAY_MILLIS
        };
        for year in 1970..2110 {
            for month in 1..=12 {
                let (begins, ends) =
                    (date(year, month), if month == 12 { date(year + 1, 1) } else { date(year, month + 1) });
                for moment in [begins, begins + 15 * DAY_MILLIS, ends - 1] {
                    assert_eq!(BudgetPeriod::Month.around(moment), (begins, ends), "{year}-{month}");
                }
            }
        }
        assert_eq!(BudgetPeriod::Day.around(NOON).1, MIDNIGHT);
        assert_eq!(BudgetPeriod::Month.around(NOON).1, DECEMBER);
    }

    #[test]
    fn what_is_reserved_is_taken_until_it_is_settled() {
        let mut budget = budget(Some(100), None);
        let first = budget.reserve(NOON, NanoUsd(60)).unwrap();
        let over = budget.reserve(NOON, NanoUsd(41)).unwrap_err();
        let expected =
            OverBudget { period: BudgetPeriod::Day, limit: NanoUsd(100), taken: NanoUsd(60), resets_at: MIDNIGHT };
        assert_eq!(over, expected);
        budget.settle(first, NanoUsd(10));
        let second = budget.reserve(NOON, NanoUsd(90)).unwrap();
        budget.release(second);
        assert!(budget.reserve(NOON, NanoUsd(90)).is_ok());
        assert!(budget.reserve(NOON, NanoUsd(1)).is_err());
    }

    #[test]
    fn a_refusal_takes_nothing_of_any_limit_and_names_the_longer_one() {
        let mut budget = budget(Some(10), Some(100));
        assert_eq!(budget.reserve(NOON, NanoUsd(11)).unwrap_err().period, BudgetPeriod::Day);
        assert_eq!(budget.reserve(NOON, NanoUsd(101)).unwrap_err().period, BudgetPeriod::Month);
        assert!(budget.reserve(NOON, NanoUsd(10)).is_ok());
    }

    #[test]
    fn a_day_ends_at_midnight_and_a_month_with_its_last_day() {
        let mut budget = budget(Some(10), Some(15));
        let reserved = budget.reserve(NOON, NanoUsd(10)).unwrap();
        budget.settle(reserved, NanoUsd(10));
        assert!(budget.reserve(MIDNIGHT - 1, NanoUsd(1)).is_err());
        let next = budget.reserve(MIDNIGHT, NanoUsd(5)).unwrap();
        budget.settle(next, NanoUsd(5));
        assert_eq!(budget.reserve(MIDNIGHT, NanoUsd(1)).unwrap_err().resets_at, DECEMBER);
        assert!(budget.reserve(DECEMBER, NanoUsd(10)).is_ok());
    }

    #[test]
    fn an_answer_that_ends_after_midnight_is_yesterdays_money() {
        let mut budget = budget(Some(10), None);
        let late = budget.reserve(MIDNIGHT - 1, NanoUsd(10)).unwrap();
        let today = budget.reserve(MIDNIGHT, NanoUsd(4)).unwrap();
        assert_eq!(budget.settle(late, NanoUsd(10)), None);
        assert!(budget.reserve(MIDNIGHT, NanoUsd(6)).is_ok());
        budget.release(today);
    }

    #[test]
    fn setting_the_clock_back_frees_nothing() {
        let mut budget = budget(Some(10), None);
        let reserved = budget.reserve(MIDNIGHT, NanoUsd(10)).unwrap();
        budget.settle(reserved, NanoUsd(10));
        assert!(budget.reserve(NOON, NanoUsd(1)).is_err());
    }

    #[test]
    fn a_limit_of_zero_admits_what_is_free_and_no_limit_admits_all() {
        assert!(budget(Some(0), None).reserve(NOON, NanoUsd(1)).is_err());
        assert!(budget(Some(0), None).reserve(NOON, NanoUsd(0)).is_ok());
        assert!(budget(None, None).reserve(NOON, NanoUsd(u64::MAX)).is_ok());
    }

    #[test]
    fn the_share_is_told_once_in_each_period() {
        let mut budget = budget(Some(100), None);
        let mut spend = |at: u64, cost: u64| {
            let reserved = budget.reserve(at, NanoUsd(0)).unwrap();
            budget.settle(reserved, NanoUsd(cost)).map(|warning| warning.spent)
        };
        assert_eq!([spend(NOON, 79), spend(NOON, 1), spend(NOON, 5)], [None, Some(NanoUsd(80)), None]);
        assert_eq!(spend(MIDNIGHT, 80), Some(NanoUsd(80)));
    }

    #[test]
    fn a_share_out_of_range_is_refused() {
        for warn_at in [0.0, -1.0, 1.1, f64::NAN] {
            assert_eq!(BudgetParams { warn_at, ..BudgetParams::default() }.check()[0].0, "warn_at");
        }
        assert!(BudgetParams { warn_at: 1.0, ..BudgetParams::default() }.check().is_empty());
    }

    proptest! {
        /// However calls overlap: where no answer costs more than was reserved, the limit is never passed; where answers
        /// do, it is passed by no more than they cost beyond it while they were in flight.
        #[test]
        fn a_budget_is_passed_by_nothing_but_bad_estimates(
            limit in 0u64..5_000,
            calls in proptest::collection::vec((0u64..200, 0u64..400, 0usize..20), 0..400),
            honest in any::<bool>(),
        ) {
            let mut budget = budget(Some(limit), None);
            let mut flying: Vec<(Reserved, u64)> = Vec::new();
            let (mut spent, mut beyond) = (0u64, 0u64);
            for (reserve, cost, settle) in calls {
                let cost = if honest { cost.min(reserve) } else { cost };
                if let Ok(reserved) = budget.reserve(NOON, NanoUsd(reserve)) {
                    flying.push((reserved, cost));
                    beyond += cost.saturating_sub(reserve);
                }
                if settle < flying.len() {
                    let (reserved, cost) = flying.swap_remove(settle);
                    budget.settle(reserved, NanoUsd(cost));
                    spent += cost;
                }
            }
            spent += flying.into_iter().map(|(_, cost)| cost).sum::<u64>();
            prop_assert!(spent <= limit + beyond, "{spent} of {limit} and {beyond}");
            if honest {
                prop_assert!(spent <= limit);
            }
        }
    }
}
