//! The list of a service's models: the request that asks for it and the reader of what comes.
//!
//! It is free everywhere, so it also serves to find out whether a provider is up. It does not prove that there is money
//! on the account, and where [`ModelsRequest::proves_key`] is false not even that the key is right.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::failure;
use super::lenient::Text;
use crate::error::Failure;

/// Where a service lists its models.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModelsList {
    /// Below the root of the API.
    pub path: &'static str,
    /// The end of the root that the list has instead of the chat's.
    pub other_root: Option<(&'static str, &'static str)>,
    /// The query that bounds the list, where there is one.
    pub page: Option<&'static str>,
    /// Whether it answers only to a valid key.
    pub proves_key: bool,
    /// What stands before the names there and nowhere else.
    pub prefix: &'static str,
}

/// The request for the list.
#[derive(Debug, Clone)]
pub struct ModelsRequest {
    pub method: Method,
    pub uri: Uri,
    /// All of them, the key's too; values that may be secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Whether a 2xx says that the key is valid.
    pub proves_key: bool,
}

// === the rows ===

pub(super) const OPENAI: ModelsList =
    ModelsList { path: "/models", other_root: None, page: None, proves_key: true, prefix: "" };
/// Anyone may read OpenRouter's list, and that of a server of one's own that wants no key.
pub(super) const PUBLIC: ModelsList = ModelsList { proves_key: false, ..OPENAI };
pub(super) const ANTHROPIC: ModelsList = ModelsList { page: Some("limit"), ..OPENAI };
pub(super) const GEMINI: ModelsList = ModelsList { page: Some("pageSize"), prefix: "models/", ..OPENAI };
/// There is no list in version 2.
pub(super) const COHERE: ModelsList =
    ModelsList { other_root: Some(("/v2", "/v1")), page: Some("page_size"), ..OPENAI };
pub(super) const OLLAMA: ModelsList = ModelsList { path: "/tags", ..PUBLIC };

impl ModelsList {
    /// The request, for about `page` models where the service can be told so. `None`: an address that HTTP cannot carry.
    pub fn request(
        &self,
        root: &Url,
        headers: &HeaderMap,
        auth: Option<&(HeaderName, HeaderValue)>,
        page: u32,
    ) -> Option<ModelsRequest> {
        let mut url = root.clone();
        let path = root.path().trim_end_matches('/');
        let path = match self.other_root {
            Some((chat, list)) => path.strip_suffix(chat).unwrap_or(path).to_owned() + list,
            None => path.to_owned(),
        };
        url.set_path(&(path + self.path));
        if let Some(name) = self.page {
            url.query_pairs_mut().append_pair(name, &page.to_string());
        }
        let mut headers = headers.clone();
        headers.remove(header::CONTENT_TYPE); // there is no body
        headers.extend(auth.cloned());
        let uri = Uri::try_from(url.as_str()).ok()?;
        Some(ModelsRequest { method: Method::GET, uri, headers, proves_key: self.proves_key })
    }

    /// The names in a reply, in its order: `{data: […]}`, `{models: […]}` or the bare list that Together sends. An
    /// entry without a name is passed over.
    pub fn names(&self, body: &[u8]) -> Result<Vec<String>, Failure> {
        let json = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let list = if json.trim_ascii_start().first() == Some(&b'[') { Some(json) } else { list_in(json)? };
        let entries = list.and_then(|list| serde_json::from_slice::<Vec<&RawValue>>(list).ok());
        let Some(entries) = entries else { return Err(failure::no_answer(body, "the reply is no list of models")) };
        let names: Vec<String> = entries.iter().filter_map(|entry| self.name(entry)).collect();
        if names.is_empty() && !entries.is_empty() {
            return Err(failure::no_answer(body, "the reply lists something without names"));
        }
        Ok(names)
    }

    fn name(&self, entry: &RawValue) -> Option<String> {
        let Entry { id, name } = serde_json::from_str(entry.get()).ok()?;
        let name = id.non_empty().or_else(|| name.non_empty())?;
        Some(name.strip_prefix(self.prefix).map_or(name.clone(), str::to_owned))
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

/// The list inside an object; an error in it is the failure it describes.
fn list_in(json: &[u8]) -> Result<Option<&[u8]>, Failure> {
    #[derive(Deserialize)]
    struct Lists<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        #[serde(borrow)]
        models: Option<&'a RawValue>,
    }
    let json = failure::json_object(json)?;
    let Lists { data, models } = serde_json::from_slice(json).map_err(|error| failure::unreadable(json, error))?;
    Ok(data.or(models).map(|list| list.get().as_bytes()))
}

#[cfg(test)]
#[path = "models_list_tests.rs"]
mod tests;
