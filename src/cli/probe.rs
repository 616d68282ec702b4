//! `tokenrill probe PROVIDER`: asks a provider for its models and for one token, and says in words
//! what is wrong.

use std::fmt::Write as _;
use std::sync::Arc;

use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{Answer, Dialect};
use serde_json::Value;

use crate::app::App;
use crate::config::{self, AnswerSizes, Config, ProviderName};
use crate::provider::remote::RemoteProvider;
use crate::provider::{CompleteSource, Provider, UpstreamRequest};

/// Names of models that are printed.
const MAX_NAMES: usize = 5;
/// The most tokens that an answer may have: some models don't take fewer.
const MAX_TOKENS: u32 = 16;
const PROMPT: &str = "Say ok.";

/// The findings about a provider, line by line.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) text: String,
    /// It has given a token.
    pub(super) is_well: bool,
}

/// Asks the provider of that name; `model` is the upstream's name of one.
pub(super) async fn probe(
    config: Config,
    name: &str,
    model: Option<String>,
) -> Result<Report, String> {
    let known: Vec<&str> = config.providers.keys().map(ProviderName::as_str).collect();
    let found = config
        .providers
        .iter()
        .find(|(known, _)| known.as_str() == name);
    let Some((name, provider)) = found else {
        let known = known.join(", ");
        return Err(format!(
            "there is no provider `{name}` (there are: {known})"
        ));
    };
    let (name, provider) = (name.clone(), provider.clone());
    let configured = config.models.iter().find_map(|model| {
        let target = model.targets.iter().find(|target| target.provider == name);
        let target = target.filter(|_| model.name != "*")?;
        Some(target.model.clone().unwrap_or(model.name.clone()))
    });
    let app = App::new(config).map_err(|error| error.to_string())?;
    app.start_tokens();
    let remote = app.remote(&name).map_err(|error| error.to_string())?;
    let Some(remote) = remote else {
        return Err(format!("provider `{name}` can't be asked"));
    };
    let mut text = format!(
        "provider `{name}`: {} at {}\n",
        provider.dialect,
        provider.base_url.as_str()
    );
    let listed = match remote.get(models_path(provider.dialect)).await {
        Ok(body) => names(&body),
        Err(failure) => {
            let _ = writeln!(text, "models: not listed ({failure})");
            Vec::new()
        }
    };
    if !listed.is_empty() {
        let some = listed[..listed.len().min(MAX_NAMES)].join(", ");
        let _ = writeln!(text, "models: {}, such as {some}", listed.len());
    }
    let Some(model) = model.or(configured).or_else(|| listed.into_iter().next()) else {
        text.push_str("no model is known to ask: name one by --model\n");
        let is_well = false;
        return Ok(Report { text, is_well });
    };
    let is_well = match ask(&remote, &model).await {
        Ok(answer) => {
            let said: String = answer.chars().take(60).collect();
            let _ = writeln!(text, "model `{model}` answers: {said:?}");
            true
        }
        Err(failure) => {
            let _ = writeln!(text, "model `{model}`: {failure}");
            if let Some(hint) = hint(&failure, &provider) {
                let _ = writeln!(text, "{hint}");
            }
            false
        }
    };
    Ok(Report { text, is_well })
}

/// Returns the path of the list of models.
fn models_path(dialect: &str) -> &'static str {
    match dialect {
        "anthropic" => "/v1/models",
        "ollama" => "/api/tags",
        _ => "/models",
    }
}

/// Returns the names of models in a list of any dialect.
fn names(body: &[u8]) -> Vec<String> {
    let Ok(list) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let models = ["data", "models"]
        .iter()
        .find_map(|field| list[field].as_array())
        .or_else(|| list.as_array());
    let name = |model: &Value| {
        let mut fields = ["id", "name", "model"].iter();
        let name = fields.find_map(|field| model[field].as_str())?;
        Some(name.strip_prefix("models/").unwrap_or(name).to_owned())
    };
    models.into_iter().flatten().filter_map(name).collect()
}

/// Asks for a short answer.
async fn ask(provider: &RemoteProvider, model: &str) -> Result<String, Failure> {
    let mut request = Request::prompt(PROMPT);
    request.stream = false;
    request.max_tokens = Some(MAX_TOKENS);
    let call = UpstreamRequest {
        request: Arc::new(request),
        // Another dialect than any provider's.
        dialect: &dialect::plain::DIALECT,
        parameters: Arc::default(),
        sizes: AnswerSizes::default(),
        model: model.to_owned(),
        id: "probe".to_owned(),
        headers: http::HeaderMap::new(),
        permit: None,
        continuation: None,
        foreign_seals: None,
        resume: None,
    };
    let opened = provider.open_complete(call).await?;
    let CompleteSource::Body(body, dialect) = opened.source else {
        let message = "it answered with a stream, which was not asked for";
        return Err(Failure::upstream_error(message));
    };
    let mut answer = Answer::default();
    if let Some(side) = dialect.upstream {
        side.parse_answer(
            &body.bytes,
            body.finish_rule,
            Some(&mut |event| answer.add(&event)),
        )?;
    }
    Ok(answer.text())
}

/// Says what to look at.
fn hint(failure: &Failure, provider: &config::Provider) -> Option<String> {
    let dialects: Vec<&str> = Dialect::upstream_names().collect();
    let url = provider.base_url.as_str();
    let refused = failure.refusal().map(|refusal| refusal.status);
    Some(match (failure.code(), refused) {
        (_, Some(401 | 403)) => {
            "what to look at: the key, which was refused; or the rights that it has".to_owned()
        }
        (_, Some(404 | 405)) => format!(
            "what to look at: the model's name, or the address: the path of {} was added to {url}",
            provider.dialect
        ),
        (_, Some(400 | 422)) => {
            "what to look at: the model, or the dialect: the request was not understood".to_owned()
        }
        (_, Some(429)) => "the key is right, and has used up what it may".to_owned(),
        ("upstream_not_a_stream" | "upstream_bad_payload", _) => format!(
            "what to look at: the dialect (now {}; there are {}), or the address {url}",
            provider.dialect,
            dialects.join(", ")
        ),
        ("tls_failed", _) => {
            "what to look at: the certificate; SSL_CERT_FILE names others that are trusted"
                .to_owned()
        }
        ("dns_failed" | "connect_failed" | "connect_timeout", _) => {
            format!("what to look at: the address {url}")
        }
        ("no_access_token", _) => {
            "what to look at: the credentials that are exchanged for a token".to_owned()
        }
        _ => return None,
    })
}
