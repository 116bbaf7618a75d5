//! Why a provider cannot be asked now, and whether that is worth waiting for.

use std::borrow::Cow;
use std::time::Duration;

use super::purse::{Unbounded, Whose};
use crate::error::FailureClass;
use crate::policy::{BreakerOpen, LimitKind, OverBudget};
use crate::time::Instant;
use crate::types::AttemptOutcome;

#[derive(Debug, Clone)]
pub enum Refusal {
    /// The program marked it; `None`: until it clears the mark.
    Marked {
        until: Option<Instant>,
    },
    Breaker {
        retry_at: Option<Instant>,
    },
    Limit {
        kind: LimitKind,
        not_before: Option<Instant>,
    },
    /// Every key that this call has not tried rests, since an answer of this class; without a time, one of them is being
    /// probed by another call.
    Keys {
        class: FailureClass,
        not_before: Option<Instant>,
    },
    /// This call has tried every key.
    KeysTried,
    Model {
        not_before: Instant,
    },
    /// As many attempts as its `max_concurrent` are under way.
    Busy {
        limit: u32,
    },
    /// It has room, for those that have waited longer.
    Behind,
    /// It says that nothing is left of its limits. Not final: where nobody else can be asked, it is asked all the same.
    Spent,
    /// It does not fit into a budget.
    Budget {
        whose: Whose,
        over: OverBudget,
        /// When the budget begins anew; `None`: the request alone asks for more than the limit, or only requests under way
        /// are in the way.
        free_at: Option<Instant>,
    },
    /// It falls under a budget, and nobody knows its price.
    Unpriced {
        whose: Whose,
    },
    /// It falls under a strict budget, and what it may cost has no bound.
    Unbounded {
        whose: Whose,
        what: Unbounded,
    },
    /// The tenant of the call has no tokens left for it today, wherever it is asked.
    TenantTokens {
        tenant: String,
        limit: u64,
        /// `None`: the request alone is more than the limit.
        not_before: Option<Instant>,
    },
    /// As many attempts as `routing.max_concurrent` are under way in the pool, or others wait for a slot in front.
    PoolBusy {
        limit: u32,
    },
}

/// What a wait ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The moment at which it is free.
    Until(Instant),
    /// Somebody who leaves.
    Turn,
}

impl Refusal {
    pub(super) fn open(BreakerOpen { retry_at }: BreakerOpen) -> Self {
        Self::Breaker { retry_at }
    }

    /// What could be waited for. A mark, an open breaker and a missing model are not, and neither is a key that was refused.
    pub fn worth_waiting(&self) -> Option<Wait> {
        match self {
            Self::Limit { not_before, .. } => not_before.map(Wait::Until),
            Self::Keys { class, not_before } if class.is_rate_signal() => not_before.map(Wait::Until),
            Self::Busy { limit } => (*limit > 0).then_some(Wait::Turn),
            Self::Behind | Self::PoolBusy { .. } => Some(Wait::Turn),
            Self::Marked { .. } | Self::Breaker { .. } => None,
            Self::Keys { .. } | Self::KeysTried | Self::Model { .. } | Self::Spent => None,
            // Nobody waits for a day.
            Self::Budget { .. } | Self::Unpriced { .. } | Self::Unbounded { .. } | Self::TenantTokens { .. } => None,
        }
    }

    /// When it ends by itself, where that is known.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Marked { until: at }
            | Self::Breaker { retry_at: at }
            | Self::Limit { not_before: at, .. }
            | Self::Keys { not_before: at, .. }
            | Self::TenantTokens { not_before: at, .. }
            | Self::Budget { free_at: at, .. } => *at,
            Self::Model { not_before } => Some(*not_before),
            Self::KeysTried | Self::Busy { .. } | Self::Behind | Self::Spent | Self::PoolBusy { .. } => None,
            Self::Unpriced { .. } | Self::Unbounded { .. } => None,
        }
    }

    /// Does it hold for every call alike? A key that only this call may not use any more keeps nobody else waiting.
    pub fn is_common(&self) -> bool {
        matches!(self, Self::Limit { .. } | Self::Busy { .. } | Self::Behind | Self::PoolBusy { .. })
    }

    pub fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::Marked { .. } => AttemptOutcome::Marked,
            Self::Breaker { .. } => AttemptOutcome::BreakerOpen,
            Self::Limit { .. } | Self::Spent | Self::TenantTokens { .. } => AttemptOutcome::RateLimited,
            Self::Keys { .. } | Self::KeysTried => AttemptOutcome::KeyCooling,
            Self::Model { .. } => AttemptOutcome::ModelMissing,
            Self::Busy { .. } | Self::Behind | Self::PoolBusy { .. } => AttemptOutcome::Busy,
            Self::Budget { .. } | Self::Unpriced { .. } | Self::Unbounded { .. } => AttemptOutcome::Budget,
        }
    }

    /// The same for a tenant's own clients: what the pool and its providers may spend, and have spent, is not theirs to know.
    pub fn describe_to_strangers(&self, now: Instant) -> String {
        match self {
            Self::Budget { whose: whose @ (Whose::Pool | Whose::Provider(_)), over, free_at } => {
                let then = match free_at {
                    None if over.is_held() => "requests under way hold the rest until they end".to_owned(),
                    _ => anew(*free_at, now),
                };
                format!("{} {} budget has no room for it; {then}", budget_of(whose), over.period.as_str())
            }
            other => other.describe(now),
        }
    }

    pub fn describe(&self, now: Instant) -> String {
        let seconds = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
        match self {
            Self::Marked { until: Some(until) } => {
                format!("it was marked as broken; asked again in {:.1} s", seconds(*until))
            }
            Self::Marked { until: None } => "it was marked as broken until that is cleared".to_owned(),
            Self::Breaker { retry_at: Some(at) } => {
                format!("its circuit breaker is open; the next probe is in {:.1} s", seconds(*at))
            }
            Self::Breaker { retry_at: None } => "its circuit breaker is half-open and a probe is under way".to_owned(),
            Self::Limit { kind, not_before: Some(at) } => {
                format!("{} is reached; free in {:.1} s", kind.as_str(), seconds(*at))
            }
            Self::Limit { kind: kind @ (LimitKind::Minute | LimitKind::Day), not_before: None } => {
                format!("{} is 0", kind.as_str())
            }
            Self::Limit { kind, not_before: None } => {
                format!("{} is less than this request alone", kind.as_str())
            }
            Self::Keys { class, not_before: Some(at) } => {
                format!("its key rests for {:.1} s after a failure of class {class}", seconds(*at))
            }
            Self::Keys { class, not_before: None } => {
                format!("its key is being probed after a failure of class {class}")
            }
            Self::KeysTried => "each of its keys was tried".to_owned(),
            Self::Model { not_before } => {
                format!("it said it does not have this model; asked again in {:.0} s", seconds(*not_before))
            }
            Self::Busy { limit } => format!("its max_concurrent of {limit} is reached"),
            Self::Spent => "it says that nothing is left of its limits".to_owned(),
            Self::Budget { whose, over, free_at } => {
                let OverBudget { period, limit, spent, reserved, asked, .. } = over;
                let [limit, spent, reserved, asked] = [limit, spent, reserved, asked].map(|nano| nano.as_usd());
                let (whose, period) = (budget_of(whose), period.as_str());
                let then = match free_at {
                    None if over.is_held() => format!("requests under way hold {reserved} USD until they end"),
                    _ => anew(*free_at, now),
                };
                format!(
                    "{whose} {period} budget of {limit} USD has no room for {asked} USD: {spent} USD are spent and \
                     {reserved} USD reserved; {then}"
                )
            }
            Self::Unpriced { whose } => {
                let whose = budget_of(whose);
                format!(
                    "{whose} budget cannot count it, because nobody knows the price of the model: set input_token_price \
                     and output_token_price, or on_unknown_price: \"allow\""
                )
            }
            Self::Unbounded { whose, what } => {
                format!("{} budget is strict, and {}", budget_of(whose), what.describe())
            }
            Self::TenantTokens { tenant, limit, not_before } => {
                let then = match not_before {
                    Some(at) => format!("the next day begins in {}", span(at.saturating_duration_since(now))),
                    None => "this request alone is more".to_owned(),
                };
                format!("the tenant {tenant:?} has no room for it in its tokens_per_day of {limit}; {then}")
            }
            Self::Behind => "other calls have waited for it longer".to_owned(),
            Self::PoolBusy { limit } => format!("the pool's routing.max_concurrent of {limit} is reached"),
        }
    }
}

/// When a budget has room that requests under way are not in the way of.
fn anew(free_at: Option<Instant>, now: Instant) -> String {
    free_at.map_or_else(
        || "this request alone is more".to_owned(),
        |at| format!("it begins anew in {}", span(at.saturating_duration_since(now))),
    )
}

fn budget_of(whose: &Whose) -> Cow<'static, str> {
    match whose {
        Whose::Provider(_) => "its".into(),
        Whose::Pool => "the pool's".into(),
        Whose::Tenant(id) => format!("the tenant {id:?}'s").into(),
    }
}

/// As people say it.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

impl Unbounded {
    /// What to do about it, too.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Answer => "neither the call nor the provider sets max_tokens",
            Self::Parts => "what pictures, sound and files cost has no bound: the model's context_window is not known",
            Self::ExtraBody => "extra_body may change what the request costs",
            Self::Unread => "the call has a field that the pool passes on unread, which may change what it costs",
            Self::Function => "what a function costs has no bound: only mode \"soft\" can count it",
        }
    }

    /// The field of the request that is to blame.
    pub fn field(self) -> &'static str {
        match self {
            Self::Answer => "max_tokens",
            Self::Parts => "messages",
            Self::ExtraBody => "extra_body",
            Self::Unread => "",
            Self::Function => "fn",
        }
    }
}
