//! Which of a provider's keys is used, and how long one is left alone.
//!
//! Keys take turns, so that their separate quotas are used evenly. Two things take a key out:
//!
//! - **A rest** after a rate signal: until the moment the provider named. A later signal may prolong it and never
//!   shortens it, since answers overtake each other.
//! - **Retirement** after an answer that says the key itself is no good (authentication, permission, quota): 5 minutes,
//!   doubling to an hour each time the probe fails, or exactly as long as the provider says. Then one call probes the
//!   key; the others use other keys until the probe has ended.
//!
//! A wrong key is usually noticed by many calls at once. Only the first one retires it; for the others the key is
//! retired already, otherwise fifty calls in flight would make the first 5 minutes an hour.
//!
//! [`KeyRing::choose`] only looks, so that a call that is refused for another reason uses up no key's turn; every key that
//! [`KeyRing::begin`] gave out is owed exactly one answer: `succeed`, `retire`, `rest_until` or `cancel`.
//! A probe that is never answered keeps its key out for ever. Calls that were sent before the retirement and end during
//! the probe cannot be told from it; at worst that costs one more probe.

use std::time::Duration;

use super::after;
use crate::time::Instant;

/// First retirement: a key that was mistyped stays wrong, one that was just created works within minutes.
const RETIRE_FIRST: Duration = Duration::from_secs(5 * 60);

/// Longest retirement: a key that is topped up or unlocked at the provider works again within the hour.
const RETIRE_MAX: Duration = Duration::from_secs(60 * 60);

/// The keys of one provider, by their place in the config, counted from 0.
///
/// ```
/// use llmpool::policy::KeyRing;
/// let now = llmpool::time::now().mono;
/// let mut keys = KeyRing::new(2);
/// let none_is_spent = |_| false;
/// assert_eq!(keys.choose(now, &[], none_is_spent), Ok(0));
/// keys.begin(0);
/// keys.retire(0, now, None); // 401
/// assert_eq!(keys.choose(now, &[0], none_is_spent), Ok(1));
/// assert_eq!(keys.choose(now, &[0, 1], none_is_spent).unwrap_err().not_before, None);
/// ```
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    /// Whose turn it is.
    next: usize,
}

/// No key can be used by this call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysResting {
    /// When the first key that this call has not tried is free. `None`: there is nothing to wait for, every key was
    /// tried by this call or is being probed by another.
    pub not_before: Option<Instant>,
}

/// How a key stands, for looking at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Ready,
    /// It met a limit and is left alone until then.
    Resting,
    /// It was refused and is left alone until then.
    Retired,
    /// One call tries whether it works again.
    Probing,
}

#[derive(Debug, Clone)]
struct Key {
    standing: Standing,
    /// A rate signal said: not before.
    rest_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    Good,
    /// Out until `until`, after `streak` retirements in a row; from then on waiting for a probe.
    Retired {
        until: Instant,
        streak: u32,
    },
    /// One call tries whether it works again.
    Probing {
        until: Instant,
        streak: u32,
    },
}

/// Whether a key can be used at a moment.
enum Availability {
    Free,
    At(Instant),
    /// Depends on a probe under way.
    Unknown,
}

// === impl KeyRing ===

impl KeyRing {
    /// `count` keys in good standing. A provider without keys has one that stands for "none": 0 counts as 1.
    pub fn new(count: usize) -> Self {
        Self { keys: vec![Key { standing: Standing::Good, rest_until: None }; count.max(1)], next: 0 }
    }

    /// The next key in turn that is free and not in `tried`, the keys this call has already used. One that is `spent` is
    /// chosen only where no other is free.
    pub fn choose(&self, now: Instant, tried: &[u32], spent: impl Fn(u32) -> bool) -> Result<u32, KeysResting> {
        let count = self.keys.len();
        let mut free = None;
        let mut soonest = None;
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let name = index as u32;
            if tried.contains(&name) {
                continue;
            }
            match self.keys[index].availability(now) {
                Availability::Free if !spent(name) => return Ok(name),
                Availability::Free => free = free.or(Some(name)),
                Availability::At(at) => soonest = earlier(soonest, at),
                Availability::Unknown => {}
            }
        }
        free.ok_or(KeysResting { not_before: soonest })
    }

    /// A call uses the key that was just chosen. The next call gets the next one.
    pub fn begin(&mut self, key: u32) {
        if let Some(chosen) = self.get(key) {
            chosen.begin();
            self.next = (key as usize + 1) % self.keys.len();
        }
    }

    /// The key answered with a rate signal: leave it alone until then. Ends a probe without a result.
    pub fn rest_until(&mut self, key: u32, until: Instant) {
        self.cancel(key);
        if let Some(key) = self.get(key) {
            key.rest_until = Some(key.rest_until.map_or(until, |earlier| earlier.max(until)));
        }
    }

    /// The key was refused. `hint` is how long the provider says it will be; without one it is 5 minutes, doubling.
    pub fn retire(&mut self, key: u32, now: Instant, hint: Option<Duration>) {
        let Some(key) = self.get(key) else { return };
        key.standing = match key.standing {
            Standing::Good => Standing::retired(1, now, hint),
            Standing::Probing { streak, .. } => Standing::retired(streak.saturating_add(1), now, hint),
            // Sent before the retirement: no news, unless it names a later time.
            Standing::Retired { until, streak } => {
                let until = hint.map_or(until, |hint| until.max(after(now, hint)));
                Standing::Retired { until, streak }
            }
        };
    }

    /// The key worked: a probe brings it back, and its next retirement is a first one. An answer to a call sent before
    /// the retirement changes nothing, and a rest goes on.
    pub fn succeed(&mut self, key: u32) {
        if let Some(key) = self.get(key)
            && let Standing::Probing { .. } = key.standing
        {
            key.standing = Standing::Good;
        }
    }

    /// The attempt says nothing about the key: it was left, or failed for another reason. Another call may probe.
    pub fn cancel(&mut self, key: u32) {
        if let Some(key) = self.get(key)
            && let Standing::Probing { until, streak } = key.standing
        {
            key.standing = Standing::Retired { until, streak };
        }
    }

    /// When the first key is free. `None`: one is free now, or all that is missing is the end of a probe.
    pub fn soonest(&self, now: Instant) -> Option<Instant> {
        let mut soonest = None;
        for key in &self.keys {
            match key.availability(now) {
                Availability::Free => return None,
                Availability::At(at) => soonest = earlier(soonest, at),
                Availability::Unknown => {}
            }
        }
        soonest
    }

    /// Until when this key is out; `None` when it is not, or is being probed.
    pub fn resting(&self, key: u32, now: Instant) -> Option<Instant> {
        match self.keys.get(key as usize)?.availability(now) {
            Availability::At(at) => Some(at),
            Availability::Free | Availability::Unknown => None,
        }
    }

    /// How each key stands, and until when.
    pub fn states(&self, now: Instant) -> impl Iterator<Item = (KeyState, Option<Instant>)> {
        self.keys.iter().map(move |key| match (key.availability(now), key.standing) {
            (_, Standing::Probing { .. }) => (KeyState::Probing, None),
            (Availability::At(until), Standing::Retired { until: retired, .. }) if retired > now => {
                (KeyState::Retired, Some(until))
            }
            (Availability::At(until), _) => (KeyState::Resting, Some(until)),
            (Availability::Free | Availability::Unknown, _) => (KeyState::Ready, None),
        })
    }

    fn get(&mut self, key: u32) -> Option<&mut Key> {
        self.keys.get_mut(key as usize)
    }
}

// === impl KeyState ===

impl KeyState {
    /// The word users see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Resting => "resting",
            Self::Retired => "retired",
            Self::Probing => "probing",
        }
    }
}

// === impl Key ===

impl Key {
    fn availability(&self, now: Instant) -> Availability {
        let retired_until = match self.standing {
            Standing::Good => None,
            Standing::Retired { until, .. } => Some(until),
            Standing::Probing { .. } => return Availability::Unknown,
        };
        match self.rest_until.max(retired_until) {
            Some(until) if now < until => Availability::At(until),
            _ => Availability::Free,
        }
    }

    /// A call begins with this free key; after a retirement that makes it the probe.
    fn begin(&mut self) {
        if let Standing::Retired { until, streak } = self.standing {
            self.standing = Standing::Probing { until, streak };
        }
    }
}

// === impl Standing ===

impl Standing {
    fn retired(streak: u32, now: Instant, hint: Option<Duration>) -> Self {
        let doublings = streak.saturating_sub(1).min(31);
        let out_for = hint.unwrap_or_else(|| RETIRE_FIRST.saturating_mul(1 << doublings).min(RETIRE_MAX));
        Self::Retired { until: after(now, out_for), streak }
    }
}

fn earlier(soonest: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(soonest.map_or(at, |soonest| soonest.min(at)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    impl KeyRing {
        fn pick(&mut self, now: Instant, tried: &[u32]) -> Result<u32, KeysResting> {
            self.choose(now, tried, |_| false).inspect(|key| self.begin(*key))
        }
    }

    fn start() -> Instant {
        crate::time::now().mono
    }

    fn resting(not_before: Option<Instant>) -> Result<u32, KeysResting> {
        Err(KeysResting { not_before })
    }

    #[test]
    fn keys_take_turns() {
        let now = start();
        let mut keys = KeyRing::new(3);
        let picked: Vec<u32> = (0..7).map(|_| keys.pick(now, &[]).unwrap()).collect();
        assert_eq!(picked, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_call_gets_each_key_once() {
        let now = start();
        let mut keys = KeyRing::new(2);
        assert_eq!(keys.pick(now, &[0]), Ok(1));
        assert_eq!(keys.pick(now, &[1]), Ok(0));
        assert_eq!(keys.pick(now, &[0, 1]), resting(None));
        assert_eq!(keys.pick(now, &[]), Ok(1), "a refusal uses up no turn");
    }

    #[test]
    fn a_provider_without_keys_has_one_that_stands_for_none() {
        let now = start();
        let mut keys = KeyRing::new(0);
        assert_eq!(keys.pick(now, &[]), Ok(0));
    }

    #[test]
    fn a_spent_key_is_chosen_only_where_no_other_is_free() {
        let now = start();
        let mut keys = KeyRing::new(3);
        let spent = |key| key < 2;
        for _ in 0..3 {
            assert_eq!(keys.choose(now, &[], spent), Ok(2));
            keys.begin(2);
        }
        assert_eq!(keys.choose(now, &[2], spent), Ok(0), "in turn");
        keys.rest_until(2, now + SECOND);
        assert_eq!(keys.choose(now, &[0], spent), Ok(1));
        assert_eq!(keys.choose(now, &[], |_| true), Ok(0));
    }

    #[test]
    fn a_resting_key_is_skipped_until_its_hint() {
        let now = start();
        let mut keys = KeyRing::new(2);
        keys.rest_until(0, now + SECOND * 5);
        assert_eq!(keys.pick(now, &[]), Ok(1));
        assert_eq!(keys.pick(now, &[1]), resting(Some(now + SECOND * 5)));
        assert_eq!(keys.resting(0, now), Some(now + SECOND * 5));
        assert_eq!(keys.soonest(now), None, "the other one is free");
        assert_eq!(keys.pick(now + SECOND * 5, &[1]), Ok(0));
        assert_eq!(keys.resting(0, now + SECOND * 5), None);
    }

    #[test]
    fn a_rest_is_prolonged_and_never_shortened() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.rest_until(0, now + SECOND * 10);
        keys.rest_until(0, now + SECOND * 2);
        keys.succeed(0); // of a call that was sent before
        assert_eq!(keys.soonest(now), Some(now + SECOND * 10));
        keys.rest_until(0, now + SECOND * 20);
        assert_eq!(keys.soonest(now), Some(now + SECOND * 20));
    }

    #[test]
    fn the_soonest_of_all_keys_is_named() {
        let now = start();
        let mut keys = KeyRing::new(3);
        keys.rest_until(0, now + SECOND * 9);
        keys.rest_until(1, now + SECOND * 3);
        keys.retire(2, now, None);
        assert_eq!(keys.soonest(now), Some(now + SECOND * 3));
        assert_eq!(keys.pick(now, &[]), resting(Some(now + SECOND * 3)));
        assert_eq!(keys.pick(now, &[1]), resting(Some(now + SECOND * 9)));
    }

    #[test]
    fn a_refused_key_is_out_for_five_minutes_doubling_to_an_hour() {
        let mut now = start();
        let mut keys = KeyRing::new(1);
        for minutes in [5, 10, 20, 40, 60, 60] {
            assert_eq!(keys.pick(now, &[]), Ok(0));
            keys.retire(0, now, None);
            assert_eq!(keys.soonest(now), Some(now + MINUTE * minutes));
            now += MINUTE * minutes;
        }
    }

    #[test]
    fn a_stated_reset_wins_in_both_directions() {
        let now = start();
        for hint in [Duration::ZERO, SECOND, MINUTE * 600] {
            let mut keys = KeyRing::new(1);
            keys.retire(0, now, Some(hint));
            assert_eq!(keys.resting(0, now).unwrap_or(now), now + hint);
        }
    }

    #[test]
    fn an_endless_hint_does_not_overflow() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.retire(0, now, Some(Duration::MAX));
        assert!(keys.soonest(now).is_some());
    }

    #[test]
    fn many_calls_refused_at_once_are_one_retirement() {
        let now = start();
        let mut keys = KeyRing::new(1);
        for _ in 0..50 {
            keys.retire(0, now, None);
        }
        assert_eq!(keys.soonest(now), Some(now + MINUTE * 5));
        keys.retire(0, now, Some(MINUTE * 30));
        keys.retire(0, now, Some(MINUTE));
        assert_eq!(keys.soonest(now), Some(now + MINUTE * 30), "a stated time prolongs it");
    }

    #[test]
    fn one_call_probes_a_retired_key_and_the_others_are_told_that_there_is_no_time() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.retire(0, now, None);
        let due = now + MINUTE * 5;
        assert_eq!(keys.pick(due, &[]), Ok(0));
        for _ in 0..10 {
            assert_eq!(keys.pick(due + MINUTE, &[]), resting(None));
        }
        assert_eq!(keys.soonest(due), None);
        keys.succeed(0);
        assert_eq!(keys.pick(due, &[]), Ok(0));
        assert_eq!(keys.pick(due, &[]), Ok(0));
    }

    #[test]
    fn a_probe_that_succeeds_makes_the_next_retirement_a_first_one() {
        let mut now = start();
        let mut keys = KeyRing::new(1);
        for _ in 0..3 {
            keys.retire(0, now, None);
            now = keys.soonest(now).unwrap();
            assert_eq!(keys.pick(now, &[]), Ok(0));
        }
        keys.succeed(0);
        keys.retire(0, now, None);
        assert_eq!(keys.soonest(now), Some(now + MINUTE * 5));
    }

    #[test]
    fn a_cancelled_probe_lets_another_call_probe() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.retire(0, now, None);
        let due = now + MINUTE * 5;
        assert_eq!(keys.pick(due, &[]), Ok(0));
        keys.cancel(0);
        assert_eq!(keys.pick(due, &[]), Ok(0));
        assert_eq!(keys.pick(due, &[]), resting(None));
        keys.retire(0, due, None);
        assert_eq!(keys.soonest(due), Some(due + MINUTE * 10), "a cancelled probe is no failed one");
    }

    #[test]
    fn a_probe_that_meets_a_rate_limit_rests_and_is_probed_again() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.retire(0, now, None);
        let due = now + MINUTE * 5;
        assert_eq!(keys.pick(due, &[]), Ok(0));
        keys.rest_until(0, due + SECOND);
        assert_eq!(keys.pick(due, &[]), resting(Some(due + SECOND)));
        assert_eq!(keys.pick(due + SECOND, &[]), Ok(0));
        assert_eq!(keys.pick(due + SECOND, &[]), resting(None), "still one probe");
    }

    #[test]
    fn an_answer_to_a_call_sent_before_the_retirement_does_not_bring_the_key_back() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.retire(0, now, None);
        keys.succeed(0);
        keys.cancel(0);
        assert_eq!(keys.soonest(now), Some(now + MINUTE * 5));
    }

    #[test]
    fn it_can_be_seen_how_each_key_stands() {
        let now = start();
        let mut keys = KeyRing::new(4);
        keys.rest_until(1, now + SECOND);
        keys.retire(2, now, None);
        keys.retire(3, now, Some(Duration::ZERO));
        keys.begin(3);
        let until = |wait| Some(now + wait);
        let states = [
            (KeyState::Ready, None),
            (KeyState::Resting, until(SECOND)),
            (KeyState::Retired, until(MINUTE * 5)),
            (KeyState::Probing, None),
        ];
        assert_eq!(keys.states(now).collect::<Vec<_>>(), states);
        keys.rest_until(2, now + MINUTE * 9);
        let later = keys.states(now + MINUTE * 5).map(|(state, _)| state.as_str());
        assert_eq!(later.collect::<Vec<_>>(), ["ready", "ready", "resting", "probing"]);
    }

    #[test]
    fn a_key_that_is_none_is_ignored() {
        let now = start();
        let mut keys = KeyRing::new(1);
        keys.rest_until(7, now + MINUTE);
        keys.retire(7, now, None);
        keys.succeed(7);
        keys.cancel(7);
        assert_eq!(keys.resting(7, now), None);
        assert_eq!(keys.pick(now, &[]), Ok(0));
    }

    #[derive(Debug, Clone)]
    enum End {
        Succeed,
        Cancel,
        Retire(Option<u64>),
        Rest(u64),
    }

    proptest! {
        /// Whatever calls do, no key is given out while it rests, is retired or is being probed, and a refusal with a
        /// time is right about it.
        #[test]
        fn no_key_is_given_out_before_its_time(
            count in 1usize..4,
            steps in prop::collection::vec((
                0u64..400,
                prop::option::of(prop_oneof![
                    Just(End::Succeed),
                    Just(End::Cancel),
                    prop::option::of(0u64..1_000).prop_map(End::Retire),
                    (0u64..500).prop_map(End::Rest),
                ]),
            ), 1..150),
        ) {
            let mut now = start();
            let mut keys = KeyRing::new(count);
            // Calls that hold a key, oldest first; whether the key was on probe when it was picked.
            let mut out: Vec<(u32, bool)> = Vec::new();
            for (seconds, end) in steps {
                now += SECOND * seconds as u32;
                if let Some(end) = end {
                    // The newest call ends, so that answers from before a retirement occur too.
                    let Some((key, probe)) = out.pop() else { continue };
                    match end {
                        End::Succeed => keys.succeed(key),
                        End::Cancel => keys.cancel(key),
                        End::Retire(hint) => keys.retire(key, now, hint.map(|seconds| SECOND * seconds as u32)),
                        End::Rest(seconds) => keys.rest_until(key, now + SECOND * seconds as u32),
                    }
                    if probe {
                        out.iter().for_each(|(other, probe)| assert!(!probe || *other != key));
                    }
                    continue;
                }
                let before: Vec<_> = (0..count as u32).map(|key| keys.resting(key, now)).collect();
                match keys.pick(now, &[]) {
                    Ok(key) => {
                        prop_assert_eq!(before[key as usize], None);
                        let probe = matches!(keys.keys[key as usize].standing, Standing::Probing { .. });
                        out.push((key, probe));
                    }
                    Err(KeysResting { not_before }) => {
                        prop_assert_eq!(not_before, before.iter().flatten().min().copied());
                        prop_assert_eq!(not_before, keys.soonest(now));
                        if let Some(at) = not_before {
                            prop_assert!(at > now);
                            let mut later = KeyRing { keys: keys.keys.clone(), next: keys.next };
                            prop_assert!(later.pick(at, &[]).is_ok());
                        }
                    }
                }
            }
        }
    }
}
