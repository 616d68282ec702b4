//! An upstream that costs next to nothing: Chat Completions chunks of a typical size, each stamped when it is sent. It
//! remembers when each of its clients left, and tells at `GET /left`.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves until killed; prints its port.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address").port());
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
}

/// Whose connection was closed in the middle of an answer, and when.
static LEFT: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// A pause so long means that nothing at all is said before it.
const SILENT: u64 = 10_000;

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(asked) = request(&mut stream, &mut buffer).await? else { return Ok(()) };
        let Asked::Stream { tokens, gap, id } = asked else {
            let left = serde_json::json!(std::mem::take(&mut *LEFT.lock().expect("nobody panics"))).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", left.len());
            stream.write_all((head + &left).as_bytes()).await?;
            continue;
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let pause = Duration::from_millis(gap.max(1));
        let first = if gap >= SILENT { pause } else { Duration::ZERO };
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, pause);
        let mut sent = 0;
        while sent < tokens {
            // Without a pause, sixteen tokens a write: as fast as a proxy can be fed.
            let run = if gap == 0 { 16.min(tokens - sent) } else { 1 };
            if gap > 0 {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = closed(&stream) => {
                        LEFT.lock().expect("nobody panics").push((id, crate::now()));
                        return Ok(());
                    }
                }
            }
            let mut bytes = String::new();
            for _ in 0..run {
                chunk(
                    &mut bytes,
                    &format!(
                        "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" @{}@\"}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n",
                        crate::now()
                    ),
                );
            }
            sent += run;
            stream.write_all(bytes.as_bytes()).await?;
        }
        let mut end = String::new();
        chunk(
            &mut end,
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        );
        end.push_str("0\r\n\r\n");
        stream.write_all(end.as_bytes()).await?;
    }
}

/// Resolves when the other side has closed the connection.
async fn closed(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        // It says more: it is there.
        std::future::pending::<()>().await;
    }
}

enum Asked {
    Left,
    Stream { tokens: usize, gap: u64, id: u64 },
}

fn chunk(out: &mut String, data: &str) {
    use std::fmt::Write as _;
    let _ = write!(out, "{:x}\r\n{data}\r\n", data.len());
}

/// Reads a request; how many tokens it wants, the pause in milliseconds, and who asks, stand in its prompt: `T tokens G gap
/// I id`.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(head) = crate::load::find(buffer, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length = text.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= head + 4 + length {
                let body = String::from_utf8_lossy(&buffer[head + 4..head + 4 + length]).into_owned();
                buffer.drain(..head + 4 + length);
                let numbers: Vec<u64> =
                    body.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
                if text.starts_with("get /left") {
                    return Ok(Some(Asked::Left));
                }
                let id = numbers.get(2).copied().unwrap_or(0);
                return Ok(Some(Asked::Stream { tokens: numbers[0] as usize, gap: numbers[1], id }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
