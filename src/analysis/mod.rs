//! Descriptions of code by models: files, the folders they stand in, the project as a whole.
//!
//! | file | decides |
//! |---|---|
//! | `options` | what may be said |
//! | `walk` | which files there are to send, and why the others are not |
//! | `read` | what of a file is text |
//! | `mask` | what of it is secret |
//! | `split` | where a long text is cut |
//! | `material` | what is sent of a file, a folder, the project |
//! | `prompts`, `schema` | the words around it, and the shape of the answer |
//! | `ask` | one request, until its answer can be used |
//! | `store` | what is kept for the next time, and when it still holds |
//! | `unit` | one file, one folder or the project |
//! | `tree` | what comes before what |
//! | `run` | an analysis from its first file to its end |
//! | `estimate` | what it would send and cost |
//! | `markdown` | its pages |
//!
//! Calls go through the pool like any other: its limits, budgets, failover and breakers hold, and nothing here is retried
//! that the pool has given up, but for rate limits that end soon and answers whose model can be told what was wrong.

mod ask;
mod estimate;
mod markdown;
mod mask;
mod material;
mod options;
mod prompts;
mod read;
mod results;
mod run;
mod schema;
mod split;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod unit;
mod walk;

pub use estimate::estimate;
pub use markdown::write_markdown;
pub use mask::{Masked, mask};
pub use options::{AnalysisOptions, Audience, Depth};
pub use results::{
    Analysis, ChildSummary, Component, DirectoryAnalysis, Estimate, EstimatedFile, Failed, FileAnalysis, FileKind,
    Interface, InterfaceKind, Outcome, Progress, ProjectAnalysis, ROOT, SkipReason, Skipped, UnitKind,
};
pub use run::{Goal, analyze};

use crate::event::Event;

/// What is told while an analysis runs.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A file, a folder or the project is over.
    Progress(Progress),
    /// What happened in the pool for it.
    Events(Vec<Event>),
}
