//! How durations are spread, in a few hundred bytes and without remembering any of them.
//!
//! A log-linear histogram over whole microseconds: eight buckets for each doubling, so that the middle of a bucket is
//! within 1/16 (6.25 %) of every duration in it; below 8 µs it is exact. Only the buckets between the shortest and the
//! longest duration seen are kept: answers between 0.2 s and 30 s take about 60 counts of four bytes.

use std::time::Duration;

use super::rank;

/// Eight buckets per doubling.
const SUB_BITS: u32 = 3;
const SUB: u64 = 1 << SUB_BITS;

/// A histogram of durations. Everything above 71 minutes counts as 71 minutes.
///
/// ```
/// use std::time::Duration;
/// use llmpool::metrics::Spread;
/// let mut spread = Spread::default();
/// (1..=100).for_each(|ms| spread.push(Duration::from_millis(ms)));
/// let p95 = spread.percentile(0.95).unwrap();
/// assert!((p95 - 95.0).abs() <= 95.0 / 16.0);
/// assert_eq!(spread.mean(), Some(50.5));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// The bucket that `counts` begins with.
    first: usize,
    counts: Vec<u32>,
    count: u64,
    sum_micros: u64,
}

// === impl Spread ===

impl Spread {
    pub fn push(&mut self, duration: Duration) {
        let micros = u32::try_from(duration.as_nanos().saturating_add(500) / 1_000).unwrap_or(u32::MAX).into();
        let at = self.reach(bucket(micros));
        self.counts[at] = self.counts[at].saturating_add(1);
        self.count = self.count.saturating_add(1);
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Adds everything that another has seen.
    pub fn add(&mut self, other: &Self) {
        for (at, more) in other.counts.iter().enumerate() {
            if *more > 0 {
                let at = self.reach(other.first + at);
                self.counts[at] = self.counts[at].saturating_add(*more);
            }
        }
        self.count = self.count.saturating_add(other.count);
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// A percentile in milliseconds by nearest rank, the middle of its bucket; `None` when nothing was seen.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let rank = rank(p, usize::try_from(self.count).unwrap_or(usize::MAX))? as u64;
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        Some(middle_micros(self.first + found?) / 1e3)
    }

    /// The mean in milliseconds, exact; `None` when nothing was seen.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_micros as f64 / self.count as f64 / 1e3)
    }

    /// Where a bucket is in `counts`, which grows to have it.
    fn reach(&mut self, bucket: usize) -> usize {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = self.first - bucket;
            self.counts.reserve_exact(more);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let at = bucket - self.first;
        if at >= self.counts.len() {
            self.counts.reserve_exact(at + 1 - self.counts.len());
            self.counts.resize(at + 1, 0);
        }
        at
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }
}

/// 0 to 7 have a bucket each; from there on eight buckets share each doubling.
fn bucket(micros: u64) -> usize {
    if micros < SUB {
        return micros as usize;
    }
    let doublings = u64::from(63 - micros.leading_zeros() - SUB_BITS);
    (doublings * SUB + (micros >> doublings)) as usize
}

fn middle_micros(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < 2 * SUB {
        return bucket as f64;
    }
    let doublings = bucket / SUB - 1;
    let low = (bucket % SUB + SUB) << doublings;
    // Whole microseconds: the largest in the bucket is one less than the next one's smallest.
    low as f64 + ((1_u64 << doublings) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        micros.into_iter().for_each(|micros| spread.push(Duration::from_micros(micros)));
        spread
    }

    #[test]
    fn without_durations_nothing_is_known() {
        assert_eq!(Spread::default().percentile(0.5), None);
        assert_eq!(Spread::default().mean(), None);
    }

    #[test]
    fn the_shortest_durations_are_exact() {
        for micros in 0..16 {
            assert_eq!(of([micros]).percentile(0.5), Some(micros as f64 / 1e3));
        }
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        let mut last = 0;
        for micros in 1..1_000_000 {
            let at = bucket(micros);
            assert!(at == last || at == last + 1, "{micros}: {last} to {at}");
            last = at;
        }
        assert_eq!(bucket(u64::from(u32::MAX)), 239);
    }

    #[test]
    fn an_endless_duration_is_the_longest_one() {
        let mut spread = Spread::default();
        spread.push(Duration::MAX);
        let longest = f64::from(u32::MAX) / 1e3;
        assert!((spread.percentile(1.0).unwrap() - longest).abs() <= longest / 16.0);
        assert_eq!(spread.mean(), Some(longest));
    }

    #[test]
    fn only_the_buckets_in_between_are_kept() {
        let answers = of([30_000_000, 200_000, 1_000_000]);
        assert!(answers.heap_bytes() <= 4 * 64, "{}", answers.heap_bytes());
        let everything = of([u64::MAX / 1_000, 0]);
        assert_eq!(everything.heap_bytes(), 4 * 240);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_a_sixteenth_of_what_sorting_says(
            mut micros in prop::collection::vec(0u64..4_000_000_000, 1..200), p in 0u32..=100,
        ) {
            let found = of(micros.iter().copied()).percentile(f64::from(p) / 100.0).unwrap();
            micros.sort_unstable();
            let rank = (micros.len() * p as usize).div_ceil(100).max(1);
            let exact = micros[rank - 1] as f64 / 1e3;
            prop_assert!((found - exact).abs() <= exact / 16.0, "{} for {}", found, exact);
        }

        #[test]
        fn adding_two_is_having_seen_both(
            some in prop::collection::vec(0u64..4_000_000_000, 0..50), more in prop::collection::vec(0u64..4_000_000_000, 0..50),
        ) {
            let mut sum = of(some.iter().copied());
            sum.add(&of(more.iter().copied()));
            prop_assert_eq!(sum, of(some.into_iter().chain(more)));
        }
    }
}
