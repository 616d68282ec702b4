//! The accounting of usage: what is counted is what was said, whatever happened, and no client sees
//! that it was counted.

use serde_json::{Value, json};

use crate::dialects::apis;
use crate::limits::{Limited, counting};
use crate::support::*;

/// A stream as it comes if the usage is asked for.
fn counted(text: &str, rest: &str) -> String {
    format!(
        "data: {{\"id\":\"x\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]{rest}}}\n\n"
    )
}

const FINISH: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]REST}\n\n";
const USAGE: &str = "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3,\"total_tokens\":14}}\n\n";

/// An upstream that reports the usage only to those who ask for it.
fn asked() -> Upstream {
    Upstream::start(|c| {
        while let Some(seen) = c.request() {
            let is_asked = seen.json()["stream_options"]["include_usage"] == true;
            let rest = if is_asked { ",\"usage\":null" } else { "" };
            c.stream_head();
            for text in ["one, \\\"usage\\\":null", "two", "three"] {
                c.chunk(counted(text, rest).as_bytes());
            }
            c.chunk(FINISH.replace("REST", rest).as_bytes());
            if is_asked {
                c.chunk(USAGE.as_bytes());
            }
            c.chunk(DONE.as_bytes());
            c.end();
        }
    })
}

#[test]
fn usage_is_asked_for_and_the_client_s_bytes_stay_as_they_were() {
    let (upstream, plain) = (asked(), asked());
    let limits = "limits = { tokens_per_minute = 100000 }";
    let limited = Limited::before(&upstream, limits, "", "");
    let without = Server::before(&plain);
    for fields in [
        json!({}),
        json!({ "stream_options": { "include_usage": false } }),
        json!({ "stream_options": { "x": 1 } }),
        json!({ "stream_options": { "include_usage": true } }),
    ] {
        let expected = without.chat(fields.clone()).body();
        assert_eq!(limited.chat(fields.clone()).body(), expected, "{fields}");
        let seen = upstream.requests().last().expect("a request").json();
        assert_eq!(seen["stream_options"]["include_usage"], true, "{fields}");
        assert_eq!(seen["stream_options"]["x"], fields["stream_options"]["x"]);
    }
    let day = &limited.settled()["used"]["day"];
    assert_eq!(
        (&day["input_tokens"], &day["output_tokens"]),
        (&json!(44), &json!(12))
    );
    assert_eq!(day["estimated"], 0);
    // Nobody counts there.
    let asked = plain.requests();
    assert_eq!(asked[0].json()["stream_options"], Value::Null);
}

#[test]
fn without_limits_nothing_is_changed_until_it_is_enabled() {
    let upstream = asked();
    let limited = Limited::before(&upstream, "", "", "");
    limited.chat(json!({})).body();
    assert_eq!(upstream.requests()[0].json()["stream_options"], Value::Null);
    let enabled = Server::before_with(&upstream, "[usage]\nenabled = true", "");
    let body = enabled.chat(json!({})).body();
    assert!(
        !body.contains("prompt_tokens") && body.ends_with(DONE),
        "{body}"
    );
    let seen = upstream.requests()[1].json();
    assert_eq!(seen["stream_options"]["include_usage"], true);
}

#[test]
fn a_client_that_leaves_has_used_its_input_and_what_it_was_told() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.stream_head();
        for _ in 0..5 {
            c.say("word");
        }
        c.wait_closed();
    });
    let limits = "limits = { tokens_per_minute = 100000, concurrent = 9 }";
    let limited = Limited::before(&upstream, limits, "", "");
    let mut client = limited.chat(json!({}));
    client.wait_for_many("word", 5);
    client.reset();
    upstream.wait_closed(1);
    let day = limited.settled()["used"]["day"].clone();
    assert_eq!(day["output_tokens"], 5);
    assert!(day["input_tokens"].as_u64() > Some(0), "{day}");
    assert_eq!(
        (&day["estimated"], &day["complete"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn what_was_refused_upstream_has_used_nothing() {
    let upstream = Upstream::start(|c| {
        while c.request().is_some() {
            c.send(
                b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            );
        }
    });
    let limits = "limits = { tokens_per_minute = 6000, requests_per_minute = 5 }";
    let limited = Limited::before(&upstream, limits, "", "");
    let mut client = limited.chat(json!({}));
    assert_eq!(client.status(), 400);
    assert_eq!(
        client.header("x-ratelimit-limit-requests").as_deref(),
        Some("5")
    );
    let report = limited.settled();
    assert_eq!(report["used"]["day"]["input_tokens"], 0);
    assert_eq!(report["used"]["day"]["failed"], 1);
    assert_eq!(report["remaining"]["tokens"]["remaining"], 6000);
}

/// Returns the usage that an answer of that dialect tells: input with cached tokens, and output.
fn told(dialect: &str, answer: &Value) -> (u64, u64) {
    let (usage, names) = match dialect {
        "gemini" => (
            &answer["usageMetadata"],
            ["promptTokenCount", "candidatesTokenCount"],
        ),
        "openai-chat" => (&answer["usage"], ["prompt_tokens", "completion_tokens"]),
        _ => (&answer["usage"], ["input_tokens", "output_tokens"]),
    };
    let [input, output] = names.map(|name| usage[name].as_u64().unwrap_or(0));
    let thoughts = usage["thoughtsTokenCount"].as_u64().unwrap_or(0);
    let cached = match dialect {
        "anthropic" => {
            let counts = ["cache_read_input_tokens", "cache_creation_input_tokens"];
            counts
                .map(|name| usage[name].as_u64().unwrap_or(0))
                .iter()
                .sum()
        }
        _ => 0,
    };
    (input + cached, output + thoughts)
}

#[test]
fn all_pairs_of_dialects_count_what_the_model_says() {
    let mock = Server::with("[mock]\ntokens_per_second = 0\n", &[]);
    let mut config = "[auth]\nkeys_file = \"keys.toml\"\n[usage]\nenabled = true\n".to_owned();
    for dialect in apis() {
        let (name, address) = (dialect.name, mock.address);
        let base = match name {
            "anthropic" => format!("http://{address}"),
            "gemini" => format!("http://{address}/v1beta"),
            _ => format!("http://{address}/v1"),
        };
        config.push_str(&format!(
            "[providers.{name}]\ndialect = \"{name}\"\nbase_url = \"{base}\"\n\
             [[models]]\nname = \"{name}\"\ntargets = [{{ provider = \"{name}\", model = \"mock-think\" }}]\n"
        ));
    }
    let limited = Limited::with(&config, "", "");
    let (mut input, mut output, mut requests) = (0, 0, 0);
    for upstream in apis() {
        for (client, path, body) in crate::log_content::requests(false) {
            let path = path.replace("/m:", &format!("/{}:", upstream.name));
            let mut body = body;
            if client != "gemini" {
                body["model"] = json!(upstream.name);
            }
            if client == "anthropic" {
                body["max_tokens"] = json!(4000);
            }
            let answer = limited.post(&path, &body).json();
            let usage = told(client, &answer);
            assert!(
                usage.0 > 0 && usage.1 > 0,
                "{client} before {}: {answer}",
                upstream.name
            );
            // The stream of the same request, which does not always tell the client.
            let path = path.replace(":generateContent", ":streamGenerateContent?alt=sse");
            body["stream"] = json!(true);
            if client == "gemini" {
                body.as_object_mut().expect("an object").remove("stream");
            }
            let stream = limited.post(&path, &body).body();
            assert!(!stream.is_empty());
            (input, output, requests) = (input + 2 * usage.0, output + 2 * usage.1, requests + 2);
            let day = limited.settled()["used"]["day"].clone();
            let counted = [
                "requests",
                "complete",
                "input_tokens",
                "output_tokens",
                "estimated",
            ];
            let counted = counted.map(|name| day[name].as_u64().unwrap_or(u64::MAX));
            let pair = format!("{client} before {}", upstream.name);
            assert_eq!(counted, [requests, requests, input, output, 0], "{pair}");
        }
    }
}

#[test]
fn operators_see_the_usage_of_all_as_json_and_as_a_table() {
    let upstream = counting(1000, 200);
    let config = format!(
        "[auth]\nkeys_file = \"keys.toml\"\n[prices]\nfile = \"prices.toml\"\n[providers.up]\n\
         dialect = \"openai-chat\"\nbase_url = \"{}\"\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n",
        upstream.base_url()
    );
    let prices = "[models.m]\ninput_usd_per_million = 1\noutput_usd_per_million = 10\n";
    let limited = Limited::with(&config, "role = \"viewer\"", prices);
    for model in ["m", "m", "=1+1"] {
        let body = chat_body(json!({ "model": model, "stream": false }));
        assert_eq!(limited.post("/v1/chat/completions", &body).status(), 200);
    }
    limited.settled();
    let mut usage = limited.get("/admin/v1/usage?group=model");
    let usage = usage.json();
    let rows = usage["rows"].as_array().unwrap();
    let of = |model: &str| rows.iter().find(|row| row["model"] == model).unwrap();
    let counts = |row: &Value| {
        let names = ["requests", "complete", "input_tokens", "output_tokens"];
        names.map(|name| row[name].as_u64().unwrap())
    };
    assert_eq!(counts(of("m")), [2, 2, 2000, 400]);
    assert_eq!(of("m")["usd"], "0.006");
    assert_eq!(counts(of("=1+1")), [1, 1, 1000, 200]);
    let mut table = limited.get("/admin/v1/usage.csv?group=model,day");
    assert_eq!(
        table.header("content-type").as_deref(),
        Some("text/csv; charset=utf-8; header=present")
    );
    let table = table.body();
    let lines: Vec<&str> = table.split("\r\n").collect();
    assert!(
        lines[0].starts_with("day,model,requests,complete,"),
        "{table}"
    );
    assert_eq!((lines.len(), lines[3]), (4, ""), "{table}");
    // No spreadsheet takes it for a formula.
    assert!(
        lines.iter().any(|line| line.contains(",'=1+1,1,1,0,")),
        "{table}"
    );
    let mut refused = limited.get("/admin/v1/usage?group=user");
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json()["error"]["param"], "group");
    // Seeing is not changing.
    assert_eq!(limited.post("/admin/v1/reload", &json!({})).status(), 403);
}

#[test]
fn a_client_s_key_sees_its_own_usage_alone() {
    let upstream = counting(1, 1);
    let limited = Limited::before(&upstream, "", "", "");
    for path in ["/admin/v1/usage", "/admin/v1/usage.csv"] {
        assert_eq!(limited.get(path).status(), 403, "{path}");
    }
}
