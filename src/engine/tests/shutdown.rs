//! A shutdown with calls in flight: it refuses, it waits, and it ends what does not end by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::support::*;
use crate::error::ErrorKind;
use crate::time;
use crate::types::{CallOptions, RequestId};

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_running_calls_and_refuses_new_ones() {
    let story = Story::new(&["a"], |_| slow(Duration::from_secs(2), "in time"));
    let (running, ()) = tokio::join!(story.ask(), async {
        after(Duration::from_secs(1)).await;
        let (_, refused) = tokio::join!(story.pool.shutdown(Duration::from_secs(5)), async {
            tokio::task::yield_now().await;
            story.ask().await
        });
        assert!(matches!(refused.expect_err("closed").kind(), ErrorKind::Closed));
    });
    assert_eq!(running.expect("it was drained").reply.content, "in time");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_does_not_end_by_itself() {
    let story = Story::new(&["a"], |_| hangs());
    let (running, ()) = tokio::join!(story.ask(), async {
        after(Duration::from_secs(1)).await;
        story.pool.shutdown(Duration::from_secs(5)).await;
    });
    assert!(matches!(running.expect_err("ended").kind(), ErrorKind::Closed));
    assert_eq!(story.in_flight(), 0);
    story.pool.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_shutdown_ends_says_what_it_was_doing() {
    let story = Story::new(&["a", "b"], |request| if host(request) == "a" { fails(500) } else { hangs() });
    let options = CallOptions { request_id: Some(RequestId::new("mine")), ..CallOptions::default() };
    let (running, ()) = tokio::join!(story.ask_with(&options), async {
        after(Duration::from_secs(1)).await;
        story.pool.shutdown(Duration::from_secs(1)).await;
    });
    let error = running.expect_err("ended");
    let context = error.context();
    assert_eq!(context.request_id.as_ref().map(RequestId::as_str), Some("mine"));
    assert_eq!(trail(&context.attempts), ["a:failure", "b:cancelled"]);
    assert_eq!(context.attempts[1].latency, Duration::from_secs(2));
    let stats = story.pool.engine().stats();
    assert_eq!((stats.cancelled_requests, stats.failed_requests), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_room_holds_up_neither_the_shutdown_nor_the_deadline() {
    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let mut stream = open(&story).await.expect("opens");
    let (error, _) = tokio::join!(
        async {
            let error = stream.until_room(std::future::pending()).await;
            drop(stream);
            error
        },
        story.pool.shutdown(Duration::from_secs(1))
    );
    let error = error.expect("ended");
    assert!(matches!(error.kind(), ErrorKind::Closed));
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    assert!(error.context().request_id.is_some());

    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let options = CallOptions { deadline: Some(Duration::from_secs(3)), ..CallOptions::default() };
    let opened = story.pool.stream_until(Arc::new(question()), &options, Vec::new(), std::future::pending()).await;
    let mut stream = opened.result.expect("opens");
    let began = time::now().mono;
    let error = stream.until_room(std::future::pending()).await.expect("out of time");
    assert!(matches!(error.kind(), ErrorKind::StreamInterrupted { .. }), "{error:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_call_is_doing_the_shutdown_ends_it() {
    /// What the call is in the middle of, by its provider's name.
    fn act(name: &str) -> Answer {
        match name {
            "hanging" => hangs(),
            "failing" => fails(500),                               // the call is in its backoff
            "limited" => fails_with(429, &[("retry-after", "9")]), // the call waits for it
            "talking" => stalls(vec![r#"{"choices":["#.to_owned()]), // the body has begun
            other => panic!("{other}"),
        }
    }
    let names = ["hanging", "failing", "limited", "talking"];
    let providers: Vec<_> = names.iter().map(|name| provider(name, 1)).collect();
    let config = json!({ "providers": providers, "routing": { "retry_delay_ms": 9000 } });
    let story = Story::with_config(config, |request| act(host(request)));
    let calls = names.map(|name| {
        let options = CallOptions { providers: vec![name.to_owned()], ..CallOptions::default() };
        let story = &story;
        async move { story.ask_with(&options).await }
    });
    let (ended, ()) = tokio::join!(join_all(calls), async {
        after(Duration::from_secs(1)).await;
        let began = time::now().mono;
        story.pool.shutdown(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    });
    for (name, result) in names.iter().zip(ended) {
        let error = result.expect_err("ended");
        assert!(matches!(error.kind(), ErrorKind::Closed), "{name}: {error:?}");
        assert_eq!(error.context().attempts[0].provider.as_str(), *name);
    }
    assert_eq!(story.in_flight(), 0);
}

/// A body that says one word, and tells when it is let go of: its socket closes with it.
fn watched(gone: &Arc<AtomicBool>) -> Answer {
    struct Gone(Arc<AtomicBool>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let kept = Gone(Arc::clone(gone));
    let first = stream::iter([Ok(bytes::Bytes::from(chunk("Oslo")))]);
    body(first.chain(stream::pending()).inspect(move |_| _ = &kept).boxed())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_ended_as_well() {
    let gone = Arc::<AtomicBool>::default();
    let story = Story::new(&["a"], {
        let gone = Arc::clone(&gone);
        move |_| watched(&gone)
    });
    let mut unread = open(&story).await.expect("opens");
    let mut begun = open(&story).await.expect("opens");
    assert!(matches!(begun.next().await, Some(Ok(_))));
    let began = time::now().mono;
    story.pool.shutdown(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert!(gone.load(Ordering::Relaxed), "its socket is closed");
    assert_eq!(story.in_flight(), 0);
    for stream in [&mut unread, &mut begun] {
        let error = stream.next().await.expect("there is something to say").expect_err("ended");
        assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
        assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
        assert!(stream.next().await.is_none(), "it was said");
    }
    assert_eq!(story.pool.engine().stats().cancelled_requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_left_its_reading_holds_up_nothing() {
    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let mut stream = open(&story).await.expect("opens");
    while time::until(Some(time::now().mono + Duration::from_secs(1)), stream.next()).await.is_ok() {}
    let began = time::now().mono;
    story.pool.shutdown(Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_complete_stream_that_is_kept_keeps_no_shutdown_and_its_answer() {
    let story = Story::new(&["a"], |_| says(vec![chunk("Oslo"), FINISH.to_owned(), DONE.to_owned()]));
    let (_, kept) = read(open(&story).await.expect("opens")).await;
    let mut kept = kept.expect("complete");
    let began = time::now().mono;
    story.pool.shutdown(Duration::from_secs(5)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(kept.next().await.is_none());
    assert_eq!(kept.into_response().expect("an answer").reply.content, "Oslo");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_polled_again_holds_up_no_shutdown_for_ever() {
    let story = Story::new(&["a"], |_| hangs());
    let mut forgotten = Box::pin(story.ask());
    assert!(futures_util::poll!(&mut forgotten).is_pending());
    let mut stream = Box::pin(open(&story));
    assert!(futures_util::poll!(&mut stream).is_pending());
    let began = time::now().mono;
    story.pool.shutdown(Duration::from_secs(5)).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert!(matches!(forgotten.await.expect_err("polled after all").kind(), ErrorKind::Closed));
    assert_eq!(story.in_flight(), 1, "the stream's opening is still held");
    drop(stream);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_flight_is_drained_or_ended() {
    let story = Story::new(&["a"], |_| {
        let late = stream::once(async {
            after(Duration::from_secs(2)).await;
            Ok(bytes::Bytes::from(chunk(" is cold") + FINISH))
        });
        let first = stream::iter([Ok(bytes::Bytes::from(chunk("Oslo")))]);
        body(first.chain(late).boxed())
    });
    let stream = open(&story).await.expect("opens");
    let ((text, end), _) = tokio::join!(read(stream), story.pool.shutdown(Duration::from_secs(5)));
    assert_eq!((text.as_str(), end.is_ok()), ("Oslo is cold", true));

    let story = Story::new(&["a"], |_| stalls(vec![chunk("Oslo")]));
    let stream = open(&story).await.expect("opens");
    let ((text, end), _) = tokio::join!(read(stream), story.pool.shutdown(Duration::from_secs(5)));
    let error = end.err().expect("ended");
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
    assert_eq!((text.as_str(), trail(&error.context().attempts)), ("Oslo", vec!["a:cancelled".to_owned()]));
    assert_eq!(story.in_flight(), 0);
}
