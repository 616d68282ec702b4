//! An answer is known by its bytes: whatever its label, status and coding, and whether a stream or
//! an answer in one piece was asked for, the client gets it in the form that it asked for.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use dialect::event::{Event, FinishReason, Usage};
use dialect::request::Part;
use dialect::{Answer, Dialect, FinishRule, ResponseMeta, sse};
use serde_json::{Value, json};

use crate::compression::{CODINGS, compress, compress_whole};
use crate::dialects::apis;
use crate::log_content::{config, requests};
use crate::support::*;

const TEXT: &str = "Grüße, all is well.";

/// The answer of all these upstreams.
fn events_of_answer() -> Vec<Event<'static>> {
    vec![
        Event::Text(TEXT[..9].into()),
        Event::Text(TEXT[9..].into()),
        Event::ToolCall {
            index: 0,
            id: "call_1".into(),
            name: "f".into(),
        },
        Event::ToolArguments {
            index: 0,
            fragment: "{\"a\":1}".into(),
        },
        Event::ToolEnd { index: 0 },
        Event::Usage(Usage {
            input: 9,
            output: 4,
            ..Usage::default()
        }),
        Event::Finish(FinishReason::ToolCalls),
    ]
}

/// The answer as a stream of that dialect: its frames.
fn frames(dialect: &Dialect) -> Vec<String> {
    let mut meta = ResponseMeta::for_error();
    let asked = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }],
        "stream_options": { "include_usage": true } });
    let chat = dialect::openai_chat::DIALECT.client;
    let request = chat.parse_request(asked.to_string().into(), "/v1/chat/completions");
    meta.request = Arc::new(request.unwrap());
    let mut writer = dialect.client.event_writer(meta);
    let mut frames = Vec::new();
    let mut write = |name: Option<&str>, data: &[u8]| {
        let mut frame = bytes::BytesMut::new();
        sse::write_frame(&mut frame, name, data);
        frames.push(String::from_utf8(frame.to_vec()).unwrap());
    };
    for event in events_of_answer() {
        writer.write_event(&event, &mut write).unwrap();
    }
    writer.write_end(&mut write);
    frames
}

/// The answer of that dialect in one piece. An error that is none stands in it.
fn whole(dialect: &Dialect) -> Value {
    let mut answer = Answer::default();
    for event in events_of_answer() {
        answer.add(&event);
    }
    let meta = ResponseMeta::for_error();
    let body = dialect.client.encode_answer(&answer, &meta);
    let mut whole: Value = serde_json::from_slice(&body).unwrap();
    whole["error"] = Value::Null;
    whole
}

/// The payloads of the stream, without their frames.
fn payloads(dialect: &Dialect) -> Vec<String> {
    let payload = |frame: &String| {
        let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned)
    };
    frames(dialect).iter().filter_map(payload).collect()
}

/// The bodies in which the answer may come.
fn bodies(dialect: &Dialect) -> Vec<(&'static str, String)> {
    let (stream, whole) = (frames(dialect).concat(), whole(dialect));
    let mut bodies = vec![
        ("a stream", stream.clone()),
        ("a stream after blanks", format!("\u{feff}\r\n\n{stream}")),
        ("a stream after a comment", format!(": hello\n\n{stream}")),
        ("a stream with CRLF", stream.replace('\n', "\r\n")),
        ("an answer", whole.to_string()),
        (
            "an answer, indented",
            format!("\n {}\n", serde_json::to_string_pretty(&whole).unwrap()),
        ),
        ("payloads, a line each", payloads(dialect).join("\n")),
    ];
    let objects = payloads(dialect);
    let objects: Vec<_> = objects.iter().filter(|p| p.starts_with('{')).collect();
    if dialect.ends_without_mark {
        let list = objects.iter().map(|p| p.as_str()).collect::<Vec<_>>();
        bodies.push((
            "a list of payloads",
            format!("[{}\n]\n", list.join("\n,\r\n")),
        ));
    }
    bodies
}

/// A server before one upstream whose answers can be exchanged.
struct Scripted {
    server: Server,
    reply: Arc<Mutex<Vec<u8>>>,
    _upstream: Upstream,
}

impl Scripted {
    fn new(dialect: &str, top: &str) -> Self {
        let reply = Arc::new(Mutex::new(Vec::new()));
        let script = reply.clone();
        let upstream = Upstream::start(move |c| {
            while c.request().is_some() {
                let reply = script.lock().unwrap().clone();
                c.send(&reply);
            }
        });
        let config = format!("{top}\n{}", config(dialect, &upstream));
        Self {
            server: Server::with(&config, &[("UP_KEY", UP_KEY)]),
            reply,
            _upstream: upstream,
        }
    }

    /// Answers all further requests with that head and body: with its length, or in pieces.
    fn set(&self, head: &str, body: &[u8], piece: Option<usize>) {
        let mut reply = format!("HTTP/1.1 {}\r\n", head.trim_end()).into_bytes();
        match piece {
            None => {
                reply.extend_from_slice(
                    format!("content-length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                reply.extend_from_slice(body);
            }
            Some(piece) => {
                reply.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                for piece in body.chunks(piece) {
                    reply.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    reply.extend_from_slice(piece);
                    reply.extend_from_slice(b"\r\n");
                }
                reply.extend_from_slice(b"0\r\n\r\n");
            }
        }
        *self.reply.lock().unwrap() = reply;
    }

    /// Asks as a client of each dialect, and checks that each gets the whole answer in its form.
    fn assert_answered(&self, stream: bool, told: &str) {
        for (client, path, body) in requests(stream) {
            let mut got = self.server.post(&path, "", &body.to_string());
            let told = format!("{client} (stream: {stream}) before {told}: {}", got.body());
            assert_eq!(got.status(), 200, "{told}");
            let kind = got.header("content-type").unwrap();
            let expected = ["application/json", "text/event-stream"][usize::from(stream)];
            assert!(kind.starts_with(expected), "{told}");
            let answer = read(Dialect::named(client).unwrap(), &got.body(), stream, &told);
            assert_eq!(answer.text(), TEXT, "{told}");
            assert_eq!(calls(&answer), [("f", "{\"a\":1}")], "{told}");
            assert_eq!(answer.finish, Some(FinishReason::ToolCalls), "{told}");
            // Streams of this dialect report it only to those who ask.
            if !(stream && client == "openai-chat") {
                assert_eq!(answer.usage.map(|usage| usage.output), Some(4), "{told}");
            }
        }
        if stream {
            let got = self.server.get("/stream?prompt=hi&model=m").body();
            assert!(got.contains("all is well."), "plain before {told}: {got}");
        }
    }
}

/// Reads what a client got, as its own library would.
fn read(client: &Dialect, body: &str, stream: bool, told: &str) -> Answer {
    let side = client.upstream.unwrap();
    let mut answer = Answer::default();
    let mut add = |event: Event<'_>| answer.add(&event);
    if !stream {
        let parsed = side.parse_answer(body.as_bytes(), FinishRule::Required, Some(&mut add));
        parsed.unwrap_or_else(|failure| panic!("{failure}: {told}"));
        return answer;
    }
    let mut reader = side.event_reader(FinishRule::Required);
    for (_, data) in events(body) {
        let read = reader.read_payload(data.as_bytes(), Some(&mut add));
        let read = read.unwrap_or_else(|failure| panic!("{failure}: {told}"));
        assert!(read.error.is_none(), "{told}");
    }
    let end = reader.finish_stream(Some(&mut add));
    end.unwrap_or_else(|failure| panic!("{failure}: {told}"));
    answer
}

fn calls(answer: &Answer) -> Vec<(&str, &str)> {
    let mut calls = Vec::new();
    for part in &answer.parts {
        if let Part::ToolCall {
            name, arguments, ..
        } = part
        {
            calls.push((name.as_str(), arguments.as_str()));
        }
    }
    calls
}

const LABELS: [&str; 6] = [
    "",
    "content-type: text/event-stream\r\n",
    "content-type: application/json\r\n",
    "content-type: text/plain; charset=utf-8\r\n",
    "content-type: application/x-ndjson\r\n",
    "content-type: text/html\r\ncontent-encoding: none\r\ncontent-encoding: identity, utf-8\r\n",
];

#[test]
fn an_answer_is_known_under_every_label() {
    for upstream in apis() {
        let scripted = Scripted::new(upstream.name, "");
        for (kind, body) in bodies(upstream) {
            for (at, label) in LABELS.iter().enumerate() {
                let status = ["200 OK", "201 Created", "202 Accepted"][at % 3];
                let piece = [None, Some(7), Some(1000)][(at / 2) % 3];
                scripted.set(&format!("{status}\r\n{label}"), body.as_bytes(), piece);
                for stream in [true, false] {
                    let told = format!("{} that sends {kind} as {label:?}", upstream.name);
                    scripted.assert_answered(stream, &told);
                }
            }
        }
    }
}

#[test]
fn an_answer_is_decoded_from_every_coding() {
    for upstream in apis() {
        let scripted = Scripted::new(upstream.name, "");
        let whole = whole(upstream).to_string().into_bytes();
        let stream = frames(upstream);
        let stream: Vec<_> = stream.iter().map(|frame| frame.as_bytes()).collect();
        for (media_type, pieces) in [
            ("text/event-stream", stream),
            ("application/json", vec![&whole[..]]),
        ] {
            let mut encoded: Vec<_> = CODINGS
                .iter()
                .map(|coding| (*coding, compress(coding, &pieces).concat()))
                .collect();
            let gzip = compress_whole("gzip", &pieces.concat());
            let members = pieces.iter().map(|piece| compress_whole("gzip", piece));
            encoded.push(("gzip", members.collect::<Vec<_>>().concat()));
            encoded.push(("GZip, br", compress_whole("br", &gzip)));
            // Mislabelled: what is no gzip is read as it is, and gzip is read without its label.
            encoded.push(("gzip", pieces.concat()));
            encoded.push(("br", pieces.concat()));
            encoded.push(("none", gzip));
            for (at, (coding, body)) in encoded.iter().enumerate() {
                let coding = coding.trim_end_matches("-raw");
                let head = format!(
                    "200 OK\r\ncontent-type: {media_type}\r\ncontent-encoding: {coding}\r\n"
                );
                let piece = [Some(1), None, Some(300)][at % 3];
                scripted.set(&head, body, piece);
                for stream in [true, false] {
                    let told = format!("{} that sends {media_type} in {coding}", upstream.name);
                    scripted.assert_answered(stream, &told);
                }
            }
        }
    }
}

#[test]
fn each_flushed_event_of_a_compressed_stream_is_passed_on_at_once() {
    for coding in CODINGS {
        let (go_on, may_go_on) = channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let pieces = [says("a"), says("b"), format!("{STOP}{DONE}")];
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let compressed = compress(coding, &pieces);
        let upstream = Upstream::start(move |c| {
            c.request();
            let coding = coding.trim_end_matches("-raw");
            c.send(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\n\
                     transfer-encoding: chunked\r\n\r\n"
                )
                .as_bytes(),
            );
            for piece in &compressed {
                c.chunk(piece);
                let _ = may_go_on.lock().unwrap().recv();
            }
            c.end();
        });
        let server = Server::before(&upstream);
        let mut client = server.chat(json!({}));
        let proceed = |go_on: &Sender<()>| go_on.send(()).unwrap();
        client.wait_for(&says("a"));
        proceed(&go_on);
        client.wait_for(&says("b"));
        proceed(&go_on);
        client.wait_for(DONE);
        drop(go_on);
        assert_eq!(server.ended(), "complete", "{coding}");
    }
}

#[test]
fn what_a_few_bytes_decode_to_is_bounded() {
    let bomb = format!("{{\"choices\":\"{}\"}}", " ".repeat(8 << 20));
    let frame = format!("data: {bomb}\n\n");
    let top = "max_event_bytes = \"128KiB\"\nmax_response_bytes = \"128KiB\"";
    let scripted = Scripted::new("openai-chat", top);
    for coding in ["gzip", "deflate", "zstd"] {
        for (media_type, stream, text, code) in [
            ("text/event-stream", true, &frame, "event_too_large"),
            ("application/json", true, &bomb, "response_too_large"),
            ("application/json", false, &bomb, "response_too_large"),
        ] {
            let body = compress_whole(coding, text.as_bytes());
            assert!(body.len() < 64 * 1024);
            let head =
                format!("200 OK\r\ncontent-type: {media_type}\r\ncontent-encoding: {coding}\r\n");
            scripted.set(&head, &body, Some(1000));
            let got = scripted.server.chat(json!({ "stream": stream })).body();
            assert!(got.contains(code), "{coding}, {stream}: {got}");
        }
    }
}

#[test]
fn a_compressed_answer_that_breaks_off_is_none() {
    let scripted = Scripted::new("gemini", "");
    let gemini = Dialect::named("gemini").unwrap();
    let stream = frames(gemini).concat();
    for coding in CODINGS {
        let body = compress_whole(coding, stream.as_bytes());
        let coding = coding.trim_end_matches("-raw");
        let head =
            format!("200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\n");
        scripted.set(&head, &body[..body.len() - 1], Some(100));
        for (client, path, body) in requests(true) {
            let mut got = scripted
                .server
                .post(&path, "connection: close\r\n", &body.to_string());
            got.wait_end();
            let told = got.text();
            assert!(
                told.contains("broke") || told.contains("connection"),
                "{client}: {told}"
            );
            assert!(
                !told.contains("[DONE]") && !told.contains("message_stop"),
                "{told}"
            );
        }
    }
}

#[test]
fn a_refusal_is_decoded() {
    let scripted = Scripted::new("openai-chat", "");
    let error = json!({ "error": { "message": "no credit left" } }).to_string();
    for coding in CODINGS {
        let body = compress_whole(coding, error.as_bytes());
        let coding = coding.trim_end_matches("-raw");
        let head =
            format!("402 X\r\ncontent-type: application/json\r\ncontent-encoding: {coding}\r\n");
        scripted.set(&head, &body, None);
        let mut got = scripted.server.chat(json!({}));
        assert_eq!((got.status(), got.body()), (402, error.clone()), "{coding}");
    }
}

/// Marks of an answer that looks complete.
const END_MARKS: &[&str] = &[
    "[DONE]",
    "message_stop",
    "response.completed",
    "\"STOP\"",
    "\"stop\"",
];

#[test]
fn an_error_with_a_good_status_is_an_error() {
    let words = "Insufficient balance";
    let bodies = [
        format!("{{\"error\":{{\"code\":\"1113\",\"message\":\"{words}\"}}}}"),
        format!("{{\"error\":\"{words}\"}}"),
        format!("{{\n \"detail\": \"{words}\"\n}}"),
        format!(
            "[{{\"error\":{{\"code\":429,\"message\":\"{words}\",\"status\":\"RESOURCE_EXHAUSTED\"}}}}]"
        ),
        format!("{{\"error\":{{\"message\":\"{words}\"}}}}\n{{\"done\":true}}\n"),
        format!("{{\"code\":500,\"msg\":\"{words}\",\"success\":false}}"),
        format!(
            "<!DOCTYPE html><html><head><title>{words}</title></head><body>secret page</body></html>"
        ),
        format!("{words}\n"),
    ];
    for upstream in apis() {
        let scripted = Scripted::new(upstream.name, "");
        for body in &bodies {
            for (at, label) in LABELS.iter().enumerate() {
                let piece = [None, Some(9)][at % 2];
                let is_stream = piece.is_some() && label.contains("event-stream");
                scripted.set(&format!("200 OK\r\n{label}"), body.as_bytes(), piece);
                for stream in [true, false] {
                    for (client, path, request) in requests(stream) {
                        let mut got = scripted.server.post(
                            &path,
                            "connection: close\r\n",
                            &request.to_string(),
                        );
                        got.wait_end();
                        let told = format!(
                            "{client} (stream: {stream}) before {} that sends {body} as {label:?}: {}",
                            upstream.name,
                            got.text()
                        );
                        assert!(got.text().contains(words), "{told}");
                        assert!(!got.text().contains("secret page"), "{told}");
                        assert!(
                            !END_MARKS.iter().any(|mark| got.text().contains(mark)),
                            "{told}"
                        );
                        if !(is_stream && stream) {
                            assert!(got.status() >= 400, "{told}");
                        }
                    }
                }
            }
        }
        assert!(
            !scripted.server.log().contains(words),
            "the log has no words"
        );
    }
}

#[test]
fn no_answer_at_all_is_an_error() {
    for upstream in apis() {
        let scripted = Scripted::new(upstream.name, "");
        for (head, body) in [
            ("200 OK\r\ncontent-type: application/json\r\n", ""),
            ("200 OK\r\ncontent-type: text/event-stream\r\n", "\n\n"),
            ("200 OK\r\ncontent-type: application/json\r\n", "null"),
            ("200 OK\r\ncontent-type: application/json\r\n", "{}"),
            ("200 OK\r\ncontent-type: application/json\r\n", "[]"),
            ("200 OK\r\n", "{\"ok\":true}"),
            ("200 OK\r\n", "\u{1}\u{2}"),
        ] {
            scripted.set(head, body.as_bytes(), None);
            for stream in [true, false] {
                for (client, path, request) in requests(stream) {
                    let mut got = scripted.server.post(&path, "", &request.to_string());
                    let told = format!(
                        "{client} before {} and {body:?}: {}",
                        upstream.name,
                        got.body()
                    );
                    assert_eq!(got.status(), 502, "{told}");
                    assert!(got.body().contains("\"error\""), "{told}");
                }
            }
        }
        *scripted.reply.lock().unwrap() = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        for stream in [true, false] {
            for (_, path, request) in requests(stream) {
                let mut got = scripted.server.post(&path, "", &request.to_string());
                assert_eq!(got.status(), 502);
                assert!(got.body().contains("an empty body"), "{}", got.body());
            }
        }
    }
}

#[test]
fn a_response_that_came_as_a_stream_is_the_upstreams_own() {
    let scripted = Scripted::new("openai-responses", "");
    let response = json!({ "id": "resp_own", "object": "response", "status": "completed", "model": "m",
        "output": [{ "type": "web_search_call", "id": "ws_1", "status": "completed" },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] }],
        "usage": { "input_tokens": 1, "output_tokens": 1, "total_tokens": 2 } });
    let event = json!({ "type": "response.completed", "sequence_number": 9, "response": response });
    let delta = json!({ "type": "response.output_text.delta", "output_index": 1, "delta": "Hi" });
    let body = format!("data: {delta}\n\ndata: {event}\n\n");
    scripted.set(
        "200 OK\r\ncontent-type: text/event-stream\r\n",
        body.as_bytes(),
        None,
    );
    let asked = json!({ "model": "m", "input": "hi" }).to_string();
    let mut got = scripted.server.post("/v1/responses", "", &asked);
    assert_eq!(got.json(), response);
}
