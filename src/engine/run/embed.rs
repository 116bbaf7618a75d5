//! A call for embeddings: batch after batch on the way that every call takes.
//!
//! Vectors of two models cannot be compared, so all of an answer come from one provider and one model. A call that has
//! vectors of a provider stays there as long as the rules let it ask there again; when they do not, it begins anew at
//! another one. What the first gave is kept in case its turn comes again.

use std::time::Duration;

use super::super::attempt::{Answer, Whole};
use super::ask::Call;
use super::visit::Visit;
use super::{Run, Work};
use crate::error::{Error, ErrorKind};
use crate::types::{CallOptions, EmbedReply, EmbedRequest, EmbedResponse, NanoUsd, Usage};

/// What one provider has given so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub vectors: Vec<Vec<f64>>,
    model: String,
    usage: Usage,
    /// `None`: the price is not known.
    cost: Option<NanoUsd>,
    warnings: Vec<String>,
}

impl Run<'_> {
    pub(super) async fn embed(
        &mut self,
        request: &EmbedRequest,
        options: &CallOptions,
    ) -> Result<EmbedResponse, Error> {
        let work = Work::Embed(request);
        let mut visits = self.begin(work, options)?;
        let call = Call::new(work, options);
        loop {
            let (answer, at) = self.drive(&mut visits, &call).await?;
            let Answer::Vectors(batch) = answer else {
                return Err(Error::new(ErrorKind::Internal, "vectors were asked for and something else came"));
            };
            let visit = &mut visits[at];
            visit.gathered.add(batch);
            if visit.gathered.vectors.len() >= request.input.len() {
                return Ok(self.embedded(visit, request));
            }
            visit.next_batch();
            self.stay = Some(at);
        }
    }

    fn embedded(&mut self, visit: &mut Visit, request: &EmbedRequest) -> EmbedResponse {
        let Gathered { vectors, model, usage, cost, warnings: own } = std::mem::take(&mut visit.gathered);
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(own);
        let model = if model.is_empty() { visit.model.clone() } else { model };
        let provider = visit.provider.name().clone();
        let latency: Duration = self.succeed(&provider, &model, usage, cost);
        EmbedResponse {
            vectors,
            encoding_format: request.encoding_format,
            model,
            provider,
            usage,
            cost,
            request_id: self.request_id.clone(),
            latency,
            warnings,
            attempts: std::mem::take(&mut self.trail),
        }
    }
}

impl Visit {
    /// A batch came: the next one is a first visit again.
    fn next_batch(&mut self) {
        self.tried.clear();
        self.attempts = 0;
        self.visited = false;
        self.again = None;
        self.refusal = None;
        self.failed = None;
    }
}

impl Gathered {
    fn add(&mut self, batch: Whole<EmbedReply>) {
        let Whole { reply: EmbedReply { model, mut vectors, usage: _ }, usage, cost, mut warnings, .. } = batch;
        let first = self.vectors.is_empty();
        self.cost = match (first, self.cost, cost) {
            (true, _, cost) => cost,
            (false, Some(sum), Some(cost)) => Some(sum.saturating_add(cost)),
            (false, ..) => None,
        };
        self.usage = self.usage.and(&usage);
        self.vectors.append(&mut vectors);
        if first {
            self.model = model;
            self.warnings.append(&mut warnings); // the same for every batch
        }
    }
}
