//! Whole servers on one Redis, and one that is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(store: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
            .args(["--listen", "127.0.0.1:0"])
            .env("TOKENRILL_STREAMS_STORE", store)
            .env("TOKENRILL_MOCK_TOKENS_PER_SECOND", "5")
            .env("TOKENRILL_WORKERS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut greeting = String::new();
        BufReader::new(process.stdout.take().expect("stdout")).read_line(&mut greeting).expect("it greets");
        let address = greeting.trim().rsplit_once("http://").expect("an address").1.to_owned();
        Self { process, address }
    }

    fn get(&self, path: &str) -> BufReader<TcpStream> {
        self.ask("GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it takes the request");
        BufReader::new(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_until(reader: &mut BufReader<TcpStream>, what: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(what) {
        let read = reader.read_line(&mut heard).expect("more");
        assert!(read > 0, "no {what:?} in {heard}");
    }
    heard
}

const ENDLESS: &str = "/stream?prompt=say+a+lot+of+words&linger=60s";

#[test]
fn a_generation_of_one_server_is_read_joined_and_cancelled_at_another() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (one, other) = (Server::start(&store), Server::start(&store));
    let mut first = one.get(ENDLESS);
    let head = read_until(&mut first, "data: ");
    let id = head.split("x-stream-id: ").nth(1).expect("an id").lines().next().expect("a line").to_owned();
    let path = format!("/v1/stream/{id}");
    let mut second = loop {
        let mut second = other.get(&path);
        if read_until(&mut second, "\r\n").contains("200") {
            break second;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    read_until(&mut second, "data: ");
    let mut told = String::new();
    other.ask("POST", &format!("{path}/cancel")).read_to_string(&mut told).expect("an answer");
    assert!(told.contains("\"status\":\"cancelled\""), "{told}");
    for reader in [&mut first, &mut second] {
        let rest = read_until(reader, "cancelled");
        assert!(!rest.contains("[DONE]"), "{rest}");
    }
}

#[test]
fn readers_of_a_server_that_is_killed_are_told_within_ten_seconds() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = format!("redis://127.0.0.1:{}", redis.port);
    let (mut one, other) = (Server::start(&store), Server::start(&store));
    let mut first = one.get(ENDLESS);
    let head = read_until(&mut first, "data: ");
    let id = head.split("x-stream-id: ").nth(1).expect("an id").lines().next().expect("a line").to_owned();
    let path = format!("/v1/stream/{id}");
    let mut second = loop {
        let mut second = other.get(&path);
        if read_until(&mut second, "\r\n").contains("200") {
            break second;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    read_until(&mut second, "data: ");
    one.process.kill().expect("it runs");
    let killed = Instant::now();
    let rest = read_until(&mut second, "writer_lost");
    assert!(killed.elapsed() < LOST_WITHIN, "{:?}", killed.elapsed());
    assert!(!rest.contains("[DONE]"), "{rest}");
    let mut late = String::new();
    other.get(&path).read_to_string(&mut late).expect("an answer");
    assert!(late.contains("data: ") && late.contains("writer_lost") && !late.contains("[DONE]"), "{late}");
}

#[test]
fn a_server_without_its_redis_says_so_in_one_line_and_ends() {
    let port = free_port();
    let started = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["--listen", "127.0.0.1:0"])
        .env("TOKENRILL_STREAMS_STORE", format!("redis://127.0.0.1:{port}"))
        .env("TOKENRILL_STREAMS_PASSWORD_ENV", "PASSWORD")
        .env("PASSWORD", "hunter2")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(2), "{said}");
    let line = said.lines().find(|line| line.starts_with("tokenrill: ")).expect("a complaint");
    assert!(line.contains(&format!("can't reach redis://127.0.0.1:{port} (streams.store): ")), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let checked = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .arg("check")
        .env("TOKENRILL_STREAMS_STORE", "redis+sentinel://127.0.0.1:1/service")
        .status();
    assert!(checked.expect("it runs").success(), "a check connects to nothing");
}
