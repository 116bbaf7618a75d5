//! A function of JavaScript's own under the pool: each turn crosses as a record, and what became of it comes back by
//! `Bridge.settle()`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bridge::Channel;
use super::record;
use crate::engine::{Fault, Task, Turn};
use crate::error::{Failure, FailureClass};
use crate::types::Usage;

/// Codes of Node and of its `fetch` for a connection that did not come about or broke.
const BROKEN: &[&str] = &[
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "EPIPE",
    "UND_ERR_CLOSED",
    "UND_ERR_SOCKET",
];
const SLOW: &[&str] = &["ETIMEDOUT", "UND_ERR_BODY_TIMEOUT", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT"];
/// Names of errors for the same: the web's, and those of the official SDKs of OpenAI and Anthropic.
const BROKEN_NAMES: &[&str] = &["APIConnectionError"];
const SLOW_NAMES: &[&str] = &["TimeoutError", "APIConnectionTimeoutError"];

/// A call of `pool.execute()`.
pub struct Call {
    pub id: u64,
    pub channel: Arc<Channel>,
}

/// What became of a turn, as `lib/execute.js` describes it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    /// The `usage` of the answer, when it has one.
    Done(Option<UsageReport>),
    Failed(Box<Thrown>),
}

/// OpenAI's names and Anthropic's.
#[derive(Deserialize, Default)]
#[serde(default)]
struct UsageReport {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

/// What can be seen of an exception.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Thrown {
    name: String,
    message: String,
    status: Option<f64>,
    headers: Map<String, Value>,
    /// The body of the reply, or what of it the SDK kept.
    error: Value,
    code: Option<String>,
    r#type: Option<String>,
    /// The codes of the exception and of what caused it.
    codes: Vec<String>,
    /// Of an error of a pool.
    error_class: Option<String>,
}

/// Tells JavaScript that nobody waits for a turn any more, unless it was settled.
struct Waiting<'a> {
    call: &'a Call,
    attempt: u32,
    settled: bool,
}

impl Task for Call {
    fn run(&self, turn: Turn) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let attempt = turn.attempt();
            let told = self.channel.begin_turn(self.id, attempt);
            self.channel.push(|records| record::turn(records, self.id, &turn));
            let mut waiting = Waiting { call: self, attempt, settled: false };
            // Without a sender its environment is gone, and so is whoever wanted an answer.
            let Ok(report) = told.await else { return std::future::pending().await };
            waiting.settled = true;
            match serde_json::from_str(&report) {
                Ok(Report::Done(usage)) => {
                    if let Some(usage) = usage.and_then(UsageReport::read) {
                        turn.report_usage(usage);
                    }
                    Ok(())
                }
                Ok(Report::Failed(thrown)) => Err(thrown.fault()),
                Err(error) => Err(Fault::Failure(Failure::new(FailureClass::InvalidRequest, error.to_string()))),
            }
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let Self { call, attempt, .. } = self;
            call.channel.push(|records| record::turn_over(records, call.id, *attempt));
        }
    }
}

impl UsageReport {
    fn read(self) -> Option<Usage> {
        let prompt = self.prompt_tokens.or(self.input_tokens);
        let answer = self.completion_tokens.or(self.output_tokens);
        // The casts saturate, and no number is 0.
        (prompt.is_some() || answer.is_some())
            .then(|| Usage::reported(prompt.unwrap_or_default() as u64, answer.unwrap_or_default() as u64))
    }
}

impl Thrown {
    /// An error with a status is a reply; one of a connection is the network's; every other is the caller's own.
    fn fault(self) -> Fault {
        let status = self.status.filter(|status| status.fract() == 0.0 && (300.0..600.0).contains(status));
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status as u16).ok()) {
            return Fault::Reply { status, headers: self.headers(), body: self.body() };
        }
        let known = |codes: &[&str]| self.codes.iter().any(|code| codes.contains(&code.as_str()));
        let class = match self.error_class.as_deref().map(str::parse) {
            Some(Ok(class)) => class,
            _ if known(SLOW) || SLOW_NAMES.contains(&self.name.as_str()) => FailureClass::Timeout,
            _ if known(BROKEN) || BROKEN_NAMES.contains(&self.name.as_str()) => FailureClass::Network,
            _ => FailureClass::InvalidRequest,
        };
        Fault::Failure(Failure::new(class, self.message))
    }

    /// Headers that HTTP could not carry say nothing.
    fn headers(&self) -> HeaderMap {
        let pairs = self.headers.iter().filter_map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        });
        pairs.collect()
    }

    fn body(&self) -> Bytes {
        let body = match &self.error {
            // OpenAI's SDK keeps what stands under `error`, Anthropic's the whole body.
            Value::Object(body) if body.contains_key("error") => self.error.clone(),
            Value::Object(_) | Value::String(_) => json!({ "error": self.error }),
            _ => json!({ "error": { "message": self.message, "code": self.code, "type": self.r#type } }),
        };
        body.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(thrown: Value) -> Fault {
        let report: Report = serde_json::from_value(json!({ "failed": thrown })).expect("a report");
        let Report::Failed(thrown) = report else { panic!("not failed") };
        thrown.fault()
    }

    fn class(thrown: Value) -> FailureClass {
        let Fault::Failure(failure) = fault(thrown) else { panic!("a reply") };
        failure.class
    }

    #[test]
    fn an_error_with_a_status_is_a_reply() {
        let thrown = json!({ "status": 429, "headers": { "retry-after": "7", "x n": "1" }, "error": { "code": "c" } });
        let Fault::Reply { status, headers, body } = fault(thrown) else { panic!("no reply") };
        assert_eq!((status.as_u16(), headers.len(), &headers["retry-after"]), (429, 1, &HeaderValue::from_static("7")));
        assert_eq!(body, r#"{"error":{"code":"c"}}"#);
        for (error, expected) in [
            (json!({ "type": "error", "error": { "type": "t" } }), r#"{"error":{"type":"t"},"type":"error"}"#),
            (json!("words"), r#"{"error":"words"}"#),
            (json!(null), r#"{"error":{"code":null,"message":"m","type":null}}"#),
        ] {
            let thrown = json!({ "status": 400, "message": "m", "error": error });
            let Fault::Reply { body, .. } = fault(thrown) else { panic!("no reply") };
            assert_eq!(serde_json::from_slice::<Value>(&body).ok(), serde_json::from_str(expected).ok());
        }
    }

    #[test]
    fn an_error_of_a_connection_is_the_networks_and_every_other_is_the_callers() {
        assert_eq!(class(json!({ "name": "TypeError", "codes": ["ECONNREFUSED"] })), FailureClass::Network);
        assert_eq!(class(json!({ "codes": ["UND_ERR_HEADERS_TIMEOUT"] })), FailureClass::Timeout);
        assert_eq!(class(json!({ "name": "APIConnectionTimeoutError" })), FailureClass::Timeout);
        assert_eq!(class(json!({ "name": "APIConnectionError" })), FailureClass::Network);
        assert_eq!(class(json!({ "errorClass": "overloaded" })), FailureClass::Overloaded);
        for own in [json!({}), json!({ "name": "TypeError", "codes": ["EACCES"] }), json!({ "status": 200 })] {
            assert_eq!(class(own), FailureClass::InvalidRequest);
        }
    }
}
