//! Fields that go to a provider as their caller wrote them: which of them may change what a request costs, and which of
//! them may have another model answer it.
//!
//! The pool cannot vouch for what it does not read. A strict budget takes such a field only if it stands here as one that
//! changes no price, and who is bound to some models says none that could name another.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::catalog::AdapterKind;
use super::gate::speaks;
use crate::types::{Api, ChatRequest, EmbedRequest, ForeignFields};

/// Fields of the messages API that leave the price what the tokens make it: thinking is part of `max_tokens`, and what a
/// cache costs is among the dearest prices. Source: the parameters of platform.claude.com/docs/en/api/messages.
const PLAIN_OF_ANTHROPIC: &[&str] =
    &["thinking", "top_k", "cache_control", "output_config", "output_format", "service_tier"];

/// Fields of OpenAI's chat API that do not: searches are paid by their number, and what was predicted and did not come is
/// paid beside the answer. Source: openai.com/api/pricing, developers.openai.com/api/docs/guides/predicted-outputs.
const DEAR_OF_OPENAI: &[&str] = &["service_tier", "web_search_options", "prediction"];

/// Tiers that cost what the price list says, or less; the first is what holds where none is asked for.
const LISTED_TIERS: &[&str] = &["auto", "default", "standard_only", "flex"];

/// Fields by which proxies and routers are told of other models, beside those that have `model` or `fallback` in their
/// names. Source: openrouter.ai/docs/api/reference/parameters, docs.litellm.ai/docs/proxy/reliability.
const ROUTES: &[&str] = &["route", "router", "routing", "preset", "plugins"];

/// A field that holds fields.
const HOLDER: &str = "extra_body";

/// What of a request the pool does not read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unread<'a> {
    openai_fields: Option<&'a Map<String, Value>>,
    foreign: Option<&'a ForeignFields>,
    extra_body: Option<&'a BTreeMap<String, Map<String, Value>>>,
}

impl<'a> Unread<'a> {
    pub fn of_chat(request: &'a ChatRequest) -> Self {
        Self {
            openai_fields: Some(&request.openai_fields),
            foreign: request.foreign.as_deref(),
            extra_body: Some(&request.extra_body),
        }
    }

    pub fn of_embed(request: &'a EmbedRequest) -> Self {
        Self { extra_body: Some(&request.extra_body), ..Self::default() }
    }

    /// Fields that may make a request cost more than its tokens say, each with the adapter that sends it. `extra_body` is
    /// the caller's own word for a type of provider and not among them.
    pub fn may_cost_more(self) -> Vec<(AdapterKind, String)> {
        let passed = self.openai_fields.into_iter().flatten();
        let passed = passed.filter(|(name, value)| DEAR_OF_OPENAI.contains(&name.as_str()) && !is_listed(name, value));
        let passed = passed.map(|(name, _)| (Api::OpenAi, name.clone()));
        let foreign = self.foreign.into_iter().flat_map(|foreign| {
            let unknown = foreign.only_here().filter(|name| !is_plain(foreign.api, name, &foreign.fields[*name]));
            let tools = foreign.fields.get("tools").filter(|tools| !are_the_callers_own(tools)).map(|_| "tools");
            unknown.chain(tools).map(|name| (foreign.api, name.to_owned()))
        });
        passed.chain(foreign).map(|(api, name)| (speaks(api), name)).collect()
    }

    /// The first field by which another model could be asked for.
    pub fn names_a_model(self) -> Option<String> {
        let foreign = self.foreign.and_then(|ForeignFields { api: _, fields, understood: _ }| {
            let named = fields.iter().find(|(name, value)| may_name_a_model(name, value));
            named.map(|(name, _)| name.clone())
        });
        foreign.or_else(|| {
            let mut all = self.extra_body?.iter();
            all.find_map(|(service, fields)| {
                let (name, _) = fields.iter().find(|(name, value)| may_name_a_model(name, value))?;
                Some(format!("extra_body.{service}.{name}"))
            })
        })
    }
}

fn is_plain(api: Api, name: &str, value: &Value) -> bool {
    api == Api::Anthropic && PLAIN_OF_ANTHROPIC.contains(&name) && (name != "service_tier" || is_listed(name, value))
}

/// Is it a tier at the prices of the list?
fn is_listed(name: &str, value: &Value) -> bool {
    name == "service_tier" && (value.is_null() || value.as_str().is_some_and(|tier| LISTED_TIERS.contains(&tier)))
}

/// Tools that the provider runs itself are paid by their use, and what they find is read at the caller's expense.
fn are_the_callers_own(tools: &Value) -> bool {
    let is_own = |tool: &Value| tool.get("type").is_none_or(|kind| kind.is_null() || kind == "custom");
    tools.as_array().is_none_or(|tools| tools.iter().all(is_own))
}

/// What understands more than its schema says takes names in any case.
fn may_name_a_model(name: &str, value: &Value) -> bool {
    if value.is_null() {
        return false;
    }
    let name = name.to_lowercase();
    if is_of_models(&name) || name.contains("model") || name.contains("fallback") || ROUTES.contains(&name.as_str()) {
        return true;
    }
    // Server tools are run by models of their own, and what holds fields is as good as they are.
    match value {
        Value::Object(fields) if name == HOLDER => fields.iter().any(|(name, value)| may_name_a_model(name, value)),
        Value::Object(fields) => has_models(fields),
        Value::Array(items) if name != "messages" && name != "system" => {
            items.iter().filter_map(Value::as_object).any(has_models)
        }
        _ => false,
    }
}

fn has_models(fields: &Map<String, Value>) -> bool {
    fields.keys().any(|name| is_of_models(&name.to_lowercase()))
}

fn is_of_models(name: &str) -> bool {
    let last = name.rsplit(['_', '-', '.']).next();
    matches!(last, Some("model" | "models"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).expect("an object")
    }

    fn foreign(api: Api, value: Value) -> ChatRequest {
        let understood = if api == Api::Anthropic { &["messages", "system", "tools"][..] } else { &[] };
        let foreign = ForeignFields { api, fields: fields(value), understood };
        ChatRequest { foreign: Some(Box::new(foreign)), ..ChatRequest::user("x") }
    }

    #[test]
    fn what_is_not_known_to_cost_nothing_may_cost_more() {
        let costly = |request: &ChatRequest| {
            let found = Unread::of_chat(request).may_cost_more();
            found.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(costly(&foreign(Api::OpenAi, json!({ "top_k": 1 }))), ["top_k"]);
        let plain = json!({
            "thinking": { "type": "enabled", "budget_tokens": 5 }, "top_k": 3, "service_tier": "auto",
            "tools": [{ "name": "f", "input_schema": {} }], "messages": []
        });
        assert!(costly(&foreign(Api::Anthropic, plain)).is_empty());
        for dear in [json!({ "speed": "fast" }), json!({ "mcp_servers": [] }), json!({ "service_tier": "priority" })] {
            assert_eq!(costly(&foreign(Api::Anthropic, dear.clone())).len(), 1, "{dear}");
        }
        let search = json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] });
        assert_eq!(costly(&foreign(Api::Anthropic, search)), ["tools"]);
        let of_openai = |value| ChatRequest { openai_fields: fields(value), ..ChatRequest::user("x") };
        assert!(costly(&of_openai(json!({ "logprobs": true, "service_tier": "flex" }))).is_empty());
        assert_eq!(costly(&of_openai(json!({ "service_tier": "priority" }))), ["service_tier"]);
    }

    #[test]
    fn whatever_could_name_a_model_does() {
        let named = |api, value| Unread::of_chat(&foreign(api, value)).names_a_model();
        for value in [
            json!({ "models": ["o3"] }),
            json!({ "Models": ["o3"] }),
            json!({ "route": "fallback" }),
            json!({ "fallbacks": [{ "a": ["b"] }] }),
            json!({ "context_window_fallback_dict": {} }),
            json!({ "preset": "best" }),
            json!({ "extra_body": { "models": ["o3"] } }),
            json!({ "plugin": [{ "allowed_models": ["o3"] }] }),
            json!({ "tools": [{ "type": "advisor", "model": "dear" }] }),
        ] {
            let name = value.as_object().and_then(|fields| fields.keys().next().cloned());
            assert_eq!(named(Api::Anthropic, value), name);
        }
        let harmless = json!({
            "top_k": 1, "models": null, "provider": { "allow_fallbacks": false },
            "messages": [{ "role": "user", "content": "x", "model": 1 }],
            "tools": [{ "name": "f", "input_schema": { "properties": { "model": {} } } }]
        });
        assert_eq!(named(Api::OpenAi, harmless), None);
        let extra = BTreeMap::from([("openai".to_owned(), fields(json!({ "model": "o3" })))]);
        let chat = ChatRequest { extra_body: extra.clone(), ..ChatRequest::user("x") };
        assert_eq!(Unread::of_chat(&chat).names_a_model().as_deref(), Some("extra_body.openai.model"));
        let embed = EmbedRequest { extra_body: extra, ..EmbedRequest::new(["x"]) };
        assert_eq!(Unread::of_embed(&embed).names_a_model().as_deref(), Some("extra_body.openai.model"));
    }
}
