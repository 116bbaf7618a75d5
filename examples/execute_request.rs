//! A function of your own under the pool's policies: here it speaks a wire that the pool does not.
//!
//! ```sh
//! cargo run --no-default-features --example execute_request
//! ```

mod upstream;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llmpool::{Classified, Failure, FailureClass, Fault, HttpStatusError, LlmClient, LlmPoolBuilder, Turn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What can go wrong in the function, and what each means for the provider.
enum MyError {
    Connection(std::io::Error),
    Status(HttpStatusError),
    Nonsense,
}

impl Classified for MyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Connection(error) => Failure::new(FailureClass::Network, error.to_string()).fault(),
            // Read like a reply of the pool's own: quota is told from rate, a hint counts.
            Self::Status(error) => error.fault(),
            Self::Nonsense => Failure::new(FailureClass::BadReply, "no status line").fault(),
        }
    }
}

impl From<std::io::Error> for MyError {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error)
    }
}

/// The simplest client there is. An SDK of your choice would stand here.
async fn ask(turn: Turn) -> Result<String, MyError> {
    let host = turn.base_url().trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
    let mut socket = TcpStream::connect(&host).await?;
    socket.write_all(format!("POST /v1/answer HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await?;
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(MyError::Nonsense)?;
    let body = reply.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
    match StatusCode::from_u16(status) {
        Ok(StatusCode::OK) => Ok(body),
        Ok(status) => {
            Err(MyError::Status(HttpStatusError { status, headers: HeaderMap::new(), body: Bytes::from(body) }))
        }
        Err(_) => Err(MyError::Nonsense),
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let empty = upstream::start(402, "this account is empty").await?;
    let sound = upstream::start(200, "In Oslo.").await?;
    let client = |name, url: &str| LlmClient::builder("openai-compatible", "simulated").name(name).base_url(url);
    let pool = LlmPoolBuilder::new().client(1, client("first", &empty)).client(2, client("second", &sound)).build()?;

    let (body, how) = pool.execute(None, &Default::default(), ask).await.map_err(|failed| failed.error)?;
    println!("{} answered: {body}", how.provider);
    for attempt in &how.attempts {
        println!("  {}: {} {}", attempt.provider, attempt.outcome.as_str(), attempt.error_class.unwrap_or(""));
    }
    pool.stop().await?;
    Ok(())
}
