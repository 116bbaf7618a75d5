//! The simplest HTTP client there is, for a wire that the pool does not speak. An SDK of your choice would stand here.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use llmpool::{Failure, FailureClass, HttpStatusError, Turn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Posts this body to the provider of the turn, and gives the body of its answer. What goes wrong is said in errors that
/// the pool knows: a broken connection is a [`std::io::Error`], a status an [`HttpStatusError`], nonsense a [`Failure`].
pub async fn post(turn: &Turn, path: &str, body: &str) -> Result<String, AnyError> {
    let host = turn.base_url().trim_start_matches("http://").split('/').next().unwrap_or_default();
    let (key, length) = (turn.api_key().unwrap_or_default(), body.len());
    let mut socket = TcpStream::connect(host).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    socket.write_all((head + body).as_bytes()).await?;
    let mut reply = String::new();
    socket.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(|| nonsense("no head"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = StatusCode::from_u16(status.ok_or_else(|| nonsense("no status"))?)?;
    if status.is_success() {
        return Ok(body.to_owned());
    }
    let headers = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?)));
    let headers: HeaderMap = headers.collect();
    // Read like a reply of the pool's own: quota is told from rate, a hint counts.
    Err(Box::new(HttpStatusError { status, headers, body: Bytes::from(body.to_owned()) }))
}

fn nonsense(what: &str) -> Failure {
    Failure::new(FailureClass::BadReply, format!("this is not HTTP: {what}"))
}
