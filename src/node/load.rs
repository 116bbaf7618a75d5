//! The configuration on its way: calls that came before it wait for it, and a shutdown gives it up.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Phase};
use crate::time::{self, Instant};

#[derive(Default)]
pub(super) struct Load {
    stage: watch::Sender<Stage>,
    closed: CancellationToken,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Running,
    /// With why it failed.
    Over(Option<Error>),
}

impl Load {
    /// It is going to be loaded; said before the task runs, so that a call handed over right after it finds it running.
    pub fn begin(&self) {
        self.stage.send_replace(Stage::Running);
    }

    /// Loads, unless the pool is shut down before that is done: then nothing of it stays.
    pub async fn run<T>(&self, loading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error::closed()),
            result = loading => result,
        };
        self.stage.send_replace(Stage::Over(result.as_ref().err().cloned()));
        result
    }

    /// Gives up what is loading, and returns when it is gone.
    pub async fn close(&self) {
        self.closed.cancel();
        self.over().await.ok();
    }

    /// Waits until it is loaded, for as long as the call may take.
    pub async fn wait(
        &self,
        submitted: Instant,
        deadline: Option<Duration>,
        cancelled: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = cancelled => Err(Error::cancelled()),
            loaded = time::until(deadline.map(|allowed| submitted + allowed), self.over()) => {
                loaded.unwrap_or_else(|_| Err(out_of_time(deadline)))
            }
        }
    }

    /// Waits until it is loaded, however long that takes.
    pub async fn over(&self) -> Result<(), Error> {
        match self.stage.subscribe().wait_for(|stage| !matches!(stage, Stage::Running)).await.as_deref() {
            Ok(Stage::Over(Some(error))) => Err(error.clone()),
            // Without a sender there is no pool either.
            _ => Ok(()),
        }
    }
}

fn out_of_time(deadline: Option<Duration>) -> Error {
    let allowed = deadline.unwrap_or_default().as_millis();
    let message = format!("the call's deadline of {allowed} ms has passed while the configuration was loading");
    Error::new(ErrorKind::Timeout { phase: Phase::Deadline, failure: None }, message)
}
