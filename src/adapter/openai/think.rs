//! Tells thoughts from words where a service says both in one text: `<think>…</think>` before the answer.
//!
//! Only a text that begins with the tag is taken apart; anywhere else the tag is something the model wrote about. A piece
//! of a stream may end in the middle of a tag, which is then held back until the next one tells.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// One answer, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    place: Place,
    /// What may be the beginning of a tag.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Inside,
    /// Behind the closing tag, before the first word: line ends there belong to the tag.
    Behind,
    Words,
}

/// A piece, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub thoughts: String,
    pub words: String,
}

impl Thoughts {
    /// For a service that never mixes the two.
    pub fn off() -> Self {
        Self { place: Place::Words, held: String::new() }
    }

    /// Nothing is mixed any more: a piece is words as it is.
    pub fn is_off(&self) -> bool {
        self.place == Place::Words
    }

    pub fn push(&mut self, piece: &str) -> Said {
        let mut said = Said::default();
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        if self.place == Place::Start {
            let begun = text.trim_start();
            if let Some(rest) = begun.strip_prefix(OPEN) {
                self.place = Place::Inside;
                text = rest.to_owned();
            } else if OPEN.starts_with(begun) {
                self.held = text;
                return said;
            } else {
                self.place = Place::Words;
            }
        }
        if self.place == Place::Inside {
            match text.split_once(CLOSE) {
                Some((thoughts, rest)) => {
                    said.thoughts.push_str(thoughts);
                    self.place = Place::Behind;
                    text = rest.to_owned();
                }
                None => {
                    let kept = (1..CLOSE.len()).rev().find(|len| text.ends_with(&CLOSE[..*len])).unwrap_or(0);
                    self.held = text.split_off(text.len() - kept);
                    said.thoughts.push_str(&text);
                    return said;
                }
            }
        }
        if self.place == Place::Behind {
            text = text.trim_start().to_owned();
            if text.is_empty() {
                return said;
            }
            self.place = Place::Words;
        }
        said.words.push_str(&text);
        said
    }

    /// The answer is over: what was held back was no tag.
    pub fn finish(&mut self) -> Said {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Inside => Said { thoughts: held, ..Said::default() },
            Place::Start | Place::Behind | Place::Words => Said { words: held, ..Said::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apart(pieces: &[&str]) -> (String, String) {
        let mut thoughts = Thoughts::default();
        let (mut thought, mut words) = (String::new(), String::new());
        for said in
            pieces.iter().map(|piece| thoughts.push(piece)).collect::<Vec<_>>().into_iter().chain([thoughts.finish()])
        {
            thought += &said.thoughts;
            words += &said.words;
        }
        (thought, words)
    }

    #[test]
    fn thoughts_stand_before_the_words_and_nowhere_else() {
        for (text, thought, words) in [
            ("<think>\nhm\n</think>\n\nOslo", "\nhm\n", "Oslo"),
            ("\n <think>hm</think>Oslo", "hm", "Oslo"),
            ("<think></think>Oslo", "", "Oslo"),
            ("<think>a < b </thin </think>c </think> d", "a < b </thin ", "c </think> d"),
            ("<think>never closed </thi", "never closed </thi", ""),
            ("Say <think>hm</think>", "", "Say <think>hm</think>"),
            ("<thinking>hm</thinking>", "", "<thinking>hm</thinking>"),
            ("<thi", "", "<thi"),
            (" ", "", " "),
            ("", "", ""),
            ("<think>é</think>😀", "é", "😀"),
        ] {
            let expected = (thought.to_owned(), words.to_owned());
            assert_eq!(apart(&[text]), expected, "{text:?}");
            let letters: Vec<String> = text.chars().map(String::from).collect();
            let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
            assert_eq!(apart(&letters), expected, "{text:?} letter by letter");
        }
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same(
            parts in prop::collection::vec(prop::sample::select(vec!["<think>", "</think>", "<", "</th", "\n", "é", "hm "]), 0..9),
            cuts in prop::collection::vec(0usize..60, 0..8),
        ) {
            let text = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).filter(|cut| text.is_char_boundary(*cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(apart(&pieces), apart(&[&text]));
        }
    }
}
