//! `/metrics`: what a scrape tells, where it may be read, and that clients can't make it grow.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::support::*;

const ON: &str = "[metrics]\nenabled = true\n";

/// Returns the value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn scrape(server: &Server) -> String {
    let mut answer = server.get("/metrics");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("content-type").as_deref(),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.body();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// Returns the value of a series, which must be there.
fn number(text: &str, series: &str) -> f64 {
    value(text, series).unwrap_or_else(|| panic!("no {series} in {text}"))
}

#[test]
fn a_scrape_tells_what_was_answered_broke_and_was_left() {
    let upstream = Upstream::start(|c| {
        while let Some(seen) = c.request() {
            c.stream_head();
            c.say("first");
            match seen.json()["model"].as_str() {
                Some("good") => {
                    let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}"#;
                    c.chunk(format!("{}{STOP}data: {usage}\n\n{DONE}", says("last")).as_bytes());
                    c.end();
                }
                Some("breaks") => return c.reset(),
                _ => return c.wait_closed(),
            }
        }
    });
    let url = upstream.base_url();
    let model = |name: &str| {
        format!(
            "[[models]]\nname = \"{name}\"\nattempts = 2\ntargets = [{{ provider = \"up\" }}]\n"
        )
    };
    let models = ["good", "breaks", "waits"].map(model).concat();
    let config =
        format!("{ON}[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n{models}");
    let server = Server::with(&config, &[]);
    for _ in 0..3 {
        assert!(
            server
                .chat(json!({ "model": "good" }))
                .body()
                .ends_with(DONE)
        );
    }
    server.chat(json!({ "model": "breaks" })).body();
    let mut left = server.chat(json!({ "model": "waits" }));
    left.wait_for("first");
    let text = scrape(&server);
    assert_eq!(
        number(&text, "tokenrill_generations_running{model=\"waits\"}"),
        1.0
    );
    let flying = "tokenrill_target_in_flight{provider=\"up\",upstream_model=\"waits\"}";
    assert_eq!(number(&text, flying), 1.0);
    left.reset();
    upstream.wait_closed(1);
    server.logged("generation", 5);
    let text = scrape(&server);
    let of = |name: &str, model: &str, more: &str| {
        number(
            &text,
            &format!("tokenrill_{name}{{model=\"{model}\",provider=\"up\"{more}}}"),
        )
    };
    assert_eq!(of("generations_total", "good", ",outcome=\"done\""), 3.0);
    assert_eq!(
        of("generations_total", "breaks", ",outcome=\"upstream_error\""),
        1.0
    );
    assert_eq!(
        of("generations_total", "waits", ",outcome=\"cancelled\""),
        1.0
    );
    assert_eq!(
        number(&text, "tokenrill_generations_running{model=\"waits\"}"),
        0.0
    );
    assert_eq!(of("tokens_total", "good", ",kind=\"input\""), 27.0);
    assert_eq!(of("tokens_total", "good", ",kind=\"cached\""), 6.0);
    assert_eq!(of("tokens_total", "good", ",kind=\"output\""), 12.0);
    assert_eq!(of("time_to_first_token_seconds_count", "good", ""), 3.0);
    let all = "{le=\"+Inf\",model=\"good\",provider=\"up\"}";
    let all = format!("tokenrill_generation_duration_seconds_bucket{all}");
    assert_eq!(number(&text, &all), 3.0);
    let requests = "tokenrill_requests_total{route=\"/v1/chat/completions\",dialect=\"openai-chat\",code=\"200\"}";
    assert_eq!(number(&text, requests), 5.0);
    assert!(number(&text, "process_resident_memory_bytes") > 1e6);
}

#[test]
fn the_times_between_tokens_are_those_of_the_upstream() {
    let server = Server::with(&format!("{ON}[mock]\ntokens_per_second = 100\n"), &[]);
    let body = server.chat(json!({ "model": "mock" })).body();
    let tokens = body.matches("\"content\":").count();
    let text = scrape(&server);
    let series = |name: &str| {
        let labels = "{model=\"mock\",provider=\"mock\"}";
        number(
            &text,
            &format!("tokenrill_inter_token_seconds_{name}{labels}"),
        )
    };
    // One less than there are tokens, or two: the last may come with the end.
    assert!(
        series("count") > 0.0 && series("count") < tokens as f64,
        "{tokens} tokens, {} pauses",
        series("count")
    );
    let mean = series("sum") / series("count");
    assert!(
        mean > 0.001,
        "there are 10 ms before each token, not {mean}"
    );
}

#[test]
fn models_and_paths_that_clients_make_up_add_no_series() {
    let server = Server::with(ON, &[]);
    let ask = |number: usize| {
        let model = format!("made-up-{number}");
        assert_eq!(server.chat(json!({ "model": model })).status(), 404);
        assert_eq!(server.get(&format!("/nowhere/{number}")).status(), 404);
    };
    ask(0);
    scrape(&server);
    let series = |text: &str| text.lines().count();
    let before = series(&scrape(&server));
    (1..50).for_each(ask);
    let text = scrape(&server);
    assert_eq!(series(&text), before, "{text}");
    let other = "tokenrill_requests_total{route=\"other\",dialect=\"plain\",code=\"404\"}";
    assert_eq!(number(&text, other), 50.0);
    assert!(!text.contains("made-up"));
}

#[test]
fn without_the_setting_there_are_none() {
    let server = Server::mock();
    assert_eq!(server.get("/metrics").status(), 404);
}

#[test]
fn an_address_for_operators_has_them_and_the_one_for_clients_does_not() {
    let server = Server::with(&format!("{ON}[admin]\nlisten = \"127.0.0.1:0\"\n"), &[]);
    let line = server.logged("listening for operators", 1);
    let admin: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    assert!(
        server
            .chat(json!({ "model": "mock-echo" }))
            .body()
            .ends_with(DONE)
    );
    assert_eq!(server.get("/metrics").status(), 404);
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        Client::send(admin, request.as_bytes())
    };
    let text = ask("/metrics").body();
    let done =
        "tokenrill_generations_total{model=\"mock-echo\",provider=\"mock\",outcome=\"done\"}";
    assert_eq!(number(&text, done), 1.0);
    assert_eq!(ask("/readyz").status(), 200);
    // Nothing that costs money is there.
    assert_eq!(ask("/stream?prompt=hi").status(), 404);
    assert_eq!(ask("/v1/models").status(), 404);
}

#[test]
fn metrics_that_everybody_could_read_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, format!("listen = \"0.0.0.0:0\"\n{ON}")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
    let output = check
        .arg("--config")
        .arg(&file)
        .arg("check")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("metrics.enabled: has no place"), "{error}");
    assert!(error.contains("admin.listen"), "{error}");
}

#[test]
fn with_keys_metrics_are_for_those_who_may_see_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let config = format!("{ON}[auth]\nkeys_file = \"keys.toml\"\n");
    std::fs::write(file, config).unwrap();
    std::fs::write(folder.path().join("keys.toml"), "").unwrap();
    let key = |name: &str, role: &str| {
        let mut new = Command::new(env!("CARGO_BIN_EXE_tokenrill"));
        let arguments = [
            "--config", "c.toml", "keys", "new", "--name", name, "--role", role,
        ];
        let output = new.current_dir(folder.path()).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (user, viewer) = (key("u", "user"), key("v", "viewer"));
    let server = Server::in_folder(folder, &[]);
    let ask = |key: &str| {
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
        );
        Client::send(server.address, request.as_bytes())
    };
    assert_eq!(server.get("/metrics").status(), 401);
    assert_eq!(ask(&user).status(), 403);
    let text = ask(&viewer).body();
    assert!(text.contains("tokenrill_build_info"), "{text}");
}
