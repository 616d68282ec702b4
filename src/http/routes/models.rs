//! The models, in each dialect's shape: `GET /v1/models` and `/v1/models/{id}` for OpenAI's clients
//! and Anthropic's, the same under `/v1beta` for Gemini's.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::access::Caller;
use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::service::{ListedModel, Service, list_models};
use dialect::failure::Failure;

/// Answers with every model that can be asked for.
pub(super) async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Response {
    let models: Vec<Value> = list_models(&service, &caller)
        .await
        .iter()
        .map(model)
        .collect();
    // Both OpenAI's page and Anthropic's, which differ in what they add.
    let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (id(models.first()), id(models.last()));
    json_response(
        &json!({ "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last }),
    )
}

/// Answers with one model.
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<Response, Rejection> {
    Ok(json_response(&model(&find(&service, &id, &caller).await?)))
}

/// Answers with every model, as Gemini does.
pub(super) async fn list_gemini(State(service): State<Arc<Service>>, caller: Caller) -> Response {
    let models = list_models(&service, &caller).await;
    let models: Vec<Value> = models.iter().map(gemini_model).collect();
    json_response(&json!({ "models": models }))
}

/// Answers with one model, as Gemini does.
pub(super) async fn one_gemini(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<Response, Rejection> {
    Ok(json_response(&gemini_model(
        &find(&service, &id, &caller).await?,
    )))
}

/// Finds a model that is listed, or that may be there: behind `*`, if the provider lists none.
async fn find(service: &Service, id: &str, caller: &Caller) -> Result<ListedModel, Failure> {
    caller.check_model(id)?;
    let mut models = list_models(service, caller).await;
    let names = service.routes.names().filter(|name| caller.may_use(name));
    let known: Vec<String> = names.map(str::to_owned).collect();
    let lists_all = models.len() > known.len();
    if let Some(at) = models.iter().position(|model| model.name == id) {
        return Ok(models.swap_remove(at));
    }
    match service.routes.fallback() {
        Some(provider) if !lists_all => Ok(ListedModel {
            name: id.to_owned(),
            owner: provider.name().to_owned(),
        }),
        _ => {
            let id: String = id.chars().take(80).collect();
            Err(Failure::unknown_model(&id, &known))
        }
    }
}

fn model(model: &ListedModel) -> Value {
    let ListedModel { name, owner } = model;
    // When a model was made is nothing that a proxy knows; SDKs want the field.
    json!({
        "id": name, "object": "model", "created": 0, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z",
    })
}

fn gemini_model(model: &ListedModel) -> Value {
    let name = &model.name;
    json!({
        "name": format!("models/{name}"), "baseModelId": name, "version": "", "displayName": name,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
    })
}
