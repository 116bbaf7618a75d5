//! The signatures of Gemini's thoughts: one per call, one for what was said.
//!
//! Gemini 3 refuses a conversation in which the open turn's first call comes back without its signature. A signature is
//! worth something to the model that made it and to nobody else.

use serde_json::{Map, Value, json};

use super::super::sse::MAX_EVENT;
use crate::error::{Failure, FailureClass};

#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// By the id of the call.
    calls: Map<String, Value>,
    text: String,
    bytes: usize,
}

impl Signatures {
    pub fn of_call(&mut self, id: &str, signature: &str) -> Result<(), Failure> {
        if !signature.is_empty() {
            self.hold(id.len() + signature.len())?;
            self.calls.insert(id.to_owned(), Value::from(signature));
        }
        Ok(())
    }

    /// The last one counts: it comes at the end of what is said.
    pub fn of_text(&mut self, signature: &str) -> Result<(), Failure> {
        if !signature.is_empty() {
            self.hold(signature.len())?;
            signature.clone_into(&mut self.text);
        }
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > MAX_EVENT {
            return Err(Failure::new(FailureClass::BadReply, "the stream holds too many signatures"));
        }
        Ok(())
    }

    /// The state of the answer's reasoning.
    pub fn finish(self) -> Option<Value> {
        let mut state = Map::new();
        if !self.calls.is_empty() {
            state.insert("calls".to_owned(), Value::Object(self.calls));
        }
        if !self.text.is_empty() {
            state.insert("text".to_owned(), Value::String(self.text));
        }
        if state.is_empty() { None } else { Some(json!(state)) }
    }
}

/// The signature of a call, in a state that this model made.
pub(super) fn of_call<'a>(state: Option<&'a Value>, id: &str) -> Option<&'a str> {
    state?.get("calls")?.get(id)?.as_str()
}

/// The signature of what was said.
pub(super) fn of_text(state: Option<&Value>) -> Option<&str> {
    state?.get("text")?.as_str()
}
