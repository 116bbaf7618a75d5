//! What happened when: a slot per minute for the last hour, a slot per hour for the last week.
//!
//! Something that ends is added to the slot of the moment it ends in, by the wall clock, which the owner passes in. Slots
//! in which nothing ended do not exist, so a provider that rests takes no memory, and none takes more than 228 slots.
//!
//! A wall clock that is set back by less than a slot goes on in the newest one; set back further, what was counted in
//! the future is forgotten with the next new slot. A jump ahead leaves a gap.

use std::collections::VecDeque;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How far back to look, in whole slots with the one under way as the last: an hour is 59 to 60 minutes, a day 23 to 24
/// hours, a week 167 to 168.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Hour,
    Day,
    Week,
}

/// What a slot holds.
pub trait Slot: Default {
    fn add(&mut self, other: &Self);
}

/// The last hour by minutes and the last week by hours.
#[derive(Debug, Clone, Default)]
pub struct History<S> {
    minutes: Ring<S, MINUTE_MS, 60>,
    hours: Ring<S, HOUR_MS, 168>,
}

/// At most `KEPT` slots of `WIDTH` milliseconds, oldest first, each with its number since the epoch.
#[derive(Debug, Clone, Default)]
struct Ring<S, const WIDTH: u64, const KEPT: u64> {
    slots: VecDeque<(u64, S)>,
}

// === impl Window ===

impl Window {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == name)
    }

    /// The width of a slot in milliseconds.
    pub const fn step_ms(self) -> u64 {
        match self {
            Self::Hour => MINUTE_MS,
            Self::Day | Self::Week => HOUR_MS,
        }
    }

    const fn slots(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::Day => 24,
            Self::Week => 168,
        }
    }

    /// The starts of its slots in Unix milliseconds, oldest first; the last is the slot under way.
    pub fn starts(self, unix_ms: u64) -> impl Iterator<Item = u64> {
        let now = unix_ms / self.step_ms();
        (now.saturating_sub(self.slots() - 1)..=now).map(move |number| number * self.step_ms())
    }
}

// === impl History ===

impl<S: Slot> History<S> {
    /// Counts something that ends at this moment.
    pub fn note(&mut self, unix_ms: u64, count: impl Fn(&mut S)) {
        count(self.minutes.at(unix_ms));
        count(self.hours.at(unix_ms));
    }

    /// The slots of the window in which something ended, oldest first, each with its start in Unix milliseconds.
    pub fn within(&self, window: Window, unix_ms: u64) -> impl Iterator<Item = (u64, &S)> {
        let slots = match window {
            Window::Hour => &self.minutes.slots,
            Window::Day | Window::Week => &self.hours.slots,
        };
        let now = unix_ms / window.step_ms();
        let shown = move |number: u64| number <= now && number + window.slots() > now;
        slots
            .iter()
            .filter(move |(number, _)| shown(*number))
            .map(move |(number, slot)| (number * window.step_ms(), slot))
    }

    /// The whole window in one.
    pub fn sum(&self, window: Window, unix_ms: u64) -> S {
        let mut sum = S::default();
        self.within(window, unix_ms).for_each(|(_, slot)| sum.add(slot));
        sum
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self, of: impl Fn(&S) -> usize) -> usize {
        let slots = self.minutes.slots.capacity() + self.hours.slots.capacity();
        let inside = self.minutes.slots.iter().chain(&self.hours.slots).map(|(_, slot)| of(slot));
        slots * size_of::<(u64, S)>() + inside.sum::<usize>()
    }
}

// === impl Ring ===

impl<S: Slot, const WIDTH: u64, const KEPT: u64> Ring<S, WIDTH, KEPT> {
    fn at(&mut self, unix_ms: u64) -> &mut S {
        let number = unix_ms / WIDTH;
        // From the back: it is nearly always the newest.
        let known = self.slots.iter().rposition(|(each, _)| *each == number || *each == number + 1);
        let at = known.unwrap_or_else(|| {
            self.slots.retain(|(each, _)| *each < number && *each + KEPT > number);
            self.slots.reserve_exact(1);
            self.slots.push_back((number, S::default()));
            self.slots.len() - 1
        });
        &mut self.slots[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Count(u64);

    impl Slot for Count {
        fn add(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    /// Some hour, sharp.
    const NOON: u64 = 500_000 * HOUR_MS;

    fn one(history: &mut History<Count>, at: u64) {
        history.note(at, |slot| slot.0 += 1);
    }

    fn sum(history: &History<Count>, window: Window, now: u64) -> u64 {
        history.sum(window, now).0
    }

    #[test]
    fn names_are_read_back() {
        for window in Window::ALL {
            assert_eq!(Window::parse(window.as_str()), Some(window));
        }
        for other in ["", "1H", "30d", "1h "] {
            assert_eq!(Window::parse(other), None);
        }
    }

    #[test]
    fn a_window_is_its_slots_and_not_a_moment_more() {
        for (window, ago) in
            [(Window::Hour, 59 * MINUTE_MS), (Window::Day, 23 * HOUR_MS), (Window::Week, 167 * HOUR_MS)]
        {
            let mut history = History::default();
            one(&mut history, NOON - ago - 1);
            one(&mut history, NOON - ago);
            one(&mut history, NOON);
            assert_eq!(sum(&history, window, NOON), 2, "{window:?}");
            assert_eq!(sum(&history, window, NOON + window.step_ms() - 1), 2, "{window:?}");
            assert_eq!(sum(&history, window, NOON + window.step_ms()), 1, "{window:?}");
        }
    }

    #[test]
    fn what_is_yet_to_come_is_not_shown() {
        let mut history = History::default();
        one(&mut history, NOON);
        assert_eq!((sum(&history, Window::Hour, NOON - 1), sum(&history, Window::Hour, NOON)), (0, 1));
    }

    #[test]
    fn slots_begin_where_the_clock_does() {
        let mut history = History::default();
        one(&mut history, NOON + 90_000);
        one(&mut history, NOON + 119_999);
        one(&mut history, NOON + 120_000);
        let seen: Vec<_> = history.within(Window::Hour, NOON + 130_000).map(|(at, slot)| (at - NOON, slot.0)).collect();
        assert_eq!(seen, [(60_000, 2), (120_000, 1)]);
        let starts: Vec<_> = Window::Hour.starts(NOON + 130_000).collect();
        assert_eq!((starts.len(), starts[59]), (60, NOON + 120_000));
        assert_eq!(Window::Hour.starts(0).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn memory_is_bounded_by_the_slots() {
        let mut history = History::default();
        for minute in 0..20_000 {
            one(&mut history, NOON + minute * MINUTE_MS);
        }
        assert_eq!((history.minutes.slots.len(), history.hours.slots.len()), (60, 168));
        assert!(history.minutes.slots.capacity() <= 64 && history.hours.slots.capacity() <= 176);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_loses_nothing() {
        let mut history = History::default();
        one(&mut history, NOON);
        one(&mut history, NOON - 10);
        one(&mut history, NOON + 10);
        assert_eq!(sum(&history, Window::Hour, NOON + 20), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_far_forgets_the_future_and_goes_on() {
        let mut history = History::default();
        one(&mut history, NOON);
        one(&mut history, NOON + 1_000 * HOUR_MS);
        one(&mut history, NOON + 5 * MINUTE_MS);
        one(&mut history, NOON + 6 * MINUTE_MS);
        assert_eq!(history.minutes.slots.len(), 2, "the slot of the future is gone");
        assert_eq!(sum(&history, Window::Hour, NOON + 7 * MINUTE_MS), 2);
    }

    #[test]
    fn a_jump_ahead_leaves_a_gap() {
        let mut history = History::default();
        one(&mut history, NOON);
        one(&mut history, NOON + 48 * HOUR_MS);
        assert_eq!(sum(&history, Window::Day, NOON + 48 * HOUR_MS), 1);
        assert_eq!(sum(&history, Window::Week, NOON + 48 * HOUR_MS), 2);
    }
}
