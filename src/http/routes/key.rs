//! `GET /v1/key`: the caller's own key, its limits, and what it has used, as OpenRouter has it.

mod state;

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::access::{Caller, Key};
use crate::config::{Limits, ModelPatterns, usd};
use crate::http::error::Rejection;
use crate::http::json::json as json_response;
use crate::service::{Service, key_report};
use dialect::failure::Failure;

/// Answers with the caller's key: whose it is, and what it may do. Never with the key itself.
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    caller: Caller,
) -> Result<Response, Rejection> {
    let Some(key) = caller.key() else {
        let message = "this server wants no keys; auth.keys_file would name them";
        return Err(Failure::not_found(message).into());
    };
    let mut description = description(key);
    if let Some(report) = key_report(&service, key) {
        state::add(&mut description, &report);
    }
    Ok(json_response(&description))
}

fn description(key: &Key) -> Value {
    let team = key.team.as_ref();
    let models = |patterns: &ModelPatterns| match patterns.allow_all() {
        true => json!(["*"]),
        false => json!(patterns.as_slice()),
    };
    json!({
        "object": "key",
        "id": key.id,
        "name": key.name,
        "role": key.role.as_str(),
        "models": models(&key.models),
        "expires_at": key.expires.map(rfc3339),
        "limits": limits(&key.limits),
        "team": team.map(|team| json!({
            "name": team.name, "models": models(&team.models), "limits": limits(&team.limits),
        })),
    })
}

fn limits(limits: &Limits) -> Value {
    let budget = limits
        .budget
        .map(|budget| json!({ "usd": usd(budget.nano_usd), "per": budget.per.as_str() }));
    json!({
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "concurrent": limits.concurrent,
        "budget": budget,
    })
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
