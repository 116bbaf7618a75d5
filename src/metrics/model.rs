//! What one model of one provider has done since the process began, in the shape scrapers want: counters that only rise
//! and histograms with fixed bounds.

use std::sync::Arc;
use std::time::Duration;

use super::Buckets;
use super::buckets::{ANSWER_MICROS, BETWEEN_TOKENS_MICROS};
use crate::types::{NanoUsd, Usage};

/// Counts by word. For words of our own, which are few: failure classes, phases, strategies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    pub fn add(&mut self, word: &'static str) {
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => self.0.push((word, 1)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(&'static str, u64)>()
    }
}

/// Tokens by kind, over everything that was answered, cut or left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
    /// Parts of the input.
    pub cache_read: u64,
    pub cache_write: u64,
    /// A part of the output.
    pub reasoning: u64,
}

/// One model of one provider.
#[derive(Debug, Clone)]
pub struct ModelTally {
    /// As the configuration names it.
    pub name: Arc<str>,
    /// Calls that asked this model before any other.
    pub selected: u64,
    pub succeeded: u64,
    pub cancelled: u64,
    /// By class, the caller's own faults included.
    pub failed: Counts,
    /// By the timer that ran out.
    pub timeouts: Counts,
    pub tokens: Tokens,
    /// Of the requests whose price is known.
    pub cost: NanoUsd,
    pub unpriced: u64,
    /// Of successful attempts, from sending to the whole answer.
    pub duration: Buckets,
    /// Of successful streams, from sending to the first content.
    pub first_token: Buckets,
    /// Of successful streams of two tokens or more: from the first content to the end, shared among the tokens after the
    /// first.
    pub between_tokens: Buckets,
}

// === impl ModelTally ===

impl ModelTally {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            selected: 0,
            succeeded: 0,
            cancelled: 0,
            failed: Counts::default(),
            timeouts: Counts::default(),
            tokens: Tokens::default(),
            cost: NanoUsd(0),
            unpriced: 0,
            duration: Buckets::new(ANSWER_MICROS),
            first_token: Buckets::new(ANSWER_MICROS),
            between_tokens: Buckets::new(BETWEEN_TOKENS_MICROS),
        }
    }

    /// Has anything been counted here?
    pub(super) fn is_used(&self) -> bool {
        self.succeeded + self.cancelled + self.unpriced + self.failed.iter().map(|(_, count)| count).sum::<u64>() > 0
    }

    pub(super) fn answered(&mut self, latency: Duration, first_token: Option<Duration>, usage: &Usage) {
        self.succeeded += 1;
        self.duration.push(latency);
        let Some(first_token) = first_token else { return };
        self.first_token.push(first_token);
        let further = u32::try_from(usage.completion_tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        if let Some(between) = latency.saturating_sub(first_token).checked_div(further) {
            self.between_tokens.push(between);
        }
    }

    pub(super) fn spent(&mut self, usage: &Usage, cost: Option<NanoUsd>) {
        // Destructured whole, so that a new kind of token cannot be forgotten.
        let Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: _,
            cached_tokens,
            cache_write_tokens,
            reasoning_tokens,
            // Parts of parts, of interest for their price alone.
            cache_write_1h_tokens: _,
            prompt_audio_tokens: _,
            completion_audio_tokens: _,
            estimated: _,
        } = *usage;
        let Tokens { input, output, cache_read, cache_write, reasoning } = &mut self.tokens;
        *input = input.saturating_add(prompt_tokens);
        *output = output.saturating_add(completion_tokens);
        *cache_read = cache_read.saturating_add(cached_tokens);
        *cache_write = cache_write.saturating_add(cache_write_tokens);
        *reasoning = reasoning.saturating_add(reasoning_tokens);
        match cost {
            Some(cost) => self.cost = self.cost.saturating_add(cost),
            None => self.unpriced += 1,
        }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let buckets = [&self.duration, &self.first_token, &self.between_tokens];
        self.name.len()
            + self.failed.heap_bytes()
            + self.timeouts.heap_bytes()
            + buckets.map(Buckets::heap_bytes).iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_stream_is_shared_among_the_tokens_after_the_first() {
        let mut model = ModelTally::new("m".into());
        let ms = Duration::from_millis;
        model.answered(ms(500), Some(ms(100)), &Usage::reported(1, 5));
        assert_eq!((model.between_tokens.count(), model.between_tokens.sum_seconds()), (1, 0.1));
        model.answered(ms(500), Some(ms(100)), &Usage::reported(1, 1));
        model.answered(ms(500), Some(ms(100)), &Usage::reported(1, 0));
        assert_eq!(model.between_tokens.count(), 1, "one token has nothing to come after");
        model.answered(ms(500), None, &Usage::reported(1, 5));
        assert_eq!((model.first_token.count(), model.duration.count(), model.between_tokens.count()), (3, 4, 1));
    }

    #[test]
    fn tokens_are_counted_by_kind() {
        let mut model = ModelTally::new("m".into());
        let usage = Usage { cached_tokens: 3, cache_write_tokens: 2, reasoning_tokens: 1, ..Usage::reported(10, 5) };
        model.spent(&usage, Some(NanoUsd(7)));
        model.spent(&usage, None);
        assert_eq!(model.tokens, Tokens { input: 20, output: 10, cache_read: 6, cache_write: 4, reasoning: 2 });
        assert_eq!((model.cost, model.unpriced), (NanoUsd(7), 1));
    }

    #[test]
    fn words_are_counted_apart() {
        let mut counts = Counts::default();
        ["timeout", "network", "timeout"].into_iter().for_each(|word| counts.add(word));
        assert_eq!(counts.iter().collect::<Vec<_>>(), [("timeout", 2), ("network", 1)]);
    }
}
