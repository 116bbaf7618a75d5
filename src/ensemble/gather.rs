//! Asking several providers for one answer: who is asked next, how long they are waited for, and what came of it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::plan::Plan;
use crate::engine::Panelist;
use crate::error::Error;
use crate::event::{Event, EventLog};
use crate::time::{self, Instant};
use crate::types::{
    AttemptOutcome, AttemptRecord, CallOptions, ChatRequest, ChatResponse, FinishReason, ResponseFormat,
};

/// How one run of a plan ended.
struct Ended {
    /// Which of the panel it was.
    at: usize,
    result: Result<ChatResponse, Error>,
    events: Vec<Event>,
}

/// What came of all runs, by place in the panel.
#[derive(Default)]
pub struct Gathered {
    pub answers: Vec<(usize, ChatResponse)>,
    pub errors: Vec<(usize, Error)>,
    /// Who was asked and had not answered in time, and since when.
    late: Vec<(usize, Instant)>,
}

/// What an answer is good for. Only the best there are have a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    Whole,
    /// It ends before it is complete, or does not fit the schema: better than none.
    Partial,
    /// It refuses, or a filter has cut it: nothing that others could agree with.
    Declined,
}

impl Plan<'_> {
    /// Asks the panel. Those that had not answered by `until` are left, unless nobody has given a whole answer: then the
    /// first one before `ends` will do.
    pub async fn gather(&self, panel: &[Panelist], until: Instant, ends: Instant, log: &mut EventLog) -> Gathered {
        let mut waiting = 0..panel.len();
        let mut asking = FuturesUnordered::new();
        let mut late = Vec::new();
        for at in waiting.by_ref().take(self.config.max_parallel) {
            late.push((at, time::now().mono));
            asking.push(self.ask(at, &panel[at]));
        }
        let mut gathered = Gathered::default();
        loop {
            let is_whole = |response: &ChatResponse| Worth::of(response, self.request) == Worth::Whole;
            let any_whole = gathered.answers.iter().any(|(_, response)| is_whole(response));
            let patience = if any_whole { until } else { ends };
            let Ok(Some(Ended { at, result, events })) = time::until(Some(patience), asking.next()).await else {
                break;
            };
            late.retain(|(asked, _)| *asked != at);
            log.absorb(events);
            match result {
                Ok(response) => gathered.answers.push((at, response)),
                Err(error) => {
                    gathered.errors.push((at, error));
                    if let Some(at) = waiting.next() {
                        late.push((at, time::now().mono));
                        asking.push(self.ask(at, &panel[at]));
                    }
                }
            }
        }
        drop(asking); // closes their sockets, and books them
        gathered.late = late;
        gathered.sort();
        gathered
    }

    /// One provider's run.
    fn ask<'p>(&'p self, at: usize, panelist: &Panelist) -> BoxFuture<'p, Ended> {
        let options = CallOptions { providers: vec![panelist.name.to_string()], ..self.options.clone() };
        Box::pin(async move {
            let mut log = self.engine.new_log();
            let never = std::future::pending();
            let result = self.engine.chat(self.request, &options, Vec::new(), &mut log, never).await;
            Ended { at, result, events: log.take() }
        })
    }
}

impl Gathered {
    fn sort(&mut self) {
        self.answers.sort_by_key(|(at, _)| *at);
        self.errors.sort_by_key(|(at, _)| *at);
        self.late.sort_by_key(|(at, _)| *at);
    }

    /// The models that were asked, by rank.
    pub fn asked(&self, panel: &[Panelist]) -> Vec<String> {
        let sent = |error: &Error| error.context().attempts.iter().any(|line| !line.outcome.sent_nothing());
        let failed = self.errors.iter().filter(|(_, error)| sent(error)).map(|(at, _)| *at);
        let answered = self.answers.iter().map(|(at, _)| *at);
        let mut asked: Vec<usize> = answered.chain(failed).chain(self.late.iter().map(|(at, _)| *at)).collect();
        asked.sort_unstable();
        asked.into_iter().map(|at| panel[at].model.clone()).collect()
    }

    /// Everybody's attempts, by rank.
    pub fn trail(&self, panel: &[Panelist]) -> Vec<AttemptRecord> {
        let now = time::now().mono;
        let mut lines: Vec<(usize, Vec<AttemptRecord>)> = Vec::new();
        lines.extend(self.answers.iter().map(|(at, response)| (*at, response.attempts.clone())));
        lines.extend(self.errors.iter().map(|(at, error)| (*at, error.context().attempts.clone())));
        lines.extend(self.late.iter().map(|(at, since)| {
            let line = AttemptRecord {
                provider: panel[*at].name.clone(),
                model: panel[*at].model.clone(),
                key_index: None,
                outcome: AttemptOutcome::Cancelled,
                error_class: None,
                status: None,
                latency: now.duration_since(*since),
                waited: Duration::ZERO,
            };
            (*at, vec![line])
        }));
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().flat_map(|(_, lines)| lines).collect()
    }
}

impl Worth {
    pub fn of(response: &ChatResponse, request: &ChatRequest) -> Self {
        let reply = &response.reply;
        let wants_schema = matches!(request.response_format, Some(ResponseFormat::JsonSchema(_)));
        let fits = !wants_schema || response.parsed.is_some() || !reply.tool_calls.is_empty();
        match reply.finish_reason {
            _ if reply.refusal.is_some() => Self::Declined,
            FinishReason::ContentFilter => Self::Declined,
            FinishReason::Stop | FinishReason::ToolCalls if fits => Self::Whole,
            FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Length | FinishReason::Other => Self::Partial,
        }
    }
}
