//! The environment. The only place of the crate that reads its variables.
//!
//! Inside Node the JavaScript side hands its `process.env` over, because changes made there never reach the environment
//! of the process that Rust sees.

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
        Environment::from_map([("KEY", "sk-1")])
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
