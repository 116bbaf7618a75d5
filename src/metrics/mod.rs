//! What has happened so far, in numbers: per provider and for the pool.
//!
//! Plain structs that the owner changes under its own lock. Counting is a handful of additions, some tens of
//! nanoseconds; whatever needs more, such as a percentile, is computed when somebody asks. Memory is bounded everywhere.
//!
//! | file | keeps |
//! |---|---|
//! | `attempts`, `model` | what a provider, and each of its models, has done |
//! | `calls` | what the pool has done |
//! | `plans` | what became of tasks, and of answers that were compared |
//! | `totals` | the sums that survive a restart |
//! | `history` | what ended in which minute and hour |
//! | `samples`, `outcomes` | the last so many times and ends, exact |
//! | `spread`, `buckets` | distributions: within 6.25 % anywhere, or by fixed bounds |
//! | `exposition` | all of it as text for scrapers |

mod attempts;
mod buckets;
mod calls;
mod exposition;
mod history;
mod model;
mod outcomes;
mod plans;
mod samples;
mod spread;
mod totals;

pub use attempts::{AttemptSlot, Mark, ModelId, ProviderTally};
pub use buckets::Buckets;
pub use calls::{CallCounters, CallSlot, Failover, PoolTally, Route, RouteTally};
pub use exposition::{BudgetFigures, ConfigFigures, Exposition, HedgeFigures, ProviderFigures, TenantFigures};
pub use history::{History, Slot, Window};
pub use model::{Counts, ModelTally, Tokens};
pub use outcomes::Outcomes;
pub use plans::{Answered, PlanTally, TaskTally};
pub use samples::Samples;
pub use spread::Spread;
pub use totals::{PoolTotals, ProviderTotals, TenantTotals, Totals};

/// More than a product of a share and a million samples is off by, and far less than a rank.
const RANK_NOISE: f64 = 1e-6;

/// The nearest rank of a percentile among so many samples, counted from 1. `None` without samples and for a `p` that is
/// not a number.
fn rank(p: f64, samples: usize) -> Option<usize> {
    // Less the noise of the product: 0.07 of 100 samples is the 7th, but 0.07 * 100.0 is a little more than 7.
    let rank = (p * samples as f64 - RANK_NOISE).ceil() as usize;
    (samples > 0 && !p.is_nan()).then(|| rank.clamp(1, samples))
}

/// How much is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsParams {
    /// Times kept per ring for means and percentiles. 0 to 1,000,000, default 1,000; 0 = none, percentiles are unknown.
    pub history_limit: usize,
}

/// Four bytes each, so one ring is 4 MB at the most.
const MOST_HISTORY: usize = 1_000_000;

impl Default for MetricsParams {
    fn default() -> Self {
        Self {
            // Ten samples lie above the 99th percentile: the fewest that make it more than one unlucky call.
            history_limit: 1_000,
        }
    }
}

impl MetricsParams {
    /// Every field that is out of range, with what is allowed.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.history_limit > MOST_HISTORY {
            problems.push(("history_limit", format!("must be at most {MOST_HISTORY}")));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::time;
    use crate::types::{NanoUsd, Usage};

    /// Prints what it costs to write down a call with one attempt, clocks and locks included. In a release build:
    /// `cargo test --release --lib -- --ignored --nocapture statistics_cost`.
    #[test]
    #[ignore = "a measurement"]
    #[expect(clippy::print_stderr, reason = "it is there to be read")]
    fn statistics_cost() {
        const CALLS: u32 = 2_000_000;
        let provider = Mutex::new(ProviderTally::new(1_000));
        let pool = Mutex::new(PoolTally::new(1_000));
        provider.lock().unwrap().serve("gpt-4o");
        let usage = Usage::reported(1_000, 500);
        let began = time::now().mono;
        for call in 0..CALLS {
            let latency = Duration::from_micros(200_000 + u64::from(call) % 30_000_000);
            pool.lock().unwrap().started();
            pool.lock().unwrap().planned("adaptive");
            let model = provider.lock().unwrap().model_id("gpt-4o");
            let mark = Mark { model, unix_ms: time::unix_ms() };
            let mut tally = provider.lock().unwrap();
            tally.sent(mark, mark.unix_ms, true);
            tally.succeeded(mark, latency, Some(latency / 4), &usage, Some(NanoUsd(7)));
            drop(tally);
            pool.lock().unwrap().succeeded(time::unix_ms(), Route::Chat, latency, Duration::from_micros(40));
        }
        let each = began.elapsed() / CALLS;
        assert_eq!(pool.lock().unwrap().totals.successful_requests, u64::from(CALLS));
        eprintln!("statistics of a call with one attempt: {} ns", each.as_nanos());
    }
}
