//! What is read, what is refused, and where it stands, in every format.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str) -> Result<Value, Vec<Problem>> {
    read(text, Format::Json)
}

#[test]
fn comments_trailing_commas_and_a_byte_order_mark_are_read_over() {
    let text =
        "\u{FEFF}{ // one\n \"a\": [1, 2.5, -3e2,], /* two */ \"b\": { \"c\": null, \"ü\": \"\\u00fc // x\" }, }";
    assert_eq!(parse(text), Ok(json!({ "a": [1, 2.5, -300.0], "b": { "c": null, "ü": "ü // x" } })));
}

#[test]
fn a_syntax_error_has_its_place_and_nothing_of_the_text() {
    for (text, place) in [
        ("{\n  \"api_key\": sk-secret\n}", "(line 2, column 14)"),
        ("{ \"a\": \"sk-secret", "(line 1, column 8)"),
        ("{ \"a\": \"\\q sk-secret\" }", "(line 1, "),
        ("{ 'a': 1 }", "(line 1, column 3)"),
        ("{ \"a\": 1 \"b\": 2 }", "(line 1, "),
        ("{ \"a\": 0x10 }", "(line 1, "),
        ("{ a: 1 }", "(line 1, column 3)"),
        ("{} {}", "(line 1, column 4)"),
        ("{ \"a\": 1", "(line 1, column 1)"),
    ] {
        let problems = parse(text).expect_err(text);
        let [Problem { path, message }] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(path.is_empty() && message.contains(place) && !message.contains("secret"), "{text}: {message}");
    }
}

#[test]
fn nothing_but_comments_is_empty() {
    for text in ["", "  \n", "// only this"] {
        assert!(parse(text).expect_err("empty")[0].message.contains("empty"), "{text:?}");
    }
}

#[test]
fn every_key_that_is_set_twice_is_named() {
    let text = "{ \"a\": 1, \"a\": 2,\n  \"l\": [{ \"b\": 1 }, { \"b\": 1, \"b\": \"sk-secret\" }] }";
    let problems = parse(text).expect_err("twice");
    assert_eq!(problems[0].to_string(), "a: this key is set twice (line 1, column 11)");
    assert_eq!(problems[1].to_string(), "l[1].b: this key is set twice (line 2, column 31)");
}

#[test]
fn a_number_beyond_representation_is_refused() {
    assert_eq!(parse("{ \"a\": 1e999 }").expect_err("too large")[0].path, "a");
}

#[test]
fn depth_is_bounded() {
    let text = "[".repeat(100_000);
    assert!(parse(&text).expect_err("deep")[0].message.contains("depth"));
}

#[test]
fn a_path_is_found_in_the_text() {
    let text = "{\n  // ü\n  \"ü\": 1, \"l\": [\n    { \"odd key\": 1 } ] }";
    let problem = |path: &str| Problem { path: path.to_owned(), message: String::new() };
    let mut problems = [&join("l[0]", "odd key"), "l[0]", "l[0].gone.too", "ü", "gone", ""].map(problem);
    Document::parse(text.to_owned(), Format::Json).expect("valid").locate(&mut problems);
    assert_eq!(
        problems.map(|problem| problem.to_string()),
        [
            "gone: ",
            "",
            "ü:  (line 3, column 3)",
            "l[0]:  (line 4, column 5)",
            "l[0].gone.too:  (line 4, column 5)",
            "l[0][\"odd key\"]:  (line 4, column 7)",
        ]
    );
}
// === all formats alike ===

const ONE_VALUE: [(Format, &str); 3] = [
    (
        Format::Json,
        r#"{ "providers": [{ "name": "a", "priority": 2, "enabled": true, "models": { "x y": "z" } }], "n": 1.5, "big": 1e3 }"#,
    ),
    (
        Format::Yaml,
        "# how it is done here\nproviders:\n  - name: a\n    priority: 2\n    enabled: true\n    models:\n      \"x y\": 'z'\nn: 1.5\nbig: 1e3\n",
    ),
    (
        Format::Toml,
        "# how it is done here\nn = 1.5\nbig = 1e3\n\n[[providers]]\nname = \"a\"\npriority = 2\nenabled = true\n[providers.models]\n\"x y\" = 'z'\n",
    ),
];

#[test]
fn every_format_gives_the_same_value() {
    let expected = json!({
        "providers": [{ "name": "a", "priority": 2, "enabled": true, "models": { "x y": "z" } }], "n": 1.5, "big": 1e3
    });
    for (format, text) in ONE_VALUE {
        assert_eq!(read(text, format).as_ref(), Ok(&expected), "{format:?}");
        assert_eq!(read(&format!("\u{FEFF}{text}"), format).as_ref(), Ok(&expected), "{format:?} with a mark");
    }
}

#[test]
fn a_path_is_found_in_every_format() {
    let places = |format, text: &str| {
        let paths = ["providers[0]", "providers[0].priority", "providers[0].models[\"x y\"]", "n", "providers[0].gone"];
        let mut problems = paths.map(|path| Problem { path: path.to_owned(), message: String::new() });
        Document::parse(text.to_owned(), format).expect("valid").locate(&mut problems);
        let mut said = problems.map(|problem| problem.to_string());
        said.sort();
        said
    };
    assert_eq!(
        places(Format::Yaml, ONE_VALUE[1].1),
        [
            "n:  (line 8, column 1)",
            "providers[0].gone:  (line 3, column 5)",
            "providers[0].models[\"x y\"]:  (line 7, column 7)",
            "providers[0].priority:  (line 4, column 5)",
            "providers[0]:  (line 3, column 5)",
        ]
    );
    assert_eq!(
        places(Format::Toml, ONE_VALUE[2].1),
        [
            "n:  (line 2, column 1)",
            "providers[0].gone:  (line 5, column 1)",
            "providers[0].models[\"x y\"]:  (line 10, column 1)",
            "providers[0].priority:  (line 7, column 1)",
            "providers[0]:  (line 5, column 1)",
        ]
    );
}

#[test]
fn a_syntax_error_has_its_place_in_every_format() {
    for (format, text, place) in [
        (Format::Yaml, "a: 1\nb: [1, 2\nc: sk-secret", "(line "),
        (Format::Yaml, "a: 1\n b: sk-secret: x", "(line 2, "),
        (Format::Yaml, "a: \"sk-secret", "(line "),
        (Format::Yaml, "a: \"\\q sk-secret\"", "(line 1, "),
        (Format::Yaml, "a:\n\t- sk-secret", "(line 2, "),
        (Format::Yaml, "a: &x sk-secret", "anchors and aliases are not read; write the value out (line 1, column 4)"),
        (Format::Yaml, "a: 1\nb: *a", "(line 2, column 4)"),
        (Format::Yaml, "a: &x [1]\nb: 2", "anchors"),
        (Format::Yaml, "<<: { a: 1 }", "merge keys are not read; write the keys out (line 1, column 1)"),
        (Format::Yaml, "a: !secret sk-secret", "tags are not read (line 1, column 4)"),
        (Format::Yaml, "a: 1\n---\nb: 2", "there is more than one document in it (line 2, column 1)"),
        (Format::Yaml, "[1, 2]: x", "a key must be a plain text (line 1, column 1)"),
        (Format::Toml, "a = sk-secret", "(line 1, column 5)"),
        (Format::Toml, "a = 1\nb = \"sk-secret", "(line 2, "),
        (Format::Toml, "a = 1\na = \"sk-secret\"", "(line 2, column 1)"),
        (Format::Toml, "[a]\nb = 1\n[a]\nc = 1", "(line 3, "),
        (Format::Toml, "[[a]\nb = 1", "(line 1, "),
    ] {
        let problems = read(text, format).expect_err(text);
        let [Problem { path, message }] = problems.as_slice() else { panic!("{problems:?}") };
        let named = message.starts_with(&format!("not valid {}: ", format.name()));
        assert!(
            path.is_empty() && named && message.contains(place) && !message.contains("secret"),
            "{text}: {message}"
        );
    }
}

#[test]
fn what_no_setting_can_be_is_named_with_its_path() {
    for (format, text, expected) in [
        (Format::Yaml, "a:\n  b: .inf", "a.b: this number cannot be represented (line 2, column 3)"),
        (Format::Yaml, "a: 1\na: 2", "a: this key is set twice (line 2, column 1)"),
        (Format::Toml, "a = nan", "a: this number cannot be represented (line 1, column 1)"),
        (
            Format::Toml,
            "a = 1979-05-27",
            "a: no setting is a date; a text that looks like one needs quotes (line 1, column 1)",
        ),
    ] {
        assert_eq!(read(text, format).expect_err(text)[0].to_string(), expected);
    }
}

#[test]
fn words_of_yaml_are_those_of_its_core_schema() {
    let text = "a: no\nb: on\nc: ~\nd:\ne: 0x1F\nf: -3\ng: +4\nh: .5\ni: 1.2.3\nj: !!str 5\nk: \"5\"\nl: |\n  two\n  lines\nm: 1_000\nn: 12:30";
    assert_eq!(
        read(text, Format::Yaml),
        Ok(json!({
            "a": "no", "b": "on", "c": null, "d": null, "e": 31, "f": -3, "g": 4, "h": 0.5, "i": "1.2.3", "j": "5",
            "k": "5", "l": "two\nlines\n", "m": "1_000", "n": "12:30"
        }))
    );
}

#[test]
fn every_format_may_be_empty_and_none_may_be_deep() {
    for (format, empty, deep) in [
        (Format::Yaml, "# only this\n", "[".repeat(100_000)),
        (Format::Yaml, "---\n...\n", (0..3000).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>()),
        (Format::Toml, "# only this\n", format!("a = {}", "[".repeat(100_000))),
        (Format::Toml, "", format!("a{} = 1", ".a".repeat(100_000))),
    ] {
        assert!(read(empty, format).expect_err("empty")[0].message.contains("empty"), "{empty:?}");
        assert!(read(&deep, format).is_err(), "{format:?}");
    }
}

#[test]
fn a_format_is_known_by_its_extension() {
    for (path, format) in [
        ("c.json", Format::Json),
        ("c.jsonc", Format::Json),
        ("c.YAML", Format::Yaml),
        ("/a.toml/c.yml", Format::Yaml),
        ("llm-pool.toml", Format::Toml),
        ("c.conf", Format::Json),
        ("c", Format::Json),
    ] {
        assert_eq!(Format::of_path(Path::new(path)), format, "{path}");
    }
}

#[test]
fn a_checksum_is_that_of_the_text() {
    let document = |text: &str| Document::parse(text.to_owned(), Format::Json).expect("valid");
    assert_eq!(document("{}").checksum(), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_ne!(document("{}").checksum(), document("{ }").checksum());
    assert_eq!(Document::object(json!({})).checksum(), document("{}").checksum());
}

proptest! {
    /// Whatever a slip of the finger makes of it, no message repeats a piece of a secret.
    #[test]
    fn no_broken_text_shows_its_secrets(
        format in prop::sample::select(vec![Format::Json, Format::Yaml, Format::Toml]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), prop::sample::select(
            "\"'[]{}:,=#&*!|>\\-~% \n\ta0".chars().collect::<Vec<_>>())), 1..6),
    ) {
        let text = match format {
            Format::Json => "{ \"providers\": [{ \"name\": \"a\", \"api_key\": \"SECRETSECRET\" }], \"b\": [1, \"SECRET\"] }",
            Format::Yaml => "providers:\n  - name: a\n    api_key: SECRETSECRET\n    headers: { x: SECRET }\nb: [1, \"SECRET\"]\n",
            Format::Toml => "b = [1, \"SECRET\"]\n[[providers]]\nname = \"a\"\napi_key = \"SECRETSECRET\"\n[providers.headers]\nx = 'SECRET'\n",
        };
        let mut letters: Vec<char> = text.chars().collect();
        for (at, insert, letter) in edits {
            let at = at.index(letters.len());
            if insert { letters.insert(at, letter) } else { letters[at] = letter }
        }
        let text: String = letters.into_iter().collect();
        for problem in read(&text, format).err().into_iter().flatten() {
            prop_assert!(!problem.message.contains("ECRE"), "{text}\n{problem}");
        }
    }
}
