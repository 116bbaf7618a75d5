//! What a background processor may be told, and within which bounds.

use std::time::Duration;

use crate::error::{Error, Problem};
use crate::policy::BackoffParams;
use crate::types::TEMPERATURES;

/// A worker is a call under way; no pool has use for more.
const MOST_WORKERS: usize = 10_000;
/// Jobs wait in memory, a few kilobytes each: more belong into a store of their own.
pub(super) const LONGEST_QUEUE: usize = 1_000_000;
/// With the waits between them, an hour: what has not worked by then does not work.
const MOST_RETRIES: u32 = 100;
/// Above it a busy machine falls behind, and the rate would not be what was asked for.
const FASTEST: f64 = 1_000.0;

/// How a background processor works.
///
/// ```
/// use llmpool::jobs::BackgroundParams;
/// let params = BackgroundParams { workers: 8, rate_limit_rps: Some(2.5), ..BackgroundParams::default() };
/// assert!(params.check().is_ok());
/// assert!(BackgroundParams { workers: 0, ..params }.check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BackgroundParams {
    /// Jobs that are worked on at the same time. 1 to 10,000, default 4.
    pub workers: usize,
    /// Jobs that may wait for their first start. 1 to 1,000,000, default 1,000.
    pub queue_size: usize,
    /// How often one job is tried again, where that is of use. 0 to 100, default 3; 0 = never.
    pub max_retries: u32,
    /// The most one try of a job may take, from its first request on, with the waits and failover after that. What it waits
    /// for a provider that may be asked at all is not counted. `None`, the default: as long as the pool's own deadline
    /// allows. Above 0.
    pub timeout: Option<Duration>,
    /// Starts per second, evenly spaced. `None`, the default: no limit. Above 0, at most 1,000; 0.5 = one in two seconds.
    pub rate_limit_rps: Option<f64>,
    /// The wait before a second try, doubling up to 30 s, each times a random 0.5 to 1. Default 1 s; 0 = at once.
    pub retry_delay: Duration,
    /// Results that are kept for [`super::BackgroundProcessor::results`] while nobody reads them. 1 to 1,000,000, default
    /// 1,000.
    pub keep_results: usize,
    /// Of jobs that name no model themselves.
    pub model: Option<String>,
    /// Of jobs that set none themselves.
    pub max_tokens: Option<u32>,
    /// Of jobs that set none themselves. 0 to 2.
    pub temperature: Option<f64>,
}

impl Default for BackgroundParams {
    fn default() -> Self {
        Self {
            // As many as a small plan of any provider takes at once.
            workers: 4,
            // A few megabytes of prompts at the most.
            queue_size: 1_000,
            // As many as the pool itself allows a call.
            max_retries: 3,
            timeout: None,
            rate_limit_rps: None,
            retry_delay: BackoffParams::default().base,
            // Whoever reads results reads them while they come.
            keep_results: 1_000,
            model: None,
            max_tokens: None,
            temperature: None,
        }
    }
}

// === impl BackgroundParams ===

impl BackgroundParams {
    /// # Errors
    /// Everything that is out of its bounds, at once, by the names that JavaScript uses.
    pub fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut note = |path: &str, message: String| problems.push(Problem { path: path.to_owned(), message });
        for (path, value, most) in [
            ("workers", self.workers, MOST_WORKERS),
            ("queueSize", self.queue_size, LONGEST_QUEUE),
            ("keepResults", self.keep_results, LONGEST_QUEUE),
        ] {
            if !(1..=most).contains(&value) {
                note(path, format!("must be a whole number from 1 to {most}, found {value}"));
            }
        }
        if self.max_retries > MOST_RETRIES {
            note("maxRetries", format!("must be a whole number from 0 to {MOST_RETRIES}, found {}", self.max_retries));
        }
        if self.timeout == Some(Duration::ZERO) {
            note("timeout", "must be milliseconds, more than 0: without any time no job could be done".to_owned());
        }
        if let Some(rate) = self.rate_limit_rps
            && !(rate > 0.0 && rate <= FASTEST)
        {
            note("rateLimitRps", format!("must be a number above 0, at most {FASTEST}, found {rate}"));
        }
        if self.max_tokens == Some(0) {
            note("max_tokens", "must be at least 1, found 0".to_owned());
        }
        if let Some(temperature) = self.temperature
            && !TEMPERATURES.contains(&temperature)
        {
            let (low, high) = (TEMPERATURES.start(), TEMPERATURES.end());
            note("temperature", format!("must be between {low} and {high}, found {temperature}"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::configuration(problems)) }
    }

    pub(super) fn backoff(&self) -> BackoffParams {
        BackoffParams { base: self.retry_delay, ..BackoffParams::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_number_out_of_its_bounds_is_named_at_once() {
        let wrong = BackgroundParams {
            workers: 0,
            queue_size: 0,
            max_retries: 101,
            timeout: Some(Duration::ZERO),
            rate_limit_rps: Some(0.0),
            keep_results: 0,
            max_tokens: Some(0),
            temperature: Some(f64::NAN),
            ..BackgroundParams::default()
        };
        let error = wrong.check().expect_err("nothing of it is right");
        let ErrorKind::Configuration { problems } = error.kind() else { panic!("{error}") };
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        let all = ["workers", "queueSize", "keepResults", "maxRetries", "timeout", "rateLimitRps", "max_tokens"];
        assert_eq!(paths, [&all[..], &["temperature"]].concat());
        for rate in [-1.0, 1_000.1, f64::NAN, f64::INFINITY] {
            assert!(BackgroundParams { rate_limit_rps: Some(rate), ..BackgroundParams::default() }.check().is_err());
        }
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        for (count, retries, rate) in [(1, 0, 0.001), (10_000, 100, 1_000.0)] {
            let params = BackgroundParams {
                workers: count,
                queue_size: count,
                keep_results: count,
                max_retries: retries,
                rate_limit_rps: Some(rate),
                retry_delay: Duration::ZERO,
                ..BackgroundParams::default()
            };
            assert!(params.check().is_ok());
        }
    }
}
