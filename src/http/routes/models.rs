//! `GET /v1/models` and `/v1/models/{id}`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::service::Service;
use dialect::failure::Failure;

/// Answers with every model that has a name.
pub(super) async fn list(State(service): State<Arc<Service>>) -> Response {
    let models: Vec<Value> = service
        .routes
        .names()
        .map(|name| model(&service, name))
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
) -> Result<Response, Rejection> {
    match service.routes.names().find(|name| *name == id) {
        Some(name) => Ok(json_response(&model(&service, name))),
        None => {
            let known: Vec<String> = service.routes.names().map(str::to_owned).collect();
            Err(Failure::unknown_model(&id.chars().take(80).collect::<String>(), &known).into())
        }
    }
}

fn model(service: &Service, name: &str) -> Value {
    let owner = service.routes.plan(name).map_or_else(
        |_| String::new(),
        |plan| plan.first().provider.name().to_owned(),
    );
    // When a model was made is nothing that a proxy knows; SDKs want the field.
    json!({
        "id": name, "object": "model", "created": 0, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z",
    })
}
