// A provider that is not there: an HTTP server on loopback that speaks as much of OpenAI's wire as an example needs. The
// examples in the documentation include this file.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with this status: 200 is an answer in these words, everything else an error. Gives its base
/// URL.
pub async fn start(status: u16, words: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    #[expect(clippy::disallowed_methods, reason = "a server lives beside the program")]
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = serve(&mut socket, status, words).await;
        }
    });
    Ok(url)
}

async fn serve(socket: &mut TcpStream, status: u16, words: &str) -> std::io::Result<()> {
    let (path, request) = read(socket).await?;
    let (kind, body) = match status {
        200 if path.ends_with("/embeddings") => ("application/json", vectors(&request)),
        200 if request["stream"] == true => ("text/event-stream", stream(words)),
        200 => ("application/json", answer(words)),
        _ => ("application/json", serde_json::json!({ "error": { "message": words } }).to_string()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all((head + &body).as_bytes()).await
}

/// The path, and the body as JSON.
async fn read(socket: &mut TcpStream) -> std::io::Result<(String, serde_json::Value)> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut piece).await?;
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_ref(), ""));
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if count == 0 || (head.len() < text.len() && body.len() >= length) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            return Ok((path, serde_json::from_str(body).unwrap_or_default()));
        }
    }
}

fn answer(words: &str) -> String {
    let message = serde_json::json!({ "role": "assistant", "content": words });
    serde_json::json!({
        "id": "1", "model": "simulated", "choices": [{ "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18 },
    })
    .to_string()
}

fn stream(words: &str) -> String {
    let chunk = |delta: serde_json::Value, finish: Option<&str>| {
        let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", serde_json::json!({ "id": "1", "model": "simulated", "choices": [choice] }))
    };
    let pieces = words.split_inclusive(' ').map(|piece| chunk(serde_json::json!({ "content": piece }), None));
    pieces.collect::<String>() + &chunk(serde_json::json!({}), Some("stop")) + "data: [DONE]\n\n"
}

fn vectors(request: &serde_json::Value) -> String {
    let count = request["input"].as_array().map_or(1, Vec::len);
    let data: Vec<_> = (0..count).map(|at| serde_json::json!({ "index": at, "embedding": [0.6, 0.8] })).collect();
    serde_json::json!({ "model": "simulated", "data": data, "usage": { "prompt_tokens": 2, "total_tokens": 2 } })
        .to_string()
}
