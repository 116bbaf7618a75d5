//! Connections that are made safe: the handshake, and what it says of the caller.

use http::Extensions;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::auth::Certified;
use crate::config::TlsConfig;
use crate::error::MAX_HINT;
use crate::time;

/// The stream below HTTP, with what is known of its caller for each of its requests. `None`: it came to none in time, or
/// the caller has no certificate of the authority that is asked for.
pub(super) async fn accept(
    socket: TcpStream,
    tls: TlsConfig,
    limit: std::time::Duration,
) -> Option<(TlsStream<TcpStream>, Extensions)> {
    let ends = if limit < MAX_HINT { time::now().mono.checked_add(limit) } else { None };
    let handshake = TlsAcceptor::from(std::sync::Arc::clone(&tls.server)).accept(socket);
    let stream = time::until(ends, handshake).await.ok()?.ok()?;
    let mut known = Extensions::new();
    if stream.get_ref().1.peer_certificates().is_some_and(|certificates| !certificates.is_empty()) {
        known.insert(Certified(tls));
    }
    Some((stream, known))
}
