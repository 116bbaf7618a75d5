//! Reads one call from JSON: request fields and call options side by side, as the JavaScript face takes them.
//!
//! Whatever is wrong is refused before anything is sent, with the path of the field. The fast path parses once; only a
//! text that fails is parsed again to learn where.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::ensemble::Strategy;
use super::ids::RequestId;
use super::message::{Content, Message, Role};
use super::object::Object;
use super::options::{CacheWish, CallOptions};
use super::request::{Api, ChatRequest, ForeignFields, ResponseFormat};
use super::surrogates;

/// A field of a request that cannot be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path in the caller's own words: `messages[2].role`. Empty when it is the whole request.
    pub field: String,
    pub message: String,
}

impl FieldError {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

/// One call as it was asked for, with what had to be changed to take it.
#[derive(Debug, Default)]
pub struct ParsedCall {
    pub request: ChatRequest,
    pub options: CallOptions,
    pub stream: bool,
    /// The caller wants to be told the usage at the end of a stream. Only clients of OpenAI's API ask.
    pub stream_usage: bool,
    pub warnings: Vec<String>,
}

/// Longest wait a call may ask for: a year. Larger numbers saturate here, so that no deadline overflows the clock.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads and checks a call.
///
/// A lone surrogate (half of a character that JavaScript strings can hold and UTF-8 cannot) becomes U+FFFD with a
/// warning; a NUL passes.
pub fn parse_call(json: &str) -> Result<ParsedCall, FieldError> {
    let (call, replaced) = read_text(json)?;
    finish(call, replaced)
}

/// Reads and checks the body of a request to OpenAI's chat API. It has no options of ours, and fields that are not
/// known here are kept for providers that may know them.
///
/// # Errors
/// As [`parse_call`], but for unknown fields beside `messages`.
pub fn parse_openai(json: &str) -> Result<ParsedCall, FieldError> {
    let (OpenAiCall(call), replaced) = read_text(json)?;
    finish(call, replaced)
}

fn finish(mut call: ParsedCall, replaced: usize) -> Result<ParsedCall, FieldError> {
    call.warnings.extend(said_of_surrogates(replaced));
    check(&call.request)?;
    Ok(call)
}

/// Reads anything that is written in JSON, and says how many lone surrogates were replaced in it.
///
/// # Errors
/// The path of what cannot be read, and why.
pub fn read_text<T: de::DeserializeOwned>(json: &str) -> Result<(T, usize), FieldError> {
    let halves = surrogates::lone(json.as_bytes());
    let json =
        if halves.is_empty() { Cow::Borrowed(json) } else { Cow::Owned(surrogates::replaced_text(json, &halves)) };
    match serde_json::from_str(&json) {
        Ok(call) => Ok((call, halves.len())),
        Err(_) => Err(explain::<T>(&json)),
    }
}

/// What is to be said of so many lone surrogates that were replaced.
pub fn said_of_surrogates(replaced: usize) -> Option<String> {
    (replaced > 0).then(|| format!("{replaced} lone surrogate(s) in the request became U+FFFD"))
}

/// Reads and checks options of a call that has no request, with the model it is for.
pub fn parse_options(json: &str) -> Result<(Option<String>, CallOptions), FieldError> {
    let (ParsedCall { request, options, stream, .. }, _) = read_text(json)?;
    let model = request.model.clone();
    let CallOptions { cache, strategy, task, .. } = &options;
    for (field, is_set) in [("cache", cache.is_some()), ("strategy", strategy.is_some()), ("task", task.is_some())] {
        if is_set {
            return Err(FieldError::new(field, "is for chats and streams, not for a function of your own"));
        }
    }
    if stream || request != (ChatRequest { model: request.model.clone(), ..ChatRequest::default() }) {
        return Err(FieldError::new(
            "",
            "a function of your own takes options and a model, no other field of a request",
        ));
    }
    Ok((model, options))
}

/// Parses once more, keeping track of the path.
fn explain<T: de::DeserializeOwned>(json: &str) -> FieldError {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => FieldError::new("", "the request is not a JSON object"),
        Err(error) => {
            let path = error.path().to_string();
            let message = error.into_inner().to_string();
            // serde_json ends its messages with a position in a text the caller never saw.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
            match message.split_once(UNKNOWN_FIELD) {
                Some((_, rest)) => FieldError::new(join(&path, rest.split('`').nth(1).unwrap_or_default()), message),
                None => FieldError::new(if matches!(path.as_str(), "." | "?") { "" } else { &path }, message),
            }
        }
    }
}

/// How serde words a field that a type does not have; our own map visitor words it the same.
const UNKNOWN_FIELD: &str = "unknown field ";

fn join(path: &str, field: &str) -> String {
    // serde reports the path with or without the unknown key itself, depending on the kind of map.
    if path == "." || path.is_empty() {
        field.to_owned()
    } else if path == field || path.ends_with(&format!(".{field}")) {
        path.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// The range of OpenAI's chat API.
pub(crate) const TEMPERATURES: RangeInclusive<f64> = 0.0..=2.0;

/// Checks what a type cannot say: emptiness, ranges, and which fields a role needs.
///
/// # Errors
/// The first field that cannot be taken.
pub fn check(request: &ChatRequest) -> Result<(), FieldError> {
    if request.messages.is_empty() {
        return Err(FieldError::new("messages", "must be an array with at least one message"));
    }
    for (index, message) in request.messages.iter().enumerate() {
        check_message(index, message)?;
    }
    // Ranges of OpenAI's chat API, whose fields these are.
    for (field, value, range) in [
        ("temperature", request.temperature, TEMPERATURES),
        ("top_p", request.top_p, 0.0..=1.0),
        ("presence_penalty", request.presence_penalty, -2.0..=2.0),
        ("frequency_penalty", request.frequency_penalty, -2.0..=2.0),
    ] {
        if let Some(value) = value
            && !range.contains(&value)
        {
            let (low, high) = (range.start(), range.end());
            return Err(FieldError::new(field, format!("must be between {low} and {high}, found {value}")));
        }
    }
    if request.max_tokens == Some(0) {
        return Err(FieldError::new("max_tokens", "must be at least 1"));
    }
    if let Some(ResponseFormat::JsonSchema(format)) = &request.response_format {
        check_format(format)?;
    }
    for (index, tool) in request.tools.iter().enumerate() {
        if tool.kind != "function" {
            return Err(FieldError::new(format!("tools[{index}].type"), "must be \"function\""));
        }
        if tool.function.name.is_empty() {
            return Err(FieldError::new(format!("tools[{index}].function.name"), "must not be empty"));
        }
    }
    Ok(())
}

/// The names are those of OpenAI's chat API; what the schema says is for whoever compiles it.
fn check_format(format: &Value) -> Result<(), FieldError> {
    const AT: &str = "response_format.json_schema";
    const LONGEST_NAME: usize = 64;
    let name = format.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_word) {
        let message = format!("must be 1 to {LONGEST_NAME} letters, digits, _ or -");
        return Err(FieldError::new(format!("{AT}.name"), message));
    }
    if !format.get("schema").is_some_and(Value::is_object) {
        return Err(FieldError::new(format!("{AT}.schema"), "must be an object"));
    }
    Ok(())
}

fn check_message(index: usize, message: &Message) -> Result<(), FieldError> {
    let at = |field: &str| format!("messages[{index}].{field}");
    if let Content::Parts(parts) = &message.content
        && parts.is_empty()
    {
        return Err(FieldError::new(at("content"), "must have at least one part"));
    }
    for (number, call) in message.tool_calls.iter().enumerate() {
        for (field, text) in [("id", &call.id), ("function.name", &call.function.name)] {
            if text.is_empty() {
                return Err(FieldError::new(at(&format!("tool_calls[{number}].{field}")), "must not be empty"));
            }
        }
    }
    let silent = message.content == Content::Empty;
    match message.role {
        Role::Assistant if silent && message.tool_calls.is_empty() && message.refusal.is_none() => {
            Err(FieldError::new(at("content"), "an assistant message needs content, tool_calls or refusal"))
        }
        Role::Assistant => Ok(()),
        _ if !message.tool_calls.is_empty() => {
            Err(FieldError::new(at("tool_calls"), "only an assistant message may have tool calls"))
        }
        _ if silent => Err(FieldError::new(at("content"), "is missing")),
        Role::Tool if message.tool_call_id.as_deref().unwrap_or_default().is_empty() => {
            Err(FieldError::new(at("tool_call_id"), "a tool message must say which call it answers"))
        }
        _ => Ok(()),
    }
}

impl<'de> Deserialize<'de> for ParsedCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CallVisitor { openai: false })
    }
}

/// A call as OpenAI's clients write it.
struct OpenAiCall(ParsedCall);

impl<'de> Deserialize<'de> for OpenAiCall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CallVisitor { openai: true }).map(Self)
    }
}

struct CallVisitor {
    /// A body of OpenAI's API: no options of ours, unknown fields kept.
    openai: bool,
}

impl<'de> Visitor<'de> for CallVisitor {
    type Value = ParsedCall;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParsedCall, A::Error> {
        let mut call = ParsedCall::default();
        let ParsedCall { request, options, stream, stream_usage, .. } = &mut call;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "messages" => {
                    // `null` is the empty list, which `check` refuses by name.
                    request.messages = Object::<Message>::all(map.next_value()?);
                }
                "model" => request.model = map.next_value()?,
                "temperature" => request.temperature = map.next_value()?,
                "top_p" => request.top_p = map.next_value()?,
                "presence_penalty" => request.presence_penalty = map.next_value()?,
                "frequency_penalty" => request.frequency_penalty = map.next_value()?,
                // Clients that know both names send `null` for the one they do not mean.
                "max_tokens" | "max_completion_tokens" => {
                    request.max_tokens = map.next_value::<Option<u32>>()?.or(request.max_tokens);
                }
                "stop" => request.stop = map.next_value::<Option<Stop>>()?.map(Stop::into_list).unwrap_or_default(),
                "seed" => request.seed = map.next_value()?,
                "tools" => request.tools = Object::all(map.next_value()?),
                "tool_choice" => request.tool_choice = map.next_value()?,
                "parallel_tool_calls" => request.parallel_tool_calls = map.next_value()?,
                "response_format" => request.response_format = map.next_value()?,
                "reasoning_effort" => request.reasoning_effort = map.next_value()?,
                "user" => request.user = map.next_value()?,
                "metadata" => request.metadata = map.next_value()?,
                "extra_body" if !self.openai => {
                    request.extra_body =
                        map.next_value::<Option<BTreeMap<String, Map<String, Value>>>>()?.unwrap_or_default();
                }
                "n" => _ = map.next_value::<Option<OneAnswer>>()?,
                "stream" => *stream = map.next_value::<Option<bool>>()?.unwrap_or_default(),
                "strategy" if !self.openai => {
                    options.strategy = map.next_value::<Option<StrategyWord>>()?.map(|word| word.0);
                }
                "task" if !self.openai => options.task = map.next_value()?,
                "cache" if !self.openai => options.cache = map.next_value::<Option<Cache>>()?.map(|cache| cache.0),
                // The pool asks for usage in every stream by itself; whether the caller is told is the caller's to say.
                "stream_options" => {
                    let options = map.next_value::<Value>()?;
                    *stream_usage = options.get("include_usage").and_then(Value::as_bool).unwrap_or_default();
                }
                other if ChatRequest::OPENAI_FIELDS.contains(&other) => {
                    request.openai_fields.insert(other.to_owned(), map.next_value()?);
                }
                other if self.openai => {
                    let foreign = request.foreign.get_or_insert_with(|| {
                        Box::new(ForeignFields { api: Api::OpenAi, fields: Map::new(), understood: &[] })
                    });
                    foreign.fields.insert(other.to_owned(), map.next_value()?);
                }
                other => {
                    if !read_option(other, options, &mut map)? {
                        return Err(unknown_field(other, KNOWN));
                    }
                }
            }
        }
        Ok(call)
    }
}

/// Reads one option of a call into its place; `false`: there is no option of this name.
pub(super) fn read_option<'de, A: MapAccess<'de>>(
    name: &str,
    options: &mut CallOptions,
    map: &mut A,
) -> Result<bool, A::Error> {
    match name {
        "timeout" => options.timeout = map.next_value::<Option<Millis>>()?.map(|millis| millis.0),
        "deadline" => options.deadline = map.next_value::<Option<Millis>>()?.map(|millis| millis.0),
        "maxRetries" => options.max_retries = map.next_value()?,
        "failover" => options.failover = map.next_value()?,
        "providers" => options.providers = map.next_value::<Option<Names>>()?.map(|names| names.0).unwrap_or_default(),
        "behaviour" => options.behaviour = map.next_value()?,
        "session" => options.session = map.next_value()?,
        "tenant" => options.tenant = map.next_value()?,
        "requestId" => {
            options.request_id = map.next_value::<Option<String>>()?.map(RequestId::new);
        }
        "headers" => {
            options.headers =
                map.next_value::<Option<BTreeMap<String, String>>>()?.unwrap_or_default().into_iter().collect();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Every name a call may carry, for "did you mean".
const KNOWN: &[&str] = &[
    "messages",
    "model",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "user",
    "metadata",
    "extra_body",
    "stream",
    "timeout",
    "deadline",
    "maxRetries",
    "failover",
    "providers",
    "behaviour",
    "session",
    "requestId",
    "headers",
    "cache",
    "tenant",
    "strategy",
    "task",
    "signal",
];

pub(super) fn unknown_field<E: de::Error>(name: &str, known: &'static [&'static str]) -> E {
    let close = known
        .iter()
        .chain(ChatRequest::OPENAI_FIELDS.iter().filter(|_| known.contains(&"messages")))
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.85);
    match close {
        Some((_, known)) => E::custom(format!("{UNKNOWN_FIELD}`{name}`; did you mean `{known}`?")),
        None => E::custom(format!(
            "{UNKNOWN_FIELD}`{name}`; what only one provider type knows goes into extra_body: {{ \"<type>\": {{ … }} }}"
        )),
    }
}

/// `stop` is one string or a list.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

impl Stop {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(stop) => vec![stop],
            Self::Many(stops) => stops,
        }
    }
}

/// Providers by name; an empty list would mean nobody, and is a mistake.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        if names.is_empty() { Err(de::Error::custom("must name at least one provider")) } else { Ok(Self(names)) }
    }
}

/// `n`: a pool that chooses providers answers once.
struct OneAnswer;

impl<'de> Deserialize<'de> for OneAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            n => Err(de::Error::custom(format!("must be 1: a call has one answer, found {n}"))),
        }
    }
}

/// A strategy by its word.
pub(super) struct StrategyWord(pub Strategy);

impl<'de> Deserialize<'de> for StrategyWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Strategy::read(&word).map(Self).map_err(de::Error::custom)
    }
}

/// `cache`: `true`, `false`, or how long.
pub(super) struct Cache(pub CacheWish);

impl<'de> Deserialize<'de> for Cache {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CacheVisitor;

        impl<'de> Visitor<'de> for CacheVisitor {
            type Value = CacheWish;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or { ttl } in milliseconds")
            }

            fn visit_bool<E: de::Error>(self, wanted: bool) -> Result<CacheWish, E> {
                Ok(if wanted { CacheWish::On } else { CacheWish::Off })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CacheWish, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Object {
                    ttl: Option<Millis>,
                }
                let object = Object::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(object.ttl.map_or(CacheWish::On, |Millis(ttl)| CacheWish::For(ttl)))
            }
        }

        deserializer.deserialize_any(CacheVisitor).map(Self)
    }
}

/// A duration in milliseconds, fractions allowed.
pub(crate) struct Millis(pub Duration);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        millis_of(f64::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

/// Milliseconds that a call says, fractions allowed.
///
/// # Errors
/// They are below zero, or no number.
pub fn millis_of(millis: f64) -> Result<Duration, String> {
    if millis.is_nan() || millis < 0.0 {
        return Err(format!("must be milliseconds, 0 or more, found {millis}"));
    }
    Ok(Duration::try_from_secs_f64(millis / 1e3).unwrap_or(MAX_WAIT).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> FieldError {
        match parse_call(json) {
            Ok(call) => panic!("accepted: {call:?}"),
            Err(error) => error,
        }
    }

    #[test]
    fn request_fields_and_options_stand_side_by_side() {
        let call = parse_call(
            r#"{"messages":[{"role":"user","content":"hi"}],"max_completion_tokens":7,"stop":"x","timeout":0,
                "maxRetries":0,"logprobs":true,"requestId":"r1","stream":true}"#,
        )
        .expect("valid");
        assert_eq!(call.request.max_tokens, Some(7));
        assert_eq!(call.request.stop, ["x"]);
        assert_eq!(call.options.timeout, Some(Duration::ZERO));
        assert_eq!(call.options.max_retries, Some(0));
        assert_eq!(call.request.openai_fields["logprobs"], true);
        assert!(call.stream);
    }

    #[test]
    fn the_other_name_of_a_bound_does_not_take_it_away() {
        for json in [r#""max_tokens":7,"max_completion_tokens":null"#, r#""max_completion_tokens":7,"max_tokens":null"#]
        {
            let call =
                parse_openai(&format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{json}}}"#)).expect("valid");
            assert_eq!(call.request.max_tokens, Some(7), "{json}");
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (json, field) in [
            (r#"{}"#, "messages"),
            (r#"{"messages":[]}"#, "messages"),
            (r#"{"messages":null}"#, "messages"),
            (r#"{"messages":"hi"}"#, "messages"),
            (r#"{"messages":[{"role":"wizard","content":"hi"}]}"#, "messages[0].role"),
            (r#"{"messages":[{"content":"hi"}]}"#, "messages[0]"),
            (r#"{"messages":[{"role":"user"}]}"#, "messages[0].content"),
            (r#"{"messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            (r#"{"messages":[{"role":"user","content":[]}]}"#, "messages[0].content"),
            (
                r#"{"messages":[{"role":"user","content":"a"},{"role":"tool","content":"b"}]}"#,
                "messages[1].tool_call_id",
            ),
            (r#"{"messages":[{"role":"user","content":"a","__proto__":{"x":1}}]}"#, "messages[0].__proto__"),
            (r#"{"messages":[{"role":"user","content":"a"}],"__proto__":{"x":1}}"#, "__proto__"),
            (r#"{"messages":[{"role":"user","content":"a"}],"temperature":"hot"}"#, "temperature"),
            (r#"{"messages":[{"role":"user","content":"a"}],"temperature":3}"#, "temperature"),
            (r#"{"messages":[{"role":"user","content":"a"}],"max_tokens":0}"#, "max_tokens"),
            (r#"{"messages":[{"role":"user","content":"a"}],"timeout":-1}"#, "timeout"),
            (r#"{"messages":[{"role":"user","content":"a"}],"n":2}"#, "n"),
            (r#"{"messages":[{"role":"user","content":"a"}],"providers":[]}"#, "providers"),
            (r#"{"messages":[{"role":"user","content":"a"}],"behaviour":"best"}"#, "behaviour"),
            (r#"{"messages":[{"role":"user","content":"a"}],"session":7}"#, "session"),
            (r#"{"messages":[{"role":"user","content":"a"}],"tool_choice":"perhaps"}"#, "tool_choice"),
            (r#"{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"xml"}}"#, "response_format"),
            (r#"[1]"#, ""),
            (r#"null"#, ""),
            (r#"["m"]"#, ""),
            (r#"{"messages":[["user","a"]]}"#, "messages[0]"),
            (r#"{"messages":[{"role":"user","content":[["text","a"]]}]}"#, "messages[0].content[0]"),
            (
                r#"{"messages":[{"role":"assistant","tool_calls":[["i","function",{"name":"f"}]]}]}"#,
                "messages[0].tool_calls[0]",
            ),
            (r#"{"messages":[{"role":"user","content":"a"}],"tools":[["function",{"name":"f"}]]}"#, "tools[0]"),
            (r#"{"messages":[{"role":"user","content":"a"}],"tools":[{"function":["f"]}]}"#, "tools[0].function"),
        ] {
            assert_eq!(refused(json).field, field, "{json}: {:?}", refused(json));
        }
    }

    #[test]
    fn a_typo_is_refused_with_the_right_name() {
        let error = refused(r#"{"messages":[{"role":"user","content":"a"}],"max_token":5}"#);
        assert!(error.message.contains("did you mean `max_tokens`"), "{error}");
    }

    #[test]
    fn a_lone_surrogate_becomes_a_replacement_character_and_a_warning() {
        let call = parse_call(r#"{"messages":[{"role":"user","content":"a\ud800b \udc00 \ud83d\ude00 \\ud800"}]}"#)
            .expect("valid");
        assert_eq!(call.request.messages[0].content.plain_text(), "a\u{FFFD}b \u{FFFD} 😀 \\ud800");
        assert_eq!(call.warnings.len(), 1);
    }

    #[test]
    fn a_client_of_openai_may_say_what_is_not_known_here_and_has_no_options_of_ours() {
        let call = parse_openai(
            r#"{"messages":[{"role":"user","content":"a"}],"model":"m","top_k":5,"timeout":1,"extra_body":{"x":1},
                "stream_options":{"include_usage":true},"logprobs":true}"#,
        )
        .expect("valid");
        let foreign = call.request.foreign.expect("fields");
        assert_eq!(foreign.only_here().collect::<Vec<_>>(), ["top_k", "timeout", "extra_body"]);
        assert_eq!((call.options, call.stream_usage), (CallOptions::default(), true));
        assert_eq!(call.request.openai_fields.len(), 1);
        assert_eq!(parse_openai(r#"{"messages":[]}"#).expect_err("nothing said").field, "messages");
    }

    #[test]
    fn a_nul_passes() {
        let call = parse_call(r#"{"messages":[{"role":"user","content":"a\u0000b"}]}"#).expect("valid");
        assert_eq!(call.request.messages[0].content.plain_text(), "a\0b");
    }

    #[test]
    fn absurd_times_saturate() {
        let call = parse_call(r#"{"messages":[{"role":"user","content":"a"}],"deadline":1e300}"#).expect("valid");
        assert_eq!(call.options.deadline, Some(MAX_WAIT));
    }
}
