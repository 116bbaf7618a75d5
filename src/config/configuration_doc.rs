//! `docs/configuration.md`, written from the keys the pool reads and from what it says when they are wrong.
//! `UPDATE_DOCS=1 cargo test configuration_doc` writes it; the same test fails when it is stale.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::raw::{RawConfig, RawSettings};
use super::schema::{below, needed, says, words};
use super::section::{Read as _, join};
use super::shape::{Key, Section, Shape};
use super::{Config, Document, Environment, Format, Settings, Source};
use crate::error::{Error, ErrorKind};

const HEAD: &str = "\
# Configuration

This page is written from the keys that the pool reads (`src/config/raw.rs`) and from what it says when they are wrong;
edit those, then run `UPDATE_DOCS=1 cargo test configuration_doc`.

A pool is told what it is by one source. A file is JSON with comments, YAML 1.2 or TOML, by its extension:

```jsonc
{
  \"$schema\": \"./node_modules/llmpool/schema/config.schema.json\", // editors complete and check by it
  \"providers\": [{ \"name\": \"main\", \"type\": \"openai\", \"model\": \"gpt-4o\", \"api_key\": \"${OPENAI_API_KEY}\" }]
}
```

```yaml
# yaml-language-server: $schema=./node_modules/llmpool/schema/config.schema.json
providers:
  - { name: main, type: openai, model: gpt-4o, api_key: \"${OPENAI_API_KEY}\" }
```

```toml
#:schema ./node_modules/llmpool/schema/config.schema.json
[[providers]]
name = \"main\"
type = \"openai\"
model = \"gpt-4o\"
api_key = \"${OPENAI_API_KEY}\"
```

Longer ones are in `examples/`. The schema is `require.resolve('llmpool/schema.json')`. YAML is read without anchors and
tags; TOML has no `null`, so that \"no limit\" is written as a number large enough there.

Everything is checked before anything is used, and every problem is told at once, with its path, line and column. A key
that is not listed here is an error. Precedence: option of a call, then option of the constructor, then the
configuration, then the default. Times are milliseconds unless the key ends in `_s`. **Zero is a value, never \"unset\"**;
`null` is \"no limit\" for a limit that has a default, and the same as leaving the key out elsewhere.

## Secrets

Any text of a configuration may refer to one:

| text | becomes |
|---|---|
| `${VAR}` | the environment variable, also when it is empty; an error when it is not set |
| `${VAR:-text}` | the variable, or `text` when it is not set or empty |
| `${file:/run/secrets/key}` | what the file holds (at most 64 KiB), without the line break at its end |
| `$${` | `${` itself |

What comes in is taken as it is and never expanded again. Keys, headers and proxies are shown nowhere: not in events,
errors, statistics or logs.

## Changing it while it runs

`pool.reload(config)` puts an object in force, `pool.reload()` what the source holds now. It is checked whole and swapped
in one step; what is wrong changes nothing. Calls under way end as they began. A provider whose limits, breaker, keys and
address stay the same keeps all that was counted. One whose limits are changed begins its minute anew and goes on with its
day, also when it was taken out for a while; totals and cost are never lost.

A file is watched: written over, replaced by a rename, deleted and put back, or behind a link that is swapped (as
Kubernetes does). Its folder tells when something happens, and 200 ms after the last of it the file is read. Where a file
system tells nothing, and for secrets in files of their own, it is read every `checkInterval`, too. So is a single file
that is bind-mounted into a container: what is written into it outside tells nothing inside, and one that is renamed over
it outside is another file, which the mount does not show. Mount its folder.

A URL is asked every `checkInterval`, with `If-None-Match`. It has 10 s and 16 MiB; redirects are not followed, so that
`configHeaders` go nowhere else. After a failure it is asked again within a second, then less and less often, down to
`checkInterval`. A configuration from a URL reads only the variables of `configUrlEnv`, and no file. With `configCache`
the last one in force is kept on disk and stands in when a start cannot reach the server.

`addProvider`, `removeProvider`, `setProviderPriority` and `setProviderEnabled` lie over the configuration and survive
its reloads; only a provider that was added yields to one of its name in the configuration. A mark of `markError` is part
of what was counted: it goes on over a reload that leaves the provider's limits, breaker, keys and address alone.

What changed is told by `configChanged` (the configuration, every secret masked) and `providersUpdated`; a configuration
that could not be used, by `error`, once. `getStats()` has `configVersion`, which counts the changes, and
`configChecksum`, the SHA-256 of the text in force.

## What outlives the process

With `statsFile` the totals of the pool and of every provider, tokens and cost included, go on where the process before
stopped. The file is replaced whole every `saveStatsInterval`, by `saveStats()` and at a shutdown. It belongs to one pool:
an OS lock on a file beside it (`.lock`) keeps a second one out, and goes with its process. A file that cannot be read is
set aside as `.damaged`, with a warning, and counting begins anew. What providers have used of their day goes on as well,
by name, as long as it is the same day in their `day_timezone`; it is counted only while the provider has a limit for the
day, so what was asked before one is set is not in it. The minute and the breakers begin anew with every process.
";

/// Configurations that are wrong, and why one would write them. What the pool says of them is in the documentation.
fn mistakes() -> Vec<(&'static str, Wrong)> {
    let provider = |changes: Value| {
        let mut provider = json!({ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k" });
        let (Value::Object(map), Value::Object(changes)) = (&mut provider, changes) else { panic!("objects") };
        for (key, value) in changes {
            if value == json!("—") {
                map.remove(&key)
            } else {
                map.insert(key, value)
            };
        }
        Wrong::Object(json!({ "providers": [provider] }))
    };
    let pool = |section: &str, value: Value| {
        let provider = json!({ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k" });
        Wrong::Object(json!({ "providers": [provider], section: value }))
    };
    vec![
        ("a file that is not there", Wrong::File("no-such-file.json", None)),
        ("a file with nothing in it", Wrong::File("empty.yaml", Some(""))),
        ("a comma that is missing", Wrong::File("config.json", Some("{\n  \"providers\": []\n  \"qos\": {}\n}"))),
        (
            "a line that is indented too far",
            Wrong::File("config.yaml", Some("qos:\n  max_deadline_ms: 5\n   max_prompt_bytes: 5\n")),
        ),
        ("an anchor", Wrong::File("config.yaml", Some("routing: &all\n  max_retries: 1\n"))),
        ("a text without quotes", Wrong::File("config.toml", Some("[[providers]]\nname = main\n"))),
        ("a key set twice", Wrong::File("config.yaml", Some("qos:\n  max_deadline_ms: 5\n  max_deadline_ms: 6\n"))),
        ("no providers", Wrong::Object(json!({}))),
        ("an empty list of them", Wrong::Object(json!({ "providers": [] }))),
        ("a slip in a key", provider(json!({ "prioritiy": 2 }))),
        ("a key of another section", provider(json!({ "max_retries": 2 }))),
        ("a slip in a section", pool("routng", json!({}))),
        ("a slip in a type", provider(json!({ "type": "opnai" }))),
        (
            "a name twice",
            Wrong::Object(json!({ "providers": [
            { "name": "a", "model": "m" }, { "name": "a", "model": "m" }] })),
        ),
        ("no model", provider(json!({ "model": "—" }))),
        ("no type, where it is needed", provider(json!({ "type": "—" }))),
        ("no key, where it is needed", provider(json!({ "api_key": "—" }))),
        ("an empty key", provider(json!({ "api_key": "" }))),
        ("a key with more around it", provider(json!({ "api_key": "Bearer k" }))),
        ("a key and keys", provider(json!({ "api_keys": ["l"] }))),
        ("a key twice", provider(json!({ "api_key": "—", "api_keys": ["k", "k"] }))),
        ("an empty list of keys", provider(json!({ "api_key": "—", "api_keys": [] }))),
        ("a variable that is not set", provider(json!({ "api_key": "${OPENAI_KEY}" }))),
        ("a reference that is not closed", provider(json!({ "api_key": "${OPENAI_KEY" }))),
        ("a reference that is none", provider(json!({ "api_key": "${my key}" }))),
        ("a secret's file that is not there", provider(json!({ "api_key": "${file:/run/secrets/none}" }))),
        ("a secret's file by a relative path", provider(json!({ "api_key": "${file:secrets/key}" }))),
        ("a number as text", provider(json!({ "priority": "first" }))),
        ("a number below zero", provider(json!({ "requests_per_minute": -5 }))),
        ("a time with a fraction", provider(json!({ "timeout": 1.5 }))),
        ("a list of models", provider(json!({ "models": ["gpt-4o"] }))),
        ("an address that is none", provider(json!({ "base_url": "api.openai.com" }))),
        ("plain HTTP to another machine", provider(json!({ "base_url": "http://10.0.0.7/v1" }))),
        ("no address, where it is needed", provider(json!({ "type": "openai-compatible" }))),
        ("a setting of another type", provider(json!({ "deployment": "d" }))),
        ("a header that HTTP cannot carry", provider(json!({ "headers": { "x y": "1" } }))),
        ("a proxy of another kind", provider(json!({ "proxy": "ftp://proxy:21" }))),
        ("a price that is too high to be one", provider(json!({ "input_token_price": 5000, "output_token_price": 1 }))),
        ("an unknown policy", provider(json!({ "unsupported_params": "eror" }))),
        ("an unknown behaviour", pool("routing", json!({ "behaviour": "random" }))),
        ("backoff that shrinks", pool("routing", json!({ "backoff_multiplier": 0.5 }))),
        ("a ratio above one", pool("routing", json!({ "breaker": { "failure_ratio": 2 } }))),
    ]
}

enum Wrong {
    Object(Value),
    /// A file's name and text; without a text it does not exist.
    File(&'static str, Option<&'static str>),
}

fn render() -> String {
    let mut doc = HEAD.to_owned();
    doc.push_str("\n## Constructor options\n\n| option | what | |\n|---|---|---|\n");
    let Shape::Section(options) = RawSettings::shape() else { panic!("an object") };
    options.keys.iter().for_each(|option| row(option, "", &mut doc));
    section("", RawConfig::shape(), &mut doc);
    doc.push_str("\n## What is said when it is wrong\n\n| written | the pool says |\n|---|---|\n");
    for (why, wrong) in mistakes() {
        for problem in problems(&wrong) {
            let _ = writeln!(doc, "| {why} | `{}` |", problem.replace('|', "\\|"));
        }
    }
    doc
}

/// The table of a section, then those of the sections below it.
fn section(path: &str, shape: Shape, doc: &mut String) {
    let Shape::Section(Section { about, keys }) = shape else { return };
    let title = if path.is_empty() { "The top level".to_owned() } else { format!("`{path}`") };
    let _ = writeln!(doc, "\n## {title}\n");
    about.lines().for_each(|line| doc.extend([line.trim(), "\n"]));
    let _ = write!(doc, "{}| key | what | |\n|---|---|---|\n", if about.is_empty() { "" } else { "\n" });
    keys.iter().for_each(|key| row(key, path, doc));
    for key in *keys {
        let inner = match (key.shape)() {
            Shape::List(item) | Shape::Dict(item) => item(),
            shape => shape,
        };
        let inner = match inner {
            Shape::Either(_, parts) => parts(),
            inner => inner,
        };
        section(&below(path, key), inner, doc);
    }
}

fn row(key: &Key, path: &str, doc: &mut String) {
    let words = words(&below(path, key)).filter(|words| words.len() <= 8);
    let what = match words {
        Some(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        None => what((key.shape)()),
    };
    let required = if needed(path).contains(&key.name) { "**required**, " } else { "" };
    let _ = writeln!(doc, "| `{}` | {required}{what} | {} |", key.name, says(key).replace('|', "\\|"));
}

fn what(shape: Shape) -> String {
    match shape {
        Shape::Bool => "true or false".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::Whole { .. } => "whole number".to_owned(),
        Shape::WholeOr { word } => format!("whole number or `{word}`"),
        Shape::Text => "text".to_owned(),
        Shape::Hidden => "text, kept secret".to_owned(),
        Shape::List(item) => format!("list: {}", what(item())),
        Shape::Dict(item) => format!("object: name → {}", what(item())),
        Shape::Section(_) => "object, see below".to_owned(),
        Shape::Either(plain, parts) => format!("{}, or {}", what(plain()), what(parts())),
        Shape::Object => "object".to_owned(),
    }
}

/// What is said of it. A file is read as its name says.
fn problems(wrong: &Wrong) -> Vec<String> {
    let settings = Settings::new(Source::Inline(Value::Null));
    let environment = Environment::from_map::<String, String>([]);
    let document = match wrong {
        Wrong::Object(value) => Ok(Document::object(value.clone())),
        Wrong::File(name, Some(text)) => Document::parse((*text).to_owned(), Format::of_path(name.as_ref())),
        Wrong::File(name, None) => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(Document::read(name.as_ref()))
        }
    };
    let error = document
        .map_err(Error::configuration)
        .and_then(|document| Config::of(&document, &environment, &settings))
        .expect_err("a mistake");
    let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error:?}") };
    problems.iter().map(ToString::to_string).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
fn configuration_doc_is_what_the_pool_reads_and_says() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "configuration.md"].iter().collect();
    let fresh = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/configuration.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/configuration.md is stale; UPDATE_DOCS=1 cargo test configuration_doc writes it");
}

/// Words that only some texts may be: each of them is in the schema, and nothing else is taken.
#[test]
fn a_text_that_takes_only_some_words_lists_them() {
    fn walk(path: &str, shape: Shape, found: &mut Vec<(String, Key)>) {
        let Shape::Section(section) = shape else { return };
        for key in section.keys {
            match (key.shape)() {
                Shape::Text => found.push((path.to_owned(), Key { ..*key })),
                Shape::List(item) => walk(&below(path, key), item(), found),
                shape => walk(&below(path, key), shape, found),
            }
        }
    }
    let mut texts = Vec::new();
    walk("", RawConfig::shape(), &mut texts);
    assert!(texts.len() > 8);
    for (path, key) in texts {
        let mut provider = json!({ "name": "a", "type": "openai", "model": "m", "api_key": "k" });
        let mut config = json!({});
        match path.as_str() {
            "providers[]" => provider[key.name] = json!("no-such-word"),
            "failures[]" => {
                config["failures"] = json!([{ "status": 418, "class": "auth" }]);
                config["failures"][0][key.name] = json!("no-such-word");
            }
            "providers[].budget" => provider["budget"] = json!({ key.name: "no-such-word" }),
            "tenants[]" => config["tenants"] = json!([{ key.name: "no-such-word" }]),
            "tenants[].budget" => config["tenants"] = json!([{ "id": "a", "budget": { key.name: "no-such-word" } }]),
            "" => config[key.name] = json!("no-such-word"),
            path => {
                let wrong = json!({ key.name: "no-such-word" });
                config = path.rsplit('.').fold(wrong, |inner, name| match name.strip_suffix("[]") {
                    Some(list) => json!({ list: [inner] }),
                    None => json!({ name: inner }),
                });
            }
        }
        config["providers"] = json!([provider]);
        let settings = Settings::new(Source::Inline(Value::Null));
        let result = Config::load_value(&config, &Environment::from_map::<String, String>([]), &settings);
        let said = result.map_or_else(|error| error.to_string(), |_| String::new());
        let path = join(&path, key.name);
        let listed = said.contains("no-such-word") && said.contains("expected");
        assert_eq!(listed, words(&path).is_some(), "{path}: {said}");
    }
}
