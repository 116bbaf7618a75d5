//! What a pool does beside the calls: it opens the connections that are to be warm, and asks the providers whether they are
//! up.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::event::Event;
use crate::time;

/// The task that does it. It keeps no pool alive, and ends with it.
#[must_use = "nothing is done until it runs"]
pub struct Upkeep {
    pub(super) engine: Weak<Engine>,
    pub(super) stop: CancellationToken,
    /// Told of every other configuration.
    pub(super) swapped: Arc<Notify>,
}

impl Upkeep {
    /// Returns when the pool is shut down or gone. `tell` gets what has changed.
    pub async fn run(self, tell: impl Fn(Vec<Event>)) {
        let Self { engine, stop, swapped } = self;
        let work = async {
            if let Some(engine) = engine.upgrade() {
                engine.warm_up().await;
            }
            let mut checked = None;
            // Asked anew each time: a reload may have changed it, and the pool may be gone.
            while let Some(engine) = engine.upgrade() {
                let (active, interval) = {
                    let roster = engine.roster();
                    (roster.health().active, roster.health().interval)
                };
                if !active {
                    checked = None; // switched on again, the first check is at once
                    drop(engine);
                    swapped.notified().await;
                    continue;
                }
                let due = checked.map_or_else(|| time::now().mono, |last| last + interval);
                if due <= time::now().mono {
                    tell(engine.check_providers().await);
                    checked = Some(time::now().mono);
                    continue;
                }
                drop(engine);
                // A reload may have made it sooner.
                let _ = time::until(Some(due), swapped.notified()).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }
}
