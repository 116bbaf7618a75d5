//! One file, one folder or the project: from what it is made of to its result.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ask::Asker;
use super::material::{Clean, Material, clean, counter, of_directory, of_file};
use super::options::AnalysisOptions;
use super::prompts::{Prompt, Subject};
use super::results::{ChildSummary, DirectoryAnalysis, FileAnalysis, ProjectAnalysis, Skipped, UnitKind};
use super::schema::{Answer, DirectoryAnswer, FileAnswer};
use super::split::{Piece, groups};
use super::store::{Key, Store};
use super::tree::depth_of;
use super::walk::Found;
use crate::error::{Error, ErrorKind, FailureClass};

/// How much smaller pieces become when a model's window does not hold them: down to a sixteenth.
const SHRINKS: [u64; 5] = [1, 2, 4, 8, 16];

/// What all units of an analysis share.
pub(super) struct Bench<'a> {
    pub asker: Asker<'a>,
    pub options: &'a Arc<AnalysisOptions>,
    pub store: &'a Arc<Store>,
}

/// What a unit came to.
#[derive(Debug, Clone)]
pub(super) enum Made {
    File(FileAnalysis),
    Directory(DirectoryAnalysis),
    Project(ProjectAnalysis),
}

/// A unit that is over.
pub(super) struct Over {
    pub end: End,
    pub masked: u64,
    pub warning: Option<String>,
}

pub(super) enum End {
    Made {
        made: Made,
        cached: bool,
    },
    Skipped(Skipped),
    /// Nothing in it came to anything.
    Empty,
    Failed(Error),
}

impl From<Result<(Made, bool), Error>> for End {
    fn from(result: Result<(Made, bool), Error>) -> Self {
        result.map_or_else(Self::Failed, |(made, cached)| Self::Made { made, cached })
    }
}

impl Bench<'_> {
    pub async fn file(&self, found: Found) -> Over {
        let options = Arc::clone(self.options);
        let path = found.path.clone();
        let over = |end| Over { end, masked: 0, warning: None };
        let Clean { material, masked, warning } = match blocking(move || clean(&found, &options)).await {
            Err(error) => return over(End::Failed(error)),
            Ok(Err((reason, message))) => return over(End::Skipped(Skipped { path, reason, message })),
            Ok(Ok(clean)) => clean,
        };
        let made = self.made::<FileAnswer>(UnitKind::File, &path, material).await.map(|(answer, cached)| {
            let FileAnswer { kind, summary, external_dependencies, public_interfaces } = answer;
            (Made::File(FileAnalysis { path, kind, summary, external_dependencies, public_interfaces }), cached)
        });
        Over { end: made.into(), masked, warning }
    }

    /// `children` by path.
    pub async fn directory(&self, path: String, children: Vec<Made>) -> Over {
        let end = if children.is_empty() { End::Empty } else { self.directory_of(path, &children).await.into() };
        Over { end, masked: 0, warning: None }
    }

    async fn directory_of(&self, path: String, children: &[Made]) -> Result<(Made, bool), Error> {
        let material = Material::Results(children.iter().filter_map(told).collect());
        let (answer, cached) = self.made::<DirectoryAnswer>(UnitKind::Directory, &path, material).await?;
        let DirectoryAnswer { summary, key_components, public_interfaces } = answer;
        let directory = DirectoryAnalysis {
            depth: depth_of(&path),
            path,
            summary,
            key_components,
            child_summaries: children.iter().filter_map(summary_of).collect(),
            external_dependencies: dependencies(children),
            public_interfaces,
        };
        Ok((Made::Directory(directory), cached))
    }

    /// `parts`: the top folder, and what is right in it.
    pub async fn project(&self, parts: Vec<Made>) -> Over {
        let end = if parts.is_empty() { End::Empty } else { self.project_of(&parts).await.into() };
        Over { end, masked: 0, warning: None }
    }

    async fn project_of(&self, parts: &[Made]) -> Result<(Made, bool), Error> {
        let material = Material::Results(parts.iter().filter_map(told).collect());
        let (answer, cached) = self.made::<ProjectAnalysis>(UnitKind::Project, ".", material).await?;
        Ok((Made::Project(answer), cached))
    }

    /// The answer about some material, and whether it was kept. Where a model's window is too small for it, smaller pieces
    /// are sent; it is kept under what was to be sent first, so that the next time nothing is sent.
    async fn made<A: Answer>(&self, kind: UnitKind, path: &str, material: Material) -> Result<(A, bool), Error> {
        let subject = Subject { kind, path, options: self.options };
        let mut kept_under = None;
        let mut too_long = None;
        for shrink in SHRINKS {
            let prompts = self.prompts(&subject, &material, shrink).await?;
            let keys: Vec<_> = prompts.iter().map(|prompt| self.key::<A>(prompt)).collect();
            let key = match keys.as_slice() {
                [only] => only.clone(),
                several => Key::together(several, &subject.merge_system()),
            };
            if kept_under.is_none() {
                if let Some(kept) = self.kept(&key).await? {
                    return Ok((kept, true));
                }
                kept_under = Some(key);
            }
            match self.answer::<A>(&subject, &prompts, &keys).await {
                Err(error) if is_too_long(&error) => too_long = Some(error),
                Err(error) => return Err(error),
                Ok(answer) => {
                    if let Some(key) = &kept_under {
                        self.keep(key, answer.clone()).await?;
                    }
                    return Ok((answer, false));
                }
            }
        }
        Err(too_long.unwrap_or_else(|| Error::new(ErrorKind::Internal, "nothing was asked")))
    }

    async fn prompts(&self, subject: &Subject<'_>, material: &Material, shrink: u64) -> Result<Vec<Prompt>, Error> {
        let (options, material) = (Arc::clone(self.options), material.clone());
        let pieces = blocking(move || material.pieces(options.part_tokens / shrink, &counter(&options))).await?;
        let of = pieces.len();
        Ok(pieces.iter().zip(1..).map(|(piece, number)| subject.prompt(piece, number, of)).collect())
    }

    /// Asks for every piece, one after the other, and for one answer of them all.
    async fn answer<A: Answer>(&self, subject: &Subject<'_>, prompts: &[Prompt], keys: &[Key]) -> Result<A, Error> {
        if let [only] = prompts {
            return self.asker.ask(only).await;
        }
        let mut answers = Vec::with_capacity(prompts.len());
        for (prompt, key) in prompts.iter().zip(keys) {
            let answer: A = self.kept_or_asked(prompt, key).await?;
            answers.push(text_of(&answer)?);
        }
        loop {
            let budget = self.options.part_tokens;
            let groups = self.groups(answers, budget).await?;
            if let [all] = groups.as_slice() {
                let prompt = subject.merge(&all.text);
                return self.kept_or_asked(&prompt, &self.key::<A>(&prompt)).await;
            }
            answers = Vec::with_capacity(groups.len());
            for group in &groups {
                let prompt = subject.merge(&group.text);
                let answer: A = self.kept_or_asked(&prompt, &self.key::<A>(&prompt)).await?;
                answers.push(text_of(&answer)?);
            }
        }
    }

    /// Two answers at least: each round makes fewer of them.
    async fn groups(&self, answers: Vec<String>, budget: u64) -> Result<Vec<Piece>, Error> {
        let options = Arc::clone(self.options);
        blocking(move || groups(&answers, budget, 2, |text| counter(&options).count_text(text))).await
    }

    async fn kept_or_asked<A: Answer>(&self, prompt: &Prompt, key: &Key) -> Result<A, Error> {
        if let Some(kept) = self.kept(key).await? {
            return Ok(kept);
        }
        let answer: A = self.asker.ask(prompt).await?;
        self.keep(key, answer.clone()).await?;
        Ok(answer)
    }

    fn key<A: Answer>(&self, prompt: &Prompt) -> Key {
        Key::of::<A>(prompt, self.options.model.as_deref())
    }

    async fn kept<A: Answer>(&self, key: &Key) -> Result<Option<A>, Error> {
        let (store, key) = (Arc::clone(self.store), key.clone());
        blocking(move || store.get(&key)).await
    }

    async fn keep<A: Answer>(&self, key: &Key, answer: A) -> Result<(), Error> {
        let (store, key) = (Arc::clone(self.store), key.clone());
        blocking(move || store.put(&key, &answer)).await
    }
}

/// Runs what reads, writes or counts where it holds up no call.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

fn text_of<A: Answer>(answer: &A) -> Result<String, Error> {
    serde_json::to_string(answer).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

fn is_too_long(error: &Error) -> bool {
    error
        .failure()
        .is_some_and(|failure| matches!(failure.class, FailureClass::ContextLength | FailureClass::RequestTooLarge))
}

fn told(made: &Made) -> Option<String> {
    match made {
        Made::File(file) => Some(of_file(file)),
        Made::Directory(directory) => Some(of_directory(directory)),
        Made::Project(_) => None,
    }
}

fn summary_of(made: &Made) -> Option<ChildSummary> {
    let (path, kind, summary) = match made {
        Made::File(file) => (&file.path, UnitKind::File, &file.summary),
        Made::Directory(directory) => (&directory.path, UnitKind::Directory, &directory.summary),
        Made::Project(_) => return None,
    };
    Some(ChildSummary { path: path.clone(), kind, summary: summary.clone() })
}

/// Everything that any of them uses, once.
fn dependencies(children: &[Made]) -> Vec<String> {
    let each = children.iter().flat_map(|made| match made {
        Made::File(file) => file.external_dependencies.as_slice(),
        Made::Directory(directory) => directory.external_dependencies.as_slice(),
        Made::Project(_) => &[],
    });
    each.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}
