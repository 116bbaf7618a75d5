//! What may be asked for, in one list that the clients of both APIs can read.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Gateway;
use super::ask::ANY_MODEL;
use super::auth::Caller;
use super::probes::json;
use super::refused::{Dialect, Refused};
use crate::engine::Provider;

/// One model, with the fields that either API has.
#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    created: u64,
    created_at: String,
    owned_by: String,
    display_name: String,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

impl Gateway {
    /// Every name that a call may give its model, each once, with who serves it. A tenant sees those that it may use.
    fn models(&self, caller: &Caller) -> Vec<Model> {
        let roster = self.pool.engine().roster();
        let tenant = caller.tenant.as_deref().and_then(|id| roster.tenant(id));
        let may_use = |provider: &Provider, name: &str| {
            let model = provider.resolve_model(Some(name));
            tenant.is_none_or(|tenant| model.is_some_and(|model| tenant.may_use(provider, model)))
        };
        let mut names: Vec<(String, Vec<&str>)> = Vec::new();
        if tenant.is_none_or(|tenant| roster.may_ask_for(tenant, None).is_ok()) {
            names.push((ANY_MODEL.to_owned(), vec!["llmpool"]));
        }
        for provider in roster.providers().iter().filter(|provider| provider.config().enabled) {
            let config = provider.config();
            let names_of_it = std::iter::once(&config.model).chain(config.models.keys());
            for name in names_of_it.filter(|name| may_use(provider, name)) {
                match names.iter_mut().find(|(known, _)| known == name) {
                    Some((_, owners)) => owners.push(provider.name().as_str()),
                    None => names.push((name.clone(), vec![provider.name().as_str()])),
                }
            }
        }
        names.into_iter().map(|(id, owners)| self.entry(id, &owners)).collect()
    }

    fn entry(&self, id: String, owners: &[&str]) -> Model {
        let created_at = i64::try_from(self.since).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        Model {
            display_name: id.clone(),
            id,
            object: "model",
            kind: "model",
            created: self.since,
            created_at: created_at.unwrap_or_default().to_string(),
            owned_by: owners.join(", "),
        }
    }
}

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let data = gateway.models(&Caller::of(&request));
    let id = |model: Option<&Model>| model.map(|model| model.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    json(StatusCode::OK, &List { object: "list", data, has_more: false, first_id, last_id })
}

/// One of them; a name may have slashes in it.
pub(super) async fn one(
    State(gateway): State<Arc<Gateway>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let dialect = Dialect::of(&request);
    let Ok(Path(id)) = id else {
        return Refused::bad_request(Some("id"), "id: is not UTF-8").into_response(dialect);
    };
    match gateway.models(&Caller::of(&request)).into_iter().find(|model| model.id == id) {
        Some(model) => json(StatusCode::OK, &model),
        None => Refused::no_such_model(&id).into_response(dialect),
    }
}
