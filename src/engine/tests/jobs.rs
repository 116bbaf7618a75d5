//! Jobs of a background processor over scripted upstreams: each ends once, in the order of its priority, and nothing is
//! asked more often than it may be.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Story, after, answer, fails, fails_with, hangs, provider, slow};
use crate::error::{Error, ErrorKind};
use crate::jobs::{
    BackgroundParams, BackgroundProcessor, Job, JobResult, JobSpec, JobStatus, MemoryStore, Priority, StopOptions,
};
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{CallOptions, ChatRequest};

const SECOND: Duration = Duration::from_secs(1);
const NOW: StopOptions = StopOptions { drain: false, drain_timeout: None };

#[expect(clippy::disallowed_methods, reason = "workers go on beside the story")]
fn start(story: &Story, params: BackgroundParams) -> BackgroundProcessor {
    let processor = BackgroundProcessor::over(params, Arc::new(MemoryStore::default())).expect("good parameters");
    for task in processor.tasks(&story.pool, &(Arc::new(drop) as _)) {
        tokio::spawn(task);
    }
    processor
}

fn params() -> BackgroundParams {
    BackgroundParams { retry_delay: SECOND, ..BackgroundParams::default() }
}

fn one_worker() -> BackgroundParams {
    BackgroundParams { workers: 1, ..params() }
}

/// The last word of what was asked.
fn asked(request: &HttpRequest) -> String {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let text = body["messages"][0]["content"].as_str().expect("text");
    text.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// What the upstream was asked, in order.
fn order(story: &Story) -> Vec<String> {
    story.upstream.requests().iter().map(asked).collect()
}

fn job(word: impl std::fmt::Display) -> JobSpec {
    JobSpec::prompt(format!("do {word}")).id(word.to_string())
}

async fn submit(jobs: &BackgroundProcessor, spec: JobSpec) -> Job {
    jobs.submit(spec).await.expect("a place in the queue")
}

fn ids(specs: &[JobSpec]) -> Vec<&str> {
    specs.iter().map(|spec| spec.id.as_deref().expect("an id")).collect()
}

fn is_closed(end: &Result<Arc<JobResult>, Error>) -> bool {
    end.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Closed))
}

// === ten thousand ===

/// Answers half of what it is asked, each with its own number; errors, limits, garbage, cuts and silence are the rest.
fn misbehaves(seed: u64) -> impl FnMut(&HttpRequest) -> Answer + Send + 'static {
    let mut chance = fastrand::Rng::with_seed(seed);
    move |request| {
        let word = asked(request);
        let millis = chance.u64(1..400);
        match chance.u32(0..100) {
            0..55 => Box::pin(async move {
                after(Duration::from_millis(millis)).await;
                answer(&format!("done {word}")).await
            }),
            55..70 => fails(500),
            70..78 => fails_with(429, &[("retry-after", "1")]),
            78..86 => fake::reply(200, &[("content-type", "application/json")], "<html>busy</html>".to_owned()),
            86..94 => fake::reply(200, &[("content-type", "application/json")], "{\"choices\":[{\"mess".to_owned()),
            _ => hangs(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_jobs_over_five_that_misbehave_end_once_each_and_the_urgent_ones_first() {
    const JOBS: usize = 10_000;
    let impatient = |name: &&str| {
        let mut provider = provider(name, 1);
        provider["timeout"] = json!(2_000);
        provider["circuit_breaker_timeout"] = json!(500);
        provider
    };
    let providers: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(impatient).collect();
    let config = json!({ "providers": providers, "routing": { "seed": 7, "breaker": { "max_open_ms": 1_000 } } });
    let story = Story::with_config(config, misbehaves(11));
    let jobs =
        start(&story, BackgroundParams { workers: 32, queue_size: JOBS, timeout: Some(20 * SECOND), ..params() });
    let results = jobs.results();
    let mut promised = Vec::new();
    for number in 0..JOBS {
        let spec = job(number).priority(Priority::ALL[number % 4]).metadata(number);
        promised.push(submit(&jobs, spec).await);
    }
    assert!(matches!(jobs.submit(job("more")).await.expect_err("it is full").kind(), ErrorKind::QueueFull { .. }));

    // A reader that keeps up, as far as results are kept.
    let mut ended = Vec::new();
    let reading = async {
        while let Some(result) = results.next().await {
            ended.push(result);
        }
    };
    let (not_done, ()) = tokio::join!(jobs.stop(StopOptions::default()), reading);
    assert!(not_done.is_empty());

    let once: HashSet<_> = ended.iter().map(|result| result.metadata.as_u64().expect("its number")).collect();
    assert_eq!((ended.len(), once.len()), (JOBS, JOBS), "each ended once");
    for (number, job) in promised.iter().enumerate() {
        let result = job.ended().await.expect("none was handed back");
        match &result.outcome {
            Ok(response) => assert_eq!(response.reply.content, format!("done {number}"), "its own answer"),
            Err(error) => assert!(!error.is_cancellation(), "{error}"),
        }
    }
    let stats = jobs.stats();
    assert_eq!(stats.completed + stats.failed, JOBS as u64);
    assert_eq!((stats.queue_size, stats.active_workers, stats.resting, stats.results_dropped), (0, 0, 0, 0));
    assert!(stats.completed > 9_500, "{stats:?}");
    assert!(!stats.is_running);

    // The mean place at which jobs of a priority ended.
    let mut places = BTreeMap::<&str, (usize, usize)>::new();
    for (place, result) in ended.iter().enumerate() {
        let (sum, count) = places.entry(result.priority.as_str()).or_default();
        *sum += place;
        *count += 1;
    }
    let means: Vec<_> = Priority::ALL.map(|priority| places[priority.as_str()]).iter().map(|(s, n)| s / n).collect();
    assert!(means.windows(2).all(|pair| pair[0] + 500 < pair[1]), "critical, high, normal, low: {means:?}");
    // Nobody starved: the first hundred ends have low ones among them.
    assert!(ended[..100].iter().any(|result| result.priority == Priority::Low));
}

// === order ===

#[tokio::test(start_paused = true)]
async fn jobs_begin_by_priority_and_among_equals_by_age() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, one_worker());
    for word in ["low-1", "low-2", "normal-1", "high-1", "critical-1", "critical-2"] {
        let priority = word.split('-').next().and_then(|word| word.parse().ok()).expect("a priority");
        submit(&jobs, job(word).priority(priority)).await;
    }
    jobs.stop(StopOptions::default()).await;
    assert_eq!(order(&story), ["critical-1", "high-1", "critical-2", "normal-1", "low-1", "low-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_spaces_the_starts_and_a_later_urgent_job_goes_first() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let jobs = start(&story, BackgroundParams { rate_limit_rps: Some(2.0), ..params() });
    let begun = time::now().mono;
    for word in ["a", "b", "c"] {
        submit(&jobs, job(word)).await;
    }
    after(Duration::from_millis(100)).await;
    let urgent = submit(&jobs, job("urgent").priority(Priority::Critical)).await;
    urgent.result().await.expect("an answer");
    assert_eq!(time::now().mono - begun, SECOND / 2);
    jobs.stop(StopOptions::default()).await;
    assert_eq!(order(&story), ["a", "urgent", "b", "c"]);
    assert_eq!(time::now().mono - begun, SECOND * 3 / 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_run_than_there_are_workers() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { workers: 3, ..params() });
    for number in 0..7 {
        submit(&jobs, job(number)).await;
    }
    after(SECOND / 2).await;
    assert_eq!((story.in_flight(), jobs.stats().active_workers, jobs.stats().queue_size), (3, 3, 4));
    let begun = time::now().mono;
    jobs.stop(StopOptions::default()).await;
    assert_eq!(time::now().mono - begun, SECOND * 5 / 2, "three rounds of a second, half of one was over");
}

// === tries ===

#[tokio::test(start_paused = true)]
async fn a_job_whose_time_runs_out_is_tried_again_and_asks_each_provider_once_more_only() {
    // Of the first job's four tries, the last one is answered.
    let mut asked = 0;
    let story = Story::new(&["a"], move |_| {
        asked += 1;
        if asked < 4 { hangs() } else { answer("at last") }
    });
    let jobs = start(&story, BackgroundParams { timeout: Some(2 * SECOND), ..params() });
    let result = submit(&jobs, job("a")).await.ended().await.expect("it ended");
    assert_eq!(result.outcome.as_ref().expect("an answer").reply.content, "at last");
    assert_eq!((result.tries, jobs.stats().retries, order(&story).len()), (4, 3, 4));
    assert!(result.took >= 6 * SECOND, "three times two seconds, and backoff: {:?}", result.took);
}

#[tokio::test(start_paused = true)]
async fn retries_end_and_the_last_error_says_why() {
    let story = Story::new(&["a"], |_| hangs());
    let jobs = start(&story, BackgroundParams { timeout: Some(SECOND), max_retries: 2, ..params() });
    let result = submit(&jobs, job("a")).await.ended().await.expect("it ended");
    let error = result.outcome.as_ref().expect_err("nobody answered");
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    assert_eq!(error.context().request_id.as_ref().map(|id| id.as_str()), Some("a"), "the job's id is its calls'");
    assert_eq!((result.status, result.tries, order(&story).len()), (JobStatus::Failed, 3, 3));
    let none = submit(&jobs, job("b").max_retries(0)).await.ended().await.expect("it ended");
    assert_eq!(none.tries, 1, "the job's own word counts");
}

#[tokio::test(start_paused = true)]
async fn what_providers_fail_with_is_the_pools_to_retry_and_nobody_elses() {
    let story = Story::new(&["a", "b"], |_| fails(500));
    let alone = Story::new(&["a", "b"], |_| fails(500));
    alone.ask().await.expect_err("both fail");
    let jobs = start(&story, params());
    let result = submit(&jobs, job("a")).await.ended().await.expect("it ended");
    assert_eq!((result.status, result.tries), (JobStatus::Failed, 1));
    assert_eq!(order(&story).len(), alone.upstream.requests().len(), "as many requests as one call makes");
}

#[tokio::test(start_paused = true)]
async fn a_queue_longer_than_the_limit_of_the_minute_waits_for_it_and_fails_nothing() {
    let mut limited = provider("a", 1);
    limited["requests_per_minute"] = json!(20);
    let story = Story::with_config(json!({ "providers": [limited] }), |_| answer("yes"));
    let jobs = start(&story, BackgroundParams { max_retries: 0, ..params() });
    let begun = time::now().mono;
    for number in 0..100 {
        submit(&jobs, job(number)).await;
    }
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
    let stats = jobs.stats();
    assert_eq!((stats.completed, stats.failed, order(&story).len()), (100, 0, 100), "nobody was asked in vain");
    let minutes = (time::now().mono - begun).as_secs() / 60;
    assert_eq!(minutes, 4, "five times twenty");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_rests_holds_no_worker_and_no_place() {
    let story = Story::new(&["a"], |request| if asked(request) == "stuck" { hangs() } else { answer("yes") });
    let jobs = start(
        &story,
        BackgroundParams { timeout: Some(SECOND), queue_size: 1, retry_delay: 20 * SECOND, ..one_worker() },
    );
    let stuck = submit(&jobs, job("stuck")).await;
    after(SECOND + SECOND / 2).await;
    assert_eq!((jobs.stats().resting, jobs.stats().queue_size, jobs.stats().active_workers), (1, 0, 0));
    let begun = time::now().mono;
    submit(&jobs, job("b")).await.result().await.expect("an answer");
    assert!(time::now().mono - begun < SECOND);
    assert!(stuck.cancel().await);
    assert_eq!(stuck.ended().await.expect("it ended").status, JobStatus::Cancelled);
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_be_asked_the_queue_is_not_turned_over() {
    let mut brittle = provider("a", 1);
    brittle["circuit_breaker_threshold"] = json!(1);
    brittle["circuit_breaker_timeout"] = json!(5_000);
    let mut first = true;
    let story = Story::with_config(json!({ "providers": [brittle], "routing": { "max_retries": 0 } }), move |_| {
        if std::mem::take(&mut first) { fails(500) } else { answer("yes") }
    });
    let jobs = start(&story, BackgroundParams { workers: 2, max_retries: 0, ..params() });
    for number in 0..50 {
        submit(&jobs, job(number)).await;
    }
    after(SECOND).await;
    let stats = jobs.stats();
    assert_eq!((stats.failed, stats.retries), (1, 1), "one was refused");
    assert_eq!((stats.resting, stats.queue_size, stats.active_workers), (1, 48, 0), "the others keep their places");
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
    assert_eq!((jobs.stats().completed, order(&story).len()), (49, 50));
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_model_that_cannot_be_asked_hold_up_no_others() {
    let mut brittle = provider("a", 1);
    brittle["circuit_breaker_threshold"] = json!(1);
    brittle["circuit_breaker_timeout"] = json!(5_000);
    brittle["model"] = json!("limited");
    let mut idle = provider("b", 2);
    idle["model"] = json!("idle");
    let config = json!({ "providers": [brittle, idle], "routing": { "max_retries": 0 } });
    let mut first = true;
    let story =
        Story::with_config(config, move |_| if std::mem::take(&mut first) { fails(500) } else { answer("yes") });
    let jobs = start(&story, BackgroundParams { workers: 2, ..params() });
    let of = |model: &str, word: String| {
        let mut spec = job(word);
        spec.request.model = Some(model.to_owned());
        spec
    };
    for number in 0..12 {
        submit(&jobs, of("limited", format!("limited-{number}"))).await;
    }
    after(SECOND).await;
    let begun = time::now().mono;
    let other = submit(&jobs, of("idle", "other".to_owned()).priority(Priority::Low)).await;
    other.result().await.expect("an answer");
    assert_eq!(time::now().mono, begun, "its model is idle");
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
    assert_eq!((jobs.stats().completed, jobs.stats().failed, order(&story).len()), (12, 1, 13));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_job_runs_from_its_first_request() {
    let mut narrow = provider("a", 1);
    narrow["max_concurrent"] = json!(1);
    let story = Story::with_config(json!({ "providers": [narrow] }), |_| slow(SECOND / 4, "yes"));
    let jobs =
        start(&story, BackgroundParams { workers: 50, timeout: Some(SECOND * 3 / 10), max_retries: 0, ..params() });
    for number in 0..100 {
        submit(&jobs, job(number)).await;
    }
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
    assert_eq!((jobs.stats().completed, order(&story).len()), (100, 100), "{:?}", jobs.stats());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_held_is_given_up_and_handed_back_as_any_other() {
    let mut brittle = provider("a", 1);
    brittle["circuit_breaker_threshold"] = json!(1);
    brittle["circuit_breaker_timeout"] = json!(5_000);
    let config = json!({ "providers": [brittle], "routing": { "max_retries": 0 } });
    let story = Story::with_config(config, |_| fails(500));
    let jobs = start(&story, BackgroundParams { workers: 2, ..params() });
    let [_, left, handed_back] =
        [submit(&jobs, job("broken")).await, submit(&jobs, job("left")).await, submit(&jobs, job("back")).await];
    after(SECOND).await;
    assert!(left.cancel().await);
    assert_eq!(left.ended().await.expect("it ended").status, JobStatus::Cancelled);
    assert_eq!(ids(&jobs.stop(NOW).await), ["back"]);
    assert!(is_closed(&handed_back.ended().await));
}

#[tokio::test(start_paused = true)]
async fn jobs_wait_for_money_that_requests_under_way_hold_and_fail_when_it_is_spent() {
    // A request reserves more than it costs: one at a time has room, until the tenth or so.
    let mut priced = provider("a", 1);
    priced["input_price_per_million"] = json!(0);
    priced["output_price_per_million"] = json!(1_000);
    let config = json!({ "providers": [priced], "budget": { "daily_usd": 0.15 } });
    let story = Story::with_config(config, |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { workers: 8, max_retries: 0, max_tokens: Some(100), ..params() });
    let mut all = Vec::new();
    for number in 0..40 {
        all.push(submit(&jobs, job(number)).await);
    }
    assert!(jobs.stop(StopOptions::default()).await.is_empty());
    let mut spent = 0;
    for job in all {
        if let Err(error) = job.result().await {
            assert!(!error.is_held_by_requests(), "{error}");
            assert!(matches!(error.kind(), ErrorKind::BudgetExceeded(_)), "{error}");
            spent += 1;
        }
    }
    assert_eq!((jobs.stats().completed, spent), (40 - spent, spent));
    assert!(jobs.stats().completed > 3 && spent > 3, "{:?}", jobs.stats());
}

// === bounds ===

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_or_is_waited_for() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { queue_size: 2, ..one_worker() });
    for word in ["a", "b"] {
        submit(&jobs, job(word)).await;
    }
    let refused = jobs.submit(job("c")).await.expect_err("two wait");
    assert!(matches!(refused.kind(), ErrorKind::QueueFull { capacity: 2 }) && refused.is_retryable(), "{refused}");
    let waited = jobs.submit_when_free(job("c")).await.expect("a place, when a has begun");
    waited.result().await.expect("an answer");
    assert_eq!(order(&story), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_id_belongs_to_one_job_until_it_is_over() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, one_worker());
    let first = submit(&jobs, job("a")).await;
    let refused = jobs.submit(job("a")).await.expect_err("a waits");
    assert!(matches!(refused.kind(), ErrorKind::InvalidRequest { field } if field == "id"), "{refused}");
    first.result().await.expect("an answer");
    submit(&jobs, job("a")).await.result().await.expect("it is free again");
    let made = submit(&jobs, JobSpec::prompt("x")).await;
    assert!(made.id().starts_with("job_") && made.id().len() == 26, "{}", made.id());
}

#[tokio::test(start_paused = true)]
async fn the_processors_words_stand_in_where_a_job_has_none() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let defaults =
        BackgroundParams { max_tokens: Some(77), temperature: Some(0.0), model: Some("m".into()), ..params() };
    let jobs = start(&story, defaults);
    submit(&jobs, job("a")).await.result().await.expect("an answer");
    let own = ChatRequest { max_tokens: Some(5), ..ChatRequest::user("do b") };
    submit(&jobs, own.into()).await.result().await.expect("an answer");
    let bodies: Vec<Value> =
        story.upstream.requests().iter().map(|sent| serde_json::from_slice(&sent.body).expect("JSON")).collect();
    let said: Vec<_> = bodies.iter().map(|body| (body["max_tokens"].clone(), body["temperature"].clone())).collect();
    assert_eq!(said, [(json!(77), json!(0.0)), (json!(5), json!(0.0))]);
    let wrong = JobSpec::new(ChatRequest::default());
    let refused = jobs.submit(wrong).await.expect_err("no messages");
    assert!(matches!(refused.kind(), ErrorKind::InvalidRequest { field } if field == "request.messages"), "{refused}");
}

// === cancelling ===

#[tokio::test(start_paused = true)]
async fn a_job_is_given_up_wherever_it_stands() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { queue_size: 1, ..one_worker() });
    let running = submit(&jobs, job("running")).await;
    after(SECOND / 4).await;
    let waiting = submit(&jobs, job("waiting")).await;
    assert!(waiting.cancel().await && !waiting.cancel().await, "once");
    assert_eq!(jobs.stats().queue_size, 0);
    let next = submit(&jobs, job("next")).await;
    assert!(running.cancel().await);
    for job in [&running, &waiting] {
        let result = job.ended().await.expect("it ended");
        assert_eq!(result.status, JobStatus::Cancelled);
        assert!(matches!(job.result().await.expect_err("no answer").kind(), ErrorKind::Cancelled));
    }
    assert_eq!(story.in_flight(), 1, "its call was ended, and the next has begun");
    next.result().await.expect("the place is another's");
    assert!(!next.cancel().await, "it is over");
    assert_eq!((order(&story), jobs.stats().cancelled), (vec!["running".to_owned(), "next".to_owned()], 2));
}

// === results ===

#[tokio::test(start_paused = true)]
async fn results_are_kept_for_who_reads_later_and_the_oldest_go_when_nobody_does() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let jobs = start(&story, BackgroundParams { keep_results: 3, ..one_worker() });
    let mut all = Vec::new();
    for number in 0..5 {
        all.push(submit(&jobs, job(number)).await);
    }
    for job in &all {
        job.result().await.expect("every job has its own");
    }
    assert_eq!((jobs.stats().results_waiting, jobs.stats().results_dropped), (3, 2));
    let results = jobs.results();
    jobs.stop(StopOptions::default()).await;
    let mut left = Vec::new();
    while let Some(result) = results.next().await {
        left.push(result.id.to_string());
    }
    assert_eq!(left, ["2", "3", "4"]);
    assert!(results.next().await.is_none(), "and none comes after the end");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_misses_nothing_and_holds_nothing_up() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let jobs = start(&story, BackgroundParams { keep_results: 2, queue_size: 1, ..one_worker() });
    let results = jobs.results();
    // Whoever waits for a place, or for a job, before reading.
    for number in 0..6 {
        jobs.submit_when_free(job(number)).await.expect("a place").result().await.expect("an answer");
    }
    assert_eq!(jobs.stats().results_waiting, 6);
    assert_eq!(&*results.next().await.expect("a result").id, "0");
    drop(results);
    submit(&jobs, job(6)).await.result().await.expect("an answer");
    let stats = jobs.stats();
    assert_eq!((stats.results_waiting, stats.results_dropped), (2, 4), "nobody reads any more");
}

#[tokio::test(start_paused = true)]
async fn several_readers_share_the_results() {
    let story = Story::new(&["a"], |_| answer("yes"));
    let jobs = start(&story, params());
    for number in 0..20 {
        submit(&jobs, job(number)).await;
    }
    let (one, other) = (jobs.results(), jobs.results());
    let mut all = HashSet::new();
    for _ in 0..10 {
        for reader in [&one, &other] {
            assert!(all.insert(reader.next().await.expect("a result").id.to_string()), "each goes to one of them");
        }
    }
    let (left, end, _) = tokio::join!(one.next(), other.next(), jobs.stop(StopOptions::default()));
    assert!(left.is_none() && end.is_none(), "both hear of the end");
}

// === ends ===

#[tokio::test(start_paused = true)]
async fn a_stop_without_drain_hands_everything_back_in_order() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { workers: 2, queue_size: 3, ..params() });
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(submit(&jobs, job(number).priority(Priority::ALL[number])).await);
    }
    after(SECOND / 2).await;
    let begun = time::now().mono;
    let not_done = jobs.stop(NOW).await;
    assert_eq!(ids(&not_done), ["0", "1", "2"], "what ran and what waited");
    assert_eq!(time::now().mono, begun, "nobody was waited for");
    for job in &all {
        assert!(is_closed(&job.ended().await));
    }
    let stats = jobs.stats();
    assert_eq!((stats.not_done, stats.completed + stats.failed + stats.cancelled, stats.is_running), (3, 0, false));
    assert_eq!(story.in_flight(), 0);
    let refused = jobs.submit(job("late")).await.expect_err("it was stopped");
    assert!(matches!(refused.kind(), ErrorKind::Closed) && refused.to_string().contains("was stopped"), "{refused}");
    assert!(jobs.stop(NOW).await.is_empty(), "handed back once");
    assert!(jobs.results().next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_a_bound_hands_back_what_is_left() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { queue_size: 4, ..one_worker() });
    for number in 0..4 {
        submit(&jobs, job(number)).await;
    }
    let bounded = StopOptions { drain: true, drain_timeout: Some(SECOND * 5 / 2) };
    let late = jobs.submit_when_free(job("late"));
    let (not_done, late) = tokio::join!(jobs.stop(bounded), async {
        after(SECOND / 10).await;
        late.await
    });
    assert_eq!(ids(&not_done), ["2", "3"]);
    assert!(matches!(late.expect_err("it was stopping").kind(), ErrorKind::Closed));
    assert_eq!(jobs.stats().completed, 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_hears_of_a_stop() {
    let story = Story::new(&["a"], |_| slow(SECOND, "yes"));
    let jobs = start(&story, BackgroundParams { queue_size: 1, ..one_worker() });
    submit(&jobs, job("a")).await;
    after(SECOND / 4).await;
    submit(&jobs, job("b")).await;
    let (late, not_done) = tokio::join!(jobs.submit_when_free(job("c")), jobs.stop(NOW));
    assert!(matches!(late.expect_err("no place came").kind(), ErrorKind::Closed));
    assert_eq!(ids(&not_done), ["a", "b"], "who was refused is not handed back");
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_may_be_less_patient() {
    let story = Story::new(&["a"], |_| hangs());
    let jobs = start(&story, one_worker());
    submit(&jobs, job("a")).await;
    let patient = jobs.stop(StopOptions::default());
    let (first, second) = tokio::join!(patient, async {
        after(SECOND).await;
        jobs.stop(NOW).await
    });
    assert_eq!(first.len() + second.len(), 1, "one of them has it");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_shut_down_ends_what_waits_at_once_and_lets_calls_finish() {
    let story = Story::new(&["a"], |request| if asked(request) == "stuck" { hangs() } else { slow(SECOND, "yes") });
    let jobs = start(&story, BackgroundParams { workers: 2, ..params() });
    let [quick, stuck, waiting] =
        [submit(&jobs, job("quick")).await, submit(&jobs, job("stuck")).await, { submit(&jobs, job("waiting")).await }];
    after(SECOND / 2).await;
    let begun = time::now().mono;
    let (_, waited) = tokio::join!(story.pool.shutdown(2 * SECOND), async {
        let end = waiting.ended().await;
        (is_closed(&end), time::now().mono - begun)
    });
    assert_eq!(waited, (true, Duration::ZERO));
    quick.result().await.expect("it had the time that every call has");
    assert!(is_closed(&stuck.ended().await));
    let refused = jobs.submit(job("late")).await.expect_err("the pool is closed");
    assert!(refused.to_string().contains("pool was shut down"), "{refused}");
    assert_eq!(ids(&jobs.stop(StopOptions::default()).await), ["stuck", "waiting"]);
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_is_dropped_leaves_nobody_waiting() {
    let story = Story::new(&["a"], |_| hangs());
    let jobs = start(&story, one_worker());
    let results = jobs.results();
    let (running, waiting) = (submit(&jobs, job("a")).await, submit(&jobs, job("b")).await);
    after(SECOND).await;
    drop(jobs);
    assert!(is_closed(&running.ended().await) && is_closed(&waiting.ended().await));
    assert!(results.next().await.is_none());
    assert_eq!(story.in_flight(), 0);
    assert!(!running.cancel().await);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_request_itself_is_no_timeout_of_the_job() {
    let story = Story::new(&["a"], |_| hangs());
    let jobs = start(&story, BackgroundParams { timeout: Some(5 * SECOND), ..params() });
    let options = CallOptions { deadline: Some(SECOND), ..CallOptions::default() };
    let result = submit(&jobs, job("a").options(options)).await.ended().await.expect("it ended");
    assert_eq!((result.status, result.tries, result.took), (JobStatus::Failed, 1, SECOND));
}
