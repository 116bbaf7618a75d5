//! One try at one provider: encode, send, wait under the timers, read, classify.
//!
//! The permit is settled here, whatever happens: by the outcome, or by being dropped with the future.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::mask::Mask;
use super::media::{self, Fetched};
use super::permit::{Dispatch, Outcome, Permit};
use super::provider::Provider;
use super::roster::CallLimits;
use super::stream::OpenStream;
use crate::adapter::{Encoded, StreamDecoder, transport_failure};
use crate::cost::Prices;
use crate::error::{Failure, FailureClass, Phase};
use crate::policy::Transition;
use crate::time::{self, Instant};
use crate::tokens;
use crate::transport::{self, Body, HttpReply, HttpRequest, MediaClient, Started, read_all, read_prefix};
use crate::types::{CallOptions, ChatRequest, FieldError, NanoUsd, Reply, StreamEvent, Usage};

/// Error bodies are read this far; what a provider says about a failure fits into a thousandth of it.
const ERROR_BODY_BYTES: usize = 1024 * 1024;
/// An error's body is waited for this long: its status and headers have said the most of it already.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Whole,
    Stream,
}

/// What one attempt needs to know of its call.
pub(super) struct Order<'a> {
    pub request: &'a ChatRequest,
    pub options: &'a CallOptions,
    /// The call's own headers, checked.
    pub headers: &'a [(HeaderName, HeaderValue)],
    pub mask: &'a Arc<Mask>,
    pub model: &'a str,
    /// Fields that this provider has refused.
    pub without: &'a [String],
    pub mode: Mode,
    pub limits: &'a CallLimits,
    /// `None`: nothing is fetched for a provider.
    pub media: Option<&'a MediaClient>,
    pub fetched: &'a Fetched,
    /// The end of the whole call.
    pub deadline: Instant,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the common one; a box would cost each call")]
pub(super) enum Answer {
    Whole(Whole),
    Stream(Box<OpenStream>),
}

/// A whole reply, booked.
pub(super) struct Whole {
    pub reply: Reply,
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

pub(super) async fn attempt(mut permit: Permit, order: &Order<'_>) -> Result<Answer, Missed> {
    let provider = permit.provider().clone();
    let inlined = match order.media {
        Some(client) => Box::pin(inlined(&provider, client, order)).await?,
        None => None,
    };
    let Encoded { body, warnings } = provider
        .endpoint()
        .encode_chat(
            inlined.as_deref().unwrap_or(order.request),
            order.model,
            order.mode == Mode::Stream,
            order.without,
        )
        .map_err(Missed::Unsendable)?;
    if body.len() > order.limits.qos.max_prompt_bytes {
        return Err(Missed::Unsendable(FieldError {
            field: "messages".to_owned(),
            message: format!(
                "the request is {} bytes long, over qos.max_prompt_bytes of {}",
                body.len(),
                order.limits.qos.max_prompt_bytes
            ),
        }));
    }
    let Some(uri) = provider.endpoint().chat_uri(order.model, order.mode == Mode::Stream) else {
        let message = format!("{:?} cannot stand in an address", order.model);
        return Err(Missed::Unsendable(FieldError { field: "model".to_owned(), message }));
    };
    let request =
        HttpRequest { uri, headers: provider.headers(permit.key(), order.headers), body, started: Started::default() };
    let sent = time::now();
    let started = request.started.clone();
    permit.dispatch(Dispatch {
        unix_ms: sent.unix_ms,
        started: started.clone(),
        prompt_tokens: tokens::estimate_prompt(order.request),
    });
    let timers = &provider.config().timers;
    let timeout = order.options.timeout.or(provider.config().timeout).unwrap_or(order.limits.timeout);
    let attempt_ends = sent.mono + timeout;
    let ends = attempt_ends.min(order.deadline);

    // Pinned, not moved: each move into another future would make room for it once more.
    let work = pin!(async {
        let Some(transport) = provider.transport() else {
            return Err(Failure::new(FailureClass::Network, "the pool was shut down"));
        };
        let first_byte_ends = timers.first_byte.map(|wait| sent.mono + wait);
        let reply = time::until(first_byte_ends, transport.send(request))
            .await
            .map_err(|_| timed_out(Phase::FirstByte, "no reply has begun", timers.first_byte))?
            .map_err(|error| transport_failure(&error))?;
        if !reply.status.is_success() {
            return Err(classify(&provider, reply).await);
        }
        match order.mode {
            Mode::Whole => whole(&provider, reply, order.limits.qos.max_response_bytes).await.map(Arrived::Whole),
            Mode::Stream => time::until(Some(sent.mono + timers.first_content), Box::pin(open(&provider, reply)))
                .await
                .map_err(|_| timed_out(Phase::FirstContent, "no content has come", Some(timers.first_content)))?
                .map(Arrived::Stream),
        }
    });
    let arrived = time::until(Some(ends), work).await;
    let now = time::now().mono;
    let latency = now.duration_since(sent.mono);
    let failure = match arrived {
        Ok(Ok(Arrived::Whole(reply))) => return Ok(Answer::Whole(book(permit, reply, order, warnings, latency, now))),
        Ok(Ok(Arrived::Stream(opened))) => {
            let stream = OpenStream::new(permit, opened, order, warnings, sent.mono, now);
            return Ok(Answer::Stream(Box::new(stream)));
        }
        Ok(Err(failure)) => failure,
        Err(_) if order.deadline <= attempt_ends => return Err(Missed::OutOfTime { latency }),
        // So little time that the request did not go out says nothing about the provider.
        Err(_) if !started.is_set() => {
            drop(permit);
            let failure = timed_out(Phase::Attempt, "the request did not go out", Some(timeout));
            return Err(Missed::Failed { failure, latency, transition: None });
        }
        Err(_) => timed_out(Phase::Attempt, "no answer has come", Some(timeout)),
    };
    let failure = order.mask.failure(failure);
    let transition = permit.settle(&Outcome::Failure { failure: &failure, model: order.model, received: 0 }, now);
    Err(Missed::Failed { failure, latency, transition })
}

/// The request with what this provider cannot fetch put into it; `None`: as it is.
async fn inlined(
    provider: &Provider,
    client: &MediaClient,
    order: &Order<'_>,
) -> Result<Option<Box<ChatRequest>>, Missed> {
    let max_bytes = order.limits.qos.max_prompt_bytes;
    let inlined = media::inlined(provider.endpoint(), order.request, client, order.fetched, max_bytes);
    match time::until(Some(order.deadline), inlined).await {
        Ok(inlined) => inlined.map_err(Missed::Unsendable),
        Err(_) => Err(Missed::OutOfTime { latency: Duration::ZERO }),
    }
}

enum Arrived {
    Whole(Reply),
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

async fn classify(provider: &Provider, reply: HttpReply) -> Failure {
    // A body that stalls or breaks off changes nothing about what the status says.
    let body = read_prefix(reply.body, ERROR_BODY_BYTES, time::now().mono + ERROR_BODY_WAIT).await;
    provider.endpoint().classify(reply.status, &reply.headers, &body, time::unix_ms())
}

async fn whole(provider: &Provider, reply: HttpReply, limit: usize) -> Result<Reply, Failure> {
    let body = read_all(reply.body, limit).await.map_err(|error| transport_failure(&error))?;
    provider.endpoint().decode_chat(&body)
}

/// Reads until the first content. Until then a failure of any kind fails over, because nobody has seen anything yet.
async fn open(provider: &Provider, reply: HttpReply) -> Result<Opened, Failure> {
    let mut opened = Opened {
        decoder: provider.endpoint().stream_decoder(),
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

fn book(
    permit: Permit,
    mut reply: Reply,
    order: &Order<'_>,
    warnings: Vec<String>,
    latency: Duration,
    now: Instant,
) -> Whole {
    reply.sign(permit.provider().name(), order.model);
    let usage = usage_of(&reply, order.request);
    let cost = permit.provider().config().prices.as_ref().and_then(|prices| Prices::cost(prices, &usage));
    let transition = permit.settle(&Outcome::Success { latency, first_token: None, usage: &usage, cost }, now);
    Whole { reply, usage, cost, warnings, latency, transition }
}

/// As the provider reported it, or counted here and marked so.
pub(super) fn usage_of(reply: &Reply, request: &ChatRequest) -> Usage {
    reply.usage.unwrap_or_else(|| Usage {
        estimated: true,
        ..Usage::reported(tokens::estimate_prompt(request), received(reply))
    })
}

/// Tokens of what has come, about.
pub(super) fn received(reply: &Reply) -> u64 {
    let calls = reply.tool_calls.iter().map(|call| call.function.name.len() + call.function.arguments.len());
    let text = reply.content.len()
        + reply.reasoning.as_deref().map_or(0, str::len)
        + reply.refusal.as_deref().map_or(0, str::len);
    tokens::estimate_text(text + calls.sum::<usize>())
}
