//! The Anthropic messages dialect.

mod decode;
mod encode;
mod families;
mod stream;
mod thinking;
mod wire;

pub(super) use decode::reply;
pub(super) use encode::request;
pub(super) use stream::Decoder;

/// The version of the API that both old and new SDKs accept; a configured header of this name wins.
pub(super) const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
