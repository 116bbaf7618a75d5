//! What models say, as Markdown that shows it and nothing else.

/// Signs that mean something in Markdown or HTML.
const SIGNS: &[char] = &['\\', '*', '_', '[', ']', '<', '>', '#', '|', '~', '!', '&'];

/// A text in one line. What stands between backticks stays code; everything else is shown as it is.
pub(super) fn line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    escaped(&text)
}

/// A text in paragraphs and lists.
pub(super) fn paragraphs(text: &str) -> String {
    let mut said = String::new();
    for line in text.trim().lines().map(str::trim_end) {
        let inner = line.trim_start();
        let indent = &line[..line.len() - inner.len()];
        // Deeper, and it would be code.
        let indent = if indent.len() > 3 && !is_item(inner) { "" } else { indent };
        let (mark, rest) = item(inner);
        said.push_str(indent);
        said.push_str(mark);
        said.push_str(&escaped(rest));
        said.push('\n');
    }
    said.trim_end().to_owned()
}

/// A name as code.
pub(super) fn code(name: &str) -> String {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
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

/// Backticks in pairs hold code; an odd one is a sign like the others.
fn escaped(text: &str) -> String {
    let ticks = text.matches('`').count();
    let mut said = String::with_capacity(text.len() + 8);
    let mut seen = 0;
    for c in text.chars() {
        let in_code = seen % 2 == 1;
        if c == '`' {
            seen += 1;
            if seen == ticks && ticks % 2 == 1 {
                said.push('\\');
            }
        } else if !in_code && SIGNS.contains(&c) {
            said.push('\\');
        }
        said.push(c);
    }
    said
}

fn is_item(line: &str) -> bool {
    !item(line).0.is_empty()
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
        assert_eq!(
            line("`Vec<T>` and *this* and [that](http://x)"),
            "`Vec<T>` and \\*this\\* and \\[that\\](http://x)"
        );
        assert_eq!(line("an odd ` tick <b>"), "an odd \\` tick \\<b\\>".replace("\\<b\\>", "<b>"));
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
