//! Secrets are taken out of what is sent.
//!
//! Four ways, the surest first: formats that services give their keys (and private keys), places where secrets stand (a URL,
//! a header, an option of a command), values whose name says that they are secret, and values that look drawn at random. A
//! value that only stands for one (`${TOKEN}`, `process.env.TOKEN`, `your-key`) stays: it says something about the code. Too much masked costs a little
//! understanding, too little a key; nothing that is masked is kept or told, only how many they were.

mod named;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use self::named::{Sureness, named, sureness};
use self::value::{Shape, changes, is_code, is_hex_key, looks_drawn, looks_random, stands_for_one};

/// The formats of keys, and what stands for one that was taken out. The source of each is its service's own documentation
/// of its keys, or the keys themselves.
const FORMATS: &[(&str, &str)] = &[
    (
        "private key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    ("AWS key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("GitLab token", r"\bgl(?:pat|dt|rt|soat)-[A-Za-z0-9_-]{20,}"),
    ("API key", r"\b(?:sk|gsk|xai|pplx|csk|fw|nvapi|tgp_v1|r8|hf)[-_][A-Za-z0-9_-]{20,}"),
    ("Google key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("Google token", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    ("Slack token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("Slack address", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}"),
    ("Stripe key", r"\b[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("PyPI token", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("signed token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
];

static KNOWN: LazyLock<Vec<(&str, Option<Regex>)>> =
    LazyLock::new(|| FORMATS.iter().map(|(name, pattern)| (*name, Regex::new(pattern).ok())).collect());

/// Secrets by where they stand: what comes before one, it itself, and what follows.
const PLACES: &[(&str, &str)] = &[
    // scheme://user:password@host; a password may hold an `@`, and then the last one ends it.
    ("password", r#"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'`<>]*:)(?P<secret>[^\s/"'`<>]+)(?P<after>@)"#),
    ("token", r#"(?P<before>\b[a-z][a-z0-9+.-]*://)(?P<secret>[A-Za-z0-9_.-]*[0-9][A-Za-z0-9_.-]{11,})(?P<after>@)"#),
    (
        "secret",
        r#"(?i)(?P<before>\bauthorization\\*["'`]?\s*[:=,]\s*\\*["'`]?(?:[A-Za-z-]+[ \t]+)?)(?P<secret>[A-Za-z0-9._~+/=:-]{6,})"#,
    ),
    (
        "secret",
        r"(?i)(?P<before>\b(?:bearer|basic)[ \t]+)(?P<secret>[A-Za-z0-9._~+/-]*(?:[0-9][A-Za-z0-9._~+/-]{7,}|={1,2}))",
    ),
    // <password>…</password>, and the same in two elements.
    ("secret", r"<(?P<name>[A-Za-z_][\w.:-]*)(?P<before>[^<>]*>\s*)(?P<secret>[^<>]{3,})(?P<after></)"),
    ("secret", r"<key>(?P<name>[\w.-]+)(?P<before></key>\s*<string>)(?P<secret>[^<>]{3,})(?P<after></)"),
    // name: DB_PASSWORD, value: …
    (
        "secret",
        concat!(
            r#"(?:[Nn]ame|[Kk]ey|NAME|variable)["']?\s*[:= ]\s*["']?(?P<name>[A-Za-z_][\w.-]*)"#,
            r#"(?P<before>["']?[\s,{]*["']?(?:[Vv]alue|VALUE|default)["']?\s*[:=]\s*["']?)(?P<secret>[^"'\s,}]{3,})"#,
        ),
    ),
    // --password …, and what tools take before a password.
    ("secret", r#"--?(?P<name>[A-Za-z][\w-]*)(?P<before>[ \t]+["']?)(?P<secret>[^\s"'-][^\s"']{2,})"#),
    ("password", r#"(?P<before>(?m:^|[ \t])(?:-u|--user)[ \t=]+["']?[^\s:"'/]+:)(?P<secret>[^\s"']{3,})"#),
    ("password", r#"(?P<before>\bmysql\w*\b[^\n]*?[ \t]-p)(?P<secret>[^\s"']{3,})"#),
    // machine … login … password …; ENV DB_PASSWORD …
    ("password", r"(?P<before>\b(?:login|user|account)[ \t]+\S+\s+passw(?:or)?d[ \t]+)(?P<secret>\S{3,})"),
    (
        "secret",
        r#"(?m)^[ \t]*(?:(?:ENV|ARG|env|set|setenv|SetEnv|export)[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)(?P<before>[ \t]+["']?)(?P<secret>[^\s"'=:({][^\s"']{2,})["']?[ \t]*\r?$"#,
    ),
];

static KNOWN_PLACES: LazyLock<Vec<(&str, Option<Regex>)>> =
    LazyLock::new(|| PLACES.iter().map(|(what, pattern)| (*what, Regex::new(pattern).ok())).collect());

/// A value in quotes, or after a sign, with the name before it where there is one.
static VALUE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?P<name>[A-Za-z_][\w.-]*)?(?P<before>["']?\s*[:=,>]*\s*["'`])(?P<secret>[A-Za-z0-9+/=_-]{24,})(?P<after>["'`])|(?P<bname>[A-Za-z_][\w.-]*)(?P<bbefore>[ \t]*[:=][ \t]*)(?P<bsecret>[A-Za-z0-9+/=_-]{24,})"#).ok()
});

/// What is random and no secret, by its name.
static IS_DIGEST: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)sha|hash|digest|checksum|commit|revision|\brev\b|md5|integrity|etag").ok());

/// A text without its secrets.
#[derive(Debug, PartialEq, Eq)]
pub struct Masked<'a> {
    pub text: Cow<'a, str>,
    /// How many were taken out.
    pub count: u64,
}

/// Takes the secrets out of a text.
///
/// ```
/// use llmpool::analysis::mask;
/// let masked = mask("let password = \"correct-horse-battery\";");
/// assert_eq!((&*masked.text, masked.count), ("let password = \"[masked: password]\";", 1));
/// ```
pub fn mask(text: &str) -> Masked<'_> {
    let mut masked = Masked { text: Cow::Borrowed(text), count: 0 };
    for (name, format) in KNOWN.iter() {
        masked.replace(format.as_ref(), |_| Some(format!("[masked: {name}]")));
    }
    for (what, place) in KNOWN_PLACES.iter() {
        masked.replace(place.as_ref(), |found| placed(what, found));
    }
    masked.cut(&named(&masked.text));
    masked.replace(VALUE.as_ref(), random);
    masked
}

impl Masked<'_> {
    fn replace(&mut self, pattern: Option<&Regex>, with: impl Fn(&Captures<'_>) -> Option<String>) {
        let Some(pattern) = pattern else { return };
        let mut count = 0;
        let replaced = pattern.replace_all(&self.text, |found: &Captures<'_>| match with(found) {
            Some(text) => {
                count += 1;
                text
            }
            None => found[0].to_owned(),
        });
        if count > 0 {
            self.text = Cow::Owned(replaced.into_owned());
            self.count += count;
        }
    }

    /// Without these parts, in order.
    fn cut(&mut self, parts: &[(Range<usize>, &str)]) {
        if parts.is_empty() {
            return;
        }
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for (part, what) in parts {
            text.push_str(&self.text[from..part.start]);
            text.push_str(&format!("[masked: {what}]"));
            from = part.end;
        }
        text.push_str(&self.text[from..]);
        self.text = Cow::Owned(text);
        self.count += parts.len() as u64;
    }
}

/// A secret that is one by its place, and by its name where the place has one.
fn placed(what: &str, found: &Captures<'_>) -> Option<String> {
    let secret = found.name("secret")?;
    let value = secret.as_str();
    let sure = match found.name("name") {
        Some(name) => sureness(name.as_str())?,
        None => Sureness::Secret,
    };
    let is_named = found.name("name").is_some();
    let is_word = is_named && is_code(value, Shape::Bare { is_statement: false });
    if value.contains("[masked") || stands_for_one(value) || is_word || sure == Sureness::Perhaps && !looks_drawn(value)
    {
        return None;
    }
    let what = if sure == Sureness::Password { "password" } else { what };
    Some(around(found, secret.range(), what))
}

/// A value that looks drawn at random, whatever its name.
fn random(found: &Captures<'_>) -> Option<String> {
    let is_bare = found.name("bsecret").is_some();
    let secret = found.name("secret").or_else(|| found.name("bsecret"))?;
    let name = found.name("name").or_else(|| found.name("bname")).map_or("", |name| name.as_str());
    let value = secret.as_str();
    let is_digest = IS_DIGEST.as_ref().is_some_and(|pattern| pattern.is_match(name));
    let is_random = looks_random(value) && (!is_bare || changes(value) * 5 >= value.len() * 2) || is_hex_key(value);
    (!is_digest && is_random && !stands_for_one(value)).then(|| around(found, secret.range(), "secret"))
}

/// What was found, without the secret in it.
fn around(found: &Captures<'_>, secret: Range<usize>, what: &str) -> String {
    let (whole, start) = (&found[0], found.get(0).map_or(0, |whole| whole.start()));
    format!("{}[masked: {what}]{}", &whole[..secret.start - start], &whole[secret.end - start..])
}
