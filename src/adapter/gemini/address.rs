//! Where a request for a model goes: the model and what is asked of it are the end of the path.

use url::Url;

/// The address for `model`, under `models` of the API. A name with a slash says itself what kind of thing it is:
/// `models/x`, `tunedModels/x`, `projects/p/…`.
pub(in crate::adapter) fn address(models: &Url, model: &str, stream: bool) -> Url {
    let mut url = models.clone();
    let method = if stream { "streamGenerateContent" } else { "generateContent" };
    // Every web address has a path with segments.
    if let Ok(mut path) = url.path_segments_mut() {
        let (parents, name) = model.rsplit_once('/').unwrap_or(("models", model));
        path.pop().extend(parents.split('/').filter(|parent| !parent.is_empty()));
        path.push(&format!("{name}:{method}"));
    }
    if stream {
        // Otherwise the stream is one array, which can be read at its end only.
        url.query_pairs_mut().append_pair("alt", "sse");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, model: &str, stream: bool) -> String {
        address(&Url::parse(base).expect(base), model, stream).to_string()
    }

    #[test]
    fn the_model_and_the_method_end_the_path() {
        const BASE: &str = "https://h/v1beta/models";
        for (model, expected) in [
            ("gemini-2.5-flash", "https://h/v1beta/models/gemini-2.5-flash:generateContent"),
            ("models/x", "https://h/v1beta/models/x:generateContent"),
            ("tunedModels/x", "https://h/v1beta/tunedModels/x:generateContent"),
            ("a b?c#d", "https://h/v1beta/models/a%20b%3Fc%23d:generateContent"),
            ("../../x", "https://h/v1beta/x:generateContent"),
            ("", "https://h/v1beta/models/:generateContent"),
        ] {
            assert_eq!(at(BASE, model, false), expected, "{model}");
        }
    }

    #[test]
    fn a_stream_has_a_method_and_a_query_of_its_own() {
        assert_eq!(at("https://h/v1beta/models", "x", true), "https://h/v1beta/models/x:streamGenerateContent?alt=sse");
        assert_eq!(
            at("https://h/v1beta/models?a=b", "x", true),
            "https://h/v1beta/models/x:streamGenerateContent?a=b&alt=sse"
        );
    }
}
