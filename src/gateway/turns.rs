//! Puts what a stream says into the order of APIs in which a part is whole before the next one begins.
//!
//! Providers may tell several calls at once, piece by piece. Here only one grows at a time: what comes meanwhile waits
//! until its arguments are a whole object or the answer is finished. Each call is told in one go, its id and name first.

use std::collections::VecDeque;

use serde::de::IgnoredAny;

use crate::types::{StreamEvent, ToolCallDelta};

#[derive(Default)]
pub(super) struct Turns {
    open: Option<Growing>,
    /// Numbers of the calls that were told and are over.
    over: Vec<u32>,
    /// What began after the open call, in that order; a call that waits is one piece.
    waiting: VecDeque<StreamEvent>,
    ready: VecDeque<StreamEvent>,
}

/// The call that is being told.
struct Growing {
    number: u32,
    arguments: String,
}

// === impl Turns ===

impl Turns {
    /// Takes what was told; [`Turns::next`] says what can be handed on.
    pub fn push(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Start { .. } | StreamEvent::Usage(_) => return self.ready.push_back(event),
            StreamEvent::Finish { .. } => {
                self.open = None;
                self.ready.append(&mut self.waiting);
                return self.ready.push_back(event);
            }
            StreamEvent::ToolCall(piece) => self.call(piece),
            said => self.waiting.push_back(said),
        }
        self.release();
    }

    pub fn next(&mut self) -> Option<StreamEvent> {
        self.ready.pop_front()
    }

    fn call(&mut self, piece: ToolCallDelta) {
        if let Some(open) = &mut self.open
            && open.number == piece.index
        {
            open.arguments.push_str(&piece.arguments);
            return self.ready.push_back(StreamEvent::ToolCall(piece));
        }
        if self.over.contains(&piece.index) {
            return; // its arguments were a whole object: what follows one is blanks, or no JSON
        }
        let begun = self.waiting.iter_mut().find_map(|event| match event {
            StreamEvent::ToolCall(begun) if begun.index == piece.index => Some(begun),
            _ => None,
        });
        match begun {
            Some(begun) => begun.arguments.push_str(&piece.arguments),
            None => self.waiting.push_back(StreamEvent::ToolCall(piece)),
        }
    }

    /// Lets go on what waits, up to the next call that is not whole.
    fn release(&mut self) {
        while !self.waiting.is_empty() && self.open.as_ref().is_none_or(Growing::is_whole) {
            self.over.extend(self.open.take().map(|open| open.number));
            let next = self.waiting.pop_front();
            if let Some(StreamEvent::ToolCall(call)) = &next {
                self.open = Some(Growing { number: call.index, arguments: call.arguments.clone() });
            }
            self.ready.extend(next);
        }
    }
}

// === impl Growing ===

impl Growing {
    fn is_whole(&self) -> bool {
        // The cheap look first: this is asked at every piece of another call.
        self.arguments.trim_end().ends_with('}') && serde_json::from_str::<IgnoredAny>(&self.arguments).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::FinishReason;

    fn piece(index: u32, id: &str, arguments: &str) -> StreamEvent {
        let name = (!id.is_empty()).then(|| format!("name of {id}"));
        let id = name.is_some().then(|| id.to_owned());
        StreamEvent::ToolCall(ToolCallDelta { index, id, name, arguments: arguments.to_owned() })
    }

    fn said(text: &str) -> StreamEvent {
        StreamEvent::Text(text.to_owned())
    }

    /// What can be handed on after each of these.
    fn after_each(events: Vec<StreamEvent>) -> Vec<Vec<StreamEvent>> {
        let mut turns = Turns::default();
        let told = |event| {
            turns.push(event);
            std::iter::from_fn(|| turns.next()).collect()
        };
        events.into_iter().map(told).collect()
    }

    #[test]
    fn a_call_waits_until_the_one_before_it_is_whole() {
        let told = after_each(vec![
            said("hm"),
            piece(0, "a", ""),
            piece(1, "b", ""),
            piece(0, "", "{\"x\""),
            piece(1, "", "{\"y\":"),
            said("so"),
            piece(0, "", ":{}}"),
            piece(1, "", "2}"),
            piece(0, "", " "),
            piece(2, "c", "{"),
            piece(2, "", "}"),
        ]);
        let expected = vec![
            vec![said("hm")],
            vec![piece(0, "a", "")],
            vec![],
            vec![piece(0, "", "{\"x\"")],
            vec![],
            vec![],
            vec![piece(0, "", ":{}}"), piece(1, "b", "{\"y\":")],
            vec![piece(1, "", "2}"), said("so")],
            vec![],
            vec![piece(2, "c", "{")],
            vec![piece(2, "", "}")],
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn nothing_waits_when_the_answer_is_finished() {
        let finish = StreamEvent::Finish { reason: FinishReason::Length, raw: None };
        let told = after_each(vec![piece(0, "a", "{"), piece(1, "b", "{"), piece(2, "c", "{}"), finish.clone()]);
        assert_eq!(told[3], [piece(1, "b", "{"), piece(2, "c", "{}"), finish]);
    }
}
