//! Thoughts that were sealed by one kind of upstream, and come back when the model is another's.

use bytes::Bytes;
use dialect::Dialect;
use serde_json::{Value, json};

/// The body that an upstream of the client's own dialect gets.
fn sent(name: &str, body: &Value) -> String {
    let (dialect, side) = Dialect::with_upstream(name).unwrap();
    let path = "/v1beta/models/m:generateContent";
    let request = dialect
        .client
        .parse_request(Bytes::from(body.to_string()), path)
        .unwrap();
    String::from_utf8(side.pass_through_body(&request, "m").unwrap().to_vec()).unwrap()
}

#[test]
fn a_seal_of_another_upstream_is_taken_out_and_all_else_stays() {
    let packed = "tokenrill.gemini:c2VhbA==";
    let base64 = "dG9rZW5yaWxsLmFudGhyb3BpYzpjMlZoYkE9PQ==";
    for (name, body) in [
        (
            "anthropic",
            json!({ "model": "m", "x": 1.50, "messages": [{ "role": "assistant", "content": [
            { "type": "thinking", "thinking": "MINE", "signature": "Eq==" },
            { "type": "thinking", "thinking": "FOREIGN", "signature": packed },
            { "type": "text", "text": "MINE too" } ] }] }),
        ),
        (
            "openai-responses",
            json!({ "model": "m", "input": [
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "MINE" },
            { "type": "reasoning", "id": "rs_FOREIGN", "summary": [], "encrypted_content": packed },
            { "role": "user", "content": "MINE too" } ] }),
        ),
        (
            "openai-chat",
            json!({ "model": "m", "messages": [{ "role": "assistant", "content": "MINE too", "reasoning_details": [
            { "type": "reasoning.text", "text": "MINE", "signature": "Eq==" },
            { "type": "reasoning.text", "text": "FOREIGN", "signature": packed } ] }] }),
        ),
        (
            "gemini",
            json!({ "contents": [{ "role": "model", "parts": [
            { "text": "MINE", "thoughtSignature": "c2VhbA==" },
            { "text": "MINE too", "thoughtSignature": base64 } ] }] }),
        ),
    ] {
        let sent = sent(name, &body);
        assert!(
            sent.contains("MINE") && sent.contains("MINE too"),
            "{name}: {sent}"
        );
        assert!(
            !sent.contains("FOREIGN") && !sent.contains(packed) && !sent.contains(base64),
            "{name}: {sent}"
        );
    }
}

#[test]
fn a_text_that_only_speaks_of_seals_stays() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "what is tokenrill.chat: in a signature?" }] });
    assert_eq!(
        serde_json::from_str::<Value>(&sent("anthropic", &body)).unwrap(),
        body
    );
}
