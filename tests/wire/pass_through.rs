//! Requests that are passed on as they are, Azure's paths, and the models that a provider lists.

use serde_json::{Value, json};

use crate::support::*;

/// An upstream that gives every request this answer in JSON.
fn answering(body: &str) -> Upstream {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: up-1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Upstream::start(move |c| {
        while c.request().is_some() {
            c.send(answer.as_bytes());
        }
    })
}

fn before(upstream: &Upstream, dialect: &str, base: &str) -> Server {
    let address = upstream.address;
    let config = format!(
        "[providers.up]\ndialect = \"{dialect}\"\nbase_url = \"http://{address}{base}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n"
    );
    Server::with(&config, &[("UP_KEY", UP_KEY)])
}

fn line(seen: &Seen) -> String {
    seen.head.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_body_is_passed_on_but_for_the_models_name() {
    let answer = r#"{"data": [ {"embedding":[0.1 ,2e0]} ],"own":1}"#;
    let upstream = answering(answer);
    let server = Server::before(&upstream);
    let body = r#"{ "input":"canary-prompt", "model" : "m","own": [1.0] }"#;
    let headers = "authorization: Bearer of-the-client\r\nx-client-request-id: c1\r\n";
    let mut client = server.post("/v1/embeddings?dims=3&api-version=9", headers, body);
    assert_eq!(client.status(), 200);
    assert_eq!(client.body(), answer);
    assert_eq!(
        client.header("content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(
        client.header("x-upstream-request-id").as_deref(),
        Some("up-1")
    );
    let seen = upstream.requests().remove(0);
    assert_eq!(line(&seen), "POST /v1/embeddings?dims=3 HTTP/1.1");
    let sent = String::from_utf8(seen.body.clone()).unwrap();
    assert_eq!(sent, body.replace("\"m\"", "\"real\""));
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {UP_KEY}"))
    );
    assert_eq!(seen.header("x-client-request-id").as_deref(), Some("c1"));
    let logged = server.logged("generation", 1);
    assert_eq!(logged["route"], "/v1/embeddings");
    assert_eq!(logged["upstream_model"], "real");
    assert_eq!(logged["ended"], "complete");
}

#[test]
fn a_form_is_passed_on_but_for_the_models_name() {
    let upstream = answering(r#"{"text":"hi"}"#);
    let server = Server::before(&upstream);
    let form = |model: &str| {
        format!(
            "--bound\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\u{1}\u{2}\r\n\
             --bound\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--bound--\r\n"
        )
    };
    let kind = "content-type: multipart/form-data; boundary=bound\r\n";
    let mut client = server.post("/v1/audio/transcriptions", kind, &form("m"));
    assert_eq!(client.status(), 200);
    let seen = upstream.requests().remove(0);
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), form("real"));
    assert_eq!(
        seen.header("content-type").as_deref(),
        Some("multipart/form-data; boundary=bound")
    );
}

#[test]
fn a_stream_is_passed_on_as_it_comes_and_breaks_as_it_broke() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(b"data: one\n\n");
        // Until the client has what came.
        c.request();
        c.chunk(b"data: two\n\n");
        c.reset();
    });
    let server = Server::before(&upstream);
    let mut client = server.post("/v1/completions", "", r#"{"model":"m","stream":true}"#);
    client.wait_for("data: one\n\n");
    assert_eq!(client.header("x-accel-buffering").as_deref(), Some("no"));
    drop(client);
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "client_left");

    let broken = Upstream::start(|c| {
        c.request();
        c.stream_head();
        c.chunk(b"data: one\n\n");
    });
    let server = Server::before(&broken);
    let mut client = server.post("/v1/completions", "", r#"{"model":"m","stream":true}"#);
    client.wait_end();
    assert!(client.text().contains("data: one\n\n"));
    assert!(!client.text().ends_with("0\r\n\r\n"), "no clean end");
    assert_eq!(server.ended(), "upstream_reset");
}

#[test]
fn a_refusal_keeps_its_status_and_words() {
    let body = r#"{"error":{"message":"slow down","type":"rate_limit","code":null}}"#;
    let upstream = Upstream::raw(format!(
        "HTTP/1.1 429 No\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let server = Server::before(&upstream);
    let mut client = server.post("/v1/moderations", "", r#"{"model":"m"}"#);
    assert_eq!(client.status(), 429);
    assert_eq!(client.header("retry-after").as_deref(), Some("7"));
    assert_eq!(client.json()["error"]["message"], "slow down");
}

#[test]
fn a_provider_of_another_dialect_is_named() {
    let upstream = answering("{}");
    let server = before(&upstream, "anthropic", "");
    for body in [r#"{"model":"m"}"#, "{}"] {
        let mut client = server.post("/v1/embeddings", "", body);
        assert_eq!(client.status(), 404);
        let message = client.json()["error"]["message"].to_string();
        assert!(
            message.contains("needs a provider of dialect openai-chat"),
            "{message}"
        );
    }
    assert!(upstream.requests().is_empty());
    let mock = Server::mock();
    assert_eq!(mock.post("/v1/embeddings", "", "{}").status(), 404);
    let mut compact = mock.post("/v1/responses/compact", "", r#"{"model":"mock"}"#);
    assert_eq!(compact.status(), 404);
}

#[test]
fn batches_and_files_go_to_anthropic() {
    let upstream = answering(r#"{"id":"b1"}"#);
    let server = before(&upstream, "anthropic", "");
    let get = |path: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: t\r\nanthropic-version: 2023-06-01\r\n\r\n");
        Client::send(server.address, head.as_bytes())
    };
    for path in ["/v1/messages/batches/b1", "/v1/files?limit=2"] {
        assert_eq!(get(path).json()["id"], "b1");
    }
    let seen = upstream.requests();
    assert_eq!(line(&seen[0]), "GET /v1/messages/batches/b1 HTTP/1.1");
    assert_eq!(line(&seen[1]), "GET /v1/files?limit=2 HTTP/1.1");
    assert_eq!(seen[1].header("x-api-key").as_deref(), Some(UP_KEY));
    assert_eq!(get("/v1/messages/batches/../models").status(), 404);
}

#[test]
fn only_listed_paths_are_passed_on() {
    let upstream = answering("{}");
    let server = Server::before_with(&upstream, "pass_through = [\"/v1/own/*\"]", "");
    assert_eq!(
        server.post("/v1/own/a/b", "", r#"{"model":"m"}"#).status(),
        200
    );
    for path in [
        "/v1/embeddings",
        "/v1/responses/compact",
        "/v1/own/%2e%2e/x",
    ] {
        assert_eq!(
            server.post(path, "", r#"{"model":"m"}"#).status(),
            404,
            "{path}"
        );
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn azures_paths_stand_for_openais() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("hi")));
    let server = Server::before(&upstream);
    let ask = |path: &str, body: Value| {
        server.post(path, "api-key: of-the-client\r\n", &body.to_string())
    };
    let messages = json!([{ "role": "user", "content": "x" }]);
    let deployed = "/openai/deployments/m/chat/completions?api-version=2024-10-21";
    for (path, body) in [
        (deployed, json!({ "messages": messages, "stream": true })),
        (
            deployed,
            json!({ "model": "other", "messages": messages, "stream": true }),
        ),
        (
            "/openai/v1/chat/completions",
            json!({ "model": "m", "messages": messages, "stream": true }),
        ),
    ] {
        let mut client = ask(path, body);
        assert_eq!(client.status(), 200, "{path}");
        assert!(client.body().ends_with(DONE));
    }
    for seen in upstream.requests() {
        assert_eq!(line(&seen), "POST /v1/chat/completions HTTP/1.1");
        assert_eq!(seen.json()["model"], "real");
        assert_eq!(seen.header("api-key"), None);
    }
    let mut wrong = ask(deployed, json!("x"));
    assert_eq!(wrong.status(), 400);
    assert_eq!(server.get("/openai/v1/models").status(), 200);
}

#[test]
fn a_deployment_is_the_model_of_what_is_passed_on() {
    let upstream = answering(r#"{"data":[]}"#);
    let server = Server::before(&upstream);
    let path = "/openai/deployments/m/embeddings?api-version=2024-10-21";
    assert_eq!(server.post(path, "", r#"{"model":"x"}"#).status(), 200);
    let seen = upstream.requests().remove(0);
    assert_eq!(line(&seen), "POST /v1/embeddings HTTP/1.1");
    assert_eq!(seen.json()["model"], "real");
}

#[test]
fn the_models_behind_any_name_are_those_that_the_provider_lists() {
    let upstream =
        answering(r#"{"object":"list","data":[{"id":"a/b"},{"id":"m"},{"id":"c"},{"other":1}]}"#);
    let server = Server::before(&upstream);
    for _ in 0..3 {
        let list = server.get("/v1/models").json();
        let ids: Vec<&str> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|model| model["id"].as_str())
            .collect();
        assert_eq!(ids, ["m", "a/b", "c"]);
    }
    assert_eq!(server.get("/v1/models/a/b").json()["owned_by"], "up");
    let gemini = server.get("/v1beta/models").json();
    assert_eq!(gemini["models"][1]["name"], "models/a/b");
    assert_eq!(server.get("/v1beta/models/c").json()["name"], "models/c");
    let mut unknown = server.get("/v1beta/models/zz");
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json()["error"]["status"], "NOT_FOUND");
    let questions = upstream.requests();
    assert!(
        questions.len() <= 4,
        "a question per worker, not per request"
    );
    assert_eq!(line(&questions[0]), "GET /v1/models HTTP/1.1");
}

#[test]
fn a_provider_that_lists_nothing_hides_no_model() {
    let upstream = Upstream::raw("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let server = Server::before(&upstream);
    let list = server.get("/v1/models").json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/models/any").status(), 200);
}
