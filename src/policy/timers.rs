//! The six timers of a call: what each measures, from when to when, and which of them fires first.
//!
//! | timer | from | until | default |
//! |---|---|---|---|
//! | connect | the attempt needs a new connection | DNS, TCP and TLS are done | 5 s |
//! | first byte | the request goes out | the reply's head is here | off |
//! | first content | the request goes out | a stream's first content | 30 s |
//! | content idle | a content, or the consumer asking for the next | the next content | 30 s |
//! | attempt | the request goes out | the whole reply; in a stream, its first content | 30 s |
//! | deadline | the call begins | its end, waits and retries included | 600 s |
//!
//! A timer that is `None` is not armed at all. Comments and pings of a stream re-arm nothing: servers send them while no
//! content comes, and a stream that only pings is a stalled one. The first that fires ends the attempt, as a failure of
//! the provider; only the deadline ends the call, as nobody's failure.
//!
//! The connect timer runs inside the transport, which alone sees the connection; the others run in the engine's attempt
//! and stream, over these durations.

use std::time::Duration;

/// A provider's own timers. The attempt and the deadline belong to the pool and to each call.
#[derive(Debug, Clone, PartialEq)]
pub struct TimerParams {
    /// Off by default: a provider that computes before it answers sends nothing until it is done.
    pub first_byte: Option<Duration>,
    /// Half a minute without a word is longer than any queue in front of a healthy model.
    pub first_content: Duration,
    /// Models pause for seconds between two pieces, not for half a minute.
    pub content_idle: Duration,
}

impl Default for TimerParams {
    fn default() -> Self {
        Self { first_byte: None, first_content: Duration::from_secs(30), content_idle: Duration::from_secs(30) }
    }
}
