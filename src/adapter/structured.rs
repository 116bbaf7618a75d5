//! A schema where the dialect or the model has none: told in words, beside the plain JSON mode where there is one. What
//! comes is checked by whoever asked, as everywhere.

use serde_json::Value;

use super::capabilities::Capability;
use super::catalog::{AdapterKind, Service};
use super::facts::Facts;
use crate::types::{ChatRequest, Content, Message, Part, ResponseFormat, Role};

const FIELD: &str = "response_format";
const TOLD: &str = "Answer with one JSON value that fits this JSON Schema, and with nothing else: no code fence, no words \
                    before or after it.";

/// The request with its schema in words; `None`: it has none, or this model keeps to it by itself.
pub(super) fn told(
    request: &ChatRequest,
    service: &Service,
    facts: Facts,
    without: &[String],
) -> Option<(Box<ChatRequest>, String)> {
    let Some(ResponseFormat::JsonSchema(format)) = &request.response_format else { return None };
    let refused = without.iter().any(|field| field == FIELD);
    let beside_tools = service.adapter == AdapterKind::Cohere && !request.tools.is_empty();
    let native = service.dialect.json_schema && !facts.cannot.contains(Capability::JsonSchema);
    if native && !refused && !beside_tools {
        return None;
    }
    let mut request = Box::new(request.clone());
    // Models that had no schema had the plain mode before, but for Anthropic's.
    let plain = service.adapter != AdapterKind::Anthropic && !refused && !beside_tools;
    request.response_format = plain.then_some(ResponseFormat::JsonObject);
    let schema = format.get("schema").unwrap_or(&Value::Null);
    tell(&mut request.messages, &format!("{TOLD}\n{schema}"));
    let warning = format!("{FIELD}: {} takes no json_schema for this, told in words instead", service.name);
    Some((request, warning))
}

/// Says it at the end of the system's text, or of the last question.
fn tell(messages: &mut Vec<Message>, words: &str) {
    let leads = messages.first().is_some_and(|first| matches!(first.role, Role::System | Role::Developer));
    let place = if leads { Some(0) } else { messages.iter().rposition(|message| message.role == Role::User) };
    let Some(message) = place.and_then(|at| messages.get_mut(at)) else {
        return messages.push(Message::text(Role::User, words));
    };
    match &mut message.content {
        Content::Empty => message.content = Content::Text(words.to_owned()),
        Content::Text(text) => {
            text.push_str("\n\n");
            text.push_str(words);
        }
        Content::Parts(parts) => parts.push(Part::Text { text: words.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Endpoint, EndpointParams, service};
    use crate::types::parse_call;

    fn sent(name: &str, model: &str, more: serde_json::Value, without: &[String]) -> (serde_json::Value, Vec<String>) {
        let mut call = json!({ "messages": [{ "role": "user", "content": "hi" }], "response_format": { "type": "json_schema",
            "json_schema": { "name": "n", "schema": { "type": "object", "required": ["a"] } } } });
        call.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let request = parse_call(&call.to_string()).expect("a call").request;
        let endpoint = Endpoint::new(EndpointParams::new(service(name).expect("known"))).expect("valid");
        let encoded = endpoint.encode_chat(&request, model, false, without).expect("encodes");
        (serde_json::from_slice(&encoded.body).expect("JSON"), encoded.warnings)
    }

    #[test]
    fn a_schema_goes_as_it_is_where_there_is_one_and_in_words_elsewhere() {
        let (body, warnings) = sent("openai", "gpt-4o", json!({}), &[]);
        assert_eq!((body["response_format"]["type"].as_str(), warnings.len()), (Some("json_schema"), 0));
        for (name, model, format) in [
            ("openai", "gpt-3.5-turbo", json!({ "type": "json_object" })),
            ("deepseek", "deepseek-chat", json!({ "type": "json_object" })),
            ("groq", "llama-3.3-70b-versatile", json!({ "type": "json_object" })),
            ("anthropic", "claude-3-5-sonnet-20241022", json!(null)),
        ] {
            let (body, warnings) = sent(name, model, json!({}), &[]);
            assert_eq!(body.get("response_format").cloned().unwrap_or_default(), format, "{name}");
            assert!(body["messages"][0]["content"].to_string().contains("required"), "{name}: {body}");
            assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        }
    }

    #[test]
    fn the_words_stand_behind_the_systems_own_or_the_last_question() {
        let system =
            json!({ "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }] });
        let (body, _) = sent("deepseek", "deepseek-chat", system, &[]);
        assert!(
            body["messages"][0]["content"].as_str().is_some_and(|text| text.starts_with("Be brief.\n\nAnswer with"))
        );
        assert_eq!(body["messages"][1]["content"], "hi");
    }

    #[test]
    fn a_provider_that_refuses_the_field_is_told_in_words() {
        let (body, _) = sent("openai", "gpt-4o", json!({}), &["response_format".to_owned()]);
        assert_eq!(body.get("response_format"), None);
        assert!(body["messages"][0]["content"].to_string().contains("required"));
    }
}
