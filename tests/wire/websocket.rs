//! Many generations over one socket: started, joined, left, cancelled, resumed.

use serde_json::{Value, json};

use crate::support::*;
use crate::ws_client::*;

/// Says one token to who asks for `slow`, and then nothing; 50 to everyone else.
fn slow_and_quick() -> Upstream {
    Upstream::start(|c| {
        while let Some(seen) = c.request() {
            c.stream_head();
            if seen.json()["messages"][0]["content"] == "slow" {
                c.say("once");
                return c.wait_closed();
            }
            for n in 0..50 {
                c.say(&format!("t{n}"));
            }
            c.chunk(format!("{STOP}{DONE}").as_bytes());
            c.end();
        }
    })
}

fn tokens(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("t{n}"))
        .chain(["[DONE]".to_owned()])
        .collect()
}

#[test]
fn one_of_two_is_cancelled_and_the_other_is_whole() {
    let upstream = slow_and_quick();
    let server = Server::before(&upstream);
    let mut ws = Ws::open(&server);
    ws.say(start("slow", "m", "slow"));
    let started = ws.hear();
    assert_eq!(
        (&started["type"], &started["dialect"], &started["stream"]),
        (&"started".into(), &"plain".into(), &Value::Null)
    );
    assert_eq!(
        ws.hear(),
        json!({ "type": "event", "id": "slow", "data": "once" })
    );
    ws.say(start("quick", "m", "quick"));
    let quick = ws.hear_all("quick");
    assert_eq!(
        (data(&quick), status(&quick)),
        (tokens(50), "completed".into())
    );
    ws.say(json!({ "type": "cancel", "id": "slow" }));
    let slow = ws.hear_all("slow");
    assert_eq!(
        (slow[0]["event"].as_str(), status(&slow)),
        (Some("error"), "cancelled".into())
    );
    assert!(
        data(&slow)[0].contains("\"code\":\"cancelled\""),
        "{slow:?}"
    );
    upstream.wait_closed(1);
    // The socket is as good as before.
    ws.say(start("slow", "m", "quick"));
    assert_eq!(data(&ws.hear_all("slow")), tokens(50));
    let mut ended: Vec<Value> = (1..=3).map(|n| server.logged("generation", n)).collect();
    assert!(
        ended
            .iter()
            .all(|line| line["route"] == "/v1/ws" && line["status"] == 200),
        "{ended:?}"
    );
    ended.sort_by_key(|line| line["ended"].to_string());
    assert_eq!(
        ended
            .iter()
            .map(|line| line["ended"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["cancelled", "complete", "complete"]
    );
}

#[test]
fn one_is_cancelled_before_its_upstream_has_answered() {
    let upstream = Upstream::start(|c| {
        c.request();
        c.wait_closed();
    });
    let server = Server::before(&upstream);
    let mut ws = Ws::open(&server);
    ws.say(start("a", "m", "x"));
    upstream.wait_requests(1);
    ws.say(json!({ "type": "cancel", "id": "a" }));
    assert_eq!(
        ws.hear(),
        json!({ "type": "end", "id": "a", "status": "cancelled" })
    );
    upstream.wait_closed(1);
    assert_eq!(server.ended(), "cancelled");
}

#[test]
fn a_socket_that_closes_cancels_its_upstreams_at_once() {
    let upstream = slow_and_quick();
    let server = Server::before(&upstream);
    for way in 0..3 {
        let mut ws = Ws::open(&server);
        for id in ["a", "b"] {
            ws.begin(start(id, "m", "slow"));
        }
        match way {
            0 => ws.inner.close(None).expect("a goodbye"),
            1 => drop(ws),
            _ => {
                socket2::SockRef::from(ws.inner.get_ref())
                    .set_linger(Some(std::time::Duration::ZERO))
                    .expect("linger");
                drop(ws);
            }
        }
        upstream.wait_closed(2 * (way + 1));
        assert_eq!(
            server.logged("generation", 2 * (way + 1))["ended"],
            "client_left"
        );
    }
}

#[test]
fn every_endpoint_s_requests_are_answered_in_its_dialect() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("prompts")).unwrap();
    std::fs::write(
        folder.path().join("prompts/hail.md"),
        "+++\n[variables.name]\n+++\nHail {{ name }}, and {{ name }} again",
    )
    .unwrap();
    std::fs::write(folder.path().join("c.toml"), "").unwrap();
    let server = Server::in_folder(folder, &[]);
    let messages = json!([{ "role": "user", "content": "Hail Eve, and Eve again" }]);
    let asked = [
        (
            "/stream",
            "plain",
            json!({ "model": "mock-echo", "prompt": "Hail Eve, and Eve again" }),
        ),
        (
            "/prompts/hail?model=mock-echo",
            "plain",
            json!({ "name": "Eve" }),
        ),
        (
            "/v1/chat/completions",
            "openai-chat",
            json!({ "model": "mock-echo", "stream": true, "messages": messages }),
        ),
        (
            "/v1/responses",
            "openai-responses",
            json!({ "model": "mock-echo", "stream": true, "input": "Hail Eve, and Eve again" }),
        ),
        (
            "/v1/messages",
            "anthropic",
            json!({ "model": "mock-echo", "stream": true, "max_tokens": 99, "messages": messages }),
        ),
        (
            "/v1beta/models/mock-echo:streamGenerateContent?alt=sse",
            "gemini",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hail Eve, and Eve again" }] }] }),
        ),
    ];
    let mut ws = Ws::open(&server);
    for (path, dialect, body) in asked {
        ws.say(json!({ "type": "start", "id": "x", "path": path, "body": body }));
        let heard = ws.hear_all("x");
        assert_eq!(
            (heard[0]["dialect"].as_str(), status(&heard)),
            (Some(dialect), "completed".into()),
            "{heard:?}"
        );
        // By HTTP the same comes, but for ids and times.
        let names = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let by_http = events(&server.post(path, "", &body.to_string()).body());
        let here: Vec<String> = heard[1..heard.len() - 1]
            .iter()
            .map(|event| names(event["event"].as_str()))
            .collect();
        assert_eq!(
            here,
            by_http
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>(),
            "{path}"
        );
        if dialect == "plain" {
            assert_eq!(
                data(&heard),
                by_http
                    .into_iter()
                    .map(|(_, data)| data)
                    .collect::<Vec<_>>()
            );
        }
    }
    ws.say(json!({ "type": "start", "id": "x", "path": "/prompts/none", "body": {} }));
    let error = &ws.hear()["error"];
    assert_eq!(
        (error["status"].as_u64(), error["code"].as_str()),
        (Some(404), Some("not_found")),
        "{error}"
    );
}

#[test]
fn a_lost_socket_loses_nothing_at_any_cut() {
    const TOKENS: usize = 100;
    let server = Server::mock();
    let prompt: Vec<String> = (0..TOKENS).map(|n| format!("w{n}")).collect();
    let ask = |id: &str| {
        let mut ask = start(id, "mock-echo", &prompt.join(" "));
        ask["linger"] = "30s".into();
        ask
    };
    let mut whole = Ws::open(&server);
    whole.say(ask("whole"));
    let whole = data(&whole.hear_all("whole"));
    assert!(whole.len() > TOKENS, "{whole:?}");
    for cut in 0..whole.len() {
        let mut ws = Ws::open(&server);
        ws.say(ask("g"));
        let stream = ws.hear()["stream"].as_str().expect("a stream").to_owned();
        let before: Vec<Value> = (0..cut).map(|_| ws.hear()).collect();
        drop(ws);
        let mut ws = Ws::open(&server);
        let mut attach = json!({ "type": "attach", "id": "a", "stream": stream });
        if let Some(last) = before.last() {
            let id = last["event_id"].as_str().expect("an id");
            // By its id, or by the offset in it.
            attach["after"] = if cut % 2 == 0 {
                id.into()
            } else {
                id.rsplit_once('.').expect("an offset").1.into()
            };
        }
        ws.say(attach);
        let after = ws.hear_all("a");
        assert_eq!(
            [data(&before), data(&after)].concat(),
            whole,
            "cut at {cut}"
        );
        assert_eq!(
            (after[0]["stream"].as_str(), status(&after)),
            (Some(stream.as_str()), "completed".into())
        );
    }
}

#[test]
fn several_sockets_read_one_stream_and_one_ends_it_for_all() {
    let upstream = slow_and_quick();
    let server = Server::before(&upstream);
    let mut first = Ws::open(&server);
    let mut ask = start("g", "m", "slow");
    ask["linger"] = 30.into();
    first.say(ask);
    let stream = first.hear()["stream"].clone();
    let event = first.hear();
    assert_eq!(event["data"], "once");
    let mut others: Vec<Ws> = (0..5).map(|_| Ws::open(&server)).collect();
    for ws in &mut others {
        // Twice on the same socket, too.
        for id in ["x", "y"] {
            ws.say(json!({ "type": "attach", "id": id, "stream": stream }));
            assert_eq!(ws.hear()["type"], "started");
            assert_eq!(
                (ws.hear()["event_id"].clone(), upstream.requests().len()),
                (event["event_id"].clone(), 1)
            );
        }
        ws.say(json!({ "type": "leave", "id": "y" }));
        assert_eq!(
            ws.hear(),
            json!({ "type": "end", "id": "y", "status": "left" })
        );
    }
    others[0].say(json!({ "type": "cancel", "id": "x" }));
    for (ws, id) in others
        .iter_mut()
        .map(|ws| (ws, "x"))
        .chain([(&mut first, "g")])
    {
        let last = ws.hear_all(id);
        assert_eq!(
            (data(&last)[0].contains("cancelled"), status(&last)),
            (true, "cancelled".into())
        );
    }
    upstream.wait_closed(1);
    // Who comes after the end gets it all, and who has it all gets the end.
    others[1].say(json!({ "type": "attach", "id": "z", "stream": stream }));
    let all = others[1].hear_all("z");
    assert_eq!((data(&all).len(), status(&all)), (2, "cancelled".into()));
    let last = all[all.len() - 2]["event_id"].clone();
    others[1].say(json!({ "type": "attach", "id": "z", "stream": stream, "after": last }));
    let none = others[1].hear_all("z");
    assert_eq!((none.len(), status(&none)), (2, "cancelled".into()));
}

#[test]
fn a_key_makes_one_generation_however_often_it_is_asked() {
    let upstream = slow_and_quick();
    let server = Server::before(&upstream);
    let mut ask = start("g", "m", "quick");
    ask["linger"] = "30s".into();
    ask["idempotency_key"] = "k1".into();
    let streams: Vec<Value> = (0..3)
        .map(|_| {
            let mut ws = Ws::open(&server);
            ws.say(ask.clone());
            let heard = ws.hear_all("g");
            assert_eq!(data(&heard), tokens(50));
            heard[0]["stream"].clone()
        })
        .collect();
    assert!(streams.iter().all(|stream| stream == &streams[0]) && upstream.requests().len() == 1);
    ask["body"]["prompt"] = "another".into();
    let mut ws = Ws::open(&server);
    ws.say(ask);
    assert_eq!(ws.hear()["error"]["status"], 409);
}

#[test]
fn a_stream_is_its_starter_s_however_it_says_who_it_is() {
    let server = Server::mock();
    let mut ask = start("g", "mock-echo", "a secret");
    ask["linger"] = "30s".into();
    let mut eve = Ws::open_with(&server, &[("authorization", "Bearer eve")]);
    eve.say(ask);
    let stream = eve.hear_all("g")[0]["stream"].clone();
    let attach = json!({ "type": "attach", "id": "a", "stream": stream });
    let mut page = Ws::open(&server);
    page.say(json!({ "type": "auth", "authorization": "Bearer eve" }));
    page.say(attach.clone());
    assert_eq!(status(&page.hear_all("a")), "completed");
    page.say(json!({ "type": "auth", "authorization": "Bearer mallory" }));
    let late = page.hear();
    assert_eq!(
        (late.get("id"), late["error"]["param"].as_str()),
        (None, Some("type")),
        "{late}"
    );
    for headers in [&[][..], &[("authorization", "Bearer mallory")]] {
        let mut other = Ws::open_with(&server, headers);
        other.say(attach.clone());
        assert_eq!(other.hear()["error"]["code"], "not_found");
    }
}

#[test]
fn what_can_t_be_done_is_said_and_the_socket_lives_on() {
    let upstream = Upstream::raw(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 33\r\n\r\n\
         {\"error\":{\"message\":\"slow down!\"}}",
    );
    let server = Server::before_with(
        &upstream,
        "max_body = \"2KiB\"\n[websocket]\nmax_message = \"8KiB\"",
        "",
    );
    let mut ws = Ws::open(&server);
    let stream =
        |body: Value| json!({ "type": "start", "id": "g", "path": "/stream", "body": body });
    let chat = |body: Value| json!({ "type": "start", "id": "g", "path": "/v1/chat/completions", "body": body });
    let of_none = json!({ "type": "attach", "id": "g", "stream": "stm_AAAAAAAAAAAAAAAAAAAAAA" });
    for (message, id, status, param) in [
        (stream(json!({ "prompt": 1 })), "g", 400, "prompt"),
        (
            stream(json!({ "prompt": "x canary-prompt", "linger": "soon" })),
            "g",
            400,
            "linger",
        ),
        (stream(json!({ "prompt": "x canary-prompt" })), "g", 429, ""),
        (stream(json!({ "prompt": "x".repeat(3000) })), "g", 413, ""),
        (
            chat(
                json!({ "model": "m", "messages": [{ "role": "user", "content": "x canary-prompt" }] }),
            ),
            "g",
            400,
            "stream",
        ),
        (
            json!({ "type": "start", "id": "g", "path": "/nowhere", "body": {} }),
            "g",
            404,
            "",
        ),
        (
            json!({ "type": "start", "id": "g", "path": "no path", "body": {} }),
            "g",
            400,
            "path",
        ),
        (
            json!({ "type": "start", "id": "g", "path": "/stream" }),
            "g",
            400,
            "body",
        ),
        (
            json!({ "type": "start", "id": "g", "body": {} }),
            "g",
            400,
            "path",
        ),
        (json!({ "type": "attach", "id": "g" }), "g", 400, "stream"),
        (of_none, "g", 404, ""),
        (
            json!({ "type": "start", "path": "/stream", "body": {} }),
            "",
            400,
            "id",
        ),
        (
            json!({ "type": "start", "id": "i".repeat(65), "path": "/stream", "body": {} }),
            "",
            400,
            "id",
        ),
        (json!({ "type": "cancel", "id": "g" }), "", 404, ""),
        (json!({ "type": "leave", "id": "g" }), "", 404, ""),
        (json!({ "type": "sing", "id": "g" }), "", 400, "type"),
        (
            json!({ "type": "cancel", "id": "g", "colour": "red" }),
            "",
            400,
            "",
        ),
        (json!({ "id": "g" }), "", 400, ""),
        (json!([]), "", 400, ""),
    ] {
        ws.say(message.clone());
        let told = ws.hear();
        let error = &told["error"];
        assert_eq!(told["type"], "error", "{message} gives {told}");
        assert_eq!(
            told["id"].as_str().unwrap_or_default(),
            id,
            "{message} gives {told}"
        );
        assert_eq!(
            (
                error["status"].as_u64(),
                error["param"].as_str().unwrap_or_default()
            ),
            (Some(status), param),
            "{told}"
        );
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
                && error["code"].is_string(),
            "{told}"
        );
    }
    for text in ["", "{", "\u{0}", &"[".repeat(4000)] {
        ws.inner
            .send(tokio_tungstenite::tungstenite::Message::text(text))
            .unwrap();
        assert_eq!(ws.hear()["error"]["status"], 400);
    }
    let mock = Server::mock();
    let mut ws = Ws::open(&mock);
    ws.say(start("g", "gpt-17", "x"));
    let error = ws.hear()["error"].clone();
    assert_eq!(
        (error["status"].as_u64(), error["code"].as_str()),
        (Some(404), Some("model_not_found")),
        "{error}"
    );
}

#[test]
fn so_many_may_run_and_one_more_is_its_own_error() {
    let upstream = slow_and_quick();
    let server = Server::before_with(&upstream, "[websocket]\nmax_running = 2", "");
    let mut ws = Ws::open(&server);
    for id in ["a", "b"] {
        ws.begin(start(id, "m", "slow"));
    }
    ws.say(start("a", "m", "quick"));
    let told = ws.hear();
    assert_eq!(
        (told.get("id"), told["error"]["param"].as_str()),
        (None, Some("id")),
        "{told}"
    );
    ws.say(start("c", "m", "quick"));
    let told = ws.hear();
    assert_eq!(
        (told["id"].as_str(), told["error"]["status"].as_u64()),
        (Some("c"), Some(429)),
        "{told}"
    );
    assert_eq!(told["error"]["code"], "too_many_running");
    ws.say(json!({ "type": "leave", "id": "a" }));
    assert_eq!(ws.hear()["status"], "left");
    upstream.wait_closed(1);
    ws.say(start("c", "m", "quick"));
    assert_eq!(data(&ws.hear_all("c")), tokens(50));
}
