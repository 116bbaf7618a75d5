//! What comes back: the reply as an adapter read it, and the answer the caller gets with its trail.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::ensemble::{Decision, JudgeOutcome, Strategy};
use super::ids::{ProviderName, RequestId};
use super::message::{ReasoningState, ToolCall};
use super::stream::{StreamEvent, ToolCallDelta};
use super::usage::{NanoUsd, Usage};

/// Why the model stopped, in one vocabulary. An upstream that says it failed is a failure, never one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    /// Anything a provider may invent; the raw word stands beside it.
    #[default]
    Other,
}

impl FinishReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other => "other",
        }
    }
}

/// One provider's answer, decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Empty when the provider sent none.
    pub id: String,
    /// The model that answered, as the provider names it; empty when it sent none.
    pub model: String,
    /// Unix seconds; 0 when the provider sent none.
    pub created: u64,
    pub content: String,
    pub tool_calls: Vec<ToolCall>,
    pub refusal: Option<String>,
    pub reasoning: Option<String>,
    /// Whose it is is said by whoever asked: [`Reply::sign`].
    pub reasoning_state: Option<Box<ReasoningState>>,
    pub finish_reason: FinishReason,
    pub raw_finish_reason: Option<String>,
    /// `None` when the provider reported nothing.
    pub usage: Option<Usage>,
}

impl Reply {
    /// Says which provider, asked for which model, thought what is in the state of its reasoning.
    pub fn sign(&mut self, provider: &ProviderName, model: &str) {
        if let Some(state) = &mut self.reasoning_state {
            provider.as_str().clone_into(&mut state.provider);
            model.clone_into(&mut state.model);
        }
    }

    /// The same as a stream would have said it.
    pub fn events(&self) -> Vec<StreamEvent> {
        let Self { id, model, created, content, tool_calls, refusal, reasoning, reasoning_state, .. } = self;
        let mut events = vec![StreamEvent::Start { id: id.clone(), model: model.clone(), created: *created }];
        events.extend(reasoning.clone().map(StreamEvent::Reasoning));
        events.extend((!content.is_empty()).then(|| StreamEvent::Text(content.clone())));
        events.extend(refusal.clone().map(StreamEvent::Refusal));
        events.extend((0..).zip(tool_calls).map(|(index, call)| {
            StreamEvent::ToolCall(ToolCallDelta {
                index,
                id: Some(call.id.clone()),
                name: Some(call.function.name.clone()),
                arguments: call.function.arguments.clone(),
            })
        }));
        events.extend(reasoning_state.as_ref().map(|state| StreamEvent::ReasoningState(state.state.clone())));
        let (reason, raw) = (self.finish_reason, self.raw_finish_reason.clone());
        events.push(StreamEvent::Finish { reason, raw });
        // Last, as by far the most providers say it.
        events.extend(self.usage.map(StreamEvent::Usage));
        events
    }

    /// Said it was done and said nothing: no text, call, refusal or reasoning. Such a reply is a failure, not an answer.
    pub fn is_empty_stop(&self) -> bool {
        self.finish_reason == FinishReason::Stop
            && self.content.is_empty()
            && self.tool_calls.is_empty()
            && self.refusal.is_none()
            && self.reasoning.as_deref().unwrap_or_default().is_empty()
    }

    /// Nothing but spaces, whatever it has thought: beside other answers it is none.
    pub fn is_blank(&self) -> bool {
        self.content.trim().is_empty() && self.tool_calls.is_empty() && self.refusal.is_none()
    }
}

/// The answer of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatResponse {
    /// What the answer says, where a schema was asked for and it fits. `None` also when the model called tools, declined
    /// or ran out of tokens.
    pub parsed: Option<serde_json::Value>,
    pub reply: Reply,
    /// Reported by the provider, or counted here and marked so.
    pub usage: Usage,
    /// `None`: no price is known for this model. Unknown is never zero.
    pub cost: Option<NanoUsd>,
    pub provider: ProviderName,
    pub request_id: RequestId,
    /// From the call to its answer.
    pub latency: Duration,
    /// Everything of the request that the provider could not take as it was.
    pub warnings: Vec<String>,
    /// Every try, in order, and every refusal that sent nothing.
    pub attempts: Vec<AttemptRecord>,
    /// Made for another call, and given again: it cost this one nothing.
    pub cached: bool,
    /// A second provider was asked before the first had answered.
    pub hedged: bool,
    /// How it came about, where a strategy or a task was asked for.
    pub decision: Option<Box<Decision>>,
}

impl ChatResponse {
    /// Time or a failure took something from the decision: another call may well come to another one. What several models
    /// disagree on takes nothing from it.
    pub fn is_degraded(&self) -> bool {
        let Some(decision) = self.decision.as_deref() else { return false };
        let Decision { strategy, strategy_used, models_queried: _, votes, judge } = decision;
        if *strategy == Strategy::Fastest {
            return false;
        }
        let judge = judge.as_ref();
        if judge.is_some_and(|judge| matches!(judge.outcome, JudgeOutcome::Failed | JudgeOutcome::Unreadable)) {
            return true;
        }
        let answered = |name: &ProviderName| *name == self.provider || votes.iter().any(|vote| vote.provider == *name);
        let judges = |name: &ProviderName| judge.is_some_and(|judge| judge.provider.as_ref() == Some(name));
        let lost = |line: &&AttemptRecord| !answered(&line.provider) && !judges(&line.provider);
        self.attempts.iter().filter(lost).any(|line| match line.outcome {
            AttemptOutcome::Success => false,
            AttemptOutcome::Cancelled => true,
            // Where enough have answered, one that failed decides nothing.
            _ => strategy_used != strategy,
        })
    }

    /// About how many bytes it takes to keep it.
    pub fn bytes(&self) -> u64 {
        /// Of a response without a text in it.
        const EMPTY: usize = size_of::<ChatResponse>();
        let Reply { id, model, content, tool_calls, refusal, reasoning, reasoning_state, .. } = &self.reply;
        let texts = [Some(id), Some(model), Some(content), refusal.as_ref(), reasoning.as_ref()];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let calls = tool_calls.iter().map(|call| size_of_val(call) + call.function.arguments.len()).sum::<usize>();
        // Trees of JSON are about as large as they are written.
        let state = reasoning_state.as_ref().map_or(0, |state| state.state.to_string().len());
        let parsed = if self.parsed.is_some() { content.len() } else { 0 };
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        let attempts = size_of_val(self.attempts.as_slice());
        let votes = self.decision.as_ref().map_or(0, |decision| size_of::<Decision>() + size_of_val(&*decision.votes));
        (EMPTY + texts + calls + state + parsed + warnings + attempts + votes) as u64
    }
}

/// One line of the trail.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AttemptRecord {
    pub provider: ProviderName,
    /// The model that was asked for, as the provider names it.
    pub model: String,
    /// Which of the provider's keys, counted from 0; `null` where none was used.
    pub key_index: Option<u32>,
    pub outcome: AttemptOutcome,
    /// The row of the failure table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(rename = "latencyMs", serialize_with = "as_millis")]
    pub latency: Duration,
    /// Time spent waiting before this line: backoff or a limit.
    #[serde(rename = "waitedMs", serialize_with = "as_millis")]
    pub waited: Duration,
}

/// How one line of the trail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptOutcome {
    Success,
    Failure,
    /// The caller left, or a deadline of the call passed while the attempt ran.
    Cancelled,
    /// Nothing was sent: the program marked the provider as broken.
    Marked,
    /// Nothing was sent: the breaker is open.
    BreakerOpen,
    /// Nothing was sent: a limit of requests or tokens is reached.
    RateLimited,
    /// Nothing was sent: as many attempts as allowed are under way, or other calls have waited longer.
    Busy,
    /// Nothing was sent: the key rests after an authentication, quota or rate answer.
    KeyCooling,
    /// Nothing was sent: it said a little while ago that it does not have this model.
    ModelMissing,
    /// Nothing was sent: the pool's retry budget is spent.
    RetryBudget,
    /// Nothing was sent: a budget has no room for it, or cannot say whether it has.
    Budget,
}

impl AttemptOutcome {
    /// Nothing went out to the provider.
    pub fn sent_nothing(self) -> bool {
        !matches!(self, Self::Success | Self::Failure | Self::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Marked => "marked",
            Self::BreakerOpen => "breaker_open",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::KeyCooling => "key_cooling",
            Self::ModelMissing => "model_missing",
            Self::RetryBudget => "retry_budget",
            Self::Budget => "budget",
        }
    }
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}
