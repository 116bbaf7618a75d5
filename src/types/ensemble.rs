//! How several models answer together, and what they came to.

use serde::{Deserialize, Serialize};

use super::ids::ProviderName;
use super::reply::AttemptRecord;

/// How one answer is made of several models' answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Strategy {
    /// The first good answer: one provider, and a second one when the first takes long.
    Fastest,
    /// The answer that most give.
    Voting,
    /// The answer with the most weight behind it.
    Weighted,
    /// The answer on which so many agree, or none.
    Consensus,
    /// The answer that another model finds best.
    Judge,
}

impl Strategy {
    pub const ALL: [Self; 5] = [Self::Fastest, Self::Voting, Self::Weighted, Self::Consensus, Self::Judge];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fastest => "FASTEST",
            Self::Voting => "VOTING",
            Self::Weighted => "WEIGHTED",
            Self::Consensus => "CONSENSUS",
            Self::Judge => "JUDGE",
        }
    }

    /// By its word, as it stands in calls and configurations.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == word)
    }

    /// By its word, as a call says it.
    ///
    /// # Errors
    /// The words there are, and the one that was probably meant.
    pub fn read(word: &str) -> Result<Self, String> {
        Self::named(word).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str);
            let upper = word.to_ascii_uppercase();
            let near = words.iter().map(|known| (strsim::jaro_winkler(&upper, known), known));
            let near = near.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(score, _)| *score > 0.85);
            let hint = near.map_or_else(String::new, |(_, known)| format!("; did you mean {known:?}?"));
            format!("must be one of {}, found {word:?}{hint}", words.join(", "))
        })
    }
}

/// How an answer of several models came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// What was asked for.
    pub strategy: Strategy,
    /// What decided in the end. The warnings of the answer say why it is another one.
    pub strategy_used: Strategy,
    /// Every model that was sent the question, in the order of the configuration; the judge is not among them.
    pub models_queried: Vec<String>,
    /// The answers that were compared, in the order of the configuration.
    pub votes: Vec<Vote>,
    /// Only where one was asked, or should have been.
    pub judge: Option<Judgement>,
}

impl Decision {
    /// Nothing was compared: the first answer was taken.
    pub fn fastest(strategy: Strategy, attempts: &[AttemptRecord]) -> Self {
        let mut models_queried: Vec<String> = Vec::new();
        let mut asked: Vec<(&ProviderName, &str)> = Vec::new();
        for line in attempts.iter().filter(|line| !line.outcome.sent_nothing()) {
            // Two providers may serve one model; asked twice, a provider is still one.
            if !asked.contains(&(&line.provider, &line.model)) {
                asked.push((&line.provider, &line.model));
                models_queried.push(line.model.clone());
            }
        }
        Self { strategy, strategy_used: Strategy::Fastest, models_queried, votes: Vec::new(), judge: None }
    }
}

/// One answer among several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vote {
    pub provider: ProviderName,
    pub model: String,
    /// Answers of the same group say the same; counted from 1.
    pub group: usize,
    pub weight: u32,
    /// The share of earlier decisions that went its way, from 0 to 1; 0.5 before the first.
    pub win_rate: f64,
    /// It is the answer.
    pub winner: bool,
}

/// What became of the judge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// `null`: nobody was asked.
    pub provider: Option<ProviderName>,
    pub model: Option<String>,
    pub outcome: JudgeOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeOutcome {
    /// It chose.
    Chose,
    /// All answers said the same: there was nothing to choose.
    Unanimous,
    /// It said something that names no answer.
    Unreadable,
    /// It failed, or did not answer in time.
    Failed,
    /// The configuration names no judge.
    Missing,
}

impl JudgeOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chose => "chose",
            Self::Unanimous => "unanimous",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}
