//! Text to JSON value, and back from a path to its place in the text.
//!
//! Files are JSON with comments and trailing commas, because people put comments into configuration whatever the
//! extension says. Everything looser (single quotes, missing commas, bare words) is refused: other readers of the same
//! file would refuse it too. A key that is set twice is refused, because the first value would be lost in silence.
//!
//! No message repeats anything of the text: whatever stands there may be a key.

use std::collections::HashMap;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions};
use serde_json::{Map, Number, Value};

use super::section::{index, join};
use crate::error::Problem;

const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
};

/// Reads a text. A syntax error ends the reading; keys that are set twice are all reported.
pub(super) fn parse(text: &str) -> Result<Value, Vec<Problem>> {
    let text = without_mark(text);
    let problem = |message: String| vec![Problem { path: String::new(), message }];
    match jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &OPTIONS) {
        Ok(parsed) => match parsed.value {
            Some(root) => {
                let mut reading = Reading { text, problems: Vec::new() };
                let value = reading.value(&root, "");
                if reading.problems.is_empty() { Ok(value) } else { Err(reading.problems) }
            }
            None => Err(problem("the configuration is empty; expected an object with \"providers\"".to_owned())),
        },
        Err(error) => {
            let said = match error.kind() {
                // These kinds may carry a piece of the text.
                ParseErrorKind::String(_) => "invalid string".to_owned(),
                kind => kind.to_string().to_lowercase(),
            };
            let (line, column) = (error.line_display(), error.column_display());
            Err(problem(format!("not valid JSON: {said} (line {line}, column {column})")))
        }
    }
}

/// Adds to each problem where in the text its path stands, and puts the problems into the order of the text. A key that
/// is missing stands where its object begins.
pub(super) fn locate(text: &str, problems: &mut [Problem]) {
    let text = without_mark(text);
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &OPTIONS);
    let Some(root) = parsed.ok().and_then(|parsed| parsed.value) else { return };
    let mut places = HashMap::new();
    collect(&root, "", &mut places);
    let offset = |path: &str| {
        std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|end| &path[..end]))
            .find_map(|path| places.get(path).copied())
    };
    // What belongs to the document as a whole comes first.
    problems.sort_by_cached_key(|problem| offset(&problem.path));
    for problem in problems {
        if let Some(offset) = offset(&problem.path) {
            problem.message.push_str(&place(text, offset));
        }
    }
}

/// Editors on Windows put a byte order mark before the text.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

struct Reading<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    // The parser bounds the depth, so this recursion is bounded too.
    fn value(&mut self, node: &ast::Value<'_>, path: &str) -> Value {
        match node {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::StringLit(literal) => Value::String(literal.value.to_string()),
            ast::Value::NumberLit(literal) => match literal.value.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => {
                    self.problem(path, "this number cannot be represented", literal.range.start);
                    Value::Null
                }
            },
            ast::Value::Array(array) => {
                let items = array.elements.iter().enumerate();
                Value::Array(items.map(|(at, item)| self.value(item, &index(path, at))).collect())
            }
            ast::Value::Object(object) => {
                let mut map = Map::with_capacity(object.properties.len());
                for property in &object.properties {
                    let key = property.name.as_str();
                    let path = join(path, key);
                    let value = self.value(&property.value, &path);
                    if map.insert(key.to_owned(), value).is_some() {
                        self.problem(&path, "this key is set twice", property.name.range().start);
                    }
                }
                Value::Object(map)
            }
        }
    }

    fn problem(&mut self, path: &str, message: &str, offset: usize) {
        self.problems
            .push(Problem { path: path.to_owned(), message: format!("{message}{}", place(self.text, offset)) });
    }
}

/// Where each key, or each item of a list, begins.
fn collect(node: &ast::Value<'_>, path: &str, places: &mut HashMap<String, usize>) {
    match node {
        ast::Value::Object(object) => {
            for property in &object.properties {
                let path = join(path, property.name.as_str());
                collect(&property.value, &path, places);
                places.insert(path, property.name.range().start);
            }
        }
        ast::Value::Array(array) => {
            for (at, item) in array.elements.iter().enumerate() {
                let path = index(path, at);
                collect(item, &path, places);
                places.insert(path, item.range().start);
            }
        }
        _ => {}
    }
}

fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" (line {line}, column {column})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_read_over() {
        let text =
            "\u{FEFF}{ // one\n \"a\": [1, 2.5, -3e2,], /* two */ \"b\": { \"c\": null, \"ü\": \"\\u00fc // x\" }, }";
        assert_eq!(parse(text), Ok(json!({ "a": [1, 2.5, -300.0], "b": { "c": null, "ü": "ü // x" } })));
    }

    #[test]
    fn a_syntax_error_has_its_place_and_nothing_of_the_text() {
        for (text, place) in [
            ("{\n  \"api_key\": sk-secret\n}", "(line 2, column 14)"),
            ("{ \"a\": \"sk-secret", "(line 1, column 8)"),
            ("{ \"a\": \"\\q sk-secret\" }", "(line 1, "),
            ("{ 'a': 1 }", "(line 1, column 3)"),
            ("{ \"a\": 1 \"b\": 2 }", "(line 1, "),
            ("{ \"a\": 0x10 }", "(line 1, "),
            ("{ a: 1 }", "(line 1, column 3)"),
            ("{} {}", "(line 1, column 4)"),
            ("{ \"a\": 1", "(line 1, column 1)"),
        ] {
            let problems = parse(text).expect_err(text);
            let [Problem { path, message }] = problems.as_slice() else { panic!("{problems:?}") };
            assert!(path.is_empty() && message.contains(place) && !message.contains("secret"), "{text}: {message}");
        }
    }

    #[test]
    fn nothing_but_comments_is_empty() {
        for text in ["", "  \n", "// only this"] {
            assert!(parse(text).expect_err("empty")[0].message.contains("empty"), "{text:?}");
        }
    }

    #[test]
    fn every_key_that_is_set_twice_is_named() {
        let text = "{ \"a\": 1, \"a\": 2,\n  \"l\": [{ \"b\": 1 }, { \"b\": 1, \"b\": \"sk-secret\" }] }";
        let problems = parse(text).expect_err("twice");
        assert_eq!(problems[0].to_string(), "a: this key is set twice (line 1, column 11)");
        assert_eq!(problems[1].to_string(), "l[1].b: this key is set twice (line 2, column 31)");
    }

    #[test]
    fn a_number_beyond_representation_is_refused() {
        assert_eq!(parse("{ \"a\": 1e999 }").expect_err("too large")[0].path, "a");
    }

    #[test]
    fn depth_is_bounded() {
        let text = "[".repeat(100_000);
        assert!(parse(&text).expect_err("deep")[0].message.contains("depth"));
    }

    #[test]
    fn a_path_is_found_in_the_text() {
        let text = "{\n  // ü\n  \"ü\": 1, \"l\": [\n    { \"odd key\": 1 } ] }";
        let problem = |path: &str| Problem { path: path.to_owned(), message: String::new() };
        let mut problems = [&join("l[0]", "odd key"), "l[0]", "l[0].gone.too", "ü", "gone", ""].map(problem);
        locate(text, &mut problems);
        assert_eq!(
            problems.map(|problem| problem.to_string()),
            [
                "gone: ",
                "",
                "ü:  (line 3, column 3)",
                "l[0]:  (line 4, column 5)",
                "l[0].gone.too:  (line 4, column 5)",
                "l[0][\"odd key\"]:  (line 4, column 7)",
            ]
        );
    }
}
