//! What an answer costs: prices × usage, in integers.

mod prices;

pub use prices::{LOOKS_PER_MILLION, Prices};
