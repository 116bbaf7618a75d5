//! Changes recorded bodies in ways that must not matter: the order of keys, fields nobody knows, line ends, comments,
//! and which names and ids were chosen.

use fastrand::Rng;
use serde_json::Value;

/// Objects that are the model's own words: nothing is added to them.
const WORDS: &[&str] = &["input", "args", "arguments", "parameters"];
/// The tool of every recorded call.
const TOOL: &str = "get_weather";

/// The body changed, and what is expected of it changed with it.
pub fn mutated(kind: &str, body: &[u8], expect: &Value, seed: u64) -> (Vec<u8>, Value) {
    let mut rng = Rng::with_seed(seed);
    let tool = format!("t{}", word(&mut rng));
    let expect = expect.to_string().replace(TOOL, &tool);
    let expect = serde_json::from_str(&expect).expect("JSON as before");
    let Ok(text) = std::str::from_utf8(body) else { return (body.to_vec(), expect) };
    let text = text.replace(TOOL, &tool);
    let mut ids = Vec::new();
    let mut lines = Vec::new();
    match kind {
        "sse" => {
            for line in text.lines() {
                let payload = line.strip_prefix("data:").and_then(|payload| serde_json::from_str(payload).ok());
                lines.push(match payload {
                    Some(payload) => format!("data:{}", json(&payload, &mut rng, &mut ids)),
                    None => line.to_owned(),
                });
                if line.is_empty() {
                    lines.push(": a comment".to_owned());
                    lines.push("retry: 7".to_owned());
                }
            }
            (format!("{}\r\n", lines.join("\r\n")).into_bytes(), expect)
        }
        "ndjson" => {
            let changed = |line: &str| serde_json::from_str(line).map(|value| json(&value, &mut rng, &mut ids));
            lines.extend(text.lines().map(changed).map(|line| line.expect("every line is JSON")));
            (format!("{}\r\n", lines.join("\r\n")).into_bytes(), expect)
        }
        _ => match serde_json::from_str(&text) {
            Ok(value) => (format!("\r\n{}\r\n", json(&value, &mut rng, &mut ids)).into_bytes(), expect),
            Err(_) => (text.into_bytes(), expect),
        },
    }
}

/// The value with its keys in another order, an unknown field in every object, and other ids.
fn json(value: &Value, rng: &mut Rng, ids: &mut Vec<(String, String)>) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json(item, rng, ids)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(object) => {
            let mut fields: Vec<String> = Vec::new();
            for (key, value) in object {
                let value = match value {
                    Value::String(id) if key == "id" && !id.is_empty() => {
                        Value::from(other_id(id, rng, ids)).to_string()
                    }
                    value if WORDS.contains(&key.as_str()) => value.to_string(),
                    value => json(value, rng, ids),
                };
                fields.push(format!("{}:{value}", Value::from(key.as_str())));
            }
            let name = word(rng);
            fields.push(format!(r#""x_{name}":{{"deep":[null,1.5,"{name}",{{"error":null}}]}}"#));
            rng.shuffle(&mut fields);
            format!("{{ {} }}", fields.join(" ,\t"))
        }
        plain => plain.to_string(),
    }
}

/// The same id becomes the same other one, so that pieces still find each other.
fn other_id(id: &str, rng: &mut Rng, ids: &mut Vec<(String, String)>) -> String {
    if let Some((_, other)) = ids.iter().find(|(known, _)| known == id) {
        return other.clone();
    }
    let other = word(rng);
    ids.push((id.to_owned(), other.clone()));
    other
}

fn word(rng: &mut Rng) -> String {
    std::iter::repeat_with(|| rng.alphanumeric()).take(9).collect()
}
