//! Rows of the failure table that a configuration adds. They are asked before the tables of [`super::signals`], about
//! everything a provider says is wrong: a reply with an error status, an error inside a 200 or inside a stream.
//!
//! A timer of ours or a broken connection is nothing a provider said; no row is asked about it.

use std::sync::Arc;

use crate::error::{Failure, FailureClass};

/// One row: what is asked of a failure, all of which must hold, and the class it then has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRow {
    /// The status of the reply, or the one that an error inside a 200 claims.
    pub status: Option<u16>,
    /// One of the codes, types and status words the provider sent; in lower case.
    pub code: Option<String>,
    /// Stands somewhere in what the provider said; in lower case.
    pub message: Option<String>,
    pub class: FailureClass,
}

/// The rows of one provider, in the order written. The first that matches counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(Option<Arc<[FailureRow]>>);

// === impl Rows ===

impl Rows {
    pub fn new(rows: &[FailureRow]) -> Self {
        Self((!rows.is_empty()).then(|| rows.into()))
    }

    /// The class that a row gives to a failure with these words and this text, both in lower case.
    pub fn class(&self, status: Option<u16>, words: &[String], text: &str) -> Option<FailureClass> {
        self.0.as_deref()?.iter().find(|row| row.matches(status, words, text)).map(|row| row.class)
    }

    /// The same for a failure that was classified before anybody could ask the rows: one from inside a body.
    pub fn apply(&self, mut failure: Failure) -> Failure {
        if let Some(said) = failure.said.take()
            && let Some(class) = self.class(failure.status, &said.words, &said.text)
        {
            failure.class = class;
        }
        failure
    }
}

// === impl FailureRow ===

impl FailureRow {
    fn matches(&self, status: Option<u16>, words: &[String], text: &str) -> bool {
        self.status.is_none_or(|wanted| status == Some(wanted))
            && self.code.as_ref().is_none_or(|code| words.contains(code))
            && self.message.as_ref().is_none_or(|message| text.contains(message.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::super::failure::{in_band, no_answer, of_reply, of_words};
    use super::*;

    const QUOTA: FailureClass = FailureClass::QuotaExhausted;

    fn row(status: Option<u16>, code: Option<&str>, message: Option<&str>, class: FailureClass) -> FailureRow {
        FailureRow { status, code: code.map(str::to_owned), message: message.map(str::to_owned), class }
    }

    fn classed(rows: &[FailureRow], status: u16, body: &str) -> FailureClass {
        let status = StatusCode::from_u16(status).expect("a status");
        of_reply(&Rows::new(rows), status, &HeaderMap::new(), body.as_bytes(), 0).class
    }

    #[test]
    fn a_row_goes_before_the_tables_and_the_first_that_matches_counts() {
        let body = r#"{"error":{"message":"Out of Credits","type":"invalid_request_error","code":"E17"}}"#;
        assert_eq!(classed(&[], 400, body), FailureClass::InvalidRequest);
        let rows = [row(None, Some("e17"), None, QUOTA), row(Some(400), None, None, FailureClass::Auth)];
        assert_eq!(classed(&rows, 400, body), QUOTA);
        assert_eq!(classed(&rows, 400, "{}"), FailureClass::Auth);
        assert_eq!(classed(&rows, 500, "{}"), FailureClass::ServerError);
        // Even over a code that means one thing under any status.
        let rows = [row(None, Some("insufficient_quota"), None, FailureClass::RateLimit)];
        assert_eq!(classed(&rows, 429, r#"{"error":{"code":"insufficient_quota"}}"#), FailureClass::RateLimit);
    }

    #[test]
    fn everything_a_row_says_must_hold() {
        let rows = [row(Some(403), Some("e17"), Some("out of credits"), QUOTA)];
        let body = |code: &str, message: &str| format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        assert_eq!(classed(&rows, 403, &body("E17", "You are OUT OF CREDITS.")), QUOTA);
        for (status, code, message) in
            [(400, "E17", "out of credits"), (403, "E18", "out of credits"), (403, "E17", "out of luck")]
        {
            assert_ne!(classed(&rows, status, &body(code, message)), QUOTA, "{status} {code} {message}");
        }
    }

    #[test]
    fn any_of_the_codes_and_types_may_be_named() {
        let body = r#"{"error":{"message":"m","type":"Some_Type","code":"some_code","details":[{"reason":"WHY"}]}}"#;
        for word in ["some_type", "some_code", "why"] {
            assert_eq!(classed(&[row(None, Some(word), None, QUOTA)], 400, body), QUOTA, "{word}");
        }
        assert_eq!(classed(&[row(None, Some("some"), None, QUOTA)], 400, body), FailureClass::InvalidRequest);
    }

    #[test]
    fn a_body_that_is_no_json_is_searched_as_it_stands() {
        let rows = [row(None, None, Some("blocked by policy 9"), FailureClass::Permission)];
        assert_eq!(classed(&rows, 502, "<html><h1>Blocked by Policy 9</h1></html>"), FailureClass::Permission);
    }

    #[test]
    fn an_error_inside_a_body_is_asked_about_as_well() {
        let rows = Rows::new(&[row(None, Some("e17"), None, QUOTA), row(Some(418), None, Some("teapot"), QUOTA)]);
        for body in [r#"{"error":{"code":"E17","message":"m"}}"#, r#"{"error":{"code":418,"message":"A teapot."}}"#] {
            let failure = rows.apply(in_band(body.as_bytes()));
            assert_eq!((failure.class, failure.said), (QUOTA, None), "{body}");
            assert_eq!(rows.apply(no_answer(body.as_bytes(), "no choices")).class, QUOTA, "{body}");
        }
        assert_eq!(rows.apply(in_band(br#"{"error":{"message":"m"}}"#)).class, FailureClass::ServerError);
        let rows = Rows::new(&[row(None, None, Some("maintenance"), FailureClass::Overloaded)]);
        assert_eq!(rows.apply(no_answer(b"{\"note\":\"Maintenance\"}", "no choices")).class, FailureClass::Overloaded);
        assert_eq!(rows.apply(in_band(b"<html>maintenance</html>")).class, FailureClass::Overloaded);
        let words = of_words(FailureClass::ServerError, "Under MAINTENANCE");
        assert_eq!(rows.apply(words).class, FailureClass::Overloaded);
    }

    #[test]
    fn a_row_that_makes_a_rate_limit_of_it_reads_the_wait_as_well() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static("0"));
        headers.insert("x-ratelimit-reset-requests", HeaderValue::from_static("7"));
        let wait = |rows: &[FailureRow]| {
            of_reply(&Rows::new(rows), StatusCode::FORBIDDEN, &headers, b"", 0).retry_after.map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[row(Some(403), None, None, FailureClass::RateLimit)]), Some(7));
    }
}
