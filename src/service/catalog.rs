//! The models that clients may ask for: those with a name and, behind `*`, those that the provider
//! lists.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use serde_json::Value;

use super::Service;
use crate::access::Caller;
use crate::provider::{ForwardedRequest, Provider};
use dialect::failure::Failure;

/// The time for which a provider's list is used.
const LIST_TTL: Duration = Duration::from_secs(300);
/// The time after which a provider that gave no list is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// Time limit of one question.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest list that is read, in bytes.
const MAX_LIST_BYTES: usize = 4 << 20;
/// The most models of a provider that are listed.
const MAX_MODELS: usize = 4096;
/// Longest name of a model that is listed, in bytes.
const MAX_NAME_LENGTH: usize = 256;

/// The list that the provider behind `*` gave last.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<Option<Listed>>);

#[derive(Debug, Clone)]
struct Listed {
    names: Arc<[String]>,
    /// The time from which on the provider is asked again.
    due: Instant,
}

/// A model that clients may ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// The name.
    pub name: String,
    /// The name of the provider that serves it.
    pub owner: String,
}

/// Returns all models that a caller may ask for.
pub async fn list_models(service: &Service, caller: &Caller) -> Vec<ListedModel> {
    let owned_by = |name: &str, owner: &str| ListedModel {
        name: name.to_owned(),
        owner: owner.to_owned(),
    };
    let mut models: Vec<ListedModel> = service
        .routes
        .names()
        .map(|name| match service.routes.plan(name) {
            Ok(plan) => owned_by(name, plan.current().provider.name()),
            Err(_) => owned_by(name, ""),
        })
        .collect();
    if let Some(provider) = service.routes.fallback() {
        let names = names_of(service, provider).await;
        let own: std::collections::HashSet<&str> = service.routes.names().collect();
        let others = names.iter().filter(|name| !own.contains(name.as_str()));
        models.extend(others.map(|name| owned_by(name, provider.name())));
    }
    models.retain(|model| caller.may_use(&model.name));
    models
}

/// Returns a provider's models: those that it listed lately or, should it not answer, before.
async fn names_of(service: &Service, provider: &Arc<dyn Provider>) -> Arc<[String]> {
    let lock = || {
        let cell = &service.catalog.0;
        cell.lock().unwrap_or_else(PoisonError::into_inner)
    };
    let last = lock().clone();
    let now = Instant::now();
    let old = match last {
        Some(listed) if now < listed.due => return listed.names,
        Some(listed) => listed.names,
        None => Arc::default(),
    };
    // Whoever asks meanwhile gets the old list.
    *lock() = Some(Listed {
        names: old.clone(),
        due: now + RETRY_INTERVAL,
    });
    let asked = tokio::time::timeout(LIST_TIMEOUT, ask(service, provider)).await;
    let asked = asked.unwrap_or_else(|_elapsed| Err(Failure::total_timeout(LIST_TIMEOUT)));
    match asked {
        Ok(names) => {
            *lock() = Some(Listed {
                names: names.clone(),
                due: now + LIST_TTL,
            });
            names
        }
        Err(failure) => {
            let error = failure.log_message();
            tracing::warn!(
                provider = provider.name(),
                error,
                "its models are not listed"
            );
            old
        }
    }
}

/// Asks a provider for its models.
async fn ask(service: &Service, provider: &Arc<dyn Provider>) -> Result<Arc<[String]>, Failure> {
    let path = match provider.dialect().map(|dialect| dialect.name) {
        None => return Ok(Arc::default()),
        Some("anthropic") => "/v1/models?limit=1000",
        Some("gemini") => "/v1beta/models?pageSize=1000",
        Some(_) => "/v1/models",
    };
    let request = ForwardedRequest {
        method: Method::GET,
        path: path.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        permit: None,
    };
    let mut body = provider.forward(request).await?.source.body;
    let mut list = BytesMut::new();
    while let Some(bytes) = poll_fn(|cx| body.poll_bytes(cx)).await {
        let bytes = bytes?;
        if list.len() + bytes.len() > MAX_LIST_BYTES {
            return Err(Failure::response_too_large(MAX_LIST_BYTES));
        }
        list.extend_from_slice(&bytes);
    }
    let list = list.freeze();
    service
        .compute
        .run(list.len(), move || parse_list(&list))
        .await?
}

/// Parses a list of models in any dialect.
fn parse_list(list: &[u8]) -> Result<Arc<[String]>, Failure> {
    let list: Value = serde_json::from_slice(list)
        .map_err(|error| Failure::bad_payload("a list of models", error.into()))?;
    // Some give the bare list.
    let models = [&list["data"], &list["models"], &list]
        .into_iter()
        .find_map(Value::as_array);
    let name = |model: &Value| {
        let name = [&model["id"], &model["name"]]
            .into_iter()
            .find_map(Value::as_str)?;
        let name = name.strip_prefix("models/").unwrap_or(name);
        let is_fine = !name.is_empty() && name.len() <= MAX_NAME_LENGTH;
        is_fine.then(|| name.to_owned())
    };
    let names = models.into_iter().flatten().filter_map(name);
    Ok(names.take(MAX_MODELS).collect())
}
