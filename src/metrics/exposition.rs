//! The counters as text for scrapers: OpenMetrics 1.0.
//!
//! One value of [`Exposition`] is what was so at one moment; it holds copies, so nothing is locked while text is made.
//! Names, labels and meanings are documented in `docs/stats.md`. Labels come from the configuration and from closed lists
//! of our own words, so their number is bounded by the configuration; a key, a user or a prompt is never among them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Buckets, CallCounters, Failover, ModelTally, PlanTally, TenantTotals};
use crate::types::{NanoUsd, ProviderName};

/// Everything that is shown.
#[derive(Debug)]
pub struct Exposition {
    /// Of this library.
    pub version: &'static str,
    /// `None` before the pool has a configuration.
    pub calls: Option<CallCounters>,
    /// Calls that wait for capacity.
    pub waiting: u64,
    /// `None` before the pool has a configuration.
    pub config: Option<ConfigFigures>,
    /// Second copies of calls, by how they ended.
    pub hedges: HedgeFigures,
    /// Every limit of every budget.
    pub budgets: Vec<BudgetFigures>,
    pub plans: PlanTally,
    pub providers: Vec<ProviderFigures>,
    /// Those of the configuration, and no others.
    pub tenants: Vec<TenantFigures>,
}

/// Which configuration is in force, and what became of attempts to put another one there.
#[derive(Debug, Clone)]
pub struct ConfigFigures {
    /// 1 at the start; one more with every change.
    pub version: u64,
    /// SHA-256 of its text.
    pub hash: String,
    pub reloads: u64,
    /// What was in force stayed.
    pub failed_reloads: u64,
    /// When the source was last taken over or found unchanged.
    pub last_success_unix_ms: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct HedgeFigures {
    pub won: u64,
    pub lost: u64,
}

/// One limit of a budget.
#[derive(Debug, Clone)]
pub struct BudgetFigures {
    /// Whose it is, where it is a provider's; with no tenant either it is the pool's.
    pub provider: Option<ProviderName>,
    /// Whose it is, where it is a tenant's.
    pub tenant: Option<String>,
    pub period: &'static str,
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    pub reserved: NanoUsd,
    pub reset_unix_ms: u64,
}

/// One provider of the pool.
#[derive(Debug)]
pub struct ProviderFigures {
    pub name: ProviderName,
    pub models: Vec<ModelTally>,
    /// Times its breaker opened.
    pub trips: u64,
    /// It can be asked now.
    pub up: bool,
    /// 0 closed, 1 half-open, 2 open.
    pub breaker: u8,
    pub in_flight: u32,
    /// By limit; only the limits there are.
    pub remaining: Vec<(&'static str, u64)>,
}

/// One tenant of the configuration.
#[derive(Debug)]
pub struct TenantFigures {
    pub id: String,
    pub totals: TenantTotals,
    /// By limit; only the limits there are.
    pub remaining: Vec<(&'static str, u64)>,
}

// === impl Exposition ===

impl Exposition {
    /// Of a pool that has no configuration yet.
    pub fn of_nothing(version: &'static str) -> Self {
        Self {
            version,
            calls: None,
            waiting: 0,
            config: None,
            hedges: HedgeFigures::default(),
            budgets: Vec::new(),
            plans: PlanTally::default(),
            providers: Vec::new(),
            tenants: Vec::new(),
        }
    }

    /// The text, with its end mark.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string cannot fail, and there is nothing else to go wrong.
        let _ = text::encode(&mut text, &registry);
        text
    }

    fn calls(&self, out: &mut Families<'_>) -> fmt::Result {
        let Some(calls) = &self.calls else { return Ok(()) };
        let CallCounters { overhead, strategies, retries, cache_hits, cache_misses, deadlines, failovers, .. } = calls;
        let routes: Vec<_> = calls.routes().map(|(route, tally)| (route.as_str(), tally)).collect();
        out.counter(
            "llmpool_requests",
            "Calls that ended, by how they were asked and how they ended",
            routes.iter().flat_map(|(route, tally)| {
                [("success", tally.succeeded), ("error", tally.failed), ("cancelled", tally.cancelled)]
                    .map(|(outcome, count)| ([("route", *route), ("outcome", outcome)], count))
            }),
        )?;
        out.histogram(
            "llmpool_request_duration",
            "From a call to its end, for calls that succeeded or failed",
            routes.iter().map(|(route, tally)| ([("route", *route)], &tally.duration)),
        )?;
        out.histogram(
            "llmpool_overhead",
            "The part of a successful call that was the pool's own: its duration less upstream time and waits",
            [(NONE, overhead)],
        )?;
        out.counter(
            "llmpool_strategy_usage",
            "Calls by the behaviour that ordered their providers",
            strategies.iter().map(|(strategy, count)| ([("strategy", strategy)], count)),
        )?;
        out.counter(
            "llmpool_failovers",
            "Moves of a call to another provider, by the class of the failure before",
            failovers.iter().map(|Failover { from, to, reason, count }| {
                ([("from", from.as_str()), ("to", to.as_str()), ("reason", *reason)], *count)
            }),
        )?;
        out.counter(
            "llmpool_retries",
            "Attempts at a provider that the same call had asked before",
            [(NONE, *retries)],
        )?;
        let HedgeFigures { won, lost } = self.hedges;
        out.counter(
            "llmpool_hedges",
            "Second copies of calls that ended: won answered first",
            [("won", won), ("lost", lost)].map(|(outcome, count)| ([("outcome", outcome)], count)),
        )?;
        out.counter(
            "llmpool_cache_lookups",
            "Calls that looked for a kept answer, by whether there was one; identical calls under way count as hits",
            [("hit", *cache_hits), ("miss", *cache_misses)].map(|(outcome, count)| ([("outcome", outcome)], count)),
        )?;
        out.counter(
            "llmpool_deadline_exceeded",
            "Calls that ended because their deadline had passed",
            [(NONE, *deadlines)],
        )?;
        out.gauge("llmpool_queue_depth", "Calls that wait for capacity", [(NONE, self.waiting)])?;
        self.tasks(out)
    }

    /// Calls with a strategy and no task have the empty name.
    fn tasks(&self, out: &mut Families<'_>) -> fmt::Result {
        let tasks: Vec<_> = self.plans.tasks().collect();
        out.counter(
            "llmpool_task_requests",
            "Calls of tasks that ended; a hit was kept, or made for an identical call",
            tasks.iter().flat_map(|(name, task)| {
                let made = task.succeeded - task.cache_hits;
                [("success", made), ("hit", task.cache_hits), ("error", task.failed)]
                    .map(|(outcome, count)| ([("task", *name), ("outcome", outcome)], count))
            }),
        )?;
        out.counter(
            "llmpool_task_hedges",
            "Second copies that FASTEST sent out",
            tasks.iter().map(|(name, task)| ([("task", *name)], task.hedges)),
        )?;
        out.counter(
            "llmpool_task_strategies",
            "Answers that were made, by the strategy that decided in the end",
            tasks.iter().flat_map(|(name, task)| {
                task.strategies.iter().map(|(strategy, count)| ([("task", *name), ("strategy", strategy)], count))
            }),
        )?;
        out.counter(
            "llmpool_task_winners",
            "Answers that were made, by who gave them",
            tasks.iter().flat_map(|(name, task)| {
                let winners = task.winners.iter();
                winners.map(|(provider, count)| ([("task", *name), ("provider", provider.as_str())], *count))
            }),
        )
    }

    fn attempts(&self, out: &mut Families<'_>) -> fmt::Result {
        out.counter(
            "llmpool_attempts",
            "Requests to providers that ended; error_type is the class of a failure",
            self.models().flat_map(|(provider, model)| {
                let whole = [("success", "", model.succeeded), ("cancelled", "", model.cancelled)];
                let failed = model.failed.iter().map(|(class, count)| ("failure", class, count));
                whole.into_iter().chain(failed).map(move |(outcome, class, count)| {
                    ([of_provider(provider), of_model(model), ("outcome", outcome), ("error_type", class)], count)
                })
            }),
        )?;
        out.counter(
            "llmpool_model_selections",
            "Calls that asked this model of this provider first",
            self.models().map(|(provider, model)| ([of_provider(provider), of_model(model)], model.selected)),
        )?;
        out.counter(
            "llmpool_timeouts",
            "Attempts that a timer ended, by timer",
            self.models().flat_map(|(provider, model)| {
                model
                    .timeouts
                    .iter()
                    .map(move |(phase, count)| ([of_provider(provider), of_model(model), ("phase", phase)], count))
            }),
        )?;
        self.histograms(out)?;
        self.spent(out)
    }

    fn histograms(&self, out: &mut Families<'_>) -> fmt::Result {
        type Of = fn(&ModelTally) -> &Buckets;
        let families: [(&str, &str, Of); 3] = [
            ("llmpool_attempt_duration", "From sending to the whole answer, for successful attempts", |model| {
                &model.duration
            }),
            ("llmpool_time_to_first_token", "From sending to a stream's first content", |model| &model.first_token),
            (
                "llmpool_inter_token",
                "From a stream's first content to its end, shared among the tokens after the first",
                |model| &model.between_tokens,
            ),
        ];
        for (name, help, of) in families {
            let rows = self.models().map(|(provider, model)| ([of_provider(provider), of_model(model)], of(model)));
            out.histogram(name, help, rows)?;
        }
        Ok(())
    }

    fn spent(&self, out: &mut Families<'_>) -> fmt::Result {
        out.counter(
            "llmpool_tokens",
            "Tokens; cache_read and cache_write are parts of input, reasoning is a part of output",
            self.models().flat_map(|(provider, model)| {
                let tokens = &model.tokens;
                [
                    ("input", tokens.input),
                    ("output", tokens.output),
                    ("cache_read", tokens.cache_read),
                    ("cache_write", tokens.cache_write),
                    ("reasoning", tokens.reasoning),
                ]
                .map(|(kind, count)| ([of_provider(provider), of_model(model), ("kind", kind)], count))
            }),
        )?;
        out.family(
            "llmpool_cost",
            "Money spent, as far as prices are known",
            Some(usd()),
            MetricType::Counter,
            |rows| {
                for (provider, model) in self.models() {
                    let labels = [of_provider(provider), of_model(model)];
                    rows.encode_family(&labels)?
                        .encode_counter::<[(&str, &str); 0], f64, f64>(&model.cost.as_usd(), None)?;
                }
                Ok(())
            },
        )?;
        out.counter(
            "llmpool_unpriced_requests",
            "Requests that used tokens at an unknown price",
            self.models().map(|(provider, model)| ([of_provider(provider), of_model(model)], model.unpriced)),
        )
    }

    fn states(&self, out: &mut Families<'_>) -> fmt::Result {
        let each = |value: fn(&ProviderFigures) -> u64| {
            self.providers.iter().map(move |provider| ([of_provider(provider)], value(provider)))
        };
        out.gauge("llmpool_provider_up", "1 when the provider can be asked now", each(|of| u64::from(of.up)))?;
        out.gauge("llmpool_breaker_state", "0 closed, 1 half-open, 2 open", each(|of| u64::from(of.breaker)))?;
        out.counter("llmpool_breaker_trips", "Times the circuit breaker opened", each(|of| of.trips))?;
        out.gauge("llmpool_inflight_requests", "Requests under way", each(|of| u64::from(of.in_flight)))?;
        out.gauge(
            "llmpool_rate_limit_remaining",
            "What is left of a limit now; absent where there is none",
            self.providers.iter().flat_map(|provider| {
                let remaining = provider.remaining.iter();
                remaining.map(move |(kind, left)| ([of_provider(provider), ("kind", *kind)], *left))
            }),
        )?;
        self.budgets(out)?;
        self.tenants(out)?;
        self.config(out)?;
        out.family("llmpool_build", "The version of llmpool", None, MetricType::Info, |rows| {
            rows.encode_info(&[("version", self.version)])
        })
    }

    fn budgets(&self, out: &mut Families<'_>) -> fmt::Result {
        type Of = fn(&BudgetFigures) -> f64;
        let families: [(&str, &str, Unit, Of); 4] = [
            ("llmpool_budget_limit", "A limit of a budget", usd(), |budget| budget.limit.as_usd()),
            ("llmpool_budget_spent", "What was spent under it", usd(), |budget| budget.spent.as_usd()),
            ("llmpool_budget_reserved", "What is set aside for requests under way", usd(), |budget| {
                budget.reserved.as_usd()
            }),
            ("llmpool_budget_reset_timestamp", "When the day or month of the budget ends", Unit::Seconds, |budget| {
                seconds(budget.reset_unix_ms)
            }),
        ];
        for (name, help, unit, of) in families {
            out.family(name, help, Some(unit), MetricType::Gauge, |rows| {
                for budget in &self.budgets {
                    let (scope, provider, tenant) = match (&budget.provider, &budget.tenant) {
                        (Some(name), _) => ("provider", name.as_str(), ""),
                        (None, Some(id)) => ("tenant", "", id.as_str()),
                        (None, None) => ("pool", "", ""),
                    };
                    let labels =
                        [("scope", scope), ("provider", provider), ("tenant", tenant), ("period", budget.period)];
                    rows.encode_family(&labels)?.encode_gauge(&of(budget))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn tenants(&self, out: &mut Families<'_>) -> fmt::Result {
        let each = |value: fn(&TenantTotals) -> u64| {
            self.tenants.iter().map(move |tenant| ([of_tenant(tenant)], value(&tenant.totals)))
        };
        out.counter("llmpool_tenant_requests", "Calls of a tenant that were let in", each(|of| of.requests))?;
        out.counter(
            "llmpool_tenant_refused_requests",
            "Calls that a limit of their tenant refused",
            each(|of| of.refused),
        )?;
        out.counter(
            "llmpool_tenant_tokens",
            "Tokens of the attempts that were made for a tenant",
            self.tenants.iter().flat_map(|tenant| {
                [("input", tenant.totals.prompt_tokens), ("output", tenant.totals.completion_tokens)]
                    .map(|(kind, count)| ([of_tenant(tenant), ("kind", kind)], count))
            }),
        )?;
        out.family(
            "llmpool_tenant_cost",
            "Money spent for a tenant, as far as prices are known",
            Some(usd()),
            MetricType::Counter,
            |rows| {
                for tenant in &self.tenants {
                    rows.encode_family(&[of_tenant(tenant)])?
                        .encode_counter::<[(&str, &str); 0], f64, f64>(&tenant.totals.total_cost.as_usd(), None)?;
                }
                Ok(())
            },
        )?;
        out.counter(
            "llmpool_tenant_unpriced_requests",
            "Attempts for a tenant that used tokens at an unknown price",
            each(|of| of.unpriced_requests),
        )?;
        out.gauge(
            "llmpool_tenant_limit_remaining",
            "What is left of a tenant's limit now; absent where there is none",
            self.tenants.iter().flat_map(|tenant| {
                let remaining = tenant.remaining.iter();
                remaining.map(move |(kind, left)| ([of_tenant(tenant), ("kind", *kind)], *left))
            }),
        )
    }

    fn config(&self, out: &mut Families<'_>) -> fmt::Result {
        let Some(config) = &self.config else { return Ok(()) };
        let ConfigFigures { version, hash, reloads, failed_reloads, last_success_unix_ms } = config;
        out.family("llmpool_config", "The configuration in force", None, MetricType::Info, |rows| {
            rows.encode_info(&[("hash", hash.as_str())])
        })?;
        out.gauge("llmpool_config_version", "1 at the start, one more with every change", [(NONE, *version)])?;
        out.counter(
            "llmpool_config_reloads",
            "Configurations that were read after the start; after an error what was in force stays",
            [("success", *reloads), ("error", *failed_reloads)].map(|(result, count)| ([("result", result)], count)),
        )?;
        out.family(
            "llmpool_config_last_success_timestamp",
            "When the configuration was last read and was sound",
            Some(Unit::Seconds),
            MetricType::Gauge,
            |rows| rows.encode_gauge(&seconds(*last_success_unix_ms)),
        )
    }

    fn models(&self) -> impl Iterator<Item = (&ProviderFigures, &ModelTally)> {
        self.providers.iter().flat_map(|provider| provider.models.iter().map(move |model| (provider, model)))
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Families(encoder);
        self.calls(&mut out)?;
        self.attempts(&mut out)?;
        self.states(&mut out)
    }
}

const NONE: [(&str, &str); 0] = [];

fn of_provider(provider: &ProviderFigures) -> (&'static str, &str) {
    ("provider", provider.name.as_str())
}

fn of_tenant(tenant: &TenantFigures) -> (&'static str, &str) {
    ("tenant", &tenant.id)
}

fn of_model(model: &ModelTally) -> (&'static str, &str) {
    ("model", &model.name)
}

/// A moment as scrapers have it.
fn seconds(unix_ms: u64) -> f64 {
    unix_ms as f64 / 1e3
}

fn usd() -> Unit {
    Unit::Other("usd".to_owned())
}

/// Writes one family after another.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        kind: MetricType,
        rows: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        rows(&mut self.0.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }

    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family(name, help, None, MetricType::Counter, |family| {
            for (labels, count) in rows {
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], u64, f64>(&count, None)?;
            }
            Ok(())
        })
    }

    fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family(name, help, None, MetricType::Gauge, |family| {
            for (labels, value) in rows {
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok(())
        })
    }

    /// In seconds.
    fn histogram<'b, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, &'b Buckets)>,
    ) -> fmt::Result {
        self.family(name, help, Some(Unit::Seconds), MetricType::Histogram, |family| {
            for (labels, buckets) in rows {
                family.encode_family(&labels)?.encode_histogram::<[(&str, &str); 0]>(
                    buckets.sum_seconds(),
                    buckets.count(),
                    &buckets.seconds(),
                    None,
                )?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Mark, PlanTally, PoolTally, ProviderTally, Route};
    use crate::types::{NanoUsd, Usage};

    fn exposed(provider: &str, model: &str) -> String {
        let mut tally = ProviderTally::new(0);
        tally.serve(model);
        let mark = Mark { model: tally.model_id(model), unix_ms: 0 };
        tally.sent(mark, 0, true);
        tally.succeeded(mark, Duration::from_millis(30), None, &Usage::reported(10, 5), Some(NanoUsd(1_500)));
        tally.failed(mark, "timeout", Some("first_byte"), Some("too slow"));
        let mut pool = PoolTally::new(0);
        pool.succeeded(0, Route::Chat, Duration::from_millis(30), Duration::from_micros(60));
        Exposition {
            version: "1.2.3",
            calls: Some(pool.counters),
            waiting: 0,
            config: Some(ConfigFigures {
                version: 3,
                hash: "abc".to_owned(),
                reloads: 2,
                failed_reloads: 1,
                last_success_unix_ms: 1_795_694_400_500,
            }),
            hedges: HedgeFigures { won: 4, lost: 5 },
            budgets: vec![BudgetFigures {
                provider: Some(ProviderName::new(provider)),
                tenant: None,
                period: "daily",
                limit: NanoUsd(2_500_000_000),
                spent: NanoUsd(1_500),
                reserved: NanoUsd(0),
                reset_unix_ms: 1_795_737_600_000,
            }],
            plans: PlanTally::default(),
            providers: vec![ProviderFigures {
                name: ProviderName::new(provider),
                models: tally.models().cloned().collect(),
                trips: 0,
                up: true,
                breaker: 2,
                in_flight: 3,
                remaining: vec![("requests_per_minute", 7)],
            }],
            tenants: vec![TenantFigures {
                id: "acme".to_owned(),
                totals: TenantTotals { requests: 8, refused: 2, prompt_tokens: 30, ..TenantTotals::default() },
                remaining: vec![("tokens_per_day", 70)],
            }],
        }
        .text()
    }

    #[test]
    fn counters_gauges_and_histograms_say_what_was_counted() {
        let text = exposed("a", "m");
        for line in [
            r#"llmpool_requests_total{route="chat",outcome="success"} 1"#,
            r#"llmpool_attempts_total{provider="a",model="m",outcome="success",error_type=""} 1"#,
            r#"llmpool_attempts_total{provider="a",model="m",outcome="failure",error_type="timeout"} 1"#,
            r#"llmpool_timeouts_total{provider="a",model="m",phase="first_byte"} 1"#,
            r#"llmpool_tokens_total{provider="a",model="m",kind="input"} 10"#,
            r#"llmpool_cost_usd_total{provider="a",model="m"} 0.0000015"#,
            r#"llmpool_attempt_duration_seconds_bucket{le="0.02",provider="a",model="m"} 0"#,
            r#"llmpool_attempt_duration_seconds_bucket{le="0.04",provider="a",model="m"} 1"#,
            r#"llmpool_attempt_duration_seconds_bucket{le="+Inf",provider="a",model="m"} 1"#,
            r#"llmpool_attempt_duration_seconds_sum{provider="a",model="m"} 0.03"#,
            r#"llmpool_overhead_seconds_bucket{le="0.0001"} 1"#,
            r#"llmpool_breaker_state{provider="a"} 2"#,
            r#"llmpool_rate_limit_remaining{provider="a",kind="requests_per_minute"} 7"#,
            r#"llmpool_build_info{version="1.2.3"} 1"#,
            r#"llmpool_hedges_total{outcome="won"} 4"#,
            r#"llmpool_hedges_total{outcome="lost"} 5"#,
            r#"llmpool_budget_limit_usd{scope="provider",provider="a",tenant="",period="daily"} 2.5"#,
            r#"llmpool_budget_spent_usd{scope="provider",provider="a",tenant="",period="daily"} 0.0000015"#,
            r#"llmpool_budget_reset_timestamp_seconds{scope="provider",provider="a",tenant="",period="daily"} 1795737600.0"#,
            r#"llmpool_tenant_requests_total{tenant="acme"} 8"#,
            r#"llmpool_tenant_refused_requests_total{tenant="acme"} 2"#,
            r#"llmpool_tenant_tokens_total{tenant="acme",kind="input"} 30"#,
            r#"llmpool_tenant_cost_usd_total{tenant="acme"} 0.0"#,
            r#"llmpool_tenant_limit_remaining{tenant="acme",kind="tokens_per_day"} 70"#,
            r#"llmpool_config_info{hash="abc"} 1"#,
            "llmpool_config_version 3",
            r#"llmpool_config_reloads_total{result="success"} 2"#,
            r#"llmpool_config_reloads_total{result="error"} 1"#,
            "llmpool_config_last_success_timestamp_seconds 1795694400.5",
            "# UNIT llmpool_config_last_success_timestamp_seconds seconds",
            "# UNIT llmpool_cost_usd usd",
            "# TYPE llmpool_overhead_seconds histogram",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\nis not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn names_that_break_lines_and_quotes_are_escaped() {
        let text = exposed("a\"b\\c", "x\ny");
        assert!(text.contains(r#"llmpool_model_selections_total{provider="a\"b\\c",model="x\ny"} 1"#), "{text}");
    }

    #[test]
    fn each_family_is_described_once_and_before_its_rows() {
        let text = exposed("a", "m");
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let mut unique = families.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!((families.len(), unique.len()), (43, 43));
    }

    #[test]
    fn a_pool_without_a_configuration_is_valid_too() {
        let text = Exposition::of_nothing("1").text();
        assert!(text.contains("llmpool_build_info{version=\"1\"} 1\n") && text.ends_with("# EOF\n"));
    }
}
