//! What the OpenAI chat API looks like on the wire, as far as we write and read it.
//!
//! Replies and stream chunks share one envelope: a chunk's `delta` has the shape of a reply's `message`. Source:
//! OpenAI's OpenAPI document 2.3.0, and the departures of the services that copy it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::lenient::{Count, Text};
use crate::types::{Content, ResponseFormat, Tool, ToolChoice};

// === the request ===

/// Fields in the order they are documented; absent ones are not written.
#[derive(Serialize)]
pub(super) struct Request<'a, M> {
    pub model: &'a str,
    pub messages: M,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    /// Always a list: every dialect takes one, Together takes nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "<[Tool]>::is_empty")]
    pub tools: &'a [Tool],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<&'a ToolChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<&'a ResponseFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    pub passed: Passed<'a>,
}

#[derive(Serialize)]
pub(super) struct StreamOptions {
    pub include_usage: bool,
}

/// Further fields, written beside the others.
pub(super) struct Passed<'a>(pub Vec<(&'a str, Cow<'a, Value>)>);

impl Serialize for Passed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
pub(super) struct OutMessage<'a, C> {
    pub role: &'static str,
    pub content: OutContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutContent<'a> {
    Content(&'a Content),
    Text(&'a str),
}

#[derive(Serialize)]
pub(super) struct OutCall<'a> {
    pub id: Cow<'a, str>,
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub function: OutFunction<'a>,
}

#[derive(Serialize)]
pub(super) struct OutFunction<'a> {
    pub name: &'a str,
    pub arguments: &'a str,
}

// === the reply, whole or in chunks ===

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub object: Text<'a>,
    #[serde(borrow, default)]
    pub model: Text<'a>,
    #[serde(default)]
    pub created: Count,
    #[serde(borrow, default)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    /// Groq's own place for usage, and for why a stream stopped early.
    #[serde(borrow, default)]
    pub x_groq: Option<XGroq<'a>>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct XGroq<'a> {
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub index: Count,
    #[serde(borrow, default)]
    pub message: Option<InMessage<'a>>,
    #[serde(borrow, default)]
    pub delta: Option<InMessage<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
pub(super) struct InMessage<'a> {
    #[serde(borrow, default)]
    pub content: Spoken<'a>,
    #[serde(borrow, default)]
    pub refusal: Text<'a>,
    /// Groq, Together, OpenRouter, newer vLLM.
    #[serde(borrow, default)]
    pub reasoning: Text<'a>,
    /// DeepSeek, xAI, Fireworks, llama.cpp, older vLLM.
    #[serde(borrow, default)]
    pub reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<InCall<'a>>>,
    /// What came before `tool_calls`, still sent where a request used `functions`.
    #[serde(borrow, default)]
    pub function_call: Option<InFunction<'a>>,
}

impl<'a> InMessage<'a> {
    /// What the model thought, from wherever this service puts it; some repeat it under both names.
    pub fn take_reasoning(&mut self) -> Cow<'a, str> {
        let named = std::mem::take(&mut self.reasoning).0;
        let named = if named.is_empty() { std::mem::take(&mut self.reasoning_content).0 } else { named };
        if named.is_empty() { Cow::Owned(std::mem::take(&mut self.content.thinking)) } else { named }
    }
}

#[derive(Deserialize, Default)]
pub(super) struct InCall<'a> {
    #[serde(default)]
    pub index: Count,
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub function: Option<InFunction<'a>>,
}

#[derive(Deserialize, Default)]
pub(super) struct InFunction<'a> {
    #[serde(borrow, default)]
    pub name: Text<'a>,
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
}

/// Content: a string, `null`, or parts, of which Mistral's `thinking` is not said aloud.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Spoken<'a> {
    pub text: Cow<'a, str>,
    pub thinking: String,
    pub refusal: String,
}

impl<'de: 'a, 'a> Deserialize<'de> for Spoken<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpokenVisitor;

        impl<'de> Visitor<'de> for SpokenVisitor {
            type Value = Spoken<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of parts, or null")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Spoken<'de>, E> {
                Ok(Spoken { text: Cow::Borrowed(text), ..Spoken::default() })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Spoken<'de>, E> {
                Ok(Spoken { text: Cow::Owned(text.to_owned()), ..Spoken::default() })
            }

            fn visit_unit<E: de::Error>(self) -> Result<Spoken<'de>, E> {
                Ok(Spoken::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Spoken<'de>, A::Error> {
                let mut spoken = Spoken::default();
                while let Some(part) = seq.next_element::<InPart<'de>>()? {
                    match &*part.kind.0 {
                        "thinking" | "reasoning" => {
                            spoken.thinking.push_str(&part.thinking.text);
                            spoken.thinking.push_str(&part.text.0);
                        }
                        _ => spoken.text.to_mut().push_str(&part.text.0),
                    }
                    spoken.refusal.push_str(&part.refusal.0);
                }
                Ok(spoken)
            }
        }

        deserializer.deserialize_any(SpokenVisitor)
    }
}

#[derive(Deserialize)]
struct InPart<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    thinking: Spoken<'a>,
    #[serde(borrow, default)]
    refusal: Text<'a>,
}

/// Usage in all the spellings of this family.
#[derive(Deserialize)]
pub(super) struct InUsage {
    #[serde(default)]
    pub prompt_tokens: Count,
    #[serde(default)]
    pub completion_tokens: Count,
    #[serde(default)]
    pub total_tokens: Count,
    #[serde(default)]
    pub prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    pub completion_tokens_details: Option<CompletionDetails>,
    /// Together.
    #[serde(default)]
    pub cached_tokens: Count,
    /// Mistral.
    #[serde(default)]
    pub num_cached_tokens: Count,
    /// DeepSeek.
    #[serde(default)]
    pub prompt_cache_hit_tokens: Count,
    /// Perplexity.
    #[serde(default)]
    pub reasoning_tokens: Count,
}

#[derive(Deserialize, Default)]
pub(super) struct PromptDetails {
    #[serde(default)]
    pub cached_tokens: Count,
    #[serde(default)]
    pub cache_write_tokens: Count,
}

#[derive(Deserialize, Default)]
pub(super) struct CompletionDetails {
    #[serde(default)]
    pub reasoning_tokens: Count,
}
