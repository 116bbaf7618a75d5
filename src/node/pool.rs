//! One pool as JavaScript holds it. Every call is handed to the I/O thread at once; nothing here waits.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use napi_derive::napi;
use serde::Serialize;

use super::bridge::{Bridge, Channel};
use super::load::Load;
use super::stream::{Credit, pump};
use super::{io, record, turn};
use crate::config::{Environment, Settings};
use crate::engine::{Analytics, Countable, Explanation, PoolStats, ProviderListing, metrics_of_nothing};
use crate::error::{Context, Error, ErrorKind, MAX_HINT};
use crate::event::{EventKind, Interest};
use crate::metrics::Window;
use crate::pool::{Edition, Pool};
use crate::time::{self, Instant};
use crate::tokens::Counter;
use crate::types::{
    CallOptions, ParsedCall, ParsedInfer, RequestId, parse_call, parse_embed, parse_infer, parse_options,
};

/// Pools of this process, numbered: events say which one they belong to.
static NEXT_POOL: AtomicU32 = AtomicU32::new(1);

/// Whose tokens are counted when nobody says which.
const USUAL_MODEL: &str = "gpt-4o";

#[napi]
pub struct NativePool {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub id: u32,
    pub channel: Arc<Channel>,
    pub settings: Settings,
    interest: Arc<Interest>,
    /// Set by the first `initialize` that succeeds.
    pub pool: OnceLock<Pool>,
    pub load: Load,
    #[cfg(feature = "gateway")]
    pub services: super::gateway::Services,
}

#[napi]
impl NativePool {
    /// Checks the options; reads and sends nothing.
    #[napi(constructor, catch_unwind)]
    pub fn new(bridge: &Bridge, options_json: String) -> napi::Result<Self> {
        let settings =
            Settings::parse(&options_json).map_err(|problems| record::thrown(&Error::configuration(problems)))?;
        let inner = Inner {
            id: NEXT_POOL.fetch_add(1, Ordering::Relaxed),
            channel: bridge.channel(),
            settings,
            interest: Arc::default(),
            pool: OnceLock::new(),
            load: Load::default(),
            #[cfg(feature = "gateway")]
            services: super::gateway::Services::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The number events of this pool carry.
    #[napi(catch_unwind)]
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// Loads the configuration. `env_json` is the environment as JavaScript sees it: a worker has its own copy. Calls that
    /// come from here on wait for it.
    #[napi(catch_unwind)]
    pub fn initialize(&self, id: f64, env_json: String) -> napi::Result<()> {
        self.inner.load.begin();
        self.task(id, |inner, id| async move {
            let result = inner.load.run(inner.start(&env_json)).await;
            inner.channel.push(|records| match result {
                Ok(initialized) => record::value(records, id, &initialized),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Answers one call; request fields and options stand in one object.
    #[napi(catch_unwind)]
    pub fn chat(&self, id: f64, call_json: String) -> napi::Result<()> {
        let submitted = time::now().mono;
        let mut cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let call = match inner.read(call_json, submitted, &mut cancelled).await {
                Ok(call) => call,
                Err(error) => return inner.channel.push(|records| record::error(records, id, &error)),
            };
            let (pool, call) = call;
            let completed = pool.chat_until(&call.request, &call.options, call.warnings, cancelled).await;
            record::events(&inner.channel, inner.id, completed.events);
            inner.channel.push(|records| match completed.result {
                Ok(response) => record::response(records, id, response, None),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Opens a stream and pushes it as far as the consumer has room.
    #[napi(catch_unwind)]
    pub fn stream(&self, id: f64, call_json: String) -> napi::Result<()> {
        let submitted = time::now().mono;
        let credit = Arc::new(Credit::default());
        let mut cancelled = self.inner.channel.open(id as u64, Some(Arc::clone(&credit))).map(drop);
        self.task(id, move |inner, id| async move {
            let call = match inner.read(call_json, submitted, &mut cancelled).await {
                Ok(call) => call,
                Err(error) => return inner.channel.push(|records| record::error(records, id, &error)),
            };
            let (pool, call) = call;
            let request = Arc::new(call.request);
            let completed = pool.stream_until(request, &call.options, call.warnings, &mut cancelled).await;
            record::events(&inner.channel, inner.id, completed.events);
            match completed.result {
                Ok(stream) => pump(stream, id, inner.id, &inner.channel, &credit, &mut cancelled).await,
                Err(error) => inner.channel.push(|records| record::error(records, id, &error)),
            }
        })
    }

    /// Does one piece of work by the name of its task.
    #[napi(catch_unwind)]
    pub fn infer(&self, id: f64, work_json: String) -> napi::Result<()> {
        let submitted = time::now().mono;
        let mut cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let result = match parse_infer(&work_json).and_then(ParsedInfer::whole) {
                Ok((work, warnings)) => {
                    match inner.arrive(work.deadline, work.request_id.as_ref(), submitted, &mut cancelled).await {
                        Ok(pool) => {
                            drop(work_json);
                            let completed = pool.infer_until(&work, &CallOptions::default(), warnings, cancelled).await;
                            record::events(&inner.channel, inner.id, completed.events);
                            completed.result
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error.into()),
            };
            inner.channel.push(|records| match result {
                Ok(response) => record::value(records, id, &response),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Makes embeddings; request fields and options stand in one object.
    #[napi(catch_unwind)]
    pub fn embed(&self, id: f64, call_json: String) -> napi::Result<()> {
        let submitted = time::now().mono;
        let mut cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let result = match parse_embed(&call_json) {
                Ok(mut call) => match inner
                    .arrive(call.options.deadline, call.options.request_id.as_ref(), submitted, &mut cancelled)
                    .await
                {
                    Ok(pool) => {
                        drop(call_json);
                        call.options.submitted = Some(submitted.into_std());
                        let completed = pool.embed_until(&call.request, &call.options, call.warnings, cancelled).await;
                        record::events(&inner.channel, inner.id, completed.events);
                        completed.result
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error.into()),
            };
            inner.channel.push(|records| match result {
                Ok(response) => record::vectors(records, id, response),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Runs a function of the caller's own: each of its turns comes as a record and goes back by `Bridge.settle()`.
    #[napi(catch_unwind)]
    pub fn execute(&self, id: f64, options_json: String) -> napi::Result<()> {
        let submitted = time::now().mono;
        let mut cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let (model, mut options) = match parse_options(&options_json) {
                Ok(parsed) => parsed,
                Err(error) => return inner.channel.push(|records| record::error(records, id, &error.into())),
            };
            options.submitted = Some(submitted.into_std());
            let pool =
                match inner.arrive(options.deadline, options.request_id.as_ref(), submitted, &mut cancelled).await {
                    Ok(pool) => pool,
                    Err(error) => return inner.channel.push(|records| record::error(records, id, &error)),
                };
            let call = turn::Call { id, channel: Arc::clone(&inner.channel) };
            let completed = pool.execute_until(&call, model.as_deref(), &options, cancelled).await;
            record::events(&inner.channel, inner.id, completed.events);
            inner.channel.push(|records| match completed.result {
                Ok(_) => record::value(records, id, &()),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Says whether anybody listens to an event. Names that are not the core's are JavaScript's own business.
    #[napi(catch_unwind)]
    pub fn listen(&self, event: String, wanted: bool) {
        if let Some(kind) = EventKind::ALL.into_iter().find(|kind| kind.name() == event) {
            let wanted = wanted && (kind != EventKind::Debug || self.inner.settings.debug);
            self.inner.interest.set(kind, wanted);
        }
    }

    /// JSON; `null` before the pool is initialized.
    #[napi(catch_unwind)]
    pub fn pool_health(&self) -> String {
        record::json(&self.inner.pool.get().map(|pool| pool.engine().health()))
    }

    /// JSON; `null` before the pool is initialized.
    #[napi(catch_unwind)]
    pub fn provider_stats(&self) -> String {
        record::json(&self.inner.pool.get().map(|pool| pool.engine().provider_stats()))
    }

    /// JSON.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        let pool = self.inner.pool.get();
        let edition = pool.map(Pool::edition);
        record::json(&Stats {
            stats: pool.map_or_else(PoolStats::empty, |pool| pool.engine().stats()),
            config_version: edition.as_ref().map_or(0, |edition| edition.version),
            config_checksum: edition.map(|Edition { checksum, .. }| checksum),
        })
    }

    /// JSON; `null` for a window that there is not.
    #[napi(catch_unwind)]
    pub fn analytics(&self, window: String) -> String {
        let of = |window| {
            self.inner.pool.get().map_or_else(|| Analytics::empty(window), |pool| pool.engine().analytics(window))
        };
        record::json(&Window::parse(&window).map(of))
    }

    /// OpenMetrics text.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.inner.pool.get().map_or_else(metrics_of_nothing, |pool| pool.metrics())
    }

    /// JSON; `null` before the pool is initialized.
    #[napi(catch_unwind)]
    pub fn providers(&self) -> String {
        record::json(&self.inner.pool.get().map(|pool| pool.engine().listing()))
    }

    /// Names of the providers whose breaker was not closed and is now.
    #[napi(catch_unwind)]
    pub fn reset_circuit_breakers(&self, name: Option<String>) -> Vec<String> {
        self.inner.pool.get().map(|pool| pool.engine().reset_circuit_breakers(name.as_deref())).unwrap_or_default()
    }

    /// Tokens of a text.
    #[napi(catch_unwind)]
    pub fn count_text(&self, text: String, model: Option<String>) -> f64 {
        self.inner.count(Countable::Text(&text), model.as_deref())
    }

    /// Tokens of a request, written as a call is.
    #[napi(catch_unwind)]
    pub fn count_prompt(&self, call_json: String, model: Option<String>) -> napi::Result<f64> {
        let call = parse_call(&call_json).map_err(|error| record::thrown(&error.into()))?;
        Ok(self.inner.count(Countable::Prompt(&call.request), model.as_deref().or(call.request.model.as_deref())))
    }

    /// JSON: what a call, written as a call is, would do now.
    #[napi(catch_unwind)]
    pub fn explain(&self, call_json: String) -> napi::Result<String> {
        let call = parse_call(&call_json).map_err(|error| record::thrown(&error.into()))?;
        let explained = match self.inner.pool.get() {
            Some(pool) => pool.engine().explain(&call.request, call.stream, &call.options),
            None => Ok(Explanation::not_initialized()),
        };
        explained.map(|explanation| record::json(&explanation)).map_err(|error| record::thrown(&error))
    }

    /// Refuses new calls, lets those under way finish for so long, then ends them.
    #[napi(catch_unwind)]
    pub fn shutdown(&self, id: f64, drain_timeout_ms: f64) -> napi::Result<()> {
        self.task(id, move |inner, id| async move {
            inner.load.close().await;
            if let Some(pool) = inner.pool.get() {
                let drain = drain_time(drain_timeout_ms);
                #[cfg(feature = "gateway")]
                let (saved, ()) = tokio::join!(pool.shutdown(drain), inner.stop_serving(drain));
                #[cfg(not(feature = "gateway"))]
                let saved = pool.shutdown(drain).await;
                if let Some(error) = saved {
                    record::background(&inner.channel, inner.id, "rejected", &record::error_json(&error));
                }
            }
            inner.channel.push(|records| record::value(records, id, &()));
        })
    }
}

#[derive(Serialize)]
struct Initialized {
    providers: Vec<ProviderListing>,
    /// What is allowed in the configuration but probably not meant.
    warnings: Vec<String>,
}

/// Totals, and the configuration under which they go on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(flatten)]
    stats: PoolStats,
    config_version: u64,
    config_checksum: Option<String>,
}

impl NativePool {
    /// Runs a call on the I/O thread. A panic in it rejects the call and nothing else.
    pub(super) fn task<F, Fut>(&self, id: f64, make: F) -> napi::Result<()>
    where
        F: FnOnce(Arc<Inner>, u64) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let id = id as u64;
        io::submit(self.inner.channel.is_corked(), move || {
            let channel = Arc::clone(&inner.channel);
            // Boxed at once: the state of a call is kilobytes, and each layer around it would move it once more.
            let work = Box::pin(make(inner, id));
            io::spawn(async move {
                if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                    let error = Error::new(ErrorKind::Internal, "a defect in llmpool: it panicked");
                    channel.push(|records| record::error(records, id, &error));
                }
                channel.close(id);
            });
        })
    }
}

impl Inner {
    async fn start(self: &Arc<Self>, env_json: &str) -> Result<Initialized, Error> {
        if let Some(pool) = self.pool.get() {
            return Ok(Initialized { providers: pool.engine().listing(), warnings: Vec::new() });
        }
        let interest = Arc::clone(&self.interest);
        let pool = Pool::open(self.settings.clone(), environment(env_json)?, interest).await?;
        let mut warnings = pool.warnings();
        warnings.extend(self.follow(&pool));
        self.keep_up(&pool);
        Ok(Initialized { providers: self.pool.get_or_init(|| pool).engine().listing(), warnings })
    }

    /// The pool in force, as soon as there is one.
    pub(super) async fn loaded(&self) -> Result<&Pool, Error> {
        if self.pool.get().is_none() {
            self.load.over().await?;
        }
        self.ready()
    }

    pub(super) fn ready(&self) -> Result<&Pool, Error> {
        self.pool.get().ok_or_else(|| Error::new(ErrorKind::Internal, "the pool is not initialized"))
    }

    /// Before the pool is initialized nothing is known but the model's name; without that, what most count by.
    fn count(&self, what: Countable<'_>, model: Option<&str>) -> f64 {
        let tokens = match self.pool.get() {
            Some(pool) => pool.engine().count_tokens(what, model),
            None if self.settings.use_token_counting => what.by(&Counter::of_model(model.unwrap_or(USUAL_MODEL))),
            None => what.by(&Counter::bytes_only(model.unwrap_or(USUAL_MODEL))),
        };
        tokens as f64
    }

    /// The pool in force and the call as it was asked.
    async fn read(
        &self,
        json: String,
        submitted: Instant,
        cancelled: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(&Pool, ParsedCall), Error> {
        let mut call = parse_call(&json)?;
        drop(json);
        call.options.submitted = Some(submitted.into_std());
        let pool = self.arrive(call.options.deadline, call.options.request_id.as_ref(), submitted, cancelled).await?;
        Ok((pool, call))
    }

    /// The pool in force, as soon as there is one and before the call is over.
    async fn arrive(
        &self,
        deadline: Option<Duration>,
        request_id: Option<&RequestId>,
        submitted: Instant,
        cancelled: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<&Pool, Error> {
        if self.pool.get().is_none() {
            let deadline = deadline.or(self.settings.deadline);
            let loaded = self.load.wait(submitted, deadline, cancelled).await;
            loaded.map_err(|error| {
                let context = Context { request_id: request_id.cloned(), ..error.context().clone() };
                error.with_context(context)
            })?;
        }
        self.ready()
    }
}

/// A number that is no duration is the longest or the shortest one.
pub(super) fn drain_time(ms: f64) -> Duration {
    let longest = if ms > 0.0 { MAX_HINT } else { Duration::ZERO };
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or(longest).min(MAX_HINT)
}

pub(super) fn environment(json: &str) -> Result<Environment, Error> {
    let variables: std::collections::BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("the environment is not readable: {error}")))?;
    Ok(Environment::from_map(variables))
}
