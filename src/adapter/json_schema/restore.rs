//! An answer, turned back into what was asked for.

use std::mem;

use serde_json::{Map, Value};

use super::refs::{self, MOST_HOPS};
use super::{BOX, type_name};
use crate::types::{FinishReason, Reply, StreamEvent};

/// How an answer was asked for, where that is not how the caller wishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerForm {
    /// As the arguments of a tool that had to be called.
    pub(in crate::adapter) tool: bool,
    /// As the only property of an object.
    pub(in crate::adapter) boxed: bool,
    /// With null for properties that are absent.
    pub(in crate::adapter) nulls: bool,
}

impl AnswerForm {
    /// The arguments of the tool that had to be called are what was said.
    pub fn reply(self, mut reply: Reply) -> Reply {
        if self.tool && !reply.tool_calls.is_empty() {
            reply.content = reply.tool_calls.swap_remove(0).function.arguments;
            reply.tool_calls.clear();
            reply.finish_reason = finished(reply.finish_reason);
        }
        reply
    }

    /// What an answer says, once it was read, in the form that the caller wishes; and whether that is another one.
    /// `schema` is the caller's.
    pub fn value(self, schema: &Value, mut value: Value) -> (Value, bool) {
        let mut turned = false;
        if self.boxed
            && let Value::Object(outer) = &mut value
            && let Some(inner) = outer.remove(BOX)
        {
            value = inner;
            turned = true;
        }
        if self.nulls {
            turned |= without_nulls(schema, schema, &mut value, MOST_HOPS);
        }
        (value, turned)
    }
}

/// The events of a stream, turned back as they come.
#[derive(Debug, Default)]
pub(in crate::adapter) struct Turning {
    form: AnswerForm,
    /// What was said before the tool is called: no part of the answer, unless no call follows.
    held: String,
    /// The tool is called, and nothing but its arguments is the answer.
    called: bool,
    /// More was said than words before a call: that is the answer.
    said: bool,
}

impl Turning {
    const MOST_HELD: usize = 64 * 1024;

    pub fn of(form: AnswerForm) -> Self {
        Self { form, ..Self::default() }
    }

    /// Whether events change at all.
    pub fn turns(&self) -> bool {
        self.form.tool
    }

    /// Turns one event back, and gives what is left of it.
    pub fn event(&mut self, event: StreamEvent, mut give: impl FnMut(StreamEvent)) {
        if !self.form.tool {
            return give(event);
        }
        match event {
            StreamEvent::Text(_) if self.called => {}
            StreamEvent::Text(text) if !self.said => {
                self.held.push_str(&text);
                if self.held.len() > Self::MOST_HELD {
                    self.said = true;
                    give(StreamEvent::Text(mem::take(&mut self.held)));
                }
            }
            StreamEvent::ToolCall(delta) => {
                self.called = true;
                self.held = String::new();
                if delta.index == 0 && !delta.arguments.is_empty() {
                    give(StreamEvent::Text(delta.arguments));
                }
            }
            StreamEvent::Finish { reason, raw } => {
                self.end(&mut give);
                give(StreamEvent::Finish { reason: finished(reason), raw });
            }
            other => give(other),
        }
    }

    /// Nothing more comes: what was said instead of a call is the answer.
    pub fn end(&mut self, give: impl FnOnce(StreamEvent)) {
        if !self.held.is_empty() {
            give(StreamEvent::Text(mem::take(&mut self.held)));
        }
    }
}

fn finished(reason: FinishReason) -> FinishReason {
    if reason == FinishReason::ToolCalls { FinishReason::Stop } else { reason }
}

/// Takes out the nulls of properties that may be absent and may not be null. Says whether there were any.
fn without_nulls(root: &Value, schema: &Value, value: &mut Value, hops: usize) -> bool {
    if let Some(to) = schema.get("$ref").and_then(Value::as_str) {
        let target = refs::resolved(root, to).filter(|_| hops > 0);
        return target.is_some_and(|target| without_nulls(root, target, value, hops - 1));
    }
    let mut removed = false;
    for key in ["anyOf", "oneOf"] {
        let either = schema.get(key).and_then(Value::as_array);
        let mut likeness = Likeness { root, left: Likeness::MOST };
        if let Some(one) = either.into_iter().flatten().find(|one| likeness.of(one, value, MOST_HOPS)) {
            removed |= without_nulls(root, one, value, hops);
        }
    }
    match value {
        Value::Object(fields) => {
            let Some(Value::Object(properties)) = schema.get("properties") else { return removed };
            let required = schema.get("required").and_then(Value::as_array);
            let must = |name: &str| required.is_some_and(|names| names.iter().any(|required| required == name));
            let before = fields.len();
            fields.retain(|name, value| {
                let schema = properties.get(name).filter(|_| value.is_null() && !must(name));
                schema.is_none_or(|schema| may_be_null(root, schema, MOST_HOPS))
            });
            removed |= fields.len() < before;
            for (name, value) in fields {
                if let Some(schema) = properties.get(name) {
                    removed |= without_nulls(root, schema, value, MOST_HOPS);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    removed |= without_nulls(root, schema, item, MOST_HOPS);
                }
            }
        }
        _ => {}
    }
    removed
}

/// Whether null fits, as far as its type and its values say.
fn may_be_null(root: &Value, schema: &Value, hops: usize) -> bool {
    let Value::Object(keys) = schema else { return schema != &Value::Bool(false) };
    if let Some(to) = keys.get("$ref").and_then(Value::as_str) {
        let target = refs::resolved(root, to).filter(|_| hops > 0);
        return target.is_none_or(|target| may_be_null(root, target, hops - 1));
    }
    let listed = |key: &str| keys.get(key).and_then(Value::as_array);
    let by_type = match keys.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        Some(kind) => kind == "null",
        None => true,
    };
    let by_value = listed("enum").is_none_or(|values| values.contains(&Value::Null))
        && keys.get("const").is_none_or(Value::is_null);
    let fits = |one: &Value| may_be_null(root, one, hops);
    by_type && by_value && ["anyOf", "oneOf"].iter().all(|key| listed(key).is_none_or(|any| any.iter().any(fits)))
}

/// Whether a value was made after this schema, as far as types and values say. An object has all of the properties and
/// no others, since all were required and none beside them was allowed; null stands for one that may be absent.
struct Likeness<'s> {
    root: &'s Value,
    /// Schemas that are still looked at; what is left then is taken to fit. References in a circle would take for ever.
    left: usize,
}

impl Likeness<'_> {
    const MOST: usize = 10_000;

    /// `hops`: how many schemas may follow for the same value.
    fn of(&mut self, schema: &Value, value: &Value, hops: usize) -> bool {
        let Value::Object(keys) = schema else { return schema != &Value::Bool(false) };
        if hops == 0 {
            return false;
        }
        let Some(left) = self.left.checked_sub(1) else { return true };
        self.left = left;
        if let Some(to) = keys.get("$ref").and_then(Value::as_str) {
            return refs::resolved(self.root, to).is_some_and(|target| self.of(target, value, hops - 1));
        }
        let listed = |key: &str| keys.get(key).and_then(Value::as_array);
        has_type(keys, value)
            && keys.get("const").is_none_or(|only| only == value)
            && listed("enum").is_none_or(|values| values.contains(value))
            && ["anyOf", "oneOf"]
                .iter()
                .filter_map(|key| listed(key))
                .all(|either| either.iter().any(|one| self.of(one, value, hops - 1)))
            && match value {
                Value::Object(fields) => self.of_fields(keys, fields),
                Value::Array(items) => {
                    keys.get("items").is_none_or(|schema| items.iter().all(|item| self.of(schema, item, MOST_HOPS)))
                }
                _ => true,
            }
    }

    fn of_fields(&mut self, keys: &Map<String, Value>, fields: &Map<String, Value>) -> bool {
        let Some(Value::Object(properties)) = keys.get("properties") else { return true };
        let required = keys.get("required").and_then(Value::as_array);
        let must = |name: &str| required.is_some_and(|names| names.iter().any(|required| required == name));
        fields.len() == properties.len()
            && fields.iter().all(|(name, value)| {
                let absent = value.is_null() && !must(name);
                properties.get(name).is_some_and(|schema| absent || self.of(schema, value, MOST_HOPS))
            })
    }
}

/// Whether a value is of the type that a schema says, or that its other keywords are about.
fn has_type(keys: &Map<String, Value>, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("number") => value.is_number(),
        Some("integer") => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        kind => kind == Some(type_name(value)),
    };
    match keys.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is),
        Some(kind) => is(kind),
        None if keys.contains_key("properties") => value.is_object(),
        None if keys.contains_key("items") => value.is_array(),
        None => true,
    }
}
