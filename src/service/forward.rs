//! Passing a request on as it is, to a provider that speaks its dialect.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Service;
use super::accounting::{self, Asked};
use super::context::RequestContext;
use super::error::StartError;
use super::plan::plan_of;
use super::timeouts::{client_timeout, is_client_retry};
use crate::access::Caller;
use crate::generation::{ForwardParams, ForwardedGeneration, RequestForTarget};
use crate::memory::MemoryPermit;
use crate::provider::ForwardedRequest;
use crate::routing::{Plan, Target};
use dialect::failure::Failure;
use dialect::request::InputSize;

/// Parts of a form that are looked at for the model's name.
const MAX_PARTS: usize = 64;

/// A request that is to be passed on.
#[derive(Debug)]
pub struct ForwardRequest {
    /// The route, for the log.
    pub route: &'static str,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The path with its query.
    pub path_and_query: String,
    /// The body.
    pub body: Bytes,
    /// The permit for the body's memory.
    pub permit: Option<MemoryPermit>,
}

/// Sends a request to the provider of its model, if that speaks the dialect of its path, and
/// returns the answer as it begins.
///
/// # Errors
///
/// When no provider of that dialect serves the model, or the provider refuses.
pub async fn forward(
    service: &Service,
    request: ForwardRequest,
    deployment: Option<&str>,
    context: &RequestContext,
) -> Result<ForwardedGeneration, StartError> {
    if service.draining.is_begun() {
        return Err(Failure::draining().into());
    }
    let (body, headers) = (request.body.clone(), context.headers.clone());
    let find = move || NamedModel::find(&body, &headers);
    let named = service.compute.run(request.body.len(), find).await?;
    let named_model = named.as_ref().map(|named| named.name.as_str());
    let model = deployment.or(named_model).unwrap_or_default().to_owned();
    let dialects = dialects_of(&request.path, &context.headers);
    let stored = named.as_ref().and_then(|named| named.stored.as_deref());
    let stored = match model.is_empty() {
        true => response_in(&request.path),
        false => stored,
    };
    let caller = &context.caller;
    let mut plan = forward_plan(service, &model, dialects, stored, caller)?;
    plan.current().check_body(request.body.len())?;
    if is_client_retry(&context.headers) {
        plan.count_client_retry();
    }
    let asked = Asked {
        dialect: dialect::dialect_for_path(&request.path),
        model: &model,
        plan: &plan,
        input: forwarded_size(&request, named.as_ref()),
        max_tokens: Some(0),
        n: 1,
        // Such as a list of files: it names no model, and uses none.
        is_free: model.is_empty(),
    };
    let admission = accounting::admit(service, context, &asked)?;
    let params = ForwardParams {
        request_id: context.id.clone(),
        route: request.route,
        model,
        timeouts: plan.current().timeouts.or(service.timeouts),
        client_timeout: client_timeout(&context.headers),
        plan,
        stream: named.as_ref().is_some_and(|named| named.stream),
        request_for: request_maker(request, named, context.headers.clone()),
        abort: context.caller.abort(&service.abort),
        disconnect: context.disconnect.clone(),
        observers: service.observers.clone(),
        account: admission.account,
    };
    match ForwardedGeneration::open(params).await {
        Ok(mut opened) => {
            opened.headers.extend(admission.headers);
            Ok(opened)
        }
        Err((failure, generation)) => {
            Err(StartError::of_generation(failure, generation).with_headers(admission.headers))
        }
    }
}

/// Returns the size of a body's input: JSON's own, and nothing of a form, whose files are no texts.
fn forwarded_size(request: &ForwardRequest, named: Option<&NamedModel>) -> InputSize {
    let is_json = named.is_some_and(|named| named.is_json);
    InputSize {
        bytes: if is_json {
            request.body.len() as u64
        } else {
            0
        },
        fixed: 0,
    }
}

/// Returns a function that makes the request for a target, with its own name for the model.
fn request_maker(
    request: ForwardRequest,
    named: Option<NamedModel>,
    headers: HeaderMap,
) -> RequestForTarget {
    let request_as_sent = ForwardedRequest {
        method: request.method,
        path: request.path_and_query,
        headers,
        body: request.body,
        permit: request.permit.map(Arc::new),
    };
    Box::new(move |target| {
        let mut request = request_as_sent.clone();
        if let Some(named) = &named
            && named.name != target.upstream_model
        {
            request.body = named.replaced(&request.body, &target.upstream_model);
        }
        request
    })
}

/// Returns the dialects whose providers know that path.
fn dialects_of(path: &str, headers: &HeaderMap) -> &'static [&'static str] {
    if path.starts_with("/v1/messages/") || headers.contains_key("anthropic-version") {
        &["anthropic"]
    } else if path.starts_with("/v1/responses/") {
        &["openai-responses"]
    } else if path.starts_with("/v1beta/") {
        &["gemini"]
    } else {
        &["openai-chat", "openai-responses"]
    }
}

/// Returns the id of the response that a path names.
fn response_in(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/responses/")?.split('/').next()
}

/// Returns the plan of a model, of the targets that speak one of those dialects. Without a model it
/// is one target: that of the provider which made the response `stored`, the default's or, should
/// that speak another, the first that does. What such a request names, as a file, is known to one
/// provider alone.
fn forward_plan(
    service: &Service,
    model: &str,
    dialects: &[&str],
    stored: Option<&str>,
    caller: &Caller,
) -> Result<Plan, Failure> {
    let speaks = |target: &Target| {
        let dialect = target.provider.dialect();
        dialect.is_some_and(|dialect| dialects.contains(&dialect.name))
    };
    let needs = format!("needs a provider of dialect {}", dialects.join(" or "));
    if !model.is_empty() {
        let mut plan = plan_of(service, model, caller)?;
        if !plan.targets().iter().any(speaks) {
            return Err(Failure::not_found(format!(
                "this endpoint {needs}; the model is served by provider `{}`",
                plan.current().provider.name()
            )));
        }
        plan.forward_to(|_, target| speaks(target));
        if let Some(id) = stored {
            plan.bind(id)?;
        }
        return Ok(plan);
    }
    caller.check_all_models()?;
    let default = service.routes.default_model().ok();
    let default = default.and_then(|model| service.routes.plan(model).ok());
    let mut plans = default.into_iter().chain(service.routes.plans());
    let maker = stored.and_then(|id| service.routes.maker_of(id));
    let is_maker = |target: &Target| {
        let maker = maker.as_deref();
        maker.is_none_or(|maker| target.provider.name() == maker)
    };
    let found = plans.find_map(|plan| {
        let mut targets = plan.targets().iter();
        let number = targets.position(|target| speaks(target) && is_maker(target))?;
        Some((plan, number))
    });
    match found {
        Some((mut plan, number)) => {
            plan.forward_to(|other, _| other == number);
            Ok(plan)
        }
        None => Err(Failure::not_found(format!(
            "this endpoint {needs}, and there is none here"
        ))),
    }
}

/// The name of the model in a body that is passed on.
#[derive(Debug)]
struct NamedModel {
    name: String,
    /// The place of the name in the body.
    place: Range<usize>,
    is_json: bool,
    /// Set if the body asks for a stream.
    stream: bool,
    /// The id of the response that the request goes on from.
    stored: Option<String>,
}

impl NamedModel {
    /// Finds the name in a body of JSON, or in a form.
    fn find(body: &Bytes, headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let boundary = content_type
            .split(';')
            .skip(1)
            .find_map(|parameter| parameter.trim().strip_prefix("boundary="));
        match boundary {
            Some(boundary) => Self::in_form(body, boundary.trim_matches('"')),
            None => Self::in_json(body),
        }
    }

    fn in_json(body: &Bytes) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow, default)]
            model: Option<&'a RawValue>,
            #[serde(borrow, default)]
            stream: Option<&'a RawValue>,
            #[serde(borrow, default)]
            previous_response_id: Option<&'a RawValue>,
        }
        let fields = serde_json::from_slice::<Named<'_>>(body).ok()?;
        let raw = fields.model?.get();
        // The raw value is a slice of the body, so its place is that of the name.
        let start = (raw.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        Some(Self {
            name: serde_json::from_str::<String>(raw).ok()?,
            place: start..start + raw.len(),
            is_json: true,
            stream: fields.stream.is_some_and(|stream| stream.get() == "true"),
            stored: fields
                .previous_response_id
                .and_then(|id| serde_json::from_str(id.get()).ok()),
        })
    }

    fn in_form(body: &Bytes, boundary: &str) -> Option<Self> {
        let delimiter = format!("--{boundary}");
        let is_line = |at: &usize| *at == 0 || body[..*at].ends_with(b"\r\n");
        let mut starts = memchr::memmem::find_iter(body, delimiter.as_bytes()).filter(is_line);
        let mut start = starts.next()?;
        let mut found: Option<Self> = None;
        let mut stream = false;
        for end in starts.take(MAX_PARTS) {
            let from = start + delimiter.len();
            start = end;
            let part = body.get(from..end)?;
            let Some(head) = memchr::memmem::find(part, b"\r\n\r\n") else {
                continue;
            };
            let value = part.get(head + 4..part.len().saturating_sub(2))?;
            let head = String::from_utf8_lossy(&part[..head.min(1024)]).to_ascii_lowercase();
            let field = field_name(&head);
            if field == Some("model") {
                let at = from + (value.as_ptr() as usize - part.as_ptr() as usize);
                found = Some(Self {
                    name: String::from_utf8(value.to_vec()).ok()?,
                    place: at..at + value.len(),
                    is_json: false,
                    stream: false,
                    stored: None,
                });
            } else if field == Some("stream") {
                stream = value.eq_ignore_ascii_case(b"true");
            }
        }
        found.map(|found| Self { stream, ..found })
    }

    /// Returns the body with another name in its place.
    fn replaced(&self, body: &Bytes, name: &str) -> Bytes {
        let name = match self.is_json {
            true => Value::from(name).to_string(),
            false => name.to_owned(),
        };
        let mut out = BytesMut::with_capacity(body.len() + name.len());
        out.put_slice(&body[..self.place.start]);
        out.put_slice(name.as_bytes());
        out.put_slice(&body[self.place.end..]);
        out.freeze()
    }
}

/// Returns the name of a form's field; `head` is in lower case. Quotes are optional, and a file has
/// a name of its own.
fn field_name(head: &str) -> Option<&str> {
    let mut lines = head.lines();
    let line = lines.find(|line| line.trim_start().starts_with("content-disposition:"))?;
    let mut parameters = line.split(';').skip(1);
    let name = parameters.find_map(|parameter| parameter.trim().strip_prefix("name="));
    name.map(|name| name.trim_matches('"'))
}
