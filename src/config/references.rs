//! `${…}` in configured texts: variables of the environment, and secrets in files.
//!
//! A value is taken as it is and never expanded again, so that neither a variable nor a file can pull in others.
//!
//! | text | becomes |
//! |---|---|
//! | `${VAR}` | the variable, also when it is empty; an error when it is not set |
//! | `${VAR:-text}` | the variable, or `text` when it is not set or empty |
//! | `${file:/path}` | what the file holds, without the line break at its end |
//! | `$${` | a literal `${` |
//! | any other `$` | itself |
//!
//! A configuration that came over the network may name only the variables it was given, and no file: whoever can write
//! it must not learn what this machine knows.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::env::Environment;

/// A key is below a kilobyte, a certificate in a header below ten.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What `${…}` may refer to.
#[derive(Clone, Copy)]
pub(super) struct References<'a> {
    environment: &'a Environment,
    /// `None`: everything, files included.
    only: Option<&'a [String]>,
}

impl<'a> References<'a> {
    /// For a configuration of this machine.
    pub fn all(environment: &'a Environment) -> Self {
        Self { environment, only: None }
    }

    /// For one from the network.
    pub fn only(environment: &'a Environment, variables: &'a [String]) -> Self {
        Self { environment, only: Some(variables) }
    }

    /// May it read files of this machine?
    pub fn reads_files(self) -> bool {
        self.only.is_none()
    }

    /// Replaces every `${…}`. The error never holds a value.
    pub fn expand(self, text: &str) -> Result<String, String> {
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

    fn reference(self, inside: &str) -> Result<String, String> {
        if let Some(path) = inside.strip_prefix("file:") {
            return if self.only.is_some() {
                Err("a configuration from a URL reads no files of this machine; name a variable in configUrlEnv"
                    .to_owned())
            } else {
                read(Path::new(path))
            };
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
            return Err(
                "expected ${NAME}, ${NAME:-text} or ${file:/path}, where NAME is made of letters, digits and _"
                    .to_owned(),
            );
        }
        if self.only.is_some_and(|only| !only.iter().any(|known| known == name)) {
            return Err(format!("a configuration from a URL may not read {name}; configUrlEnv names what it may"));
        }
        match (self.environment.lookup(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(format!("the environment variable {name} is not set")),
        }
    }
}

/// A secret's file, as container platforms mount them.
fn read(path: &Path) -> Result<String, String> {
    let written = path.to_string_lossy();
    if !path.is_absolute() {
        let expected = "expected a whole path after \"file:\", such as /run/secrets/openai_key";
        return Err(if is_path(&written) { format!("{written}: {expected}") } else { expected.to_owned() });
    }
    read_text(path, &written)
}

/// A small file of text without its last line break; links are followed. Pipes and devices may never end. Errors name it
/// as it was `written`, where that cannot be what the file should hold.
pub(super) fn read_text(path: &Path, written: &str) -> Result<String, String> {
    let said = |what: &str| said_of(written, what);
    if !is_path(&path.to_string_lossy()) {
        return Err(NO_PATH.to_owned());
    }
    let broken = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => said("this file does not exist"),
        ErrorKind::PermissionDenied => said("this file may not be read by this process"),
        _ => said(&format!("this file cannot be read: {error}")),
    };
    let metadata = std::fs::metadata(path).map_err(broken)?;
    if !metadata.is_file() {
        return Err(said("this is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(broken)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(said("this file is larger than 64 KiB"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| said("this file is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
    }
    Ok(text)
}

/// What is said where a key or a certificate itself stands in the place of its file.
pub(super) const NO_PATH: &str = "expected the path of a file, found something else";

/// Could it be the path of a file? What a file holds stands in its place more often than one would think, and then it
/// must not be told on.
pub(super) fn is_path(text: &str) -> bool {
    !text.contains(char::is_control) && !text.contains("-----BEGIN")
}

/// Has it what paths have, and bare keys do not?
pub(super) fn is_plainly_a_path(text: &str) -> bool {
    is_path(text) && (text.starts_with('/') || text.contains(['.', ':', '\\']))
}

fn said_of(written: &str, what: &str) -> String {
    if is_plainly_a_path(written) { format!("{written}: {what}") } else { what.to_owned() }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from_map([("KEY", "sk-1"), ("EMPTY", ""), ("TRICK", "${KEY}"), ("_A1", "x")])
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        let environment = environment();
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
            assert_eq!(References::all(&environment).expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(References::all(&environment()).expand("${TRICK}").as_deref(), Ok("${KEY}"));
    }

    #[test]
    fn a_reference_that_cannot_be_resolved_says_why_without_a_value() {
        let environment = environment();
        for (text, expected) in [
            ("${NONE}", "NONE is not set"),
            ("${KEY", "never closed"),
            ("${}", "expected ${NAME}"),
            ("${1A}", "expected ${NAME}"),
            ("${NONE:-${KEY}}", "expected ${NAME}"),
            ("${file:}", "expected a whole path"),
            ("${file:secrets/key}", "secrets/key: expected a whole path"),
            ("${file:/no/such/file}", "/no/such/file: this file does not exist"),
            ("${file:/dev/zero}", "/dev/zero: this is not a regular file"),
            ("${file:/}", "not a regular file"),
        ] {
            let error = References::all(&environment).expand(text).expect_err(text);
            assert!(error.contains(expected) && !error.contains("sk-1"), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_gives_what_it_holds_without_its_last_line_break() {
        let folder = std::env::temp_dir().join(format!("llmpool-references-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("key");
        let environment = environment();
        let text = format!("Bearer ${{file:{}}}!", file.display());
        let expand = |bytes: &[u8]| {
            std::fs::write(&file, bytes).expect("a file");
            References::all(&environment).expand(&text)
        };
        let seen = [&b"sk-2\n"[..], b"sk-2\r\n", b"sk-2", b" ${KEY} ", b"a\nb\n"].map(expand);
        let (wide, large) = (expand(b"sk-\xff"), expand(&vec![b'k'; 64 * 1024 + 1]));
        std::fs::remove_dir_all(&folder).expect("removed");
        let expected = ["Bearer sk-2!", "Bearer sk-2!", "Bearer sk-2!", "Bearer  ${KEY} !", "Bearer a\nb!"];
        assert_eq!(seen.map(|text| text.expect("readable")), expected);
        assert!(wide.expect_err("Latin").contains("not UTF-8") && large.expect_err("large").contains("64 KiB"));
    }

    #[test]
    fn what_came_over_the_network_reads_what_it_was_given() {
        let (environment, given) = (environment(), ["KEY".to_owned(), "NONE".to_owned()]);
        let remote = References::only(&environment, &given);
        assert_eq!(remote.expand("${KEY} ${NONE:-x}").as_deref(), Ok("sk-1 x"));
        for (text, expected) in [
            ("${EMPTY}", "may not read EMPTY; configUrlEnv names what it may"),
            ("${HOME:-x}", "may not read HOME"),
            ("${file:/etc/hostname}", "reads no files of this machine"),
            ("${NONE}", "NONE is not set"),
        ] {
            let error = remote.expand(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
