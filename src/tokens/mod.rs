//! How many tokens a text has.

mod estimate;

pub use estimate::{PART_TOKENS, estimate_prompt, estimate_text};
