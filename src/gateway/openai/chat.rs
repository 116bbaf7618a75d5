//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::super::book::Page;
use super::super::probes::json;
use super::super::refused::{Dialect, Refused};
use super::super::{Gateway, answer, ask, body, pump};
use super::relax;
use super::stream::Chunks;
use crate::types::{ChatResponse, FinishReason, ParsedCall, ReasoningState, Reply, ToolCall, Usage};

pub(in crate::gateway) async fn chat(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let page = Page::of(&request);
    complete(gateway, request, page).await.unwrap_or_else(|refused| refused.into_response(Dialect::OpenAi))
}

async fn complete(gateway: Arc<Gateway>, request: Request, page: Page) -> Result<Response, Refused> {
    let options = ask::options(&request, &page.request_id)?;
    let text = body::read(request, &gateway.server()).await?;
    let ParsedCall { mut request, stream, stream_usage, warnings, .. } = relax::parse(&text)?;
    drop(text);
    request.model = gateway.model(request.model, options.tenant.as_deref(), &page)?;
    if stream {
        let stream = gateway.open(request, options, warnings, &page).await?;
        return Ok(pump::respond(gateway, stream, page, Chunks::new(stream_usage)));
    }
    let response = gateway.ask(&request, options, warnings, &page).await?;
    let mut answered = json(StatusCode::OK, &Completion::of(&response));
    answer::name(answered.headers_mut(), &response);
    Ok(answered)
}

/// An answer, as OpenAI writes it.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Tokens,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Said<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
    /// The name that OpenAI-compatible services have for it.
    #[serde(rename = "reasoning_content", skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    /// Sent back with the message, it lets the provider go on thinking where it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_state: Option<&'a ReasoningState>,
}

/// Usage, as OpenAI writes it.
#[derive(Serialize)]
pub(super) struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

impl<'a> Completion<'a> {
    fn of(response: &'a ChatResponse) -> Self {
        let Reply { id, model, created, content, tool_calls, refusal, reasoning, reasoning_state, .. } =
            &response.reply;
        let silent = content.is_empty() && (!tool_calls.is_empty() || refusal.is_some());
        Self {
            id,
            object: "chat.completion",
            created: *created,
            model,
            choices: [Choice {
                index: 0,
                message: Said {
                    role: "assistant",
                    content: (!silent).then_some(content),
                    refusal: refusal.as_deref(),
                    tool_calls,
                    reasoning: reasoning.as_deref(),
                    reasoning_state: reasoning_state.as_deref(),
                },
                logprobs: None,
                finish_reason: word(response.reply.finish_reason),
            }],
            usage: Tokens::of(&response.usage),
        }
    }
}

impl Tokens {
    pub(super) fn of(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_tokens,
                audio_tokens: usage.prompt_audio_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
                audio_tokens: usage.completion_audio_tokens,
            },
        }
    }
}

/// OpenAI has no word for a reason that it does not have: the answer is whole, that is what `stop` says.
pub(super) fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Other => "stop",
        known => known.as_str(),
    }
}
