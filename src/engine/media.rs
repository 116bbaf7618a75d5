//! Puts into a request what it only names by an address, for a provider that fetches nothing itself.
//!
//! Happens where the configuration allows it; elsewhere the dialect refuses the part by its own words. What was fetched
//! once is kept for the rest of the call, so that another provider does not fetch it again.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::lock;
use crate::adapter::{Endpoint, RemotePart};
use crate::transport::{Media, MediaClient};
use crate::types::{ChatRequest, Content, FieldError, Part};

/// Fetches that are under way at once, for one call.
const AT_ONCE: usize = 4;
/// Addresses that one request may name.
const MAX_PARTS: usize = 100;

/// What a call has fetched: address and data URI.
pub(super) type Fetched = Mutex<Vec<(String, Arc<str>)>>;

/// The request with its media in it. `None`: it is fine as it is.
pub(super) async fn inlined(
    endpoint: &Endpoint,
    request: &ChatRequest,
    client: &MediaClient,
    fetched: &Fetched,
    max_bytes: usize,
) -> Result<Option<Box<ChatRequest>>, FieldError> {
    let parts = endpoint.remote_parts(request);
    if parts.is_empty() {
        return Ok(None);
    }
    let refused = |part: &RemotePart<'_>, why: String| FieldError { field: part.field(), message: why };
    if let Some(part) = parts.get(MAX_PARTS) {
        return Err(refused(part, format!("is one of more than {MAX_PARTS} addresses, which are not fetched at once")));
    }
    let mut fetches: Vec<BoxFuture<'_, Result<Arc<str>, FieldError>>> = Vec::with_capacity(parts.len());
    for part in &parts {
        fetches.push(Box::pin(async move { uri(part.url, client, fetched).await.map_err(|why| refused(part, why)) }));
    }
    let uris: Vec<Arc<str>> = stream::iter(fetches).buffered(AT_ONCE).try_collect().await?;
    if uris.iter().map(|uri| uri.len()).sum::<usize>() > max_bytes {
        let message = format!("what the addresses name is over qos.max_prompt_bytes of {max_bytes}");
        return Err(FieldError { field: "messages".to_owned(), message });
    }
    let mut request = Box::new(request.clone());
    let places: Vec<(usize, usize)> = parts.iter().map(|part| (part.message, part.part)).collect();
    for ((message, part), uri) in places.into_iter().zip(uris) {
        let Content::Parts(parts) = &mut request.messages[message].content else { continue };
        match &mut parts[part] {
            Part::ImageUrl { image_url } => image_url.url = uri.as_ref().to_owned(),
            Part::File { file } => file["file_data"] = uri.as_ref().into(),
            Part::Text { .. } | Part::InputAudio { .. } => {}
        }
    }
    Ok(Some(request))
}

async fn uri(url: &str, client: &MediaClient, fetched: &Fetched) -> Result<Arc<str>, String> {
    let known = lock(fetched).iter().find(|(known, _)| known == url).map(|(_, uri)| Arc::clone(uri));
    if let Some(uri) = known {
        return Ok(uri);
    }
    let Media { kind, bytes } = client.fetch(url).await?;
    let uri: Arc<str> = format!("data:{kind};base64,{}", STANDARD.encode(&bytes)).into();
    lock(fetched).push((url.to_owned(), Arc::clone(&uri)));
    Ok(uri)
}
