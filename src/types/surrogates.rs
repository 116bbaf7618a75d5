//! Halves of characters in JSON.
//!
//! A string of JavaScript (or of anything else that counts in UTF-16) may end in the middle of a character. Written as
//! JSON the half becomes an escape, `\ud83d`, that no reader can take which makes UTF-8 of it.

/// A half without its other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lone {
    /// Where its escape begins.
    pub at: usize,
    /// The first half of a character, not the second.
    pub is_first: bool,
}

/// How long the escape of a half is: `\ud83d`.
pub(crate) const ESCAPE: usize = 6;

const REPLACEMENT: char = '\u{FFFD}';

/// The halves that stand alone in a text of JSON, in order.
pub(crate) fn lone(json: &[u8]) -> Vec<Lone> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        at += match (half(json, at), half(json, at + ESCAPE)) {
            (Some(true), Some(false)) => 2 * ESCAPE,
            (Some(is_first), _) => {
                found.push(Lone { at, is_first });
                ESCAPE
            }
            (None, _) => 2, // the character behind the backslash is not the start of another escape
        };
        if at >= json.len() {
            break;
        }
    }
    found
}

/// The text with a replacement character in the place of each of these halves.
pub(crate) fn replaced(json: &[u8], halves: &[Lone]) -> Vec<u8> {
    let mut mark = [0; REPLACEMENT.len_utf8()];
    let mark = REPLACEMENT.encode_utf8(&mut mark).as_bytes();
    let mut out = Vec::with_capacity(json.len());
    let mut copied = 0;
    for half in halves {
        out.extend_from_slice(&json[copied..half.at]);
        out.extend_from_slice(mark);
        copied = half.at + ESCAPE;
    }
    out.extend_from_slice(&json[copied..]);
    out
}

/// The same of a text.
pub(crate) fn replaced_text(json: &str, halves: &[Lone]) -> String {
    let mut out = String::with_capacity(json.len());
    let mut copied = 0;
    for half in halves {
        out.push_str(&json[copied..half.at]);
        out.push(REPLACEMENT);
        copied = half.at + ESCAPE;
    }
    out.push_str(&json[copied..]);
    out
}

/// Is there the escape of half a character, and is it of the first half?
fn half(json: &[u8], at: usize) -> Option<bool> {
    match json.get(at..at + ESCAPE)? {
        [b'\\', b'u', b'd' | b'D', third, digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
            match third.to_ascii_lowercase() {
                b'8' | b'9' | b'a' | b'b' => Some(true),
                b'c'..=b'f' => Some(false),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_found_and_whole_characters_are_not() {
        for (json, mended) in [
            (r"plain", "plain"),
            (r"\ud83d\ude00", r"\ud83d\ude00"),
            (r"\uD83D\uDE00\n", r"\uD83D\uDE00\n"),
            (r"a\ud83d", "a\u{FFFD}"),
            (r"\ude00b", "\u{FFFD}b"),
            (r"\ude00\ud83d", "\u{FFFD}\u{FFFD}"),
            (r"\ud83d\ud83d\ude00", "\u{FFFD}\\ud83d\\ude00"),
            (r"\\ud83d", r"\\ud83d"),
            (r"\\\ud83d", "\\\\\u{FFFD}"),
            (r"\ud83", r"\ud83"),
            (r"\ud83g", r"\ud83g"),
            (r"\u00e9\ud7ff", r"\u00e9\ud7ff"),
            ("\\", "\\"),
        ] {
            let halves = lone(json.as_bytes());
            assert_eq!(replaced(json.as_bytes(), &halves), mended.as_bytes(), "{json}");
            assert_eq!(replaced_text(json, &halves), mended, "{json}");
        }
    }
}
