//! gRPC: the service of `proto/llmpool/v1/llmpool.proto`, `grpc.health.v1`, and reflection.
//!
//! An RPC comes through the same door and is written down in the same book as a request over HTTP, and asks the pool by
//! the same function. Its body is read within the same bounds before anything is made of it: every method of ours takes
//! one message.
//!
//! | file | decides |
//! |---|---|
//! | `convert` | what messages mean |
//! | `timeout` | how long a client waits |
//! | `status` | which code an error has |
//! | `stream` | how an answer is told as it comes |
//! | `health` | whether to send calls here |
//! | `pb` | nothing: it is generated |

mod convert;
mod health;
pub(super) mod pb;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod timeout;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::post;
use futures_util::stream::{BoxStream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Version};
use http_body_util::Full;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tower::{Service as _, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;

use self::pb::llm_pool_server::{LlmPool, LlmPoolServer};
pub(super) use self::status::HTTP_STATUS;
use super::book::Page;
use super::probes::Probe;
use super::refused::{Dialect, Refused};
use super::{Gateway, answer, ask, auth, body};
use crate::time;
use crate::types::{CallOptions, InferRequest};

/// How every path of ours begins.
const POOL: &str = "/llmpool.v1.LlmPool/{method}";
const HEALTH: &str = "/grpc.health.v1.Health/{method}";

/// The routes of every service.
pub(super) fn routes(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let routes = Router::new().route(POOL, post(pool)).route(HEALTH, post(health));
    let routes = reflection(gateway, routes).layer(CatchPanicLayer::custom(|_| {
        Refused::internal("a defect in llmpool: it panicked").into_response(Dialect::Grpc)
    }));
    routes.layer(middleware::from_fn(with_trailers))
}

/// How an RPC went stands behind its answer, where clients of HTTP/1.1 do not look: it would be done for nobody.
async fn with_trailers(request: Request, next: Next) -> Response {
    if request.version() >= Version::HTTP_2 {
        return next.run(request).await;
    }
    let message = "gRPC needs HTTP/2; POST /v1/infer is the same over HTTP/1.1";
    let refused = Refused::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version_not_supported", message);
    refused.into_response(Dialect::Own)
}

/// Tells clients which services there are, in both versions that clients speak.
///
/// Its streams are open for as long as clients like, so those are read within the time of a body, and not beyond the end
/// of the port.
fn reflection(gateway: &Arc<Gateway>, routes: Router<Arc<Gateway>>) -> Router<Arc<Gateway>> {
    let configured = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Both sets are part of the program; a test asks for what is in them.
    let (Ok(v1), Ok(v1alpha)) = (configured().build_v1(), configured().build_v1alpha()) else { return routes };
    let gateway = Arc::clone(gateway);
    let bounded = move |request: Request| {
        let ends = time::now().mono.checked_add(gateway.server().body_timeout);
        let closing = gateway.closing.clone();
        let over = async move { time::until(ends, closing.cancelled()).await };
        request
            .map(|body| tonic::body::Body::new(Body::from_stream(body.into_data_stream().take_until(Box::pin(over)))))
    };
    routes
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1.map_request(bounded.clone()))
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha.map_request(bounded))
}

async fn pool(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (page, path) = (Page::of(&request), request.uri().path().to_owned());
    let asked = match Asked::of(&request, &page) {
        Ok(asked) => asked,
        Err(refused) => return refused.of_request(page.id()).into_response(Dialect::Grpc),
    };
    match read(&gateway, request).await {
        Ok(mut request) => {
            request.extensions_mut().insert(asked);
            let mut service = LlmPoolServer::new(Served(gateway)).max_decoding_message_size(usize::MAX);
            answered(&path, service.call(request).await)
        }
        Err(refused) => refused.of_request(page.id()).into_response(Dialect::Grpc),
    }
}

async fn health(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match read(&gateway, request).await {
        Ok(request) => answered(&path, health::service(gateway).call(request).await),
        Err(refused) => refused.into_response(Dialect::Grpc),
    }
}

fn answered(path: &str, answer: Result<http::Response<tonic::body::Body>, Infallible>) -> Response {
    match answer {
        // So services say that they have no such method, and nothing else.
        Ok(response) if status::is_unknown_method(response.headers()) => {
            Refused::unimplemented(format!("there is no {path}")).into_response(Dialect::Grpc)
        }
        Ok(mut response) => {
            status::name(response.headers_mut());
            response.map(Body::new)
        }
        Err(never) => match never {},
    }
}

/// The request with all of its body.
async fn read(gateway: &Gateway, request: Request) -> Result<http::Request<tonic::body::Body>, Refused> {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    if !is_ours(kind) {
        let message = "content-type: expected application/grpc";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let (head, body) = request.into_parts();
    let body = body::bytes(&head.headers, body, &gateway.server()).await?;
    Ok(http::Request::from_parts(head, tonic::body::Body::new(Full::new(body))))
}

/// `application/grpc`, or `application/grpc+proto`: other messages, and those of gRPC-Web, are framed otherwise.
fn is_ours(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"].iter().any(|ours| kind.eq_ignore_ascii_case(ours))
}

/// What the metadata of an RPC says, read before its message is.
#[derive(Clone)]
struct Asked {
    options: CallOptions,
    patience: Option<Duration>,
    page: Page,
    /// Whoever asks may know of the providers.
    is_operator: bool,
}

impl Asked {
    fn of(request: &Request, page: &Page) -> Result<Self, Refused> {
        Ok(Self {
            options: ask::options(request, &page.request_id)?,
            patience: timeout::of(request.headers())?,
            page: page.clone(),
            is_operator: auth::is_operator(request),
        })
    }

    /// That of this RPC: [`pool`] has put it there.
    fn take<M>(request: &mut tonic::Request<M>) -> Result<Self, Status> {
        request.extensions_mut().remove().ok_or_else(|| Status::internal("an RPC without its metadata"))
    }

    fn refuse(&self, refused: Refused) -> Status {
        refused.of_request(self.page.id()).into_status()
    }

    fn work(&self, message: pb::InferRequest) -> Result<InferRequest, Status> {
        convert::work(message, self.patience).map_err(|error| self.refuse(error.into()))
    }
}

struct Served(Arc<Gateway>);

#[tonic::async_trait]
impl LlmPool for Served {
    async fn infer(
        &self,
        mut request: tonic::Request<pb::InferRequest>,
    ) -> Result<tonic::Response<pb::InferResponse>, Status> {
        let asked = Asked::take(&mut request)?;
        let work = asked.work(request.into_inner())?;
        let response = self.0.infer(&work, &asked.options, Vec::new(), &asked.page).await;
        let response = response.map_err(|refused| asked.refuse(refused))?;
        let mut headers = HeaderMap::new();
        answer::name_work(&mut headers, &response);
        Ok(with(headers, response.into()))
    }

    type InferStreamStream = BoxStream<'static, Result<pb::InferEvent, Status>>;

    async fn infer_stream(
        &self,
        mut request: tonic::Request<pb::InferRequest>,
    ) -> Result<tonic::Response<Self::InferStreamStream>, Status> {
        let asked = Asked::take(&mut request)?;
        let work = asked.work(request.into_inner())?;
        let opened = self.0.infer_stream(&work, &asked.options, Vec::new(), &asked.page).await;
        let opened = opened.map_err(|refused| asked.refuse(refused))?;
        let mut headers = HeaderMap::new();
        let (provider, model) = opened.source();
        answer::name_source(&mut headers, Some(provider), Some(model));
        Ok(with(headers, stream::told(Arc::clone(&self.0), opened, asked.page, work.task)))
    }

    async fn health(
        &self,
        mut request: tonic::Request<pb::HealthRequest>,
    ) -> Result<tonic::Response<pb::HealthResponse>, Status> {
        let asked = Asked::take(&mut request)?;
        let Probe { ok: _, word, health, is_operator } = Probe::of(&self.0, asked.is_operator);
        let told = is_operator.then_some(&health);
        Ok(tonic::Response::new(pb::HealthResponse {
            status: word.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            healthy: health.healthy,
            total_providers: health.total_providers as u64,
            available_providers: health.available_providers as u64,
            best_provider: told.and_then(|health| Some(health.best_provider.as_ref()?.to_string())),
            providers: told.map(|health| health.providers.values().map(Into::into).collect()).unwrap_or_default(),
        }))
    }
}

fn with<T>(headers: HeaderMap, message: T) -> tonic::Response<T> {
    tonic::Response::from_parts(MetadataMap::from_headers(headers), message, http::Extensions::new())
}
