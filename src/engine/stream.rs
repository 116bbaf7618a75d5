//! A stream after its first content: it belongs to one provider now and never switches.
//!
//! Events flow as they arrive; nothing is read while nobody asks, so a consumer that pauses stops the socket. A stream
//! is complete with a finish reason or the dialect's terminal event; everything else is an interruption, and what had
//! come by then is in the error. Dropping the stream closes the socket and cancels the attempt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Opened, Order, fit};
use super::mask::Mask;
use super::panel::PlanOf;
use super::permit::{Outcome, Permit, Spent};
use super::run::tell;
use super::sharing::Keeping;
use super::{Engine, lock};
use crate::adapter::AnswerForm;
use crate::error::{Context, Error, ErrorKind, Failure, MAX_HINT, Phase};
use crate::event::{Event, EventKind, EventLog, millis, trace};
use crate::metrics::Route;
use crate::policy::Transition;
use crate::schema::Schema;
use crate::time::{self, Instant};
use crate::types::{
    Accumulator, AttemptOutcome, AttemptRecord, ChatRequest, ChatResponse, Decision, Meter, NanoUsd, ProviderName,
    RequestId, StreamEvent, Usage,
};

/// A stream at its first content, with its permit.
pub(super) struct OpenStream {
    permit: Permit,
    opened: Opened,
    model: String,
    /// What this provider could not take of the request.
    warnings: Vec<String>,
    form: AnswerForm,
    sent: Instant,
    first_content: Instant,
}

impl OpenStream {
    pub(super) fn new(
        permit: Permit,
        opened: Opened,
        order: &Order<'_>,
        (warnings, form): (Vec<String>, AnswerForm),
        sent: Instant,
        first_content: Instant,
    ) -> Self {
        Self { permit, opened, model: order.model.to_owned(), warnings, form, sent, first_content }
    }

    pub(super) fn to_first_content(&self) -> Duration {
        self.first_content.duration_since(self.sent)
    }

    /// Tells the provider's breaker that content has come.
    pub(super) fn prove(&mut self) -> Option<Transition> {
        self.permit.prove(self.first_content)
    }
}

/// What a stream takes over from the run that opened it.
pub(super) struct Handover {
    pub request_id: RequestId,
    /// On whose behalf.
    pub tenant: Option<String>,
    pub started: Instant,
    pub deadline: Instant,
    pub trail: Vec<AttemptRecord>,
    pub warnings: Vec<String>,
    pub mask: Arc<Mask>,
    pub errors: u32,
    pub excluded: Vec<ProviderName>,
    pub own_time: Duration,
    pub schema: Option<Arc<Schema>>,
    pub hedged: bool,
    pub meter: Option<Meter>,
}

/// A streamed answer.
///
/// Call [`ChatStream::next`] until it gives `None`; then [`ChatStream::response`] holds the whole answer.
pub struct ChatStream {
    /// `None` when the stream is over, one way or the other.
    open: Option<OpenStream>,
    ready: VecDeque<StreamEvent>,
    engine: Arc<Engine>,
    request: Arc<ChatRequest>,
    told: Handover,
    accumulator: Accumulator,
    provider: ProviderName,
    model: String,
    response: Option<ChatResponse>,
    violation: Option<Error>,
    /// Bytes handed over so far, about.
    kept: usize,
    /// There was more than is kept.
    overflowed: bool,
    /// When something last came from the provider.
    read_at: Instant,
    /// How long nobody asked: the consumer's time, not the provider's.
    paused: Duration,
    /// Where the answer goes when it is whole.
    keeping: Option<Keeping>,
    /// It was asked for by a strategy or a task, which is told of its end.
    plan: Option<PlanOf>,
    /// The stream has failed; told once everything decoded before it was taken.
    pending: Option<Failure>,
    log: EventLog,
}

impl ChatStream {
    pub(super) fn new(
        mut open: OpenStream,
        engine: Arc<Engine>,
        request: Arc<ChatRequest>,
        mut told: Handover,
        log: EventLog,
    ) -> Self {
        told.warnings.append(&mut open.warnings);
        let provider = open.permit.provider().name().clone();
        let model = open.model.clone();
        let ready = std::mem::take(&mut open.opened.ready);
        let read_at = open.first_content;
        Self {
            open: Some(open),
            ready,
            engine,
            request,
            told,
            accumulator: Accumulator::default(),
            provider,
            model,
            response: None,
            violation: None,
            kept: 0,
            overflowed: false,
            read_at,
            paused: Duration::ZERO,
            keeping: None,
            plan: None,
            pending: None,
            log,
        }
    }

    /// A stream of an answer that is here as a whole: there is nothing to wait for, and nothing can cut it.
    pub(super) fn replay(
        response: ChatResponse,
        model: String,
        engine: Arc<Engine>,
        request: Arc<ChatRequest>,
        log: EventLog,
    ) -> Self {
        let now = time::now().mono;
        Self {
            open: None,
            ready: response.reply.events().into(),
            request,
            told: Handover {
                request_id: response.request_id.clone(),
                tenant: None,
                started: now,
                // A consumer may take its time: nobody is kept waiting.
                deadline: now + MAX_HINT,
                trail: Vec::new(),
                warnings: Vec::new(),
                mask: Arc::clone(engine.roster().mask()),
                errors: 0,
                excluded: Vec::new(),
                own_time: Duration::ZERO,
                schema: None,
                hedged: false,
                meter: None,
            },
            engine,
            accumulator: Accumulator::default(),
            provider: response.provider.clone(),
            model,
            response: Some(response),
            violation: None,
            kept: 0,
            overflowed: false,
            read_at: now,
            paused: Duration::ZERO,
            keeping: None,
            plan: None,
            pending: None,
            log,
        }
    }

    /// It was asked for by a strategy or a task: its answer is to say so, and its end is booked as one of those.
    pub fn decided_by(mut self, plan: PlanOf) -> Self {
        if let Some(response) = &mut self.response {
            // A replay is here as a whole.
            let decided = || Box::new(Decision::fastest(plan.strategy, &response.attempts));
            if response.decision.is_none() {
                response.decision = Some(decided());
            }
            self.engine.book_plan(&plan, Ok(response), &mut self.log);
        } else {
            self.plan = Some(plan);
        }
        self
    }

    /// The whole answer is to be kept.
    pub(super) fn keep_as(&mut self, keeping: Keeping) {
        self.keeping = Some(keeping);
    }

    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// What of the request was not sent as it was asked.
    pub fn warnings(&self) -> &[String] {
        self.response.as_ref().map_or(&self.told.warnings, |response| &response.warnings)
    }

    /// The model that was asked for, as the provider names it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The whole answer, once the stream has ended well.
    pub fn response(&self) -> Option<&ChatResponse> {
        self.response.as_ref()
    }

    pub fn into_response(mut self) -> Option<ChatResponse> {
        self.response.take()
    }

    /// Events that were told since the last time.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.log.take()
    }

    /// An event that is here already, without waiting for the provider.
    fn next_ready(&mut self) -> Option<StreamEvent> {
        let event = self.ready.pop_front()?;
        self.keep(&event);
        Some(event)
    }

    /// Keeps what has been said, as far as a whole reply might be kept.
    fn keep(&mut self, event: &StreamEvent) {
        self.kept += event.size();
        let limit = self.engine.roster().limits().qos.max_response_bytes;
        if self.kept <= limit || !event.is_content() || matches!(event, StreamEvent::Finish { .. }) {
            self.accumulator.push(event);
        } else if !self.overflowed {
            self.overflowed = true;
            self.accumulator.forget_content();
            self.told
                .warnings
                .push(format!("content: over qos.max_response_bytes of {limit}, handed over and not kept"));
        }
    }

    /// The call's deadline has come while the consumer was elsewhere.
    pub fn out_of_time(&mut self) -> Error {
        self.interrupt(Failure::timeout(Phase::Deadline, "the call's deadline passed in the middle of the stream"))
    }

    /// Ends it from outside: the socket closes, what had come is booked, and nobody is blamed.
    pub fn end(&mut self, error: Error) -> Error {
        self.cancel();
        self.engine.teller.tell(&mut self.log);
        let Handover { request_id, trail, .. } = &mut self.told;
        error.with_context(Context {
            provider: Some(self.provider.clone()),
            model: Some(self.model.clone()),
            request_id: Some(request_id.clone()),
            attempts: std::mem::take(trail),
            tenant: None,
        })
    }

    /// Books a stream that was left before its end.
    fn cancel(&mut self) {
        // A replay has nothing open, and ends as early.
        self.ready.clear();
        let Some(OpenStream { permit, sent, .. }) = self.open.take() else { return };
        let now = time::now();
        let received = permit.received(self.accumulator.reply());
        // A cancellation never moves the breaker to where anybody must be told.
        let _ = permit.settle(&Outcome::Cancelled { received }, now);
        lock(&self.engine.tally).cancelled(now.unix_ms, Route::Stream);
        if let Some(line) = self.told.trail.last_mut() {
            line.outcome = AttemptOutcome::Cancelled;
            line.latency = now.mono.duration_since(sent);
        }
    }

    /// When the call must be over.
    pub fn deadline(&self) -> Instant {
        self.told.deadline
    }

    /// The next event; `None` at the end of a complete stream. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<StreamEvent, Error>> {
        // The idle clock runs only while somebody asks: a pause of the consumer is not a stall of the provider.
        let mut idle_ends = None;
        loop {
            if let Some(event) = self.next_ready() {
                return Some(Ok(event));
            }
            if let Some(failure) = self.pending.take() {
                return Some(Err(self.interrupt(failure)));
            }
            let open = self.open.as_mut()?;
            if open.opened.ended {
                self.complete();
                return None;
            }
            let patience = open.permit.provider().config().timers.content_idle;
            let idle = *idle_ends.get_or_insert_with(|| {
                let now = time::now().mono;
                self.paused += now.duration_since(self.read_at);
                now + patience
            });
            let ends = idle.min(self.told.deadline);
            let read = time::until(Some(ends), open.opened.read()).await;
            self.read_at = time::now().mono;
            self.ready.append(&mut open.opened.ready);
            let failure = match read {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                // A server that keeps the line open after the finish reason took nothing from the answer.
                Err(_) if self.accumulator.is_finished() => {
                    open.opened.ended = true;
                    continue;
                }
                Err(_) if self.told.deadline <= idle => {
                    Failure::timeout(Phase::Deadline, "the call's deadline passed in the middle of the stream")
                }
                Err(_) => Failure::timeout(
                    Phase::ContentIdle,
                    format!("no content for {} ms in the middle of the stream", patience.as_millis()),
                ),
            };
            // What was decoded before the failure is still the consumer's; the failure comes after it.
            self.pending = Some(failure);
        }
    }

    /// Books a complete stream and builds its answer.
    fn complete(&mut self) {
        let Some(OpenStream { permit, sent, first_content, form, .. }) = self.open.take() else { return };
        let now = time::now();
        let mut reply = std::mem::take(&mut self.accumulator).into_reply();
        reply.sign(&self.provider, &self.model);
        let usage = permit.usage(&reply, &self.request);
        let cost = permit.cost(&usage);
        let spent = self.read_at.duration_since(sent).saturating_sub(self.paused);
        let first_token = Some(first_content.duration_since(sent));
        let fitted =
            fit(self.told.schema.as_deref(), form, &mut reply).map_err(|failure| self.told.mask.failure(failure));
        let outcome = match &fitted {
            Ok(_) => Outcome::Success { latency: spent, first_token, usage: &usage, cost },
            Err(failure) => {
                Outcome::Failure { failure, model: &self.model, spent: Spent::Answer { usage: &usage, cost } }
            }
        };
        let moved = permit.settle(&outcome, now);
        self.engine.teller.tell(&mut self.log);
        if let Some(moved) = moved {
            tell(&mut self.log, &self.provider, moved);
        }
        if let Some(line) = self.told.trail.last_mut() {
            line.latency = spent;
            if let Err(failure) = &fitted {
                line.outcome = AttemptOutcome::Failure;
                line.error_class = Some(failure.class.as_str());
            }
        }
        let latency = now.mono.duration_since(self.told.started);
        if reply.id.is_empty() {
            reply.id = self.told.request_id.to_string();
        }
        if reply.model.is_empty() {
            reply.model.clone_from(&self.model);
        }
        if reply.created == 0 {
            reply.created = now.unix_ms / 1000;
        }
        let parsed = match fitted {
            Ok(parsed) => {
                lock(&self.engine.tally).succeeded(now.unix_ms, Route::Stream, latency, self.told.own_time);
                self.tell_success(&reply.model, latency, usage, cost);
                parsed
            }
            Err(failure) => {
                lock(&self.engine.tally).failed(now.unix_ms, Route::Stream, latency, false);
                self.tell_error(&failure, false);
                self.violation = Some(self.rejected(failure));
                None
            }
        };
        let mut response = ChatResponse {
            parsed,
            reply,
            usage,
            cost: self.told.meter.as_ref().map_or(cost, Meter::total),
            provider: self.provider.clone(),
            request_id: self.told.request_id.clone(),
            latency,
            warnings: std::mem::take(&mut self.told.warnings),
            attempts: std::mem::take(&mut self.told.trail),
            cached: false,
            hedged: self.told.hedged,
            decision: None,
        };
        if let Some(plan) = self.plan.take() {
            response.decision = Some(Box::new(Decision::fastest(plan.strategy, &response.attempts)));
            let ended = self.violation.as_ref().map_or(Ok(&response), Err);
            self.engine.book_plan(&plan, ended, &mut self.log);
        }
        if let Some(keeping) = self.keeping.as_ref().filter(|_| self.violation.is_none() && !self.overflowed) {
            self.engine.keep(keeping, &mut response);
        }
        self.response = Some(response);
    }

    /// The whole answer does not fit the caller's schema. What was handed over stands; only the answer is refused.
    fn rejected(&self, failure: Failure) -> Error {
        let message = format!("{}: {failure}", self.provider);
        Error::new(ErrorKind::Provider { failure }, message).with_context(Context {
            provider: Some(self.provider.clone()),
            model: Some(self.model.clone()),
            request_id: Some(self.told.request_id.clone()),
            attempts: self.told.trail.clone(),
            tenant: None,
        })
    }

    /// Why the whole answer is refused although the stream ended well: it does not fit the caller's schema.
    pub fn take_violation(&mut self) -> Option<Error> {
        self.violation.take()
    }

    fn tell_success(&mut self, model: &str, latency: Duration, usage: Usage, cost: Option<NanoUsd>) {
        let Handover { request_id, tenant, errors, excluded, .. } = &self.told;
        let provider = &self.provider;
        self.log.emit(EventKind::RequestSuccess, || Event::RequestSuccess {
            request_id: request_id.clone(),
            provider: provider.clone(),
            model: model.to_owned(),
            attempt: errors + 1,
            latency_ms: millis(latency),
            usage,
            cost,
            cached: false,
            tenant: tenant.clone(),
            total_errors: *errors,
            excluded_providers: excluded.clone(),
        });
    }

    /// `retryable`: another call may well be answered.
    fn tell_error(&mut self, failure: &Failure, retryable: bool) {
        let Handover { request_id, tenant, errors, excluded, .. } = &self.told;
        let provider = &self.provider;
        self.log.emit(EventKind::RequestError, || Event::RequestError {
            request_id: request_id.clone(),
            provider: provider.clone(),
            attempt: errors + 1,
            error: failure.message.clone(),
            error_class: failure.class.as_str(),
            status: failure.status,
            retryable,
            tenant: tenant.clone(),
            excluded_providers: excluded.clone(),
        });
    }

    /// Books a cut stream and builds its error, with what had come.
    fn interrupt(&mut self, failure: Failure) -> Error {
        let now = time::now();
        let Some(OpenStream { permit, sent, .. }) = self.open.take() else {
            return Error::new(ErrorKind::Internal, "a stream that was over failed");
        };
        // Out of time, events may wait that nobody has taken: after the error there is nothing more.
        self.ready.clear();
        let failure = self.told.mask.failure(failure);
        let received = permit.received(self.accumulator.reply());
        // The caller's deadline is not the provider's failure.
        let outcome = match failure.phase {
            Some(Phase::Deadline) => Outcome::Cancelled { received },
            _ => Outcome::Failure { failure: &failure, model: &self.model, spent: Spent::Received(received) },
        };
        let class = outcome.class();
        let moved = permit.settle(&outcome, now);
        self.engine.teller.tell(&mut self.log);
        if let Some(moved) = moved {
            tell(&mut self.log, &self.provider, moved);
        }
        let duration = now.mono.duration_since(self.told.started);
        lock(&self.engine.tally).failed(now.unix_ms, Route::Stream, duration, class.is_none());
        if let Some(line) = self.told.trail.last_mut() {
            line.outcome = if class.is_some() { AttemptOutcome::Failure } else { AttemptOutcome::Cancelled };
            line.error_class = class.map(|class| class.as_str());
            line.latency = now.mono.duration_since(sent);
        }
        if class.is_some() {
            self.tell_error(&failure, true);
        }
        let Handover { request_id, trail, .. } = &mut self.told;
        let message = format!("{} stopped in the middle of the stream: {failure}", self.provider);
        let partial = Box::new(std::mem::take(&mut self.accumulator).into_reply());
        let error = Error::new(ErrorKind::StreamInterrupted { partial, failure }, message).with_context(Context {
            provider: Some(self.provider.clone()),
            model: Some(self.model.clone()),
            request_id: Some(request_id.clone()),
            attempts: std::mem::take(trail),
            tenant: None,
        });
        if let Some(plan) = self.plan.take() {
            self.engine.book_plan(&plan, Err(&error), &mut self.log);
        }
        self.log.span().in_scope(|| trace::failed(&error));
        error
    }
}

impl Drop for ChatStream {
    /// A stream that is left early was cancelled.
    fn drop(&mut self) {
        self.cancel();
    }
}
