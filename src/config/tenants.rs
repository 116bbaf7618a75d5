//! Tenants, raw → checked: on whose behalf calls are made, with which keys, and within what.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::nearest::nearest;
use super::raw::RawTenant;
use super::section::{Field, Reader, index, join};
use super::server::{KeyHash, ServerConfig, check_keys};
use super::tasks::TaskConfig;
use super::values::{Text, shown};
use super::{ProviderConfig, QosConfig, budget};
use crate::policy::{BucketParams, BudgetParams};

/// It stands in labels of metrics, in headers and in logs.
const LONGEST_ID: usize = 64;

/// On whose behalf a call is made, and within what.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    pub id: String,
    /// Hashes of the keys that a gateway takes for it; they are in [`ServerConfig::tenant_keys`].
    pub api_keys: Vec<KeyHash>,
    /// `false`: every call of it is refused.
    pub enabled: bool,
    /// Calls; `None`: no limit.
    pub requests: Option<BucketParams>,
    /// In a calendar day of UTC; `None`: no limit.
    pub tokens_per_day: Option<u64>,
    /// `None`: no limit.
    pub budget: Option<BudgetParams>,
    /// `None`: all, and calls of none.
    pub tasks: Option<Vec<String>>,
    /// Aliases or names of the services; `None`: all.
    pub models: Option<Vec<String>>,
    /// `None`: as long as any call.
    pub max_deadline: Option<Duration>,
    /// Providers that one call asks at once; `None`: as many as any call.
    pub max_parallel: Option<usize>,
}

/// What a tenant is checked against.
pub(super) struct Around<'a> {
    pub providers: &'a [ProviderConfig],
    pub tasks: &'a BTreeMap<String, TaskConfig>,
    pub server: &'a ServerConfig,
    pub qos: &'a QosConfig,
    /// The pool's.
    pub budget: Option<&'a BudgetParams>,
}

/// Where each key was found first.
type Keys = HashMap<Vec<u8>, String>;

pub(super) fn check(
    raw: Field<Vec<Field<RawTenant>>>,
    around: &Around<'_>,
    reader: &mut Reader<'_>,
) -> Vec<TenantConfig> {
    let mut ids: HashMap<String, usize> = HashMap::new();
    let keys_of_server = around.server.api_keys.iter();
    let mut keys: Keys = keys_of_server.map(|key| (key.as_bytes().to_vec(), "server.api_keys".to_owned())).collect();
    let mut tenants: Vec<TenantConfig> = Vec::new();
    for (position, tenant) in raw.or(Vec::new()).into_iter().enumerate() {
        let Some(tenant) = tenant.some() else { continue };
        let at = index("tenants", position);
        let Some(tenant) = check_tenant(tenant, &at, around, &mut keys, reader) else { continue };
        let first = *ids.entry(tenant.id.clone()).or_insert(position);
        if first != position {
            let message = format!("this id is taken by {}; ids are unique", index("tenants", first));
            reader.problem(join(&at, "id"), message);
        }
        tenants.push(tenant);
    }
    warn_of_unpriced(&tenants, around, reader);
    tenants
}

/// Every key with whose it is.
pub(super) fn keys(tenants: &[TenantConfig]) -> Vec<(KeyHash, String)> {
    let of = |tenant: &TenantConfig| {
        let id = tenant.id.clone();
        tenant.api_keys.clone().into_iter().map(move |key| (key, id.clone()))
    };
    tenants.iter().flat_map(of).collect()
}

fn check_tenant(
    raw: RawTenant,
    at: &str,
    around: &Around<'_>,
    keys: &mut Keys,
    reader: &mut Reader<'_>,
) -> Option<TenantConfig> {
    let RawTenant {
        id,
        api_keys,
        enabled,
        rps,
        burst,
        tokens_per_day,
        budget,
        tasks,
        models,
        max_deadline_ms,
        max_parallel,
    } = raw;
    let id = check_id(id, at, reader);
    let max_deadline = max_deadline_ms.some().map(|most| most.0);
    if let Some(most) = max_deadline.filter(|most| *most > around.qos.max_deadline) {
        let (most, of_all) = (most.as_millis(), around.qos.max_deadline.as_millis());
        reader.warn(at, format_args!("max_deadline_ms of {most} is above qos.max_deadline_ms, and {of_all} holds"));
    }
    let max_parallel = max_parallel.some();
    if max_parallel == Some(0) {
        reader.problem(join(at, "max_parallel"), "must be at least 1, found 0; enabled: false lets nothing in");
    }
    let tenant = TenantConfig {
        id: String::new(),
        api_keys: check_own_keys(api_keys, &join(at, "api_keys"), keys, reader),
        enabled: enabled.or(true),
        requests: check_rate(rps, burst, at, reader),
        tokens_per_day: tokens_per_day.some(),
        budget: budget::check(budget, &join(at, "budget"), reader),
        tasks: check_names(tasks, &join(at, "tasks"), reader)
            .inspect(|tasks| refuse_unknown_tasks(tasks, &join(at, "tasks"), around, reader)),
        models: check_names(models, &join(at, "models"), reader)
            .inspect(|models| warn_of_unserved(models, &join(at, "models"), around, reader)),
        max_deadline,
        max_parallel: max_parallel.map(|most| most as usize),
    };
    Some(TenantConfig { id: id?, ..tenant })
}

fn check_id(id: Field<Text>, at: &str, reader: &mut Reader<'_>) -> Option<String> {
    let id = id.required(at, "id", reader)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if id.value.len() > LONGEST_ID || !id.value.chars().all(plain) {
        let said = shown(&id.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        let message = format!("expected at most {LONGEST_ID} letters, digits, \".\", \"_\" and \"-\"{said}");
        reader.problem(join(at, "id"), message);
    }
    Some(id.value)
}

/// A key that two could come in with would be the first one's: neither could say whose call it was.
fn check_own_keys(
    raw: Field<Vec<Field<super::values::Hidden>>>,
    path: &str,
    keys: &mut Keys,
    reader: &mut Reader<'_>,
) -> Vec<KeyHash> {
    let own = check_keys(raw, path, reader);
    for (position, key) in own.iter().enumerate() {
        let here = index(path, position);
        if let Some(other) = keys.get(key.as_bytes()) {
            reader.problem(here, format!("this key is in {other}, too; a key belongs to one tenant"));
        } else {
            keys.insert(key.as_bytes().to_vec(), here);
        }
    }
    own
}

fn check_rate(rps: Field<f64>, burst: Field<u32>, at: &str, reader: &mut Reader<'_>) -> Option<BucketParams> {
    let (has_burst, burst) = (burst.is_given(), burst.some());
    let Some(rps) = rps.some() else {
        if has_burst {
            reader.warn(at, "burst without rps limits nothing");
        }
        return None;
    };
    // Whoever is let through so many times a second may come with all of them at once.
    let params = BucketParams { rps, burst: burst.unwrap_or((rps.ceil() as u32).max(1)) };
    for (field, message) in params.check() {
        let found = if field == "rps" { rps.to_string() } else { params.burst.to_string() };
        reader.problem(join(at, field), format!("{message}, found {found}"));
    }
    Some(params)
}

/// `None`: there is no list. An empty one would allow nothing, which is not what it says.
fn check_names(raw: Field<Vec<Field<Text>>>, path: &str, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let list = raw.some()?;
    if list.is_empty() {
        reader.problem(path, "expected at least one, found none; leave it out to allow all");
    }
    Some(list.into_iter().filter_map(|name| Some(name.some()?.value)).collect())
}

fn refuse_unknown_tasks(tasks: &[String], path: &str, around: &Around<'_>, reader: &mut Reader<'_>) {
    let known: Vec<&str> = around.tasks.keys().map(String::as_str).collect();
    for (position, task) in tasks.iter().enumerate().filter(|(_, task)| !known.contains(&task.as_str())) {
        reader.problem(index(path, position), format!("there is no task {task:?}{}", nearest(task, &known)));
    }
}

/// No problem: a program may add the provider that serves it.
fn warn_of_unserved(models: &[String], path: &str, around: &Around<'_>, reader: &mut Reader<'_>) {
    let serves = |provider: &ProviderConfig, model: &str| {
        provider.models.contains_key(model) || provider.served().any(|(served, _)| served == model)
    };
    for (position, model) in models.iter().enumerate() {
        if !around.providers.iter().any(|provider| serves(provider, model)) {
            reader.warn(&index(path, position), format_args!("no provider serves the model {model:?}"));
        }
    }
}

/// Once for all tenants: what one budget refuses they all do.
fn warn_of_unpriced(tenants: &[TenantConfig], around: &Around<'_>, reader: &mut Reader<'_>) {
    let refuses = |budget: Option<&BudgetParams>| budget.is_some_and(|budget| !budget.allow_unpriced);
    let first = tenants.iter().position(|tenant| refuses(tenant.budget.as_ref()));
    let Some(first) = first.filter(|_| !refuses(around.budget)) else { return };
    let at = join(&index("tenants", first), "budget");
    for provider in around.providers.iter().filter(|provider| !refuses(provider.budget.as_ref())) {
        budget::warn_of_unpriced(provider, &at, reader);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Config, Environment, Settings, Source};
    use crate::error::{Error, ErrorKind};

    fn load(tenants: Value) -> Result<Config, Error> {
        let provider = json!({ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k", "models": { "fast": "gpt-4o-mini" } });
        let config = json!({
            "providers": [provider], "tasks": { "sum": {} }, "server": { "api_keys": ["key-of-all"] }, "tenants": tenants,
        });
        let environment = Environment::from_map::<String, String>([]);
        Config::load_value(&config, &environment, &Settings::new(Source::Inline(Value::Null)))
    }

    fn problems(tenants: Value) -> Vec<String> {
        let error = load(tenants).expect_err("problems");
        let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error:?}") };
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_is_taken_and_the_rest_is_no_limit() {
        let config = load(json!([
            { "id": "a", "api_keys": ["key-of-a"], "enabled": false, "rps": 2.5, "burst": 7, "tokens_per_day": 0,
              "budget": { "daily_usd": 1 }, "tasks": ["sum"], "models": ["fast", "gpt-4o"], "max_deadline_ms": 500,
              "max_parallel": 2 },
            { "id": "b", "rps": 2.5 },
            { "id": "c.d_e-1" },
        ]));
        let config = config.expect("valid");
        assert_eq!(config.warnings, [""; 0]);
        let [a, b, c] = &config.tenants[..] else { panic!("{:?}", config.tenants) };
        let expected = TenantConfig {
            id: "a".to_owned(),
            api_keys: vec![KeyHash::of("key-of-a")],
            enabled: false,
            requests: Some(BucketParams { rps: 2.5, burst: 7 }),
            tokens_per_day: Some(0),
            budget: a.budget.clone(),
            tasks: Some(vec!["sum".to_owned()]),
            models: Some(vec!["fast".to_owned(), "gpt-4o".to_owned()]),
            max_deadline: Some(Duration::from_millis(500)),
            max_parallel: Some(2),
        };
        assert_eq!((a, a.budget.is_some()), (&expected, true));
        assert_eq!(b.requests, Some(BucketParams { rps: 2.5, burst: 3 }), "the burst is the rate, rounded up");
        assert!(c.enabled && c.requests.is_none() && c.tasks.is_none() && c.models.is_none() && c.budget.is_none());
        assert!(!format!("{a:?}").contains("key-of-a"));
        assert_eq!(config.server.tenant_keys, [(KeyHash::of("key-of-a"), "a".to_owned())]);
    }

    #[test]
    fn a_key_belongs_to_one_tenant_and_is_not_repeated() {
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // of "abc"
        let told = problems(json!([
            { "id": "a", "api_keys": ["abc", "key-of-all"] },
            { "id": "b", "api_keys": [hash, ""] },
        ]));
        assert_eq!(
            told,
            [
                "tenants[0].api_keys[1]: this key is in server.api_keys, too; a key belongs to one tenant",
                "tenants[1].api_keys[1]: expected a key, found an empty one",
                "tenants[1].api_keys[0]: this key is in tenants[0].api_keys[0], too; a key belongs to one tenant",
            ]
        );
    }

    #[test]
    fn mistakes_are_told_by_key() {
        let told = problems(json!([
            { "id": "a", "rps": 1e9, "burst": 0, "tasks": ["summ"], "models": [], "max_parallel": 0, "rpm": 1 },
            { "id": "a" },
            { "id": "über uns" },
            { "enabled": true },
        ]));
        assert_eq!(
            told,
            [
                "tenants[0].rpm: unknown key; did you mean \"rps\"?",
                "tenants[0].max_parallel: must be at least 1, found 0; enabled: false lets nothing in",
                "tenants[0].rps: must be 0, or from 0.001 to 1000000, found 1000000000",
                "tenants[0].burst: must be at least 1; rps: 0 lets nothing in, found 0",
                "tenants[0].tasks[0]: there is no task \"summ\"; did you mean \"sum\"?",
                "tenants[0].models: expected at least one, found none; leave it out to allow all",
                "tenants[1].id: this id is taken by tenants[0]; ids are unique",
                "tenants[2].id: expected at most 64 letters, digits, \".\", \"_\" and \"-\", found \"über uns\"",
                "tenants[3].id: is missing; expected a string",
            ]
        );
    }

    #[test]
    fn what_is_probably_not_meant_is_a_warning() {
        let tenants = json!([{ "id": "a", "burst": 3, "models": ["no-such"], "max_deadline_ms": 700_000 }]);
        assert_eq!(
            load(tenants).expect("valid").warnings,
            [
                "tenants[0]: max_deadline_ms of 700000 is above qos.max_deadline_ms, and 600000 holds",
                "tenants[0]: burst without rps limits nothing",
                "tenants[0].models[0]: no provider serves the model \"no-such\"",
            ]
        );
    }
}
