//! One provider, raw → checked.
//!
//! Every key is checked even when another is wrong, so that all mistakes of a provider are told at once. What the wire
//! says about a provider is the adapter's to decide: its verdict is asked for here, so that it comes at start-up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use serde_json::Map;

use super::nearest::nearest;
use super::raw::{RawModel, RawPrices, RawProvider, Served};
use super::secret::Secret;
use super::section::{Field, Reader, index, join};
use super::values::{Dict, Hidden, Millis, Text, Tree, UNLIMITED, shown};
use super::{ModelConfig, ProviderConfig, beside, budget, network, prices};
use crate::adapter::{
    Capabilities, Capability, Endpoint, OPTIONAL_PARAMS, ParamOverrides, Service, Stated, service, services,
};
use crate::policy::{BreakerParams, DayZone, RateParams, TimerParams};
use crate::tokens::{CounterParams, Encoding, TokenizerChoice};
use crate::transport::{ClientParams, ProxyParams};
use crate::types::{ChatRequest, ProviderName, TEMPERATURES};

/// What no provider can do without. One that needs neither type nor key nor address is an Ollama on this machine.
pub(super) const NEEDED: &[&str] = &["name", "model"];

/// The type of a provider that gives neither type, key nor address.
const TYPE_OF_THIS_MACHINE: &str = "ollama";

/// What the pool gives to every provider.
pub(super) struct Shared {
    pub breaker: BreakerParams,
    /// `false`: no provider has a breaker, whatever its threshold.
    pub enable_breaker: bool,
    pub client: ClientParams,
    /// `false`: tokens are counted by bytes alone.
    pub counting: bool,
    /// The pool's budget refuses what nobody knows the price of.
    pub refuses_unpriced: bool,
}

/// `None` when the provider cannot be built; the problems say why.
pub(super) fn check(raw: RawProvider, at: &str, shared: &Shared, reader: &mut Reader<'_>) -> Option<ProviderConfig> {
    let RawProvider {
        name,
        kind,
        model,
        models,
        context_window,
        capabilities,
        api_key,
        api_keys,
        base_url,
        allow_http,
        priority,
        weight,
        enabled,
        tasks,
        headers,
        organization,
        project,
        deployment,
        api_version,
        unsupported_params,
        allow_params,
        omit_params,
        max_tokens,
        temperature,
        extra_body,
        timeout,
        connect_timeout_ms,
        first_byte_timeout_ms,
        first_content_timeout_ms,
        content_idle_timeout_ms,
        connection_idle_timeout_ms,
        max_connections,
        warm,
        requests_per_minute,
        requests_per_day,
        tokens_per_minute,
        tokens_per_day,
        day_timezone,
        max_concurrent,
        circuit_breaker_threshold,
        circuit_breaker_timeout,
        input_token_price,
        output_token_price,
        input_price_per_million,
        output_price_per_million,
        cached_input_price_per_million,
        cache_write_price_per_million,
        budget,
        tokenizer,
        proxy,
        ca_file,
    } = raw;
    let text = |field: Field<Text>| field.some().map(|text| text.value);

    let name = name.required(at, "name", reader);
    let local = !(api_key.is_given() || api_keys.is_given() || base_url.is_given());
    let service = check_type(kind, local, at, reader);
    let model = model.required(at, "model", reader);
    let models = check_models(models, &join(at, "models"), reader);
    let stated = check_stated(context_window, capabilities, at, reader);
    let keys = check_keys(api_key, api_keys, service, at, reader);
    let allow_http = allow_http.or(false);
    let wire = reader.problems.len();
    let address_is_bad = matches!(base_url, Field::Bad);
    let base_url = check_base_url(base_url, service, allow_http, &keys, at, reader);
    let headers = check_headers(headers, &join(at, "headers"), reader);
    let wire_is_sound = reader.problems.len() == wire && !address_is_bad;
    let (organization, project) = (text(organization), text(project));
    let (max_tokens, temperature) = check_sampling(max_tokens, temperature, at, reader);
    let (deployment, api_version) = (text(deployment), text(api_version));
    let strict_params = check_unsupported_params(unsupported_params, &join(at, "unsupported_params"), reader);
    let params = ParamOverrides {
        allow: check_params(allow_params, &join(at, "allow_params"), reader),
        omit: check_params(omit_params, &join(at, "omit_params"), reader),
    };
    let prices = RawPrices {
        input_token_price,
        output_token_price,
        input_price_per_million,
        output_price_per_million,
        cached_input_price_per_million,
        cache_write_price_per_million,
    };
    let prices = prices::check(prices, at, reader);
    let budget = budget::check(budget, &join(at, "budget"), reader);
    let (proxy, extra_roots) = check_connection(proxy, ca_file, &shared.client, at, reader);
    let day_zone = check_timezone(day_timezone, &join(at, "day_timezone"), reader);
    let max_connections = max_connections.some();
    if max_connections == Some(0) {
        reader.problem(join(at, "max_connections"), "must be at least 1, found 0; enabled: false takes a provider out");
    }
    let threshold = circuit_breaker_threshold.or_limit(shared.breaker.threshold, 0);

    let timers = TimerParams::default();

    let provider = ProviderConfig {
        // An empty name only lets the wire be checked for a provider that is refused anyway.
        name: ProviderName::new(name.as_ref().map_or("", |name| name.value.as_str())),
        service: service?,
        model: model.as_ref().map_or_else(String::new, |model| model.value.clone()),
        models,
        stated,
        keys,
        priority: priority.or(1),
        weight: weight.or(1),
        enabled: enabled.or(true),
        tasks: tasks.or(Vec::new()).into_iter().filter_map(|task| Some(task.some()?.value)).collect(),
        warm: warm.or(false),
        base_url,
        allow_http,
        headers,
        organization,
        project,
        deployment,
        api_version,
        strict_params,
        params,
        max_tokens,
        temperature,
        extra_body: extra_body.some().map_or_else(Map::new, |Tree(fields)| fields),
        timeout: match timeout {
            Field::Null => Some(UNLIMITED),
            timeout => timeout.some().map(|Millis(timeout)| timeout),
        },
        timers: TimerParams {
            first_byte: first_byte_timeout_ms.some().map(|Millis(wait)| wait),
            first_content: first_content_timeout_ms.time_limit(timers.first_content),
            content_idle: content_idle_timeout_ms.time_limit(timers.content_idle),
        },
        rate: RateParams {
            requests_per_minute: requests_per_minute.some(),
            requests_per_day: requests_per_day.some(),
            tokens_per_minute: tokens_per_minute.some(),
            tokens_per_day: tokens_per_day.some(),
            day_zone,
        },
        max_concurrent: max_concurrent.some(),
        breaker: BreakerParams {
            threshold: if shared.enable_breaker { threshold } else { 0 },
            open_for: circuit_breaker_timeout.time(shared.breaker.open_for),
            ..shared.breaker.clone()
        },
        prices,
        budget,
        counter: CounterParams {
            counting: shared.counting,
            tokenizer: tokenizer.some().and_then(|text| tokenizer_choice(text, at, reader)),
        },
        client: ClientParams {
            connect_timeout: connect_timeout_ms.time_limit(shared.client.connect_timeout),
            max_connections,
            idle_timeout: connection_idle_timeout_ms.time_limit(shared.client.idle_timeout),
            proxy,
            extra_roots,
            only_roots: shared.client.only_roots.clone(),
        },
        failure_rows: Vec::new(),
    };
    match Endpoint::new(provider.endpoint_params()) {
        _ if !wire_is_sound => {}
        Ok(endpoint) => check_key_header(&provider, &endpoint, &join(at, "headers"), reader),
        Err(refused) => reader.problem(join(at, refused.field), refused.message),
    }
    let refuses_unpriced = provider.budget.as_ref().is_some_and(|budget| !budget.allow_unpriced);
    if provider.enabled && (shared.refuses_unpriced || refuses_unpriced) {
        budget::warn_of_unpriced(&provider, at, reader);
    }
    name.and(model).map(|_| provider)
}

/// What a call says of these has the same bounds.
fn check_sampling(
    max_tokens: Field<u32>,
    temperature: Field<f64>,
    at: &str,
    reader: &mut Reader<'_>,
) -> (Option<u32>, Option<f64>) {
    let (max_tokens, temperature) = (max_tokens.some(), temperature.some());
    if max_tokens == Some(0) {
        reader.problem(join(at, "max_tokens"), "must be at least 1, found 0");
    }
    if let Some(found) = temperature.filter(|temperature| !TEMPERATURES.contains(temperature)) {
        let (low, high) = (TEMPERATURES.start(), TEMPERATURES.end());
        reader.problem(join(at, "temperature"), format!("must be between {low} and {high}, found {found}"));
    }
    (max_tokens, temperature)
}

/// The header of the key has room for one of the two.
fn check_key_header(provider: &ProviderConfig, endpoint: &Endpoint, at: &str, reader: &mut Reader<'_>) {
    let Some((taken, _)) = provider.keys.first().and_then(|key| endpoint.auth(key.expose()).ok()) else { return };
    for (name, _) in provider.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(taken.as_str())) {
        reader.problem(join(at, name), "the key is sent in this header; remove the header, or the key");
    }
}

fn check_type(kind: Field<Text>, local: bool, at: &str, reader: &mut Reader<'_>) -> Option<&'static Service> {
    match kind {
        Field::Absent | Field::Null if local => service(TYPE_OF_THIS_MACHINE),
        Field::Absent | Field::Null => {
            reader.problem(join(at, "type"), "is missing; expected the service that the key or the address is of");
            None
        }
        kind => known_service(&kind.some()?, &join(at, "type"), reader),
    }
}

pub(super) fn known_service(kind: &Text, path: &str, reader: &mut Reader<'_>) -> Option<&'static Service> {
    let found = service(&kind.value);
    if found.is_none() {
        let names: Vec<&str> = services().iter().map(|service| service.name).collect();
        let said = shown(&kind.shown).map_or_else(String::new, |shown| format!(" {shown:?}"));
        let hint = nearest(&kind.value, &names);
        reader.problem(path, format!("unknown type{said}, expected one of {}{hint}", names.join(", ")));
    }
    found
}

/// A name of an encoding, or a path.
fn tokenizer_choice(text: Text, at: &str, reader: &mut Reader<'_>) -> Option<TokenizerChoice> {
    let encoding = Encoding::from_name(&text.value).map(TokenizerChoice::Encoding);
    encoding.or_else(|| beside::path(text, &join(at, "tokenizer"), reader).map(TokenizerChoice::File))
}

/// What becomes of a field that a provider does not take.
pub(super) const UNSUPPORTED_PARAMS: &[&str] = &["warn", "error"];

fn check_unsupported_params(policy: Field<Text>, path: &str, reader: &mut Reader<'_>) -> bool {
    let Some(policy) = policy.some() else { return false };
    if !UNSUPPORTED_PARAMS.contains(&policy.value.as_str()) {
        let said = shown(&policy.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        let hint = nearest(&policy.value, UNSUPPORTED_PARAMS);
        reader.problem(path, format!("expected \"warn\" or \"error\"{said}{hint}"));
    }
    policy.value == "error"
}

fn check_params(params: Field<Vec<Field<Text>>>, at: &str, reader: &mut Reader<'_>) -> Vec<String> {
    let known: Vec<&str> = OPTIONAL_PARAMS.iter().chain(ChatRequest::OPENAI_FIELDS).copied().collect();
    let mut names = Vec::new();
    for (place, param) in params.or(Vec::new()).into_iter().enumerate() {
        let Some(param) = param.some() else { continue };
        if known.contains(&param.value.as_str()) {
            names.push(param.value);
        } else {
            let said = shown(&param.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
            let hint = nearest(&param.value, &known);
            reader.problem(index(at, place), format!("expected a field that a request can go without{said}{hint}"));
        }
    }
    names
}

pub(super) fn check_timezone(zone: Field<Text>, path: &str, reader: &mut Reader<'_>) -> DayZone {
    let Some(zone) = zone.some() else { return DayZone::default() };
    DayZone::named(&zone.value).unwrap_or_else(|| {
        let said = shown(&zone.shown).map_or_else(String::new, |shown| format!(" {shown:?}"));
        reader.problem(path, format!("there is no time zone{said}; one is named like \"America/Los_Angeles\""));
        DayZone::default()
    })
}

fn check_models(models: Field<Dict<Served>>, at: &str, reader: &mut Reader<'_>) -> BTreeMap<String, ModelConfig> {
    let models = models.some().map_or_else(Vec::new, |Dict(models)| models);
    if models.iter().any(|(alias, _)| alias.trim().is_empty()) {
        reader.problem(at, "expected a name for every model, found an empty one");
    }
    let served = models.into_iter().filter_map(|(alias, served)| {
        let at = join(at, &alias);
        let served = match served.some()? {
            Served::Name(name) => ModelConfig { model: name.value, stated: Stated::default(), prices: None },
            Served::Entry(RawModel { model, context_window, capabilities, prices }) => {
                let model = model.required(&at, "model", reader);
                let stated = check_stated(context_window, capabilities, &at, reader);
                let prices = prices::check(prices.or(RawPrices::default()), &join(&at, "prices"), reader);
                ModelConfig { model: model?.value, stated, prices }
            }
        };
        Some((alias, served))
    });
    served.collect()
}

fn check_stated(
    context_window: Field<u64>,
    capabilities: Field<Vec<Field<Text>>>,
    at: &str,
    reader: &mut Reader<'_>,
) -> Stated {
    let context_window = match context_window {
        Field::Null => Some(u64::MAX),
        window => window.some(),
    };
    let at = join(at, "capabilities");
    let known = Capability::ALL.map(Capability::name);
    let capabilities = capabilities.some().map(|list| {
        let list: Vec<_> = list
            .into_iter()
            .enumerate()
            .filter_map(|(position, name)| {
                let name = name.some()?;
                let capability = Capability::named(&name.value);
                if capability.is_none() {
                    let said = shown(&name.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
                    let hint = nearest(&name.value, &known);
                    reader.problem(index(&at, position), format!("expected one of {}{said}{hint}", known.join(", ")));
                }
                capability
            })
            .collect();
        Capabilities::of(&list)
    });
    Stated { capabilities, context_window }
}

fn check_keys(
    one: Field<Hidden>,
    many: Field<Vec<Field<Hidden>>>,
    service: Option<&'static Service>,
    at: &str,
    reader: &mut Reader<'_>,
) -> Vec<Secret> {
    let (one_path, many_path) = (join(at, "api_key"), join(at, "api_keys"));
    let given = (one.is_given(), many.is_given());
    match (given, service) {
        ((true, true), _) => reader.problem(&many_path, "api_key is set too; expected one of the two"),
        ((false, false), Some(service)) if service.needs_key => reader.problem(
            &one_path,
            format!("is missing; type {:?} needs api_key or api_keys (undefined and null are no keys)", service.name),
        ),
        _ => {}
    }
    let mut keys: Vec<Secret> = Vec::new();
    let mut add = |key: Field<Hidden>, path: &str, reader: &mut Reader<'_>| {
        let Some(Hidden(key)) = key.some() else { return };
        if key.expose().is_empty() {
            reader.problem(path, "the key is empty");
        } else if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            reader.problem(path, "expected the key alone, found a space, a line break or a letter outside ASCII in it");
        } else if keys.contains(&key) {
            reader.problem(path, "this key is in the list already");
        } else {
            keys.push(key);
        }
    };
    add(one, &one_path, reader);
    if let Some(many) = many.some() {
        if many.is_empty() {
            reader.problem(&many_path, "expected at least one key, found an empty list");
        }
        for (position, key) in many.into_iter().enumerate() {
            add(key, &index(&many_path, position), reader);
        }
    }
    keys
}

fn check_base_url(
    url: Field<Text>,
    service: Option<&'static Service>,
    allow_http: bool,
    keys: &[Secret],
    at: &str,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let path = join(at, "base_url");
    match (url, service) {
        (Field::Absent | Field::Null, Some(service)) if service.base_url.is_none() => {
            reader.problem(&path, format!("is missing; type {:?} has no address of its own", service.name));
            None
        }
        (url, _) => {
            let url = url.some()?.value;
            match network::check_base_url(&url, allow_http) {
                Ok(parsed) => {
                    if parsed.scheme() == "http" && !network::is_this_machine(&parsed) && !keys.is_empty() {
                        reader.warn(&path, "the key is sent unencrypted");
                    }
                    Some(url)
                }
                Err(message) => {
                    reader.problem(&path, message);
                    None
                }
            }
        }
    }
}

pub(super) fn check_headers(headers: Field<Dict<Hidden>>, at: &str, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut names: Vec<HeaderName> = Vec::new();
    let mut checked = Vec::new();
    for (name, value) in headers.some().map_or_else(Vec::new, |Dict(headers)| headers) {
        let path = join(at, &name);
        let Some(Hidden(value)) = value.some() else { continue };
        match HeaderName::try_from(name.as_str()) {
            Err(_) => reader.problem(&path, "no HTTP header can have this name"),
            Ok(parsed) if names.contains(&parsed) => reader.problem(&path, "this header is set twice"),
            Ok(parsed) => names.push(parsed),
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            reader.problem(&path, "no HTTP header can carry this value");
        }
        checked.push((name, value.expose().to_owned()));
    }
    checked
}

/// A provider's own proxy replaces all that the environment says, exceptions included; its certificates are added.
fn check_connection(
    proxy: Field<Hidden>,
    ca_file: Field<Text>,
    shared: &ClientParams,
    at: &str,
    reader: &mut Reader<'_>,
) -> (ProxyParams, Vec<PathBuf>) {
    let proxy = match proxy.some().map(|Hidden(proxy)| network::check_proxy(proxy.expose())) {
        Some(Ok(proxy)) => ProxyParams { all: Some(proxy), ..ProxyParams::default() },
        Some(Err(message)) => {
            reader.problem(join(at, "proxy"), message);
            ProxyParams::default()
        }
        None => shared.proxy.clone(),
    };
    let mut roots = shared.extra_roots.clone();
    roots.extend(ca_file.some().and_then(|file| beside::path(file, &join(at, "ca_file"), reader)));
    (proxy, roots)
}
