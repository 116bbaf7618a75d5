//! `docs/capabilities.md`, written from what is known of models. `UPDATE_DOCS=1 cargo test capabilities_doc` writes it; the
//! same test fails when it is stale.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::capabilities::{Capabilities, Capability};
use super::catalog::{Beside, Dialect, Otherwise, Structured};
use super::facts::Row;
use super::models::Models;
use super::services;

const HEAD: &str = "\
# Capabilities

What is known of models, by type of provider; a call goes only to who is not known to lack what it needs. This page is written
from the data that the code goes by (`src/adapter/facts.rs`, `src/adapter/catalog.rs`); edit that, then run
`UPDATE_DOCS=1 cargo test capabilities_doc`.

The first row that matches a model counts. What no row says is not known, and believed: the provider is asked. `capabilities`
and `context_window` of the configuration go over everything here. `json_schema` keeps nobody from a call: where it is
missing the schema is asked for in another way, and the answer is checked all the same. A window is the longest prompt in tokens.

Everywhere, a model with `embed` in its name makes embeddings and does not chat.
";

fn render() -> String {
    let mut page = String::from(HEAD);
    let mut line = |text: String| writeln!(page, "{text}").expect("a string takes everything");
    for service in services() {
        let dialect = &service.dialect;
        line(format!("\n## {}\n", service.name));
        let mut lacks = dialect.cannot;
        if dialect.embeddings.is_none() {
            lacks = lacks.and(Capabilities::of(&[Capability::Embeddings]));
        }
        if !lacks.is_empty() {
            line(format!("- No model of it: {lacks}."));
        }
        line(format!("- {}", structured(dialect)));
        if let Some(rule) = &dialect.embeddings {
            let tokens = rule.tokens.map_or_else(String::new, |tokens| format!(" or about {tokens} tokens"));
            let cut = if rule.dimensions.is_some() { "`dimensions` taken" } else { "no `dimensions`" };
            let form = if rule.takes_tokens { "texts or tokens" } else { "texts" };
            line(format!("- Embeddings: {form}, {} inputs{tokens} at once, {cut}.", rule.inputs));
        }
        if dialect.facts.is_empty() {
            line("- Of single models nothing is known: their names are your own.".to_owned());
            continue;
        }
        line("\n| models | window | can | cannot |\n|---|---|---|---|".to_owned());
        for Row { models, can, cannot, window } in dialect.facts.iter().copied().flatten() {
            let window = window.map_or_else(|| "?".to_owned(), |window| window.to_string());
            line(format!("| {} | {window} | {can} | {cannot} |", name(models)));
        }
    }
    page
}

/// What is done with the schema of an answer.
fn structured(dialect: &Dialect) -> String {
    let Structured { native, strict, json_mode, beside_tools, otherwise } = &dialect.structured;
    let mode = if *json_mode { " beside the plain JSON mode" } else { "" };
    let otherwise = match otherwise {
        Otherwise::Tool => format!("a tool that must be called gives it, or it is told in words{mode}"),
        Otherwise::Words => format!("it is told in words{mode}"),
    };
    if native.is_none() {
        return format!("It has no field for a schema: {otherwise}.");
    }
    let strict = if strict.is_some() { ", strictly where it is asked to" } else { "" };
    let beside = match beside_tools {
        Beside::All => String::new(),
        Beside::None => ", but not beside tools".to_owned(),
        Beside::AllBut(models) => {
            let names: Vec<_> = models.iter().map(name).collect();
            format!(", but not beside tools of {}", names.join(" and "))
        }
    };
    format!("A schema goes in its own field{strict}{beside}; where that is not, {otherwise}.")
}

fn name(models: &Models) -> String {
    match models {
        Models::Prefix(prefix) => format!("`{prefix}…`"),
        Models::Contains(part) => format!("`…{part}…`"),
        Models::Versions { prefixes, from, below } => {
            let prefixes: Vec<_> = prefixes.iter().map(|prefix| format!("`{prefix}`")).collect();
            format!("{} from {}.{} below {}.{}", prefixes.join(", "), from.0, from.1, below.0, below.1)
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
fn capabilities_doc_is_what_the_facts_say() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "capabilities.md"].iter().collect();
    let fresh = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/capabilities.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/capabilities.md is stale; UPDATE_DOCS=1 cargo test capabilities_doc writes it");
}
