//! Stories of whole calls: scripted upstreams, a paused clock, nothing else replaced.

mod attempts;
mod cancel;
mod capabilities;
mod cuts;
mod deadline;
mod embeddings;
mod error_after_200;
mod execute;
mod failover;
mod flapping;
mod hundred;
mod keep_alive;
mod limits;
mod outage;
mod promises;
mod properties;
mod refusals;
mod repair;
mod rows;
mod shutdown;
mod slow;
mod storm;
mod streams;
mod support;
mod timers;
mod totals;
