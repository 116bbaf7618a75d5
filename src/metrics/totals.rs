//! Totals that can be put away and taken up again, so that what was counted and spent survives a restart.
//!
//! Plain data in a shape of its own: whoever saves it decides where and how. Taking up adds, so it does not matter
//! whether calls have been counted before. Percentiles, time windows and what metrics show begin anew with a process:
//! they say how things are, not what they came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{NanoUsd, Usage};

/// Everything of a pool that is worth keeping.
///
/// ```
/// use llmpool::metrics::Totals;
/// let saved = serde_json::to_string(&Totals::default()).unwrap();
/// assert_eq!(serde_json::from_str::<Totals>(&saved).unwrap(), Totals::default());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub pool: PoolTotals,
    /// By name, providers that the pool has no longer included: what they have cost was spent all the same.
    pub providers: BTreeMap<String, ProviderTotals>,
}

/// What one provider came to. It counts attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderTotals {
    /// Attempts sent, those that were left included. An attempt counts when it ends.
    pub total_requests: u64,
    pub successful_requests: u64,
    /// Attempts that failed, for whatever reason but the caller's own fault.
    pub errors: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    /// Of the requests whose price is known.
    #[serde(with = "nano_usd")]
    pub total_cost: NanoUsd,
    /// Requests that used tokens at an unknown price.
    pub unpriced_requests: u64,
    /// Unix milliseconds at which the last attempt was sent; `None` before the first.
    pub last_used_unix_ms: Option<u64>,
}

/// What one tenant came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantTotals {
    /// Calls that were let in, those answered by what was kept included.
    pub requests: u64,
    /// Calls that one of its limits refused, at the door or later.
    pub refused: u64,
    /// Of attempts that ended, those whose answer nobody took included.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Of the attempts whose price is known.
    #[serde(with = "nano_usd")]
    pub total_cost: NanoUsd,
    /// Attempts that used tokens at an unknown price.
    pub unpriced_requests: u64,
}

/// What the pool came to. It counts calls: one that fails over is one call and two attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolTotals {
    /// Calls begun, those under way included.
    pub total_requests: u64,
    pub successful_requests: u64,
    pub failed_requests: u64,
    /// Calls that their caller left.
    pub cancelled_requests: u64,
    /// Attempts at a provider and key that the same call had tried before.
    pub retries: u64,
    /// Moves of a call from one provider to another after a failure.
    pub failovers: u64,
    /// Second copies that went out, those under way included.
    pub hedges: u64,
    /// Calls answered by what was kept, or by the run of a call that was the same.
    pub cache_hits: u64,
    /// Calls that looked for a kept answer and found none.
    pub cache_misses: u64,
}

// === impl ProviderTotals ===

impl ProviderTotals {
    /// Adds what another process, or another provider, came to.
    pub fn add(&mut self, other: &Self) {
        // Destructured whole, so that a new field cannot be forgotten.
        let Self {
            total_requests,
            successful_requests,
            errors,
            prompt_tokens,
            completion_tokens,
            total_tokens,
            total_cost,
            unpriced_requests,
            last_used_unix_ms,
        } = other;
        add(&mut self.total_requests, *total_requests);
        add(&mut self.successful_requests, *successful_requests);
        add(&mut self.errors, *errors);
        add(&mut self.prompt_tokens, *prompt_tokens);
        add(&mut self.completion_tokens, *completion_tokens);
        add(&mut self.total_tokens, *total_tokens);
        self.total_cost = self.total_cost.saturating_add(*total_cost);
        add(&mut self.unpriced_requests, *unpriced_requests);
        self.last_used_unix_ms = self.last_used_unix_ms.max(*last_used_unix_ms);
    }

    /// Books tokens and money. An unknown price is counted apart: the sum holds the known part.
    pub(super) fn spend(&mut self, usage: &Usage, cost: Option<NanoUsd>) {
        add(&mut self.prompt_tokens, usage.prompt_tokens);
        add(&mut self.completion_tokens, usage.completion_tokens);
        add(&mut self.total_tokens, usage.total_tokens);
        match cost {
            Some(cost) => self.total_cost = self.total_cost.saturating_add(cost),
            None => add(&mut self.unpriced_requests, 1),
        }
    }

    /// Percent of the ended attempts that succeeded, 0 to 100; 100 before the first has ended.
    pub fn success_rate(&self) -> f64 {
        percent(self.successful_requests, self.errors)
    }
}

// === impl TenantTotals ===

impl TenantTotals {
    /// Adds what another process came to.
    pub fn add(&mut self, other: &Self) {
        let Self { requests, refused, prompt_tokens, completion_tokens, total_cost, unpriced_requests } = other;
        add(&mut self.requests, *requests);
        add(&mut self.refused, *refused);
        add(&mut self.prompt_tokens, *prompt_tokens);
        add(&mut self.completion_tokens, *completion_tokens);
        self.total_cost = self.total_cost.saturating_add(*total_cost);
        add(&mut self.unpriced_requests, *unpriced_requests);
    }

    /// Books tokens and money. An unknown price is counted apart: the sum holds the known part.
    pub fn spend(&mut self, usage: &Usage, cost: Option<NanoUsd>) {
        add(&mut self.prompt_tokens, usage.prompt_tokens);
        add(&mut self.completion_tokens, usage.completion_tokens);
        match cost {
            Some(cost) => self.total_cost = self.total_cost.saturating_add(cost),
            None => add(&mut self.unpriced_requests, 1),
        }
    }
}

// === impl PoolTotals ===

impl PoolTotals {
    /// Adds what another process came to.
    pub fn add(&mut self, other: &Self) {
        let Self {
            total_requests,
            successful_requests,
            failed_requests,
            cancelled_requests,
            retries,
            failovers,
            hedges,
            cache_hits,
            cache_misses,
        } = other;
        add(&mut self.total_requests, *total_requests);
        add(&mut self.successful_requests, *successful_requests);
        add(&mut self.failed_requests, *failed_requests);
        add(&mut self.cancelled_requests, *cancelled_requests);
        add(&mut self.retries, *retries);
        add(&mut self.failovers, *failovers);
        add(&mut self.hedges, *hedges);
        add(&mut self.cache_hits, *cache_hits);
        add(&mut self.cache_misses, *cache_misses);
    }

    /// Percent of the calls that succeeded among those that succeeded or failed, 0 to 100; 100 before the first.
    pub fn success_rate(&self) -> f64 {
        percent(self.successful_requests, self.failed_requests)
    }
}

/// A saved number may be any number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

fn percent(good: u64, bad: u64) -> f64 {
    match good.saturating_add(bad) {
        0 => 100.0,
        all => good as f64 * 100.0 / all as f64,
    }
}

/// Money is shown as a float of dollars and kept as the integer it is.
mod nano_usd {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::NanoUsd;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(value: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NanoUsd, D::Error> {
        u64::deserialize(deserializer).map(NanoUsd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> ProviderTotals {
        ProviderTotals {
            total_requests: 1,
            successful_requests: 2,
            errors: 3,
            prompt_tokens: 4,
            completion_tokens: 5,
            total_tokens: 9,
            total_cost: NanoUsd(9_007_199_254_740_993),
            unpriced_requests: 7,
            last_used_unix_ms: Some(8),
        }
    }

    #[test]
    fn money_is_saved_to_the_last_nanodollar() {
        let saved = serde_json::to_string(&some()).unwrap();
        assert!(saved.contains("\"total_cost\":9007199254740993"), "{saved}");
        assert_eq!(serde_json::from_str::<ProviderTotals>(&saved).unwrap(), some());
    }

    #[test]
    fn fields_that_an_older_or_a_newer_version_saved_are_no_trouble() {
        let read: Totals =
            serde_json::from_str(r#"{"pool":{"total_requests":3,"from_the_future":1},"providers":{"a":{}}}"#).unwrap();
        assert_eq!(read.pool, PoolTotals { total_requests: 3, ..PoolTotals::default() });
        assert_eq!(read.providers["a"], ProviderTotals::default());
    }

    #[test]
    fn taking_up_adds_every_number_and_keeps_the_later_use() {
        let mut sum = ProviderTotals { last_used_unix_ms: Some(5), ..some() };
        sum.add(&some());
        let twice = ProviderTotals {
            total_requests: 2,
            successful_requests: 4,
            errors: 6,
            prompt_tokens: 8,
            completion_tokens: 10,
            total_tokens: 18,
            total_cost: NanoUsd(18_014_398_509_481_986),
            unpriced_requests: 14,
            last_used_unix_ms: Some(8),
        };
        assert_eq!(sum, twice);

        let calls = PoolTotals {
            total_requests: 1,
            successful_requests: 2,
            failed_requests: 3,
            cancelled_requests: 4,
            retries: 5,
            failovers: 6,
            hedges: 9,
            cache_hits: 7,
            cache_misses: 8,
        };
        let mut sum = calls.clone();
        sum.add(&calls);
        assert_eq!(
            sum,
            PoolTotals {
                total_requests: 2,
                successful_requests: 4,
                failed_requests: 6,
                cancelled_requests: 8,
                retries: 10,
                failovers: 12,
                hedges: 18,
                cache_hits: 14,
                cache_misses: 16,
            }
        );
    }

    #[test]
    fn what_a_tenant_came_to_adds_up_with_what_nobody_knows_the_price_of_apart() {
        let mut totals = TenantTotals { requests: 3, refused: 1, ..TenantTotals::default() };
        totals.spend(&Usage::reported(10, 5), Some(NanoUsd(7)));
        totals.spend(&Usage::reported(1, 1), None);
        totals.add(&totals.clone());
        let twice = TenantTotals {
            requests: 6,
            refused: 2,
            prompt_tokens: 22,
            completion_tokens: 12,
            total_cost: NanoUsd(14),
            unpriced_requests: 2,
        };
        assert_eq!(totals, twice);
    }

    #[test]
    fn absurd_saved_numbers_saturate() {
        let mut sum = ProviderTotals { total_requests: u64::MAX, total_cost: NanoUsd(u64::MAX), ..some() };
        sum.add(&some());
        assert_eq!((sum.total_requests, sum.total_cost), (u64::MAX, NanoUsd(u64::MAX)));
    }
}
