use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);
/// 2026-01-15, 12:00 UTC.
const NOON: u64 = 1_768_478_400_000;
const HOUR_MILLIS: u64 = DAY_MILLIS / 24;

/// Both clocks, moved by hand.
#[derive(Clone, Copy)]
struct Clock {
    now: Now,
}

impl Clock {
    fn at_noon() -> Self {
        Self { now: Now { mono: crate::time::now().mono, unix_ms: NOON } }
    }

    fn step(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.unix_ms += by.as_millis() as u64;
    }
}

fn per_minute(limit: u32) -> RateLimiter {
    RateLimiter::new(RateParams { requests_per_minute: Some(limit), requests_per_day: None })
}

fn per_day(limit: u32) -> RateLimiter {
    RateLimiter::new(RateParams { requests_per_minute: None, requests_per_day: Some(limit) })
}

/// Reserves until it is refused; how many fitted.
fn fill(limiter: &mut RateLimiter, now: Now) -> usize {
    std::iter::from_fn(|| limiter.reserve(now).ok()).take(100_000).count()
}

#[test]
fn without_limits_everything_fits_and_nothing_is_counted() {
    let mut limiter = RateLimiter::new(RateParams::default());
    let clock = Clock::at_noon();
    let reservation = limiter.reserve(clock.now).unwrap();
    limiter.release(reservation);
    assert_eq!(limiter.remaining(clock.now), Remaining { minute: None, day: None });
    assert_eq!(limiter.params(), &RateParams::default());
}

#[test]
fn a_limit_of_zero_never_admits_and_names_no_time() {
    let clock = Clock::at_noon();
    assert_eq!(per_minute(0).reserve(clock.now).unwrap_err(), Limited { kind: LimitKind::Minute, not_before: None });
    assert_eq!(per_day(0).reserve(clock.now).unwrap_err(), Limited { kind: LimitKind::Day, not_before: None });
    assert_eq!(per_minute(0).remaining(clock.now).minute, Some(0));
}

#[test]
fn the_first_minute_holds_the_whole_limit_at_once() {
    let mut limiter = per_minute(100);
    let clock = Clock::at_noon();
    assert_eq!(limiter.remaining(clock.now).minute, Some(100));
    assert_eq!(fill(&mut limiter, clock.now), 100);
    assert_eq!(limiter.remaining(clock.now).minute, Some(0));
}

#[test]
fn a_place_comes_back_after_exactly_sixty_seconds() {
    let mut limiter = per_minute(1);
    let mut clock = Clock::at_noon();
    let _ = limiter.reserve(clock.now).unwrap();
    let limited = limiter.reserve(clock.now).unwrap_err();
    assert_eq!(limited.not_before, Some(clock.now.mono + MINUTE));
    clock.step(MINUTE - Duration::from_nanos(1));
    assert!(limiter.reserve(clock.now).is_err());
    clock.step(Duration::from_nanos(1));
    assert!(limiter.reserve(clock.now).is_ok());
}

#[test]
fn twice_the_limit_does_not_pass_around_the_turn_of_a_minute() {
    let mut limiter = per_minute(10);
    let mut clock = Clock::at_noon();
    assert!(limiter.reserve(clock.now).is_ok());
    clock.step(MINUTE - MILLI);
    assert_eq!(fill(&mut limiter, clock.now), 9);
    clock.step(MILLI * 2);
    assert_eq!(fill(&mut limiter, clock.now), 1);
}

#[test]
fn a_released_place_is_free_at_once_and_the_others_stay() {
    let mut limiter = per_minute(2);
    let mut clock = Clock::at_noon();
    let first = limiter.reserve(clock.now).unwrap();
    clock.step(MINUTE / 2);
    let _ = limiter.reserve(clock.now).unwrap();
    limiter.release(first);
    assert_eq!(fill(&mut limiter, clock.now), 1);
    // The older one is gone, so both places were taken half a minute ago, not a whole one.
    clock.step(MINUTE / 2);
    assert_eq!(fill(&mut limiter, clock.now), 0);
    clock.step(MINUTE / 2);
    assert_eq!(fill(&mut limiter, clock.now), 2);
}

#[test]
fn releasing_after_the_minute_gives_nothing_twice() {
    let mut limiter = per_minute(1);
    let mut clock = Clock::at_noon();
    let old = limiter.reserve(clock.now).unwrap();
    clock.step(MINUTE);
    let _ = limiter.reserve(clock.now).unwrap();
    limiter.release(old);
    assert_eq!(fill(&mut limiter, clock.now), 0);
}

#[test]
fn a_clock_that_stands_still_gives_nothing_back() {
    let mut limiter = per_minute(3);
    let clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 3);
    assert_eq!(fill(&mut limiter, clock.now), 0);
}

#[test]
fn a_clock_read_too_early_gives_nothing_out_twice() {
    let mut limiter = per_minute(1);
    let mut clock = Clock::at_noon();
    let early = clock.now;
    clock.step(MINUTE);
    let reservation = limiter.reserve(clock.now).unwrap();
    limiter.release(reservation);
    // Counted at the later time, so its minute ends with that time's minute.
    assert!(limiter.reserve(early).is_ok());
    clock.step(MINUTE - MILLI);
    assert!(limiter.reserve(clock.now).is_err());
}

#[test]
fn a_jump_of_years_leaves_an_empty_minute_and_the_wait_is_still_right() {
    let mut limiter = per_minute(5);
    let mut clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 5);
    clock.step(Duration::from_secs(3 * 365 * 24 * 3600));
    assert_eq!(limiter.remaining(clock.now).minute, Some(5));
    assert_eq!(fill(&mut limiter, clock.now), 5);
    assert_eq!(limiter.reserve(clock.now).unwrap_err().not_before, Some(clock.now.mono + MINUTE));
}

#[test]
fn what_remains_is_seen_without_reserving() {
    let mut limiter = per_minute(5);
    let mut clock = Clock::at_noon();
    let _ = limiter.reserve(clock.now);
    clock.step(MILLI);
    let _ = limiter.reserve(clock.now);
    assert_eq!(limiter.remaining(clock.now).minute, Some(3));
    clock.step(MINUTE - MILLI);
    assert_eq!(limiter.remaining(clock.now).minute, Some(4));
}

#[test]
fn a_large_limit_is_rounded_against_us_and_keeps_memory_bounded() {
    let mut limiter = per_minute(20_000);
    let mut clock = Clock::at_noon();
    clock.step(MILLI);
    let _ = limiter.reserve(clock.now).unwrap();
    for _ in 0..3_000 {
        clock.step(MILLI * 25);
        let _ = limiter.reserve(clock.now).unwrap();
        assert!(limiter.minute.as_ref().unwrap().taken.len() <= BUCKETS as usize + 1);
    }
    let capacity = limiter.minute.as_ref().unwrap().taken.capacity();
    assert!(capacity < 2 * BUCKETS as usize, "grown to {capacity}");
}

#[test]
fn a_large_limit_holds_and_comes_back_at_most_a_bucket_late() {
    let mut limiter = per_minute(10_001);
    let mut clock = Clock::at_noon();
    let _ = limiter.reserve(clock.now).unwrap();
    clock.step(MILLI);
    assert_eq!(fill(&mut limiter, clock.now), 10_000);
    clock.step(MINUTE - MILLI);
    assert_eq!(fill(&mut limiter, clock.now), 1, "the first came at the very border of a bucket");
    let not_before = limiter.reserve(clock.now).unwrap_err().not_before.unwrap();
    assert_eq!(not_before, clock.now.mono + MILLI * 60);
    clock.step(MILLI * 60);
    assert_eq!(fill(&mut limiter, clock.now), 10_000);
}

#[test]
fn the_day_ends_at_midnight_utc() {
    let mut limiter = per_day(2);
    let mut clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 2);
    let limited = limiter.reserve(clock.now).unwrap_err();
    assert_eq!(limited.kind, LimitKind::Day);
    assert_eq!(limited.not_before, Some(clock.now.mono + Duration::from_millis(12 * HOUR_MILLIS)));
    clock.step(Duration::from_millis(12 * HOUR_MILLIS - 1));
    assert!(limiter.reserve(clock.now).is_err());
    clock.step(MILLI);
    assert_eq!(limiter.remaining(clock.now).day, Some(2));
    assert_eq!(fill(&mut limiter, clock.now), 2);
}

#[test]
fn a_release_after_midnight_does_not_count_on_the_new_day() {
    let mut limiter = per_day(1);
    let mut clock = Clock::at_noon();
    let yesterday = limiter.reserve(clock.now).unwrap();
    clock.step(Duration::from_millis(DAY_MILLIS));
    let today = limiter.reserve(clock.now).unwrap();
    limiter.release(yesterday);
    assert!(limiter.reserve(clock.now).is_err());
    limiter.release(today);
    assert!(limiter.reserve(clock.now).is_ok());
}

#[test]
fn a_wall_clock_set_back_over_midnight_frees_nothing() {
    let mut limiter = per_day(1);
    let mut clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 1);
    clock.now.unix_ms -= 13 * HOUR_MILLIS;
    assert_eq!(fill(&mut limiter, clock.now), 0);
    let wait = limiter.reserve(clock.now).unwrap_err().not_before.unwrap() - clock.now.mono;
    assert_eq!(wait, Duration::from_millis(25 * HOUR_MILLIS), "until the later day is over");
}

#[test]
fn a_wall_clock_that_was_years_ahead_does_not_lock_the_provider_for_years() {
    let mut limiter = per_day(1);
    let mut clock = Clock::at_noon();
    clock.now.unix_ms += 1_000 * DAY_MILLIS;
    assert_eq!(fill(&mut limiter, clock.now), 1);
    clock.now.unix_ms -= 1_000 * DAY_MILLIS;
    assert_eq!(fill(&mut limiter, clock.now), 0);
    clock.step(Duration::from_millis(12 * HOUR_MILLIS));
    assert_eq!(fill(&mut limiter, clock.now), 1);
}

#[test]
fn a_wall_clock_at_either_end_of_time_does_no_harm() {
    for unix_ms in [0, u64::MAX] {
        let mut limiter = per_day(1);
        let now = Now { unix_ms, ..Clock::at_noon().now };
        assert_eq!(fill(&mut limiter, now), 1);
        assert!(limiter.reserve(now).unwrap_err().not_before.is_some());
    }
}

#[test]
fn a_refusal_by_one_limit_takes_nothing_of_the_other() {
    let mut limiter = RateLimiter::new(RateParams { requests_per_minute: Some(1), requests_per_day: Some(10) });
    let clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 1);
    assert_eq!(fill(&mut limiter, clock.now), 0);
    assert_eq!(limiter.remaining(clock.now), Remaining { minute: Some(0), day: Some(9) });
}

#[test]
fn a_refusal_by_both_limits_names_the_longer_wait() {
    let both = |minute, day| {
        let mut limiter =
            RateLimiter::new(RateParams { requests_per_minute: Some(minute), requests_per_day: Some(day) });
        let clock = Clock::at_noon();
        fill(&mut limiter, clock.now);
        limiter.reserve(clock.now).unwrap_err()
    };
    assert_eq!(both(1, 1).kind, LimitKind::Day);
    assert_eq!(both(0, 0).not_before, None);
    assert_eq!(both(0, 5), Limited { kind: LimitKind::Minute, not_before: None });

    let mut limiter = RateLimiter::new(RateParams { requests_per_minute: Some(1), requests_per_day: Some(1) });
    let mut clock = Clock::at_noon();
    clock.now.unix_ms += 12 * HOUR_MILLIS - 1_000; // a second before midnight
    fill(&mut limiter, clock.now);
    assert_eq!(limiter.reserve(clock.now).unwrap_err().kind, LimitKind::Minute);
}

#[test]
fn limits_are_named_like_their_config_keys() {
    assert_eq!(LimitKind::Minute.as_str(), "requests_per_minute");
    assert_eq!(LimitKind::Day.as_str(), "requests_per_day");
}

/// Between reading the clock and reserving, a thread may be held up.
const SLOWEST_READER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
enum Step {
    /// Both clocks go on by so many milliseconds.
    Forward(u64),
    /// Reserves with a `now` read so many milliseconds ago.
    Reserve { late_by: u64 },
    /// Releases one of those that are held.
    Release(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u64..20_000).prop_map(Step::Forward),
        1 => Just(Step::Forward(60_000)),
        4 => Just(Step::Reserve { late_by: 0 }),
        2 => (0..SLOWEST_READER.as_millis() as u64).prop_map(|late_by| Step::Reserve { late_by }),
        2 => any::<prop::sample::Index>().prop_map(Step::Release),
    ];
    prop::collection::vec(step, 1..200)
}

/// Plays `steps` and checks that no stretch of 60 s holds more than `limit`, and that a refusal has a reason: with
/// times rounded by `grain`, the limit is reached within 60 s and `grain`.
fn no_stretch_holds_more(limit: u32, grain: Duration, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut limiter = per_minute(limit);
    limiter.minute.as_mut().unwrap().grain = grain.as_nanos() as u64;
    let mut clock = Clock::at_noon();
    // What the limiter takes for now: the latest time it was given.
    let mut seen = clock.now.mono - SLOWEST_READER;
    let mut held: Vec<(Instant, Reservation)> = Vec::new();

    for step in steps {
        match step {
            Step::Forward(millis) => clock.step(MILLI * millis as u32),
            Step::Release(which) if !held.is_empty() => {
                let (_, reservation) = held.swap_remove(which.index(held.len()));
                limiter.release(reservation);
            }
            Step::Release(_) => {}
            Step::Reserve { late_by } => {
                let read_at = clock.now.mono - MILLI * late_by as u32;
                seen = seen.max(read_at);
                let within = |stretch: Duration| held.iter().filter(|(at, _)| *at + stretch > seen).count();
                let before = within(MINUTE);
                let before_rounded = within(MINUTE + grain);
                match limiter.reserve(Now { mono: read_at, ..clock.now }) {
                    Ok(reservation) => {
                        prop_assert!(before < limit as usize);
                        held.push((seen, reservation));
                    }
                    Err(limited) => {
                        prop_assert!(before_rounded >= limit as usize);
                        let not_before = limited.not_before.unwrap();
                        prop_assert!(not_before > seen && not_before <= seen + MINUTE + grain);
                    }
                }
                let taken = limiter.minute.as_ref().unwrap();
                prop_assert!(taken.taken.len() <= limit as usize && taken.count <= limit);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_rolling_minute_admits_more_than_its_limit(limit in 1u32..8, steps in steps()) {
        no_stretch_holds_more(limit, Duration::from_nanos(1), steps)?;
    }

    #[test]
    fn no_rolling_minute_admits_more_when_times_are_rounded(limit in 1u32..8, steps in steps()) {
        no_stretch_holds_more(limit, MILLI * 60, steps)?;
    }

    #[test]
    fn the_wait_of_a_refusal_is_exact(limit in 1u32..5, gaps in prop::collection::vec(0u64..30_000, 1..60)) {
        let mut limiter = per_minute(limit);
        let mut clock = Clock::at_noon();
        for gap in gaps {
            clock.step(MILLI * gap as u32);
            if let Err(limited) = limiter.reserve(clock.now) {
                let wait = limited.not_before.unwrap() - clock.now.mono;
                clock.step(wait - Duration::from_nanos(1));
                prop_assert!(limiter.reserve(clock.now).is_err());
                clock.now.mono += Duration::from_nanos(1);
                prop_assert!(limiter.reserve(clock.now).is_ok());
            }
        }
    }

    /// Steps in minutes, so that many midnights pass; no reservation is released on another day than its own.
    #[test]
    fn no_calendar_day_admits_more_than_its_limit(limit in 1u32..5, gaps in prop::collection::vec(0u64..900, 1..200)) {
        let mut limiter = per_day(limit);
        let mut clock = Clock::at_noon();
        let mut admitted = std::collections::HashMap::<u64, u32>::new();
        for (turn, gap) in gaps.into_iter().enumerate() {
            clock.step(MINUTE * gap as u32);
            let today = admitted.entry(clock.now.unix_ms / DAY_MILLIS).or_default();
            match limiter.reserve(clock.now) {
                Ok(reservation) if turn % 3 == 0 => limiter.release(reservation),
                Ok(_) => *today += 1,
                Err(_) => prop_assert_eq!(*today, limit),
            }
            prop_assert!(*today <= limit);
        }
    }

    #[test]
    fn setting_the_wall_clock_back_frees_nothing(limit in 1u32..5, used in 0usize..5, back in 0u64..100 * DAY_MILLIS) {
        let mut limiter = per_day(limit);
        let mut clock = Clock::at_noon();
        for _ in 0..used {
            let _ = limiter.reserve(clock.now);
        }
        let left = limiter.remaining(clock.now).day;
        clock.now.unix_ms -= back;
        prop_assert_eq!(limiter.remaining(clock.now).day, left);
        prop_assert_eq!(fill(&mut limiter, clock.now), left.unwrap() as usize);
    }
}
