//! A caller's schema in the words of one dialect.
//!
//! One walk over a schema, and a set of [`Rules`] for each dialect. What a dialect has other words for is said in those;
//! a bound that it has no word for is put into the description, where the model reads it; everything that was changed is
//! named. A schema that could not be said without meaning something else is not said at all: whoever asked is told why,
//! and asks in another way. Answers are held against the caller's own schema, whatever the provider was shown.

mod changes;
mod refs;
mod restore;
mod rules;

use std::mem;

use serde_json::{Map, Value, json};

use changes::Changes;
pub use restore::AnswerForm;
pub(super) use restore::Turning;
#[cfg(test)]
pub(super) use rules::Keywords;
pub(super) use rules::{
    ANTHROPIC, ANY, AZURE_STRICT, COHERE, FIREWORKS, GEMINI, MISTRAL, OLLAMA, OPENAI, PERPLEXITY, Patterns, Rules,
    STRICT, XAI,
};

/// The property that an answer stands in which is no object.
const BOX: &str = "value";

/// Keywords that hold no demand: one that is not taken is left out, and its description says nothing of it.
const ANNOTATIONS: &[&str] = &[
    "$anchor",
    "$comment",
    "$id",
    "$schema",
    "$vocabulary",
    "deprecated",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// A schema as one dialect takes it.
#[derive(Debug)]
pub(super) struct Converted {
    pub schema: Value,
    /// What of the answer has to be turned back.
    pub form: AnswerForm,
    /// What was changed, in words; empty: nothing.
    pub changes: String,
}

/// `schema` in the words of `rules`, or why there are none.
pub(super) fn converted(schema: &Value, rules: &Rules) -> Result<Converted, String> {
    if !rules.recursion && refs::is_recursive(schema) {
        return Err("a schema that refers to itself".to_owned());
    }
    let mut walk = Walk { rules, place: Vec::new(), boxed: false, nulls: false, changes: Changes::default() };
    let root = if rules.any_root { schema.clone() } else { walk.with_object_root(schema)? };
    let schema = walk.schema(&root)?;
    let form = AnswerForm { boxed: walk.boxed, nulls: walk.nulls, ..AnswerForm::default() };
    Ok(Converted { schema, form, changes: walk.changes.to_string() })
}

struct Walk<'r> {
    rules: &'r Rules,
    /// The keys down to the schema that is looked at.
    place: Vec<String>,
    /// The answer stands in [`BOX`].
    boxed: bool,
    /// Properties that may be absent may be null instead.
    nulls: bool,
    changes: Changes,
}

impl Walk<'_> {
    /// A schema of an object: as it is, or what its reference goes to, or with the answer as the one property of it.
    fn with_object_root(&mut self, schema: &Value) -> Result<Value, String> {
        let mut root = schema.clone();
        for _ in 0..refs::MOST_HOPS {
            let Some(target) = root.get("$ref").and_then(Value::as_str).and_then(|to| refs::resolved(schema, to))
            else {
                break;
            };
            let (Value::Object(keys), Value::Object(target)) = (&mut root, target) else { break };
            keys.shift_remove("$ref");
            for (key, value) in target {
                keys.entry(key.clone()).or_insert_with(|| value.clone());
            }
            self.changed("the reference at the root is followed");
        }
        let Value::Object(keys) = &mut root else { return Err("an answer that may be anything".to_owned()) };
        let either = keys.contains_key("anyOf") || keys.contains_key("oneOf");
        if !either && !keys.contains_key("type") && keys.contains_key("properties") {
            keys.insert("type".to_owned(), json!("object"));
            self.changed("the type is said");
        }
        if !either && keys.get("type").is_some_and(|kind| kind == "object") {
            return Ok(root);
        }
        let mut outer = json!({ "type": "object", "required": [BOX], "additionalProperties": false });
        for defs in ["$schema", "$defs", "definitions"] {
            if let Some(held) = keys.shift_remove(defs) {
                outer[defs] = held;
            }
        }
        outer["properties"] = json!({ BOX: root });
        self.boxed = true;
        self.changed(format!("the answer stands in the property {BOX:?} of an object"));
        Ok(outer)
    }

    fn schema(&mut self, schema: &Value) -> Result<Value, String> {
        match schema {
            Value::Object(keys) => self.object(keys),
            Value::Bool(true) if !self.rules.booleans => {
                self.changed("true as {}");
                self.object(&Map::new())
            }
            Value::Bool(false) if !self.rules.booleans => Err(format!("{} that nothing fits", self.here())),
            other => Ok(other.clone()),
        }
    }

    fn object(&mut self, keys: &Map<String, Value>) -> Result<Value, String> {
        if let Some(Value::String(to)) = keys.get("$ref").filter(|_| !self.rules.ref_neighbours) {
            return self.reference(to, keys);
        }
        let mut said = Map::new();
        let mut unsaid = Map::new();
        for (key, value) in keys {
            self.keyword(key, value, keys, &mut said, &mut unsaid)?;
        }
        self.type_of(&mut said)?;
        self.close(keys, &mut said)?;
        self.require(&mut said)?;
        if !unsaid.is_empty() {
            describe(&mut said, unsaid);
        }
        Ok(Value::Object(said))
    }

    /// A reference alone, with what it may go to.
    fn reference(&mut self, to: &str, keys: &Map<String, Value>) -> Result<Value, String> {
        let mut said = Map::new();
        for (key, value) in keys {
            match key.as_str() {
                "$ref" => drop(said.insert(key.clone(), self.target(to))),
                "$defs" | "definitions" => self.definitions(key, value, &mut said)?,
                other => self.changed(format!("{other} beside $ref is left out")),
            }
        }
        Ok(Value::Object(said))
    }

    fn keyword(
        &mut self,
        key: &str,
        value: &Value,
        all: &Map<String, Value>,
        said: &mut Map<String, Value>,
        unsaid: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let rules = self.rules;
        let mut put = |key: &str, value: Value| drop(said.insert(key.to_owned(), value));
        match (key, value) {
            ("$defs" | "definitions", _) => self.definitions(key, value, said)?,
            ("$ref", Value::String(to)) => put(key, self.target(to)),
            ("properties", Value::Object(_)) => put(key, self.named(key, value)?),
            ("items", Value::Array(_)) if !rules.tuples && rules.takes("prefixItems") => {
                self.changed("a list of items as prefixItems");
                put("prefixItems", self.each("prefixItems", value)?);
            }
            ("items", Value::Object(_) | Value::Bool(_)) => put(key, self.inner(key, value)?),
            ("additionalProperties", Value::Object(_)) if !rules.closed && rules.takes(key) => {
                put(key, self.inner(key, value)?);
            }
            ("additionalProperties", _) if rules.closed => {} // `close` says it
            ("prefixItems" | "anyOf" | "oneOf" | "allOf", Value::Array(_)) if rules.takes(key) => {
                put(key, self.each(key, value)?);
            }
            ("oneOf", Value::Array(_)) if rules.takes("anyOf") && !all.contains_key("anyOf") => {
                self.changed("oneOf as anyOf");
                put("anyOf", self.each("anyOf", value)?);
            }
            ("const", _) if !rules.takes(key) && rules.takes("enum") => {
                self.changed("const as enum");
                put("enum", json!([value]));
            }
            _ if rules.takes(key) && self.takes_value(key, value) => put(key, value.clone()),
            _ if ANNOTATIONS.contains(&key) => self.changed(format!("{key} is left out")),
            _ => {
                self.changed(format!("{key} is said in the description"));
                unsaid.insert(key.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    /// Whether a keyword that is taken is taken with this value.
    fn takes_value(&self, key: &str, value: &Value) -> bool {
        let rules = self.rules;
        match (key, value) {
            ("format", Value::String(format)) => rules.formats.is_none_or(|known| known.contains(&format.as_str())),
            ("pattern", Value::String(pattern)) => match rules.patterns {
                Patterns::Any => true,
                Patterns::Anchored => pattern.starts_with('^') && pattern.ends_with('$'),
                Patterns::Plain => !["^", "$", "?=", "?!"].iter().any(|part| pattern.contains(part)),
            },
            ("minItems", least) => least.as_u64().is_none_or(|least| least <= rules.min_items),
            ("enum", Value::Array(values)) => {
                rules.rich_enums || !values.iter().any(|value| value.is_object() || value.is_array())
            }
            ("items", Value::Array(_)) => rules.tuples,
            ("const", value) => rules.rich_enums || !(value.is_object() || value.is_array()),
            _ => true,
        }
    }

    /// Where a reference goes once definitions have moved and the answer stands in a box.
    fn target(&mut self, to: &str) -> Value {
        let defined = ["#/$defs/", "#/definitions/"].iter().any(|defs| to.starts_with(defs));
        let moved = match to.strip_prefix('#') {
            Some(rest) if self.boxed && !defined && (rest.is_empty() || rest.starts_with('/')) => {
                format!("#/properties/{BOX}{rest}")
            }
            _ => to.to_owned(),
        };
        match moved.strip_prefix("#/definitions/") {
            Some(name) if !self.rules.takes("definitions") => Value::String(format!("#/$defs/{name}")),
            _ => Value::String(moved),
        }
    }

    fn definitions(&mut self, key: &str, value: &Value, said: &mut Map<String, Value>) -> Result<(), String> {
        let name = if self.rules.takes(key) { key } else { "$defs" };
        if name != key {
            self.changed(format!("{key} as {name}"));
        }
        let Value::Object(held) = self.named(name, value)? else { return Ok(()) };
        match said.get_mut(name) {
            Some(Value::Object(before)) => before.extend(held),
            _ => drop(said.insert(name.to_owned(), Value::Object(held))),
        }
        Ok(())
    }

    /// The schemas of an object, by name.
    fn named(&mut self, key: &str, value: &Value) -> Result<Value, String> {
        let Value::Object(schemas) = value else { return Ok(value.clone()) };
        let mut converted = Map::new();
        for (name, schema) in schemas {
            self.place.push(if key == "properties" { name.clone() } else { format!("{key}/{name}") });
            let schema = self.schema(schema)?;
            self.place.pop();
            converted.insert(name.clone(), schema);
        }
        Ok(Value::Object(converted))
    }

    /// The schemas of a list.
    fn each(&mut self, key: &str, value: &Value) -> Result<Value, String> {
        let Value::Array(schemas) = value else { return Ok(value.clone()) };
        let schemas = schemas.iter().enumerate().map(|(at, schema)| self.inner(&format!("{key}/{at}"), schema));
        schemas.collect::<Result<_, _>>().map(Value::Array)
    }

    fn inner(&mut self, key: &str, schema: &Value) -> Result<Value, String> {
        self.place.push(key.to_owned());
        let schema = self.schema(schema)?;
        self.place.pop();
        Ok(schema)
    }

    /// Says the type where it has to be said and other words say it.
    fn type_of(&mut self, said: &mut Map<String, Value>) -> Result<(), String> {
        if !self.rules.typed {
            return Ok(());
        }
        let composed = ["$ref", "anyOf", "allOf"].iter().any(|key| said.contains_key(*key));
        if !said.contains_key("type") && !composed {
            let kind = implied_type(said).ok_or_else(|| format!("{} that may be anything", self.here()))?;
            self.changed("the type is said");
            said.insert("type".to_owned(), kind);
        }
        if is(said, "array") && !said.contains_key("items") {
            return Err(format!("{} that is a list of anything", self.here()));
        }
        Ok(())
    }

    /// Says of an object that it has no further properties, where that has to be said.
    fn close(&mut self, keys: &Map<String, Value>, said: &mut Map<String, Value>) -> Result<(), String> {
        if !is(said, "object") && !said.contains_key("properties") {
            return Ok(());
        }
        let further = keys.get("additionalProperties");
        let is_closed = further == Some(&Value::Bool(false));
        if !self.rules.free_objects {
            let described = further.is_some_and(|further| further.as_object().is_some_and(|schema| !schema.is_empty()));
            let none_named = !keys.contains_key("properties"); // an empty list of them is one
            if described || keys.contains_key("patternProperties") || none_named && !is_closed {
                return Err(format!("{} with properties of any name", self.here()));
            }
        }
        if self.rules.closed {
            if !is_closed {
                self.changed("no further properties");
            }
            said.entry("properties").or_insert_with(|| json!({}));
            said.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        Ok(())
    }

    /// Requires every property, where they all have to be: those that may be absent may then be null.
    fn require(&mut self, said: &mut Map<String, Value>) -> Result<(), String> {
        let Some(Value::Object(properties)) = said.get_mut("properties") else { return Ok(()) };
        let mut properties = mem::take(properties);
        let required = said.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        if self.rules.some_required && !properties.is_empty() && required.is_empty() {
            return Err(format!("{} of which nothing is required", self.here()));
        }
        let undescribed = |name: &&str| !properties.contains_key(*name);
        if let Some(name) = required.iter().filter_map(Value::as_str).find(undescribed).filter(|_| self.rules.closed) {
            return Err(format!("{} that requires {name:?} and does not say what it is", self.here()));
        }
        if self.rules.all_required {
            for (name, schema) in &mut properties {
                if !required.iter().any(|required| required == name) {
                    self.place.push(name.clone());
                    self.changed("null where it is absent");
                    self.place.pop();
                    self.nulls = true;
                    allow_null(schema);
                }
            }
            let all = properties.keys().cloned().map(Value::String).collect();
            said.insert("required".to_owned(), Value::Array(all));
        }
        said.insert("properties".to_owned(), Value::Object(properties));
        Ok(())
    }

    fn changed(&mut self, what: impl Into<String>) {
        self.changes.note(what.into(), &self.place);
    }

    fn here(&self) -> String {
        if self.place.is_empty() { "an answer".to_owned() } else { format!("/{}", self.place.join("/")) }
    }
}

/// The type of this name is, or is among, those of the schema.
fn is(schema: &Map<String, Value>, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        kind => kind.is_some_and(|kind| kind == name),
    }
}

/// The type that other keywords are about.
fn implied_type(schema: &Map<String, Value>) -> Option<Value> {
    const ABOUT: &[(&str, &[&str])] = &[
        ("object", &["properties", "required"]),
        ("array", &["items", "minItems", "maxItems"]),
        ("string", &["pattern", "format", "minLength", "maxLength"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ];
    let values = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => values.as_slice(),
        (_, Some(value)) => std::slice::from_ref(value),
        _ => {
            let about = |(_, keys): &&(&str, &[&str])| keys.iter().any(|key| schema.contains_key(*key));
            return ABOUT.iter().find(about).map(|(kind, _)| json!(kind));
        }
    };
    let mut kinds: Vec<&str> = values.iter().map(type_name).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.as_slice() {
        [] => None,
        [kind] => Some(json!(kind)),
        kinds => Some(json!(kinds)),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The same schema, or null.
fn allow_null(schema: &mut Value) {
    let Value::Object(keys) = schema else { return };
    if let Some(Value::Array(either)) = keys.get_mut("anyOf") {
        if !either.iter().any(|one| one.get("type").is_some_and(|kind| kind == "null")) {
            either.push(json!({ "type": "null" }));
        }
        return;
    }
    let kinds = match keys.get("type") {
        Some(Value::String(kind)) => vec![json!(kind)],
        Some(Value::Array(kinds)) => kinds.clone(),
        _ => Vec::new(),
    };
    if kinds.is_empty() || keys.contains_key("const") {
        *schema = json!({ "anyOf": [mem::take(schema), { "type": "null" }] });
        return;
    }
    if !kinds.contains(&json!("null")) {
        keys.insert("type".to_owned(), kinds.into_iter().chain([json!("null")]).collect());
    }
    if let Some(Value::Array(values)) = keys.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

/// Puts into the description what no keyword says.
fn describe(schema: &mut Map<String, Value>, unsaid: Map<String, Value>) {
    let unsaid = Value::Object(unsaid);
    let text = match schema.get("description").and_then(Value::as_str) {
        Some(text) if !text.is_empty() => format!("{text}\n\nFits {unsaid} as well."),
        _ => format!("Fits {unsaid}."),
    };
    schema.insert("description".to_owned(), Value::String(text));
}

#[cfg(test)]
mod tests;
