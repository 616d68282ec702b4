//! Whoever gives tokens: asks it over HTTP, and says in words why there was none.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Deserialize;

use crate::provider::credentials::Credentials;
use crate::provider::remote::client::Client;
use crate::provider::upstream::UpstreamBody;

/// The most that is read of an answer.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// The most of the giver's own words that are repeated, in characters.
const MAX_REASON: usize = 300;

/// The client with which givers of tokens are asked.
#[derive(Debug)]
pub(super) struct Giver {
    provider: String,
    client: Client,
}

impl Giver {
    pub(super) fn new(provider: &str, client: Client) -> Self {
        Self {
            provider: provider.to_owned(),
            client,
        }
    }

    /// Sends a request, and returns the body of its answer; an error never has the `secrets`.
    pub(super) async fn ask(
        &self,
        request: Request<Bytes>,
        secrets: &Credentials,
    ) -> Result<Bytes, String> {
        let sent = self.client.send(request, &self.provider).await;
        let response = sent.map_err(|failure| failure.log_message())?;
        let (status, body) = read_answer(response).await;
        match status == StatusCode::OK {
            true => Ok(body),
            false => Err(refusal(status, &secrets.redact_error(body))),
        }
    }
}

/// The answer that refuses one, in the words of OAuth or of a container's agent.
#[derive(Deserialize, Default)]
struct TokenError {
    #[serde(default, alias = "code", alias = "Code")]
    error: String,
    #[serde(default, alias = "message", alias = "Message")]
    error_description: String,
}

/// Reads an answer, as much as is wanted of one.
async fn read_answer(response: Response<UpstreamBody>) -> (StatusCode, Bytes) {
    let status = response.status();
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(Ok(bytes)) = body.next_bytes().await {
        let room = MAX_TOKEN_ANSWER - read.len();
        read.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if read.len() == MAX_TOKEN_ANSWER {
            break;
        }
    }
    (status, read.into())
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let mut text = format!("it answered {}", status.as_u16());
    let told = serde_json::from_slice(body).unwrap_or_else(|_| TokenError::in_xml(body));
    let reasons = [told.error, told.error_description];
    let reasons: Vec<&str> = reasons
        .iter()
        .filter_map(|reason| reason.lines().next())
        .filter(|reason| !reason.is_empty())
        .collect();
    if !reasons.is_empty() {
        let words: String = reasons.join(": ").chars().take(MAX_REASON).collect();
        let _ = write!(text, ", {words}");
    }
    text
}

impl TokenError {
    /// Returns the error of AWS's older services.
    fn in_xml(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let field = |name| element(&text, name).unwrap_or_default().to_owned();
        Self {
            error: field("Code"),
            error_description: field("Message"),
        }
    }
}

/// Returns the text of the first element of that name, which has no others in it.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}
