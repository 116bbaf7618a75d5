//! Values whose name says that they are secret, in whatever way languages, configurations and shells write that.
//!
//! A name that is secret is looked for, then a sign that gives it a value, then the value: a string (also one inside of a
//! string, of several lines, in a call or in a list), or bare words. What only stands for a secret stays, and so does what
//! is code: a call, a path of names, a type.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::value::{Shape, is_code, is_label, looks_drawn, stands_for_one};

/// Of a value that begins with a bracket, how much is looked at.
const LONGEST_LIST: usize = 4096;

/// Shorter values say nothing, or are all that a language calls a token.
const SHORTEST: usize = 3;

/// A name, whatever closes it, and a sign that gives it a value, compares it with one or hands it one.
pub(super) static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?P<name>[A-Za-z_][\w.-]*)(?P<close>(?:\\*["'`]|\])*)\s*"#,
        r#"(?P<sign>[?!]?:[ \t]*[&\w'<>|?\[\]. ]{1,40}=|:=|\?\?=|\|\|=|=>|!?={1,3}|\?:|:|,|\()"#,
    ))
    .ok()
});

/// How sure a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sureness {
    /// Its value is secret, whatever it is.
    Password,
    Secret,
    /// Its value is, if it looks like one: `key`, `tokens`.
    Perhaps,
}

/// What a name says of its value.
pub(super) fn sureness(name: &str) -> Option<Sureness> {
    const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "passcode", "passwort", "kennwort"];
    const BEFORE_KEY: &[&str] = &[
        "api",
        "access",
        "private",
        "auth",
        "encryption",
        "signing",
        "account",
        "master",
        "shared",
        "secret",
        "storage",
        "service",
        "admin",
        "license",
        "consumer",
        "deploy",
        "hmac",
        "jwt",
        "session",
        "security",
        "subscription",
        "app",
    ];
    // What says something about a secret, and is none.
    const ABOUT: &[&str] = &[
        "file",
        "path",
        "name",
        "names",
        "field",
        "type",
        "count",
        "length",
        "len",
        "limit",
        "url",
        "uri",
        "endpoint",
        "policy",
        "min",
        "max",
        "ttl",
        "label",
        "placeholder",
        "error",
        "message",
        "hint",
        "title",
        "prompt",
        "regex",
        "pattern",
        "expiry",
        "expires",
        "ms",
        "seconds",
    ];
    let words = words(name);
    let has = |list: &[&str]| words.iter().any(|word| list.iter().any(|each| word == each));
    let holds = |list: &[&str]| words.iter().any(|word| list.iter().any(|each| word.contains(each)));
    let key_after = |list: &[&str]| {
        words.windows(2).any(|pair| matches!(pair[1].as_str(), "key" | "keys") && list.contains(&pair[0].as_str()))
            || words.iter().any(|word| {
                let before = word.strip_suffix("key").or_else(|| word.strip_suffix("keys"));
                before.is_some_and(|before| list.contains(&before))
            })
    };
    let found = if holds(PASSWORDS) || has(&["pass", "pwd", "pw", "requirepass", "masterauth", "psk"]) {
        Sureness::Password
    } else if holds(&["secret", "credential", "authtoken"])
        || has(&["token", "authorization", "bearer", "auth", "cookie", "sig"])
        || words.last().is_some_and(|word| word.ends_with("token") && word != "tiktoken")
        || key_after(BEFORE_KEY)
    {
        Sureness::Secret
    } else if has(&["key", "keys", "tokens", "salt", "seed", "signature", "cert", "sas", "sid", "nonce", "dsn"]) {
        Sureness::Perhaps
    } else {
        return None;
    };
    let about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str())) || has(&["max", "min", "num"]);
    Some(if about { Sureness::Perhaps } else { found })
}

/// `openaiApiKey`, `OPENAI_API_KEY` and `openai.api-key` in words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    let characters: Vec<char> = name.chars().collect();
    for (at, c) in characters.iter().copied().enumerate() {
        let next_is_lower = characters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let begins = c.is_ascii_uppercase()
            && (before.is_ascii_lowercase() || before.is_ascii_digit() || before.is_ascii_uppercase() && next_is_lower);
        if !c.is_ascii_alphabetic() || begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && c.is_ascii_alphabetic()
        {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The secrets that stand after names, in order.
pub(super) fn named(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let Some(assigned) = ASSIGNED.as_ref() else { return Vec::new() };
    let mut found: Vec<(Range<usize>, &'static str)> = Vec::new();
    let mut from = 0;
    while let Some(at) = assigned.captures_at(text, from) {
        let (Some(whole), Some(name)) = (at.get(0), at.name("name")) else { break };
        // The value may be a name that has a value itself: `ENV TOKEN=…`.
        from = name.end();
        let Some(sureness) = sureness(name.as_str()) else { continue };
        let sign = at.name("sign").map_or("", |sign| sign.as_str());
        let is_closed = at.name("close").is_some_and(|close| !close.is_empty());
        let value = Value { text, name: name.range(), sign, is_closed, sureness, from: whole.end() };
        let what = if sureness == Sureness::Password { "password" } else { "secret" };
        for secret in value.secrets() {
            if found.last().is_none_or(|(last, _)| last.end <= secret.start) {
                from = from.max(secret.end);
                found.push((secret, what));
            }
        }
    }
    found
}

/// What follows a name.
struct Value<'a> {
    text: &'a str,
    name: Range<usize>,
    sign: &'a str,
    /// The name stood in quotes or brackets.
    is_closed: bool,
    sureness: Sureness,
    from: usize,
}

/// A string in a text.
struct Quoted {
    inner: Range<usize>,
    end: usize,
}

impl Value<'_> {
    fn secrets(&self) -> Vec<Range<usize>> {
        let rest = &self.text[self.from..];
        let start = self.from + (rest.len() - rest.trim_start().len());
        let direct = self.quoted(start);
        if let Some(string) = direct {
            let mut secrets: Vec<_> = self.keep(string.inner.clone(), Shape::String).into_iter().collect();
            secrets.extend(self.in_expression(string.end));
            return secrets;
        }
        // Only a string follows these: `setenv("PASSWORD", "…")`, `set_password("…")`, `'password' => '…'`.
        if self.sign == "," || self.sign == "=>" {
            return Vec::new();
        }
        let in_line = self.from + rest.find(|c| c != ' ' && c != '\t').unwrap_or(rest.len());
        let secrets = self.in_expression(in_line);
        if !secrets.is_empty() || self.sign == "(" {
            return secrets;
        }
        self.bare(in_line).into_iter().collect()
    }

    /// The string that begins there.
    fn quoted(&self, at: usize) -> Option<Quoted> {
        let rest = &self.text[at..];
        let prefix =
            rest.len() - rest.trim_start_matches(['r', 'b', 'f', 'u', 'R', 'B', 'F', 'U', 'L', '@', '#', '&']).len();
        string_at(self.text, at + if prefix <= 3 { prefix } else { 0 }).or_else(|| string_at(self.text, at))
    }

    /// What may be secret in the strings of an expression.
    fn in_expression(&self, start: usize) -> Vec<Range<usize>> {
        let mut secrets = Vec::new();
        let mut depth = usize::from(self.sign == "(");
        let mut at = start;
        while at < self.text.len() && at - start < LONGEST_LIST {
            let Some(c) = self.text[at..].chars().next() else { break };
            match c {
                '"' | '\'' | '`' | '\\' => {
                    if let Some(string) = string_at(self.text, at) {
                        let before = self.text[start..at].trim_end();
                        if !is_looked_up(before) {
                            secrets.extend(self.keep(string.inner.clone(), Shape::Argument));
                        }
                        at = string.end;
                        continue;
                    }
                }
                '(' | '[' => depth += 1,
                ')' | ']' if depth <= 1 => break,
                ')' | ']' => depth -= 1,
                '{' | '}' | ';' => break,
                ',' | '\n' if depth == 0 => break,
                _ => {}
            }
            at += c.len_utf8();
        }
        secrets
    }

    /// A value without quotes.
    fn bare(&self, start: usize) -> Option<Range<usize>> {
        let line_start = self.text[..self.name.start].rfind('\n').map_or(0, |at| at + 1);
        let before = self.text[line_start..self.name.start].trim();
        let opens = before.trim_end_matches(['"', '\'', '-', '*', '>', '/', '+', '#']).trim();
        let leads =
            matches!(opens, "" | "export" | "set" | "setenv" | "ENV" | "ARG" | "env" | "declare -x" | "$env:" | "-e");
        let line = self.text[start..].lines().next().unwrap_or_default();
        let is_tight = self.sign == "="
            && self.from == start
            && self.text[..self.from - 1].ends_with(|c: char| !c.is_whitespace());
        let value = if leads && !before.starts_with("--") {
            without_comment(line)
        } else {
            let end = line.find(|c: char| c.is_whitespace() || ";&,)}]\"'`<\\|".contains(c));
            &line[..end.unwrap_or(line.len())]
        };
        let after = line[value.len()..].trim_start().chars().next();
        let value = value.trim_end_matches([',', ';']).trim_end();
        let ends = if leads { line.trim_end().chars().next_back() } else { after };
        let is_statement = !is_tight && matches!(ends, Some(',' | ';' | ')' | '{' | '='))
            || !leads && !is_tight && !self.is_closed && !before.ends_with(['{', ',', '"', '\'', ';']);
        let is_argument = !leads && is_tight && matches!(after, Some(',' | ')'));
        self.keep(start..start + value.len(), Shape::Bare { is_statement: is_statement || is_argument })
    }

    /// Whether it is a secret.
    fn keep(&self, inner: Range<usize>, shape: Shape) -> Option<Range<usize>> {
        let value = &self.text[inner.clone()];
        if value.chars().count() < SHORTEST || stands_for_one(value) || is_code(value, shape) {
            return None;
        }
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b','));
        let is_secret = match self.sureness {
            Sureness::Perhaps => looks_drawn(value),
            Sureness::Secret if is_number => false,
            Sureness::Password if is_number && shape != Shape::String => value.len() >= 4,
            Sureness::Password | Sureness::Secret => !is_label(value, shape),
        };
        is_secret.then_some(inner)
    }
}

/// The string that begins right there: in quotes, in three, or in quotes that a string around it escapes.
fn string_at(text: &str, at: usize) -> Option<Quoted> {
    let rest = text.get(at..)?;
    let escapes = rest.len() - rest.trim_start_matches('\\').len();
    let quote = rest[escapes..].chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let one = quote.to_string();
    let three = one.repeat(3);
    let opening = match escapes {
        0 if rest.starts_with(&three) => three,
        _ => format!("{}{quote}", "\\".repeat(escapes)),
    };
    let inner = at + opening.len();
    let body = &text[inner..];
    let length = if escapes > 0 {
        body.lines().next().unwrap_or_default().find(&opening)
    } else if opening.len() == 3 {
        body.find(&opening)
    } else {
        closing(body, quote)
    }?;
    Some(Quoted { inner: inner..inner + length, end: inner + length + opening.len() })
}

/// Where a string ends; what is escaped does not end it.
fn closing(body: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '\n' if quote != '`' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// What stands before a string that names what is looked up: `getenv(`, `process.env[`.
fn is_looked_up(before: &str) -> bool {
    let Some(callee) = before.strip_suffix(['(', '[']) else { return false };
    let from = callee.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    let name = callee[from..].to_ascii_lowercase();
    let verbs = [
        "env", "get", "find", "read", "load", "require", "import", "fetch", "lookup", "input", "prompt", "param",
        "header",
    ];
    !name.is_empty() && (before.ends_with('[') || verbs.iter().any(|verb| name.contains(verb)))
}

fn without_comment(line: &str) -> &str {
    let marks = [" #", "\t#", " //", "\t//", " ;", "\t;", " /*"];
    let end = marks.iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
    line[..end].trim_end()
}
