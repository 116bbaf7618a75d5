//! Messages of a chat, in the shape the OpenAI chat API made common.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::object::Object;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    /// OpenAI's successor of `system` for reasoning models; adapters that do not know it send `system`.
    Developer,
    User,
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One turn. Fields that are empty are left out on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub role: Role,
    #[serde(default)]
    pub content: Content,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// On `tool` messages: the call this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What the model thought in an earlier turn. Accepted so that an answer can be sent back as it came; it belongs to
    /// the provider that made it and is never sent to one.
    #[serde(default, alias = "reasoning_content", skip_serializing)]
    pub reasoning: Option<String>,
    /// What the answer carried for the provider that made it; see [`ReasoningState`].
    #[serde(default, skip_serializing)]
    pub reasoning_state: Option<Box<ReasoningState>>,
}

/// What a provider wants back to go on thinking where it stopped: signatures and encrypted parts of its reasoning. Only
/// the provider and model that made it can read it, so it is sent to them alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasoningState {
    /// The name of the provider in the configuration.
    pub provider: String,
    /// The model that was asked for, as the provider names it.
    pub model: String,
    /// In the provider's own shape; to be kept as it is.
    pub state: Value,
}

impl ReasoningState {
    /// One that is not yet said to be anybody's, see [`super::Reply::sign`]; boxed, because few messages have any.
    pub fn unsigned(state: Value) -> Box<Self> {
        Box::new(Self { provider: String::new(), model: String::new(), state })
    }
}

impl Message {
    /// A message of plain text.
    ///
    /// ```
    /// use llmpool::types::{Message, Role};
    /// let hello = Message::text(Role::User, "Hello");
    /// assert_eq!(hello.content.plain_text(), "Hello");
    /// ```
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: Content::Text(text.into()),
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            refusal: None,
            reasoning: None,
            reasoning_state: None,
        }
    }
}

/// What a message says. `null` on the wire is [`Content::Empty`]: an assistant turn that only called tools.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Content {
    #[default]
    Empty,
    Text(String),
    Parts(Vec<Part>),
}

impl Content {
    /// The text of this content, its text parts joined; other parts are left out.
    pub fn plain_text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
        }
    }

    /// Nothing in it: no text, no parts.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Empty => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of parts, or null")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Empty)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::with_capacity(seq.size_hint().unwrap_or(2).min(64));
                while let Some(Object(part)) = seq.next_element()? {
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// One part of a message's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text {
        text: String,
    },
    ImageUrl {
        image_url: ImageUrl,
    },
    /// `{ data, format }`, kept as the caller wrote it.
    InputAudio {
        input_audio: Value,
    },
    /// `{ filename, file_data, file_id }`, kept as the caller wrote it.
    File {
        file: Value,
    },
}

/// Where an image is: an `https` URL or a `data:` URI.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageUrl {
    pub url: String,
    /// `auto`, `low` or `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl<'de> Deserialize<'de> for ImageUrl {
    /// `{ url, detail }`, or the bare URL that some SDKs send.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImageVisitor;

        impl<'de> Visitor<'de> for ImageVisitor {
            type Value = ImageUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL string or { url, detail }")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<ImageUrl, E> {
                Ok(ImageUrl { url: url.to_owned(), detail: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImageUrl, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Object {
                    url: String,
                    #[serde(default)]
                    detail: Option<String>,
                }
                let object = Object::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ImageUrl { url: object.url, detail: object.detail })
            }
        }

        deserializer.deserialize_any(ImageVisitor)
    }
}

/// A call the model asks for. `arguments` is the model's own text: usually JSON, not always valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    /// Always `function` today.
    #[serde(rename = "type", default = "function_kind")]
    pub kind: String,
    #[serde(deserialize_with = "Object::field")]
    pub function: FunctionCall,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    pub name: String,
    #[serde(default)]
    pub arguments: String,
}

impl ToolCall {
    pub fn function(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: function_kind(),
            function: FunctionCall { name: name.into(), arguments: arguments.into() },
        }
    }
}

pub(super) fn function_kind() -> String {
    "function".to_owned()
}

/// `null` where a list of objects may stand: SDKs send both.
pub(super) fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Object::all(Option::deserialize(deserializer)?))
}
