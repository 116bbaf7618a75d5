//! The numbers of `docs/ensembles.md`: three models of different speed and skill, on a clock of the test's own.
//!
//! Every question has one right answer. A model that is wrong says one of two other things, so that two that are wrong
//! may agree. Chance is seeded: the table is the same on every machine.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Story, after, answer, host, provider};
use crate::transport::HttpRequest;
use crate::types::{CallOptions, ChatRequest, Message, Role, Strategy};

const QUESTIONS: usize = 400;

/// How often a model is right, its usual time in ms, and how often it takes ten times as long.
const MODELS: [(&str, f64, u64, f64); 3] =
    [("small", 0.70, 200, 0.10), ("middle", 0.80, 400, 0.05), ("large", 0.90, 900, 0.02)];
/// How often the judge sees what is right, and its time.
const JUDGE: (f64, u64) = (0.95, 500);

const BEGIN: &str = "<!-- numbers: written by `cargo test ensembles_doc` -->\n";
const END: &str = "<!-- end of numbers -->\n";

fn upstream() -> impl FnMut(&HttpRequest) -> Answer + Send + 'static {
    let mut chance = fastrand::Rng::with_seed(7);
    move |request| {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let (text, millis) = match MODELS.iter().find(|(name, ..)| *name == host(request)) {
            Some((_, skill, usual, stalls)) => {
                let wrong = if chance.bool() { "wrong" } else { "also wrong" };
                let text = if chance.f64() < *skill { "right" } else { wrong };
                (text.to_owned(), if chance.f64() < *stalls { usual * 10 } else { *usual })
            }
            None => (verdict(&body, chance.f64() < JUDGE.0), JUDGE.1),
        };
        Box::pin(async move {
            after(Duration::from_millis(millis)).await;
            answer(&text).await
        })
    }
}

/// The number of the right answer, where there is one and the judge sees it; else that of another one.
fn verdict(body: &Value, sees: bool) -> String {
    let material = body["messages"][1]["content"].as_str().expect("a text");
    let material: Value = serde_json::from_str(material).expect("JSON");
    let answers = material["answers"].as_array().expect("a list");
    let chosen = answers.iter().find(|answer| (answer["answer"] == "right") == sees).unwrap_or(&answers[0]);
    json!({ "winner": chosen["number"] }).to_string()
}

/// Right answers in percent, p50 and p95 in ms, requests and tokens per answer.
async fn measure(strategy: Option<Strategy>) -> String {
    let mut providers: Vec<Value> =
        MODELS.iter().zip(1..).map(|((name, ..), priority)| provider(name, priority)).collect();
    let weights = [1, 1, 2];
    providers.iter_mut().zip(weights).for_each(|(provider, weight)| provider["weight"] = json!(weight));
    let mut judge = provider("judge", 9);
    judge["weight"] = json!(0);
    providers.push(judge);
    let config = json!({ "providers": providers, "ensemble": { "judge": { "provider": "judge" } },
        "routing": { "behaviour": "failover" } });
    let story = Story::with_config(config, upstream());
    let options = CallOptions { strategy, ..CallOptions::default() };
    let (mut right, mut latencies, mut tokens) = (0, Vec::new(), 0);
    for number in 0..QUESTIONS {
        let request = ChatRequest::new(vec![Message::text(Role::User, format!("Question {number}?"))]);
        let response = story.pool.chat(&request, &options).await.expect("an answer");
        right += usize::from(response.reply.content == "right");
        latencies.push(response.latency.as_millis());
        tokens += response.usage.total_tokens;
    }
    latencies.sort_unstable();
    let share = |part: f64| latencies[(part * QUESTIONS as f64) as usize - 1];
    let requests = story.upstream.requests().len() as f64 / QUESTIONS as f64;
    let name = strategy.map_or("none (`small` alone)".to_owned(), |strategy| format!("`{}`", strategy.as_str()));
    let percent = right as f64 * 100.0 / QUESTIONS as f64;
    let tokens = tokens as f64 / QUESTIONS as f64;
    format!("| {name} | {percent:.0} % | {} | {} | {requests:.2} | {tokens:.0} |\n", share(0.5), share(0.95))
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test may ask whether it is to write")]
async fn ensembles_doc_says_what_the_strategies_come_to() {
    let mut table = String::from(
        "| strategy | right | p50 ms | p95 ms | requests per answer | tokens per answer |\n|---|---|---|---|---|---|\n",
    );
    table.push_str(&measure(None).await);
    for strategy in Strategy::ALL {
        table.push_str(&measure(Some(strategy)).await);
    }
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "ensembles.md"].iter().collect();
    let page = std::fs::read_to_string(&path).expect("docs/ensembles.md");
    let (before, rest) = page.split_once(BEGIN).expect("a place for the numbers");
    let (_, behind) = rest.split_once(END).expect("an end of the numbers");
    let fresh = format!("{before}{BEGIN}\n{table}\n{END}{behind}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("docs/ensembles.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == fresh, "docs/ensembles.md is stale; UPDATE_DOCS=1 cargo test ensembles_doc writes it");
}
