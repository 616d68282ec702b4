//! Names of upstreams: looked up without threads, at name servers that answer, that don't, and that
//! answer by half; and names of several addresses.
//!
//! Each test runs itself again in a network and mount namespace of its own, whose `/etc/resolv.conf`
//! and `/etc/hosts` are the test's. Where that is not allowed it says so and is skipped.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::*;

/// The variable that tells a test that it runs in its namespace.
const INSIDE: &str = "WIRE_TEST_IN_NAMESPACE";
const NAME_SERVER: &str = "127.0.0.9";

/// Runs the test of that name again in a namespace with these files. Returns true there.
#[expect(clippy::print_stderr, reason = "says that it is skipped")]
fn in_namespace(test: &str, resolv_conf: &str, hosts: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    std::fs::write(folder.path().join("resolv.conf"), resolv_conf).expect("written");
    std::fs::write(folder.path().join("hosts"), hosts).expect("written");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rnm", "sh", "-ec", script]);
        command
    };
    let prepare = format!(
        "ip link set lo up; mount --bind {at}/resolv.conf /etc/resolv.conf; \
         mount --bind {at}/hosts /etc/hosts"
    );
    if !unshare(&prepare)
        .output()
        .is_ok_and(|tried| tried.status.success())
    {
        eprintln!("skipped: no namespaces of the network and of mounts here");
        return false;
    }
    let binary = std::env::current_exe().expect("the test's binary");
    let script = format!(
        "{prepare}; exec {} --exact names::{test} --nocapture",
        binary.display()
    );
    let ran = unshare(&script).env(INSIDE, "1").output().expect("it runs");
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    false
}

/// A name server that knows one name, by its IPv4 address alone, and is silent about all others and
/// about IPv6. Returns the questions that it got.
fn name_server(known: &'static str) -> Arc<Mutex<Vec<String>>> {
    let socket = UdpSocket::bind((NAME_SERVER, 53)).expect("the port of name servers");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let questions = asked.clone();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let (name, end) = question(&packet[..length]);
            let kind = packet[end + 1];
            questions
                .lock()
                .expect("questions")
                .push(format!("{name} {kind}"));
            if !name.eq_ignore_ascii_case(known) || kind != 1 {
                continue;
            }
            let mut answer = packet[..end + 4].to_vec();
            // An answer, one question, one record, nothing else.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            let _ = socket.send_to(&answer, client);
        }
    });
    asked
}

/// The name that a packet asks for, and where it ends.
fn question(packet: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while packet[at] > 0 {
        let end = at + 1 + usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(&packet[at + 1..end]).into_owned());
        at = end;
    }
    (labels.join("."), at + 1)
}

fn providers(urls: &[(&str, String)]) -> String {
    let section = |(name, url): &(&str, String)| {
        format!(
            "[providers.{name}]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n\
             [[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"{name}\" }}]\n"
        )
    };
    urls.iter().map(section).collect()
}

fn chat(server: &Server, model: &str) -> Client {
    server.chat(json!({ "model": model }))
}

#[test]
fn a_silent_name_server_holds_no_threads_and_no_other_provider() {
    let resolv_conf = format!("nameserver {NAME_SERVER}\n");
    if !in_namespace(
        "a_silent_name_server_holds_no_threads_and_no_other_provider",
        &resolv_conf,
        "",
    ) {
        return;
    }
    let asked = name_server("known.test");
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let config = providers(&[
        ("slow", "http://silent.test:1/v1".to_owned()),
        ("slow2", "http://silent.test:1/v1".to_owned()),
        ("well", upstream.base_url()),
    ])
    .replace("[providers.slow2]", "[providers.slow2]\nhttp2 = true");
    let server = Server::with(&format!("[timeouts]\nconnect = \"3s\"\n{config}"), &[]);
    let model = |n| if n % 4 == 0 { "slow2" } else { "slow" };
    let mut slow: Vec<_> = (0..600).map(|n| chat(&server, model(n))).collect();
    until("the name is asked for", || {
        (!asked.lock().unwrap().is_empty()).then_some(())
    });
    assert!(chat(&server, "well").body().ends_with(DONE));
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let workers = std::thread::available_parallelism().unwrap().get();
    assert!(threads.count() <= workers + 8, "no thread waits for a name");
    for client in &mut slow {
        assert_eq!(client.status(), 504);
        assert_eq!(client.json()["error"]["code"], "connect_timeout");
    }
    // Asked again a few times within a lookup, and for two kinds of addresses.
    assert!(asked.lock().unwrap().len() < 100, "one lookup for all");
    let line = server.logged("generation", 2);
    assert!(
        line["error"].as_str().unwrap().contains("`silent.test`"),
        "{line}"
    );
}

#[test]
fn a_short_name_is_looked_up_in_the_search_domains_though_nothing_is_said_of_ipv6() {
    let resolv_conf = format!("search corp.test\nnameserver {NAME_SERVER}\n");
    if !in_namespace(
        "a_short_name_is_looked_up_in_the_search_domains_though_nothing_is_said_of_ipv6",
        &resolv_conf,
        "",
    ) {
        return;
    }
    let asked = name_server("up.corp.test");
    let upstream = Upstream::start(|c| {
        c.request();
        c.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n");
        c.send(format!("{STOP}{DONE}").as_bytes());
    });
    let port = upstream.address.port();
    let server = Server::with(&providers(&[("m", format!("http://up:{port}/v1"))]), &[]);
    for _ in 0..3 {
        let mut client = server.chat(json!({}));
        assert_eq!(client.status(), 200, "{}", client.text());
    }
    let asked = asked.lock().unwrap();
    let of_ipv4 = asked.iter().filter(|question| question.ends_with(" 1"));
    assert_eq!(of_ipv4.count(), 1, "the answer is kept: {asked:?}");
}

#[test]
fn a_dead_address_beside_a_living_one_fails_no_request() {
    let hosts = "127.0.0.3 one.test\n127.0.0.1 one.test\n127.0.0.1 two.test\n127.0.0.3 two.test\n";
    if !in_namespace(
        "a_dead_address_beside_a_living_one_fails_no_request",
        "nameserver 127.0.0.9\n",
        hosts,
    ) {
        return;
    }
    let upstream = Upstream::streaming(format!("{STOP}{DONE}"));
    let port = upstream.address.port();
    let (_, _full) = unanswering_at(SocketAddr::from(([127, 0, 0, 3], port)));
    let url = |name: &str| format!("http://{name}.test:{port}/v1");
    let config = providers(&[("one", url("one")), ("two", url("two"))]);
    let server = Server::with(&format!("[timeouts]\nconnect = \"2s\"\n{config}"), &[]);
    for model in ["one", "two"] {
        assert!(chat(&server, model).body().ends_with(DONE), "{model}");
    }
    // Alone it is told as what it is.
    let dead = format!("http://127.0.0.3:{port}/v1");
    let config = providers(&[("m", dead)]);
    let server = Server::with(&format!("[timeouts]\nconnect = \"500ms\"\n{config}"), &[]);
    assert_eq!(server.chat(json!({})).status(), 504);
    let line = server.logged("generation", 1);
    let told = format!("127.0.0.3:{port} did not answer");
    assert!(line["error"].as_str().unwrap().contains(&told), "{line}");
}
