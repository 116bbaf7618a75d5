//! Whom the `extra_body` of a call is for.

use crate::adapter::{service, services};
use crate::config::nearest;
use crate::engine::work::Work;
use crate::types::FieldError;

/// Refuses fields for a type of provider that there is not: they would reach nobody, and nobody would say so. Those of a
/// type that the pool only has no provider of are for another day.
pub(super) fn check(work: Work<'_>) -> Result<(), FieldError> {
    let extra_body = match work {
        Work::Chat(request) | Work::Stream(request) => &request.extra_body,
        Work::Embed(request) => &request.extra_body,
        Work::Own { .. } => return Ok(()),
    };
    let Some(unknown) = extra_body.keys().find(|name| service(name).is_none()) else { return Ok(()) };
    let names: Vec<&str> = services().iter().map(|service| service.name).collect();
    let hint = nearest(unknown, &names);
    Err(FieldError {
        field: format!("extra_body.{unknown}"),
        message: format!("there is no type {unknown:?} of provider, expected one of {}{hint}", names.join(", ")),
    })
}
