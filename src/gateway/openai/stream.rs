//! A streamed answer, as OpenAI writes it: chunks, the usage for those who asked for it, and `[DONE]`.

use serde::Serialize;

use super::super::pump::{Encode, write};
use super::super::refused::{Dialect, Refused};
use super::chat::{Tokens, word};
use crate::types::{ChatResponse, NanoUsd, StreamEvent, ToolCallDelta};

/// Writes the chunks of one answer.
pub(super) struct Chunks {
    /// The last chunk says the usage.
    usage: bool,
    id: String,
    model: String,
    created: u64,
    /// The first chunk says whose turn it is.
    begun: bool,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Said in the last chunk, and `null` before, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Tokens>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llmpool: Option<Extension<'a>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
}

#[derive(Serialize)]
struct Call<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// What no head could say, since it was not known yet.
#[derive(Serialize)]
struct Extension<'a> {
    provider: &'a str,
    cost_usd: Option<NanoUsd>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

// === impl Chunks ===

impl Chunks {
    pub fn new(usage: bool) -> Self {
        Self { usage, id: String::new(), model: String::new(), created: 0, begun: false }
    }

    fn write(&mut self, mut delta: Delta<'_>, finish_reason: Option<&'static str>, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            delta.role = Some("assistant");
        }
        let choices = [Choice { index: 0, delta, finish_reason }];
        write(out, None, &self.chunk(&choices, None, None));
    }

    fn chunk<'a>(
        &'a self,
        choices: &'a [Choice<'a>],
        usage: Option<Tokens>,
        llmpool: Option<Extension<'a>>,
    ) -> Chunk<'a> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            usage: self.usage.then_some(usage),
            llmpool,
        }
    }
}

impl Encode for Chunks {
    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Start { id, model, created } => (self.id, self.model, self.created) = (id, model, created),
            StreamEvent::Text(text) => self.write(Delta { content: Some(&text), ..Delta::default() }, None, out),
            StreamEvent::Reasoning(text) => {
                self.write(Delta { reasoning_content: Some(&text), ..Delta::default() }, None, out);
            }
            StreamEvent::Refusal(text) => self.write(Delta { refusal: Some(&text), ..Delta::default() }, None, out),
            StreamEvent::ToolCall(ToolCallDelta { index, id, name, arguments }) => {
                let call = Call {
                    index,
                    id: id.as_deref(),
                    kind: id.as_ref().map(|_| "function"),
                    function: Function { name: name.as_deref(), arguments: &arguments },
                };
                self.write(Delta { tool_calls: Some([call]), ..Delta::default() }, None, out);
            }
            StreamEvent::Finish { reason, .. } => self.write(Delta::default(), Some(word(reason)), out),
            // The state of its reasoning has no place in OpenAI's chunks; usage is told when it is final.
            StreamEvent::ReasoningState(_) | StreamEvent::Usage(_) => {}
        }
    }

    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>) {
        if self.usage {
            let extension = Extension {
                provider: response.provider.as_str(),
                cost_usd: response.cost,
                warnings: &response.warnings,
            };
            write(out, None, &self.chunk(&[], Some(Tokens::of(&response.usage)), Some(extension)));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&refused.body(Dialect::OpenAi));
        out.extend_from_slice(b"\n\n");
    }
}
