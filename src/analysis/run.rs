//! An analysis from its first file to its end.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::ask::{Asker, Tally};
use super::markdown::check_markdown;
use super::options::AnalysisOptions;
use super::results::{Analysis, DirectoryAnalysis, Failed, FileAnalysis, Outcome, Progress, ROOT, UnitKind};
use super::store::Store;
use super::tree::Tree;
use super::unit::{Bench, End, Made, Over, blocking};
use super::walk::{Place, Walked, walk};
use crate::error::Error;
use crate::pool::Pool;
use crate::types::FieldError;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// One file.
    File,
    /// A folder with everything below it.
    Directory,
    /// The same, and the project as a whole.
    Project,
}

/// Analyses what stands at `path`. `tell` hears of every unit that is over, in order, and of the pool's events. A file or a
/// folder that fails is among the results' `failed` and sinks nothing. Dropping the future ends the calls under way.
///
/// # Errors
/// A path or an option that cannot be, there is nothing to analyse, it was cancelled, the pool was shut down, or nothing at
/// all came of it: then the first failure.
pub async fn analyze(
    pool: &Pool,
    path: &Path,
    goal: Goal,
    options: &AnalysisOptions,
    tell: &(dyn Fn(Notice) + Send + Sync),
    cancelled: &CancellationToken,
) -> Result<Analysis, Error> {
    let options = Arc::new(options.clone());
    let (place, walked, store) = prepare(path, goal, &options, true, cancelled).await?;
    let tally = Tally::default();
    let asker = Asker { pool, model: options.model.as_deref(), tell, cancelled, tally: &tally };
    let bench = Bench { asker, options: &options, store: &store };
    let top = (goal != Goal::File).then_some(place.path.as_str());
    let tree = Tree::new(&walked.files, top, goal == Goal::Project);
    let mut run = Run {
        bench: &bench,
        made: vec![None; tree.len()],
        walked,
        tree,
        done: 0,
        first: None,
        analysis: Analysis::default(),
    };
    run.analysis.path.clone_from(&place.path);
    run.all(tell, cancelled).await?;
    let sums = tally.sums();
    let analysis = run.finish()?;
    Ok(Analysis {
        requests: sums.requests,
        usage: sums.usage,
        cost: (!sums.unpriced).then_some(sums.cost),
        warnings: analysis.warnings.into_iter().chain(store.warnings()).collect(),
        ..analysis
    })
}

/// Finds the files, and what is kept of them. `keeps`: the folder of what is kept is made if it is not there.
pub(super) async fn prepare(
    path: &Path,
    goal: Goal,
    options: &Arc<AnalysisOptions>,
    keeps: bool,
    cancelled: &CancellationToken,
) -> Result<(Place, Walked, Arc<Store>), Error> {
    options.check()?;
    let (path, options, cancelled) = (path.to_owned(), Arc::clone(options), cancelled.clone());
    blocking(move || {
        let mut place = Place::find(&path, options.root.as_deref())?;
        place.is_as_asked(goal, &path)?;
        place.pages = options.pages_dir.as_ref().and_then(|pages| pages.canonicalize().ok());
        let cache = options.cache_dir.as_deref();
        let store = if keeps { Store::open(cache)? } else { Store::look(cache) };
        let walked = walk(&place, &options, cache, &cancelled)?;
        if let Some(pages) = &options.pages_dir {
            let looked_at = check_markdown(&to_come(&place, &walked, goal), pages);
            looked_at.map_err(|error| FieldError { field: "pagesDir".to_owned(), ..error })?;
        }
        Ok((place, walked, Arc::new(store)))
    })
    .await?
}

/// An analysis of which only the paths are known.
fn to_come(place: &Place, walked: &Walked, goal: Goal) -> Analysis {
    let top = (goal != Goal::File).then_some(place.path.as_str());
    let tree = Tree::new(&walked.files, top, false);
    let mut analysis = Analysis { path: place.path.clone(), ..Analysis::default() };
    for unit in (0..tree.len()).map(|at| tree.unit(at)) {
        match unit.kind {
            UnitKind::File => analysis.files.push(FileAnalysis::empty(&unit.path)),
            UnitKind::Directory => analysis.directories.push(DirectoryAnalysis::empty(&unit.path)),
            UnitKind::Project => {}
        }
    }
    analysis
}

struct Run<'b, 'a> {
    bench: &'b Bench<'a>,
    tree: Tree,
    walked: Walked,
    /// By unit.
    made: Vec<Option<Made>>,
    done: usize,
    /// The failure that came first.
    first: Option<Error>,
    analysis: Analysis,
}

impl<'b> Run<'b, '_> {
    async fn all(&mut self, tell: &(dyn Fn(Notice) + Send + Sync), cancelled: &CancellationToken) -> Result<(), Error> {
        let most = self.bench.options.concurrency.get() as usize;
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < most
                && let Some(unit) = self.tree.next()
            {
                let work = self.work(unit);
                under_way.push(async move { (unit, work.await) });
            }
            let Some((unit, over)) = under_way.next().await else { return Ok(()) };
            if cancelled.is_cancelled() {
                // Each hears of it by itself; then everything it held has come back.
                while under_way.next().await.is_some() {}
                return Err(Error::cancelled());
            }
            tell(Notice::Progress(self.over(unit, over)?));
        }
    }

    fn work(&self, unit: usize) -> BoxFuture<'b, Over> {
        let bench = self.bench;
        let at = self.tree.unit(unit);
        match (at.kind, at.found) {
            (UnitKind::File, Some(found)) => Box::pin(bench.file(self.walked.files[found].clone())),
            (UnitKind::Project, _) => Box::pin(bench.project(self.parts(&at.children))),
            _ => Box::pin(bench.directory(at.path.clone(), self.results(&at.children))),
        }
    }

    fn results(&self, units: &[usize]) -> Vec<Made> {
        units.iter().filter_map(|unit| self.made[*unit].clone()).collect()
    }

    /// The top folder, and what is right in it.
    fn parts(&self, tops: &[usize]) -> Vec<Made> {
        let inside = tops.iter().flat_map(|top| self.results(&self.tree.unit(*top).children));
        self.results(tops).into_iter().chain(inside).collect()
    }

    /// # Errors
    /// What ends everything.
    fn over(&mut self, unit: usize, Over { end, masked, warning }: Over) -> Result<Progress, Error> {
        self.done += 1;
        self.analysis.masked += masked;
        self.analysis.warnings.extend(warning);
        let (kind, path) = (self.tree.unit(unit).kind, self.tree.unit(unit).path.clone());
        let outcome = match end {
            End::Made { made, cached } => {
                self.analysis.cached += u64::from(cached);
                self.made[unit] = Some(made);
                if cached { Outcome::Cached } else { Outcome::Analyzed }
            }
            End::Skipped(skipped) => {
                self.analysis.skipped.push(skipped);
                Outcome::Skipped
            }
            End::Empty => Outcome::Skipped,
            End::Failed(error) if error.is_cancellation() => return Err(error),
            End::Failed(error) => {
                let error_class = error.failure().map(|failure| failure.class.as_str().to_owned());
                self.analysis.failed.push(Failed { path: path.clone(), kind, message: error.to_string(), error_class });
                self.first.get_or_insert(error);
                Outcome::Failed
            }
        };
        self.tree.over(unit);
        Ok(Progress { done: self.done, total: self.tree.len(), path, kind, outcome })
    }

    fn finish(self) -> Result<Analysis, Error> {
        let Self { made, mut analysis, walked, first, tree, .. } = self;
        if made.iter().all(Option::is_none)
            && let Some(first) = first
        {
            return Err(first);
        }
        for made in made.into_iter().flatten() {
            match made {
                Made::File(file) => analysis.files.push(file),
                Made::Directory(directory) => analysis.directories.push(directory),
                Made::Project(project) => analysis.project = Some(project),
            }
        }
        analysis.skipped.extend(walked.skipped);
        analysis.warnings.splice(0..0, walked.warnings);
        analysis.files.sort_by(|a, b| a.path.cmp(&b.path));
        if tree.len() == 1 && analysis.files.is_empty() {
            // One file was asked for, and it turned out to have no text.
            let why = analysis.skipped.first().map(|skipped| format!("{}: {}", skipped.path, skipped.message));
            let message = why.unwrap_or_default();
            return Err(FieldError { field: "path".to_owned(), message }.into());
        }
        analysis.directories.sort_by(|a, b| (a.path != ROOT, &a.path).cmp(&(b.path != ROOT, &b.path)));
        analysis.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        analysis.failed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(analysis)
    }
}

impl Place {
    fn is_as_asked(&self, goal: Goal, path: &Path) -> Result<(), Error> {
        let message = match (goal, self.is_file) {
            (Goal::File, false) => "is a folder; a file is asked for",
            (Goal::Directory | Goal::Project, true) => "is a file; a folder is asked for",
            _ => return Ok(()),
        };
        let message = format!("{} {message}", path.display());
        Err(FieldError { field: "path".to_owned(), message }.into())
    }
}
