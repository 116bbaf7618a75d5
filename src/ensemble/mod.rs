//! Several runs for one answer.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | by which strategy it is answered, and by which it ends |
//! | `gather` | who is asked next, and what of their answers has a vote |
//! | `canonical` | when two answers say the same |
//! | `similar` | when two texts do that are not equal |
//! | `decide` | which answer it is; the same answers give the same decision in any order |
//! | `judging` | what a judge is asked, and what its words mean |
//!
//! A run of a plan is a call of the engine like any other: its limits, breakers, retries and books hold. A plan adds only
//! which runs there are, and which of their answers counts.

mod canonical;
mod decide;
mod gather;
mod judging;
mod plan;
mod similar;

pub use plan::{Planned, answer, hedged};
