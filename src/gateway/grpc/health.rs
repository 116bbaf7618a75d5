//! `grpc.health.v1`: whether to send calls here, as load balancers and Kubernetes ask it. It follows `GET /ready`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::super::Gateway;
use super::pb::llm_pool_server::SERVICE_NAME;
use crate::time;

/// How late a watcher may hear of a change: what is ready changes with time alone, such as by a breaker that may be
/// tried again, so there is nothing to be woken by.
const WATCHED_EVERY: Duration = Duration::from_secs(1);

pub(super) fn service(gateway: Arc<Gateway>) -> HealthServer<Readiness> {
    HealthServer::new(Readiness(gateway))
}

pub(super) struct Readiness(Arc<Gateway>);

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match known(request.get_ref()) {
            true => Ok(Response::new(answer(status(&self.0)))),
            false => Err(Status::not_found("there is no such service")),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// Ends when the server closes, after it has said so.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = known(request.get_ref());
        let watched = stream::unfold((Arc::clone(&self.0), None), move |(gateway, last)| async move {
            loop {
                let closing = gateway.closing.is_cancelled();
                let now = if known { status(&gateway) } else { ServingStatus::ServiceUnknown };
                if last != Some(now) {
                    return Some((Ok(answer(now)), (gateway, Some(now))));
                }
                if closing {
                    return None;
                }
                tokio::select! {
                    () = gateway.closing.cancelled() => {}
                    () = time::sleep_until(time::now().mono + WATCHED_EVERY) => {}
                }
            }
        });
        Ok(Response::new(watched.boxed()))
    }
}

/// The server as a whole, or its one service.
fn known(request: &HealthCheckRequest) -> bool {
    request.service.is_empty() || request.service == SERVICE_NAME
}

fn status(gateway: &Gateway) -> ServingStatus {
    if gateway.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
