//! `docs/failures.md`, written from the tables the classifier goes by. `UPDATE_DOCS=1 cargo test failures_doc` writes
//! it; the same test fails when it is stale.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::failure::by_status;
use super::signals::{CODES, LONG_WINDOWS, PHRASES, TYPES, Under};
use crate::error::{FailureClass, Scope};

const HEAD: &str = "\
# Failures

What a provider says when something is wrong, the class it becomes, and what follows from the class. This page is
written from the tables that the code goes by (`src/error.rs`, `src/adapter/signals.rs`, `src/adapter/failure.rs`); edit
those, then run `UPDATE_DOCS=1 cargo test failures_doc`.

A reply that is no answer, an error inside a 200 or inside a stream, a body that cannot be read and a broken connection
all take this way, once.
";

/// Statuses that providers send, or that stand in front of them.
const STATUSES: &[u16] = &[
    301, 400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 412, 413, 415, 422, 424, 425, 429, 498, 499, 500, 501, 502,
    503, 504, 520, 522, 524, 529,
];

const ROWS: &str = r#"
## Rows of your own

`failures` in the configuration adds rows that are asked before everything below: what a gateway of your own says in its
own words, or a wording that has changed. The first row that matches counts.

```jsonc
{ "providers": [ … ],
  "failures": [
    { "provider": "gateway", "status": 403, "message": "no credits left", "class": "quota_exhausted" },
    { "type": "openai-compatible", "code": "E1042", "class": "overloaded" }
  ] }
```

| key | |
|---|---|
| `type`, `provider` | only at providers of this type, or of this name |
| `status` | the status of the reply, 300 to 599, or the one that an error inside a 200 claims |
| `code` | one of the codes, types and status words in the error; case does not count |
| `message` | a piece of what the provider says; case does not count |
| `class` | required; a class of the table above |

All that a row gives must hold, and it gives at least one of `status`, `code` and `message`. Rows are asked about what a
provider says: a reply with an error status, an error inside a 200 or inside a stream, a body that cannot be read. A
timer of the pool and a broken connection are nothing a provider said.
"#;

fn render() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## What follows from a class\n\n");
    page.push_str(
        "| class | counts against the provider | rate signal | same provider again | another provider | scope |\n",
    );
    page.push_str("|---|---|---|---|---|---|\n");
    let word = |yes: bool| if yes { "yes" } else { "no" };
    for class in FailureClass::ALL {
        let scope = match class.scope() {
            Scope::Caller => "caller",
            Scope::Key => "key",
            Scope::Model => "model",
            Scope::Provider => "provider",
        };
        line(
            &mut page,
            format_args!(
                "| `{class}` | {} | {} | {} | {} | {scope} |",
                word(class.counts_against_provider()),
                word(class.is_rate_signal()),
                word(class.same_provider_again()),
                word(class.another_provider()),
            ),
        );
    }
    page.push_str("\n`x-should-retry` goes over \"same provider again\" and over nothing else.\n");
    page.push_str(ROWS);
    page.push_str("\n## 1. Codes, under any status\n\n| class | codes and types |\n|---|---|\n");
    for (codes, class) in CODES {
        line(&mut page, format_args!("| `{class}` | {} |", listed(codes)));
    }
    page.push_str("\n## 2. Phrases, where services have no code\n\n");
    page.push_str(
        "Only under client statuses, and always where there is no status. All words of a phrase must occur.\n\n",
    );
    page.push_str("| class | under | phrases |\n|---|---|---|\n");
    for row in PHRASES {
        let under = match &row.under {
            Under::Any => "any".to_owned(),
            Under::AnyBut(statuses) => format!("any but {}", numbers(statuses)),
            Under::Only(statuses) => numbers(statuses),
        };
        let phrases: Vec<_> = row.any.iter().map(|words| words.join(" … ")).collect();
        let phrases: Vec<_> = phrases.iter().map(String::as_str).collect();
        line(&mut page, format_args!("| `{}` | {under} | {} |", row.class, listed(&phrases)));
    }
    line(
        &mut page,
        format_args!(
            "\nA rate limit whose message names a long window ({}) is `quota_exhausted`.",
            listed(LONG_WINDOWS)
        ),
    );
    page.push_str("\n## 3. Type words, where the status is vague\n\n| class | types |\n|---|---|\n");
    for (types, class) in TYPES {
        line(&mut page, format_args!("| `{class}` | {} |", listed(types)));
    }
    page.push_str("\n## 4. The status\n\n| status | class |\n|---|---|\n");
    for status in STATUSES {
        line(&mut page, format_args!("| {status} | `{}` |", by_status(Some(*status))));
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes everything");
}

fn listed(words: &[&str]) -> String {
    // A code span may not begin or end with its own mark.
    words
        .iter()
        .map(|word| if word.contains('`') { format!("`` {word} ``") } else { format!("`{word}`") })
        .collect::<Vec<_>>()
        .join(", ")
}

fn numbers(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
fn failures_doc_is_what_the_tables_say() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "failures.md"].iter().collect();
    let fresh = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/failures.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/failures.md is stale; UPDATE_DOCS=1 cargo test failures_doc writes it");
}
