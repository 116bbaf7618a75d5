//! The configuration's part of the key of a kept answer: everything in it that decides who answers, from what, and which of
//! several answers it is.
//!
//! A configuration is taken apart by name, without a `..`: a setting that is added later does not compile until somebody
//! has decided here whether it changes answers. What only decides whether there is an answer, how fast, and what it costs
//! stays out: limits of rate and money, timers, breakers, prices, connections, keys.

use std::sync::Arc;
use std::time::Duration;

use super::provider::Provider;
use super::sharing::{Keeping, Keeps};
use super::{Engine, Roster};
use crate::cache::{Candidate, Key, KeyMaker};
use crate::config::{EnsembleConfig, JudgeConfig, MediaConfig, ProviderConfig, RoutingConfig, TenantConfig};
use crate::types::{CallOptions, ChatRequest};

/// What all calls of a roster have in common.
pub(super) struct KeyParts {
    /// Of calls that one provider answers.
    call: Key,
    /// Of calls that have a strategy.
    plan: Key,
}

impl KeyParts {
    pub fn of(
        routing: &RoutingConfig,
        media: &MediaConfig,
        ensemble: &EnsembleConfig,
        providers: &[Arc<Provider>],
    ) -> Self {
        let call = of_call(routing, media);
        let mut maker = KeyMaker::new("plan");
        maker.key(&call);
        let EnsembleConfig {
            default_strategy: _, // the strategy of a call is in its options
            max_parallel,
            min_successes,
            agreement,
            similarity,
            hedge_after,
            judge,
        } = ensemble;
        maker.text(&format!("{max_parallel} {min_successes} {agreement} {similarity} {hedge_after:?}"));
        let JudgeConfig { provider, model, deadline_share, max_tokens } = judge;
        maker.text(&format!("{deadline_share} {max_tokens}"));
        // A judge of no name is whoever serves the model.
        let judges = providers.iter().filter(|of| provider.as_ref().is_none_or(|name| name == of.name()));
        for (judge, model) in judges.filter_map(|judge| Some((judge, judge.resolve_model(model.as_deref())?))) {
            maker.key(judge.key_part());
            maker.text(model);
        }
        Self { call, plan: maker.finish() }
    }
}

fn of_call(routing: &RoutingConfig, media: &MediaConfig) -> Key {
    let RoutingConfig {
        behaviour,
        max_retries,
        enable_failover,
        failover_on_content_filter,
        seed,
        backoff: _,
        enable_circuit_breaker: _,
        max_concurrent: _,
        queue_timeout: _,
        max_queue: _,
        retry_budget: _,
        error_cooldown: _,
    } = routing;
    let MediaConfig { params, client: _ } = media;
    let mut maker = KeyMaker::new("routing");
    maker.text(behaviour.as_str());
    maker.number(u64::from(*max_retries));
    maker.flag(*enable_failover);
    maker.flag(*failover_on_content_filter);
    maker.text(&format!("{seed:?} {params:?}"));
    maker.finish()
}

/// Of one provider: what it sends, for which models, and when it is asked. Its keys may change and the answers stay good.
pub(super) fn of_provider(config: &ProviderConfig) -> Key {
    let ProviderConfig {
        name,
        service,
        model: _, // resolved for each call
        models,
        stated,
        priority,
        weight,
        tasks,
        base_url,
        headers,
        organization,
        project,
        deployment,
        api_version,
        strict_params,
        params,
        max_tokens,
        temperature,
        extra_body,
        failure_rows,
        keys: _,
        enabled: _, // one that is not is no candidate
        warm: _,
        allow_http: _,
        timeout: _,
        timers: _,
        rate: _,
        max_concurrent: _,
        breaker: _,
        prices: _,
        budget: _,
        counter: _,
        client: _,
    } = config;
    let mut maker = KeyMaker::new("provider");
    maker.text(name.as_str());
    maker.text(service.name);
    for text in [base_url, organization, project, deployment, api_version] {
        maker.optional(text.as_deref());
    }
    maker.number(headers.len() as u64);
    for (name, value) in headers {
        maker.text(name);
        maker.text(value);
    }
    maker.number(u64::from(*priority));
    maker.number(u64::from(*weight));
    maker.text(&format!("{tasks:?} {stated:?}"));
    for (alias, model) in models {
        maker.text(alias);
        maker.text(&format!("{:?} {:?}", model.model, model.stated));
    }
    maker.text(&format!("{max_tokens:?} {temperature:?} {params:?} {extra_body:?} {failure_rows:?}"));
    maker.flag(*strict_params);
    maker.finish()
}

/// Of one tenant: who may answer it, and how many together. What lets its calls in at all is asked before, for calls whose
/// answer was kept as well.
pub(super) fn of_tenant(config: &TenantConfig) -> Key {
    let TenantConfig {
        id: _, // in the options of the call
        models,
        max_parallel,
        api_keys: _,
        enabled: _,
        requests: _,
        tokens_per_day: _,
        budget: _,
        tasks: _,
        max_deadline: _,
    } = config;
    let mut maker = KeyMaker::new("tenant");
    maker.text(&format!("{models:?} {max_parallel:?}"));
    maker.finish()
}

impl Engine {
    /// Under what an answer to this call is kept. A call that has a strategy says it in its options.
    pub fn keeping(&self, request: &ChatRequest, options: &CallOptions, ttl: Duration) -> Keeping {
        let roster = self.roster();
        let key = roster.key_of(request, options);
        Keeping { key, ttl, keeps: Keeps::Whole }
    }
}

impl Roster {
    fn key_of(&self, request: &ChatRequest, options: &CallOptions) -> Key {
        let by_name = |name: &str| options.providers.iter().any(|wanted| wanted == name);
        let candidates = self.providers().iter().filter_map(|provider| {
            let is_wanted = options.providers.is_empty() || by_name(provider.name().as_str());
            let model = provider.resolve_model(request.model.as_deref())?;
            (is_wanted && provider.config().enabled).then(|| Candidate { provider: provider.key_part(), model })
        });
        let KeyParts { call, plan } = self.key_parts();
        let rules = if options.strategy.is_some() { plan } else { call };
        let tenant = self.tenant_of(options).map(|tenant| tenant.key_part());
        Key::of_chat(request, options, candidates, rules, tenant)
    }
}
