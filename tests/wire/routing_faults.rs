//! The faults of upstreams before and within an answer, as a client of two targets sees them. The
//! table of `docs/routing.md` is made here: `UPDATE_DOCS=1 cargo test --test wire routing_faults`
//! writes it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"the whole answer"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}"#;
/// The beginning of a stream that has not said anything yet.
const PREAMBLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
/// The end of an answer that a filter stopped.
const FILTERED: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n";
/// The limits of all rows: no first token for so long, silence within an answer, and the whole.
const LIMITS: &str = "[timeouts]\nconnect = \"1s\"\nfirst_token = \"300ms\"\nbetween_tokens = \"300ms\"\ntotal = \"1500ms\"\n";

/// The first target of a row.
enum First {
    /// An address where nobody is.
    At(String),
    /// An upstream that is asked, by a streamed request or not.
    Plays(fn(&mut Connection, bool)),
}

/// A fault, as the first of two targets has it.
struct Fault {
    name: &'static str,
    first: First,
}

fn json_response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Sends the head of a stream and a preamble, or the head of a whole answer.
fn begin(c: &mut Connection, streams: bool) {
    if streams {
        c.stream_head();
        c.chunk(PREAMBLE.as_bytes());
    } else {
        let length = WHOLE.len();
        c.send(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n").as_bytes());
    }
}

/// Says the first part of the answer.
fn say_half(c: &mut Connection, streams: bool) {
    begin(c, streams);
    if streams {
        c.say("half");
    } else {
        c.send(&WHOLE.as_bytes()[..WHOLE.len() / 2]);
    }
}

fn faults() -> Vec<Fault> {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/v1", nobody.local_addr().unwrap());
    let plays = |name, play| Fault {
        name,
        first: First::Plays(play),
    };
    vec![
        plays("429, with `retry-after`", |c, _| {
            let body = r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#;
            c.send(&json_response("429 Too Many", "retry-after: 30\r\n", body));
        }),
        plays("one 500", |c, _| {
            c.send(&json_response(
                "500 Oops",
                "",
                r#"{"error":{"message":"no"}}"#,
            ));
        }),
        plays("529, overloaded", |c, _| {
            let body = r#"{"error":{"message":"overloaded","type":"overloaded_error"}}"#;
            c.send(&json_response("529 Overloaded", "", body));
        }),
        Fault {
            name: "connection refused",
            first: First::At(nobody),
        },
        Fault {
            name: "a name that does not exist",
            first: First::At("http://there-is-no-such-host.invalid/v1".to_owned()),
        },
        plays("silence from the start", |c, _| c.wait_closed()),
        plays("a first token that comes too late", |c, streams| {
            if streams {
                begin(c, streams);
            }
            std::thread::sleep(Duration::from_millis(600));
            if streams {
                c.chunk(format!("{}{STOP}{DONE}", says("late")).as_bytes());
                c.end();
            } else {
                c.send(&json_response("200 OK", "", WHOLE));
            }
        }),
        plays("a reset before the first token", |c, streams| {
            begin(c, streams);
            c.reset();
        }),
        plays("a reset within the answer", |c, streams| {
            say_half(c, streams);
            c.reset();
        }),
        plays("silence within the answer", |c, streams| {
            say_half(c, streams);
            c.wait_closed();
        }),
        plays("an answer without its end", |c, streams| {
            if streams {
                say_half(c, streams);
                c.end();
            } else {
                c.send(&json_response("200 OK", "", &WHOLE[..WHOLE.len() / 2]));
            }
        }),
        plays("broken JSON", |c, streams| {
            if streams {
                begin(c, streams);
                c.chunk(b"data: {\"choices\":[{]}\n\n");
                c.end();
            } else {
                c.send(&json_response("200 OK", "", "{\"choices\":[{]}"));
            }
        }),
        plays("an error in a 200", |c, streams| {
            let error =
                r#"{"error":{"message":"internal","type":"server_error","code":"server_error"}}"#;
            if streams {
                begin(c, streams);
                c.chunk(format!("data: {error}\n\n").as_bytes());
                c.end();
            } else {
                c.send(&json_response("200 OK", "", error));
            }
        }),
        plays("a prompt that is too long", |c, _| {
            let body = r#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
            c.send(&json_response("400 Bad", "", body));
        }),
        plays("an answer that a filter stopped", |c, streams| {
            if streams {
                say_half(c, streams);
                c.chunk(format!("{FILTERED}{DONE}").as_bytes());
                c.end();
            } else {
                let body = WHOLE.replace("\"stop\"", "\"content_filter\"");
                c.send(&json_response("200 OK", "", &body));
            }
        }),
    ]
}

fn playing(play: fn(&mut Connection, bool)) -> Upstream {
    Upstream::start(move |c| {
        while let Some(request) = c.request() {
            play(c, request.json()["stream"] == true);
        }
    })
}

fn good() -> Upstream {
    playing(|c, streams| {
        if streams {
            say_half(c, streams);
            c.chunk(format!("{}{STOP}{DONE}", says(" and half")).as_bytes());
            c.end();
        } else {
            c.send(&json_response("200 OK", "", WHOLE));
        }
    })
}

fn server(first: &str, second: &Upstream) -> Server {
    let provider = |name, url: &str| {
        format!(
            "[providers.{name}]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\nbreaker = {{ failures = 7, open = \"60s..60s\" }}\n"
        )
    };
    let providers = provider("first", first) + &provider("second", &second.base_url());
    Server::with(
        &format!(
            "workers = 1\n{LIMITS}{providers}[[models]]\nname = \"m\"\n\
             targets = [{{ provider = \"first\", model = \"real\" }}, {{ provider = \"second\", model = \"real\" }}]\n"
        ),
        &[],
    )
}

/// Returns the code of the error in an answer, if there is one.
fn code_of(error: &Value) -> Option<String> {
    let error = error.get("error")?;
    let code = error["code"].as_str().or_else(|| error["type"].as_str());
    code.map(|code| format!("`{code}`"))
}

/// Asks, and returns what the client got, in words, and the number of attempts.
fn ask(server: &Server, streams: bool) -> (String, u32) {
    let mut client = server.chat(json!({ "stream": streams }));
    let status = client.status();
    let attempts = client.header("x-tokenrill-attempts").unwrap();
    let attempts = attempts.parse().unwrap();
    let who = client.header("x-tokenrill-target").unwrap();
    let who = who.split('/').next().unwrap().to_owned();
    let body = client.body();
    if status != 200 {
        let error = serde_json::from_str(&body).unwrap();
        return (format!("{status} {}", code_of(&error).unwrap()), attempts);
    }
    let is_filtered = body.contains("content_filter");
    let how = match is_filtered {
        true => ", which says that a filter stopped it",
        false => "",
    };
    if !streams || body.contains(DONE.trim_end()) {
        let text = ["half", "whole answer", "late"];
        assert!(text.iter().any(|text| body.contains(text)), "{body}");
        return (format!("the {who} target’s answer{how}"), attempts);
    }
    // What was said stays, and the end is no end mark.
    assert!(body.contains("half"), "{body}");
    let frames = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let errors = frames.filter_map(|frame| code_of(&serde_json::from_str(frame).ok()?));
    let errors: Vec<String> = errors.collect();
    let [code] = errors.as_slice() else {
        panic!("{body}");
    };
    (format!("what was said, then {code}"), attempts)
}

/// Twenty requests while the first target is down: all are answered, and it is left in peace.
fn down_for_a_minute() -> String {
    let mut cells = Vec::new();
    for streams in [true, false] {
        let first = playing(|c, _| {
            c.send(&json_response(
                "500 Oops",
                "",
                r#"{"error":{"message":"no"}}"#,
            ));
        });
        let second = good();
        let server = server(&first.base_url(), &second);
        let mut attempts = 0;
        for _ in 0..20 {
            let (got, made) = ask(&server, streams);
            assert_eq!(got, "the second target’s answer");
            attempts += made;
        }
        let seen = first.requests().len() + second.requests().len();
        assert_eq!(attempts, u32::try_from(seen).unwrap());
        cells.push(format!("20 of 20 answers; {attempts}"));
    }
    format!("| down for a minute | {} | {} |\n", cells[0], cells[1])
}

#[test]
fn the_table_says_what_a_client_gets() {
    let mut table = "| fault of the first target | streamed; attempts | whole; attempts |\n| --- | --- | --- |\n".to_owned();
    for fault in faults() {
        let cells = [true, false].map(|streams| {
            let (first, second) = match &fault.first {
                First::At(url) => (None, (url.clone(), good())),
                First::Plays(play) => {
                    let upstream = playing(*play);
                    let url = upstream.base_url();
                    (Some(upstream), (url, good()))
                }
            };
            let (url, second) = second;
            let (got, attempts) = ask(&server(&url, &second), streams);
            // No more was sent than is told.
            let seen = first.map_or(1, |first| first.requests().len()) + second.requests().len();
            assert_eq!(seen, attempts as usize, "{}: {got}", fault.name);
            format!("{got}; {attempts}")
        });
        writeln!(table, "| {} | {} | {} |", fault.name, cells[0], cells[1]).unwrap();
    }
    table += &down_for_a_minute();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/routing.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- faults -->\n", "<!-- end of faults -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (there, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            there, table,
            "docs/routing.md is out of date: UPDATE_DOCS=1 cargo test --test wire routing_faults"
        );
    }
}
