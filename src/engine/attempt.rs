//! One try at one provider: encode, send, wait under the timers, read, classify.
//!
//! The permit is settled here, whatever happens: by the outcome, or by being dropped with the future.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

use super::lock;
use super::mask::Mask;
use super::media::{self, Fetched};
use super::permit::{Dispatch, Outcome, Permit, Spent};
use super::provider::Provider;
use super::roster::{CallLimits, Roster};
use super::stream::OpenStream;
use super::turn::{Fault, Task, Turn};
use super::work::Work;
use crate::adapter::{AnswerForm, Encoded, Endpoint, RateHeaders, StreamDecoder, transport_failure};
use crate::error::{Failure, FailureClass, Phase};
use crate::policy::Transition;
use crate::schema::{Fit, Schema};
use crate::time::{self, Instant, Now};
use crate::tokens::{self, PromptSize};
use crate::transport::{self, Body, HttpReply, HttpRequest, MediaClient, Started, read_all, read_prefix};
use crate::types::{
    CallOptions, ChatRequest, EmbedInput, EmbedReply, EmbedRequest, FieldError, FinishReason, NanoUsd, Reply,
    StreamEvent, Usage,
};

/// Error bodies are read this far; what a provider says about a failure fits into a thousandth of it.
const ERROR_BODY_BYTES: usize = 1024 * 1024;
/// An error's body is waited for this long: its status and headers have said the most of it already.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(2);

/// What one attempt needs to know of its call.
pub(super) struct Order<'a> {
    pub work: Work<'a>,
    pub options: &'a CallOptions,
    /// The call's own headers, checked.
    pub headers: &'a [(HeaderName, HeaderValue)],
    pub mask: &'a Arc<Mask>,
    pub model: &'a str,
    /// Fields that this provider has refused.
    pub without: &'a [String],
    /// Counted from 1, over the whole call.
    pub attempt: u32,
    /// Vectors that this provider gave to the call before.
    pub before: &'a [Vec<f64>],
    /// What the answer must fit.
    pub schema: Option<&'a Schema>,
    pub limits: &'a CallLimits,
    /// `None`: nothing is fetched for a provider.
    pub media: Option<&'a MediaClient>,
    pub fetched: &'a Fetched,
    pub roster: &'a Arc<Roster>,
    /// The end of the whole call.
    pub deadline: Instant,
    /// Set when the first byte of an attempt over the pool's own wire goes out.
    pub started: Started,
}

pub(super) enum Answer {
    Whole(Whole<Reply>),
    Stream(Box<OpenStream>),
    /// Of one batch.
    Vectors(Whole<EmbedReply>),
    Own(Own),
}

/// The caller's own function came to its end, booked.
pub(super) struct Own {
    pub usage: Usage,
    pub cost: Option<NanoUsd>,
    pub latency: Duration,
    pub transition: Option<Transition>,
}

/// A whole reply, booked.
pub(super) struct Whole<T> {
    pub reply: T,
    /// The value that a schema was asked for.
    pub parsed: Option<Value>,
    pub usage: Usage,
    pub cost: Option<NanoUsd>,
    pub warnings: Vec<String>,
    pub latency: Duration,
    pub transition: Option<Transition>,
}

/// An attempt that did not answer.
pub(super) enum Missed {
    /// The request cannot be said in this provider's dialect. Nothing was sent.
    Unsendable(FieldError),
    /// The provider failed.
    Failed { failure: Failure, latency: Duration, transition: Option<Transition> },
    /// The call's deadline passed while the provider was working: nobody's failure.
    OutOfTime { latency: Duration },
}

pub(super) async fn attempt(permit: Permit, order: &Order<'_>) -> Result<Answer, Missed> {
    match order.work {
        Work::Chat(request) | Work::Stream(request) => ask(permit, order, request).await,
        Work::Embed(request) => Box::pin(embed(permit, order, request)).await,
        // Boxed: the state of a chat, which is the common case, has no room to spare for it.
        Work::Own { task, .. } => Box::pin(own(permit, order, task)).await,
    }
}

/// Over the pool's own wire.
async fn ask(mut permit: Permit, order: &Order<'_>, request: &ChatRequest) -> Result<Answer, Missed> {
    let provider = permit.provider().clone();
    let inlined = match order.media {
        Some(client) => Box::pin(inlined(&provider, client, order, request)).await?,
        None => None,
    };
    let sendable = inlined.as_deref().unwrap_or(request);
    let (http, warnings, form) = encode(&provider, permit.key(), order, sendable).map_err(Missed::Unsendable)?;
    let started = http.started.clone();
    let asked = Some((permit.key(), permit.number()));
    let clock = Clock::start(&provider, order);
    let Clock { sent, timeout, ends, by_deadline, .. } = clock;
    permit.dispatch(Dispatch {
        sent: sent.mono,
        unix_ms: sent.unix_ms,
        pace: order.work.pace(),
        measured: false,
        started: started.clone(),
        size: PromptSize::of(request),
        bound: provider.endpoint().answer_bound(request.max_tokens, order.without),
    });
    // Pinned, not moved: each move into another future would make room for it once more.
    let work = pin!(async {
        if !order.work.streams() {
            let reply = reply(&provider, http, sent.mono, asked).await?;
            let (reply, at) = whole(&provider, reply, form, order.limits.qos.max_response_bytes).await?;
            return Ok(Arrived::Whole(reply, at));
        }
        let patience = provider.config().timers.first_content;
        let opened = Box::pin(async { open(&provider, reply(&provider, http, sent.mono, asked).await?, form).await });
        time::until(Some(sent.mono + patience), opened)
            .await
            .map_err(|_| timed_out(Phase::FirstContent, "no content has come", Some(patience)))?
            .map(Arrived::Stream)
    });
    let arrived = time::until(Some(ends), work).await;
    let now = time::now();
    let latency = now.mono.duration_since(sent.mono);
    let failure = match arrived {
        Ok(Ok(Arrived::Whole(mut reply, at))) => {
            let latency = at.duration_since(sent.mono);
            let usage = permit.usage(&reply, request);
            let parsed = match fit(order.schema, form, &mut reply) {
                Ok(parsed) => parsed,
                Err(failure) => {
                    let spent = Spent::Answer { usage: &usage, cost: permit.cost(&usage) };
                    return Err(failed(permit, failure, order, spent, latency, now));
                }
            };
            reply.sign(provider.name(), order.model);
            return Ok(Answer::Whole(Whole { parsed, ..book(permit, reply, usage, warnings, latency, now) }));
        }
        Ok(Ok(Arrived::Stream(opened))) => {
            let stream = OpenStream::new(permit, opened, order, (warnings, form), sent.mono, now.mono);
            return Ok(Answer::Stream(Box::new(stream)));
        }
        Ok(Err(failure)) => failure,
        Err(_) if by_deadline => return Err(Missed::OutOfTime { latency }),
        // So little time that the request did not go out says nothing about the provider.
        Err(_) if !started.is_set() => {
            drop(permit);
            let failure = timed_out(Phase::Attempt, "the request did not go out", Some(timeout));
            return Err(Missed::Failed { failure, latency, transition: None });
        }
        Err(_) => clock.out_of_patience(&provider, order),
    };
    let usage = failure.usage.as_deref().copied();
    let spent = usage.as_ref().map(|usage| Spent::Answer { usage, cost: permit.cost(usage) });
    Err(failed(permit, failure, order, spent.unwrap_or(Spent::Received(0)), latency, now))
}

/// One batch of embeddings.
async fn embed(mut permit: Permit, order: &Order<'_>, request: &EmbedRequest) -> Result<Answer, Missed> {
    let provider = permit.provider().clone();
    let endpoint = provider.endpoint();
    let from = order.before.len();
    let batch = from..endpoint.end_of_batch(request, from, order.limits.qos.max_response_bytes);
    let (inputs, prompt_tokens) = (batch.len(), batch.clone().map(|at| input_tokens(&request.input, at)).sum());
    let encoded = endpoint.encode_embed(request, order.model, batch).map_err(Missed::Unsendable)?;
    let uri = endpoint.embed_uri(order.model);
    let (http, warnings) =
        sendable(&provider, permit.key(), order, encoded, uri, "input").map_err(Missed::Unsendable)?;
    let started = http.started.clone();
    let asked = Some((permit.key(), permit.number()));
    let clock = Clock::start(&provider, order);
    let Clock { sent, timeout, ends, by_deadline, .. } = clock;
    let size = PromptSize { framing: prompt_tokens, ..PromptSize::default() };
    permit.dispatch(Dispatch {
        sent: sent.mono,
        unix_ms: sent.unix_ms,
        pace: order.work.pace(),
        measured: true,
        started: started.clone(),
        size,
        bound: None,
    });
    let work = pin!(async {
        let reply = reply(&provider, http, sent.mono, asked).await?;
        let body = body(reply, order.limits.qos.max_response_bytes).await?;
        let vectors = endpoint.decode_embed(&body, inputs, request.dimensions)?;
        misfit(order.before, &vectors.vectors).map_or(Ok(vectors), Err)
    });
    let arrived = time::until(Some(ends), work).await;
    let now = time::now();
    let latency = now.mono.duration_since(sent.mono);
    let failure = match arrived {
        Ok(Ok(vectors)) => {
            let counted = || Usage { estimated: true, ..Usage::reported(prompt_tokens, 0) };
            let usage = vectors.usage.unwrap_or_else(counted);
            return Ok(Answer::Vectors(book(permit, vectors, usage, warnings, latency, now)));
        }
        Ok(Err(failure)) => failure,
        Err(_) if by_deadline => return Err(Missed::OutOfTime { latency }),
        // So little time that the request did not go out says nothing about the provider.
        Err(_) if !started.is_set() => {
            drop(permit);
            let failure = timed_out(Phase::Attempt, "the request did not go out", Some(timeout));
            return Err(Missed::Failed { failure, latency, transition: None });
        }
        Err(_) => clock.out_of_patience(&provider, order),
    };
    Err(failed(permit, failure, order, Spent::Received(0), latency, now))
}

/// Tokens of one input, about.
pub(super) fn input_tokens(input: &EmbedInput, at: usize) -> u64 {
    match input {
        EmbedInput::Texts(texts) => texts.get(at).map_or(0, |text| tokens::estimate_text(text.len())),
        EmbedInput::Tokens(lists) => lists.get(at).map_or(0, |tokens| tokens.len() as u64),
    }
}

/// A batch whose vectors are of another length than those before it.
fn misfit(before: &[Vec<f64>], batch: &[Vec<f64>]) -> Option<Failure> {
    let (before, now) = (before.first()?.len(), batch.first()?.len());
    (before != now).then(|| {
        let message = format!("vectors of {now} numbers came after vectors of {before}");
        Failure::new(FailureClass::BadReply, message)
    })
}

/// By a function of the caller's own.
async fn own(mut permit: Permit, order: &Order<'_>, task: &dyn Task) -> Result<Answer, Missed> {
    let provider = permit.provider().clone();
    let clock = Clock::start(&provider, order);
    let Clock { sent, ends, by_deadline, .. } = clock;
    // Nobody but the function knows when its request goes out: it counts from the beginning.
    let started = Started::default();
    started.set();
    permit.dispatch(Dispatch {
        sent: sent.mono,
        unix_ms: sent.unix_ms,
        pace: order.work.pace(),
        measured: true,
        started,
        size: PromptSize::default(),
        bound: None,
    });
    let usage = Arc::new(Mutex::new(None));
    let turn = Turn {
        provider: Arc::clone(&provider),
        roster: Arc::clone(order.roster),
        key: permit.key(),
        model: order.model.into(),
        attempt: order.attempt,
        ends,
        usage: Arc::clone(&usage),
    };
    let ran = time::until(Some(ends), task.run(turn)).await;
    let now = time::now();
    let latency = now.mono.duration_since(sent.mono);
    let failure = match ran {
        Ok(Ok(())) => {
            let usage = lock(&usage).take().unwrap_or_default();
            let cost = permit.cost(&usage);
            let outcome = Outcome::Success { latency, first_token: None, usage: &usage, cost };
            let transition = permit.settle(&outcome, now);
            return Ok(Answer::Own(Own { usage, cost, latency, transition }));
        }
        Ok(Err(Fault::Failure(failure))) => failure,
        Ok(Err(Fault::Reply { status, headers, body })) => {
            provider.endpoint().classify(status, &headers, &body, now.unix_ms)
        }
        Err(_) if by_deadline => return Err(Missed::OutOfTime { latency }),
        Err(_) => clock.out_of_patience(&provider, order),
    };
    Err(failed(permit, failure, order, Spent::Received(0), latency, now))
}

/// One whole exchange that books nothing.
pub(super) async fn say(
    provider: &Provider,
    key: u32,
    order: &Order<'_>,
    request: &ChatRequest,
) -> Result<Reply, Failure> {
    let refused = |error: FieldError| Failure::new(FailureClass::InvalidRequest, error.to_string());
    let inlined = match order.media {
        Some(client) => {
            let max_bytes = order.limits.qos.max_prompt_bytes;
            media::inlined(provider.endpoint(), request, client, order.fetched, max_bytes).await.map_err(refused)?
        }
        None => None,
    };
    let (http, _, form) = encode(provider, key, order, inlined.as_deref().unwrap_or(request)).map_err(refused)?;
    let reply = reply(provider, http, time::now().mono, None).await?;
    Ok(whole(provider, reply, form, order.limits.qos.max_response_bytes).await?.0)
}

/// How long an attempt at this provider may take, as the call says or else the configuration.
pub(super) fn allowed_time(provider: &Provider, options: &CallOptions, limits: &CallLimits) -> Duration {
    options.timeout.unwrap_or_else(|| configured_time(provider, limits))
}

fn configured_time(provider: &Provider, limits: &CallLimits) -> Duration {
    provider.config().timeout.unwrap_or(limits.timeout)
}

/// When an attempt began, and when it ends.
struct Clock {
    sent: Now,
    timeout: Duration,
    /// What it would be if the call did not say.
    configured: Duration,
    ends: Instant,
    /// The call's deadline comes first.
    by_deadline: bool,
}

impl Clock {
    fn start(provider: &Provider, order: &Order<'_>) -> Self {
        let sent = time::now();
        let configured = configured_time(provider, order.limits);
        let timeout = allowed_time(provider, order.options, order.limits);
        let attempt_ends = sent.mono + timeout;
        let by_deadline = order.deadline <= attempt_ends;
        Self { sent, timeout, configured, ends: attempt_ends.min(order.deadline), by_deadline }
    }

    /// What it means that nothing has come. A call may give less time than the configuration does; where nobody knows
    /// the provider to be faster, that it ran out says something of the call alone.
    fn out_of_patience(&self, provider: &Provider, order: &Order<'_>) -> Failure {
        let impatient =
            self.timeout < self.configured && !provider.usually_answers_within(self.timeout, order.work.pace());
        Failure { impatient, ..timed_out(Phase::Attempt, "no answer has come", Some(self.timeout)) }
    }
}

/// The request in this provider's dialect, with its warnings and the form of its answer.
fn encode(
    provider: &Provider,
    key: u32,
    order: &Order<'_>,
    request: &ChatRequest,
) -> Result<(HttpRequest, Vec<String>, AnswerForm), FieldError> {
    let streams = order.work.streams();
    let encoded = provider.endpoint().encode_chat(request, order.model, streams, order.without)?;
    let uri = provider.endpoint().chat_uri(order.model, streams);
    let form = encoded.form;
    let (http, warnings) = sendable(provider, key, order, encoded, uri, "messages")?;
    Ok((http, warnings, form))
}

/// What was encoded as a request, if it is not too long; `what` is the field that makes it so.
fn sendable(
    provider: &Provider,
    key: u32,
    order: &Order<'_>,
    encoded: Encoded,
    uri: Option<Uri>,
    what: &str,
) -> Result<(HttpRequest, Vec<String>), FieldError> {
    let Encoded { body, warnings, form: _ } = encoded;
    if body.len() > order.limits.qos.max_prompt_bytes {
        return Err(FieldError {
            field: what.to_owned(),
            message: format!(
                "the request is {} bytes long, over qos.max_prompt_bytes of {}",
                body.len(),
                order.limits.qos.max_prompt_bytes
            ),
        });
    }
    let uri = uri.ok_or_else(|| FieldError {
        field: "model".to_owned(),
        message: format!("{:?} cannot stand in an address", order.model),
    })?;
    let headers = provider.headers(key, order.headers);
    Ok((HttpRequest { method: Method::POST, uri, headers, body, started: order.started.clone() }, warnings))
}

/// The reply's head; what is no 2xx is the failure it means. What it says is left of the limits is learned for the key and
/// the number of the permit it was `asked` with.
async fn reply(
    provider: &Provider,
    http: HttpRequest,
    sent: Instant,
    asked: Option<(u32, u64)>,
) -> Result<HttpReply, Failure> {
    let Some(transport) = provider.transport() else {
        return Err(Failure::new(FailureClass::Network, "the pool was shut down"));
    };
    let patience = provider.config().timers.first_byte;
    let reply = time::until(patience.map(|wait| sent + wait), transport.send(http))
        .await
        .map_err(|_| timed_out(Phase::FirstByte, "no reply has begun", patience))?
        .map_err(|error| transport_failure(&error))?;
    if let Some((key, number)) = asked {
        let said = provider.endpoint().rate_headers(&reply.headers, time::unix_ms());
        if said != RateHeaders::default() {
            provider.learn(key, number, &said, time::now().mono);
        }
    }
    if reply.status.is_success() { Ok(reply) } else { Err(classify(provider.endpoint(), reply).await) }
}

fn failed(
    permit: Permit,
    failure: Failure,
    order: &Order<'_>,
    spent: Spent<'_>,
    latency: Duration,
    now: Now,
) -> Missed {
    let failure = order.mask.failure(failure);
    let transition = permit.settle(&Outcome::Failure { failure: &failure, model: order.model, spent }, now);
    Missed::Failed { failure, latency, transition }
}

/// The request with what this provider cannot fetch put into it; `None`: as it is.
async fn inlined(
    provider: &Provider,
    client: &MediaClient,
    order: &Order<'_>,
    request: &ChatRequest,
) -> Result<Option<Box<ChatRequest>>, Missed> {
    let max_bytes = order.limits.qos.max_prompt_bytes;
    let inlined = media::inlined(provider.endpoint(), request, client, order.fetched, max_bytes);
    match time::until(Some(order.deadline), inlined).await {
        Ok(inlined) => inlined.map_err(Missed::Unsendable),
        Err(_) => Err(Missed::OutOfTime { latency: Duration::ZERO }),
    }
}

enum Arrived {
    /// With the time at which its last byte came.
    Whole(Reply, Instant),
    Stream(Opened),
}

fn timed_out(phase: Phase, what: &str, after: Option<Duration>) -> Failure {
    Failure::timeout(phase, format!("{what} within {} ms", after.unwrap_or_default().as_millis()))
}

/// A stream at its first content.
pub(super) struct Opened {
    pub body: Body,
    pub decoder: StreamDecoder,
    pub ready: std::collections::VecDeque<StreamEvent>,
    /// The body came to its end already.
    pub ended: bool,
}

/// What a reply that is no 2xx says.
pub(super) async fn classify(endpoint: &Endpoint, reply: HttpReply) -> Failure {
    // A body that stalls or breaks off changes nothing about what the status says.
    let body = read_prefix(reply.body, ERROR_BODY_BYTES, time::now().mono + ERROR_BODY_WAIT).await;
    endpoint.classify(reply.status, &reply.headers, &body, time::unix_ms())
}

/// With the time at which the last byte came: making sense of it is our own time, not the provider's.
async fn whole(
    provider: &Provider,
    reply: HttpReply,
    form: AnswerForm,
    limit: usize,
) -> Result<(Reply, Instant), Failure> {
    let body = body(reply, limit).await?;
    let at = time::now().mono;
    Ok((form.reply(provider.endpoint().decode_chat(&body)?), at))
}

async fn body(reply: HttpReply, limit: usize) -> Result<Bytes, Failure> {
    read_all(reply.body, limit).await.map_err(|error| transport_failure(&error))
}

/// Reads until the first content. Until then a failure of any kind fails over, because nobody has seen anything yet.
async fn open(provider: &Provider, reply: HttpReply, form: AnswerForm) -> Result<Opened, Failure> {
    let mut opened = Opened {
        decoder: provider.endpoint().stream_decoder().of(form),
        body: reply.body,
        ready: std::collections::VecDeque::new(),
        ended: false,
    };
    while !opened.ready.iter().any(StreamEvent::is_content) {
        if opened.ended {
            return Err(Failure::new(FailureClass::StreamTruncated, "the stream ended before its first content"));
        }
        opened.read().await?;
    }
    Ok(opened)
}

impl Opened {
    /// Reads one piece of the body and decodes it.
    pub(super) async fn read(&mut self) -> Result<(), Failure> {
        use futures_util::StreamExt;
        match self.body.next().await {
            Some(Ok(piece)) => {
                self.decoder.push(&piece, &mut self.ready)?;
                if self.decoder.is_done() {
                    transport::finish(std::mem::replace(&mut self.body, Box::pin(futures_util::stream::empty())));
                    self.end()?;
                }
                Ok(())
            }
            Some(Err(error)) => {
                // A cut after the finish reason took nothing from the answer.
                self.end().map_err(|_| transport_failure(&error))
            }
            None => self.end(),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.ended = true;
        self.decoder.finish(&mut self.ready)
    }
}

fn book<T>(permit: Permit, reply: T, usage: Usage, warnings: Vec<String>, latency: Duration, now: Now) -> Whole<T> {
    let cost = permit.cost(&usage);
    let transition = permit.settle(&Outcome::Success { latency, first_token: None, usage: &usage, cost }, now);
    Whole { reply, parsed: None, usage, cost, warnings, latency, transition }
}

/// The value in an answer that is one, whose text is all of it then. Tool calls, a refusal and an answer that was cut are
/// answers of their own, which no schema is about.
pub(super) fn fit(schema: Option<&Schema>, form: AnswerForm, reply: &mut Reply) -> Result<Option<Value>, Failure> {
    let Some(schema) = schema else { return Ok(None) };
    let said = matches!(reply.finish_reason, FinishReason::Stop | FinishReason::Other);
    if !said || !reply.tool_calls.is_empty() || reply.refusal.is_some() {
        return Ok(None);
    }
    match schema.read_as(&reply.content, |value| form.value(schema.source(), value)) {
        Ok(Fit { value, text }) => {
            reply.content = text.into_owned();
            Ok(Some(value))
        }
        Err(why) => {
            let message = format!("the answer does not fit the schema: {why}");
            Err(Failure::new(FailureClass::ModelOutputInvalid, message))
        }
    }
}
