//! The dialect of Cohere's chat API, version 2.

mod decode;
mod encode;
mod stream;
mod wire;

pub(super) use decode::reply;
pub(super) use encode::request;
pub(super) use stream::Decoder;
