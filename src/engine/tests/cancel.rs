//! Leaving: by the caller, by a timer, by a shutdown. Whatever was held returns.

use std::time::Duration;

use super::support::{Story, answer, fails, hangs, host, question, trail};
use crate::error::{ErrorKind, Phase};
use crate::time;
use crate::types::{AttemptOutcome, CallOptions, RequestId};

async fn after(wait: Duration) {
    time::sleep_until(time::now().mono + wait).await;
}

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
async fn an_attempt_that_takes_too_long_fails_over() {
    let story = Story::new(&["a", "b"], |request| if host(request) == "a" { hangs() } else { answer("from b") });
    let options = CallOptions { timeout: Some(Duration::from_secs(3)), ..CallOptions::default() };
    let began = time::now().mono;
    let response = story.ask_with(&options).await.expect("b answers");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(response.attempts[0].error_class, Some("timeout"));
    assert_eq!(story.pool.engine().health().providers["a"].errors, 1);
}

#[tokio::test(start_paused = true)]
async fn when_every_attempt_times_out_the_error_says_which_timer_fired() {
    let story = Story::new(&["a"], |_| hangs());
    let options = CallOptions { timeout: Some(Duration::from_secs(3)), max_retries: Some(0), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("a hangs");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Attempt, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_call_and_blames_nobody() {
    let story = Story::new(&["a"], |_| hangs());
    let options = CallOptions { deadline: Some(Duration::from_secs(2)), ..CallOptions::default() };
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("out of time");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(trail(&error.context().attempts), ["a:cancelled"]);
    assert_eq!(error.context().attempts[0].outcome, AttemptOutcome::Cancelled);
    assert_eq!(story.pool.engine().health().providers["a"].errors, 0);
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_sends_nothing() {
    let story = Story::new(&["a"], |_| answer("too late"));
    let options = CallOptions { deadline: Some(Duration::ZERO), ..CallOptions::default() };
    let error = story.ask_with(&options).await.expect_err("out of time");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{error:?}");
    assert_eq!(story.asked("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_running_calls_and_refuses_new_ones() {
    let story = Story::new(&["a"], |_| {
        Box::pin(async {
            after(Duration::from_secs(2)).await;
            answer("in time").await
        })
    });
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
