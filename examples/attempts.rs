//! Asks a few times and prints the trail of each call as a line of JSON.
//!
//! ```sh
//! cargo run --example attempts -- config.json 3
//! ```

use llmpool::config::{Environment, Settings, Source};
use llmpool::pool::Pool;
use llmpool::types::{CallOptions, ChatRequest, Message, Role};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: attempts CONFIG [CALLS]")?;
    let calls: usize = arguments.next().map_or(Ok(1), |calls| calls.parse())?;

    let settings = Settings::new(Source::File(path.into()));
    let pool = Pool::open(settings, Environment::process(), Default::default()).await?;
    let request = ChatRequest::new(vec![Message::text(Role::User, "Where is it cold?")]);
    for _ in 0..calls {
        let attempts = match pool.chat(&request, &CallOptions::default()).await {
            Ok(response) => response.attempts,
            Err(error) => error.context().attempts.clone(),
        };
        #[expect(clippy::print_stdout, reason = "this is what the program is for")]
        {
            println!("{}", serde_json::to_string(&attempts)?);
        }
    }
    pool.shutdown(std::time::Duration::ZERO).await;
    Ok(())
}
