//! The paths of Azure's clients, which stand for those of OpenAI's: `/openai/v1/…`, and
//! `/openai/deployments/{model}/…`, where the path names the model.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// A request's extension: the model that its path names.
#[derive(Debug, Clone)]
pub(super) struct Deployment(pub(super) String);

/// Gives a request the path that its own stands for.
pub(super) fn rewrite_path(request: &mut Request) {
    let uri = request.uri();
    let Some(below) = uri.path().strip_prefix("/openai/") else {
        return;
    };
    let (path, deployment) = match below.strip_prefix("deployments/") {
        Some(below) => {
            let Some((model, path)) = below.split_once('/') else {
                return;
            };
            let model = percent_encoding::percent_decode_str(model).decode_utf8_lossy();
            (path, Some(Deployment(model.into_owned())))
        }
        None => (below.strip_prefix("v1/").unwrap_or(below), None),
    };
    let query = uri.query().map(|query| format!("?{query}"));
    let path = format!("/v1/{path}{}", query.unwrap_or_default());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    let Ok(uri) = Uri::from_parts(parts) else {
        return;
    };
    *request.uri_mut() = uri;
    if let Some(deployment) = deployment {
        request.extensions_mut().insert(deployment);
    }
}
