//! The caller's own function under the pool: what it is given, and what its error says.
//!
//! A function of the caller's takes the place of the pool's own wire for one attempt, and of nothing else: who is asked,
//! when, how often, and what an outcome means for the provider are decided where they are for a chat.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};

use super::attempt::{Order, say};
use super::lock;
use super::provider::Provider;
use super::roster::Roster;
use super::work::Work;
use crate::error::{Error, ErrorKind, Failure, FailureClass};
use crate::time::{self, Instant};
use crate::transport::Started;
use crate::types::{CallOptions, ChatRequest, Message, Reply, Role, Usage};

/// What an error of the caller's own function says about the provider it came from.
///
/// ```
/// use llmpool::{Classified, FailureClass, Fault};
/// let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
/// assert!(matches!(error.fault(), Fault::Failure(failure) if failure.class == FailureClass::Timeout));
/// ```
#[derive(Debug, Clone)]
pub enum Fault {
    /// What it means, already known.
    Failure(Failure),
    /// A reply with an error status, as it came: the pool reads it like one of its own.
    Reply { status: StatusCode, headers: HeaderMap, body: Bytes },
}

/// An error that can say what it means for the provider it came from. Errors of the caller's own making, which no
/// provider is to blame for, are a [`Failure`] of class [`FailureClass::InvalidRequest`]: thrown at once, asked nowhere
/// else.
///
/// It is implemented for what the pool itself knows: [`Failure`], [`Error`], [`HttpStatusError`], [`std::io::Error`] (a
/// broken connection, a timeout), and for `Box<dyn Error + Send + Sync>`, which is what the first of these in its chain of
/// causes says, or else the caller's own. Errors of other libraries are given a class where they come in:
///
/// ```
/// use llmpool::{Failure, FailureClass, LlmClient, LlmPoolBuilder, Turn};
///
/// async fn answer(turn: Turn) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
///     let body = match turn.provider() {
///         "nonsense" => "<html>",
///         _ => "42",
///     };
///     // A foreign error that the provider is to blame for. Without a class it would end the call.
///     let number = body.parse().map_err(|error| Failure::new(FailureClass::BadReply, format!("{error}")))?;
///     Ok(number)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), llmpool::Error> {
/// # let client = |name| LlmClient::builder("ollama", "llama3.2").name(name);
/// let pool = LlmPoolBuilder::new().client(1, client("nonsense")).client(2, client("sound")).build()?;
/// assert_eq!(pool.execute_request(answer).await?, 42);
/// # Ok(())
/// # }
/// ```
///
/// An error type of your own says it for each of its kinds:
///
/// ```
/// use llmpool::{Classified, Failure, FailureClass, Fault, HttpStatusError};
///
/// enum MyError {
///     Http(HttpStatusError),
///     BadJson(String),
/// }
///
/// impl Classified for MyError {
///     fn fault(&self) -> Fault {
///         match self {
///             Self::Http(error) => error.fault(),
///             Self::BadJson(why) => Failure::new(FailureClass::BadReply, why).fault(),
///         }
///     }
/// }
/// ```
pub trait Classified {
    fn fault(&self) -> Fault;
}

/// A reply with an error status, for functions that speak HTTP themselves.
///
/// ```
/// use llmpool::{Classified, Fault, HttpStatusError};
/// let status = http::StatusCode::SERVICE_UNAVAILABLE;
/// let error = HttpStatusError { status, headers: http::HeaderMap::new(), body: bytes::Bytes::new() };
/// assert_eq!(error.to_string(), "HTTP 503 Service Unavailable");
/// assert!(matches!(error.fault(), Fault::Reply { status: told, .. } if told == status));
/// ```
#[derive(Debug, Clone)]
pub struct HttpStatusError {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One turn at one provider, as the caller's own function is given it.
///
/// ```
/// # use llmpool::{Failure, LlmClient, LlmPoolBuilder, Turn};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = LlmClient::builder("openai", "gpt-4o").api_key("k").base_url("http://127.0.0.1:9/v1");
/// let pool = LlmPoolBuilder::new().client(1, client).build()?;
/// let own = async |turn: Turn| {
///     assert_eq!((turn.provider(), turn.model(), turn.attempt()), ("openai", "gpt-4o", 1));
///     assert_eq!((turn.api_key(), turn.base_url()), (Some("k"), "http://127.0.0.1:9/v1"));
///     assert!(!turn.time_left().is_zero());
///     Ok::<_, Failure>(())
/// };
/// pool.execute_request(own).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Turn {
    pub(super) provider: Arc<Provider>,
    pub(super) roster: Arc<Roster>,
    pub(super) key: u32,
    pub(super) model: Arc<str>,
    pub(super) attempt: u32,
    pub(super) ends: Instant,
    pub(super) usage: Arc<Mutex<Option<Usage>>>,
}

/// The caller's own function with its answer's type taken away: the answer is kept where the caller finds it.
pub trait Task: Send + Sync {
    fn run(&self, turn: Turn) -> BoxFuture<'_, Result<(), Fault>>;
}

// === impl Classified ===

impl Classified for Fault {
    fn fault(&self) -> Fault {
        self.clone()
    }
}

impl Classified for Failure {
    fn fault(&self) -> Fault {
        Fault::Failure(self.clone())
    }
}

impl Classified for HttpStatusError {
    fn fault(&self) -> Fault {
        let Self { status, headers, body } = self;
        Fault::Reply { status: *status, headers: headers.clone(), body: body.clone() }
    }
}

impl Classified for Error {
    /// An error of another pool: its last failure, or what comes nearest.
    fn fault(&self) -> Fault {
        let failure = self.failure().cloned().unwrap_or_else(|| {
            let class = match self.kind() {
                ErrorKind::RateLimited { .. } => FailureClass::RateLimit,
                ErrorKind::NoProvider { .. } | ErrorKind::Closed => FailureClass::Overloaded,
                ErrorKind::Timeout { .. } => FailureClass::Timeout,
                _ => FailureClass::InvalidRequest,
            };
            Failure { retry_after: self.retry_after(), ..Failure::new(class, self.to_string()) }
        });
        Fault::Failure(failure)
    }
}

impl Classified for std::io::Error {
    fn fault(&self) -> Fault {
        let class = match self.kind() {
            std::io::ErrorKind::TimedOut => FailureClass::Timeout,
            std::io::ErrorKind::InvalidData => FailureClass::BadReply,
            _ => FailureClass::Network,
        };
        Failure::new(class, self.to_string()).fault()
    }
}

impl Classified for Box<dyn std::error::Error + Send + Sync> {
    fn fault(&self) -> Fault {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self.as_ref());
        while let Some(error) = cause {
            if let Some(fault) = known(error) {
                return fault;
            }
            cause = error.source();
        }
        Failure::new(FailureClass::InvalidRequest, self.to_string()).fault()
    }
}

/// What an error says that the pool knows the type of.
fn known(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    let failure = error.downcast_ref::<Failure>().map(Classified::fault);
    let reply = || error.downcast_ref::<HttpStatusError>().map(Classified::fault);
    let of_a_pool = || error.downcast_ref::<Error>().map(Classified::fault);
    let io = || error.downcast_ref::<std::io::Error>().map(Classified::fault);
    failure.or_else(reply).or_else(of_a_pool).or_else(io)
}

impl fmt::Display for HttpStatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)
    }
}

impl std::error::Error for HttpStatusError {}

// === impl Turn ===

impl Turn {
    /// The provider's name in the pool.
    pub fn provider(&self) -> &str {
        self.provider.name().as_str()
    }

    /// The model to ask for, as this provider spells it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The key to use; `None` where the provider needs none.
    pub fn api_key(&self) -> Option<&str> {
        self.provider.config().keys.get(self.key as usize).map(|key| key.expose())
    }

    /// The root of its API, to which paths are joined: `https://api.openai.com/v1`.
    pub fn base_url(&self) -> &str {
        self.provider.endpoint().base_url().as_str().trim_end_matches('/')
    }

    /// Which attempt of the call this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it may still take.
    pub fn time_left(&self) -> Duration {
        self.ends.saturating_duration_since(time::now().mono)
    }

    /// Says what the answer used, so that tokens and money are booked.
    pub fn report_usage(&self, usage: Usage) {
        *lock(&self.usage) = Some(usage);
    }

    /// One exchange with this provider over the pool's own wire. Usage is reported by it.
    ///
    /// # Errors
    /// What went wrong, classified; `?` hands it to the pool.
    pub async fn chat(&self, request: &ChatRequest) -> Result<Reply, Failure> {
        let options = CallOptions::default();
        let order = Order {
            work: Work::Chat(request),
            options: &options,
            headers: &[],
            mask: self.roster.mask(),
            model: &self.model,
            without: &[],
            attempt: self.attempt,
            before: &[],
            schema: None,
            limits: self.roster.limits(),
            media: self.roster.media(),
            fetched: &Mutex::default(),
            roster: &self.roster,
            deadline: self.ends,
            started: Started::default(),
        };
        let reply =
            say(&self.provider, self.key, &order, request).await.map_err(|failure| order.mask.failure(failure))?;
        self.report_usage(self.provider.counter(&self.model).usage(request, &reply));
        Ok(reply)
    }

    /// The text of the answer to one prompt.
    ///
    /// # Errors
    /// As [`Turn::chat`].
    pub async fn complete(&self, prompt: impl Into<String>) -> Result<String, Failure> {
        Ok(self.chat(&ChatRequest::new(vec![Message::text(Role::User, prompt)])).await?.content)
    }
}

impl fmt::Debug for Turn {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (provider, model) = (self.provider(), self.model());
        f.debug_struct("Turn").field("provider", &provider).field("model", &model).finish_non_exhaustive()
    }
}
