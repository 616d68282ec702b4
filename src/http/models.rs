//! `GET /v1/models` and `/v1/models/{id}`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use super::error::Refused;
use dialect::failure::Failure;

/// Every model that has a name.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let models: Vec<Value> = shared
        .routes
        .names()
        .map(|name| model(&shared, name))
        .collect();
    // Both OpenAI's page and Anthropic's, which differ in what they add.
    let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (id(models.first()), id(models.last()));
    json(
        &json!({ "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last }),
    )
}

/// One model, by its name.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    match shared.routes.names().find(|name| *name == id) {
        Some(name) => Ok(json(&model(&shared, name))),
        None => {
            let known: Vec<String> = shared.routes.names().map(str::to_owned).collect();
            Err(Failure::unknown_model(&id.chars().take(80).collect::<String>(), &known).into())
        }
    }
}

fn model(shared: &Shared, name: &str) -> Value {
    let owner = shared.routes.plan(name).map_or_else(
        |_| String::new(),
        |plan| plan.first().provider.name().to_owned(),
    );
    // When a model was made is nothing that a proxy knows; SDKs want the field.
    json!({
        "id": name, "object": "model", "created": 0, "owned_by": owner,
        "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z",
    })
}

/// A JSON response.
pub(super) fn json(value: &Value) -> Response {
    (
        [("content-type", HeaderValue::from_static("application/json"))],
        value.to_string(),
    )
        .into_response()
}
