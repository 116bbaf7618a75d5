//! What may stand at a key, as data. One list of keys (`raw.rs`) is what is read, what is refused, the schema, the
//! documentation and what is masked; they cannot disagree.

use serde_json::{Map, Value};

use super::network;
use super::secret::MASK;

/// An object whose keys are known.
pub(super) struct Section {
    /// Its comment in `raw.rs`: what holds for it as a whole.
    pub about: &'static str,
    pub keys: &'static [Key],
}

/// One key of a section.
pub(super) struct Key {
    pub name: &'static str,
    /// Its comment in `raw.rs`.
    pub says: &'static str,
    pub shape: fn() -> Shape,
}

#[derive(Clone, Copy)]
pub(super) enum Shape {
    Bool,
    /// 0 or more.
    Number,
    /// 0 or more.
    Whole {
        most: u64,
    },
    /// 0 or more, or this word.
    WholeOr {
        word: &'static str,
    },
    Text,
    /// A text that is never shown.
    Hidden,
    List(fn() -> Shape),
    /// An object whose keys are the user's own.
    Dict(fn() -> Shape),
    Section(&'static Section),
    /// A plain value, or one of parts.
    Either(fn() -> Shape, fn() -> Shape),
    /// Any object, kept as it is.
    Object,
}

impl Shape {
    /// A value as it may be shown: keys, headers and proxies are masked wherever they stand, whatever else stands there
    /// by mistake, too, and URLs keep their host and path only.
    pub fn masked(self, value: &Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Bool, Value::Bool(_)) | (Self::Number | Self::Whole { .. }, Value::Number(_)) => value.clone(),
            (Self::WholeOr { .. }, Value::Number(_)) => value.clone(),
            (Self::WholeOr { word }, Value::String(text)) if text == word => value.clone(),
            (Self::Text, Value::String(text)) if text.contains("://") => Value::String(network::without_secrets(text)),
            (Self::Text, Value::String(_)) => value.clone(),
            (Self::List(item), Value::Array(items)) => items.iter().map(|value| item().masked(value)).collect(),
            (Self::Dict(item), Value::Object(map)) => {
                map.iter().map(|(key, value)| (key.clone(), item().masked(value))).collect::<Map<_, _>>().into()
            }
            (Self::Section(section), Value::Object(map)) => {
                let known = |name: &str| section.keys.iter().find(|key| key.name == name);
                let masked = map.iter().map(|(name, value)| {
                    let value = known(name).map_or_else(|| MASK.into(), |key| (key.shape)().masked(value));
                    (name.clone(), value)
                });
                masked.collect::<Map<_, _>>().into()
            }
            (Self::Either(_, parts), Value::Array(_) | Value::Object(_)) => parts().masked(value),
            (Self::Either(plain, _), value) => plain().masked(value),
            _ => MASK.into(),
        }
    }
}
