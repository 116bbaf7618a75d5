//! The I/O thread: one current-thread runtime for the process, started by the first pool.
//!
//! One thread is enough (a core moves tens of thousands of calls per second) and cheaper than several when calls are
//! few. It is never stopped: it holds no work of its own and does not keep the process alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::runtime::Builder;
use tokio::sync::Notify;

/// Work handed over by a JavaScript thread. It runs on the I/O thread and may spawn.
type Job = Box<dyn FnOnce() + Send>;

struct Io {
    jobs: Mutex<Vec<Job>>,
    bell: Notify,
    /// The bell was rung and the thread has not looked since.
    rung: AtomicBool,
}

static IO: OnceLock<Result<Arc<Io>, String>> = OnceLock::new();

/// Hands a job over. With `quietly` the bell is left to a later [`ring`]: a burst of calls then costs one wake-up.
pub fn submit(quietly: bool, job: impl FnOnce() + Send + 'static) -> napi::Result<()> {
    let io = match IO.get_or_init(start) {
        Ok(io) => io,
        Err(message) => return Err(napi::Error::from_reason(message.clone())),
    };
    io.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(job));
    if !quietly {
        io.ring();
    }
    Ok(())
}

/// Wakes the I/O thread for the jobs that were handed over quietly, if there are any.
pub fn ring() {
    if let Some(Ok(io)) = IO.get()
        && !io.jobs.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    {
        io.ring();
    }
}

impl Io {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }
}

/// Runs a future on the I/O thread. Only to be called there.
#[expect(clippy::disallowed_methods, reason = "this is where the addon spawns")]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

fn start() -> Result<Arc<Io>, String> {
    let io = Arc::new(Io { jobs: Mutex::default(), bell: Notify::new(), rung: AtomicBool::new(false) });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("llmpool could not start its I/O runtime: {error}"))?;
    let worker = Arc::clone(&io);
    std::thread::Builder::new()
        .name("llmpool-io".to_owned())
        .spawn(move || runtime.block_on(work(&worker)))
        .map_err(|error| format!("llmpool could not start its I/O thread: {error}"))?;
    Ok(io)
}

async fn work(io: &Io) {
    loop {
        io.bell.notified().await;
        // Before the jobs are taken: whoever adds one after that rings again.
        io.rung.store(false, Ordering::Release);
        let jobs = std::mem::take(&mut *io.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        for job in jobs {
            // A job that panics must not take the thread, and with it every other pool, along.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }
}
