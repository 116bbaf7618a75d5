//! Who is in the pool. A roster is never edited: a reload builds another one and swaps it in, and a provider whose
//! parameters did not change goes over with its live state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::key_parts::KeyParts;
use super::lock;
use super::mask::Mask;
use super::provider::Provider;
use super::sharing::Answered;
use super::tenants::Tenant;
use crate::cache::{CacheParams, Stays, Store};
use crate::config::{
    Config, EnsembleConfig, HealthConfig, MediaConfig, ProviderConfig, QosConfig, RoutingConfig, ServerConfig,
    Settings, TaskConfig,
};
use crate::error::{Error, Problem, TransportError, TransportErrorKind};
use crate::policy::BudgetParams;
use crate::transport::{self, ClientParams, MediaClient, Transport};
use crate::types::CallOptions;

pub struct Roster {
    providers: Vec<Arc<Provider>>,
    routing: RoutingConfig,
    limits: CallLimits,
    health: HealthConfig,
    cache_params: CacheParams,
    /// What was kept under the same parameters goes over to the next roster.
    kept: Arc<Store<Arc<Answered>>>,
    /// Of the keys of what is kept.
    key_parts: KeyParts,
    ensemble: Arc<EnsembleConfig>,
    tasks: Arc<BTreeMap<String, TaskConfig>>,
    budget: Option<BudgetParams>,
    server: Arc<ServerConfig>,
    /// By id.
    tenants: BTreeMap<String, Arc<Tenant>>,
    /// Over the secrets of all providers: a gateway may echo the request that another one sent it.
    mask: Arc<Mask>,
    /// `None`: the pool fetches nothing.
    media: Option<MediaClient>,
    /// What it was made of: the next roster takes it over when that is the same.
    media_config: MediaConfig,
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

type Made = Result<Arc<dyn Transport>, TransportError>;
type Make = dyn Fn(&ClientParams) -> Made + Send + Sync;

impl Clients {
    /// Real HTTP.
    pub fn http() -> Self {
        Self::new(transport::client)
    }

    pub fn new(make: impl Fn(&ClientParams) -> Made + Send + Sync + 'static) -> Self {
        Self { made: Mutex::default(), make: Box::new(make) }
    }

    /// Lets go of clients that no provider uses any more, and of their connections.
    pub fn forget_unused(&self) {
        lock(&self.made).retain(|_, client| Arc::strong_count(client) > 1);
    }

    /// Lets go of all of them.
    pub fn forget_all(&self) {
        lock(&self.made).clear();
    }

    fn get(&self, params: &ClientParams) -> Made {
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
    /// Builds the roster of `config`; all problems at once. Providers of the roster so far go over with their live state
    /// where their parameters allow it.
    pub fn build(config: Config, settings: &Settings, clients: &Clients, before: Option<&Self>) -> Result<Self, Error> {
        let Config {
            providers: configs,
            routing,
            qos,
            health,
            budget,
            media,
            cache,
            ensemble,
            tasks,
            files: _,
            server,
            tenants,
            timeout,
            deadline,
            warnings: _,
        } = config;
        let server = Arc::new(server);
        let tenants = tenants.into_iter().map(|config| (config.id.clone(), Arc::new(Tenant::new(config)))).collect();
        let limits = CallLimits { timeout, deadline, qos };
        let mask = Arc::new(Mask::new(configs.iter().flat_map(secrets)));
        let mut providers = Vec::with_capacity(configs.len());
        let mut problems = Vec::new();
        let same_media = before.filter(|before| before.media_config == media).and_then(|before| before.media.clone());
        let same_cache = before.filter(|before| before.cache_params == cache).map(|before| Arc::clone(&before.kept));
        let before = before.map_or(&[][..], Self::providers);
        let before: HashMap<&str, &Arc<Provider>> = before.iter().map(|old| (old.name().as_str(), old)).collect();
        for (index, config) in configs.into_iter().enumerate() {
            let path = format!("providers[{index}]");
            let before = before.get(config.name.as_str()).copied();
            if let Some(same) = before.filter(|before| before.is(&config, &routing.backoff)) {
                providers.push(Arc::clone(same));
                continue;
            }
            let client = match clients.get(&config.client) {
                Ok(client) => client,
                Err(TransportError { kind, message }) => {
                    // A client is made of certificates and of proxies; nothing else in it can be wrong.
                    let field = if kind == TransportErrorKind::Tls { "ca_file" } else { "proxy" };
                    problems.push(Problem { path: format!("{path}.{field}"), message });
                    continue;
                }
            };
            let history = settings.history_limit as usize;
            match Provider::new(config, &path, client, &routing.backoff, history, before.map(Arc::as_ref)) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(found) => problems.extend(found),
            }
        }
        let MediaConfig { params, client } = &media;
        let make = || same_media.map_or_else(|| MediaClient::new(params, client), Ok);
        let made = params.fetch.then(make).transpose().unwrap_or_else(|error| {
            problems.push(Problem { path: "media".to_owned(), message: error.message });
            None
        });
        if problems.is_empty() {
            let kept = same_cache.unwrap_or_else(|| Arc::new(Store::new(cache.store(), Stays::Often)));
            let key_parts = KeyParts::of(&routing, &media, &ensemble, &providers);
            Ok(Self {
                providers,
                key_parts,
                routing,
                limits,
                health,
                budget,
                cache_params: cache,
                kept,
                ensemble: Arc::new(ensemble),
                tasks: Arc::new(tasks),
                server,
                tenants,
                mask,
                media: made,
                media_config: media,
            })
        } else {
            Err(Error::configuration(problems))
        }
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

    pub(super) fn media(&self) -> Option<&MediaClient> {
        self.media.as_ref()
    }

    pub fn health(&self) -> &HealthConfig {
        &self.health
    }

    pub(super) fn cache_params(&self) -> &CacheParams {
        &self.cache_params
    }

    pub(super) fn kept(&self) -> &Store<Arc<Answered>> {
        &self.kept
    }

    pub(super) fn key_parts(&self) -> &KeyParts {
        &self.key_parts
    }

    pub fn ensemble(&self) -> &Arc<EnsembleConfig> {
        &self.ensemble
    }

    pub fn tasks(&self) -> &Arc<BTreeMap<String, TaskConfig>> {
        &self.tasks
    }

    /// Of the whole pool.
    pub(super) fn budget(&self) -> Option<&BudgetParams> {
        self.budget.as_ref()
    }

    /// How the pool is served, where it is.
    pub fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    /// There are tenants at all.
    pub fn has_tenants(&self) -> bool {
        !self.tenants.is_empty()
    }

    /// In the order of their ids.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    pub fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// On whose behalf a call is made, where that is a tenant of the configuration.
    pub(super) fn tenant_of(&self, options: &CallOptions) -> Option<&Arc<Tenant>> {
        self.tenant(options.tenant.as_deref()?)
    }

    pub(super) fn mask(&self) -> &Arc<Mask> {
        &self.mask
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.name().as_str() == name)
    }
}

/// Everything of a provider that must not be shown: its keys, the values of its headers (which of them is a password
/// is known only to their owner), what its base URL has in its query, and a password in its proxy's URL.
fn secrets(config: &ProviderConfig) -> Vec<&str> {
    let proxy = &config.client.proxy;
    let proxies = [&proxy.https, &proxy.http, &proxy.all].into_iter().flatten();
    let passwords = proxies.filter_map(|url| url.rsplit_once('@')?.0.rsplit_once(':').map(|(_, password)| password));
    let query = config.base_url.as_deref().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let in_query = query.split('&').filter_map(|pair| pair.split_once('=').map(|(_, value)| value));
    config
        .keys
        .iter()
        .map(|key| key.expose())
        .chain(config.headers.iter().map(|(_, value)| value.as_str()))
        .chain(passwords)
        .chain(in_query)
        .collect()
}
