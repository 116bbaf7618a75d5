//! A stream on its way to JavaScript: pushed as it arrives, as far as the consumer has room.
//!
//! The consumer gives credit back as it takes chunks. While the credit is used up nothing is read from the provider, so
//! a consumer that pauses stops the socket; while there is credit a chunk crosses without being asked for, so that the
//! first one is with the consumer before the provider sends the second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::bridge::Channel;
use super::record;
use crate::pool::PoolStream;
use crate::types::{StreamEvent, ToolCallDelta, Usage};

/// Chunks that may wait in JavaScript. A consumer that keeps up never sees the bound.
const CHUNKS: usize = 64;
/// Bytes that may wait in JavaScript, about; one chunk may be larger.
const BYTES: usize = 256 * 1024;

/// How much of a stream waits at the consumer.
#[derive(Default)]
pub struct Credit {
    /// Sizes of the chunks that were pushed and not yet taken, with their sum.
    outstanding: Mutex<(VecDeque<usize>, usize)>,
    room: Notify,
}

impl Credit {
    pub fn spend(&self, bytes: usize) {
        let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.0.push_back(bytes);
        outstanding.1 += bytes;
    }

    fn is_full(&self) -> bool {
        let outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.0.len() >= CHUNKS || outstanding.1 >= BYTES
    }

    /// The consumer took `count` chunks, oldest first.
    pub fn give_back(&self, count: usize) {
        {
            let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            let (sizes, sum) = &mut *outstanding;
            for size in sizes.drain(..count.min(sizes.len())) {
                *sum -= size;
            }
        }
        self.room.notify_one();
    }

    pub async fn room(&self) {
        while self.is_full() {
            self.room.notified().await;
        }
    }
}

/// Moves a stream to the consumer until it ends, fails, or `cancelled` resolves.
pub async fn pump(
    mut stream: PoolStream,
    id: u64,
    pool: u32,
    channel: &Arc<Channel>,
    credit: &Arc<Credit>,
    cancelled: impl Future<Output = ()>,
) {
    let (provider, model) = stream.source();
    channel.push(|records| record::open(records, id, provider, model));
    let mut cancelled = std::pin::pin!(cancelled);
    loop {
        let event = tokio::select! {
            biased;
            () = &mut cancelled => {
                drop(stream); // closes the socket and settles before the consumer hears of it
                channel.push(|records| record::error(records, id, &crate::error::Error::cancelled()));
                return;
            }
            event = async {
                match stream.until_room(credit.room()).await {
                    Some(error) => Some(Err(error)),
                    None => stream.next().await,
                }
            } => event,
        };
        match event {
            Some(Ok(event)) => {
                let size = event.size();
                if let Some((delta, extra)) = chunk(event) {
                    credit.spend(size);
                    channel.push(|records| record::chunk(records, id, delta, extra));
                }
            }
            Some(Err(error)) => {
                record::events(channel, pool, stream.take_events());
                channel.push(|records| record::error(records, id, &error));
                return;
            }
            None => {
                record::events(channel, pool, stream.take_events());
                let violation = stream.take_violation();
                if let Some(response) = stream.into_response() {
                    channel.push(|records| record::response(records, id, response, violation.as_ref()));
                }
                return;
            }
        }
    }
}

/// What a chunk carries beside its text.
#[derive(Serialize, Default)]
struct Extra<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a Usage>,
}

/// A piece of a tool call in OpenAI's shape.
#[derive(Serialize)]
struct Call<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

/// An event as text and what stands beside it; `None` for what a consumer has no use for.
fn chunk(event: StreamEvent) -> Option<(String, Option<String>)> {
    match event {
        StreamEvent::Start { .. } | StreamEvent::ReasoningState(_) => None,
        StreamEvent::Text(text) => Some((text, None)),
        other => {
            let extra = match &other {
                StreamEvent::Reasoning(text) => Extra { reasoning: Some(text), ..Extra::default() },
                StreamEvent::Refusal(text) => Extra { refusal: Some(text), ..Extra::default() },
                StreamEvent::ToolCall(ToolCallDelta { index, id, name, arguments }) => Extra {
                    tool_calls: Some([Call {
                        index: *index,
                        id: id.as_deref(),
                        kind: id.as_ref().map(|_| "function"),
                        function: Function { name: name.as_deref(), arguments },
                    }]),
                    ..Extra::default()
                },
                StreamEvent::Usage(usage) => Extra { usage: Some(usage), ..Extra::default() },
                StreamEvent::Finish { reason, .. } => {
                    Extra { finish_reason: Some(reason.as_str()), ..Extra::default() }
                }
                StreamEvent::Start { .. } | StreamEvent::ReasoningState(_) | StreamEvent::Text(_) => Extra::default(),
            };
            Some((String::new(), Some(record::json(&extra))))
        }
    }
}
