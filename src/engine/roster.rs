//! Who is in the pool. A roster is never edited: a reload builds another one and swaps it in, and a provider whose
//! parameters did not change goes over with its live state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::provider::Provider;
use crate::config::{Config, QosConfig, RoutingConfig, Settings};
use crate::error::{Error, Problem};
use crate::transport::{ClientParams, HttpClient, Transport};

pub struct Roster {
    providers: Vec<Arc<Provider>>,
    routing: RoutingConfig,
    limits: CallLimits,
}

/// Bounds of a single call.
#[derive(Debug, Clone)]
pub struct CallLimits {
    /// One attempt, where neither call nor provider say otherwise.
    pub timeout: Duration,
    /// The whole call, where it does not say otherwise.
    pub deadline: Duration,
    pub qos: QosConfig,
}

/// One transport for all providers with equal parameters, so that they share connections.
pub struct Clients {
    made: Mutex<HashMap<ClientParams, Arc<dyn Transport>>>,
    make: Box<Make>,
}

type Make = dyn Fn(&ClientParams) -> Result<Arc<dyn Transport>, String> + Send + Sync;

impl Clients {
    /// Real HTTP.
    pub fn http() -> Self {
        Self::new(|params| match HttpClient::new(params) {
            Ok(client) => Ok(Arc::new(client)),
            Err(error) => Err(error.message),
        })
    }

    pub fn new(make: impl Fn(&ClientParams) -> Result<Arc<dyn Transport>, String> + Send + Sync + 'static) -> Self {
        Self { made: Mutex::default(), make: Box::new(make) }
    }

    fn get(&self, params: &ClientParams) -> Result<Arc<dyn Transport>, String> {
        let mut made = lock(&self.made);
        if let Some(client) = made.get(params) {
            return Ok(Arc::clone(client));
        }
        let client = (self.make)(params)?;
        made.insert(params.clone(), Arc::clone(&client));
        Ok(client)
    }
}

impl Roster {
    /// Builds the roster of `config`; all problems at once.
    pub fn build(config: Config, settings: &Settings, clients: &Clients) -> Result<Self, Error> {
        let Config { providers: configs, routing, qos, timeout, deadline, warnings: _ } = config;
        let limits = CallLimits { timeout, deadline, qos };
        let mut providers = Vec::with_capacity(configs.len());
        let mut problems = Vec::new();
        for config in configs {
            let name = config.name.clone();
            let client = match clients.get(&config.client) {
                Ok(client) => client,
                Err(message) => {
                    problems.push(Problem { path: format!("providers.{name}"), message });
                    continue;
                }
            };
            match Provider::new(config, client, settings.history_limit as usize) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(Self { providers, routing, limits }) } else { Err(Error::configuration(problems)) }
    }

    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    pub fn routing(&self) -> &RoutingConfig {
        &self.routing
    }

    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.name().as_str() == name)
    }
}
