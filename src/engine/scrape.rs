//! The pool as text for scrapers: gathers what the metrics leaf writes down.

use std::sync::atomic::Ordering;

use super::provider::Provider;
use super::snapshot::ProviderHealth;
use super::{Engine, lock};
use crate::metrics::{Exposition, ProviderFigures};
use crate::policy::CircuitState;
use crate::time::{self, Now};

impl Engine {
    /// OpenMetrics 1.0 text.
    pub fn metrics(&self) -> String {
        let now = time::now();
        let exposition = Exposition {
            version: env!("CARGO_PKG_VERSION"),
            calls: Some(lock(&self.tally).counters.clone()),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            providers: self.roster().providers().iter().map(|provider| figures(provider, now)).collect(),
        };
        exposition.text()
    }
}

/// The same of a pool that has no configuration yet.
pub fn metrics_of_nothing() -> String {
    Exposition { version: env!("CARGO_PKG_VERSION"), calls: None, waiting: 0, providers: Vec::new() }.text()
}

fn figures(provider: &Provider, now: Now) -> ProviderFigures {
    provider.look(|live| {
        let models = live.tally.models().cloned().collect();
        let (trips, in_flight) = (live.tally.trips, live.in_flight);
        let breaker = match live.breaker.state(now.mono) {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        };
        let health = ProviderHealth::of(provider, live, now);
        let remaining = [
            ("requests_per_minute", health.requests_remaining),
            ("requests_per_day", health.daily_requests_remaining),
            ("tokens", health.tokens_remaining),
        ];
        ProviderFigures {
            name: provider.name().clone(),
            models,
            trips,
            up: health.available,
            breaker,
            in_flight,
            remaining: remaining.into_iter().filter_map(|(kind, left)| Some((kind, left?))).collect(),
        }
    })
}
