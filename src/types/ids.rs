//! Names that are both strings and must never be swapped.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The name a configured provider has in the pool. Cheap to clone: it goes on every trail, event and answer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderName(Arc<str>);

/// Identifies one run in events, errors and answers: the caller's own, or one made by the pool (`req_` and 22 letters).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

macro_rules! name_type {
    ($type:ident) => {
        impl $type {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, without a copy.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

impl RequestId {
    /// One that no other call has.
    pub fn random() -> Self {
        const LETTERS: usize = 22; // 131 bits of base 62: no two calls share one
        let mut id = String::with_capacity(4 + LETTERS);
        id.push_str("req_");
        id.extend(std::iter::repeat_with(fastrand::alphanumeric).take(LETTERS));
        Self::new(id)
    }
}

name_type!(ProviderName);
name_type!(RequestId);
