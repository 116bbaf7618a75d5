//! How long a client waits: `grpc-timeout`, up to eight digits and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::super::refused::Refused;

const NAME: &str = "grpc-timeout";
/// As the protocol has it.
const MOST_DIGITS: usize = 8;

/// `None`: as long as it takes.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Refused> {
    let Some(value) = headers.get(HeaderName::from_static(NAME)) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse);
    let wrong = || Refused::bad_request(Some(NAME), "grpc-timeout: expected up to eight digits and H, M, S, m, u or n");
    timeout.map(Some).ok_or_else(wrong)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 60 * 60)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("4m", 4_000_000),
            ("5u", 5_000),
            ("6n", 6),
            ("0m", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "1", "1s", "-1S", "1.5S", "123456789m", "1é", "é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
