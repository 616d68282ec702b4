//! A Redis of one's own, replicas of this server's streams on it, and readers that tell what they hear.

use std::future::poll_fn;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use store::redis::{RedisAddress, Topology};
use stream::{
    End, Head, Lifetime, Reader, ReaderEvent, RecordBatch, StoreLimits, StreamId, Streams,
};
use tempfile::TempDir;

/// How long anything may take before a test fails loudly. Nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Within which readers are told that their writer is lost.
pub(crate) const LOST_WITHIN: Duration = Duration::from_secs(10);

/// Whether there is a Redis to test with; says so if not.
pub(crate) fn has_redis() -> bool {
    let found = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        eprintln!("SKIPPED: there is no redis-server");
    }
    has
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address")
        .port()
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts"),
        )
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it is there");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `redis-server`.
pub(crate) struct Redis {
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::at(free_port(), arguments)
    }

    pub(crate) fn at(port: u16, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let mut redis = Self {
            port,
            folder,
            arguments,
            process: None,
        };
        redis.restart();
        redis
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        command
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.arguments);
        self.process = Some(Process::start(&mut command));
        let deadline = Instant::now() + PATIENCE;
        while self.cli(&["PING"]).trim() != "PONG" {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(arguments)
            .stderr(Stdio::null())
            .output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    }

    /// A replica of this server's streams.
    pub(crate) async fn streams(&self) -> Streams {
        streams_at(address(self.port)).await
    }
}

pub(crate) fn address(port: u16) -> RedisAddress {
    RedisAddress {
        tls: false,
        topology: Topology::One,
        nodes: vec![("127.0.0.1".to_owned(), port)],
        database: 0,
        username: None,
        password: None,
        key_prefix: "test:".to_owned(),
    }
}

pub(crate) const OPTIONS: StoreLimits = StoreLimits {
    max_bytes: 256 * 1024,
    max_total_bytes: 64 << 20,
    max_readers: 100,
};

pub(crate) async fn streams_at(address: RedisAddress) -> Streams {
    let streams = Streams::shared(OPTIONS, address);
    streams.connect().await.expect("redis is there");
    streams
}

/// Of a generation.
pub(crate) fn written() -> Head {
    let mut head = published();
    head.dialect = Some("plain".to_owned());
    head
}

/// Of a stream that is published over HTTP.
pub(crate) fn published() -> Head {
    Head::new("text/plain", Lifetime::Idle(Duration::from_secs(600)))
}

pub(crate) fn one(text: &str) -> RecordBatch {
    RecordBatch::one(Bytes::copy_from_slice(text.as_bytes()))
}

/// What a reader has heard.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) records: Vec<String>,
    pub(crate) end: Option<End>,
    pub(crate) gone: bool,
}

/// Reads until it has heard all that it will, or so many records.
pub(crate) async fn hear(reader: &mut Reader, most: usize) -> Heard {
    let mut heard = Heard::default();
    let hearing = async {
        while heard.records.len() < most {
            match poll_fn(|cx| reader.poll_next(cx)).await {
                ReaderEvent::Records(run, _) => {
                    heard.records.extend(
                        run.records()
                            .map(|record| String::from_utf8(record.to_vec()).expect("text")),
                    );
                }
                ReaderEvent::End(end) => {
                    heard.end = Some(end);
                    return;
                }
                ReaderEvent::Gone => {
                    heard.gone = true;
                    return;
                }
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, hearing).await;
    assert!(
        done.is_ok(),
        "heard nothing more after {} records: {:?}",
        heard.records.len(),
        heard.records.last()
    );
    heard
}

/// Attaches once the stream is to be found.
pub(crate) async fn attach(streams: &Streams, id: &StreamId) -> Reader {
    until(async || streams.attach(id, None, None).await.ok()).await
}

/// Waits until something is so.
pub(crate) async fn until<T>(mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A way to a port that can be blocked without anyone noticing.
pub(crate) struct Gate {
    pub(crate) port: u16,
    shut: Arc<AtomicBool>,
}

impl Gate {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let shut = Arc::new(AtomicBool::new(false));
        let gate = Self {
            port: listener.local_addr().expect("an address").port(),
            shut: shut.clone(),
        };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let shut = shut.clone();
                tokio::spawn(async move {
                    let Ok(mut server) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await
                    else {
                        return;
                    };
                    let mut ticks = tokio::time::interval(Duration::from_millis(20));
                    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
                    loop {
                        use tokio::io::{AsyncReadExt, AsyncWriteExt};
                        if shut.load(Ordering::Relaxed) {
                            ticks.tick().await;
                            continue;
                        }
                        let moved = tokio::select! {
                            read = client.read(&mut up) => match read {
                                Ok(n) if n > 0 => server.write_all(&up[..n]).await.is_ok(),
                                _ => false,
                            },
                            read = server.read(&mut down) => match read {
                                Ok(n) if n > 0 => client.write_all(&down[..n]).await.is_ok(),
                                _ => false,
                            },
                            _ = ticks.tick() => true,
                        };
                        if !moved {
                            return;
                        }
                    }
                });
            }
        });
        gate
    }

    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }
}
