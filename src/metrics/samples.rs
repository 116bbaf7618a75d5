//! The last so many durations, for means and percentiles.
//!
//! A ring of whole microseconds: precise enough for the pool's own overhead, long enough for an answer of an hour.
//! Percentiles are by nearest rank, so each is a duration that really occurred.

use std::time::Duration;

use super::{MOST_HISTORY, rank};

/// A bounded ring of durations, oldest overwritten first.
///
/// ```
/// use std::time::Duration;
/// use llmpool::metrics::Samples;
/// let mut samples = Samples::new(1000);
/// assert_eq!(samples.percentile(0.95), None);
/// samples.push(Duration::from_millis(20));
/// samples.push(Duration::from_millis(30));
/// assert_eq!(samples.percentile(0.5), Some(20.0));
/// assert_eq!(samples.mean(), Some(25.0));
/// ```
#[derive(Debug, Clone)]
pub struct Samples {
    limit: usize,
    /// Where the next one goes once the ring is full.
    next: usize,
    micros: Vec<u32>,
}

// === impl Samples ===

impl Samples {
    /// Keeps the last `limit` durations, at most a million; 0 keeps none.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(MOST_HISTORY);
        Self { limit, next: 0, micros: Vec::with_capacity(limit) }
    }

    /// Adds one, rounded to the nearest microsecond. More than 71 minutes count as 71 minutes.
    pub fn push(&mut self, duration: Duration) {
        let micros = u32::try_from(duration.as_nanos().saturating_add(500) / 1_000).unwrap_or(u32::MAX);
        if self.micros.len() < self.limit {
            self.micros.push(micros);
        } else if let Some(oldest) = self.micros.get_mut(self.next) {
            *oldest = micros;
            self.next = (self.next + 1) % self.limit;
        }
    }

    /// How many are kept now.
    pub fn len(&self) -> usize {
        self.micros.len()
    }

    pub fn is_empty(&self) -> bool {
        self.micros.is_empty()
    }

    /// A percentile in milliseconds: the smallest sample that at least the share `p` (0 to 1; 0.95 is p95) does not
    /// exceed. `None` without samples and for a `p` that is not a number. Copies the ring.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let rank = rank(p, self.micros.len())?;
        let mut micros = self.micros.clone();
        let (_, found, _) = micros.select_nth_unstable(rank - 1);
        Some(millis(f64::from(*found)))
    }

    /// The mean in milliseconds; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        if self.micros.is_empty() {
            return None;
        }
        let sum: u64 = self.micros.iter().copied().map(u64::from).sum();
        Some(millis(sum as f64 / self.micros.len() as f64))
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.micros.capacity() * size_of::<u32>()
    }
}

fn millis(micros: f64) -> f64 {
    micros / 1e3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(limit: usize, millis: impl IntoIterator<Item = u64>) -> Samples {
        let mut samples = Samples::new(limit);
        millis.into_iter().for_each(|ms| samples.push(Duration::from_millis(ms)));
        samples
    }

    #[test]
    fn without_samples_nothing_is_known() {
        assert_eq!(Samples::new(10).percentile(0.5), None);
        assert_eq!(Samples::new(10).mean(), None);
    }

    #[test]
    fn one_sample_is_every_percentile() {
        for p in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(of(10, [7]).percentile(p), Some(7.0));
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples = of(1000, (1..=100).rev());
        let found = [0.01, 0.07, 0.5, 0.95, 0.99, 0.991].map(|p| samples.percentile(p).unwrap());
        assert_eq!(found, [1.0, 7.0, 50.0, 95.0, 99.0, 100.0]);
        assert_eq!(of(10, [15, 20, 35, 40, 50]).percentile(0.4), Some(20.0));
    }

    #[test]
    fn percentiles_out_of_range_are_the_smallest_and_the_largest() {
        let samples = of(10, [1, 2, 3]);
        assert_eq!(samples.percentile(-0.5), Some(1.0));
        assert_eq!(samples.percentile(f64::INFINITY), Some(3.0));
        assert_eq!(samples.percentile(f64::NAN), None);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let samples = of(3, [100, 100, 1, 2, 3]);
        assert_eq!(samples.len(), 3);
        assert_eq!(samples.percentile(1.0), Some(3.0));
        assert_eq!(samples.mean(), Some(2.0));
    }

    #[test]
    fn a_limit_of_zero_keeps_none() {
        let samples = of(0, [1, 2]);
        assert!(samples.is_empty());
        assert_eq!(samples.percentile(0.5), None);
    }

    #[test]
    fn microseconds_survive_and_an_endless_duration_saturates() {
        let mut samples = Samples::new(2);
        samples.push(Duration::from_nanos(3_400));
        assert_eq!(samples.percentile(0.5), Some(0.003));
        samples.push(Duration::MAX);
        assert_eq!(samples.percentile(1.0), Some(f64::from(u32::MAX) / 1e3));
    }

    #[test]
    fn an_absurd_limit_does_not_ask_for_all_memory() {
        assert_eq!(Samples::new(usize::MAX).limit, MOST_HISTORY);
    }

    proptest! {
        #[test]
        fn a_percentile_is_what_sorting_says(values in prop::collection::vec(0u64..10_000, 1..200), p in 0u32..=100) {
            let samples = of(50, values.iter().copied());
            let mut kept = values[values.len().saturating_sub(50)..].to_vec();
            kept.sort_unstable();
            let rank = (kept.len() * p as usize).div_ceil(100).max(1);
            prop_assert_eq!(samples.percentile(f64::from(p) / 100.0), Some(kept[rank - 1] as f64));
        }
    }
}
