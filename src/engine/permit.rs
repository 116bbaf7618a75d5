//! The right to ask one provider once.
//!
//! Only [`Provider::admit`] makes one. It is settled exactly once: by [`Permit::settle`] with the outcome, or by being
//! dropped, which is a cancellation: the slots and a half-open breaker's probe return and nobody is blamed. Before the
//! first byte of the request everything reserved is given back. After it the request counts, because the provider
//! counted it too, and its tokens and money are booked at the estimate of the prompt plus what had been received.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Slot;
use super::models::Model;
use super::provider::Provider;
use super::purse::Money;
use super::tenants::Taken;
use crate::error::{Failure, FailureClass};
use crate::metrics::ModelId;
use crate::policy::{Pace, Pass, Reservation, Transition};
use crate::time::{self, Instant, Now};
use crate::tokens::{Counter, PromptSize};
use crate::transport::Started;
use crate::types::{ChatRequest, Meter, NanoUsd, Reply, Usage};

#[must_use = "a permit that is dropped counts as a cancelled attempt"]
pub struct Permit {
    provider: Arc<Provider>,
    /// Taken when it is settled, so that dropping it afterwards does nothing.
    hold: Option<Hold>,
}

/// What was reserved.
pub(super) struct Hold {
    pub key: u32,
    pub known: Arc<Model>,
    /// Counted in the order of admission.
    pub number: u64,
    pub model: ModelId,
    /// The call had asked nobody before.
    pub first: bool,
    pub reservation: Reservation,
    pub money: Money,
    /// Of the tenant of the call, where it has one.
    pub tenant: Option<Taken>,
    pub pass: Pass,
    pub dispatch: Option<Dispatch>,
    /// Of the pool.
    pub slot: Option<Slot>,
    /// Of the call, where somebody wants to know what all of it costs.
    pub meter: Option<Meter>,
}

/// A request that was handed to the transport.
pub(super) struct Dispatch {
    pub sent: Instant,
    pub unix_ms: u64,
    /// Which latency it will tell, and whether it has told it; one that is no chat tells none.
    pub pace: Pace,
    pub measured: bool,
    /// Whether a byte of it has gone out.
    pub started: Started,
    /// What the prompt is counted by if the answer never says.
    pub size: PromptSize,
    /// Tokens that the answer cannot exceed, however they are counted.
    pub bound: Option<u32>,
}

/// How an attempt ended, for the provider's books.
pub enum Outcome<'a> {
    Success { latency: Duration, first_token: Option<Duration>, usage: &'a Usage, cost: Option<NanoUsd> },
    Failure { failure: &'a Failure, model: &'a str, spent: Spent<'a> },
    Cancelled { received: u64 },
}

/// What a failed attempt came to.
#[derive(Clone, Copy)]
pub enum Spent<'a> {
    /// Tokens of content that had come, about.
    Received(u64),
    /// A whole answer came, and is not taken.
    Answer { usage: &'a Usage, cost: Option<NanoUsd> },
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

    /// This is the call's first choice.
    pub(super) fn first_choice(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.first = true;
        }
    }

    /// Counted in the order of admission.
    pub(super) fn number(&self) -> u64 {
        self.hold.as_ref().map_or(0, |hold| hold.number)
    }

    /// Takes the pool's slot along until it is settled.
    pub(super) fn occupy(&mut self, slot: Option<Slot>) {
        if let Some(hold) = &mut self.hold {
            hold.slot = slot;
        }
    }

    /// What it comes to is added here as well.
    pub(super) fn metered(&mut self, meter: Option<Meter>) {
        if let Some(hold) = &mut self.hold {
            hold.meter = meter;
        }
    }

    /// The request goes to the transport. From its first byte on it counts, whatever becomes of it.
    pub(super) fn dispatch(&mut self, dispatch: Dispatch) {
        if let Some(hold) = &mut self.hold {
            hold.dispatch = Some(dispatch);
        }
    }

    /// As the provider reported it, or counted here and marked so.
    pub(super) fn usage(&self, reply: &Reply, request: &ChatRequest) -> Usage {
        let usage = self.counter().map_or_else(Usage::default, |counter| counter.usage(request, reply));
        let bounded = self.within_bound(usage.completion_tokens);
        if !usage.estimated || bounded == usage.completion_tokens {
            return usage;
        }
        Usage { estimated: true, ..Usage::reported(usage.prompt_tokens, bounded) }
    }

    fn within_bound(&self, tokens: u64) -> u64 {
        let bound = self.hold.as_ref().and_then(|hold| hold.dispatch.as_ref()?.bound);
        bound.map_or(tokens, |bound| tokens.min(bound.into()))
    }

    /// Tokens of what has come, about.
    pub(super) fn received(&self, reply: &Reply) -> u64 {
        self.within_bound(self.counter().map_or(0, |counter| counter.received(reply)))
    }

    fn counter(&self) -> Option<&Counter> {
        self.hold.as_ref().map(|hold| &hold.known.counter)
    }

    /// What an answer costs; `None`: unknown.
    pub(super) fn cost(&self, usage: &Usage) -> Option<NanoUsd> {
        let hold = self.hold.as_ref()?;
        hold.known.cost(usage, hold.dispatch.as_ref()?.unix_ms)
    }

    /// Content has come: a half-open breaker need not wait for the end. The answer says whether it moved.
    pub(super) fn prove(&mut self, now: Instant) -> Option<Transition> {
        self.provider.prove(self.hold.as_mut()?, now)
    }

    /// Books the outcome. The answer says whether the breaker moved.
    pub fn settle(mut self, outcome: &Outcome<'_>, now: Now) -> Option<Transition> {
        let hold = self.hold.take()?;
        self.provider.book(hold, outcome, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.provider.book(hold, &Outcome::Cancelled { received: 0 }, time::now());
        }
    }
}

impl Outcome<'_> {
    pub(super) fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Failure { failure, .. } => Some(failure.class),
            Self::Success { .. } | Self::Cancelled { .. } => None,
        }
    }
}
