use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::{Endpoint, EndpointParams, service, services};
use super::*;
use crate::error::MAX_HINT;

/// 2026-11-21T22:40:00Z.
const NOW: u64 = 1_795_300_800_000;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
        (name.parse().expect("a name"), value.parse().expect("a value"))
    };
    pairs.iter().map(header).collect()
}

fn of(service_name: &str, pairs: &[(&str, &str)]) -> RateHeaders {
    let params = EndpointParams {
        base_url: Some("http://localhost".to_owned()),
        ..EndpointParams::new(service(service_name).expect("known"))
    };
    Endpoint::new(params).expect("valid").rate_headers(&headers(pairs), NOW)
}

fn quota(limit: u64, remaining: u64, reset_ms: u64) -> Option<Quota> {
    let reset = Some(Duration::from_millis(reset_ms));
    Some(Quota { limit: Some(limit), remaining: Some(remaining), reset })
}

fn unreset(limit: u64, remaining: u64) -> Option<Quota> {
    Some(Quota { limit: Some(limit), remaining: Some(remaining), reset: None })
}

#[test]
fn every_service_is_read_in_its_own_names_and_shapes() {
    let openai_names = [
        ("x-ratelimit-limit-requests", "14400"),
        ("x-ratelimit-remaining-requests", "14370"),
        ("x-ratelimit-reset-requests", "2m59.5s"),
        ("x-ratelimit-limit-tokens", "18000"),
        ("X-RateLimit-Remaining-Tokens", "17997"),
        ("x-ratelimit-reset-tokens", "20ms"),
    ];
    for name in ["openai", "groq", "xai", "openai-compatible"] {
        let both = RateHeaders { requests: quota(14_400, 14_370, 179_500), tokens: quota(18_000, 17_997, 20) };
        assert_eq!(of(name, &openai_names), both, "{name}");
    }
    let seconds = [
        ("x-ratelimit-limit-requests", "200"),
        ("x-ratelimit-remaining-requests", "199"),
        ("x-ratelimit-reset-requests", "20"),
        ("x-ratelimit-remaining-tokens", "-1"),
    ];
    assert_eq!(of("azure", &seconds), RateHeaders { requests: quota(200, 199, 20_000), tokens: None });

    let moments = [
        ("anthropic-ratelimit-requests-limit", "1000"),
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-11-21T22:40:59Z"),
        ("anthropic-ratelimit-input-tokens-limit", "80000"),
        ("anthropic-ratelimit-input-tokens-remaining", "80000"),
        ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T22:40:01Z"),
        ("anthropic-ratelimit-output-tokens-limit", "16000"),
        ("anthropic-ratelimit-output-tokens-remaining", "15000"),
        ("anthropic-ratelimit-output-tokens-reset", "2026-11-21T22:41:00.5Z"),
    ];
    let said = RateHeaders { requests: quota(1000, 0, 59_000), tokens: quota(16_000, 15_000, 60_500) };
    assert_eq!(of("anthropic", &moments), said);

    let plain = [
        ("x-ratelimit-limit", "60"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1"),
        ("x-tokenlimit-limit", "5000"),
        ("x-tokenlimit-remaining", "4000"),
    ];
    let said = RateHeaders { requests: quota(60, 0, 1000), tokens: quota(5000, 4000, 1000) };
    assert_eq!(of("together", &plain), said);

    let millis = [("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1795300842000")];
    assert_eq!(of("openrouter", &millis), RateHeaders { requests: quota(20, 3, 42_000), tokens: None });

    let minute = [
        ("x-ratelimit-limit-req-minute", "720"),
        ("x-ratelimit-remaining-req-minute", "717"),
        ("x-ratelimit-limit-tokens-minute", "5000000"),
        ("x-ratelimit-remaining-tokens-minute", "4999911"),
        ("x-ratelimit-remaining-tokens-month", "7"),
    ];
    let said = RateHeaders { requests: unreset(720, 717), tokens: unreset(5_000_000, 4_999_911) };
    assert_eq!(of("mistral", &minute), said);

    let apart = [
        ("x-ratelimit-limit-tokens-prompt", "7200000"),
        ("x-ratelimit-remaining-tokens-prompt", "7193993"),
        ("x-ratelimit-limit-tokens-generated", "72000"),
        ("x-ratelimit-remaining-tokens-generated", "69338"),
    ];
    assert_eq!(of("fireworks", &apart), RateHeaders { requests: None, tokens: unreset(72_000, 69_338) });

    let trial = [
        ("x-trial-endpoint-call-limit", "20"),
        ("x-trial-endpoint-call-remaining", "19"),
        ("x-ratelimit-reset", "1795300842"),
    ];
    assert_eq!(of("cohere", &trial), RateHeaders { requests: quota(20, 19, 42_000), tokens: None });

    for silent in ["gemini", "ollama", "deepseek", "perplexity"] {
        assert_eq!(of(silent, &openai_names), RateHeaders::default(), "{silent}");
    }
}

#[test]
fn what_is_no_number_and_no_time_says_nothing() {
    for junk in ["", " ", "-1", "-0.5", "nan", "inf", "-inf", "many", "1,000", "0x10", "100, 100;w=60"] {
        let said = of("openai", &[("x-ratelimit-limit-requests", junk), ("x-ratelimit-remaining-requests", junk)]);
        assert_eq!(said, RateHeaders::default(), "{junk:?}");
    }
    for junk in ["", "-5", "soon", "nan", "1795300000", "2026-11-21T22:39:59Z"] {
        let said = of("openai", &[("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-reset-requests", junk)]);
        let seven = Quota { remaining: Some(7), ..Quota::default() };
        assert_eq!(said.requests, Some(seven), "{junk:?}");
    }
    assert_eq!(of("openai", &[("x-ratelimit-reset-requests", "1s")]), RateHeaders::default(), "a reset of nothing");
}

#[test]
fn absurd_values_come_to_their_end() {
    let said = of(
        "openai",
        &[
            ("x-ratelimit-limit-tokens", "99999999999999999999999999"),
            ("x-ratelimit-remaining-tokens", "1e300"),
            ("x-ratelimit-reset-tokens", "99999999999h"),
        ],
    );
    let end = Quota { limit: Some(u64::MAX), remaining: Some(u64::MAX), reset: Some(MAX_HINT) };
    assert_eq!(said.tokens, Some(end));
}

proptest! {
    #[test]
    fn no_header_panics_or_passes_the_cap(value in "[ -~]{0,30}", digits in "[0-9eE.+:TZhms-]{0,30}") {
        for service in services() {
            let table = service.dialect.rate_headers;
            for text in [&value, &digits] {
                let names = table.requests.iter().chain(table.tokens);
                let names = names.flat_map(|names| [Some(names.limit), Some(names.remaining), names.reset]).flatten();
                let headers: HeaderMap = names
                    .map(|name| (HeaderName::from_static(name), HeaderValue::from_str(text).expect("printable")))
                    .collect();
                let said = read(&headers, table, NOW);
                for quota in [said.requests, said.tokens].into_iter().flatten() {
                    prop_assert!(quota.reset.is_none_or(|reset| reset <= MAX_HINT));
                }
            }
        }
    }
}
