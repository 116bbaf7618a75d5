//! JSON with comments and trailing commas. Everything looser (single quotes, missing commas, bare words) is refused:
//! other readers of the same file would refuse it too.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions};
use serde_json::Number;

use super::{Kind, Node, SyntaxError};

const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
};

pub(super) fn tree(text: &str) -> Result<Option<Node>, SyntaxError> {
    match jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &OPTIONS) {
        Ok(parsed) => Ok(parsed.value.map(|root| node(root.range().start, &root))),
        Err(error) => {
            let message = match error.kind() {
                // These kinds may carry a piece of the text.
                ParseErrorKind::String(_) => "invalid string".to_owned(),
                kind => kind.to_string().to_lowercase(),
            };
            Err(SyntaxError { message, at: error.range().start })
        }
    }
}

// The parser bounds the depth.
fn node(at: usize, value: &ast::Value<'_>) -> Node {
    let kind = match value {
        ast::Value::NullKeyword(_) => Kind::Null,
        ast::Value::BooleanLit(literal) => Kind::Bool(literal.value),
        ast::Value::StringLit(literal) => Kind::Text(literal.value.to_string()),
        ast::Value::NumberLit(literal) => match literal.value.parse::<Number>() {
            Ok(number) => Kind::Number(number),
            Err(_) => Kind::Unusable("this number cannot be represented"),
        },
        ast::Value::Array(array) => {
            Kind::List(array.elements.iter().map(|item| node(item.range().start, item)).collect())
        }
        ast::Value::Object(object) => Kind::Map(
            object
                .properties
                .iter()
                .map(|property| {
                    let key = property.name.as_str().to_owned();
                    (key, node(property.name.range().start, &property.value))
                })
                .collect(),
        ),
    };
    Node { at, kind }
}
