//! Everything worth telling. Events are built only when somebody listens: the emitter asks [`Interest`] first, and
//! `tracing` beside it.

pub mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use tracing::Span;

use crate::types::{Judgement, Labels, NanoUsd, ProviderName, RequestId, Strategy, Usage, Vote};

/// One event, in the shape JavaScript listeners see (`type` is the event's name there).
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    RequestSuccess {
        request_id: RequestId,
        provider: ProviderName,
        model: String,
        /// Which attempt of the call, counted from 1.
        attempt: u32,
        latency_ms: f64,
        usage: Usage,
        cost: Option<NanoUsd>,
        /// Answered by what was kept, or by the run of a call that was the same; then `attempt` is 0.
        cached: bool,
        /// On whose behalf.
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        /// Failed attempts of this call before it.
        total_errors: u32,
        excluded_providers: Vec<ProviderName>,
    },
    RequestError {
        request_id: RequestId,
        provider: ProviderName,
        attempt: u32,
        error: String,
        error_class: &'static str,
        status: Option<u16>,
        retryable: bool,
        /// On whose behalf.
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        excluded_providers: Vec<ProviderName>,
    },
    CircuitOpen {
        provider: ProviderName,
        reason: String,
        /// Unix milliseconds of the first probe.
        retry_at: u64,
    },
    CircuitHalfOpen {
        provider: ProviderName,
    },
    CircuitClose {
        provider: ProviderName,
    },
    RateLimited {
        provider: ProviderName,
        /// `requests_per_minute`, `requests_per_day`, or `upstream` when the provider said so.
        kind: &'static str,
        /// Unix milliseconds; `null` when nobody said.
        reset_at: Option<u64>,
    },
    /// Active checks found a provider broken, or up again; or the program marked it, or cleared the mark.
    HealthChanged {
        provider: ProviderName,
        healthy: bool,
        /// What the last check failed with, or that it was marked; `null` when it is up again.
        reason: Option<String>,
        /// Unix milliseconds at which a mark ends by itself, which no further event tells; `null` for all else.
        retry_at: Option<u64>,
    },
    /// `warn_at` of a budget is spent: once per day or month.
    BudgetWarning {
        /// `pool`, `provider` with its name, or `tenant` with its id.
        scope: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        provider: Option<ProviderName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        /// `daily` or `monthly`.
        period: &'static str,
        spent: NanoUsd,
        limit: NanoUsd,
        /// Unix milliseconds at which the period begins anew.
        reset_at: u64,
    },
    /// A call was over because of a limit of its tenant's.
    TenantRefused {
        /// `null`: it was refused before it had one.
        request_id: Option<RequestId>,
        tenant: String,
        /// The key of the limit: `rps`, `tokens_per_day`, `budget`, `tasks`, `models` or `enabled`; `id`: there is no such
        /// tenant.
        limit: &'static str,
        /// Unix milliseconds at which there is room again; `null`: a wait does not help, or nobody knows how long.
        reset_at: Option<u64>,
    },
    /// A call with a strategy or a task was answered.
    Decision {
        request_id: RequestId,
        /// `null`: of no task.
        task: Option<String>,
        strategy: Strategy,
        strategy_used: Strategy,
        /// Who gave the answer.
        provider: ProviderName,
        model: String,
        /// The answers that were compared.
        votes: Vec<Vote>,
        judge: Option<Judgement>,
        /// A second provider was asked before the first had answered.
        hedged: bool,
        cached: bool,
        latency_ms: f64,
        cost: Option<NanoUsd>,
        #[serde(flatten)]
        labels: Labels,
    },
    Debug {
        message: String,
    },
}

impl Event {
    pub fn kind(&self) -> EventKind {
        match self {
            Self::RequestSuccess { .. } => EventKind::RequestSuccess,
            Self::RequestError { .. } => EventKind::RequestError,
            Self::CircuitOpen { .. } => EventKind::CircuitOpen,
            Self::CircuitHalfOpen { .. } => EventKind::CircuitHalfOpen,
            Self::CircuitClose { .. } => EventKind::CircuitClose,
            Self::RateLimited { .. } => EventKind::RateLimited,
            Self::HealthChanged { .. } => EventKind::HealthChanged,
            Self::BudgetWarning { .. } => EventKind::BudgetWarning,
            Self::TenantRefused { .. } => EventKind::TenantRefused,
            Self::Decision { .. } => EventKind::Decision,
            Self::Debug { .. } => EventKind::Debug,
        }
    }
}

/// The kinds of events, as bits of an interest mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum EventKind {
    RequestSuccess = 1 << 0,
    RequestError = 1 << 1,
    CircuitOpen = 1 << 2,
    CircuitHalfOpen = 1 << 3,
    CircuitClose = 1 << 4,
    RateLimited = 1 << 5,
    Debug = 1 << 6,
    HealthChanged = 1 << 7,
    BudgetWarning = 1 << 8,
    Decision = 1 << 9,
    TenantRefused = 1 << 10,
}

impl EventKind {
    pub const ALL: [Self; 11] = [
        Self::RequestSuccess,
        Self::RequestError,
        Self::CircuitOpen,
        Self::CircuitHalfOpen,
        Self::CircuitClose,
        Self::RateLimited,
        Self::HealthChanged,
        Self::BudgetWarning,
        Self::TenantRefused,
        Self::Decision,
        Self::Debug,
    ];

    /// The name a listener subscribes to.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestSuccess => "requestSuccess",
            Self::RequestError => "requestError",
            Self::CircuitOpen => "circuitOpen",
            Self::CircuitHalfOpen => "circuitHalfOpen",
            Self::CircuitClose => "circuitClose",
            Self::RateLimited => "rateLimited",
            Self::HealthChanged => "healthChanged",
            Self::BudgetWarning => "budgetWarning",
            Self::TenantRefused => "tenantRefused",
            Self::Decision => "decision",
            Self::Debug => "debug",
        }
    }
}

/// Which events somebody listens to. Shared by a pool and its listeners; read once per event, without a lock.
#[derive(Debug, Default)]
pub struct Interest(AtomicU32);

impl Interest {
    pub fn set(&self, kind: EventKind, wanted: bool) {
        if wanted {
            self.0.fetch_or(kind as u32, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!(kind as u32), Ordering::Relaxed);
        }
    }

    pub fn wants(&self, kind: EventKind) -> bool {
        self.0.load(Ordering::Relaxed) & kind as u32 != 0
    }
}

/// The events of one call, in order, until they ride out with its completion.
#[derive(Debug)]
pub struct EventLog {
    interest: Arc<Interest>,
    events: Vec<Event>,
    /// In which they are traced.
    span: Span,
}

impl EventLog {
    pub fn new(interest: Arc<Interest>) -> Self {
        Self { interest, events: Vec::new(), span: Span::none() }
    }

    /// Events from here on are those of this call.
    pub fn begin(&mut self, call: Span) {
        self.span = call;
    }

    /// The call's own, as `tracing` knows it; disabled where nobody subscribes.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Builds the event if anybody wants to hear of its kind, and keeps it for those who listen.
    pub fn emit(&mut self, kind: EventKind, build: impl FnOnce() -> Event) {
        let (heard, traced) = (self.interest.wants(kind), trace::wants(kind));
        if !heard && !traced {
            return;
        }
        let event = build();
        if traced {
            trace::event(&self.span, &event);
        }
        if heard {
            self.events.push(event);
        }
    }

    pub fn debug(&mut self, message: impl FnOnce() -> String) {
        self.emit(EventKind::Debug, || Event::Debug { message: message() });
    }

    /// Takes in what another log has gathered.
    pub fn absorb(&mut self, events: Vec<Event>) {
        self.events.extend(events);
    }

    /// Hands over what was gathered and starts anew.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// Milliseconds as JavaScript counts them.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
