//! What one call may set for itself, over the pool's and the provider's settings.

use std::time::{Duration, Instant};

use super::ids::RequestId;

/// `None` and empty mean the pool's setting. Every number accepts zero as a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallOptions {
    /// One attempt; in a stream it ends at the first content.
    pub timeout: Option<Duration>,
    /// The whole call, waits and retries included.
    pub deadline: Option<Duration>,
    /// Further attempts after every eligible provider was asked once; 0 still fails over.
    pub max_retries: Option<u32>,
    /// `Some(false)`: only the first eligible provider is asked.
    pub failover: Option<bool>,
    /// Only these providers, by name.
    pub providers: Vec<String>,
    /// The caller's own id for this call, shown in events, errors and the answer.
    pub request_id: Option<RequestId>,
    /// Further HTTP headers for the provider; the adapter's own win.
    pub headers: Vec<(String, String)>,
    /// When the caller handed the call over; `None`: when the pool begins with it. Its latency and its deadline count
    /// from here, so a wait for the thread that answers is not lost.
    pub submitted: Option<Instant>,
}
