//! What a call asks of whoever answers it. The loop of a call is the same for all of them.

use super::turn::Task;
use crate::policy::Pace;
use crate::types::{ChatRequest, EmbedRequest};

#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    /// A whole answer.
    Chat(&'a ChatRequest),
    /// An answer from its first content on.
    Stream(&'a ChatRequest),
    /// Embeddings, in batches: each is an attempt of its own.
    Embed(&'a EmbedRequest),
    /// A function of the caller's own, for this model or each provider's own one.
    Own { model: Option<&'a str>, task: &'a dyn Task },
}

impl<'a> Work<'a> {
    /// The model that is asked for.
    pub fn model(self) -> Option<&'a str> {
        match self {
            Self::Chat(request) | Self::Stream(request) => request.model.as_deref(),
            Self::Embed(request) => request.model.as_deref(),
            Self::Own { model, .. } => model,
        }
    }

    /// The request that goes over the pool's own wire.
    pub fn request(self) -> Option<&'a ChatRequest> {
        match self {
            Self::Chat(request) | Self::Stream(request) => Some(request),
            Self::Embed(_) | Self::Own { .. } => None,
        }
    }

    /// Which of a provider's latencies matters to it.
    pub fn pace(self) -> Pace {
        if self.streams() { Pace::FirstContent } else { Pace::Whole }
    }

    pub fn streams(self) -> bool {
        matches!(self, Self::Stream(_))
    }
}
