//! How large a request is: taken once per call by adding up lengths, without looking at a letter, so that a prompt of any
//! length costs a microsecond on its way out. What its size means in tokens is the model's to say
//! ([`Counter::estimate`](super::Counter::estimate)).

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::image::PART_TOKENS;
use crate::types::{ChatRequest, Content, ForeignFields, Message, Part, ResponseFormat};

/// Tokens around each message: where it begins, who speaks, where it ends. Source: OpenAI's cookbook, "How to count tokens
/// with tiktoken"; other dialects differ by a token or two.
pub(super) const MESSAGE_TOKENS: u64 = 4;

/// Tokens of a name beside the name itself. Source: as above.
pub(super) const NAME_TOKENS: u64 = 1;

/// Tokens with which every answer is primed. Source: as above.
pub(super) const ANSWER_TOKENS: u64 = 3;

/// The size of a request.
///
/// ```
/// use llmpool::tokens::PromptSize;
/// use llmpool::types::{ChatRequest, Message, Role};
/// let request = ChatRequest::new(vec![Message::text(Role::User, "Hello, world")]);
/// assert_eq!(PromptSize::of(&request), PromptSize { bytes: 12, framing: 7, parts: 0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptSize {
    /// UTF-8 bytes of everything that is text: messages, tool calls, tool definitions, an answer's schema.
    pub bytes: usize,
    /// Tokens around the messages.
    pub framing: u64,
    /// Tokens of the parts that are not text, whatever their size: an inlined picture's bytes say nothing about them.
    pub parts: u64,
}

impl PromptSize {
    pub fn of(request: &ChatRequest) -> Self {
        let mut seen = Seen::default();
        visit(request, &mut seen);
        seen.0
    }
}

/// Tokens of a request at four bytes each, for whom no model is known yet.
pub fn estimate_prompt(request: &ChatRequest) -> u64 {
    let PromptSize { bytes, framing: _, parts } = PromptSize::of(request);
    super::estimate_text(bytes).saturating_add(parts)
}

/// Tokens that a provider may put around what it is sent: the prompt with which it explains tools to its model is the
/// longest of them, some hundreds.
const UNSEEN_TOKENS: u64 = 1_024;

/// More tokens than the prompt of a request can have, whatever the model: a token is at least a byte, and what frames a
/// message is shorter than its JSON. `None`: it has pictures, sound or files, whose tokens have no bound in their bytes, or
/// blocks of another API that are not known to be text.
pub fn most_prompt_tokens(request: &ChatRequest) -> Option<u64> {
    if PromptSize::of(request).parts > 0 {
        return None;
    }
    let ChatRequest { messages, tools, response_format, openai_fields, foreign, .. } = request;
    let mut bytes = 0;
    if let Some(ForeignFields { fields, .. }) = foreign.as_deref() {
        // A provider of that API reads this, with what only it can make anything of.
        let said = [fields.get("system"), fields.get("messages")];
        if !said.into_iter().flatten().all(is_text) {
            return None;
        }
        serde_json::to_writer(Length(&mut bytes), fields).ok()?;
    }
    // What cannot be written as JSON cannot be sent either.
    serde_json::to_writer(Length(&mut bytes), &(messages, tools, response_format, openai_fields)).ok()?;
    for message in messages {
        // Left out of the JSON of a message, and sent to whom it belongs.
        serde_json::to_writer(Length(&mut bytes), &(&message.reasoning, &message.reasoning_state)).ok()?;
    }
    Some((bytes as u64).saturating_add(UNSEEN_TOKENS))
}

/// Is all of it text, as deep as blocks are within blocks?
fn is_text(said: &Value) -> bool {
    const TEXT: [&str; 5] = ["text", "thinking", "redacted_thinking", "tool_use", "tool_result"];
    match said {
        Value::Array(blocks) => blocks.iter().all(is_text),
        Value::Object(block) => {
            let kind = block.get("type");
            let is_text_itself = kind.is_none_or(|kind| kind.as_str().is_some_and(|kind| TEXT.contains(&kind)));
            is_text_itself && block.get("content").is_none_or(is_text)
        }
        _ => true,
    }
}

/// What is to be done with each thing a model reads.
pub(super) trait Reader {
    fn text(&mut self, text: &str);
    fn framing(&mut self, tokens: u64);
    fn part(&mut self, part: &Part);
    /// A definition, which is read as the JSON it is sent as.
    fn json(&mut self, value: &impl Serialize);
}

/// Shows everything that the model reads of a request.
pub(super) fn visit(request: &ChatRequest, reader: &mut impl Reader) {
    for message in &request.messages {
        // All fields by name, so that a new one is not forgotten. An id is not read; reasoning goes back to few, and is
        // counted there as what it was when it was written.
        let Message { role: _, content, name, tool_calls, tool_call_id: _, refusal, reasoning: _, reasoning_state: _ } =
            message;
        reader.framing(MESSAGE_TOKENS);
        match content {
            Content::Empty => {}
            Content::Text(text) => reader.text(text),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text { text } => reader.text(text),
                        other => reader.part(other),
                    }
                }
            }
        }
        if let Some(name) = name {
            reader.framing(NAME_TOKENS);
            reader.text(name);
        }
        if let Some(refusal) = refusal {
            reader.text(refusal);
        }
        for call in tool_calls {
            reader.text(&call.function.name);
            reader.text(&call.function.arguments);
        }
    }
    for tool in &request.tools {
        reader.json(tool);
    }
    if let Some(ResponseFormat::JsonSchema(schema)) = &request.response_format {
        reader.json(schema);
    }
    if !request.messages.is_empty() {
        reader.framing(ANSWER_TOKENS);
    }
}

#[derive(Default)]
struct Seen(PromptSize);

impl Reader for Seen {
    fn text(&mut self, text: &str) {
        self.0.bytes = self.0.bytes.saturating_add(text.len());
    }

    fn framing(&mut self, tokens: u64) {
        self.0.framing = self.0.framing.saturating_add(tokens);
    }

    fn part(&mut self, _part: &Part) {
        self.0.parts = self.0.parts.saturating_add(PART_TOKENS);
    }

    fn json(&mut self, value: &impl Serialize) {
        // What cannot be written as JSON cannot be sent either; then what was counted so far stands.
        let _ = serde_json::to_writer(Length(&mut self.0.bytes), value);
    }
}

/// Counts what is written to it.
struct Length<'a>(&'a mut usize);

impl io::Write for Length<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0 = self.0.saturating_add(bytes.len());
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
    use crate::types::{Api, Function, ImageUrl, Role, Tool, ToolCall};

    fn of(message: Message) -> PromptSize {
        PromptSize::of(&ChatRequest::new(vec![message]))
    }

    #[test]
    fn messages_have_a_frame_and_an_empty_request_has_none() {
        assert_eq!(PromptSize::of(&ChatRequest::default()), PromptSize::default());
        let named = Message { name: Some("Ann".into()), ..Message::text(Role::User, "abc") };
        assert_eq!(of(named), PromptSize { bytes: 6, framing: 4 + 1 + 3, parts: 0 });
    }

    #[test]
    fn an_inlined_picture_is_as_large_as_a_linked_one() {
        let picture = |url: String| Message {
            content: Content::Parts(vec![
                Part::Text { text: "look".into() },
                Part::ImageUrl { image_url: ImageUrl { url, detail: None } },
            ]),
            ..Message::text(Role::User, "")
        };
        let inlined = of(picture(format!("data:image/png;base64,{}", "A".repeat(1_000_000))));
        assert_eq!(inlined, PromptSize { bytes: 4, framing: 7, parts: PART_TOKENS });
        assert_eq!(of(picture("https://example.com/a.png".into())), inlined);
    }

    #[test]
    fn sound_and_files_are_parts() {
        let message = Message {
            content: Content::Parts(vec![
                Part::InputAudio { input_audio: json!({ "data": "AAAA", "format": "wav" }) },
                Part::File { file: json!({ "file_id": "f" }) },
            ]),
            ..Message::text(Role::User, "")
        };
        assert_eq!(of(message).parts, 2 * PART_TOKENS);
    }

    #[test]
    fn tool_calls_count_and_reasoning_that_is_not_sent_does_not() {
        let message = Message {
            tool_calls: vec![ToolCall::function("call_1", "find", "{\"a\":1}!")],
            reasoning: Some("x".repeat(4_000)),
            ..Message::text(Role::Assistant, "")
        };
        assert_eq!(of(message).bytes, 12);
    }

    #[test]
    fn a_prompt_has_fewer_tokens_than_the_bytes_of_all_it_may_send() {
        let message = Message {
            tool_calls: vec![ToolCall::function("call_1", "find", "{\"a\":1}")],
            reasoning: Some("x".repeat(4_000)),
            ..Message::text(Role::Assistant, "abc")
        };
        let said = "call_1find{\"a\":1}abc".len() as u64 + 4_000;
        let most = most_prompt_tokens(&ChatRequest::new(vec![message])).expect("text alone");
        assert!(most > said + UNSEEN_TOKENS, "{most}");
        let part = Part::File { file: json!({ "file_id": "f" }) };
        let message = Message { content: Content::Parts(vec![part]), ..Message::text(Role::User, "") };
        assert_eq!(most_prompt_tokens(&ChatRequest::new(vec![message])), None);
    }

    #[test]
    fn what_only_another_api_says_is_part_of_the_prompt() {
        let said = |content: Value| {
            let fields = json!({ "messages": [{ "role": "user", "content": content }] });
            let fields = serde_json::from_value(fields).expect("an object");
            let foreign = ForeignFields { api: Api::Anthropic, fields, understood: &["messages"] };
            most_prompt_tokens(&ChatRequest { foreign: Some(Box::new(foreign)), ..ChatRequest::user("x") })
        };
        let hidden = "x".repeat(9_000);
        let thought = json!([{ "type": "redacted_thinking", "data": hidden }]);
        assert!(said(thought).is_some_and(|most| most > 9_000 + UNSEEN_TOKENS));
        for elsewhere in [
            json!([{ "type": "document", "source": { "type": "file", "file_id": "f" } }]),
            json!([{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "search_result" }] }]),
        ] {
            assert_eq!(said(elsewhere), None);
        }
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
        assert_eq!(PromptSize::of(&request).bytes, bytes);
    }
}
