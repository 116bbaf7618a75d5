//! The only door to the clock.
//!
//! Everything that needs the time gets it from here or, better, as an argument. The monotonic clock is tokio's, so a
//! test that pauses it pauses the whole pool.

use std::time::{SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// One reading of both clocks: the monotonic one for waits and windows, the wall for calendar days and the caller.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub mono: Instant,
    /// Milliseconds since the Unix epoch; a wall that was set before 1970 reads 0.
    pub unix_ms: u64,
}

pub fn now() -> Now {
    Now { mono: Instant::now(), unix_ms: unix_ms() }
}

#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits until `deadline`; a deadline that has passed returns at once.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// Runs `future` until `deadline` at most. `None` sets no timer at all.
pub async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, Elapsed> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await,
        None => Ok(future.await),
    }
}
