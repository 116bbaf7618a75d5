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

use super::super::catalog::{Dialect, IdRule};
use super::super::lenient::{Count, Text};
use super::super::tool_ids;
use super::echo::OutEcho;
use crate::types::{Content, Part, ResponseFormat, Tool, ToolCall, ToolChoice};

// === the request ===

/// A request, its fields under our names; absent ones are not written.
pub(super) struct Request<'a> {
    pub dialect: &'static Dialect,
    pub model: &'a str,
    pub messages: Vec<OutMessage<'a>>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    /// With the name it has for this model.
    pub max_tokens: Option<(&'static str, u32)>,
    /// Always a list: every dialect takes one, Together takes nothing else.
    pub stop: Option<&'a [String]>,
    pub seed: Option<i64>,
    pub tools: Option<&'a [Tool]>,
    pub tool_choice: Option<&'a ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub response_format: Option<&'a ResponseFormat>,
    pub reasoning_effort: Option<&'a str>,
    pub user: Option<&'a str>,
    pub metadata: Option<&'a serde_json::Map<String, Value>>,
    pub stream: bool,
    pub stream_options: Option<StreamOptions>,
    /// Further fields, written beside the others.
    pub passed: Vec<(&'a str, Cow<'a, Value>)>,
}

#[derive(Serialize)]
pub(super) struct StreamOptions {
    pub include_usage: bool,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    effort: &'a str,
}

#[derive(Serialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes fields under the names the dialect has for them.
struct Fields<S> {
    map: S,
    dialect: &'static Dialect,
}

impl<S: SerializeMap> Fields<S> {
    fn put(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), S::Error> {
        match value {
            Some(value) => self.map.serialize_entry(self.dialect.name_of(name), &value),
            None => Ok(()),
        }
    }
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dialect = self.dialect;
        let mut fields = Fields { map: serializer.serialize_map(None)?, dialect };
        fields.put("model", Some(self.model))?;
        fields.put("messages", Some(&self.messages))?;
        fields.put("temperature", self.temperature)?;
        fields.put("top_p", self.top_p)?;
        fields.put("presence_penalty", self.presence_penalty)?;
        fields.put("frequency_penalty", self.frequency_penalty)?;
        if let Some((name, max_tokens)) = self.max_tokens {
            fields.put(name, Some(max_tokens))?;
        }
        fields.put("stop", self.stop)?;
        fields.put("seed", self.seed)?;
        fields.put("tools", self.tools)?;
        match self.tool_choice {
            Some(ToolChoice::Required) => fields.put("tool_choice", Some(dialect.required))?,
            choice => fields.put("tool_choice", choice)?,
        }
        fields.put("parallel_tool_calls", self.parallel_tool_calls)?;
        fields.put("response_format", self.response_format)?;
        if dialect.reasoning_object {
            fields.put("reasoning", self.reasoning_effort.map(|effort| Reasoning { effort }))?;
        } else if dialect.thinking_switch {
            let kind = self.reasoning_effort.map(|effort| if effort == "none" { "disabled" } else { "enabled" });
            fields.put("thinking", kind.map(|kind| Thinking { kind }))?;
            fields.put("reasoning_effort", self.reasoning_effort.filter(|effort| *effort != "none"))?;
        } else {
            fields.put("reasoning_effort", self.reasoning_effort)?;
        }
        fields.put("user", self.user)?;
        fields.put("metadata", self.metadata)?;
        fields.put("stream", Some(true).filter(|_| self.stream))?;
        fields.put("stream_options", self.stream_options.as_ref())?;
        for (name, value) in &self.passed {
            fields.put(name, Some(value))?;
        }
        fields.map.end()
    }
}

#[derive(Serialize)]
pub(super) struct OutMessage<'a> {
    pub role: &'static str,
    pub content: OutContent<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<OutCalls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(flatten)]
    pub echo: OutEcho<'a>,
}

impl OutMessage<'_> {
    pub fn text(role: &'static str, text: &'static str) -> Self {
        let content = OutContent::Text(Cow::Borrowed(text));
        let echo = OutEcho::default();
        Self { role, content, name: None, tool_calls: None, tool_call_id: None, refusal: None, echo }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutContent<'a> {
    Content(&'a Content),
    Text(Cow<'a, str>),
    Parts(Vec<OutPart<'a>>),
}

/// A part as this family has it, or as one service has it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutPart<'a> {
    Part(Cow<'a, Part>),
    Named(NamedPart<'a>),
}

/// Mistral's words for a file and for audio.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum NamedPart<'a> {
    DocumentUrl {
        document_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        document_name: Option<&'a str>,
    },
    InputAudio {
        input_audio: &'a str,
    },
}

impl<'a> OutContent<'a> {
    /// Two contents as one, in their order.
    pub fn followed_by(self, next: Self) -> Self {
        match (self.text(), next.text()) {
            (Some(""), _) => next,
            (_, Some("")) => self,
            (Some(text), Some(more)) => Self::Text(Cow::Owned(format!("{text}\n\n{more}"))),
            _ => {
                let mut parts = self.into_parts();
                parts.extend(next.into_parts());
                Self::Parts(parts)
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::Content(content) => content.is_empty(),
            other => other.text().is_some_and(str::is_empty),
        }
    }

    /// `None` when it holds anything but one text.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Content(Content::Empty) => Some(""),
            Self::Content(Content::Text(text)) => Some(text),
            Self::Text(text) => Some(text),
            Self::Content(Content::Parts(_)) | Self::Parts(_) => None,
        }
    }

    fn into_parts(self) -> Vec<OutPart<'a>> {
        match self {
            Self::Parts(parts) => parts,
            Self::Content(Content::Parts(parts)) => {
                parts.iter().map(|part| OutPart::Part(Cow::Borrowed(part))).collect()
            }
            text => {
                let text = text.text().unwrap_or_default().to_owned();
                vec![OutPart::Part(Cow::Owned(Part::Text { text }))]
            }
        }
    }
}

pub(super) struct OutCalls<'a> {
    pub calls: &'a [ToolCall],
    pub ids: IdRule,
    /// What stood beside them, by their ids.
    pub extra: Option<&'a Value>,
}

impl Serialize for OutCalls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.calls.iter().map(|call| OutCall {
            id: tool_ids::fitting(&call.id, self.ids),
            kind: &call.kind,
            extra_content: self.extra.and_then(|extra| extra.get(&call.id)),
            function: OutFunction {
                name: &call.function.name,
                // vLLM parses them; an empty text is no JSON.
                arguments: if call.function.arguments.is_empty() { "{}" } else { &call.function.arguments },
            },
        }))
    }
}

#[derive(Serialize)]
struct OutCall<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'a str,
    function: OutFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Value>,
}

#[derive(Serialize)]
struct OutFunction<'a> {
    name: &'a str,
    arguments: &'a str,
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
    /// OpenRouter.
    #[serde(borrow, default)]
    pub reasoning_details: Option<&'a RawValue>,
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
    /// Gemini's compatible base.
    #[serde(borrow, default)]
    pub extra_content: Option<&'a RawValue>,
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
    /// Mistral, now and then.
    #[serde(default)]
    pub prompt_token_details: Option<PromptDetails>,
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
    #[serde(default)]
    pub audio_tokens: Count,
}

#[derive(Deserialize, Default)]
pub(super) struct CompletionDetails {
    #[serde(default)]
    pub audio_tokens: Count,
    #[serde(default)]
    pub reasoning_tokens: Count,
}
