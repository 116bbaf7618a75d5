//! The pool as a service: OpenAI's and Anthropic's APIs over HTTP, answered by whichever provider can.
//!
//! One router serves a port and a function: [`Gateway::router`] is a `tower` service of a [`Pool`], and whoever has a
//! request calls it, over a socket ([`Server`]) or without one (`pool.fetch` of the Node package). What differs is the
//! door they come through ([`Door`]).
//!
//! | file | decides |
//! |---|---|
//! | `auth` | who may come in |
//! | `origin` | from where a browser may call |
//! | `book` | what is written down of a request: its id, how it went, whom it cost what |
//! | `body` | how much of a request is read, and for how long |
//! | `ask` | what a request's headers say to the pool |
//! | `refused` | which status an error has, and how each API words it |
//! | `answer` | the headers of an answer |
//! | `limits` | a tenant's limits, as its clients are told |
//! | `pump` | a stream on its way to a client: its pace, its end, and how it breaks |
//! | `models`, `probes` | the lists and the state of the pool |
//! | `openai`, `anthropic` | an API: what its requests mean, how it writes answers |
//! | `infer` | the pool's own: work by the name of its task |
//! | `grpc` | the same by gRPC |
//! | `thoughts` | how the state of a model's reasoning travels through clients |
//! | `server` | the port: which connections are taken, and the end |
//! | `connection`, `flow` | one connection: what is spoken on it, and how long its client is waited for |
//! | `tls` | the handshake of a connection, and what it says of the caller |
//!
//! A handler reads, asks the pool and writes; it decides nothing that the pool decides.

mod answer;
mod anthropic;
mod ask;
mod auth;
mod body;
mod book;
mod connection;
mod flow;
mod grpc;
mod infer;
mod limits;
mod models;
mod openai;
mod origin;
mod probes;
mod pump;
mod refused;
mod server;
#[cfg(test)]
mod tests;
mod thoughts;
mod tls;
mod turns;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

pub use auth::{Door, Network};
pub use book::Entry;
pub use server::{Server, ServerOptions};

use self::refused::{Dialect, Refused};
use crate::config::ServerConfig;
use crate::event::Event;
use crate::pool::Pool;
use crate::time;

/// Takes the events of the calls that came through a gateway, as [`crate::engine::Completed`] hands them to others.
pub type Tell = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// Takes one line for every request that is over.
pub type Log = Arc<dyn Fn(&Entry) + Send + Sync>;

/// What the routes of a pool need.
pub struct Gateway {
    pool: Pool,
    door: Door,
    tell: Tell,
    log: Option<Log>,
    /// Those who still wait for an answer are told that there will be none.
    ending: CancellationToken,
    /// Unix seconds; what models are said to be as old as.
    since: u64,
    /// No connection is taken any more: calls go elsewhere.
    closing: CancellationToken,
}

impl Gateway {
    pub fn new(pool: Pool, door: Door, tell: Tell, log: Option<Log>) -> Arc<Self> {
        let (ending, closing) = (CancellationToken::new(), CancellationToken::new());
        Arc::new(Self { pool, door, tell, log, ending, since: time::unix_ms() / 1000, closing })
    }

    /// The routes, as a service that answers every request.
    pub fn router(self: &Arc<Self>) -> Router {
        self.served(self.routes())
    }

    /// Those of gRPC.
    pub fn grpc_router(self: &Arc<Self>) -> Router {
        self.served(grpc::routes(self))
    }

    /// All of them, for one port.
    pub fn whole_router(self: &Arc<Self>) -> Router {
        self.served(self.routes().merge(grpc::routes(self)))
    }

    fn routes(&self) -> Router<Arc<Self>> {
        Router::new()
            .route("/", get(probes::root))
            .route("/health", get(probes::health))
            .route("/live", get(probes::live))
            .route("/ready", get(probes::ready))
            .route("/metrics", get(probes::metrics))
            .route("/openapi.json", get(probes::openapi))
            .route("/v1/models", get(models::list))
            .route("/v1/models/{*id}", get(models::one))
            .route("/v1/chat/completions", post(openai::chat))
            .route("/v1/responses", post(openai::responses))
            .route("/v1/embeddings", post(openai::embeddings))
            .route("/v1/infer", post(infer::infer))
            .route("/v1/messages", post(anthropic::messages))
            .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
    }

    /// What every request passes, whatever its route.
    fn served(self: &Arc<Self>, routes: Router<Arc<Self>>) -> Router {
        routes
            .fallback(no_such_route)
            .method_not_allowed_fallback(no_such_method)
            .with_state(Arc::clone(self))
            .layer(middleware::from_fn_with_state(Arc::clone(self), limits::tell))
            .layer(middleware::from_fn_with_state(Arc::clone(self), auth::admit))
            .layer(middleware::from_fn_with_state(Arc::clone(self), origin::admit))
            .layer(self.cors())
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(Arc::clone(self), book::keep))
    }

    /// A call would have somebody to go to.
    fn is_ready(&self) -> bool {
        !self.closing.is_cancelled() && self.pool.is_open() && self.pool.engine().health().healthy
    }

    /// How the pool is served right now: a reload may have changed it.
    fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(self.pool.engine().roster().server())
    }

    /// Pages may call from the origins that are listed at the time.
    fn cors(self: &Arc<Self>) -> CorsLayer {
        let gateway = Arc::clone(self);
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| {
                gateway.door.allows_origin(origin, &gateway.server())
            }))
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(ExposeHeaders::list(answer::EXPOSED))
    }
}

async fn no_such_route(request: Request) -> Response {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    match Dialect::of(&request) {
        Dialect::Grpc => Refused::unimplemented(message).into_response(Dialect::Grpc),
        dialect => Refused::not_found(message).into_response(dialect),
    }
}

async fn no_such_method(State(_): State<Arc<Gateway>>, request: Request) -> Response {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Refused::method_not_allowed(message).into_response(Dialect::of(&request))
}

fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Refused::internal("a defect in llmpool: it panicked").into_response(Dialect::OpenAi)
}
