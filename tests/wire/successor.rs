//! A new process takes over from an old one, and no connection is refused meanwhile.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::*;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";

/// A server that is started by a shell script; the binary and its arguments are `"$@"`.
fn scripted(script: &str, config: &str, stdin: Stdio, env: &[(&str, &str)]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_tokenrill")])
        .stdin(stdin);
    Server::start(shell, folder, env, Stdio::piped())
}

/// Hands its standard input over as a service manager hands over a socket.
const ACTIVATED: &str = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";

#[test]
fn a_socket_of_the_service_manager_outlives_the_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = || Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    let mut old = scripted(ACTIVATED, "", socket(), &[]);
    assert_eq!(old.address, address);
    assert_eq!(old.get("/healthz").status(), 200);
    old.signal(Signal::SIGTERM);
    assert!(old.wait_exit().success());
    // There is no server, and still nobody is refused.
    let mut waiting = Client::send(address, HEALTH);
    let new = scripted(ACTIVATED, "", socket(), &[]);
    assert_eq!(new.address, address);
    assert_eq!(waiting.status(), 200);
}

#[test]
fn a_socket_that_does_not_listen_is_told_at_the_start() {
    let (one, _other) = UnixDatagram::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", ACTIVATED, "sh", env!("CARGO_BIN_EXE_tokenrill")])
        .current_dir(folder.path())
        .stdin(Stdio::from(OwnedFd::from(one)))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("tokenrill: can't use the socket of the service manager: "),
        "{said}"
    );
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let heard = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut server = Server::with("", &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(heard().trim(), "READY=1");
    assert_eq!(server.get("/healthz").status(), 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(heard().trim(), "STOPPING=1");
    assert!(server.wait_exit().success());
}

#[test]
fn a_successor_shares_the_address_and_who_has_just_connected_is_served() {
    let config = "reuse_port = true";
    let mut old = Server::with(config, &[]);
    let script = format!("exec \"$1\" --config c.toml --listen {}", old.address);
    let new = scripted(&script, config, Stdio::null(), &[]);
    assert_eq!(new.address, old.address);
    // They are with either of the two.
    let mut connected: Vec<_> = (0..20).map(|_| Client::connect(old.address)).collect();
    old.signal(Signal::SIGTERM);
    old.logged("shutting down", 1);
    // They have a second for their requests, and all ask at once.
    for client in &mut connected {
        client.stream.write_all(HEALTH).unwrap();
    }
    for client in &mut connected {
        assert_eq!(client.status(), 200);
    }
    assert!(old.wait_exit().success());
    assert_eq!(new.get("/healthz").status(), 200);
}

#[test]
fn without_that_key_an_address_belongs_to_one() {
    let server = Server::mock();
    let output = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["--listen", &server.address.to_string()])
        .current_dir(server.folder.path())
        .env("TOKENRILL_REUSE_PORT", "true")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
