//! Follows the source of a configuration: looks when something has happened to a file, and asks again from time to time.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::control::{Change, Control};
use crate::config::Watch;
use crate::error::Error;
use crate::event::trace;
use crate::policy::BackoffParams;
use crate::time;

/// A server that failed is asked again after this, then less and less often, down to the usual interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Something that nobody asked for.
#[derive(Debug)]
pub enum Notice {
    /// Another configuration is in force.
    Changed(Box<Change>),
    /// What is there now cannot be used; what was in force stays. Told once, until it is something else.
    Rejected(Error),
}

/// The task that follows. It holds no pool: when that is gone or shut down, it ends.
#[must_use = "nothing is followed until it runs"]
pub struct Follower {
    pub(super) control: Weak<Control>,
    pub(super) stop: CancellationToken,
    pub(super) watch: Option<Watch>,
    /// `None`: only what is watched.
    pub(super) interval: Option<Duration>,
    /// A failure to read is worth asking again soon, and the start was already one.
    pub(super) remote: bool,
    pub(super) failed: bool,
}

impl Follower {
    /// Runs until the pool is gone or shut down. `tell` must not wait.
    pub async fn run(self, tell: impl Fn(Notice)) {
        let mut failures = u32::from(self.failed);
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.due(failures) => {}
            }
            let Some(control) = self.control.upgrade() else { return };
            let outcome = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                outcome = control.refresh(None) => outcome,
            };
            if let Some(watch) = &self.watch {
                watch.also(&control.files());
            }
            drop(control);
            match outcome {
                Ok(change) => {
                    (failures, told) = (0, None);
                    if let Some(change) = change {
                        tell(Notice::Changed(Box::new(change)));
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let said = error.to_string();
                    if told.as_ref() != Some(&said) {
                        told = Some(said);
                        trace::rejected("reload", &error);
                        tell(Notice::Rejected(error));
                    }
                }
            }
        }
    }

    /// Resolves when it is time to look.
    async fn due(&self, failures: u32) {
        let wake = self.wait(failures).map(|wait| time::now().mono + wait);
        match (&self.watch, wake) {
            // That the time is over is as good a reason as any other.
            (Some(watch), wake) => drop(time::until(wake, watch.changed()).await),
            (None, Some(wake)) => time::sleep_until(wake).await,
            (None, None) => std::future::pending().await,
        }
    }

    fn wait(&self, failures: u32) -> Option<Duration> {
        let interval = self.interval?;
        match failures.checked_sub(1) {
            Some(before) if self.remote => {
                let backoff = BackoffParams { base: FIRST_RETRY.min(interval), multiplier: 2.0, max: interval };
                Some(backoff.delay(before, fastrand::f64()))
            }
            _ => Some(interval),
        }
    }
}
