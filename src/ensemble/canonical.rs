//! When two answers say the same.
//!
//! Calls of tools and JSON are compared by what they mean: order of keys, spaces and how a number is written do not
//! count. Texts are equal without case, spaces, emphasis and the punctuation around them, save a sign that touches a
//! digit: .5 is not 5, 6' is not 6" and 5! is not 5. Which others are as good as equal is decided in `similar`.

use serde_json::Value;

use super::similar::are_similar;
use crate::types::{Reply, ToolCall};

/// An answer without what does not count.
#[derive(Debug, Clone, PartialEq)]
pub enum Canonical {
    Calls(Vec<(String, Value)>),
    Json(Value),
    Text(String),
}

impl Canonical {
    pub fn of(reply: &Reply) -> Self {
        if !reply.tool_calls.is_empty() {
            return Self::Calls(calls(&reply.tool_calls));
        }
        let text = without_fence(reply.content.trim());
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::Json(normal(value)),
            _ => Self::Text(plain(text)),
        }
    }

    /// Does it say the same as another one? `similarity`: the share of pairs of letters that two texts must have in
    /// common beside everything else, from 0 to 1; 1 = only equal texts.
    pub fn says(&self, other: &Self, similarity: f64) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one == other || are_similar(one, other, similarity),
            (one, other) => one == other,
        }
    }
}

/// The order in which a model asks for several calls at once means nothing.
fn calls(calls: &[ToolCall]) -> Vec<(String, Value)> {
    let mut calls: Vec<_> = calls
        .iter()
        .map(|call| {
            let arguments = &call.function.arguments;
            let read = serde_json::from_str(arguments).map_or_else(|_| Value::from(arguments.trim()), normal);
            (call.function.name.clone(), read)
        })
        .collect();
    calls.sort_by_cached_key(|(name, arguments)| (name.clone(), arguments.to_string()));
    calls
}

/// A number is what it is worth: 1, 1.0 and 1e0 are one.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            // Beyond this, whole numbers are no longer exact as floats.
            Some(float) if float.abs() < 9_007_199_254_740_992.0 => Value::from(float),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, normal(value))).collect()),
        other => other,
    }
}

/// What stands in a fenced block, when that is all there is.
fn without_fence(text: &str) -> &str {
    let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let Some(inside) = inside.filter(|inside| !inside.contains("```")) else { return text };
    // The first line may name the language.
    match inside.split_once('\n') {
        Some((first, rest)) if first.trim().chars().all(char::is_alphanumeric) => rest.trim(),
        _ => inside.trim(),
    }
}

/// Lower case, one space between words, no emphasis, and nothing around it but words.
fn plain(text: &str) -> String {
    // Emphasis has two ends: a sign that is there an odd number of times may be a sign of a number, as in 5*.
    let is_odd = |sign: char| text.chars().filter(|letter| *letter == sign).count() % 2 == 1;
    let (odd_stars, odd_ticks) = (is_odd('*'), is_odd('`'));
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        let mut before = None;
        let mut letters = word.chars().peekable();
        while let Some(letter) = letters.next() {
            let beside = [before, letters.peek().copied()];
            // Between letters it is no emphasis, 2*3 is not 23; nor is it alone: 2 * 3.
            let is_inside = beside.iter().all(|letter| letter.is_some_and(char::is_alphanumeric));
            let is_alone = beside.iter().all(Option::is_none);
            let is_odd = if letter == '*' { odd_stars } else { odd_ticks };
            let is_of_a_number = is_odd && beside.iter().flatten().any(|letter| letter.is_numeric());
            if !matches!(letter, '*' | '`') || is_inside || is_alone || is_of_a_number {
                plain.extend(letter.to_lowercase());
            }
            before = Some(letter);
        }
    }
    let bare = bare(&plain);
    // An answer that is nothing but such signs is what it is.
    if bare.is_empty() { plain } else { bare.to_owned() }
}

/// Quotation marks that belong together.
const QUOTES: [(char, char); 7] =
    [('"', '"'), ('\'', '\''), ('“', '”'), ('„', '“'), ('„', '”'), ('‘', '’'), ('‚', '‘')];

/// A text without the punctuation around it. A sign that touches a digit stays, as it may be part of the number: only a
/// pair of quotation marks around all of it and a full stop at the end never are.
fn bare(text: &str) -> &str {
    let is_around = |letter: char| matches!(letter, '.' | '!' | '?' | '"' | '\'' | '“' | '”' | '„' | '‘' | '’' | ' ');
    let mut bare = text;
    while let Some(inside) = unquoted(bare) {
        bare = inside;
    }
    let begun = bare.trim_start_matches(is_around);
    if !begun.starts_with(char::is_numeric) {
        bare = begun;
    }
    let ended = bare.trim_end_matches(is_around);
    if !ended.ends_with(char::is_numeric) || &bare[ended.len()..] == "." {
        bare = ended;
    }
    bare
}

/// What is between a pair of quotation marks that stands around all of it, with or without a full stop behind them.
fn unquoted(text: &str) -> Option<&str> {
    let quoted = |text: &'_ str| {
        QUOTES.iter().find_map(|(open, close)| {
            let inside = text.strip_prefix(*open)?.strip_suffix(*close)?;
            (!inside.is_empty() && !inside.contains([*open, *close]))
                .then_some(open.len_utf8()..text.len() - close.len_utf8())
        })
    };
    let whole = text.strip_suffix('.').unwrap_or(text);
    quoted(text).or_else(|| quoted(whole)).map(|inside| &text[inside])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Canonical {
        Canonical::of(&Reply { content: content.to_owned(), ..Reply::default() })
    }

    fn call(calls: &[(&str, &str)]) -> Canonical {
        let tool_calls = calls.iter().map(|(name, arguments)| ToolCall::function("id", *name, *arguments)).collect();
        Canonical::of(&Reply { tool_calls, ..Reply::default() })
    }

    #[test]
    fn case_spaces_emphasis_and_punctuation_around_a_text_do_not_count() {
        for other in [
            "Paris",
            " paris\n",
            "PARIS.",
            "**Paris**",
            "\"Paris\"",
            "`Paris`!",
            "```\nParis\n```",
            "```text\nParis\n```",
        ] {
            assert!(text("Paris").says(&text(other), 1.0), "{other}");
        }
        for other in ["Paris, France", "Rome", "", "par is"] {
            assert!(!text("Paris").says(&text(other), 1.0), "{other}");
        }
        assert!(!text("2*3").says(&text("23"), 1.0), "between letters it is no emphasis");
        assert!(!text("?").says(&text("!"), 1.0), "signs alone are an answer");
    }

    #[test]
    fn a_sign_that_touches_a_digit_is_part_of_the_number() {
        let different = [
            [".5", "5"],
            ["6'", "6\""],
            ["6'", "6"],
            ["6''", "6'"],
            ["5!", "5"],
            ["5!!", "5!"],
            ["5*", "5"],
            ["2 * 3", "2 3"],
            ["it is .5", "it is 5"],
            ["it is 5'", "it is 5\"."],
            ["'90s", "90s"],
            ["3.14...", "3.14"],
        ];
        for [one, other] in different {
            assert!(!text(one).says(&text(other), 1.0), "{one} / {other}");
        }
        for other in ["5.", "\"5\"", "“5.”", "\"5\".", "**5**", "`5`.", "'5'", " 5\n"] {
            assert!(text("5").says(&text(other), 1.0), "{other}");
        }
        assert!(text("It is 42").says(&text("\"It is **42**.\""), 1.0));
        assert!(text(".5").says(&text("\".5\"."), 1.0));
    }

    #[test]
    fn json_is_compared_by_what_it_means() {
        let one = text(r#"{ "a": 1, "b": ["x", 2.50], "c": null }"#);
        for other in
            [r#"{"c":null,"b":["x",2.5],"a":1.0}"#, "```json\n{ \"b\": [\"x\", 25e-1], \"a\": 1e0, \"c\": null }\n```"]
        {
            assert!(one.says(&text(other), 0.0), "{other}");
        }
        for other in [
            r#"{ "a": 1, "b": [2.5, "x"], "c": null }"#,
            r#"{ "a": "1", "b": ["x", 2.5], "c": null }"#,
            r#"{ "a": 1, "b": ["x", 2.5] }"#,
            "a 1 b x 2.5 c null",
        ] {
            assert!(!one.says(&text(other), 0.0), "{other}");
        }
        assert!(!text("[9007199254740993]").says(&text("[9007199254740992]"), 0.0), "large numbers are exact");
        assert!(matches!(text("5"), Canonical::Text(_)), "a bare number is a text like any other");
    }

    #[test]
    fn calls_of_tools_are_compared_by_name_and_arguments_in_any_order() {
        let one = call(&[("f", r#"{"a":1,"b":2}"#), ("g", "{}")]);
        assert!(one.says(&call(&[("g", " {} "), ("f", r#"{ "b": 2, "a": 1.0 }"#)]), 1.0));
        for other in [call(&[("f", r#"{"a":1,"b":2}"#)]), call(&[("f", r#"{"a":1,"b":3}"#), ("g", "{}")]), text("f g")]
        {
            assert!(!one.says(&other, 0.0));
        }
        assert!(call(&[("f", "not json")]).says(&call(&[("f", " not json ")]), 1.0));
    }
}
