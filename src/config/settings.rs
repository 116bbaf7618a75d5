//! The options of the constructor: where the configuration is, and what goes over it.
//!
//! They arrive as JSON in the casing of JavaScript. `JSON.stringify` leaves `undefined` out and turns `Infinity` into
//! `null`, so a left-out option is its default and `null` is "no limit" where an option limits something.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::raw::RawSettings;
use super::section::{Read, Reader};
use super::values::Millis;
use crate::error::Problem;

/// Long enough for most answers of most models, short enough that a hung provider is left within one call.
const TIMEOUT: Duration = Duration::from_secs(30);
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
    /// JSON with comments.
    File(PathBuf),
    Inline(Value),
}

impl fmt::Debug for Source {
    /// An inline configuration holds keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(***)"),
        }
    }
}

impl Settings {
    /// Every option at its default.
    pub fn new(source: Source) -> Self {
        Self {
            source,
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
        [] => reader.problem("", "there is no configuration; expected one of configPath, config"),
        ["configUrl"] => reader.problem(
            "configUrl",
            "a configuration cannot be read from a URL in this version; expected configPath or config",
        ),
        [_] => {}
        several => reader.problem("", format!("expected exactly one configuration, found {}", several.join(" and "))),
    }
    let source = match (config_path.some(), config.some()) {
        (Some(path), _) => Source::File(PathBuf::from(path.value)),
        (None, Some(config)) => Source::Inline(config.0),
        (None, None) => return None,
    };

    let unset = Settings::new(source);
    Some(Settings {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::values::UNLIMITED;

    fn problems(value: Value) -> Vec<String> {
        let problems = Settings::parse(&value.to_string()).expect_err("problems");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_a_source_is_needed() {
        let settings = Settings::parse("{ \"configPath\": \"./c.json\" }").expect("complete");
        assert_eq!(settings, Settings::new(Source::File("./c.json".into())));
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
        assert_eq!(problems(json!({})), ["there is no configuration; expected one of configPath, config"]);
        assert_eq!(
            problems(json!({ "configPath": "a", "config": {} })),
            ["expected exactly one configuration, found configPath and config"]
        );
        let url = problems(json!({ "configUrl": "https://a.b/c.json" }));
        assert!(url.len() == 1 && url[0].starts_with("configUrl: "), "{url:?}");
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
                "there is no configuration; expected one of configPath, config",
            ]
        );
        assert_eq!(problems(json!(["configPath"])), ["expected an object, found a list"]);
        assert!(Settings::parse("{").is_err());
    }

    #[test]
    fn an_inline_configuration_is_not_shown() {
        let options = json!({ "config": { "providers": [{ "api_key": "sk-secret" }] } });
        let settings = Settings::parse(&options.to_string()).expect("an object is enough here");
        assert!(!format!("{settings:?}").contains("sk-secret"));
    }
}
