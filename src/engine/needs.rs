//! What a call needs of whoever answers it, against what is known of a provider's model.
//!
//! Only what is known keeps a provider from a call: a capability that it is known not to have, a window that the prompt
//! is sure not to fit. What is not known is tried, and the provider's own refusal fails over.
//!
//! Tokens are estimated, and a catalogue ages: a window that only the catalogue knows keeps a provider from a call as
//! long as somebody else is left, and then the provider may say itself that the prompt is too long.

use super::attempt::input_tokens;
use super::work::Work;
use crate::adapter::{Capabilities, Capability, Facts};
use crate::tokens;
use crate::types::{Content, EmbedInput, Message, Part};

/// An estimate may be twice what the provider counts (long runs of blanks, scripts of three bytes a letter): a prompt is
/// surely too long when half of its estimate is.
const SURELY: u64 = 2;

pub(super) struct Needs<'a> {
    work: Work<'a>,
    capabilities: Capabilities,
    /// No prompt has more tokens than bytes.
    bytes: u64,
    /// Counted when a window is near.
    estimate: Option<u64>,
}

impl<'a> Needs<'a> {
    pub fn of(work: Work<'a>) -> Self {
        let (capabilities, bytes) = match work {
            Work::Chat(request) | Work::Stream(request) => {
                (Capabilities::needed_by(request), request.messages.iter().map(text_bytes).sum::<usize>())
            }
            // Each input is a prompt of its own.
            Work::Embed(request) => (Capabilities::of(&[Capability::Embeddings]), longest_bytes(&request.input)),
            // What a function of the caller's own needs, only the caller knows.
            Work::Own { .. } => (Capabilities::default(), 0),
        };
        Self { work, capabilities, bytes: bytes as u64, estimate: None }
    }

    /// What this model is known not to be capable of, and is needed.
    pub fn beyond(&self, model: &str, facts: Facts) -> Option<String> {
        let missing = self.capabilities.common(facts.cannot);
        (!missing.is_empty()).then(|| format!("its model {model:?} is not capable of: {missing}"))
    }

    /// By how much the prompt is surely too long for this model.
    pub fn too_long(&mut self, model: &str, facts: Facts) -> Option<String> {
        let window = facts.context_window?;
        if self.bytes <= window {
            return None;
        }
        let estimate = *self.estimate.get_or_insert_with(|| match self.work {
            Work::Chat(request) | Work::Stream(request) => tokens::estimate_prompt(request),
            Work::Embed(request) => longest_tokens(&request.input),
            Work::Own { .. } => 0,
        });
        (estimate / SURELY > window).then(|| {
            format!("the prompt of about {estimate} tokens is over the {window} that its model {model:?} reads")
        })
    }
}

fn longest_bytes(input: &EmbedInput) -> usize {
    match input {
        EmbedInput::Texts(texts) => texts.iter().map(String::len).max().unwrap_or(0),
        EmbedInput::Tokens(lists) => lists.iter().map(Vec::len).max().unwrap_or(0),
    }
}

fn longest_tokens(input: &EmbedInput) -> u64 {
    (0..input.len()).map(|at| input_tokens(input, at)).max().unwrap_or(0)
}

fn text_bytes(message: &Message) -> usize {
    match &message.content {
        Content::Empty => 0,
        Content::Text(text) => text.len(),
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text { text } => text.len(),
                _ => 0,
            })
            .sum(),
    }
}
