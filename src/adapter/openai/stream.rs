//! Reads a stream of the OpenAI family: bytes in, events out.
//!
//! A stream is complete when a finish reason, `[DONE]` or the dialect's last chunk was seen; the end of the bytes without
//! any of them is a truncation, however the text looked. After the finish reason reading goes on, because usage comes
//! behind it. A server that answers with one JSON document instead, an error or a whole reply, is understood as well.

use std::collections::VecDeque;

use super::super::catalog::Dialect as Row;
use super::super::event_stream::{Dialect, EventStream};
use super::super::failure;
use super::super::sse::Event;
use super::calls::Calls;
use super::decode;
use super::echo::Kept;
use super::think::{Said, Thoughts};
use super::wire::{Choice, InCall};
use crate::error::{Failure, FailureClass};
use crate::types::{FinishReason, Reply, StreamEvent, Usage};

/// The decoder of one stream.
pub(in crate::adapter) type Decoder = EventStream<State>;

/// The decoder of a stream in this dialect.
pub(in crate::adapter) fn decoder(dialect: &'static Row) -> Decoder {
    EventStream::new(State::new(dialect))
}

#[derive(Debug)]
pub(in crate::adapter) struct State {
    dialect: &'static Row,
    started: bool,
    id: String,
    calls: Calls,
    /// Some text, reasoning or refusal was said.
    spoke: bool,
    finished: bool,
    done: bool,
    usage: Option<Usage>,
    thoughts: Thoughts,
    /// What of the reasoning goes back; `None` once it was told.
    kept: Option<Kept>,
}

impl Dialect for State {
    fn on_event(&mut self, event: Event<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let data = event.data.trim_ascii();
        if self.done || data.is_empty() {
            return Ok(());
        }
        if data.starts_with(b"[DONE]") {
            return self.end(out);
        }
        if event.name == b"error" {
            return Err(failure::in_band(data));
        }
        let mut chunk = decode::envelope(data)?;
        let choices = chunk.choices.take();
        let usage = decode::usage(chunk.usage).or_else(|| decode::usage(chunk.x_groq.and_then(|groq| groq.usage)));
        if choices.is_none() && usage.is_none() && chunk.id.is_empty() && chunk.object.is_empty() {
            // Not a chunk at all: `{"detail": "…"}` in the middle of a stream. What says nothing is passed over.
            let failure = failure::no_answer(data, "not a chunk");
            return if failure.class == FailureClass::BadReply { Ok(()) } else { Err(failure) };
        }
        let choices = choices.unwrap_or_default();
        // Azure sends its content filter's verdict in a chunk that names neither id nor model.
        let names_itself = !choices.is_empty() || !chunk.id.is_empty() || usage.is_some();
        let last = self.dialect.end_object.is_some_and(|object| chunk.object.0 == object);
        if names_itself && !self.started {
            self.started = true;
            self.id = chunk.id.into_owned();
            out.push_back(StreamEvent::Start {
                id: self.id.clone(),
                model: chunk.model.into_owned(),
                created: chunk.created.0.unwrap_or_default(),
            });
        }
        // The pool asks for one answer; should more come, the first is it.
        for choice in choices.into_iter().filter(|choice| choice.index.0.unwrap_or(0) == 0) {
            self.on_choice(choice, out)?;
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            out.extend(usage.map(StreamEvent::Usage));
        }
        if last { self.end(out) } else { Ok(()) }
    }

    fn whole(&self, document: &[u8]) -> Result<Reply, Failure> {
        decode::reply(document, self.dialect)
    }

    fn on_end(&mut self, _: &mut VecDeque<StreamEvent>) -> Result<bool, Failure> {
        Ok(self.done || self.finished)
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl State {
    fn new(dialect: &'static Row) -> Self {
        Self {
            dialect,
            started: false,
            id: String::new(),
            calls: Calls::default(),
            spoke: false,
            finished: false,
            done: false,
            usage: None,
            thoughts: if dialect.think_tags { Thoughts::default() } else { Thoughts::off() },
            kept: Some(Kept::new(dialect.echo)),
        }
    }

    fn on_choice(&mut self, mut choice: Choice<'_>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if let Some(error) = decode::real_error(choice.error) {
            return Err(failure::in_band(error.get().as_bytes()));
        }
        if self.finished {
            return Ok(()); // OpenRouter repeats an empty choice beside the usage; nothing is said after the end
        }
        // A server that ignores the switch may put the whole message in one event. Perplexity repeats in it what the
        // deltas have said.
        let whole = choice.message.take().filter(|_| !self.spoke);
        let mut delta = choice.delta.take().or(whole).unwrap_or_default();
        let reasoning = delta.take_reasoning();
        if let Some(kept) = &mut self.kept {
            kept.take(&delta, &reasoning)?;
        }
        self.say(&reasoning, StreamEvent::Reasoning, out);
        if self.thoughts.is_off() {
            self.say(&delta.content.text, StreamEvent::Text, out);
        } else {
            let said = self.thoughts.push(&delta.content.text);
            self.say_apart(&said, out);
        }
        self.say(&delta.refusal.0, StreamEvent::Refusal, out);
        self.say(&delta.content.refusal, StreamEvent::Refusal, out);
        for (position, piece) in delta.tool_calls.into_iter().flatten().enumerate() {
            let extra = piece.extra_content;
            let id = self.calls.push(piece, position, &self.id, out)?;
            if let (Some(extra), Some(kept)) = (extra, &mut self.kept) {
                kept.take_call(id, extra)?;
            }
        }
        if let Some(function) = delta.function_call {
            let piece = InCall { function: Some(function), ..InCall::default() };
            self.calls.push(piece, 0, &self.id, out)?;
        }
        match choice.finish_reason.non_empty() {
            Some(raw) => self.on_finish(Some(raw), out),
            None => Ok(()),
        }
    }

    fn say(&mut self, text: &str, event: fn(String) -> StreamEvent, out: &mut VecDeque<StreamEvent>) {
        if !text.is_empty() {
            self.spoke = true;
            out.push_back(event(text.to_owned()));
        }
    }

    fn say_apart(&mut self, Said { thoughts, words }: &Said, out: &mut VecDeque<StreamEvent>) {
        self.say(thoughts, StreamEvent::Reasoning, out);
        self.say(words, StreamEvent::Text, out);
    }

    fn on_finish(&mut self, raw: Option<String>, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        let rest = self.thoughts.finish();
        self.say_apart(&rest, out);
        let reason = decode::finish(raw.as_deref(), !self.calls.is_empty())?;
        if reason == FinishReason::Stop && !self.spoke {
            return Err(failure::empty_stop(None));
        }
        self.calls.finish(&self.id, out);
        out.extend(self.kept.take().and_then(Kept::finish).map(StreamEvent::ReasoningState));
        self.finished = true;
        out.push_back(StreamEvent::Finish { reason, raw });
        Ok(())
    }

    /// `[DONE]`, with or without a finish reason before it.
    fn end(&mut self, out: &mut VecDeque<StreamEvent>) -> Result<(), Failure> {
        if !self.finished {
            let rest = self.thoughts.finish();
            self.say_apart(&rest, out);
            if !self.spoke && self.calls.is_empty() {
                return Err(failure::empty_stop(None));
            }
            self.on_finish(None, out)?;
        }
        self.done = true;
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
