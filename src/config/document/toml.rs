//! TOML. It has no `null`: "no limit" for a limit that has a default is written as a number large enough.

use serde_json::Number;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Kind, Node, SyntaxError};

pub(super) fn tree(text: &str) -> Result<Option<Node>, SyntaxError> {
    let root = DeTable::parse(text).map_err(|error| SyntaxError {
        message: error.message().to_owned(),
        at: error.span().map_or(0, |span| span.start),
    })?;
    let root = root.into_inner();
    Ok((!root.is_empty()).then(|| Node { at: 0, kind: map(&root) }))
}

// The parser bounds the depth.
fn map(table: &DeTable<'_>) -> Kind {
    let mut entries: Vec<(String, Node)> =
        table.iter().map(|(key, value)| (key.get_ref().to_string(), node(key.span().start, value))).collect();
    // The parser hands them over by name; problems are told in the order of the text.
    entries.sort_by_key(|(_, node)| node.at);
    Kind::Map(entries)
}

fn node(at: usize, value: &Spanned<DeValue<'_>>) -> Node {
    const UNUSABLE: &str = "this number cannot be represented";
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Kind::Number(number.into()),
            Err(_) => Kind::Unusable(UNUSABLE),
        },
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Kind::Number(number),
            None => Kind::Unusable(UNUSABLE),
        },
        DeValue::Datetime(_) => Kind::Unusable("no setting is a date; a text that looks like one needs quotes"),
        DeValue::Array(items) => Kind::List(items.iter().map(|item| node(item.span().start, item)).collect()),
        DeValue::Table(table) => map(table),
    };
    Node { at, kind }
}
