//! Whom a plan of several runs may ask, and what it needs of the engine around them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::eligible_for;
use super::{Engine, lock};
use crate::config::{EnsembleConfig, QosConfig, TaskConfig};
use crate::error::Error;
use crate::event::EventLog;
use crate::metrics::Answered;
use crate::types::{CallOptions, ChatRequest, ProviderName};

/// A provider that may answer a call.
#[derive(Debug, Clone)]
pub struct Panelist {
    pub name: ProviderName,
    pub model: String,
    pub weight: u32,
    pub priority: u32,
    /// In the configuration: no two are alike.
    pub place: usize,
    pub win_rate: f64,
}

impl Engine {
    /// Who may answer a call, the best ranked first: by priority, then in the order of the configuration.
    ///
    /// # Errors
    /// The call names a provider that there is not, or nobody may answer it.
    pub fn panel(&self, request: &ChatRequest, options: &CallOptions) -> Result<Vec<Panelist>, Error> {
        let roster = Arc::clone(&self.roster());
        let eligible = eligible_for(&roster, request, options)?;
        let opinions = lock(&self.plans);
        let mut panel: Vec<_> = roster
            .providers()
            .iter()
            .enumerate()
            .filter_map(|(place, provider)| {
                let (_, model) = eligible.iter().find(|(name, _)| name == provider.name())?;
                Some(Panelist {
                    name: provider.name().clone(),
                    model: model.clone(),
                    weight: provider.config().weight,
                    priority: provider.priority(),
                    place,
                    win_rate: opinions.win_rate(provider.name()),
                })
            })
            .collect();
        panel.sort_by_key(|panelist| (panelist.priority, panelist.place));
        Ok(panel)
    }

    pub fn limits(&self) -> QosConfig {
        self.roster().limits().qos.clone()
    }

    pub fn tasks(&self) -> Arc<BTreeMap<String, TaskConfig>> {
        Arc::clone(self.roster().tasks())
    }

    pub fn ensemble(&self) -> Arc<EnsembleConfig> {
        Arc::clone(self.roster().ensemble())
    }

    /// A log of its own, for a run beside others.
    pub fn new_log(&self) -> EventLog {
        EventLog::new(Arc::clone(&self.interest))
    }

    /// A call of a task was answered; the empty name stands for calls of none.
    pub fn task_answered(&self, task: &str, answer: Answered<'_>) {
        lock(&self.plans).answered(task, answer);
    }

    pub fn task_failed(&self, task: &str) {
        lock(&self.plans).failed(task);
    }

    /// Answers were compared, and the decision went the way of those marked.
    pub fn compared<'a>(&self, answers: impl IntoIterator<Item = (&'a ProviderName, bool)>) {
        let mut plans = lock(&self.plans);
        answers.into_iter().for_each(|(name, won)| plans.compared(name, won));
    }
}
