//! One provider with its live state, behind one short lock.
//!
//! Everything that can change is changed in two places: [`Provider::admit`] reserves a key, a request and tokens under
//! each limit and a slot, or says why not and until when; `book` (reached through the permit only) corrects them by the outcome.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::key_parts::of_provider;
use super::line::{Line, Ticket};
use super::lock;
use super::models::{Model, Models};
use super::permit::{Dispatch, Hold, Outcome, Permit, Spent};
use super::purse::{Bill, Extent, Purse, Purses, Till};
use super::refusal::Refusal;
use super::tenants::{Room, Tenant};
use crate::adapter::{Endpoint, Quota, RateHeaders};
use crate::cache::Key;
use crate::config::ProviderConfig;
use crate::error::{FailureClass, MAX_HINT, Phase, Problem, Scope};
use crate::metrics::{Mark, ProviderTally};
use crate::policy::{
    BackoffParams, Breaker, CircuitState, DayCounts, Fit, HedgeAfter, KeyRing, KeysResting, Learned, Limited, Load,
    Pace, RateLimiter, Remaining, Said, Tokens, Transition, Verdict,
};
use crate::time::{Instant, Now};
use crate::tokens::Counter;
use crate::transport::Transport;
use crate::types::{NanoUsd, ProviderName, Usage};

/// How long a model that a provider says it does not have is not asked there again. Deployments appear within
/// minutes; asking at every call would cost a round trip each time.
const MODEL_REST: Duration = Duration::from_secs(5 * 60);

pub struct Provider {
    config: ProviderConfig,
    endpoint: Endpoint,
    /// What every request carries, one per key; a provider that needs none has one without a key.
    headers: Vec<Arc<HeaderMap>>,
    /// By which answers that were kept are told apart.
    key_part: Key,
    /// `None` after a shutdown, which closes the connections by letting go of their client.
    transport: ArcSwapOption<Arc<dyn Transport>>,
    /// Active checks found it broken: whoever is not is asked first. Shared like its state, and read without its lock.
    unhealthy: Arc<AtomicBool>,
    /// How long a rate answer without a hint rests its key, so that the calls behind it go elsewhere at once. Not longer
    /// than the shortest wait before a retry, or the retry would find the key still resting.
    unhinted_rest: Duration,
    models: Models,
    /// Its own budget, if it has one; empty until its roster comes into force.
    purse: OnceLock<Arc<Purse>>,
    /// Shared with the provider of an earlier roster, where nothing that was counted means anything else now.
    state: Arc<Mutex<State>>,
    /// Calls that wait for it; shared like its state, whose changes they wait for.
    pub(super) line: Arc<Line>,
}

struct State {
    breaker: Breaker,
    rate: RateLimiter,
    keys: KeyRing,
    /// Why each key last rested.
    key_rest_class: Vec<FailureClass>,
    /// Models this provider said it does not have, until when they are believed missing.
    missing_models: Vec<(String, Instant)>,
    in_flight: u32,
    /// Requests so far: their numbers tell which of two replies is the newer one.
    admitted: u64,
    /// What the replies to each key say is left.
    learned: Vec<Learned>,
    /// Active checks that failed in a row.
    failed_checks: u32,
    /// The program says that something is wrong with it.
    marked: Option<Marked>,
    load: Load,
    /// Belongs to the provider's name: one that a reload builds anew goes on where this one is.
    tally: Arc<Mutex<ProviderTally>>,
}

/// How long a mark of the program's holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    /// `None`: until it is cleared.
    pub until: Option<Instant>,
}

/// What a call wants of a provider.
pub(super) struct Asking<'a> {
    pub model: &'a str,
    /// Keys this call has used there; they are passed over.
    pub tried: &'a [u32],
    /// Not looked at where the provider limits no tokens.
    pub tokens: Tokens,
    /// Since when it waits; `None`: it has only just come.
    pub ticket: Option<Ticket>,
    /// Passes over a provider that says it has nothing left: others are asked first.
    pub sparing: bool,
    /// The pool's budget.
    pub purse: Option<Arc<Purse>>,
    /// On whose behalf; `None`: nobody's.
    pub tenant: Option<&'a Tenant>,
    /// Looked at by budgets and by a tenant's limit of tokens.
    pub extent: Extent,
}

impl Asking<'_> {
    fn room_of_tenant(&self, model: &Model, now: Now) -> Result<Option<Room<'_>>, Refusal> {
        self.tenant.map_or(Ok(None), |tenant| tenant.room(now, self.extent.likely(model)))
    }
}

impl Provider {
    /// Builds a provider from checked parameters. What only the adapter can check comes back as problems under `path`.
    /// The live state of `before`, the provider of this name so far, goes over where it still holds.
    pub fn new(
        config: ProviderConfig,
        path: &str,
        transport: Arc<dyn Transport>,
        backoff: &BackoffParams,
        history_limit: usize,
        before: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        let problem = |field: &str, message: String| vec![Problem { path: format!("{path}.{field}"), message }];
        let endpoint = Endpoint::new(config.endpoint_params()).map_err(|error| problem(error.field, error.message))?;
        let mut headers = Vec::with_capacity(config.keys.len().max(1));
        for key in &config.keys {
            let (name, value) = endpoint.auth(key.expose()).map_err(|error| problem(error.field, error.message))?;
            let mut with_key = endpoint.headers().clone();
            with_key.insert(name, value);
            headers.push(Arc::new(with_key));
        }
        if headers.is_empty() {
            headers.push(Arc::new(endpoint.headers().clone()));
        }
        let models = Models::of(&config).map_err(|message| problem("tokenizer", message))?;
        let (state, line, unhealthy) = match before.filter(|before| before.config.same_upstream(&config)) {
            Some(before) => {
                served(&config).for_each(|model| lock(&before.tally()).serve(model));
                (Arc::clone(&before.state), Arc::clone(&before.line), Arc::clone(&before.unhealthy))
            }
            None => {
                let mut tally = ProviderTally::new(history_limit);
                served(&config).for_each(|model| tally.serve(model));
                let state = State {
                    breaker: Breaker::new(config.breaker.clone()),
                    rate: RateLimiter::new(config.rate.clone()),
                    keys: KeyRing::new(headers.len()),
                    key_rest_class: vec![FailureClass::RateLimit; headers.len()],
                    missing_models: Vec::new(),
                    in_flight: 0,
                    admitted: 0,
                    learned: vec![Learned::default(); headers.len()],
                    failed_checks: 0,
                    marked: None,
                    load: Load::default(),
                    tally: Arc::new(Mutex::new(tally)),
                };
                (Arc::new(Mutex::new(state)), Arc::default(), Arc::default())
            }
        };
        Ok(Self {
            unhinted_rest: backoff.delay(0, 0.0),
            endpoint,
            headers,
            key_part: of_provider(&config),
            transport: ArcSwapOption::from_pointee(transport),
            models,
            purse: OnceLock::new(),
            state,
            line,
            unhealthy,
            config,
        })
    }

    pub fn config(&self) -> &ProviderConfig {
        &self.config
    }

    pub fn name(&self) -> &ProviderName {
        &self.config.name
    }

    pub(super) fn key_part(&self) -> &Key {
        &self.key_part
    }

    pub fn priority(&self) -> u32 {
        self.config.priority
    }

    /// Would a provider of these parameters be this one?
    pub(super) fn is(&self, config: &ProviderConfig, backoff: &BackoffParams) -> bool {
        self.config == *config && self.unhinted_rest == backoff.delay(0, 0.0)
    }

    /// Do the two count in one place?
    pub(super) fn lives_on(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.state, &before.state)
    }

    /// As active checks say; without them every provider is.
    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Books an active check. Tells whether it moved the breaker and whether it changed the provider's health: a good one
    /// ends an open period early, so many failed ones in a row put it behind the others. What a mark says of it goes
    /// before what checks say.
    pub(super) fn checked(&self, is_up: bool, failures: u32, now: Instant) -> (Option<Transition>, bool) {
        let mut state = lock(&self.state);
        state.failed_checks = if is_up { 0 } else { state.failed_checks.saturating_add(1) };
        let moved = if is_up { state.breaker.probe_now() } else { None };
        let unhealthy = !is_up && (state.failed_checks >= failures || !self.is_healthy());
        let changed = self.unhealthy.swap(unhealthy, Ordering::Relaxed) != unhealthy;
        (moved, changed && state.marked(now).is_none())
    }

    /// Passes it over for so long (`None`: until the mark is cleared), whatever it was before. Calls under way at it end
    /// as they began; calls that wait for it look elsewhere. `None`: no time at all, which changes nothing.
    pub(super) fn mark(&self, cooldown: Option<Duration>, now: Instant) -> Option<Marked> {
        if cooldown.is_some_and(|cooldown| cooldown.is_zero()) {
            return None;
        }
        let marked = Marked { until: cooldown.map(|cooldown| now + cooldown.min(MAX_HINT)) };
        lock(&self.state).marked = Some(marked);
        self.line.wake();
        Some(marked)
    }

    /// Ends the mark. False: there was none.
    pub(super) fn clear_mark(&self, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let was_marked = state.marked(now).is_some();
        state.marked = None;
        was_marked
    }

    /// What the last checks said holds no more.
    pub(super) fn forget_checks(&self) {
        lock(&self.state).failed_checks = 0;
        self.unhealthy.store(false, Ordering::Relaxed);
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `None` once the pool is shut down.
    pub(super) fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.transport.load().as_deref().map(Arc::clone)
    }

    /// Lets go of the connections. Only for a provider that nobody asks any more.
    pub(super) fn disconnect(&self) {
        self.transport.store(None);
    }

    /// The headers of a request by that key. A call's own go over the configured ones; none of them is the key's
    /// (`engine/run/headers.rs` sees to that).
    pub(super) fn headers(&self, key: u32, own: &[(HeaderName, HeaderValue)]) -> Arc<HeaderMap> {
        let Some(usual) = self.headers.get(key as usize) else { return Arc::default() };
        if own.is_empty() {
            return Arc::clone(usual);
        }
        let mut headers = HeaderMap::clone(usual);
        for (name, value) in own {
            headers.insert(name, value.clone());
        }
        Arc::new(headers)
    }

    /// The provider's name for what the caller asked for; `None` when it does not serve that.
    pub fn resolve_model(&self, asked: Option<&str>) -> Option<&str> {
        let ProviderConfig { model, models, .. } = &self.config;
        match asked {
            None => Some(model),
            Some(asked) if asked == model => Some(model),
            Some(asked) => models
                .get(asked)
                .or_else(|| models.values().find(|served| served.model == asked))
                .map(|served| served.model.as_str()),
        }
    }

    /// From now on its requests are paid from this.
    pub(super) fn pay_from(&self, purse: Arc<Purse>) {
        // Set already, it is the same: a provider that goes over to another roster has the budget it had.
        let _ = self.purse.set(purse);
    }

    /// Its own budget.
    pub(super) fn purse(&self) -> Option<&Purse> {
        self.purse.get().map(Arc::as_ref)
    }

    /// Until when nothing may be spent of its own budget, in Unix milliseconds; `None`: something may.
    pub(super) fn spent_until(&self, now: Now) -> Option<u64> {
        self.purse().and_then(|purse| purse.spent_until(now.unix_ms))
    }

    /// The budgets that a request falls under.
    fn purses(&self, asking: &Asking<'_>) -> Purses {
        let of_tenant = asking.tenant.and_then(Tenant::purse);
        [self.purse.get().cloned(), of_tenant.cloned(), asking.purse.clone()]
    }

    /// How a model's tokens are counted here.
    pub(super) fn counter(&self, model: &str) -> &Counter {
        &self.models.get(model).counter
    }

    /// What an answer of that model costs; `None`: unknown.
    pub(super) fn cost(&self, model: &str, usage: &Usage, unix_ms: u64) -> Option<NanoUsd> {
        self.models.get(model).cost(usage, unix_ms)
    }

    /// Most tokens that prompt and answer may have together, as the catalogue has it; `None`: nobody knows.
    pub fn context_window(&self, model: &str) -> Option<u64> {
        self.models.get(model).context_window
    }

    /// Reserves a key, a request, its tokens and a slot, or says why not.
    pub(super) fn admit(
        self: &Arc<Self>,
        now: Now,
        asking: &Asking<'_>,
    ) -> Result<(Permit, Option<Transition>), Refusal> {
        let ahead = self.line.ahead(asking.ticket);
        let known = Arc::clone(self.models.get(asking.model));
        let purses = self.purses(asking);
        let mut state = lock(&self.state);
        // Before the limits: a call must not wait for a limit only to find that nothing may be spent.
        let mut till = Till::open(&purses);
        till.check(&known, &asking.extent, now).inspect_err(|refusal| till.note(refusal))?;
        let room = asking.room_of_tenant(&known, now)?;
        let (key, fit) = state.check(now, asking, self.config.max_concurrent, ahead)?;
        // It may hand out the one probe of a half-open breaker; from here on nothing refuses any more.
        let (pass, transition) = state.breaker.admit(now.mono).map_err(Refusal::open)?;
        state.keys.begin(key);
        let reservation = state.rate.take(fit);
        state.in_flight += 1;
        state.admitted += 1;
        let number = state.admitted;
        if let Some(learned) = state.learned.get_mut(key as usize) {
            learned.sent(asking.tokens.prompt);
        }
        let (money, tenant) = (till.take(), room.map(Room::take));
        let model = lock(&state.tally).model_id(asking.model);
        drop(state);
        let hold = Hold {
            key,
            number,
            known,
            model,
            first: false,
            reservation,
            money,
            tenant,
            pass,
            dispatch: None,
            slot: None,
            meter: None,
        };
        Ok((Permit::new(Arc::clone(self), hold), transition))
    }

    pub(super) fn book(&self, hold: Hold, outcome: &Outcome<'_>, now: Now) -> Option<Transition> {
        let Hold { key, number: _, known, model, first, reservation, money, tenant, pass, dispatch, slot, meter } =
            hold;
        let mark = Mark { model, unix_ms: now.unix_ms };
        // An attempt that failed to connect was an attempt; one that was left before it began was not.
        let attempted = match outcome {
            Outcome::Cancelled { .. } => None,
            Outcome::Success { .. } | Outcome::Failure { .. } => dispatch.as_ref().map(|dispatch| dispatch.unix_ms),
        };
        let sent = dispatch.filter(|dispatch| dispatch.started.is_set());
        let mut state = lock(&self.state);
        let State { breaker, rate, keys, key_rest_class, missing_models, in_flight, load, tally, .. } = &mut *state;
        let mut tally = lock(tally);
        *in_flight = in_flight.saturating_sub(1);
        if let Some(sent_unix_ms) = attempted.or(sent.as_ref().map(|sent| sent.unix_ms)) {
            tally.sent(mark, sent_unix_ms, first);
        }
        // Tokens; `None`: nothing was sent.
        let used = sent.as_ref().map(|sent| match outcome {
            Outcome::Success { usage, .. } | Outcome::Failure { spent: Spent::Answer { usage, .. }, .. } => {
                usage.total_tokens
            }
            Outcome::Failure { spent: Spent::Received(received), .. } | Outcome::Cancelled { received } => {
                known.counter.estimate(&sent.size).saturating_add(*received)
            }
        });
        match used {
            None => rate.release(reservation),
            Some(used) => rate.correct(reservation, used, now),
        }
        let meter = |cost: Option<NanoUsd>| meter.iter().for_each(|meter| meter.add(cost));
        let mut booked = None;
        let mut left = |tally: &mut ProviderTally, received: u64| {
            let Some(Dispatch { size, unix_ms, .. }) = &sent else { return Bill::Known(NanoUsd(0)) };
            let usage = Usage { estimated: true, ..Usage::reported(known.counter.estimate(size), received) };
            let cost = known.cost(&usage, *unix_ms);
            tally.spent(mark, &usage, cost);
            meter(cost);
            booked = Some((usage, cost));
            Bill::Open(cost.unwrap_or_default())
        };
        let mut bill = Bill::Known(NanoUsd(0));
        learn(load, sent.as_ref(), outcome, now.mono);
        let verdict = match outcome {
            Outcome::Success { latency, first_token, usage, cost } => {
                keys.succeed(key);
                if let Some(Dispatch { size, .. }) = &sent {
                    known.counter.learn(size, usage);
                }
                if usage.completion_tokens > 0 {
                    lock(&known.answers).push(usage.completion_tokens);
                }
                bill = Bill::Known(cost.unwrap_or_default());
                tally.succeeded(mark, *latency, *first_token, usage, *cost);
                meter(*cost);
                Verdict::Success
            }
            Outcome::Failure { failure, model: asked, spent } => {
                match *spent {
                    Spent::Answer { usage, cost } => {
                        if let Some(Dispatch { size, .. }) = &sent {
                            known.counter.learn(size, usage);
                        }
                        bill = Bill::Known(cost.unwrap_or_default());
                        tally.spent(mark, usage, cost);
                        meter(cost);
                    }
                    // Ended by a timer of ours, it is a request that was left: its provider was at work.
                    Spent::Received(received) if received > 0 || failure.phase.is_some() => {
                        bill = left(&mut tally, received);
                    }
                    // The connection broke or the reply made no sense: it may have been at work. A refusal costs nothing.
                    Spent::Received(_) if sent.is_some() && failure.status.is_none_or(|status| status < 400) => {
                        bill = Bill::Open(NanoUsd(0));
                    }
                    Spent::Received(_) => {}
                }
                let class = failure.class;
                match class.scope() {
                    Scope::Key => {
                        if let Some(slot) = key_rest_class.get_mut(key as usize) {
                            *slot = class;
                        }
                        if class == FailureClass::RateLimit {
                            keys.rest_until(key, now.mono + failure.retry_after.unwrap_or(self.unhinted_rest));
                        } else {
                            keys.retire(key, now.mono, failure.retry_after);
                        }
                    }
                    Scope::Model if class == FailureClass::ModelNotFound => {
                        missing_models.push(((*asked).to_owned(), now.mono + MODEL_REST));
                        keys.cancel(key);
                    }
                    Scope::Caller | Scope::Model | Scope::Provider => keys.cancel(key),
                }
                // The caller's own fault is nobody's failure, and so is his impatience.
                let is_callers = class.scope() == Scope::Caller || failure.impatient;
                let blame = Some(failure.message.as_str()).filter(|_| !is_callers);
                tally.failed(mark, class.as_str(), failure.phase.map(Phase::as_str), blame);
                if failure.counts_against_provider() { Verdict::Failure } else { Verdict::Neutral }
            }
            Outcome::Cancelled { received } => {
                if sent.is_some() {
                    tally.cancelled(mark);
                }
                bill = left(&mut tally, *received);
                keys.cancel(key);
                Verdict::Neutral
            }
        };
        let transition = breaker.settle(pass, verdict, now.mono);
        if let Some(Transition::Opened { .. }) = transition {
            tally.tripped(mark.unix_ms);
        }
        drop(tally);
        drop(state);
        if let Outcome::Success { usage, cost, .. } | Outcome::Failure { spent: Spent::Answer { usage, cost }, .. } =
            outcome
        {
            booked = Some((**usage, *cost));
        }
        if let Some(tenant) = tenant {
            tenant.settle(used, booked.as_ref(), now);
        }
        money.settle(bill, now);
        // The pool's slot first: who is woken here needs one, too.
        drop(slot);
        self.line.wake();
        transition
    }

    /// What a reply to the request of that number says is left, whatever else it says.
    pub(super) fn learn(&self, key: u32, number: u64, said: &RateHeaders, now: Instant) {
        let left = |quota: Option<Quota>| {
            let Quota { limit: _, remaining, reset } = quota?;
            Some(Said { remaining: remaining?, reset })
        };
        if let Some(learned) = lock(&self.state).learned.get_mut(key as usize) {
            learned.teach(number, left(said.requests), left(said.tokens), now);
        }
    }

    pub(super) fn prove(&self, hold: &mut Hold, now: Instant) -> Option<Transition> {
        let mut state = lock(&self.state);
        if let Some(dispatch) = &mut hold.dispatch {
            state.load.answered(dispatch.pace, now.duration_since(dispatch.sent), now);
            dispatch.measured = true;
        }
        state.breaker.prove(&hold.pass, now)
    }

    /// How long an answer of it is waited for before another provider is asked as well.
    pub(super) fn hedge_after(&self, after: HedgeAfter, pace: Pace) -> Option<Duration> {
        let state = lock(&self.state);
        let tally = lock(&state.tally);
        let samples = match pace {
            Pace::Whole => &tally.latency,
            Pace::FirstContent => &tally.first_token,
        };
        let seconds = || samples.percentile(0.95).map(|millis| millis / 1e3);
        after.delay(samples.len(), || seconds().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Does it answer 95 of 100 calls in that time? Not as long as too few of its answers are known.
    pub(super) fn usually_answers_within(&self, time: Duration, pace: Pace) -> bool {
        self.hedge_after(HedgeAfter::P95, pace).is_some_and(|usual| usual <= time)
    }

    /// Would it take a call now, as far as is cheap to know, and how good has it been? A yes that turns out wrong costs a
    /// refusal; nothing is reserved and nothing moves.
    pub(super) fn standing(&self, now: Now, model: &str, pace: Pace) -> (bool, f64) {
        let state = lock(&self.state);
        let missing = |(name, until): &(String, Instant)| *until > now.mono && name == model;
        let State { breaker, rate, keys, missing_models, in_flight, .. } = &*state;
        let free = is_free(breaker, rate, keys, now) && self.has_place_beside(*in_flight);
        let free = free && self.spent_until(now).is_none();
        let marked = state.marked(now.mono).is_some();
        let available = free && !marked && !missing_models.iter().any(missing);
        (available, state.load.score(pace, state.in_flight, now.mono))
    }

    /// What [`Provider::admit`] would have against it now. Reserves nothing and moves nothing.
    pub(super) fn refuses(&self, now: Now, asking: &Asking<'_>) -> Option<Refusal> {
        let ahead = self.line.ahead(asking.ticket);
        let of_tenant = asking.room_of_tenant(self.models.get(asking.model), now).err();
        of_tenant.or_else(|| lock(&self.state).check(now, asking, self.config.max_concurrent, ahead).err())
    }

    /// The same, with what each of its rules says for itself.
    pub(super) fn examine(
        &self,
        now: Now,
        asking: &Asking<'_>,
    ) -> (Option<Refusal>, Vec<(&'static str, Option<Refusal>)>) {
        let ahead = self.line.ahead(asking.ticket);
        let mut state = lock(&self.state);
        let purses = self.purses(asking);
        let known = self.models.get(asking.model);
        let afford = Till::open(&purses).check(known, &asking.extent, now);
        let of_tenant = asking.room_of_tenant(known, now).map(drop);
        let afford = afford.and(of_tenant);
        let mut verdicts = state.verdicts(now, asking, self.config.max_concurrent, ahead);
        verdicts.insert(0, ("budget", afford.clone().err()));
        let refusal = afford.and_then(|()| state.check(now, asking, self.config.max_concurrent, ahead).map(drop)).err();
        (refusal, verdicts)
    }

    /// May one more attempt be under way beside so many?
    pub(super) fn has_place_beside(&self, in_flight: u32) -> bool {
        self.config.max_concurrent.is_none_or(|most| in_flight < most)
    }

    /// Would it still refuse at `when`, as far as can be told now, for a reason that is not waited for?
    pub(super) fn refuses_at(&self, when: Instant) -> bool {
        let state = lock(&self.state);
        let State { breaker, keys, key_rest_class, .. } = &*state;
        let refused_keys = keys.soonest(when).is_some() && key_rest_class.iter().all(|class| !class.is_rate_signal());
        state.marked(when).is_some()
            || breaker.state(when) == CircuitState::Open
            || breaker.is_probing()
            || refused_keys
    }

    /// Closes the breaker and forgets the models it said it does not have. False: there was nothing to reset.
    pub(super) fn reset(&self) -> bool {
        let State { breaker, missing_models, .. } = &mut *lock(&self.state);
        let had_models = std::mem::take(missing_models).is_empty();
        breaker.reset() || !had_models
    }

    /// What it has done, for whoever carries its name after it.
    pub(super) fn tally(&self) -> Arc<Mutex<ProviderTally>> {
        Arc::clone(&lock(&self.state).tally)
    }

    /// Goes on with what an earlier provider of this name has done. To be done before anybody asks this one.
    pub(super) fn go_on_with(&self, earlier: Arc<Mutex<ProviderTally>>) {
        served(&self.config).for_each(|model| lock(&earlier).serve(model));
        lock(&self.state).tally = earlier;
    }

    /// How much of its day it has used.
    pub(super) fn day_counts(&self, now: Now) -> DayCounts {
        lock(&self.state).rate.put_away(now)
    }

    /// Goes on with a day that was begun under its name; gives back what it has no limit for.
    pub(super) fn take_up_day(&self, earlier: DayCounts, now: Now) -> DayCounts {
        lock(&self.state).rate.take_up(earlier, now)
    }

    /// Reads everything shown to the outside under one lock.
    pub(super) fn look<T>(&self, look: impl FnOnce(Live<'_>) -> T) -> T {
        let mut state = lock(&self.state);
        let State { breaker, rate, keys, key_rest_class, missing_models, in_flight, learned, marked, tally, .. } =
            &mut *state;
        let (in_flight, marked) = (*in_flight, *marked);
        let tally = &lock(tally);
        look(Live { breaker, rate, keys, key_rest_class, missing_models, learned, in_flight, marked, tally })
    }
}

impl Marked {
    pub fn holds(self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl State {
    /// The mark, while it holds.
    fn marked(&self, now: Instant) -> Option<Marked> {
        self.marked.filter(|marked| marked.holds(now))
    }

    /// The key to use and the room there is, or why this cannot be now. `ahead` calls are served before. Takes nothing, so
    /// that a refusal costs nobody a turn or a place.
    fn check(
        &mut self,
        now: Now,
        asking: &Asking<'_>,
        max_concurrent: Option<u32>,
        ahead: u64,
    ) -> Result<(u32, Fit), Refusal> {
        // The program's own word goes before everything that was counted.
        self.is_unmarked(now)?;
        self.has_model(now, asking)?;
        // Before the limits: a call must not wait for a limit only to find the breaker open.
        self.breaker_lets_through(now)?;
        let key = self.usable_key(now, asking)?;
        let fit = self.within_limits(now, asking, ahead)?;
        self.has_place(max_concurrent)?;
        is_its_turn(ahead)?;
        self.has_something_left(now, asking, key)?;
        Ok((key, fit))
    }

    /// The same rules under the words users see, each for itself.
    fn verdicts(
        &mut self,
        now: Now,
        asking: &Asking<'_>,
        max_concurrent: Option<u32>,
        ahead: u64,
    ) -> Vec<(&'static str, Option<Refusal>)> {
        let key = self.usable_key(now, asking);
        let left = key.as_ref().ok().and_then(|key| self.has_something_left(now, asking, *key).err());
        vec![
            ("marked", self.is_unmarked(now).err()),
            ("model_exists", self.has_model(now, asking).err()),
            ("circuit_breaker", self.breaker_lets_through(now).err()),
            ("keys", key.err()),
            ("limits", self.within_limits(now, asking, ahead).err()),
            ("max_concurrent", self.has_place(max_concurrent).err()),
            ("queue", is_its_turn(ahead).err()),
            ("remaining", left),
        ]
    }

    fn is_unmarked(&self, now: Now) -> Result<(), Refusal> {
        self.marked(now.mono).map_or(Ok(()), |Marked { until }| Err(Refusal::Marked { until }))
    }

    /// It has not said lately that there is no such model.
    fn has_model(&mut self, now: Now, asking: &Asking<'_>) -> Result<(), Refusal> {
        if self.missing_models.is_empty() {
            return Ok(());
        }
        self.missing_models.retain(|(_, until)| *until > now.mono);
        match self.missing_models.iter().find(|(missing, _)| missing == asking.model) {
            Some((_, until)) => Err(Refusal::Model { not_before: *until }),
            None => Ok(()),
        }
    }

    fn breaker_lets_through(&self, now: Now) -> Result<(), Refusal> {
        self.breaker.refuses(now.mono).map_or(Ok(()), |open| Err(Refusal::open(open)))
    }

    /// The next key in turn that this call has not tried.
    fn usable_key(&self, now: Now, asking: &Asking<'_>) -> Result<u32, Refusal> {
        let Self { keys, key_rest_class, .. } = self;
        let is_spent = |key| self.is_spent(now, asking, key);
        keys.choose(now.mono, asking.tried, is_spent).map_err(|KeysResting { not_before }| {
            let untried = (0..key_rest_class.len()).filter(|key| !asking.tried.contains(&(*key as u32)));
            match untried.min_by_key(|key| keys.resting(*key as u32, now.mono)) {
                Some(soonest) => Refusal::Keys { class: key_rest_class[soonest], not_before },
                None => Refusal::KeysTried,
            }
        })
    }

    fn within_limits(&mut self, now: Now, asking: &Asking<'_>, ahead: u64) -> Result<Fit, Refusal> {
        let fit = self.rate.check(now, asking.tokens, ahead);
        fit.map_err(|Limited { kind, not_before }| Refusal::Limit { kind, not_before })
    }

    fn has_place(&self, max_concurrent: Option<u32>) -> Result<(), Refusal> {
        match max_concurrent.filter(|limit| self.in_flight >= *limit) {
            Some(limit) => Err(Refusal::Busy { limit }),
            None => Ok(()),
        }
    }

    /// Last, because it is not final: with nobody else left it is asked all the same.
    fn has_something_left(&self, now: Now, asking: &Asking<'_>, key: u32) -> Result<(), Refusal> {
        if asking.sparing && self.is_spent(now, asking, key) { Err(Refusal::Spent) } else { Ok(()) }
    }

    fn is_spent(&self, now: Now, asking: &Asking<'_>, key: u32) -> bool {
        self.learned.get(key as usize).is_some_and(|learned| learned.is_spent(now.mono, asking.tokens.prompt))
    }
}

/// Would some call find room now, as far as is cheap to know?
pub(super) fn is_free(breaker: &Breaker, rate: &RateLimiter, keys: &KeyRing, now: Now) -> bool {
    let remaining = rate.remaining(now);
    let Remaining { minute, day, .. } = remaining;
    breaker.refuses(now.mono).is_none()
        && minute != Some(0)
        && day != Some(0)
        && remaining.tokens() != Some(0)
        && keys.soonest(now.mono).is_none()
}

/// Nobody has waited longer.
fn is_its_turn(ahead: u64) -> Result<(), Refusal> {
    if ahead > 0 { Err(Refusal::Behind) } else { Ok(()) }
}

/// The models that the configuration names, as the provider names them.
fn served(config: &ProviderConfig) -> impl Iterator<Item = &str> {
    std::iter::once(&config.model).chain(config.models.values().map(|served| &served.model)).map(String::as_str)
}

/// What an attempt says about how good its provider is.
fn learn(load: &mut Load, sent: Option<&Dispatch>, outcome: &Outcome<'_>, now: Instant) {
    match outcome {
        Outcome::Success { .. } => load.succeeded(now),
        Outcome::Failure { failure, .. } if failure.counts_against_provider() => load.failed(now),
        Outcome::Failure { .. } | Outcome::Cancelled { .. } => {}
    }
    let Some(Dispatch { pace, sent, measured: false, .. }) = sent else { return };
    let latency = now.duration_since(*sent);
    match outcome {
        Outcome::Success { .. } => load.answered(*pace, latency, now),
        Outcome::Failure { failure, .. } if failure.phase.is_some() => load.waited(*pace, latency, now),
        // Left before it answered, perhaps because it was slow. How soon a failure came says nothing of an answer.
        Outcome::Cancelled { .. } => load.waited(*pace, latency, now),
        Outcome::Failure { .. } => {}
    }
}

/// A provider's live state, for looking at.
pub(super) struct Live<'a> {
    pub breaker: &'a mut Breaker,
    pub rate: &'a mut RateLimiter,
    pub keys: &'a KeyRing,
    /// Why each key last rested.
    pub key_rest_class: &'a [FailureClass],
    /// Models it said it does not have, until when they are believed missing.
    pub missing_models: &'a [(String, Instant)],
    /// What the replies to each key say is left.
    pub learned: &'a [Learned],
    pub in_flight: u32,
    pub marked: Option<Marked>,
    pub tally: &'a ProviderTally,
}
