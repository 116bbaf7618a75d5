//! Descriptions of code by the pool's models.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::LlmPool;
use crate::analysis::{self, Analysis, AnalysisOptions, Estimate, FileAnalysis, Goal, Notice};
use crate::error::{Error, ErrorKind};

/// Describes files, folders and projects.
///
/// ```
/// # mod upstream { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/upstream/mod.rs")); }
/// use llmpool::analysis::{AnalysisOptions, Depth, write_markdown};
/// use llmpool::{LlmAnalyzer, LlmClient, LlmPoolBuilder};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let said = r#"{"type":"source","summary":"Says hello.","externalDependencies":[],"publicInterfaces":[]}"#;
/// # let url = upstream::start(200, said).await?;
/// # let folder = std::env::temp_dir().join(format!("llmpool-doc-analyzer-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("main.rs");
/// # std::fs::write(&path, "fn main() { println!(\"hello\") }")?;
/// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("openai-compatible", "m").base_url(&url)).build()?;
/// let options = AnalysisOptions { depth: Depth::Surface, ..AnalysisOptions::default() };
/// let file = pool.analyze_file(&path, &options).await?;
/// assert_eq!((file.path.as_str(), file.summary.as_str()), ("main.rs", "Says hello."));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(())
/// # }
/// ```
pub trait LlmAnalyzer {
    /// Describes one file.
    ///
    /// # Errors
    /// As [`LlmPool::chat`]; and a path or an option that cannot be, a file without a text.
    fn analyze_file(
        &self,
        path: &Path,
        options: &AnalysisOptions,
    ) -> impl Future<Output = Result<FileAnalysis, Error>> + Send;

    /// Describes a folder and everything in it. What fails is among the results' `failed`.
    ///
    /// # Errors
    /// A path or an option that cannot be, nothing to analyse, a pool that is shut down, or nothing at all came of it:
    /// then the first failure.
    fn analyze_directory(
        &self,
        path: &Path,
        options: &AnalysisOptions,
    ) -> impl Future<Output = Result<Analysis, Error>> + Send;

    /// The same, and the project as a whole.
    ///
    /// # Errors
    /// As [`LlmAnalyzer::analyze_directory`].
    fn analyze_project(
        &self,
        path: &Path,
        options: &AnalysisOptions,
    ) -> impl Future<Output = Result<Analysis, Error>> + Send;
}

impl LlmAnalyzer for LlmPool {
    async fn analyze_file(&self, path: &Path, options: &AnalysisOptions) -> Result<FileAnalysis, Error> {
        let analysis = self.analyze(path, Goal::File, options, |_| {}).await?;
        let none = || Error::new(ErrorKind::Internal, "an analysis of a file without one");
        analysis.files.into_iter().next().ok_or_else(none)
    }

    async fn analyze_directory(&self, path: &Path, options: &AnalysisOptions) -> Result<Analysis, Error> {
        self.analyze(path, Goal::Directory, options, |_| {}).await
    }

    async fn analyze_project(&self, path: &Path, options: &AnalysisOptions) -> Result<Analysis, Error> {
        self.analyze(path, Goal::Project, options, |_| {}).await
    }
}

impl LlmPool {
    /// Describes a file, a folder or a project, and tells how far it is; see [`LlmAnalyzer`]. Dropping the future ends it;
    /// with a `cache_dir`, the next analysis goes on from there.
    ///
    /// # Errors
    /// As [`LlmAnalyzer::analyze_directory`].
    pub async fn analyze(
        &self,
        path: &Path,
        goal: Goal,
        options: &AnalysisOptions,
        tell: impl Fn(Notice) + Send + Sync,
    ) -> Result<Analysis, Error> {
        analysis::analyze(&self.pool, path, goal, options, &tell, &CancellationToken::new()).await
    }

    /// What [`LlmPool::analyze`] would send, and about what it would cost. Nobody is asked.
    ///
    /// # Errors
    /// A path or an option that cannot be, or nothing to analyse.
    pub async fn estimate_analysis(
        &self,
        path: &Path,
        goal: Goal,
        options: &AnalysisOptions,
    ) -> Result<Estimate, Error> {
        analysis::estimate(&self.pool, path, goal, options, &CancellationToken::new()).await
    }
}
