//! llmpool answers a chat request by the best LLM provider that can answer it, whatever breaks upstream.
//!
//! The modules in layer order: each may use those above it, never those below. Modules of one line are leaves that
//! know nothing of each other; `config` composes their parameters and `engine` composes their behaviour.

// rank 0
pub mod time;
pub mod types;
// rank 1
pub mod error;
// rank 2
pub mod event;
// rank 3: the leaves
pub mod adapter;
pub mod cost;
pub mod metrics;
pub mod policy;
pub mod tokens;
pub mod transport;
// rank 4
pub mod config;
// rank 5
pub mod engine;
// rank 7
pub mod pool;
// rank 9
#[cfg(feature = "node")]
mod node;
