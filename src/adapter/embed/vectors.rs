//! Vectors as services send them, and what makes a set of them an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::error::{Failure, FailureClass};

/// A vector: numbers, or base64 of 32-bit floats, little-endian. Anything that is not a number in it reads as NaN, so that
/// the check can say which vector it was in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Vector(pub Vec<f64>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VectorVisitor;

        impl<'de> Visitor<'de> for VectorVisitor {
            type Value = Vector;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array of numbers, or base64 of 32-bit floats")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vector, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("a vector is no base64"))?;
                if !bytes.len().is_multiple_of(4) {
                    let length = bytes.len();
                    return Err(E::custom(format!("a vector of {length} bytes is no list of 32-bit floats")));
                }
                let numbers = bytes.chunks_exact(4).map(|four| match four {
                    [a, b, c, d] => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
                    _ => f64::NAN,
                });
                Ok(Vector(numbers.collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector, A::Error> {
                let mut numbers = Vec::with_capacity(1536); // as long as the most common ones
                while let Some(number) = seq.next_element::<Option<f64>>()? {
                    numbers.push(number.unwrap_or(f64::NAN));
                }
                numbers.shrink_to_fit();
                Ok(Vector(numbers))
            }
        }

        deserializer.deserialize_any(VectorVisitor)
    }
}

/// One vector for each input, all of one length, of numbers that are numbers.
pub(super) fn check(vectors: &[Vec<f64>], inputs: usize, dimensions: Option<u32>) -> Result<(), Failure> {
    let broken = |message: String| Err(Failure::new(FailureClass::BadReply, message));
    if vectors.len() != inputs {
        return broken(format!("{} vectors came for {inputs} inputs", vectors.len()));
    }
    let length = vectors.first().map_or(0, Vec::len);
    for (at, vector) in vectors.iter().enumerate() {
        if vector.is_empty() {
            return broken(format!("vector {at} is empty"));
        }
        if vector.len() != length {
            return broken(format!("vector {at} has {} numbers, the first one has {length}", vector.len()));
        }
        if vector.iter().any(|number| !number.is_finite()) {
            return broken(format!("vector {at} holds something that is not a finite number"));
        }
    }
    match dimensions {
        // It works, but not as asked: nobody's breaker is to open for that.
        Some(asked) if asked as usize != length => Err(Failure::new(
            FailureClass::ModelOutputInvalid,
            format!("vectors of {length} numbers came where {asked} were asked for"),
        )),
        _ => Ok(()),
    }
}
