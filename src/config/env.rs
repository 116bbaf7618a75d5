//! The environment, and `${VAR}` in configured texts. The only place of the crate that reads environment variables.
//!
//! Inside Node the JavaScript side hands its `process.env` over, because changes made there never reach the environment
//! of the process that Rust sees. A value from the environment is taken as it is and never expanded again, so a
//! variable cannot pull in others.
//!
//! | text | becomes |
//! |---|---|
//! | `${VAR}` | the variable, also when it is empty; an error when it is not set |
//! | `${VAR:-text}` | the variable, or `text` when it is not set or empty |
//! | `$${` | a literal `${` |
//! | any other `$` | itself |

use std::collections::BTreeMap;
use std::fmt;

/// Where variables are looked up.
#[derive(Clone, Default)]
pub struct Environment(Variables);

#[derive(Clone, Default)]
enum Variables {
    #[default]
    Process,
    Given(BTreeMap<String, String>),
}

impl Environment {
    /// The environment of this process, read at each look-up.
    pub fn process() -> Self {
        Self(Variables::Process)
    }

    /// Exactly these variables.
    pub fn from_map<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Variables::Given(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// A variable that is not UTF-8 counts as not set.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the environment")]
    pub fn lookup(&self, name: &str) -> Option<String> {
        match &self.0 {
            Variables::Process => std::env::var(name).ok(),
            Variables::Given(variables) => variables.get(name).cloned(),
        }
    }

    /// The first of `names` that is set and not empty, with its name. Proxy variables exist in two spellings.
    pub(super) fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = self.lookup(name)?;
            (!value.trim().is_empty()).then(|| (*name, value.trim().to_owned()))
        })
    }

    /// Replaces every `${…}`. The error never holds a value.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &from[2..];
                continue;
            }
            out.push_str(before);
            let Some(end) = from.find('}') else {
                return Err("\"${\" is never closed; write \"$${\" for the two characters themselves".to_owned());
            };
            out.push_str(&self.reference(&from[2..end])?);
            rest = &from[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn reference(&self, inside: &str) -> Result<String, String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
            return Err("expected ${NAME} or ${NAME:-text}, where NAME is made of letters, digits and _".to_owned());
        }
        match (self.lookup(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(format!("the environment variable {name} is not set")),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Debug for Environment {
    /// Values are secrets until proven otherwise, and a list of names helps nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Variables::Process => f.write_str("Environment(process)"),
            Variables::Given(variables) => write!(f, "Environment({} variables)", variables.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from_map([("KEY", "sk-1"), ("EMPTY", ""), ("TRICK", "${KEY}"), ("_A1", "x")])
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${KEY}", "sk-1"),
            ("a ${KEY} b ${_A1}${_A1}", "a sk-1 b xx"),
            ("${EMPTY}", ""),
            ("${EMPTY:-other}", "other"),
            ("${NONE:-https://a.b/c:-d}", "https://a.b/c:-d"),
            ("${NONE:-}", ""),
            ("${KEY:-other}", "sk-1"),
            ("$${KEY} $KEY $ 5$", "${KEY} $KEY $ 5$"),
        ] {
            assert_eq!(environment().expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(environment().expand("${TRICK}").as_deref(), Ok("${KEY}"));
    }

    #[test]
    fn a_reference_that_cannot_be_resolved_says_why_without_a_value() {
        for (text, expected) in [
            ("${NONE}", "NONE is not set"),
            ("${KEY", "never closed"),
            ("${}", "expected ${NAME}"),
            ("${1A}", "expected ${NAME}"),
            ("${file:/etc/passwd}", "expected ${NAME}"),
            ("${NONE:-${KEY}}", "expected ${NAME}"),
        ] {
            let error = environment().expand(text).expect_err(text);
            assert!(error.contains(expected) && !error.contains("sk-1"), "{text}: {error}");
        }
    }

    #[test]
    fn an_empty_variable_does_not_hide_its_other_spelling() {
        let environment = Environment::from_map([("a_proxy", " "), ("A_PROXY", "http://p ")]);
        assert_eq!(environment.first_of(&["a_proxy", "A_PROXY"]), Some(("A_PROXY", "http://p".to_owned())));
        assert_eq!(environment.first_of(&["a_proxy"]), None);
    }

    #[test]
    fn the_process_environment_is_read_and_no_value_is_shown() {
        assert!(Environment::process().lookup("PATH").is_some());
        assert!(!format!("{:?}", environment()).contains("sk-1"));
    }
}
