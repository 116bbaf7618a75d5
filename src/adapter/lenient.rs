//! Readers for fields whose shape nobody guarantees: `null` for a string, a float for a count, a list for a text.
//!
//! A field that is not what it should be reads as absent; it never makes an answer unreadable that is otherwise whole.
//! Text is borrowed from the body where it holds no escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A string; numbers as their digits, everything else empty.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_owned(self) -> String {
        self.0.into_owned()
    }

    /// `None` when empty.
    pub fn non_empty(self) -> Option<String> {
        if self.is_empty() { None } else { Some(self.into_owned()) }
    }
}

/// A count: whole numbers and floats of at least 0, also in a string; everything else is `None`.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Count(pub Option<u64>);

/// A switch: on when `true`, off whatever else it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(raw.get() == "true"))
    }
}

/// Reads past a value of the wrong shape.
fn skip_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Text<'de>, A::Error> {
                skip_seq(seq).map(|()| Text::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
                skip_map(map).map(|()| Text::default())
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;

        impl<'de> Visitor<'de> for CountVisitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
                Ok(Count(Some(number)))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(number).ok()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Count, E> {
                Ok(Count(if number >= 0.0 { Some(number as u64) } else { None }))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
                Ok(Count(text.parse().ok()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Count, A::Error> {
                skip_seq(seq).map(|()| Count(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Count, A::Error> {
                skip_map(map).map(|()| Count(None))
            }
        }

        deserializer.deserialize_any(CountVisitor)
    }
}

/// The text of a JSON value: a string's content, nothing for `null`, the JSON itself for anything else. Tool arguments
/// are a string of JSON at most services and an object at some.
pub(super) fn text_or_json<'a>(raw: Option<&'a RawValue>) -> Cow<'a, str> {
    match raw.map(RawValue::get) {
        None | Some("null") => Cow::Borrowed(""),
        Some(json) if json.starts_with('"') => {
            serde_json::from_str::<Text<'a>>(json).map_or(Cow::Borrowed(json), |text| text.0)
        }
        Some(json) => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_from_any_shape() {
        for (json, text) in [
            ("\"a\"", "a"),
            (r#""\n""#, "\n"),
            ("null", ""),
            ("7", "7"),
            ("true", ""),
            ("[[1]]", ""),
            (r#"{"a":[1]}"#, ""),
        ] {
            assert_eq!(serde_json::from_str::<Text<'_>>(json).expect(json).0, text, "{json}");
        }
        let borrowed: Text<'_> = serde_json::from_str("\"plain\"").expect("string");
        assert!(matches!(borrowed.0, Cow::Borrowed("plain")));
    }

    #[test]
    fn a_count_is_read_from_any_shape() {
        for (json, count) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("\"7\"", Some(7)),
            ("-1", None),
            ("-1.5", None),
            ("null", None),
            ("{}", None),
            ("[]", None),
            ("\"x\"", None),
            ("1e300", Some(u64::MAX)),
        ] {
            assert_eq!(serde_json::from_str::<Count>(json).expect(json).0, count, "{json}");
        }
    }

    #[test]
    fn a_flag_is_read_from_any_shape() {
        for (json, on) in [("true", true), ("false", false), ("null", false), ("1", false), ("[{}]", false)] {
            assert_eq!(serde_json::from_str::<Flag>(json).expect(json).0, on, "{json}");
        }
    }

    #[test]
    fn arguments_are_text_whatever_they_were() {
        for (json, text) in [(r#""{\"a\":1}""#, r#"{"a":1}"#), (r#"{"a":1}"#, r#"{"a":1}"#), ("null", ""), ("\"\"", "")]
        {
            let raw: &RawValue = serde_json::from_str(json).expect(json);
            assert_eq!(text_or_json(Some(raw)), text);
        }
        assert_eq!(text_or_json(None), "");
    }
}
