//! A background processor as JavaScript holds it. Every job is a call that stays open until the job is over: first it
//! hears that the job was taken on, then of every further try, and at last how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use napi_derive::napi;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bridge::Channel;
use super::pool::{Inner, NativePool, drain_time};
use super::{io, record};
use crate::error::Error;
use crate::event::{Event, millis};
use crate::jobs::{
    BackgroundProcessor, Job, JobResult, JobResults, JobRetry, JobSpec, JobStatus, OnRetry, Priority, StopOptions,
    read_params, read_spec,
};

#[napi]
pub struct NativeJobs {
    pool: NativePool,
    processor: BackgroundProcessor,
    /// Its workers run.
    started: Arc<AtomicBool>,
}

/// One iterator over the results.
#[napi]
pub struct NativeResults {
    pool: NativePool,
    results: Mutex<Option<Arc<JobResults>>>,
}

/// What is told of a job beside its answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Told<'a> {
    Accepted {
        id: &'a str,
        priority: Priority,
    },
    Retry {
        tries: u32,
        retry_in_ms: f64,
        counts: bool,
        /// As JSON of its own: JavaScript makes an error of it.
        error: Box<RawValue>,
    },
    Ended {
        id: &'a str,
        priority: Priority,
        metadata: &'a Value,
        status: JobStatus,
        tries: u32,
        waited_ms: f64,
        duration_ms: f64,
    },
}

/// A job that was not done.
#[derive(Serialize)]
struct NotDone {
    id: Option<String>,
    job: Box<RawValue>,
}

#[napi]
impl NativePool {
    /// Makes a background processor; its workers begin with its first job.
    #[napi(catch_unwind)]
    pub fn background(&self, options_json: String) -> napi::Result<NativeJobs> {
        let params = read_params(&options_json).map_err(|error| record::thrown(&error))?;
        // The addon's jobs wait in memory.
        let store = Arc::<crate::jobs::MemoryStore>::default();
        let processor = BackgroundProcessor::over(params, store).map_err(|error| record::thrown(&error))?;
        Ok(NativeJobs { pool: self.another(), processor, started: Arc::default() })
    }

    fn another(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[napi]
impl NativeJobs {
    /// Takes a job on and stays with it until it is over. The pool has to be initialized.
    #[napi(catch_unwind)]
    pub fn submit(&self, id: f64, job_json: String, wait: bool) -> napi::Result<()> {
        let mut cancelled = self.pool.inner.channel.open(id as u64, None).map(drop);
        let (processor, started) = (self.processor.clone(), Arc::clone(&self.started));
        self.pool.task(id, move |inner, id| async move {
            let entering = async {
                start(&inner, &processor, &started)?;
                let spec = read_spec(&job_json)?;
                drop(job_json);
                processor.enter(spec, wait, Some(on_retry(&inner.channel, id))).await
            };
            let entered = tokio::select! {
                biased;
                () = &mut cancelled => Err(Error::cancelled()),
                entered = entering => entered,
            };
            match entered {
                Ok(job) => stay(&job, id, &inner.channel, cancelled).await,
                Err(error) => inner.channel.push(|records| record::error(records, id, &error)),
            }
        })
    }

    /// JSON.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        record::json(&self.processor.stats())
    }

    /// Completes with the jobs that were not done, as they were submitted.
    #[napi(catch_unwind)]
    pub fn stop(&self, id: f64, drain: bool, drain_timeout_ms: Option<f64>) -> napi::Result<()> {
        let processor = self.processor.clone();
        self.pool.task(id, move |inner, id| async move {
            let options = StopOptions { drain, drain_timeout: drain_timeout_ms.map(drain_time) };
            let not_done: Vec<_> = processor.stop(options).await.into_iter().map(as_written).collect();
            inner.channel.push(|records| record::value(records, id, &not_done));
        })
    }

    /// Results from now on, and those that were kept.
    #[napi(catch_unwind)]
    pub fn results(&self) -> NativeResults {
        let results = Mutex::new(Some(Arc::new(self.processor.results())));
        NativeResults { pool: self.pool.another(), results }
    }
}

#[napi]
impl NativeResults {
    /// Completes with the next result, or with `null` when there will be none.
    #[napi(catch_unwind)]
    pub fn next(&self, id: f64) -> napi::Result<()> {
        let cancelled = self.pool.inner.channel.open(id as u64, None).map(drop);
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.pool.task(id, move |inner, id| async move {
            let next = async {
                match results {
                    Some(results) => results.next().await,
                    None => None,
                }
            };
            let result = tokio::select! {
                biased;
                () = cancelled => None,
                result = next => result,
            };
            match result {
                Some(result) => over(&result, id, &inner.channel),
                None => inner.channel.push(|records| record::value(records, id, &())),
            }
        })
    }

    /// A result is there, or the end is certain to come: it may be waited for without a doubt.
    #[napi(catch_unwind)]
    pub fn is_due(&self) -> bool {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.as_ref().is_none_or(|results| results.is_due())
    }

    /// Nobody reads any more.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Runs the workers, once.
fn start(inner: &Arc<Inner>, processor: &BackgroundProcessor, started: &AtomicBool) -> Result<(), Error> {
    let pool = inner.ready()?;
    if !started.swap(true, Ordering::Relaxed) {
        let (channel, number) = (Arc::clone(&inner.channel), inner.id);
        let tell = Arc::new(move |events: Vec<Event>| record::events(&channel, number, events)) as _;
        processor.tasks(pool, &tell).into_iter().for_each(io::spawn);
    }
    Ok(())
}

/// Tells of a job until it is over; it may be given up from JavaScript.
async fn stay(job: &Job, id: u64, channel: &Arc<Channel>, cancelled: impl Future<Output = ()>) {
    let accepted = Told::Accepted { id: job.id(), priority: job.priority() };
    channel.push(|records| record::job(records, id, record::json(&accepted)));
    let giving_up = async {
        cancelled.await;
        job.cancel().await;
        std::future::pending().await
    };
    let end = tokio::select! {
        biased;
        end = job.ended() => end,
        end = giving_up => end,
    };
    match end {
        Ok(result) => over(&result, id, channel),
        Err(error) => channel.push(|records| record::error(records, id, &error)),
    }
}

fn over(result: &JobResult, id: u64, channel: &Arc<Channel>) {
    let ended = Told::Ended {
        id: &result.id,
        priority: result.priority,
        metadata: &result.metadata,
        status: result.status,
        tries: result.tries,
        waited_ms: millis(result.waited),
        duration_ms: millis(result.took),
    };
    channel.push(|records| record::job(records, id, record::json(&ended)));
    channel.push(|records| match &result.outcome {
        Ok(response) => record::response(records, id, response.clone(), None),
        Err(error) => record::error(records, id, error),
    });
}

fn on_retry(channel: &Arc<Channel>, id: u64) -> OnRetry {
    let channel = Arc::clone(channel);
    Box::new(move |retry| {
        let JobRetry { error, tries, after, counts } = retry;
        let told = Told::Retry { tries, retry_in_ms: millis(after), counts, error: raw(record::error_json(&error)) };
        channel.push(|records| record::job(records, id, record::json(&told)));
    })
}

fn as_written(spec: JobSpec) -> NotDone {
    let written = spec.written.as_deref().unwrap_or("null").to_owned();
    NotDone { id: spec.id, job: raw(written) }
}

/// A text that is JSON already.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_default()
}
