//! API keys: which one a request brings, and whether it is known.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::Caller;
use crate::config::KeyHash;

/// What a request shows who it is by: OpenAI's clients and newer ones of Anthropic send `Authorization: Bearer`, older
/// ones `x-api-key`.
pub(super) fn shown(headers: &HeaderMap) -> Option<&str> {
    const SCHEME: &str = "bearer ";
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(key)
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).map(str::trim).filter(|key| !key.is_empty())
}

/// Whose key it is. Each key that is known comes with the tenant it belongs to.
pub(super) fn holder<'k>(key: &str, known: impl Iterator<Item = (&'k KeyHash, Option<&'k str>)>) -> Option<Caller> {
    let hash = KeyHash::of(key);
    // Every key is compared, and each in the same time whatever is in it: how long this takes says nothing.
    known.fold(None, |found, (known, tenant)| match bool::from(known.as_bytes().ct_eq(hash.as_bytes())) {
        true => Some(Caller { tenant: tenant.map(str::to_owned) }),
        false => found,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_key_is_found_in_either_header() {
        for (pairs, key) in [
            (&[("authorization", "Bearer k")][..], Some("k")),
            (&[("authorization", "bearer  k ")], Some("k")),
            (&[("x-api-key", "k")], Some("k")),
            (&[("authorization", "Bearer a"), ("x-api-key", "b")], Some("a")),
            (&[("authorization", "Basic k")], None),
            (&[("authorization", "Bearer ")], None),
            (&[("authorization", "Beare")], None),
            (&[], None),
        ] {
            assert_eq!(shown(&headers(pairs)), key, "{pairs:?}");
        }
    }

    #[test]
    fn a_key_says_on_whose_behalf_it_is_used() {
        let keys = [KeyHash::of("one"), KeyHash::of("two"), KeyHash::of("three")];
        let known = || keys.iter().zip([None, Some("them"), None]);
        assert_eq!(holder("two", known()), Some(Caller { tenant: Some("them".to_owned()) }));
        assert_eq!(holder("three", known()), Some(Caller::default()));
        assert_eq!(holder("four", known()), None);
    }
}
