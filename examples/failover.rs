//! Two providers, of which the first is down: who answers, and what the pool did for it.
//!
//! ```sh
//! cargo run --no-default-features --example failover
//! ```

mod upstream;

use std::time::Duration;

use llmpool::{Behaviour, ChatRequest, LlmClient, LlmPoolBuilder, PoolMember};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let down = upstream::start(503, "out of order").await?;
    let sound = upstream::start(200, "In Oslo.").await?;
    let client = |name, url: &str| {
        LlmClient::builder("openai-compatible", "simulated")
            .name(name)
            .base_url(url)
            .circuit_breaker(2, Duration::from_secs(60))
    };
    let pool = LlmPoolBuilder::new()
        .behaviour(Behaviour::Failover)
        .member(PoolMember::new(1, client("first", &down)))
        .member(PoolMember::new(2, client("second", &sound)))
        .build()?;

    for call in 1..=3 {
        let answer = pool.chat(&ChatRequest::user("Where is it cold?")).await?;
        println!("call {call}: {} says {:?}", answer.provider, answer.reply.content);
        for attempt in &answer.attempts {
            println!("  {}: {}", attempt.provider, attempt.outcome.as_str());
        }
    }
    let stats = pool.stats();
    println!("{} calls, {} failovers", stats.total_requests, stats.failover_count);
    pool.stop().await?;
    Ok(())
}
