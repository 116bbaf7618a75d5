//! Reads an error body, whichever of a dozen shapes it has, into the few things classification asks for.
//!
//! Accepted are OpenAI's `{error:{message,type,param,code}}`, the same flat, with the error as a bare string, inside a
//! one-element array, Anthropic's `details.error_code`, Google's `status` and `details[]`, OpenRouter's `metadata`,
//! FastAPI's `detail` and RFC 7807. Errors are rare and their shapes are wild, so this is the one reader that builds a
//! tree.

use serde_json::{Map, Value};

use super::halves::mended;

/// What an error body says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ErrorBody {
    /// The provider's own words.
    pub message: Option<String>,
    /// Its code or, failing that, its type, as it was sent.
    pub code: Option<String>,
    /// The parameter it blames.
    pub param: Option<String>,
    /// Every code, type, status word and reason, in lower case.
    pub words: Vec<String>,
    /// An HTTP status that the body claims.
    pub status: Option<u16>,
    /// All the prose, in lower case.
    pub text: String,
    /// Google's names of the quotas that are used up, in lower case.
    pub quotas: Vec<String>,
    /// Google's `RetryInfo.retryDelay`.
    pub retry_delay: Option<String>,
    /// OpenRouter's `metadata.headers["X-RateLimit-Reset"]`.
    pub reset: Option<String>,
    /// OpenRouter's moderation found something in the input.
    pub flagged: bool,
}

impl ErrorBody {
    /// `None` when the bytes are not JSON; an empty value when they are JSON without an error in it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Some(Self::of(&serde_json::from_slice(&mended(bytes)).ok()?))
    }

    fn of(value: &Value) -> Self {
        let mut body = Self::default();
        let value = match value {
            Value::Array(items) => items.first().unwrap_or(&Value::Null),
            other => other,
        };
        match value {
            Value::String(text) if !text.trim().is_empty() => body.message = Some(text.clone()),
            Value::Object(root) => body.read_root(root),
            _ => {}
        }
        let prose = body.message.iter().map(String::as_str).chain(body.code.as_deref());
        let prose = prose.chain(Some(body.text.as_str()).filter(|raw| !raw.is_empty()));
        body.text = prose.collect::<Vec<_>>().join("\n").to_lowercase();
        body
    }

    /// There is an error in it, not just some JSON.
    pub fn says_something(&self) -> bool {
        self.message.is_some() || self.status.is_some()
    }

    fn read_root(&mut self, root: &Map<String, Value>) {
        match root.get("error") {
            Some(Value::Object(error)) => self.read_error(error),
            Some(Value::String(text)) if !text.is_empty() => {
                self.message = Some(text.clone());
                self.read_codes(root);
            }
            _ => self.read_error(root),
        }
        if self.status.is_none() {
            self.status = root.get("status").and_then(status_number);
        }
    }

    fn read_error(&mut self, error: &Map<String, Value>) {
        self.message = ["message", "detail", "title", "error_description"]
            .iter()
            .find_map(|key| error.get(*key).and_then(prose))
            .or_else(|| error.get("error").and_then(prose));
        self.read_codes(error);
        match error.get("details") {
            Some(Value::Object(details)) => self.word(details.get("error_code")),
            Some(Value::Array(details)) => details.iter().for_each(|detail| self.read_google_detail(detail)),
            _ => {}
        }
        for inner in ["innererror", "inner_error"] {
            self.word(error.get(inner).and_then(|inner| inner.get("code")));
        }
        if let Some(metadata) = error.get("metadata") {
            self.read_metadata(metadata);
        }
    }

    fn read_codes(&mut self, error: &Map<String, Value>) {
        let (code, kind) = (error.get("code"), error.get("type"));
        self.param = error.get("param").and_then(Value::as_str).map(str::to_owned);
        self.status = [code, error.get("raw_status_code"), error.get("status")]
            .into_iter()
            .find_map(|value| value.and_then(status_number));
        let named = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty() && text.parse::<u16>().is_err())
                .map(str::to_owned)
        };
        self.code = named(code)
            .or_else(|| named(kind))
            .or_else(|| named(error.get("status")))
            .or_else(|| code.filter(|code| code.is_number() || code.is_string()).map(plain));
        for word in [code, kind, error.get("status"), error.get("object")] {
            self.word(word);
        }
    }

    /// `error` is a marker of vLLM's and Mistral's flat shape, not a code.
    fn word(&mut self, value: Option<&Value>) {
        if let Some(value) = value.filter(|value| value.is_string() || value.is_number()) {
            let word = plain(value).to_lowercase();
            if !word.is_empty() && word != "error" {
                self.words.push(word);
            }
        }
    }

    fn read_google_detail(&mut self, detail: &Value) {
        self.word(detail.get("reason"));
        if let Some(delay) = detail.get("retryDelay").and_then(Value::as_str) {
            self.retry_delay = Some(delay.to_owned());
        }
        let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
        self.quotas
            .extend(violations.filter_map(|violation| violation.get("quotaId")?.as_str().map(str::to_lowercase)));
    }

    fn read_metadata(&mut self, metadata: &Value) {
        self.flagged = metadata.get("reasons").is_some() || metadata.get("flagged_input").is_some();
        self.word(metadata.get("error_type"));
        self.word(metadata.get("limit_source"));
        let headers = metadata.get("headers").and_then(Value::as_object).into_iter().flatten();
        self.reset = headers
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-ratelimit-reset"))
            .map(|(_, value)| plain(value))
            .next();
        // The upstream's own body, which classifies better than "Provider returned error".
        if let Some(raw) = metadata.get("raw") {
            self.text = plain(raw);
        }
    }
}

/// A status of an error, as a number or in digits.
fn status_number(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|status| (400..600).contains(status))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The words in a value: a string, FastAPI's list of `{loc, msg}`, or an object around either.
fn prose(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let lines: Vec<String> = items.iter().filter_map(prose).collect();
            if lines.is_empty() { None } else { Some(lines.join("; ")) }
        }
        Value::Object(object) => {
            let said = ["msg", "message", "detail"].iter().find_map(|key| object.get(*key).and_then(prose))?;
            let place: Vec<String> =
                object.get("loc").and_then(Value::as_array).into_iter().flatten().map(plain).collect();
            Some(if place.is_empty() { said } else { format!("{}: {said}", place.join(".")) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> ErrorBody {
        ErrorBody::read(json.as_bytes()).expect("JSON")
    }

    #[test]
    fn every_shape_gives_its_message() {
        for (json, message) in [
            (r#"{"error":{"message":"m","type":"t","param":null,"code":null}}"#, "m"),
            (r#"{"error":"m"}"#, "m"),
            (r#"{"code":"c","error":"m"}"#, "m"),
            (r#"{"message":"m"}"#, "m"),
            (r#"{"detail":"m"}"#, "m"),
            (r#"{"detail":[{"loc":["body","messages",0],"msg":"m","type":"t"}]}"#, "body.messages.0: m"),
            (r#"{"object":"error","message":{"detail":[{"loc":["a"],"msg":"m"},{"msg":"n"}]}}"#, "a: m; n"),
            (r#"{"type":"error","error":{"type":"t","message":"m"},"request_id":"r"}"#, "m"),
            (r#"[{"error":{"code":429,"message":"m","status":"S"}}]"#, "m"),
            (r#"{"title":"m","status":404}"#, "m"),
            (r#"{"title":"t","status":404,"detail":"m"}"#, "m"),
            (r#"{"error":true,"message":"m"}"#, "m"),
            (r#"{"error":{"error":"m"}}"#, "m"),
            ("\u{FEFF}{\"error\":\"m\"}", "m"),
            (r#""m""#, "m"),
        ] {
            assert_eq!(read(json).message.as_deref(), Some(message), "{json}");
        }
    }

    #[test]
    fn json_without_an_error_says_nothing() {
        for json in ["{}", "[]", "null", "7", r#"{"error":null}"#, r#"{"error":""}"#, r#"{"data":[]}"#] {
            assert!(!read(json).says_something(), "{json}");
        }
        assert_eq!(ErrorBody::read(b"<html>"), None);
        assert_eq!(ErrorBody::read("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn a_numeric_code_is_a_status_and_the_name_is_the_code() {
        let body = read(r#"{"error":{"message":"m","type":"BadRequestError","code":400}}"#);
        assert_eq!((body.status, body.code.as_deref()), (Some(400), Some("BadRequestError")));
        let body = read(r#"{"error":{"message":"m","code":"429"}}"#);
        assert_eq!((body.status, body.code.as_deref()), (Some(429), Some("429")));
        let body =
            read(r#"{"object":"error","message":"m","type":"invalid_model","code":"1500","raw_status_code":400}"#);
        assert_eq!((body.status, body.code.as_deref()), (Some(400), Some("invalid_model")));
        assert!(body.words.contains(&"1500".to_owned()));
    }

    #[test]
    fn hidden_reasons_are_found() {
        let google = read(
            r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"reason":"R"},
                {"violations":[{"quotaId":"PerDay-X"}]},{"retryDelay":"38s"}]}}"#,
        );
        assert_eq!(google.quotas, ["perday-x"]);
        assert_eq!(google.retry_delay.as_deref(), Some("38s"));
        assert_eq!(google.words, ["429", "resource_exhausted", "r"]);
        let router = read(
            r#"{"error":{"code":403,"message":"m","metadata":{"reasons":["violence"],"raw":"Upstream SAID",
                "headers":{"X-RateLimit-Reset":"1795300042000"}}}}"#,
        );
        assert!(router.flagged && router.text.contains("upstream said"));
        assert_eq!(router.reset.as_deref(), Some("1795300042000"));
    }
}
