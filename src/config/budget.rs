//! What may be spent, raw → checked.

use std::collections::BTreeMap;

use super::ProviderConfig;
use super::nearest::nearest;
use super::provider::check_timezone;
use super::raw::RawBudget;
use super::section::{Field, Reader, join};
use super::values::{Text, shown};
use crate::cost::Catalogue;
use crate::policy::{BudgetMode, BudgetParams};
use crate::types::NanoUsd;

/// Above this many USD a limit is a slip of the hand. It keeps sums of nanodollars far from their end.
const MOST_USD: f64 = 1e9;

/// What may be done with a request whose price nobody knows.
pub(super) const ON_UNKNOWN_PRICE: &[&str] = &["deny", "allow"];

/// The modes by name.
pub(super) const MODES: &[&str] = &[BudgetMode::Soft.as_str(), BudgetMode::Strict.as_str()];

/// `None` when nothing is limited.
pub(super) fn check(raw: Field<RawBudget>, at: &str, reader: &mut Reader<'_>) -> Option<BudgetParams> {
    let RawBudget { daily_usd, monthly_usd, mode, on_unknown_price, warn_at, timezone } = raw.some()?;
    let unset = BudgetParams::default();
    let is_bad = matches!(daily_usd, Field::Bad) || matches!(monthly_usd, Field::Bad);
    let mode = word(mode, MODES, &join(at, "mode"), reader);
    let budget = BudgetParams {
        daily: usd(daily_usd, &join(at, "daily_usd"), reader),
        monthly: usd(monthly_usd, &join(at, "monthly_usd"), reader),
        mode: BudgetMode::ALL.into_iter().find(|known| Some(known.as_str()) == mode).unwrap_or_default(),
        allow_unpriced: word(on_unknown_price, ON_UNKNOWN_PRICE, &join(at, "on_unknown_price"), reader)
            == Some("allow"),
        warn_at: match warn_at {
            Field::Null => None,
            warn_at => warn_at.some().or(unset.warn_at),
        },
        zone: check_timezone(timezone, &join(at, "timezone"), reader),
    };
    for (field, message) in budget.check() {
        reader.problem(join(at, field), format!("{message}, found {}", budget.warn_at.unwrap_or_default()));
    }
    if budget.daily.is_none() && budget.monthly.is_none() {
        if !is_bad {
            reader.warn(at, "sets neither daily_usd nor monthly_usd, and limits nothing");
        }
        return None;
    }
    Some(budget)
}

/// Says which models a budget will refuse, because nobody knows what they cost: told at the start it is a slip, told at the
/// first call it is an outage.
pub(super) fn warn_of_unpriced(provider: &ProviderConfig, at: &str, reader: &mut Reader<'_>) {
    let shelf = Catalogue::embedded().shelf(provider.service.name, provider.base_url.as_deref());
    let listed = |model: &str| shelf.as_ref().and_then(|shelf| shelf.find(model)).is_some_and(|it| it.prices.is_some());
    let mut models = BTreeMap::from([(provider.model.as_str(), false)]);
    for served in provider.models.values() {
        *models.entry(&served.model).or_default() |= served.prices.is_some();
    }
    for (model, has_own) in models {
        if !has_own && provider.prices.is_none() && !listed(model) {
            let advice = "a budget refuses it until a price is set (0 where it is free)";
            reader.warn(
                at,
                format_args!("nobody knows the price of {model:?}; {advice}, or on_unknown_price: \"allow\""),
            );
        }
    }
}

/// One of these words, or none.
fn word(
    text: Field<Text>,
    known: &'static [&'static str],
    path: &str,
    reader: &mut Reader<'_>,
) -> Option<&'static str> {
    let text = text.some()?;
    let found = known.iter().copied().find(|word| *word == text.value);
    if found.is_none() {
        let said = shown(&text.shown).map_or_else(String::new, |shown| format!(", found {shown:?}"));
        let words: Vec<_> = known.iter().map(|word| format!("{word:?}")).collect();
        reader.problem(path, format!("expected {}{said}{}", words.join(" or "), nearest(&text.value, known)));
    }
    found
}

fn usd(usd: Field<f64>, path: &str, reader: &mut Reader<'_>) -> Option<NanoUsd> {
    let usd = usd.some()?;
    if !(0.0..=MOST_USD).contains(&usd) {
        reader.problem(path, format!("must be USD, from 0 to {MOST_USD}, found {usd}"));
        return None;
    }
    Some(NanoUsd((usd * 1e9).round() as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Config, Environment, Settings, Source};
    use crate::error::{Error, ErrorKind};
    use crate::policy::DayZone;

    fn load(budget: Value) -> Result<Config, Error> {
        let environment = Environment::from_map::<String, String>([]);
        let provider = json!({ "name": "a", "type": "openai", "model": "m", "api_key": "k", "budget": budget });
        let config = json!({ "providers": [provider], "budget": budget });
        Config::load_value(&config, &environment, &Settings::new(Source::Inline(Value::Null)))
    }

    fn checked(budget: Value) -> Option<BudgetParams> {
        let mut config = load(budget).expect("valid");
        assert_eq!(config.budget, config.providers.remove(0).budget, "the same keys mean the same");
        config.budget
    }

    fn problems(budget: Value) -> Vec<String> {
        let error = load(budget).expect_err("problems");
        let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error:?}") };
        problems.iter().map(ToString::to_string).filter(|problem| problem.starts_with("budget")).collect()
    }

    #[test]
    fn dollars_become_whole_nanodollars_and_the_rest_has_defaults() {
        let budget = checked(json!({ "daily_usd": 0.1, "monthly_usd": 2.5 }));
        let (daily, monthly) = (Some(NanoUsd(100_000_000)), Some(NanoUsd(2_500_000_000)));
        assert_eq!(budget, Some(BudgetParams { daily, monthly, ..BudgetParams::default() }));
        assert_eq!(BudgetParams::default().mode, BudgetMode::Soft);
    }

    #[test]
    fn every_key_is_taken() {
        let budget = checked(json!({
            "daily_usd": 0, "mode": "strict", "on_unknown_price": "allow", "warn_at": 0, "timezone": "Asia/Tokyo"
        }));
        let expected = BudgetParams {
            daily: Some(NanoUsd(0)),
            monthly: None,
            mode: BudgetMode::Strict,
            allow_unpriced: true,
            warn_at: Some(0.0),
            zone: DayZone::named("Asia/Tokyo").expect("a zone"),
        };
        assert_eq!(budget, Some(expected));
        let never = checked(json!({ "daily_usd": 1, "warn_at": null })).expect("a limit");
        assert_eq!(never.warn_at, None);
    }

    #[test]
    fn a_budget_without_a_limit_is_none_and_said() {
        assert_eq!(checked(json!(null)), None);
        for empty in [json!({}), json!({ "daily_usd": null, "mode": "strict" })] {
            let config = load(empty).expect("valid");
            assert_eq!(config.budget, None);
            let warning = "budget: sets neither daily_usd nor monthly_usd, and limits nothing";
            assert!(config.warnings.iter().any(|said| said == warning), "{:?}", config.warnings);
        }
    }

    #[test]
    fn models_that_a_budget_will_refuse_are_told_at_the_start() {
        let warnings = |provider: Value, budget: Value| {
            let mut one = json!({ "name": "a", "type": "openai", "model": "gpt-4o", "api_key": "k" });
            one.as_object_mut().expect("an object").extend(provider.as_object().expect("an object").clone());
            let config = json!({ "providers": [one], "budget": budget });
            let environment = Environment::from_map::<String, String>([]);
            let settings = Settings::new(Source::Inline(Value::Null));
            Config::load_value(&config, &environment, &settings).expect("valid").warnings
        };
        let limit = json!({ "daily_usd": 1 });
        let unknown = json!({ "model": "no-such-model", "models": { "x": "no-such-either", "y": "gpt-4o-mini" } });
        let told = warnings(unknown.clone(), limit.clone());
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("providers[0]: nobody knows the price of \"no-such-either\""), "{told:?}");
        assert_eq!(warnings(unknown.clone(), json!({ "daily_usd": 1, "on_unknown_price": "allow" })), [""; 0]);
        assert_eq!(warnings(unknown, json!(null)), [""; 0]);
        assert_eq!(warnings(json!({}), limit.clone()), [""; 0]);
        let priced = json!({ "model": "no-such-model", "input_token_price": 0, "output_token_price": 0 });
        assert_eq!(warnings(priced, limit.clone()), [""; 0]);
        let own = json!({ "models": { "x": { "model": "gpt-4o", "prices": { "input_token_price": 0, "output_token_price": 0 } } } });
        assert_eq!(warnings(own, limit), [""; 0]);
        let mine = json!({ "model": "no-such-model", "budget": { "daily_usd": 1 } });
        assert_eq!(warnings(mine, json!(null)).len(), 1);
    }

    #[test]
    fn mistakes_are_told_by_key() {
        let budget = json!({ "daily_usd": 2e9, "monthly_usd": "5", "mode": "hard", "on_unknown_price": "alow",
            "warn_at": 80, "timezone": "Mars", "weekly_usd": 1 });
        assert_eq!(
            problems(budget),
            [
                "budget.weekly_usd: unknown key",
                "budget.monthly_usd: expected a number, 0 or more, found the string \"5\"",
                "budget.mode: expected \"soft\" or \"strict\", found \"hard\"",
                "budget.daily_usd: must be USD, from 0 to 1000000000, found 2000000000",
                "budget.on_unknown_price: expected \"deny\" or \"allow\", found \"alow\"; did you mean \"allow\"?",
                "budget.timezone: there is no time zone \"Mars\"; one is named like \"America/Los_Angeles\"",
                "budget.warn_at: must be a number from 0 to 1, found 80",
            ]
        );
    }
}
