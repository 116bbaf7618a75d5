//! Analyses of code: their progress comes as pieces of a stream, their result as a value.

use std::path::{Path, PathBuf};
use std::pin::pin;

use futures_util::FutureExt;
use napi_derive::napi;
use tokio_util::sync::CancellationToken;

use super::pool::{Inner, NativePool};
use super::record;
use crate::analysis::{self, Analysis, AnalysisOptions, Estimate, Goal, Notice};
use crate::error::{Error, ErrorKind};

#[napi]
impl NativePool {
    /// Analyses what stands at `path`; `goal` is `file`, `directory` or `project`. Progress comes as it is made.
    #[napi(catch_unwind)]
    pub fn analyze(&self, id: f64, path: String, goal: String, options_json: String) -> napi::Result<()> {
        let cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let token = CancellationToken::new();
            let run = inner.analyze(id, &path, &goal, &options_json, &token);
            let result = until(&token, cancelled, run).await;
            inner.channel.push(|records| match result {
                Ok(analysis) => record::value(records, id, &analysis),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// What that would send, and about what it would cost.
    #[napi(catch_unwind)]
    pub fn estimate_analysis(&self, id: f64, path: String, options_json: String) -> napi::Result<()> {
        let cancelled = self.inner.channel.open(id as u64, None).map(drop);
        self.task(id, move |inner, id| async move {
            let token = CancellationToken::new();
            let result = until(&token, cancelled, inner.estimate_analysis(&path, &options_json, &token)).await;
            inner.channel.push(|records| match result {
                Ok(estimate) => record::value(records, id, &estimate),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Writes the pages of an analysis; completes with their paths.
    #[napi(catch_unwind)]
    pub fn write_analysis(&self, id: f64, analysis_json: String, folder: String) -> napi::Result<()> {
        self.task(id, move |inner, id| async move {
            let result = write(analysis_json, folder.into()).await;
            inner.channel.push(|records| match result {
                Ok(paths) => record::value(records, id, &paths),
                Err(error) => record::error(records, id, &error),
            });
        })
    }
}

impl Inner {
    async fn analyze(
        &self,
        id: u64,
        path: &str,
        goal: &str,
        options_json: &str,
        token: &CancellationToken,
    ) -> Result<Analysis, Error> {
        let options = AnalysisOptions::parse(options_json)?;
        let goal = match goal {
            "file" => Goal::File,
            "directory" => Goal::Directory,
            _ => Goal::Project,
        };
        let pool = self.loaded_before(token).await?;
        let tell = |notice: Notice| match notice {
            Notice::Progress(progress) => {
                self.channel.push(|records| record::chunk(records, id, record::json(&progress), None));
            }
            Notice::Events(events) => record::events(&self.channel, self.id, events),
        };
        analysis::analyze(pool, Path::new(path), goal, &options, &tell, token).await
    }

    async fn estimate_analysis(
        &self,
        path: &str,
        options_json: &str,
        token: &CancellationToken,
    ) -> Result<Estimate, Error> {
        let options = AnalysisOptions::parse(options_json)?;
        let pool = self.loaded_before(token).await?;
        analysis::estimate(pool, Path::new(path), Goal::Project, &options, token).await
    }

    async fn loaded_before(&self, token: &CancellationToken) -> Result<&crate::pool::Pool, Error> {
        tokio::select! {
            biased;
            () = token.cancelled() => Err(Error::cancelled()),
            pool = self.loaded() => pool,
        }
    }
}

/// Runs to its end, which a cancellation brings near: what is under way is told, and settles by itself.
async fn until<T>(
    token: &CancellationToken,
    cancelled: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = cancelled => token.cancel(),
        result = &mut work => return result,
    }
    work.await
}

async fn write(analysis_json: String, folder: PathBuf) -> Result<Vec<PathBuf>, Error> {
    let work = move || {
        let analysis: Analysis =
            serde_json::from_str(&analysis_json).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        analysis::write_markdown(&analysis, &folder)
    };
    let written = tokio::task::spawn_blocking(work).await;
    written.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?
}
