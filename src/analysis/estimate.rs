//! What an analysis would send and cost, without sending it.
//!
//! The prompts of files are made as they would be sent and counted; of folders and the project only the number of calls is
//! known, and their size is taken from what is usual.

use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::material::{Clean, clean, counter};
use super::options::{AnalysisOptions, Depth};
use super::prompts::Subject;
use super::results::{Estimate, EstimatedFile, Skipped, UnitKind};
use super::run::{Goal, prepare};
use super::schema::FileAnswer;
use super::store::{Key, Store};
use super::tree::Tree;
use super::unit::blocking;
use super::walk::Found;
use crate::engine::Countable;
use crate::error::Error;
use crate::pool::Pool;
use crate::types::{NanoUsd, Usage};

/// Of the words around the material, and of a schema, in tokens.
const AROUND: u64 = 450;

/// Looks at what an analysis would send. Nobody is asked.
///
/// # Errors
/// As [`super::analyze`].
pub async fn estimate(
    pool: &Pool,
    path: &Path,
    goal: Goal,
    options: &AnalysisOptions,
    cancelled: &CancellationToken,
) -> Result<Estimate, Error> {
    let options = Arc::new(options.clone());
    let (place, walked, store) = prepare(path, goal, &options, false, cancelled).await?;
    let top = (goal != Goal::File).then_some(place.path.as_str());
    let tree = Tree::new(&walked.files, top, goal == Goal::Project);
    let mut sum = Sum::new(pool, &options, walked.skipped);
    let weigh = |found: Found| {
        let (pool, options, store) = (pool.clone(), Arc::clone(&options), Arc::clone(&store));
        blocking(move || Weighed::of(found, &pool, &options, &store))
    };
    let at_a_time = options.concurrency.get() as usize;
    let mut weighed = stream::iter(walked.files).map(weigh).buffered(at_a_time);
    while let Some(file) = weighed.next().await {
        if cancelled.is_cancelled() {
            return Err(Error::cancelled());
        }
        match file? {
            Ok(weighed) => sum.file(weighed),
            Err(skipped) => sum.estimate.skipped.push(skipped),
        }
    }
    for unit in (0..tree.len()).map(|at| tree.unit(at)) {
        match unit.kind {
            UnitKind::File => {}
            UnitKind::Directory => sum.above(unit.children.len(), true),
            // The top folder, and what is right in it.
            UnitKind::Project => {
                sum.above(1 + unit.children.iter().map(|top| tree.unit(*top).children.len()).sum::<usize>(), false)
            }
        }
    }
    Ok(sum.done())
}

/// A file, counted.
struct Weighed {
    file: EstimatedFile,
    masked: u64,
}

impl Weighed {
    /// Blocks.
    fn of(found: Found, pool: &Pool, options: &AnalysisOptions, store: &Store) -> Result<Self, Skipped> {
        let Clean { material, masked, .. } = clean(&found, options).map_err(|(reason, message)| Skipped {
            path: found.path.clone(),
            reason,
            message,
        })?;
        let subject = Subject { kind: UnitKind::File, path: &found.path, options };
        let pieces = material.pieces(options.part_tokens, &counter(options));
        let parts = pieces.len();
        let prompts: Vec<_> =
            pieces.iter().zip(1..).map(|(piece, number)| subject.prompt(piece, number, parts)).collect();
        let model = options.model.as_deref();
        let keys: Vec<_> = prompts.iter().map(|prompt| Key::of::<FileAnswer>(prompt, model)).collect();
        let key = match keys.as_slice() {
            [only] => only.clone(),
            several => Key::together(several, &subject.merge_system()),
        };
        let count = |text: &str| pool.engine().count_tokens(Countable::Text(text), model);
        let prompt_tokens = prompts.iter().map(|prompt| count(&prompt.system) + count(&prompt.user)).sum();
        let cached = store.get::<FileAnswer>(&key).is_some();
        Ok(Self { file: EstimatedFile { path: found.path, bytes: found.bytes, parts, prompt_tokens, cached }, masked })
    }
}

struct Sum<'a> {
    pool: &'a Pool,
    model: Option<&'a str>,
    /// Tokens of an answer about a file, and about a folder.
    answers: (u64, u64),
    part_tokens: u64,
    unpriced: bool,
    cost: NanoUsd,
    estimate: Estimate,
}

impl<'a> Sum<'a> {
    fn new(pool: &'a Pool, options: &'a AnalysisOptions, skipped: Vec<Skipped>) -> Self {
        // What answers had in runs over this repository, rounded up.
        let answers = match options.depth {
            Depth::Surface => (200, 300),
            Depth::Standard => (450, 600),
            Depth::Deep => (1000, 1200),
        };
        let estimate = Estimate { skipped, ..Estimate::default() };
        let (model, part_tokens) = (options.model.as_deref(), options.part_tokens);
        Self { pool, model, answers, part_tokens, unpriced: false, cost: NanoUsd::default(), estimate }
    }

    fn file(&mut self, Weighed { file, masked }: Weighed) {
        self.estimate.masked += masked;
        if file.cached {
            self.estimate.cached += 1;
        } else {
            let parts = file.parts as u64;
            self.ask(parts, file.prompt_tokens, self.answers.0);
            if parts > 1 {
                self.merge(parts, self.answers.0);
            }
        }
        self.estimate.files.push(file);
    }

    /// A folder or the project, of so many children.
    fn above(&mut self, children: usize, is_directory: bool) {
        self.estimate.directories += u64::from(is_directory);
        let tokens = children as u64 * self.answers.0;
        let groups = tokens.div_ceil(self.part_tokens).max(1);
        self.ask(groups, groups * AROUND + tokens, self.answers.1);
        if groups > 1 {
            self.merge(groups, self.answers.1);
        }
    }

    fn merge(&mut self, parts: u64, answer: u64) {
        self.ask(1, AROUND + parts * answer, answer);
    }

    /// So many calls, with so many tokens in all of their prompts and in each of their answers.
    fn ask(&mut self, calls: u64, prompts: u64, answer: u64) {
        self.estimate.requests += calls;
        self.estimate.prompt_tokens += prompts;
        self.estimate.completion_tokens += calls * answer;
        for _ in 0..calls {
            match self.pool.engine().price(&Usage::reported(prompts / calls.max(1), answer), self.model) {
                Some(cost) => self.cost = self.cost.saturating_add(cost),
                None => self.unpriced = true,
            }
        }
    }

    fn done(mut self) -> Estimate {
        self.estimate.cost = (!self.unpriced).then_some(self.cost);
        self.estimate.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        self.estimate
    }
}
