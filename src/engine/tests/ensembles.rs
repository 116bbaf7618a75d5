//! Several providers for one answer: who is asked, who is left, what decides, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{
    Answer, Story, after, answer, fails, hangs, host, open_with, provider, question, read, slow, trail,
};
use crate::error::{Error, ErrorKind, Phase};
use crate::event::Event;
use crate::time;
use crate::transport::{HttpRequest, fake};
use crate::types::{
    CallOptions, ChatRequest, ChatResponse, Decision, JudgeOutcome, NanoUsd, ResponseFormat, Strategy, parse_call,
};

const SECOND: Duration = Duration::from_secs(1);

fn by(strategy: Strategy) -> CallOptions {
    CallOptions { strategy: Some(strategy), max_retries: Some(0), ..CallOptions::default() }
}

/// Priced providers of these names in order, and a judge that answers only as such.
fn config(names: &[&str], ensemble: Value) -> Value {
    let mut providers: Vec<Value> = names.iter().zip(1..).map(|(name, priority)| provider(name, priority)).collect();
    let mut judge = provider("judge", 9);
    judge["weight"] = json!(0);
    providers.push(judge);
    for provider in &mut providers {
        provider["input_token_price"] = json!(1);
        provider["output_token_price"] = json!(1);
    }
    let mut whole = json!({ "judge": { "provider": "judge" } });
    whole.as_object_mut().expect("an object").extend(ensemble.as_object().expect("an object").clone());
    json!({ "providers": providers, "ensemble": whole })
}

fn decision(response: &ChatResponse) -> &Decision {
    response.decision.as_deref().expect("a decision")
}

/// Who won, by what, and the groups.
fn outcome(response: &ChatResponse) -> (&str, &'static str, Vec<usize>) {
    let decision = decision(response);
    (
        response.provider.as_str(),
        decision.strategy_used.as_str(),
        decision.votes.iter().map(|vote| vote.group).collect(),
    )
}

/// The answer that each provider gives, by name.
fn says(answers: &'static [(&'static str, &'static str)]) -> impl FnMut(&HttpRequest) -> Answer + Send + 'static {
    move |request| {
        let text = answers.iter().find(|(name, _)| *name == host(request)).map(|(_, text)| *text);
        text.map_or_else(|| fails(500), answer)
    }
}

/// What a judge was asked: the answers in the order in which it read them.
fn read_by_judge(story: &Story) -> Vec<String> {
    let requests = story.upstream.requests();
    let asked = requests.iter().rfind(|request| host(request) == "judge").expect("it was asked");
    let body: Value = serde_json::from_slice(&asked.body).expect("JSON");
    let material = body["messages"][1]["content"].as_str().expect("a text");
    let material: Value = serde_json::from_str(material).expect("JSON");
    let answers = material["answers"].as_array().expect("a list");
    answers.iter().map(|answer| answer["answer"].as_str().expect("a text").to_owned()).collect()
}

// === FASTEST ===

#[tokio::test(start_paused = true)]
async fn one_slow_provider_of_two_costs_fastest_the_delay_and_one_more_call() {
    // Every tenth call of the first one takes two seconds, all others a tenth of a second.
    let mut asked = 0;
    let story = Story::with_config(config(&["a", "b"], json!({})), move |request| {
        let is_slow = host(request) == "a" && {
            asked += 1;
            asked % 10 == 0
        };
        slow(if is_slow { 2 * SECOND } else { SECOND / 10 }, "x")
    });
    let (mut latencies, mut slow_calls, mut told) = (Vec::new(), 0, NanoUsd(0));
    for _ in 0..200 {
        let response = story.ask_with(&by(Strategy::Fastest)).await.expect("an answer");
        slow_calls += usize::from(response.hedged);
        assert_eq!(response.hedged, trail(&response.attempts) == ["a:cancelled", "b:success"]);
        assert_eq!(story.in_flight(), 0, "whoever is late is left");
        latencies.push(response.latency);
        told = told.saturating_add(response.cost.expect("priced"));
    }
    latencies.sort();
    let (p50, p95) = (latencies[99], latencies[189]);
    let bound = (Duration::from_millis(300) + SECOND / 10).mul_f64(1.1);
    assert!(p50 == SECOND / 10 && p95 <= bound, "{p50:?} {p95:?}");
    assert_eq!((story.asked("a"), story.asked("b"), slow_calls), (200, 20, 20), "one more call for each slow one");
    let stats = story.pool.engine().stats();
    assert_eq!((stats.hedge_count, stats.hedges_won), (20, 20));
    // Every answer costs 18 tokens, every call that was left its prompt: 1 USD per thousand.
    let left = stats.hedge_cost;
    assert!(left > NanoUsd(0), "what was left is booked");
    assert_eq!(stats.total_cost, NanoUsd(200 * 18_000_000 + left.0), "and nothing else");
    assert_eq!(told, stats.total_cost, "every answer says what it took, the second copy included");
}

#[tokio::test(start_paused = true)]
async fn fastest_waits_as_long_as_it_is_told_and_needs_no_bucket() {
    for (wait, expected) in [(0, 10), (300, 10), (1_001, 0)] {
        let mut config = config(&["a", "b"], json!({ "hedge_after_ms": wait }));
        config["qos"] = json!({ "hedge": true, "hedge_budget": 0 });
        let story = Story::with_config(config, |_| slow(SECOND, "x"));
        for _ in 0..10 {
            story.ask_with(&by(Strategy::Fastest)).await.expect("an answer");
        }
        assert_eq!(story.asked("b"), expected, "after {wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn fastest_of_one_asks_one() {
    let mut config = config(&["a", "b"], json!({ "max_parallel": 1 }));
    config["qos"] = json!({ "hedge": true });
    let story = Story::with_config(config, |_| slow(2 * SECOND, "x"));
    let response = story.ask_with(&by(Strategy::Fastest)).await.expect("an answer");
    assert_eq!((story.asked("b"), response.hedged), (0, false));
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_of_two_is_the_fastest() {
    let poor: [(&str, Script); 6] = [
        ("refused", || ends_with(json!({ "content": null, "refusal": "no" }), "stop")),
        ("cut", || ends("half", "length")),
        ("filtered", || ends("", "content_filter")),
        ("blank", || answer("  ")),
        ("not understood", || fails(400)),
        ("failed", || fails(500)),
    ];
    for (name, reply) in poor {
        let story = Story::with_config(config(&["a", "b"], json!({})), move |request| match host(request) {
            "a" => later(SECOND / 2, reply()),
            _ => slow(SECOND, "good"),
        });
        let began = time::now().mono;
        let response = story.ask_with(&by(Strategy::Fastest)).await.expect("an answer");
        assert_eq!((response.reply.content.as_str(), response.provider.as_str()), ("good", "b"), "{name}");
        assert_eq!((began.elapsed(), story.in_flight()), (Duration::from_millis(1_300), 0), "{name}");
        let first = if matches!(name, "not understood" | "failed") { "a:failure" } else { "a:success" };
        assert_eq!(trail(&response.attempts), [first, "b:success"], "{name}");
        let booked = story.pool.engine().stats();
        assert_eq!((response.cost, booked.hedges_won), (Some(booked.total_cost), 1), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poor_answer_is_better_than_none() {
    // What the second one does, and who answers with what.
    let second: [(Script, &str, &str); 4] = [
        (|| later(SECOND, fails(500)), "a", "half"),
        (hangs, "a", "half"),
        (|| later(SECOND, ends("", "content_filter")), "a", "half"),
        (|| later(SECOND, ends("also half", "length")), "a", "half"),
    ];
    for (reply, provider, content) in second {
        let story = Story::with_config(config(&["a", "b"], json!({})), move |request| match host(request) {
            "a" => later(SECOND / 2, ends("half", "length")),
            _ => reply(),
        });
        let options = CallOptions { deadline: Some(3 * SECOND), ..by(Strategy::Fastest) };
        let response = story.ask_with(&options).await.expect("an answer");
        assert_eq!((response.provider.as_str(), response.reply.content.as_str()), (provider, content));
        assert_eq!(story.in_flight(), 0);
    }
    // A failure that is the call's own stays what the call fails with.
    let story = Story::with_config(config(&["a", "b"], json!({})), |request| match host(request) {
        "a" => later(SECOND / 2, fails(400)),
        _ => later(SECOND, fails(500)),
    });
    let error = story.ask_with(&by(Strategy::Fastest)).await.expect_err("both fail");
    assert_eq!(error.failure().and_then(|failure| failure.status), Some(400), "{error}");
    assert_eq!(trail(&error.context().attempts), ["a:failure", "b:failure"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_within_the_delay_asks_nobody_else_and_says_so() {
    let story = Story::with_config(config(&["a", "b"], json!({})), |_| slow(SECOND / 5, "x"));
    let options = CallOptions { deadline: Some(SECOND / 4), ..by(Strategy::Fastest) };
    let response = story.ask_with(&options).await.expect("in time");
    assert!(response.warnings[0].contains("hedge_after_ms of 300"), "{:?}", response.warnings);
    let story = Story::with_config(config(&["a", "b"], json!({})), |_| hangs());
    let began = time::now().mono;
    let error = story.ask_with(&options).await.expect_err("too late");
    assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }));
    assert_eq!((began.elapsed(), story.asked("b"), story.in_flight()), (SECOND / 4, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_fastest_and_nothing_else() {
    let chunks = || {
        let pieces = vec![super::support::chunk("x"), super::support::FINISH.to_owned()];
        super::support::says(pieces)
    };
    let story = Story::with_config(config(&["a", "b"], json!({})), move |request| match host(request) {
        "a" => hangs(),
        _ => chunks(),
    });
    let began = time::now().mono;
    let stream = open_with(&story, &by(Strategy::Fastest)).await.expect("a stream");
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    let (_, end) = read(stream).await;
    let response = end.unwrap_or_else(|error| panic!("{error}")).into_response().expect("whole");
    assert_eq!((response.provider.as_str(), response.hedged), ("b", true));
    assert_eq!(decision(&response).models_queried, ["m", "m"]);
    for strategy in [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge] {
        let Err(error) = open_with(&story, &by(strategy)).await else { panic!("a stream") };
        assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "strategy"), "{error}");
    }
}

// === comparing ===

#[tokio::test(start_paused = true)]
async fn the_answer_that_most_give_wins_a_vote() {
    let script = says(&[("a", "Rome"), ("b", "Paris."), ("c", "paris")]);
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), script);
    let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!(outcome(&response), ("b", "VOTING", vec![1, 2, 2]));
    assert_eq!(response.reply.content, "Paris.");
    let winners: Vec<_> = decision(&response).votes.iter().map(|vote| (vote.provider.as_str(), vote.winner)).collect();
    assert_eq!(winners, [("a", false), ("b", true), ("c", false)]);
    assert_eq!(decision(&response).models_queried, ["m", "m", "m"]);
    assert_eq!(trail(&response.attempts), ["a:success", "b:success", "c:success"]);
    assert_eq!((response.usage.total_tokens, response.cost), (54, Some(NanoUsd(54_000_000))), "all of them together");
    assert_eq!(story.pool.engine().stats().total_cost, NanoUsd(54_000_000));
    assert!(response.warnings.is_empty(), "{:?}", response.warnings);
}

#[tokio::test(start_paused = true)]
async fn the_same_answers_give_the_same_decision_whoever_comes_first() {
    let mut seen = Vec::new();
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
        let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| {
            let (at, text) = match host(request) {
                "a" => (0, "one"),
                "b" => (1, "two"),
                "c" => (2, "three"),
                _ => return answer(r#"{"winner": 1}"#),
            };
            slow(order[at] * SECOND, text)
        });
        let mut round = Vec::new();
        for strategy in [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge] {
            let response = story.ask_with(&by(strategy)).await.expect("an answer");
            let (winner, used, groups) = outcome(&response);
            round.push((winner.to_owned(), used, groups));
            if strategy == Strategy::Judge {
                round.push((read_by_judge(&story).concat(), "", Vec::new()));
            }
        }
        seen.push(round);
    }
    assert!(seen.iter().all(|round| *round == seen[0]), "{seen:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_vote_without_two_that_agree_goes_by_weight() {
    let mut config = config(&["a", "b", "c"], json!({}));
    config["providers"][1]["weight"] = json!(3);
    let story = Story::with_config(config, says(&[("a", "one"), ("b", "two"), ("c", "three")]));
    let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!(outcome(&response), ("b", "WEIGHTED", vec![1, 2, 3]));
    assert!(response.warnings[0].contains("VOTING fell back to WEIGHTED"), "{:?}", response.warnings);
}

#[tokio::test(start_paused = true)]
async fn weight_counts_for_as_much_as_it_has_been_right() {
    // Two that agree and are light, one that is heavy.
    let mut config = config(&["a", "b", "c"], json!({}));
    config["providers"][0]["weight"] = json!(3);
    let story = Story::with_config(config, says(&[("a", "one"), ("b", "two"), ("c", "two")]));
    let first = story.ask_with(&by(Strategy::Weighted)).await.expect("an answer");
    assert_eq!(outcome(&first), ("a", "WEIGHTED", vec![1, 2, 2]), "3 × 1.5 against 2 × 1.5");
    // Votes go against the heavy one, and its weight counts for less.
    for _ in 0..8 {
        story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    }
    let last = story.ask_with(&by(Strategy::Weighted)).await.expect("an answer");
    assert_eq!(outcome(&last).0, "b");
    let rates: Vec<_> = decision(&last).votes.iter().map(|vote| (vote.win_rate * 10.0).round()).collect();
    assert_eq!(rates, [1.0, 9.0, 9.0], "of eight decisions none and all, and one of each for a beginning");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_learnt_from_what_nobody_has_agreed_on() {
    let mut round = 0;
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| {
        round += 1;
        match host(request) {
            "judge" => fails(500),
            "a" => answer("one"),
            // Thirty rounds of three, and as many questions to the judge.
            name if round <= 120 => answer(name),
            _ => answer("two"),
        }
    });
    for _ in 0..10 {
        for strategy in [Strategy::Weighted, Strategy::Voting, Strategy::Judge] {
            let response = story.ask_with(&by(strategy)).await.expect("an answer");
            assert_eq!(outcome(&response), ("a", "WEIGHTED", vec![1, 2, 3]));
            assert!(decision(&response).votes.iter().all(|vote| vote.win_rate == 0.5), "{strategy:?}");
        }
    }
    while story.upstream.requests().len() < 120 {
        story.ask_with(&by(Strategy::Weighted)).await.expect("an answer");
    }
    let response = story.ask_with(&by(Strategy::Weighted)).await.expect("an answer");
    assert_eq!(outcome(&response), ("b", "WEIGHTED", vec![1, 2, 2]), "two that agree outweigh one of the same weight");
}

#[tokio::test(start_paused = true)]
async fn a_blank_answer_has_no_vote() {
    let says = |text: &'static str| {
        let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| match host(request) {
            "c" => answer(text),
            _ => answer(" \n\t "),
        });
        async move { story.ask_with(&by(Strategy::Voting)).await.expect("an answer") }
    };
    let response = says("Paris").await;
    assert_eq!((response.reply.content.as_str(), outcome(&response).1), ("Paris", "FASTEST"));
    assert_eq!(response.warnings.iter().filter(|warning| warning.contains("is blank: it has no vote")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_consensus_is_reached_or_it_is_a_vote() {
    let script = || says(&[("a", "Rome"), ("b", "Paris"), ("c", "Paris")]);
    for (agreement, expected) in [(0.6, "CONSENSUS"), (0.7, "VOTING")] {
        let story = Story::with_config(config(&["a", "b", "c"], json!({ "agreement": agreement })), script());
        let response = story.ask_with(&by(Strategy::Consensus)).await.expect("an answer");
        assert_eq!(outcome(&response), ("b", expected, vec![1, 2, 2]));
        assert_eq!(response.warnings.is_empty(), expected == "CONSENSUS");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_word_turns_round_is_another_answer() {
    let safe = "Having read the whole of the change I think it is safe to deploy it to production tonight.";
    let unsafe_ = "Having read the whole of the change I think it is unsafe to deploy it to production tonight.";
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| match host(request) {
        "a" => answer(safe),
        "b" => answer(unsafe_),
        "c" => answer(&unsafe_.to_uppercase()),
        _ => answer(r#"{"winner": 1}"#),
    });
    let response = story.ask_with(&by(Strategy::Consensus)).await.expect("an answer");
    assert_eq!(outcome(&response), ("b", "CONSENSUS", vec![1, 2, 2]));
    story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
    assert_eq!(read_by_judge(&story).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_alike_and_not_equal_are_judged() {
    let script = says(&[("a", "The rocket takes off"), ("b", "The rocket takes off now"), ("judge", "1")]);
    let story = Story::with_config(config(&["a", "b"], json!({ "similarity": 0.8 })), script);
    let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
    assert_eq!((outcome(&response).1, outcome(&response).2), ("JUDGE", vec![1, 1]));
    assert_eq!((read_by_judge(&story).len(), story.asked("judge")), (2, 1));
}

/// What an upstream does when it is asked.
type Script = fn() -> Answer;

/// The same after so long.
fn later(wait: Duration, reply: Answer) -> Answer {
    Box::pin(async move {
        after(wait).await;
        reply.await
    })
}

/// An answer that ends for this reason.
fn ends(text: &str, reason: &str) -> Answer {
    ends_with(json!({ "content": text }), reason)
}

fn ends_with(mut message: Value, reason: &str) -> Answer {
    message["role"] = json!("assistant");
    let choices = json!([{ "index": 0, "message": message, "finish_reason": reason }]);
    let usage = json!({ "prompt_tokens": 12, "completion_tokens": 6 });
    let body = json!({ "id": "r", "model": "m", "choices": choices, "usage": usage });
    fake::reply(200, &[("content-type", "application/json")], body.to_string())
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_whole_stands_behind_those_that_are() {
    const EVERY: [Strategy; 4] = [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge];
    for reason in ["length", "something"] {
        let mut config = config(&["a", "b", "c"], json!({}));
        config["providers"][0]["weight"] = json!(9);
        let story = Story::with_config(config, move |request| match host(request) {
            "c" => slow(SECOND, "whole"),
            _ => ends("who", reason),
        });
        for strategy in EVERY {
            let response = story.ask_with(&by(strategy)).await.expect("an answer");
            assert_eq!((response.reply.content.as_str(), response.provider.as_str()), ("whole", "c"), "{strategy:?}");
            assert_eq!(decision(&response).votes.len(), 1, "only whole answers are compared");
            let said = response.warnings.iter().filter(|warning| warning.contains("is not whole")).count();
            assert_eq!(said, 2, "{:?}", response.warnings);
        }
        assert_eq!(story.asked("judge"), 0);
    }
    // Nobody has a whole one: then they are compared with each other.
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), |request| match host(request) {
        "a" => ends("what", "content_filter"),
        _ => ends("who", "length"),
    });
    let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!(outcome(&response), ("b", "VOTING", vec![1, 1]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_does_not_fit_its_schema() {
    let story = Story::with_config(config(&["a", "b"], json!({})), |request| match host(request) {
        "a" => ends(r#"{"n":"#, "length"),
        _ => ends(r#"{"n":1}"#, "stop"),
    });
    let schema = json!({ "name": "n", "schema": { "type": "object", "required": ["n"] } });
    let request = ChatRequest { response_format: Some(ResponseFormat::JsonSchema(schema)), ..question() };
    for strategy in [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge] {
        let response = story.pool.chat(&request, &by(strategy)).await.expect("an answer");
        assert_eq!(response.parsed, Some(json!({ "n": 1 })), "{strategy:?}");
    }
}

// === judging ===

#[tokio::test(start_paused = true)]
async fn a_judge_chooses_among_answers_that_differ() {
    let script = says(&[("a", "one"), ("b", "two"), ("c", "two!"), ("judge", r#"{"winner": 2}"#)]);
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), script);
    let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
    let shown = read_by_judge(&story);
    assert_eq!(shown.len(), 2, "what says the same is read once");
    assert_eq!(response.reply.content, shown[1]);
    assert_eq!(outcome(&response).1, "JUDGE");
    let judge = decision(&response).judge.as_ref().expect("a judge");
    assert_eq!(
        (judge.provider.as_ref().map(|name| name.as_str()), judge.outcome),
        (Some("judge"), JudgeOutcome::Chose)
    );
    assert_eq!(response.cost, Some(NanoUsd(4 * 18_000_000)), "the judge's part included");
    assert_eq!(trail(&response.attempts), ["a:success", "b:success", "c:success", "judge:success"]);
}

#[tokio::test(start_paused = true)]
async fn answers_that_agree_need_no_judge() {
    let story = Story::with_config(config(&["a", "b"], json!({})), says(&[("a", "Paris"), ("b", "paris.")]));
    let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
    assert_eq!((outcome(&response), story.asked("judge")), (("a", "JUDGE", vec![1, 1]), 0));
    assert_eq!(decision(&response).judge.as_ref().map(|judge| judge.outcome), Some(JudgeOutcome::Unanimous));
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_is_missing_fails_or_talks_nonsense_leaves_it_to_a_vote() {
    // What the judge says; `None`: it fails.
    let cases = [
        (Some("I like both."), JudgeOutcome::Unreadable),
        (Some("1 or 2"), JudgeOutcome::Unreadable),
        (Some(r#"{"winner": 7}"#), JudgeOutcome::Unreadable),
        (None, JudgeOutcome::Failed),
    ];
    for (words, expected) in cases {
        let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| match host(request) {
            "judge" => words.map_or_else(|| fails(500), answer),
            "a" => answer("one"),
            _ => answer("two"),
        });
        let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
        assert_eq!(outcome(&response), ("b", "VOTING", vec![1, 2, 2]), "{words:?}");
        assert_eq!(decision(&response).judge.as_ref().map(|judge| judge.outcome), Some(expected));
        assert!(response.warnings[0].contains("JUDGE fell back to VOTING"), "{:?}", response.warnings);
    }
    let config = config(&["a", "b"], json!({ "judge": {} }));
    let story = Story::with_config(config, says(&[("a", "one"), ("b", "two")]));
    let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
    assert_eq!(outcome(&response), ("a", "WEIGHTED", vec![1, 2]), "down the whole chain");
    assert_eq!(response.warnings.len(), 2);
    assert_eq!(decision(&response).judge.as_ref().map(|judge| judge.outcome), Some(JudgeOutcome::Missing));
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_fails_is_in_the_trail_and_in_the_cost() {
    let story = Story::with_config(config(&["a", "b"], json!({})), |request| match host(request) {
        "judge" => hangs(),
        other => slow(SECOND, if other == "a" { "one" } else { "two" }),
    });
    let options = CallOptions { deadline: Some(10 * SECOND), ..by(Strategy::Judge) };
    let response = story.ask_with(&options).await.expect("an answer");
    assert_eq!(trail(&response.attempts), ["a:success", "b:success", "judge:cancelled"]);
    let total = story.pool.engine().stats().total_cost;
    assert!(total > NanoUsd(2 * 18_000_000), "the prompt of the judge was read");
    assert_eq!(response.cost, Some(total));
}

#[tokio::test(start_paused = true)]
async fn a_judge_is_asked_on_behalf_of_the_same_caller() {
    let script = says(&[("a", "one"), ("b", "two"), ("judge", "1")]);
    let story = Story::with_config(config(&["a", "b"], json!({})), script);
    let headers = vec![("x-trace".to_owned(), "t".to_owned())];
    let options = CallOptions { headers, ..by(Strategy::Judge) };
    let picture = json!({ "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "What is it?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
    ] }] });
    let request = parse_call(&picture.to_string()).expect("a request").request;
    let response = story.pool.chat(&request, &options).await.expect("an answer");
    assert_eq!(outcome(&response).1, "JUDGE");
    let requests = story.upstream.requests();
    assert!(requests.iter().all(|request| request.headers.get("x-trace").is_some_and(|value| value == "t")));
    assert!(
        response.warnings.iter().any(|warning| warning.contains("not shown: image (1)")),
        "{:?}",
        response.warnings
    );
}

#[tokio::test(start_paused = true)]
async fn a_judge_has_its_part_of_the_deadline() {
    // The third answer would come after the part that is the others'.
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), |request| match host(request) {
        "a" => slow(SECOND, "one"),
        "b" => slow(2 * SECOND, "two"),
        "c" => slow(8 * SECOND, "three"),
        _ => slow(SECOND, r#"{"winner": 1}"#),
    });
    let options = CallOptions { deadline: Some(10 * SECOND), ..by(Strategy::Judge) };
    let began = time::now().mono;
    let response = story.ask_with(&options).await.expect("an answer");
    assert_eq!(began.elapsed(), 8 * SECOND, "7 s for the answers, 1 s for the judge");
    assert_eq!(trail(&response.attempts), ["a:success", "b:success", "c:cancelled", "judge:success"]);
    assert_eq!(outcome(&response).1, "JUDGE");
    // A judge that takes longer is not waited for beyond the deadline.
    let story = Story::with_config(config(&["a", "b"], json!({})), |request| match host(request) {
        "judge" => hangs(),
        "a" => slow(SECOND, "one"),
        _ => hangs(),
    });
    let began = time::now().mono;
    let response = story.ask_with(&options).await.expect("an answer");
    assert_eq!((began.elapsed(), outcome(&response).1), (7 * SECOND, "FASTEST"), "one answer needs no judge");
    let story = Story::with_config(config(&["a", "b"], json!({})), |request| match host(request) {
        "judge" => hangs(),
        other => slow(SECOND, if other == "a" { "one" } else { "two" }),
    });
    let began = time::now().mono;
    let response = story.ask_with(&options).await.expect("an answer");
    assert_eq!((began.elapsed(), outcome(&response).1), (10 * SECOND, "WEIGHTED"));
    assert_eq!(story.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_few_answers_are_waited_for_into_the_time_of_the_judge() {
    for (second, expected) in [(850, "JUDGE"), (990, "WEIGHTED")] {
        let story = Story::with_config(config(&["a", "b"], json!({ "min_successes": 2 })), move |request| {
            match host(request) {
                "a" => slow(SECOND / 20, "one"),
                "b" => slow(Duration::from_millis(second), "two"),
                _ => slow(SECOND / 20, r#"{"winner": 1}"#),
            }
        });
        let options = CallOptions { deadline: Some(SECOND), ..by(Strategy::Judge) };
        let response = story.ask_with(&options).await.expect("two answers");
        assert_eq!((outcome(&response).1, outcome(&response).2), (expected, vec![1, 2]), "{second} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_nobody_asked_is_nobody() {
    let judged = |changes: Value, text: &'static str| {
        let mut config = config(&["a", "b"], json!({}));
        config["providers"][2]
            .as_object_mut()
            .expect("the judge")
            .extend(changes.as_object().expect("an object").clone());
        let story = Story::with_config(config, move |request| match host(request) {
            "judge" => fails(500),
            "a" => answer("one"),
            _ => answer(text),
        });
        async move {
            let response = story.ask_with(&by(Strategy::Judge)).await.expect("an answer");
            let judge = decision(&response).judge.clone().expect("a judge");
            (judge.provider.map(|name| name.to_string()), judge.outcome, story.asked("judge"))
        }
    };
    let asked = judged(json!({}), "two").await;
    assert_eq!(asked, (Some("judge".to_owned()), JudgeOutcome::Failed, 1));
    assert_eq!(judged(json!({ "max_concurrent": 0 }), "two").await, (None, JudgeOutcome::Failed, 0));
    assert_eq!(judged(json!({}), "one").await, (None, JudgeOutcome::Unanimous, 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_late_tells_what_was_tried_and_who_only_waited_was_not_asked() {
    let mut config = config(&["a", "b", "c", "d"], json!({ "max_parallel": 4 }));
    config["providers"][2]["max_concurrent"] = json!(1);
    let mut asked = 0;
    let story = Arc::new(Story::with_config(config, move |request| match host(request) {
        "a" => slow(SECOND, "one"),
        "b" => slow(SECOND, "two"),
        "d" => {
            asked += 1;
            if asked == 1 { fails(500) } else { hangs() }
        }
        "c" => hangs(),
        _ => answer(r#"{"winner": 1}"#),
    }));
    let deadline = Some(10 * SECOND);
    let only_c = CallOptions { providers: vec!["c".to_owned()], deadline, ..by(Strategy::Fastest) };
    let options = CallOptions { deadline, max_retries: Some(1), ..by(Strategy::Judge) };
    let (_, response) = tokio::join!(story.ask_with(&only_c), async {
        after(SECOND / 10).await;
        story.ask_with(&options).await
    });
    let response = response.expect("an answer");
    assert_eq!(
        trail(&response.attempts),
        ["a:success", "b:success", "c:busy", "d:failure", "d:cancelled", "judge:success"],
        "c was never asked"
    );
    assert_eq!(decision(&response).models_queried.len(), 3);
}

// === who is asked ===

#[tokio::test(start_paused = true)]
async fn so_many_are_asked_at_once_and_who_fails_makes_room() {
    let script = |failing: &'static str| {
        move |request: &HttpRequest| match host(request) {
            name if failing.contains(name) => fails(500),
            _ => slow(SECOND, "x"),
        }
    };
    for (failing, expected) in [("", "ab"), ("a", "abc"), ("ab", "abcd"), ("abc", "abcd")] {
        let config = config(&["a", "b", "c", "d"], json!({ "max_parallel": 2 }));
        let story = Story::with_config(config, script(failing));
        let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
        let asked: String = story.upstream.requests().iter().map(|request| host(request).to_owned()).collect();
        assert_eq!(asked, expected, "{failing} fail");
        let used = if failing == "abc" { "FASTEST" } else { "VOTING" };
        assert_eq!(outcome(&response).1, used);
    }
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_the_error_has_everybodys_attempts() {
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), |request| {
        fails(if host(request) == "a" { 503 } else { 500 })
    });
    for strategy in [Strategy::Voting, Strategy::Judge] {
        let error = story.ask_with(&by(strategy)).await.expect_err("all fail");
        assert_eq!(error.failure().and_then(|failure| failure.status), Some(503), "the best ranked one's: {error}");
        assert_eq!(trail(&error.context().attempts), ["a:failure", "b:failure", "c:failure"]);
        assert!(error.context().request_id.is_some());
    }
    let story = Story::with_config(config(&["a", "b"], json!({})), |_| hangs());
    for strategy in Strategy::ALL {
        let options = CallOptions { deadline: Some(2 * SECOND), ..by(strategy) };
        let began = time::now().mono;
        let error = story.ask_with(&options).await.expect_err("too late");
        assert!(matches!(error.kind(), ErrorKind::Timeout { phase: Phase::Deadline, .. }), "{strategy:?}: {error}");
        assert_eq!((began.elapsed(), story.in_flight()), (2 * SECOND, 0), "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_say_the_request_makes_room_for_who_can() {
    let with_refusing = |refusing: usize| {
        let mut config = config(&["a", "b", "c"], json!({ "max_parallel": 2 }));
        for provider in config["providers"].as_array_mut().expect("a list").iter_mut().take(refusing) {
            provider["unsupported_params"] = json!("error");
            provider["omit_params"] = json!(["temperature"]);
        }
        Story::with_config(config, |_| answer("x"))
    };
    let request = ChatRequest { temperature: Some(0.5), ..question() };
    for strategy in [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge] {
        let story = with_refusing(1);
        let response = story.pool.chat(&request, &by(strategy)).await.expect("the others can");
        assert_eq!((response.provider.as_str(), decision(&response).votes.len()), ("b", 2), "{strategy:?}");
        assert_eq!((decision(&response).models_queried.len(), story.asked("a")), (2, 0));
        assert!(
            response.warnings[0].contains("a was not asked: invalid request: temperature"),
            "{:?}",
            response.warnings
        );
        let error = with_refusing(3).pool.chat(&request, &by(strategy)).await.expect_err("nobody can");
        assert!(matches!(error.kind(), ErrorKind::InvalidRequest { field } if field == "temperature"), "{error}");
    }
    // What a provider has said goes before what one could not be asked.
    let mut config = config(&["a", "b"], json!({}));
    config["providers"][0]["unsupported_params"] = json!("error");
    config["providers"][0]["omit_params"] = json!(["temperature"]);
    let story = Story::with_config(config, |_| fails(503));
    let error = story.pool.chat(&request, &by(Strategy::Voting)).await.expect_err("nobody answered");
    assert_eq!(error.failure().and_then(|failure| failure.status), Some(503), "{error}");
    assert_eq!(trail(&error.context().attempts), ["b:failure"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_decision_costs_is_all_that_was_booked_for_it() {
    // One fails after it was read, one is left, one answers: the judge has nothing to compare.
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), |request| match host(request) {
        "a" => hangs(),
        "b" => slow(SECOND, "x"),
        _ => ends("", "stop"),
    });
    for strategy in Strategy::ALL {
        let before = story.pool.engine().stats().total_cost;
        let options = CallOptions { deadline: Some(5 * SECOND), ..by(strategy) };
        let response = story.ask_with(&options).await.expect("an answer");
        let spent = story.pool.engine().stats().total_cost.0 - before.0;
        assert_eq!(response.cost, Some(NanoUsd(spent)), "{strategy:?}");
        assert!(spent > 18_000_000, "{strategy:?}: more than the answer");
    }
}

#[tokio::test(start_paused = true)]
async fn many_ensembles_at_once_never_pass_a_strict_budget() {
    // What is set aside for one request is far above what it comes to.
    const CAP: u64 = 20_000_000_000;
    for strategy in Strategy::ALL {
        let mut config = config(&["a", "b", "c"], json!({ "hedge_after_ms": 10 }));
        config["budget"] = json!({ "monthly_usd": CAP as f64 / 1e9, "mode": "strict" });
        let mut number = 0;
        let story = Story::with_config(config, move |request| {
            number += 1;
            match (host(request), number % 5) {
                ("judge", _) => answer("1"),
                (_, 0) => hangs(),
                (_, 1) => slow(SECOND, "one"),
                _ => slow(SECOND / 50, "two"),
            }
        });
        let request = ChatRequest { max_tokens: Some(6), ..question() };
        let options = CallOptions { deadline: Some(3 * SECOND), ..by(strategy) };
        let results = join_all((0..300).map(|_| story.pool.chat(&request, &options))).await;
        let told: u64 = results.iter().flatten().map(|response| response.cost.expect("priced").0).sum();
        let booked = story.pool.engine().stats().total_cost;
        let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert!(!refused.is_empty() && told > 0, "{strategy:?}: some are answered, and some are not: {refused:#?}");
        assert!(told <= booked.0 && booked.0 <= CAP, "{strategy:?}: {told} of {booked:?} of {CAP}");
        assert_eq!(story.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_answers_than_are_needed_are_none() {
    let ensemble = json!({ "min_successes": 2 });
    let story = Story::with_config(config(&["a", "b", "c"], ensemble), says(&[("c", "x")]));
    let error = story.ask_with(&by(Strategy::Voting)).await.expect_err("one of two");
    assert!(error.to_string().contains("1 of at least 2 providers (ensemble.min_successes)"), "{error}");
    assert_eq!(error.context().attempts.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn with_one_provider_there_is_nothing_to_compare() {
    let story = Story::with_config(config(&["a"], json!({})), says(&[("a", "x")]));
    for strategy in [Strategy::Voting, Strategy::Weighted, Strategy::Consensus, Strategy::Judge] {
        let response = story.ask_with(&by(strategy)).await.expect("an answer");
        assert_eq!(decision(&response).strategy_used, Strategy::Fastest);
        assert!(response.warnings[0].contains("only one provider may answer"), "{:?}", response.warnings);
    }
    assert_eq!(story.asked("judge"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_declines_has_no_vote_unless_all_do() {
    let declines = || {
        let message = json!({ "role": "assistant", "content": null, "refusal": "no" });
        let body = json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
        fake::reply(200, &[("content-type", "application/json")], body.to_string())
    };
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), move |request| match host(request) {
        "c" => answer("x"),
        _ => declines(),
    });
    let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!((response.reply.content.as_str(), outcome(&response).1), ("x", "FASTEST"));
    let story = Story::with_config(config(&["a", "b"], json!({})), move |_| declines());
    let response = story.ask_with(&by(Strategy::Voting)).await.expect("an answer");
    assert_eq!((response.reply.refusal.as_deref(), outcome(&response).0), (Some("no"), "a"));
}

#[tokio::test(start_paused = true)]
async fn leaving_a_plan_leaves_every_run_of_it() {
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), |_| hangs());
    let options = by(Strategy::Voting);
    let left = story.pool.chat_until(&question(), &options, Vec::new(), after(SECOND)).await.result;
    assert!(matches!(left.expect_err("left").kind(), ErrorKind::Cancelled));
    assert_eq!((story.upstream.requests().len(), story.in_flight()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_kept_and_shared_like_any_call() {
    let script = |request: &HttpRequest| slow(SECOND, if host(request) == "a" { "one" } else { "two" });
    let story = Story::with_config(config(&["a", "b", "c"], json!({})), script);
    let options = CallOptions { cache: Some(crate::types::CacheWish::On), ..by(Strategy::Voting) };
    let (one, two) = tokio::join!(story.ask_with(&options), story.ask_with(&options));
    let three = story.ask_with(&options).await;
    let results: Vec<Result<ChatResponse, Error>> = vec![one, two, three];
    let responses: Vec<_> = results.into_iter().map(|result| result.expect("an answer")).collect();
    assert_eq!(story.upstream.requests().len(), 3);
    assert_eq!(responses.iter().filter(|response| response.cached).count(), 2);
    assert!(responses.iter().all(|response| outcome(response) == ("b", "VOTING", vec![1, 2, 2])));
    let judged = CallOptions { strategy: Some(Strategy::Weighted), ..options };
    assert!(!story.ask_with(&judged).await.expect("an answer").cached, "another strategy is another call");
}

#[tokio::test(start_paused = true)]
async fn the_decision_is_told_and_counted() {
    let script = says(&[("a", "Rome"), ("b", "Paris."), ("c", "paris")]);
    let story = Arc::new(Story::with_config(config(&["a", "b", "c"], json!({})), script));
    let options = by(Strategy::Voting);
    let completed = story.pool.chat_until(&question(), &options, Vec::new(), std::future::pending()).await;
    let told: Vec<_> = completed
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Decision { strategy_used, provider, votes, task, .. } => {
                Some((*strategy_used, provider.as_str(), votes.len(), task.as_deref()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Strategy::Voting, "b", 3, None)]);
    let ids: Vec<_> = completed
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RequestSuccess { request_id, .. } | Event::Decision { request_id, .. } => Some(request_id.clone()),
            _ => None,
        })
        .collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| *id == ids[0]), "all of it is one call: {ids:?}");
    let tasks = story.pool.engine().stats().tasks;
    assert_eq!((tasks[""].answers, tasks[""].winners["b"], tasks[""].strategies["VOTING"]), (1, 1, 1));
}
