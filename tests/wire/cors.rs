//! Web pages of other origins: those that may, read everything; others nothing; and no answer
//! differs otherwise.

use serde_json::json;

use crate::support::*;

const APP: &str = "https://app.example";

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Client {
    Client::send(
        server.address,
        format!("{method} {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes(),
    )
}

fn preflight(server: &Server, origin: &str, path: &str, method: &str) -> Client {
    let headers = format!(
        "origin: {origin}\r\naccess-control-request-method: {method}\r\n\
         access-control-request-headers: authorization,content-type,x-linger,x-stainless-os\r\n"
    );
    ask(server, "OPTIONS", path, &headers)
}

fn allowed(client: &mut Client) -> (Option<String>, Option<String>) {
    (
        client.header("access-control-allow-origin"),
        client.header("access-control-allow-credentials"),
    )
}

fn exposed(client: &mut Client) -> Vec<String> {
    let names = client
        .header("access-control-expose-headers")
        .expect("exposed headers");
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn without_origins_nothing_is_said() {
    let server = Server::mock();
    for mut client in [
        ask(
            &server,
            "GET",
            "/healthz",
            "origin: https://app.example\r\n",
        ),
        preflight(&server, APP, "/stream", "POST"),
    ] {
        assert!(
            !client
                .head()
                .to_ascii_lowercase()
                .contains("access-control-allow"),
            "{}",
            client.text()
        );
        assert!(client.header("vary").is_none());
    }
}

#[test]
fn a_listed_origin_reads_streams_and_errors() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.send(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nopenai-processing-ms: 5\r\n\
                 connection: close\r\n\r\n{STOP}{DONE}"
            )
            .as_bytes(),
        );
    });
    let server = Server::before_with(
        &upstream,
        &format!("max_body = \"4MiB\"\n[cors]\norigins = [\"http://localhost:3000\", \"{APP}\"]"),
        "",
    );
    let origin = format!("origin: {APP}\r\n");
    let yes = (Some(APP.to_owned()), Some("true".to_owned()));
    let mut stream = server.post(
        "/v1/chat/completions",
        &origin,
        &chat_body(json!({})).to_string(),
    );
    assert_eq!((stream.status(), allowed(&mut stream)), (200, yes.clone()));
    assert_eq!(stream.header("vary").as_deref(), Some("origin"));
    let names = exposed(&mut stream);
    for name in [
        "x-request-id",
        "x-stream-id",
        "stream-next-offset",
        "retry-after",
        "openai-processing-ms",
    ] {
        assert!(
            names.iter().any(|exposed| exposed == name),
            "{name} is not among {names:?}"
        );
    }
    assert!(stream.body().ends_with(DONE));
    for (mut client, status) in [
        (ask(&server, "GET", "/nowhere", &origin), 404),
        (ask(&server, "DELETE", "/stream", &origin), 405),
        (
            server.post(
                "/stream",
                &format!("content-type: image/png\r\n{origin}"),
                "x",
            ),
            415,
        ),
        (server.post("/stream", &origin, &"x".repeat(5 << 20)), 413),
        // No preflight: its route's own.
        (ask(&server, "OPTIONS", "/stream", &origin), 405),
    ] {
        assert_eq!(
            (client.status(), allowed(&mut client)),
            (status, yes.clone())
        );
        assert!(client.header("x-request-id").is_some());
        assert!(client.json()["error"]["message"].is_string());
    }
}

#[test]
fn a_preflight_is_answered_for_every_path() {
    let server = Server::with(&format!("[cors]\norigins = [\"{APP}\"]"), &[]);
    for path in [
        "/stream",
        "/v1/chat/completions",
        "/v1/stream/stm_1",
        "/nowhere",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let mut client = preflight(&server, APP, path, method);
            assert_eq!(
                (
                    client.status(),
                    client.header("access-control-allow-origin").as_deref()
                ),
                (204, Some(APP))
            );
            assert!(
                client
                    .header("access-control-allow-methods")
                    .unwrap()
                    .contains(method)
            );
            let names = client.header("access-control-allow-headers").unwrap();
            assert_eq!(names, "authorization,content-type,x-linger,x-stainless-os");
            assert_eq!(
                client.header("access-control-max-age").as_deref(),
                Some("7200")
            );
        }
    }
}

#[test]
fn other_origins_get_nothing() {
    let server = Server::with(&format!("[cors]\norigins = [\"{APP}\"]"), &[]);
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil",
        "http://app.example",
        "https://APP.example",
    ] {
        let mut asked = ask(&server, "GET", "/healthz", &format!("origin: {origin}\r\n"));
        let mut preflight = preflight(&server, origin, "/stream", "POST");
        for client in [&mut asked, &mut preflight] {
            assert!(
                !client
                    .head()
                    .to_ascii_lowercase()
                    .contains("access-control-allow"),
                "{}",
                client.text()
            );
            assert!(client.head().to_ascii_lowercase().contains("vary: origin"));
        }
    }
    // Nor does an answer to nobody's page differ, but that a cache is told.
    let mut client = server.get("/healthz");
    assert!(client.header("access-control-allow-origin").is_none());
    assert_eq!(client.header("vary").as_deref(), Some("origin"));
}

#[test]
fn every_origin_is_never_with_credentials() {
    let server = Server::with("[cors]\norigins = [\"*\"]", &[]);
    for origin in [APP, "null"] {
        for mut client in [
            ask(&server, "GET", "/healthz", &format!("origin: {origin}\r\n")),
            preflight(&server, origin, "/stream", "POST"),
        ] {
            assert_eq!(allowed(&mut client), (Some("*".to_owned()), None));
        }
    }
}

#[test]
fn pages_of_other_origins_may_not_ask_and_no_model_runs_for_them() {
    let server = Server::with("default_model = \"mock-echo\"\n", &[]);
    let ask = |head: &str| Client::send(server.address, format!("{head}\r\n").as_bytes());
    for refused in [
        // An image, a form, and a page whose name was made to point here.
        "GET /stream?prompt=spend HTTP/1.1\r\nhost: 127.0.0.1\r\nsec-fetch-site: cross-site\r\n",
        "GET /stream?prompt=spend HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: https://evil.example\r\n",
        "GET /stream?prompt=spend HTTP/1.1\r\nhost: evil.example:8080\r\nsec-fetch-site: same-origin\r\n",
        "GET /v1/models HTTP/1.1\r\nhost: localhost\r\norigin: null\r\n",
        "GET /v1/stream/a HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-site\r\n",
    ] {
        let mut client = ask(refused);
        assert_eq!(client.status(), 403, "{refused}");
        assert_eq!(client.json()["error"]["code"], "forbidden");
    }
    for served in [
        "GET /stream?prompt=fine HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        "GET /stream?prompt=fine HTTP/1.1\r\nhost: LOCALHOST:80\r\norigin: http://localhost:80\r\n",
        "GET /stream?prompt=fine HTTP/1.1\r\nhost: tokenrill\r\nsec-fetch-site: none\r\n",
        "GET /healthz HTTP/1.1\r\nhost: evil.example\r\nsec-fetch-site: cross-site\r\n",
    ] {
        assert_eq!(ask(served).status(), 200, "{served}");
    }
}

#[test]
fn the_names_of_a_server_are_configured() {
    let server = Server::with("hosts = [\"api.example\"]\n", &[]);
    let ask = |host: &str| {
        let head = format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Client::send(server.address, head.as_bytes()).status()
    };
    assert_eq!(ask("API.example:443"), 200);
    assert_eq!(ask("127.0.0.1"), 200);
    assert_eq!(ask("www.api.example"), 403);
}
