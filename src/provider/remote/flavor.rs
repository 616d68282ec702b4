//! The addresses and bodies of flavors that put them together otherwise than their dialect does.
//!
//! Chosen when a provider is built. Differences of single fields are the dialect's own: see
//! `dialect::openai_chat`.

use bytes::Bytes;
use dialect::failure::Failure;
use dialect::request::Operation;
use dialect::{UpstreamSide, json};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that stand for themselves in a model's part of a path.
const MODEL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@');

/// The fields of a request that Vertex counts the tokens of.
const VERTEX_COUNTED_FIELDS: &[&str] =
    &["contents", "systemInstruction", "tools", "generationConfig"];
/// The version of the Messages API that Vertex wants in a body.
const VERTEX_VERSION: &str = "\"vertex-2023-10-16\"";
/// The same at Bedrock.
const BEDROCK_VERSION: &str = "\"bedrock-2023-05-31\"";
const BETA_HEADER: &str = "anthropic-beta";

/// The way in which a flavor puts addresses and bodies together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Addressing {
    /// As the dialect does.
    #[default]
    Dialect,
    /// With a version in the query.
    Versioned(String),
    /// By the name of a deployment in the path, with a version in the query.
    Deployments(String),
    /// Gemini on Vertex: as the dialect does, but for the counting of tokens.
    VertexGemini,
    /// Claude on Vertex: the model in the path, the version in the body.
    VertexClaude,
    /// Claude by `InvokeModel` of Bedrock: the same, and betas in the body.
    BedrockInvoke,
}

impl Addressing {
    /// Returns the way of a flavor with a dialect; `version` is that of Azure's API.
    #[must_use]
    pub fn new(flavor: &str, dialect: &str, version: Option<&str>) -> Self {
        match (flavor, dialect, version) {
            ("azure", "openai-chat", Some(version)) if version.starts_with(char::is_numeric) => {
                Self::Deployments(version.to_owned())
            }
            ("azure", "openai-chat" | "openai-responses", Some(version)) => {
                Self::Versioned(version.to_owned())
            }
            ("vertex", "anthropic", _) => Self::VertexClaude,
            ("vertex", "gemini", _) => Self::VertexGemini,
            ("bedrock-invoke", _, _) => Self::BedrockInvoke,
            _ => Self::Dialect,
        }
    }

    /// Returns the header that carries a flavor's key: its lower-case name and its value.
    #[must_use]
    pub fn key_header(flavor: &str, side: &dyn UpstreamSide, key: &str) -> (&'static str, String) {
        match flavor {
            "azure" => ("api-key", key.to_owned()),
            "vertex" => ("x-goog-api-key", key.to_owned()),
            "bedrock" | "bedrock-invoke" | "bedrock-converse" | "openrouter" | "ollama" => {
                ("authorization", format!("Bearer {key}"))
            }
            _ => side.key_header(key),
        }
    }

    /// Returns the path after the base address; `None` for an operation that the upstream lacks.
    pub(super) fn path(
        &self,
        side: &dyn UpstreamSide,
        operation: Operation,
        model: &str,
        stream: bool,
    ) -> Option<String> {
        let escaped = || utf8_percent_encode(model, MODEL);
        match (self, operation) {
            (Self::Dialect | Self::VertexGemini, _) => side.request_path(operation, model, stream),
            (Self::Versioned(version), _) => {
                let path = side.request_path(operation, model, stream)?;
                Some(format!("{path}?api-version={version}"))
            }
            (Self::Deployments(version), _) => {
                let path = side.request_path(operation, model, stream)?;
                let model = escaped();
                Some(format!("/deployments/{model}{path}?api-version={version}"))
            }
            (Self::VertexClaude, Operation::CountTokens) => {
                Some("/models/count-tokens:rawPredict".to_owned())
            }
            (Self::VertexClaude, _) if stream => {
                Some(format!("/models/{}:streamRawPredict", escaped()))
            }
            (Self::VertexClaude, _) => Some(format!("/models/{}:rawPredict", escaped())),
            (Self::BedrockInvoke, Operation::CountTokens) => None,
            (Self::BedrockInvoke, _) if stream => {
                let model = escaped();
                Some(format!("/model/{model}/invoke-with-response-stream"))
            }
            (Self::BedrockInvoke, _) => Some(format!("/model/{}/invoke", escaped())),
        }
    }

    /// Checks a model's name that becomes a part of the path.
    pub(super) fn check_model(&self, model: &str) -> Result<(), Failure> {
        let is_in_path = !matches!(
            self,
            Self::Dialect | Self::Versioned(_) | Self::VertexGemini
        );
        if is_in_path && matches!(model, "" | "." | "..") {
            let message = format!("`model` can't be `{model}` at this provider");
            return Err(Failure::invalid("model", message));
        }
        Ok(())
    }

    /// Returns the body that asks for the tokens of a request that was translated.
    pub(super) fn count_body(
        &self,
        side: &dyn UpstreamSide,
        body: Bytes,
        model: &str,
    ) -> Result<Bytes, Failure> {
        match self {
            Self::VertexGemini => json::with_only(&body, VERTEX_COUNTED_FIELDS),
            _ => side.count_body(body, model),
        }
    }

    /// Changes a body as the flavor wants it; the headers are those of the request.
    pub(super) fn body(
        &self,
        body: Bytes,
        operation: Operation,
        headers: &mut HeaderMap,
    ) -> Result<Bytes, Failure> {
        let generates = operation == Operation::Generate;
        match self {
            Self::Dialect | Self::Versioned(_) | Self::Deployments(_) | Self::VertexGemini => {
                Ok(body)
            }
            Self::VertexClaude => {
                headers.remove("anthropic-version");
                let version = ("anthropic_version", Some(VERTEX_VERSION));
                let changes = [version, ("model", None)];
                // What is counted is named in the body alone.
                let changed = if generates {
                    &changes[..]
                } else {
                    &changes[..1]
                };
                json::with_fields(&body, changed)
            }
            Self::BedrockInvoke => {
                headers.remove("anthropic-version");
                let betas = betas(headers);
                headers.remove(BETA_HEADER);
                let mut changes = vec![
                    ("anthropic_version", Some(BEDROCK_VERSION)),
                    ("model", None),
                    ("stream", None),
                ];
                if let Some(betas) = &betas {
                    changes.push(("anthropic_beta", Some(betas)));
                }
                json::with_fields(&body, &changes)
            }
        }
    }
}

/// Returns the betas that the headers name, as a JSON list.
fn betas(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(BETA_HEADER).iter();
    let names: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    (!names.is_empty()).then(|| serde_json::Value::from(names).to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use dialect::Dialect;

    use super::*;

    fn path(flavor: &str, dialect: &str, version: Option<&str>, model: &str) -> String {
        let (_, side) = Dialect::with_upstream(dialect).unwrap();
        let addressing = Addressing::new(flavor, dialect, version);
        let path = addressing.path(side, Operation::Generate, model, true);
        path.unwrap()
    }

    #[test]
    fn addresses_are_those_of_the_flavor() {
        for (flavor, dialect, version, model, wanted) in [
            ("azure", "openai-chat", None, "my gpt", "/chat/completions"),
            (
                "azure",
                "openai-chat",
                Some("2024-10-21"),
                "my gpt",
                "/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
            ),
            (
                "azure",
                "openai-responses",
                Some("2025-04-01-preview"),
                "gpt",
                "/responses?api-version=2025-04-01-preview",
            ),
            (
                "azure",
                "openai-chat",
                Some("preview"),
                "gpt",
                "/chat/completions?api-version=preview",
            ),
            (
                "vertex",
                "anthropic",
                None,
                "claude-sonnet-4@20250514",
                "/models/claude-sonnet-4@20250514:streamRawPredict",
            ),
            (
                "vertex",
                "gemini",
                None,
                "gemini-3-pro",
                "/models/gemini-3-pro:streamGenerateContent?alt=sse",
            ),
            (
                "bedrock-invoke",
                "anthropic",
                None,
                "arn:aws:x/claude-v1:0",
                "/model/arn%3Aaws%3Ax%2Fclaude-v1%3A0/invoke-with-response-stream",
            ),
        ] {
            assert_eq!(path(flavor, dialect, version, model), wanted);
        }
    }

    #[test]
    fn claude_elsewhere_has_its_version_in_the_body_and_no_model() {
        let body = Bytes::from_static(br#"{"model":"claude","stream":true,"max_tokens":5}"#);
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", "2023-06-01".parse().unwrap());
        headers.append(BETA_HEADER, "a-2025, b-2025".parse().unwrap());
        headers.append(BETA_HEADER, "c-2026".parse().unwrap());
        let mut sent = headers.clone();
        let changed = Addressing::VertexClaude.body(body.clone(), Operation::Generate, &mut sent);
        let wanted = r#"{"stream":true,"max_tokens":5,"anthropic_version":"vertex-2023-10-16"}"#;
        assert_eq!(changed.unwrap(), wanted);
        assert_eq!(sent.get_all(BETA_HEADER).iter().count(), 2);
        let changed = Addressing::BedrockInvoke.body(body, Operation::Generate, &mut headers);
        let wanted = r#"{"max_tokens":5,"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-2025","b-2025","c-2026"]}"#;
        assert_eq!(changed.unwrap(), wanted);
        assert!(headers.is_empty());
    }
}
