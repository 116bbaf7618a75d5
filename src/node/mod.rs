//! The Node addon: the only module that names napi.
//!
//! JavaScript submits calls and gets completions; nothing else crosses. A call goes in as one JSON string, is read on
//! the I/O thread, and comes back as a run of numbers and a few texts, so that no tree of values is ever built on
//! either side of the border. There is one queue of completions per JavaScript environment and one threadsafe function
//! that rings when that queue stops being empty; promises live in JavaScript.
//!
//! Panics never cross: tasks are caught and reject their call, sync exports carry `catch_unwind`.

#![expect(unsafe_code, reason = "napi's generated registration code, and the places named in bridge.rs and records.rs")]

mod analysis;
mod bridge;
#[cfg(feature = "gateway")]
mod gateway;
mod io;
mod jobs;
mod load;
mod pool;
mod record;
mod records;
mod steer;
mod stream;
mod turn;

use napi_derive::napi;

/// A call makes some hundred small allocations; glibc's allocator took a seventh of its time. It serves this library
/// only: Node keeps its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The version of the package this addon was built from; the JavaScript side refuses another one.
#[cfg_attr(test, allow(dead_code, reason = "napi registers nothing in a test build"))]
#[napi(catch_unwind)]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
