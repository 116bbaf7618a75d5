//! Asks a few times and prints the trail of each call as a line of JSON.
//!
//! ```sh
//! cargo run --example attempts -- config.json 3
//! cargo run --example attempts -- config.json 3 execute
//! ```
//!
//! With `execute` a function of the program's own asks, under the same policies.

mod wire;

use llmpool::types::AttemptRecord;
use llmpool::{CallOptions, ChatRequest, LlmPool, Turn};

async fn ask(turn: Turn) -> Result<(), wire::AnyError> {
    wire::post(&turn, "/v1/chat/completions", "{}").await.map(drop)
}

async fn attempts(pool: &LlmPool, own: bool) -> Vec<AttemptRecord> {
    let trail_of = |error: llmpool::Error| error.context().attempts.clone();
    if own {
        let called = pool.execute(None, &CallOptions::default(), ask).await;
        return called.map_or_else(|failed| trail_of(failed.error), |(_, how)| how.attempts);
    }
    let answered = pool.chat(&ChatRequest::user("Where is it cold?")).await;
    answered.map_or_else(trail_of, |answer| answer.attempts)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: attempts CONFIG [CALLS] [execute]")?;
    let calls: usize = arguments.next().map_or(Ok(1), |calls| calls.parse())?;
    let own = arguments.next().is_some_and(|word| word == "execute");

    let pool = LlmPool::from_file(path).await?;
    for _ in 0..calls {
        #[expect(clippy::print_stdout, reason = "this is what the program is for")]
        {
            println!("{}", serde_json::to_string(&attempts(&pool, own).await)?);
        }
    }
    pool.stop().await?;
    Ok(())
}
