//! The pool as a service: on a port, and as a function that takes what `fetch` takes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use serde::{Deserialize, Deserializer, Serialize};
use tower::ServiceExt;

use super::bridge::Channel;
use super::pool::{Inner, NativePool, drain_time};
use super::record;
use super::stream::Credit;
use crate::config::{GrpcAddress, KeyHash, ServerConfig, TlsConfig, TlsFiles};
use crate::error::{Error, ErrorKind, Problem};
use crate::event::Event;
use crate::gateway::{Door, Entry, Gateway, Log, Server, ServerOptions, Tell};
use crate::pool::Pool;

/// Servers of this process, numbered: requests in the log say which one they came to.
static NEXT_SERVER: AtomicU32 = AtomicU32::new(1);

/// What serves a pool.
#[derive(Default)]
pub(super) struct Services {
    servers: Mutex<HashMap<u32, Arc<Server>>>,
    /// The routes without a socket.
    router: OnceLock<Router>,
}

/// The options of `pool.serve()`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    http: Option<String>,
    /// `Some(None)`: nowhere.
    #[serde(default, deserialize_with = "said")]
    grpc: Option<Option<String>>,
    #[serde(default)]
    api_keys: Vec<String>,
    #[serde(default)]
    cors_origins: Vec<String>,
    #[serde(default)]
    insecure: bool,
    tls: Option<Tls>,
    /// Somebody takes a line for every request.
    #[serde(default)]
    log: bool,
}

/// Paths.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Serving {
    server: u32,
    address: String,
    grpc_address: Option<String>,
    needs_key: bool,
    tls: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    server: u32,
    entry: &'a Entry,
}

#[napi]
impl NativePool {
    /// Serves the pool; completes with the number of the server and where it listens.
    #[napi(catch_unwind)]
    pub fn serve(&self, id: f64, options_json: String) -> napi::Result<()> {
        self.task(id, |inner, id| async move {
            let result = inner.serve(&options_json).await;
            inner.channel.push(|records| match result {
                Ok(serving) => record::value(records, id, &serving),
                Err(error) => record::error(records, id, &error),
            });
        })
    }

    /// Closes a server; completes when its last connection is gone. Without a time the configured one is given.
    #[napi(catch_unwind)]
    pub fn close_server(&self, id: f64, server: u32, drain_timeout_ms: Option<f64>) -> napi::Result<()> {
        self.task(id, move |inner, id| async move {
            let closed = held(&inner.services.servers).get(&server).cloned();
            if let Some(closed) = closed {
                closed.close(drain_timeout_ms.map(drain_time)).await;
                held(&inner.services.servers).remove(&server);
            }
            inner.channel.push(|records| record::value(records, id, &()));
        })
    }

    /// Bytes of the longest body that is read; what is longer need not be. `null` before the pool is initialized.
    #[napi(catch_unwind)]
    pub fn max_body_bytes(&self) -> Option<f64> {
        self.inner.pool.get().map(|pool| pool.engine().roster().server().max_body_bytes as f64)
    }

    /// Answers one HTTP request without a socket: first its head, then its body as far as the consumer has room.
    #[napi(catch_unwind)]
    pub fn fetch(
        &self,
        id: f64,
        method: String,
        target: String,
        headers: Vec<String>,
        body: Buffer,
    ) -> napi::Result<()> {
        let body = Body::from(Vec::from(body));
        let credit = Arc::new(Credit::default());
        let cancelled = self.inner.channel.open(id as u64, Some(Arc::clone(&credit))).map(drop);
        self.task(id, move |inner, id| async move {
            let mut cancelled = cancelled;
            let channel = &inner.channel;
            let result = tokio::select! {
                biased;
                () = &mut cancelled => Err(Error::cancelled()),
                response = inner.fetch(&method, &target, &headers, body) => response,
            };
            match result {
                Ok(response) => {
                    tokio::select! {
                        biased;
                        () = &mut cancelled => channel.push(|records| record::error(records, id, &Error::cancelled())),
                        () = hand_over(response, id, channel, &credit) => {}
                    }
                }
                Err(error) => channel.push(|records| record::error(records, id, &error)),
            }
        })
    }
}

impl Inner {
    async fn serve(self: &Arc<Self>, options_json: &str) -> Result<Serving, Error> {
        let pool = self.ready()?.clone();
        let Options { http, grpc, api_keys, cors_origins, insecure, tls, log } = read(options_json)?;
        let http = http.map(|text| address("http", &text)).transpose()?;
        let grpc = match grpc {
            None => GrpcAddress::Unsaid,
            Some(None) => GrpcAddress::Nowhere,
            Some(Some(text)) => GrpcAddress::At(address("grpc", &text)?),
        };
        let api_keys = keys(&api_keys)?;
        let number = NEXT_SERVER.fetch_add(1, Ordering::Relaxed);
        let log = log.then(|| self.log(number));
        let tls = tls.map(|Tls { cert, key, client_ca }| TlsFiles { cert, key, client_ca });
        let options = ServerOptions { http, grpc, api_keys, cors_origins, insecure, tls };
        let server = Server::start(pool, options, self.tell(), log).await?;
        let address = server.address().to_string();
        let grpc_address = server.grpc_address().map(|address| address.to_string());
        let (needs_key, tls) = (server.needs_key(), server.is_safe());
        held(&self.services.servers).insert(number, Arc::new(server));
        Ok(Serving { server: number, address, grpc_address, needs_key, tls })
    }

    /// What the files of servers with certificates of their own hold now.
    pub(super) async fn read_certificates(&self) -> Result<Vec<(Arc<Server>, TlsConfig)>, Error> {
        let servers: Vec<_> = held(&self.services.servers).values().cloned().collect();
        let mut read = Vec::new();
        for server in servers {
            if let Some(tls) = server.read_tls().await? {
                read.push((server, tls));
            }
        }
        Ok(read)
    }

    /// Closes every server with the pool.
    pub(super) async fn stop_serving(&self, drain: Duration) {
        let servers: Vec<_> = held(&self.services.servers).drain().map(|(_, server)| server).collect();
        futures_util::future::join_all(servers.iter().map(|server| server.close(Some(drain)))).await;
    }

    async fn fetch(
        self: &Arc<Self>,
        method: &str,
        target: &str,
        headers: &[String],
        body: Body,
    ) -> Result<Response<Body>, Error> {
        let pool = self.loaded().await?;
        let router = self.services.router.get_or_init(|| self.inside(pool)).clone();
        let mut request = Request::new(body);
        *request.method_mut() = Method::try_from(method).map_err(unsendable)?;
        *request.uri_mut() = Uri::try_from(target).map_err(unsendable)?;
        for pair in headers.chunks_exact(2) {
            let name = HeaderName::try_from(&pair[0]).map_err(unsendable)?;
            request.headers_mut().append(name, HeaderValue::try_from(&pair[1]).map_err(unsendable)?);
        }
        router.oneshot(request).await.map_err(|never| match never {})
    }

    fn inside(self: &Arc<Self>, pool: &Pool) -> Router {
        Gateway::new(pool.clone(), Door::Inside, self.tell(), None).router()
    }

    fn tell(&self) -> Tell {
        let (channel, pool) = (Arc::clone(&self.channel), self.id);
        Arc::new(move |events: Vec<Event>| record::events(&channel, pool, events))
    }

    fn log(&self, server: u32) -> Log {
        let (channel, pool) = (Arc::clone(&self.channel), self.id);
        Arc::new(move |entry: &Entry| {
            record::background(&channel, pool, "served", &record::json(&Line { server, entry }));
        })
    }
}

/// Moves a response to the consumer.
async fn hand_over(response: Response<Body>, id: u64, channel: &Arc<Channel>, credit: &Arc<Credit>) {
    let (head, mut body) = response.into_parts();
    let headers: Vec<_> =
        head.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    channel.push(|records| record::head(records, id, head.status.as_u16(), record::json(&headers)));
    loop {
        credit.room().await;
        match body.frame().await {
            Some(Ok(frame)) => {
                // Every body of the gateway is made of whole texts.
                let Ok(bytes) = frame.into_data() else { continue };
                credit.spend(bytes.len());
                let text = String::from_utf8_lossy(&bytes).into_owned();
                channel.push(|records| record::chunk(records, id, text, None));
            }
            Some(Err(error)) => {
                let error = Error::new(ErrorKind::Internal, error.to_string());
                return channel.push(|records| record::error(records, id, &error));
            }
            None => return channel.push(|records| record::value(records, id, &())),
        }
    }
}

fn read(options_json: &str) -> Result<Options, Error> {
    let mut json = serde_json::Deserializer::from_str(options_json);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
        problem(if path == "." { "" } else { &path }, message.to_owned())
    })
}

/// A value that is there, `null` included.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn address(option: &str, text: &str) -> Result<std::net::SocketAddr, Error> {
    let wrong = || problem(option, format!("must be an address and a port such as \"127.0.0.1:7071\", found {text:?}"));
    ServerConfig::parse_address(text).ok_or_else(wrong)
}

fn keys(texts: &[String]) -> Result<Vec<KeyHash>, Error> {
    let parse = |(at, text): (usize, &String)| {
        KeyHash::parse(text).map_err(|message| problem(&format!("apiKeys[{at}]"), message.to_owned()))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn problem(path: &str, message: String) -> Error {
    Error::configuration(vec![Problem { path: path.to_owned(), message }])
}

fn unsendable(error: impl std::error::Error) -> Error {
    Error::new(ErrorKind::InvalidRequest { field: String::new() }, format!("invalid request: {error}"))
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
