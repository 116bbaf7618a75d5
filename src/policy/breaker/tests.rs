use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    crate::time::now().mono
}

fn breaker() -> Breaker {
    Breaker::new(BreakerParams::default())
}

/// One call from beginning to end at `now`.
fn call(breaker: &mut Breaker, verdict: Verdict, now: Instant) -> Option<Transition> {
    let (pass, _) = breaker.admit(now).unwrap();
    breaker.settle(pass, verdict, now)
}

/// A breaker that has just opened, and when it admits a probe.
fn opened(now: Instant) -> (Breaker, Instant) {
    let mut breaker = breaker();
    for _ in 0..5 {
        call(&mut breaker, Verdict::Failure, now);
    }
    let retry_at = breaker.retry_at().unwrap();
    (breaker, retry_at)
}

fn opened_at(transition: Option<Transition>) -> Instant {
    match transition {
        Some(Transition::Opened { retry_at, .. }) => retry_at,
        other => panic!("not opened: {other:?}"),
    }
}

#[test]
fn a_provider_that_is_said_to_be_up_is_probed_at_once_and_by_one_call() {
    let now = start();
    let (mut breaker, retry_at) = opened(now);
    assert!(breaker.admit(now).is_err());
    assert_eq!(breaker.probe_now(), Some(Transition::HalfOpened));
    assert_eq!(breaker.probe_now(), None, "it is half-open already");
    let (probe, moved) = breaker.admit(now).unwrap();
    assert_eq!(moved, None);
    assert!(breaker.admit(now).is_err(), "one probe, however many calls wait");
    let reopened = opened_at(breaker.settle(probe, Verdict::Failure, now));
    assert!(reopened > retry_at, "what the probe finds decides");
    assert_eq!(call_of_a_closed_one(now), None);
}

/// Of a closed breaker nothing is to be probed.
fn call_of_a_closed_one(now: Instant) -> Option<Transition> {
    let mut breaker = breaker();
    call(&mut breaker, Verdict::Success, now);
    breaker.probe_now()
}

#[test]
fn a_new_breaker_is_closed() {
    let now = start();
    let mut breaker = breaker();
    assert_eq!(breaker.state(now), CircuitState::Closed);
    assert_eq!(breaker.retry_at(), None);
    assert_eq!(breaker.trips(), 0);
    assert!(matches!(breaker.admit(now), Ok((_, None))));
}

#[test]
fn the_fifth_failure_in_a_row_opens_it() {
    let now = start();
    let mut breaker = breaker();
    for _ in 0..4 {
        assert_eq!(call(&mut breaker, Verdict::Failure, now), None);
    }
    let transition = call(&mut breaker, Verdict::Failure, now);
    assert_eq!(
        transition,
        Some(Transition::Opened { reason: "5 failures in a row".into(), retry_at: now + SECOND * 60 })
    );
    assert_eq!(breaker.state(now), CircuitState::Open);
    assert_eq!(breaker.trips(), 1);
    assert_eq!(breaker.admit(now).unwrap_err(), BreakerOpen { retry_at: Some(now + SECOND * 60) });
}

#[test]
fn a_success_breaks_the_row() {
    let now = start();
    let mut breaker = breaker();
    for _ in 0..4 {
        call(&mut breaker, Verdict::Failure, now);
    }
    call(&mut breaker, Verdict::Success, now);
    assert_eq!(call(&mut breaker, Verdict::Failure, now), None);
}

#[test]
fn a_neutral_outcome_neither_counts_nor_breaks_the_row() {
    let now = start();
    let mut breaker = breaker();
    for _ in 0..4 {
        call(&mut breaker, Verdict::Failure, now);
        for _ in 0..20 {
            assert_eq!(call(&mut breaker, Verdict::Neutral, now), None);
        }
    }
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
}

#[test]
fn half_of_ten_calls_opens_it_in_any_order() {
    for first in [Verdict::Success, Verdict::Failure] {
        let second = if first == Verdict::Success { Verdict::Failure } else { Verdict::Success };
        let now = start();
        let mut breaker = breaker();
        for turn in 0..9 {
            assert_eq!(call(&mut breaker, if turn % 2 == 0 { first } else { second }, now), None);
        }
        match call(&mut breaker, second, now) {
            Some(Transition::Opened { reason, .. }) => assert_eq!(reason, "5 of 10 calls failed within 60 s"),
            other => panic!("not opened: {other:?}"),
        }
    }
}

#[test]
fn less_than_half_never_opens_it() {
    let now = start();
    let mut breaker = breaker();
    for turn in 0..1_000 {
        let verdict = if turn % 5 < 3 { Verdict::Success } else { Verdict::Failure };
        assert_eq!(call(&mut breaker, verdict, now), None, "call {turn}");
    }
}

#[test]
fn the_share_forgets_what_is_older_than_the_window() {
    let mut now = start();
    let mut breaker = breaker();
    for _ in 0..4 {
        call(&mut breaker, Verdict::Failure, now);
        call(&mut breaker, Verdict::Success, now);
    }
    now += SECOND * 60;
    for _ in 0..4 {
        assert_eq!(call(&mut breaker, Verdict::Failure, now), None);
        assert_eq!(call(&mut breaker, Verdict::Success, now), None);
    }
    assert_eq!(breaker.recent.sum.calls, 8);
    now += SECOND * 59;
    assert_eq!(call(&mut breaker, Verdict::Success, now), None);
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
}

#[test]
fn a_share_written_as_a_decimal_is_met_exactly() {
    let now = start();
    let params = BreakerParams { failure_ratio: 0.07, min_calls: 100, threshold: 50, ..BreakerParams::default() };
    let mut breaker = Breaker::new(params);
    for _ in 0..93 {
        assert_eq!(call(&mut breaker, Verdict::Success, now), None);
    }
    for _ in 0..6 {
        assert_eq!(call(&mut breaker, Verdict::Failure, now), None);
    }
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
}

#[test]
fn a_threshold_of_zero_is_no_breaker() {
    let now = start();
    let mut breaker = Breaker::new(BreakerParams { threshold: 0, ..BreakerParams::default() });
    for _ in 0..100 {
        assert_eq!(call(&mut breaker, Verdict::Failure, now), None);
    }
    assert_eq!(breaker.state(now), CircuitState::Closed);
    assert_eq!(breaker.trips(), 0);
    assert!(!breaker.reset());
}

#[test]
fn a_threshold_of_one_opens_at_the_first_failure() {
    let now = start();
    let mut breaker = Breaker::new(BreakerParams { threshold: 1, ..BreakerParams::default() });
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
}

#[test]
fn nobody_is_admitted_before_the_open_period_is_over() {
    let (mut breaker, retry_at) = opened(start());
    let almost = retry_at - Duration::from_nanos(1);
    assert_eq!(breaker.state(almost), CircuitState::Open);
    assert!(breaker.admit(almost).is_err());
    assert_eq!(breaker.state(retry_at), CircuitState::HalfOpen);
    assert!(matches!(breaker.admit(retry_at), Ok((_, Some(Transition::HalfOpened)))));
}

#[test]
fn one_probe_is_admitted_however_many_wait() {
    let (mut breaker, retry_at) = opened(start());
    let (_probe, _) = breaker.admit(retry_at).unwrap();
    for later in 0..1_000 {
        assert_eq!(breaker.admit(retry_at + SECOND * later).unwrap_err(), BreakerOpen { retry_at: None });
    }
    assert_eq!(breaker.state(retry_at), CircuitState::HalfOpen);
}

#[test]
fn a_probe_that_succeeds_closes_it() {
    let (mut breaker, retry_at) = opened(start());
    assert_eq!(call(&mut breaker, Verdict::Success, retry_at), Some(Transition::Closed));
    assert_eq!(breaker.state(retry_at), CircuitState::Closed);
    // The count begins anew.
    for _ in 0..4 {
        assert_eq!(call(&mut breaker, Verdict::Failure, retry_at), None);
    }
}

#[test]
fn closing_forgets_the_failures_of_before_also_those_still_in_the_window() {
    let params = BreakerParams { window: SECOND * 3600, ..BreakerParams::default() };
    let mut breaker = Breaker::new(params);
    let mut now = start();
    for _ in 0..5 {
        call(&mut breaker, Verdict::Failure, now);
    }
    now += SECOND * 60;
    assert_eq!(call(&mut breaker, Verdict::Success, now), Some(Transition::Closed));
    for _ in 0..5 {
        assert_eq!(call(&mut breaker, Verdict::Success, now), None);
    }
}

#[test]
fn a_neutral_probe_leaves_it_half_open_with_a_free_place() {
    let (mut breaker, retry_at) = opened(start());
    for _ in 0..3 {
        assert_eq!(call(&mut breaker, Verdict::Neutral, retry_at), None);
        assert_eq!(breaker.state(retry_at), CircuitState::HalfOpen);
    }
    assert_eq!(call(&mut breaker, Verdict::Success, retry_at), Some(Transition::Closed));
}

#[test]
fn each_failed_probe_doubles_the_open_period_up_to_the_longest() {
    let (mut breaker, mut now) = opened(start());
    for seconds in [120, 240, 300, 300] {
        let retry_at = opened_at(call(&mut breaker, Verdict::Failure, now));
        assert_eq!(retry_at, now + SECOND * seconds);
        now = retry_at;
    }
    assert_eq!(breaker.trips(), 5);
}

#[test]
fn closing_takes_the_doubling_back() {
    let (mut breaker, now) = opened(start());
    let now = opened_at(call(&mut breaker, Verdict::Failure, now));
    assert_eq!(call(&mut breaker, Verdict::Success, now), Some(Transition::Closed));
    for _ in 0..4 {
        call(&mut breaker, Verdict::Failure, now);
    }
    assert_eq!(opened_at(call(&mut breaker, Verdict::Failure, now)), now + SECOND * 60);
}

#[test]
fn the_first_open_period_is_as_configured_even_above_the_longest() {
    let params = BreakerParams { open_for: SECOND * 600, ..BreakerParams::default() };
    assert_eq!(params.open_period(0), SECOND * 600);
    assert_eq!(params.open_period(5), SECOND * 600);
}

#[test]
fn an_open_period_of_zero_probes_at_once() {
    let now = start();
    let mut breaker =
        Breaker::new(BreakerParams { threshold: 1, open_for: Duration::ZERO, ..BreakerParams::default() });
    call(&mut breaker, Verdict::Failure, now);
    let (_probe, transition) = breaker.admit(now).unwrap();
    assert_eq!(transition, Some(Transition::HalfOpened));
    assert!(breaker.admit(now).is_err());
}

#[test]
fn an_endless_open_period_does_not_overflow() {
    let endless = Duration::MAX;
    let now = start();
    let mut breaker = Breaker::new(BreakerParams {
        threshold: 1,
        open_for: endless,
        max_open: endless,
        window: endless,
        ..BreakerParams::default()
    });
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
    assert!(breaker.admit(now + SECOND * 3600).is_err());
    assert_eq!(breaker.params.open_period(u32::MAX), endless);
}

#[test]
fn stragglers_from_before_the_opening_neither_close_nor_reopen_it() {
    let now = start();
    let mut breaker = breaker();
    let mut stragglers: Vec<Pass> = (0..20).map(|_| breaker.admit(now).unwrap().0).collect();
    for _ in 0..5 {
        call(&mut breaker, Verdict::Failure, now);
    }
    let retry_at = breaker.retry_at().unwrap();
    let mut late = |breaker: &mut Breaker, verdict| breaker.settle(stragglers.pop().unwrap(), verdict, now);

    assert_eq!(late(&mut breaker, Verdict::Success), None);
    assert_eq!(late(&mut breaker, Verdict::Failure), None);
    assert_eq!(breaker.retry_at(), Some(retry_at));

    let (probe, _) = breaker.admit(retry_at).unwrap();
    for verdict in [Verdict::Success, Verdict::Failure, Verdict::Neutral] {
        assert_eq!(late(&mut breaker, verdict), None);
        assert!(breaker.admit(retry_at).is_err(), "the probe's place is its own");
    }

    breaker.settle(probe, Verdict::Success, retry_at);
    for _ in 0..10 {
        assert_eq!(late(&mut breaker, Verdict::Failure), None);
    }
    assert_eq!(breaker.state(retry_at), CircuitState::Closed);
}

#[test]
fn a_reset_closes_it_and_forgets_calls_under_way() {
    let (mut breaker, retry_at) = opened(start());
    let (probe, _) = breaker.admit(retry_at).unwrap();
    assert!(breaker.reset());
    assert!(!breaker.reset());
    assert_eq!(breaker.settle(probe, Verdict::Failure, retry_at), None);
    assert_eq!(breaker.state(retry_at), CircuitState::Closed);
    assert_eq!(breaker.trips(), 1, "a counter, not a state");
    for _ in 0..4 {
        assert_eq!(call(&mut breaker, Verdict::Failure, retry_at), None);
    }
}

#[test]
fn a_clock_that_stands_still_or_is_read_too_early_only_keeps_it_waiting() {
    let now = start();
    let (mut breaker, retry_at) = opened(now);
    assert!(breaker.admit(now - SECOND * 10).is_err());
    assert_eq!(call(&mut breaker, Verdict::Success, retry_at), Some(Transition::Closed));
    for _ in 0..4 {
        call(&mut breaker, Verdict::Failure, now);
    }
    assert!(call(&mut breaker, Verdict::Failure, now).is_some());
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    assert!(BreakerParams::default().check().is_empty());
    assert!(BreakerParams { failure_ratio: 1.0, threshold: 0, ..BreakerParams::default() }.check().is_empty());
    for failure_ratio in [0.0, -0.5, 1.01, f64::NAN] {
        let problems = BreakerParams { failure_ratio, ..BreakerParams::default() }.check();
        assert_eq!(problems[0].0, "failure_ratio");
    }
    let problems = BreakerParams { window: Duration::ZERO, min_calls: 0, ..BreakerParams::default() }.check();
    assert_eq!(problems.iter().map(|problem| problem.0).collect::<Vec<_>>(), ["window", "min_calls"]);
}

#[test]
fn states_have_the_words_users_see() {
    let words = [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen].map(CircuitState::as_str);
    assert_eq!(words, ["closed", "open", "half-open"]);
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Settle(prop::sample::Index, Verdict),
    Forward(u64),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![2 => Just(Verdict::Failure), 1 => Just(Verdict::Success), 1 => Just(Verdict::Neutral)];
    let step = prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<prop::sample::Index>(), verdict).prop_map(|(which, verdict)| Step::Settle(which, verdict)),
        2 => (0u64..30).prop_map(Step::Forward),
        1 => Just(Step::Forward(300)),
        1 => prop_oneof![9 => Just(Step::Admit), 1 => Just(Step::Reset)],
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// However calls, ends, pauses and resets mix: at most one probe is out, an open breaker admits nobody, and a
    /// half-open one without a probe admits somebody.
    #[test]
    fn one_probe_whatever_happens(threshold in 1u32..4, steps in steps()) {
        let params = BreakerParams { threshold, open_for: SECOND * 20, ..BreakerParams::default() };
        let mut breaker = Breaker::new(params);
        let mut now = start();
        // Passes that are out; the flag says that this one is the probe of the present half-open period.
        let mut out: Vec<(Pass, bool)> = Vec::new();

        for step in steps {
            match step {
                Step::Forward(seconds) => now += SECOND * seconds as u32,
                Step::Reset => {
                    breaker.reset();
                    out.iter_mut().for_each(|(_, probe)| *probe = false);
                }
                Step::Admit => {
                    let state = breaker.state(now);
                    let probe_is_out = out.iter().any(|(_, probe)| *probe);
                    let refusal = match state {
                        CircuitState::Open => Some(BreakerOpen { retry_at: breaker.retry_at() }),
                        CircuitState::HalfOpen if probe_is_out => Some(BreakerOpen { retry_at: None }),
                        CircuitState::HalfOpen | CircuitState::Closed => None,
                    };
                    let admitted = breaker.admit(now);
                    prop_assert_eq!(admitted.as_ref().err().copied(), refusal);
                    prop_assert!(refusal.and_then(|open| open.retry_at).is_none_or(|at| at > now));
                    if let Ok((pass, _)) = admitted {
                        out.push((pass, state == CircuitState::HalfOpen));
                    }
                }
                Step::Settle(which, verdict) if !out.is_empty() => {
                    let (pass, probe) = out.swap_remove(which.index(out.len()));
                    let state = breaker.state(now);
                    let transition = breaker.settle(pass, verdict, now);
                    match (state, probe, verdict) {
                        (CircuitState::HalfOpen, true, Verdict::Success) => {
                            prop_assert_eq!(transition, Some(Transition::Closed));
                        }
                        (CircuitState::HalfOpen, true, Verdict::Failure) => { opened_at(transition); }
                        (CircuitState::Closed, false, _) => {}
                        _ => prop_assert_eq!(transition, None),
                    }
                }
                Step::Settle(..) => {}
            }
            prop_assert!(out.iter().filter(|(_, probe)| *probe).count() <= 1);
        }
    }

    /// The running sums are those of the slots, wherever time jumps.
    #[test]
    fn the_window_adds_up(calls in prop::collection::vec((0u64..40_000, any::<bool>()), 1..200)) {
        let mut recent = Recent::new(SECOND * 60);
        let mut now = start();
        let mut all = Vec::new();
        for (millis, failed) in calls {
            now += Duration::from_millis(millis);
            recent.count(now, failed);
            all.push((now, failed));
            let sum = recent.slots.iter().fold((0, 0), |sum, slot| (sum.0 + slot.calls, sum.1 + slot.failures));
            prop_assert_eq!(sum, (recent.sum.calls, recent.sum.failures));
            let within = |window: Duration| all.iter().filter(|(at, _)| *at + window > now).count() as u64;
            prop_assert!(recent.sum.calls <= within(SECOND * 60) && recent.sum.calls >= within(SECOND * 59));
        }
    }
}
