//! A function of your own under the pool's policies: here it speaks a wire that the pool does not.
//!
//! ```sh
//! cargo run --no-default-features --example execute_request
//! ```

mod upstream;
mod wire;

use llmpool::{Failure, FailureClass, LlmClient, LlmPoolBuilder, Turn};

/// Asks for an answer and takes it apart. The pool decides at whom, whether again, and what an error means for the
/// provider; an error that the pool cannot know ends the call, so nonsense is given its class here.
async fn ask(turn: Turn) -> Result<String, wire::AnyError> {
    let body = wire::post(&turn, "/v1/answer", r#"{"question":"Where is it cold?"}"#).await?;
    let answer: serde_json::Value = serde_json::from_str(&body)
        .map_err(|error| Failure::new(FailureClass::BadReply, format!("not JSON: {error}")))?;
    Ok(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let empty = upstream::start(402, "this account is empty").await?;
    let sound = upstream::start(200, "In Oslo.").await?;
    let client = |name, url: &str| LlmClient::builder("openai-compatible", "simulated").name(name).base_url(url);
    let pool = LlmPoolBuilder::new().client(1, client("first", &empty)).client(2, client("second", &sound)).build()?;

    // With options of this call, and with the trail of how it went.
    let (answer, how) = pool.execute(None, &Default::default(), ask).await.map_err(|failed| failed.error)?;
    println!("{} answered: {answer}", how.provider);
    for attempt in &how.attempts {
        println!("  {}: {} {}", attempt.provider, attempt.outcome.as_str(), attempt.error_class.unwrap_or(""));
    }
    // And without: the first provider rests, so the second is asked at once.
    println!("again: {}", pool.execute_request(ask).await.map_err(|failed| failed.error)?);
    pool.stop().await?;
    Ok(())
}
