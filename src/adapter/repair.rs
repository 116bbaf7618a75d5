//! What a refusal of one parameter names, and whether the request can go without it.
//!
//! Which model takes which field changes faster than any table. So a 400 that says which one is in the way is worth one
//! more try without it. Only optional fields are left out: without its messages, model or tools a request would ask
//! something else.

use crate::types::ChatRequest;

/// Codes under which `error.param` is a field that is not taken at all, or not with this value. (OpenAI's
/// `invalid_value` is not among them: there the caller is to mend the value.)
const CODES: &[&str] =
    &["unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden", "invalid_json_schema"];

/// Words that the name follows, in lower case.
const BEFORE: &[&str] = &[
    "unsupported parameter: ",
    "unsupported value: ",
    "unknown parameter: ",
    "unrecognized request argument supplied: ",
    "argument not supported on this model: ", // xAI
    "not permitted, field: ",                 // Fireworks
    "unknown name ",                          // Gemini
    "unknown field ",
    "does not support ", // Ollama: "m" does not support thinking
];

/// Words that follow the name.
const AFTER: &[&str] = &[
    " is unsupported", // Groq: property 'x' is unsupported
    " is not supported",
    " is not supported by this model",
    " does not support streaming",     // Groq: `response_format` does not support streaming
    " json_object cannot be combined", // Groq: with tool/function calling
    " json_schema cannot be combined",
    ": extra inputs are not permitted", // Anthropic, and FastAPI's `loc: msg`
];

/// Fields of a request that it can go without, with the names services have for them.
const OPTIONAL: &[(&str, &[&str])] = &[
    ("temperature", &[]),
    ("top_p", &["p"]),
    ("presence_penalty", &[]),
    ("frequency_penalty", &[]),
    ("stop", &["stop_sequences"]),
    ("seed", &["random_seed"]),
    ("tool_choice", &[]),
    ("parallel_tool_calls", &["disable_parallel_tool_use"]),
    (
        "response_format",
        &["format", "json_schema", "output_format", "response_mime_type", "response_schema", "response_json_schema"],
    ),
    ("reasoning_effort", &["reasoning", "effort", "thinking", "thinking_config", "think"]),
    ("user", &["user_id"]),
    ("metadata", &[]),
];

/// Words that name the schema of an answer, wherever in it the fault is, and the field that they stand for.
const SCHEMA: &[(&str, &str)] = &[
    ("invalid schema for response_format", "response_format"),
    ("json mode cannot be combined", "response_format"), // Groq: with tool/function calling
    ("output_config.format", "output_format"),
    ("output_format", "output_format"),
    ("response_json_schema", "response_json_schema"),
];

/// The spellings of the answer's bound; each stands for itself, because the other one may be taken.
const MAX_TOKENS: &[&str] = &["max_tokens", "max_completion_tokens"];

/// The parameter that an error of the caller's names, as the service spells it.
pub(super) fn named(code: Option<&str>, param: Option<&str>, message: &str) -> Option<String> {
    let coded = code.is_some_and(|code| CODES.contains(&code.to_ascii_lowercase().as_str()));
    if let Some(param) = param.filter(|param| coded && !param.is_empty()) {
        return Some(param.to_owned());
    }
    let lower = message.to_ascii_lowercase(); // the same places in both
    if let Some((_, field)) = SCHEMA.iter().find(|(words, _)| lower.contains(words)) {
        return Some((*field).to_owned());
    }
    let after_words = BEFORE.iter().filter_map(|words| {
        let start = lower.find(words)? + words.len();
        let rest = message[start..].trim_start_matches(is_quote);
        let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
        Some(&rest[..end])
    });
    let before_words = AFTER.iter().filter_map(|words| {
        let head = message[..lower.find(words)?].trim_end_matches(is_quote);
        Some(head.rsplit(|letter| !is_name(letter)).next().unwrap_or_default())
    });
    before_words.chain(after_words).map(|name| name.trim_matches('.')).find(|name| !name.is_empty()).map(str::to_owned)
}

/// The field of the request that `named` is, if it is there and can be left out. `asks_usage`: the stream is asked to
/// report usage; `max_tokens` and `temperature`: what the configuration adds.
pub(super) fn field(
    request: &ChatRequest,
    asks_usage: bool,
    named: &str,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
) -> Option<String> {
    // `body.messages.0.name`, `messages[0].name`, `generation_config.seed`, `presencePenalty`.
    let path: Vec<String> = named
        .split(['.', '[', ']'])
        .filter(|step| !step.is_empty() && *step != "body" && step.parse::<usize>().is_err())
        .map(snake_case)
        .collect();
    if path.first().is_some_and(|first| first == "messages") {
        let has = request.messages.iter().any(|message| message.name.is_some());
        return path.get(1).filter(|step| *step == "name" && has).map(|_| "messages[].name".to_owned());
    }
    let steps = [path.first()?, path.last()?];
    let max_tokens = request.max_tokens.or(max_tokens);
    if let Some(name) = MAX_TOKENS.iter().find(|name| *steps[0] == **name).filter(|_| max_tokens.is_some()) {
        return Some((*name).to_owned());
    }
    if steps[0] == "stream_options" && asks_usage {
        return Some("stream_options".to_owned());
    }
    steps.into_iter().find_map(|step| {
        let ours = OPTIONAL.iter().find(|(ours, theirs)| step == ours || theirs.contains(&step.as_str()));
        match ours {
            Some((ours, _)) => Some(*ours).filter(|ours| is_set(request, ours, temperature)),
            None => {
                let foreign = request.foreign.iter().flat_map(|foreign| foreign.only_here());
                let mut passed = request.openai_fields.keys().map(String::as_str).chain(foreign);
                passed.find(|key| key == step)
            }
        }
        .map(str::to_owned)
    })
}

fn is_set(request: &ChatRequest, field: &str, temperature: Option<f64>) -> bool {
    match field {
        "temperature" => request.temperature.or(temperature).is_some(),
        "top_p" => request.top_p.is_some(),
        "presence_penalty" => request.presence_penalty.is_some(),
        "frequency_penalty" => request.frequency_penalty.is_some(),
        "stop" => !request.stop.is_empty(),
        "seed" => request.seed.is_some(),
        "tool_choice" => request.tool_choice.is_some(),
        "parallel_tool_calls" => request.parallel_tool_calls.is_some(),
        "response_format" => request.response_format.is_some(),
        "reasoning_effort" => request.reasoning_effort.is_some(),
        "user" => request.user.is_some(),
        "metadata" => request.metadata.is_some(),
        _ => false,
    }
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '\'' | '"' | '`' | ' ')
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '[' | ']')
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::types::parse_call;

    fn request(fields: Value) -> ChatRequest {
        let mut call = json!({ "messages": [{ "role": "user", "content": "hi", "name": "n" }] });
        let Value::Object(fields) = fields else { panic!("an object") };
        call.as_object_mut().expect("an object").extend(fields);
        parse_call(&call.to_string()).expect("valid").request
    }

    #[test]
    fn the_name_is_found_however_it_is_said() {
        for (code, param, message, name) in [
            (Some("unsupported_parameter"), Some("max_tokens"), "Unsupported parameter: 'x'", Some("max_tokens")),
            (Some("unsupported_value"), Some("temperature"), "m", Some("temperature")),
            (None, None, "Unsupported parameter: 'top_p' is not supported with this model.", Some("top_p")),
            (None, None, "property 'logprobs' is unsupported, did you mean 'top_p'?", Some("logprobs")),
            (None, None, "'messages.0' : for 'role:user' property 'name' is unsupported", Some("name")),
            (None, None, "Extra inputs are not permitted, field: 'seed', value: 7", Some("seed")),
            (None, None, "body.seed: Extra inputs are not permitted", Some("body.seed")),
            (None, None, "Argument not supported on this model: presencePenalty", Some("presencePenalty")),
            (None, None, "Invalid JSON payload received. Unknown name \"seed\": Cannot find field.", Some("seed")),
            (None, None, "`temperature` is not supported by this model", Some("temperature")),
            (None, None, "\"llama3.2\" does not support thinking", Some("thinking")),
            (Some("invalid_json_schema"), Some("response_format"), "m", Some("response_format")),
            (
                None,
                Some("response_format"),
                "Invalid schema for response_format 'n': In context=(), 'oneOf' is not permitted.",
                Some("response_format"),
            ),
            (
                None,
                None,
                "output_config.format.schema: For 'integer' type, property 'minimum' is not supported",
                Some("output_format"),
            ),
            (
                None,
                None,
                "Unknown name \"x\" at 'generation_config.response_json_schema.properties[0]'",
                Some("response_json_schema"),
            ),
            (None, None, "`response_format` does not support streaming", Some("response_format")),
            (
                None,
                None,
                "'response_format' json_object cannot be combined with tool/function calling",
                Some("response_format"),
            ),
            (Some("invalid_value"), Some("temperature"), "must be below 2", None),
            (Some("unsupported_value"), None, "m", None),
            (None, None, "", None),
            (None, None, "'é' is unsupported", None),
            (None, None, "unknown field ", None),
        ] {
            assert_eq!(named(code, param, message).as_deref(), name, "{code:?} {param:?} {message}");
        }
    }

    #[test]
    fn only_an_optional_field_that_is_there_is_left_out() {
        let full = request(json!({ "seed": 1, "presence_penalty": 1, "max_tokens": 9, "logprobs": true, "stop": "x",
            "response_format": { "type": "json_object" } }));
        for (name, ours) in [
            ("seed", Some("seed")),
            ("random_seed", Some("seed")),
            ("body.seed", Some("seed")),
            ("generationConfig.seed", Some("seed")),
            ("presencePenalty", Some("presence_penalty")),
            ("response_format.json_schema", Some("response_format")),
            ("output_format", Some("response_format")),
            ("messages[0].name", Some("messages[].name")),
            ("messages.0.content", None),
            ("logprobs", Some("logprobs")),
            ("max_completion_tokens", Some("max_completion_tokens")),
            ("stop_sequences", Some("stop")),
            ("temperature", None),
            ("tools", None),
            ("model", None),
            ("stream_options", None),
            ("", None),
        ] {
            assert_eq!(field(&full, false, name, None, None).as_deref(), ours, "{name}");
        }
        let plain = request(json!({}));
        assert_eq!(field(&plain, true, "stream_options", None, None).as_deref(), Some("stream_options"));
        assert_eq!(field(&plain, false, "temperature", None, Some(1.0)).as_deref(), Some("temperature"));
        assert_eq!(field(&plain, false, "max_tokens", Some(1), None).as_deref(), Some("max_tokens"));
    }
}
