//! The calls that can be made of the engine. Each is a run; they differ in what they ask and in what their answer becomes.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, Span};

use super::Run;
use crate::engine::Engine;
use crate::engine::attempt::{Answer, Own, Whole};
use crate::engine::lock;
use crate::engine::stream::ChatStream;
use crate::engine::turn::Task;
use crate::engine::work::Work;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, EventKind, EventLog, millis};
use crate::metrics::Route;
use crate::time;
use crate::types::{
    AttemptOutcome, AttemptRecord, CallOptions, ChatRequest, ChatResponse, EmbedRequest, EmbedResponse, NanoUsd,
    ProviderName, RequestId, Usage,
};

/// What a call came to, with the events that ride along.
pub struct Completed<T> {
    pub result: Result<T, Error>,
    pub events: Vec<Event>,
}

/// How a call of a function of the caller's own went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Executed {
    pub provider: ProviderName,
    pub model: String,
    /// What the function said it used.
    pub usage: Usage,
    /// `None`: unknown.
    pub cost: Option<NanoUsd>,
    pub request_id: RequestId,
    pub latency: Duration,
    pub attempts: Vec<AttemptRecord>,
}

impl Engine {
    /// Answers one request, unless `ended` says first why the call is over. Dropping the future cancels the call: the
    /// socket closes, what was reserved returns.
    pub async fn chat(
        &self,
        request: &ChatRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatResponse, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Chat, options, warnings, log);
        let result = unless(run.span(), ended, pin!(run.whole(request, options))).await;
        result.map_err(|error| run.give_context(error))
    }

    /// Makes embeddings, batch after batch, all by one provider.
    pub async fn embed(
        &self,
        request: &EmbedRequest,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<EmbedResponse, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Embed, options, warnings, log);
        let result = unless(run.span(), ended, pin!(run.embed(request, options))).await;
        result.map_err(|error| run.give_context(error))
    }

    /// Opens a stream at its first content; until then every failure fails over.
    pub async fn stream(
        self: &Arc<Self>,
        request: Arc<ChatRequest>,
        options: &CallOptions,
        warnings: Vec<String>,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<ChatStream, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Stream, options, warnings, log);
        let opened = unless(run.span(), ended, pin!(run.first(Work::Stream(&request), options))).await;
        match opened {
            Ok((Answer::Stream(open), _)) => {
                let mut log = EventLog::new(Arc::clone(&self.interest));
                log.begin(run.span());
                Ok(ChatStream::new(*open, Arc::clone(self), Arc::clone(&request), run.handover(), log))
            }
            Ok(_) => Err(Error::new(ErrorKind::Internal, "a stream came back as something else")),
            Err(error) => Err(run.give_context(error)),
        }
    }

    /// Runs a function of the caller's own where a chat would be asked, for `model` or each provider's own one.
    pub async fn execute(
        &self,
        task: &dyn Task,
        model: Option<&str>,
        options: &CallOptions,
        log: &mut EventLog,
        ended: impl Future<Output = Error>,
    ) -> Result<Executed, Error> {
        let roster = Arc::clone(&self.roster());
        let mut run = Run::new(self, &roster, Route::Execute, options, Vec::new(), log);
        let result = unless(run.span(), ended, pin!(run.own(Work::Own { model, task }, options))).await;
        result.map_err(|error| run.give_context(error))
    }
}

impl Run<'_> {
    async fn whole(&mut self, request: &ChatRequest, options: &CallOptions) -> Result<ChatResponse, Error> {
        let (Answer::Whole(whole), name) = self.first(Work::Chat(request), options).await? else {
            return Err(Error::new(ErrorKind::Internal, "a whole answer came back as something else"));
        };
        let Whole { mut reply, parsed, usage, cost, warnings: own, .. } = whole;
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(own);
        if reply.id.is_empty() {
            reply.id = self.request_id.to_string();
        }
        if reply.model.is_empty() {
            // Of two that were asked at once, both may have answered.
            let answers = |line: &&AttemptRecord| line.outcome == AttemptOutcome::Success && line.provider == name;
            let answered = self.trail.iter().rfind(answers);
            reply.model = answered.map(|line| line.model.clone()).unwrap_or_default();
        }
        if reply.created == 0 {
            reply.created = self.started.unix_ms / 1000;
        }
        let latency = self.succeed(&name, &reply.model, usage, cost);
        Ok(ChatResponse {
            parsed,
            reply,
            usage,
            cost,
            provider: name,
            request_id: self.request_id.clone(),
            latency,
            warnings,
            attempts: std::mem::take(&mut self.trail),
            cached: false,
            hedged: self.hedged,
            decision: None,
        })
    }

    async fn own(&mut self, work: Work<'_>, options: &CallOptions) -> Result<Executed, Error> {
        let (Answer::Own(Own { usage, cost, .. }), provider) = self.first(work, options).await? else {
            return Err(Error::new(ErrorKind::Internal, "a function of the caller's came back as something else"));
        };
        let model = self.trail.last().map(|line| line.model.clone()).unwrap_or_default();
        let latency = self.succeed(&provider, &model, usage, cost);
        let attempts = std::mem::take(&mut self.trail);
        Ok(Executed { provider, model, usage, cost, request_id: self.request_id.clone(), latency, attempts })
    }

    /// Books a call that was answered, and says how long it took.
    pub(super) fn succeed(
        &mut self,
        provider: &ProviderName,
        model: &str,
        usage: Usage,
        cost: Option<NanoUsd>,
    ) -> Duration {
        let now = time::now();
        let latency = now.mono.duration_since(self.started.mono);
        self.closed = true;
        lock(&self.engine.tally).succeeded(now.unix_ms, self.route, latency, latency.saturating_sub(self.not_ours));
        self.engine.teller.tell(self.log);
        self.log.emit(EventKind::RequestSuccess, || Event::RequestSuccess {
            request_id: self.request_id.clone(),
            provider: provider.clone(),
            model: model.to_owned(),
            attempt: self.errors + 1,
            latency_ms: millis(latency),
            usage,
            cost,
            cached: false,
            tenant: self.on_behalf_of.map(str::to_owned),
            total_errors: self.errors,
            excluded_providers: self.excluded.clone(),
        });
        latency
    }
}

/// The call, unless it is over before. It comes pinned: moved in, its kilobytes of state would stand in its caller's
/// state twice.
async fn unless<T>(
    span: Span,
    ended: impl Future<Output = Error>,
    call: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    tokio::select! {
        // In this order: an answer that is here goes over an end that came with it.
        biased;
        result = call.instrument(span) => result,
        error = ended => Err(error),
    }
}
