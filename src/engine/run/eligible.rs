//! Who may answer a call at all, and why the others may not.
//!
//! A provider is out by the first rule that is against it. The rules look at the configuration and at the request; how the
//! provider is doing now is asked later, when it is its turn (`Provider::admit`).

use std::sync::Arc;

use super::errors::no_provider;
use super::visit::Visit;
use crate::adapter::Facts;
use crate::engine::needs::Needs;
use crate::engine::provider::Provider;
use crate::engine::roster::Roster;
use crate::engine::tenants::Tenant;
use crate::engine::work::Work;
use crate::error::{Error, Reason};
use crate::types::{CallOptions, ChatRequest, FieldError, ProviderName};

/// One thing that may keep a provider from a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The call names others.
    Providers,
    Enabled,
    /// It is for other tasks.
    Tasks,
    /// A weight of 0 is asked by its name only.
    Weight,
    /// The model or alias that is asked for.
    Model,
    Capabilities,
    ContextWindow,
}

/// The rules, for one call.
pub(super) struct Rules<'a> {
    /// The call names them.
    named: &'a [String],
    task: Option<&'a str>,
    model: Option<&'a str>,
    /// Its own models are all that it may use.
    tenant: Option<Arc<Tenant>>,
    needs: Needs<'a>,
}

/// A provider, as the rules look at it.
pub(super) struct Candidate<'a> {
    pub provider: &'a Arc<Provider>,
    /// Its own name of the model that is asked for, with what is known of that; `None`: it does not serve it.
    pub model: Option<(&'a str, Facts)>,
}

/// Who may answer, in the order of the configuration, and why the others may not.
pub(super) struct Eligible {
    pub visits: Vec<Visit>,
    pub excluded: Vec<Reason>,
}

impl Rule {
    /// In the order in which they are looked at.
    pub const ALL: [Self; 7] = [
        Self::Providers,
        Self::Enabled,
        Self::Tasks,
        Self::Weight,
        Self::Model,
        Self::Capabilities,
        Self::ContextWindow,
    ];

    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Providers => "providers",
            Self::Enabled => "enabled",
            Self::Tasks => "tasks",
            Self::Weight => "weight",
            Self::Model => "model",
            Self::Capabilities => "capabilities",
            Self::ContextWindow => "context_window",
        }
    }
}

/// Does a provider take calls of this task?
fn does(provider: &Provider, task: Option<&str>) -> bool {
    let tasks = &provider.config().tasks;
    tasks.is_empty() || task.is_none_or(|task| tasks.iter().any(|own| own == task))
}

/// Whom several runs for one call may ask, and for which model, in the order of the configuration.
///
/// # Errors
/// The call names a provider that there is not, or nobody may answer it.
pub(in crate::engine) fn eligible_for(
    roster: &Roster,
    request: &ChatRequest,
    options: &CallOptions,
) -> Result<Vec<(ProviderName, String)>, Error> {
    let Eligible { visits, excluded } = Rules::new(roster, Work::Chat(request), options)?.eligible(roster);
    if visits.is_empty() {
        return Err(no_provider(excluded));
    }
    Ok(visits.into_iter().map(|visit| (visit.provider.name().clone(), visit.model)).collect())
}

impl<'a> Rules<'a> {
    /// # Errors
    /// The call names a provider that there is not.
    pub fn new(roster: &Roster, work: Work<'a>, options: &'a CallOptions) -> Result<Self, FieldError> {
        let named = &options.providers;
        if let Some(unknown) = named.iter().find(|name| roster.find(name).is_none()) {
            let known: Vec<_> = roster.providers().iter().map(|provider| provider.name().as_str()).collect();
            return Err(FieldError {
                field: "providers".to_owned(),
                message: format!("there is no provider {unknown:?}; there are {known:?}"),
            });
        }
        Ok(Self {
            named,
            task: options.task.as_deref(),
            model: work.model(),
            tenant: roster.tenant_of(options).cloned(),
            needs: Needs::of(work),
        })
    }

    pub fn candidate<'p>(&self, provider: &'p Arc<Provider>) -> Candidate<'p> {
        let model = provider.resolve_model(self.model);
        Candidate { provider, model: model.map(|model| (model, provider.endpoint().facts(model))) }
    }

    /// What one rule has against a provider; `None`: nothing.
    pub fn against(&mut self, rule: Rule, candidate: &Candidate<'_>) -> Option<String> {
        let Candidate { provider, model } = candidate;
        let by_name = || self.named.iter().any(|name| name == provider.name().as_str());
        match rule {
            Rule::Providers => {
                (!self.named.is_empty() && !by_name()).then(|| "not among this call's providers".to_owned())
            }
            Rule::Enabled => (!provider.config().enabled).then(|| "disabled".to_owned()),
            Rule::Tasks => (!does(provider, self.task)).then(|| "its tasks do not include this call's".to_owned()),
            Rule::Weight => (provider.config().weight == 0 && !by_name())
                .then(|| "its weight is 0: only asked by its name".to_owned()),
            Rule::Model => match (model, &self.tenant) {
                (None, _) => Some(format!("does not serve the model {:?}", self.model.unwrap_or_default())),
                (Some((model, _)), Some(tenant)) if !tenant.may_use(provider, model) => {
                    Some(format!("the tenant {:?} may not use the model {model:?}", tenant.id()))
                }
                _ => None,
            },
            Rule::Capabilities => model.and_then(|(model, facts)| self.needs.beyond(model, facts)),
            Rule::ContextWindow => model.and_then(|(model, facts)| self.needs.too_long(model, facts)),
        }
    }

    /// All providers, by all rules.
    pub fn eligible(&mut self, roster: &Roster) -> Eligible {
        let providers = roster.providers();
        let mut visits = Vec::with_capacity(providers.len());
        let (mut excluded, mut last_resort) = (Vec::new(), Vec::new());
        for provider in providers {
            let candidate = self.candidate(provider);
            let visit = |(model, facts): (&str, Facts)| {
                Visit::new(Arc::clone(provider), model.to_owned(), facts.context_window)
            };
            let against = Rule::ALL.into_iter().find_map(|rule| Some((rule, self.against(rule, &candidate)?)));
            match against {
                None => visits.extend(candidate.model.map(visit)),
                Some((rule, reason)) => {
                    // Only the catalogue says so: with nobody else left the provider may say it itself.
                    let unsure = |(_, facts): &(&str, Facts)| rule == Rule::ContextWindow && !facts.window_is_stated;
                    last_resort.extend(candidate.model.filter(unsure).map(visit));
                    let is_beyond = matches!(rule, Rule::Capabilities | Rule::ContextWindow);
                    excluded.push(Reason { provider: provider.name().clone(), reason, holds_for: None, is_beyond });
                }
            }
        }
        if visits.is_empty() {
            visits = last_resort;
        }
        Eligible { visits, excluded }
    }
}
