//! Sealed thoughts: reasoning that only its maker can read, known again by a digest.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Answer;
use crate::event::{ReasoningState, StateOrigin};
use crate::json::without_foreign_signatures;
use crate::request::{Part, Request};

/// The bytes at either end of a seal that are looked at: it may be very long, and looks like chance
/// throughout.
const MAX_DIGESTED: usize = 512;

/// The digest of a sealed thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealKey(pub [u8; 32]);

impl SealKey {
    /// Returns the digest of a sealed thought; `None` for a state that seals nothing.
    ///
    /// ```
    /// use dialect::SealKey;
    /// use dialect::event::{ReasoningState, StateOrigin::OpenAiResponses};
    ///
    /// let key = |value: &'static str| {
    ///     let value = value.into();
    ///     SealKey::of(&ReasoningState { origin: OpenAiResponses, value })
    /// };
    /// assert_eq!(key("rs_1 gAAA"), key("rs_2 gAAA"), "whatever its item is called");
    /// assert_ne!(key("rs_1 gAAA"), key("rs_1 gAAB"));
    /// ```
    #[must_use]
    pub fn of(state: &ReasoningState<'_>) -> Option<Self> {
        let sealed: Cow<'_, str> = match state.origin {
            StateOrigin::OpenAiResponses => state.value.split_once(' ')?.1.into(),
            StateOrigin::OpenAiChat => {
                let detail: Value = serde_json::from_str(&state.value).ok()?;
                let names = ["signature", "data", "encrypted_content"];
                let sealed = names.into_iter().find_map(|name| detail[name].as_str());
                sealed?.to_owned().into()
            }
            StateOrigin::Anthropic | StateOrigin::AnthropicRedacted | StateOrigin::Gemini => {
                (&*state.value).into()
            }
        };
        (!sealed.is_empty()).then(|| Self::of_text(&sealed))
    }

    fn of_text(sealed: &str) -> Self {
        let bytes = sealed.as_bytes();
        let end = bytes.len().saturating_sub(MAX_DIGESTED);
        let mut digest = Sha256::new();
        digest.update(bytes.len().to_be_bytes());
        digest.update(&bytes[..bytes.len().min(MAX_DIGESTED)]);
        digest.update(&bytes[end..]);
        Self(digest.finalize().into())
    }
}

impl Answer {
    /// Returns the digests of its sealed thoughts.
    #[must_use]
    pub fn seals(&self) -> Vec<SealKey> {
        self.parts.iter().filter_map(seal_of).collect()
    }
}

fn seal_of(part: &Part) -> Option<SealKey> {
    match part {
        Part::Reasoning { state, .. } => SealKey::of(state.as_ref()?),
        _ => None,
    }
}

impl Request {
    /// Returns the digests of the sealed thoughts that it sends back.
    pub fn seals(&self) -> impl Iterator<Item = SealKey> + '_ {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.filter_map(seal_of)
    }

    /// Returns the request without these sealed thoughts: a block or an item of the body goes with
    /// its seal.
    #[must_use]
    pub fn without_seals(&self, seals: &[SealKey]) -> Self {
        let mut request = self.clone();
        request.body = without_seals(&self.body, seals);
        for message in &mut request.messages {
            message.parts.retain(|part| {
                let seal = seal_of(part);
                !seal.is_some_and(|seal| seals.contains(&seal))
            });
        }
        request.messages.retain(|message| !message.parts.is_empty());
        request
    }
}

fn without_seals(body: &Bytes, seals: &[SealKey]) -> Bytes {
    without_foreign_signatures(body, "", &|sealed| {
        seals.contains(&SealKey::of_text(sealed))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;
    use crate::Dialect;

    /// Checks that a request of a dialect loses its first seal, and nothing else.
    fn check(dialect: &str, path: &str, body: &Value, without: &Value) {
        let dialect = Dialect::named(dialect).unwrap();
        let bytes = Bytes::from(body.to_string());
        let request = dialect.client.parse_request(bytes.clone(), path).unwrap();
        let seals: Vec<SealKey> = request.seals().collect();
        assert_eq!(seals.len(), 2, "{body}");
        let stripped = request.without_seals(&seals[..1]);
        let left: Value = serde_json::from_slice(&stripped.body).unwrap();
        assert_eq!(&left, without);
        assert_eq!(stripped.seals().collect::<Vec<_>>(), &seals[1..]);
        assert_eq!(request.without_seals(&[]).body, bytes);
    }

    #[test]
    fn a_seal_goes_with_its_block_and_the_others_stay() {
        let thought = |signature: &str| json!({ "type": "thinking", "thinking": "hm", "signature": signature });
        let said = json!({ "type": "text", "text": "a" });
        let message = |content: Value| {
            json!({ "model": "m", "max_tokens": 9, "messages": [
                { "role": "user", "content": "q" }, { "role": "assistant", "content": content },
                { "role": "user", "content": "q" }] })
        };
        check(
            "anthropic",
            "/v1/messages",
            &message(json!([thought("AAAA"), thought("BBBB"), said])),
            &message(json!([thought("BBBB"), said])),
        );
        let item = |sealed: &str| json!({ "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed });
        let input = |items: Value| json!({ "model": "m", "input": items });
        let question = json!({ "role": "user", "content": "q" });
        check(
            "openai-responses",
            "/v1/responses",
            &input(json!([question, item("AAAA"), item("BBBB")])),
            &input(json!([question, item("BBBB")])),
        );
        let part = |text: &str| json!({ "text": text });
        let sealed = |text: &str, seal: &str| json!({ "text": text, "thoughtSignature": seal });
        let contents = |parts: Value| json!({ "contents": [{ "role": "user", "parts": [{ "text": "q" }] }, { "role": "model", "parts": parts }] });
        check(
            "gemini",
            "/v1beta/models/m:generateContent",
            &contents(json!([sealed("a", "AAAA"), sealed("b", "BBBB")])),
            &contents(json!([part("a"), sealed("b", "BBBB")])),
        );
    }
}
