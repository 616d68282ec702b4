//! The log holds nobody and ends nothing, whatever becomes of stderr; and none of its lines is long.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::*;

/// Longest line of the log, with its end.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// Says a token, and finishes when the gate opens. A request that is no stream is answered at once.
fn gated() -> (Upstream, std::sync::mpsc::SyncSender<()>) {
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        while let Some(seen) = c.request() {
            if seen.json()["stream"] == false {
                let answer =
                    r#"{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}"#;
                let length = answer.len();
                c.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}").as_bytes());
                continue;
            }
            c.stream_head();
            c.say("first");
            let _ = gate.lock().unwrap().recv();
            c.chunk(format!("{}{STOP}{DONE}", says("last")).as_bytes());
            c.end();
        }
    });
    (upstream, open)
}

fn server_with_stderr(config: &str, command: Command, stderr: Stdio) -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    Server::start(command, folder, &[("UP_KEY", UP_KEY)], stderr)
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tokenrill"))
}

fn config(upstream: &Upstream) -> String {
    let url = upstream.base_url();
    format!(
        "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\" }}]\n"
    )
}

/// A pipe: the end that is read, and the one that is a stderr.
fn pipe() -> (PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, Stdio::from(OwnedFd::from(writer)))
}

/// Asks for so many things, of which each is logged; each must be answered.
fn ask_often(server: &Server, count: usize) {
    let padding = "p".repeat(200);
    let mut client = Client::connect(server.address);
    for number in 0..count {
        let request = format!("GET /nowhere/{number}/{padding} HTTP/1.1\r\nhost: t\r\n\r\n");
        std::io::Write::write_all(&mut client.stream, request.as_bytes()).unwrap();
        assert_eq!(client.status(), 404);
        client.body();
        client.received.clear();
    }
}

/// Streams, short requests and the end: all as if there were a log.
fn runs_as_ever(stderr: Stdio, requests: usize) {
    let (upstream, open) = gated();
    let mut server = server_with_stderr(&config(&upstream), binary(), stderr);
    let mut stream = server.chat(json!({}));
    stream.wait_for("first");
    ask_often(&server, requests);
    for _ in 0..20 {
        let answer = server.chat(json!({ "stream": false })).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "whole");
    }
    server.signal(Signal::SIGTERM);
    open.send(()).unwrap();
    assert!(stream.body().ends_with(DONE));
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_disk_that_is_full_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    runs_as_ever(full.into(), 20);
}

#[test]
fn a_reader_that_is_gone_ends_nothing() {
    let (reader, stderr) = pipe();
    drop(reader);
    runs_as_ever(stderr, 20);
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody() {
    let (reader, stderr) = pipe();
    runs_as_ever(stderr, 600);
    drop(reader);
}

#[test]
fn a_stderr_that_does_not_block_loses_nothing_that_there_is_room_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .unwrap();
    let stderr = Stdio::from(OwnedFd::from(writer));
    let server = server_with_stderr("", binary(), stderr);
    ask_often(&server, 600);
    let lines = BufReader::new(reader).lines().map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["message"].clone()
    });
    assert!(lines.take(600).all(|message| message == "refused"));
}

#[test]
fn lines_that_were_dropped_are_counted_and_told_once_the_pipe_is_read() {
    let (reader, stderr) = pipe();
    let server = server_with_stderr("", binary(), stderr);
    // More than the pipe and the queue have room for.
    let count = 3000;
    ask_often(&server, count);
    for (refused, line) in BufReader::new(reader).lines().enumerate() {
        let line: Value = serde_json::from_str(&line.unwrap()).expect("each line is whole");
        if line["message"] == "log lines were dropped" {
            assert_eq!((&line["level"], refused > 0), (&"WARN".into(), true));
            assert_eq!(line["lines"], count - refused);
            return;
        }
        assert_eq!(line["message"], "refused");
    }
    panic!("nothing was told of the dropped lines");
}

#[test]
fn a_shortage_of_sockets_passes_though_the_log_is_full() {
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_tokenrill");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", binary]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = server_with_stderr("workers = 2\n", command, full.into());
    let idle: Vec<_> = (0..80).map(|_| Client::connect(server.address)).collect();
    drop(idle);
    assert_eq!(server.get("/healthz").status(), 200);
}

/// Asks for things whose lines in the log repeat much; returns the log as it came.
fn long_lines(format: &str) -> String {
    let refusal = json!({ "error": { "message": "m".repeat(40_000), "code": "c".repeat(20_000), "type": "\u{1}".repeat(9000) } }).to_string();
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{refusal}",
        refusal.len()
    ));
    let (mut log, stderr) = pipe();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("c.toml"),
        config(&upstream) + "[[models]]\nname = \"*\"\ntargets = [{ provider = \"up\" }]\n",
    )
    .unwrap();
    let env = [("UP_KEY", UP_KEY), ("TOKENRILL_LOG_FORMAT", format)];
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    let mut server = Server::start(binary(), folder, &env, stderr);
    let mut many =
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    let mut few = many.clone();
    for number in 0..5000 {
        many[format!("unknown_{number}")] = number.into();
    }
    for number in 0..3 {
        few[format!("{number}{}", "\u{1}x".repeat(100_000))] = number.into();
    }
    for body in [many, few] {
        assert_eq!(
            server.post("/v1/messages", "", &body.to_string()).status(),
            400
        );
    }
    let model = "\"\u{1}é".repeat(100_000);
    assert_eq!(server.chat(json!({ "model": model })).status(), 400);
    let path = format!("/{}", "p".repeat(20_000));
    assert_eq!(server.get(&path).status(), 404);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit().success());
    drop(server);
    reading.join().unwrap()
}

#[test]
fn no_line_is_long_whatever_a_client_or_an_upstream_sends() {
    for format in ["json", "text"] {
        let log = long_lines(format);
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.len() >= 7, "{log}");
        for line in &lines {
            assert!(line.len() < MAX_LINE_BYTES, "{}", line.len());
            let is_json = serde_json::from_str::<Value>(line).is_ok();
            assert_eq!(is_json, format == "json", "{line}");
        }
        let cut: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("not sent upstream"))
            .collect();
        assert!(cut[0].contains("and 4968 more"), "{}", cut[0]);
    }
}
