//! Documents and recordings, what an API's own tools leave in a conversation, and JSON without a
//! schema, from every dialect to every other.

use bytes::Bytes;
use dialect::{Dialect, translate};
use serde_json::{Value, json};

const PDF: &str = "JVBERi0xLjQK";

fn sent(from: &str, to: &str, body: &Value) -> Result<(String, Vec<String>), String> {
    let path = "/v1beta/models/m:generateContent";
    let client = Dialect::named(from).unwrap().client;
    let request = client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap();
    let (dialect, side) = Dialect::with_upstream(to).unwrap();
    let written = translate(dialect, side, &request, "m").map_err(|failure| failure.to_string())?;
    Ok((
        String::from_utf8(written.body.to_vec()).unwrap(),
        written.dropped,
    ))
}

/// A request of that dialect with a part of a user's message.
fn with_part(from: &str, part: &Value) -> Value {
    let messages =
        json!([{ "role": "user", "content": [{ "type": "text", "text": "read" }, part] }]);
    match from {
        "openai-responses" => {
            json!({ "model": "m", "input": [{ "role": "user", "content": [part] }] })
        }
        "gemini" => json!({ "contents": [{ "role": "user", "parts": [part] }] }),
        _ => json!({ "model": "m", "max_tokens": 9, "messages": messages }),
    }
}

/// A file of that type as clients of that dialect send it.
fn file_part(from: &str, media_type: &str, data: &str) -> Value {
    let url = format!("data:{media_type};base64,{data}");
    match from {
        "openai-chat" => {
            json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": url } })
        }
        "openai-responses" => {
            json!({ "type": "input_file", "filename": "a.pdf", "file_data": url })
        }
        "anthropic" => json!({ "type": "document", "title": "a.pdf",
            "source": { "type": "base64", "media_type": media_type, "data": data } }),
        _ => {
            json!({ "inlineData": { "mimeType": media_type, "data": data, "displayName": "a.pdf" } })
        }
    }
}

/// The part that an upstream of that dialect must get for a PDF.
fn wanted_pdf(to: &str) -> Value {
    let url = format!("data:application/pdf;base64,{PDF}");
    match to {
        "openai-chat" => {
            json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": url } })
        }
        "openai-responses" => {
            json!({ "type": "input_file", "filename": "a.pdf", "file_data": url })
        }
        "anthropic" => json!({ "type": "document", "title": "a.pdf",
            "source": { "type": "base64", "media_type": "application/pdf", "data": PDF } }),
        _ => json!({ "inlineData": { "mimeType": "application/pdf", "data": PDF } }),
    }
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    const ALL: [&str; 4] = ["openai-chat", "openai-responses", "anthropic", "gemini"];
    let pairs = ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to)));
    pairs.filter(|(from, to)| from != to)
}

/// Returns true if that value stands somewhere in the body.
fn has(body: &Value, wanted: &Value) -> bool {
    body == wanted
        || match body {
            Value::Array(items) => items.iter().any(|item| has(item, wanted)),
            Value::Object(fields) => fields.values().any(|value| has(value, wanted)),
            _ => false,
        }
}

#[test]
fn a_pdf_goes_from_every_dialect_to_every_other() {
    for (from, to) in pairs() {
        let body = with_part(from, &file_part(from, "application/pdf", PDF));
        let (sent, _) = sent(from, to, &body).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert!(has(&sent, &wanted_pdf(to)), "{from} to {to}: {sent}");
    }
}

#[test]
fn a_pdf_in_a_result_goes_with_it() {
    let blocks = json!([{ "type": "text", "text": "PDF read" }, file_part("anthropic", "application/pdf", PDF)]);
    let claude = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "what does it say?" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1", "content": blocks }] }] });
    let output = json!([{ "type": "input_text", "text": "PDF read" }, file_part("openai-responses", "application/pdf", PDF)]);
    let codex = json!({ "model": "m", "input": [
        { "role": "user", "content": "what does it say?" },
        { "type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "t1", "output": output }] });
    for (from, body) in [("anthropic", claude), ("openai-responses", codex)] {
        for (_, to) in pairs().filter(|(other, _)| *other == from) {
            let (sent, _) = sent(from, to, &body).unwrap();
            let sent: Value = serde_json::from_str(&sent).unwrap();
            assert!(
                has(&sent, &wanted_pdf(to)) && sent.to_string().contains("PDF read"),
                "{sent}"
            );
            if to == "openai-chat" {
                let roles = sent["messages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|message| message["role"].as_str().unwrap());
                assert_eq!(
                    roles.collect::<Vec<_>>(),
                    ["user", "assistant", "tool", "user"]
                );
            }
        }
    }
}

#[test]
fn a_document_of_text_is_text() {
    for (from, to) in pairs() {
        let part = file_part(from, "text/plain", "Z3LDvMOfZQ==");
        let (sent, _) = sent(from, to, &with_part(from, &part)).unwrap();
        assert!(sent.contains("a.pdf\\n\\ngrüße"), "{from} to {to}: {sent}");
    }
    for (source, wanted) in [
        (
            json!({ "type": "text", "media_type": "text/plain", "data": "said so" }),
            "said so",
        ),
        (
            json!({ "type": "content", "content": "said so" }),
            "said so",
        ),
        (
            json!({ "type": "content", "content": [{ "type": "text", "text": "said so" }] }),
            "said so",
        ),
    ] {
        let part =
            json!({ "type": "document", "source": source, "citations": { "enabled": true } });
        let (sent, _) = sent("anthropic", "openai-chat", &with_part("anthropic", &part)).unwrap();
        assert!(sent.contains(wanted), "{sent}");
    }
}

#[test]
fn a_file_that_an_upstream_does_not_take_is_refused_by_its_type() {
    for (from, to) in pairs().filter(|(_, to)| *to != "gemini") {
        let body = with_part(from, &file_part(from, "video/mp4", "AAAA"));
        let refused = sent(from, to, &body).unwrap_err();
        assert!(
            refused.contains("`video/mp4`") && refused.contains("[0]"),
            "{refused}"
        );
    }
    let by_id = json!({ "type": "document", "source": { "type": "file", "file_id": "f" } });
    let refused = sent("anthropic", "gemini", &with_part("anthropic", &by_id)).unwrap_err();
    assert!(
        refused.contains("`messages[0].content[1]`, of type `document`"),
        "{refused}"
    );
    let linked =
        json!({ "type": "document", "source": { "type": "url", "url": "https://a/b.pdf" } });
    let body = with_part("anthropic", &linked);
    assert!(sent("anthropic", "openai-chat", &body).is_err());
    let (sent, _) = sent("anthropic", "openai-responses", &body).unwrap();
    assert!(sent.contains(r#""file_url":"https://a/b.pdf""#), "{sent}");
}

#[test]
fn a_file_of_openais_store_goes_between_its_dialects_alone() {
    let chat = json!({ "type": "file", "file": { "file_id": "file-1" } });
    let responses = json!({ "type": "input_file", "file_id": "file-1" });
    let body = with_part("openai-chat", &chat);
    let (got, _) = sent("openai-chat", "openai-responses", &body).unwrap();
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!(got["input"][0]["content"][1], responses);
    let from_responses = with_part("openai-responses", &responses);
    let (got, _) = sent("openai-responses", "openai-chat", &from_responses).unwrap();
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!(got["messages"][0]["content"], json!([chat]));
    for to in ["anthropic", "gemini"] {
        let refused = sent("openai-chat", to, &body).unwrap_err();
        assert!(refused.contains("OpenAI's store"), "{refused}");
        assert!(refused.contains("`messages[0].content[1]`"), "{refused}");
        let refused = sent("openai-responses", to, &from_responses).unwrap_err();
        assert!(refused.contains("`input[0].content[0]`"), "{refused}");
    }
    // A host that has no such store.
    let client = Dialect::named("openai-responses").unwrap().client;
    let request = Bytes::from(from_responses.to_string());
    let request = client.parse_request(request, "/v1/responses").unwrap();
    let (dialect, side) = Dialect::with_upstream_of("openai-chat", "groq").unwrap();
    assert!(translate(dialect, side, &request, "m").is_err());
}

#[test]
fn an_image_of_openais_store_is_refused_by_its_id() {
    let image = json!({ "type": "input_image", "file_id": "file-1", "detail": "low" });
    let body = with_part("openai-responses", &image);
    for to in ["openai-chat", "anthropic", "gemini"] {
        let refused = sent("openai-responses", to, &body).unwrap_err();
        let named = "`input[0].content[0].file_id`, of type `input_image`";
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn a_recording_goes_where_it_is_taken() {
    let part = json!({ "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } });
    let body = with_part("openai-chat", &part);
    let (gemini, _) = sent("openai-chat", "gemini", &body).unwrap();
    assert!(gemini.contains(r#""mimeType":"audio/wav""#), "{gemini}");
    assert!(
        sent("openai-chat", "anthropic", &body)
            .unwrap_err()
            .contains("`audio/wav`")
    );
    // Some clients of Responses send it in the same form.
    let body = with_part("openai-responses", &part);
    let (chat, _) = sent("openai-responses", "openai-chat", &body).unwrap();
    assert!(chat.contains(&part.to_string()), "{chat}");
    let (gemini, _) = sent("openai-responses", "gemini", &body).unwrap();
    assert!(gemini.contains(r#""mimeType":"audio/wav""#), "{gemini}");
    let part = json!({ "inlineData": { "mimeType": "audio/mp3", "data": "AAAA" } });
    let (chat, _) = sent("gemini", "openai-chat", &with_part("gemini", &part)).unwrap();
    assert!(chat.contains(r#""format":"mp3""#), "{chat}");
}

#[test]
fn what_anthropics_own_tools_did_stays_in_the_conversation() {
    let found = json!([{ "type": "web_search_result", "title": "A page", "url": "https://a/b",
        "encrypted_content": "secret", "page_age": null }]);
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "search" },
        { "role": "assistant", "content": [
            { "type": "text", "text": "I look." },
            { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "q" } },
            { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found },
            { "type": "text", "text": "It says so.", "citations": [] }] },
        { "role": "user", "content": [
            { "type": "search_result", "source": "s", "title": "t", "content": [{ "type": "text", "text": "hit" }] },
            { "type": "text", "text": "more" }] }],
        "tools": [{ "type": "web_search_20250305", "name": "web_search" },
            { "type": "bash_20250124", "name": "bash" },
            { "type": "text_editor_20250728", "name": "str_replace_based_edit_tool" },
            { "name": "f", "input_schema": { "type": "object" } }] });
    for (_, to) in pairs().filter(|(from, _)| *from == "anthropic") {
        let (sent, dropped) = sent("anthropic", to, &body).unwrap();
        assert!(
            dropped.contains(&"tool `web_search_20250305`".to_owned()),
            "{dropped:?}"
        );
        let places = [
            "I look.",
            "\\\"query\\\":\\\"q\\\"",
            "https://a/b",
            "It says so.",
            "hit",
        ];
        let places = places.map(|text| match to {
            "gemini" => sent.find(&text.replace('\\', "")),
            _ => sent.find(text),
        });
        assert!(
            places.is_sorted() && places[0].is_some(),
            "{to} {places:?}: {sent}"
        );
        assert!(
            !sent.contains("secret") && sent.contains("\"str_replace_based_edit_tool\""),
            "{sent}"
        );
    }
    let failed = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "search" },
        { "role": "assistant", "content": [
            { "type": "server_tool_use", "id": "s", "name": "web_fetch", "input": {} },
            { "type": "web_fetch_tool_result", "tool_use_id": "s",
              "content": { "type": "web_fetch_tool_error", "error_code": "url_not_accessible" } }] },
        { "role": "user", "content": "well" }] });
    let (sent, _) = sent("anthropic", "gemini", &failed).unwrap();
    assert!(
        sent.contains(r#"{"error":"error: url_not_accessible"}"#),
        "{sent}"
    );
}

#[test]
fn tools_that_google_runs_are_left_out_and_others_are_named() {
    let with =
        |tools: Value| json!({ "contents": [{ "parts": [{ "text": "go" }] }], "tools": tools });
    for tool in [
        "googleSearch",
        "google_search",
        "urlContext",
        "codeExecution",
    ] {
        let body = with(json!([{ tool: {} }, { "functionDeclarations": [{ "name": "f" }] }]));
        let (sent, dropped) = sent("gemini", "anthropic", &body).unwrap();
        assert!(
            sent.contains("\"name\":\"f\"") && dropped.len() == 1,
            "{sent} {dropped:?}"
        );
    }
    let computer = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "x" }],
        "tools": [{ "type": "computer_20250124", "name": "computer" }] });
    let refused = sent("anthropic", "openai-chat", &computer).unwrap_err();
    assert!(
        refused.contains("`tools[0]`, of type `computer_20250124`"),
        "{refused}"
    );
}

#[test]
fn a_json_object_is_asked_of_anthropic_in_words() {
    for (from, body) in [
        (
            "openai-chat",
            json!({ "model": "m", "response_format": { "type": "json_object" },
            "messages": [{ "role": "user", "content": "JSON!" }] }),
        ),
        (
            "openai-responses",
            json!({ "model": "m", "text": { "format": { "type": "json_object" } },
            "instructions": "Be brief.", "input": "JSON!" }),
        ),
        (
            "gemini",
            json!({ "generationConfig": { "responseMimeType": "application/json" },
            "contents": [{ "parts": [{ "text": "JSON!" }] }] }),
        ),
    ] {
        let (sent, dropped) = sent(from, "anthropic", &body).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        let system = sent["system"].as_str().unwrap();
        assert!(
            system.ends_with("Answer with one JSON object and nothing else."),
            "{system}"
        );
        assert!(
            dropped.iter().any(|name| name.contains("json_object")),
            "{dropped:?}"
        );
        assert_eq!(system.starts_with("Be brief."), from == "openai-responses");
    }
}
