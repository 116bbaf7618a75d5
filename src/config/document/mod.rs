//! A configuration as it was written: text to JSON value, and back from a path to its place in the text.
//!
//! Whatever the format, a text becomes the same tree of nodes, and from there on one code turns it into a value, refuses
//! what is set twice and finds the line and column of a problem. No message repeats anything of the text: whatever
//! stands there may be a key.

mod json;
mod toml;
mod yaml;

use std::collections::HashMap;
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Number, Value};

use super::env::Environment;
use super::file::read_file;
use super::overlay::Overlay;
use super::raw::RawConfig;
use super::references::References;
use super::section::{Read as _, index, join};
use crate::error::Problem;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With comments and trailing commas, whatever the extension says: people put comments into configuration.
    Json,
    /// YAML 1.2, one document, without anchors.
    Yaml,
    Toml,
}

/// A configuration as it was written, before anything of it was checked. Holds secrets and cannot be printed.
pub struct Document {
    value: Value,
    text: Option<(String, Format)>,
    checksum: String,
    /// What it may read of the environment, when it came from the network. `None`: everything, files included.
    variables: Option<Vec<String>>,
}

/// A value with its place.
struct Node {
    /// Byte offset of the key, or of the item of a list.
    at: usize,
    kind: Kind,
}

enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// Something that no configuration can hold.
    Unusable(&'static str),
}

/// A text that is not of its format: what is wrong, and where.
struct SyntaxError {
    message: String,
    at: usize,
}

// === impl Format ===

impl Format {
    /// By extension: `.yaml` and `.yml` are YAML, `.toml` is TOML, everything else is JSON.
    pub fn of_path(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        Self::of_extension(extension).unwrap_or(Self::Json)
    }

    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "json" | "jsonc" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    /// By the type that a server gives, else by the path of its address.
    pub(super) fn of_reply(content_type: Option<&str>, path: &str) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" | "text/json" | "application/jsonc" => Self::Json,
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Self::Yaml,
            "application/toml" | "text/toml" | "text/x-toml" => Self::Toml,
            _ => Self::of_path(Path::new(path)),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
        }
    }
}

// === impl Document ===

impl Document {
    /// Reads a text. A syntax error ends the reading; keys that are set twice are all reported.
    ///
    /// # Errors
    /// Every problem, with line and column.
    pub fn parse(text: String, format: Format) -> Result<Self, Vec<Problem>> {
        let value = read(&text, format)?;
        Ok(Self { value, checksum: checksum(text.as_bytes()), text: Some((text, format)), variables: None })
    }

    /// Reads a file, in the format that its extension says. Needs a tokio runtime.
    ///
    /// # Errors
    /// As for [`Document::parse`]; and a file that is missing, too large, or no text.
    pub async fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = read_file(path).await.map_err(|problem| vec![problem])?;
        Self::parse(text, Format::of_path(path))
    }

    /// An object that was handed over as such.
    pub fn object(value: Value) -> Self {
        Self { checksum: checksum(value.to_string().as_bytes()), value, text: None, variables: None }
    }

    /// It came from the network: of the environment it reads these variables, and no file.
    pub(super) fn limited_to(self, variables: &[String]) -> Self {
        Self { variables: Some(variables.to_vec()), ..self }
    }

    pub(super) fn references<'a>(&'a self, environment: &'a Environment) -> References<'a> {
        match &self.variables {
            None => References::all(environment),
            Some(variables) => References::only(environment, variables),
        }
    }

    /// The text and its format; `None` for an object.
    pub(super) fn text(&self) -> Option<(&str, Format)> {
        self.text.as_ref().map(|(text, format)| (text.as_str(), *format))
    }

    /// As it may be shown, with a program's changes in it: every key, header and proxy is `***`, a URL its host and path.
    pub fn shown(&self, overlay: &Overlay) -> Value {
        RawConfig::shape().masked(&overlay.over(self.value.clone()))
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// SHA-256 of the text, in hexadecimal; of an object, of its JSON.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// Adds to each problem where in the text its path stands, and puts the problems into the order of the text. A key
    /// that is missing stands where its object begins.
    pub(super) fn locate(&self, problems: &mut [Problem]) {
        let Some((text, format)) = &self.text else { return };
        let text = without_mark(text);
        let Ok(Some(root)) = tree(text, *format) else { return };
        let mut places = HashMap::new();
        collect(&root, "", &mut places);
        let offset = |path: &str| {
            std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|end| &path[..end]))
                .find_map(|path| places.get(path).copied())
        };
        // What belongs to the document as a whole comes first.
        problems.sort_by_cached_key(|problem| offset(&problem.path));
        for problem in problems {
            if let Some(offset) = offset(&problem.path) {
                problem.message.push_str(&place(text, offset));
            }
        }
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn checksum(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // a String takes everything
        hex
    })
}

fn read(text: &str, format: Format) -> Result<Value, Vec<Problem>> {
    let text = without_mark(text);
    let problem = |message: String| vec![Problem { path: String::new(), message }];
    let root = tree(text, format).map_err(|SyntaxError { message, at }| {
        problem(format!("not valid {}: {message}{}", format.name(), place(text, at)))
    })?;
    let Some(root) = root else {
        return Err(problem("the configuration is empty; expected an object with \"providers\"".to_owned()));
    };
    let mut reading = Reading { text, problems: Vec::new() };
    let value = reading.value(root, "");
    if reading.problems.is_empty() { Ok(value) } else { Err(reading.problems) }
}

/// `None`: there is nothing in it but comments.
fn tree(text: &str, format: Format) -> Result<Option<Node>, SyntaxError> {
    match format {
        Format::Json => json::tree(text),
        Format::Yaml => yaml::tree(text),
        Format::Toml => toml::tree(text),
    }
}

/// Editors on Windows put a byte order mark before the text.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

struct Reading<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    // Every parser bounds the depth, so this recursion is bounded too.
    fn value(&mut self, node: Node, path: &str) -> Value {
        match node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(number) => Value::Number(number),
            Kind::Text(text) => Value::String(text),
            Kind::Unusable(message) => {
                self.problem(path, message, node.at);
                Value::Null
            }
            Kind::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(items.map(|(at, item)| self.value(item, &index(path, at))).collect())
            }
            Kind::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, node) in entries {
                    let (path, at) = (join(path, &key), node.at);
                    let value = self.value(node, &path);
                    // The first value would be lost in silence.
                    if map.insert(key, value).is_some() {
                        self.problem(&path, "this key is set twice", at);
                    }
                }
                Value::Object(map)
            }
        }
    }

    fn problem(&mut self, path: &str, message: &str, at: usize) {
        self.problems.push(Problem { path: path.to_owned(), message: format!("{message}{}", place(self.text, at)) });
    }
}

/// Where each key, or each item of a list, begins.
fn collect(node: &Node, path: &str, places: &mut HashMap<String, usize>) {
    let mut enter = |path: String, node: &Node| {
        collect(node, &path, places);
        places.insert(path, node.at);
    };
    match &node.kind {
        Kind::Map(entries) => entries.iter().for_each(|(key, node)| enter(join(path, key), node)),
        Kind::List(items) => items.iter().enumerate().for_each(|(at, node)| enter(index(path, at), node)),
        _ => {}
    }
}

fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" (line {line}, column {column})")
}

#[cfg(test)]
mod tests;
