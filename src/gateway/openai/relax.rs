//! Reads a chat request more kindly than the pool does.
//!
//! Programs send back the messages they were given, with everything their provider once put into them: `annotations`,
//! `audio: null`. The pool knows none of it and refuses what it does not know, which is right for a field that somebody
//! writes by hand. Here such fields are left out and, where they said anything, named in a warning.

use serde_json::{Map, Value};

use crate::types::{FieldError, ParsedCall, parse_openai};

/// Fields of a message that the pool reads.
const KNOWN: &[&str] = &[
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_state",
];

/// The forerunner of `tool_calls`: a turn without it would mean something else, so it stays and is refused.
const NEEDED: &str = "function_call";

/// What an answer has no place for here: a provider would only work for nothing.
const NOT_HANDED_ON: [&str; 2] = ["logprobs", "top_logprobs"];

/// Reads a request; what is left out of it stands in its warnings.
pub(super) fn parse(json: &str) -> Result<ParsedCall, FieldError> {
    // Only what the pool refuses is read a second time.
    let mut call = parse_openai(json).or_else(|refused| {
        let Some((mended, left_out)) = mend(json) else { return Err(refused) };
        let mut call = parse_openai(&mended)?;
        call.warnings.extend(left_out);
        Ok(call)
    })?;
    for name in NOT_HANDED_ON {
        let asked = call.request.openai_fields.remove(name);
        if asked.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
            call.warnings.push(format!("{name}: not handed on by this gateway, not sent"));
        }
    }
    Ok(call)
}

/// The request without what the pool does not know of its messages; `None`: that is not what is wrong with it.
fn mend(json: &str) -> Option<(String, Vec<String>)> {
    let mut request: Value = serde_json::from_str(json).ok()?;
    let mut warnings = Vec::new();
    let mut changed = false;
    for (index, message) in request.get_mut("messages")?.as_array_mut()?.iter_mut().enumerate() {
        let Some(message) = message.as_object_mut() else { continue };
        changed |= mend_message(message, index, &mut warnings);
    }
    changed.then(|| (request.to_string(), warnings))
}

fn mend_message(message: &mut Map<String, Value>, index: usize, warnings: &mut Vec<String>) -> bool {
    let before = message.len();
    // Two names of one thing.
    if message.get("reasoning").is_some_and(Value::is_string) || message.get("reasoning_content") == Some(&Value::Null)
    {
        message.remove("reasoning_content");
    }
    message.retain(|name, value| {
        let says_nothing = match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        let stays = KNOWN.contains(&name.as_str()) || (name == NEEDED && !says_nothing);
        if !stays && !says_nothing {
            warnings.push(format!("messages[{index}].{name}: not known here, not sent"));
        }
        stays
    });
    message.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_be_sent_back_as_it_came() {
        let call = parse(
            r#"{"messages":[{"role":"user","content":"hi"},
                {"role":"assistant","content":"yes","annotations":[],"audio":null,"function_call":null,
                 "reasoning":"hm","reasoning_content":"hm","x":1}]}"#,
        )
        .expect("valid");
        assert_eq!(call.warnings, ["messages[1].x: not known here, not sent"]);
        assert_eq!(call.request.messages[1].reasoning.as_deref(), Some("hm"));
    }

    #[test]
    fn what_no_answer_would_have_is_not_asked_for() {
        let call = parse(r#"{"messages":[{"role":"user","content":"hi"}],"logprobs":true,"top_logprobs":2}"#);
        let call = call.expect("valid");
        assert!(call.request.openai_fields.is_empty());
        let said = ["logprobs", "top_logprobs"].map(|name| format!("{name}: not handed on by this gateway, not sent"));
        assert_eq!(call.warnings, said);
        let call = parse(r#"{"messages":[{"role":"user","content":"hi"}],"logprobs":false,"top_logprobs":null}"#);
        assert_eq!(call.expect("valid").warnings, [""; 0]);
    }

    #[test]
    fn what_is_wrong_otherwise_is_refused_as_ever() {
        for (json, field) in [
            (r#"{"messages":[{"role":"wizard","content":"hi","x":1}]}"#, "messages[0].role"),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"a","function_call":{"name":"f"}}]}"#,
                "messages[1].function_call",
            ),
            (r#"{"messages":[],"#, ""),
            ("", ""),
        ] {
            assert_eq!(parse(json).expect_err("refused").field, field, "{json}");
        }
    }
}
