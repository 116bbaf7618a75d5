//! How good a provider has been lately, as one number: the score by which `adaptive` chooses.
//!
//! ```text
//! score = health / (1 + latency · (1 + 0.1 · in-flight))        latency in seconds
//! ```
//!
//! *Latency* is a peak-sensitive moving average: a slower answer than expected is believed at once, a faster one moves it
//! by a fifth. Without answers it fades towards zero, so a provider that was left for its slowness is looked
//! at again: one that was ten times slower than the rest after `30 s · ln 10`, about 70 s. Whole answers and first
//! contents of streams are two measures and never mixed.
//!
//! *Health* is the moving share of attempts that did not fail hard; it recovers by successes and by time.
//!
//! A provider that was never measured is tried at once, by one call: until that call has told how long it takes, the
//! others go elsewhere.

use std::time::Duration;

use super::nanos_since;
use crate::time::Instant;

/// What is remembered fades by 1/e in this time. A few answers of a usual length: long enough to be an average, short
/// enough that an incident which is over is forgotten within minutes.
const MEMORY: Duration = Duration::from_secs(30);
/// How much one outcome moves an average: five failures in a row leave a third of the health.
const WEIGHT_OF_ONE: f64 = 0.2;
/// Each attempt under way makes the next answer a tenth later: providers queue, but not one by one.
const PER_IN_FLIGHT: f64 = 0.1;
/// What an unmeasured provider is taken for while its first call is under way: slower than most, better than a timeout.
const UNMEASURED_SECONDS: f64 = 10.0;
/// Which latency counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// From sending to the whole answer.
    Whole,
    /// From sending to a stream's first content.
    FirstContent,
}

/// What has been seen of one provider.
///
/// ```
/// use std::time::Duration;
/// use llmpool::policy::{Load, Pace};
/// let now = llmpool::time::now().mono;
/// let (mut fast, mut slow) = (Load::default(), Load::default());
/// fast.answered(Pace::Whole, Duration::from_millis(300), now);
/// slow.answered(Pace::Whole, Duration::from_secs(3), now);
/// assert!(fast.score(Pace::Whole, 0, now) > slow.score(Pace::Whole, 0, now));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Load {
    whole: Peak,
    first_content: Peak,
    /// What is missing to full health, 0 to 1, when it was last changed.
    lost: Faded,
}

/// A value and when it was true; it fades from then on.
#[derive(Debug, Clone, Copy, Default)]
struct Faded {
    value: f64,
    at: Option<Instant>,
}

/// Seconds; `None` before the first answer.
#[derive(Debug, Clone, Copy, Default)]
struct Peak(Option<Faded>);

// === impl Load ===

impl Load {
    /// An answer, or the first content of a stream, has come after `latency`.
    pub fn answered(&mut self, pace: Pace, latency: Duration, now: Instant) {
        self.peak(pace).observe(latency, now);
    }

    /// Nothing has come for so long: it was left, or a timer ended it. That can only make it look slower.
    pub fn waited(&mut self, pace: Pace, latency: Duration, now: Instant) {
        self.peak(pace).at_least(latency, now);
    }

    /// An attempt did what it should.
    pub fn succeeded(&mut self, now: Instant) {
        let lost = self.lost.at(now);
        self.lost = Faded::new(lost - WEIGHT_OF_ONE * lost, now);
    }

    /// An attempt failed in a way that counts against the provider.
    pub fn failed(&mut self, now: Instant) {
        let lost = self.lost.at(now);
        self.lost = Faded::new(lost + WEIGHT_OF_ONE * (1.0 - lost), now);
    }

    /// 0 to 1; 1 before the first failure.
    pub fn health(&self, now: Instant) -> f64 {
        1.0 - self.lost.at(now)
    }

    /// Higher is better; never above 1.
    pub fn score(&self, pace: Pace, in_flight: u32, now: Instant) -> f64 {
        let Peak(measured) = match pace {
            Pace::Whole => self.whole,
            Pace::FirstContent => self.first_content,
        };
        let latency = match measured {
            Some(seconds) => seconds.at(now),
            None if in_flight == 0 => 0.0,
            None => UNMEASURED_SECONDS,
        };
        self.health(now) / (1.0 + latency * (1.0 + PER_IN_FLIGHT * f64::from(in_flight)))
    }

    fn peak(&mut self, pace: Pace) -> &mut Peak {
        match pace {
            Pace::Whole => &mut self.whole,
            Pace::FirstContent => &mut self.first_content,
        }
    }
}

// === impl Faded ===

impl Faded {
    fn new(value: f64, now: Instant) -> Self {
        Self { value, at: Some(now) }
    }

    /// What is left of it.
    fn at(self, now: Instant) -> f64 {
        self.at.map_or(0.0, |at| self.value * fade(at, now))
    }
}

/// The share that `MEMORY` leaves; 1 when `now` is not later.
fn fade(from: Instant, now: Instant) -> f64 {
    (-(nanos_since(from, now) as f64) / MEMORY.as_nanos() as f64).exp()
}

// === impl Peak ===

impl Peak {
    fn observe(&mut self, latency: Duration, now: Instant) {
        let seconds = latency.as_secs_f64();
        let expected = self.0.map_or(0.0, |before| before.at(now));
        let value = if seconds > expected { seconds } else { expected + WEIGHT_OF_ONE * (seconds - expected) };
        self.0 = Some(Faded::new(value, now));
    }

    fn at_least(&mut self, latency: Duration, now: Instant) {
        let seconds = latency.as_secs_f64();
        if self.0.is_none_or(|before| seconds > before.at(now)) {
            self.0 = Some(Faded::new(seconds, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        crate::time::now().mono
    }

    fn score(load: &Load, now: Instant) -> f64 {
        load.score(Pace::Whole, 0, now)
    }

    fn measured(latency: Duration, now: Instant) -> Load {
        let mut load = Load::default();
        load.answered(Pace::Whole, latency, now);
        load
    }

    #[test]
    fn an_unmeasured_provider_is_tried_at_once_and_by_one_call() {
        let now = start();
        let (new, known) = (Load::default(), measured(SECOND, now));
        assert!(score(&new, now) > score(&known, now));
        assert!(new.score(Pace::Whole, 1, now) < score(&known, now));
    }

    #[test]
    fn the_score_is_the_formula() {
        let now = start();
        let load = measured(SECOND * 2, now);
        assert_eq!(load.score(Pace::Whole, 5, now), 1.0 / (1.0 + 2.0 * 1.5));
    }

    #[test]
    fn a_slower_answer_is_believed_at_once_and_a_faster_one_by_and_by() {
        let now = start();
        let mut load = measured(SECOND, now);
        load.answered(Pace::Whole, SECOND * 10, now);
        assert_eq!(score(&load, now), 1.0 / 11.0);
        load.answered(Pace::Whole, SECOND, now);
        assert!(score(&load, now) < 1.0 / 9.0, "one good answer does not undo ten seconds");
        for _ in 0..20 {
            load.answered(Pace::Whole, SECOND, now);
        }
        assert!(score(&load, now) > 1.0 / 2.2, "{}", score(&load, now));
    }

    #[test]
    fn a_provider_that_was_ten_times_slower_is_looked_at_again_after_seventy_seconds() {
        let began = start();
        let slow = measured(SECOND * 10, began);
        // The other one answers all the time, so its measure does not fade.
        let beats = |now| score(&slow, now) > score(&measured(SECOND, now), now);
        assert!(!beats(began + SECOND * 69));
        assert!(beats(began + SECOND * 70));
    }

    #[test]
    fn whole_answers_and_first_contents_are_two_measures() {
        let now = start();
        let mut load = measured(SECOND * 8, now);
        load.answered(Pace::FirstContent, SECOND / 2, now);
        assert_eq!(load.score(Pace::FirstContent, 0, now), 1.0 / 1.5);
        assert_eq!(score(&load, now), 1.0 / 9.0);
    }

    #[test]
    fn what_was_left_before_it_answered_can_only_look_slower() {
        let now = start();
        let mut load = measured(SECOND * 2, now);
        load.waited(Pace::Whole, SECOND, now);
        assert_eq!(score(&load, now), 1.0 / 3.0);
        load.waited(Pace::Whole, SECOND * 5, now);
        assert_eq!(score(&load, now), 1.0 / 6.0);
    }

    #[test]
    fn health_falls_by_failures_and_recovers_by_successes_and_by_time() {
        let now = start();
        let mut load = Load::default();
        assert_eq!(load.health(now), 1.0);
        for _ in 0..5 {
            load.failed(now);
        }
        let sick = load.health(now);
        assert!((0.3..0.35).contains(&sick), "{sick}");
        assert!(load.health(now + MEMORY) > 0.7);
        load.succeeded(now);
        assert!(load.health(now) > sick);
    }

    proptest! {
        #[test]
        fn a_score_is_a_number_from_zero_to_one(
            steps in prop::collection::vec((0u8..4, 0u64..10_000_000, 0u64..10_000_000), 0..60),
            in_flight in any::<u32>(),
        ) {
            let mut now = start();
            let mut load = Load::default();
            for (what, latency, pass) in steps {
                now += Duration::from_millis(pass);
                let latency = Duration::from_millis(latency);
                match what {
                    0 => load.answered(Pace::Whole, latency, now),
                    1 => load.waited(Pace::Whole, latency, now),
                    2 => load.failed(now),
                    _ => load.succeeded(now),
                }
                // Clocks are read on several threads: an earlier `now` is no harm.
                for at in [now, now - Duration::from_millis(pass)] {
                    let score = load.score(Pace::Whole, in_flight, at);
                    prop_assert!((0.0..=1.0).contains(&score), "{score}");
                }
            }
        }
    }
}
