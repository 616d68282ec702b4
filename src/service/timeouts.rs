//! The time limits of one generation: its model's, and more patience for models that reason.

use std::time::Duration;

use http::HeaderMap;

use super::Service;
use crate::config::GenerationTimeouts;
use crate::routing::{Plan, Target};
use dialect::request::Request;

/// Returns the time limits of a request, with patience for any target that it may go to.
pub(super) fn generation_timeouts(
    service: &Service,
    request: &Request,
    plan: &Plan,
) -> GenerationTimeouts {
    let mut defaults = service.timeouts;
    let mut targets = plan.targets().iter();
    if targets.any(|target| reasons(service, request, target)) {
        defaults.between_tokens = service.between_reasoning;
    }
    plan.current().timeouts.or(defaults)
}

/// Returns the time that a client waits, as SDKs say it, in seconds. `None` if it says none.
pub(super) fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| headers.get(name)?.to_str().ok()?.trim().parse().ok();
    ["x-request-timeout", "x-stainless-timeout"]
        .into_iter()
        .filter_map(seconds)
        .filter_map(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero())
        .min()
}

/// Returns true if an SDK sends the request again by itself.
pub(super) fn is_client_retry(headers: &HeaderMap) -> bool {
    headers
        .get("x-stainless-retry-count")
        .is_some_and(|count| count != "0")
}

/// Returns whether a model will think, as far as the request and its family tell. While models
/// think, many say nothing.
fn reasons(service: &Service, request: &Request, target: &Target) -> bool {
    if let Some(reasoning) = request.reasoning {
        return !reasoning.is_off();
    }
    let dialect = target.provider.dialect().map_or("", |dialect| dialect.name);
    let rules = service.families.rules(dialect, &target.upstream_model);
    rules.reasons == Some(true)
}
