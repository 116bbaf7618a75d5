//! Asking providers whether they are up, beside the calls.
//!
//! A check asks for the list of models, which is free everywhere; a service without one is asked for its root. Whatever a
//! provider answers says that it is up, unless it is an answer that would count against it: a refused key, a rate limit
//! or a path that does not exist are the answers of a server that works. A check spends no limit, and no call waits for
//! it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;

use super::Engine;
use super::attempt::classify;
use super::provider::Provider;
use super::roster::Roster;
use super::run::tell;
use crate::adapter::{ModelsRequest, transport_failure};
use crate::error::{Failure, Phase};
use crate::event::{Event, EventKind, EventLog};
use crate::time;
use crate::transport::{HttpRequest, Started};

impl Engine {
    /// Checks every provider that may be asked, all at once; what changed is told.
    pub(crate) async fn check_providers(&self) -> Vec<Event> {
        let roster = Arc::clone(&self.roster());
        let timeout = roster.health().timeout;
        let enabled = roster.providers().iter().filter(|provider| provider.config().enabled);
        let checks = enabled.map(|provider| async move { (provider, check(provider, timeout).await) });
        let mut log = EventLog::new(Arc::clone(&self.interest));
        for (provider, result) in join_all(checks).await {
            book(provider, result, &roster, &mut log);
        }
        log.take()
    }

    /// Opens a connection to each provider that is to be kept warm.
    pub(crate) async fn warm_up(&self) {
        let roster = Arc::clone(&self.roster());
        let warm = roster.providers().iter().filter(|provider| provider.config().warm && provider.config().enabled);
        // What they answer does not matter, and what they fail with is for the first call to find.
        join_all(warm.map(|provider| check(provider, provider.config().client.connect_timeout))).await;
    }
}

async fn check(provider: &Provider, timeout: Duration) -> Result<(), Failure> {
    let Some(request) = request(provider) else { return Ok(()) };
    let Some(transport) = provider.transport() else { return Ok(()) };
    let asked = async {
        let reply = transport.send(request).await.map_err(|error| transport_failure(&error))?;
        if reply.status.is_success() {
            // To its end, so that the connection serves the next request.
            crate::transport::read_prefix(reply.body, LIST_BYTES, time::now().mono + timeout).await;
            return Ok(());
        }
        let failure = classify(provider.endpoint(), reply).await;
        if failure.class.counts_against_provider() { Err(failure) } else { Ok(()) }
    };
    let ends = time::now().mono + timeout;
    time::until(Some(ends), asked).await.unwrap_or_else(|_| {
        Err(Failure::timeout(Phase::Attempt, format!("no answer to a check within {} ms", timeout.as_millis())))
    })
}

/// What of a list is read: more than any provider lists.
const LIST_BYTES: usize = 1024 * 1024;

/// `None`: an address that HTTP cannot carry, which no call could use either.
fn request(provider: &Provider) -> Option<HttpRequest> {
    let endpoint = provider.endpoint();
    // Whether that key is good does not matter here.
    let auth = provider.config().keys.first().and_then(|key| endpoint.auth(key.expose()).ok());
    let (method, uri, headers) = match endpoint.models_request(auth.as_ref(), 1) {
        Some(ModelsRequest { method, uri, headers, .. }) => (method, uri, headers),
        None => (Method::GET, endpoint.base_url().as_str().try_into().ok()?, endpoint.headers().clone()),
    };
    Some(HttpRequest { method, uri, headers: Arc::new(headers), body: Bytes::new(), started: Started::default() })
}

fn book(provider: &Arc<Provider>, result: Result<(), Failure>, roster: &Roster, log: &mut EventLog) {
    let (moved, changed) = provider.checked(result.is_ok(), roster.health().failures, time::now().mono);
    if let Some(moved) = moved {
        tell(log, provider.name(), moved);
    }
    if changed {
        log.emit(EventKind::HealthChanged, || Event::HealthChanged {
            provider: provider.name().clone(),
            healthy: result.is_ok(),
            reason: result.err().map(|failure| roster.mask().failure(failure).message),
            retry_at: None,
        });
    }
}
