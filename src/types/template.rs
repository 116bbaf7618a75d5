//! A prompt with places to fill in: `{{prompt}}`, `{{language}}`.
//!
//! What is filled in is text and is never read again, so that a prompt with `{{…}}` in it stays what it is. Braces around
//! anything but a name are text, too.

use std::collections::BTreeMap;

use super::parse::FieldError;

/// The place for the caller's own words.
const PROMPT: &str = "prompt";

/// A text that was read once, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What stands before each place, and the name of the place.
    parts: Vec<(String, String)>,
    rest: String,
}

impl Template {
    /// # Errors
    /// It has no place for the prompt.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { parts: Vec::new(), rest: String::new() };
        let mut left = text;
        let mut before = String::new();
        while let Some(at) = left.find("{{") {
            let inside = &left[at + 2..];
            let name = inside.find("}}").map(|end| inside[..end].trim()).filter(|name| is_name(name));
            let Some(name) = name else {
                before.push_str(&left[..=at]);
                left = &left[at + 1..];
                continue;
            };
            before.push_str(&left[..at]);
            template.parts.push((std::mem::take(&mut before), name.to_owned()));
            left = &inside[inside.find("}}").map_or(inside.len(), |end| end + 2)..];
        }
        before.push_str(left);
        template.rest = before;
        if template.names().any(|name| name == PROMPT) {
            Ok(template)
        } else {
            Err(format!("has no {{{{{PROMPT}}}}}: the caller's words would be dropped"))
        }
    }

    /// The names of its places, the prompt's included; one that stands there twice comes twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(_, name)| name.as_str())
    }

    /// # Errors
    /// A place without a value, or a value without a place.
    pub fn fill(&self, prompt: &str, variables: &BTreeMap<String, String>) -> Result<String, FieldError> {
        if let Some(name) = variables.keys().find(|name| *name == PROMPT || !self.names().any(|known| known == *name)) {
            return Err(FieldError {
                field: format!("variables.{name}"),
                message: format!("the prompt of the task has no {{{{{name}}}}} to fill in by this"),
            });
        }
        let mut text = String::with_capacity(prompt.len() + self.rest.len());
        for (before, name) in &self.parts {
            let value = if name == PROMPT { Some(prompt) } else { variables.get(name).map(String::as_str) };
            let value = value.ok_or_else(|| FieldError {
                field: format!("variables.{name}"),
                message: format!("is missing: the prompt of the task has {{{{{name}}}}}"),
            })?;
            text.push_str(before);
            text.push_str(value);
        }
        text.push_str(&self.rest);
        Ok(text)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn filled(text: &str, prompt: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        let filled = Template::parse(text).expect("a template").fill(prompt, &variables(pairs));
        filled.map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_filled_and_everything_else_is_text() {
        for (text, expected) in [
            ("{{prompt}}", "P"),
            ("a {{ prompt }} b {{prompt}}\n", "a P b P\n"),
            ("{\"a\": {\"b\": {{prompt}}}}", "{\"a\": {\"b\": P}}"),
            ("{{{prompt}}}", "{P}"),
            ("{{ }} {{1}} {{a b}} {{ {{prompt}}", "{{ }} {{1}} {{a b}} {{ P"),
            ("{{prompt}} {{open", "P {{open"),
            ("ü{{prompt}}ü", "üPü"),
        ] {
            assert_eq!(filled(text, "P", &[]).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(filled("{{prompt}} in {{language}}", "P", &[("language", "German")]).as_deref(), Ok("P in German"));
    }

    #[test]
    fn what_is_filled_in_is_not_read_again() {
        assert_eq!(filled("{{prompt}}/{{a}}", "{{a}}", &[("a", "{{prompt}}")]).as_deref(), Ok("{{a}}/{{prompt}}"));
    }

    #[test]
    fn a_place_without_a_value_and_a_value_without_a_place_are_named() {
        let missing = filled("{{prompt}} {{language}}", "P", &[]).expect_err("missing");
        assert_eq!(missing, "variables.language: is missing: the prompt of the task has {{language}}");
        for name in ["tone", "prompt"] {
            let unknown = filled("{{prompt}}", "P", &[(name, "x")]).expect_err("unknown");
            assert!(unknown.starts_with(&format!("variables.{name}: ")), "{unknown}");
        }
    }

    #[test]
    fn a_template_without_a_prompt_is_refused() {
        for text in ["", "Expand: ", "{{Prompt}}", "{{ prompt }"] {
            assert!(Template::parse(text).expect_err(text).contains("{{prompt}}"));
        }
    }
}
