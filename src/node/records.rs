//! What waits to cross to JavaScript: numbers in one block that it reads in place, texts in one array.
//!
//! A value that crosses by itself costs a call into the engine to make it and another to put it where it belongs, and
//! most of what an answer says is numbers and a few words that every answer repeats. So numbers are copied as one
//! block, and a word that has crossed before crosses as its number.

use std::collections::HashMap;
use std::sync::Arc;

use napi::bindgen_prelude::ToNapiValue;
use napi::{Status, sys};

/// Words that are remembered. Providers, models, finish reasons and outcomes are few; a provider that invents a model
/// name for each answer must not make the table grow.
const MOST_NAMES: usize = 1024;

/// Stands for a word that is not remembered: its text follows.
const NOT_REMEMBERED: f64 = -1.0;

/// One text of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    Owned(String),
    Shared(Arc<str>),
}

/// Records, one behind another. `lib/record.js` reads the fields in the order in which they are written.
#[derive(Default)]
pub struct Records {
    numbers: Vec<f64>,
    texts: Vec<Text>,
    names: HashMap<Arc<str>, u32>,
    count: usize,
}

impl Records {
    pub fn number(&mut self, value: f64) {
        self.numbers.push(value);
    }

    pub fn flag(&mut self, value: bool) {
        self.number(if value { 1.0 } else { 0.0 });
    }

    /// A number, or `NaN`, which stands for `null`: nothing that crosses is ever not a number.
    pub fn number_or_null(&mut self, value: Option<f64>) {
        self.number(value.unwrap_or(f64::NAN));
    }

    pub fn text(&mut self, text: String) {
        self.texts.push(Text::Owned(text));
    }

    pub fn shared(&mut self, text: Arc<str>) {
        self.texts.push(Text::Shared(text));
    }

    /// A flag, and the text if there is one.
    pub fn text_or_null(&mut self, text: Option<String>) {
        self.flag(text.is_some());
        self.texts.extend(text.map(Text::Owned));
    }

    /// A word that repeats: by its number, with its text the first time.
    pub fn name(&mut self, name: &str) {
        if let Some(number) = self.names.get(name) {
            return self.number(f64::from(*number));
        }
        let text: Arc<str> = name.into();
        if self.names.len() < MOST_NAMES {
            let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
            self.names.insert(Arc::clone(&text), number);
            self.number(f64::from(number));
        } else {
            self.number(NOT_REMEMBERED);
        }
        self.shared(text);
    }

    /// A word that repeats, or a flag that there is none.
    pub fn name_or_null(&mut self, name: Option<&str>) {
        self.flag(name.is_some());
        if let Some(name) = name {
            self.name(name);
        }
    }

    /// A record is whole. Says how many wait now.
    pub fn end(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// Moves everything that waits: the numbers into `block` behind their count, the texts to the caller. `None`, and
    /// nothing is moved, when the block is too small.
    pub fn drain(&mut self, block: &mut [f64]) -> Option<Vec<Text>> {
        let (count, room) = block.split_first_mut()?;
        room.get_mut(..self.numbers.len())?.copy_from_slice(&self.numbers);
        *count = self.numbers.len() as f64;
        self.numbers.clear();
        self.count = 0;
        Some(std::mem::take(&mut self.texts))
    }

    /// Drops everything that waits and every remembered word: the reader has lost its place.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl ToNapiValue for Text {
    unsafe fn to_napi_value(env: sys::napi_env, text: Self) -> napi::Result<sys::napi_value> {
        let text: &str = match &text {
            Self::Owned(text) => text,
            Self::Shared(text) => text,
        };
        let Ok(length) = isize::try_from(text.len()) else {
            return Err(napi::Error::from_status(Status::InvalidArg));
        };
        if !text.is_ascii() {
            // SAFETY: the caller's promise about `env` is handed on unchanged.
            return unsafe { <&str>::to_napi_value(env, text) };
        }
        // Most are all ASCII, which is copied as it stands instead of being decoded.
        let mut value = std::ptr::null_mut();
        // SAFETY: the pointer and the length are those of a live string, and ASCII is Latin-1.
        let status = unsafe { sys::napi_create_string_latin1(env, text.as_ptr().cast(), length, &mut value) };
        if status == sys::Status::napi_ok { Ok(value) } else { Err(napi::Error::from_status(Status::from(status))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(records: &mut Records, block: &mut [f64]) -> Vec<String> {
        let drained = records.drain(block).expect("room");
        drained
            .into_iter()
            .map(|text| match text {
                Text::Owned(text) => text,
                Text::Shared(text) => text.to_string(),
            })
            .collect()
    }

    #[test]
    fn a_word_crosses_as_text_once_and_then_as_its_number() {
        let mut records = Records::default();
        let mut block = [f64::NAN; 8];
        for name in ["stop", "gpt", "stop"] {
            records.name(name);
        }
        assert_eq!(texts(&mut records, &mut block), ["stop", "gpt"]);
        assert_eq!(block[..4], [3.0, 0.0, 1.0, 0.0]);
        records.name("gpt");
        assert_eq!(texts(&mut records, &mut block), [""; 0]);
        assert_eq!(block[..2], [1.0, 1.0]);
    }

    #[test]
    fn the_table_of_words_is_bounded() {
        let mut records = Records::default();
        let mut block = vec![0.0; 2 * MOST_NAMES];
        (0..MOST_NAMES).for_each(|number| records.name(&number.to_string()));
        assert_eq!(texts(&mut records, &mut block).len(), MOST_NAMES);
        for _ in 0..2 {
            records.name("one too many");
            assert_eq!(texts(&mut records, &mut block), ["one too many"]);
            assert_eq!(block[..2], [1.0, NOT_REMEMBERED]);
        }
    }

    #[test]
    fn nothing_is_moved_into_a_block_that_is_too_small() {
        let mut records = Records::default();
        records.number(1.0);
        records.number_or_null(None);
        records.text("kept".to_owned());
        assert_eq!(records.end(), 1);
        assert_eq!(records.drain(&mut [0.0; 2]), None);
        assert_eq!(records.drain(&mut []), None);
        let mut block = [0.0; 3];
        assert_eq!(texts(&mut records, &mut block), ["kept"]);
        assert_eq!(block[..2], [2.0, 1.0]);
        assert!(block[2].is_nan());
        assert_eq!(records.end(), 1, "counted anew");
    }

    #[test]
    fn forgotten_words_cross_as_text_again() {
        let mut records = Records::default();
        records.name("stop");
        records.forget();
        records.name("stop");
        assert_eq!(texts(&mut records, &mut [0.0; 4]), ["stop"]);
    }
}
