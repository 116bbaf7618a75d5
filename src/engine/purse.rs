//! The money of requests: what is set aside before one goes out, and what becomes of that.
//!
//! A request falls under the budgets of its provider, of its tenant and of the pool, and goes out when it fits into each.
//! What it needs is reckoned here, because here prices, tokens and budgets meet:
//!
//! - `soft`: the estimate of the prompt and what 99 of 100 of the model's last answers had, as the price list has them;
//! - `strict`: the most that prompt and answer can have, at the dearest of the model's prices. What has no bound is
//!   refused.
//!
//! The books belong to names and outlive rosters: another limit finds what was spent before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::lock;
use super::models::Model;
use super::refusal::Refusal;
use super::roster::Roster;
use crate::event::{Event, EventKind, EventLog};
use crate::policy::{
    Budget, BudgetMode, BudgetParams, BudgetWarning, BudgetWindow, Period, Reserved, SavedBudget, Tokens,
};
use crate::time::{Instant, Now};
use crate::types::{NanoUsd, ProviderName, Usage};

/// A request that was admitted goes out after this at the latest, as far as its price is concerned: no call takes longer
/// unless it is allowed to.
const SENT_WITHIN_MS: u64 = 600_000;

/// Who has a budget.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    Pool,
    /// By its id.
    Tenant(String),
    Provider(ProviderName),
}

/// One budget with its book.
#[derive(Debug)]
pub(super) struct Purse {
    whose: Whose,
    book: Mutex<Budget>,
    news: Arc<News>,
}

/// What is known of a request's size before it is sent, where a budget wants to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Tokens of the prompt, about.
    pub prompt: u64,
    /// What it makes of an answer.
    pub answer: AnswerSize,
    /// Tokens of prompt and answer at the most.
    pub most: Result<(u64, u64), Unbounded>,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerSize {
    /// It has no tokens that anybody pays for.
    Nothing,
    /// As the request bounds it.
    UpTo(Option<u32>),
}

/// What keeps a request from having a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbounded {
    /// Neither the call nor the provider says how long the answer may be.
    Answer,
    /// Pictures, sound or files go to a model whose window is not known.
    Parts,
    /// Fields that the pool does not read.
    ExtraBody,
    /// Of another API, or of one that is passed on: which it is, the call knows.
    Unread,
    /// A function of the caller's own.
    Function,
}

/// The budgets that a request falls under, while it is decided whether it fits.
pub(super) struct Till<'a> {
    purses: &'a Purses,
    books: [Option<MutexGuard<'a, Budget>>; PURSES],
    amounts: [NanoUsd; PURSES],
}

/// Budgets that one request may fall under.
const PURSES: usize = 3;

/// The provider's, the tenant's and the pool's.
pub(super) type Purses = [Option<Arc<Purse>>; PURSES];

/// What was set aside for one request.
#[must_use = "what is not settled stays set aside until its day and month are over"]
#[derive(Debug, Default)]
pub(super) struct Money([Option<(Arc<Purse>, Reserved)>; PURSES]);

/// What a request came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bill {
    /// So much; 0 when nothing was sent, or when nobody knows the price.
    Known(NanoUsd),
    /// It went out and nobody heard what it used: about so much. A provider that went on writing may ask for all that was
    /// set aside, which is what a strict budget takes.
    Open(NanoUsd),
}

/// Shares of budgets that were spent, until somebody can be told.
#[derive(Debug, Default)]
struct News {
    any: AtomicBool,
    list: Mutex<Vec<(Whose, BudgetWarning)>>,
}

/// Every budget that is or was in force, by whose it is.
#[derive(Debug, Default)]
pub(super) struct Books {
    by_name: BTreeMap<Whose, Arc<Purse>>,
    /// What an earlier process spent for whom there is no budget now.
    saved: BTreeMap<Whose, SavedBudget>,
    news: Arc<News>,
}

/// What was spent under each budget, for the next process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedBudgets {
    pub pool: Option<SavedBudget>,
    pub providers: BTreeMap<String, SavedBudget>,
    pub tenants: BTreeMap<String, SavedBudget>,
}

/// A budget as it is now. `None` in it: that period has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BudgetStats {
    pub daily: Option<BudgetPeriodStats>,
    pub monthly: Option<BudgetPeriodStats>,
}

/// One limit of a budget, in USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetPeriodStats {
    pub limit: NanoUsd,
    pub spent: NanoUsd,
    /// For requests under way.
    pub reserved: NanoUsd,
    /// Unix milliseconds at which it begins anew.
    pub reset_at: u64,
}

// === impl Whose ===

impl Whose {
    /// The word in events and errors.
    pub fn scope(&self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Tenant(_) => "tenant",
            Self::Provider(_) => "provider",
        }
    }

    pub fn provider(&self) -> Option<&ProviderName> {
        if let Self::Provider(name) = self { Some(name) } else { None }
    }

    pub fn tenant(&self) -> Option<&str> {
        if let Self::Tenant(id) = self { Some(id) } else { None }
    }
}

// === impl Extent ===

impl Extent {
    /// Of a call that no budget asks.
    pub const UNASKED: Self = Self { prompt: 0, answer: AnswerSize::Nothing, most: Ok((0, 0)) };

    /// What a tenant's limit of tokens reserves: an answer that the call does not bound is taken for as long as nearly all
    /// of the model's are. Where nothing at all were reserved, calls at once would pass a limit together.
    pub fn likely(&self, model: &Model) -> Tokens {
        let answer = match self.answer {
            AnswerSize::Nothing => 0,
            AnswerSize::UpTo(Some(bound)) => bound.into(),
            AnswerSize::UpTo(None) => lock(&model.answers).expected(None),
        };
        Tokens { prompt: self.prompt, answer }
    }
}

// === impl Purse ===

impl Purse {
    /// What is reserved for a request; `None`: nobody knows its price.
    fn needs(&self, mode: BudgetMode, model: &Model, extent: &Extent, now: Now) -> Result<Option<NanoUsd>, Unbounded> {
        let answer = match extent.answer {
            AnswerSize::Nothing => 0,
            AnswerSize::UpTo(bound) => lock(&model.answers).expected(bound),
        };
        let likely = model.cost(&Usage::reported(extent.prompt, answer), now.unix_ms);
        match (likely, mode) {
            (None, _) | (_, BudgetMode::Soft) => Ok(likely),
            (Some(_), BudgetMode::Strict) => {
                let (prompt, answer) = extent.most?;
                let latest = now.unix_ms.saturating_add(SENT_WITHIN_MS);
                Ok(model.prices.as_ref().and_then(|prices| prices.most(now.unix_ms, latest, prompt, answer)))
            }
        }
    }

    pub fn is_strict(&self) -> bool {
        lock(&self.book).params().mode == BudgetMode::Strict
    }

    fn settle(&self, reserved: Reserved, bill: Bill, now: Now) {
        let mut book = lock(&self.book);
        let cost = match (bill, book.params().mode) {
            (Bill::Known(cost), _) | (Bill::Open(cost), BudgetMode::Soft) => cost,
            (Bill::Open(cost), BudgetMode::Strict) => cost.max(reserved.amount()),
        };
        let warnings = book.settle(reserved, cost, now.unix_ms);
        drop(book);
        for warning in warnings.into_iter().flatten() {
            lock(&self.news.list).push((self.whose.clone(), warning));
            self.news.any.store(true, Ordering::Release);
        }
    }

    /// The end of the last period that has no room left; `None`: there is room.
    pub fn spent_until(&self, unix_ms: u64) -> Option<u64> {
        lock(&self.book).spent_until(unix_ms)
    }

    pub fn stats(&self, unix_ms: u64) -> BudgetStats {
        let [daily, monthly] = lock(&self.book).windows(unix_ms).map(BudgetPeriodStats::of);
        BudgetStats { daily, monthly }
    }
}

impl BudgetPeriodStats {
    fn of(window: BudgetWindow) -> Option<Self> {
        let BudgetWindow { period: _, limit, spent, reserved, resets_at } = window;
        Some(Self { limit: limit?, spent, reserved, reset_at: resets_at })
    }
}

impl BudgetStats {
    /// The periods that have a limit, by name.
    pub fn periods(&self) -> impl Iterator<Item = (&'static str, BudgetPeriodStats)> {
        let named = |period: Period, stats: Option<BudgetPeriodStats>| Some((period.as_str(), stats?));
        [named(Period::Day, self.daily), named(Period::Month, self.monthly)].into_iter().flatten()
    }
}

// === impl Till ===

impl<'a> Till<'a> {
    /// Nobody else reserves anything of these until it is dropped.
    pub fn open(purses: &'a Purses) -> Self {
        // In this order, everywhere: two requests never wait for each other.
        let books = purses.each_ref().map(|purse| purse.as_deref().map(|purse| lock(&purse.book)));
        Self { purses, books, amounts: [NanoUsd(0); PURSES] }
    }

    /// Does the request fit into each? Takes nothing.
    pub fn check(&mut self, model: &Model, extent: &Extent, now: Now) -> Result<(), Refusal> {
        for ((purse, book), amount) in self.purses.iter().zip(&mut self.books).zip(&mut self.amounts) {
            let (Some(purse), Some(book)) = (purse, book) else { continue };
            let BudgetParams { mode, allow_unpriced, .. } = *book.params();
            let whose = || purse.whose.clone();
            *amount = match purse.needs(mode, model, extent, now) {
                Ok(Some(amount)) => amount,
                Ok(None) if allow_unpriced => NanoUsd(0),
                Ok(None) => return Err(Refusal::Unpriced { whose: whose() }),
                Err(what) => return Err(Refusal::Unbounded { whose: whose(), what }),
            };
            book.check(now.unix_ms, *amount).map_err(|over| Refusal::Budget {
                whose: whose(),
                free_at: over.resets_at.map(|at| instant_of(at, now)),
                over,
            })?;
        }
        Ok(())
    }

    /// A call was refused: so much and more does not fit any longer.
    pub fn note(&mut self, refusal: &Refusal) {
        let Refusal::Budget { whose, over, .. } = refusal else { return };
        for (purse, book) in self.purses.iter().zip(&mut self.books) {
            if let Some((_, book)) = purse.as_ref().zip(book.as_mut()).filter(|(purse, _)| purse.whose == *whose) {
                book.note_refused(over);
            }
        }
    }

    /// Sets aside what was just found to fit.
    pub fn take(self) -> Money {
        let Self { purses, books, amounts } = self;
        let mut money = Money::default();
        for (((purse, book), amount), taken) in purses.iter().zip(books).zip(amounts).zip(&mut money.0) {
            *taken = purse.as_ref().zip(book).map(|(purse, mut book)| (Arc::clone(purse), book.take(amount)));
        }
        money
    }
}

/// A point of the wall clock on the monotonic one.
fn instant_of(unix_ms: u64, now: Now) -> Instant {
    now.mono + std::time::Duration::from_millis(unix_ms.saturating_sub(now.unix_ms))
}

// === impl Money ===

impl Money {
    pub fn settle(self, bill: Bill, now: Now) {
        for (purse, reserved) in self.0.into_iter().flatten() {
            purse.settle(reserved, bill, now);
        }
    }
}

// === impl Books ===

impl Books {
    /// This roster is about to come into force: its providers get their purses. The answer is the pool's.
    pub fn open(&mut self, roster: &Roster, now: Now) -> Option<Arc<Purse>> {
        for provider in roster.providers() {
            if let Some(params) = &provider.config().budget {
                provider.pay_from(self.purse(Whose::Provider(provider.name().clone()), params, now));
            }
        }
        for tenant in roster.tenants() {
            if let Some(params) = &tenant.config().budget {
                tenant.pay_from(self.purse(Whose::Tenant(tenant.id().to_owned()), params, now));
            }
        }
        let pool = roster.budget().map(|params| self.purse(Whose::Pool, params, now));
        // A budget that comes back finds what was spent under it, as long as that counts, and what may yet be: calls
        // under way hold their purse, and so does a provider of the roster before, which may still admit some.
        let named: BTreeSet<_> = roster.providers().iter().map(|provider| provider.name()).collect();
        self.by_name.retain(|whose, purse| {
            let stays = match whose {
                Whose::Pool => true,
                Whose::Tenant(id) => roster.tenant(id).is_some(),
                Whose::Provider(name) => named.contains(name),
            };
            let in_use = Arc::strong_count(purse) > 1;
            stays || in_use || lock(&purse.book).windows(now.unix_ms).iter().any(|window| window.spent > NanoUsd(0))
        });
        pool
    }

    fn purse(&mut self, whose: Whose, params: &BudgetParams, now: Now) -> Arc<Purse> {
        let Self { by_name, saved, news } = self;
        let purse = by_name.entry(whose.clone()).or_insert_with(|| {
            let mut book = Budget::new(params.clone());
            if let Some(saved) = saved.remove(&whose) {
                book.restore(&saved, now.unix_ms);
            }
            Arc::new(Purse { whose, book: Mutex::new(book), news: Arc::clone(news) })
        });
        lock(&purse.book).renew(params.clone());
        Arc::clone(purse)
    }

    /// Adds what an earlier process spent. To be done once.
    pub fn restore(&mut self, budgets: &SavedBudgets, now: Now) {
        let SavedBudgets { pool, providers, tenants } = budgets;
        let providers =
            providers.iter().map(|(name, saved)| (Whose::Provider(ProviderName::new(name.as_str())), saved));
        let tenants = tenants.iter().map(|(id, saved)| (Whose::Tenant(id.clone()), saved));
        for (whose, saved) in pool.iter().map(|saved| (Whose::Pool, saved)).chain(providers).chain(tenants) {
            match self.by_name.get(&whose) {
                Some(purse) => lock(&purse.book).restore(saved, now.unix_ms),
                None => drop(self.saved.insert(whose, *saved)),
            }
        }
    }

    pub fn saved(&self) -> SavedBudgets {
        let mut budgets = SavedBudgets::default();
        let known = self.by_name.iter().map(|(whose, purse)| (whose, lock(&purse.book).saved()));
        for (whose, saved) in self.saved.iter().map(|(whose, saved)| (whose, *saved)).chain(known) {
            match whose {
                Whose::Pool => budgets.pool = Some(saved),
                Whose::Tenant(id) => drop(budgets.tenants.insert(id.clone(), saved)),
                Whose::Provider(name) => drop(budgets.providers.insert(name.to_string(), saved)),
            }
        }
        budgets
    }

    pub fn teller(&self) -> Teller {
        Teller(Arc::clone(&self.news))
    }
}

/// Tells what budgets have to say.
#[derive(Debug)]
pub(super) struct Teller(Arc<News>);

impl Teller {
    /// Tells it to a call that ends now, whichever call it was about.
    pub fn tell(&self, log: &mut EventLog) {
        if !self.0.any.swap(false, Ordering::AcqRel) {
            return;
        }
        for (whose, warning) in std::mem::take(&mut *lock(&self.0.list)) {
            let BudgetWarning { period, limit, spent, resets_at } = warning;
            log.emit(EventKind::BudgetWarning, || Event::BudgetWarning {
                scope: whose.scope(),
                provider: whose.provider().cloned(),
                tenant: whose.tenant().map(str::to_owned),
                period: period.as_str(),
                spent,
                limit,
                reset_at: resets_at,
            });
        }
    }
}
