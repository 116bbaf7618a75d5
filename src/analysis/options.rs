//! What an analysis may be told.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::nearest;
use crate::types::{FieldError, read_text};

/// How an analysis is done. `None` and empty mean "not said".
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AnalysisOptions {
    /// How much is said.
    pub depth: Depth,
    /// For whom it is said.
    pub audience: Audience,
    /// What kind of project it is, in words that models read: `a web shop`. At most 200 characters.
    pub project_type: Option<String>,
    /// Patterns as in a `.gitignore`, from the root: only files that match one, or stand in a folder that does.
    #[serde(deserialize_with = "one_or_more")]
    pub include: Vec<String>,
    /// Patterns as in a `.gitignore`, from the root: none of these.
    #[serde(deserialize_with = "one_or_more")]
    pub exclude: Vec<String>,
    /// Files and folders that are worked on at a time. The pool's own limits hold besides.
    pub concurrency: NonZeroU32,
    /// Larger files are skipped.
    pub max_file_bytes: u64,
    /// Tokens of a file that are sent at a time; a longer one is split. From 500.
    pub part_tokens: u64,
    /// Where results are kept, so that only what has changed is sent the next time. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Where its pages will be written. Whether they can is looked at before anything is sent, and pages of an earlier
    /// analysis in it are not listed as skipped.
    pub pages_dir: Option<PathBuf>,
    /// Only providers that serve this model or alias.
    pub model: Option<String>,
    /// What paths of results are relative to, and what nothing is read outside of. `None`: the folder that is analysed,
    /// or the one the file is in.
    pub root: Option<PathBuf>,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// What it is, in a sentence or two, and the interfaces that matter most.
    Surface,
    /// What it does and offers.
    #[default]
    Standard,
    /// How it works inside as well: invariants, errors, what breaks if it is changed.
    Deep,
}

/// For whom it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// A model that will work on the code and sees nothing but this.
    Llm,
    /// Somebody who joins the project.
    #[default]
    Developer,
    /// Readers of its documentation.
    Documentation,
}

impl AnalysisOptions {
    const NAMES: &'static [&'static str] = &[
        "depth",
        "audience",
        "projectType",
        "include",
        "exclude",
        "concurrency",
        "maxFileBytes",
        "partTokens",
        "cacheDir",
        "pagesDir",
        "model",
        "root",
    ];
    /// Where results are better with the whole file in sight, and windows of 32k tokens hold it with the answer.
    const PART_TOKENS: u64 = 16_000;
    /// Below this the words around a part outweigh it.
    const LEAST_PART_TOKENS: u64 = 500;
    /// Enough to keep a provider busy, few enough for the rate limits of small accounts.
    const CONCURRENCY: NonZeroU32 = NonZeroU32::new(8).unwrap();
    /// Files that people write are smaller; larger ones are data.
    const MAX_FILE_BYTES: u64 = 1024 * 1024;
    const LONGEST_PROJECT_TYPE: usize = 200;

    /// Reads options as JavaScript writes them, and checks them.
    ///
    /// # Errors
    /// The option that cannot be, and why.
    pub fn parse(json: &str) -> Result<Self, FieldError> {
        let (options, _) = read_text::<Self>(json).map_err(|mut error| {
            if error.message.starts_with("unknown field") {
                error.message = format!("unknown option{}", nearest(&error.field, Self::NAMES));
            }
            error
        })?;
        options.check()?;
        Ok(options)
    }

    /// # Errors
    /// The option that cannot be, and why.
    pub fn check(&self) -> Result<(), FieldError> {
        let refused = |field: &str, message: String| Err(FieldError { field: field.to_owned(), message });
        if self.part_tokens < Self::LEAST_PART_TOKENS {
            return refused("partTokens", format!("must be {} or more", Self::LEAST_PART_TOKENS));
        }
        if self.max_file_bytes == 0 {
            return refused("maxFileBytes", "must be 1 or more: every file would be too large".to_owned());
        }
        if self.project_type.as_ref().is_some_and(|words| words.chars().count() > Self::LONGEST_PROJECT_TYPE) {
            return refused("projectType", format!("must have {} characters at most", Self::LONGEST_PROJECT_TYPE));
        }
        for (field, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            if let Some(at) = patterns.iter().position(|pattern| pattern.trim().is_empty()) {
                return refused(&format!("{field}[{at}]"), "is empty".to_owned());
            }
        }
        for (field, path) in [("cacheDir", &self.cache_dir), ("pagesDir", &self.pages_dir), ("root", &self.root)] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return refused(field, "is empty".to_owned());
            }
        }
        Ok(())
    }
}

impl Default for AnalysisOptions {
    fn default() -> Self {
        Self {
            depth: Depth::default(),
            audience: Audience::default(),
            project_type: None,
            include: Vec::new(),
            exclude: Vec::new(),
            concurrency: Self::CONCURRENCY,
            max_file_bytes: Self::MAX_FILE_BYTES,
            part_tokens: Self::PART_TOKENS,
            cache_dir: None,
            pages_dir: None,
            model: None,
            root: None,
        }
    }
}

/// A text stands for a list of it.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Patterns;
    impl<'de> serde::de::Visitor<'de> for Patterns {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a pattern or a list of patterns")
        }

        fn visit_str<E>(self, pattern: &str) -> Result<Self::Value, E> {
            Ok(vec![pattern.to_owned()])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(Patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> (String, String) {
        let error = AnalysisOptions::parse(json).expect_err(json);
        (error.field, error.message)
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(AnalysisOptions::parse("{}"), Ok(AnalysisOptions::default()));
    }

    #[test]
    fn a_pattern_may_stand_alone() {
        let options = AnalysisOptions::parse(r#"{"include":"*.rs","exclude":["a","b"]}"#).expect("good");
        assert_eq!((options.include, options.exclude), (vec!["*.rs".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        for (json, field, says) in [
            (r#"{"depth":"abyss"}"#, "depth", "`surface`, `standard`, `deep`"),
            (r#"{"audience":"cats"}"#, "audience", "`llm`, `developer`, `documentation`"),
            (r#"{"dept":"deep"}"#, "dept", "did you mean \"depth\"?"),
            (r#"{"concurrency":0}"#, "concurrency", "nonzero"),
            (r#"{"concurrency":1.5}"#, "concurrency", "1.5"),
            (r#"{"maxFileBytes":0}"#, "maxFileBytes", "1 or more"),
            (r#"{"partTokens":10}"#, "partTokens", "500 or more"),
            (r#"{"include":["a"," "]}"#, "include[1]", "empty"),
            (r#"{"include":5}"#, "include", "a pattern or a list of patterns"),
            (r#"{"cacheDir":""}"#, "cacheDir", "empty"),
        ] {
            let (found, message) = refused(json);
            assert!(found == field && message.contains(says), "{json}: {found}: {message}");
        }
        let long = format!(r#"{{"projectType":"{}"}}"#, "x".repeat(201));
        assert_eq!(refused(&long).0, "projectType");
    }
}
