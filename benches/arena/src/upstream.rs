//! An upstream that costs next to nothing: Chat Completions chunks of a typical size, each stamped
//! when it is sent. It remembers when each of its clients left, and tells at `GET /left`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Connections that wait to be accepted. A proxy that has caught up opens many at once; what finds
/// no room tries again a second later, which would be charged to the proxy.
const WAITING: u32 = 4096;
/// A token's chunk is this, its stamp, and that.
const BEFORE: &str = "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" @";
const AFTER: &str = "@\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

/// Serves until killed; prints its port.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(WAITING).expect("it listens");
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
        let Some(asked) = request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let (tokens, gap, id) = match asked {
            Asked::Stream { tokens, gap, id } => (tokens, gap, id),
            Asked::Left => {
                let left =
                    serde_json::json!(std::mem::take(&mut *LEFT.lock().expect("nobody panics")))
                        .to_string();
                whole(&mut stream, &left).await?;
                continue;
            }
            Asked::Other => {
                // Routers ask their workers how they are.
                whole(
                    &mut stream,
                    r#"{"status":"ok","data":[{"id":"gpt","object":"model"}]}"#,
                )
                .await?;
                continue;
            }
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let pause = Duration::from_millis(gap.max(1));
        // The first token comes at once, the others at a moment of this stream's own: streams do
        // not keep step.
        let mut at_once = gap < SILENT;
        let phase = if at_once {
            pause.mul_f64(phase())
        } else {
            pause
        };
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + phase, pause);
        let (mut sent, mut bytes) = (0, String::new());
        while sent < tokens {
            // Without a pause, sixteen tokens a write: as fast as a proxy can be fed.
            let run = if gap == 0 { 16.min(tokens - sent) } else { 1 };
            if gap > 0 && !std::mem::take(&mut at_once) {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = closed(&stream) => {
                        LEFT.lock().expect("nobody panics").push((id, crate::now()));
                        return Ok(());
                    }
                }
            }
            bytes.clear();
            for _ in 0..run {
                token(&mut bytes);
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

/// A part of a pause, another one each time, evenly spread.
fn phase() -> f64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    (COUNT.fetch_add(1, Ordering::Relaxed) as f64 * 0.618_033_988_75).fract()
}

async fn whole(stream: &mut TcpStream, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await
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
    Other,
    Stream { tokens: usize, gap: u64, id: u64 },
}

fn token(out: &mut String) {
    use std::fmt::Write as _;
    let now = crate::now();
    let digits = now.ilog10() as usize + 1;
    let _ = write!(
        out,
        "{:x}\r\n{BEFORE}{now}{AFTER}\r\n",
        BEFORE.len() + digits + AFTER.len()
    );
}

fn chunk(out: &mut String, data: &str) {
    use std::fmt::Write as _;
    let _ = write!(out, "{:x}\r\n{data}\r\n", data.len());
}

/// Reads a request; how many tokens it wants, the pause in milliseconds, and who asks, stand in its
/// prompt: `T tokens G gap I id`.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(head) = crate::client::find(buffer, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length = text
                .split("content-length:")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= head + 4 + length {
                let body =
                    String::from_utf8_lossy(&buffer[head + 4..head + 4 + length]).into_owned();
                buffer.drain(..head + 4 + length);
                if text.starts_with("get /left") {
                    return Ok(Some(Asked::Left));
                }
                // What stands before a word.
                let number = |word: &str| -> Option<u64> {
                    body.split(word)
                        .next()
                        .filter(|before| before.len() < body.len())?
                        .rsplit(['"', ' '])
                        .next()?
                        .parse()
                        .ok()
                };
                let Some((tokens, gap)) = number(" tokens ").zip(number(" gap")) else {
                    return Ok(Some(Asked::Other));
                };
                return Ok(Some(Asked::Stream {
                    tokens: tokens as usize,
                    gap,
                    id: number(" id").unwrap_or(0),
                }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
