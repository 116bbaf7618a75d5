//! Mends characters that a provider sent in half.
//!
//! Whoever cuts an answer into pieces by UTF-16, as JavaScript does, cuts some characters in two: `"\ud83d"` in one event
//! and `"\ude00"` in the next, which no JSON reader takes. Where the halves meet across two events they become the
//! character again; a half that has no other becomes U+FFFD, as it does in a request.

use std::borrow::Cow;

use super::sse::Event;
use crate::error::Failure;
use crate::types::surrogates::{ESCAPE, Lone, lone, replaced};

/// A document that is read as a whole.
pub(super) fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    replaced_in(json, &lone(json))
}

/// The events of one stream.
#[derive(Debug, Default)]
pub(super) struct Halves {
    held: Option<Held>,
}

/// An event one of whose strings ends in the first half of a character: the next event may begin with the second.
#[derive(Debug)]
struct Held {
    name: Vec<u8>,
    data: Vec<u8>,
    half: Lone,
}

impl Halves {
    /// Hands on what can be told now.
    pub fn push<F>(&mut self, Event { name, data }: Event<'_>, mut each: F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        let mut halves = lone(data);
        if halves.is_empty() && self.held.is_none() {
            return each(Event { name, data });
        }
        let mut data = Cow::Borrowed(data);
        if let Some(mut held) = self.held.take() {
            if let Some(other) = halves.iter().find(|half| !half.is_first && begins_a_string(&data, half.at)) {
                data = Cow::Owned([&data[..other.at], held.take_half().as_slice(), &data[other.at..]].concat());
                halves = lone(&data);
            }
            held.tell(&mut each)?;
        }
        match halves.iter().find(|half| half.is_first && ends_a_string(&data, half.at)) {
            Some(half) => self.held = Some(Held { name: name.to_vec(), half: *half, data: data.into_owned() }),
            None => each(Event { name, data: &replaced_in(&data, &halves) })?,
        }
        Ok(())
    }

    /// Nothing comes any more.
    pub fn finish<F>(&mut self, mut each: F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        self.held.take().map_or(Ok(()), |held| held.tell(&mut each))
    }
}

impl Held {
    /// The escape of the half, which is then no longer in it.
    fn take_half(&mut self) -> Vec<u8> {
        self.data.drain(self.half.at..self.half.at + ESCAPE).collect()
    }

    fn tell<F>(self, each: &mut F) -> Result<(), Failure>
    where
        F: FnMut(Event<'_>) -> Result<(), Failure>,
    {
        each(Event { name: &self.name, data: &mended(&self.data) })
    }
}

fn replaced_in<'a>(json: &'a [u8], halves: &[Lone]) -> Cow<'a, [u8]> {
    if halves.is_empty() { Cow::Borrowed(json) } else { Cow::Owned(replaced(json, halves)) }
}

/// Behind an escape a quote is no escaped one.
fn ends_a_string(json: &[u8], at: usize) -> bool {
    json.get(at + ESCAPE) == Some(&b'"')
}

/// A quote behind a backslash stands in a string, or ends one; only any other begins one.
fn begins_a_string(json: &[u8], at: usize) -> bool {
    matches!(json[..at], [.., before, b'"'] if before != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the events become, in order.
    fn told(events: &[&str]) -> Vec<String> {
        let mut halves = Halves::default();
        let mut told = Vec::new();
        let mut each = |Event { name, data }: Event<'_>| {
            assert_eq!(name, b"n");
            told.push(String::from_utf8_lossy(data).into_owned());
            Ok(())
        };
        for event in events {
            halves.push(Event { name: b"n", data: event.as_bytes() }, &mut each).expect("told");
        }
        halves.finish(&mut each).expect("told");
        told
    }

    #[test]
    fn a_character_cut_in_two_is_whole_again_in_the_later_event() {
        assert_eq!(
            told(&[r#"{"t":"hi \ud83d"}"#, r#"{"t":"\ude00!"}"#, r#"{"t":"."}"#]),
            [r#"{"t":"hi "}"#, r#"{"t":"\ud83d\ude00!"}"#, r#"{"t":"."}"#]
        );
        // Each event may begin with one and end with the next.
        assert_eq!(
            told(&[r#"{"t":"\ud83d"}"#, r#"{"t":"\ude00\ud83d"}"#, r#"{"t":"\ude01"}"#]),
            [r#"{"t":""}"#, r#"{"t":"\ud83d\ude00"}"#, r#"{"t":"\ud83d\ude01"}"#]
        );
    }

    #[test]
    fn a_half_that_has_no_other_becomes_a_replacement_character() {
        for (events, expected) in [
            (vec![r#"{"t":"a\ud83db"}"#], vec!["{\"t\":\"a\u{FFFD}b\"}"]),
            (vec![r#"{"t":"a\ud83d"}"#], vec!["{\"t\":\"a\u{FFFD}\"}"]),
            (vec![r#"{"t":"\ud83d"}"#, r#"{"t":"x"}"#], vec!["{\"t\":\"\u{FFFD}\"}", r#"{"t":"x"}"#]),
            (vec![r#"{"t":"\ud83d"}"#, r#"{"t":"x\ude00"}"#], vec!["{\"t\":\"\u{FFFD}\"}", "{\"t\":\"x\u{FFFD}\"}"]),
            // The quote before the second half is one of the text's own.
            (
                vec![r#"{"t":"\ud83d"}"#, r#"{"t":"\"\ude00"}"#],
                vec!["{\"t\":\"\u{FFFD}\"}", "{\"t\":\"\\\"\u{FFFD}\"}"],
            ),
            (vec![r#"{"t":"\ude00"}"#], vec!["{\"t\":\"\u{FFFD}\"}"]),
        ] {
            assert_eq!(told(&events), expected, "{events:?}");
        }
    }

    #[test]
    fn whole_text_passes_as_it_is_and_at_once() {
        let mut halves = Halves::default();
        let event = r#"{"t":"\ud83d\ude00 \\ud83d"}"#;
        let mut seen = 0;
        let each = |told: Event<'_>| {
            assert_eq!(told.data.as_ptr(), event.as_ptr(), "no copy");
            seen += 1;
            Ok(())
        };
        halves.push(Event { name: b"", data: event.as_bytes() }, each).expect("told");
        assert_eq!(seen, 1);
        assert!(matches!(mended(event.as_bytes()), Cow::Borrowed(_)));
    }
}
