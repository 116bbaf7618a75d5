//! GETs a document: what the pool reads for itself, not for a caller.

use http::{HeaderMap, Method};
use url::Url;

use super::body::refuse_encoded;
use super::proxied::{build, reply, translate};
use super::{ClientParams, HttpReply};
use crate::error::TransportError;

/// A client that keeps no connection: what it fetches, it fetches rarely.
pub struct Fetcher(reqwest::Client);

impl Fetcher {
    /// Reads the certificate files that `params` names.
    ///
    /// # Errors
    /// A certificate or a proxy cannot be used.
    pub fn new(params: &ClientParams) -> Result<Self, TransportError> {
        build(params, 0).map(Self)
    }

    /// Sends one request and follows no redirect. The body is read as it is asked for.
    ///
    /// # Errors
    /// No reply came. The message holds nothing of the URL.
    pub async fn get(&self, url: Url, headers: HeaderMap) -> Result<HttpReply, TransportError> {
        let mut request = reqwest::Request::new(Method::GET, url);
        *request.headers_mut() = headers;
        let reply = reply(self.0.execute(request).await.map_err(translate)?);
        refuse_encoded(&reply.headers)?;
        Ok(reply)
    }
}
