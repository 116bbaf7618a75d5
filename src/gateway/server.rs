//! The port: which connections are taken, how many at once, and the end of all of them.
//!
//! What is spoken on one is [`serve_connection`]'s, which takes any stream of bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Extensions;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::OwnTls;
use super::connection::{Port, serve_connection};
use super::flow::Patience;
use super::origin::Local;
use super::{Door, Gateway, Log, Network, Tell, tls};
use crate::config::{GrpcAddress, KeyHash, ServerConfig, TlsConfig, TlsFiles};
use crate::error::{Error, ErrorKind, Problem};
use crate::pool::Pool;
use crate::time;

/// After an error of `accept` (no file is left to open): trying again at once would burn a core.
const PAUSE: Duration = Duration::from_millis(100);
/// The keys of the configuration by which an address is named in errors.
const HTTP: &str = "server.http";
const GRPC: &str = "server.grpc";
/// For those whose time is over to be told so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What goes over or beside the configuration's `server`.
#[derive(Default)]
pub struct ServerOptions {
    /// Where to listen; `None`: as configured.
    pub http: Option<SocketAddr>,
    /// Where gRPC is spoken, likewise.
    pub grpc: GrpcAddress,
    /// Beside those of the configuration.
    pub api_keys: Vec<KeyHash>,
    pub cors_origins: Vec<String>,
    /// Serve everybody on an address that others can reach.
    pub insecure: bool,
    /// Goes over the configuration's certificate.
    pub tls: Option<TlsFiles>,
}

/// A pool on its ports.
pub struct Server {
    address: SocketAddr,
    grpc_address: Option<SocketAddr>,
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
        let ServerOptions { http, grpc, api_keys, cors_origins, insecure, tls } = options;
        let tls = match tls {
            Some(files) => Some(OwnTls::new(read_tls(&files).await?, files)),
            None => None,
        };
        let http = http.unwrap_or(config.http);
        let grpc = grpc.over(config.grpc, http);
        let public = [(HTTP, Some(http)), (GRPC, grpc)].into_iter().find_map(|(key, address)| {
            let address = address.filter(|address| !address.ip().is_loopback())?;
            Some((key, address))
        });
        let closed = public.is_some() && !insecure;
        let door = Door::Network(Network { api_keys, cors_origins, closed, tls, ..Network::default() });
        if let Some((key, address)) = public
            && closed
            && !door.is_guarded(&config)
            && !config.insecure
        {
            let message = "and everybody could call: set api_keys, jwt, hmac or tls.client_ca, or insecure if \
                 that is meant";
            return Err(problem(key, format!("others can reach {address}, {message}")));
        }
        // A free port is another one each time it is asked for.
        let shared = grpc == Some(http) && http.port() != 0;
        let (listener, address) = listen(HTTP, http).await?;
        let (beside, grpc_address) = match grpc {
            Some(_) if shared => (None, Some(address)),
            Some(grpc) => listen(GRPC, grpc).await.map(|(listener, address)| (Some(listener), Some(address)))?,
            None => (None, None),
        };
        let gateway = Gateway::new(pool, door, tell, log);
        let server = Self {
            address,
            grpc_address,
            closing: gateway.closing.clone(),
            gateway,
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let router = if shared { server.gateway.whole_router() } else { server.gateway.router() };
        server.accept(listener, address, router, &config, insecure);
        if let (Some(listener), Some(address)) = (beside, grpc_address) {
            server.accept(listener, address, server.gateway.grpc_router(), &config, insecure);
        }
        Ok(server)
    }

    /// Serves what comes to one port.
    fn accept(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        router: Router,
        config: &ServerConfig,
        insecure: bool,
    ) {
        let mut known = Extensions::new();
        if address.ip().is_loopback() && !insecure {
            known.insert(Local);
        }
        let accepting = Accepting {
            listener,
            gateway: Arc::clone(&self.gateway),
            known,
            free: Arc::new(Semaphore::new(most_connections(config))),
            port: Port {
                router,
                patience: Patience::of(config),
                closing: self.closing.clone(),
                ending: self.ending.clone(),
                tasks: self.tasks.clone(),
            },
        };
        self.tasks.spawn(accepting.run());
    }

    /// Where it listens, with the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where gRPC is spoken; `None`: nowhere.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
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

    /// Takes no connection any more and lets go of those that wait for nothing; gives requests under way `drain` (`None`: as
    /// configured), then ends them, each with an error of its API; returns when the last is gone. Idempotent.
    pub async fn close(&self, drain: Option<Duration>) {
        let drain = drain.unwrap_or_else(|| self.gateway.server().drain_timeout);
        self.closing.cancel();
        self.tasks.close();
        let ends = time::now().mono.checked_add(drain);
        if time::until(ends, self.tasks.wait()).await.is_ok() {
            return;
        }
        self.gateway.ending.cancel();
        let ends = time::now().mono + LAST_WORDS;
        if time::until(Some(ends), self.tasks.wait()).await.is_err() {
            self.ending.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.cancel();
        self.gateway.ending.cancel();
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

fn problem(key: &str, message: String) -> Error {
    Error::configuration(vec![Problem { path: key.to_owned(), message }])
}

async fn listen(key: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| problem(key, format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr().map_err(|error| problem(key, error.to_string()))?;
    Ok((listener, address))
}

fn most_connections(config: &ServerConfig) -> usize {
    let most = config.max_connections.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    most.min(Semaphore::MAX_PERMITS)
}

/// What it takes to accept a connection.
struct Accepting {
    listener: TcpListener,
    gateway: Arc<Gateway>,
    /// Of every connection.
    known: Extensions,
    free: Arc<Semaphore>,
    port: Port,
}

impl Accepting {
    async fn run(self) {
        while let Some((socket, place)) = self.accept().await {
            // Events of a stream are small and each is awaited by somebody.
            let _ = socket.set_nodelay(true);
            let server = self.gateway.server();
            let port = Port { patience: Patience::of(&server), ..self.port.clone() };
            let (mut known, tls) = (self.known.clone(), self.gateway.door.tls(&server));
            self.port.tasks.spawn(async move {
                match tls {
                    None => serve_connection(socket, known, &port).await,
                    Some(tls) => {
                        let handshake = tls::accept(socket, tls, server.header_timeout);
                        let stream = tokio::select! {
                            stream = handshake => stream,
                            () = port.closing.cancelled() => None,
                        };
                        if let Some((stream, shown)) = stream {
                            known.extend(shown);
                            serve_connection(stream, known, &port).await;
                        }
                    }
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
            () = self.port.closing.cancelled() => None,
            accepted = work => accepted,
        }
    }
}
