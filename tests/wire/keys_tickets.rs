//! Tickets: addresses that a browser's `EventSource` can ask without a header.

use serde_json::{Value, json};

use crate::keys_support::*;
use crate::support::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TICKETS: &str = "[auth.tickets]\nsecret_file = \"tickets.secret\"\n";

fn keyed(upstream: &Upstream) -> Keyed {
    let keyed = Keyed::before(upstream, TICKETS);
    std::fs::write(keyed.folder.path().join("tickets.secret"), SECRET).unwrap();
    keyed
}

/// Asks for a ticket for a path.
fn ticket(server: &Server, key: &str, body: &Value) -> Client {
    server.post("/v1/tickets", &bearer(key), &body.to_string())
}

/// Returns the path of a ticket for a path.
fn path(server: &Server, key: &str, path: &str) -> String {
    let mut answer = ticket(server, key, &json!({ "path": path }));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    answer.json()["path"].as_str().unwrap().to_owned()
}

/// Reads as an `EventSource` does, perhaps after an event.
fn events_of(server: &Server, path: &str, last: Option<&str>) -> Client {
    let last = last.map_or(String::new(), |last| format!("last-event-id: {last}\r\n"));
    get(
        server,
        path,
        &format!("accept: text/event-stream\r\n{last}"),
    )
}

#[test]
fn an_event_source_starts_one_generation_and_reads_it_on() {
    let upstream = Upstream::start(|c| {
        if c.request().is_some() {
            c.stream_head();
            c.say("one");
            c.say("two");
            c.wait_closed();
        }
    });
    let keyed = keyed(&upstream);
    let key = keyed.key("page", &["--models", "m"]);
    let server = keyed.start();
    let path = path(
        &server,
        &key,
        "/stream?prompt=canary-prompt&model=m&linger=60s",
    );
    let mut first = events_of(&server, &path, None);
    first.wait_for("two");
    let stream = first.header("x-stream-id").unwrap();
    let text = first.text();
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    // It comes again: after an event, and before it had any.
    let mut second = events_of(&server, &path, Some(ids[0]));
    second.wait_for("two");
    assert!(!second.text().contains("data: one"), "{}", second.text());
    let mut third = events_of(&server, &path, None);
    third.wait_for("two");
    assert_eq!(third.header("x-stream-id").unwrap(), stream);
    assert_eq!(upstream.connections(), 1);
    // Another stream of the same key is none of its business.
    let mut other = server.post(
        "/stream?linger=60s",
        &bearer(&key),
        &json!({ "prompt": "canary-prompt", "model": "m" }).to_string(),
    );
    other.wait_for("one");
    let text = other.text();
    let of_other = text
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    assert_eq!(events_of(&server, &path, Some(of_other)).status(), 404);
    assert!(!server.log().contains("ticket="), "{}", server.log());
    // It ends with its key.
    assert!(
        keys(server.folder.path(), &["revoke", id(&key)])
            .status
            .success()
    );
    third.wait_for("key_revoked");
    assert_eq!(events_of(&server, &path, None).status(), 401);
}

#[test]
fn a_ticket_is_good_once_for_its_address_and_what_its_key_may_do() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("hello")));
    let keyed = keyed(&upstream);
    let key = keyed.key("page", &["--models", "m"]);
    let server = keyed.start();
    let good = path(&server, &key, "/stream?prompt=canary-prompt&model=m");
    for (from, to) in [
        ("/stream", "/prompts"),
        ("model=m", "model=n"),
        ("ticket=", "ticket=AA"),
    ] {
        assert_eq!(server.get(&good.replace(from, to)).status(), 401, "{from}");
    }
    assert_eq!(server.post(&good, "", "{}").status(), 401);
    assert!(server.get(&good).body().contains("hello"));
    let mut again = server.get(&good);
    assert_eq!(again.status(), 401);
    assert!(again.body().contains("has been used"));
    assert_eq!(
        server
            .get(&path(&server, &key, "/stream?prompt=x&model=other"))
            .status(),
        403
    );
    assert!(
        upstream
            .requests()
            .iter()
            .all(|seen| !seen.head.contains("ticket"))
    );
}

#[test]
fn a_wrong_request_for_a_ticket_is_told_what_would_be_right() {
    let upstream = Upstream::streaming(DONE);
    let keyed = keyed(&upstream);
    let key = keyed.key("page", &[]);
    let server = keyed.start();
    for (body, says) in [
        (json!({ "path": "stream" }), "`path` should be a path"),
        (
            json!({ "path": "/stream", "method": "POST" }),
            "`method` should be `GET`",
        ),
        (
            json!({ "path": "/stream", "ttl": "2m" }),
            "`ttl` should be from",
        ),
        (json!({ "pfad": "/stream" }), "unknown field `pfad`"),
    ] {
        let mut refused = ticket(&server, &key, &body);
        assert_eq!(refused.status(), 400, "{body}");
        let error = refused.body();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(server.post("/v1/tickets", "", "{}").status(), 401);
    let without = Keyed::mock("");
    let key = without.key("page", &[]);
    let server = without.start();
    assert_eq!(
        ticket(&server, &key, &json!({ "path": "/stream" })).status(),
        404
    );
}

#[test]
fn a_short_secret_is_refused_and_not_repeated() {
    let keyed = Keyed::mock(TICKETS);
    std::fs::write(keyed.folder.path().join("tickets.secret"), "short-secret").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["check", "--config", "c.toml"])
        .current_dir(keyed.folder.path())
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(
        says.contains("at least 32 characters") && !says.contains("short-secret"),
        "{says}"
    );
}
