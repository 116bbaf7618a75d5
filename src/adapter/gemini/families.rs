//! How the families of Gemini models differ where a field is neither taken nor refused but said otherwise.
//!
//! Data of the same kind as [`super::super::models`]; the first row that matches counts. A name that matches none is an
//! alias or a tuned model, and is taken for one of the newest family, which those point to.

use super::super::models::Models;

/// How a family is told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think.
    None,
    /// By a number of tokens; `off` is whether 0 is taken.
    Budget { off: bool },
    /// By a word; `minimal` and `medium` are whether those are taken.
    Level { minimal: bool, medium: bool },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    models: Models,
    pub thinking: Thinking,
    /// There is a `systemInstruction`.
    pub system: bool,
    /// A replayed call must carry the signature of the thought that led to it.
    pub signed_calls: bool,
}

const NEWEST: Family = Family {
    models: Models::Prefix(""),
    thinking: Thinking::Level { minimal: true, medium: true },
    system: true,
    signed_calls: true,
};

const FAMILIES: &[Family] = &[
    Family { models: Models::Prefix("gemma"), thinking: Thinking::None, system: false, signed_calls: false },
    // Before 2.5 none thinks, and `thinkingConfig` is a 400.
    Family {
        models: Models::Versions { prefixes: &["gemini-"], from: (1, 0), below: (2, 5) },
        thinking: Thinking::None,
        signed_calls: false,
        ..NEWEST
    },
    // 2.5 Pro cannot be kept from thinking.
    Family {
        models: Models::Prefix("gemini-2.5-pro"),
        thinking: Thinking::Budget { off: false },
        signed_calls: false,
        ..NEWEST
    },
    Family {
        models: Models::Versions { prefixes: &["gemini-"], from: (2, 5), below: (3, 0) },
        thinking: Thinking::Budget { off: true },
        signed_calls: false,
        ..NEWEST
    },
    // The first Pro of 3 knows only `LOW` and `HIGH`; later ones have no level below `LOW`.
    Family {
        models: Models::Prefix("gemini-3-pro"),
        thinking: Thinking::Level { minimal: false, medium: false },
        ..NEWEST
    },
    Family { models: Models::Contains("-pro"), thinking: Thinking::Level { minimal: false, medium: true }, ..NEWEST },
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
        for (model, thinking, signed) in [
            ("gemma-3-27b-it", Thinking::None, false),
            ("gemini-1.5-pro-002", Thinking::None, false),
            ("models/gemini-2.0-flash", Thinking::None, false),
            ("gemini-2.5-pro", Thinking::Budget { off: false }, false),
            ("gemini-2.5-flash-lite", Thinking::Budget { off: true }, false),
            ("gemini-3-pro-preview", Thinking::Level { minimal: false, medium: false }, true),
            ("gemini-3.1-pro-preview", Thinking::Level { minimal: false, medium: true }, true),
            ("gemini-3-flash-preview", Thinking::Level { minimal: true, medium: true }, true),
            ("gemini-flash-latest", Thinking::Level { minimal: true, medium: true }, true),
            ("tunedModels/mine", Thinking::Level { minimal: true, medium: true }, true),
        ] {
            let family = family(model);
            assert_eq!((family.thinking, family.signed_calls), (thinking, signed), "{model}");
        }
        assert!(!family("gemma-3").system && family("gemini-2.5-pro").system);
    }
}
