//! What a model charges, and the cost of one answer.
//!
//! Prices are floats where people write them: US dollars per 1,000 tokens or per million. They are converted once, to
//! whole femtodollars (10⁻¹⁵ USD) per token, rounded to the nearest: a price per million with up to 9 decimals is held
//! exactly. Tokens × price is summed in 128 bits, and the sum is rounded once per answer to the nearest nanodollar, half
//! up. No float takes part in a sum, so totals do not drift.
//!
//! Cached, cache-write and audio tokens are parts of the prompt, reasoning and audio parts of the completion: each token
//! is paid once, at the price of its part where the model has one and at the price of the whole where it has none.
//! A missing price is unknown, not zero; it makes the cost unknown as soon as there is a token that it should have
//! paid. A price of 0 is a price.

use crate::types::{NanoUsd, Usage};

/// Above this many USD per 1,000 tokens a price is dearer than nearly every model: likely it was meant per million.
pub const LOOKS_PER_MILLION: f64 = 0.5;

/// Prices above this are refused, in USD per 1,000 tokens. The 128-bit sum cannot overflow then.
const MOST_PER_1K: f64 = 1_000.0;

/// A dollar per million tokens in femtodollars per token.
const FEMTO_PER_TOKEN: f64 = 1e9;

/// Femtodollars in a nanodollar.
const FEMTO_PER_NANO: u128 = 1_000_000;

/// What a model charges.
///
/// ```
/// use llmpool::cost::{Prices, UsdPerToken};
/// use llmpool::types::{NanoUsd, Usage};
/// let prices = Prices {
///     input: Some(UsdPerToken::per_1k(0.0025).unwrap().into()),
///     output: Some(UsdPerToken::per_million(10.0).unwrap().into()),
///     ..Prices::default()
/// };
/// assert_eq!(prices.cost(&Usage::reported(1000, 500)), Some(NanoUsd(7_500_000))); // 0.0075 USD
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Every token of the prompt that has no price of its own below.
    pub input: Option<Rate>,
    /// Read from the provider's prompt cache.
    pub cached: Option<Rate>,
    /// Written to the provider's prompt cache.
    pub cache_write: Option<Rate>,
    /// The part of them that is kept for an hour instead of minutes.
    pub cache_write_1h: Option<Rate>,
    pub input_audio: Option<Rate>,
    /// Every token of the completion that has no price of its own below.
    pub output: Option<Rate>,
    pub output_audio: Option<Rate>,
    pub reasoning: Option<Rate>,
    /// On top of the tokens of each request.
    pub request: NanoUsd,
}

/// The price of one token, in femtodollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsdPerToken(u64);

/// A price that may depend on the length of the prompt: above a tier's start, all tokens cost what the tier says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    base: UsdPerToken,
    /// Prompt tokens above which the price holds, ascending.
    tiers: Vec<(u64, UsdPerToken)>,
}

// === impl UsdPerToken ===

impl UsdPerToken {
    /// `None` when the price is no number, negative, or above 1,000 USD per 1,000 tokens.
    pub fn per_1k(usd: f64) -> Option<Self> {
        Self::per_million(usd * 1e3)
    }

    /// The same per million tokens.
    pub fn per_million(usd: f64) -> Option<Self> {
        (0.0..=MOST_PER_1K * 1e3).contains(&usd).then(|| Self((usd * FEMTO_PER_TOKEN).round() as u64))
    }
}

// === impl Rate ===

impl From<UsdPerToken> for Rate {
    fn from(base: UsdPerToken) -> Self {
        Self { base, tiers: Vec::new() }
    }
}

impl Rate {
    pub(super) fn tiered(base: UsdPerToken, mut tiers: Vec<(u64, UsdPerToken)>) -> Self {
        tiers.sort_by_key(|(start, _)| *start);
        Self { base, tiers }
    }

    fn femto(&self, prompt_tokens: u64) -> u64 {
        let tier = self.tiers.iter().rev().find(|(start, _)| prompt_tokens > *start);
        tier.map_or(self.base, |(_, price)| *price).0
    }

    /// The highest that it can be.
    fn most_femto(&self) -> u64 {
        self.tiers.iter().map(|(_, price)| price.0).fold(self.base.0, u64::max)
    }
}

// === impl Prices ===

impl Prices {
    /// The cost of one answer; `None` when a price is unknown that it needs. Saturates at 18 billion dollars.
    pub fn cost(&self, usage: &Usage) -> Option<NanoUsd> {
        let mut bill = Bill { prompt_tokens: usage.prompt_tokens, femto: femto(self.request) };
        let mut prompt = usage.prompt_tokens;
        let mut written = usage.cache_write_tokens.min(prompt);
        if self.cache_write_1h.is_some() {
            let for_an_hour = usage.cache_write_1h_tokens.min(written);
            written -= bill.part(for_an_hour, self.cache_write_1h.as_ref(), &mut prompt);
        }
        bill.part(written, self.cache_write.as_ref(), &mut prompt);
        bill.part(usage.cached_tokens, self.cached.as_ref(), &mut prompt);
        bill.part(usage.prompt_audio_tokens, self.input_audio.as_ref(), &mut prompt);
        bill.rest(prompt, self.input.as_ref())?;
        let mut completion = usage.completion_tokens;
        bill.part(usage.completion_audio_tokens, self.output_audio.as_ref(), &mut completion);
        bill.part(usage.reasoning_tokens, self.reasoning.as_ref(), &mut completion);
        bill.rest(completion, self.output.as_ref())?;
        Some(nano(bill.femto))
    }

    /// An upper bound of what an answer of these sizes can cost, whatever its tokens turn out to be; `None` when a price
    /// is unknown that it may need.
    pub fn most(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<NanoUsd> {
        let dearest = |whole: &Option<Rate>, parts: &[&Option<Rate>]| {
            let parts = parts.iter().filter_map(|part| part.as_ref()).map(Rate::most_femto).max();
            Some(whole.as_ref()?.most_femto().max(parts.unwrap_or(0)))
        };
        let part = |tokens: u64, femto: Option<u64>| match tokens {
            0 => Some(0),
            tokens => femto.map(|femto| u128::from(tokens) * u128::from(femto)),
        };
        let input = dearest(&self.input, &[&self.cached, &self.cache_write, &self.cache_write_1h, &self.input_audio]);
        let output = dearest(&self.output, &[&self.output_audio, &self.reasoning]);
        let femto = part(prompt_tokens, input)? + part(completion_tokens, output)? + femto(self.request);
        Some(nano(femto))
    }
}

/// The sum so far.
struct Bill {
    prompt_tokens: u64,
    femto: u128,
}

impl Bill {
    /// Bills up to `tokens` of what is `left` at a price of their own, if they have one; says how many it billed.
    fn part(&mut self, tokens: u64, rate: Option<&Rate>, left: &mut u64) -> u64 {
        let Some(rate) = rate else { return 0 };
        let tokens = tokens.min(*left);
        *left -= tokens;
        self.femto += u128::from(tokens) * u128::from(rate.femto(self.prompt_tokens));
        tokens
    }

    /// Bills all that is left; `None` when nobody knows its price.
    fn rest(&mut self, tokens: u64, rate: Option<&Rate>) -> Option<()> {
        if tokens > 0 {
            self.femto += u128::from(tokens) * u128::from(rate?.femto(self.prompt_tokens));
        }
        Some(())
    }
}

fn femto(nano: NanoUsd) -> u128 {
    u128::from(nano.0) * FEMTO_PER_NANO
}

fn nano(femto: u128) -> NanoUsd {
    NanoUsd(u64::try_from((femto + FEMTO_PER_NANO / 2) / FEMTO_PER_NANO).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_1k: f64) -> Option<Rate> {
        Some(UsdPerToken::per_1k(per_1k).unwrap().into())
    }

    fn prices(input: f64, output: f64) -> Prices {
        Prices { input: rate(input), output: rate(output), ..Prices::default() }
    }

    #[test]
    fn prompt_and_completion_have_their_own_price() {
        let cost = prices(0.0025, 0.01).cost(&Usage::reported(1_234, 567)).unwrap();
        assert_eq!(cost, NanoUsd(1_234 * 2_500 + 567 * 10_000));
    }

    #[test]
    fn parts_without_a_price_of_their_own_are_paid_as_the_whole_and_not_twice() {
        let plain = Usage::reported(1_000, 1_000);
        let detailed = Usage { cached_tokens: 900, cache_write_tokens: 100, reasoning_tokens: 800, ..plain };
        assert_eq!(prices(0.001, 0.002).cost(&detailed), prices(0.001, 0.002).cost(&plain));
    }

    #[test]
    fn every_part_is_paid_at_its_own_price() {
        let prices = Prices {
            cached: rate(0.000_1),
            cache_write: rate(0.002),
            cache_write_1h: rate(0.004),
            input_audio: rate(0.01),
            output_audio: rate(0.02),
            reasoning: rate(0.005),
            ..prices(0.001, 0.003)
        };
        let usage = Usage {
            cached_tokens: 100,
            cache_write_tokens: 50,
            cache_write_1h_tokens: 20,
            prompt_audio_tokens: 10,
            completion_audio_tokens: 5,
            reasoning_tokens: 30,
            ..Usage::reported(1_000, 200)
        };
        let exact = 100 * 100 + 30 * 2_000 + 20 * 4_000 + 10 * 10_000 + 840 * 1_000 // the prompt
            + 5 * 20_000 + 30 * 5_000 + 165 * 3_000;
        assert_eq!(prices.cost(&usage), Some(NanoUsd(exact)));
    }

    #[test]
    fn parts_that_are_more_than_the_whole_are_cut_to_it() {
        let prices = Prices { cached: rate(0.000_5), cache_write: rate(0.002), ..prices(0.001, 0.001) };
        let usage = Usage { cached_tokens: 5_000, cache_write_tokens: 5_000, ..Usage::reported(10, 0) };
        assert_eq!(prices.cost(&usage), Some(NanoUsd(10 * 2_000)));
    }

    #[test]
    fn a_missing_price_makes_the_cost_unknown_where_it_is_needed() {
        let usage = Usage::reported(10, 10);
        let only_input = Prices { input: rate(1.0), ..Prices::default() };
        let only_output = Prices { output: rate(1.0), ..Prices::default() };
        assert_eq!((only_input.cost(&usage), only_output.cost(&usage)), (None, None));
        assert_eq!(only_input.most(10, 10), None);
        // An embedding has no completion to pay.
        assert_eq!(only_input.cost(&Usage::reported(10, 0)), Some(NanoUsd(10_000_000)));
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
    fn above_a_tiers_start_every_token_costs_what_the_tier_says() {
        let per_million = |usd| UsdPerToken::per_million(usd).unwrap();
        let tiered = |base, tier| Some(Rate::tiered(per_million(base), vec![(200_000, per_million(tier))]));
        let prices = Prices { input: tiered(1.0, 2.0), output: tiered(10.0, 15.0), ..Prices::default() };
        assert_eq!(prices.cost(&Usage::reported(200_000, 10)), Some(NanoUsd(200_000 * 1_000 + 10 * 10_000)));
        assert_eq!(prices.cost(&Usage::reported(200_001, 10)), Some(NanoUsd(200_001 * 2_000 + 10 * 15_000)));
        assert_eq!(prices.most(1, 1), Some(NanoUsd(2_000 + 15_000)));
    }

    #[test]
    fn a_fee_per_request_is_on_top() {
        let prices = Prices { request: NanoUsd(5_000_000), ..prices(0.001, 0.001) };
        assert_eq!(prices.cost(&Usage::reported(1, 0)), Some(NanoUsd(1_000 + 5_000_000)));
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
    fn impossible_prices_are_none() {
        for price in [-0.01, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1_000.1] {
            assert_eq!(UsdPerToken::per_1k(price), None);
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

        /// Whatever the tokens turn out to be, they cost no more than was reserved for that many.
        #[test]
        fn no_answer_costs_more_than_the_most(
            rates in proptest::collection::vec(proptest::option::of(0.0..0.1), 8),
            prompt in 0u64..100_000, completion in 0u64..100_000,
            parts in proptest::collection::vec(0u64..100_000, 6),
        ) {
            let rate = |at: usize| rates[at].and_then(UsdPerToken::per_1k).map(Rate::from);
            let prices = Prices {
                input: rate(0), cached: rate(1), cache_write: rate(2), cache_write_1h: rate(3),
                input_audio: rate(4), output: rate(5), output_audio: rate(6), reasoning: rate(7), request: NanoUsd(5),
            };
            let usage = Usage {
                cached_tokens: parts[0], cache_write_tokens: parts[1], cache_write_1h_tokens: parts[2],
                prompt_audio_tokens: parts[3], completion_audio_tokens: parts[4], reasoning_tokens: parts[5],
                ..Usage::reported(prompt, completion)
            };
            if let (Some(cost), Some(most)) = (prices.cost(&usage), prices.most(prompt, completion)) {
                prop_assert!(cost <= most, "{cost:?} > {most:?}");
            }
        }
    }
}
