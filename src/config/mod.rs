//! What a pool is told: providers, routing and bounds, from a file or an object, below the options of its constructor.
//!
//! A configuration has two forms. The *raw* form (`raw.rs`) is what was written, key by key; the *checked* form
//! ([`Config`]) is what the engine runs on: defaults in, units gone, options of the constructor applied, environment
//! read. Between them stands one check that reports every problem at once, each with its path. There is no third form
//! and no way around the check, so whoever holds a [`Config`] need not ask whether it makes sense.
//!
//! Order of precedence: option of the constructor, then the configuration, then the default.
//!
//! Secrets: keys are [`Secret`]s; values of keys, headers and URLs appear in no problem, no warning and no `Debug`.

mod beside;
mod budget;
mod callers;
mod check;
mod document;
mod env;
mod failures;
mod feed;
mod file;
mod nearest;
mod network;
mod overlay;
mod prices;
mod provider;
mod public_key;
mod raw;
mod references;
mod schema;
mod secret;
mod section;
mod server;
mod settings;
mod shape;
mod tasks;
mod tenants;
mod tls;
mod values;
mod watch;

#[cfg(test)]
mod configuration_doc;
#[cfg(test)]
mod deploy_tests;
#[cfg(test)]
mod effects_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub use callers::{HmacClient, HmacConfig, JwtAlg, JwtConfig, JwtKeys};
pub use document::{Document, Format};
pub use env::Environment;
pub use feed::Feed;
pub use file::{read_file, replace_file};
pub use nearest::nearest;
pub use overlay::Overlay;
pub use public_key::{KeyKind, PublicKey};
pub use schema::json_schema;
pub use secret::{MASK, Secret};
pub use server::{GrpcAddress, KeyHash, ServerConfig};
pub use settings::{Remote, Settings, Source};
pub use tasks::{EnsembleConfig, JudgeConfig, TaskConfig};
pub use tenants::TenantConfig;
pub use tls::{TlsConfig, TlsFiles};
pub use watch::Watch;

use crate::adapter::{EndpointParams, FailureRow, ParamOverrides, Service, Stated};
use crate::cache::CacheParams;
use crate::cost::Prices;
use crate::error::{Error, ErrorKind};
use crate::policy::{
    BackoffParams, Behaviour, BreakerParams, BudgetParams, HedgeParams, RateParams, RetryBudgetParams, TimerParams,
};
use crate::tokens::CounterParams;
use crate::transport::{ClientParams, MediaParams};
use crate::types::ProviderName;

/// A checked configuration.
///
/// ```
/// use llmpool::config::{Config, Environment, Settings, Source};
///
/// let text = r#"{ "providers": [
///     // the key comes from the environment
///     { "name": "main", "type": "openai", "model": "gpt-4o", "api_key": "${OPENAI_API_KEY}" },
/// ] }"#;
/// let environment = Environment::from_map([("OPENAI_API_KEY", "sk-1")]);
/// let settings = Settings::new(Source::File("config.json".into()));
/// let config = Config::load_text(text, &environment, &settings)?;
/// assert_eq!(config.providers[0].priority, 1);
/// # Ok::<(), llmpool::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// At least one, in the order written.
    pub providers: Vec<ProviderConfig>,
    pub routing: RoutingConfig,
    pub qos: QosConfig,
    pub media: MediaConfig,
    pub health: HealthConfig,
    pub cache: CacheParams,
    /// Of the whole pool; `None`: no limit.
    pub budget: Option<BudgetParams>,
    pub server: ServerConfig,
    pub ensemble: EnsembleConfig,
    /// By name, those that only providers name included.
    pub tasks: BTreeMap<String, TaskConfig>,
    /// In the order written; empty: a call's tenant is only a label.
    pub tenants: Vec<TenantConfig>,
    /// Further files that were read for it.
    pub files: Vec<PathBuf>,
    /// One attempt, where the provider says nothing.
    pub timeout: Duration,
    /// The whole call, where the call says nothing; never above [`QosConfig::max_deadline`].
    pub deadline: Duration,
    /// What is allowed but probably not meant, each with its path.
    pub warnings: Vec<String>,
}

/// One provider. Two that are equal may share all live state: that is how a reload decides what survives.
#[derive(Clone, PartialEq)]
pub struct ProviderConfig {
    pub name: ProviderName,
    pub service: &'static Service,
    /// Asked for when a call names no model.
    pub model: String,
    /// Alias → the service's own name, and what is said of it.
    pub models: BTreeMap<String, ModelConfig>,
    /// What is said of all its models.
    pub stated: Stated,
    /// Without repetition; empty only where the service needs none.
    pub keys: Vec<Secret>,
    /// Lower is asked first.
    pub priority: u32,
    /// Its part of the calls of its tier, where the behaviour counts it; 0: only when a call names it.
    pub weight: u32,
    pub enabled: bool,
    /// The tasks whose calls it answers; empty: all.
    pub tasks: Vec<String>,
    /// A connection is opened when the pool starts.
    pub warm: bool,
    /// `None`: the service's own.
    pub base_url: Option<String>,
    pub allow_http: bool,
    /// Values may be secrets.
    pub headers: Vec<(String, String)>,
    pub organization: Option<String>,
    pub project: Option<String>,
    pub deployment: Option<String>,
    pub api_version: Option<String>,
    /// A field that the provider does not take is an error of the call instead of a warning.
    pub strict_params: bool,
    pub params: ParamOverrides,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f64>,
    /// Sent in every chat as it is, below what a call sends so. Values may be secrets.
    pub extra_body: Map<String, Value>,
    /// One attempt; `None`: the pool's.
    pub timeout: Option<Duration>,
    pub timers: TimerParams,
    pub rate: RateParams,
    /// Attempts and open streams at once.
    pub max_concurrent: Option<u32>,
    /// With the pool's part in it; a threshold of 0 is no breaker.
    pub breaker: BreakerParams,
    /// `None`: those of the catalogue.
    pub prices: Option<Prices>,
    /// `None`: no limit of its own.
    pub budget: Option<BudgetParams>,
    pub counter: CounterParams,
    /// With the environment in it.
    pub client: ClientParams,
    /// What the configuration adds to the failure table for this provider, in the order written.
    pub failure_rows: Vec<FailureRow>,
}

/// One model of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// As the service spells it.
    pub model: String,
    /// Goes over what is said of all models of the provider.
    pub stated: Stated,
    /// `None`: the provider's, or those of the catalogue.
    pub prices: Option<Prices>,
}

/// Who is asked, how often, and how long a call waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingConfig {
    pub behaviour: Behaviour,
    /// Further attempts after every eligible provider was asked once.
    pub max_retries: u32,
    pub backoff: BackoffParams,
    pub enable_failover: bool,
    /// Already in every provider's [`BreakerParams`].
    pub enable_circuit_breaker: bool,
    /// Attempts and open streams of the whole pool at once.
    pub max_concurrent: Option<u32>,
    /// 0: a call never waits for capacity.
    pub queue_timeout: Duration,
    /// Calls that may wait at once.
    pub max_queue: usize,
    pub retry_budget: RetryBudgetParams,
    /// A provider that refuses the content with an error is passed over like one that fails; else the call throws.
    pub failover_on_content_filter: bool,
    /// How long a mark of the program's holds; `None`: until it is cleared.
    pub error_cooldown: Option<Duration>,
    /// Fixes random choices.
    pub seed: Option<u64>,
}

/// Bounds that no call passes.
#[derive(Debug, Clone, PartialEq)]
pub struct QosConfig {
    pub max_deadline: Duration,
    /// `None`: no call is sent twice.
    pub hedge: Option<HedgeParams>,
    pub max_prompt_bytes: usize,
    /// Of a whole reply; of a longer stream everything is handed over and nothing is kept.
    pub max_response_bytes: usize,
}

/// What the pool fetches for providers that fetch nothing themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaConfig {
    pub params: MediaParams,
    /// With the environment in it; its proxy is not used.
    pub client: ClientParams,
}

/// Whether providers are asked if they are up, beside the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    pub active: bool,
    /// From one check to the next.
    pub interval: Duration,
    pub timeout: Duration,
    /// Failed checks in a row that put a provider behind the others.
    pub failures: u32,
}

// === impl Config ===

impl Config {
    /// Reads the source once and checks it. Needs a tokio runtime.
    pub async fn load(source: &Source, environment: &Environment, settings: &Settings) -> Result<Self, Error> {
        let document = Feed::new(source).read(environment).await?;
        let document = document.ok_or_else(|| Error::new(ErrorKind::Internal, "nothing was read before"))?;
        Self::of(&document, environment, settings)
    }

    /// Checks a JSON text with comments; problems say line and column.
    pub fn load_text(text: &str, environment: &Environment, settings: &Settings) -> Result<Self, Error> {
        let document = Document::parse(text.to_owned(), Format::Json).map_err(Error::configuration)?;
        Self::of(&document, environment, settings)
    }

    pub fn load_value(value: &Value, environment: &Environment, settings: &Settings) -> Result<Self, Error> {
        Self::of(&Document::object(value.clone()), environment, settings)
    }

    /// Checks what was read, and fails with every problem there is.
    pub fn of(document: &Document, environment: &Environment, settings: &Settings) -> Result<Self, Error> {
        Self::overlaid(document, &Overlay::default(), environment, settings)
    }

    /// The same with a program's changes over it.
    pub fn overlaid(
        document: &Document,
        overlay: &Overlay,
        environment: &Environment,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let references = document.references(environment);
        check::config(document.value(), references, overlay, environment, settings).map_err(|mut problems| {
            document.locate(&mut problems);
            Error::configuration(problems)
        })
    }
}

// === impl ProviderConfig ===

impl ProviderConfig {
    /// Every model it serves, as the service spells it, its own first.
    fn served(&self) -> impl Iterator<Item = (&str, Stated)> {
        let aliases = || self.models.values().map(|served| (served.model.as_str(), served.stated));
        // What an alias says of the provider's own model holds by whatever name it is asked for.
        let own = aliases().find(|(model, _)| *model == self.model).map_or_else(Stated::default, |(_, stated)| stated);
        std::iter::once((self.model.as_str(), own)).chain(aliases())
    }

    /// Does what was counted of the one hold for the other? Its limits, breaker, keys and address must be the same; what
    /// else is said of it changes nothing that was counted. A parameter not named here starts it anew.
    pub fn same_upstream(&self, other: &Self) -> bool {
        let other = Self {
            model: self.model.clone(),
            models: self.models.clone(),
            priority: self.priority,
            weight: self.weight,
            enabled: self.enabled,
            tasks: self.tasks.clone(),
            warm: self.warm,
            headers: self.headers.clone(),
            strict_params: self.strict_params,
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            extra_body: self.extra_body.clone(),
            timeout: self.timeout,
            timers: self.timers.clone(),
            prices: self.prices.clone(),
            budget: self.budget.clone(),
            failure_rows: self.failure_rows.clone(),
            client: ClientParams { max_connections: self.client.max_connections, ..other.client.clone() },
            ..other.clone()
        };
        *self == other
    }

    /// The part that the wire needs.
    pub fn endpoint_params(&self) -> EndpointParams {
        EndpointParams {
            service: self.service,
            name: self.name.to_string(),
            base_url: self.base_url.clone(),
            headers: self.headers.clone(),
            organization: self.organization.clone(),
            project: self.project.clone(),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            extra_body: self.extra_body.clone(),
            deployment: self.deployment.clone(),
            api_version: self.api_version.clone(),
            strict: self.strict_params,
            params: self.params.clone(),
            failure_rows: self.failure_rows.clone(),
            stated: self.stated,
            models: self.served().map(|(model, stated)| (model.to_owned(), stated)).collect(),
        }
    }
}

impl fmt::Debug for ProviderConfig {
    /// Header values, and whatever a URL carries beside its host and path, are masked like keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            service,
            model,
            models,
            stated,
            keys,
            priority,
            weight,
            enabled,
            tasks,
            warm,
            base_url,
            allow_http,
            headers,
            organization,
            project,
            deployment,
            api_version,
            strict_params,
            params,
            max_tokens,
            temperature,
            extra_body,
            timeout,
            timers,
            rate,
            max_concurrent,
            breaker,
            prices,
            budget,
            counter,
            client,
            failure_rows,
        } = self;
        let headers: BTreeMap<_, _> = headers.iter().map(|(name, _)| (name, MASK)).collect();
        let extra_body: BTreeMap<_, _> = extra_body.keys().map(|name| (name, MASK)).collect();
        f.debug_struct("ProviderConfig")
            .field("name", name)
            .field("service", &service.name)
            .field("model", model)
            .field("models", models)
            .field("stated", stated)
            .field("keys", keys)
            .field("priority", priority)
            .field("weight", weight)
            .field("enabled", enabled)
            .field("tasks", tasks)
            .field("warm", warm)
            .field("base_url", &base_url.as_deref().map(network::without_secrets))
            .field("allow_http", allow_http)
            .field("headers", &headers)
            .field("organization", organization)
            .field("project", project)
            .field("deployment", deployment)
            .field("api_version", api_version)
            .field("strict_params", strict_params)
            .field("params", params)
            .field("max_tokens", max_tokens)
            .field("temperature", temperature)
            .field("extra_body", &extra_body)
            .field("timeout", timeout)
            .field("timers", timers)
            .field("rate", rate)
            .field("max_concurrent", max_concurrent)
            .field("breaker", breaker)
            .field("prices", prices)
            .field("budget", budget)
            .field("counter", counter)
            .field("client", client)
            .field("failure_rows", failure_rows)
            .finish()
    }
}
