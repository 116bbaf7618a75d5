//! Changing a pool that runs: another configuration, other providers, and what changes by itself.

use std::sync::Arc;

use napi_derive::napi;
use serde::Serialize;

use super::pool::{Inner, NativePool, environment};
use super::{io, record};
use crate::engine::ProviderListing;
use crate::error::{Error, ErrorKind, Problem};
use crate::pool::{Change, Notice, Pool};

#[napi]
impl NativePool {
    /// Puts a configuration in force: this one, or what the source holds now. Completes with what changed, or `null`.
    #[napi(catch_unwind)]
    pub fn reload(&self, id: f64, env_json: String, config_json: Option<String>) -> napi::Result<()> {
        self.task(id, |inner, id| async move {
            let result = inner.reload(&env_json, config_json.as_deref()).await;
            inner.channel.push(|records| match result {
                Ok(change) => record::value(records, id, &change),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Reads and checks the configuration as `initialize` would, and starts nothing.
    #[napi(catch_unwind)]
    pub fn check(&self, id: f64, env_json: String) -> napi::Result<()> {
        self.task(id, |inner, id| async move {
            let result = inner.check(&env_json).await;
            inner.channel.push(|records| match result {
                Ok(checked) => record::value(records, id, &checked),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Writes the statistics file.
    #[napi(catch_unwind)]
    pub fn save_stats(&self, id: f64) -> napi::Result<()> {
        self.task(id, |inner, id| async move {
            let result = match inner.ready() {
                Ok(pool) => pool.save_stats().await,
                Err(error) => Err(error),
            };
            inner.channel.push(|records| match result {
                Ok(()) => record::value(records, id, &()),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Completes with what changed.
    #[napi(catch_unwind)]
    pub fn add_provider(&self, id: f64, provider_json: String) -> napi::Result<()> {
        self.task(id, |inner, id| async move {
            let result = inner.add_provider(&provider_json).await;
            inner.channel.push(|records| match result {
                Ok(change) => record::value(records, id, &change),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// JSON of what changed, or of `null`.
    #[napi(catch_unwind)]
    pub fn remove_provider(&self, name: String) -> napi::Result<String> {
        self.steer(&name, |pool| pool.remove_provider(&name))
    }

    /// JSON of what changed, or of `null`.
    #[napi(catch_unwind)]
    pub fn set_provider_priority(&self, name: String, priority: u32) -> napi::Result<String> {
        self.steer(&name, |pool| pool.set_priority(&name, priority))
    }

    /// JSON of what changed, or of `null`.
    #[napi(catch_unwind)]
    pub fn set_provider_enabled(&self, name: String, enabled: bool) -> napi::Result<String> {
        self.steer(&name, |pool| pool.set_enabled(&name, enabled))
    }

    /// JSON of the events to be told.
    #[napi(catch_unwind)]
    pub fn mark_error(&self, name: String) -> napi::Result<String> {
        self.steer(&name, |pool| pool.mark_error(&name))
    }

    /// JSON of the events to be told; of `null` when it was not marked.
    #[napi(catch_unwind)]
    pub fn clear_error(&self, name: String) -> napi::Result<String> {
        self.steer(&name, |pool| pool.clear_error(&name))
    }
}

impl NativePool {
    fn steer<T: Serialize>(&self, name: &str, change: impl FnOnce(&Pool) -> Result<T, Error>) -> napi::Result<String> {
        let result = self.inner.pool.get().map_or_else(
            || {
                let message = format!("no provider is named {name:?}; the pool has not been initialized");
                Err(Error::configuration(vec![Problem { path: String::new(), message }]))
            },
            change,
        );
        result.map(|outcome| record::json(&outcome)).map_err(|error| record::thrown(&error))
    }
}

/// A configuration that could be put in force.
#[derive(Serialize)]
struct Checked {
    providers: Vec<ProviderListing>,
    warnings: Vec<String>,
    checksum: String,
}

impl Inner {
    async fn check(&self, env_json: &str) -> Result<Checked, Error> {
        // Nothing follows the source of this one, and it is gone when it has been looked at.
        let pool = Pool::open(self.settings.clone(), environment(env_json)?, Arc::default()).await?;
        let (providers, warnings) = (pool.engine().listing(), pool.warnings());
        Ok(Checked { providers, warnings, checksum: pool.edition().checksum })
    }

    async fn reload(&self, env_json: &str, config_json: Option<&str>) -> Result<Option<Change>, Error> {
        let environment = environment(env_json)?;
        let config = config_json.map(serde_json::from_str).transpose();
        let config = config.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        // First, because what is wrong changes nothing.
        let certificates = self.read_certificates().await?;
        let change = self.ready()?.reload(config, environment).await?;
        for (server, tls) in certificates {
            server.replace_tls(tls);
        }
        Ok(change)
    }

    async fn add_provider(&self, provider_json: &str) -> Result<Option<Change>, Error> {
        let provider =
            serde_json::from_str(provider_json).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let pool = self.ready()?.clone();
        // It may read certificates.
        let added = tokio::task::spawn_blocking(move || pool.add_provider(provider)).await;
        added.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?
    }

    /// Follows the source, and saves the statistics, as long as the pool lives. Only to be called on the I/O thread.
    ///
    /// Says why changes of a file are not noticed at once.
    pub(super) fn follow(self: &Arc<Self>, pool: &Pool) -> Option<String> {
        let (follower, note) = pool.follower();
        if let Some(follower) = follower {
            // Not `self`: what follows must not keep a forgotten pool.
            let (channel, id) = (Arc::clone(&self.channel), self.id);
            io::spawn(follower.run(move |notice| match notice {
                Notice::Changed(change) => record::background(&channel, id, "reloaded", &record::json(&change)),
                Notice::Rejected(error) => record::background(&channel, id, "rejected", &record::error_json(&error)),
            }));
        }
        if let Some(saver) = pool.saver() {
            let (channel, id) = (Arc::clone(&self.channel), self.id);
            io::spawn(
                saver.run(move |error| record::background(&channel, id, "rejected", &record::error_json(&error))),
            );
        }
        note
    }

    /// Warms connections and checks providers as long as the pool lives. Only to be called on the I/O thread.
    pub(super) fn keep_up(&self, pool: &Pool) {
        let (channel, id) = (Arc::clone(&self.channel), self.id);
        io::spawn(pool.upkeep().run(move |events| record::events(&channel, id, events)));
    }
}
