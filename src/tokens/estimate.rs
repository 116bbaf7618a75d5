//! Tokens from bytes alone, corrected by what the provider reports.
//!
//! Four bytes are a token, rounded up: right within a third for English, code and Chinese. On top of that lies a factor
//! per model. It begins at what the model's maker says about its tokens, and moves to what the answers report, over
//! about the last hundred thousand tokens of prompts: after a few calls the estimate fits the language and the kind of
//! text that this pool really sends. It costs a multiplication.

/// Bytes of UTF-8 that make a token when nothing else is known.
const BYTES_PER_TOKEN: usize = 4;

/// Tokens that the maker's word weighs: a few ordinary prompts outweigh it.
const PRIOR_WEIGHT: f64 = 1_000.0;

/// Tokens after which older reports begin to fade.
const WINDOW: f64 = 100_000.0;

/// No tokenizer in use is further from four bytes a token; a provider that reports more says something else.
const LEAST_FACTOR: f64 = 0.2;
const MOST_FACTOR: f64 = 5.0;

/// What makers say, against four bytes a token. Sources: Anthropic's glossary ("a token approximately represents 3.5
/// English characters"), DeepSeek's page on token usage ("1 English character ≈ 0.3 token"). Google says 4, as do most.
const SAID: &[(&str, f64)] = &[("claude", 4.0 / 3.5), ("deepseek", 4.0 * 0.3)];

/// Tokens of a text of so many bytes of UTF-8. Nothing has none.
pub fn estimate_text(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// The factor of one model at one provider.
#[derive(Debug, Clone)]
pub(super) struct Calibration {
    /// Tokens as reported, and as four bytes each would have made; both fade together.
    reported: f64,
    plain: f64,
}

impl Calibration {
    /// What is known of a model by its name alone.
    pub fn of_model(model: &str) -> Self {
        let name = model.to_ascii_lowercase();
        let said = SAID.iter().find(|(family, _)| name.contains(family)).map_or(1.0, |(_, factor)| *factor);
        Self { reported: PRIOR_WEIGHT * said, plain: PRIOR_WEIGHT }
    }

    /// A text of so many bytes was reported to have so many tokens.
    pub fn learn(&mut self, bytes: usize, tokens: u64) {
        let plain = bytes as f64 / BYTES_PER_TOKEN as f64;
        let tokens = tokens as f64;
        if !(plain * LEAST_FACTOR..=plain * MOST_FACTOR).contains(&tokens) {
            return;
        }
        self.plain += plain;
        self.reported += tokens;
        if self.plain > WINDOW {
            let fade = WINDOW / self.plain;
            self.plain *= fade;
            self.reported *= fade;
        }
    }

    pub fn tokens(&self, bytes: usize) -> u64 {
        let plain = bytes as f64 / BYTES_PER_TOKEN as f64;
        (plain * self.reported / self.plain).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_are_a_token_rounded_up() {
        assert_eq!([0, 1, 4, 5, 8].map(estimate_text), [0, 1, 1, 2, 2]);
        assert_eq!(estimate_text(usize::MAX), (usize::MAX / 4 + 1) as u64);
        assert_eq!(Calibration::of_model("m").tokens(0), 0);
        assert_eq!(Calibration::of_model("m").tokens(5), 2);
    }

    #[test]
    fn a_maker_is_believed_until_reports_say_otherwise() {
        let mut claude = Calibration::of_model("anthropic/claude-sonnet-4-5");
        assert_eq!(claude.tokens(3_500), 1_000);
        for _ in 0..50 {
            claude.learn(40_000, 8_000); // 5 bytes a token
        }
        assert!((700..=720).contains(&claude.tokens(3_500)), "{}", claude.tokens(3_500));
    }

    #[test]
    fn what_changes_is_followed() {
        let mut model = Calibration::of_model("m");
        for _ in 0..1_000 {
            model.learn(4_000, 500);
        }
        assert!(model.tokens(4_000) <= 502);
        for _ in 0..500 {
            model.learn(4_000, 2_000);
        }
        assert!(model.tokens(4_000) >= 1_950, "{}", model.tokens(4_000));
    }

    #[test]
    fn absurd_reports_teach_nothing() {
        let mut model = Calibration::of_model("m");
        for tokens in [0, 10, 1_000_000_000] {
            model.learn(4_000, tokens);
        }
        model.learn(0, 5);
        assert_eq!(model.tokens(4_000), 1_000);
    }
}
