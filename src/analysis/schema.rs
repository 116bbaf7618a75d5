//! What a model is asked to answer, as a JSON Schema and as the type that it is read into.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use super::results::ProjectAnalysis as ProjectAnswer;
use super::results::{Component, FileKind, Interface};

/// Something that a model is asked for.
pub(super) trait Answer: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Providers take letters, digits and `_`.
    const NAME: &'static str;

    fn schema() -> Value;
}

/// Of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileAnswer {
    #[serde(rename = "type")]
    pub kind: FileKind,
    pub summary: String,
    pub external_dependencies: Vec<String>,
    pub public_interfaces: Vec<Interface>,
}

/// Of a folder: what its children's own results do not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryAnswer {
    pub summary: String,
    pub key_components: Vec<Component>,
    pub public_interfaces: Vec<Interface>,
}

impl Answer for FileAnswer {
    const NAME: &'static str = "file_analysis";

    fn schema() -> Value {
        let kinds = [
            FileKind::Source,
            FileKind::Test,
            FileKind::Configuration,
            FileKind::Documentation,
            FileKind::Build,
            FileKind::Schema,
            FileKind::Data,
            FileKind::Other,
        ];
        object(json!({
            "type": { "type": "string", "enum": kinds },
            "summary": text(),
            "externalDependencies": list(text()),
            "publicInterfaces": list(interface()),
        }))
    }
}

impl Answer for DirectoryAnswer {
    const NAME: &'static str = "directory_analysis";

    fn schema() -> Value {
        object(json!({
            "summary": text(),
            "keyComponents": list(object(json!({ "name": text(), "description": text() }))),
            "publicInterfaces": list(interface()),
        }))
    }
}

impl Answer for ProjectAnswer {
    const NAME: &'static str = "project_analysis";

    fn schema() -> Value {
        object(json!({
            "overview": text(),
            "architecture": text(),
            "coreTechnologies": list(text()),
            "mainInterfaces": list(interface()),
            "risks": list(text()),
        }))
    }
}

fn interface() -> Value {
    let kinds = ["function", "struct", "trait", "module", "api", "configuration", "data_model"];
    object(json!({ "name": text(), "kind": { "type": "string", "enum": kinds }, "description": text() }))
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Everything is required and nothing else is taken: what strict modes of providers ask for.
fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::results::InterfaceKind;
    use crate::schema::Schema;

    fn fits<A: Answer + std::fmt::Debug + PartialEq>(answer: &A) {
        let schema = Schema::compile(&A::schema()).unwrap_or_else(|error| panic!("{}: {error}", A::NAME));
        let said = serde_json::to_string(answer).expect("data");
        let fit = schema.read(&said).unwrap_or_else(|why| panic!("{}: {why}", A::NAME));
        assert_eq!(&serde_json::from_value::<A>(fit.value).expect("the same shape"), answer);
        assert!(schema.read("{}").is_err(), "everything is required");
    }

    #[test]
    fn a_schema_asks_for_what_is_read() {
        for kind in ["function", "struct", "trait", "module", "api", "configuration", "data_model"] {
            let kind: InterfaceKind = serde_json::from_value(json!(kind)).expect(kind);
            let text = || "x".to_owned();
            let interface = Interface { name: text(), kind, description: text() };
            let (interfaces, texts) = (vec![interface], vec![text()]);
            fits(&FileAnswer {
                kind: FileKind::Source,
                summary: text(),
                external_dependencies: texts.clone(),
                public_interfaces: interfaces.clone(),
            });
            let component = Component { name: text(), description: text() };
            fits(&DirectoryAnswer {
                summary: text(),
                key_components: vec![component],
                public_interfaces: interfaces.clone(),
            });
            fits(&ProjectAnswer {
                overview: text(),
                architecture: text(),
                core_technologies: texts.clone(),
                main_interfaces: interfaces,
                risks: texts,
            });
        }
    }
}
