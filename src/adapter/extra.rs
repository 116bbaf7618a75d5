//! Merges `extra_body` over an encoded request.
//!
//! Only requests that have one pay for it, and even then nothing becomes a tree: the encoded fields are cut apart as
//! they are and written again, the caller's own in place of those of the same name.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A field the pool cannot let go: it decides how the answer is read.
pub(super) const KEPT: &str = "stream";

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
            map.serialize_entry(name, value)?;
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
}
