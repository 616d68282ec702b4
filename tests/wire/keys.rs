//! Keys of clients: who may ask, what they may ask for, and how they are told that they may not.

use serde_json::{Value, json};

use crate::keys_support::*;
use crate::support::*;

/// An endpoint of each API, and a request for the model `mock-echo` there.
fn requests() -> Vec<(&'static str, String)> {
    let hi = json!([{ "role": "user", "content": "hi" }]);
    vec![
        (
            "/v1/chat/completions",
            json!({ "model": "mock-echo", "messages": hi }).to_string(),
        ),
        (
            "/v1/responses",
            json!({ "model": "mock-echo", "input": "hi" }).to_string(),
        ),
        (
            "/v1/messages",
            json!({ "model": "mock-echo", "max_tokens": 9, "messages": hi }).to_string(),
        ),
        (
            "/v1beta/models/mock-echo:generateContent",
            json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }).to_string(),
        ),
        (
            "/stream",
            json!({ "model": "mock-echo", "prompt": "hi" }).to_string(),
        ),
    ]
}

/// The content of an error in the words of its API: the kind, and the code where there is one.
fn words(path: &str, error: &Value) -> (String, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = &error["error"];
    let kind = match path.starts_with("/v1beta") {
        true => text(&error["status"]),
        false => text(&error["type"]),
    };
    (kind.unwrap_or_default(), text(&error["code"]))
}

#[test]
fn every_path_but_two_wants_a_key() {
    let keyed = Keyed::mock("");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).status(), 200, "{path}");
    }
    // The server's own list of its paths.
    let unknown = get(&server, "/nowhere", &bearer(&key)).json();
    let message = unknown["error"]["message"].as_str().unwrap().to_owned();
    let listed = message.split("there are ").nth(1).unwrap();
    let paths: Vec<&str> = listed.split(", ").collect();
    assert!(paths.len() > 20, "{message}");
    let others = [
        "/nowhere",
        "/v1/embeddings",
        "/healthz/",
        "//healthz",
        "/HEALTHZ",
    ];
    for path in paths.iter().chain(&others) {
        if ["/healthz", "/readyz"].contains(path) {
            continue;
        }
        let path = path
            .replace("{*id}", "x")
            .replace("{id}", "x")
            .replace("{name}", "x");
        for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
            let head = format!("{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n");
            let mut answer = Client::send(server.address, head.as_bytes());
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
    }
}

#[test]
fn each_api_is_told_in_its_own_words() {
    let keyed = Keyed::mock("");
    let good = keyed.key("ci", &[]);
    let over = keyed.key("old", &["--expires", "2020-01-01T00:00:00Z"]);
    let gone = keyed.key("gone", &[]);
    let narrow = keyed.key("narrow", &["--models", "gpt-*,mock-fast"]);
    assert!(
        keys(keyed.folder.path(), &["revoke", id(&gone)])
            .status
            .success()
    );
    let server = keyed.start();
    let mistyped = format!(
        "{}{}",
        &good[..65],
        if good.ends_with('x') { 'y' } else { 'x' }
    );
    for (key, status, code) in [
        (String::new(), 401, "invalid_api_key"),
        ("sk-1234".to_owned(), 401, "invalid_api_key"),
        (mistyped, 401, "invalid_api_key"),
        (over, 401, "key_expired"),
        (gone, 401, "key_revoked"),
        (narrow, 403, "model_not_allowed"),
    ] {
        for (path, body) in requests() {
            let header = if key.is_empty() {
                String::new()
            } else {
                bearer(&key)
            };
            let mut answer = server.post(path, &header, &body);
            assert_eq!(answer.status(), status, "{path} {code}");
            let error = answer.json();
            let (kind, of_openai) = match (path.starts_with("/v1beta"), status) {
                (true, 401) => ("UNAUTHENTICATED", None),
                (true, _) => ("PERMISSION_DENIED", None),
                (false, 401) if path == "/v1/messages" => ("authentication_error", None),
                (false, 401) => ("invalid_request_error", Some(code)),
                (false, _) if path == "/v1/messages" => ("permission_error", None),
                (false, _) => ("permission_error", Some(code)),
            };
            let (told_kind, told_code) = words(path, &error);
            assert_eq!(told_kind, kind, "{path} {error}");
            if let Some(code) = of_openai {
                assert_eq!(told_code.as_deref(), Some(code), "{path} {error}");
            }
        }
    }
    for (path, body) in requests() {
        assert_eq!(
            server.post(path, &bearer(&good), &body).status(),
            200,
            "{path}"
        );
    }
}

#[test]
fn a_key_comes_in_any_of_four_headers_and_goes_no_further() {
    let upstream = Upstream::streaming(format!("{}{STOP}{DONE}", says("hello")));
    let keyed = Keyed::before(&upstream, "[log]\nlevel = \"trace\"\n");
    let key = keyed.key("ci", &[]);
    let server = keyed.start();
    let body = chat_body(json!({})).to_string();
    let headers = [
        bearer(&key),
        format!("authorization: bearer {key}\r\n"),
        format!("x-api-key: {key}\r\n"),
        format!("x-goog-api-key: {key}\r\n"),
        format!("api-key: {key}\r\n"),
        format!("authorization: Bearer sk-placeholder\r\nx-api-key: {key}\r\n"),
    ];
    for header in &headers {
        let mut answer = server.post("/v1/chat/completions", header, &body);
        assert!(answer.body().contains("hello"), "{header}");
    }
    let gemini = json!({ "contents": [{ "parts": [{ "text": "hi" }] }] }).to_string();
    let path = format!("/v1beta/models/m:streamGenerateContent?alt=sse&key={key}");
    assert!(server.post(&path, "", &gemini).body().contains("hello"));
    // A request that is passed on as it is.
    server
        .post(
            "/v1/embeddings",
            &bearer(&key),
            r#"{"model":"m","input":"x"}"#,
        )
        .wait_for("\r\n\r\n");
    // In the query of another API it is none.
    let path = format!("/v1/models?key={key}");
    assert_eq!(server.get(&path).status(), 401);
    upstream.wait_requests(headers.len() + 2);
    for seen in upstream.requests() {
        assert!(!seen.head.contains("trk_"), "{}", seen.head);
        assert_eq!(
            seen.header("authorization"),
            Some(format!("Bearer {UP_KEY}"))
        );
    }
    server.logged("generation", headers.len() + 2);
    let log = server.log();
    assert!(log.contains("DEBUG") && !log.contains(&key), "{log}");
    assert!(!log.contains(&key[17..60]), "a part of the key is logged");
}

#[test]
fn lists_have_only_what_the_key_and_its_team_may_use() {
    let config = "[[teams]]\nname = \"search\"\nmodels = [\"mock-*\", \"other\"]\n";
    let keyed = Keyed::mock(config);
    let both = keyed.key("both", &["--team", "search", "--models", "mock-echo,gpt-5"]);
    let all = keyed.key("all", &[]);
    let server = keyed.start();
    let names = |key: &str, path: &str, list: &str, name: &str| -> Vec<String> {
        let models = get(&server, path, &bearer(key)).json();
        let models = models[list].as_array().unwrap().clone();
        models
            .iter()
            .map(|it| it[name].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&both, "/v1/models", "data", "id"), ["mock-echo"]);
    let of_gemini = names(&both, "/v1beta/models", "models", "baseModelId");
    assert_eq!(of_gemini, ["mock-echo"]);
    assert!(names(&all, "/v1/models", "data", "id").len() > 5);
    let status = |path: &str, key: &str| get(&server, path, &bearer(key)).status();
    assert_eq!(status("/v1/models/mock-echo", &both), 200);
    assert_eq!(status("/v1/models/mock-fast", &both), 403);
    assert_eq!(status("/v1/models/mock-fast", &all), 200);
    // Allowed to the key, and not to its team.
    let body = r#"{"model":"gpt-5","input":"x"}"#;
    let mut refused = server.post("/v1/responses", &bearer(&both), body);
    assert_eq!(refused.status(), 403);
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("gpt-5") && message.contains("mock-*"),
        "{message}"
    );
}

#[test]
fn what_is_passed_on_is_bound_to_the_models_too() {
    let upstream = Upstream::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    );
    let keyed = Keyed::before(&upstream, "");
    let narrow = keyed.key("narrow", &["--models", "m"]);
    let wide = keyed.key("wide", &[]);
    let server = keyed.start();
    let embed = |key: &str, body: &str| server.post("/v1/embeddings", &bearer(key), body).status();
    assert_eq!(embed(&narrow, r#"{"model":"other","input":"x"}"#), 403);
    assert_eq!(embed(&narrow, r#"{"input":"x"}"#), 403);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(embed(&narrow, r#"{"model":"m","input":"x"}"#), 200);
    assert_eq!(embed(&wide, r#"{"model":"other","input":"x"}"#), 200);
}

#[test]
fn a_key_sees_what_it_may_do() {
    let keyed = Keyed::mock("[[teams]]\nname = \"search\"\nlimits = { concurrent = 3 }\n");
    let more = [
        "--team",
        "search",
        "--models",
        "gpt-*",
        "--role",
        "viewer",
        "--expires",
    ];
    let key = keyed.key("ci", &[&more[..], &["2999-01-01T00:00:00Z"]].concat());
    let file = keyed.folder.path().join("keys.toml");
    let limits =
        "limits = { requests_per_minute = 60, budget = { usd = \"0.50\", per = \"day\" } }\n";
    let text = std::fs::read_to_string(&file).unwrap() + limits;
    std::fs::write(&file, text).unwrap();
    let server = keyed.start();
    let none = Value::Null;
    let mut told = get(&server, "/v1/key", &bearer(&key)).json();
    // What is left and what was used is beside it.
    let state = [
        "limit",
        "limit_remaining",
        "limit_reset",
        "usage",
        "usage_daily",
        "usage_weekly",
    ];
    for name in state
        .into_iter()
        .chain(["usage_monthly", "remaining", "used"])
    {
        let removed = told.as_object_mut().unwrap().remove(name);
        assert!(removed.is_some(), "{name}");
    }
    let team = told["team"].as_object_mut().unwrap().remove("remaining");
    assert_eq!(team.unwrap()["running"], 0);
    assert_eq!(
        told,
        json!({
            "object": "key", "id": id(&key), "name": "ci", "role": "viewer", "models": ["gpt-*"],
            "expires_at": "2999-01-01T00:00:00Z",
            "limits": { "requests_per_minute": 60, "tokens_per_minute": none, "concurrent": none,
                        "budget": { "usd": "0.5", "per": "day" } },
            "team": { "name": "search", "models": ["*"],
                      "limits": { "requests_per_minute": none, "tokens_per_minute": none,
                                  "concurrent": 3, "budget": none } },
        })
    );
}

#[test]
fn without_keys_all_is_as_before() {
    let server = Server::mock();
    assert_eq!(server.get("/v1/models").status(), 200);
    assert_eq!(server.get("/v1/key").status(), 404);
    let anyone = "authorization: Bearer whatever\r\n";
    let (path, body) = requests().swap_remove(0);
    assert_eq!(server.post(path, anyone, &body).status(), 200);
}
