//! Leaving: by the caller, at any moment. Whatever was held returns, and nobody is blamed.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::support::*;
use crate::error::ErrorKind;
use crate::types::CallOptions;

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_leaves_nothing_behind_and_blames_nobody() {
    let story = Story::new(&["a"], |_| hangs());
    let cancelled = after(Duration::from_secs(1));
    let completed = story.pool.chat_until(&question(), &CallOptions::default(), Vec::new(), cancelled).await;
    assert!(matches!(completed.result.expect_err("cancelled").kind(), ErrorKind::Cancelled));
    assert_eq!(story.in_flight(), 0);
    let stats = story.pool.engine().stats();
    assert_eq!((stats.cancelled_requests, stats.failed_requests), (1, 0));
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_left_at_any_moment() {
    for millis in [0, 1, 400, 999, 1000, 1500, 2900, 3100, 7000] {
        let story = Story::new(&["a", "b"], |request| if host(request) == "a" { fails(500) } else { hangs() });
        let options = CallOptions { timeout: Some(Duration::from_secs(1)), ..CallOptions::default() };
        let cancelled = after(Duration::from_millis(millis));
        let _ = story.pool.chat_until(&question(), &options, Vec::new(), cancelled).await;
        assert_eq!(story.in_flight(), 0, "after {millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_caller_ends_says_what_it_was_doing() {
    let story = Story::new(&["a"], |_| hangs());
    let request = question();
    let options = CallOptions::default();
    let left = story.pool.chat_until(&request, &options, Vec::new(), after(Duration::from_secs(3)));
    let error = left.await.result.expect_err("left");
    assert!(matches!(error.kind(), ErrorKind::Cancelled));
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    assert_eq!(error.context().attempts[0].latency, Duration::from_secs(3));
}

/// Runs the call for so many polls, which is to say awaits that had to wait, and then lets go of it.
async fn leave_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = Box::pin(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Every step of it waits once: the head, each piece of the body, the end.
fn step_by_step(status: u16, headers: &'static [(&'static str, &'static str)], pieces: Vec<String>) -> Answer {
    Box::pin(async move {
        tokio::task::yield_now().await;
        let body = futures_util::stream::iter(pieces);
        let body = futures_util::StreamExt::then(body, |piece| async move {
            tokio::task::yield_now().await;
            Ok(bytes::Bytes::from(piece))
        });
        crate::transport::fake::stream(status, headers, Box::pin(body)).await
    })
}

/// A provider that fails, one that limits for a second, and then, asked again, an answer.
fn adventure() -> Story {
    let mut limited = true;
    Story::new(&["a", "b"], move |request| {
        if host(request) == "a" {
            return step_by_step(500, &[], vec!["{\"error\":".into(), "\"down\"}".into()]);
        }
        if std::mem::take(&mut limited) {
            return step_by_step(429, &[("retry-after", "0.2")], vec!["{}".into()]);
        }
        let words = vec![chunk("Oslo"), chunk(" is cold"), FINISH.into(), DONE.into()];
        step_by_step(200, &[("content-type", "text/event-stream")], words)
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_left_at_every_await() {
    for polls in 0..1000 {
        let story = adventure();
        let call = async {
            let stream = open_with(&story, &CallOptions::default()).await.expect("b answers in the end");
            read(stream).await.1.expect("complete");
        };
        let completed = leave_after(polls, call).await.is_some();
        assert_eq!(story.in_flight(), 0, "left at await {polls}");
        assert_eq!(story.pool.engine().waiting.load(Ordering::Relaxed), 0, "left at await {polls}");
        let stats = story.pool.engine().stats();
        assert_eq!(stats.cancelled_requests, u64::from(!completed && polls > 0), "left at await {polls}");
        assert!(story.pool.engine().health().providers["b"].errors <= 1, "only its own 429");
        if completed {
            assert!(polls > 10, "it had {polls} awaits only");
            return;
        }
    }
    panic!("it never came to its end");
}
