//! `docs/providers.md`, written from the rows of the catalogue. `UPDATE_DOCS=1 cargo test providers_doc` writes it; the
//! same test fails when it is stale.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::catalog::{AdapterKind, Audio, Auth, Dialect, Echo, Files, Root, Structured, Turns};
use super::json_schema::{Keywords, Patterns, Rules};
use super::{Service, services};

const HEAD: &str = "\
# Providers

What each `type` takes, and what becomes of the rest. This page is written from the data that the code goes by
(`src/adapter/catalog.rs`); edit that, then run `UPDATE_DOCS=1 cargo test providers_doc`.

A field that a provider does not take is left out and named in the answer's `warnings`; with
`unsupported_params: \"error\"` the call is refused instead, with the name of the field. A 400 that names an unsupported
parameter is asked once more without it. `extra_body.<type>` of a call, and `extra_body` of a provider, send any field
as it is;
`allow_params` and `omit_params` of a provider go over what stands here. All types stream.

A schema is sent in the words that a provider has for it: a bound that it has no word for stands in the description, and a
warning names everything that was changed. What cannot be said so (a record of any names where all must be named, a schema
that refers to itself where that is refused) goes without `strict`, or in another way: [`capabilities.md`](capabilities.md)
says in which. Answers are held against the schema as it was given.
";

/// What no row says: what is converted by an adapter's code, and errors worth knowing.
const NOTES: &[(&str, &[&str])] = &[
    ("openai", &["429 `insufficient_quota` rests the key as `quota_exhausted`; it is no rate limit."]),
    (
        "azure",
        &[
            "`deployment` with `api_version` is the classic address, `/openai/deployments/{deployment}/chat/completions`; \
             without them the newer one, `/openai/v1`, where the model is the deployment. A dated `api_version` alone \
             takes the model as the deployment.",
            "A token of Entra ID goes into `headers.authorization`.",
            "400 `content_filter` is the content's fault; 404 `DeploymentNotFound` also comes for minutes after a deployment was made.",
        ],
    ),
    ("groq", &["413 `rate_limit_exceeded` is a request larger than a minute's budget: `request_too_large`."]),
    ("together", &["403 is also a prompt that is too long, told by its words."]),
    ("mistral", &["429 or 503 with code `3505` is `overloaded`; 400 with code `1500` is `model_not_found`."]),
    ("deepseek", &["402 is an empty balance. `finish_reason: insufficient_system_resource` is `overloaded`."]),
    (
        "openrouter",
        &[
            "An error inside a 200, whole or in a chunk, is a failure like any other. A limit per day is `quota_exhausted`.",
        ],
    ),
    ("xai", &["400 \"Incorrect API key\" is `auth`. An error inside a 200 is a failure like any other."]),
    ("fireworks", &["412 is a suspended account."]),
    ("perplexity", &["401 comes as a page of HTML. A conversation with tool calls is refused before sending."]),
    (
        "openai-compatible",
        &[
            "vLLM, llama.cpp, LM Studio, Ollama's and Gemini's compatible bases, proxies.",
            "503 \"Loading model\" is `model_loading`.",
        ],
    ),
    (
        "anthropic",
        &[
            "`max_tokens` is required there: 4096 where nothing is set. A `temperature` above 1 is sent as 1.",
            "System messages go to the top, results of tools into user turns, `stop` is `stop_sequences`, `user` is \
             `metadata.user_id`.",
            "`reasoning_effort` is `thinking: {type: \"adaptive\"}` and `output_config.effort` from 4.6 on, and a budget of \
             1024, 8192 or 24576 tokens before; a tool that must be called goes over it, and so do calls of another \
             provider that were just answered, where it is a budget. `temperature` and `top_p` are not sent while it thinks.",
            "An `overloaded_error` inside a stream fails over as long as nothing was said.",
        ],
    ),
    (
        "gemini",
        &[
            "Fields are those of `generationConfig` (`maxOutputTokens`, `topP`, `stopSequences`, …), system messages go to \
             `systemInstruction`, results of tools become `functionResponse` parts.",
            "`reasoning_state` is the `thoughtSignature` of what was said and of each call.",
            "429 that names a quota per day is `quota_exhausted`, however short its `retryDelay`.",
        ],
    ),
    (
        "cohere",
        &[
            "`top_p` is `p`, `stop` is `stop_sequences`. A base of version 1 is asked for version 2.",
            "498 is a wrong key; a limit per month is `quota_exhausted`.",
        ],
    ),
    (
        "ollama",
        &[
            "Fields are those of `options` (`num_predict`, `stop`, …), `response_format` is `format`, `reasoning_effort` is \
             `think`.",
            "The first request may wait for the model to be loaded: raise `first_content_timeout_ms`.",
        ],
    ),
];

fn render() -> String {
    let mut doc = HEAD.to_owned();
    doc.push_str("\n| type | address | key | limit of the answer | usage in streams |\n|---|---|---|---|---|\n");
    for service in services() {
        let Service { name, base_url, needs_key, dialect, .. } = service;
        let address = base_url.map_or_else(|| "set `base_url`".to_owned(), |url| format!("`{url}`"));
        let key = if *needs_key { "required" } else { "if it wants one" };
        let usage = if dialect.include_usage { "asked for" } else { "by itself" };
        let _ = writeln!(doc, "| [`{name}`](#{name}) | {address} | {key} | `{}` | {usage} |", dialect.max_tokens);
    }
    services().iter().for_each(|service| section(service, &mut doc));
    doc
}

fn section(service: &Service, doc: &mut String) {
    let dialect = &service.dialect;
    let Dialect { auth, tool_ids, turns, refuses, models, end_object, rate_headers, models_list, .. } = dialect;
    let mut lines = Vec::new();
    lines.push(match service.root {
        Root::IfBare(path) => format!("A `base_url` without a path gets `{path}`."),
        Root::Always(path) => format!("A `base_url` may end in `{path}` or not."),
        Root::AsIs => "A `base_url` is used as it is.".to_owned(),
        Root::Deployments(path) => format!("A `base_url` without a path gets `{path}`, or a deployment's path."),
        #[allow(unreachable_patterns, reason = "families add their own ways")]
        _ => "A `base_url` may stop at the host.".to_owned(),
    });
    lines.push(match auth {
        Auth::Bearer => "The key goes in `authorization: Bearer`.".to_owned(),
        Auth::Header(name) => format!("The key goes in `{name}`."),
    });
    let changed = changed(&service.dialect);
    if !changed.is_empty() {
        lines.push(format!("Sent in another form: {}.", changed.join(", ")));
    }
    let mut refused: Vec<&str> = refuses.iter().copied().flatten().copied().collect();
    refused.sort_unstable();
    lines.push(match refused.as_slice() {
        [] => "Not sent: nothing is held back.".to_owned(),
        refused => format!("Not sent: {}.", listed(refused)),
    });
    if !models.is_empty() {
        let mut refused: Vec<&str> = models
            .iter()
            .flat_map(|rule| rule.refuses.iter().chain(rule.refuses_reasoning))
            .copied()
            .flatten()
            .copied()
            .collect();
        refused.sort_unstable();
        refused.dedup();
        lines.push(format!("Not sent to some models: {}.", listed(&refused)));
    }
    if let Some(len) = tool_ids.exactly {
        lines.push(format!("Ids of tool calls become {len} letters and digits, the same one everywhere."));
    } else if tool_ids.word {
        lines.push("Ids of tool calls become letters, digits, `_` and `-`.".to_owned());
    }
    match turns {
        Turns::Any => {}
        Turns::Replies => lines.push(
            "An empty assistant message is left out, and a user message never follows a tool's at once; both are named."
                .to_owned(),
        ),
        Turns::Alternate => lines.push(
            "Neighbouring messages of one role are joined, and system messages go to the start.".to_owned(),
        ),
    }
    if let Some(object) = end_object {
        lines.push(format!("A stream ends with `{object}`; there is no `[DONE]`."));
    }
    if dialect.think_tags {
        lines.push("`<think>…</think>` at the start of an answer is its `reasoning`.".to_owned());
    }
    if service.adapter == AdapterKind::OpenAi {
        let mut refused = Vec::new();
        match dialect.files {
            Files::AsIs => {}
            Files::Documents => lines.push("Files are sent as `document_url`.".to_owned()),
            Files::None => refused.push("files"),
        }
        match dialect.audio {
            Audio::AsIs => {}
            Audio::Bare => lines.push("Audio is sent without its format.".to_owned()),
            Audio::None => refused.push("audio"),
        }
        if !refused.is_empty() {
            lines.push(format!("A message with {} is refused before sending.", refused.join(" or ")));
        }
    }
    lines.extend(schemas(dialect));
    let told: Vec<&str> =
        rate_headers.requests.iter().chain(rate_headers.tokens).map(|names| names.remaining).collect();
    lines.push(match told.as_slice() {
        [] => "No header says what is left of its limits.".to_owned(),
        told => format!("What is left of its limits is read from {}.", listed(told)),
    });
    lines.push(match models_list {
        None => "It has no reliable list of models.".to_owned(),
        Some(list) if list.proves_key => format!("Its models are listed at `{}`.", list.path),
        Some(list) => format!("Its models are listed at `{}`, to anyone: that proves nothing about a key.", list.path),
    });
    let notes = NOTES.iter().find(|(name, _)| *name == service.name).map_or(&[][..], |(_, notes)| notes);
    lines.extend(notes.iter().map(|note| (*note).to_owned()));
    let _ = writeln!(doc, "\n## {}\n", service.name);
    for line in lines {
        let _ = writeln!(doc, "- {line}");
    }
}

/// What is made of schemas, of answers and of tools.
fn schemas(dialect: &Dialect) -> Vec<String> {
    let Structured { native, strict, .. } = &dialect.structured;
    let said = [
        ("The schema of an answer", *native),
        ("The schema of an answer with `strict`", *strict),
        ("The schema of a tool", Some(dialect.tool_schemas)),
        ("The schema of a tool with `strict`", dialect.strict_tools),
    ];
    let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
    for (what, rules) in said {
        let Some(demands) = rules.map(demands).filter(|demands| !demands.is_empty()) else { continue };
        match lines.iter_mut().find(|(_, same)| *same == demands) {
            Some((whats, _)) => whats.push(what),
            None => lines.push((vec![what], demands)),
        }
    }
    lines
        .into_iter()
        .map(|(whats, demands)| format!("{}: {demands}.", whats.join(", and ").replace("and The", "and the")))
        .collect()
}

fn demands(rules: &Rules) -> String {
    let mut demands = Vec::new();
    match rules.keywords {
        Keywords::Only(list) => demands.push(format!("of its keywords {} are taken", listed(list))),
        Keywords::AllBut([]) => {}
        Keywords::AllBut(list) => demands.push(format!("{} not taken", listed(list))),
    }
    if let Some(formats) = rules.formats.filter(|_| rules.takes("format")) {
        demands.push(format!("`format` is one of {}", listed(formats)));
    }
    for (holds, demand) in [
        (rules.patterns == Patterns::Anchored, "`pattern` is anchored"),
        (
            rules.patterns == Patterns::Plain && rules.takes("pattern"),
            "`pattern` is not anchored and looks nowhere ahead",
        ),
        (rules.min_items == 1, "`minItems` is 0 or 1"),
        (!rules.recursion, "it does not refer to itself"),
        (!rules.free_objects, "no object has properties of any name"),
        (!rules.any_root, "it describes an object"),
        (rules.closed, "`additionalProperties` is false everywhere"),
        (rules.some_required, "every object requires a property"),
        (rules.all_required, "every property is required, and null where it may be absent"),
    ] {
        demands.extend(holds.then(|| demand.to_owned()));
    }
    demands.join("; ")
}

fn changed(dialect: &Dialect) -> Vec<String> {
    let mut changed: Vec<String> =
        dialect.renames.iter().map(|(ours, theirs)| format!("`{ours}` as `{theirs}`")).collect();
    if !dialect.developer_role {
        changed.push("the role `developer` as `system`".to_owned());
    }
    if dialect.required != "required" {
        changed.push(format!("`tool_choice: \"required\"` as `\"{}\"`", dialect.required));
    }
    if dialect.reasoning_object {
        changed.push("`reasoning_effort` as `reasoning.effort`".to_owned());
    }
    if dialect.thinking_switch {
        changed.push("`reasoning_effort` with `thinking`, which it switches".to_owned());
    }
    match dialect.echo {
        Echo::None => {}
        Echo::Details => changed.push("`reasoning_state` as `reasoning_details`".to_owned()),
        Echo::Content => changed.push("`reasoning_state` as `reasoning_content`, beside calls".to_owned()),
        Echo::Calls => changed.push("`reasoning_state` as the `extra_content` of calls".to_owned()),
    }
    if dialect.logprobs_is_count {
        changed.push("`logprobs` and `top_logprobs` as one number".to_owned());
    }
    changed
}

fn listed(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
fn providers_doc_is_what_the_catalogue_says() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "providers.md"].iter().collect();
    let fresh = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/providers.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/providers.md is stale; UPDATE_DOCS=1 cargo test providers_doc writes it");
}
