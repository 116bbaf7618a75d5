//! Reads JSON values into raw sections, collecting every problem instead of stopping at the first.
//!
//! [`section!`] lists the keys of an object once. From that list come the struct (one [`Field`] per key), the known
//! keys (everything else is an unknown key) and the reading. A field remembers the four things that may be found, so
//! that the check can treat zero, `null` and a left-out key differently, and does not complain twice about a value that
//! was already refused.
//!
//! A message says what was found only where that cannot be a secret; [`Read::HIDDEN`] says where it can.

use serde_json::{Map, Value};

use super::nearest::nearest;
use super::references::References;
use super::shape::Shape;
use super::values::found;
use crate::error::Problem;

/// What was found at one key.
#[derive(Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Null,
    /// Of a wrong type or out of range; the problem is already noted.
    Bad,
    Is(T),
}

/// Collects the problems while values are read and checked.
pub(super) struct Reader<'a> {
    /// `None`: texts are taken as they are.
    references: Option<References<'a>>,
    /// Known keys by the section they belong to, for keys that stand in the wrong one.
    sections: &'static [(&'static str, &'static [&'static str])],
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// A type that a JSON value can be read as.
pub(super) trait Read: Sized {
    /// Completes "expected …".
    const EXPECTED: &'static str;
    /// What stands there instead may be a secret, and is not repeated.
    const HIDDEN: bool = true;

    /// What may stand there, as data.
    fn shape() -> Shape;

    /// `None` after noting at least one problem.
    fn read(value: &Value, path: &str, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Declares the raw form of one object: `field: Type`, or `field as "key": Type` where the key is no Rust name.
macro_rules! section {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (
        $(#[doc = $about:literal])*
        struct $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident $(as $key:literal)? : $type:ty, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Default)]
        pub(super) struct $name {
            $( $(#[doc = $doc])* pub $field: $crate::config::section::Field<$type>, )*
        }

        impl $name {
            pub const KEYS: &'static [&'static str] = &[$( section!(@key $field $($key)?) ),*];

            /// The same with what may stand there and what it means: the schema and the documentation are made of it.
            const TABLE: $crate::config::shape::Section = $crate::config::shape::Section {
                about: concat!($( $about, "\n" ),*),
                keys: &[$( $crate::config::shape::Key {
                    name: section!(@key $field $($key)?),
                    says: concat!($( $doc, "\n" ),*),
                    shape: <$type as $crate::config::section::Read>::shape,
                } ),*],
            };
        }

        impl $crate::config::section::Read for $name {
            const EXPECTED: &'static str = "an object";

            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Section(&Self::TABLE)
            }

            fn read(
                value: &serde_json::Value,
                path: &str,
                reader: &mut $crate::config::section::Reader<'_>,
            ) -> Option<Self> {
                let map = reader.object::<Self>(value, path)?;
                reader.refuse_unknown(map, Self::KEYS, path);
                Some(Self {
                    $( $field: reader.field(map, path, section!(@key $field $($key)?)), )*
                })
            }
        }
    };
}
pub(super) use section;

/// The path of `key` in the object at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// The path of one item of the list at `path`.
pub(super) fn index(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}

// === impl Field ===

impl<T> Field<T> {
    /// The value, or nothing: for keys whose default is "none".
    pub fn some(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Null | Self::Bad => None,
        }
    }

    /// The value, or the default when the key is left out or `null`.
    pub fn or(self, default: T) -> T {
        self.some().unwrap_or(default)
    }

    /// The value, the default when the key is left out, or `unlimited` for `null`: for limits that have a default.
    pub fn or_limit(self, default: T, unlimited: T) -> T {
        match self {
            Self::Null => unlimited,
            other => other.or(default),
        }
    }

    /// The value, or a problem when there is none.
    pub fn required(self, path: &str, key: &str, reader: &mut Reader<'_>) -> Option<T>
    where
        T: Read,
    {
        if matches!(self, Self::Absent | Self::Null) {
            reader.problem(join(path, key), format!("is missing; expected {}", T::EXPECTED));
        }
        self.some()
    }

    /// Was there anything that was meant as a value?
    pub fn is_given(&self) -> bool {
        matches!(self, Self::Is(_) | Self::Bad)
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// For options: texts are taken as they are.
    pub fn literal() -> Self {
        Self { references: None, sections: &[], problems: Vec::new(), warnings: Vec::new() }
    }

    /// For a configuration made of `sections`.
    pub fn new(references: References<'a>, sections: &'static [(&'static str, &'static [&'static str])]) -> Self {
        Self { references: Some(references), sections, ..Self::literal() }
    }

    /// Reads something that may refer to other things than the rest.
    pub fn with_references(&mut self, references: References<'a>, read: impl FnOnce(&mut Self)) {
        let before = self.references.replace(references);
        read(self);
        self.references = before;
    }

    pub fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    pub fn warn(&mut self, path: &str, message: impl std::fmt::Display) {
        self.warnings.push(format!("{path}: {message}"));
    }

    pub fn object<'v, T: Read>(&mut self, value: &'v Value, path: &str) -> Option<&'v Map<String, Value>> {
        let map = value.as_object();
        if map.is_none() {
            self.wrong::<T>(value, path);
        }
        map
    }

    pub fn field<T: Read>(&mut self, map: &Map<String, Value>, path: &str, key: &str) -> Field<T> {
        match map.get(key) {
            None => Field::Absent,
            Some(value) => self.value(value, &join(path, key)),
        }
    }

    fn value<T: Read>(&mut self, value: &Value, path: &str) -> Field<T> {
        match value {
            Value::Null => Field::Null,
            value => T::read(value, path, self).map_or(Field::Bad, Field::Is),
        }
    }

    /// Inside a list or an object of the user's own, `null` has no meaning.
    pub fn item<T: Read>(&mut self, value: &Value, path: &str) -> Field<T> {
        if value.is_null() {
            return self.wrong::<T>(value, path).map_or(Field::Bad, Field::Is);
        }
        self.value(value, path)
    }

    pub fn refuse_unknown(&mut self, map: &Map<String, Value>, known: &[&str], path: &str) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let home = self.sections.iter().find(|(_, keys)| keys.contains(&key.as_str()));
            let hint = home.map_or_else(|| nearest(key, known), |(home, _)| format!("; it belongs in {home}"));
            self.problem(join(path, key), format!("unknown key{hint}"));
        }
    }

    pub fn wrong<T: Read>(&mut self, value: &Value, path: &str) -> Option<T> {
        self.problem(path, format!("expected {}, found {}", T::EXPECTED, found(value, T::HIDDEN)));
        None
    }

    /// May files of this machine be read for what is written here?
    pub fn reads_files(&self) -> bool {
        self.references.is_none_or(References::reads_files)
    }

    /// Replaces what a text refers to.
    pub fn text(&mut self, text: &str, path: &str) -> Option<String> {
        match self.references.map_or_else(|| Ok(text.to_owned()), |references| references.expand(text)) {
            Ok(text) => Some(text),
            Err(message) => {
                self.problem(path, message);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::env::Environment;
    use super::super::values::{Dict, Hidden, Millis, Text, UNLIMITED};
    use super::*;

    section! {
        /// A section of every kind of key.
        struct Sample {
            kind as "type": Text,
            count: u32,
            wait: Millis,
            on: bool,
            key: Hidden,
            list: Vec<Field<Hidden>>,
            names: Dict<Text>,
        }
    }

    fn read(value: &Value) -> (Option<Sample>, Vec<String>) {
        let environment = Environment::from_map([("WORD", "from-outside")]);
        let mut reader = Reader::new(References::all(&environment), &[]);
        let sample = Sample::read(value, "", &mut reader);
        (sample, reader.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_list_of_keys_is_the_list_of_fields() {
        assert_eq!(Sample::KEYS, ["type", "count", "wait", "on", "key", "list", "names"]);
    }

    #[test]
    fn texts_lists_and_objects_of_the_users_own_are_read() {
        let value = json!({ "key": "${WORD}", "list": ["a", ""], "names": { "n": "v" } });
        let (Some(sample), problems) = read(&value) else { panic!("an object") };
        assert!(problems.is_empty(), "{problems:?}");
        assert!(matches!(&sample.key, Field::Is(Hidden(key)) if key.expose() == "from-outside"));
        assert_eq!(sample.list.some().map(|list| list.len()), Some(2));
        let names = sample.names.some().map_or_else(Vec::new, |Dict(names)| names);
        assert!(matches!(names.as_slice(), [(name, Field::Is(text))] if name == "n" && text.value == "v"));
    }

    #[test]
    fn zero_null_and_left_out_are_three_things() {
        let (sample, problems) = read(&json!({ "count": 0, "wait": null }));
        let sample = sample.expect("an object");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(sample.count.or(7), 0);
        assert_eq!(sample.wait.time_limit(Duration::from_secs(1)), UNLIMITED);
        assert!(sample.on.or(true));
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let (sample, problems) = read(&json!({ "count": 1e3, "wait": 250.0 }));
        let sample = sample.expect("an object");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((sample.count.some(), sample.wait.time(UNLIMITED)), (Some(1000), Duration::from_millis(250)));
    }

    #[test]
    fn a_wrong_type_names_what_was_found() {
        let (sample, problems) = read(&json!({
            "type": 5, "count": 4294967296u64, "wait": "fast", "on": "yes", "names": { "a": null, "b c": [] }
        }));
        assert_eq!(
            problems,
            [
                "type: expected a string, found the number 5",
                "count: expected a whole number from 0 to 4294967295, found the number 4294967296",
                "wait: expected a whole number of milliseconds, found the string \"fast\"",
                "on: expected true or false, found the string \"yes\"",
                "names.a: expected a string, found null",
                "names[\"b c\"]: expected a string, found a list",
            ]
        );
        assert!(matches!(sample.expect("an object").wait, Field::Bad));
        assert_eq!(
            read(&json!({ "wait": 1.5 })).1,
            ["wait: expected a whole number of milliseconds, found the number 1.5"]
        );
        assert_eq!(read(&json!({ "count": -1 })).1.len(), 1);
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let secret = "sk-0123456789abcdefghijklmnop";
        for value in [
            json!({ "key": 12345 }),
            json!({ "key": "${NOT_SET}12345" }),
            json!({ "list": "12345" }),
            json!({ "list": [12345, null, "x"] }),
            json!({ "names": "12345" }),
            json!({ "count": secret }),
            json!("12345"),
        ] {
            let (_, problems) = read(&value);
            let text = problems.concat();
            assert!(!text.is_empty() && !text.contains("12345"), "{value}: {text}");
        }
    }

    #[test]
    fn a_text_shows_what_was_written_not_what_came_in() {
        let text = read(&json!({ "type": "${WORD}!" })).0.expect("an object").kind.some().expect("a text");
        assert_eq!((text.value.as_str(), text.shown.as_str()), ("from-outside!", "${WORD}!"));
    }

    #[test]
    fn an_empty_text_is_not_a_text() {
        assert_eq!(read(&json!({ "type": " " })).1, ["type: expected a string, found an empty one"]);
    }
}
