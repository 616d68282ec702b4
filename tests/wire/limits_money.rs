//! Budgets of money: reserved before a request begins, and never passed.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::limits::{Limited, counting};
use crate::log_content::requests;
use crate::support::*;

/// A token of output costs a thousandth of a dollar, and input nothing.
const PRICES: &str = "[models.real]\ninput_usd_per_million = 0\noutput_usd_per_million = 1000\n";

fn budget(usd: &str) -> String {
    format!("limits = {{ budget = {{ usd = \"{usd}\", per = \"day\" }} }}")
}

/// A server whose key has a budget, before an upstream.
fn server(upstream: &Upstream, usd: &str, sections: &str) -> Limited {
    let url = upstream.base_url();
    let config = format!(
        "[auth]\nkeys_file = \"keys.toml\"\n[prices]\nfile = \"prices.toml\"\n{sections}\n\
         [providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n\
         [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
    );
    Limited::with(&config, &budget(usd), PRICES)
}

#[test]
fn of_two_hundred_at_once_ten_are_admitted_on_a_budget_for_ten() {
    let upstream = counting(5, 1);
    let limited = server(&upstream, "0.01", "");
    let barrier = Barrier::new(200);
    let statuses: Vec<u16> = std::thread::scope(|threads| {
        let ask = || {
            barrier.wait();
            let mut client = limited.chat(json!({ "stream": false, "max_tokens": 1 }));
            let status = client.status();
            client.body();
            status
        };
        let clients: Vec<_> = (0..200).map(|_| threads.spawn(ask)).collect();
        clients
            .into_iter()
            .map(|it| it.join().expect("a client"))
            .collect()
    });
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((admitted, refused), (10, 190));
    assert_eq!(upstream.requests().len(), 10);
    let report = limited.settled();
    assert_eq!(
        (&report["usage"], &report["limit_remaining"]),
        (&json!(0.01), &json!(0))
    );
    assert_eq!(report["limit_reset"], "daily");
    assert_eq!(report["used"]["day"]["cost"], json!(0.01));
    assert_eq!(report["used"]["day"]["requests"], 10);
}

#[test]
fn a_stream_ends_with_the_money_in_every_dialect() {
    let mut all = requests(true);
    all.push((
        "plain",
        "/stream".to_owned(),
        json!({ "prompt": "hi", "model": "m" }),
    ));
    for (dialect, path, mut body) in all {
        if dialect == "anthropic" {
            // It must have a limit, which this upstream does not keep to.
            body["max_tokens"] = json!(100);
        }
        let upstream = Upstream::start(|c| {
            c.request();
            c.stream_head();
            while c.say("word ") {}
            c.wait_closed();
        });
        let limited = server(&upstream, "2", "[limits]\noutput_reserve = 100");
        let mut client = limited.post(&path, &body);
        let answer = client.body();
        assert_eq!(answer.matches("word ").count(), 2000, "{dialect}");
        let events = events(&answer);
        let (name, last) = events.last().expect("an event");
        assert!(
            last.contains("key `ci` has used up its budget of $2 per day"),
            "{last}"
        );
        let last: Value = serde_json::from_str(last).expect("JSON");
        match dialect {
            "openai-chat" | "plain" => assert_eq!(last["error"]["code"], "budget_exceeded"),
            "openai-responses" => assert!(last.to_string().contains("budget_exceeded"), "{last}"),
            "anthropic" => assert_eq!(last["error"]["type"], "billing_error"),
            _ => assert_eq!(last["error"]["status"], "RESOURCE_EXHAUSTED"),
        }
        assert!(!answer.contains("[DONE]"), "{dialect} {name}");
        upstream.wait_closed(1);
        let report = limited.settled();
        assert_eq!(report["usage"], json!(2), "{dialect}");
        assert_eq!(report["used"]["day"]["output_tokens"], 2000, "{dialect}");
        assert_eq!(report["used"]["day"]["estimated"], 1, "{dialect}");
        assert_eq!(limited.server.ended(), "budget_exceeded");
        refuses_the_next(&limited, &upstream, dialect);
    }
}

fn refuses_the_next(limited: &Limited, upstream: &Upstream, dialect: &str) {
    let asked = upstream.requests().len();
    for (other, path, body) in requests(false) {
        if other != dialect {
            continue;
        }
        let mut refused = limited.post(&path, &body);
        let status = if dialect == "anthropic" { 402 } else { 429 };
        assert_eq!(refused.status(), status, "{dialect}");
        assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
        assert!(refused.header("retry-after").is_some());
        let error = refused.json()["error"].clone();
        match dialect {
            "anthropic" => assert_eq!(error["type"], "billing_error"),
            "gemini" => assert_eq!(error["status"], "RESOURCE_EXHAUSTED"),
            _ => {
                assert_eq!(error["type"], "insufficient_quota");
                assert_eq!(error["code"], "budget_exceeded");
            }
        }
    }
    assert_eq!(upstream.requests().len(), asked);
}

#[test]
fn a_limit_of_the_client_s_own_is_paid_for_in_whole_and_what_is_left_comes_back() {
    let upstream = counting(5, 300);
    let limited = server(&upstream, "1", "");
    let mut refused = limited.chat(json!({ "stream": false, "max_tokens": 1001 }));
    assert_eq!(
        (refused.status(), &refused.json()["error"]["code"]),
        (429, &json!("budget_exceeded"))
    );
    for spent in [0.3, 0.6] {
        let asked = limited
            .chat(json!({ "stream": false, "max_tokens": 400 }))
            .status();
        assert_eq!(asked, 200);
        assert_eq!(limited.settled()["usage"], json!(spent));
    }
    assert_eq!(
        limited
            .chat(json!({ "stream": false, "max_tokens": 401 }))
            .status(),
        429
    );
    assert_eq!(
        limited
            .chat(json!({ "stream": false, "max_tokens": 400 }))
            .status(),
        200
    );
}

#[test]
fn a_model_without_a_price_is_refused_beside_a_budget() {
    let upstream = counting(5, 1);
    let limited = server(&upstream, "1", "");
    let mut refused = limited.chat(json!({ "model": "unknown", "stream": false }));
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json()["error"]["code"], "model_without_price");
    assert_eq!(upstream.requests().len(), 0);
    let free = server(&upstream, "1", "unpriced = \"free\"");
    assert_eq!(
        free.chat(json!({ "model": "unknown", "stream": false }))
            .status(),
        200
    );
    let report = free.settled();
    assert_eq!(
        (&report["usage"], &report["used"]["day"]["output_tokens"]),
        (&json!(0), &json!(1))
    );
}

#[test]
fn a_budget_that_ends_an_answer_does_not_ask_another_target() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        while c.say("word ") {}
        c.wait_closed();
    });
    let spare = counting(5, 1);
    let url = spare.base_url();
    let sections = format!(
        "[limits]\noutput_reserve = 100\n[providers.spare]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n\
         [[models]]\nname = \"both\"\ncontinue = \"text\"\n\
         targets = [{{ provider = \"up\", model = \"real\" }}, {{ provider = \"spare\", model = \"real\" }}]\n"
    );
    let limited = server(&upstream, "0.5", &sections);
    let mut client = limited.chat(json!({ "model": "both" }));
    let answer = client.body();
    assert!(answer.contains("budget_exceeded"), "{answer}");
    assert_eq!(answer.matches("word ").count(), 500);
    assert_eq!((upstream.requests().len(), spare.requests().len()), (1, 0));
}

#[test]
fn a_file_of_prices_with_errors_is_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.toml"), "[models.a]\ninput = 1\n").expect("a file");
    std::fs::write(
        folder.path().join("c.toml"),
        "[prices]\nfile = \"p.toml\"\n",
    )
    .expect("a file");
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["check", "--config", "c.toml"])
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(
        told.contains("p.toml:2: models.a: unknown key `input`"),
        "{told}"
    );
}
