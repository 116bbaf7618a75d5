//! Prices over time: a model may get cheaper on a date, or be cheaper in some hours of each day.

use super::prices::Prices;
use crate::types::NanoUsd;

const DAY_MINUTES: u64 = 24 * 60;
const MINUTE_MILLIS: u64 = 60_000;

/// What a model charges, now and later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    /// Holds when none of `later` does.
    first: Prices,
    /// The last one that is in force goes over those before it.
    later: Vec<(When, Prices)>,
}

/// When prices are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// From this Unix time on, in milliseconds.
    From(u64),
    /// In each UTC day from the first minute up to the second, over midnight when that is smaller.
    Between(u16, u16),
}

impl From<Prices> for PriceList {
    fn from(first: Prices) -> Self {
        Self { first, later: Vec::new() }
    }
}

impl PriceList {
    /// `None` for an empty list.
    pub(super) fn new(periods: Vec<(When, Prices)>) -> Option<Self> {
        let mut later = periods;
        let first = later.first()?.1.clone();
        if later.len() == 1 {
            later.clear();
        }
        Some(Self { first, later })
    }

    /// The prices in force at this Unix time.
    pub fn at(&self, unix_ms: u64) -> &Prices {
        self.later.iter().rev().find(|(when, _)| when.holds(unix_ms)).map_or(&self.first, |(_, prices)| prices)
    }

    /// An upper bound of what an answer of these sizes can cost whose request goes out between two Unix times that are not
    /// hours apart; see [`Prices::most`].
    pub fn most(
        &self,
        from_unix_ms: u64,
        to_unix_ms: u64,
        prompt_tokens: u64,
        completion_tokens: u64,
    ) -> Option<NanoUsd> {
        let [first, last] = [from_unix_ms, to_unix_ms].map(|at| self.at(at).most(prompt_tokens, completion_tokens));
        Some(first?.max(last?))
    }
}

impl When {
    fn holds(self, unix_ms: u64) -> bool {
        match self {
            Self::Always => true,
            Self::From(start) => unix_ms >= start,
            Self::Between(from, to) => {
                let minute = (unix_ms / MINUTE_MILLIS % DAY_MINUTES) as u16;
                if to < from { minute >= from || minute < to } else { (from..to).contains(&minute) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::UsdPerToken;
    use super::*;

    const DAY: u64 = DAY_MINUTES * MINUTE_MILLIS;

    fn prices(usd: f64) -> Prices {
        Prices { input: UsdPerToken::per_million(usd).map(Into::into), ..Prices::default() }
    }

    fn list(periods: &[(When, f64)]) -> PriceList {
        PriceList::new(periods.iter().map(|(when, usd)| (*when, prices(*usd))).collect()).unwrap()
    }

    #[test]
    fn the_last_period_in_force_counts() {
        let list = list(&[(When::Always, 1.0), (When::From(3 * DAY), 2.0), (When::Between(60, 120), 3.0)]);
        assert_eq!(list.at(0), &prices(1.0));
        assert_eq!(list.at(3 * DAY), &prices(2.0));
        assert_eq!(list.at(60 * MINUTE_MILLIS), &prices(3.0));
        assert_eq!(list.at(3 * DAY + 119 * MINUTE_MILLIS), &prices(3.0));
        assert_eq!(list.at(3 * DAY + 120 * MINUTE_MILLIS), &prices(2.0));
    }

    #[test]
    fn before_any_period_the_first_one_counts() {
        let list = list(&[(When::From(DAY), 1.0), (When::From(2 * DAY), 2.0)]);
        assert_eq!(list.at(0), &prices(1.0));
    }

    #[test]
    fn the_most_is_that_of_the_dearer_end() {
        let list = list(&[(When::Always, 1.0), (When::From(DAY), 3.0)]);
        assert_eq!(list.most(DAY - 2, DAY - 1, 10, 0), Some(NanoUsd(10_000)));
        assert_eq!(list.most(DAY - 1, DAY, 10, 0), Some(NanoUsd(30_000)));
        assert_eq!(list.most(DAY - 1, DAY, 10, 1), None, "what is not known has no bound");
    }

    #[test]
    fn hours_go_over_midnight() {
        let night = list(&[(When::Always, 1.0), (When::Between(22 * 60, 6 * 60), 0.5)]);
        for (hour, usd) in [(21, 1.0), (22, 0.5), (23, 0.5), (0, 0.5), (5, 0.5), (6, 1.0)] {
            assert_eq!(night.at(hour * 60 * MINUTE_MILLIS), &prices(usd), "{hour}");
        }
    }
}
