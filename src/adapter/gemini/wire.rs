//! What Gemini's `generateContent` looks like on the wire, as far as we write and read it.
//!
//! Source: the types of @google/genai 2.32.0, `dist/genai.d.ts`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::lenient::{Count, Flag, Text};
use super::super::parts::Arguments;

// === the request ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    pub contents: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_instruction: Option<SystemInstruction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<[OutTools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    pub generation_config: GenerationConfig<'a>,
}

#[derive(Serialize)]
pub(super) struct SystemInstruction<'a> {
    pub parts: [OutPart<'a>; 1],
}

#[derive(Serialize)]
pub(super) struct Turn<'a> {
    pub role: &'static str,
    pub parts: Vec<OutPart<'a>>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum OutPart<'a> {
    Text {
        text: Cow<'a, str>,
    },
    /// What was said after a thought, with the signature of it.
    Signed {
        text: Cow<'a, str>,
        thought_signature: &'a str,
    },
    Inline {
        inline_data: InlineData<'a>,
    },
    File {
        file_data: FileData<'a>,
    },
    Call {
        function_call: OutCall<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        thought_signature: Option<&'a str>,
    },
    Result {
        function_response: OutResult<'a>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InlineData<'a> {
    pub mime_type: Cow<'a, str>,
    pub data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'a> {
    pub file_uri: &'a str,
}

#[derive(Serialize)]
pub(super) struct OutCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    pub name: &'a str,
    pub args: Arguments<'a>,
}

#[derive(Serialize)]
pub(super) struct OutResult<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub id: &'a str,
    pub name: &'a str,
    pub response: OutResponse<'a>,
}

/// A result has to be an object: the tool's own, or one around what it said.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum OutResponse<'a> {
    Object(Cow<'a, RawValue>),
    Wrapped { result: Cow<'a, str> },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutTools<'a> {
    pub function_declarations: Vec<OutFunction<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutFunction<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// JSON Schema as it is; the older `parameters` takes a subset of OpenAPI and answers 400 to any other keyword.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_json_schema: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    pub function_calling_config: FunctionCallingConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionCallingConfig<'a> {
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_function_names: Option<[&'a str; 1]>,
}

#[derive(Serialize, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_json_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<ThinkingConfig>,
}

impl GenerationConfig<'_> {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Serialize, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThinkingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_thoughts: bool,
}

// === the reply, whole or a chunk of it ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    pub prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(borrow, default)]
    pub usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub model_version: Text<'a>,
    #[serde(borrow, default)]
    pub response_id: Text<'a>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    #[serde(default)]
    pub index: Count,
    #[serde(borrow, default)]
    pub content: Option<InContent<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
    #[serde(borrow, default)]
    pub finish_message: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct InContent<'a> {
    #[serde(borrow, default)]
    pub parts: Option<Vec<InPart<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InPart<'a> {
    #[serde(borrow, default)]
    pub text: Text<'a>,
    #[serde(default)]
    pub thought: Flag,
    #[serde(borrow, default)]
    pub function_call: Option<InCall<'a>>,
    #[serde(borrow, default)]
    pub thought_signature: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct InCall<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub name: Text<'a>,
    #[serde(borrow, default)]
    pub args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback<'a> {
    #[serde(borrow, default)]
    pub block_reason: Text<'a>,
    #[serde(borrow, default)]
    pub block_reason_message: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InUsage<'a> {
    #[serde(default)]
    pub prompt_token_count: Count,
    #[serde(default)]
    pub candidates_token_count: Count,
    #[serde(default)]
    pub thoughts_token_count: Count,
    #[serde(default)]
    pub tool_use_prompt_token_count: Count,
    #[serde(default)]
    pub cached_content_token_count: Count,
    /// A list of [`ModalityCount`].
    #[serde(borrow, default)]
    pub prompt_tokens_details: Option<&'a RawValue>,
}

/// Tokens of one kind of content: `TEXT`, `IMAGE`, `AUDIO`, …
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModalityCount<'a> {
    #[serde(borrow, default)]
    pub modality: Text<'a>,
    #[serde(default)]
    pub token_count: Count,
}
