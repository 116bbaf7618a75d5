//! `docs/failures.md`, written from the tables the classifier goes by. `UPDATE_DOCS=1 cargo test failures_doc` writes
//! it; the same test fails when it is stale.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::failure::{by_status, transport_failure};
use super::signals::{CODES, LONG_WINDOWS, PHRASES, TYPES, Under};
use crate::error::{FailureClass, Scope, TransportError, TransportErrorKind};

const HEAD: &str = "\
# Failures

What a provider says when something is wrong, the class it becomes, and what follows from the class. This page is
written from the tables that the code goes by (`src/error.rs`, `src/adapter/signals.rs`, `src/adapter/failure.rs`); edit
those, then run `UPDATE_DOCS=1 cargo test failures_doc`.

A reply that is no answer, an error inside a 200 or inside a stream, a body that cannot be read and a broken connection
all take this way, once.

The order of questions matters, because one status means several things: rows of your own, then the numbered sections
below from the first to the fourth.
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

const NOTES: &str = "
1. Goes on to a provider whose model is known to have a larger window than the one that found the prompt too long, and
   to nobody else: where no window is known, or none is larger, the call ends with this failure.
2. Goes on with `routing.on_content_filter: \"failover\"`. Refused content in a 200 is an answer, not a failure, whatever
   that key says.
3. An answer that does not fit the caller's schema goes to one further provider, or once more to the only one; the second
   that does not fit ends the call.

The scope is whose state it is. A key rests until its hint; where it was refused without one, 5 min doubling to 1 h. A
model that is not there is not asked for there for 5 min. A provider rests by its breaker, for what counts against it.
What is the caller's is thrown at once, and nothing rests for it. A `timeout` of the call's own that is shorter than the
configured one counts only where 95 of 100 of the provider's last answers, of 50 at least, came sooner: what a caller has
no time for is not the provider's fault.

`x-should-retry` goes over \"same provider again\" and over nothing else.
";

const WAITS: &str = "
## How long to wait

Read from the most to the least precise: `retry-after-ms`; `retry-after` as seconds or as a date; the wait or the reset
that the error body names; after a rate signal, the latest reset among the limits whose `remaining` header is 0; the
words of the message (\"try again in 4.77s\"). A number may be seconds, Unix seconds or Unix milliseconds, and a text a
duration (`6m0s`), RFC 3339 or an HTTP date. What is negative, not a number, no time at all or already past says
nothing, and the backoff of the pool stands in; what is longer than a year is a year.
";

/// Everything below HTTP, in words.
const TRANSPORT: &[(TransportErrorKind, &str)] = &[
    (TransportErrorKind::Connect, "no connection came about: DNS, TCP, a proxy"),
    (TransportErrorKind::ConnectTimeout, "not within `connect_timeout_ms`"),
    (TransportErrorKind::Tls, "no trust, or no TLS"),
    (TransportErrorKind::Reset, "broken before any byte of the reply"),
    (TransportErrorKind::Body, "broken while the body was read, or its framing or compression is wrong"),
    (TransportErrorKind::TooLarge, "a body larger than `qos.max_response_bytes`"),
    (TransportErrorKind::Request, "a header of the call that HTTP cannot carry"),
];

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
        // What the run decides beyond the table; see the notes below it.
        let another = match class {
            FailureClass::ContextLength => "no ¹",
            FailureClass::ContentFilter => "no ²",
            FailureClass::ModelOutputInvalid => "yes ³",
            _ => word(class.another_provider()),
        };
        line(
            &mut page,
            format_args!(
                "| `{class}` | {} | {} | {} | {another} | {scope} |",
                word(class.counts_against_provider()),
                word(class.is_rate_signal()),
                word(class.same_provider_again()),
            ),
        );
    }
    page.push_str(NOTES);
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
    page.push_str("\n## 5. Below HTTP\n\n| what | class |\n|---|---|\n");
    for (kind, what) in TRANSPORT {
        let class = transport_failure(&TransportError::new(*kind, "")).class;
        line(&mut page, format_args!("| {what} | `{class}` |"));
    }
    page.push_str("| any other timer of the pool | `timeout` |\n| a stream without an end | `stream_truncated` |\n");
    page.push_str(WAITS);
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes everything");
}

fn listed(words: &[&str]) -> String {
    // A code span may not begin or end with its own mark, and a row of a table is one line.
    words
        .iter()
        .map(|word| word.replace('\n', "⏎"))
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
