//! `/prompts`: templates as endpoints.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::body::{self, Format};
use super::error::Refused;
use super::models::json;
use super::plain::{only_get, rendered};
use super::query::Manner;
use super::respond::{Asked, respond};
use super::{Shared, query};
use crate::dialect::{Dialect, json as json_body};
use crate::failure::Failure;
use crate::generation::Left;
use crate::id::RequestId;
use crate::prompts::{Set, Template};

const ROUTE: &str = "/prompts/{name}";

/// All templates.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Response, Refused> {
    let set = current(&shared).await?;
    let prompts: Vec<Value> = set.list().map(describe).collect();
    Ok(json(&json!({ "prompts": prompts })))
}

/// One template's description; or, for an `EventSource`, which can only GET, its run.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(left): Extension<Left>,
    Path(name): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let set = current(&shared).await?;
    let template = find(&set, &name)?;
    let event_source = headers.get(ACCEPT).is_some_and(|accept| {
        String::from_utf8_lossy(accept.as_bytes()).to_ascii_lowercase().contains("text/event-stream")
    });
    if !event_source && uri.query().is_none_or(str::is_empty) {
        return Ok(json(&describe(template)));
    }
    only_get(&method, "GET,POST")?;
    let (manner, mut pairs) = query::read(&uri, &headers)?;
    let model = take_model(&mut pairs);
    let values = template.variables_from_query(&pairs).map_err(wrong)?;
    run(&shared, template, values, model, Asked { id, left, headers, route: ROUTE, dialect: Dialect::Plain, manner })
        .await
}

/// Runs a template with the variables of a JSON object.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(left): Extension<Left>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let (manner, mut pairs): (Manner, _) = query::read(&uri, &headers)?;
    let model = take_model(&mut pairs);
    if let Some((name, _)) = pairs.first() {
        return Err(Failure::invalid(name, format!("`{name}` belongs into the JSON body here")).into());
    }
    body::format(&headers, &[Format::Json])?;
    let bytes = body::read(body, &shared).await?;
    let values: Map<String, Value> = json_body::read(&bytes)?;
    let set = current(&shared).await?;
    let template = find(&set, &name)?;
    run(&shared, template, values, model, Asked { id, left, headers, route: ROUTE, dialect: Dialect::Plain, manner })
        .await
}

async fn run(
    shared: &Shared,
    template: &Template,
    values: Map<String, Value>,
    model: Option<String>,
    asked: Asked,
) -> Result<Response, Refused> {
    let text = template.render(values).map_err(wrong)?;
    let mut request = rendered(text.system, text.user);
    request.model = model.or_else(|| template.model().map(str::to_owned));
    request.max_tokens = template.max_tokens();
    request.temperature = template.temperature();
    respond(shared, request, asked).await
}

/// The templates as they are on disk now; looking there may block, so it is done aside.
async fn current(shared: &Arc<Shared>) -> Result<Arc<Set>, Failure> {
    let shared = shared.clone();
    tokio::task::spawn_blocking(move || shared.prompts.current()).await.map_err(|error| Failure::Internal(error.into()))
}

fn find<'a>(set: &'a Set, name: &str) -> Result<&'a Template, Failure> {
    set.get(name).ok_or_else(|| {
        let known: Vec<&str> = set.list().map(Template::name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let name: String = name.chars().take(80).collect();
        Failure::NotFound { message: format!("no prompt template `{name}`; there are: {known}") }
    })
}

fn describe(template: &Template) -> Value {
    serde_json::to_value(template.describe()).unwrap_or_default()
}

fn take_model(pairs: &mut Vec<(String, String)>) -> Option<String> {
    let at = pairs.iter().position(|(name, _)| name == "model")?;
    Some(pairs.remove(at).1)
}

fn wrong(error: crate::prompts::RenderError) -> Failure {
    Failure::InvalidRequest { param: error.variable().map(str::to_owned), message: error.to_string() }
}
