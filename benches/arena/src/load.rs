//! Many streams at once, each read to its end; how long each token was under way is read from its stamp.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs the load and returns its figures as a line of JSON.
pub fn run(client: &str, port: u16, streams: usize, tokens: usize, gap: u64, repeat: usize) -> String {
    let client = Client::of(client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let started = std::time::Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..streams {
            set.spawn(async move {
                let mut delays = Vec::with_capacity(tokens * repeat);
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy listens");
                stream.set_nodelay(true).expect("nodelay");
                for _ in 0..repeat {
                    read(&client, &mut stream, tokens, gap, &mut delays).await.expect("a whole stream");
                }
                delays
            });
        }
        let mut delays: Vec<u64> = set.join_all().await.into_iter().flatten().collect();
        let seconds = started.elapsed().as_secs_f64();
        delays.sort_unstable();
        let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
        serde_json::json!({ "tokens": delays.len(), "seconds": seconds, "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) }).to_string()
    })
}

/// What a client says, and what ends its answer.
#[derive(Clone, Copy)]
pub struct Client {
    path: &'static str,
    more: &'static str,
    end: &'static [u8],
}

impl Client {
    pub fn of(name: &str) -> Self {
        match name {
            "openai-chat" => Self { path: "/v1/chat/completions", more: "", end: b"data: [DONE]" },
            "anthropic" => Self { path: "/v1/messages", more: "\"max_tokens\":9999,", end: b"event: message_stop" },
            other => panic!("no client {other}"),
        }
    }
}

pub async fn read(
    client: &Client,
    stream: &mut TcpStream,
    tokens: usize,
    gap: u64,
    delays: &mut Vec<u64>,
) -> std::io::Result<()> {
    let prompt = format!(
        "{{\"model\":\"gpt\",{}\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"{tokens} tokens {gap} gap\"}}]}}",
        client.more
    );
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: arena\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        client.path,
        prompt.len()
    );
    stream.write_all((request + &prompt).as_bytes()).await?;
    let (mut raw, mut body) = (Vec::with_capacity(16 * 1024), Vec::with_capacity(16 * 1024));
    let mut head = true;
    loop {
        if stream.read_buf(&mut raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let now = crate::now();
        if head {
            let Some(end) = find(&raw, b"\r\n\r\n") else { continue };
            raw.drain(..end + 4);
            head = false;
        }
        let ended = unchunk(&mut raw, &mut body);
        let mut from = 0;
        // A stamp stands between two @.
        while let Some(start) = find(&body[from..], b"@").map(|at| at + from + 1) {
            let Some(end) = find(&body[start..], b"@").map(|at| at + start) else { break };
            let stamp: u64 = std::str::from_utf8(&body[start..end]).ok().and_then(|n| n.parse().ok()).expect("a stamp");
            delays.push(now.saturating_sub(stamp));
            from = end + 1;
        }
        body.drain(..from);
        if ended {
            assert!(find(&body, client.end).is_some(), "it is not whole");
            return Ok(());
        }
    }
}

/// Moves whole chunks; whether the last one was among them.
fn unchunk(raw: &mut Vec<u8>, body: &mut Vec<u8>) -> bool {
    let mut at = 0;
    let ended = loop {
        let Some(line) = find(&raw[at..], b"\r\n") else { break false };
        let length = std::str::from_utf8(&raw[at..at + line]).ok().and_then(|n| usize::from_str_radix(n, 16).ok());
        let start = at + line + 2;
        let end = start + length.expect("a chunk's length");
        if raw.len() < end + 2 {
            break false;
        }
        body.extend_from_slice(&raw[start..end]);
        at = end + 2;
        if start == end {
            break true;
        }
    };
    raw.drain(..at);
    ended
}

/// Where a needle begins.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
