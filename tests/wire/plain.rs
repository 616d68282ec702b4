//! Plain prompts and prompt templates, read back as a browser would.

use serde_json::json;

use crate::support::*;

/// What a client reads back: the text, and whether the end was told.
fn read_back(body: &str) -> (String, bool) {
    let mut text = String::new();
    for (name, data) in events(body) {
        assert_eq!(name, "");
        if data == "[DONE]" {
            return (text, true);
        }
        text.push_str(&data);
    }
    (text, false)
}

const HARD: &[&str] = &[
    "one\ntwo\n\nthree",
    "\n\nleading and trailing\n",
    "crlf\r\nand\rcr\r\n\r\n",
    "  leading  spaces  ",
    "🌊 你好 こんにちは é",
    "[DONE]",
    "data: [DONE]",
    "\n[DONE]\n",
    "data: [DONE]\n\ndata: more\nevent: error\nid: 5",
    ": comment\n:\n",
    "tab\tand nul-ish \u{1}",
];

#[test]
fn what_the_model_says_is_what_the_client_reads() {
    let server = Server::mock();
    for text in HARD {
        let body = json!({ "prompt": text, "model": "mock-echo" }).to_string();
        let (read, done) = read_back(&server.post("/stream", "", &body).body());
        assert_eq!(
            (read.as_str(), done),
            (
                text.replace("\r\n", "\n").replace('\r', "\n").as_str(),
                true
            ),
            "{text:?}"
        );
        // As JSON strings every line end keeps its spelling.
        let body = server.post("/stream?encoding=json", "", &body).body();
        let tokens = events(&body)
            .into_iter()
            .map(|(_, data)| data)
            .take_while(|data| data != "[DONE]");
        let exact: String = tokens
            .map(|token| serde_json::from_str::<String>(&token).unwrap())
            .collect();
        assert_eq!(exact, *text);
    }
}

#[test]
fn the_head_is_what_reverse_proxies_need() {
    let server = Server::mock();
    let mut client = server.get("/stream?prompt=Hello%20there&model=mock-echo");
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(client.header(name).as_deref(), Some(value));
    }
    assert!(client.header("content-encoding").is_none());
    assert_eq!(
        client.body(),
        "data: Hello\n\ndata:  there\n\ndata: [DONE]\n\n"
    );
}

#[test]
fn a_prompt_comes_as_query_json_or_text() {
    let server = Server::mock();
    let want = "data: hi\n\ndata: [DONE]\n\n";
    assert_eq!(
        server
            .get("/stream?prompt=hi&model=mock-echo&system=s&temperature=0.5&max_tokens=5")
            .body(),
        want
    );
    let fields =
        r#"{"prompt":"hi","model":"mock-echo","system":"s","max_tokens":5,"temperature":1}"#;
    assert_eq!(server.post("/stream", "", fields).body(), want);
    assert_eq!(
        server
            .post(
                "/stream?model=mock-echo",
                "content-type: text/plain; charset=utf-8\r\n",
                "hi"
            )
            .body(),
        want
    );
    assert!(
        server
            .get("/stream?prompt=hi+canary-prompt")
            .body()
            .contains("rill"),
        "the default model answers"
    );
}

#[test]
fn the_same_request_has_the_same_tokens_and_max_tokens_is_honoured() {
    let server = Server::mock();
    let ask = || {
        server
            .get("/stream?prompt=hi+canary-prompt&model=mock-fast")
            .body()
    };
    assert_eq!(ask(), ask());
    let short = server
        .get("/stream?prompt=hi+canary-prompt&model=mock-fast&max_tokens=3")
        .body();
    assert_eq!(events(&short).len(), 4);
    assert!(ask().starts_with(short.trim_end_matches("data: [DONE]\n\n")));
}

#[test]
fn a_broken_model_ends_in_an_error_and_a_silent_one_in_a_timeout() {
    let server = Server::with(
        "[mock]\ntokens_per_second = 0\n[timeouts]\nbetween_tokens = \"200ms\"\n",
        &[],
    );
    for (model, code) in [
        ("mock-break", "upstream_reset"),
        ("mock-stall", "between_tokens_timeout"),
    ] {
        let body = server
            .get(&format!("/stream?prompt=x+canary-prompt&model={model}"))
            .body();
        let got = events(&body);
        assert_eq!(got.len(), 11, "ten tokens and an error");
        let (name, data) = got.last().unwrap();
        let error: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            (name.as_str(), error["error"]["code"].as_str()),
            ("error", Some(code))
        );
        assert!(
            error["error"]["request_id"]
                .as_str()
                .unwrap()
                .starts_with("req_")
        );
    }
    for (model, status) in [("mock-error", 503), ("mock-ratelimit", 429)] {
        let mut client = server.get(&format!("/stream?prompt=x+canary-prompt&model={model}"));
        assert_eq!(client.status(), status);
        assert_eq!(client.header("retry-after").is_some(), status == 429);
    }
}

#[test]
fn plain_prompts_reach_an_upstream_of_another_dialect() {
    let upstream = Upstream::streaming(format!("{}{}{STOP}{DONE}", says("[DONE]"), says("a\nb")));
    let server = Server::before(&upstream);
    let body = r#"{"prompt":"hi canary-prompt","model":"m","system":"be brief","max_tokens":5,"temperature":0.5}"#;
    assert_eq!(
        server.post("/stream", "", body).body(),
        "data: [DO\n\ndata: NE]\n\ndata: a\ndata: b\n\ndata: [DONE]\n\n"
    );
    let sent = upstream.requests()[0].json();
    assert_eq!(
        sent,
        json!({
            "model": "real", "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 5, "temperature": 0.5,
            "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": "hi canary-prompt" }],
        })
    );
}

fn with_template(text: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("prompts")).unwrap();
    std::fs::write(folder.path().join("prompts/greet.md"), text).unwrap();
    std::fs::write(folder.path().join("c.toml"), "").unwrap();
    Server::in_folder(folder, &[])
}

const GREET: &str = "+++\ndescription = \"Greets\"\nmodel = \"mock-echo\"\n[variables.who]\n[variables.times]\ntype = \"integer\"\ndefault = 1\n+++\nhello {{ who }} x{{ times }}";

#[test]
fn templates_are_listed_described_and_run() {
    let server = with_template(GREET);
    let list = server.get("/prompts").json();
    assert_eq!(list["prompts"][0]["name"], "greet");
    let one = server.get("/prompts/greet").json();
    assert_eq!(one["variables"][0]["name"], "times");
    assert_eq!(
        one["variables"][1],
        json!({ "name": "who", "type": "string", "required": true })
    );
    let attack = "{{ 7*7 }}{% include 'x' %}";
    for mut client in [
        server.post(
            "/prompts/greet",
            "",
            &json!({ "who": attack, "times": 2 }).to_string(),
        ),
        server
            .get("/prompts/greet?times=2&who=%7B%7B%207*7%20%7D%7D%7B%25%20include%20'x'%20%25%7D"),
    ] {
        assert_eq!(
            read_back(&client.body()),
            (format!("hello {attack} x2"), true)
        );
    }
    let request = "GET /prompts/greet HTTP/1.1\r\nhost: t\r\naccept: text/event-stream\r\n\r\n";
    assert_eq!(
        Client::send(server.address, request.as_bytes()).json()["error"]["param"],
        "who"
    );
    for (body, param) in [
        ("{}", "who"),
        (r#"{"who":"x","tims":1}"#, "tims"),
        (r#"{"who":5}"#, "who"),
        (r#"{"who":[[1],{"a":2}]}"#, "who"),
        (r#"{"lots":[0,0,0],"who":"x"}"#, "lots"),
        (r#"{"who":"x","linger":[]}"#, "linger"),
    ] {
        let mut client = server.post("/prompts/greet", "", body);
        assert_eq!(
            (client.status(), client.json()["error"]["param"].as_str()),
            (400, Some(param))
        );
    }
    let mut client = server.get("/prompts/great");
    assert_eq!(client.status(), 404);
    assert!(client.body().contains("there are: greet"));
    assert!(!server.log().contains("7*7"));
}

#[test]
fn a_rendering_that_takes_too_long_ends_in_an_error_while_others_go_on() {
    let (proceed, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::start(move |c| {
        c.request();
        c.stream_head();
        c.say("before");
        told.lock().unwrap().recv().unwrap();
        c.say("beside");
        c.chunk(format!("{STOP}{DONE}").as_bytes());
        c.end();
    });
    let server = Server::before_with(&upstream, "workers = 1", "");
    let slow = "+++\n[variables.text]\n+++\n{% set long = text * 100 %}\
                {% for i in range(100000) %}{% if 'z' in long %}{% endif %}{% endfor %}";
    std::fs::create_dir(server.path("prompts")).unwrap();
    std::fs::write(server.path("prompts/slow.md"), slow).unwrap();

    let mut stream = server.chat(json!({}));
    stream.wait_for("before");
    // They wait for each other, where there are only a few threads for such work.
    let body = json!({ "text": "x".repeat(50_000) }).to_string();
    let mut renderings = [(); 3].map(|()| server.post("/prompts/slow", "", &body));
    assert_eq!(server.get("/healthz").status(), 200);
    proceed.send(()).unwrap();
    stream.wait_for("beside");
    let last = renderings.last().unwrap();
    last.stream.set_nonblocking(true).unwrap();
    let early = last.stream.peek(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    last.stream.set_nonblocking(false).unwrap();
    for rendering in &mut renderings {
        assert_eq!(rendering.status(), 400);
        let error = rendering.json()["error"]["message"].to_string();
        assert!(
            error.contains("the template `slow` takes too long"),
            "{error}"
        );
    }
}

#[test]
fn an_edited_template_is_served_without_a_restart() {
    let server = with_template(GREET);
    let run = || read_back(&server.post("/prompts/greet", "", r#"{"who":"you"}"#).body()).0;
    assert_eq!(run(), "hello you x1");
    std::fs::write(
        server.path("prompts/greet.md"),
        GREET.replace("hello", "goodbye"),
    )
    .unwrap();
    assert_eq!(run(), "goodbye you x1");
    std::fs::write(
        server.path("prompts/greet.md"),
        GREET.replace("{{ who }}", "{{ who"),
    )
    .unwrap();
    assert_eq!(run(), "goodbye you x1");
    let line = server.logged(
        "a prompt template is broken; its last good version stays",
        1,
    );
    assert!(
        line["error"].as_str().unwrap().contains("greet.md:9: "),
        "{line}"
    );
}

#[test]
fn an_independent_client_reads_a_stream_to_its_end() {
    use futures_util::StreamExt;
    use reqwest_eventsource::{Event, EventSource, retry::Never};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::mock();
    let url = format!(
        "http://{}/stream?prompt=a%0Ab%20c&model=mock-echo",
        server.address
    );
    let text = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut source = EventSource::get(url);
        source.set_retry_policy(Box::new(Never));
        let mut text = String::new();
        while let Some(event) = source.next().await {
            match event.expect("no error before the end") {
                Event::Open => {}
                Event::Message(message) if message.data == "[DONE]" => break,
                Event::Message(message) => text.push_str(&message.data),
            }
        }
        text
    });
    assert_eq!(text, "a\nb c");
}
