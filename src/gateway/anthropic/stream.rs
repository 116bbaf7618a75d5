//! A streamed answer, as Anthropic writes it: named events, one block of content after the other.
//!
//! The client puts blocks together by their number, so each is closed before the next begins. `message_start` waits for
//! the first content: by then a provider that says what the prompt cost has said it.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::pump::{Encode, write};
use super::super::refused::{Dialect, Refused};
use super::super::thoughts;
use super::super::turns::Turns;
use super::write::{Message, Tokens, stop_reason};
use crate::pool::PoolStream;
use crate::types::{ChatResponse, FinishReason, ReasoningState, RequestId, StreamEvent, ToolCallDelta, Usage};

/// Writes the events of one answer.
pub(super) struct Events {
    request_id: RequestId,
    /// Whose thoughts these are.
    provider: String,
    asked_model: String,
    id: String,
    model: String,
    usage: Option<Usage>,
    begun: bool,
    turns: Turns,
    /// The block that is open, with its number.
    open: Option<(Kind, u32)>,
    blocks: u32,
    stopped: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    /// By the number of the call.
    ToolUse(u32),
}

#[derive(Serialize)]
struct Start<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: u32,
    delta: Piece<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Piece<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

// === impl Events ===

impl Events {
    pub fn new(stream: &PoolStream, request_id: RequestId) -> Self {
        let (provider, model) = stream.source();
        Self {
            request_id,
            provider: provider.to_owned(),
            asked_model: model.to_owned(),
            id: String::new(),
            model: model.to_owned(),
            usage: None,
            begun: false,
            turns: Turns::default(),
            open: None,
            blocks: 0,
            stopped: None,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let id = if self.id.is_empty() { self.request_id.as_str() } else { &self.id };
        let message = Message {
            id,
            kind: "message",
            role: "assistant",
            model: &self.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: self.usage.as_ref().map(Tokens::of).unwrap_or_default(),
        };
        write(out, Some("message_start"), &Start { kind: "message_start", message });
        write(out, Some("ping"), &json!({ "type": "ping" }));
    }

    /// The number of the open block, which is of this kind from here on.
    fn block(&mut self, kind: Kind, start: impl FnOnce() -> Value, out: &mut Vec<u8>) -> u32 {
        self.begin(out);
        if let Some((open, index)) = self.open
            && open == kind
        {
            return index;
        }
        self.close(out);
        let index = self.blocks;
        self.blocks += 1;
        self.open = Some((kind, index));
        let event = json!({ "type": "content_block_start", "index": index, "content_block": start() });
        write(out, Some("content_block_start"), &event);
        index
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some((_, index)) = self.open.take() {
            write(out, Some("content_block_stop"), &json!({ "type": "content_block_stop", "index": index }));
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        let index = self.block(Kind::Text, || json!({ "type": "text", "text": "" }), out);
        delta(index, Piece::Text { text }, out);
    }

    fn think(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) {
        let start = || json!({ "type": "thinking", "thinking": "", "signature": "" });
        let index = self.block(Kind::Thinking, start, out);
        delta(index, piece, out);
    }

    /// What a later turn is to bring back. The block it ends is over.
    fn sign(&mut self, state: Value, out: &mut Vec<u8>) {
        let state = ReasoningState { provider: self.provider.clone(), model: self.asked_model.clone(), state };
        self.think(Piece::Signature { signature: thoughts::sealed(&state) }, out);
        self.close(out);
    }

    fn call(&mut self, piece: ToolCallDelta, out: &mut Vec<u8>) {
        let ToolCallDelta { index, id, name, arguments } = piece;
        let start = || json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
        let index = self.block(Kind::ToolUse(index), start, out);
        if !arguments.is_empty() {
            delta(index, Piece::InputJson { partial_json: &arguments }, out);
        }
    }

    fn finish(&mut self, reason: FinishReason, raw: Option<&str>, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        self.stopped = Some(stop_reason(reason, raw));
    }

    fn tell(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Start { id, model, .. } => {
                self.id = id;
                if !model.is_empty() {
                    self.model = model;
                }
            }
            StreamEvent::Text(text) | StreamEvent::Refusal(text) => self.text(&text, out),
            StreamEvent::Reasoning(text) => self.think(Piece::Thinking { thinking: &text }, out),
            StreamEvent::ReasoningState(state) => self.sign(state, out),
            StreamEvent::ToolCall(piece) => self.call(piece, out),
            StreamEvent::Usage(usage) => self.usage = Some(usage),
            StreamEvent::Finish { reason, raw } => self.finish(reason, raw.as_deref(), out),
        }
    }
}

fn delta(index: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
    write(out, Some("content_block_delta"), &Delta { kind: "content_block_delta", index, delta: piece });
}

impl Encode for Events {
    const KEEP_ALIVE: &'static [u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        self.turns.push(event);
        while let Some(event) = self.turns.next() {
            self.tell(event, out);
        }
    }

    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>) {
        self.begin(out);
        let stop_reason = self.stopped.unwrap_or("end_turn");
        let event = json!({
            "type": "message_delta",
            "delta": { "stop_reason": stop_reason, "stop_sequence": null },
            "usage": Tokens::of(&response.usage),
        });
        write(out, Some("message_delta"), &event);
        write(out, Some("message_stop"), &json!({ "type": "message_stop" }));
    }

    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&refused.body(Dialect::Anthropic));
        out.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::Door;
    use super::super::super::tests::{CALLS_AT_ONCE, post, serve, streams, text};

    #[tokio::test]
    async fn calls_that_are_told_at_once_are_one_block_each() {
        let served = serve(Door::Inside, streams(CALLS_AT_ONCE, false));
        let asked = json!({ "max_tokens": 5, "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
        let said = text(served.send(post("/v1/messages", &asked, &[])).await).await;
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut blocks: Vec<(Value, Value, String)> = Vec::new();
        for event in data.map(|data| serde_json::from_str::<Value>(data).expect("JSON")) {
            match event["type"].as_str() {
                Some("content_block_start") => {
                    let block = &event["content_block"];
                    blocks.push((block["id"].clone(), block["name"].clone(), String::new()));
                }
                Some("content_block_delta") => {
                    let at = event["index"].as_u64().expect("a number") as usize;
                    assert_eq!(at + 1, blocks.len(), "{said}");
                    blocks[at].2.push_str(event["delta"]["partial_json"].as_str().expect("JSON"));
                }
                _ => {}
            }
        }
        let expected = [("c0", "f", "{\"a\":1}"), ("c1", "g", "{\"b\":2}")];
        assert_eq!(blocks, expected.map(|(id, name, input)| (json!(id), json!(name), input.to_owned())));
    }
}
