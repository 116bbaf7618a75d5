//! Where a request for a model goes: the model and what is asked of it are the end of the path.

use url::Url;

/// The address for `model`, under `models` of the API. A name with a slash says itself what kind of thing it is:
/// `models/x`, `tunedModels/x`, `projects/p/…`.
pub(in crate::adapter) fn address(models: &Url, model: &str, method: &str) -> Url {
    let mut url = models.clone();
    // Every web address has a path with segments.
    if let Ok(mut path) = url.path_segments_mut() {
        let (parents, name) = model.rsplit_once('/').unwrap_or(("models", model));
        path.pop().extend(parents.split('/').filter(|parent| !parent.is_empty()));
        path.push(&format!("{name}:{method}"));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, model: &str) -> String {
        address(&Url::parse(base).expect(base), model, "generateContent").to_string()
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
            assert_eq!(at(BASE, model), expected, "{model}");
        }
    }
}
