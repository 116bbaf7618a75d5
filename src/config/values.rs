//! The kinds of value a key may have, and how each is read and shown.
//!
//! A message repeats what was found only where that cannot be a secret: never below a [`Hidden`], never a text where an
//! object or a list belongs, and never a text longer than any sensible word.

use std::time::Duration;

use serde_json::{Map, Value};

use super::secret::Secret;
use super::section::{Field, Read, Reader, index, join};
use super::shape::Shape;
use crate::error::MAX_HINT;

/// Longest text that a message repeats. Keys of all known services are longer.
const LONGEST_SHOWN: usize = 24;

/// Stands for "no limit" where a time is needed.
pub(super) const UNLIMITED: Duration = MAX_HINT;

/// A text after `${…}` was replaced, with the form in which it may be shown.
pub(super) struct Text {
    pub value: String,
    /// As it was written, before any variable came in.
    pub shown: String,
}

/// A text that is never shown.
pub(super) struct Hidden(pub Secret);

/// A whole number of milliseconds; beyond a year it is a year.
pub(super) struct Millis(pub Duration);

const P95: &str = "p95";

/// A whole number of milliseconds, or the word "p95".
pub(super) enum MillisOrP95 {
    Millis(Duration),
    P95,
}

/// A whole number of seconds; beyond a year it is a year.
pub(super) struct Seconds(pub Duration);

/// An object whose keys are the user's own, in the order of their names.
pub(super) struct Dict<T>(pub Vec<(String, Field<T>)>);

/// Any object, kept as it is.
pub(super) struct Object(pub Value);

/// Any object, its texts with what they refer to in the place of that.
pub(super) struct Tree(pub Map<String, Value>);

// === impl Field ===

impl Field<Millis> {
    pub fn time(self, default: Duration) -> Duration {
        self.or(Millis(default)).0
    }

    /// `null` is no limit.
    pub fn time_limit(self, default: Duration) -> Duration {
        self.or_limit(Millis(default), Millis(UNLIMITED)).0
    }
}

// === impl Read ===

impl Read for bool {
    const EXPECTED: &'static str = "true or false";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Bool
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        value.as_bool().or_else(|| reader.wrong(value, path))
    }
}

impl Read for f64 {
    const EXPECTED: &'static str = "a number, 0 or more";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Number
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        value.as_f64().filter(|number| number.is_finite() && *number >= 0.0).or_else(|| reader.wrong(value, path))
    }
}

impl Read for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Whole { most: u64::MAX }
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        whole(value).or_else(|| reader.wrong(value, path))
    }
}

impl Read for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Whole { most: u64::from(u32::MAX) }
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        whole(value).and_then(|number| number.try_into().ok()).or_else(|| reader.wrong(value, path))
    }
}

impl Read for Millis {
    const EXPECTED: &'static str = "a whole number of milliseconds";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Whole { most: u64::MAX }
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        whole(value).map(|ms| Self(capped(Duration::from_millis(ms)))).or_else(|| reader.wrong(value, path))
    }
}

impl Read for MillisOrP95 {
    const EXPECTED: &'static str = "a whole number of milliseconds or \"p95\"";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::WholeOr { word: P95 }
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        match value {
            Value::String(word) if word == P95 => Some(Self::P95),
            Value::Number(_) => whole(value).map(|ms| Self::Millis(capped(Duration::from_millis(ms)))),
            _ => None,
        }
        .or_else(|| reader.wrong(value, path))
    }
}

impl Read for Seconds {
    const EXPECTED: &'static str = "a whole number of seconds";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Whole { most: u64::MAX }
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        whole(value).map(|seconds| Self(capped(Duration::from_secs(seconds)))).or_else(|| reader.wrong(value, path))
    }
}

impl Read for Text {
    const EXPECTED: &'static str = "a string";
    const HIDDEN: bool = false;

    fn shape() -> Shape {
        Shape::Text
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::String(written) = value else { return reader.wrong(value, path) };
        let value = reader.text(written, path)?;
        if value.trim().is_empty() {
            reader.problem(path, "expected a string, found an empty one");
            return None;
        }
        Some(Self { value, shown: written.clone() })
    }
}

impl Read for Hidden {
    const EXPECTED: &'static str = "a string";

    fn shape() -> Shape {
        Shape::Hidden
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::String(written) = value else { return reader.wrong(value, path) };
        reader.text(written, path).map(|text| Self(Secret::new(text)))
    }
}

impl<T: Read> Read for Vec<Field<T>> {
    const EXPECTED: &'static str = "a list";

    fn shape() -> Shape {
        Shape::List(T::shape)
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Array(items) = value else { return reader.wrong(value, path) };
        // A bad item keeps its place, so that those behind it keep their index.
        Some(items.iter().enumerate().map(|(at, item)| reader.item(item, &index(path, at))).collect())
    }
}

impl<T: Read> Read for Dict<T> {
    const EXPECTED: &'static str = "an object";

    fn shape() -> Shape {
        Shape::Dict(T::shape)
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.object::<Self>(value, path)?;
        Some(Self(map.iter().map(|(key, item)| (key.clone(), reader.item(item, &join(path, key)))).collect()))
    }
}

impl Read for Object {
    const EXPECTED: &'static str = "an object";

    fn shape() -> Shape {
        Shape::Object
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        reader.object::<Self>(value, path).map(|_| Self(value.clone()))
    }
}

impl Read for Tree {
    const EXPECTED: &'static str = "an object";

    fn shape() -> Shape {
        Shape::Object
    }

    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let map = reader.object::<Self>(value, path)?;
        let read = |(key, value): (&String, &Value)| Some((key.clone(), expanded(value, &join(path, key), reader)?));
        map.iter().map(read).collect::<Option<_>>().map(Self)
    }
}

fn expanded(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Value> {
    Some(match value {
        Value::String(text) => Value::String(reader.text(text, path)?),
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(at, item)| expanded(item, &index(path, at), reader));
            items.collect::<Option<Vec<_>>>()?.into()
        }
        Value::Object(map) => {
            let fields = map.iter().map(|(key, value)| Some((key.clone(), expanded(value, &join(path, key), reader)?)));
            fields.collect::<Option<Map<_, _>>>()?.into()
        }
        plain => plain.clone(),
    })
}

// === what was found ===

pub(super) fn found(value: &Value, hidden: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Bool(_) if hidden => "a boolean".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(_) if hidden => "a number".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => match shown(text) {
            Some(text) if !hidden => format!("the string {text:?}"),
            _ => "a string".to_owned(),
        },
    }
}

/// The text, when it is short enough to be no key.
pub(super) fn shown(text: &str) -> Option<&str> {
    (text.chars().count() <= LONGEST_SHOWN).then_some(text)
}

/// Whole numbers, also when written as `1e3` or `1000.0`.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        // The cast saturates, which for every unit we have means "beyond any use".
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    })
}

fn capped(duration: Duration) -> Duration {
    duration.min(UNLIMITED)
}
