//! Open connections of one client. One that is in use belongs to its request and nobody else, one that is idle waits
//! here for the next request to its origin.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::FutureExt;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::Executor;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_service::Service;

use super::body::{WatchedBody, innermost};
use super::{ClientParams, tls};
use crate::error::{TransportError, TransportErrorKind};
use crate::time::{self, Instant};

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    secure: bool,
    authority: Authority,
}

impl Origin {
    /// `None` for an address without a host or of another scheme than http and https.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let secure = *scheme == Scheme::HTTPS;
        (secure || *scheme == Scheme::HTTP).then_some(())?;
        Some(Self { secure, authority: uri.authority()?.clone() })
    }

    /// What the host header says: the port only where it is not the scheme's own.
    fn host(&self) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
        let usual = if self.secure { 443 } else { 80 };
        match self.authority.port_u16() {
            Some(port) if port != usual => HeaderValue::try_from(format!("{}:{port}", self.authority.host())),
            _ => HeaderValue::from_str(self.authority.host()),
        }
    }

    fn uri(&self) -> Result<Uri, http::Error> {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query("/").build()
    }
}

/// The way to one provider and back.
pub struct Connection {
    pub sender: SendRequest<WatchedBody>,
    pub host: HeaderValue,
    origin: Origin,
    home: Weak<Idle>,
}

impl Connection {
    /// The next request may have it, once it has put this exchange away.
    pub fn give_back(self) {
        if let Some(home) = self.home.upgrade()
            && !self.sender.is_closed()
        {
            home.keep(self);
        }
    }
}

pub struct Connections {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    idle: Arc<Idle>,
}

impl Connections {
    /// Reads the certificate files that `params` names.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false); // the scheme is the TLS connector's business
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(params)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let ClientParams { connect_timeout, idle_timeout, .. } = *params;
        let idle = Arc::new(Idle { timeout: idle_timeout, waiting: Mutex::default() });
        Ok(Self { connector, connect_timeout, idle })
    }

    /// The idle connection to this origin that was used last: the others may come to rest.
    pub fn take_idle(&self, origin: &Origin) -> Option<Connection> {
        self.idle.take(origin)
    }

    /// Opens a connection: DNS, TCP and TLS within the connect timeout.
    pub async fn open(&self, origin: Origin) -> Result<Connection, TransportError> {
        let unsayable = |error: &dyn std::fmt::Display| {
            TransportError::new(TransportErrorKind::Request, format!("the request cannot be sent: {error}"))
        };
        let (uri, host) = (origin.uri().map_err(|e| unsayable(&e))?, origin.host().map_err(|e| unsayable(&e))?);
        let ends = time::now().mono + self.connect_timeout;
        let connecting = async {
            let stream = connect(self.connector.clone(), uri).await.map_err(|error| refused(&*error))?;
            http1::handshake(stream).await.map_err(|error| refused(&error))
        };
        let (sender, connection) = time::until(Some(ends), connecting).await.map_err(|_| {
            TransportError::new(TransportErrorKind::ConnectTimeout, "no connection within the connect timeout")
        })??;
        // It ends by itself: when its sender is dropped, when the server closes it, when it breaks.
        TokioExecutor::new().execute(connection.map(drop));
        Ok(Connection { sender, host, origin, home: Arc::downgrade(&self.idle) })
    }
}

type Stream = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;

async fn connect(
    mut connector: HttpsConnector<HttpConnector>,
    uri: Uri,
) -> Result<Stream, Box<dyn StdError + Send + Sync>> {
    std::future::poll_fn(|context| connector.poll_ready(context)).await?;
    connector.call(uri).await
}

fn refused(error: &(dyn StdError + 'static)) -> TransportError {
    let said = innermost(error);
    if tls::is_cause(error) {
        TransportError::new(TransportErrorKind::Tls, format!("TLS: {said}"))
    } else {
        TransportError::new(TransportErrorKind::Connect, format!("cannot connect: {said}"))
    }
}

struct Idle {
    timeout: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Oldest first.
    by_origin: HashMap<Origin, Vec<(Connection, Instant)>>,
    /// Somebody is going to close what stays unused.
    swept: bool,
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut waiting = self.lock();
        let idle = waiting.by_origin.get_mut(origin)?;
        let oldest = Instant::now().checked_sub(self.timeout);
        for at in (0..idle.len()).rev() {
            let (connection, since) = &idle[at];
            if connection.sender.is_closed() || oldest.is_some_and(|oldest| *since < oldest) {
                idle.remove(at);
            } else if connection.sender.is_ready() {
                return Some(idle.remove(at).0);
            } // else it is still putting its last exchange away
        }
        None
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        if self.timeout.is_zero() {
            return;
        }
        let mut waiting = self.lock();
        match waiting.by_origin.get_mut(&connection.origin) {
            Some(idle) => idle.push((connection, Instant::now())),
            None => {
                let origin = connection.origin.clone();
                waiting.by_origin.insert(origin, vec![(connection, Instant::now())]);
            }
        }
        if !std::mem::replace(&mut waiting.swept, true) {
            TokioExecutor::new().execute(sweep(Arc::downgrade(self), self.timeout));
        }
    }
}

/// Closes connections that stayed unused, as long as there are any.
async fn sweep(idle: Weak<Idle>, timeout: Duration) {
    loop {
        // Half the timeout: one that was just too young is then late by no more than that.
        time::sleep_until(Instant::now() + timeout / 2).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut waiting = idle.lock();
        let now = Instant::now();
        waiting.by_origin.retain(|_, idle| {
            idle.retain(|(connection, since)| now.duration_since(*since) < timeout && !connection.sender.is_closed());
            !idle.is_empty()
        });
        if waiting.by_origin.is_empty() {
            waiting.swept = false;
            return;
        }
    }
}
