//! One request to the pool, until there is an answer that can be used.
//!
//! The pool fails over, retries, and holds an answer against its schema. What is left for here: to tell a model what was
//! wrong with its answer, and to be patient with limits and outages, since an analysis has hours where a chat has seconds.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::prompts::Prompt;
use super::schema::Answer;
use crate::error::{Context, Error, ErrorKind, Failure, FailureClass};
use crate::pool::Pool;
use crate::time::{self, Instant};
use crate::types::{
    AttemptOutcome, CallOptions, ChatRequest, ChatResponse, FinishReason, Message, NanoUsd, ResponseFormat, Role, Usage,
};

/// Times that a model is told what was wrong. The pool asks a second time by itself, so this is up to six answers; models
/// that fail six times fail always.
const MOST_REPAIRS: u32 = 2;

/// How long one request waits in all. Limits of a minute pass ten times; those of a day are told.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long nobody may be there before the first answer: a wrong address is told soon. A breaker stays open for a minute.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(90);

/// After a provider broke without saying until when: its breaker opens after a few of these, and then says it.
const AFTER_OUTAGE: Duration = Duration::from_secs(2);

/// So often one request is tried again after that: it may be the request that breaks it.
const MOST_OUTAGES: u32 = 3;

/// Before a budget is looked at again that requests under way hold.
const WHILE_HELD: Duration = Duration::from_secs(1);

/// What answers.
pub(super) struct Asker<'a> {
    pub pool: &'a Pool,
    pub model: Option<&'a str>,
    pub tell: &'a (dyn Fn(Notice) + Send + Sync),
    pub cancelled: &'a CancellationToken,
    pub tally: &'a Tally,
}

/// What it came to.
#[derive(Default)]
pub(super) struct Tally {
    sums: Mutex<Sums>,
    /// When anybody answered last, and since when nobody has.
    outage: Mutex<Outage>,
}

#[derive(Clone, Copy, Default)]
struct Outage {
    has_answered: bool,
    since: Option<Instant>,
}

/// Why a request is asked again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// A limit ends by then.
    Limit(Duration),
    /// Nobody is there; looked again after this.
    Outage(Duration),
    /// The same, and nobody says until when.
    Broke,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub requests: u64,
    pub usage: Usage,
    pub cost: NanoUsd,
    /// An answer had no known price.
    pub unpriced: bool,
}

impl Tally {
    pub fn sums(&self) -> Sums {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.sums.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn answered(&self) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = Outage { has_answered: true, since: None };
    }

    /// Whether an outage may last so much longer. It is that of the whole analysis: of a thousand files, each would wait
    /// its ten minutes for a provider that is gone for good.
    fn may_wait(&self, wait: Duration) -> bool {
        let now = time::now().mono;
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *outage.since.get_or_insert(now);
        let most = if outage.has_answered { PATIENCE } else { PATIENCE_AT_FIRST };
        now.saturating_duration_since(since) + wait <= most
    }
}

impl Asker<'_> {
    /// # Errors
    /// Nobody could answer, or nobody could answer as asked.
    pub async fn ask<A: Answer>(&self, prompt: &Prompt) -> Result<A, Error> {
        let mut wrong: Option<String> = None;
        let mut repairs = 0;
        let mut asked = BTreeSet::new();
        loop {
            let request = self.request::<A>(prompt, wrong.as_deref());
            let error = match self.whoever(&request, &asked).await {
                Ok(response) => match read::<A>(&response) {
                    Ok(answer) => return Ok(answer),
                    Err(unusable) => unusable.as_error(response),
                },
                Err(error) => error,
            };
            match violation(&error) {
                Some(why) if repairs < MOST_REPAIRS => wrong = Some(why),
                _ => return Err(error),
            }
            let lines = error.context().attempts.iter().filter(|line| !line.outcome.sent_nothing());
            asked.extend(lines.map(|line| line.provider.to_string()));
            repairs += 1;
        }
    }

    /// Asks those who were not asked before, and everybody where none of them can answer.
    async fn whoever(&self, request: &ChatRequest, asked: &BTreeSet<String>) -> Result<ChatResponse, Error> {
        if !asked.is_empty() {
            let all = self.pool.engine().listing().into_iter().map(|provider| provider.name.to_string());
            let providers: Vec<_> = all.filter(|name| !asked.contains(name)).collect();
            if !providers.is_empty() {
                let options = CallOptions { providers, ..CallOptions::default() };
                match self.once(request, &options).await {
                    Err(error) if violation(&error).is_none() && !error.is_cancellation() => {}
                    ended => return ended,
                }
            }
        }
        self.patiently(request).await
    }

    fn request<A: Answer>(&self, prompt: &Prompt, wrong: Option<&str>) -> ChatRequest {
        let mut user = prompt.user.clone();
        if let Some(wrong) = wrong {
            user.push_str(&format!("\nYour last answer could not be used: {wrong}. Answer again, with all of it.\n"));
        }
        let format = json!({ "name": A::NAME, "strict": true, "schema": A::schema() });
        ChatRequest {
            model: self.model.map(str::to_owned),
            response_format: Some(ResponseFormat::JsonSchema(format)),
            ..ChatRequest::new(vec![
                Message::text(Role::System, prompt.system.clone()),
                Message::text(Role::User, user),
            ])
        }
    }

    /// Asks, and asks again when a limit or an outage is over.
    async fn patiently(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        let mut left = PATIENCE;
        let mut outages = 0;
        loop {
            let error = match self.once(request, &CallOptions::default()).await {
                Ok(response) => {
                    self.tally.answered();
                    return Ok(response);
                }
                Err(error) => error,
            };
            let wait = match pause(&error) {
                Some(Pause::Limit(wait)) => wait,
                Some(Pause::Outage(wait)) if self.tally.may_wait(wait) => wait,
                Some(Pause::Broke) if outages < MOST_OUTAGES && self.tally.may_wait(AFTER_OUTAGE) => {
                    outages += 1;
                    AFTER_OUTAGE
                }
                _ => return Err(error),
            };
            // At least a little, or a reset of 0 would ask without a pause.
            let wait = wait.max(Duration::from_millis(100));
            let Some(rest) = left.checked_sub(wait) else { return Err(error) };
            left = rest;
            tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return Err(Error::cancelled()),
                () = time::sleep_until(time::now().mono + wait) => {}
            }
        }
    }

    async fn once(&self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        let completed = self.pool.chat_until(request, options, Vec::new(), self.cancelled.cancelled()).await;
        if !completed.events.is_empty() {
            (self.tell)(Notice::Events(completed.events));
        }
        self.tally.book(|sums| {
            sums.requests += 1;
            if let Ok(response) = &completed.result {
                sums.usage = sums.usage.and(&response.usage);
                sums.cost = sums.cost.saturating_add(response.cost.unwrap_or_default());
                sums.unpriced |= response.cost.is_none();
            }
        });
        completed.result
    }
}

/// An answer that is none.
struct Unusable {
    class: FailureClass,
    message: String,
}

impl Unusable {
    fn invalid(message: impl Into<String>) -> Self {
        Self { class: FailureClass::ModelOutputInvalid, message: message.into() }
    }

    fn as_error(&self, response: ChatResponse) -> Error {
        let message = format!("{}: {}", response.provider, self.message);
        let failure = Failure::new(self.class, self.message.clone());
        let context = Context {
            provider: Some(response.provider),
            model: Some(response.reply.model),
            request_id: Some(response.request_id),
            attempts: response.attempts,
            tenant: None,
        };
        Error::new(ErrorKind::Provider { failure }, message).with_context(context)
    }
}

fn read<A: Answer>(response: &ChatResponse) -> Result<A, Unusable> {
    match &response.parsed {
        Some(value) => serde_json::from_value(value.clone()).map_err(|error| Unusable::invalid(error.to_string())),
        None if response.reply.finish_reason == FinishReason::Length => {
            Err(Unusable::invalid("it was cut off because it was too long; say it in fewer words"))
        }
        None => {
            let message = "the model declined to answer".to_owned();
            Err(Unusable { class: FailureClass::ContentFilter, message })
        }
    }
}

/// Whether this ends by itself, and when.
fn pause(error: &Error) -> Option<Pause> {
    use AttemptOutcome::{BreakerOpen, Busy, RateLimited};
    match error.kind() {
        ErrorKind::RateLimited { reset, .. } => reset.map(Pause::Limit),
        ErrorKind::NoProvider { .. } => {
            let lines = &error.context().attempts;
            let rests = lines.iter().any(|line| matches!(line.outcome, BreakerOpen | Busy | RateLimited));
            let until = error.retry_after().filter(|_| rests)?;
            Some(Pause::Outage(until))
        }
        // What requests under way hold comes back when they end.
        ErrorKind::BudgetExceeded(over) if over.reset.is_none() && over.reserved > NanoUsd::default() => {
            Some(Pause::Limit(WHILE_HELD))
        }
        ErrorKind::Provider { failure } => {
            use FailureClass::{Network, Overloaded, ServerError};
            match failure.class {
                Overloaded | ServerError | Network => Some(failure.retry_after.map_or(Pause::Broke, Pause::Outage)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What was wrong with an answer, where telling the model may help.
fn violation(error: &Error) -> Option<String> {
    let failure = error.failure().filter(|failure| failure.class == FailureClass::ModelOutputInvalid)?;
    Some(failure.message.clone())
}
