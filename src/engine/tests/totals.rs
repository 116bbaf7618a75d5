//! What was counted survives the process that counted it, and the providers it was counted for.

use super::support::{Story, answer, fails, host};
use crate::metrics::Totals;

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
