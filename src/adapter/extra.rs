//! Merges `extra_body` over an encoded request.
//!
//! Only requests that have one pay for it, and even then nothing becomes a tree: the encoded fields are cut apart as
//! they are and written again, the caller's own in place of those of the same name. A field that only holds other
//! fields keeps those of them that the caller does not name.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A field the pool cannot let go: it decides how the answer is read.
pub(super) const KEPT: &str = "stream";

/// Fields that only hold other fields: Gemini's and Ollama's sampling lives in one.
const HOLDERS: &[&str] = &["generationConfig", "options"];

struct Merged<'a> {
    fields: BTreeMap<&'a str, &'a RawValue>,
    extra: &'a Map<String, Value>,
}

impl Serialize for Merged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields.iter().filter(|(name, _)| **name == KEPT || !self.extra.contains_key(**name)) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.extra.iter().filter(|(name, _)| *name != KEPT) {
            let held = self.fields.get(name.as_str()).filter(|_| HOLDERS.contains(&name.as_str()));
            match (held.map(|held| serde_json::from_str(held.get())), value) {
                (Some(Ok(fields)), Value::Object(extra)) => map.serialize_entry(name, &Merged { fields, extra })?,
                _ => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

pub(super) fn merge(body: &[u8], extra: &Map<String, Value>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Merged { fields: serde_json::from_slice(body)?, extra })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn extra_fields_replace_and_add_and_never_touch_the_stream_switch() {
        let Value::Object(extra) = json!({"temperature": 2, "top_k": {"deep": [1]}, "seed": null, "stream": true})
        else {
            panic!("an object");
        };
        let merged = merge(br#"{"model":"m","temperature":0.5,"stream":false}"#, &extra).expect("JSON");
        assert_eq!(
            serde_json::from_slice::<Value>(&merged).expect("JSON"),
            json!({"model": "m", "temperature": 2, "top_k": {"deep": [1]}, "seed": null, "stream": false})
        );
    }

    #[test]
    fn a_field_that_only_holds_others_keeps_those_that_are_not_named() {
        let Value::Object(extra) = json!({"options": {"num_ctx": 8192, "seed": 2}, "format": {"a": 1}}) else {
            panic!("an object");
        };
        let merged = merge(br#"{"options":{"seed":1,"top_p":0.5},"format":{"b":2}}"#, &extra).expect("JSON");
        assert_eq!(
            serde_json::from_slice::<Value>(&merged).expect("JSON"),
            json!({"options": {"num_ctx": 8192, "seed": 2, "top_p": 0.5}, "format": {"a": 1}})
        );
    }
}
