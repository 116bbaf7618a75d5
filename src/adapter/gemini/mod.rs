//! The native dialect of Gemini: `generateContent` and its stream.

mod address;
mod decode;
mod encode;
mod families;
mod signatures;
mod stream;
mod wire;

pub(super) use address::address;
pub(super) use decode::reply;
pub(super) use encode::request;
pub(super) use stream::Decoder;
