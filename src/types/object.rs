//! Reads a struct from an object alone.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What is read of a struct when it is written as an object.
///
/// What `derive(Deserialize)` makes also takes an array for a struct, its fields in order: `["user", "hi"]` for a
/// message. No API means that: whoever sends it has made a mistake.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<T> Object<T> {
    /// What a list holds; `None` is the empty one.
    pub fn all(list: Option<Vec<Self>>) -> Vec<T> {
        list.unwrap_or_default().into_iter().map(|object| object.0).collect()
    }

    /// For a field that is a struct.
    pub fn field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de>,
    {
        Self::deserialize(deserializer).map(|object| object.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}
