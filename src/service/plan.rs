//! The plan of a model for a caller: only the models that it may use are there for it.

use super::Service;
use crate::access::Caller;
use crate::routing::Plan;
use dialect::failure::{Failure, classes};

/// Longest part of a model's name that an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// Returns the plan of a model.
///
/// # Errors
///
/// When the caller may not use it, or there is none; then the models are named that it may use.
pub(super) fn plan_of(service: &Service, model: &str, caller: &Caller) -> Result<Plan, Failure> {
    caller.check_model(model)?;
    service.routes.plan(model).map_err(|failure| {
        let names = service.routes.names();
        let known: Vec<String> = names
            .filter(|name| caller.may_use(name))
            .map(str::to_owned)
            .collect();
        match failure.is(&classes::UNKNOWN_MODEL) && caller.key().is_some() {
            true => {
                let model: String = model.chars().take(MAX_QUOTED_CHARS).collect();
                Failure::unknown_model(&model, &known)
            }
            false => failure,
        }
    })
}
