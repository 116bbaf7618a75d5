//! What an answer is good for beside others.

use super::reply::{FinishReason, Reply};
use super::request::{ChatRequest, ResponseFormat};

/// What an answer is good for. Where there are several, only the best there are count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    Whole,
    /// It ends before it is complete, or does not fit the schema: better than none.
    Partial,
    /// It refuses, a filter has cut it, or it is blank: nothing that others could agree with.
    Declined,
}

impl Worth {
    /// `is_parsed`: the value that a schema was asked for has been read.
    pub fn of(reply: &Reply, is_parsed: bool, request: &ChatRequest) -> Self {
        let wants_schema = matches!(request.response_format, Some(ResponseFormat::JsonSchema(_)));
        let fits = !wants_schema || is_parsed || !reply.tool_calls.is_empty();
        match reply.finish_reason {
            _ if reply.refusal.is_some() || reply.is_blank() => Self::Declined,
            FinishReason::ContentFilter => Self::Declined,
            FinishReason::Stop | FinishReason::ToolCalls if fits => Self::Whole,
            FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Length | FinishReason::Other => Self::Partial,
        }
    }
}
