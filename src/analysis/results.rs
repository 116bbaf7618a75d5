//! What an analysis comes to, as models answer it, as it is kept, and as JavaScript sees it.

use serde::{Deserialize, Serialize};

use crate::types::{NanoUsd, Usage};

/// The path of the analysed folder itself.
pub const ROOT: &str = ".";

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileAnalysis {
    /// From the root, with `/` on every system.
    pub path: String,
    #[serde(rename = "type")]
    pub kind: FileKind,
    pub summary: String,
    /// Packages, modules and services that it uses and that are not defined in it.
    pub external_dependencies: Vec<String>,
    pub public_interfaces: Vec<Interface>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileKind {
    Source,
    Test,
    Configuration,
    Documentation,
    Build,
    Schema,
    Data,
    Other,
}

/// Something that others may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub kind: InterfaceKind,
    pub description: String,
}

/// What an interface is. Classes count as structs, and what other languages call an interface or a protocol as a trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InterfaceKind {
    Function,
    Struct,
    Trait,
    Module,
    Api,
    Configuration,
    DataModel,
}

/// One folder, from what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryAnalysis {
    /// From the root; `.` is the root itself.
    pub path: String,
    /// How many folders below the root; the root's is 0.
    pub depth: u32,
    pub summary: String,
    pub key_components: Vec<Component>,
    /// Of the files and folders right in it, by path. Taken from their own results: no model was asked for them.
    pub child_summaries: Vec<ChildSummary>,
    /// All that anything in it uses. Taken from the results of what is in it.
    pub external_dependencies: Vec<String>,
    pub public_interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    pub name: String,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildSummary {
    pub path: String,
    pub kind: UnitKind,
    pub summary: String,
}

/// What is analysed at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    File,
    Directory,
    Project,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectAnalysis {
    pub overview: String,
    pub architecture: String,
    pub core_technologies: Vec<String>,
    pub main_interfaces: Vec<Interface>,
    pub risks: Vec<String>,
}

/// Everything that came of an analysis, with what did not come and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Analysis {
    /// What was analysed, from the root; [`ROOT`] is the root itself.
    pub path: String,
    /// `None`: it was not asked for, or it is among the failed.
    pub project: Option<ProjectAnalysis>,
    /// By path, the root first.
    pub directories: Vec<DirectoryAnalysis>,
    /// By path.
    pub files: Vec<FileAnalysis>,
    /// Files that were found and not sent, by path.
    pub skipped: Vec<Skipped>,
    /// What was asked for and did not come, by path. What stands above it was made without it.
    pub failed: Vec<Failed>,
    pub warnings: Vec<String>,
    /// Calls made through the pool; each may have been several requests to providers.
    pub requests: u64,
    /// Files, folders and the project whose result was kept from an earlier time.
    pub cached: u64,
    /// Secrets that were masked in what was sent, or would have been sent.
    pub masked: u64,
    /// Of the answers that were taken.
    #[serde(skip_deserializing)]
    pub usage: Usage,
    /// Of the answers that were taken; `None`: the price of one of them is not known.
    #[serde(skip_deserializing)]
    pub cost: Option<NanoUsd>,
}

impl FileAnalysis {
    /// Of which only the path is known.
    pub(super) fn empty(path: &str) -> Self {
        let (path, kind) = (path.to_owned(), FileKind::Other);
        Self { path, kind, summary: String::new(), external_dependencies: Vec::new(), public_interfaces: Vec::new() }
    }
}

impl DirectoryAnalysis {
    /// Of which only the path is known.
    pub(super) fn empty(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            depth: 0,
            summary: String::new(),
            key_components: Vec::new(),
            child_summaries: Vec::new(),
            external_dependencies: Vec::new(),
            public_interfaces: Vec::new(),
        }
    }
}

impl Analysis {
    /// The folder that was analysed; `None` when it is among the failed.
    pub fn top(&self) -> Option<&DirectoryAnalysis> {
        self.directories.iter().find(|directory| directory.path == self.path)
    }
}

/// A file that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub path: String,
    pub reason: SkipReason,
    /// For people.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    Binary,
    TooLarge,
    /// Nothing but white space.
    Empty,
    Unreadable,
    /// Links are not followed: they may lead out of the root, and around in circles.
    Symlink,
    /// Written by a package manager.
    LockFile,
    /// A page of an earlier analysis.
    Generated,
}

/// Something that was asked for and did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    pub path: String,
    pub kind: UnitKind,
    pub message: String,
    /// The row of the failure table, where a provider failed.
    pub error_class: Option<String>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Files, folders and the project that are over, this one included.
    pub done: usize,
    pub total: usize,
    pub path: String,
    pub kind: UnitKind,
    pub outcome: Outcome,
}

/// What became of a file, a folder or the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Analyzed,
    Cached,
    Skipped,
    Failed,
}

/// What an analysis would send, without sending it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Estimate {
    /// Files that would be analysed.
    pub files: Vec<EstimatedFile>,
    /// Folders, the root included.
    pub directories: u64,
    pub skipped: Vec<Skipped>,
    /// Calls that would be made when nothing goes wrong.
    pub requests: u64,
    /// Files whose result is kept. Folders and the project are always counted: what is kept of them depends on answers.
    pub cached: u64,
    pub masked: u64,
    /// Counted for files; assumed for what is above them.
    pub prompt_tokens: u64,
    /// Assumed.
    pub completion_tokens: u64,
    /// At the provider that serves the model at the best priority; `None`: its price is not known.
    pub cost: Option<NanoUsd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EstimatedFile {
    pub path: String,
    pub bytes: u64,
    /// Pieces it is sent in.
    pub parts: usize,
    pub prompt_tokens: u64,
    pub cached: bool,
}
