//! When two calls are the same call: a digest of everything that may change the answer.
//!
//! Every field of the request and of the options is taken apart by name, without a `..`: a field that is added later does
//! not compile until somebody has decided here whether it changes the answer. Texts carry their length and lists their
//! count, so that no two calls run together into one sequence of bytes.
//!
//! Only what cannot change the answer stays out: timeouts, the caller's id of the call, and how long the answer is to be
//! kept.

use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

use crate::types::{
    Api, CallOptions, ChatRequest, Content, ForeignFields, Function, FunctionCall, ImageUrl, Message, Part,
    ReasoningState, ResponseFormat, Role, Strategy, Tool, ToolCall, ToolChoice,
};

/// Of the encoding below. Another encoding is another version, so that no key of the one is a key of the other.
const VERSION: u8 = 1;

/// Names one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Somebody who may answer, with the model that would be asked there.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Of everything in the provider's configuration that may change its answer, its keys left out.
    pub provider: &'a Key,
    /// As the provider names it.
    pub model: &'a str,
}

/// Builds a key from parts, each of which is told from the next.
pub struct KeyMaker(Context);

impl Key {
    /// Of a chat that these candidates may answer. `rules`: what the configuration says of who of them does, and how
    /// several answer together; `tenant`: what it says of that for whoever the call is made for.
    pub fn of_chat<'a>(
        request: &ChatRequest,
        options: &CallOptions,
        candidates: impl IntoIterator<Item = Candidate<'a>>,
        rules: &Self,
        tenant: Option<&Self>,
    ) -> Self {
        let mut maker = KeyMaker::new("chat");
        maker.request(request);
        maker.options(options);
        for Candidate { provider, model } in candidates {
            maker.flag(true);
            maker.key(provider);
            maker.text(model);
        }
        maker.flag(false);
        maker.key(rules);
        maker.option(tenant, KeyMaker::key);
        maker.finish()
    }
}

// === impl KeyMaker ===

impl KeyMaker {
    /// `kind`: keys of different things never meet.
    pub fn new(kind: &str) -> Self {
        let mut maker = Self(Context::new(&SHA256));
        maker.0.update(&[VERSION]);
        maker.text(kind);
        maker
    }

    pub fn finish(self) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.finish().as_ref());
        Key(key)
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn optional(&mut self, text: Option<&str>) {
        self.option(text, Self::text);
    }

    pub fn key(&mut self, key: &Key) {
        self.bytes(&key.0);
    }

    pub fn flag(&mut self, flag: bool) {
        self.0.update(&[u8::from(flag)]);
    }

    pub fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// The whole request.
    pub fn request(&mut self, request: &ChatRequest) {
        let ChatRequest {
            model,
            messages,
            temperature,
            top_p,
            presence_penalty,
            frequency_penalty,
            max_tokens,
            stop,
            seed,
            tools,
            tool_choice,
            parallel_tool_calls,
            response_format,
            reasoning_effort,
            user,
            metadata,
            openai_fields,
            extra_body,
            foreign,
        } = request;
        self.optional(model.as_deref());
        self.list(messages, Self::message);
        for number in [temperature, top_p, presence_penalty, frequency_penalty] {
            self.option(*number, |maker, number| maker.number(number.to_bits()));
        }
        self.option(*max_tokens, |maker, most| maker.number(u64::from(most)));
        self.list(stop, |maker, stop| maker.text(stop));
        self.option(*seed, |maker, seed| maker.0.update(&seed.to_le_bytes()));
        self.list(tools, Self::tool);
        self.option(tool_choice.as_ref(), Self::tool_choice);
        self.option(*parallel_tool_calls, Self::flag);
        self.option(response_format.as_ref(), Self::response_format);
        self.optional(reasoning_effort.as_deref());
        self.optional(user.as_deref());
        self.option(metadata.as_ref(), Self::object);
        self.object(openai_fields);
        self.number(extra_body.len() as u64);
        for (provider, fields) in extra_body {
            self.text(provider);
            self.object(fields);
        }
        self.option(foreign.as_deref(), |maker, ForeignFields { api, fields, understood: _ }| {
            maker.flag(*api == Api::Anthropic);
            maker.object(fields);
        });
    }

    fn options(&mut self, options: &CallOptions) {
        let CallOptions {
            timeout: _,
            deadline: _,
            deadline_from_first_attempt: _,
            max_retries,
            failover,
            behaviour,
            providers,
            session,
            request_id: _,
            headers,
            submitted: _,
            cache: _,
            tenant,
            by_credential: _,
            strategy,
            task,
            hedge_after: _,
            meter: _,
        } = options;
        self.option(*max_retries, |maker, most| maker.number(u64::from(most)));
        self.option(*failover, Self::flag);
        self.optional(behaviour.map(|behaviour| behaviour.as_str()));
        self.list(providers, |maker, name| maker.text(name));
        self.optional(session.as_deref());
        self.list(headers, |maker, (name, value)| {
            maker.text(name);
            maker.text(value);
        });
        self.optional(tenant.as_deref());
        self.optional(strategy.map(Strategy::as_str));
        self.optional(task.as_deref());
    }

    fn message(&mut self, message: &Message) {
        let Message { role, content, name, tool_calls, tool_call_id, refusal, reasoning, reasoning_state } = message;
        self.text(match role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        });
        match content {
            Content::Empty => self.number(0),
            Content::Text(text) => {
                self.number(1);
                self.text(text);
            }
            Content::Parts(parts) => {
                self.number(2);
                self.list(parts, Self::part);
            }
        }
        self.optional(name.as_deref());
        self.list(tool_calls, |maker, call| {
            let ToolCall { id, kind, function: FunctionCall { name, arguments } } = call;
            [id, kind, name, arguments].into_iter().for_each(|text| maker.text(text));
        });
        self.optional(tool_call_id.as_deref());
        self.optional(refusal.as_deref());
        self.optional(reasoning.as_deref());
        self.option(reasoning_state.as_deref(), |maker, ReasoningState { provider, model, state }| {
            maker.text(provider);
            maker.text(model);
            maker.value(state);
        });
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text { text } => {
                self.number(0);
                self.text(text);
            }
            Part::ImageUrl { image_url: ImageUrl { url, detail } } => {
                self.number(1);
                self.text(url);
                self.optional(detail.as_deref());
            }
            Part::InputAudio { input_audio } => {
                self.number(2);
                self.value(input_audio);
            }
            Part::File { file } => {
                self.number(3);
                self.value(file);
            }
        }
    }

    fn tool(&mut self, tool: &Tool) {
        let Tool { kind, function: Function { name, description, parameters, strict } } = tool;
        self.text(kind);
        self.text(name);
        self.optional(description.as_deref());
        self.option(parameters.as_ref(), Self::value);
        self.option(*strict, Self::flag);
    }

    fn tool_choice(&mut self, choice: &ToolChoice) {
        match choice {
            ToolChoice::Auto => self.number(0),
            ToolChoice::None => self.number(1),
            ToolChoice::Required => self.number(2),
            ToolChoice::Function(name) => {
                self.number(3);
                self.text(name);
            }
        }
    }

    fn response_format(&mut self, format: &ResponseFormat) {
        match format {
            ResponseFormat::Text => self.number(0),
            ResponseFormat::JsonObject => self.number(1),
            ResponseFormat::JsonSchema(schema) => {
                self.number(2);
                self.value(schema);
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.number(0),
            Value::Bool(flag) => {
                self.number(1);
                self.flag(*flag);
            }
            Value::Number(number) => {
                self.number(2);
                self.text(&number.to_string());
            }
            Value::String(text) => {
                self.number(3);
                self.text(text);
            }
            Value::Array(items) => {
                self.number(4);
                self.list(items, Self::value);
            }
            Value::Object(map) => {
                self.number(5);
                self.object(map);
            }
        }
    }

    fn object(&mut self, map: &Map<String, Value>) {
        self.number(map.len() as u64);
        for (name, value) in map {
            self.text(name);
            self.value(value);
        }
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| each(self, item));
    }

    fn option<T>(&mut self, value: Option<T>, each: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            each(self, value);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::time;
    use crate::types::{Behaviour, CacheWish, RequestId};

    fn made_of(parts: &str) -> Key {
        let mut maker = KeyMaker::new("provider");
        maker.text(parts);
        maker.finish()
    }

    fn key(request: &ChatRequest, options: &CallOptions) -> Key {
        let provider = made_of("a");
        Key::of_chat(request, options, [Candidate { provider: &provider, model: "m" }], &provider, None)
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn message(change: impl FnOnce(&mut Message)) -> Message {
        let mut message = Message::text(Role::User, "u");
        change(&mut message);
        message
    }

    fn function(parameters: Value) -> Tool {
        let function = Function { name: "f".to_owned(), description: None, parameters: Some(parameters), strict: None };
        Tool { kind: "function".to_owned(), function }
    }

    /// Every request differs from each other one in one thing.
    fn requests() -> Vec<ChatRequest> {
        let base = || ChatRequest::new(vec![Message::text(Role::User, "u")]);
        let text = |text: &str| Some(text.to_owned());
        let with = |change: &dyn Fn(&mut ChatRequest)| {
            let mut request = base();
            change(&mut request);
            request
        };
        let said = |change: &dyn Fn(&mut Message)| ChatRequest::new(vec![message(change)]);
        let parts = |parts: Vec<Part>| said(&move |message| message.content = Content::Parts(parts.clone()));
        let image = |detail: Option<String>| Part::ImageUrl { image_url: ImageUrl { url: "i".to_owned(), detail } };
        let call = |id: &str, arguments: &str| ToolCall::function(id, "f", arguments);
        vec![
            base(),
            ChatRequest::new(vec![Message::text(Role::User, "u"), Message::text(Role::User, "")]),
            ChatRequest::new(vec![Message::text(Role::System, "u")]),
            ChatRequest::new(vec![Message::text(Role::Developer, "u")]),
            ChatRequest::new(vec![Message::text(Role::Assistant, "u")]),
            ChatRequest::new(vec![Message::text(Role::Tool, "u")]),
            said(&|message| message.content = Content::Empty),
            said(&|message| message.content = Content::Text("v".to_owned())),
            said(&|message| message.name = text("n")),
            said(&|message| message.tool_call_id = text("n")),
            said(&|message| message.refusal = text("n")),
            said(&|message| message.reasoning = text("n")),
            said(&|message| message.reasoning_state = Some(ReasoningState::unsigned(json!(1)))),
            said(&|message| message.reasoning_state = Some(ReasoningState::unsigned(json!("1")))),
            said(&|message| message.tool_calls = vec![call("1", "{}")]),
            said(&|message| message.tool_calls = vec![call("2", "{}")]),
            said(&|message| message.tool_calls = vec![call("1", "{ }")]),
            parts(vec![Part::Text { text: "u".to_owned() }]),
            parts(vec![Part::Text { text: "u".to_owned() }, Part::Text { text: String::new() }]),
            parts(vec![image(None)]),
            parts(vec![image(text("low"))]),
            parts(vec![Part::InputAudio { input_audio: json!({ "data": "d" }) }]),
            parts(vec![Part::File { file: json!({ "data": "d" }) }]),
            with(&|request| request.model = text("m")),
            with(&|request| request.temperature = Some(0.0)),
            with(&|request| request.top_p = Some(0.0)),
            with(&|request| request.presence_penalty = Some(0.0)),
            with(&|request| request.frequency_penalty = Some(0.0)),
            with(&|request| request.frequency_penalty = Some(0.5)),
            with(&|request| request.max_tokens = Some(1)),
            with(&|request| request.stop = vec!["ab".to_owned()]),
            with(&|request| request.stop = vec!["a".to_owned(), "b".to_owned()]),
            with(&|request| request.seed = Some(1)),
            with(&|request| request.seed = Some(-1)),
            with(&|request| request.tools = vec![function(json!({}))]),
            with(&|request| request.tools = vec![function(json!({ "a": [1] }))]),
            with(&|request| request.tools = vec![function(json!({ "a": 1 }))]),
            with(&|request| request.tools = vec![function(json!({ "a": true }))]),
            with(&|request| request.tools = vec![function(json!({ "a": null }))]),
            with(&|request| {
                let mut tool = function(json!({}));
                tool.function.description = text("d");
                request.tools = vec![tool];
            }),
            with(&|request| {
                let mut tool = function(json!({}));
                tool.function.strict = Some(false);
                request.tools = vec![tool];
            }),
            with(&|request| request.tool_choice = Some(ToolChoice::Auto)),
            with(&|request| request.tool_choice = Some(ToolChoice::None)),
            with(&|request| request.tool_choice = Some(ToolChoice::Required)),
            with(&|request| request.tool_choice = Some(ToolChoice::Function("f".to_owned()))),
            with(&|request| request.parallel_tool_calls = Some(false)),
            with(&|request| request.parallel_tool_calls = Some(true)),
            with(&|request| request.response_format = Some(ResponseFormat::Text)),
            with(&|request| request.response_format = Some(ResponseFormat::JsonObject)),
            with(&|request| request.response_format = Some(ResponseFormat::JsonSchema(json!({ "name": "a" })))),
            with(&|request| request.response_format = Some(ResponseFormat::JsonSchema(json!({ "name": "b" })))),
            with(&|request| request.reasoning_effort = text("low")),
            with(&|request| request.user = text("low")),
            with(&|request| request.metadata = Some(Map::new())),
            with(&|request| request.metadata = Some(map(json!({ "a": "b" })))),
            with(&|request| request.openai_fields = map(json!({ "logprobs": true }))),
            with(&|request| request.extra_body = BTreeMap::from([("openai".to_owned(), map(json!({ "a": 1 })))])),
            with(&|request| request.extra_body = BTreeMap::from([("groq".to_owned(), map(json!({ "a": 1 })))])),
        ]
    }

    #[test]
    fn every_field_of_a_request_is_in_its_key() {
        let (requests, options) = (requests(), CallOptions::default());
        let keys: HashSet<Key> = requests.iter().map(|request| key(request, &options)).collect();
        assert_eq!(keys.len(), requests.len());
        assert_eq!(key(&requests[0], &options), key(&requests[0].clone(), &options), "the same call has the same key");
    }

    #[test]
    fn of_the_options_only_what_cannot_change_the_answer_stays_out() {
        let request = ChatRequest::new(vec![Message::text(Role::User, "u")]);
        let text = |text: &str| Some(text.to_owned());
        let plain = CallOptions::default;
        let second = Duration::from_secs(1);
        let without = [
            CallOptions { timeout: Some(second), ..plain() },
            CallOptions { deadline: Some(second), ..plain() },
            CallOptions { request_id: Some(RequestId::new("r")), ..plain() },
            CallOptions { submitted: Some(time::now().mono.into_std()), ..plain() },
            CallOptions { cache: Some(CacheWish::For(second)), ..plain() },
            CallOptions { hedge_after: Some(second), ..plain() },
        ];
        for options in &without {
            assert_eq!(key(&request, options), key(&request, &plain()), "{options:?}");
        }
        let with = [
            plain(),
            CallOptions { max_retries: Some(1), ..plain() },
            CallOptions { failover: Some(true), ..plain() },
            CallOptions { behaviour: Some(Behaviour::Weighted), ..plain() },
            CallOptions { providers: vec!["a".to_owned()], ..plain() },
            CallOptions { session: text("a"), ..plain() },
            CallOptions { headers: vec![("x-a".to_owned(), "b".to_owned())], ..plain() },
            CallOptions { headers: vec![("x-a".to_owned(), "c".to_owned())], ..plain() },
            CallOptions { tenant: text("a"), ..plain() },
            CallOptions { tenant: text("b"), ..plain() },
            CallOptions { strategy: Some(Strategy::Voting), ..plain() },
            CallOptions { strategy: Some(Strategy::Judge), ..plain() },
            CallOptions { task: text("a"), ..plain() },
        ];
        let keys: HashSet<Key> = with.iter().map(|options| key(&request, options)).collect();
        assert_eq!(keys.len(), with.len());
    }

    #[test]
    fn who_may_answer_and_how_is_in_the_key() {
        let request = ChatRequest::new(vec![Message::text(Role::User, "u")]);
        let (a, b) = (made_of("a"), made_of("b"));
        let of = |candidates: &[(&Key, &'static str)], rules: &Key, tenant: Option<&Key>| {
            let candidates = candidates.iter().map(|(provider, model)| Candidate { provider, model });
            Key::of_chat(&request, &CallOptions::default(), candidates, rules, tenant)
        };
        let keys = [
            of(&[], &a, None),
            of(&[(&a, "m")], &a, None),
            of(&[(&a, "n")], &a, None),
            of(&[(&b, "m")], &a, None),
            of(&[(&a, "m"), (&b, "m")], &a, None),
            of(&[(&b, "m"), (&a, "m")], &a, None),
            of(&[(&a, "m")], &b, None),
            of(&[(&a, "m")], &a, Some(&a)),
            of(&[(&a, "m")], &a, Some(&b)),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    /// Prints what a key costs for a prompt of 4 KB. In a release build:
    /// `cargo test --release --lib -- --ignored --nocapture key_cost`.
    #[test]
    #[ignore = "a measurement"]
    #[expect(clippy::print_stderr, reason = "it is there to be read")]
    fn key_cost() {
        const KEYS: u32 = 100_000;
        let request = ChatRequest::new(vec![Message::text(Role::User, "word ".repeat(820))]);
        let began = time::now().mono;
        let keys: HashSet<Key> = (0..KEYS).map(|_| key(&request, &CallOptions::default())).collect();
        assert_eq!(keys.len(), 1);
        eprintln!("a key of a prompt of 4 KB: {} ns", (began.elapsed() / KEYS).as_nanos());
    }
}
