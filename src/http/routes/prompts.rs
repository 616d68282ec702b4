//! `/prompts`: templates as endpoints.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::http::accept::wants_events;
use crate::http::body::{self, BodyFormat, ReceivedBody};
use crate::http::context::{Query, RequestHead};
use crate::http::error::Rejection;
use crate::http::json::json;
use crate::http::linger;
use crate::http::respond::respond;
use crate::prompts::{Set, Template};
use crate::service::{GenerationRequest, RequestContext, Service};
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::{json as json_body, plain};

/// All templates.
pub(super) async fn list(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
    let set = current(&service).await?;
    let prompts: Vec<Value> = set.list().map(Template::describe).collect();
    Ok(json(&json!({ "prompts": prompts })))
}

/// One template's description; or, for an `EventSource`, which can only GET, its run.
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    uri: Uri,
    mut head: RequestHead,
) -> Result<Response, Rejection> {
    let set = current(&service).await?;
    let template = find(&set, &name)?;
    if !wants_events(&head.context.headers) && uri.query().is_none_or(str::is_empty) {
        return Ok(json(&template.describe()));
    }
    head.only_get()?;
    let model = head.query.take("model");
    let values = template
        .variables_from_query(&head.query.0)
        .map_err(render_failure)?;
    let render = {
        let set = set.clone();
        move || generation_request(find(&set, &name)?, values, model)
    };
    let request = service.compute.run_aside(render).await??;
    respond(&service, request, &head.context).await
}

/// Runs a template with the variables of a JSON object.
pub(super) async fn post(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    mut head: RequestHead,
    body: Body,
) -> Result<Response, Rejection> {
    let RequestHead { context, query, .. } = &mut head;
    body::format(&context.headers, &[BodyFormat::Json])?;
    let ReceivedBody { bytes, permit } = body::read_body(body, &service).await?;
    let mut request = parse_body(&service, &name, bytes, query, context).await?;
    request.permit = Some(permit);
    respond(&service, request, context).await
}

/// Parses a body in JSON: a template's variables, each checked before it is kept.
pub(super) async fn parse_body(
    service: &Arc<Service>,
    name: &str,
    body: Bytes,
    query: &mut Query,
    context: &mut RequestContext,
) -> Result<GenerationRequest, Failure> {
    let model = query.take("model");
    query.deny()?;
    let set = current(service).await?;
    let name = name.to_owned();
    let render = move || {
        let template = find(&set, &name)?;
        let (mut values, mut linger) = (Map::new(), None);
        json_body::read_fields(&body, |name, value| {
            let value = json_body::parse_scalar(value);
            if name == "linger" && !template.has_variable(name) {
                // A list is refused as any other value that is no time.
                linger = Some(linger::of_json(&value.unwrap_or_else(|| json!([])))?);
                return Ok(());
            }
            template
                .check_variable(name, value.as_ref())
                .map_err(render_failure)?;
            values.insert(name.to_owned(), value.unwrap_or_default());
            Ok(())
        })?;
        Ok::<_, Failure>((generation_request(template, values, model)?, linger))
    };
    let (request, linger) = service.compute.run_aside(render).await??;
    context.linger = linger.or(context.linger);
    Ok(request)
}

fn generation_request(
    template: &Template,
    values: Map<String, Value>,
    model: Option<String>,
) -> Result<GenerationRequest, Failure> {
    let variables = serde_json::to_vec(&values).map_err(|error| Failure::internal(error.into()))?;
    let as_sent = vec![
        Bytes::copy_from_slice(template.name().as_bytes()),
        Bytes::copy_from_slice(model.as_deref().unwrap_or_default().as_bytes()),
        variables.into(),
    ];
    let text = template.render(values).map_err(render_failure)?;
    let mut request = Request::prompt(text.user);
    plain::request::prepend_system(&mut request, text.system);
    request.model = model.or_else(|| template.model().map(str::to_owned));
    request.max_tokens = template.max_tokens();
    request.sampling.temperature = template.temperature();
    Ok(GenerationRequest {
        route: "/prompts/{name}",
        dialect: &plain::DIALECT,
        request,
        as_sent,
        permit: None,
    })
}

/// The templates as they are on disk now; looking there may block, so it is done aside.
#[expect(
    clippy::disallowed_methods,
    reason = "reads the folder of templates; the request waits for it"
)]
async fn current(service: &Arc<Service>) -> Result<Arc<Set>, Failure> {
    let service = service.clone();
    tokio::task::spawn_blocking(move || service.prompts.current())
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

fn render_failure(error: crate::prompts::RenderError) -> Failure {
    Failure::invalid_request(error.to_string()).with_param(error.variable().map(str::to_owned))
}
