//! The dated snapshot of what services charge, and how long their models' windows are.
//!
//! The data is `catalogue.json` beside this file, taken from Pydantic's genai-prices (MIT; its licence and the day are in
//! the file) by `scripts/update-prices.py`. It is compiled in, split into services at the first lookup, and one
//! service's models are read when the first provider of that service is built: nothing is read at import, nothing per
//! call, and nothing twice, however often a configuration is loaded anew.
//!
//! **Which service** a provider is: the one whose address its `base_url` has, else the one its type names. A type whose
//! address is the user's own (`openai-compatible`, `ollama`) names none. **Which model**: the first of the service's, in
//! the order of the file, whose rule matches the name in lower case; then the same with a date written `-2025-12-11`
//! instead of `-20251211`; then, for a service that sells other services' models, theirs.
//!
//! A listed model without prices is one that is billed by something the pool does not count (images, pages, hours).

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::list::{PriceList, When};
use super::prices::{Prices, Rate, UsdPerToken};
use crate::types::NanoUsd;

static EMBEDDED: LazyLock<Catalogue> =
    LazyLock::new(|| serde_json::from_str(include_str!("catalogue.json")).unwrap_or_default());

/// Our types whose service has another name in the catalogue.
const RENAMED: &[(&str, &str)] = &[("gemini", "google"), ("xai", "x-ai")];

/// A date without dashes at the end of a part of a model's name.
static COMPACT_DATE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)").ok());

/// The snapshot, split into services.
#[derive(Default, Deserialize)]
pub struct Catalogue {
    /// The package it was taken from, and its version.
    pub package: String,
    pub version: String,
    /// The day it was taken, `2026-11-26`.
    pub taken: String,
    #[serde(borrow)]
    providers: BTreeMap<String, Service<'static>>,
}

#[derive(Deserialize)]
struct Service<'a> {
    /// What its address begins with.
    #[serde(deserialize_with = "beginning")]
    url: Pattern,
    /// Services whose models it sells, too.
    fallback: Vec<String>,
    #[serde(borrow)]
    models: &'a RawValue,
    #[serde(skip)]
    read: OnceLock<Vec<Entry>>,
}

/// One service's models, with those of others that it sells.
pub struct Shelf<'a>(Vec<&'a [Entry]>);

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listed {
    /// `None`: nobody knows, or it is billed by something that is not counted.
    pub prices: Option<PriceList>,
    /// Most tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "match")]
    rule: Rule,
    context_window: Option<u64>,
    prices: Option<Vec<Period>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rule {
    Equals(String),
    Any(Vec<Rule>),
    Is(Operator),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operator {
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(Pattern),
    All(Vec<Rule>),
}

/// A regular expression, compiled when it is first met.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

/// USD per million tokens, and per 1,000 requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    from_unix_ms: Option<u64>,
    between_minutes: Option<[u16; 2]>,
    input: Option<Price>,
    cached: Option<Price>,
    cache_write: Option<Price>,
    cache_write_1h: Option<Price>,
    input_audio: Option<Price>,
    output: Option<Price>,
    output_audio: Option<Price>,
    reasoning: Option<Price>,
    requests: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Price {
    Flat(f64),
    Tiered { base: f64, tiers: Vec<(u64, f64)> },
}

// === impl Catalogue ===

impl Catalogue {
    /// The snapshot that was compiled in.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// The models of the service that a provider of this type and address belongs to; `None` when it is nobody's.
    ///
    /// ```
    /// use llmpool::cost::Catalogue;
    /// use llmpool::types::Usage;
    /// let shelf = Catalogue::embedded().shelf("openai", None).unwrap();
    /// let listed = shelf.find("gpt-4o").unwrap();
    /// let cost = listed.prices.unwrap().at(1_795_300_000_000).cost(&Usage::reported(1000, 100)).unwrap();
    /// assert_eq!(cost.as_usd(), 0.0035);
    /// assert_eq!(listed.context_window, Some(128_000));
    /// ```
    pub fn shelf(&self, kind: &str, base_url: Option<&str>) -> Option<Shelf<'_>> {
        let by_address = base_url.and_then(|url| self.providers.values().find(|service| service.url.matches(url)));
        let name = RENAMED.iter().find(|(ours, _)| *ours == kind).map_or(kind, |(_, theirs)| theirs);
        let service = by_address.or_else(|| self.providers.get(name))?;
        let others = service.fallback.iter().filter_map(|name| self.providers.get(name));
        Some(Shelf(std::iter::once(service).chain(others).map(Service::entries).collect()))
    }
}

impl Service<'_> {
    fn entries(&self) -> &[Entry] {
        self.read.get_or_init(|| serde_json::from_str(self.models.get()).unwrap_or_default())
    }
}

/// A pattern of which a text must be the beginning.
fn beginning<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
    Ok(Pattern::from(format!("^(?:{})", String::deserialize(from)?)))
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text).unwrap_or(false))
    }
}

// === impl Shelf ===

impl Shelf<'_> {
    /// What is known of the model that the service has under this name.
    pub fn find(&self, model: &str) -> Option<Listed> {
        let model = model.to_lowercase();
        let entry = self.entry(&model).or_else(|| {
            let dated = COMPACT_DATE.as_ref()?.replace_all(&model, "-$1-$2-$3").into_owned();
            if dated == model { None } else { self.entry(&dated) }
        })?;
        Some(Listed { prices: entry.prices.as_deref().and_then(list), context_window: entry.context_window })
    }

    fn entry(&self, model: &str) -> Option<&Entry> {
        self.0.iter().copied().flatten().find(|entry| entry.rule.matches(model))
    }
}

impl Rule {
    fn matches(&self, model: &str) -> bool {
        match self {
            Self::Equals(name) => *name == model,
            Self::Any(rules) => rules.iter().any(|rule| rule.matches(model)),
            Self::Is(Operator::StartsWith(text)) => model.starts_with(text.as_str()),
            Self::Is(Operator::EndsWith(text)) => model.ends_with(text.as_str()),
            Self::Is(Operator::Contains(text)) => model.contains(text.as_str()),
            Self::Is(Operator::Regex(pattern)) => pattern.matches(model),
            Self::Is(Operator::All(rules)) => rules.iter().all(|rule| rule.matches(model)),
        }
    }
}

// === prices ===

fn list(periods: &[Period]) -> Option<PriceList> {
    PriceList::new(periods.iter().map(Period::read).collect::<Option<_>>()?)
}

impl Period {
    fn read(&self) -> Option<(When, Prices)> {
        let when = match (self.from_unix_ms, self.between_minutes) {
            (Some(start), _) => When::From(start),
            (None, Some([from, to])) => When::Between(from, to),
            (None, None) => When::Always,
        };
        // The outer `None`: it is no price.
        let rate = |price: &Option<Price>| price.as_ref().map_or(Some(None), |price| price.rate().map(Some));
        let prices = Prices {
            input: rate(&self.input)?,
            cached: rate(&self.cached)?,
            cache_write: rate(&self.cache_write)?,
            cache_write_1h: rate(&self.cache_write_1h)?,
            input_audio: rate(&self.input_audio)?,
            output: rate(&self.output)?,
            output_audio: rate(&self.output_audio)?,
            reasoning: rate(&self.reasoning)?,
            request: fee(self.requests.unwrap_or(0.0))?,
        };
        Some((when, prices))
    }
}

/// USD per 1,000 requests, for one.
fn fee(usd_per_1k: f64) -> Option<NanoUsd> {
    (0.0..=1e3).contains(&usd_per_1k).then(|| NanoUsd((usd_per_1k * 1e6).round() as u64))
}

impl Price {
    fn rate(&self) -> Option<Rate> {
        match self {
            Self::Flat(usd) => UsdPerToken::per_million(*usd).map(Rate::from),
            Self::Tiered { base, tiers } => {
                let tiers = tiers.iter().map(|(start, usd)| Some((*start, UsdPerToken::per_million(*usd)?)));
                Some(Rate::tiered(UsdPerToken::per_million(*base)?, tiers.collect::<Option<_>>()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::types::Usage;

    /// 2026-11-26T00:00:00Z.
    const TAKEN: u64 = 1_795_651_200_000;

    fn find(kind: &str, model: &str) -> Option<Listed> {
        Catalogue::embedded().shelf(kind, None)?.find(model)
    }

    #[test]
    fn all_of_it_can_be_read() {
        let catalogue = Catalogue::embedded();
        assert!(catalogue.providers.len() > 40, "{}", catalogue.providers.len());
        let mut priced = 0;
        for (name, service) in &catalogue.providers {
            assert!(service.url.is_sound(), "{name}: {}", service.url.text);
            assert!(service.fallback.iter().all(|other| catalogue.providers.contains_key(other)), "{name}");
            assert!(serde_json::from_str::<Vec<Entry>>(service.models.get()).is_ok(), "{name}");
            for entry in service.entries() {
                assert!(entry.rule.patterns_compile(), "a rule of {name}");
                if let Some(prices) = &entry.prices {
                    assert!(list(prices).is_some(), "prices of {name}");
                    priced += 1;
                }
            }
        }
        assert!(priced > 2_000, "{priced}");
    }

    impl Pattern {
        fn is_sound(&self) -> bool {
            Regex::new(&self.text).is_ok()
        }
    }

    impl Rule {
        fn patterns_compile(&self) -> bool {
            match self {
                Self::Any(rules) | Self::Is(Operator::All(rules)) => rules.iter().all(Self::patterns_compile),
                Self::Is(Operator::Regex(pattern)) => pattern.is_sound(),
                _ => true,
            }
        }
    }

    #[test]
    fn it_says_where_it_is_from() {
        let text = include_str!("catalogue.json");
        let header: Value = serde_json::from_str(text).unwrap();
        assert_eq!(header["source"], "https://github.com/pydantic/genai-prices");
        assert!(header["license"].as_str().unwrap().contains("Pydantic Services Inc."));
        let Catalogue { package, version, taken, .. } = Catalogue::embedded();
        assert_eq!((package.as_str(), taken.len()), ("genai-prices", 10));
        assert!(!version.is_empty());
    }

    /// `__test__/fixtures/prices.json` is what the package of the same version says; see `scripts/update-prices.py`.
    #[test]
    fn answers_cost_what_the_package_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/__test__/fixtures/prices.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(file["version"], Catalogue::embedded().version, "both files are written together");
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() >= 50);
        for case in cases {
            let count = |key: &str| case[key].as_u64().unwrap_or(0);
            let listed = find(case["type"].as_str().unwrap(), case["model"].as_str().unwrap());
            let usage = Usage {
                cached_tokens: count("cached"),
                cache_write_tokens: count("cache_write"),
                cache_write_1h_tokens: count("cache_write_1h"),
                reasoning_tokens: count("reasoning"),
                prompt_audio_tokens: count("prompt_audio"),
                completion_audio_tokens: count("completion_audio"),
                ..Usage::reported(count("prompt"), count("completion"))
            };
            let prices = listed.and_then(|listed| listed.prices);
            let cost = prices.and_then(|prices| prices.at(count("unix_ms")).cost(&usage));
            assert_eq!(cost, Some(NanoUsd(count("nano_usd"))), "{case}");
        }
    }

    #[test]
    fn an_address_goes_over_a_type() {
        let catalogue = Catalogue::embedded();
        let model = |kind, url| {
            let shelf = catalogue.shelf(kind, url)?;
            Some(shelf.find("llama-3.3-70b-versatile").is_some())
        };
        assert_eq!(model("openai", None), Some(false));
        assert_eq!(model("openai", Some("https://api.groq.com/openai/v1")), Some(true));
        assert_eq!(model("openai-compatible", Some("https://api.groq.com/openai/v1")), Some(true));
        // A proxy of the user's own says nothing; the type does.
        assert_eq!(model("groq", Some("http://localhost:4000")), Some(true));
        assert_eq!(model("openai-compatible", Some("http://localhost:4000")), None);
        assert_eq!(model("ollama", None), None);
    }

    #[test]
    fn a_service_that_sells_others_models_has_their_prices() {
        let sold = find("azure", "claude-sonnet-4-5");
        assert!(sold.is_some());
        assert_eq!(sold, find("anthropic", "claude-sonnet-4-5"));
    }

    #[test]
    fn names_match_in_any_case_and_with_compact_dates() {
        assert_eq!(find("openai", "GPT-4o"), find("openai", "gpt-4o"));
        let dated = find("openai", "gpt-5.2-20251211");
        assert!(dated.is_some());
        assert_eq!(dated, find("openai", "gpt-5.2-2025-12-11"));
        assert_eq!(find("openai", "no-such-model"), None);
        assert_eq!(find("no-such-service", "gpt-4o"), None);
    }

    #[test]
    fn what_is_not_billed_by_tokens_is_listed_without_prices() {
        let whisper = find("openai", "whisper-1").expect("listed");
        assert_eq!(whisper.prices, None);
    }

    #[test]
    fn a_price_that_comes_later_comes_then() {
        let prices = find("gemini", "gemini-3.8-flash").and_then(|listed| listed.prices).expect("listed");
        let usage = Usage::reported(1_000_000, 0);
        let new_year_2027 = 1_798_761_600_000;
        assert_ne!(prices.at(TAKEN).cost(&usage), prices.at(new_year_2027).cost(&usage));
        assert_eq!(prices.at(TAKEN), prices.at(new_year_2027 - 1));
    }
}
