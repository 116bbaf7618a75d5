//! One provider with its live state, behind one short lock.
//!
//! Everything that can change is changed in two places: [`Provider::admit`] reserves a key, a request of each limit
//! and a slot, or says why not and until when; `book` (reached through the permit only) corrects them by the outcome.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::lock;
use super::models::Models;
use super::permit::{Dispatch, Hold, Outcome, Permit};
use crate::adapter::Endpoint;
use crate::config::ProviderConfig;
use crate::error::{FailureClass, Phase, Problem, Scope};
use crate::metrics::{Mark, ProviderTally};
use crate::policy::{
    BackoffParams, Breaker, BreakerOpen, CircuitState, KeyRing, KeysResting, LimitKind, Limited, RateLimiter,
    Transition, Verdict,
};
use crate::time::{self, Instant, Now};
use crate::tokens::Counter;
use crate::transport::Transport;
use crate::types::{AttemptOutcome, ProviderName, Usage};

/// How long a model that a provider says it does not have is not asked there again. Deployments appear within
/// minutes; asking at every call would cost a round trip each time.
const MODEL_REST: Duration = Duration::from_secs(5 * 60);

pub struct Provider {
    config: ProviderConfig,
    endpoint: Endpoint,
    /// What every request carries, one per key; a provider that needs none has one without a key.
    headers: Vec<Arc<HeaderMap>>,
    /// `None` after a shutdown, which closes the connections by letting go of their client.
    transport: ArcSwapOption<Arc<dyn Transport>>,
    /// How long a rate answer without a hint rests its key, so that the calls behind it go elsewhere at once. Not longer
    /// than the shortest wait before a retry, or the retry would find the key still resting.
    unhinted_rest: Duration,
    models: Models,
    /// Shared with the provider of an earlier roster, where nothing that was counted means anything else now.
    state: Arc<Mutex<State>>,
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
    /// Belongs to the provider's name: one that a reload builds anew goes on where this one is.
    tally: Arc<Mutex<ProviderTally>>,
}

/// Why a provider cannot be asked now.
#[derive(Debug, Clone)]
pub enum Refusal {
    Breaker {
        retry_at: Option<Instant>,
    },
    Limit {
        kind: LimitKind,
        not_before: Option<Instant>,
    },
    /// Every key that this call has not tried rests, since an answer of this class; without a time, one of them is being
    /// probed by another call.
    Keys {
        class: FailureClass,
        not_before: Option<Instant>,
    },
    /// This call has tried every key.
    KeysTried,
    Model {
        not_before: Instant,
    },
}

impl Refusal {
    /// A time worth waiting for. An open breaker and a missing model are not waited for, and neither is a key that
    /// was refused.
    pub fn worth_waiting(&self) -> Option<Instant> {
        match self {
            Self::Limit { not_before, .. } => *not_before,
            Self::Keys { class, not_before } if class.is_rate_signal() => *not_before,
            _ => None,
        }
    }

    /// The soonest time at which the answer may be another one.
    pub fn not_before(&self) -> Option<Instant> {
        match self {
            Self::Breaker { retry_at } => *retry_at,
            Self::Limit { not_before, .. } | Self::Keys { not_before, .. } => *not_before,
            Self::Model { not_before } => Some(*not_before),
            Self::KeysTried => None,
        }
    }

    pub fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::Breaker { .. } => AttemptOutcome::BreakerOpen,
            Self::Limit { .. } => AttemptOutcome::RateLimited,
            Self::Keys { .. } | Self::KeysTried | Self::Model { .. } => AttemptOutcome::KeyCooling,
        }
    }

    pub fn describe(&self, now: Instant) -> String {
        let seconds = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
        match self {
            Self::Breaker { retry_at: Some(at) } => {
                format!("its circuit breaker is open; the next probe is in {:.1} s", seconds(*at))
            }
            Self::Breaker { retry_at: None } => "its circuit breaker is half-open and a probe is under way".to_owned(),
            Self::Limit { kind, not_before: Some(at) } => {
                format!("{} is reached; free in {:.1} s", kind.as_str(), seconds(*at))
            }
            Self::Limit { kind, not_before: None } => format!("{} is 0", kind.as_str()),
            Self::Keys { class, not_before: Some(at) } => {
                format!("its key rests for {:.1} s after a failure of class {class}", seconds(*at))
            }
            Self::Keys { class, not_before: None } => {
                format!("its key is being probed after a failure of class {class}")
            }
            Self::KeysTried => "each of its keys was tried".to_owned(),
            Self::Model { not_before } => {
                format!("it said it does not have this model; asked again in {:.0} s", seconds(*not_before))
            }
        }
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
        let state = match before.filter(|before| before.config.same_upstream(&config)) {
            Some(before) => {
                served(&config).for_each(|model| lock(&before.tally()).serve(model));
                Arc::clone(&before.state)
            }
            None => {
                let mut tally = ProviderTally::new(history_limit);
                served(&config).for_each(|model| tally.serve(model));
                Arc::new(Mutex::new(State {
                    breaker: Breaker::new(config.breaker.clone()),
                    rate: RateLimiter::new(config.rate.clone()),
                    keys: KeyRing::new(headers.len()),
                    key_rest_class: vec![FailureClass::RateLimit; headers.len()],
                    missing_models: Vec::new(),
                    in_flight: 0,
                    tally: Arc::new(Mutex::new(tally)),
                }))
            }
        };
        Ok(Self {
            unhinted_rest: backoff.delay(0, 0.0),
            endpoint,
            headers,
            transport: ArcSwapOption::from_pointee(transport),
            models,
            state,
            config,
        })
    }

    pub fn config(&self) -> &ProviderConfig {
        &self.config
    }

    pub fn name(&self) -> &ProviderName {
        &self.config.name
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

    /// How a model's tokens are counted here.
    pub(super) fn counter(&self, model: &str) -> &Counter {
        &self.models.get(model).counter
    }

    /// Most tokens that prompt and answer may have together, as the catalogue has it; `None`: nobody knows.
    pub fn context_window(&self, model: &str) -> Option<u64> {
        self.models.get(model).context_window
    }

    /// Reserves a key, a request and a slot, or says why not. Keys in `tried` are passed over.
    pub fn admit(
        self: &Arc<Self>,
        now: Now,
        model: &str,
        tried: &[u32],
    ) -> Result<(Permit, Option<Transition>), Refusal> {
        let mut state = lock(&self.state);
        let State { breaker, rate, keys, key_rest_class, missing_models, in_flight, tally } = &mut *state;
        if !missing_models.is_empty() {
            missing_models.retain(|(_, until)| *until > now.mono);
            if let Some((_, until)) = missing_models.iter().find(|(missing, _)| missing == model) {
                return Err(Refusal::Model { not_before: *until });
            }
        }
        let key = keys.pick(now.mono, tried).map_err(|KeysResting { not_before }| {
            let untried = (0..key_rest_class.len()).filter(|key| !tried.contains(&(*key as u32)));
            match untried.min_by_key(|key| keys.resting(*key as u32, now.mono)) {
                Some(soonest) => Refusal::Keys { class: key_rest_class[soonest], not_before },
                None => Refusal::KeysTried,
            }
        })?;
        let reservation = match rate.reserve(now) {
            Ok(reservation) => reservation,
            Err(Limited { kind, not_before }) => {
                keys.cancel(key);
                return Err(Refusal::Limit { kind, not_before });
            }
        };
        // Last, because it may hand out the one probe of a half-open breaker.
        let (pass, transition) = match breaker.admit(now.mono) {
            Ok(admitted) => admitted,
            Err(BreakerOpen { retry_at }) => {
                rate.release(reservation);
                keys.cancel(key);
                return Err(Refusal::Breaker { retry_at });
            }
        };
        *in_flight += 1;
        let known = Arc::clone(self.models.get(model));
        let model = lock(tally).model_id(model);
        drop(state);
        let hold = Hold { key, known, model, first: false, reservation: Some(reservation), pass, dispatch: None };
        Ok((Permit::new(Arc::clone(self), hold), transition))
    }

    pub(super) fn book(&self, hold: Hold, outcome: &Outcome<'_>, now: Instant) -> Option<Transition> {
        let Hold { key, known, model, first, reservation, pass, dispatch } = hold;
        let mark = Mark { model, unix_ms: time::unix_ms() };
        // An attempt that failed to connect was an attempt; one that was left before it began was not.
        let attempted = match outcome {
            Outcome::Cancelled { .. } => None,
            Outcome::Success { .. } | Outcome::Failure { .. } => dispatch.as_ref().map(|dispatch| dispatch.unix_ms),
        };
        let sent = dispatch.filter(|dispatch| dispatch.started.is_set());
        let mut state = lock(&self.state);
        let State { breaker, rate, keys, key_rest_class, missing_models, in_flight, tally } = &mut *state;
        let mut tally = lock(tally);
        *in_flight = in_flight.saturating_sub(1);
        if let Some(sent_unix_ms) = attempted.or(sent.as_ref().map(|sent| sent.unix_ms)) {
            tally.sent(mark, sent_unix_ms, first);
        }
        if let (None, Some(reservation)) = (&sent, reservation) {
            rate.release(reservation);
        }
        let left = |tally: &mut ProviderTally, received: u64| {
            if let Some(Dispatch { size, unix_ms, .. }) = &sent {
                let usage = Usage { estimated: true, ..Usage::reported(known.counter.estimate(size), received) };
                tally.spent(mark, &usage, known.cost(&usage, *unix_ms));
            }
        };
        let verdict = match outcome {
            Outcome::Success { latency, first_token, usage, cost } => {
                keys.succeed(key);
                if let Some(Dispatch { size, .. }) = &sent {
                    known.counter.learn(size, usage);
                }
                tally.succeeded(mark, *latency, *first_token, usage, *cost);
                Verdict::Success
            }
            Outcome::Failure { failure, model: asked, received } => {
                if *received > 0 {
                    left(&mut tally, *received);
                }
                let class = failure.class;
                match class.scope() {
                    Scope::Key => {
                        if let Some(slot) = key_rest_class.get_mut(key as usize) {
                            *slot = class;
                        }
                        if class == FailureClass::RateLimit {
                            keys.rest_until(key, now + failure.retry_after.unwrap_or(self.unhinted_rest));
                        } else {
                            keys.retire(key, now, failure.retry_after);
                        }
                    }
                    Scope::Model if class == FailureClass::ModelNotFound => {
                        missing_models.push(((*asked).to_owned(), now + MODEL_REST));
                        keys.cancel(key);
                    }
                    Scope::Caller | Scope::Model | Scope::Provider => keys.cancel(key),
                }
                // The caller's own fault is nobody's failure.
                let blame = Some(failure.message.as_str()).filter(|_| class.scope() != Scope::Caller);
                tally.failed(mark, class.as_str(), failure.phase.map(Phase::as_str), blame);
                if class.counts_against_provider() { Verdict::Failure } else { Verdict::Neutral }
            }
            Outcome::Cancelled { received } => {
                if sent.is_some() {
                    tally.cancelled(mark);
                }
                left(&mut tally, *received);
                keys.cancel(key);
                Verdict::Neutral
            }
        };
        let moved = breaker.settle(pass, verdict, now);
        if let Some(Transition::Opened { .. }) = moved {
            tally.tripped(mark.unix_ms);
        }
        moved
    }

    pub(super) fn prove(&self, hold: &Hold, now: Instant) -> Option<Transition> {
        lock(&self.state).breaker.prove(&hold.pass, now)
    }

    /// Would it still refuse at `when`, as far as can be told now, for a reason that is not waited for?
    pub(super) fn refuses_at(&self, when: Instant) -> bool {
        let state = lock(&self.state);
        let State { breaker, keys, key_rest_class, .. } = &*state;
        let refused_keys = keys.soonest(when).is_some() && key_rest_class.iter().all(|class| !class.is_rate_signal());
        breaker.state(when) == CircuitState::Open || breaker.is_probing() || refused_keys
    }

    pub(super) fn reset_breaker(&self) -> bool {
        lock(&self.state).breaker.reset()
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

    /// Reads everything shown to the outside under one lock.
    pub(super) fn look<T>(&self, look: impl FnOnce(Live<'_>) -> T) -> T {
        let mut state = lock(&self.state);
        let State { breaker, rate, keys, in_flight, tally, .. } = &mut *state;
        look(Live { breaker, rate, keys, in_flight: *in_flight, tally: &lock(tally) })
    }
}

/// The models that the configuration names, as the provider names them.
fn served(config: &ProviderConfig) -> impl Iterator<Item = &str> {
    std::iter::once(&config.model).chain(config.models.values().map(|served| &served.model)).map(String::as_str)
}

/// A provider's live state, for looking at.
pub(super) struct Live<'a> {
    pub breaker: &'a mut Breaker,
    pub rate: &'a mut RateLimiter,
    pub keys: &'a KeyRing,
    pub in_flight: u32,
    pub tally: &'a ProviderTally,
}
