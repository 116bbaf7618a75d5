//! Asking several providers for one answer: who is asked next, how long they are waited for, and what came of it.

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use crate::engine::Panelist;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, EventLog};
use crate::time::{self, Instant};
use crate::types::{AttemptRecord, CallOptions, ChatResponse, Worth};

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
    /// Who was left, and what was tried until then.
    late: Vec<(usize, Vec<AttemptRecord>)>,
}

impl Plan<'_> {
    /// Asks the panel. Those that had not answered by `until` are left, unless there are fewer answers than are needed or
    /// none that is whole: then they are waited for until that has changed, at most until `ends`.
    pub async fn gather(&self, panel: &[Panelist], until: Instant, ends: Instant, log: &mut EventLog) -> Gathered {
        let left = CancellationToken::new();
        let mut waiting = 0..panel.len();
        let mut asking = FuturesUnordered::new();
        for at in waiting.by_ref().take(self.config.max_parallel) {
            asking.push(self.ask(at, &panel[at], left.clone()));
        }
        let mut gathered = Gathered::default();
        loop {
            let patience = if self.is_enough(&gathered.answers) { until } else { ends };
            let Ok(Some(ended)) = time::until(Some(patience), asking.next()).await else { break };
            if gathered.take(ended, log).is_err()
                && let Some(at) = waiting.next()
            {
                asking.push(self.ask(at, &panel[at], left.clone()));
            }
        }
        // Closes their sockets and books them; what they have tried until now they say themselves.
        left.cancel();
        while let Some(ended) = asking.next().await {
            let _ = gathered.take(ended, log);
        }
        gathered.sort();
        gathered
    }

    /// Is there something to decide by?
    fn is_enough(&self, answers: &[(usize, ChatResponse)]) -> bool {
        let any_whole = answers.iter().any(|(_, response)| self.worth(response) == Worth::Whole);
        any_whole && answers.len() >= self.config.min_successes
    }

    pub(super) fn worth(&self, response: &ChatResponse) -> Worth {
        Worth::of(&response.reply, response.parsed.is_some(), self.request)
    }

    /// One provider's run, unless it is left.
    fn ask<'p>(&'p self, at: usize, panelist: &Panelist, left: CancellationToken) -> BoxFuture<'p, Ended> {
        let options = CallOptions { providers: vec![panelist.name.to_string()], ..self.options.clone() };
        Box::pin(async move {
            let mut log = self.engine.new_log();
            let is_left = async {
                left.cancelled().await;
                Error::cancelled()
            };
            let result = self.engine.chat(self.request, &options, Vec::new(), &mut log, is_left).await;
            Ended { at, result, events: log.take() }
        })
    }
}

/// A run that was no answer.
struct Failed;

impl Gathered {
    fn take(&mut self, ended: Ended, log: &mut EventLog) -> Result<(), Failed> {
        let Ended { at, result, events } = ended;
        log.absorb(events);
        match result {
            Ok(response) => {
                self.answers.push((at, response));
                return Ok(());
            }
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled) => {
                self.late.push((at, error.context().attempts.clone()))
            }
            Err(error) => self.errors.push((at, error)),
        }
        Err(Failed)
    }

    fn sort(&mut self) {
        self.answers.sort_by_key(|(at, _)| *at);
        self.errors.sort_by_key(|(at, _)| *at);
        self.late.sort_by_key(|(at, _)| *at);
    }

    /// The models that were asked, by rank. Whoever only stood in line was not.
    pub fn asked(&self, panel: &[Panelist]) -> Vec<String> {
        let mut asked: Vec<usize> = self.answers.iter().map(|(at, _)| *at).collect();
        let without = self.errors.iter().map(|(at, error)| (*at, &error.context().attempts));
        let without = without.chain(self.late.iter().map(|(at, attempts)| (*at, attempts)));
        asked.extend(without.filter(|(_, attempts)| any_sent(attempts)).map(|(at, _)| at));
        asked.sort_unstable();
        asked.into_iter().map(|at| panel[at].model.clone()).collect()
    }

    /// Everybody's attempts, by rank.
    pub fn trail(&self) -> Vec<AttemptRecord> {
        let answers = self.answers.iter().map(|(at, response)| (*at, &response.attempts));
        let errors = self.errors.iter().map(|(at, error)| (*at, &error.context().attempts));
        let late = self.late.iter().map(|(at, attempts)| (*at, attempts));
        let mut lines: Vec<_> = answers.chain(errors).chain(late).collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().flat_map(|(_, lines)| lines.clone()).collect()
    }
}

/// Has anything gone out to a provider?
fn any_sent(attempts: &[AttemptRecord]) -> bool {
    attempts.iter().any(|line| !line.outcome.sent_nothing())
}
