//! Stories of whole calls: scripted upstreams, a paused clock, nothing else replaced.

mod attempts;
mod cancel;
mod failover;
mod limits;
mod outage;
mod properties;
mod repair;
mod rows;
mod streams;
mod support;
mod timers;
mod totals;
