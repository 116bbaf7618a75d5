//! Several runs for one answer.
//!
//! | file | decides |
//! |---|---|
//! | `plan` | who is asked, how long they are waited for, and by which strategy it ends |
//! | `canonical` | when two answers say the same |
//! | `decide` | which answer it is; the same answers give the same decision in any order |
//! | `judging` | what a judge is asked, and what its words mean |
//!
//! A run of a plan is a call of the engine like any other: its limits, breakers, retries and books hold. A plan adds only
//! which runs there are, and which of their answers counts.

mod canonical;
mod decide;
mod judging;
mod plan;

pub use plan::{Planned, answer, hedged};
