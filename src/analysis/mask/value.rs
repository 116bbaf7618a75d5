//! What a value looks like: drawn at random, code, a label, or something that only stands for a secret.

use std::sync::LazyLock;

use regex::Regex;

/// Bits per character from which a text is taken to be drawn at random. Names and words of code have 3 to 3.7; base64 of
/// 24 random characters has 4.2.
const RANDOM_BITS: f64 = 4.0;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// In quotes, right after the sign.
    String,
    /// In quotes, somewhere in an expression.
    Argument,
    /// Without quotes; a statement is code for sure.
    Bare { is_statement: bool },
}

/// The whole of a value that is a reference to another, or shows where one belongs.
static REFERENCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:\$\{[^}:]*\}|\$\([^)]*\)|\$[A-Z_][A-Z0-9_]*|\$\w*(?i:pass|pwd|token|secret|key)\w*|\$[0-9]|%[A-Z_][A-Z0-9_]*%",
        r"|%\(\w+\)s|%[a-z]|\{\{.*\}\}|\{\w*\}|#\{.*\}|<[^<>]*>|!(?:Ref|Sub|GetAtt|secret|vault)\b.*|@\w+@",
        r"|\[masked.*|(?:process\.env|import\.meta\.env|os\.environ|env|ENV|var|secrets|vault|config)[.:\[].*|file:.*",
        r"|sha(?:1|256|384|512)[-:].*)$",
    ))
    .ok()
});

/// A call, a path of names, a generic type.
static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:(?:new|await|async|typeof|not|return|move|mut|dyn|impl|ref)\s+|[&*!])*[A-Za-z_]\w*!?",
        r"(?:(?:\.|::|\?\.|->)(?:\w+|<)|\([^()]*(?:\([^()]*\)[^()]*)*\)?|\[[^\]]*\]|<.*>?|\?)+(?:\s*[-+|&=?<>{].*|\s+(?:as|or|if|and|in|is)\s.*)?$",
    ))
    .ok()
});

/// A reference to a secret, or an example of one.
pub(super) fn stands_for_one(value: &str) -> bool {
    let value = value.trim();
    if REFERENCE.as_ref().is_some_and(|pattern| pattern.is_match(value)) {
        return true;
    }
    let lower = value.to_ascii_lowercase();
    // Nothing that was meant to be read: `sk-...`, `********`.
    if value.chars().filter(|c| !matches!(c, '*' | '.' | '…' | 'x' | 'X' | '-' | '_')).count() <= 3 && value.len() > 3
    {
        return true;
    }
    let words = ["your", "example", "placeholder", "changeme", "change-me", "change_me", "redacted"];
    !value.bytes().any(|byte| byte.is_ascii_digit()) && words.iter().any(|word| lower.contains(word))
}

/// Words for people, or the name of something.
pub(super) fn is_label(value: &str, shape: Shape) -> bool {
    let lower = value.to_ascii_lowercase();
    let is_about = ["password", "passwd", "passphrase", "token", "secret", "key", "credential"]
        .iter()
        .any(|word| lower.contains(word));
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let spaced = value.contains(char::is_whitespace);
    let speaks =
        ["enter", "must", "please", "invalid", "required", "missing", "cannot", "failed", " the ", " is ", " a "];
    match shape {
        _ if spaced && !has_digit => is_about || speaks.iter().any(|word| lower.contains(word)),
        Shape::Argument => {
            is_about && !has_digit
                || value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                || value.bytes().all(|byte| !byte.is_ascii_alphanumeric())
        }
        _ => value.bytes().all(|byte| !byte.is_ascii_alphanumeric()) && value.len() < 6,
    }
}

/// Not a value but what makes one.
pub(super) fn is_code(value: &str, shape: Shape) -> bool {
    const WORDS: &[&str] = &[
        "string",
        "str",
        "boolean",
        "bool",
        "any",
        "number",
        "int",
        "integer",
        "bytes",
        "null",
        "none",
        "nil",
        "undefined",
        "true",
        "false",
        "char",
        "unknown",
        "never",
        "object",
        "buffer",
        "optional",
        "void",
        "text",
        "varchar",
        "self",
        "this",
        "default",
        "required",
        "uuid",
        "float",
        "symbol",
        "record",
        "map",
        "array",
        "list",
        "vec",
        "function",
        "yes",
        "no",
    ];
    let Shape::Bare { is_statement } = shape else { return false };
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$');
    if value.is_empty() || WORDS.contains(&lower.trim_end_matches(['?', ';', ',', '(', '|'])) {
        return true;
    }
    // `&str`, `{`, `(a, b) => …`, `=> …`, `[`, `| string`
    if value.starts_with(['{', '(', '[', '|', '=', '"', '\'', '`', '?']) || value.starts_with("&") && !has_digit {
        return true;
    }
    let is_path = EXPRESSION.as_ref().is_some_and(|pattern| pattern.is_match(value));
    if is_path && (value.contains(['(', '<', '[']) || value.contains("::") || value.contains("->") || !has_digit) {
        return true;
    }
    if is_name && !has_digit {
        let is_about =
            ["pass", "pwd", "token", "secret", "key", "cred", "auth"].iter().any(|word| lower.contains(word));
        return is_statement && !looks_drawn(value)
            || is_about && !value.bytes().all(|byte| byte.is_ascii_alphabetic())
            || is_about && lower.len() < 16;
    }
    let operators = [" + ", " || ", " && ", " ?? ", " == ", " = ", " => ", " or ", " if ", " | ", " as ", " ? ", "…"];
    let spaced = value.contains(char::is_whitespace);
    spaced && (is_statement || operators.iter().any(|sign| value.contains(sign)) || is_label(value, shape))
}

/// Hexadecimal digits, letters mixed with digits, or drawn at random: what no word looks like.
pub(super) fn looks_drawn(value: &str) -> bool {
    let is_token = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.'));
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let changes = changes(value);
    let is_mixed = digits >= 2 && changes * 3 >= value.len() || changes * 2 >= value.len();
    is_token && value.len() >= 12 && letters >= 4 && is_mixed || is_hex_key(value)
}

/// 128 bits and more.
pub(super) fn is_hex_key(value: &str) -> bool {
    value.len() >= 32
        && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Drawn at random, by its characters: both cases and digits in it, and no character much more often than the others.
pub(super) fn looks_random(value: &str) -> bool {
    let is_token =
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-'));
    let has = |kind: fn(&u8) -> bool| value.bytes().any(|byte| kind(&byte));
    value.len() >= 24
        && is_token
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && value.bytes().filter(u8::is_ascii_digit).count() >= 2
        && bits_per_character(value) >= RANDOM_BITS
}

/// How often a letter follows a digit, a capital a small letter, and so on.
pub(super) fn changes(value: &str) -> usize {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    value.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count()
}

/// Shannon's entropy.
fn bits_per_character(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}
