//! The pool as text for scrapers: gathers what the metrics leaf writes down.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::provider::Provider;
use super::purse::BudgetPeriodStats;
use super::snapshot::ProviderHealth;
use super::tenants::Tenant;
use super::{Engine, lock};
use crate::metrics::{BudgetFigures, ConfigFigures, Exposition, HedgeFigures, ProviderFigures};
use crate::policy::CircuitState;
use crate::time::{self, Now};

impl Engine {
    /// OpenMetrics 1.0 text.
    pub fn metrics(&self, config: ConfigFigures) -> String {
        let now = time::now();
        let hedges = lock(&self.hedges);
        let hedges = HedgeFigures { won: hedges.won, lost: hedges.lost };
        let exposition = Exposition {
            version: env!("CARGO_PKG_VERSION"),
            calls: Some(lock(&self.tally).counters.clone()),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            config: Some(config),
            hedges,
            budgets: self.budget_figures(now),
            plans: lock(&self.plans).clone(),
            tenants: self.tenant_figures(now),
            providers: self.roster().providers().iter().map(|provider| figures(provider, now)).collect(),
        };
        exposition.text()
    }

    fn budget_figures(&self, now: Now) -> Vec<BudgetFigures> {
        let roster = self.roster();
        let pool = self.purse.load();
        let pool = pool.as_ref().map(|purse| (None, None, purse.stats(now.unix_ms)));
        let own = |provider: &Arc<Provider>| {
            Some((Some(provider.name().clone()), None, provider.purse()?.stats(now.unix_ms)))
        };
        let of_tenant =
            |tenant: &Arc<Tenant>| Some((None, Some(tenant.id().to_owned()), tenant.purse()?.stats(now.unix_ms)));
        let own = roster.providers().iter().filter_map(own).chain(roster.tenants().filter_map(of_tenant));
        let mut figures = Vec::new();
        for (provider, tenant, stats) in pool.into_iter().chain(own) {
            figures.extend(stats.periods().map(|(period, BudgetPeriodStats { limit, spent, reserved, reset_at })| {
                BudgetFigures {
                    provider: provider.clone(),
                    tenant: tenant.clone(),
                    period,
                    limit,
                    spent,
                    reserved,
                    reset_unix_ms: reset_at,
                }
            }));
        }
        figures
    }
}

/// The same of a pool that has no configuration yet.
pub fn metrics_of_nothing() -> String {
    Exposition::of_nothing(env!("CARGO_PKG_VERSION")).text()
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
