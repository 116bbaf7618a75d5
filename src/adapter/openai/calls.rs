//! Puts the tool calls of a stream together.
//!
//! Pieces name their call by `index`; where a service leaves that out, by `id`, else by position. Calls are numbered
//! anew, from 0 without gaps, in the order in which they are first told: a call waits until its name has come, because
//! nobody can do anything with a piece of an unnamed call.

use std::collections::VecDeque;

use super::super::lenient::text_or_json;
use super::super::sse::MAX_EVENT;
use super::decode::known_id;
use super::wire::InCall;
use crate::error::{Failure, FailureClass};
use crate::types::{StreamEvent, ToolCallDelta};

/// More calls than any model makes in one answer; without a bound a broken server could fill the memory with them.
const MAX_CALLS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    told: u32,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    /// Arguments that wait for the name.
    waiting: String,
    /// The call's number, once it was told.
    number: Option<u32>,
    has_arguments: bool,
}

impl Calls {
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes one piece, and says the id of its call; `position` is its place in its chunk.
    pub fn push(
        &mut self,
        piece: InCall<'_>,
        position: usize,
        answer_id: &str,
        out: &mut VecDeque<StreamEvent>,
    ) -> Result<&str, Failure> {
        let function = piece.function.unwrap_or_default();
        let (id, name) = (&*piece.id.0, &*function.name.0);
        let at = match self.find(piece.index.0, id, name, position) {
            Some(at) => at,
            None if self.calls.len() < MAX_CALLS => {
                self.calls.push(Call { index: piece.index.0, ..Call::default() });
                self.calls.len() - 1
            }
            None => return Err(too_much("tool calls")),
        };
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        let arguments = text_or_json(function.arguments);
        call.has_arguments |= !arguments.is_empty();
        if call.name.is_empty() {
            if call.waiting.len() + arguments.len() > MAX_EVENT {
                return Err(too_much("arguments of an unnamed tool call"));
            }
            call.waiting.push_str(&arguments);
            return Ok(&self.calls[at].id);
        }
        match call.number {
            None => self.tell(at, &arguments, answer_id, out),
            Some(number) if !arguments.is_empty() => out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                index: number,
                arguments: arguments.into_owned(),
                ..ToolCallDelta::default()
            })),
            Some(_) => {}
        }
        Ok(&self.calls[at].id)
    }

    /// The call a piece belongs to; `None`: a new one.
    fn find(&self, index: Option<u64>, id: &str, name: &str, position: usize) -> Option<usize> {
        if index.is_some() {
            // Some gateways number every parallel call 0: a named piece with another id is another call.
            let at = self.calls.iter().rposition(|call| call.index == index)?;
            let other = !id.is_empty() && !name.is_empty() && !self.calls[at].id.is_empty() && self.calls[at].id != id;
            return if other { None } else { Some(at) };
        }
        if !id.is_empty() {
            return self.calls.iter().rposition(|call| call.id == id);
        }
        let last = self.calls.len().checked_sub(1)?;
        if !name.is_empty() {
            return if self.calls[last].name.is_empty() { Some(last) } else { None };
        }
        Some(if position == 0 { last } else { position.min(last) })
    }

    fn tell(&mut self, at: usize, arguments: &str, answer_id: &str, out: &mut VecDeque<StreamEvent>) {
        let number = self.told;
        self.told += 1;
        let call = &mut self.calls[at];
        call.number = Some(number);
        call.id = known_id(std::mem::take(&mut call.id), answer_id, at);
        let mut text = std::mem::take(&mut call.waiting);
        text.push_str(arguments);
        out.push_back(StreamEvent::ToolCall(ToolCallDelta {
            index: number,
            id: Some(call.id.clone()),
            name: Some(call.name.clone()),
            arguments: text,
        }));
    }

    /// No more pieces come: tells what still waits, and gives calls without arguments their empty object.
    pub fn finish(&mut self, answer_id: &str, out: &mut VecDeque<StreamEvent>) {
        for at in 0..self.calls.len() {
            let empty = !std::mem::replace(&mut self.calls[at].has_arguments, true);
            let rest = if empty { "{}" } else { "" };
            match self.calls[at].number {
                None => self.tell(at, rest, answer_id, out),
                Some(number) if empty => out.push_back(StreamEvent::ToolCall(ToolCallDelta {
                    index: number,
                    arguments: rest.to_owned(),
                    ..ToolCallDelta::default()
                })),
                Some(_) => {}
            }
        }
    }
}

fn too_much(of_what: &str) -> Failure {
    Failure::new(FailureClass::BadReply, format!("the stream holds too many {of_what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Accumulator, ToolCall};

    /// Feeds chunks (arrays of pieces) and folds what comes out.
    fn fold(chunks: &[&str]) -> Vec<ToolCall> {
        let mut calls = Calls::default();
        let mut out = VecDeque::new();
        for chunk in chunks {
            let pieces: Vec<InCall<'_>> = serde_json::from_str(chunk).expect("pieces");
            for (position, piece) in pieces.into_iter().enumerate() {
                calls.push(piece, position, "answer", &mut out).expect("in bounds");
            }
        }
        calls.finish("answer", &mut out);
        let mut accumulator = Accumulator::default();
        out.iter().for_each(|event| accumulator.push(event));
        accumulator.into_reply().tool_calls
    }

    #[test]
    fn pieces_are_joined_by_index_in_any_order() {
        let calls = fold(&[
            r#"[{"index":3,"id":"a","function":{"name":"f","arguments":""}}]"#,
            r#"[{"index":7,"id":"b","function":{"name":"g","arguments":"{\"y\""}}]"#,
            r#"[{"index":3,"function":{"arguments":"{\"x\":1}"}},{"index":7,"function":{"arguments":":2}"}}]"#,
        ]);
        assert_eq!(calls, [ToolCall::function("a", "f", "{\"x\":1}"), ToolCall::function("b", "g", "{\"y\":2}")]);
    }

    #[test]
    fn without_index_the_id_or_the_last_call_counts() {
        let calls = fold(&[
            r#"[{"id":"a","function":{"name":"f","arguments":"{\"x\""}}]"#,
            r#"[{"function":{"arguments":":1}"}}]"#,
            r#"[{"id":"b","function":{"name":"f","arguments":"{\"y\""}}]"#,
            r#"[{"id":"b","function":{"arguments":":2}"}}]"#,
        ]);
        assert_eq!(calls, [ToolCall::function("a", "f", "{\"x\":1}"), ToolCall::function("b", "f", "{\"y\":2}")]);
    }

    #[test]
    fn without_index_and_id_a_name_begins_a_call() {
        let calls =
            fold(&[r#"[{"function":{"name":"f","arguments":{"x":1}}},{"function":{"name":"g","arguments":null}}]"#]);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].function.arguments, "{\"x\":1}");
        assert_eq!((calls[1].function.name.as_str(), calls[1].function.arguments.as_str()), ("g", "{}"));
        assert!(calls[0].id.starts_with("call_") && calls[0].id != calls[1].id);
    }

    #[test]
    fn parallel_calls_that_share_an_index_stay_apart() {
        let calls = fold(&[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]"#,
            r#"[{"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\""}}]"#,
            r#"[{"index":0,"function":{"arguments":":1}"}}]"#,
        ]);
        assert_eq!(calls, [ToolCall::function("a", "f", "{}"), ToolCall::function("b", "f", "{\"x\":1}")]);
    }

    #[test]
    fn a_late_name_holds_its_call_back_and_leaves_no_gap() {
        let calls = fold(&[
            r#"[{"index":0,"id":"a","function":{"arguments":"{\"x\""}}]"#,
            r#"[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]"#,
            r#"[{"index":0,"function":{"name":"f","arguments":":1}"}}]"#,
        ]);
        assert_eq!(calls, [ToolCall::function("b", "g", "{}"), ToolCall::function("a", "f", "{\"x\":1}")]);
    }

    #[test]
    fn a_repeated_name_or_id_changes_nothing() {
        let calls = fold(&[
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]"#,
            r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]"#,
        ]);
        assert_eq!(calls, [ToolCall::function("a", "f", "{}")]);
    }

    #[test]
    fn endless_calls_are_refused() {
        let mut calls = Calls::default();
        let mut out = VecDeque::new();
        let result = (0..2000).try_for_each(|index| {
            let json = format!(r#"{{"index":{index},"function":{{"name":"f"}}}}"#);
            calls.push(serde_json::from_str(&json).expect("piece"), 0, "", &mut out).map(drop)
        });
        assert_eq!(result.expect_err("unbounded").class, FailureClass::BadReply);
    }
}
