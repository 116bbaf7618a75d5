//! What can go wrong, said once.
//!
//! [`Failure`] is one failed attempt, classified; [`Error`] is what the caller of the pool gets. What may be done
//! after a failure is asked of its [`FailureClass`] and of nothing else: nobody reads a message twice.
//!
#![doc = include_str!("../docs/failures.md")]

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::types::{AttemptRecord, FieldError, NanoUsd, ProviderName, Reply, RequestId, Usage};

/// The row of the failure table that an attempt's failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// The key is wrong or revoked.
    Auth,
    /// The key may not do this, or not from here.
    Permission,
    /// Money or a long quota is used up.
    QuotaExhausted,
    /// Too many requests or tokens in a short window.
    RateLimit,
    /// The provider says it has no capacity.
    Overloaded,
    /// The provider broke: 500, 502, a page of HTML.
    ServerError,
    /// The provider, or a timer of ours, gave up waiting.
    Timeout,
    /// A local server is still loading the model.
    ModelLoading,
    /// The provider does not have this model.
    ModelNotFound,
    /// The model cannot do what this request asks for: no tools, no eyes.
    Unsupported,
    /// The prompt is longer than the model's window.
    ContextLength,
    /// The body, or the tokens of this one request, are over a fixed limit.
    RequestTooLarge,
    /// The provider refused the content.
    ContentFilter,
    /// The request is wrong and would be wrong everywhere.
    InvalidRequest,
    /// The model produced something its own server could not use.
    ModelOutputInvalid,
    /// The stream ended without saying that it was done.
    StreamTruncated,
    /// The reply could not be read: not JSON, empty, too large.
    BadReply,
    /// DNS, connect, TLS, reset.
    Network,
}

/// Whose state a failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Caller,
    Key,
    Model,
    Provider,
}

/// The answers of one row. `hard` counts on the provider's breaker.
struct Answers {
    hard: bool,
    rate_signal: bool,
    same_again: bool,
    another: bool,
    scope: Scope,
}

impl FailureClass {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 18] = [
        Self::Auth,
        Self::Permission,
        Self::QuotaExhausted,
        Self::RateLimit,
        Self::Overloaded,
        Self::ServerError,
        Self::Timeout,
        Self::ModelLoading,
        Self::ModelNotFound,
        Self::Unsupported,
        Self::ContextLength,
        Self::RequestTooLarge,
        Self::ContentFilter,
        Self::InvalidRequest,
        Self::ModelOutputInvalid,
        Self::StreamTruncated,
        Self::BadReply,
        Self::Network,
    ];

    /// The table. One row per class; the page of this module shows it with what leads to each class.
    const fn answers(self) -> Answers {
        const fn row(hard: bool, rate_signal: bool, same_again: bool, another: bool, scope: Scope) -> Answers {
            Answers { hard, rate_signal, same_again, another, scope }
        }
        match self {
            Self::Auth | Self::Permission => row(false, false, false, true, Scope::Key),
            Self::QuotaExhausted => row(false, true, false, true, Scope::Key),
            Self::RateLimit => row(false, true, true, true, Scope::Key),
            Self::Overloaded
            | Self::ServerError
            | Self::Timeout
            | Self::StreamTruncated
            | Self::BadReply
            | Self::Network => row(true, false, true, true, Scope::Provider),
            Self::ModelLoading => row(false, false, true, true, Scope::Provider),
            Self::ModelNotFound | Self::Unsupported => row(false, false, false, true, Scope::Model),
            Self::ContextLength | Self::RequestTooLarge | Self::ContentFilter | Self::InvalidRequest => {
                row(false, false, false, false, Scope::Caller)
            }
            Self::ModelOutputInvalid => row(false, false, true, true, Scope::Model),
        }
    }

    /// Does it count on the provider's breaker?
    pub const fn counts_against_provider(self) -> bool {
        self.answers().hard
    }

    /// Does it say that a limit is reached?
    pub const fn is_rate_signal(self) -> bool {
        self.answers().rate_signal
    }

    /// May the same provider be asked again with the same request?
    pub const fn same_provider_again(self) -> bool {
        self.answers().same_again
    }

    /// May another provider be asked?
    pub const fn another_provider(self) -> bool {
        self.answers().another
    }

    pub const fn scope(self) -> Scope {
        self.answers().scope
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimit => "rate_limit",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::ModelLoading => "model_loading",
            Self::ModelNotFound => "model_not_found",
            Self::Unsupported => "unsupported",
            Self::ContextLength => "context_length",
            Self::RequestTooLarge => "request_too_large",
            Self::ContentFilter => "content_filter",
            Self::InvalidRequest => "invalid_request",
            Self::ModelOutputInvalid => "model_output_invalid",
            Self::StreamTruncated => "stream_truncated",
            Self::BadReply => "bad_reply",
            Self::Network => "network",
        }
    }
}

impl std::str::FromStr for FailureClass {
    type Err = ();

    /// By its name, as it stands in errors and configurations.
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|class| class.as_str() == name).ok_or(())
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which timer fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    Connect,
    /// From sending to the first byte of the reply.
    FirstByte,
    /// From sending to the first content of a stream.
    FirstContent,
    /// The whole attempt; in a stream, until its first content.
    Attempt,
    /// Between two contents of a stream.
    ContentIdle,
    /// The whole call.
    Deadline,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::FirstContent => "first_content",
            Self::Attempt => "attempt",
            Self::ContentIdle => "content_idle",
            Self::Deadline => "deadline",
        }
    }
}

/// One failed attempt, classified.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub class: FailureClass,
    /// HTTP status, when there was a reply.
    pub status: Option<u16>,
    /// The provider's own code or type, when it sent one.
    pub code: Option<String>,
    /// The provider's own words, bounded; masked before anyone outside sees them.
    pub message: String,
    /// How long the provider asks to wait, from wherever it said so. Always finite and capped.
    pub retry_after: Option<Duration>,
    /// The provider's `x-should-retry`: governs asking the same provider again, nothing else.
    pub should_retry: Option<bool>,
    /// The timer that fired, for [`FailureClass::Timeout`] of our own making.
    pub phase: Option<Phase>,
    /// The parameter of the request that the provider does not take, as it spells it, when it named one.
    pub unsupported_param: Option<String>,
    /// A timer of the call's own, shorter than the configured one and than what the provider usually takes, ran out:
    /// nobody's failure.
    pub impatient: bool,
    /// What the provider said, for rows that a configuration adds to the table. `None` once they were asked.
    pub said: Option<Box<Said>>,
    /// What the provider counted for a whole answer that is not taken.
    pub usage: Option<Box<Usage>>,
}

/// Everything in an error body that a row of the failure table may ask about, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Codes, types, status words.
    pub words: Vec<String>,
    pub text: String,
}

impl Failure {
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            status: None,
            code: None,
            message: message.into(),
            retry_after: None,
            should_retry: None,
            phase: None,
            unsupported_param: None,
            impatient: false,
            said: None,
            usage: None,
        }
    }

    pub fn timeout(phase: Phase, message: impl Into<String>) -> Self {
        Self { phase: Some(phase), ..Self::new(FailureClass::Timeout, message) }
    }

    /// Does it count on the provider's breaker?
    pub fn counts_against_provider(&self) -> bool {
        self.class.counts_against_provider() && !self.impatient
    }

    /// May the same provider be asked again with the same request? The provider's own word goes over the table's.
    pub fn same_provider_again(&self) -> bool {
        self.should_retry.unwrap_or_else(|| self.class.same_provider_again())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// What went wrong below HTTP, or while reading a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    pub kind: TransportErrorKind,
    /// Without URL and without anything the caller configured as secret.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// DNS, TCP or proxy: no connection came about.
    Connect,
    ConnectTimeout,
    Tls,
    /// The connection broke before any byte of the reply.
    Reset,
    /// The connection broke while the body was read, or its framing or compression is wrong.
    Body,
    /// The body is larger than the bound.
    TooLarge,
    /// The request could not be built: a URL or header that HTTP cannot carry.
    Request,
}

impl TransportError {
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TransportError {}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `providers[1].base_url`; empty for the document itself.
    pub path: String,
    /// What was found, what is allowed, how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// Why one provider could not be asked.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    pub provider: ProviderName,
    pub reason: String,
    /// How long it holds, where that is known.
    #[serde(skip)]
    pub holds_for: Option<Duration>,
    /// What the call needs is beyond it, whenever it is asked.
    #[serde(skip)]
    pub is_beyond: bool,
}

/// The error of a call or of the pool itself.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Context,
}

/// What kind of error; each has a class and a code of its own in JavaScript.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bad options or configuration, with every problem.
    Configuration { problems: Vec<Problem> },
    /// Refused before sending.
    InvalidRequest { field: String },
    /// Refused before sending: this id was used for another request.
    IdempotencyMismatch,
    /// An upstream failure when nothing else is left, or the caller's fault as the upstream says it.
    Provider { failure: Failure },
    /// Every usable provider is limited; `reset` until the soonest is free, when known.
    RateLimited { reset: Option<Duration>, failure: Option<Failure> },
    /// Nobody is eligible.
    NoProvider { reasons: Vec<Reason> },
    /// A timer fired and nothing was left.
    Timeout { phase: Phase, failure: Option<Failure> },
    /// The stream was cut after content was delivered; `partial` is what had come.
    StreamInterrupted { partial: Box<Reply>, failure: Failure },
    /// A spend limit would be passed.
    BudgetExceeded(Box<BudgetExceeded>),
    /// The tenant of the call may not do this: it is not known or switched off, or the task or model is none of its own.
    /// [`Context::tenant`] says which.
    PermissionDenied,
    /// A background processor has no place for one more job; `capacity` wait already.
    QueueFull { capacity: usize },
    /// The pool was shut down, or the background processor was stopped.
    Closed,
    /// The caller left.
    Cancelled,
    /// A defect of ours.
    Internal,
}

/// The limit of the budget that would be passed; of several, the one that has room again first.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetExceeded {
    /// Whose budget it is; `None`: the pool's, or that of the tenant in [`Context::tenant`].
    pub provider: Option<ProviderName>,
    /// `daily` or `monthly`.
    pub period: &'static str,
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    /// For requests under way.
    pub reserved: NanoUsd,
    /// Nothing else is in the way: there is room when they end.
    pub held: bool,
    /// Until there is room again; `None`: the request alone asks for more than the limit, or only requests under way are in
    /// the way, and nobody knows when they end.
    pub reset: Option<Duration>,
    /// The same in Unix milliseconds.
    pub reset_at: Option<u64>,
}

/// Where in which call it happened.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub provider: Option<ProviderName>,
    pub model: Option<String>,
    pub request_id: Option<RequestId>,
    pub attempts: Vec<AttemptRecord>,
    /// It was a tenant's limit that ended the call.
    pub tenant: Option<TenantLimit>,
}

/// A limit of a tenant that a call met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantLimit {
    /// Whose.
    pub tenant: String,
    /// Its key in the configuration: `rps`, `tokens_per_day`, `budget`, `tasks`, `models` or `enabled`; `id`: there is no
    /// such tenant.
    pub limit: &'static str,
}

/// Waits longer than this are cut to it: a year. A provider that says more means "not soon".
pub const MAX_HINT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Context::default() }))
    }

    pub fn configuration(problems: Vec<Problem>) -> Self {
        let message = match problems.as_slice() {
            [only] => format!("invalid configuration: {only}"),
            many => {
                let mut message = format!("invalid configuration, {} problems:", many.len());
                for problem in many {
                    message.push_str(&format!("\n  - {problem}"));
                }
                message
            }
        };
        Self::new(ErrorKind::Configuration { problems }, message)
    }

    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the pool was shut down")
    }

    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the call was cancelled")
    }

    pub fn with_context(mut self, context: Context) -> Self {
        self.0.context = context;
        self
    }

    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The failure behind it, where an attempt failed.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.0.kind {
            ErrorKind::Provider { failure } | ErrorKind::StreamInterrupted { failure, .. } => Some(failure),
            ErrorKind::RateLimited { failure, .. } | ErrorKind::Timeout { failure, .. } => failure.as_ref(),
            _ => None,
        }
    }

    /// Did the caller or the pool end the call, rather than anything that went wrong?
    pub fn is_cancellation(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Cancelled | ErrorKind::Closed)
    }

    /// Would the same call have a chance a little later?
    pub fn is_retryable(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Provider { failure } => failure.same_provider_again() || failure.class.another_provider(),
            ErrorKind::RateLimited { .. }
            | ErrorKind::Timeout { .. }
            | ErrorKind::StreamInterrupted { .. }
            | ErrorKind::QueueFull { .. } => true,
            ErrorKind::NoProvider { reasons } => !reasons.is_empty(),
            _ => false,
        }
    }

    /// Is it only money reserved for requests under way that left no room? There is some when they end, and nobody knows
    /// when that is. A budget that is spent is something else, and so is a request that asks for more than the limit.
    pub fn is_held_by_requests(&self) -> bool {
        matches!(&self.0.kind, ErrorKind::BudgetExceeded(exceeded) if exceeded.held)
    }

    /// How long to wait before it has a chance, when anyone said.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0.kind {
            ErrorKind::RateLimited { reset, .. } => *reset,
            ErrorKind::BudgetExceeded(exceeded) => exceeded.reset,
            ErrorKind::NoProvider { reasons } => reasons.iter().filter_map(|reason| reason.holds_for).min(),
            _ => self.failure().and_then(|failure| failure.retry_after),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        let message = format!("invalid request: {error}");
        Self::new(ErrorKind::InvalidRequest { field: error.field }, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_fault_blames_nobody_and_goes_nowhere_else() {
        for class in [FailureClass::InvalidRequest, FailureClass::ContentFilter, FailureClass::RequestTooLarge] {
            assert!(!class.counts_against_provider() && !class.another_provider() && !class.same_provider_again());
            assert_eq!(class.scope(), Scope::Caller);
        }
    }

    #[test]
    fn rate_signals_never_count_on_the_breaker() {
        for class in [FailureClass::RateLimit, FailureClass::QuotaExhausted] {
            assert!(class.is_rate_signal() && !class.counts_against_provider() && class.another_provider());
        }
    }

    #[test]
    fn the_timers_have_one_name_each_in_rust_in_json_and_in_the_types() {
        let types = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("index.d.ts");
        let types = std::fs::read_to_string(types).expect("index.d.ts");
        let declared = types.lines().find(|line| line.starts_with("  phase: '")).expect("TimeoutError.phase");
        let phases = [
            Phase::Connect,
            Phase::FirstByte,
            Phase::FirstContent,
            Phase::Attempt,
            Phase::ContentIdle,
            Phase::Deadline,
        ];
        for phase in phases {
            assert_eq!(serde_json::to_value(phase).expect("a word"), phase.as_str());
            assert!(declared.contains(&format!("'{}'", phase.as_str())), "{phase:?} is missing in: {declared}");
        }
        assert_eq!(declared.matches('|').count(), phases.len(), "each of them, or null: {declared}");
    }

    #[test]
    fn no_hint_is_longer_than_a_year() {
        assert_eq!(MAX_HINT.as_secs(), 31_536_000);
    }

    #[test]
    fn an_error_says_whether_it_is_worth_another_try_and_when() {
        let hinted = |class| Failure { retry_after: Some(Duration::from_secs(7)), ..Failure::new(class, "said") };
        let provider = |class| ErrorKind::Provider { failure: hinted(class) };
        let reason = Reason {
            provider: ProviderName::new("a"),
            reason: "its breaker is open".to_owned(),
            holds_for: None,
            is_beyond: false,
        };
        let cut = ErrorKind::StreamInterrupted { partial: Box::default(), failure: hinted(FailureClass::Network) };
        let limited =
            |reset: Option<u64>| ErrorKind::RateLimited { reset: reset.map(Duration::from_secs), failure: None };
        let timeout = |failure| ErrorKind::Timeout { phase: Phase::Attempt, failure };
        // The kind, whether it may be tried again, whether somebody left, and the seconds to wait.
        for (kind, again, left, wait) in [
            (ErrorKind::Configuration { problems: Vec::new() }, false, false, None),
            (ErrorKind::InvalidRequest { field: String::new() }, false, false, None),
            (ErrorKind::IdempotencyMismatch, false, false, None),
            (provider(FailureClass::ServerError), true, false, Some(7)),
            // Another provider may have it, or the same one may be well again.
            (provider(FailureClass::ModelNotFound), true, false, Some(7)),
            (provider(FailureClass::InvalidRequest), false, false, Some(7)),
            (limited(Some(3)), true, false, Some(3)),
            (limited(None), true, false, None),
            (ErrorKind::NoProvider { reasons: vec![reason] }, true, false, None),
            (ErrorKind::NoProvider { reasons: Vec::new() }, false, false, None),
            (timeout(Some(hinted(FailureClass::Timeout))), true, false, Some(7)),
            (timeout(None), true, false, None),
            (cut, true, false, Some(7)),
            (ErrorKind::QueueFull { capacity: 1 }, true, false, None),
            (ErrorKind::Closed, false, true, None),
            (ErrorKind::Cancelled, false, true, None),
            (ErrorKind::Internal, false, false, None),
        ] {
            let error = Error::new(kind, "m");
            let said = (error.is_retryable(), error.is_cancellation(), error.retry_after().map(|wait| wait.as_secs()));
            assert_eq!(said, (again, left, wait), "{:?}", error.kind());
        }
        // The word of the provider goes over the table here as well.
        let mut failure = Failure::new(FailureClass::ModelNotFound, "m");
        failure.should_retry = Some(false);
        let moves_on = Error::new(ErrorKind::Provider { failure: failure.clone() }, "m");
        assert!(moves_on.is_retryable(), "elsewhere");
        failure.class = FailureClass::InvalidRequest;
        failure.should_retry = Some(true);
        assert!(Error::new(ErrorKind::Provider { failure }, "m").is_retryable(), "there");
    }

    #[test]
    fn the_failure_behind_a_limit_is_kept() {
        let failure = Some(Failure::new(FailureClass::RateLimit, "slow down"));
        let error = Error::new(ErrorKind::RateLimited { reset: None, failure: failure.clone() }, "m");
        assert_eq!(error.failure(), failure.as_ref());
        assert_eq!(Error::closed().failure(), None);
    }

    #[test]
    fn one_problem_stands_in_the_line_and_several_each_in_their_own() {
        let problem = |path: &str| Problem { path: path.to_owned(), message: "is wrong".to_owned() };
        let said = |problems: &[Problem]| Error::configuration(problems.to_vec()).to_string();
        assert_eq!(said(&[problem("a.b")]), "invalid configuration: a.b: is wrong");
        assert_eq!(said(&[problem("")]), "invalid configuration: is wrong");
        assert_eq!(
            said(&[problem("a"), problem("b")]),
            "invalid configuration, 2 problems:\n  - a: is wrong\n  - b: is wrong"
        );
    }

    #[test]
    fn a_class_is_found_by_its_name_and_by_nothing_else() {
        for class in FailureClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(serde_json::to_value(class).expect("a word"), class.as_str());
        }
        assert_eq!("no_such_class".parse::<FailureClass>(), Err(()));
    }

    #[test]
    fn the_providers_own_word_goes_over_the_table() {
        let mut failure = Failure::new(FailureClass::ServerError, "broken");
        assert!(failure.same_provider_again());
        failure.should_retry = Some(false);
        assert!(!failure.same_provider_again());
    }
}
