//! The JSON Schema of a configuration, for editors and other tools, made of the keys the pool reads.
//!
//! It says what shape a value has; what only the pool can know (whether a variable is set, whether two keys fit
//! together, whether a name is taken) it leaves to the pool. Draft 7, because that is what editors speak.

use serde_json::{Map, Value, json};

use super::budget;
use super::callers::JwtAlg;
use super::check::CONTENT_FILTER;
use super::provider::{NEEDED, UNSUPPORTED_PARAMS};
use super::raw::RawConfig;
use super::section::{Read as _, join};
use super::shape::{Key, Shape};
use crate::adapter::{Capability, services};
use crate::error::FailureClass;
use crate::policy::Behaviour;
use crate::types::Strategy;

/// Where the package keeps it; names no host, because none answers for it.
const ID: &str = "llmpool/schema.json";

/// The schema that ships as `schema/config.schema.json`.
///
/// ```
/// let schema = llmpool::config::json_schema();
/// assert_eq!(schema["properties"]["providers"]["items"]["properties"]["name"]["type"], "string");
/// ```
pub fn json_schema() -> Value {
    let mut schema = shape(RawConfig::shape(), "", true);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        map.insert("$id".to_owned(), json!(ID));
        map.insert("title".to_owned(), json!("Configuration of llmpool"));
    }
    schema
}

/// Texts of which only some words are taken, by the path of their key.
pub(super) fn words(path: &str) -> Option<Vec<&'static str>> {
    match path {
        "providers[].type" | "failures[].type" => Some(services().iter().map(|service| service.name).collect()),
        "providers[].unsupported_params" => Some(UNSUPPORTED_PARAMS.to_vec()),
        "providers[].capabilities[]" | "providers[].models.*.capabilities[]" => {
            Some(Capability::ALL.map(Capability::name).to_vec())
        }
        "failures[].class" => Some(FailureClass::ALL.map(FailureClass::as_str).to_vec()),
        "routing.behaviour" => Some(Behaviour::ALL.map(Behaviour::as_str).to_vec()),
        "budget.mode" | "providers[].budget.mode" | "tenants[].budget.mode" => Some(budget::MODES.to_vec()),
        "budget.on_unknown_price" | "providers[].budget.on_unknown_price" | "tenants[].budget.on_unknown_price" => {
            Some(budget::ON_UNKNOWN_PRICE.to_vec())
        }
        "ensemble.default_strategy" | "tasks.*.strategy" => Some(Strategy::ALL.map(Strategy::as_str).to_vec()),
        "server.jwt.alg" => Some(JwtAlg::ALL.map(JwtAlg::as_str).to_vec()),
        "routing.on_content_filter" => Some(CONTENT_FILTER.to_vec()),
        _ => None,
    }
}

/// Keys that a section cannot do without.
pub(super) fn needed(path: &str) -> &'static [&'static str] {
    match path {
        "" => &["providers"],
        "providers[]" => NEEDED,
        "providers[].models.*" => &["model"],
        "failures[]" => &["class"],
        "server.jwt" => &["alg"],
        "server.hmac" => &["clients"],
        "server.hmac.clients[]" => &["id", "secret"],
        "server.tls" => &["cert", "key"],
        "tenants[]" => &["id"],
        _ => &[],
    }
}

/// Lists that must hold something.
const NOT_EMPTY: &[&str] =
    &["providers[]", "providers[].api_keys[]", "server.hmac.clients[]", "tenants[].tasks[]", "tenants[].models[]"];

/// The path of a key below the section at `path`.
pub(super) fn below(path: &str, key: &Key) -> String {
    let path = join(path, key.name);
    match (key.shape)() {
        Shape::List(_) => format!("{path}[]"),
        Shape::Dict(_) => format!("{path}.*"),
        _ => path,
    }
}

/// `needed`: `null` is not the same as leaving it out.
fn shape(shape: Shape, path: &str, needed: bool) -> Value {
    let typed = |name: &str| if needed { json!(name) } else { json!([name, "null"]) };
    match shape {
        Shape::Bool => json!({ "type": typed("boolean") }),
        Shape::Number => json!({ "type": typed("number"), "minimum": 0 }),
        Shape::Whole { most: u64::MAX } => json!({ "type": typed("integer"), "minimum": 0 }),
        Shape::Whole { most } => json!({ "type": typed("integer"), "minimum": 0, "maximum": most }),
        Shape::WholeOr { word } => json!({ "anyOf": [
            { "type": typed("integer"), "minimum": 0 },
            { "type": "string", "if": { "not": { "pattern": "\\$\\{" } }, "then": { "enum": [word] } },
        ] }),
        Shape::Text => match words(path) {
            // A word may come from a variable, too.
            Some(words) => json!({ "type": typed("string"), "if": { "type": "string", "not": { "pattern": "\\$\\{" } },
                "then": { "enum": words } }),
            None => json!({ "type": typed("string"), "pattern": "\\S" }),
        },
        Shape::Hidden => json!({ "type": typed("string") }),
        Shape::List(item) => {
            let least = u8::from(NOT_EMPTY.contains(&path));
            json!({ "type": typed("array"), "items": self::shape(item(), path, true), "minItems": least })
        }
        Shape::Dict(item) => {
            json!({ "type": typed("object"), "additionalProperties": self::shape(item(), path, true) })
        }
        Shape::Section(section) => {
            let required = self::needed(path);
            let properties = section.keys.iter().map(|key| {
                let mut schema = self::shape((key.shape)(), &below(path, key), required.contains(&key.name));
                let about = schema["description"].as_str().map(|about| format!(" {about}")).unwrap_or_default();
                schema["description"] = json!(says(key) + &about);
                (key.name.to_owned(), schema)
            });
            let properties: Map<String, Value> = properties.collect();
            let mut schema =
                json!({ "type": typed("object"), "properties": properties, "additionalProperties": false });
            if !section.about.is_empty() {
                schema["description"] = json!(one_line(section.about));
            }
            if !required.is_empty() {
                schema["required"] = json!(required);
            }
            schema
        }
        Shape::Either(plain, parts) => {
            json!({ "anyOf": [self::shape(plain(), path, needed), self::shape(parts(), path, true)] })
        }
        Shape::Object => json!({ "type": typed("object") }),
    }
}

/// The comment of a key on one line.
pub(super) fn says(key: &Key) -> String {
    one_line(key.says)
}

fn one_line(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::LazyLock;

    use super::super::{Config, Document, Environment, Format, Settings, Source};
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
    fn the_schema_that_ships_is_the_one_of_the_code() {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "schema", "config.schema.json"].iter().collect();
        let mut fresh = json_schema();
        fresh.sort_all_objects(); // so that a key that is added changes its own lines alone
        let fresh = serde_json::to_string_pretty(&fresh).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &fresh).expect("schema/config.schema.json");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == fresh, "schema/config.schema.json is stale; UPDATE_DOCS=1 cargo test schema writes it");
    }

    fn takes(value: &Value) -> bool {
        // Compiled once: thousands of configurations are held against it.
        static COMPILED: LazyLock<jsonschema::Validator> =
            LazyLock::new(|| jsonschema::draft7::new(&json_schema()).expect("a schema"));
        COMPILED.is_valid(value)
    }

    /// What the pool says of the form of a value: what only it can know is left out.
    fn form_is_good(value: &Value) -> bool {
        let settings = Settings::new(Source::Inline(Value::Null));
        let said = match Config::load_value(value, &Environment::from_map::<String, String>([]), &settings) {
            Ok(_) => return true,
            Err(error) => error.to_string(),
        };
        const FORMS: &[&str] = &[
            "expected a string, ",
            "expected a number, ",
            "expected a whole number",
            "expected a list, ",
            "expected an object, ",
            "expected a string or ",
            "expected at least one ",
            "expected one of ",
            "expected true or false, ",
            "expected \"",
            "unknown ",
            "is missing; expected a ",
        ];
        !FORMS.iter().any(|form| said.contains(form))
    }

    #[test]
    fn schema_and_pool_agree_on_every_key() {
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(5),
            json!(-1),
            json!(0.5),
            json!(1e20),
            json!(""),
            json!("x"),
            json!("failover"),
            json!("ollama"),
            json!([]),
            json!(["x"]),
            json!([5]),
            json!([null]),
            json!({}),
            json!({ "x": "y" }),
            json!({ "x": 5 }),
            json!({ "x": null }),
        ];
        let base = json!({ "providers": [{ "name": "a", "model": "m", "type": "ollama" }], "routing": {}, "qos": {},
            "failures": [{ "status": 418, "message": "m", "class": "auth" }] });
        let keys = walk(&json_schema(), "");
        assert!(keys.len() > 50, "{keys:?}");
        for (pointer, key) in keys {
            for value in &values {
                let mut config = base.clone();
                let Some(section) = config.pointer_mut(&pointer).and_then(Value::as_object_mut) else { continue };
                section.insert(key.clone(), value.clone());
                assert_eq!(takes(&config), form_is_good(&config), "{pointer}/{key}: {value}");
            }
        }
    }

    /// Where each key stands in a configuration: the pointer of its section, and its name.
    fn walk(schema: &Value, pointer: &str) -> Vec<(String, String)> {
        let mut keys = Vec::new();
        for (name, key) in schema["properties"].as_object().into_iter().flatten() {
            keys.push((pointer.to_owned(), name.clone()));
            keys.extend(walk(key, &format!("{pointer}/{name}")));
            keys.extend(walk(&key["items"], &format!("{pointer}/{name}/0")));
        }
        keys
    }

    #[test]
    fn the_examples_load_and_are_of_the_schema() {
        let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples"].iter().collect();
        let environment = Environment::from_map([
            ("OPENAI_API_KEY", "sk-1"),
            ("ANTHROPIC_API_KEY", "sk-2"),
            ("SIMULATED_PROVIDERS", "http://127.0.0.1:1"),
        ]);
        let mut loaded = Vec::new();
        for entry in std::fs::read_dir(folder).expect("examples") {
            let path = entry.expect("an entry").path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if !["json", "jsonc", "yaml", "yml", "toml"].contains(&extension) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            assert!(text.contains("llmpool/schema/config.schema.json"), "{}: no line for editors", path.display());
            let document = Document::parse(text, Format::of_path(&path)).expect("valid");
            assert!(takes(document.value()), "{} is not of the schema", path.display());
            // Files that it names stand beside it.
            let settings = Settings::new(Source::File(path.clone()));
            let config = Config::of(&document, &environment, &settings).expect("valid");
            assert_eq!(config.warnings, [""; 0], "{}", path.display());
            loaded.push((path.file_name().map(std::ffi::OsStr::to_owned).expect("a name"), config));
        }
        loaded.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names: Vec<_> = loaded.iter().map(|(name, _)| name.to_string_lossy()).collect();
        assert_eq!(names, ["config.jsonc", "config.toml", "config.yaml", "gateway-demo.yaml", "llm-pool.toml"]);
        assert!(loaded[..3].iter().all(|(_, config)| *config == loaded[0].1), "the same in every format");
        assert!(loaded[4].1.providers.iter().all(|provider| provider.service.name == "ollama"));
        assert_eq!(loaded[4].1.tasks.len(), 6);
    }

    #[test]
    fn every_key_says_what_it_is() {
        fn walk(schema: &Value, path: &str) {
            for (name, key) in schema["properties"].as_object().into_iter().flatten() {
                let path = join(path, name);
                assert!(!key["description"].as_str().unwrap_or_default().is_empty(), "{path} has no comment in raw.rs");
                walk(key, &path);
                walk(&key["items"], &path);
                walk(&key["additionalProperties"], &path);
            }
        }
        walk(&json_schema(), "");
    }
}
