//! Reads the parts of a request that several dialects want in pieces: where an image is, arguments as an object, and
//! which call a result answers.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::gate::Gate;
use crate::types::{Content, FieldError, Function, ImageUrl, Message, Part, ToolCall};

/// Where an image or a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media<'a> {
    /// `data:image/png;base64,…`, its data still in base64.
    Inline { media_type: &'a str, data: &'a str },
    /// A URL of any other scheme.
    Remote(&'a str),
}

/// The arguments of a call where a dialect wants an object: as the model wrote it, or wrapped when that is none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Arguments<'a> {
    Object(&'a RawValue),
    Wrapped { arguments: &'a str },
    Empty {},
}

// === impl Media ===

impl<'a> Media<'a> {
    /// `None`: a data URI that is not in base64 or has no type, or no URI at all.
    pub fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("data") {
            let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && rest.starts_with("//");
            return named.then_some(Self::Remote(url));
        }
        let (head, data) = rest.split_once(',')?;
        let mut words = head.split(';');
        let media_type = words.next().filter(|media_type| !media_type.is_empty())?;
        words.any(|word| word.eq_ignore_ascii_case("base64")).then_some(Self::Inline { media_type, data })
    }
}

// === impl Arguments ===

impl<'a> Arguments<'a> {
    pub fn of(text: &'a str) -> Self {
        match json_object(text) {
            Some(object) => Self::Object(object),
            None if text.trim().is_empty() => Self::Empty {},
            None => Self::Wrapped { arguments: text },
        }
    }
}

/// An address that a server on the web answers.
pub(super) fn is_web(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

/// The arguments of the call at `messages[index].tool_calls[at]` as an object, with a warning where they were none.
pub(super) fn arguments<'a>(call: &'a ToolCall, index: usize, at: usize, gate: &mut Gate<'_>) -> Arguments<'a> {
    let arguments = Arguments::of(&call.function.arguments);
    if let Arguments::Wrapped { .. } = arguments {
        gate.warn(
            format_args!("messages[{index}].tool_calls[{at}].function.arguments"),
            "no JSON object, sent as { \"arguments\": … }",
        );
    }
    arguments
}

/// The schema of a function's arguments, where a dialect needs one: without any, an object of nothing.
pub(super) fn schema(function: &Function) -> Cow<'_, Value> {
    match &function.parameters {
        Some(schema) => Cow::Borrowed(schema),
        None => Cow::Owned(json!({ "type": "object", "properties": {} })),
    }
}

/// A part of a message that is only named by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemotePart<'a> {
    /// Which message, and which part of its content.
    pub message: usize,
    pub part: usize,
    pub url: &'a str,
}

impl RemotePart<'_> {
    /// The path of the part in the request.
    pub fn field(&self) -> String {
        format!("messages[{}].content[{}]", self.message, self.part)
    }
}

/// The parts that stand on the web, at addresses for which `wanted` holds.
pub(super) fn remote<'a>(messages: &'a [Message], wanted: impl Fn(&str) -> bool) -> Vec<RemotePart<'a>> {
    let mut found = Vec::new();
    for (message, Message { content, .. }) in messages.iter().enumerate() {
        let Content::Parts(parts) = content else { continue };
        for (part, said) in parts.iter().enumerate() {
            let url = match said {
                Part::ImageUrl { image_url } => Some(image_url.url.as_str()),
                Part::File { file } => text_of(file, "file_data"),
                Part::Text { .. } | Part::InputAudio { .. } => None,
            };
            found.extend(url.filter(|url| is_web(url) && wanted(url)).map(|url| RemotePart { message, part, url }));
        }
    }
    found
}

/// Names the `detail` of an image, where a dialect has no such thing.
pub(super) fn refuse_detail(image: &ImageUrl, index: usize, at: usize, gate: &mut Gate<'_>) {
    if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
        gate.refuse_unsupported(format_args!("messages[{index}].content[{at}].image_url.detail"));
    }
}

/// The state of the reasoning behind a message, where this provider made it with this very model.
pub(super) fn own_state<'a>(message: &'a Message, gate: &Gate<'_>) -> Option<&'a Value> {
    message.reasoning_state.as_deref().filter(|state| gate.made(state)).map(|state| &state.state)
}

/// The text as it is, if it is a JSON object.
pub(super) fn json_object(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text.trim()).ok().filter(|json| json.get().starts_with('{'))
}

/// The call that the tool message at `index` answers: the last one of its id before it.
pub(super) fn answered_call(messages: &[Message], index: usize) -> Option<&ToolCall> {
    let id = messages.get(index)?.tool_call_id.as_deref()?;
    messages[..index].iter().rev().flat_map(|message| message.tool_calls.iter().rev()).find(|call| call.id == id)
}

/// The text under `key` in what a caller wrote freely.
pub(super) fn text_of<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// A part of a message that cannot be sent.
pub(super) fn refusal(message: usize, part: usize, why: impl Into<String>) -> FieldError {
    FieldError { field: format!("messages[{message}].content[{part}]"), message: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Role;

    #[test]
    fn a_data_uri_is_taken_apart_and_other_urls_stay_whole() {
        let png = Media::Inline { media_type: "image/png", data: "AAAA" };
        for (url, expected) in [
            ("data:image/png;base64,AAAA", Some(png)),
            ("DATA:image/png;charset=utf-8;BASE64,AAAA", Some(png)),
            ("https://h/a.png", Some(Media::Remote("https://h/a.png"))),
            ("gs://b/a.png", Some(Media::Remote("gs://b/a.png"))),
            ("data:image/png,AAAA", None),
            ("data:;base64,AAAA", None),
            ("data:image/png;base64", None),
            ("AAAA", None),
            ("://x", None),
            ("", None),
        ] {
            assert_eq!(Media::of(url), expected, "{url}");
        }
    }

    #[test]
    fn arguments_become_an_object_whatever_they_were() {
        for (text, sent) in [
            (" {\"x\": 1} ", "{\"x\": 1}"),
            ("", "{}"),
            (" ", "{}"),
            ("null", r#"{"arguments":"null"}"#),
            ("[1]", r#"{"arguments":"[1]"}"#),
            ("{\"x\"", r#"{"arguments":"{\"x\""}"#),
        ] {
            assert_eq!(serde_json::to_string(&Arguments::of(text)).expect("JSON"), sent, "{text}");
        }
    }

    #[test]
    fn a_result_finds_the_last_call_of_its_id() {
        let call = |name: &str| Message {
            tool_calls: vec![ToolCall::function("a", name, "{}")],
            ..Message::text(Role::Assistant, "")
        };
        let result = Message { tool_call_id: Some("a".to_owned()), ..Message::text(Role::Tool, "1") };
        let messages = [call("f"), result.clone(), call("g"), result, call("h")];
        let name = |index| answered_call(&messages, index).map(|call| call.function.name.as_str());
        assert_eq!((name(1), name(3), name(0)), (Some("f"), Some("g"), None));
    }
}
