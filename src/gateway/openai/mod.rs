//! OpenAI's API. Its chat request is the pool's own shape, so a body is read straight into it.

mod chat;
mod embeddings;
mod relax;
mod responses;
mod stream;

pub(super) use chat::chat;
pub(super) use embeddings::embeddings;
pub(super) use responses::responses;
