//! Tokens from bytes alone: four bytes a token, rounded up.
//!
//! Wrong by up to a third for English and code, and on the high side for scripts whose letters take three bytes. It is
//! used where nobody counted: usage that a provider did not report, and sizes that must be known before sending. It is
//! the same for the same request on every machine, and costs no allocation.
//!
//! Counted is what the model reads: the text of the messages, tool calls, tool definitions and an answer's schema.
//! Images, sound and files count as [`PART_TOKENS`] each, whatever their size: their bytes say nothing about their
//! tokens, and a picture inlined as base64 would count as a book.

use std::io;

use serde::Serialize;

use crate::types::{ChatRequest, Content, Message, Part, ResponseFormat};

const BYTES_PER_TOKEN: usize = 4;

/// Tokens of one part that is not text: what a picture of 1024 × 1024 takes when it is read in four tiles of 170 tokens
/// and an overview of 85.
pub const PART_TOKENS: u64 = 765;

/// Tokens of a text of so many bytes of UTF-8. Nothing has none.
pub fn estimate_text(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// Tokens of everything the model reads of a request. The parts are summed before rounding.
///
/// ```
/// use llmpool::tokens::estimate_prompt;
/// use llmpool::types::{ChatRequest, Message, Role};
/// let request = ChatRequest::new(vec![Message::text(Role::User, "Hello, world")]);
/// assert_eq!(estimate_prompt(&request), 3);
/// ```
pub fn estimate_prompt(request: &ChatRequest) -> u64 {
    let mut seen = Seen::default();
    for message in &request.messages {
        seen.message(message);
    }
    for tool in &request.tools {
        seen.json(tool);
    }
    if let Some(ResponseFormat::JsonSchema(schema)) = &request.response_format {
        seen.json(schema);
    }
    estimate_text(seen.bytes).saturating_add(seen.parts.saturating_mul(PART_TOKENS))
}

/// What has been seen of a request.
#[derive(Default)]
struct Seen {
    /// Bytes of text.
    bytes: usize,
    /// Parts that are not text.
    parts: u64,
}

// === impl Seen ===

impl Seen {
    fn message(&mut self, message: &Message) {
        // All fields by name, so that a new one is not forgotten. An id is not read; reasoning goes back to few, and is
        // counted there as what it was when it was written.
        let Message { role: _, content, name, tool_calls, tool_call_id: _, refusal, reasoning: _, reasoning_state: _ } =
            message;
        match content {
            Content::Empty => {}
            Content::Text(text) => self.text(text),
            Content::Parts(parts) => parts.iter().for_each(|part| self.part(part)),
        }
        name.iter().chain(refusal).for_each(|text| self.text(text));
        for call in tool_calls {
            self.text(&call.function.name);
            self.text(&call.function.arguments);
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text { text } => self.text(text),
            Part::ImageUrl { .. } | Part::InputAudio { .. } | Part::File { .. } => self.parts += 1,
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len());
    }

    /// A definition counts as the JSON it is sent as.
    fn json(&mut self, value: &impl Serialize) {
        // What cannot be written as JSON cannot be sent either; then what was counted so far stands.
        let _ = serde_json::to_writer(self, value);
    }
}

/// Counts what is written to it.
impl io::Write for &mut Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Function, ImageUrl, Role, Tool, ToolCall};

    fn of(messages: Vec<Message>) -> u64 {
        estimate_prompt(&ChatRequest::new(messages))
    }

    #[test]
    fn four_bytes_are_a_token_rounded_up() {
        assert_eq!([0, 1, 4, 5, 8].map(estimate_text), [0, 1, 1, 2, 2]);
        assert_eq!(estimate_text(usize::MAX), (usize::MAX / 4 + 1) as u64);
    }

    #[test]
    fn messages_are_summed_before_rounding() {
        assert_eq!(of(vec![]), 0);
        assert_eq!(of(vec![Message::text(Role::System, "a"), Message::text(Role::User, "bcd")]), 1);
    }

    #[test]
    fn an_inlined_picture_counts_like_a_linked_one() {
        let picture = |url: String| Message {
            content: Content::Parts(vec![
                Part::Text { text: "look".into() },
                Part::ImageUrl { image_url: ImageUrl { url, detail: None } },
            ]),
            ..Message::text(Role::User, "")
        };
        let inlined = picture(format!("data:image/png;base64,{}", "A".repeat(1_000_000)));
        assert_eq!(of(vec![inlined]), 1 + PART_TOKENS);
        assert_eq!(of(vec![picture("https://example.com/a.png".into())]), 1 + PART_TOKENS);
    }

    #[test]
    fn sound_and_files_count_as_parts() {
        let message = Message {
            content: Content::Parts(vec![
                Part::InputAudio { input_audio: json!({ "data": "AAAA", "format": "wav" }) },
                Part::File { file: json!({ "file_id": "f" }) },
            ]),
            ..Message::text(Role::User, "")
        };
        assert_eq!(of(vec![message]), 2 * PART_TOKENS);
    }

    #[test]
    fn tool_calls_count_and_reasoning_that_is_not_sent_does_not() {
        let message = Message {
            tool_calls: vec![ToolCall::function("call_1", "find", "{\"a\":1}!")],
            reasoning: Some("x".repeat(4_000)),
            ..Message::text(Role::Assistant, "")
        };
        assert_eq!(of(vec![message]), 3);
    }

    #[test]
    fn tools_and_the_answers_schema_count_as_their_json() {
        let schema = json!({ "type": "object" });
        let tool = Tool {
            kind: "function".into(),
            function: Function { name: "f".into(), description: None, parameters: Some(schema.clone()), strict: None },
        };
        let bytes = serde_json::to_string(&tool).unwrap().len() + schema.to_string().len();
        let request = ChatRequest {
            tools: vec![tool],
            response_format: Some(ResponseFormat::JsonSchema(schema)),
            ..ChatRequest::default()
        };
        assert_eq!(estimate_prompt(&request), estimate_text(bytes));
    }
}
