//! The port: connections, how many and how long, and the end of all of them.
//!
//! HTTP/1.1 only: it is what the clients of both APIs speak to an address without TLS, and a proxy in front speaks it to
//! whatever is behind. Framing is hyper's, which takes neither two lengths nor a length beside chunks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{Door, Gateway, Log, Tell};
use crate::config::{KeyHash, ServerConfig};
use crate::error::{Error, MAX_HINT, Problem};
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
        let ServerOptions { http, api_keys, cors_origins, insecure } = options;
        let address = http.unwrap_or(config.http);
        let closed = !address.ip().is_loopback() && !insecure;
        let door = Door::Network { api_keys, cors_origins, closed };
        if closed && !door.has_keys(&config) && !config.insecure {
            return Err(problem(format!(
                "others can reach {address}, and everybody could call: set api_keys, or insecure if that is meant"
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

    /// Do callers need a key, as things stand?
    pub fn needs_key(&self) -> bool {
        self.gateway.door.has_keys(&self.gateway.server())
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
    header_timeout: Duration,
    free: Arc<Semaphore>,
    closing: CancellationToken,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self) {
        let graceful = GracefulShutdown::new();
        while let Some((socket, place)) = self.accept().await {
            // Events of a stream are small and each is awaited by somebody.
            let _ = socket.set_nodelay(true);
            let router = self.router.clone().map_request(|request: hyper::Request<_>| request.map(Body::new));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
            if self.header_timeout < MAX_HINT {
                http.header_read_timeout(self.header_timeout);
            }
            let connection = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
            let connection = graceful.watch(connection);
            let ending = self.ending.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    // A client that breaks off or sends nonsense was told what there was to tell.
                    _ = connection => {}
                    () = ending.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(self.listener);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = self.ending.cancelled() => {}
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
