//! A streamed answer, as the responses API writes it: items are added, grow and are done, and each event has a number.

use serde_json::{Value, json};

use super::super::super::pump::{Encode, write};
use super::super::super::refused::Refused;
use super::super::super::turns::Turns;
use super::read::Echo;
use super::write::{finished, function_call, item_id, message, reasoning, refusal_part, response_id, shell, text_part};
use crate::pool::PoolStream;
use crate::types::{ChatResponse, ReasoningState, RequestId, StreamEvent, ToolCallDelta};

/// Writes the events of one answer.
pub(super) struct Events {
    echo: Echo,
    provider: String,
    asked_model: String,
    id: String,
    reply_id: String,
    model: String,
    created: u64,
    begun: bool,
    turns: Turns,
    /// Number of the next event.
    sequence: u64,
    /// Items that are done, as they were told, and how many.
    done: Vec<Value>,
    items: usize,
    open: Option<Open>,
    /// The reasoning is over; what comes of it now only signs it.
    state: Option<ReasoningState>,
}

/// The item that grows.
enum Open {
    Reasoning { text: String },
    Text { text: String },
    Refusal { text: String },
    Call { number: u32, call_id: String, name: String, arguments: String },
}

// === impl Events ===

impl Events {
    pub fn new(stream: &PoolStream, request_id: RequestId, echo: Echo) -> Self {
        let (provider, model) = stream.source();
        let created = crate::time::unix_ms() / 1000;
        Self {
            echo,
            provider: provider.to_owned(),
            asked_model: model.to_owned(),
            id: response_id(request_id.as_str()),
            reply_id: request_id.to_string(),
            model: model.to_owned(),
            created,
            begun: false,
            turns: Turns::default(),
            sequence: 0,
            done: Vec::new(),
            items: 0,
            open: None,
            state: None,
        }
    }

    fn tell(&mut self, kind: &str, mut fields: Value, out: &mut Vec<u8>) {
        fields["type"] = Value::from(kind);
        fields["sequence_number"] = Value::from(self.sequence);
        self.sequence += 1;
        write(out, Some(kind), &fields);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let response = shell(&self.id, &self.echo, &self.model, self.created, "in_progress");
        self.tell("response.created", json!({ "response": response }), out);
        self.tell("response.in_progress", json!({ "response": response }), out);
    }

    fn item_id(&self, kind: &str) -> String {
        item_id(kind, &self.reply_id, self.items)
    }

    /// Adds an item, after closing the one before it.
    fn add(&mut self, open: Open, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let (item, part) = match &open {
            Open::Reasoning { .. } => (reasoning(&self.item_id("rs"), "", None), Some(summary(""))),
            Open::Text { .. } => (message(&self.item_id("msg"), "in_progress", &[]), Some(text_part(""))),
            Open::Refusal { .. } => (message(&self.item_id("msg"), "in_progress", &[]), Some(refusal_part(""))),
            Open::Call { call_id, name, .. } => {
                (function_call(&self.item_id("fc"), call_id, name, "", "in_progress"), None)
            }
        };
        let id = item["id"].clone();
        self.tell("response.output_item.added", json!({ "output_index": self.items, "item": item }), out);
        if let Some(part) = part {
            let (kind, index) = match &open {
                Open::Reasoning { .. } => ("response.reasoning_summary_part.added", "summary_index"),
                _ => ("response.content_part.added", "content_index"),
            };
            self.tell(kind, json!({ "item_id": id, "output_index": self.items, index: 0, "part": part }), out);
        }
        self.open = Some(open);
    }

    fn delta(&mut self, kind: &str, index: Option<&str>, item: &str, delta: &str, out: &mut Vec<u8>) {
        let mut fields = json!({ "item_id": self.item_id(item), "output_index": self.items, "delta": delta });
        if let Some(index) = index {
            fields[index] = json!(0);
        }
        if kind == "response.output_text.delta" {
            fields["logprobs"] = json!([]);
        }
        self.tell(kind, fields, out);
    }

    /// The open item is whole.
    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        let at = self.items;
        let item = match open {
            Open::Reasoning { text } => {
                let id = self.item_id("rs");
                let fields = |more: (&str, Value)| json!({ "item_id": id, "output_index": at, "summary_index": 0, more.0: more.1 });
                self.tell("response.reasoning_summary_text.done", fields(("text", json!(text))), out);
                self.tell("response.reasoning_summary_part.done", fields(("part", summary(&text))), out);
                reasoning(&id, &text, self.state.take().as_ref())
            }
            Open::Text { text } => {
                let id = self.item_id("msg");
                let part = text_part(&text);
                let done =
                    json!({ "item_id": id, "output_index": at, "content_index": 0, "text": text, "logprobs": [] });
                self.tell("response.output_text.done", done, out);
                self.part_done(&id, &part, out);
                message(&id, "completed", &[part])
            }
            Open::Refusal { text } => {
                let id = self.item_id("msg");
                let part = refusal_part(&text);
                let done = json!({ "item_id": id, "output_index": at, "content_index": 0, "refusal": text });
                self.tell("response.refusal.done", done, out);
                self.part_done(&id, &part, out);
                message(&id, "completed", &[part])
            }
            Open::Call { call_id, name, arguments, .. } => {
                let id = self.item_id("fc");
                let done = json!({ "item_id": id, "output_index": at, "name": name, "arguments": arguments });
                self.tell("response.function_call_arguments.done", done, out);
                function_call(&id, &call_id, &name, &arguments, "completed")
            }
        };
        self.tell("response.output_item.done", json!({ "output_index": at, "item": item }), out);
        self.done.push(item);
        self.items += 1;
    }

    fn part_done(&mut self, id: &str, part: &Value, out: &mut Vec<u8>) {
        let fields = json!({ "item_id": id, "output_index": self.items, "content_index": 0, "part": part });
        self.tell("response.content_part.done", fields, out);
    }

    fn call(&mut self, piece: ToolCallDelta, out: &mut Vec<u8>) {
        let ToolCallDelta { index, id, name, arguments: delta } = piece;
        if !matches!(&self.open, Some(Open::Call { number, .. }) if *number == index) {
            let (call_id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
            self.add(Open::Call { number: index, call_id, name, arguments: String::new() }, out);
        }
        if let Some(Open::Call { arguments, .. }) = &mut self.open {
            arguments.push_str(&delta);
        }
        if !delta.is_empty() {
            self.delta("response.function_call_arguments.delta", None, "fc", &delta, out);
        }
    }

    fn text(&mut self, delta: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Text { .. })) {
            self.add(Open::Text { text: String::new() }, out);
        }
        if let Some(Open::Text { text }) = &mut self.open {
            text.push_str(delta);
        }
        self.delta("response.output_text.delta", Some("content_index"), "msg", delta, out);
    }

    fn refuse(&mut self, delta: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Refusal { .. })) {
            self.add(Open::Refusal { text: String::new() }, out);
        }
        if let Some(Open::Refusal { text }) = &mut self.open {
            text.push_str(delta);
        }
        self.delta("response.refusal.delta", Some("content_index"), "msg", delta, out);
    }

    fn think(&mut self, delta: &str, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.add(Open::Reasoning { text: String::new() }, out);
        }
        if let Some(Open::Reasoning { text }) = &mut self.open {
            text.push_str(delta);
        }
        self.delta("response.reasoning_summary_text.delta", Some("summary_index"), "rs", delta, out);
    }

    /// What a later turn is to bring back, on the reasoning that is open or on one of its own.
    fn sign(&mut self, state: Value, out: &mut Vec<u8>) {
        let state = ReasoningState { provider: self.provider.clone(), model: self.asked_model.clone(), state };
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.add(Open::Reasoning { text: String::new() }, out);
        }
        self.state = Some(state);
        self.close(out);
    }

    fn grow(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Start { id, model, created } => {
                if !id.is_empty() {
                    (self.id, self.reply_id) = (response_id(&id), id);
                }
                if !model.is_empty() {
                    self.model = model;
                }
                if created > 0 {
                    self.created = created;
                }
            }
            StreamEvent::Text(text) => self.text(&text, out),
            StreamEvent::Refusal(text) => self.refuse(&text, out),
            StreamEvent::Reasoning(text) => self.think(&text, out),
            StreamEvent::ReasoningState(state) => self.sign(state, out),
            StreamEvent::ToolCall(piece) => self.call(piece, out),
            StreamEvent::Usage(_) => {} // told when it is final
            StreamEvent::Finish { .. } => {
                self.begin(out);
                self.close(out);
            }
        }
    }
}

fn summary(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

impl Encode for Events {
    fn event(&mut self, event: StreamEvent, out: &mut Vec<u8>) {
        self.turns.push(event);
        while let Some(event) = self.turns.next() {
            self.grow(event, out);
        }
    }

    fn end(&mut self, response: &ChatResponse, out: &mut Vec<u8>) {
        let mut response = finished(&self.id, &self.echo, response);
        response["output"] = Value::Array(std::mem::take(&mut self.done));
        let kind = if response["status"] == "completed" { "response.completed" } else { "response.incomplete" };
        self.tell(kind, json!({ "response": response }), out);
    }

    fn error(&mut self, refused: &Refused, out: &mut Vec<u8>) {
        self.begin(out);
        let (code, message) = (refused.code.unwrap_or("server_error"), &refused.message);
        let mut response = shell(&self.id, &self.echo, &self.model, self.created, "failed");
        response["error"] = json!({ "code": code, "message": message });
        self.tell("error", json!({ "code": code, "message": message, "param": null }), out);
        self.tell("response.failed", json!({ "response": response }), out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::super::Door;
    use super::super::super::super::tests::{CALLS_AT_ONCE, post, serve, streams, text};

    #[tokio::test]
    async fn calls_that_are_told_at_once_are_one_item_each() {
        let served = serve(Door::Inside, streams(CALLS_AT_ONCE, false));
        let asked = json!({ "input": "hi", "stream": true });
        let said = text(served.send(post("/v1/responses", &asked, &[])).await).await;
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).expect("JSON")).collect();
        let added = events.iter().filter(|event| event["type"] == "response.output_item.added").count();
        let items = events.last().expect("an end")["response"]["output"].as_array().expect("a list").clone();
        let of = |item: &Value| ["call_id", "name", "arguments"].map(|field| item[field].clone());
        let expected = [["c0", "f", "{\"a\":1}"], ["c1", "g", "{\"b\":2}"]];
        assert_eq!(items.iter().map(of).collect::<Vec<_>>(), expected.map(|item| item.map(Value::from)), "{said}");
        assert_eq!(added, 2, "{said}");
    }
}
