//! Who may answer a call at all, and why the others may not.

use std::sync::Arc;

use super::Run;
use super::errors::no_provider;
use super::order::into_tiers;
use super::visit::Visit;
use crate::engine::lock;
use crate::engine::needs::Needs;
use crate::engine::work::Work;
use crate::error::{Error, Reason};
use crate::types::{CallOptions, FieldError};

impl Run<'_> {
    /// The providers that may answer, best first.
    pub(super) fn eligible(&self, work: Work<'_>, options: &CallOptions) -> Result<Vec<Visit>, Error> {
        let providers = self.roster.providers();
        if let Some(unknown) = options.providers.iter().find(|name| self.roster.find(name).is_none()) {
            let known: Vec<_> = providers.iter().map(|provider| provider.name().as_str()).collect();
            return Err(FieldError {
                field: "providers".to_owned(),
                message: format!("there is no provider {unknown:?}; there are {known:?}"),
            }
            .into());
        }
        let mut reasons = Vec::new();
        let mut visits = Vec::with_capacity(providers.len());
        let mut last_resort = Vec::new();
        let asked = work.model();
        let mut needs = Needs::of(work);
        for provider in providers {
            let name = provider.name();
            let by_name = options.providers.iter().any(|n| n == name.as_str());
            let reason = if !options.providers.is_empty() && !by_name {
                "not among this call's providers".to_owned()
            } else if !provider.config().enabled {
                "disabled".to_owned()
            } else if provider.config().weight == 0 && !by_name {
                "its weight is 0: only asked by its name".to_owned()
            } else if let Some(model) = provider.resolve_model(asked) {
                let visit = Visit::new(Arc::clone(provider), model.to_owned());
                let Some(unmet) = needs.unmet(model, provider.endpoint().facts(model)) else {
                    visits.push(visit);
                    continue;
                };
                last_resort.extend(unmet.last_resort.then_some(visit));
                unmet.reason
            } else {
                format!("does not serve the model {:?}", asked.unwrap_or_default())
            };
            reasons.push(Reason { provider: name.clone(), reason });
        }
        if visits.is_empty() {
            visits = last_resort;
        }
        if visits.is_empty() {
            return Err(no_provider(reasons));
        }
        let behaviour = self.wish.behaviour;
        lock(&self.engine.tally).planned(behaviour.as_str());
        into_tiers(&mut visits, behaviour);
        Ok(visits)
    }
}
