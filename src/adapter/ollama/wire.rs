//! What Ollama's `/api/chat` looks like on the wire, as far as we write and read it.
//!
//! Source: ollama/ollama at fb30760, `api/types.go`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::lenient::{Count, Flag, Text};
use super::super::parts::Arguments;

// === the request ===

#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub model: &'a str,
    pub messages: Vec<OutMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<OutTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    pub options: Options<'a>,
    /// Always false: by default a prompt that is too long for the window loses its beginning without a word.
    pub truncate: bool,
    /// Always false: by default an answer that fills the window pushes the beginning of the prompt out.
    pub shift: bool,
    /// Always said: by default it is on.
    pub stream: bool,
}

#[derive(Serialize, Default)]
pub(super) struct OutMessage<'a> {
    pub role: &'static str,
    pub content: Cow<'a, str>,
    /// Bare base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<OutCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct OutCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    pub function: OutFunctionCall<'a>,
}

#[derive(Serialize)]
pub(super) struct OutFunctionCall<'a> {
    pub name: &'a str,
    pub arguments: Arguments<'a>,
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
    /// Templates of models write it into the prompt, absent or not.
    pub parameters: Cow<'a, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Format<'a> {
    Json(&'static str),
    Schema(&'a Value),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Think {
    Switch(bool),
    Level(&'static str),
}

#[derive(Serialize, Default, PartialEq)]
pub(super) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
}

impl Options<'_> {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === the reply, whole or a line of it ===

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub model: Text<'a>,
    #[serde(borrow, default)]
    pub created_at: Text<'a>,
    #[serde(borrow, default)]
    pub message: Option<InMessage<'a>>,
    #[serde(default)]
    pub done: Flag,
    #[serde(borrow, default)]
    pub done_reason: Text<'a>,
    /// Left out where the whole prompt was in the cache.
    #[serde(default)]
    pub prompt_eval_count: Count,
    #[serde(default)]
    pub eval_count: Count,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
pub(super) struct InMessage<'a> {
    #[serde(borrow, default)]
    pub content: Text<'a>,
    #[serde(borrow, default)]
    pub thinking: Text<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<InCall<'a>>>,
}

#[derive(Deserialize)]
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
