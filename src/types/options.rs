//! What one call may set for itself, over the pool's and the provider's settings.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ensemble::Strategy;
use super::ids::RequestId;
use super::usage::Meter;

/// `None` and empty mean the pool's setting. Every number accepts zero as a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallOptions {
    /// One attempt; in a stream it ends at the first content.
    pub timeout: Option<Duration>,
    /// The whole call, waits and retries included.
    pub deadline: Option<Duration>,
    /// The deadline runs from the first attempt on. What the call waits before that is bounded by `routing.queue_timeout_ms`
    /// alone.
    pub deadline_from_first_attempt: bool,
    /// Further attempts after every eligible provider was asked once; 0 still fails over.
    pub max_retries: Option<u32>,
    /// `Some(false)`: only the first eligible provider is asked.
    pub failover: Option<bool>,
    /// How providers of equal priority share the work.
    pub behaviour: Option<Behaviour>,
    /// Only these providers, by name.
    pub providers: Vec<String>,
    /// Calls of the same session stay with the same provider of a tier while it is available, so that it finds its
    /// prompt cache warm.
    pub session: Option<String>,
    /// The caller's own id for this call, shown in events, errors and the answer.
    pub request_id: Option<RequestId>,
    /// Further HTTP headers for the provider; the adapter's own win.
    pub headers: Vec<(String, String)>,
    /// When the caller handed the call over; `None`: when the pool begins with it. Its latency and its deadline count
    /// from here, so a wait for the thread that answers is not lost.
    pub submitted: Option<Instant>,
    /// Whether the answer may be one that was kept, and whether it is kept; `None`: as `cache.enabled` says.
    pub cache: Option<CacheWish>,
    /// On whose behalf: answers that are kept are never shared between tenants.
    pub tenant: Option<String>,
    /// The tenant stands in what a stranger has shown (a key, a token, a signature): there must be such a tenant, even where
    /// there are none, and errors tell of no money but its own. Default: the program says it.
    pub by_credential: bool,
    /// How several models answer together; `None`: one provider answers, or as the task says.
    pub strategy: Option<Strategy>,
    /// Which task of the configuration this is.
    pub task: Option<String>,
    /// A second provider is asked as well after so long, whatever `qos.hedge` says and outside of its budget.
    pub hedge_after: Option<Duration>,
    /// What every attempt costs is added here as well, also of those that fail or are left.
    pub meter: Option<Meter>,
}

impl CallOptions {
    /// Several models may answer, or a task says how it is done.
    pub fn is_planned(&self) -> bool {
        self.strategy.is_some() || self.task.is_some()
    }
}

/// What a call wants of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheWish {
    /// Nothing: a new answer, which is not kept.
    Off,
    /// An answer that was kept will do; a new one is kept for as long as `cache.ttl_seconds` says.
    On,
    /// The same, kept for so long; for no time at all, only identical calls under way share one answer.
    For(Duration),
}

/// How providers share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// In the order of the config; the second of a tier works only while the first cannot.
    Failover,
    /// Round robin over all, whatever their priority.
    Distribute,
    /// Round robin inside a tier.
    Combination,
    /// In proportion to the weights inside a tier, evenly spread.
    Weighted,
    /// The better of two drawn at random inside a tier, by latency, failures and calls under way.
    #[default]
    Adaptive,
}

impl Behaviour {
    pub const ALL: [Self; 5] = [Self::Failover, Self::Distribute, Self::Combination, Self::Weighted, Self::Adaptive];

    /// The word in a config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Distribute => "distribute",
            Self::Combination => "combination",
            Self::Weighted => "weighted",
            Self::Adaptive => "adaptive",
        }
    }

    /// The tier of a provider of this priority; lower is asked first.
    pub const fn tier(self, priority: u32) -> u32 {
        match self {
            Self::Distribute => 0,
            Self::Failover | Self::Combination | Self::Weighted | Self::Adaptive => priority,
        }
    }
}
