//! Writes a request in the dialect of one service of the OpenAI family.
//!
//! Structs go straight to bytes and borrow from the request; only `extra_body` costs a second pass.

use std::borrow::Cow;

use serde_json::Value;

use super::super::catalog::{Audio, Dialect, Echo, Files, Service, Turns};
use super::super::gate::Gate;
use super::super::parts::{own_state, refusal, text_of};
use super::super::{Encoded, Terms, tool_ids};
use super::echo;
use super::wire::{NamedPart, OutCalls, OutContent, OutMessage, OutPart, Request, StreamOptions};
use crate::types::{ChatRequest, Content, FieldError, Message, Part, Role};

/// Said for the model between the result of a tool and the next question, where a dialect wants something there.
const REPLY: &str = "OK.";

/// Encodes a request for `model` of this service.
pub(in crate::adapter) fn request(
    request: &ChatRequest,
    model: &str,
    stream: bool,
    service: &'static Service,
    terms: Terms<'_>,
) -> Result<Encoded, FieldError> {
    let dialect = &service.dialect;
    let mut gate = Gate::new(service, model, request, terms);
    let messages = Messages::of(request, service, &mut gate)?;
    let (temperature, top_p) = gate.take_sampling(request);
    let (tool_choice, parallel_tool_calls) = gate.take_tool_fields(request);
    let usage = Some(StreamOptions { include_usage: true }).filter(|_| stream && dialect.include_usage);

    let wire = Request {
        dialect,
        model,
        messages,
        temperature,
        top_p,
        presence_penalty: gate.take("presence_penalty", request.presence_penalty),
        frequency_penalty: gate.take("frequency_penalty", request.frequency_penalty),
        max_tokens: max_tokens(request.max_tokens.or(terms.max_tokens), dialect, &mut gate),
        stop: gate.take("stop", Some(&*request.stop).filter(|stop| !stop.is_empty())),
        seed: gate.take("seed", request.seed),
        tools: gate.take("tools", Some(&*request.tools).filter(|tools| !tools.is_empty())),
        tool_choice,
        parallel_tool_calls,
        response_format: gate.take("response_format", request.response_format.as_ref()),
        reasoning_effort: gate.take("reasoning_effort", request.reasoning_effort.as_deref()),
        user: gate.take("user", request.user.as_deref()),
        metadata: gate.take("metadata", request.metadata.as_ref()),
        stream,
        stream_options: gate.take("stream_options", usage),
        passed: passed(request, dialect, &mut gate),
    };
    Encoded::write(&wire, request, service, gate)
}

/// The bound of the answer has two names in this family. Where a provider has refused the one, it gets the other:
/// an answer without a bound costs money.
fn max_tokens(bound: Option<u32>, dialect: &Dialect, gate: &mut Gate<'_>) -> Option<(&'static str, u32)> {
    let bound = bound?;
    let name = gate.rule().and_then(|rule| rule.max_tokens).unwrap_or(dialect.max_tokens);
    if !gate.leaves_out(name) {
        return Some((name, bound));
    }
    let other = if name == "max_tokens" { "max_completion_tokens" } else { "max_tokens" };
    gate.warn(name, format_args!("refused by the provider, sent as {other}"));
    Some((other, bound))
}

/// The fields of OpenAI's API that the pool has no meaning of its own for.
fn passed<'a>(request: &'a ChatRequest, dialect: &Dialect, gate: &mut Gate<'_>) -> Vec<(&'a str, Cow<'a, Value>)> {
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
    passed
}

// === messages ===

struct Messages<'a> {
    service: &'static Service,
    system: &'static str,
    developer: &'static str,
    names: bool,
    refusals: bool,
    out: Vec<OutMessage<'a>>,
}

impl<'a> Messages<'a> {
    fn of(
        request: &'a ChatRequest,
        service: &'static Service,
        gate: &mut Gate<'_>,
    ) -> Result<Vec<OutMessage<'a>>, FieldError> {
        let dialect = &service.dialect;
        let messages = &request.messages;
        let any = |has: fn(&Message) -> bool| messages.iter().any(has);
        let names = !any(|message| message.name.is_some()) || gate.allows("messages[].name");
        let refusals = dialect.takes("messages[].refusal");
        // A refusal that stands alone becomes the content; only one beside content is lost.
        if !refusals && any(|message| message.refusal.is_some() && !message.content.is_empty()) {
            gate.refuse_unsupported("messages[].refusal");
        }
        let developer = if dialect.developer_role { "developer" } else { "system" };
        // OpenAI takes either word for its models, but not both in one request.
        let system = if any(|message| message.role == Role::Developer) { developer } else { "system" };
        let mut all = Self { service, system, developer, names, refusals, out: Vec::with_capacity(messages.len()) };
        for (index, message) in messages.iter().enumerate() {
            all.add(index, message, gate)?;
        }
        Ok(all.out)
    }

    fn add(&mut self, index: usize, message: &'a Message, gate: &mut Gate<'_>) -> Result<(), FieldError> {
        let Service { name, dialect, .. } = self.service;
        // Without the calls and their results the conversation would be another one.
        if !dialect.takes("tools") && (message.role == Role::Tool || !message.tool_calls.is_empty()) {
            return Err(FieldError { field: format!("messages[{index}]"), message: format!("{name} takes no tools") });
        }
        if message.role != Role::User
            && !dialect.media_anywhere
            && let Content::Parts(parts) = &message.content
            && let Some(at) = parts.iter().position(|part| !matches!(part, Part::Text { .. }))
        {
            return Err(refusal(index, at, format!("{name} takes nothing but text in other messages than the user's")));
        }
        let next = self.message(index, message, gate)?;
        match dialect.turns {
            Turns::Any => self.out.push(next),
            Turns::Replies => {
                if message.role == Role::Assistant && message.tool_calls.is_empty() && next.content.is_empty() {
                    gate.warn(
                        format_args!("messages[{index}].content"),
                        format_args!("is empty, which {name} refuses, not sent"),
                    );
                    return Ok(());
                }
                if message.role == Role::User && self.out.last().is_some_and(|last| last.role == "tool") {
                    gate.warn(
                        format_args!("messages[{index}]"),
                        format_args!(
                            "{name} takes no user message after a tool's, {REPLY:?} of the assistant sent between them"
                        ),
                    );
                    self.out.push(OutMessage::text("assistant", REPLY));
                }
                self.out.push(next);
            }
            Turns::Alternate => self.alternate(index, next, gate),
        }
        Ok(())
    }

    /// Joins neighbours of one role, and everything that is said to the system at the start.
    fn alternate(&mut self, index: usize, next: OutMessage<'a>, gate: &mut Gate<'_>) {
        if next.role == "system" && self.out.iter().any(|message| message.role != "system") {
            let name = self.service.name;
            gate.warn(
                format_args!("messages[{index}].role"),
                format_args!("{name} has system messages at the start only, moved there"),
            );
        }
        let before = match next.role {
            "system" => self.out.first_mut().filter(|first| first.role == "system"),
            role => self.out.last_mut().filter(|last| last.role == role),
        };
        match before {
            Some(before) => {
                let content = std::mem::replace(&mut before.content, OutContent::Text(Cow::Borrowed("")));
                before.content = content.followed_by(next.content);
            }
            None if next.role == "system" => self.out.insert(0, next),
            None => self.out.push(next),
        }
    }

    /// Files and audio as this service takes them.
    fn parts(&self, index: usize, parts: &'a [Part]) -> Result<Vec<OutPart<'a>>, FieldError> {
        let Service { name, dialect, .. } = self.service;
        let mut sent = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let refused = |what: &str| refusal(index, at, format!("{name} takes no {what}"));
            let said = |value: &'a Value, key: &str| {
                text_of(value, key).ok_or_else(|| refusal(index, at, format!("{name} takes it by its {key}")))
            };
            sent.push(match (part, dialect.files, dialect.audio) {
                (Part::File { .. }, Files::None, _) => return Err(refused("files")),
                (Part::InputAudio { .. }, _, Audio::None) => return Err(refused("audio")),
                (Part::File { file }, Files::Documents, _) => OutPart::Named(NamedPart::DocumentUrl {
                    document_url: said(file, "file_data")?,
                    document_name: text_of(file, "filename"),
                }),
                (Part::InputAudio { input_audio }, _, Audio::Bare) => {
                    OutPart::Named(NamedPart::InputAudio { input_audio: said(input_audio, "data")? })
                }
                (part, ..) => OutPart::Part(Cow::Borrowed(part)),
            });
        }
        Ok(sent)
    }

    fn message(&self, index: usize, message: &'a Message, gate: &Gate<'_>) -> Result<OutMessage<'a>, FieldError> {
        let kept = own_state(message, gate);
        let echo = self.service.dialect.echo;
        let extra = kept.and_then(|state| state.get("calls")).filter(|_| echo == Echo::Calls);
        let ids = self.service.dialect.tool_ids;
        let refusal = message.refusal.as_deref();
        let content = match (&message.content, refusal) {
            (content, Some(refusal)) if content.is_empty() && !self.refusals => {
                OutContent::Text(Cow::Borrowed(refusal))
            }
            (Content::Parts(parts), _) if parts.iter().any(is_media) => OutContent::Parts(self.parts(index, parts)?),
            (content, _) => OutContent::Content(content),
        };
        Ok(OutMessage {
            role: match message.role {
                Role::System => self.system,
                Role::Developer => self.developer,
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::Tool => "tool",
            },
            content,
            name: message.name.as_deref().filter(|_| self.names),
            tool_calls: Some(OutCalls { calls: &message.tool_calls, ids, extra })
                .filter(|calls| !calls.calls.is_empty()),
            tool_call_id: message.tool_call_id.as_deref().map(|id| tool_ids::fitting(id, ids)),
            refusal: refusal.filter(|_| self.refusals),
            echo: echo::of_state(echo, kept, !message.tool_calls.is_empty()),
        })
    }
}

/// A part that not every service of the family takes as it is.
fn is_media(part: &Part) -> bool {
    matches!(part, Part::File { .. } | Part::InputAudio { .. })
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
