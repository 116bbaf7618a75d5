//! How the last so many attempts ended: one bit each.

use super::MOST_HISTORY;

/// A bounded ring of successes and failures, oldest forgotten first.
#[derive(Debug, Clone)]
pub struct Outcomes {
    limit: usize,
    /// How many are kept now.
    len: usize,
    /// Where the next one goes.
    next: usize,
    good: usize,
    bits: Box<[u64]>,
}

// === impl Outcomes ===

impl Outcomes {
    /// Keeps the last `limit`, at most a million; 0 keeps none.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(MOST_HISTORY);
        Self { limit, len: 0, next: 0, good: 0, bits: vec![0; limit.div_ceil(64)].into() }
    }

    pub fn push(&mut self, good: bool) {
        if self.limit == 0 {
            return;
        }
        let (word, bit) = (self.next / 64, 1 << (self.next % 64));
        if self.len < self.limit {
            self.len += 1;
        } else if self.bits[word] & bit != 0 {
            self.good -= 1;
        }
        if good {
            self.bits[word] |= bit;
            self.good += 1;
        } else {
            self.bits[word] &= !bit;
        }
        self.next = (self.next + 1) % self.limit;
    }

    /// Percent of those kept that were good; `None` when none is kept.
    pub fn percent(&self) -> Option<f64> {
        (self.len > 0).then(|| self.good as f64 * 100.0 / self.len as f64)
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn none_kept_is_nothing_known() {
        let mut none = Outcomes::new(0);
        none.push(true);
        assert_eq!(none.percent(), None);
        assert_eq!(Outcomes::new(5).percent(), None);
    }

    proptest! {
        #[test]
        fn it_is_the_share_among_the_last_ones(ends in prop::collection::vec(any::<bool>(), 1..400), limit in 1usize..200) {
            let mut outcomes = Outcomes::new(limit);
            ends.iter().for_each(|good| outcomes.push(*good));
            let last = &ends[ends.len().saturating_sub(limit)..];
            let good = last.iter().filter(|good| **good).count();
            prop_assert_eq!(outcomes.percent(), Some(good as f64 * 100.0 / last.len() as f64));
        }
    }
}
