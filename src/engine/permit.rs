//! The right to ask one provider once.
//!
//! Only [`Provider::admit`] makes one. It is settled exactly once: by [`Permit::settle`] with the outcome, or by being
//! dropped, which is a cancellation: the slot and a half-open breaker's probe return and nobody is blamed. A permit
//! whose request was not sent gives its reservation back; one whose request was sent keeps it, because the provider
//! counted it too.

use std::sync::Arc;
use std::time::Duration;

use super::provider::Provider;
use crate::error::{Failure, FailureClass};
use crate::policy::{Pass, Reservation, Transition};
use crate::time::{self, Instant};
use crate::types::{NanoUsd, Usage};

#[must_use = "a permit that is dropped counts as a cancelled attempt"]
pub struct Permit {
    provider: Arc<Provider>,
    /// Taken when it is settled, so that dropping it afterwards does nothing.
    hold: Option<Hold>,
}

/// What was reserved.
pub(super) struct Hold {
    pub key: u32,
    pub reservation: Option<Reservation>,
    pub pass: Pass,
    /// When the request went out, in Unix milliseconds.
    pub sent: Option<u64>,
}

/// How an attempt ended, for the provider's books.
pub enum Outcome<'a> {
    Success { latency: Duration, first_token: Option<Duration>, usage: &'a Usage, cost: Option<NanoUsd> },
    Failure { failure: &'a Failure, model: &'a str },
    Cancelled,
}

impl Permit {
    pub(super) fn new(provider: Arc<Provider>, hold: Hold) -> Self {
        Self { provider, hold: Some(hold) }
    }

    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// Which of the provider's keys to use, counted from 0.
    pub fn key(&self) -> u32 {
        self.hold.as_ref().map_or(0, |hold| hold.key)
    }

    /// From here on the provider may have seen the request.
    pub fn mark_sent(&mut self, unix_ms: u64) {
        if let Some(hold) = &mut self.hold {
            hold.sent = Some(unix_ms);
        }
    }

    /// It turned out that nothing reached the provider: no connection came about.
    pub fn mark_unsent(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.sent = None;
        }
    }

    /// Books the outcome. The answer says whether the breaker moved.
    pub fn settle(mut self, outcome: &Outcome<'_>, now: Instant) -> Option<Transition> {
        let hold = self.hold.take()?;
        self.provider.book(hold, outcome, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.provider.book(hold, &Outcome::Cancelled, time::now().mono);
        }
    }
}

impl Outcome<'_> {
    pub(super) fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Failure { failure, .. } => Some(failure.class),
            Self::Success { .. } | Self::Cancelled => None,
        }
    }
}
