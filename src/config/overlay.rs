//! What a program changed of a running pool: providers added and removed, priorities, and who is enabled.
//!
//! An overlay lies over the configuration and survives its reloads. It is a value: a change makes another overlay, and
//! that one is kept only when the configuration with it is sound.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::ProviderConfig;

/// Changes by the names of providers.
#[derive(Clone, Default, PartialEq)]
pub struct Overlay {
    /// As they were handed over, by name, in the order of their names.
    added: BTreeMap<String, Value>,
    /// Of the configuration; one that was added later under the same name is not meant.
    removed: BTreeSet<String>,
    priority: BTreeMap<String, u32>,
    enabled: BTreeMap<String, bool>,
}

impl Overlay {
    /// A provider as it would stand in a configuration. Its name must not be in use.
    pub fn add(&mut self, name: &str, provider: Value) {
        self.forget(name);
        self.added.insert(name.to_owned(), provider);
    }

    /// Takes a provider out, wherever it came from.
    pub fn remove(&mut self, name: &str) {
        self.forget(name);
        if self.added.remove(name).is_none() {
            self.removed.insert(name.to_owned());
        }
    }

    /// Goes over the configuration until the provider is removed.
    pub fn set_priority(&mut self, name: &str, priority: u32) {
        self.priority.insert(name.to_owned(), priority);
    }

    /// Goes over the configuration until the provider is removed.
    pub fn set_enabled(&mut self, name: &str, enabled: bool) {
        self.enabled.insert(name.to_owned(), enabled);
    }

    fn forget(&mut self, name: &str) {
        self.priority.remove(name);
        self.enabled.remove(name);
    }

    pub(super) fn added(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.added.iter().map(|(name, provider)| (name.as_str(), provider))
    }

    pub(super) fn removes(&self, name: &str) -> bool {
        self.removed.contains(name)
    }

    pub(super) fn steer(&self, provider: &mut ProviderConfig) {
        let name = provider.name.as_str();
        if let Some(priority) = self.priority.get(name) {
            provider.priority = *priority;
        }
        if let Some(enabled) = self.enabled.get(name) {
            provider.enabled = *enabled;
        }
    }

    /// A configuration as it was written, with the changes in it, for showing.
    pub(super) fn over(&self, mut written: Value) -> Value {
        let Some(providers) = written.get_mut("providers").and_then(Value::as_array_mut) else { return written };
        let name = |provider: &Value| provider.get("name").and_then(Value::as_str).map(str::to_owned);
        providers.retain(|provider| name(provider).is_none_or(|name| !self.removes(&name)));
        let taken: BTreeSet<_> = providers.iter().filter_map(name).collect();
        providers.extend(self.added().filter(|(name, _)| !taken.contains(*name)).map(|(_, provider)| provider.clone()));
        for provider in providers {
            let Some(name) = name(provider) else { continue };
            let Some(provider) = provider.as_object_mut() else { continue };
            set(provider, "priority", self.priority.get(&name).copied());
            set(provider, "enabled", self.enabled.get(&name).copied());
        }
        written
    }
}

fn set(provider: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        provider.insert(key.to_owned(), value.into());
    }
}
