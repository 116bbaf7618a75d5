//! One piece of work by the name of its task, and what it came to: the service's own shape, in its own casing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ensemble::{Judgement, Strategy, Vote};
use super::ids::{ProviderName, RequestId};
use super::object::Object;
use super::options::CacheWish;
use super::parse::{Cache, FieldError, Millis, StrategyWord, read_text, said_of_surrogates};
use super::reply::{AttemptRecord, ChatResponse, FinishReason};
use super::usage::{NanoUsd, Usage};

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InferRequest {
    /// Of the configuration.
    pub task: String,
    pub prompt: String,
    /// What the prompt of the task has places for, beside the prompt.
    pub variables: BTreeMap<String, String>,
    /// `None`: the task's.
    pub strategy: Option<Strategy>,
    /// `None`: the task's, which is also the most it may be.
    pub max_tokens: Option<u32>,
    /// `None`: the task's, which is also the longest it may be.
    pub deadline: Option<Duration>,
    /// Whoever asks waits no longer than this, however long the call may take: it ends at the earlier of both.
    pub patience: Option<Duration>,
    /// Two requests of one tenant with the same id are one: the second has the answer of the first.
    pub request_id: Option<RequestId>,
    pub tenant: Option<String>,
    /// `None`: as the task says.
    pub cache: Option<CacheWish>,
    pub labels: Labels,
}

/// What a program calls its work by. It stands in the `decision` event and in the log of the service, and decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Labels {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

/// Bytes of a name that a log can be searched by.
const LONGEST_PROJECT: usize = 256;
/// The bounds of OpenAI's `metadata`: labels that fit there fit here.
const MOST_LABELS: usize = 16;
const LONGEST_LABEL: usize = 64;
const LONGEST_VALUE: usize = 512;

/// What it came to.
#[derive(Debug, Clone, Serialize)]
pub struct InferResponse {
    pub request_id: RequestId,
    pub task: String,
    pub content: String,
    /// What the answer says, where the task has a schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parsed: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    pub finish_reason: FinishReason,
    pub winner_model: String,
    pub provider: ProviderName,
    pub duration_ms: f64,
    pub from_cache: bool,
    pub strategy_used: Strategy,
    pub models_queried: Vec<String>,
    /// Where answers were compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<Judgement>,
    /// Of all answers together, the judge's included.
    pub usage: Usage,
    pub cost: Option<NanoUsd>,
    pub warnings: Vec<String>,
    pub attempts: Vec<AttemptRecord>,
}

/// A piece of work as it was asked for, with what had to be changed to take it.
#[derive(Debug, Default)]
pub struct ParsedInfer {
    pub work: InferRequest,
    /// Its answer is wanted as it comes. Only the service's wire has a word for it.
    pub stream: bool,
    pub warnings: Vec<String>,
}

/// Reads what is to be done from JSON.
///
/// # Errors
/// The field that is wrong, and why.
pub fn parse_infer(json: &str) -> Result<ParsedInfer, FieldError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        task: String,
        prompt: String,
        #[serde(default)]
        variables: Option<BTreeMap<String, String>>,
        #[serde(default)]
        strategy: Option<StrategyWord>,
        #[serde(default)]
        max_tokens: Option<u32>,
        #[serde(default)]
        deadline_ms: Option<Millis>,
        #[serde(default)]
        request_id: Option<String>,
        #[serde(default)]
        tenant: Option<String>,
        #[serde(default)]
        cache: Option<Cache>,
        #[serde(default)]
        stream: Option<bool>,
        #[serde(default)]
        project: Option<String>,
        #[serde(default)]
        meta: Option<BTreeMap<String, String>>,
    }
    let (Object(fields), replaced): (Object<Fields>, usize) = read_text(json)?;
    let Fields {
        task,
        prompt,
        variables,
        strategy,
        max_tokens,
        deadline_ms,
        request_id,
        tenant,
        cache,
        stream,
        project,
        meta,
    } = fields;
    let work = InferRequest {
        task,
        prompt,
        variables: variables.unwrap_or_default(),
        strategy: strategy.map(|word| word.0),
        max_tokens,
        deadline: deadline_ms.map(|millis| millis.0),
        patience: None,
        request_id: request_id.map(RequestId::new),
        tenant,
        cache: cache.map(|cache| cache.0),
        labels: Labels { project, meta: meta.unwrap_or_default() },
    };
    work.check()?;
    let warnings = said_of_surrogates(replaced).into_iter().collect();
    Ok(ParsedInfer { work, stream: stream.unwrap_or(false), warnings })
}

impl InferRequest {
    /// What a type cannot say.
    ///
    /// # Errors
    /// The first field that cannot be taken.
    pub fn check(&self) -> Result<(), FieldError> {
        let refused = |field: &str, message: &str| FieldError { field: field.to_owned(), message: message.to_owned() };
        if self.prompt.trim().is_empty() {
            return Err(refused("prompt", "must not be empty"));
        }
        if self.max_tokens == Some(0) {
            return Err(refused("max_tokens", "must be at least 1, found 0"));
        }
        if self.request_id.as_ref().is_some_and(|id| id.as_str().is_empty()) {
            return Err(refused("request_id", "must not be empty"));
        }
        self.labels.check()
    }
}

impl Labels {
    fn check(&self) -> Result<(), FieldError> {
        let refused = |field: String, message: String| Err(FieldError { field, message });
        let Self { project, meta } = self;
        if project.as_ref().is_some_and(|project| project.is_empty() || project.len() > LONGEST_PROJECT) {
            return refused("project".to_owned(), format!("must have 1 to {LONGEST_PROJECT} bytes"));
        }
        if meta.len() > MOST_LABELS {
            return refused(
                "meta".to_owned(),
                format!("must have at most {MOST_LABELS} entries, found {}", meta.len()),
            );
        }
        for (name, value) in meta {
            if name.is_empty() || name.len() > LONGEST_LABEL {
                return refused("meta".to_owned(), format!("names must have 1 to {LONGEST_LABEL} bytes"));
            }
            if value.len() > LONGEST_VALUE {
                return refused(format!("meta.{name}"), format!("must have at most {LONGEST_VALUE} bytes"));
            }
        }
        Ok(())
    }
}

impl ParsedInfer {
    /// The work and the warnings, where its answer is wanted as a whole.
    ///
    /// # Errors
    /// It is wanted as a stream.
    pub fn whole(self) -> Result<(InferRequest, Vec<String>), FieldError> {
        if self.stream {
            let message = "an answer to infer() is whole; stream() takes a task, too".to_owned();
            return Err(FieldError { field: "stream".to_owned(), message });
        }
        Ok((self.work, self.warnings))
    }
}

impl InferResponse {
    /// The same answer in this shape.
    pub fn of(task: &str, response: ChatResponse) -> Self {
        let ChatResponse {
            parsed,
            reply,
            usage,
            cost,
            provider,
            request_id,
            latency,
            warnings,
            attempts,
            cached,
            hedged: _,
            decision,
        } = response;
        let (strategy_used, models_queried, votes, judge) = match decision {
            Some(decision) => (decision.strategy_used, decision.models_queried, decision.votes, decision.judge),
            None => (Strategy::Fastest, Vec::new(), Vec::new(), None),
        };
        Self {
            request_id,
            task: task.to_owned(),
            content: reply.content,
            parsed,
            refusal: reply.refusal,
            finish_reason: reply.finish_reason,
            winner_model: reply.model,
            provider,
            duration_ms: latency.as_secs_f64() * 1e3,
            from_cache: cached,
            strategy_used,
            models_queried,
            votes,
            judge,
            usage,
            cost,
            warnings,
            attempts,
        }
    }
}
