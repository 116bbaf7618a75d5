//! An answer told as it comes.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;

use super::super::Gateway;
use super::super::book::Page;
use super::super::pump::{self, ROOM, Told};
use super::pb::{self, infer_event::Event};
use crate::pool::PoolStream;
use crate::types::{InferResponse, StreamEvent};

type Item = Result<pb::InferEvent, Status>;

/// What the client is sent. It reads at its own pace, and leaving it ends the call.
pub(super) fn told(gateway: Arc<Gateway>, stream: PoolStream, page: Page, task: String) -> BoxStream<'static, Item> {
    let (sender, receiver) = mpsc::channel(ROOM);
    let write = move |told| match told {
        Told::Event(event) => Some(Ok(pb::InferEvent { event: Some(piece(event)?) })),
        Told::Done(response) => {
            let whole = Event::Done(InferResponse::of(&task, *response).into());
            Some(Ok(pb::InferEvent { event: Some(whole) }))
        }
        Told::Broke(refused) => Some(Err(refused.into_status())),
    };
    pump::spawn(async move { pump::follow(gateway, stream, page, &sender, write).await });
    items(receiver).boxed()
}

fn piece(event: StreamEvent) -> Option<Event> {
    match event {
        StreamEvent::Text(text) => Some(Event::Delta(text)),
        StreamEvent::Refusal(text) => Some(Event::Refusal(text)),
        StreamEvent::Reasoning(text) => Some(Event::Reasoning(text)),
        // Work has no tools; all else stands in the answer.
        StreamEvent::Start { .. }
        | StreamEvent::ToolCall(_)
        | StreamEvent::ReasoningState(_)
        | StreamEvent::Usage(_)
        | StreamEvent::Finish { .. } => None,
    }
}

/// Up to the last word, which is the whole answer or an error. Without one it must not look as if it had ended in order.
fn items(receiver: mpsc::Receiver<Item>) -> impl futures_util::Stream<Item = Item> + Send + 'static {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        let item = receiver.recv().await.unwrap_or_else(|| Err(Status::internal("the stream broke")));
        let is_last = match &item {
            Ok(told) => matches!(told.event, Some(Event::Done(_))),
            Err(_) => true,
        };
        Some((item, (!is_last).then_some(receiver)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_without_a_last_word_is_an_error() {
        let (sender, receiver) = mpsc::channel(ROOM);
        let delta = pb::InferEvent { event: Some(Event::Delta("a".to_owned())) };
        sender.send(Ok(delta.clone())).await.expect("room");
        drop(sender);
        let told: Vec<_> = items(receiver).collect().await;
        assert_eq!(told[0].as_ref().expect("a delta"), &delta);
        assert_eq!(told[1].as_ref().expect_err("an end").code(), tonic::Code::Internal);
        assert_eq!(told.len(), 2);
    }
}
