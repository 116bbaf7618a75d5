//! What a provider's replies say is left of its limits.
//!
//! It is a hint and no more: other clients draw on the same limits, and a provider counts in windows of its own. So it
//! orders the choice and blocks nobody: who says that nothing is left is asked after those that have something, and only
//! a refusal keeps a call away. What was said is believed until the limit is refilled, and for a minute at most, because
//! a provider that is wrong about itself would never be asked again.
//!
//! Answers overtake each other. A reply to an earlier request than the one that taught last is old news.

use std::time::Duration;

use crate::time::Instant;

/// Longest belief. Limits of a minute are the common ones, and a longer one is announced again by the next reply.
const BELIEVED: Duration = Duration::from_secs(60);

/// What was said of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub remaining: u64,
    /// Until it is refilled, where that was said.
    pub reset: Option<Duration>,
}

/// What the replies to one key have said.
///
/// ```
/// use llmpool::policy::{Learned, Said};
/// let now = llmpool::time::now().mono;
/// let mut learned = Learned::default();
/// learned.teach(1, Some(Said { remaining: 1, reset: None }), None, now);
/// assert!(!learned.is_spent(now, 0));
/// learned.sent(0);
/// assert!(learned.is_spent(now, 0));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Learned {
    requests: Option<Left>,
    tokens: Option<Left>,
    /// The latest request whose reply taught something.
    latest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    remaining: u64,
    until: Instant,
    /// It takes longer than a minute to be refilled: a limit of the day.
    daily: bool,
}

// === impl Learned ===

impl Learned {
    /// The reply to the request of this number, counted in the order of sending. A limit that it does not name stays as
    /// it was.
    pub fn teach(&mut self, number: u64, requests: Option<Said>, tokens: Option<Said>, now: Instant) {
        if number < self.latest || requests.is_none() && tokens.is_none() {
            return;
        }
        self.latest = number;
        self.requests = requests.map(|said| Left::new(said, now)).or(self.requests);
        self.tokens = tokens.map(|said| Left::new(said, now)).or(self.tokens);
    }

    /// One more request goes out. `tokens` of prompt, 0 where they are not counted.
    pub fn sent(&mut self, tokens: u64) {
        for (left, taken) in [(&mut self.requests, 1), (&mut self.tokens, tokens)] {
            if let Some(left) = left {
                left.remaining = left.remaining.saturating_sub(taken);
            }
        }
    }

    /// It says that a request of so many tokens would not fit now.
    pub fn is_spent(&self, now: Instant, tokens: u64) -> bool {
        let short = |left: Option<Left>, need: u64| left.is_some_and(|left| left.until > now && left.remaining < need);
        short(self.requests, 1) || short(self.tokens, tokens.max(1))
    }

    /// Requests left of a limit that is refilled within a minute.
    pub fn requests(&self, now: Instant) -> Option<u64> {
        self.requests.filter(|left| left.until > now && !left.daily).map(|left| left.remaining)
    }

    /// Requests left of a limit that takes longer.
    pub fn daily_requests(&self, now: Instant) -> Option<u64> {
        self.requests.filter(|left| left.until > now && left.daily).map(|left| left.remaining)
    }

    pub fn tokens(&self, now: Instant) -> Option<u64> {
        self.tokens.filter(|left| left.until > now).map(|left| left.remaining)
    }
}

// === impl Left ===

impl Left {
    fn new(Said { remaining, reset }: Said, now: Instant) -> Self {
        let reset = reset.unwrap_or(BELIEVED);
        Self { remaining, until: now + reset.min(BELIEVED), daily: reset > BELIEVED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        crate::time::now().mono
    }

    fn said(remaining: u64, seconds: u64) -> Option<Said> {
        Some(Said { remaining, reset: Some(SECOND * seconds as u32) })
    }

    #[test]
    fn who_has_said_nothing_is_not_spent() {
        let (now, mut learned) = (start(), Learned::default());
        learned.sent(1_000_000);
        assert!(!learned.is_spent(now, 1_000_000));
        assert_eq!((learned.requests(now), learned.daily_requests(now), learned.tokens(now)), (None, None, None));
    }

    #[test]
    fn what_was_said_is_believed_until_its_reset_and_a_minute_at_most() {
        let now = start();
        for (reset, believed) in [(Some(5), 5), (Some(7200), 60), (None, 60), (Some(0), 0)] {
            let mut learned = Learned::default();
            let reset = reset.map(|seconds: u32| SECOND * seconds);
            learned.teach(1, Some(Said { remaining: 0, reset }), None, now);
            let end = now + SECOND * believed;
            assert!(believed == 0 || learned.is_spent(end - Duration::from_nanos(1), 0));
            assert!(!learned.is_spent(end, 0), "after {believed} s");
        }
    }

    #[test]
    fn each_request_takes_one_of_what_is_left() {
        let (now, mut learned) = (start(), Learned::default());
        learned.teach(1, said(2, 30), said(100, 30), now);
        learned.sent(60);
        assert_eq!((learned.requests(now), learned.tokens(now)), (Some(1), Some(40)));
        assert!(!learned.is_spent(now, 40) && learned.is_spent(now, 41));
        learned.sent(60);
        assert_eq!((learned.requests(now), learned.tokens(now)), (Some(0), Some(0)));
        assert!(learned.is_spent(now, 0));
    }

    #[test]
    fn a_reply_to_an_earlier_request_is_old_news() {
        let (now, mut learned) = (start(), Learned::default());
        learned.teach(7, said(0, 30), None, now);
        learned.teach(6, said(50, 30), said(50, 30), now + SECOND);
        assert!(learned.is_spent(now + SECOND, 0));
        assert_eq!(learned.tokens(now), None);
        learned.teach(8, said(50, 30), None, now + SECOND);
        assert!(!learned.is_spent(now + SECOND, 0));
    }

    #[test]
    fn a_reply_that_says_nothing_of_a_limit_changes_nothing_of_it() {
        let (now, mut learned) = (start(), Learned::default());
        learned.teach(3, said(5, 30), said(100, 30), now);
        learned.teach(4, None, said(90, 30), now);
        assert_eq!((learned.requests(now), learned.tokens(now)), (Some(5), Some(90)));
        learned.teach(9, None, None, now);
        learned.teach(5, said(1, 30), None, now);
        assert_eq!(learned.requests(now), Some(1), "9 taught nothing");
    }

    #[test]
    fn a_limit_that_takes_longer_than_a_minute_is_one_of_the_day() {
        let (now, mut learned) = (start(), Learned::default());
        learned.teach(1, said(900, 61), None, now);
        assert_eq!((learned.requests(now), learned.daily_requests(now)), (None, Some(900)));
    }
}
