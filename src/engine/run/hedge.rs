//! A call that is sent twice: what has not answered after a while is asked of another provider as well, and the first
//! good answer wins. For a stream that is the first content.
//!
//! Never the same provider, once per call, and only while the pool's bucket of copies has one. A failure of one of the
//! two is not the end while the other one runs, unless the call itself is to blame. Whoever is left when an answer has
//! come is cancelled: its socket closes, and it is booked at what it may have cost.
//!
//! Where the copy is what was asked for (`FASTEST`), an answer that [is not whole](Worth) and a fault of the call's own
//! wait for the other one too, and stand behind what it says. Any other call has taken such an answer before there were
//! copies, and takes it at once: a copy makes it no slower. Nobody third is asked when the copy fails first.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};

use super::ask::{Asked, Call, Ended};
use super::visit::Visit;
use super::{Admitted, Run};
use crate::engine::attempt::{Answer, Missed, Order, attempt};
use crate::engine::lock;
use crate::engine::permit::Permit;
use crate::engine::work::Work;
use crate::error::{Error, Scope};
use crate::policy::{HedgeAfter, HedgeBudget, HedgeParams};
use crate::time::{self, Instant, Now};
use crate::tokens::PromptSize;
use crate::transport::Started;
use crate::types::{AttemptOutcome, CallOptions, NanoUsd, Usage, Worth};

/// The second copies of a pool: what is left of them, and what became of those that went out.
#[derive(Debug)]
pub(in crate::engine) struct Hedges {
    pub budget: HedgeBudget,
    /// They answered, and the first copy had not.
    pub won: u64,
    /// They ended in another way.
    pub lost: u64,
    /// What the copies that were left may have cost, as far as prices are known.
    pub cost: NanoUsd,
}

impl Hedges {
    pub fn new(params: Option<&HedgeParams>) -> Self {
        Self { budget: bucket(params), won: 0, lost: 0, cost: NanoUsd(0) }
    }

    /// Another bucket; what became of the copies so far stays.
    pub fn renew(&mut self, params: Option<&HedgeParams>) {
        self.budget = bucket(params);
    }

    fn ended(&mut self, won: bool, wasted: Option<NanoUsd>) {
        if won {
            self.won += 1;
        } else {
            self.lost += 1;
        }
        self.cost = self.cost.saturating_add(wasted.unwrap_or(NanoUsd(0)));
    }
}

/// When a call is sent a second time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hedging {
    after: HedgeAfter,
    /// Part of what was asked for, and not out of the pool's bucket of copies.
    pub free: bool,
}

impl Hedging {
    /// What the call says of itself goes over what holds for all.
    pub fn of(options: &CallOptions, params: Option<&HedgeParams>) -> Option<Self> {
        match options.hedge_after {
            Some(after) => Some(Self { after: HedgeAfter::Fixed(after), free: true }),
            None => params.map(|params| Self { after: params.after, free: false }),
        }
    }
}

fn bucket(params: Option<&HedgeParams>) -> HedgeBudget {
    HedgeBudget::new(params.map_or(0.0, |params| params.budget))
}

/// One of the two.
struct Copy<'c> {
    /// Which visit it is.
    at: usize,
    asked: Asked,
    started: Started,
    attempt: BoxFuture<'c, Result<Answer, Missed>>,
}

impl<'a> Run<'a> {
    /// How long this visit is waited for before another provider is asked as well. `None`: it is not hedged.
    pub(super) fn hedge_after(&self, visit: &Visit, work: Work<'_>) -> Option<Duration> {
        // A function of the caller's own may do what must not be done twice.
        work.request()?;
        visit.provider.hedge_after(self.hedge?.after, work.pace())
    }

    /// One visit, hedged. `None`: go on.
    pub(super) async fn ask_hedged(
        &mut self,
        visits: &mut [Visit],
        at: usize,
        admitted: Admitted,
        now: Instant,
        after: Duration,
        call: &Call<'_>,
    ) -> Result<Option<(Answer, usize)>, Error> {
        let (permit, asked) = self.set_out(&mut visits[at], admitted, now);
        let mut first = self.copy(&visits[at], at, permit, asked, call);
        if let Ok(attempted) = time::until(Some(now + after), &mut first.attempt).await {
            return self.follow(visits, at, asked, attempted, call).await;
        }
        let is_wanted = self.hedge.is_some_and(|hedging| hedging.free);
        let Some(second) = self.second_copy(visits, at, call) else {
            let attempted = first.attempt.await;
            return self.follow(visits, at, asked, attempted, call).await;
        };
        self.race(visits, first, second, is_wanted, call).await
    }

    /// The copy for another provider, if there is one that can be asked and the bucket has one left.
    fn second_copy<'c>(&mut self, visits: &mut [Visit], first: usize, call: &'c Call<'_>) -> Option<Copy<'c>>
    where
        'a: 'c,
    {
        let free = self.hedge.is_some_and(|hedging| hedging.free);
        if !free && !lock(&self.engine.hedges).budget.has_one() {
            return None;
        }
        let now = time::now();
        let (at, admitted) = self.second_visit(visits, first, now)?;
        {
            let mut hedges = lock(&self.engine.hedges);
            if !free && !hedges.budget.withdraw() {
                return None;
            }
        }
        lock(&self.engine.tally).hedged(now.unix_ms);
        self.hedge = None;
        self.hedged = true;
        let name = visits[first].provider.name();
        self.log.debug(|| format!("{name}: no answer yet, {} is asked as well", visits[at].provider.name()));
        let (permit, asked) = self.set_out(&mut visits[at], admitted, now.mono);
        Some(self.copy(&visits[at], at, permit, asked, call))
    }

    /// Another provider that can be asked now. A copy waits for nothing: it takes a slot of the pool and a place of a
    /// provider only where nobody stands in line for them, and spares whoever says that nothing is left.
    fn second_visit(&mut self, visits: &mut [Visit], first: usize, now: Now) -> Option<(usize, Admitted)> {
        let ticket = self.ticket.take();
        // Another key of the same provider would be no other provider.
        let visited = std::mem::replace(&mut visits[first].visited, true);
        let mut slot = self.slot().ok();
        let next = slot.is_some().then(|| self.visit_in_order(visits, now, &mut slot, true)).flatten();
        visits[first].visited = visited;
        self.ticket = ticket;
        next
    }

    /// An attempt that borrows nothing of the run, which is needed meanwhile.
    fn copy<'c>(&self, visit: &Visit, at: usize, permit: Permit, asked: Asked, call: &'c Call<'_>) -> Copy<'c>
    where
        'a: 'c,
    {
        let started = Started::default();
        let (headers, mask, deadline) = (self.headers.clone(), Arc::clone(&self.mask), self.deadline);
        let (roster, limits, media) = (self.roster, self.roster.limits(), self.roster.media());
        let (number, schema) = (self.errors + 1, self.schema.clone());
        let (model, without, sent) = (visit.model.clone(), visit.without.clone(), started.clone());
        let attempt = Box::pin(async move {
            let order = Order {
                work: call.work,
                options: call.options,
                headers: &headers,
                mask: &mask,
                model: &model,
                without: &without,
                attempt: number,
                before: &[],
                schema: schema.as_deref(),
                limits,
                media,
                fetched: &call.fetched,
                roster,
                deadline,
                started: sent,
            };
            attempt(permit, &order).await
        });
        Copy { at, asked, started, attempt }
    }

    /// The first good answer of two. `is_wanted`: the copy is what was asked for, and no answer is good that is not whole.
    async fn race(
        &mut self,
        visits: &mut [Visit],
        first: Copy<'_>,
        second: Copy<'_>,
        is_wanted: bool,
        call: &Call<'_>,
    ) -> Result<Option<(Answer, usize)>, Error> {
        let (began, copy_at, before) = (first.asked.since, second.at, self.not_ours);
        let (one, two) = ((first.at, first.asked, first.started), (second.at, second.asked, second.started));
        let (mut attempted, mut came, mut other, rest) = match select(first.attempt, second.attempt).await {
            Either::Left((attempted, rest)) => (attempted, one, two, rest),
            Either::Right((attempted, rest)) => (attempted, two, one, rest),
        };
        let ended = time::now().mono;
        let wasted;
        let mut held = Duration::ZERO;
        if leaves_hope(&attempted) || is_wanted && Rank::of(&attempted, call).may_be_bettered() {
            let mut gone = rest.await;
            let (earlier, later) = (Rank::of(&attempted, call), Rank::of(&gone, call));
            // Of two answers of one worth the first; of two failures the last, as ever when one failed behind another.
            if later < earlier || later == earlier && attempted.is_err() {
                std::mem::swap(&mut attempted, &mut gone);
                std::mem::swap(&mut came, &mut other);
            } else {
                held = time::now().mono.duration_since(ended);
            }
            wasted = cost_of(&gone);
            let ended = self.set_aside(&mut visits[other.0], other.1, gone, call);
            // One failure too many ends the call, but not where the other one has an answer or the better reason.
            if Rank::of(&attempted, call) > Rank::Fault {
                ended?;
            }
        } else {
            drop(rest);
            let (at, asked, started) = other;
            wasted = self.leave(&visits[at], asked, &started, call);
        }
        let (at, asked, _) = came;
        lock(&self.engine.hedges).ended(attempted.is_ok() && at == copy_at, wasted);
        // What the two took together, and not one behind the other.
        self.not_ours = before + asked.since.duration_since(began) + held;
        self.follow(visits, at, asked, attempted, call).await
    }

    /// Books the one of two that is not followed. It is not repaired: what can be done is done for the other one.
    fn set_aside(
        &mut self,
        visit: &mut Visit,
        asked: Asked,
        attempted: Result<Answer, Missed>,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let repaired = std::mem::replace(&mut self.repaired, true);
        let ended = self.end(visit, asked, attempted, call);
        self.repaired = repaired;
        ended.map(|_| ())
    }

    /// Books the copy that was left. What it may have cost, when it went out at a known price.
    fn leave(&mut self, visit: &Visit, asked: Asked, started: &Started, call: &Call<'_>) -> Option<NanoUsd> {
        self.forget(asked);
        let latency = time::now().mono.duration_since(asked.since);
        self.book_line(asked, AttemptOutcome::Cancelled, latency, None);
        let request = call.work.request().filter(|_| started.is_set())?;
        let prompt = visit.provider.counter(&visit.model).estimate(&PromptSize::of(request));
        let usage = Usage { estimated: true, ..Usage::reported(prompt, 0) };
        visit.provider.cost(&visit.model, &usage, time::unix_ms())
    }

    /// The end of an attempt with all that follows from it.
    async fn follow(
        &mut self,
        visits: &mut [Visit],
        at: usize,
        asked: Asked,
        attempted: Result<Answer, Missed>,
        call: &Call<'_>,
    ) -> Result<Option<(Answer, usize)>, Error> {
        let visit = &mut visits[at];
        let answer = match self.end(visit, asked, attempted, call)? {
            Ended::Answered(answer) => Some(answer),
            Ended::Repaired(admitted) => self.ask(visit, admitted, time::now().mono, call).await?,
            Ended::GoOn => None,
        };
        Ok(answer.map(|answer| (answer, at)))
    }
}

/// It failed, and another provider may still answer.
fn leaves_hope(attempted: &Result<Answer, Missed>) -> bool {
    attempted.as_ref().is_err_and(leaves_hope_of)
}

fn leaves_hope_of(missed: &Missed) -> bool {
    match missed {
        Missed::OutOfTime { .. } => false,
        Missed::Unsendable(_) => true,
        Missed::Failed { failure, .. } => failure.class.scope() != Scope::Caller,
    }
}

/// How an attempt of two ended, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Answered(Worth),
    /// The call itself is to blame: no other failure says more.
    Fault,
    OutOfTime,
    Failed,
}

impl Rank {
    fn of(attempted: &Result<Answer, Missed>, call: &Call<'_>) -> Self {
        match attempted {
            Ok(Answer::Whole(whole)) => {
                let worth = |request| Worth::of(&whole.reply, whole.parsed.is_some(), request);
                Self::Answered(call.work.request().map_or(Worth::Whole, worth))
            }
            // What begins to come cannot be known to the end.
            Ok(Answer::Stream(_) | Answer::Vectors(_) | Answer::Own(_)) => Self::Answered(Worth::Whole),
            Err(Missed::OutOfTime { .. }) => Self::OutOfTime,
            Err(missed) if leaves_hope_of(missed) => Self::Failed,
            Err(_) => Self::Fault,
        }
    }

    /// Is it worth waiting for the other one?
    fn may_be_bettered(self) -> bool {
        !matches!(self, Self::Answered(Worth::Whole) | Self::OutOfTime)
    }
}

/// What an answer cost that is known to be there.
fn cost_of(attempted: &Result<Answer, Missed>) -> Option<NanoUsd> {
    match attempted {
        Ok(Answer::Whole(whole)) => whole.cost,
        _ => None,
    }
}
