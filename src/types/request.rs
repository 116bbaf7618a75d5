//! One chat request, before any provider is chosen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::message::{Message, Role, function_kind};
use super::object::Object;

/// What the caller asks. `None` and empty mean "not said": nothing is sent for it and the provider's default holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// Picks the providers that serve this model or alias; `None` is every provider with its own model.
    pub model: Option<String>,
    pub messages: Vec<Message>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    /// Most tokens the answer may have; also read from `max_completion_tokens`.
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    pub seed: Option<i64>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub response_format: Option<ResponseFormat>,
    /// `low`, `medium`, `high`, …: the set depends on the model.
    pub reasoning_effort: Option<String>,
    pub user: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    /// Further fields of OpenAI's chat API (`logprobs`, `service_tier`, …): sent to that family as they are, named in
    /// the warnings where another provider answers.
    pub openai_fields: Map<String, Value>,
    /// Merged into the wire body of providers of that type, over everything else.
    pub extra_body: BTreeMap<String, Map<String, Value>>,
    /// What a client of another API said that has no place above.
    pub foreign: Option<Box<ForeignFields>>,
}

/// Fields as a client wrote them in the API that it speaks: sent to providers of that API as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignFields {
    pub api: Api,
    pub fields: Map<String, Value>,
    /// Those of them that the request says in its own words as well; every other is named in the warnings where another
    /// provider answers.
    pub understood: &'static [&'static str],
}

/// An API that both clients and providers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl ForeignFields {
    /// The fields that nothing else of the request says.
    pub fn only_here(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str).filter(|name| !self.understood.contains(name))
    }
}

impl ChatRequest {
    /// A request that says nothing but its messages.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// The shortest good request: a user's one message.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(vec![Message::text(Role::User, text)])
    }

    /// Fields of OpenAI's chat API that the pool passes on without a meaning of its own.
    /// Source: the request schema of OpenAI's published OpenAPI document 2.3.0.
    pub const OPENAI_FIELDS: &'static [&'static str] = &[
        "audio",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    ];
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    #[serde(deserialize_with = "Object::field")]
    pub function: Function,
}

impl Tool {
    pub fn new(function: Function) -> Self {
        Self { kind: function_kind(), function }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments; kept as the caller wrote it, converted per dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool must be called.
    Required,
    /// This tool must be called.
    Function(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum ResponseFormat {
    Text,
    JsonObject,
    /// The `json_schema` object: `name`, `schema`, `strict`, `description`.
    JsonSchema(Value),
}

impl Serialize for ToolChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Required => serializer.serialize_str("required"),
            Self::Function(name) => {
                serde_json::json!({ "type": "function", "function": { "name": name } }).serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            function: Name,
        }
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        const EXPECTED: &str =
            "expected \"auto\", \"none\", \"required\" or { type: \"function\", function: { name } }";
        let value = Value::deserialize(deserializer)?;
        match &value {
            Value::String(word) => match word.as_str() {
                "auto" => Ok(Self::Auto),
                "none" => Ok(Self::None),
                "required" => Ok(Self::Required),
                _ => Err(serde::de::Error::custom(EXPECTED)),
            },
            _ => serde_json::from_value::<Named>(value)
                .map(|named| Self::Function(named.function.name))
                .map_err(|_| serde::de::Error::custom(EXPECTED)),
        }
    }
}

impl Serialize for ResponseFormat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text => serde_json::json!({ "type": "text" }),
            Self::JsonObject => serde_json::json!({ "type": "json_object" }),
            Self::JsonSchema(schema) => serde_json::json!({ "type": "json_schema", "json_schema": schema }),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ResponseFormat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            #[serde(rename = "type")]
            kind: String,
            json_schema: Option<Value>,
        }
        let object = Object::deserialize(deserializer)?;
        match (object.kind.as_str(), object.json_schema) {
            ("text", None) => Ok(Self::Text),
            ("json_object", None) => Ok(Self::JsonObject),
            ("json_schema", Some(schema @ Value::Object(_))) => Ok(Self::JsonSchema(schema)), // `check` looks into it
            ("json_schema", _) => Err(serde::de::Error::custom("json_schema must be an object with name and schema")),
            _ => Err(serde::de::Error::custom("type must be \"text\", \"json_object\" or \"json_schema\"")),
        }
    }
}
