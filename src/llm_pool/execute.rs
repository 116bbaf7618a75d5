//! A function of the caller's own, with its answer kept beside the engine, which knows no answer but a chat's.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::engine::{Classified, Executed, Fault, Task, Turn};
use crate::error::{Error, ErrorKind};
use crate::pool::Pool;
use crate::types::CallOptions;

/// Why a function of your own came to no answer.
///
/// ```
/// # use llmpool::{Failure, FailureClass, LlmClient, LlmPoolBuilder};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = LlmPoolBuilder::new().client(1, LlmClient::builder("ollama", "llama3.2")).max_retries(0).build()?;
/// let broken = async |_| Err::<(), _>(Failure::new(FailureClass::ServerError, "out of order"));
/// let failed = pool.execute_request(broken).await.unwrap_err();
/// assert_eq!(failed.error.context().attempts.len(), 1);
/// assert!(failed.cause.is_some_and(|cause| cause.to_string().contains("out of order")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ExecuteError<E> {
    /// What the pool says: the class, the trail, how long to wait.
    pub error: Error,
    /// What the function said last; `None` when it was never called, or was left in the middle.
    pub cause: Option<E>,
}

struct Call<T, E, F> {
    function: F,
    last: Mutex<Option<Result<T, E>>>,
}

pub(super) async fn execute<T, E, F, Fut>(
    pool: &Pool,
    model: Option<&str>,
    options: &CallOptions,
    function: F,
) -> Result<(T, Executed), ExecuteError<E>>
where
    T: Send,
    E: Classified + Send,
    F: Fn(Turn) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
{
    let call = Call { function, last: Mutex::new(None) };
    let result = pool.execute_until(&call, model, options, std::future::pending()).await.result;
    let last = call.last.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (result, last) {
        (Ok(executed), Some(Ok(value))) => Ok((value, executed)),
        (Err(error), last) => Err(ExecuteError { error, cause: last.and_then(Result::err) }),
        (Ok(_), last) => {
            let error = Error::new(ErrorKind::Internal, "a function that ended well left no answer");
            Err(ExecuteError { error, cause: last.and_then(Result::err) })
        }
    }
}

impl<T, E, F, Fut> Task for Call<T, E, F>
where
    T: Send,
    E: Classified + Send,
    F: Fn(Turn) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
{
    fn run(&self, turn: Turn) -> BoxFuture<'_, Result<(), Fault>> {
        // Of an earlier attempt; should this one be left in the middle, that is not what it said.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Box::pin(async move {
            let result = (self.function)(turn).await;
            let told = result.as_ref().map(drop).map_err(Classified::fault);
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            told
        })
    }
}

impl<E> From<ExecuteError<E>> for Error {
    /// What the pool says of it; the cause stays behind.
    fn from(failed: ExecuteError<E>) -> Self {
        failed.error
    }
}

impl<E> fmt::Display for ExecuteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ExecuteError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}
