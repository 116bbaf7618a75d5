//! A caller's JSON Schema: compiled once for a call, and what of an answer fits it.
//!
//! The schema is the caller's own and stays as it was written; what providers are shown of it is their dialect's. Nothing
//! is fetched: a reference goes to a place inside the schema or the schema is refused. Schemas that are too large to
//! compile beside other calls are refused as well.

use std::borrow::Cow;

use serde_json::Value;

use crate::types::FieldError;

/// Values in a schema: far above what any provider takes, and compiled in milliseconds.
const MOST_VALUES: usize = 50_000;
/// As deep as JSON is read.
const MOST_DEPTH: usize = 128;
/// Longest account of a violation; a schema can name every value it allows.
const LONGEST_WHY: usize = 300;

/// A compiled schema.
pub struct Schema {
    source: Value,
    validator: jsonschema::Validator,
}

/// An answer that fits.
#[derive(Debug, PartialEq)]
pub struct Fit<'a> {
    pub value: Value,
    /// The part of the answer that it was read from, or the value anew where that says something else.
    pub text: Cow<'a, str>,
}

impl Schema {
    /// ```
    /// use llmpool::schema::Schema;
    /// let schema = Schema::compile(&serde_json::json!({ "type": "object", "required": ["city"] })).expect("a schema");
    /// assert!(schema.read(r#"{"city":"Oslo"}"#).is_ok());
    /// assert!(schema.read("{}").is_err());
    /// ```
    ///
    /// # Errors
    /// The schema is no schema, refers to something outside of itself, or is too large.
    pub fn compile(schema: &Value) -> Result<Self, FieldError> {
        let refused = |message: String| FieldError {
            field: "response_format.json_schema.schema".to_owned(),
            message: format!("{message}; it was not sent to anyone"),
        };
        let mut values = 0;
        walk(schema, 0, &mut values).map_err(refused)?;
        let validator = jsonschema::options().build(schema).map_err(|error| refused(bounded(&error.to_string())))?;
        Ok(Self { source: schema.clone(), validator })
    }

    /// As the caller wrote it.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The value in an answer, if it fits. A code fence around it, and words around it, are passed over: they are what
    /// models put there that were only told of the schema.
    pub fn read<'a>(&self, answer: &'a str) -> Result<Fit<'a>, String> {
        self.read_as(answer, |value| (value, false))
    }

    /// The same of an answer that was asked for in another form: `turn_back` gives the value that the caller asked for,
    /// and says whether it is another one.
    ///
    /// # Errors
    /// Where it does not fit, and why; never what the answer says there.
    pub fn read_as<'a>(
        &self,
        answer: &'a str,
        turn_back: impl FnOnce(Value) -> (Value, bool),
    ) -> Result<Fit<'a>, String> {
        let (value, text) = value_in(answer).ok_or_else(|| "the answer is no JSON".to_owned())?;
        let (value, turned) = turn_back(value);
        match self.validator.validate(&value) {
            Ok(()) => {
                let text = if turned { Cow::Owned(value.to_string()) } else { Cow::Borrowed(text) };
                Ok(Fit { value, text })
            }
            Err(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the answer".to_owned() } else { place };
                Err(format!("{place}: {}", bounded(&error.masked().to_string())))
            }
        }
    }
}

/// The answer as a whole, or what is fenced in it, or the first object or list in it.
fn value_in(answer: &str) -> Option<(Value, &str)> {
    let whole = answer.trim();
    let fenced = || {
        let inner = whole.split_once("```")?.1.rsplit_once("```")?.0;
        let body = inner.strip_prefix("json").or_else(|| inner.strip_prefix("JSON")).unwrap_or(inner);
        Some(body.trim())
    };
    let parse = |text| serde_json::from_str(text).ok().map(|value| (value, text));
    parse(whole).or_else(|| fenced().and_then(parse)).or_else(|| first_in(whole))
}

fn first_in(text: &str) -> Option<(Value, &str)> {
    let text = &text[text.find(['{', '['])?..];
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let end = values.byte_offset();
    Some((value, text.get(..end)?))
}

/// Refuses what cannot be compiled safely. `enum`, `const` and examples hold values, not schemas.
fn walk(schema: &Value, depth: usize, values: &mut usize) -> Result<(), String> {
    *values += 1;
    if *values > MOST_VALUES {
        return Err(format!("the schema holds more than {MOST_VALUES} values"));
    }
    if depth > MOST_DEPTH {
        return Err(format!("the schema is nested deeper than {MOST_DEPTH} levels"));
    }
    match schema {
        Value::Object(keys) => {
            for (key, value) in keys {
                match (key.as_str(), value) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) if !to.starts_with('#') => {
                        let to = bounded(to);
                        return Err(format!("{key} goes to {to:?}; only places inside the schema (#…) are followed"));
                    }
                    ("enum" | "const" | "examples" | "default", _) => *values += 1,
                    _ => walk(value, depth + 1, values)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, depth + 1, values)),
        _ => Ok(()),
    }
}

fn bounded(words: &str) -> String {
    words.chars().take(LONGEST_WHY).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: Value) -> String {
        match Schema::compile(&schema) {
            Ok(_) => panic!("taken: {schema}"),
            Err(error) => error.message,
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for schema in [
            json!({ "type": "objekt" }),
            json!({ "minLength": -1 }),
            json!({ "type": "string", "pattern": "(" }),
            json!({ "$ref": "#/$defs/nowhere" }),
            json!({ "$schema": "https://example.com/none", "type": "object" }),
            json!({ "properties": [] }),
            json!(5),
        ] {
            refused(schema);
        }
    }

    #[test]
    fn a_reference_stays_inside_the_schema() {
        for to in ["https://example.com/s.json", "file:///etc/passwd", "other.json#/a"] {
            assert!(refused(json!({ "properties": { "a": { "$ref": to } } })).contains("only places inside"), "{to}");
        }
        assert!(Schema::compile(&json!({ "enum": [{ "$ref": "https://a.b" }] })).is_ok(), "a value, not a reference");
    }

    #[test]
    fn a_schema_may_refer_to_itself() {
        let tree = json!({ "type": "object", "properties": { "next": { "$ref": "#" } }, "required": ["v"] });
        let tree = Schema::compile(&tree).expect("a schema");
        assert!(tree.read(r#"{"v":1,"next":{"v":2}}"#).is_ok());
        assert!(tree.read(r#"{"v":1,"next":{}}"#).is_err());
        // In place: nothing is gone deeper into, and nothing overflows.
        for schema in [json!({ "$ref": "#" }), json!({ "allOf": [{ "$ref": "#" }] })] {
            if let Ok(schema) = Schema::compile(&schema) {
                let _ = schema.read("{}");
            }
        }
    }

    #[test]
    fn a_schema_beyond_all_bounds_is_refused() {
        let mut deep = json!({});
        for _ in 0..200 {
            deep = json!({ "items": deep });
        }
        assert!(refused(deep).contains("deeper"));
        let wide: serde_json::Map<String, Value> = (0..60_000).map(|at| (at.to_string(), json!({}))).collect();
        assert!(refused(json!({ "properties": wide })).contains("more than"));
    }

    #[test]
    fn the_value_is_found_in_what_models_put_around_it() {
        let schema = Schema::compile(&json!({ "type": "object" })).expect("a schema");
        for answer in [
            r#"{"a":1}"#,
            " {\"a\":1}\n",
            "```json\n{\"a\":1}\n```",
            "Here it is:\n```\n{\"a\":1}\n```\nAnything else?",
            r#"Sure! {"a":1} That is all."#,
        ] {
            let fit = schema.read(answer).unwrap_or_else(|why| panic!("{answer}: {why}"));
            assert_eq!((fit.value, &*fit.text), (json!({ "a": 1 }), r#"{"a":1}"#), "{answer}");
        }
        for answer in ["", "no", "{\"a\":", "[1]", "```json\n```", "{"] {
            assert!(schema.read(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_violation_says_where_and_not_what() {
        let schema =
            Schema::compile(&json!({ "properties": { "a": { "items": { "type": "number" } } } })).expect("one");
        let why = schema.read(r#"{"a":[1,"secret"]}"#).expect_err("no number");
        assert!(why.starts_with("/a/1: ") && !why.contains("secret"), "{why}");
    }
}
