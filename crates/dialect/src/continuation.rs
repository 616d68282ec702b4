//! The continuation of an answer that broke: which requests may have one, and how an upstream is
//! asked for it.
//!
//! Not here: joining the two parts, and who is asked, which is the generation's and the routing's.

use bytes::Bytes;
use serde_json::Value;

use crate::failure::Failure;
use crate::json::{self, Json};
use crate::request::{Loss, Message, Operation, Part, Request, Role, ToolChoice, Unsupported};

/// The beginning of an answer, with which an upstream is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The beginning, without white space at its end: some upstreams refuse that.
    pub beginning: String,
    /// The user's turn that asks to go on. Without one the upstream is given the beginning of the
    /// answer as its own, a prefill.
    pub turn: Option<String>,
    /// The tokens that are left of the request's limit.
    pub max_tokens: Option<u32>,
}

impl Continuation {
    /// Returns the request, with the messages that ask to go on.
    #[must_use]
    pub fn extend(&self, request: &Request) -> Request {
        let mut request = request.clone();
        request.max_tokens = self.max_tokens;
        request
            .messages
            .push(Message::text(Role::Assistant, &*self.beginning));
        if let Some(turn) = &self.turn {
            request.messages.push(Message::text(Role::User, turn));
        }
        request
    }

    /// Returns the word for the way in which the upstream is asked: `prefill` or `turn`.
    #[must_use]
    pub fn way(&self) -> &'static str {
        match self.turn {
            None => "prefill",
            Some(_) => "turn",
        }
    }

    /// Returns the same as messages in JSON, by the role of each and its text. `model` is the
    /// dialect's word for an assistant.
    pub(crate) fn messages(&self, model: &str, item: impl Fn(&str, &str) -> Value) -> Vec<Value> {
        let turn = self.turn.iter().map(|turn| item("user", turn));
        let beginning = item(model, &self.beginning);
        std::iter::once(beginning).chain(turn).collect()
    }

    /// Returns the body with more items at the end of a list, and with the limit that is left in
    /// the place of those that it has; all else stays byte for byte the same.
    ///
    /// # Errors
    ///
    /// When the body has no such list.
    pub(crate) fn append(
        &self,
        body: &Bytes,
        list: &str,
        items: &[Value],
        limits: &[&str],
    ) -> Result<Bytes, Failure> {
        let text = std::str::from_utf8(body).map_err(|error| Failure::internal(error.into()))?;
        let whole = Json::parse(text)
            .ok_or_else(|| Failure::internal("the body of a request is no JSON".into()))?;
        let added: Vec<String> = items.iter().map(Value::to_string).collect();
        let added = added.join(",");
        let own = whole.get(list);
        let listed = if own.is_list() {
            let own_items = own.raw().trim_end();
            let own_items = own_items.strip_suffix(']').unwrap_or(own_items);
            let comma = if own.items().next().is_none() {
                ""
            } else {
                ","
            };
            format!("{own_items}{comma}{added}]")
        } else if own.text().is_some() {
            // A prompt alone.
            let prompt = own.raw();
            format!(r#"[{{"role":"user","content":{prompt}}},{added}]"#)
        } else {
            return Err(Failure::internal("the request has no messages".into()));
        };
        let mut changes = vec![(list, Some(listed.as_str()))];
        let limit = self.max_tokens.map(|limit| limit.to_string());
        if let Some(limit) = &limit {
            let present = limits.iter().filter(|name| !whole.get(name).is_null());
            changes.extend(present.map(|name| (*name, Some(limit.as_str()))));
        }
        json::with_fields(body, &changes)
    }
}

impl Request {
    /// Returns whether an answer to the request may be continued by another model, if it breaks:
    /// not if it has to have a form, is one of several, or was begun by the client, and not if it
    /// depends on what only one upstream has.
    #[must_use]
    pub fn may_be_continued(&self) -> bool {
        let is_free = matches!(
            self.tool_choice,
            None | Some(ToolChoice::Auto | ToolChoice::None)
        );
        let is_bound = |part: &Unsupported| {
            part.loss != Loss::Small || part.param.to_ascii_lowercase().contains("logprobs")
        };
        let ends_with_answer = self.messages.last().is_none_or(|last| {
            let calls = |part: &Part| matches!(part, Part::ToolCall { .. });
            last.role == Role::Assistant || last.parts.iter().any(calls)
        });
        self.operation == Operation::Generate
            && self.n <= 1
            && self.format.is_none()
            && self.logprobs.is_none()
            && is_free
            && self.invalid.is_none()
            && self.unnamed_unsupported == 0
            && !self.unsupported.iter().any(is_bound)
            && !ends_with_answer
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::Dialect;
    use crate::families::Families;

    /// Returns the body that an upstream of the client's own dialect gets.
    fn continued(dialect: &str, flavor: &str, body: &str, turn: Option<&str>) -> String {
        let (dialect, side) = Dialect::with_upstream_of(dialect, flavor).unwrap();
        let path = "/v1beta/models/m:streamGenerateContent";
        let request = dialect
            .client
            .parse_request(Bytes::from(body.to_owned()), path);
        let request = request.unwrap();
        assert!(request.may_be_continued());
        let continuation = Continuation {
            beginning: "One \"two".to_owned(),
            turn: turn.map(str::to_owned),
            max_tokens: Some(7),
        };
        let extended = continuation.extend(&request);
        let body = side.pass_through_body(&extended, "m").unwrap();
        let body = side.continued_body(&body, &continuation).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn the_clients_own_body_is_kept_and_gets_a_tail() {
        for (dialect, flavor, body, turn, wanted) in [
            (
                "openai-chat",
                "",
                r#"{"model":"m","x":1,"messages":[{"role":"user","content":"Hi"}],"max_tokens":9}"#,
                Some("Go on"),
                r#"{"model":"m","x":1,"messages":[{"role":"user","content":"Hi"},{"content":"One \"two","role":"assistant"},{"content":"Go on","role":"user"}],"max_tokens":7}"#,
            ),
            (
                "openai-chat",
                "mistral",
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
                None,
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"},{"content":"One \"two","prefix":true,"role":"assistant"}]}"#,
            ),
            (
                "openai-chat",
                "vllm",
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
                None,
                r#"{"model":"m","messages":[{"role":"user","content":"Hi"},{"content":"One \"two","role":"assistant"}],"continue_final_message":true,"add_generation_prompt":false}"#,
            ),
            (
                "openai-responses",
                "",
                r#"{"model":"m","input":"Hi","max_output_tokens":9}"#,
                Some("Go on"),
                r#"{"model":"m","input":[{"role":"user","content":"Hi"},{"content":"One \"two","role":"assistant"},{"content":"Go on","role":"user"}],"max_output_tokens":7}"#,
            ),
            (
                "anthropic",
                "",
                r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"system":"S"}"#,
                None,
                r#"{"model":"m","system":"S","messages":[{"role":"user","content":"Hi"},{"content":"One \"two","role":"assistant"}],"max_tokens":7}"#,
            ),
            (
                "gemini",
                "",
                r#"{"contents":[{"parts":[{"text":"Hi"}]}],"generation_config":{"topK":1,"max_output_tokens":9}}"#,
                Some("Go on"),
                r#"{"contents":[{"parts":[{"text":"Hi"}]},{"parts":[{"text":"One \"two"}],"role":"model"},{"parts":[{"text":"Go on"}],"role":"user"}],"generation_config":{"topK":1,"max_output_tokens":7}}"#,
            ),
        ] {
            let sent: Value =
                serde_json::from_str(&continued(dialect, flavor, body, turn)).unwrap();
            let wanted: Value = serde_json::from_str(wanted).unwrap();
            assert_eq!(sent, wanted, "{dialect} {flavor}");
        }
    }

    #[test]
    fn known_models_take_a_prefill() {
        for (dialect, flavor, model, takes) in [
            ("openai-chat", "", "gpt-5", false),
            ("openai-chat", "", "my-model", false),
            ("openai-chat", "mistral", "mistral-large", true),
            ("openai-chat", "deepseek", "deepseek-v4", false),
            ("openai-chat", "qwen", "qwen3-max", true),
            ("openai-chat", "vllm", "anything", true),
            ("openai-responses", "", "gpt-5", false),
            ("anthropic", "", "claude-haiku-4-5", true),
            ("anthropic", "", "claude-sonnet-4-6", false),
            ("anthropic", "", "claude-fable-5", false),
            ("anthropic", "", "some-gateway", false),
            ("gemini", "", "gemini-2.5-flash", true),
            ("gemini", "", "gemini-3.6-flash", false),
            ("ollama", "ollama", "llama3", true),
        ] {
            let (found, side) = Dialect::with_upstream_of(dialect, flavor).unwrap();
            let rules = Families::built_in().rules(found.name, model);
            assert_eq!(side.takes_prefill(model, &rules), takes, "{flavor} {model}");
        }
    }

    #[test]
    fn what_has_a_form_or_is_bound_is_never_continued() {
        for body in [
            r#"{"n":2}"#,
            r#"{"response_format":{"type":"json_object"}}"#,
            r#"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#,
            r#"{"logprobs":true}"#,
            r#"{"modalities":["audio"]}"#,
            r#"{"temperature":"hot"}"#,
            r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"One"}]}"#,
        ] {
            let mut whole: Value =
                serde_json::json!({ "messages": [{"role":"user","content":"Hi"}] });
            let fields: Value = serde_json::from_str(body).unwrap();
            whole
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            let chat = crate::openai_chat::DIALECT.client;
            let request = chat.parse_request(whole.to_string().into(), "").unwrap();
            assert!(!request.may_be_continued(), "{body}");
        }
    }
}
