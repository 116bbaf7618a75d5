//! What the pool knows of each model of a provider: what it charges, how long its window is, how its tokens are counted.
//! Looked up once, when the provider is built; a call only takes what stands here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::config::{ModelConfig, ProviderConfig};
use crate::cost::{Catalogue, Listed, PriceList};
use crate::policy::AnswerSizes;
use crate::tokens::Counter;
use crate::types::{NanoUsd, Usage};

/// The models a provider can be asked for, few enough that a list is the fastest map. At least one.
pub(super) struct Models(Vec<(String, Arc<Model>)>);

/// What is known of one model at one provider.
pub(super) struct Model {
    /// The configuration's word, else the catalogue's; `None`: nobody knows.
    pub prices: Option<PriceList>,
    pub context_window: Option<u64>,
    pub counter: Counter,
    /// How long its answers are.
    pub answers: Mutex<AnswerSizes>,
}

impl Models {
    /// An error is about the key `tokenizer`.
    pub fn of(config: &ProviderConfig) -> Result<Self, String> {
        let mut names = vec![config.model.as_str()];
        let mut own_prices = BTreeMap::new();
        for ModelConfig { model, prices, stated: _ } in config.models.values() {
            if !names.contains(&model.as_str()) {
                names.push(model);
            }
            // What an alias says of a model holds by whatever name it is asked for.
            if let Some(prices) = prices {
                own_prices.entry(model.as_str()).or_insert(prices);
            }
        }
        let shelf = Catalogue::embedded().shelf(config.service.name, config.base_url.as_deref());
        let counters = Counter::for_models(names.iter().copied(), &config.counter)?;
        let models = names.iter().zip(counters).map(|(name, counter)| {
            let Listed { prices, context_window } =
                shelf.as_ref().and_then(|shelf| shelf.find(name)).unwrap_or_default();
            let configured = own_prices.get(name).copied().or(config.prices.as_ref()).cloned();
            let prices = configured.map(PriceList::from).or(prices);
            let model = Model { prices, context_window, counter, answers: Mutex::default() };
            ((*name).to_owned(), Arc::new(model))
        });
        Ok(Self(models.collect()))
    }

    /// Every name that a call can be resolved to is here; the first one stands in for any other.
    pub fn get(&self, name: &str) -> &Arc<Model> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(&self.0[0].1, |(_, model)| model)
    }
}

impl Model {
    /// The cost of an answer to a request that was sent at that Unix time; `None`: unknown.
    pub fn cost(&self, usage: &Usage, sent_unix_ms: u64) -> Option<NanoUsd> {
        self.prices.as_ref()?.at(sent_unix_ms).cost(usage)
    }
}
