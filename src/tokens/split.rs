//! Cuts a text into the pieces that are encoded one by one.
//!
//! Each encoding comes with a pattern that ends in `\s+(?!\S)|\s+`: of several spaces before a word, the last one goes
//! with the word. Looking ahead is what makes such a pattern slow, and its engine give up on long runs; so here `\s+` is
//! matched alone and its last character is given back by hand. Everything else is a plain regular expression, which takes time in
//! proportion to the text, whatever the text is.

use regex::Regex;

/// The pattern of `cl100k_base`, without looking ahead.
pub(super) const CL100K: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+",
);

/// The pattern of `o200k_base`, without looking ahead.
pub(super) const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"|\s*[\r\n]+",
    r"|\s+",
);

/// The pieces of a text, in order.
pub(super) struct Pieces<'a> {
    pattern: &'a Regex,
    text: &'a str,
    at: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(pattern: &'a Regex, text: &'a str) -> Self {
        Self { pattern, text, at: 0 }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let found = self.pattern.find_at(self.text, self.at)?;
        let (start, mut end) = (found.start(), found.end());
        if end < self.text.len()
            && let Some(last) = spaces_only(found.as_str())
            && end - last > start
        {
            end -= last;
        }
        self.at = end;
        self.text.get(start..end)
    }
}

/// Bytes of the last character of a piece that the last branch has matched: spaces of any kind, and no line break, which
/// a branch before it would have taken.
fn spaces_only(piece: &str) -> Option<usize> {
    let last = piece.chars().next_back()?;
    let spaces = last.is_whitespace() && !matches!(last, '\r' | '\n') && piece.chars().all(char::is_whitespace);
    spaces.then(|| last.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pattern: &str, text: &str) -> Vec<String> {
        Pieces::new(&Regex::new(pattern).unwrap(), text).map(str::to_owned).collect()
    }

    #[test]
    fn the_last_space_goes_with_the_word() {
        for pattern in [CL100K, O200K] {
            assert_eq!(pieces(pattern, "a   b"), ["a", "  ", " b"]);
            assert_eq!(pieces(pattern, "a b"), ["a", " b"]);
            assert_eq!(pieces(pattern, "a \t\u{2003}b"), ["a", " \t", "\u{2003}b"]);
        }
    }

    #[test]
    fn spaces_at_the_end_stay_together() {
        for pattern in [CL100K, O200K] {
            assert_eq!(pieces(pattern, "a   "), ["a", "   "]);
            assert_eq!(pieces(pattern, "   "), ["   "]);
        }
    }

    #[test]
    fn line_breaks_end_a_run_of_spaces() {
        for pattern in [CL100K, O200K] {
            assert_eq!(pieces(pattern, "a \n\n  b"), ["a", " \n\n", " ", " b"]);
            assert_eq!(pieces(pattern, "a\r\n"), ["a", "\r\n"]);
        }
    }

    #[test]
    fn a_space_before_a_number_stays_alone() {
        for pattern in [CL100K, O200K] {
            assert_eq!(pieces(pattern, "a  1234"), ["a", " ", " ", "123", "4"]);
        }
    }

    #[test]
    fn contractions_are_cut_off_or_kept() {
        assert_eq!(pieces(CL100K, "it's DON'T"), ["it", "'s", " DON", "'T"]);
        assert_eq!(pieces(O200K, "it's DON'T camelCase"), ["it's", " DON'T", " camel", "Case"]);
    }
}
