//! The options of the constructor: where the configuration is, and what goes over it.
//!
//! They arrive as JSON in the casing of JavaScript. `JSON.stringify` leaves `undefined` out and turns `Infinity` into
//! `null`, so a left-out option is its default and `null` is "no limit" where an option limits something.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::feed::check_url;
use super::network;
use super::provider::check_headers;
use super::raw::RawSettings;
use super::section::{Field, Read, Reader};
use super::values::{Dict, Hidden, Millis, Text};
use crate::error::Problem;

/// Long enough for most answers of most models, short enough that a hung provider is left within one call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A change that nobody announces is in force within minutes; a server is asked a few hundred times a day.
const CHECK_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// What a crash forgets is a minute of numbers; what is written is some kilobytes a minute, and nothing by an idle pool.
const SAVE_STATS_INTERVAL: Duration = Duration::from_secs(60);
/// Percentiles of a thousand samples are stable to about one per cent; a provider's samples then take 4 KiB.
const HISTORY_LIMIT: u32 = 1000;

/// Options of a pool. Every one that is `Some` goes over the configuration.
///
/// ```
/// use llmpool::config::Settings;
///
/// let settings = Settings::parse(r#"{ "configPath": "./config.json", "maxRetries": 0 }"#)?;
/// assert_eq!(settings.max_retries, Some(0));
/// # Ok::<(), Vec<llmpool::error::Problem>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub source: Source,
    /// How often the source is read again; `None` = only when somebody asks.
    pub check_interval: Option<Duration>,
    /// Keeps what the pool came to.
    pub stats_file: Option<PathBuf>,
    /// `None` = only at a shutdown, and when somebody asks.
    pub save_stats_interval: Option<Duration>,
    /// One attempt, unless the provider or the call says otherwise.
    pub timeout: Duration,
    /// The whole call, waits and retries included.
    pub deadline: Option<Duration>,
    pub max_retries: Option<u32>,
    pub retry_delay: Option<Duration>,
    /// `false`: tokens are counted by bytes alone.
    pub use_token_counting: bool,
    /// Emit `debug` events.
    pub debug: bool,
    /// Samples kept per provider for percentiles.
    pub history_limit: u32,
}

/// Where a configuration comes from.
#[derive(Clone, PartialEq)]
pub enum Source {
    /// Read in the format its extension says.
    File(PathBuf),
    Url(Remote),
    Inline(Value),
}

/// A configuration that is fetched.
#[derive(Clone, PartialEq)]
pub struct Remote {
    pub url: Url,
    /// Sent there and nowhere else.
    pub headers: Vec<(String, String)>,
    /// What of the environment it may read.
    pub variables: Vec<String>,
    /// In hexadecimal.
    pub sha256: Option<String>,
    /// Keeps what was in force last.
    pub cache: Option<PathBuf>,
}

impl fmt::Debug for Source {
    /// An inline configuration holds keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Url(remote) => f.debug_tuple("Url").field(&network::origin(&remote.url)).finish(),
            Self::Inline(_) => f.write_str("Inline(***)"),
        }
    }
}

impl Settings {
    /// Every option at its default.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            check_interval: Some(CHECK_INTERVAL),
            stats_file: None,
            save_stats_interval: Some(SAVE_STATS_INTERVAL),
            timeout: TIMEOUT,
            deadline: None,
            max_retries: None,
            retry_delay: None,
            use_token_counting: true,
            debug: false,
            history_limit: HISTORY_LIMIT,
        }
    }

    /// Reads the options object, with every problem at once.
    pub fn parse(json: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::literal();
        // serde_json's words could repeat a part of the text.
        let value: Value = serde_json::from_str(json).map_err(|error| {
            let message = format!("the options are not valid JSON (line {}, column {})", error.line(), error.column());
            vec![Problem { path: String::new(), message }]
        })?;
        let settings = RawSettings::read(&value, "", &mut reader).and_then(|raw| check(raw, &mut reader));
        match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(reader.problems),
        }
    }
}

fn check(raw: RawSettings, reader: &mut Reader<'_>) -> Option<Settings> {
    let RawSettings {
        config_path,
        config_url,
        config,
        config_headers,
        config_url_env,
        config_sha256,
        config_cache,
        check_interval,
        stats_file,
        save_stats_interval,
        timeout,
        deadline,
        max_retries,
        retry_delay,
        use_token_counting,
        debug,
        history_limit,
    } = raw;

    let given =
        [("configPath", config_path.is_given()), ("configUrl", config_url.is_given()), ("config", config.is_given())];
    let given: Vec<_> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match given.as_slice() {
        [] => reader.problem("", "there is no configuration; expected one of configPath, configUrl, config"),
        [_] => {}
        several => reader.problem("", format!("expected exactly one configuration, found {}", several.join(" and "))),
    }
    let remote = RawRemote { config_url, config_headers, config_url_env, config_sha256, config_cache };
    let source = match (config_path.some(), remote.check(reader), config.some()) {
        (Some(path), ..) => Source::File(whole(path)),
        (None, Some(remote), _) => Source::Url(remote),
        (None, None, Some(config)) => Source::Inline(config.0),
        (None, None, None) => return None,
    };

    let unset = Settings::new(source);
    Some(Settings {
        check_interval: interval(check_interval, unset.check_interval),
        stats_file: stats_file.some().map(whole),
        save_stats_interval: interval(save_stats_interval, unset.save_stats_interval),
        timeout: timeout.time_limit(unset.timeout),
        // "No limit" is left to the configuration, which has the last word on how long a call may take.
        deadline: deadline.some().map(|Millis(deadline)| deadline),
        max_retries: max_retries.some(),
        retry_delay: retry_delay.some().map(|Millis(delay)| delay),
        use_token_counting: use_token_counting.or(unset.use_token_counting),
        debug: debug.or(unset.debug),
        history_limit: history_limit.or(unset.history_limit),
        source: unset.source,
    })
}

/// The path from where this process is now: a program that goes to another folder later still means this file.
fn whole(path: Text) -> PathBuf {
    let path = PathBuf::from(path.value);
    std::path::absolute(&path).unwrap_or(path)
}

/// 0 and `null` are never.
fn interval(written: Field<Millis>, unset: Option<Duration>) -> Option<Duration> {
    match written {
        Field::Null => None,
        Field::Is(Millis(interval)) => (!interval.is_zero()).then_some(interval),
        Field::Absent | Field::Bad => unset,
    }
}

/// What is said of a configuration that is fetched.
struct RawRemote {
    config_url: Field<Hidden>,
    config_headers: Field<Dict<Hidden>>,
    config_url_env: Field<Vec<Field<Text>>>,
    config_sha256: Field<Text>,
    config_cache: Field<Text>,
}

impl RawRemote {
    /// `None`: there is no URL, or none that can be used.
    fn check(self, reader: &mut Reader<'_>) -> Option<Remote> {
        let Self { config_url, config_headers, config_url_env, config_sha256, config_cache } = self;
        if !config_url.is_given() {
            let given = [
                ("configHeaders", config_headers.is_given()),
                ("configUrlEnv", config_url_env.is_given()),
                ("configSha256", config_sha256.is_given()),
                ("configCache", config_cache.is_given()),
            ];
            for (name, _) in given.iter().filter(|(_, given)| *given) {
                reader.problem(*name, "there is no configUrl that it could be for");
            }
            return None;
        }
        let headers = check_headers(config_headers, "configHeaders", reader);
        let names = config_url_env.some().into_iter().flatten();
        let variables = names.filter_map(|name| Some(name.some()?.value)).collect();
        let sha256 = config_sha256.some().map(|text| text.value.trim().to_ascii_lowercase());
        if sha256.as_ref().is_some_and(|sum| sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            reader.problem("configSha256", "expected 64 hexadecimal digits");
        }
        let cache = config_cache.some().map(whole);
        let Hidden(url) = config_url.some()?;
        match check_url(url.expose()) {
            Ok(url) => Some(Remote { url, headers, variables, sha256, cache }),
            Err(message) => {
                // A provider may be asked over plain HTTP on request; what all keys are in may not.
                let message = message.split("; allow_http").next().unwrap_or(message);
                reader.problem("configUrl", message);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::values::UNLIMITED;

    fn problems(value: Value) -> Vec<String> {
        let problems = Settings::parse(&value.to_string()).expect_err("problems");
        problems.iter().map(ToString::to_string).collect()
    }

    /// A file where the tests run.
    fn here(name: &str) -> PathBuf {
        std::path::absolute(name).expect("a folder")
    }

    #[test]
    fn a_file_is_meant_from_where_the_process_is_when_it_is_named() {
        let options = json!({ "configPath": "./a.json", "statsFile": "b/../c" });
        let settings = Settings::parse(&options.to_string()).expect("valid");
        assert_eq!(settings.source, Source::File(here("a.json")));
        assert_eq!(settings.stats_file, Some(here("b/../c")));
        assert!(settings.stats_file.is_some_and(|path| path.is_absolute()));
        let options = json!({ "configPath": "/a.json" });
        assert_eq!(Settings::parse(&options.to_string()).expect("valid").source, Source::File("/a.json".into()));
    }

    #[test]
    fn only_a_source_is_needed() {
        let settings = Settings::parse("{ \"configPath\": \"./c.json\" }").expect("complete");
        assert_eq!(settings, Settings::new(Source::File(here("c.json"))));
        assert_eq!((settings.timeout, settings.history_limit), (Duration::from_secs(30), 1000));
        assert!(!settings.debug);
    }

    #[test]
    fn options_go_over_the_defaults() {
        let options = json!({
            "configPath": "./config.json", "timeout": 30000, "maxRetries": 3, "retryDelay": 1000
        });
        let settings = Settings::parse(&options.to_string()).expect("as documented");
        assert_eq!((settings.max_retries, settings.retry_delay), (Some(3), Some(Duration::from_secs(1))));
    }

    #[test]
    fn zero_is_a_value_and_null_is_no_limit() {
        let zero =
            json!({ "config": {}, "timeout": 0, "deadline": 0, "maxRetries": 0, "retryDelay": 0, "historyLimit": 0 });
        let zero = Settings::parse(&zero.to_string()).expect("zeros");
        assert_eq!((zero.timeout, zero.deadline, zero.history_limit), (Duration::ZERO, Some(Duration::ZERO), 0));
        assert_eq!((zero.max_retries, zero.retry_delay), (Some(0), Some(Duration::ZERO)));
        let null = json!({ "config": {}, "timeout": null, "deadline": null, "maxRetries": null, "configPath": null });
        let null = Settings::parse(&null.to_string()).expect("nulls");
        assert_eq!((null.timeout, null.deadline, null.max_retries), (UNLIMITED, None, None));
    }

    #[test]
    fn exactly_one_source() {
        assert_eq!(problems(json!({})), ["there is no configuration; expected one of configPath, configUrl, config"]);
        assert_eq!(
            problems(json!({ "configPath": "a", "config": {} })),
            ["expected exactly one configuration, found configPath and config"]
        );
        assert_eq!(
            problems(json!({ "configUrl": "https://a.b/c.json", "configPath": "a" })),
            ["expected exactly one configuration, found configPath and configUrl"]
        );
        assert_eq!(problems(json!({ "config": "./c.json" })), ["config: expected an object, found a string"]);
        assert_eq!(problems(json!({ "configPath": "" })), ["configPath: expected a string, found an empty one"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        assert_eq!(
            problems(json!({ "timeOut": 1, "maxRetries": "3", "debug": 1, "retryDelay": -1 })),
            [
                "timeOut: unknown key; did you mean \"timeout\"?",
                "maxRetries: expected a whole number from 0 to 4294967295, found the string \"3\"",
                "retryDelay: expected a whole number of milliseconds, found the number -1",
                "debug: expected true or false, found the number 1",
                "there is no configuration; expected one of configPath, configUrl, config",
            ]
        );
        assert_eq!(problems(json!(["configPath"])), ["expected an object, found a list"]);
        assert!(Settings::parse("{").is_err());
    }

    #[test]
    fn a_url_comes_with_what_is_for_it_alone() {
        let sum = "A".repeat(64);
        let options = json!({
            "configUrl": "https://a.b/sk-secret/c.json?token=sk-secret", "configHeaders": { "Authorization": "Bearer sk-secret" },
            "configUrlEnv": ["KEY"], "configSha256": sum, "configCache": "./cache.json", "checkInterval": 1000
        });
        let settings = Settings::parse(&options.to_string()).expect("complete");
        assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
        assert_eq!(settings.check_interval, Some(Duration::from_secs(1)));
        let Source::Url(remote) = settings.source else { panic!("a URL") };
        assert_eq!(remote.headers, [("Authorization".to_owned(), "Bearer sk-secret".to_owned())]);
        assert_eq!((remote.variables, remote.sha256), (vec!["KEY".to_owned()], Some("a".repeat(64))));
        assert_eq!(remote.cache, Some(here("cache.json")));
        assert_eq!(
            problems(
                json!({ "configPath": "a", "configHeaders": { "a": "b" }, "configUrlEnv": [], "configSha256": "x",
                "configCache": "c" })
            ),
            ["configHeaders", "configUrlEnv", "configSha256", "configCache"]
                .map(|name| format!("{name}: there is no configUrl that it could be for"))
        );
        assert_eq!(
            problems(
                json!({ "configUrl": "http://u:secret@a.b/c", "configSha256": "12", "configHeaders": { "x y": "z" } })
            ),
            [
                "configHeaders[\"x y\"]: no HTTP header can have this name",
                "configSha256: expected 64 hexadecimal digits",
                "configUrl: expected https, found http to another host than this machine, which would send the key and \
                 the messages unencrypted",
            ]
        );
        assert!(Settings::parse(&json!({ "configUrl": "http://127.0.0.1:1/c" }).to_string()).is_ok());
    }

    /// Nothing is accepted and inert: every option set to something makes other settings than without it.
    #[test]
    fn every_option_makes_a_difference() {
        let over = |base: Value, key: &str, sample: &Value| {
            let mut options = base.clone();
            options[key] = sample.clone();
            let read = |options: &Value| {
                Settings::parse(&options.to_string()).unwrap_or_else(|said| panic!("{key}: {said:?}"))
            };
            assert_ne!(read(&options), read(&base), "{key} changes nothing");
        };
        let samples = json!({
            "configPath": "b", "configUrl": "https://b.c", "config": { "x": 1 }, "configHeaders": { "a": "b" },
            "configUrlEnv": ["A"], "configSha256": "0".repeat(64), "configCache": "c", "checkInterval": 5, "statsFile": "s", "saveStatsInterval": 5, "timeout": 5,
            "deadline": 5, "maxRetries": 5, "retryDelay": 5, "debug": true, "historyLimit": 5, "useTokenCounting": false
        });
        for key in RawSettings::KEYS {
            let sample = samples.get(key).unwrap_or_else(|| panic!("no sample for {key}"));
            let base = match *key {
                "config" => json!({ "config": {} }),
                "saveStatsInterval" => json!({ "configPath": "a", "statsFile": "s" }),
                key if key.starts_with("config") && key != "configPath" => json!({ "configUrl": "https://a.b" }),
                _ => json!({ "configPath": "a" }),
            };
            over(base, key, sample);
        }
    }

    #[test]
    fn no_interval_is_no_checking() {
        for interval in [json!(0), json!(null)] {
            let options = json!({ "configPath": "a", "checkInterval": interval });
            assert_eq!(Settings::parse(&options.to_string()).expect("valid").check_interval, None);
        }
        assert_eq!(Settings::new(Source::Inline(Value::Null)).check_interval, Some(Duration::from_secs(300)));
    }

    #[test]
    fn an_inline_configuration_is_not_shown() {
        let options = json!({ "config": { "providers": [{ "api_key": "sk-secret" }] } });
        let settings = Settings::parse(&options.to_string()).expect("an object is enough here");
        assert!(!format!("{settings:?}").contains("sk-secret"));
    }
}
