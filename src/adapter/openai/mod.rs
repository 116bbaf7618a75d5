//! The OpenAI chat dialect and everything shaped like it.
//!
//! Differences between the services of this family are data in [`super::catalog`]; the code here reads rows, never
//! names.

mod calls;
mod decode;
mod echo;
mod encode;
mod stream;
mod think;
mod wire;

pub(super) use decode::reply;
pub(super) use encode::request;
pub(super) use stream::{Decoder, decoder};
