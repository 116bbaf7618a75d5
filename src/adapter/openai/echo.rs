//! What of an answer's reasoning a service of this family wants back, and how it goes back.
//!
//! Which service wants what is a row ([`Echo`]). Pieces of a stream are put together as they would have come whole.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::catalog::Echo;
use super::super::sse::MAX_EVENT;
use super::wire::InMessage;
use crate::error::{Failure, FailureClass};

/// What came so far.
#[derive(Debug)]
pub(super) struct Kept {
    echo: Echo,
    details: Vec<Value>,
    text: String,
    /// By the id of the call.
    calls: Map<String, Value>,
    bytes: usize,
}

/// Fields of a message that goes back.
#[derive(Serialize, Default)]
pub(super) struct OutEcho<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
}

impl Kept {
    pub fn new(echo: Echo) -> Self {
        Self { echo, details: Vec::new(), text: String::new(), calls: Map::new(), bytes: 0 }
    }

    /// Takes what a message, or a piece of one, has of it; `reasoning` is its text.
    pub fn take(&mut self, message: &InMessage<'_>, reasoning: &str) -> Result<(), Failure> {
        match self.echo {
            Echo::Details => self.take_details(message.reasoning_details),
            Echo::Content => {
                self.hold(reasoning.len())?;
                self.text.push_str(reasoning);
                Ok(())
            }
            Echo::None | Echo::Calls => Ok(()),
        }
    }

    /// What stands beside a call, for whoever made it.
    pub fn take_call(&mut self, id: &str, extra: &RawValue) -> Result<(), Failure> {
        if self.echo == Echo::Calls && extra.get() != "null" {
            self.hold(id.len() + extra.get().len())?;
            self.calls.insert(id.to_owned(), parsed(extra));
        }
        Ok(())
    }

    pub fn finish(self) -> Option<Value> {
        match self.echo {
            Echo::Details if !self.details.is_empty() => Some(json!({ "details": self.details })),
            Echo::Content if !self.text.is_empty() => Some(json!({ "content": self.text })),
            Echo::Calls if !self.calls.is_empty() => Some(json!({ "calls": self.calls })),
            _ => None,
        }
    }

    /// In a stream each piece is an entry; pieces of one entry have its `index` and `type`, and are joined.
    fn take_details(&mut self, raw: Option<&RawValue>) -> Result<(), Failure> {
        let Some(Value::Array(entries)) = raw.map(parsed) else { return Ok(()) };
        self.hold(raw.map_or(0, |raw| raw.get().len()))?;
        for entry in entries {
            let same = |last: &&mut Value| {
                last.get("index").is_some_and(|index| !index.is_null())
                    && ["index", "type"].iter().all(|key| last.get(*key) == entry.get(*key))
            };
            match (self.details.last_mut().filter(same), entry) {
                (Some(Value::Object(last)), Value::Object(entry)) => join(last, entry),
                (_, entry) => self.details.push(entry),
            }
        }
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > MAX_EVENT {
            return Err(Failure::new(FailureClass::BadReply, "the stream holds too many thoughts"));
        }
        Ok(())
    }
}

/// Texts go on, everything else is as it was last said.
fn join(last: &mut Map<String, Value>, entry: Map<String, Value>) {
    for (key, value) in entry {
        match (last.get_mut(&key), value) {
            (Some(Value::String(text)), Value::String(more)) if matches!(&*key, "text" | "summary" | "data") => {
                text.push_str(&more);
            }
            (Some(_), Value::Null) => {}
            (_, value) => drop(last.insert(key, value)),
        }
    }
}

fn parsed(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// What of a state goes back with its message.
pub(super) fn of_state(echo: Echo, state: Option<&Value>, calls: bool) -> OutEcho<'_> {
    let field = |key: &str| state.and_then(|state| state.get(key));
    match echo {
        Echo::Details => OutEcho { reasoning_details: field("details"), ..OutEcho::default() },
        // Only beside calls: elsewhere it is passed over at best.
        Echo::Content if calls => {
            OutEcho { reasoning_content: field("content").and_then(Value::as_str), ..OutEcho::default() }
        }
        Echo::None | Echo::Content | Echo::Calls => OutEcho::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(echo: Echo, pieces: &[&str]) -> Option<Value> {
        let mut kept = Kept::new(echo);
        for piece in pieces {
            let message: InMessage<'_> = serde_json::from_str(piece).expect("a message");
            kept.take(&message, "t").expect("in bounds");
        }
        kept.finish()
    }

    #[test]
    fn pieces_of_details_become_the_whole_ones() {
        let pieces = [
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"a","index":0,"signature":null}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"b","index":0,"signature":"s"}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"x","index":1},{"type":"reasoning.text","text":"c"}]}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text","text":"d"}]}"#,
            r#"{"reasoning_details":null}"#,
        ];
        let whole = json!({ "details": [
            { "type": "reasoning.text", "text": "ab", "index": 0, "signature": "s" },
            { "type": "reasoning.encrypted", "data": "x", "index": 1 },
            { "type": "reasoning.text", "text": "c" },
            { "type": "reasoning.text", "text": "d" },
        ] });
        assert_eq!(folded(Echo::Details, &pieces), Some(whole));
        assert_eq!(folded(Echo::None, &pieces), None);
        assert_eq!(folded(Echo::Content, &pieces), Some(json!({ "content": "ttttt" })));
    }

    #[test]
    fn endless_thoughts_are_refused() {
        let mut kept = Kept::new(Echo::Content);
        let long = "x".repeat(1 << 20);
        let refused = (0..9).find_map(|_| kept.take(&InMessage::default(), &long).err());
        assert_eq!(refused.map(|failure| failure.class), Some(FailureClass::BadReply));
    }
}
