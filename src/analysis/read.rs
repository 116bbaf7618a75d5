//! The text of a file.
//!
//! UTF-8 is what files are written in. UTF-16 is known by its mark and turned into it; in anything else the bytes that
//! are no UTF-8 become U+FFFD, so that a comment in Latin-1 does not cost the file. Where too much is replaced, it was no
//! text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::results::SkipReason;

/// Characters of a text that may be replaced, in one of so many: more, and it is in another alphabet or no text at all.
const REPLACED_AT_MOST: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Nothing but white space.
    Blank,
    Binary,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub text: String,
    /// Characters that stand for bytes that are none.
    pub replaced: usize,
}

/// What begins with these bytes.
pub(super) fn kind_of(head: &[u8]) -> Kind {
    if let Some(units) = utf16(head) {
        let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return if is_written(&text) { Kind::Text } else { Kind::Binary };
    }
    match head {
        _ if head.contains(&0) => Kind::Binary,
        _ if head.strip_prefix(UTF8_MARK).unwrap_or(head).iter().all(u8::is_ascii_whitespace) => Kind::Blank,
        _ => Kind::Text,
    }
}

/// Reads a file of `most` bytes. Blocks.
///
/// # Errors
/// Why it has no text.
pub(super) fn read(path: &Path, most: u64) -> Result<Text, (SkipReason, String)> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| (SkipReason::Unreadable, error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err((SkipReason::TooLarge, format!("has grown over the {most} bytes of maxFileBytes")));
    }
    let text = decode(&bytes).ok_or_else(|| (SkipReason::Binary, "is not in UTF-8".to_owned()))?;
    if text.text.trim().is_empty() {
        return Err((SkipReason::Empty, "is empty".to_owned()));
    }
    Ok(text)
}

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// `None`: no text.
fn decode(bytes: &[u8]) -> Option<Text> {
    if let Some(units) = utf16(bytes) {
        let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return checked(text).filter(|text| is_written(&text.text));
    }
    if bytes.contains(&0) {
        return None;
    }
    let bytes = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Text { text: text.to_owned(), replaced: 0 }),
        Err(_) => checked(String::from_utf8_lossy(bytes).into_owned()),
    }
}

fn checked(text: String) -> Option<Text> {
    let replaced = text.matches(char::REPLACEMENT_CHARACTER).count();
    (replaced * REPLACED_AT_MOST <= text.chars().count()).then_some(Text { text, replaced })
}

/// Whether somebody wrote this, or bytes only begin with the mark of UTF-16, as UTF-32 and pictures may: nearly any two
/// bytes are a character, but texts have spaces and signs, and nothing has NUL.
fn is_written(text: &str) -> bool {
    let is_common =
        |c: &char| c.is_ascii() || c.is_whitespace() || matches!(c, '\u{3000}'..='\u{303F}' | '\u{FF00}'..='\u{FF65}');
    let (all, common) = (text.chars().count(), text.chars().filter(is_common).count());
    !text.contains('\0') && (all < SHORT_TEXT || common * 50 >= all)
}

/// Characters of a text that may have no space in it.
const SHORT_TEXT: usize = 200;

/// The units of a text that begins with the mark of UTF-16.
fn utf16(bytes: &[u8]) -> Option<Vec<u16>> {
    let (from_pair, rest): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xFF, 0xFE, rest @ ..] => (u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => (u16::from_be_bytes, rest),
        _ => return None,
    };
    Some(rest.chunks_exact(2).map(|pair| from_pair([pair[0], pair[1]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<(String, usize)> {
        decode(bytes).map(|text| (text.text, text.replaced))
    }

    #[test]
    fn what_is_no_text_is_told_by_its_bytes() {
        for (bytes, kind) in [
            (&b"fn main() {}"[..], Kind::Text),
            (b"", Kind::Blank),
            (b"\xEF\xBB\xBF \n\t", Kind::Blank),
            (b"\x7fELF\0\0", Kind::Binary),
            (b"\xFF\xFEa\0", Kind::Text),
            (b"\xFF\xFE\0\0h\0\0\0", Kind::Binary),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn texts_in_other_encodings_are_read() {
        assert_eq!(text(b"\xEF\xBB\xBFa"), Some(("a".to_owned(), 0)));
        assert_eq!(text(b"\xFF\xFEh\0i\0"), Some(("hi".to_owned(), 0)));
        assert_eq!(text(b"\xFE\xFF\0h\0i"), Some(("hi".to_owned(), 0)));
        assert_eq!(
            text(b"// Gr\xFC\xDFe an alle, in Latin-1"),
            Some(("// Gr\u{FFFD}\u{FFFD}e an alle, in Latin-1".to_owned(), 2))
        );
        assert_eq!(text(b"\xFC\xDF\xE4"), None, "not a text in UTF-8 any more");
        assert_eq!(text(b"a\0b"), None);
    }
}
