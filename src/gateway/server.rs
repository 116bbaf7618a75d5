//! The port: connections, how many and how long, and the end of all of them.
//!
//! HTTP/1.1 only: it is what the clients of both APIs speak to an address without TLS, and a proxy in front speaks it to
//! whatever is behind. Framing is hyper's, which takes neither two lengths nor a length beside chunks.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Extensions;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::auth::OwnTls;
use super::{Door, Gateway, Log, Network, Tell, tls};
use crate::config::{KeyHash, ServerConfig, TlsConfig, TlsFiles};
use crate::error::{Error, ErrorKind, MAX_HINT, Problem};
use crate::pool::Pool;
use crate::time;

/// After an error of `accept` (no file is left to open): trying again at once would burn a core.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a head. The longest that common front ends send on is 64 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// Fields of a head.
const MAX_HEADERS: usize = 128;

/// What goes over or beside the configuration's `server`.
#[derive(Default)]
pub struct ServerOptions {
    /// Where to listen; `None`: as configured.
    pub http: Option<SocketAddr>,
    /// Beside those of the configuration.
    pub api_keys: Vec<KeyHash>,
    pub cors_origins: Vec<String>,
    /// Serve everybody on an address that others can reach.
    pub insecure: bool,
    /// Goes over the configuration's certificate.
    pub tls: Option<TlsFiles>,
}

/// A pool on a port.
pub struct Server {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    /// No connection is taken any more.
    closing: CancellationToken,
    /// Connections that are left are cut.
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Listens, and serves until [`Server::close`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// Everybody could reach it and nobody needs a key; or the address cannot be had.
    pub async fn start(pool: Pool, options: ServerOptions, tell: Tell, log: Option<Log>) -> Result<Self, Error> {
        let config = Arc::clone(pool.engine().roster().server());
        let ServerOptions { http, api_keys, cors_origins, insecure, tls } = options;
        let tls = match tls {
            Some(files) => Some(OwnTls::new(read_tls(&files).await?, files)),
            None => None,
        };
        let address = http.unwrap_or(config.http);
        let closed = !address.ip().is_loopback() && !insecure;
        let door = Door::Network(Network { api_keys, cors_origins, closed, tls, ..Network::default() });
        if closed && !door.is_guarded(&config) && !config.insecure {
            return Err(problem(format!(
                "others can reach {address}, and everybody could call: set api_keys, jwt, hmac or tls.client_ca, or insecure if \
                 that is meant"
            )));
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| problem(format!("cannot listen on {address}: {error}")))?;
        let address = listener.local_addr().map_err(|error| problem(error.to_string()))?;
        let server = Self {
            address,
            gateway: Gateway::new(pool, door, tell, log),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let accepting = Accepting {
            listener,
            router: server.gateway.router(),
            gateway: Arc::clone(&server.gateway),
            header_timeout: config.header_timeout,
            free: Arc::new(Semaphore::new(most_connections(&config))),
            closing: server.closing.clone(),
            ending: server.ending.clone(),
            tasks: server.tasks.clone(),
        };
        server.tasks.spawn(accepting.run());
        Ok(server)
    }

    /// Where it listens, with the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Are connections made safe, as things stand?
    pub fn is_safe(&self) -> bool {
        self.gateway.door.tls(&self.gateway.server()).is_some()
    }

    /// What the files of its own certificate hold now, if it has one.
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn read_tls(&self) -> Result<Option<TlsConfig>, Error> {
        let Some(own) = self.gateway.door.own_tls() else { return Ok(None) };
        read_tls(own.files()).await.map(Some)
    }

    /// Puts that in force, for the next connection.
    pub fn replace_tls(&self, tls: TlsConfig) {
        if let Some(own) = self.gateway.door.own_tls() {
            own.replace(tls);
        }
    }

    /// Do callers need a key, as things stand?
    pub fn needs_key(&self) -> bool {
        self.gateway.door.needs_credentials(&self.gateway.server())
    }

    /// Takes no connection any more, gives requests under way `drain` (`None`: as configured), then cuts them; returns when
    /// the last is gone. Idempotent.
    pub async fn close(&self, drain: Option<Duration>) {
        let drain = drain.unwrap_or_else(|| self.gateway.server().drain_timeout);
        self.closing.cancel();
        self.tasks.close();
        let ends = time::now().mono.checked_add(drain);
        if time::until(ends, self.tasks.wait()).await.is_err() {
            self.ending.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.cancel();
        self.ending.cancel();
    }
}

async fn read_tls(files: &TlsFiles) -> Result<TlsConfig, Error> {
    let files = files.clone();
    let read = tokio::task::spawn_blocking(move || TlsConfig::read(&files)).await;
    let read = read.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    read.map_err(|Problem { path, message }| {
        Error::configuration(vec![Problem { path: format!("tls.{path}"), message }])
    })
}

fn problem(message: String) -> Error {
    Error::configuration(vec![Problem { path: "server.http".to_owned(), message }])
}

fn most_connections(config: &ServerConfig) -> usize {
    let most = config.max_connections.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    most.min(Semaphore::MAX_PERMITS)
}

/// What it takes to accept a connection.
struct Accepting {
    listener: TcpListener,
    router: Router,
    gateway: Arc<Gateway>,
    header_timeout: Duration,
    free: Arc<Semaphore>,
    closing: CancellationToken,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self) {
        while let Some((socket, place)) = self.accept().await {
            // Events of a stream are small and each is awaited by somebody.
            let _ = socket.set_nodelay(true);
            let (router, limit) = (self.router.clone(), self.header_timeout);
            let tls = self.gateway.door.tls(&self.gateway.server());
            let (closing, ending) = (self.closing.clone(), self.ending.clone());
            let connection = async move {
                match tls {
                    None => serve(socket, Extensions::new(), router, limit, &closing).await,
                    Some(tls) => {
                        let Some((stream, known)) = tls::accept(socket, tls, limit).await else { return };
                        serve(stream, known, router, limit, &closing).await;
                    }
                }
            };
            self.tasks.spawn(async move {
                tokio::select! {
                    // A client that breaks off or sends nonsense was told what there was to tell.
                    () = connection => {}
                    () = ending.cancelled() => {}
                }
                drop(place);
            });
        }
    }

    /// The next connection, once there is a place for it; `None`: it is closing.
    async fn accept(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let work = async {
            let place = Arc::clone(&self.free).acquire_owned().await.ok()?;
            loop {
                match self.listener.accept().await {
                    Ok((socket, _)) => return Some((socket, place)),
                    Err(_) => time::sleep_until(time::now().mono + PAUSE).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            accepted = work => accepted,
        }
    }
}

/// Serves one connection; every request carries what is known of its caller.
async fn serve<IO>(io: IO, known: Extensions, router: Router, limit: Duration, closing: &CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.map_request(move |mut request: hyper::Request<_>| {
        request.extensions_mut().extend(known.clone());
        request.map(Body::new)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    if limit < MAX_HINT {
        http.header_read_timeout(limit);
    }
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), TowerToHyperService::new(router)));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
