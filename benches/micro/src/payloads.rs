//! A token of each dialect, as its providers send it, and a reader for it.

use dialect::{DIALECTS, Dialect, EventReader, FinishRule};

pub(crate) const NAMES: &[&str] = &["openai-chat", "openai-responses", "anthropic", "gemini"];

pub(crate) fn dialect(name: &str) -> &'static Dialect {
    DIALECTS
        .iter()
        .find(|dialect| dialect.name == name)
        .expect("a dialect")
}

/// A token as a provider of that dialect frames it.
pub(crate) fn token(name: &str) -> String {
    match name {
        "openai-chat" => r#"{"id":"chatcmpl-CB0123456789abcdefghijklmnop","object":"chat.completion.chunk","created":1700000000,"model":"gpt-5-mini-2025-08-07","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":" stream"},"logprobs":null,"finish_reason":null}],"obfuscation":"Yq2pJ"}"#.to_owned(),
        "anthropic" => r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" stream"}    }"#.to_owned(),
        "openai-responses" => r#"{"type":"response.output_text.delta","sequence_number":42,"item_id":"msg_0123456789abcdef0123456789abcdef01234567","output_index":0,"content_index":0,"delta":" stream","logprobs":[],"obfuscation":"Yq2pJ"}"#.to_owned(),
        "gemini" => r#"{"candidates": [{"content": {"parts": [{"text": " stream"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 7,"totalTokenCount": 51,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 9}]},"modelVersion": "gemini-2.5-flash","responseId": "hlP6ae3uJuqGz7IP"}"#.to_owned(),
        other => panic!("{other} has no token here"),
    }
}

/// A reader in the middle of an answer.
pub(crate) fn reader(name: &str) -> Box<dyn EventReader> {
    let mut reader = dialect(name)
        .upstream
        .expect("upstreams speak it")
        .event_reader(FinishRule::Required);
    let start =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    if name == "anthropic" {
        reader
            .read_payload(start.as_bytes(), Some(&mut |_| {}))
            .expect("a start");
    }
    reader
}
