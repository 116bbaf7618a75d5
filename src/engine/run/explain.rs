//! What a call would do if it came now, without making it.
//!
//! It goes the way of a call by the same steps: the rules (`eligible`), the tiers and their order (`order`, on a copy of
//! whose turn it is and of the source of chance), what each provider says when it is asked for leave (`Provider::admit`
//! and `Provider::examine` are one check), and what is waited for (`wait`). Nothing is reserved, nobody's turn is taken, no
//! breaker moves, no number of the pool changes.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::eligible::{Eligible, Rule, Rules};
use super::errors::no_provider;
use super::order::order_first_tier;
use super::visit::Visit;
use super::{Run, unix_ms_of};
use crate::engine::provider::{Asking, Provider};
use crate::engine::refusal::Refusal;
use crate::engine::work::Work;
use crate::engine::{Engine, lock};
use crate::error::Error;
use crate::event::EventLog;
use crate::metrics::Route;
use crate::time::{self, Now};
use crate::types::{Behaviour, CallOptions, ChatRequest, ProviderName};

/// What a call would do if it came now, and why. In this order: who can be asked, best first; who cannot be asked now;
/// who cannot answer it at all.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub outcome: Outlook,
    /// Who would be asked first. `None` unless the outcome is [`Outlook::Ask`].
    pub would_ask: Option<ProviderName>,
    /// The outcome in one sentence, for people.
    pub reason: String,
    /// Unix milliseconds at which the wait is over at the latest; `None` where nothing is waited for, or only for the end
    /// of other calls.
    pub retry_at: Option<u64>,
    /// By what providers of one tier are ordered.
    pub behaviour: Behaviour,
    pub providers: Vec<ExplainedProvider>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Somebody is asked at once.
    Ask,
    /// Nobody can be asked now, and what is in the way ends soon enough to be waited for.
    Wait,
    /// It fails at once.
    Fail,
}

/// How one provider stands to the call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedProvider {
    pub name: ProviderName,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it would be asked for; `None`: it does not serve the model that is asked for.
    pub model: Option<String>,
    pub verdict: Verdict,
    /// 1 is asked first, 2 when that fails, and so on; `None` for those that cannot be asked.
    pub rank: Option<usize>,
    pub priority: u32,
    pub weight: u32,
    /// How good it has been lately, 0 to 1, as `adaptive` sees it.
    pub score: f64,
    /// What is against it, the first thing first; `None`: nothing.
    pub reason: Option<String>,
    /// Unix milliseconds at which that ends, where that is known.
    pub retry_at: Option<u64>,
    /// Every rule with what it says for itself. Those about how the provider is doing are only looked at where it can
    /// answer the call.
    pub rules: Vec<RuleVerdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Asked first, as soon as the pool has a slot.
    First,
    /// Could be asked now and is, when those before it have failed.
    Next,
    /// Could answer, and cannot be asked now.
    Blocked,
    /// Is not asked by this call at all.
    Excluded,
}

/// What one rule says about a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleVerdict {
    pub rule: &'static str,
    pub ok: bool,
    /// What it has against the provider.
    pub reason: Option<String>,
    /// Unix milliseconds at which that ends, where that is known.
    pub retry_at: Option<u64>,
}

impl Explanation {
    /// Of a pool that has no configuration yet.
    pub fn not_initialized() -> Self {
        Self {
            outcome: Outlook::Fail,
            would_ask: None,
            reason: "the pool is not initialized".to_owned(),
            retry_at: None,
            behaviour: Behaviour::default(),
            providers: Vec::new(),
        }
    }
}

impl Engine {
    /// What this request would do if it came now: who is asked first, who would follow, and why the others are not asked.
    /// Nobody is called and nothing in the pool changes. `streams`: as [`Engine::stream`] would, whose measure of speed is
    /// another one.
    ///
    /// # Errors
    /// What a call is refused for before it looks for a provider: a header or a schema that cannot be, a provider that
    /// there is not.
    pub fn explain(&self, request: &ChatRequest, streams: bool, options: &CallOptions) -> Result<Explanation, Error> {
        let roster = Arc::clone(&self.roster());
        let (work, route) =
            if streams { (Work::Stream(request), Route::Stream) } else { (Work::Chat(request), Route::Chat) };
        let mut log = EventLog::new(Arc::default());
        Run::off_the_books(self, &roster, route, options, &mut log).explain(work, options)
    }

    /// Who a plain call would be asked of first, the slots of the pool aside.
    pub(in crate::engine) fn best_provider(&self) -> Option<ProviderName> {
        // The shortest answer, which has a bound where a strict budget asks for one. That it would still fit says nothing of
        // a budget that has refused what calls really ask for.
        let request = ChatRequest { max_tokens: Some(1), ..ChatRequest::default() };
        let explanation = self.explain(&request, false, &CallOptions::default()).ok()?;
        let (roster, now) = (self.roster(), time::now());
        let has_money = |name: &str| roster.find(name).is_some_and(|provider| provider.spent_until(now).is_none());
        let ranked = explanation.providers.into_iter().filter(|it| it.rank.is_some());
        ranked.map(|it| it.name).find(|name| has_money(name.as_str()))
    }
}

impl Run<'_> {
    fn explain(mut self, work: Work<'_>, options: &CallOptions) -> Result<Explanation, Error> {
        let now = time::now();
        self.read(work, options)?;
        let mut rules = Rules::new(self.roster, work, options)?;
        let Eligible { visits, excluded } = rules.eligible(self.roster);
        if visits.is_empty() {
            let providers = self.the_others(&mut rules, &[], now);
            return Ok(self.explanation(Outlook::Fail, no_provider(excluded).to_string(), providers));
        }
        let mut visits = self.set_up(visits, work);
        self.order_all(&mut visits, now);
        let mut providers: Vec<_> = visits.iter_mut().map(|visit| self.examine(visit, &mut rules, now)).collect();
        self.rank(&mut providers, &visits);
        providers.extend(self.the_others(&mut rules, &visits, now));
        providers.sort_by_key(|it| (it.verdict == Verdict::Excluded, it.rank.unwrap_or(usize::MAX)));
        Ok(self.conclude(providers, &mut visits, now))
    }

    /// Every tier, as if the call had come to it.
    fn order_all(&self, visits: &mut [Visit], now: Now) {
        let chance = Mutex::new(lock(&self.engine.chance).clone());
        let mut ordered = 0;
        while ordered < visits.len() {
            ordered += order_first_tier(&mut visits[ordered..], self.wish, now, &chance);
        }
    }

    /// Asks a provider for leave without taking it; what it says is kept in the visit.
    fn examine(&self, visit: &mut Visit, rules: &mut Rules<'_>, now: Now) -> ExplainedProvider {
        let asking = Asking { sparing: true, ..self.wants(visit, &[]) };
        let (refusal, verdicts) = visit.provider.examine(now, &asking);
        let mut explained = self.look_at(rules, &visit.provider, now);
        let healthy = visit.provider.is_healthy();
        explained.rules.push(RuleVerdict {
            rule: "health",
            ok: healthy,
            reason: (!healthy).then(|| "active checks found it down: asked after all others".to_owned()),
            retry_at: None,
        });
        explained.rules.extend(verdicts.iter().map(|(rule, refusal)| RuleVerdict::of(rule, refusal.as_ref(), now)));
        if let Some(refusal) = &refusal {
            let RuleVerdict { reason, retry_at, .. } = RuleVerdict::of("", Some(refusal), now);
            (explained.reason, explained.retry_at) = (reason, retry_at);
        } else {
            explained.reason = explained.rules.iter().find_map(|rule| rule.reason.clone());
        }
        visit.refusal = refusal;
        explained
    }

    /// Gives the ranks: those that take the call first, then those that say they have nothing left.
    fn rank(&self, explained: &mut [ExplainedProvider], visits: &[Visit]) {
        let takes_it = |at: &usize| visits[*at].refusal.is_none();
        let is_spared = |at: &usize| matches!(visits[*at].refusal, Some(Refusal::Spent));
        let all = || 0..visits.len();
        let in_turn: Vec<usize> = all().filter(takes_it).chain(all().filter(is_spared)).collect();
        for it in explained.iter_mut() {
            it.verdict = Verdict::Blocked;
        }
        for (rank, at) in in_turn.into_iter().enumerate() {
            let it = &mut explained[at];
            if rank == 0 || self.failover {
                it.rank = Some(rank + 1);
                it.verdict = if rank == 0 { Verdict::First } else { Verdict::Next };
            } else {
                it.verdict = Verdict::Excluded;
                it.reason = Some("the call does not fail over".to_owned());
            }
        }
    }

    /// Providers that cannot answer this call.
    fn the_others(&self, rules: &mut Rules<'_>, visits: &[Visit], now: Now) -> Vec<ExplainedProvider> {
        let is_out = |provider: &&Arc<Provider>| !visits.iter().any(|visit| Arc::ptr_eq(&visit.provider, provider));
        let others = self.roster.providers().iter().filter(is_out);
        others.map(|provider| self.look_at(rules, provider, now)).collect()
    }

    /// A provider by the rules alone.
    fn look_at(&self, rules: &mut Rules<'_>, provider: &Arc<Provider>, now: Now) -> ExplainedProvider {
        let candidate = rules.candidate(provider);
        let model = candidate.model.map(|(model, _)| model);
        let rules: Vec<_> = Rule::ALL
            .into_iter()
            .map(|rule| {
                let reason = rules.against(rule, &candidate);
                RuleVerdict { rule: rule.as_str(), ok: reason.is_none(), reason, retry_at: None }
            })
            .collect();
        let config = provider.config();
        let (_, score) = provider.standing(now, model.unwrap_or_default(), self.wish.pace);
        ExplainedProvider {
            name: config.name.clone(),
            kind: config.service.name,
            model: model.map(str::to_owned),
            verdict: Verdict::Excluded,
            rank: None,
            priority: provider.priority(),
            weight: config.weight,
            score,
            reason: rules.iter().find_map(|rule| rule.reason.clone()),
            retry_at: None,
            rules,
        }
    }

    /// What the call would do, by what the visits say.
    fn conclude(&mut self, providers: Vec<ExplainedProvider>, visits: &mut [Visit], now: Now) -> Explanation {
        let most = self.roster.routing().max_concurrent;
        if !self.engine.gate.has_room(most) {
            // As a call notes it, which does not get to the providers without a slot.
            self.pool_is_full_for = (0..visits.len()).find(|at| self.is_worth_a_slot(&visits[*at], now));
            if let Some(at) = self.pool_is_full_for {
                visits.iter_mut().for_each(|visit| visit.refusal = None);
                visits[at].refusal = Some(Refusal::PoolBusy { limit: most.unwrap_or(u32::MAX) });
            }
        } else if let Some(first) = providers.iter().find(|it| it.verdict == Verdict::First) {
            let name = first.name.clone();
            let explanation = self.explanation(Outlook::Ask, format!("{name} would be asked"), providers);
            return Explanation { would_ask: Some(name), ..explanation };
        }
        let next = self.options(visits, now);
        match next.first().filter(|_| self.may_queue()) {
            None => {
                let error = self.exhausted(visits, now);
                self.explanation(Outlook::Fail, error.to_string(), providers)
            }
            Some(next) => {
                let visit = &visits[next.at];
                let why = visit.refusal.as_ref().map(|refusal| refusal.describe(now.mono)).unwrap_or_default();
                let reason = format!("it would wait: {}: {why}", visit.provider.name());
                let retry_at = (!next.turn).then(|| unix_ms_of(next.when, now));
                Explanation { retry_at, ..self.explanation(Outlook::Wait, reason, providers) }
            }
        }
    }

    fn explanation(&self, outcome: Outlook, reason: String, providers: Vec<ExplainedProvider>) -> Explanation {
        Explanation { outcome, would_ask: None, reason, retry_at: None, behaviour: self.wish.behaviour, providers }
    }
}

impl RuleVerdict {
    fn of(rule: &'static str, refusal: Option<&Refusal>, now: Now) -> Self {
        let until = refusal.and_then(Refusal::until);
        Self {
            rule,
            ok: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.describe(now.mono)),
            retry_at: until.map(|at| unix_ms_of(at, now)),
        }
    }
}
