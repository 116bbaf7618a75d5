//! What the program itself knows of a provider: something outside of the pool says that it is broken, or well again.
//!
//! A mark is the provider's own state, so it lives as long as its counts do: a reload that leaves limits, keys, breaker and
//! address alone keeps it. Nothing waits for its end.

use super::run::unix_ms_of;
use super::{Engine, Provider};
use crate::event::{Event, EventKind, EventLog};
use crate::time;

/// The reason in a `healthChanged` event.
const MARKED: &str = "marked as broken";

impl Engine {
    /// Passes this provider over for `routing.error_cooldown_ms` from now, or until the mark is cleared. One that is marked
    /// already is for that long anew.
    pub(crate) fn mark_error(&self, provider: &Provider) -> Vec<Event> {
        let now = time::now();
        let mut log = EventLog::new(self.interest.clone());
        if let Some(marked) = provider.mark(self.roster().routing().error_cooldown, now.mono) {
            log.emit(EventKind::HealthChanged, || Event::HealthChanged {
                provider: provider.name().clone(),
                healthy: false,
                reason: Some(MARKED.to_owned()),
                retry_at: marked.until.map(|until| unix_ms_of(until, now)),
            });
        }
        log.take()
    }

    /// Ends a mark before its time; `None`: there was none.
    pub(crate) fn clear_error(&self, provider: &Provider) -> Option<Vec<Event>> {
        if !provider.clear_mark(time::now().mono) {
            return None;
        }
        let mut log = EventLog::new(self.interest.clone());
        // What active checks found broken stays so until one of them is answered.
        if provider.is_healthy() {
            log.emit(EventKind::HealthChanged, || Event::HealthChanged {
                provider: provider.name().clone(),
                healthy: true,
                reason: None,
                retry_at: None,
            });
        }
        Some(log.take())
    }
}
