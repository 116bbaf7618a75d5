//! A histogram with fixed bounds, as scrapers add them up over time and over processes.

use std::time::Duration;

/// From 10 ms doubling to 82 s: the bounds that the GenAI conventions give for the duration of a model's answer.
pub const ANSWER_MICROS: &[u64] = &[
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 10_240_000, 20_480_000,
    40_960_000, 81_920_000,
];

/// From 50 µs, about what a call costs on a quiet machine, doubling to 51 ms, where something is wrong.
pub const OVERHEAD_MICROS: &[u64] = &[50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200];

/// From a thousand tokens per second to one per two seconds.
pub const BETWEEN_TOKENS_MICROS: &[u64] =
    &[1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000];

/// Counts of durations up to each bound, those above the last, and the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// Upper bounds, inclusive, rising.
    bounds: &'static [u64],
    /// One more than bounds.
    counts: Box<[u64]>,
    sum_micros: u64,
}

// === impl Buckets ===

impl Buckets {
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum_micros: 0 }
    }

    pub fn push(&mut self, duration: Duration) {
        let at = self.bounds.iter().position(|bound| duration <= Duration::from_micros(*bound));
        let at = at.unwrap_or(self.bounds.len());
        self.counts[at] += 1;
        self.sum_micros = self.sum_micros.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// `(bound in seconds, durations in this bucket alone)`; the last bound is infinite.
    pub fn seconds(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_include_themselves() {
        for bounds in [ANSWER_MICROS, OVERHEAD_MICROS, BETWEEN_TOKENS_MICROS] {
            assert!(bounds.is_sorted());
            let mut buckets = Buckets::new(bounds);
            bounds.iter().for_each(|micros| buckets.push(Duration::from_micros(*micros)));
            let counts: Vec<u64> = buckets.seconds().into_iter().map(|(_, count)| count).collect();
            assert_eq!(counts[..bounds.len()], vec![1; bounds.len()]);
            assert_eq!(counts[bounds.len()], 0);
        }
    }

    #[test]
    fn a_nanosecond_over_the_bound_is_over_it() {
        let mut buckets = Buckets::new(OVERHEAD_MICROS);
        buckets.push(Duration::from_nanos(50_001));
        assert_eq!(buckets.seconds()[..2], [(0.000_05, 0), (0.000_1, 1)]);
    }

    #[test]
    fn the_sum_is_exact_and_what_is_too_long_is_counted() {
        let mut buckets = Buckets::new(OVERHEAD_MICROS);
        (0..10).for_each(|_| buckets.push(Duration::from_micros(100_100)));
        assert_eq!((buckets.count(), buckets.sum_seconds()), (10, 1.001));
        assert_eq!(buckets.seconds().last(), Some(&(f64::INFINITY, 10)));
    }
}
