//! The end of a server loses nothing that could be kept.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::*;

/// Says a token, then waits for the gate, then finishes.
fn gated() -> (Upstream, std::sync::mpsc::Sender<()>) {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        c.say("first");
        if gate.lock().unwrap().recv().is_ok() {
            c.chunk(format!("{}{STOP}{DONE}", says("last")).as_bytes());
            c.end();
        }
        c.wait_closed();
    });
    (upstream, open)
}

#[test]
fn running_streams_finish_and_nothing_new_comes_in() {
    let (upstream, open) = gated();
    let mut server = Server::before(&upstream);
    let mut client = server.chat(json!({}));
    client.wait_for("first");
    let mut idle = server.get("/readyz");
    assert_eq!(idle.body(), "ok");
    server.signal(Signal::SIGTERM);
    until("it accepts no more", || {
        std::net::TcpStream::connect(server.address)
            .is_err()
            .then_some(())
    });
    idle.wait_end();
    open.send(()).unwrap();
    assert!(
        client
            .body()
            .ends_with(&format!("{}{STOP}{DONE}", says("last")))
    );
    assert!(server.wait_exit().success());
    assert_eq!(server.ended(), "complete");
}

#[test]
fn past_the_deadline_each_stream_ends_with_an_error() {
    let (upstream, open) = gated();
    let mut server = Server::before_with(&upstream, "drain = \"200ms\"", "");
    let mut client = server.chat(json!({}));
    client.wait_for("first");
    let mut plain = server.get("/stream?prompt=x+canary-prompt&model=m");
    plain.wait_for("first");
    server.signal(Signal::SIGINT);
    let body = client.body();
    assert!(
        body.contains("\"draining\"") && !body.contains("[DONE]"),
        "{body}"
    );
    assert!(plain.body().contains("event: error\n"));
    drop(open);
    upstream.wait_closed(2);
    assert!(server.wait_exit().success());
    assert_eq!(server.log().matches("\"ended\":\"draining\"").count(), 2);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (upstream, open) = gated();
    let mut server = Server::before_with(&upstream, "drain = \"10m\"", "");
    let mut client = server.chat(json!({}));
    client.wait_for("first");
    server.signal(Signal::SIGTERM);
    server.logged("shutting down", 1);
    server.signal(Signal::SIGTERM);
    let body = client.body();
    assert!(body.contains("\"draining\""), "{body}");
    assert_eq!(server.wait_exit().code(), Some(130));
    assert_eq!(server.ended(), "draining");
    drop(open);
    upstream.wait_closed(1);
}

#[test]
fn a_client_that_cant_be_told_of_the_end_has_not_left() {
    let (is_full, full) = std::sync::mpsc::sync_channel(1);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        let stalled = std::time::Duration::from_secs(1);
        c.stream.set_write_timeout(Some(stalled)).unwrap();
        while c.say(&"a".repeat(9000)) {}
        is_full.send(()).unwrap();
        c.wait_closed();
    });
    let mut server = Server::before_with(&upstream, "drain = \"10m\"", "");
    // It reads nothing: the server waits for room.
    let _client = server.chat(json!({}));
    full.recv().unwrap();
    server.signal(Signal::SIGTERM);
    server.logged("shutting down", 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(130));
    assert_eq!(server.ended(), "aborted");
}

#[test]
fn a_hangup_ends_nothing() {
    let (upstream, open) = gated();
    let mut server = Server::before(&upstream);
    let mut client = server.chat(json!({}));
    client.wait_for("first");
    server.signal(Signal::SIGHUP);
    let told = "configuration reloaded";
    server.logged(told, 1);
    server.signal(Signal::SIGHUP);
    server.logged(told, 2);
    open.send(()).unwrap();
    assert!(client.body().ends_with(DONE));
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGHUP);
    assert!(server.wait_exit().success());
    assert_eq!(server.ended(), "complete");
}

#[test]
fn a_kept_connection_is_told_that_the_server_is_not_ready() {
    let (upstream, open) = gated();
    let mut server = Server::before(&upstream);
    let mut stream = server.chat(json!({}));
    stream.wait_for("first");
    // Half a request before the signal, the other half after it.
    let mut client = Client::send(server.address, b"GET /readyz HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!(client.body(), "ok");
    server.signal(Signal::SIGTERM);
    server.logged("shutting down", 1);
    client.wait_end();
    open.send(()).unwrap();
    assert!(stream.body().ends_with(DONE));
    assert!(server.wait_exit().success());
}

#[test]
fn before_it_drains_a_server_says_that_it_is_not_ready_and_serves() {
    let mut server = Server::with("drain_delay = \"10m\"\ndrain = \"0s\"\n", &[]);
    assert_eq!(server.get("/readyz").status(), 200);
    server.signal(Signal::SIGTERM);
    until("it is not ready", || {
        (server.get("/readyz").status() == 503).then_some(())
    });
    assert_eq!(server.get("/healthz").status(), 200);
    let mut served = server.get("/stream?prompt=x&model=mock-echo");
    assert!(served.body().ends_with("data: [DONE]\n\n"));
    // A second one ends the wait, and all else.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(130));
}
