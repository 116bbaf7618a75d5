//! The two ways to address a deployment.
//!
//! The classic address names the deployment in its path and the version of the API in its query; the body's model is
//! not read there. The newer one ends in `/v1`, and the deployment is the model. Which one is meant shows: a deployment
//! in the configuration or in the pasted path is the classic one, and so is a version that is a date.
//! Source: npm openai 6.49.0 `src/azure.ts`.

use std::borrow::Cow;

use url::Url;

use super::EndpointError;

const DEPLOYMENTS: &str = "/deployments/";
const VERSION: &str = "api-version";

/// The classic address: the root up to the deployment, which is the model where none is configured.
#[derive(Debug)]
pub(super) struct Classic {
    pub deployment: Option<String>,
}

/// Reads what a pasted path and the settings say, puts the version into the query of `url`, and gives the path of the
/// root. `whole` is the path of the newer API.
pub(super) fn read(
    url: &mut Url,
    path: String,
    whole: &str,
    deployment: Option<&str>,
    api_version: Option<&str>,
) -> Result<(String, Option<Classic>), EndpointError> {
    let wrong = |field, message: &str| EndpointError { field, message: message.to_owned() };
    let deployment = deployment.map(str::trim).filter(|name| !name.is_empty());
    let api_version = api_version.map(str::trim).filter(|version| !version.is_empty());
    if let Some(version) = api_version {
        set_version(url, version);
    }
    let version = url.query_pairs().find(|(name, _)| name == VERSION).map(|(_, version)| version.into_owned());
    let dated = version.as_deref().is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()));

    let (path, pasted) = match path.split_once(DEPLOYMENTS) {
        Some((root, name)) => (root.to_owned(), Some(name.to_owned()).filter(|name| !name.is_empty())),
        None => (path, None),
    };
    let bare = whole.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let newer = path.ends_with("/v1");
    if newer && (deployment.is_some() || pasted.is_some()) {
        return Err(wrong(
            "deployment",
            "with a base_url that ends in /v1 the deployment is the model; remove one of the two",
        ));
    }
    if newer || deployment.is_none() && pasted.is_none() && !dated {
        return Ok((if bare { whole.to_owned() } else { path }, None));
    }
    if version.is_none() {
        return Err(wrong("api_version", "is missing; a deployment is asked for with one, for example 2024-10-21"));
    }
    let parent = whole.rsplit_once('/').map_or("", |(parent, _)| parent);
    let deployment = deployment.map(str::to_owned).or(pasted);
    Ok((if bare { parent.to_owned() } else { path }, Some(Classic { deployment })))
}

/// The address of one deployment below `root`.
pub(super) fn address(root: &Url, deployment: &str, endpoint: &str) -> Url {
    let mut url = root.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["deployments", deployment]).extend(endpoint.split('/').skip(1));
    }
    url
}

impl Classic {
    /// Where requests for `model` go; `chat` is the address of the configured deployment.
    pub fn chat<'a>(&self, root: &Url, chat: &'a Url, model: &str, endpoint: &str) -> Cow<'a, Url> {
        match self.deployment {
            Some(_) => Cow::Borrowed(chat),
            None => Cow::Owned(address(root, model, endpoint)),
        }
    }
}

fn set_version(url: &mut Url, version: &str) {
    let others: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(name, _)| name != VERSION).collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(VERSION, version);
}
