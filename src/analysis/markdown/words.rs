//! What models say, as Markdown that shows it and nothing else.

/// Signs that mean something in Markdown or HTML, wherever they stand.
const SIGNS: &[char] = &['\\', '`', '*', '_', '[', ']', '<', '>', '#', '|', '~', '!', '&', '$', '^'];

/// Signs that mean something at the beginning of a line: a list, a line under a heading, a definition.
const OPENERS: &[char] = &['-', '+', '=', ':'];

/// A text in one line. What stands between equal runs of backticks stays code; everything else is shown as it is.
pub(super) fn line(text: &str) -> String {
    let text = without_controls(text).split_whitespace().collect::<Vec<_>>().join(" ");
    escaped(&text)
}

/// A text in paragraphs and lists.
pub(super) fn paragraphs(text: &str) -> String {
    let text = without_controls(text);
    let mut said = String::new();
    // Of what stands in a list: further in, and it would be code.
    let mut deepest = 0;
    for line in text.trim().lines().map(str::trim_end) {
        let inner = line.trim_start();
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let (mark, rest) = item(inner);
        if mark.is_empty() {
            // It stands at the left: what was open is closed.
            deepest = 0;
        } else {
            let indent = indent.min(deepest);
            said.push_str(&" ".repeat(indent));
            said.push_str(mark);
            deepest = indent + mark.len();
        }
        said.push_str(&escaped(rest.trim_start()));
        said.push('\n');
    }
    said.trim_end().to_owned()
}

/// A lone carriage return ends a line in Markdown, and nothing else of these is seen.
fn without_controls(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A name as code.
pub(super) fn code(name: &str) -> String {
    let name = without_controls(name).split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() {
        return String::new();
    }
    let longest = name.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if name.starts_with('`') || name.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{name}{pad}{fence}")
}

/// A name of a file in an address.
pub(super) fn address(name: &str) -> String {
    let mut address = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            address.push(char::from(byte));
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address
}

/// Runs of backticks of equal length hold code; all else is shown as it is.
fn escaped(text: &str) -> String {
    let mut said = String::with_capacity(text.len() + 8);
    // Two runs side by side would be one.
    let add = |said: &mut String, piece: &str| {
        if said.ends_with('`') && piece.starts_with('`') {
            said.push(' ');
        }
        said.push_str(piece);
    };
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let run = ticks(&rest[at..]);
        let opens = said.is_empty();
        let Some(length) = closing(&rest[at + run..], run) else {
            add(&mut said, &words(&rest[..at + run], opens));
            rest = &rest[at + run..];
            continue;
        };
        add(&mut said, &words(&rest[..at], opens));
        let end = at + run + length + run;
        add(&mut said, &rest[at..end]);
        rest = &rest[end..];
    }
    let opens = said.is_empty();
    add(&mut said, &words(rest, opens));
    said
}

fn ticks(text: &str) -> usize {
    text.bytes().take_while(|byte| *byte == b'`').count()
}

/// How far it is to the next run of so many backticks.
fn closing(text: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = text[at..].find('`') {
        at += next;
        let found = ticks(&text[at..]);
        if found == run {
            return Some(at);
        }
        at += found;
    }
    None
}

/// Words outside of code. Addresses become code: many readers make links of them, escaped or not.
fn words(text: &str, opens: bool) -> String {
    let mut said = String::with_capacity(text.len() + 8);
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            said.push(' ');
        }
        if is_address(word) {
            said.push_str(&code(word));
        } else {
            said.push_str(&signs(word, opens && at == 0));
        }
    }
    said
}

fn is_address(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let has_scheme = ["://", "www.", "mailto:", "xmpp:"].iter().any(|sign| lower.contains(sign));
    has_scheme || lower.find('@').is_some_and(|at| at > 0 && lower[at..].contains('.'))
}

fn signs(word: &str, opens: bool) -> String {
    let mut said = String::with_capacity(word.len() + 4);
    // `1.` and `1)` begin a list.
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    for (at, c) in word.char_indices() {
        let is_number = opens && digits > 0 && at == digits && matches!(c, '.' | ')');
        if SIGNS.contains(&c) || is_number || opens && at == 0 && OPENERS.contains(&c) {
            said.push('\\');
        }
        said.push(c);
    }
    said
}

/// The mark of a list's item, and what follows.
fn item(line: &str) -> (&str, &str) {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let length = match line.as_bytes().get(digits..) {
        Some([b'-' | b'*', b' ', ..]) if digits == 0 => 2,
        Some([b'.' | b')', b' ', ..]) if (1..4).contains(&digits) => digits + 2,
        _ => 0,
    };
    line.split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_says_is_shown_and_does_nothing() {
        assert_eq!(line("a <script>alert(1)</script>\n\n# b"), "a \\<script\\>alert(1)\\</script\\> \\# b");
        assert_eq!(line("`Vec<T>` and *this* and [that]"), "`Vec<T>` and \\*this\\* and \\[that\\]");
        assert_eq!(line("an odd ` tick <b>"), "an odd \\` tick \\<b\\>");
        assert_eq!(line("``a`b`` ` <b>"), "``a`b`` \\` \\<b\\>");
        assert_eq!(line("see https://x.test/a_b now"), "see `https://x.test/a_b` now");
        assert_eq!(paragraphs("a\n===\nb\n---\n- - -\n-"), "a\n\\===\nb\n\\---\n- \\- -\n\\-");
    }

    /// What of it a reader makes more of than words, code and lists.
    fn alive(text: &str) -> Vec<String> {
        use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
        let is_plain = |event: &Event<'_>| {
            matches!(
                event,
                Event::Text(_)
                    | Event::Code(_)
                    | Event::SoftBreak
                    | Event::Start(Tag::Paragraph | Tag::List(_) | Tag::Item)
                    | Event::End(TagEnd::Paragraph | TagEnd::List(_) | TagEnd::Item)
            )
        };
        let events = Parser::new_ext(text, Options::all()).filter(|event| !is_plain(event));
        events.map(|event| format!("{event:?}")).collect()
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_a_model_says_comes_alive(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "b c", "`", "``", "```", "<b>", "</b>", "<!-- c -->", "\n", "\n\n", "\r", "===", "---", "- ", "* ",
                    "+ ", "1. ", "12) ", "    ", "  ", "\t", "#", "# ", "[x](y)", "[ref]: http://x", "![i](j)", "http://x.y",
                    "www.x.y", "a@b.c", "<http://x>", "|a|b|\n|-|-|", "~~~", "~~s~~", "\\", "&lt;", "> ", ": ", "$x$", "^a^",
                    "*", "_", "**", "[^1]", "- [ ] ", "\u{0}", "\u{b}", "{#id}",
                ]),
                0..14,
            )
        ) {
            let text = parts.concat();
            let (one, many) = (line(&text), paragraphs(&text));
            proptest::prop_assert_eq!(alive(&one), Vec::<String>::new(), "{:?} → {:?}", text, one);
            proptest::prop_assert_eq!(alive(&many), Vec::<String>::new(), "{:?} → {:?}", text, many);
        }
    }

    #[test]
    fn lists_and_paragraphs_stay() {
        assert_eq!(paragraphs("One.\n\n- a *b*\n  - c\n1. d\n# e\n"), "One.\n\n- a \\*b\\*\n  - c\n1. d\n\\# e");
        assert_eq!(paragraphs("    deep <b>"), "deep \\<b\\>");
    }

    #[test]
    fn names_are_code_whatever_is_in_them() {
        assert_eq!(code("a_b"), "`a_b`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`a"), "`` `a ``");
        assert_eq!(address("a b(1)#ä.rs"), "a%20b%281%29%23%C3%A4.rs");
    }
}
