//! Secrets are taken out of what is sent.
//!
//! Three ways, the surest first: formats that services give their keys (and private keys, and passwords in URLs), values
//! whose name says that they are secret, and values that look drawn at random. A value that only stands for one
//! (`${TOKEN}`, `process.env.TOKEN`, `your-key`) stays: it says something about the code. Too much masked costs a little
//! understanding, too little a key; nothing that is masked is kept or told, only how many they were.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Bits per character from which a text is taken to be drawn at random. Names and words of code have 3 to 3.7; base64 of
/// 24 random characters has 4.2.
const RANDOM_BITS: f64 = 4.0;

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

/// `scheme://user:password@`
static IN_URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]{3,})(@)").ok());

/// A name, a type where languages write one, a sign that gives it a value or compares it with one, and the value in quotes, or bare where the name is that of a variable of the
/// environment, or the line is one of YAML.
static ASSIGNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?m)(?P<name>[A-Za-z_][\w.-]*)(?P<sign>["']?\s*(?::\s*[&\w'<>| ]{1,40}=|:=|=>|!?={1,3}|:)\s*)"#,
        r#"(?:"(?P<double>[^"\n]{6,})"|'(?P<single>[^'\n]{6,})'|`(?P<tick>[^`\n]{6,})`|(?P<bare>[^\s"'`,;(){}\[\]]{8,})$)"#,
    ))
    .ok()
});

/// Names that say that their value is secret. The shorter words stand by themselves: a `tiktoken` is none.
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?:(?i:password|passwd|passphrase|secret|secret[_-]?key|credentials?)",
        r"|(?:^|[_.-])(?i:pass|pwd|token|(?:api|access|private|auth|encryption)[_-]?key)",
        r"|[a-z0-9](?:Pass|Pwd|Token|(?:Api|API|Access|Private|Auth|Encryption)_?Key))$",
    ))
    .ok()
});

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
    masked.replace(IN_URL.as_ref(), |found| {
        (!stands_for_one(&found[2])).then(|| format!("{}[masked: password]{}", &found[1], &found[3]))
    });
    masked.replace(ASSIGNED.as_ref(), assigned);
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
}

/// An assignment without its value, where that is a secret.
fn assigned(found: &Captures<'_>) -> Option<String> {
    let (name, sign) = (&found["name"], &found["sign"]);
    let (quote, value) = [("\"", "double"), ("'", "single"), ("`", "tick"), ("", "bare")]
        .into_iter()
        .find_map(|(quote, group)| Some((quote, found.name(group)?.as_str())))?;
    if stands_for_one(value) {
        return None;
    }
    let named = SECRET_NAME.as_ref().is_some_and(|pattern| pattern.is_match(name));
    let what = if named && (quote.is_empty() && is_plain_secret(value) || !quote.is_empty() && is_one_word(value)) {
        if name.to_ascii_lowercase().contains("pass") || name.to_ascii_lowercase().contains("pwd") {
            "password"
        } else {
            "secret"
        }
    } else if !quote.is_empty() && looks_random(value) {
        "secret"
    } else {
        return None;
    };
    Some(format!("{name}{sign}{quote}[masked: {what}]{quote}"))
}

/// A reference to a secret, or an example of one.
fn stands_for_one(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let starts = [
        "$",
        "{{",
        "<",
        "%",
        "[masked",
        "process.env",
        "os.environ",
        "env.",
        "env:",
        "file:",
        "your",
        "my-",
        "sha256-",
        "sha384-",
        "sha512-",
        "sha256:",
    ];
    let holds = ["${", "{{", "example", "placeholder", "changeme", "change-me", "xxxx", "****", "...", "…"];
    starts.iter().any(|word| lower.starts_with(word)) || holds.iter().any(|word| lower.contains(word))
}

/// Not a sentence.
fn is_one_word(value: &str) -> bool {
    !value.contains(char::is_whitespace)
}

/// Without quotes only what no code looks like: nothing of a path, a call or a type, and a digit in it.
fn is_plain_secret(value: &str) -> bool {
    is_one_word(value)
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_')
        && !value.contains("::")
        && !value.contains("->")
}

/// Drawn at random, by its characters: both cases and digits in it, and no character much more often than the others.
fn looks_random(value: &str) -> bool {
    let is_token =
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-'));
    let has = |kind: fn(&u8) -> bool| value.bytes().any(|byte| kind(&byte));
    value.len() >= 24
        && is_token
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && value.bytes().filter(u8::is_ascii_digit).count() >= 2
        && bits_per_character(value) >= RANDOM_BITS
}

/// Shannon's entropy.
fn bits_per_character(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As random as a test may be: the same every time. Made here, so that nobody who looks for keys in this repository
    /// finds one.
    fn drawn(length: usize, alphabet: &str) -> String {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet: Vec<_> = alphabet.chars().collect();
        (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect()
    }

    fn letters(length: usize) -> String {
        drawn(length, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    }

    #[test]
    fn every_pattern_is_one() {
        assert!(KNOWN.iter().all(|(_, pattern)| pattern.is_some()), "of a format");
        assert!(IN_URL.is_some() && ASSIGNED.is_some() && SECRET_NAME.is_some());
    }

    #[test]
    fn keys_are_known_by_their_formats() {
        let upper = drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
        for (key, name) in [
            (format!("AKIA{upper}"), "AWS key"),
            (format!("ghp_{}", letters(36)), "GitHub token"),
            (format!("github_pat_{}_{}", letters(22), letters(40)), "GitHub token"),
            (format!("glpat-{}", letters(20)), "GitLab token"),
            (format!("sk-proj-{}", letters(48)), "API key"),
            (format!("sk-ant-api03-{}", letters(80)), "API key"),
            (format!("gsk_{}", letters(52)), "API key"),
            (format!("hf_{}", letters(34)), "API key"),
            (format!("AIza{}", letters(35)), "Google key"),
            (format!("xoxb-{}-{}", letters(11), letters(24)), "Slack token"),
            (format!("sk_live_{}", letters(24)), "API key"),
            (format!("rk_live_{}", letters(24)), "Stripe key"),
            (format!("npm_{}", letters(36)), "npm token"),
            (format!("SG.{}.{}", letters(22), letters(43)), "SendGrid key"),
            (format!("eyJ{}.eyJ{}.{}", letters(20), letters(30), letters(43)), "signed token"),
        ] {
            for text in [format!("curl -H 'x: {key}'"), key.clone(), format!("// {key}\nnext")] {
                let masked = mask(&text);
                assert_eq!(masked.count, 1, "{text}");
                assert!(masked.text.contains(&format!("[masked: {name}]")), "{}", masked.text);
                assert!(!masked.text.contains(&key), "{}", masked.text);
            }
        }
    }

    #[test]
    fn a_private_key_is_masked_whole_even_when_its_end_is_missing() {
        let begin = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
        let end = format!("-----END RSA {} KEY-----", "PRIVATE");
        let body = letters(64);
        let whole = mask(&format!("a\n{begin}\n{body}\n{end}\nb")).text.into_owned();
        assert_eq!(whole, "a\n[masked: private key]\nb");
        assert_eq!(mask(&format!("a\n{begin}\n{body}")).text, "a\n[masked: private key]");
    }

    #[test]
    fn a_name_says_that_its_value_is_secret() {
        for text in [
            "const password = \"hunter22\"",
            "PASSWORD='s3cretly'",
            "\"apiKey\": \"abcdef123\"",
            "db.passwd := `opensesame`",
            "export DB_PASSWORD=hunter2222",
            "client_secret: abcd1234efgh",
            "ACCESS_TOKEN=\"abcdefgh\"",
            "const PASSWORD: &'static str = \"hunter22\";",
            "let token: string = 'abcdefgh'",
            "sessionToken: 'abcdefgh'",
            "config.openaiApiKey = 'abcdefgh'",
            "if (password === \"hunter22\") {",
        ] {
            let masked = mask(text);
            assert_eq!(masked.count, 1, "{text}");
        }
        let url = mask("postgres://app:hunter22@db/prod");
        assert_eq!(url.text, "postgres://app:[masked: password]@db/prod");
    }

    #[test]
    fn what_only_stands_for_a_secret_stays() {
        for text in [
            "api_key: \"${OPENAI_API_KEY}\"",
            "const token = process.env.TOKEN_OF_THIS",
            "password = \"<your password>\"",
            "api_key = 'your-key-here'",
            "let token = next_token();",
            "MAX_TOKENS=4096000000",
            "postgres://app:${DB_PASSWORD}@db/prod",
            "password: 'Enter your password'",
            "let api_key = config::read_key2::<Key>",
            "pub struct Token { text: String }",
            "\"tiktoken\": \"1.0.22-beta\"",
            "integrity = \"sha512-AbCdEf0123456789AbCdEf0123456789xyz\"",
            "let name = \"a_perfectly_ordinary_identifier_v2\"",
        ] {
            let masked = mask(text);
            assert_eq!((masked.count, &*masked.text), (0, text));
        }
    }

    #[test]
    fn a_random_value_is_masked_whatever_its_name() {
        let value = drawn(40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
        assert_eq!(mask(&format!("salt = \"{value}\"")).text, "salt = \"[masked: secret]\"");
    }

    #[test]
    fn masking_twice_masks_nothing_more() {
        let text = format!("password = \"hunter22\"\nkey: sk-{}", letters(40));
        let once = mask(&text).text.into_owned();
        assert_eq!(mask(&once).count, 0, "{once}");
    }
}
