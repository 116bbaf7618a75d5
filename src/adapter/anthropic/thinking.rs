//! Decides how a request makes Claude think, from `reasoning_effort`.
//!
//! Thinking excludes two things that a request may also ask for, and they win over it, being the more definite wish:
//! a tool that must be called, and (where thinking is a budget) going on with calls whose thoughts are not there any
//! more because another provider made them.

use super::super::gate::Gate;
use super::super::parts::own_state;
use super::families::{Thinking, family};
use super::wire::OutThinking;
use crate::types::{ChatRequest, Message, Role, ToolChoice};

/// The least budget there is.
const MIN_BUDGET: u32 = 1024;
/// Words of `reasoning_effort` from the least, each with the budget it stands for; those that Google documents for the
/// OpenAI dialect of its own models, there being no such mapping of Anthropic's.
const EFFORTS: &[(&str, u32)] =
    &[("minimal", 1024), ("low", 1024), ("medium", 8192), ("high", 24_576), ("xhigh", 24_576), ("max", 24_576)];

/// What is sent for `reasoning_effort`.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub thinking: Option<OutThinking>,
    pub effort: Option<&'static str>,
}

/// `bound` is the `max_tokens` that was said, by the request or the configuration.
pub(super) fn asked(request: &ChatRequest, model: &str, bound: Option<u32>, gate: &mut Gate<'_>) -> Asked {
    let Some(word) = gate.take("reasoning_effort", request.reasoning_effort.as_deref()) else {
        return Asked::default();
    };
    if word == "none" {
        return Asked::default(); // it does not think unless it is asked to
    }
    let Some(level) = EFFORTS.iter().position(|(known, _)| *known == word) else {
        gate.refuse("reasoning_effort", format_args!("there is no \"{word}\" here"));
        return Asked::default();
    };
    let family = family(model);
    let effort = nearest(family.efforts, level);
    if let Some(effort) = effort.filter(|effort| *effort != word) {
        gate.warn("reasoning_effort", format_args!("\"{word}\" is sent as \"{effort}\""));
    }
    let forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    let thinking = match family.thinking {
        Thinking::None => Err("this model does not think"),
        _ if forced => Err("anthropic does not think where a tool must be called"),
        Thinking::Adaptive => Ok(OutThinking::Adaptive),
        Thinking::Budget if is_open_without_thoughts(request, gate) => {
            Err("this model does not go on thinking over calls whose thoughts it did not make")
        }
        Thinking::Budget => {
            let budget = bound.map_or(EFFORTS[level].1, |bound| EFFORTS[level].1.min(bound.saturating_sub(1)));
            if budget < MIN_BUDGET {
                Err("this model thinks only with a max_tokens above 1024")
            } else {
                Ok(OutThinking::Enabled { budget_tokens: budget })
            }
        }
    };
    if let Err(why) = thinking {
        gate.refuse("reasoning_effort", why);
    }
    Asked { thinking: thinking.ok(), effort }
}

/// The highest word that is not above the wanted one, or the lowest there is.
fn nearest(known: &'static [&'static str], level: usize) -> Option<&'static str> {
    let place = |word: &str| EFFORTS.iter().position(|(effort, _)| *effort == word);
    known.iter().rev().find(|word| place(word).is_some_and(|place| place <= level)).or(known.first()).copied()
}

/// The last turn is still open (its calls were just answered) and does not begin with thoughts of this model.
fn is_open_without_thoughts(request: &ChatRequest, gate: &Gate<'_>) -> bool {
    let said = |message: &&Message| !matches!(message.role, Role::System | Role::Developer);
    let mut back = request.messages.iter().rev().filter(said);
    if !back.next().is_some_and(|last| last.role == Role::Tool) {
        return false;
    }
    let turn = back.take_while(|message| message.role != Role::User).filter(|message| message.role == Role::Assistant);
    turn.last().is_some_and(|first| own_state(first, gate).is_none())
}
