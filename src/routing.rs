//! Routing: from the name of a model to the targets that can serve it.
//!
//! A [`Plan`] has one target today; which failures lead to the next one will be decided here, and
//! carried out by `generation`.
//!
//! ```
//! use std::sync::Arc;
//! use tokenrill::provider::mock::Mock;
//! use tokenrill::routing::{Route, Routes, Target};
//!
//! let target = Target {
//!     provider: Arc::new(Mock::new(0, Default::default())),
//!     upstream_model: "mock-fast".to_owned(),
//! };
//! let route = Route { name: "fast".to_owned(), target };
//! let routes = Routes::new(vec![route], None, None);
//! let plan = routes.plan("fast")?;
//! assert_eq!(plan.first().upstream_model, "mock-fast");
//! assert_eq!(routes.plan("slow").unwrap_err().code(), "model_not_found");
//! # Ok::<(), dialect::failure::Failure>(())
//! ```

use std::sync::Arc;

use crate::provider::Provider;
use dialect::failure::Failure;

/// The longest part of an unknown model's name that is quoted to the client, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// A model by the name that clients ask for, and its target.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name that clients ask for.
    pub name: String,
    /// The target that serves it.
    pub target: Target,
}

/// A provider, and its own name for a model.
#[derive(Debug, Clone)]
pub struct Target {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// The provider's name for the model.
    pub upstream_model: String,
}

/// The targets of one request.
#[derive(Debug, Clone)]
pub struct Plan {
    target: Target,
}

impl Plan {
    /// Returns a plan with one target.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self { target }
    }

    /// Returns the target to be tried first.
    #[must_use]
    pub fn first(&self) -> &Target {
        &self.target
    }
}

/// The models of this server, by name.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    /// The provider for every other name, which is passed on as it is.
    fallback: Option<Arc<dyn Provider>>,
    default: Option<String>,
}

impl Routes {
    /// Returns a routing table. Requests that name no model get `default`, or else the first route.
    #[must_use]
    pub fn new(
        routes: Vec<Route>,
        fallback: Option<Arc<dyn Provider>>,
        default: Option<String>,
    ) -> Self {
        let default = default.or_else(|| routes.first().map(|route| route.name.clone()));
        Self {
            routes,
            fallback,
            default,
        }
    }

    /// Returns the plan for a model's name.
    ///
    /// # Errors
    ///
    /// [`Failure::unknown_model`], which lists the known ones.
    pub fn plan(&self, name: &str) -> Result<Plan, Failure> {
        if let Some(route) = self.routes.iter().find(|route| route.name == name) {
            return Ok(Plan::of(route.target.clone()));
        }
        match &self.fallback {
            Some(provider) => Ok(Plan::of(Target {
                provider: provider.clone(),
                upstream_model: name.to_owned(),
            })),
            None => {
                let name: String = name.chars().take(MAX_QUOTED_CHARS).collect();
                let known: Vec<String> = self.names().map(str::to_owned).collect();
                Err(Failure::unknown_model(&name, &known))
            }
        }
    }

    /// Returns the model for requests that name none.
    ///
    /// # Errors
    ///
    /// A 400 when there is no such model.
    pub fn default_model(&self) -> Result<&str, Failure> {
        self.default.as_deref().ok_or_else(|| {
            Failure::invalid(
                "model",
                "`model` is missing, and this server is configured without a `default_model`",
            )
        })
    }

    /// Returns the names of all models, in the configuration's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }
}
