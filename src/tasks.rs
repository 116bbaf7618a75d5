//! Calls by the name of a task, and calls that several models answer.
//!
//! A task of the configuration says who does a kind of work, by which strategy, within what, and with which words around
//! the caller's own. What the call itself says goes over it, within the task's limits. From there on it is a plan
//! (`ensemble`), whose answer may be kept and shared like that of any call.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use crate::cache::{Key, KeyMaker};
use crate::config::{TaskConfig, nearest};
use crate::engine::{ChatStream, Completed, Engine, Keeping, Keeps, PlanOf};
use crate::ensemble::{self, Planned};
use crate::error::{Error, ErrorKind};
use crate::event::EventLog;
use crate::time;
use crate::types::{
    CacheWish, CallOptions, ChatRequest, ChatResponse, FieldError, InferRequest, InferResponse, Labels, Message, Meter,
    ResponseFormat, Role, Strategy,
};

/// Tasks that an error lists.
const MOST_SHOWN: usize = 20;

/// A call with everything that its task says of it.
struct Prepared {
    request: ChatRequest,
    options: CallOptions,
    strategy: Strategy,
    warnings: Vec<String>,
    labels: Labels,
}

/// Answers a chat that has a task or a strategy.
///
/// # Errors
/// There is no such task, the call is over its limits, or nobody could answer.
pub async fn chat(
    engine: &Arc<Engine>,
    request: &ChatRequest,
    options: &CallOptions,
    warnings: Vec<String>,
    log: &mut EventLog,
    ended: impl Future<Output = Error>,
) -> Result<ChatResponse, Error> {
    let prepared = Arc::new(Prepared::of(engine, request.clone(), options.clone(), warnings)?);
    let result = prepared.answer(engine, log, ended).await;
    engine.book_plan(&prepared.plan(), result.as_ref(), log);
    result
}

/// Opens a stream that has a task or a strategy. Only `FASTEST` can stream: the others compare whole answers.
///
/// # Errors
/// As [`chat`], and another strategy.
pub async fn stream(
    engine: &Arc<Engine>,
    request: &ChatRequest,
    options: &CallOptions,
    warnings: Vec<String>,
    log: &mut EventLog,
    ended: impl Future<Output = Error>,
) -> Result<ChatStream, Error> {
    Prepared::of(engine, request.clone(), options.clone(), warnings)?.open(engine, None, log, ended).await
}

/// Does one piece of work.
///
/// # Errors
/// As [`chat`]; a place of the task's prompt without a value; an id that was used for something else.
pub async fn infer(
    engine: &Arc<Engine>,
    work: &InferRequest,
    options: &CallOptions,
    warnings: Vec<String>,
    log: &mut EventLog,
    ended: impl Future<Output = Error>,
) -> Result<InferResponse, Error> {
    let prepared = Arc::new(Prepared::of_work(engine, work, options, warnings)?);
    let result = match prepared.claimed(engine, work)? {
        None => prepared.answer(engine, log, ended).await,
        Some(keeping) => {
            let run = || {
                let (engine, prepared) = (Arc::clone(engine), Arc::clone(&prepared));
                async move {
                    let mut log = engine.new_log();
                    let result = prepared.answer(&engine, &mut log, std::future::pending()).await;
                    Completed { result, events: log.take() }
                }
                .boxed()
            };
            engine.share(keeping, &prepared.options, log, ended, run).await
        }
    };
    engine.book_plan(&prepared.plan(), result.as_ref(), log);
    result.map(|response| InferResponse::of(&work.task, response))
}

/// Does one piece of work whose answer comes as a stream. Of two with one id, the second has the answer of the first once
/// that is whole; before, it is asked for again.
///
/// # Errors
/// As [`infer`] and [`stream`].
pub async fn infer_stream(
    engine: &Arc<Engine>,
    work: &InferRequest,
    options: &CallOptions,
    warnings: Vec<String>,
    log: &mut EventLog,
    ended: impl Future<Output = Error>,
) -> Result<ChatStream, Error> {
    let prepared = Prepared::of_work(engine, work, options, warnings)?;
    let keeping = prepared.claimed(engine, work)?;
    prepared.open(engine, keeping, log, ended).await
}

/// The right to an id.
struct Claim<'a> {
    tenant: Option<&'a str>,
    id: &'a str,
    /// What it is used for.
    body: Key,
}

impl Claim<'_> {
    fn key(&self) -> Key {
        let mut maker = KeyMaker::new("request_id");
        maker.optional(self.tenant);
        maker.text(self.id);
        maker.finish()
    }

    /// Under what its answer is kept.
    fn answer(&self) -> Key {
        let mut maker = KeyMaker::new("answer of request_id");
        maker.key(&self.key());
        maker.key(&self.body);
        maker.finish()
    }

    fn taken(&self) -> Error {
        let message = format!(
            "invalid request: request_id: {:?} was used for another request; each needs an id of its own",
            self.id
        );
        Error::new(ErrorKind::IdempotencyMismatch, message)
    }
}

/// Of everything that makes a piece of work what it is. How long it may take and what it is called by do not.
fn body_of(work: &InferRequest) -> Key {
    let InferRequest {
        task,
        prompt,
        variables,
        strategy,
        max_tokens,
        deadline: _,
        patience: _,
        request_id: _,
        tenant: _,
        cache: _,
        labels: _,
    } = work;
    let mut maker = KeyMaker::new("infer");
    maker.text(task);
    maker.text(prompt);
    maker.number(variables.len() as u64);
    for (name, value) in variables {
        maker.text(name);
        maker.text(value);
    }
    maker.optional(strategy.map(Strategy::as_str));
    maker.optional(max_tokens.map(|most| most.to_string()).as_deref());
    maker.finish()
}

impl Prepared {
    /// A chat with what its task says of it, where it has one.
    fn of(
        engine: &Engine,
        mut request: ChatRequest,
        mut options: CallOptions,
        warnings: Vec<String>,
    ) -> Result<Self, FieldError> {
        // Whatever is done with it from here on, its time runs.
        options.submitted.get_or_insert_with(|| time::now().mono.into_std());
        let Some(name) = options.task.clone() else {
            let strategy = options.strategy.unwrap_or_else(|| engine.ensemble().default_strategy);
            options.strategy = Some(strategy);
            return Ok(Self { request, options, strategy, warnings, labels: Labels::default() });
        };
        let task = find(engine, &name)?;
        narrow(&mut options, &task, &name)?;
        if let Some(most) = task.max_tokens {
            let wanted = request.max_tokens.unwrap_or(most);
            if wanted > most {
                return Err(over("max_tokens", u64::from(most), "", &name, u64::from(wanted)));
            }
            request.max_tokens = Some(wanted);
        }
        if let Some(longest) = task.deadline {
            let wanted = options.deadline.unwrap_or(longest);
            if wanted > longest {
                return Err(over("deadline", whole_millis(longest), " ms", &name, whole_millis(wanted)));
            }
            options.deadline = Some(wanted);
        }
        if let Some(ttl) = task.cache_ttl {
            options.cache.get_or_insert(CacheWish::For(ttl));
        }
        if let Some(schema) = task.schema.as_deref().filter(|_| request.response_format.is_none()) {
            let format = json!({ "name": schema_name(&name), "schema": schema });
            request.response_format = Some(ResponseFormat::JsonSchema(format));
        }
        let strategy = *options.strategy.get_or_insert(task.strategy);
        Ok(Self { request, options, strategy, warnings, labels: Labels::default() })
    }

    /// What the work says goes over `options`.
    fn of_work(
        engine: &Engine,
        work: &InferRequest,
        options: &CallOptions,
        warnings: Vec<String>,
    ) -> Result<Self, FieldError> {
        let InferRequest {
            task: name,
            prompt,
            variables,
            strategy,
            max_tokens,
            deadline,
            patience,
            request_id,
            tenant,
            cache,
            labels,
        } = work;
        let task = find(engine, name)?;
        let limits = engine.limits();
        let deadline = deadline.or(options.deadline);
        let longest = engine.roster().longest_of(tenant.as_deref().or(options.tenant.as_deref()));
        if let Some(wanted) = deadline.filter(|wanted| *wanted > longest) {
            let key =
                if longest < limits.max_deadline { "the tenant's max_deadline_ms" } else { "qos.max_deadline_ms" };
            let (most, wanted) = (whole_millis(longest), whole_millis(wanted));
            let message = format!("must be at most {most} ms, which is {key}, found {wanted}");
            return Err(FieldError { field: "deadline_ms".to_owned(), message });
        }
        if prompt.len() > limits.max_prompt_bytes {
            let (most, found) = (limits.max_prompt_bytes, prompt.len());
            let message = format!("must be at most {most} bytes, which is qos.max_prompt_bytes, found {found}");
            return Err(FieldError { field: "prompt".to_owned(), message });
        }
        let words = match &task.prompt {
            Some(template) => template.fill(prompt, variables)?,
            None => match variables.keys().next() {
                None => prompt.clone(),
                Some(variable) => {
                    let message = format!("the task {name:?} has no prompt of its own to fill in");
                    return Err(FieldError { field: format!("variables.{variable}"), message });
                }
            },
        };
        let request =
            ChatRequest { max_tokens: *max_tokens, ..ChatRequest::new(vec![Message::text(Role::User, words)]) };
        let options = CallOptions {
            deadline,
            request_id: request_id.clone().or_else(|| options.request_id.clone()),
            task: Some(name.clone()),
            strategy: strategy.or(options.strategy),
            tenant: tenant.clone().or_else(|| options.tenant.clone()),
            cache: cache.or(options.cache),
            ..options.clone()
        };
        let mut prepared =
            Self::of(engine, request, options, warnings).map_err(|error| match error.field.as_str() {
                "deadline" => FieldError { field: "deadline_ms".to_owned(), ..error },
                _ => error,
            })?;
        if let Some(patience) = patience {
            prepared.options.deadline = Some(engine.longest(&prepared.options).min(*patience));
        }
        prepared.labels = labels.clone();
        Ok(prepared)
    }

    /// Where the answer to this work is kept, where it has an id.
    fn claimed(&self, engine: &Engine, work: &InferRequest) -> Result<Option<Keeping>, Error> {
        let Some(id) = &work.request_id else { return Ok(None) };
        let claim = Claim { tenant: self.options.tenant.as_deref(), id: id.as_str(), body: body_of(work) };
        let ttl = engine.claim(claim.key(), claim.body).ok_or_else(|| claim.taken())?;
        Ok(Some(Keeping { key: claim.answer(), ttl, keeps: Keeps::Everything }))
    }

    /// As a stream, kept as `keeping` says or as any answer would be.
    async fn open(
        self,
        engine: &Arc<Engine>,
        keeping: Option<Keeping>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatStream, Error> {
        let Self { request, options, strategy, mut warnings, labels } = self;
        if strategy != Strategy::Fastest {
            let message = format!("{} compares whole answers; a stream can only be FASTEST", strategy.as_str());
            return Err(FieldError { field: "strategy".to_owned(), message }.into());
        }
        // Before it is hedged: a chat of the same words has the same key.
        let kept = || engine.keeps(&options).map(|ttl| engine.keeping(&request, &options, ttl));
        let keeping = keeping.or_else(kept);
        let (options, warning) = ensemble::hedged(engine, &options);
        let options = CallOptions { meter: Some(Meter::default()), ..options };
        warnings.extend(warning);
        let request = Arc::new(request);
        let opened = match keeping {
            None => engine.stream(request, &options, warnings, log, ended).await,
            Some(keeping) => engine.stream_shared(request, &options, warnings, keeping, log, ended).await,
        };
        let plan = PlanOf { task: options.task, strategy, labels };
        match opened {
            // Booked at its end: a stream that breaks off is no answer.
            Ok(stream) => Ok(stream.decided_by(plan)),
            Err(error) => {
                engine.book_plan(&plan, Err(&error), log);
                Err(error)
            }
        }
    }

    /// By what was kept, by an identical call under way, or by a plan.
    async fn answer(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatResponse, Error> {
        let Some(ttl) = engine.keeps(&self.options) else {
            return tokio::select! {
                biased;
                result = ensemble::answer(engine, self.planned(), self.warnings.clone(), log) => result,
                error = ended => Err(error),
            };
        };
        let keeping = engine.keeping(&self.request, &self.options, ttl);
        let run = || {
            let (engine, prepared) = (Arc::clone(engine), Arc::clone(self));
            async move {
                let mut log = engine.new_log();
                let warnings = prepared.warnings.clone();
                let result = ensemble::answer(&engine, prepared.planned(), warnings, &mut log).await;
                Completed { result, events: log.take() }
            }
            .boxed()
        };
        engine.share(keeping, &self.options, log, ended, run).await
    }

    fn planned(&self) -> Planned<'_> {
        Planned { request: &self.request, options: &self.options, strategy: self.strategy }
    }

    fn plan(&self) -> PlanOf {
        PlanOf { task: self.options.task.clone(), strategy: self.strategy, labels: self.labels.clone() }
    }
}

/// # Errors
/// There is no such task, or it is switched off.
fn find(engine: &Engine, name: &str) -> Result<Arc<TaskConfig>, FieldError> {
    let refused = |message: String| FieldError { field: "task".to_owned(), message };
    let tasks = engine.tasks();
    match tasks.get(name) {
        Some(task) if task.enabled => Ok(Arc::new(task.clone())),
        Some(_) => Err(refused(format!("{name:?} is switched off (tasks.{name}.enabled)"))),
        None => {
            let known: Vec<&str> = tasks.keys().map(String::as_str).collect();
            let hint = match nearest(name, &known) {
                _ if known.is_empty() => "; the configuration has none".to_owned(),
                hint if hint.is_empty() => {
                    let shown: Vec<_> = known.iter().take(MOST_SHOWN).map(|known| format!("{known:?}")).collect();
                    format!("; there are {}{}", shown.join(", "), if known.len() > MOST_SHOWN { ", …" } else { "" })
                }
                hint => hint,
            };
            Err(refused(format!("there is no task {name:?}{hint}")))
        }
    }
}

/// Only those providers that the task names, and of them those that the call names.
fn narrow(options: &mut CallOptions, task: &TaskConfig, name: &str) -> Result<(), FieldError> {
    if task.providers.is_empty() {
        return Ok(());
    }
    if options.providers.is_empty() {
        options.providers.clone_from(&task.providers);
    }
    options.providers.retain(|provider| task.providers.contains(provider));
    if options.providers.is_empty() {
        let message = format!("none of them does the task {name:?}; those that do are {:?}", task.providers);
        return Err(FieldError { field: "providers".to_owned(), message });
    }
    Ok(())
}

fn over(field: &str, most: u64, unit: &str, task: &str, found: u64) -> FieldError {
    let message = format!("must be at most {most}{unit}, the limit of the task {task:?}, found {found}");
    FieldError { field: field.to_owned(), message }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What OpenAI's API takes as the name of a schema.
fn schema_name(task: &str) -> String {
    let name: String = task
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' })
        .take(64)
        .collect();
    if name.is_empty() { "answer".to_owned() } else { name }
}
