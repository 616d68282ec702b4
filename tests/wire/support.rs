//! A scripted upstream, the real binary, and a client that sees every byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test fails loudly. Nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
pub(crate) fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One request as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the upstream was sent JSON")
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// An upstream that plays a script on each connection.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    closed: Arc<(Mutex<usize>, Condvar)>,
}

impl Upstream {
    /// Plays `script` on every connection, each in a thread of its own.
    pub(crate) fn start(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let closed = Arc::new((Mutex::new(0), Condvar::new()));
        let script = Arc::new(script);
        let upstream = Self {
            address,
            seen: seen.clone(),
            connections: connections.clone(),
            closed: closed.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *connections.lock().expect("a count") += 1;
                stream.set_nodelay(true).expect("nodelay");
                let mut connection = Connection {
                    stream,
                    seen: seen.clone(),
                    closed: closed.clone(),
                    rest: Vec::new(),
                };
                let script = script.clone();
                std::thread::spawn(move || script(&mut connection));
            }
        });
        upstream
    }

    /// Answers one request per connection with a stream's head and these bytes, then ends the body
    /// properly.
    pub(crate) fn streaming(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::start(move |c| {
            while c.request().is_some() {
                c.stream_head();
                c.chunk(&body);
                c.end();
            }
        })
    }

    /// Answers every request with these very bytes, and closes.
    pub(crate) fn raw(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |c| {
            if c.request().is_some() {
                c.send(&answer);
            }
        })
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().expect("requests").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().expect("a count")
    }

    /// Waits until so many connections were closed by the other side.
    pub(crate) fn wait_closed(&self, count: usize) {
        until("the upstream's connection is closed", || {
            (*self.closed.0.lock().expect("a count") >= count).then_some(())
        });
    }

    pub(crate) fn wait_requests(&self, count: usize) {
        until("the upstream sees the request", || {
            (self.requests().len() >= count).then_some(())
        });
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

/// One connection of an upstream, in its script's hands.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    seen: Arc<Mutex<Vec<Seen>>>,
    closed: Arc<(Mutex<usize>, Condvar)>,
    rest: Vec<u8>,
}

impl Connection {
    /// Reads the next request; none when the other side closed instead.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.rest[..at]).into_owned();
                let length: usize = header(&head, "content-length")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                if self.rest.len() >= at + 4 + length {
                    let body = self.rest[at + 4..at + 4 + length].to_vec();
                    self.rest.drain(..at + 4 + length);
                    let seen = Seen { head, body };
                    self.seen.lock().expect("requests").push(seen.clone());
                    return Some(seen);
                }
            }
            let mut buffer = [0; 16384];
            match self.stream.read(&mut buffer) {
                Ok(n) if n > 0 => self.rest.extend_from_slice(&buffer[..n]),
                _ => {
                    self.count_closed();
                    return None;
                }
            }
        }
    }

    /// Sends bytes; whether they were taken.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn stream_head(&mut self) {
        self.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-request-id: up-1\r\n\r\n");
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> bool {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.send(&framed)
    }

    /// Sends a Chat Completions chunk that says this text.
    pub(crate) fn say(&mut self, text: &str) -> bool {
        self.chunk(says(text).as_bytes())
    }

    pub(crate) fn end(&mut self) {
        self.send(b"0\r\n\r\n");
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_closed(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer), Ok(n) if n > 0) {}
        self.count_closed();
    }

    /// Whether the other side has closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        match peeked {
            Ok(n) => n == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Closes with a RST.
    pub(crate) fn reset(&mut self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    fn count_closed(&self) {
        *self.closed.0.lock().expect("a count") += 1;
        self.closed.1.notify_all();
    }
}

/// A Chat Completions frame that says this text.
pub(crate) fn says(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] })
    )
}

/// The key of the upstream `up`.
pub(crate) const UP_KEY: &str = "sk-canary-key";

/// The frame that finishes.
pub(crate) const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// The real binary, running.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The lines that it prints at the start.
    pub(crate) greeting: String,
    log: Arc<Mutex<String>>,
    /// Reads the log until the server ends.
    log_reader: Option<JoinHandle<()>>,
    /// Set by a test that means the log to hold a mark, with its reason.
    log_may_hold_marks: Option<&'static str>,
    pub(crate) folder: TempDir,
}

/// A part of every upstream's key. No line of any server's log holds it.
pub(crate) const KEY_MARK: &str = "canary-key";
/// A part of every prompt that a test doesn't need otherwise. No line of any log holds it, either.
pub(crate) const PROMPT_MARK: &str = "canary-prompt";

impl Server {
    /// The embedded mock, nothing configured but JSON logs.
    pub(crate) fn mock() -> Self {
        Self::with("", &[])
    }

    /// One provider `up`; the model `m` is its `real`, every other goes as it is.
    pub(crate) fn before(upstream: &Upstream) -> Self {
        Self::before_with(upstream, "", "")
    }

    /// The same with more keys at the top and in the provider's section.
    pub(crate) fn before_with(upstream: &Upstream, top: &str, provider: &str) -> Self {
        let url = upstream.base_url();
        Self::with(
            &format!(
                "{top}\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\napi_key_env = \"UP_KEY\"\n{provider}\n\
                 [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n\
                 [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
            ),
            &[("UP_KEY", UP_KEY)],
        )
    }

    pub(crate) fn with(config: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("c.toml"), config).expect("a config");
        Self::in_folder(folder, env)
    }

    pub(crate) fn in_folder(folder: TempDir, env: &[(&str, &str)]) -> Self {
        let binary = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
        Self::start(binary, folder, env, Stdio::piped())
    }

    /// The same by a command that runs the binary, with another stderr. Where that is no pipe of
    /// ours there is no log to be seen.
    pub(crate) fn start(
        mut command: Command,
        folder: TempDir,
        env: &[(&str, &str)],
        stderr: Stdio,
    ) -> Self {
        let mut child = command
            .args(["--config", "c.toml", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env("TOKENRILL_LOG_FORMAT", "json")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stdout = child.stdout.take().expect("stdout");
        let log_reader = child.stderr.take().map(|mut stderr| {
            let writer = log.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                    writer
                        .lock()
                        .expect("the log")
                        .push_str(&String::from_utf8_lossy(&buffer[..n]));
                }
            })
        });
        let mut greeting = String::new();
        let mut byte = [0];
        while greeting.matches('\n').count() < 2 {
            assert!(
                stdout.read(&mut byte).expect("stdout") == 1,
                "it ended: {}",
                log.lock().expect("the log")
            );
            greeting.push(byte[0] as char);
        }
        let address = greeting
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let address = address
            .and_then(|address| address.parse().ok())
            .expect("the first line has the address");
        Self {
            child,
            address,
            greeting,
            log,
            log_reader,
            log_may_hold_marks: None,
            folder,
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Lets the log hold marks of prompts or keys, for that reason.
    #[expect(dead_code, reason = "no test needs it yet; one that does says why")]
    pub(crate) fn let_log_hold_marks(&mut self, reason: &'static str) {
        self.log_may_hold_marks = Some(reason);
    }

    /// Waits for a log line with that message; the nth of its kind.
    pub(crate) fn logged(&self, message: &str, nth: usize) -> Value {
        until(&format!("`{message}` is logged {nth} times"), || {
            let log = self.log();
            let mut lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines
                .by_ref()
                .filter(|line| line["message"] == message)
                .nth(nth - 1)
        })
    }

    /// How the only generation ended.
    pub(crate) fn ended(&self) -> String {
        self.logged("generation", 1)["ended"]
            .as_str()
            .expect("ended")
            .to_owned()
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("the server runs");
    }

    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let status = until("the server exits", || {
            self.child.try_wait().expect("a child")
        });
        self.end_log();
        status
    }

    /// Waits for the end of the log, when the server has ended.
    fn end_log(&mut self) {
        if let Some(reader) = self.log_reader.take() {
            reader.join().expect("the log is read");
        }
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .expect("VmRSS");
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn get(&self, path: &str) -> Client {
        Client::send(
            self.address,
            format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes(),
        )
    }

    /// A Chat Completions request for model `m` with more fields.
    pub(crate) fn chat(&self, fields: Value) -> Client {
        self.post("/v1/chat/completions", "", &chat_body(fields).to_string())
    }

    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> Client {
        Client::send(self.address, &post(path, headers, body.as_bytes()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_log();
        if std::thread::panicking() || self.log_may_hold_marks.is_some() {
            return;
        }
        for line in self.log().lines() {
            for mark in [KEY_MARK, PROMPT_MARK] {
                assert!(!line.contains(mark), "the log holds `{mark}`: {line}");
            }
        }
    }
}

pub(crate) fn chat_body(fields: Value) -> Value {
    let mut body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi, canary-prompt" }] });
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let kind = if headers.contains("content-type") {
        ""
    } else {
        "content-type: application/json\r\n"
    };
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\n{kind}{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A raw HTTP/1.1 client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut client = Self::connect(address);
        let _ = client.stream.write_all(bytes);
        client
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.received.extend_from_slice(&buffer[..n]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}; so far: {}", self.text()),
        }
    }

    /// All that came, as it came.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Waits until these bytes came.
    pub(crate) fn wait_for(&mut self, needle: &str) {
        while find(&self.received, needle.as_bytes()).is_none() {
            assert!(self.more(), "it ended without {needle:?}: {}", self.text());
        }
    }

    /// Waits until these bytes came so often.
    pub(crate) fn wait_for_many(&mut self, needle: &str, count: usize) {
        while self.text().matches(needle).count() < count {
            assert!(self.more(), "it ended before {count} {needle:?}");
        }
    }

    pub(crate) fn head(&mut self) -> String {
        self.wait_for("\r\n\r\n");
        let at = find(&self.received, b"\r\n\r\n").expect("a head");
        String::from_utf8_lossy(&self.received[..at]).into_owned()
    }

    pub(crate) fn status(&mut self) -> u16 {
        self.head()
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status")
    }

    pub(crate) fn header(&mut self, name: &str) -> Option<String> {
        header(&self.head(), name)
    }

    /// The whole body, unchunked. It must end properly, unless it ends with an error: then it must
    /// not, so that a client which passes over the error meets a broken connection.
    pub(crate) fn body(&mut self) -> String {
        let head = self.head();
        let start = head.len() + 4;
        if let Some(length) = header(&head, "content-length") {
            let length: usize = length.parse().expect("a length");
            while self.received.len() < start + length {
                assert!(self.more(), "the body was cut: {}", self.text());
            }
            return String::from_utf8_lossy(&self.received[start..start + length]).into_owned();
        }
        let (body, is_whole) = loop {
            let (body, is_whole) = unchunk(&self.received[start..]);
            if is_whole || !self.more() {
                break (body, is_whole);
            }
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        let is_broken = ends_with_error(&body);
        assert_ne!(is_whole, is_broken, "whole, or with an error: {body}");
        body
    }

    pub(crate) fn json(&mut self) -> Value {
        let body = self.body();
        serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}"))
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_end(&mut self) {
        while self.more() {}
    }

    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
    }
}

/// Returns whether the events of a body end with an error, in any dialect.
pub(crate) fn ends_with_error(body: &str) -> bool {
    let events = events(body);
    let Some((name, data)) = events.last() else {
        return false;
    };
    let payload: Value = serde_json::from_str(data).unwrap_or_default();
    name == "error" || name == "response.failed" || payload["error"].is_object()
}

/// Returns the body as far as it came, and whether it came whole.
pub(crate) fn unchunk(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (mut body, mut rest) = (Vec::new(), bytes);
    while let Some((data, after)) = first_chunk(rest) {
        if data.is_empty() {
            return (body, true);
        }
        body.extend_from_slice(data);
        rest = after;
    }
    (body, false)
}

/// Returns the first chunk and what follows it, once it has come.
fn first_chunk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = find(bytes, b"\r\n")?;
    let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
    let data = bytes.get(line + 2..line + 2 + length)?;
    Some((data, bytes.get(line + 4 + length..)?))
}

pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

/// What a browser's EventSource would dispatch: (event, data).
pub(crate) fn events(body: &str) -> Vec<(String, String)> {
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in body.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                events.push((std::mem::take(&mut name), data.join("\n")));
            }
            data.clear();
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    events
}

/// An address that answers no SYN, as a host behind a firewall doesn't: a listener whose backlog is
/// full. It is so as long as what comes with it lives.
pub(crate) fn unanswering() -> (SocketAddr, Vec<TcpStream>) {
    unanswering_at(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// The same at an address of choice.
pub(crate) fn unanswering_at(address: SocketAddr) -> (SocketAddr, Vec<TcpStream>) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.bind(&address.into()).expect("a port");
    listener.listen(1).expect("a listener");
    let address = listener
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .expect("an address");
    let brief = Duration::from_millis(300);
    let fill: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || TcpStream::connect_timeout(&address, brief)))
        .collect();
    let full = fill
        .into_iter()
        .filter_map(|thread| thread.join().expect("a thread").ok());
    (
        address,
        std::iter::once(listener.into()).chain(full).collect(),
    )
}
