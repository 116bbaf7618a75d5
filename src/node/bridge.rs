//! Completions on their way to one JavaScript environment.
//!
//! Every environment (the main thread, each worker) makes one [`Bridge`]. Tasks on the I/O thread push records into its
//! queue; the one that finds it empty rings, and JavaScript drains everything that has come by then in one call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Env, Float64ArraySlice};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Status, sys};
use napi_derive::napi;
use tokio::sync::oneshot;

use super::io;
use super::records::{Records, Text};
use super::stream::Credit;

/// Rings in JavaScript. Weak: waiting for nothing keeps no process alive.
type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Records that may wait before JavaScript is woken in the middle of a turn. A turn of the I/O thread completes what it
/// can and rings once; a long one rings earlier, so that both threads work.
const BATCH: usize = 16;

/// The queue and the bell of one environment, as tasks see it.
pub struct Channel {
    records: Mutex<Records>,
    wake: Wake,
    calls: Mutex<HashMap<u64, Call>>,
    /// JavaScript is in the middle of handing calls over.
    corked: AtomicBool,
}

/// What JavaScript can still do to a call under way.
struct Call {
    cancel: Option<oneshot::Sender<()>>,
    credit: Option<Arc<Credit>>,
    /// The turn of the caller's own function that is waited for.
    turn: Option<(u32, oneshot::Sender<String>)>,
}

impl Channel {
    /// Adds one record, whole: records of different tasks never mix. Only to be called on the I/O thread.
    pub fn push(self: &Arc<Self>, write: impl FnOnce(&mut Records)) {
        let count = {
            let mut records = held(&self.records);
            write(&mut records);
            records.end()
        };
        if count == 1 {
            // Behind everything that is ready now: what completes in this turn crosses together.
            let channel = Arc::clone(self);
            io::spawn(async move { channel.ring() });
        } else if count % BATCH == 0 {
            self.ring();
        }
    }

    fn ring(&self) {
        // A closing environment takes no more calls; then nobody waits for the records either.
        let _ = self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Is JavaScript going to ring by itself?
    pub fn is_corked(&self) -> bool {
        self.corked.load(Ordering::Relaxed)
    }

    /// Enters a call; the receiver resolves when JavaScript cancels it.
    pub fn open(&self, id: u64, credit: Option<Arc<Credit>>) -> oneshot::Receiver<()> {
        let (cancel, cancelled) = oneshot::channel();
        held(&self.calls).insert(id, Call { cancel: Some(cancel), credit, turn: None });
        cancelled
    }

    /// Waits for what becomes of one turn of the caller's own function.
    pub fn begin_turn(&self, id: u64, attempt: u32) -> oneshot::Receiver<String> {
        let (tell, told) = oneshot::channel();
        if let Some(call) = held(&self.calls).get_mut(&id) {
            call.turn = Some((attempt, tell));
        }
        told
    }

    /// Forgets a call that is over.
    pub fn close(&self, id: u64) {
        held(&self.calls).remove(&id);
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The JavaScript end. One per environment.
#[napi]
pub struct Bridge {
    channel: Arc<Channel>,
}

#[napi]
impl Bridge {
    /// `wake` is called on the JavaScript thread when records wait for `drain()`.
    #[napi(constructor, catch_unwind)]
    pub fn new(#[napi(ts_arg_type = "() => void")] wake: Wake) -> Self {
        Self {
            channel: Arc::new(Channel {
                records: Mutex::default(),
                wake,
                calls: Mutex::default(),
                corked: AtomicBool::new(false),
            }),
        }
    }

    /// Takes all waiting records: their numbers into `numbers`, behind how many there are, their texts as the result.
    /// `null`, and nothing is taken, when `numbers` is too short.
    #[napi(catch_unwind, ts_return_type = "string[] | null")]
    pub fn drain(&self, mut numbers: Float64ArraySlice<'_>) -> Option<Vec<Text>> {
        // SAFETY: the block is JavaScript's, this is its thread, and nothing of JavaScript runs before this returns.
        held(&self.channel.records).drain(unsafe { numbers.as_mut() })
    }

    /// The reader has lost its place in the records: what waits is dropped, and words cross as texts again.
    #[napi(catch_unwind)]
    pub fn forget(&self) {
        held(&self.channel.records).forget();
    }

    /// Answers are about to be handed out, and what their callers ask next comes in one go: the I/O thread is woken once
    /// for all of it, by `uncork()`.
    #[napi(catch_unwind)]
    pub fn cork(&self) {
        self.channel.corked.store(true, Ordering::Relaxed);
    }

    #[napi(catch_unwind)]
    pub fn uncork(&self) {
        self.channel.corked.store(false, Ordering::Relaxed);
        io::ring();
    }

    /// From now on the process stays alive: calls are open.
    #[napi(js_name = "ref", catch_unwind)]
    pub fn hold(&self, env: Env) {
        // SAFETY: the environment is the one the function was made in (a Bridge never leaves it), this is its thread,
        // and the handle lives as long as `self`.
        unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.channel.wake.raw()) };
    }

    /// No call is open: the process may end.
    #[napi(js_name = "unref", catch_unwind)]
    pub fn release(&self, env: Env) {
        // SAFETY: as in `hold`.
        unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.channel.wake.raw()) };
    }

    /// Cancels a call. Its completion still comes, so that everything is settled when the caller hears of it.
    #[napi(catch_unwind)]
    pub fn cancel(&self, id: f64) {
        if let Some(cancel) = held(&self.channel.calls).get_mut(&(id as u64)).and_then(|call| call.cancel.take()) {
            let _ = cancel.send(()); // a call that ended in this moment has nobody listening
        }
    }

    /// The consumer took `count` chunks of a stream.
    #[napi(catch_unwind)]
    pub fn ack(&self, id: f64, count: u32) {
        if let Some(credit) = held(&self.channel.calls).get(&(id as u64)).and_then(|call| call.credit.as_ref()) {
            credit.give_back(count as usize);
        }
    }
}

#[napi]
impl Bridge {
    /// What became of a turn of `pool.execute()`, as JSON. One that nobody waits for any more is dropped.
    #[napi(catch_unwind)]
    pub fn settle(&self, id: f64, attempt: u32, report: String) {
        let mut calls = held(&self.channel.calls);
        let Some(call) = calls.get_mut(&(id as u64)) else { return };
        if let Some((_, tell)) = call.turn.take_if(|(waited, _)| *waited == attempt) {
            let _ = tell.send(report); // its attempt may have ended in this moment
        }
    }
}

impl Bridge {
    pub(super) fn channel(&self) -> Arc<Channel> {
        Arc::clone(&self.channel)
    }
}

impl Drop for Bridge {
    /// The environment is gone (a worker was terminated): its calls have nobody to answer to.
    fn drop(&mut self) {
        for (_, call) in held(&self.channel.calls).drain() {
            if let Some(cancel) = call.cancel {
                let _ = cancel.send(());
            }
        }
    }
}
