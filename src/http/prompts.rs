//! `/prompts`: templates as endpoints.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::asked::{Asked, wants_events};
use super::begin::Order;
use super::body::{self, Format};
use super::error::Refused;
use super::linger;
use super::models::json;
use super::respond::respond;
use crate::prompts::{Set, Template};
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{json as json_body, plain};

/// All templates.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Response, Refused> {
    let set = current(&shared).await?;
    let prompts: Vec<Value> = set.list().map(Template::describe).collect();
    Ok(json(&json!({ "prompts": prompts })))
}

/// One template's description; or, for an `EventSource`, which can only GET, its run.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    uri: Uri,
    mut asked: Asked,
) -> Result<Response, Refused> {
    let set = current(&shared).await?;
    let template = find(&set, &name)?;
    if !wants_events(&asked.headers) && uri.query().is_none_or(str::is_empty) {
        return Ok(json(&template.describe()));
    }
    asked.only_get()?;
    let model = asked.take("model");
    let values = template.variables_from_query(&asked.pairs).map_err(wrong)?;
    respond(&shared, order(template, values, model)?, asked).await
}

/// Runs a template with the variables of a JSON object.
pub(super) async fn post(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    mut asked: Asked,
    body: Body,
) -> Result<Response, Refused> {
    let model = asked.take("model");
    asked.no_more_pairs()?;
    body::format(&asked.headers, &[Format::Json])?;
    let body = body::read(body, &shared).await?;
    let order = read(&shared, &name, &body, model, &mut asked).await?;
    respond(&shared, order, asked).await
}

/// Reads a body in JSON: a template's variables.
pub(super) async fn read(
    shared: &Arc<Shared>,
    name: &str,
    body: &[u8],
    model: Option<String>,
    asked: &mut Asked,
) -> Result<Order, Failure> {
    let mut values: Map<String, Value> = json_body::parse_body(body)?;
    let set = current(shared).await?;
    let template = find(&set, name)?;
    if !template.has_variable("linger")
        && let Some(value) = values.remove("linger")
    {
        asked.linger = Some(linger::of_json(&value)?);
    }
    order(template, values, model)
}

fn order(
    template: &Template,
    values: Map<String, Value>,
    model: Option<String>,
) -> Result<Order, Failure> {
    let text = template.render(values).map_err(wrong)?;
    let mut request = Request::prompt(text.user);
    plain::request::prepend_system(&mut request, text.system);
    request.model = model.or_else(|| template.model().map(str::to_owned));
    request.max_tokens = template.max_tokens();
    request.sampling.temperature = template.temperature();
    Ok(Order {
        route: "/prompts/{name}",
        dialect: &plain::DIALECT,
        request,
    })
}

/// The templates as they are on disk now; looking there may block, so it is done aside.
#[expect(
    clippy::disallowed_methods,
    reason = "reads the folder of templates; the request waits for it"
)]
async fn current(shared: &Arc<Shared>) -> Result<Arc<Set>, Failure> {
    let shared = shared.clone();
    tokio::task::spawn_blocking(move || shared.prompts.current())
        .await
        .map_err(|error| Failure::internal(error.into()))
}

fn find<'a>(set: &'a Set, name: &str) -> Result<&'a Template, Failure> {
    set.get(name).ok_or_else(|| {
        let known: Vec<&str> = set.list().map(Template::name).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        let name: String = name.chars().take(80).collect();
        Failure::not_found(format!("no prompt template `{name}`; there are: {known}"))
    })
}

fn wrong(error: crate::prompts::RenderError) -> Failure {
    Failure::invalid_request(error.to_string()).with_param(error.variable().map(str::to_owned))
}
