use std::time::Duration;

use proptest::prelude::*;

use super::window::BUCKETS;
use super::*;
use crate::policy::calendar::DAY_MILLIS;

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

impl RateLimiter {
    fn reserve(&mut self, now: Now) -> Result<Reservation, Limited> {
        self.reserve_tokens(now, Tokens::default())
    }

    fn reserve_tokens(&mut self, now: Now, tokens: Tokens) -> Result<Reservation, Limited> {
        self.check(now, tokens, 0).map(|fit| self.take(fit))
    }
}

fn per_minute(limit: u32) -> RateLimiter {
    RateLimiter::new(RateParams { requests_per_minute: Some(limit), ..RateParams::default() })
}

fn per_day(limit: u32) -> RateLimiter {
    RateLimiter::new(RateParams { requests_per_day: Some(limit), ..RateParams::default() })
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
    assert_eq!(limiter.remaining(clock.now), Remaining::default());
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
    let mut limiter = RateLimiter::new(RateParams {
        requests_per_minute: Some(1),
        requests_per_day: Some(10),
        ..RateParams::default()
    });
    let clock = Clock::at_noon();
    assert_eq!(fill(&mut limiter, clock.now), 1);
    assert_eq!(fill(&mut limiter, clock.now), 0);
    assert_eq!(limiter.remaining(clock.now), Remaining { minute: Some(0), day: Some(9), ..Remaining::default() });
}

#[test]
fn a_refusal_by_both_limits_names_the_longer_wait() {
    let both = |minute, day| {
        let mut limiter = RateLimiter::new(RateParams {
            requests_per_minute: Some(minute),
            requests_per_day: Some(day),
            ..RateParams::default()
        });
        let clock = Clock::at_noon();
        fill(&mut limiter, clock.now);
        limiter.reserve(clock.now).unwrap_err()
    };
    assert_eq!(both(1, 1).kind, LimitKind::Day);
    assert_eq!(both(0, 0).not_before, None);
    assert_eq!(both(0, 5), Limited { kind: LimitKind::Minute, not_before: None });

    let mut limiter = RateLimiter::new(RateParams {
        requests_per_minute: Some(1),
        requests_per_day: Some(1),
        ..RateParams::default()
    });
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

// === tokens ===

fn tokens_per_minute(limit: u64) -> RateLimiter {
    RateLimiter::new(RateParams { tokens_per_minute: Some(limit), ..RateParams::default() })
}

fn tokens_per_day(limit: u64) -> RateLimiter {
    RateLimiter::new(RateParams { tokens_per_day: Some(limit), ..RateParams::default() })
}

fn prompt(tokens: u64) -> Tokens {
    Tokens { prompt: tokens, answer: 0 }
}

/// A bucket's width: times of tokens are rounded up to it.
const BUCKET: Duration = Duration::from_millis(60);

#[test]
fn tokens_are_reserved_before_sending_and_corrected_by_what_was_used() {
    for mut limiter in [tokens_per_minute(1_000), tokens_per_day(1_000)] {
        let clock = Clock::at_noon();
        let left = |limiter: &RateLimiter| limiter.remaining(clock.now).tokens();
        let reservation = limiter.reserve_tokens(clock.now, Tokens { prompt: 100, answer: 500 }).unwrap();
        assert_eq!(left(&limiter), Some(400));
        assert!(limiter.reserve_tokens(clock.now, prompt(401)).is_err());
        limiter.correct(reservation, 150, clock.now);
        assert_eq!(left(&limiter), Some(850));
        let reservation = limiter.reserve_tokens(clock.now, prompt(850)).unwrap();
        limiter.correct(reservation, 2_000, clock.now);
        assert_eq!(left(&limiter), Some(0), "more than the estimate, and more than the limit");
        assert!(limiter.reserve_tokens(clock.now, prompt(1)).is_err());
    }
}

#[test]
fn tokens_of_a_request_that_was_not_sent_come_back() {
    let mut limiter = RateLimiter::new(RateParams {
        requests_per_minute: Some(5),
        requests_per_day: Some(5),
        tokens_per_minute: Some(100),
        tokens_per_day: Some(100),
        ..RateParams::default()
    });
    let clock = Clock::at_noon();
    let before = limiter.remaining(clock.now);
    let reservation = limiter.reserve_tokens(clock.now, prompt(60)).unwrap();
    assert_eq!(limiter.reserve_tokens(clock.now, prompt(60)).unwrap_err().kind, LimitKind::TokenDay);
    limiter.release(reservation);
    assert_eq!(limiter.remaining(clock.now), before);
}

#[test]
fn tokens_come_back_after_a_minute_and_a_bucket_at_most() {
    let mut limiter = tokens_per_minute(100);
    let mut clock = Clock::at_noon();
    clock.step(MILLI);
    let _ = limiter.reserve_tokens(clock.now, prompt(30));
    clock.step(Duration::from_secs(10));
    let _ = limiter.reserve_tokens(clock.now, prompt(60));
    let free_at = |limiter: &mut RateLimiter, tokens| {
        limiter.reserve_tokens(clock.now, prompt(tokens)).unwrap_err().not_before.unwrap() - clock.now.mono
    };
    let within = |wait: Duration, seconds| {
        let exact = Duration::from_secs(seconds);
        assert!(wait >= exact && wait <= exact + BUCKET, "{wait:?}, about {seconds} s");
    };
    within(free_at(&mut limiter, 40), 50); // the first one's leaving is enough
    within(free_at(&mut limiter, 41), 60);
}

#[test]
fn an_answer_that_took_more_than_reserved_holds_back_until_the_minute_has_made_up_for_it() {
    let mut limiter = tokens_per_minute(100);
    let mut clock = Clock::at_noon();
    let reservation = limiter.reserve_tokens(clock.now, prompt(100)).unwrap();
    clock.step(Duration::from_secs(50));
    limiter.correct(reservation, 180, clock.now);
    clock.step(Duration::from_secs(10) + BUCKET);
    assert_eq!(limiter.remaining(clock.now).tokens(), Some(20), "the prompt has left, what was written later has not");
    clock.step(Duration::from_secs(50));
    assert_eq!(limiter.remaining(clock.now).tokens(), Some(100));
}

#[test]
fn a_correction_after_its_minute_or_its_day_gives_nothing_twice() {
    let mut clock = Clock::at_noon();
    let mut limiter = tokens_per_minute(100);
    let old = limiter.reserve_tokens(clock.now, prompt(100)).unwrap();
    clock.step(MINUTE + BUCKET);
    let _ = limiter.reserve_tokens(clock.now, prompt(70)).unwrap();
    limiter.correct(old, 10, clock.now);
    assert_eq!(limiter.remaining(clock.now).tokens(), Some(30));

    let mut limiter = tokens_per_day(100);
    let yesterday = limiter.reserve_tokens(clock.now, prompt(100)).unwrap();
    clock.step(Duration::from_millis(DAY_MILLIS));
    let _ = limiter.reserve_tokens(clock.now, prompt(70)).unwrap();
    limiter.correct(yesterday, 10, clock.now);
    assert_eq!(limiter.remaining(clock.now).tokens(), Some(30));
}

#[test]
fn a_prompt_over_the_limit_never_fits_and_a_bound_over_it_takes_all_of_it() {
    for mut limiter in [tokens_per_minute(100), tokens_per_day(100)] {
        let clock = Clock::at_noon();
        assert_eq!(limiter.reserve_tokens(clock.now, prompt(101)).unwrap_err().not_before, None);
        let _ = limiter.reserve_tokens(clock.now, Tokens { prompt: 40, answer: 4_096 }).unwrap();
        assert_eq!(limiter.remaining(clock.now).tokens(), Some(0));
    }
    for mut none in [tokens_per_minute(0), tokens_per_day(0)] {
        assert_eq!(none.reserve_tokens(Clock::at_noon().now, prompt(0)).unwrap_err().not_before, None);
    }
}

#[test]
fn what_remains_of_tokens_is_the_smaller_of_the_minutes_and_the_days() {
    let remaining = |minute, day| Remaining { token_minute: minute, token_day: day, ..Remaining::default() }.tokens();
    assert_eq!(remaining(None, None), None);
    assert_eq!((remaining(Some(5), None), remaining(None, Some(6))), (Some(5), Some(6)));
    assert_eq!((remaining(Some(5), Some(6)), remaining(Some(7), Some(6))), (Some(5), Some(6)));
}

// === those who wait ===

#[test]
fn who_waits_behind_others_is_told_when_it_will_be_its_own_turn() {
    let mut limiter = per_minute(3);
    let mut clock = Clock::at_noon();
    let began = clock.now.mono;
    for _ in 0..3 {
        let _ = limiter.reserve(clock.now).unwrap();
        clock.step(Duration::from_secs(5));
    }
    let mut turn = |ahead| limiter.check(clock.now, Tokens::default(), ahead).unwrap_err().not_before.unwrap() - began;
    let seconds = |ahead: [u64; 3]| ahead.map(Duration::from_secs);
    assert_eq!([0, 1, 2].map(&mut turn), seconds([60, 65, 70]));
    assert_eq!([3, 4, 6].map(&mut turn), seconds([120, 125, 180]), "those behind them in the minutes after");

    let mut limiter = per_minute(3);
    let _ = limiter.reserve(clock.now).unwrap();
    assert!(limiter.check(clock.now, Tokens::default(), 1).is_ok(), "there is room for both");
    let behind = limiter.check(clock.now, Tokens::default(), 2).unwrap_err();
    assert_eq!(behind.not_before, Some(clock.now.mono + MINUTE));
    let mut limiter = per_day(3);
    let _ = limiter.reserve(clock.now).unwrap();
    assert!(limiter.check(clock.now, Tokens::default(), 1).is_ok());
    assert_eq!(limiter.check(clock.now, Tokens::default(), 2).unwrap_err().kind, LimitKind::Day);
}

// === time zones ===

/// A limiter of one request a day that has taken it at that moment, and how many milliseconds its day goes on.
fn day_ends_in(zone: &str, unix_ms: u64) -> u64 {
    let zone = DayZone::named(zone).expect("a zone");
    let mut limiter =
        RateLimiter::new(RateParams { requests_per_day: Some(1), day_zone: zone, ..RateParams::default() });
    let now = Now { unix_ms, ..Clock::at_noon().now };
    let _ = limiter.reserve(now).unwrap();
    let wait = limiter.reserve(now).unwrap_err().not_before.unwrap() - now.mono;
    wait.as_millis() as u64
}

#[test]
fn the_day_ends_at_midnight_where_the_provider_is() {
    assert_eq!(day_ends_in("UTC", NOON), 12 * HOUR_MILLIS);
    assert_eq!(day_ends_in("America/Los_Angeles", NOON), 20 * HOUR_MILLIS, "04:00 there");
    assert_eq!(day_ends_in("Asia/Kolkata", NOON), 6 * HOUR_MILLIS + HOUR_MILLIS / 2);
}

#[test]
fn a_day_with_a_change_of_the_clock_is_an_hour_shorter_or_longer() {
    const MARCH_8: u64 = 1_772_956_800_000; // 2026-03-08, 00:00 in Los Angeles
    const NOVEMBER_1: u64 = 1_793_516_400_000; // 2026-11-01, 00:00 there
    assert_eq!(day_ends_in("America/Los_Angeles", MARCH_8), 23 * HOUR_MILLIS);
    assert_eq!(day_ends_in("America/Los_Angeles", NOVEMBER_1), 25 * HOUR_MILLIS);
}

#[test]
fn there_is_no_zone_of_an_invented_name() {
    assert_eq!(DayZone::named("Utc"), Some(DayZone::default()));
    assert_eq!(DayZone::named("Mars/Olympus"), None);
    assert_eq!(DayZone::named(""), None);
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
                prop_assert!(taken.taken.len() <= limit as usize && taken.count <= u64::from(limit));
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

    /// Requests and tokens, in any order of reserving, correcting and releasing, whatever the wall clock does: nothing is
    /// admitted that does not fit into the minute and the day that it is admitted in.
    #[test]
    fn no_window_of_tokens_admits_more_than_its_limit(
        (per_minute, per_day) in (50u64..400, 200u64..2_000),
        zone in prop::sample::select(vec!["UTC", "America/Los_Angeles", "Pacific/Auckland"]),
        steps in prop::collection::vec((
            0u64..40_000,           // ms that pass
            prop::option::weighted(0.1, -30i64..30), // hours by which somebody moves the wall clock
            1u64..120,              // prompt
            0u64..120,              // bound of the answer
            0u64..3,                // whether it is released, or corrected to how much
            any::<prop::sample::Index>(),
        ), 1..120),
    ) {
        let mut limiter = RateLimiter::new(RateParams {
            tokens_per_minute: Some(per_minute),
            tokens_per_day: Some(per_day),
            day_zone: DayZone::named(zone).unwrap(),
            ..RateParams::default()
        });
        let mut clock = Clock::at_noon();
        // What counts, and since when: reserved or used.
        let mut sent: Vec<(Instant, u64)> = Vec::new();
        let mut open: Vec<(usize, Reservation)> = Vec::new();
        for (millis, moved, prompt, answer, end, which) in steps {
            clock.step(Duration::from_millis(millis));
            clock.now.unix_ms = clock.now.unix_ms.saturating_add_signed(moved.unwrap_or(0) * HOUR_MILLIS as i64);
            if !open.is_empty() && end > 0 {
                let (at, reservation) = open.swap_remove(which.index(open.len()));
                if end == 1 {
                    limiter.release(reservation);
                    sent[at].1 = 0;
                } else {
                    limiter.correct(reservation, prompt + answer, clock.now);
                    let excess = (prompt + answer).saturating_sub(sent[at].1);
                    sent[at].1 = sent[at].1.min(prompt + answer);
                    sent.push((clock.now.mono, excess));
                }
            }
            let tokens = Tokens { prompt, answer };
            let before = limiter.remaining(clock.now);
            if let Ok(reservation) = limiter.reserve_tokens(clock.now, tokens) {
                let taken = prompt.max((prompt + answer).min(per_minute));
                let in_minute: u64 =
                    sent.iter().filter(|(at, _)| *at + MINUTE > clock.now.mono).map(|(_, tokens)| tokens).sum();
                prop_assert!(in_minute + taken <= per_minute, "{in_minute} + {taken} of {per_minute}");
                let of_day = prompt.max((prompt + answer).min(per_day));
                prop_assert!(before.token_day.unwrap() >= of_day);
                let after = limiter.remaining(clock.now);
                prop_assert_eq!(after.token_day.unwrap(), before.token_day.unwrap() - of_day);
                open.push((sent.len(), reservation));
                sent.push((clock.now.mono, taken));
            }
        }
    }
}
