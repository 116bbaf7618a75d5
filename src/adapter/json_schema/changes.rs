//! What was changed of a schema, in words.

use std::fmt;

/// Places that are named of one kind of change; a schema can have thousands of properties.
const MOST_PLACES: usize = 3;

/// Kinds of change in the order of their first place, each with its places.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<(String, Vec<String>)>);

impl Changes {
    pub fn note(&mut self, what: String, place: &[String]) {
        let place = format!("/{}", place.join("/"));
        match self.0.iter_mut().find(|(kind, _)| *kind == what) {
            Some((_, places)) => places.push(place),
            None => self.0.push((what, vec![place])),
        }
    }
}

impl fmt::Display for Changes {
    /// `oneOf as anyOf (/shape), null where it is absent (/a, /b, /c and 2 more)`; the root is `/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (what, places)) in self.0.iter().enumerate() {
            let named = &places[..places.len().min(MOST_PLACES)];
            write!(f, "{}{what} ({}", if at == 0 { "" } else { ", " }, named.join(", "))?;
            match places.len() - named.len() {
                0 => f.write_str(")")?,
                more => write!(f, " and {more} more)")?,
            }
        }
        Ok(())
    }
}
