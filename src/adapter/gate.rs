//! Decides which fields of a request reach a provider.
//!
//! A field that the dialect or the model does not take, or that this provider has just refused, is left out and named in
//! a warning; where the configuration says so it is an error instead. Nothing is dropped in silence. One gate serves one
//! encoding.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::Terms;
use super::catalog::{AdapterKind, Fields, Service};
use super::models::ModelRule;
use super::tool_ids;
use crate::types::{Api, ChatRequest, FieldError, Message, ReasoningState, ToolChoice};

/// What a configuration knows better than the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamOverrides {
    /// Sent although a table says that the service or the model does not take them.
    pub allow: Vec<String>,
    /// Not sent although every table says that they are taken.
    pub omit: Vec<String>,
}

/// The names that [`ParamOverrides`] may have: fields that a request can go without, besides
/// [`ChatRequest::OPENAI_FIELDS`].
pub const OPTIONAL_PARAMS: &[&str] = &[
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "seed",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "user",
    "metadata",
];

pub(super) struct Gate<'a> {
    service: &'static Service,
    model: &'a str,
    rule: Option<&'static ModelRule>,
    /// `reasoning_effort` is anything but `none`.
    reasoning: bool,
    terms: Terms<'a>,
    warnings: Vec<String>,
    /// The first field that is not sent although it must be.
    refused: Option<FieldError>,
}

/// The adapter of providers that speak this API.
pub(super) fn speaks(api: Api) -> AdapterKind {
    match api {
        Api::OpenAi => AdapterKind::OpenAi,
        Api::Anthropic => AdapterKind::Anthropic,
    }
}

fn lists(groups: &[Fields], field: &str) -> bool {
    groups.iter().any(|fields| fields.contains(&field))
}

impl<'a> Gate<'a> {
    pub fn new(service: &'static Service, model: &'a str, request: &ChatRequest, terms: Terms<'a>) -> Self {
        let rule = service.dialect.models.iter().find(|rule| rule.models.contain(model));
        let reasoning = request.reasoning_effort.as_deref() != Some("none");
        let mut gate = Self { service, model, rule, reasoning, terms, warnings: Vec::new(), refused: None };
        gate.refuse_foreign_states(&request.messages);
        gate.name_changed_ids(&request.messages);
        gate.refuse_foreign_fields(request);
        gate
    }

    /// Names what only providers of another API could take.
    fn refuse_foreign_fields(&mut self, request: &ChatRequest) {
        let Some(foreign) = &request.foreign else { return };
        if self.service.adapter != speaks(foreign.api) {
            foreign.only_here().for_each(|field| self.refuse_unsupported(field));
        }
    }

    /// Whether this provider made that reasoning, with the model that is asked now.
    pub fn made(&self, state: &ReasoningState) -> bool {
        !self.terms.provider.is_empty() && state.provider == self.terms.provider && state.model == self.model
    }

    /// Names what was thought elsewhere: nobody else can read it.
    fn refuse_foreign_states(&mut self, messages: &[Message]) {
        for (index, message) in messages.iter().enumerate() {
            if let Some(state) = message.reasoning_state.as_deref().filter(|state| !self.made(state)) {
                let (provider, model) = (&state.provider, &state.model);
                self.warn(
                    format_args!("messages[{index}].reasoning_state"),
                    format_args!("made by {provider:?} with model {model:?}, which alone can read it, not sent"),
                );
            }
        }
    }

    /// Names the ids of calls that are sent as others, each once: its call and what answers it are changed alike.
    fn name_changed_ids(&mut self, messages: &[Message]) {
        let rule = self.service.dialect.tool_ids;
        let mut named: Vec<&str> = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let calls = message.tool_calls.iter().enumerate();
            let calls = calls.map(|(at, call)| (format!("messages[{index}].tool_calls[{at}].id"), call.id.as_str()));
            let answers = message.tool_call_id.as_deref().map(|id| (format!("messages[{index}].tool_call_id"), id));
            for (field, id) in calls.chain(answers) {
                if let Cow::Owned(sent) = tool_ids::fitting(id, rule)
                    && !named.contains(&id)
                {
                    named.push(id);
                    self.warn(field, format_args!("{} takes no such id, sent as {sent:?}", self.service.name));
                }
            }
        }
    }

    /// All warnings, or the field that is not sent although it must be.
    pub fn finish(self) -> Result<Vec<String>, FieldError> {
        self.refused.map_or(Ok(self.warnings), Err)
    }

    /// What the configuration sends as it is.
    pub fn extra(&self) -> &'a Map<String, Value> {
        self.terms.extra
    }

    pub fn rule(&self) -> Option<&'static ModelRule> {
        self.rule
    }

    /// Says that a field is sent otherwise than it was said.
    pub fn warn(&mut self, field: impl fmt::Display, what: impl fmt::Display) {
        self.warnings.push(format!("{field}: {what}"));
    }

    /// Says that a field is not sent, and why: an error under `unsupported_params: "error"`.
    pub fn refuse(&mut self, field: impl fmt::Display, why: impl fmt::Display) {
        if self.terms.strict {
            self.refused.get_or_insert_with(|| FieldError { field: field.to_string(), message: why.to_string() });
        } else {
            self.warn(field, format_args!("{why}, not sent"));
        }
    }

    /// Says that this service has no such field.
    pub fn refuse_unsupported(&mut self, field: impl fmt::Display) {
        self.refuse(field, format_args!("not supported by {}", self.service.name));
    }

    /// The value, unless this service or this model does not take the field.
    pub fn take<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        let value = value?;
        if self.allows(field) { Some(value) } else { None }
    }

    /// Whether the field may be sent; warns when not.
    pub fn allows(&mut self, field: &str) -> bool {
        if self.terms.params.omit.iter().any(|omitted| omitted == field) {
            self.refuse(field, "left out by the configuration's omit_params");
            return false;
        }
        // Where there is no word for a field, no configuration makes one.
        let has_word = self.service.adapter == AdapterKind::OpenAi && self.is_allowed(field);
        if !self.service.dialect.takes(field) && !has_word {
            self.refuse_unsupported(field);
            return false;
        }
        if self.model_refuses(field) {
            let model = self.model;
            self.refuse(field, format_args!("not supported by model {model}"));
            return false;
        }
        if self.leaves_out(field) {
            self.warn(field, "refused by the provider, left out");
            return false;
        }
        true
    }

    /// Whether this provider has just refused the field.
    pub fn leaves_out(&self, field: &str) -> bool {
        self.terms.without.iter().any(|refused| refused == field)
    }

    fn is_allowed(&self, field: &str) -> bool {
        self.terms.params.allow.iter().any(|allowed| allowed == field)
    }

    fn model_refuses(&self, field: &str) -> bool {
        !self.is_allowed(field)
            && self.rule.is_some_and(|rule| {
                lists(rule.refuses, field) || self.reasoning && lists(rule.refuses_reasoning, field)
            })
    }

    /// Whether a field that is passed on unread is one of OpenAI's API; warns when not.
    pub fn knows(&mut self, field: &str) -> bool {
        let known = ChatRequest::OPENAI_FIELDS.contains(&field);
        if !known {
            self.refuse(field, "not a field of the chat API (extra_body sends anything)");
        }
        known
    }

    /// `tool_choice` and `parallel_tool_calls`: OpenAI and Anthropic refuse them without tools.
    pub fn take_tool_fields<'r>(&mut self, request: &'r ChatRequest) -> (Option<&'r ToolChoice>, Option<bool>) {
        let mut choice = request.tool_choice.as_ref();
        let mut parallel = request.parallel_tool_calls;
        if request.tools.is_empty() {
            for (field, given) in [("tool_choice", choice.is_some()), ("parallel_tool_calls", parallel.is_some())] {
                if given {
                    self.refuse(field, "means nothing without tools");
                }
            }
            (choice, parallel) = (None, None);
        }
        (self.take("tool_choice", choice), self.take("parallel_tool_calls", parallel))
    }

    /// `stop`, of which this service takes at most `max`.
    pub fn take_stops<'r>(&mut self, request: &'r ChatRequest, max: usize) -> &'r [String] {
        let given = Some(request.stop.as_slice()).filter(|stops| !stops.is_empty());
        let stops = self.take("stop", given).unwrap_or_default();
        if stops.len() > max {
            let name = self.service.name;
            self.refuse(format_args!("stop[{max}]"), format_args!("{name} takes at most {max}"));
        }
        &stops[..stops.len().min(max)]
    }

    /// `temperature` and `top_p`, the former with the provider's default behind it. A temperature of 1 is every model's
    /// own default: where the field is refused, leaving it out changes nothing and needs no warning.
    pub fn take_sampling(&mut self, request: &ChatRequest) -> (Option<f64>, Option<f64>) {
        let either = self.rule.and_then(|rule| rule.either);
        // What the caller said goes over what the provider's configuration says about the other field.
        let default = self.terms.temperature.filter(|_| either.is_none() || request.top_p.is_none());
        let temperature = request.temperature.or(default);
        let temperature = temperature.filter(|value| *value != 1.0 || !self.model_refuses("temperature"));
        let temperature = self.take("temperature", temperature);
        let mut top_p = self.take("top_p", request.top_p);
        if let (Some((first, second)), Some(_), Some(_)) = (either, temperature, top_p)
            && !self.is_allowed(second)
        {
            let model = self.model;
            self.refuse(second, format_args!("model {model} takes either this or {first}"));
            top_p = None;
        }
        (temperature, top_p)
    }
}
