//! What one provider has done. It counts attempts, each when it ends.
//!
//! A rate is taken of what has ended by itself, so attempts under way and attempts that the caller left lower nothing.
//! Totals of money hold the known part; `unpriced_requests` says how many requests are missing in it.
//!
//! Everything is written by the methods below and nowhere else: one attempt moves the totals, the time slots, the rings
//! and the model's counters together, so what statistics, analytics and metrics show cannot differ.

use std::time::Duration;

use super::model::ModelTally;
use super::{History, Outcomes, ProviderTotals, Samples, Slot, Spread};
use crate::types::{NanoUsd, Usage};

/// The last error is kept up to this many bytes: enough for a provider's sentence, not for its HTML page.
const LAST_ERROR_BYTES: usize = 500;

/// Points of reliability that a second of p95 latency costs, and the most that latency can cost.
const POINTS_PER_SECOND: f64 = 1.0;
const MOST_LATENCY_POINTS: f64 = 20.0;

/// Models that are counted apart, per provider: a label must not grow without bound, and a scrape has to be read.
const MOST_MODELS: usize = 200;
/// What all others are called.
const OTHER: &str = "other";

/// What one provider has done since it was first configured.
#[derive(Debug, Clone)]
pub struct ProviderTally {
    pub totals: ProviderTotals,
    /// Stays after a success. Never shows a key: it is masked before it comes here.
    pub last_error: Option<String>,
    /// Of the last `history_limit` successful attempts, from sending to the whole answer.
    pub latency: Samples,
    /// Of the last `history_limit` successful streams, from sending to the first content.
    pub first_token: Samples,
    /// How the last `history_limit` attempts ended that ended by themselves.
    outcomes: Outcomes,
    pub history: History<AttemptSlot>,
    /// Times its breaker opened, since the process began.
    pub trips: u64,
    models: Vec<ModelTally>,
    /// Models that the configuration does not name, together.
    other: ModelTally,
}

/// A model of this provider, as its tally numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelId(usize);

/// Which model an entry is of, and when what it says happened.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub model: ModelId,
    pub unix_ms: u64,
}

/// What one provider did in one slot of time.
#[derive(Debug, Clone, Default)]
pub struct AttemptSlot {
    pub totals: ProviderTotals,
    pub trips: u64,
    pub latency: Spread,
}

// === impl ProviderTally ===

impl ProviderTally {
    /// Nothing has happened yet. The rings keep `history_limit` times each.
    pub fn new(history_limit: usize) -> Self {
        Self {
            totals: ProviderTotals::default(),
            last_error: None,
            latency: Samples::new(history_limit),
            first_token: Samples::new(history_limit),
            outcomes: Outcomes::new(history_limit),
            history: History::default(),
            trips: 0,
            models: Vec::new(),
            other: ModelTally::new(OTHER.into()),
        }
    }

    /// From now on this model is counted apart. Models that were are still.
    pub fn serve(&mut self, model: &str) {
        if self.models.len() < MOST_MODELS && self.models.iter().all(|known| *known.name != *model) {
            self.models.push(ModelTally::new(model.into()));
        }
    }

    /// How marks name a model. Those that nobody configured share one number.
    pub fn model_id(&self, model: &str) -> ModelId {
        ModelId(self.models.iter().position(|known| *known.name == *model).unwrap_or(usize::MAX))
    }

    /// Every model that is configured, and the others together once there was one.
    pub fn models(&self) -> impl Iterator<Item = &ModelTally> {
        let other = Some(&self.other).filter(|other| other.is_used());
        self.models.iter().chain(other)
    }

    /// An attempt went out. `first`: its call had asked nobody before.
    pub fn sent(&mut self, mark: Mark, sent_unix_ms: u64, first: bool) {
        self.count(mark, |totals| {
            totals.total_requests += 1;
            totals.last_used_unix_ms = totals.last_used_unix_ms.max(Some(sent_unix_ms));
        });
        self.model(mark).selected += u64::from(first);
    }

    /// An attempt brought an answer. `first_token` is `None` where nothing was streamed, `cost` where the price is
    /// unknown.
    pub fn succeeded(
        &mut self,
        mark: Mark,
        latency: Duration,
        first_token: Option<Duration>,
        usage: &Usage,
        cost: Option<NanoUsd>,
    ) {
        self.count(mark, |totals| totals.successful_requests += 1);
        self.history.note(mark.unix_ms, |slot| slot.latency.push(latency));
        self.latency.push(latency);
        if let Some(first_token) = first_token {
            self.first_token.push(first_token);
        }
        self.outcomes.push(true);
        self.model(mark).answered(latency, first_token, usage);
        self.spent(mark, usage, cost);
    }

    /// An attempt failed. `timer` is the one that ran out, if one did. `message` is masked already, and `None` when it
    /// was the caller's own fault: that is nobody's error.
    pub fn failed(&mut self, mark: Mark, class: &'static str, timer: Option<&'static str>, message: Option<&str>) {
        let model = self.model(mark);
        model.failed.add(class);
        if let Some(timer) = timer {
            model.timeouts.add(timer);
        }
        let Some(message) = message else { return };
        self.count(mark, |totals| totals.errors += 1);
        self.outcomes.push(false);
        // The end of a shorter message is a boundary, and nothing behind it is.
        let whole_letters = (0..=LAST_ERROR_BYTES).rev().find(|at| message.is_char_boundary(*at));
        self.last_error = Some(message[..whole_letters.unwrap_or(0)].to_owned());
    }

    /// The caller left an attempt that had gone out.
    pub fn cancelled(&mut self, mark: Mark) {
        self.model(mark).cancelled += 1;
    }

    /// Books tokens and money of an attempt that brought no whole answer: it was left, or cut after content.
    pub fn spent(&mut self, mark: Mark, usage: &Usage, cost: Option<NanoUsd>) {
        self.count(mark, |totals| totals.spend(usage, cost));
        self.model(mark).spent(usage, cost);
    }

    /// Its breaker opened.
    pub fn tripped(&mut self, unix_ms: u64) {
        self.trips += 1;
        self.history.note(unix_ms, |slot| slot.trips += 1);
    }

    /// How far this provider can be relied on of late, 0 to 100, for people and not for routing:
    ///
    /// `success rate − min(20, p95 of latency in seconds)`, at least 0.
    ///
    /// The rate is over the last `history_limit` attempts that ended by themselves, the latency over the last
    /// `history_limit` successes. 100 before the first attempt; one that always answers never falls under 80. With a
    /// `history_limit` of 0 it is the success rate since the start.
    pub fn reliability_score(&self) -> f64 {
        let rate = self.outcomes.percent().unwrap_or_else(|| self.totals.success_rate());
        let seconds = self.latency.percentile(0.95).unwrap_or(0.0) / 1e3;
        (rate - (seconds * POINTS_PER_SECOND).min(MOST_LATENCY_POINTS)).max(0.0)
    }

    fn count(&mut self, mark: Mark, change: impl Fn(&mut ProviderTotals)) {
        change(&mut self.totals);
        self.history.note(mark.unix_ms, |slot| change(&mut slot.totals));
    }

    fn model(&mut self, mark: Mark) -> &mut ModelTally {
        match self.models.get_mut(mark.model.0) {
            Some(model) => model,
            None => &mut self.other,
        }
    }

    /// All that it takes, itself included.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.latency.heap_bytes()
            + self.first_token.heap_bytes()
            + self.outcomes.heap_bytes()
            + self.history.heap_bytes(|slot| slot.latency.heap_bytes())
            + self.models.capacity() * size_of::<ModelTally>()
            + self.models.iter().chain([&self.other]).map(ModelTally::heap_bytes).sum::<usize>()
    }
}

impl Slot for AttemptSlot {
    fn add(&mut self, other: &Self) {
        let Self { totals, trips, latency } = other;
        self.totals.add(totals);
        self.trips += trips;
        self.latency.add(latency);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOON: u64 = 1_800_000_000_000;

    struct Book(ProviderTally);

    impl Book {
        fn new(history_limit: usize) -> Self {
            let mut tally = ProviderTally::new(history_limit);
            tally.serve("m");
            Self(tally)
        }

        fn mark(&self) -> Mark {
            Mark { model: self.0.model_id("m"), unix_ms: NOON }
        }

        fn succeeded(&mut self, latency: Duration) {
            self.0.succeeded(self.mark(), latency, None, &Usage::default(), None);
        }

        fn failed(&mut self, message: &str) {
            self.0.failed(self.mark(), "server_error", None, Some(message));
        }
    }

    #[test]
    fn before_the_first_request_everything_is_fine_and_nothing_is_known() {
        let tally = ProviderTally::new(1000);
        assert_eq!(tally.totals.success_rate(), 100.0);
        assert_eq!(tally.reliability_score(), 100.0);
        assert_eq!(tally.latency.mean(), None);
        assert_eq!(tally.totals.last_used_unix_ms, None);
        assert_eq!(tally.models().count(), 0);
    }

    #[test]
    fn requests_that_were_left_do_not_lower_the_rate() {
        let mut book = Book::new(10);
        book.0.sent(book.mark(), 1, true);
        book.succeeded(SECOND);
        book.0.sent(book.mark(), 2, true);
        book.0.cancelled(book.mark());
        book.0.spent(book.mark(), &Usage::reported(5, 1), None);
        let totals = &book.0.totals;
        assert_eq!((totals.total_requests, totals.successful_requests, totals.errors), (2, 1, 0));
        assert_eq!((totals.success_rate(), book.0.reliability_score()), (100.0, 99.0));
        let model = book.0.models().next().unwrap();
        assert_eq!((model.selected, model.succeeded, model.cancelled), (2, 1, 1));
    }

    #[test]
    fn the_callers_own_fault_is_counted_and_is_nobodys_error() {
        let mut book = Book::new(10);
        book.0.failed(book.mark(), "invalid_request", None, None);
        assert_eq!((book.0.totals.errors, book.0.reliability_score()), (0, 100.0));
        assert_eq!(book.0.last_error, None);
        assert_eq!(book.0.models().next().unwrap().failed.iter().collect::<Vec<_>>(), [("invalid_request", 1)]);
    }

    #[test]
    fn the_rate_is_a_percentage_of_what_ended() {
        let mut book = Book::new(10);
        book.failed("broken");
        assert_eq!(book.0.totals.success_rate(), 0.0);
        (0..3).for_each(|_| book.succeeded(SECOND));
        assert_eq!(book.0.totals.success_rate(), 75.0);
    }

    #[test]
    fn tokens_and_money_add_up_and_the_unknown_is_counted_apart() {
        let mut book = Book::new(10);
        let mark = book.mark();
        book.0.succeeded(mark, SECOND, None, &Usage::reported(10, 5), Some(NanoUsd(7)));
        book.0.succeeded(mark, SECOND, None, &Usage::reported(1, 2), None);
        book.0.spent(mark, &Usage::reported(4, 0), Some(NanoUsd(3)));
        let totals = &book.0.totals;
        assert_eq!((totals.prompt_tokens, totals.completion_tokens, totals.total_tokens), (15, 7, 22));
        assert_eq!((totals.total_cost, totals.unpriced_requests), (NanoUsd(10), 1));
        let model = book.0.models().next().unwrap();
        assert_eq!((model.tokens.input, model.tokens.output, model.cost, model.unpriced), (15, 7, NanoUsd(10), 1));
    }

    #[test]
    fn first_content_is_kept_only_for_streams() {
        let mut book = Book::new(10);
        book.succeeded(SECOND);
        assert_eq!(book.0.first_token.mean(), None);
        book.0.succeeded(book.mark(), SECOND, Some(SECOND / 10), &Usage::default(), None);
        assert_eq!(book.0.first_token.mean(), Some(100.0));
        assert_eq!(book.0.latency.len(), 2);
    }

    #[test]
    fn the_last_error_stays_after_a_success_and_is_cut_between_letters() {
        let mut book = Book::new(10);
        book.failed(&("ü".repeat(1_000) + "!"));
        book.succeeded(SECOND);
        assert_eq!(book.0.last_error.as_deref(), Some("ü".repeat(250).as_str()));
        book.failed(&format!("a{}", "ü".repeat(1_000)));
        assert_eq!(book.0.last_error.as_deref().map(str::len), Some(499));
        book.failed("short");
        assert_eq!(book.0.last_error.as_deref(), Some("short"));
    }

    #[test]
    fn a_second_of_latency_costs_a_point_of_reliability_and_twenty_at_most() {
        let scored = |latency: Duration| {
            let mut book = Book::new(10);
            book.succeeded(latency);
            book.0.reliability_score()
        };
        assert_eq!(scored(SECOND * 2), 98.0);
        assert_eq!(scored(SECOND * 500), 80.0);
        let mut book = Book::new(10);
        book.failed("broken");
        assert_eq!(book.0.reliability_score(), 0.0);
    }

    #[test]
    fn reliability_is_of_late_and_the_success_rate_is_of_all_time() {
        let mut book = Book::new(10);
        (0..90).for_each(|_| book.succeeded(Duration::ZERO));
        (0..10).for_each(|_| book.failed("down"));
        assert_eq!((book.0.totals.success_rate(), book.0.reliability_score()), (90.0, 0.0));
        let mut without = Book::new(0);
        without.succeeded(SECOND);
        without.failed("down");
        assert_eq!(without.0.reliability_score(), 50.0);
    }

    #[test]
    fn a_slot_of_time_knows_what_the_totals_know() {
        let mut book = Book::new(10);
        let mark = book.mark();
        book.0.sent(mark, NOON - 5, true);
        book.0.succeeded(mark, SECOND, None, &Usage::reported(10, 5), Some(NanoUsd(7)));
        book.0.sent(mark, NOON - 3, false);
        book.failed("broken");
        book.0.tripped(NOON);
        for window in Window::ALL {
            let slot = book.0.history.sum(window, NOON);
            assert_eq!(slot.totals, book.0.totals);
            assert_eq!((slot.trips, slot.latency.mean()), (1, Some(1000.0)));
        }
    }

    #[test]
    fn models_that_nobody_configured_share_one_label() {
        let mut tally = ProviderTally::new(0);
        (0..300).for_each(|number| tally.serve(&format!("m{number}")));
        tally.serve("m0");
        assert_eq!(tally.models().count(), MOST_MODELS);
        for invented in ["x", "y", "m299"] {
            tally.cancelled(Mark { model: tally.model_id(invented), unix_ms: NOON });
        }
        let other = tally.models().last().unwrap();
        assert_eq!((&*other.name, other.cancelled), ("other", 3));
    }

    #[test]
    fn a_provider_takes_no_more_memory_than_documented() {
        let mut book = Book::new(1000);
        let idle = book.0.bytes();
        // A week of a busy provider: in each minute answers from 200 ms to 30 s.
        for minute in 0..7 * 24 * 60 {
            let mark = Mark { unix_ms: NOON + minute * 60_000, ..book.mark() };
            for latency in [200, 1_000, 5_000, 30_000] {
                book.0.sent(mark, NOON, true);
                book.0.succeeded(mark, Duration::from_millis(latency), None, &Usage::default(), None);
            }
        }
        let busy = book.0.bytes();
        // The worst: answers from a microsecond to an hour in each minute.
        for minute in 0..7 * 24 * 60 {
            let mark = Mark { unix_ms: NOON + (8 * 24 * 60 + minute) * 60_000, ..book.mark() };
            for latency in [1, 3_600_000_000] {
                book.0.succeeded(mark, Duration::from_micros(latency), None, &Usage::default(), None);
            }
        }
        let worst = book.0.bytes();
        assert!(idle <= 11_000 && busy <= 110_000 && worst <= 280_000, "{idle}, {busy}, {worst}");
    }
}
