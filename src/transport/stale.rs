//! Stale connections.
//!
//! A server may close an idle connection in the moment a request is written to it. Such a request is sent once more, on
//! a new connection, and nobody is blamed. It is recognised by three facts: the connection had answered before, it
//! broke before any byte of this reply, and it did not fail while connecting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;

use crate::time::Instant;

/// Connections remembered as having answered; beyond this the oldest memories go. A pool rarely has a tenth of it.
const REMEMBERED: usize = 4096;

/// Which connections have answered a request, by their local address. An address that is used anew within the idle
/// timeout would be mistaken for the old one; the price is one needless resend.
pub struct Answered {
    connections: Mutex<HashMap<SocketAddr, Instant>>,
    forget_after: Duration,
}

impl Answered {
    pub fn new(idle_timeout: Duration) -> Self {
        Self { connections: Mutex::default(), forget_after: idle_timeout }
    }

    /// The connection of this reply has answered.
    pub fn note(&self, reply: &http::Extensions) {
        let Some(info) = reply.get::<HttpInfo>() else { return };
        let now = Instant::now();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= REMEMBERED {
            connections.retain(|_, answered| now.duration_since(*answered) < self.forget_after);
            if connections.len() >= REMEMBERED {
                connections.clear();
            }
        }
        connections.insert(info.local_addr(), now);
    }

    /// Did the request fail on a connection that had answered before?
    pub fn broke(&self, error: &legacy::Error) -> bool {
        if error.is_connect() {
            return false;
        }
        let Some(connection) = error.connect_info() else { return false };
        let mut extensions = http::Extensions::new();
        connection.get_extras(&mut extensions);
        let Some(info) = extensions.get::<HttpInfo>() else { return false };
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get(&info.local_addr()).is_some_and(|answered| answered.elapsed() < self.forget_after)
    }
}
