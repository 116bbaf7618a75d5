//! A long text in parts that fit, cut where a reader would cut it.
//!
//! The best border is before a line without indentation that follows a blank line: a function, a section, a class begins
//! there. Then any blank line, then a line that is indented less than the one before it, then any line. Parts follow each
//! other without a gap or an overlap.

/// A part is at least this share of what would fit, so that a border early in the text does not make many small ones.
const LEAST_SHARE: f64 = 0.5;

/// What is sent at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub text: String,
    /// The first and the last of it, from 1.
    pub lines: (usize, usize),
}

/// The parts of a file, with their lines.
pub(super) fn pieces(text: &str, budget: u64, count: impl Fn(&str) -> u64) -> Vec<Piece> {
    let mut line = 1;
    let piece = |part: &str| {
        let breaks = part.matches('\n').count();
        let piece =
            Piece { text: part.to_owned(), lines: (line, line + breaks.saturating_sub(part.ends_with('\n').into())) };
        line += breaks;
        piece
    };
    split(text, budget, count).into_iter().map(piece).collect()
}

/// Items, each a line, in groups of `budget` tokens; a group has `least` items at least, however long they are.
pub(super) fn groups(items: &[String], budget: u64, least: usize, count: impl Fn(&str) -> u64) -> Vec<Piece> {
    let whole: u64 = items.iter().map(|item| item.len() as u64 + 1).sum();
    // A token is a byte at least.
    let size = |item: &String| if whole <= budget { 0 } else { count(item) + 1 };
    let mut groups: Vec<(u64, Vec<&str>)> = Vec::new();
    for item in items {
        let tokens = size(item);
        match groups.last_mut() {
            Some((held, group)) if *held + tokens <= budget || group.len() < least => {
                *held += tokens;
                group.push(item);
            }
            _ => groups.push((tokens, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| Piece { lines: (1, group.len()), text: group.join("\n") }).collect()
}

/// Parts of `text` of `budget` tokens at most, in order; together they are the text. `count` says how many tokens a text
/// has; a single character may be over the budget, nothing else is.
fn split(text: &str, budget: u64, count: impl Fn(&str) -> u64) -> Vec<&str> {
    // A token is a byte at least: most files are not counted at all.
    if text.len() as u64 <= budget {
        return vec![text];
    }
    let tokens = count(text);
    if tokens <= budget {
        return vec![text];
    }
    let bytes_per_token = (text.len() as f64 / tokens as f64).max(1.0);
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let part = first_part(rest, budget, bytes_per_token, &count);
        parts.push(part);
        rest = &rest[part.len()..];
    }
    parts
}

fn first_part(text: &str, budget: u64, bytes_per_token: f64, count: impl Fn(&str) -> u64) -> &str {
    let mut most = budget as f64 * bytes_per_token;
    loop {
        let end = floor_char_boundary(text, most as usize);
        let part = if end >= text.len() { text } else { &text[..best_border(text, end)] };
        let tokens = if part.len() as u64 <= budget { 0 } else { count(part) };
        if tokens <= budget || part.chars().nth(1).is_none() {
            return part;
        }
        // This part is denser than the text as a whole.
        most = (part.len() as f64 * (budget as f64 / tokens as f64) * 0.95).max(1.0);
    }
}

/// The best place for a cut before `end`, above zero.
fn best_border(text: &str, end: usize) -> usize {
    let from = floor_char_boundary(text, (end as f64 * LEAST_SHARE) as usize);
    let mut best = (0, 0);
    let mut at = 0;
    let mut before = "";
    // What stands after `end` says how good a border at `end` is.
    for line in text.split_inclusive('\n') {
        if at > end {
            break;
        }
        if at > from {
            let worth = worth(before, line);
            // Of equals the last one: larger parts, fewer of them.
            if worth >= best.0 {
                best = (worth, at);
            }
        }
        before = line;
        at += line.len();
    }
    match best {
        // One line without an end.
        (_, 0) => {
            if end == 0 {
                text.chars().next().map_or(0, char::len_utf8)
            } else {
                end
            }
        }
        (_, at) => at,
    }
}

/// How good it is to cut between two lines.
fn worth(before: &str, after: &str) -> u8 {
    let blank = before.trim().is_empty();
    let opens = !after.trim().is_empty() && indentation(after) == 0 && !after.starts_with(['}', ')', ']']);
    match (blank, opens) {
        (true, true) => 4,
        (true, false) => 3,
        (false, _) if indentation(after) < indentation(before) && !after.trim_start().starts_with(['}', ')', ']']) => 2,
        (false, _) => 1,
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words.
    fn words(text: &str) -> u64 {
        text.split_whitespace().count() as u64
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(split("", 10, words), [""]);
        assert_eq!(split("a b c", 5, |_| panic!("not counted")), ["a b c"]);
        assert_eq!(split("aaaaaaaaaaaaaa b c", 3, words), ["aaaaaaaaaaaaaa b c"]);
    }

    #[test]
    fn it_is_cut_between_functions() {
        let function = |name: &str| format!("fn {name}() {{\n    let a = 1;\n\n    let b = 2;\n    a + b\n}}\n\n");
        let text = ["one", "two", "three", "four", "five"].map(function).concat();
        let parts = split(&text, 40, words);
        assert!(parts.len() > 1);
        for part in &parts {
            assert!(part.starts_with("fn "), "{part:?}");
            assert!(words(part) <= 40);
        }
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn python_is_cut_where_the_indentation_ends() {
        let class = "class A:\n    def f(self):\n        return 1\n    def g(self):\n        return 2\n";
        let text = class.repeat(8);
        let parts = split(&text, 30, words);
        for part in &parts {
            assert!(part.starts_with("class") || part.starts_with("    def"), "{part:?}");
        }
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn one_endless_line_is_cut_anywhere_but_in_a_character() {
        let text = "ä".repeat(1000);
        let parts = split(&text, 100, |part| part.len() as u64);
        assert!(parts.iter().all(|part| part.len() <= 100 && !part.is_empty()));
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn pieces_know_their_lines() {
        let text = "a a a a\nb b b b\nc c c c\nd d d d";
        let found: Vec<_> = pieces(text, 5, words).into_iter().map(|piece| (piece.text, piece.lines)).collect();
        assert_eq!(found[0], ("a a a a\n".to_owned(), (1, 1)));
        assert_eq!(found[3], ("d d d d".to_owned(), (4, 4)));
        assert_eq!(pieces("x\ny\n", 9, words)[0].lines, (1, 2));
    }

    #[test]
    fn items_stand_together_as_far_as_they_fit() {
        let items = ["a a a", "b b", "c c c c c c c c c", "d"].map(str::to_owned);
        let texts = |least| groups(&items, 8, least, words).into_iter().map(|group| group.text).collect::<Vec<_>>();
        assert_eq!(texts(1), ["a a a\nb b", "c c c c c c c c c", "d"]);
        assert_eq!(texts(2), ["a a a\nb b", "c c c c c c c c c\nd"], "two at least, or merging would never end");
        assert_eq!(groups(&items, 100, 1, |_| panic!("not counted")).len(), 1);
    }

    proptest! {
        #[test]
        fn parts_are_the_text_and_fit(text in "[a-z {}\n\tä]{0,400}", budget in 4_u64..60) {
            let bytes = |part: &str| part.len() as u64;
            let parts = split(&text, budget, bytes);
            prop_assert_eq!(parts.concat(), text.clone());
            prop_assert!(parts.iter().all(|part| bytes(part) <= budget));
            prop_assert!(text.is_empty() || parts.iter().all(|part| !part.is_empty()));
        }
    }
}
