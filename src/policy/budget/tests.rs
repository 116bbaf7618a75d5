use proptest::prelude::*;

use super::*;

/// 2026-11-26T12:00:00Z, the next midnight, and the next first.
const NOON: u64 = 1_795_694_400_000;
const MIDNIGHT: u64 = 1_795_737_600_000;
const DECEMBER: u64 = 1_796_083_200_000;
const HOUR: u64 = 60 * 60 * 1000;
const DAY: u64 = 24 * HOUR;

fn limits(daily: Option<u64>, monthly: Option<u64>) -> BudgetParams {
    BudgetParams { daily: daily.map(NanoUsd), monthly: monthly.map(NanoUsd), ..BudgetParams::default() }
}

fn budget(daily: Option<u64>, monthly: Option<u64>) -> Budget {
    Budget::new(limits(daily, monthly))
}

impl Budget {
    fn reserve(&mut self, unix_ms: u64, amount: u64) -> Result<Reserved, OverBudget> {
        let fits = self.check(unix_ms, NanoUsd(amount));
        fits.inspect_err(|over| self.note_refused(over)).map(|()| self.take(NanoUsd(amount)))
    }

    fn spend(&mut self, unix_ms: u64, cost: u64) -> Vec<u64> {
        let _ = self.check(unix_ms, NanoUsd(0)); // over the limit it may be already
        let reserved = self.take(NanoUsd(0));
        let warnings = self.settle(reserved, NanoUsd(cost), unix_ms);
        warnings.into_iter().flatten().map(|warning| warning.spent.0).collect()
    }

    fn spent(&self, unix_ms: u64) -> [u64; 2] {
        self.windows(unix_ms).map(|window| window.spent.0)
    }
}

#[test]
fn what_is_reserved_is_taken_until_it_is_settled() {
    let mut budget = budget(Some(100), None);
    let first = budget.reserve(NOON, 60).unwrap();
    let over = budget.reserve(NOON, 41).unwrap_err();
    assert_eq!(
        over,
        OverBudget {
            period: Period::Day,
            limit: NanoUsd(100),
            spent: NanoUsd(0),
            reserved: NanoUsd(60),
            asked: NanoUsd(41),
            resets_at: None
        }
    );
    budget.settle(first, NanoUsd(10), NOON);
    let second = budget.reserve(NOON, 90).unwrap();
    budget.settle(second, NanoUsd(0), NOON);
    let third = budget.reserve(NOON, 90).unwrap();
    assert!(budget.reserve(NOON, 1).is_err());
    budget.settle(third, NanoUsd(90), NOON);
    assert_eq!(budget.windows(NOON)[0].reserved, NanoUsd(0));
}

#[test]
fn what_only_requests_under_way_hold_is_not_spent() {
    let mut budget = budget(Some(150), Some(200));
    let first = budget.reserve(NOON, 100).unwrap();
    let over = budget.reserve(NOON, 100).unwrap_err();
    assert_eq!((over.resets_at, over.is_held(), budget.spent_until(NOON)), (None, true, None));
    // More than the limit by itself: no other period makes room for it, and it says nothing of smaller ones.
    let over = budget.reserve(NOON, 151).unwrap_err();
    assert_eq!((over.resets_at, over.is_held(), budget.spent_until(NOON)), (None, false, None));
    budget.settle(first, NanoUsd(100), NOON);
    // Spent money lasts longer than what is held: here the day's, for the month has room.
    let held = budget.reserve(NOON, 50).unwrap();
    let over = budget.reserve(NOON, 100).unwrap_err();
    assert_eq!((over.period, over.resets_at, over.is_held()), (Period::Day, Some(MIDNIGHT), false));
    assert_eq!(budget.spent_until(NOON), Some(MIDNIGHT));
    budget.settle(held, NanoUsd(0), NOON);
}

#[test]
fn a_refusal_takes_nothing_and_names_the_limit_that_lasts_longer() {
    let mut budget = budget(Some(10), Some(100));
    assert_eq!(budget.spend(NOON, 5), [0; 0]);
    assert_eq!(budget.reserve(NOON, 6).unwrap_err().period, Period::Day);
    budget.spend(NOON, 90);
    let over = budget.reserve(NOON, 6).unwrap_err();
    assert_eq!((over.period, over.resets_at), (Period::Month, Some(DECEMBER)));
    // More than the daily limit will not fit tomorrow either.
    let over = budget.reserve(NOON, 11).unwrap_err();
    assert_eq!((over.period, over.resets_at), (Period::Day, None));
    assert_eq!(budget.windows(NOON).map(|window| window.reserved.0), [0, 0]);
}

#[test]
fn a_day_ends_at_midnight_and_a_month_with_its_last_day() {
    let mut budget = budget(Some(10), Some(15));
    budget.spend(NOON, 10);
    assert!(budget.reserve(MIDNIGHT - 1, 1).is_err());
    assert!(budget.reserve(MIDNIGHT, 6).is_err(), "the month goes on");
    budget.check(MIDNIGHT, NanoUsd(5)).unwrap();
    budget.spend(MIDNIGHT, 5);
    assert_eq!(budget.reserve(MIDNIGHT, 1).unwrap_err().resets_at, Some(DECEMBER));
    assert!(budget.reserve(DECEMBER, 10).is_ok());
}

#[test]
fn a_day_is_that_of_its_zone() {
    let tokyo = BudgetParams { zone: DayZone::named("Asia/Tokyo").unwrap(), ..limits(Some(10), None) };
    let mut budget = Budget::new(tokyo);
    budget.check(NOON, NanoUsd(10)).unwrap();
    budget.spend(NOON, 10);
    assert_eq!(budget.reserve(NOON, 1).unwrap_err().resets_at, Some(NOON + 3 * HOUR));
    assert!(budget.reserve(NOON + 3 * HOUR, 10).is_ok());
}

#[test]
fn an_answer_that_ends_after_midnight_is_yesterdays_money() {
    let mut budget = budget(Some(10), Some(100));
    let late = budget.reserve(MIDNIGHT - 1, 10).unwrap();
    let today = budget.reserve(MIDNIGHT, 4).unwrap();
    assert_eq!(budget.settle(late, NanoUsd(10), MIDNIGHT), [None; 2]);
    assert_eq!(budget.spent(MIDNIGHT), [0, 10]);
    assert!(budget.reserve(MIDNIGHT, 7).is_err());
    budget.settle(today, NanoUsd(0), MIDNIGHT);
    assert!(budget.reserve(MIDNIGHT, 10).is_ok());
}

#[test]
fn setting_the_clock_back_frees_nothing_and_loses_no_reservation() {
    for back in [DAY, 90 * DAY] {
        let mut budget = budget(Some(10), None);
        let reserved = budget.reserve(MIDNIGHT, 10).unwrap();
        assert!(budget.reserve(MIDNIGHT - back, 1).is_err());
        budget.settle(reserved, NanoUsd(9), MIDNIGHT - back);
        assert_eq!(budget.reserve(MIDNIGHT - back, 2).unwrap_err().spent, NanoUsd(9));
        assert_eq!(budget.windows(MIDNIGHT - back)[0].reserved, NanoUsd(0));
    }
}

#[test]
fn a_limit_of_zero_admits_what_is_free_and_no_limit_admits_all() {
    assert!(budget(Some(0), None).reserve(NOON, 1).is_err());
    assert!(budget(Some(0), None).reserve(NOON, 0).is_ok());
    assert!(budget(None, None).reserve(NOON, u64::MAX).is_ok());
}

#[test]
fn the_share_is_told_once_in_each_period() {
    let mut budget = budget(Some(100), None);
    assert_eq!([budget.spend(NOON, 79), budget.spend(NOON, 1), budget.spend(NOON, 5)], [vec![], vec![80], vec![]]);
    assert_eq!(budget.spend(MIDNIGHT, 0), [0; 0]);
    assert_eq!(budget.spend(MIDNIGHT, 80), [80]);
    let told = |share| {
        let mut budget = Budget::new(BudgetParams { warn_at: share, ..limits(Some(100), None) });
        [budget.spend(NOON, 0), budget.spend(NOON, 1), budget.spend(NOON, 200)].concat()
    };
    assert_eq!((told(Some(0.0)), told(Some(1.0)), told(None)), (vec![1], vec![201], vec![]));
}

#[test]
fn both_shares_may_be_passed_at_once() {
    let mut budget = budget(Some(10), Some(10));
    let reserved = budget.reserve(NOON, 10).unwrap();
    let periods = budget.settle(reserved, NanoUsd(10), NOON).map(|warning| warning.map(|warning| warning.period));
    assert_eq!(periods, [Some(Period::Day), Some(Period::Month)]);
}

#[test]
fn another_limit_finds_what_was_spent() {
    let mut budget = budget(Some(100), None);
    assert_eq!(budget.spend(NOON, 90), [90]);
    let reserved = budget.reserve(NOON, 10).unwrap();
    budget.renew(limits(Some(150), Some(120)));
    assert_eq!(budget.reserve(NOON, 21).unwrap_err().period, Period::Month, "counted before it had a limit");
    let warnings = budget.settle(reserved, NanoUsd(10), NOON);
    assert_eq!(warnings.map(|warning| warning.map(|warning| warning.limit.0)), [None, Some(120)]);
    assert_eq!(budget.spend(NOON, 20), [120], "80 % of the new daily limit");
    budget.renew(limits(None, None));
    assert!(budget.reserve(NOON, 1_000).is_ok());
    assert_eq!(budget.spent(NOON), [120, 120]);
}

#[test]
fn it_is_spent_when_the_smallest_request_it_refused_would_be_refused_again() {
    let mut budget = budget(Some(100), None);
    budget.spend(NOON, 95);
    assert_eq!(budget.spent_until(NOON), None);
    assert!(budget.reserve(NOON, 50).is_err() && budget.reserve(NOON, 6).is_err());
    assert_eq!(budget.spent_until(NOON), Some(MIDNIGHT));
    assert_eq!(budget.spent_until(MIDNIGHT), None);
    budget.spend(NOON, 5);
    assert_eq!(budget.spent_until(NOON), Some(MIDNIGHT));
    // Room for what was refused.
    budget.renew(limits(Some(200), None));
    assert_eq!(budget.spent_until(NOON), None);
}

#[test]
fn what_was_spent_is_taken_up_while_its_period_lasts() {
    let mut before = budget(Some(100), Some(1_000));
    before.check(NOON, NanoUsd(0)).unwrap();
    assert_eq!(before.spend(NOON, 85), [85]);
    let saved = serde_json::to_string(&before.saved()).unwrap();
    let saved: SavedBudget = serde_json::from_str(&saved).unwrap();
    let taken_up = |at: u64| {
        let mut after = budget(Some(100), Some(1_000));
        after.restore(&saved, at);
        (after.spent(at), after.spend(at, 1))
    };
    assert_eq!(taken_up(NOON + 1), ([85, 85], vec![]), "told before");
    assert_eq!(taken_up(MIDNIGHT), ([0, 85], vec![]));
    assert_eq!(taken_up(DECEMBER), ([0, 0], vec![]));
}

#[test]
fn absurd_sums_saturate() {
    let mut budget = budget(None, None);
    budget.restore(
        &SavedBudget {
            daily: SavedSpending { ends: MIDNIGHT, spent: u64::MAX, warned: false },
            ..SavedBudget::default()
        },
        NOON,
    );
    budget.spend(NOON, u64::MAX);
    assert_eq!(budget.spent(NOON)[0], u64::MAX);
}

#[test]
fn a_share_out_of_range_is_refused() {
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(BudgetParams { warn_at: Some(wrong), ..BudgetParams::default() }.check()[0].0, "warn_at");
    }
    for right in [None, Some(0.0), Some(1.0)] {
        assert!(BudgetParams { warn_at: right, ..BudgetParams::default() }.check().is_empty());
    }
}

/// One of many calls that run at once.
#[derive(Debug, Clone, Copy)]
struct Call {
    reserve: u64,
    /// `None`: it was left before a byte went out.
    cost: Option<u64>,
    /// Where the call that ends next stands among those under way.
    ends: prop::sample::Index,
    /// The wall clock steps by so many minutes.
    step: i64,
}

fn call() -> impl Strategy<Value = Call> {
    let step = prop_oneof![8 => Just(0i64), 1 => 0i64..2_000, 1 => -4_000i64..0];
    (0u64..200, prop::option::weighted(0.9, 0u64..400), any::<prop::sample::Index>(), step)
        .prop_map(|(reserve, cost, ends, step)| Call { reserve, cost, ends, step })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Ten thousand calls, up to some hundreds of them under way at once, over days that begin, end and come again. Where
    /// none costs more than was reserved for it, no day is ever passed; where some do, a day is passed by no more than
    /// its answers cost beyond what was reserved.
    #[test]
    fn a_day_is_passed_by_nothing_but_answers_in_flight(
        calls in prop::collection::vec(call(), 10_000), limit in 0u64..50_000, width in 1usize..400, strict in any::<bool>(),
    ) {
        let mut budget = budget(Some(limit), None);
        let mut flying: Vec<(Reserved, Call)> = Vec::new();
        let (mut now, mut beyond) = (NOON, 0u64);
        for call in calls {
            now = now.saturating_add_signed(call.step * 60_000);
            if let Ok(reserved) = budget.reserve(now, call.reserve) {
                flying.push((reserved, call));
            }
            if flying.len() >= width {
                let (reserved, call) = flying.swap_remove(call.ends.index(flying.len()));
                let cost = call.cost.map_or(0, |cost| if strict { cost.min(call.reserve) } else { cost });
                beyond += cost.saturating_sub(call.reserve);
                budget.settle(reserved, NanoUsd(cost), now);
            }
            let [day, _] = budget.windows(now);
            prop_assert!(day.spent.0 + day.reserved.0 <= limit + beyond, "{day:?}, {beyond} beyond");
        }
        for (reserved, _) in flying.drain(..) {
            budget.settle(reserved, NanoUsd(0), now);
        }
        prop_assert_eq!(budget.windows(now).map(|window| window.reserved.0), [0, 0]);
    }
}
