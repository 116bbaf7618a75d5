//! One request to the pool, until there is an answer that can be used.
//!
//! The pool fails over, retries, and holds an answer against its schema. What is left for here: to tell a model what was
//! wrong with its answer, and to be patient with rate limits, since an analysis has hours where a chat has seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::prompts::Prompt;
use super::schema::Answer;
use crate::error::{Context, Error, ErrorKind, Failure, FailureClass};
use crate::pool::Pool;
use crate::time;
use crate::types::{
    CallOptions, ChatRequest, ChatResponse, FinishReason, Message, NanoUsd, ResponseFormat, Role, Usage,
};

/// Times that a model is told what was wrong. The pool asks a second time by itself, so this is up to six answers; models
/// that fail six times fail always.
const MOST_REPAIRS: u32 = 2;

/// How long one request waits for rate limits in all. Limits of a minute pass ten times; those of a day are told.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

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
pub(super) struct Tally(Mutex<Sums>);

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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self, change: impl FnOnce(&mut Sums)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Asker<'_> {
    /// # Errors
    /// Nobody could answer, or nobody could answer as asked.
    pub async fn ask<A: Answer>(&self, prompt: &Prompt) -> Result<A, Error> {
        let mut wrong: Option<String> = None;
        let mut repairs = 0;
        loop {
            let request = self.request::<A>(prompt, wrong.as_deref());
            let error = match self.patiently(&request).await {
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
            repairs += 1;
        }
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

    /// Asks, and asks again when a rate limit is over.
    async fn patiently(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        let mut left = PATIENCE;
        loop {
            let error = match self.once(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let ErrorKind::RateLimited { reset: Some(reset), .. } = error.kind() else { return Err(error) };
            // At least a little, or a reset of 0 would ask without a pause.
            let wait = (*reset).max(Duration::from_millis(100));
            let Some(rest) = left.checked_sub(wait) else { return Err(error) };
            left = rest;
            tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return Err(Error::cancelled()),
                () = time::sleep_until(time::now().mono + wait) => {}
            }
        }
    }

    async fn once(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        let options = CallOptions::default();
        let completed = self.pool.chat_until(request, &options, Vec::new(), self.cancelled.cancelled()).await;
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

/// What was wrong with an answer, where telling the model may help.
fn violation(error: &Error) -> Option<String> {
    let failure = error.failure().filter(|failure| failure.class == FailureClass::ModelOutputInvalid)?;
    Some(failure.message.clone())
}
