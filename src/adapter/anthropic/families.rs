//! How the families of Claude models are told to think.
//!
//! Data of the same kind as [`super::super::models`]; the first row that matches counts. A name that matches none is an
//! alias, and is taken for one of the newest family, which those point to. Source: Anthropic's pages on extended and
//! adaptive thinking and on effort.

use super::super::models::Models;

/// How a family is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think.
    None,
    /// By a number of tokens, which come out of `max_tokens`.
    Budget,
    /// By being allowed to; the effort says how much.
    Adaptive,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    models: Models,
    pub thinking: Thinking,
    /// Words of `output_config.effort`, from the least; empty: there is no such field.
    pub efforts: &'static [&'static str],
}

const LINES: &[&str] = &["claude-opus-", "claude-sonnet-", "claude-haiku-", "claude-mythos-", "claude-fable-"];
const THREE: &[&str] = &["low", "medium", "high"];

const NEWEST: Family = Family {
    models: Models::Prefix(""),
    thinking: Thinking::Adaptive,
    efforts: &["low", "medium", "high", "xhigh", "max"],
};

const FAMILIES: &[Family] = &[
    Family { models: Models::Versions { prefixes: LINES, from: (4, 7), below: (100, 0) }, ..NEWEST },
    Family {
        models: Models::Versions { prefixes: LINES, from: (4, 6), below: (4, 7) },
        efforts: &["low", "medium", "high", "max"],
        ..NEWEST
    },
    Family {
        models: Models::Versions { prefixes: &["claude-opus-"], from: (4, 5), below: (4, 6) },
        thinking: Thinking::Budget,
        efforts: THREE,
    },
    Family {
        models: Models::Versions { prefixes: LINES, from: (4, 0), below: (4, 6) },
        thinking: Thinking::Budget,
        efforts: &[],
    },
    Family {
        models: Models::Versions { prefixes: &["claude-"], from: (3, 7), below: (4, 0) },
        thinking: Thinking::Budget,
        efforts: &[],
    },
    Family {
        models: Models::Versions { prefixes: &["claude-"], from: (1, 0), below: (3, 7) },
        thinking: Thinking::None,
        efforts: &[],
    },
    NEWEST,
];

/// The family a model belongs to.
pub(super) fn family(model: &str) -> &'static Family {
    FAMILIES.iter().find(|family| family.models.contain(model)).unwrap_or(&NEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_fall_into_their_families() {
        for (model, thinking, efforts) in [
            ("claude-3-5-sonnet-20241022", Thinking::None, 0),
            ("claude-3-7-sonnet-20250219", Thinking::Budget, 0),
            ("claude-sonnet-4-20250514", Thinking::Budget, 0),
            ("claude-opus-4-1-20250805", Thinking::Budget, 0),
            ("claude-haiku-4-5-20251001", Thinking::Budget, 0),
            ("claude-opus-4-5", Thinking::Budget, 3),
            ("claude-sonnet-4-6", Thinking::Adaptive, 4),
            ("claude-opus-4-7", Thinking::Adaptive, 5),
            ("claude-sonnet-5", Thinking::Adaptive, 5),
            ("some-alias", Thinking::Adaptive, 5),
        ] {
            let family = family(model);
            assert_eq!((family.thinking, family.efforts.len()), (thinking, efforts), "{model}");
        }
    }
}
