//! What an answer costs: prices × usage, in integers.
//!
//! `prices` is the arithmetic, `list` what holds when, `catalogue` the dated snapshot of what services publish.

mod catalogue;
mod list;
mod prices;

pub use catalogue::{Catalogue, Listed, Shelf};
pub use list::PriceList;
pub use prices::{LOOKS_PER_MILLION, Prices, Rate, UsdPerToken};
