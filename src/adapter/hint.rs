//! Reads how long a provider asks to wait, in every shape they say it.
//!
//! Sources, the more precise first: `retry-after-ms`, `retry-after`, the error body, the reset of a limit that has
//! nothing left, the words of the message. A value that is negative, NaN or no time at all says nothing, and neither
//! does a moment that has passed: the caller then uses its own backoff instead of asking again at once. Everything else
//! is capped at [`MAX_HINT`].

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;

use super::error_body::ErrorBody;
use crate::error::MAX_HINT;

/// Numbers from here on are Unix seconds: thirty years is no wait.
const EPOCH_SECONDS: f64 = 1e9;
/// Numbers from here on are Unix milliseconds.
const EPOCH_MILLIS: f64 = 1e12;

/// What the reply says about waiting.
///
/// `limited` is whether it is a rate signal: only then do the reset headers, which ride on every reply of some
/// services, say when to come back. `unix_ms` is when the reply came; `None` leaves moments out and reads only spans.
pub(super) fn of_reply(
    headers: Option<&HeaderMap>,
    body: Option<&ErrorBody>,
    limited: bool,
    unix_ms: Option<u64>,
) -> Option<Duration> {
    headers
        .and_then(|headers| explicit(headers, unix_ms))
        .or_else(|| {
            let said = body.into_iter().flat_map(|body| [&body.retry_delay, &body.reset]).flatten();
            said.filter_map(|wait| parse(wait, unix_ms)).next()
        })
        .or_else(|| headers.filter(|_| limited).and_then(|headers| exhausted_limits(headers, unix_ms)))
        .or_else(|| body.and_then(|body| in_words(&body.text)))
}

fn explicit(headers: &HeaderMap, unix_ms: Option<u64>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("retry-after-ms")
        .and_then(|value| number(value.trim()))
        .and_then(|millis| span(millis / 1e3))
        .or_else(|| text("retry-after").and_then(|value| parse(value, unix_ms)))
}

/// The latest reset among the limits whose `remaining` is zero: `x-ratelimit-remaining-tokens` and
/// `x-ratelimit-reset-tokens`, `anthropic-ratelimit-requests-remaining` and `…-reset`, and whatever else pairs up so.
/// A lone `x-ratelimit-reset` counts on its own.
fn exhausted_limits(headers: &HeaderMap, unix_ms: Option<u64>) -> Option<Duration> {
    let reset = |name: &str| parse(headers.get(name)?.to_str().ok()?, unix_ms);
    let mut any_remaining = false;
    let latest = headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("ratelimit") && name.as_str().contains("remaining"))
        .inspect(|_| any_remaining = true)
        .filter(|(_, left)| left.to_str().ok().and_then(|left| number(left.trim())) == Some(0.0))
        .filter_map(|(name, _)| reset(&name.as_str().replace("remaining", "reset")))
        .max();
    if any_remaining { latest } else { reset("x-ratelimit-reset") }
}

/// One value, in any shape: seconds, Unix seconds or milliseconds, a Go or protobuf duration, RFC 3339, an HTTP date.
pub(super) fn parse(value: &str, unix_ms: Option<u64>) -> Option<Duration> {
    let value = value.trim();
    if let Some(number) = number(value) {
        return if number >= EPOCH_MILLIS {
            until(number, unix_ms)
        } else if number >= EPOCH_SECONDS {
            until(number * 1e3, unix_ms)
        } else {
            span(number)
        };
    }
    go_duration(value).or_else(|| until(rfc3339(value).or_else(|| http_date(value))?, unix_ms))
}

/// A plain number, not the `inf` and `nan` that Rust would read too.
pub(super) fn number(value: &str) -> Option<f64> {
    let numeric = value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    if numeric { value.parse().ok() } else { None }
}

/// Seconds as a wait; negative is none, endless is the cap.
fn span(seconds: f64) -> Option<Duration> {
    if seconds >= 0.0 {
        Some(Duration::try_from_secs_f64(seconds).map_or(MAX_HINT, |wait| wait.min(MAX_HINT)))
    } else {
        None
    }
}

/// From now to a moment; one that has passed is no wait.
fn until(moment_ms: f64, unix_ms: Option<u64>) -> Option<Duration> {
    let left = moment_ms - unix_ms? as f64;
    if left > 0.0 { span(left / 1e3) } else { None }
}

/// `1h2m3.5s`, `12ms`, `45.837906927s`.
fn go_duration(value: &str) -> Option<Duration> {
    if value.is_empty() {
        return None;
    }
    let mut rest = value;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.')).count();
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += count
            * match &rest[..letters] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    span(seconds)
}

fn http_date(value: &str) -> Option<f64> {
    let moment = httpdate::parse_http_date(value).ok()?;
    Some(moment.duration_since(UNIX_EPOCH).ok()?.as_secs_f64() * 1e3)
}

/// `2026-11-21T22:40:59.25+01:00` as Unix milliseconds.
pub(super) fn rfc3339(value: &str) -> Option<f64> {
    let field = |from: usize, to: usize| -> Option<i64> {
        let digits = value.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let separators = [(4, b"--".as_slice()), (7, b"--"), (10, b"Tt "), (13, b"::"), (16, b"::")];
    if !separators.iter().all(|(at, allowed)| value.as_bytes().get(*at).is_some_and(|byte| allowed.contains(byte))) {
        return None;
    }
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let tail = value.get(19..)?;
    let digits = match tail.strip_prefix('.') {
        Some(fraction) => 1 + fraction.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let fraction: f64 = if digits > 1 { tail[..digits].parse().ok()? } else { 0.0 };
    let offset = match &tail[digits..] {
        "Z" | "z" => 0,
        zone => {
            let at = 19 + digits;
            let minutes = field(at + 1, at + 3)? * 60 + field(at + 4, at + 6)?;
            match (zone.as_bytes().first(), zone.as_bytes().get(3), zone.len()) {
                (Some(b'+'), Some(b':'), 6) => minutes,
                (Some(b'-'), Some(b':'), 6) => -minutes,
                _ => return None,
            }
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    Some((seconds as f64 + fraction) * 1e3)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years counted from March, so that the leap day is last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// `try again in 4.77s`, `retry after 20 seconds`, in a lower-case message.
fn in_words(text: &str) -> Option<Duration> {
    const LEADS: &[&str] = &["try again in ", "try again after ", "retry in ", "retry after ", "wait "];
    LEADS.iter().find_map(|lead| {
        let (_, rest) = text.split_once(lead)?;
        let mut words = rest.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ';', '!', ')']));
        let first = words.next()?;
        match number(first) {
            Some(count) => span(count * unit(words.next()?)?),
            None => go_duration(first),
        }
    })
}

fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "day" | "days" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-21T22:40:00Z.
    const NOW: u64 = 1_795_300_800_000;

    fn wait(value: &str) -> Option<f64> {
        parse(value, Some(NOW)).map(|wait| (wait.as_secs_f64() * 1e6).round() / 1e6)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn hint(pairs: &[(&'static str, &'static str)]) -> Option<f64> {
        of_reply(Some(&headers(pairs)), None, true, Some(NOW)).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn every_shape_is_read() {
        for (value, seconds) in [
            ("20", 20.0),
            ("0", 0.0),
            (" 1.5 ", 1.5),
            ("6m0s", 360.0),
            ("2m59.56s", 179.56),
            ("12ms", 0.012),
            ("1h2m3s", 3723.0),
            ("250us", 0.000_25),
            ("250µs", 0.000_25),
            ("250000ns", 0.000_25),
            ("45.837906927s", 45.837_907),
            ("1795300842", 42.0),
            ("1795300842000", 42.0),
            ("2026-11-21T22:40:59Z", 59.0),
            ("2026-11-21T22:40:59.25Z", 59.25),
            ("2026-11-21T22:40:59.Z", 59.0),
            ("2026-11-21T23:40:59.25+01:00", 59.25),
            ("2026-11-21T22:40:60Z", 60.0), // a leap second
            ("2026-11-21T23:59:59Z", 4799.0),
            ("2026-11-21t23:41:00+01:00", 60.0),
            ("2026-11-21T17:11:00-05:30", 60.0),
            ("Sat, 21 Nov 2026 22:41:00 GMT", 60.0),
        ] {
            assert_eq!(wait(value), Some(seconds), "{value}");
        }
    }

    #[test]
    fn what_is_no_time_to_wait_for_says_nothing() {
        for value in [
            "",
            " ",
            "-1",
            "-5s",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "soon",
            "1x",
            "s",
            "1h2",
            "--",
            "1e",
            "0x10",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2026-11-32T00:00:00Z",
            "2026-11-21T24:40:59Z",
            "2026-11-21T23:60:00Z",
            "2026-11-21T22:40:61Z",
            "2026-11-21T22:40:59",
            "2026-11-21T22:40:59+0100",
            "2026-11-21T22:40:59é",
            // moments that have passed
            "1795300000",
            "1795300000000",
            "2026-11-21T22:39:59Z",
            "Sat, 21 Nov 2026 22:39:00 GMT",
            "2026-11-21T22:40:00Z",
        ] {
            assert_eq!(wait(value), None, "{value}");
        }
    }

    #[test]
    fn absurd_waits_are_capped() {
        for value in ["999999999", "99999999999999999999", "1e300", "9999-12-31T23:59:59Z", "99999999h"] {
            assert_eq!(parse(value, Some(NOW)), Some(MAX_HINT), "{value}");
        }
    }

    #[test]
    fn without_a_clock_only_spans_are_read() {
        assert_eq!(parse("7s", None), Some(Duration::from_secs(7)));
        assert_eq!(parse("1795300842", None), None);
        assert_eq!(parse("2026-11-21T22:40:59Z", None), None);
    }

    #[test]
    fn leap_days_and_centuries_are_counted() {
        for (date, days) in [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2100, 3, 1), 47_541)]
        {
            assert_eq!(days_since_epoch(date.0, date.1, date.2), days, "{date:?}");
        }
    }

    #[test]
    fn the_more_precise_header_wins() {
        assert_eq!(hint(&[("retry-after-ms", "1523.4"), ("retry-after", "9")]), Some(1.5234));
        assert_eq!(hint(&[("retry-after-ms", "-1"), ("retry-after", "9")]), Some(9.0));
        assert_eq!(hint(&[("retry-after", "junk")]), None);
    }

    #[test]
    fn the_latest_reset_of_the_limits_with_nothing_left_counts() {
        assert_eq!(
            hint(&[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "2m"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ]),
            Some(120.0)
        );
        assert_eq!(
            hint(&[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2026-11-21T22:40:59Z"),
                ("anthropic-ratelimit-tokens-remaining", "9000"),
                ("anthropic-ratelimit-tokens-reset", "2026-11-21T23:40:59Z"),
            ]),
            Some(59.0)
        );
        assert_eq!(hint(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")]), Some(1.0));
        assert_eq!(hint(&[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "1")]), None);
        assert_eq!(hint(&[("x-ratelimit-reset", "1795300842")]), Some(42.0));
    }

    #[test]
    fn reset_headers_of_a_reply_that_is_no_rate_signal_say_nothing() {
        let headers = headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")]);
        assert_eq!(of_reply(Some(&headers), None, false, Some(NOW)), None);
    }

    #[test]
    fn words_are_the_last_source() {
        for (text, seconds) in [
            ("rate limit reached. please try again in 4.77s. visit us", Some(4.77)),
            ("please retry after 20 seconds.", Some(20.0)),
            ("please retry in 47.43s.", Some(47.43)),
            ("try again in 6m0s", Some(360.0)),
            ("try again in 2 minutes", Some(120.0)),
            ("try again in 20 s", Some(20.0)),
            ("try again in 500 ms", Some(0.5)),
            ("try again in 2 hours", Some(7200.0)),
            ("try again in 1 day", Some(86_400.0)),
            ("try again in a while", None),
            ("please wait before trying again", None),
            ("try again in -3 seconds", None),
        ] {
            assert_eq!(in_words(text).map(|wait| wait.as_secs_f64()), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_passes_the_cap(value in "\\PC{0,30}", digits in "[0-9eE.+:TZhms-]{0,30}") {
            for text in [value, digits] {
                prop_assert!(parse(&text, Some(NOW)).is_none_or(|wait| wait <= MAX_HINT));
                in_words(&format!("try again in {text}"));
            }
        }
    }
}
