//! Options of a processor and jobs as JSON, in the words of JavaScript.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::job::{JobSpec, Priority};
use super::params::BackgroundParams;
use crate::config::nearest;
use crate::error::{Error, Problem};
use crate::types::{ChatRequest, FieldError, Millis, ParsedCall, parse_call, read_text, said_of_surrogates};

/// What a processor can be told.
const OPTIONS: &[&str] = &[
    "workers",
    "queueSize",
    "maxRetries",
    "timeout",
    "rateLimitRps",
    "retryDelay",
    "keepResults",
    "model",
    "max_tokens",
    "temperature",
];

/// What a job can say.
const FIELDS: &[&str] = &["id", "priority", "metadata", "prompt", "request", "timeout", "maxRetries"];

/// Reads the options of a processor; whatever is left out or `null` has its default.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn read_params(json: &str) -> Result<BackgroundParams, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Fields {
        workers: Option<usize>,
        queue_size: Option<usize>,
        max_retries: Option<u32>,
        timeout: Option<Millis>,
        rate_limit_rps: Option<f64>,
        retry_delay: Option<Millis>,
        keep_results: Option<usize>,
        model: Option<String>,
        #[serde(rename = "max_tokens")]
        max_tokens: Option<u32>,
        temperature: Option<f64>,
    }
    let problem = |error: FieldError| {
        let FieldError { field: path, message } = named(error, OPTIONS);
        Error::configuration(vec![Problem { path, message }])
    };
    let (fields, _) = read_text::<Fields>(json).map_err(problem)?;
    let default = BackgroundParams::default();
    let params = BackgroundParams {
        workers: fields.workers.unwrap_or(default.workers),
        queue_size: fields.queue_size.unwrap_or(default.queue_size),
        max_retries: fields.max_retries.unwrap_or(default.max_retries),
        timeout: fields.timeout.map(|millis| millis.0),
        rate_limit_rps: fields.rate_limit_rps,
        retry_delay: fields.retry_delay.map_or(default.retry_delay, |millis| millis.0),
        keep_results: fields.keep_results.unwrap_or(default.keep_results),
        model: fields.model,
        max_tokens: fields.max_tokens,
        temperature: fields.temperature,
    };
    params.check()?;
    Ok(params)
}

/// Reads a job.
///
/// # Errors
/// The field that is wrong, and why.
pub(crate) fn read_spec(json: &str) -> Result<JobSpec, FieldError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Fields {
        id: Option<String>,
        priority: Option<String>,
        #[serde(default)]
        metadata: Value,
        prompt: Option<String>,
        request: Option<Box<RawValue>>,
        timeout: Option<Millis>,
        max_retries: Option<u32>,
    }
    let (fields, replaced) = read_text::<Fields>(json).map_err(|error| named(error, FIELDS))?;
    let Fields { id, priority, metadata, prompt, request, timeout, max_retries } = fields;
    let mut call = match (prompt, request) {
        (Some(prompt), None) if prompt.trim().is_empty() => return Err(refused("prompt", "must not be empty")),
        (Some(prompt), None) => ParsedCall { request: ChatRequest::user(prompt), ..ParsedCall::default() },
        (None, Some(request)) => parse_call(request.get()).map_err(|error| under("request", error))?,
        (Some(_), Some(_)) => return Err(refused("prompt", "stands for a request; a job has one of the two")),
        (None, None) => return Err(refused("request", "is missing: a job has a request or a prompt")),
    };
    if call.stream {
        return Err(refused("request.stream", "a job has one whole answer; nobody is there to read it piece by piece"));
    }
    call.warnings.extend(said_of_surrogates(replaced));
    Ok(JobSpec {
        id,
        priority: priority.as_deref().map_or(Ok(Priority::default()), str::parse)?,
        request: call.request,
        options: call.options,
        metadata,
        timeout: timeout.map(|millis| millis.0),
        max_retries,
        warnings: call.warnings,
        written: Some(Arc::from(json)),
    })
}

fn refused(field: &str, message: &str) -> FieldError {
    FieldError { field: field.to_owned(), message: message.to_owned() }
}

fn under(parent: &str, error: FieldError) -> FieldError {
    let field = match error.field.as_str() {
        "" => parent.to_owned(),
        field => format!("{parent}.{field}"),
    };
    FieldError { field, ..error }
}

/// serde lists all names that it knows; one that is near says more.
fn named(error: FieldError, known: &[&str]) -> FieldError {
    if !error.message.starts_with("unknown field ") {
        return error;
    }
    let hint = nearest(&error.field, known);
    let hint = if hint.is_empty() { format!("; there are {}", known.join(", ")) } else { hint };
    FieldError { message: format!("unknown field{hint}"), ..error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_option_makes_a_difference() {
        let default = read_params("{}").expect("nothing is a choice");
        assert_eq!(default, BackgroundParams::default());
        for option in OPTIONS {
            let value = if *option == "model" { r#""m""# } else { "2" };
            let read = read_params(&format!("{{\"{option}\":{value}}}")).expect(option);
            assert_ne!(read, default, "{option}");
            assert_eq!(read_params(&format!("{{\"{option}\":null}}")).expect(option), default, "{option}");
        }
    }

    #[test]
    fn options_that_cannot_be_are_named() {
        for (json, said) in [
            (r#"{"workers":0}"#, "workers: must be a whole number from 1 to 10000, found 0"),
            (r#"{"workers":1.5}"#, "workers: invalid type: floating point `1.5`, expected usize"),
            (r#"{"worker":1}"#, "worker: unknown field; did you mean \"workers\"?"),
            (r#"{"zzz":1}"#, "zzz: unknown field; there are workers, "),
            (r#"{"timeout":-1}"#, "timeout: must be milliseconds, 0 or more, found -1"),
        ] {
            let error = read_params(json).expect_err(json).to_string();
            assert!(error.starts_with(&format!("invalid configuration: {said}")), "{error}");
        }
    }

    #[test]
    fn a_job_is_read_with_everything_it_says() {
        let spec = read_spec(
            r#"{"id":"a","priority":"high","metadata":{"page":7},"timeout":1500,"maxRetries":0,
                "request":{"messages":[{"role":"user","content":"x"}],"model":"m","deadline":9,"maxRetries":2}}"#,
        )
        .expect("a good job");
        assert_eq!((spec.id.as_deref(), spec.priority, spec.max_retries), (Some("a"), Priority::High, Some(0)));
        assert_eq!((&spec.metadata["page"], spec.timeout), (&Value::from(7), Some(Duration::from_millis(1500))));
        assert_eq!(spec.options.deadline, Some(Duration::from_millis(9)));
        assert_eq!((spec.options.max_retries, spec.request.model.as_deref()), (Some(2), Some("m")));
        assert_eq!(read_spec(r#"{"prompt":"x"}"#).expect("the shortest job").request, ChatRequest::user("x"));
    }

    #[test]
    fn half_a_character_is_replaced_and_said_so() {
        for json in [r#"{"prompt":"\ud83d"}"#, r#"{"request":{"messages":[{"role":"user","content":"\ud83d"}]}}"#] {
            let spec = read_spec(json).expect("a good job");
            assert_eq!(spec.warnings.len(), 1, "{:?}", spec.warnings);
        }
    }

    #[test]
    fn jobs_that_cannot_be_are_refused_by_the_field() {
        for (json, field, said) in [
            ("{}", "request", "a request or a prompt"),
            (r#"{"prompt":" "}"#, "prompt", "must not be empty"),
            (r#"{"prompt":"x","request":{"messages":[]}}"#, "prompt", "one of the two"),
            (r#"{"prompt":"x","priority":"hihg"}"#, "priority", "did you mean \"high\"?"),
            (r#"{"prompt":"x","priority":3}"#, "priority", "expected a string"),
            (r#"{"prompt":"x","prio":"low"}"#, "prio", "unknown field"),
            (r#"{"request":{"messages":[]}}"#, "request.messages", "at least one message"),
            (r#"{"request":7}"#, "request", "expected a request object"),
            (r#"{"request":{"messages":[{"role":"user","content":"x"}],"stream":true}}"#, "request.stream", "whole"),
        ] {
            let error = read_spec(json).expect_err(json);
            assert_eq!(error.field, field, "{json}");
            assert!(error.message.contains(said), "{json}: {}", error.message);
        }
    }
}
