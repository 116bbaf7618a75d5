//! What has happened so far, in numbers: per provider and for the pool.
//!
//! Plain structs that the owner changes under its own lock. Counting is an addition; whatever needs more, such as a
//! percentile, is computed when somebody asks. Memory is bounded: times are kept in rings of `history_limit`.

mod samples;
mod tally;
mod totals;

pub use samples::Samples;
pub use tally::{PoolTally, ProviderTally};
pub use totals::{PoolTotals, ProviderTotals, Totals};

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
