//! Writes a request in the dialect of one service of the OpenAI family.
//!
//! Structs go straight to bytes and borrow from the request; only `extra_body` costs a second pass.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::super::catalog::{Dialect, Service};
use super::super::gate::Gate;
use super::super::{Defaults, Encoded, tool_ids};
use super::wire::{OutCall, OutContent, OutFunction, OutMessage, Passed, Request, StreamOptions};
use crate::types::{ChatRequest, FieldError, Message, Role, ToolCall};

/// Encodes a request for `model` of this service.
pub(in crate::adapter) fn request(
    request: &ChatRequest,
    model: &str,
    stream: bool,
    service: &'static Service,
    defaults: Defaults,
) -> Result<Encoded, FieldError> {
    let dialect = &service.dialect;
    let mut gate = Gate::new(service, model, request.reasoning_effort.as_deref());
    let messages = Messages::new(&request.messages, dialect, &mut gate);

    let max_tokens_field = gate.rule().and_then(|rule| rule.max_tokens).unwrap_or(dialect.max_tokens);
    let max_tokens = request.max_tokens.or(defaults.max_tokens);
    let legacy = max_tokens_field == "max_tokens";
    let (temperature, top_p) = gate.take_sampling(request, defaults.temperature);
    let (tool_choice, parallel_tool_calls) = gate.take_tool_fields(request);

    let wire = Request {
        model,
        messages,
        temperature,
        top_p,
        presence_penalty: gate.take("presence_penalty", request.presence_penalty),
        frequency_penalty: gate.take("frequency_penalty", request.frequency_penalty),
        max_tokens: max_tokens.filter(|_| legacy),
        max_completion_tokens: max_tokens.filter(|_| !legacy),
        stop: gate.take("stop", Some(&*request.stop).filter(|stop| !stop.is_empty())),
        seed: gate.take("seed", request.seed),
        tools: &request.tools,
        tool_choice,
        parallel_tool_calls,
        response_format: gate.take("response_format", request.response_format.as_ref()),
        reasoning_effort: gate.take("reasoning_effort", request.reasoning_effort.as_deref()),
        user: gate.take("user", request.user.as_deref()),
        metadata: gate.take("metadata", request.metadata.as_ref()),
        stream,
        stream_options: Some(StreamOptions { include_usage: true }).filter(|_| stream && dialect.include_usage),
        passed: passed(request, dialect, &mut gate),
    };
    Encoded::write(&wire, request, service, gate.warnings)
}

/// The fields of OpenAI's API that the pool has no meaning of its own for.
fn passed<'a>(request: &'a ChatRequest, dialect: &Dialect, gate: &mut Gate<'_>) -> Passed<'a> {
    let mut passed = Vec::with_capacity(request.openai_fields.len());
    let fields = &request.openai_fields;
    for (name, value) in fields {
        if !gate.knows(name) || !gate.allows(name) {
            continue;
        }
        let value = match name.as_str() {
            "logprobs" | "top_logprobs" if dialect.logprobs_is_count => match (name.as_str(), value) {
                ("logprobs", Value::Bool(true)) => {
                    Cow::Owned(fields.get("top_logprobs").cloned().unwrap_or(Value::from(1)))
                }
                // What the switch became above, or what means nothing while it is off.
                ("top_logprobs", _) | ("logprobs", Value::Bool(false)) => continue,
                _ => Cow::Borrowed(value),
            },
            _ => Cow::Borrowed(value),
        };
        passed.push((name.as_str(), value));
    }
    Passed(passed)
}

// === messages ===

struct Messages<'a> {
    messages: &'a [Message],
    dialect: &'a Dialect,
    system: &'static str,
    developer: &'static str,
    names: bool,
    refusals: bool,
}

impl<'a> Messages<'a> {
    fn new(messages: &'a [Message], dialect: &'a Dialect, gate: &mut Gate<'_>) -> Self {
        let any = |has: fn(&Message) -> bool| messages.iter().any(has);
        let names = !any(|message| message.name.is_some()) || gate.allows("messages[].name");
        let refusals = dialect.takes("messages[].refusal");
        // A refusal that stands alone becomes the content; only one beside content is lost.
        if !refusals && any(|message| message.refusal.is_some() && !message.content.is_empty()) {
            gate.warn_unsupported("messages[].refusal");
        }
        let developer = if dialect.developer_role { "developer" } else { "system" };
        // OpenAI takes either word for its models, but not both in one request.
        let system = if any(|message| message.role == Role::Developer) { developer } else { "system" };
        Self { messages, dialect, system, developer, names, refusals }
    }

    fn message(&self, message: &'a Message) -> OutMessage<'a, Calls<'a>> {
        let refusal = message.refusal.as_deref();
        let content = match (&message.content, refusal) {
            (content, Some(refusal)) if content.is_empty() && !self.refusals => OutContent::Text(refusal),
            (content, _) => OutContent::Content(content),
        };
        OutMessage {
            role: match message.role {
                Role::System => self.system,
                Role::Developer => self.developer,
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::Tool => "tool",
            },
            content,
            name: message.name.as_deref().filter(|_| self.names),
            tool_calls: Some(Calls { calls: &message.tool_calls, dialect: self.dialect })
                .filter(|calls| !calls.calls.is_empty()),
            tool_call_id: message.tool_call_id.as_deref().map(|id| tool_ids::fitting(id, self.dialect.tool_ids)),
            refusal: refusal.filter(|_| self.refusals),
        }
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.messages.iter().map(|message| self.message(message)))
    }
}

struct Calls<'a> {
    calls: &'a [ToolCall],
    dialect: &'a Dialect,
}

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.calls.iter().map(|call| OutCall {
            id: tool_ids::fitting(&call.id, self.dialect.tool_ids),
            kind: &call.kind,
            function: OutFunction {
                name: &call.function.name,
                // vLLM parses them; an empty text is no JSON.
                arguments: if call.function.arguments.is_empty() { "{}" } else { &call.function.arguments },
            },
        }))
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
