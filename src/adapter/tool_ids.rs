//! Ids of tool calls, made to fit.
//!
//! An id that one service gave may be refused by the next, and some services give none. Both are mended by a hash, so
//! the same id becomes the same id everywhere in a request without anybody keeping a table.

use std::borrow::Cow;

use super::catalog::IdRule;

/// The id as this service accepts it: its own where possible. A call and its result are changed alike.
pub(super) fn fitting(id: &str, rule: IdRule) -> Cow<'_, str> {
    if let Some(len) = rule.exactly {
        let fits = id.len() == len && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return if fits { Cow::Borrowed(id) } else { Cow::Owned(base62(fnv1a(id.bytes()), len)) };
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.len() <= rule.max_len && (!rule.word || !id.is_empty() && id.bytes().all(word)) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{:016x}", fnv1a(id.bytes())))
    }
}

/// An id for the `index`th call of an answer that came without one.
pub(super) fn invented(answer_id: &str, index: usize) -> String {
    format!("call_{:016x}", fnv1a(answer_id.bytes().chain([0]).chain(index.to_le_bytes())))
}

/// The hash in letters and digits. Nine of them hold 53 of its 64 bits: far more than the calls of one chat need.
fn base62(mut hash: u64, len: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let next = || {
        let digit = DIGITS[(hash % 62) as usize];
        hash /= 62;
        char::from(digit)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// FNV-1a: short, and the same in every release.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: IdRule = IdRule { max_len: 40, word: false, exactly: None };
    const WORD: IdRule = IdRule { max_len: usize::MAX, word: true, exactly: None };
    const NINE: IdRule = IdRule { exactly: Some(9), ..SHORT };

    #[test]
    fn an_id_that_fits_stays() {
        assert_eq!(fitting("call_1", SHORT), "call_1");
        assert_eq!(fitting("toolu_01-x", WORD), "toolu_01-x");
        assert_eq!(fitting("Ab3dE6gH9", NINE), "Ab3dE6gH9");
    }

    #[test]
    fn an_id_that_does_not_fit_becomes_one_that_does() {
        let long = "x".repeat(41);
        for (id, rule) in [
            (long.as_str(), SHORT),
            ("functions.f:0", WORD),
            ("", WORD),
            ("call_0123456789abcdef", NINE),
            ("toolu_01A", NINE),
            ("", NINE),
        ] {
            let fitted = fitting(id, rule);
            assert_ne!(fitted, id);
            assert_eq!(fitting(&fitted, rule), fitted);
            assert_eq!(fitting(id, rule), fitted);
        }
        assert_ne!(fitting("a:0", WORD), fitting("a:1", WORD));
        assert_ne!(fitting("a:0", NINE), fitting("a:1", NINE));
    }

    #[test]
    fn invented_ids_differ_by_answer_and_index() {
        let ids = [invented("a", 0), invented("a", 1), invented("b", 0), invented("", 0)];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id));
        }
    }
}
