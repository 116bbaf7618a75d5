//! A text that must never be seen: an API key.
//!
//! Every way of showing a value gives `***`, so that a key can sit inside a type that is logged, serialised or put into
//! a panic message. Only [`Secret::expose`] hands it out, which makes each use easy to find.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// What stands in its place wherever a secret would be shown.
pub const MASK: &str = "***";

/// Cheap to clone: every attempt holds the key it uses.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the header that carries it and for recognising it in an upstream's reply.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_showing_it_shows_it() {
        let secret = Secret::new("sk-visible");
        let shown = [format!("{secret}"), format!("{secret:?}"), format!("{:#?}", Some(vec![secret.clone()]))].concat()
            + &serde_json::to_string(&secret).expect("serialises");
        assert!(!shown.contains("visible"), "{shown}");
        assert_eq!(secret.expose(), "sk-visible");
        assert_ne!(secret, Secret::new("sk-other"));
    }
}
