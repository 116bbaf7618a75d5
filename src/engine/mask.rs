//! Takes secrets out of an upstream's words before they leave the pool.
//!
//! Providers echo keys in error bodies, in reflected headers and URLs, and proxies do it base64-encoded. The pool knows
//! its own secrets, so it looks for those, not for things that look like secrets.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::error::Failure;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Shorter secrets are not searched for: they would mask ordinary words, and no provider issues them.
const SHORTEST: usize = 4;

/// All forms in which one provider's secrets may come back.
#[derive(Clone, Default)]
pub struct Mask {
    forms: Vec<String>,
}

impl Mask {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::default().with(secrets)
    }

    /// The same, over more secrets.
    pub fn with<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = self.forms.clone();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            forms.push(secret.to_owned());
            let in_url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            forms.push(with_lower_case_escapes(&in_url));
            forms.push(in_url);
            // As it stands in JSON that could not be parsed; escaping a slash is optional there.
            let json = serde_json::Value::from(secret).to_string();
            let json = json.trim_matches('"');
            forms.push(json.to_owned());
            forms.push(json.replace('/', "\\/"));
            for shift in 0..3 {
                forms.extend(base64_cores(secret.as_bytes(), shift));
            }
        }
        // Longest first: a form that contains another must go as a whole.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// The text without any of the secrets.
    pub fn text(&self, mut text: String) -> String {
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), MASK);
            }
        }
        self.without_cut_secret(text)
    }

    /// Long messages are cut before they come here; a secret may stand across the cut.
    fn without_cut_secret(&self, mut text: String) -> String {
        let end = text.trim_end_matches('…').len();
        let cut = self.forms.iter().filter_map(|form| {
            let pieces = form.char_indices().map(|(at, _)| at).filter(|at| *at >= SHORTEST);
            pieces.rev().find(|at| text[..end].ends_with(&form[..*at]))
        });
        if let Some(length) = cut.max() {
            text.replace_range(end - length..end, MASK);
        }
        text
    }

    pub fn failure(&self, mut failure: Failure) -> Failure {
        failure.message = self.text(failure.message);
        failure.code = failure.code.map(|code| self.text(code));
        failure
    }
}

/// `%2F` may come back as `%2f`.
fn with_lower_case_escapes(in_url: &str) -> String {
    let mut escaped = 0;
    in_url
        .chars()
        .map(|letter| {
            escaped = if letter == '%' { 2 } else { i32::max(escaped - 1, -1) };
            if escaped >= 0 { letter.to_ascii_lowercase() } else { letter }
        })
        .collect()
}

/// How a secret looks inside the base64 of a longer text, when `shift` bytes of the group of three stand before it.
/// The first and last characters depend on the neighbours and are left out.
fn base64_cores(secret: &[u8], shift: usize) -> Vec<String> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(secret);
    let whole = padded.len() - padded.len() % 3;
    let skip = if shift == 0 { 0 } else { 4 };
    [STANDARD_NO_PAD.encode(&padded[..whole]), URL_SAFE_NO_PAD.encode(&padded[..whole])]
        .into_iter()
        .filter_map(|encoded| encoded.get(skip..).map(str::to_owned))
        .filter(|core| core.len() >= SHORTEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-proj/8f+3aZ==QQ";

    #[test]
    fn a_secret_is_masked_in_every_form_it_may_come_back() {
        let mask = Mask::new([KEY]);
        for before in ["", "a", "ab", "Bearer ", "user:"] {
            for encode in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let echoed = encode.encode(format!("{before}{KEY}"));
                let shown = mask.text(format!("got {echoed}."));
                assert!(shown.contains(MASK), "{before:?}: {shown}");
                assert!(shown.len() < "got .".len() + echoed.len(), "{shown}");
            }
        }
        assert_eq!(mask.text(format!("key {KEY} is bad")), "key *** is bad");
        assert_eq!(mask.text("?key=sk-proj%2F8f%2B3aZ%3D%3DQQ".to_owned()), "?key=***");
        assert_eq!(mask.text("?key=sk-proj%2f8f%2b3aZ%3d%3dQQ".to_owned()), "?key=***");
    }

    #[test]
    fn a_secret_in_broken_json_or_across_a_cut_is_masked() {
        let mask = Mask::new([KEY]);
        assert_eq!(mask.text(r#"{"key":"sk-proj\/8f+3aZ==QQ"#.to_owned()), r#"{"key":"***"#);
        assert_eq!(mask.text("no key sk-proj/8f…".to_owned()), "no key ***…");
        assert_eq!(mask.text("no key sk-p".to_owned()), "no key ***");
    }

    #[test]
    fn words_that_are_no_secret_stay() {
        assert_eq!(Mask::new(["", "abc"]).text("abc def".to_owned()), "abc def");
    }
}
