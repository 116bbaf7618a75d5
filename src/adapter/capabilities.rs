//! What a model can do, as sets, and what a request needs of whoever answers it.

use std::fmt;

use crate::types::{ChatRequest, Content, Part, Role};

/// One thing that a model can do or not. The names are those of `capabilities` in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Answers chat requests.
    Chat,
    /// Makes embeddings.
    Embeddings,
    /// Calls tools.
    Tools,
    /// Calls several of them in one turn.
    ParallelTools,
    /// Keeps to a JSON Schema by its own means. Where it does not, the pool asks in another way and checks the answer.
    JsonSchema,
    /// Reads images.
    Vision,
    /// Reads sound.
    Audio,
    /// Reads files.
    Files,
}

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Capabilities(u8);

impl Capability {
    /// Every one, in the order documentation lists them.
    pub const ALL: [Self; 8] = [
        Self::Chat,
        Self::Embeddings,
        Self::Tools,
        Self::ParallelTools,
        Self::JsonSchema,
        Self::Vision,
        Self::Audio,
        Self::Files,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Tools => "tools",
            Self::ParallelTools => "parallel_tools",
            Self::JsonSchema => "json_schema",
            Self::Vision => "vision",
            Self::Audio => "audio",
            Self::Files => "files",
        }
    }

    /// ```
    /// use llmpool::adapter::Capability;
    /// assert_eq!(Capability::named("vision"), Some(Capability::Vision));
    /// assert_eq!(Capability::named("Vision"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

impl Capabilities {
    /// What kind of model it is, beside which everything else is a feature.
    pub(super) const KINDS: Self = Self::of(&[Capability::Chat, Capability::Embeddings]);

    pub const fn of(list: &[Capability]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < list.len() {
            bits |= 1 << list[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }

    /// What a chat request needs. A schema is not among it: where there is none, the answer is asked for otherwise.
    pub fn needed_by(request: &ChatRequest) -> Self {
        let mut needed = Self::of(&[Capability::Chat]);
        if !request.tools.is_empty() {
            needed.add(Capability::Tools);
            if request.parallel_tool_calls == Some(true) {
                needed.add(Capability::ParallelTools);
            }
        }
        for message in &request.messages {
            match message.tool_calls.len() {
                0 if message.role != Role::Tool => {}
                0 | 1 => needed.add(Capability::Tools),
                _ => needed = needed.and(Self::of(&[Capability::Tools, Capability::ParallelTools])),
            }
            let Content::Parts(parts) = &message.content else { continue };
            for part in parts {
                match part {
                    Part::Text { .. } => {}
                    Part::ImageUrl { .. } => needed.add(Capability::Vision),
                    Part::InputAudio { .. } => needed.add(Capability::Audio),
                    Part::File { .. } => needed.add(Capability::Files),
                }
            }
        }
        needed
    }

    fn add(&mut self, capability: Capability) {
        *self = self.and(Self::of(&[capability]));
    }
}

impl fmt::Display for Capabilities {
    /// `tools, vision`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, capability) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            f.write_str(capability.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::parse_call;

    fn needed(fields: serde_json::Value) -> String {
        let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }] });
        call.as_object_mut().expect("an object").extend(fields.as_object().cloned().expect("an object"));
        Capabilities::needed_by(&parse_call(&call.to_string()).expect("a call").request).to_string()
    }

    #[test]
    fn a_request_needs_what_is_in_it() {
        let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let says = |part: serde_json::Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
        assert_eq!(needed(json!({})), "chat");
        assert_eq!(needed(json!({ "tools": tools })), "chat, tools");
        assert_eq!(needed(json!({ "tools": tools, "parallel_tool_calls": false })), "chat, tools");
        assert_eq!(needed(json!({ "tools": tools, "parallel_tool_calls": true })), "chat, tools, parallel_tools");
        let history = json!({ "messages": [{ "role": "assistant", "tool_calls": [call("a"), call("b")] }] });
        assert_eq!(needed(history), "chat, tools, parallel_tools");
        let result = json!({ "messages": [{ "role": "tool", "tool_call_id": "a", "content": "1" }] });
        assert_eq!(needed(result), "chat, tools");
        assert_eq!(needed(says(json!({ "type": "text", "text": "x" }))), "chat");
        assert_eq!(needed(says(json!({ "type": "image_url", "image_url": { "url": "https://a/b" } }))), "chat, vision");
        assert_eq!(needed(says(json!({ "type": "input_audio", "input_audio": {} }))), "chat, audio");
        assert_eq!(needed(says(json!({ "type": "file", "file": {} }))), "chat, files");
    }

    #[test]
    fn every_name_finds_its_capability() {
        for capability in Capability::ALL {
            assert_eq!(Capability::named(capability.name()), Some(capability));
            assert_eq!(Capabilities::of(&[capability]).iter().collect::<Vec<_>>(), [capability]);
        }
    }
}
