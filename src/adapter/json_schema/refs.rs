//! Where the references inside a schema go.

use serde_json::Value;

/// References that are followed one after another: a schema can send one round in a circle.
pub(super) const MOST_HOPS: usize = 16;

/// The schema that a reference goes to, inside of the same document.
pub(super) fn resolved<'s>(root: &'s Value, to: &str) -> Option<&'s Value> {
    let pointer = to.strip_prefix('#')?;
    if pointer.is_empty() { Some(root) } else { root.pointer(pointer) }
}

/// Whether a schema goes into itself.
pub(super) fn is_recursive(root: &Value) -> bool {
    let mut seen = Vec::new();
    enters("#", root, &mut Vec::new(), &mut seen)
}

/// Follows the references in what `to` goes to. `path` is how it was come to, `seen` what was gone through to its end.
fn enters(to: &str, root: &Value, path: &mut Vec<String>, seen: &mut Vec<String>) -> bool {
    if path.iter().any(|before| before == to) {
        return true;
    }
    let Some(schema) = resolved(root, to).filter(|_| !seen.iter().any(|before| before == to)) else { return false };
    let mut targets = Vec::new();
    references(schema, &mut targets);
    path.push(to.to_owned());
    let recursive = targets.iter().any(|target| enters(target, root, path, seen));
    path.pop();
    seen.push(to.to_owned());
    recursive
}

/// Every reference in a schema, but for those in what it only defines.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(keys) => {
            for (key, value) in keys {
                match (key.as_str(), value) {
                    ("$ref", Value::String(to)) => found.push(to.clone()),
                    // Their keys are names: one that is called as a keyword is none.
                    ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                        named.values().for_each(|schema| references(schema, found));
                    }
                    ("$defs" | "definitions" | "enum" | "const" | "default" | "examples", _) => {}
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
