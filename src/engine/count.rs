//! How many tokens something would be, for whoever asks before sending.

use super::Engine;
use crate::tokens::Counter;
use crate::types::ChatRequest;

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
        let roster = self.roster();
        let serving = roster.providers().iter().filter_map(|provider| Some((provider, provider.resolve_model(model)?)));
        let best = serving.min_by_key(|(provider, _)| (!provider.config().enabled, provider.priority()));
        match (best, model) {
            (Some((provider, model)), _) => what.by(provider.counter(model)),
            (None, model) => what.by(&Counter::of_model(model.unwrap_or_default())),
        }
    }
}
