//! Tokens and money, in one meaning for every provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

/// Tokens of one answer.
///
/// `prompt_tokens` includes the cached part and `completion_tokens` includes reasoning, whatever the provider's own
/// habit is; otherwise costs would be wrong by the cached or the reasoning share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    /// Part of `prompt_tokens` that the provider read from its prompt cache.
    pub cached_tokens: u64,
    /// Part of `prompt_tokens` that the provider wrote into its prompt cache.
    pub cache_write_tokens: u64,
    /// Part of `cache_write_tokens` that is kept for an hour. Only its price is of interest, as of the next two.
    #[serde(skip)]
    pub cache_write_1h_tokens: u64,
    /// Part of `prompt_tokens` that is sound.
    #[serde(skip)]
    pub prompt_audio_tokens: u64,
    /// Part of `completion_tokens` that is sound.
    #[serde(skip)]
    pub completion_audio_tokens: u64,
    /// Part of `completion_tokens` spent on reasoning.
    pub reasoning_tokens: u64,
    /// True when the provider reported nothing and the pool counted by itself.
    pub estimated: bool,
}

/// No request has a billion tokens. A provider that reports more is wrong, and one wrong number would spoil every sum.
const MOST_TOKENS: u64 = 1_000_000_000;

impl Usage {
    /// Usage as reported: the total is the sum, because some providers send none and some leave reasoning out of it.
    pub fn reported(prompt_tokens: u64, completion_tokens: u64) -> Self {
        let (prompt_tokens, completion_tokens) = (prompt_tokens.min(MOST_TOKENS), completion_tokens.min(MOST_TOKENS));
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            ..Self::default()
        }
    }

    /// The usage of two answers together.
    pub fn and(&self, other: &Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            cache_write_1h_tokens: self.cache_write_1h_tokens.saturating_add(other.cache_write_1h_tokens),
            prompt_audio_tokens: self.prompt_audio_tokens.saturating_add(other.prompt_audio_tokens),
            completion_audio_tokens: self.completion_audio_tokens.saturating_add(other.completion_audio_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            estimated: self.estimated || other.estimated,
        }
    }
}

/// Money as an integer: one unit is a billionth of a US dollar. Sums of floats drift; sums of these do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    /// For display and for JavaScript only; never add the results.
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Adds up what the attempts of one call cost, whichever runs they belong to and however they end. Clones add to the
/// same sum.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Metered>);

#[derive(Debug, Default)]
struct Metered {
    nanos: AtomicU64,
    /// Something was spent of which nobody knows the price.
    unpriced: AtomicBool,
}

impl Meter {
    /// `None`: an unknown price, which makes the sum unknown.
    pub(crate) fn add(&self, cost: Option<NanoUsd>) {
        match cost {
            Some(NanoUsd(more)) => {
                let add = |sum: u64| Some(sum.saturating_add(more));
                let _ = self.0.nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
            None => self.0.unpriced.store(true, Ordering::Relaxed),
        }
    }

    /// What was booked so far; `None`: a part of it has no known price.
    pub fn total(&self) -> Option<NanoUsd> {
        let known = !self.0.unpriced.load(Ordering::Relaxed);
        known.then(|| NanoUsd(self.0.nanos.load(Ordering::Relaxed)))
    }
}

impl PartialEq for Meter {
    /// Do both add to the same sum?
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_usd())
    }
}
