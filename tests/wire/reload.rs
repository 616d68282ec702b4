//! Another configuration for a server that runs: taken whole or not at all, and no stream notices.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::h2_client::{run, tls};
use crate::support::*;

const RELOADED: &str = "configuration reloaded";
const REFUSED: &str = "configuration not reloaded: it stays as it was";

/// Writes a file as careful people do: whole, under another name first.
fn write(server: &Server, name: &str, text: &str) {
    let (new, file) = (server.path("new"), server.path(name));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn provider(upstream: &Upstream, models: &[&str]) -> String {
    let url = upstream.base_url();
    let model = |name: &&str| {
        format!("[[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"up\" }}]\n")
    };
    let models: String = models.iter().map(model).collect();
    format!("[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n{models}")
}

/// An upstream that says a token, and the rest once the gate opens.
fn gated() -> (Upstream, std::sync::mpsc::SyncSender<()>) {
    let (open, gate) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::start(move |c| {
        while c.request().is_some() {
            c.stream_head();
            c.say("first");
            let _ = gate.lock().unwrap().recv();
            c.chunk(format!("{}{STOP}{DONE}", says("last")).as_bytes());
            c.end();
        }
    });
    (upstream, open)
}

fn reload(server: &Server) -> Client {
    server.post("/admin/v1/reload", "", "")
}

#[test]
fn a_changed_file_is_in_force_for_the_next_request_and_running_streams_go_on() {
    let (upstream, open) = gated();
    let server = Server::with(&provider(&upstream, &["before"]), &[]);
    let mut kept = Client::connect(server.address);
    let ask = |client: &mut Client, model: &str| {
        let body = chat_body(json!({ "model": model })).to_string();
        let request = post("/v1/chat/completions", "", body.as_bytes());
        client.received.clear();
        std::io::Write::write_all(&mut client.stream, &request).unwrap();
        client.status()
    };
    assert_eq!(ask(&mut kept, "after"), 404);
    kept.body();
    let mut running = server.chat(json!({ "model": "before" }));
    running.wait_for("first");
    write(&server, "c.toml", &provider(&upstream, &["after"]));
    let line = server.logged(RELOADED, 1);
    assert!(
        line["changed"].as_str().unwrap().contains("models"),
        "{line}"
    );
    // On the connection that was there, too.
    let status = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&mut kept, "after"));
        upstream.wait_requests(2);
        open.send(()).unwrap();
        open.send(()).unwrap();
        asked.join().unwrap()
    });
    assert_eq!(status, 200);
    assert!(running.body().ends_with(DONE));
    assert_eq!(server.chat(json!({ "model": "before" })).status(), 404);
}

#[test]
fn a_wrong_file_changes_nothing_and_is_said_where_and_why() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("x")));
    let server = Server::with(&provider(&upstream, &["m"]), &[]);
    write(&server, "c.toml", "[timeouts]\ntotla = \"1s\"\n");
    server.signal(Signal::SIGHUP);
    let error = server.logged(REFUSED, 1)["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("c.toml:2") && error.contains("did you mean"),
        "{error}"
    );
    let mut refused = reload(&server);
    assert_eq!(refused.status(), 400);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("timeouts.totla"), "{message}");
    assert!(server.chat(json!({ "model": "m" })).body().ends_with(DONE));
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_waits_for_it() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("x")));
    let server = Server::with(&provider(&upstream, &["m"]), &[]);
    let changed = format!(
        "workers = 3\ndrain = \"7s\"\n{}",
        provider(&upstream, &["other"])
    );
    write(&server, "c.toml", &changed);
    let mut refused = reload(&server);
    assert_eq!(refused.status(), 409);
    let message = refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(message, "a restart is needed for drain, workers");
    assert_eq!(server.chat(json!({ "model": "other" })).status(), 404);
    write(&server, "c.toml", &provider(&upstream, &["m", "other"]));
    let mut done = reload(&server);
    assert_eq!(done.status(), 200);
    let changed = done.json()["changed"].clone();
    assert!(
        changed
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key == "models"),
        "{changed}"
    );
    assert!(
        server
            .chat(json!({ "model": "other" }))
            .body()
            .ends_with(DONE)
    );
}

#[test]
fn another_secret_behind_a_link_is_sent_with_the_next_request() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("x")));
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, key: &str| {
        let version = folder.path().join(name);
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("key"), key).unwrap();
    };
    version("v1", "upstream-key-one");
    version("v2", "upstream-key-two");
    // As Kubernetes mounts secrets.
    symlink("v1", folder.path().join("data")).unwrap();
    let file = folder.path().join("data/key");
    let config = provider(&upstream, &["m"]).replace(
        "[[models]]",
        &format!("api_key_file = \"{}\"\n[[models]]", file.display()),
    );
    let server = Server::with(&config, &[]);
    let ask = || assert!(server.chat(json!({ "model": "m" })).body().ends_with(DONE));
    ask();
    symlink("v2", folder.path().join("next")).unwrap();
    std::fs::rename(folder.path().join("next"), folder.path().join("data")).unwrap();
    let line = server.logged(RELOADED, 1);
    assert_eq!(line["changed"], "providers.up.api_key_file");
    ask();
    let sent: Vec<Option<String>> = upstream
        .requests()
        .iter()
        .map(|seen| seen.header("authorization"))
        .collect();
    let bearer = |key: &str| Some(format!("Bearer upstream-key-{key}"));
    assert_eq!(sent, [bearer("one"), bearer("two")]);
    assert!(!server.log().contains("upstream-key-"));
}

#[test]
fn a_provider_with_a_key_is_not_taken_where_everybody_could_spend_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "listen = \"0.0.0.0:0\"\n").unwrap();
    // On an address that others reach, which no other test's server does.
    let mut child = Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["--config", "c.toml"])
        .current_dir(folder.path())
        .envs([("UP_KEY", UP_KEY), ("TOKENRILL_LOG_FORMAT", "json")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(greeting.next().unwrap().unwrap().contains("listens on"));
    let provider = "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://127.0.0.1:1\"\n\
                    api_key_env = \"UP_KEY\"\n[[models]]\nname = \"m\"\ntargets = [{ provider = \"up\" }]\n";
    std::fs::write(&file, format!("listen = \"0.0.0.0:0\"\n{provider}")).unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = log.find_map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        (line["message"] == REFUSED).then(|| line["error"].to_string())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let error = told.take().unwrap();
    assert!(error.contains("auth.open"), "{error}");
}

#[test]
fn twenty_reloads_cut_no_stream_and_change_no_byte() {
    let server = Server::with("[mock]\ntokens_per_second = 100\n", &[]);
    let ask = || server.get("/stream?prompt=hi&model=mock-think&heartbeat=off");
    let whole = ask().body();
    assert!(whole.ends_with("data: [DONE]\n\n"));
    let mut streams: Vec<Client> = (0..50).map(|_| ask()).collect();
    for stream in &mut streams {
        stream.wait_for("data: ");
    }
    for number in 0..20 {
        let text = format!("[mock]\ntokens_per_second = {}\n", 101 + number);
        write(&server, "c.toml", &text);
        assert_eq!(reload(&server).status(), 200);
    }
    for stream in &mut streams {
        assert_eq!(stream.body(), whole);
    }
}

#[test]
fn another_certificate_is_shown_to_the_next_connection() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |folder: &std::path::Path| {
        let made = rcgen::generate_simple_self_signed(vec!["rill.test".to_owned()]).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        made.cert.der().clone()
    };
    let before = certificate(folder.path());
    let config = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let path = folder.path().to_owned();
    let server = Server::in_folder(folder, &[]);
    run(async {
        let shown = |stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
            stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
        };
        let kept = tls(server.address, &before, &["http/1.1"]).await;
        assert_eq!(shown(&kept), before.to_vec());
        let after = certificate(&path);
        server.signal(Signal::SIGHUP);
        server.logged(RELOADED, 1);
        let stream = tls(server.address, &after, &["http/1.1"]).await;
        assert_eq!(shown(&stream), after.to_vec());
        // A key that belongs to another one is refused, and nothing changes.
        std::fs::write(path.join("key.pem"), "no key").unwrap();
        server.signal(Signal::SIGHUP);
        let error: Value = server.logged(REFUSED, 1)["error"].clone();
        assert!(error.as_str().unwrap().contains("tls.key"), "{error}");
        let stream = tls(server.address, &after, &["http/1.1"]).await;
        assert_eq!(shown(&stream), after.to_vec());
    });
}
