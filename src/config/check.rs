//! The whole configuration, raw → checked: sections that hold for the pool, then every provider.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::beside::Files;
use super::budget;
use super::callers;
use super::env::Environment;
use super::failures;
use super::nearest::nearest;
use super::network;
use super::overlay::Overlay;
use super::provider::{self, Shared};
use super::raw::{
    RawBreaker, RawCache, RawConfig, RawEnsemble, RawHealth, RawMedia, RawProvider, RawQos, RawRetryBudget, RawRouting,
    RawServer, SECTIONS,
};
use super::references::References;
use super::section::{Field, Read, Reader, index, join};
use super::tenants::{self, Around};
use super::values::{MillisOrP95, Seconds, Text, shown};
use super::{Config, HealthConfig, MediaConfig, ProviderConfig, QosConfig, RoutingConfig, Settings};
use super::{server, tasks};
use crate::cache::CacheParams;
use crate::error::Problem;
use crate::policy::{BackoffParams, Behaviour, BreakerParams, HedgeAfter, HedgeParams, RetryBudgetParams};
use crate::transport::MediaParams;

/// Long enough for a reasoning model at its slowest, short enough that a forgotten call does not stay for ever.
const MAX_DEADLINE: Duration = Duration::from_secs(600);
/// A call that could wait this long for capacity is better told so.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// As many sockets as a process may usually have without asking, less those of everything else in it: 1,024 files is the
/// customary limit. A provider that takes more at once from one account is rare.
const MAX_CONCURRENT: u32 = 256;
/// Each waiting call holds its prompt; ten thousand of them are the most a process of usual size carries.
const MAX_QUEUE: u64 = 10_000;
/// Above what any provider takes in one request but for large images.
const MAX_PROMPT_BYTES: u64 = 16 * 1024 * 1024;
/// A hundred times the longest answer there is; more is a provider gone wrong.
const MAX_RESPONSE_BYTES: u64 = 32 * 1024 * 1024;
/// Often enough to find within half a minute what no call has found yet, and nothing that a provider's limits notice.
const HEALTH_INTERVAL: Duration = Duration::from_secs(30);
/// A list of models takes a fraction of a second from any provider that is well.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// One failed check may be a lost packet.
const HEALTH_FAILURES: u32 = 2;
/// As long as a breaker first stays open: whoever marks a provider and forgets it has it back within a minute.
const ERROR_COOLDOWN: Duration = Duration::from_secs(60);
/// Three further tries, with backoff, outlive most short outages within ten seconds.
const MAX_RETRIES: u32 = 3;

/// Checks everything, and fails with every problem there is.
pub(super) fn config(
    value: &Value,
    references: References<'_>,
    overlay: &Overlay,
    environment: &Environment,
    settings: &Settings,
) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader::new(references, SECTIONS);
    let config =
        RawConfig::read(value, "", &mut reader).map(|raw| check(raw, overlay, environment, settings, &mut reader));
    match config {
        Some(config) if reader.problems.is_empty() => Ok(Config { warnings: reader.warnings, ..config }),
        _ => Err(reader.problems),
    }
}

fn check<'a>(
    raw: RawConfig,
    overlay: &Overlay,
    environment: &'a Environment,
    settings: &Settings,
    reader: &mut Reader<'a>,
) -> Config {
    let RawConfig {
        schema,
        providers,
        routing,
        qos,
        media,
        health,
        cache,
        ensemble,
        tasks,
        budget,
        failures,
        server,
        tenants,
    } = raw;
    drop(schema); // for editors, who read it in the text
    let (routing, breaker) = check_routing(routing.or(RawRouting::default()), settings, reader);
    let qos = check_qos(qos.or(RawQos::default()), reader);
    let health = check_health(health.or(RawHealth::default()), reader);
    let budget = budget::check(budget, "budget", reader);
    let media = check_media(media.or(RawMedia::default()), reader);
    let cache = check_cache(cache.or(RawCache::default()));
    let client = network::from_environment(environment, reader);
    let mut files = Files::of(settings);
    let mut server = server::check(server.or(RawServer::default()), &client, &mut files, reader);
    let media = MediaConfig { params: media, client: client.clone() };
    let shared = Shared {
        breaker,
        enable_breaker: routing.enable_circuit_breaker,
        client,
        counting: settings.use_token_counting,
        refuses_unpriced: budget.as_ref().is_some_and(|budget| !budget.allow_unpriced),
    };
    let mut providers = check_providers(providers, &shared, reader);
    let written = providers.len();
    reader.with_references(References::all(environment), |reader| {
        check_added(overlay, &mut providers, &shared, reader);
    });
    failures::check(failures, &mut providers, reader);
    let mut position = 0;
    providers.retain(|provider| {
        position += 1;
        position > written || !overlay.removes(provider.name.as_str())
    });
    providers.iter_mut().for_each(|provider| overlay.steer(provider));
    let ensemble = tasks::check_ensemble(ensemble.or(RawEnsemble::default()), &providers, reader);
    let tasks = tasks::check(tasks, &ensemble, &providers, &mut files, reader);
    let around = Around { providers: &providers, tasks: &tasks, server: &server, qos: &qos, budget: budget.as_ref() };
    let tenants = tenants::check(tenants, &around, reader);
    server.tenant_keys = tenants::keys(&tenants);
    callers::check_tenants(server.hmac.as_ref(), &tenants, reader);
    if providers.is_empty() && reader.problems.is_empty() {
        reader.problem("providers", "expected at least one provider; the last one was removed");
    } else if !providers.is_empty() && providers.iter().all(|provider| !provider.enabled) {
        reader.warn("providers", "no provider is enabled");
    }

    if let Some(deadline) = settings.deadline.filter(|deadline| *deadline > qos.max_deadline) {
        let (asked, most) = (deadline.as_millis(), qos.max_deadline.as_millis());
        reader.warn("deadline", format_args!("{asked} ms is above qos.max_deadline_ms and was cut to {most} ms"));
    }
    Config {
        providers,
        timeout: settings.timeout,
        deadline: settings.deadline.map_or(qos.max_deadline, |deadline| deadline.min(qos.max_deadline)),
        routing,
        qos,
        media,
        health,
        cache,
        budget,
        server,
        ensemble,
        tasks,
        tenants,
        files: files.read,
        warnings: Vec::new(),
    }
}

fn check_providers(
    providers: Field<Vec<Field<RawProvider>>>,
    shared: &Shared,
    reader: &mut Reader<'_>,
) -> Vec<ProviderConfig> {
    let path = "providers";
    let Some(raw) = providers.required("", path, reader) else { return Vec::new() };
    if raw.is_empty() {
        reader.problem(path, "expected at least one provider, found an empty list");
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut checked = Vec::with_capacity(raw.len());
    for (position, provider) in raw.into_iter().enumerate() {
        let Some(provider) = provider.some() else { continue };
        let at = index(path, position);
        if let Field::Is(name) = &provider.name {
            let first = *seen.entry(name.value.clone()).or_insert(position);
            if first != position {
                let message = format!("this name is taken by {}; names are unique", index(path, first));
                reader.problem(join(&at, "name"), message);
            }
        }
        checked.extend(provider::check(provider, &at, shared, reader));
    }
    checked
}

/// Providers that the program added, behind those of the configuration. The configuration's own go over them.
fn check_added(overlay: &Overlay, providers: &mut Vec<ProviderConfig>, shared: &Shared, reader: &mut Reader<'_>) {
    let written = providers.len();
    for (name, provider) in overlay.added() {
        let at = format!("addProvider({name:?})");
        if !overlay.removes(name) && providers[..written].iter().any(|provider| provider.name.as_str() == name) {
            reader.warn(&at, "the configuration has a provider of this name, which is used instead");
            continue;
        }
        if let Field::Is(raw) = reader.item::<RawProvider>(provider, &at) {
            providers.extend(provider::check(raw, &at, shared, reader));
        }
    }
}

fn check_routing(raw: RawRouting, settings: &Settings, reader: &mut Reader<'_>) -> (RoutingConfig, BreakerParams) {
    let at = "routing";
    let RawRouting {
        behaviour,
        max_retries,
        retry_delay_ms,
        backoff_multiplier,
        max_backoff_ms,
        enable_failover,
        enable_circuit_breaker,
        max_concurrent,
        queue_timeout_ms,
        max_queue,
        retry_budget,
        breaker,
        on_content_filter,
        error_cooldown_ms,
        seed,
    } = raw;
    let BackoffParams { base, multiplier, max } = BackoffParams::default();
    let backoff = BackoffParams {
        base: settings.retry_delay.unwrap_or(retry_delay_ms.time(base)),
        multiplier: backoff_multiplier.or(multiplier),
        max: max_backoff_ms.time_limit(max),
    };
    let found = [("multiplier", "backoff_multiplier", backoff.multiplier.to_string())];
    refuse(backoff.check(), at, &found, reader);
    let routing = RoutingConfig {
        behaviour: check_behaviour(behaviour, &join(at, "behaviour"), reader),
        max_retries: settings.max_retries.unwrap_or(max_retries.or(MAX_RETRIES)),
        backoff,
        enable_failover: enable_failover.or(true),
        enable_circuit_breaker: enable_circuit_breaker.or(true),
        max_concurrent: match max_concurrent {
            Field::Null => None,
            Field::Is(0) => {
                reader.problem(join(at, "max_concurrent"), "must be at least 1, or null for no limit, found 0");
                None
            }
            max_concurrent => Some(max_concurrent.or(MAX_CONCURRENT)),
        },
        queue_timeout: queue_timeout_ms.time_limit(QUEUE_TIMEOUT),
        max_queue: size(max_queue.or_limit(MAX_QUEUE, u64::MAX)),
        retry_budget: check_retry_budget(retry_budget.or(RawRetryBudget::default()), reader),
        failover_on_content_filter: check_content_filter(on_content_filter, &join(at, "on_content_filter"), reader),
        error_cooldown: match error_cooldown_ms {
            Field::Null => None,
            error_cooldown_ms => Some(error_cooldown_ms.time(ERROR_COOLDOWN)),
        },
        seed: seed.some(),
    };
    (routing, check_breaker(breaker.or(RawBreaker::default()), reader))
}

fn check_behaviour(behaviour: Field<Text>, path: &str, reader: &mut Reader<'_>) -> Behaviour {
    let Some(text) = behaviour.some() else { return Behaviour::default() };
    if let Some(known) = Behaviour::ALL.into_iter().find(|known| known.as_str() == text.value) {
        return known;
    }
    let names = Behaviour::ALL.map(Behaviour::as_str);
    let said = shown(&text.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
    reader.problem(path, format!("expected one of {}{said}{}", names.join(", "), nearest(&text.value, &names)));
    Behaviour::default()
}

/// What a refusal of the content does.
pub(super) const CONTENT_FILTER: &[&str] = &["throw", "failover"];

fn check_content_filter(word: Field<Text>, path: &str, reader: &mut Reader<'_>) -> bool {
    let Some(word) = word.some() else { return false };
    if !CONTENT_FILTER.contains(&word.value.as_str()) {
        let said = shown(&word.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        let hint = nearest(&word.value, CONTENT_FILTER);
        reader.problem(path, format!("expected \"throw\" or \"failover\"{said}{hint}"));
    }
    word.value == "failover"
}

fn check_retry_budget(raw: RawRetryBudget, reader: &mut Reader<'_>) -> RetryBudgetParams {
    let RawRetryBudget { ratio, per_second, burst } = raw;
    let unset = RetryBudgetParams::default();
    let budget = RetryBudgetParams {
        ratio: ratio.or(unset.ratio),
        per_second: per_second.or(unset.per_second),
        burst: burst.or(unset.burst),
    };
    let found =
        [("ratio", "ratio", budget.ratio.to_string()), ("per_second", "per_second", budget.per_second.to_string())];
    refuse(budget.check(), "routing.retry_budget", &found, reader);
    budget
}

/// The part of a breaker that all providers share.
fn check_breaker(raw: RawBreaker, reader: &mut Reader<'_>) -> BreakerParams {
    let RawBreaker { failure_ratio, window_s, min_calls, max_open_ms } = raw;
    let unset = BreakerParams::default();
    let breaker = BreakerParams {
        threshold: unset.threshold,
        open_for: unset.open_for,
        failure_ratio: failure_ratio.or(unset.failure_ratio),
        window: window_s.or(Seconds(unset.window)).0,
        min_calls: min_calls.or(unset.min_calls),
        max_open: max_open_ms.time_limit(unset.max_open),
    };
    let found = [
        ("failure_ratio", "failure_ratio", breaker.failure_ratio.to_string()),
        ("window", "window_s", breaker.window.as_secs().to_string()),
        ("min_calls", "min_calls", breaker.min_calls.to_string()),
    ];
    refuse(breaker.check(), "routing.breaker", &found, reader);
    breaker
}

/// What a leaf refuses of its params, under the keys they were written in: (param, key, value found).
fn refuse(refused: Vec<(&str, String)>, at: &str, found: &[(&str, &str, String)], reader: &mut Reader<'_>) {
    for (param, message) in refused {
        match found.iter().find(|(name, ..)| *name == param) {
            Some((_, key, value)) => reader.problem(join(at, key), format!("{message}, found {value}")),
            None => reader.problem(join(at, param), message),
        }
    }
}

fn check_qos(raw: RawQos, reader: &mut Reader<'_>) -> QosConfig {
    let RawQos { max_deadline_ms, hedge, hedge_after_ms, hedge_budget, max_prompt_bytes, max_response_bytes } = raw;
    let unset = HedgeParams::default();
    let params = HedgeParams {
        after: match hedge_after_ms.some() {
            Some(MillisOrP95::Millis(after)) => HedgeAfter::Fixed(after),
            Some(MillisOrP95::P95) => HedgeAfter::P95,
            None => unset.after,
        },
        budget: hedge_budget.or(unset.budget),
    };
    refuse(params.check(), "qos", &[("budget", "hedge_budget", params.budget.to_string())], reader);
    QosConfig {
        max_deadline: max_deadline_ms.time_limit(MAX_DEADLINE),
        hedge: hedge.or(false).then_some(params),
        max_prompt_bytes: size(max_prompt_bytes.or_limit(MAX_PROMPT_BYTES, u64::MAX)),
        max_response_bytes: size(max_response_bytes.or_limit(MAX_RESPONSE_BYTES, u64::MAX)),
    }
}

fn check_media(raw: RawMedia, reader: &mut Reader<'_>) -> MediaParams {
    let RawMedia { fetch, max_bytes, timeout_ms, allow_hosts } = raw;
    let default = MediaParams::default();
    let mut hosts = Vec::new();
    for (at, host) in allow_hosts.or(Vec::new()).into_iter().enumerate() {
        let Some(host) = host.some() else { continue };
        let value = host.value.trim().trim_end_matches('.');
        match url::Host::parse(value) {
            Ok(_) => hosts.push(value.to_owned()),
            Err(_) => {
                let said = shown(&host.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
                let message = format!("expected the name or address of a host, without scheme and port{said}");
                reader.problem(index("media.allow_hosts", at), message);
            }
        }
    }
    MediaParams {
        fetch: fetch.or(default.fetch),
        max_bytes: size(max_bytes.or_limit(default.max_bytes as u64, u64::MAX)),
        timeout: timeout_ms.time_limit(default.timeout),
        allow_hosts: hosts,
    }
}

fn check_health(raw: RawHealth, reader: &mut Reader<'_>) -> HealthConfig {
    let RawHealth { active, interval_ms, timeout_ms, failures } = raw;
    let health = HealthConfig {
        active: active.or(false),
        interval: interval_ms.time(HEALTH_INTERVAL),
        timeout: timeout_ms.time(HEALTH_TIMEOUT),
        failures: failures.or(HEALTH_FAILURES),
    };
    let zeros = [
        ("interval_ms", health.interval.is_zero()),
        ("timeout_ms", health.timeout.is_zero()),
        ("failures", health.failures == 0),
    ];
    for (key, _) in zeros.into_iter().filter(|(_, is_zero)| *is_zero) {
        reader.problem(join("health", key), "must be at least 1, found 0; active: false checks nothing");
    }
    health
}

fn check_cache(raw: RawCache) -> CacheParams {
    let RawCache { enabled, ttl_seconds, max_entries, max_bytes, max_entry_bytes } = raw;
    let unset = CacheParams::default();
    CacheParams {
        enabled: enabled.or(unset.enabled),
        ttl: ttl_seconds.or(Seconds(unset.ttl)).0,
        max_entries: max_entries.or_limit(unset.max_entries, u64::MAX),
        max_bytes: max_bytes.or_limit(unset.max_bytes, u64::MAX),
        max_entry_bytes: max_entry_bytes.or_limit(unset.max_entry_bytes, u64::MAX),
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
