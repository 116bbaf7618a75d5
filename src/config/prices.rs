//! What a provider or one of its models charges, as the configuration says it. The keys in one place are a whole price
//! list: as soon as one is set, nothing is taken from elsewhere.

use super::raw::RawPrices;
use super::section::{Reader, join};
use crate::cost::{LOOKS_PER_MILLION, Prices, Rate, UsdPerToken};

/// `None` when no price is given.
pub(super) fn check(raw: RawPrices, at: &str, reader: &mut Reader<'_>) -> Option<Prices> {
    let RawPrices {
        input_token_price,
        output_token_price,
        input_price_per_million,
        output_price_per_million,
        cached_input_price_per_million,
        cache_write_price_per_million,
    } = raw;
    let cached = ("cached_input_price_per_million", cached_input_price_per_million.some());
    let cache_write = ("cache_write_price_per_million", cache_write_price_per_million.some());
    let prices = Prices {
        input: one_of(
            per_1k("input_token_price", input_token_price.some(), at, reader),
            ("input_price_per_million", input_price_per_million.some()),
            at,
            reader,
        ),
        output: one_of(
            per_1k("output_token_price", output_token_price.some(), at, reader),
            ("output_price_per_million", output_price_per_million.some()),
            at,
            reader,
        ),
        cached: per_million(cached, at, reader),
        cache_write: per_million(cache_write, at, reader),
        ..Prices::default()
    };
    if prices == Prices::default() {
        return None;
    }
    for (key, price) in [("input_token_price", &prices.input), ("output_token_price", &prices.output)] {
        if price.is_none() {
            reader.warn(&join(at, key), "is missing while another price is set; costs will be unknown");
        }
    }
    Some(prices)
}

/// The price of one thing under one of its two keys.
fn one_of(per_1k: Option<Rate>, million: (&str, Option<f64>), at: &str, reader: &mut Reader<'_>) -> Option<Rate> {
    if per_1k.is_some() && million.1.is_some() {
        let message = "the price per 1,000 tokens is set too; expected one of the two";
        reader.problem(join(at, million.0), message);
    }
    per_1k.or(per_million(million, at, reader))
}

fn per_1k(key: &str, usd: Option<f64>, at: &str, reader: &mut Reader<'_>) -> Option<Rate> {
    let usd = usd?;
    if usd > LOOKS_PER_MILLION {
        reader.warn(&join(at, key), format_args!("{usd} USD per 1,000 tokens looks like a price per million"));
    }
    let rate = UsdPerToken::per_1k(usd);
    if rate.is_none() {
        reader.problem(join(at, key), "must be USD per 1,000 tokens, from 0 to 1000");
    }
    rate.map(Rate::from)
}

fn per_million((key, usd): (&str, Option<f64>), at: &str, reader: &mut Reader<'_>) -> Option<Rate> {
    let rate = UsdPerToken::per_million(usd?);
    if rate.is_none() {
        reader.problem(join(at, key), "must be USD per million tokens, from 0 to 1000000");
    }
    rate.map(Rate::from)
}
