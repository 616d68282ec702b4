//! The verdicts of `verdicts/`: the answer to every message of the tables, right, wrong or
//! ambiguous. A verdict that changes shows here, and is changed in the table with its reason.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::*;

/// A line of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The section of the standard that decides.
    rfc: String,
    pub(crate) send: String,
    pub(crate) verdict: String,
    /// The text that was understood.
    said: Option<String>,
    /// The upstream closes its connection afterwards.
    #[serde(default)]
    close: bool,
    /// Neither preface nor settings come first.
    #[serde(default)]
    pub(crate) bare: bool,
}

/// Runs every case of a table and fails with all that came out otherwise.
pub(crate) fn check_table(name: &str, at_least: usize, mut observe: impl FnMut(&Case) -> String) {
    let path = format!("{}/tests/wire/verdicts/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the table");
    let table: BTreeMap<String, BTreeMap<String, Case>> = toml::from_str(&text).expect("TOML");
    let cases: Vec<_> = table
        .iter()
        .flat_map(|(section, cases)| cases.iter().map(move |(name, case)| (section, name, case)))
        .collect();
    assert!(cases.len() >= at_least, "{name} has {} cases", cases.len());
    let changed: Vec<String> = cases
        .iter()
        .filter_map(|(section, name, case)| {
            let came = observe(case);
            let due = match &case.said {
                Some(said) => format!("{}, said {said:?}", case.verdict),
                None => case.verdict.clone(),
            };
            (came != due).then(|| {
                format!(
                    "{section}: {name} (RFC {}): `{came}` instead of `{due}`",
                    case.rfc
                )
            })
        })
        .collect();
    assert!(changed.is_empty(), "{name}:\n{}", changed.join("\n"));
}

/// Writes the repetitions of a text out, `⟪text×number⟫`.
pub(crate) fn repeat(text: &str) -> String {
    let mut parts = text.split('⟪');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (repeated, rest) = part.split_once('⟫').expect("an end of a repetition");
        let (repeated, count) = repeated.rsplit_once('×').expect("a number");
        whole.push_str(&repeated.repeat(count.parse().expect("a number")));
        whole.push_str(rest);
    }
    whole
}

/// Returns the text's characters as bytes.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let byte = |letter: char| u8::try_from(u32::from(letter)).expect("a character of a byte");
    text.chars().map(byte).collect()
}

/// The request that shows the state of a connection, and closes it. No other has its answer.
const PROBE: &[u8] = b"GET /the-next-one HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";

fn is_probes(answer: &Answer) -> bool {
    answer.status == 404 && find(&answer.body, b"/the-next-one").is_some()
}

/// An answer to a request.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// Takes the complete answers apart. The first one is to a `HEAD` where that is said.
fn answers(mut received: &[u8], first_is_to_head: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(end) = find(received, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
        let rest = &received[end + 4..];
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head}"));
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let (body, used) = if first_is_to_head && answers.is_empty() || status < 200 {
            (Vec::new(), 0)
        } else if head.contains("transfer-encoding: chunked") {
            let (body, true) = unchunk(rest) else { break };
            let used = find(rest, b"0\r\n\r\n").map_or(0, |at| at + 5);
            (body, used)
        } else if let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) {
            let Some(body) = rest.get(..length) else {
                break;
            };
            (body.to_vec(), length)
        } else {
            (rest.to_vec(), rest.len())
        };
        answers.push(Answer { status, body });
        received = &rest[used..];
    }
    answers
}

/// Reads until there are so many final answers, or the other side closes. Returns true if it did.
fn read_answers(client: &mut Client, count: usize, first_is_to_head: bool) -> bool {
    let mut buffer = [0; 65536];
    loop {
        let all = answers(&client.received, first_is_to_head);
        if all.iter().filter(|answer| answer.status != 100).count() >= count {
            return false;
        }
        match client.stream.read(&mut buffer) {
            Ok(n @ 1..) => client.received.extend_from_slice(&buffer[..n]),
            Err(error) if is_timeout(&error) => return false,
            Ok(_) | Err(_) => return true,
        }
    }
}

pub(crate) fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

/// Sends a request and returns the verdict.
fn judge_request(address: SocketAddr, case: &Case) -> String {
    let mut client = Client::connect(address);
    let request = bytes(&repeat(&case.send));
    let is_head = request.starts_with(b"HEAD ");
    let (statuses, state) = case.verdict.rsplit_once(' ').unwrap_or(("", &case.verdict));
    let count = statuses
        .split(' ')
        .filter(|status| !matches!(*status, "" | "100"))
        .count();
    // A server that closes may do so before it has read everything.
    let _ = client.stream.write_all(&request);
    let is_closed = match state {
        "kept" => {
            read_answers(&mut client, count, is_head);
            let _ = client.stream.write_all(PROBE);
            read_answers(&mut client, usize::MAX, is_head)
        }
        "closed" => {
            let _ = client.stream.write_all(PROBE);
            read_answers(&mut client, usize::MAX, is_head)
        }
        "open" => read_answers(&mut client, count, is_head),
        _ => {
            let _ = client.stream.shutdown(Shutdown::Write);
            read_answers(&mut client, usize::MAX, is_head)
        }
    };
    let mut got = answers(&client.received, is_head);
    let is_kept = got.last().is_some_and(is_probes);
    if is_kept {
        got.pop();
    }
    let came = match state {
        "cut" if is_closed => "cut",
        _ if is_kept => "kept",
        _ if is_closed => "closed",
        _ => "open",
    };
    let mut words: Vec<String> = got.iter().map(|answer| answer.status.to_string()).collect();
    words.push(came.to_owned());
    let mut verdict = words.join(" ");
    if case.said.is_some() {
        let stream = got.iter().find(|answer| answer.status == 200);
        let frames = stream.map_or_else(Vec::new, |answer| {
            events(&String::from_utf8_lossy(&answer.body))
        });
        let said: String = frames
            .into_iter()
            .map(|(_, data)| data)
            .take_while(|data| data != "[DONE]")
            .collect();
        verdict += &format!(", said {said:?}");
    }
    verdict
}

#[test]
fn requests() {
    let server = Server::mock();
    check_table("requests.toml", 150, |case| {
        judge_request(server.address, case)
    });
}

/// The response to the prompt `attack`.
#[derive(Debug, Clone, Default)]
struct Attack {
    bytes: Vec<u8>,
    /// The upstream closes behind it.
    is_last: bool,
    /// The state of the connection afterwards.
    fate: Option<&'static str>,
}

/// An upstream that answers `attack` with the attack, and any other prompt with that prompt.
fn attacking_upstream(attack: Arc<Mutex<Attack>>) -> Upstream {
    Upstream::start(move |c| {
        let set_fate = |fate| attack.lock().unwrap().fate = Some(fate);
        let mut is_attacked = false;
        while let Some(request) = c.request() {
            if std::mem::take(&mut is_attacked) {
                set_fate("kept");
            }
            let prompt = request.json()["messages"][0]["content"].clone();
            if prompt == "attack" {
                let Attack { bytes, is_last, .. } = attack.lock().unwrap().clone();
                c.send(&bytes);
                if is_last {
                    return set_fate("closed");
                }
                is_attacked = true;
            } else {
                c.stream_head();
                c.chunk(format!("{}{STOP}{DONE}", says(prompt.as_str().unwrap())).as_bytes());
                c.end();
            }
        }
        if is_attacked {
            set_fate("closed");
        }
    })
}

/// Returns what a client was told: the status, the end, and the text.
fn told(client: &mut Client) -> (u16, String, String) {
    let (status, body) = (client.status(), client.body());
    if let Ok(refusal) = serde_json::from_str::<Value>(&body) {
        let code = refusal["error"]["code"].as_str().unwrap_or("no code");
        return (status, code.to_owned(), String::new());
    }
    let (mut end, mut said) = ("nothing".to_owned(), String::new());
    for (_, data) in events(&body) {
        let frame: Value = serde_json::from_str(&data).unwrap_or_default();
        said += frame["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
        if let Some(code) = frame["error"]["code"].as_str() {
            code.clone_into(&mut end);
        } else if data == "[DONE]" {
            "complete".clone_into(&mut end);
        }
    }
    (status, end, said)
}

#[test]
fn responses() {
    let attack = Arc::<Mutex<Attack>>::default();
    let upstream = attacking_upstream(attack.clone());
    let server = Server::before_with(&upstream, "workers = 1", "");
    let ask = |prompt: &str| {
        let messages = json!([{ "role": "user", "content": prompt }]);
        told(&mut server.chat(json!({ "messages": messages })))
    };
    let mut number = 0;
    let mut ask_anew = || {
        number += 1;
        let prompt = format!("nonce-{number}");
        assert_eq!(ask(&prompt), (200, "complete".to_owned(), prompt));
    };
    check_table("responses.toml", 40, |case| {
        *attack.lock().unwrap() = Attack {
            bytes: bytes(&repeat(&case.send)),
            is_last: case.close,
            fate: None,
        };
        // The attack meets a connection that was used before, as it would in a pool.
        ask_anew();
        let (status, end, said) = ask("attack");
        // The victims. One of them gets the connection, unless it is closed.
        let fate = until("a victim, or the end", || {
            ask_anew();
            attack.lock().unwrap().fate
        });
        let mut verdict = format!("{status} {end} {fate}");
        if case.said.is_some() {
            verdict += &format!(", said {said:?}");
        }
        verdict
    });
}
