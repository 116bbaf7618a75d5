//! What was counted survives the process that counted it, and the providers it was counted for.

use std::sync::Arc;

use super::support::{Story, answer, fails, host, provider};
use crate::config::{Config, Environment, Settings, Source};
use crate::engine::totals::Books;
use crate::engine::{Clients, Roster, lock};
use crate::metrics::Totals;
use crate::transport::Transport;
use crate::transport::fake::FakeTransport;

#[tokio::test(start_paused = true)]
async fn totals_are_taken_up_where_another_pool_left_them() {
    let script = |request: &crate::transport::HttpRequest| match host(request) {
        "a" => fails(500),
        _ => answer("from b"),
    };
    let before = Story::new(&["a", "b"], script);
    before.ask().await.expect("b answers");
    let saved = serde_json::to_string(&before.pool.engine().totals()).expect("plain data");

    // `a` is no longer in the pool.
    let after = Story::new(&["b", "c"], script);
    after.ask().await.expect("b answers");
    let saved: Totals = serde_json::from_str(&saved).expect("as it was written");
    after.pool.engine().restore_totals(&saved);
    after.ask().await.expect("b answers");

    let totals = after.pool.engine().totals();
    assert_eq!(totals.pool.total_requests, 3);
    assert_eq!(totals.pool.successful_requests, 3);
    assert_eq!(totals.pool.failovers, 1);
    assert_eq!(totals.providers["a"].errors, 1);
    assert_eq!(totals.providers["b"].successful_requests, 3);
    assert_eq!(totals.providers["b"].total_tokens, 3 * 18);

    let stats = after.pool.engine().stats();
    assert_eq!((stats.total_requests, stats.total_tokens, stats.unpriced_requests), (3, 3 * 18, 3));
    assert_eq!(after.pool.engine().provider_stats()["b"].usage.total_requests, 3);
    assert!(!after.pool.engine().provider_stats().contains_key("a"));
}

/// Providers of these names; the fake upstream is never asked.
fn roster(names: &[&str]) -> Roster {
    let providers: Vec<_> = names.iter().zip(1..).map(|(name, priority)| provider(name, priority)).collect();
    let config = serde_json::json!({ "providers": providers });
    let settings = Settings::new(Source::Inline(config.clone()));
    let config = Config::load_value(&config, &Environment::from_map::<String, String>([]), &settings).expect("valid");
    let clients = Clients::new(|_| Ok(Arc::new(FakeTransport::new(|_| answer("never"))) as Arc<dyn Transport>));
    Roster::build(config, &settings, &clients, None).expect("a roster")
}

fn count_one(roster: &Roster, name: &str) {
    let tally = roster.find(name).expect("it is there").tally();
    lock(&tally).totals.total_requests += 1;
}

fn counted(books: &Books) -> Vec<(String, u64)> {
    books.totals().into_iter().map(|(name, totals)| (name, totals.total_requests)).collect()
}

#[test]
fn numbers_belong_to_the_name_whatever_becomes_of_the_provider() {
    let mut books = Books::default();
    let first = roster(&["a", "b"]);
    books.open(&first);
    count_one(&first, "a");
    count_one(&first, "b");

    // Built anew, as after a change of its configuration, while a call at the old one still runs.
    let second = roster(&["a"]);
    books.open(&second);
    count_one(&second, "a");
    count_one(&first, "a");
    count_one(&first, "b");
    assert_eq!(counted(&books), [("a".to_owned(), 3), ("b".to_owned(), 2)]);

    let third = roster(&["b"]);
    books.open(&third);
    count_one(&third, "b");
    assert_eq!(counted(&books), [("a".to_owned(), 3), ("b".to_owned(), 3)]);
    let shown = third.find("b").expect("it is there").look(|live| live.tally.totals.total_requests);
    assert_eq!(shown, 3);
}

#[test]
fn providers_that_come_and_go_under_ever_new_names_are_bounded_and_no_sum_shrinks() {
    let mut books = Books::default();
    for number in 0..300 {
        let name = format!("p{number}");
        let roster = roster(&[&name]);
        books.open(&roster);
        count_one(&roster, &name);
    }
    let counted = counted(&books);
    assert_eq!(counted.len(), 102, "one in the pool, a hundred gone, and the earlier ones together");
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 300);
}
