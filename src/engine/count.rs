//! How many tokens something would be, and what it would cost, for whoever asks before sending.

use std::sync::Arc;

use super::{Engine, Provider};
use crate::time;
use crate::tokens::Counter;
use crate::types::{ChatRequest, NanoUsd, Usage};

/// What is to be counted.
#[derive(Debug, Clone, Copy)]
pub enum Countable<'a> {
    /// A text by itself.
    Text(&'a str),
    /// Everything the model reads of a request: messages with what frames them, pictures, tools, an answer's schema.
    Prompt(&'a ChatRequest),
}

impl Countable<'_> {
    pub fn by(self, counter: &Counter) -> u64 {
        match self {
            Self::Text(text) => counter.count_text(text),
            Self::Prompt(request) => counter.count_prompt(request),
        }
    }
}

impl Engine {
    /// Tokens as the first provider counts them that serves `model`; without a model, the first provider by its own. A
    /// model that nobody serves is counted by its name alone.
    pub fn count_tokens(&self, what: Countable<'_>, model: Option<&str>) -> u64 {
        match (self.first_serving(model), model) {
            (Some((provider, model)), _) => what.by(provider.counter(&model)),
            (None, model) => what.by(&Counter::of_model(model.unwrap_or_default())),
        }
    }

    /// What an answer would cost there that used so many tokens; `None`: nobody serves the model, or its price is not
    /// known.
    pub fn price(&self, usage: &Usage, model: Option<&str>) -> Option<NanoUsd> {
        let (provider, model) = self.first_serving(model)?;
        provider.cost(&model, usage, time::unix_ms())
    }

    fn first_serving(&self, model: Option<&str>) -> Option<(Arc<Provider>, String)> {
        let roster = self.roster();
        let serving = roster.providers().iter().filter_map(|provider| Some((provider, provider.resolve_model(model)?)));
        let best = serving.min_by_key(|(provider, _)| (!provider.config().enabled, provider.priority()))?;
        Some((Arc::clone(best.0), best.1.to_owned()))
    }
}
