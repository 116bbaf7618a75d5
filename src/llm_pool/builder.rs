//! A configuration, said in Rust. It is checked by the check that reads files, and by no other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::LlmPool;
use super::client_builder::LlmClientBuilder;
use crate::config::{Document, Environment, Settings, Source};
use crate::engine::Clients;
use crate::error::{Error, ErrorKind, Problem};
use crate::policy::Behaviour;
use crate::pool::Pool;

/// A provider with its place in a pool.
///
/// Shown by the example of [`PoolMember::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct PoolMember {
    client: LlmClientBuilder,
}

/// Builds a pool, or says everything that is wrong with it. What is left out has the default of a configuration file.
///
/// ```
/// use llmpool::{LlmClient, LlmPoolBuilder};
///
/// let twice = LlmClient::builder("openai", "gpt-4o").api_key("k");
/// let refused = LlmPoolBuilder::new().client(1, twice.clone()).client(2, twice.setting("colour", "blue")).build();
/// let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
/// assert!(error.contains("providers[1].name: this name is taken"), "{error}");
/// assert!(error.contains("providers[1].colour: unknown key"), "{error}");
/// ```
///
/// ```
/// use std::time::Duration;
/// use llmpool::{Behaviour, LlmClient, LlmPoolBuilder};
///
/// let pool = LlmPoolBuilder::new()
///     .behaviour(Behaviour::Failover)
///     .client(1, LlmClient::builder("groq", "llama-3.3-70b-versatile").api_key("k"))
///     .client(2, LlmClient::builder("ollama", "llama3.2"))
///     .max_retries(2)
///     .backoff(Duration::from_millis(100), 2.0, Duration::from_secs(30))
///     .timeout(Duration::from_secs(30))
///     .deadline(Duration::from_secs(120))
///     .max_concurrent(10)
///     .queue_timeout(Duration::from_secs(5))
///     .breaker_window(Duration::from_secs(60), 0.5, 10)
///     .health_checks(Duration::from_secs(30))
///     .setting("qos", "max_prompt_bytes", 65_536)
///     .build()?;
/// assert_eq!(pool.len(), 2);
/// # Ok::<(), llmpool::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a pool exists once it is built"]
pub struct LlmPoolBuilder {
    members: Vec<PoolMember>,
    /// Sections of a configuration, and what is set in each.
    sections: Map<String, Value>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    history_limit: Option<u32>,
}

// === impl PoolMember ===

impl PoolMember {
    /// A lower priority is asked first.
    ///
    /// ```
    /// use llmpool::{LlmClient, PoolMember};
    /// let client = LlmClient::builder("ollama", "llama3.2");
    /// assert_eq!(PoolMember::new(0, client.clone()), PoolMember::new(0, client.setting("priority", 1)));
    /// ```
    pub fn new(priority: u32, client: LlmClientBuilder) -> Self {
        Self { client: client.setting("priority", priority) }
    }

    /// As a configuration says it.
    pub(super) fn into_value(self) -> Value {
        self.client.into_value()
    }
}

// === impl LlmPoolBuilder ===

impl LlmPoolBuilder {
    /// As the examples of [`LlmPoolBuilder`] begin.
    pub fn new() -> Self {
        Self::default()
    }

    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder, PoolMember};
    /// let member = PoolMember::new(1, LlmClient::builder("ollama", "llama3.2"));
    /// assert_eq!(LlmPoolBuilder::new().member(member).build()?.len(), 1);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn member(mut self, member: PoolMember) -> Self {
        self.members.push(member);
        self
    }

    /// The same as [`LlmPoolBuilder::member`] with [`PoolMember::new`].
    pub fn client(self, priority: u32, client: LlmClientBuilder) -> Self {
        self.member(PoolMember::new(priority, client))
    }

    /// How providers share the work. Default: [`Behaviour::default`].
    ///
    /// ```
    /// # use llmpool::{Behaviour, LlmClient, LlmPoolBuilder};
    /// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
    /// let builder = LlmPoolBuilder::new().client(1, client("a")).client(1, client("b"));
    /// let pool = builder.behaviour(Behaviour::Distribute).build()?;
    /// let turns: Vec<_> = (0..3).filter_map(|_| pool.get_client()).map(|client| client.id().to_owned()).collect();
    /// assert_eq!(turns, ["a", "b", "a"]);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn behaviour(self, behaviour: Behaviour) -> Self {
        let word = serde_json::to_value(behaviour).unwrap_or(Value::Null);
        self.routing("behaviour", word)
    }

    /// Further attempts after every eligible provider was asked once. Default 3; 0 still fails over.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let pool = LlmPoolBuilder::new().client(1, client).max_retries(0).build()?;
    /// assert_eq!(pool.chat(&request).await.unwrap_err().context().attempts.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_retries(self, retries: u32) -> Self {
        self.routing("max_retries", retries)
    }

    /// The wait before retry n is `first · multiplierⁿ`, times a random half to whole, and never more than `longest`.
    /// Default: 1 s, 2, 30 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let (first, longest) = (Duration::from_millis(10), Duration::from_millis(20));
    /// let pool = LlmPoolBuilder::new().client(1, client).max_retries(2).backoff(first, 2.0, longest).build()?;
    /// let began = std::time::Instant::now();
    /// assert_eq!(pool.chat(&request).await.unwrap_err().context().attempts.len(), 3);
    /// assert!(began.elapsed() < Duration::from_secs(1), "with the default it is more");
    /// # Ok(())
    /// # }
    /// ```
    pub fn backoff(self, first: Duration, multiplier: f64, longest: Duration) -> Self {
        self.routing("retry_delay_ms", millis(first))
            .routing("backoff_multiplier", multiplier)
            .routing("max_backoff_ms", millis(longest))
    }

    /// `false`: only the first eligible provider of a call is asked. Default: true.
    ///
    /// ```
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let builder = LlmPoolBuilder::new().client(1, client.clone()).client(2, client.name("spare"));
    /// let pool = builder.failover(false).max_retries(0).build()?;
    /// let error = pool.chat(&request).await.unwrap_err();
    /// assert_eq!(error.context().attempts.len(), 1, "the spare one is not asked");
    /// # Ok(())
    /// # }
    /// ```
    pub fn failover(self, on: bool) -> Self {
        self.routing("enable_failover", on)
    }

    /// `false`: no provider has a breaker. Default: true.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let client = client.circuit_breaker(1, Duration::from_secs(30));
    /// let pool = LlmPoolBuilder::new().client(1, client).max_retries(0).circuit_breakers(false).build()?;
    /// assert!(pool.chat(&request).await.is_err());
    /// assert!(pool.health().providers["down"].available, "nothing opens");
    /// # Ok(())
    /// # }
    /// ```
    pub fn circuit_breakers(self, on: bool) -> Self {
        self.routing("enable_circuit_breaker", on)
    }

    /// What opens a breaker beside failures in a row: a share of failed calls over this time, of at least so many calls.
    /// Default: 60 s, 0.5, 10.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
    /// # use llmpool::{ChatRequest, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let url = upstream::start(503, "out of order").await?;
    /// # let client = LlmClient::builder("openai-compatible", "m").name("down").base_url(&url);
    /// # let request = ChatRequest::user("Where is it cold?");
    /// let builder = LlmPoolBuilder::new().client(1, client).max_retries(0);
    /// let pool = builder.breaker_window(Duration::from_secs(60), 0.5, 2).build()?;
    /// for available in [true, false] {
    ///     assert!(pool.chat(&request).await.is_err());
    ///     assert_eq!(pool.health().providers["down"].available, available);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn breaker_window(self, window: Duration, failure_ratio: f64, min_calls: u32) -> Self {
        let breaker = json!({ "window_s": window.as_secs(), "failure_ratio": failure_ratio, "min_calls": min_calls });
        self.routing("breaker", breaker)
    }

    /// Attempts and open streams of the whole pool at once; at least 1. Default 256.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).max_concurrent(10).build()?;
    /// assert_eq!(pool.stats().available_permits, Some(10));
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn max_concurrent(self, attempts: u32) -> Self {
        self.routing("max_concurrent", attempts)
    }

    /// Asks every provider so often whether it is up, beside the calls, once the pool is started. Default: never.
    ///
    /// Shown by the example of [`LlmPool::start`].
    pub fn health_checks(self, interval: Duration) -> Self {
        self.setting("health", "active", true).setting("health", "interval_ms", millis(interval))
    }

    /// How long [`LlmPool::mark_error`] holds. Default 60 s; zero: not at all.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// let pool = builder.error_cooldown(Duration::ZERO).build()?;
    /// pool.mark_error("ollama")?;
    /// assert!(pool.health().providers["ollama"].available);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn error_cooldown(self, cooldown: Duration) -> Self {
        self.routing("error_cooldown_ms", millis(cooldown))
    }

    /// The longest a call waits for capacity. Default 10 s; zero: never.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{ChatRequest, ErrorKind, Failure, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// let pool = builder.max_concurrent(1).queue_timeout(Duration::ZERO).build()?;
    /// let request = ChatRequest::user("Is there room?");
    /// let second = pool.execute_request(async |_| Ok::<_, Failure>(pool.chat(&request).await)).await?;
    /// let refused = second.unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::RateLimited { .. }), "the first call has the only place: {refused:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_timeout(self, wait: Duration) -> Self {
        self.routing("queue_timeout_ms", millis(wait))
    }

    /// One attempt. Default 30 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{Failure, FailureClass, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).max_retries(0);
    /// let pool = builder.timeout(Duration::from_millis(20)).build()?;
    /// let failed = pool.execute_request(async |_| std::future::pending::<Result<(), Failure>>().await).await.unwrap_err();
    /// assert_eq!(failed.error.failure().map(|failure| failure.class), Some(FailureClass::Timeout));
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The whole call, waits and retries included. Default, and the most it can be: ten minutes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use llmpool::{ErrorKind, Failure, LlmClient, LlmPoolBuilder};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// let pool = builder.deadline(Duration::from_millis(20)).build()?;
    /// let failed = pool.execute_request(async |_| std::future::pending::<Result<(), Failure>>().await).await.unwrap_err();
    /// assert!(matches!(failed.error.kind(), ErrorKind::Timeout { .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Samples kept per provider for percentiles. Default 1000.
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// assert_eq!(builder.history_limit(100).build()?.len(), 1);
    /// # Ok::<(), llmpool::Error>(())
    /// ```
    pub fn history_limit(mut self, samples: u32) -> Self {
        self.history_limit = Some(samples);
        self
    }

    /// Any key of `routing`, as `docs/configuration.md` lists them. Checked by [`LlmPoolBuilder::build`].
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// let refused = builder.routing("max_concurrent", 0).build().unwrap_err();
    /// assert!(refused.to_string().contains("routing.max_concurrent"), "{refused}");
    /// ```
    pub fn routing(self, key: &str, value: impl Into<Value>) -> Self {
        self.setting("routing", key, value)
    }

    /// Any key of any section of a configuration but `providers`, which [`LlmPoolBuilder::client`] adds. Checked by
    /// [`LlmPoolBuilder::build`].
    ///
    /// ```
    /// # use llmpool::{LlmClient, LlmPoolBuilder};
    /// let builder = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2"));
    /// let refused = builder.setting("qos", "colour", "blue").build().unwrap_err();
    /// assert!(refused.to_string().contains("qos.colour"), "{refused}");
    /// ```
    pub fn setting(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        let section = self.sections.entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(section) = section {
            section.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Builds the pool. Reads certificate files, so it belongs on a thread that may block.
    ///
    /// ```
    /// # use llmpool::LlmPoolBuilder;
    /// let refused = LlmPoolBuilder::new().routing("colour", "blue").build().unwrap_err().to_string();
    /// assert!(refused.contains("providers") && refused.contains("routing.colour"), "{refused}");
    /// ```
    ///
    /// # Errors
    /// An empty pool, names that are taken, unknown keys and values out of range: all of them, each with its path.
    pub fn build(self) -> Result<LlmPool, Error> {
        self.build_over(Clients::http())
    }

    /// The same over transports of the caller's making.
    pub(super) fn build_over(self, clients: Clients) -> Result<LlmPool, Error> {
        let Self { members, sections: mut document, timeout, deadline, history_limit } = self;
        let claimed = document
            .insert("providers".to_owned(), members.into_iter().map(PoolMember::into_value).collect())
            .is_some();
        let document = Value::Object(document);
        let unset = Settings::new(Source::Inline(document.clone()));
        let settings = Settings {
            timeout: timeout.unwrap_or(unset.timeout),
            deadline,
            history_limit: history_limit.unwrap_or(unset.history_limit),
            ..unset
        };
        let (document, environment) = (Document::object(document), Environment::process());
        let built = Pool::with_clients(document, environment, settings, Arc::default(), clients).map(LlmPool::over);
        if claimed { Err(claims_providers(built.err())) } else { built }
    }
}

/// What was set there would be lost: it is said, beside whatever else is wrong.
fn claims_providers(rest: Option<Error>) -> Error {
    let mut problems = match rest.as_ref().map(Error::kind) {
        Some(ErrorKind::Configuration { problems }) => problems.clone(),
        _ => Vec::new(),
    };
    let message = "is not a section: add providers by LlmPoolBuilder::client".to_owned();
    problems.insert(0, Problem { path: "providers".to_owned(), message });
    Error::configuration(problems)
}

/// As a configuration says a time.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
