//! The only place where the leaves meet: a request goes down `run → provider → attempt → transport` and its answer
//! comes back up the same line.
//!
//! | file | decides |
//! |---|---|
//! | `roster` | which providers exist; immutable, swapped whole |
//! | `provider` | may this provider be asked now? (`Provider::admit`) |
//! | `refusal` | why not, and whether that is worth waiting for |
//! | `line` | who waits for the same thing, in order; `gate`: the slots of the pool |
//! | `permit` | the right to ask it once; settled exactly once, by the outcome or by being dropped |
//! | `attempt` | one try: encode, send, wait under the timers, read, classify |
//! | `check` | asking providers whether they are up, beside the calls |
//! | `mark` | what the program itself knows of a provider |
//! | `run` | one call: who is asked next, what is waited for, when it is over |
//! | `work` | what a call asks: a chat, a stream, a function of the caller's own |
//! | `turn` | one turn of the caller's own function, and what its error says |
//! | `stream` | a stream after its first content |
//! | `media` | what a provider cannot fetch and the pool may |
//! | `needs` | what a call needs of a provider's model |
//! | `models` | what is known of each model of a provider: prices, window, how tokens are counted |
//! | `count` | how many tokens something would be |
//! | `tenants` | on whose behalf calls are made, and within what |
//! | `purse` | what a request may cost, set aside before it goes out and settled with its permit |
//! | `mask` | what of an upstream's words may leave the pool |
//! | `sharing` | calls whose answer was kept, or is under way for another one |
//! | `ids` | what a caller's id was used for, and its answer |
//! | `key_parts` | what of the configuration is in the key of a kept answer |
//! | `panel` | whom a plan of several runs may ask |
//! | `snapshot`, `analytics` | what the pool shows of itself, over all time and over a window |
//! | `scrape` | the same as text for scrapers |
//! | `swap` | another roster in its place |
//! | `totals`, `days` | whose numbers are whose across reloads and restarts |

mod analytics;
mod attempt;
mod check;
mod count;
mod days;
mod gate;
mod ids;
mod key_parts;
mod line;
mod mark;
mod mask;
mod media;
mod models;
mod needs;
mod panel;
mod permit;
mod provider;
mod purse;
mod refusal;
mod roster;
mod run;
mod scrape;
mod sharing;
mod snapshot;
mod stream;
mod swap;
mod tenants;
#[cfg(test)]
mod tests;
mod totals;
mod turn;
mod work;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::Notify;

use self::gate::Gate;
use self::ids::Ids;
use self::line::Tickets;
use self::purse::{Purse, Teller};
use self::sharing::Flights;
use self::snapshot::Slots;
use crate::event::Interest;
use crate::metrics::{PlanTally, PoolTally};
use crate::policy::RetryBudget;
use crate::time;

pub use analytics::{Analytics, Point, ProviderWindow, Spent};
pub use count::Countable;
pub use panel::{Panelist, PlanOf};
pub use provider::Provider;
pub use purse::{BudgetPeriodStats, BudgetStats, SavedBudgets, Unbounded};
pub use roster::{Clients, Roster};
use run::{Chance, Hedges};
pub use run::{Completed, Executed, ExplainedProvider, Explanation, Outlook, RuleVerdict, Verdict};
pub use scrape::metrics_of_nothing;
pub use sharing::{Keeping, Keeps};
pub use snapshot::{
    KeyStats, Performance, PoolHealth, PoolStats, ProviderHealth, ProviderListing, ProviderStats, ProviderUsage,
};
pub use stream::ChatStream;
pub use swap::Changes;
pub use tenants::{Knock, Quota, SavedTenant, Tenant, TenantQuota, TenantStats};
pub use turn::{Classified, Fault, HttpStatusError, Task, Turn};

/// What all calls of a pool share: the roster in force, the retry budget, the totals, and who listens.
pub struct Engine {
    roster: ArcSwap<Roster>,
    /// Wakes whoever goes by the roster in force beside the calls.
    swapped: Arc<Notify>,
    interest: Arc<Interest>,
    budget: Mutex<RetryBudget>,
    hedges: Mutex<Hedges>,
    chance: Mutex<Chance>,
    tally: Mutex<PoolTally>,
    books: Mutex<totals::Books>,
    budgets: Mutex<purse::Books>,
    /// The pool's own budget in force.
    purse: ArcSwapOption<Purse>,
    teller: Teller,
    days: Mutex<days::Days>,
    accounts: Mutex<tenants::Accounts>,
    /// Providers of earlier rosters whose last attempt may still be under way.
    retired: Mutex<Vec<Arc<Provider>>>,
    /// The slots of the pool.
    gate: Arc<Gate>,
    /// Calls that wait for capacity right now.
    waiting: AtomicUsize,
    tickets: Tickets,
    flights: Flights,
    ids: Ids,
    plans: Mutex<PlanTally>,
}

impl Engine {
    pub fn new(roster: Roster, interest: Arc<Interest>, history_limit: usize) -> Self {
        let routing = roster.routing();
        let mut books = totals::Books::default();
        books.open(&roster);
        let mut budgets = purse::Books::default();
        let mut accounts = tenants::Accounts::default();
        accounts.open(&roster, time::now());
        Self {
            budget: Mutex::new(RetryBudget::new(routing.retry_budget.clone())),
            hedges: Mutex::new(Hedges::new(roster.limits().qos.hedge.as_ref())),
            chance: Mutex::new(Chance::new(routing.seed)),
            tally: Mutex::new(PoolTally::new(history_limit)),
            books: Mutex::new(books),
            purse: ArcSwapOption::new(budgets.open(&roster, time::now())),
            teller: budgets.teller(),
            budgets: Mutex::new(budgets),
            days: Mutex::default(),
            accounts: Mutex::new(accounts),
            retired: Mutex::default(),
            roster: ArcSwap::from_pointee(roster),
            swapped: Arc::default(),
            interest,
            gate: Arc::default(),
            waiting: AtomicUsize::new(0),
            tickets: Tickets::default(),
            flights: Flights::default(),
            ids: Ids::default(),
            plans: Mutex::default(),
        }
    }

    /// The roster in force. A call keeps the one it began with.
    pub fn roster(&self) -> Guard<Arc<Roster>> {
        self.roster.load()
    }

    /// Closes the breaker of every provider, or only of the named one, and forgets which models it said it does not have;
    /// says of whom that changed something.
    pub fn reset_circuit_breakers(&self, name: Option<&str>) -> Vec<String> {
        self.roster()
            .providers()
            .iter()
            .filter(|provider| name.is_none_or(|name| provider.name().as_str() == name))
            .filter(|provider| provider.reset())
            .map(|provider| provider.name().to_string())
            .collect()
    }

    pub fn stats(&self) -> PoolStats {
        let totals = self.totals();
        let roster = self.roster();
        let in_flight = roster.providers().iter().map(|provider| provider.look(|live| u64::from(live.in_flight)));
        let in_flight = in_flight.sum::<u64>() + self.retired_in_flight();
        let mut trips = 0;
        lock(&self.books).each(|_, tally| trips += tally.trips);
        let slots = Slots { most: roster.routing().max_concurrent, taken: self.gate.taken() };
        let stats = PoolStats::of(
            &totals,
            &lock(&self.tally),
            &lock(&self.hedges),
            &lock(&self.plans),
            in_flight,
            trips,
            slots,
        );
        PoolStats {
            budget: self.purse.load().as_ref().map(|purse| purse.stats(time::unix_ms())),
            tenants: self.tenant_stats(),
            ..stats
        }
    }

    pub fn health(&self) -> PoolHealth {
        let now = time::now();
        let has_money = self.purse.load().as_ref().is_none_or(|purse| purse.spent_until(now.unix_ms).is_none());
        let best = self.best_provider().filter(|_| has_money);
        let health = PoolHealth::of(self.roster().providers(), best, now);
        PoolHealth { healthy: health.healthy && has_money, ..health }
    }

    /// Lets go of every connection. Only once no call is left.
    pub fn disconnect(&self) {
        for provider in self.roster().providers() {
            provider.disconnect();
        }
    }

    fn random(&self) -> f64 {
        lock(&self.chance).random.f64()
    }
}

/// No lock in the engine is held across a point that can panic with half-done state, so a poisoned one is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
