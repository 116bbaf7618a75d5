//! A provider that is not there: an HTTP server on loopback that speaks as much of OpenAI's wire as an example needs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with this status: 200 is an answer in these words, everything else an error. Gives its base
/// URL.
pub async fn start(status: u16, words: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    #[expect(clippy::disallowed_methods, reason = "a server lives beside the program")]
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = socket.read(&mut request).await;
            let body = if status == 200 {
                format!(
                    r#"{{"id":"1","model":"simulated","choices":[{{"message":{{"content":"{words}"}},"finish_reason":"stop"}}]}}"#
                )
            } else {
                format!(r#"{{"error":{{"message":"{words}"}}}}"#)
            };
            let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.write_all((head + &body).as_bytes()).await;
        }
    });
    Ok(url)
}
