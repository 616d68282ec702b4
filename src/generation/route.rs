//! Which provider answers for a model's name.

use std::sync::Arc;

use crate::provider::Provider;
use dialect::failure::Failure;

/// A model that clients may ask for.
#[derive(Debug, Clone)]
pub struct Model {
    /// The name that clients use.
    pub name: String,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// What it is called there.
    pub upstream_model: String,
}

/// Who answers one request.
#[derive(Debug, Clone)]
pub struct Target {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// What the model is called there.
    pub upstream_model: String,
}

/// All models that this server knows.
#[derive(Debug)]
pub struct Routes {
    models: Vec<Model>,
    /// Takes every name that is not among `models`, as it is.
    rest: Option<Arc<dyn Provider>>,
    default: Option<String>,
}

impl Routes {
    /// Routes by name; `default` is for requests that name no model, else the first model is.
    #[must_use]
    pub fn new(
        models: Vec<Model>,
        rest: Option<Arc<dyn Provider>>,
        default: Option<String>,
    ) -> Self {
        let default = default.or_else(|| models.first().map(|model| model.name.clone()));
        Self {
            models,
            rest,
            default,
        }
    }

    /// Who answers for that name.
    ///
    /// # Errors
    ///
    /// [`Failure::unknown_model`], which lists the known ones.
    pub fn find(&self, name: &str) -> Result<Target, Failure> {
        if let Some(model) = self.models.iter().find(|model| model.name == name) {
            return Ok(Target {
                provider: model.provider.clone(),
                upstream_model: model.upstream_model.clone(),
            });
        }
        match &self.rest {
            Some(provider) => Ok(Target {
                provider: provider.clone(),
                upstream_model: name.to_owned(),
            }),
            None => {
                let name: String = name.chars().take(80).collect();
                let known: Vec<String> = self.names().map(str::to_owned).collect();
                Err(Failure::unknown_model(&name, &known))
            }
        }
    }

    /// The model for requests that name none.
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

    /// The names of all models, in the configuration's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }
}
