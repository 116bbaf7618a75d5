//! One call from start to end: who is asked next, what is waited for, when it is over.
//!
//! 1. **Visits.** Every eligible provider, and every usable key of it, is asked at most once, in ranked order, without
//!    any sleep in between.
//! 2. **Waits and retries.** When nobody is left to visit, the soonest of two things happens: a provider that a limit
//!    kept back becomes free (costs nothing, it is still a first visit), or a provider that failed in a way that allows
//!    it is asked again (costs one of `max_retries` and a withdrawal from the pool's retry budget).
//! 3. **The repair.** A refusal that names one optional parameter is asked again at once without it, at the same
//!    provider and key; once per call.
//! 4. **The end.** The caller's own fault is thrown at once. When nothing is left, or nothing will be possible in time,
//!    the call fails at once with the reason and the exact wait; it never sleeps to find out.
//!
//! | file | what of it |
//! |---|---|
//! | `calls` | the calls that can be made, and what their answers become |
//! | `eligible` | who may answer at all |
//! | `order` | tier by tier, who comes first |
//! | `admission` | who of them has room now |
//! | `visit` | a provider as one call sees it |
//! | `ask` | one attempt with all that follows from it; `hedge`: two at once |
//! | `wait` | what could be done next, and the one place where a call waits |
//! | `errors` | which error the caller gets |
//! | `embed`, `headers`, `extra_body` | batches of embeddings; what is a call's own |

mod admission;
mod ask;
mod calls;
mod eligible;
mod embed;
mod errors;
mod explain;
mod extra_body;
mod headers;
mod hedge;
mod money;
mod order;
mod pick;
mod visit;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;
use tracing::Span;

use self::ask::{Asked, Call};
pub use self::calls::{Completed, Executed};
pub(super) use self::eligible::eligible_for;
use self::eligible::{Eligible, Rules};
use self::errors::no_provider;
pub use self::explain::{ExplainedProvider, Explanation, Outlook, RuleVerdict, Verdict};
use self::headers::call_headers;
pub(super) use self::hedge::Hedges;
use self::hedge::Hedging;
use self::money::CallSize;
use self::order::into_tiers;
pub(super) use self::order::{Chance, Wish};
use self::visit::Visit;
use self::wait::Standing;
use super::attempt::{Answer, allowed_time};
use super::line::Ticket;
use super::mask::Mask;
use super::permit::Permit;
use super::purse::Purse;
use super::roster::Roster;
use super::stream::Handover;
use super::tenants::Tenant;
use super::work::Work;
use super::{Engine, lock};
use crate::error::{Context, Error, ErrorKind, Failure, Phase};
use crate::event::{Event, EventKind, EventLog, trace};
use crate::metrics::Route;
use crate::policy::{Pace, Transition};
use crate::schema::Schema;
use crate::time::{self, Instant, Now};
use crate::types::{AttemptRecord, CallOptions, FieldError, Meter, ProviderName, RequestId, ResponseFormat};

struct Run<'a> {
    engine: &'a Engine,
    roster: &'a Arc<Roster>,
    route: Route,
    log: &'a mut EventLog,
    request_id: RequestId,
    started: Now,
    deadline: Instant,
    /// The time of the call.
    allowed: Duration,
    /// Its deadline is not set before its first attempt.
    unhurried: bool,
    max_retries: u32,
    failover: bool,
    wish: Wish<'a>,
    /// So many visits are in their final order.
    ordered: usize,
    retries: u32,
    trail: Vec<AttemptRecord>,
    /// The prompt was too long for a window of so many tokens.
    window_above: Option<u64>,
    /// The largest known window of all who may answer.
    largest_window: Option<u64>,
    /// Lines of the trail whose attempts are under way: one, or two when a call is hedged.
    asking: [Option<Asked>; 2],
    /// How it may be sent a second time; `None` also once it was.
    hedge: Option<Hedging>,
    hedged: bool,
    warnings: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    mask: Arc<Mask>,
    errors: u32,
    excluded: Vec<ProviderName>,
    last: Option<(ProviderName, String, Failure)>,
    /// Why a provider's dialect could not say the request.
    unsendable: Option<FieldError>,
    /// A parameter that a provider refused was left out: that is done once.
    repaired: bool,
    /// What the answer must fit, compiled once.
    schema: Option<Arc<Schema>>,
    /// Answers that did not.
    violations: u32,
    /// The visit that has given a batch and is to give the next one.
    stay: Option<usize>,
    /// How large it is; only where a limit of tokens or a budget wants to know.
    size: Option<CallSize>,
    /// The pool's budget.
    purse: Option<Arc<Purse>>,
    /// Where all it costs is added up, if anybody asks.
    meter: Option<Meter>,
    /// On whose behalf, where that is a tenant of the configuration.
    tenant: Option<&'a Tenant>,
    /// The same as the caller has it.
    on_behalf_of: Option<&'a str>,
    /// Its caller is a tenant's client, whom the pool's own money is nothing to.
    by_stranger: bool,
    /// When the backoff before the next retry ends, once there is one.
    backoff_until: Option<Instant>,
    /// The retry budget was asked for the retry that is waited for.
    paid: bool,
    /// Its place wherever calls stand in line: since when it is there. `None`: it waits for nothing.
    ticket: Option<Ticket>,
    /// First visits are left, and no slot of the pool is free for them: which is the first.
    pool_is_full_for: Option<usize>,
    /// In line now.
    standing: Option<Standing<'a>>,
    /// Waited since the last line of the trail.
    waited: Duration,
    /// Waited for capacity, in all.
    queued: Duration,
    /// All waits and upstream time, to be taken from the latency for the pool's own overhead.
    not_ours: Duration,
    /// The totals know how it ended.
    closed: bool,
}

impl<'a> Run<'a> {
    /// A call, from here on on the books of the pool.
    fn new(
        engine: &'a Engine,
        roster: &'a Arc<Roster>,
        route: Route,
        options: &'a CallOptions,
        warnings: Vec<String>,
        log: &'a mut EventLog,
    ) -> Self {
        let mut run = Self::off_the_books(engine, roster, route, options, log);
        run.closed = false;
        // From its beginning on, so that a call whose attempt failed does not wait behind those that came after it.
        run.ticket = Some(engine.tickets.draw());
        run.warnings = warnings;
        lock(&engine.tally).started();
        run.hedge = Hedging::of(options, roster.limits().qos.hedge.as_ref()).filter(|_| run.failover);
        if run.tenant.and_then(|tenant| tenant.config().max_parallel) == Some(1) {
            run.hedge = None;
        }
        if run.hedge.is_some_and(|hedging| !hedging.free) {
            lock(&engine.hedges).budget.call();
        }
        run.log.begin(trace::call(route.as_str(), &run.request_id));
        run
    }

    /// In which the call is traced.
    fn span(&self) -> Span {
        self.log.span().clone()
    }

    /// The same without a trace in the pool.
    fn off_the_books(
        engine: &'a Engine,
        roster: &'a Arc<Roster>,
        route: Route,
        options: &'a CallOptions,
        log: &'a mut EventLog,
    ) -> Self {
        let now = time::now();
        let started = Now { mono: options.submitted.map_or(now.mono, Instant::from_std), ..now };
        let routing = roster.routing();
        let tenant = roster.tenant_of(options).map(Arc::as_ref);
        let allowed = roster.longest(options);
        let unhurried = options.deadline_from_first_attempt;
        let longest_wait = if unhurried { routing.queue_timeout } else { Duration::ZERO };
        Self {
            engine,
            roster,
            route,
            log,
            request_id: options.request_id.clone().unwrap_or_else(RequestId::random),
            deadline: started.mono + longest_wait + allowed,
            allowed,
            unhurried,
            started,
            max_retries: options.max_retries.unwrap_or(routing.max_retries),
            failover: options.failover.unwrap_or(routing.enable_failover),
            wish: Wish {
                behaviour: options.behaviour.unwrap_or(routing.behaviour),
                session: options.session.as_deref(),
                pace: if matches!(route, Route::Stream) { Pace::FirstContent } else { Pace::Whole },
            },
            ordered: 0,
            retries: 0,
            trail: Vec::new(),
            window_above: None,
            largest_window: None,
            asking: [None; 2],
            hedge: None,
            hedged: false,
            warnings: Vec::new(),
            headers: Vec::new(),
            mask: Arc::clone(roster.mask()),
            errors: 0,
            excluded: Vec::new(),
            last: None,
            unsendable: None,
            repaired: false,
            stay: None,
            size: None,
            purse: engine.purse.load_full(),
            meter: options.meter.clone(),
            tenant,
            on_behalf_of: options.tenant.as_deref(),
            by_stranger: options.by_credential && options.tenant.is_some(),
            backoff_until: None,
            paid: false,
            ticket: None,
            pool_is_full_for: None,
            standing: None,
            schema: None,
            violations: 0,
            waited: Duration::ZERO,
            queued: Duration::ZERO,
            not_ours: Duration::ZERO,
            closed: true,
        }
    }

    /// The first answer that comes, and who gave it.
    async fn first(&mut self, work: Work<'_>, options: &CallOptions) -> Result<(Answer, ProviderName), Error> {
        let mut visits = self.begin(work, options)?;
        let (answer, at) = self.drive(&mut visits, &Call::new(work, options)).await?;
        Ok((answer, visits[at].provider.name().clone()))
    }

    /// Reads what is the call's own, and finds who may answer.
    fn begin(&mut self, work: Work<'_>, options: &CallOptions) -> Result<Vec<Visit>, Error> {
        self.read(work, options)?;
        let Eligible { visits, excluded } = Rules::new(self.roster, work, options)?.eligible(self.roster);
        if visits.is_empty() {
            return Err(no_provider(excluded));
        }
        if visits.iter().all(|visit| allowed_time(&visit.provider, options, self.roster.limits()).is_zero()) {
            return Err(self.no_time());
        }
        lock(&self.engine.tally).planned(self.wish.behaviour.as_str());
        Ok(self.set_up(visits, work))
    }

    /// The call's own headers, what it adds to the body, and its schema.
    fn read(&mut self, work: Work<'_>, options: &CallOptions) -> Result<(), Error> {
        extra_body::check(work)?;
        self.headers = call_headers(options, &mut self.warnings)?;
        if !self.headers.is_empty() {
            // Which of a caller's headers is a password is known only to the caller.
            self.mask = Arc::new(self.mask.with(options.headers.iter().map(|(_, value)| value.as_str())));
        }
        if let Some(ResponseFormat::JsonSchema(format)) = work.request().and_then(|call| call.response_format.as_ref())
        {
            self.schema = Some(Arc::new(Schema::compile(format.get("schema").unwrap_or(&Value::Null))?));
        }
        Ok(())
    }

    /// Puts the visits into tiers, with what is to be known before they are asked.
    fn set_up(&mut self, mut visits: Vec<Visit>, work: Work<'_>) -> Vec<Visit> {
        self.size = CallSize::wanted(work, &visits, self.purse.as_deref(), self.tenant);
        self.largest_window = visits.iter().filter_map(|visit| visit.window).max();
        into_tiers(&mut visits, self.wish.behaviour);
        visits
    }

    /// The loop. The answer is that of one attempt, with the place of the visit that made it.
    async fn drive(&mut self, visits: &mut [Visit], call: &Call<'_>) -> Result<(Answer, usize), Error> {
        let mut options = Vec::new();
        loop {
            let now = time::now();
            let waited_for = std::mem::take(&mut options);
            if now.mono >= self.deadline {
                return Err(self.out_of_time());
            }
            if let Some((at, admitted)) = self.next_visit(visits, now) {
                let answer = match self.hedge_after(&visits[at], call.work) {
                    None => self.ask(&mut visits[at], admitted, now.mono, call).await?.map(|answer| (answer, at)),
                    // Boxed, so that calls without a hedge do not carry the room for two attempts.
                    Some(after) => Box::pin(self.ask_hedged(visits, at, admitted, now.mono, after, call)).await?,
                };
                match answer {
                    Some(answer) => return Ok(answer),
                    None => continue,
                }
            }
            if let Some((at, admitted)) = self.next_retry(visits, &waited_for, now) {
                match self.ask(&mut visits[at], admitted, now.mono, call).await? {
                    Some(answer) => return Ok((answer, at)),
                    None => continue,
                }
            }
            options = self.options(visits, now);
            let Some(first) = options.first() else {
                if self.failover && self.stay.take().is_some() {
                    continue; // what it gave so far does not mix with another's: that one begins anew
                }
                return Err(self.exhausted(visits, now));
            };
            if first.retry && !self.pay_for_retry(&visits[first.at], now) {
                continue; // a first visit that is still to come draws on nothing and may yet answer
            }
            self.wait(&options, visits).await?;
        }
    }

    /// Books a call that ended without an answer, and says in its error what was tried.
    fn give_context(&mut self, error: Error) -> Error {
        let now = time::now();
        self.engine.teller.tell(self.log);
        for Asked { line, since, .. } in self.asking.into_iter().flatten() {
            if let Some(line) = self.trail.get_mut(line) {
                line.latency = now.mono.duration_since(since);
            }
        }
        // A call that was ended from outside stays what its drop makes of it: cancelled.
        if !error.is_cancellation() {
            self.closed = true;
            let out_of_time = matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. });
            let duration = now.mono.duration_since(self.started.mono);
            lock(&self.engine.tally).failed(now.unix_ms, self.route, duration, out_of_time);
        }
        let context = error.context().clone();
        let error = error.with_context(Context {
            request_id: Some(self.request_id.clone()),
            attempts: std::mem::take(&mut self.trail),
            ..context
        });
        self.log.span().in_scope(|| trace::failed(&error));
        error
    }

    fn handover(&mut self) -> Handover {
        self.closed = true;
        Handover {
            request_id: self.request_id.clone(),
            tenant: self.on_behalf_of.map(str::to_owned),
            started: self.started.mono,
            deadline: self.deadline,
            trail: std::mem::take(&mut self.trail),
            warnings: std::mem::take(&mut self.warnings),
            mask: Arc::clone(&self.mask),
            errors: self.errors,
            excluded: std::mem::take(&mut self.excluded),
            schema: self.schema.take(),
            hedged: self.hedged,
            meter: self.meter.clone(),
            own_time: time::now().mono.duration_since(self.started.mono).saturating_sub(self.not_ours),
        }
    }
}

impl Drop for Run<'_> {
    /// A run that is dropped on its way was cancelled.
    fn drop(&mut self) {
        if !self.closed {
            lock(&self.engine.tally).cancelled(time::unix_ms(), self.route);
        }
    }
}

type Admitted = (Permit, Option<Transition>);

pub(super) fn tell(log: &mut EventLog, provider: &ProviderName, moved: Transition) {
    let provider = provider.clone();
    match moved {
        Transition::Opened { reason, retry_at } => {
            let retry_at = unix_ms_of(retry_at, time::now());
            log.emit(EventKind::CircuitOpen, || Event::CircuitOpen { provider, reason, retry_at });
        }
        Transition::HalfOpened => log.emit(EventKind::CircuitHalfOpen, || Event::CircuitHalfOpen { provider }),
        Transition::Closed => log.emit(EventKind::CircuitClose, || Event::CircuitClose { provider }),
    }
}

/// A point of the monotonic clock on the wall's, rounded up: whoever comes at that moment does not come too early.
pub(super) fn unix_ms_of(at: Instant, now: Now) -> u64 {
    const NANOS_PER_MS: u128 = 1_000_000;
    let ahead = at.saturating_duration_since(now.mono).as_nanos().div_ceil(NANOS_PER_MS);
    now.unix_ms.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
}
