//! Ensembles and tasks, raw → checked, with the files that tasks name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::ProviderConfig;
use super::beside::Files;
use super::nearest::nearest;
use super::raw::{RawEnsemble, RawJudge, RawTask};
use super::section::{Field, Reader, index, join};
use super::values::{Dict, Seconds, Text, shown};
use crate::schema::Schema;
use crate::types::{ProviderName, Strategy, Template};

/// Three opinions are the fewest of which two can outvote one.
const MAX_PARALLEL: u32 = 3;
/// More than half, and not yet two thirds: three of five, two of three.
const AGREEMENT: f64 = 0.6;
/// A word or two may differ in a sentence of usual length.
const SIMILARITY: f64 = 0.9;
/// Longer than most answers of a small local model take to begin, short against what a slow one loses.
const HEDGE_AFTER: Duration = Duration::from_millis(300);
/// A judge reads much and says little: a third of the time is more than it needs when answers are of usual length.
const DEADLINE_SHARE: f64 = 0.3;
/// A verdict is a number in a little JSON; the rest is for models that cannot help explaining.
const VERDICT_TOKENS: u32 = 128;

/// How several models answer together.
#[derive(Debug, Clone, PartialEq)]
pub struct EnsembleConfig {
    pub default_strategy: Strategy,
    /// Providers that one call asks at once.
    pub max_parallel: usize,
    /// Answers without which nothing is decided.
    pub min_successes: usize,
    pub agreement: f64,
    pub similarity: f64,
    /// How long `FASTEST` waits before it asks a second provider.
    pub hedge_after: Duration,
    pub judge: JudgeConfig,
}

/// Who compares answers.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeConfig {
    /// `None`: any that serves the model; with neither there is no judge.
    pub provider: Option<ProviderName>,
    pub model: Option<String>,
    pub deadline_share: f64,
    pub max_tokens: u32,
}

/// One kind of work.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskConfig {
    pub strategy: Strategy,
    /// Empty: every provider whose own tasks do not exclude it.
    pub providers: Vec<String>,
    pub max_tokens: Option<u32>,
    pub deadline: Option<Duration>,
    pub cache_ttl: Option<Duration>,
    pub prompt: Option<Arc<Template>>,
    /// The JSON Schema of its answers.
    pub schema: Option<Arc<Value>>,
    pub enabled: bool,
}

impl JudgeConfig {
    pub fn is_named(&self) -> bool {
        self.provider.is_some() || self.model.is_some()
    }
}

pub(super) fn check_ensemble(
    raw: RawEnsemble,
    providers: &[ProviderConfig],
    reader: &mut Reader<'_>,
) -> EnsembleConfig {
    let at = "ensemble";
    let RawEnsemble { default_strategy, max_parallel, min_successes, agreement, similarity, hedge_after_ms, judge } =
        raw;
    let strategy = check_strategy(default_strategy, &join(at, "default_strategy"), reader);
    let (most, least) = (max_parallel.or(MAX_PARALLEL), min_successes.or(1));
    if most == 0 {
        reader.problem(join(at, "max_parallel"), "must be at least 1, found 0");
    }
    if least == 0 || least > most.max(1) {
        reader.problem(join(at, "min_successes"), format!("must be from 1 to max_parallel, {most}, found {least}"));
    }
    let (agreement, similarity) = (agreement.or(AGREEMENT), similarity.or(SIMILARITY));
    for (key, share) in [("agreement", agreement), ("similarity", similarity)] {
        if share > 1.0 {
            reader.problem(join(at, key), format!("must be from 0 to 1, found {share}"));
        }
    }
    EnsembleConfig {
        default_strategy: strategy.unwrap_or(Strategy::Fastest),
        max_parallel: most as usize,
        min_successes: least as usize,
        agreement,
        similarity,
        hedge_after: hedge_after_ms.time(HEDGE_AFTER),
        judge: check_judge(judge.or(RawJudge::default()), providers, reader),
    }
}

fn check_judge(raw: RawJudge, providers: &[ProviderConfig], reader: &mut Reader<'_>) -> JudgeConfig {
    let at = "ensemble.judge";
    let RawJudge { provider, model, deadline_share, max_tokens } = raw;
    let provider = provider.some().filter(|name| is_known(name, providers, &join(at, "provider"), reader));
    let judge = JudgeConfig {
        provider: provider.map(|name| ProviderName::new(name.value)),
        model: model.some().map(|model| model.value),
        deadline_share: deadline_share.or(DEADLINE_SHARE),
        max_tokens: max_tokens.or(VERDICT_TOKENS),
    };
    let share = judge.deadline_share;
    if share <= 0.0 || share >= 1.0 {
        reader.problem(join(at, "deadline_share"), format!("must be above 0 and below 1, found {share}"));
    }
    if judge.max_tokens == 0 {
        reader.problem(join(at, "max_tokens"), "must be at least 1, found 0");
    }
    judge
}

/// The tasks by name.
pub(super) fn check(
    raw: Field<Dict<RawTask>>,
    ensemble: &EnsembleConfig,
    providers: &[ProviderConfig],
    files: &mut Files,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, TaskConfig> {
    let mut tasks = BTreeMap::new();
    let Dict(written) = raw.or(Dict(Vec::new()));
    for (name, task) in written {
        let at = join("tasks", &name);
        if name.trim().is_empty() {
            reader.problem(&at, "expected a name for every task, found an empty one");
        }
        let Some(task) = task.some() else { continue };
        let task = check_task(task, &name, &at, ensemble, providers, files, reader);
        tasks.insert(name, task);
    }
    for name in providers.iter().flat_map(|provider| &provider.tasks) {
        tasks.entry(name.clone()).or_insert_with(|| TaskConfig::named(ensemble));
    }
    for (name, task) in &tasks {
        if task.strategy == Strategy::Judge && !ensemble.judge.is_named() {
            reader.warn(&join("tasks", name), "JUDGE without ensemble.judge falls back to VOTING");
        }
    }
    tasks
}

impl TaskConfig {
    /// One of which nothing is said.
    fn named(ensemble: &EnsembleConfig) -> Self {
        Self {
            strategy: ensemble.default_strategy,
            providers: Vec::new(),
            max_tokens: None,
            deadline: None,
            cache_ttl: None,
            prompt: None,
            schema: None,
            enabled: true,
        }
    }
}

fn check_task(
    raw: RawTask,
    name: &str,
    at: &str,
    ensemble: &EnsembleConfig,
    providers: &[ProviderConfig],
    files: &mut Files,
    reader: &mut Reader<'_>,
) -> TaskConfig {
    let RawTask { strategy, providers: named, max_tokens, deadline_ms, cache_ttl_seconds, prompt, schema, enabled } =
        raw;
    let strategy = check_strategy(strategy, &join(at, "strategy"), reader);
    let mut wanted = Vec::new();
    for (position, provider) in named.or(Vec::new()).into_iter().enumerate() {
        let path = index(&join(at, "providers"), position);
        let Some(provider) = provider.some().filter(|name| is_known(name, providers, &path, reader)) else { continue };
        let excludes = |of: &&ProviderConfig| !of.tasks.is_empty() && !of.tasks.iter().any(|task| task == name);
        if providers.iter().filter(|of| of.name.as_str() == provider.value).any(|of| excludes(&of)) {
            reader.problem(path, format!("the tasks of this provider do not include {name:?}"));
        }
        wanted.push(provider.value);
    }
    let max_tokens = max_tokens.some();
    if max_tokens == Some(0) {
        reader.problem(join(at, "max_tokens"), "must be at least 1, found 0");
    }
    let deadline = deadline_ms.some().map(|limit| limit.0);
    if deadline.is_some_and(|limit| limit.is_zero()) {
        reader.problem(join(at, "deadline_ms"), "must be at least 1, found 0; enabled: false switches a task off");
    }
    TaskConfig {
        strategy: strategy.unwrap_or(ensemble.default_strategy),
        providers: wanted,
        max_tokens,
        deadline,
        cache_ttl: cache_ttl_seconds.some().map(|Seconds(ttl)| ttl),
        prompt: files.text(prompt, &join(at, "prompt"), reader).and_then(|(path, text)| {
            let parsed = Template::parse(&text);
            parsed.map(Arc::new).map_err(|said| reader.problem(path, said)).ok()
        }),
        schema: files.text(schema, &join(at, "schema"), reader).and_then(|(path, text)| {
            let read = read_schema(&text);
            read.map(Arc::new).map_err(|said| reader.problem(path, said)).ok()
        }),
        enabled: enabled.or(true),
    }
}

fn read_schema(text: &str) -> Result<Value, String> {
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    if !schema.is_object() {
        return Err("expected a JSON Schema, which is an object".to_owned());
    }
    Schema::compile(&schema).map_err(|error| error.message)?;
    Ok(schema)
}

fn check_strategy(word: Field<Text>, path: &str, reader: &mut Reader<'_>) -> Option<Strategy> {
    let word = word.some()?;
    let strategy = Strategy::named(&word.value);
    if strategy.is_none() {
        let words = Strategy::ALL.map(Strategy::as_str);
        let said = shown(&word.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        reader.problem(path, format!("expected one of {}{said}{}", words.join(", "), nearest(&word.value, &words)));
    }
    strategy
}

fn is_known(name: &Text, providers: &[ProviderConfig], path: &str, reader: &mut Reader<'_>) -> bool {
    let known: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let is_known = known.contains(&name.value.as_str());
    if !is_known {
        let said = shown(&name.shown).map_or_else(String::new, |shown| format!(" {shown:?}"));
        reader.problem(path, format!("no provider is named{said}{}", nearest(&name.value, &known)));
    }
    is_known
}
