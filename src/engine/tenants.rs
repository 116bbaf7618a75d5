//! On whose behalf calls are made: who comes in, within what, and what it came to.
//!
//! A tenant's limits are looked at in two places, and nowhere else:
//!
//! - [`Engine::let_in`], once for every call, whatever it is answered by: is it a tenant of the configuration, may it do
//!   this, and does it come too often? Every face of the pool goes through it (`Pool::enter`).
//! - `Provider::admit`, for every request to a provider: are there tokens and money for it? They are set aside there and
//!   settled with the permit, so what other runs of the same call take (hedges, ensembles, retries) counts.
//!
//! The rest narrows what a call may do: its models are a rule of `run::eligible`, its deadline one of
//! [`Engine::longest`], its parallel providers one of [`Engine::ensemble_for`] and of hedging.
//!
//! What was counted belongs to ids and outlives rosters: another limit finds what was used before, and so does the next
//! process, as far as its day is not over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::provider::Provider;
use super::purse::{BudgetStats, Purse};
use super::refusal::{Refusal, span};
use super::roster::Roster;
use super::{Engine, key_parts, lock};
use crate::adapter::Unread;
use crate::cache::Key;
use crate::config::{EnsembleConfig, TenantConfig};
use crate::error::{Context, Error, ErrorKind, TenantLimit};
use crate::event::{Event, EventKind, EventLog};
use crate::metrics::{TenantFigures, TenantTotals};
use crate::policy::{Bucket, DayCounts, Fit, RateLimiter, RateParams, Reservation, Tokens};
use crate::time::{self, Instant, Now};
use crate::types::{CallOptions, ChatRequest, EmbedRequest, InferRequest, NanoUsd, Usage};

/// Tenants that are gone are remembered up to this many: enough for every slip of a hand, and no leak where ids are made.
const MOST_DEPARTED: usize = 1_000;

/// One tenant of a roster.
pub struct Tenant {
    config: TenantConfig,
    /// Of the keys of what is kept.
    key_part: Key,
    /// What it has used; empty until its roster comes into force.
    account: OnceLock<Arc<Account>>,
    /// Its budget, if it has one; empty until its roster comes into force.
    purse: OnceLock<Arc<Purse>>,
}

/// What a tenant has used.
#[derive(Debug)]
pub(super) struct Account(Mutex<Live>);

#[derive(Debug)]
struct Live {
    /// Calls; `None`: no limit.
    requests: Option<Bucket>,
    /// Of the day alone.
    tokens: RateLimiter,
    /// A day that there is no limit for at the moment.
    unlimited: DayCounts,
    totals: TenantTotals,
}

/// Room for the tokens of one request, as long as nobody else takes it.
pub(super) struct Room<'a> {
    account: &'a Arc<Account>,
    live: MutexGuard<'a, Live>,
    fit: Fit,
}

/// Tokens that were taken for one request.
#[must_use = "tokens that are not settled stay taken"]
#[derive(Debug)]
pub(super) struct Taken {
    account: Arc<Account>,
    reservation: Reservation,
}

/// Every tenant that is or was in force, by id.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_id: BTreeMap<String, Arc<Account>>,
    /// Of an earlier process, for tenants that there are not now.
    saved: BTreeMap<String, SavedTenant>,
}

/// What a tenant has used, for the next process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedTenant {
    pub totals: TenantTotals,
    /// Of the day under way.
    pub day: DayCounts,
}

/// What is left of a tenant's limits, as clients are told; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantQuota {
    pub requests: Option<Quota>,
    pub tokens: Option<Quota>,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is there again.
    pub reset: Duration,
}

/// How a tenant stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TenantStats {
    pub enabled: bool,
    pub total_requests: u64,
    pub refused_requests: u64,
    pub total_tokens: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_cost: NanoUsd,
    pub unpriced_requests: u64,
    /// Calls that would be let in now, one after the other; `None`: no limit.
    pub requests_remaining: Option<u64>,
    /// Of the day; `None`: no limit.
    pub tokens_remaining: Option<u64>,
    /// Its budget; `None`: it has none.
    pub budget: Option<BudgetStats>,
}

/// What a call is about, as far as its tenant is concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Knock<'a> {
    /// `None`: nobody's; it is bound by no tenant's limits.
    pub tenant: Option<&'a str>,
    /// As [`CallOptions::by_credential`].
    pub by_credential: bool,
    pub task: Option<&'a str>,
    /// As it is asked for; `None`: each provider's own.
    pub model: Option<&'a str>,
    /// What else it says to whoever answers.
    pub unread: Unread<'a>,
}

impl<'a> Knock<'a> {
    pub fn of(options: &'a CallOptions, model: Option<&'a str>) -> Self {
        let CallOptions { tenant, task, by_credential, .. } = options;
        let (tenant, task, by_credential) = (tenant.as_deref(), task.as_deref(), *by_credential);
        Self { tenant, by_credential, task, model, ..Self::default() }
    }

    pub fn of_chat(options: &'a CallOptions, request: &'a ChatRequest) -> Self {
        Self { unread: Unread::of_chat(request), ..Self::of(options, request.model.as_deref()) }
    }

    pub fn of_embed(options: &'a CallOptions, request: &'a EmbedRequest) -> Self {
        Self { unread: Unread::of_embed(request), ..Self::of(options, request.model.as_deref()) }
    }

    /// What the work says goes over `options`.
    pub fn of_work(work: &'a InferRequest, options: &'a CallOptions) -> Self {
        let tenant = work.tenant.as_deref().or(options.tenant.as_deref());
        Self { tenant, task: Some(&work.task), ..Self::of(options, None) }
    }
}

// === impl Tenant ===

impl Tenant {
    pub(super) fn new(config: TenantConfig) -> Self {
        Self { key_part: key_parts::of_tenant(&config), config, account: OnceLock::new(), purse: OnceLock::new() }
    }

    pub(super) fn key_part(&self) -> &Key {
        &self.key_part
    }

    pub fn config(&self) -> &TenantConfig {
        &self.config
    }

    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// From now on its requests are paid from this.
    pub(super) fn pay_from(&self, purse: Arc<Purse>) {
        let _ = self.purse.set(purse); // a roster comes into force once
    }

    pub(super) fn purse(&self) -> Option<&Arc<Purse>> {
        self.purse.get()
    }

    pub(super) fn counts_tokens(&self) -> bool {
        self.config.tokens_per_day.is_some()
    }

    /// May it be answered by this model of this provider? Any name that means the model there will do.
    pub fn may_use(&self, provider: &Provider, model: &str) -> bool {
        let Some(names) = &self.config.models else { return true };
        names.iter().any(|name| provider.resolve_model(Some(name)) == Some(model))
    }

    fn may_do(&self, task: Option<&str>) -> bool {
        let Some(tasks) = &self.config.tasks else { return true };
        task.is_some_and(|task| tasks.iter().any(|own| own == task))
    }

    /// Room for the tokens of a request. Takes nothing, and nobody else takes any until it is dropped.
    pub(super) fn room(&self, now: Now, tokens: Tokens) -> Result<Option<Room<'_>>, Refusal> {
        let Some(account) = self.account.get() else { return Ok(None) };
        let mut live = lock(&account.0);
        match live.tokens.check(now, tokens, 0) {
            Ok(fit) => Ok(Some(Room { account, live, fit })),
            Err(limited) => Err(Refusal::TenantTokens {
                tenant: self.id().to_owned(),
                limit: self.config.tokens_per_day.unwrap_or_default(),
                not_before: limited.not_before,
            }),
        }
    }

    fn look<T: Default>(&self, look: impl FnOnce(&Live) -> T) -> T {
        self.account.get().map_or_else(T::default, |account| look(&lock(&account.0)))
    }

    fn change(&self, change: impl FnOnce(&mut Live)) {
        if let Some(account) = self.account.get() {
            change(&mut lock(&account.0));
        }
    }

    fn quota(&self, now: Now) -> TenantQuota {
        self.look(|live| TenantQuota {
            requests: live.requests.as_ref().map(|bucket| Quota {
                // A rate of 0 lets nothing in, however large its burst.
                limit: if bucket.params().rps > 0.0 { bucket.params().burst.into() } else { 0 },
                remaining: bucket.left(now.mono),
                reset: bucket.full_in(now.mono),
            }),
            tokens: self.config.tokens_per_day.zip(live.tokens.token_day_ends(now)).map(|(limit, ends)| Quota {
                limit,
                remaining: live.tokens.remaining(now).token_day.unwrap_or_default(),
                reset: Duration::from_millis(ends.saturating_sub(now.unix_ms)),
            }),
        })
    }

    fn stats(&self, now: Now) -> TenantStats {
        let TenantQuota { requests, tokens } = self.quota(now);
        let totals = self.look(|live| live.totals.clone());
        let TenantTotals { requests: calls, refused, prompt_tokens, completion_tokens, total_cost, unpriced_requests } =
            totals;
        TenantStats {
            enabled: self.config.enabled,
            total_requests: calls,
            refused_requests: refused,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens,
            completion_tokens,
            total_cost,
            unpriced_requests,
            requests_remaining: requests.map(|quota| quota.remaining),
            tokens_remaining: tokens.map(|quota| quota.remaining),
            budget: self.purse().map(|purse| purse.stats(now.unix_ms)),
        }
    }

    fn figures(&self, now: Now) -> TenantFigures {
        let TenantQuota { requests, tokens } = self.quota(now);
        let remaining = [("requests", requests), ("tokens_per_day", tokens)];
        TenantFigures {
            id: self.id().to_owned(),
            totals: self.look(|live| live.totals.clone()),
            remaining: remaining.into_iter().filter_map(|(kind, quota)| Some((kind, quota?.remaining))).collect(),
        }
    }
}

// === impl Account ===

impl Account {
    fn new() -> Self {
        Self(Mutex::new(Live {
            requests: None,
            tokens: RateLimiter::new(RateParams::default()),
            unlimited: DayCounts::default(),
            totals: TenantTotals::default(),
        }))
    }

    /// Other limits find what was used.
    fn renew(&self, config: &TenantConfig, now: Now) {
        let mut live = lock(&self.0);
        match (&mut live.requests, config.requests) {
            (Some(bucket), Some(params)) => bucket.renew(params, now.mono),
            (requests, params) => *requests = params.map(Bucket::new),
        }
        let day = live.tokens.put_away(now);
        let params = RateParams { tokens_per_day: config.tokens_per_day, ..RateParams::default() };
        live.tokens = RateLimiter::new(params);
        live.take_up(day, now);
    }

    fn restore(&self, saved: &SavedTenant, now: Now) {
        let mut live = lock(&self.0);
        live.totals.add(&saved.totals);
        live.take_up(saved.day, now);
    }

    fn saved(&self, now: Now) -> SavedTenant {
        let live = lock(&self.0);
        let day = live.tokens.put_away(now).or(live.unlimited);
        let day = if day.is_over(now) { DayCounts::default() } else { day };
        SavedTenant { totals: live.totals.clone(), day }
    }
}

impl Live {
    fn take_up(&mut self, day: DayCounts, now: Now) {
        let day = day.or(self.unlimited);
        self.unlimited = self.tokens.take_up(day, now);
    }
}

// === impl Room ===

impl Room<'_> {
    pub fn take(mut self) -> Taken {
        Taken { account: Arc::clone(self.account), reservation: self.live.tokens.take(self.fit) }
    }
}

// === impl Taken ===

impl Taken {
    /// `used`: tokens, or `None` when nothing was sent. `spent`: what is booked, and what it cost.
    pub fn settle(self, used: Option<u64>, spent: Option<&(Usage, Option<NanoUsd>)>, now: Now) {
        let mut live = lock(&self.account.0);
        match used {
            Some(used) => live.tokens.correct(self.reservation, used, now),
            None => live.tokens.release(self.reservation),
        }
        if let Some((usage, cost)) = spent {
            live.totals.spend(usage, *cost);
        }
    }
}

// === impl Accounts ===

impl Accounts {
    /// This roster is about to come into force: its tenants go on where their ids stopped.
    pub fn open(&mut self, roster: &Roster, now: Now) {
        for tenant in roster.tenants() {
            let account = self.by_id.entry(tenant.id().to_owned()).or_insert_with(|| Arc::new(Account::new()));
            account.renew(tenant.config(), now);
            if let Some(saved) = self.saved.remove(tenant.id()) {
                account.restore(&saved, now);
            }
            let _ = tenant.account.set(Arc::clone(account)); // a roster comes into force once
        }
        let mut departed: Vec<String> = self.by_id.keys().filter(|id| roster.tenant(id).is_none()).cloned().collect();
        departed.truncate(departed.len().saturating_sub(MOST_DEPARTED));
        departed.iter().for_each(|id| drop(self.by_id.remove(id)));
    }

    fn restore(&mut self, saved: &BTreeMap<String, SavedTenant>, now: Now) {
        for (id, saved) in saved {
            match self.by_id.get(id) {
                Some(account) => account.restore(saved, now),
                None => drop(self.saved.insert(id.clone(), saved.clone())),
            }
        }
    }

    fn saved(&self, now: Now) -> BTreeMap<String, SavedTenant> {
        let mut saved = self.saved.clone();
        saved.extend(self.by_id.iter().map(|(id, account)| (id.clone(), account.saved(now))));
        saved
    }
}

// === impl Engine ===

impl Engine {
    /// Lets a call of a tenant in, which counts it, or says why not. Once for every call.
    ///
    /// # Errors
    /// Its tenant is not known or switched off, may not do this, or comes too often.
    pub fn let_in(&self, knock: Knock<'_>) -> Result<(), Error> {
        let roster = self.roster();
        let Some(tenant) = roster.known_tenant(knock.tenant, knock.by_credential)? else { return Ok(()) };
        tenant.may(&roster, knock)?;
        let now = time::now().mono;
        let mut taken = Ok(());
        tenant.change(|live| {
            taken = live.requests.as_mut().map_or(Ok(()), |bucket| bucket.take(now));
            live.totals.requests += u64::from(taken.is_ok());
        });
        taken.map_err(|free_at| tenant.too_often(free_at, now))
    }

    /// A call was over because of a limit of its tenant's: counts that, and tells of it.
    pub fn note_refused(&self, error: &Error, log: &mut EventLog) {
        let Some(TenantLimit { tenant, limit }) = &error.context().tenant else { return };
        let roster = self.roster();
        if let Some(tenant) = roster.tenant(tenant) {
            tenant.change(|live| live.totals.refused += 1);
        }
        let now = time::unix_ms();
        let wait = error.retry_after().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        log.emit(EventKind::TenantRefused, || Event::TenantRefused {
            request_id: error.context().request_id.clone(),
            tenant: tenant.clone(),
            limit,
            reset_at: wait.map(|wait| now.saturating_add(wait)),
        });
    }

    /// What is left of a tenant's limits; `None`: there is no such tenant.
    pub fn quota(&self, tenant: &str) -> Option<TenantQuota> {
        self.roster().tenant(tenant).map(|tenant| tenant.quota(time::now()))
    }

    /// How several models answer together for this call.
    pub fn ensemble_for(&self, options: &CallOptions) -> Arc<EnsembleConfig> {
        let roster = self.roster();
        let ensemble = roster.ensemble();
        match roster.tenant_of(options).and_then(|tenant| tenant.config.max_parallel) {
            Some(most) if most < ensemble.max_parallel => {
                // As many answers as are asked for cannot be too few.
                let min_successes = ensemble.min_successes.min(most);
                Arc::new(EnsembleConfig { max_parallel: most, min_successes, ..EnsembleConfig::clone(ensemble) })
            }
            _ => Arc::clone(ensemble),
        }
    }

    /// How every tenant of the configuration stands, by id.
    pub fn tenant_stats(&self) -> BTreeMap<String, TenantStats> {
        let now = time::now();
        self.roster().tenants().map(|tenant| (tenant.id().to_owned(), tenant.stats(now))).collect()
    }

    pub(super) fn tenant_figures(&self, now: Now) -> Vec<TenantFigures> {
        self.roster().tenants().map(|tenant| tenant.figures(now)).collect()
    }

    /// What every tenant has used, those that are gone included.
    pub fn saved_tenants(&self) -> BTreeMap<String, SavedTenant> {
        lock(&self.accounts).saved(time::now())
    }

    /// Goes on with what an earlier process saved. To be done once per saved state.
    pub fn restore_tenants(&self, saved: &BTreeMap<String, SavedTenant>) {
        lock(&self.accounts).restore(saved, time::now());
    }
}

impl Roster {
    /// How long a call may take.
    pub fn longest(&self, options: &CallOptions) -> Duration {
        let limits = self.limits();
        options.deadline.unwrap_or(limits.deadline).min(self.longest_of(options.tenant.as_deref()))
    }

    /// How long a call of this tenant may take at the most.
    pub fn longest_of(&self, tenant: Option<&str>) -> Duration {
        let most = self.limits().qos.max_deadline;
        let own = tenant.and_then(|id| self.tenant(id)?.config.max_deadline);
        own.map_or(most, |own| own.min(most))
    }

    /// The tenant of a call, which may come in at all; `None`: nobody's, or a label of the program's where there are no
    /// tenants. A credential names no labels: one that outlives the last tenant would be a key without limits.
    ///
    /// # Errors
    /// There are tenants, or it is a credential that says so, and it is none of them; it is switched off.
    pub fn known_tenant(&self, id: Option<&str>, by_credential: bool) -> Result<Option<&Arc<Tenant>>, Error> {
        let Some(id) = id.filter(|_| by_credential || self.has_tenants()) else { return Ok(None) };
        match self.tenant(id) {
            None => Err(denied(id, "id", format!("there is no tenant {id:?}"))),
            Some(tenant) if !tenant.config.enabled => {
                Err(denied(id, "enabled", format!("the tenant {id:?} is switched off")))
            }
            tenant => Ok(tenant),
        }
    }

    /// May anybody answer this tenant whom that model is asked of? `None`: each provider's own model. That nobody serves it
    /// is told by whoever looks for a provider.
    ///
    /// # Errors
    /// It is served, and by none that the tenant may use.
    pub fn may_ask_for(&self, tenant: &Tenant, model: Option<&str>) -> Result<(), Error> {
        let id = tenant.id();
        let enabled = self.providers().iter().filter(|provider| provider.config().enabled);
        let serving = enabled.filter_map(|provider| Some((provider, provider.resolve_model(model)?)));
        let mut allowed = serving.map(|(provider, model)| tenant.may_use(provider, model)).peekable();
        if allowed.peek().is_none() || allowed.any(|allowed| allowed) {
            return Ok(());
        }
        let message = match model {
            Some(model) => format!("the tenant {id:?} may not use the model {model:?}"),
            None => format!("the tenant {id:?} may use none of the providers' own models; the call names no other"),
        };
        Err(denied(id, "models", message))
    }
}

impl Tenant {
    /// May it ask this of anybody?
    fn may(&self, roster: &Roster, Knock { task, model, unread, .. }: Knock<'_>) -> Result<(), Error> {
        let id = self.id();
        if !self.may_do(task) {
            let message = match task {
                Some(task) => format!("the tenant {id:?} may not do the task {task:?}"),
                None => format!("the tenant {id:?} may do its tasks only, and this call names none"),
            };
            return Err(denied(id, "tasks", message));
        }
        roster.may_ask_for(self, model)?;
        if let Some(field) = self.config.models.as_ref().and_then(|_| unread.names_a_model()) {
            let message = format!("the tenant {id:?} may use its models only, and {field} may name another");
            return Err(denied(id, "models", message));
        }
        Ok(())
    }

    fn too_often(&self, free_at: Option<Instant>, now: Instant) -> Error {
        let rps = self.config.requests.map_or(0.0, |params| params.rps);
        let reset = free_at.map(|at| at.saturating_duration_since(now));
        let then = reset.map_or_else(String::new, |reset| format!("; free in {}", span(reset)));
        let message = format!("the tenant {:?} has reached its rps of {rps}{then}", self.id());
        Error::new(ErrorKind::RateLimited { reset, failure: None }, message).with_context(limit_of(self.id(), "rps"))
    }
}

/// What an error says of the limit behind it.
pub(super) fn limit_of(tenant: &str, limit: &'static str) -> Context {
    Context { tenant: Some(TenantLimit { tenant: tenant.to_owned(), limit }), ..Context::default() }
}

fn denied(tenant: &str, limit: &'static str, message: String) -> Error {
    Error::new(ErrorKind::PermissionDenied, message).with_context(limit_of(tenant, limit))
}
