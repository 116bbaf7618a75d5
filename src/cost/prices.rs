//! The prices of one model, and the cost of one answer.
//!
//! Prices come from the config as floats in US dollars per 1,000 tokens. They are converted once, to whole femtodollars
//! (10⁻¹⁵ USD) per token, rounded to the nearest: every price with up to 12 decimals is held exactly. Tokens × price is
//! summed in 128 bits, and the sum is rounded once per answer to the nearest nanodollar, half up. No float takes part
//! in a sum, so totals do not drift.
//!
//! Cached, cache-write and reasoning tokens are parts of the prompt and of the completion: paid there, never on top.
//! A missing price is unknown, not zero; a price of 0 is a price.

use crate::types::{NanoUsd, Usage};

/// Above this many USD per 1,000 tokens a price is dearer than nearly every model: likely it was meant per million.
pub const LOOKS_PER_MILLION: f64 = 0.5;

/// Prices above this are refused, in USD per 1,000 tokens. The 128-bit sum cannot overflow then.
const MOST_PER_1K: f64 = 1_000.0;

/// A dollar per 1,000 tokens in femtodollars per token.
const FEMTO_PER_TOKEN: f64 = 1e12;

/// Femtodollars in a nanodollar.
const FEMTO_PER_NANO: u128 = 1_000_000;

/// What a model charges.
///
/// ```
/// use llmpool::cost::Prices;
/// use llmpool::types::{NanoUsd, Usage};
/// let prices = Prices::per_1k(Some(0.0025), Some(0.01)).unwrap().unwrap();
/// assert_eq!(prices.cost(&Usage::reported(1000, 500)), Some(NanoUsd(7_500_000))); // 0.0075 USD
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Femtodollars per token; `None` = unknown.
    input: Option<u64>,
    output: Option<u64>,
}

// === impl Prices ===

impl Prices {
    /// Prices in USD per 1,000 tokens, 0 to 1,000. `None` when neither is known. An error is the config key and what is
    /// allowed.
    pub fn per_1k(input_usd: Option<f64>, output_usd: Option<f64>) -> Result<Option<Self>, (&'static str, String)> {
        let input = femto_per_token("input_token_price", input_usd)?;
        let output = femto_per_token("output_token_price", output_usd)?;
        Ok((input.is_some() || output.is_some()).then_some(Self { input, output }))
    }

    /// The cost of one answer; `None` when a price that it needs is unknown. Saturates at 18 billion dollars.
    pub fn cost(&self, usage: &Usage) -> Option<NanoUsd> {
        let input = self.input?;
        // Embeddings have no output, and their models no price for it.
        let output = if usage.completion_tokens == 0 { self.output.unwrap_or(0) } else { self.output? };
        let femto = u128::from(usage.prompt_tokens) * u128::from(input)
            + u128::from(usage.completion_tokens) * u128::from(output);
        let nano = (femto + FEMTO_PER_NANO / 2) / FEMTO_PER_NANO;
        Some(NanoUsd(u64::try_from(nano).unwrap_or(u64::MAX)))
    }
}

fn femto_per_token(field: &'static str, usd: Option<f64>) -> Result<Option<u64>, (&'static str, String)> {
    match usd {
        None => Ok(None),
        Some(usd) if (0.0..=MOST_PER_1K).contains(&usd) => Ok(Some((usd * FEMTO_PER_TOKEN).round() as u64)),
        Some(_) => Err((field, format!("must be USD per 1,000 tokens, from 0 to {MOST_PER_1K}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices(input: f64, output: f64) -> Prices {
        Prices::per_1k(Some(input), Some(output)).unwrap().unwrap()
    }

    #[test]
    fn prompt_and_completion_have_their_own_price() {
        let cost = prices(0.0025, 0.01).cost(&Usage::reported(1_234, 567)).unwrap();
        assert_eq!(cost, NanoUsd(1_234 * 2_500 + 567 * 10_000));
    }

    #[test]
    fn cached_and_reasoning_tokens_are_not_paid_twice() {
        let plain = Usage::reported(1_000, 1_000);
        let detailed = Usage { cached_tokens: 900, cache_write_tokens: 100, reasoning_tokens: 800, ..plain };
        assert_eq!(prices(0.001, 0.002).cost(&detailed), prices(0.001, 0.002).cost(&plain));
    }

    #[test]
    fn a_missing_half_makes_the_cost_unknown() {
        let usage = Usage::reported(10, 10);
        assert_eq!(Prices::per_1k(None, None), Ok(None));
        assert_eq!(Prices::per_1k(Some(1.0), None).unwrap().unwrap().cost(&usage), None);
        assert_eq!(Prices::per_1k(None, Some(1.0)).unwrap().unwrap().cost(&usage), None);
    }

    #[test]
    fn what_has_no_output_needs_no_price_for_it() {
        let input_only = Prices::per_1k(Some(0.001), None).unwrap().unwrap();
        assert_eq!(input_only.cost(&Usage::reported(1_000, 0)), Some(NanoUsd(1_000_000)));
        assert_eq!(input_only.cost(&Usage::reported(1_000, 1)), None);
    }

    #[test]
    fn a_price_of_zero_is_a_price() {
        assert_eq!(prices(0.0, 0.0).cost(&Usage::reported(10, 10)), Some(NanoUsd(0)));
    }

    #[test]
    fn no_tokens_cost_nothing() {
        assert_eq!(prices(0.01, 0.02).cost(&Usage::default()), Some(NanoUsd(0)));
    }

    #[test]
    fn prices_below_a_nanodollar_per_token_are_held_exactly() {
        // 0.0375 USD per million tokens: 37.5 nanodollars per token.
        assert_eq!(prices(0.000_037_5, 0.0).cost(&Usage::reported(2, 0)), Some(NanoUsd(75)));
        assert_eq!(prices(0.000_000_1, 0.0).cost(&Usage::reported(10_000_000, 0)), Some(NanoUsd(1_000_000)));
    }

    #[test]
    fn half_a_nanodollar_is_rounded_up_once_per_answer() {
        let half = prices(0.000_000_5, 0.000_000_5); // half a nanodollar per token
        assert_eq!(half.cost(&Usage::reported(1, 0)), Some(NanoUsd(1)));
        assert_eq!(half.cost(&Usage::reported(1, 1)), Some(NanoUsd(1)));
        assert_eq!(prices(0.000_000_4, 0.0).cost(&Usage::reported(1, 0)), Some(NanoUsd(0)));
    }

    #[test]
    fn impossible_prices_are_refused_by_name() {
        for price in [-0.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1_000.1] {
            assert_eq!(Prices::per_1k(Some(price), Some(1.0)).unwrap_err().0, "input_token_price");
            assert_eq!(Prices::per_1k(None, Some(price)).unwrap_err().0, "output_token_price");
        }
    }

    #[test]
    fn absurd_counts_saturate() {
        let usage = Usage { prompt_tokens: u64::MAX, completion_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(prices(1_000.0, 1_000.0).cost(&usage), Some(NanoUsd(u64::MAX)));
    }

    proptest! {
        /// A price written with up to 9 decimals costs exactly what integer arithmetic says.
        #[test]
        fn decimal_prices_have_no_drift(billionths in 0u64..500_000_000, tokens in 0u64..10_000_000) {
            let price: f64 = format!("0.{billionths:09}").parse().unwrap();
            let cost = prices(price, 0.0).cost(&Usage::reported(tokens, 0)).unwrap();
            let exact = (u128::from(billionths) * u128::from(tokens) + 500) / 1_000;
            prop_assert_eq!(u128::from(cost.0), exact);
        }
    }
}
