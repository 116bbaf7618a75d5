//! Whom a plan of several runs may ask, and what it needs of the engine around them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::eligible_for;
use super::{Engine, lock};
use crate::config::{EnsembleConfig, QosConfig, TaskConfig};
use crate::error::Error;
use crate::event::{Event, EventKind, EventLog, millis};
use crate::metrics::Answered;
use crate::types::{CallOptions, ChatRequest, ChatResponse, Labels, ProviderName, Strategy};

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

/// Of which task a call is, if of one, by which strategy it is answered, and what its caller calls it.
#[derive(Debug, Clone)]
pub struct PlanOf {
    pub task: Option<String>,
    pub strategy: Strategy,
    pub labels: Labels,
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

    /// Counts how a call that has a strategy or a task has ended, and tells of its answer. One that was left is neither
    /// an answer nor a failure.
    pub fn book_plan(&self, plan: &PlanOf, ended: Result<&ChatResponse, &Error>, log: &mut EventLog) {
        let task = plan.task.as_deref().unwrap_or_default();
        let response = match ended {
            Ok(response) => response,
            Err(error) if error.is_cancellation() => return,
            Err(_) => return lock(&self.plans).failed(task),
        };
        let decision = response.decision.as_deref();
        let strategy_used = decision.map_or(Strategy::Fastest, |decision| decision.strategy_used);
        let (hedged, cached) = (response.hedged, response.cached);
        let answered = Answered { strategy_used, winner: &response.provider, hedged, cached };
        lock(&self.plans).answered(task, answered);
        log.emit(EventKind::Decision, || Event::Decision {
            request_id: response.request_id.clone(),
            task: plan.task.clone(),
            strategy: plan.strategy,
            strategy_used,
            provider: response.provider.clone(),
            model: response.reply.model.clone(),
            votes: decision.map(|decision| decision.votes.clone()).unwrap_or_default(),
            judge: decision.and_then(|decision| decision.judge.clone()),
            hedged,
            cached,
            latency_ms: millis(response.latency),
            cost: response.cost,
            labels: plan.labels.clone(),
        });
    }

    /// Answers were compared, and more agreed than not, or a judge has said so: with those marked.
    pub fn compared<'a>(&self, answers: impl IntoIterator<Item = (&'a ProviderName, bool)>) {
        let mut plans = lock(&self.plans);
        answers.into_iter().for_each(|(name, won)| plans.compared(name, won));
    }
}
