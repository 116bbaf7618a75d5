//! What is sent of a unit: the text of a file without its secrets, or the results of what is in a folder.

use std::sync::Arc;

use serde_json::json;

use super::mask::mask;
use super::options::AnalysisOptions;
use super::read::read;
use super::results::{DirectoryAnalysis, FileAnalysis, SkipReason};
use super::split::{Piece, groups, pieces};
use super::walk::Found;
use crate::tokens::Counter;

/// Whose tokens are counted when nobody says which.
const USUAL_MODEL: &str = "gpt-4o";

/// In pieces of any size.
#[derive(Debug, Clone)]
pub(super) enum Material {
    Text(Arc<str>),
    /// Results, one JSON value each.
    Results(Arc<[String]>),
}

/// A file as it is sent.
#[derive(Debug)]
pub(super) struct Clean {
    pub material: Material,
    pub masked: u64,
    /// What to say about how it was read.
    pub warning: Option<String>,
}

impl Material {
    /// Pieces of so many tokens. Blocks: counting takes milliseconds.
    pub fn pieces(&self, budget: u64, counter: &Counter) -> Vec<Piece> {
        let count = |text: &str| counter.count_text(text);
        match self {
            Self::Text(text) => pieces(text, budget, count),
            Self::Results(results) => groups(results, budget, 1, count),
        }
    }
}

/// The counter of an analysis. One of its own: those of a pool learn from answers, and a file must be cut at the same
/// places the next time.
pub(super) fn counter(options: &AnalysisOptions) -> Counter {
    Counter::of_model(options.model.as_deref().unwrap_or(USUAL_MODEL))
}

/// Reads a file and takes its secrets out. Blocks.
///
/// # Errors
/// Why it is skipped.
pub(super) fn clean(found: &Found, options: &AnalysisOptions) -> Result<Clean, (SkipReason, String)> {
    let text = read(&found.file, options.max_file_bytes)?;
    let masked = mask(&text.text);
    let warning = (text.replaced > 0)
        .then(|| format!("{}: not all of it is UTF-8; characters replaced: {}", found.path, text.replaced));
    Ok(Clean { material: Material::Text(Arc::from(&*masked.text)), masked: masked.count, warning })
}

/// What is told of a file to whoever describes its folder.
pub(super) fn of_file(file: &FileAnalysis) -> String {
    let FileAnalysis { path, kind, summary, external_dependencies, public_interfaces } = file;
    json!({
        "file": mask(path).text, "type": kind, "summary": summary,
        "externalDependencies": external_dependencies, "publicInterfaces": public_interfaces,
    })
    .to_string()
}

/// What is told of a folder to whoever describes the one above it, or the project. Without its children: their sense is in
/// its summary.
pub(super) fn of_directory(directory: &DirectoryAnalysis) -> String {
    let DirectoryAnalysis {
        path,
        depth: _,
        summary,
        key_components,
        child_summaries: _,
        external_dependencies,
        public_interfaces,
    } = directory;
    json!({
        "directory": mask(path).text, "summary": summary, "keyComponents": key_components,
        "externalDependencies": external_dependencies, "publicInterfaces": public_interfaces,
    })
    .to_string()
}
