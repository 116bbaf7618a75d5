//! What a call may cost, as far as it can be told before it is sent, and how a call ends that nobody may be paid for.

use std::sync::Arc;

use super::Run;
use super::visit::Visit;
use crate::adapter::{AdapterKind, Unread};
use crate::engine::attempt::input_tokens;
use crate::engine::purse::{AnswerSize, Extent, Purse, Unbounded};
use crate::engine::refusal::{Refusal, span};
use crate::engine::tenants::{Tenant, limit_of};
use crate::engine::work::Work;
use crate::error::{BudgetExceeded, Context, Error, ErrorKind};
use crate::policy::{OverBudget, Tokens};
use crate::time::Now;
use crate::tokens::{PromptSize, most_prompt_tokens};
use crate::types::{AttemptOutcome, EmbedInput, EmbedRequest, FieldError};

/// How large a call is, taken once, where a budget or a limit of tokens wants to know.
#[derive(Debug)]
pub(super) struct CallSize {
    prompt: PromptSize,
    /// Of inputs to embed, the tokens of each and all behind it, about: those of a batch that came are paid.
    inputs: Vec<u64>,
    /// The bound that the call sets its answer.
    answer: Option<u32>,
    kind: Kind,
    /// More tokens than the prompt can have, where a strict budget wants to know; `None`: there is no bound.
    most_prompt: Option<u64>,
    /// Types of providers whose request gets fields that the pool does not read.
    extra_body: Vec<String>,
    /// Other such fields that may change what it costs, where a strict budget wants to know.
    unread: Vec<(AdapterKind, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Chat,
    Embed,
    Own,
}

// === impl CallSize ===

impl CallSize {
    /// Counting costs time that a call need not spend which no budget and no limit of tokens is in the way of.
    pub fn wanted(work: Work<'_>, visits: &[Visit], pool: Option<&Purse>, tenant: Option<&Tenant>) -> Option<Self> {
        let of_tenant = tenant.and_then(Tenant::purse).map(Arc::as_ref);
        let purses = || visits.iter().filter_map(|visit| visit.provider.purse()).chain(pool).chain(of_tenant);
        let counts = |visit: &Visit| visit.provider.config().rate.counts_tokens();
        let is_wanted =
            purses().next().is_some() || visits.iter().any(counts) || tenant.is_some_and(Tenant::counts_tokens);
        is_wanted.then(|| Self::of(work, purses().any(Purse::is_strict)))
    }

    fn of(work: Work<'_>, strict: bool) -> Self {
        match work {
            Work::Chat(request) | Work::Stream(request) => Self {
                prompt: PromptSize::of(request),
                inputs: Vec::new(),
                answer: request.max_tokens,
                kind: Kind::Chat,
                most_prompt: if strict { most_prompt_tokens(request) } else { None },
                extra_body: request.extra_body.keys().cloned().collect(),
                unread: if strict { Unread::of_chat(request).may_cost_more() } else { Vec::new() },
            },
            Work::Embed(request) => Self {
                prompt: PromptSize::default(),
                inputs: embedded(request),
                answer: None,
                kind: Kind::Embed,
                most_prompt: Some(most_embedded(&request.input)),
                extra_body: request.extra_body.keys().cloned().collect(),
                unread: Vec::new(),
            },
            Work::Own { .. } => Self {
                prompt: PromptSize::default(),
                inputs: Vec::new(),
                answer: None,
                kind: Kind::Own,
                most_prompt: None,
                extra_body: Vec::new(),
                unread: Vec::new(),
            },
        }
    }

    /// As large as it is for the provider of this visit.
    pub fn at(&self, visit: &Visit) -> Extent {
        let bound = visit.provider.endpoint().answer_bound(self.answer, &visit.without);
        Extent {
            prompt: match self.kind {
                Kind::Embed => self.inputs.get(visit.gathered.vectors.len()).copied().unwrap_or_default(),
                Kind::Chat | Kind::Own => visit.provider.counter(&visit.model).estimate(&self.prompt),
            },
            answer: match self.kind {
                Kind::Embed => AnswerSize::Nothing,
                Kind::Chat => AnswerSize::UpTo(bound),
                Kind::Own => AnswerSize::UpTo(None),
            },
            most: self.most_at(visit, bound),
        }
    }

    /// What the limits of a provider's tokens reserve. Embeddings go in batches whose lengths are not known here, and of a function nothing is
    /// known: limits learn from what they report.
    pub fn tokens(&self, extent: &Extent) -> Tokens {
        match (self.kind, extent.answer) {
            (Kind::Chat, AnswerSize::UpTo(bound)) => {
                Tokens { prompt: extent.prompt, answer: bound.map_or(0, u64::from) }
            }
            _ => Tokens::default(),
        }
    }

    fn most_at(&self, visit: &Visit, bound: Option<u32>) -> Result<(u64, u64), Unbounded> {
        let config = visit.provider.config();
        if !config.extra_body.is_empty() || self.extra_body.iter().any(|kind| kind == config.service.name) {
            return Err(Unbounded::ExtraBody);
        }
        if self.unread.iter().any(|(adapter, _)| *adapter == config.service.adapter) {
            return Err(Unbounded::Unread);
        }
        let answer = match self.kind {
            Kind::Chat => u64::from(bound.ok_or(Unbounded::Answer)?),
            Kind::Embed => 0,
            Kind::Own => return Err(Unbounded::Function),
        };
        // A longer prompt than the window is refused and costs nothing; `null` is a window without an end.
        let window = visit.provider.endpoint().facts(&visit.model).context_window.filter(|window| *window < u64::MAX);
        Ok((self.most_prompt.or(window).ok_or(Unbounded::Parts)?, answer))
    }
}

/// Tokens of each input and all behind it, about.
fn embedded(request: &EmbedRequest) -> Vec<u64> {
    let mut tokens: Vec<u64> = (0..request.input.len()).map(|at| input_tokens(&request.input, at)).collect();
    let mut rest = 0;
    for tokens in tokens.iter_mut().rev() {
        rest += *tokens;
        *tokens = rest;
    }
    tokens
}

/// More tokens than they can have: a token is at least a byte, and each text may get one at its beginning and its end.
fn most_embedded(input: &EmbedInput) -> u64 {
    match input {
        EmbedInput::Texts(texts) => texts.iter().map(|text| text.len() as u64 + 2).sum(),
        EmbedInput::Tokens(lists) => lists.iter().map(|tokens| tokens.len() as u64 + 2).sum(),
    }
}

impl Run<'_> {
    /// Nobody was asked, and nobody could be: the tenant has no tokens left for the call. `None`: it is something else.
    pub(super) fn out_of_tokens(&self, considered: &[&Visit], now: Now) -> Option<Error> {
        let of = |visit: &&Visit| match &visit.refusal {
            Some(Refusal::TenantTokens { tenant, limit, not_before }) => Some((tenant.clone(), *limit, *not_before)),
            _ => None,
        };
        let refusals: Option<Vec<_>> = considered.iter().map(of).collect();
        // Tokens are counted by each model in its own way: it may fit at one of them sooner.
        let (tenant, limit, free_at) =
            refusals.filter(|_| self.last.is_none())?.into_iter().min_by_key(|(.., at)| (at.is_none(), *at))?;
        let reset = free_at.map(|at| at.saturating_duration_since(now.mono));
        let then = reset.map_or_else(
            || "this call alone is more".to_owned(),
            |reset| format!("the next day begins in {}", span(reset)),
        );
        let message =
            format!("the tenant {tenant:?} has no room for this call in its tokens_per_day of {limit}; {then}");
        let error = Error::new(ErrorKind::RateLimited { reset, failure: None }, message);
        Some(error.with_context(limit_of(&tenant, "tokens_per_day")))
    }

    /// Nobody was asked, and it is budgets that kept each of them from it. `None`: it is something else.
    pub(super) fn out_of_money(&self, considered: &[&Visit], now: Now) -> Option<Error> {
        if self.last.is_some() || considered.is_empty() {
            return None;
        }
        let refusals: Option<Vec<_>> = considered.iter().map(|visit| visit.refusal.as_ref()).collect();
        let refusals = refusals.filter(|all| all.iter().all(|it| it.outcome() == AttemptOutcome::Budget))?;
        let over = refusals.iter().filter_map(|refusal| match refusal {
            Refusal::Budget { whose, over, free_at } => Some((over.lasts(), *free_at, whose, over)),
            _ => None,
        });
        if let Some((_, free_at, whose, over)) = over.min_by_key(|(lasts, ..)| *lasts) {
            let OverBudget { period, limit, spent, reserved, asked: _, resets_at } = *over;
            let exceeded = BudgetExceeded {
                provider: whose.provider().cloned(),
                period: period.as_str(),
                limit,
                spent,
                reserved,
                held: over.is_held(),
                reset: free_at.map(|at| at.saturating_duration_since(now.mono)),
                reset_at: resets_at,
            };
            let said = considered.iter().zip(refusals);
            let said =
                said.map(|(visit, refusal)| format!("{}: {}", visit.provider.name(), self.describe(refusal, now)));
            let message = format!("no budget has room for this call: {}", said.collect::<Vec<_>>().join("; "));
            let error = Error::new(ErrorKind::BudgetExceeded(Box::new(exceeded)), message);
            let of_tenant = whose.tenant().map_or_else(Context::default, |tenant| limit_of(tenant, "budget"));
            return Some(error.with_context(Context { provider: whose.provider().cloned(), ..of_tenant }));
        }
        let unbounded = refusals.iter().find_map(|refusal| match refusal {
            Refusal::Unbounded { what, .. } => Some((what, self.describe(refusal, now))),
            _ => None,
        });
        unbounded.map(|(what, message)| {
            let unread = self.size.as_ref().filter(|_| *what == Unbounded::Unread).and_then(|size| size.unread.first());
            let field = unread.map_or(what.field(), |(_, name)| name);
            FieldError { field: field.to_owned(), message }.into()
        })
    }
}
