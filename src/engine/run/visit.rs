//! A provider as one call sees it: what was asked there, and what came of it.

use std::sync::Arc;

use super::embed::Gathered;
use crate::engine::provider::Provider;
use crate::engine::refusal::Refusal;
use crate::error::FailureClass;
use crate::time::Instant;

/// A provider as one call sees it.
pub(super) struct Visit {
    pub provider: Arc<Provider>,
    pub model: String,
    /// Tokens that this model is known to read.
    pub window: Option<u64>,
    /// Lower tiers come first; a visit's place in its tier is known once the call has come to it.
    pub tier: (bool, u32),
    pub rank: usize,
    /// Fields of the request that it refused and gets no more.
    pub without: Vec<String>,
    /// Keys this call has used there.
    pub tried: Vec<u32>,
    pub attempts: u32,
    /// Nothing more may be asked of it as a first visit.
    pub visited: bool,
    /// It says it has nothing left, and others are asked first.
    pub spared: bool,
    /// It failed in a way that allows asking again.
    pub again: Option<Again>,
    /// The latest refusal since it was last asked.
    pub refusal: Option<Refusal>,
    /// The class of its latest failure.
    pub failed: Option<FailureClass>,
    /// The vectors it gave to this call.
    pub gathered: Gathered,
}

/// A failure after which the same provider may be asked again.
pub(super) struct Again {
    pub rate_signal: bool,
    /// When the provider said it would be ready, if it said so.
    pub ready: Option<Instant>,
}

impl Visit {
    pub fn new(provider: Arc<Provider>, model: String, window: Option<u64>) -> Self {
        Self {
            provider,
            model,
            window,
            tier: (false, 0),
            rank: 0,
            without: Vec::new(),
            tried: Vec::new(),
            attempts: 0,
            visited: false,
            spared: false,
            again: None,
            refusal: None,
            failed: None,
            gathered: Gathered::default(),
        }
    }
}

/// Is this model known to read more than one that found the prompt too long?
pub(super) fn fits(window_above: Option<u64>, visit: &Visit) -> bool {
    window_above.is_none_or(|floor| visit.window.is_some_and(|window| window > floor))
}
