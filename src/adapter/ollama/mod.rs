//! The native dialect of Ollama: `/api/chat`, its stream one JSON object per line.
//!
//! The compatible `/v1` is not used: it cannot say how large the context window is, and it ends a broken stream without
//! a word. The first byte may take tens of seconds where the server loads the model first: a provider of this kind
//! wants a longer `timeout` than one in the cloud.

mod decode;
mod encode;
mod stream;
mod wire;

pub(super) use decode::reply;
pub(super) use encode::request;
pub(super) use stream::Decoder;
