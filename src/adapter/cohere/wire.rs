//! What Cohere's v2 chat looks like on the wire, as far as we write and read it.
//!
//! Source: cohere 7.3.1 (PyPI) `v2/raw_client.py` and `types/*`, npm cohere-ai 8.1.0.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::lenient::{Count, Text};
use crate::types::ImageUrl;

// === the request ===

#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub model: &'a str,
    pub messages: Vec<OutMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub logprobs: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<OutTool<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict_tools: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<OutFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
}

#[derive(Serialize, Default)]
pub(super) struct OutMessage<'a> {
    pub role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<OutContent<'a>>,
    /// What the model said before its calls; there is no content beside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_plan: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<OutCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<OutPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: &'a ImageUrl },
}

#[derive(Serialize)]
pub(super) struct OutCall<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: OutFunctionCall<'a>,
}

#[derive(Serialize)]
pub(super) struct OutFunctionCall<'a> {
    pub name: &'a str,
    pub arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct OutTool<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: OutFunction<'a>,
}

#[derive(Serialize)]
pub(super) struct OutFunction<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// Required here.
    pub parameters: Cow<'a, Value>,
}

#[derive(Serialize)]
pub(super) struct OutFormat<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<&'a Value>,
}

#[derive(Serialize)]
pub(super) struct Thinking {
    #[serde(rename = "type")]
    pub kind: &'static str,
}

// === the reply ===

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
    /// The answer; a text where the reply is an error.
    #[serde(borrow, default)]
    pub message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct InMessage<'a> {
    #[serde(borrow, default)]
    pub content: Option<Vec<InPart<'a>>>,
    #[serde(borrow, default)]
    pub tool_plan: Text<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<InCall<'a>>>,
}

#[derive(Deserialize, Default)]
pub(super) struct InPart<'a> {
    #[serde(borrow, default)]
    pub text: Text<'a>,
    #[serde(borrow, default)]
    pub thinking: Text<'a>,
}

#[derive(Deserialize, Default)]
pub(super) struct InCall<'a> {
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

#[derive(Deserialize)]
pub(super) struct InUsage {
    #[serde(default)]
    pub tokens: Option<Tokens>,
    /// What is charged for: without the prompt's own overhead.
    #[serde(default)]
    pub billed_units: Option<Tokens>,
    #[serde(default)]
    pub cached_tokens: Count,
}

#[derive(Deserialize, Clone, Copy)]
pub(super) struct Tokens {
    #[serde(default)]
    pub input_tokens: Count,
    #[serde(default)]
    pub output_tokens: Count,
}

// === the stream ===

#[derive(Deserialize)]
pub(super) struct InEvent<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Text<'a>,
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(default)]
    pub index: Count,
    /// Its shape depends on the kind.
    #[serde(borrow, default)]
    pub delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Delta<T> {
    pub message: T,
}

#[derive(Deserialize)]
pub(super) struct ContentDelta<'a> {
    #[serde(borrow, default)]
    pub content: Option<InPart<'a>>,
}

#[derive(Deserialize)]
pub(super) struct PlanDelta<'a> {
    #[serde(borrow, default)]
    pub tool_plan: Text<'a>,
}

/// One call, although the name says many.
#[derive(Deserialize)]
pub(super) struct CallDelta<'a> {
    #[serde(borrow, default)]
    pub tool_calls: Option<InCall<'a>>,
}

#[derive(Deserialize)]
pub(super) struct EndDelta<'a> {
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}
